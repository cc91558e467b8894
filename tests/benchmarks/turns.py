"""Contestants in turns: what takes the time of a row, lap by lap.

A side is a function that gets ready and returns a lap; a lap is a function that works
and returns the seconds it took. All sides of a row take turns, so that a busy machine
slows all of them, and what counts is our time divided by that of another side in the
same lap. What a row found are figures: a dictionary from the heading of a column to
the values of all laps, or to the words that stand there instead.
"""

import math
import statistics
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

Lap = Callable[[], float]
Sides = dict[str, Callable[[], Lap]]
Figures = dict[str, Any]
LONG = 0.05  # seconds; shorter laps are repeated, for the clock's sake


@dataclass(frozen=True)
class Budget:
    """How many laps: at most so many, and when time is up no more than the fewest."""

    most: int = 15
    fewest: int = 5
    seconds: float = 12.0

    def laps(self) -> Iterable[int]:
        """The numbers of the laps."""
        began = time.perf_counter()
        for number in range(self.most):
            if number >= self.fewest and time.perf_counter() - began > self.seconds:
                return
            yield number


def in_turns(
    sides: Sides, budget: Budget, warms_up: bool = True
) -> tuple[dict[str, list[float]], Figures]:
    """Seconds of every lap of every side, and what is to be said of those that failed.

    The first side is ours; where it fails, so does the row. Without `warms_up` the very
    first laps count.
    """
    laps: dict[str, Lap] = {}
    calls: dict[str, int] = {}
    failed: Figures = {}
    found: dict[str, list[float]] = {name: [] for name in sides}

    def ready(name: str) -> None:
        laps[name] = lap = sides[name]()
        took = LONG
        for _ in range(2 * warms_up):
            took = timed(lap)()
            if took > 1:
                break
        calls[name] = min(2000, math.ceil(LONG / max(took, 1e-6)))

    def measured(name: str) -> None:
        took = sum(laps[name]() for _ in range(calls[name]))
        found[name].append(took / calls[name])

    def attempt(work: Callable[[str], None], name: str) -> None:
        try:
            work(name)
        except Exception as error:
            if name == next(iter(sides)):
                raise
            end(laps.pop(name, None))
            failed[name] = f"failed: {one_line(error)}"

    try:
        for name in sides:
            attempt(ready, name)
        for number in budget.laps():
            for name in list(laps) if number % 2 else reversed(list(laps)):
                attempt(measured, name)
        return {name: found[name] for name in laps}, failed
    finally:
        for lap in laps.values():
            end(lap)


def end(lap: Any) -> None:
    """Have a lap let go of what it holds, if it holds anything."""
    if hasattr(lap, "end"):
        lap.end()


def compared(
    found: dict[str, list[float]], failed: Figures | None = None, unit: str = "ms"
) -> Figures:
    """Our figures, and our laps divided by those of each other side."""
    (name, ours), *others = found.items()
    scale = 1000 if unit == "ms" else 1
    figures: Figures = {f"{name}, {unit}": [scale * value for value in ours]}
    for name, laps in others:
        figures[name] = [a / b for a, b in zip(ours, laps, strict=True)]
    return figures | (failed or {})


def race(sides: Sides, budget: Budget) -> Figures:
    """The figures of sides that take turns."""
    return compared(*in_turns(sides, budget))


def timed(run: Callable[[], Any]) -> Lap:
    """A lap of a function."""

    def lap() -> float:
        began = time.perf_counter()
        run()
        return time.perf_counter() - began

    return lap


def middle(values: list[float]) -> tuple[float, float, float]:
    """The median between the bounds of the middle half."""
    if len(values) < 2:
        return values[0], values[0], values[0]
    low, median, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, median, high


def one_line(error: BaseException) -> str:
    """An error in a line that fits into a table."""
    text = " ".join(f"{type(error).__name__}: {error}".split()).replace("|", "/")
    return text if len(text) <= 160 else f"{text[:157]}..."
