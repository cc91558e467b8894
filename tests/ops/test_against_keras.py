"""kerasnb.ops beside keras.ops: signatures, dtypes, shapes, values and gradients.

`CALLS` holds calls of every op, as text in which `ops` is the library and the arrays
are those of `SHAPES`. Dtypes and shapes are compared by tracing, for many dtypes, empty
axes and axes of one; values and gradients by one compiled program for all calls.
"""

import functools
import inspect
import itertools

import jax
import jax.numpy as jnp
import keras
import numpy as np
import pytest

from kerasnb import ops
from kerasnb.core import dtypes
from kerasnb.core.graph import KerasTensor
from tests.helpers import QUICK

SHAPES = {
    "x": (2, 3),
    "y": (2, 3),
    "matrix": (2, 3, 3),
    "signal": (2, 12),
    "image": (2, 4, 6, 4),
    "kernel": (2, 3, 4, 4),
}

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
trapezoid ndim shape stop_gradient convert_to_tensor array
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
    "matmul(x, ops.transpose(y))",
    "dot(x, ops.transpose(y))",
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
    "in_top_k(np.array([1, 0]), x, 2)",
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
    "view(x, 'uint8')",
    "cast(x, 'int64')",
    "cast(x, 'float64')",
    "cast(x, 'bool')",
    "cast(x, bool)",
    "convert_to_tensor(x, 'bfloat16')",
    "array(x, 'float16')",
    "zeros((2,), 'int64')",
    "ones((2,), 'float64')",
    "arange(3, dtype='int64')",
    "full((2,), x[0, 0])",
    "full_like(x, 2.5)",
    "where(x > y, 1, y)",
    "where(x > y, 1, 2.5)",
    "ldexp(x, np.array([1, 2, 3]))",
    "linspace(x[0], y[0], 3)",
    "logspace(x[0], y[0], 3)",
    "geomspace(x[0], y[0], 3)",
    "histogram(x, 3)",
    "custom_gradient(lambda a: (a * 2, lambda upstream: upstream * 3))(x)",
    "vectorize(lambda a, b: a + b)(x, y)",
    # --- neural networks
    "conv(image, kernel, 1, 'same')",
    "conv(image, kernel[:, :, :2], 2, 'valid')",
    "conv(image, kernel, 1, 'valid', dilation_rate=(1, 2))",
    "conv_transpose(image, kernel, 2, 'same')",
    "conv_transpose(image, kernel, (1, 2), 'valid', output_padding=1)",
    "depthwise_conv(image, kernel[..., :2], 1, 'same')",
    "separable_conv(image, kernel[..., :1], kernel[:1, :1], 1, 'same')",
    "max_pool(image, 2, 2)",
    "max_pool(image, (2, 3), 1, 'same')",
    "average_pool(image, 2, 2)",
    "average_pool(image, (2, 3), 1, 'same')",
    *(
        f"adaptive_{kind}_pool(image, {size}, data_format={layout!r})"
        for kind in ("average", "max")
        for size in ((2, 3), (3, 4))
        for layout in ("channels_last", "channels_first")
    ),
    "dot_product_attention(image, image, image, flash_attention=False)",
    "ctc_loss([[1, 2], [2, 0]], image[:, 0], [2, 1], [6, 4])",
    "ctc_decode(image[:, 0], [6, 4])",
    "ctc_decode(image[:, 0], [6, 4], merge_repeated=False, mask_index=None)",
    "ctc_decode(image[:, 0], [6, 4], 'beam_search', beam_width=4, top_paths=2)",
    *(
        f"{name}(image, 2, data_format={layout!r})"
        for name in ("depth_to_space", "space_to_depth")
        for layout in ("channels_last", "channels_first")
    ),
    "unfold(image, 2)",
    "unfold(image, (2, 3), dilation=(1, 2), padding=1, stride=2)",
    "fold(matrix, 3, (1, 3))",
    "polar(x, y)",
    "rearrange(image, 'b h w c -> (b h) c w')",
    "rearrange(image, 'b (h k) w c -> b h w (k c)', k=2)",
    # --- matrices
    *(
        f"{name}(matrix)"
        for name in """cholesky cholesky_inverse lu_factor qr svd eig eigh inv pinv det
        slogdet logdet matrix_rank norm""".split()
    ),
    "cholesky(matrix, upper=True)",
    "cholesky_inverse(matrix, upper=True)",
    "cholesky_inverse(matrix[0])",
    "cholesky_inverse(matrix[0], upper=True)",
    "qr(signal, mode='complete')",
    "svd(signal[:, :3], full_matrices=False)",
    "svd(signal, compute_uv=False)",
    "pinv(x, rcond=0.1)",
    "matrix_rank(x, tol=0.5)",
    "solve(matrix, matrix)",
    "solve(matrix[0], x[0])",
    "solve_triangular(matrix, matrix)",
    "solve_triangular(matrix[0], x[0], lower=True)",
    "lstsq(matrix[0], x[0])",
    "lstsq(x, y[:, :2])",
    "norm(x, ord=1, axis=1)",
    "norm(x, ord='fro', keepdims=True)",
    "norm(matrix, ord='nuc', axis=(1, 2))",
    "norm(matrix, ord=2, axis=(0, 2))",
    "jvp(lambda a, b: a * b, (x, y), (y, x))",
    "jvp(lambda a: (a * 2, a), (x,), (y,), has_aux=True)",
    # --- signals
    "cdist(x, y)",
    "extract_sequences(signal, 4, 2)",
    "extract_sequences(signal, 5, 3)",
    "fft((x, y))",
    "fft2((matrix, matrix))",
    "ifft2((matrix, matrix))",
    "rfft(signal)",
    "rfft(signal, 16)",
    "irfft((x, y))",
    "irfft((x, y), 7)",
    "stft(signal, 4, 2, 4)",
    "stft(signal, 3, 2, 6, window='hamming', center=False)",
    "istft((matrix, matrix), 4, 2, 4)",
    "istft((matrix, matrix), 3, 1, 4, length=3, window=None, center=False)",
    "view_as_complex(signal[:, :2])",
    "view_as_real(x)",
]
# Ops of two or more arrays: what dtype they combine to is compared for pairs.
COMBINING = tuple(
    f"{name}("
    for name in """matmul where concatenate stack vstack hstack dstack einsum dot
    tensordot select cross correlate isclose clip linspace searchsorted digitize cdist
    scatter_update slice_update batch_normalization categorical_crossentropy
    binary_crossentropy jvp vectorize psnr solve lstsq""".split()
)
EAGER = ["convert_to_numpy", "dtype", "is_tensor"]
# Where we are right and Keras is not.
DIFFERENT = {
    "sparsemax(x)": "Keras adds up the wrong numbers; see test_activations",
}
WITHOUT_BATCH = {
    "cholesky_inverse(matrix)": "Keras multiplies different matrices of a batch",
    "cholesky_inverse(matrix, upper=True)": "the same",
    "stft(signal, 4, 2, 4)": "Keras drops axes of an empty batch",
    "stft(signal, 3, 2, 6, window='hamming', center=False)": "the same",
}
# Which look at the values of their inputs; see test_functions.
NOT_TRACED = "nonzero(x)", "bincount(np.array([0, 2, 2]), minlength=4)"
# Most of the programs are small; the wide grids take all calls, not one of each op.
_first = {text.partition("(")[0]: text for text in reversed(CALLS)}
FIRST = [text for text in CALLS if _first[text.partition("(")[0]] == text]
OTHERS = [text for text in CALLS if text not in FIRST]
one_of_each = pytest.mark.parametrize(
    "texts",
    [
        pytest.param(FIRST, id="one of each"),
        pytest.param(OTHERS, id="others", marks=pytest.mark.parity),
    ],
)
NAMES = [n for n in dir(keras.ops) if callable(getattr(keras.ops, n))]


