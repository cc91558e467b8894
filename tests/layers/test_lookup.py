"""Layers with vocabularies: recorded answers of Keras, files, mistakes."""

import json

import numpy as np
import pytest

import kerasnb
from kerasnb import layers
from tests.helpers import same_config
from tests.layers.recorded import FILE, ask, rows

ANSWERS = json.loads(FILE.read_text("utf-8"))


@pytest.mark.parametrize(
    ("row", "answer"),
    [*zip(rows(), ANSWERS, strict=True)],
    ids=[f"{i}-{row[0]}" for i, row in enumerate(rows())],
)
def test_answers_as_keras_does(row, answer):
    mine = ask(layers, row)
    for found, wanted in zip(mine["outputs"], answer["outputs"], strict=True):
        assert np.shape(found) == np.shape(wanted)
        np.testing.assert_allclose(found, wanted, 1e-5)
    same_config(
        *({k: v for k, v in a.items() if k != "outputs"} for a in (mine, answer))
    )
    again = getattr(layers, row[0]).from_config(mine["config"])
    again_config = {k: v for k, v in again.get_config().items() if k != "dtype"}
    same_config(json.loads(json.dumps(again_config)), mine["config"])


def test_indices_go_back_to_strings():
    layer = layers.StringLookup(vocabulary=["a", "b"], mask_token="", invert=True)
    assert layer([[0, 1], [2, 9]]).tolist() == [["", "[UNK]"], ["a", "[UNK]"]]
    assert layer(layers.Input((2,), dtype="int64")).dtype == "string"


def test_a_stream_is_learned_in_parts_and_limited_by_steps():
    layer = layers.StringLookup()
    batches = [(["a", "a"], 0), (["b", "c", "c", "c"], 1), (["d"], 2)]
    layer.adapt(iter(batches), steps=2)
    assert layer.get_vocabulary(include_special_tokens=False) == ["c", "a", "b"]
    layer.update_state(["e"])
    layer.reset_state()
    layer.finalize_state()
    assert layer.get_vocabulary() == ["[UNK]", "c", "a", "b"]


@pytest.mark.parametrize(
    "data",
    [
        ["a", b"b", "a"],
        np.array(["a", "b", "a"]),
        np.array([b"a", b"b", b"a"]),
        np.array(["a", "b", "a"], object),
    ],
)
def test_strings_of_every_kind_are_the_same(data):
    layer = layers.StringLookup()
    layer.adapt(data)
    assert layer.get_vocabulary() == ["[UNK]", "a", "b"]
    assert layer(data).tolist() == [1, 2, 1]


def test_a_column_of_pandas_is_an_array_of_strings():
    pandas = pytest.importorskip("pandas")
    column = pandas.Series(["x", "y", "x"])
    layer = layers.StringLookup()
    layer.adapt(column)
    assert layer(column).tolist() == [1, 2, 1]


def test_a_vocabulary_is_read_from_a_file(tmp_path):
    path = tmp_path / "words.txt"
    path.write_text("a\nb\n")
    layer = layers.StringLookup(vocabulary=str(path))
    assert layer.get_vocabulary() == ["[UNK]", "a", "b"]
    assert layer.get_config()["vocabulary"] is None
    config = layer.get_config() | {"vocabulary": str(path)}
    with pytest.raises(ValueError, match="safe_mode=False"):
        layers.StringLookup.from_config(config)


@pytest.mark.parametrize("mode", ["int", "tf_idf"])
def test_a_learned_vocabulary_is_saved_with_a_model(tmp_path, mode):
    lookup = layers.StringLookup(output_mode=mode, mask_token="m")
    lookup.adapt([["a", "b"], ["a", "c"]])
    numbers = layers.IntegerLookup(output_mode="count")
    numbers.adapt([5, 6, 6])
    text = layers.Input((2,), dtype="string", name="text")
    number = layers.Input((2,), dtype="int32", name="number")
    model = kerasnb.Model([text, number], [lookup(text), numbers(number)])
    x = [np.array([["a", "q"], ["m", "c"]]), np.array([[5, 6], [6, 7]])]
    model.save(tmp_path / "m.keras")
    again = kerasnb.models.load_model(tmp_path / "m.keras")
    for a, b in zip(model(x), again(x), strict=True):
        np.testing.assert_array_equal(a, b)
    for a, b in zip(model(x), again.predict(x, verbose=0), strict=True):
        np.testing.assert_array_equal(a, b)
    assert again.layers[2].get_vocabulary() == lookup.get_vocabulary()


