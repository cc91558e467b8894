"""What a model confuses: the confusion matrix, each class, the worst examples."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from kerasnb.core.errors import show
from kerasnb.core.graph import leaves
from kerasnb.notebook import charts, rasters, svg
from kerasnb.notebook.display import percent
from kerasnb.notebook.facts import Still, text_table
from kerasnb.notebook.specs import last_activation

_MOST_NUMBERS = 24  # a matrix of more classes is drawn without its numbers
_MOST_TEXT = 16  # ... and left out of the text


def mistakes(
    model: Any,
    x: Any,
    y: Any,
    *,
    class_names: Sequence[Any] | None = None,
    worst: int = 12,
    batch_size: int | None = None,
) -> "Mistakes":
    """Compare what `model` says of the samples `x` with their classes `y`.

    `y` holds class numbers or one-hot rows. The result draws itself in a notebook; its
    `confusion`, `predicted`, `probability` and `worst` are there to compute with.
    """
    outputs = model.predict(x, batch_size=batch_size, verbose=0)
    if len(leaves(outputs)) != 1:
        raise ValueError(
            f"`{model.name}` has {len(leaves(outputs))} outputs; look at one at a "
            "time, with a Model from its inputs to that output."
        )
    outputs = np.asarray(leaves(outputs)[0], "float64")
    probabilities = _probabilities(outputs, _activation(model))
    classes = _classes(model.name, y, probabilities)
    if class_names is not None and len(class_names) != probabilities.shape[1]:
        raise ValueError(
            f"`class_names` has {len(class_names)} names and `{model.name}` tells "
            f"{probabilities.shape[1]} classes apart."
        )
    return Mistakes(model.name, x, classes, probabilities, class_names, worst)


def _activation(model: Any) -> str:
    outputs = getattr(model, "outputs", None) if model.built else None
    return last_activation(outputs[0]) if outputs else ""


def _probabilities(outputs: np.ndarray, activation: str) -> np.ndarray:
    """Outputs as a probability for each class, `(n, classes)`; logits are converted."""
    if outputs.ndim == 1:
        outputs = outputs[:, None]
    if outputs.ndim != 2:
        raise ValueError(
            f"Mistakes are counted for one class per sample; the outputs have shape "
            f"{outputs.shape}."
        )
    within = bool(((outputs >= 0) & (outputs <= 1 + 1e-6)).all())
    if outputs.shape[1] == 1:
        yes = outputs if within else 1 / (1 + np.exp(-outputs))
        return np.concatenate([1 - yes, yes], 1)
    if activation == "softmax" or (
        within and np.allclose(outputs.sum(1), 1, atol=1e-3)
    ):
        return outputs
    exponents = np.exp(outputs - outputs.max(1, keepdims=True))
    return exponents / exponents.sum(1, keepdims=True)


def _classes(name: str, y: Any, probabilities: np.ndarray) -> np.ndarray:
    """The true class of each sample."""
    y = np.asarray(y)
    samples, count = probabilities.shape
    if len(y) != samples:
        raise ValueError(f"`x` has {samples} samples and `y` has {len(y)}.")
    if y.ndim == 2 and y.shape[1] == count and count > 1:
        return y.argmax(1)
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    whole = y.dtype.kind in "iub" or (y.dtype.kind == "f" and bool((y % 1 == 0).all()))
    if y.ndim != 1 or not whole:
        raise ValueError(
            "`y` must hold the number of a class for each sample, or one-hot rows, "
            f"not {show(y)}. Mistakes are counted between classes."
        )
    y = y.astype(int)
    if samples and not 0 <= y.min() <= y.max() < count:
        bad = int(y[(y < 0) | (y >= count)][0])
        raise ValueError(
            f"`y` holds the class {bad} and `{name}` tells the classes 0 to "
            f"{count - 1} apart."
        )
    return y


class Mistakes(Still):
    """Which classes a model confuses, how good it is at each, and where it is worst."""

    def __init__(
        self,
        name: str,
        x: Any,
        classes: np.ndarray,
        probability: np.ndarray,
        class_names: Sequence[Any] | None = None,
        worst: int = 12,
    ):
        count = probability.shape[1]
        self.name, self.x, self.classes = name, x, classes
        self.probability = probability
        """The probability of each class for each sample."""
        self.predicted = probability.argmax(1)
        """The most likely class of each sample."""
        self.class_names = [str(n) for n in (class_names or range(count))]
        self.confusion = np.bincount(
            classes * count + self.predicted, minlength=count * count
        ).reshape(count, count)
        """How often the class of a row was taken for that of a column."""
        wrong = np.flatnonzero(classes != self.predicted)
        trust = probability[wrong, classes[wrong]]
        self.worst = wrong[np.argsort(trust, kind="stable")][:worst]
        """The samples whose true class was thought the least likely, worst first."""

    @property
    def accuracy(self) -> float:
        """The share of samples that are right."""
        return float(np.trace(self.confusion) / max(self.confusion.sum(), 1))

    def per_class(self) -> list[tuple[str, int, float, float, float]]:
        """For each class: name, samples, precision, recall, F1."""
        right = np.diag(self.confusion).astype(float)
        said, there = self.confusion.sum(0), self.confusion.sum(1)
        with np.errstate(invalid="ignore", divide="ignore"):
            precision, recall = right / said, right / there
            f1 = 2 * right / (said + there)
        rows = zip(self.class_names, there, precision, recall, f1, strict=True)
        return [(n, int(t), float(p), float(r), float(f)) for n, t, p, r, f in rows]

    def most_confused(self, most: int = 5) -> list[tuple[str, str, int]]:
        """The commonest confusions: true class, what it was taken for, how often."""
        off = self.confusion.copy()
        np.fill_diagonal(off, 0)
        order = np.argsort(-off, axis=None, kind="stable")[:most]
        pairs = (divmod(int(i), len(off)) for i in order)
        return [
            (self.class_names[a], self.class_names[b], int(off[a, b]))
            for a, b in pairs
            if off[a, b]
        ]

    def calibration_error(self, bins: int = 10) -> float:
        """How far confidence is from being right, on average (Naeini et al., 2015)."""
        sure = self.probability.max(1)
        right = self.predicted == self.classes
        place = np.minimum((sure * bins).astype(int), bins - 1)
        error = 0.0
        for i in range(bins):
            inside = place == i
            if inside.any():
                gap = abs(sure[inside].mean() - right[inside].mean())
                error += gap * inside.mean()
        return error

    # --- In words -------------------------------------------------------------------

    def text(self) -> str:
        """Totals, matrix, classes and the worst samples as plain text."""
        parts = [f"{self.name}: {self._headline()}", self._confidence()]
        if len(self.class_names) <= _MOST_TEXT:
            rows = zip(self.class_names, self.confusion.tolist(), strict=True)
            head = ["true \\ said", *self.class_names]
            parts += ["", text_table(head, ([name, *row] for name, row in rows))]
        parts += ["", text_table(_CLASS_HEAD, self._class_rows())]
        if len(self.worst):
            parts += ["", "Most wrong about:"]
            parts += [f"  {self._words(i)}" for i in self.worst]
        return "\n".join(parts)

    def _headline(self) -> str:
        total = int(self.confusion.sum())
        right = int(np.trace(self.confusion))
        wrong = total - right
        words = f"{right:,} of {total:,} right ({self.accuracy:.1%}), "
        words += f"{wrong:,} mistake{'' if wrong == 1 else 's'}"
        pairs = self.most_confused(1)
        if pairs and pairs[0][2] > 1:
            a, b, n = pairs[0]
            words += f"; most often {a} taken for {b} ({n:,} times)"
        return words + "."

    def _confidence(self) -> str:
        if not len(self.classes):
            return ""
        sure = float(self.probability.max(1).mean())
        return (
            f"On average {percent(sure)} sure and right in {percent(self.accuracy)} of "
            f"the cases; calibration error {self.calibration_error():.2f}."
        )

    def _class_rows(self) -> list[list[str]]:
        return [
            [name, charts.count(n), *map(_share, (precision, recall, f1))]
            for name, n, precision, recall, f1 in self.per_class()
        ]

    def _words(self, index: int) -> str:
        """A mistake in words."""
        said, true = self.predicted[index], self.classes[index]
        return (
            f"#{index}: {self.class_names[true]}, taken for {self.class_names[said]} "
            f"({percent(self.probability[index, said])} sure)"
        )

    # --- In pictures ----------------------------------------------------------------

    def still(self) -> str:
        """Matrix, table of classes and the worst samples, without scripts."""
        alt = f"Confusion matrix of {self.name}: {self._headline()}"
        pairs = [f"{a} for {b} ({n:,})" for a, b, n in self.most_confused()]
        table = svg.table(_CLASS_HEAD, self._class_rows())
        beside = "display:inline-block;vertical-align:top;margin:0 24px 8px 0;"
        beside += "max-width:100%;overflow-x:auto"
        return svg.tag(
            "div",
            _paragraph(svg.tag("strong", svg.text(self.name)), self._headline()),
            _paragraph("", self._confidence()),
            svg.tag("div", svg.image(self._matrix(), alt), style=beside),
            svg.tag("div", table, style=beside),
            _paragraph("", f"Most often taken: {', '.join(pairs)}.") if pairs else "",
            self._gallery(),
        )

    def _matrix(self) -> str:
        count = len(self.class_names)
        cell = max(6.0, min(34.0, 560 / count))
        names = [n if len(n) <= 14 else n[:13] + "…" for n in self.class_names]
        shown = count <= _MOST_NUMBERS
        left = 12 + (7 * max(map(len, names)) if shown else 0) + 16
        top, side = 40 if shown else 24, count * cell
        share = self.confusion / np.maximum(self.confusion.sum(1, keepdims=True), 1)
        most = max(float((share * (1 - np.eye(count))).max()), 0.02)
        body = [_label("taken for", left + side / 2, 14, "muted mid")]
        turn = f"rotate(-90 10 {top + side / 2})"
        body.append(_label("true", 10, top + side / 2, "muted mid", transform=turn))
        for i in range(count):
            at = (i + 0.5) * cell
            if shown:
                body.append(_label(names[i], left - 6, top + at + 4, "end"))
                column = names[i] if len(names[i]) * 7 <= cell else names[i][:3]
                body.append(_label(column, left + at, top - 6, "mid"))
            for j in range(count):
                part, number = float(share[i, j]), int(self.confusion[i, j])
                place = {"x": left + j * cell, "y": top + i * cell}
                size = {"width": cell - 1, "height": cell - 1, "rx": min(3, cell / 8)}
                kind = "right" if i == j else "wrong"
                # Never so deep that the number could not be read on either theme.
                depth = 0.05 + 0.45 * part if i == j else 0.1 + 0.42 * part / most
                if not number:
                    body.append(svg.tag("rect", class_="none", **place, **size))
                    continue
                style = f"fill-opacity:{depth:.2f}"
                body.append(svg.tag("rect", class_=kind, style=style, **place, **size))
                if shown:
                    at_x, at_y = left + (j + 0.5) * cell, place["y"] + cell / 2 + 4
                    body.append(_label(charts.count(number), at_x, at_y, "mid"))
        return svg.document(
            left + side + 12, top + side + 12, *body, rules=_RULES, label="Confusions"
        )

    def _gallery(self) -> str:
        if not len(self.worst):
            return _paragraph("", "No mistakes to show.")
        title = _paragraph(svg.tag("strong", "Most wrong about"), "")
        rows = _take(self.x, self.worst)
        if rows is not None and rasters.are_images(rows):
            pictures = zip(self.worst, rasters.as_bytes(rows), strict=True)
            figures = (self._figure(int(i), pixels) for i, pixels in pictures)
            return title + svg.tag("div", *figures)
        head = ["sample", "true", "taken for", "sure"]
        cells = [
            [
                f"#{i}",
                self.class_names[self.classes[i]],
                self.class_names[self.predicted[i]],
                percent(self.probability[i, self.predicted[i]]),
            ]
            for i in self.worst
        ]
        if rows is not None and np.ndim(rows) == 2:
            columns = getattr(self.x, "columns", None)
            width = min(np.shape(rows)[1], 8)
            names = [f"x{j}" for j in range(width)] if columns is None else columns
            head += [str(name) for name in list(names)[:width]]
            for line, row in zip(cells, np.asarray(rows), strict=True):
                line += [_number(value) for value in row[:width]]
        return title + svg.table(head, cells, align="lll")

    def _figure(self, index: int, pixels: np.ndarray) -> str:
        said, true = self.predicted[index], self.classes[index]
        sure = percent(self.probability[index, said])
        caption = svg.tag(
            "span",
            svg.text(f"{self.class_names[true]} taken for {self.class_names[said]}"),
            "<br>",
            svg.text(f"{sure} sure · #{index}"),
            style="display:block;font-size:11px;line-height:1.35;margin-top:3px",
        )
        return svg.tag(
            "span",
            rasters.image(pixels, self._words(index), 84),
            caption,
            style="display:inline-block;vertical-align:top;width:108px;"
            "margin:0 8px 12px 0",
        )


_CLASS_HEAD = ["class", "samples", "precision", "recall", "F1"]
_RULES = (
    ".right{fill:var(--train)}.wrong{fill:var(--valid)}"
    ".none{fill:var(--line);fill-opacity:.35}"
)


def _share(value: float) -> str:
    return "–" if value != value else f"{value:.3f}"


def _number(value: Any) -> str:
    return charts.number(float(value)) if np.isreal(value) else str(value)


def _paragraph(strong: str, words: str) -> str:
    between = " · " if strong and words else ""
    return svg.tag("p", strong, between + svg.text(words), style="margin:4px 0 8px")


def _label(words: str, x: float, y: float, kind: str, **more: Any) -> str:
    return svg.tag("text", svg.text(words), class_=kind, x=x, y=y, **more)


def _take(x: Any, rows: np.ndarray) -> Any:
    """Some samples, if `x` is a single array or frame."""
    if hasattr(x, "iloc"):
        return x.iloc[rows].to_numpy()
    if hasattr(x, "shape"):
        return np.asarray(x)[rows]
    return None
