"""Speed beside hand-written JAX, the released Keras, Flax NNX and PyTorch.

Run it: `make bench`, or `python -m tests.benchmarks.run [--only CNN] [--laps 5]`; it
writes `tests/benchmarks/RESULTS.md` itself. All sides of a row take turns, lap by lap,
so that a busy machine slows all of them. A figure is the median over the laps of our
time divided by that of the other side in the same lap, and behind it the range of the
middle half of these ratios; below 1 kerasnb is faster. With `--only` the other rows of
an earlier run stay as they are.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "jax")
os.environ["KERASNB_COMPILATION_CACHE"] = "off"  # but in the processes that want it

import jax
import numpy as np

from tests.benchmarks.handwritten import initial, make_epoch, make_step
from tests.benchmarks.workloads import (
    GROWTH,
    SIDES,
    TABLE,
    Laps,
    Workload,
    compiled,
    handwritten,
    installed,
    kerasnb,
    timed,
)

ROOT = Path(__file__).parents[2]
RESULTS = Path(__file__).with_name("RESULTS.md")
KEPT = ROOT / "build" / "benchmarks.json"
Sides = dict[str, Callable[[], float]]
MLP = TABLE["MLP 784-128-10, batch 128"]


# --- Laps in turns --------------------------------------------------------------------


def in_turns(sides: Sides, laps: int, calls: int = 1) -> dict[str, list[float]]:
    """Seconds of every lap of every side, after one that compiles."""
    found: dict[str, list[float]] = {name: [] for name in sides}
    for lap in sides.values():
        lap()
    for number in range(laps):
        order = list(sides) if number % 2 else list(reversed(sides))
        for name in order:
            found[name].append(sum(sides[name]() for _ in range(calls)) / calls)
    for lap in sides.values():
        if isinstance(lap, Laps):
            lap.end()
    return found


def cells(found: dict[str, list[float]]) -> dict[str, str]:
    """Our milliseconds, and our laps divided by those of each other side."""
    (_, ours), *others = found.items()
    row = {"kerasnb, ms": f"{1000 * min(ours):.3g}"}
    for name, laps in others:
        ratios = sorted(a / b for a, b in zip(ours, laps, strict=True))
        row[name] = spread(ratios)
    return row


def spread(ratios: list[float]) -> str:
    """The median, and the middle half."""
    if len(ratios) < 3:
        return f"{statistics.median(ratios):.2f}"
    low, middle, high = statistics.quantiles(sorted(ratios), n=4)
    return f"**{middle:.2f}** ({low:.2f} to {high:.2f})"


# --- Rows -----------------------------------------------------------------------------


def training(work: Workload, laps: int) -> dict[str, str]:
    sides = {name: make(work) for name, make in SIDES.items() if installed(name)}
    calls = 5 if work.rows * len(str(work.sizes)) < 2e4 and work.sizes else 1
    return cells(in_turns(sides, laps, calls))


def growth(work: Workload, laps: int) -> dict[str, str]:
    sides = {"kerasnb": kerasnb(work), "handwritten": handwritten(work)}
    return cells(in_turns(sides, laps))


def predict(rows: int, name: str, laps: int) -> dict[str, str]:
    import keras

    import kerasnb as ours

    work = TABLE[name]
    x, _ = work.data(rows)
    forward, params, stats = initial(work.kind, work.sizes)
    run = jax.jit(lambda p, s, x: forward(p, s, x, None)[0])
    batch = min(rows, 1024)
    sides: Sides = {}
    for side, library in (("kerasnb", ours), ("keras", keras)):
        model = compiled(library, work)
        sides[side] = _predicting(model, x, batch)
    starts = range(0, rows, batch)
    sides["handwritten"] = timed(
        lambda: np.concatenate([run(params, stats, x[i : i + batch]) for i in starts])
    )
    if installed("torch"):
        import torch

        from tests.benchmarks.torch_models import build

        net, given = build(work).eval(), torch.from_numpy(x)

        def by_torch() -> None:
            with torch.no_grad():
                torch.cat([net(part) for part in given.split(batch)]).numpy()

        sides["torch"] = timed(by_torch)
    return cells(in_turns(sides, laps, 100 if rows == 1 else 2))


def _predicting(model: Any, x: np.ndarray, batch: int) -> Callable[[], float]:
    return timed(lambda: model.predict(x, batch_size=batch, verbose=0))


def calling(name: str, laps: int) -> dict[str, str]:
    import keras

    import kerasnb as ours

    work = TABLE[name]
    x, _ = work.data(1)
    forward, params, stats = initial(work.kind, work.sizes)
    run = jax.jit(lambda p, s, x: forward(p, s, x, None)[0])
    sides: Sides = {}
    for side, library in (("kerasnb", ours), ("keras", keras)):
        model = compiled(library, work)
        for _ in range(2):
            model(x)
        sides[side] = timed(lambda model=model: np.asarray(model(x)))
    sides["handwritten"] = timed(lambda: np.asarray(run(params, stats, x)))
    return cells(in_turns(sides, laps, 100))


def full(laps: int) -> dict[str, str]:
    """Everything on, beside a bare fit and an evaluation of as many rows."""
    import keras

    import kerasnb as ours

    with tempfile.TemporaryDirectory() as folder:

        def everything(k: Any) -> Laps:
            c, here = k.callbacks, Path(folder) / k.__name__
            metrics = ["accuracy", "sparse_top_k_categorical_accuracy"]
            metrics.append(k.metrics.SparseCategoricalCrossentropy(from_logits=True))
            return Laps(
                k,
                MLP,
                compiled(k, MLP, metrics),
                validation_data=MLP.data(2000),
                callbacks=[
                    c.EarlyStopping(patience=1_000_000),
                    c.ModelCheckpoint(f"{here}.keras", save_best_only=True),
                    c.CSVLogger(f"{here}.csv"),
                ],
            )

        bare = compiled(ours, MLP)
        x, y = MLP.data(2000)
        fit = kerasnb(MLP)

        def fit_and_evaluate() -> float:
            began = time.perf_counter()
            bare.evaluate(x, y, batch_size=MLP.batch, verbose=0)
            return fit() + time.perf_counter() - began

        sides = {"kerasnb": everything(ours), "bare": fit_and_evaluate}
        row = cells(in_turns({**sides, "keras": everything(keras)}, laps, 3))
        fit.end()
    return row


def panel(name: str, laps: int) -> dict[str, str]:
    """A live panel that draws itself, beside none."""
    import kerasnb as ours

    display = ours.config.display()
    ours.config.display("widget")
    try:
        work = TABLE[name]
        watched = Laps(ours, work, verbose="auto")
        return cells(in_turns({"kerasnb": watched, "off": kerasnb(work)}, laps, 3))
    finally:
        ours.config.display(display)


def single(laps: int) -> dict[str, str]:
    """`train_on_batch` beside a jitted step."""
    import keras

    import kerasnb as ours

    x, y = MLP.data(MLP.batch)
    step, state = make_step(MLP.kind, MLP.sizes)
    step, mask = jax.jit(step, donate_argnums=0), np.ones(MLP.batch, "float32")

    def by_hand() -> None:
        nonlocal state
        state = step(state, x, y, mask)
        np.asarray(state[-1])

    sides: Sides = {}
    for side, k in (("kerasnb", ours), ("keras", keras)):
        model = compiled(k, MLP)
        sides[side] = timed(lambda model=model: model.train_on_batch(x, y))
    return cells(in_turns({**sides, "handwritten": timed(by_hand)}, laps, 50))


# --- Processes of their own -----------------------------------------------------------

FIRST = {
    "kerasnb": "import kerasnb as k",
    "keras": "import keras as k",
    "jax": "import jax, jax.numpy as jnp; jnp.ones((9, 9)) @ jnp.ones((9, 9))",
}
FIT = """
import sys; sys.path.insert(0, {root!r})
from tests.benchmarks.workloads import TABLE, compiled
work = TABLE[{name!r}]
model = compiled(k, work)
model.fit(*work.data(), work.batch, steps_per_epoch=1, verbose=0)
"""
BY_HAND = """
import sys; sys.path.insert(0, {root!r})
from tests.benchmarks.workloads import TABLE
from tests.benchmarks.handwritten import make_epoch
work = TABLE[{name!r}]
epoch, state = make_epoch(work.kind, *work.data(), work.batch, work.sizes)
for _ in range({epochs}):
    state, *_ = epoch(state)
