"""Samples of the gradient and of dead units, taken beside the training.

The training's program is left alone, so that its results are the same to the bit with
and without this. A second program computes the gradient of one batch now and then, from
the weights of that moment, and drops what it changes. It is compiled in a thread of low
priority and with the compiler's optimisations switched off: that takes a sixth of the
time and makes it half as fast, which does not matter for a program that runs so rarely.

All of this costs time, so it is done where that is paid for: in a run that is long
enough for the price to be less than a hundredth, or at the end of one that went wrong.
"""

import contextlib
import os
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import get_opaque_trace_state

from kerasnb.core.registry import is_library
from kerasnb.layers.layer import Layer
from kerasnb.random import seeded
from kerasnb.training.alarms import ROWS, Sample
from kerasnb.training.data import unpack_x_y_sample_weight
from kerasnb.training.loop import signature
from kerasnb.training.nonfinite import calls_seen, name_of, owners

if TYPE_CHECKING:
    from kerasnb.training.trainer import Trainer

SHARE = 0.005  # of the time for samples, and as much for the compilation
BETWEEN = 0.2  # seconds between two samples at least

# Six times as fast to compile, half as fast to run (measured on four models).
_QUICKLY = {
    "xla_backend_optimization_level": 0,
    "xla_llvm_disable_expensive_passes": True,
    "xla_cpu_use_fusion_emitters": False,
    "xla_cpu_parallel_codegen_split_count": 1,
}


class Probe:
    """The program that looks at the gradient of one batch of a model."""

    def __init__(self, trainer: "Trainer") -> None:
        self._trainer = trainer
        self._owners = owners(trainer)
        variables = trainer._groups(training=True)[0]
        found = [self._owners[id(v)] for v in variables]
        # In the order of the model, where the gradient is made last first.
        self.names = [name_of(layer) for layer in found]
        self._compiled: Future | None = None
        self._key: Any = None

    def lower(self, state: Any, chunk: tuple) -> None:
        """Trace for such a chunk `(data, index, at)`, and compile in the background."""
        self._key = signature(chunk[:2])
        # What layers draw at random while they are traced is not to be missed later.
        with seeded(None):
            lowered = jax.jit(self._look).lower(state, *chunk)
        pool = ThreadPoolExecutor(1, "kerasnb-health", initializer=_be_humble)
        self._compiled = pool.submit(_compile, lowered)
        pool.shutdown(wait=False)

    def ready(self, wait: bool = False) -> bool:
        """Whether it is compiled; raises what went wrong."""
        compiled = self._compiled
        if compiled is None or not (wait or compiled.done()):
            return False
        compiled.result()
        return True

    def fits(self, chunk: tuple) -> bool:
        """Whether it was compiled for chunks like this."""
        return self._key == signature(chunk[:2])

    def sample(self, state: Any, chunk: tuple, step: int) -> Sample:
        """Look at one batch: the rows `index[at]` of the data."""
        assert self._compiled is not None
        seen = jax.device_get(self._compiled.result()(state, *chunk))
        squares = {name: [0.0, 0.0, 0.0] for name in self.names}
        for name, *values in zip(self.names, *seen["squares"], strict=True):
            sums = zip(squares[name], values, strict=True)
            squares[name] = [a + float(b) for a, b in sums]
        gradients, weights, updates = (
            {name: float(np.sqrt(values[i])) for name, values in squares.items()}
            for i in range(3)
        )
        loss, alive = float(seen["loss"]), seen["alive"]
        rows = chunk[1].shape[1]
        return Sample(step, loss, rows, gradients, weights, updates, alive)

    def _look(self, state: Any, data: Any, index: Any, at: Any) -> dict[str, Any]:
        trainer = self._trainer
        trainable, rest, slots, metrics = state
        batch = jax.tree.map(lambda a: a[index[at]], data)
        x, y, weight = unpack_x_y_sample_weight(batch)

        def loss_of(trainable: list) -> Any:
            alive: dict[str, Any] = {}
            level = _level()

            def note(layer: Layer, given: Any, out: Any) -> None:
                # What is computed inside of a loop does not come out of it so.
                if _is_relu(layer) and hasattr(out, "ndim") and _level() == level:
                    name, units = name_of(layer), _alive(layer, out)
                    if name in alive and alive[name].shape == units.shape:
                        units |= alive[name]
                    alive[name] = units

            with calls_seen(trainer, note):
                scaled, (loss, *_) = trainer.compute_loss_and_updates(
                    trainable,
                    rest,
                    metrics,
                    x,
                    y,
                    weight,
                    training=True,
                    optimizer_variables=slots,
                )
            return scaled, (loss, alive)

        (scaled, (loss, alive)), grads = jax.value_and_grad(loss_of, has_aux=True)(
            trainable
        )
        new, _ = trainer.optimizer.stateless_apply(slots, grads, trainable)
        moved = [a - b for a, b in zip(new, trainable, strict=True)]
        factor = jnp.where(loss == 0, 1.0, loss / scaled)
        grads = [factor * g for g in grads]
        squares = [jnp.stack(list(map(_square, p))) for p in (grads, trainable, moved)]
        return {"squares": squares, "loss": loss, "alive": alive}


