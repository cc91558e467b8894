"""Attacks by model files: one test each, of those known against Keras and their kin

The files are made here, mostly from one valid file whose description is replaced.
"""

import io
import json
import zipfile
import zlib
from html.parser import HTMLParser

import h5py
import jax
import numpy as np
import pytest

import kerasnb as nb
from kerasnb.core import budget, registry
from kerasnb.notebook import display
from kerasnb.notebook.inspect import inspect
from kerasnb.notebook.mistakes import mistakes
from kerasnb.runs import Record
from kerasnb.saving import files
from kerasnb.saving.hdf5 import Hdf5

WEIGHTS = "model.weights.h5"
HUGE = 10**12


@pytest.fixture(scope="module")
def members(tmp_path_factory):
    """The members of a valid file."""
    path = tmp_path_factory.mktemp("good") / "m.keras"
    model = nb.Sequential([nb.Input((3,)), nb.layers.Dense(2, name="out")], name="m")
    model.compile("sgd", "mse")
    model.save(path)
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


@pytest.fixture
def load(members, tmp_path):
    """Load a `.keras` file that holds a description, or other members."""

    def load(config=None, **changes):
        path = tmp_path / "m.keras"
        if config is not None:
            changes["config.json"] = json.dumps(config)
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in {**members, **changes}.items():
                if content is not None:
                    archive.writestr(name, content)
        return nb.saving.load_model(path)

    return load


def obj(kind, module="keras.layers", registered=None, **config):
    return {
        "module": module,
        "class_name": kind,
        "config": config,
        "registered_name": registered,
    }


def layer(kind, **config):
    return obj(kind, name="l", **config)


def function(name, module="builtins", registered="function"):
    return obj("function", module, registered) | {"config": name}


def chain(*layers, shape=(None, 3), dtype="float32", **more):
    first = obj("InputLayer", batch_shape=list(shape), dtype=dtype, name="i")
    return obj("Sequential", "keras", name="m", layers=[first, *layers]) | more


def dense(**config):
    return layer("Dense", **{"units": 2, **config})


TEXT = {"shape": (None, 1), "dtype": "string"}
GADGET = "enable_unsafe_deserialization"


# --- Names that point anywhere in Python ----------------------------------------------

NAMES = {
    "a class of another module": chain(obj("Popen", "subprocess", args=["true"])),
    "a class by a path in its name": chain(obj("os.system", "keras.layers")),
    "a module inside keras": chain(obj("get_file", "keras.src.utils.file_utils")),
    "a callback, which writes files": chain(
        obj("CSVLogger", "keras.callbacks", filename="pwned.csv")
    ),
    "a registered name": chain(obj("Dense", "os", "os>system", units=2)),
    "the gadget that fetches files": chain(
        layer("Lambda", function=function("get_file", "keras.utils", "get_file"))
    ),
    "the gadget as a plain name": chain(layer("Lambda", function="get_file")),
    "the gadget that switches safe mode off": chain(
        layer("Lambda", function=function(GADGET, "keras.config", GADGET))
    ),
    "safe mode switched off by a layer": chain(obj(GADGET, "keras.config")),
    "safe mode in a config": chain(layer("Lambda", function="exp", safe_mode=False)),
    "an activation": chain(dense(activation="os.system")),
    "an activation of the gadget": chain(dense(activation=function(GADGET))),
    "an activation of Python": chain(dense(activation=function("eval"))),
    "an initializer": chain(dense(kernel_initializer="subprocess.Popen")),
    "an endless name": chain(
        dense(), compile_config={"loss": "mse", "metrics": [function("a" * 15000)]}
    ),
    "a regularizer": chain(dense(kernel_regularizer=function("exec"))),
    "a constraint": chain(dense(kernel_constraint="builtins.eval")),
    "a type": chain(dense(units={"class_name": "__typespec__", "config": "os.system"})),
    "a function of JAX": chain(layer("JaxLayer", call_fn="eval", init_fn="eval")),
    "a module of Flax": chain(layer("FlaxLayer", module=obj("Dense", "flax.linen"))),
    "a pickle of PyTorch": chain(layer("TorchModuleWrapper", module="gASVHQAAAA==")),
    "a SavedModel": chain(layer("TFSMLayer", filepath="/etc")),
    "a file that loads a file": chain(
        obj("load_model", "keras.models", filepath="other.keras")
    ),
    "a loss": chain(dense(), compile_config={"loss": "os.system"}),
    "a loss of the gadget": chain(dense(), compile_config={"loss": function(GADGET)}),
    "a metric": chain(dense(), compile_config={"loss": "mse", "metrics": ["eval"]}),
    "an optimizer": chain(
        dense(), compile_config={"loss": "mse", "optimizer": obj("Popen", "subprocess")}
    ),
    "an operation of Python": obj(
        "Functional",
        "keras",
        name="m",
        layers=[
            obj("system", "keras.src.ops.os", name="x") | {"name": "x"},
        ],
        input_layers=[],
        output_layers=[],
    ),
}


