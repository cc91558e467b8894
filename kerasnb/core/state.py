"""Stateful code as pure functions: variables bound in a frame.

A layer, metric or optimizer reads and assigns variables as if they were ordinary
attributes. JAX transforms want functions without side effects. The bridge is a
**frame**: a table `variable -> value` that is open while some code runs. Reading a
variable asks the open frames from the inside out, then the variable itself; assigning
writes into the innermost frame and never through to the variable.

`functional(fn, variables)` opens such a frame around `fn` and hands the final values
back, which turns imperative code into a pure function `values -> (out, new_values)`.
Everything in this package that differentiates, compiles or loops goes through it.
"""

import functools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import jax

if TYPE_CHECKING:
    from kerasnb.core.variable import Variable

_frame: ContextVar["Frame | None"] = ContextVar("frame", default=None)


class Frame:
    """A table of values that stand in for variables, inside another one or none."""

    __slots__ = ("open", "parent", "values")

    def __init__(
        self,
        variables: Sequence["Variable"],
        values: Sequence[Any],
        parent: "Frame | None",
        open: bool = False,
    ) -> None:
        self.values = dict(zip(variables, values, strict=True))
        self.parent = parent
        self.open = open

    def find(self, variable: "Variable") -> "Frame | None":
        """The innermost frame that lists `variable`."""
        frame: Frame | None = self
        while frame is not None and variable not in frame.values:
            frame = frame.parent
        return frame

    def write(self, variable: "Variable", value: Any) -> None:
        """Keep `value` for `variable`; an error when this frame does not list it."""
        if not self.open and variable not in self.values:
            raise RuntimeError(
                f"`{variable.path}` was assigned inside a pure function that does not "
                "list it among its variables; add it to the `variables` given to "
                "`functional`."
            )
        self.values[variable] = value


def current_frame() -> Frame | None:
    """The innermost open frame, None outside of pure functions."""
    return _frame.get()


@contextmanager
def bind(
    variables: Sequence["Variable"], values: Sequence[Any], *, open: bool = False
) -> Iterator[Frame]:
    """Let `values` stand in for `variables` while the scope is open.

    With `open=True` other variables may be assigned too; their new values are dropped
    at the end. That is how a symbolic call tries a layer without changing it.
    """
    frame = Frame(variables, values, _frame.get(), open)
    token = _frame.set(frame)
    try:
        yield frame
    finally:
        _frame.reset(token)


@contextmanager
def outside() -> Iterator[None]:
    """Reach the variables themselves, past all frames (to create them, to look)."""
    token = _frame.set(None)
    try:
        yield
    finally:
        _frame.reset(token)


def functional(fn: Callable, variables: Sequence["Variable"]) -> Callable:
    """The pure form of `fn`, which may read and assign `variables`.

    Returns `pure(values, *args) -> (out, new_values)`. The variables stay untouched,
    so `pure` may be given to `jit`, `grad`, `scan`, `vmap`, `checkpoint`.

    >>> from kerasnb.core.variable import Variable
    >>> counter = Variable(0, trainable=False)
    >>> pure = functional(lambda by: counter.assign(counter + by), [counter])
    >>> out, (new,) = jax.jit(pure)([1], 2)
    >>> int(new), int(counter.value)
    (3, 0)
    """
    variables = tuple(variables)

    @functools.wraps(fn)
    def pure(values: Sequence[Any], *args: Any, **kwargs: Any) -> tuple[Any, list]:
        with bind(variables, values) as frame:
            out = fn(*args, **kwargs)
        return out, [frame.values[variable] for variable in variables]

    return pure


def read(variables: Sequence["Variable"]) -> list[Any]:
    """The values of `variables` as seen from here, uncast."""
    return [variable.raw for variable in variables]


def write(variables: Sequence["Variable"], values: Sequence[Any]) -> None:
    """Assign `values` to `variables` without checks, in the open frame or for good."""
    frame = _frame.get()
    for variable, value in zip(variables, values, strict=True):
        if frame is None:
            variable.store(value)
        else:
            frame.write(variable, value)


def lift(
    transform: Callable, fn: Callable, variables: Sequence["Variable"], **options: Any
) -> Callable:
    """`transform(fn)` for a stateful `fn`: the state goes in and comes out.

    >>> from kerasnb.core.variable import Variable
    >>> counter = Variable(0.0, trainable=False)
    >>> count = lift(jax.jit, lambda: counter.assign_add(1.0), [counter])
    >>> _ = count(), count()
    >>> float(counter.value)
    2.0
    """
    pure = transform(functional(fn, variables), **options)

    def lifted(*args: Any) -> Any:
        out, values = pure(read(variables), *args)
        write(variables, values)
        return out

    return lifted


def scan(
    fn: Callable,
    variables: Sequence["Variable"],
    carry: Any,
    xs: Any,
    **options: Any,
) -> tuple[Any, Any]:
    """`jax.lax.scan` over a stateful `fn(carry, x) -> (carry, y)`."""
    pure = functional(fn, variables)

    def body(state: tuple, x: Any) -> tuple[tuple, Any]:
        carry, values = state
        (carry, y), values = pure(values, carry, x)
        return (carry, values), y

    (carry, values), ys = jax.lax.scan(body, (carry, read(variables)), xs, **options)
    write(variables, values)
    return carry, ys
