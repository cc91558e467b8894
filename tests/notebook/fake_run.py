"""A run without a model: the interface that the panel sees, with made-up numbers."""

import queue
import time
from collections.abc import Callable
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
        self.model_name = name
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
        self.listeners: list[Callable[..., Any]] = []
        self.orders: queue.SimpleQueue[str] = queue.SimpleQueue()
        self.wait, self.chunk, self.validation = wait, chunk, validation
        self._per = steps_per_epoch or 100
        self._points: list[list[float]] = []
        self._random = np.random.default_rng(7)
        self._ending = False

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

    def set_learning_rate(self, value: float) -> None:
        self.learning_rate = value

    def tell(self, **options: Any) -> None:
        for listener in list(self.listeners):
            listener(self, **options)

    def loop(self) -> dict[str, list[float]]:
        """Run to the end, or until told otherwise."""
        began = time.monotonic()
        try:
            while self.epoch < self.epochs:
                if not self._one_epoch(began) or self._ending:
                    break
            self.status = "finished" if self.epoch == self.epochs else "stopped"
        except KeyboardInterrupt:
            self.status = "interrupted"
        self.tell(final=True)
        return self.history

    def _one_epoch(self, began: float) -> bool:
        noise = self._random.normal(0, 1, self._per)
        sums = np.zeros(len(self.metrics_names))
        self.step_in_epoch = 0
        for i in range(self._per):
            progress = (self.step + 1) / self._per
            for m, name in enumerate(self.metrics_names):
                sums[m] += self._value(name, progress, 0.12 * noise[i])
            self.step += 1
            self.step_in_epoch += 1
            self._points.append(list(sums / (i + 1)))
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
            self.history.setdefault(name, []).append(float(sums[m] / self._per))
            if self.validation:
                value = self._value(name, self.epoch, 0.1) + 0.012 * self.epoch * (
                    1 if name == "loss" else -0.1
                )
                self.history.setdefault(f"val_{name}", []).append(float(value))
        self.tell()
        return True

    def _obey(self) -> bool:
        while True:
            while not self.orders.empty():
                order = self.orders.get()
                if order == "stop":
                    return False
                if order == "finish":
                    self._ending = True
                if order in ("pause", "resume"):
                    self.status = {"pause": "paused", "resume": "running"}[order]
            if self.status != "paused":
                return True
            time.sleep(0.05)
            self.tell()

    @staticmethod
    def _value(name: str, progress: float, noise: float) -> float:
        level = 2.2 * float(np.exp(-1.1 * progress)) + 0.12 / (1 + progress)
        if name == "loss":
            return level * (1 + noise)
        return float(np.clip(1 - 0.34 * level * (1 + noise), 0, 1))
