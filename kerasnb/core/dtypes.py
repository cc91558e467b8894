"""Number formats: their names, how they combine, which one a layer uses for what."""

from collections.abc import Callable
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from kerasnb.core import settings
from kerasnb.core.configurable import Configurable, deserialize
from kerasnb.core.errors import show, suggest

ALLOWED = (
    "float16 float32 float64 uint8 uint16 uint32 uint64 int8 int16 int32 int64 "
    "bfloat16 bool string float8_e4m3fn float8_e5m2 complex64 complex128"
).split()
_PYTHON = {bool: "bool", int: "int32", float: "float32", str: "string"}
_WITHOUT_X64 = {"float64": "float32", "int64": "int32", "uint64": "uint32"}


def standardize_dtype(dtype: Any) -> str:
    """The name of a dtype given as a name, a Python type, a NumPy or JAX dtype.

    >>> standardize_dtype(jnp.bfloat16), standardize_dtype(None)
    ('bfloat16', 'float32')
    """
    if dtype is None:
        return settings.floatx()
    if dtype in _PYTHON:
        return settings.floatx() if dtype is float else _PYTHON[dtype]
    name: Any = dtype if isinstance(dtype, str) else getattr(dtype, "name", None)
    if name is None:
        try:
            name = jnp.dtype(dtype).name
        except TypeError:
            name = str(dtype)
    if name not in ALLOWED:
        raise ValueError(f'Unknown dtype "{name}".{suggest(name, ALLOWED)}')
    return name


def canonical(dtype: Any) -> str:
    """The dtype an array really gets: 64 bits become 32 unless JAX enables them."""
    name = standardize_dtype(dtype)
    wide = jax.config.jax_enable_x64  # type: ignore[attr-defined]
    return name if wide else _WITHOUT_X64.get(name, name)


def is_float(dtype: Any) -> bool:
    """Whether a dtype is a floating one, bfloat16 and the 8-bit kinds included."""
    return "float" in standardize_dtype(dtype)


def is_int(dtype: Any) -> bool:
    """Whether a dtype is a signed or unsigned integer."""
    return "int" in standardize_dtype(dtype)


def result_type(*dtypes: Any) -> str:
    """The dtype that arrays of the given dtypes combine to, by JAX's promotion.

    Python's `int` and `float` are weak: they follow the arrays. Without arguments the
    answer is `floatx()`.

    >>> result_type("int32", "float16"), result_type(int, "int8")
    ('float16', 'int8')
    """
    if not dtypes:
        return settings.floatx()
    weak = {int: 0, float: 0.0, bool: False}
    items = [weak[d] if d in weak else canonical(d) for d in dtypes]
    if all(isinstance(item, int | float) for item in items):
        name = jnp.result_type(*items).name
        return settings.floatx() if "float" in name else canonical(name)
    return jnp.result_type(
        *(item if isinstance(item, int | float) else jnp.dtype(item) for item in items)
    ).name


class DTypePolicy(Configurable):
    """Which dtype a layer computes in and which one its weights are kept in.

    `"float32"`, `"bfloat16"`, ... use one for both; `"mixed_float16"` and
    `"mixed_bfloat16"` compute in 16 bits and keep float32 weights. None is the policy
    in force.

    >>> policy = DTypePolicy("mixed_bfloat16")
    >>> policy.compute_dtype, policy.variable_dtype
    ('bfloat16', 'float32')
    """

    def __init__(self, name: str | None = None) -> None:
        name = dtype_policy().name if name is None else name
        self._name = name if isinstance(name, str) else standardize_dtype(name)
        self._compute, self._variable = parse_policy(self._name)

    @property
    def name(self) -> str:
        """The policy's name."""
        return self._name

    @property
    def compute_dtype(self) -> str:
        """The dtype of the arithmetic and of the outputs."""
        return self._compute

    @property
    def variable_dtype(self) -> str:
        """The dtype the weights are kept in."""
        return self._variable

    @property
    def quantization_mode(self) -> str | None:
        """The quantisation in force; None for a plain policy."""
        return None

    def at(self, path: str | None) -> "DTypePolicy":
        """The policy of the layer with this path: this one, unless it is a map."""
        return self

    def convert_input(self, x: Any, autocast: bool, dtype: Any) -> Any:
        """`x` as an array, in `dtype` if `autocast` is set and it holds floats."""
        if not hasattr(x, "dtype") and not hasattr(x, "__array__"):
            return x
        x = x if hasattr(x, "astype") else as_array(x)
        name = standardize_dtype(x.dtype)
        cast = autocast and is_float(name) and name != standardize_dtype(dtype)
        return x.astype(standardize_dtype(dtype)) if cast else x

    def __repr__(self) -> str:
        kind = type(self).__name__.replace("FloatDTypePolicy", "DTypePolicy")
        return f'<{kind} "{self.name}">'

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, DTypePolicy):
            return False
        same = self._key() == other._key()
        return same and self.get_config() == other.get_config()

    def __hash__(self) -> int:
        return hash((self._key(), self.name))

    def _key(self) -> type:
        return DTypePolicy if type(self) is FloatDTypePolicy else type(self)


