"""What tests of several rooms share: a layer against Keras' layer of the same name."""

import copy
import inspect
import pickle
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import keras
import numpy as np

from kerasnb import layers
from kerasnb.core.configurable import deserialize, serialize

Shape = tuple[int | None, ...]

# Each program here runs once: compile it fast, not for speed.
QUICK = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}


@dataclass(frozen=True)
class Case:
    """A layer by name, its arguments, and the shapes of its inputs, batch included."""

    name: str
    shapes: Sequence[Shape]
    args: dict[str, Any] = field(default_factory=dict)
    below: int | None = None  # inputs are integers from 0 up to this
    training: bool | None = None
    unknown: Sequence[int] = (0,)  # axes that are None in symbolic calls

    def __str__(self) -> str:
        words = [
            f"{k}={[*map(str, v)] if isinstance(v, list) else v}"
            for k, v in self.args.items()
        ]
        if self.training:
            words.append("training")
        return "-".join([self.name, *words]).replace(" ", "")


def case(name: str, *shapes: Shape, **args: Any) -> Case:
    """A row of a table of layers; `_below`, `_training`, `_unknown` set up the call."""
    options = {
        k: args.pop(f"_{k}")
        for k in ("below", "training", "unknown")
        if f"_{k}" in args
    }
    return Case(name, shapes, args, **options)


def both(name: str, **args: Any) -> tuple[Any, Any]:
    """Our layer of that name and Keras', with the same arguments and name."""
    args.setdefault("name", "it")
    made = []
    for library in (layers, keras.layers):
        random.seed(1)  # what initializers and dropout draw their seeds from
        made.append(_make(library, name, args))
    return made[0], made[1]


def _make(library: Any, name: str, args: dict[str, Any]) -> Any:
    """A layer of a library; a `Case` among the arguments is an inner layer."""

    def value(arg: Any) -> Any:
        if isinstance(arg, list):
            return [value(item) for item in arg]
        if not isinstance(arg, Case):
            return arg
        own = {"name": f"inner_{arg.name.lower()}"} | shared | arg.args
        return _make(library, arg.name, own)

    shared = {"dtype": args["dtype"]} if "dtype" in args else {}
    return getattr(library, name)(**{k: value(v) for k, v in args.items()})


def inputs_for(row: Case) -> Any:
    """The same random inputs every time: an array, or a list of several."""
    rng = np.random.default_rng(len(row.shapes))
    made = [
        rng.integers(0, row.below, shape).astype("int32")
        if row.below
        else rng.normal(size=shape).astype("float32")
        for shape in row.shapes
    ]
    return made[0] if len(made) == 1 else made


def check_layer(row: Case) -> None:
    """All that must hold for any layer beside Keras' one."""
    ours, theirs = both(row.name, **row.args)
    x = inputs_for(row)
    shape = jax.tree.map(lambda a: a.shape, x)
    ours(x)
    theirs.build(shape)
    agree_on_variables(ours, theirs)
    for mine, wanted in zip(ours.weights, theirs.weights, strict=True):
        message = f"{row}: initial {mine.path}"
        # Bit for bit, but for the last bit of an orthogonal matrix: its factorisation
        # differs between versions of JAX.
        np.testing.assert_allclose(
            mine.value, wanted.value, rtol=0, atol=2e-7, err_msg=message
        )
    rng = np.random.default_rng(1)
    values = [
        (v + rng.uniform(0.1, 0.5, np.shape(v))).astype("float32")
        for v in ours.get_weights()
    ]
    ours.set_weights(values)
    theirs.set_weights(values)
    options = {}
    if row.training is not None:
        options["training"] = row.training
    mine = results(ours, x, options)
    close(mine, results(theirs, x, options), f"{row}: ours and Keras'")
    # Another program for a recurrent layer in training, and a test of its own.
    if not (row.training and isinstance(ours, layers.RNN)):
        close(ours(x, **options), mine["out"], f"{row}: eager and compiled")
    agree_on_shapes(row, ours, theirs)
    agree_on_config(ours, theirs)
    survives_copies(ours, x)
    agree_on_mixed_precision(row)


def results(layer: Any, x: Any, options: dict[str, Any]) -> dict[str, Any]:
    """Outputs, new state and gradients of a layer of either library, in one program."""
    trainable = [jnp.asarray(v.value) for v in layer.trainable_variables]
    rest = [jnp.asarray(v.value) for v in layer.non_trainable_variables]
    floats = jax.tree.leaves(x)[0].dtype == np.float32

    def objective(trainable: list, x: Any) -> tuple:
        out, state = layer.stateless_call(trainable, rest, x, **options)
        loss = sum(
            (y * jnp.cos(jnp.arange(y.size).reshape(y.shape))).sum()
            for y in jax.tree.leaves(out)
        )
        return loss, (out, state)

    wanted = (0, 1) if floats else (0,)
    fn = jax.jit(
        jax.value_and_grad(objective, wanted, has_aux=True), compiler_options=QUICK
    )
    (_, (out, state)), grads = fn(trainable, x)
    return {"out": out, "state": list(state), "grads": grads}


