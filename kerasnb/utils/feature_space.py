"""`FeatureSpace`: the columns of a table, each prepared in its way, as one vector."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from kerasnb import layers, saving
from kerasnb.core.configurable import Configurable, deserialize
from kerasnb.core.errors import check, show, suggest
from kerasnb.core.graph import Function, map_structure
from kerasnb.core.naming import unique
from kerasnb.layers.arguments import choice
from kerasnb.layers.host import as_numpy
from kerasnb.layers.layer import Layer

_ADAPT_ROWS = 32  # what Keras adapts by; the bins of `Discretization` depend on it


class Cross(Configurable):
    """Several features as one; `FeatureSpace.cross` makes it."""

    def __init__(
        self,
        feature_names: Sequence[str],
        crossing_dim: int,
        output_mode: str = "one_hot",
    ) -> None:
        self.feature_names = tuple(feature_names)
        self.crossing_dim = crossing_dim
        modes = ("int", "one_hot")
        self.output_mode = choice("Cross", "output_mode", output_mode, modes)

    @property
    def name(self) -> str:
        """The names of the features, joined."""
        return "_X_".join(self.feature_names)


class Feature(Configurable):
    """A column, the layer that prepares it, and how it comes out."""

    def __init__(self, dtype: str, preprocessor: Any, output_mode: str) -> None:
        self.dtype, self.preprocessor = dtype, deserialize(preprocessor)
        modes = ("int", "one_hot", "float")
        self.output_mode = choice("Feature", "output_mode", output_mode, modes)


class TFDIdentity(Layer):
    """A column as it is, under the name that it has in Keras' files."""

    def call(self, x: jax.Array) -> jax.Array:
        """The column."""
        return x


