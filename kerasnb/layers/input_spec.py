"""What a layer accepts, checked before it runs so that the error can name the layer."""

from collections.abc import Mapping
from typing import Any

from kerasnb.core.configurable import Configurable
from kerasnb.core.graph import leaves


class InputSpec(Configurable):
    """Rank, shape, dtype and axis lengths that an input must have; None means any."""

    def __init__(
        self,
        dtype: str | None = None,
        shape: tuple[int | None, ...] | None = None,
        ndim: int | None = None,
        max_ndim: int | None = None,
        min_ndim: int | None = None,
        axes: Mapping[int, int | None] | None = None,
        allow_last_axis_squeeze: bool = False,
        name: str | None = None,
        optional: bool = False,
    ) -> None:
        self.dtype, self.name, self.optional = dtype, name, optional
        self.shape = None if shape is None else tuple(shape)
        self.ndim = len(self.shape) if self.shape is not None else ndim
        self.max_ndim, self.min_ndim = max_ndim, min_ndim
        self.axes = {int(k): v for k, v in (axes or {}).items()}
        self.allow_last_axis_squeeze = allow_last_axis_squeeze

    def __repr__(self) -> str:
        facts = {k: v for k, v in vars(self).items() if v and not k.startswith("_")}
        return f"InputSpec({', '.join(f'{k}={v}' for k, v in facts.items())})"

    def mismatch(self, shape: tuple[int | None, ...]) -> str | None:
        """What `shape` should have had but has not, or None."""
        rank = len(shape)
        if self.ndim is not None and rank != self.ndim:
            squeezed = self.allow_last_axis_squeeze and abs(rank - self.ndim) == 1
            if not squeezed:
                return f"expects {_axes(self.ndim)}"
        if self.max_ndim is not None and rank > self.max_ndim:
            return f"expects at most {_axes(self.max_ndim)}"
        if self.min_ndim is not None and rank < self.min_ndim:
            return f"expects at least {_axes(self.min_ndim)}"
        for axis, length in self.axes.items():
            if length is not None and shape[axis] not in (length, None):
                return f"was built for {length} along axis {axis}"
        for axis, length in enumerate(self.shape or ()):
            if axis < rank and length is not None and shape[axis] not in (length, None):
                return f"expects shape {self.shape}"
        return None


def _axes(count: int) -> str:
    return f"{count} axis" if count == 1 else f"{count} axes"


def check_inputs(who: str, specs: Any, inputs: Any) -> None:
    """Raise a ValueError naming the layer when `inputs` do not fit its `InputSpec`s."""
    specs = [s for s in leaves(specs) if s is not None]
    found = leaves(inputs)
    if len(found) != len(specs):
        raise ValueError(
            f"{who} expects {len(specs)} input(s) and got {len(found)}"
            f"{'' if len(found) != 1 else '; pass them as one list'}."
        )
    for spec, x in zip(specs, found, strict=True):
        if x is None:
            if spec.optional:
                continue
            raise ValueError(f"{who} got None where it expects an array.")
        shape = getattr(x, "shape", None)
        if shape is not None and (problem := spec.mismatch(tuple(shape))):
            raise ValueError(f"{who} {problem} and got the shape {tuple(shape)}.")
