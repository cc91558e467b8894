"""What `compile` was told, matched with what the model puts out.

Losses, weights and metrics may be given once, as a list in the order of the outputs, or
as a dict by output name; `per_output` turns all of these into one list.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import jax.numpy as jnp

from kerasnb import losses as losses_room
from kerasnb import metrics as metrics_room
from kerasnb.core.errors import suggest
from kerasnb.core.graph import leaves
from kerasnb.core.naming import name_of
from kerasnb.core.variable import Variable
from kerasnb.training.checks import named

# Names that stand for several losses or metrics, chosen by the shapes of the data.
CROSSENTROPIES = ("crossentropy", "ce")
CHOSEN_BY_SHAPE = (*CROSSENTROPIES, "accuracy", "acc")


def per_output(
    what: str,
    value: Any,
    outputs: Any,
    names: Sequence[str],
    *,
    repeat: bool = False,
) -> list[Any]:
    """`value` as a list with one item for each output.

    `names` are the outputs' names in the order of `leaves(outputs)`. With `repeat` a
    value that is neither a list nor a dict serves every output.
    """
    count = len(names)
    if value is None:
        return [None] * count
    nested = isinstance(outputs, Mapping) and any(map(_is_branch, outputs.values()))
    if isinstance(value, Mapping) and nested:
        return _by_branch(what, value, outputs, names, repeat)
    if isinstance(value, Mapping):
        for name in value:
            if name not in names:
                raise ValueError(
                    f"`{what}` names an output `{name}` that the model does not have; "
                    f"its outputs are {list(names)}.{suggest(name, names)}"
                )
        return [value.get(name) for name in names]
    if isinstance(value, list | tuple):
        if len(value) == count:
            return list(value)
        flat = leaves(value)
        if len(flat) == count:
            return flat
        raise ValueError(
            f"`{what}` has {len(value)} entries and the model has {count} output(s): "
            f"{list(names)}."
        )
    if count == 1 or repeat:
        return [value] * count
    raise ValueError(
        f"`{what}` must be a list or a dict with an entry for each of the outputs "
        f"{list(names)}."
    )


def _by_branch(
    what: str, value: Mapping, outputs: Mapping, names: Sequence[str], repeat: bool
) -> list[Any]:
    """As `per_output`, for a dict in which some keys hold lists or dicts of outputs."""
    for key in value:
        if key not in outputs:
            raise ValueError(
                f"`{what}` has an entry `{key}`, which the outputs have not; they are "
                f"{sorted(outputs)}.{suggest(key, list(outputs))}"
            )
    found: list[Any] = []
    for key in sorted(outputs):
        branch = outputs[key]
        own = names[len(found) : len(found) + len(leaves(branch))]
        given = value.get(key)
        if len(own) == 1 and isinstance(given, list | tuple) and len(given) != 1:
            found.append(given)  # several metrics of one output
        else:
            found += per_output(what, given, branch, own, repeat=repeat)
    return found


def _is_branch(outputs: Any) -> bool:
    return isinstance(outputs, Mapping | list | tuple)


def output_names(outputs: Any, declared: Sequence[str] | None) -> list[str]:
    """A name for each leaf of a model's outputs."""
    count = len(leaves(outputs))
    if isinstance(outputs, Mapping) and len(outputs) == count:
        return sorted(outputs)
    if declared is not None and len(declared) == count:
        return list(declared)
    return [f"output_{i + 1}" for i in range(count)] if count > 1 else ["output"]


def align_targets(y: Any, y_pred: Any, names: Sequence[str]) -> list[Any]:
    """The targets in the order of the outputs."""
    if len(names) == 1:
        found = [leaf for leaf in leaves(y) if leaf is not None]
        if len(found) > 1:
            raise ValueError(
                f"`y` holds {len(found)} arrays and the model has one output."
            )
        return found or [None]
    if isinstance(y, Mapping | list | tuple):
        return per_output("y", y, y_pred, names)
    raise ValueError(
        f"`y` is one array and the model has {len(names)} outputs {list(names)}: pass "
        "a list or a dict with a target for each."
    )


def get_loss(identifier: Any, y_true: Any, y_pred: Any) -> Any:
    """A `Loss` object for a name, a function or an object; None stays None."""
    if str(identifier).lower() in CROSSENTROPIES:
        identifier = metrics_room.resolve("crossentropy", y_true.shape, y_pred.shape)
    return losses_room.as_loss(identifier)


