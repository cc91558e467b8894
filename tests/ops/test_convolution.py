"""kerasnb.ops.convolution"""

import jax
import jax.numpy as jnp
import keras
import numpy as np
import pytest
from jax import lax

from kerasnb import ops
from kerasnb.core.graph import KerasTensor
from kerasnb.ops import convolution


def images_and_kernel(images, window, filters=4, groups=1):
    rng = np.random.default_rng(0)
    x = rng.normal(size=images)
    w = rng.normal(size=(*window, images[-1] // groups, filters))
    return jnp.asarray(x, "float32"), jnp.asarray(w, "float32")


def derivatives(fn, *args):
    """Value, both gradients, and their directional derivatives."""

    def grads(*args):
        return jax.grad(lambda *args: jnp.sum(jnp.sin(fn(*args))), (0, 1))(*args)

    return fn(*args), jax.jvp(grads, args, tuple(jnp.cos(a) for a in args))


def compare(ours, theirs, *args):
    """Two functions, with all their derivatives, in one compiled program."""
    same(*jax.jit(lambda *a: [derivatives(f, *a) for f in (ours, theirs)])(*args))


def same(ours, theirs):
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_allclose(a, b, 1e-4, 1e-4 * float(jnp.abs(b).max() + 1))


CASES = [
    # images, window, strides, padding, dilation
    ((2, 9, 3), (3,), 1, "valid", 1),
    ((2, 9, 3), (4,), 2, "same", 1),
    ((2, 9, 8, 5), (3, 2), 1, "same", 1),
    ((2, 9, 8, 5), (3, 3), 2, "valid", 1),
    ((2, 9, 8, 5), (3, 3), (3, 2), "same", 1),
    ((2, 9, 8, 5), (3, 3), 1, "valid", 2),
    ((2, 9, 8, 5), (3, 3), 1, "same", (1, 2)),
    ((2, 9, 8, 1), (3, 3), 1, "same", 1),
    ((2, 9, 8, 3), (3, 3), 2, "valid", 1),
    ((2, 9, 8, 2), (2, 3), 1, "valid", 2),
    ((2, 8, 7, 5), (1, 1), 1, "valid", 1),
    ((2, 8, 7, 5), (1, 1), (2, 3), "same", 1),
    ((2, 8, 7, 5), (3, 3), 3, "valid", 1),  # a row and a column are left over
    ((2, 5, 6, 7, 5), (2, 3, 2), (1, 2, 2), "same", 1),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_values_and_derivatives_agree_with_keras(case):
    images, window, strides, padding, dilation = case
    x, w = images_and_kernel(images, window)
    options = (strides, padding, "channels_last", dilation)
    compare(
        lambda x, w: ops.conv(x, w, *options),
        lambda x, w: keras.ops.conv(x, w, *options),
        x,
        w,
    )


@pytest.mark.parametrize("groups", [1, 2, 4])
def test_channels_first_and_groups_agree_with_keras(groups):
    x, w = images_and_kernel((2, 7, 6, 4), (3, 3), 8, groups)
    x = jnp.moveaxis(x, -1, 1)
    # On a CPU Keras' convolution itself cannot be differentiated in this format.
    out = ops.conv(x, w, 2, "same", "channels_first")
    wanted = keras.ops.conv(jnp.moveaxis(x, 1, -1), w, 2, "same", "channels_last")
    np.testing.assert_allclose(out, jnp.moveaxis(wanted, -1, 1), 1e-4, 1e-5)


@pytest.mark.parametrize("name", ["depthwise_conv", "separable_conv"])
def test_separable_convolutions_agree_with_keras(name):
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.normal(size=(2, 7, 6, 3)), "float32")
    kernels = [jnp.asarray(rng.normal(size=(3, 3, 3, 2)), "float32")]
    if name == "separable_conv":
        kernels.append(jnp.asarray(rng.normal(size=(1, 1, 6, 4)), "float32"))
    for padding in ("valid", "same"):
        ours = getattr(ops, name)(x, *kernels, 2, padding)
        theirs = getattr(keras.ops, name)(x, *kernels, 2, padding)
        np.testing.assert_allclose(ours, theirs, 1e-5, 1e-5)


TRANSPOSED = [
    # strides, padding, output padding, dilation
    (1, "valid", None, 1),
    (2, "valid", None, 1),
    (3, "valid", None, 1),
    (2, "valid", 1, 1),
    (2, "same", None, 1),
    ((3, 2), "same", None, 1),
    (2, "same", 0, 1),
    (3, "same", 2, 1),
    (1, "valid", None, 2),
    (1, "same", None, 2),
]


@pytest.mark.parametrize("case", TRANSPOSED, ids=str)
def test_transposed_convolutions_agree_with_keras(case):
    strides, padding, extra, dilation = case
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.normal(size=(2, 5, 4, 3)), "float32")
    w = jnp.asarray(rng.normal(size=(3, 2, 6, 3)), "float32")
    options = (strides, padding, extra, "channels_last", dilation)
    ours = ops.conv_transpose(x, w, *options)
    theirs = keras.ops.conv_transpose(x, w, *options)
    same(ours, theirs)


def test_a_transposed_convolution_is_differentiated_as_in_keras():
    x, w = images_and_kernel((2, 5, 4, 3), (3, 2), 3)
    compare(
        lambda x, w: ops.conv_transpose(x, w, 2, "same"),
        lambda x, w: keras.ops.conv_transpose(x, w, 2, "same"),
        x,
        w,
    )


def test_a_transposed_convolution_takes_channels_first():
    x, w = images_and_kernel((2, 4, 5, 3), (3, 3), 3)
    last = ops.conv_transpose(x, w, 2, "same")
    first = ops.conv_transpose(
        jnp.moveaxis(x, -1, 1), w, 2, "same", None, "channels_first"
    )
    np.testing.assert_allclose(jnp.moveaxis(first, 1, -1), last, 1e-6)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_what_the_cpu_computes_is_what_other_devices_compute(case):
    images, window, strides, padding, dilation = case
    x, w = images_and_kernel(images, window)
    geometry = convolution.make_geometry(x.shape, w.shape, strides, padding, dilation)

    @jax.jit
    def run(x, w):
        y = convolution._plain(x, w, wanted="outputs", geometry=geometry)
        maps = (("outputs", x, w), ("inputs", y, w), ("kernel", x, y))
        return [
            [compute(a, b, wanted=wanted, geometry=geometry) for wanted, a, b in maps]
            for compute in (convolution._canonical, convolution._plain)
        ]

    same(*run(x, w))


def test_a_convolution_can_be_differentiated_twice_backwards_and_batched():
    x, w = images_and_kernel((1, 4, 4, 2), (2, 2), 1)

    def plain(x, w):
        numbers = ("NHWC", "HWIO", "NHWC")
        return lax.conv_general_dilated(
            x, w, (1, 1), "VALID", dimension_numbers=numbers
        )

    @jax.jit
    def run(x, w):
        answers = []
        for fn in (ops.conv, plain):

            def loss(w, x, fn=fn):
                return jnp.sum(jnp.sin(fn(x, w)))

            grad = jax.grad(loss)
            twice = jax.grad(lambda w, grad=grad: jnp.sum(grad(w, x) ** 2))
            answers.append(
                (
                    jax.hessian(loss)(w, x),
                    twice(w),
                    jax.vmap(grad, (None, 0))(w, jnp.stack([x, 2 * x])),
                    jax.vmap(fn, (None, 0))(x, jnp.stack([w, -w])),
                )
            )
        return answers

    same(*run(x, w))


def test_a_convolution_works_under_checkpoint_scan_and_export():
    x, w = images_and_kernel((2, 6, 6, 3), (3, 3), 3)

    def loss(w):
        return jnp.sum(jax.checkpoint(lambda x: ops.conv(x, w, padding="same"))(x) ** 2)

    def scanned(w):
        step = lambda c, _: (ops.conv(c, w, padding="same"), None)  # noqa: E731
        return jnp.sum(lax.scan(step, x, None, length=1)[0] ** 2)

    same(jax.grad(loss)(w), jax.grad(scanned)(w))
    exported = jax.export.export(jax.jit(ops.conv), platforms=["cpu", "cuda"])(x, w)
    same(exported.call(x, w), ops.conv(x, w))


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "int32"])
def test_other_dtypes_agree_with_keras(dtype):
    x, w = images_and_kernel((2, 6, 6, 5), (3, 3), 3)
    x, w = (x * 3).astype(dtype), (w * 3).astype(dtype)
    ours, theirs = ops.conv(x, w), keras.ops.conv(x, w)
    assert ours.dtype == theirs.dtype
    np.testing.assert_allclose(
        np.asarray(ours, "float64"), np.asarray(theirs, "float64"), 2e-2, 0.1
    )


