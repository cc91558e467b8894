"""The limit: the same models written by hand in JAX, one compiled call an epoch.

Whole epochs run in one `lax.scan` over data that lies on the device, with the state
donated and the kernels that are fastest on a CPU (canonical convolution gradients,
pooling by reshaping, few random bits).
"""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

NHWC = ("NHWC", "HWIO", "NHWC")
relu = jax.nn.relu


# --- Kernels --------------------------------------------------------------------------


def conv(x, w, stride=1, padding="VALID"):
    k, strides = w.shape[0], (stride, stride)
    if k == 1 and stride == 1:
        return x @ w[0, 0]
    pads = lax.padtype_to_pads(x.shape[1:3], (k, k), strides, padding)
    if x.shape[-1] == 1 and stride == 1:  # patches times a matrix
        x = jnp.pad(x, [(0, 0), *pads, (0, 0)])
        oh, ow = x.shape[1] - k + 1, x.shape[2] - k + 1
        patches = [x[:, i : i + oh, j : j + ow] for i in range(k) for j in range(k)]
        return jnp.concatenate(patches, -1) @ w.reshape(k * k, -1)
    return _canonical(tuple(map(tuple, pads)), stride)(x, w)


@functools.cache
def _canonical(pads, s):
    """A convolution whose gradients are canonical convolutions, too."""

    @jax.custom_vjp
    def f(x, w):
        return lax.conv_general_dilated(x, w, (s, s), pads, dimension_numbers=NHWC)

    def forward(x, w):
        return f(x, w), (x, w)

    def backward(saved, dy):
        x, w = saved
        k = w.shape[0]
        sizes = list(zip(pads, x.shape[1:3], dy.shape[1:3], strict=True))
        outside = [(k - 1 - lo, n + lo - ((o - 1) * s + 1)) for (lo, _), n, o in sizes]
        flipped = w[::-1, ::-1].swapaxes(2, 3)
        dx = lax.conv_general_dilated(
            dy, flipped, (1, 1), outside, lhs_dilation=(s, s), dimension_numbers=NHWC
        )
        inside = [(lo, (o - 1) * s + k - n - lo) for (lo, _), n, o in sizes]
        xt, dyt = x.transpose(3, 1, 2, 0), dy.transpose(1, 2, 0, 3)
        dw = lax.conv_general_dilated(
            xt, dyt, (1, 1), inside, rhs_dilation=(s, s), dimension_numbers=NHWC
        )
        return dx, dw.transpose(1, 2, 0, 3)

    f.defvjp(forward, backward)
    return f


