"""Files of a zoo of models, written by each library and read by the other."""

import functools
import inspect
import json
import operator
import types
import zipfile
from pathlib import Path

import jax
import keras
import numpy as np
import pytest
from keras.src.utils import jax_layer

import kerasnb as nb
from tests.helpers import QUICK
from tests.layers.grid import without_drawing
from tests.models.zoo import build, plain
from tests.saving.own import own
from tests.saving.zoo import ROWS, ZOO, answers, lookups

pytestmark = [
    # Keras' MixUp wishes for 64 bits.
    pytest.mark.filterwarnings("ignore:Explicitly requested dtype int64"),
    # Keras' own conversion to NumPy.
    pytest.mark.filterwarnings("ignore:__array__ implementation"),
    # It tells of each layer that it leaves as it is.
    pytest.mark.filterwarnings("ignore:Layer InputLayer does not have a `quantize`"),
]

# These show most of what there is; the others are for `make parity`.
FEW = ("nested", "noisy_graph", "own_layers", "own_functions", "adapters", "Adam_2")
SMALL = 150 / 1024**3  # gigabytes: a few variables in each file


@pytest.fixture(autouse=True)
def quickly(monkeypatch):
    """Without time for what does not matter here: the speed of programs."""
    quick = functools.partial(jax.jit, compiler_options=QUICK)
    monkeypatch.setattr("keras.src.backend.jax.trainer.jit", quick)
    # Keras asks TensorFlow where it is before it builds a JaxLayer.
    stand_in = types.SimpleNamespace(inside_function=lambda: False)
    monkeypatch.setattr(jax_layer, "tf", stand_in)


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=() if n in FEW else pytest.mark.parity) for n in ZOO],
)
def test_a_model_and_its_training_travel_both_ways(name, tmp_path):
    entry = ZOO[name]
    with jax.enable_x64(entry.wide):
        travel(entry, tmp_path)


def travel(entry, folder):
    """Write, read, compare, train once more, compare."""
    with without_drawing():  # the first weights of Keras' models do not matter
        _, theirs = build(lambda k: made(entry, k) if k is keras else None)
    ours, _ = build(lambda k: made(entry, k) if k is nb else None)
    x = entry.inputs(ours, 0)
    outputs = predictions(ours, x)
    if entry.compile is not None:
        for seed in range(1, 4):
            step(entry, ours, entry.inputs(ours, seed), outputs, seed)
        theirs.optimizer.build(theirs.trainable_variables)

    # Weights alone, then whole models, in both directions.
    theirs.load_weights(save_weights(ours, folder / "ours", entry.shards))
    ours.save(folder / "ours.keras")
    theirs.save(folder / "theirs.keras")
    known = own if entry.custom else lambda k: None
    with without_drawing():
        there = keras.saving.load_model(folder / "ours.keras", known(keras))
    back = nb.saving.load_model(folder / "theirs.keras", known(nb))
    again = nb.saving.load_model(folder / "ours.keras", known(nb))

    same_config(config_of(again, nb), config_of(ours, nb), "read again")
    same_config(config_of(back, nb), config_of(theirs, keras), "read from Keras")
    if not entry.masks:
        same_config(config_of(ours, nb), config_of(theirs, keras), "made")
        same_config(config_of(there, keras), config_of(ours, nb), "read by Keras")
    for model in () if entry.merged else (there, theirs, back, again):
        same_values(model, ours, 0, "read")
    wanted = predictions(ours, x)
    close(predictions(there, x), wanted, entry.limit, "predictions of Keras")
    close(predictions(back, x), wanted, entry.limit, "predictions from Keras")
    if entry.compile is not None:
        train_once_more(entry, there, back, ours, outputs)
    back.load_weights(save_weights(theirs, folder / "theirs", entry.shards))
    close(predictions(back, x), wanted, entry.limit, "weights from Keras")


def train_once_more(entry, there, back, ours, outputs):
    """The next step is the same for all three."""
    x = entry.inputs(ours, 9)
    logs = [step(entry, model, x, outputs, 9) for model in (there, back, ours)]
    if entry.namesakes:
        logs = [{"loss": each["loss"]} for each in logs]
    for mine, model in zip(logs[1:], (back, ours), strict=True):
        if model is back or not entry.draws:
            assert [*mine] == [*logs[0]], "names of losses and metrics"
            close(mine, logs[0], entry.limit, "losses and metrics")
            same_values(model, there, entry.limit, "after a step")


