"""kerasnb.saving.model_file"""

import json
import re
import zipfile
from pathlib import Path

import keras
import numpy as np
import pytest

import kerasnb as nb
from kerasnb import layers
from tests.models.zoo import (
    STRANGER,
    ZOO,
    assert_same_outputs,
    build,
    chain,
    data_for,
    lists,
    plain,
)

# Keras' own conversion to NumPy.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation")


@pytest.mark.parametrize("make", ZOO + STRANGER, ids=lambda make: make.__name__)
def test_a_model_travels_both_ways(make, tmp_path):
    ours, theirs = build(make)
    data = data_for(ours)
    ours.save(tmp_path / "ours.keras")
    assert_same_outputs(keras.saving.load_model(tmp_path / "ours.keras"), ours, data)
    theirs.save(tmp_path / "theirs.keras")
    loaded = nb.saving.load_model(tmp_path / "theirs.keras")
    assert_same_outputs(loaded, theirs, data)
    # What was read is written again as it was.
    assert plain(json.loads(loaded.to_json())) == plain(json.loads(theirs.to_json()))


def test_the_members_are_those_of_keras(tmp_path):
    ours, theirs = build(chain)
    ours.save(tmp_path / "ours.keras")
    theirs.save(tmp_path / "theirs.keras")
    found, wanted = (
        zipfile.ZipFile(tmp_path / f"{n}.keras") for n in ("ours", "theirs")
    )
    assert found.namelist() == wanted.namelist()
    assert {m.compress_type for m in found.infolist()} == {zipfile.ZIP_STORED}
    metadata = json.loads(found.read("metadata.json"))
    assert metadata.keys() == json.loads(wanted.read("metadata.json")).keys()
    assert metadata["keras_version"] == keras.__version__
    assert re.fullmatch(r"\d{4}-\d\d-\d\d@\d\d:\d\d:\d\d", metadata["date_saved"])


# --- Training goes on where it was ----------------------------------------------------


def _schedule(k):
    return k.optimizers.Adam(k.optimizers.schedules.ExponentialDecay(0.01, 2, 0.5))


OPTIMIZERS = {
    "sgd": lambda k: "sgd",
    "momentum": lambda k: k.optimizers.SGD(0.05, momentum=0.9, nesterov=True),
    "adam": lambda k: k.optimizers.Adam(0.01),
    "amsgrad": lambda k: k.optimizers.Adam(0.01, amsgrad=True),
    "adamw": lambda k: k.optimizers.AdamW(0.01, weight_decay=0.1),
    "rmsprop": lambda k: k.optimizers.RMSprop(0.01, momentum=0.5, centered=True),
    "schedule": _schedule,
    "averages": lambda k: k.optimizers.Adam(0.01, use_ema=True),
    "accumulation": lambda k: k.optimizers.Adam(0.01, gradient_accumulation_steps=2),
    "several": lambda k: k.optimizers.MultiOptimizer(
        k.optimizers.OptimizerMap(
            k.optimizers.SGD(0.1, momentum=0.5), {".*kernel": k.optimizers.Adam(0.01)}
        )
    ),
}


def _network(k, optimizer):
    model = k.Sequential(
        [
            k.Input((3,), name="x"),
            k.layers.Dense(4, activation="tanh", kernel_regularizer="l2", name="a"),
            k.layers.BatchNormalization(name="n"),
            k.layers.Dense(2, name="b"),
        ],
        name="network",
    )
    model.compile(optimizer(k), "mse", metrics=["mae"])
    return model


DIRECTIONS = {"to keras": (nb, keras), "from keras": (keras, nb)}


