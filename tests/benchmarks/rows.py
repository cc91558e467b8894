"""The rows of the page: what is measured, beside what, and what it ought to be.

`SECTIONS` holds them all. A row is a function of a budget that returns figures, and its
targets: the most that the median under a heading may be.
"""

import dataclasses
import functools
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tests.benchmarks.turns import (
    Budget,
    Figures,
    Lap,
    Sides,
    compared,
    in_turns,
    one_line,
    race,
    timed,
)
from tests.benchmarks.workloads import (
    GROWTH,
    SIDES,
    TABLE,
    Laps,
    Workload,
    compiled,
    installed,
    whole,
)

ROOT = Path(__file__).parents[2]
ALSO = "KERASNB_BENCHMARK_ALSO"  # a folder of further packages, PyTorch for one
TABULAR = "tabular 1000x8, batch 32"
MLP32, MLP = "MLP 784-128-10, batch 32", "MLP 784-128-10, batch 128"
CNN, RESNET = "CNN 28x28, batch 128", "ResNet-20, batch 64"


@dataclass(frozen=True)
class Row:
    """What to measure, and the targets."""

    measure: Callable[[Budget], Figures]
    targets: dict[str, float] = dataclasses.field(default_factory=dict)


# --- Training -------------------------------------------------------------------------


def training(work: Workload, budget: Budget) -> Figures:
    """A steady epoch, from one callback to the next."""
    sides = {name: lambda make=make: make(work) for name, make in SIDES.items()}
    return race(_present(sides), budget)


def whole_fit(work: Workload, looks: bool, budget: Budget) -> Figures:
    """A steady epoch as the difference of two fits; by hand, losses are always read."""
    sides = {name: lambda make=make: make(work) for name, make in SIDES.items()}
    for name in ("kerasnb", "keras"):
        sides[name] = lambda name=name: whole(_library(name), work, looks)
    return race(_present(sides), budget)


def growth(work: Workload, budget: Budget) -> Figures:
    """A steady epoch, beside the limit alone."""
    names = ("kerasnb", "handwritten")
    return race({name: lambda n=name: SIDES[n](work) for name in names}, budget)


def full(budget: Budget) -> Figures:
    """Everything on: what is left without the evaluation, beside a bare fit."""
    work = TABLE[MLP]
    with tempfile.TemporaryDirectory() as folder:

        def everything(name: str) -> Lap:
            k = _library(name)
            c, here = k.callbacks, Path(folder) / name
            metrics = ["accuracy", "sparse_top_k_categorical_accuracy"]
            metrics.append(k.metrics.SparseCategoricalCrossentropy(from_logits=True))
            return Laps(
                k,
                work,
                compiled(k, work, metrics),
                validation_data=work.data(2000),
                callbacks=[
                    c.EarlyStopping(patience=1_000_000),
                    c.ModelCheckpoint(f"{here}.keras", save_best_only=True),
                    c.CSVLogger(f"{here}.csv"),
                ],
            )

        def evaluation() -> Lap:
            model, (x, y) = compiled(_library("kerasnb"), work), work.data(2000)
            return timed(lambda: model.evaluate(x, y, work.batch, verbose=0))

        sides: Sides = {
            "kerasnb": lambda: everything("kerasnb"),
            "bare": lambda: SIDES["kerasnb"](work),
            "evaluation": evaluation,
            "keras": lambda: everything("keras"),
        }
        found, failed = in_turns(_present(sides), budget)
    evaluated = found.pop("evaluation")
    figures = compared(found, failed)
    both = zip(found["kerasnb"], evaluated, found["bare"], strict=True)
    figures["bare"] = [(all_on - part) / bare for all_on, part, bare in both]
    return figures


def panel(name: str, budget: Budget) -> Figures:
    """A live panel that draws itself in a kernel, beside none."""
    from tests.benchmarks.panel import measure

    short = budget.fewest < 3
    took, speed = measure(name, 2 if short else 7, 1.0 if short else 4.0)
    both = list(zip(took["auto"], took["none"], strict=True))
    return {
        "fit with it, s": [a[0] for a in took["auto"]],
        "none": [a[0] / b[0] for a, b in both],
        "none, processor's work": [a[1] / b[1] for a, b in both],
        "sent": f"{speed / 1000:.1f} kB a second",
    }


# --- Single calls ---------------------------------------------------------------------


def _by_hand(work: Workload) -> Callable[[np.ndarray], Any]:
    import jax

    from tests.benchmarks.handwritten import initial

    forward, params, stats = initial(work.kind, work.sizes)
    run = jax.jit(lambda p, s, x: forward(p, s, x, None)[0])
    return lambda x: run(params, stats, x)


