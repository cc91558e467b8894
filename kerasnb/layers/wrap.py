"""Layers around other layers: `Wrapper`, `TimeDistributed`, `Bidirectional`."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from kerasnb.core.errors import check
from kerasnb.layers.cells import accepted
from kerasnb.layers.layer import Layer, collect_losses
from kerasnb.layers.recurrent import scan_steps, written_by

Array = jax.Array


class Wrapper(Layer):
    """A layer around another one, kept as `layer`; the base of such classes.

    >>> from kerasnb.layers import Dense
    >>> Wrapper(Dense(3)).layer.units
    3
    """

    def __init__(self, layer: Layer, **kwargs: Any) -> None:
        check(isinstance(layer, Layer), type(self).__name__, "layer", layer, "a layer")
        super().__init__(**kwargs)
        self.layer = layer

    def build(self, input_shape: Any = None) -> None:
        """Build the inner layer."""
        if not self.layer.built:
            self.layer.build(input_shape)


class TimeDistributed(Wrapper):
    """The same layer applied to every step, with the same weights.

    Shapes: `(batch, steps, ...) -> (batch, steps, ...)`, where the layer maps
    `(batch, ...) -> (batch, ...)`.

    >>> from kerasnb.layers import Dense
    >>> TimeDistributed(Dense(3))(jnp.ones((2, 5, 4))).shape
    (2, 5, 3)
    """

    supports_masking = True

    def build(self, input_shape: tuple) -> None:  # type: ignore[override]
        """Build the inner layer for one step."""
        if len(input_shape) < 3:
            raise ValueError(
                f"{self._who()} needs inputs with a batch, a time and at least one "
                f"more axis and got the shape {tuple(input_shape)}."
            )
        super().build((input_shape[0], *input_shape[2:]))

    def call(
        self, inputs: Array, training: bool | None = None, mask: Array | None = None
    ) -> Array:
        """The outputs of the layer for every step."""
        if mask is not None and mask.shape[:2] != inputs.shape[:2]:
            raise ValueError(
                f"{self._who()} needs a mask that begins with the axes of its input, "
                f"{inputs.shape[:2]}, and got one of shape {mask.shape}."
            )
        steps = jnp.swapaxes(inputs, 0, 1)
        masks = None if mask is None else jnp.swapaxes(mask, 0, 1)

        def apply(x: Array, mask: Array | None) -> Any:
            options = accepted(self.layer, training=training)
            if mask is not None:
                options |= accepted(self.layer, mask=mask)
            return self.layer.call(x, **options)

        if written_by([self.layer]):
            # Each step draws its own random numbers and updates the statistics.
            _, outputs = scan_steps(
                self, lambda _, x: ((), apply(*x)), [self.layer], (), (steps, masks)
            )
        else:
            outputs, losses = jax.vmap(_with_losses(apply))(steps, masks)
            self.add_loss([loss.sum(0) for loss in losses])
        return jax.tree.map(lambda y: jnp.swapaxes(y, 0, 1), outputs)


def _with_losses(fn: Any) -> Any:
    def run(*args: Any) -> tuple[Any, list]:
        with collect_losses() as losses:
            out = fn(*args)
        return out, losses

    return run


_MERGES = ("sum", "mul", "ave", "concat")


class Bidirectional(Layer):
    """A recurrent layer forwards and a copy of it backwards, their outputs merged.

    `merge_mode` is `"concat"`, `"sum"`, `"mul"`, `"ave"`, or None for both outputs.
    Both layers are new ones with the settings of `layer`, in `forward_layer` and
    `backward_layer`. (Schuster and Paliwal, 1997)

    Shapes: `(batch, steps, d) -> (batch, 2·units)`, or `(batch, steps, 2·units)` with
    `return_sequences`; `units` instead of `2·units` unless concatenated.

    >>> from kerasnb.layers import LSTM
    >>> Bidirectional(LSTM(4))(jnp.ones((2, 5, 3))).shape
    (2, 8)
    """

    supports_masking = True
    # Any layers with the arguments and methods of `RNN`.
    forward_layer: Any
    backward_layer: Any

    def __init__(
        self,
        layer: Any,
        merge_mode: str | None = "concat",
        weights: Sequence[Any] | None = None,
        backward_layer: Any = None,
        **kwargs: Any,
    ) -> None:
        who = "Bidirectional"
        check(isinstance(layer, Layer), who, "layer", layer, "a recurrent layer")
        good = backward_layer is None or isinstance(backward_layer, Layer)
        check(good, who, "backward_layer", backward_layer, "a recurrent layer or None")
        good = merge_mode is None or merge_mode in _MERGES
        check(good, who, "merge_mode", merge_mode, f"None or one of {_MERGES}")
        super().__init__(**kwargs)
        self.forward_layer = _copy(layer, "forward")
        if backward_layer is None:
            backward_layer = _copy(layer, "backward", go_backwards=True)
        self.backward_layer = backward_layer
        self._check_pair()
        for inner in (self.forward_layer, self.backward_layer):
            if hasattr(layer, "use_cudnn"):
                inner.use_cudnn = layer.use_cudnn
            # A repeated output would be merged with the wrong step of the other one.
            if getattr(inner, "zero_output_for_mask", None) is not None:
                inner.zero_output_for_mask = inner.return_sequences
        self.merge_mode = merge_mode
        self.stateful = layer.stateful
        self.return_sequences = layer.return_sequences
        self.return_state = layer.return_state
        self.input_spec = layer.input_spec
        self._initial_weights = weights
        self._config.pop("weights", None)

    def _check_pair(self) -> None:
        """The two must run in different directions and agree on all else."""
        forward, backward = self.forward_layer, self.backward_layer
        if forward.go_backwards == backward.go_backwards:
            raise ValueError(
                "Bidirectional: the two layers must differ in `go_backwards`, which is "
                f"{forward.go_backwards} in both."
            )
        for name in ("stateful", "return_sequences", "return_state"):
            one, other = getattr(forward, name), getattr(backward, name)
            if one != other:
                raise ValueError(
                    f"Bidirectional: the two layers must agree on `{name}`, which is "
                    f"{one} forwards and {other} backwards."
                )

    @property
    def layer(self) -> Layer:
        """The layer that runs forwards."""
        return self.forward_layer

    def build(self, sequences_shape: tuple, initial_state_shape: Any = None) -> None:
        """Build both layers."""
        for inner in (self.forward_layer, self.backward_layer):
            if not inner.built:
                inner.build(sequences_shape)
        if self._initial_weights:
            self.set_weights(self._initial_weights)

    def call(
        self,
        sequences: Array,
        initial_state: Any = None,
        mask: Array | None = None,
        training: bool | None = None,
    ) -> Any:
        """Both outputs, merged, and with `return_state` the states of both layers."""
        half = len(initial_state) // 2 if initial_state is not None else 0
        y, states = self._run_one(
            self.forward_layer,
            sequences,
            initial_state and initial_state[:half],
            mask,
            training,
        )
        z, more_states = self._run_one(
            self.backward_layer,
            sequences,
            initial_state and initial_state[half:],
            mask,
            training,
        )
        if self.return_sequences:
            z = jnp.flip(z, 1)
        out = self._merge(y.astype(self.compute_dtype), z.astype(self.compute_dtype))
        if not self.return_state:
            return out
        return (*(out if self.merge_mode is None else (out,)), *states, *more_states)

    def _run_one(
        self, layer: Layer, sequences: Array, state: Any, mask: Any, training: Any
    ) -> tuple[Array, tuple]:
        options = accepted(layer, training=training, mask=mask)
        out = layer(sequences, initial_state=state, **options)
        return (out[0], tuple(out[1:])) if self.return_state else (out, ())

    def _merge(self, y: Array, z: Array) -> Any:
        if self.merge_mode is None:
            return y, z
        if self.merge_mode == "concat":
            return jnp.concatenate([y, z], -1)
        if self.merge_mode == "mul":
            return y * z
        return (y + z) / 2 if self.merge_mode == "ave" else y + z

    def compute_mask(self, _: Any, mask: Any) -> Any:
        """The mask of the sequence, once or twice, where one comes out."""
        masks = jax.tree.leaves(mask)
        mask = masks[0] if masks and self.return_sequences else None
        output = [mask, mask] if self.merge_mode is None else [mask]
        return output if self.return_state or len(output) == 2 else mask

    def reset_state(self) -> None:
        """Let the next call of stateful layers start from zeros."""
        if not self.stateful:
            raise AttributeError(f"{self._who()} is not stateful; nothing to reset.")
        self.forward_layer.reset_state()
        self.backward_layer.reset_state()

    reset_states = reset_state

    @property
    def states(self) -> tuple | None:
        """The states that a stateful layer keeps, of both directions."""
        both = (self.forward_layer.states, self.backward_layer.states)
        return None if None in both else (*both[0], *both[1])


def _copy(layer: Layer, direction: str, **changes: Any) -> Layer:
    """A new layer with the settings of `layer`, named after its direction."""
    config = layer.get_config() | changes
    config["name"] = f"{direction}_{layer.name.removeprefix(f'{direction}_')}"
    copy = type(layer).from_config(config)
    if (built := layer.get_build_config()) is not None:
        copy.build_from_config(built)
    return copy
