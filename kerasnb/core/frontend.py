"""The one door to the notebook room: nothing else outside of it knows it is there."""

import importlib
import sys
from types import ModuleType

from kerasnb.core import settings


def in_notebook() -> bool:
    """Whether this process is a Jupyter kernel, so that rich output has a reader."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return getattr(shell, "kernel", None) is not None


def display_mode() -> str:
    """`"widget"`, `"html"`, `"text"` or `"none"`: what a picture should be made of."""
    mode = settings.display()
    if mode != "auto":
        return mode
    return "widget" if in_notebook() else "text"


def notebook(part: str) -> ModuleType:
    """Import a part of the notebook room, at the moment somebody looks."""
    return importlib.import_module(f"kerasnb.notebook.{part}")


class Displayable:
    """An object that draws itself as the last line of a notebook cell."""

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict:
        return notebook("display").mimebundle(self)
