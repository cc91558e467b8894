"""Arithmetic by NumPy's names: elementwise, reductions, products, new arrays."""

import builtins
import math
from typing import Any

import jax
import jax.numpy as jnp

from kerasnb.core import dtypes, settings
from kerasnb.core.errors import check
from kerasnb.core.graph import op
from kerasnb.ops._family import (
    Array,
    Axis,
    axes,
    binary,
    bitwise,
    dressed,
    float_unary,
    floating,
    reduction,
    tensor,
    unary,
)
from kerasnb.ops.arrange import append as append
from kerasnb.ops.arrange import array_split as array_split
from kerasnb.ops.arrange import broadcast_to as broadcast_to
from kerasnb.ops.arrange import concatenate as concatenate
from kerasnb.ops.arrange import copy as copy
from kerasnb.ops.arrange import diag as diag
from kerasnb.ops.arrange import diagflat as diagflat
from kerasnb.ops.arrange import diagonal as diagonal
from kerasnb.ops.arrange import diff as diff
from kerasnb.ops.arrange import dsplit as dsplit
from kerasnb.ops.arrange import dstack as dstack
from kerasnb.ops.arrange import expand_dims as expand_dims
from kerasnb.ops.arrange import flip as flip
from kerasnb.ops.arrange import fliplr as fliplr
from kerasnb.ops.arrange import flipud as flipud
from kerasnb.ops.arrange import get_item as get_item
from kerasnb.ops.arrange import hsplit as hsplit
from kerasnb.ops.arrange import hstack as hstack
from kerasnb.ops.arrange import meshgrid as meshgrid
from kerasnb.ops.arrange import moveaxis as moveaxis
from kerasnb.ops.arrange import pad as pad
from kerasnb.ops.arrange import ravel as ravel
from kerasnb.ops.arrange import repeat as repeat
from kerasnb.ops.arrange import reshape as reshape
from kerasnb.ops.arrange import roll as roll
from kerasnb.ops.arrange import rot90 as rot90
from kerasnb.ops.arrange import split as split
from kerasnb.ops.arrange import squeeze as squeeze
from kerasnb.ops.arrange import stack as stack
from kerasnb.ops.arrange import swapaxes as swapaxes
from kerasnb.ops.arrange import take as take
from kerasnb.ops.arrange import take_along_axis as take_along_axis
from kerasnb.ops.arrange import tile as tile
from kerasnb.ops.arrange import transpose as transpose
from kerasnb.ops.arrange import tril as tril
from kerasnb.ops.arrange import triu as triu
from kerasnb.ops.arrange import unravel_index as unravel_index
from kerasnb.ops.arrange import vander as vander
from kerasnb.ops.arrange import view as view
from kerasnb.ops.arrange import vsplit as vsplit
from kerasnb.ops.arrange import vstack as vstack
from kerasnb.ops.core import array as array
from kerasnb.ops.linalg import slogdet as slogdet

# --- Arithmetic -----------------------------------------------------------------------

add = binary(jnp.add)
subtract = binary(jnp.subtract)
multiply = binary(jnp.multiply)
divide = binary(jnp.divide)
true_divide = binary(jnp.divide, "true_divide")
floor_divide = binary(jnp.floor_divide)
mod = binary(jnp.mod)
fmod = binary(jnp.fmod)
power = binary(jnp.power)
maximum = binary(jnp.maximum)
minimum = binary(jnp.minimum)
fmax = binary(jnp.fmax)
fmin = binary(jnp.fmin)
hypot = binary(jnp.hypot)
heaviside = binary(jnp.heaviside)
gcd = binary(jnp.gcd)
lcm = binary(jnp.lcm)
nextafter = binary(jnp.nextafter)
negative = unary(jnp.negative)
positive = unary(jnp.positive)
absolute = abs = unary(jnp.absolute)
fabs = unary(jnp.fabs)
sign = unary(jnp.sign)
signbit = unary(jnp.signbit)
square = unary(jnp.square)
sqrt = unary(jnp.sqrt)
cbrt = unary(jnp.cbrt)
reciprocal = unary(jnp.reciprocal)
real = unary(jnp.real)
imag = unary(jnp.imag)
conjugate = conj = unary(jnp.conjugate)
angle = float_unary(jnp.angle)
deg2rad = unary(jnp.deg2rad)
rad2deg = unary(jnp.rad2deg)
ceil = float_unary(jnp.ceil)
floor = float_unary(jnp.floor)


