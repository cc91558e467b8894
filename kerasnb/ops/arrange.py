"""The same numbers in another arrangement: reshaping, joining, indexing, padding."""

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp

from kerasnb.core import budget, dtypes
from kerasnb.core.errors import check
from kerasnb.core.graph import op
from kerasnb.ops._family import Array, Axis, tensor, unary
from kerasnb.ops._family import axes as axes_of

_STEP = 1 << 15  # bytes, about, of a program for each of its steps

# --- Shapes ---------------------------------------------------------------------------

ravel = unary(jnp.ravel)
copy = unary(jnp.copy)


@op
def reshape(x: Any, newshape: Any) -> Array:
    """The elements in a new shape; one axis may be -1. Shapes: `s -> newshape`.

    >>> reshape([1, 2, 3, 4], (2, -1)).tolist()
    [[1, 2], [3, 4]]
    """
    # A placeholder's unknown length stands as None in a shape.
    if not isinstance(newshape, int):
        newshape = tuple(-1 if n is None else n for n in newshape)
    return jnp.reshape(tensor(x), newshape)


@op
def transpose(x: Any, axes: Any = None) -> Array:
    """The axes in a new order, reversed by default.

    >>> transpose([[1, 2], [3, 4]]).tolist()
    [[1, 3], [2, 4]]
    """
    return jnp.transpose(tensor(x), axes)


@op
def expand_dims(x: Any, axis: Any) -> Array:
    """A new axis of length one. Shapes: `s -> s` with 1 at `axis`.

    >>> expand_dims([1, 2], 0).shape
    (1, 2)
    """
    return jnp.expand_dims(tensor(x), axes_of(axis))


@op
def squeeze(x: Any, axis: Axis = None) -> Array:
    """`x` without axes of length one. Shapes: `s -> s` without `axis`.

    >>> squeeze([[1, 2]]).tolist()
    [1, 2]
    """
    return jnp.squeeze(tensor(x), axes_of(axis))


@op
def swapaxes(x: Any, axis1: int, axis2: int) -> Array:
    """Two axes exchanged.

    >>> swapaxes([[1, 2]], 0, 1).tolist()
    [[1], [2]]
    """
    return jnp.swapaxes(tensor(x), axis1, axis2)


@op
def moveaxis(x: Any, source: Any, destination: Any) -> Array:
    """Axes moved to other places.

    >>> moveaxis(jnp.ones((1, 2, 3)), 0, -1).shape
    (2, 3, 1)
    """
    return jnp.moveaxis(tensor(x), axes_of(source), axes_of(destination))


@op
def broadcast_to(x: Any, shape: Any) -> Array:
    """`x` repeated until it has that shape. Shapes: `s -> shape`.

    >>> broadcast_to([1, 2], (2, 2)).tolist()
    [[1, 2], [1, 2]]
    """
    return jnp.broadcast_to(tensor(x), shape)


@op
def flip(x: Any, axis: Axis = None) -> Array:
    """The elements in reverse order. Shapes: `s -> s`.

    >>> flip([1, 2, 3]).tolist()
    [3, 2, 1]
    """
    return jnp.flip(tensor(x), axes_of(axis))


fliplr = unary(jnp.fliplr)
flipud = unary(jnp.flipud)


@op
def rot90(array: Any, k: int = 1, axes: Any = (0, 1)) -> Array:
    """A plane turned by a quarter, `k` times.

    >>> rot90([[1, 2], [3, 4]]).tolist()
    [[2, 4], [1, 3]]
    """
    array = dtypes.as_array(array)
    check(array.ndim >= 2, "rot90", "array", array, "an array of two or more axes")
    different = len(axes) == 2 and axes[0] != axes[1]
    check(different, "rot90", "axes", axes, "two different axes")
    return jnp.rot90(array, k, tuple(axes))


@op
def roll(x: Any, shift: Any, axis: Axis = None) -> Array:
    """The elements moved on by `shift`, the last ones coming first. Shapes: `s -> s`.

    >>> roll([1, 2, 3], 1).tolist()
    [3, 1, 2]
    """
    return jnp.roll(tensor(x), shift, axes_of(axis))


