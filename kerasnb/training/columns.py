"""Arrays of every make as arrays that a model computes with.

Frames of pandas and polars, tensors of PyTorch and TensorFlow and lists of numbers
become NumPy arrays; JAX arrays stay where they are. None of these packages is imported:
what is not in use cannot be handed in.
"""

import functools
import sys
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from kerasnb.core import dtypes
from kerasnb.core.errors import show

_NUMBERS = "biufV"  # NumPy's letters; bfloat16 and the like have none of their own


def plain(who: str, name: str, value: Any) -> Any:
    """`value` with every leaf a NumPy or JAX array; text stays text."""
    if type(value) is np.ndarray:
        return value

    def make(leaf: Any) -> Any:
        if leaf is None or isinstance(leaf, np.ndarray | jax.Array):
            return leaf
        return _plain_leaf(who, name, leaf)

    if not isinstance(value, list | tuple | dict):
        return make(value)
    return jax.tree.map(make, value, is_leaf=_is_leaf)


def columns(who: str, name: str, value: Any) -> Any:
    """`value` with every leaf an array of numbers in a format that JAX has."""

    def column(leaf: Any) -> Any:
        if leaf is None or isinstance(leaf, jax.Array):
            return leaf
        array = np.asarray(leaf)
        if array.dtype.kind == "O" and (numbers := _to_numbers(array)) is not None:
            array = numbers
        if array.dtype.kind not in _NUMBERS:
            raise ValueError(
                f"{who}: `{name}` holds {array.dtype} data and models compute with "
                f"numbers. {_mend(name, array)}"
            )
        if array.ndim == 0:
            raise ValueError(
                f"{who}: `{name}` must be an array with one row for each sample, not "
                f"{show(leaf)}; a dataset of single samples is batched first."
            )
        _check_range(who, name, array)
        return array.astype(dtypes.canonical(array.dtype), copy=False)

    return jax.tree.map(column, value, is_leaf=_is_leaf)


def _mend(name: str, array: np.ndarray) -> str:
    if array.dtype.kind in "mM":
        return "Turn dates into numbers, such as seconds or the parts of a date."
    if array.dtype.kind == "c":
        return "Pass the real and the imaginary part beside one another."
    if array.ndim == 0 and callable(array[()]):
        return "This is a function: call it, and pass what it yields."
    if name != "x":
        return (
            "Turn text labels into numbers with np.unique(labels, "
            "return_inverse=True)[1]."
        )
    if array.ndim == 0:
        return "This is one object: pass an array, or load the file first it names."
    return (
        "Call TextVectorization or StringLookup on it first, or begin a Sequential or "
        "functional model with them."
    )


def _check_range(who: str, name: str, array: np.ndarray) -> None:
    """Whole numbers that JAX's format does not hold would become others."""
    if array.dtype.kind not in "iu" or array.dtype.itemsize < 8 or not array.size:
        return
    format = np.dtype(dtypes.canonical(array.dtype))
    if format.itemsize == 8:
        return
    low, high, holds = array.min(), array.max(), np.iinfo(format)
    if low < holds.min or high > holds.max:
        wrong = low if low < holds.min else high
        raise ValueError(
            f"{who}: `{name}` holds {wrong}, which is no {format} number; scale such "
            "numbers down, or turn them into float32 or into indices from 0."
        )


def comes_from(value: Any, package: str) -> bool:
    """Whether the class of `value`, or one it is made of, is of that package."""
    kind: Any = type(value)
    return package in _packages(kind)


@functools.lru_cache(maxsize=256)
def _packages(kind: type) -> frozenset[str]:
    return frozenset(c.__module__.partition(".")[0] for c in kind.__mro__)


def _is_leaf(x: Any) -> bool:
    return not isinstance(x, list | tuple | dict) or _holds_numbers(x)


def _holds_numbers(value: Any) -> bool:
    if not isinstance(value, list | tuple):
        return False
    while isinstance(value, list | tuple) and value:
        value = value[0]
    return isinstance(value, int | float | bool | np.generic)


def _to_numbers(array: np.ndarray) -> np.ndarray | None:
    try:
        return array.astype("float32")
    except (TypeError, ValueError):
        return None


