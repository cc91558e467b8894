"""Normalisation: inputs shifted and scaled to mean 0 and variance 1."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from kerasnb.core import settings
from kerasnb.core.errors import check
from kerasnb.core.variable import Variable
from kerasnb.layers.input_spec import InputSpec
from kerasnb.layers.weighted import WeightedLayer


class _Normalization(WeightedLayer):
    """What normalisations share: a trained scale `gamma` and offset `beta`."""

    supports_masking = True

    def __init__(
        self,
        axis: Any,
        epsilon: float,
        center: bool,
        scale: bool,
        beta_initializer: Any,
        gamma_initializer: Any,
        beta_regularizer: Any,
        gamma_regularizer: Any,
        beta_constraint: Any,
        gamma_constraint: Any,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.axis = axis
        self.epsilon = float(epsilon)
        self.center = center
        self.scale = scale
        self._describe("beta", beta_initializer, beta_regularizer, beta_constraint)
        self._describe("gamma", gamma_initializer, gamma_regularizer, gamma_constraint)
        self.gamma: Variable | None = None
        self.beta: Variable | None = None

    def _lengths(self, input_shape: tuple, axes: Sequence[int]) -> tuple[int, ...]:
        """The lengths of the axes that have statistics or weights of their own."""
        rank = len(input_shape)
        for axis in axes:
            if not -rank <= axis < rank:
                raise ValueError(
                    f"{self._who()} normalises along axis={axis}, which an input of "
                    f"shape {tuple(input_shape)} does not have."
                )
            if input_shape[axis] is None:
                raise ValueError(
                    f"{self._who()} needs inputs whose axis {axis} has a known length "
                    f"and got the shape {tuple(input_shape)}."
                )
        return tuple(input_shape[axis] for axis in axes)

    def _make_gamma_and_beta(self, shape: tuple[int, ...]) -> None:
        if self.scale:
            self.gamma = self._make("gamma", shape, autocast=False)
        if self.center:
            self.beta = self._make("beta", shape, autocast=False)


class BatchNormalization(_Normalization):
    """Normalise each channel over the batch, then scale and shift it.

        y = gamma · (x - mean) / sqrt(variance + epsilon) + beta

    In training, mean and variance are those of the batch, and the running statistics
    follow them: `moving <- momentum · moving + (1 - momentum) · batch`. Otherwise, and
    when the layer is frozen (`trainable = False`), the running ones are used. Masked
    steps do not count. With `renorm` the batch's statistics are corrected towards
    running ones in training too (Ioffe, 2017).

    Shapes: `s -> s`; the four weights have the length of `axis`.
    (Ioffe and Szegedy, 2015)

    >>> y = BatchNormalization()(jnp.array([[1.0], [3.0]]), training=True)
    >>> [round(float(v), 2) for v in y[:, 0]]
    [-1.0, 1.0]
    """

    mixes_samples = True
    moving_mean_initializer: Any
    moving_variance_initializer: Any

    def __init__(
        self,
        axis: int = -1,
        momentum: float = 0.99,
        epsilon: float = 1e-3,
        center: bool = True,
        scale: bool = True,
        beta_initializer: Any = "zeros",
        gamma_initializer: Any = "ones",
        moving_mean_initializer: Any = "zeros",
        moving_variance_initializer: Any = "ones",
        beta_regularizer: Any = None,
        gamma_regularizer: Any = None,
        beta_constraint: Any = None,
        gamma_constraint: Any = None,
        renorm: bool = False,
        renorm_clipping: Mapping[str, float] | None = None,
        renorm_momentum: float = 0.99,
        synchronized: bool = False,
        **kwargs: Any,
    ) -> None:
        check(
            not synchronized,
            "BatchNormalization",
            "synchronized",
            synchronized,
            "False (on JAX the statistics of a sharded batch are those of all of it)",
        )
        super().__init__(
            int(axis),
            epsilon,
            center,
            scale,
            beta_initializer,
            gamma_initializer,
            beta_regularizer,
            gamma_regularizer,
            beta_constraint,
            gamma_constraint,
            **kwargs,
        )
        self.momentum = float(momentum)
        self._describe("moving_mean", moving_mean_initializer)
        self._describe("moving_variance", moving_variance_initializer)
        self.synchronized = synchronized
        self.renorm = renorm
        self.renorm_clipping = _clipping(renorm_clipping) if renorm else renorm_clipping
        self.renorm_momentum = renorm_momentum

    def build(self, input_shape: tuple) -> None:
        """Make the scale, the offset and the running statistics."""
        shape = self._lengths(input_shape, [self.axis])
        self._make_gamma_and_beta(shape)
        self.moving_mean = self._statistic("moving_mean", shape)
        self.moving_variance = self._statistic("moving_variance", shape)
        if self.renorm:
            self.moving_stddev = self._deviation("moving_stddev", shape)
            self.renorm_mean = self.add_weight(
                shape,
                self.moving_mean_initializer,
                trainable=False,
                autocast=False,
                name="renorm_mean",
            )
            self.renorm_stddev = self._deviation("renorm_stddev", shape)
        self.input_spec = InputSpec(ndim=len(input_shape), axes={self.axis: shape[0]})

    def _statistic(self, name: str, shape: tuple[int, ...]) -> Variable:
        return self._make(name, shape, trainable=False, autocast=False)

    def _deviation(self, name: str, shape: tuple[int, ...]) -> Variable:
        make = self.moving_variance_initializer
        return self.add_weight(
            shape,
            lambda shape, dtype: jnp.sqrt(make(shape, dtype=dtype)),
            trainable=False,
            autocast=False,
            name=name,
        )

    def call(
        self,
        inputs: jax.Array,
        training: bool | None = None,
        mask: jax.Array | None = None,
    ) -> jax.Array:
        """The inputs, normalised by the batch's or by the running statistics."""
        if mask is not None and mask.ndim != inputs.ndim - 1:
            raise ValueError(
                f"{self._who()} needs a mask with one axis less than its input and got "
                f"the shapes {mask.shape} and {inputs.shape}."
            )
        # 16 bits are too few for sums over a batch.
        x = inputs.astype(jnp.promote_types(inputs.dtype, jnp.float32))
        gamma = None if self.gamma is None else self.gamma.value
        beta = None if self.beta is None else self.beta.value
        if training and self.trainable:
            mean, variance = self._batch_statistics(x, mask)
            if self.renorm:
                gamma, beta = self._renormalize(mean, variance, gamma, beta)
            else:
                _follow(self.moving_mean, mean, self.momentum)
                _follow(self.moving_variance, variance, self.momentum)
        else:
            mean, variance = self.moving_mean.value, self.moving_variance.value
        factor = jax.lax.rsqrt(variance.astype(x.dtype) + self.epsilon)
        if gamma is not None:
            factor = factor * gamma
        offset = -mean * factor if beta is None else beta - mean * factor
        shape = [1] * x.ndim
        shape[self.axis] = -1
        return (x * factor.reshape(shape) + offset.reshape(shape)).astype(
            self.compute_dtype
        )

    def _batch_statistics(
        self, x: jax.Array, mask: jax.Array | None
    ) -> tuple[jax.Array, jax.Array]:
        """Mean and variance of each channel, in one pass over the batch."""
        own = self.axis % x.ndim
        axes = tuple(axis for axis in range(x.ndim) if axis != own)
        if mask is not None:
            return _masked_moments(x, mask, axes)
        # E[d²] - E[d]² loses all digits when the mean is large beside the spread, so d
        # is measured from a value amid the data: the mean of the first sample.
        anchor = jax.lax.stop_gradient(x[:1].mean(axes, keepdims=True))
        d = x - anchor
        mean = d.mean(axes)
        variance = jnp.maximum((d * d).mean(axes) - mean * mean, 0.0)
        return mean + anchor.reshape(-1), variance

    def _renormalize(
        self,
        mean: jax.Array,
        variance: jax.Array,
        gamma: jax.Array | None,
        beta: jax.Array | None,
    ) -> tuple[jax.Array, jax.Array]:
        """The scale and offset with the correction in them; statistics updated.

        The correction is `x̂ <- x̂ · r + d`, `r = s / s_run`, `d = (m - m_run) / s_run`.
        """
        stddev = jnp.sqrt(variance + self.epsilon)
        running = jnp.maximum(self.renorm_stddev.value, self.epsilon**0.5)
        clip = self.renorm_clipping or {}
        r = jnp.clip(stddev / running, clip.get("rmin"), clip.get("rmax"))
        d = (mean - self.renorm_mean.value) / running
        if (dmax := clip.get("dmax")) is not None:
            d = jnp.clip(d, -dmax, dmax)
        r, d = jax.lax.stop_gradient((r, d))
        scale, offset = (r, d) if gamma is None else (r * gamma, d * gamma)
        _follow(self.renorm_mean, mean, self.renorm_momentum)
        _follow(self.renorm_stddev, stddev, self.renorm_momentum)
        _follow(self.moving_mean, mean, self.momentum)
        moved = _follow(self.moving_stddev, stddev, self.momentum)
        self.moving_variance.assign(jax.nn.relu(moved * moved - self.epsilon))
        return scale, offset if beta is None else offset + beta