"""
TELL = """
import resource
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""


def process(code: str, cache: str) -> tuple[float, float]:
    """Seconds and peak megabytes of a fresh process; its programs lie in `cache`."""
    env = os.environ | {"PYTHONPATH": str(ROOT), "KERASNB_COMPILATION_CACHE": cache}
    env.pop("PYTHONDONTWRITEBYTECODE", None)
    if "import kerasnb" not in code:
        env |= {
            "JAX_COMPILATION_CACHE_DIR": cache,
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        }
    began = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", code + TELL], env=env, capture_output=True, text=True
    )
    seconds = time.perf_counter() - began
    if done.returncode:
        raise RuntimeError(done.stderr)
    return seconds, float(done.stdout.split()[-1])


def start(kind: str, laps: int) -> dict[str, str]:
    """The time to the end of an import or of a first step, cold or warm."""
    name = "CNN 28x28, batch 128"
    fit = "" if kind == "import" else FIT.format(root=str(ROOT), name=name)
    codes = {s: code + fit * (s != "jax") for s, code in FIRST.items() if installed(s)}
    found: dict[str, list[float]] = {side: [] for side in codes}
    with tempfile.TemporaryDirectory() as folder:
        for number in range(-(kind != "cold"), laps):
            for side, code in codes.items():
                lap = number if kind == "cold" else 0
                seconds, _ = process(code, f"{folder}/{side}{lap}")
                if number >= 0:
                    found[side].append(seconds)
    return cells(found)