@pytest.mark.parametrize("kind", OPTIMIZERS)
@pytest.mark.parametrize(("one", "other"), DIRECTIONS.values(), ids=DIRECTIONS)
def test_the_state_of_an_optimizer_travels(one, other, kind, tmp_path):
    model = one.Sequential([one.Input((3,)), one.layers.Dense(2)])
    model.compile(OPTIMIZERS[kind](one), "mse")
    rng = np.random.default_rng(0)
    steps = [
        [rng.normal(size=w.shape).astype("float32") for w in model.weights]
        for _ in range(4)
    ]
    for gradients in steps[:3]:
        model.optimizer.apply(gradients, model.trainable_variables)
    model.save(tmp_path / "m.keras")
    loaded = other.saving.load_model(tmp_path / "m.keras")
    assert len(loaded.optimizer.variables) == len(model.optimizer.variables)
    for each in (model, loaded):
        each.optimizer.apply(steps[3], each.trainable_variables)
    for a, b in zip(model.weights, loaded.weights, strict=True):
        np.testing.assert_allclose(a.value, b.value, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize(("one", "other"), DIRECTIONS.values(), ids=DIRECTIONS)
def test_training_goes_on_in_the_other_library(one, other, tmp_path):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(16, 3)), rng.normal(size=(16, 2))
    x, y = x.astype("float32"), y.astype("float32")
    model = _network(one, OPTIMIZERS["adam"])
    for at in (0, 4, 8):
        model.train_on_batch(x[at : at + 4], y[at : at + 4])
    model.save(tmp_path / "m.keras")
    loaded = other.saving.load_model(tmp_path / "m.keras")
    for each in (model, loaded):
        each.train_on_batch(x[12:], y[12:])
    assert_same_outputs(model, loaded, x)


def test_a_loaded_model_goes_on_training_as_the_saved_one(tmp_path):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(8, 3)), rng.normal(size=(8, 2))
    model = _network(nb, OPTIMIZERS["adam"])
    model.fit(x, y, batch_size=4, shuffle=False, verbose=0)
    model.save(tmp_path / "m.keras")
    loaded = nb.saving.load_model(tmp_path / "m.keras")
    for each in (model, loaded):
        each.fit(x, y, batch_size=4, shuffle=False, verbose=0)
    assert_same_outputs(model, loaded, x, atol=0)
    assert model.evaluate(x, y, verbose=0) == loaded.evaluate(x, y, verbose=0)


def test_what_compile_was_told_travels_both_ways(tmp_path):
    def make(k):
        model = lists(k)
        model.compile(
            k.optimizers.SGD(0.25),
            loss={
                "sum_out": "mse",
                "left_out": k.losses.BinaryCrossentropy(from_logits=True),
            },
            loss_weights={"sum_out": 2.0, "left_out": 0.5},
            metrics={"sum_out": ["mae"], "left_out": []},
        )
        return model

    data = [np.ones((2, 4), "float32"), np.ones((2, 5), "float32")]
    targets = [np.ones((2, 1), "float32"), np.zeros((2, 2), "float32")]
    names = ("sum_out", "left_out")
    ours, theirs = build(make)
    theirs.set_weights(ours.get_weights())
    ours.save(tmp_path / "ours.keras")
    theirs.save(tmp_path / "theirs.keras")
    results = []
    for library, name in ((keras, "ours"), (nb, "theirs"), (nb, "ours")):
        loaded = library.saving.load_model(tmp_path / f"{name}.keras")
        assert float(loaded.optimizer.learning_rate) == 0.25
        y = dict(zip(names, targets, strict=True))
        results.append(loaded.evaluate(data, y, verbose=0, return_dict=True))
    for result in results[1:]:
        assert result.keys() == results[0].keys()
        for name, value in result.items():
            np.testing.assert_allclose(value, results[0][name], rtol=1e-5)


def test_the_training_can_be_left_out(tmp_path):
    model = _network(nb, OPTIMIZERS["adam"])
    model.save(tmp_path / "m.keras")
    loaded = nb.saving.load_model(tmp_path / "m.keras", compile=False)
    assert not loaded.compiled and loaded.optimizer is None
    assert_same_outputs(loaded, model, np.ones((2, 3), "float32"))


