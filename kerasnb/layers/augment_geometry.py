"""Layers that move the pixels of images in training; masks and boxes move with them.

Most of them are a matrix: the pixel at `p` of the result is read at `matrix @ p`. The
same matrix moves the masks; its inverse moves the boxes.
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from kerasnb import random
from kerasnb.layers.arguments import choice, positive_int, share
from kerasnb.layers.augment import (
    Batch,
    Geometric,
    Transformation,
    happens,
    per_image,
    span,
)
from kerasnb.ops import image
from kerasnb.ops.boxes import project_boxes
from kerasnb.ops.image import ORDERS, affine_matrix, fit_inside, homography, spatial

Range = Sequence[float]


class RandomFlip(Geometric):
    """Half of the images mirrored in training: left and right, up and down, or both.

    `mode` is "horizontal", "vertical" or "horizontal_and_vertical". An image is
    mirrored in all directions of the mode or in none.
    Shapes: `(..., height, width, channels)`, unchanged.

    >>> sorted(RandomFlip("horizontal")(jnp.array([[[1.0], [2.0]]])).ravel().tolist())
    [1.0, 2.0]
    """

    def __init__(
        self,
        mode: str = "horizontal_and_vertical",
        seed: int | None = None,
        data_format: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(data_format, **kwargs)
        options = ("horizontal", "vertical", "horizontal_and_vertical")
        self.mode = choice("RandomFlip", "mode", mode, options)
        self._settle(seed=seed)

    def _draw(self, batch: Batch, seed: Any) -> Transformation:
        flips = random.uniform((batch.size, 1, 1, 1), seed=seed) <= 0.5
        return {"flips": flips, "input_shape": batch.shape}

    def _move(
        self, images: jax.Array, drawn: Transformation, interpolation: str
    ) -> jax.Array:
        both = zip(spatial(self.data_format), _DIRECTIONS, strict=True)
        axes = [axis for axis, direction in both if direction in self.mode]
        flips = jnp.asarray(drawn["flips"])
        return jnp.where(flips, jnp.flip(images, axes), images)

    def _move_boxes(
        self, boxes: jax.Array, drawn: Transformation, size: Any
    ) -> jax.Array:
        left, top, right, bottom = (boxes[..., i] for i in range(4))
        if "horizontal" in self.mode:
            left, right = size[1] - right, size[1] - left
        if "vertical" in self.mode:
            top, bottom = size[0] - bottom, size[0] - top
        flips = jnp.asarray(drawn["flips"]).reshape(-1, 1, 1)
        return jnp.where(flips, jnp.stack([left, top, right, bottom], -1), boxes)


_DIRECTIONS = ("vertical", "horizontal")  # of the rows and of the columns


class RandomCrop(Geometric):
    """A random window of the images in training, the same for the whole batch.

    Outside of training, and for images that are not larger both ways, it is the
    largest centred window of the right proportions, resized.
    Shapes: `(..., h, w, channels) -> (..., height, width, channels)`.

    >>> RandomCrop(2, 2)(jnp.ones((1, 4, 4, 3))).shape
    (1, 2, 2, 3)
    """

    always = True

    def __init__(
        self,
        height: int,
        width: int,
        seed: int | None = None,
        data_format: str | None = None,
        name: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(data_format, name=name, **kwargs)
        self.height = positive_int("RandomCrop", "height", height)
        self.width = positive_int("RandomCrop", "width", width)
        drawn = random.make_default_seed() if seed is None else seed
        self._settle(seed=seed)
        self.seed = drawn

    def get_random_transformation(
        self, data: Any, training: bool | None = True, seed: Any = None
    ) -> Transformation:
        """The top and left of the window in training; None for the centred one."""
        rows, columns = spatial(self.data_format)
        shape = (data["images"] if isinstance(data, dict) else data).shape
        spare = shape[rows] - self.height, shape[columns] - self.width
        start: Any = None
        if training and min(spare) > 0:
            seed = self.generator if seed is None else seed
            start = [
                random.uniform((), 0, float(n + 1), seed=seed).astype("int32")
                for n in spare
            ]
        return {"start": start, "input_shape": tuple(shape)}

    def _move(
        self, images: jax.Array, drawn: Transformation, interpolation: str
    ) -> jax.Array:
        size = (self.height, self.width)
        axes = [axis % images.ndim for axis in spatial(self.data_format)]
        if drawn["start"] is None:
            how = {"crop_to_aspect_ratio": True, "data_format": self.data_format}
            return image.resize(images, size, interpolation, **how)  # type: ignore
        for axis, start, length in zip(axes, drawn["start"], size, strict=True):
            images = lax.dynamic_slice_in_dim(images, start, length, axis)
        return images

    def _new_size(self, height: Any, width: Any) -> tuple[Any, Any]:
        return self.height, self.width

    def _move_boxes(
        self, boxes: jax.Array, drawn: Transformation, size: Any
    ) -> jax.Array:
        scale = [1.0, 1.0]
        if drawn["start"] is not None:
            top, left = drawn["start"]
        else:
            target = (self.height, self.width)
            top, left, height, width = fit_inside(size[0], size[1], target)
            scale = [self.width / width, self.height / height]
        start = jnp.stack([left, top, left, top]).astype(boxes.dtype)
        return (boxes - start) * jnp.asarray(scale * 2, boxes.dtype)


class _Affine(Geometric):
    """A matrix for each image, drawn anew."""

    _fill_modes: tuple[str, ...] = ("reflect", "wrap", "constant", "nearest")

    def _settle_warp(
        self, interpolation: str, fill_value: float, fill_mode: str = "constant"
    ) -> None:
        who = type(self).__name__
        self.interpolation = choice(who, "interpolation", interpolation, tuple(ORDERS))
        self.fill_mode = choice(who, "fill_mode", fill_mode, self._fill_modes)
        self.fill_value = fill_value

    def _transform(self, drawn: Transformation, size: Any) -> jax.Array:
        """The eight numbers of `keras.ops.image.affine_transform`, for each image."""
        raise NotImplementedError(f"{type(self).__name__} has no `_transform`.")

    def _move(
        self, images: jax.Array, drawn: Transformation, interpolation: str
    ) -> jax.Array:
        size = tuple(images.shape[axis] for axis in spatial(self.data_format))
        return image.affine_transform(
            images,
            self._transform(drawn, size),
            interpolation,
            self.fill_mode,
            self.fill_value,
            self.data_format,
        )

    def _move_boxes(
        self, boxes: jax.Array, drawn: Transformation, size: Any
    ) -> jax.Array:
        matrix = affine_matrix(self._transform(drawn, size))
        return project_boxes(boxes, jnp.linalg.inv(matrix))


def _eight(*columns: Any) -> jax.Array:
    """Six columns, each a number or one for each image, as affine transforms."""
    wide = jnp.broadcast_arrays(*map(jnp.asarray, (*columns, 0.0, 0.0)))
    return jnp.stack(wide, -1)


class RandomRotation(_Affine):
    """Images turned about their middle in training.

    The angle is drawn from `factor`, in turns: 0.5 is up to half a turn either way;
    positive is counterclockwise. `fill_mode` ("reflect", "wrap", "constant",
    "nearest") says what lies outside. Shapes: `(..., height, width, channels)`,
    unchanged.

    >>> x = jnp.array([[[1.0], [2.0]], [[3.0], [4.0]]])
    >>> RandomRotation((0.5, 0.5))(x).round().ravel().tolist()
    [4.0, 3.0, 2.0, 1.0]
    """

    def __init__(
        self,
        factor: float | Range,
        fill_mode: str = "reflect",
        interpolation: str = "bilinear",
        seed: int | None = None,
        fill_value: float = 0.0,
        data_format: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(data_format, **kwargs)
        self._settle(factor=factor, seed=seed)
        self._settle_warp(interpolation, fill_value, fill_mode)

    def _draw(self, batch: Batch, seed: Any) -> Transformation:
        low, high = (turns * 360.0 for turns in self.factor)
        angle = random.uniform((batch.size,), low, high, seed=seed)
        return {"angle": angle, "input_shape": batch.shape}

    def _transform(self, drawn: Transformation, size: Any) -> jax.Array:
        angle = jnp.asarray(drawn["angle"]) * (jnp.pi / 180)
        cos, sin = jnp.cos(angle), jnp.sin(angle)
        y, x = 0.5 * (size[0] - 1), 0.5 * (size[1] - 1)
        right, down = x - x * cos + y * sin, y - x * sin - y * cos
        return _eight(cos, -sin, right, sin, cos, down)


class RandomZoom(_Affine):
    """Images enlarged or made smaller about their middle in training.

    `height_factor` and `width_factor` are shares: -0.2 is 20% nearer, 0.2 further
    away. Without `width_factor` the proportions stay. `fill_mode` says what lies
    outside. Shapes: `(..., height, width, channels)`, unchanged.

    >>> RandomZoom((0, 0))(jnp.array([[[1.0], [2.0]]])).ravel().tolist()
    [1.0, 2.0]
    """

    def __init__(
        self,
        height_factor: float | Range,
        width_factor: float | Range | None = None,
        fill_mode: str = "reflect",
        interpolation: str = "bilinear",
        seed: int | None = None,
        fill_value: float = 0.0,
        data_format: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(data_format, **kwargs)
        self.height_factor, self.width_factor = height_factor, width_factor
        self._height_span = _two_sided(self, "height_factor")
        self._width_span = None
        if width_factor is not None:
            self._width_span = _two_sided(self, "width_factor")
        self._settle(seed=seed)
        self._settle_warp(interpolation, fill_value, fill_mode)

    def _draw(self, batch: Batch, seed: Any) -> Transformation:
        def zoom(bounds: Range) -> jax.Array:
            low, high = (1.0 + bound for bound in bounds)
            return random.uniform((batch.size, 1), low, high, seed=seed)

        height = zoom(self._height_span)
        width = height if self._width_span is None else zoom(self._width_span)
        drawn = {"height_zoom": height, "width_zoom": width}
        return {**drawn, "input_shape": batch.shape}

    def _transform(self, drawn: Transformation, size: Any) -> jax.Array:
        keys = ("height_zoom", "width_zoom")
        y, x = (jnp.asarray(drawn[key], "float32")[:, 0] for key in keys)
        down, right = ((n - 1) / 2 * (1 - z) for n, z in zip(size, (y, x), strict=True))
        return _eight(x, 0.0, right, 0.0, y, down)


def _two_sided(layer: Geometric, name: str) -> tuple[float, float]:
    who = type(layer).__name__
    return span(who, name, getattr(layer, name), (-1, 1), strict=True)


class RandomTranslation(_Affine):
    """Images moved in training, by random shares of their height and width.

    Positive is down and right; one number is either way. `fill_mode` says what lies
    outside. Shapes: `(..., height, width, channels)`, unchanged.

    >>> x = jnp.array([[[1.0], [2.0]]])
    >>> RandomTranslation(0, (0.5, 0.5), fill_mode="wrap")(x).ravel().tolist()
    [2.0, 1.0]
    """

    def __init__(
        self,
        height_factor: float | Range,
        width_factor: float | Range,
        fill_mode: str = "reflect",
        interpolation: str = "bilinear",
        seed: int | None = None,
        fill_value: float = 0.0,
        data_format: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(data_format, **kwargs)
        self.height_factor, self.width_factor = height_factor, width_factor
        self._spans = [_two_sided(self, f"{x}_factor") for x in ("height", "width")]
        self._settle(seed=seed)
        self._settle_warp(interpolation, fill_value, fill_mode)

    def _draw(self, batch: Batch, seed: Any) -> Transformation:
        down, right = (
            random.uniform((batch.size, 1), *bounds, seed=seed) * length
            for bounds, length in zip(
                self._spans, (batch.height, batch.width), strict=True
            )
        )
        moves = jnp.concatenate([right, down], 1)
        return {"translations": moves, "input_shape": batch.shape}

    def _transform(self, drawn: Transformation, size: Any) -> jax.Array:
        moves = jnp.asarray(drawn["translations"], "float32")
        return _eight(1.0, 0.0, -moves[:, 0], 0.0, 1.0, -moves[:, 1])


class RandomShear(_Affine):
    """Images slanted in training: read at `(x + sx · y, y + sy · x)`.

    The slants are drawn from `x_factor` and `y_factor`, 0 to 1, and their common sign,
    too. `fill_mode` says what lies outside. Boxes are slanted in shares of the image,
    as in Keras. Shapes: `(..., height, width, channels)`, unchanged.

    >>> RandomShear()(jnp.array([[[1.0], [2.0]]])).ravel().tolist()
    [1.0, 2.0]
    """

    def __init__(
        self,
        x_factor: float | Range = 0.0,
        y_factor: float | Range = 0.0,
        interpolation: str = "bilinear",
        fill_mode: str = "reflect",
        fill_value: float = 0.0,
        data_format: str | None = None,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(data_format, **kwargs)
        for name, value in (("x_factor", x_factor), ("y_factor", y_factor)):
            if not isinstance(value, list | tuple):
                share("RandomShear", name, value)
        self.x_factor, self.y_factor = x_factor, y_factor
        self._spans = [_two_sided(self, f"{x}_factor") for x in ("y", "x")]
        self._settle(seed=seed)
        self._settle_warp(interpolation, fill_value, fill_mode)

    def _draw(self, batch: Batch, seed: Any) -> Transformation:
        shape, dtype = (batch.size, 1), self.compute_dtype
        sign = random.uniform(shape, dtype=dtype, seed=seed)
        sign = jnp.where(sign > 0.5, -1, 1).astype(dtype)
        y, x = (random.uniform(shape, *s, dtype, seed) for s in self._spans)
        slants = jnp.concatenate([x, y], 1) * sign
        return {"shear_factor": slants, "input_shape": batch.shape}

    def _transform(self, drawn: Transformation, size: Any) -> jax.Array:
        slants = jnp.asarray(drawn["shear_factor"], "float32")
        return _eight(1.0, slants[:, 0], 0.0, slants[:, 1], 1.0, 0.0)

    def _move_boxes(
        self, boxes: jax.Array, drawn: Transformation, size: Any
    ) -> jax.Array:
        slants = jnp.asarray(drawn["shear_factor"], boxes.dtype)
        x, y = slants[:, :1], slants[:, 1:]
        unit = jnp.asarray([size[1], size[0]] * 2, boxes.dtype)
        left, top, right, bottom = (boxes[..., i] / unit[i] for i in range(4))
        left = left - jnp.maximum(x * top, x * bottom)
        right = right - jnp.minimum(x * top, x * bottom)
        top, bottom = (
            top - jnp.where(y > 0, y * right, y * left),
            bottom - jnp.where(y > 0, y * left, y * right),
        )
        return jnp.stack([left, top, right, bottom], -1) * unit


class RandomPerspective(_Affine):
    """Some images seen from another side in training: their corners move.

    The probability is drawn from `factor`; the corners move by up to `scale / 2` of
    their coordinates. Shapes: `(..., height, width, channels)`, unchanged.

    >>> RandomPerspective(scale=0.0)(jnp.full((2, 2, 1), 5.0)).ravel().round().tolist()
    [5.0, 5.0, 5.0, 5.0]
    """

    factor_bounds = (0, 1)

    def __init__(
        self,
        factor: float | Range = 1.0,
        scale: float = 1.0,
        interpolation: str = "bilinear",
        fill_value: float = 0.0,
        seed: int | None = None,
        data_format: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(data_format, **kwargs)
        self.scale = share("RandomPerspective", "scale", scale)
        self._settle(factor=factor, seed=seed)
        self._settle_warp(interpolation, fill_value)

    def _draw(self, batch: Batch, seed: Any) -> Transformation:
        chosen = happens(batch, self.factor, seed)
        bounds = (-0.5 * self.scale, 0.5 * self.scale)
        shape, dtype = (batch.size, 4, 2), self.compute_dtype
        moved = random.uniform(shape, *bounds, dtype, seed)
        x, y = batch.width - 1, batch.height - 1
        corners = jnp.asarray([[[0, 0], [x, 0], [0, y], [x, y]]], dtype)
        return {
            "apply_perspective": chosen,
            "start_points": jnp.repeat(corners, batch.size, 0),
            "end_points": corners + corners * moved,
            "input_shape": batch.shape,
        }

    def _move(
        self, images: jax.Array, drawn: Transformation, interpolation: str
    ) -> jax.Array:
        seen = image.perspective_transform(
            images,
            drawn["start_points"],
            drawn["end_points"],
            interpolation,
            self.fill_value,
            self.data_format,
        )
        chosen = per_image(drawn["apply_perspective"])
        return jnp.where(chosen, seen, images)

    def _move_boxes(
        self, boxes: jax.Array, drawn: Transformation, size: Any
    ) -> jax.Array:
        points = (drawn["start_points"], drawn["end_points"])
        moved = project_boxes(boxes, jnp.linalg.inv(homography(*points)))
        chosen = per_image(drawn["apply_perspective"], 3)
        return jnp.where(chosen, moved, boxes)


class RandomElasticTransform(_Affine):
    """Some images distorted by a smooth random field in training (Simard et al., 2003).

    The probability is drawn from `factor`, the strength, one for the batch, from
    `scale`. See `keras.ops.image.elastic_transform`. It cannot move boxes.
    Shapes: `(..., height, width, channels)`, unchanged.

    >>> RandomElasticTransform()(jnp.ones((8, 8, 1))).shape
    (8, 8, 1)
    """

    factor_bounds = (0, 1)
    _fill_modes = image.FILL_MODES

    def __init__(
        self,
        factor: float | Range = 1.0,
        scale: float | Range = 1.0,
        interpolation: str = "bilinear",
        fill_mode: str = "reflect",
        fill_value: float = 0.0,
        value_range: Range = (0, 255),
        seed: int | None = None,
        data_format: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(data_format, **kwargs)
        self.scale = span(type(self).__name__, "scale", scale, self.factor_bounds)
        self._settle(factor=factor, value_range=value_range, seed=seed)
        self._settle_warp(interpolation, fill_value, fill_mode)

    def _draw(self, batch: Batch, seed: Any) -> Transformation:
        if not (self.scale[1] and self.factor[1]):
            return None
        chosen = happens(batch, self.factor, seed)
        strength = random.uniform((), *self.scale, self.compute_dtype, seed)
        # One field for images and masks.
        key = random.draw_seed(seed)
        drawn = {"apply_transform": chosen, "distortion_factor": strength}
        return {**drawn, "seed": key}

    def _move(
        self, images: jax.Array, drawn: Transformation, interpolation: str
    ) -> jax.Array:
        size = [images.shape[axis] for axis in spatial(self.data_format)]
        strength = drawn["distortion_factor"]
        moved = image.distort(
            images,
            max(size) * (0.1 * strength),
            min(size) * (0.05 * strength),
            random.draw_seed(drawn["seed"]),
            int(6 * min(size) * 0.05 * self.scale[1]) | 1,
            interpolation,
            self.fill_mode,
            self.fill_value,
            self.data_format,
        )
        chosen = per_image(drawn["apply_transform"])
        return jnp.where(chosen, moved, images)

    def _apply(self, images: jax.Array, drawn: Transformation) -> jax.Array:
        moved = super()._apply(images, drawn)
        return jnp.clip(moved, *self.value_range)

    def _boxes(self, boxes: dict[str, Any], drawn: Transformation) -> dict[str, Any]:
        raise NotImplementedError(
            "RandomElasticTransform cannot move bounding boxes; leave them out, or use "
            "RandomPerspective."
        )
