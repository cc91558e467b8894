"""What a run begins with: the states of the random generators, and its weights."""

import json
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from kerasnb.random import Generators
from kerasnb.runs import fingerprint
from kerasnb.saving.files import DamagedFileError, Replacing

FILE = "start.npz"


@dataclass(frozen=True)
class Start:
    """The beginning of a run: the generators, and a fingerprint of the weights."""

    generators: Generators
    weights: str

    @classmethod
    def of(cls, model: Any, numpy: Any = np.random) -> "Start":
        """The present state of a model about to be trained, in an order of `numpy`."""
        weights = fingerprint.of_weights(variables_of(model))
        return cls(Generators.now(numpy), weights)


def variables_of(model: Any) -> list[Any]:
    """Everything that training begins with: weights, seeds, optimizer."""
    trainable, rest, slots, _ = model._groups(training=True)
    return [*trainable, *rest, *slots]


# --- On disk --------------------------------------------------------------------------


def save(start: Start, variables: Sequence[Any], path: Path, files: Replacing) -> None:
    """Write a beginning with all its weights, as arrays and a line of JSON."""
    named = {}
    for i, variable in enumerate(variables):
        array = fingerprint.local(variable.box)
        if array is None:
            raise ValueError(
                "runs_dir: the weights are spread over several processes, where none "
                "can write them; keep such a run with BackupAndRestore instead."
            )
        named[f"variable{i}"] = array
    facts = {
        "seed": start.generators.seed,
        "weights": start.weights,
        "rest": start.generators.rest,
        "dtypes": [str(v.dtype) for v in variables],
    }
    text = np.frombuffer(json.dumps(facts).encode(), np.uint8)
    states = {"python": start.generators.python, "numpy": start.generators.numpy}
    if start.generators.key is not None:
        states["key"] = start.generators.key
    with files.open(path) as file:
        np.savez(file, facts=text, **states, **named)  # type: ignore[arg-type]


def load(path: Path) -> tuple[Start, list[np.ndarray]]:
    """Read what `save` wrote: the beginning, and the values of its variables."""
    try:
        with path.open("rb") as binary, np.load(binary, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        facts = json.loads(arrays["facts"].tobytes())
        gauss, *rest = facts["rest"]
        states = arrays["python"], arrays["numpy"], (gauss, *rest)
        generators = Generators(*states, facts["seed"], arrays.get("key"))
        # NumPy's files know no bfloat16: its bytes come back as plain ones.
        values = [
            arrays[f"variable{i}"].view(jnp.dtype(dtype))
            for i, dtype in enumerate(facts["dtypes"])
        ]
        return Start(generators, facts["weights"]), values
    except _BROKEN as error:
        raise DamagedFileError(
            f"rerun: {path} does not hold the beginning of a run "
            f"({type(error).__name__}); it was cut off or altered."
        ) from None


_BROKEN = (
    *(OSError, ValueError, KeyError, TypeError, EOFError),
    *(zipfile.BadZipFile, zlib.error),
)