def call(text, library, arrays):
    """The result of one of `CALLS` as a list of arrays."""
    out = eval(f"ops.{text}", {"ops": library, "np": np, **arrays})
    return [jnp.asarray(leaf) for leaf in jax.tree.leaves(out) if _is_number(leaf)]


def _is_number(leaf):
    return not isinstance(leaf, str)


def structs(dtype, other=None, batch=2):
    """Inputs without values: of one dtype, but for `y`, and of a batch size."""
    return {
        name: jax.ShapeDtypeStruct(
            shape if name == "kernel" else (batch, *shape[1:]),
            other if other and name == "y" else dtype,
        )
        for name, shape in SHAPES.items()
    }


@functools.cache
def spec(text, library, *kind):
    """Shapes and dtypes of the results for inputs of a kind, or the error."""
    inputs = structs(*kind)
    try:
        out = jax.eval_shape(lambda arrays: call(text, library, arrays), inputs)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is compared
        return error
    return [(leaf.shape, leaf.dtype.name) for leaf in out]


def differences(texts, *kind):
    """The calls whose dtypes or shapes are not those of Keras."""
    wrong = {}
    for text in texts:
        theirs = spec(text, keras.ops, *kind)
        # What Keras refuses by accident of its conversions we may do.
        if isinstance(theirs, list):
            ours = spec(text, ops, *kind)
            if ours != theirs:
                wrong[text] = (ours, theirs)
    return wrong


