"""Symbolic calls: what a functional model is made of.

Calling an operation on a `KerasTensor` computes nothing. It asks JAX for the shape of
the result (`output_spec`), hands out new `KerasTensor`s and remembers the call in a
`Node`. `Function` replays the nodes between given inputs and outputs on real arrays.
"""

import contextlib
import functools
import operator
from collections.abc import Callable, Iterable, Sequence
from typing import Any, ParamSpec, TypeVar, cast

import jax
import numpy as np

from kerasnb.core import dtypes, naming
from kerasnb.core.configurable import Configurable, add_value_kind
from kerasnb.core.errors import show
from kerasnb.core.variable import Variable, add_array_operators

P = ParamSpec("P")
R = TypeVar("R")

# Unknown axes are tried with two sizes; a result's axis that differs is unknown too.
# Large, for wide windows and many strides; far apart, to differ when divided; and with
# many divisors, so that an unknown axis can be split into equal parts.
_PROBES = (840, 2520)
_LONG = (100800, 302400)


def is_probe(length: int) -> bool:
    """Whether an axis of that length may stand for one of unknown length."""
    return length in (*_PROBES, *_LONG)


class KerasTensor:
    """A placeholder for an array: a shape with None for unknown axes, and a dtype."""

    def __init__(
        self,
        shape: Sequence[int | None],
        dtype: Any = "float32",
        sparse: bool = False,
        ragged: bool = False,
        record_history: bool = True,
        name: str | None = None,
    ) -> None:
        self._shape = tuple(None if d is None else int(d) for d in shape)
        self._dtype = dtypes.standardize_dtype(dtype)
        self.sparse, self.ragged = bool(sparse), bool(ragged)
        self.name = name or naming.unique("keras_tensor")
        self.record_history = record_history
        self._keras_history: Any = None  # (operation, node index, tensor index)

    @property
    def shape(self) -> tuple[int | None, ...]:
        """The lengths of the axes, None where unknown."""
        return self._shape

    @property
    def dtype(self) -> str:
        """The name of the dtype."""
        return self._dtype

    @property
    def ndim(self) -> int:
        """How many axes there are."""
        return len(self._shape)

    rank = ndim

    def __repr__(self) -> str:
        return (
            f"<KerasTensor shape={self._shape}, dtype={self._dtype}, name={self.name}>"
        )

    def __len__(self) -> int:
        raise TypeError(f"{self!r} has no length; its values are not known yet.")

    __bool__ = __float__ = __int__ = __index__ = __iter__ = __len__

    def __array__(self, *args: Any, **kwargs: Any) -> Any:
        raise ValueError(
            f"{self!r} has no values yet: it stands for an input of a model. Use it "
            "with layers and keras.ops functions, not with NumPy or jax.numpy."
        )

    __jax_array__ = __array__

    def __getitem__(self, index: Any) -> "KerasTensor":
        return OPS["get_item"](self, index)


def is_symbolic(x: Any) -> bool:
    """Whether `x` is a placeholder."""
    return isinstance(x, KerasTensor)


def leaves(tree: Any) -> list[Any]:
    """The leaves of nested lists, tuples and dicts, placeholders included."""
    return jax.tree.leaves(tree, is_leaf=_is_leaf)


def _is_leaf(x: Any) -> bool:
    return x is None or not isinstance(x, list | tuple | dict)


def map_structure(fn: Callable[..., Any], tree: Any, *rest: Any) -> Any:
    """`fn` on every leaf of nested lists, tuples and dicts."""
    return jax.tree.map(fn, tree, *rest, is_leaf=_is_leaf)


def any_symbolic(*trees: Any) -> bool:
    """Whether a placeholder is among the leaves."""
    return any(isinstance(x, KerasTensor) for x in leaves(trees))