@op
def trunc(x: Any) -> Array:
    """The integer part, towards zero; integers stay as they are. Shapes: `s -> s`.

    >>> trunc([-1.5, 1.5]).tolist()
    [-1.0, 1.0]
    """
    x = dtypes.as_array(x)
    return jnp.trunc(x) if dtypes.is_float(x.dtype) else x


@op
def round(x: Any, decimals: int = 0) -> Array:
    """The nearest number with `decimals` digits after the point. Shapes: `s -> s`.

    >>> round([1.4, 1.6]).tolist()
    [1.0, 2.0]
    """
    x = dtypes.as_array(x)
    if dtypes.is_int(x.dtype) and decimals < 0:
        unit = 10.0**decimals
        as_float = x.astype(dtypes.canonical(None))
        return (jnp.round(as_float * unit) / unit).astype(x.dtype)
    return jnp.round(x, decimals)


@op
def divide_no_nan(x1: Any, x2: Any) -> Array:
    """`x1 / x2`, and zero where `x2` is zero. Shapes: `s, s -> s`, broadcast.

    >>> divide_no_nan([1.0, 1.0], [0.0, 2.0]).tolist()
    [0.0, 0.5]
    """
    x1, x2 = tensor(x1), tensor(x2)
    safe = jnp.where(jnp.equal(x2, 0), 1, x2)
    return jnp.where(jnp.equal(x2, 0), 0, jnp.divide(x1, safe))


@op
def clip(x: Any, x_min: Any, x_max: Any) -> Array:
    """`x`, moved to `x_min` from below and to `x_max` from above. Shapes: `s -> s`.

    >>> clip([-2.0, 0.5, 2.0], -1, 1).tolist()
    [-1.0, 0.5, 1.0]
    """
    x = dtypes.as_array(x)
    x = x.astype("int32") if x.dtype == bool else x
    return jnp.clip(x, tensor(x_min), tensor(x_max))


@op
def nan_to_num(
    x: Any, nan: float = 0.0, posinf: float | None = None, neginf: float | None = None
) -> Array:
    """`x` with numbers in the place of NaN and infinity. Shapes: `s -> s`.

    >>> nan_to_num([float("nan"), 1.0]).tolist()
    [0.0, 1.0]
    """
    return jnp.nan_to_num(tensor(x), nan=nan, posinf=posinf, neginf=neginf)


# --- Exponentials and logarithms ------------------------------------------------------

exp = float_unary(jnp.exp)
exp2 = float_unary(jnp.exp2)
expm1 = float_unary(jnp.expm1)
log = float_unary(jnp.log)
log2 = float_unary(jnp.log2)
log10 = float_unary(jnp.log10)
log1p = float_unary(jnp.log1p)
logaddexp = binary(jnp.logaddexp)
logaddexp2 = binary(jnp.logaddexp2)
i0 = float_unary(jnp.i0)
sinc = float_unary(jnp.sinc)


@op
def ldexp(x1: Any, x2: Any) -> Array:
    """`x1 · 2^x2` for integers `x2`. Shapes: `s, s -> s`, broadcast.

    >>> ldexp([1.0, 3.0], [2, 1]).tolist()
    [4.0, 6.0]
    """
    x2 = dtypes.as_array(x2)
    check(dtypes.is_int(x2.dtype), "ldexp", "x2", x2, "an array of integers")
    return jnp.ldexp(tensor(x1), x2)


# --- Trigonometry ---------------------------------------------------------------------

sin = float_unary(jnp.sin)
cos = float_unary(jnp.cos)
tan = float_unary(jnp.tan)
arcsin = float_unary(jnp.arcsin)
arccos = float_unary(jnp.arccos)
arctan = float_unary(jnp.arctan)
sinh = float_unary(jnp.sinh)
cosh = float_unary(jnp.cosh)
tanh = float_unary(jnp.tanh)
arcsinh = float_unary(jnp.arcsinh)
arccosh = float_unary(jnp.arccosh)
arctanh = float_unary(jnp.arctanh)
arctan2 = binary(jnp.arctan2)

