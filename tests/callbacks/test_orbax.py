"""kerasnb.callbacks.OrbaxCheckpoint"""

import sys
from pathlib import Path

import keras
import numpy as np
import pytest

import kerasnb
from kerasnb import callbacks, layers
from kerasnb.callbacks import OrbaxCheckpoint
from kerasnb.models import load_model


@pytest.fixture
def data(rng):
    return rng.normal(size=(12, 3)).astype("float32"), rng.normal(size=(12, 1))


def made(library=kerasnb):
    model = library.Sequential(
        [
            library.layers.Input((3,)),
            library.layers.Dense(4, activation="relu", name="first"),
            library.layers.Dropout(0.5),
            library.layers.Dense(1, name="last"),
        ],
        name="net",
    )
    model.compile("adam", "mse", metrics=["mae"])
    return model


def steps(folder):
    return sorted(int(path.name) for path in Path(folder).iterdir())


def test_a_model_goes_on_from_its_latest_checkpoint(tmp_path, data):
    model = made()
    model.fit(*data, epochs=3, verbose=0, callbacks=[OrbaxCheckpoint(tmp_path)])
    assert steps(tmp_path) == [2]
    loaded = load_model(tmp_path)
    assert loaded.evaluate(*data, verbose=0) == model.evaluate(*data, verbose=0)
    options = {"shuffle": False, "verbose": 0, "epochs": 2}
    assert loaded.fit(*data, **options).history == model.fit(*data, **options).history


def test_checkpoints_by_batches_hold_the_weights_of_that_batch(tmp_path, data):
    model, seen = made(), {}

    class Look(callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            seen[self.model.run.step] = self.model.get_weights()

    keep = OrbaxCheckpoint(
        tmp_path, save_freq=2, max_to_keep=None, save_weights_only=True
    )
    options = {"batch_size": 4, "verbose": 0, "callbacks": [keep, Look()]}
    model.fit(*data, epochs=2, **options)
    assert steps(tmp_path) == [2, 4, 6]
    fresh = made()
    for step in steps(tmp_path):
        fresh.load_weights(tmp_path / str(step))
        for a, b in zip(fresh.get_weights(), seen[step], strict=True):
            np.testing.assert_array_equal(a, b)
    model.fit(*data, epochs=1, **options)
    assert steps(tmp_path) == [2, 4, 6, 8]
    with pytest.raises(ValueError, match="holds weights alone"):
        load_model(tmp_path)


@pytest.mark.parametrize("background", [True, False])
def test_the_best_ones_are_kept_and_said(tmp_path, data, capsys, background):
    model = made()
    keep = OrbaxCheckpoint(
        tmp_path,
        monitor="loss",
        save_best_only=True,
        initial_value_threshold=0.0,
        verbose=1,
        save_on_background=background,
    )
    model.fit(*data, epochs=2, verbose=0, callbacks=[keep])
    assert steps(tmp_path) == []
    keep.best = None
    model.fit(*data, epochs=1, verbose=0, callbacks=[keep])
    keep.wait_until_finished()
    assert steps(tmp_path) == [0]
    said = capsys.readouterr().out
    assert "did not improve" in said and f"saved to {tmp_path / '0'}" in said


def test_files_of_layers_are_kept_too(tmp_path):
    words = np.array([["a"], ["b"], ["a"]])
    model = kerasnb.Sequential([layers.StringLookup(), layers.Embedding(4, 2)])
    model.layers[0].adapt(words)
    model.compile("sgd", "mse")
    keep = OrbaxCheckpoint(tmp_path)
    model.fit(words, np.ones((3, 1, 2)), verbose=0, callbacks=[keep])
    loaded = load_model(tmp_path)
    assert loaded.layers[0].get_vocabulary() == ["[UNK]", "a", "b"]


def test_a_checkpoint_of_another_model_changes_nothing(tmp_path, data):
    made().fit(*data, verbose=0, callbacks=[OrbaxCheckpoint(tmp_path)])
    other = kerasnb.Sequential([layers.Input((3,)), layers.Dense(7)])
    before = other.get_weights()
    with pytest.raises(ValueError, match="does not fit the model"):
        other.load_weights(tmp_path)
    for a, b in zip(other.get_weights(), before, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of Keras' own variables
@pytest.mark.filterwarnings("ignore:Sharding info not provided")  # as Keras reads them
def test_keras_reads_our_checkpoints_and_we_read_its(tmp_path, data):
    ours, theirs = made(), made(keras)
    ours.fit(*data, verbose=0, callbacks=[OrbaxCheckpoint(tmp_path / "ours")])
    keep = keras.callbacks.OrbaxCheckpoint(tmp_path / "theirs")
    theirs.fit(*data, verbose=0, callbacks=[keep])
    back = load_model(tmp_path / "theirs")
    for a, b in zip(back.get_weights(), theirs.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    # Its load_model finds variables by paths alone, and those of the models that it
    # makes lack the name of the model: it loses the weights of its own checkpoints.
    theirs.load_weights(tmp_path / "ours")
    for a, b in zip(theirs.get_weights(), ours.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_state_trees_are_those_of_keras(data):
    ours, theirs = made(), made(keras)
    for model in (ours, theirs):
        model.fit(*data, verbose=0)
    found, wanted = ours.get_state_tree("numpy_array"), theirs.get_state_tree()
    assert keras.tree.map_structure(lambda x: x.shape, found).keys() == wanted.keys()
    other = made()
    other.optimizer.build(other.trainable_variables)
    other.set_state_tree(found)
    for a, b in zip(other.get_weights(), ours.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    assert int(other.optimizer.iterations) == 1
    with pytest.raises(ValueError, match='"backend_tensor" or "numpy_array"'):
        ours.get_state_tree("list")


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"save_freq": "batch"}, '"epoch" or a number of batches'),
        ({"max_to_keep": 0}, "a positive number of checkpoints"),
    ],
)
def test_wrong_arguments_are_refused(tmp_path, options, sentence):
    with pytest.raises(ValueError, match=sentence):
        OrbaxCheckpoint(tmp_path, **options)


def test_without_the_package_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "orbax.checkpoint", None)
    with pytest.raises(ImportError, match=r"kerasnb\[orbax\]"):
        OrbaxCheckpoint(tmp_path)
