"""`predict` and `model(x)`: the model at work, without training, compiled once.

Both keep compiled programs for the shapes they met. `predict` pads a batch to a shape
that is compiled already where that changes nothing (`training/rows.py`). `model(x)` on
arrays is compiled when it comes a second time and every layer is of this package, so
that nobody can tell; a user's layer, which may print or count its calls, says
`compiled_calls = True` if it may be compiled as well.
"""

import sys
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import get_opaque_trace_state

from kerasnb import callbacks as callbacks_room
from kerasnb.core import frontend, placement, settings
from kerasnb.core.claim import steadily
from kerasnb.core.errors import check, names_arguments
from kerasnb.core.graph import KerasTensor, OpCall, leaves, map_structure, output_spec
from kerasnb.core.masks import get_mask, set_mask
from kerasnb.core.placement import gather
from kerasnb.core.registry import is_library
from kerasnb.core.state import bind, current_frame
from kerasnb.core.variable import Variable
from kerasnb.layers.layer import (
    Layer,
    call_facts,
    changes,
    collect_losses,
    collecting,
    current_call,
)
from kerasnb.training.checks import check_counts
from kerasnb.training.crew import ALONE, crew_of
from kerasnb.training.data import (
    Stream,
    Table,
    make_source,
    pack_x_y_sample_weight,
    unpack_x_y_sample_weight,
)
from kerasnb.training.loop import compile_once
from kerasnb.training.rows import stay_apart
from kerasnb.training.sweep import FEWEST, Sweep

State = tuple[list, ...]
KEPT = 32  # compiled calls of one model
_NO_TRACE = get_opaque_trace_state()
_JAX: Any = jax.config