@pytest.mark.parity
def test_the_zoo_holds_every_public_class():
    found = set()
    for entry in ZOO.values():
        with jax.enable_x64(entry.wide):
            model = made(entry, nb)
        found |= set(class_names(nb.saving.serialize_keras_object(model)))
    found |= set(class_names(nb.saving.serialize_keras_object(lookups(nb))))
    for room, bases in ROOMS.items():
        ours, theirs = (operator.attrgetter(room)(k) for k in (nb, keras))
        classes = {n for n, c in vars(ours).items() if inspect.isclass(c)}
        classes = {getattr(ours, n).__name__ for n in classes if hasattr(theirs, n)}
        assert classes - found <= set(bases.split()), room


# Rooms, and their classes that no model holds: bases, and what files cannot hold.
ROOMS = {
    "layers": "InputSpec Layer TFSMLayer TorchModuleWrapper Wrapper",
    "optimizers": "Optimizer",
    "optimizers.schedules": "LearningRateSchedule",
    "losses": "Loss",
    "metrics": "Mean Metric Sum",
    "regularizers": "Regularizer",
    "constraints": "Constraint",
}


def test_vocabularies_in_a_file_of_keras_are_read():
    # Written by Keras 3.15.1 with TensorFlow 2.21: tests/sources/test_vocabularies.py.
    loaded = nb.saving.load_model(Path(__file__).parents[1] / "files" / "lookups.keras")
    assert answers(loaded) == answers(lookups(nb))


# --- What does not fit ----------------------------------------------------------------

# What is written, what its file says instead, what the error must then say.
MISFITS = {
    "a shape": (
        "nested",
        ('"units": 2', '"units": 5'),
        r"Dense `h1`: Variable `h1/kernel` has shape \(3, 5\) .* shape \(3, 2\)",
    ),
    "an argument": (
        "nested",
        ('"use_bias"', '"use_biass"'),
        'Dense `e1` has no argument `use_biass`. Did you mean "use_bias"',
    ),
    "a value": ("nested", ('"units": 3', '"units": -3'), "Dense `e1`: `units` must be"),
    "a name": ("nested", ('"linear"', '"liner"'), 'Dense `e1`: Unknown .*"linear"'),
    "a class": ("nested", ('"Dense"', '"Danse"'), '`Danse` .* Did you mean "Dense"'),
    "an optimizer": ("Adam", ('"Adam"', '"Nadam"'), "Nadam has no argument `amsgrad`"),
    "a user's class": ("own_layers_unregistered", ("", ""), "custom_objects={'Plain'"),
    "a vocabulary": ("lookups", ("", ""), "`lookup_3`: there is no vocabulary.txt"),
}


