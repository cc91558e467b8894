"""Files from strangers: each is refused in one sentence, and nothing is changed"""

import io
import json
import struct
import zipfile
import zlib

import h5py
import numpy as np
import pytest

import kerasnb as nb
from kerasnb import layers
from kerasnb.saving import files
from tests.models.zoo import build, chain

WEIGHTS = "model.weights.h5"


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    """A good `.keras` file, as bytes."""
    path = tmp_path_factory.mktemp("good") / "m.keras"
    build(chain)[0].save(path)
    return path.read_bytes()


def _members(content):
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def _pack(members, **options):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", **options) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def _with(content, **changes):
    """A file with other members; None takes one away."""
    changed = {**_members(content), **changes}
    return _pack({k: v for k, v in changed.items() if v is not None})


def _config(content, change):
    members = _members(content)
    config = json.loads(members["config.json"])
    change(config)
    return _with(content, **{"config.json": json.dumps(config)})


def _flip(content):
    """One bit of a weight changed on its way."""
    at = content.index(WEIGHTS.encode()) + len(_members(content)[WEIGHTS]) // 2
    return content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]


def _encrypted(content):
    """The flag that a member is encrypted."""
    for mark, offset in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        at = content.index(mark) + offset
        content = content[:at] + struct.pack("<H", 1) + content[at + 2 :]
    return content


def _rename(old, new):
    return lambda c: c.replace(old.encode(), new.encode())


def _unknown_layer(config):
    config["config"]["layers"][1] |= {"class_name": "Dens"}


def _strange_module(config):
    config["config"]["layers"][1] |= {"module": "os", "class_name": "system"}


def _no_config(config):
    del config["config"]["layers"][1]["config"]


def _no_layers(config):
    del config["config"]["layers"]


def _bad_argument(config):
    config["config"]["layers"][1]["config"]["units"] = -3


def _more_arguments(config):
    config["config"]["layers"][1]["config"]["unit"] = 3


def _a_list(config):
    config["config"]["layers"] = 7


def _not_a_model(config):
    config |= {"module": "keras.initializers", "class_name": "Zeros", "config": {}}