def numbers(dtype="float32", seed=0):
    """Inputs with values: positive, some of them equal, the matrices definite."""
    rng = np.random.default_rng(seed)
    made = {}
    for name, shape in SHAPES.items():
        low, high = (0.1, 0.9) if "float" in dtype else (0, 4)
        made[name] = rng.uniform(low, high, shape)
    made["y"][0, 1] = made["x"][0, 1]
    square = made["matrix"]
    made["matrix"] = square @ square.swapaxes(1, 2) / 8 + np.diag([1, 2, 3])
    return {
        name: jnp.asarray(value.astype("float32")).astype(dtype)
        for name, value in made.items()
    }


# --- Completeness ---------------------------------------------------------------------


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


def test_every_op_of_keras_is_in_the_table():
    tabled = {text.partition("(")[0] for text in (*CALLS, *NOT_TRACED, *DIFFERENT)}
    assert tabled >= {n for n in NAMES if n not in EAGER}
    assert len(NAMES) > 330


@pytest.mark.parametrize("room", ["nn", "numpy", "linalg"])
def test_the_rooms_hold_the_names_that_keras_has_in_them(room):
    theirs = getattr(keras.ops, room)
    for name in dir(theirs):
        if callable(getattr(theirs, name)):
            assert getattr(getattr(ops, room), name) is getattr(ops, name)


# --- Dtypes and shapes ----------------------------------------------------------------

DTYPES = "float32 bfloat16 int32 uint8 bool".split()
MORE_DTYPES = "float16 int8 int16 uint16 uint32".split()
TWO = [f"{name}(x, y)" for name in BINARY] + [
    text
    for text in CALLS
    if "y" in text.partition("(")[2] and text.startswith(COMBINING)
]


@pytest.mark.parametrize("dtype", DTYPES)
def test_dtypes_and_shapes_equal_those_of_keras(dtype):
    assert differences(CALLS, dtype) == {}


@pytest.mark.parametrize("dtypes", [*itertools.combinations(DTYPES, 2)], ids="-".join)
def test_mixed_dtypes_combine_as_in_keras(dtypes):
    assert differences(TWO, *dtypes) == {}


@pytest.mark.parity
@pytest.mark.parametrize("dtype", MORE_DTYPES)
def test_rarer_dtypes_and_shapes_equal_those_of_keras(dtype):
    assert differences(CALLS, dtype) == {}


@pytest.mark.parity
@pytest.mark.parametrize(
    "dtypes", [*itertools.permutations(DTYPES + MORE_DTYPES, 2)], ids="-".join
)
def test_dtypes_combine_as_in_keras_in_either_order(dtypes):
    assert differences(TWO, *dtypes) == {}


