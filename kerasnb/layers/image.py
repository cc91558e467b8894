"""Layers that give images of one size, in training and in use."""

from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from kerasnb.layers.arguments import choice, positive_int
from kerasnb.layers.augment import Geometric, Transformation
from kerasnb.ops import image
from kerasnb.ops.image import fit_inside, spatial


class _Sized(Geometric):
    """A layer that makes images of `height` and `width`, also outside of training."""

    always = True

    def __init__(
        self, height: int, width: int, data_format: str | None, **kwargs: Any
    ) -> None:
        super().__init__(data_format, **kwargs)
        who = type(self).__name__
        self.height = positive_int(who, "height", height)
        self.width = positive_int(who, "width", width)

    def _new_size(self, height: Any, width: Any) -> tuple[Any, Any]:
        return self.height, self.width

    def _fit(self, images: jax.Array, interpolation: str) -> jax.Array:
        """The largest window of the right proportions, in the right size."""
        return image.resize(
            images,
            (self.height, self.width),
            interpolation,
            crop_to_aspect_ratio=True,
            data_format=self.data_format,
        )

    def _fit_boxes(self, boxes: jax.Array, size: Any) -> jax.Array:
        """Boxes after `_fit`."""
        top, left, height, width = fit_inside(
            size[0], size[1], (self.height, self.width)
        )
        scale = (self.width / width, self.height / height)
        start = jnp.asarray([left, top, left, top], boxes.dtype)
        return (boxes - start) * jnp.asarray(scale * 2, boxes.dtype)


class CenterCrop(_Sized):
    """The middle of images; smaller images are cropped in proportion and enlarged.

    Shapes: `(..., h, w, channels) -> (..., height, width, channels)`; channels before
    the height with `"channels_first"`.

    >>> CenterCrop(2, 3)(jnp.ones((1, 4, 4, 3))).shape
    (1, 2, 3, 3)
    """

    def __init__(
        self, height: int, width: int, data_format: str | None = None, **kwargs: Any
    ) -> None:
        super().__init__(height, width, data_format, **kwargs)

    def _move(
        self, images: jax.Array, drawn: Transformation, interpolation: str
    ) -> jax.Array:
        rows, columns = spatial(self.data_format)
        spare = (
            images.shape[rows] - self.height,
            images.shape[columns] - self.width,
        )
        if min(spare) < 0:
            return self._fit(images, interpolation)
        for axis, extra, length in zip(
            (rows, columns), spare, (self.height, self.width), strict=True
        ):
            start = extra // 2
            images = lax.slice_in_dim(images, start, start + length, axis=axis)
        return images

    def _move_boxes(
        self, boxes: jax.Array, drawn: Transformation, size: Any
    ) -> jax.Array:
        top, left = size[0] - self.height, size[1] - self.width
        if min(top, left) < 0:
            return self._fit_boxes(boxes, size)
        start = [left // 2, top // 2] * 2
        return boxes - jnp.asarray(start, boxes.dtype)


class Resizing(_Sized):
    """Images of another size; the proportions kept by cropping or padding if asked.

    `interpolation` is "bilinear", "nearest", "bicubic", "lanczos3" or "lanczos5".
    Shapes: `(..., h, w, channels) -> (..., height, width, channels)`; channels before
    the height with `"channels_first"`. Integers stay integers.

    >>> Resizing(2, 3)(jnp.ones((1, 4, 4, 3))).shape
    (1, 2, 3, 3)
    """

    keeps_dtype = True

    def __init__(
        self,
        height: int,
        width: int,
        interpolation: str = "bilinear",
        crop_to_aspect_ratio: bool = False,
        pad_to_aspect_ratio: bool = False,
        fill_mode: str = "constant",
        fill_value: float = 0.0,
        antialias: bool = False,
        data_format: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(height, width, data_format, **kwargs)
        who = "Resizing"
        options = image.RESIZE_METHODS
        self.interpolation = choice(who, "interpolation", interpolation, options)
        self.crop_to_aspect_ratio = crop_to_aspect_ratio
        self.pad_to_aspect_ratio = pad_to_aspect_ratio
        self.fill_mode = choice(who, "fill_mode", fill_mode, ("constant",))
        self.fill_value = fill_value
        self.antialias = bool(antialias)

    def _move(
        self, images: jax.Array, drawn: Transformation, interpolation: str
    ) -> jax.Array:
        if jnp.issubdtype(images.dtype, jnp.floating):
            images = images.astype(self.compute_dtype)
        return image.resize(
            images,
            (self.height, self.width),
            interpolation,
            self.antialias,
            self.crop_to_aspect_ratio,
            self.pad_to_aspect_ratio,
            self.fill_mode,
            self.fill_value,
            self.data_format,
        )

    def _move_boxes(
        self, boxes: jax.Array, drawn: Transformation, size: Any
    ) -> jax.Array:
        height, width = size
        scale_x, scale_y, left, top = self.width / width, self.height / height, 0, 0
        if self.pad_to_aspect_ratio:
            scale_x = scale_y = min(scale_x, scale_y)
            left = (self.width - width * scale_x) // 2
            top = (self.height - height * scale_y) // 2
        elif self.crop_to_aspect_ratio:
            scale_x = scale_y = max(scale_x, scale_y)
            left = -((width * scale_x - self.width) // 2)
            top = -((height * scale_y - self.height) // 2)
        # Rows of zeros, or of -1, only fill up the array.
        nothing = jnp.all(boxes == -1, -1) | jnp.all(boxes == 0, -1)
        scale = jnp.asarray([scale_x, scale_y] * 2, boxes.dtype)
        moved = boxes * scale + jnp.asarray([left, top] * 2, boxes.dtype)
        return jnp.where(nothing[..., None], 0.0, moved)
