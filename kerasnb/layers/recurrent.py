"""Recurrent layers: a cell applied to one step of a sequence after the other."""

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from functools import partial
from typing import Any, Self

import jax
import jax.numpy as jnp

from kerasnb.core import budget
from kerasnb.core import state as core_state
from kerasnb.core.errors import check
from kerasnb.core.graph import leaves, map_structure
from kerasnb.core.naming import to_snake_case
from kerasnb.core.registry import custom_object_scope, is_library
from kerasnb.core.variable import Variable
from kerasnb.layers.arguments import positive_int
from kerasnb.layers.cells import (
    GatedCell,
    GRUCell,
    LSTMCell,
    SimpleRNNCell,
    StackedRNNCells,
    call_cell,
    check_cell,
    initial_state_of,
)
from kerasnb.layers.input_spec import InputSpec
from kerasnb.layers.layer import Layer, collect_losses

Array = jax.Array


def scan_steps(
    layer: Layer,
    step: Callable[[Any, Any], tuple[Any, Any]],
    inner: Sequence[Any],
    carry: Any,
    xs: Any,
    **options: Any,
) -> tuple[Any, Any]:
    """`lax.scan` over `step(carry, x) -> (carry, y)`, which runs the layers `inner`.

    What they assign (seeds, statistics) goes from step to step; what they pass to
    `add_loss` is summed over the steps and handed to `layer`.
    """

    def one(carry: Any, x: Any) -> tuple[Any, Any]:
        with collect_losses() as losses:
            carry, y = step(carry, x)
        return carry, (y, losses)

    variables = written_by(inner)
    carry, (ys, losses) = core_state.scan(one, variables, carry, xs, **options)
    layer.add_loss([loss.sum(0) for loss in losses])
    return carry, ys


def written_by(layers: Sequence[Any]) -> list[Variable]:
    """The variables that layers may assign in a call: all but their trained weights.

    Weights stay outside of loops: as part of the state they would be kept once for
    every step.
    """
    found: dict[Variable, None] = {}
    for outer in layers:
        for layer in outer._flatten_layers() if isinstance(outer, Layer) else ():
            found |= dict.fromkeys(layer._non_trainable_variables)
            found |= dict.fromkeys(layer._seed_states())
    return list(found)


