"""Families of ops that follow `jax.numpy` but for the names of their arguments.

`sin = unary(jnp.sin)` is `op(jnp.sin)` with Keras' signature, `sin(x)`, and Keras'
readiness to take lists, variables and NumPy arrays.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

from kerasnb.core import dtypes
from kerasnb.core.graph import op
from kerasnb.core.variable import Variable

Array = jax.Array
Axis = int | Sequence[int] | None
_NUMBERS = (bool, int, float, complex)


def tensor(x: Any) -> Any:
    """`x` as something `jax.numpy` takes; Python numbers stay, and stay weak."""
    if isinstance(x, jax.Array | np.ndarray):
        return x if isinstance(x, jax.Array) else dtypes.as_array(x)
    if isinstance(x, Variable):
        return x.value
    return x if isinstance(x, _NUMBERS) else dtypes.as_array(x)


def floating(x: Any) -> Any:
    """`x` as floats: integers and booleans become `floatx()`, at least."""
    x = tensor(x)
    dtype = dtypes.standardize_dtype(getattr(x, "dtype", type(x)))
    if dtypes.is_float(dtype) or "complex" in dtype:
        return x
    return dtypes.as_array(x).astype(dtypes.canonical(dtypes.result_type(dtype, float)))


def axes(axis: Axis) -> Any:
    """Axes as `jax.numpy` takes them, hashable."""
    return tuple(axis) if isinstance(axis, list) else axis


def dressed(call: Callable, like: Callable, name: str | None = None) -> Callable:
    """`call` as an op, with the name and the first words of `like`'s documentation."""
    call.__name__ = call.__qualname__ = name or like.__name__
    summary = (like.__doc__ or "").strip().partition("\n\n")[0]
    room = ".".join(
        part
        for part in like.__module__.split(".")
        if part not in ("_src", "functions", "scatter")
    )
    call.__doc__ = f"{summary}\n\nComputed by `{room}.{like.__name__}`."
    call.__module__ = "kerasnb.ops"
    return op(call)


def unary(fn: Callable, name: str | None = None) -> Callable[[Any], Array]:
    """`fn` with the signature `(x)`."""

    def call(x: Any) -> Array:
        return fn(tensor(x))

    return dressed(call, fn, name)


def float_unary(fn: Callable, name: str | None = None) -> Callable[[Any], Array]:
    """`fn` with the signature `(x)`, always computed in floats."""

    def call(x: Any) -> Array:
        return fn(floating(x))

    return dressed(call, fn, name)


def binary(fn: Callable, name: str | None = None) -> Callable[[Any, Any], Array]:
    """`fn` with the signature `(x1, x2)`."""

    def call(x1: Any, x2: Any) -> Array:
        return fn(tensor(x1), tensor(x2))

    return dressed(call, fn, name)


def bitwise(fn: Callable, name: str | None = None) -> Callable[[Any, Any], Array]:
    """`fn` with the signature `(x, y)`."""

    def call(x: Any, y: Any) -> Array:
        return fn(tensor(x), tensor(y))

    return dressed(call, fn, name)


def reduction(fn: Callable, name: str | None = None) -> Callable[..., Array]:
    """`fn` with the signature `(x, axis=None, keepdims=False)`."""

    def call(x: Any, axis: Axis = None, keepdims: bool = False) -> Array:
        return fn(tensor(x), axis=axes(axis), keepdims=keepdims)

    return dressed(call, fn, name)