class FloatDTypePolicy(DTypePolicy):
    """Another name of `DTypePolicy`, found in files."""


def parse_policy(name: str) -> tuple[str, str]:
    """The dtypes of the arithmetic and of the weights that a plain policy names."""
    if name in _MIXED:
        return name.removeprefix("mixed_"), "float32"
    try:
        dtype = standardize_dtype(name)
    except ValueError as error:
        known = [*ALLOWED, *_MIXED]
        raise ValueError(
            f'Unknown dtype policy "{name}".{suggest(name, known)}'
        ) from error
    return dtype, dtype


_MIXED = ("mixed_float16", "mixed_bfloat16")
# What reads the names `<mode>_from_<policy>`, by the beginning of the mode; filled by
# the room that has these policies.
QUANTIZED: dict[str, Callable[[str, str], DTypePolicy]] = {}

_policy: DTypePolicy | None = None


def dtype_policy() -> DTypePolicy:
    """The policy of layers that are created without a dtype."""
    return DTypePolicy(settings.floatx()) if _policy is None else _policy


def set_dtype_policy(policy: str | DTypePolicy) -> None:
    """Use `policy` for layers that are created without a dtype."""
    global _policy
    if not isinstance(policy, str | DTypePolicy):
        raise ValueError(
            'set_dtype_policy: `policy` must be a name such as "mixed_float16" or a '
            f"DTypePolicy, not {show(policy)}."
        )
    _policy = get_policy(policy)


def get_policy(identifier: Any) -> DTypePolicy:
    """The policy that a dtype, a name, a config or a policy stands for."""
    if identifier is None:
        return dtype_policy()
    if isinstance(identifier, DTypePolicy):
        return identifier
    if isinstance(identifier, dict):
        return deserialize(identifier)
    if isinstance(identifier, str) and identifier.startswith(tuple(QUANTIZED)):
        mode, _, source = identifier.partition("_from_")
        if not source:
            raise ValueError(
                f'Unknown dtype policy "{identifier}": a quantised policy is named '
                f'after another one, as "{mode}_from_float32".'
            )
        kind = next(kind for kind in QUANTIZED if mode.startswith(kind))
        return QUANTIZED[kind](mode, source)
    return DTypePolicy(identifier)


# --- Autocast: variables are read in the dtype of the layer that reads them -----------

_autocast: ContextVar[str | None] = ContextVar("autocast", default=None)


@contextmanager
def autocast(dtype: str | None) -> Any:
    """Read float variables as `dtype` inside; None reads them as they are."""
    token = _autocast.set(dtype)
    try:
        yield
    finally:
        _autocast.reset(token)


def autocast_dtype() -> str | None:
    """The dtype float variables are read in at this moment, or None."""
    return _autocast.get()


def as_array(x: Any, dtype: Any = None) -> jax.Array:
    """`x` as a JAX array; Python floats and float64 NumPy data become `floatx()`.

    Data that is no number (strings, objects) raises a ValueError.
    """
    if isinstance(x, np.ndarray):
        # JAX may share the memory of a NumPy array, or read it late: a caller who
        # reuses a buffer would change what was computed from it.
        x = np.array(x)
    if dtype is not None:
        return jnp.asarray(x, canonical(dtype))
    if isinstance(x, jax.Array):
        return x
    if isinstance(x, np.ndarray | np.generic) and x.dtype.kind not in "biufcV":
        raise ValueError(
            f"Cannot compute with data of dtype {x.dtype}; numbers are expected. "
            "Turn text into numbers first (for labels: "
            "np.unique(labels, return_inverse=True))."
        )
    if isinstance(x, float):
        return jnp.asarray(x, settings.floatx())
    array = jnp.asarray(x)
    if not hasattr(x, "dtype") and jnp.issubdtype(array.dtype, jnp.floating):
        return array.astype(settings.floatx())
    return array
