"""`optax`, imported when the first rule is made: `import kerasnb` need not wait for it.

Measured: 50 ms on top of `import jax`, and most rules of Keras are not optax' anyway.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import optax as optax
else:

    class _Optax:
        def __getattr__(self, name: str) -> Any:
            return getattr(importlib.import_module("optax"), name)

    optax = _Optax()
