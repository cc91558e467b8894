"""Errors of a model cell in words: what went wrong, and the likely mend."""

import ast
import builtins
import inspect
import keyword
import linecache
import math
import re
import sys
from collections.abc import Callable
from types import FrameType, ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple

from kerasnb import (
    activations,
    callbacks,
    layers,
    losses,
    metrics,
    models,
    ops,
    optimizers,
)
from kerasnb.core.errors import show, suggest
from kerasnb.core.graph import (
    KerasTensor,
    OpCall,
    Operation,
    is_probe,
    leaves,
    node_of,
)
from kerasnb.core.naming import to_snake_case
from kerasnb.layers import own
from kerasnb.layers.layer import Layer
from kerasnb.layers.merge import Concatenate, Merge
from kerasnb.layers.windows import WindowSpec

if TYPE_CHECKING:
    from kerasnb.notebook.kmodel import Cell

Shape = tuple[int | None, ...]

_OURS = ("kerasnb", "jax", "jaxlib", "numpy", "optax")
_SHELL = ("IPython", "ipykernel")


class Call(NamedTuple):
    """A call of a layer that failed."""

    layer: Layer
    tensors: list[KerasTensor]


def explain(error: Exception, cell: "Cell") -> tuple[str, str]:
    """A sentence and a hint for an error that a line of a cell raised."""
    for teach in _TEACHERS:
        if (found := teach(error, cell)) is not None:
            return found
    call = _failed_call(error)
    sentence = _sentence(error, cell)
    if call is None:
        return _with_kind(sentence, error, cell), ""
    for layer in (call.layer, getattr(error, "layer", None)):
        if layer is not None and _named_itself(layer):
            kind = type(layer).__name__
            sentence = sentence.replace(f"{kind} `{layer.name}`", kind)
    if not any(n and is_probe(n) for tensor in call.tensors for n in tensor.shape):
        sentence = _without_probes(sentence)
    return sentence, _mend(call, cell, sentence)


def syntax(error: SyntaxError, lines: list[str]) -> tuple[str, str]:
    """The line of a syntax error with a caret, what is wrong with it, and a hint."""
    number = min(error.lineno or 1, len(lines))
    text = lines[number - 1]
    column = max((error.offset or 1) - 1 - (len(text) - len(text.lstrip())), 0)
    words = (error.msg or "invalid syntax").rstrip(".")
    words = f"{words[0].upper()}{words[1:]}"
    words += "" if words.endswith("?") else "."
    text = text.strip()
    both = f"{text}\n{words}"
    hint = next((h for known, h in _SYNTAX.items() if re.search(known, both)), "")
    return f"    {text}\n    {' ' * column}^\n{words}", hint


_SYNTAX = {
    rf"^({'|'.join(keyword.kwlist)}) *=": (
        "The name is a word of Python itself; take another one."
    ),
    r"^[%!]": (
        "Magics and shell commands do not work inside a model cell; give them a cell "
        "of their own."
    ),
    r"'return' outside": (
        "The model ends with the value of `x`, or of `outputs`: leave this line out."
    ),
    r"'(await|yield)' outside": "Layers are applied at once: leave that word out.",
    r"[‘’“”„]": "These are typographic quotes; Python wants straight ones: \" or '.",
    r"\) *[A-Z]\w*\(.*\nInvalid syntax\.$": "Put each layer on a line of its own.",
    r"\w\{.*\nInvalid syntax\.$": "Round brackets make a layer: Dense(10).",
}
"""What to try, by what a wrong line and Python's words about it hold."""


# --- What went wrong ------------------------------------------------------------------


def _sentence(error: Exception, cell: "Cell") -> str:
    """An error's message as a sentence of its own."""
    words = str(error).strip()
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


