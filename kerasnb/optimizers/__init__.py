"""What moves the weights: `keras.optimizers`."""

from typing import Any

from kerasnb.core.configurable import Catalog
from kerasnb.core.errors import show
from kerasnb.optimizers import legacy as legacy
from kerasnb.optimizers import schedules as schedules
from kerasnb.optimizers.adam import Adam as Adam
from kerasnb.optimizers.adam import Adamax as Adamax
from kerasnb.optimizers.adam import AdamW as AdamW
from kerasnb.optimizers.adam import Lamb as Lamb
from kerasnb.optimizers.adam import Nadam as Nadam
from kerasnb.optimizers.adam import ScheduleFreeAdamW as ScheduleFreeAdamW
from kerasnb.optimizers.adaptive import Adadelta as Adadelta
from kerasnb.optimizers.adaptive import Adafactor as Adafactor
from kerasnb.optimizers.adaptive import Adagrad as Adagrad
from kerasnb.optimizers.adaptive import Ftrl as Ftrl
from kerasnb.optimizers.adaptive import RMSprop as RMSprop
from kerasnb.optimizers.momentum import SGD as SGD
from kerasnb.optimizers.momentum import Lion as Lion
from kerasnb.optimizers.momentum import Muon as Muon
from kerasnb.optimizers.multi import MultiOptimizer as MultiOptimizer
from kerasnb.optimizers.multi import OptimizerMap as OptimizerMap
from kerasnb.optimizers.optimizer import Optimizer as Optimizer
from kerasnb.optimizers.wrap import LossScaleOptimizer as LossScaleOptimizer
from kerasnb.optimizers.wrap import OptaxOptimizer as OptaxOptimizer
from kerasnb.optimizers.wrap import is_optax

_CATALOG = Catalog(
    "optimizer",
    Optimizer,
    {
        cls.__name__.lower(): cls
        for cls in (
            Adam,
            SGD,
            RMSprop,
            AdamW,
            Adadelta,
            Adafactor,
            Adagrad,
            Adamax,
            Ftrl,
            Lamb,
            Lion,
            LossScaleOptimizer,
            MultiOptimizer,
            Muon,
            Nadam,
            ScheduleFreeAdamW,
        )
    },
)


def serialize(optimizer: Optimizer) -> dict[str, Any]:
    """The optimizer as plain data, without its state."""
    return _CATALOG.serialize(optimizer)


def deserialize(
    config: dict[str, Any], custom_objects: dict[str, Any] | None = None
) -> Optimizer:
    """The optimizer that `serialize` turned into `config`."""
    name = config.get("class_name")
    known = _CATALOG.entries.get(str(name).lower())
    if known is not None and config.get("registered_name") is None:
        config = {**config, "module": "keras.optimizers", "class_name": known.__name__}
    return _CATALOG.deserialize(config, custom_objects)


def get(identifier: Any) -> Optimizer | None:
    """The optimizer that a name, a config, an object or an optax optimizer stands for.

    >>> get("adam").learning_rate.value.item()
    0.0010000000474974513
    """
    if is_optax(identifier):
        return OptaxOptimizer(identifier)
    if isinstance(identifier, dict):
        identifier = deserialize(identifier)
    if isinstance(identifier, str | type) or identifier is None:
        identifier = _CATALOG.get(identifier)
    if identifier is None or isinstance(identifier, Optimizer):
        return identifier
    if getattr(identifier, "__module__", "").startswith("optax") and callable(
        identifier
    ):
        name = identifier.__name__
        raise ValueError(
            f"optax.{name} is a function that makes an optimizer: call it, "
            f"optax.{name}(1e-3)."
        )
    raise ValueError(
        f'{show(identifier)} is not an optimizer: pass a name such as "adam", an '
        "object from keras.optimizers, or an optax GradientTransformation."
    )
