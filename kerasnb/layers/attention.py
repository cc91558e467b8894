"""Attention: weighted means of values, the weights from comparing queries with keys."""

import math
import string
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from kerasnb import ops, random, regularizers
from kerasnb.core import settings
from kerasnb.core.configurable import serialize
from kerasnb.core.errors import check
from kerasnb.core.variable import Variable
from kerasnb.initializers import Initializer
from kerasnb.layers.activation import Softmax
from kerasnb.layers.arguments import choice, positive_int, share
from kerasnb.layers.einsum_dense import EinsumDense
from kerasnb.layers.layer import Layer
from kerasnb.layers.noise import Dropout
from kerasnb.layers.weighted import WeightedLayer

Array = jax.Array
Shape = Sequence[int | None]


class Attention(Layer):
    """Each query's mean of the values, weighted by how well their keys fit it.

        y = softmax(score(query, key)) · value

    `score` is `query · keyᵀ` (Luong et al., 2015) or, with `score_mode="concat"`, a
    trained number times the sum of `tanh(query + key)`; `use_scale` trains one more
    factor. The call takes `[query, value]`, the values being their own keys, or
    `[query, value, key]`; a `mask` of the same form leaves values out and sets the
    outputs of masked queries to zero; `use_causal_mask` hides later positions.

    Shapes: `[(b, t, d), (b, s, e), (b, s, d)] -> (b, t, e)`, and the weights
    `(b, t, s)` with `return_attention_scores`.

    >>> query, value = jnp.ones((2, 3, 4)), jnp.ones((2, 5, 4))
    >>> Attention()([query, value]).shape
    (2, 3, 4)
    """

    supports_masking = True

    def __init__(
        self,
        use_scale: bool = False,
        score_mode: str = "dot",
        dropout: float = 0.0,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        who = type(self).__name__
        self.use_scale = use_scale
        self.score_mode = choice(who, "score_mode", score_mode, ("dot", "concat"))
        self.dropout = share(who, "dropout", dropout)
        self.seed = seed
        if dropout > 0:
            self.seed_generator = random.SeedGenerator(seed)
        self.scale: Variable | None = None
        self.concat_score_weight: Variable | None = None

    def build(self, input_shape: Any) -> None:
        """Make the trained numbers of the score."""
        self._check_list("inputs", input_shape)
        if self.use_scale:
            self.scale = self.add_weight((), "ones", name="scale")
        if self.score_mode == "concat":
            self.concat_score_weight = self.add_weight(
                (), "ones", name="concat_score_weight"
            )

    def _check_list(self, name: str, given: Any) -> None:
        good = isinstance(given, list | tuple) and 2 <= len(given) <= 3
        if not good or any(isinstance(x, int) for x in given):
            words = "[query, value] or [query, value, key]"
            raise ValueError(
                f"{self._who()}: `{name}` must be a list {words}"
                f"{', a mask or None for each' if name == 'mask' else ''}."
            )

    def _calculate_scores(self, query: Array, key: Array) -> Array:
        """How well each key fits each query, `(b, t, s)`."""
        scale = None if self.scale is None else self.scale.value
        if self.concat_score_weight is None:
            scores = jnp.matmul(query, jnp.swapaxes(key, -2, -1))
            return scores if scale is None else scores * scale
        joined = query[..., :, None, :] + key[..., None, :, :]
        if scale is not None:
            joined = scale * joined
        return self.concat_score_weight.value * jnp.tanh(joined).sum(-1)

    def call(
        self,
        inputs: Sequence[Array],
        mask: Sequence[Array | None] | None = None,
        training: bool | None = False,
        return_attention_scores: bool = False,
        use_causal_mask: bool = False,
    ) -> Any:
        """The weighted means, and the weights when asked for."""
        self._check_list("inputs", inputs)
        query, value, *rest = inputs
        key = rest[0] if rest else value
        query_mask = value_mask = None
        if mask is not None:
            self._check_list("mask", mask)
            query_mask, value_mask = mask[0], mask[1]
        scores = self._calculate_scores(query, key)
        allowed = None if value_mask is None else value_mask.astype(bool)[..., None, :]
        if use_causal_mask:
            earlier = _earlier(scores.shape[-2], scores.shape[-1])
            allowed = earlier if allowed is None else allowed & earlier
        if allowed is not None:
            far = 65504.0 if scores.dtype == jnp.float16 else 1e9
            scores = jnp.where(allowed, scores, scores - far)
        weights = jax.nn.softmax(scores, -1)
        if training and self.dropout > 0:
            weights = random.dropout(weights, self.dropout, seed=self.seed_generator)
        means = jnp.matmul(weights, value)
        if query_mask is not None:
            means = jnp.where(query_mask.astype(bool)[..., None], means, 0)
        return (means, weights) if return_attention_scores else means

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        """The mask of the queries."""
        return mask[0] if isinstance(mask, list | tuple) else None


class AdditiveAttention(Attention):
    """Each query's mean of the values, weighted by a sum over `tanh(query + key)`.

        y = softmax(Σ scale · tanh(query + key)) · value

    `scale` is trained, one number for each feature. Inputs, masks and options as in
    `Attention`. (Bahdanau et al., 2015)

    Shapes: `[(b, t, d), (b, s, e), (b, s, d)] -> (b, t, e)`.

    >>> query, value = jnp.ones((2, 3, 4)), jnp.ones((2, 5, 4))
    >>> AdditiveAttention()([query, value]).shape
    (2, 3, 4)
    """

    def __init__(
        self, use_scale: bool = True, dropout: float = 0.0, **kwargs: Any
    ) -> None:
        super().__init__(use_scale=use_scale, dropout=dropout, **kwargs)
        self._config.setdefault("seed", None)

    def build(self, input_shape: Any) -> None:
        """Make the factors of the features."""
        self._check_list("inputs", input_shape)
        if self.use_scale:
            width = input_shape[0][-1]
            self.scale = self.add_weight((width,), "glorot_uniform", name="scale")

    def _calculate_scores(self, query: Array, key: Array) -> Array:
        fits = jnp.tanh(query[..., :, None, :] + key[..., None, :, :])
        return (fits if self.scale is None else self.scale.value * fits).sum(-1)


class _HeadAttention(WeightedLayer):
    """Attention of several heads: projections around one scaled dot product.

    Subclasses count the heads, `_heads` for queries and `_value_heads` for keys and
    values, and tell their sizes, `_size` and `_value_size`.
    """

    supports_masking = True
    _heads: int
    _value_heads: int
    _size: int
    _value_size: int
    _wanted_shape: tuple[int, ...] | None = None
    kernel_initializer: Any
    bias_initializer: Any

    def __init__(
        self,
        dropout: float,
        use_bias: bool,
        sliding_window: int | None,
        flash_attention: bool | None,
        kernel: tuple[Any, Any, Any],
        bias: tuple[Any, Any, Any],
        use_gate: bool,
        seed: int | None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        who = type(self).__name__
        self.dropout = share(who, "dropout", dropout)
        self.use_bias = use_bias
        if sliding_window is not None:
            positive_int(who, "sliding_window", sliding_window)
        self.sliding_window = sliding_window
        if flash_attention is None:
            flash_attention = settings.is_flash_attention_enabled()
        check(
            not (flash_attention and dropout > 0),
            who,
            "dropout",
            dropout,
            "0 with flash_attention=True, which draws no random numbers",
        )
        self._flash_attention = flash_attention
        self._describe("kernel", *kernel)
        self._describe("bias", *bias)
        self.use_gate = use_gate
        self.seed = seed
        self.attention_axes: Sequence[int] | None = None

    # --- Weights ----------------------------------------------------------------------

    def build(  # type: ignore[override]
        self, query_shape: Shape, value_shape: Shape, key_shape: Shape | None = None
    ) -> None:
        """Make the projections of the queries, keys and values, and of the result."""
        key_shape = value_shape if key_shape is None else key_shape
        for what, shape in (("queries", query_shape), ("values", value_shape)):
            if len(shape) < 3:
                raise ValueError(
                    f"{self._who()} expects at least 3 axes and got {what} of shape "
                    f"{tuple(shape)}."
                )
        if tuple(value_shape[1:-1]) != tuple(key_shape[1:-1]):
            raise ValueError(
                f"{self._who()} needs a key for each value and got values of shape "
                f"{tuple(value_shape)} and keys of shape {tuple(key_shape)}."
            )
        heads, others = self._heads, self._value_heads
        self._query_dense = self._into_heads("query", query_shape, heads, self._size)
        self._key_dense = self._into_heads("key", key_shape, others, self._size)
        if self.use_gate:
            self._gate_dense = self._into_heads(
                "gate", query_shape, heads, self._value_size, activation="sigmoid"
            )
        self._value_dense = self._into_heads(
            "value", value_shape, others, self._value_size
        )
        self._plan(len(value_shape))
        axes = len(self.attention_axes or ())
        self._softmax = Softmax(tuple(range(-axes, 0)), dtype=self.dtype_policy)
        self._dropout_layer = Dropout(
            self.dropout, dtype=self.dtype_policy, seed=self.seed
        )
        lengths = self._wanted_shape or (query_shape[-1],)
        self._output_dense = self._projection(
            "attention_output", len(query_shape) - 1, 2, lengths
        )
        self._output_dense.build((*query_shape[:-1], heads, self._value_size))

    def _into_heads(
        self, name: str, shape: Shape, heads: int, size: int, **options: Any
    ) -> EinsumDense:
        made = self._projection(name, len(shape) - 1, 1, (heads, size), **options)
        made.build(tuple(shape))
        return made

    def _projection(
        self, name: str, free: int, bound: int, lengths: Sequence, **options: Any
    ) -> EinsumDense:
        """A product over the last `bound` axes; the `free` ones before them stay."""
        letters = string.ascii_lowercase
        kept, summed = letters[:free], letters[free : free + bound]
        made = letters[free + bound : free + bound + len(lengths)]
        return EinsumDense(
            f"{kept}{summed},{summed}{made}->{kept}{made}",
            output_shape=(*(None,) * (free - 1), *lengths),
            bias_axes=made if self.use_bias else None,
            # One initializer would give equal projections.
            kernel_initializer=_clone(self.kernel_initializer),
            bias_initializer=_clone(self.bias_initializer),
            activity_regularizer=self._projection_regularizer,
            dtype=self.dtype_policy,
            name=name,
            **{
                f"{weight}_{part}": getattr(self, f"{weight}_{part}")
                for weight in ("kernel", "bias")
                for part in ("regularizer", "constraint")
            },
            **options,
        )

    @property
    def _projection_regularizer(self) -> Any:
        return self.activity_regularizer

    def _plan(self, rank: int) -> None:
        """Write the two products, of queries with keys and of weights with values."""
        axes = self.attention_axes
        if axes is None:
            axes = range(1, rank - 1)
        self.attention_axes = tuple(a if a >= 0 else rank + a for a in axes)
        query, other = list(string.ascii_lowercase[: rank + 1]), {}
        for axis, letter in zip(
            self.attention_axes, string.ascii_lowercase[rank + 1 :], strict=False
        ):
            other[axis] = letter
        key = [other.get(axis, letter) for axis, letter in enumerate(query)]
        shared = [query[axis] for axis in range(rank) if axis not in other]
        attended = [query[axis] for axis in other] + [*other.values()]
        q, k, scores = ("".join(x) for x in (query, key, shared + attended))
        self._dot_product_equation = f"{k},{q}->{scores}"
        self._combine_equation = f"{scores},{k}->{q}"

    # --- Calls ------------------------------------------------------------------------

    def call(
        self,
        query: Array,
        value: Array,
        key: Array | None = None,
        query_mask: Array | None = None,
        value_mask: Array | None = None,
        key_mask: Array | None = None,
        attention_mask: Array | None = None,
        return_attention_scores: bool = False,
        training: bool | None = None,
        use_causal_mask: bool = False,
    ) -> Any:
        """The projected means, and the weights of each head when asked for."""
        key = value if key is None else key
        masks = (query_mask, value_mask, key_mask, attention_mask)
        # The only mask by far most often; its own path needs no matrix of it. A method
        # that a subclass has replaced may not know of it.
        causal = (
            use_causal_mask
            and self.sliding_window is None
            and all(mask is None for mask in masks)
            and type(self)._compute_attention is _HeadAttention._compute_attention
        )
        if not causal:
            attention_mask = self._compute_attention_mask(
                query, value, *masks, use_causal_mask=use_causal_mask
            )
        gate = self._gate_dense(query) if self.use_gate else None
        means, scores = self._compute_attention(
            self._query_dense(query),
            self._key_dense(key),
            self._value_dense(value),
            attention_mask,
            training=training,
            return_attention_scores=return_attention_scores,
            **({"use_causal_mask": True} if causal else {}),
        )
        out = self._output_dense(means if gate is None else means * gate)
        return (out, scores) if return_attention_scores else out

    def _compute_attention_mask(
        self,
        query: Array,
        value: Array,
        query_mask: Array | None = None,
        value_mask: Array | None = None,
        key_mask: Array | None = None,
        attention_mask: Array | None = None,
        use_causal_mask: bool = False,
    ) -> Array | None:
        """Where a query may look, `(b, t, s)`: wherever no mask forbids it."""
        steps, others = query.shape[1], value.shape[1]
        allowed = [
            None if query_mask is None else query_mask.astype(bool)[..., :, None],
            None if value_mask is None else value_mask.astype(bool)[..., None, :],
            None if key_mask is None else key_mask.astype(bool)[..., None, :],
            None if attention_mask is None else attention_mask.astype(bool),
        ]
        if use_causal_mask:
            allowed.append(_earlier(steps, others))
        if self.sliding_window is not None:
            between = jnp.arange(steps)[:, None] - jnp.arange(others)
            allowed.append((abs(between) < self.sliding_window)[None])
        merged = None
        for mask in allowed:
            if mask is not None:
                merged = mask if merged is None else merged & mask
        return merged

    def _compute_attention(
        self,
        query: Array,
        key: Array,
        value: Array,
        attention_mask: Array | None = None,
        training: bool | None = None,
        return_attention_scores: bool = False,
        use_causal_mask: bool = False,
    ) -> tuple[Array, Array | None]:
        """The means of each head and, when they are at hand, their weights.

        Subclasses may replace it; `query`, `key` and `value` are split into heads.
        """
        if self._flash_attention and return_attention_scores:
            raise ValueError(
                f"{self._who()} cannot return attention scores with flash attention, "
                "which never holds them; pass flash_attention=False."
            )
        fused = query.ndim == 4 and not (self.dropout > 0 or return_attention_scores)
        if use_causal_mask and not fused:
            earlier = _earlier(query.shape[1], value.shape[1])
            attention_mask = (
                earlier if attention_mask is None else attention_mask & earlier
            )
        if attention_mask is not None:
            # A mask may lack the axis of the heads, the one before the attended axes.
            attended = len(self.attention_axes or ())
            while attention_mask.ndim < query.ndim + attended - 1:
                attention_mask = jnp.expand_dims(attention_mask, -2 * attended - 1)
        scale = 1 / math.sqrt(self._size)
        if fused:
            means = ops.dot_product_attention(
                query,
                key,
                value,
                mask=attention_mask,
                scale=scale,
                is_causal=use_causal_mask,
                flash_attention=self._flash_attention,
            )
            return means, None
        if (repeats := self._heads // self._value_heads) > 1:
            key, value = (jnp.repeat(x, repeats, axis=-2) for x in (key, value))
        query = query * jnp.asarray(scale, query.dtype)
        weights = jnp.einsum(self._dot_product_equation, key, query)
        weights = self._softmax(weights, mask=attention_mask)
        kept = weights
        if self.dropout > 0:
            kept = self._dropout_layer(weights, training=training)
        return jnp.einsum(self._combine_equation, kept, value), weights


def _earlier(steps: int, others: int) -> Array:
    """Where no later position is seen, `(1, steps, others)`."""
    return jnp.tri(steps, others, dtype=bool)[None]


def _clone(initializer: Any) -> Any:
    return initializer.clone() if isinstance(initializer, Initializer) else initializer


class MultiHeadAttention(_HeadAttention):
    """Attention of several heads, each on its own projections of the inputs.

        head = softmax(query · Wq · (key · Wk)ᵀ / sqrt(key_dim)) · value · Wv
        y = concatenate(heads) · Wo

    The call takes `query, value` and, where it is not the values, `key`. Masks of the
    inputs, an `attention_mask` that is True where a query may look,
    `use_causal_mask` and `sliding_window` (positions less than so far apart) all hold
    at once. `use_gate` multiplies the heads by a sigmoid of the query. `output_shape`
    replaces the last axis; `attention_axes` are those attended over, all by default.
    `flash_attention` is None for the device's fused kernel where there is one, True to
    insist on it, False to refuse it. (Vaswani et al., 2017)

    Shapes: `(b, t, d), (b, s, e), (b, s, f) -> (b, t, d)`, and the weights
    `(b, num_heads, t, s)` with `return_attention_scores`.

    >>> x = jnp.ones((2, 5, 8))
    >>> MultiHeadAttention(num_heads=2, key_dim=4)(x, x, use_causal_mask=True).shape
    (2, 5, 8)
    """

    def __init__(
        self,
        num_heads: int,
        key_dim: int,
        value_dim: int | None = None,
        dropout: float = 0.0,
        use_bias: bool = True,
        output_shape: int | Sequence[int] | None = None,
        attention_axes: int | Sequence[int] | None = None,
        sliding_window: int | None = None,
        flash_attention: bool | None = None,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        bias_constraint: Any = None,
        use_gate: bool = False,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        who = "MultiHeadAttention"
        positive_int(who, "num_heads", num_heads)
        positive_int(who, "key_dim", key_dim)
        if value_dim is not None:
            positive_int(who, "value_dim", value_dim)
        super().__init__(
            dropout,
            use_bias,
            sliding_window,
            flash_attention,
            (kernel_initializer, kernel_regularizer, kernel_constraint),
            (bias_initializer, bias_regularizer, bias_constraint),
            use_gate,
            seed,
            **kwargs,
        )
        self.num_heads = self._heads = self._value_heads = num_heads
        self.key_dim = self._size = key_dim
        self.value_dim = self._value_size = value_dim or key_dim
        self._wanted_shape = _ints(who, "output_shape", output_shape)
        # The attribute `output_shape` is not set: in Keras it belongs to models.
        self._config["output_shape"] = self._wanted_shape
        if isinstance(attention_axes, int) or attention_axes is None:
            self.attention_axes = _ints(who, "attention_axes", attention_axes)
        else:
            _ints(who, "attention_axes", attention_axes)
            self.attention_axes = attention_axes
        # It is for the projections; the attribute of its name would act on the output.
        self._activity_regularizer = regularizers.get(activity_regularizer)

    @property
    def _projection_regularizer(self) -> Any:
        return self._activity_regularizer

    @property
    def query_dense(self) -> EinsumDense:
        """The projection of the queries."""
        return self._query_dense

    @property
    def key_dense(self) -> EinsumDense:
        """The projection of the keys."""
        return self._key_dense

    @property
    def value_dense(self) -> EinsumDense:
        """The projection of the values."""
        return self._value_dense

    @property
    def output_dense(self) -> EinsumDense:
        """The projection of the heads, joined."""
        return self._output_dense

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments as plain data, for `from_config`."""
        regularizer = serialize(self._activity_regularizer)
        return {**super().get_config(), "activity_regularizer": regularizer}


def _ints(who: str, name: str, value: Any) -> tuple[int, ...] | None:
    """One integer or several as a tuple, None as it is."""
    if value is None:
        return None
    values = (value,) if isinstance(value, int) else value
    good = isinstance(values, list | tuple) and all(isinstance(v, int) for v in values)
    check(good, who, name, value, "an integer or a tuple of them")
    return tuple(values)


class GroupQueryAttention(_HeadAttention):
    """Attention of several heads in groups, each sharing one head of keys and values.

    `num_query_heads` must be a multiple of `num_key_value_heads`: equal numbers make it
    `MultiHeadAttention`, a single key and value head multi-query attention. Calls,
    masks and the other arguments as in `MultiHeadAttention`. (Ainslie et al., 2023)

    Shapes: `(b, t, d), (b, s, e), (b, s, f) -> (b, t, d)`, and the weights
    `(b, num_query_heads, t, s)` with `return_attention_scores`.

    >>> x = jnp.ones((2, 5, 8))
    >>> GroupQueryAttention(4, num_query_heads=4, num_key_value_heads=2)(x, x).shape
    (2, 5, 8)
    """

    def __init__(
        self,
        head_dim: int,
        num_query_heads: int,
        num_key_value_heads: int,
        dropout: float = 0.0,
        use_bias: bool = True,
        sliding_window: int | None = None,
        flash_attention: bool | None = None,
        kernel_initializer: Any = "glorot_uniform",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        bias_constraint: Any = None,
        use_gate: bool = False,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        who = "GroupQueryAttention"
        positive_int(who, "head_dim", head_dim)
        positive_int(who, "num_query_heads", num_query_heads)
        positive_int(who, "num_key_value_heads", num_key_value_heads)
        check(
            num_query_heads % num_key_value_heads == 0,
            who,
            "num_query_heads",
            num_query_heads,
            f"a multiple of num_key_value_heads={num_key_value_heads}",
        )
        super().__init__(
            dropout,
            use_bias,
            sliding_window,
            flash_attention,
            (kernel_initializer, kernel_regularizer, kernel_constraint),
            (bias_initializer, bias_regularizer, bias_constraint),
            use_gate,
            seed,
            activity_regularizer=activity_regularizer,
            **kwargs,
        )
        self.head_dim = self._size = self._value_size = head_dim
        self.num_query_heads = self._heads = num_query_heads
        self.num_key_value_heads = self._value_heads = num_key_value_heads