@op
def view(x: Any, dtype: Any = None) -> Array:
    """The same bytes read as another dtype.

    >>> view(jnp.array([1.0], "float32"), "int32").tolist()
    [1065353216]
    """
    return dtypes.as_array(x).view(dtype)


# --- Joining and splitting ------------------------------------------------------------


@op
def concatenate(xs: Any, axis: int = 0) -> Array:
    """Arrays one after the other along an axis.

    >>> concatenate([[1, 2], [3]]).tolist()
    [1, 2, 3]
    """
    return jnp.concatenate([dtypes.as_array(x) for x in xs], axis)


@op
def stack(x: Any, axis: int = 0) -> Array:
    """Arrays of one shape along a new axis.

    >>> stack([[1, 2], [3, 4]], axis=1).tolist()
    [[1, 3], [2, 4]]
    """
    return jnp.stack([dtypes.as_array(item) for item in x], axis)


@op
def vstack(xs: Any) -> Array:
    """Arrays below one another.

    >>> vstack([[1, 2], [3, 4]]).tolist()
    [[1, 2], [3, 4]]
    """
    return jnp.vstack([dtypes.as_array(x) for x in xs])


@op
def hstack(xs: Any) -> Array:
    """Arrays beside one another.

    >>> hstack([[1, 2], [3, 4]]).tolist()
    [1, 2, 3, 4]
    """
    return jnp.hstack([dtypes.as_array(x) for x in xs])


@op
def dstack(xs: Any) -> Array:
    """Arrays behind one another, along a third axis.

    >>> dstack([[1, 2], [3, 4]]).tolist()
    [[[1, 3], [2, 4]]]
    """
    return jnp.dstack([dtypes.as_array(x) for x in xs])


@op
def append(x1: Any, x2: Any, axis: int | None = None) -> Array:
    """`x2` after `x1`, both flattened unless an axis is given.

    >>> append([1, 2], [3]).tolist()
    [1, 2, 3]
    """
    return jnp.append(dtypes.as_array(x1), dtypes.as_array(x2), axis)


@op
def split(x: Any, indices_or_sections: Any, axis: int = 0) -> list[Array]:
    """Equal parts along an axis, or the parts between given indices.

    >>> [part.tolist() for part in split([1, 2, 3, 4], 2)]
    [[1, 2], [3, 4]]
    """
    return jnp.split(tensor(x), _sections(indices_or_sections), axis)


@op
def array_split(x: Any, indices_or_sections: Any, axis: int = 0) -> list[Array]:
    """`split`, whose parts may differ in length by one.

    >>> [part.tolist() for part in array_split([1, 2, 3], 2)]
    [[1, 2], [3]]
    """
    budget.afford("array_split: its parts", (indices_or_sections,), _STEP)
    return jnp.array_split(tensor(x), _sections(indices_or_sections), axis)


@op
def vsplit(x: Any, indices_or_sections: Any) -> list[Array]:
    """`split` along the first axis."""
    return jnp.vsplit(tensor(x), _sections(indices_or_sections))


@op
def hsplit(x: Any, indices_or_sections: Any) -> list[Array]:
    """`split` along the second axis."""
    return jnp.hsplit(tensor(x), _sections(indices_or_sections))


@op
def dsplit(x: Any, indices_or_sections: Any) -> list[Array]:
    """`split` along the third axis."""
    return jnp.dsplit(tensor(x), _sections(indices_or_sections))


def _sections(value: Any) -> Any:
    return value if isinstance(value, int) else tuple(int(i) for i in value)


@op
def tile(x: Any, repeats: Any) -> Array:
    """The whole array, as often as asked for along each axis.

    >>> tile([1, 2], 2).tolist()
    [1, 2, 1, 2]
    """
    return jnp.tile(tensor(x), repeats)


@op
def repeat(x: Any, repeats: Any, axis: int | None = None) -> Array:
    """Each element, as often as asked for.

    >>> repeat([1, 2], 2).tolist()
    [1, 1, 2, 2]
    """
    return jnp.repeat(tensor(x), tensor(repeats), axis)


