"""Layers that join several inputs into one."""

import functools
import operator
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from kerasnb.core.errors import check
from kerasnb.core.graph import KerasTensor
from kerasnb.core.masks import get_mask
from kerasnb.layers.layer import Layer

Shape = tuple[int | None, ...]


class Merge(Layer):
    """What joins have in common: a list of inputs, and shapes that must fit.

    A subclass says how the arrays are joined (`_join`) and which shape comes out
    (`_joined_shape`, None when the shapes do not fit).
    """

    supports_masking = True
    _rule: ClassVar[str] = "which do not broadcast"

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)

    def _join(self, inputs: list[jax.Array]) -> jax.Array:
        raise NotImplementedError

    def _joined_shape(self, shapes: list[Shape]) -> Shape | None:
        raise NotImplementedError

    def build(self, input_shape: list[Shape]) -> None:
        """Check that the inputs fit together; there are no weights."""
        self._check_shapes(input_shape)

    def _check_shapes(self, shapes: Any) -> Shape:
        """The shape of the result; an error naming the layer when there is none."""
        if not shapes or not all(isinstance(s, list | tuple) for s in shapes):
            raise ValueError(
                f"{self._who()} joins several inputs; pass them as one list."
            )
        joined = self._joined_shape([tuple(shape) for shape in shapes])
        if joined is None:
            *most, last = (str(tuple(shape)) for shape in shapes)
            raise ValueError(
                f"{self._who()} got shapes {', '.join(most)}{' and ' if most else ''}"
                f"{last}, {self._rule}."
            )
        return joined

    def compute_output_spec(self, inputs: Any) -> KerasTensor:
        """A placeholder for the result."""
        self._check_list(inputs)
        shape = self._check_shapes([x.shape for x in inputs])
        return KerasTensor(shape, self.compute_dtype)

    def call(self, inputs: Sequence[jax.Array]) -> jax.Array:
        """The inputs, joined."""
        self._check_list(inputs)
        self._check_shapes([x.shape for x in inputs])
        return self._join(list(inputs))

    def _check_list(self, inputs: Any) -> None:
        if not isinstance(inputs, list | tuple):
            raise ValueError(
                f"{self._who()} joins several inputs; pass them as one list."
            )

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        """True where any input is real; None when an input has no mask."""
        masks = mask or [None]
        if any(mask is None for mask in masks):
            return None
        return functools.reduce(jnp.logical_or, masks)


class _Elementwise(Merge):
    """Joins of arrays that broadcast; the batch is always the first axis."""

    def _joined_shape(self, shapes: list[Shape]) -> Shape | None:
        batches = {shape[0] for shape in shapes if shape} - {None}
        if len(batches) > 1:
            return None
        rest = tuple(shapes[0][1:])
        for shape in shapes[1:]:
            joined = _broadcast(rest, tuple(shape[1:]))
            if joined is None:
                return None
            rest = joined
        return (batches.pop() if batches else None, *rest)

    def _join(self, inputs: list[jax.Array]) -> jax.Array:
        rank = max(x.ndim for x in inputs)
        # An array that fits as it is stays the same object, for its mask.
        return self._combine([_insert_axes(x, rank - x.ndim) for x in inputs])

    def _combine(self, inputs: list[jax.Array]) -> jax.Array:
        raise NotImplementedError


def _insert_axes(x: jax.Array, count: int) -> jax.Array:
    if count == 0:
        return x
    return jnp.expand_dims(x, tuple(range(1, count + 1)))


def _broadcast(a: Shape, b: Shape) -> Shape | None:
    """The shape that `a` and `b` broadcast to, None when they do not."""
    length = max(len(a), len(b))
    joined: list[int | None] = []
    for i, j in zip(
        (1,) * (length - len(a)) + a, (1,) * (length - len(b)) + b, strict=True
    ):
        if i is None or j is None:
            joined.append(None)
        elif i == j or 1 in (i, j):
            joined.append(j if i == 1 else i)
        else:
            return None
    return tuple(joined)


class Add(_Elementwise):
    """The sum of all inputs. Shapes: a list of shapes that broadcast.

    >>> Add()([jnp.array([[1.0]]), jnp.array([[2.0]])]).tolist()
    [[3.0]]
    """

    def _combine(self, inputs: list[jax.Array]) -> jax.Array:
        return functools.reduce(operator.add, inputs)


class Subtract(_Elementwise):
    """The first input minus the second. Shapes: two shapes that broadcast.

    >>> Subtract()([jnp.array([[3.0]]), jnp.array([[2.0]])]).tolist()
    [[1.0]]
    """

    _rule = "not two shapes that broadcast"

    def _joined_shape(self, shapes: list[Shape]) -> Shape | None:
        return super()._joined_shape(shapes) if len(shapes) == 2 else None

    def _combine(self, inputs: list[jax.Array]) -> jax.Array:
        return inputs[0] - inputs[1]


