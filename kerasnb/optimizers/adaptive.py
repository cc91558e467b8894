"""Rules that divide by the size of past gradients.

`g` is the gradient, `w` the weight.
"""

from typing import Any, Unpack

from kerasnb.core.errors import check
from kerasnb.core.variable import Variable
from kerasnb.initializers import Constant
from kerasnb.optimizers import rules
from kerasnb.optimizers.lazy import optax
from kerasnb.optimizers.optimizer import RuleOptimizer
from kerasnb.optimizers.options import Options


class RMSprop(RuleOptimizer):
    """Divide by the root of a running mean of squares (Tieleman & Hinton, 2012).

        v <- rho · v + (1 - rho) · g²
        u  = learning_rate · g / sqrt(v + epsilon)        w <- w - u

    With `momentum` the steps `u` are summed up first, `m <- momentum · m + u`; with
    `centered` the square of the mean gradient is taken off `v`.

    >>> w = Variable([1.0, 2.0])
    >>> RMSprop(learning_rate=0.5, rho=0.0).apply([[1.0, -9.0]], [w])
    >>> w.value.round(3).tolist()
    [0.5, 2.5]
    """

    slots = ({"nu": "velocity"}, {"trace": "momentum"}, {"mu": "average_gradient"})

    def __init__(
        self,
        learning_rate: Any = 0.001,
        rho: float = 0.9,
        momentum: float = 0.0,
        epsilon: float = 1e-7,
        centered: bool = False,
        **options: Unpack[Options],
    ) -> None:
        super().__init__(learning_rate, **options)
        self.rho = rho
        self.momentum = momentum
        self.epsilon = epsilon
        self.centered = centered

    def transform(self, variable: Variable) -> Any:
        """Optax: the root mean square, then the rate, then the sum of steps."""
        scale = optax.scale_by_stddev if self.centered else optax.scale_by_rms
        steps = [scale(self.rho, self.epsilon), rules.by_learning_rate(+1.0)]
        if self.momentum > 0:
            steps.append(optax.trace(self.momentum))
        return optax.chain(*steps, optax.scale(-1.0))


class Adagrad(RuleOptimizer):
    """Divide by the root of the sum of all squares (Duchi et al., 2011).

    a <- a + g²        w <- w - learning_rate · g / sqrt(a + epsilon)
    """

    slots = ({"sum_of_squares": "accumulator"},)

    def __init__(
        self,
        learning_rate: Any = 0.001,
        initial_accumulator_value: float = 0.1,
        epsilon: float = 1e-7,
        **options: Unpack[Options],
    ) -> None:
        super().__init__(learning_rate, **options)
        self.initial_accumulator_value = initial_accumulator_value
        self.epsilon = epsilon

    def start(self, slot: str, variable: Variable) -> Any:
        """The sum starts above zero."""
        return Constant(self.initial_accumulator_value)

    def transform(self, variable: Variable) -> Any:
        """Optax: the root of the sum of squares, then the rate."""
        scale = optax.scale_by_rss(self.initial_accumulator_value, self.epsilon)
        return optax.chain(scale, rules.by_learning_rate())


class Adadelta(RuleOptimizer):
    """Steps in the unit of the weights, from past steps and gradients (Zeiler, 2012).

    a <- rho · a + (1 - rho) · g²
    u  = g · sqrt(d + epsilon) / sqrt(a + epsilon)
    d <- rho · d + (1 - rho) · u²        w <- w - learning_rate · u
    """

    slots = ({"e_g": "accumulated_grad", "e_x": "accumulated_delta_var"},)

    def __init__(
        self,
        learning_rate: Any = 0.001,
        rho: float = 0.95,
        epsilon: float = 1e-7,
        **options: Unpack[Options],
    ) -> None:
        super().__init__(learning_rate, **options)
        self.rho = rho
        self.epsilon = epsilon

    def update_step(self, grad: Any, variable: Variable, learning_rate: Any) -> None:
        """Move one weight."""
        super().update_step(grad, variable, learning_rate)

    def transform(self, variable: Variable) -> Any:
        """Optax: Adadelta, then the rate."""
        scale = optax.scale_by_adadelta(self.rho, self.epsilon)
        return optax.chain(scale, rules.by_learning_rate())


