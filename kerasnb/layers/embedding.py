"""Vectors for whole numbers, and back: `Embedding`, `ReversibleEmbedding`."""

from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from kerasnb.core.masks import set_mask
from kerasnb.layers.arguments import positive_int
from kerasnb.layers.lora import adapted_weight
from kerasnb.layers.quantized import Layout, QuantizedLayer, coded_product
from kerasnb.quantizers import AbsMaxQuantizer


class Embedding(QuantizedLayer):
    """A trained vector for each of `input_dim` whole numbers.

    With `mask_zero` the number 0 stands for padding, and the output carries a mask.
    `lora_rank`, `enable_lora` and `quantize` are those of `Dense`.

    Shapes: `s -> s + (output_dim,)`; `embeddings` is `(input_dim, output_dim)`.

    >>> Embedding(1000, 8)(jnp.array([[3, 14, 15]])).shape
    (1, 3, 8)
    """

    adapted = "embeddings"
    embeddings = adapted_weight("embeddings")
    embeddings_initializer: Any
    _input_quantizers: ClassVar = {}

    def __init__(
        self,
        input_dim: int,
        output_dim: int,
        embeddings_initializer: Any = "uniform",
        embeddings_regularizer: Any = None,
        embeddings_constraint: Any = None,
        mask_zero: bool = False,
        weights: Any = None,
        lora_rank: int | None = None,
        lora_alpha: float | None = None,
        quantization_config: Any = None,
        **kwargs: Any,
    ) -> None:
        # The values are saved as weights, not as an argument.
        self._config.pop("weights", None)
        self._config.pop("input_length", None)
        kwargs.pop("input_length", None)  # an argument of older Keras versions
        super().__init__(
            lora_rank=lora_rank,
            lora_alpha=lora_alpha,
            quantization_config=quantization_config,
            **kwargs,
        )
        self._config.setdefault("activity_regularizer", None)
        who = type(self).__name__
        self.input_dim = positive_int(who, "input_dim", input_dim)
        self.output_dim = positive_int(who, "output_dim", output_dim)
        self._describe(
            "embeddings",
            embeddings_initializer,
            embeddings_regularizer,
            embeddings_constraint,
        )
        self.mask_zero = mask_zero
        self.supports_masking = mask_zero
        self.autocast = False  # whole numbers beyond 2048 have no float16
        if weights is not None:
            self.build()
            one = isinstance(weights, list) and len(weights) == 1
            self.set_weights(weights if one else [weights])

    def build(self, input_shape: Any = None) -> None:
        """Make the table of vectors."""
        if not self.built:
            self._make_adapted((self.input_dim, self.output_dim))
            self._start_lora()

    def _layout(self, name: str) -> Layout:
        return Layout((self.input_dim, self.output_dim), axes=(1,), axis=-1)

    def quantized_build(
        self, embeddings_shape: tuple[int, int], mode: str, config: Any = None
    ) -> None:
        """Make the variables that a mode needs for a table of that shape."""
        self._build_coded(mode, config)

    def call(self, inputs: jax.Array) -> jax.Array:
        """The vectors of the given numbers."""
        if self.quantization_mode is not None:
            return self.quantized_call(inputs)
        vectors = jnp.take(self._weight(), _indices(inputs), axis=0)
        return vectors.astype(self.compute_dtype)

    def quantized_call(self, inputs: jax.Array) -> jax.Array:
        """The vectors of the given numbers, out of a quantised table."""
        numbers = _indices(inputs)
        parts = self._parts("embeddings")
        rows = {part: jnp.take(table, numbers, axis=0) for part, table in parts.items()}
        vectors = self._decoded("embeddings", rows)
        if self.lora_enabled:
            low = jnp.take(self._lora("a").value, numbers, axis=0)
            vectors = vectors + self._strength * (low @ self._lora("b").value)
        return vectors.astype(self.compute_dtype)

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        """True where the number is not 0, with `mask_zero`."""
        return inputs != 0 if self.mask_zero else None


