"""The limit: the same models written by hand in JAX, one compiled call an epoch.

Whole epochs run in one `lax.scan` over data that lies on the device, with the state
donated and the kernels that are fastest on a CPU (canonical convolution gradients,
pooling by reshaping).
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

NHWC = ("NHWC", "HWIO", "NHWC")


def glorot(rng, *shape):
    fan = np.prod(shape[:-2]) if len(shape) > 2 else 1
    limit = np.sqrt(6 / (fan * (shape[-2] + shape[-1])))
    return jnp.asarray(rng.uniform(-limit, limit, shape).astype("float32"))


def conv_by_patches(x, w):
    """One input channel: patches times a matrix."""
    k = w.shape[0]
    oh, ow = x.shape[1] - k + 1, x.shape[2] - k + 1
    patches = [x[:, i : i + oh, j : j + ow] for i in range(k) for j in range(k)]
    return jnp.concatenate(patches, -1) @ w.reshape(k * k, -1)


@jax.custom_vjp
def conv(x, w):
    """A valid convolution whose gradients are canonical convolutions, too."""
    return lax.conv_general_dilated(x, w, (1, 1), "VALID", dimension_numbers=NHWC)


def _forward(x, w):
    return conv(x, w), (x, w)


def _backward(saved, dy):
    x, w = saved
    k = w.shape[0]
    flipped = w[::-1, ::-1].swapaxes(2, 3)
    pad = [(k - 1, k - 1)] * 2
    dx = lax.conv_general_dilated(dy, flipped, (1, 1), pad, dimension_numbers=NHWC)
    xt, dyt = x.transpose(3, 1, 2, 0), dy.transpose(1, 2, 0, 3)
    dw = lax.conv_general_dilated(xt, dyt, (1, 1), "VALID", dimension_numbers=NHWC)
    return dx, dw.transpose(1, 2, 0, 3)


conv.defvjp(_forward, _backward)


def pool(x):
    b, h, w, c = x.shape
    x = x[:, : h // 2 * 2, : w // 2 * 2].reshape(b, h // 2, 2, w // 2, 2, c)
    return x.max((2, 4))


def mlp(params, x, key):
    w1, b1, w2, b2 = params
    return jax.nn.relu(x @ w1 + b1) @ w2 + b2


def cnn(params, x, key):
    w1, b1, w2, b2, w3, b3 = params
    x = pool(jax.nn.relu(conv_by_patches(x, w1) + b1))
    x = pool(jax.nn.relu(conv(x, w2) + b2))
    x = x.reshape(x.shape[0], -1)
    keep = jax.random.bits(key, x.shape, jnp.uint8) >= 128
    return jnp.where(keep, x * 2, 0) @ w3 + b3


def initial(name):
    g = functools.partial(glorot, np.random.default_rng(0))
    z = jnp.zeros
    if name == "mlp":
        return mlp, [g(784, 128), z(128), g(128, 10), z(10)]
    return cnn, [g(3, 3, 1, 32), z(32), g(3, 3, 32, 64), z(64), g(1600, 10), z(10)]


def make_epoch(name, x, y, batch_size):
    """`epoch(state) -> (state, loss, accuracy)` and the state to begin with."""
    forward, params = initial(name)
    x, y = jnp.asarray(x), jnp.asarray(y)
    rows = len(x)
    steps = -(-rows // batch_size)
    padding = steps * batch_size - rows

    def loss_of(params, x, y, mask, key):
        logits = forward(params, x, key)
        log_p = jax.nn.log_softmax(logits)
        loss = -jnp.take_along_axis(log_p, y[:, None], 1)[:, 0]
        right = ((logits.argmax(1) == y) * mask).sum()
        return (loss * mask).sum() / mask.sum(), right

    def step(state, index):
        params, m, v, t, key, total = state
        key, drop = jax.random.split(key)
        at = jnp.maximum(index, 0)
        mask = (index >= 0).astype("float32")
        bx = x.at[at].get(mode="promise_in_bounds")
        by = y.at[at].get(mode="promise_in_bounds")
        (loss, right), grads = jax.value_and_grad(loss_of, has_aux=True)(
            params, bx, by, mask, drop
        )
        t = t + 1
        rate = 1e-3 * jnp.sqrt(1 - 0.999**t) / (1 - 0.9**t)
        m = jax.tree.map(lambda m, g: m + 0.1 * (g - m), m, grads)
        v = jax.tree.map(lambda v, g: v + 0.001 * (g * g - v), v, grads)
        params = jax.tree.map(
            lambda p, m, v: p - rate * m / (jnp.sqrt(v) + 1e-7), params, m, v
        )
        total = total + jnp.stack([loss * mask.sum(), right])
        return (params, m, v, t, key, total), None

    @functools.partial(jax.jit, donate_argnums=0)
    def run(state, order):
        state = (*state[:-1], jnp.zeros(2))
        return lax.scan(step, state, order)[0]

    def epoch(state):
        order = np.random.permutation(rows).astype("int32")
        order = np.concatenate([order, np.full(padding, -1, "int32")])
        state = run(state, order.reshape(steps, batch_size))
        loss, right = np.asarray(state[-1]) / rows
        return state, loss, right

    zeros = jax.tree.map(jnp.zeros_like, params)
    state = (
        params,
        zeros,
        jax.tree.map(jnp.zeros_like, params),
        jnp.float32(0),
        jax.random.key(1),
        jnp.zeros(2),
    )
    return epoch, state
