"""Errors of a model cell in words: what went wrong, and the likely mend."""

import builtins
import linecache
import re
from collections.abc import Callable
from types import FrameType
from typing import TYPE_CHECKING, Any, NamedTuple

from kerasnb.core.graph import KerasTensor, Operation, leaves, node_of
from kerasnb.core.naming import to_snake_case
from kerasnb.layers.layer import Layer
from kerasnb.layers.merge import Concatenate, Merge
from kerasnb.layers.windows import WindowSpec

if TYPE_CHECKING:
    from kerasnb.notebook.kmodel import Cell

Shape = tuple[int | None, ...]

_OURS = ("kerasnb", "jax", "jaxlib", "numpy", "optax")


class Call(NamedTuple):
    """A call of a layer that failed."""

    layer: Layer
    tensors: list[KerasTensor]


def explain(error: Exception, cell: "Cell") -> tuple[str, str]:
    """A sentence and a hint for an error that a line of a cell raised."""
    call = _failed_call(error)
    sentence = _sentence(error, cell)
    if call is None:
        return sentence, ""
    for layer in (call.layer, getattr(error, "layer", None)):
        if layer is not None and _named_itself(layer):
            kind = type(layer).__name__
            sentence = sentence.replace(f"{kind} `{layer.name}`", kind)
    found = (mend(call, cell, sentence) for mend in _MENDS)
    return sentence, next((hint for hint in found if hint), "")


def syntax(error: SyntaxError, lines: list[str]) -> str:
    """The line of a syntax error with a caret under the place, and what is wrong."""
    number = min(error.lineno or 1, len(lines))
    text = lines[number - 1]
    column = max((error.offset or 1) - 1 - (len(text) - len(text.lstrip())), 0)
    words = (error.msg or "invalid syntax").rstrip(".")
    words = f"{words[0].upper()}{words[1:]}."
    return f"    {text.strip()}\n    {' ' * column}^\n{words}"


# --- What went wrong ------------------------------------------------------------------


def _sentence(error: Exception, cell: "Cell") -> str:
    """An error's message as a sentence of its own."""
    words = str(error).strip()
    if isinstance(error, NameError) and error.name:
        return f"`{error.name}` is not defined.{cell.nearest(error.name)}"
    if isinstance(error, TypeError) and (found := _arguments(error, cell)):
        return found
    frame = last_frame(error)
    if frame is None or is_ours(frame):
        if isinstance(error, ValueError | TypeError | RuntimeError) and words:
            return words
        return f"{type(error).__name__}: {words}" if words else type(error).__name__
    kind = type(error).__name__
    place = ""
    if frame.f_code.co_filename != cell.filename:
        line = linecache.getline(frame.f_code.co_filename, frame.f_lineno).strip()
        place = f" (in {frame.f_code.co_name}: {line})" if line else ""
    return f"{kind}: {words}{place}" if words else f"{kind}{place}"


def _arguments(error: TypeError, cell: "Cell") -> str:
    """What Python says about the arguments of a constructor, in our words."""
    words = str(error)
    pattern = r"(\w+)\.__init__\(\) missing \d+ required \S+ arguments?: (.*)"
    if match := re.fullmatch(pattern, words):
        missing = match[2].replace("'", "`")
        return f"{_class_meant(match[1], error, cell)} needs {missing}."
    pattern = (
        r"(\w+)\.__init__\(\) takes (?:from \d+ to )?(\d+) positional arguments? but "
        r"(\d+) (?:positional arguments? .*)?w\w+ given"
    )
    if match := re.fullmatch(pattern, words):
        most, given = int(match[2]) - 1, int(match[3]) - 1
        return (
            f"{_class_meant(match[1], error, cell)} takes at most {most} arguments by "
            f"position and got {given}; give the others by name."
        )
    return ""


def _class_meant(base: str, error: BaseException, cell: "Cell") -> str:
    """The class that a line makes an object of: Conv2D, whose constructor is Conv's."""
    line = line_of(error, cell.filename)
    for word in re.findall(r"\w+", cell.statement(line) if line else ""):
        value = cell.find(word)
        if isinstance(value, type) and base in (c.__name__ for c in value.__mro__):
            return value.__name__
    return base


def line_of(error: BaseException, filename: str) -> int | None:
    """The deepest line of a file that an error came through."""
    line, trace = None, error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == filename:
            line = trace.tb_lineno
        trace = trace.tb_next
    return line