class Multiply(_Elementwise):
    """The product of all inputs. Shapes: a list of shapes that broadcast.

    A masked step of an input counts as 1; the result is masked where all inputs are.

    >>> Multiply()([jnp.array([[3.0]]), jnp.array([[2.0]])]).tolist()
    [[6.0]]
    """

    def _combine(self, inputs: list[jax.Array]) -> jax.Array:
        masks = [_mask_for(x) for x in inputs]
        product = functools.reduce(
            operator.mul,
            [
                x if mask is None else jnp.where(mask, x, jnp.ones((), x.dtype))
                for x, mask in zip(inputs, masks, strict=True)
            ],
        )
        known = [mask for mask in masks if mask is not None]
        if len(known) < len(masks):
            return product
        real = functools.reduce(jnp.logical_or, known)
        return jnp.where(real, product, jnp.zeros((), product.dtype))


def _mask_for(x: jax.Array) -> jax.Array | None:
    """The mask of `x` in the shape of `x`."""
    mask = get_mask(x)
    return None if mask is None else jnp.broadcast_to(mask[..., None], x.shape)


class Average(_Elementwise):
    """The mean of all inputs. Shapes: a list of shapes that broadcast.

    >>> Average()([jnp.array([[1.0]]), jnp.array([[2.0]])]).tolist()
    [[1.5]]
    """

    def _combine(self, inputs: list[jax.Array]) -> jax.Array:
        return functools.reduce(operator.add, inputs) / len(inputs)


def _choose(inputs: list[jax.Array], better: Callable) -> jax.Array:
    """The best of the inputs, leaving out masked steps where another one is real."""
    best, real = inputs[0], _mask_for(inputs[0])
    for x in inputs[1:]:
        mask = _mask_for(x)
        if mask is not None:
            x = jnp.where(mask, x, best)
        if real is not None:
            best = jnp.where(real, best, x)
        real = None if mask is None or real is None else jnp.logical_or(mask, real)
        best = better(best, x)
    return best


class Maximum(_Elementwise):
    """The largest of all inputs, element by element. Shapes: shapes that broadcast.

    >>> Maximum()([jnp.array([[1.0]]), jnp.array([[2.0]])]).tolist()
    [[2.0]]
    """

    def _combine(self, inputs: list[jax.Array]) -> jax.Array:
        return _choose(inputs, jnp.maximum)


class Minimum(_Elementwise):
    """The smallest of all inputs, element by element. Shapes: shapes that broadcast.

    >>> Minimum()([jnp.array([[1.0]]), jnp.array([[2.0]])]).tolist()
    [[1.0]]
    """

    def _combine(self, inputs: list[jax.Array]) -> jax.Array:
        return _choose(inputs, jnp.minimum)


