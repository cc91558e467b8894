"""Windows that slide over space: sizes, strides, padding, and what fits into what.

A spatial input has `rank` axes between the batch and the channels, or after the
channels with `data_format="channels_first"`.
"""

import inspect
from collections.abc import Callable, Mapping
from types import FunctionType
from typing import Any, ClassVar

from kerasnb.core.errors import suggest
from kerasnb.layers.input_spec import InputSpec


class Ranked:
    """Layers that share a constructor and differ in `rank`, and maybe in defaults.

    The class statement says which: `class Conv2D(Conv, strides=(1, 1))`.
    """

    rank: ClassVar[int]

    def __init_subclass__(cls, **defaults: Any) -> None:
        super().__init_subclass__()
        if defaults:
            cls.__init__ = _with_defaults(cls, cls.__init__, defaults)  # type: ignore


def _with_defaults(cls: type, init: Callable, defaults: Mapping[str, Any]) -> Callable:
    """The same constructor with other defaults."""
    parameters = inspect.signature(init).parameters
    known = {k: p.default for k, p in parameters.items() if p.default is not p.empty}
    for unknown in defaults.keys() - known.keys():
        raise TypeError(
            f"{cls.__name__}: its constructor has no default for `{unknown}`."
            f"{suggest(unknown, known)}"
        )
    copy = FunctionType(
        init.__code__, init.__globals__, "__init__", closure=init.__closure__
    )
    copy.__qualname__ = f"{cls.__qualname__}.__init__"
    copy.__annotations__ = init.__annotations__
    copy.__defaults__ = tuple((known | dict(defaults)).values())
    return copy


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
