"""Activations as layers."""

from collections.abc import Sequence
from numbers import Real
from typing import Any

import jax
import jax.numpy as jnp

from kerasnb import activations
from kerasnb.core.errors import check
from kerasnb.layers.input_spec import InputSpec
from kerasnb.layers.layer import Layer
from kerasnb.layers.weighted import WeightedLayer


class _Elementwise(Layer):
    """A function of each element, without weights."""

    supports_masking = True

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.built = True


class Activation(_Elementwise):
    """An activation function, given by name or as a function. Shapes: `s -> s`.

    >>> Activation("relu")(jnp.array([-1.0, 2.0])).tolist()
    [0.0, 2.0]
    """

    def __init__(self, activation: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.activation = activations.get(activation)

    def call(self, inputs: jax.Array) -> jax.Array:
        """`activation(inputs)`."""
        return self.activation(inputs)


class ReLU(_Elementwise):
    """`max(x, 0)`, with a slope below, a cap above and another threshold on demand.

        f(x) = max_value                          for x >= max_value
               x                                  for threshold <= x < max_value
               negative_slope · (x - threshold)   otherwise

    Shapes: `s -> s`.

    >>> ReLU(max_value=6)(jnp.array([-1.0, 2.0, 9.0])).tolist()
    [0.0, 2.0, 6.0]
    """

    def __init__(
        self,
        max_value: float | None = None,
        negative_slope: float = 0.0,
        threshold: float = 0.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if max_value is not None:
            _check_not_negative(self, "max_value", max_value)
        _check_not_negative(self, "negative_slope", negative_slope)
        _check_not_negative(self, "threshold", threshold)
        self.max_value = max_value
        self.negative_slope = negative_slope
        self.threshold = threshold

    def call(self, inputs: jax.Array) -> jax.Array:
        """The inputs, cut off."""
        return activations.relu(
            inputs, self.negative_slope, self.max_value, self.threshold
        )


class LeakyReLU(_Elementwise):
    """`x` where it is positive, else `negative_slope · x`. Shapes: `s -> s`.

    >>> LeakyReLU(0.5)(jnp.array([-2.0, 2.0])).tolist()
    [-1.0, 2.0]
    """

    def __init__(self, negative_slope: float = 0.3, **kwargs: Any) -> None:
        if "alpha" in kwargs:  # the name of older Keras versions
            negative_slope = kwargs.pop("alpha")
            del self._config["alpha"]
        super().__init__(**kwargs)
        _check_not_negative(self, "negative_slope", negative_slope)
        self.negative_slope = negative_slope

    def call(self, inputs: jax.Array) -> jax.Array:
        """The inputs, with negative ones scaled."""
        return activations.leaky_relu(inputs, self.negative_slope)


def _check_not_negative(layer: Layer, name: str, value: Any) -> None:
    good = isinstance(value, Real) and float(value) >= 0
    check(good, type(layer).__name__, name, value, "a number of at least 0")


class ELU(_Elementwise):
    """`x` where it is positive, else `alpha · (exp(x) - 1)` (Clevert et al., 2015).

    Shapes: `s -> s`.

    >>> ELU()(jnp.array([0.0, 2.0])).tolist()
    [0.0, 2.0]
    """

    def __init__(self, alpha: float = 1.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.alpha = alpha

    def call(self, inputs: jax.Array) -> jax.Array:
        """The inputs, with negative ones bent."""
        return activations.elu(inputs, self.alpha)


class Softmax(_Elementwise):
    """Positive numbers that add up to one along `axis`, `exp(x) / sum(exp(x))`.

    Where a `mask` is false the output is zero. Shapes: `s -> s`.

    >>> Softmax()(jnp.array([0.0, 0.0])).tolist()
    [0.5, 0.5]
    """

    def __init__(self, axis: int | Sequence[int] = -1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.axis = axis

    def call(self, inputs: jax.Array, mask: jax.Array | None = None) -> jax.Array:
        """The shares of the inputs where `mask` is true."""
        axis = self.axis if isinstance(self.axis, int) else tuple(self.axis)
        if mask is None:
            return jax.nn.softmax(inputs, axis)
        if mask.dtype != bool:
            mask = mask > 0.5
        try:
            fits = jnp.broadcast_shapes(mask.shape, inputs.shape) == inputs.shape
        except ValueError:
            fits = False
        if not fits:
            raise ValueError(
                f"{self._who()} got a mask of shape {mask.shape}, which does not "
                f"broadcast to its input of shape {inputs.shape}."
            )
        low = -3e4 if inputs.dtype == jnp.float16 else -1e9
        shares = jax.nn.softmax(jnp.where(mask, inputs, low), axis)
        return jnp.where(mask, shares, 0.0)


class PReLU(WeightedLayer):
    """`x` where it is positive, else `alpha · x` with a trained `alpha`.

    Shapes: `s -> s`; `alpha` has the shape of one sample, with 1 along `shared_axes`.
    (He et al., 2015)

    >>> PReLU(shared_axes=[1, 2])(jnp.ones((2, 5, 5, 3))).shape
    (2, 5, 5, 3)
    """

    supports_masking = True

    def __init__(
        self,
        alpha_initializer: Any = "Zeros",
        alpha_regularizer: Any = None,
        alpha_constraint: Any = None,
        shared_axes: int | Sequence[int] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self._describe("alpha", alpha_initializer, alpha_regularizer, alpha_constraint)
        if shared_axes is not None:
            shared_axes = (
                [shared_axes] if isinstance(shared_axes, int) else list(shared_axes)
            )
        self.shared_axes = shared_axes

    def build(self, input_shape: tuple) -> None:
        """Make `alpha` for the shape of one sample."""
        shared = set(self.shared_axes or ())
        shape = [1 if i in shared else d for i, d in enumerate(input_shape)]
        self.alpha = self._make("alpha", tuple(shape[1:]))
        axes = {}
        if shared:
            axes = {i: d for i, d in enumerate(input_shape) if i and i not in shared}
        self.input_spec = InputSpec(ndim=len(input_shape), axes=axes)

    def call(self, inputs: jax.Array) -> jax.Array:
        """The inputs, with negative ones scaled."""
        return jax.nn.relu(inputs) - self.alpha.value * jax.nn.relu(-inputs)