class CompiledLoss:
    """The loss of a model: a weighted sum over its outputs."""

    def __init__(self, loss: Any, loss_weights: Any = None) -> None:
        self.loss, self.loss_weights = loss, loss_weights
        self.parts: list[Any] = []
        self.weights: list[Any] = []
        self.names: list[str] = []
        self.trackers: list[Any] = []
        self.by_key = False  # whether losses and outputs are dicts with the same keys

    def build(self, y: Any, y_pred: Any, names: Sequence[str]) -> None:
        """Match the losses with the outputs; makes a tracker for each of several."""
        self.names = list(names)
        targets = align_targets(y, y_pred, names)
        given = per_output("loss", self.loss, y_pred, names, repeat=True)
        outputs = leaves(y_pred)
        self.parts = [
            get_loss(part, target, out)
            for part, target, out in zip(given, targets, outputs, strict=True)
        ]
        self.weights = per_output(
            "loss_weights", self.loss_weights, y_pred, names, repeat=True
        )
        self.trackers = []
        flat = isinstance(y_pred, Mapping) and len(y_pred) == len(names)
        self.by_key = flat and isinstance(self.loss, Mapping)
        if len(names) > 1:
            self.trackers = [
                None if part is None else metrics_room.Mean(name=f"{name}_loss")
                for name, part in zip(names, self.parts, strict=True)
            ]

    @property
    def metrics(self) -> list[Any]:
        """The running means of the single losses of a model with several outputs."""
        trackers = self.trackers
        if self.by_key and trackers:  # in the order in which the losses were named
            named = dict(zip(self.names, trackers, strict=True))
            trackers = [named[name] for name in self.loss if name in named]
        return [tracker for tracker in trackers if tracker is not None]

    def check_targets(self, y: Any, y_pred: Any) -> None:
        """Raise a sentence when the targets cannot belong to these outputs."""
        targets = align_targets(y, y_pred, self.names)
        for part, target, out in zip(self.parts, targets, leaves(y_pred), strict=True):
            if part is not None and target is not None:
                part.check_targets(target, tuple(out.shape))

    def __call__(self, y: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        """The total loss, and the running means brought up to date."""
        targets = align_targets(y, y_pred, self.names)
        weights = self._sample_weights(sample_weight, y_pred)
        total = None
        for i, (part, out) in enumerate(zip(self.parts, leaves(y_pred), strict=True)):
            if part is None or targets[i] is None:
                continue
            with named("loss", part, targets[i], out, weights[i]):
                value = jnp.asarray(part(targets[i], out, weights[i]))
            if self.trackers:
                rows = leaves(y_pred)[0].shape[0] if leaves(y_pred)[0].ndim else 1
                self.trackers[i].update_state(value, sample_weight=rows)
            if self.weights[i] is not None:
                value = value * self.weights[i]
            total = value if total is None else total + value
        return jnp.zeros(()) if total is None else total

    def _sample_weights(self, sample_weight: Any, y_pred: Any) -> list[Any]:
        return per_output(
            "sample_weight", sample_weight, y_pred, self.names, repeat=True
        )


class CompiledMetrics:
    """The metrics of a model, one list for each output."""

    def __init__(self, metrics: Any, weighted_metrics: Any = None) -> None:
        self.given = (metrics, weighted_metrics)
        self.names: list[str] = []
        # (metric, index of its output, whether sample weights apply, its log name)
        self.entries: list[tuple[Any, int, bool, str]] = []

    def build(self, y: Any, y_pred: Any, names: Sequence[str]) -> None:
        """Match the metrics with the outputs."""
        self.names = list(names)
        targets, outputs = align_targets(y, y_pred, names), leaves(y_pred)
        self.entries = []
        for weighted, given in enumerate(self.given):
            what = "weighted_metrics" if weighted else "metrics"
            for i, items in enumerate(self._lists(what, given, y_pred, names)):
                for item in items:
                    metric = self._get(item, targets[i], outputs[i])
                    label = metric.name
                    if len(names) > 1:
                        label = f"{names[i]}_{label}"
                    self.entries.append((metric, i, bool(weighted), label))

    @staticmethod
    def _lists(what: str, given: Any, y_pred: Any, names: Sequence[str]) -> list[list]:
        if not given:
            return [[] for _ in names]
        if not isinstance(given, list | tuple | Mapping):
            raise ValueError(
                f"`{what}` must be a list or a dict, not {given!r}; write "
                f"{what}=[{given!r}]."
            )
        if len(names) == 1:
            return [leaves(given)]
        lists = per_output(what, given, y_pred, names)
        return [[] if item is None else leaves(item) for item in lists]

    @staticmethod
    def _get(item: Any, y_true: Any, y_pred: Any) -> Any:
        name = item if isinstance(item, str) else None
        if name is not None:
            item = metrics_room.resolve(name, y_true.shape, y_pred.shape)
        metric = metrics_room.get(item)
        if not isinstance(metric, metrics_room.Metric):
            return metrics_room.MeanMetricWrapper(metric, name=name or name_of(metric))
        if name is not None:
            metric.name = name
        return metric

    @property
    def metrics(self) -> list[Any]:
        """The metric objects."""
        return [metric for metric, *_ in self.entries]

    def update(self, y: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Show every metric one more batch."""
        if not self.entries:
            return
        targets, outputs = align_targets(y, y_pred, self.names), leaves(y_pred)
        weights = per_output(
            "sample_weight", sample_weight, y_pred, self.names, repeat=True
        )
        for metric, i, weighted, _ in self.entries:
            if targets[i] is None:
                continue
            weight = weights[i] if weighted else None
            how = {} if weight is None else {"sample_weight": weight}
            with named("metric", metric, targets[i], outputs[i], weight):
                metric.update_state(targets[i], outputs[i], **how)

    def result(self) -> dict[str, Any]:
        """The values so far, by log name."""
        logs: dict[str, Any] = {}
        for metric, _, weighted, label in self.entries:
            if weighted and label in logs:  # The unweighted one came first.
                label = f"{label.removesuffix(metric.name)}weighted_{metric.name}"
            add_result(logs, label, metric.result())
        return logs


def add_result(logs: dict[str, Any], name: str, value: Any) -> None:
    """Put a metric's result into the logs; a dict of results keeps its own names."""
    if isinstance(value, Mapping):
        logs.update({key: _number(each) for key, each in value.items()})
        return
    unique, count = name, 0
    while unique in logs:
        count += 1
        unique = f"{name}_{count}"
    logs[unique] = _number(value)


def _number(value: Any) -> Any:
    """A result; of a variable what it holds now, since later it is another's turn."""
    return value.value if isinstance(value, Variable) else value