def _follow(statistic: Variable, value: jax.Array, momentum: float) -> jax.Array:
    """`statistic <- momentum · statistic + (1 - momentum) · value`."""
    return statistic.assign(statistic.value * momentum + value * (1.0 - momentum))


def _masked_moments(
    x: jax.Array, mask: jax.Array, axes: tuple[int, ...]
) -> tuple[jax.Array, jax.Array]:
    real = jnp.broadcast_to(jnp.expand_dims(mask.astype(bool), -1), x.shape)
    count = real.astype(x.dtype).sum(axes, keepdims=True) + settings.epsilon()
    mean = jnp.where(real, x, 0).sum(axes, keepdims=True) / count
    spread = jnp.square(jnp.where(real, x - mean, 0))
    variance = spread.sum(axes, keepdims=True) / count
    return mean.reshape(-1), variance.reshape(-1)


def _clipping(clipping: Mapping[str, float] | None) -> dict[str, float]:
    clipping = dict(clipping or {})
    low, high = clipping.get("rmin"), clipping.get("rmax")
    good = not set(clipping) - {"rmin", "rmax", "dmax"}
    good = good and (low is None or high is None or low <= high)
    good = good and (clipping.get("dmax") or 0) >= 0
    check(
        good,
        "BatchNormalization",
        "renorm_clipping",
        clipping,
        'a dict with "rmin" <= "rmax" and "dmax" >= 0, all of them optional',
    )
    return clipping