def _by_flax(work: Workload) -> Callable[[np.ndarray], Any]:
    from flax import nnx

    from tests.benchmarks.flax_models import build

    model = build(work)
    model.eval()
    run = nnx.jit(lambda model, x: model(x))
    return lambda x: run(model, x)


def predict(rows: int, batch: int, name: str, budget: Budget) -> Figures:
    """`predict`, or a loop over batches of a compiled call, into one NumPy array."""
    work = TABLE[name]
    x, _ = work.data(rows)

    def library(side: str) -> Lap:
        model = compiled(_library(side), work)
        return timed(lambda: model.predict(x, batch_size=batch, verbose=0))

    def loop(make: Callable) -> Lap:
        run, starts = make(work), range(0, rows, batch)
        if rows <= batch:
            return timed(lambda: np.asarray(run(x)))
        return timed(lambda: np.concatenate([run(x[i : i + batch]) for i in starts]))

    def by_torch() -> Lap:
        import torch

        from tests.benchmarks.torch_models import build

        net, given = build(work).eval(), torch.from_numpy(x)

        def run() -> None:
            with torch.no_grad():
                torch.cat([net(part) for part in given.split(batch)]).numpy()

        return timed(run)

    sides: Sides = {
        "kerasnb": lambda: library("kerasnb"),
        "handwritten": lambda: loop(_by_hand),
        "keras": lambda: library("keras"),
        "flax": lambda: loop(_by_flax),
        "torch": by_torch,
    }
    return race(_present(sides), budget)


def calling(name: str, budget: Budget) -> Figures:
    """`model(x)` on one sample."""
    work = TABLE[name]
    x, _ = work.data(1)

    def library(side: str) -> Lap:
        model = compiled(_library(side), work)
        model(x)  # compiled when it comes again
        return timed(lambda: np.asarray(model(x)))

    def loop(make: Callable) -> Lap:
        run = make(work)
        return timed(lambda: np.asarray(run(x)))

    sides: Sides = {
        "kerasnb": lambda: library("kerasnb"),
        "handwritten": lambda: loop(_by_hand),
        "keras": lambda: library("keras"),
        "flax": lambda: loop(_by_flax),
    }
    return race(_present(sides), budget)


def single(name: str, budget: Budget) -> Figures:
    """`train_on_batch` beside a jitted step whose logs are read."""
    work = TABLE[name]
    x, y = work.data(work.batch)

    def library(side: str) -> Lap:
        model = compiled(_library(side), work)
        return timed(lambda: model.train_on_batch(x, y))

    def by_hand() -> Lap:
        import jax

        from tests.benchmarks.handwritten import make_step

        step, state = make_step(work.kind, work.sizes)
        run, mask = jax.jit(step, donate_argnums=0), np.ones(work.batch, "float32")

        def lap() -> None:
            nonlocal state
            state = run(state, x, y, mask)
            np.asarray(state[-1])

        return timed(lap)

    sides: Sides = {
        "kerasnb": lambda: library("kerasnb"),
        "handwritten": by_hand,
        "keras": lambda: library("keras"),
    }
    return race(_present(sides), budget)


# --- Processes of their own -----------------------------------------------------------

IMPORT = {
    "kerasnb": "import kerasnb",
    "jax": "import jax",
    "keras": "import keras",
    "flax": "from flax import nnx",
    "torch": "import torch",
}
PRODUCT = "import jax.numpy as jnp; a = jnp.ones((9, 9)); (a @ a).block_until_ready()"
FIT = """
from tests.benchmarks.workloads import TABLE, compiled
work = TABLE[{name!r}]
model = compiled(k, work)
model.fit(*work.data(), work.batch, {how}, verbose=0)
"""
LAPS = """
import dataclasses
from tests.benchmarks.workloads import SIDES, TABLE
lap = SIDES[{side!r}](dataclasses.replace(TABLE[{name!r}], **{change}))
for _ in range({epochs}): lap()
"""
COUNTING = """
import jax
counted = []
def count(event, duration, **kwargs):
    if event == "/jax/core/compile/backend_compile_duration": counted.append(event)
"""
BEGIN = "jax.monitoring.register_event_duration_secs_listener(count)\n"
TELL_COUNT = "import time; time.sleep(2); print(len(counted))"  # one may be under way
TELL_MEMORY = """
import resource, sys
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(peak / (2**20 if sys.platform == "darwin" else 2**10))
"""


