"""The schedules of Keras; in the formulas `s` is the step and `p = s / decay_steps`."""

import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from kerasnb.core.errors import check
from kerasnb.optimizers.schedules.schedule import LearningRateSchedule, as_float


class _Decay(LearningRateSchedule):
    """What ExponentialDecay and InverseTimeDecay share."""

    def __init__(
        self,
        initial_learning_rate: float,
        decay_steps: int,
        decay_rate: float,
        staircase: bool = False,
        name: str | None = None,
    ) -> None:
        self._check_steps("decay_steps", decay_steps)
        self.initial_learning_rate = initial_learning_rate
        self.decay_steps = decay_steps
        self.decay_rate = decay_rate
        self.staircase = staircase
        self.name = name

    def _progress(self, step: Any) -> jax.Array:
        p = as_float(step) / as_float(self.decay_steps)
        return jnp.floor(p) if self.staircase else p


class ExponentialDecay(_Decay):
    """Multiply by `decay_rate` every `decay_steps` steps, smoothly or in stairs.

        rate = initial_learning_rate · decay_rate^p,    floor(p) with staircase

    >>> float(ExponentialDecay(1.0, decay_steps=10, decay_rate=0.25)(5))
    0.5
    """

    def __init__(
        self,
        initial_learning_rate: float,
        decay_steps: int,
        decay_rate: float,
        staircase: bool = False,
        name: str | None = "ExponentialDecay",
    ) -> None:
        super().__init__(
            initial_learning_rate, decay_steps, decay_rate, staircase, name
        )

    def __call__(self, step: Any) -> jax.Array:
        """The learning rate at `step`."""
        decay = as_float(self.decay_rate) ** self._progress(step)
        return as_float(self.initial_learning_rate) * decay


class InverseTimeDecay(_Decay):
    """Divide by a number that grows with time.

        rate = initial_learning_rate / (1 + decay_rate · p),    floor(p) with staircase

    >>> float(InverseTimeDecay(1.0, decay_steps=10, decay_rate=2.0)(5))
    0.5
    """

    def __init__(
        self,
        initial_learning_rate: float,
        decay_steps: int,
        decay_rate: float,
        staircase: bool = False,
        name: str | None = "InverseTimeDecay",
    ) -> None:
        super().__init__(
            initial_learning_rate, decay_steps, decay_rate, staircase, name
        )

    def __call__(self, step: Any) -> jax.Array:
        """The learning rate at `step`."""
        growth = 1 + as_float(self.decay_rate) * self._progress(step)
        return as_float(self.initial_learning_rate) / growth


class PiecewiseConstantDecay(LearningRateSchedule):
    """`values[0]` up to and including step `boundaries[0]`, then `values[1]`, ...

    >>> rate = PiecewiseConstantDecay([10, 20], [1.0, 0.5, 0.25])
    >>> [float(rate(step)) for step in (0, 10, 11, 21)]
    [1.0, 1.0, 0.5, 0.25]
    """

    def __init__(
        self,
        boundaries: Sequence[float],
        values: Sequence[float],
        name: str | None = "PiecewiseConstant",
    ) -> None:
        check(
            len(boundaries) == len(values) - 1,
            "PiecewiseConstantDecay",
            "values",
            values,
            f"one value more than the {len(boundaries)} boundaries",
        )
        self.boundaries = boundaries
        self.values = values
        self.name = name

    def __call__(self, step: Any) -> jax.Array:
        """The learning rate at `step`."""
        passed = jnp.asarray(step) > jnp.asarray(self.boundaries)
        return as_float(self.values)[jnp.sum(passed)]


