"""The cells of recurrent layers: one step in time."""

import inspect
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, ClassVar, Self

import jax
import jax.numpy as jnp

from kerasnb import activations, random
from kerasnb.core.errors import check
from kerasnb.core.registry import custom_object_scope
from kerasnb.core.variable import Variable
from kerasnb.layers.arguments import positive_int
from kerasnb.layers.input_spec import InputSpec
from kerasnb.layers.layer import Layer
from kerasnb.layers.weighted import WeightedLayer
from kerasnb.random import SeedGenerator

Array = jax.Array
Masks = list[Array] | None


class GatedCell(WeightedLayer):
    """What the cells share: one kernel for the inputs, one for the state, dropout.

    The kernels hold `gates` blocks of `units` columns side by side. `dropout` zeroes
    inputs and `recurrent_dropout` states, in training, with masks that stay the same
    for a whole sequence (Gal and Ghahramani, 2016).

    A subclass sets `gates` and writes `_advance`.
    """

    gates: ClassVar[int]
    _seed_first: ClassVar[bool] = False
    bias_initializer: Any
    activation: Any
    recurrent_activation: Any

    def __init__(
        self,
        units: int,
        use_bias: bool,
        kernel: tuple[Any, Any, Any],
        recurrent: tuple[Any, Any, Any],
        bias: tuple[Any, Any, Any],
        dropout: float,
        recurrent_dropout: float,
        seed: int | None,
        **kwargs: Any,
    ) -> None:
        self._config.pop("implementation", None)
        # 1, an argument of older Keras versions, draws dropout masks for each gate.
        each_gate = kwargs.pop("implementation", 2) == 1
        super().__init__(**kwargs)
        self.units = positive_int(type(self).__name__, "units", units)
        self.use_bias = use_bias
        self._describe_all(
            {"kernel": kernel, "recurrent": recurrent, "bias": bias}, seed
        )
        self.bias: Variable | None = None
        self.dropout = min(1.0, max(0.0, dropout))
        self.recurrent_dropout = min(1.0, max(0.0, recurrent_dropout))
        self._masks_per_input = self._count_masks(each_gate)
        self.state_size: int | list[int] = self.units
        self.output_size = self.units
        self._kept: dict[str, Masks] = {}

    def _count_masks(self, each_gate: bool) -> int:
        return self.gates if self.recurrent_dropout or each_gate else 1

    def _describe_all(self, weights: dict[str, tuple], seed: int | None) -> None:
        # Both draw from Python's `random`, and in the same order as in Keras.
        self.seed = seed
        if self._seed_first:
            self.seed_generator = SeedGenerator(seed)
        for name, recipe in weights.items():
            self._describe(name, *recipe)
        if not self._seed_first:
            self.seed_generator = SeedGenerator(seed)

    @classmethod
    def from_config(
        cls, config: dict[str, Any], custom_objects: dict[str, Any] | None = None
    ) -> Self:
        """A cell like the one whose `get_config` returned `config`."""
        # As it is: the constructor makes the initializers when their turn comes.
        with custom_object_scope(custom_objects):
            return cls(**config)

    def build(self, input_shape: tuple) -> None:
        """Make the kernels and the bias for inputs whose last axis is known."""
        width = input_shape[-1]
        if width is None:
            raise ValueError(
                f"{self._who()} needs inputs whose last axis has a known length and "
                f"got steps of shape {tuple(input_shape)}."
            )
        self.input_spec = InputSpec(axes={-1: width})
        columns = self.gates * self.units
        self.kernel = self._make("kernel", (width, columns))
        self.recurrent_kernel = self._make(
            "recurrent", (self.units, columns), name="recurrent_kernel"
        )
        if self.use_bias:
            self.bias = self._make_bias()

    def _make_bias(self) -> Variable:
        return self._make("bias", (self.gates * self.units,))

    def get_initial_state(self, batch_size: int | None = None) -> list[Array]:
        """Zeros, one array for each state."""
        check_batch_size(self, batch_size)
        sizes = self.state_size if isinstance(self.state_size, list) else [self.units]
        return [jnp.zeros((batch_size, size), self.compute_dtype) for size in sizes]

    def call(
        self, inputs: Array, states: Any, training: bool | None = False
    ) -> tuple[Array, Any]:
        """One step: the output and the new states."""
        masks, state_masks = self._masks_for(inputs, states, training)
        return self._advance(self._project(inputs, masks), states, state_masks)

    # --- Dropout ----------------------------------------------------------------------

    @contextmanager
    def steady_dropout(
        self, inputs: Array, states: Any, training: bool | None
    ) -> Iterator[tuple[Masks, Masks]]:
        """Use the same dropout masks, which it hands out, for all calls inside."""
        masks = self._masks_for(inputs, states, training)
        if training:
            self._kept |= zip(("input", "state"), masks, strict=True)
        try:
            yield masks
        finally:
            self._kept.clear()

    def get_dropout_mask(self, step_input: Array) -> Any:
        """What to multiply inputs with, the same until `reset_dropout_mask`.

        An array, a list with one for each gate, or None without dropout.
        """
        return self._keep("input", step_input, self.dropout)

    def get_recurrent_dropout_mask(self, step_input: Array) -> Any:
        """What to multiply states with, until `reset_recurrent_dropout_mask`."""
        return self._keep("state", step_input, self.recurrent_dropout)

    def reset_dropout_mask(self) -> None:
        """Draw other masks for inputs from now on."""
        self._kept.pop("input", None)

    def reset_recurrent_dropout_mask(self) -> None:
        """Draw other masks for states from now on."""
        self._kept.pop("state", None)

    def _keep(self, name: str, x: Array, rate: float) -> Any:
        if name not in self._kept:
            self._kept[name] = self._draw_masks(x, rate)
        masks = self._kept[name]
        return masks[0] if masks and self._masks_per_input == 1 else masks

    def _masks_for(
        self, inputs: Array, states: Any, training: bool | None
    ) -> tuple[Masks, Masks]:
        """The masks that are kept, or new ones for this call only."""
        if not training:
            return None, None

        def find(name: str, x: Array, rate: float) -> Masks:
            kept = name in self._kept
            return self._kept[name] if kept else self._draw_masks(x, rate)

        masks = find("input", inputs, self.dropout)
        return masks, find("state", _first(states), self.recurrent_dropout)

    def _draw_masks(self, x: Array, rate: float) -> Masks:
        if rate == 0.0:
            return None
        ones, seed = jnp.ones_like(x), self.seed_generator
        return [
            random.dropout(ones, rate, seed=seed) for _ in range(self._masks_per_input)
        ]

    # --- Arithmetic -------------------------------------------------------------------

    def _project(self, inputs: Array, masks: Masks) -> Array:
        """What the inputs contribute to the gates, for one step or for all."""
        z = _product(inputs, self.kernel.value, masks)
        return z if self.bias is None else z + self._input_bias()

    def _input_bias(self) -> Array:
        assert self.bias is not None
        return self.bias.value

    def _advance(self, z: Array, states: Any, masks: Masks) -> tuple[Array, Any]:
        """The output and the new states, from the inputs' share and the old states."""
        raise NotImplementedError