class ReversibleEmbedding(Embedding):
    """An embedding that also leads back, from vectors to a score for each number.

        embed:    y = embeddings[x]
        reverse:  scores = x · embeddingsᵀ, or soft_cap · tanh(scores / soft_cap)

    Called with `reverse=True` it projects back: with the same table, or with one of its
    own, `reverse_embeddings`, if `tie_weights` is False. `reverse_dtype` is the dtype
    of that product; `logit_soft_cap` keeps the scores within plus and minus itself.
    (Press & Wolf, Using the Output Embedding to Improve Language Models, 2016)

    Shapes: `s -> s + (output_dim,)`; in reverse `(..., output_dim)` gives
    `(..., input_dim)`.

    >>> layer = ReversibleEmbedding(1000, 8)
    >>> layer(layer(jnp.array([[3, 14, 15]])), reverse=True).shape
    (1, 3, 1000)
    """

    _input_quantizers: ClassVar = {"int8": AbsMaxQuantizer(), "int4": AbsMaxQuantizer()}

    def __init__(
        self,
        input_dim: int,
        output_dim: int,
        tie_weights: bool = True,
        embeddings_initializer: Any = "uniform",
        embeddings_regularizer: Any = None,
        embeddings_constraint: Any = None,
        mask_zero: bool = False,
        reverse_dtype: Any = None,
        logit_soft_cap: float | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            input_dim,
            output_dim,
            embeddings_initializer=embeddings_initializer,
            embeddings_regularizer=embeddings_regularizer,
            embeddings_constraint=embeddings_constraint,
            mask_zero=mask_zero,
            **kwargs,
        )
        self.tie_weights = tie_weights
        self.reverse_dtype = reverse_dtype
        self.logit_soft_cap = logit_soft_cap

    def build(self, input_shape: Any = None) -> None:
        """Make the table of vectors, and the one for the way back if it has its own."""
        if self.built:
            return
        super().build(input_shape)
        if not self.tie_weights and self.quantization_mode is None:
            self.reverse_embeddings = self.add_weight(
                (self.output_dim, self.input_dim),
                self.embeddings_initializer,
                name="reverse_embeddings",
            )

    @property
    def _coded(self) -> tuple[str, ...]:
        return ("embeddings",) + ("reverse_embeddings",) * (not self.tie_weights)

    def _layout(self, name: str) -> Layout:
        if name == "embeddings":
            return super()._layout(name)
        shape = (self.output_dim, self.input_dim)
        return Layout(shape, axes=(0,), axis=0, pack=0, zero_dtype=None)

    def call(self, inputs: jax.Array, reverse: bool = False) -> jax.Array:
        """The vectors of the given numbers; in reverse the scores of vectors."""
        if not reverse:
            vectors = super().call(inputs)
            mask = super().compute_mask(inputs)
            if mask is not None:
                set_mask(vectors, mask)
            return vectors
        if self.quantization_mode is not None:
            scores = self._quantized_scores(inputs)
        else:
            kernel = (
                self._weight().T if self.tie_weights else self.reverse_embeddings.value
            )
            dtype = self.reverse_dtype or self.compute_dtype
            scores = jnp.matmul(inputs.astype(dtype), kernel.astype(dtype))
        if self.logit_soft_cap is not None:
            scores = jnp.tanh(scores / self.logit_soft_cap) * self.logit_soft_cap
        return scores

    def quantized_call(self, inputs: jax.Array, reverse: bool = False) -> jax.Array:
        """The same with quantised tables."""
        return self.call(inputs, True) if reverse else super().quantized_call(inputs)

    def _quantized_scores(self, inputs: jax.Array) -> jax.Array:
        def product(x: jax.Array, table: jax.Array) -> jax.Array:
            whole = "int32" if x.dtype == "int8" else None
            table = table.T if self.tie_weights else table
            return jnp.matmul(x, table, preferred_element_type=whole)

        scores = coded_product(self, inputs, self._coded[-1], product)
        if self.lora_enabled and self.tie_weights:
            low = inputs @ self._lora("b").value.T
            scores = scores + self._strength * (low @ self._lora("a").value.T)
        return scores.astype(self.compute_dtype)

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        """None: the mask of embedded numbers is set in `call`."""
        return None

    def compute_output_shape(
        self, input_shape: tuple[int | None, ...], reverse: bool = False
    ) -> tuple[int | None, ...]:
        """The shape of the vectors, or of the scores in reverse."""
        if reverse:
            return (*input_shape[:-1], self.input_dim)
        return (*input_shape, self.output_dim)


def _indices(inputs: jax.Array) -> jax.Array:
    whole = inputs.dtype in (jnp.int32, jnp.int64)
    return inputs if whole else inputs.astype("int32")