def _constructor(error: BaseException) -> tuple[type | None, dict[str, Any]]:
    """The class of layers whose constructor an error came through, and its names."""
    trace = error.__traceback__
    while trace is not None:
        frame, trace = trace.tb_frame, trace.tb_next
        if frame.f_code.co_name == "__init__":
            found = frame.f_locals.get("self")
            if isinstance(found, Layer):
                return type(found), frame.f_locals
    return None, {}


def _tensor_as_setting(error: Exception, cell: "Cell") -> tuple[str, str] | None:
    """A constructor that refused a tensor, which was meant for the call."""
    cls, given = _constructor(error)
    for name, value in given.items():
        if cls is not None and isinstance(value, KerasTensor):
            return two_brackets(cls, name)
    return None


def two_brackets(cls: type, argument: str) -> tuple[str, str]:
    """What to say of a tensor among the arguments of a constructor."""
    kind = cls.__name__
    call = f"{kind}()([a, b])" if issubclass(cls, Merge) else f"{kind}(...)(x)"
    return (
        f"{kind} got a tensor as its argument `{argument}`, before it was called."
    ), (
        "The settings of a layer go into a first pair of brackets, tensors into a "
        f"second one: {call}."
    )


def _with_kind(sentence: str, error: BaseException, cell: "Cell") -> str:
    """A sentence about an argument, led by the layer whose constructor said it."""
    cls, _ = _constructor(error)
    kind = None if cls is None else cls.__name__
    if (
        kind is None
        or re.match(r"\w+: ", sentence)
        or re.search(rf"\b{kind}\b", sentence)
    ):
        return sentence
    plain = sentence[1:2].islower()
    return f"{kind}: {sentence[0].lower() if plain else sentence[0]}{sentence[1:]}"


def _unknown_name(error: Exception, cell: "Cell") -> tuple[str, str] | None:
    """A name that nobody has given a value."""
    if not isinstance(error, NameError) or not error.name:
        return None
    name, text = error.name, _segment_line(error, cell)
    sentence = f"`{name}` is not defined."
    if name in _FOREIGN:
        last = re.search(rf"\b{name}((?:\.\w+)+)", text)
        words = last[1].rpartition(".")[2] if last else ""
        like = _LIKE.get(words) or cell.nearest_layer(words)
        return sentence, (
            f"A model cell has the layers of Keras at hand: {like}(...)."
            if like
            else "A model cell has the layers of Keras and keras.ops; "
            f"{name} is not needed."
        )
    if name in ("model", "Sequential", "Model"):
        return sentence, (
            "The cell is the model: put each layer on a line of its own, as in "
            "Dense(10)."
        )
    if name in ("fit", "evaluate", "predict", "summary"):
        return sentence, f"Once the cell has run: {cell.name}.{name}(...)."
    if name in ("inputs", "input", "input_tensor"):
        return (
            sentence,
            "In a model cell the current tensor is `x`, the input at first.",
        )
    if re.search(rf"[(=,]\s*{name}\s*[,)]", text) and (
        hasattr(activations, name) or name in _TEXTS
    ):
        return sentence, f'If its name is meant, write it in quotes: "{name}".'
    if name in _LIKE:
        return sentence, f"Keras calls it {_LIKE[name]}."
    return sentence + cell.nearest(name), ""


_FOREIGN = ("nn", "F", "torch", "tf", "tfl", "tensorflow", "layers", "L")
_TEXTS = ("same", "valid", "causal", "channels_last", "channels_first", "he_normal")
_LIKE = {
    "Linear": "Dense",
    "relu": "ReLU",
    "sigmoid": 'Activation("sigmoid")',
    "tanh": 'Activation("tanh")',
    "BatchNorm1d": "BatchNormalization",
    "BatchNorm2d": "BatchNormalization",
    "LayerNorm": "LayerNormalization",
    "AvgPool2d": "AveragePooling2D",
    "AdaptiveAvgPool2d": "GlobalAveragePooling2D",
    "ConvTranspose2d": "Conv2DTranspose",
    "Dropout2d": "SpatialDropout2D",
}