class RNN(Layer):
    """A cell applied to each step of a sequence, its states handed on.

    `cell` is a layer with `call(inputs, states) -> (outputs, new_states)` and a
    `state_size`, or a list of such cells, one on top of the other. Where the mask is
    false the states stay and the last output is repeated (or zero, with
    `zero_output_for_mask`).

    - `return_sequences`: all outputs instead of the last one
    - `return_state`: the output and then the last states
    - `go_backwards`: from the last step to the first
    - `stateful`: the next call starts where this one ended, until `reset_state()`
    - `unroll`: no loop in the compiled program; faster for very short sequences only

    Shapes: `(batch, steps, d) -> (batch, units)`, or `(batch, steps, units)` with
    `return_sequences`.

    >>> from kerasnb.layers.cells import LSTMCell
    >>> RNN([LSTMCell(8), LSTMCell(4)])(jnp.ones((2, 5, 3))).shape
    (2, 4)
    """

    supports_masking = True
    # States are no weights: files do not hold them.
    _UNTRACKED = Layer._UNTRACKED | {"states", "_programs"}

    def __init__(
        self,
        cell: Any,
        return_sequences: bool = False,
        return_state: bool = False,
        go_backwards: bool = False,
        stateful: bool = False,
        unroll: bool = False,
        zero_output_for_mask: bool = False,
        **kwargs: Any,
    ) -> None:
        if isinstance(cell, list | tuple):
            cell = StackedRNNCells(cell)
        check_cell(type(self).__name__, "cell", cell)
        super().__init__(**kwargs)
        self.cell = cell
        self.return_sequences = return_sequences
        self.return_state = return_state
        self.go_backwards = go_backwards
        self.stateful = stateful
        self.unroll = unroll
        self.zero_output_for_mask = zero_output_for_mask
        self.states: list[Any] | None = None
        self.single_state = isinstance(cell.state_size, int)
        self.state_size = [cell.state_size] if self.single_state else cell.state_size

    # --- States -----------------------------------------------------------------------

    def get_initial_state(self, batch_size: int) -> list[Any]:
        """What the cell starts from, as a list."""
        states = initial_state_of(self.cell, batch_size)
        return list(states) if isinstance(states, list | tuple) else [states]

    def reset_state(self) -> None:
        """Let the next call of a stateful layer start from zeros."""
        for variable in _boxes(self.states):
            variable.assign(jnp.zeros(variable.shape, variable.dtype))

    reset_states = reset_state

    def build(self, sequences_shape: tuple, initial_state_shape: Any = None) -> None:
        """Build the cell for one step, and make the states of a stateful layer."""
        batch = sequences_shape[0]
        if self.unroll and sequences_shape[1] is None:
            raise ValueError(
                f"{self._who()} can only unroll sequences of a known length and got "
                f"the shape {tuple(sequences_shape)}; use unroll=False."
            )
        if self.unroll:  # a program that grows with them
            steps = sequences_shape[1]
            budget.afford(f"{self._who()}: {steps} steps unrolled", (steps,), 1 << 15)
        if isinstance(self.cell, Layer) and not self.cell.built:
            self.cell.build((batch, *sequences_shape[2:]))
        if self.stateful and self.states is None:
            if batch is None:
                raise ValueError(
                    f"{self._who()} is stateful and so needs inputs with a known batch "
                    f"size; it got the shape {tuple(sequences_shape)}. Give `Input` a "
                    "`batch_shape`."
                )
            self.states = jax.tree.map(
                lambda x: Variable(
                    x, dtype=self.variable_dtype, trainable=False, name="rnn_state"
                ),
                self.get_initial_state(batch),
            )

    def _seed_states(self) -> list[Variable]:
        # Part of `variables`, like seeds, but not of `weights`.
        return [*super()._seed_states(), *_boxes(self.states)]

    # --- The loop ---------------------------------------------------------------------

    def call(
        self,
        sequences: Array,
        initial_state: Any = None,
        mask: Array | None = None,
        training: bool | None = False,
    ) -> Any:
        """The last output or all of them, and with `return_state` the states."""
        states = self._start(sequences, initial_state)
        last, outputs, states = self.inner_loop(sequences, states, mask, training)
        output = (outputs if self.return_sequences else last).astype(self.compute_dtype)
        if self.stateful:
            kept = zip(_boxes(self.states), jax.tree.leaves(states), strict=True)
            for variable, value in kept:
                variable.assign(value)
        if not self.return_state:
            return output
        return (output, *jax.tree.map(lambda s: s.astype(self.compute_dtype), states))

    def inner_loop(
        self,
        sequences: Array,
        initial_state: Any,
        mask: Array | None,
        training: bool | None = False,
    ) -> tuple[Array, Array, Any]:
        """The last output, all outputs and the last states; for subclasses to change.

        Without `return_sequences` the last output stands for all.
        """
        if not isinstance(initial_state, list | tuple):
            initial_state = [initial_state]
        outputs, states = self._loop_now(sequences, initial_state, mask, training)
        last = outputs[0 if self.go_backwards else -1]
        if not self.return_sequences:
            return last, last[:, None], states
        outputs = outputs[::-1] if self.go_backwards else outputs
        return last, jnp.swapaxes(outputs, 0, 1), states

    def _loop(
        self, training: bool | None, sequences: Array, states: Any, mask: Array | None
    ) -> tuple[Array, Any]:
        """The outputs of all steps, time first, and the last states."""
        steps = jnp.swapaxes(sequences, 0, 1)
        real = None if mask is None else _step_mask(mask)
        steady = getattr(self.cell, "steady_dropout", None)
        with steady(steps[0], states, training) if steady else nullcontext() as drawn:
            step, steps = self._step(steps, training, drawn)
            states, outputs = scan_steps(
                self,
                self._masked(step) if real is not None else step,
                [self.cell],
                states,
                steps if real is None else (steps, real),
                reverse=self.go_backwards,
                unroll=bool(self.unroll),
            )
        return outputs, states

    def _loop_now(
        self, sequences: Array, states: Any, mask: Any, training: bool | None
    ) -> tuple[Array, Any]:
        """`_loop`; outside of compiled code, by a program that is compiled once.

        JAX compiles a bare loop again at every call, which takes longer than to run it.
        """
        seeds = written_by([self.cell])
        weights = self.cell.weights if isinstance(self.cell, Layer) else []
        values = core_state.read([*seeds, *weights])
        traced = any(
            isinstance(x, jax.core.Tracer)
            for x in jax.tree.leaves((values, sequences, states, mask))
        )
        ours = isinstance(self.cell, GatedCell) and is_library(type(self.cell))
        if traced or not ours:
            return self._loop(training, sequences, states, mask)
        settings = (bool(training), *_settings(self), *_settings(self.cell))
        programs = self.__dict__.setdefault("_programs", {})
        if settings not in programs:
            loop = partial(self._loop, training)
            programs[settings] = jax.jit(
                core_state.functional(loop, [*seeds, *weights])
            )
        out, values = programs[settings](values, sequences, states, mask)
        core_state.write(seeds, values[: len(seeds)])
        return out

    def _start(self, sequences: Array, initial_state: Any) -> list[Any]:
        batch = sequences.shape[0]
        if initial_state is None:
            if self.stateful:
                self._check_batch(batch)
                initial_state = map_structure(lambda v: v.value, self.states)
            else:
                initial_state = self.get_initial_state(batch)
        if not isinstance(initial_state, list | tuple):
            initial_state = [initial_state]
        dtype = getattr(self.cell, "compute_dtype", self.compute_dtype)
        return jax.tree.map(lambda s: jnp.asarray(s, dtype), list(initial_state))

    def _check_batch(self, batch: int) -> None:
        expected = _boxes(self.states)[0].shape[0]
        if batch != expected:
            raise ValueError(
                f"{self._who()} is stateful and keeps states for batches of "
                f"{expected}; it got a batch of {batch}."
            )

    def _step(
        self, steps: Array, training: bool | None, drawn: Any
    ) -> tuple[Callable, Array]:
        """The function for one step, and what it takes of each step."""
        cell = self.cell
        if self._projects_at_once():
            masks, state_masks = drawn
            projected = cell._project(steps, masks)

            def advance(states: Any, z: Array) -> tuple[Any, Array]:
                output, new = cell._advance(z, states, state_masks)
                return _same_form(states, new), output

            return advance, projected

        def step(states: Any, x: Array) -> tuple[Any, Array]:
            output, new = call_cell(cell, x, states, training)
            return _same_form(states, new), output

        return step, steps

    def _projects_at_once(self) -> bool:
        """Whether to multiply all steps by the kernel in one product, before the loop.

        One large product keeps a GPU busy where many small ones do not; a CPU gains
        nothing and pays for the memory.
        """
        return (
            isinstance(self.cell, GatedCell)
            and is_library(type(self.cell).call)
            and self.cell.dtype_policy == self.dtype_policy
            and jax.default_backend() != "cpu"
        )

    def _masked(self, step: Callable) -> Callable:
        """`step`, leaving alone the samples whose step is masked."""

        def masked(states: Any, xs: tuple[Array, Array]) -> tuple[Any, Array]:
            x, real = xs
            new, output = step(states, x)
            if self.zero_output_for_mask:
                before = jnp.zeros_like(output)
            else:
                # The first state of the last cell is the output before.
                last = states[0] if hasattr(states[0], "shape") else states[-1]
                before = jax.tree.leaves(last)[0]
            new = jax.tree.map(
                lambda old, s: jnp.where(_expand(real, s), s, old), states, new
            )
            return new, jnp.where(_expand(real, output), output, before)

        return masked

    def compute_mask(self, _: Any, mask: Any) -> Any:
        """The mask of the sequence, where one comes out; states have none."""
        masks = jax.tree.leaves(mask)
        output = masks[0] if masks and self.return_sequences else None
        if not self.return_state:
            return output
        return [output, *(None for _ in self.state_size)]


