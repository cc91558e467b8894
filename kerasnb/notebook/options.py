"""How the magics read their line: words, options, names and `{expressions}`."""

import argparse
import ast
import builtins
import difflib
import keyword
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

from IPython.core.error import UsageError
from IPython.core.magic_arguments import argument
from traitlets import Bool, Integer, TraitError, TraitType, Unicode
from traitlets.config import Configurable

from kerasnb import config, models
from kerasnb.core.errors import show, suggest
from kerasnb.notebook.errors import NotebookError
from kerasnb.notebook.hints import is_ours, last_frame
from kerasnb.notebook.kmodel import LAYERS, AtHand

_OPEN, _CLOSE, _QUOTES = "{[(", "}])", "'\""
_SHAPE = re.compile(r"\(?\s*(?:None|\d+)(?:\s*,\s*(?:None|\d+))*\s*,?\s*\)?")
_NAMED = re.compile(r"([A-Za-z_]\w*)=(?!=)(.+)", re.DOTALL)


class Setting(TraitType):
    """A setting of `kerasnb.config`, which holds it: read and set there alone."""

    def __init__(self, help: str) -> None:
        super().__init__(help=f"kerasnb.config: {help}")
        self.tag(config=True)

    def get(self, obj: Any, cls: Any = None) -> Any:
        """What `kerasnb.config` says now, a path as text and a tuple as a list."""
        value = getattr(config, self.name)()
        value = list(value) if isinstance(value, tuple) else value
        return str(value) if isinstance(value, Path) else value

    def set(self, obj: Any, value: Any) -> None:
        """Tell `kerasnb.config`; what it does not take is a TraitError."""
        try:
            getattr(config, f"set_{self.name}", getattr(config, self.name))(value)
        except (TypeError, ValueError) as error:
            raise TraitError(f"KerasNB: {error}") from None


class KerasNB(Configurable):
    """What the magics do when nothing else is said: `%config KerasNB.epochs = 10`."""

    optimizer = Unicode(help="--optimizer of %%kmodel").tag(config=True)
    loss = Unicode(help="--loss of %%kmodel, such as auto").tag(config=True)
    metrics = Unicode(help="--metrics of %%kmodel, beside its own").tag(config=True)
    dtype = Unicode(help="--dtype of %%kmodel").tag(config=True)
    seed = Integer(None, allow_none=True, help="--seed of %%kmodel").tag(config=True)
    epochs = Integer(1, min=1, help="--epochs of %kfit").tag(config=True)
    batch_size = Integer(32, min=1, help="--batch-size of %kfit").tag(config=True)
    compile_ahead = Bool(
        True, help="whether %%kmodel has what fit needs compiled while nothing runs"
    ).tag(config=True)
    alarms = Setting("which alarms may ring in fit: on, off, or 'nan, overfitting'")
    best_weights = Setting("how many MB of weights the records of runs keep")
    compilation_cache = Setting("the folder of compiled programs, True or False")
    display = Setting("how models and runs show: auto, widget, html, text or none")
    floatx = Setting("the dtype of what is made without one, such as float32")
    max_epochs = Setting("the most epochs of any fit, or None")
    max_steps_per_epoch = Setting("the most batches in one pass over data, or None")
    runs_dir = Setting("the folder that keeps the record of each fit, or None")
    tracebacks = Setting("which frames errors show: short or full")

    def given(self, parser: argparse.ArgumentParser) -> dict[str, Any]:
        """The values of a magic's options that are set here."""
        found: dict[str, Any] = {}
        for name in ("optimizer", "loss", "metrics", "dtype", "seed", *_OF_KFIT):
            value = getattr(self, name)
            for action in parser._actions:
                if action.dest == name and value not in ("", None):
                    several = isinstance(action, argparse._AppendAction)
                    found[name] = [value] if several else str(value)
        return found


_OF_KFIT = ("epochs", "batch_size")


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
    joined: list[str] = []
    for part in [*words, word] if word else words:
        if joined and joined[-1].endswith(",") and not part.startswith("-"):
            joined[-1] += part  # `28, 28, 1` is one shape
        else:
            joined.append(part)
    return joined


def split_at_commas(text: str) -> list[str]:
    """`x, y` without brackets around is two words.

    >>> split_at_commas("x[:9, 0],y")
    ['x[:9, 0]', 'y']
    """
    return split(text, lambda letter: letter == ",")


