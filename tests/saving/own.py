"""Classes and functions of a user's own, made for either library from the same code."""

import functools
from typing import Any

import jax
import jax.numpy as jnp

PACKAGE = "zoo"


@functools.cache
def own(k: Any) -> dict[str, Any]:
    """All of them by name; those that need no `custom_objects` are registered."""
    layers, register = k.layers, k.saving.register_keras_serializable(PACKAGE)

    @register
    def bent(x):
        return k.ops.tanh(x) + 0.1 * x

    @register
    def cubed(y_true, y_pred):
        return k.ops.mean(k.ops.abs(y_true - y_pred) ** 3, axis=-1)

    def halved(x, by):
        return x / by

    @register
    class Slope(k.initializers.Initializer):
        def __init__(self, step=1.0):
            self.step = step

        def __call__(self, shape, dtype=None, **kwargs):
            return jnp.arange(jnp.prod(jnp.array(shape))).reshape(shape) * self.step

        def get_config(self):
            return {"step": self.step}

    @register
    class Fourth(k.regularizers.Regularizer):
        def __init__(self, rate):
            self.rate = rate

        def __call__(self, x):
            return self.rate * k.ops.sum(x**4)

        def get_config(self):
            return {"rate": self.rate}

    @register
    class Largest(k.metrics.Metric):
        def __init__(self, name="largest", **kwargs):
            super().__init__(name=name, **kwargs)
            self.most = self.add_weight(shape=(), initializer="zeros", name="most")

        def update_state(self, y_true, y_pred, sample_weight=None):
            error = k.ops.max(k.ops.abs(y_true - y_pred))
            self.most.assign(k.ops.maximum(self.most, error))

        def result(self):
            return k.ops.convert_to_tensor(self.most)

    @register
    class Block(layers.Layer):
        """Layers in a list and in a dict, and weights of its own."""

        def __init__(self, units, depth=1, **kwargs):
            super().__init__(**kwargs)
            self.units, self.depth = units, depth
            self.inner = [layers.Dense(units) for _ in range(depth)]
            self.more = {"norm": layers.BatchNormalization()}

        def build(self, input_shape):
            self.scale = self.add_weight((self.units,), "ones", name="scale")
            self.calls = self.add_weight((), "zeros", trainable=False, name="calls")
            for layer in self.inner:
                layer.build(input_shape)
                input_shape = (*input_shape[:-1], self.units)
            self.more["norm"].build(input_shape)
            super().build(input_shape)

        def call(self, x, training=False):
            for layer in self.inner:
                x = layer(x)
            if training:
                self.calls.assign(self.calls + 1)
            return self.more["norm"](x, training=training) * self.scale

        def get_config(self):
            return {**super().get_config(), "units": self.units, "depth": self.depth}

    @register
    class Gated(layers.Wrapper):
        """Another layer, times a gate."""

        def build(self, input_shape):
            self.gate = self.add_weight((1,), "ones", name="gate")
            super().build(input_shape)

        def call(self, x):
            return self.layer(x) * self.gate

    class Plain(layers.Layer):
        def __init__(self, by, **kwargs):
            super().__init__(**kwargs)
            self.by = by

        def build(self, input_shape):
            self.shift = self.add_weight((input_shape[-1],), "zeros", name="shift")

        def call(self, x):
            return x * self.by + self.shift

        def get_config(self):
            return {**super().get_config(), "by": self.by}

    @register
    class Leaky(layers.Layer):
        """A cell of a recurrent layer."""

        def __init__(self, units, **kwargs):
            super().__init__(**kwargs)
            self.units = self.state_size = units
            self.dense = layers.Dense(units)

        def build(self, input_shape):
            self.keep = self.add_weight((self.units,), "ones", name="keep")
            self.dense.build(input_shape)
            super().build(input_shape)

        def call(self, inputs, states):
            out = k.ops.tanh(self.dense(inputs) + 0.5 * self.keep * states[0])
            return out, [out]

        def get_config(self):
            return {**super().get_config(), "units": self.units}

    @register
    class Mine(k.Model):
        def __init__(self, units=3, **kwargs):
            super().__init__(**kwargs)
            self.units = units
            self.out = layers.Dense(1)
            self.hidden = [layers.Dense(units) for _ in range(2)]

        def call(self, x, training=False):
            for layer in self.hidden:
                x = k.ops.tanh(layer(x))
            return self.out(x)

        def get_config(self):
            return {**super().get_config(), "units": self.units}

    @register
    class Chatty(k.Model):
        """A functional model with a step of training of its own."""

        def __init__(self, inputs, outputs, name=None, **kwargs):
            super().__init__(inputs, outputs, name=name, **kwargs)

        def compute_loss(self, *args, **kwargs):
            return 2 * super().compute_loss(*args, **kwargs)

    named = (bent, cubed, halved, Slope, Fourth, Largest, Block, Gated, Plain, Leaky)
    named += (Mine, Chatty, register(start), register(run))
    return {each.__name__: each for each in named}


def start(rng, inputs):
    """The first weights of `run`."""
    kernel = jax.random.normal(rng, (inputs.shape[-1], 2))
    return {"b": jnp.zeros(2), "a": [kernel]}, {"mean": jnp.zeros(2)}


def run(params, state, rng, inputs, training):
    """A dense layer that remembers the mean of its outputs."""
    out = inputs @ params["a"][0] + params["b"]
    return out, {"mean": 0.9 * state["mean"] + 0.1 * out.mean(0)} if training else state


@functools.cache
def module() -> type:
    """A Flax module with weights and statistics."""
    import flax.linen as nn  # not there where TensorFlow is

    class Module(nn.Module):
        units: int = 4

        @nn.compact
        def __call__(self, inputs, training):
            x = nn.Dense(self.units)(inputs)
            return nn.BatchNorm(use_running_average=not training)(x)

        def get_config(self):
            return {"units": self.units}

        @classmethod
        def from_config(cls, config):
            return cls(**config)

    return Module
