"""kerasnb.saving.legacy, kerasnb.saving.keras2"""

import json
import shutil
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest

import kerasnb as nb
from kerasnb import layers
from kerasnb.core.configurable import deserialize
from kerasnb.saving import keras2, load_model
from tests.models.zoo import (
    assert_same_outputs,
    build,
    chain,
    data_for,
    dicts,
    masked,
    nested,
    operations,
    outputs_of,
)

# Keras' own conversion to NumPy.
pytestmark = [
    pytest.mark.filterwarnings("ignore:__array__ implementation"),
    pytest.mark.filterwarnings("ignore:.*old `.h5` format, which keeps less"),
]

# Written by Keras 2; `make.py` there tells how. Keras 3 cannot load any of them.
FILES = Path(__file__).parents[1] / "files" / "legacy"


WIDE = ("classifier", "words", "attention")
WIDER = pytest.mark.parity


# --- Files of Keras 2 -----------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["heads", *(pytest.param(name, marks=WIDER) for name in WIDE)]
)
def test_models_of_keras_2_predict_and_go_on_training(name):
    model, data = load_model(FILES / f"{name}.h5"), np.load(FILES / f"{name}.npz")

    def named(letter):
        arrays = [data[key] for key in data if key[0] == letter]
        return arrays if len(arrays) > 1 else arrays[0]

    def agrees(letter):
        made = model.predict(named("x"), verbose=0)
        wanted = named(letter)
        if not isinstance(made, list):
            made, wanted = [made], [wanted]
        for mine, theirs in zip(made, wanted, strict=True):
            np.testing.assert_allclose(mine, theirs, rtol=1e-5, atol=2e-6)

    agrees("p")
    assert int(model.optimizer.iterations.value) == 2
    model.train_on_batch(named("x"), named("y"))
    agrees("q")


@WIDER
def test_functions_of_tensorflow_are_operations():
    data = np.load(FILES / "functions.npz")
    model = load_model(FILES / "functions.h5")
    outputs = model([data["x0"], data["x1"], data["x2"]])
    for i, (found, name) in enumerate(zip(outputs, model.output_names, strict=True)):
        wanted = data[f"p{i}"]
        assert found.dtype == wanted.dtype, name
        np.testing.assert_allclose(found, wanted, 1e-5, 1e-6, err_msg=name)


@WIDER
def test_keras_3_reads_what_was_read_and_written_again(tmp_path):
    model = load_model(FILES / "heads.h5")
    data = np.load(FILES / "heads.npz")
    for name in ("again.h5", "again.keras"):
        model.save(tmp_path / name)
        theirs = keras.models.load_model(tmp_path / name)
        assert_same_outputs(model, theirs, [data["x0"], data["x1"]])


# --- Configs of Keras 2 ---------------------------------------------------------------


def _layer(name, **config):
    return {"class_name": name, "config": {"name": "it", "trainable": True, **config}}


CONFIGS = {
    "a renamed argument": (_layer("LeakyReLU", alpha=0.5), {"negative_slope": 0.5}),
    "a class that is gone": (_layer("ThresholdedReLU", theta=2.0), {"threshold": 2.0}),
    "an axis in a list": (_layer("BatchNormalization", axis=[3]), {"axis": 3}),
    "the first GRU": (_layer("GRU", units=2), {"reset_after": False}),
    "without meaning": (
        _layer("LSTM", units=2, time_major=False, batch_input_shape=[None, 3, 4]),
        {"units": 2},
    ),
    "groups": (_layer("DepthwiseConv2D", kernel_size=3, groups=1), {"strides": (1, 1)}),
    "a policy": (
        _layer("ReLU", dtype={"class_name": "Policy", "config": {"name": "float16"}}),
        {"dtype": "float16"},
    ),
    "a package": (_layer("Custom>Dropout", rate=0.5), {"rate": 0.5}),
    "an inner layer": (
        _layer("TimeDistributed", layer=_layer("LeakyReLU", alpha=0.5)),
        {"layer": {"class_name": "LeakyReLU", "config": {"negative_slope": 0.5}}},
    ),
    "an initializer": (
        _layer(
            "Dense",
            units=2,
            kernel_initializer={
                "class_name": "Identity",
                "config": {"gain": 2.0, "dtype": "float32"},
            },
        ),
        {"kernel_initializer": {"class_name": "Identity", "config": {"gain": 2.0}}},
    ),
    "a shape in a tuple": (
        _layer("Reshape", target_shape={"class_name": "__tuple__", "items": [2, 3]}),
        {"target_shape": (2, 3)},
    ),
}


