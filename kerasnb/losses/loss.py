"""`Loss`: from targets and predictions to one number, and losses made of functions."""

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from kerasnb.core import dtypes, naming
from kerasnb.core.configurable import Configurable, deserialize, serialize
from kerasnb.core.errors import check
from kerasnb.core.masks import get_mask
from kerasnb.core.registry import is_library
from kerasnb.losses import targets
from kerasnb.ops import divide_no_nan

Array = jax.Array

REDUCTIONS = (
    "sum_over_batch_size",
    "sum",
    "mean",
    "mean_with_sample_weight",
    "none",
    None,
)


class Loss(Configurable):
    """What training makes small: a loss for each sample (`call`), then one number.

    `reduction` says how: `"sum_over_batch_size"` and `"mean"` divide the sum by the
    number of losses, `"mean_with_sample_weight"` by the sum of the weights, `"sum"` not
    at all, and `"none"` returns them as they are.

    >>> class Distance(Loss):
    ...     def call(self, y_true, y_pred):
    ...         return jnp.abs(y_true - y_pred)
    >>> float(Distance()([1.0, 2.0], [1.0, 4.0]))
    1.0
    """

    def __init__(
        self,
        name: str | None = None,
        reduction: str | None = "sum_over_batch_size",
        dtype: Any = None,
    ) -> None:
        who = type(self).__name__
        check(
            reduction in REDUCTIONS,
            who,
            "reduction",
            reduction,
            f"one of {REDUCTIONS}",
        )
        naming.check_name(type(self).__name__, name)
        self.name = name or naming.auto_name(self)
        self.reduction = reduction
        self._policy = dtypes.get_policy(dtype or dtypes.standardize_dtype(None))

    @property
    def dtype(self) -> str:
        """The dtype the loss is computed in."""
        return self._policy.compute_dtype

    def call(self, y_true: Any, y_pred: Any) -> Array:
        """The loss of each sample; subclasses write it."""
        raise NotImplementedError(f"{type(self).__name__} has no `call` method.")

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Array:
        """The reduced loss; `sample_weight` multiplies the loss of each sample."""
        mask = get_mask(y_pred)
        y_true, y_pred = jax.tree.map(
            lambda x: dtypes.as_array(x, self.dtype), (y_true, y_pred), is_leaf=_is_data
        )
        losses = self.call(y_true, y_pred)
        own_mask = get_mask(losses)
        if own_mask is not None:
            mask = own_mask if mask is None else mask & own_mask
        return reduce_weighted(losses, sample_weight, mask, self.reduction, self.dtype)

    def check_targets(self, y_true: Any, y_pred_shape: Sequence[int | None]) -> None:
        """Raise a ValueError when `y_true`, as NumPy data, cannot be what is wanted.

        Inside compiled code a label out of range goes unnoticed, so the trainer asks
        here first. `y_pred_shape` is the shape of the predictions; the length of the
        batch does not matter.
        """

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments as plain data."""
        config = super().get_config()
        if self._config.get("dtype") is None:
            config.pop("dtype", None)
        return config

    def __repr__(self) -> str:
        return f"<{type(self).__name__} name={self.name}>"


def _is_data(x: Any) -> bool:
    """Whether `x` is one array, given as an array or as nested lists of numbers."""
    if isinstance(x, list):
        return not x or not hasattr(x[0], "shape")
    return not isinstance(x, dict | tuple)


class LossFunctionWrapper(Loss):
    """A function `(y_true, y_pred, **kwargs) -> losses` as a `Loss`.

    >>> loss = LossFunctionWrapper(lambda y, p: jnp.abs(y - p))
    >>> float(loss([1.0, 2.0], [1.0, 4.0]))
    1.0
    """

    def __init__(
        self,
        fn: Callable[..., Any],
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        dtype: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        self.fn = fn
        self._fn_kwargs = kwargs

    def call(self, y_true: Any, y_pred: Any) -> Array:
        """The function's value, on arrays of the same rank."""
        if not isinstance(y_true, dict | list | tuple):
            y_true, y_pred = same_rank(y_true, y_pred)
        return self.fn(y_true, y_pred, **self._fn_kwargs)

    def check_targets(self, y_true: Any, y_pred_shape: Sequence[int | None]) -> None:
        """Raise a ValueError for targets that the function has no use for."""
        targets.check_targets(self.fn, y_true, y_pred_shape, self._fn_kwargs)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments as plain data."""
        config = super().get_config()
        return config | {"fn": write_function(self.fn)} if "fn" in config else config

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "LossFunctionWrapper":
        """A loss from its config; a function of this package is known by its name."""
        config = {key: deserialize(value) for key, value in config.items()}
        if isinstance(config.get("fn"), str):
            config["fn"] = function_named(config["fn"])
        return cls(**config)


# --- A class for each function --------------------------------------------------------

_functions: dict[str, Callable[..., Any]] = {}


def function_named(name: str) -> Callable[..., Any]:
    """The loss function of this package with that name."""
    check(name in _functions, None, "fn", name, f"one of {sorted(_functions)}")
    return _functions[name]


def write_function(fn: Any) -> Any:
    """A loss or metric function as Keras' files hold it."""
    if not (is_library(fn) and hasattr(fn, "__name__")):
        return serialize(fn)
    return {
        "module": "builtins",
        "class_name": "function",
        "config": fn.__name__,
        "registered_name": "function",
    }