# --- Comparison and logic -------------------------------------------------------------

equal = binary(jnp.equal)
not_equal = binary(jnp.not_equal)
less = binary(jnp.less)
less_equal = binary(jnp.less_equal)
greater = binary(jnp.greater)
greater_equal = binary(jnp.greater_equal)
logical_and = binary(jnp.logical_and)
logical_or = binary(jnp.logical_or)
logical_xor = binary(jnp.logical_xor)
logical_not = unary(jnp.logical_not)
isfinite = unary(jnp.isfinite)
isinf = unary(jnp.isinf)
isnan = unary(jnp.isnan)
isneginf = unary(jnp.isneginf)
isposinf = unary(jnp.isposinf)
isreal = unary(jnp.isreal)
bitwise_and = bitwise(jnp.bitwise_and)
bitwise_or = bitwise(jnp.bitwise_or)
bitwise_xor = bitwise(jnp.bitwise_xor)
bitwise_left_shift = left_shift = bitwise(jnp.left_shift, "bitwise_left_shift")
bitwise_right_shift = right_shift = bitwise(jnp.right_shift, "bitwise_right_shift")
bitwise_invert = bitwise_not = unary(jnp.invert, "bitwise_invert")


@op
def isclose(
    x1: Any, x2: Any, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False
) -> Array:
    """Where `|x1 - x2| <= atol + rtol · |x2|`. Shapes: `s, s -> s`, broadcast.

    >>> isclose([1.0, 2.0], [1.0, 2.1]).tolist()
    [True, False]
    """
    return jnp.isclose(tensor(x1), tensor(x2), rtol, atol, equal_nan)


@op
def allclose(
    x1: Any, x2: Any, rtol: float = 1e-5, atol: float = 1e-8, equal_nan: bool = False
) -> Array:
    """Whether `isclose` holds everywhere. Shapes: `s, s -> ()`.

    >>> bool(allclose([1.0], [1.0]))
    True
    """
    return jnp.allclose(tensor(x1), tensor(x2), rtol, atol, equal_nan)


@op
def isin(x1: Any, x2: Any, assume_unique: bool = False, invert: bool = False) -> Array:
    """Which elements of `x1` are among those of `x2`. Shapes: `s, t -> s`.

    >>> isin([1, 2, 3], [2]).tolist()
    [False, True, False]
    """
    return jnp.isin(tensor(x1), tensor(x2), assume_unique, invert)


@op
def where(condition: Any, x1: Any = None, x2: Any = None) -> Any:
    """`x1` where the condition holds, else `x2`; alone, the indices where it holds.

    Shapes: `s, s, s -> s`, broadcast.

    >>> where([True, False], [1, 2], 0).tolist()
    [1, 0]
    """
    condition = tensor(condition)
    if x1 is None and x2 is None:
        return jnp.where(condition)
    return jnp.where(condition, tensor(x1), tensor(x2))


@op
def select(condlist: Any, choicelist: Any, default: Any = 0) -> Array:
    """For each place the choice of the first condition that holds, else `default`.

    >>> select([jnp.array([True, False])], [jnp.array([1, 2])], 9).tolist()
    [1, 9]
    """
    conditions = [tensor(c) for c in condlist]
    return jnp.select(conditions, [tensor(c) for c in choicelist], default)


# --- Reductions -----------------------------------------------------------------------

sum = reduction(jnp.sum)
all = reduction(jnp.all)
any = reduction(jnp.any)
amax = reduction(jnp.max, "amax")
amin = reduction(jnp.min, "amin")
ptp = reduction(jnp.ptp)
median = reduction(jnp.median)
nanargmax = reduction(jnp.nanargmax)
nanargmin = reduction(jnp.nanargmin)
nanmax = reduction(jnp.nanmax)
nanmin = reduction(jnp.nanmin)
nanmean = reduction(jnp.nanmean)
nanmedian = reduction(jnp.nanmedian)
nanprod = reduction(jnp.nanprod)
nanstd = reduction(jnp.nanstd)
nansum = reduction(jnp.nansum)
nanvar = reduction(jnp.nanvar)
std = reduction(jnp.std)


