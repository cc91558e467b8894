"""The model language of `%%kmodel` cells, as a Python function.

A model cell is ordinary Python with two rules: `x` is the current tensor, and a line
that is just a layer means `x = layer(x)`. Names that the cell assigns stay its own, as
in a function; only the model itself comes out. The names of `kerasnb.layers` are at
hand like Python's built-in ones: a name of the user's own goes before.
"""

import ast
import builtins
import contextlib
import inspect
import io
import linecache
import re
import types
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from kerasnb import layers, models
from kerasnb.core import dtypes, naming
from kerasnb.core.errors import show, suggest
from kerasnb.core.graph import KerasTensor, OpCall, leaves, map_structure, node_of
from kerasnb.layers.input_layer import InputLayer
from kerasnb.layers.layer import Layer
from kerasnb.notebook import hints, rewrite, specs
from kerasnb.notebook.errors import KModelError, KModelWarning
from kerasnb.notebook.keep import fresh_optimizer, keep_weights, note_rates
from kerasnb.random import Generators, set_random_seed

_FOREIGN = ("keras", "tf_keras", "tensorflow", "torch", "flax", "equinox")


def build_model(
    source: str,
    namespace: Mapping[str, Any] | None = None,
    *,
    name: str = "model",
    input: Any = None,
    dtype: Any = None,
    optimizer: Any = None,
    learning_rate: Any = None,
    loss: Any = None,
    target: Any = None,
    metrics: Sequence[Any] = (),
    seed: int | None = None,
    jit: bool | None = None,
    keep: Any = None,
    header: str | None = None,
) -> Any:
    """The model that the lines of a model cell describe.

    `namespace` holds the names that the lines may use. `input` is a shape without the
    batch, or data (array, DataFrame, dataset), or a dict of these by name for several
    inputs. The model is compiled when an optimizer, a loss or metrics are given;
    `loss="auto"` looks at the last activation, and at `target` if there is one. `keep`
    is an earlier model whose weights go to the layers that are unchanged, and whose
    optimizer goes on; then `seed` is that of what is new, and shuffling and dropout go
    on as well. `header` is the `%%kmodel` line, when there is one: line 1 in errors.

    A mistake in the lines raises a `KModelError`, which names the line.

    >>> model = build_model('''
    ... for units in (8, 4):
    ...     Dense(units, activation="relu")
    ... Dense(1)
    ... ''', input=(3,), loss="auto")
    >>> model.output_shape, model.loss
    ((None, 1), 'mean_squared_error')
    """
    cell = Cell(source, {} if namespace is None else namespace, name, header)
    with contextlib.ExitStack() as stack, contextlib.ExitStack() as unless_new:
        stack.enter_context(naming.fresh_names())
        stack.enter_context(cell.blaming())
        if seed is not None:
            # What fails, and what goes on, leaves the generators as they are.
            unless_new.callback(Generators.now().restore)
            set_random_seed(seed)
        if dtype is not None:
            stack.enter_context(_dtype_policy(dtype))
        cell.begin(input)
        cell.run()
        model = cell.finish()
        if optimizer is not None or loss is not None or metrics:
            _compile(model, optimizer, learning_rate, loss, target, metrics, jit)
        elif learning_rate is not None:
            raise ValueError("A learning rate needs an optimizer to use it; name one.")
        note_rates(model)
        model._kept = None if keep is None else keep_weights(keep, model)
        if model._kept is None or not model._kept.kept:
            unless_new.pop_all()
    return model