def memory(name: str, laps: int) -> dict[str, str]:
    """Peak megabytes of a process that trains, beside that of the hand-written loop."""
    ours = FIRST["kerasnb"] + FIT.replace("steps_per_epoch=1", "epochs=3")
    codes = {"kerasnb": ours, "handwritten": BY_HAND}
    if installed("keras"):
        codes["keras"] = FIRST["keras"] + FIT.replace("steps_per_epoch=1", "epochs=3")
    found: dict[str, list[float]] = {side: [] for side in codes}
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(laps):
            for side, code in codes.items():
                code = code.format(root=str(ROOT), name=name, epochs=3)
                found[side].append(process(code, f"{folder}/{side}")[1])
    row = cells(found)
    row["kerasnb, MB"] = f"{min(found['kerasnb']):.0f}"
    del row["kerasnb, ms"]
    return row


def compiling(name: str, laps: int) -> dict[str, str]:
    """From a new model to the end of its first step, nothing kept from before."""
    import kerasnb as ours
    from kerasnb.training import loop

    work = TABLE[name]
    x, y = work.data(work.batch)

    def by_hand() -> None:
        epoch, state = make_epoch(work.kind, x, y, work.batch, work.sizes)
        epoch(state)

    def by_fit() -> None:
        loop._EXECUTABLES.clear()
        compiled(ours, work).fit(x, y, work.batch, verbose=0)

    sides = {"kerasnb": timed(by_fit), "handwritten": timed(by_hand)}
    return cells(in_turns(sides, laps))


# --- All of it ------------------------------------------------------------------------