def test_a_model_that_was_never_compiled_stays_so(tmp_path):
    model, _ = build(chain)
    model.save(tmp_path / "m.keras")
    assert not nb.saving.load_model(tmp_path / "m.keras").compiled


# --- Classes and functions of the user's own ------------------------------------------


def _custom(k):
    """A layer with an inner layer and a function, the same class for both libraries."""

    def doubled(x):
        return 2 * x

    class Block(k.layers.Layer):
        def __init__(self, units, inner=None, **kwargs):
            super().__init__(**kwargs)
            self.units = units
            self.inner = inner or k.layers.Dense(units, activation=doubled, name="in")

        def call(self, x):
            return self.inner(x) + 1

        def get_config(self):
            # An object in a config is written as its own config, as Keras does.
            return {**super().get_config(), "units": self.units, "inner": self.inner}

        @classmethod
        def from_config(cls, config):
            config["inner"] = k.saving.deserialize_keras_object(config["inner"])
            return cls(**config)

    x = k.Input((3,), name="x")
    model = k.Model(x, Block(2, name="block")(x), name="custom")
    return model, {"Block": Block, "doubled": doubled}


def test_custom_classes_travel_both_ways(tmp_path):
    (ours, our_names), (theirs, their_names) = _custom(nb), _custom(keras)
    data = np.ones((2, 3), "float32")
    ours.save(tmp_path / "ours.keras")
    theirs.save(tmp_path / "theirs.keras")
    loaded = keras.saving.load_model(tmp_path / "ours.keras", their_names)
    assert_same_outputs(loaded, ours, data)
    loaded = nb.saving.load_model(tmp_path / "theirs.keras", our_names)
    assert_same_outputs(loaded, theirs, data)
    loaded = nb.saving.load_model(tmp_path / "ours.keras", our_names)
    assert_same_outputs(loaded, ours, data)
    assert type(loaded.get_layer("block")) is our_names["Block"]


def test_custom_names_may_be_given_by_a_scope(tmp_path):
    model, names = _custom(nb)
    model.save(tmp_path / "m.keras")
    for scope in (nb.saving.custom_object_scope, nb.saving.CustomObjectScope):
        with scope(names):
            assert nb.saving.load_model(tmp_path / "m.keras").name == "custom"


@pytest.mark.parametrize("writer", [nb, keras], ids=["ours", "theirs"])
def test_functions_of_the_users_own_are_asked_for_and_found(writer, tmp_path):
    def cubed(y_true, y_pred):
        return abs(y_true - y_pred) ** 3

    model = writer.Sequential([writer.Input((2,)), writer.layers.Dense(1)])
    model.compile("sgd", cubed, metrics=[cubed])
    x, y = np.ones((3, 2), "float32"), np.ones((3, 1), "float32")
    wanted = model.evaluate(x, y, verbose=0)
    model.save(tmp_path / "m.keras")
    with pytest.raises(ValueError, match=r"custom_objects=\{'cubed': cubed\}"):
        nb.saving.load_model(tmp_path / "m.keras")
    loaded = nb.saving.load_model(tmp_path / "m.keras", {"cubed": cubed})
    np.testing.assert_allclose(loaded.evaluate(x, y, verbose=0), wanted, rtol=1e-6)


def test_loss_scaling_goes_on_in_the_other_library(tmp_path):
    def make(k):
        dense = k.layers.Dense(2, dtype="mixed_float16", name="d")
        model = k.Sequential([k.Input((3,), name="x"), dense], name="s")
        model.compile(k.optimizers.LossScaleOptimizer(k.optimizers.Adam(0.01)), "mse")
        return model

    x, y = np.ones((4, 3), "float32"), np.zeros((4, 2), "float32")
    for model, other in zip(build(make), (keras, nb), strict=True):
        for _ in range(3):
            model.train_on_batch(x, y)
        model.save(tmp_path / "m.keras")
        loaded = other.saving.load_model(tmp_path / "m.keras")
        for each in (model, loaded):
            each.train_on_batch(x, y)
        assert_same_outputs(model, loaded, x, atol=1e-3)


