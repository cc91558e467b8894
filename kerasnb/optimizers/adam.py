"""Adam and its kin.

`g` is the gradient, `w` the weight, `m` and `v` running means of `g` and `g²`; `m̂`, `v̂`
are those means freed of their start at zero.
"""

from collections.abc import Sequence
from typing import Any, Unpack

import jax.numpy as jnp

from kerasnb.core import settings
from kerasnb.core.errors import check
from kerasnb.core.variable import Variable
from kerasnb.optimizers import rules
from kerasnb.optimizers.lazy import optax
from kerasnb.optimizers.optimizer import RuleOptimizer
from kerasnb.optimizers.options import Options

_MOMENTS = {"momentum": "momentum", "velocity": "velocity"}


class Adam(RuleOptimizer):
    """Step by the mean gradient over its own noise (Kingma & Ba, 2014).

        m <- beta_1 · m + (1 - beta_1) · g
        v <- beta_2 · v + (1 - beta_2) · g²
        w <- w - learning_rate · m̂ / (sqrt(v̂) + epsilon / sqrt(1 - beta_2^t))

    With `amsgrad` the largest `v` so far takes the place of `v` (Reddi et al., 2018).

    >>> w = Variable([1.0, 2.0])
    >>> Adam(learning_rate=0.5).apply([[1.0, -9.0]], [w])
    >>> w.value.round(3).tolist()
    [0.5, 2.5]
    """

    slots = (_MOMENTS, {"velocity_hat": "velocity_hat"})

    def __init__(
        self,
        learning_rate: Any = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        amsgrad: bool = False,
        **options: Unpack[Options],
    ) -> None:
        super().__init__(learning_rate, **options)
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self.epsilon = epsilon
        self.amsgrad = amsgrad

    def transform(self, variable: Variable) -> Any:
        """Adam with Keras' epsilon."""
        return rules.adam(self.beta_1, self.beta_2, self.epsilon, self.amsgrad)


class AdamW(Adam):
    """Adam with weight decay apart from the gradient (Loshchilov & Hutter, 2017).

    w <- w - learning_rate · weight_decay · w,    then a step of Adam
    """

    def __init__(
        self,
        learning_rate: Any = 0.001,
        weight_decay: float = 0.004,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        amsgrad: bool = False,
        **options: Any,
    ) -> None:
        expected = "a number (Adam is AdamW without it)"
        check(weight_decay is not None, "AdamW", "weight_decay", weight_decay, expected)
        options["weight_decay"] = weight_decay
        super().__init__(learning_rate, beta_1, beta_2, epsilon, amsgrad, **options)


class Adamax(RuleOptimizer):
    """Adam over the largest gradient instead of the mean square (Kingma & Ba, 2014).

    m <- beta_1 · m + (1 - beta_1) · g        u <- max(beta_2 · u, |g|)
    w <- w - learning_rate · m̂ / (u + epsilon)
    """

    slots = ({"momentum": "momentum", "norm": "norm"},)

    def __init__(
        self,
        learning_rate: Any = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        **options: Unpack[Options],
    ) -> None:
        super().__init__(learning_rate, **options)
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self.epsilon = epsilon

    def transform(self, variable: Variable) -> Any:
        """Adamax with Keras' epsilon."""
        return rules.adamax(self.beta_1, self.beta_2, self.epsilon)


class Nadam(RuleOptimizer):
    """Adam with Nesterov's look ahead (Dozat, 2015).

    The share of the old mean grows with the step, `b_t = beta_1 · (1 - 0.96^t / 2)`:

        w <- w - learning_rate · (b_{t+1} · m̂ + (1 - b_t) · ĝ) / (sqrt(v̂) + epsilon)
    """

    slots = (_MOMENTS,)

    def __init__(
        self,
        learning_rate: Any = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        **options: Unpack[Options],
    ) -> None:
        super().__init__(learning_rate, **options)
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self.epsilon = epsilon

    def build(self, var_list: Sequence[Variable]) -> None:
        """The moments, and the product of all shares so far."""
        if self.built:
            return
        super().build(var_list)
        variables = self._trainable_variables
        dtype = variables[0].dtype if variables else settings.floatx()
        self._product = self.add_variable((), "ones", dtype, name="u_product")

    def transform(self, variable: Variable) -> Any:
        """Nadam by Dozat's schedule."""
        return rules.nadam(
            self.beta_1, self.beta_2, self.epsilon, lambda: self._product.raw
        )

    def _move(
        self, grads: Sequence[Any], variables: Sequence[Variable], rate: Any
    ) -> None:
        t = jnp.asarray(self.iterations + 1, self._product.dtype)
        share = rules.nesterov_share(self.beta_1, t)
        self._product.assign(self._product.raw * share)
        super()._move(grads, variables, rate)


class Lamb(RuleOptimizer):
    """Adam with each step as long as its weight (You et al., 2019).

    u = m̂ / (sqrt(v̂) + epsilon)        w <- w - learning_rate · u · ‖w‖ / ‖u‖
    """

    slots = ({"mu": "momentum", "nu": "velocity"},)

    def __init__(
        self,
        learning_rate: Any = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        **options: Unpack[Options],
    ) -> None:
        super().__init__(learning_rate, **options)
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self.epsilon = epsilon

    def transform(self, variable: Variable) -> Any:
        """Optax: Adam and the trust ratio; here Keras has the same epsilon."""
        return optax.chain(
            optax.scale_by_adam(self.beta_1, self.beta_2, self.epsilon),
            optax.scale_by_trust_ratio(),
            rules.by_learning_rate(),
        )


class ScheduleFreeAdamW(RuleOptimizer):
    """AdamW that needs no schedule and no end in sight (Defazio et al., 2024).

    Steps move a hidden `z`; the weight is kept between it and the mean of all `z`:

        z <- z - learning_rate · g / (sqrt(v̂) + epsilon)
        x <- x + (z - x) / t
        w  = (1 - beta_1) · z + beta_1 · x

    The rate climbs from 0 during the first `warmup_steps`.
    """

    slots = (_MOMENTS,)

    def __init__(
        self,
        learning_rate: Any = 0.0025,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        warmup_steps: int = 0,
        **options: Unpack[Options],
    ) -> None:
        super().__init__(learning_rate, **options)
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self.epsilon = epsilon
        self.warmup_steps = warmup_steps

    def start(self, slot: str, variable: Variable) -> Any:
        """`z` starts at the weight."""
        if slot == "momentum":
            return lambda shape, dtype: jnp.array(variable.raw, dtype)
        return super().start(slot, variable)

    def transform(self, variable: Variable) -> Any:
        """Schedule-free Adam with equal weights for all steps."""
        return rules.schedule_free_adam(
            self.beta_1, self.beta_2, self.epsilon, self.warmup_steps
        )
