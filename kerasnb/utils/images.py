"""Images as arrays and as files; a folder of images as batches. Needs Pillow."""

import io
import math
import os
import warnings
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from kerasnb.core import settings
from kerasnb.core.dtypes import standardize_dtype
from kerasnb.core.errors import check, optional
from kerasnb.layers.arguments import choice, data_format_of
from kerasnb.ops.image import fit_inside
from kerasnb.utils.folders import batches_of_files

FORMATS = (".bmp", ".gif", ".jpeg", ".jpg", ".png")
_CHANNELS = {"grayscale": 1, "rgb": 3, "rgba": 4}
_PILLOW_METHODS = ("nearest", "bilinear", "bicubic", "hamming", "box", "lanczos")


def _pillow() -> Any:
    return optional("PIL.Image", "to work with images", "images")


def array_to_img(
    x: Any, data_format: str | None = None, scale: bool = True, dtype: Any = None
) -> Any:
    """An array as a Pillow image; with `scale`, its values stretched to 0 to 255.

    Shapes: `(height, width, channels)` with 1, 3 or 4 channels.

    >>> array_to_img(np.ones((2, 3, 3))).size
    (3, 2)
    """
    image, who = _pillow(), "array_to_img"
    x = np.asarray(x, standardize_dtype(dtype))
    check(x.ndim == 3, who, "x", x, "one image, an array of rank 3")
    if data_format_of(who, data_format) == "channels_first":
        x = x.transpose(1, 2, 0)
    if scale:
        x = x - np.min(x)
        x = x / (np.max(x) or 1) * 255
    channels = x.shape[2]
    check(channels in (1, 3, 4), who, "x", x, "an image with 1, 3 or 4 channels")
    if channels == 1:
        kind = "int32" if np.max(x) > 255 else "uint8"
        return image.fromarray(x[:, :, 0].astype(kind))
    return image.fromarray(x.astype("uint8"))


def img_to_array(img: Any, data_format: str | None = None, dtype: Any = None) -> Any:
    """A Pillow image as a NumPy array `(height, width, channels)`.

    >>> img_to_array(array_to_img(np.ones((2, 3, 1)))).shape
    (2, 3, 1)
    """
    x, who = np.asarray(img, standardize_dtype(dtype)), "img_to_array"
    check(x.ndim in (2, 3), who, "img", x, "an image, of rank 2 or 3")
    x = x[:, :, None] if x.ndim == 2 else x
    return (
        x.transpose(2, 0, 1) if data_format_of(who, data_format)[9:] == "first" else x
    )


def save_img(
    path: Any,
    x: Any,
    data_format: str | None = None,
    file_format: str | None = None,
    scale: bool = True,
    **kwargs: Any,
) -> None:
    """Write an array as an image file; the ending of `path` says which kind.

    >>> file = io.BytesIO()
    >>> save_img(file, np.ones((2, 3, 3)), file_format="png")
    """
    if file_format is None and isinstance(path, str | Path):
        file_format = Path(path).suffix[1:]
    file_format = file_format and file_format.lower()
    if file_format == "jpg":
        file_format = "jpeg"
    img = array_to_img(x, data_format, scale)
    if img.mode == "RGBA" and file_format == "jpeg":
        warnings.warn("JPEG files have no transparency; it is left out.", stacklevel=2)
        img = img.convert("RGB")
    img.save(path, format=file_format, **kwargs)