@pytest.mark.parametrize("case", CONFIGS)
def test_configs_of_keras_2_are_understood(case):
    config, wanted = CONFIGS[case]
    found = deserialize(keras2.modern_model(config)).get_config()

    def holds(found, wanted):
        if not isinstance(wanted, dict):
            name = found["config"]["name"] if isinstance(found, dict) else found
            return name == wanted
        return all(holds(found[key], value) for key, value in wanted.items())

    assert holds(found, wanted), found


def test_a_chain_without_an_input_takes_the_shape_from_its_first_layer():
    first = _layer("Embedding", input_dim=5, output_dim=2, batch_input_shape=[None, 3])
    inner = {"class_name": "Sequential", "config": [first]}
    outer = {"class_name": "Sequential", "config": {"name": "s", "layers": [inner]}}
    for config in (inner, outer):
        model = deserialize(keras2.modern_model(config))
        assert model.output_shape == (None, 3, 2)


def test_old_settings_of_compile_are_understood():
    old = {
        "optimizer_config": {
            "class_name": "SGD",
            "config": {"lr": 0.5, "decay": 0.1, "momentum": 0.9, "nesterov": False},
        },
        "loss": {"class_name": "Huber", "config": {"reduction": "auto", "fn": "huber"}},
        "metrics": [[None, {"class_name": "AUC", "config": {"name": "auc"}}], "mine"],
        "loss_weights": None,
        "sample_weight_mode": None,
    }
    made = keras2.modern_compile(old)
    with nb.saving.custom_object_scope({"mine": np.square}):
        optimizer, loss, metrics = (
            deserialize(made[name]) for name in ("optimizer", "loss", "metrics")
        )
    assert float(optimizer.learning_rate) == 0.5
    optimizer.iterations.assign(10)
    assert float(optimizer.learning_rate) == 0.25
    assert loss.reduction == "sum_over_batch_size"
    assert metrics[0][0].name == "auc"
    assert metrics[1] is np.square


# --- Both ways ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "make",
    [chain, nested, pytest.param(dicts, marks=WIDER)],
    ids=lambda make: make.__name__,
)
def test_keras_reads_what_we_write(make, tmp_path):
    ours, _ = build(make)
    ours.save(tmp_path / "m.h5")
    data = data_for(ours)
    for library in (nb, keras):
        again = library.models.load_model(tmp_path / "m.h5")
        assert_same_outputs(ours, again, data)


@pytest.mark.parametrize(
    "make",
    [
        chain,
        nested,
        *(pytest.param(x, marks=WIDER) for x in (dicts, masked, operations)),
    ],
    ids=lambda make: make.__name__,
)
def test_we_read_what_keras_writes_even_where_keras_cannot(make, tmp_path):
    _, theirs = build(make)
    theirs.save(tmp_path / "m.h5")
    ours = load_model(tmp_path / "m.h5")
    assert_same_outputs(ours, theirs, data_for(ours))


def _small(k):
    model = k.Sequential(
        [
            k.Input((3,), name="x"),
            k.layers.Dense(4, activation="tanh", name="hidden"),
            k.layers.Dense(2, name="out"),
        ],
        name="small",
    )
    loss = k.losses.MeanSquaredError()
    model.compile(k.optimizers.Adam(0.1), loss, metrics=["mae"])
    return model


def _step(model, rows=4):
    rng = np.random.default_rng(rows)
    x, y = rng.normal(size=(rows, 3)), rng.normal(size=(rows, 2))
    return model.train_on_batch(x.astype("float32"), y.astype("float32"))


