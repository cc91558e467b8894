"""The workloads in Flax NNX."""

import itertools
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

relu = jax.nn.relu


class Dense(nnx.Module):
    def __init__(self, sizes, rngs):
        pairs = itertools.pairwise(sizes)
        self.layers = nnx.List([nnx.Linear(i, o, rngs=rngs) for i, o in pairs])

    def __call__(self, x):
        for layer in self.layers[:-1]:
            x = relu(layer(x))
        return self.layers[-1](x)


class Cnn(nnx.Module):
    def __init__(self, rngs):
        self.one = nnx.Conv(1, 32, (3, 3), padding="VALID", rngs=rngs)
        self.two = nnx.Conv(32, 64, (3, 3), padding="VALID", rngs=rngs)
        self.drop = nnx.Dropout(0.5, rngs=rngs)
        self.top = nnx.Linear(1600, 10, rngs=rngs)

    def __call__(self, x):
        for conv in (self.one, self.two):
            x = nnx.max_pool(relu(conv(x)), (2, 2), (2, 2))
        return self.top(self.drop(x.reshape(len(x), -1)))


class Normalised(nnx.Module):
    def __init__(self, i, o, size, stride, rngs):
        how = {"strides": stride, "padding": "SAME", "use_bias": False, "rngs": rngs}
        self.conv = nnx.Conv(i, o, (size, size), **how)
        self.norm = nnx.BatchNorm(o, rngs=rngs)

    def __call__(self, x):
        return self.norm(self.conv(x))


class Block(nnx.Module):
    def __init__(self, i, o, rngs):
        stride = 1 if i == o else 2
        self.one = Normalised(i, o, 3, stride, rngs)
        self.two = Normalised(o, o, 3, 1, rngs)
        self.short = None if i == o else Normalised(i, o, 1, 2, rngs)

    def __call__(self, x):
        y = self.two(relu(self.one(x)))
        return relu(y + (x if self.short is None else self.short(x)))


class Resnet(nnx.Module):
    def __init__(self, rngs):
        self.first = Normalised(3, 16, 3, 1, rngs)
        wide = [16, 16, 16, 16, 32, 32, 32, 64, 64, 64]
        pairs = itertools.pairwise(wide)
        self.blocks = nnx.List([Block(i, o, rngs) for i, o in pairs])
        self.top = nnx.Linear(64, 10, rngs=rngs)

    def __call__(self, x):
        x = relu(self.first(x))
        for block in self.blocks:
            x = block(x)
        return self.top(x.mean((1, 2)))


class Lstm(nnx.Module):
    def __init__(self, rngs):
        self.rnn = nnx.RNN(nnx.OptimizedLSTMCell(32, 64, rngs=rngs))
        self.top = nnx.Linear(64, 10, rngs=rngs)

    def __call__(self, x):
        return self.top(self.rnn(x)[:, -1])


class Attentive(nnx.Module):
    def __init__(self, rngs):
        how = {"in_features": 64, "decode": False, "rngs": rngs}
        self.attention = nnx.MultiHeadAttention(4, **how)
        self.up, self.down = (
            nnx.Linear(64, 128, rngs=rngs),
            nnx.Linear(128, 64, rngs=rngs),
        )
        self.norms = nnx.List([nnx.LayerNorm(64, rngs=rngs) for _ in range(2)])
        self.drop = nnx.Dropout(0.1, rngs=rngs)

    def __call__(self, x):
        x = self.norms[0](x + self.drop(self.attention(x)))
        return self.norms[1](x + self.drop(self.down(relu(self.up(x)))))


class Transformer(nnx.Module):
    def __init__(self, rngs):
        self.words = nnx.Embed(1000, 64, rngs=rngs)
        self.places = nnx.Embed(64, 64, rngs=rngs)
        self.blocks = nnx.List([Attentive(rngs) for _ in range(2)])
        self.top = nnx.Linear(64, 10, rngs=rngs)

    def __call__(self, x):
        x = self.words(x) + self.places(jnp.arange(64))
        for block in self.blocks:
            x = block(x)
        return self.top(x.mean(1))


def build(work: Any) -> Any:
    """The model of a workload."""
    rngs = nnx.Rngs(0)
    if work.kind == "dense":
        return Dense(work.sizes, rngs)
    kinds = {"cnn": Cnn, "resnet": Resnet, "lstm": Lstm, "transformer": Transformer}
    return kinds[work.kind](rngs)


def loss_of(logits: Any, y: Any) -> tuple[Any, Any]:
    """The mean loss and how many are right."""
    if logits.shape[-1] == 1:
        logits = logits[:, 0]
        loss = jnp.logaddexp(0, logits) - logits * y
        return loss.mean(), ((logits > 0) == (y > 0.5)).sum()
    log_p = jax.nn.log_softmax(logits)
    loss = -jnp.take_along_axis(log_p, y[:, None], 1)
    return loss.mean(), (logits.argmax(1) == y).sum()
