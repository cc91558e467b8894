"""kerasnb.ops beside keras.ops: signatures, dtypes, shapes and values.

`CALLS` holds a call of every op, as text in which `x`, `y` are arrays of shape (2, 3)
and `ops` the library. Dtypes and shapes are compared by tracing, values by one compiled
program for all.
"""

import inspect
import itertools

import jax
import jax.numpy as jnp
import keras
import numpy as np
import pytest

from kerasnb import ops
from kerasnb.core.graph import KerasTensor

UNARY = """
abs absolute all amax amin angle any arccos arccosh arcsin arcsinh arctan arctanh argmax
argmin argsort average bitwise_invert bitwise_not cast cbrt ceil conj conjugate copy cos
cosh count_nonzero cumprod cumsum deg2rad diag diagflat diagonal diff empty_like exp
exp2 expm1 fabs flip fliplr flipud floor i0 imag isfinite isinf isnan isneginf isposinf
isreal log log10 log1p log2 logical_not max mean median min nan_to_num nanargmax
nanargmin nancumprod nancumsum nanmax nanmean nanmedian nanmin nanprod nanstd nansum
nanvar negative ones_like prod ptp rad2deg ravel real reciprocal round sign signbit sin
sinc sinh size sort sqrt square squeeze std sum tan tanh trace transpose tril triu trunc
var zeros_like celu elu gelu hard_shrink hard_sigmoid hard_silu hard_swish hard_tanh
leaky_relu log_sigmoid log_softmax relu relu6 selu sigmoid silu soft_shrink softmax
softplus softsign sparse_plus sparse_sigmoid squareplus swish tanh_shrink normalize
rms_normalization layer_normalization logsumexp erf erfc erfinv rsqrt unstack corrcoef
trapezoid ndim shape stop_gradient
""".split()
BINARY = """
add subtract multiply divide true_divide divide_no_nan floor_divide mod fmod power
maximum minimum fmax fmin hypot heaviside gcd lcm nextafter logaddexp logaddexp2 arctan2
equal not_equal less less_equal greater greater_equal logical_and logical_or logical_xor
isclose allclose isin bitwise_and bitwise_or bitwise_xor bitwise_left_shift left_shift
bitwise_right_shift right_shift outer inner kron append vdot
""".split()
CALLS = [
    *(f"{name}(x)" for name in UNARY if name not in ("cast", "unstack")),
    *(f"{name}(x, y)" for name in BINARY),
    *(f"{name}(x, 2)" for name in ("add", "divide", "power", "maximum", "less", "mod")),
    *(f"{name}(x, 2.5)" for name in ("add", "multiply", "floor_divide")),
    *(f"{name}(2, y)" for name in ("subtract", "divide", "minimum")),
    *(
        f"{name}(x, axis=1, keepdims=True)"
        for name in "sum mean max min prod var std any all argmax median ptp".split()
    ),
    *(
        f"{name}(x, axis=(0, 1))"
        for name in "sum mean max var any count_nonzero".split()
    ),
    "cast(x, 'float16')",
    "saturate_cast(x, 'uint8')",
    "saturate_cast(x, 'int8')",
    "unstack(x, axis=1)",
    "average(x, axis=0, weights=[1.0, 3.0])",
    "round(x, 1)",
    "clip(x, 1, 2)",
    "where(x > y, x, y)",
    "where(x > y, x, 2.5)",
    "select([x > y, x < y], [x, y], 3)",
    "matmul(x, y.T)",
    "dot(x, y.T)",
    "tensordot(x, y, axes=[[1], [1]])",
    "einsum('ij,kj->ik', x, y)",
    "cross(x, y)",
    "correlate(x[0], y[0])",
    "zeros((2, 3))",
    "ones((2,), 'int32')",
    "empty((2,))",
    "full((2,), 7)",
    "full_like(x, 2)",
    "eye(3)",
    "eye(2, 3, 1, 'int8')",
    "identity(2)",
    "tri(3)",
    "arange(4)",
    "arange(1, 2, 0.25)",
    "arange(5, dtype='float16')",
    "linspace(0, 1, 5)",
    "logspace(0, 2, 3)",
    "geomspace(1, 8, 4)",
    *(f"{name}(5)" for name in "bartlett blackman hamming hanning".split()),
    "kaiser(5, 3.0)",
    "quantile(x, 0.3)",
    "quantile(x, [0.3, 0.5], axis=1)",
    "percentile(x, 30.0, axis=0)",
    "nanquantile(x, 0.3)",
    "nanpercentile(x, 30.0)",
    "argpartition(x, 1)",
    "searchsorted(x[0], y[0])",
    "digitize(x, [0.5, 1.5])",
    "sort(x, axis=0)",
    "argsort(x, axis=0)",
    "reshape(x, (3, -1))",
    "reshape(x, -1)",
    "transpose(x, (1, 0))",
    "expand_dims(x, 1)",
    "expand_dims(x, (0, 2))",
    "squeeze(x[:1], 0)",
    "swapaxes(x, 0, 1)",
    "moveaxis(x, 0, 1)",
    "broadcast_to(x, (4, 2, 3))",
    "rot90(x)",
    "roll(x, 1, axis=1)",
    "roll(x, 2)",
    "concatenate([x, y], axis=1)",
    "stack([x, y], axis=-1)",
    *(f"{name}([x, y])" for name in "vstack hstack dstack".split()),
    "split(x, 3, axis=1)",
    "split(x, [1], axis=1)",
    "array_split(x, 2, axis=1)",
    "hsplit(x, 3)",
    "vsplit(x, 2)",
    "dsplit(ops.reshape(x, (1, 2, 3)), 3)",
    "tile(x, (2, 1))",
    "repeat(x, 2, axis=1)",
    "repeat(x, 2)",
    "meshgrid(x[0], y[0])",
    "meshgrid(x[0], y[0], indexing='ij')",
    "pad(x, ((1, 0), (0, 2)))",
    "pad(x, 1, mode='edge')",
    "pad(x, 1, constant_values=3)",
    "get_item(x, (0, slice(1, 3)))",
    "take(x, [1, 0], axis=1)",
    "take_along_axis(x, ops.argsort(x), axis=1)",
    "diag(x[0], 1)",
    "tril(x, -1)",
    "diff(x, axis=0)",
    "vander(x[0], 3)",
    "unravel_index([3, 5], (2, 3))",
    "unique(x, size=4, fill_value=0)",
    "one_hot([0, 2], 3)",
    "one_hot([[0, 2]], 3, axis=1, dtype='int8')",
    "multi_hot([[0, 2]], 4)",
    "top_k(x, 2)",
    "in_top_k([1, 0], x, 2)",
    *(
        f"segment_{how}(x, [0, 1], num_segments=3)"
        for how in "sum max min prod".split()
    ),
    "slice(x, [0, 1], [2, 2])",
    "slice(x, [0, 1], [-1, 2])",
    "slice_update(x, [0, 1], y[:, :2])",
    "scatter([[0], [2]], x[0, :2], (4,))",
    *(
        f"scatter_update(x, [[0, 1], [1, 2]], y[0, :2], reduction={how!r})"
        for how in (None, "add", "max", "min", "mul")
    ),
    "moments(x, axes=1)",
    "moments(x, axes=[0, 1], keepdims=True)",
    "batch_normalization(x, y[0], y[1], -1, offset=y[0], scale=y[1])",
    "layer_normalization(x, y[0], y[1])",
    "layer_normalization(x, axis=(0, 1), epsilon=0.1)",
    "rms_normalization(x, y[0])",
    "normalize(x, order=1)",
    "normalize(x, axis=0, order=3)",
    "softmax(x, axis=0)",
    "softmax(x, axis=(0, 1))",
    "gelu(x, approximate=False)",
    "glu(x, axis=0)",
    "threshold(x, 1.5, 7.0)",
    "leaky_relu(x, 0.3)",
    "celu(x, 0.5)",
    "logsumexp(x, axis=1, keepdims=True)",
    "psnr(x, y, 2.0)",
    "cond(x[0, 0] > 1, lambda: x, lambda: y)",
    "switch(1, [lambda a: a, lambda a: -a], x)",
    "while_loop(lambda a: a[0, 0] < 50, lambda a: a + 1, x)",
    "while_loop(lambda a, b: a[0, 0] < 50, lambda a, b: (a + 1, b), (x, y), 3)",
    "fori_loop(0, 3, lambda i, a: a + y, x)",
    "scan(lambda c, a: (c + a, c * a), x[0], y)",
    "associative_scan(lambda a, b: a + b, x)",
    "map(lambda a: a + 1, x)",
    "vectorized_map(lambda a: a + 1, x)",
    "categorical_crossentropy(ops.softmax(y), ops.softmax(x))",
    "categorical_crossentropy(y, x, from_logits=True, axis=0)",
    "sparse_categorical_crossentropy([1, 2], x, from_logits=True)",
    "sparse_categorical_crossentropy([[1], [2]], ops.softmax(x))",
    "binary_crossentropy(ops.sigmoid(y), ops.sigmoid(x))",
    "binary_crossentropy(ops.sigmoid(y), x, from_logits=True)",
    "view(x, 'int32')",
]
# Where we are right and Keras is not, or says something else on purpose.
DIFFERENT = {
    "sparsemax",  # Keras adds up the wrong numbers; see test_activations
}