SECTIONS: dict[str, dict[str, Callable[[int], dict[str, str]]]] = {
    "A steady epoch of training": {
        name: lambda laps, work=work: training(work, laps)
        for name, work in TABLE.items()
    },
    "Callbacks, validation and metrics": {
        "validation, 3 metrics, EarlyStopping, ModelCheckpoint, CSVLogger": full,
        "live panel, MLP": lambda laps: panel("MLP 784-128-10, batch 128", laps),
        "live panel, CNN": lambda laps: panel("CNN 28x28, batch 128", laps),
    },
    "Single calls": {
        **{
            f"predict of {rows}, {name.split()[0]}": lambda laps, r=rows, n=name: (
                predict(r, n, laps)
            )
            for rows in (1, 10_000)
            for name in ("MLP 784-128-10, batch 128", "CNN 28x28, batch 128")
        },
        "model(x) of 1, MLP": lambda laps: calling("MLP 784-128-10, batch 128", laps),
        "model(x) of 1, CNN": lambda laps: calling("CNN 28x28, batch 128", laps),
        "train_on_batch, MLP": single,
    },
    "A fresh process, beside `import jax` and a product of matrices": {
        "import": lambda laps: start("import", laps),
        "first step, cold, CNN": lambda laps: start("cold", min(laps, 3)),
        "first step, warm cache, CNN": lambda laps: start("warm", laps),
    },
    "Memory and compilation": {
        "peak memory, MLP": lambda laps: memory("MLP 784-128-10, batch 128", 3),
        "peak memory, CNN": lambda laps: memory("CNN 28x28, batch 128", 3),
        "compile, MLP": lambda laps: compiling("MLP 784-128-10, batch 128", laps),
        "compile, CNN": lambda laps: compiling("CNN 28x28, batch 128", min(laps, 3)),
        "compile, ResNet-20": lambda laps: compiling("ResNet-20, batch 64", 1),
    },
    **{
        f"Growing {what}": {
            f"{what} {size}": lambda laps, work=work: growth(work, min(laps, 5))
            for size, work in works.items()
        }
        for what, works in GROWTH.items()
    },
}


def write(rows: dict[str, dict[str, dict[str, str]]]) -> None:
    """Make the page from all rows."""
    lines = [
        "# Speed",
        "",
        "Written by `make bench`; see `run.py` for how. Each figure is our time",
        "divided by that of the other side, the median over laps taken in turns, with",
        "the range of the middle half: below 1 kerasnb is faster.",
        "",
        f"{machine()}",
    ]
    for section, found in rows.items():
        names = list(dict.fromkeys(name for row in found.values() for name in row))
        lines += ["", f"## {section}", ""]
        lines.append("| | " + " | ".join(names) + " |")
        lines.append("|---" * (len(names) + 1) + "|")
        for title, row in found.items():
            values = " | ".join(row.get(name, "") for name in names)
            lines.append(f"| {title} | {values} |")
    RESULTS.write_text("\n".join(lines) + "\n", encoding="utf-8")


def machine() -> str:
    """What it ran on."""
    names = [name for name in ("keras", "flax", "torch") if installed(name)]
    versions = ", ".join(f"{n} {version(n)}" for n in ("jax", "numpy", *names))
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")
    return (
        f"{time.strftime('%Y-%m-%d')}, {os.cpu_count()} CPU cores "
        f"({platform.machine()}), devices {jax.devices()}, load {load:.1f} at the end; "
        f"Python {platform.python_version()}, {versions}."
    )


def main() -> None:
    """Measure the rows that are asked for, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="rows with this in them")
    parser.add_argument("--laps", type=int, default=7)
    parser.add_argument("--also", type=Path, help="a folder of further packages")
    args = parser.parse_args()
    if args.also is not None and args.also.is_dir():
        sys.path.append(str(args.also))
    rows: dict[str, Any] = {section: {} for section in SECTIONS}
    if args.only and KEPT.exists():
        rows |= json.loads(KEPT.read_text(encoding="utf-8"))
    for section, found in SECTIONS.items():
        for title, measure in found.items():
            if args.only.lower() not in f"{section} {title}".lower():
                continue
            began = time.perf_counter()
            rows[section][title] = row = measure(args.laps)
            text = ", ".join(f"{name} {value}" for name, value in row.items())
            print(f"{title}: {text} [{time.perf_counter() - began:.0f} s]", flush=True)
            KEPT.parent.mkdir(exist_ok=True)
            KEPT.write_text(json.dumps(rows, indent=1), encoding="utf-8")
            write({section: found for section, found in rows.items() if found})


if __name__ == "__main__":
    main()