@op
def max(
    x: Any, axis: Axis = None, keepdims: bool = False, initial: Any = None
) -> Array:
    """The largest element. Shapes: `s -> s` without `axis`.

    >>> int(max([1, 3, 2]))
    3
    """
    return jnp.max(tensor(x), axis=axes(axis), keepdims=keepdims, initial=initial)


@op
def min(
    x: Any, axis: Axis = None, keepdims: bool = False, initial: Any = None
) -> Array:
    """The smallest element. Shapes: `s -> s` without `axis`.

    >>> int(min([3, 1, 2]))
    1
    """
    return jnp.min(tensor(x), axis=axes(axis), keepdims=keepdims, initial=initial)


@op
def mean(x: Any, axis: Axis = None, keepdims: bool = False) -> Array:
    """The mean; 16-bit floats are added up in 32 bits. Shapes: `s -> s` without `axis`.

    >>> float(mean([1, 2]))
    1.5
    """
    x = dtypes.as_array(x)
    wide = dtypes.result_type(x.dtype.name, "float32")
    result = x.dtype if jnp.issubdtype(x.dtype, jnp.inexact) else wide
    out = jnp.mean(x, axis=axes(axis), keepdims=keepdims, dtype=wide)
    return out.astype(result)


@op
def var(x: Any, axis: Axis = None, keepdims: bool = False) -> Array:
    """The mean squared distance from the mean. Shapes: `s -> s` without `axis`.

    >>> float(var([1.0, 3.0]))
    1.0
    """
    x = dtypes.as_array(x)
    wide = dtypes.result_type(x.dtype.name, "float32")
    out = jnp.var(x, axis=axes(axis), keepdims=keepdims, dtype=wide)
    return out.astype(dtypes.result_type(x.dtype.name, float))


@op
def prod(x: Any, axis: Axis = None, keepdims: bool = False, dtype: Any = None) -> Array:
    """The product of the elements. Shapes: `s -> s` without `axis`.

    >>> int(prod([2, 3]))
    6
    """
    return jnp.prod(tensor(x), axis=axes(axis), keepdims=keepdims, dtype=dtype)


@op
def average(x: Any, axis: Axis = None, weights: Any = None) -> Array:
    """The mean, weighted on demand. Shapes: `s -> s` without `axis`.

    >>> float(average([1.0, 3.0], weights=[3.0, 1.0]))
    1.5
    """
    x = floating(dtypes.as_array(x))
    if weights is not None:
        weights = dtypes.as_array(weights)
        dtype = dtypes.result_type(x.dtype.name, weights.dtype.name, float)
        x, weights = x.astype(dtype), weights.astype(dtype)
    return jnp.average(x, axis=axes(axis), weights=weights)


@op
def count_nonzero(x: Any, axis: Axis = None) -> Array:
    """How many elements are not zero. Shapes: `s -> s` without `axis`.

    >>> int(count_nonzero([0, 1, 2]))
    2
    """
    return jnp.count_nonzero(tensor(x), axis=axes(axis)).astype("int32")


@op
def argmax(x: Any, axis: int | None = None, keepdims: bool = False) -> Array:
    """Where the largest element stands, the first of equals. Shapes: `s -> s`.

    >>> int(argmax([1, 3, 2]))
    1
    """
    return jnp.argmax(_unflushed(x), axis=axis, keepdims=keepdims)


@op
def argmin(x: Any, axis: int | None = None, keepdims: bool = False) -> Array:
    """Where the smallest element stands, the first of equals. Shapes: `s -> s`.

    >>> int(argmin([3, 1, 2]))
    1
    """
    return jnp.argmin(_unflushed(x), axis=axis, keepdims=keepdims)


def _unflushed(x: Any) -> Array:
    # XLA:CPU takes -0.0 for the least of the subnormal numbers (jax issue 24280).
    x = dtypes.as_array(x)
    if not dtypes.is_float(x.dtype) or x.ndim == 0 or jax.default_backend() != "cpu":
        return x
    x = x.astype(dtypes.result_type(x.dtype.name, "float32"))
    return jnp.where((x == 0) & jnp.signbit(x), -jnp.finfo(x.dtype).tiny, x)


