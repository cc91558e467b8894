"""`Sequential`: a model that is a chain of layers."""

from typing import Any, Self

from kerasnb.core.configurable import deserialize, serialize
from kerasnb.core.errors import show
from kerasnb.core.graph import KerasTensor, is_symbolic
from kerasnb.core.naming import auto_name
from kerasnb.layers.host import holds_text, text_as_array
from kerasnb.layers.input_layer import InputLayer
from kerasnb.layers.layer import Layer, call_facts
from kerasnb.models.functional import Functional
from kerasnb.models.model import Model


class Sequential(Model):
    """A chain of layers: the output of each is the input of the next.

    >>> from kerasnb.layers import Dense, Input
    >>> model = Sequential([Input((4,)), Dense(8, activation="relu"), Dense(1)])
    >>> model.output_shape
    (None, 1)
    """

    _UNTRACKED = Model._UNTRACKED | {"_functional", "_input_layer"}
    _saved_first = ("layers",)

    def __init__(
        self,
        layers: Any = None,
        trainable: bool = True,
        name: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(trainable=trainable, name=name, **kwargs)
        self._functional: Functional | None = None
        self._layers: list[Layer] = []
        self._input_layer: InputLayer | None = None
        if layers is not None:
            for layer in layers if isinstance(layers, list | tuple) else [layers]:
                self.add(layer, rebuild=False)
            self._rebuild()

    def add(self, layer: Any, rebuild: bool = True) -> None:
        """Put a layer at the end of the chain."""
        if is_symbolic(layer):
            layer = layer._keras_history[0]
        if not isinstance(layer, Layer):
            raise ValueError(
                f"Sequential `{self.name}` is made of layers, not {show(layer)}."
            )
        taken = {x.name for x in self._all_layers()}
        if layer.name in taken:
            raise ValueError(
                f"Sequential `{self.name}` already has a layer named `{layer.name}`; "
                "give the new one another `name`."
            )
        if isinstance(layer, InputLayer):
            if self._all_layers():
                raise ValueError(
                    f"Sequential `{self.name}`: an Input must come first, before "
                    f"`{self._all_layers()[0].name}`."
                )
            self._input_layer = layer
        else:
            shape = layer._input_shape_argument
            if shape is not None and not self._all_layers():
                self._input_layer = InputLayer(shape)
            self._layers = [*self._layers, layer]
        if rebuild:
            self._rebuild()

    def pop(self, rebuild: bool = True) -> Layer:
        """Take the last layer off the chain and return it."""
        if not self._layers:
            raise TypeError(f"Sequential `{self.name}` has no layers to take off.")
        *self._layers, layer = self._layers
        self._functional, self.built = None, False
        if rebuild:
            self._rebuild()
        return layer

    def _all_layers(self) -> list[Layer]:
        first = [self._input_layer] if self._input_layer is not None else []
        return [*first, *self._layers]

    def _rebuild(self) -> None:
        """Make the graph, once the shape of the input is known."""
        self._functional, self.built = None, False
        if self._input_layer is None and self._layers:
            first = self._layers[0]
            if isinstance(first, Sequential | Functional) and first.built:
                shape, dtype = first.input_shape, first.inputs[0].dtype
                self._input_layer = InputLayer(batch_shape=shape, dtype=dtype)
        if self._input_layer is not None and self._layers:
            self.build(self._input_layer.batch_shape)

    def build(self, input_shape: Any = None) -> None:
        """Make the weights for inputs of this shape, batch axis included."""
        if not self._layers:
            raise ValueError(
                f"Sequential `{self.name}` has no layers yet; add some first."
            )
        if input_shape is None:
            return
        if self._input_layer is None:
            first = self._layers[0].input_dtype
            dtype = "string" if first == "string" else None
            self._input_layer = InputLayer(batch_shape=input_shape, dtype=dtype)
        elif self._input_layer.batch_shape != tuple(input_shape):
            raise ValueError(
                f"Sequential `{self.name}` has an input of shape "
                f"{self._input_layer.batch_shape} and cannot be built for "
                f"{tuple(input_shape)}."
            )
        placeholder = self._input_layer.output
        x = placeholder
        for layer in self._layers:
            x = layer(x)
            if not isinstance(x, KerasTensor):
                raise ValueError(
                    f"Sequential `{self.name}`: the layer `{layer.name}` gives several "
                    "outputs; a chain needs one. Use keras.Model(inputs, outputs)."
                )
        self._functional = Functional(placeholder, x, name=self.name)
        self.built = True

    def _build_for(self, facts: Any, args: tuple, kwargs: dict) -> None:
        # A first call on data tells the shape of a sample, not that of every batch.
        x = text_as_array(args[0] if args else None)
        shape = getattr(x, "shape", None)
        if shape is not None:
            shape = (None, *shape[1:])
            if self._input_layer is None and self._layers and holds_text(x):
                self._input_layer = InputLayer(batch_shape=shape, dtype="string")
            self.build(shape)

    def compute_output_spec(self, *args: Any, **kwargs: Any) -> Any:
        """Placeholders with the shapes and dtypes of the results."""
        inner = self._functional
        if inner is not None and inner._border is not None:
            return inner.compute_output_spec(*args, **kwargs)
        return super().compute_output_spec(*args, **kwargs)

    def _before_step(self, x: Any) -> Any:
        if self._functional is None and holds_text(x):
            self._build_for(None, (x,), {})
        return x if self._functional is None else self._functional._before_step(x)

    @property
    def layers(self) -> list[Layer]:
        """The layers of the chain, the input left out."""
        return list(self._layers)

    # --- Calls ------------------------------------------------------------------------

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        """Each layer on the output of the one before."""
        if self._functional is not None:
            return self._functional.call(inputs)
        x = inputs
        for layer in self._layers:
            kwargs = {}
            if training is not None and call_facts(type(layer)).training is not None:
                kwargs["training"] = training
            x = layer(x, **kwargs)
        return x

    def _convert(self, x: Any) -> Any:
        return Functional._convert(self, x)  # type: ignore[arg-type]

    def compute_output_shape(self, input_shape: Any) -> Any:
        """The shape of the output for a shape of the input."""
        if self._functional is not None:
            return self._functional.compute_output_shape(input_shape)
        return super().compute_output_shape(input_shape)

    def _graph(self, what: str) -> Functional:
        if self._functional is None:
            raise AttributeError(
                f"Sequential `{self.name}` has no `{what}` yet: its input shape is not "
                "known. Begin it with keras.Input(shape), or call it on data."
            )
        return self._functional

    @property
    def inputs(self) -> list[KerasTensor]:
        """The placeholder of the input, in a list."""
        return self._graph("inputs").inputs

    @property
    def outputs(self) -> list[KerasTensor]:
        """The placeholder of the output, in a list."""
        return self._graph("outputs").outputs

    @property
    def input(self) -> Any:
        """The placeholder of the input."""
        return self._graph("input").input

    @property
    def output(self) -> Any:
        """The placeholder of the output."""
        return self._graph("output").output

    @property
    def input_shape(self) -> Any:
        """The shape of the input."""
        return self._graph("input_shape").input_shape

    @property
    def output_shape(self) -> Any:
        """The shape of the output."""
        return self._graph("output_shape").output_shape

    @property
    def input_dtype(self) -> str:
        """The dtype of the input."""
        if self._functional is None:
            return super().compute_dtype
        return self.inputs[0].dtype

    # --- Configuration ----------------------------------------------------------------

    def get_config(self) -> dict[str, Any]:
        """The layers as plain data, for `from_config`."""
        layers = [serialize(layer) for layer in self._all_layers()]
        config = {
            "name": self.name,
            "trainable": self.trainable,
            "dtype": serialize(self.dtype_policy),
            "layers": layers,
        }
        if self._functional is not None:
            config["build_input_shape"] = self.input_shape
        return config

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Self:
        """The model whose `get_config` returned `config`, with new weights."""
        layers = [deserialize(layer) for layer in config["layers"]]
        arguments = {
            "name": config.get("name") or auto_name(cls),
            "trainable": config.get("trainable", True),
        }
        if (dtype := config.get("dtype")) is not None:
            arguments["dtype"] = deserialize(dtype)
        model = cls(**arguments)
        for layer in layers:
            model.add(layer, rebuild=False)
        model._rebuild()
        shape = config.get("build_input_shape")
        if not model.built and isinstance(shape, list | tuple):
            model.build(tuple(shape))
        return model

    def get_build_config(self) -> dict[str, Any] | None:
        """The shape of the input, when it is known."""
        if self._functional is None:
            return None
        return {"input_shape": self.input_shape}
