"""Layers that change the colours of images: each is a function of pixels and draws."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from kerasnb import random
from kerasnb.core import settings
from kerasnb.core.errors import check
from kerasnb.layers.arguments import int_tuple, share
from kerasnb.layers.augment import (
    Augmentation,
    Batch,
    Transformation,
    happens,
    per_image,
    span,
)
from kerasnb.ops import image
from kerasnb.ops.image import spatial

Range = Sequence[float]
BYTES = (0, 255)


def between(images: jax.Array, source: Range, target: Range) -> jax.Array:
    """Values of one range moved to another, `source[0]` to `target[0]` and so on."""
    if tuple(source) == tuple(target):
        return images
    share_of = (images - source[0]) / (source[1] - source[0])
    return share_of * (target[1] - target[0]) + target[0]


def over_pixels(reduce: Callable, x: jax.Array, data_format: str) -> jax.Array:
    """`reduce` over height and width; one axis at a time is faster on CPU."""
    for axis in spatial(data_format):
        x = reduce(x, axis, keepdims=True)
    return x


class AutoContrast(Augmentation):
    """Each channel stretched to the whole of `value_range`, also outside of training.

    `y = (x - min) / (max - min)`, for each image and channel; a channel of one value
    stays. Shapes: `(..., height, width, channels)`, unchanged.

    >>> AutoContrast((0, 1))(jnp.array([[[0.2], [0.4]]])).ravel().tolist()
    [0.0, 1.0]
    """

    always = True

    def __init__(self, value_range: Range = (0, 255), **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._settle(value_range=value_range)

    def _apply(self, images: jax.Array, drawn: Transformation) -> jax.Array:
        x = between(images, self.value_range, BYTES)
        low, high = (over_pixels(f, x, self.data_format) for f in (jnp.min, jnp.max))
        scale = 255.0 / jnp.where(high == low, 1.0, high - low)
        stretched = jnp.clip(x * scale - low * scale, 0.0, 255.0)
        stretched = between(stretched, BYTES, self.value_range)
        return jnp.where(high == low, images, stretched).astype(images.dtype)


class Equalization(Augmentation):
    """Values spread so that all of them are about equally frequent, in training.

    Each channel of the batch is looked up in its own cumulated histogram of `bins`
    bins. Shapes: `(..., height, width, channels)`, unchanged.

    >>> Equalization()(jnp.array([[[10.0], [11], [12]]])).ravel().tolist()
    [0.0, 128.0, 255.0]
    """

    mixes_samples = True  # the histogram is that of the whole batch

    def __init__(
        self,
        value_range: Range = (0, 255),
        bins: int = 256,
        data_format: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(data_format, **kwargs)
        check(bins > 0, "Equalization", "bins", bins, "a positive integer")
        self.bins = bins
        self._settle(value_range=value_range)

    def _apply(self, images: jax.Array, drawn: Transformation) -> jax.Array:
        axis = -1 if self.data_format == "channels_last" else -3
        x = between(images, self.value_range, BYTES)
        x = jax.vmap(self._equalize, axis, axis)(x)
        return between(x, BYTES, self.value_range).astype(images.dtype)

    def _equalize(self, channel: jax.Array) -> jax.Array:
        last, floats = self.bins - 1, channel.astype("float32")
        bins = jnp.clip((floats * last / 255).astype("int32"), 0, last)
        counts = jnp.bincount(bins.ravel(), length=self.bins)
        below = jnp.cumsum(counts)
        first = below[jnp.argmax(below > 0)]
        others = below[-1] - first
        table = (below - first) * 255 / jnp.where(others == 0, 1, others)
        table = jnp.clip(jnp.round(table), 0, 255)
        place = jnp.clip(channel / 255.0 * last, 0, last).astype("int32")
        return jnp.where(jnp.sum(counts > 0) <= 1, floats, table[place])


class ContrastLimitedAdaptiveHistogramEqualization(Augmentation):
    """Histograms equalised tile by tile, steep ones flattened (CLAHE), always.

    The image is cut into `tile_grid_size` tiles; in each, a bin holds at most
    `clip_limit` times the mean, and what is above is shared among all. A pixel is
    looked up in the four tiles around it and interpolated (Zuiderveld, 1994).
    Shapes: `(..., height, width, channels)`, unchanged; the dtype, too.

    >>> layer = ContrastLimitedAdaptiveHistogramEqualization(tile_grid_size=(2, 2))
    >>> layer(jnp.ones((1, 8, 8, 3))).shape
    (1, 8, 8, 3)
    """

    always = True
    keeps_dtype = True

    def __init__(
        self,
        value_range: Range = (0, 255),
        clip_limit: float = 4.0,
        tile_grid_size: tuple[int, int] = (8, 8),
        data_format: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(data_format, **kwargs)
        who = type(self).__name__
        self._settle(value_range=value_range)
        self.clip_limit = clip_limit
        self.tile_grid_size = int_tuple(who, "tile_grid_size", tile_grid_size, 2)

    def _apply(self, images: jax.Array, drawn: Transformation) -> jax.Array:
        axis = -1 if self.data_format == "channels_last" else 1
        dtype = images.dtype
        if jnp.issubdtype(dtype, jnp.floating):
            dtype = jnp.dtype(self.compute_dtype)
        x = between(images.astype("float32"), self.value_range, BYTES)
        x = jax.vmap(jax.vmap(self._equalize), axis, axis)(x)
        return between(x, BYTES, self.value_range).astype(dtype)

    def _equalize(self, plane: jax.Array) -> jax.Array:
        """One channel of one image."""
        grid, size = self.tile_grid_size, plane.shape
        tile = [-(-n // g) for n, g in zip(size, grid, strict=True)]
        pads = [(0, t * g - n) for t, g, n in zip(tile, grid, size, strict=True)]
        pixels = jnp.pad(jnp.clip(plane, 0, 255), pads, mode="symmetric")
        pixels, area = pixels.astype("int32"), tile[0] * tile[1]
        rows, columns = (jnp.arange(n) for n in pixels.shape)
        tiles = (rows // tile[0])[:, None] * grid[1] + columns // tile[1]
        bins = (tiles * 256 + pixels).ravel()
        counts = jnp.bincount(bins, length=grid[0] * grid[1] * 256)
        counts = counts.reshape(*grid, 256).astype("float32")
        if self.clip_limit > 0:
            kept = jnp.minimum(counts, self.clip_limit * area / 256.0)
            counts = kept + jnp.sum(counts - kept, -1, keepdims=True) / 256.0
        below = jnp.cumsum(counts, -1)
        least = jnp.min(below, -1, keepdims=True)
        others = area - least
        table = (below - least) * 255.0 / jnp.where(others == 0, 1.0, others)
        # The tiles at the edges again, outside of them.
        table = jnp.pad(jnp.clip(table, 0, 255), ((1, 1), (1, 1), (0, 0)), mode="edge")
        total = jnp.zeros(pixels.shape)
        (top, down), (left, right) = (
            ((n.astype("float32") - t / 2) / t + 1, g + 1)
            for n, t, g in zip((rows, columns), tile, grid, strict=True)
        )
        for y in (0, 1):
            for x in (0, 1):
                at_y, at_x = jnp.floor(top) + y, jnp.floor(left) + x
                weight = (1 - jnp.abs(top - at_y))[:, None] * (1 - jnp.abs(left - at_x))
                at_y = jnp.clip(at_y, 0, down).astype("int32")[:, None]
                at_x = jnp.clip(at_x, 0, right).astype("int32")
                total = total + weight * table[at_y, at_x, pixels]
        return total[: size[0], : size[1]]


class Solarization(Augmentation):
    """Bright values inverted, in training: `255 - x` from a random threshold on.

    First a random number is added; both are shares of 255, drawn from
    `addition_factor` and `threshold_factor` for each image.
    Shapes: `(..., height, width, channels)`, unchanged.

    >>> Solarization(threshold_factor=(1, 1))(jnp.full((1, 1, 1), 9.0)).ravel().tolist()
    [9.0]
    """

    def __init__(
        self,
        addition_factor: float | Range = 0.0,
        threshold_factor: float | Range = 0.0,
        value_range: Range = (0, 255),
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        who, bounds = "Solarization", (0, 1)
        add, limit = addition_factor, threshold_factor
        self.addition_factor = span(who, "addition_factor", add, bounds, strict=True)
        self.threshold_factor = span(
            who, "threshold_factor", limit, bounds, strict=True
        )
        self._settle(value_range=value_range, seed=seed)

    def _draw(self, batch: Batch, seed: Any) -> Transformation:
        return {
            key: random.uniform(
                (batch.size, 1, 1, 1), low, high * 255, self.compute_dtype, seed
            )
            for key, (low, high) in (
                ("additions", self.addition_factor),
                ("thresholds", self.threshold_factor),
            )
        }

    def _apply(self, images: jax.Array, drawn: Transformation) -> jax.Array:
        x = between(images, self.value_range, BYTES)
        x = jnp.clip(x + drawn["additions"], 0, 255)
        x = jnp.where(x < drawn["thresholds"], x, 255 - x)
        return between(x, BYTES, self.value_range).astype(images.dtype)


class RandomBrightness(Augmentation):
    """A random number added to each image in training.

    The number is a share of the width of `value_range`, drawn from `factor`, which is
    -1 to 1; the result is clipped. Shapes: `(..., height, width, channels)`, unchanged.

    >>> RandomBrightness((1, 1))(jnp.zeros((1, 1, 1))).ravel().tolist()
    [255.0]
    """

    def __init__(
        self,
        factor: float | Range,
        value_range: Range = (0, 255),
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self._settle(factor=factor, value_range=value_range, seed=seed)

    def _draw(self, batch: Batch, seed: Any) -> Transformation:
        added = random.uniform((batch.size, 1, 1, 1), *self.factor, seed=seed)
        return {"rgb_delta": added * (self.value_range[1] - self.value_range[0])}

    def _apply(self, images: jax.Array, drawn: Transformation) -> jax.Array:
        added = jnp.asarray(drawn["rgb_delta"]).astype(images.dtype)
        return jnp.clip(images + added, *self.value_range)


class RandomContrast(Augmentation):
    """Each channel's distance from its mean scaled in training, `m + (x - m) · c`.

    `c` is drawn from `1 - factor[0]` to `1 + factor[1]` for each image; a single number
    is `(0, factor)`. Shapes: `(..., height, width, channels)`, unchanged.

    >>> RandomContrast((0, 0))(jnp.array([[[1.0], [3.0]]])).ravel().tolist()
    [1.0, 3.0]
    """

    factor_bounds = (0, 1)

    def __init__(
        self,
        factor: float | Range,
        value_range: Range = (0, 255),
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self._settle(factor=factor, value_range=value_range, seed=seed)

    def _draw(self, batch: Batch, seed: Any) -> Transformation:
        low, high = 1.0 - self.factor[0], 1.0 + self.factor[1]
        shape = (batch.size, 1, 1, 1)
        drawn = random.uniform(shape, low, high, self.compute_dtype, seed)
        return {"contrast_factor": drawn}

    def _apply(self, images: jax.Array, drawn: Transformation) -> jax.Array:
        mean = over_pixels(jnp.mean, images, self.data_format)
        factor = jnp.asarray(drawn["contrast_factor"]).astype(images.dtype)
        return jnp.clip((images - mean) * factor + mean, *self.value_range)


class _Colorful(Augmentation):
    """Draws `factor`, one number for each image, and clips by `value_range`."""

    def __init__(
        self,
        factor: float | Range,
        value_range: Range = (0, 255),
        data_format: str | None = None,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(data_format, **kwargs)
        self._settle(factor=factor, value_range=value_range, seed=seed)

    def _draw(self, batch: Batch, seed: Any) -> Transformation:
        return {"factor": random.uniform((batch.size,), *self.factor, seed=seed)}

    def _factor(self, drawn: Transformation) -> jax.Array:
        return per_image(drawn["factor"]).astype(self.compute_dtype)

    def _turn_colors(
        self, images: jax.Array, hue: Any = None, saturation: Any = None
    ) -> jax.Array:
        """Images with functions applied to their hue and saturation."""
        axis = -1 if self.data_format == "channels_last" else -3
        planes = jnp.split(image.rgb_to_hsv(images, self.data_format), 3, axis)
        planes[0] = planes[0] if hue is None else hue(planes[0])
        planes[1] = planes[1] if saturation is None else saturation(planes[1])
        return image.hsv_to_rgb(jnp.concatenate(planes, axis), self.data_format)


class RandomColorDegeneration(_Colorful):
    """Colours mixed with grey in training, `x + f · (gray(x) - x)`.

    `f` is drawn from `factor` for each image. Shapes: `(..., height, width, 3)`,
    unchanged.

    >>> x = jnp.array([[[255.0, 0, 0]]])
    >>> bool(jnp.ptp(RandomColorDegeneration((1, 1))(x)) < 1e-4)
    True
    """

    def _apply(self, images: jax.Array, drawn: Transformation) -> jax.Array:
        gray = image.rgb_to_grayscale(images, self.data_format)
        mixed = images + self._factor(drawn) * (gray - images)
        return jnp.clip(mixed, *self.value_range)


class RandomHue(_Colorful):
    """Colours turned on the colour wheel in training, by `±factor / 2` of a turn.

    The amount is drawn for each image from `factor`, which is 0 to 1, and its sign
    too. Shapes: `(..., height, width, 3)`, unchanged.

    >>> RandomHue((0, 0))(jnp.array([[[51.0, 102, 255]]])).round().ravel().tolist()
    [51.0, 102.0, 255.0]
    """

    factor_bounds = (0, 1)

    def _draw(self, batch: Batch, seed: Any) -> Transformation:
        sign = jnp.where(random.uniform((batch.size,), seed=seed) > 0.5, -1.0, 1.0)
        amount = random.uniform((batch.size,), *self.factor, seed=seed)
        return {"factor": sign * amount * 0.5}

    def _apply(self, images: jax.Array, drawn: Transformation) -> jax.Array:
        turn = self._factor(drawn)

        def turned(hue: jax.Array) -> jax.Array:
            hue = hue + turn
            hue = jnp.where(hue > 1.0, hue - 1.0, hue)
            return jnp.where(hue < 0.0, hue + 1.0, hue)

        unit = between(images, self.value_range, (0, 1))
        unit = jnp.clip(self._turn_colors(unit, hue=turned), 0, 1)
        return between(unit, (0, 1), self.value_range).astype(images.dtype)


class RandomSaturation(_Colorful):
    """Colours made stronger or weaker in training: saturation times `f / (1 - f)`.

    `f` is drawn for each image from `factor`; 0 is grey, 0.5 leaves the image as it
    is, 1 is full colour. Shapes: `(..., height, width, 3)`, unchanged.

    >>> RandomSaturation((0, 0))(jnp.array([[[1.0, 0, 0]]])).ravel().tolist()
    [1.0, 1.0, 1.0]
    """

    def _draw(self, batch: Batch, seed: Any) -> Transformation:
        drawn = random.uniform((batch.size,), *self.factor, seed=seed)
        return {"factor": drawn / (1 - drawn + settings.epsilon())}

    def _apply(self, images: jax.Array, drawn: Transformation) -> jax.Array:
        factor = self._factor(drawn)

        def stronger(saturation: jax.Array) -> jax.Array:
            return jnp.clip(saturation * factor, *self.value_range)

        return self._turn_colors(images, saturation=stronger)


class RandomSharpness(_Colorful):
    """Images blurred or sharpened in training, `x + (1 - 2 f)(smooth(x) - x)`.

    `smooth` is a mean over 3 x 3 pixels; `f`, from `factor` in 0 to 1, is drawn for
    each image: 0 is smooth, 0.5 leaves the image as it is, 1 is sharp.
    Shapes: `(..., height, width, channels)`, unchanged.

    >>> RandomSharpness((0.5, 0.5))(jnp.full((2, 2, 1), 7.0)).ravel().tolist()
    [7.0, 7.0, 7.0, 7.0]
    """

    factor_bounds = (0, 1)

    def _apply(self, images: jax.Array, drawn: Transformation) -> jax.Array:
        # Each neighbour weighs 1/13 and the pixel itself 5/13; zeros lie outside.
        box = images
        for axis in spatial(self.data_format):
            pads = [(0, 0)] * 4
            pads[axis] = (1, 1)
            wide, length = jnp.pad(box, pads), box.shape[axis]
            box = sum(  # type: ignore[assignment]
                jax.lax.slice_in_dim(wide, i, i + length, axis=axis % 4)
                for i in range(3)
            )
        smooth = (box + 4 * images) / 13
        sharp = (2 * per_image(drawn["factor"])).astype(images.dtype)
        mixed = images + (1.0 - sharp) * (smooth - images)
        return jnp.clip(mixed, *self.value_range)


class RandomPosterization(_Colorful):
    """Values kept to their leading bits in training.

    How many of the eight bits stay is drawn for each image from `factor`, 1 to 8, the
    end not included unless both ends are the same.
    Shapes: `(..., height, width, channels)`, unchanged.

    >>> RandomPosterization((1, 1))(jnp.array([[[100.0], [200.0]]])).ravel().tolist()
    [0.0, 128.0]
    """

    factor_bounds = (1, 8)

    def _draw(self, batch: Batch, seed: Any) -> Transformation:
        low, high = self.factor
        kept = jnp.full((batch.size,), low, "uint8")
        if low != high:
            kept = random.randint((batch.size,), int(low), int(high), "uint8", seed)
        return {"shift_factor": 8 - kept}

    def _apply(self, images: jax.Array, drawn: Transformation) -> jax.Array:
        shift = per_image(drawn["shift_factor"]).astype("uint8")
        x = between(images, self.value_range, BYTES).astype("uint8")
        x = ((x >> shift) << shift).astype(images.dtype)
        return between(x, BYTES, self.value_range)


class RandomGrayscale(Augmentation):
    """Some images without their colours in training, a share `factor` of them.

    Shapes: `(..., height, width, 3)`, unchanged; the dtype, too.

    >>> bool(jnp.ptp(RandomGrayscale(1.0)(jnp.array([[[1.0, 0, 0]]]))) < 1e-4)
    True
    """

    keeps_dtype = True
    factor: float  # type: ignore[assignment]

    def __init__(
        self,
        factor: float = 0.5,
        data_format: str | None = None,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(data_format, **kwargs)
        self.factor = share("RandomGrayscale", "factor", factor)
        self._settle(seed=seed)

    def _draw(self, batch: Batch, seed: Any) -> Transformation:
        drawn = random.uniform((batch.size,), seed=seed)
        return per_image(drawn < self.factor)

    def _apply(self, images: jax.Array, drawn: Transformation) -> jax.Array:
        if jnp.issubdtype(images.dtype, jnp.floating):
            images = images.astype(self.compute_dtype)
        gray = image.rgb_to_grayscale(images, self.data_format)
        return jnp.where(drawn, gray, images)


class RandomInvert(Augmentation):
    """Some images as negatives in training, `value_range[1] - x`.

    The probability is drawn from `factor`. Shapes: `(..., height, width, channels)`,
    unchanged.

    >>> RandomInvert((1, 1))(jnp.full((1, 1, 1), 55.0)).ravel().tolist()
    [200.0]
    """

    factor_bounds = (0, 1)

    def __init__(
        self,
        factor: float | Range = 1.0,
        value_range: Range = (0, 255),
        seed: int | None = None,
        data_format: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(data_format, **kwargs)
        self._settle(factor=factor, value_range=value_range, seed=seed)

    def _draw(self, batch: Batch, seed: Any) -> Transformation:
        return {"apply_inversion": happens(batch, self.factor, seed)}

    def _apply(self, images: jax.Array, drawn: Transformation) -> jax.Array:
        chosen = per_image(drawn["apply_inversion"])
        return jnp.where(chosen, self.value_range[1] - images, images)


class RandomGaussianBlur(Augmentation):
    """Some images blurred in training, with a probability drawn from `factor`.

    One `sigma` for each direction is drawn for the whole batch; `kernel_size` is odd.
    Shapes: `(..., height, width, channels)`, unchanged.

    >>> RandomGaussianBlur()(jnp.ones((4, 4, 3))).shape
    (4, 4, 3)
    """

    factor_bounds = (0, 1)

    def __init__(
        self,
        factor: float | Range = 1.0,
        kernel_size: int | Sequence[int] = 3,
        sigma: float | Range = 1.0,
        value_range: Range = (0, 255),
        data_format: str | None = None,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(data_format, **kwargs)
        who = "RandomGaussianBlur"
        self.kernel_size = int_tuple(who, "kernel_size", kernel_size, 2)
        odd = all(size % 2 for size in self.kernel_size)
        check(odd, who, "kernel_size", kernel_size, "an odd number or two of them")
        self.sigma = span(who, "sigma", sigma, self.factor_bounds)
        self._settle(factor=factor, value_range=value_range, seed=seed)

    def _draw(self, batch: Batch, seed: Any) -> Transformation:
        chosen = happens(batch, self.factor, seed)
        sigma = random.uniform((2,), *self.sigma, self.compute_dtype, seed) + 1e-6
        return {"should_apply_blur": chosen, "blur_factor": sigma}

    def _apply(self, images: jax.Array, drawn: Transformation) -> jax.Array:
        sigma = drawn["blur_factor"]
        size, form = self.kernel_size, self.data_format
        blurred = image.gaussian_blur(images, size, sigma, form)
        chosen = per_image(drawn["should_apply_blur"])
        return jnp.clip(jnp.where(chosen, blurred, images), *self.value_range)


class RandomColorJitter(Augmentation):
    """Brightness, contrast, saturation and hue changed in training, in that order.

    Those with a factor only; see RandomBrightness, RandomContrast, RandomSaturation and
    RandomHue. Shapes: `(..., height, width, 3)`, unchanged.

    >>> RandomColorJitter(brightness_factor=(1, 1))(jnp.zeros((1, 1, 3))).max().item()
    255.0
    """

    def __init__(
        self,
        value_range: Range = (0, 255),
        brightness_factor: float | Range | None = None,
        contrast_factor: float | Range | None = None,
        saturation_factor: float | Range | None = None,
        hue_factor: float | Range | None = None,
        seed: int | None = None,
        data_format: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(data_format, **kwargs)
        self._settle(value_range=value_range, seed=seed)
        self.brightness_factor = brightness_factor
        self.contrast_factor = contrast_factor
        self.saturation_factor = saturation_factor
        self.hue_factor = hue_factor
        shared: dict[str, Any] = {"value_range": value_range, "seed": seed}
        shared |= {"dtype": self.dtype_policy, "data_format": self.data_format}

        def made(kind: Any, factor: Any) -> Any:
            return None if factor is None else kind(factor=factor, **shared)

        self.random_brightness = made(RandomBrightness, brightness_factor)
        self.random_contrast = made(RandomContrast, contrast_factor)
        self.random_saturation = made(RandomSaturation, saturation_factor)
        self.random_hue = made(RandomHue, hue_factor)

    def _layers(self) -> list[Augmentation]:
        light = [self.random_brightness, self.random_contrast]
        color = [self.random_saturation, self.random_hue]
        return [layer for layer in light + color if layer is not None]

    def _draw(self, batch: Batch, seed: Any) -> Transformation:
        return [layer._draw(batch, seed) for layer in self._layers()]

    def _apply(self, images: jax.Array, drawn: Transformation) -> jax.Array:
        for layer, own in zip(self._layers(), drawn, strict=True):
            images = layer._apply(images, own)
        return images


class RandomErasing(Augmentation):
    """A rectangle of some images filled in training (Zhong et al., 2017).

    The probability is drawn from `factor`, the share of the area from `scale`. The
    filling is `fill_value`, one number or three, or noise when that is None.
    Shapes: `(..., height, width, channels)`, unchanged.

    >>> RandomErasing(scale=(1, 1), fill_value=3)(jnp.ones((1, 1, 3))).ravel().tolist()
    [3.0, 3.0, 3.0]
    """

    factor_bounds = (0, 1)

    def __init__(
        self,
        factor: float | Range = 1.0,
        scale: float | Range = (0.02, 0.33),
        fill_value: Any = None,
        value_range: Range = (0, 255),
        seed: int | None = None,
        data_format: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(data_format, **kwargs)
        who = "RandomErasing"
        self.scale = span(who, "scale", scale, self.factor_bounds)
        good = fill_value is None or isinstance(fill_value, int | float)
        good = good or (isinstance(fill_value, list | tuple) and len(fill_value) == 3)
        check(good, who, "fill_value", fill_value, "None, a number or three of them")
        self.fill_value = fill_value
        self._settle(factor=factor, value_range=value_range, seed=seed)

    def _draw(self, batch: Batch, seed: Any) -> Transformation:
        dtype = self.compute_dtype
        sides = jnp.sqrt(
            random.uniform((batch.size, 2), *self.scale, dtype=dtype, seed=seed)
        )
        inside = rectangles(batch, sides, seed, self.data_format)
        chosen = happens(batch, self.factor, seed)
        if self.fill_value is None:
            filling = random.normal(batch.shape, dtype=dtype, seed=seed)
            filling = filling * self.value_range[1]
        else:
            filling = jnp.asarray(self.fill_value, dtype)
            if self.data_format == "channels_first" and filling.ndim:
                filling = filling[:, None, None]
        filling = jnp.clip(filling, *self.value_range)
        drawn = {"apply_erasing": chosen, "batch_masks": inside[0]}
        return {**drawn, "fill_value": filling}

    def _apply(self, images: jax.Array, drawn: Transformation) -> jax.Array:
        chosen = per_image(drawn["apply_erasing"])
        where = chosen & drawn["batch_masks"]
        return jnp.where(where, drawn["fill_value"], images)


def rectangles(
    batch: Batch, sides: jax.Array, seed: Any, data_format: str
) -> tuple[jax.Array, jax.Array]:
    """A random rectangle in each image, as a mask, and the share of its area.

    `sides` are the shares of width and height it takes, `(batch, 2)`.
    """
    masks, area = [], jnp.ones((batch.size, 1, 1), sides.dtype)
    for i, length in enumerate((batch.width, batch.height)):
        side = sides[:, i] * length
        start = random.uniform((batch.size,), dtype=sides.dtype, seed=seed)
        start = start * (length - side)
        place, end = jnp.arange(length, dtype=sides.dtype), start + side
        masks.append((place >= start[:, None]) & (place < end[:, None]))
        area = area * ((end - start) / length)[:, None, None]
    inside = masks[1][:, :, None] & masks[0][:, None, :]
    channel = -1 if data_format == "channels_last" else 1
    return jnp.expand_dims(inside, channel), jnp.expand_dims(area, channel)