def test_registered_classes_need_nothing(tmp_path):
    @nb.saving.register_keras_serializable("tests.model_file")
    class Shift(layers.Layer):
        def __init__(self, by=1.0, **kwargs):
            super().__init__(**kwargs)
            self.by = by

        def call(self, x):
            return x + self.by

    model = nb.Sequential([nb.Input((2,)), Shift(3.0)])
    model.save(tmp_path / "m.keras")
    loaded = nb.saving.load_model(tmp_path / "m.keras")
    assert type(loaded.layers[0]) is Shift and loaded.layers[0].by == 3.0
    config = json.loads(zipfile.ZipFile(tmp_path / "m.keras").read("config.json"))
    described = config["config"]["layers"][1]
    assert described["registered_name"] == "tests.model_file>Shift"


def test_a_model_of_the_users_own_class_travels_both_ways(tmp_path):
    def make(k):
        class Mine(k.Model):
            def __init__(self, units=3, **kwargs):
                super().__init__(**kwargs)
                self.units = units
                self.out = k.layers.Dense(1)
                self.hidden = [k.layers.Dense(units) for _ in range(2)]

            def call(self, x, training=False):
                for layer in self.hidden:
                    x = layer(x)
                return self.out(x)

            def get_config(self):
                return {**super().get_config(), "units": self.units}

        model = Mine(4, name="mine")
        model.compile("adam", "mse")
        model.fit(np.ones((4, 3)), np.ones((4, 1)), verbose=0)
        return model

    ours, theirs = build(make)
    data = np.ones((2, 3), "float32")
    ours.save(tmp_path / "ours.keras")
    theirs.save(tmp_path / "theirs.keras")
    for library, model, name in ((keras, theirs, "ours"), (nb, ours, "theirs")):
        saved = theirs if name == "theirs" else ours
        loaded = library.saving.load_model(
            tmp_path / f"{name}.keras", {"Mine": type(model)}
        )
        assert_same_outputs(loaded, saved, data)
        for each in (loaded, saved):
            each.train_on_batch(np.ones((4, 3), "float32"), np.ones((4, 1), "float32"))
        assert_same_outputs(loaded, saved, data)


def test_one_layer_in_two_places_is_one_layer_again(tmp_path):
    def make(k):
        table = k.layers.Dense(3, name="table")
        a = k.Sequential([k.Input((3,), name="ax"), table], name="a")
        b = k.Sequential([k.Input((3,), name="bx"), table], name="b")
        x = k.Input((3,), name="x")
        return k.Model(x, b(a(x)), name="twice")

    ours, _ = build(make)
    ours.save(tmp_path / "m.keras")
    # Keras reads this too, but its own files do not say it.
    for library in (nb, keras):
        loaded = library.saving.load_model(tmp_path / "m.keras")
        assert_same_outputs(loaded, ours, data_for(ours))
        inner = [loaded.get_layer(x).layers[0] for x in "ab"]
        assert inner[0] is inner[1] and len(loaded.weights) == 2


def test_layers_may_keep_files(tmp_path):
    def make(k):
        class Words(k.layers.Layer):
            words = ()

            def call(self, x):
                return x

            def save_assets(self, folder):
                Path(folder, "words.txt").write_text("\n".join(self.words))

            def load_assets(self, folder):
                self.words = tuple(Path(folder, "words.txt").read_text().split("\n"))

        model = k.Sequential([k.Input((2,)), Words(name="w")], name="s")
        model.layers[0].words = ("some", "words")
        return model, Words

    (ours, our_class), (theirs, their_class) = make(nb), make(keras)
    ours.save(tmp_path / "ours.keras")
    theirs.save(tmp_path / "theirs.keras")
    ours.save(tmp_path / "folder", zipped=False)
    for library, cls, name in (
        (keras, their_class, "ours.keras"),
        (nb, our_class, "theirs.keras"),
        (nb, our_class, "folder"),
        (keras, their_class, "folder"),
    ):
        loaded = library.saving.load_model(tmp_path / name, {"Words": cls})
        assert loaded.layers[0].words == ("some", "words")


