"""Errors that a notebook shows as words, without the frames they came through."""

import re
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from kerasnb.core import settings

_BOLD, _PLAIN = "\x1b[1m", "\x1b[0m"
_WIDEST = 100  # columns; a front end breaks longer lines, and a caret goes astray
_NAMED = (  # how a sentence names what is wrong, the plainest way first
    r"`([^`]+)`",
    r"[\"']([^\"']+)[\"']",
    r", not (.+?)\.(?:\s|$)",
    r"^\w+: (\S+) is not ",
    r"^([A-Z]\w*)",  # the layer
)


class NotebookError(Exception):
    """An error whose message is all that a reader needs.

    `kerasnb.config.tracebacks("full")` shows every frame, and what caused it, instead.
    """

    def _render_traceback_(self) -> list[str]:
        """What IPython shows: a list of lines."""
        if settings.tracebacks() == "full":
            return "".join(traceback.format_exception(self)).splitlines()
        return _with_bold_head(self._as_shown())

    def _as_shown(self) -> str:
        return str(self)


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
        super().__init__(in_words(name, line, text, sentence, hint))

    def _as_shown(self) -> str:
        return with_caret(str(self), self.text, self.sentence)


class KModelWarning(UserWarning):
    """What a model cell does in vain: it runs, but hardly does what was meant.

    A notebook shows it as it shows an error, by `words`.
    """

    def __init__(self, name: str, line: int, text: str, sentence: str, hint: str):
        words = in_words(name, line, text, sentence, hint)
        self.words = with_caret(words, text, sentence)
        super().__init__(f"{sentence} {hint}")


def in_words(name: str, line: int | None, text: str, sentence: str, hint: str) -> str:
    """Where, what, and the likely mend, each on a line."""
    place = f"%%kmodel {name}"
    if line is not None:
        place += f", line {line}:  {text}".rstrip()
    return "\n".join(part for part in (place, sentence, hint) if part)


def with_caret(words: str, text: str, sentence: str) -> str:
    """`words` with a line below the first that points at what the sentence names.

    Nothing is added where `text`, the line of the cell, shows nothing of it.

    >>> print(with_caret("%%kmodel m, line 2:  Dens(3)", "Dens(3)", "No layer `Dens`."))
    %%kmodel m, line 2:  Dens(3)
                         ^^^^
    """
    first, *rest = words.splitlines()
    begin = len(first) - len(text)
    said = sentence.partition("Did you mean")[0]
    for pattern in _NAMED:
        for named in re.findall(pattern, said):
            shown = re.search(rf"(?<!\w){re.escape(named)}(?!\w)", text)
            if shown and begin + shown.end() <= _WIDEST:
                caret = " " * (begin + shown.start()) + "^" * len(shown[0])
                return "\n".join([first, caret, *rest])
    return words


@contextmanager
def warnings_in_words() -> Iterator[None]:
    """Show warnings about a cell like errors, without file names, while this is open.

    Filters of warnings have their say as ever: an ignored one is not shown.
    """
    before = warnings.formatwarning

    def shown(message: Any, *where: Any, **line: Any) -> str:
        if not isinstance(message, KModelWarning):
            return before(message, *where, **line)
        return "\n".join(_with_bold_head(message.words)) + "\n"

    warnings.formatwarning = shown
    try:
        yield
    finally:
        warnings.formatwarning = before


def _with_bold_head(words: str) -> list[str]:
    first, *rest = words.splitlines() or [""]
    # Of `%kfit: a long sentence` the magic alone; a line of a cell as it is.
    head = match[0] if (match := re.match(r"%\w+:", first)) else first
    return [f"{_BOLD}{head}{_PLAIN}{first[len(head) :]}", *rest]