def output_spec(fn: Callable, *args: Any, **kwargs: Any) -> Any:
    """The shapes and dtypes of `fn`'s outputs for placeholder inputs.

    `fn` is traced, not run; twice when an axis is unknown.
    """
    flat, tree = jax.tree.flatten((args, kwargs), is_leaf=_is_leaf)
    where = [i for i, x in enumerate(flat) if isinstance(x, KerasTensor)]
    if any(flat[i].dtype == "string" for i in where):
        raise ValueError(
            "The input is text, and JAX computes with numbers: put TextVectorization, "
            "StringLookup or Hashing before."
        )

    def run(*arrays: Any) -> Any:
        full = list(flat)
        for i, array in zip(where, arrays, strict=True):
            full[i] = array
        args, kwargs = jax.tree.unflatten(tree, full)
        return fn(*args, **kwargs)

    def probe(size: int) -> Any:
        specs = [
            jax.ShapeDtypeStruct(
                tuple(size if d is None else d for d in flat[i].shape),
                dtypes.canonical(flat[i].dtype),
            )
            for i in where
        ]
        return jax.eval_shape(run, *specs)

    unknown = any(None in flat[i].shape for i in where)
    forced, other = None, _PROBES[1]
    try:
        first = probe(_PROBES[0])
    except (TypeError, ValueError):
        first = None
        if unknown:  # and to be long, for a layer that crops a lot
            with contextlib.suppress(TypeError, ValueError):
                first, other = probe(_LONG[0]), _LONG[1]
        # An unknown axis may have to be as long as a known one.
        guess = unknown and first is None
        for forced in sorted(_lengths((args, kwargs))) if guess else ():
            with contextlib.suppress(TypeError, ValueError):
                first = probe(forced)
                break
        if first is None:
            raise
    second = probe(other) if unknown and forced is None else first
    if len(jax.tree.leaves(first)) != len(jax.tree.leaves(second)):
        raise ValueError(
            f"{getattr(fn, '__name__', 'call')}: how many results there are depends on "
            "an axis whose length is unknown (None) here."
        )

    def merge(a: Any, b: Any) -> KerasTensor:
        shape = [
            p if p == q and p != forced else None
            for p, q in zip(a.shape, b.shape, strict=True)
        ]
        return KerasTensor(shape, a.dtype.name)

    return jax.tree.map(merge, first, second)


def _lengths(value: Any) -> set[int]:
    """What a call's arguments may tell about the length of an axis; or it is 1."""
    if isinstance(value, dict):
        return _lengths(list(value.values()))
    if isinstance(value, list | tuple):
        return {len(value)}.union(*(_lengths(item) for item in value))
    known = (value,) if isinstance(value, int) else getattr(value, "shape", ())
    return {1, *(n for n in known if n is not None and 0 < n < _PROBES[0])}


class Node:
    """One call of an operation: its arguments, the placeholders that came out."""

    def __init__(
        self, operation: "Operation", args: tuple, kwargs: dict, outputs: Any
    ) -> None:
        self.operation = operation
        self.args, self.kwargs, self.outputs = args, kwargs, outputs
        self.input_tensors = [x for x in leaves((args, kwargs)) if is_symbolic(x)]
        self.output_tensors = [x for x in leaves(outputs) if is_symbolic(x)]
        index = len(operation._inbound_nodes)
        for i, tensor in enumerate(self.output_tensors):
            tensor._keras_history = (operation, index, i)
        operation._inbound_nodes.append(self)

    @property
    def parent_nodes(self) -> list["Node"]:
        """The calls that made the inputs."""
        return list(dict.fromkeys(node_of(t) for t in self.input_tensors if _made(t)))

    @property
    def is_input(self) -> bool:
        """Whether this call only hands out a model's input."""
        return not self.input_tensors

    def fill(self, value_of: Callable[[KerasTensor], Any]) -> tuple[tuple, dict]:
        """The arguments with a value in the place of each placeholder."""
        return map_structure(
            lambda x: value_of(x) if is_symbolic(x) else x, (self.args, self.kwargs)
        )


def _made(tensor: KerasTensor) -> bool:
    return tensor._keras_history is not None


def node_of(tensor: KerasTensor) -> Node:
    """The call that made a placeholder."""
    if tensor._keras_history is None:
        raise ValueError(
            f"{tensor!r} was not made by `Input` or by calling a layer on one, so a "
            "model cannot be traced back from it."
        )
    operation, index, _ = tensor._keras_history
    return operation._inbound_nodes[index]