def _compile(
    model: Any,
    optimizer: Any,
    learning_rate: Any,
    loss: Any,
    target: Any,
    metrics: Sequence[Any],
    jit: bool | None,
) -> None:
    if isinstance(loss, str) and loss.lower() == "auto":
        outputs = leaves(model.output)
        targets = leaves(target) if len(outputs) > 1 else [target]
        if len(targets) != len(outputs):
            targets = [None] * len(outputs)
        pairs = zip(outputs, targets, strict=True)
        chosen = [specs.choose_loss(output, y) for output, y in pairs]
        loss = chosen[0] if len(chosen) == 1 else chosen
    arguments: dict[str, Any] = {"loss": loss, "metrics": list(metrics) or None}
    if optimizer is not None:
        arguments["optimizer"] = fresh_optimizer(optimizer)
    if jit is not None:
        arguments["jit_compile"] = jit
    model.compile(**arguments)
    if learning_rate is not None:
        model.optimizer.learning_rate = learning_rate


@contextlib.contextmanager
def _dtype_policy(policy: Any) -> Iterator[None]:
    """Layers made inside compute in this dtype, unless they say otherwise."""
    before = dtypes.dtype_policy()
    dtypes.set_dtype_policy(policy)
    try:
        yield
    finally:
        dtypes.set_dtype_policy(before)


