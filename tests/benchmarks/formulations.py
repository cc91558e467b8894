"""Each formulation that kerasnb chose, beside the obvious one it was chosen over.

Run it: `make bench`, or `python -m tests.benchmarks.formulations [--only pool]`; it
writes `tests/benchmarks/FORMULATIONS.md` itself. Both sides are compiled by JAX and
take turns. What is timed is the gradient, once by itself and once inside of a
compiled loop, as `fit` runs it: XLA:CPU has slower kernels there for some operations.
A ratio below 1 says that the chosen one is faster.
"""

import argparse
import os
import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from kerasnb import layers, ops
from kerasnb.core.state import functional, read
from tests.benchmarks.layers import compare

RESULTS = Path(__file__).with_name("FORMULATIONS.md")
STEPS_IN_LOOP = 4
Fn = Callable[..., Any]


# --- The obvious ones -----------------------------------------------------------------


def plain_conv(stride: int = 1, padding: str = "SAME", groups: int = 1) -> Fn:
    """JAX's convolution and its own gradient, over any number of axes."""

    def conv(x: Any, w: Any) -> Any:
        axes = "DHW"[5 - x.ndim :]
        return lax.conv_general_dilated(
            x,
            w,
            (stride,) * len(axes),
            padding,
            dimension_numbers=(f"N{axes}C", f"{axes}IO", f"N{axes}C"),
            feature_group_count=groups,
        )

    return conv


