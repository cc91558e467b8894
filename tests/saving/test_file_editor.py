"""kerasnb.saving.file_editor"""

import h5py
import keras
import numpy as np
import pytest

import kerasnb as nb
from kerasnb import layers
from kerasnb.saving import KerasFileEditor
from kerasnb.saving.files import DamagedFileError

# Keras' own conversion to NumPy.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation")


def make(k, units=2):
    return k.Sequential(
        [
            k.Input((3,)),
            k.layers.Dense(4, name="first"),
            k.layers.Dense(units, name="second"),
        ],
        name="s",
    )


@pytest.fixture
def weights(tmp_path):
    make(nb).save_weights(path := tmp_path / "m.weights.h5")
    return path


@pytest.fixture
def editor(weights):
    return KerasFileEditor(weights)


def test_what_is_inside_is_printed(tmp_path, capsys):
    model = make(nb)
    model.compile(nb.optimizers.SGD(), "mse")
    model.save(path := tmp_path / "m.keras")
    editor = KerasFileEditor(path)
    editor.summary()
    said = capsys.readouterr().out
    assert said.startswith(
        "Keras model file 'm.keras'\nSaved with Keras '3.15.1' - date"
    )
    assert "  layers/dense_1 ('second')\n    0: shape (4, 2), float32\n" in said
    assert "  optimizer ('sgd')\n    0: shape (), int" in said
    assert editor.config["class_name"] == "Sequential"
    found = editor.weights_dict["layers"]["dense"]["0"]
    np.testing.assert_array_equal(found, model.layers[0].kernel.numpy())


def test_weights_are_listed_by_number(tmp_path):
    with h5py.File(tmp_path / "m.weights.h5", "w") as file:
        for i in range(12):
            file[f"vars/{i}"] = np.ones(i)
    editor = KerasFileEditor(tmp_path / "m.weights.h5")
    assert list(editor.weights_dict) == [str(i) for i in range(12)]


def test_it_draws_itself_in_a_notebook_with_names_escaped(weights):
    with h5py.File(weights, "a") as file:
        file["layers/dense/vars"].attrs["name"] = "<script>alert(1)</script>"
        file["layers/<img onerror=x>/vars/0"] = np.ones(3)
    editor = KerasFileEditor(weights)
    with_text = editor._repr_mimebundle_()
    assert "shape (3, 4), float32" in with_text["text/plain"]
    drawn = editor._html()
    assert "<script" not in drawn and "<img" not in drawn
    assert "&lt;script&gt;" in drawn and "3 × 4" in drawn


def test_names_move_no_cursor(weights, capsys):
    with h5py.File(weights, "a") as file:
        file["layers/\x1b[2Jdense_x/vars/\x1b[31m0"] = np.ones(3)
        file["layers/dense/vars"].attrs["name"] = "\x1b[31m"
    editor = KerasFileEditor(weights)
    editor.summary()
    editor.compare(make(nb))
    with pytest.raises(ValueError, match="Did you mean") as caught:
        editor.delete_object("[2Jdense_x")
    assert "\x1b" not in capsys.readouterr().out + str(caught.value)


# --- Changing -------------------------------------------------------------------------


def test_an_edited_file_loads_into_the_edited_model_of_either_library(editor, tmp_path):
    kernel, bias = np.ones((4, 5), "float32"), np.zeros(5, "float32")
    editor.delete_object("layers/dense_1")
    editor.add_object("layers/dense_1", {"0": kernel})
    editor.add_weights("dense_1", {"1": bias})
    editor.save(path := tmp_path / "n.weights.h5")
    values = [np.asarray(x) for x in editor.weights_dict["layers"]["dense"].values()]
    for library in (nb, keras):
        model = make(library, 5)
        model.load_weights(path)
        for found, wanted in zip(
            model.get_weights(), [*values, kernel, bias], strict=True
        ):
            np.testing.assert_array_equal(found, wanted)


def test_a_renamed_object_takes_along_what_is_inside(tmp_path, capsys):
    model = nb.Sequential([nb.Input((3, 2)), layers.Bidirectional(layers.GRU(2))])
    model.save_weights(path := tmp_path / "m.weights.h5")
    editor = KerasFileEditor(path)
    editor.rename_object("bidirectional", "two_ways")
    editor.resave_weights(path)
    KerasFileEditor(path).summary()
    said = capsys.readouterr().out
    assert "layers/two_ways/backward_layer/cell ('gru_cell')" in said
    assert "layers/bidirectional" not in said


def test_weights_can_be_deleted(editor):
    editor.delete_weight("layers/dense", "1")
    assert list(editor.weights_dict["layers"]["dense"]) == ["0"]