@op
def quantile(
    x: Any, q: Any, axis: Axis = None, method: str = "linear", keepdims: bool = False
) -> Array:
    """The number below which a share `q` of the elements lies.

    Shapes: `s -> q.shape + s` without `axis`.

    >>> float(quantile([1.0, 2.0, 3.0], 0.5))
    2.0
    """
    return jnp.quantile(
        tensor(x), tensor(q), axis=axes(axis), method=method, keepdims=keepdims
    )


@op
def percentile(
    x: Any, q: Any, axis: Axis = None, method: str = "linear", keepdims: bool = False
) -> Array:
    """The number below which `q` of a hundred elements lie.

    Shapes: `s -> q.shape + s` without `axis`.

    >>> float(percentile([1.0, 2.0, 3.0], 50))
    2.0
    """
    return jnp.percentile(
        tensor(x), tensor(q), axis=axes(axis), method=method, keepdims=keepdims
    )


@op
def nanquantile(
    x: Any, q: Any, axis: Axis = None, method: str = "linear", keepdims: bool = False
) -> Array:
    """`quantile` of the elements that are not NaN."""
    return jnp.nanquantile(
        tensor(x), tensor(q), axis=axes(axis), method=method, keepdims=keepdims
    )


@op
def nanpercentile(
    x: Any, q: Any, axis: Axis = None, method: str = "linear", keepdims: bool = False
) -> Array:
    """`percentile` of the elements that are not NaN."""
    return jnp.nanpercentile(
        tensor(x), tensor(q), axis=axes(axis), method=method, keepdims=keepdims
    )


@op
def cumsum(x: Any, axis: int | None = None, dtype: Any = None) -> Array:
    """The sums of the first one, two, three, ... elements. Shapes: `s -> s`.

    >>> cumsum([1, 2, 3]).tolist()
    [1, 3, 6]
    """
    return jnp.cumsum(tensor(x), axis=axis, dtype=dtype)


@op
def cumprod(x: Any, axis: int | None = None, dtype: Any = None) -> Array:
    """The products of the first one, two, three, ... elements. Shapes: `s -> s`.

    >>> cumprod([1, 2, 3]).tolist()
    [1, 2, 6]
    """
    return jnp.cumprod(tensor(x), axis=axis, dtype=dtype)


@op
def nancumsum(x: Any, axis: int | None = None, dtype: Any = None) -> Array:
    """`cumsum`, with NaN counted as zero. Shapes: `s -> s`."""
    return jnp.nancumsum(tensor(x), axis=axis, dtype=dtype)


@op
def nancumprod(x: Any, axis: int | None = None, dtype: Any = None) -> Array:
    """`cumprod`, with NaN counted as one. Shapes: `s -> s`."""
    return jnp.nancumprod(tensor(x), axis=axis, dtype=dtype)


@op
def trapezoid(y: Any, x: Any = None, dx: float = 1.0, axis: int = -1) -> Array:
    """The area under a line through the points. Shapes: `(..., n) -> (...)`.

    >>> float(trapezoid([0.0, 1.0]))
    0.5
    """
    return jnp.trapezoid(
        tensor(y), None if x is None else tensor(x), tensor(dx), axis=axis
    )


# --- Products -------------------------------------------------------------------------

dot = binary(jnp.dot)
vdot = binary(jnp.vdot)
inner = binary(jnp.inner)
outer = binary(jnp.outer)
kron = binary(jnp.kron)


@op
def matmul(x1: Any, x2: Any) -> Array:
    """The matrix product of the last two axes; int8 matrices give int32.

    Shapes: `(..., n, k), (..., k, m) -> (..., n, m)`.

    >>> matmul([[1.0, 2.0]], [[3.0], [4.0]]).tolist()
    [[11.0]]
    """
    x1, x2 = dtypes.as_array(x1), dtypes.as_array(x2)
    return jnp.matmul(x1, x2, preferred_element_type=_sum_dtype(x1, x2))


@op
def einsum(subscripts: str, *operands: Any, **kwargs: Any) -> Array:
    """The sum over products that `subscripts` describes, as in `"ij,jk->ik"`.

    >>> einsum("ij,j->i", [[1.0, 2.0]], [3.0, 4.0]).tolist()
    [11.0]
    """
    operands = tuple(dtypes.as_array(x) for x in operands)
    kwargs["preferred_element_type"] = _sum_dtype(*operands)
    return jnp.einsum(subscripts, *operands, **kwargs)


