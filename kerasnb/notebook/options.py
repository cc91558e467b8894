"""How the magics read their line: words, options, names and `{expressions}`."""

import argparse
import ast
import difflib
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from IPython.core.error import UsageError
from IPython.core.magic_arguments import argument

from kerasnb import models
from kerasnb.core.errors import show, suggest
from kerasnb.notebook.errors import NotebookError
from kerasnb.notebook.hints import is_ours, last_frame

_OPEN, _CLOSE, _QUOTES = "{[(", "}])", "'\""
_SHAPE = re.compile(r"\(?\s*(?:None|\d+)(?:\s*,\s*(?:None|\d+))*\s*,?\s*\)?")
_NAMED = re.compile(r"([A-Za-z_]\w*)=(?!=)(.+)", re.DOTALL)


class HelpAsked(Exception):
    """`--help` was among the options; the text to show."""


class _Help(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        # Without the mark of a code block, which IPython puts in for its manual.
        raise HelpAsked(parser.format_help().removeprefix("::\n\n").rstrip())


help_option = argument("-h", "--help", action=_Help, nargs=0, help="show this text")


def split(line: str, mark: Callable[[str], bool] = str.isspace) -> list[str]:
    """The words of a line; spaces inside brackets and quotes do not end one.

    >>> split("net --optimizer {Adam(0.1, beta_1=0.8)} x[:9, 0]")
    ['net', '--optimizer', '{Adam(0.1, beta_1=0.8)}', 'x[:9, 0]']
    """
    words, word, depth, quote = [], "", 0, ""
    for letter in line:
        if quote:
            quote = "" if letter == quote else quote
        elif letter in _QUOTES:
            quote = letter
        elif letter in _OPEN:
            depth += 1
        elif letter in _CLOSE:
            depth -= 1
        elif mark(letter) and depth <= 0:
            if word:
                words.append(word)
            word = ""
            continue
        word += letter
    if quote or depth > 0:
        missing = quote or "a closing bracket"
        raise UsageError(f"{missing} is missing in: {line}")
    return [*words, word] if word else words


def parse(magic: Any, line: str) -> argparse.Namespace:
    """The arguments of a magic; a wrong option is answered with the nearest one."""
    name = f"%{magic.parser.prog}"
    found, unknown = magic.parser.parse_known_args(split(line))
    for word in unknown:
        if not word.startswith("-"):
            raise UsageError(f"{name} does not know what to do with `{word}`.")
        options = option_names(magic.parser)
        wrong = word.partition("=")[0]
        raise UsageError(f"{name} has no option {wrong}.{suggest(wrong, options)}")
    return found


def option_names(parser: argparse.ArgumentParser) -> list[str]:
    """The long options of a magic, each once."""
    names = (n for action in parser._actions for n in action.option_strings)
    return [name for name in names if name.startswith("--")]


@contextmanager
def short_errors(magic: str) -> Iterator[None]:
    """Show what goes wrong inside as a sentence; what a user's code raises, as ever."""
    try:
        yield
    except Exception as error:
        frame = last_frame(error)
        told = isinstance(error, NotebookError | UsageError)
        if told or (frame is not None and not is_ours(frame)):
            raise
        kind = type(error)
        words = str(error).strip().removeprefix(f"{magic[2:]}: ") or kind.__name__
        if kind not in (ValueError, TypeError, RuntimeError, ImportError, OSError):
            words = f"{kind.__name__}: {words}"
        raise NotebookError(f"{magic}: {words}") from error


class Reader:
    """Reads values from the words of a magic, in the user's names."""

    def __init__(self, names: dict[str, Any], magic: str):
        self.names, self.magic = names, magic

    def expression(self, text: str) -> Any:
        """The value of a name or a Python expression, in braces or without."""
        code = _in_braces(text) or text
        try:
            return eval(compile(code, f"<{self.magic}>", "eval"), self.names)
        except SyntaxError as error:
            raise UsageError(
                f"{self.magic}: `{code}` is not a Python expression."
            ) from error
        except NameError as error:
            near = suggest(error.name, self._public()) if error.name else ""
            raise UsageError(
                f"{self.magic}: `{error.name}` is not defined.{near}"
            ) from error
        except Exception as error:
            raise NotebookError(
                f"{self.magic}: {code}: {type(error).__name__}: {error}"
            ) from error

    def name(self, text: str | None) -> Any:
        """A word as it is, or the value of an expression in braces."""
        if text is None or _in_braces(text) is None:
            return text
        return self.expression(text)

    def number(self, text: str | None, kind: Callable[[str], Any] = float) -> Any:
        """A number, or the value of an expression in braces."""
        if text is None or _in_braces(text) is not None:
            return self.name(text)
        try:
            return kind(text)
        except ValueError:
            example = "3" if kind is int else "0.01"
            raise UsageError(
                f"{self.magic}: `{text}` is not a number; write one such as {example}, "
                f"or an expression in braces: {{{text}}}."
            ) from None

    def names_or_values(self, texts: Iterable[str]) -> list[Any]:
        """Several words, separated by commas too, each a name or in braces."""
        parts = (part for text in texts for part in split(text, lambda c: c in ", "))
        values = (self.name(part) for part in parts)
        flat = ([*v] if isinstance(v, list | tuple) else [v] for v in values)
        return [value for some in flat for value in some]

    def inputs(self, texts: list[str]) -> Any:
        """What `--input` stands for: a shape or data, or a dict of them by name."""
        if not texts:
            return None
        matches = [_NAMED.fullmatch(text) for text in texts]
        if all(matches):
            return {m[1]: self.shape_or_data(m[2]) for m in matches if m}
        if len(texts) == 1:
            return self.shape_or_data(texts[0])
        raise UsageError(
            f"{self.magic}: several inputs need names: "
            + " ".join(f"--input name{i + 1}={t}" for i, t in enumerate(texts))
        )

    def shape_or_data(self, text: str) -> Any:
        """A shape such as `28,28,1`, else the value of an expression."""
        if _SHAPE.fullmatch(text):
            shape = ast.literal_eval(text)
            return shape if isinstance(shape, tuple) else (shape,)
        return self.expression(text)

    def model(self, text: str) -> Any:
        """A model by its name."""
        value = self.expression(text)
        if isinstance(value, models.Model):
            return value
        known = [n for n in self._public() if isinstance(self.names[n], models.Model)]
        near = difflib.get_close_matches(text, known, n=1)
        has = f" Your models: {', '.join(known)}." if known else ""
        raise UsageError(
            f"{self.magic}: `{text}` is {show(value)}, not a model."
            + (f' Did you mean "{near[0]}"?' if near else has)
        )

    def _public(self) -> list[str]:
        return [name for name in self.names if not name.startswith("_")]


def _in_braces(text: str) -> str | None:
    if text.startswith("{") and text.endswith("}"):
        return text[1:-1].strip()
    return None
