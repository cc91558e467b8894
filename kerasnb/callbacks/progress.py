"""Progress in a terminal: a line that fills up, or one line per epoch in a log file."""

import atexit
import logging
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from kerasnb.callbacks import terminal
from kerasnb.callbacks.callback import Callback, Logs, logs_at
from kerasnb.callbacks.terminal import cells, paint
from kerasnb.core import settings

_LOGGER = logging.getLogger("kerasnb")
_LINE = terminal.Line()
atexit.register(_LINE.close)

_SHORTEST_BAR = 5
_BETWEEN_LOG_LINES = 60.0  # seconds; the log of a long epoch should show some life
_FACTS = ("percent", "count", "time", "speed")  # from left to right
_BY_IMPORTANCE = ("time", "count", "speed", "percent")


class Progbar:
    """A progress bar for anything that comes in steps.

    `target` is the number of steps, None when unknown. With `verbose=1` a terminal
    shows one line that is redrawn at most every `interval` seconds, fits the window,
    and stays when it is done; its bar is at most `width` long. Elsewhere a plain line
    is written at the end, and about once a minute until then; with `verbose=2` only the
    one at the end.

    Values given to `update` are averaged over the steps, but for `stateful_metrics`,
    which are means already; or name the `stateless_metrics` that are not.
    `title` stands before the bar; one that comes `after` another keeps its columns.

    >>> bar = Progbar(3, verbose=2)
    >>> for step in range(3):
    ...     bar.update(step + 1, [("loss", 0.5)])  # doctest: +ELLIPSIS
    3/3 - 0s - ...s/step - loss: 0.5000
    """

    def __init__(
        self,
        target: int | None,
        width: int = 20,
        verbose: int = 1,
        interval: float = 0.05,
        stateful_metrics: Iterable[str] | None = None,
        stateless_metrics: Iterable[str] | None = None,
        unit_name: str = "step",
        *,
        title: str = "",
        after: "Progbar | None" = None,
    ) -> None:
        if stateful_metrics is not None and stateless_metrics is not None:
            raise ValueError(
                "Progbar: only one of `stateful_metrics` and `stateless_metrics` can "
                "be given; each says which metrics are not of the other kind."
            )
        self.target, self.width, self.verbose = target, width, verbose
        self.interval, self.unit_name, self.title = interval, unit_name, title
        self.stateful_metrics = set(stateful_metrics or ())
        self.stateless_metrics = (
            None if stateless_metrics is None else set(stateless_metrics)
        )
        self.note = ""  # shown in place of the time left
        self._sums: dict[str, tuple[float, float]] = {}
        self._seen = 0
        self._start = self._last = time.perf_counter()
        self._first: tuple[float, int] | None = None
        self._open = False
        # Bars that follow one another share their columns, and the pace of drawing.
        self._widths: dict[str, int] = after._widths if after else {"time": 8}
        self._shown: float = after._shown if after else -float("inf")
        self._logged = self._start

    def add(self, n: int, values: Sequence[tuple[str, Any]] | None = None) -> None:
        """Go on by `n` steps."""
        self.update(self._seen + n, values)

    def update(
        self,
        current: int,
        values: Sequence[tuple[str, Any]] | None = None,
        finalize: bool | None = None,
    ) -> None:
        """Step `current` of `target` is done; `values` are pairs of name and number."""
        if finalize is None:
            finalize = self.target is not None and current >= self.target
        now = time.perf_counter()
        self._note(current, values or (), finalize)
        if current != self._seen:
            self._seen, self._last = current, now
        if finalize:
            self._finish(now)
        elif self.verbose == 1:
            self._show(now)
        if self._first is None and current:
            self._first = now, current

    def close(self, note: str = "stopped") -> None:
        """End the line of a bar that was not finished; `note` says why."""
        if self._open:
            self._open, self.note = False, note
            _LINE.leave(self._lines(self._last, done=False)[0] + "\n")

    def _note(
        self, current: int, values: Sequence[tuple[str, Any]], finalize: bool
    ) -> None:
        steps = max(current - self._seen, 1)
        for name, value in values:
            if self.stateless_metrics is None:
                averaged = name not in self.stateful_metrics
            else:
                averaged = name in self.stateless_metrics
            total, count = self._sums.get(name, (0.0, 0.0))
            if finalize or not averaged:
                total, count, steps_here = 0.0, 0.0, 1
            else:
                steps_here = steps
            mean = float(np.mean(value))
            self._sums[name] = total + mean * steps_here, count + steps_here

    def _show(self, now: float) -> None:
        if _updates_in_place():
            if now - self._shown >= self.interval:
                self._shown, self._open = now, True
                _LINE.draw(self._lines(now, done=False)[0])
        elif now - self._logged >= _BETWEEN_LOG_LINES:
            self._logged = now
            say(self._plain(now))

    def _finish(self, now: float) -> None:
        self._open, self.note = False, ""
        if self.verbose == 1 and _updates_in_place():
            _LINE.leave("\n".join(self._lines(now, done=True)) + "\n")
        elif self.verbose:
            say(self._plain(now))

    # --- What is said -----------------------------------------------------------------

    def _plain(self, now: float) -> str:
        """`Epoch 1/5: 63/63 - 1s - 2ms/step - loss: 0.1234`."""
        title = f"{self.title}: " if self.title else ""
        count = f"{self._seen}/{self.target or self._seen}"
        values = "".join(f" - {name}: {self._value(name)}" for name in self._sums)
        return f"{title}{count} - {_clock(now - self._start)} - {self._speed()}{values}"

    def _lines(self, now: float, done: bool) -> list[str]:
        """`Epoch 2/5 ━━━━╸───  54%  34/63  3s left  2ms/step  loss 0.123 val 0.145`.

        Every part keeps its column from line to line. In a narrow window the less
        important ones are left out; metrics go on below when the bar is done.
        """
        colour = terminal.understands_colour()
        room = terminal.columns(sys.stdout) - 1  # a full line would break
        facts, metrics = self._facts(now, done), self._metrics(colour, aligned=True)
        for name, text in facts.items():
            self._widths[name] = max(self._widths.get(name, 0), cells(text))
        # Metrics come before all else, but a moving line keeps the time and a bar.
        free = room - cells(self.title)
        beside = free
        if not done:
            free -= self._widths["time"] + bool(self.title)
            beside = free - _SHORTEST_BAR - 1 if self.target else free
        below: list[str] = []
        if cells(right := _row(metrics, beside)) < cells(_row(metrics)):
            metrics = self._metrics(colour, aligned=False)
            right = _row(metrics, beside) or _row(metrics, free)
            if done and cells(right) < cells(_row(metrics)):
                right, below = "", _packed(metrics, room)
        first = (self._left(facts, room - cells(right), colour) + right).rstrip()
        if cells(first) > room:  # a title wider than the window
            first = self.title[:room]
        return [first, *below]

    def _left(self, facts: dict[str, str], room: int, colour: bool) -> str:
        """Title, bar and as many of the facts as fit; the bar takes what is left."""
        words = [paint(self.title, "strong", colour)] if self.title else []
        used = cells(" ".join(words)) + bool(words)
        barred = self.target and used + _SHORTEST_BAR + self._widths["time"] < room
        used += _SHORTEST_BAR + 1 if barred else 0
        chosen = set()
        for name in _BY_IMPORTANCE:
            if facts[name] and used + self._widths[name] <= room:
                used += self._widths[name] + 1
                chosen.add(name)
        if barred:
            width = min(self.width, _SHORTEST_BAR + max(room + 1 - used, 0))
            share = self._seen / (self.target or 1)
            words.append(terminal.bar(share, width, colour, sys.stdout))
        words += [facts[n].rjust(self._widths[n]) for n in _FACTS if n in chosen]
        return " ".join(words)

    def _facts(self, now: float, done: bool) -> dict[str, str]:
        seen, target = self._seen, self.target
        if target:
            count = f"{seen:>{len(str(target))}}/{target}"
            left = f"{_clock(self._seconds_per_step() * (target - seen))} left"
        else:
            count = f"{seen} {self.unit_name}{'' if seen == 1 else 's'}"
            left = _clock(now - self._start)
        if done:
            left = _clock(now - self._start)
        elif not seen:
            left = "starting"
        return {
            "percent": f"{100 * seen // target}%".rjust(4) if target else "",
            "count": count,
            "time": self.note or left,
            "speed": self._speed() if seen else "",
        }

    def _metrics(self, colour: bool, aligned: bool) -> list[str]:
        """Name and value of each metric, with that of the validation beside it.

        When `aligned`, they keep their columns, also before there is a validation.
        """
        shown = []
        for name in self._sums:
            self._widths[name] = max(self._widths.get(name, 0), len(self._value(name)))
        for name in self._sums:
            checked = f"val_{name}"
            if name.startswith("val_") and name[4:] in self._sums:
                continue
            text = paint(name, "faint", colour) + self._column(name, aligned)
            if checked in self._sums:
                text += paint(" val", "faint", colour) + self._column(checked, aligned)
            elif aligned and checked in self._widths:
                text += " " * (5 + self._widths[checked])
            shown.append(text)
        return shown

    def _column(self, name: str, aligned: bool) -> str:
        return " " + self._value(name).rjust(self._widths[name] if aligned else 0)

    def _value(self, name: str) -> str:
        total, count = self._sums[name]
        return _number(total / max(count, 1))

    def _speed(self) -> str:
        return f"{_duration(self._seconds_per_step())}/{self.unit_name}"

    def _seconds_per_step(self) -> float:
        # The first steps include the compilation and are left out once there are more.
        if self._first is not None and self._seen > self._first[1]:
            return (self._last - self._first[0]) / (self._seen - self._first[1])
        return (self._last - self._start) / max(self._seen, 1)


