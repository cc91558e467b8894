"""Normalisation: inputs shifted and scaled to mean 0 and variance 1."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from kerasnb import ops
from kerasnb.core import settings
from kerasnb.core.errors import check
from kerasnb.core.variable import Variable
from kerasnb.initializers import TruncatedNormal
from kerasnb.layers.arguments import positive_int
from kerasnb.layers.input_spec import InputSpec
from kerasnb.layers.layer import Layer
from kerasnb.layers.weighted import WeightedLayer
from kerasnb.layers.wrap import Wrapper


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

    def _make_gamma_and_beta(self, shape: tuple[int, ...]) -> None:
        if self.scale:
            self.gamma = self._make("gamma", shape, autocast=False)
        if self.center:
            self.beta = self._make("beta", shape, autocast=False)


def _lengths(
    layer: Layer, input_shape: tuple, axes: Sequence[int], known: bool = True
) -> tuple[int, ...]:
    """The lengths of the axes that a layer normalises along or has weights for."""
    rank = len(input_shape)
    for axis in axes:
        if not -rank <= axis < rank:
            raise ValueError(
                f"{layer._who()} normalises along axis={axis}, which an input of "
                f"shape {tuple(input_shape)} does not have."
            )
        if known and input_shape[axis] is None:
            raise ValueError(
                f"{layer._who()} needs inputs whose axis {axis} has a known length "
                f"and got the shape {tuple(input_shape)}."
            )
    return tuple(input_shape[axis] for axis in axes)


class BatchNormalization(_Normalization):
    """Normalise each channel over the batch, then scale and shift it.

        y = gamma · (x - mean) / sqrt(variance + epsilon) + beta

    In training, mean and variance are those of the batch, and the running statistics
    follow them: `moving <- momentum · moving + (1 - momentum) · batch`. Otherwise, and
    when the layer is frozen (`trainable = False`), the running ones are used. Masked
    steps do not count. With `renorm` the batch's statistics are corrected towards
    running ones in training too (Ioffe, 2017). On JAX the batch is all of it also when
    several devices hold parts of it; `synchronized` extends this to the inside of
    `jax.shard_map`.

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
        shape = _lengths(self, input_shape, [self.axis])
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
        """Mean and variance of each channel."""
        own = self.axis % x.ndim
        axes = tuple(axis for axis in range(x.ndim) if axis != own)
        # The axes of the mesh over which a surrounding `shard_map` has split the batch.
        mesh = jax.sharding.get_abstract_mesh()
        parts = tuple(mesh.manual_axes) if self.synchronized else ()
        if mask is not None:
            return _masked_moments(x, mask, axes, parts)

        if not parts:
            return _moments(x, axes)
        mean = jax.lax.pmean(x.mean(axes), parts)
        spread = jnp.square(x - jnp.expand_dims(mean, axes))
        return mean, jax.lax.pmean(spread.mean(axes), parts)

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


@partial(jax.custom_jvp, nondiff_argnums=(1,))
def _moments(x: jax.Array, axes: tuple[int, ...]) -> tuple[jax.Array, jax.Array]:
    """Mean and variance along `axes`.

    In two passes: E[x²] - E[x]² loses all digits when the mean is large beside the
    spread, and a value to measure from costs more than the second pass.
    """
    mean = x.mean(axes)
    return mean, jnp.square(x - jnp.expand_dims(mean, axes)).mean(axes)


@_moments.defjvp
def _moments_jvp(axes: tuple[int, ...], primals: Any, tangents: Any) -> Any:
    """`d mean = E[dx]`, `d variance = 2 E[(x - mean) dx]`.

    The variance does not depend on the mean to first order; left to itself, the
    gradient adds up over the whole batch what is zero, in a fifth of its time.
    """
    (x,), (dx,) = primals, tangents
    mean, variance = _moments(x, axes)
    centred = x - jnp.expand_dims(mean, axes)
    return (mean, variance), (dx.mean(axes), 2 * (centred * dx).mean(axes))