def _sum_dtype(*operands: Array) -> str | None:
    """int32 for products of int8, which would overflow in their own dtype."""
    if builtins.all(x.dtype == "int8" for x in operands):
        return "int32"
    return None


@op
def tensordot(x1: Any, x2: Any, axes: Any = 2) -> Array:
    """The sum over products along the last axes of `x1` and the first ones of `x2`.

    >>> float(tensordot([1.0, 2.0], [3.0, 4.0], axes=1))
    11.0
    """
    return jnp.tensordot(tensor(x1), tensor(x2), axes=axes)


@op
def cross(
    x1: Any,
    x2: Any,
    axisa: int = -1,
    axisb: int = -1,
    axisc: int = -1,
    axis: int | None = None,
) -> Array:
    """The vector product. Shapes: `(..., 3), (..., 3) -> (..., 3)`.

    >>> cross([1, 0, 0], [0, 1, 0]).tolist()
    [0, 0, 1]
    """
    return jnp.cross(tensor(x1), tensor(x2), axisa, axisb, axisc, axis)


@op
def correlate(x1: Any, x2: Any, mode: str = "valid") -> Array:
    """The sums of products of two sequences, one slid along the other.

    >>> correlate([1.0, 2.0, 3.0], [1.0, 1.0]).tolist()
    [3.0, 5.0]
    """
    return jnp.correlate(tensor(x1), tensor(x2), mode)


corrcoef = unary(jnp.corrcoef)