def is_loss(fn: Any) -> bool:
    """Whether `fn` is a loss, a function of this package or an object."""
    return isinstance(fn, Loss) or _functions.get(getattr(fn, "__name__", "")) is fn


def as_class(
    title: str,
    fn: Callable[..., Any],
    *,
    name: str | None = None,
    order: str | None = None,
    without: Sequence[str] = (),
    **defaults: Any,
) -> type[LossFunctionWrapper]:
    """The `Loss` class of a function: its options, then `reduction`, `name`, `dtype`.

    `name` is the default name of an instance; `order`, `without` and `defaults` tell
    where the arguments of the class differ from the function's.
    """
    options = function_options(fn, without) | defaults
    common = {"reduction": "sum_over_batch_size", "name": name or fn.__name__}
    arguments = options | common | {"dtype": None}
    _functions[fn.__name__] = fn
    targets.name_function(fn, title)
    return class_of_function(
        title, LossFunctionWrapper, fn, arguments, tuple(options), order
    )


def function_options(
    fn: Callable[..., Any], without: Sequence[str] = ()
) -> dict[str, Any]:
    """The arguments of a function of targets and predictions after these two."""
    own = list(inspect.signature(fn).parameters.values())[2:]
    return {p.name: p.default for p in own if p.name not in without}


def class_of_function(
    title: str,
    base: type,
    fn: Callable[..., Any],
    arguments: dict[str, Any],
    options: Sequence[str],
    order: str | None = None,
    **body: Any,
) -> type:
    """A subclass of `base(fn, ...)` for one function, with a signature of its own.

    `arguments` are those of the constructor with their defaults, in the given `order`;
    the `options` among them become attributes and go on to the function.
    """
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    signature = inspect.Signature(
        [inspect.Parameter("self", kind)]
        + [
            inspect.Parameter(n, kind, default=arguments[n])
            for n in (order.split() if order else arguments)
        ]
    )

    def __init__(self: Any, *args: Any, **kwargs: Any) -> None:
        bound = signature.bind(self, *args, **kwargs)
        bound.apply_defaults()
        given = {key: bound.arguments[key] for key in arguments}
        base.__init__(self, fn, **given)  # type: ignore[misc]
        for option in options:
            setattr(self, option, given[option])

    __init__.__signature__ = signature  # type: ignore[attr-defined]
    # The room, where the class is found by its name, also when it is unpickled.
    room = base.__module__.rpartition(".")[0]
    __init__.__qualname__, __init__.__module__ = f"{title}.__init__", room
    return type(
        title,
        (base,),
        {
            "__init__": __init__,
            # The example is one of calling the function.
            "__doc__": (fn.__doc__ or "").partition("    >>>")[0].rstrip(),
            "__module__": room,
            **body,
        },
    )


# --- Shapes and weights ---------------------------------------------------------------


def same_rank(a: Array, b: Array) -> tuple[Array, Array]:
    """Two arrays of the same rank, by adding or dropping a last axis of length one."""
    if a.ndim == b.ndim + 1:
        b, a = same_rank(b, a)
        return a, b
    if b.ndim == a.ndim + 1 and b.shape[-1] == 1:
        if a.ndim == 1:
            return a[..., None], b
        return a, b[..., 0]
    return a, b


def reduce_weighted(
    losses: Any,
    sample_weight: Any = None,
    mask: Any = None,
    reduction: str | None = "sum_over_batch_size",
    dtype: Any = None,
) -> Array:
    """One number from many losses, some of which weigh more and some do not count."""
    losses = dtypes.as_array(losses, dtype)
    weight = None
    if sample_weight is not None:
        weight = dtypes.as_array(sample_weight, dtype).astype(losses.dtype)
    if mask is not None:
        kept = dtypes.as_array(mask).astype(losses.dtype)
        if reduction in ("mean", "sum_over_batch_size"):
            # The sum is divided by the number of all losses; only those kept count.
            kept = kept * divide_no_nan(float(kept.size), jnp.sum(kept))
        if weight is None:
            weight = kept
        else:
            kept, weight = same_rank(kept, weight)
            weight = weight * kept
    if weight is not None:
        losses, weight = same_rank(losses, weight)
        losses = losses * weight
    if reduction in ("none", None) or losses.shape in ((), (0,)):
        return losses
    total = jnp.sum(losses)
    if reduction == "sum":
        return total
    count: Any = losses.size
    if reduction == "mean_with_sample_weight" and weight is not None:
        count = jnp.sum(weight).astype(total.dtype)
    return divide_no_nan(total, count)