def test_placeholders_have_unknown_axes():
    w = jnp.ones((3, 3, 2, 5))
    y = ops.conv(KerasTensor((None, None, 8, 2)), w, 2, "same")
    assert y.shape == (None, None, 4, 5)
    assert ops.max_pool(y, 2).shape == (None, None, 2, 5)


def test_gradients_in_a_loop_are_not_slower_than_outside(record_property):
    """The reason for all this: XLA:CPU's own gradients are 10 to 60 times slower there.

    The bound is loose, since other programs use the processors, too.
    """
    import time

    x, w = images_and_kernel((16, 16, 16, 16), (3, 3), 16)

    def step(_, w):
        return w - 1e-6 * jax.grad(lambda w: jnp.sum(ops.conv(x, w) ** 2))(w)

    alone = jax.jit(lambda w: step(0, w))
    looped = jax.jit(lambda w: lax.fori_loop(0, 10, step, w))
    times = []
    for fn, calls in ((alone, 10), (looped, 1)):
        jax.block_until_ready(fn(w))
        best = np.inf
        for _ in range(5):
            start = time.process_time()
            for _ in range(calls):
                jax.block_until_ready(fn(w))
            best = min(best, time.process_time() - start)
        times.append(best)
    record_property("ratio", times[1] / times[0])
    assert times[1] < 4 * times[0]


def test_mistakes_are_answered_with_one_sentence():
    x = jnp.ones((1, 8, 8, 3))
    with pytest.raises(ValueError, match="takes 4 channels.*shape \\(1, 8, 8, 3\\)"):
        ops.conv(x, jnp.ones((3, 3, 4, 5)))
    with pytest.raises(ValueError, match="over 1 axes"):
        ops.conv(x, jnp.ones((3, 3, 5)))
    with pytest.raises(ValueError, match='smaller than the window.*padding="same"'):
        ops.conv(x, jnp.ones((9, 9, 3, 5)))
    with pytest.raises(ValueError, match="`padding` must be one of"):
        ops.conv(x, jnp.ones((3, 3, 3, 5)), padding="full")
    with pytest.raises(ValueError, match="`data_format` must be one of"):
        ops.conv(x, jnp.ones((3, 3, 3, 5)), data_format="NHWC")
    with pytest.raises(ValueError, match="the kernel is for 4 channels"):
        ops.depthwise_conv(x, jnp.ones((3, 3, 4, 1)))
    with pytest.raises(ValueError, match="takes 4 channels"):
        ops.conv_transpose(x, jnp.ones((3, 3, 5, 4)))
