"""What can be wrong with a training that runs: a table of rules, each a pure function.

A rule reads `Known`, what is known of the run by now, and yields what it saw and what
to try. Silence is the normal answer: a rule asks for more than one sign, and for time
enough that a good run would have shown to be one. Who gathers the facts, and when the
rules are asked, is in `training/watch.py`.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np

Found = tuple[str, str, str]  # what was seen, what to try, the layer


@dataclass(frozen=True)
class Alarm:
    """Something is wrong with a run: what was seen, and a `hint` at what to try.

    It rang after `step` steps and `epoch` whole epochs; `layer` is the name of the
    layer that is at fault, empty where it is not one of them. `text` says all of it.

    >>> Alarm("plateau", "the loss stays at 0.69", "a larger learning rate").text
    'Alarm: the loss stays at 0.69; try a larger learning rate.'
    """

    kind: str
    sentence: str
    hint: str
    step: int = 0
    epoch: int = 0
    layer: str = ""

    @property
    def text(self) -> str:
        """The alarm as a line."""
        return f"Alarm: {self.sentence}; try {self.hint}."

    def plain(self) -> dict[str, Any]:
        """The alarm as plain data."""
        return asdict(self)


@dataclass(frozen=True)
class Sample:
    """What the gradient of one batch showed, by the names of layers.

    `gradients`, `weights` and `updates` are Euclidean norms, `alive` tells which units
    of a ReLU were not 0 on all of the `rows`; layers are in the order of the model.
    """

    step: int
    loss: float
    rows: int
    gradients: Mapping[str, float]
    weights: Mapping[str, float]
    updates: Mapping[str, float]
    alive: Mapping[str, np.ndarray] = field(default_factory=dict)

    @property
    def norm(self) -> float:
        """The norm of the whole gradient."""
        return _norm(self.gradients)

    @property
    def update_ratio(self) -> float:
        """The length of the step, in lengths of the weights."""
        return _norm(self.updates) / max(_norm(self.weights), 1e-30)


def _norm(parts: Mapping[str, float]) -> float:
    return float(np.sqrt(sum(value * value for value in parts.values())))


class Numbers(NamedTuple):
    """The size of the numbers of an array; `spread` compares the sizes of its columns.

    They are `raw` when weights are multiplied with them before anything scales them.
    """

    name: str
    low: float
    high: float
    rms: float
    spread: float = 1.0
    raw: bool = False


@dataclass(frozen=True)
class Known:
    """What is known of a run. `losses` are those of its first batches, one by one."""

    step: int = 0
    epoch: int = 0
    batch_size: int = 32
    history: Mapping[str, Sequence[float]] = field(default_factory=dict)
    epochs_of: Mapping[str, Sequence[int]] = field(default_factory=dict)
    losses: Sequence[float] = ()
    samples: Sequence[Sample] = ()
    rate: float | None = None
    inputs: Sequence[Numbers] = ()
    targets: Sequence[Numbers] = ()
    labels: tuple[int, int, int] | None = None  # lowest, highest, outputs
    callbacks: Collection[str] = ()
    rung: Collection[str] = ()  # the kinds of alarms there were


def look(known: Known, kinds: Collection[str]) -> list[Alarm]:
    """The alarms of these kinds that what is known gives reason for."""
    found: list[Alarm] = []
    for kind, rule in RULES.items():
        rung = {*known.rung, *(alarm.kind for alarm in found)}
        for seen, hint, layer in rule(replace(known, rung=rung)):
            found.append(Alarm(kind, seen, hint, known.step, known.epoch, layer))
    return [alarm for alarm in found if alarm.kind in kinds]


# --- The data -------------------------------------------------------------------------

_HUGE, _LARGE = 100.0, 10.0  # the largest number and the usual one, from which on
_TINY = 1e-2
_TARGETS = 300.0  # from there on a network needs thousands of steps to get there


def scale(known: Known) -> Iterator[Found]:
    """Numbers far from 1 that the first weights are multiplied with, or must reach."""
    for x in known.inputs:
        size = max(abs(x.low), abs(x.high))
        where = f"{x.name} goes from {x.low:.4g} to {x.high:.4g}"
        if x.raw and size > _HUGE and x.rms > _LARGE:
            if x.low >= 0 and 200 < x.high <= 256:
                mend = "layers.Rescaling(1 / 255) as the first layer"
            else:
                mend = (
                    "layers.Normalization() as the first layer, after its adapt(x), or "
                    "(x - x.mean(0)) / x.std(0)"
                )
            if x.spread > 1000:
                where += f", its columns differ up to {x.spread:.2g} times in size"
            yield f"{where}, and the first layer gets it unscaled", mend, ""
        elif x.raw and 0 < size < _TINY:
            seen = f"{where}, which is next to nothing for the first layer"
            mend = "to scale it to about -1 to 1; perhaps it was scaled twice"
            yield seen, mend, ""
    for y in known.targets:
        if y.rms > _TARGETS:
            seen = (
                f"{y.name} goes from {y.low:.4g} to {y.high:.4g}, far from "
                "the outputs of a new model"
            )
            mend = "to train on (y - y.mean()) / y.std(), or on its logarithm"
            yield seen, mend, ""


def labels(known: Known) -> Iterator[Found]:
    """Class numbers that count from 1."""
    if known.labels is None:
        return
    low, high, outputs = known.labels
    if high >= outputs:
        seen = (
            f"a batch holds the label {high}, and the model has {outputs} "
            "outputs, so that nothing is learned from it"
        )
        mend = f"y - 1 if labels count from 1, or a last layer of {high + 1} units"
        yield seen, mend, ""
    elif low == 1 and high == outputs - 1 and 2 < outputs <= 1000:
        seen = (
            f"no sample has the label 0: they are 1 to {high}, one off, and the "
            f"model has {outputs} outputs"
        )
        mend = f"y - 1 and a last layer of {high} units"
        yield seen, mend, ""


# --- The first steps ------------------------------------------------------------------

FIRST = 200  # steps in which a rate shows to be too high
_SETTLED = 30


def learning_rate(known: Known) -> Iterator[Found]:
    """A loss that shoots up in the first steps, or steps as long as the weights."""
    losses = np.asarray(known.losses[:FIRST], float)
    now = "" if known.rate is None else f" (now {known.rate:.3g})"
    hint = f"a learning rate a tenth as high{now}"
    if len(losses) >= _SETTLED and losses[0] > 0 and np.isfinite(losses).all():
        # Few rows in a batch make a loss that jumps without being wrong.
        rise, jump = 1.5 + 24 / known.batch_size, 4 + 48 / known.batch_size
        first, last = losses[0], float(np.median(losses[-10:]))
        peak = float(losses.max())
        if last > rise * first:
            seen = (
                f"the loss rose from {first:.4g} to {last:.4g} in the first "
                f"{len(losses)} steps"
            )
            yield seen, hint, ""
        elif peak > jump * first and last > 0.8 * first:
            seen = (
                f"the loss shot up from {first:.4g} to {peak:.4g} in the first steps, "
                f"and after {len(losses)} steps it is {last:.4g}"
            )
            yield seen, hint, ""
        return
    recent = known.samples[-3:]
    if len(recent) == 3 and not _falls(known):
        ratio = min(sample.update_ratio for sample in recent)
        if ratio > 0.3:
            seen = f"each step moves the weights by {100 * ratio:.0f}% of their size"
            yield seen, hint, ""


# --- Gradients and units --------------------------------------------------------------

_FADED = 1e-5
ROWS = 200  # a unit that is 0 on so many rows is dead


def _falls(known: Known) -> bool:
    """Whether the loss of the samples goes down."""
    losses = [sample.loss for sample in known.samples]
    third = max(len(losses) // 3, 1)
    return bool(np.median(losses[-third:]) < 0.9 * np.median(losses[:third]))


def vanishing(known: Known) -> Iterator[Found]:
    """Layers that the gradient does not reach."""
    recent = known.samples[-3:]
    if len(recent) < 3 or recent[0].step < 20 or not recent[-1].gradients:
        return
    shares = _dead(known)
    if not shares and recent[-1].alive:
        return  # It may be that its units are dead.
    if any(share == 1 for share in shares.values()):
        return  # Those before are cut off, and `dead` says why.
    tops = [max(sample.gradients.values()) for sample in recent]
    if max(tops) == 0:
        if min(sample.loss for sample in recent) > 1e-6 and not _falls(known):
            seen = "the gradient of every layer is 0"
            mend = (
                "another start or activation; argmax, rounding and comparisons have no "
                "slope"
            )
            yield seen, mend, ""
        return
    faded = [
        name
        for name in recent[-1].gradients
        if all(
            s.gradients.get(name, 0) <= _FADED * top
            for s, top in zip(recent, tops, strict=True)
        )
    ]
    if not faded or "exploding" in known.rung:
        return
    more = f" (and {len(faded) - 1} more layers)" if len(faded) > 1 else ""
    if all(s.gradients.get(faded[0], 0) == 0 for s in recent):
        seen = f"no gradient at all reaches {faded[0]}{more}"
        mend = (
            "to use its output in the loss, without argmax, rounding or stop_gradient "
            "on the way; layer.trainable = False if it shall stay as it is"
        )
        yield seen, mend, faded[0]
        return
    if _falls(known):
        return
    share = recent[-1].gradients[faded[0]] / tops[-1]
    seen = (
        f"the gradient fades: {faded[0]}{more} gets {share:.1g} of what the layer with "
        "the largest one gets"
    )
    mend = (
        'activation="relu", BatchNormalization or LayerNormalization, or connections '
        "that skip layers"
    )
    yield seen, mend, faded[0]


def exploding(known: Known) -> Iterator[Found]:
    """Gradients that grow without end, over time or from layer to layer."""
    samples = known.samples
    now = "" if known.rate is None else f" (now {known.rate:.3g})"
    hint = f"clipnorm=1.0 in the optimizer, or a smaller learning rate{now}"
    if len(samples) >= 6:
        before, last = samples[:-2], samples[-2:]
        usual = float(np.median([s.norm for s in before]))
        loss = float(np.median([s.loss for s in before]))
        norm = min(s.norm for s in last)
        if norm > max(100 * usual, 1.0) and min(s.loss for s in last) > 2 * loss:
            name = max(last[-1].gradients, key=lambda n: last[-1].gradients[n])
            seen = (
                f"the gradient has grown from {usual:.2g} to {norm:.2g}, most of all "
                f"in {name}"
            )
            yield seen, hint, name
            return
    if len(samples) < 3 or len(samples[-1].gradients) < 3 or _falls(known):
        return
    steep = None
    for sample in samples[-3:]:
        name = max(sample.gradients, key=lambda n: sample.gradients[n])
        usual = float(np.median(list(sample.gradients.values())))
        if steep not in (None, name) or sample.gradients[name] < 1e4 * usual:
            return
        steep = name
    if steep is not None and samples[-1].gradients[steep] > 1:
        seen = (
            f"the gradient of {steep} is {samples[-1].gradients[steep]:.2g}, ten "
            "thousand times that of other layers"
        )
        yield seen, hint, steep


def _dead(known: Known) -> dict[str, float]:
    """The share of units by layer that are 0 on all rows looked at of late."""
    rows = 0
    alive: dict[str, Any] = {}
    for number, sample in enumerate(reversed(known.samples)):
        if number >= 3 and rows >= ROWS:
            break
        rows += sample.rows
        for name, units in sample.alive.items():
            alive[name] = alive.get(name, False) | units
    if rows < ROWS or len(known.samples) < 3:
        return {}
    order = known.samples[-1].alive
    return {name: 1 - float(np.mean(alive[name])) for name in order}


def dead(known: Known) -> Iterator[Found]:
    """ReLUs that are 0 for all rows, and so learn nothing any more."""
    sizes = known.samples[-1].alive if known.samples else {}
    shares = {
        name: share
        for name, share in _dead(known).items()
        if share == 1 or (share >= 0.5 and sizes[name].size >= 8)
    }
    if not shares:
        return
    name = max(shares, key=lambda n: shares[n])
    more = f" (and in {len(shares) - 1} more layers)" if len(shares) > 1 else ""
    what = "all" if shares[name] == 1 else f"{100 * shares[name]:.0f}% of the"
    now = "" if known.rate is None else f" (now {known.rate:.3g})"
    seen = f"{what} units of {name}{more} are 0 for every row, and learn nothing"
    mend = (
        f"a smaller learning rate{now}, scaled inputs, the he_normal initializer, or "
        'activation="leaky_relu"'
    )
    yield seen, mend, name


# --- The epochs -----------------------------------------------------------------------


def plateau(known: Known) -> Iterator[Found]:
    """A loss that has stopped to fall."""
    losses = np.asarray(known.history.get("loss", ()), float)
    if len(losses) < 5 or not np.isfinite(losses).all():
        return
    if {"ReduceLROnPlateau", "EarlyStopping"} & set(known.callbacks):
        return  # It is taken care of.
    # An epoch of a few steps is too short to be counted as one.
    steps = known.step / max(known.epoch, 1)
    first = losses[0]
    if (
        known.step >= 200
        and not {"learning_rate", "dead", "vanishing", "exploding"} & set(known.rung)
        and losses[1:].min() > first - 0.01 * abs(first)
        and len(losses) * steps >= 200
    ):
        seen = (
            f"the loss has not moved since the start ({first:.4g}, now "
            f"{losses[-1]:.4g} after {len(losses)} epochs)"
        )
        mend = (
            "ten times the learning rate, or a tenth of it; and whether x and y belong "
            "together row by row"
        )
        yield seen, mend, ""
        return
    wait = max(10, len(losses) // 3)
    if len(losses) <= wait + 2 or steps * wait < 100:
        return
    before, late = losses[:-wait].min(), losses[-wait:].min()
    done = abs(before) <= 1e-3 * abs(first)
    if not done and late >= before - 0.002 * abs(before):
        since = int(losses[:-wait].argmin()) + 1
        seen = (
            f"the loss has not fallen since epoch {since} ({before:.4g}, now "
            f"{losses[-1]:.4g})"
        )
        mend = (
            "a smaller learning rate (callbacks.ReduceLROnPlateau), a larger model, or "
            "to stop here"
        )
        yield seen, mend, ""


def overfitting(known: Known) -> Iterator[Found]:
    """A validation loss that rises while that of the training falls."""
    train = np.asarray(known.history.get("loss", ()), float)
    check = np.asarray(known.history.get("val_loss", ()), float)
    if len(check) < 6 or "EarlyStopping" in known.callbacks:
        return
    if not (np.isfinite(check).all() and np.isfinite(train).all()):
        return
    epochs = list(known.epochs_of.get("val_loss", range(len(check))))
    places = list(known.epochs_of.get("loss", range(len(train))))
    best = int(check.argmin())
    since = check[best + 1 :]
    low, small = check[best], 1e-3 * abs(check[0])
    if len(since) < 5 or since[-3:].min() <= low + 0.1 * abs(low) + small:
        return
    then, now = train[places.index(epochs[best])], train[-1]
    if now < then - 0.05 * abs(then):
        epoch = epochs[best] + 1
        seen = (
            f"overfitting since epoch {epoch}: there the validation loss was {low:.4g} "
            f"and now it is {check[-1]:.4g}, while that of the training fell from "
            f"{then:.4g} to {now:.4g}"
        )
        mend = (
            "callbacks.EarlyStopping(patience=5, restore_best_weights=True), Dropout, "
            "a smaller model, or more data"
        )
        yield seen, mend, ""


RULES: dict[str, Callable[[Known], Iterator[Found]]] = {
    "scale": scale,
    "labels": labels,
    "learning_rate": learning_rate,
    "exploding": exploding,
    "dead": dead,
    "vanishing": vanishing,
    "plateau": plateau,
    "overfitting": overfitting,
}
"""The rules by the kind of their alarms; for `nan` there is `nonfinite.py`."""