def call(text, library, x, y):
    """The result of one of `CALLS` as a list of arrays."""
    out = eval(f"ops.{text}", {"ops": library, "x": x, "y": y})
    return [jnp.asarray(leaf) for leaf in jax.tree.leaves(out)]


def spec(text, library, *dtypes):
    """Shapes and dtypes of the results, or the kind of error."""
    args = [jax.ShapeDtypeStruct((2, 3), dtype) for dtype in dtypes]
    try:
        out = jax.eval_shape(lambda x, y: call(text, library, x, y), *args)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is compared
        return error
    return [(leaf.shape, leaf.dtype.name) for leaf in out]


NAMES = [n for n in dir(keras.ops) if n in dir(ops) and callable(getattr(ops, n))]


def test_signatures_equal_those_of_keras():
    for name in NAMES:
        ours, theirs = (
            [
                (p.name, p.default, p.kind)
                for p in inspect.signature(getattr(library, name)).parameters.values()
            ]
            for library in (ops, keras.ops)
        )
        assert ours == theirs, name


def test_nearly_all_ops_are_there_and_in_the_table():
    missing = {n for n in dir(keras.ops) if callable(getattr(keras.ops, n))} - set(
        NAMES
    )
    assert len({n for n in missing if not n.startswith("_")}) < 40
    tabled = {text.partition("(")[0] for text in CALLS} | DIFFERENT
    elsewhere = set(
        """convert_to_tensor convert_to_numpy is_tensor dtype custom_gradient vectorize
        array histogram bincount nonzero ldexp conv conv_transpose depthwise_conv
        separable_conv max_pool average_pool dot_product_attention ctc_loss""".split()
    )
    assert set(NAMES) - tabled - elsewhere == set()


