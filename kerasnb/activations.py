"""What units answer with: `keras.activations`, plain functions of one array."""

from typing import Any

import jax
import jax.numpy as jnp

from kerasnb import ops
from kerasnb.core import dtypes
from kerasnb.core.configurable import Catalog
from kerasnb.core.configurable import serialize as _serialize
from kerasnb.core.graph import op

Array = jax.Array


@op
def relu(
    x: Any,
    negative_slope: float = 0.0,
    max_value: float | None = None,
    threshold: float = 0.0,
) -> Array:
    """`max(x, 0)`, with a slope below, a cap above and another threshold on demand.

        f(x) = max_value                          for x >= max_value
               x                                  for threshold <= x < max_value
               negative_slope · (x - threshold)   otherwise

    Shapes: `s -> s`.

    >>> relu([-1.0, 2.0]).tolist(), relu([9.0], max_value=6).tolist()
    ([0.0, 2.0], [6.0])
    """
    x = dtypes.as_array(x)
    if threshold == 0 and max_value is None:
        if negative_slope:
            return jax.nn.leaky_relu(x, negative_slope)
        return jax.nn.relu(x)
    if threshold:
        above = jnp.where(x > threshold, x, jnp.zeros((), x.dtype))
    else:
        above = jax.nn.relu6(x) if max_value == 6 else jax.nn.relu(x)
    if max_value is not None and not (threshold == 0 and max_value == 6):
        above = jnp.clip(above, 0, jnp.asarray(max_value, x.dtype))
    if negative_slope:
        above = above - negative_slope * jax.nn.relu(threshold - x)
    return above


@op
def softmax(x: Any, axis: int = -1) -> Array:
    """Positive numbers that add up to one along `axis`. Shapes: `s -> s`.

    >>> softmax([0.0, 0.0]).tolist()
    [0.5, 0.5]
    """
    return ops.softmax(x, axis)


@op
def gelu(x: Any, approximate: bool = False) -> Array:
    """`x` times the normal distribution's share below `x`. Shapes: `s -> s`.

    >>> gelu([0.0]).tolist()
    [0.0]
    """
    return ops.gelu(x, approximate)


@op
def mish(x: Any) -> Array:
    """`x · tanh(softplus(x))` (Misra, 2019). Shapes: `s -> s`.

    >>> mish([0.0]).tolist()
    [0.0]
    """
    x = dtypes.as_array(x)
    return x * jnp.tanh(jax.nn.softplus(x))


def linear(x: Any) -> Any:
    """`x` itself. Shapes: `s -> s`.

    >>> linear(3)
    3
    """
    return x


def exponential(x: Any) -> Array:
    """`e^x`. Shapes: `s -> s`.

    >>> exponential([0.0]).tolist()
    [1.0]
    """
    return ops.exp(x)


leaky_relu = ops.leaky_relu
relu6 = ops.relu6
celu = ops.celu
elu = ops.elu
selu = ops.selu
softplus = ops.softplus
softsign = ops.softsign
squareplus = ops.squareplus
soft_shrink = ops.soft_shrink
sparse_plus = ops.sparse_plus
silu = swish = ops.silu
glu = ops.glu
tanh = ops.tanh
tanh_shrink = ops.tanh_shrink
threshold = ops.threshold
sigmoid = ops.sigmoid
sparse_sigmoid = ops.sparse_sigmoid
hard_sigmoid = ops.hard_sigmoid
hard_silu = hard_swish = ops.hard_silu
hard_tanh = ops.hard_tanh
hard_shrink = ops.hard_shrink
log_softmax = ops.log_softmax
log_sigmoid = ops.log_sigmoid
sparsemax = ops.sparsemax

# --- By name --------------------------------------------------------------------------

_catalog = Catalog(
    "activation",
    None,
    {
        fn.__name__: fn
        for fn in (
            relu,
            leaky_relu,
            relu6,
            softmax,
            celu,
            elu,
            selu,
            softplus,
            softsign,
            squareplus,
            soft_shrink,
            sparse_plus,
            silu,
            gelu,
            glu,
            tanh,
            tanh_shrink,
            threshold,
            sigmoid,
            sparse_sigmoid,
            exponential,
            hard_sigmoid,
            hard_silu,
            hard_tanh,
            hard_shrink,
            linear,
            mish,
            log_softmax,
            log_sigmoid,
            sparsemax,
        )
    }
    | {"swish": silu, "hard_swish": hard_silu},
)


def get(identifier: Any) -> Any:
    """The activation that a name, a config, a class or a function stands for.

    >>> get("relu") is relu, get(None) is linear
    (True, True)
    """
    return linear if identifier is None else _catalog.get(identifier)


def serialize(activation: Any) -> Any:
    """An activation of this package as its name, another one as a config.

    >>> serialize(relu)
    'relu'
    """
    return _serialize(activation)


def deserialize(config: Any, custom_objects: dict | None = None) -> Any:
    """The activation that `serialize` wrote as `config`."""
    return _catalog.deserialize(config, custom_objects)