def _square(x: Any) -> Any:
    x = jnp.abs(x).astype("float32")
    return jnp.sum(x * x)


def _level() -> Any:
    return get_opaque_trace_state(convention="kerasnb")


def _is_relu(layer: Any) -> bool:
    if not layer.trainable:
        return False
    activation = getattr(getattr(layer, "activation", None), "__name__", "")
    plain = type(layer).__name__ == "ReLU" and not layer.negative_slope
    return activation in ("relu", "relu6") or plain


def _alive(layer: Any, out: Any) -> Any:
    """Which units, or channels, are not 0 everywhere in the batch."""
    first = getattr(layer, "data_format", None) == "channels_first"
    axis = 1 if first and out.ndim > 2 else out.ndim - 1
    return (out != 0).any(axis=tuple(i for i in range(out.ndim) if i != axis))


def _be_humble() -> None:
    """Let this thread have what processor time the training leaves."""
    if hasattr(os, "setpriority"):
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 19)


def _compile(lowered: Any) -> Any:
    if jax.default_backend() == "cpu":
        # The names of options change with the version of XLA.
        with contextlib.suppress(Exception):
            return lowered.compile(compiler_options=_QUICKLY)
    return lowered.compile()


class Health:
    """When the probe looks, so that the price stays small."""

    def __init__(self, trainer: "Trainer", run: Any, preparing: float) -> None:
        self._trainer, self._run = trainer, run
        self.samples: list[Sample] = []
        self._probe: Probe | None = None
        self._due = 0.0
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 2
        layers = len(list(trainer._flatten_layers()))
        # Compiling it is taken to cost a part of what compiling the training did.
        self._price = 0.1 + 0.01 * layers + 0.2 * preparing / cores
        own = not is_library(type(trainer).train_step)
        self.off = own or trainer.run_eagerly or trainer.optimizer is None

    @property
    def knows_enough(self) -> bool:
        """Whether there are samples to judge by, or none to be had."""
        rows = sum(sample.rows for sample in self.samples)
        return self.off or (len(self.samples) >= 3 and rows >= ROWS)

    @property
    def is_learning(self) -> bool:
        """Whether it looks, and does not know enough yet."""
        return self._probe is not None and not self.knows_enough

    def turn(self, state: Any, chunk: Any) -> bool:
        """Look, if it is time to. Whether there is news.

        `state()` gives the values of this moment, `chunk()` the batch.
        """
        now = time.monotonic()
        if self.off or now < self._due:
            return False
        self._due = now + BETWEEN
        try:
            if self._probe is None:
                if self._is_paid_for():
                    self._begin(state(), chunk())
                return False
            return self._probe.ready() and self._sample(state(), chunk())
        except Exception:  # noqa: BLE001 - a model of the user's own may be anything
            self.off = True
            return False

    def at_once(self, state: Any, chunks: Any) -> None:
        """Look at some batches of a run that went wrong and is over."""
        with contextlib.suppress(Exception):
            for chunk in [] if self.knows_enough else chunks():
                if self._probe is None:
                    self._begin(state(), chunk)
                if self._probe is not None and self._probe.ready(wait=True):
                    self._sample(state(), chunk)

    def _is_paid_for(self) -> bool:
        run = self._run
        return self._price <= SHARE * (run.elapsed + (run.seconds_left or run.elapsed))

    def _begin(self, state: Any, chunk: tuple) -> None:
        kind = f"health of {signature(chunk[:2])}"
        probe = self._trainer._program(kind, lambda: Probe(self._trainer))
        if not probe.fits(chunk):
            probe.lower(state, chunk)
        self._probe = probe

    def _sample(self, state: Any, chunk: tuple) -> bool:
        assert self._probe is not None
        if not self._probe.fits(chunk):
            return False  # a stream's last batches
        began = time.monotonic()
        sample = self._probe.sample(state, chunk, self._run.step)
        took = time.monotonic() - began
        self.samples.append(sample)
        if len(self.samples) > 400:
            del self.samples[100:200]
        facts = {"gradient_norm": sample.norm, "update_ratio": sample.update_ratio}
        self._run.note_health(sample.step, facts)
        self._due = time.monotonic() + max(BETWEEN, took / SHARE)
        return True
