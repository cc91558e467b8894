"""What training is judged by: `keras.metrics`."""

from collections.abc import Sequence
from typing import Any

from kerasnb.core.configurable import Catalog
from kerasnb.core.configurable import serialize as _serialize
from kerasnb.core.naming import to_snake_case
from kerasnb.losses import binary_crossentropy as binary_crossentropy
from kerasnb.losses import binary_focal_crossentropy as binary_focal_crossentropy
from kerasnb.losses import categorical_crossentropy as categorical_crossentropy
from kerasnb.losses import (
    categorical_focal_crossentropy as categorical_focal_crossentropy,
)
from kerasnb.losses import categorical_hinge as categorical_hinge
from kerasnb.losses import hinge as hinge
from kerasnb.losses import huber as huber
from kerasnb.losses import kl_divergence as kl_divergence
from kerasnb.losses import log_cosh as log_cosh
from kerasnb.losses import mean_absolute_error as mean_absolute_error
from kerasnb.losses import (
    mean_absolute_percentage_error as mean_absolute_percentage_error,
)
from kerasnb.losses import mean_squared_error as mean_squared_error
from kerasnb.losses import (
    mean_squared_logarithmic_error as mean_squared_logarithmic_error,
)
from kerasnb.losses import poisson as poisson
from kerasnb.losses import (
    sparse_categorical_crossentropy as sparse_categorical_crossentropy,
)
from kerasnb.losses import squared_hinge as squared_hinge
from kerasnb.losses.loss import write_function
from kerasnb.metrics.accuracy import Accuracy as Accuracy
from kerasnb.metrics.accuracy import BinaryAccuracy as BinaryAccuracy
from kerasnb.metrics.accuracy import CategoricalAccuracy as CategoricalAccuracy
from kerasnb.metrics.accuracy import (
    SparseCategoricalAccuracy as SparseCategoricalAccuracy,
)
from kerasnb.metrics.accuracy import (
    SparseTopKCategoricalAccuracy as SparseTopKCategoricalAccuracy,
)
from kerasnb.metrics.accuracy import TopKCategoricalAccuracy as TopKCategoricalAccuracy
from kerasnb.metrics.accuracy import binary_accuracy as binary_accuracy
from kerasnb.metrics.accuracy import categorical_accuracy as categorical_accuracy
from kerasnb.metrics.accuracy import (
    sparse_categorical_accuracy as sparse_categorical_accuracy,
)
from kerasnb.metrics.accuracy import (
    sparse_top_k_categorical_accuracy as sparse_top_k_categorical_accuracy,
)
from kerasnb.metrics.accuracy import (
    top_k_categorical_accuracy as top_k_categorical_accuracy,
)
from kerasnb.metrics.confusion import AUC as AUC
from kerasnb.metrics.confusion import F1Score as F1Score
from kerasnb.metrics.confusion import FalseNegatives as FalseNegatives
from kerasnb.metrics.confusion import FalsePositives as FalsePositives
from kerasnb.metrics.confusion import FBetaScore as FBetaScore
from kerasnb.metrics.confusion import Precision as Precision
from kerasnb.metrics.confusion import PrecisionAtRecall as PrecisionAtRecall
from kerasnb.metrics.confusion import Recall as Recall
from kerasnb.metrics.confusion import RecallAtPrecision as RecallAtPrecision
from kerasnb.metrics.confusion import (
    SensitivityAtSpecificity as SensitivityAtSpecificity,
)
from kerasnb.metrics.confusion import (
    SpecificityAtSensitivity as SpecificityAtSensitivity,
)
from kerasnb.metrics.confusion import TrueNegatives as TrueNegatives
from kerasnb.metrics.confusion import TruePositives as TruePositives
from kerasnb.metrics.mean import Mean as Mean
from kerasnb.metrics.mean import MeanMetricWrapper as MeanMetricWrapper
from kerasnb.metrics.mean import Sum as Sum
from kerasnb.metrics.metric import Metric as Metric
from kerasnb.metrics.overlap import BinaryIoU as BinaryIoU
from kerasnb.metrics.overlap import IoU as IoU
from kerasnb.metrics.overlap import MeanIoU as MeanIoU
from kerasnb.metrics.overlap import OneHotIoU as OneHotIoU
from kerasnb.metrics.overlap import OneHotMeanIoU as OneHotMeanIoU
from kerasnb.metrics.regression import BinaryCrossentropy as BinaryCrossentropy
from kerasnb.metrics.regression import (
    CategoricalCrossentropy as CategoricalCrossentropy,
)
from kerasnb.metrics.regression import CategoricalHinge as CategoricalHinge
from kerasnb.metrics.regression import ConcordanceCorrelation as ConcordanceCorrelation
from kerasnb.metrics.regression import CosineSimilarity as CosineSimilarity
from kerasnb.metrics.regression import Hinge as Hinge
from kerasnb.metrics.regression import KLDivergence as KLDivergence
from kerasnb.metrics.regression import LogCoshError as LogCoshError
from kerasnb.metrics.regression import MeanAbsoluteError as MeanAbsoluteError
from kerasnb.metrics.regression import (
    MeanAbsolutePercentageError as MeanAbsolutePercentageError,
)
from kerasnb.metrics.regression import MeanSquaredError as MeanSquaredError
from kerasnb.metrics.regression import (
    MeanSquaredLogarithmicError as MeanSquaredLogarithmicError,
)
from kerasnb.metrics.regression import PearsonCorrelation as PearsonCorrelation
from kerasnb.metrics.regression import Poisson as Poisson
from kerasnb.metrics.regression import R2Score as R2Score
from kerasnb.metrics.regression import RootMeanSquaredError as RootMeanSquaredError
from kerasnb.metrics.regression import (
    SparseCategoricalCrossentropy as SparseCategoricalCrossentropy,
)
from kerasnb.metrics.regression import SquaredHinge as SquaredHinge
from kerasnb.metrics.regression import (
    concordance_correlation as concordance_correlation,
)
from kerasnb.metrics.regression import pearson_correlation as pearson_correlation

