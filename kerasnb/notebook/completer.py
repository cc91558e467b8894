"""Tab in model cells and after the magics: options, their values, names, layers."""

import argparse
import builtins
import inspect as python_inspect
import keyword
import re
from collections.abc import Callable, Iterable
from typing import Any

from IPython.core.completer import (
    CompletionContext,
    SimpleCompletion,
    SimpleMatcherResult,
    context_matcher,
)

from kerasnb import (
    activations,
    initializers,
    losses,
    metrics,
    models,
    optimizers,
    runs,
)
from kerasnb.core.configurable import Catalog, constructor_signature
from kerasnb.core.variable import Variable
from kerasnb.export.model import FORMATS
from kerasnb.layers.layer import Layer
from kerasnb.notebook.kmodel import LAYERS

Match = tuple[str, str]
"""A completion and its kind, which the front end shows as an icon."""

_MAGIC = re.compile(r"\s*(%%?\w+)")
_LAYER_ARGUMENTS = ("name", "dtype", "trainable", "activity_regularizer")


def make_matcher(shell: Any) -> Callable[[CompletionContext], SimpleMatcherResult]:
    """The matcher for a shell, to be put among its completer's `custom_matchers`."""

    @context_matcher(priority=100, identifier="kerasnb")
    def complete(context: CompletionContext) -> SimpleMatcherResult:
        line = context.line_with_cursor[: context.cursor_position]
        lines = context.full_text.split("\n")
        before = "\n".join([*lines[: context.cursor_line], line])
        fragment, found = matches(before, context.full_text, shell)
        return SimpleMatcherResult(
            completions=[SimpleCompletion(text, type=kind) for text, kind in found],
            matched_fragment=fragment,
            suppress=bool(found),
        )

    return complete


def matches(before: str, whole: str, shell: Any) -> tuple[str, list[Match]]:
    """What may stand at the end of `before`: the part to replace, and the choices."""
    line = before.rpartition("\n")[2]
    names = shell.user_ns
    if (magic := _parser_of(line, shell)) is not None:
        return _on_line(magic, line, names)
    body = whole.lstrip()
    if body.startswith("%%kmodel") and "\n" in before.lstrip():
        return _in_body(before.partition("\n")[2], body, names)
    return "", []


def _parser_of(line: str, shell: Any) -> argparse.ArgumentParser | None:
    """The parser of the magic that a line begins with, if it is one of ours."""
    match = _MAGIC.match(line)
    if match is None or match.end() == len(line):
        return None
    function = shell.find_magic(match[1].lstrip("%"), "line")
    if not (getattr(function, "__module__", "") or "").startswith("kerasnb."):
        return None
    return getattr(function, "parser", None)


# --- The line of a magic -----------------------------------------------------------


def _on_line(
    parser: argparse.ArgumentParser, line: str, names: dict[str, Any]
) -> tuple[str, list[Match]]:
    *words, last = line.lstrip().split(" ")
    words = [word for word in words[1:] if word]
    if last.startswith("-"):
        options = (n for a in parser._actions for n in a.option_strings)
        return _starting(last, ((n, "param") for n in options if n[:2] == "--"))
    actions = {
        name: action for action in parser._actions for name in action.option_strings
    }
    what, position, open_option = "", 0, None
    for word in words:
        if word in actions:
            open_option = actions[word]
        elif open_option is None or open_option.nargs == 0:
            position, open_option = position + 1, None
        elif open_option.nargs != "+":
            open_option = None
    if open_option is not None and open_option.nargs != 0:
        what = open_option.dest
    else:
        positional = [a.dest for a in parser._actions if not a.option_strings]
        what = positional[min(position, len(positional) - 1)] if positional else ""
    fragment = re.split(r"[=,]", last)[-1]
    return _starting(fragment, _values(what, words, names))


def _values(what: str, words: list[str], names: dict[str, Any]) -> Iterable[Match]:
    """What an argument of a magic may be."""
    catalogs = {"optimizer": optimizers, "loss": losses, "metrics": metrics}
    if what in catalogs:
        auto = ["auto"] if what == "loss" else []
        return _named([*auto, *short_names(catalogs[what])], "param")
    if what in ("model", "name"):
        return _named(_models(names), "instance")
    if what == "layer" and words:
        model = names.get(words[0])
        return _named((x.name for x in getattr(model, "layers", ())), "instance")
    if what == "dtype":
        return _named(
            ("float32", "bfloat16", "mixed_bfloat16", "mixed_float16"), "param"
        )
    if what == "to":
        return _named(FORMATS, "param")
    if what == "compare":
        return _named((run.name for run in runs.session), "instance")
    if what == "sort":
        return _named((*runs.compare().curves, "time", "epochs", "name"), "param")
    if what == "verbose":
        return _named(("auto", "0", "1", "2"), "param")
    if what in ("input", "target", "data", "x", "y", "validation", "on"):
        return _named(_data(names), "instance")
    return ()


