"""kerasnb.saving.weights"""

import json

import h5py
import jax.numpy as jnp
import keras
import numpy as np
import pytest

import kerasnb as nb
from kerasnb import layers
from tests.models.zoo import (
    assert_same_outputs,
    build,
    chain,
    data_for,
    lists,
    nested,
)

# Keras' own conversion to NumPy.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation")


def _values(model):
    return [np.array(w.value) for w in model.weights]


def _assert_equal(values, others):
    for one, other in zip(values, others, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("make", [chain, nested], ids=lambda make: make.__name__)
def test_weights_travel_both_ways(make, tmp_path):
    ours, theirs = build(make)
    data = data_for(ours)
    ours.save_weights(tmp_path / "a.weights.h5")
    theirs.load_weights(tmp_path / "a.weights.h5")
    assert_same_outputs(ours, theirs, data)
    for weight in ours.weights:
        weight.assign(weight.value + 1)
    theirs.save_weights(tmp_path / "b.weights.h5")
    ours.load_weights(tmp_path / "b.weights.h5")
    assert_same_outputs(ours, theirs, data)


def test_the_same_weights_make_the_same_bytes(tmp_path):
    model, _ = build(nested)
    for name in ("a", "b"):
        model.save_weights(tmp_path / f"{name}.weights.h5")
    a, b = ((tmp_path / f"{name}.weights.h5").read_bytes() for name in "ab")
    assert a == b


def test_weights_can_be_read_from_a_whole_model(tmp_path):
    model, theirs = build(lists)
    model.save(tmp_path / "m.keras")
    saved = _values(model)
    for weight in model.weights:
        weight.assign(weight.value * 0)
    model.load_weights(tmp_path / "m.keras")
    _assert_equal(_values(model), saved)
    theirs.load_weights(tmp_path / "m.keras")
    assert_same_outputs(model, theirs, data_for(model))


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float32", "int8"])
def test_numbers_of_every_kind_travel(dtype, tmp_path):
    def make(k):
        class Holder(k.layers.Layer):
            def build(self, shape):
                self.w = self.add_weight((3,), "ones", dtype, trainable=False, name="w")
                self.built = True

            def call(self, x):
                return x

        return k.Sequential([k.Input((2,)), Holder(name="h")], name="s")

    ours, theirs = build(make)
    ours.weights[0].assign([1, 2, 3])
    ours.save_weights(tmp_path / "a.weights.h5")
    theirs.load_weights(tmp_path / "a.weights.h5")
    assert np.asarray(theirs.weights[0].value).tolist() == [1, 2, 3]
    ours.weights[0].assign([0, 0, 0])
    theirs.save_weights(tmp_path / "b.weights.h5")
    ours.load_weights(tmp_path / "b.weights.h5")
    assert np.asarray(ours.weights[0].value).tolist() == [1, 2, 3]
    assert ours.weights[0].dtype == ours.weights[0].value.dtype.name


# --- Several files --------------------------------------------------------------------

SMALL = 80 / 1024**3  # gigabytes: a few variables in each file


def test_weights_in_several_files_travel_both_ways(tmp_path):
    ours, theirs = build(lists)
    ours.save_weights(tmp_path / "a.weights.json", max_shard_size=SMALL)
    theirs.save_weights(tmp_path / "b.weights.json", max_shard_size=SMALL)
    names = lambda p: sorted(f.name[1:] for f in tmp_path.glob(p))  # noqa: E731
    assert names("a*") == names("b*") and len(names("a*")) > 3
    found, wanted = (tmp_path / f"{n}.weights.json" for n in "ab")
    listing = json.loads(found.read_text().replace("a_", "b_"))
    assert listing == json.loads(wanted.read_text())
    theirs.load_weights(tmp_path / "a.weights.json")
    assert_same_outputs(ours, theirs, data_for(ours))
    for weight in ours.weights:
        weight.assign(weight.value * 0)
    ours.load_weights(tmp_path / "a.weights.json")
    assert_same_outputs(ours, theirs, data_for(ours))


def test_the_list_of_files_ends_in_json(tmp_path):
    model, _ = build(lists)
    with pytest.warns(UserWarning, match="a.weights.h5 becomes a.weights.json"):
        model.save_weights(tmp_path / "a.weights.h5", max_shard_size=SMALL)
    assert (tmp_path / "a.weights.json").exists()


def test_a_variable_larger_than_a_file_is_named(tmp_path):
    model, _ = build(lists)
    with pytest.raises(
        ValueError, match=r"variable 0 of `left` takes 48.00 B, more than"
    ):
        model.save_weights(tmp_path / "a.weights.json", max_shard_size=40 / 1024**3)
    assert list(tmp_path.iterdir()) == []


# --- What does not fit ----------------------------------------------------------------


def _other_chain(units):
    return nb.Sequential(
        [
            nb.Input((3,)),
            layers.Dense(4, name="hidden"),
            layers.BatchNormalization(name="norm"),
            layers.Dropout(0.5, name="drop"),
            layers.Dense(units, name="out"),
        ],
        name="other",
    )


def test_nothing_is_changed_when_a_shape_does_not_fit(tmp_path):
    model, _ = build(chain)
    model.save_weights(tmp_path / "a.weights.h5")
    other = _other_chain(5)
    before = _values(other)
    sentence = (
        r"a.weights.h5 do not fit the model. Dense `out`: .*`other/out/kernel` has "
        r"shape \(4, 5\) .*\(4, 2\). Nothing was changed."
    )
    with pytest.raises(ValueError, match=sentence):
        other.load_weights(tmp_path / "a.weights.h5")
    _assert_equal(_values(other), before)


def test_all_layers_that_do_not_fit_are_named(tmp_path):
    model, _ = build(lists)
    _other_chain(5).save_weights(tmp_path / "a.weights.h5")
    sentence = "Nor do those of `right`, `sum_out`, `left_out` fit"
    with pytest.raises(ValueError, match=sentence):
        model.load_weights(tmp_path / "a.weights.h5")


def test_layers_that_do_not_fit_can_be_left_alone(tmp_path):
    model, _ = build(chain)
    model.save_weights(tmp_path / "a.weights.h5")
    other = _other_chain(5)
    before = _values(other)
    with pytest.warns(UserWarning, match=r"Dense `out`.*keep the values they had"):
        other.load_weights(tmp_path / "a.weights.h5", skip_mismatch=True)
    _assert_equal(_values(other.layers[0]), _values(model.layers[0]))
    _assert_equal(_values(other)[-2:], before[-2:])


def test_half_of_a_layer_is_never_loaded(tmp_path):
    model = nb.Sequential([nb.Input((2,)), layers.Dense(3, name="d")])
    model.save_weights(path := tmp_path / "a.weights.h5")
    with h5py.File(path, "a") as file:  # the kernel fits, the bias does not
        del file["layers/dense/vars/1"]
        file["layers/dense/vars/1"] = np.zeros(9, "float32")
    model.layers[0].kernel.assign(np.full((2, 3), 7))
    with pytest.warns(UserWarning, match=r"\(3,\) .*\(9,\)"):
        model.load_weights(path, skip_mismatch=True)
    assert (np.asarray(model.layers[0].kernel) == 7).all()


def test_a_layer_that_the_file_lacks_is_named(tmp_path):
    model = nb.Sequential([nb.Input((2,)), layers.Dense(3, name="d")])
    model.save_weights(path := tmp_path / "a.weights.h5")
    with h5py.File(path, "a") as file:
        del file["layers/dense"]
    with pytest.raises(
        ValueError, match="Dense `d` has 2 variables and the file holds 0"
    ):
        model.load_weights(path)


def test_layers_of_the_users_own_store_what_they_like(tmp_path):
    class Odd(layers.Layer):
        def __init__(self):
            super().__init__(name="odd")
            self.scale = self.add_weight((2,), name="scale")

        def save_own_variables(self, store):
            store["scale"] = np.asarray(self.scale) + 1

        def load_own_variables(self, store):
            self.scale.assign(store["scale"] - 1)
            assert list(store) == ["scale"] and "other" not in store
            store["other"]

        def call(self, x):
            return x

    model = nb.Sequential([nb.Input((2,)), odd := Odd()])
    model.save_weights(path := tmp_path / "a.weights.h5")
    odd.scale.assign([5, 5])
    sentence = "Odd `odd`: the file has no variable 'other' at layers/odd/vars"
    with pytest.raises(ValueError, match=sentence):
        model.load_weights(path)
    assert odd.scale.value.tolist() == [5, 5]


def test_objects_can_be_left_out(tmp_path):
    model, _ = build(chain)
    model.save_weights(path := tmp_path / "a.weights.h5")
    for weight in model.weights:
        weight.assign(weight.value * 0)
    model.load_weights(
        path, objects_to_skip=[model.get_layer("hidden")], skip_mismatch=1
    )
    assert not np.asarray(model.get_layer("hidden").kernel).any()


def test_files_of_early_keras_3_are_read(tmp_path):
    model = nb.Sequential([nb.Input((2,)), layers.Dense(3, name="d")])
    model.save_weights(path := tmp_path / "a.weights.h5")
    saved = _values(model)
    with h5py.File(path, "a") as file:
        file.move("layers", "_layer_checkpoint_dependencies")
    model.layers[0].kernel.assign(np.zeros((2, 3)))
    model.load_weights(path)
    _assert_equal(_values(model), saved)


# --- Names of files -------------------------------------------------------------------

NAMES = {
    "save anything": (
        "save_weights",
        "a.h5",
        {},
        "must end in `.weights.h5`, not 'a.h5'",
    ),
    "save shards": (
        "save_weights",
        "a.txt",
        {"max_shard_size": 1},
        "with `max_shard_size` the name of the file must end in `.weights.json`",
    ),
    "load anything": (
        "load_weights",
        "a.txt",
        {},
        "must end in `.weights.h5`, `.weights",
    ),
    "load old": ("load_weights", "a.h5", {}, "there is no file .*a.h5"),
    "load by name": (
        "load_weights",
        "a.weights.h5",
        {"by_name": True},
        "`by_name` belongs to the old",
    ),
    "load nothing": (
        "load_weights",
        "a.weights.h5",
        {},
        "there is no file .*a.weights.h5",
    ),
}


@pytest.mark.parametrize(
    ("method", "name", "options", "sentence"), NAMES.values(), ids=NAMES
)
def test_names_that_cannot_be_are_explained(method, name, options, sentence, tmp_path):
    model, theirs = build(chain)
    function = getattr(nb.saving, method)
    with pytest.raises((ValueError, FileNotFoundError), match=sentence):
        function(model, tmp_path / name, **options)
    with pytest.raises((ValueError, FileNotFoundError, OSError)):
        getattr(keras.saving, method)(theirs, str(tmp_path / name), **options)


def test_a_missing_file_is_a_missing_file_and_names_its_neighbours(tmp_path):
    model, _ = build(chain)
    model.save_weights(tmp_path / "right.weights.h5")
    with pytest.raises(FileNotFoundError, match=r"The folder has right.weights.h5"):
        model.load_weights(tmp_path / "wrong.weights.h5")


def test_a_model_without_weights_has_nothing_to_save_or_to_fill(tmp_path):
    model = nb.Sequential([layers.Dense(1)], name="s")
    for method in (model.save_weights, model.load_weights):
        with pytest.raises(ValueError, match="Sequential `s` has no weights yet"):
            method(tmp_path / "a.weights.h5")


def test_a_loaded_variable_keeps_its_dtype(tmp_path):
    model = nb.Sequential([nb.Input((2,)), layers.Dense(3, name="d")])
    model.save_weights(path := tmp_path / "a.weights.h5")
    with h5py.File(path, "a") as file:
        del file["layers/dense/vars/1"]
        file["layers/dense/vars/1"] = np.ones(3, "float64")
    model.load_weights(path)
    assert model.layers[0].bias.value.dtype == jnp.float32