class Predictor(Layer):
    """A layer with `predict`, which makes its own compiled calls."""

    _UNTRACKED = Layer._UNTRACKED | {"_programs", "_calls"}
    _UNCOPIED = Layer._UNCOPIED | {"_calls"}

    run_eagerly: bool = False
    jit_compile: bool | str = True

    _programs: dict[Any, Any] | None = None
    _calls: "Calls | None" = None

    # --- predict ----------------------------------------------------------------------

    def predict_step(self, state: State, data: Any) -> tuple[Any, list]:
        """The outputs for one batch, as a pure function."""
        trainable, rest = state
        x, _, _ = unpack_x_y_sample_weight(data)
        return self.stateless_call(trainable, rest, x, training=False)

    @steadily
    @names_arguments
    def predict(
        self,
        x: Any,
        batch_size: int | None = None,
        verbose: int | str = "auto",
        steps: int | None = None,
        callbacks: Any = None,
    ) -> Any:
        """The outputs for the given inputs, as NumPy arrays."""
        check_counts("predict", batch_size=batch_size, steps=steps)
        silent = verbose == 0 or (verbose == "auto" and frontend.in_notebook())
        if silent and callbacks is None:
            found = self._at_once(x, batch_size or 32)
            if found is not None:
                return found
        source = self._source("predict", x)
        steps = settings.limited(steps, settings.max_steps_per_epoch(), "steps")
        crew = crew_of(self.variables)
        if isinstance(source, Table):
            source, batch_size = crew.table(source, batch_size or 32)
            count: int | None = source.batch_count(batch_size)
        else:
            count = source.length
        count = min((n for n in (count, steps) if n), default=None)
        hooks = self._hooks(callbacks, verbose if crew.first else 0, count)
        step, state = self._forward(source), None
        outputs: list[Any] = []
        hooks.on_predict_begin()
        done = 0
        if callbacks is None and isinstance(source, Table) and crew is ALONE:
            size = batch_size or 32
            sweep = getattr(step, "sweep", None)
            if sweep is not None and count is not None:

                def after(first: int, steps: int) -> None:
                    hooks.replay("predict", first, steps, {})

                swept, done = sweep(self._values(), source, size, count, after)
                if done == count:
                    hooks.on_predict_end()
                    return swept
                outputs += [swept] * bool(done)
        for i, batch in enumerate(_batches(source, batch_size or 32, done), done):
            if steps is not None and i >= steps:
                break
            hooks.on_predict_batch_begin(i)
            if state is None or hooks.callbacks:  # which may change the weights
                state = self._values()
            out = step(state, crew.batch(batch), i > 0)
            outputs.append(out)
            hooks.on_predict_batch_end(i, {"outputs": out})
        hooks.on_predict_end()
        if not outputs:
            raise ValueError("predict: `x` gave no batches; there is nothing to do.")
        if len(outputs) == 1:
            return _own(outputs[0])
        return map_structure(
            lambda *parts: np.concatenate([gather(p) for p in parts]), *outputs
        )

    @steadily
    @names_arguments
    def predict_on_batch(self, x: Any) -> Any:
        """The outputs for one batch, as NumPy arrays."""
        if (found := self._at_once(x, sys.maxsize)) is not None:
            return found
        table: Any = self._source("predict_on_batch", x)
        check_is_batch("predict_on_batch", table)
        step = self._forward(table)
        return _own(step(self._values(), crew_of(self.variables).batch(table.data)))

    def _values(self, groups: tuple | None = None) -> State:
        if groups is None:
            groups = (self.trainable_variables, self.non_trainable_variables)
        # In a frame: values of one step, while another thread trains.
        if current_frame() is None:
            return tuple([v.box for v in group] for group in groups)
        return tuple([v.raw for v in group] for group in groups)

    def _at_once(self, x: Any, most: int) -> Any:
        """The outputs for an array of up to so many rows, when such a one was met."""
        memory = (self._programs or {}).get("forward")
        if memory is None or memory[0] != changes() or type(x) is not np.ndarray:
            return None
        if x.ndim == 0 or len(x) > most or self._before_step(x) is not x:
            return None
        _, forward, groups = memory
        if placement.distribution() is not None or (run := forward.known(x)) is None:
            return None
        out = run(self._values(groups), (x,))
        alone = isinstance(out, jax.Array)  # which is on one device
        return np.array(out) if alone else _own(out)

    def _forward(self, source: Table | Stream) -> Callable:
        """`(state, batch, once) -> outputs`; `once` if such a batch comes but once."""
        if not self.built:
            if isinstance(source, Stream):
                self._build_from(source.peek()[0])
            else:
                self._build_from(next(_batches(source, 1))[0])
        crew = crew_of(self.variables)
        crew.lay_out(self.variables)

        def outputs(state: State, batch: tuple, once: bool = False) -> Any:
            return step(state, batch)[0]

        if self.run_eagerly or _JAX.jax_disable_jit:
            step = self._step("predict_step")
            return outputs
        found = self._program(f"predict {crew.key}", list)
        if not found:
            # A fresh function: what is compiled for an equal one would be taken for it.
            step = self._step("predict_step")
            found.append(
                Forward(outputs, is_known(self))
                if crew is ALONE
                else jax.jit(outputs, static_argnums=2)
            )
        if crew is ALONE and all(x._settled() for x in self._flatten_layers()):
            groups = (self.trainable_variables, self.non_trainable_variables)
            self._programs["forward"] = changes(), found[0], groups  # type: ignore[index]
        return found[0]

    def _step(self, name: str) -> Callable:
        """A step that takes a batch as sources hold it: a tuple, of `x` alone too."""
        step = getattr(self, name)

        def run(state: State, batch: tuple) -> tuple:
            alone = len(batch) == 1
            return step(state, pack_x_y_sample_weight(*batch) if alone else batch)

        return run

    def _hooks(self, callbacks: Any, verbose: Any, steps: int | None) -> Any:
        if isinstance(callbacks, callbacks_room.CallbackList):
            return callbacks
        return callbacks_room.CallbackList(
            callbacks,
            add_progbar=verbose not in (0, None, "auto")
            or (verbose == "auto" and not frontend.in_notebook()),
            model=self,
            verbose=1 if verbose == "auto" else verbose,
            epochs=1,
            steps=steps,
        )

    # --- Getting ready ----------------------------------------------------------------

    def _source(self, who: str, *data: Any) -> Table | Stream:
        return make_source(who, *data, prepare=self._before_step)

    def _before_step(self, x: Any) -> Any:
        """What is left of `x` for the compiled step; models on text begin before it."""
        return x

    def _build_from(self, x: Any) -> None:
        """Make the weights by tracing a call on data like `x`."""
        placeholders = _placeholders(x)
        with self._scope():
            self._build_for(call_facts(type(self)), (placeholders,), {})
        with bind((), (), open=True):
            output_spec(lambda x: self(x, training=False), placeholders)
        self.built = True

    def _program(self, kind: str, make: Callable[[], Any]) -> Any:
        """The compiled program of a kind, made anew when the variables have changed."""
        if self._programs is None:
            self._programs = {}
        learned = tuple(getattr(x, "adaptations", 0) for x in self._flatten_layers())
        groups = (
            self.trainable_variables,
            self.non_trainable_variables,
            self.metrics_variables,
        )
        key = (kind, learned, *(tuple(map(id, group)) for group in groups))
        if key not in self._programs:
            self._programs[key] = make()
        return self._programs[key]

    # --- model(x) ---------------------------------------------------------------------

    @steadily
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Prepare and make a call; one on arrays is compiled when it comes again."""
        if self._may_compile():
            if (calls := self._calls) is None or calls.changes != changes():
                self._calls = calls = Calls(self)
            if calls.allowed:
                call = calls.find(args, kwargs)
                if call is not None:
                    return call(args[0])
        return super().__call__(*args, **kwargs)

    def _may_compile(self) -> bool:
        """Whether this is a call of its own, on nothing but arrays."""
        return (
            self.built
            and current_call() is None
            and current_frame() is None
            and collecting() is None
            and not self.run_eagerly
            and bool(self.jit_compile)
            and placement.distribution() is None
            and get_opaque_trace_state() == _NO_TRACE
        )


class Forward:
    """A pure function of `(state, batch)`, compiled for every size of batch it meets.

    With `pads`, and where the rows of a batch do not hear of one another, sizes share
    programs: a batch is filled up, and what is too much is cut off again.
    """

    def __init__(self, fn: Callable, pads: bool) -> None:
        self._fn, self._pads = fn, pads
        self._jitted = jax.jit(fn)
        self._sweep = Sweep(fn)
        self._sizes: dict[Any, dict[int, Callable]] = {}
        self._known: dict[Any, Callable] = {}
        self._apart: dict[Any, bool] = {}

    def __call__(self, state: State, batch: tuple, once: bool = False) -> Any:
        """The outputs for a batch; the odd one at the end comes `once`."""
        run = self.ready(batch)
        if run is not None:
            return run(state, batch)
        rows, form = _form(batch)
        sizes = self._sizes.setdefault(form, {})
        size = self._size_for(rows, form, state, batch, once)
        if size != rows:
            batch = jax.tree.map(lambda a: _filled(a, size), batch)
        if size not in sizes:
            sizes[size] = compile_once(self._jitted.lower(state, batch))
        out = sizes[size](state, batch)
        if size == rows:
            return out
        return jax.tree.map(lambda a: gather(a)[:rows], out)

    def ready(self, batch: tuple) -> Callable | None:
        """The program for batches of this very size, if there is one."""
        rows, form = _form(batch)
        return self._sizes.get(form, {}).get(rows)

    def known(self, x: np.ndarray) -> Callable | None:
        """The same for one array, found with less ado."""
        key = (x.shape, x.dtype, _options())
        run = self._known.get(key)
        if run is None and (run := self.ready((x,))) is not None:
            self._known[key] = run
        return run

    def sweep(
        self,
        state: State,
        table: Table,
        size: int,
        count: int,
        after: Callable[[int, int], None],
    ) -> tuple[Any, int]:
        """The outputs of the first batches of many, and how many batches these are."""
        if count < FEWEST:
            return None, 0
        _, form = _form(table.data)
        if count * size > table.rows and not self._rows_apart(form, state, table.data):
            count -= 1  # The odd one at the end keeps its size.
        outputs = self._sweep(form, state, table, size, count, after)
        return outputs, 0 if outputs is None else count

    def _rows_apart(self, form: Any, state: State, batch: tuple) -> bool:
        if not self._pads:
            return False
        if form not in self._apart:
            self._apart[form] = stay_apart(lambda x: self._fn(state, x), batch)
        return self._apart[form]

    def _size_for(
        self, rows: int, form: Any, state: State, batch: tuple, once: bool
    ) -> int:
        """The rows of the program to use: one that is there, or the next power of 2."""
        sizes = self._sizes[form]
        if not sizes or (rows == 1 and not once):
            return rows
        if not self._rows_apart(form, state, batch):
            return rows
        power = 1 << (rows - 1).bit_length()
        good = (s for s in sizes if rows <= s and (once or s <= 2 * rows))
        return min(good, default=power)


class Calls:
    """The compiled calls of a model, as long as nothing is set on any layer."""

    def __init__(self, model: Predictor) -> None:
        self.changes = changes()
        self._model, self._variables = model, model.variables
        layers = model._flatten_layers()
        self._losses = [layer._losses for layer in layers]
        self.allowed = (
            is_known(model)
            and all(layer._settled() and layer.built for layer in layers)
            and all(layer.activity_regularizer is None for layer in layers)
            and all(variable._layout is None for variable in self._variables)
            and not model._layer_metrics()
        )
        self._found: dict[Any, Callable | None] = {}

    def find(self, args: tuple, kwargs: dict) -> Callable | None:
        """The compiled call for such arguments; None leaves it to Python."""
        if len(args) != 1 or (kwargs and kwargs.keys() != {"training"}):
            return None
        training = kwargs.get("training")
        if not (training is None or isinstance(training, bool)):
            return None
        flat, tree = jax.tree.flatten(args[0])
        if not all(map(_is_good, flat)):
            return None
        key = (tree, training, _options(), *[(a.shape, a.dtype) for a in flat])
        found: Any = self._found.pop(key, self)
        if found is self:  # the first time
            found = None
        elif found is None:
            found = self._compiled(args[0], training)
        self._found[key] = found
        if len(self._found) > KEPT:
            self._found.pop(next(iter(self._found)))
        return found

    def _compiled(self, x: Any, training: bool | None) -> Callable:
        """The call as one program, which assigns the variables that it changes."""
        model, variables, losses = self._model, self._variables, self._losses
        changed: list[Variable] = []
        how = {} if training is None else {"training": training}

        def run(values: list, x: Any) -> tuple:
            with bind(variables, values) as frame, collect_losses() as added:
                out = model(x, **how)
            if added:
                raise _NotPure
            new = [frame.values[v] for v in variables]
            changed[:] = [
                v for v, a, b in zip(variables, values, new, strict=True) if a is not b
            ]
            masks = [get_mask(a) for a in leaves(out)]
            return out, masks, [frame.values[v] for v in changed]

        def by_python(x: Any) -> Any:
            return Layer.__call__(model, x, **how)

        try:
            lowered = jax.jit(run).lower([v.box for v in variables], x)
            program = compile_once(lowered)
        except Exception:  # noqa: BLE001 (Python will tell, or do without)
            return by_python

        def call(x: Any) -> Any:
            for kept in losses:
                kept.clear()
            out, masks, new = program([v.box for v in variables], x)
            for variable, value in zip(changed, new, strict=True):
                variable.store(value)
            for array, mask in zip(leaves(out), masks, strict=True):
                if mask is not None:
                    set_mask(array, mask)
            return out

        return call


class _NotPure(Exception):
    """A call leaves something behind."""


def is_known(model: Layer) -> bool:
    """Whether all code of a model is ours or JAX's, or was said to be pure."""

    def find() -> list[bool]:
        return [all(map(_is_ours, model._flatten_layers()))]

    return model._remember("known", find)[0]