def short_names(room: Any) -> list[str]:
    """The names that a room knows its objects by, those in lower case."""
    catalogs = (v for v in vars(room).values() if isinstance(v, Catalog))
    found = {name for catalog in catalogs for name in catalog.entries}
    return sorted(name for name in found if name == name.lower())


def _models(names: dict[str, Any]) -> list[str]:
    return [n for n in _public(names) if isinstance(names[n], models.Model)]


def _data(names: dict[str, Any]) -> list[str]:
    """The names of arrays, frames and datasets."""
    return [n for n in _public(names) if _is_data(names[n])]


def _is_data(value: Any) -> bool:
    if isinstance(value, Layer | Variable | type):
        return False
    kind = (type(value).__module__ or "").partition(".")[0]
    return bool(getattr(value, "shape", ())) or kind in (
        "pandas",
        "tensorflow",
        "torch",
    )


def _public(names: dict[str, Any]) -> list[str]:
    return [name for name in list(names) if not name.startswith("_")]


# --- The lines of a model cell -----------------------------------------------------


def _in_body(before: str, whole: str, names: dict[str, Any]) -> tuple[str, list[Match]]:
    call, text = _open_call(before)
    if match := re.search(r"(\w+)\s*=\s*[\"'](\w*)$", text):
        return _starting(match[2], _named(_texts_for(match[1]), "param"))
    fragment = re.search(r"[\w.]*$", before)[0]  # type: ignore[index]
    if "." in fragment or re.search(r"[\"']\w*$", before):
        return "", []
    found: list[Match] = []
    cls = names.get(call, LAYERS.get(call))
    argument = re.search(r"(\w+)\s*=\s*\w*$", text)
    values = _values_for(cls, argument[1]) if call and argument else []
    if values and not fragment:
        return fragment, _named(values, "param")
    if python_inspect.isclass(cls) and issubclass(cls, Layer):
        found += _named((f"{name}=" for name in _arguments(cls)), "param")
    elif call == "Input":
        parameters = python_inspect.signature(LAYERS["Input"]).parameters
        found += _named((f"{name}=" for name in parameters), "param")
    found += [
        (n, "class" if isinstance(v, type) else "function") for n, v in LAYERS.items()
    ]
    if fragment:
        own = re.findall(r"^\s*(?:for\s+)?(\w+)\s*(?:=(?!=)|in\b)", whole, re.MULTILINE)
        found += _named(dict.fromkeys(["x", *own]), "instance")
        found += _named(_public(names), "instance")
        found += _named(keyword.kwlist, "keyword")
        found += _named((n for n in dir(builtins) if n[0] != "_"), "function")
    # A text is found without its quotes too, and brings them along.
    texts = [v for v in values if v.strip('"').startswith(fragment.lower())]
    return fragment, _named(texts, "param") + _starting(fragment, found)[1]


def _open_call(text: str) -> tuple[str, str]:
    """The function whose bracket is open at the end of `text`, and what follows it."""
    depth = 0
    for at in range(len(text) - 1, -1, -1):
        if text[at] in ")]}":
            depth += 1
        elif text[at] in "([{":
            if depth == 0:
                name = re.search(r"(\w+)\s*$", text[:at])
                is_call = text[at] == "(" and name
                return (name[1] if is_call and name else ""), text[at + 1 :]
            depth -= 1
    return "", ""


def _arguments(cls: type) -> list[str]:
    parameters = list(constructor_signature(cls).parameters.values())[1:]
    kinds = (
        python_inspect.Parameter.VAR_KEYWORD,
        python_inspect.Parameter.VAR_POSITIONAL,
    )
    own = [p.name for p in parameters if p.kind not in kinds]
    return list(dict.fromkeys([*own, *_LAYER_ARGUMENTS]))


def _values_for(cls: Any, argument: str) -> list[str]:
    """What may stand behind `argument=`, texts in quotes; nothing for the most."""
    if texts := _texts_for(argument):
        return [f'"{text}"' for text in texts]
    if python_inspect.isclass(cls) and issubclass(cls, Layer):
        parameter = constructor_signature(cls).parameters.get(argument)
        if parameter is not None and isinstance(parameter.default, bool):
            return [str(not parameter.default), str(parameter.default)]
    return []


def _texts_for(argument: str) -> list[str]:
    """The texts that an argument of a layer takes."""
    if argument == "padding":
        return ["valid", "same", "causal"]
    if argument == "data_format":
        return ["channels_last", "channels_first"]
    if argument.endswith("activation"):
        usual = ("relu", "gelu", "sigmoid", "softmax", "tanh")
        return [*dict.fromkeys((*usual, *short_names(activations)))]
    if argument.endswith("_initializer"):
        return short_names(initializers)
    return []


def _named(names: Iterable[str], kind: str) -> list[Match]:
    return [(name, kind) for name in names]


def _starting(fragment: str, found: Iterable[Match]) -> tuple[str, list[Match]]:
    """The choices that begin with the fragment, in whatever case, each once."""
    low = fragment.lower()
    chosen: dict[str, str] = {}
    for text, kind in found:
        if text.lower().startswith(low):
            chosen.setdefault(text, kind)
    return fragment, list(chosen.items())