def window_max(x: Any) -> Any:
    return lax.reduce_window(x, -jnp.inf, lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")


def two_passes(x: Any, gamma: Any, beta: Any) -> Any:
    """Batch normalisation with the gradient that JAX finds."""
    axes = tuple(range(x.ndim - 1))
    mean = x.mean(axes)
    variance = jnp.square(x - mean).mean(axes)
    factor = lax.rsqrt(variance + 1e-3) * gamma
    return x * factor + (beta - mean * factor)


def one_pass(x: Any, gamma: Any, beta: Any) -> Any:
    """The same by E[x²] - E[x]², which loses digits: what the safe one costs."""
    axes = tuple(range(x.ndim - 1))
    mean = x.mean(axes)
    factor = lax.rsqrt((x * x).mean(axes) - mean * mean + 1e-3) * gamma
    return x * factor + (beta - mean * factor)


def factor_and_shift(x: Any, gamma: Any, beta: Any) -> Any:
    """Layer normalisation as `x · factor + shift`."""
    mean = x.mean(-1, keepdims=True)
    variance = jnp.square(x - mean).mean(-1, keepdims=True)
    factor = lax.rsqrt(variance + 1e-3) * gamma
    return x * factor + (beta - mean * factor)


def lstm(inside: bool) -> Fn:
    """`lax.scan`, with the projection of the inputs inside or outside of it."""

    def run(x: Any, w: Any, u: Any, b: Any) -> Any:
        zeros = jnp.zeros((x.shape[0], u.shape[0]))

        def step(state: Any, t: Any) -> Any:
            h, c = state
            t = t @ w + b if inside else t
            i, f, g, o = jnp.split(t + h @ u, 4, -1)
            c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
            return (jax.nn.sigmoid(o) * jnp.tanh(c), c), None

        steps = jnp.swapaxes(x, 0, 1)
        (h, _), _ = lax.scan(step, (zeros, zeros), steps if inside else steps @ w + b)
        return h

    return run


def gru(x: Any, w: Any, u: Any, b: Any) -> Any:
    """`lax.scan` over `reset_after` cells, all products inside of it."""

    def step(h: Any, t: Any) -> Any:
        z, r, n = jnp.split(t @ w + b[0], 3, -1)
        hz, hr, hn = jnp.split(h @ u + b[1], 3, -1)
        z, r = jax.nn.sigmoid(z + hz), jax.nn.sigmoid(r + hr)
        return z * h + (1 - z) * jnp.tanh(n + r * hn), None

    return lax.scan(step, jnp.zeros((x.shape[0], u.shape[0])), jnp.swapaxes(x, 0, 1))[0]


def one_hot(table: Any, words: Any) -> Any:
    """An embedding as a product with ones and zeros: no scatter in its gradient."""
    return jax.nn.one_hot(words, len(table)) @ table


# --- The table ------------------------------------------------------------------------


def of_layer(layer: layers.Layer, *shape: int, **options: Any) -> Fn:
    """A layer as a function of its inputs and its weights."""
    layer.build(shape)
    trained = layer.trainable_variables
    rest = read(layer.non_trainable_variables)
    pure = functional(lambda x: layer(x, **options), layer.variables)
    where = {id(v): i for i, v in enumerate(layer.variables)}

    def run(x: Any, *weights: Any) -> Any:
        values = list(read(layer.variables))
        for variable, value in zip(trained, weights, strict=True):
            values[where[id(variable)]] = value
        for variable, value in zip(layer.non_trainable_variables, rest, strict=True):
            values[where[id(variable)]] = value
        return pure(values, x)[0]

    return run


def same(stride: int = 1) -> Fn:
    return lambda x, w: ops.conv(x, w, stride, "same")


def valid(x: Any, w: Any) -> Any:
    return ops.conv(x, w, 1, "valid")


def depthwise(x: Any, w: Any) -> Any:
    return ops.depthwise_conv(x, w.swapaxes(-1, -2), 1, "same")


IMAGES, SEQUENCES = (64, 28, 28, 16), (64, 64, 32)
LSTM = (SEQUENCES, (32, 256), (64, 256), (256,))
GRU = (SEQUENCES, (32, 192), (64, 192), (2, 192))
NORM = (IMAGES, (16,), (16,))
WORDS = jax.random.randint(jax.random.key(0), (32, 64), 0, 1000)
QUERIES = ((32, 64, 4, 16),) * 3

# Name, the chosen one, the obvious one, shapes of the arguments.
TABLE: list[tuple[str, Fn, Fn, tuple]] = [
    ("Conv2D 3x3", same(), plain_conv(), (IMAGES, (3, 3, 16, 32))),
    ("Conv2D 3x3, strides 2", same(2), plain_conv(2), (IMAGES, (3, 3, 16, 32))),
    ("Conv2D 1x1", same(), plain_conv(), (IMAGES, (1, 1, 16, 32))),
    (
        "Conv2D 3x3 on grey images",
        valid,
        plain_conv(padding="VALID"),
        ((64, 28, 28, 1), (3, 3, 1, 32)),
    ),
    (
        "Conv2D 3x3 on colours",
        same(),
        plain_conv(),
        ((64, 32, 32, 3), (3, 3, 3, 16)),
    ),
    (
        "Conv2D 3x3, 4 groups",
        same(),
        plain_conv(groups=4),
        (IMAGES, (3, 3, 4, 32)),
    ),
    (
        "DepthwiseConv2D 3x3",
        depthwise,
        plain_conv(groups=16),
        (IMAGES, (3, 3, 1, 16)),
    ),
    ("Conv3D 3x3x3", same(), plain_conv(), ((8, 12, 12, 12, 8), (3, 3, 3, 8, 8))),
    (
        "MaxPooling2D by reshape, over a window's gradient",
        lambda x: ops.max_pool(x, 2),
        window_max,
        (IMAGES,),
    ),
    (
        "BatchNormalization, over the gradient JAX finds",
        of_layer(layers.BatchNormalization(), *IMAGES, training=True),
        two_passes,
        NORM,
    ),
    (
        "BatchNormalization, over one pass that loses digits",
        of_layer(layers.BatchNormalization(), *IMAGES, training=True),
        one_pass,
        NORM,
    ),
    (
        "LayerNormalization, scaled last",
        of_layer(layers.LayerNormalization(), *SEQUENCES),
        factor_and_shift,
        (SEQUENCES, (32,), (32,)),
    ),
    (
        "LSTM, over a scan with the projection inside",
        of_layer(layers.LSTM(64), *SEQUENCES),
        lstm(inside=True),
        LSTM,
    ),
    (
        "LSTM, over a scan with the projection outside",
        of_layer(layers.LSTM(64), *SEQUENCES),
        lstm(inside=False),
        LSTM,
    ),
    ("GRU, over a scan", of_layer(layers.GRU(64), *SEQUENCES), gru, GRU),
    (
        "Embedding by rows, over a product with ones and zeros",
        lambda table: ops.take(table, WORDS, 0),
        lambda table: one_hot(table, WORDS),
        ((1000, 64),),
    ),
    (
        "attention, over jax.nn.dot_product_attention",
        ops.dot_product_attention,
        jax.nn.dot_product_attention,
        QUERIES,
    ),
]


# --- Timing ---------------------------------------------------------------------------


def programs_of(fn: Fn, args: list[Any]) -> dict[str, Fn]:
    """The gradient of `fn` by itself and in a loop, without arguments."""

    def loss(*args: Any) -> Any:
        return jnp.sum(jnp.square(fn(*args)))

    gradient = jax.grad(loss, tuple(range(len(args))))

    def train(*args: Any) -> Any:
        def step(_: int, args: Any) -> Any:
            moves = zip(args, gradient(*args), strict=True)
            return tuple(a - 1e-6 * g for a, g in moves)

        return lax.fori_loop(0, STEPS_IN_LOOP, step, args)

    ready = {
        "alone": jax.jit(gradient).lower(*args).compile(),
        "loop": jax.jit(train).lower(*args).compile(),
    }
    return {
        kind: lambda run=run: jax.block_until_ready(run(*args))
        for kind, run in ready.items()
    }


def measure(chosen: Fn, obvious: Fn, shapes: tuple, laps: int) -> dict[str, str]:
    keys = jax.random.split(jax.random.key(1), len(shapes))
    args = tuple(
        0.3 * jax.random.normal(key, shape)
        for key, shape in zip(keys, shapes, strict=True)
    )
    ours, theirs = programs_of(chosen, args), programs_of(obvious, args)
    row = {}
    for kind in ours:
        ms, best, median = compare(ours[kind], theirs[kind], laps, time.perf_counter)
        row[f"{kind}, ms"] = f"{ms:.2f}"
        row[kind] = f"**{best:.2f}** ({median:.2f})"
    return row


def written(rows: dict[str, dict[str, str]]) -> str:
    """The table in Markdown."""
    heads = list(next(iter(rows.values())))
    lines = [
        "# Formulations",
        "",
        "What kerasnb computes, beside the obvious way to write it: the gradient in",
        "float32, by itself and inside of a compiled loop as in `fit`: our time in ms,",
        "and this divided by the other's: that of the best laps, and in brackets",
        "that of the medians. Below 1 the chosen one is faster.",
        "",
        f"{os.cpu_count()} cores, {platform.machine()}, JAX {jax.__version__} on "
        + jax.default_backend(),
        "",
        "| | " + " | ".join(heads) + " |",
        "|---|" + "---:|" * len(heads),
    ]
    for name, row in rows.items():
        lines.append(f"| {name} | " + " | ".join(row.values()) + " |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="rows with this in them; not kept")
    parser.add_argument("--laps", type=int, default=15)
    args = parser.parse_args()
    rows = {}
    for name, *row in TABLE:
        if args.only.lower() in name.lower():
            rows[name] = measure(*row, args.laps)
            print(f"{name:56}", *rows[name].values(), flush=True)
    if rows and not args.only:
        RESULTS.write_text(written(rows))


if __name__ == "__main__":
    main()