def _product(x: Array, kernel: Array, masks: Masks) -> Array:
    """`x · kernel`, each block of columns with its own mask on `x`."""
    if masks is None:
        return jnp.matmul(x, kernel)
    if len(masks) == 1:
        return jnp.matmul(x * masks[0], kernel)
    blocks = jnp.split(kernel, len(masks), axis=1)
    parts = [jnp.matmul(x * m, block) for m, block in zip(masks, blocks, strict=True)]
    return jnp.concatenate(parts, -1)


def _first(states: Any) -> Array:
    return states[0] if isinstance(states, list | tuple) else states


def _like(states: Any, h: Array) -> Any:
    """`h` in the form that the single state came in."""
    return [h] if isinstance(states, list | tuple) else h


class SimpleRNNCell(GatedCell):
    """One step of `SimpleRNN`, `h' = activation(x · kernel + h · recurrent + bias)`.

    Shapes: `(batch, d), [(batch, units)] -> (batch, units), [(batch, units)]`.

    >>> out, states = SimpleRNNCell(4)(jnp.ones((2, 3)), [jnp.zeros((2, 4))])
    >>> out.shape, len(states)
    ((2, 4), 1)
    """

    gates = 1
    _seed_first = True

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
        kernel_constraint: Any = None,
        recurrent_constraint: Any = None,
        bias_constraint: Any = None,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            units,
            use_bias,
            (kernel_initializer, kernel_regularizer, kernel_constraint),
            (recurrent_initializer, recurrent_regularizer, recurrent_constraint),
            (bias_initializer, bias_regularizer, bias_constraint),
            dropout,
            recurrent_dropout,
            seed,
            **kwargs,
        )
        self.activation = activations.get(activation)

    def call(
        self, sequence: Array, states: Any, training: bool | None = False
    ) -> tuple[Array, Any]:
        """One step: the output and the new state."""
        return super().call(sequence, states, training)

    def _advance(self, z: Array, states: Any, masks: Masks) -> tuple[Array, Any]:
        h = _product(_first(states), self.recurrent_kernel.value, masks)
        h = self.activation(z + h)
        return h, _like(states, h)