@op
def meshgrid(*x: Any, indexing: str = "xy") -> list[Array]:
    """The coordinates of a grid, one array for each axis.

    >>> [a.tolist() for a in meshgrid([1, 2], [3])]
    [[[1, 2]], [[3, 3]]]
    """
    return jnp.meshgrid(*(tensor(item) for item in x), indexing=indexing)


@op
def pad(
    x: Any, pad_width: Any, mode: str = "constant", constant_values: Any = None
) -> Array:
    """Elements added before and after along each axis.

    >>> pad([1, 2], 1).tolist()
    [0, 1, 2, 0]
    """
    if constant_values is None:
        return jnp.pad(tensor(x), pad_width, mode)
    check(mode == "constant", "pad", "mode", mode, '"constant" with `constant_values`')
    return jnp.pad(tensor(x), pad_width, mode, constant_values=constant_values)


# --- Parts ----------------------------------------------------------------------------


@op
def get_item(x: Any, key: Any) -> Array:
    """`x[key]`.

    >>> get_item([1, 2, 3], 1).tolist()
    2
    """
    return dtypes.as_array(x)[key]


@op
def take(x: Any, indices: Any, axis: int | None = None) -> Array:
    """The elements at the given indices; out of range gives NaN.

    >>> take([10, 20, 30], [2, 0]).tolist()
    [30, 10]
    """
    return jnp.take(tensor(x), dtypes.as_array(indices), axis=axis)


@op
def take_along_axis(x: Any, indices: Any, axis: int | None = None) -> Array:
    """For each line along `axis` the elements at its own indices.

    >>> take_along_axis([[1, 2], [3, 4]], [[1], [0]], axis=1).tolist()
    [[2], [3]]
    """
    return jnp.take_along_axis(tensor(x), dtypes.as_array(indices), axis=axis)


@op
def diag(x: Any, k: int = 0) -> Array:
    """The diagonal of a matrix, or the matrix with that diagonal.

    >>> diag([1, 2]).tolist()
    [[1, 0], [0, 2]]
    """
    return jnp.diag(tensor(x), k)


@op
def diagflat(x: Any, k: int = 0) -> Array:
    """The matrix with the flattened `x` on its diagonal.

    >>> diagflat([[1, 2]]).tolist()
    [[1, 0], [0, 2]]
    """
    return jnp.diagflat(tensor(x), k)


@op
def diagonal(x: Any, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Array:
    """The diagonal of the plane of two axes.

    >>> diagonal([[1, 2], [3, 4]]).tolist()
    [1, 4]
    """
    return jnp.diagonal(tensor(x), offset, axis1, axis2)


@op
def tril(x: Any, k: int = 0) -> Array:
    """`x` on and below the `k`-th diagonal, zeros above. Shapes: `s -> s`.

    >>> tril([[1, 2], [3, 4]]).tolist()
    [[1, 0], [3, 4]]
    """
    return jnp.tril(tensor(x), k)


@op
def triu(x: Any, k: int = 0) -> Array:
    """`x` on and above the `k`-th diagonal, zeros below. Shapes: `s -> s`.

    >>> triu([[1, 2], [3, 4]]).tolist()
    [[1, 2], [0, 4]]
    """
    return jnp.triu(tensor(x), k)


@op
def diff(a: Any, n: int = 1, axis: int = -1) -> Array:
    """The differences of neighbours, `n` times over.

    >>> diff([1, 4, 9]).tolist()
    [3, 5]
    """
    budget.afford(f"diff: {n} steps", (n,), _STEP)
    return jnp.diff(tensor(a), n, axis)


@op
def vander(x: Any, N: int | None = None, increasing: bool = False) -> Array:
    """The powers of each element in a row. Shapes: `(n,) -> (n, N)`.

    >>> vander([1, 2], 3).tolist()
    [[1, 1, 1], [4, 2, 1]]
    """
    return jnp.vander(tensor(x), N, increasing)


@op
def unravel_index(indices: Any, shape: Sequence[int]) -> tuple[Array, ...]:
    """Positions in a flattened array as indices of an array of that shape.

    >>> [i.tolist() for i in unravel_index([3], (2, 2))]
    [[1], [1]]
    """
    return jnp.unravel_index(dtypes.as_array(indices), tuple(shape))
