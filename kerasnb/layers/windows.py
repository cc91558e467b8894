"""Windows that slide over space: sizes, strides, padding, and what fits into what.

A spatial input has `rank` axes between the batch and the channels, or after the
channels with `data_format="channels_first"`.
"""

from typing import Any

from kerasnb.layers.input_spec import InputSpec


def spatial_axes(rank: int, data_format: str) -> tuple[int, ...]:
    """The axes of height and width in an input with a batch axis."""
    first = 1 if data_format == "channels_last" else 2
    return tuple(range(first, first + rank))


class WindowSpec(InputSpec):
    """An input whose spatial axes are long enough for at least one window.

    `sizes` are the lengths needed along each spatial axis; `why` says what needs them
    and how to mend it.
    """

    def __init__(
        self, sizes: tuple[int, ...], why: str, data_format: str, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.sizes, self.why, self.data_format = sizes, why, data_format

    def mismatch(self, shape: tuple[int | None, ...]) -> str | None:
        """What `shape` should have had but has not, or None."""
        problem = super().mismatch(shape)
        if problem is not None:
            return problem
        # Counted from the end: there may be more than one batch axis.
        last = 0 if self.data_format == "channels_first" else -1
        axes = range(last - len(self.sizes), last)
        for axis, size in zip(axes, self.sizes, strict=True):
            length = shape[axis]
            if length is not None and length < size:
                where = f"axis {len(shape) + axis}"
                return f"needs at least {size} along {where} ({self.why})"
        return None
