"""`Model`: a layer that can be trained, summarised and saved.

`Model(inputs, outputs)` makes a `Functional` model, `Sequential([...])` a chain, and a
subclass of `Model` with its own `call` anything else.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kerasnb import export, saving
from kerasnb.core import registry
from kerasnb.core.claim import steadily, steady
from kerasnb.core.configurable import deserialize, serialize
from kerasnb.core.errors import suggest
from kerasnb.core.graph import KerasTensor, any_symbolic, output_spec
from kerasnb.core.state import bind
from kerasnb.layers.layer import Layer, call_facts
from kerasnb.layers.quantized import quantize_layers
from kerasnb.models.summary import summary_text
from kerasnb.saving import orbax
from kerasnb.training.trainer import Trainer


class Model(Trainer):
    """A layer with `fit`, `evaluate`, `predict`, `summary` and `save`.

    >>> from kerasnb.layers import Dense, Input
    >>> x = Input((4,))
    >>> model = Model(x, Dense(2)(x))
    >>> model.count_params()
    10
    """

    def __new__(cls, *args: Any, **kwargs: Any) -> Any:
        """A `Functional` model when called with inputs and outputs."""
        if cls is Model and _is_functional(args, kwargs):
            from kerasnb.models.functional import Functional

            return Functional.__new__(Functional, *args, **kwargs)
        return super().__new__(cls, *args, **kwargs)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        if _is_functional(args, kwargs):
            # A subclass that passes inputs and outputs on: it becomes functional too.
            from kerasnb.models.functional import Functional

            if not isinstance(self, Functional):
                _insert_functional(type(self), Functional)
                Functional.__init__(self, *args, **kwargs)  # type: ignore[arg-type]
                return
        if args:
            raise TypeError(
                f"{type(self).__name__} takes Model(inputs, outputs), or keyword "
                "arguments such as `name` from a subclass."
            )
        super().__init__(**kwargs)

    @property
    def layers(self) -> list[Layer]:
        """The layers directly inside this model."""
        return self._sublayers()

    def get_layer(self, name: str | None = None, index: int | None = None) -> Layer:
        """The layer of that name, or at that position in `layers`."""
        layers = self.layers
        if index is not None:
            if not -len(layers) <= index < len(layers):
                raise ValueError(
                    f"Model `{self.name}` has {len(layers)} layers and none at {index}."
                )
            return layers[index]
        for layer in layers:
            if layer.name == name:
                return layer
        names = [layer.name for layer in layers]
        raise ValueError(
            f"Model `{self.name}` has no layer `{name}`.{suggest(name, names)} Its "
            f"layers are {names}."
        )

    def build(self, input_shape: Any = None) -> None:
        """Make the weights by tracing a call on inputs of this shape, batch included.

        `input_shape` may be a list or a dict of shapes.
        """
        if input_shape is not None:
            self._trace_call({call_facts(type(self)).first: input_shape})

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Any:
        """The model whose `get_config` returned `config`, with new weights."""
        with registry.custom_object_scope(custom_objects):
            if cls is Model and {"layers", "input_layers"} <= config.keys():
                from kerasnb.models.functional import Functional

                return Functional.from_config(config)
            return super().from_config(config)

    @classmethod
    def _has_own_build(cls) -> bool:
        return cls.build not in (Layer.build, Model.build)

    def build_from_config(self, config: dict[str, Any]) -> None:
        """Build the model for the input shapes that `get_build_config` noted."""
        super().build_from_config(config)
        if config and not self._has_own_build() and self._build_shapes:
            shapes = {
                k.removesuffix("_shape"): v for k, v in self._build_shapes.items()
            }
            if len(shapes) == 1:
                shapes = {call_facts(type(self)).first: next(iter(shapes.values()))}
            self._trace_call(shapes)

    def _trace_call(self, shapes: dict[str, Any]) -> None:
        """Let the layers make their weights as they run on tracers of these shapes."""
        inputs = {name: self._placeholder(shape) for name, shape in shapes.items()}
        with bind((), (), open=True):
            output_spec(lambda inputs: self(**inputs), inputs)

    def _placeholder(self, shape: Any) -> Any:
        if isinstance(shape, dict):
            return {name: self._placeholder(inner) for name, inner in shape.items()}
        if all(d is None or isinstance(d, int) for d in shape):
            return KerasTensor(shape, self.compute_dtype)
        return [self._placeholder(inner) for inner in shape]

    def summary(
        self,
        line_length: int | None = None,
        positions: Sequence[float] | None = None,
        print_fn: Any = None,
        expand_nested: bool = False,
        show_trainable: bool = False,
        layer_range: Sequence[str] | None = None,
    ) -> None:
        """Print the layers with their output shapes and numbers of parameters."""
        text = summary_text(
            self, line_length, positions, expand_nested, show_trainable, layer_range
        )
        (print_fn or print)(text)

    def get_quantization_layer_structure(self, mode: str | None = None) -> Any:
        """What quantisation with calibration needs to know; a subclass may say it."""
        return None

    def quantize(  # type: ignore[override]
        self,
        mode: str | None = None,
        config: Any = None,
        filters: Any = None,
        **kwargs: Any,
    ) -> None:
        """Keep the weights of the layers in few bits: `"int8"`, `"int4"`, `"float8"`.

        `config` is one of `keras.quantizers` and says more; `filters`, a regular
        expression or several or a function, chooses the layers.
        """
        type_check = kwargs.pop("type_check", True)
        for unknown in kwargs:
            raise ValueError(f"{self._who()}.quantize has no argument `{unknown}`.")
        quantize_layers(self, mode, config, filters, type_check)
        self._programs = None

    def to_code(self) -> str:
        """A plain Keras script that builds the same model."""
        from kerasnb.models.code import to_code

        return to_code(self)

    # --- Files ------------------------------------------------------------------------

    def save(
        self,
        filepath: str | Path,
        overwrite: bool = True,
        zipped: bool | None = None,
        **kwargs: Any,
    ) -> None:
        """Write the model, its weights and its training state to a `.keras` file."""
        with steady(self._all_variables):
            saving.save_model(
                self, filepath, overwrite=overwrite, zipped=zipped, **kwargs
            )

    @steadily
    def save_weights(
        self,
        filepath: str | Path,
        overwrite: bool = True,
        max_shard_size: float | None = None,
    ) -> None:
        """Write the weights to a `.weights.h5` or a `.safetensors` file."""
        saving.save_weights(
            self, filepath, overwrite=overwrite, max_shard_size=max_shard_size
        )

    def load_weights(
        self, filepath: str | Path, skip_mismatch: bool = False, **kwargs: Any
    ) -> None:
        """Read the weights from a `.weights.h5`, `.safetensors` or `.keras` file."""
        saving.load_weights(self, filepath, skip_mismatch=skip_mismatch, **kwargs)

    @steadily
    def export(
        self,
        filepath: str | Path,
        format: str | None = None,
        verbose: bool | None = None,
        input_signature: Any = None,
        **kwargs: Any,
    ) -> export.Export:
        """Write the forward pass to a file that runs without Keras and this model.

        `format` is that of the path's ending: `model.export("digits.stablehlo")` writes
        StableHLO with the weights in it, which `kerasnb.export.load` reads, or any
        process with JAX. The file is read back and compared with the model, which
        has to give the same answers; returns what came of that. `batch=8` fixes the
        number of rows; `verbose=True` prints the result.
        """
        return export.export_model(
            self, filepath, format, verbose, input_signature, **kwargs
        )

    def get_state_tree(self, value_format: str = "backend_tensor") -> dict[str, Any]:
        """The values of all variables, nested by their paths, for checkpoints.

        The keys are `trainable_variables`, `non_trainable_variables`,
        `optimizer_variables` and `metrics_variables`; the leaves are JAX arrays, or
        NumPy's with `value_format="numpy_array"`.
        """
        with steady(self._all_variables):
            return orbax.state_tree(self, value_format)

    def set_state_tree(self, state_tree: Mapping[str, Any]) -> None:
        """Give the variables the values that `get_state_tree` returned."""
        orbax.set_state_tree(self, state_tree)

    def to_json(self, **kwargs: Any) -> str:
        """The model's configuration as JSON, for `keras.models.model_from_json`."""
        return json.dumps(serialize(self), default=_json_default, **kwargs)


def model_from_json(json_string: str, custom_objects: dict | None = None) -> Any:
    """The model whose `to_json` returned this text, with new weights."""
    with registry.custom_object_scope(custom_objects):
        return deserialize(json.loads(json_string))


def _json_default(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else str(value)


def _is_functional(args: tuple, kwargs: dict[str, Any]) -> bool:
    if {"inputs", "outputs"} <= kwargs.keys():
        return any_symbolic(kwargs["inputs"])
    if len(args) == 1 and "outputs" in kwargs:
        return any_symbolic(args[0])
    return len(args) >= 2 and any_symbolic(args[0])


def _insert_functional(cls: type, functional: type) -> None:
    """Put `Functional` in the place of `Model` among the bases of a user's class."""
    if functional in cls.__mro__:
        return
    for base in cls.__bases__:
        if base is Model:
            bases = tuple(functional if b is Model else b for b in cls.__bases__)
            cls.__bases__ = bases
            return
        if issubclass(base, Model):
            _insert_functional(base, functional)
