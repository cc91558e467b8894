"""What weights must satisfy after each step: `keras.constraints`."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from kerasnb.core import dtypes, settings
from kerasnb.core.configurable import Catalog, Configurable
from kerasnb.core.naming import to_snake_case

Array = jax.Array
Axis = int | Sequence[int]


class Constraint(Configurable):
    """A function that moves a weight to the nearest allowed value.

    Subclasses write `__call__`; their config follows from the constructor.
    """

    def __init__(self) -> None:
        # Present, so that arguments it does not take are refused.
        super().__init__()

    def __call__(self, w: Any) -> Array:
        """The allowed weight."""
        return w


class NonNeg(Constraint):
    """No negative weights.

    >>> NonNeg()(jnp.array([-1.0, 2.0])).tolist()
    [0.0, 2.0]
    """

    def __call__(self, w: Any) -> Array:
        """The allowed weight."""
        return jnp.maximum(dtypes.as_array(w), 0)


class MinMaxNorm(Constraint):
    """The norm along `axis` moved towards the range from `min_value` to `max_value`.

    `rate` is the share of the way gone at each step. For a dense kernel axis 0 holds
    the inputs of a unit, for a 2D convolution axes 0, 1 and 2.

    >>> round(float(MinMaxNorm(2.0, 3.0)(jnp.array([1.0]))[0]), 4)
    2.0
    """

    def __init__(
        self,
        min_value: float = 0.0,
        max_value: float = 1.0,
        rate: float = 1.0,
        axis: Axis = 0,
    ) -> None:
        self.min_value, self.max_value = min_value, max_value
        self.rate, self.axis = rate, axis

    def __call__(self, w: Any) -> Array:
        """The allowed weight."""
        w = dtypes.as_array(w)
        norm = _norm(w, self.axis)
        allowed = jnp.clip(norm, self.min_value, self.max_value)
        wanted = self.rate * allowed + (1 - self.rate) * norm
        return w * (wanted / (settings.epsilon() + norm))


class MaxNorm(Constraint):
    """A norm along `axis` of at most `max_value` (Srivastava et al., 2014).

    >>> MaxNorm(2.0)(jnp.array([4.0])).tolist()
    [2.0]
    """

    def __init__(self, max_value: float = 2, axis: Axis = 0) -> None:
        self.max_value, self.axis = max_value, axis

    def __call__(self, w: Any) -> Array:
        """The allowed weight."""
        w = dtypes.as_array(w)
        norm = _norm(w, self.axis)
        wanted = jnp.clip(norm, 0, self.max_value)
        return w * (wanted / (settings.epsilon() + norm))


class UnitNorm(Constraint):
    """A norm of one along `axis`.

    >>> UnitNorm()(jnp.array([4.0])).tolist()
    [1.0]
    """

    def __init__(self, axis: Axis = 0) -> None:
        self.axis = axis

    def __call__(self, w: Any) -> Array:
        """The allowed weight."""
        w = dtypes.as_array(w)
        return w / (settings.epsilon() + _norm(w, self.axis))


def _norm(w: Array, axis: Axis) -> Array:
    axis = tuple(axis) if isinstance(axis, list) else axis
    return jnp.sqrt(jnp.sum(jnp.square(w), axis=axis, keepdims=True))


# --- By name --------------------------------------------------------------------------

_CLASSES = (MaxNorm, NonNeg, UnitNorm, MinMaxNorm, Constraint)
_catalog = Catalog(
    "constraint",
    Constraint,
    {to_snake_case(cls.__name__): cls for cls in _CLASSES}
    | {cls.__name__: cls for cls in _CLASSES},
)
get, deserialize = _catalog.get, _catalog.deserialize
max_norm, non_neg, unit_norm, min_max_norm = MaxNorm, NonNeg, UnitNorm, MinMaxNorm


def serialize(constraint: Any) -> Any:
    """A constraint as plain data, for `deserialize`."""
    return _catalog.serialize(constraint)
