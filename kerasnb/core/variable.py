"""`Variable`: a named box for one array, the only thing in this package that changes.

A box never enters a JAX transform; its value does, through a frame (`core/state.py`) or
because JAX sees the value when it is handed the box: `jnp.sum(layer.kernel)`.
"""

import math
import operator
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from kerasnb.core import budget, claim, dtypes, naming, placement
from kerasnb.core.errors import show
from kerasnb.core.free_memory import AWAITED, check_fits
from kerasnb.core.frontend import Displayable
from kerasnb.core.state import current_frame, outside


class Variable(Displayable):
    """A named array that can be assigned; read it with `.value`, set it with `.assign`.

    `initializer` is an array, a number, or a function `(shape, dtype) -> array` used
    with `shape`. Under a distribution it lives where that says, or where a given
    `layout` does. Arithmetic works on it as on an array.

    >>> v = Variable(jnp.ones(3), name="scale")
    >>> v.assign_add([1.0, 2.0, 3.0]).tolist()
    [2.0, 3.0, 4.0]
    """

    _claim: claim.Claim | None = None  # of a loop that works on the value

    def __init__(
        self,
        initializer: Any,
        shape: tuple[int, ...] | None = None,
        dtype: Any = None,
        trainable: bool = True,
        autocast: bool = True,
        aggregation: str | None = None,
        synchronization: str | None = None,
        name: str | None = None,
        layout: Any = None,
    ) -> None:
        self.name = name or naming.auto_name(self)
        path = naming.current_path()
        self.path = f"{path}/{self.name}" if path else self.name
        self.trainable = bool(trainable)
        self.autocast = bool(autocast)
        self.aggregation = aggregation or "none"
        self.synchronization = synchronization or "auto"
        self.regularizer: Callable | None = None
        self.constraint: Callable | None = None
        self.overwrite_with_gradient = False
        self._layout = layout
        if callable(initializer) and not isinstance(initializer, Variable):
            if shape is None:
                raise ValueError(
                    f"Variable `{self.name}` has a function as its initializer and so "
                    "needs a `shape`."
                )
            dtype = dtypes.canonical(dtype)
            what = f"variable `{self.path}` of shape {shape}"
            budget.spend(what, shape)
            if not budget.is_loading():
                count, size = math.prod(map(int, shape)), jnp.dtype(dtype).itemsize
                beside = getattr(initializer, "scratch", size)
                check_fits(what, count * size, count * beside)
            make = lambda: dtypes.as_array(  # noqa: E731
                initializer(tuple(shape), dtype=dtype), dtype
            )
        else:
            value = initializer.value if isinstance(initializer, Variable) else None
            value = dtypes.as_array(initializer if value is None else value, dtype)
            # A copy: the box may be donated, the caller's array may not.
            make = lambda: placement.copied(value)  # noqa: E731
        self._make = make
        placed = layout is not None or placement.distribution() is not None
        waits = budget.is_loading() and callable(initializer) and not placed
        # A file brings the value; whoever looks before it does computes this one.
        made: Any = jax.ShapeDtypeStruct(shape, dtype) if waits else self.box
        self.shape: tuple[int, ...] = tuple(made.shape)
        self.dtype: str = made.dtype.name
        if placed:
            with outside(), jax.ensure_compile_time_eval():
                self.lay_out()

    def __getattr__(self, name: str) -> Any:
        """The value, when it is first looked at: it is new, or in a loop's hands."""
        if name == "box" and self._claim is not None:
            return claim.show(self)
        if name != "box" or "_make" not in self.__dict__:
            raise AttributeError(f"{type(self).__name__} has no attribute `{name}`.")
        if budget.is_loading() and isinstance(jnp.zeros(()), jax.core.Tracer):
            # A symbolic call of the model that is loaded: it asks for shapes.
            return jnp.zeros(self.shape, self.dtype)
        # Also inside a trace it is a real array.
        with outside(), jax.ensure_compile_time_eval():
            self.box: jax.Array = self._make()
        if self.box.nbytes >= AWAITED:
            self.box.block_until_ready()
        del self._make
        return self.box

    def lay_out(self) -> None:
        """Put the value onto the devices where the distribution in force wants it."""
        distribution = placement.distribution()
        if distribution is not None:
            kept = getattr(self._layout, "device_mesh", distribution.device_mesh)
            if kept is not distribution.device_mesh:  # from under another distribution
                self._layout = None
            self._layout = distribution.get_variable_layout(self)
        try:
            self.store(self.box)
        except ValueError as error:
            raise ValueError(
                f"Variable `{self.path}` of shape {self.shape} cannot be laid out as "
                f"{self._layout}: an axis that is split must be a multiple of the "
                "devices along that axis of the mesh."
            ) from error

    # --- Reading and writing ----------------------------------------------------------

    @property
    def raw(self) -> jax.Array:
        """The value as seen from here, in the variable's own dtype."""
        frame = current_frame()
        if frame is not None and (frame := frame.find(self)) is not None:
            return frame.values[self]
        return self.box

    @property
    def value(self) -> jax.Array:
        """The value as seen from here, in the dtype of the layer that reads it."""
        value = self.raw
        cast = dtypes.autocast_dtype()
        if cast and self.autocast and "float" in self.dtype and cast != self.dtype:
            return value.astype(cast)
        return value

    def assign(self, value: Any) -> jax.Array:
        """Replace the value; shapes must agree, the dtype is kept."""
        if isinstance(value, Variable):
            value = value.raw
        array = dtypes.as_array(value, self.dtype)
        kept = current_frame() is None and not isinstance(value, jax.core.Tracer)
        if array is value and kept:
            # It belongs to somebody else, another variable perhaps, and the training
            # loop gives its boxes away.
            with jax.ensure_compile_time_eval():
                array = jnp.array(value)
        return self._assign_own(array)

    def _assign_own(self, value: jax.Array) -> jax.Array:
        """Replace the value by an array that nobody else holds."""
        value = dtypes.as_array(value, self.dtype)
        if tuple(value.shape) != self.shape:
            raise ValueError(
                f"Variable `{self.path}` has shape {self.shape} and cannot take a "
                f"value of shape {tuple(value.shape)}."
            )
        frame = current_frame()
        if frame is None:
            self.store(value)
        else:
            frame.write(self, value)
        return value

    def store(self, value: jax.Array) -> None:
        """Keep an array of the right shape and dtype for good, where it belongs."""
        if self._claim is not None:
            self._claim.refuse_others(self)
        if self._layout is not None:
            value = placement.place(value, self._layout)
        self.box = value
        self.__dict__.pop("_make", None)  # a first value that nobody asked for

    def assign_add(self, value: Any) -> jax.Array:
        """Add to the value."""
        return self._assign_own(self.raw + dtypes.as_array(value))

    def assign_sub(self, value: Any) -> jax.Array:
        """Subtract from the value."""
        return self._assign_own(self.raw - dtypes.as_array(value))

    def numpy(self) -> np.ndarray:
        """The value as a NumPy array."""
        return placement.gather(self.value)

    @property
    def ndim(self) -> int:
        """How many axes the value has."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """How many numbers the value holds."""
        return int(np.prod(self.shape))

    def __repr__(self) -> str:
        return f"<Variable path={self.path}, shape={self.shape}, dtype={self.dtype}>"

    # --- Acting as an array -----------------------------------------------------------

    def __jax_array__(self) -> jax.Array:
        return self.value

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        array = placement.gather(self.value)
        return array.astype(dtype) if dtype is not None else array

    def __getitem__(self, index: Any) -> jax.Array:
        return self.value[index]

    def __int__(self) -> int:
        return self._scalar(int)

    def __float__(self) -> float:
        return self._scalar(float)

    def __index__(self) -> int:
        return self._scalar(operator.index)

    def __bool__(self) -> bool:
        raise TypeError(f"Variable `{self.path}` has no truth value; use `.value`.")

    def _scalar(self, kind: Callable) -> Any:
        if self.shape:
            raise TypeError(f"{show(self)} is not a single number.")
        return kind(self.value)

    def __deepcopy__(self, memo: dict) -> "Variable":
        copy = object.__new__(type(self))
        copy.box = jnp.array(self.box)
        copy.__dict__.update(self._facts() | copy.__dict__)
        memo[id(self)] = copy
        return copy

    def __getstate__(self) -> dict[str, Any]:
        # Another process has other devices.
        box = placement.gather(self.box)
        return {**self._facts(), "box": box, "_layout": None}

    def _facts(self) -> dict[str, Any]:
        """What is known of it, but for what a loop does with it now."""
        mine = self.__dict__.items()
        return {k: v for k, v in mine if k not in ("_claim", "_unseen")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self.box = jnp.asarray(state["box"])
        if placement.distribution() is not None:
            self.lay_out()


def add_array_operators(cls: type, apply: Callable[..., Any]) -> None:
    """Give `cls` Python's arithmetic, comparison and matrix operators.

    `apply(function, *operands)` computes one of them; reflected ones are turned round.
    """
    binary = "add sub mul truediv floordiv mod pow matmul and_ or_ xor".split()
    compare = "lt le gt ge eq ne".split()
    for name in binary + compare:
        fn = getattr(operator, name)
        plain = name.rstrip("_")
        setattr(cls, f"__{plain}__", lambda a, b, fn=fn: apply(fn, a, b))
        if name in binary:
            setattr(cls, f"__r{plain}__", lambda b, a, fn=fn: apply(fn, a, b))
    for name in ("neg", "pos", "abs", "invert"):
        fn = getattr(operator, name)
        setattr(cls, f"__{name}__", lambda a, fn=fn: apply(fn, a))
    # Comparing elementwise must not cost a variable its place in a dictionary.
    cls.__hash__ = object.__hash__  # type: ignore[assignment,method-assign]


def _operand(x: Any) -> Any:
    return x.value if isinstance(x, Variable) else x


add_array_operators(
    Variable, lambda fn, *operands: fn(*(_operand(x) for x in operands))
)
# To JAX's own functions a variable is its value: they flatten the box and find it.
jax.tree_util.register_pytree_node(
    Variable, lambda v: ((v.value,), None), lambda _, children: children[0]
)
