"""What `%load_ext kerasnb` does to a shell, and how it is undone."""

import re
from typing import Any

from kerasnb import callbacks
from kerasnb.core.variable import Variable
from kerasnb.layers.layer import Layer
from kerasnb.notebook import cells, completer, tracebacks
from kerasnb.notebook.display import mimebundle
from kerasnb.notebook.magics import KerasMagics

_DRAWN = (Layer, Variable, callbacks.History)
_IDENTIFIER = "kerasnb"


def load(shell: Any) -> None:
    """Register magics, completion, displays and short errors."""
    unload(shell)
    magics = KerasMagics(shell)
    shell.register_magics(magics)
    shell.configurables.append(magics.defaults)  # for `%config KerasNB`
    shell.Completer.custom_matchers.append(completer.make_matcher(shell))
    for kind in _DRAWN:
        _formatter(shell).for_type(kind, mimebundle)
    shell.input_transformers_cleanup.insert(0, _with_body)
    tracebacks.install(shell)
    cells.watch(shell)


def unload(shell: Any) -> None:
    """Take all of it back; does nothing to a shell without it."""
    manager = shell.magics_manager
    magics = manager.registry.pop(KerasMagics.__name__, None)
    if magics is None:
        return
    shell.configurables[:] = [
        one for one in shell.configurables if one not in (magics, magics.defaults)
    ]
    shell.config.pop("KerasNB", None)
    if magics.profile is not None:
        shell.config["KerasNB"] = magics.profile
    for kind, functions in KerasMagics.magics.items():
        for name in functions:
            manager.magics[kind].pop(name, None)
    matchers = shell.Completer.custom_matchers
    matchers[:] = [
        m for m in matchers if getattr(m, "matcher_identifier", "") != _IDENTIFIER
    ]
    for kind in _DRAWN:
        _formatter(shell).pop(kind, None)
    transformers = shell.input_transformers_cleanup
    transformers[:] = [t for t in transformers if t is not _with_body]
    tracebacks.remove(shell)
    cells.unwatch(shell)


def _with_body(lines: list[str]) -> list[str]:
    """A `%%kmodel` cell of one line with an empty line below it.

    Without one IPython answers in words of its own; so `%%kmodel --help` works too.
    """
    alone = len(lines) == 1 and re.match(r"%%kmodel(\s|$)", lines[0])
    return [f"{lines[0].rstrip()}\n", "\n"] if alone else lines


# Not asked whether a cell typed in a terminal is at its end: an empty line says so.
_with_body.has_side_effects = True  # type: ignore[attr-defined]


def _formatter(shell: Any) -> Any:
    return shell.display_formatter.formatters.get(
        "mimebundle", shell.display_formatter.mimebundle_formatter
    )
