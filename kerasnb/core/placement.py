"""Where arrays live: on one device, or over the devices of the current distribution.

`kerasnb.distribution` describes layouts; this file holds the description in force and
moves arrays to where it says. Without a distribution nothing here is called.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils

from kerasnb.core.masks import get_mask, set_mask

_current: Any = None


def distribution() -> Any:
    """The distribution in force, None on one device."""
    return _current


def set_distribution(value: Any) -> None:
    """Put another distribution in force, or none."""
    global _current
    _current = value


def place(value: Any, layout: Any) -> jax.Array:
    """`value` laid out as a `TensorLayout` or a JAX sharding says.

    With several processes each must hold the same whole `value`.
    """
    sharding = getattr(layout, "backend_layout", layout)
    if isinstance(value, jax.core.Tracer):
        return jax.lax.with_sharding_constraint(value, sharding)
    if isinstance(value, jax.Array) and sharding == value.sharding:
        return value
    if sharding.is_fully_addressable:
        return jax.device_put(value, sharding)
    whole = gather(value)
    return jax.make_array_from_callback(whole.shape, sharding, lambda i: whole[i])


def copied(array: Any) -> jax.Array:
    """The same numbers in an array of its own; unlike `jnp.copy`, compiles nothing."""
    if not isinstance(array, jax.Array) or array.is_fully_addressable:
        return jax.device_put(array, may_alias=False)
    # Each process copies what it holds; none needs to wait for the others.
    parts = [copied(shard.data) for shard in array.addressable_shards]
    return jax.make_array_from_single_device_arrays(array.shape, array.sharding, parts)


def gather(array: Any) -> np.ndarray:
    """The whole array in this process; one that is spread over several needs them all.

    Every process must then ask for it, or those that do wait for the others.
    """
    if isinstance(array, jax.Array) and not (
        array.is_fully_addressable or array.is_fully_replicated
    ):
        array = multihost_utils.process_allgather(array, tiled=True)
    return np.asarray(array)


@contextmanager
def one_writer(variables: Iterable[Any]) -> Iterator[bool]:
    """Whether this process is the one that writes the files of a model.

    The others of those that share its variables wait until it has done so.
    """
    if all(variable.box.is_fully_addressable for variable in variables):
        yield True
        return
    try:
        yield jax.process_index() == 0
    finally:
        multihost_utils.sync_global_devices("kerasnb: files of a model")


def constrained(path: str, outputs: Any) -> Any:
    """The outputs of a layer, laid out as the distribution says of `<path>/output`."""
    layout = _current.get_tensor_layout(f"{path}/output")
    if layout is None:
        return outputs

    def lay_out(x: Any) -> Any:
        out = place(x, layout)
        set_mask(out, get_mask(x))
        return out

    return jax.tree.map(lay_out, outputs)