def _masked_moments(
    x: jax.Array, mask: jax.Array, axes: tuple[int, ...], parts: tuple[str, ...]
) -> tuple[jax.Array, jax.Array]:
    def total(x: jax.Array) -> jax.Array:
        total = x.sum(axes)
        return jax.lax.psum(total, parts) if parts else total

    real = jnp.broadcast_to(jnp.expand_dims(mask.astype(bool), -1), x.shape)
    count = total(real.astype(x.dtype)) + settings.epsilon()
    mean = total(jnp.where(real, x, 0)) / count
    spread = jnp.square(jnp.where(real, x - jnp.expand_dims(mean, axes), 0))
    return mean, total(spread) / count


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
        shape = _lengths(self, input_shape, self.axis)
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
        centred = x - x.mean(axes, keepdims=True)
        variance = jnp.square(centred).mean(axes, keepdims=True)
        # In this order, scaled last, XLA's gradient takes a quarter less time.
        y = (x if self.rms_scaling else centred) * jax.lax.rsqrt(
            variance + self.epsilon
        )
        if self.gamma is not None:
            y = y * self.gamma.value.reshape(shape)
        if self.beta is not None:
            y = y + self.beta.value.reshape(shape)
        return y.astype(self.compute_dtype)


def _positive(axes: tuple[int, ...], rank: int) -> set[int]:
    return {axis % rank for axis in axes}