class Concatenate(Merge):
    """All inputs one after the other along `axis`.

    Shapes: shapes that agree except along `axis`, where the lengths add up.

    >>> Concatenate()([jnp.array([[1.0]]), jnp.array([[2.0, 3.0]])]).tolist()
    [[1.0, 2.0, 3.0]]
    """

    def __init__(self, axis: int = -1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.axis = axis

    @property
    def _rule(self) -> str:  # type: ignore[override]
        return f"which differ in more than the axis to join, {self.axis}"

    def _joined_shape(self, shapes: list[Shape]) -> Shape | None:
        rank = len(shapes[0])
        if not -rank <= self.axis < rank or any(len(s) != rank for s in shapes):
            return None
        joined: list[int | None] = []
        for axis, lengths in enumerate(zip(*shapes, strict=True)):
            known = {length for length in lengths if length is not None}
            if axis == self.axis % rank:
                joined.append(None if None in lengths else sum(lengths))
            elif len(known) > 1:
                return None
            else:
                joined.append(known.pop() if known else None)
        return tuple(joined)

    def _join(self, inputs: list[jax.Array]) -> jax.Array:
        return jnp.concatenate(inputs, self.axis)

    def compute_mask(self, inputs: Any, mask: Any = None) -> Any:
        """The masks, joined as the inputs are; an input without one is all real."""
        if not mask or all(own is None for own in mask):
            return None
        masks = []
        for x, own in zip(inputs, mask, strict=True):
            if own is None:
                own = jnp.ones(x.shape, bool)
            elif own.ndim < x.ndim:
                own = jnp.broadcast_to(own[..., None], x.shape)
            masks.append(own)
        return jnp.concatenate(masks, self.axis).any(-1)


class Dot(Merge):
    """Sums of products of two inputs along an axis of each, sample by sample.

    `axes` is one axis for both inputs or a pair; `normalize` scales the inputs to
    length 1 along them first, which gives cosines.

    Shapes: `(batch, ..a.., n, ..b..), (batch, ..c.., n, ..d..) -> (batch, ..a.., ..b..,
    ..c.., ..d..)`, and `(batch, 1)` for two vectors.

    >>> Dot(axes=1)([jnp.array([[1.0, 2.0]]), jnp.array([[3.0, 4.0]])]).tolist()
    [[11.0]]
    """

    def __init__(
        self, axes: int | Sequence[int], normalize: bool = False, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        expected = "an integer or a pair of integers"
        if not isinstance(axes, int):
            if not isinstance(axes, list | tuple):
                raise TypeError(f"Dot: `axes` must be {expected}, not {axes!r}.")
            good = len(axes) == 2 and all(isinstance(axis, int) for axis in axes)
            check(good, "Dot", "axes", axes, expected)
        self.axes = axes
        self.normalize = normalize

    @property
    def _rule(self) -> str:  # type: ignore[override]
        return f"not two shapes of equal lengths along axes={self.axes}, batch aside"

    def _pair(self, shapes: Sequence[Shape]) -> tuple[int, int] | None:
        """The axis of each input, both counted from 0; None when one has no such."""
        axes = [self.axes] * 2 if isinstance(self.axes, int) else self.axes
        first, second = zip(axes, shapes, strict=True)
        if any(not -len(shape) <= axis < len(shape) for axis, shape in (first, second)):
            return None
        return first[0] % len(first[1]), second[0] % len(second[1])

    def _joined_shape(self, shapes: list[Shape]) -> Shape | None:
        if len(shapes) != 2 or min(len(shape) for shape in shapes) < 2:
            return None
        if (pair := self._pair(shapes)) is None:
            return None
        first, second = pair
        a, b = list(shapes[0]), list(shapes[1])
        lengths, batches = {a[first], b[second]} - {None}, {a[0], b[0]} - {None}
        if 0 in (first, second) or len(lengths) > 1 or len(batches) > 1:
            return None
        del a[first], b[second], b[0]
        return (*a, *b) if len(a) + len(b) > 1 else (a[0], 1)

    def _join(self, inputs: list[jax.Array]) -> jax.Array:
        x, y = inputs
        first, second = self._pair([x.shape, y.shape]) or (0, 0)  # checked by `build`
        if self.normalize:
            x, y = _unit(x, first), _unit(y, second)
        out = jax.lax.dot_general(x, y, (((first,), (second,)), ((0,), (0,))))
        return out if out.ndim > 1 else out[:, None]

    def compute_mask(self, inputs: Any, mask: Any = None) -> None:
        """A product has no steps left to mask."""
        return


def _unit(x: jax.Array, axis: int) -> jax.Array:
    square = jnp.square(x).sum(axis, keepdims=True)
    return x * jax.lax.rsqrt(jnp.maximum(square, 1e-12))


# --- The same as functions ------------------------------------------------------------


def add(inputs: Sequence[Any], **kwargs: Any) -> Any:
    """The sum of all inputs: `Add(**kwargs)(inputs)`."""
    return Add(**kwargs)(inputs)


def subtract(inputs: Sequence[Any], **kwargs: Any) -> Any:
    """The first input minus the second: `Subtract(**kwargs)(inputs)`."""
    return Subtract(**kwargs)(inputs)


def multiply(inputs: Sequence[Any], **kwargs: Any) -> Any:
    """The product of all inputs: `Multiply(**kwargs)(inputs)`."""
    return Multiply(**kwargs)(inputs)


def average(inputs: Sequence[Any], **kwargs: Any) -> Any:
    """The mean of all inputs: `Average(**kwargs)(inputs)`."""
    return Average(**kwargs)(inputs)


def maximum(inputs: Sequence[Any], **kwargs: Any) -> Any:
    """The largest of all inputs: `Maximum(**kwargs)(inputs)`."""
    return Maximum(**kwargs)(inputs)


def minimum(inputs: Sequence[Any], **kwargs: Any) -> Any:
    """The smallest of all inputs: `Minimum(**kwargs)(inputs)`."""
    return Minimum(**kwargs)(inputs)


def concatenate(inputs: Sequence[Any], axis: int = -1, **kwargs: Any) -> Any:
    """All inputs one after the other: `Concatenate(axis, **kwargs)(inputs)`."""
    return Concatenate(axis=axis, **kwargs)(inputs)


def dot(inputs: Sequence[Any], axes: Any = -1, **kwargs: Any) -> Any:
    """Sums of products of two inputs: `Dot(axes, **kwargs)(inputs)`."""
    return Dot(axes=axes, **kwargs)(inputs)
