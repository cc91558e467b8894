"""Progress in a terminal: a line that fills up, or one line per epoch in a log file."""

import logging
import shutil
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from kerasnb.callbacks.callback import Callback, Logs, logs_at
from kerasnb.core import settings

_LOGGER = logging.getLogger("kerasnb")


class Progbar:
    """A progress bar for anything that comes in steps.

    `target` is the number of steps, None when unknown. With `verbose=1` the bar updates
    in place in a terminal, at most every `interval` seconds, and leaves one line behind
    when it is done; elsewhere, and with `verbose=2`, only that line is written.

    Values given to `update` are averaged over the steps, but for `stateful_metrics`,
    which are means already; or name the `stateless_metrics` that are not.
    """

    _open: "Progbar | None" = None  # the bar whose line is not finished

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
    ) -> None:
        if stateful_metrics is not None and stateless_metrics is not None:
            raise ValueError(
                "Progbar: only one of `stateful_metrics` and `stateless_metrics` can "
                "be given; each says which metrics are not of the other kind."
            )
        self.target, self.width, self.verbose = target, width, verbose
        self.interval, self.unit_name, self.title = interval, unit_name, title
        self._stateful = set(stateful_metrics or ())
        self._stateless = None if stateless_metrics is None else set(stateless_metrics)
        self._sums: dict[str, tuple[float, float]] = {}
        self._seen = 0
        self._start = time.perf_counter()
        self._first: tuple[float, int] | None = None
        self._last_drawn = -float("inf")
        self._drawn_width = 0
        Progbar._open = None  # a bar that an error left behind is not ours to erase

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
        self._note(current, values or (), finalize)
        self._seen = current
        now = time.perf_counter()
        if finalize:
            self._finish(current, now)
        elif self.verbose == 1 and now - self._last_drawn >= self.interval:
            if _updates_in_place():
                self._draw(self._line(current, now))
            self._last_drawn = now
        if self._first is None and current:
            self._first = now, current

    def close(self) -> None:
        """End the line of a bar that was not finished."""
        if self._drawn_width:
            self._drawn_width, Progbar._open = 0, None
            _write("\n")

    def _note(
        self, current: int, values: Sequence[tuple[str, Any]], finalize: bool
    ) -> None:
        steps = max(current - self._seen, 1)
        for name, value in values:
            if self._stateless is None:
                averaged = name not in self._stateful
            else:
                averaged = name in self._stateless
            total, count = self._sums.get(name, (0.0, 0.0))
            if finalize or not averaged:
                total, count, steps_here = 0.0, 0.0, 1
            else:
                steps_here = steps
            self._sums[name] = total + float(value) * steps_here, count + steps_here

    # --- The line ---------------------------------------------------------------------

    def _line(self, current: int, now: float) -> str:
        """`Epoch 1/5  12/63 ━━━━──── 3s left 2ms/step - loss: 0.1234`."""
        per_step = self._seconds_per_step(current, now)
        if self.target:
            full, empty = _bar_signs()
            filled = min(self.width, int(self.width * current / self.target))
            bar = full * filled + empty * (self.width - filled)
            count = f"{current:>{len(str(self.target))}}/{self.target} {bar}"
            left = f"{_clock(per_step * (self.target - current))} left"
        else:
            count, left = f"{current}/?", _clock(now - self._start)
        title = f"{self.title}  " if self.title else ""
        speed = f"{_duration(per_step)}/{self.unit_name}"
        return f"{title}{count} {left} {speed}{self._values()}"

    def _last_line(self, current: int, now: float) -> str:
        """`Epoch 1/5: 63/63 - 1s - 2ms/step - loss: 0.1234`."""
        title = f"{self.title}: " if self.title else ""
        count = f"{current}/{self.target or current}"
        if self.verbose == 1 and _updates_in_place():
            count += f" {_bar_signs()[0] * self.width}"
        took = _clock(now - self._start)
        speed = f"{_duration(self._seconds_per_step(current, now))}/{self.unit_name}"
        return f"{title}{count} - {took} - {speed}{self._values()}"

    def _values(self) -> str:
        return "".join(
            f" - {name}: {_number(total / max(count, 1))}"
            for name, (total, count) in self._sums.items()
        )

    def _seconds_per_step(self, current: int, now: float) -> float:
        # The first steps include the compilation and are left out once there are more.
        if self._first is not None and current > self._first[1]:
            return (now - self._first[0]) / (current - self._first[1])
        return (now - self._start) / max(current, 1)

    # --- Writing ----------------------------------------------------------------------

    def _draw(self, line: str) -> None:
        columns = shutil.get_terminal_size().columns
        line = line[: max(columns - 1, 20)]  # a longer one would leave its rest behind
        _write("\r" + line.ljust(self._drawn_width))
        self._drawn_width = len(line)
        Progbar._open = self

    def _finish(self, current: int, now: float) -> None:
        if self.verbose == 0:
            return
        _erase_open_bar()
        _emit(self._last_line(current, now))


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
        """Validation inside of `fit` is not shown."""
        self._in_fit = True

    def on_train_end(self, logs: Logs | None = None) -> None:
        """Leave a finished line behind, also after a stop in mid-epoch."""
        self._in_fit = False
        if self.progbar is not None:
            self.progbar.close()

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        """Begin a line."""
        self._begin(f"Epoch {epoch + 1}/{self.epochs}" if self.epochs > 1 else "")

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Fill the bar."""
        self._show(batch + 1, logs)

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Finish the line, validation included."""
        self._end(logs)

    def on_test_begin(self, logs: Logs | None = None) -> None:
        """Begin a line."""
        if not self._in_fit:
            self._begin("")

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
        self._begin("")

    def on_predict_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Fill the bar; outputs are no news."""
        self._show(batch + 1, {})

    def on_predict_end(self, logs: Logs | None = None) -> None:
        """Finish the line."""
        self._end({})

    def _begin(self, title: str) -> None:
        self.seen = 0
        self.progbar = Progbar(
            self.target,
            verbose=self.verbose,
            interval=0.1,
            stateless_metrics=(),
            title=title,
        )

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
    _erase_open_bar()
    _emit(message)


def _emit(line: str) -> None:
    if settings.is_interactive_logging_enabled():
        _write(line + "\n")
    else:
        _LOGGER.info(line)


def _erase_open_bar() -> None:
    bar, Progbar._open = Progbar._open, None
    if bar is not None and bar._drawn_width:
        _write("\r" + " " * bar._drawn_width + "\r")
        bar._drawn_width = 0


def _write(text: str) -> None:
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    sys.stdout.write(text.encode(encoding, "replace").decode(encoding))
    sys.stdout.flush()


def _updates_in_place() -> bool:
    terminal = getattr(sys.stdout, "isatty", lambda: False)()
    return terminal and settings.is_interactive_logging_enabled()


def _bar_signs() -> tuple[str, str]:
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    try:
        "━─".encode(encoding)
    except (UnicodeEncodeError, LookupError):
        return "=", "."
    return "━", "─"


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
