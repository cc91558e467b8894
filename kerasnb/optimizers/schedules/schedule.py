"""`LearningRateSchedule`: a learning rate that depends on the step."""

from typing import Any

import jax
import jax.numpy as jnp

from kerasnb.core import settings
from kerasnb.core.configurable import Configurable
from kerasnb.core.errors import check


class LearningRateSchedule(Configurable):
    """A function of the step, from 0 on, that an optimizer asks for its learning rate.

    Subclasses write `__call__` with `jax.numpy` or `keras.ops`: it runs inside compiled
    programs, where the step is not known as a number. The config is the constructor's
    arguments.
    """

    def __call__(self, step: Any) -> Any:
        """The learning rate at `step`."""
        raise NotImplementedError(
            f"{type(self).__name__} must write `__call__(self, step)`."
        )

    def _check_steps(self, argument: str, steps: Any) -> None:
        check(steps > 0, type(self).__name__, argument, steps, "greater than 0")


def as_float(x: Any) -> jax.Array:
    """A number or a step as an array of `floatx()`."""
    return jnp.asarray(x).astype(settings.floatx())