def test_a_vocabulary_that_is_learned_anew_reaches_a_model_that_was_used():
    lookup = layers.StringLookup()
    lookup.adapt(["a", "b"])
    inputs = layers.Input((), dtype="string")
    model = kerasnb.Model(inputs, layers.Identity()(lookup(inputs)))
    assert model.predict(["a", "b"], verbose=0).tolist() == [2, 1]
    lookup.adapt(["a", "a", "b"])
    assert model.predict(["a", "b"], verbose=0).tolist() == [1, 2]


@pytest.mark.parametrize(
    ("args", "words"),
    [
        ({"max_tokens": 1}, "more than 1"),
        ({"num_oov_indices": -1}, "0 or more"),
        ({"pad_to_max_tokens": True}, "`max_tokens` must be"),
        ({"output_mode": "tfidf"}, 'Did you mean "tf_idf"'),
        ({"invert": True, "output_mode": "count"}, "with `invert`"),
        ({"vocabulary": ["a"], "output_mode": "tf_idf"}, "`idf_weights` must be"),
        ({"vocabulary": ["a"], "idf_weights": [1.0]}, "`idf_weights` must be"),
        ({"vocabulary": []}, "not empty"),
        ({"vocabulary": ["a", "b", "a"]}, "without repeated tokens"),
        ({"vocabulary": ["a", "m"], "mask_token": "m"}, "special tokens"),
        ({"vocabulary": ["a", "b", "c"], "max_tokens": 3}, "at most max_tokens=3"),
        ({"vocabulary": "nowhere.txt"}, "a file that exists"),
        ({"sparse": True, "output_mode": "count"}, "`sparse` must be False"),
        ({"size": 3}, "no argument `size`"),
    ],
)
def test_a_wrong_argument_is_named(args, words):
    with pytest.raises(ValueError, match=words):
        layers.StringLookup(**args)


def test_a_placeholder_needs_no_tokens_of_the_vocabulary():
    text, number = layers.Input((3,), dtype="string"), layers.Input((3,), dtype="int64")
    known = {"num_oov_indices": 0, "output_mode": "count"}
    words = layers.StringLookup(vocabulary=["x", "y"], **known)(text)
    numbers = layers.IntegerLookup(vocabulary=[7, 8], **known)(number + 1)
    assert words.shape == numbers.shape == (None, 2)
    model = kerasnb.Model([text, number], [words, numbers])
    found = model.predict([np.array([["x"] * 3]), np.array([[6, 7, 7]])], verbose=0)
    assert [a.tolist() for a in found] == [[[3, 0]], [[1, 2]]]


def test_calls_that_cannot_be_answered_are_explained():
    with pytest.raises(ValueError, match=r"in the vocabulary.*\['q'\]"):
        layers.StringLookup(vocabulary=["a"], num_oov_indices=0)(["a", "q"])
    with pytest.raises(ValueError, match="must be strings"):
        layers.StringLookup(vocabulary=["a"])(np.arange(3))
    with pytest.raises(ValueError, match="must be whole numbers"):
        layers.IntegerLookup(vocabulary=[1])(["a"])
    with pytest.raises(RuntimeError, match="has no vocabulary yet"):
        layers.StringLookup(output_mode="count")(["a"])
    with pytest.raises(ValueError, match="was given to it"):
        layers.StringLookup(vocabulary=["a"]).adapt(["b"])
    with pytest.raises(ValueError, match="farmhash"):
        layers.IntegerLookup(salt=3)
