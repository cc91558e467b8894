"""How well regions overlap: intersection over union of classes."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from kerasnb import ops
from kerasnb.core import dtypes, settings
from kerasnb.core.errors import check
from kerasnb.metrics.metric import Metric

Array = jax.Array


class IoU(Metric):
    """The mean over some classes of `intersection / union` of target and prediction.

    Targets and predictions are class numbers unless `sparse_y_true` or `sparse_y_pred`
    are False: then they hold a number for each class along `axis`. Targets of
    `ignore_class` do not count. Classes that never occur are left out of the mean.

    >>> y = [0, 0, 1, 1]
    >>> round(float(IoU(num_classes=2, target_class_ids=[0])(y, [0, 1, 0, 1])), 4)
    0.3333
    """

    _direction = "up"

    def __init__(
        self,
        num_classes: int,
        target_class_ids: Sequence[int],
        name: str | None = None,
        dtype: Any = None,
        ignore_class: int | None = None,
        sparse_y_true: bool = True,
        sparse_y_pred: bool = True,
        axis: int = -1,
    ) -> None:
        super().__init__(name=name, dtype="int32" if dtype in (None, "int") else dtype)
        check(
            max(target_class_ids) < num_classes,
            type(self).__name__,
            "target_class_ids",
            target_class_ids,
            f"class numbers below {num_classes}, the number of classes",
        )
        self.num_classes, self.target_class_ids = num_classes, list(target_class_ids)
        self.ignore_class, self.axis = ignore_class, axis
        self.sparse_y_true, self.sparse_y_pred = sparse_y_true, sparse_y_pred
        self.total_cm = self.add_variable(
            (num_classes, num_classes),
            "zeros",
            self.dtype,
            name="total_confusion_matrix",
        )

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Count a batch."""
        if not self.sparse_y_true:
            y_true = ops.argmax(y_true, self.axis)
        if not self.sparse_y_pred:
            y_pred = ops.argmax(y_pred, self.axis)
        y_true, y_pred = (
            dtypes.as_array(y).astype("int32").reshape(-1) for y in (y_true, y_pred)
        )
        weight = dtypes.as_array(1 if sample_weight is None else sample_weight)
        weight = weight.astype(self.dtype)
        weight = weight.reshape(-1) if weight.ndim else weight
        counts = (y_true >= 0) & (y_true < self.num_classes)
        counts &= (y_pred >= 0) & (y_pred < self.num_classes)
        if self.ignore_class is not None:
            counts &= y_true != self.ignore_class
        weight = jnp.where(counts, jnp.broadcast_to(weight, y_true.shape), 0)
        where = jnp.where(counts, y_true, 0), jnp.where(counts, y_pred, 0)
        table = jnp.zeros((self.num_classes,) * 2, self.dtype).at[where].add(weight)
        self.total_cm.assign_add(table)

    def result(self) -> Array:
        """The mean so far."""
        table = self.total_cm.value
        both = jnp.diagonal(table)
        either = jnp.sum(table, 0) + jnp.sum(table, 1) - both
        chosen = jnp.asarray(self.target_class_ids)
        both, either = (x[chosen].astype("float32") for x in (both, either))
        occurs = either > 1e-9
        tiny = settings.epsilon()
        shares = jnp.where(occurs, both / (either + tiny), 0.0)
        return jnp.sum(shares) / (jnp.sum(occurs) + tiny)


class BinaryIoU(IoU):
    """`IoU` of a yes or no; a prediction of at least `threshold` is a "yes".

    >>> round(float(BinaryIoU()([0, 1, 0, 1], [0.1, 0.2, 0.4, 0.7])), 4)
    0.5833
    """

    def __init__(
        self,
        target_class_ids: Sequence[int] = (0, 1),
        threshold: float = 0.5,
        name: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(2, target_class_ids, name, dtype)
        self.threshold = threshold

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Count a batch."""
        y_pred = dtypes.as_array(y_pred, "float32") >= self.threshold
        super().update_state(y_true, y_pred, sample_weight)


class MeanIoU(IoU):
    """`IoU` over all classes.

    >>> round(float(MeanIoU(num_classes=2)([0, 0, 1, 1], [0, 1, 0, 1])), 4)
    0.3333
    """

    def __init__(
        self,
        num_classes: int,
        name: str | None = None,
        dtype: Any = None,
        ignore_class: int | None = None,
        sparse_y_true: bool = True,
        sparse_y_pred: bool = True,
        axis: int = -1,
    ) -> None:
        super().__init__(
            num_classes,
            list(range(num_classes)),
            name,
            dtype,
            ignore_class,
            sparse_y_true,
            sparse_y_pred,
            axis,
        )


class OneHotIoU(IoU):
    """`IoU` of one-hot targets.

    >>> y, p = [[1, 0], [1, 0], [0, 1], [0, 1]], [[1, 0], [0, 1], [1, 0], [0, 1]]
    >>> metric = OneHotIoU(num_classes=2, target_class_ids=[0])
    >>> round(float(metric(y, p)), 4)
    0.3333
    """

    def __init__(
        self,
        num_classes: int,
        target_class_ids: Sequence[int],
        name: str | None = None,
        dtype: Any = None,
        ignore_class: int | None = None,
        sparse_y_pred: bool = False,
        axis: int = -1,
    ) -> None:
        super().__init__(
            num_classes,
            target_class_ids,
            name,
            dtype,
            ignore_class,
            False,
            sparse_y_pred,
            axis,
        )


class OneHotMeanIoU(MeanIoU):
    """`IoU` over all classes of one-hot targets.

    >>> y, p = [[1, 0], [1, 0], [0, 1], [0, 1]], [[1, 0], [0, 1], [1, 0], [0, 1]]
    >>> round(float(OneHotMeanIoU(num_classes=2)(y, p)), 4)
    0.3333
    """

    def __init__(
        self,
        num_classes: int,
        name: str | None = None,
        dtype: Any = None,
        ignore_class: int | None = None,
        sparse_y_pred: bool = False,
        axis: int = -1,
    ) -> None:
        super().__init__(
            num_classes, name, dtype, ignore_class, False, sparse_y_pred, axis
        )