class Operation(Configurable):
    """Something with a name that can be called on arrays and on placeholders."""

    name: str
    _inbound_nodes: list[Node]

    def __init__(self, name: str | None = None) -> None:
        if name is not None and not isinstance(name, str):
            raise ValueError(
                f"{type(self).__name__}: `name` must be a string, not {show(name)}."
            )
        naming.check_name(type(self).__name__, name)
        if name and "/" in name:
            raise ValueError(
                f'{type(self).__name__}: `name` must not contain "/", not "{name}".'
            )
        self.name = name or naming.auto_name(self)
        self._inbound_nodes = []

    def call(self, *args: Any, **kwargs: Any) -> Any:
        """The computation on arrays; subclasses write it."""
        raise NotImplementedError(f"{type(self).__name__} has no `call` method.")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Compute on arrays, or record a call on placeholders."""
        if any_symbolic(args, kwargs):
            return self.symbolic_call(*args, **kwargs)
        return self.call(*args, **kwargs)

    def symbolic_call(self, *args: Any, **kwargs: Any) -> Any:
        """Record a call on placeholders and hand out those for its results."""
        outputs = self.compute_output_spec(*args, **kwargs)
        return Node(self, args, kwargs, outputs).outputs

    def compute_output_spec(self, *args: Any, **kwargs: Any) -> Any:
        """Placeholders with the shapes and dtypes of the results."""
        return output_spec(self.call, *args, **kwargs)

    @property
    def input(self) -> Any:
        """The placeholders of the first call, without a list when there is one."""
        return _single(self._node("input").input_tensors)

    @property
    def output(self) -> Any:
        """The placeholders that came out of the first call."""
        return _single(self._node("output").output_tensors)

    def _node(self, what: str) -> Node:
        if not self._inbound_nodes:
            raise AttributeError(
                f"{type(self).__name__} `{self.name}` has no `{what}` yet: it was "
                "never called on an `Input`."
            )
        return self._inbound_nodes[0]


def _single(items: list) -> Any:
    return items[0] if len(items) == 1 else items


# --- keras.ops on placeholders --------------------------------------------------------

OPS: dict[str, Callable] = {}


class OpCall(Operation):
    """A `keras.ops` function as a step of a functional model."""

    def __init__(self, fn: Callable, name: str | None = None) -> None:
        super().__init__(name or naming.unique(fn.__name__))
        self.fn = fn

    def call(self, *args: Any, **kwargs: Any) -> Any:
        """The function's value."""
        return self.fn(*args, **kwargs)


def op(fn: Callable[P, R], name: str | None = None) -> Callable[P, R]:
    """Let a function of arrays also be called on placeholders.

    >>> double = op(lambda x: 2 * x, "double")
    >>> double(KerasTensor((None, 3))).shape
    (None, 3)
    """

    @functools.wraps(fn)
    def dispatch(*args: Any, **kwargs: Any) -> Any:
        if any_symbolic(args, kwargs):
            return OpCall(dispatch).symbolic_call(*args, **kwargs)
        return fn(*_plain(args), **kwargs)

    if name is not None:
        dispatch.__name__ = dispatch.__qualname__ = name
    if (fn.__module__ or "").partition(".")[0] == "jax":
        # Found, documented and shown under the name users import it by.
        dispatch.__module__ = "kerasnb.ops"
    OPS[dispatch.__name__] = dispatch
    return cast(Callable[P, R], dispatch)


def _plain(args: Iterable[Any]) -> list[Any]:
    # jax.numpy takes no lists and no boxes; Keras' functions take both.
    return [_plain_value(x) for x in args]


def _plain_value(x: Any) -> Any:
    if isinstance(x, Variable):
        return x.value
    if isinstance(x, list) and not any(isinstance(y, jax.Array) for y in x):
        try:
            return np.asarray(x) if _is_numeric(x) else x
        except ValueError:  # rows of different lengths: a list of arrays
            return x
    return x


def _is_numeric(x: Any) -> bool:
    while isinstance(x, list | tuple) and x:
        x = x[0]
    return isinstance(x, bool | int | float | np.generic | np.ndarray)


_OPERATORS = {
    operator.add: "add",
    operator.sub: "subtract",
    operator.mul: "multiply",
    operator.truediv: "true_divide",
    operator.floordiv: "floor_divide",
    operator.mod: "mod",
    operator.pow: "power",
    operator.matmul: "matmul",
    operator.and_: "logical_and",
    operator.or_: "logical_or",
    operator.xor: "logical_xor",
    operator.lt: "less",
    operator.le: "less_equal",
    operator.gt: "greater",
    operator.ge: "greater_equal",
    operator.eq: "equal",
    operator.ne: "not_equal",
    operator.neg: "negative",
    operator.abs: "absolute",
    operator.invert: "logical_not",
    operator.pos: "positive",
}
add_array_operators(KerasTensor, lambda fn, *xs: OPS[_OPERATORS[fn]](*xs))


