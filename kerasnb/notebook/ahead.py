"""While the reader looks at the model card, the training is compiled behind it.

A twin of the model is traced, one whose variables have no values, so that neither the
model nor its data nor anybody's random numbers are touched. Equal programs share one
executable (`training/loop.py`): a `fit` of that shape finds it ready, or waits for the
rest of its compilation; a `fit` of another shape takes no notice.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from types import FunctionType
from typing import Any

import jax
import numpy as np

from kerasnb.core import budget, naming, placement
from kerasnb.core.graph import leaves, map_structure
from kerasnb.core.registry import is_library
from kerasnb.models import clone_model
from kerasnb.notebook import cells
from kerasnb.random import seeds_aside
from kerasnb.training.data import Table
from kerasnb.training.loop import Program, programs_for

# What the targets are called where the inputs are called so.
_NAMES = (("x", "y"), ("X", "y"), ("X", "Y"), ("images", "labels"), ("data", "labels"))


def expect_fit(model: Any, x: Any, y: Any, batch_size: int = 32) -> None:
    """Have what `model.fit(x, y)` will compile compiled when the running cell is over.

    Where `x` and `y` are not arrays nothing is done; nor is a user's own code ever run.
    """
    arrays = leaves((x, y))
    rows = {a.shape[0] for a in arrays if _is_array(a)}
    fit = all(map(_is_array, arrays)) and len(rows) == 1
    if not fit or not _is_ours(model) or placement.distribution() is not None:
        return
    count = rows.pop()
    batch_size = min(batch_size, count)
    # One batch tells all: the data may go meanwhile.
    sample = map_structure(lambda a: np.array(a[:batch_size]), (x, y))
    cells.when_idle(partial(compile_fit, model, sample, count, batch_size))


def compile_fit(model: Any, sample: Any, rows: int, batch_size: int) -> Iterator[None]:
    """Compile what `fit` needs for `rows` like those of `sample`; yields in between."""
    with budget.budget_for(1 << 60), naming.fresh_names(), seeds_aside():
        # As from a file: what brings the variables' values is yet to come.
        twin = clone_model(model)
        twin.compile_from_config(model.get_compile_config())
        yield
        source = twin._source("fit", *sample)
        assert isinstance(source, Table)
        twin._prepare(source.data)
        state = tuple(
            [jax.ShapeDtypeStruct(v.shape, np.dtype(v.dtype)) for v in group]
            for group in twin._groups(training=True)
        )
        data = jax.tree.map(
            lambda a: jax.ShapeDtypeStruct(
                (rows, *a.shape[1:]), jax.dtypes.canonicalize_dtype(a.dtype)
            ),
            source.data,
        )
        yield
        program = Program(twin._step("train_step"))
        for shapes in programs_for(state, rows, batch_size, whole=True, several=True):
            compile = program.lower(state, data, shapes)
            yield
            compile()
            yield


def target_of(inputs: Sequence[str], names: Mapping[str, Any]) -> Any:
    """The array that goes by its name with the one input, None if there is none.

    >>> target_of(["x_train"], {"y_train": np.zeros(3), "y": np.ones(2)}).shape
    (3,)
    """
    for one, other in _NAMES if len(inputs) == 1 else ():
        name = re.sub(rf"(?<![A-Za-z]){one}(?![A-Za-z])", other, inputs[0])
        if name != inputs[0] and _is_array(names.get(name)):
            return names[name]
    return None


def _is_array(value: Any) -> bool:
    """Whether a value holds at least one row of numbers."""
    if not isinstance(value, np.ndarray | jax.Array) or value.dtype.kind in "OSUMm":
        return False
    return bool(value.shape) and value.shape[0] > 0


def _is_ours(model: Any) -> bool:
    """Whether all that a step runs was written in this package: it may run twice."""
    if not model.compiled or model.optimizer is None or model.run_eagerly:
        return False
    arguments = model._compile_arguments
    asked = (arguments[k] for k in ("loss", "metrics", "weighted_metrics", "optimizer"))
    parts = [*model._flatten_layers(), *leaves(list(asked))]
    parts += [
        v for x in parts for v in leaves(list(getattr(x, "_config", {}).values()))
    ]
    return all(
        is_library(x if isinstance(x, FunctionType | type) else type(x))
        for x in parts
        if x is not None and not isinstance(x, str | int | float | np.ndarray)
    )
