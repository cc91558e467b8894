"""`HostLayer`: what JAX cannot compute, because it is made of text.

JAX has no strings. A layer on strings works in NumPy, on the host. Called on data it
gives an array; called on a placeholder of dtype `"string"` it is recorded as any layer
is, and a functional model runs such layers before its compiled step (see
`models/functional.py`). Numbers inside a compiled step reach it by a callback.
"""

import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from kerasnb.core import budget, dtypes
from kerasnb.core.errors import check
from kerasnb.core.graph import KerasTensor, is_symbolic, map_structure
from kerasnb.layers.arguments import choice
from kerasnb.layers.layer import Layer


def as_numpy(x: Any, encoding: str = "utf-8") -> np.ndarray:
    """Data of any kind as a NumPy array; text as an array of Python strings."""
    if hasattr(x, "to_numpy"):
        x = x.to_numpy()
    elif hasattr(x, "numpy") and not isinstance(x, np.ndarray | jax.Array):
        x = x.numpy()
    if isinstance(x, list | tuple) and any(hasattr(item, "numpy") for item in x):
        x = [as_numpy(item, encoding) for item in x]
    array = np.asarray(x)
    if array.dtype.kind == "S":
        array = array.astype(object)
    if array.dtype.kind == "U":
        return array.astype(object)
    if array.dtype.kind == "O":
        flat = [_decode(item, encoding) for item in array.ravel()]
        if not any(isinstance(item, str) for item in flat):
            return np.asarray(array.tolist())
        made = np.empty(len(flat), object)
        made[:] = flat
        return made.reshape(array.shape)
    return array


def _decode(item: Any, encoding: str) -> Any:
    return item.decode(encoding) if isinstance(item, bytes) else item


def holds_text(x: Any) -> bool:
    """Whether data, or the first item of a list of it, is text."""
    while isinstance(x, list | tuple) and len(x):
        x = x[0]
    dtype = getattr(x, "dtype", None)
    kind = getattr(dtype, "kind", "")
    if kind == "O" and hasattr(x, "__array__"):
        flat = np.asarray(x).ravel()
        return bool(len(flat)) and isinstance(flat[0], str | bytes)
    return isinstance(x, str | bytes) or kind in ("S", "U") or "string" in str(dtype)


def text_as_array(x: Any) -> Any:
    """A list of strings, or of lists of them, as one array; other data as it is."""
    if not isinstance(x, list | tuple) or not holds_text(x):
        return x
    several = any(np.ndim(item) for item in x if hasattr(item, "shape"))
    return x if several else as_numpy(x)


def adapt_batches(
    data: Any, steps: int | None = None, column: bool = False
) -> Iterator[np.ndarray]:
    """What `adapt` learns from: one array, or the inputs of the batches of a dataset.

    Of a batch `(x, y)` only `x` counts; `steps` limits the batches of a dataset. With
    `column` an array of one axis is taken as a sample in each row.
    """
    listed = isinstance(data, list | tuple)
    if listed and not any(np.ndim(item) for item in data[:1] if hasattr(item, "shape")):
        data = as_numpy(data)
    if hasattr(data, "__array__") or hasattr(data, "to_numpy"):
        array = as_numpy(data)
        yield array[:, None] if column and array.ndim == 1 else array
        return
    check(isinstance(data, Iterable), "adapt", "data", data, "an array or a dataset")
    for batch in itertools.islice(data, steps):
        yield as_numpy(batch[0] if isinstance(batch, tuple) else batch)


