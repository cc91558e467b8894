"""What `%load_ext kerasnb` does to a shell, and how it is undone."""

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
    tracebacks.remove(shell)
    cells.unwatch(shell)


def _formatter(shell: Any) -> Any:
    return shell.display_formatter.formatters.get(
        "mimebundle", shell.display_formatter.mimebundle_formatter
    )
