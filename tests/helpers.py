"""What tests of several rooms share: a layer against Keras' layer of the same name."""

import copy
import functools
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
from keras.src.backend.common.masking import get_keras_mask, set_keras_mask

from kerasnb import layers
from kerasnb.core.configurable import deserialize, serialize
from kerasnb.core.masks import get_mask, set_mask

Shape = tuple[int | None, ...]

# Each program here runs once: compile it fast, not for speed. (The fast emitters of XLA
# are switched off in tests/conftest.py.)
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
    mask: bool = False  # inputs come with a mask of their first two axes
    spread: bool = False  # several inputs are several arguments, not one list
    call: dict[str, Any] = field(default_factory=dict)  # further keywords of the call

    @property
    def options(self) -> dict[str, Any]:
        """Keywords of the call."""
        training = {} if self.training is None else {"training": self.training}
        return self.call | training

    @property
    def dtype(self) -> str:
        """The dtype of the inputs."""
        return "int32" if self.below else "float32"

    def arguments(self, inputs: Any) -> list[Any]:
        """What the layer is called with, inputs being one or a list of them."""
        return list(inputs) if self.spread else [inputs]

    def placeholders(self, library: Any, unknown: Sequence[int] = ()) -> list[Any]:
        """The same for a symbolic call, in which some axes have an unknown length."""
        made = [
            library.Input(
                batch_shape=[None if i in unknown else d for i, d in enumerate(shape)],
                dtype=self.dtype,
            )
            for shape in self.shapes
        ]
        return self.arguments(made[0] if len(made) == 1 else made)

    def __str__(self) -> str:
        words = [
            f"{k}={[*map(str, v)] if isinstance(v, list) else v}"
            for k, v in self.args.items()
        ]
        words += [f"{k}={v}" for k, v in self.call.items()]
        words += [kind for kind in ("training", "mask") if getattr(self, kind)]
        return "-".join([self.name, *words]).replace(" ", "")


def case(name: str, *shapes: Shape, **args: Any) -> Case:
    """A row of a table of layers; `_below`, `_training`... set up the call."""
    options = {
        k: args.pop(f"_{k}")
        for k in ("below", "training", "unknown", "mask", "spread", "call")
        if f"_{k}" in args
    }
    return Case(name, shapes, args, **options)


def both(name: str, **args: Any) -> tuple[Any, Any]:
    """Our layer of that name and Keras', with the same arguments and name."""
    args.setdefault("name", "it")
    made = []
    for library in (layers, keras.layers):
        random.seed(1)  # what initializers and dropout draw their seeds from
        made.append(make(library, name, args))
    return made[0], made[1]


def make(library: Any, name: str, args: dict[str, Any]) -> Any:
    """A layer of a library; a `Case` among the arguments is an inner layer."""

    def value(arg: Any) -> Any:
        if isinstance(arg, list):
            return [value(item) for item in arg]
        if not isinstance(arg, Case):
            return arg
        own = {"name": f"inner_{arg.name.lower()}"} | shared | arg.args
        return make(library, arg.name, own)

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
    for layer, library in ((ours, layers), (theirs, keras)):
        random.seed(2)  # what initializers that are made in `build` draw
        layer(*row.placeholders(library))
    agree_on_variables(ours, theirs)
    for mine, wanted in zip(ours.weights, theirs.weights, strict=True):
        message = f"{row}: initial {mine.path}"
        # Bit for bit, but for the last bits of an orthogonal matrix, as recurrent
        # kernels are: its factorisation differs between versions of JAX.
        limit = 5e-7 if mine.name == "recurrent_kernel" else 0
        np.testing.assert_allclose(
            mine.value, wanted.value, rtol=0, atol=limit, err_msg=message
        )
    change_weights(ours, theirs)
    mine, wanted = results([ours, theirs], row, x)
    for part, limit in (("out", 1e-5), ("state", 1e-5), ("mask", 0), ("grads", 1e-4)):
        close(mine[part], wanted[part], f"{row}: {part}", limit, limit)
    # Another program for a recurrent layer in training, and a test of its own.
    if not (row.training and isinstance(ours, layers.RNN)):
        eager = call_with_masks(ours, row, x, masks_for(row))
        close(eager, mine["out"], f"{row}: eager and compiled")
    agree_on_shapes(row, ours, theirs)
    agree_on_config(ours, theirs)
    survives_copies(ours, row, x)
    agree_on_mixed_precision(row)


def change_weights(*alike: Any) -> None:
    """The same random values for the weights of several layers, in place of the first
    ones, which are often all zeros or ones.
    """
    rng = np.random.default_rng(1)
    values = [rng.uniform(0.1, 0.6, v.shape) for v in alike[0].weights]
    for layer in alike:
        pairs = zip(values, layer.weights, strict=True)
        layer.set_weights([value.astype(str(v.dtype)) for value, v in pairs])


def masks_for(row: Case) -> list[np.ndarray | None]:
    """The mask of each input, by default none."""
    rng = np.random.default_rng(2)
    return [rng.random(s[:2]) < 0.7 if row.mask else None for s in row.shapes]