def pool(x):
    b, h, w, c = x.shape
    x = x[:, : h // 2 * 2, : w // 2 * 2].reshape(b, h // 2, 2, w // 2, 2, c)
    return x.max((2, 4))


def drop(x, key, rate):
    if key is None:
        return x
    limit = round(rate * 256)
    keep = jax.random.bits(key, x.shape, jnp.uint8) >= limit
    return jnp.where(keep, x * (256 / (256 - limit)), 0)


# --- Models: `(params, stats, x, key) -> (outputs, stats)`, without a key to predict --


def dense(params, stats, x, key):
    *hidden, (w, b) = params
    for v, c in hidden:
        x = relu(x @ v + c)
    return x @ w + b, stats


def cnn(params, stats, x, key):
    (w1, b1), (w2, b2), (w3, b3) = params
    x = pool(relu(conv(x, w1) + b1))
    x = pool(relu(conv(x, w2) + b2))
    return drop(x.reshape(x.shape[0], -1), key, 0.5) @ w3 + b3, stats


def resnet(params, stats, x, key):
    first, blocks, (w, b) = params
    old, new = iter(stats), []

    def normalised(x, part, stride=1):
        kernel, scale, shift = part
        x = conv(x, kernel, stride, "SAME")
        mean, variance = next(old)
        if key is not None:
            m = x.mean((0, 1, 2))
            v = (x * x).mean((0, 1, 2)) - m * m
            new.append((0.99 * mean + 0.01 * m, 0.99 * variance + 0.01 * v))
            mean, variance = m, v
        scale = scale * lax.rsqrt(variance + 1e-3)
        return x * scale + (shift - mean * scale)

    x = relu(normalised(x, first))
    for one, two, *short in blocks:
        stride = 2 if short else 1
        y = normalised(relu(normalised(x, one, stride)), two)
        x = relu(y + (normalised(x, short[0], 2) if short else x))
    return x.mean((1, 2)) @ w + b, new or stats


def lstm(params, stats, x, key):
    w, u, b, (d, e) = params
    steps = jnp.swapaxes(x @ w + b, 0, 1)
    zeros = jnp.zeros((x.shape[0], u.shape[0]))

    def cell(state, t):
        h, c = state
        i, f, g, o = jnp.split(t + h @ u, 4, -1)
        c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
        return (jax.nn.sigmoid(o) * jnp.tanh(c), c), None

    (h, _), _ = lax.scan(cell, (zeros, zeros), steps, unroll=8)
    return h @ d + e, stats


def transformer(params, stats, x, key):
    words, places, blocks, (w, b) = params
    x = words[x] + places
    keys = iter([None] * 4 if key is None else jax.random.split(key, 4))

    def normalised(x, scale, shift):
        x = x - x.mean(-1, keepdims=True)
        return x * lax.rsqrt((x * x).mean(-1, keepdims=True) + 1e-6) * scale + shift

    for (qkv, c), (o, d), one, (f1, c1), (f2, c2), two in blocks:
        rows, steps, width = x.shape
        heads = (x @ qkv + c).reshape(rows, steps, 3, 4, width // 4)
        q, k, v = jnp.moveaxis(heads, 2, 0)
        scores = jnp.einsum("bqhd,bkhd->bhqk", q, k) * (width // 4) ** -0.5
        y = jnp.einsum("bhqk,bkhd->bqhd", jax.nn.softmax(scores, -1), v)
        y = y.reshape(x.shape) @ o + d
        x = normalised(x + drop(y, next(keys), 0.1), *one)
        y = relu(x @ f1 + c1) @ f2 + c2
        x = normalised(x + drop(y, next(keys), 0.1), *two)
    return x.mean(1) @ w + b, stats


def initial(kind, sizes=()):
    """The function of a model, its parameters and its statistics."""
    rng, z, one = np.random.default_rng(0), jnp.zeros, jnp.ones

    def g(*shape):
        limit = np.sqrt(6 / (np.prod(shape[:-2]) * (shape[-2] + shape[-1])))
        return jnp.asarray(rng.uniform(-limit, limit, shape).astype("float32"))

    def pair(i, o):
        return g(i, o), z(o)

    if kind == "dense":
        return dense, [pair(i, o) for i, o in itertools.pairwise(sizes)], []
    if kind == "cnn":
        convs = [(g(3, 3, 1, 32), z(32)), (g(3, 3, 32, 64), z(64))]
        return cnn, [*convs, pair(1600, 10)], []
    if kind == "lstm":
        return lstm, [g(32, 256), g(64, 256), z(256), pair(64, 10)], []
    if kind == "transformer":
        block = lambda: [  # noqa: E731
            pair(64, 192),
            pair(64, 64),
            (one(64), z(64)),
            pair(64, 128),
            pair(128, 64),
            (one(64), z(64)),
        ]
        tables = [g(1000, 64), g(64, 64)]
        return transformer, [*tables, [block(), block()], pair(64, 10)], []
    part = lambda k, i, o: [g(k, k, i, o), one(o), z(o)]  # noqa: E731
    blocks, wide = [], 16
    for filters in (16, 32, 64):
        for _ in range(3):
            short = [part(1, wide, filters)] if filters != wide else []
            blocks.append([part(3, wide, filters), part(3, filters, filters), *short])
            wide = filters
    first = part(3, 3, 16)
    parts = [first, *(p for block in blocks for p in block)]
    stats = [(z(p[1].shape), one(p[1].shape)) for p in parts]
    return resnet, [first, blocks, pair(64, 10)], stats


# --- Training -------------------------------------------------------------------------


def make_step(kind, sizes=()):
    """`step(state, x, y, mask) -> state`, and the state to begin with."""
    forward, params, stats = initial(kind, sizes)

    def loss_of(params, stats, x, y, mask, key):
        logits, stats = forward(params, stats, x, key)
        if logits.shape[-1] == 1:
            logits = logits[:, 0]
            loss = jnp.logaddexp(0, logits) - logits * y
            right = (logits > 0) == (y > 0.5)
        else:
            log_p = jax.nn.log_softmax(logits)
            loss = -jnp.take_along_axis(log_p, y[:, None], 1)[:, 0]
            right = logits.argmax(1) == y
        return (loss * mask).sum() / mask.sum(), (stats, (right * mask).sum())

    def step(state, x, y, mask):
        params, stats, m, v, t, key, total = state
        key, drop = jax.random.split(key)
        gradient = jax.value_and_grad(loss_of, has_aux=True)
        (loss, (stats, right)), grads = gradient(params, stats, x, y, mask, drop)
        t = t + 1
        rate = 1e-3 * jnp.sqrt(1 - 0.999**t) / (1 - 0.9**t)
        m = jax.tree.map(lambda m, g: m + 0.1 * (g - m), m, grads)
        v = jax.tree.map(lambda v, g: v + 0.001 * (g * g - v), v, grads)
        params = jax.tree.map(
            lambda p, m, v: p - rate * m / (jnp.sqrt(v) + 1e-7), params, m, v
        )
        total = total + jnp.stack([loss * mask.sum(), right])
        return params, stats, m, v, t, key, total

    m, v = (jax.tree.map(jnp.zeros_like, params) for _ in range(2))
    state = (params, stats, m, v, jnp.float32(0), jax.random.key(1), jnp.zeros(2))
    return step, state


def make_epoch(kind, x, y, batch_size, sizes=()):
    """`epoch(state) -> (state, loss, accuracy)` and the state to begin with."""
    one, state = make_step(kind, sizes)
    x, y = jnp.asarray(x), jnp.asarray(y)
    rows = len(x)
    steps = -(-rows // batch_size)
    padding = steps * batch_size - rows

    def step(state, index):
        at = jnp.maximum(index, 0)
        take = lambda a: a.at[at].get(mode="promise_in_bounds")  # noqa: E731
        return one(state, take(x), take(y), (index >= 0).astype("float32")), None

    @functools.partial(jax.jit, donate_argnums=0)
    def run(state, order):
        return lax.scan(step, (*state[:-1], jnp.zeros(2)), order)[0]

    def epoch(state):
        order = np.random.permutation(rows).astype("int32")
        order = np.concatenate([order, np.full(padding, -1, "int32")])
        state = run(state, order.reshape(steps, batch_size))
        loss, right = np.asarray(state[-1]) / rows
        return state, loss, right

    return epoch, state