def parse(
    magic: Any, line: str, defaults: dict[str, Any] | None = None
) -> argparse.Namespace:
    """The arguments of a magic; a wrong option is answered with the nearest one.

    `defaults` are for options that are not given.
    """
    name, parser = f"%{magic.parser.prog}", magic.parser
    try:
        words = split(line)
        _check(words, parser)
        known = argparse.Namespace(**(defaults or {}))
        found, unknown = parser.parse_known_args(words, known)
    except UsageError as error:
        told = _in_our_words(str(error)).removeprefix(f"{name} ")
        raise UsageError(f"{name}: {told}") from None
    options = option_names(parser)
    for word in unknown:
        option = word.partition("=")[0]
        if word.startswith("-"):
            near = suggest(option, options) or " %kfit has it." * (option in _OF_FIT)
            raise UsageError(f"{name} has no option {option}.{near}")
        near = suggest(f"--{option}", [o for o in options if o[2:] == option])
        near = near or " Options begin with --, and values hold no spaces."
        raise UsageError(f"{name} does not know what to do with `{word}`.{near}")
    return found


_OF_FIT = ("--epochs", "--batch-size", "--validation", "--callbacks")


def _check(words: list[str], parser: argparse.ArgumentParser) -> None:
    """What argparse would misread: other dashes, one dash too few, options twice."""
    given = set()
    for word in words:
        option = word.partition("=")[0]
        action = parser._option_string_actions.get(option)
        if action is None and re.match(r"[-–—][A-Za-z]{2}|[–—]", word):
            near = suggest(f"--{option.lstrip('-–—')}", option_names(parser))
            if near:
                raise UsageError(f"there is no option {option}.{near}")
        if action is None or isinstance(action, argparse._AppendAction):
            continue
        if action.dest in given:
            raise UsageError(f"{action.option_strings[-1]} is given twice.")
        given.add(action.dest)