class GroupNormalization(_Normalization):
    """Normalise the channels of each sample in groups, then scale and shift them.

        y = gamma · (x - mean) / sqrt(variance + epsilon) + beta

    Mean and variance are those of one group of channels of one sample, at all its
    positions. `groups=1` takes all channels together, `groups=-1` each by itself.
    (Wu and He, 2018)

    Shapes: `s -> s`; `gamma` and `beta` have the length of `axis`.

    >>> y = GroupNormalization(groups=2)(jnp.array([[1.0, 3.0, 5.0, 9.0]]))
    >>> [round(float(v), 2) for v in y[0]]
    [-1.0, 1.0, -1.0, 1.0]
    """

    def __init__(
        self,
        groups: int = 32,
        axis: int = -1,
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
        good = isinstance(groups, int) and (groups > 0 or groups == -1)
        expected = "a positive integer, or -1 for one group per channel"
        check(good, "GroupNormalization", "groups", groups, expected)
        super().__init__(
            axis,
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
        self.groups = groups
        self.autocast = False

    def build(self, input_shape: tuple) -> None:
        """Make the scale and the offset; the groups must divide the channels."""
        (channels,) = shape = _lengths(self, input_shape, [self.axis])
        if self.groups == -1:
            self.groups = channels
        if channels % self.groups:
            raise ValueError(
                f"{self._who()} cannot split {channels} channels, those of axis "
                f"{self.axis} of an input of shape {tuple(input_shape)}, into groups="
                f"{self.groups} of equal size."
            )
        self._make_gamma_and_beta(shape)
        self.input_spec = InputSpec(ndim=len(input_shape), axes={self.axis: channels})

    def call(self, inputs: jax.Array) -> jax.Array:
        """The inputs, normalised group by group."""
        own = self.axis % inputs.ndim
        shape = list(inputs.shape)
        shape[own : own + 1] = [self.groups, shape[own] // self.groups]
        x = inputs.astype(jnp.promote_types(inputs.dtype, jnp.float32)).reshape(shape)
        axes = tuple(axis for axis in range(1, x.ndim) if axis != own)
        mean = x.mean(axes, keepdims=True)
        variance = jnp.square(x - mean).mean(axes, keepdims=True)
        channels = [1] * x.ndim
        channels[own : own + 2] = shape[own : own + 2]
        factor = jax.lax.rsqrt(variance + self.epsilon)
        if self.gamma is not None:
            factor = factor * self.gamma.value.reshape(channels)
        offset = -mean * factor
        if self.beta is not None:
            offset = offset + self.beta.value.reshape(channels)
        y = (x * factor + offset).reshape(inputs.shape)
        return y.astype(self.compute_dtype)


class RMSNormalization(Layer):
    """Divide by the root of the mean square over `axis`, then scale.

        y = scale · x / sqrt(mean(x²) + epsilon)

    Shapes: `s -> s`; `scale` has the lengths of `axis`. (Zhang and Sennrich, 2019)

    >>> RMSNormalization(epsilon=0.0)(jnp.array([[3.0, 3.0]])).tolist()
    [[1.0, 1.0]]
    """

    def __init__(
        self, axis: int | Sequence[int] = -1, epsilon: float = 1e-6, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.axis, self.epsilon = axis, epsilon

    def build(self, input_shape: tuple) -> None:
        """Make the scale for the lengths of `axis`."""
        self.axis = [self.axis] if isinstance(self.axis, int) else sorted(self.axis)
        shape = _lengths(self, input_shape, self.axis)
        self.scale = self.add_weight(shape, "ones", name="scale")

    def call(self, inputs: jax.Array) -> jax.Array:
        """The inputs, divided sample by sample."""
        return ops.rms_normalization(inputs, self.scale.value, self.axis, self.epsilon)


class UnitNormalization(Layer):
    """Divide by the Euclidean length along `axis`, `y = x / sqrt(Σx²)`.

    Shapes: `s -> s`.

    >>> UnitNormalization()(jnp.array([[3.0, 4.0]])).tolist()
    [[0.6000000238418579, 0.800000011920929]]
    """

    supports_masking = True

    def __init__(self, axis: int | Sequence[int] = -1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not isinstance(axis, int | list | tuple):
            raise TypeError(
                "UnitNormalization: `axis` must be an integer or a list of them, not "
                f"{axis!r}."
            )
        self.axis = axis if isinstance(axis, int) else list(axis)
        self.built = True

    def call(self, inputs: jax.Array) -> jax.Array:
        """The inputs with a length of one."""
        axis = [self.axis] if isinstance(self.axis, int) else self.axis
        _lengths(self, inputs.shape, axis, known=False)
        # 16 bits overflow in the squares, and have no 1 / epsilon.
        x = inputs.astype(jnp.promote_types(inputs.dtype, jnp.float32))
        y = ops.normalize(x, axis=tuple(axis), order=2, epsilon=1e-12)
        return y.astype(self.compute_dtype)


class SpectralNormalization(Wrapper):
    """A layer whose kernel is divided by its largest singular value in training.

        kernel <- kernel / σ,   σ = v · kernel · uᵀ

    `u` and `v` come from `power_iterations` steps of power iteration a call, which
    starts from the `u` of the call before. Layers with a `kernel` or `embeddings` can
    be wrapped; its axes but the last count as one. (Miyato et al., 2018)

    Shapes: those of `layer`.

    >>> from kerasnb.layers import Dense
    >>> SpectralNormalization(Dense(3))(jnp.ones((2, 4)), training=True).shape
    (2, 3)
    """

    def __init__(self, layer: Layer, power_iterations: int = 1, **kwargs: Any) -> None:
        super().__init__(layer, **kwargs)
        self.power_iterations = positive_int(
            "SpectralNormalization", "power_iterations", power_iterations
        )

    def build(self, input_shape: Any = None) -> None:
        """Build the layer, and make the vector that the iteration starts from."""
        super().build(input_shape)
        self.input_spec = InputSpec(min_ndim=1, axes={-1: input_shape[-1]})
        kernel = getattr(self.layer, "kernel", None)
        kernel = getattr(self.layer, "embeddings", None) if kernel is None else kernel
        if kernel is None:
            raise ValueError(
                f"{self._who()} needs a layer with a `kernel` or `embeddings`, which "
                f"{self.layer._who()} does not have."
            )
        self.kernel = kernel
        self.vector_u = self.add_weight(
            (1, kernel.shape[-1]),
            TruncatedNormal(stddev=0.02),
            trainable=False,
            dtype=kernel.dtype,
            name="vector_u",
        )

    def call(self, inputs: jax.Array, training: bool | None = False) -> jax.Array:
        """The outputs of the layer, with its kernel normalised first in training."""
        if training:
            vector, kernel = self.normalized_weights()
            self.vector_u.assign(vector)
            self.kernel.assign(kernel)
        out = self.layer(inputs)
        whole = jnp.issubdtype(inputs.dtype, jnp.integer)
        return out if whole else out.astype(inputs.dtype)

    def normalized_weights(self) -> tuple[jax.Array, jax.Array]:
        """The next `vector_u` and the kernel, normalised; a kernel of zeros stays."""
        kernel, u = self.kernel.raw, self.vector_u.raw
        matrix = kernel.reshape(-1, kernel.shape[-1])
        for _ in range(self.power_iterations):
            v = ops.normalize(u @ matrix.T, axis=None)
            u = ops.normalize(v @ matrix, axis=None)
        u, v = jax.lax.stop_gradient((u, v))
        zero = jnp.all(kernel == 0)
        sigma = (v @ matrix @ u.T).reshape(())
        kernel = kernel / jnp.where(zero, 1.0, sigma)
        return jnp.where(zero, self.vector_u.raw, u), kernel