def process(code: str, cache: str | None = None) -> tuple[float, str]:
    """Seconds of a fresh process, and what it printed; its programs lie in `cache`."""
    env = os.environ | {"KERASNB_COMPILATION_CACHE": cache or "off"}
    for name in ("PYTHONDONTWRITEBYTECODE", "JAX_COMPILATION_CACHE_DIR"):
        env.pop(name, None)
    if cache and "import kerasnb" not in code:
        env |= {
            "JAX_COMPILATION_CACHE_DIR": cache,
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
            "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
        }
    paths = f"import sys; sys.path.insert(0, {str(ROOT)!r})"
    paths += f"; sys.path.append({os.environ.get(ALSO, str(ROOT))!r})\n"
    done: Any = None

    def run() -> None:
        nonlocal done
        command = [sys.executable, "-c", paths + code]
        done = subprocess.run(
            command, env=env, capture_output=True, text=True, timeout=200
        )

    seconds = timed(run)()
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:]
        raise RuntimeError("".join(last) or f"ended with {done.returncode}")
    return seconds, done.stdout


def importing(budget: Budget) -> Figures:
    """`import kerasnb`, and how much later it ends than `import jax`."""
    sides: Sides = {
        name: lambda code=code: lambda: process(code)[0]
        for name, code in _present(IMPORT).items()
    }
    found, failed = in_turns(sides, _few(budget, 7))
    both = zip(found["kerasnb"], found["jax"], strict=True)
    more = {"seconds more than jax": [ours - bare for ours, bare in both]}
    ours, *others = compared(found, failed, "s").items()
    return dict([ours, *more.items(), *others])


def first_step(name: str, warm: bool, budget: Budget) -> Figures:
    """From the start of a process to its end after one step."""
    change = {"rows": TABLE[name].batch}
    codes = {"kerasnb": f"import kerasnb as k{_one_step(name)}"}
    codes["import jax, a product"] = PRODUCT
    if installed("keras"):
        codes["keras"] = f"import keras as k{_one_step(name)}"
    for side in ("handwritten", "flax", "torch"):
        if installed(side) and (side != "torch" or not warm):
            codes[side] = LAPS.format(side=side, name=name, change=change, epochs=1)
    with tempfile.TemporaryDirectory() as folder:

        def fresh(side: str) -> Lap:
            number = 0

            def lap() -> float:
                nonlocal number
                number += not warm
                return process(codes[side], f"{folder}/{side.split()[0]}{number}")[0]

            return lap

        sides: Sides = {side: lambda side=side: fresh(side) for side in codes}
        laps = _few(budget, 5 if warm else 3)
        return compared(*in_turns(sides, laps, warms_up=warm), unit="s")


def memory(name: str, budget: Budget) -> Figures:
    """Peak megabytes of a process that trains three epochs."""
    how = "epochs=3"
    codes = {"kerasnb": f"import kerasnb as k{FIT.format(name=name, how=how)}"}
    if installed("keras"):
        codes["keras"] = f"import keras as k{FIT.format(name=name, how=how)}"
    for side in ("handwritten", "flax", "torch"):
        if installed(side):
            codes[side] = LAPS.format(side=side, name=name, change={}, epochs=3)

    def peak(code: str) -> float:
        return float(process(code + TELL_MEMORY)[1].split()[-1])

    return _values(codes, peak, _few(budget, 3), "MB")


def programs(name: str, budget: Budget) -> Figures:
    """How many programs the first fit of a new process compiles, not how long."""
    codes = {}
    for side in ("kerasnb", "keras"):
        if installed(side):
            before, fit = FIT.format(name=name, how="epochs=3").split("model.fit")
            codes[side] = COUNTING + f"import {side} as k{before}data = work.data()\n"
            codes[side] += BEGIN + f"model.fit{fit}".replace("*work.data()", "*data")
            codes[side] += TELL_COUNT

    def count(code: str) -> float:
        return float(process(code)[1].split()[-1])

    return _values(codes, count, dataclasses.replace(budget, most=1), "programs")


def _values(
    codes: dict[str, str], value: Callable[[str], float], budget: Budget, unit: str
) -> Figures:
    """Figures of what processes tell of themselves, in turns."""
    found: dict[str, list[float]] = {side: [] for side in codes}
    failed: Figures = {}
    for _ in budget.laps():
        for side in list(found):
            try:
                found[side].append(value(codes[side]))
            except Exception as error:
                if side == "kerasnb":
                    raise
                failed[side] = f"failed: {one_line(error)}"
                del found[side]
    return compared(found, failed, unit)


def _one_step(name: str) -> str:
    return FIT.format(name=name, how="steps_per_epoch=1")


def _few(budget: Budget, most: int) -> Budget:
    """So many laps of a whole process at most, but as few as the budget says."""
    most = min(most, budget.most)
    return dataclasses.replace(
        budget, most=most, fewest=min(3, budget.fewest), seconds=4 * budget.seconds
    )


