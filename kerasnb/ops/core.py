"""Arrays in and out, dtypes, control flow, scattered updates."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from kerasnb.core import dtypes
from kerasnb.core.errors import check
from kerasnb.core.graph import KerasTensor, is_symbolic, op
from kerasnb.core.variable import Variable
from kerasnb.ops._family import Array, tensor

# --- Arrays and dtypes ----------------------------------------------------------------


def convert_to_tensor(
    x: Any, dtype: Any = None, sparse: bool | None = None, ragged: bool | None = None
) -> Array:
    """`x` as a JAX array, cast to `dtype` when one is given.

    >>> convert_to_tensor([1, 2], "float32").tolist()
    [1.0, 2.0]
    """
    check(not ragged, "convert_to_tensor", "ragged", ragged, "False")
    if is_symbolic(x):
        return x if dtype is None else cast(x, dtype)
    if isinstance(x, Variable):
        x = x.value
    if dtype is None and isinstance(x, bool | int | float | complex):
        return jnp.asarray(x)  # a number without a dtype stays weak
    if isinstance(x, jax.Array) and dtype is not None:
        return x.astype(dtypes.canonical(dtype))
    return dtypes.as_array(x, dtype)


@op
def array(x: Any, dtype: Any = None) -> Array:
    """A new JAX array with the values of `x`.

    >>> array([1, 2]).tolist()
    [1, 2]
    """
    return jnp.array(tensor(x), dtype=dtype)


def convert_to_numpy(x: Any) -> np.ndarray:
    """`x` as a NumPy array of its own.

    >>> convert_to_numpy(jnp.ones(2)).tolist()
    [1.0, 1.0]
    """
    return np.array(x.value if isinstance(x, Variable) else x)


def is_tensor(x: Any) -> bool:
    """Whether `x` is a JAX array or a placeholder for one.

    >>> is_tensor(jnp.ones(2)), is_tensor(np.ones(2))
    (True, False)
    """
    return isinstance(x, jax.Array | KerasTensor)


def shape(x: Any) -> tuple[int | None, ...]:
    """The lengths of the axes; None where a placeholder does not know.

    >>> shape(jnp.ones((2, 3)))
    (2, 3)
    """
    return tuple(x.shape if hasattr(x, "shape") else np.shape(x))


def dtype(x: Any) -> str:
    """The name of the dtype of `x`.

    >>> dtype(jnp.ones(2))
    'float32'
    """
    return dtypes.standardize_dtype(x.dtype if hasattr(x, "dtype") else type(x))


@op
def cast(x: Any, dtype: Any) -> Array:
    """`x` in another dtype. Shapes: `s -> s`.

    >>> cast([1, 2], "float32").tolist()
    [1.0, 2.0]
    """
    return convert_to_tensor(x, dtypes.standardize_dtype(dtype))


@op
def saturate_cast(x: Any, dtype: Any) -> Array:
    """`x` in another dtype, moved to its nearest number where it does not fit.

    >>> saturate_cast([300.0, -2.0], "uint8").tolist()
    [255, 0]
    """
    x, name = dtypes.as_array(x), dtypes.canonical(dtype)
    (low, high), (least, most) = _range(name), _range(x.dtype.name)
    if x.dtype != bool:
        x = jnp.clip(x, max(low, least), min(high, most))
    return x.astype(name)


def _range(dtype: str) -> tuple[Any, Any]:
    """The least and the largest number of a dtype."""
    if dtype == "bool":
        return 0, 1
    if dtypes.is_float(dtype):
        return float(jnp.finfo(dtype).min), float(jnp.finfo(dtype).max)
    return int(jnp.iinfo(dtype).min), int(jnp.iinfo(dtype).max)


@op
def stop_gradient(variable: Any) -> Array:
    """`variable`, as a constant for differentiation. Shapes: `s -> s`.

    >>> float(jax.grad(lambda x: x * stop_gradient(x))(3.0))
    3.0
    """
    return jax.lax.stop_gradient(tensor(variable))


def custom_gradient(f: Callable) -> Callable:
    """A function that returns `(value, grad_fn)`, as one with that gradient."""
    with_gradient = jax.custom_gradient(f)

    def call(*args: Any, **kwargs: Any) -> Any:
        return with_gradient(*(tensor(x) for x in args), **kwargs)

    return call


# --- Control flow ---------------------------------------------------------------------


@op
def cond(pred: Any, true_fn: Callable, false_fn: Callable) -> Any:
    """`true_fn()` where `pred` holds, else `false_fn()`, also inside compiled code.

    >>> int(cond(True, lambda: 1, lambda: 2))
    1
    """
    return jax.lax.cond(tensor(pred), true_fn, false_fn)


@op
def switch(index: Any, branches: Sequence[Callable], *operands: Any) -> Any:
    """The branch of that number, called on the operands.

    >>> int(switch(1, [lambda x: x, lambda x: -x], 5))
    -5
    """
    return jax.lax.switch(index, branches, *(tensor(x) for x in operands))


@op
def while_loop(
    cond: Callable,
    body: Callable,
    loop_vars: Any,
    maximum_iterations: int | None = None,
) -> Any:
    """`body(*loop_vars)` again and again while `cond(*loop_vars)` holds.

    >>> int(while_loop(lambda i: i < 5, lambda i: i + 1, 0))
    5
    """
    many = isinstance(loop_vars, tuple | list)
    start = tuple(loop_vars) if many else (loop_vars,)

    def goes_on(state: tuple) -> Any:
        count, values = state
        more = cond(*values)
        return (
            more if maximum_iterations is None else more & (count < maximum_iterations)
        )

    def once(state: tuple) -> tuple:
        count, values = state
        out = body(*values)
        return count + 1, tuple(out) if many else (out,)

    _, out = jax.lax.while_loop(goes_on, once, (0, start))
    return out if many else out[0]


@op
def fori_loop(lower: Any, upper: Any, body_fun: Callable, init_val: Any) -> Any:
    """`val = body_fun(i, val)` for `i` from `lower` up to, but without, `upper`.

    >>> int(fori_loop(0, 4, lambda i, total: total + i, 0))
    6
    """
    return jax.lax.fori_loop(lower, upper, body_fun, init_val)


@op
def scan(
    f: Callable,
    init: Any,
    xs: Any = None,
    length: int | None = None,
    reverse: bool = False,
    unroll: int | bool = 1,
) -> Any:
    """`carry, y = f(carry, x)` for each `x`; the last carry and the stacked `y`s.

    >>> total, sums = scan(lambda c, x: (c + x, c + x), 0, jnp.arange(4))
    >>> int(total), sums.tolist()
    (6, [0, 1, 3, 6])
    """
    check(
        isinstance(unroll, bool) or (isinstance(unroll, int) and unroll > 0),
        "scan",
        "unroll",
        unroll,
        "a positive integer or a bool",
    )
    return jax.lax.scan(f, init, xs, length, reverse, unroll)


@op
def associative_scan(
    f: Callable, elems: Any, reverse: bool = False, axis: int = 0
) -> Any:
    """The results of `f` over the first one, two, three, ... elements, in parallel.

    >>> associative_scan(lambda a, b: a + b, jnp.arange(4)).tolist()
    [0, 1, 3, 6]
    """
    return jax.lax.associative_scan(f, elems, reverse, axis)


@op
def map(f: Callable, xs: Any) -> Any:
    """`f` of each element along the first axis, one after the other, stacked.

    >>> map(lambda x: x**2, jnp.arange(3)).tolist()
    [0, 1, 4]
    """
    return jax.lax.map(f, xs)


@op
def vectorized_map(function: Callable, elements: Any) -> Any:
    """`function` of each element along the first axis, all at once.

    >>> vectorized_map(lambda x: x**2, jnp.arange(3)).tolist()
    [0, 1, 4]
    """
    return jax.vmap(function)(elements)


# --- Slices and scattered elements ----------------------------------------------------


@op
def slice(inputs: Any, start_indices: Any, shape: Any) -> Array:
    """The block of that shape which begins at `start_indices`; -1 means to the end.

    >>> slice([1, 2, 3, 4], [1], [2]).tolist()
    [2, 3]
    """
    inputs = dtypes.as_array(inputs)
    sizes = [
        int(inputs.shape[i] - start_indices[i]) if n == -1 else n
        for i, n in enumerate(shape)
    ]
    return jax.lax.dynamic_slice(inputs, start_indices, sizes)


@op
def slice_update(inputs: Any, start_indices: Any, updates: Any) -> Array:
    """`inputs` with a block replaced by `updates`. Shapes: `s, (ndim,), t -> s`.

    >>> slice_update([1, 2, 3, 4], [1], [7, 8]).tolist()
    [1, 7, 8, 4]
    """
    inputs, updates = dtypes.as_array(inputs), dtypes.as_array(updates)
    return jax.lax.dynamic_update_slice(inputs, updates, start_indices)


@op
def scatter(indices: Any, values: Any, shape: Any) -> Array:
    """Zeros of that shape with `values` added at `indices`, one row of them for each.

    >>> scatter([[0], [2]], [1.0, 2.0], (3,)).tolist()
    [1.0, 0.0, 2.0]
    """
    values = dtypes.as_array(values)
    where = tuple(jnp.moveaxis(dtypes.as_array(indices), -1, 0))
    return jnp.zeros(shape, values.dtype).at[where].add(values)


_REDUCTIONS = {None: "set", "add": "add", "max": "max", "min": "min", "mul": "multiply"}


@op
def scatter_update(
    inputs: Any, indices: Any, updates: Any, reduction: str | None = None
) -> Array:
    """`inputs` with the elements at `indices` replaced, or combined, by `updates`.

    `reduction` is None, `"add"`, `"max"`, `"min"` or `"mul"`.

    >>> scatter_update([1.0, 2.0], [[1]], [5.0]).tolist()
    [1.0, 5.0]
    """
    check(
        reduction in _REDUCTIONS,
        "scatter_update",
        "reduction",
        reduction,
        f"one of {tuple(_REDUCTIONS)}",
    )
    where = tuple(jnp.transpose(dtypes.as_array(indices)))
    places = dtypes.as_array(inputs).at[where]
    return getattr(places, _REDUCTIONS[reduction])(tensor(updates))


@op
def unstack(x: Any, num: int | None = None, axis: int = 0) -> list[Array]:
    """The slices along an axis, as a list; `num` says how many if it is unknown.

    >>> [part.tolist() for part in unstack([[1, 2], [3, 4]])]
    [[1, 2], [3, 4]]
    """
    x = dtypes.as_array(x)
    places = range(x.shape[axis] if num is None else num)
    return [jax.lax.index_in_dim(x, i, axis, keepdims=False) for i in places]