def close(a: Any, b: Any, what: str, rtol: float = 1e-5, atol: float = 2e-5) -> None:
    """Equal structures of nearly equal arrays."""
    flat_a, flat_b = jax.tree.leaves(a), jax.tree.leaves(b)
    assert len(flat_a) == len(flat_b), what
    for p, q in zip(flat_a, flat_b, strict=True):
        p, q = np.asarray(p), np.asarray(q)
        assert p.shape == q.shape, what
        assert p.dtype == q.dtype, what
        if p.dtype.kind in "iub":
            np.testing.assert_array_equal(p, q, what)
        else:
            scale = max(1.0, float(np.abs(q).max(initial=0.0)))
            np.testing.assert_allclose(p, q, rtol, atol * scale, err_msg=what)


def agree_on_variables(ours: Any, theirs: Any) -> None:
    """Names, order, shapes, dtypes and trainability of the weights."""

    def facts(layer: Any) -> list[tuple]:
        return [
            (v.path, tuple(v.shape), str(v.dtype), v.trainable) for v in layer.weights
        ]

    assert facts(ours) == facts(theirs)
    for kind in ("trainable_variables", "non_trainable_variables"):
        assert len(getattr(ours, kind)) == len(getattr(theirs, kind)), kind
    assert ours.count_params() == theirs.count_params()


def agree_on_shapes(row: Case, ours: Any, theirs: Any) -> None:
    """Symbolic calls give the same shapes and dtypes, unknown axes included."""
    dtype = "int32" if row.below else "float32"
    for unknown in ((), row.unknown):
        shapes = [
            tuple(None if i in unknown else d for i, d in enumerate(shape))
            for shape in row.shapes
        ]
        made = [
            [library(batch_shape=shape, dtype=dtype) for shape in shapes]
            for library in (layers.Input, keras.Input)
        ]
        if len(shapes) == 1:
            made = [tensors[0] for tensors in made]
        mine, wanted = ours(made[0]), theirs(made[1])
        assert spec(mine) == spec(wanted), shapes


def spec(outputs: Any) -> list[tuple]:
    """Shapes and dtypes of placeholders, of either library."""
    return [(tuple(t.shape), str(t.dtype)) for t in jax.tree.leaves(outputs)]


def agree_on_config(ours: Any, theirs: Any) -> None:
    """The same configuration, which makes the same layer in either library."""
    mine, wanted = ours.get_config(), theirs.get_config()
    same_config(mine, wanted)
    again = type(ours).from_config(copy.deepcopy(mine))
    same_config(again.get_config(), wanted)
    same_config(type(ours).from_config(copy.deepcopy(wanted)).get_config(), wanted)
    # Whole objects, as they stand in files, in both directions.
    there = keras.saving.deserialize_keras_object(serialize(ours))
    same_config(there.get_config(), wanted)
    stored = keras.saving.serialize_keras_object(theirs)
    back = deserialize(stored)
    assert type(back) is type(ours)
    same_config(back.get_config(), wanted)
    assert [v.name for v in back.weights] == [v.name for v in ours.weights]
    if ours.weights:
        assert serialize(ours)["build_config"] == stored["build_config"]


def same_config(mine: Any, wanted: Any, where: str = "config") -> None:
    """Every key of Keras' with its value; others only where they are None."""
    if isinstance(wanted, dict):
        assert isinstance(mine, dict), where
        missing = wanted.keys() - mine.keys()
        assert not missing, f"{where} lacks {missing}"
        # Keras forgets the seed of a SimpleRNN.
        extra = {
            k: v
            for k, v in mine.items()
            if k not in wanted and v is not None and k != "seed"
        }
        assert not extra, f"{where} has {extra}"
        for key, value in wanted.items():
            same_config(mine[key], value, f"{where}[{key}]")
    elif isinstance(wanted, list | tuple):
        assert len(mine) == len(wanted), where
        for i, pair in enumerate(zip(mine, wanted, strict=True)):
            same_config(*pair, f"{where}[{i}]")
    else:
        assert mine == wanted, f"{where}: {mine!r} is not {wanted!r}"
        assert type(mine) is type(wanted), where


def survives_copies(layer: Any, x: Any) -> None:
    """A copied and a pickled layer are the same layer again."""
    for other in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        close(other.get_weights(), layer.get_weights(), "copies")
        assert other.get_config() == layer.get_config()
        assert [v.path for v in other.variables] == [v.path for v in layer.variables]
    if not isinstance(layer, layers.RNN | layers.Bidirectional):  # slow to compile
        close(other(x), layer(x), "copies")


def agree_on_mixed_precision(row: Case) -> None:
    """Computes in float16, keeps weights in float32, just as Keras does."""
    ours, theirs = both(row.name, **row.args, dtype="mixed_float16")
    dtype = "int32" if row.below else "float32"
    made = [
        [library(batch_shape=shape, dtype=dtype) for shape in row.shapes]
        for library in (layers.Input, keras.Input)
    ]
    if len(row.shapes) == 1:
        made = [tensors[0] for tensors in made]
    assert spec(ours(made[0])) == spec(theirs(made[1]))
    assert [v.dtype for v in ours.weights] == [v.dtype for v in theirs.weights]


def signature_of(cls: Any) -> list[tuple]:
    """Names, kinds and defaults of a constructor's parameters."""
    return [
        (p.name, p.kind, p.default)
        for p in inspect.signature(cls.__init__).parameters.values()
    ]
