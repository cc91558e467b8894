"""Columns of numbers made ready: normalised, put into bins, one-hot, hashed."""

import math
from collections.abc import Sequence
from typing import Any, Self

import jax
import jax.numpy as jnp
import numpy as np

from kerasnb.core import dtypes, hashing, settings
from kerasnb.core.errors import check
from kerasnb.core.variable import Variable
from kerasnb.layers.arguments import positive_int
from kerasnb.layers.host import (
    OUTPUT_MODES,
    HostLayer,
    adapt_batches,
    as_numpy,
    encode,
    output_mode_of,
)
from kerasnb.layers.layer import Layer


class Normalization(Layer):
    """Shift and scale to mean 0 and variance 1, each position of `axis` on its own.

        y = (x - mean) / max(√variance, ε)

    The statistics are given, or learned by `adapt`. With `invert` it goes back.

    Shapes: `s -> s`; `mean` and `variance` have the lengths of `axis`.

    >>> layer = Normalization(axis=None)
    >>> layer.adapt(np.array([1.0, 2.0, 3.0]))
    >>> layer(jnp.array([2.0])).tolist()
    [0.0]
    """

    supports_masking = True

    def __init__(
        self,
        axis: int | Sequence[int] | None = -1,
        mean: Any = None,
        variance: Any = None,
        invert: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        axis = () if axis is None else (axis,) if isinstance(axis, int) else axis
        self.axis = tuple(axis)
        self.input_mean, self.input_variance, self.invert = mean, variance, invert
        who = "Normalization"
        if (mean is None) != (variance is None):
            raise ValueError(f"{who}: give both `mean` and `variance`, or neither.")
        same = np.shape(mean) == np.shape(variance)
        check(
            same, who, "variance", variance, f"of the shape of mean, {np.shape(mean)}"
        )
        fits = np.ndim(mean) <= len(self.axis)
        check(fits, who, "mean", mean, f"of at most {len(self.axis)} axes, as `axis`")

    adapt_mean: Variable
    adapt_variance: Variable

    def build(self, input_shape: Any) -> None:
        """Make the statistics, unless they were given."""
        rank = len(input_shape)
        inside = all(-rank <= a < rank for a in self.axis)
        check(inside, self._who(), "axis", self.axis, f"within the {rank} axes of x")
        self._kept = tuple(sorted(a % rank for a in self.axis))
        known = all(input_shape[a] is not None for a in self._kept)
        expected = f"axes of known length in {tuple(input_shape)}"
        check(known, self._who(), "axis", self.axis, expected)
        self._spread = [n if a in self._kept else 1 for a, n in enumerate(input_shape)]
        shape = tuple(input_shape[a] for a in self._kept)
        if self.input_mean is None:
            for name, start in (("mean", "zeros"), ("variance", "ones")):
                weight = self.add_weight(shape, start, trainable=False, name=name)
                setattr(self, f"adapt_{name}", weight)
            self.count = self.add_weight(
                (), "zeros", "int32", trainable=False, name="count"
            )

    def adapt(self, data: Any) -> None:
        """Learn the mean and variance of an array, or of the batches of a dataset."""
        check(
            self.input_mean is None,
            self._who(),
            "mean",
            self.input_mean,
            "left out of the constructor for `adapt` to learn it",
        )
        count, mean, variance = 0, np.zeros(()), np.zeros(())
        for batch in adapt_batches(data):
            if not batch.size:
                continue
            x = batch.astype("float64")
            if not self.built:
                self.build(x.shape)
            kept = [x.shape[a] if a in self._kept else 1 for a in range(x.ndim)]
            check(
                kept == self._spread,
                self._who(),
                "data",
                x,
                f"of the lengths {tuple(self.adapt_mean.shape)} in axis {self.axis}, "
                "for which the layer was built",
            )
            others = tuple(a for a in range(x.ndim) if a not in self._kept)
            new = math.prod(x.shape[a] for a in others)
            share = new / max(1, count + new)
            # Two sets of numbers become one: Chan, Golub and LeVeque (1979).
            apart = x.mean(others) - mean
            variance = variance + share * (x.var(others) - variance)
            variance = variance + share * (1 - share) * apart**2
            mean, count = mean + share * apart, count + new
        check(count, self._who(), "data", data, "not empty")
        self.adapt_mean.assign(mean)
        self.adapt_variance.assign(variance)

    def finalize_state(self) -> None:
        """Nothing to do: what `adapt` learned is in force at once."""

    @property
    def mean(self) -> Any:
        """The mean, ready to be subtracted from inputs; None before it is known."""
        return self._statistic("mean")

    @property
    def variance(self) -> Any:
        """The variance, in the shape of `mean`."""
        return self._statistic("variance")

    def _statistic(self, name: str) -> Any:
        if not self.built:
            return None
        if self.input_mean is None:
            return getattr(self, f"adapt_{name}").value.reshape(self._spread)
        given = jnp.asarray(getattr(self, f"input_{name}"), self.compute_dtype)
        shape = [1] * len(self._spread)
        for a, length in zip(self._kept[::-1], given.shape[::-1], strict=False):
            shape[a] = length
        return jnp.broadcast_to(given.reshape(shape), self._spread)

    def call(self, inputs: jax.Array) -> jax.Array:
        """The inputs, normalised."""
        dtype = self.compute_dtype
        mean, variance = self.mean.astype(dtype), self.variance.astype(dtype)
        deviation = jnp.maximum(jnp.sqrt(variance), settings.epsilon())
        x = inputs.astype(dtype)
        return mean + x * deviation if self.invert else (x - mean) / deviation

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments as plain data."""
        given = {"mean": self.input_mean, "variance": self.input_variance}
        return {**super().get_config(), **{k: _as_list(v) for k, v in given.items()}}


def _as_list(value: Any) -> Any:
    return np.asarray(value).tolist()


class Discretization(Layer):
    """The number of the bin that each value falls into.

    Bin `i` holds `boundary[i-1] <= x < boundary[i]`. With `num_bins`, `adapt` learns
    boundaries between which about equally many values lie; `epsilon` is how exactly.

    Shapes: for `output_mode="int"` `s -> s`; `"one_hot"`, `"multi_hot"` and `"count"`
    as `CategoryEncoding`.

    >>> Discretization(bin_boundaries=[0.0, 1.0])(jnp.array([-5.0, 0.0, 3.0])).tolist()
    [0, 1, 2]
    """

    adaptations = 0  # a compiled step holds the boundaries of one of them

    def __init__(
        self,
        bin_boundaries: Sequence[float] | None = None,
        num_bins: int | None = None,
        epsilon: float = 0.01,
        output_mode: str = "int",
        sparse: bool = False,
        dtype: Any = None,
        name: str | None = None,
    ) -> None:
        super().__init__(name=name, dtype=dtype)
        who, modes = "Discretization", OUTPUT_MODES
        self.output_mode = output_mode_of(who, output_mode, sparse, modes)
        if (num_bins is None) == (bin_boundaries is None):
            raise ValueError(f"{who}: give one of `bin_boundaries` and `num_bins`.")
        if num_bins is not None:
            check(num_bins >= 0, who, "num_bins", num_bins, "0 or more")
        self.bin_boundaries, self.num_bins = bin_boundaries, num_bins
        self.epsilon, self.sparse = epsilon, sparse
        self.reset_state()
        self.built = True

    @property
    def input_dtype(self) -> str:
        """Values are compared in full precision, whatever the outputs' dtype."""
        return settings.floatx()

    def adapt(self, data: Any, steps: int | None = None) -> None:
        """Learn the boundaries from an array, or from the batches of a dataset."""
        check(
            self.num_bins is not None,
            self._who(),
            "num_bins",
            self.num_bins,
            "given, and `bin_boundaries` not, for `adapt` to learn them",
        )
        self.reset_state()
        for batch in adapt_batches(data, steps):
            self.update_state(batch)
        self.finalize_state()

    def reset_state(self) -> None:
        """Forget what `update_state` has seen."""
        self.summary = np.zeros((2, 0), "float32")

    def update_state(self, data: Any) -> None:
        """Learn from one more batch."""
        values = np.sort(np.asarray(data, "float32").ravel())
        step = max(values.size * self.epsilon, 1)
        chosen = values[int(step - 1) :: int(step)]
        new = np.stack([chosen, np.full_like(chosen, step)])
        both = np.concatenate([new, self.summary], 1)
        self.summary = _compress(both[:, both[0].argsort()], self.epsilon)

    def finalize_state(self) -> None:
        """Choose the boundaries by what `update_state` has seen."""
        if self.num_bins is not None:
            boundaries = _compress(self.summary, 1 / self.num_bins)[0, :-1]
            self.bin_boundaries = boundaries.tolist()
            self.adaptations += 1

    def call(self, inputs: jax.Array) -> jax.Array:
        """The numbers of the bins."""
        if self.bin_boundaries is None:
            raise ValueError(
                f"{self._who()}: the bins are not known yet; call `adapt` on data, or "
                "pass `bin_boundaries`."
            )
        bounds = jnp.asarray(self.bin_boundaries, settings.floatx())
        method = "compare_all" if bounds.size <= 64 else "scan"
        index = jnp.searchsorted(bounds, inputs, side="right", method=method)
        mode, depth = self.output_mode, bounds.size + 1
        dtype = "int32" if mode == "int" else self.compute_dtype
        return encode(index, mode, depth, dtype)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments as plain data, learned boundaries included."""
        config = super().get_config()
        del config["trainable"]
        return {**config, "dtype": self.dtype}

    @classmethod
    def from_config(
        cls, config: dict[str, Any], custom_objects: dict[str, Any] | None = None
    ) -> Self:
        """The layer whose `get_config` gave `config`, with what it had learned."""
        learned = config.get("num_bins") is not None
        given = {"bin_boundaries": None} if learned else {}
        layer = super().from_config({**config, **given}, custom_objects)
        layer.bin_boundaries = config.get("bin_boundaries")
        return layer


def _compress(summary: np.ndarray, share: float) -> np.ndarray:
    """Values and their weights, as fewer values that stand for equal shares."""
    if summary.shape[1] * share < 1:
        return summary
    total = summary[1].cumsum()
    shares = share + np.arange(0.0, 1.0, share)
    values = np.interp(shares, total / total[-1], summary[0])
    weights = np.diff(np.interp(shares, total / total[-1], total), prepend=0)
    return np.stack([values, weights]).astype("float32")


class CategoryEncoding(Layer):
    """Class numbers as vectors: `"one_hot"`, `"multi_hot"` (which occur) or `"count"`.

    Shapes: `(b, n) -> (b, num_tokens)`; for `"one_hot"` `s -> s + (num_tokens,)`, where
    a last axis of length 1 is dropped.

    >>> CategoryEncoding(4, output_mode="count")(jnp.array([[0, 1, 1]])).tolist()
    [[1.0, 2.0, 0.0, 0.0]]
    """

    def __init__(
        self,
        num_tokens: int | None = None,
        output_mode: str = "multi_hot",
        sparse: bool = False,
        **kwargs: Any,
    ) -> None:
        self._config.pop("sparse", None)  # Keras does not keep it
        super().__init__(**kwargs)
        who, modes = "CategoryEncoding", ("count", "one_hot", "multi_hot")
        self.output_mode = output_mode_of(who, output_mode, sparse, modes)
        self.num_tokens = positive_int(who, "num_tokens", num_tokens)
        self.autocast = False  # whole numbers beyond 2048 have no float16
        self.built = True

    def call(self, inputs: Any, count_weights: Any = None) -> jax.Array:
        """The vectors; `count_weights` says how much each number counts."""
        if count_weights is not None:
            check(
                self.output_mode == "count",
                self._who(),
                "count_weights",
                count_weights,
                'left out unless output_mode="count"',
            )
            count_weights = jnp.asarray(count_weights, self.compute_dtype)
        x = dtypes.as_array(inputs)
        dtype = self.compute_dtype
        return encode(x, self.output_mode, self.num_tokens, dtype, count_weights)


class Hashing(HostLayer):
    """Strings or whole numbers as bin numbers, by a hash: no vocabulary, no learning.

    The bins are TensorFlow's: `Fingerprint64(x) mod num_bins`, or `SipHash(x)` keyed by
    `salt`; a number counts as its decimal digits. With `mask_value` bin 0 is for it.

    Shapes: for `output_mode="int"` `s -> s`, else as `CategoryEncoding`.

    >>> Hashing(3)(["A", "B", "C", "D", "E"]).tolist()
    [1, 0, 1, 1, 2]
    """

    def __init__(
        self,
        num_bins: int,
        mask_value: Any = None,
        salt: int | Sequence[int] | None = None,
        output_mode: str = "int",
        sparse: bool = False,
        **kwargs: Any,
    ) -> None:
        who, modes = "Hashing", OUTPUT_MODES
        self.output_mode = output_mode_of(who, output_mode, sparse, modes)
        whole = self.output_mode == "int"
        kwargs["dtype"] = kwargs.get("dtype") or ("int64" if whole else None)
        super().__init__(**kwargs)
        named = self.dtype_policy.name
        expected = 'int32 or int64 for output_mode="int"'
        check(not whole or named in ("int32", "int64"), who, "dtype", named, expected)
        self.num_bins = positive_int(who, "num_bins", num_bins)
        self.mask_value, self.sparse = mask_value, sparse
        self.salt = salt_of(who, salt)

    def compute(self, inputs: np.ndarray) -> np.ndarray:
        """The bins."""
        shown = self.mask_value is not None and self.num_bins > 1
        bins = hash_bins(inputs, self.num_bins - shown, self.salt)
        if shown:
            bins = np.where(inputs == self.mask_value, 0, bins + 1)
        dtype = dtypes.canonical(self.dtype)
        return encode(bins, self.output_mode, self.num_bins, dtype)


def salt_of(who: str, salt: Any) -> list[int] | None:
    """The key of a salted hash: one number, or two of them."""
    salt = [salt, salt] if isinstance(salt, int) else salt
    good = salt is None or (isinstance(salt, list | tuple) and len(salt) == 2)
    check(good, who, "salt", salt, "a whole number or two of them")
    return None if salt is None else list(salt)


def hash_bins(x: np.ndarray, bins: int, salt: Sequence[int] | None) -> np.ndarray:
    """The bin of each string or number. Shapes: `s -> s`."""
    x = x.astype("int64") if x.dtype.kind == "f" else x
    text = [str(item).encode() for item in x.ravel().tolist()]
    hashes = (
        hashing.fingerprint64(text) if salt is None else hashing.siphash64(text, salt)
    )
    return (hashes % np.uint64(bins)).astype("int64").reshape(x.shape)


class HashedCrossing(HostLayer):
    """Several features as one: the bin of their combination, by a hash.

    The bins are TensorFlow's: `FingerprintCat64` over the features, where a string
    counts as its `Fingerprint64` and a whole number as itself.

    Shapes: a list of `(batch,)` or of `(batch, 1) ->` the same, and for
    `output_mode="one_hot"` `(batch, num_bins)`.

    >>> HashedCrossing(5)([["A", "B", "A"], [101, 101, 102]]).tolist()
    [1, 4, 3]
    """

    def __init__(
        self,
        num_bins: int,
        output_mode: str = "int",
        sparse: bool = False,
        name: str | None = None,
        dtype: Any = None,
        **kwargs: Any,
    ) -> None:
        who, modes = "HashedCrossing", ("int", "one_hot")
        self.output_mode = output_mode_of(who, output_mode, sparse, modes)
        if dtype is None and self.output_mode == "int":
            dtype = "int64"
        super().__init__(name=name, dtype=dtype)
        self.num_bins = positive_int(who, "num_bins", num_bins)
        self.sparse = sparse

    def _on_host(self, inputs: Any) -> np.ndarray:
        count = len(inputs) if isinstance(inputs, list | tuple) else 0
        expected = "a list of at least two features"
        check(count >= 2, self._who(), "inputs", inputs, expected)
        columns = [as_numpy(x) for x in inputs]
        for x in columns:
            flat = x.ndim < 2 or (x.ndim == 2 and x.shape[1] == 1)
            expected = f"of one shape, {columns[0].shape}, which is (batch,) or so"
            same = flat and x.shape == columns[0].shape
            check(same, self._who(), "inputs", x, expected)
            expected = "of whole numbers or strings"
            check(x.dtype.kind in "biuO", self._who(), "inputs", x, expected)
        hashes: Any = np.full(columns[0].shape, _CROSSING_KEY)
        for x in columns:
            if x.dtype.kind == "O":
                text = [str(item).encode() for item in x.ravel()]
                code = hashing.fingerprint64(text).reshape(x.shape)
            else:
                code = x.astype("int64").astype("uint64")
            hashes = hashing.combine64(hashes, code)
        bins = (hashes % np.uint64(self.num_bins)).astype("int64")
        dtype = dtypes.canonical(self.compute_dtype)
        return encode(bins, self.output_mode, self.num_bins, dtype)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments as plain data."""
        config = super().get_config()
        del config["trainable"]
        return {**config, "dtype": self.dtype}


_CROSSING_KEY = np.uint64(0xDECAFCAFFE)
