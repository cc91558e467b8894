"""Metrics that are a mean over all samples."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from kerasnb.core import dtypes
from kerasnb.core.configurable import deserialize
from kerasnb.core.masks import get_mask
from kerasnb.losses import loss as losses
from kerasnb.metrics.metric import Metric
from kerasnb.ops import divide_no_nan

Array = jax.Array


def per_sample(
    values: Any, sample_weight: Any, reduce: Callable, dtype: str
) -> tuple[Array, Array | None]:
    """Weighted values and weights, one for each sample.

    `reduce` joins what belongs to one sample. Weights may be given for samples, or for
    parts of them.
    """
    mask = get_mask(values)
    values = dtypes.as_array(values, dtype)
    if sample_weight is not None:
        weight = with_mask(dtypes.as_array(sample_weight, dtype), mask)
        values, weight = losses.same_rank(values, weight)
        parts = weight.ndim
        if values.ndim > parts:
            values = reduce(values, axis=tuple(range(parts, values.ndim)))
        weight = jnp.broadcast_to(weight, values.shape)
        values = values * weight
        if parts > 1:
            weight = reduce(weight, axis=tuple(range(1, parts)))
        sample_weight = weight
    if values.ndim > 1:
        values = reduce(values, axis=tuple(range(1, values.ndim)))
    return values, sample_weight


def with_mask(weight: Array | None, mask: Any) -> Any:
    """Weights that are zero where the mask is False."""
    if mask is None:
        return weight
    mask = dtypes.as_array(mask)
    if weight is None:
        return mask.astype(dtypes.canonical(None))
    mask, weight = losses.same_rank(mask.astype(weight.dtype), weight)
    return weight * mask


class Sum(Metric):
    """The sum of all values, weighted on demand.

    >>> float(Sum()([1.0, 2.0]))
    3.0
    """

    def __init__(self, name: str | None = "sum", dtype: Any = None) -> None:
        super().__init__(name=name, dtype=dtype)
        self.total = self.add_variable((), "zeros", self.dtype, name="total")

    def update_state(self, values: Any, sample_weight: Any = None) -> None:
        """Add values."""
        values, _ = per_sample(values, sample_weight, jnp.sum, self.dtype)
        self.total.assign_add(jnp.sum(values))

    def result(self) -> Array:
        """The sum so far."""
        return self.total.value


class Mean(Metric):
    """The mean of all values, weighted on demand; zero when there are none.

    >>> mean = Mean()
    >>> mean.update_state([1.0, 3.0]), mean.update_state(8.0)
    (None, None)
    >>> float(mean.result())
    4.0
    """

    def __init__(self, name: str | None = "mean", dtype: Any = None) -> None:
        super().__init__(name=name, dtype=dtype)
        self.total = self.add_variable((), "zeros", self.dtype, name="total")
        self.count = self.add_variable((), "zeros", self.dtype, name="count")

    def update_state(self, values: Any, sample_weight: Any = None) -> None:
        """Take values into the mean."""
        values, weight = per_sample(values, sample_weight, jnp.mean, self.dtype)
        self.total.assign_add(jnp.sum(values))
        if weight is None:
            count: Any = values.shape[0] if values.ndim else 1
        else:
            count = jnp.sum(weight)
        self.count.assign_add(count)

    def result(self) -> Array:
        """The mean so far."""
        return divide_no_nan(self.total.value, self.count.value)


class MeanMetricWrapper(Mean):
    """The mean of a function `(y_true, y_pred, **kwargs) -> values`.

    >>> metric = MeanMetricWrapper(lambda y, p: jnp.abs(y - p), name="distance")
    >>> float(metric(jnp.array([1.0, 2.0]), jnp.array([1.0, 4.0])))
    1.0
    """

    def __init__(
        self,
        fn: Callable[..., Any],
        name: str | None = None,
        dtype: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(name=name, dtype=dtype)
        self.fn = fn
        self._fn_kwargs = kwargs
        if self._direction is None and losses.is_loss(fn):
            self._direction = "down"

    def update_state(  # type: ignore[override]
        self, y_true: Any, y_pred: Any, sample_weight: Any = None
    ) -> None:
        """Take a batch into the mean."""
        mask = get_mask(y_pred)
        values = self.fn(y_true, y_pred, **self._fn_kwargs)
        if mask is not None:
            if sample_weight is not None:
                sample_weight = dtypes.as_array(sample_weight, self.dtype)
            sample_weight = with_mask(sample_weight, mask)
        super().update_state(values, sample_weight=sample_weight)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments as plain data."""
        config = super().get_config()
        if "fn" in config:
            config["fn"] = losses.write_function(self.fn)
        return config

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "MeanMetricWrapper":
        """A metric from its config; a function of this package is known by its name."""
        config = {key: deserialize(value) for key, value in config.items()}
        if isinstance(config.get("fn"), str):
            config["fn"] = _functions.get(config["fn"]) or losses.function_named(
                config["fn"]
            )
        return cls(**config)


_functions: dict[str, Callable[..., Any]] = {}


def mean_of(
    title: str,
    fn: Callable[..., Any],
    *,
    direction: str = "down",
    name: str | None = None,
    order: str | None = None,
    without: Sequence[str] = (),
    **defaults: Any,
) -> type[MeanMetricWrapper]:
    """The metric class of a function: `name`, `dtype`, then the function's options.

    `name` is the default name of an instance; `order`, `without` and `defaults` tell
    where the arguments of the class differ from the function's.
    """
    options = losses.function_options(fn, without) | defaults
    arguments = {"name": name or fn.__name__, "dtype": None, **options}
    if not losses.is_loss(fn):
        _functions[fn.__name__] = fn
    return losses.class_of_function(
        title,
        MeanMetricWrapper,
        fn,
        arguments,
        tuple(options),
        order,
        _direction=direction,
    )