SAME = [
    (dtype, dtype) for dtype in "float32 bfloat16 float16 int32 int8 uint8 bool".split()
]
MIXED = list(itertools.combinations("float32 bfloat16 int32 uint8 bool".split(), 2))


@pytest.mark.parametrize("dtypes", SAME, ids="-".join)
def test_dtypes_and_shapes_equal_those_of_keras(dtypes):
    wrong = {}
    for text in CALLS:
        theirs = spec(text, keras.ops, *dtypes)
        # What Keras refuses by accident of its conversions we may do.
        if isinstance(theirs, list) and spec(text, ops, *dtypes) != theirs:
            wrong[text] = (spec(text, ops, *dtypes), theirs)
    assert not wrong


@pytest.mark.parametrize("dtypes", MIXED, ids="-".join)
def test_mixed_dtypes_combine_as_in_keras(dtypes):
    wrong = {}
    for text in [f"{name}(x, y)" for name in BINARY] + [
        "matmul(x, y.T)",
        "where(x > 0, x, y)",
        "concatenate([x, y])",
        "stack([x, y])",
        "einsum('ij,kj->ik', x, y)",
    ]:
        theirs = spec(text, keras.ops, *dtypes)
        if isinstance(theirs, list) and spec(text, ops, *dtypes) != theirs:
            wrong[text] = (spec(text, ops, *dtypes), theirs)
    assert not wrong