def last_frame(error: BaseException) -> FrameType | None:
    """The frame that raised an error."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return None if trace is None else trace.tb_frame


def is_ours(frame: FrameType) -> bool:
    """Whether a frame is of this package or of those it stands on."""
    return frame.f_globals.get("__name__", "").partition(".")[0] in _OURS


def _failed_call(error: BaseException) -> Call | None:
    """The innermost call of a layer on placeholders that an error came through."""
    call, trace = None, error.__traceback__
    while trace is not None:
        frame, trace = trace.tb_frame, trace.tb_next
        if frame.f_code is Layer.__call__.__code__:
            given = leaves((frame.f_locals["args"], frame.f_locals["kwargs"]))
            tensors = [t for t in given if isinstance(t, KerasTensor)]
            if tensors:
                call = Call(frame.f_locals["self"], tensors)
    return call


def _named_itself(layer: Layer) -> bool:
    """Whether a layer's name is one that nobody chose."""
    name = to_snake_case(type(layer).__name__)
    return re.fullmatch(rf"{name}(_\d+)?", layer.name) is not None


# --- The likely mend ------------------------------------------------------------------


def _join_mend(call: Call, cell: "Cell", sentence: str) -> str:
    """For a join of tensors that differ: what made them differ."""
    if not isinstance(call.layer, Merge) or len(call.tensors) < 2:
        return ""
    first, second = call.tensors[:2]
    if len(first.shape) != len(second.shape):
        small = min(first, second, key=lambda t: len(t.shape))
        return _rank_words(small, max(len(first.shape), len(second.shape)), cell)
    differ = [
        axis
        for axis, (a, b) in enumerate(zip(first.shape, second.shape, strict=True))
        if axis and None not in (a, b) and a != b
    ]
    if isinstance(call.layer, Concatenate):
        joined = call.layer.axis % len(first.shape)
        differ = [axis for axis in differ if axis != joined]
    else:  # A single row or channel is repeated to fit.
        differ = [a for a in differ if 1 not in (first.shape[a], second.shape[a])]
    if not differ:
        return ""
    if len(differ) > 1 and differ[-1] == len(first.shape) - 1:
        del differ[-1]  # The sizes first; channels are another line's concern.
    small, big = sorted((first, second), key=lambda t: t.shape[differ[0]] or 0)
    if differ == [len(first.shape) - 1]:
        return _channels_words(call, cell)
    return _shrunk_words(small, big, differ, cell)


def _channels_words(call: Call, cell: "Cell") -> str:
    """Equal sizes, different channels: a projection is what people use."""
    first, second = call.tensors[:2]
    fewer, more = sorted((first, second), key=lambda t: t.shape[-1] or 0)
    wanted = more.shape[-1]
    kind = {3: "Conv1D({}, 1)", 4: "Conv2D({}, 1)", 5: "Conv3D({}, 1)"}
    layer = kind.get(len(first.shape), "Dense({})").format(wanted)
    found = _name_of(fewer, cell)
    what = f"{found} = {layer}({found})" if found else layer
    return f"{what} would give the other one {wanted} channels as well."


def _shrunk_words(
    small: KerasTensor, big: KerasTensor, axes: list[int], cell: "Cell"
) -> str:
    """Which layers made an image smaller on the way to one of the branches."""
    makers: list[tuple[Operation, Shape, Shape]] = []
    tensor = small
    wanted = [big.shape[axis] for axis in axes]
    while (step := _step_back(tensor)) is not None:
        operation, before = step
        if len(before.shape) != len(small.shape):
            break
        if [before.shape[a] for a in axes] != [tensor.shape[a] for a in axes]:
            makers.insert(0, (operation, before.shape, tensor.shape))
        if [before.shape[a] for a in axes] == wanted:
            break
        tensor = before
    else:
        return ""
    if not makers:
        return ""
    old = _size([makers[0][1][a] for a in axes])
    new = _size([small.shape[a] for a in axes])
    where = _where([operation for operation, *_ in makers], cell)
    if all(_only_edges(operation) for operation, *_ in makers):
        return f'{where} shrank {old} to {new}; padding="same" would keep it.'
    return f"{where} made {new} of {old}; join before, or treat both branches alike."


def _only_edges(operation: Operation) -> bool:
    """Whether a layer lost no more than the edges, which padding would keep."""
    steps = getattr(operation, "strides", None)
    steps = steps if isinstance(steps, tuple) else (steps,)
    return getattr(operation, "padding", None) == "valid" and set(steps) == {1}


