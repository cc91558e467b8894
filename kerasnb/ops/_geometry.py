"""Windows over space: strides, padding, dilation, and the lengths that follow."""

from collections.abc import Sequence
from typing import NamedTuple

from jax import lax

from kerasnb.core import settings
from kerasnb.core.errors import check

Ints = int | Sequence[int]


def is_channels_first(data_format: str | None) -> bool:
    """Whether the channels come second; None asks the setting."""
    data_format = data_format or settings.image_data_format()
    formats = ("channels_last", "channels_first")
    check(data_format in formats, None, "data_format", data_format, f"one of {formats}")
    return data_format == "channels_first"


def check_padding(padding: str) -> str:
    """`padding` in lower case; ValueError unless it is "valid" or "same"."""
    kinds = ("valid", "same")
    known = isinstance(padding, str) and padding.lower() in kinds
    check(known, None, "padding", padding, f"one of {kinds}")
    return padding.lower()


def per_axis(value: Ints, rank: int) -> tuple[int, ...]:
    """One number for each spatial axis."""
    return (value,) * rank if isinstance(value, int) else tuple(int(v) for v in value)


class Geometry(NamedTuple):
    """All about a convolution but the numbers of images and channels."""

    strides: tuple[int, ...]
    pads: tuple[tuple[int, int], ...]
    dilation: tuple[int, ...]
    images: tuple[int, ...]
    window: tuple[int, ...]
    groups: int = 1
    differentiated: bool = False

    @property
    def spread(self) -> tuple[int, ...]:
        """How far the window reaches along each axis."""
        pairs = zip(self.window, self.dilation, strict=True)
        return tuple((k - 1) * d + 1 for k, d in pairs)

    @property
    def outputs(self) -> tuple[int, ...]:
        """The lengths of the result."""
        return tuple(
            max((n + lo + hi - w) // s + 1, 0)
            for n, (lo, hi), w, s in zip(
                self.images, self.pads, self.spread, self.strides, strict=True
            )
        )


def make_geometry(
    images: Sequence[int],
    kernel: Sequence[int],
    strides: Ints,
    padding: str,
    dilation_rate: Ints,
) -> Geometry:
    """The geometry for images `(b, *spatial, c)` and a kernel `(*window, c, n)`."""
    sizes, window = tuple(images[1:-1]), tuple(kernel[:-2])
    strides = per_axis(strides, len(sizes))
    dilation = per_axis(dilation_rate, len(sizes))
    reach = [(k - 1) * d + 1 for k, d in zip(window, dilation, strict=True)]
    kind = check_padding(padding).upper()
    pads = tuple(lax.padtype_to_pads(sizes, reach, strides, kind))
    return Geometry(strides, pads, dilation, sizes, window)
