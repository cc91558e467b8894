"""Learning rates that change with the step: `keras.optimizers.schedules`."""

from typing import Any

from kerasnb.core.configurable import Catalog
from kerasnb.optimizers.schedules.decay import CosineDecay as CosineDecay
from kerasnb.optimizers.schedules.decay import (
    CosineDecayRestarts as CosineDecayRestarts,
)
from kerasnb.optimizers.schedules.decay import ExponentialDecay as ExponentialDecay
from kerasnb.optimizers.schedules.decay import InverseTimeDecay as InverseTimeDecay
from kerasnb.optimizers.schedules.decay import (
    PiecewiseConstantDecay as PiecewiseConstantDecay,
)
from kerasnb.optimizers.schedules.decay import PolynomialDecay as PolynomialDecay
from kerasnb.optimizers.schedules.schedule import (
    LearningRateSchedule as LearningRateSchedule,
)

_CATALOG = Catalog(
    "learning rate schedule",
    LearningRateSchedule,
    {
        cls.__name__: cls
        for cls in (
            CosineDecay,
            CosineDecayRestarts,
            ExponentialDecay,
            InverseTimeDecay,
            PiecewiseConstantDecay,
            PolynomialDecay,
        )
    },
)


def serialize(learning_rate_schedule: LearningRateSchedule) -> dict[str, Any]:
    """The schedule as plain data."""
    return _CATALOG.serialize(learning_rate_schedule)


def deserialize(
    config: dict[str, Any], custom_objects: dict[str, Any] | None = None
) -> LearningRateSchedule:
    """The schedule that `serialize` turned into `config`."""
    return _CATALOG.deserialize(config, custom_objects)