def _rank_mend(call: Call, cell: "Cell", sentence: str) -> str:
    """For too few axes: where they got lost, or that the input never had them."""
    tensor = call.tensors[0]
    spec = next((s for s in leaves(call.layer.input_spec) if s is not None), None)
    wanted = getattr(spec, "ndim", None) or getattr(spec, "min_ndim", None)
    if spec is None or wanted is None or len(tensor.shape) >= wanted:
        return ""
    return _rank_words(tensor, wanted, cell)


def _rank_words(tensor: KerasTensor, wanted: int, cell: "Cell") -> str:
    at = tensor
    while (step := _step_back(at)) is not None:
        operation, before = step
        if len(before.shape) >= wanted:
            where = _where([operation], cell)
            return (
                f"{where} made {at.shape} of {before.shape}; leave it out, or move it "
                "behind this line."
            )
        at = before
    if len(tensor.shape) != wanted - 1 or at is not tensor:
        return ""
    shape = ",".join(str(n) for n in (*at.shape[1:], 1))
    return (
        f"The input has no channels; add one with --input {shape}, or begin with "
        f"Reshape(({', '.join(shape.split(','))}))."
    )


def _small_mend(call: Call, cell: "Cell", sentence: str) -> str:
    """For an image that has become smaller than the window: who made it so small."""
    makers: list[Operation] = []
    tensor, spec = call.tensors[0], call.layer.input_spec
    last = tensor.shape
    sizes = spec.sizes if isinstance(spec, WindowSpec) else ()
    if not any(
        n is not None and n < size for n, size in zip(last[1:], sizes, strict=False)
    ):
        return ""
    while (step := _step_back(tensor)) is not None:
        operation, before = step
        if len(before.shape) != len(last):
            break
        if before.shape[1:-1] != tensor.shape[1:-1]:
            makers.insert(0, operation)
        tensor = before
    if not makers:
        return ""
    left, whole = _size(last[1:-1]), _size(tensor.shape[1:-1])
    return f"Only {left} is left of {whole} after {_where(makers, cell)}; take one out."


def _integer_mend(call: Call, cell: "Cell", sentence: str) -> str:
    """For whole numbers where a layer needs fractions."""
    tensor = call.tensors[0]
    if "float" in tensor.dtype or tensor.dtype == "bool":
        return ""
    if "dtype" not in sentence and "type" not in sentence:
        return ""
    mend = "Rescaling(1 / 255)" if tensor.dtype == "uint8" else "Rescaling(1.0)"
    return f"The input is {tensor.dtype}; begin with {mend}."


def _unknown_mend(call: Call, cell: "Cell", sentence: str) -> str:
    """For weights that would depend on a length nobody knows."""
    tensor = call.tensors[0]
    step = None if tensor.shape[-1] else _step_back(tensor)
    if step is None or type(step[0]).__name__ != "Flatten":
        return ""
    rank = len(step[1].shape) - 2
    return f"GlobalAveragePooling{rank}D() in the place of Flatten() knows it."


_MENDS: tuple[Callable[[Call, "Cell", str], str], ...] = (
    _join_mend,
    _rank_mend,
    _small_mend,
    _integer_mend,
    _unknown_mend,
)


def _step_back(tensor: KerasTensor) -> tuple[Operation, KerasTensor] | None:
    """The operation that made a tensor, and what it was made of."""
    if tensor._keras_history is None:
        return None
    inputs = node_of(tensor).input_tensors
    return (tensor._keras_history[0], inputs[0]) if inputs else None


def _where(operations: list[Operation], cell: "Cell") -> str:
    """Layers with their lines: "Conv2D on line 6", "Conv2D on lines 4 and 6"."""
    lines: dict[str, list[int]] = {}
    for operation in operations:
        found = lines.setdefault(type(operation).__name__, [])
        if operation in cell.called:
            found.append(cell.called[operation])
    parts = []
    for kind, numbers in lines.items():
        numbers = list(dict.fromkeys(numbers))
        words = ", ".join(str(n) for n in numbers[:-1])
        words = f"{words} and {numbers[-1]}" if words else "".join(map(str, numbers))
        line = f" on line{'s' if len(numbers) > 1 else ''} {words}" if numbers else ""
        parts.append(kind + line)
    return " and ".join(parts)


def _size(lengths: Any) -> str:
    return "x".join("?" if n is None else str(n) for n in lengths)


def _name_of(tensor: KerasTensor, cell: "Cell") -> str:
    """A name of the cell that stands for a tensor; `x` only if there is no other."""
    names = [
        n
        for n, value in cell.scope.items()
        if value is tensor and not n.startswith("__") and not hasattr(builtins, n)
    ]
    return next((n for n in names if n != "x"), "x" if "x" in names else "")