def _is_ours(layer: Layer) -> bool:
    said = getattr(layer, "compiled_calls", None)
    if said is not None:
        return said
    steps = getattr(getattr(layer, "_function", None), "operations", ())
    functions = [o.fn for o in steps if isinstance(o, OpCall)]
    held = {
        name: value
        for name, value in vars(layer).items()
        if name not in layer._UNTRACKED and not name.endswith(_NOT_CALLED)
    }
    functions += [x for x in leaves(held) if callable(x) and not isinstance(x, Layer)]
    return is_library(type(layer)) and all(map(_is_safe, functions))


_NOT_CALLED = ("_initializer", "_regularizer", "_constraint")
_PACKAGES = ("kerasnb", "jax", "jaxlib", "numpy", "builtins")


def _is_safe(function: Any) -> bool:
    module = getattr(function, "__module__", None) or type(function).__module__
    return module.partition(".")[0] in _PACKAGES


def _is_good(x: Any) -> bool:
    """Whether a leaf of the inputs is an array of numbers, without a mask."""
    if isinstance(x, np.ndarray):
        return x.dtype.kind in "biuf"
    good = isinstance(x, jax.Array) and not isinstance(x, jax.core.Tracer)
    return good and not x.committed and get_mask(x) is None


def _form(batch: tuple) -> tuple[int, tuple]:
    """The number of rows, and everything else that makes another program."""
    flat, tree = jax.tree.flatten(batch)
    form = (tree, _options(), *[(a.shape[1:], a.dtype) for a in flat])
    return flat[0].shape[0], form