@pytest.mark.parametrize(("name", "change", "words"), MISFITS.values(), ids=MISFITS)
def test_what_does_not_fit_is_named_with_file_and_layer(name, change, words, tmp_path):
    model = lookups(nb) if name == "lookups" else made(ZOO[name], nb)
    model.save(tmp_path / "whole.keras")
    path, lost = tmp_path / "changed.keras", "assets/layers/integer_lookup/"
    with (
        zipfile.ZipFile(tmp_path / "whole.keras") as old,
        zipfile.ZipFile(path, "w") as new,
    ):
        for member in old.namelist():
            content = old.read(member)
            if member == "config.json":
                content = content.decode().replace(*change).encode()
            if not member.startswith(lost):
                new.writestr(member, content)
    with pytest.raises((ValueError, TypeError), match=words) as caught:
        nb.saving.load_model(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_the_state_of_another_optimizer_is_left_with_a_warning(tmp_path):
    adam, sgd = made(ZOO["Adam"], nb), made(ZOO["SGD"], nb)
    for model in (adam, sgd):
        model.optimizer.build(model.trainable_variables)
    adam.save_weights(tmp_path / "a.weights.h5")
    with pytest.warns(UserWarning, match="optimizer `sgd` is not loaded: the file has"):
        sgd.load_weights(tmp_path / "a.weights.h5")
    close(sgd.get_weights(), adam.get_weights(), 0, "weights")


# --- How models are made, trained and compared ----------------------------------------


def made(entry, library):
    """The model of an entry, compiled and built."""
    model = entry.make(library)
    if entry.compile is not None:
        model.compile(**entry.compile(library))
    if not model.built:
        if hasattr(model, "pop"):
            model.build((None, *entry.shape))
        else:
            model(np.zeros((ROWS, *entry.shape), "float32"))
    return model


def step(entry, model, x, outputs, seed):
    """A step of training; what it says about that batch alone."""
    model.reset_metrics()
    forget(model)
    return model.train_on_batch(x, entry.targets(outputs, seed), return_dict=True)


def forget(model):
    """Put back the states of recurrent layers, which are in no file."""
    for layer in model.layers:
        if getattr(layer, "stateful", False):
            layer.reset_state()


def save_weights(model, path, shards):
    """Write the weights to one file, or to several and a list of them."""
    size = {"max_shard_size": SMALL} if shards else {}
    path = path.with_suffix(".weights.json" if shards else ".weights.h5")
    model.save_weights(path, **size)
    assert len([*path.parent.glob(f"{path.stem.partition('.')[0]}*.h5")]) > shards
    return path


def predictions(model, x):
    """What a model answers outside of training."""
    forget(model)
    return jax.tree.map(np.asarray, model(x, training=False))


def config_of(model, library):
    """All that a file says about a model but its numbers, leaf by leaf."""
    config = json.loads(json.dumps(library.saving.serialize_keras_object(model)))
    config.get("compile_config", {}).pop("jit_compile", None)  # Keras resolves "auto"
    return dict(_leaves(plain(config)))


# Arguments that Keras leaves out of its configs.
FORGOTTEN = {
    "CosineSimilarity": "axis",
    "Huber": "delta",
    "Identity": "gain",
    "MaxNumBoundingBoxes": "fill_value",
    "RandomGrayscale": "seed",
    "SparseCategoricalCrossentropy": "axis",
    "SparseTopKCategoricalAccuracy": "from_sorted_ids",
}


def _leaves(config, path=""):
    if isinstance(config, dict | list):
        if isinstance(config, dict) and config.get("class_name") in FORGOTTEN:
            config.get("config", {}).pop(FORGOTTEN[config["class_name"]], None)
        pairs = config.items() if isinstance(config, dict) else enumerate(config)
        for key, value in pairs:
            yield from _leaves(value, f"{path}/{key}")
    elif not _says_nothing(path, config):
        # Keras keeps rates as float32.
        yield path, np.float32(config) if isinstance(config, float) else config


def _says_nothing(path, value):
    """What Keras notes: defaults of calls, shapes, modules of users' classes."""
    if "/inbound_nodes/" in path:
        return path.endswith("/kwargs/training") or "/config/shape/" in path
    return path.endswith("/module") and not value.startswith("keras")


def class_names(config):
    """The names of all the classes in a config."""
    if isinstance(config, dict):
        yield from [config["class_name"]] if "class_name" in config else []
        config = [*config.values()]
    if isinstance(config, list | tuple):
        for item in config:
            yield from class_names(item)


def same_config(one, other, what):
    """The configs are equal; what is not is all there is in the error."""
    differ = {n: (one.get(n), other.get(n)) for n in sorted(one.keys() | other.keys())}
    differ = {n: pair for n, pair in differ.items() if pair[0] != pair[1]}
    assert not differ, f"{what}: {differ}"


def values_of(model):
    """Weights and the state of the optimizer."""
    # Without paths and numbers, which depend on how a model was made, and in the order
    # of names, since those of quantized layers have another order when read.
    held = [(v.name.rstrip("_0123456789"), np.asarray(v.value)) for v in model.weights]
    held.sort(key=lambda pair: pair[0])
    if getattr(model, "optimizer", None) is not None:
        held += [("", np.asarray(v.value)) for v in model.optimizer.variables]
    return held


def same_values(one, other, limit, what):
    """The same weights and state of the optimizer."""
    one, other = values_of(one), values_of(other)
    assert [name for name, _ in one] == [name for name, _ in other], what
    close([v for _, v in one], [v for _, v in other], limit, what)


def close(found, wanted, limit, what):
    """Equal structures of nearly equal arrays: as a share of the largest number."""
    found, wanted = jax.tree.leaves(found), jax.tree.leaves(wanted)
    for i, pair in enumerate(zip(found, wanted, strict=True)):
        a, b = map(np.asarray, pair)
        assert a.shape == b.shape and a.dtype == b.dtype, (what, i)
        a, b = np.asarray(a, "float64"), np.asarray(b, "float64")
        scale = max(1.0, np.abs(b).max(initial=0))
        np.testing.assert_allclose(a, b, 0, limit * scale, err_msg=f"{what} {i}")
