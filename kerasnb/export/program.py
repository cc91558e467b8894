"""`Program`: an exported file that can be called; `load` reads one.

The file is what `jax.export` serializes, so that any process with JAX reads it, and
behind that a trailer, which says whether the file is whole and what the model's name
was. Nothing in it is executed but the program itself, by XLA.
"""

import hashlib
import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from kerasnb.core.errors import readable_size
from kerasnb.saving.files import DamagedFileError, MissingFileError

SUFFIX = ".stablehlo"
PLATFORMS = ("cpu", "cuda", "rocm", "tpu")

_MARK = b"kerasnb1"
_END = struct.Struct(">32sI8s")  # hash of all before, length of the facts, the mark


class Program:
    """The forward pass of an exported model: `program(x)`.

    It takes what the model took, in the same structure, and knows no layer.
    """

    def __init__(
        self, exported: Any, name: str = "program", size: int = 0, least: int = 1
    ) -> None:
        self.name, self.size, self._least = name, size, least
        self.exported = exported
        self._run = jax.jit(exported.call)

    def __repr__(self) -> str:
        return f"<Program {self.name}: {words(self.inputs)} -> {words(self.outputs)}>"

    @property
    def inputs(self) -> Any:
        """Shapes and dtypes of what the program takes; a name is an unknown size."""
        (one,), _ = jax.tree.unflatten(self.exported.in_tree, self.exported.in_avals)
        return one

    @property
    def outputs(self) -> Any:
        """Shapes and dtypes of what comes out."""
        return jax.tree.unflatten(self.exported.out_tree, self.exported.out_avals)

    def __call__(self, x: Any) -> Any:
        """The outputs for a batch of inputs, as JAX arrays."""
        return self._run(self._arrange(self.inputs, x))

    def _arrange(self, wanted: Any, x: Any) -> Any:
        """The inputs in the program's structure; a list is as good as a tuple."""
        if (
            isinstance(wanted, dict)
            and isinstance(x, Mapping)
            and wanted.keys() <= {*x}
        ):
            return {name: self._arrange(one, x[name]) for name, one in wanted.items()}
        if isinstance(wanted, list | tuple) and isinstance(x, list | tuple):
            if len(wanted) == len(x):
                return type(wanted)(map(self._arrange, wanted, x))
        elif not isinstance(wanted, dict | list | tuple):
            return self._fit(x, wanted)
        raise ValueError(
            f"`{self.name}` takes {words(self.inputs)}, in this structure."
        )

    def _fit(self, value: Any, wanted: Any) -> Any:
        try:
            array = jnp.asarray(value)
        except (TypeError, ValueError):
            raise ValueError(
                f"`{self.name}` takes arrays of numbers, {words(wanted)}, not "
                f"{type(value).__name__}."
            ) from None
        fits = array.ndim == len(wanted.shape) and all(
            not isinstance(size, int) or size == given
            for size, given in zip(wanted.shape, array.shape, strict=True)
        )
        if not fits:
            raise ValueError(
                f"`{self.name}` takes {words(wanted)} and got the shape {array.shape}."
            )
        for size, given in zip(wanted.shape[1:], array.shape[1:], strict=True):
            if not isinstance(size, int) and given < self._least:
                raise ValueError(
                    f"`{self.name}` takes {words(wanted)} with {size} from "
                    f"{self._least} up, and got the shape {array.shape}."
                )
        return array.astype(wanted.dtype)


def load(filepath: str | Path) -> Program:
    """Read an exported file into something to call, without the model's classes.

    Errors: a ValueError in one sentence for what is no such file, or is damaged.

    >>> import tempfile, kerasnb as keras
    >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)], name="net")
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     made = model.export(f"{folder}/net.stablehlo")
    ...     program = keras.export.load(made.path)
    >>> program
    <Program net: float32 (batch, 4) -> float32 (batch, 2)>
    >>> bool(jnp.allclose(program(jnp.ones((3, 4))), model(jnp.ones((3, 4)))))
    True
    """
    path = Path(filepath)
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "does not exist"
        raise MissingFileError(f"export.load: {path} {what}.")
    return read(path)


def pack(exported: Any, name: str, least: int) -> bytes:
    """The bytes of a file; `least` is the size that unknown axes must have."""
    program = bytes(exported.serialize())
    told = {"format": "kerasnb export 1", "name": name, "least": least}
    facts = json.dumps(told).encode()
    digest = hashlib.sha256(program + facts).digest()
    return program + facts + _END.pack(digest, len(facts), _MARK)


def read(path: Path) -> Program:
    """The program in a file that is there."""
    whole = path.read_bytes()
    told: dict[str, Any] = {"name": path.stem, "least": 1}
    body = whole
    try:
        if whole.endswith(_MARK):
            digest, length, _ = _END.unpack(whole[-_END.size :])
            body = whole[: -_END.size - length]
            facts = whole[len(body) : -_END.size]
            if hashlib.sha256(body + facts).digest() != digest:
                raise ValueError("its contents were altered")
            told = json.loads(facts)
        exported = jax.export.deserialize(bytearray(body))
        name, least = str(told["name"]), int(told["least"])
        program = Program(exported, name, len(whole), least)
        words(program.inputs), words(program.outputs)
    except Exception as error:
        newer = ", made by a newer JAX" if "version" in str(error) else ""
        raise DamagedFileError(
            f"export.load: {path} ({readable_size(len(whole))}) is not an exported "
            f"program: it is something else{newer}, cut off or altered."
        ) from error
    return program


def words(tree: Any) -> str:
    """Shapes and dtypes in words, nested as they are.

    >>> words({"a": jax.ShapeDtypeStruct((3, 4), "float32")})
    '{a: float32 (3, 4)}'
    """
    if isinstance(tree, dict):
        return f"{{{', '.join(f'{k}: {words(v)}' for k, v in tree.items())}}}"
    if isinstance(tree, list | tuple):
        return f"[{', '.join(map(words, tree))}]"
    sizes = ", ".join(map(str, tree.shape))
    return f"{tree.dtype} ({sizes}{',' * (len(tree.shape) == 1)})"
