"""Models on text: the host's part before the compiled step."""

import numpy as np
import pytest

import kerasnb
from kerasnb import layers

TEXTS = np.array(["the cat sat", "a dog ran", "the dog sat", "a cat ran"] * 4)
LABELS = np.arange(16) % 2


@pytest.fixture
def vectorize():
    layer = layers.TextVectorization(output_sequence_length=4)
    layer.adapt(TEXTS)
    return layer


def chain(*first):
    return kerasnb.Sequential(
        [*first, layers.Embedding(20, 4), layers.Flatten(), layers.Dense(1)]
    )


def classifier(*first):
    model = chain(*first)
    model.compile(kerasnb.optimizers.Adam(0.05), "mse")
    return model


def test_a_model_on_text_trains_as_one_on_its_numbers_does(vectorize):
    kerasnb.utils.set_random_seed(0)
    whole = classifier(layers.Input((1,), dtype="string"), vectorize)
    kerasnb.utils.set_random_seed(0)
    numbers = classifier(layers.Input((4,), dtype="int32"))
    options = {"epochs": 2, "batch_size": 5, "shuffle": False, "verbose": 0}
    mine = whole.fit(TEXTS, LABELS, validation_split=0.25, **options)
    coded = np.asarray(vectorize(TEXTS))
    theirs = numbers.fit(coded, LABELS, validation_split=0.25, **options)
    assert mine.history == theirs.history
    for a, b in zip(whole.get_weights(), numbers.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_every_way_to_ask_gives_the_same_answer(vectorize):
    model = classifier(layers.Input((1,), dtype="string"), vectorize)
    wanted = model.predict(TEXTS[:4], verbose=0)
    for given in (list(TEXTS[:4]), [[t] for t in TEXTS[:4].tolist()], TEXTS[:4, None]):
        np.testing.assert_allclose(model(given), wanted, 1e-6)
        np.testing.assert_allclose(model.predict(given, verbose=0), wanted, 1e-6)
    batches = iter([(TEXTS[:2],), (TEXTS[2:4],)])
    np.testing.assert_allclose(model.predict(batches, verbose=0), wanted, 1e-6)
    np.testing.assert_allclose(model.predict_on_batch(TEXTS[:4]), wanted, 1e-6)
    loss = model.evaluate(TEXTS, LABELS, verbose=0, batch_size=16)
    assert model.test_on_batch(TEXTS, LABELS) == pytest.approx(loss)
    assert model.train_on_batch(TEXTS, LABELS) == pytest.approx(loss)
    stream = ((TEXTS, LABELS) for _ in range(2))
    model.fit(stream, steps_per_epoch=2, validation_data=(TEXTS, LABELS), verbose=0)
    assert not np.allclose(model.predict(TEXTS[:4], verbose=0), wanted)


def test_a_chain_learns_from_its_first_call_that_it_is_on_text(vectorize):
    model = kerasnb.Sequential([vectorize, classifier(layers.Input((4,)))])
    assert model(TEXTS[:3]).shape == (3, 1)
    other = classifier(vectorize)
    assert other.predict(TEXTS[:3], verbose=0).shape == (3, 1)
    assert other.inputs[0].dtype == "string"


def test_a_model_on_text_inside_another_is_trained(vectorize, tmp_path):
    inner = chain(layers.Input((1,), dtype="string"), vectorize)
    text = layers.Input((1,), dtype="string", name="text")
    number = layers.Input((2,), name="number")
    joined = layers.Concatenate()([inner(text), number])
    model = kerasnb.Model({"text": text, "number": number}, layers.Dense(1)(joined))
    x = {"text": TEXTS, "number": np.ones((16, 2), "float32")}
    before = [w.copy() for w in model.get_weights()]
    model.compile("sgd", "mse")
    model.fit(x, LABELS, verbose=0)
    changed = [
        not np.allclose(a, b) for a, b in zip(before, model.get_weights(), strict=True)
    ]
    assert all(changed) and len(changed) == 5
    wanted = model.predict(x, verbose=0)
    np.testing.assert_allclose(model(x), wanted, 1e-5)
    model.save(tmp_path / "m.keras")
    again = kerasnb.models.load_model(tmp_path / "m.keras")
    np.testing.assert_allclose(again.predict(x, verbose=0), wanted, 1e-5)


def test_text_and_numbers_that_are_shared_by_several_layers_cross_once():
    text = layers.Input((1,), dtype="string")
    one = layers.StringLookup(vocabulary=["a", "b"])(text)
    many = layers.StringLookup(vocabulary=["a"], output_mode="one_hot")(text)
    model = kerasnb.Model(text, [layers.Embedding(3, 2)(one), many, one])
    x = np.array([["a"], ["b"], ["q"]])
    for a, b in zip(model(x), model.predict(x, verbose=0), strict=True):
        np.testing.assert_allclose(a, b)


def test_a_model_of_numbers_has_no_border():
    inputs = layers.Input((3,))
    assert kerasnb.Model(inputs, layers.Dense(1)(inputs))._border is None


def test_text_that_comes_out_is_given_by_a_call_and_not_by_predict():
    inputs = layers.Input((), dtype="int64")
    words = layers.StringLookup(vocabulary=["a", "b"], invert=True)(inputs)
    model = kerasnb.Model(inputs, words)
    assert model(np.array([1, 2])).tolist() == ["a", "b"]
    with pytest.raises(ValueError, match="Call the model itself"):
        model.predict(np.array([1, 2]), verbose=0)


def test_layers_of_numbers_refuse_text_by_name():
    with pytest.raises(ValueError, match="put TextVectorization"):
        layers.Dense(1)(layers.Input((1,), dtype="string"))
    text = layers.Input((1,), dtype="string", name="words")
    model = kerasnb.Model(text, layers.Hashing(3)(text))
    with pytest.raises(ValueError, match="`words` must be text"):
        model.predict(np.ones((2, 1)), verbose=0)
