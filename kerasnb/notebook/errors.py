"""Errors that a notebook shows as words, without the frames they came through."""

import traceback

from kerasnb.core import settings

_BOLD, _PLAIN = "\x1b[1m", "\x1b[0m"


class NotebookError(Exception):
    """An error whose message is all that a reader needs.

    `kerasnb.config.tracebacks("full")` shows every frame, and what caused it, instead.
    """

    def _render_traceback_(self) -> list[str]:
        """What IPython shows: a list of lines."""
        if settings.tracebacks() == "full":
            return "".join(traceback.format_exception(self)).splitlines()
        first, *rest = str(self).splitlines() or [""]
        return [f"{_BOLD}{first}{_PLAIN}", *rest]


class KModelError(NotebookError):
    """What is wrong with a model cell: where, what, and the likely mend.

    `line` is counted from the `%%kmodel` line, which is 1; None when no line is to
    blame. `text` is that line, `sentence` what went wrong, `hint` what to try.
    """

    def __init__(
        self, name: str, line: int | None, text: str, sentence: str, hint: str = ""
    ):
        self.name, self.line, self.text = name, line, text
        self.sentence, self.hint = sentence, hint
        place = f"%%kmodel {name}"
        if line is not None:
            place += f", line {line}:  {text}".rstrip()
        super().__init__("\n".join(part for part in (place, sentence, hint) if part))