class ProgbarLogger(Callback):
    """The progress of `fit`, `evaluate` and `predict` in a terminal.

    One line per epoch; in a terminal it shows the current state at most ten times a
    second. `fit` adds one by itself unless `verbose=0`.
    """

    passive = True

    def __init__(self) -> None:
        super().__init__()
        self.target: int | None = None
        self.verbose = 1
        self.epochs = 1
        self.seen = 0
        self.progbar: Progbar | None = None
        self._in_fit = False

    def set_params(self, params: dict[str, Any]) -> None:
        """Take note of `epochs`, `steps` and `verbose`."""
        super().set_params(params)
        verbose = params.get("verbose", 1)
        self.verbose = 1 if verbose in ("auto", True) else int(verbose)
        self.epochs = params.get("epochs") or 1
        self.target = params.get("steps")

    def replay(
        self, phase: str, first: int, count: int, logs: Mapping[str, Sequence]
    ) -> None:
        """Only the newest of the steps is worth showing."""
        if count and not (phase == "test" and self._in_fit):
            self._show(first + count, logs_at(logs, count - 1) if logs else {})

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Validation inside of `fit` has no line of its own."""
        self._in_fit = True
        run = getattr(self.model, "run", None)
        if run is not None:
            run.listeners.append(self._hear)

    def _hear(self, run: Any, final: bool = False) -> None:
        """An interrupt or an error leaves a whole line behind, which says so."""
        if final and self.progbar is not None:
            self.progbar.close(run.status)

    def on_train_end(self, logs: Logs | None = None) -> None:
        """Leave a finished line behind, also after a stop in mid-epoch."""
        self._in_fit = False
        if self.progbar is not None:
            self.progbar.close()

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        """Begin a line."""
        self._begin(f"Epoch {epoch + 1:>{len(str(self.epochs))}}/{self.epochs}")

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Fill the bar."""
        self._show(batch + 1, logs)

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Finish the line, validation included."""
        self._end(logs)

    def on_test_begin(self, logs: Logs | None = None) -> None:
        """Begin a line; in the middle of `fit`, say what takes its time."""
        if not self._in_fit:
            self._begin()
        elif self.progbar is not None:
            self.progbar.note = "validate"
            self.progbar.update(self.seen, finalize=False)

    def on_test_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Fill the bar."""
        if not self._in_fit:
            self._show(batch + 1, logs)

    def on_test_end(self, logs: Logs | None = None) -> None:
        """Finish the line."""
        if not self._in_fit:
            self._end(logs)

    def on_predict_begin(self, logs: Logs | None = None) -> None:
        """Begin a line."""
        self._begin()

    def on_predict_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Fill the bar; outputs are no news."""
        self._show(batch + 1, {})

    def on_predict_end(self, logs: Logs | None = None) -> None:
        """Finish the line."""
        self._end({})

    def _begin(self, title: str = "") -> None:
        self.seen = 0
        self.progbar = Progbar(
            self.target,
            width=32,
            verbose=self.verbose,
            interval=0.1,
            stateless_metrics=(),
            title=title if self.epochs > 1 else "",
            after=self.progbar,
        )
        self.progbar.update(0, finalize=False)

    def _show(self, seen: int, logs: Logs | None) -> None:
        self.seen = seen
        if self.progbar is not None:
            self.progbar.update(seen, list((logs or {}).items()), finalize=False)

    def _end(self, logs: Logs | None) -> None:
        if self.progbar is None:
            return
        # A stream's length is known when it was gone through once.
        self.progbar.target = self.target = self.target or self.seen
        self.progbar.update(self.seen, list((logs or {}).items()), finalize=True)


def say(message: str) -> None:
    """Write a line for the user, above a bar that is still moving."""
    if settings.is_interactive_logging_enabled():
        terminal.write(sys.stdout, message + "\n")
    else:
        _LOGGER.info(message)


def _updates_in_place() -> bool:
    return (
        terminal.is_terminal(sys.stdout) and settings.is_interactive_logging_enabled()
    )


def _row(metrics: Sequence[str], room: float = float("inf")) -> str:
    """Those metrics that fit, each after a gap."""
    row = ""
    for one in metrics:
        if cells(row) + 2 + cells(one) <= room:
            row += f"  {one}"
    return row


def _packed(metrics: Sequence[str], room: int) -> list[str]:
    """Metrics as indented lines of at most `room` columns."""
    lines: list[str] = []
    for one in metrics:
        if lines and cells(lines[-1]) + 2 + cells(one) <= room:
            lines[-1] += f"  {one}"
        else:
            lines.append(f"  {one}")
    return lines


def _number(value: float) -> str:
    return f"{value:.4f}" if abs(value) > 1e-3 else f"{value:.4e}"


def _clock(seconds: float) -> str:
    minutes, whole = divmod(int(seconds), 60)
    if seconds >= 3600:
        return f"{minutes // 60}:{minutes % 60:02d}:{whole:02d}"
    return f"{minutes}:{whole:02d}" if minutes else f"{whole}s"


def _duration(seconds: float) -> str:
    if seconds >= 1 or seconds == 0:
        return f"{seconds:.0f}s"
    if seconds >= 1e-3:
        return f"{seconds * 1e3:.0f}ms"
    return f"{seconds * 1e6:.0f}us"
