"""Penalties on weights: `keras.regularizers`."""

import math
from typing import Any

import jax
import jax.numpy as jnp

from kerasnb.core import dtypes
from kerasnb.core.configurable import Catalog, Configurable
from kerasnb.core.errors import check
from kerasnb.core.naming import to_snake_case
from kerasnb.ops import normalize

Array = jax.Array


class Regularizer(Configurable):
    """A function of a weight whose value is added to the loss.

    Subclasses write `__call__`; their config follows from the constructor.
    """

    def __init__(self) -> None:
        # Present, so that arguments it does not take are refused.
        super().__init__()

    def __call__(self, x: Any) -> Array | float:
        """The penalty."""
        return 0.0


class L1L2(Regularizer):
    """`l1 · Σ|x| + l2 · Σx²`.

    >>> float(L1L2(l1=1.0, l2=1.0)(jnp.array([2.0])))
    6.0
    """

    def __init__(self, l1: float | None = 0.0, l2: float | None = 0.0) -> None:
        self.l1 = self._factor("l1", 0.0 if l1 is None else l1)
        self.l2 = self._factor("l2", 0.0 if l2 is None else l2)

    def __call__(self, x: Any) -> Array:
        """The penalty."""
        x = dtypes.as_array(x)
        penalty = jnp.zeros((), x.dtype)
        if self.l1:
            penalty = penalty + self.l1 * jnp.sum(jnp.abs(x))
        if self.l2:
            penalty = penalty + self.l2 * jnp.sum(jnp.square(x))
        return penalty

    def _factor(self, name: str, value: Any) -> float:
        number = isinstance(value, int | float) and math.isfinite(value) and value >= 0
        check(number, type(self).__name__, name, value, "a number of at least 0")
        return float(value)


class L1(L1L2):
    """`l1 · Σ|x|`, which makes many weights zero.

    >>> float(L1(0.5)(jnp.array([2.0, -2.0])))
    2.0
    """

    def __init__(self, l1: float | None = 0.01) -> None:
        super().__init__(l1=0.01 if l1 is None else l1)


class L2(L1L2):
    """`l2 · Σx²`, which keeps weights small.

    >>> float(L2(0.5)(jnp.array([2.0, -2.0])))
    4.0
    """

    def __init__(self, l2: float | None = 0.01) -> None:
        super().__init__(l2=0.01 if l2 is None else l2)


class OrthogonalRegularizer(Regularizer):
    """`factor` times the mean |cosine| between the rows, or columns, of a matrix.

    >>> float(OrthogonalRegularizer(1.0)(jnp.eye(2)))
    0.0
    """

    def __init__(self, factor: float = 0.01, mode: str = "rows") -> None:
        who, modes = "OrthogonalRegularizer", ("rows", "columns")
        number = isinstance(factor, int | float) and factor >= 0
        check(number, who, "factor", factor, "a number of at least 0")
        check(mode in modes, who, "mode", mode, f"one of {modes}")
        self.factor, self.mode = float(factor), mode

    def __call__(self, x: Any) -> Array:
        """The penalty; ValueError for another rank than 2."""
        x = dtypes.as_array(x)
        check(x.ndim == 2, "OrthogonalRegularizer", "inputs", x, "a matrix")
        x = normalize(x if self.mode == "rows" else x.T, axis=1)
        cosines = x @ x.T
        size = x.shape[0]
        between = jnp.abs(cosines * (1.0 - jnp.eye(size, dtype=x.dtype)))
        return self.factor * jnp.sum(between) / (size * (size - 1.0))


# --- By name --------------------------------------------------------------------------

_CLASSES = (L1, L2, L1L2, OrthogonalRegularizer, Regularizer)
_catalog = Catalog(
    "regularizer",
    Regularizer,
    {to_snake_case(cls.__name__): cls for cls in _CLASSES}
    | {cls.__name__: cls for cls in _CLASSES}
    | {"l1_l2": L1L2},
)
get, deserialize = _catalog.get, _catalog.deserialize
l1, l2, l1_l2, orthogonal_regularizer = L1, L2, L1L2, OrthogonalRegularizer


def serialize(regularizer: Any) -> Any:
    """A regularizer as plain data, for `deserialize`."""
    return _catalog.serialize(regularizer)