def _plain_leaf(who: str, name: str, leaf: Any) -> Any:
    if comes_from(leaf, "tensorflow"):
        if type(leaf).__name__ == "SparseTensor":
            raise _no_sparse(who, name, leaf, "tf.sparse.to_dense(...)")
        if type(leaf).__name__ == "RaggedTensor":  # filled up with zeros, as in Keras
            leaf = leaf.to_tensor()
        return leaf.numpy()
    if comes_from(leaf, "torch") and hasattr(leaf, "detach"):
        return _torch_array(leaf)
    if comes_from(leaf, "pandas") or comes_from(leaf, "polars"):
        return _frame(who, name, leaf)
    if any(hasattr(leaf, method) for method in ("tocoo", "todense")):
        dense = "toarray" if hasattr(leaf, "toarray") else "todense"
        raise _no_sparse(who, name, leaf, f".{dense}()")
    for method in ("to_numpy", "numpy"):
        if hasattr(leaf, method):
            return getattr(leaf, method)()
    # Text stays as it is: layers that read it know lists of strings.
    if isinstance(leaf, str | bytes):
        return leaf
    try:
        return np.asarray(leaf)
    except ValueError:
        raise ValueError(
            f"{who}: the rows of `{name}` are of different lengths; pad them to one, "
            "with keras.utils.pad_sequences for numbers."
        ) from None


def _no_sparse(who: str, name: str, leaf: Any, mend: str) -> ValueError:
    return ValueError(
        f"{who}: `{name}` is a sparse {type(leaf).__name__} and models compute with "
        f"dense arrays. Pass {mend} of it; where that is too large, pass a generator "
        "that does so batch by batch."
    )


def _torch_array(tensor: Any) -> np.ndarray:
    tensor = tensor.detach().cpu()
    if str(tensor.dtype) != "torch.bfloat16":
        return tensor.numpy()
    # PyTorch hands out no bfloat16; its bits it does.
    bits = tensor.view(sys.modules["torch"].int16).numpy()
    return bits.view(jnp.bfloat16)


# --- Frames ---------------------------------------------------------------------------


def _frame(who: str, name: str, frame: Any) -> np.ndarray:
    """A frame as `(rows, columns)`, a series as a column; missing numbers are NaN."""
    if not hasattr(frame, "to_numpy"):
        raise ValueError(
            f"{who}: `{name}` is a {type(frame).__name__}, which holds no values yet; "
            "pass those of .collect()."
        )
    series = not hasattr(frame, "columns")
    listed = [frame.dtype] if series else list(frame.dtypes)
    names = [getattr(frame, "name", None)] if series else list(frame.columns)
    kinds = {label: _kind(d) for label, d in zip(names, listed, strict=True)}
    odd = [label for label, kind in kinds.items() if kind is None]
    text = [label for label, kind in kinds.items() if kind == "text"]
    if not odd and text and len(text) < len(kinds):
        odd = text
    if odd:
        kind = dict(zip(names, listed, strict=True))[odd[0]]
        more = f" and {len(odd) - 1} more" if len(odd) > 1 else ""
        column = f"column `{odd[0]}`" if not series else "series"
        raise ValueError(
            f"{who}: the {column}{more} of `{name}` has the dtype {kind}, which is no "
            "number. Turn it into numbers (for categories, .cat.codes in pandas and "
            ".to_physical() in polars), leave it out, or pass dict(frame) to a model "
            "with an input for each column."
        )
    array = frame.to_numpy()
    if array.dtype.kind == "O" and not text:
        missing = {"na_value": np.nan} if comes_from(frame, "pandas") else {}
        array = frame.to_numpy(dtype="float32", **missing) if missing else array
        array = array.astype("float32")
    if array.dtype.kind in "US":
        array = array.astype(object)
    return array[:, None] if series and name != "sample_weight" else array


def _kind(dtype: Any) -> str | None:
    """`"number"`, `"text"`, or None for what is neither: dates, categories, lists."""
    if comes_from(dtype, "polars") or hasattr(dtype, "is_numeric"):
        if dtype.is_numeric() or str(dtype) in ("Boolean", "Null"):
            return "number"
        return "text" if str(dtype) in ("String", "Object") else None
    kind = getattr(dtype, "kind", "O")
    if kind in "biuf":
        return "number"
    plain_object = isinstance(dtype, np.dtype) and kind in "OUS"
    return "text" if plain_object or str(dtype).startswith("str") else None