@pytest.mark.parametrize("config", NAMES.values(), ids=NAMES)
def test_a_name_in_a_file_reaches_nothing_in_python(
    config, load, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    with pytest.raises((ValueError, TypeError)) as caught:
        load(config)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 600
    assert not registry.code_is_allowed()
    assert [path.name for path in tmp_path.iterdir()] == ["m.keras"]


def test_a_class_of_the_user_is_not_reached_by_another_name(load):
    @nb.saving.register_keras_serializable("mine")
    class Secret(nb.layers.Layer):
        pass

    try:
        with pytest.raises(TypeError, match="`Secret` that is not known here"):
            load(chain(obj("Secret", "__main__")))
    finally:
        nb.saving.get_custom_objects().pop("mine>Secret")


def test_what_a_file_says_registers_nothing_and_changes_no_setting(load):
    known = dict(nb.saving.get_custom_objects())
    policy = obj("DTypePolicy", "keras", name="float16")
    load(chain(dense(dtype=policy)))
    assert nb.config.floatx() == "float32"
    assert nb.config.dtype_policy().name == "float32"
    assert nb.saving.get_custom_objects() == known


# --- Code -----------------------------------------------------------------------------


def _bytecode():
    made = nb.layers.Lambda(lambda x: x + 1, name="l")
    return made.get_config()["function"]


def test_python_code_is_only_read_where_that_is_allowed(load, tmp_path):
    config = chain(layer("Lambda", function=_bytecode()))
    with pytest.raises(ValueError, match=r"Python lambda.*safe_mode=False"):
        load(config)
    trusted = nb.saving.load_model(tmp_path / "m.keras", compile=False, safe_mode=False)
    assert trusted.name == "m"
    assert not registry.code_is_allowed()


def _legacy(path, config, **groups):
    with h5py.File(path, "w") as file:
        file.attrs["model_config"] = json.dumps(config)
        file.attrs["keras_version"] = "2.15.0"
        for name, change in groups.items():
            change(file.create_group(name))
    return path


def test_python_code_in_an_old_file_is_refused(tmp_path):
    code = [_bytecode()["config"]["code"], None, None]
    for told in (code, _bytecode()):
        config = {"function": told, "function_type": "lambda", "name": "l"}
        first = {"batch_input_shape": [None, 3], "name": "i", "dtype": "float32"}
        layers = [
            {"class_name": "InputLayer", "config": first},
            {"class_name": "Lambda", "config": config},
        ]
        path = _legacy(
            tmp_path / "m.h5",
            {"class_name": "Sequential", "config": {"name": "m", "layers": layers}},
        )
        with pytest.raises(ValueError, match="lambda"):
            nb.saving.load_model(path)


@pytest.mark.parametrize("name", ["model.weights.npz", "model.pkl", "model.weights.pt"])
def test_pickles_beside_the_description_are_not_opened(name, load):
    class Evil:
        def __reduce__(self):
            return (exec, ("raise SystemExit('code was run')",))

    array = io.BytesIO()
    np.savez(array, a=np.array([Evil()], object))
    with pytest.raises(ValueError, match=r"lacks model\.weights\.h5"):
        load(**{WEIGHTS: None, name: array.getvalue()})


# --- Other files ----------------------------------------------------------------------

FILES = {
    "words": chain(layer("StringLookup", vocabulary="/etc/passwd"), **TEXT),
    "numbers": chain(layer("IntegerLookup", vocabulary="/etc/passwd")),
    "a text": chain(layer("TextVectorization", vocabulary="/etc/passwd"), **TEXT),
    "words, roundabout": chain(
        layer("StringLookup", vocabulary=function("/etc/passwd")), **TEXT
    ),
    "a text, roundabout": chain(
        layer("TextVectorization", vocabulary=function("/etc/passwd")), **TEXT
    ),
    "features": obj(
        "FeatureSpace",
        "keras.utils",
        features={
            "a": obj(
                "Feature",
                "keras.src.layers.preprocessing.feature_space",
                dtype="string",
                preprocessor=layer("StringLookup", vocabulary="/etc/passwd"),
                output_mode="int",
            )
        },
    ),
}


@pytest.mark.parametrize("config", FILES.values(), ids=FILES)
def test_a_layer_reads_no_file_that_its_config_names(config, load):
    with pytest.raises(ValueError, match="vocabulary file '/etc/passwd' outside"):
        load(config)


def test_a_part_that_is_a_link_to_another_folder_is_refused(members, tmp_path):
    folder, other = tmp_path / "m", tmp_path / "other"
    for where in (folder, other):
        where.mkdir()
        for name, content in members.items():
            (where / name).write_bytes(content)
    assert nb.saving.load_model(folder).name == "m"
    (folder / WEIGHTS).unlink()
    (folder / WEIGHTS).symlink_to(other / WEIGHTS)
    with pytest.raises(ValueError, match="link to a file in another folder"):
        nb.saving.load_model(folder)


def test_a_shard_that_is_a_link_to_another_folder_is_refused(tmp_path):
    model = nb.Sequential([nb.Input((3,)), nb.layers.Dense(2)])
    (here := tmp_path / "here").mkdir()
    model.save_weights(here / "m.weights.json", max_shard_size=1e-7)
    model.load_weights(here / "m.weights.json")
    shard = next(here.glob("*.h5"))
    shard.rename(tmp_path / "elsewhere.h5")
    shard.symlink_to(tmp_path / "elsewhere.h5")
    with pytest.raises(ValueError, match="link to a file in another folder"):
        model.load_weights(here / "m.weights.json")


def test_a_cache_whose_files_are_all_links_is_read(tmp_path):
    model = nb.Sequential([nb.Input((3,)), nb.layers.Dense(2)])
    (blobs := tmp_path / "blobs").mkdir()
    (here := tmp_path / "here").mkdir()
    model.save_weights(blobs / "m.weights.json", max_shard_size=1e-7)
    for path in blobs.iterdir():
        (here / path.name).symlink_to(path)
    model.load_weights(here / "m.weights.json")


# --- More than the file holds ---------------------------------------------------------

BOMBS = {
    "units": chain(dense(units=HUGE)),
    "words": chain(layer("Embedding", input_dim=HUGE, output_dim=8), dtype="int32"),
    "filters": chain(layer("Conv1D", filters=HUGE, kernel_size=1), shape=(None, 4, 3)),
    "a kernel": chain(
        layer("Conv1D", filters=1, kernel_size=HUGE, padding="same"), shape=(None, 4, 3)
    ),
    "an input": chain(dense(), shape=(None, HUGE)),
    "a text input": chain(
        layer("Hashing", num_bins=2), shape=(None, HUGE), dtype="string"
    ),
    "indices": chain(
        layer("StringLookup", vocabulary=["a"], num_oov_indices=HUGE), **TEXT
    ),
    "bins": chain(layer("Hashing", num_bins=HUGE, output_mode="one_hot"), **TEXT),
    "groups of words": chain(
        layer("TextVectorization", vocabulary=["a"], ngrams=HUGE), **TEXT
    ),
    "bands": chain(layer("MelSpectrogram", num_mel_bins=HUGE), shape=(None, 4000)),
    "windows": chain(
        layer("AdaptiveAveragePooling1D", output_size=HUGE), shape=(None, 5, 3)
    ),
    "unrolled steps": chain(
        layer("LSTM", units=1, unroll=True), shape=(None, 10**6, 3)
    ),
    "steps": chain(layer("Lambda", function="diff", arguments={"n": HUGE})),
    "parts": chain(
        layer("Lambda", function="array_split", arguments={"indices_or_sections": HUGE})
    ),
    "a window": chain(
        layer(
            "Lambda",
            function="stft",
            arguments={
                "sequence_length": 10**9,
                "sequence_stride": 1,
                "fft_length": 10**9,
            },
        )
    ),
    "text in an array": chain(
        layer(
            "StringLookup",
            vocabulary={
                "class_name": "__numpy__",
                "config": {"value": ["a" * 10**5] + ["a"] * 10**4, "dtype": "<U9"},
            },
        ),
        **TEXT,
    ),
    "thresholds": chain(
        dense(),
        compile_config={
            "loss": "mse",
            "metrics": [obj("AUC", "keras.metrics", num_thresholds=HUGE)],
        },
    ),
    "classes of a metric": chain(
        dense(),
        compile_config={
            "loss": "mse",
            "metrics": [obj("MeanIoU", "keras.metrics", num_classes=10**7)],
        },
    ),
}


@pytest.mark.parametrize("config", BOMBS.values(), ids=BOMBS)
def test_a_description_cannot_ask_for_more_than_the_file_can_mean(config, load):
    with pytest.raises(ValueError, match=r"would take .* and the file holds"):
        load(config)


def test_weights_are_compared_before_they_are_made(load, monkeypatch):
    """Also where the description stays within its budget."""
    monkeypatch.setattr(budget, "FLOOR", 1 << 60)
    with pytest.raises(ValueError, match="Nothing was changed"):
        load(chain(layer("Dense", units=10**11)))


def test_a_variable_that_a_file_does_not_bring_has_its_first_value():
    with budget.budget_for(held=1000):
        made = nb.Variable(nb.initializers.Ones(), (3,), dtype="float32")
        assert "box" not in vars(made)
        assert (made.shape, made.dtype) == ((3,), "float32")
    assert jax.jit(lambda: made.value + 1)().tolist() == [2.0] * 3
    assert made.numpy().tolist() == [1.0] * 3
    with pytest.raises(AttributeError, match="has no attribute `boxes`"):
        made.boxes  # noqa: B018


def test_a_graph_computes_nothing_while_it_is_made(load):
    first = obj("InputLayer", batch_shape=[None, 3], dtype="float32", name="i")
    config = obj(
        "Functional",
        "keras",
        name="m",
        layers=[
            first | {"name": "i", "inbound_nodes": []},
            obj("Ones", "keras.src.ops.numpy", name="o", shape=[HUGE])
            | {"name": "o", "inbound_nodes": [{"args": [], "kwargs": {}}]},
        ],
        input_layers=[["i", 0, 0]],
        output_layers=[["o", 0, 0]],
    )
    with pytest.raises(ValueError, match="`o` is called on values"):
        load(config)


JSON = {
    "deep lists": "[" * 100_000,
    "deep dicts": '{"a":' * 5000 + "1" + "}" * 5000,
    "deep layers": json.dumps(chain())
    .replace('"layers": [', '"layers": [' + '{"config": {"layers": [' * 400, 1)
    .replace("]}", "]}" + "]}}" * 400, 1),
    "many items": "[" + "[]," * 3_000_000 + "[]]",
    "a long number": '{"class_name": "x", "config": ' + "9" * 10_000 + "}",
    "a name twice": '{"class_name": "Sequential", "class_name": "Sequential"}',
    "text": "hello",
    "bytes": b"\xff\xfe\x00",
    "nothing": "",
    "a number": "3",
    "no config": '{"class_name": "Sequential"}',
    "a config of text": '{"class_name": "Sequential", "config": "x"}',
    "a list for a name": '{"class_name": ["Sequential"], "config": {}}',
    "a number for a module": '{"class_name": "Dense", "config": {}, "module": 3}',
    "a list for a registered name": (
        '{"class_name": "Dense", "config": {}, "registered_name": []}'
    ),
}


@pytest.mark.parametrize("text", JSON.values(), ids=JSON)
def test_a_description_that_is_none_is_refused_in_a_sentence(text, load):
    with pytest.raises((ValueError, TypeError)) as caught:
        load(**{"config.json": text})
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 600


# --- Zip ------------------------------------------------------------------------------


def _zip(path, members, packing=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", packing) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def test_members_that_unfold_to_too_much_together_are_refused(members, tmp_path):
    part = bytes(files.FLOOR // 8)
    more = {f"assets/{i}": part for i in range(9)}
    path = _zip(tmp_path / "m.keras", {**members, **more}, zipfile.ZIP_DEFLATED)
    with pytest.raises(ValueError, match="decompression bomb"):
        nb.saving.load_model(path)


def test_too_many_members_are_refused(members, tmp_path):
    more = dict.fromkeys((f"assets/{i}" for i in range(10_001)), b"")
    path = _zip(tmp_path / "m.keras", {**members, **more})
    with pytest.raises(ValueError, match=r"lists 10,00\d members"):
        nb.saving.load_model(path)


def test_members_that_overlap_are_refused(members, tmp_path):
    path = _zip(tmp_path / "m.keras", members)
    content = bytearray(path.read_bytes())
    directory = content.index(b"PK\1\2")
    second = content.index(b"PK\1\2", directory + 1)
    content[second + 42 : second + 46] = content[directory + 42 : directory + 46]
    path.write_bytes(content)
    with pytest.raises(ValueError, match="overlap|not a whole"):
        nb.saving.load_model(path)


@pytest.mark.parametrize("packing", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_members_packed_with_a_memory_of_their_own_are_refused(
    packing, members, tmp_path
):
    path = _zip(tmp_path / "m.keras", members, packing)
    with pytest.raises(ValueError, match="packed in an unusual way"):
        nb.saving.load_model(path)


def test_a_zip_file_in_a_zip_file_stays_packed(load, members):
    inner = io.BytesIO()
    with zipfile.ZipFile(inner, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("../evil", bytes(1 << 20))
    assert load(**{"assets/inner.zip": inner.getvalue()}).name == "m"


# --- HDF5 -----------------------------------------------------------------------------


def _bomb(file, place, content, pieces, **options):
    """A dataset of one piece whose packed bytes are given."""
    made = file.create_dataset(place, (16,), "f4", chunks=(16,), **options)
    for _ in range(pieces):
        made.id.write_direct_chunk((0,), content)


def _vlen(file, place):
    made = file.create_dataset(place, (3,), h5py.vlen_dtype("f4"))
    made[0] = np.ones(5)


HDF5 = {
    "gzip that goes on": (
        lambda f, p: _bomb(f, p, zlib.compress(bytes(1 << 20)), 1, compression="gzip"),
        "unfolds to more than it says|larger than it says",
    ),
    "a large piece": (
        lambda f, p: f.create_dataset(
            p, (1,), "f4", maxshape=(None,), chunks=(1 << 28,), compression="gzip"
        ),
        "is kept in pieces of 1.00 GB",
    ),
    "many pieces": (
        lambda f, p: f.create_dataset(p, (10**6,), "f4", chunks=(1,)),
        "is cut into too many pieces",
    ),
    "a filter to be loaded": (
        lambda f, p: f.create_dataset(p, data=np.ones(64), compression="lzf"),
        "is packed in an unusual way",
    ),
    "lists of any length": (_vlen, "instead of numbers"),
    "references": (
        lambda f, p: f.create_dataset(p, (3,), h5py.ref_dtype),
        "instead of numbers",
    ),
    "objects": (
        lambda f, p: f.create_dataset(p, (3,), h5py.string_dtype()),
        "instead of numbers",
    ),
    "records": (
        lambda f, p: f.create_dataset(p, (3,), [("a", "f4"), ("b", "O4")][:1]),
        "instead of numbers",
    ),
    "arrays in arrays": (
        lambda f, p: f.create_dataset(p, (3,), "(1000,)f4"),
        "instead of numbers|claims",
    ),
    "records under another name": (
        lambda f, p: f.create_dataset(p, (3,), "V64").attrs.update(dtype="bfloat16"),
        "instead of numbers",
    ),
    "objects under another name": (
        lambda f, p: f.create_dataset(p, (3,), h5py.string_dtype()).attrs.update(
            dtype="bfloat16"
        ),
        "instead of numbers",
    ),
    "numbers that are not there": (
        lambda f, p: f.create_dataset(p, (1 << 28,), "f4"),
        "claims the shape",
    ),
    "a link to itself": (
        lambda f, p: f.__setitem__(p, f["/"]),
        "is not a dataset",
    ),
}


@pytest.mark.parametrize(("make", "sentence"), HDF5.values(), ids=HDF5)
def test_numbers_that_are_none_are_not_read(make, sentence, tmp_path):
    path = tmp_path / "x.h5"
    with h5py.File(path, "w") as file:
        make(file, "x")
    with (
        Hdf5("load", path, "x.h5") as file,
        pytest.raises(ValueError, match=sentence),
    ):
        file.array(file.root, "x")


def test_the_same_numbers_many_times_are_not_read_as_often(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "FLOOR", 1 << 16)
    path = tmp_path / "x.h5"
    with h5py.File(path, "w") as file:
        file["x0"] = np.ones(1 << 14)
        for i in range(1, 50):
            file[f"x{i}"] = file["x0"]
    with Hdf5("load", path, "x.h5") as file:
        file.array(file.root, "x0")
        with pytest.raises(ValueError, match="more than the file can mean"):
            [file.array(file.root, name) for name in file.names(file.root)]


def test_weights_that_were_packed_by_gzip_are_read(tmp_path):
    path, numbers = tmp_path / "x.h5", np.arange(1000.0)
    with h5py.File(path, "w") as file:
        file.create_dataset(
            "x", data=numbers, compression="gzip", shuffle=True, fletcher32=True
        )
        file.create_dataset("y", data=numbers, fletcher32=True, chunks=(7,))
    with Hdf5("load", path, "x.h5") as file:
        np.testing.assert_array_equal(file.array(file.root, "x"), numbers)
        np.testing.assert_array_equal(file.array(file.root, "y"), numbers)


ATTRIBUTES = {
    "references": lambda f: f.attrs.create("n", f.ref, dtype=h5py.ref_dtype),
    "numbers of any length": lambda f: f.attrs.create(
        "n", np.ones(3, "f4"), dtype=h5py.vlen_dtype("f4"), shape=()
    ),
    "records": lambda f: f.attrs.create("n", np.zeros(3, [("a", "f4")])),
    "a table": lambda f: f.attrs.create("n", np.zeros((3, 3), "S4")),
}


@pytest.mark.parametrize("make", ATTRIBUTES.values(), ids=ATTRIBUTES)
def test_a_note_that_is_no_text_is_not_read(make, tmp_path):
    with h5py.File(tmp_path / "x.h5", "w") as file:
        try:
            make(file)
        except (TypeError, ValueError):  # this version of HDF5 writes no such thing
            file.attrs["n"] = np.zeros(3, [("a", "f4")])
    with (
        Hdf5("load", tmp_path / "x.h5", "x.h5") as file,
        pytest.raises(ValueError, match="instead of text|cannot be read"),
    ):
        file.attribute(file.root, "n")


def test_long_names_told_many_times_are_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "FLOOR", 1 << 16)
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file.attrs.create(
            "n", ["a" * 50_000] * 3 + ["b"] * 500, dtype=h5py.string_dtype()
        )
        file.attrs["short"] = [b"a", b"b"]
    with Hdf5("load", tmp_path / "x.h5", "x.h5") as file:
        assert file.attribute(file.root, "short") == ["a", "b"]
        with pytest.raises(ValueError, match="more than the file can mean"):
            file.attribute(file.root, "n")


def test_a_heap_in_which_the_library_would_look_for_ever_is_refused(tmp_path):
    path = tmp_path / "x.h5"
    with h5py.File(path, "w") as file:
        file.attrs["n"], file.attrs["m"] = "a" * 24, "b" * 24
    content = bytearray(path.read_bytes())
    second = content.index(b"b" * 24) - 16
    content[second : second + 16] = bytes(16)
    path.write_bytes(content)
    with (
        Hdf5("load", path, "x.h5") as file,
        pytest.raises(ValueError, match="heap that is damaged"),
    ):
        file.attribute(file.root, "n")


def test_an_error_prints_nothing_that_moves_the_cursor(load):
    for strange in ("\x1b[2J", "a\u202eb"):
        for config in (
            chain(obj(strange)),
            chain(dense(activation=strange)),
            chain(dense(units=strange)),
            chain(dense(activation=function(strange))),
            chain(dense(**{strange: 1})),
            chain(layer("Lambda", function=strange)),
        ):
            with pytest.raises((ValueError, TypeError)) as caught:
                load(config)
            assert str(caught.value).isprintable()


# --- Names on a screen ----------------------------------------------------------------


@pytest.mark.parametrize("name", ["a\x1b[31mb", "a\nb", "a\u202eb", "a\x00b", "a\x9bb"])
def test_a_name_that_would_move_the_cursor_is_refused(name, load):
    for config in (
        chain(dense() | {"config": {"units": 2, "name": name}}),
        chain(dense()) | {"config": {"layers": [dense()], "name": name}},
        chain(
            dense(),
            compile_config={
                "loss": "mse",
                "metrics": [obj("Mean", "keras.metrics", name=name)],
            },
        ),
    ):
        with pytest.raises(ValueError, match="`name` must be letters") as caught:
            load(config)
        assert str(caught.value).isprintable()


class Acting(HTMLParser):
    """What could do something on a page."""

    def __init__(self, page):
        super().__init__()
        self.found = []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        given = {name: value or "" for name, value in attrs}
        foreign = not given.get("src", "data:").startswith("data:")
        urls = [given.get(name, "") for name in ("href", "xlink:href", "action")]
        if (
            tag
            in ("script", "iframe", "object", "embed", "link", "meta", "base", "form")
            or any(name.startswith("on") for name in given)
            or any(url and not url.startswith(("#", "data:image")) for url in urls)
            or foreign
        ):
            self.found.append((tag, attrs))


HOSTILE = "<script>alert(1)<\\x><img src=x onerror=alert(1)><a href=javascript:a>\"'&--"
SHOWN = {
    "a model": lambda model, x, y: display.mimebundle(model),
    "a layer": lambda model, x, y: display.mimebundle(model.layers[0]),
    "a variable": lambda model, x, y: display.mimebundle(model.weights[0]),
    "a history": lambda model, x, y: display.mimebundle(model.fit(x, y, verbose=0)),
    "an inspection": lambda model, x, y: inspect(model, x),
    "mistakes": lambda model, x, y: mistakes(model, x, y),
    "a record": lambda model, x, y: display.mimebundle(
        Record(
            {
                "id": "1",
                "began": "2026-01-01T00:00:00.000+00:00",
                "name": model.name,
                "model": {"name": model.name, "class": HOSTILE, "parameters": 1},
                "settings": {HOSTILE: HOSTILE},
                "status": "failed",
                "message": HOSTILE,
                "callbacks": [HOSTILE],
                "seed": 1,
                "devices": HOSTILE,
                "epochs_done": 0,
                "arguments": {},
                "data": {},
                "versions": {HOSTILE: HOSTILE},
                "timing": {},
            }
        )
    ),
}


@pytest.mark.parametrize("show", SHOWN.values(), ids=SHOWN)
def test_names_in_a_file_run_nothing_in_a_notebook(show, load):
    metric = obj("SparseCategoricalAccuracy", "keras.metrics", name=HOSTILE)
    loss = {"loss": "sparse_categorical_crossentropy", "metrics": [metric]}
    config = chain(
        obj("Dense", units=2, name=HOSTILE, activation="softmax"),
        compile_config={"optimizer": "sgd", **loss},
    )
    config["config"]["name"] = HOSTILE
    model = load(config)
    x, y = np.ones((4, 3), "float32"), np.array([0, 1, 0, 1])
    nb.config.display("html")
    try:
        shown = show(model, x, y)
        page = shown["text/html"] if isinstance(shown, dict) else shown.still()
    finally:
        nb.config.display("auto")
    assert Acting(page).found == []
    assert "&lt;script" in page