class LSTMCell(GatedCell):
    """One step of `LSTM` (Hochreiter and Schmidhuber, 1997).

        i, f, g, o = columns of x · kernel + h · recurrent + bias
        c' = s(f) · c + s(i) · activation(g)      s is `recurrent_activation`
        h' = s(o) · activation(c')

    `unit_forget_bias` starts the forget gate's bias at one (Jozefowicz et al., 2015).

    Shapes: `(batch, d), [h, c] -> (batch, units), [h', c']`, states `(batch, units)`.

    >>> zeros = jnp.zeros((2, 4))
    >>> out, states = LSTMCell(4)(jnp.ones((2, 3)), [zeros, zeros])
    >>> out.shape, len(states)
    ((2, 4), 2)
    """

    gates = 4
    _gate_axis = -1

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
        kernel_constraint: Any = None,
        recurrent_constraint: Any = None,
        bias_constraint: Any = None,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            units,
            use_bias,
            (kernel_initializer, kernel_regularizer, kernel_constraint),
            (recurrent_initializer, recurrent_regularizer, recurrent_constraint),
            (bias_initializer, bias_regularizer, bias_constraint),
            dropout,
            recurrent_dropout,
            seed,
            **kwargs,
        )
        self.activation = activations.get(activation)
        self.recurrent_activation = activations.get(recurrent_activation)
        self.unit_forget_bias = unit_forget_bias
        self.state_size = [self.units, self.units]

    def _make_bias(self) -> Variable:
        if not self.unit_forget_bias:
            return super()._make_bias()

        def remember(shape: tuple[int, ...], dtype: Any) -> Array:
            start, units = self.bias_initializer, self.units
            return jnp.concatenate(
                [
                    start((units,), dtype=dtype),
                    jnp.ones(units, dtype),
                    start((2 * units,), dtype=dtype),
                ]
            )

        return self._make("bias", (4 * self.units,), initializer=remember)

    def _recur(self, h: Array, masks: Masks) -> Array:
        """What the state contributes to the gates."""
        return _product(h, self.recurrent_kernel.value, masks)

    def _advance(self, z: Array, states: Any, masks: Masks) -> tuple[Array, Any]:
        h, c = states
        i, f, g, o = jnp.split(z + self._recur(h, masks), 4, self._gate_axis)
        gate = self.recurrent_activation
        c = gate(f) * c + gate(i) * self.activation(g)
        h = gate(o) * self.activation(c)
        return h, [h, c]


class GRUCell(GatedCell):
    """One step of `GRU` (Cho et al., 2014).

        z = s(x · Wz + h · Uz)      r = s(x · Wr + h · Ur)
        g = activation(x · Wg + r · (h · Ug))      or (r · h) · Ug without `reset_after`
        h' = z · h + (1 - z) · g

    with biases where `use_bias` asks for them, for inputs and states apart with
    `reset_after`.

    Shapes: `(batch, d), [(batch, units)] -> (batch, units), [(batch, units)]`.

    >>> out, states = GRUCell(4)(jnp.ones((2, 3)), [jnp.zeros((2, 4))])
    >>> out.shape, len(states)
    ((2, 4), 1)
    """

    gates = 3

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
        kernel_constraint: Any = None,
        recurrent_constraint: Any = None,
        bias_constraint: Any = None,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        reset_after: bool = True,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(
            units,
            use_bias,
            (kernel_initializer, kernel_regularizer, kernel_constraint),
            (recurrent_initializer, recurrent_regularizer, recurrent_constraint),
            (bias_initializer, bias_regularizer, bias_constraint),
            dropout,
            recurrent_dropout,
            seed,
            **kwargs,
        )
        self.activation = activations.get(activation)
        self.recurrent_activation = activations.get(recurrent_activation)
        self.reset_after = reset_after

    def _make_bias(self) -> Variable:
        if not self.reset_after:
            return super()._make_bias()
        return self._make("bias", (2, self.gates * self.units))

    def _input_bias(self) -> Array:
        bias = super()._input_bias()
        return bias[0] if self.reset_after else bias

    def _advance(self, z: Array, states: Any, masks: Masks) -> tuple[Array, Any]:
        h, gate = _first(states), self.recurrent_activation
        kernel, units = self.recurrent_kernel.value, self.units
        x_z, x_r, x_g = jnp.split(z, 3, axis=1)
        if self.reset_after:
            inner = _product(h, kernel, masks)
            if self.bias is not None:
                inner = inner + self.bias.value[1]
            h_z, h_r, h_g = jnp.split(inner, 3, axis=1)
            update, reset = gate(x_z + h_z), gate(x_r + h_r)
            new = self.activation(x_g + reset * h_g)
        else:
            inner = _product(h, kernel[:, : 2 * units], masks and masks[:2])
            h_z, h_r = jnp.split(inner, 2, axis=1)
            update, reset = gate(x_z + h_z), gate(x_r + h_r)
            inner = _product(reset * h, kernel[:, 2 * units :], masks and masks[2:])
            new = self.activation(x_g + inner)
        h = update * h + (1 - update) * new
        return h, _like(states, h)