class HostLayer(Layer):
    """A layer whose `compute` works on NumPy arrays, strings included.

    Shapes and dtypes of symbolic calls come from calls on blank data of two sizes.
    """

    works_on_host = True
    _on_trial = False  # is being asked for shapes, with data of no meaning

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.autocast = False
        self.built = True

    def compute(self, inputs: Any) -> np.ndarray:
        """The outputs for NumPy arrays; subclasses write it."""
        raise NotImplementedError(f"{type(self).__name__} has no `compute` method.")

    def call(self, inputs: Any) -> Any:
        """The outputs: a JAX array, or a NumPy array of strings."""
        if not any(isinstance(x, jax.core.Tracer) for x in jax.tree.leaves(inputs)):
            out = self._on_host(inputs)
            return out if out.dtype.kind == "O" else jnp.asarray(narrow(out))

        def run(inputs: Any) -> np.ndarray:
            return narrow(self._on_host(inputs))

        for x in jax.tree.leaves(inputs):
            budget.afford(f"an input of shape {x.shape}", x.shape, _EACH)
        out = self._try(jax.tree.map(lambda x: np.zeros(x.shape, x.dtype), inputs))
        check(
            out.dtype.kind != "O",
            self._who(),
            "inputs",
            inputs,
            "data outside of a compiled step, since the outputs are strings",
        )
        spec = jax.ShapeDtypeStruct(out.shape, out.dtype)
        return jax.pure_callback(run, spec, inputs, vmap_method="sequential")

    def _on_host(self, inputs: Any) -> np.ndarray:
        return self.compute(as_numpy(inputs))

    def _convert(self, x: Any) -> Any:
        return x

    def get_build_config(self) -> dict[str, Any]:
        """Nothing to note: there are no weights that depend on shapes."""
        return {"input_shape": None}

    def compute_output_spec(self, inputs: Any) -> Any:
        """Placeholders with the shapes and dtypes of the results, by two trials."""
        first, second = (self._try(map_structure(_blank(n), inputs)) for n in (2, 3))
        lengths = zip(first.shape, second.shape, strict=True)
        shape = [a if a == b else None for a, b in lengths]
        return KerasTensor(shape, "string" if first.dtype.kind == "O" else first.dtype)

    def _try(self, inputs: Any) -> np.ndarray:
        self._on_trial = True
        try:
            return narrow(self._on_host(inputs))
        finally:
            self._on_trial = False


def _blank(size: int) -> Callable[[Any], Any]:
    """What makes data for a placeholder, with unknown axes of that size."""

    def blank(x: Any) -> Any:
        if not is_symbolic(x):
            return x
        shape = [size if d is None else d for d in x.shape]
        budget.afford(f"an input of shape {tuple(x.shape)}", shape, _EACH)
        if x.dtype == "string":
            # As many words as rows, so that what depends on them is seen to vary.
            return np.full(shape, " ".join(["a"] * size), object)
        return np.zeros(shape, dtypes.canonical(x.dtype))

    return blank


# What one value takes as an object of Python, which layers on the host make of it.
_EACH = 96


def narrow(x: np.ndarray) -> np.ndarray:
    """Numbers in the dtype that JAX has for theirs."""
    return x if x.dtype.kind == "O" else x.astype(dtypes.canonical(x.dtype))


OUTPUT_MODES = ("int", "one_hot", "multi_hot", "count")


def encode(x: Any, mode: str, depth: int, dtype: Any, count_weights: Any = None) -> Any:
    """Class numbers as `mode` says; NumPy in, NumPy out, and JAX in, JAX out.

    Shapes: for `"int"` `s -> s`, for `"one_hot"` `s -> s + (depth,)` where a last axis
    of length 1 is dropped, for `"multi_hot"` and `"count"` `(b, n, ...) -> (b, ...,
    depth)`. Numbers outside of `0 ... depth - 1` count nowhere.
    """
    xp: Any = np if isinstance(x, np.ndarray) else jnp
    if mode == "int":
        return x.astype(dtype)
    if xp is np:
        budget.afford(f"vectors of {depth} numbers", (*x.shape, depth), 8)
    if mode == "one_hot":
        x = x[..., 0] if x.ndim > 1 and x.shape[-1] == 1 else x
        return (x[..., None] == xp.arange(depth)).astype(dtype)
    x = x[None] if x.ndim == 0 else x
    axis = min(1, x.ndim - 1)
    weights = xp.ones((), dtype) if count_weights is None else count_weights
    weights = xp.moveaxis(xp.broadcast_to(weights, x.shape), axis, -1)
    x = xp.moveaxis(x, axis, -1)
    if xp is jnp and depth <= 256:  # faster than to scatter
        marks = x[..., None] == jnp.arange(depth)
        if mode == "multi_hot":
            return marks.any(-2).astype(dtype)
        return (marks * weights[..., None]).sum(-2).astype(dtype)
    rows = (index[..., None] for index in np.indices(x.shape[:-1]))
    place = (*rows, xp.where((x < 0) | (x >= depth), depth, x).astype("int32"))
    out = xp.zeros((*x.shape[:-1], depth + 1), dtype)
    if xp is jnp:
        at = out.at[place]
        out = at.set(1) if mode == "multi_hot" else at.add(weights.astype(dtype))
    elif mode == "multi_hot":
        out[place] = 1
    else:
        np.add.at(out, place, weights)
    return out[..., :depth]


def output_mode_of(who: str, mode: Any, sparse: Any, modes: tuple[str, ...]) -> str:
    """The output mode, old spellings understood; JAX's layers have no sparse output."""
    mode = {"binary": "multi_hot", "tf-idf": "tf_idf"}.get(mode, mode)
    check(not sparse, who, "sparse", sparse, "False on JAX, whose arrays are dense")
    return choice(who, "output_mode", mode, modes)