# --- Lambdas --------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:The object being serialized includes a `lambda`")
@pytest.mark.parametrize("writer", [nb, keras], ids=["ours", "theirs"])
def test_code_in_a_file_is_refused_unless_allowed(writer, tmp_path):
    model = writer.Sequential(
        [writer.Input((2,)), writer.layers.Lambda(lambda x: x * 3, name="triple")]
    )
    model.save(tmp_path / "m.keras")
    with pytest.raises(ValueError, match="lambda.*safe_mode=False"):
        nb.saving.load_model(tmp_path / "m.keras")
    loaded = nb.saving.load_model(tmp_path / "m.keras", safe_mode=False)
    assert np.asarray(loaded(np.ones((1, 2)))).tolist() == [[3, 3]]
    with pytest.raises(ValueError, match="lambda.*safe_mode=False"):
        nb.saving.load_model(tmp_path / "m.keras")  # the permission was for once


# --- Where to -------------------------------------------------------------------------


def test_only_models_are_saved(tmp_path):
    theirs = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    for thing in (theirs, tmp_path / "m.keras"):
        with pytest.raises(TypeError, match="save: `model` must be a model or a layer"):
            nb.saving.save_model(thing, tmp_path / "m.keras")
        with pytest.raises(TypeError, match="save_weights: `model` must be a model"):
            nb.saving.save_weights(thing, tmp_path / "m.weights.h5")


def test_a_folder_holds_the_same_parts_both_ways(tmp_path):
    ours, theirs = build(chain)
    ours.save(tmp_path / "ours", zipped=False)
    theirs.save(tmp_path / "theirs", zipped=False)
    names = lambda n: sorted(p.name for p in (tmp_path / n).iterdir())  # noqa: E731
    assert set(names("ours")) <= set(names("theirs")) | {"model.weights.h5"}
    data = data_for(ours)
    assert_same_outputs(keras.saving.load_model(tmp_path / "ours"), ours, data)
    assert_same_outputs(nb.saving.load_model(tmp_path / "theirs"), theirs, data)


NAMES = {
    "no extension": ("m", {}, "must end in `.keras`, not 'm'"),
    "another extension": ("m.pt", {}, "must end in `.keras`, not 'm.pt'"),
    "a folder like a file": ("m.keras", {"zipped": False}, "must not end in `.keras`"),
    "an unknown argument": ("m.keras", {"overwrit": 1}, "no argument `overwrit`"),
}


@pytest.mark.parametrize(("name", "options", "sentence"), NAMES.values(), ids=NAMES)
def test_names_that_cannot_be_are_explained(name, options, sentence, tmp_path):
    model, _ = build(chain)
    with pytest.raises(ValueError, match=sentence):
        nb.saving.save_model(model, tmp_path / name, **options)
    assert list(tmp_path.iterdir()) == []


READ_NAMES = {
    "the old format": ("m.h5", "there is no file .*m.h5"),
    "another extension": ("m.pt", "is not a `.keras` or `.h5` file, nor a folder"),
    "nothing": ("m.keras", "there is no file .*m.keras. The folder has other.keras"),
}


@pytest.mark.parametrize(("name", "sentence"), READ_NAMES.values(), ids=READ_NAMES)
def test_what_cannot_be_loaded_is_explained(name, sentence, tmp_path):
    (tmp_path / "other.keras").touch()
    with pytest.raises(ValueError, match=sentence):
        nb.saving.load_model(tmp_path / name)


