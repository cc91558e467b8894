"""The rules that optax has in another form than Keras, written in optax' own form.

Each is a `GradientTransformation` of one array whose `update` also takes the learning
rate and the step, counted from 0. Why they are here and not taken from optax:

- `adam`: Keras folds both bias corrections into the rate and adds epsilon to the
  uncorrected root; optax corrects first (`eps` there is a larger one here).
- `adamax`: optax adds epsilon inside the maximum, Keras to it.
- `nadam`: Keras follows Dozat's momentum schedule, optax uses Adam's moments.
- `ftrl`: not in optax; it needs the rate and the weight.
- `adafactor`: Keras factors the last two axes at any size, keeps the full second
  moment, and ties the step size to the size of the weight.
- `muon`: Keras takes the same orthogonalisation, but its own scale and momentum.
- `schedule_free_adam`: Keras weighs all steps equally; optax by their rate.

The rate divides or scales something in most of them, which optax' own
`scale_by_learning_rate` cannot say from the end of a chain.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from kerasnb.optimizers.lazy import optax

Array = jax.Array


def by_learning_rate(sign: float = -1.0) -> Any:
    """Multiply by the learning rate, a number that changes without a new program."""

    def update(g: Array, state: Any, w: Any = None, **given: Any) -> tuple[Array, Any]:
        return sign * given["learning_rate"] * g, state

    return _rule(lambda w: optax.EmptyState(), update)


def _rule(init: Any, update: Any) -> Any:
    return optax.GradientTransformationExtraArgs(init, update)


def precise(dtype: Any) -> Any:
    """The dtype of rates and bias corrections: 16 bits would round 1 - 0.999 to 0."""
    return jnp.promote_types(dtype, "float32")


def _count(step: Array, like: Array) -> Array:
    return (step + 1).astype(precise(like.dtype))


def _toward(old: Array, new: Array, share: float | Array) -> Array:
    return old + (new - old) * share


class Moments(NamedTuple):
    """What Adam and its kin remember of the gradients."""

    momentum: Any
    velocity: Any
    velocity_hat: Any = None


def adam(beta_1: float, beta_2: float, epsilon: float, amsgrad: bool = False) -> Any:
    """`m̂ / sqrt(v̂)` with Keras' epsilon."""

    def init(w: Array) -> Moments:
        zero = jnp.zeros_like(w)
        return Moments(zero, zero, zero if amsgrad else None)

    def update(
        g: Array, state: Moments, w: Array, *, learning_rate: Array, step: Array
    ) -> tuple[Array, Moments]:
        t = _count(step, g)
        rate = learning_rate * jnp.sqrt(1 - beta_2**t) / (1 - beta_1**t)
        m = _toward(state.momentum, g, 1 - beta_1)
        v = _toward(state.velocity, jnp.square(g), 1 - beta_2)
        top = jnp.maximum(state.velocity_hat, v) if amsgrad else v
        delta = -(m * rate) / (jnp.sqrt(top) + epsilon)
        return delta, Moments(m, v, top if amsgrad else None)

    return _rule(init, update)


class NormedMoments(NamedTuple):
    """Adamax' mean gradient and largest gradient."""

    momentum: Any
    norm: Any


def adamax(beta_1: float, beta_2: float, epsilon: float) -> Any:
    """Adam with the decayed maximum in the place of the second moment."""

    def init(w: Array) -> NormedMoments:
        return NormedMoments(jnp.zeros_like(w), jnp.zeros_like(w))

    def update(
        g: Array, state: NormedMoments, w: Array, *, learning_rate: Array, step: Array
    ) -> tuple[Array, NormedMoments]:
        m = _toward(state.momentum, g, 1 - beta_1)
        u = jnp.maximum(beta_2 * state.norm, jnp.abs(g))
        bias = 1 - beta_1 ** _count(step, g)
        return -(learning_rate * m) / (bias * (u + epsilon)), NormedMoments(m, u)

    return _rule(init, update)


def nesterov_share(beta_1: float, t: Array) -> Array:
    """Nadam's momentum at step t (from 1 on); it grows from beta_1 / 2 to beta_1."""
    return beta_1 * (1 - 0.5 * jnp.asarray(0.96, t.dtype) ** t)


def nadam(beta_1: float, beta_2: float, epsilon: float, product: Any) -> Any:
    """Adam that looks one step ahead; `product` reads that of all shares so far."""

    def init(w: Array) -> Moments:
        return Moments(jnp.zeros_like(w), jnp.zeros_like(w))

    def update(
        g: Array, state: Moments, w: Array, *, learning_rate: Array, step: Array
    ) -> tuple[Array, Moments]:
        t = _count(step, g)
        now, ahead = nesterov_share(beta_1, t), nesterov_share(beta_1, t + 1)
        so_far = product().astype(g.dtype)
        m = _toward(state.momentum, g, 1 - beta_1)
        v = _toward(state.velocity, jnp.square(g), 1 - beta_2)
        m_hat = ahead * m / (1 - so_far * ahead) + (1 - now) * g / (1 - so_far)
        v_hat = v / (1 - beta_2**t)
        return -(m_hat * learning_rate) / (jnp.sqrt(v_hat) + epsilon), Moments(m, v)

    return _rule(init, update)


class FtrlState(NamedTuple):
    """Ftrl's sum of squares and its linear term."""

    accumulator: Any
    linear: Any


