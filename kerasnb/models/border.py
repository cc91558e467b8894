"""Where a model on text hands over from the host to its compiled step.

JAX has no strings. The layers at the beginning of a model that turn text into numbers
(`layers/host.py`) run before the compiled step, on all data at once or batch by batch;
what they give is `Prepared`, and takes the place of the model's inputs.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from kerasnb.core.graph import Function, KerasTensor, Node, Operation, leaves


class Prepared(NamedTuple):
    """The values at the border, in place of a model's inputs."""

    values: list[Any]


class Border:
    """A graph in two: `host` from its inputs to the border, `device` from there on."""

    def __init__(self, inputs: Any, outputs: Any, tensors: list[KerasTensor]) -> None:
        self.host, self.device = Function(inputs, tensors), Function(tensors, outputs)

    def cross(self, values: Sequence[Any]) -> Prepared:
        """Do the host's part for the values of the inputs."""
        for tensor in self.host._outputs:
            if tensor.dtype == "string":
                raise ValueError(
                    f"The output of `{tensor._keras_history[0].name}` is text, which "
                    "cannot go through a compiled step. Call the model itself on the "
                    "data, or turn text into numbers with StringLookup or "
                    "TextVectorization."
                )
        found = self.host.replay(values)
        return Prepared([None if v is None else np.asarray(v) for v in found])


def find_border(
    function: Function, unfold: Callable[[Operation, tuple, dict], Any]
) -> Border | None:
    """Where to divide the graph of a model; None when it is all for the device.

    `unfold` calls an operation, or replays the graph of a model that is one.
    """
    if any(_works_on_host(operation) is None for operation in function.operations):
        outputs = function.replay(function._inputs, unfold)
        function = Function(function._inputs_struct, outputs)
    known = {id(t) for t in function._inputs}
    on_host = []
    for node in function._nodes:
        first = node.is_input or _works_on_host(node.operation)
        if first and all(id(t) in known for t in node.input_tensors):
            known |= {id(t) for t in node.output_tensors}
            on_host.append(node)
    if all(node.is_input for node in on_host):
        return None
    border = _crossing(function._nodes, on_host, function._outputs, known)
    return Border(function._inputs, function._outputs_struct, border)


def _works_on_host(operation: Operation) -> bool | None:
    """Whether an operation is of the host; None for a model that begins there."""
    inner = getattr(operation, "_functional", None) or operation
    if getattr(inner, "_border", None) is not None:
        return None
    return getattr(operation, "works_on_host", False)


def _crossing(
    nodes: Sequence[Node], on_host: Sequence[Node], outputs: list, known: set[int]
) -> list[KerasTensor]:
    """The tensors of the host that something on the device needs."""
    needed = [t for node in nodes if node not in on_host for t in node.input_tensors]
    tensors = {id(t): t for t in [*needed, *leaves(outputs)] if id(t) in known}
    return list(tensors.values())
