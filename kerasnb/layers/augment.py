"""What all layers for images share: batches, dicts, boxes, masks, random draws.

A layer says how it draws (`_draw`) and what it does to a batch of images (`_apply`);
one that moves pixels says where boxes go, too. The rest follows: single images,
dicts with `"images"`, `"labels"`, `"bounding_boxes"` and `"segmentation_masks"`, both
data formats, training or not.
"""

from collections.abc import Callable, Mapping, Sequence
from numbers import Real
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp

from kerasnb import random
from kerasnb.core.errors import check
from kerasnb.layers.arguments import choice, data_format_of
from kerasnb.layers.layer import Layer
from kerasnb.ops._family import tensor
from kerasnb.ops.boxes import FORMATS, clip_to_image_size, convert_format, dense
from kerasnb.ops.image import spatial
from kerasnb.random import SeedGenerator

Transformation = Any


class Batch(NamedTuple):
    """How many images there are, and how large they are."""

    size: int
    height: int
    width: int
    shape: tuple[int, ...]


class Augmentation(Layer):
    """A layer that changes images, in training only unless it is `always` on.

    Takes one image or a batch, or a dict with `"images"` and perhaps `"labels"`,
    `"bounding_boxes"` (a dict of `"boxes"` and `"labels"`; they need
    `bounding_box_format`) and `"segmentation_masks"`, which follow the images.
    Gives floats, unless the layer `keeps_dtype`.
    """

    always: ClassVar[bool] = False
    keeps_dtype: ClassVar[bool] = False
    factor_bounds: ClassVar[tuple[float, float]] = (-1, 1)
    generator: SeedGenerator
    factor: tuple[float, float]

    def __init__(
        self,
        data_format: str | None = None,
        bounding_box_format: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        who = type(self).__name__
        # Boxes and labels keep their precision; the images alone are cast.
        self.autocast = False
        self.data_format = data_format_of(who, data_format)
        if bounding_box_format is not None:
            choice(who, "bounding_box_format", bounding_box_format, FORMATS)
        self.bounding_box_format = bounding_box_format
        self.built = True

    # --- To be written by subclasses --------------------------------------------------

    def _draw(self, batch: Batch, seed: Any) -> Transformation:
        """What is to be done to each image of a batch."""
        return {"input_shape": batch.shape}

    def _apply(self, images: jax.Array, drawn: Transformation) -> jax.Array:
        """A batch of images after a transformation."""
        raise NotImplementedError(f"{type(self).__name__} has no `_apply`.")

    def _labels(self, labels: Any, drawn: Transformation) -> Any:
        return labels

    def _masks(self, masks: jax.Array, drawn: Transformation) -> jax.Array:
        return masks

    def _boxes(self, boxes: dict[str, Any], drawn: Transformation) -> dict[str, Any]:
        return boxes

    # --- Arguments --------------------------------------------------------------------

    def _settle(self, **given: Any) -> None:
        """Check and keep `factor`, `value_range` and `seed`, as far as given."""
        who = type(self).__name__
        if "factor" in given:
            self.factor = span(who, "factor", given["factor"], self.factor_bounds)
        if "value_range" in given:
            pair = given["value_range"]
            good = isinstance(pair, list | tuple) and len(pair) == 2
            check(good, who, "value_range", pair, "two numbers, the least and the most")
            self.value_range = sorted(pair)
        if "seed" in given:
            self.seed = given["seed"]
            self.generator = SeedGenerator(self.seed)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments; always with the data format, as in Keras."""
        config = {**super().get_config(), "data_format": self.data_format}
        if self.bounding_box_format is None:
            config.pop("bounding_box_format", None)
        return config

    # --- What Keras' layers offer -----------------------------------------------------

    def get_random_transformation(
        self, data: Any, training: bool | None = True, seed: Any = None
    ) -> Transformation:
        """Draw what is to be done to `data`; None when there is nothing to do."""
        if not (training or self.always):
            return None
        images = data["images"] if isinstance(data, Mapping) else data
        shape = tuple(images.shape)
        rows, columns = spatial(self.data_format)
        count = shape[0] if len(shape) == 4 else 1
        batch = Batch(count, shape[rows], shape[columns], shape)
        if seed is None:
            seed = getattr(self, "generator", None)
        return self._draw(batch, seed)

    def transform_images(
        self,
        images: Any,
        transformation: Transformation = None,
        training: bool | None = True,
    ) -> jax.Array:
        """The images after `transformation`, which `get_random_transformation` drew."""
        x = jnp.asarray(tensor(images))
        if not self.keeps_dtype:
            x = x.astype(self.compute_dtype)
        if self._is_idle(transformation, training):
            return x
        return _as_batch(self._apply, x, transformation)

    def transform_labels(
        self,
        labels: Any,
        transformation: Transformation = None,
        training: bool | None = True,
    ) -> Any:
        """The labels of the images; they stay as they are unless images are mixed."""
        if self._is_idle(transformation, training):
            return labels
        return self._labels(labels, transformation)

    def transform_bounding_boxes(
        self,
        bounding_boxes: dict[str, Any],
        transformation: Transformation = None,
        training: bool | None = True,
    ) -> dict[str, Any]:
        """The boxes where they are after `transformation`.

        They are cut off at the edges; one that is left outside gets the label -1.
        """
        if self._is_idle(transformation, training):
            return bounding_boxes
        return self._boxes(bounding_boxes, transformation)

    def transform_segmentation_masks(
        self,
        segmentation_masks: Any,
        transformation: Transformation = None,
        training: bool | None = True,
    ) -> Any:
        """The masks after `transformation`; a pixel that moves keeps its class."""
        if self._is_idle(transformation, training):
            return segmentation_masks
        masks = jnp.asarray(tensor(segmentation_masks))
        return _as_batch(self._masks, masks, transformation)

    def _is_idle(self, transformation: Transformation, training: bool | None) -> bool:
        return not self.always and (not training or transformation is None)

    def transform_single_image(
        self, image: Any, transformation: Transformation, training: bool | None = True
    ) -> jax.Array:
        """`transform_images` of one image."""
        return self._single(self.transform_images, image, transformation, training)

    def transform_single_label(
        self, label: Any, transformation: Transformation, training: bool | None = True
    ) -> Any:
        """`transform_labels` of one label."""
        return self._single(self.transform_labels, label, transformation, training)

    def transform_single_bounding_box(
        self,
        bounding_box: dict[str, Any],
        transformation: Transformation,
        training: bool | None = True,
    ) -> dict[str, Any]:
        """`transform_bounding_boxes` of one image's boxes."""
        transform = self.transform_bounding_boxes
        return self._single(transform, bounding_box, transformation, training)

    def transform_single_segmentation_mask(
        self,
        segmentation_mask: Any,
        transformation: Transformation,
        training: bool | None = True,
    ) -> Any:
        """`transform_segmentation_masks` of one mask."""
        transform = self.transform_segmentation_masks
        return self._single(transform, segmentation_mask, transformation, training)

    def _single(self, transform: Any, value: Any, *how: Any) -> Any:
        batch = jax.tree.map(lambda x: jnp.asarray(tensor(x))[None], value)
        return jax.tree.map(lambda x: x[0], transform(batch, *how))

    # --- Calls ------------------------------------------------------------------------

    def call(self, data: Any, training: bool | None = True) -> Any:
        """The images, or the dict of images and what belongs to them, transformed."""
        parts = dict(data) if isinstance(data, Mapping) else {"images": data}
        rank = parts["images"].ndim
        expected = "one image (rank 3) or a batch of them (rank 4)"
        check(rank in (3, 4), type(self).__name__, "images", parts["images"], expected)
        if "bounding_boxes" in parts:
            self._check_box_format()
            boxes = dense(parts["bounding_boxes"], type(self).__name__)
            parts["bounding_boxes"] = boxes
        transformation = self.get_random_transformation(parts, training)
        for key, transform in (
            ("images", self.transform_images),
            ("bounding_boxes", self.transform_bounding_boxes),
            ("labels", self.transform_labels),
            ("segmentation_masks", self.transform_segmentation_masks),
        ):
            if key not in parts:
                continue
            how = (transformation, training)
            if rank == 3:
                parts[key] = self._single(transform, parts[key], *how)
            else:
                value = jax.tree.map(lambda x: jnp.asarray(tensor(x)), parts[key])
                parts[key] = transform(value, *how)
        return parts if isinstance(data, Mapping) else parts["images"]

    def _check_box_format(self) -> None:
        if self.bounding_box_format is None:
            who = type(self).__name__
            raise ValueError(
                f"{who} got bounding boxes and does not know what their four numbers "
                f'mean; make it with, for instance, {who}(bounding_box_format="xyxy").'
            )


class Geometric(Augmentation):
    """An augmentation that moves pixels: masks and boxes move with them."""

    interpolation = "bilinear"

    def _move(
        self, images: jax.Array, drawn: Transformation, interpolation: str
    ) -> jax.Array:
        """A batch of images or masks with their pixels elsewhere."""
        raise NotImplementedError(f"{type(self).__name__} has no `_move`.")

    def _move_boxes(
        self, boxes: jax.Array, drawn: Transformation, size: tuple[Any, Any]
    ) -> jax.Array:
        """Boxes `(batch, n, 4)` of left, top, right, bottom in pixels, elsewhere."""
        raise NotImplementedError(f"{type(self).__name__} cannot move bounding boxes.")

    def _new_size(self, height: Any, width: Any) -> tuple[Any, Any]:
        """The size of the images that `_move` makes."""
        return height, width

    def _apply(self, images: jax.Array, drawn: Transformation) -> jax.Array:
        return self._move(images, drawn, self.interpolation)

    def _masks(self, masks: jax.Array, drawn: Transformation) -> jax.Array:
        return self._move(masks, drawn, "nearest")

    def _boxes(self, boxes: dict[str, Any], drawn: Transformation) -> dict[str, Any]:
        self._check_box_format()
        form, (rows, columns) = str(self.bounding_box_format), spatial(self.data_format)
        size = drawn["input_shape"][rows], drawn["input_shape"][columns]
        new = self._new_size(*size)
        given = convert_format(boxes, form, "xyxy", *size)
        x = given["boxes"]
        moved = self._move_boxes(x[None] if x.ndim == 2 else x, drawn, size)
        if x.ndim == 2 and jnp.ndim(given["labels"]) == 1 and len(moved) == 1:
            moved = moved[0]  # the boxes of one image, not of a batch
        out = clip_to_image_size({**given, "boxes": moved}, *new)
        return convert_format(out, "xyxy", form, *new)


def _as_batch(fn: Callable, x: jax.Array, drawn: Transformation) -> jax.Array:
    """`fn` on a batch of images, or on one as a batch of one."""
    return fn(x[None], drawn)[0] if x.ndim == 3 else fn(x, drawn)


# --- Arguments ------------------------------------------------------------------------


def span(
    who: str,
    name: str,
    value: Any,
    bounds: tuple[float, float],
    strict: bool = False,
) -> tuple[float, float]:
    """A range of numbers from a pair, or from one number: as far below zero as above.

    One number must lie within `bounds`; a pair must overlap them, or lie within when
    `strict`.

    >>> span("RandomRotation", "factor", 0.2, (-1, 1))
    (-0.2, 0.2)
    """
    low, high = bounds
    if isinstance(value, Real):
        number: Any = value
        check(low <= number <= high, who, name, value, f"from {low} to {high}")
        return max(-abs(number), low), abs(number)
    good = isinstance(value, Sequence) and len(value) == 2
    good = good and not (value[0] > high or value[1] < low)
    good = good and not (strict and not (low <= min(value) and max(value) <= high))
    expected = f"a number from {low} to {high}, or two of them"
    check(good, who, name, value, expected)
    lower, upper = sorted(value)
    return lower, upper


def happens(batch: Batch, factor: tuple[float, float], seed: Any) -> jax.Array:
    """Which images something happens to, with a probability drawn from `factor`."""
    likely = random.uniform((batch.size,), *factor, seed=seed)
    return random.uniform((batch.size,), seed=seed) < likely


def per_image(values: Any, rank: int = 4) -> jax.Array:
    """One value for each image, with axes of length one for the rest."""
    return jnp.asarray(values).reshape(-1, *(1,) * (rank - 1))