class Adafactor(RuleOptimizer):
    """Adam's second moment from its rows and columns (Shazeer & Stern, 2018).

        v ≈ row · column / mean(row)        u = g / sqrt(v)
        a = min(learning_rate, 1 / sqrt(t)) · max(epsilon_2, rms(w))
        w <- w - a · u / max(1, rms(u) / clip_threshold)

    `relative_step` changes nothing, in Keras neither: the rate is never above
    1/sqrt(t).
    """

    slots = ({"row": "row", "column": "column", "velocity": "velocity"},)

    def __init__(
        self,
        learning_rate: Any = 0.001,
        beta_2_decay: float = -0.8,
        epsilon_1: float = 1e-30,
        epsilon_2: float = 1e-3,
        clip_threshold: float = 1.0,
        relative_step: bool = True,
        **options: Unpack[Options],
    ) -> None:
        super().__init__(learning_rate, **options)
        self.beta_2_decay = beta_2_decay
        self.epsilon_1 = epsilon_1
        self.epsilon_2 = epsilon_2
        self.clip_threshold = clip_threshold
        self.relative_step = relative_step

    def transform(self, variable: Variable) -> Any:
        """Adafactor as Keras factors it."""
        return rules.adafactor(
            self.beta_2_decay, self.epsilon_1, self.epsilon_2, self.clip_threshold
        )


class Ftrl(RuleOptimizer):
    """Follow the regularised leader, for sparse linear models (McMahan et al., 2013).

        n <- n + g²        z <- z + g - w · (n^-p - n_old^-p) / learning_rate
        w  = (clip(z, -l1, l1) - z) / (n^-p / learning_rate + 2 · l2)

    with `p = learning_rate_power`. `l1` brings small weights to exactly zero;
    `l2_shrinkage` adds `2 · l2_shrinkage · w` to `g` in `z`; `beta` adds
    `beta / (2 · learning_rate)` to `l2`.
    """

    slots = ({"accumulator": "accumulator", "linear": "linear"},)

    def __init__(
        self,
        learning_rate: Any = 0.001,
        learning_rate_power: float = -0.5,
        initial_accumulator_value: float = 0.1,
        l1_regularization_strength: float = 0.0,
        l2_regularization_strength: float = 0.0,
        l2_shrinkage_regularization_strength: float = 0.0,
        beta: float = 0.0,
        **options: Unpack[Options],
    ) -> None:
        super().__init__(learning_rate, **options)
        expected = "zero or negative"
        name, power = "learning_rate_power", learning_rate_power
        check(power <= 0, "Ftrl", name, power, expected)
        self.learning_rate_power = learning_rate_power
        self.initial_accumulator_value = initial_accumulator_value
        self.l1_regularization_strength = l1_regularization_strength
        self.l2_regularization_strength = l2_regularization_strength
        self.l2_shrinkage_regularization_strength = l2_shrinkage_regularization_strength
        self.beta = beta
        for name in self._NOT_NEGATIVE:
            value = getattr(self, name)
            check(value >= 0, "Ftrl", name, value, "zero or positive")

    _NOT_NEGATIVE = (
        "initial_accumulator_value",
        "l1_regularization_strength",
        "l2_regularization_strength",
        "l2_shrinkage_regularization_strength",
    )

    def start(self, slot: str, variable: Variable) -> Any:
        """The sum of squares starts above zero."""
        accumulator = slot == "accumulator"
        return Constant(self.initial_accumulator_value) if accumulator else "zeros"

    def transform(self, variable: Variable) -> Any:
        """Ftrl-proximal, which optax does not have."""
        return rules.ftrl(
            self.learning_rate_power,
            self.initial_accumulator_value,
            self.l1_regularization_strength,
            self.l2_regularization_strength,
            self.l2_shrinkage_regularization_strength,
            self.beta,
        )
