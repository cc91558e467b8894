"""Layers tried over grids of arguments: which cases are drawn, and what must hold."""

import contextlib
import itertools
import random
import re
import warnings
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any
from unittest import mock

import keras
import numpy as np

from kerasnb import layers
from tests.helpers import (
    Case,
    Shape,
    agree_on_config,
    agree_on_variables,
    change_weights,
    close,
    inputs_for,
    make,
    program_of,
    run_together,
    spec,
)

HALVES = ("mixed_float16", "bfloat16", "mixed_bfloat16", "float16")
# How far apart two formulations may be, as a share of the largest value; gradients.
LIMITS = {"float32": (1e-5, 1e-4), "float16": (4e-3, 2e-2), "bfloat16": (3e-2, 0.2)}
# Layers and words of errors of Keras in cases in which ours work.
KERAS_REFUSES = {
    ("RMSNormalization", "Incompatible shapes"): "it scales the last axis, always",
    (
        "MultiHeadAttention",
        "cannot reshape|does not match previous",
    ): "its fast path has values as long as keys",
    (".*(RNN|LSTM.*|GRU|Bidirectional)", "Unsupported dtype"): "no QR in 16 bits",
    ("STFTSpectrogram", "type=bfloat16"): "no convolution with a wider kernel",
    ("MelSpectrogram", "dot_general"): "no empty batch",
}
CALL = ("inputs", "training", "mask", "call")
KERAS_RANDOM = "keras.src.backend.jax.random"


@dataclass(frozen=True)
class Grid:
    """A layer, its inputs and the values that each of its arguments is tried with.

    The choices of `inputs`, `training`, `mask` and `call` are those of the call; those
    of `setup` are arguments that go together. Where `allowed` is false Keras raises,
    and so must we.
    """

    name: str
    choices: dict[str, Sequence[Any]]
    allowed: Callable[[dict[str, Any]], bool]
    how: dict[str, Any]

    def __iter__(self) -> Iterator[Case]:
        """Every pair of choices once in float32, then some at the edges."""
        rng = random.Random(zlib.crc32(self.name.encode()))
        settings = list(all_pairs(self.choices, self.allowed, rng))
        for setting in settings:
            yield self._case(setting)
        good = [s for s in settings if self.allowed(s)]
        halves = rng.sample([h for h in HALVES if h not in self.without()], 2)
        for half, setting in zip(halves, self._some(good, rng), strict=True):
            row = self._case(setting)
            yield replace(row, args=row.args | {"dtype": half})
        for edge, setting in zip((_empty, _thin), self._some(good, rng), strict=True):
            row = self._case(setting)
            yield replace(row, shapes=[edge(shape, row) for shape in row.shapes])

    def without(self) -> tuple[str, ...]:
        """JAX's attention does not multiply float16 on a CPU."""
        heads = "QueryAttention" in self.name or "MultiHead" in self.name
        return ("float16", "mixed_float16") if heads else ()

    @staticmethod
    def _some(good: list[dict], rng: random.Random) -> list[dict]:
        return [good[rng.randrange(len(good))] for _ in range(2)]

    def _case(self, setting: dict[str, Any]) -> Case:
        setting = setting | setting.get("setup", {})
        call = {k: v for k, v in setting.items() if k in CALL}
        args = {k: v for k, v in setting.items() if k not in (*CALL, "setup")}
        shapes = call.pop("inputs")
        if args.get("data_format") == "channels_first":
            shapes = [(s[0], s[-1], *s[1:-1]) for s in shapes]
        return Case(self.name, shapes, args, **self.how, **call)


def _empty(shape: Shape, row: Case) -> Shape:
    return (0, *shape[1:])


def _thin(shape: Shape, row: Case) -> Shape:
    """Every axis of length one, but for the features."""
    features = 1 if row.args.get("data_format") == "channels_first" else len(shape) - 1
    return tuple(d if i == features else 1 for i, d in enumerate(shape))


def grid(
    names: str,
    *shapes: Shape,
    inputs: Sequence[Sequence[Shape]] = (),
    allowed: Callable[[dict[str, Any]], bool] = lambda setting: True,
    below: int | None = None,
    spread: bool = False,
    **choices: Sequence[Any],
) -> list[Grid]:
    """Rows of the table, one for each name; `inputs` are further sets of shapes."""
    choices = {"inputs": [shapes, *inputs], **choices}
    how = {"below": below, "spread": spread}
    return [Grid(name, choices, allowed, how) for name in names.split()]