def _arguments(error: Exception, cell: "Cell") -> tuple[str, str] | None:
    """What Python says about the arguments of a layer, in our words."""
    if not isinstance(error, TypeError):
        return None
    words = str(error)
    pattern = r"(\w+)\.__init__\(\) missing \d+ required \S+ arguments?: (.*)"
    if match := re.fullmatch(pattern, words):
        missing = match[2].replace("'", "`")
        return f"{_class_meant(match[1], error, cell)} needs {missing}.", ""
    pattern = (
        r"(\w+)\.__init__\(\) takes (?:from \d+ to )?(\d+) positional arguments? but "
        r"(\d+) (?:positional arguments? .*)?w\w+ given"
    )
    if match := re.fullmatch(pattern, words):
        most, given = int(match[2]) - 1, int(match[3]) - 1
        return (
            f"{_class_meant(match[1], error, cell)} takes at most {most} arguments by "
            f"position and got {given}; give the others by name."
        ), ""
    pattern = r"(\w+)\.__init__\(\) got multiple values for argument '(\w+)'"
    if match := re.fullmatch(pattern, words):
        return (
            f"{_class_meant(match[1], error, cell)} got `{match[2]}` twice: by "
            "position and by name."
        ), ""
    if match := re.search(r"(build|call)\(\) missing \d+ required positional", words):
        layer = _called_layer(error)
        if layer is not None:
            parameters = inspect.signature(type(layer).call).parameters.values()
            needed = [p.name for p in parameters if p.default is p.empty][1:]
            kind = type(layer).__name__
            if len(needed) > 1:
                call = f"{kind}(...)({', '.join('x' * len(needed))})"
                return (
                    f"{kind} is called on {len(needed)} tensors: {', '.join(needed)}.",
                    f"Call it with all of them: x = {call}.",
                )
    return None


def _values_needed(error: Exception, cell: "Cell") -> tuple[str, str] | None:
    """Python, NumPy or JAX asked for values that are not there yet."""
    words = str(error)
    marks = ("values are not known yet", "has no values yet", "__jax_array__")
    if "Lambda" in words or not any(mark in words for mark in marks):
        return None
    shape = re.search(r"shape=(\([^)]*\))", words)
    of = f" of shape {shape[1]}" if shape else ""
    line = line_of(error, cell.filename)
    node = cell.node(line) if line else None
    segment = _segment(error, cell)
    function = re.match(r"([\w.]+)\(", segment)
    if function:
        what, last = function[1], function[1].rpartition(".")[2]
        hint = f"keras.ops.{last} can." if hasattr(ops, last) and "." in what else ""
        if what == "len":
            hint = "x.shape[-1] is its last length."
        what = f"`{what}`"
    elif isinstance(node, ast.For):
        what, hint = "`for`", "Go over what is known, as in `for n in (32, 64):`."
    elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Tuple):
        what = "Unpacking"
        hint = "x[:, :2] is a part of it; keras.ops.split makes several."
    else:
        word = {ast.If: "if", ast.While: "while", ast.Assert: "assert"}.get(type(node))
        what = f"`{word}`" if word else f"`{segment}`"
        hint = "keras.ops.where(condition, a, b) chooses for each value."
    return (
        f"{what} cannot work on a tensor{of}: its values are known only when the "
        "model runs."
    ), hint


