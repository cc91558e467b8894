"""A run without a model: the interface that the panel sees, with made-up numbers."""

import queue
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np


class FakeRun:
    """Trains nothing, convincingly: a loop over steps that obeys its queue.

    `wait` is the pause after each chunk of steps; `clock` and `sleep` can be replaced.
    """

    def __init__(
        self,
        epochs: int = 5,
        steps_per_epoch: int | None = 100,
        wait: float = 0.0,
        chunk: int = 10,
        name: str = "digits",
        metrics: tuple[str, ...] = ("loss", "accuracy"),
        validation: bool = True,
    ):
        self.name = self.model_name = name
        self.metrics_names = list(metrics)
        self.history: dict[str, list[float]] = {}
        self.epoch, self.epochs, self.step = 0, epochs, 0
        self.step_in_epoch, self.epoch_index = 0, []
        self.steps_per_epoch, self.batch_size = steps_per_epoch, 128
        self.samples_per_second: float | None = None
        self.seconds_left: float | None = None
        self.elapsed = 0.0
        self.learning_rate = 0.001
        self.status, self.message = "running", ""
        self.gradient_norm: float | None = None
        self.memory: float | None = None
        self.marks: list[Any] = []
        self.alarms: list[Any] = []
        self.silenced: set[str] = set()
        self.stays, self.generation = "", 0
        self.listeners: list[Callable[..., Any]] = []
        self.orders: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self.wait, self.chunk, self.validation = wait, chunk, validation
        self._per = steps_per_epoch or 100
        self._points: list[list[float]] = []
        self._random = np.random.default_rng(7)
        self.stops_after_epoch = False
        self._allowance: int | None = None

    def step_points(self, since: int = 0) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        table = np.asarray(self._points[since:], np.float32)
        table = table.reshape(len(table), len(self.metrics_names))
        values = dict(zip(self.metrics_names, table.T, strict=True))
        return np.arange(since, since + len(table)), values

    def pause(self) -> None:
        self.orders.put("pause")

    def resume(self) -> None:
        self.orders.put("resume")

    def stop(self) -> None:
        self.orders.put("stop")

    def stop_after_epoch(self) -> None:
        self.orders.put("finish")

    def advance(self, steps: int = 1) -> None:
        self.orders.put(("advance", steps))

    def set_learning_rate(self, value: float) -> None:
        self.orders.put(("rate", value))

    def mark(self, name: str | None = None) -> str:
        name = name or f"mark {len(self.marks) + 1}"
        self.orders.put(("mark", name))
        return name

    def roll_back(self, mark: str | None = None) -> None:
        if mark not in [None, *(one.name for one in self.marks)]:
            raise ValueError(f"roll_back: run `{self.name}` has no mark `{mark}`.")
        self.orders.put(("roll_back", mark))

    def silence(self, kind: str) -> None:
        self.silenced.add(kind)

    def note_alarm(self, **facts: Any) -> None:
        self.alarms = [*self.alarms, SimpleNamespace(layer=None, **facts)]

    def health_points(self) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        steps = np.arange(0, len(self._points), 20) if self.gradient_norm else []
        if not len(steps):
            return np.zeros(0, int), {}
        return steps, {"gradient_norm": 3 * np.exp(-steps / 200) + 0.1}

    def tell(self, **options: Any) -> None:
        for listener in list(self.listeners):
            listener(self, **options)

    def loop(self) -> dict[str, list[float]]:
        """Run to the end, or until told otherwise."""
        began = time.monotonic()
        try:
            while self.epoch < self.epochs:
                if not self._one_epoch(began) or self.stops_after_epoch:
                    break
            self.status = "finished" if self.epoch == self.epochs else "stopped"
        except KeyboardInterrupt:
            self.status = "interrupted"
        self.tell(final=True)
        return self.history

    def _one_epoch(self, began: float) -> bool:
        noise = self._random.normal(0, 1, self._per)
        self._sums = np.zeros(len(self.metrics_names))
        self.step_in_epoch = 0
        while self.step_in_epoch < self._per:
            i = self.step_in_epoch
            progress = (self.step + 1) / self._per
            for m, name in enumerate(self.metrics_names):
                self._sums[m] += self._value(name, progress, 0.12 * noise[i])
            self.step += 1
            self.step_in_epoch += 1
            self._points.append(list(self._sums / (i + 1)))
            if self.step % self.chunk == 0:
                self.elapsed = time.monotonic() - began
                self.samples_per_second = 128 * self.step / max(self.elapsed, 1e-6)
                left = self.epochs * self._per - self.step
                self.seconds_left = left * self.elapsed / self.step
                if self.wait:
                    time.sleep(self.wait)
                self.tell()
                if not self._obey():
                    return False
        self.epoch += 1
        self.step_in_epoch = 0
        self.epoch_index.append(self.step)
        for m, name in enumerate(self.metrics_names):
            self.history.setdefault(name, []).append(float(self._sums[m] / self._per))
            if self.validation:
                value = self._value(name, self.epoch, 0.1) + 0.012 * self.epoch * (
                    1 if name == "loss" else -0.1
                )
                self.history.setdefault(f"val_{name}", []).append(float(value))
        self.tell()
        return True

    def _obey(self) -> bool:
        if self._allowance is not None:
            self._allowance -= self.chunk
            if self._allowance <= 0:
                self.status, self._allowance = "paused", None
                self.tell()
        while True:
            while not self.orders.empty():
                order = self.orders.get()
                what, value = order if isinstance(order, tuple) else (order, None)
                if what == "stop":
                    return False
                if what == "finish":
                    self.stops_after_epoch = True
                if what in ("pause", "resume"):
                    self.status = {"pause": "paused", "resume": "running"}[what]
                if what == "advance":
                    self._allowance, self.status = value, "running"
                if what == "rate":
                    self.learning_rate = value
                if what == "mark":
                    made = SimpleNamespace(name=value, step=self.step, epoch=self.epoch)
                    self.marks = [*self.marks, made]
                if what == "roll_back":
                    self._go_back(value)
            if self.status != "paused":
                return True
            time.sleep(0.05)
            self.tell()

    def _go_back(self, name: str | None) -> None:
        """Cut everything back to a mark; its epoch goes on from there."""
        mark = next(m for m in self.marks[::-1] if name in (None, m.name))
        self.step, self.epoch = mark.step, mark.epoch
        del self._points[self.step :], self.epoch_index[self.epoch :]
        self.step_in_epoch = self.step - sum(self.epoch_index[-1:])
        self._sums = self.step_in_epoch * np.array(self._points[-1])
        self.marks = [m for m in self.marks if m.step <= self.step]
        self.alarms = [alarm for alarm in self.alarms if alarm.step <= self.step]
        for values in self.history.values():
            del values[self.epoch :]
        self.generation += 1

    @staticmethod
    def _value(name: str, progress: float, noise: float) -> float:
        level = 2.2 * float(np.exp(-1.1 * progress)) + 0.12 / (1 + progress)
        if name == "loss":
            return level * (1 + noise)
        return float(np.clip(1 - 0.34 * level * (1 + noise), 0, 1))
