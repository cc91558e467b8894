"""What happens to gradients before a rule sees them, and the choice of a step."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from kerasnb.core.state import functional, read, write
from kerasnb.core.variable import Variable

Array = jax.Array


def norm(grads: Sequence[Array]) -> Array:
    """The Euclidean norm of all numbers together."""
    return jnp.sqrt(sum(jnp.sum(jnp.square(g)) for g in grads))


def clip(
    grads: Sequence[Array],
    each_norm: float | None,
    value: float | None,
    joint_norm: float | None,
) -> Sequence[Array]:
    """Shorten gradients that are too long, by the first limit that is set.

    Each to a norm, all together to a norm, or every number to `-value ... value`.
    """
    if each_norm and each_norm > 0:
        return [g * each_norm / jnp.maximum(norm([g]), each_norm) for g in grads]
    if joint_norm and joint_norm > 0:
        length = norm(grads)
        # An infinite or undefined norm makes every gradient NaN: seen, not hidden.
        hidden = length - length
        scale = joint_norm * jnp.minimum(1 / length, 1 / joint_norm) + hidden
        return [g * scale for g in grads]
    if value and value > 0:
        return [jnp.clip(g, -value, value) for g in grads]
    return grads


def choose(
    condition: Any, yes: Callable, no: Callable, variables: Sequence[Variable]
) -> None:
    """Run one of two functions that assign `variables`, decided on the device."""
    values = jax.lax.cond(
        condition,
        lambda values: functional(yes, variables)(values)[1],
        lambda values: functional(no, variables)(values)[1],
        read(variables),
    )
    write(variables, values)
