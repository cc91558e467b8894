"""Everything that knows Jupyter: the magics, the pictures, the live panel.

No other room imports this one; it is asked for by `%load_ext kerasnb` and when an
object is shown.
"""

import importlib
from typing import Any

from kerasnb.notebook import cells

# A function named like the file it is in must be here before that file is imported
# by somebody else: Python then leaves the name to the function.
from kerasnb.notebook.inspect import inspect as inspect
from kerasnb.notebook.kmodel import build_model as build_model
from kerasnb.notebook.mistakes import mistakes as mistakes

cells.watch()


def load_ipython_extension(shell: Any) -> None:
    """Register magics, completion, displays and short errors: `%load_ext kerasnb`."""
    importlib.import_module(f"{__name__}.extension").load(shell)


def unload_ipython_extension(shell: Any) -> None:
    """Take back everything that loading did: `%unload_ext kerasnb`."""
    importlib.import_module(f"{__name__}.extension").unload(shell)