def _boxes(states: Any) -> list[Variable]:
    """The variables that a stateful layer keeps its states in."""
    return [] if states is None else leaves(states)


def _settings(layer: Layer) -> list[tuple[str, Any]]:
    """What a program was compiled for: all plain attributes and all functions."""

    def counts(value: Any) -> bool:
        plain = isinstance(value, bool | int | float | str | tuple | None)
        return plain or (callable(value) and not isinstance(value, Layer))

    return [(name, value) for name, value in vars(layer).items() if counts(value)]


def _step_mask(mask: Array) -> Array:
    """A mask of shape (batch, steps, ...) as (steps, batch) of booleans."""
    real = mask.astype(bool)
    if real.ndim > 2:
        real = real.any(axis=tuple(range(2, real.ndim)))
    return real.T


def _expand(real: Array, like: Array) -> Array:
    return real.reshape(real.shape + (1,) * (like.ndim - 1))


def _same_form(states: Any, new: Any) -> Any:
    """New states in the structure and the dtypes of the old ones, as a loop needs."""
    form = jax.tree.structure(states)
    new = jax.tree.unflatten(form, jax.tree.leaves(new))
    return jax.tree.map(lambda old, s: s.astype(old.dtype), states, new)


class OfCell:
    """An attribute of the layer that is the cell's."""

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, layer: Any, owner: type | None = None) -> Any:
        return self if layer is None else getattr(layer.cell, self.name)