def _failed_op(error: Exception, cell: "Cell") -> tuple[str, str] | None:
    """An operator or a function of `keras.ops` that could not work."""
    trace, operation, given = error.__traceback__, None, []
    while trace is not None:
        frame, trace = trace.tb_frame, trace.tb_next
        if frame.f_code is Layer.__call__.__code__:
            return None
        if frame.f_code is Operation.symbolic_call.__code__:
            operation, given = frame.f_locals["self"], list(frame.f_locals["args"])
    if not isinstance(operation, OpCall):
        return None
    name = operation.fn.__name__
    what = f"`{_SIGNS.get(name, name)}`"
    for value in leaves(given):
        if isinstance(value, str | Layer):
            kind = type(value).__name__
            layer = isinstance(value, Layer)
            return (
                f"{what} got {f'a layer, {kind},' if layer else show(value)} where a "
                "tensor or a number was expected."
            ), (f"Call it on a tensor: {kind}(...)(x)." if layer else "")
    shapes = [str(tuple(v.shape)) for v in leaves(given) if hasattr(v, "shape")]
    words = str(error).strip().splitlines()[0].rstrip(".")
    if len(shapes) < 2:
        return f"{what}: {_without_probes(words)}.", ""
    ends = "which do not broadcast" if "broadcast" in words else "which do not fit"
    tensors = [v for v in leaves(given) if isinstance(v, KerasTensor)]
    hint = ""
    if "broadcast" in words and len(tensors) == len(shapes):
        hint = _join_mend(Call(Merge(), tensors), cell, "")
    return f"{what} got shapes {', '.join(shapes[:-1])} and {shapes[-1]}, {ends}.", hint


_SIGNS = {
    "add": "+", "subtract": "-", "multiply": "*", "true_divide": "/", "divide": "/",
    "matmul": "@", "power": "**",
}  # fmt: skip


def _without_probes(words: str) -> str:
    """Words of JAX without the lengths that stand for unknown ones."""
    return re.sub(r"\d+", lambda m: "None" if is_probe(int(m[0])) else m[0], words)


def _no_attribute(error: Exception, cell: "Cell") -> tuple[str, str] | None:
    """Something that a tensor, a layer or one of our modules does not have."""
    if not isinstance(error, AttributeError) or not error.name:
        return None
    name, obj = error.name, error.obj
    if isinstance(obj, KerasTensor):
        sentence = f"A tensor of a model has no `{name}`."
        if name in _TENSOR:
            return sentence, _TENSOR[name]
        if layer := cell.nearest_layer(name):
            return sentence, f"A line {layer}(...) applies it to the current tensor."
        return sentence, f"keras.ops.{name}(x) does it." if hasattr(ops, name) else ""
    if isinstance(obj, Layer) and _is_cells(error, cell):
        kind = type(obj).__name__
        sentence = f"A {kind} layer has no `{name}`."
        if hasattr(activations, name):
            return sentence, f'{kind}(..., activation="{name}") applies it.'
        if hasattr(KerasTensor, name) or name in _TENSOR:
            return sentence, "The tensor it makes may have: x = layer(x), then x."
        return sentence + suggest(name, [n for n in dir(obj) if n[0] != "_"]), ""
    if isinstance(obj, ModuleType) and obj.__name__.partition(".")[0] == "kerasnb":
        where = obj.__name__.replace("kerasnb", "keras", 1)
        return f"{where} has no `{name}`.{_home(name) or suggest(name, dir(obj))}", ""
    if obj is own.layer:  # what `keras.layers` is with its s forgotten
        return f"keras.layer has no `{name}`.{_home(name)}", ""
    return None


def _home(name: str) -> str:
    """The hint for a name that stands in a room of the package: keras.layers.Dense."""
    homes = (room.__name__ for room in _ROOMS if hasattr(room, name))
    where = next(homes, "").replace("kerasnb", "keras", 1)
    return f' Did you mean "{where}.{name}"?' if where else ""


_ROOMS = (layers, models, optimizers, losses, metrics, callbacks, activations, ops)


def _not_there(error: Exception, cell: "Cell") -> tuple[str, str] | None:
    """A line that imports from a package what the package does not have."""
    if not isinstance(error, ImportError) or not _is_cells(error, cell):
        return None
    if found := re.match(r"cannot import name '(\w+)' from '([\w.]+)' \(", str(error)):
        name, where = found.groups()
        room = sys.modules.get(where)
        near = ""
        if where == "kerasnb":
            near = _home(name) or _home(cell.nearest_layer(name))
        return f"{where} has no `{name}`.{near or suggest(name, dir(room))}", ""
    if found := re.fullmatch(r"No module named '([\w.]+)\.(\w+)'", str(error)):
        where, name = found.groups()
        names = vars(sys.modules[where]) if where in sys.modules else {}
        known = [key for key, value in names.items() if isinstance(value, ModuleType)]
        return f"{where} has no module `{name}`.{suggest(name, known)}", ""
    return None


