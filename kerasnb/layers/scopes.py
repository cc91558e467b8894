"""Scopes around calls: without side effects, without memory, on a device.

`StatelessScope` and `SymbolicScope` are frames of `core/state.py` by Keras' names.
`RematScope` makes layers forget what they computed and compute it again for the
gradient.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from contextvars import ContextVar
from typing import Any, Self

import jax

from kerasnb.core.dtypes import as_array
from kerasnb.core.errors import check
from kerasnb.core.graph import leaves
from kerasnb.core.masks import get_mask, set_mask
from kerasnb.core.state import Frame, bind, write
from kerasnb.core.variable import Variable

_MODES = ("full", "activations", "larger_than", "list_of_layers", None)
_remat: ContextVar["RematScope | None"] = ContextVar("remat", default=None)
_collector: ContextVar[list | None] = ContextVar("losses", default=None)


def collecting() -> list | None:
    """Where losses go inside `collect_losses`, None outside."""
    return _collector.get()


@contextmanager
def collect_losses() -> Iterator[list[Any]]:
    """Gather what layers pass to `add_loss` inside, instead of leaving it with them."""
    losses: list[Any] = []
    token = _collector.set(losses)
    try:
        yield losses
    finally:
        _collector.reset(token)


class StatelessScope:
    """Let values stand in for variables; what code assigns inside stays inside.

    `state_mapping` holds pairs `(variable, value)`. With `collect_losses` the scope's
    `losses` are those that layers add inside.

    >>> counter = Variable(1.0)
    >>> with StatelessScope([(counter, 5.0)]) as scope:
    ...     _ = counter.assign_add(1.0)
    >>> float(scope.get_current_value(counter)), float(counter)
    (6.0, 1.0)
    """

    def __init__(
        self,
        state_mapping: Iterable[tuple[Variable, Any]] | None = None,
        collect_losses: bool = False,
        initialize_variables: bool = True,
    ) -> None:
        self.collect_losses = collect_losses
        self.initialize_variables = initialize_variables
        self.losses: list[Any] = []
        self.state_mapping: dict[Variable, Any] = {}
        for variable, value in state_mapping or ():
            good = isinstance(variable, Variable)
            check(good, "StatelessScope", "state_mapping", variable, "a Variable first")
            self.add_update((variable, value))
        self._frame: Frame | None = None
        self._open = ExitStack()

    def add_loss(self, loss: Any) -> None:
        """Put a loss among those of the scope."""
        self.losses.append(loss)

    def add_update(self, update: tuple[Variable, Any]) -> None:
        """Let `(variable, value)` hold inside the scope."""
        variable, value = update
        array = as_array(getattr(value, "value", value), variable.dtype)
        if array.shape != variable.shape:
            raise ValueError(
                f"StatelessScope: `{variable.path}` has shape {variable.shape} and got "
                f"a value of shape {array.shape}."
            )
        self.state_mapping[variable] = array

    def get_current_value(self, variable: Variable) -> Any:
        """The value of `variable` in the scope; None if it has none there."""
        return self.state_mapping.get(variable)

    def __enter__(self) -> Self:
        held = self.state_mapping
        self._frame = self._open.enter_context(
            bind(list(held), list(held.values()), open=True)
        )
        # One table for the frame and for those who ask, inside the scope and after it.
        self._frame.values = held
        if self.collect_losses:
            self.losses = self._open.enter_context(collect_losses())
        return self

    def __exit__(self, *error: Any) -> None:
        self._open.close()


class SymbolicScope:
    """Let code run on placeholders: no variable changes inside, as in shape tracing.

    >>> counter = Variable(1.0)
    >>> with SymbolicScope():
    ...     _ = counter.assign(7.0)
    >>> float(counter)
    1.0
    """

    def __enter__(self) -> Self:
        self._scope: AbstractContextManager = bind((), (), open=True)
        self._scope.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._scope.__exit__(*error)


class RematScope:
    """Layers made inside compute their activations again in the backward pass.

    That saves the memory that the activations of long models take, for about a third
    more arithmetic. `mode` says what is computed again: `"full"` every layer,
    `"activations"` the activation functions, `"larger_than"` layers with more than
    `output_size_threshold` outputs for a sample, `"list_of_layers"` those in
    `layer_names`, None nothing.
    (Chen et al., Training Deep Nets with Sublinear Memory Cost, 2016)

    >>> from kerasnb.layers import Dense
    >>> with RematScope("full"):
    ...     layer = Dense(2, activation="tanh")
    >>> layer(jax.numpy.ones((1, 3))).shape
    (1, 2)
    """

    def __init__(
        self,
        mode: str | None = "full",
        output_size_threshold: int = 1024,
        layer_names: Sequence[str] | None = None,
    ) -> None:
        known = ", ".join(f'"{m}"' for m in _MODES if m) + " or None"
        check(mode in _MODES, "RematScope", "mode", mode, known)
        self.mode = mode
        self.output_size_threshold = output_size_threshold
        self.layer_names = list(layer_names or [])

    def __enter__(self) -> Self:
        self._token = _remat.set(self)
        return self

    def __exit__(self, *error: Any) -> None:
        _remat.reset(self._token)

    def wraps(self, layer: Any, args: tuple, kwargs: dict[str, Any]) -> bool:
        """Whether this call of `layer` is to be computed again.

        Not the first one, in which inner layers make their weights.
        """
        if not all(inner.built for inner in layer._flatten_layers()):
            return False
        if self.mode == "larger_than":
            with bind((), (), open=True), collect_losses():
                out = jax.eval_shape(lambda: layer.call(*args, **kwargs))
            sizes = (math.prod(x.shape[1:]) for x in leaves(out))
            return sum(sizes) > self.output_size_threshold
        if self.mode == "list_of_layers":
            return layer.name in self.layer_names
        return self.mode == "full"


def current_remat() -> RematScope | None:
    """The innermost open `RematScope`."""
    return _remat.get()


def remat(f: Callable) -> Callable:
    """`f`, computed again for the gradient instead of remembered; `jax.checkpoint`.

    `f` is a function of arrays or a layer.

    >>> import jax.numpy as jnp
    >>> float(jax.grad(remat(jnp.tanh))(0.0))
    1.0
    """
    if hasattr(f, "variables"):
        return lambda *args, **kwargs: rematerialized(f, f, args, kwargs)
    return jax.checkpoint(f)


def rematerialized_call(layer: Any, args: tuple, kwargs: dict[str, Any]) -> Any:
    """`layer.call(*args, **kwargs)` as the layer's `RematScope` wants it."""
    scope: RematScope = layer._remat
    if scope.mode == "activations" and getattr(layer, "activation", None) is not None:
        plain = layer.__dict__["activation"]
        layer.__dict__["activation"] = jax.checkpoint(plain)
        try:
            return layer.call(*args, **kwargs)
        finally:
            layer.__dict__["activation"] = plain
    if scope.wraps(layer, args, kwargs):
        return rematerialized(layer, layer.call, args, kwargs)
    return layer.call(*args, **kwargs)


def rematerialized(layer: Any, fn: Callable, args: tuple, kwargs: dict) -> Any:
    """`fn(*args, **kwargs)` of a layer, its state, losses and masks kept in order."""
    flat, tree = jax.tree.flatten((args, kwargs), is_leaf=lambda x: x is None)
    where = [i for i, x in enumerate(flat) if isinstance(x, jax.Array)]
    masks_in = [get_mask(flat[i]) for i in where]
    assigned: list[Variable] = []

    def run(arrays: list) -> tuple:
        for i, array, mask in zip(where, arrays, masks_in, strict=True):
            flat[i] = array
            set_mask(array, mask)
        args, kwargs = jax.tree.unflatten(tree, flat)
        with bind((), (), open=True) as frame, collect_losses() as losses:
            out = fn(*args, **kwargs)
        assigned[:] = frame.values
        return out, [get_mask(x) for x in leaves(out)], losses, [*frame.values.values()]

    out, masks, losses, values = jax.checkpoint(run)([flat[i] for i in where])
    write(assigned, values)
    for x, mask in zip(leaves(out), masks, strict=True):
        set_mask(x, mask)
    for loss in losses:
        layer.add_loss(loss)
    return out