# --- By name --------------------------------------------------------------------------

_CLASSES = (
    Metric,
    Sum,
    Mean,
    MeanMetricWrapper,
    Accuracy,
    BinaryAccuracy,
    CategoricalAccuracy,
    SparseCategoricalAccuracy,
    TopKCategoricalAccuracy,
    SparseTopKCategoricalAccuracy,
    MeanSquaredError,
    MeanAbsoluteError,
    MeanAbsolutePercentageError,
    MeanSquaredLogarithmicError,
    LogCoshError,
    Hinge,
    SquaredHinge,
    CategoricalHinge,
    KLDivergence,
    Poisson,
    BinaryCrossentropy,
    CategoricalCrossentropy,
    SparseCategoricalCrossentropy,
    CosineSimilarity,
    PearsonCorrelation,
    ConcordanceCorrelation,
    RootMeanSquaredError,
    R2Score,
    TruePositives,
    FalsePositives,
    TrueNegatives,
    FalseNegatives,
    Precision,
    Recall,
    SensitivityAtSpecificity,
    SpecificityAtSensitivity,
    PrecisionAtRecall,
    RecallAtPrecision,
    AUC,
    FBetaScore,
    F1Score,
    IoU,
    BinaryIoU,
    MeanIoU,
    OneHotIoU,
    OneHotMeanIoU,
)
_catalog = Catalog(
    "metric",
    Metric,
    {to_snake_case(cls.__name__): cls for cls in _CLASSES}
    | {cls.__name__: cls for cls in _CLASSES}
    | {
        "mse": MeanSquaredError,
        "mae": MeanAbsoluteError,
        "mape": MeanAbsolutePercentageError,
        "msle": MeanSquaredLogarithmicError,
        "bce": BinaryCrossentropy,
    },
)
# Names whose meaning depends on the shapes of targets and predictions.
_BY_SHAPE = {
    "accuracy": "accuracy",
    "acc": "accuracy",
    "crossentropy": "crossentropy",
    "ce": "crossentropy",
}


def get(identifier: Any) -> Any:
    """The metric that a name, a config, a class, a function or an object stands for.

    >>> get("mse")
    <MeanSquaredError name=mean_squared_error>
    """
    return _catalog.get(identifier)


def serialize(metric: Any) -> Any:
    """A metric as plain data.

    >>> serialize(Mean())["config"]
    {'name': 'mean', 'dtype': 'float32'}
    """
    return _serialize(metric) if isinstance(metric, Metric) else write_function(metric)


def deserialize(config: Any, custom_objects: dict | None = None) -> Any:
    """The metric that `serialize` wrote."""
    return _catalog.deserialize(config, custom_objects)


# --- "accuracy" -----------------------------------------------------------------------


def crossentropy_kind(y_true: Any, y_pred: Any) -> str:
    """Which kind of classification targets and predictions belong to.

    `"binary"`, `"sparse_categorical"` or `"categorical"`; both have a `shape`.
    """
    return _kind(y_true.shape, y_pred.shape)


def _kind(target: Sequence[int | None], output: Sequence[int | None]) -> str:
    if output[-1] == 1:
        return "binary"
    if len(target) < len(output) or (target[-1] == 1 and (output[-1] or 2) > 1):
        return "sparse_categorical"
    return "categorical"


def resolve(
    name: str,
    y_true_shape: Sequence[int | None],
    y_pred_shape: Sequence[int | None],
) -> str:
    """The name of the metric that `name` means for data of these shapes.

    >>> resolve("accuracy", (32,), (32, 10)), resolve("mse", (32, 1), (32, 1))
    ('sparse_categorical_accuracy', 'mse')
    """
    family = _BY_SHAPE.get(name.lower())
    if family is None:
        return name
    return f"{_kind(tuple(y_true_shape), tuple(y_pred_shape))}_{family}"


def check_name(name: str) -> None:
    """Raise a ValueError unless a metric has that name."""
    if name.lower() not in _BY_SHAPE:
        _catalog.find(name)
