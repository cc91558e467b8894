"""Arrays as small pictures: images, feature maps, histograms; nothing but NumPy."""

import base64
import struct
import zlib
from typing import Any

import numpy as np

from kerasnb.core import settings
from kerasnb.notebook import charts, svg


def are_images(x: Any) -> bool:
    """Whether the samples of `x` look like pictures: two long axes, 1, 3 or 4 channels.

    >>> are_images(np.zeros((5, 28, 28))), are_images(np.zeros((5, 28, 28, 2)))
    (True, False)
    """
    shape = tuple(np.shape(x))
    if len(shape) == 4 and settings.image_data_format() == "channels_first":
        shape = (shape[0], *shape[2:], shape[1])
    return (
        len(shape) in (3, 4)
        and min(shape[1:3]) >= 8
        and (len(shape) == 3 or shape[3] in (1, 3, 4))
    )


def as_bytes(x: Any) -> np.ndarray:
    """Pictures as bytes `(n, height, width, channels)`, whatever range they came in.

    Numbers from 0 to 1 and from -1 to 1 keep their meaning; others are stretched from
    the least to the greatest.
    """
    x = np.asarray(x)
    if x.ndim == 3:
        x = x[..., None]
    elif settings.image_data_format() == "channels_first":
        x = np.moveaxis(x, 1, -1)
    if x.dtype == np.uint8:
        return x
    x = np.nan_to_num(x.astype("float32"))
    low, high = float(x.min(initial=0)), float(x.max(initial=1))
    if low >= -1 and high <= 1:
        low, high = (-1, 1) if low < 0 else (0, 1)
    elif low >= 0 and high <= 255:
        low, high = 0, 255
    return ((x - low) / (high - low) * 255).round().astype(np.uint8)


def png(pixels: np.ndarray) -> bytes:
    """A PNG file of bytes `(height, width, channels)`; 1, 3 or 4 channels."""
    height, width, channels = pixels.shape
    colour = {1: 0, 3: 2, 4: 6}[channels]
    rows = np.zeros((height, 1 + width * channels), np.uint8)  # 0: rows are unfiltered
    rows[:, 1:] = pixels.reshape(height, -1)

    def chunk(kind: bytes, data: bytes) -> bytes:
        check = zlib.crc32(kind + data)
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", check)

    header = struct.pack(">IIBBBBB", width, height, 8, colour, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(rows.tobytes(), 9))
        + chunk(b"IEND", b"")
    )


def image(pixels: np.ndarray, alt: str, size: int) -> str:
    """Bytes as an `<img>` whose longer side is `size` on the page, in crisp pixels."""
    height, width = pixels.shape[:2]
    scale = size / max(height, width)
    data = base64.b64encode(png(pixels)).decode()
    return svg.tag(
        "img",
        alt=alt,
        src=f"data:image/png;base64,{data}",
        width=round(width * scale),
        height=round(height * scale),
        style="image-rendering:pixelated;border-radius:3px",
    )


def tiles(maps: np.ndarray, most: int = 64, gap: int = 3) -> np.ndarray:
    """Many small maps `(n, height, width, channels)` as one picture, row by row.

    Each is stretched to its own range, so that faint ones can be seen too. Between
    them the page shows through.
    """
    maps = np.nan_to_num(np.asarray(maps, "float32")[:most])
    larger = max(1, 28 // max(maps.shape[1:3]))
    maps = maps.repeat(larger, 1).repeat(larger, 2)
    low = maps.min((1, 2, 3), keepdims=True)
    high = maps.max((1, 2, 3), keepdims=True)
    scaled = (maps - low) / np.where(high > low, high - low, 1) * 255
    count, height, width = scaled.shape[:3]
    across = int(np.ceil(np.sqrt(count * height / width)))
    down = -(-count // across)
    out = np.zeros((down * (height + gap), across * (width + gap), 4), np.uint8)
    for i, tile in enumerate(scaled):
        y, x = (i // across) * (height + gap), (i % across) * (width + gap)
        out[y : y + height, x : x + width, :3] = tile.round()
        out[y : y + height, x : x + width, 3] = 255
    return out[:-gap, :-gap]


_BARS = ".bar{fill:var(--train);fill-opacity:.8}.axis{stroke:var(--muted)}"


def histogram(values: Any, label: str, width: int = 168, height: int = 44) -> str:
    """How values are spread, as a small SVG picture with its ends written below."""
    values = np.asarray(values, "float64").ravel()
    values = values[np.isfinite(values)]
    if not len(values):
        return ""
    counts, edges = np.histogram(values, bins=28)
    base, step = height - 14, width / len(counts)
    bars = [
        svg.tag(
            "rect",
            class_="bar",
            x=i * step + 0.5,
            y=base - max(count / counts.max() * (base - 2), 0.8 if count else 0),
            width=step - 1,
            height=max(count / counts.max() * (base - 2), 0.8 if count else 0),
        )
        for i, count in enumerate(counts)
    ]
    ends = [
        svg.tag("text", charts.number(edges[0]), class_="muted", x=1, y=height - 3),
        svg.tag(
            "text",
            charts.number(edges[-1]),
            class_="muted end",
            x=width - 1,
            y=height - 3,
        ),
    ]
    line = svg.tag("line", class_="axis", x1=0, x2=width, y1=base, y2=base)
    return svg.document(width, height, *bars, line, *ends, rules=_BARS, label=label)