class Cell:
    """A model cell while it runs: its names, its inputs, which line called what."""

    def __init__(
        self, source: str, namespace: Mapping[str, Any], name: str, header: str | None
    ):
        self.name = name
        # As Python counts them: `splitlines` would see the end of a line in "\x0c" too.
        lines = io.StringIO(source, newline=None).read().removesuffix("\n").split("\n")
        self.lines = [*([] if header is None else [header]), *lines]
        # Under the header the first line of the body is line 2, as the editor counts.
        self.source = source if header is None else "\n" + source
        self.filename = f"<%%kmodel {name}>"
        self.namespace = namespace
        self.scope: dict[str, Any] = {
            "__name__": namespace.get("__name__", "__main__"),
            "__builtins__": (at_hand := AtHand(namespace, defines=name)),
        }
        self._at_hand = at_hand
        self.called: dict[Any, int] = {}
        """The line on which each layer was first called."""
        self.given_shape = True
        """Whether the input was asked for by its shape, not by data."""
        self.inputs: dict[str, KerasTensor] = {}
        self._statements: list[ast.stmt] = []
        self._waiting: list[Any] = []
        self._told: dict[Any, Any] = {}  # Warnings, each once for a line.
        self._running = False
        # The line of what is neither a line of the body nor the model as a whole.
        self._to_blame: int | None = None if header is None else 1

    # --- Before -----------------------------------------------------------------------

    def begin(self, given: Any) -> None:
        """Make the inputs that were asked for, and the names the rules need."""
        self._reserve_names()
        self.given_shape = isinstance(given, tuple)
        if isinstance(given, Mapping):
            for name, value in given.items():
                shape, dtype = specs.input_spec(value)
                self.inputs[name] = layers.Input(shape, dtype=dtype, name=name)
        elif given is not None:
            shape, dtype = specs.input_spec(given)
            self.inputs["x"] = layers.Input(shape, dtype=dtype)
        for tensor in self.inputs.values():
            self.called[tensor._keras_history[0]] = self._to_blame or 0
        first = list(self.inputs.values())
        current = first[0] if len(first) == 1 else NoTensor(list(self.inputs))
        self.scope.update(
            {
                **self.inputs,
                "x": current,
                rewrite.TAKES: self.takes,
                rewrite.APPLY: self.apply,
                rewrite.SEEN: self.seen,
            }
        )

    def _reserve_names(self) -> None:
        """Keep clear of the names of layers made elsewhere and used in this cell."""
        counts: dict[str, int] = {}
        with contextlib.suppress(SyntaxError):  # `run` reports it.
            for node in ast.walk(ast.parse(self.source)):
                if isinstance(node, ast.Name) and node.id in self.namespace:
                    value = self.namespace[node.id]
                    if isinstance(value, Layer):
                        prefix, _, number = value.name.rpartition("_")
                        if not number.isdigit():
                            prefix, number = value.name, "0"
                        counts[prefix] = max(counts.get(prefix, 0), int(number) + 1)
        for prefix, count in counts.items():
            for _ in range(count):
                naming.unique(prefix)

    # --- Running ----------------------------------------------------------------------

    def run(self) -> None:
        """Execute the lines."""
        text = [f"{line}\n" for line in self.lines]
        entry = (sum(map(len, text)), None, text, self.filename)
        linecache.cache[self.filename] = entry  # For tracebacks and the debugger.
        self._statements = [
            node
            for node in ast.walk(ast.parse(self.source, self.filename))
            if isinstance(node, ast.stmt)
        ]
        if not self._statements:
            raise Mistake(
                "The cell is empty.",
                "Write layers in it, each on a line of its own, as in Dense(10).",
            )
        code = compile(
            rewrite.rewrite(self.source, self.filename), self.filename, "exec"
        )
        self._running = True
        try:
            exec(code, self.scope)
        finally:
            self._running = False

    def takes(self, value: Any, is_call: bool) -> bool:
        """Whether a line's value is to be applied to `x`; remembers it for `apply`."""
        if not self._running:
            return False  # A function of the cell, called after its end.
        if isinstance(value, KerasTensor):
            self._waiting = [value]
            if isinstance(value._keras_history[0], InputLayer):
                return True
            if is_call and isinstance(value._keras_history[0], OpCall):
                what = value._keras_history[0].fn.__name__
                line = _line_in(self.filename)
                self._warn(line, f"Nothing uses what {what} made here.", _GO_ON)
            return False
        self._waiting = _layers_in(value)
        return bool(self._waiting)

    def apply(self, x: Any) -> Any:
        """The layers of a line, called on `x` one after the other."""
        if isinstance(x, Layer):
            raise self._layer_as_tensor("x", x)
        if not isinstance(x, NoTensor) and not _tensors_in(x):
            raise self._no_tensor(x)
        for layer in self._waiting:
            if isinstance(layer, KerasTensor):
                # A line `Input(...)` is where an x without a value begins.
                x = layer if isinstance(x, NoTensor) else x
            elif isinstance(layer, InputLayer):
                x = layer.output
            else:
                x = layer(_first_input(layer, x) if isinstance(x, NoTensor) else x)
            self._note(x, _line_in(self.filename))
        return x

    def seen(self, value: Any) -> Any:
        """`value` itself; the layers that made it learn the line they stand on."""
        if isinstance(value, Layer) and value not in self.called:
            _reject_tensors(value)
        few = isinstance(value, list | tuple | dict) and len(value) <= 64
        if self._running and (few or isinstance(value, KerasTensor)):
            self._note(value, _line_in(self.filename))
        return value

    def _note(self, tree: Any, line: int) -> None:
        waiting = _tensors_in(tree)
        while waiting:
            tensor = waiting.pop()
            if tensor._keras_history is None:
                continue
            operation = tensor._keras_history[0]
            if operation not in self.called:
                self.called[operation] = line
                self._check_shape(operation, tensor)
                waiting.extend(node_of(tensor).input_tensors)

    def _check_shape(self, layer: Any, output: KerasTensor) -> None:
        """A first layer that says the shape of its input must say the right one."""
        said = getattr(layer, "_input_shape_argument", None)
        inputs = node_of(output).input_tensors
        if said is None or not all(node_of(x).is_input for x in inputs):
            return
        for x in inputs:
            pairs = zip(said, x.shape[1:], strict=False)
            same = len(said) == len(x.shape) - 1
            if not same or any(None not in (a, b) and a != b for a, b in pairs):
                raise Mistake(
                    f"{type(layer).__name__} has input_shape={said}, but its input has "
                    f"the shape {x.shape}, the batch first.",
                    "Leave input_shape out: the layer goes by its input.",
                )

    # --- After ------------------------------------------------------------------------

    def finish(self) -> Any:
        """The model from the inputs to `outputs`, or to `x`."""
        blamed, self._to_blame = self._to_blame, None
        what = "outputs" if "outputs" in self.scope else "x"
        if what not in self.scope:
            raise Mistake("At the end of the cell `x` is gone.", "Leave `del x` out.")
        outputs = self.scope[what]
        for tensor in leaves(outputs):
            if isinstance(tensor, NoTensor):
                tensor.explain()
            if isinstance(tensor, Layer):
                raise self._layer_as_tensor(what, tensor)
            if not isinstance(tensor, KerasTensor):
                line = self._assigned(what)
                raise Mistake(
                    f"At the end of the cell `{what}` is {show(tensor)}, where a "
                    "tensor made by layers was expected.",
                    _RETURN if tensor is None and self._is_call(line) else "",
                    line=line,
                )
        if not leaves(outputs):
            line = self._assigned(what)
            raise Mistake(f"`{what}` holds no tensor.", "", line=line)
        found = _inputs_of(outputs)
        if found.keys() & set(leaves(outputs)):
            raise self._nothing_called(what)
        self._check_names()
        model = models.Model(self._ordered(found), outputs, name=self.name)
        for operation, line in self.called.items():
            if isinstance(operation, Layer) and line:
                operation.__dict__["_source_line"] = (line, self.statement(line))
        self._mention_unused(model, found)
        self._to_blame = blamed
        return model

    def _check_names(self) -> None:
        """Two layers of a model need two names."""
        first: dict[str, Any] = {}
        for layer, line in self.called.items():
            other = first.setdefault(layer.name, layer)
            if other is not layer and isinstance(layer, Layer):
                raise Mistake(
                    f"Two layers are named `{layer.name}`, here and on line "
                    f"{self.called[other]}; a model tells them apart by name.",
                    line=line,
                )

    def _mention_unused(self, model: Any, found: dict[KerasTensor, None]) -> None:
        """Warn of branches and inputs that lead nowhere."""
        used = {node.operation for node in model._function._nodes}
        kept = {id(tensor) for tensor in found}
        for name, tensor in self.inputs.items():
            if id(tensor) not in kept:
                self._warn(
                    self._to_blame or 1,
                    f"Nothing uses the input `{name}`.",
                    f"Call a layer on it, as in Dense(10)({name}), or leave it out.",
                )
        wasted = {
            line: type(operation).__name__
            for operation, line in self.called.items()
            if isinstance(operation, Layer) and operation not in used
            if not isinstance(operation, InputLayer)
        }
        if wasted:
            what = " and ".join(dict.fromkeys(wasted.values()))
            *more, last = sorted(wasted)
            where = f"on lines {', '.join(map(str, more))} and {last}"
            self._warn(
                last,
                f"Nothing uses what {what} made {where if more else 'here'}, so it is "
                "no part of the model.",
                _GO_ON,
            )

    def _warn(self, line: int, sentence: str, hint: str) -> None:
        text = self.statement(line)
        told = KModelWarning(self.name, line, text, sentence, hint)
        warnings.warn_explicit(
            told,
            None,
            self.filename,
            line,
            registry=self._told,
        )

    def _nothing_called(self, what: str) -> "Mistake":
        """Why the model would be nothing but its input."""
        made = [
            (name, value)
            for name, value in self.scope.items()
            if isinstance(value, KerasTensor) and node_of(value).input_tensors
        ]
        lost = [op for op in self.called if not isinstance(op, InputLayer)]
        if lost and not made:
            kind = type(lost[-1]).__name__
            return Mistake(
                f"At the end of the cell `{what}` is still the input: nothing uses "
                f"what {kind} made here.",
                f"A line {kind}(...) goes on with it by itself, and so does "
                f"x = {kind}(...)(x).",
                line=self.called[lost[-1]],
            )
        if not made:
            return Mistake(
                "The cell calls no layer on its input, so there is no model.",
                "Write layers, each on a line of its own, as in Dense(10).",
            )
        name = made[-1][0]
        if what == "outputs":
            return Mistake(
                "`outputs` is the input: it was set before any layer was called.",
                "Set it at the end, or leave it out: `x` is the output by itself.",
                line=self._assigned(what),
            )
        line = self._assigned(name)
        return Mistake(
            f"At the end of the cell `x` is still the input; what the layers made of "
            f"it is `{name}`.",
            f"Write x = ... in the place of {name} = ..., or end the cell with "
            f"outputs = {name}.",
            line=line,
        )

    def _ordered(self, found: dict[KerasTensor, None]) -> Any:
        """The model's inputs: as `inputs` in the cell has them, if that is what it is.

        Else those asked for come first, then those named in the cell, then the others.
        """
        own = self.scope.get("inputs")
        given = _tensors_in(own)
        if set(given) == found.keys():
            return own
        named = [t for t in self.scope.values() if isinstance(t, KerasTensor)]
        order = [*self.inputs.values(), *(t for t in named if t in found), *found]
        inputs = list(dict.fromkeys(order))
        return inputs[0] if len(inputs) == 1 else inputs

    def _assigned(self, name: str, before: float = float("inf")) -> int | None:
        """The last line, up to one, that gives `name` a value."""
        lines = [
            node.lineno
            for statement in self._statements
            for node in ast.walk(statement)
            if isinstance(node, ast.Name) and node.id == name
            if isinstance(node.ctx, ast.Store) and node.lineno <= before
        ]
        return max(lines, default=None)

    def _is_call(self, line: int | None) -> bool:
        """Whether a line gives a name what a function returned."""
        node = self.node(line) if line else None
        return isinstance(node, ast.Assign) and isinstance(node.value, ast.Call)

    def _layer_as_tensor(self, name: str, layer: Layer) -> "Mistake":
        kind = type(layer).__name__
        leave = f"Leave `{name} =` out to apply {kind} to the current tensor, or call"
        return Mistake(
            f"`{name}` is a layer here, {kind}, where a tensor was expected.",
            f"{leave if name == 'x' else 'Call'} it: {kind}(...)(x).",
            line=self._assigned(name),
        )

    def _no_tensor(self, x: Any) -> "Mistake":
        """`x` was given another meaning before a layer."""
        here = _line_in(self.filename)
        line = self._assigned("x", before=here)
        hint = ""
        if line is not None:
            hint = f"Line {line} gave it that value; use another name there."
            hint = _RETURN if x is None and self._is_call(line) else hint
        return Mistake(f"`x` is {show(x)} here, where a tensor was expected.", hint)

    # --- Errors -----------------------------------------------------------------------

    @contextlib.contextmanager
    def blaming(self) -> Iterator[None]:
        """Turn what goes wrong inside into a `KModelError`.

        Its line is the deepest one of the cell that the error came through.
        """
        try:
            yield
        except KModelError:
            raise
        except SyntaxError as error:
            if error.filename != self.filename:
                raise self._error(error, hints.line_of(error, self.filename)) from error
            words, hint = hints.syntax(error, self.lines)
            raise KModelError(self.name, error.lineno, "", words, hint) from error
        except Exception as error:
            raise self._error(error, hints.line_of(error, self.filename)) from error

    def _error(self, error: Exception, line: int | None) -> KModelError:
        line = line or self._to_blame
        if isinstance(error, Mistake):
            sentence, hint = error.args
            line = error.line or line
        else:
            sentence, hint = hints.explain(error, self)
        text = self.statement(line) if line is not None else ""
        return KModelError(self.name, line, text, sentence, hint)

    def node(self, line: int) -> ast.stmt | None:
        """The innermost statement that covers a line."""
        within = [s for s in self._statements if s.lineno <= line <= _end(s)]
        return max(within, key=lambda s: (s.lineno, -_end(s)), default=None)

    def statement(self, line: int) -> str:
        """The statement that covers a line, on one line; of a block only its head."""
        start = self.node(line)
        if start is None:
            words = self.lines[line - 1].strip()
            return words.removeprefix(f"%%kmodel {self.name}").strip()
        body = getattr(start, "body", None)
        end = max(body[0].lineno - 1, start.lineno) if body else _end(start)
        words = " ".join(part.strip() for part in self.lines[start.lineno - 1 : end])
        words = words.replace("( ", "(").replace(", )", ")").replace(" )", ")")
        return words if len(words) <= 100 else words[:97] + "..."

    def find(self, name: str) -> Any:
        """What a name means in the cell, None if nothing."""
        with contextlib.suppress(KeyError, Mistake):
            return self.scope[name] if name in self.scope else self._at_hand[name]
        return None

    def nearest(self, name: str) -> str:
        """The hint for a name that does not exist; the user's own names come first."""
        own = [*self.scope, *self.namespace]
        own = [n for n in own if not n.startswith("_") and n not in (name, *_SHELLS)]
        near = suggest(name, [*own, *LAYERS])
        if near or len(name) < 4:  # everything is near to a short name
            return near
        return suggest(name, [n for n in dir(builtins) if n[0] == name[0]])

    def is_layer_class(self, name: str) -> bool:
        """Whether a name in the cell is that of a class of layers."""
        value = self.find(name)
        return isinstance(value, type) and issubclass(value, Layer)

    def nearest_layer(self, name: str) -> str:
        """The class of layers that a name may mean, or nothing."""
        match = re.search('"(.+)"', suggest(name, LAYERS)) if name else None
        return match[1] if match else ""


