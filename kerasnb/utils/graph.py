"""Looking back from a placeholder."""

from typing import Any

from kerasnb.core.graph import node_of


def get_source_inputs(tensor: Any) -> list[Any]:
    """The inputs that a placeholder was computed from, each once.

    >>> from kerasnb.layers import Dense, Input
    >>> x = Input((4,))
    >>> [source.name for source in get_source_inputs(Dense(2)(x))] == [x.name]
    True
    """
    sources: dict[int, Any] = {}
    seen: set[int] = set()
    waiting = [tensor]
    while waiting:
        node = node_of(waiting.pop())
        if id(node) in seen:
            continue
        seen.add(id(node))
        if node.is_input:
            sources |= {id(t): t for t in node.output_tensors}
        waiting.extend(reversed(node.input_tensors))
    return list(sources.values())