def call_with_masks(layer: Any, row: Case, x: Any, masks: list, **how: Any) -> Any:
    """The outputs of a layer of either library for inputs that have masks."""
    put = set_mask if isinstance(layer, layers.Layer) else set_keras_mask
    x = jax.tree.map(jnp.asarray, x)
    for array, mask in zip(jax.tree.leaves(x), masks, strict=True):
        if mask is not None:
            put(array, mask)
    call = functools.partial(how.pop("call", layer), *how.pop("values", ()))
    return call(*row.arguments(x), **row.options)


def program_of(layer: Any, row: Case, x: Any) -> tuple[Any, tuple]:
    """A layer of either library, traced: outputs, their masks, new state, gradients.

    Comes with the arguments to run it with.
    """
    own = isinstance(layer, layers.Layer)
    get = get_mask if own else get_keras_mask
    stateless = (
        layer.stateless_call if own else functools.partial(keras_stateless, layer)
    )

    def objective(trainable: list, x: Any, rest: list, masks: list) -> tuple:
        out, state = call_with_masks(
            layer, row, x, masks, call=stateless, values=(trainable, rest)
        )
        loss = sum(
            (y * jnp.cos(jnp.arange(y.size).reshape(y.shape))).sum()
            for y in jax.tree.leaves(out)
        )
        found = {"out": out, "state": list(state)}
        return loss, found | {"mask": [get(y) for y in jax.tree.leaves(out)]}

    trainable = [jnp.asarray(v.value) for v in layer.trainable_variables]
    rest = [jnp.asarray(v.value) for v in layer.non_trainable_variables]
    wanted = (0,) if row.below else (0, 1)
    fn = jax.jit(jax.value_and_grad(objective, wanted, has_aux=True))
    args = (trainable, x, rest, masks_for(row))
    return fn.trace(*args), args


def keras_stateless(
    layer: Any, trainable: list, rest: list, *args: Any, **how: Any
) -> tuple[Any, list]:
    """A call of Keras' layer; its own `stateless_call` casts nothing, drops masks."""
    pairs = list(zip(layer.trainable_variables, trainable, strict=True))
    others = list(zip(layer.non_trainable_variables, rest, strict=True))
    with keras.StatelessScope(pairs + others) as scope:
        out = layer(*args, **how)
    return out, [scope.get_current_value(v) for v, _ in others]


def results(alike: Sequence[Any], row: Case, x: Any) -> list[dict[str, Any]]:
    """What `program_of` says of several layers."""
    return run_together([program_of(layer, row, x) for layer in alike])


def run_together(programs: Sequence[tuple[Any, tuple]]) -> list[dict[str, Any]]:
    """The results of several programs as one: what they share is compiled once."""

    def joint(*args: Any) -> list:
        return [
            jax.core.eval_jaxpr(p.jaxpr.jaxpr, p.jaxpr.consts, *jax.tree.leaves(given))
            for (p, _), given in zip(programs, args, strict=True)
        ]

    made = jax.jit(joint, compiler_options=QUICK)(*(args for _, args in programs))
    out = []
    for (program, _), flat in zip(programs, made, strict=True):
        structure = jax.tree.structure(program.out_info)
        (_, found), grads = jax.tree.unflatten(structure, flat)
        out.append(found | {"grads": grads})
    return out


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
    for unknown in ((), row.unknown):
        mine = ours(*row.placeholders(layers, unknown))
        assert spec(mine) == spec(theirs(*row.placeholders(keras, unknown))), unknown


def spec(outputs: Any) -> list[tuple]:
    """Shapes and dtypes of placeholders, of either library."""
    return [(tuple(t.shape), str(t.dtype)) for t in jax.tree.leaves(outputs)]


def agree_on_config(ours: Any, theirs: Any) -> None:
    """The same configuration, which makes the same layer in either library."""
    mine, wanted = ours.get_config(), theirs.get_config()
    same_config(mine, wanted)
    again = type(ours).from_config(copy.deepcopy(mine))
    same_config(again.get_config(), wanted)
    same_config(type(ours).from_config(_plain_config(wanted)).get_config(), wanted)
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


def _plain_config(config: dict[str, Any]) -> dict[str, Any]:
    """A copy with plain lists: those that Keras tracks cannot be copied."""
    lists = {k: list(v) for k, v in config.items() if isinstance(v, list)}
    return copy.deepcopy({**config, **lists})


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


def survives_copies(layer: Any, row: Case, x: Any) -> None:
    """A copied and a pickled layer are the same layer again."""
    for other in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        close(other.get_weights(), layer.get_weights(), "copies")
        assert other.get_config() == layer.get_config()
        assert [v.path for v in other.variables] == [v.path for v in layer.variables]
    if not isinstance(layer, layers.RNN | layers.Bidirectional):  # slow to compile
        args = row.arguments(x)
        close(other(*args), layer(*args), "copies")


def agree_on_mixed_precision(row: Case) -> None:
    """Computes in float16, keeps weights in float32, just as Keras does."""
    ours, theirs = both(row.name, **row.args | {"dtype": "mixed_float16"})
    mine = ours(*row.placeholders(layers))
    assert spec(mine) == spec(theirs(*row.placeholders(keras)))
    assert [v.dtype for v in ours.weights] == [v.dtype for v in theirs.weights]


def signature_of(cls: Any) -> list[tuple]:
    """Names, kinds and defaults of a constructor's parameters."""
    return [
        (p.name, p.kind, p.default)
        for p in inspect.signature(cls.__init__).parameters.values()
    ]