class Mistake(Exception):
    """Something wrong with a line: a sentence and, perhaps, the likely mend."""

    def __init__(self, sentence: str, hint: str = "", line: int | None = None):
        super().__init__(sentence, hint)
        self.line = line


class NoTensor:
    """What `x` is while there is no input, or a choice of several: no tensor yet."""

    def __init__(self, names: list[str]):
        self.names = names

    def explain(self) -> None:
        """Raise the sentence that says what is missing."""
        if self.names:
            raise Mistake(
                f"The model has several inputs ({', '.join(self.names)}) and `x` is "
                "none of them yet.",
                f"Begin with x = {self.names[0]}, or join them: "
                f"x = Concatenate()([{', '.join(self.names)}]).",
            )
        raise Mistake(
            "The model has no input yet.",
            "Say its shape in the first line, as in --input 28,28,1 or --input "
            "x_train, or begin the cell with Input((28, 28, 1)).",
        )

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") and name != "__array__":
            raise AttributeError(name)
        return self.explain()


class AtHand(dict):
    """What a cell finds beside its own names, in the place of Python's built-in ones.

    The user's names come first, then those of `kerasnb.layers` (or `more`), then
    Python's. The name that the cell `defines` means no earlier model in it. Python
    asks this table last; unlike a table of globals it may be one that looks elsewhere.
    """

    def __init__(
        self,
        namespace: Mapping[str, Any],
        more: Mapping[str, Any] | None = None,
        defines: str = "",
    ):
        # Python itself asks for these without looking elsewhere.
        own = {k: v for k, v in vars(builtins).items() if k.startswith("__")}
        super().__init__(own)
        self.namespace, self.defines = namespace, defines
        self.more = LAYERS if more is None else more

    def __missing__(self, name: str) -> Any:
        if name == self.defines and isinstance(self.namespace.get(name), Layer):
            raise Mistake(
                f"The cell makes the model `{name}` and uses an earlier `{name}` in "
                "it.",
                "Each run would put the model into itself once more; give one of the "
                "two another name.",
            )
        for names in (self.namespace, self.more, vars(builtins)):
            if name in names:
                return names[name]
        raise KeyError(name)