class TFDConcat(Layer):
    """All columns side by side, under the name that they have in Keras' files."""

    def __init__(self, axis: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.axis = axis

    def call(self, xs: list[jax.Array]) -> jax.Array:
        """The columns along `axis`."""
        return jnp.concatenate(xs, self.axis)


class FeatureSpace(Layer):
    """The columns of a table, each prepared in its way, as one vector for each row.

    `features` says for each column what it is: `"float"`, `"float_normalized"`,
    `"float_rescaled"`, `"float_discretized"`, `"integer_categorical"`,
    `"string_categorical"`, `"integer_hashed"`, `"string_hashed"`, or a
    `FeatureSpace.<kind>(...)` with arguments, or a `FeatureSpace.feature` with a layer.
    `crosses` are tuples of names, hashed together into `crossing_dim` bins. `adapt`
    learns what must be learned; then the space can be called on a dict of columns or
    of single values, and `get_inputs` and `get_encoded_features` are the two ends of a
    functional model on the raw columns.

    Shapes: a dict of `(batch,)` or `(batch, 1) -> (batch, width)`, the columns in the
    order of their names; a dict for `output_mode="dict"`.

    >>> space = FeatureSpace({"age": "float", "city": "string_categorical"})
    >>> space.adapt({"age": [30.0, 40.0], "city": ["Oslo", "Rome"]})
    >>> space({"age": 20.0, "city": "Oslo"}).tolist()
    [20.0, 0.0, 0.0, 1.0]
    """

    _UNTRACKED = Layer._UNTRACKED | {"_graph", "inputs", "encoded_features"}

    @classmethod
    def cross(
        cls,
        feature_names: Sequence[str],
        crossing_dim: int,
        output_mode: str = "one_hot",
    ) -> Cross:
        """Features hashed together into `crossing_dim` bins."""
        return Cross(feature_names, crossing_dim, output_mode)

    @classmethod
    def feature(cls, dtype: str, preprocessor: Any, output_mode: str) -> Feature:
        """A column of that dtype, prepared by a layer of your own choice."""
        return Feature(dtype, preprocessor, output_mode)

    @classmethod
    def float_rescaled(
        cls, scale: Any = 1.0, offset: Any = 0.0, name: str | None = None
    ) -> Feature:
        """A number, scaled and shifted."""
        make = layers.Rescaling
        return _feature("float_rescaled", name, make, scale=scale, offset=offset)

    @classmethod
    def float_normalized(cls, name: str | None = None) -> Feature:
        """A number, shifted and scaled to mean 0 and variance 1."""
        return _feature("float_normalized", name, layers.Normalization, axis=-1)

    @classmethod
    def float_discretized(
        cls,
        num_bins: int | None,
        bin_boundaries: Any = None,
        output_mode: str = "one_hot",
        name: str | None = None,
    ) -> Feature:
        """A number as the bin it falls into."""
        return _feature(
            "float_discretized",
            name,
            layers.Discretization,
            output_mode,
            num_bins=num_bins,
            bin_boundaries=bin_boundaries,
        )

    @classmethod
    def integer_categorical(
        cls,
        max_tokens: int | None = None,
        num_oov_indices: int = 1,
        output_mode: str = "one_hot",
        name: str | None = None,
    ) -> Feature:
        """A whole number that stands for a class."""
        make, oov = layers.IntegerLookup, num_oov_indices
        kind, options = "integer_categorical", {"num_oov_indices": oov}
        return _feature(kind, name, make, output_mode, max_tokens=max_tokens, **options)

    @classmethod
    def string_categorical(
        cls,
        max_tokens: int | None = None,
        num_oov_indices: int = 1,
        output_mode: str = "one_hot",
        name: str | None = None,
    ) -> Feature:
        """A string that stands for a class."""
        make, oov = layers.StringLookup, num_oov_indices
        kind, options = "string_categorical", {"num_oov_indices": oov}
        return _feature(kind, name, make, output_mode, max_tokens=max_tokens, **options)

    @classmethod
    def string_hashed(
        cls, num_bins: int, output_mode: str = "one_hot", name: str | None = None
    ) -> Feature:
        """A string as one of so many bins."""
        kind, make = "string_hashed", layers.Hashing
        return _feature(kind, name, make, output_mode, num_bins=num_bins)

    @classmethod
    def integer_hashed(
        cls, num_bins: int, output_mode: str = "one_hot", name: str | None = None
    ) -> Feature:
        """A whole number as one of so many bins."""
        kind, make = "integer_hashed", layers.Hashing
        return _feature(kind, name, make, output_mode, num_bins=num_bins)

    @classmethod
    def float(cls, name: str | None = None) -> Feature:
        """A number as it is."""
        return _feature("float", name, TFDIdentity, dtype="float32")

    def __init__(
        self,
        features: Mapping[str, Any],
        output_mode: str = "concat",
        crosses: Sequence[Any] | None = None,
        crossing_dim: int = 32,
        hashing_dim: int = 32,
        num_discretization_bins: int = 32,
        name: str | None = None,
    ) -> None:
        super().__init__(name=name)
        who = "FeatureSpace"
        check(features, who, "features", features, "a dict of a feature or more")
        self.crossing_dim, self.hashing_dim = crossing_dim, hashing_dim
        self.num_discretization_bins = num_discretization_bins
        modes = ("dict", "concat")
        self.output_mode = choice(who, "output_mode", output_mode, modes)
        self.features = {k: self._feature_of(k, v) for k, v in features.items()}
        self.crosses = [self._cross_of(cross) for cross in crosses or ()]
        self.inputs = {
            key: layers.Input((1,), dtype=feature.dtype, name=key)
            for key, feature in self.features.items()
        }
        self.preprocessors = {k: v.preprocessor for k, v in self.features.items()}
        self.crossers = {
            cross.name: layers.HashedCrossing(cross.crossing_dim, name=cross.name)
            for cross in self.crosses
        }
        self.one_hot_encoders: dict[str, Any] = {}
        self.concat: Any = None
        self.encoded_features: Any = None
        self._graph: Function | None = None
        self._is_adapted = not self._to_adapt()

    def _feature_of(self, name: str, feature: Any) -> Feature:
        feature = deserialize(feature)
        if isinstance(feature, Feature):
            return feature
        arguments: dict[str, tuple] = dict.fromkeys(_DTYPES, ())
        arguments["float_discretized"] = (self.num_discretization_bins,)
        arguments["integer_hashed"] = arguments["string_hashed"] = (self.hashing_dim,)
        if feature not in arguments:
            raise ValueError(
                f"FeatureSpace: the feature `{name}` must be one of "
                f"{', '.join(arguments)}, or a FeatureSpace.feature(...), not "
                f"{show(feature)}.{suggest(feature, arguments)}"
            )
        return getattr(type(self), feature)(*arguments[feature], name=name)

    def _cross_of(self, cross: Any) -> Cross:
        cross = deserialize(cross)
        if not isinstance(cross, Cross):
            cross = Cross(cross, self.crossing_dim)
        for name in cross.feature_names:
            if name not in self.features:
                raise ValueError(
                    f"FeatureSpace: `crosses` names `{name}`, which is not among the "
                    f"features {[*self.features]}.{suggest(name, self.features)}"
                )
        return cross

    # --- Learning ---------------------------------------------------------------------

    def _to_adapt(self) -> list[str]:
        """The features whose layers learn from data."""

        def learns(layer: Any) -> bool:
            lookup = getattr(layer, "_lookup_layer", layer)
            given = getattr(layer, "input_mean", None) is not None
            given = given or getattr(lookup, "_given", False)
            given = given or getattr(layer, "num_bins", 1) is None
            return hasattr(layer, "adapt") and not given

        return [name for name, layer in self.preprocessors.items() if learns(layer)]

    def adapt(self, dataset: Any) -> None:
        """Learn from a dict or a frame of columns, or a dataset of dicts."""
        for name in self._to_adapt():
            self.preprocessors[name].adapt(_column_batches(dataset, name))
        self._is_adapted = True
        self.encoded_features = self._graph = None
        self.get_encoded_features()

    def get_inputs(self) -> dict[str, Any]:
        """The placeholders of the raw columns, by name."""
        self.get_encoded_features()
        return self.inputs

    def get_encoded_features(self) -> Any:
        """The placeholder of the prepared columns, or a dict of them."""
        if self.encoded_features is None:
            if not self._is_adapted:
                raise ValueError(
                    f"{self._who()} must learn from data before it can be used: call "
                    f"adapt(data). {', '.join(self._to_adapt())} need it."
                )
            self.encoded_features = self._encode()
            self._graph = Function(self.inputs, self.encoded_features)
            self.built = True
        return self.encoded_features

    def _encode(self) -> Any:
        found = {k: layer(self.inputs[k]) for k, layer in self.preprocessors.items()}
        crossed = {
            cross.name: self.crossers[cross.name](
                [found[name] for name in cross.feature_names]
            )
            for cross in self.crosses
        }
        specs = {cross.name: cross for cross in self.crosses} | self.features
        makers = self.crossers | self.preprocessors
        encoded = {}
        for name, x in [*sorted(found.items()), *sorted(crossed.items())]:
            if specs[name].output_mode == "one_hot":
                whole = x.dtype.startswith("int")
                width = _width(makers[name]) if whole else None
                if width is None:
                    raise ValueError(
                        f"{self._who()}: `{name}` cannot be one-hot, because its layer "
                        f"gives {x.dtype} numbers or does not say how many there are; "
                        'use output_mode="int" or "float".'
                    )
                encoder = layers.CategoryEncoding(width, output_mode="multi_hot")
                self.one_hot_encoders[name], x = encoder, encoder(x)
            encoded[name] = x
        if self.output_mode == "dict":
            return encoded
        for name, x in encoded.items():
            if not x.dtype.startswith(("float", "bfloat")):
                raise ValueError(
                    f"{self._who()}: `{name}` is not encoded (it has dtype {x.dtype}) "
                    'and cannot stand beside floats; use output_mode="dict".'
                )
        self.concat = TFDConcat(axis=-1)
        return self.concat([*encoded.values()])

    # --- Calls ------------------------------------------------------------------------

    def __call__(self, data: Any) -> Any:
        """The prepared columns of a dict of columns, or of a dict of single values."""
        self.get_encoded_features()
        is_table = isinstance(data, Mapping) or hasattr(data, "columns")
        check(is_table, self._who(), "data", data, "a dict of columns")
        table = dict(data)
        for name in self.features:
            if name not in table:
                raise ValueError(
                    f"{self._who()} needs the column `{name}` and got {[*table]}."
                    f"{suggest(name, table)}"
                )
        columns = [_column(table[name]) for name in sorted(self.features)]
        single = any(np.ndim(table[name]) == 0 for name in self.features)
        out = self._graph.replay(columns)  # type: ignore[union-attr]
        return map_structure(lambda x: x[0], out) if single else out

    # --- Files ------------------------------------------------------------------------

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments as plain data."""
        config = super().get_config()
        return {k: v for k, v in config.items() if k in _ARGUMENTS}

    def get_build_config(self) -> dict[str, Any]:
        """The shapes of the columns, by feature."""
        layers = self.preprocessors.items()
        return {name: layer.get_build_config() for name, layer in layers}

    def build_from_config(self, config: dict[str, Any]) -> None:
        """Build the layers; a file brings what they have learned."""
        for name, inner in config.items():
            self.preprocessors[name].build_from_config(inner)
        self._is_adapted = True

    def save(self, filepath: Any) -> None:
        """Write the space, and what it has learned, to a `.keras` file."""
        saving.save_model(self, filepath)

    def save_own_variables(self, store: dict[str, Any]) -> None:
        """There are none but those of the layers."""

    def load_own_variables(self, store: Any) -> None:
        """There are none but those of the layers."""


# The kinds of features that can be named, and the dtypes of their columns.
_DTYPES = {
    "float": "float32",
    "float_normalized": "float32",
    "float_rescaled": "float32",
    "float_discretized": "float32",
    "integer_categorical": "int32",
    "string_categorical": "string",
    "integer_hashed": "int32",
    "string_hashed": "string",
}
_ARGUMENTS = (
    "features",
    "output_mode",
    "crosses",
    "crossing_dim",
    "hashing_dim",
    "num_discretization_bins",
)


def _feature(
    kind: str,
    name: str | None,
    make: Callable[..., Any],
    output_mode: str = "float",
    **options: Any,
) -> Feature:
    preprocessor = make(name=f"{name or unique(kind)}_preprocessor", **options)
    return Feature(_DTYPES[kind], preprocessor, output_mode)


def _width(layer: Any) -> int | None:
    """How many different whole numbers a layer can give, None when it does not say."""
    if hasattr(layer, "vocabulary_size"):
        return layer.vocabulary_size()
    bounds = getattr(layer, "bin_boundaries", None)
    given = getattr(layer, "num_bins", None) or getattr(layer, "num_tokens", None)
    return given if given or bounds is None else len(bounds) + 1


def _column(value: Any) -> np.ndarray:
    """Single values and columns as `(n, 1)`."""
    x = as_numpy(value)
    return x.reshape(-1, 1) if x.ndim < 2 else x


def _column_batches(data: Any, name: str) -> Iterator[np.ndarray]:
    if isinstance(data, Mapping) or hasattr(data, "columns"):
        column = _column(data[name])
        for start in range(0, len(column), _ADAPT_ROWS):
            yield column[start : start + _ADAPT_ROWS]
        return
    for batch in data:
        yield _column((batch[0] if isinstance(batch, tuple) else batch)[name])