def all_pairs(
    choices: dict[str, Sequence[Any]],
    allowed: Callable[[dict[str, Any]], bool],
    rng: random.Random,
) -> Iterator[dict[str, Any]]:
    """Few settings in which each value of one argument meets each of every other.

    A pair that is never allowed comes last, with the first choices for the rest.
    """
    names = list(choices)

    def pairs(picked: dict[str, int]) -> set[tuple]:
        return set(itertools.combinations(sorted(picked.items()), min(2, len(names))))

    def setting(picked: dict[str, int]) -> dict[str, Any]:
        return {name: choices[name][picked[name]] for name in names}

    every = itertools.product(
        *([(n, i) for i in range(len(choices[n]))] for n in names)
    )
    wanted = sorted(set().union(*(pairs(dict(picked)) for picked in every)))
    left, alone = dict.fromkeys(wanted), []
    while left:
        # Through the first pair that is left; of many random fillings, the best.
        first = dict(next(iter(left)))
        tries = [
            {n: rng.randrange(len(choices[n])) for n in names} | first
            for _ in range(40)
        ]
        good = [picked for picked in tries if allowed(setting(picked))]
        if good:
            best = max(good, key=lambda picked: len(pairs(picked) & left.keys()))
            yield setting(best)
        else:
            best = dict.fromkeys(names, 0) | first
            alone.append(setting(best))
        for pair in pairs(best) & left.keys() if good else [next(iter(left))]:
            del left[pair]
    yield from alone


# --- The check ---------------------------------------------------------------------


def check_drawn(row: Case) -> None:
    """Ours does what Keras' does, or both refuse."""
    x = inputs_for(row)
    made, shapes, programs, refused = [], [], [], []
    for library in (layers, keras.layers):
        try:
            with _quietly_if(library is keras.layers):
                made.append(_make(library, row))
                with without_drawing():
                    outputs = made[-1](*row.placeholders(library), **row.options)
                shapes.append(spec(outputs))
                change_weights(made[-1])
                programs.append(program_of(made[-1], row, x))
        except Exception as error:  # noqa: BLE001 - Keras may raise anything
            refused.append((library, error))
    if refused:
        _both_refuse(row, refused)
        return
    ours, theirs = made
    agree_on_variables(ours, theirs)
    agree_on_config(ours, theirs)
    mine, wanted = run_together(programs)
    # Keras' own are not compared: those of attention scores, for one, are wrong.
    assert spec(mine["out"]) == shapes[0], "symbolic and real shapes and dtypes"
    values, gradients = LIMITS[theirs.compute_dtype]
    limits = {"out": values, "state": values, "mask": 0, "grads": gradients}
    for part, limit in limits.items():
        close(mine[part], wanted[part], part, rtol=limit, atol=limit)


def _make(library: Any, row: Case) -> Any:
    random.seed(1)  # what initializers and dropout draw their seeds from
    return make(library, row.name, {"name": "it", **row.args})


@contextlib.contextmanager
def _quietly_if(keras_runs: bool) -> Iterator[None]:
    with warnings.catch_warnings():
        if keras_runs:
            warnings.simplefilter("ignore")
        yield


@contextlib.contextmanager
def without_drawing() -> Iterator[None]:
    """Without random first values: Keras compiles a program for each shape of them."""

    def zeros(shape: Shape, *_: Any, dtype: Any = None, **__: Any) -> np.ndarray:
        return np.zeros(shape, dtype or "float32")

    with contextlib.ExitStack() as stack:
        for kind in ("uniform", "normal", "truncated_normal"):
            stack.enter_context(mock.patch(f"{KERAS_RANDOM}.{kind}", zeros))
        yield


def _both_refuse(row: Case, refused: list[tuple[Any, Exception]]) -> None:
    """What Keras refuses we refuse, in one sentence that names the layer."""
    if len(refused) == 1:
        library, error = refused[0]
        if library is keras.layers and _is_keras_own(row, error):
            return
        raise AssertionError(f"only {library.__name__} refuses {row}") from error
    (_, ours), (_, theirs) = refused
    text = str(ours)
    assert row.name in text, f"{text!r} does not name {row.name}"
    assert "\n" not in text and text.endswith("."), f"{text!r} is not one sentence"
    if isinstance(theirs, ValueError):
        assert isinstance(ours, ValueError), f"{ours!r} for {theirs!r}"


def _is_keras_own(row: Case, error: Exception) -> bool:
    """Whether Keras refuses something for one of the reasons in `KERAS_REFUSES`."""
    return any(
        re.fullmatch(names, row.name) and re.search(words, str(error))
        for names, words in KERAS_REFUSES
    )
