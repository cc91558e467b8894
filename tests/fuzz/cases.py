"""One mutated file: made from a number, loaded, and judged."""

import contextlib
import faulthandler
import math
import os
import random
import resource
import shutil
import signal
import tempfile
import threading
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

import kerasnb as nb
from kerasnb import layers
from kerasnb.core import registry
from kerasnb.core.naming import reset_names
from tests.fuzz import mutate

SECONDS = 5.0  # of computing
MEMORY = 200 << 20  # beside four times the file
LETTERS = 600


# --- Valid files ----------------------------------------------------------------------


def chain() -> Any:
    model = nb.Sequential(
        [
            nb.Input((3,), name="x"),
            layers.Dense(4, activation="relu", kernel_regularizer="l2", name="hidden"),
            layers.BatchNormalization(name="norm"),
            layers.Dropout(0.5, name="drop"),
            layers.Dense(2, name="out"),
        ],
        name="chain",
    )
    model.compile("adam", "mse", metrics=["mae", nb.metrics.AUC(5)])
    return model


def pictures() -> Any:
    return nb.Sequential(
        [
            nb.Input((6, 6, 2), name="x"),
            layers.Rescaling(0.5),
            layers.ZeroPadding2D(1),
            layers.Conv2D(3, 3, padding="same", activation="relu"),
            layers.SeparableConv2D(2, 2),
            layers.AdaptiveAveragePooling2D(4),
            layers.GroupNormalization(2),
            layers.UpSampling2D(2),
            layers.MaxPooling2D(),
            layers.Resizing(3, 3),
            layers.RandomFlip(),
            layers.Cropping2D(1),
            layers.Flatten(),
            layers.Dense(2),
        ],
        name="pictures",
    )


def words() -> Any:
    return nb.Sequential(
        [
            nb.Input((5,), dtype="int32", name="x"),
            layers.Embedding(9, 4, mask_zero=True),
            layers.Bidirectional(layers.LSTM(3, return_sequences=True, unroll=True)),
            layers.TimeDistributed(layers.Dense(3)),
            layers.GRU(2, return_sequences=True),
            layers.RNN([layers.SimpleRNNCell(2), layers.GRUCell(2)]),
            layers.RepeatVector(2),
            layers.LayerNormalization(),
            layers.Conv1D(2, 2, padding="causal"),
        ],
        name="words",
    )


def graph() -> Any:
    a, b = nb.Input((4, 3), name="a"), nb.Input((4, 3), name="b")
    both = layers.Dense(3, name="both")
    x = layers.Add()([both(a), both(b)]) * 2.0 + 1.0
    x = layers.MultiHeadAttention(2, 2, name="attention")(x, a)
    x = nb.ops.concatenate([x, nb.ops.relu(b)], axis=-1)
    inner = nb.Sequential([layers.Dense(2), layers.Activation("tanh")], name="inner")
    out = {"y": inner(x), "z": layers.GlobalAveragePooling1D(name="z")(x)}
    return nb.Model({"a": a, "b": b}, out, name="graph")


def text() -> Any:
    learned = layers.TextVectorization(output_sequence_length=4, ngrams=2, name="learn")
    learned.adapt(["a b c", "b c d"])
    given = layers.StringLookup(vocabulary=["a", "b"], output_mode="multi_hot")
    words = nb.Input((), dtype="string", name="words")
    tags = nb.Input((1,), dtype="string", name="tags")
    number = nb.Input((2,), name="number")
    parts = [
        layers.Rescaling(1.0)(learned(words)),
        given(tags),
        layers.Normalization(mean=[1.0, 2.0], variance=[1.0, 1.0])(number),
        layers.Discretization([0.0, 1.0], output_mode="int")(number),
        layers.Hashing(3, output_mode="one_hot")(tags),
    ]
    return nb.Model([words, tags, number], parts, name="text")


def sound() -> Any:
    x = nb.Input((64,), name="x")
    mel = layers.MelSpectrogram(16, 8, num_mel_bins=4, sampling_rate=100)(x)
    stft = layers.STFTSpectrogram(frame_length=8, frame_step=4, fft_length=8)
    pair = layers.Reshape((64, 1))(x)
    return nb.Model(x, [mel, stft(pair), layers.Lambda("exp")(x)], name="sound")


MODELS: tuple[Callable[[], Any], ...] = (chain, pictures, words, graph, text, sound)


def write_seeds(folder: Path) -> None:
    """The valid files that all cases start from."""
    warnings.simplefilter("ignore")
    for make in MODELS:
        reset_names()
        nb.utils.set_random_seed(1)
        make().save(folder / f"{make.__name__}.keras")
    reset_names()
    model = chain()
    model.save_weights(folder / "chain.weights.h5")
    model.save_weights(folder / "chain.weights.json", max_shard_size=1e-7)
    model.save(folder / "chain.h5")
    model.save_weights(folder / "chain.safetensors")


# --- One case -------------------------------------------------------------------------

