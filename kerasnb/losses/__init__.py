"""What training makes small: `keras.losses`."""

from typing import Any

from kerasnb.core.configurable import Catalog
from kerasnb.core.configurable import serialize as _serialize
from kerasnb.core.naming import name_of
from kerasnb.losses.crossentropy import BinaryCrossentropy as BinaryCrossentropy
from kerasnb.losses.crossentropy import (
    BinaryFocalCrossentropy as BinaryFocalCrossentropy,
)
from kerasnb.losses.crossentropy import (
    CategoricalCrossentropy as CategoricalCrossentropy,
)
from kerasnb.losses.crossentropy import (
    CategoricalFocalCrossentropy as CategoricalFocalCrossentropy,
)
from kerasnb.losses.crossentropy import (
    CategoricalGeneralizedCrossEntropy as CategoricalGeneralizedCrossEntropy,
)
from kerasnb.losses.crossentropy import (
    SparseCategoricalCrossentropy as SparseCategoricalCrossentropy,
)
from kerasnb.losses.crossentropy import binary_crossentropy as binary_crossentropy
from kerasnb.losses.crossentropy import (
    binary_focal_crossentropy as binary_focal_crossentropy,
)
from kerasnb.losses.crossentropy import (
    categorical_crossentropy as categorical_crossentropy,
)
from kerasnb.losses.crossentropy import (
    categorical_focal_crossentropy as categorical_focal_crossentropy,
)
from kerasnb.losses.crossentropy import (
    categorical_generalized_cross_entropy as categorical_generalized_cross_entropy,
)
from kerasnb.losses.crossentropy import (
    sparse_categorical_crossentropy as sparse_categorical_crossentropy,
)
from kerasnb.losses.loss import Loss as Loss
from kerasnb.losses.loss import LossFunctionWrapper as LossFunctionWrapper
from kerasnb.losses.loss import write_function
from kerasnb.losses.overlap import CTC as CTC
from kerasnb.losses.overlap import Circle as Circle
from kerasnb.losses.overlap import Dice as Dice
from kerasnb.losses.overlap import Tversky as Tversky
from kerasnb.losses.overlap import circle as circle
from kerasnb.losses.overlap import ctc as ctc
from kerasnb.losses.overlap import dice as dice
from kerasnb.losses.overlap import tversky as tversky
from kerasnb.losses.pointwise import CategoricalHinge as CategoricalHinge
from kerasnb.losses.pointwise import CosineSimilarity as CosineSimilarity
from kerasnb.losses.pointwise import Hinge as Hinge
from kerasnb.losses.pointwise import Huber as Huber
from kerasnb.losses.pointwise import KLDivergence as KLDivergence
from kerasnb.losses.pointwise import LogCosh as LogCosh
from kerasnb.losses.pointwise import MeanAbsoluteError as MeanAbsoluteError
from kerasnb.losses.pointwise import (
    MeanAbsolutePercentageError as MeanAbsolutePercentageError,
)
from kerasnb.losses.pointwise import MeanSquaredError as MeanSquaredError
from kerasnb.losses.pointwise import (
    MeanSquaredLogarithmicError as MeanSquaredLogarithmicError,
)
from kerasnb.losses.pointwise import Poisson as Poisson
from kerasnb.losses.pointwise import SquaredHinge as SquaredHinge
from kerasnb.losses.pointwise import categorical_hinge as categorical_hinge
from kerasnb.losses.pointwise import cosine_similarity as cosine_similarity
from kerasnb.losses.pointwise import hinge as hinge
from kerasnb.losses.pointwise import huber as huber
from kerasnb.losses.pointwise import kl_divergence as kl_divergence
from kerasnb.losses.pointwise import log_cosh as log_cosh
from kerasnb.losses.pointwise import mean_absolute_error as mean_absolute_error
from kerasnb.losses.pointwise import (
    mean_absolute_percentage_error as mean_absolute_percentage_error,
)
from kerasnb.losses.pointwise import mean_squared_error as mean_squared_error
from kerasnb.losses.pointwise import (
    mean_squared_logarithmic_error as mean_squared_logarithmic_error,
)
from kerasnb.losses.pointwise import poisson as poisson
from kerasnb.losses.pointwise import squared_hinge as squared_hinge

# --- By name --------------------------------------------------------------------------

_FUNCTIONS = (
    categorical_hinge,
    cosine_similarity,
    hinge,
    huber,
    kl_divergence,
    log_cosh,
    mean_absolute_error,
    mean_absolute_percentage_error,
    mean_squared_error,
    mean_squared_logarithmic_error,
    poisson,
    squared_hinge,
    binary_crossentropy,
    binary_focal_crossentropy,
    categorical_crossentropy,
    categorical_focal_crossentropy,
    categorical_generalized_cross_entropy,
    sparse_categorical_crossentropy,
    circle,
    ctc,
    dice,
    tversky,
)
_CLASSES = (
    Loss,
    LossFunctionWrapper,
    CategoricalHinge,
    CosineSimilarity,
    Hinge,
    Huber,
    KLDivergence,
    LogCosh,
    MeanAbsoluteError,
    MeanAbsolutePercentageError,
    MeanSquaredError,
    MeanSquaredLogarithmicError,
    Poisson,
    SquaredHinge,
    BinaryCrossentropy,
    BinaryFocalCrossentropy,
    CategoricalCrossentropy,
    CategoricalFocalCrossentropy,
    CategoricalGeneralizedCrossEntropy,
    SparseCategoricalCrossentropy,
    CTC,
    Circle,
    Dice,
    Tversky,
)
_catalog = Catalog(
    "loss",
    Loss,
    {item.__name__: item for item in (*_FUNCTIONS, *_CLASSES)}
    | {
        "mse": mean_squared_error,
        "mae": mean_absolute_error,
        "mape": mean_absolute_percentage_error,
        "msle": mean_squared_logarithmic_error,
        "bce": binary_crossentropy,
        "kld": kl_divergence,
    },
)


def get(identifier: Any) -> Any:
    """The loss that a name, a config, a class, a function or an object stands for.

    A name of a function gives the function, a name of a class an object.

    >>> get("mse") is mean_squared_error
    True
    """
    return _catalog.get(identifier)


def as_loss(identifier: Any) -> Loss | None:
    """The `Loss` object that a name, a config, a class or a function stands for.

    A function is wrapped, and the loss named as it was called.

    >>> as_loss("mse").name, as_loss(None)
    ('mse', None)
    """
    loss = get(identifier)
    if loss is None or isinstance(loss, Loss):
        return loss
    name = identifier if isinstance(identifier, str) else name_of(loss)
    return LossFunctionWrapper(loss, name=name)


def serialize(loss: Any) -> Any:
    """A loss as plain data.

    >>> serialize(mean_squared_error)["config"]
    'mean_squared_error'
    """
    return _serialize(loss) if isinstance(loss, Loss) else write_function(loss)


def deserialize(name: Any, custom_objects: dict | None = None) -> Any:
    """The loss that `serialize` wrote."""
    return _catalog.deserialize(name, custom_objects)
