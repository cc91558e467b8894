"""`export_model`: a model as a file, read back and compared with it before it stays."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from kerasnb.core import dtypes
from kerasnb.core.errors import check, names_arguments, readable_size, show, suggest
from kerasnb.core.frontend import Displayable
from kerasnb.core.graph import leaves, map_structure
from kerasnb.core.state import functional
from kerasnb.export.program import PLATFORMS, SUFFIX, Program, pack, read, words
from kerasnb.saving.files import Replacing

FORMATS = {"stablehlo": SUFFIX}
"""The formats that can be written, and how their files end."""

LATER = {
    "onnx": ".onnx",
    "saved_model": "",
    "tf_saved_model": "",
    "litert": ".tflite",
    "coreml": ".mlpackage",
    "web": "",
    "openvino": ".xml",
    "torch": ".pt2",
}
"""Formats of Keras, or of other programs, that cannot be written yet."""

_SIZE = 32  # of an unknown axis, in the example that is compared


@dataclass
class Export(Displayable):
    """What came of an export: the file, what it takes and gives, how well it agrees.

    `difference` is the greatest one between the file's answers and the model's, on
    examples; `batch` is None when the file takes batches of any size.
    """

    path: Path
    format: str
    name: str
    size: int
    inputs: str
    outputs: str
    batch: int | None
    difference: float
    notes: list[str] = field(default_factory=list)

    @property
    def facts(self) -> dict[str, str]:
        """The same in words, by name."""
        apart = (
            f"at most {self.difference:.2g} apart" if self.difference else "the same"
        )
        batch = "of any size" if self.batch is None else f"of {self.batch}, no other"
        return {
            "file": f"{self.path}, {readable_size(self.size)}",
            "format": "StableHLO, for any process with JAX",
            "takes": self.inputs,
            "gives": self.outputs,
            "batches": batch,
            "checked": f"read back, and compared with the model: {apart}",
            **({"note": " ".join(self.notes)} if self.notes else {}),
        }

    def __repr__(self) -> str:
        lines = [f"{self.name}, exported"]
        lines += [f"  {name:<8} {said}" for name, said in self.facts.items()]
        return "\n".join(lines)


@names_arguments
def export(
    model: Any,
    filepath: str | Path,
    format: str | None = None,
    verbose: bool | None = None,
    input_signature: Any = None,
    batch: int | None = None,
) -> Export:
    """Write the forward pass of a model, with its weights, to a file of its own.

    `format` is taken from the ending of the path when it is not given. The file is read
    back and its answers are compared with the model's; when they differ, that is an
    error, and no file is left. It takes batches of any size where the model's code
    allows that, else of one, unless `batch` says how many. `input_signature` is for
    models that do not know their inputs: something with `shape` and `dtype` for each.

    Errors: ValueError for a format that cannot be written, for a model that is not
    built, and for layers that work on text.
    """
    path = Path(filepath)
    format = _format(path, format)
    if batch is not None:
        good = isinstance(batch, int) and batch > 0
        check(good, "export", "batch", batch, "a whole number above 0")
    _check_layers(model)
    specs = _specs(model, input_signature)
    failed: list[str] = []
    for plan in _plans(model, specs, batch):
        try:
            exported = plan.trace()
        except Exception as error:  # noqa: BLE001 - whatever the user's code ran into
            failed.append(f"{type(error).__name__}: {_first_line(error)}")
            continue
        try:
            done = _write(model, exported, plan, path)
            break
        except _DifferError:
            if plan.by_row:  # rows depend on one another
                continue
            raise ValueError(
                f"export: the file's answers are not those of `{model.name}`, so it "
                "was not kept. A layer whose `call` depends on more than its inputs "
                "and weights (a global, the time) does that."
            ) from None
    else:
        raise ValueError(
            f"export: `{model.name}` cannot be written as one program; tracing it "
            f"ended with {failed[-1]} Where axes of unknown size are the reason, say "
            "them: input_signature=[keras.InputSpec(shape=(None, 64, 64, 3))]."
        )
    done.notes = _notes(model, exported, plan, failed)
    if verbose:
        print(done)
    return done


export_model = export  # errors call it what the method of models is called


# --- What is asked for ----------------------------------------------------------------


def _format(path: Path, format: str | None) -> str:
    """The format, from the path where it is not said."""
    use = 'format="stablehlo" is what can be written so far'
    if format is None:
        endings = {**FORMATS, **LATER}
        found = [
            name for name, ending in endings.items() if ending == path.suffix != ""
        ]
        if not found:
            raise ValueError(
                f"export: {path} has no ending that says what to write; {use}: "
                f'model.export("{path.with_suffix(SUFFIX)}").'
            )
        format = found[0]
    if format in FORMATS:
        return format
    if format in LATER:
        raise ValueError(
            f'export: "{format}" cannot be written yet; {use}: '
            f'model.export("{path.with_suffix(SUFFIX)}").'
        )
    near = suggest(format, [*FORMATS, *LATER])
    raise ValueError(f"export: there is no format {show(format)}; {use}.{near}")


def _check_layers(model: Any) -> None:
    """Refuse what works on text, in Python, of which a program has none."""
    for layer in model._flatten_layers():
        if getattr(layer, "works_on_host", False):
            raise ValueError(
                f"export: `{model.name}` has the layer `{layer.name}` "
                f"({type(layer).__name__}), which works in Python; an exported program "
                "has none. Apply that layer to the data first, and export a model of "
                "the layers after it."
            )


def _specs(model: Any, signature: Any) -> Any:
    """Shape and dtype of each input, None for an unknown axis."""
    known = getattr(model, "inputs", None) if model.built else None
    if signature is not None:
        alone = isinstance(signature, list | tuple) and len(signature) == 1
        if alone and (known is None or len(known) == 1):
            signature = signature[0]
        good = all(
            hasattr(s, "shape") and hasattr(s, "dtype") for s in leaves(signature)
        )
        what = "one keras.InputSpec(shape, dtype) for each input"
        check(good and leaves(signature), "export", "input_signature", signature, what)
        return map_structure(_spec, signature)
    if known:
        tree = model.input
        return map_structure(_spec, tree[0] if _is_alone(tree) else tree)
    shapes = list((model._build_shapes or {}).values()) if model.built else []
    if len(shapes) != 1:
        raise ValueError(
            f"export: `{model.name}` does not know its inputs yet. Call it on a batch "
            "first, or say them: input_signature=[keras.InputSpec(shape=(None, 4))]."
        )
    return map_structure(
        # These are of the first batch it saw: another one may be larger.
        lambda s: jax.ShapeDtypeStruct((None, *s.shape[1:]), s.dtype),
        model._placeholder(_as_shapes(shapes[0])),
    )


def _as_shapes(given: Any) -> Any:
    if isinstance(given, dict):
        return {name: _as_shapes(inner) for name, inner in given.items()}
    plain = all(size is None or isinstance(size, int) for size in given)
    return tuple(given) if plain else [_as_shapes(inner) for inner in given]


def _is_alone(tree: Any) -> bool:
    return isinstance(tree, list) and len(tree) == 1


def _spec(given: Any) -> Any:
    return jax.ShapeDtypeStruct(tuple(given.shape), dtypes.canonical(given.dtype))


# --- How it may be traced -------------------------------------------------------------


@dataclass
class _Plan:
    """One way to trace a model: its function, and what it is traced for."""

    forward: Callable[[Any], Any]
    specs: Any
    batch: int | None
    by_row: bool = False
    least: int = 1  # that an unknown axis must be

    def trace(self) -> Any:
        """The program, for as many sizes and kinds of devices as can be."""
        unknown = {
            f"size{i}"
            for spec in leaves(self.specs)
            for i, size in enumerate(spec.shape)
            if i and size is None
        }
        # A convolution, say, wants to know that there is room for its window.
        roomy = [f"{name} >= {_SIZE}" for name in sorted(unknown)]
        own = [jax.export.default_export_platform()]
        first: Exception | None = None
        self.least = 1
        for limits in ([], roomy) if roomy else ([],):
            for platforms in (PLATFORMS, own):
                try:
                    return self._trace(limits, platforms)
                except Exception as error:  # noqa: BLE001 - it may come from any code
                    first = first or error
            self.least = _SIZE
        assert first is not None
        raise first

    def _trace(self, limits: Sequence[str], platforms: Sequence[str]) -> Any:
        scope = jax.export.SymbolicScope(limits)

        def symbolic(spec: Any) -> Any:
            sizes = [
                str(size) if size is not None else "batch" if i == 0 else f"size{i}"
                for i, size in enumerate(spec.shape)
            ]
            text = ", ".join([*sizes, ""])
            shape = jax.export.symbolic_shape(f"({text})", scope=scope)
            return jax.ShapeDtypeStruct(shape, spec.dtype)

        specs = map_structure(symbolic, self.specs)
        return jax.export.export(jax.jit(self.forward), platforms=platforms)(specs)

    def examples(self) -> Iterator[Any]:
        """Inputs to compare with: some numbers of the right kind, two batch sizes."""
        rng = np.random.default_rng(0)

        def example(spec: Any, batch: int) -> Any:
            sizes = [_SIZE if size is None else size for size in spec.shape]
            shape = [batch if spec.shape[0] is None else sizes[0], *sizes[1:]]
            kind = jnp.dtype(spec.dtype)
            if jnp.issubdtype(kind, jnp.floating):
                return jnp.asarray(rng.standard_normal(shape), kind)
            return jnp.asarray(rng.integers(0, 2, shape), kind)

        for batch in (3, 1) if self.batch is None else (self.batch,):
            yield map_structure(lambda spec, n=batch: example(spec, n), self.specs)


def _plans(model: Any, specs: Any, batch: int | None) -> Iterator[_Plan]:
    """The ways to trace a model, the most useful first."""
    forward = _forward(model)

    def fixed(count: int) -> Any:
        return map_structure(
            lambda s: jax.ShapeDtypeStruct((count, *s.shape[1:]), s.dtype), specs
        )

    sizes = {spec.shape[0] for spec in leaves(specs)}
    if batch is not None:
        yield _Plan(forward, fixed(batch), batch)
        return
    if sizes != {None}:
        yield _Plan(forward, specs, next(size for size in sizes if size is not None))
        return
    yield _Plan(forward, specs, None)

    def one(row: Any) -> Any:
        out = forward(map_structure(lambda a: a[None], row))
        return jax.tree.map(lambda a: a[0], out)

    yield _Plan(jax.vmap(one), specs, None, by_row=True)
    yield _Plan(forward, fixed(1), 1)


def _forward(model: Any) -> Callable[[Any], Any]:
    """The model as a pure function of its inputs, as it is now."""
    variables = list(model.variables)
    # Those that are spread over devices come together: the file knows only one.
    values = [jnp.asarray(np.asarray(variable.raw)) for variable in variables]
    pure = functional(lambda x: model(x, training=False), variables)
    return lambda x: pure(values, x)[0]


# --- Writing and checking -------------------------------------------------------------


class _DifferError(Exception):
    """The file has other answers than the model."""


def _write(model: Any, exported: Any, plan: _Plan, path: Path) -> Export:
    """Write the file, and keep it if it agrees with the model."""
    with Replacing("export") as files:
        draft = files.draft(path)
        draft.write_bytes(pack(exported, model.name, plan.least))
        program = read(draft)
        difference = _difference(model, program, plan)
    return Export(
        path=path,
        format="stablehlo",
        name=model.name,
        size=program.size,
        inputs=words(program.inputs),
        outputs=words(program.outputs),
        batch=plan.batch,
        difference=difference,
    )


def _difference(model: Any, program: Program, plan: _Plan) -> float:
    """The greatest difference of two answers; an error when it is too great."""
    forward, most = jax.jit(_forward(model)), 0.0
    for x in plan.examples():
        mine, theirs = jax.tree.leaves(forward(x)), jax.tree.leaves(program(x))
        for a, b in zip(mine, theirs, strict=True):
            if a.shape != b.shape or a.dtype != b.dtype:
                raise _DifferError
            a, b = np.asarray(a, "float64"), np.asarray(b, "float64")
            if not np.array_equal(np.isfinite(a), np.isfinite(b)):
                raise _DifferError
            apart = np.abs(a - b)[np.isfinite(a)].max(initial=0)
            scale = max(1.0, np.abs(a[np.isfinite(a)]).max(initial=0))
            if apart > _tolerance(model) * scale:
                raise _DifferError
            most = max(most, float(apart))
    return most


def _tolerance(model: Any) -> float:
    """How far rounding may lead, in the coarsest numbers that a layer computes with."""
    kinds = {layer.compute_dtype for layer in model._flatten_layers()}
    floats = [jnp.dtype(k) for k in kinds if k and jnp.issubdtype(k, jnp.floating)]
    return max((float(jnp.finfo(k).eps) ** 0.5 for k in floats), default=1e-6)


def _notes(model: Any, exported: Any, plan: _Plan, failed: list[str]) -> list[str]:
    """What the user should know of the file."""
    notes = []
    if len(exported.platforms) == 1:
        notes.append(
            f"It runs on {exported.platforms[0]} alone: the model computes something "
            "that other kinds of devices cannot."
        )
    if plan.batch is not None and failed:
        notes.append(
            f"The batch is fixed at {plan.batch}: the model's code does not allow an "
            f"unknown size ({failed[0].rstrip('.')}). Another one: batch=32."
        )
    if plan.least > 1:
        notes.append(f"Axes of unknown size must be {plan.least} at least.")
    if moved := _drawn(model, plan):
        notes.append(
            f"`{moved}` changes with each call of the model; the file has its present "
            "value and draws the same random numbers each time."
        )
    return notes


def _drawn(model: Any, plan: _Plan) -> str | None:
    """The path of a variable that the forward pass assigns, such as a seed."""
    variables = list(model.variables)
    pure = functional(lambda x: model(x, training=False), variables)
    moved: list[str] = []

    def look(values: list, x: Any) -> Any:
        _, after = pure(values, x)
        pairs = zip(variables, values, after, strict=True)
        moved.extend(v.path for v, before, new in pairs if new is not before)
        return 0

    jax.eval_shape(look, [v.box for v in variables], next(plan.examples()))
    return moved[0] if moved else None


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or "no words").splitlines()[0].rstrip(".") + "."