# How often each is taken, and how it is changed.
_KINDS: tuple[tuple[str, int, Callable[..., bytes]], ...] = (
    ("chain.keras", 6, mutate.keras),
    ("pictures.keras", 3, mutate.keras),
    ("words.keras", 3, mutate.keras),
    ("graph.keras", 3, mutate.keras),
    ("text.keras", 3, mutate.keras),
    ("sound.keras", 1, mutate.keras),
    ("chain.weights.h5", 4, mutate.hdf5),
    ("chain.weights.json", 1, mutate.listing),
    ("chain.h5", 4, mutate.hdf5),
    ("chain.safetensors", 2, mutate.safetensors),
)


def _class_names() -> list[str]:
    return sorted({name for _, name in registry._library})


def make_case(seed: int, seeds: Path) -> tuple[str, bytes]:
    """The name and the content of the file of that number."""
    rng = random.Random(seed)
    known = [kind for kind in _KINDS if (seeds / kind[0]).exists()]
    ((name, _, change),) = rng.choices(known, [weight for _, weight, _ in known])
    return name, change(rng, (seeds / name).read_bytes(), _class_names())


@dataclass
class Verdict:
    """What became of a case; `fault` says what is wrong with that."""

    seed: int
    kind: str
    outcome: str
    fault: str = ""
    seconds: float = 0.0
    memory: int = 0


class Slow(BaseException):
    """The time is up."""


def judge(seed: int, seeds: Path) -> Verdict:
    """Load the file of that number as a user would."""
    name, content = make_case(seed, seeds)
    verdict = Verdict(seed, name, "refused")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, name)
        for shard in seeds.glob("chain_*.weights.h5") if "json" in name else ():
            shutil.copy(shard, folder)
        path.write_bytes(content)
        held = sum(p.stat().st_size for p in Path(folder).iterdir())
        before = _memory("VmRSS")
        _forget_peak()
        started = _computed()
        try:
            with warnings.catch_warnings(), _limited():
                warnings.simplefilter("ignore")
                verdict.outcome = _load(path, seed)
        except Slow:
            verdict.fault = f"more than {SECONDS} s"
        except (ValueError, TypeError, OSError) as error:
            verdict.fault = _fault_of(str(error).replace(folder, ""))
        except BaseException as error:  # noqa: BLE001 - that is what is looked for
            verdict.fault = f"{type(error).__name__}: {error}"[:300]
        verdict.seconds = _computed() - started
        verdict.memory = _memory("VmHWM") - before
        if verdict.memory > 4 * held + MEMORY and not verdict.fault:
            verdict.fault = f"{verdict.memory >> 20} MiB for {held} bytes"
    if registry.code_is_allowed() or nb.config.floatx() != "float32":
        verdict.fault = "the file changed a setting"
    return verdict


_target: list[Any] = []


def _load(path: Path, seed: int) -> str:
    if path.suffix in (".keras", ".h5") and ".weights" not in path.name:
        model = nb.saving.load_model(path)
        # Computing is slower than reading by far.
        if seed % 40 or not _is_small(model):
            return "loaded"
        model(_inputs(model))
        return "predicted"
    if not _target:
        _target.append(chain())
    _target[0].load_weights(path)
    return "loaded"


def _is_small(model: Any) -> bool:
    """Whether a prediction costs little; a file may ask for a lot in a few words."""
    sizes = [
        math.prod(n or 1 for n in x.shape)
        for layer in model._flatten_layers()
        for node in getattr(layer, "_inbound_nodes", ())
        for x in node.output_tensors
    ]
    return bool(sizes) and max(sizes) < 10**5


def _inputs(model: Any) -> list[Any]:
    return [
        np.full([2 if n is None else n for n in x.shape], "a", object)
        if x.dtype == "string"
        else np.zeros([2 if n is None else n for n in x.shape], x.dtype)
        for x in model.inputs
    ]


def _fault_of(message: str) -> str:
    if "\n" in message or "Traceback" in message or 'File "' in message:
        return f"not one sentence: {message}"[:300]
    if not message.isprintable():
        return f"not printable: {message!r}"[:300]
    if len(message) > LETTERS:
        return f"{len(message)} letters: {message}"[:300]
    return "" if message.strip() else "an error without a message"


# --- Time and memory ------------------------------------------------------------------


def _computed() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


@contextlib.contextmanager
def _limited() -> Iterator[None]:
    """Raise `Slow` after some seconds of computing, not of waiting for others."""

    def stop(*_: object) -> None:
        raise Slow

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    old = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, old)


def _memory(name: str) -> int:
    with open("/proc/self/status") as file:
        line = next(line for line in file if line.startswith(name))
    return int(line.split()[1]) << 10


def _forget_peak() -> None:
    with contextlib.suppress(OSError), open("/proc/self/clear_refs", "w") as file:
        file.write("5")


def limit_memory(room: int) -> None:
    """Let an allocation that would hurt the machine fail."""
    with open("/proc/self/statm") as file:
        used = int(file.read().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    resource.setrlimit(resource.RLIMIT_AS, (used + room, used + room))


def work(pipe: Connection, seeds: Path) -> None:
    """Judge the numbers that come through a pipe."""
    faulthandler.enable()
    judge(0, seeds)  # imports what is imported late
    limit_memory(4 << 30)
    pipe.send(None)
    while (seed := pipe.recv()) is not None:
        pipe.send(judge(seed, seeds))