def _is_cells(error: BaseException, cell: "Cell") -> bool:
    frame = last_frame(error)
    return frame is not None and frame.f_code.co_filename == cell.filename


_UNKNOWN_YET = "Its values are known only when the model runs; leave this out."
_TENSOR = {
    "view": "Reshape((...)) gives the samples another shape.",
    "unsqueeze": "keras.ops.expand_dims(x, axis) adds an axis.",
    "permute": "Permute((2, 1)) changes the order of the axes.",
    "size": "Its lengths are x.shape.",
    "flatten": "A line Flatten() does it.",
    "T": "keras.ops.transpose(x) does it.",
    **dict.fromkeys(("numpy", "item", "detach", "cpu", "cuda", "to"), _UNKNOWN_YET),
}


def _not_a_tensor(error: Exception, cell: "Cell") -> tuple[str, str] | None:
    """A layer that was called on something else than tensors."""
    layer, given = _called(error)
    if layer is None:
        return None
    kind = type(layer).__name__
    if not given:
        own = isinstance(getattr(layer, "layers", None), list)
        who, call = (f"`{layer.name}`", layer.name) if own else (kind, f"{kind}(...)")
        return f"{who} was called on nothing.", f"{call}(x) calls it on `x`."
    for value in leaves(given[0]):
        if isinstance(value, Layer):
            other = type(value).__name__
            return (
                f"{kind} was called on a layer, {other}, where a tensor was expected."
            ), f"Call that one first: {other}(...)(x)."
        if value is None or isinstance(value, str | bool | int | float):
            return f"{kind} was called on {show(value)}, which is no tensor.", ""
        if getattr(value, "shape", None) == ():
            return f"{kind} was called on a number, where a tensor was expected.", ""
    return None


def _trained_on_tensor(error: Exception, cell: "Cell") -> tuple[str, str] | None:
    """A model that was asked to work on data and got a tensor."""
    trace = error.__traceback__
    while trace is not None:
        frame, trace = trace.tb_frame, trace.tb_next
        name, x = frame.f_code.co_name, frame.f_locals.get("x")
        if name in ("fit", "predict", "evaluate") and isinstance(x, KerasTensor):
            return (
                f"`{name}` works on data, and a tensor of a model holds none yet."
            ), "A model is a layer too: x = model(x) makes it a part of this one."
    return None


def _misused(error: Exception, cell: "Cell") -> tuple[str, str] | None:
    """Python's words about classes and layers that are used like something else."""
    if not isinstance(error, TypeError) or not _is_cells(error, cell):
        return None
    words, segment = str(error), _segment(error, cell)
    pattern = r"(?:type )?'(\w+)' (?:object )?is not subscriptable"
    if (match := re.fullmatch(pattern, words)) and cell.is_layer_class(match[1]):
        how = "make a layer" if words.startswith("type") else "call it"
        example = f"{match[1]}(...)" + "(x)" * (how == "call it")
        return (
            f"{match[1]} got square brackets.",
            f"Round brackets {how}: {example}.",
        )
    if words == "'KerasTensor' object is not callable":
        return "A tensor was called as if it were a layer.", ""
    if words.startswith("compile() "):
        return (
            "`compile` is a function of Python that has nothing to do with models.",
            "--optimizer, --loss and --metrics in the first line compile the model.",
        )
    if words == "'module' object is not callable":
        name = segment.partition("(")[0]
        near = cell.nearest_layer(name.rpartition(".")[2])
        return f"`{name}` is a module, not a layer.", f"Write {near}(...)." * bool(near)
    pattern = r"unsupported operand type\(s\) for (\S+): '(\w+)' and '(\w+)'"
    if match := re.fullmatch(pattern, words):
        layers = [n for n in match.groups()[1:] if cell.is_layer_class(n)]
        if layers:
            return (
                f"`{match[1]}` got a layer, {layers[0]}, where a tensor was expected.",
                f"Call it on a tensor first: {layers[0]}(...)(x).",
            )
    return None


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
    """The frame that raised an error; what the shell puts around Python is left out."""
    trace, last = error.__traceback__, None
    while trace is not None:
        if last is None or root(trace.tb_frame) not in _SHELL:
            last = trace.tb_frame
        trace = trace.tb_next
    return last