def test_names_of_dtypes_combine_as_in_keras():
    known = [*DTYPES, *MORE_DTYPES, "int64", "float64", int, float, bool]
    for pair in itertools.product(known, repeat=2):
        assert dtypes.result_type(*pair) == keras.backend.result_type(*pair), pair


@pytest.mark.parametrize("batch", [0, 1])
def test_empty_batches_and_batches_of_one_have_the_shapes_of_keras(batch):
    texts = [text for text in CALLS if text not in WITHOUT_BATCH]
    assert differences(texts, "float32", None, batch) == {}


# --- Values and gradients -------------------------------------------------------------


def both(texts, inputs):
    """What the calls give in either library, computed by one program."""

    @jax.jit
    def run(arrays):
        return [
            [call(text, library, arrays) for library in (ops, keras.ops)]
            for text in texts
        ]

    compiled = run.lower(inputs).compile(compiler_options=QUICK)
    return zip(texts, compiled(inputs), strict=True)


def allowed(texts, dtype="float32"):
    """The calls whose values Keras can compute in this dtype."""
    left_out = ["empty", "empty_like"]
    if dtype.endswith("float16"):  # LAPACK has no 16-bit numbers
        left_out += [n for n in dir(keras.ops.linalg) if n != "jvp"]
        left_out += ["slogdet", "logdet"]
    if dtype == "float16":  # nor has a CPU its products with sums in 32 bits
        left_out += ["dot_product_attention"]
    if dtype == "bool":  # too many equal scores to say which is best
        left_out += ["ctc_decode"]
    return [
        text
        for text in texts
        if text.partition("(")[0] not in left_out
        and isinstance(spec(text, keras.ops, dtype), list)
    ]


def close(a, b, text, tolerance):
    a, b = np.asarray(a), np.asarray(b)
    if a.dtype.kind == "c":
        a, b = a.astype("complex128"), b.astype("complex128")
    elif a.dtype.kind not in "iub":
        a, b = a.astype("float64"), b.astype("float64")
    np.testing.assert_allclose(a, b, tolerance, tolerance / 10, err_msg=text)


TOLERANCES = {"float32": 1e-5, "bfloat16": 3e-2, "float16": 5e-3}


@pytest.mark.parametrize(
    "dtype",
    [
        "float32",
        "int32",
        *(
            pytest.param(dtype, marks=pytest.mark.parity)
            for dtype in "bfloat16 float16 uint8 int8 bool".split()
        ),
    ],
)
def test_values_equal_those_of_keras(dtype):
    inputs = numbers(dtype)
    for text, (ours, theirs) in both(allowed(CALLS, dtype), inputs):
        for a, b in zip(ours, theirs, strict=True):
            close(a, b, text, TOLERANCES.get(dtype, 1e-5))


@pytest.mark.parity
@one_of_each
def test_eager_and_compiled_calls_give_the_same(texts):
    inputs = numbers()
    texts = allowed(texts)

    @jax.jit
    def run(arrays):
        return [call(text, ops, arrays) for text in texts]

    compiled = run.lower(inputs).compile(compiler_options=QUICK)(inputs)
    for text, wanted in zip(texts, compiled, strict=True):
        for a, b in zip(call(text, ops, inputs), wanted, strict=True):
            assert a.dtype == b.dtype and a.shape == b.shape, text
            close(a, b, text, 1e-4)