class PolynomialDecay(LearningRateSchedule):
    """From `initial_learning_rate` to `end_learning_rate` along a power of time.

        rate = (initial - end) · (1 - p)^power + end,    s at most decay_steps

    With `cycle` the descent starts again, each one ending at the next multiple of
    `decay_steps`.

    >>> float(PolynomialDecay(1.0, decay_steps=10, end_learning_rate=0.5)(5))
    0.75
    """

    def __init__(
        self,
        initial_learning_rate: float,
        decay_steps: int,
        end_learning_rate: float = 0.0001,
        power: float = 1.0,
        cycle: bool = False,
        name: str | None = "PolynomialDecay",
    ) -> None:
        self._check_steps("decay_steps", decay_steps)
        self.initial_learning_rate = initial_learning_rate
        self.decay_steps = decay_steps
        self.end_learning_rate = end_learning_rate
        self.power = power
        self.cycle = cycle
        self.name = name

    def __call__(self, step: Any) -> jax.Array:
        """The learning rate at `step`."""
        s, steps = as_float(step), as_float(self.decay_steps)
        if self.cycle:
            steps = steps * jnp.where(s == 0, 1.0, jnp.ceil(s / steps))
        else:
            s = jnp.minimum(s, steps)
        start, end = as_float(self.initial_learning_rate), self.end_learning_rate
        return (start - end) * (1 - s / steps) ** as_float(self.power) + end


class CosineDecay(LearningRateSchedule):
    """Half a cosine from the top to `alpha` times the top (Loshchilov & Hutter, 2016).

        rate = top · ((1 - alpha) · (1 + cos(π·p)) / 2 + alpha),    p at most 1

    The top is `initial_learning_rate`; with `warmup_target` it is that, and the rate
    first climbs there from `initial_learning_rate` in a line of `warmup_steps`.

    >>> round(float(CosineDecay(1.0, decay_steps=10)(5)), 6)
    0.5
    """

    def __init__(
        self,
        initial_learning_rate: float,
        decay_steps: int,
        alpha: float = 0.0,
        name: str | None = "CosineDecay",
        warmup_target: float | None = None,
        warmup_steps: int = 0,
    ) -> None:
        self._check_steps("decay_steps", decay_steps)
        self.initial_learning_rate = initial_learning_rate
        self.decay_steps = decay_steps
        self.alpha = alpha
        self.name = name
        self.warmup_target = warmup_target
        self.warmup_steps = warmup_steps

    def __call__(self, step: Any) -> jax.Array:
        """The learning rate at `step`."""
        s, start = as_float(step), as_float(self.initial_learning_rate)
        if self.warmup_target is None:
            return self._descend(s, start)
        top, warmup = as_float(self.warmup_target), as_float(self.warmup_steps)
        climbed = (top - start) * (s / warmup) + start
        return jnp.where(s < warmup, climbed, self._descend(s - warmup, top))

    def _descend(self, s: jax.Array, top: jax.Array) -> jax.Array:
        steps = as_float(self.decay_steps)
        cosine = 0.5 * (1 + jnp.cos(math.pi * (jnp.minimum(s, steps) / steps)))
        return top * ((1 - self.alpha) * cosine + self.alpha)


class CosineDecayRestarts(LearningRateSchedule):
    """Cosine decays one after the other (SGDR; Loshchilov & Hutter, 2016).

    The first takes `first_decay_steps`; each next one is `t_mul` times as long and
    starts from `m_mul` times the height.

    >>> round(float(CosineDecayRestarts(1.0, first_decay_steps=10)(20)), 6)
    0.5
    """

    def __init__(
        self,
        initial_learning_rate: float,
        first_decay_steps: int,
        t_mul: float = 2.0,
        m_mul: float = 1.0,
        alpha: float = 0.0,
        name: str | None = "SGDRDecay",
    ) -> None:
        self._check_steps("first_decay_steps", first_decay_steps)
        self.initial_learning_rate = initial_learning_rate
        self.first_decay_steps = first_decay_steps
        self.t_mul = t_mul
        self.m_mul = m_mul
        self.alpha = alpha
        self.name = name

    def __call__(self, step: Any) -> jax.Array:
        """The learning rate at `step`."""
        done, t_mul = as_float(step) / self.first_decay_steps, as_float(self.t_mul)
        if self.t_mul == 1.0:
            restarts = jnp.floor(done)
            p = done - restarts
        else:
            # Lengths 1, t, t², ...: n of them end at (1 - t^n) / (1 - t).
            restarts = jnp.floor(jnp.log(1 - done * (1 - t_mul)) / jnp.log(t_mul))
            ended = (1 - t_mul**restarts) / (1 - t_mul)
            p = (done - ended) / t_mul**restarts
        height = as_float(self.m_mul) ** restarts
        cosine = 0.5 * height * (1 + jnp.cos(math.pi * p))
        decayed = (1 - self.alpha) * cosine + self.alpha
        return as_float(self.initial_learning_rate) * decayed
