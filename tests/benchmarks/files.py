"""Loading and saving model files: time and memory beside the released Keras.

Run it: `make bench`, or `python tests/benchmarks/files.py [MODEL ...]`. Each loading
happens in a process of its own, as a user's first one does; both sides take turns, so
that a busy machine slows both, and the ratio of the best times counts; that of CPU
times is less moved by what else runs. Memory is the peak above what the process held
after its imports. Saving ends here when the bytes are
on disk, which Keras does not wait for: its time is told, not compared.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SIDES = {"kerasnb": "kerasnb", "keras": "keras"}
KINDS = {
    "keras": "m.keras",
    "weights": "m.weights.h5",
    "legacy": "m.h5",
}


# --- Models ---------------------------------------------------------------------------


def mlp(k):
    layers = k.layers
    return k.Sequential(
        [
            k.Input((784,)),
            layers.Dense(128, activation="relu"),
            layers.Dropout(0.2),
            layers.Dense(10, activation="softmax"),
        ]
    )


def cnn(k):
    """Fifty layers with weights, in residual blocks."""
    layers = k.layers
    inputs = x = k.Input((32, 32, 3))
    for block in range(8):
        filters = 16 * 2 ** (block // 3)
        skip = layers.Conv2D(filters, 1)(x)
        for _ in range(2):
            x = layers.Conv2D(filters, 3, padding="same", use_bias=False)(x)
            x = layers.BatchNormalization()(x)
            x = layers.ReLU()(x)
        x = layers.Add()([x, skip])
        x = layers.LayerNormalization()(x)
    x = layers.GlobalAveragePooling2D()(x)
    return k.Model(inputs, layers.Dense(10)(layers.Dense(64)(x)))


def big(k):
    """Two hundred megabytes of weights."""
    layers = k.layers
    wide = [layers.Dense(3620, activation="relu") for _ in range(4)]
    return k.Sequential([k.Input((3620,)), *wide])


MODELS = {make.__name__: make for make in (mlp, cnn, big)}


# --- One measurement, in its own process ----------------------------------------------


def child(side, act, name, folder):
    os.environ.setdefault("KERAS_BACKEND", "jax")
    import importlib

    import h5py  # noqa: F401 - which Keras imports with itself, kerasnb when needed
    import jax
    import numpy as np

    k = importlib.import_module(SIDES[side])
    jax.numpy.zeros(3).block_until_ready()
    action, _, kind = act.partition("-")
    path = str(Path(folder, KINDS[kind]))
    model = None
    if action == "make":
        model = MODELS[name](k)
        if kind == "keras":
            model.compile("sgd", "mse")
    elif kind == "weights":
        model = MODELS[name](k)
    if action == "save":
        model = model or k.models.load_model(path, compile=False)
        path = f"{folder}/again-{KINDS[kind]}"
    before, began, used = memory(), time.perf_counter(), time.process_time()
    if action == "load" and kind == "weights":
        model.load_weights(path)
    elif action == "load":
        model = k.models.load_model(path)
    elif kind == "weights":
        model.save_weights(path)
    else:
        model.save(path)
    if action == "load":
        jax.block_until_ready([np.asarray(w.value)[:1] for w in model.weights])
    found = {
        "seconds": time.perf_counter() - began,
        "cpu": time.process_time() - used,
        "megabytes": memory(peak=True) - before,
    }
    print(json.dumps(found))


def memory(peak=False):
    """Megabytes of this process now, or at its peak."""
    if not peak and Path("/proc/self/clear_refs").exists():
        Path("/proc/self/clear_refs").write_text("5")  # forget the peak so far
    status = Path("/proc/self/status")
    if status.exists():
        words = status.read_text().split()
        return int(words[words.index("VmHWM:" if peak else "VmRSS:") + 1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


# --- Turns ----------------------------------------------------------------------------


def measure(side, act, name, folder):
    command = [sys.executable, __file__, "--child", side, act, name, folder]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{side} {act} {name}: {done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("models", nargs="*", default=list(MODELS))
    parser.add_argument("--kinds", nargs="*", default=list(KINDS))
    parser.add_argument("--actions", nargs="*", default=["load", "save"])
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--child", nargs=4, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        child(*args.child)
        return
    for name in args.models:
        with tempfile.TemporaryDirectory() as folder:
            for kind in args.kinds:
                measure("keras", f"make-{kind}", name, folder)
            for kind in args.kinds:
                for action in args.actions:
                    if (action, kind) == ("save", "legacy"):
                        continue  # Keras' old format is only read here.
                    report(name, action, kind, folder, args.runs)


def report(name, action, kind, folder, runs):
    found = {side: [] for side in SIDES}
    for _ in range(runs):
        for side, results in found.items():
            results.append(measure(side, f"{action}-{kind}", name, folder))
    best = {
        side: {key: min(r[key] for r in results) for key in results[0]}
        for side, results in found.items()
    }
    ours, theirs = best["kerasnb"], best["keras"]
    line = {
        f"{side}_{short}": round(best[side][key], 3)
        for side in SIDES
        for key, short in (("seconds", "s"), ("cpu", "cpu"), ("megabytes", "mb"))
    }
    line["ratio"] = round(ours["seconds"] / theirs["seconds"], 3)
    line["cpu_ratio"] = round(ours["cpu"] / theirs["cpu"], 3)
    if theirs["megabytes"] > 20:  # below, it is what the allocator happens to do
        line["memory_ratio"] = round(ours["megabytes"] / theirs["megabytes"], 3)
    print(f"{action} {kind:8} {name:4} {json.dumps(line)}", flush=True)


if __name__ == "__main__":
    main()
