"""Weights that outlive a change of the model: `%%kmodel --keep`."""

import difflib
import json
import re
from dataclasses import dataclass, field
from typing import Any

from kerasnb.core.configurable import serialize
from kerasnb.core.naming import to_snake_case
from kerasnb.layers.layer import Layer


@dataclass
class Kept:
    """Which layers of a model took over weights, and which began anew, by name."""

    kept: list[str] = field(default_factory=list)
    new: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        if not self.kept:
            return "No layer is as it was: all weights are new."
        words = f"Kept the weights of {', '.join(self.kept)}."
        return f"{words} New: {', '.join(self.new)}." if self.new else words


def keep_weights(old: Any, new: Any) -> Kept:
    """Give the layers of `new` that are as in `old` the weights they had there.

    A layer is as it was when its class, its arguments and the shapes of its weights are
    the same and the order around it has not changed; a name that was numbered by itself
    does not count.
    """
    before = [layer for layer in old.layers if layer.weights]
    after = [layer for layer in new.layers if layer.weights]
    matcher = difflib.SequenceMatcher(
        None, [_signature(x) for x in before], [_signature(x) for x in after], False
    )
    result = Kept(new=[layer.name for layer in after])
    for i, j, length in matcher.get_matching_blocks():
        for source, layer in zip(
            before[i : i + length], after[j : j + length], strict=True
        ):
            if source is not layer:
                for variable, value in zip(layer.weights, source.weights, strict=True):
                    variable.assign(value)
            result.new.remove(layer.name)
            result.kept.append(layer.name)
    return result


def _signature(layer: Layer) -> str:
    """What must be equal for a layer to count as the same."""
    cls = type(layer)
    config = serialize(layer.get_config())
    if re.fullmatch(rf"{to_snake_case(cls.__name__)}(_\d+)?", layer.name):
        config.pop("name", None)
    shapes = [variable.shape for variable in layer.weights]
    parts = [cls.__module__, cls.__qualname__, config, shapes]
    return json.dumps(parts, sort_keys=True, default=repr)