def _options() -> tuple:
    """What JAX was told that makes another program of the same function."""
    return (
        _JAX.jax_enable_x64,
        _JAX.jax_default_matmul_precision,
        _JAX.jax_debug_nans,
        _JAX.jax_default_device,
    )


def _filled(array: Any, size: int) -> Any:
    """An array with its last row repeated, which is as good as any."""
    pad = [(0, size - array.shape[0])] + [(0, 0)] * (array.ndim - 1)
    return (np if isinstance(array, np.ndarray) else jnp).pad(array, pad, "edge")


def check_is_batch(who: str, source: Table | Stream) -> None:
    """Refuse what yields batches where one is wanted."""
    check(isinstance(source, Table), who, "x", source, "arrays that make one batch")


def _own(outputs: Any) -> Any:
    """Arrays that may be written to; those of JAX may not, even seen by NumPy."""
    return map_structure(lambda a: np.array(gather(a)), outputs)


def _placeholders(x: Any) -> Any:
    """Placeholders for data like `x`, with an unknown number of rows."""
    return map_structure(
        lambda a: None if a is None else KerasTensor((None, *a.shape[1:]), a.dtype), x
    )


def _batches(
    source: Table | Stream, batch_size: int, first: int = 0
) -> Iterator[tuple]:
    if isinstance(source, Stream):
        source.peek()
        source.begin_epoch()
        for batch in source.batches():
            # The caller may use its arrays again before they are read.
            yield jax.tree.map(jnp.array, batch)
        source.end_epoch()
        return
    if source.rows <= batch_size and not first:
        yield source.data
        return
    for start in range(first * batch_size, source.rows, batch_size):
        yield source.take(slice(start, start + batch_size))