BROKEN = {
    "empty": (lambda c: b"", "is not a whole `.keras` file"),
    "text": (lambda c: b"hello" * 99, "is not a whole `.keras` file"),
    "cut off at half": (lambda c: c[: len(c) // 2], "it was cut off or altered"),
    "cut off at the end": (lambda c: c[:-9], "it was cut off or altered"),
    "the beginning lost": (lambda c: c[40:], "was cut off or altered|is not opened"),
    "a bit flipped": (_flip, "is not a whole `.keras` file .*CRC"),
    "encrypted": (_encrypted, "is not a whole `.keras` file .*encrypted"),
    "no config": (lambda c: _with(c, **{"config.json": None}), "it lacks config.json"),
    "no weights": (lambda c: _with(c, **{WEIGHTS: None}), "it lacks model.weights.h5"),
    "config not json": (
        lambda c: _with(c, **{"config.json": "{'a'"}),
        "its config.json is not JSON",
    ),
    "config not text": (
        lambda c: _with(c, **{"config.json": b"\xff\xfe\xfa"}),
        "its config.json is not JSON",
    ),
    "config a list": (
        lambda c: _with(c, **{"config.json": "[]"}),
        "does not describe a model",
    ),
    "config too deep": (
        lambda c: _with(c, **{"config.json": "[" * 100_000}),
        "its config.json is not JSON",
    ),
    "weights not hdf5": (
        lambda c: _with(c, **{WEIGHTS: b"hello"}),
        "model.weights.h5 of .* is not a whole HDF5 file",
    ),
    "weights cut off": (
        lambda c: _with(c, **{WEIGHTS: _members(c)[WEIGHTS][:3000]}),
        "is not a whole HDF5 file|is damaged",
    ),
    "an unknown layer": (
        lambda c: _config(c, _unknown_layer),
        r'`Dens` that is not known here. Did you mean "Dense"\?.*custom_objects',
    ),
    "a module of python": (
        lambda c: _config(c, _strange_module),
        r"`system` that is not known here",
    ),
    "a layer without config": (
        lambda c: _config(c, _no_config),
        "m.keras cannot be loaded: Sequential `chain` is made of layers, not",
    ),
    "a model without layers": (
        lambda c: _config(c, _no_layers),
        "description of Sequential is not complete .*'layers'",
    ),
    "layers are a number": (
        lambda c: _config(c, _a_list),
        "m.keras cannot be loaded: 'int' object",
    ),
    "a wrong argument": (lambda c: _config(c, _bad_argument), "`units` must be"),
    "an unknown argument": (
        lambda c: _config(c, _more_arguments),
        r'no argument `unit`. Did you mean "units"',
    ),
    "not a model": (
        lambda c: _config(c, _not_a_model),
        "not hold a model, but a Zeros",
    ),
    "a member outside": (
        lambda c: _with(c, **{"../../evil": "x"}),
        r"its member '../../evil' points outside",
    ),
    "a member at the root": (
        lambda c: _with(c, **{"/etc/evil": "x"}),
        "its member '/etc/evil' points outside",
    ),
    "a member of windows": (
        lambda c: _with(c, **{"assets\\..\\evil": "x"}),
        "points outside of it",
    ),
}


@pytest.mark.parametrize(("change", "sentence"), BROKEN.values(), ids=BROKEN)
def test_a_broken_file_is_refused_in_a_sentence(change, sentence, good, tmp_path):
    (path := tmp_path / "m.keras").write_bytes(change(good))
    with pytest.raises((ValueError, TypeError), match=sentence) as caught:
        nb.saving.load_model(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "kind", ["empty", "cut off at half", "a bit flipped", "no weights"]
)
def test_weights_are_not_taken_from_a_broken_file(kind, good, tmp_path):
    change, sentence = BROKEN[kind]
    (path := tmp_path / "m.keras").write_bytes(change(good))
    model, _ = build(chain)
    before = model.get_weights()
    with pytest.raises(ValueError, match=sentence):
        model.load_weights(path)
    for now, then in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(now, then)


def test_any_cut_of_a_file_is_refused(good, tmp_path):
    path = tmp_path / "m.keras"
    for at in range(0, len(good), max(1, len(good) // 60)):
        path.write_bytes(good[:at])
        with pytest.raises(ValueError, match="not a whole `.keras` file"):
            nb.saving.load_model(path)


def test_a_member_that_occurs_twice_is_refused(good, tmp_path):
    path = tmp_path / "m.keras"
    path.write_bytes(good)
    with zipfile.ZipFile(path, "a") as archive, pytest.warns(UserWarning, match="Dupl"):
        archive.writestr("config.json", "{}")
    with pytest.raises(ValueError, match="holds 'config.json' twice"):
        nb.saving.load_model(path)


def test_a_link_in_a_file_is_refused(good, tmp_path):
    (path := tmp_path / "m.keras").write_bytes(good)
    info = zipfile.ZipInfo("assets/link")
    info.external_attr = 0o120777 << 16
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(info, "/etc/passwd")
    with pytest.raises(ValueError, match="its member 'assets/link' is a link"):
        nb.saving.load_model(path)


def test_a_decompression_bomb_is_refused_before_it_is_unpacked(
    good, tmp_path, monkeypatch
):
    monkeypatch.setattr(files, "FLOOR", 1 << 20)
    members = {**_members(good), "config.json": b" " * (1 << 22)}
    path = tmp_path / "m.keras"
    path.write_bytes(_pack(members, compression=zipfile.ZIP_DEFLATED))
    with pytest.raises(ValueError, match="it claims 4.0. MB.*bomb"):
        nb.saving.load_model(path)


def test_a_file_that_was_packed_again_is_read(good, tmp_path):
    path = tmp_path / "m.keras"
    path.write_bytes(_pack(_members(good), compression=zipfile.ZIP_DEFLATED))
    assert nb.saving.load_model(path).name == "chain"


def test_metadata_are_not_needed(good, tmp_path):
    (path := tmp_path / "m.keras").write_bytes(_with(good, **{"metadata.json": None}))
    assert nb.saving.load_model(path).name == "chain"


def test_a_file_that_claims_too_much_is_refused(good, tmp_path):
    """The size in the directory is a lie; what is unpacked stays within it."""
    content = _pack({**_members(good), "config.json": zlib.compress(b"x")})
    (path := tmp_path / "m.keras").write_bytes(content)
    with pytest.raises(ValueError, match="is not JSON"):
        nb.saving.load_model(path)


def test_a_folder_that_lacks_its_weights_is_refused(tmp_path):
    build(chain)[0].save(tmp_path / "m", zipped=False)
    (tmp_path / "m" / WEIGHTS).unlink()
    with pytest.raises(ValueError, match="there is no file .*model.weights.h5"):
        nb.saving.load_model(tmp_path / "m")


# --- HDF5 -----------------------------------------------------------------------------


def _soft_link(file):
    del file["layers/dense/vars/0"]
    file["layers/dense/vars/0"] = h5py.SoftLink("/layers/dense_1/vars/0")


def _external_link(file):
    del file["layers/dense"]
    file["layers/dense"] = h5py.ExternalLink("other.h5", "/layers/dense")


def _virtual(file):
    del file["layers/dense/vars/0"]
    layout = h5py.VirtualLayout((3, 4), "float32")
    layout[:] = h5py.VirtualSource("other.h5", "data", (3, 4))
    file.create_virtual_dataset("layers/dense/vars/0", layout)


def _external_storage(file):
    del file["layers/dense/vars/0"]
    file["layers/dense/vars"].create_dataset(
        "0", (3, 4), "float32", external=[("other.bin", 0, 48)]
    )


def _huge(file):
    del file["layers/dense/vars/0"]
    file["layers/dense/vars"].create_dataset(
        "0", (1 << 20, 1 << 20), "float32", chunks=(1024, 1024), compression="gzip"
    )


def _text(file):
    del file["layers/dense/vars/0"]
    file["layers/dense/vars/0"] = ["a", "b"]


def _empty(file):
    del file["layers/dense/vars/0"]
    file["layers/dense/vars/0"] = h5py.Empty("float32")


def _a_group(file):
    del file["layers/dense/vars/0"]
    file.create_group("layers/dense/vars/0")


def _a_number(file):
    del file["layers/dense/vars"]
    file["layers/dense/vars"] = 3


HOSTILE = {
    "a soft link": (_soft_link, "layers/dense/vars/0 is a link to somewhere else"),
    "an external link": (_external_link, "/layers/dense is a link to somewhere else"),
    "a virtual dataset": (_virtual, "keeps its numbers in another file"),
    "external storage": (_external_storage, "keeps its numbers in another file"),
    "an absurd shape": (
        _huge,
        r"claims the shape \(1048576, 1048576\), 4.00 TB, which is more than",
    ),
    "text": (_text, "holds dtype.*O.* instead of numbers"),
    "no shape": (_empty, "has no shape"),
    "a group for a variable": (_a_group, "layers/dense/vars/0 is not a dataset"),
    "a number for a group": (_a_number, "layers/dense/vars is not a group"),
}


@pytest.mark.parametrize("whole", [False, True], ids=["weights", "model"])
@pytest.mark.parametrize(("change", "sentence"), HOSTILE.values(), ids=HOSTILE)
def test_hostile_weights_are_refused(change, sentence, whole, good, tmp_path):
    image = tmp_path / "m.weights.h5"
    image.write_bytes(_members(good)[WEIGHTS])
    np.zeros(12, "float32").tofile(tmp_path / "other.bin")
    with h5py.File(image, "a") as file:
        change(file)
    model, _ = build(chain)
    before, load = model.get_weights(), model.load_weights
    if whole:
        content = _with(good, **{WEIGHTS: image.read_bytes()})
        (image := tmp_path / "m.keras").write_bytes(content)
        load = nb.saving.load_model
    with pytest.raises(ValueError, match=sentence):
        load(image)
    for now, then in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(now, then)


@pytest.mark.parametrize(
    ("listing", "sentence"),
    [
        ("hello", "is not JSON that can be read"),
        ("{}", "it needs a `weight_map`"),
        ('{"weight_map": 3}', "it needs a `weight_map`"),
        (
            '{"weight_map": {"/vars": "../m.weights.h5"}}',
            "a file outside of its folder",
        ),
        ('{"weight_map": {"/vars": "/etc/passwd"}}', "a file outside of its folder"),
        ('{"weight_map": {"/vars": [3]}}', "names 3, a file outside of its folder"),
        (
            '{"weight_map": {"/vars": "no.weights.h5"}}',
            "there is no file .*no.weights.h5",
        ),
    ],
)
def test_a_hostile_list_of_files_is_refused(listing, sentence, tmp_path):
    (path := tmp_path / "m.weights.json").write_text(listing)
    with pytest.raises(ValueError, match=sentence):
        build(chain)[0].load_weights(path)


def test_a_file_cannot_name_a_function_outside_of_the_library(good, tmp_path):
    def change(config):
        config["config"]["layers"][1]["config"]["activation"] = {
            "module": "builtins",
            "class_name": "function",
            "config": "eval",
            "registered_name": "function",
        }

    (path := tmp_path / "m.keras").write_bytes(_config(good, change))
    with pytest.raises((ValueError, TypeError), match='"?`?eval'):
        nb.saving.load_model(path)


def test_loading_runs_no_code_of_modules_that_a_file_names(good, tmp_path, monkeypatch):
    (tmp_path / "evil_module.py").write_text("raise SystemExit('code was run')")
    monkeypatch.syspath_prepend(tmp_path)

    def change(config):
        config["config"]["layers"][1] |= {"module": "evil_module", "class_name": "Evil"}

    (path := tmp_path / "m.keras").write_bytes(_config(good, change))
    with pytest.raises(TypeError, match="`Evil` that is not known here"):
        nb.saving.load_model(path)


def test_a_mistake_in_a_users_own_class_is_not_hidden(tmp_path):
    class Mine(layers.Layer):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self.table = {}["key"] if kwargs.get("trainable") else None

        def call(self, x):
            return x

    model = nb.Sequential([nb.Input((2,)), Mine()])
    model.save(tmp_path / "m.keras")
    with pytest.raises(ValueError, match="KeyError: .*'key'") as caught:
        nb.saving.load_model(tmp_path / "m.keras", {"Mine": Mine})
    assert isinstance(caught.value.__cause__, KeyError)