def load_img(
    path: Any,
    color_mode: str = "rgb",
    target_size: tuple[int, int] | None = None,
    interpolation: str = "nearest",
    keep_aspect_ratio: bool = False,
) -> Any:
    """Read an image file as a Pillow image of `target_size`, (height, width).

    `color_mode` is "rgb", "rgba" or "grayscale". With `keep_aspect_ratio` the image is
    cropped about its middle first.

    >>> file = io.BytesIO()
    >>> save_img(file, np.ones((2, 3, 3)), file_format="png")
    >>> load_img(file, target_size=(4, 6)).size
    (6, 4)
    """
    image, who = _pillow(), "load_img"
    if not isinstance(path, str | bytes | os.PathLike | io.BytesIO):
        raise TypeError(f"load_img: `path` must be a path or a BytesIO, not {path!r}.")
    choice(who, "color_mode", color_mode, tuple(_CHANNELS))
    with image.open(path) as file:
        img = _in_mode(file, color_mode)
        img.load()
    if target_size is None or img.size == tuple(target_size)[::-1]:
        return img.copy()
    choice(who, "interpolation", interpolation, _PILLOW_METHODS)
    method, box = getattr(image.Resampling, interpolation.upper()), None
    if keep_aspect_ratio:
        (width, height), (high, wide) = img.size, target_size
        h, w = min(height, width * high // wide), min(width, height * wide // high)
        top, left = (height - h) // 2, (width - w) // 2
        box = (left, top, left + w, top + h)
    return img.resize((target_size[1], target_size[0]), method, box=box)


def _in_mode(img: Any, color_mode: str) -> Any:
    if color_mode == "grayscale":
        return img if img.mode in ("L", "I;16", "I") else img.convert("L")
    mode = color_mode.upper()
    return img if img.mode == mode else img.convert(mode)


# --- A folder of images ---------------------------------------------------------------


def image_dataset_from_directory(
    directory: Any,
    labels: Any = "inferred",
    label_mode: str | None = "int",
    class_names: Sequence[str] | None = None,
    color_mode: str = "rgb",
    batch_size: int | None = 32,
    image_size: int | tuple[int, int] = (256, 256),
    shuffle: bool = True,
    seed: int | None = None,
    validation_split: float | None = None,
    subset: str | None = None,
    interpolation: str = "bilinear",
    follow_links: bool = False,
    crop_to_aspect_ratio: bool = False,
    pad_to_aspect_ratio: bool = False,
    data_format: str | None = None,
    format: str = "tf",
    verbose: bool = True,
) -> Any:
    """Batches of the images in the folders of a directory, for `fit`.

    Each folder is a class; `class_names` and `file_paths` of the result say which and
    from where. Images are read as they are needed, as floats from 0 to 255 of
    `image_size`. With `subset="both"` the result is a pair, for training and for
    validation. The result is a `PyDataset` whatever `format` says.

    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> for name in ("cat", "dog"):
    ...     (folder / name).mkdir()
    ...     save_img(folder / name / "1.png", np.ones((5, 5, 3)))
    >>> pets = image_dataset_from_directory(folder, image_size=(4, 4), verbose=False)
    >>> pets.class_names, pets[0][0].shape
    (['cat', 'dog'], (2, 4, 4, 3))
    """
    who = "image_dataset_from_directory"
    choice(who, "color_mode", color_mode, tuple(_CHANNELS))
    choice(who, "format", format, ("tf", "grain"))
    if isinstance(image_size, int):
        image_size = (image_size, image_size)
    good = isinstance(image_size, list | tuple) and len(image_size) == 2
    check(good, who, "image_size", image_size, "two integers, (height, width)")
    interpolation = choice(who, "interpolation", interpolation, tuple(_KERNELS))
    if crop_to_aspect_ratio and pad_to_aspect_ratio:
        raise ValueError(
            f"{who}: set only one of `crop_to_aspect_ratio` and `pad_to_aspect_ratio`."
        )
    keep = "crop" if crop_to_aspect_ratio else "pad" if pad_to_aspect_ratio else None
    _pillow()
    read = partial(
        _read,
        color_mode=color_mode,
        size=(image_size[0], image_size[1]),
        interpolation=interpolation,
        keep=keep,
        first=data_format_of(who, data_format) == "channels_first",
    )
    return batches_of_files(
        who,
        directory,
        read,
        FORMATS,
        labels=labels,
        label_mode=label_mode,
        class_names=class_names,
        batch_size=batch_size,
        shuffle=shuffle,
        seed=seed,
        validation_split=validation_split,
        subset=subset,
        follow_links=follow_links,
        verbose=verbose,
    )


def _read(
    path: str,
    color_mode: str,
    size: tuple[int, int],
    interpolation: str,
    keep: str | None,
    first: bool,
) -> np.ndarray:
    x = img_to_array(load_img(path, color_mode), "channels_last", "float32")
    height, width = x.shape[:2]
    if keep == "crop":
        top, left, h, w = fit_inside(height, width, size)
        x = x[top : top + h, left : left + w]
    inner = size
    if keep == "pad":
        scale = min(size[0] / height, size[1] / width)
        inner = (
            max(1, min(size[0], round(height * scale))),
            max(1, min(size[1], round(width * scale))),
        )
    x = resized(x, inner, interpolation)
    if inner != size:
        spare = [total - own for total, own in zip(size, inner, strict=True)]
        x = np.pad(x, [*((n // 2, n - n // 2) for n in spare), (0, 0)])
    x = x.astype(settings.floatx(), copy=False)
    return x.transpose(2, 0, 1) if first else x


def _lanczos(radius: int) -> Callable[[np.ndarray], np.ndarray]:
    return lambda d: np.where(d < radius, np.sinc(d) * np.sinc(d / radius), 0)


def _cubic(b: float, c: float) -> Callable[[np.ndarray], np.ndarray]:
    """The family of Mitchell and Netravali; `(0, 1/2)` is Keys' kernel."""

    def kernel(d: np.ndarray) -> np.ndarray:
        near = (12 - 9 * b - 6 * c) * d**3 + (-18 + 12 * b + 6 * c) * d**2 + 6 - 2 * b
        far = (-b - 6 * c) * d**3 + (6 * b + 30 * c) * d**2
        far = far + (-12 * b - 48 * c) * d + 8 * b + 24 * c
        return np.where(d < 1, near, np.where(d < 2, far, 0)) / 6

    return kernel


# How much a pixel counts by its distance, and how far it reaches.
_KERNELS: dict[str, tuple[Callable[[np.ndarray], np.ndarray] | None, int]] = {
    "bilinear": (lambda d: np.maximum(1 - d, 0), 1),
    "nearest": (None, 0),
    "bicubic": (_cubic(0, 0.5), 2),
    "area": (None, 0),
    "lanczos3": (_lanczos(3), 3),
    "lanczos5": (_lanczos(5), 5),
    "gaussian": (lambda d: np.where(d < 1.5, np.exp(-2 * d**2), 0), 2),
    "mitchellcubic": (_cubic(1 / 3, 1 / 3), 2),
}


def resized(x: np.ndarray, size: tuple[int, int], interpolation: str) -> np.ndarray:
    """An image of another size, by NumPy: JAX would compile for each size of a file.

    >>> resized(np.ones((4, 4, 3)), (2, 8), "bicubic").shape
    (2, 8, 3)
    """
    for axis, length in enumerate(size):
        if x.shape[axis] != length or interpolation == "area":
            places, weights = _taps(x.shape[axis], length, interpolation)
            x = np.moveaxis(x, axis, 0)
            shape = (-1, *(1,) * (x.ndim - 1))
            x = sum(
                w.reshape(shape) * x[at]
                for at, w in zip(places.T, weights.T.astype(x.dtype), strict=True)
            )
            x = np.moveaxis(x, 0, axis)
    return x


def _taps(old: int, new: int, interpolation: str) -> tuple[np.ndarray, np.ndarray]:
    """For each new pixel the old ones it is made of, and their weights of sum 1."""
    kernel, reach = _KERNELS[interpolation]
    scale, index = old / new, np.arange(new)
    if interpolation == "nearest":
        return np.minimum(((index + 0.5) * scale).astype(int), old - 1)[:, None], (
            np.ones((new, 1))
        )
    if kernel is None:  # the share of each old pixel that lies in the new one
        first = np.floor(index * scale).astype(int)
        places = first[:, None] + np.arange(math.ceil(scale) + 1)
        start = np.maximum(places, (index * scale)[:, None])
        end = np.minimum(places + 1, ((index + 1) * scale)[:, None])
        weights = np.maximum(end - start, 0)
    else:
        center = (index + 0.5) * scale - 0.5
        places = np.floor(center).astype(int)[:, None] + np.arange(1 - reach, reach + 1)
        weights = kernel(np.abs(center[:, None] - places))
    weights = np.where((places >= 0) & (places < old), weights, 0)
    weights = weights / weights.sum(1, keepdims=True)
    return np.clip(places, 0, old - 1), weights