class OneCellRNN(RNN):
    """A recurrent layer that makes its own cell and shows the cell's settings."""

    units = OfCell()
    activation = OfCell()
    recurrent_activation = OfCell()
    use_bias = OfCell()
    kernel_initializer = OfCell()
    recurrent_initializer = OfCell()
    bias_initializer = OfCell()
    kernel_regularizer = OfCell()
    recurrent_regularizer = OfCell()
    bias_regularizer = OfCell()
    kernel_constraint = OfCell()
    recurrent_constraint = OfCell()
    bias_constraint = OfCell()
    dropout = OfCell()
    recurrent_dropout = OfCell()
    seed = OfCell()

    def __init__(
        self,
        cell: type[GatedCell],
        recipe: dict[str, Any],
        return_sequences: bool,
        return_state: bool,
        go_backwards: bool,
        stateful: bool,
        unroll: bool,
        **kwargs: Any,
    ) -> None:
        if "implementation" in kwargs:
            del self._config["implementation"]
            recipe["implementation"] = kwargs.pop("implementation")
        made = cell(
            **recipe,
            dtype=kwargs.get("dtype"),
            trainable=kwargs.get("trainable", True),
            name=to_snake_case(cell.__name__),
        )
        super().__init__(
            made,
            return_sequences,
            return_state,
            go_backwards,
            stateful,
            unroll,
            **kwargs,
        )
        for option in ("unroll", "zero_output_for_mask"):
            self._config.setdefault(option, False)
        self.input_spec = InputSpec(ndim=3)

    @classmethod
    def from_config(
        cls, config: dict[str, Any], custom_objects: dict[str, Any] | None = None
    ) -> Self:
        """A layer like the one whose `get_config` returned `config`."""
        # As it is: the cell makes the initializers when their turn comes.
        with custom_object_scope(custom_objects):
            return cls(**config)