@pytest.mark.parametrize("dtype", ["bfloat16", "float8_e4m3fn", "int8"])
def test_numbers_of_every_kind_stay(dtype, editor, weights):
    array = np.ones(3).astype(nb.ops.zeros((), dtype).dtype)
    editor.add_weights("dense", {"2": array})
    editor.save(weights)
    kept = KerasFileEditor(weights).weights_dict["layers"]["dense"]["2"]
    assert kept.dtype == array.dtype and kept.tolist() == [1, 1, 1]


MISTAKES = {
    "no such object": (
        lambda e: e.delete_object("dense_2"),
        r"no object 'dense_2'. Did you mean \"dense_1\"\? summary\(\) lists them",
    ),
    "no such path": (lambda e: e.delete_object("layers/no"), "no object 'layers/no'"),
    "a path as a name": (
        lambda e: e.rename_object("dense", "layers/x"),
        "`new_name` must be a name",
    ),
    "a name in use": (
        lambda e: e.rename_object("dense", "dense_1"),
        "an object layers/dense_1 already",
    ),
    "an object that is there": (
        lambda e: e.add_object("layers/dense", {}),
        "an object layers/dense already",
    ),
    "no place for it": (lambda e: e.add_object("no/x", {}), "no object 'no'"),
    "no dict": (lambda e: e.add_object("x", [1]), "`weights` must be a dict"),
    "no such weight": (
        lambda e: e.delete_weight("dense", "7"),
        "layers/dense has no weight '7'; it has 0, 1",
    ),
    "another ending": (lambda e: e.save("m.keras"), "must end in `.weights.h5`"),
}


@pytest.mark.parametrize(("act", "sentence"), MISTAKES.values(), ids=MISTAKES)
def test_mistakes_are_explained_and_change_nothing(act, sentence, editor):
    before = editor._text()
    with pytest.raises(ValueError, match=sentence):
        act(editor)
    assert editor._text() == before


def test_a_name_that_stands_for_several_needs_a_path(tmp_path):
    inner = nb.Sequential([nb.Input((3,)), layers.Dense(3)])
    model = nb.Sequential([inner, layers.Dense(1)])
    model.build((None, 3))
    model.save_weights(path := tmp_path / "m.weights.h5")
    editor = KerasFileEditor(path)
    with pytest.raises(
        ValueError, match="may be layers/dense or layers/sequential/lay"
    ):
        editor.delete_object("dense")


# --- Comparing ------------------------------------------------------------------------


@pytest.mark.parametrize("units", [2, 5])
def test_comparing_finds_what_keras_finds(units, weights, capsys):
    ours = KerasFileEditor(weights).compare(make(nb, units))
    theirs = keras.saving.KerasFileEditor(str(weights)).compare(make(keras, units))
    assert ours["status"] == theirs["status"]
    # Keras counts what it found again at each level of nesting.
    assert ours == {
        "status": "success" if units == 2 else "error",
        "error_count": 0 if units == 2 else 2,
        "match_count": 4 if units == 2 else 2,
    }
    if units == 5:
        said = capsys.readouterr().out
        assert "layers/dense_1/0: shape (4, 2) in the file, (4, 5) in the mod" in said


def test_comparing_names_what_one_side_lacks(editor, capsys):
    editor.add_object("layers/extra", {"0": np.ones(1)})
    editor.delete_weight("dense_1", "1")
    found = editor.compare(make(nb))
    assert found == {"status": "error", "error_count": 2, "match_count": 3}
    said = capsys.readouterr().out
    assert "Object layers/extra present in the file, missing from the model" in said
    assert "Weight layers/dense_1/1 present in the model, missing from the f" in said


# --- Files from anywhere --------------------------------------------------------------


def test_groups_that_hold_themselves_are_refused(weights):
    with h5py.File(weights, "a") as file:
        file["layers/dense/again"] = file["layers"]
    with pytest.raises(DamagedFileError, match="is in the file twice"):
        KerasFileEditor(weights)


@pytest.mark.parametrize(
    "link", [h5py.SoftLink("/vars"), h5py.ExternalLink("other.h5", "/")], ids=str
)
def test_links_are_refused(link, weights):
    with h5py.File(weights, "a") as file:
        file["layers/linked"] = link
    with pytest.raises(DamagedFileError, match="/layers/linked is a link"):
        KerasFileEditor(weights)


def test_other_files_are_refused(tmp_path):
    with pytest.raises(ValueError, match="must end in `.keras` or `.weights.h5`"):
        KerasFileEditor(tmp_path / "m.h5")
    with pytest.raises(FileNotFoundError, match="there is no file"):
        KerasFileEditor(tmp_path / "m.keras")