def test_values_equal_those_of_keras(rng):
    x = jnp.asarray(rng.uniform(0.1, 0.9, (2, 3)), "float32")
    y = jnp.asarray(rng.uniform(0.1, 0.9, (2, 3)), "float32").at[0, 1].set(x[0, 1])
    texts = [
        t for t in CALLS if isinstance(spec(t, keras.ops, "float32", "float32"), list)
    ]

    @jax.jit
    def run(x, y):
        return [[call(t, library, x, y) for library in (ops, keras.ops)] for t in texts]

    for text, (ours, theirs) in zip(texts, run(x, y), strict=True):
        if text.startswith("empty"):
            continue
        for a, b in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(a, b, 1e-5, 1e-6, err_msg=text)


def _placeholders(out):
    flat = out if isinstance(out, list | tuple) else [out]
    return [(tuple(t.shape), str(t.dtype)) if hasattr(t, "shape") else t for t in flat]


@pytest.mark.parametrize("shape", [(2, 3), (None, 3), (2, None)], ids=str)
def test_placeholders_get_the_shapes_and_dtypes_of_keras(shape):
    wrong = {}
    for text in CALLS:
        name = text.partition("(")[0]
        if name in WITHOUT_PLACEHOLDERS or (None in shape and text in DIVIDING):
            continue
        eager = spec(text, keras.ops, "float32", "float32")
        if not isinstance(eager, list):
            continue
        ours, theirs = (
            symbolic(text, library, tensor(shape, "float32"), tensor(shape, "float32"))
            for library, tensor in ((ops, KerasTensor), (keras.ops, keras.KerasTensor))
        )
        if isinstance(theirs, Exception) or not _agree(theirs, eager):
            continue  # Keras' rule for placeholders is not right itself
        if isinstance(ours, Exception) or not _agree(theirs, ours):
            wrong[text] = (ours, theirs)
        if shape == (2, 3) and ours != eager:
            wrong[text] = (ours, eager)
    assert not wrong


# An unknown length is tried with two numbers, which are not even.
DIVIDING = """broadcast_to(x, (4, 2, 3)); vsplit(x, 2); glu(x, axis=0);
reshape(x, (3, -1)); split(x, 3, axis=1); hsplit(x, 3);
dsplit(ops.reshape(x, (1, 2, 3)), 3)""".replace("\n", " ").split("; ")
WITHOUT_PLACEHOLDERS = """map scan vectorized_map switch cond while_loop fori_loop
associative_scan view ndim shape size""".split()


def symbolic(text, library, x, y):
    """Shapes and dtypes of the placeholders that come out, or the error."""
    try:
        out = eval(f"ops.{text}", {"ops": library, "x": x, "y": y})
    except Exception as error:  # noqa: BLE001 - whatever it is, it is compared
        return error
    flat = out if isinstance(out, list | tuple) else [out]
    return [(tuple(t.shape), str(getattr(t.dtype, "name", t.dtype))) for t in flat]


def _agree(loose, exact):
    """Whether `exact` says the same as `loose`, or more."""
    return len(loose) == len(exact) and all(
        len(a[0]) == len(b[0])
        and a[1] == b[1]
        and all(p in (None, q) for p, q in zip(a[0], b[0], strict=True))
        for a, b in zip(loose, exact, strict=True)
    )
