"""Low-rank adaptation: train two small matrices beside a large, frozen weight.

    weight + (alpha / rank) · a · b

One class does it for all layers that can: `Dense`, `EinsumDense`, the embeddings and
the convolutions. Files hold the sum, so they load into layers without adaptation.
"""

from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from kerasnb.core.variable import Variable
from kerasnb.layers.arguments import positive_int
from kerasnb.layers.weighted import WeightedLayer


class LowRankLayer(WeightedLayer):
    """A layer one of whose weights, `adapted`, can be given a low-rank addition.

    A subclass says `kernel = adapted_weight("kernel")`, assigns the variable to it in
    `build`, ends `build` with `_start_lora()` and computes with `_weight()`.
    (Hu et al., LoRA: Low-Rank Adaptation of Large Language Models, 2021)
    """

    adapted: ClassVar[str] = "kernel"
    lora_enabled = False

    def __init__(
        self,
        *args: Any,
        lora_rank: int | None = None,
        lora_alpha: float | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        if lora_rank:
            positive_int(type(self).__name__, "lora_rank", lora_rank)
        self.lora_rank = lora_rank
        self.lora_alpha = lora_rank if lora_alpha is None else lora_alpha

    def _stored(self) -> Variable | None:
        """The variable of the adapted weight, None before it is made."""
        return self.__dict__.get(f"_{self.adapted}")

    def _weight(self) -> jax.Array:
        """The adapted weight as calls use it, in the dtype of the computation."""
        weight = self._stored().value  # type: ignore[union-attr]
        if not self.lora_enabled:
            return weight
        return (weight + self._addition()).astype(self.compute_dtype)

    def _read_adapted(self) -> Any:
        return self._weight() if self.lora_enabled else self._stored()

    def _addition(self) -> jax.Array:
        return self._strength * jnp.matmul(self._lora("a").value, self._lora("b").value)

    @property
    def _strength(self) -> float:
        return self.lora_alpha / self.lora_rank  # type: ignore[operator]

    def _lora(self, half: str) -> Variable:
        return getattr(self, f"lora_{self.adapted}_{half}")

    def enable_lora(
        self,
        rank: int,
        lora_alpha: float | None = None,
        a_initializer: Any = "he_uniform",
        b_initializer: Any = "zeros",
    ) -> None:
        """Freeze the weight and train `a · b` of this `rank` on top of it.

        Shapes: `a` is `(..., rank)` and `b` is `(rank, n)` for a weight `(..., n)`;
        both are float32. `lora_alpha` defaults to `rank`.
        """
        who, stored = self._who(), self._stored()
        if getattr(self, f"{self.adapted}_constraint") is not None:
            raise ValueError(
                f"{who}: LoRA cannot keep a constraint on its weight; leave "
                f"`{self.adapted}_constraint` out."
            )
        if stored is None:
            raise ValueError(
                f"{who} must be built before enable_lora, with a `{self.adapted}` in "
                "floats, int8 or int4: call it first."
            )
        if self.lora_enabled:
            raise ValueError(f"{who} has LoRA already, of rank {self.lora_rank}.")
        rank = positive_int(who, "rank", rank)
        shape = self._adapted_shape()
        regularizer = getattr(self, f"{self.adapted}_regularizer")
        for half, size, initializer in (
            ("a", (*shape[:-1], rank), a_initializer),
            ("b", (rank, shape[-1]), b_initializer),
        ):
            name = f"lora_{self.adapted}_{half}"
            # In full precision: small steps would be lost in 16 bits.
            variable = self.add_weight(
                size, initializer, "float32", regularizer=regularizer, name=name
            )
            setattr(self, name, variable)
        stored.trainable = False
        self.lora_enabled = True
        self.lora_rank = rank
        self.lora_alpha = rank if lora_alpha is None else lora_alpha

    def _start_lora(self) -> None:
        """What the constructor asked for; the end of `build`."""
        if self.lora_rank:
            self.enable_lora(self.lora_rank, self.lora_alpha)

    def _adapted_shape(self) -> tuple[int, ...]:
        return self._stored().shape  # type: ignore[union-attr]

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments, with the adaptation in force if there is one."""
        config = super().get_config()
        own = {"lora_rank": self.lora_rank, "lora_alpha": self.lora_alpha}
        config = {k: v for k, v in config.items() if k not in own}
        return config | own if self.lora_rank else config

    # --- Files hold the sum -----------------------------------------------------------

    def _saved_variables(self) -> list[Variable]:
        own = super()._saved_variables()
        if not self.lora_enabled:
            return own
        added = {id(self._lora(half)) for half in "ab"}
        return [v for v in own if id(v) not in added]

    def _merged(self) -> dict[Variable, Any]:
        """What files hold in place of the variables that the addition changes."""
        stored = self._stored()
        return {stored: (stored.raw + self._addition()).astype(stored.dtype)}  # type: ignore[union-attr,dict-item]

    def save_own_variables(self, store: dict[str, Any]) -> None:
        """Put the layer's own variables into `store`, the addition merged in."""
        merged = self._merged() if self.lora_enabled else {}
        for i, variable in enumerate(self._saved_variables()):
            store[str(i)] = merged.get(variable, variable)

    def load_own_variables(self, store: Any) -> None:
        """Take the layer's own variables from `store`; an addition starts from zero."""
        super().load_own_variables(store)
        if self.lora_enabled:
            for half in "ab":
                self._lora(half).assign(jnp.zeros(self._lora(half).shape))


def adapted_weight(name: str) -> property:
    """A weight as an attribute: its variable, or the sum with a low-rank addition."""

    def get(self: Any) -> Any:
        if f"_{name}" not in self.__dict__ and not self._is_quantized:
            raise AttributeError(f"{self._who()} has no `{name}` before it is built.")
        return self._read_adapted()

    def put(self: Any, value: Variable) -> None:
        setattr(self, f"_{name}", value)

    return property(get, put, doc=f"The weight `{name}`, with what LoRA adds to it.")