LAYERS: dict[str, Callable] = {
    name: value
    for name, value in vars(layers).items()
    if not name.startswith("_") and not isinstance(value, types.ModuleType)
}
"""What a model cell has at hand: layers, `Input`, and the joins as functions."""


_SHELLS = ("In", "Out", "exit", "quit", "open", "get_ipython")
_GO_ON = "x = ... would go on with it; leave the line out if it is not needed."
_RETURN = "The function gave nothing back; end it with `return x`."


def _tensors_in(value: Any) -> list[KerasTensor]:
    """The tensors of the model in any value, which may be a list that holds itself.

    JAX's trees are more particular: they sort the keys of a dict, and they end.
    """
    found, known, waiting = [], set(), [value]
    while waiting:
        match waiting.pop():
            case KerasTensor() as tensor:
                found.append(tensor)
            case dict() | list() | tuple() as parts if id(parts) not in known:
                known.add(id(parts))
                waiting += dict.values(parts) if isinstance(parts, dict) else parts
    return found[::-1]


def _reject_tensors(layer: Layer) -> None:
    """A tensor among the arguments of a constructor is meant for the call."""
    for name, value in layer._config.items():
        if _tensors_in(value):
            raise Mistake(*hints.two_brackets(type(layer), name))


def _end(statement: ast.stmt) -> int:
    return statement.end_lineno or statement.lineno