@op
def trace(x: Any, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Array:
    """The sum of a diagonal. Shapes: `(n, m) -> ()`.

    >>> int(trace([[1, 2], [3, 4]]))
    5
    """
    return jnp.trace(tensor(x), offset, axis1, axis2)


# --- New arrays -----------------------------------------------------------------------


@op
def zeros(shape: Any, dtype: Any = None) -> Array:
    """All zeros.

    >>> zeros((2,)).tolist()
    [0.0, 0.0]
    """
    return jnp.zeros(shape, dtypes.canonical(dtype))


@op
def ones(shape: Any, dtype: Any = None) -> Array:
    """All ones.

    >>> ones((2,)).tolist()
    [1.0, 1.0]
    """
    return jnp.ones(shape, dtypes.canonical(dtype))


@op
def empty(shape: Any, dtype: Any = None) -> Array:
    """An array whose values do not matter.

    >>> empty((2, 3)).shape
    (2, 3)
    """
    return jnp.empty(shape, dtypes.canonical(dtype))


@op
def full(shape: Any, fill_value: Any, dtype: Any = None) -> Array:
    """`fill_value` everywhere.

    >>> full((2,), 7).tolist()
    [7.0, 7.0]
    """
    return jnp.full(shape, tensor(fill_value), dtypes.canonical(dtype))


@op
def zeros_like(x: Any, dtype: Any = None) -> Array:
    """Zeros in the shape of `x`. Shapes: `s -> s`.

    >>> zeros_like([1.0, 2.0]).tolist()
    [0.0, 0.0]
    """
    return jnp.zeros_like(tensor(x), dtype)


@op
def ones_like(x: Any, dtype: Any = None) -> Array:
    """Ones in the shape of `x`. Shapes: `s -> s`.

    >>> ones_like([3.0, 2.0]).tolist()
    [1.0, 1.0]
    """
    return jnp.ones_like(tensor(x), dtype)


@op
def empty_like(x: Any, dtype: Any = None) -> Array:
    """An array in the shape of `x` whose values do not matter. Shapes: `s -> s`."""
    return jnp.empty_like(tensor(x), dtype)


@op
def full_like(x: Any, fill_value: Any, dtype: Any = None) -> Array:
    """`fill_value` in the shape of `x`. Shapes: `s -> s`.

    >>> full_like([1, 2], 7).tolist()
    [7, 7]
    """
    return jnp.full_like(tensor(x), tensor(fill_value), dtype)


@op
def eye(N: int, M: int | None = None, k: int = 0, dtype: Any = None) -> Array:
    """Ones on the `k`-th diagonal of an `(N, M)` matrix, zeros elsewhere.

    >>> eye(2).tolist()
    [[1.0, 0.0], [0.0, 1.0]]
    """
    return jnp.eye(N, M, k, dtypes.canonical(dtype))


@op
def identity(n: int, dtype: Any = None) -> Array:
    """The `(n, n)` matrix that changes nothing.

    >>> identity(2).tolist()
    [[1.0, 0.0], [0.0, 1.0]]
    """
    return jnp.identity(n, dtypes.canonical(dtype))


@op
def tri(N: int, M: int | None = None, k: int = 0, dtype: Any = None) -> Array:
    """Ones on and below the `k`-th diagonal of an `(N, M)` matrix.

    >>> tri(2).tolist()
    [[1.0, 0.0], [1.0, 1.0]]
    """
    return jnp.tri(N, M, k, dtypes.canonical(dtype))


@op
def arange(start: Any, stop: Any = None, step: Any = None, dtype: Any = None) -> Array:
    """The numbers from `start` (0 when alone) up to, but without, `stop`.

    >>> arange(3).tolist(), arange(1, 2, 0.5).tolist()
    ([0, 1, 2], [1.0, 1.5])
    """
    if dtype is None:
        given = [x for x in (start, stop, step) if x is not None]
        dtype = dtypes.result_type(
            *(x.dtype.name if hasattr(x, "dtype") else type(x) for x in given)
        )
    return jnp.arange(start, stop, step, dtypes.canonical(dtype))


@op
def linspace(
    start: Any,
    stop: Any,
    num: int = 50,
    endpoint: bool = True,
    retstep: bool = False,
    dtype: Any = None,
    axis: int = 0,
) -> Any:
    """`num` numbers at equal steps.

    >>> linspace(0, 1, 3).tolist()
    [0.0, 0.5, 1.0]
    """
    start, stop = tensor(start), tensor(stop)
    return jnp.linspace(
        start, stop, num, endpoint, retstep=retstep, dtype=dtype, axis=axis
    )


@op
def logspace(
    start: Any,
    stop: Any,
    num: int = 50,
    endpoint: bool = True,
    base: float = 10,
    dtype: Any = None,
    axis: int = 0,
) -> Array:
    """`num` numbers at equal ratios, from `base^start` to `base^stop`.

    >>> [builtins.round(x) for x in logspace(0, 2, 3).tolist()]
    [1, 10, 100]
    """
    start, stop = tensor(start), tensor(stop)
    return jnp.logspace(start, stop, num, endpoint, base, dtype=dtype, axis=axis)


@op
def geomspace(
    start: Any,
    stop: Any,
    num: int = 50,
    endpoint: bool = True,
    dtype: Any = None,
    axis: int = 0,
) -> Array:
    """`num` numbers at equal ratios, from `start` to `stop`.

    >>> [builtins.round(x) for x in geomspace(1, 100, 3).tolist()]
    [1, 10, 100]
    """
    return jnp.geomspace(
        tensor(start), tensor(stop), num, endpoint, dtype=dtype, axis=axis
    )


def _window(fn: Any) -> Any:
    """A window function, `(x)` being its length."""

    def call(x: Any) -> Array:
        return fn(int(x)).astype(settings.floatx())

    return dressed(call, fn)


bartlett = _window(jnp.bartlett)
blackman = _window(jnp.blackman)
hamming = _window(jnp.hamming)
hanning = _window(jnp.hanning)


@op
def kaiser(x: Any, beta: float) -> Array:
    """The Kaiser window of length `x`.

    >>> kaiser(3, 0.0).tolist()
    [1.0, 1.0, 1.0]
    """
    return jnp.kaiser(int(x), beta).astype(settings.floatx())


# --- Searching and sorting ------------------------------------------------------------


@op
def sort(x: Any, axis: int = -1) -> Array:
    """The elements in ascending order along `axis`. Shapes: `s -> s`.

    >>> sort([3, 1, 2]).tolist()
    [1, 2, 3]
    """
    return jnp.sort(tensor(x), axis=axis)


@op
def argsort(x: Any, axis: int | None = -1) -> Array:
    """The indices that sort `x` along `axis`. Shapes: `s -> s`.

    >>> argsort([3, 1, 2]).tolist()
    [1, 2, 0]
    """
    x = dtypes.as_array(x)
    return jnp.argsort(x, axis=None if x.ndim == 0 else axis)


@op
def argpartition(x: Any, kth: int, axis: int | None = -1) -> Array:
    """Indices that put the `kth` element in its place, smaller ones before it.

    >>> argpartition([3, 1, 2], 0).tolist()[0]
    1
    """
    x = dtypes.as_array(x)
    if axis is None:
        x, axis = x.reshape(-1), 0
    return jnp.argpartition(x, kth, axis=axis)


@op
def searchsorted(sorted_sequence: Any, values: Any, side: str = "left") -> Array:
    """Where each value belongs in a sorted sequence. Shapes: `(n,), s -> s`.

    >>> searchsorted([1, 3, 5], [2, 4]).tolist()
    [1, 2]
    """
    sorted_sequence = dtypes.as_array(sorted_sequence)
    check(
        sorted_sequence.ndim == 1,
        "searchsorted",
        "sorted_sequence",
        sorted_sequence,
        "one-dimensional; keras.ops.vectorized_map treats more sequences",
    )
    return jnp.searchsorted(sorted_sequence, tensor(values), side=side)


@op
def digitize(x: Any, bins: Any) -> Array:
    """The number of the bin that each element falls into. Shapes: `s, (n,) -> s`.

    >>> digitize([0.5, 2.5], [1.0, 2.0]).tolist()
    [0, 2]
    """
    return jnp.digitize(tensor(x), dtypes.as_array(bins))


@op
def bincount(
    x: Any, weights: Any = None, minlength: int = 0, sparse: bool = False
) -> Array:
    """How often each of 0, 1, 2, ... occurs; for each row when `x` has two axes.

    >>> bincount([0, 2, 2]).tolist()
    [1, 0, 2]
    """
    check(not sparse, "bincount", "sparse", sparse, "False")
    x = dtypes.as_array(x)
    weights = None if weights is None else dtypes.as_array(weights)
    if x.ndim < 2:
        return jnp.bincount(x, weights, minlength)
    length = builtins.max(int(x.max()) + 1, minlength)
    rows = range(len(x))
    return jnp.stack(
        [
            jnp.bincount(x[i], None if weights is None else weights[i], length)
            for i in rows
        ]
    )


@op
def histogram(x: Any, bins: Any = 10, range: Any = None) -> Any:
    """How many elements fall into each of the bins, and the bins' edges.

    >>> histogram([1.0, 2.0, 2.0], bins=2)[0].tolist()
    [1.0, 2.0]
    """
    return jnp.histogram(tensor(x), bins=tensor(bins), range=range)


@op
def nonzero(x: Any) -> Any:
    """The indices of the elements that are not zero, one array for each axis.

    >>> nonzero([0, 7, 7])[0].tolist()
    [1, 2]
    """
    return jnp.nonzero(tensor(x))


@op
def unique(
    x: Any,
    sorted: bool = True,
    return_index: bool = False,
    return_inverse: bool = False,
    return_counts: bool = False,
    axis: int | None = None,
    size: int | None = None,
    fill_value: Any = None,
) -> Any:
    """The different elements, in order; inside compiled code with a given `size`.

    >>> unique([2, 1, 2]).tolist()
    [1, 2]
    """
    return jnp.unique(
        tensor(x),
        return_index,
        return_inverse,
        return_counts,
        axis,
        equal_nan=False,
        size=size,
        fill_value=fill_value,
        sorted=sorted,
    )


def vectorize(
    pyfunc: Any, *, excluded: Any = None, signature: str | None = None
) -> Any:
    """A function of single numbers as a function of arrays.

    >>> vectorize(lambda a, b: a + b)(jnp.ones(2), 1.0).tolist()
    [2.0, 2.0]
    """
    return jnp.vectorize(pyfunc, excluded=excluded or set(), signature=signature)


# --- Facts about arrays ---------------------------------------------------------------


def ndim(x: Any) -> int:
    """How many axes `x` has.

    >>> ndim([[1, 2]])
    2
    """
    return len(x.shape) if hasattr(x, "shape") else jnp.ndim(tensor(x))


def size(x: Any) -> int | None:
    """How many elements `x` has; None for a placeholder with an unknown axis.

    >>> size([[1, 2]])
    2
    """
    shape = x.shape if hasattr(x, "shape") else dtypes.as_array(x).shape
    return None if None in shape else math.prod(shape)