@pytest.mark.parity
@one_of_each
def test_gradients_equal_those_of_keras(texts):
    inputs = numbers()

    def slopes(text, library, arrays):
        def loss(arrays):
            total = 0.0
            for leaf in call(text, library, arrays):
                if jnp.issubdtype(leaf.dtype, jnp.inexact):
                    weights = jnp.cos(jnp.arange(leaf.size)).reshape(leaf.shape)
                    total = total + jnp.sum(jnp.real(leaf) * weights)
                    total = total + jnp.sum(jnp.imag(leaf) * weights[::-1])
            return total

        return jax.grad(loss)(arrays)

    def differentiable(text, library):
        try:
            jax.eval_shape(lambda arrays: slopes(text, library, arrays), inputs)
        except Exception:  # noqa: BLE001 - JAX has no rule, or the result is no float
            return False
        return True

    texts = [
        text
        for text in allowed(texts)
        if differentiable(text, keras.ops) and not text.startswith("ctc_decode")
    ]
    assert [text for text in texts if not differentiable(text, ops)] == []

    @jax.jit
    def run(arrays):
        return [
            [slopes(text, library, arrays) for library in (ops, keras.ops)]
            for text in texts
        ]

    found = run.lower(inputs).compile(compiler_options=QUICK)(inputs)
    for text, (ours, theirs) in zip(texts, found, strict=True):
        for name in SHAPES:
            scale = max(1.0, float(jnp.abs(theirs[name]).max()))
            np.testing.assert_allclose(
                ours[name], theirs[name], 1e-4, 1e-4 * scale, err_msg=text
            )


# --- Placeholders ---------------------------------------------------------------------


def placeholders(tensor, unknown):
    """Placeholders of a library for all inputs; `unknown` axes are None."""
    return {
        name: tensor(
            [
                None if i in unknown and name != "kernel" else n
                for i, n in enumerate(shape)
            ],
            "float32",
        )
        for name, shape in SHAPES.items()
    }


def symbolic(text, library, tensors):
    """Shapes and dtypes of the placeholders that come out, or the error."""
    try:
        out = eval(f"ops.{text}", {"ops": library, "np": np, **tensors})
    except Exception as error:  # noqa: BLE001 - whatever it is, it is compared
        return error
    flat = jax.tree.leaves(out)
    return [(tuple(t.shape), str(getattr(t.dtype, "name", t.dtype))) for t in flat]


def agree(loose, exact):
    """Whether `exact` says the same as `loose`, or more."""
    return (
        isinstance(exact, list)
        and len(loose) == len(exact)
        and all(
            len(a[0]) == len(b[0])
            and a[1] == b[1]
            and all(p in (None, q) for p, q in zip(a[0], b[0], strict=True))
            for a, b in zip(loose, exact, strict=True)
        )
    )


@pytest.mark.parametrize("unknown", [(), (0,), (1,)], ids=str)
def test_placeholders_get_the_shapes_and_dtypes_of_keras(unknown):
    wrong = {}
    mine, wanted = (
        placeholders(tensor, unknown) for tensor in (KerasTensor, keras.KerasTensor)
    )
    needy = " ".join(NEED.get(unknown, "").split()).split("; ")
    for text in CALLS:
        eager = spec(text, ops, "float32")
        name = text.partition("(")[0]
        if name in WITHOUT_PLACEHOLDERS or text in needy or not isinstance(eager, list):
            continue
        ours, theirs = symbolic(text, ops, mine), symbolic(text, keras.ops, wanted)
        # Keras' rule for placeholders may be wrong itself: it must allow what happens.
        right = isinstance(theirs, list) and agree(theirs, eager) and unknown
        if not agree(ours, eager) or (not unknown and ours != eager):
            wrong[text] = (ours, eager)
        elif right and not agree(theirs, ours) and text not in LOOSE:
            wrong[text] = (ours, theirs)
    assert wrong == {}


# Calls that need to know that axis, and those whose result is the smaller of two axes.
NEED = {
    (0,): """diag(x); diagonal(x); svd(signal[:, :3], full_matrices=False);
    svd(signal, compute_uv=False); dsplit(ops.reshape(x, (1, 2, 3)), 3)""",
    (1,): "unstack(x, axis=1); cross(x, y); dsplit(ops.reshape(x, (1, 2, 3)), 3)",
}
# Where a placeholder's length follows from another array, and we say less than Keras.
LOOSE = [text for text in CALLS if text.startswith("ctc_decode")]
# Functions of functions, facts, and what Keras' placeholders cannot do either.
WITHOUT_PLACEHOLDERS = """map scan vectorized_map switch cond while_loop fori_loop
associative_scan view ndim shape size custom_gradient vectorize""".split()