def root(frame: FrameType) -> str:
    """The package that a frame belongs to."""
    return frame.f_globals.get("__name__", "").partition(".")[0]


def is_ours(frame: FrameType) -> bool:
    """Whether a frame is of this package or of those it stands on."""
    return root(frame) in _OURS


def _segment(error: BaseException, cell: "Cell") -> str:
    """The part of the cell that raised an error, such as `np.log(x)`, on one line."""
    place, trace = None, error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == cell.filename:
            positions = list(trace.tb_frame.f_code.co_positions())
            place = positions[trace.tb_lasti // 2]
        trace = trace.tb_next
    if place is None or None in place or not place[0]:
        return ""
    first, last, begin, end = place
    lines = [line.encode() for line in cell.lines[first - 1 : last]]  # type: ignore
    lines[-1] = lines[-1][:end]
    lines[0] = lines[0][begin:]
    return " ".join(line.decode(errors="replace").strip() for line in lines)


def _segment_line(error: BaseException, cell: "Cell") -> str:
    line = line_of(error, cell.filename)
    return cell.statement(line) if line else ""


def _called(error: BaseException) -> tuple[Layer | None, list[Any]]:
    """The innermost layer whose call an error came through, and what it was given."""
    found: tuple[Layer | None, list[Any]] = (None, [])
    trace = error.__traceback__
    while trace is not None:
        frame, trace = trace.tb_frame, trace.tb_next
        if frame.f_code is Layer.__call__.__code__:
            named = frame.f_locals["kwargs"].values()
            tensors = [v for v in named if isinstance(v, KerasTensor)]
            found = frame.f_locals["self"], [*frame.f_locals["args"], *tensors]
    return found


def _called_layer(error: BaseException) -> Layer | None:
    """The outermost layer whose call an error came through."""
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code is Layer.__call__.__code__:
            return trace.tb_frame.f_locals["self"]
        trace = trace.tb_next
    return None


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
        small, big = sorted((first, second), key=lambda t: len(t.shape))
        if len(small.shape) == 2 and _step_back(small) is None:
            name = _name_of(big, cell)
            what = f"{name} = Flatten()({name})" if name else "Flatten()"
            return f"{what} would make one row of the other one."
        return _rank_words(small, len(big.shape), cell)
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
    met = False
    while (step := _step_back(tensor)) is not None:
        operation, before = step
        if len(before.shape) != len(small.shape):
            break
        if [before.shape[a] for a in axes] != [tensor.shape[a] for a in axes]:
            makers.insert(0, (operation, before.shape, tensor.shape))
        if met := [before.shape[a] for a in axes] == wanted:
            break
        tensor = before
    if not makers:
        return ""
    old = _size([makers[0][1][a] for a in axes])
    new = _size([small.shape[a] for a in axes])
    where = _where([operation for operation, *_ in makers], cell)
    if all(_only_edges(operation) for operation, *_ in makers):
        if not met:
            return (
                f"{where} shrank {old} to {new}, the other branch to {_size(wanted)}; "
                f'padding="same" in both would keep {old}.'
            )
        return f'{where} shrank {old} to {new}; padding="same" would keep it.'
    return f"{where} made {new} of {old}; join before, or treat both branches alike."


def _only_edges(operation: Operation) -> bool:
    """Whether a layer lost no more than the edges, which padding would keep."""
    steps = getattr(operation, "strides", None)
    steps = steps if isinstance(steps, tuple) else (steps,)
    return getattr(operation, "padding", None) == "valid" and set(steps) == {1}


def _rank_mend(call: Call, cell: "Cell", sentence: str) -> str:
    """For too few axes, or too many: where they got lost, or what takes them away."""
    tensor = call.tensors[0]
    spec = next((s for s in leaves(call.layer.input_spec) if s is not None), None)
    wanted = getattr(spec, "ndim", None) or getattr(spec, "min_ndim", None)
    if spec is None or wanted is None:
        return ""
    rank = len(tensor.shape)
    if wanted == getattr(spec, "ndim", None) == 3 < rank:
        return f"Reshape((-1, {tensor.shape[-1]})) makes a sequence of all its places."
    if rank >= wanted:
        return ""
    known = tensor.shape[1:]
    if _step_back(tensor) is None and len(known) == 1 and known[0] and wanted == 4:
        for channels in (1, 3):
            side = math.isqrt(known[0] // channels)
            if side * side * channels == known[0] and side > 1:
                return (
                    f"The samples are flat, {known[0]} numbers each; if they are "
                    f"pictures, begin with Reshape(({side}, {side}, {channels}))."
                )
    return _rank_words(tensor, wanted, cell)


def _rank_words(tensor: KerasTensor, wanted: int, cell: "Cell") -> str:
    at = tensor
    while (step := _step_back(at)) is not None:
        operation, before = step
        if len(before.shape) >= wanted:
            where = _where([operation], cell)
            if getattr(operation, "return_sequences", None) is False:
                return (
                    f"{where} gives only its last answer; return_sequences=True gives "
                    "one for each step."
                )
            return (
                f"{where} made {at.shape} of {before.shape}; leave it out, or move it "
                "behind this line."
            )
        at = before
    known = at.shape[1:]
    if at is not tensor or None in known:
        return ""
    if len(tensor.shape) == wanted - 1:
        shape = ", ".join(str(n) for n in (*known, 1))
        what = "has no channels" if wanted > 3 else "has one axis too few"
        option = f"add one with --input {shape.replace(' ', '')}, or "
        return (
            f"The input {what}; {option * cell.given_shape}begin with "
            f"Reshape(({shape}))."
        )
    return ""


def _list_mend(call: Call, cell: "Cell", sentence: str) -> str:
    """For a join of one tensor, or one tensor wanted of several."""
    kind, several = type(call.layer).__name__, len(call.tensors)
    if isinstance(call.layer, Merge) and "one list" in sentence:
        if several > 1:
            return f"Put them into square brackets: {kind}()([a, b])."
        return f"x = {kind}()([x, skip]) joins two; skip = x keeps one to join later."
    if several > 1 and "expects 1 input" in sentence:
        return "Take one of them, as in x = x[0], or join them: x = Concatenate()(x)."
    return ""


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


def _mend(call: Call, cell: "Cell", sentence: str) -> str:
    """The first mend that anybody knows, or nothing."""
    found = (mend(call, cell, sentence) for mend in _MENDS)
    return next((hint for hint in found if hint), "")


_MENDS: tuple[Callable[[Call, "Cell", str], str], ...] = (
    _list_mend,
    _join_mend,
    _rank_mend,
    _small_mend,
    _integer_mend,
    _unknown_mend,
)


_TEACHERS: tuple[Callable[[Exception, "Cell"], tuple[str, str] | None], ...] = (
    _unknown_name,
    _tensor_as_setting,
    _arguments,
    _values_needed,
    _no_attribute,
    _not_there,
    _trained_on_tensor,
    _failed_op,
    _not_a_tensor,
    _misused,
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