class StackedRNNCells(Layer):
    """Several cells as one: the output of each is the input of the next.

    The states are a list with the states of each cell.

    >>> from kerasnb.layers.recurrent import RNN
    >>> RNN(StackedRNNCells([LSTMCell(8), GRUCell(4)]))(jnp.ones((2, 5, 3))).shape
    (2, 4)
    """

    def __init__(self, cells: Sequence[Any], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        for cell in cells:
            check_cell("StackedRNNCells", "cells", cell)
        self.cells = list(cells)

    @property
    def state_size(self) -> list[Any]:
        """The sizes of the states of each cell."""
        return [cell.state_size for cell in self.cells]

    @property
    def output_size(self) -> int:
        """The number of outputs of the last cell."""
        return output_size_of(self.cells[-1])

    def get_initial_state(self, batch_size: int | None = None) -> list[Any]:
        """What each cell starts from."""
        check_batch_size(self, batch_size)
        return [initial_state_of(cell, batch_size) for cell in self.cells]

    def build(self, input_shape: tuple) -> None:
        """Build the cells, each for the outputs of the one before."""
        for cell in self.cells:
            if isinstance(cell, Layer) and not cell.built:
                cell.build(input_shape)
            input_shape = (input_shape[0], output_size_of(cell))

    def call(
        self,
        inputs: Array,
        states: Sequence[Any],
        training: bool | None = False,
        **kwargs: Any,
    ) -> tuple[Array, list[Any]]:
        """One step of every cell."""
        new_states = []
        for cell, state in zip(self.cells, states, strict=True):
            inputs, new = call_cell(cell, inputs, state, training, **kwargs)
            new_states.append(new)
        return inputs, new_states

    @contextmanager
    def steady_dropout(
        self, inputs: Array, states: Sequence[Any], training: bool | None
    ) -> Iterator[None]:
        """Use the same dropout masks for all calls inside."""
        with ExitStack() as stack:
            for cell, state in zip(self.cells, states, strict=True):
                if hasattr(cell, "steady_dropout"):
                    stack.enter_context(cell.steady_dropout(inputs, state, training))
                inputs = jnp.ones(
                    (*inputs.shape[:1], output_size_of(cell)), inputs.dtype
                )
            yield


# --- Cells of any kind ----------------------------------------------------------------


def check_cell(who: str, argument: str, cell: Any) -> None:
    """A cell has a method `call(inputs, states)` and a `state_size`."""
    good = hasattr(cell, "call") and hasattr(cell, "state_size")
    check(good, who, argument, cell, "a cell, with `call` and `state_size`")


def output_size_of(cell: Any) -> int:
    """The number of outputs; that of the first state unless the cell says."""
    size = getattr(cell, "output_size", None)
    if size is None:
        size = cell.state_size
    return size[0] if isinstance(size, list | tuple) else size


def check_batch_size(cell: Layer, batch_size: int | None) -> None:
    """States cannot be made without knowing for how many samples."""
    expected = "the number of samples"
    check(batch_size is not None, cell._who(), "batch_size", batch_size, expected)


def initial_state_of(cell: Any, batch_size: int | None) -> Any:
    """What the cell starts from; zeros unless it says."""
    make = getattr(cell, "get_initial_state", None)
    if make is not None:
        return make(batch_size=batch_size)
    dtype = getattr(cell, "compute_dtype", None)
    return jax.tree.map(
        lambda size: jnp.zeros((batch_size, size), dtype),
        cell.state_size,
        is_leaf=lambda x: isinstance(x, int),
    )


def call_cell(
    cell: Any, inputs: Any, states: Any, training: bool | None, **kwargs: Any
) -> tuple:
    """One step of a cell, which may or may not take `training`."""
    if isinstance(cell, Layer):
        kwargs |= accepted(cell, training=training)
    call = cell if callable(cell) else cell.call
    return call(inputs, states, **kwargs)


def accepted(layer: Layer, **options: Any) -> dict[str, Any]:
    """Those of the options that `layer.call` takes."""
    known = inspect.signature(layer.call).parameters
    return {name: value for name, value in options.items() if name in known}