# --- Replay ---------------------------------------------------------------------------


class Function(Operation):
    """The computation between some placeholders and others, callable on arrays."""

    def __init__(self, inputs: Any, outputs: Any, name: str | None = None) -> None:
        super().__init__(name)
        self._inputs_struct, self._outputs_struct = inputs, outputs
        self._inputs = leaves(inputs)
        self._outputs = leaves(outputs)
        self._nodes, self.operations = sort_calls(self._inputs, self._outputs)

    def call(self, inputs: Any) -> Any:
        """The outputs for arrays given in the structure of the inputs."""
        return self.replay(leaves(inputs))

    def replay(
        self,
        values: Sequence[Any],
        call: Callable[[Operation, tuple, dict], Any] | None = None,
    ) -> Any:
        """Run the recorded calls; `call` may watch or replace each of them."""
        known = {id(t): v for t, v in zip(self._inputs, values, strict=True)}
        for node in self._nodes:
            if all(id(t) in known for t in node.output_tensors):
                continue
            args, kwargs = node.fill(lambda t: known[id(t)])
            if call is None:
                out = node.operation(*args, **kwargs)
            else:
                out = call(node.operation, args, kwargs)
            results = [x for x in leaves(out) if x is not None]
            for tensor, value in zip(node.output_tensors, results, strict=True):
                known[id(tensor)] = value
        return map_structure(
            lambda t: known[id(t)] if is_symbolic(t) else t, self._outputs_struct
        )


def sort_calls(
    inputs: list[KerasTensor], outputs: list[KerasTensor]
) -> tuple[list[Node], list[Operation]]:
    """The calls between inputs and outputs, and their operations, both in order.

    A call comes after those it needs. Operations are ordered as Keras orders the layers
    of a model, which fixes the order of weights in files: the farthest from the outputs
    first, then by the order of a walk from the outputs back.
    """
    known = {id(t) for t in inputs}
    order: list[Node] = []
    index: dict[Operation, int] = {}
    state: dict[int, str] = {}

    def enter(tensor: KerasTensor) -> None:
        node = node_of(tensor)
        if state.get(id(node)) is not None:
            return
        index.setdefault(node.operation, len(index))
        state[id(node)] = "open"
        if node.is_input and id(tensor) not in known:
            raise ValueError(
                f"The outputs depend on the input `{node.operation.name}`, which is "
                "not among the `inputs` of the model. Add it there, or build the "
                "outputs from the given inputs only."
            )
        needed = [] if id(tensor) in known else node.input_tensors
        stack.append((node, iter(needed)))

    stack: list[tuple[Node, Any]] = []
    for output in outputs:
        enter(output)
        while stack:
            node, needed = stack[-1]
            tensor = next(needed, None)
            if tensor is not None:
                enter(tensor)
            else:
                stack.pop()
                state[id(node)] = "done"
                order.append(node)

    depth: dict[int, int] = {}
    depth_of: dict[Operation, int] = {}
    for node in reversed(order):
        operation = node.operation
        at = max(depth.get(id(node), 0), depth_of.get(operation, 0))
        depth[id(node)] = depth_of[operation] = at
        for parent in node.parent_nodes:
            depth[id(parent)] = max(depth.get(id(parent), 0), at + 1)
    for tensor in inputs:  # Inputs that lead nowhere still belong to the model.
        node = node_of(tensor)
        if node.operation not in depth_of:
            depth_of[node.operation], index[node.operation] = 0, -1
            order.insert(0, node)
    operations = sorted(depth_of, key=lambda op: (-depth_of[op], index[op]))
    return order, operations


def _write_tensor(tensor: KerasTensor) -> dict[str, Any]:
    history = None
    if tensor._keras_history is not None:
        operation, node, index = tensor._keras_history
        history = [operation.name, node, index]
    config = {"shape": tensor.shape, "dtype": tensor.dtype, "keras_history": history}
    return {"class_name": "__keras_tensor__", "config": config}


def _read_tensor(config: dict[str, Any]) -> KerasTensor:
    return KerasTensor(config["config"]["shape"], config["config"]["dtype"])


add_value_kind(KerasTensor, _write_tensor, "__keras_tensor__", _read_tensor)