@pytest.mark.parametrize("writer", [0, 1], ids=["ours", "theirs"])
def test_the_next_step_is_that_of_the_model_that_was_saved(writer, tmp_path):
    # Keras builds the optimizer of such a file for no weights and cannot go on itself.
    model = build(_small)[writer]
    _step(model)
    model.save(tmp_path / "m.h5")
    again = load_model(tmp_path / "m.h5")
    np.testing.assert_allclose(_step(again, 5), _step(model, 5), rtol=1e-5)
    for a, b in zip(again.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_the_state_of_training_can_be_left_out(tmp_path):
    model, _ = build(_small)
    model.save(tmp_path / "m.h5", include_optimizer=False)
    with h5py.File(tmp_path / "m.h5") as file:
        assert list(file) == ["model_weights"]
        assert sorted(file.attrs) == ["backend", "keras_version", "model_config"]
    assert load_model(tmp_path / "m.h5").optimizer is None
    model.save(tmp_path / "m.h5")
    assert load_model(tmp_path / "m.h5").optimizer is not None
    assert load_model(tmp_path / "m.h5", compile=False).optimizer is None


def test_what_is_in_the_file_is_what_keras_puts_there(tmp_path):
    ours, theirs = build(_small)
    for model, name in ((ours, "a.h5"), (theirs, "b.h5")):
        model.optimizer.build(model.trainable_variables)
        model.save(tmp_path / name)

    def listed(name):
        found = {}
        with h5py.File(tmp_path / name) as file:
            file.visititems(lambda place, item: found.update({place: dict(item.attrs)}))
            for attrs in [dict(file.attrs), *found.values()]:
                attrs.pop("model_config", None), attrs.pop("training_config", None)
            return {"": {k: str(v) for k, v in file.attrs.items()}} | found

    mine, wanted = listed("a.h5"), listed("b.h5")
    assert mine.keys() == wanted.keys()
    assert mine[""].keys() == wanted[""].keys()
    for place in mine.keys() - {""}:
        for name, value in wanted[place].items():
            found = np.asarray(mine[place][name]).astype("U").tolist()
            assert found == np.asarray(value).astype("U").tolist(), f"{place} {name}"


def test_writing_says_that_there_is_a_better_format(tmp_path):
    model, _ = build(_small)
    with pytest.warns(UserWarning, match=r"m.h5 is written in .*model.save\(\"m.keras"):
        model.save(tmp_path / "m.h5")


def test_long_lists_of_names_go_to_several_attributes(tmp_path, monkeypatch):
    monkeypatch.setattr("kerasnb.saving.legacy._ATTRIBUTE_LIMIT", 20)
    ours, theirs = build(chain)
    ours.save(tmp_path / "m.h5")
    with h5py.File(tmp_path / "m.h5") as file:
        assert "layer_names1" in file["model_weights"].attrs
    theirs.load_weights(tmp_path / "m.h5")
    assert_same_outputs(ours, theirs, data_for(ours))
    assert_same_outputs(load_model(tmp_path / "m.h5"), theirs, data_for(ours))


def test_a_failed_write_leaves_the_file_as_it_was(tmp_path):
    model, _ = build(_small)
    model.save(tmp_path / "m.h5")
    before = (tmp_path / "m.h5").read_bytes()

    class Strange(layers.Layer):
        def call(self, x):
            return x

        def get_config(self):
            return {"what": object()}

    broken = nb.Sequential([nb.Input((2,)), Strange()])
    with pytest.raises(TypeError, match="cannot be written"):
        broken.save(tmp_path / "m.h5")
    with pytest.raises(FileExistsError, match="exists already"):
        model.save(tmp_path / "m.h5", overwrite=False)
    assert (tmp_path / "m.h5").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["m.h5"]


def test_own_classes_and_functions_travel(tmp_path):
    @nb.saving.register_keras_serializable("legacy")
    class Twice(layers.Layer):
        def call(self, x):
            return 2 * x

    def bent(x):
        return x * x

    model = nb.Sequential([nb.Input((2,)), Twice(), layers.Dense(2, activation=bent)])
    model.compile("sgd", loss=bent)
    model.save(tmp_path / "m.h5")
    with pytest.raises(ValueError, match="custom_objects={'bent': bent}"):
        load_model(tmp_path / "m.h5")
    again = load_model(tmp_path / "m.h5", custom_objects={"bent": bent})
    assert_same_outputs(model, again, np.ones((1, 2), "float32"))


# --- Weights alone --------------------------------------------------------------------


def _weights_file(tmp_path, change=lambda group: None):
    """The weights of a model of Keras' in a file of their own, changed."""
    _, theirs = build(chain)
    theirs.save(tmp_path / "whole.h5")
    with (
        h5py.File(tmp_path / "whole.h5") as f,
        h5py.File(tmp_path / "w.h5", "w") as file,
    ):
        for name, value in f["model_weights"].attrs.items():
            file.attrs[name] = value
        for name in f["model_weights"]:
            f.copy(f"model_weights/{name}", file)
        change(file)
    return tmp_path / "w.h5"


def _other(k):
    """A layer more, a layer of another shape, names that agree in part."""
    return k.Sequential(
        [
            k.Input((3,), name="x"),
            k.layers.Dense(4, name="hidden"),
            k.layers.Dense(4, name="new"),
            k.layers.BatchNormalization(name="norm"),
            k.layers.Dense(3, name="out"),
        ],
        name="other",
    )


def _set_all(model, value):
    model.set_weights([np.full(w.shape, value, "float32") for w in model.weights])


@pytest.mark.parametrize("whole", [False, True])
def test_weights_are_matched_in_order(tmp_path, whole):
    path = _weights_file(tmp_path)
    path = path.with_name("whole.h5") if whole else path
    ours, theirs = build(chain)
    for model in (ours, theirs):
        _set_all(model, 0.5)
        model.load_weights(path)
    for a, b in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
        assert not np.all(a == 0.5)


@pytest.mark.filterwarnings("ignore:Skipping loading")
def test_weights_are_matched_by_name_and_skipped_where_they_do_not_fit(tmp_path):
    path = _weights_file(tmp_path)
    ours, theirs = build(_other)
    for model in (ours, theirs):
        _set_all(model, 0.5)
    with pytest.raises(
        ValueError, match=r"`out` has a kernel of shape \(4, 3\).*\(4, 2"
    ):
        ours.load_weights(path, by_name=True)
    assert all(np.all(w == 0.5) for w in ours.get_weights())
    with pytest.warns(UserWarning, match="out.*left as it was"):
        ours.load_weights(path, by_name=True, skip_mismatch=True)
    theirs.load_weights(path, by_name=True, skip_mismatch=True)
    for a, b in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    assert not np.all(ours.get_layer("hidden").kernel == 0.5)
    assert np.all(ours.get_layer("new").kernel == 0.5)


def _without_a_layer(group):
    group.attrs["layer_names"] = [b"hidden", b"norm"]


def _without_a_weight(group):
    group["hidden"].attrs["weight_names"] = [b"chain/hidden/kernel"]


MISFITS = {
    "too few layers": (
        _without_a_layer,
        "for 2 layers .`hidden`, `norm`.*the model.* 3 layers",
    ),
    "too few weights": (_without_a_weight, "Dense `hidden` has 2 weights.*holds 1"),
    "no weight there": (lambda g: g.pop("hidden/chain"), "w.h5"),
    "no list": (lambda g: g.attrs.pop("layer_names"), "no file of Keras' old"),
    "a number": (lambda g: g.attrs.update(layer_names=3), "instead of a list"),
    "a way out": (
        lambda g: g["hidden"].attrs.modify("weight_names", [b"../a", b"/etc/b"]),
        "w.h5",
    ),
}


@pytest.mark.parametrize("case", MISFITS)
def test_weights_that_do_not_fit_change_nothing(case, tmp_path):
    change, message = MISFITS[case]
    path = _weights_file(tmp_path, change)
    model, _ = build(chain)
    before = model.get_weights()
    with pytest.raises(ValueError, match=message):
        model.load_weights(path)
    for a, b in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(a, b)


# --- Files that are not loaded --------------------------------------------------------


def _edited(tmp_path, change):
    path = tmp_path / "words.h5"
    shutil.copy(FILES / "words.h5", path)
    with h5py.File(path, "r+") as file:
        change(file)
    return path


def _config(change):
    def edit(file):
        config = json.loads(file.attrs["model_config"])
        change(config["config"]["layers"])
        file.attrs["model_config"] = json.dumps(config)

    return edit


def _as_lambda(found):
    code = ["4wEAAAA=\n", None, None]
    found[1]["class_name"] = "Lambda"
    found[1]["config"] = {"name": "l", "function": code, "function_type": "lambda"}


def _as_function(found):
    config = {"name": "f", "function": "image.adjust_hue"}
    found[1].update(class_name="TFOpLambda", config=config)


BROKEN = {
    "weights alone": (lambda f: f.attrs.pop("model_config"), "`model_config`.*load_w"),
    "no weights": (lambda f: f.pop("model_weights"), "model_weights"),
    "no JSON": (lambda f: f.attrs.modify("model_config", b"{"), "is not JSON"),
    "a list": (lambda f: f.attrs.modify("model_config", b"[]"), "no `class_name`"),
    "no layers": (
        lambda f: f.attrs.modify("model_config", b'{"class_name": "Model"}'),
        "not complete",
    ),
    "an unknown class": (
        _config(lambda found: found[1].update(class_name="Wonder")),
        "`Wonder` that is not known",
    ),
    "Python code": (_config(_as_lambda), "Python lambda.*safe_mode=False"),
    "a function": (_config(_as_function), "TensorFlow's function image.adjust_hue"),
    "time first": (
        _config(lambda found: found[3]["config"].update(time_major=True)),
        "GRU `old_gru` has time_major=True",
    ),
    "a loop": (
        _config(lambda found: found[1].update(inbound_nodes=[[["out", 0, 0, {}]]])),
        "graph cannot be rebuilt",
    ),
    "a strange call": (
        _config(lambda found: found[1].update(inbound_nodes=[[7]])),
        "cannot be loaded",
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_broken_files_are_refused_in_one_sentence(case, tmp_path):
    change, message = BROKEN[case]
    path = _edited(tmp_path, change)
    with pytest.raises((ValueError, TypeError), match=message) as caught:
        load_model(path)
    assert "words.h5" in str(caught.value) and "\n" not in str(caught.value)


def test_a_hard_sigmoid_of_keras_2_is_pointed_out(tmp_path):
    def change(found):
        found[3]["config"]["recurrent_activation"] = "hard_sigmoid"

    with pytest.warns(UserWarning, match=r"hard_sigmoid is 0.2 \* x"):
        load_model(_edited(tmp_path, _config(change)))


def test_a_state_of_an_optimizer_that_does_not_fit_is_left(tmp_path):
    def change(file):
        del file["optimizer_weights"].attrs["weight_names"]
        file["optimizer_weights"].attrs["weight_names"] = [b"Adam/iter:0"] + [
            b"Adam/out/bias/m:0"
        ] * 5

    with pytest.warns(UserWarning, match="6 variables of the file do not fit"):
        model = load_model(_edited(tmp_path, change))
    assert int(model.optimizer.iterations.value) == 0
    data = np.load(FILES / "words.npz")
    np.testing.assert_allclose(outputs_of(model, data["x0"])[0], data["p0"], 1e-5, 1e-6)


def test_what_belongs_to_other_formats_is_refused(tmp_path):
    model, _ = build(chain)
    path = _weights_file(tmp_path)
    with pytest.raises(ValueError, match="`objects_to_skip` belongs to `.weights.h5`"):
        nb.saving.load_weights(model, path, objects_to_skip=[model.layers[0]])
    with pytest.raises(ValueError, match="must end in `.weights.h5`"):
        model.save_weights(tmp_path / "x.h5")
    with pytest.raises(FileNotFoundError, match="there is no file"):
        load_model(tmp_path / "absent.h5")
