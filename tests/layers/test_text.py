"""Text as numbers; Keras' own answers are checked in `test_lookup.py`."""

import numpy as np
import pytest

import kerasnb
from kerasnb import layers
from kerasnb.utils import PyDataset

TEXTS = ["The cat sat.", "A dog, a cat!"]


def adapted(**args):
    layer = layers.TextVectorization(**args)
    layer.adapt(TEXTS)
    return layer


class Reviews(PyDataset):
    """One text in each batch, with its label."""

    def __len__(self):
        return len(TEXTS)

    def __getitem__(self, index):
        return np.array(TEXTS[index : index + 1]), np.zeros(1)


@pytest.mark.parametrize(
    "data",
    [
        TEXTS,
        np.array(TEXTS)[:, None],
        (np.array([text]) for text in TEXTS),
        Reviews(),
    ],
    ids=["list", "column", "generator", "dataset"],
)
def test_texts_are_learned_from_any_source(data):
    layer = layers.TextVectorization()
    layer.adapt(data)
    assert layer.get_vocabulary() == adapted().get_vocabulary()
    assert layer.vocabulary_size() == 7


def test_a_single_text_is_a_row_without_a_batch():
    layer = adapted()
    assert layer("a dog").tolist() == layer(["a dog"])[0].tolist()


def test_functions_may_standardize_and_split():
    layer = adapted(
        standardize=np.char.upper, split=lambda texts: [t.split("A") for t in texts]
    )
    assert "THE C" in layer.get_vocabulary()
    assert layer(["xAthe c"]).tolist() == [[1, layer.get_vocabulary().index("THE C")]]


def test_one_hot_words_are_zero_where_there_are_none():
    out = adapted(output_mode="one_hot")(["cat", "a cat"])
    assert out.shape == (2, 2, 6)
    assert out.sum(-1).tolist() == [[1, 0], [1, 1]]


def test_a_vocabulary_is_set_with_weights():
    layer = layers.TextVectorization(output_mode="tf_idf")
    layer.set_vocabulary(["a", "b"], idf_weights=[2.0, 4.0])
    assert layer(["a a b q"]).tolist() == [[3, 4, 4]]


@pytest.mark.parametrize("shape", [(), (1,)])
@pytest.mark.parametrize(
    ("args", "wanted"),
    [
        ({}, (None, None)),
        ({"output_sequence_length": 4}, (None, 4)),
        ({"output_mode": "multi_hot"}, (None, 6)),
        ({"output_mode": "count", "max_tokens": 9, "pad_to_max_tokens": True}, None),
    ],
)
def test_placeholders_have_the_shapes_of_results(shape, args, wanted):
    layer = adapted(**args)
    found = layer(layers.Input(shape, dtype="string"))
    out = layer(np.array(TEXTS).reshape(2, *shape))
    assert found.shape == (wanted or (None, 9))
    assert found.dtype == out.dtype
    assert all(a in (None, b) for a, b in zip(found.shape, out.shape, strict=True))


@pytest.mark.parametrize(
    ("args", "words"),
    [
        ({"standardize": "upper"}, "`standardize` must be"),
        ({"split": "words"}, "`split` must be"),
        ({"ngrams": "2"}, "`ngrams` must be"),
        ({"output_sequence_length": 3, "output_mode": "count"}, "output_sequence"),
        ({"ragged": True}, "`ragged` must be False"),
        ({"sparse": True}, "`sparse` must be False"),
    ],
)
def test_a_wrong_argument_is_named(args, words):
    with pytest.raises(ValueError, match=words):
        layers.TextVectorization(**args)


def test_inputs_that_are_no_column_of_texts_are_explained():
    with pytest.raises(ValueError, match="a text in each row"):
        adapted()([["a", "b"]])
    with pytest.raises(ValueError, match="must be strings"):
        adapted()(np.arange(2))


def test_a_function_is_saved_under_its_registered_name(tmp_path):
    @kerasnb.saving.register_keras_serializable("test_text")
    def shout(texts):
        return np.char.upper(texts)

    layer = adapted(standardize=shout, output_sequence_length=3)
    model = kerasnb.Sequential([layers.Input((1,), dtype="string"), layer])
    model.save(tmp_path / "m.keras")
    again = kerasnb.models.load_model(tmp_path / "m.keras")
    assert again(["the CAT"]).tolist() == model(["the CAT"]).tolist()