def test_old_arguments_are_taken(tmp_path):
    model, _ = build(chain)
    model.save(tmp_path / "m.keras", include_optimizer=False, save_format="keras")
    assert (tmp_path / "m.keras").exists()


def test_a_model_without_weights_is_saved_with_a_warning(tmp_path):
    model = nb.Sequential([layers.Dense(2)], name="s")
    with pytest.warns(UserWarning, match="Sequential `s` is not built"):
        model.save(tmp_path / "m.keras")
    loaded = nb.saving.load_model(tmp_path / "m.keras")
    assert not loaded.built and loaded(np.ones((1, 3))).shape == (1, 2)


def test_a_path_may_be_a_string_or_relative(tmp_path, monkeypatch):
    model, _ = build(chain)
    monkeypatch.chdir(tmp_path)
    model.save("m.keras")
    assert_same_outputs(nb.saving.load_model("m.keras"), model, data_for(model))


# --- Plain data -----------------------------------------------------------------------


def test_objects_are_described_and_made_again():
    layer = layers.Dense(3, activation="relu", kernel_initializer="zeros")
    config = nb.saving.serialize_keras_object(layer)
    assert config["module"] == "keras.layers" and config["class_name"] == "Dense"
    for library in (nb, keras):
        again = library.saving.deserialize_keras_object(json.loads(json.dumps(config)))
        assert again.units == 3 and again.name == layer.name
    with pytest.raises(TypeError, match="no argument `custom`"):
        nb.saving.deserialize_keras_object(config, custom=1)


class Narrow(nb.layers.Layer):
    """A layer whose constructor takes its own arguments and no others."""

    def __init__(self, units):
        super().__init__()
        self.units = units
        self.dense = nb.layers.Dense(units)

    def call(self, x):
        return self.dense(x)


def test_a_layer_that_takes_only_its_own_arguments_keeps_name_and_policy(tmp_path):
    layer = Narrow(3)
    layer.dtype_policy = "mixed_bfloat16"
    layer.trainable = False
    x = nb.Input((2,))
    model = nb.Model(x, layer(x))
    model.save(tmp_path / "m.keras")
    again = nb.saving.load_model(
        tmp_path / "m.keras", custom_objects={"Narrow": Narrow}
    )
    found = again.layers[1]
    assert (found.name, found.units, found.trainable) == (layer.name, 3, False)
    assert found.dtype_policy.name == "mixed_bfloat16"
    np.testing.assert_array_equal(again(np.ones((1, 2))), model(np.ones((1, 2))))


def frozen_chain():
    return nb.Sequential([nb.Input((2,)), layers.Dense(2, trainable=False)])


def frozen_graph():
    x = nb.Input((2,))
    return nb.Model(x, layers.Dense(2, trainable=False)(frozen_chain()(x)))


@pytest.mark.parametrize("make", [frozen_chain, frozen_graph])
def test_frozen_layers_stay_frozen(make, tmp_path):
    model = make()
    model.save(tmp_path / "m.keras")
    read = nb.saving.load_model(tmp_path / "m.keras")
    for again in (read, nb.models.clone_model(model)):
        assert again.trainable
        assert [v.path.split("/")[-1] for v in again.trainable_weights] == []
        assert len(again.weights) == len(model.weights)


def test_a_compiled_model_inside_another_is_read_without_a_warning(tmp_path):
    inner = nb.Sequential([nb.Input((2,)), layers.Dense(3)])
    inner.compile(nb.optimizers.Adam(0.02), "mse")
    outer = nb.Sequential([nb.Input((2,)), inner, layers.Dense(1)])
    outer.compile("adam", "mse")
    outer.fit(np.ones((4, 2)), np.ones((4, 1)), verbose=0)
    outer.save(tmp_path / "m.keras")
    again = nb.saving.load_model(tmp_path / "m.keras")
    assert int(again.optimizer.iterations) == 1
    assert float(again.layers[0].optimizer.learning_rate) == pytest.approx(0.02)
