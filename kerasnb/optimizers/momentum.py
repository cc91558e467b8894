"""Rules with one running sum of gradients: SGD, Lion, Muon.

`g` is the gradient, `w` the weight, `m` the running sum.
"""

import re
from collections.abc import Sequence
from typing import Any, Unpack

import jax.numpy as jnp

from kerasnb.core.errors import check
from kerasnb.core.variable import Variable
from kerasnb.optimizers import rules
from kerasnb.optimizers.lazy import optax
from kerasnb.optimizers.optimizer import Optimizer, RuleOptimizer
from kerasnb.optimizers.options import Options


class SGD(Optimizer):
    """Step against the gradient, with momentum if wanted.

        m <- momentum · m - rate · g        w <- w + m
        nesterov:                           w <- w + momentum · m - rate · g

    `rate` is the learning rate. It is inside `m`: after a change, old gradients keep
    their old rate.

    >>> w = Variable([1.0, 2.0])
    >>> SGD(learning_rate=0.5).apply([[1.0, 1.0]], [w])
    >>> w.value.tolist()
    [0.5, 1.5]
    """

    slots = ({"trace": "momentum"},)

    def __init__(
        self,
        learning_rate: Any = 0.01,
        momentum: float = 0.0,
        nesterov: bool = False,
        **options: Unpack[Options],
    ) -> None:
        super().__init__(learning_rate, **options)
        number = isinstance(momentum, int | float) and not isinstance(momentum, bool)
        expected = "a number from 0 to 1"
        check(number and 0 <= momentum <= 1, "SGD", "momentum", momentum, expected)
        self.momentum = momentum
        self.nesterov = nesterov

    def transform(self, variable: Variable) -> Any:
        """The rate first, then the running sum: as Keras keeps it."""
        if self.momentum == 0:
            return rules.by_learning_rate()
        trace = optax.trace(self.momentum, self.nesterov)
        return optax.chain(rules.by_learning_rate(), trace)


class Lion(RuleOptimizer):
    """Step by the sign of a blend of gradient and momentum (Chen et al., 2023).

    w <- w - learning_rate · sign(beta_1 · m + (1 - beta_1) · g)
    m <- beta_2 · m + (1 - beta_2) · g
    """

    slots = ({"mu": "momentum"},)

    def __init__(
        self,
        learning_rate: Any = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.99,
        **options: Unpack[Options],
    ) -> None:
        super().__init__(learning_rate, **options)
        expected = "above 0 and at most 1 (0 would leave nothing but the sign)"
        check(0 < beta_1 <= 1, "Lion", "beta_1", beta_1, expected)
        self.beta_1 = beta_1
        self.beta_2 = beta_2

    def transform(self, variable: Variable) -> Any:
        """Optax: Lion, then the rate."""
        lion = optax.scale_by_lion(self.beta_1, self.beta_2)
        return optax.chain(lion, rules.by_learning_rate())


class Muon(RuleOptimizer):
    """Momentum made orthogonal for matrices, AdamW for the rest (Jordan et al., 2024).

        m <- momentum · m + g        w <- w - rate · rms_rate · sqrt(max(n, k)) · u

    where `u` has the singular vectors of `m` (with `nesterov`: of `g + momentum · m`)
    and singular values near 1, for a weight of shape `(n, k)`. Weights that are not
    matrices, embeddings (`exclude_embeddings`) and those whose path matches a pattern
    in `exclude_layers` follow Adam at `adam_lr_ratio` times the rate.
    """

    slots = ({"momentum": "momentum", "velocity": "velocity"},)

    def __init__(
        self,
        learning_rate: Any = 0.001,
        adam_beta_1: float = 0.9,
        adam_beta_2: float = 0.999,
        adam_weight_decay: float | None = 0.004,
        epsilon: float = 1e-7,
        weight_decay: float | None = 0.004,
        clipnorm: float | None = None,
        clipvalue: float | None = None,
        global_clipnorm: float | None = None,
        use_ema: bool = False,
        ema_momentum: float = 0.99,
        ema_overwrite_frequency: int | None = None,
        loss_scale_factor: float | None = None,
        gradient_accumulation_steps: int | None = None,
        name: str | None = None,
        exclude_layers: Sequence[str] | None = None,
        exclude_embeddings: bool = True,
        muon_a: float = 3.4445,
        muon_b: float = -4.7750,
        muon_c: float = 2.0315,
        adam_lr_ratio: float = 1,
        momentum: float = 0.95,
        ns_steps: int = 5,
        nesterov: bool = True,
        rms_rate: float | None = 0.2,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            learning_rate,
            weight_decay,
            clipnorm,
            clipvalue,
            global_clipnorm,
            use_ema,
            ema_momentum,
            ema_overwrite_frequency,
            loss_scale_factor,
            gradient_accumulation_steps,
            name,
            **kwargs,
        )
        self.adam_beta_1, self.adam_beta_2 = adam_beta_1, adam_beta_2
        self.adam_weight_decay = adam_weight_decay
        self.epsilon = epsilon
        self.exclude_layers = list(exclude_layers or [])
        self.exclude_embeddings = exclude_embeddings
        self.muon_a, self.muon_b, self.muon_c = muon_a, muon_b, muon_c
        self.adam_lr_ratio = adam_lr_ratio
        self.momentum, self.nesterov = momentum, nesterov
        self.ns_steps, self.rms_rate = ns_steps, rms_rate

    def _follows_adam(self, variable: Variable) -> bool:
        embedding = self.exclude_embeddings and "embedding" in variable.path.lower()
        named = any(re.search(p, variable.path) for p in self.exclude_layers)
        return len(variable.shape) != 2 or embedding or named

    def transform(self, variable: Variable) -> Any:
        """Adam or Muon, by the weight."""
        if self._follows_adam(variable):
            return rules.adam(self.adam_beta_1, self.adam_beta_2, self.epsilon)
        return rules.muon(
            self.momentum,
            self.nesterov,
            lambda x: self.zeropower_via_newtonschulz5(x, self.ns_steps),
            self.lr_adjust,
        )

    def zeropower_via_newtonschulz5(self, x: Any, steps: int) -> Any:
        """The last two axes of `x` as a matrix with all its singular values near 1.

        Shapes: `(..., n, k) -> (..., n, k)`.
        """
        x = jnp.asarray(x)
        check(x.ndim > 1, "Muon", "x", x, "of at least two axes")
        return rules.orthogonal(x, steps, (self.muon_a, self.muon_b, self.muon_c))

    def lr_adjust(self, x: Any) -> Any:
        """A step of a matrix `(n, k)` times `rms_rate · sqrt(max(n, k))`."""
        return x if self.rms_rate is None else x * max(x.shape) ** 0.5 * self.rms_rate

    def transpose_last_axis(self, X: Any) -> Any:
        """The last two axes in exchange.

        Shapes: `(..., n, k) -> (..., k, n)`.
        """
        return jnp.swapaxes(X, -2, -1)

    def update_step(
        self, gradient: Any, variable: Variable, learning_rate: Any
    ) -> None:
        """The rule at its share of the rate."""
        share = self.adam_lr_ratio if self._follows_adam(variable) else 1
        super().update_step(gradient, variable, learning_rate * share)

    def _decay_of(self, variable: Variable) -> float | None:
        adam = self._follows_adam(variable)
        return self.adam_weight_decay if adam else self.weight_decay