class LayerNormalization(_Normalization):
    """Normalise each sample over `axis`, then scale and shift it.

        y = gamma · (x - mean) / sqrt(variance + epsilon) + beta

    With `rms_scaling=True`, an option of older versions, it only divides and has no
    `beta`. (Ba et al., 2016)

    Shapes: `s -> s`; `gamma` and `beta` have the lengths of `axis`.

    >>> y = LayerNormalization()(jnp.array([[1.0, 3.0]]))
    >>> [round(float(v), 2) for v in y[0]]
    [-1.0, 1.0]
    """

    def __init__(
        self,
        axis: int | Sequence[int] = -1,
        epsilon: float = 1e-3,
        center: bool = True,
        scale: bool = True,
        beta_initializer: Any = "zeros",
        gamma_initializer: Any = "ones",
        beta_regularizer: Any = None,
        gamma_regularizer: Any = None,
        beta_constraint: Any = None,
        gamma_constraint: Any = None,
        **kwargs: Any,
    ) -> None:
        rms_scaling = kwargs.pop("rms_scaling", False)
        if not isinstance(axis, int | list | tuple):
            raise TypeError(
                "LayerNormalization: `axis` must be an integer or a list of them, not "
                f"{axis!r}."
            )
        super().__init__(
            axis if isinstance(axis, int) else list(axis),
            epsilon,
            center,
            scale,
            beta_initializer,
            gamma_initializer,
            beta_regularizer,
            gamma_regularizer,
            beta_constraint,
            gamma_constraint,
            **kwargs,
        )
        self.autocast = False
        self.rms_scaling = rms_scaling
        self._config["rms_scaling"] = rms_scaling

    def build(self, input_shape: tuple) -> None:
        """Make the scale and the offset for the lengths of `axis`."""
        self.axis = [self.axis] if isinstance(self.axis, int) else sorted(self.axis)
        shape = self._lengths(input_shape, self.axis)
        if self.rms_scaling:
            self.gamma = self._make("gamma", shape, autocast=False)
        else:
            self._make_gamma_and_beta(shape)

    def call(self, inputs: jax.Array) -> jax.Array:
        """The inputs, normalised sample by sample."""
        x = inputs.astype(jnp.promote_types(inputs.dtype, jnp.float32))
        axes = tuple(self.axis)
        shape = [
            d if i in _positive(axes, x.ndim) else 1 for i, d in enumerate(x.shape)
        ]
        variance = x.var(axes, keepdims=True)
        factor = jax.lax.rsqrt(variance + self.epsilon)
        if self.gamma is not None:
            factor = factor * self.gamma.value.reshape(shape)
        y = x * factor
        if not self.rms_scaling:
            y = y - x.mean(axes, keepdims=True) * factor
        if self.beta is not None:
            y = y + self.beta.value.reshape(shape)
        return y.astype(self.compute_dtype)


def _positive(axes: tuple[int, ...], rank: int) -> set[int]:
    return {axis % rank for axis in axes}