def _layers_in(value: Any, around: tuple[Any, ...] = ()) -> list[Any]:
    """The layers that a line stands for: itself, or those of a list; none for others.

    `around` are the lists that it stands in, which it may hold itself. What is surely
    meant to be a layer, and is none, is a mistake.
    """
    if isinstance(value, Layer | OpCall):
        return [value]
    if isinstance(value, type) and issubclass(value, Layer):
        name = value.__name__
        raise Mistake(f"{name} is a class, not a layer.", f"Write {name}().")
    if not isinstance(value, list | tuple):
        _reject_foreign(value)
        return []
    if any(value is other for other in around):
        return []
    parts = [_layers_in(item, (*around, value)) for item in value]
    for item, part in zip(value, parts, strict=True):
        if not part and any(parts):
            raise Mistake(f"This list of layers also holds {show(item)}.")
    return [layer for part in parts for layer in part]


def _reject_foreign(value: Any) -> None:
    """A layer of another library does nothing on a line of its own: say so."""
    for base in type(value).__mro__:
        root = (base.__module__ or "").partition(".")[0]
        if root in _FOREIGN and base.__name__ in ("Layer", "Operation", "Module"):
            name = type(value).__name__
            raise Mistake(
                f"{name} is a layer of {root}, which a kerasnb model cannot use.",
                f"Leave the import of {name} out, or import kerasnb as keras."
                if name in LAYERS
                else "",
            )


def _first_input(layer: Any, x: NoTensor) -> Any:
    """A placeholder that a first layer can start from, if it knows its input."""
    shape = layer._input_shape_argument
    if shape is not None:
        return layers.Input(shape)
    if getattr(layer, "built", False) and getattr(layer, "inputs", None):
        return map_structure(
            lambda t: layers.Input(batch_shape=t.shape, dtype=t.dtype), layer.input
        )
    return x.explain()


def _inputs_of(outputs: Any) -> dict[KerasTensor, None]:
    """The input placeholders that outputs were made from, in the order of a walk."""
    found: dict[KerasTensor, None] = {}
    done: set[int] = set()

    def visit(tensor: KerasTensor) -> None:
        stack = [tensor]
        while stack:
            node = node_of(stack.pop())
            if id(node) in done:
                continue
            done.add(id(node))
            if node.is_input:
                found.update(dict.fromkeys(node.output_tensors))
            stack.extend(reversed(node.input_tensors))

    for output in leaves(outputs):
        visit(output)
    return found


def _line_in(filename: str) -> int:
    """The line of the cell that is running."""
    frame = inspect.currentframe()
    while frame is not None and frame.f_code.co_filename != filename:
        frame = frame.f_back
    return frame.f_lineno if frame is not None else 1