def compiling(name: str, budget: Budget) -> Figures:
    """From a new model to the end of its first step, nothing kept from before."""
    work = dataclasses.replace(TABLE[name], rows=TABLE[name].batch)
    x, y = work.data()

    def library(side: str) -> Lap:
        k = _library(side)

        def fresh() -> None:
            if side == "kerasnb":
                from kerasnb.training import loop

                loop._EXECUTABLES.clear()
            compiled(k, work).fit(x, y, work.batch, verbose=0)

        return timed(fresh)

    sides: Sides = {"kerasnb": lambda: library("kerasnb")}
    for side in ("handwritten", "keras", "flax", "torch"):
        sides[side] = lambda side=side: timed(lambda: SIDES[side](work)())
    if installed("keras"):
        sides["keras"] = lambda: library("keras")
    slow = dataclasses.replace(budget, fewest=min(3, budget.fewest), most=7)
    return compared(*in_turns(_present(sides), slow), unit="s")


# --- All of it ------------------------------------------------------------------------


def _library(name: str) -> Any:
    import importlib

    return importlib.import_module(name)


def _present(sides: dict[str, Any]) -> dict[str, Any]:
    """The sides whose package is there."""
    packages = ("keras", "flax", "torch")
    return {n: side for n, side in sides.items() if n not in packages or installed(n)}


def _rows(measure: Callable, names: dict[str, dict[str, float]]) -> dict[str, Row]:
    return {
        name: Row(functools.partial(measure, TABLE[name]), targets)
        for name, targets in names.items()
    }


def _called(rows: int, batch: int, name: str) -> Row:
    targets = {"keras": 1.0}
    if rows == 1:
        targets["handwritten"] = 2.0
    return Row(functools.partial(predict, rows, batch, name), targets)


def _part(measure: Callable, *given: Any, **targets: float) -> Row:
    return Row(functools.partial(measure, *given), targets)


NEAR = {"handwritten": 1.15, "keras": 1.0}
SECTIONS: dict[str, dict[str, Row]] = {
    "A steady epoch of training": {
        # Too short for a clock inside: the difference of two fits.
        f"{TABULAR}, no callback": Row(
            functools.partial(whole_fit, TABLE[TABULAR], False), NEAR | {"keras": 0.1}
        ),
        f"{TABULAR}, a callback that reads the loss": Row(
            functools.partial(whole_fit, TABLE[TABULAR], True), NEAR | {"keras": 0.1}
        ),
        **_rows(
            training,
            {name: NEAR for name in TABLE if name != TABULAR}
            | {
                MLP32: NEAR | {"keras": 1 / 1.3},
                CNN: NEAR | {"keras": 0.5, "torch": 1.0},
                RESNET: NEAR | {"torch": 1.0},
            },
        ),
    },
    "Callbacks, validation and metrics": {
        "validation, 3 metrics, EarlyStopping, ModelCheckpoint, CSVLogger": Row(
            full, {"bare": 1.2, "keras": 1.0}
        ),
        "live panel in a kernel, MLP": _part(panel, MLP32, none=1.03),
        "live panel in a kernel, CNN": _part(panel, CNN, none=1.03),
    },
    "Single calls": {
        **{
            f"predict of {rows} at batch {batch}, {name.split()[0]}": _called(
                rows, batch, name
            )
            for rows, batch in ((1, 32), (10_000, 32), (10_000, 512))
            for name in (MLP, CNN)
        },
        "model(x) of 1, MLP": _part(calling, MLP, keras=1.0),
        "model(x) of 1, CNN": _part(calling, CNN, keras=1.0),
        "train_on_batch, MLP": _part(single, MLP, handwritten=2.0, keras=1.0),
    },
    "A fresh process": {
        "import": Row(importing, {"seconds more than jax": 0.2, "keras": 1.0}),
        "first step, nothing kept, CNN": _part(first_step, CNN, False, keras=1.0),
        "first step, warm cache, CNN": Row(
            functools.partial(first_step, CNN, True),
            {"import jax, a product": 2.0, "keras": 1.0},
        ),
    },
    "Memory and compilation": {
        "peak memory, MLP": _part(memory, MLP, handwritten=1.1, keras=1.0),
        "peak memory, CNN": _part(memory, CNN, handwritten=1.1, keras=1.0),
        "programs compiled by a fit, MLP": Row(
            functools.partial(programs, MLP), {"kerasnb, programs": 2}
        ),
        "programs compiled by a fit, CNN": Row(
            functools.partial(programs, CNN), {"kerasnb, programs": 2}
        ),
        "compile, MLP": _part(compiling, MLP, keras=1.0),
        "compile, CNN": _part(compiling, CNN, keras=1.0),
        "compile, ResNet-20": _part(compiling, RESNET, keras=1.0),
    },
    **{
        f"Growing {what}": {
            f"{what} {size}": _part(growth, work, handwritten=1.15)
            for size, work in works.items()
        }
        for what, works in GROWTH.items()
    },
}