def _in_our_words(text: str) -> str:
    """What argparse has to say."""
    if match := re.match(r"argument (?:-\w/)?(--[\w-]+): expected .* argument", text):
        return f"{match[1]} needs a value after it."
    if match := re.match(r"the following arguments are required: (.*)", text):
        words = match[1].upper().replace(", ", " and ")
        return f"{words} must be given; --help shows how."
    return text


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

    def expression(self, text: str, *rooms: Any) -> Any:
        """The value of a name, or of any Python expression in braces.

        Without braces nothing is called. In them the names of `rooms` are at hand.
        """
        code = _in_braces(text)
        more = {k: v for room in rooms for k, v in vars(room).items() if k[0] != "_"}
        scope = {"__builtins__": AtHand(self.names, more), "__name__": "__main__"}
        try:
            tree = ast.parse(code if code is not None else text, mode="eval")
            if code is None and any(isinstance(n, _ACTIVE) for n in ast.walk(tree)):
                raise UsageError(
                    f"{self.magic}: what is to be run goes into braces: {{{text}}}."
                )
            code = code if code is not None else text
            return eval(compile(tree, f"<{self.magic}>", "eval"), scope)
        except SyntaxError as error:
            raise UsageError(
                f"{self.magic}: `{code}` is not a Python expression."
            ) from error
        except UsageError:
            raise
        except NameError as error:
            near = suggest(error.name, self._public()) if error.name else ""
            raise UsageError(
                f"{self.magic}: `{error.name}` is not defined.{near}"
            ) from error
        except Exception as error:
            raise NotebookError(
                f"{self.magic}: {code}: {type(error).__name__}: {error}"
            ) from error

    def several(self, texts: Iterable[str]) -> list[Any]:
        """The values of words, which commas may part as well."""
        parts = (part for text in texts for part in split_at_commas(text))
        return [self.expression(part) for part in parts]

    def name(self, text: str | None, *rooms: Any) -> Any:
        """A word as it is, or the value of an expression in braces."""
        if text is None:
            return None
        if _in_braces(text) is not None:
            return self.expression(text, *rooms)
        if "(" in text:
            raise UsageError(
                f"{self.magic}: what is to be run goes into braces: {{{text}}}."
            )
        return text.strip("'\"")

    def number(
        self, text: str | None, kind: Callable[[str], Any] = float, *rooms: Any
    ) -> Any:
        """A number, or the value of an expression in braces."""
        if text is None or _in_braces(text) is not None:
            return self.name(text, *rooms)
        try:
            return kind(text)
        except ValueError:
            example = "3" if kind is int else "0.01"
            what = "a whole number" if kind is int else "a number"
            raise UsageError(
                f"{self.magic}: `{text}` is not {what}; write one such as {example}, "
                "or an expression in braces, as in {2 * n}."
            ) from None

    def rate(self, text: str | None, *rooms: Any) -> Any:
        """A learning rate: a number above zero, or what an expression makes."""
        value = self.number(text, float, *rooms)
        if isinstance(value, int | float) and not value > 0:
            raise UsageError(f"{self.magic}: a learning rate is above 0, not {value}.")
        return value

    def names_or_values(self, texts: Iterable[str], *rooms: Any) -> list[Any]:
        """Several words, separated by commas too, each a name or in braces."""
        parts = (part for text in texts for part in split(text, lambda c: c in ", "))
        values = (self.name(part, *rooms) for part in parts)
        flat = ([*v] if isinstance(v, list | tuple) else [v] for v in values)
        return [value for some in flat for value in some]

    def inputs(self, texts: list[str]) -> Any:
        """What `--input` stands for: a shape or data, or a dict of them by name."""
        if not texts:
            return None
        matches = [_NAMED.fullmatch(text) for text in texts]
        if len(texts) == 1 and not matches[0]:
            return self.shape_or_data(texts[0])
        if not all(matches):
            raise UsageError(
                f"{self.magic}: several inputs need names: "
                + " ".join(
                    f"--input {text if match else f'name{i + 1}={text}'}"
                    for i, (text, match) in enumerate(zip(texts, matches, strict=True))
                )
            )
        found: dict[str, Any] = {}
        for name, value in (m.groups() for m in matches if m):
            if name in found or keyword.iskeyword(name):
                why = "given twice" if name in found else "a word of Python"
                raise UsageError(
                    f"{self.magic}: `{name}` is {why}; give the input another name."
                )
            found[name] = self.shape_or_data(value)
        return found

    def shape_or_data(self, text: str) -> Any:
        """A shape such as `28,28,1`, else the value of an expression."""
        if _SHAPE.fullmatch(text):
            shape = ast.literal_eval(text)
            shape = shape if isinstance(shape, tuple) else (shape,)
            if 0 in shape:
                raise UsageError(
                    f"{self.magic}: samples of the shape {text} hold no number at all."
                )
            return shape
        if re.fullmatch(r"\d+(?:[x*]\d+)+", text):
            commas = re.sub("[x*]", ",", text)
            raise UsageError(f"{self.magic}: a shape has commas: --input {commas}")
        value = self.expression(text)
        if isinstance(value, str):
            raise UsageError(
                f"{self.magic}: {text} is a text; data is given by its name, without "
                "quotes."
            )
        return value

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

    def new_model(self, name: str, kind: str = "model") -> Any:
        """The model that has a name already, None if none; the name must be fit."""
        if not name.isidentifier() or keyword.iskeyword(name):
            other = re.sub(r"\W", "_", name)
            good = other.isidentifier() and not keyword.iskeyword(other)
            near = f' Did you mean "{other}"?' if good else ""
            raise UsageError(
                f"{self.magic}: `{name}` cannot be the name of a {kind}.{near}"
            )
        value, what = self.names.get(name), ""
        if name in LAYERS:
            what = f"the layer {name}"
        elif hasattr(builtins, name):
            what = f"Python's own `{name}`"
        elif isinstance(value, ModuleType):
            what = f"the module `{name}`"
        elif isinstance(value, type | FunctionType):
            what = f"your own `{name}`"
        elif hasattr(value, "shape") or hasattr(value, "columns"):
            what = f"your data `{name}`"
        if what:
            raise UsageError(
                f"{self.magic}: a {kind} of this name would hide {what}; choose "
                "another name."
            )
        return value if isinstance(value, models.Model) else None

    def _public(self) -> list[str]:
        return [name for name in self.names if not name.startswith("_")]


_ACTIVE = (
    ast.Call, ast.Await, ast.Lambda, ast.NamedExpr, ast.ListComp, ast.SetComp,
    ast.DictComp, ast.GeneratorExp, ast.JoinedStr,
)  # fmt: skip


def _in_braces(text: str) -> str | None:
    if text.startswith("{") and text.endswith("}"):
        return text[1:-1].strip()
    return None