def ftrl(
    power: float, start: float, l1: float, l2: float, shrinkage: float, beta: float
) -> Any:
    """Follow the regularised leader: the best weight for all gradients so far."""

    def init(w: Array) -> FtrlState:
        return FtrlState(jnp.full_like(w, start), jnp.zeros_like(w))

    def update(
        g: Array, state: FtrlState, w: Array, *, learning_rate: Array, step: Array
    ) -> tuple[Array, FtrlState]:
        total = state.accumulator + jnp.square(g)
        roots = total**-power, state.accumulator**-power
        pull = (roots[0] - roots[1]) / learning_rate * w
        linear = state.linear + (g + 2 * shrinkage * w - pull)
        curve = roots[0] / learning_rate + 2 * (l2 + beta / (2 * learning_rate))
        new = (jnp.clip(linear, -l1, l1) - linear) / curve
        return new - w, FtrlState(total, linear)

    return _rule(init, update)


class FactoredMoments(NamedTuple):
    """Adafactor's second moment: means of its rows and columns, and the product."""

    row: Any
    column: Any
    velocity: Any


def adafactor(
    beta_2_decay: float, epsilon_1: float, epsilon_2: float, clip_threshold: float
) -> Any:
    """A step relative to the weight, over a second moment kept as rows and columns."""

    def init(w: Array) -> FactoredMoments:
        if w.ndim < 2:
            # Unused, but Keras' files have a number in these places.
            none = jnp.zeros((), "int32")
            return FactoredMoments(none, none, jnp.zeros_like(w))
        row = jnp.zeros(w.shape[:-1], w.dtype)
        column = jnp.zeros((*w.shape[:-2], w.shape[-1]), w.dtype)
        return FactoredMoments(row, column, jnp.zeros_like(w))

    def update(
        g: Array, state: FactoredMoments, w: Array, *, learning_rate: Array, step: Array
    ) -> tuple[Array, FactoredMoments]:
        t = _count(step, g)
        rate = jnp.minimum(learning_rate, 1 / jnp.sqrt(t))
        rate = rate * jnp.maximum(jnp.asarray(epsilon_2, w.dtype), _rms(w))
        keep = 1 - t**beta_2_decay
        square = jnp.square(g) + epsilon_1
        row, column, v = state
        if w.ndim < 2:
            v = keep * v + (1 - keep) * square
        else:
            row = keep * row + (1 - keep) * jnp.mean(square, axis=-1)
            column = keep * column + (1 - keep) * jnp.mean(square, axis=-2)
            share = row / jnp.mean(row, axis=-1, keepdims=True)
            v = share[..., :, None] * column[..., None, :]  # (..., rows, columns)
        u = g / jnp.sqrt(v)
        u = u / jnp.maximum(1.0, _rms(u) / clip_threshold)
        return -rate * u, FactoredMoments(row, column, v)

    return _rule(init, update)


def _rms(x: Array) -> Array:
    return jnp.sqrt(jnp.mean(jnp.square(x)))


class Momentum(NamedTuple):
    """A running sum of gradients."""

    momentum: Any


def muon(
    momentum: float,
    nesterov: bool,
    orthogonal: Callable[[Array], Array],
    scale: Callable[[Array], Array],
) -> Any:
    """Momentum with all its singular values brought near 1, for a matrix."""

    def init(w: Array) -> Momentum:
        return Momentum(jnp.zeros_like(w))

    def update(
        g: Array, state: Momentum, w: Array, *, learning_rate: Array, step: Array
    ) -> tuple[Array, Momentum]:
        m = state.momentum + (g + state.momentum * (momentum - 1))
        u = orthogonal(g + momentum * m if nesterov else m)
        return -scale(learning_rate * u), Momentum(m)

    return _rule(init, update)


def orthogonal(x: Array, steps: int, coefficients: tuple[float, ...]) -> Array:
    """Matrices with all their singular values brought near 1, by Newton-Schulz.

    Each round pushes the singular values along a quintic with a steep start, on the
    smaller of `x·xᵀ` and `xᵀ·x`.
    """
    a, b, c = coefficients
    tall = x.shape[-2] > x.shape[-1]
    x = x.mT if tall else x
    x = x / (jnp.linalg.norm(x, axis=(-2, -1), keepdims=True) + 1e-7)
    for _ in range(steps):
        square = x @ x.mT
        x = a * x + (b * square + c * square @ square) @ x
    return x.mT if tall else x


def schedule_free_adam(
    beta_1: float, beta_2: float, epsilon: float, warmup_steps: int
) -> Any:
    """Adam on a hidden weight z; the weight lies between z and the mean of all z.

    The state field `momentum` is z, as Keras' files call it.
    """

    def init(w: Array) -> Moments:
        return Moments(w, jnp.zeros_like(w))

    def update(
        g: Array, state: Moments, w: Array, *, learning_rate: Array, step: Array
    ) -> tuple[Array, Moments]:
        t = _count(step, g)
        if warmup_steps > 0:
            learning_rate = learning_rate * jnp.minimum(t / warmup_steps, 1.0)
        v = _toward(state.velocity, jnp.square(g), 1 - beta_2)
        z = state.momentum
        z_new = z - learning_rate * g / (jnp.sqrt(v / (1 - beta_2**t)) + epsilon)
        mean = (w - (1 - beta_1) * z) / beta_1
        mean = (1 - 1 / t) * mean + 1 / t * z_new
        return (1 - beta_1) * z_new + beta_1 * mean - w, Moments(z_new, v)

    return _rule(init, update)