class SimpleRNN(OneCellRNN):
    """The plain recurrent layer, `h' = activation(x · kernel + h · recurrent + bias)`.

    The options beside the cell's (`SimpleRNNCell`) are those of `RNN`.

    Shapes: `(batch, steps, d) -> (batch, units)`, or `(batch, steps, units)` with
    `return_sequences`.

    >>> SimpleRNN(4)(jnp.ones((2, 5, 3))).shape
    (2, 4)
    """

    def __init__(
        self,
        units: int,
        activation: Any = "tanh",
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        recurrent_initializer: Any = "orthogonal",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        recurrent_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        recurrent_constraint: Any = None,
        bias_constraint: Any = None,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        return_sequences: bool = False,
        return_state: bool = False,
        go_backwards: bool = False,
        stateful: bool = False,
        unroll: bool = False,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        recipe = {
            "units": positive_int(type(self).__name__, "units", units),
            "activation": activation,
            "use_bias": use_bias,
            "kernel_initializer": kernel_initializer,
            "recurrent_initializer": recurrent_initializer,
            "bias_initializer": bias_initializer,
            "kernel_regularizer": kernel_regularizer,
            "recurrent_regularizer": recurrent_regularizer,
            "bias_regularizer": bias_regularizer,
            "kernel_constraint": kernel_constraint,
            "recurrent_constraint": recurrent_constraint,
            "bias_constraint": bias_constraint,
            "dropout": dropout,
            "recurrent_dropout": recurrent_dropout,
            "seed": seed,
        }
        super().__init__(
            SimpleRNNCell,
            recipe,
            return_sequences,
            return_state,
            go_backwards,
            stateful,
            unroll,
            activity_regularizer=activity_regularizer,
            **kwargs,
        )


class _CudnnRNN(OneCellRNN):
    """A recurrent layer with Keras' `use_cudnn`, which changes no results."""

    def __init__(self, *args: Any, use_cudnn: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        who, expected = type(self).__name__, '"auto", True or False'
        check(use_cudnn in ("auto", True, False), who, "use_cudnn", use_cudnn, expected)
        self.use_cudnn = use_cudnn
        # About the machine, not about the layer: files do not hold it.
        self._config.pop("use_cudnn", None)


class LSTM(_CudnnRNN):
    """Long short-term memory: a state that gates write, keep and read.

        i, f, g, o = columns of x · kernel + h · recurrent + bias
        c' = s(f) · c + s(i) · activation(g)      s is `recurrent_activation`
        h' = s(o) · activation(c')

    The options beside the cell's (`LSTMCell`) are those of `RNN`. The states are
    `[h, c]`. (Hochreiter and Schmidhuber, 1997)

    Shapes: `(batch, steps, d) -> (batch, units)`, or `(batch, steps, units)` with
    `return_sequences`.

    >>> LSTM(4, return_sequences=True)(jnp.ones((2, 5, 3))).shape
    (2, 5, 4)
    """

    unit_forget_bias = OfCell()

    def __init__(
        self,
        units: int,
        activation: Any = "tanh",
        recurrent_activation: Any = "sigmoid",
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        recurrent_initializer: Any = "orthogonal",
        bias_initializer: Any = "zeros",
        unit_forget_bias: bool = True,
        kernel_regularizer: Any = None,
        recurrent_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        recurrent_constraint: Any = None,
        bias_constraint: Any = None,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        seed: int | None = None,
        return_sequences: bool = False,
        return_state: bool = False,
        go_backwards: bool = False,
        stateful: bool = False,
        unroll: bool = False,
        use_cudnn: Any = "auto",
        **kwargs: Any,
    ) -> None:
        recipe = {
            "units": positive_int(type(self).__name__, "units", units),
            "activation": activation,
            "recurrent_activation": recurrent_activation,
            "use_bias": use_bias,
            "kernel_initializer": kernel_initializer,
            "recurrent_initializer": recurrent_initializer,
            "bias_initializer": bias_initializer,
            "unit_forget_bias": unit_forget_bias,
            "kernel_regularizer": kernel_regularizer,
            "recurrent_regularizer": recurrent_regularizer,
            "bias_regularizer": bias_regularizer,
            "kernel_constraint": kernel_constraint,
            "recurrent_constraint": recurrent_constraint,
            "bias_constraint": bias_constraint,
            "dropout": dropout,
            "recurrent_dropout": recurrent_dropout,
            "seed": seed,
        }
        super().__init__(
            LSTMCell,
            recipe,
            return_sequences,
            return_state,
            go_backwards,
            stateful,
            unroll,
            use_cudnn=use_cudnn,
            activity_regularizer=activity_regularizer,
            **kwargs,
        )


class GRU(_CudnnRNN):
    """Gated recurrent unit: a state that one gate renews and another hides.

        z = s(x · Wz + h · Uz)      r = s(x · Wr + h · Ur)
        g = activation(x · Wg + r · (h · Ug))      or (r · h) · Ug without `reset_after`
        h' = z · h + (1 - z) · g

    The options beside the cell's (`GRUCell`) are those of `RNN`. (Cho et al., 2014)

    Shapes: `(batch, steps, d) -> (batch, units)`, or `(batch, steps, units)` with
    `return_sequences`.

    >>> GRU(4, return_sequences=True)(jnp.ones((2, 5, 3))).shape
    (2, 5, 4)
    """

    reset_after = OfCell()

    def __init__(
        self,
        units: int,
        activation: Any = "tanh",
        recurrent_activation: Any = "sigmoid",
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        recurrent_initializer: Any = "orthogonal",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        recurrent_regularizer: Any = None,
        bias_regularizer: Any = None,
        activity_regularizer: Any = None,
        kernel_constraint: Any = None,
        recurrent_constraint: Any = None,
        bias_constraint: Any = None,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        seed: int | None = None,
        return_sequences: bool = False,
        return_state: bool = False,
        go_backwards: bool = False,
        stateful: bool = False,
        unroll: bool = False,
        reset_after: bool = True,
        use_cudnn: Any = "auto",
        **kwargs: Any,
    ) -> None:
        recipe = {
            "units": positive_int(type(self).__name__, "units", units),
            "activation": activation,
            "recurrent_activation": recurrent_activation,
            "use_bias": use_bias,
            "kernel_initializer": kernel_initializer,
            "recurrent_initializer": recurrent_initializer,
            "bias_initializer": bias_initializer,
            "kernel_regularizer": kernel_regularizer,
            "recurrent_regularizer": recurrent_regularizer,
            "bias_regularizer": bias_regularizer,
            "kernel_constraint": kernel_constraint,
            "recurrent_constraint": recurrent_constraint,
            "bias_constraint": bias_constraint,
            "dropout": dropout,
            "recurrent_dropout": recurrent_dropout,
            "reset_after": reset_after,
            "seed": seed,
        }
        super().__init__(
            GRUCell,
            recipe,
            return_sequences,
            return_state,
            go_backwards,
            stateful,
            unroll,
            use_cudnn=use_cudnn,
            activity_regularizer=activity_regularizer,
            **kwargs,
        )
