"""Columns of numbers: statistics and bins that are learned, encodings, hashes."""

import keras
import numpy as np
import pytest

import kerasnb
from kerasnb import layers
from tests.helpers import agree_on_config, agree_on_variables, both, case, check_layer

TABLE = [
    case("Normalization", (4, 3), mean=[1.0, 2.0, 3.0], variance=[1.0, 4.0, 0.0]),
    case("Normalization", (4, 3, 2), axis=[1], mean=2.0, variance=3.0, invert=True),
    case("Discretization", (4, 3), bin_boundaries=[-1.0, 0.0, 1.0]),
    case(
        "Discretization",
        (4, 1),
        bin_boundaries=[-1.0, 0.0, 1.0],
        output_mode="one_hot",
    ),
    case("CategoryEncoding", (4, 3), num_tokens=5, _below=6),
    case("CategoryEncoding", (4, 3), num_tokens=5, output_mode="one_hot", _below=6),
    case("CategoryEncoding", (4, 3), num_tokens=300, output_mode="count", _below=6),
]


@pytest.mark.parametrize("row", TABLE, ids=str)
def test_agrees_with_keras(row):
    check_layer(row)


DATA = np.random.default_rng(0).normal(3, 2, (50, 2, 4)).astype("float32")


@pytest.mark.parametrize("axis", [-1, (1, 2), None])
def test_learned_statistics_agree_with_keras(axis):
    ours, theirs = both("Normalization", axis=axis)
    for layer in (ours, theirs):
        layer.adapt(DATA)
    agree_on_variables(ours, theirs)
    agree_on_config(ours, theirs)
    np.testing.assert_allclose(ours.mean, theirs.mean, 1e-5)
    np.testing.assert_allclose(ours.variance, theirs.variance, 1e-5)
    np.testing.assert_allclose(ours(DATA), theirs(DATA), 1e-4, 1e-5)


class Thirds(keras.utils.PyDataset):
    """The data in batches of unequal length, with targets."""

    def __len__(self):
        return 3

    def __getitem__(self, index):
        return DATA[[0, 5, 30][index] : [5, 30, 50][index]], np.zeros(1)


@pytest.mark.parametrize(
    "data",
    [
        lambda: (DATA[i : i + 20] for i in range(0, 50, 20)),
        lambda: [DATA[:10], DATA[10:]],
        Thirds,
        DATA.tolist,
    ],
    ids=["generator", "list", "dataset", "numbers"],
)
def test_batches_give_the_statistics_of_the_whole(data):
    layer = layers.Normalization()
    layer.adapt(data())
    np.testing.assert_allclose(layer.adapt_mean.value, DATA.mean((0, 1)), 1e-5)
    np.testing.assert_allclose(layer.adapt_variance.value, DATA.var((0, 1)), 1e-5)


def test_statistics_that_training_loads_are_in_force_at_once():
    layer = layers.Normalization()
    layer.adapt(DATA)
    layer.set_weights([np.full(4, 1.0), np.full(4, 4.0), 0])
    np.testing.assert_allclose(layer(DATA), (DATA - 1) / 2, 1e-5)


def test_a_frame_of_pandas_can_be_adapted_to():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"a": [1, 2, 3], "b": [2.0, 4.0, 6.0]})
    layer = layers.Normalization()
    layer.adapt(frame)
    assert layer.adapt_mean.value.tolist() == [2.0, 4.0]
    bins = layers.Discretization(num_bins=2)
    bins.adapt(frame["b"])
    assert len(bins.bin_boundaries) == 1


def test_bins_that_are_learned_anew_reach_a_model_that_was_used():
    layer, x = layers.Discretization(num_bins=3), np.arange(9.0)[:, None]
    layer.adapt(x)
    inputs = layers.Input((1,))
    model = kerasnb.Model(inputs, layer(inputs))
    before = model.predict(x, verbose=0)
    layer.adapt(x / 10)
    after = model.predict(x, verbose=0)
    assert before.tolist() != after.tolist() == layer(x).tolist()


def test_learned_bins_come_back_from_a_config():
    layer = layers.Discretization(num_bins=3)
    layer.adapt(np.arange(90.0))
    again = layers.Discretization.from_config(layer.get_config())
    assert again.bin_boundaries == layer.bin_boundaries
    assert again.num_bins == 3


def test_category_weights_are_summed_and_have_gradients():
    layer = layers.CategoryEncoding(3, output_mode="count")
    x, w = np.array([[0, 1, 1], [2, 9, -1]]), np.array([[1, 2, 3], [4, 5, 6]])
    assert layer(x, count_weights=w).tolist() == [[1, 5, 0], [0, 0, 4]]
    wide = layers.CategoryEncoding(400, output_mode="count")
    assert wide(x, count_weights=w)[:, :3].tolist() == [[1, 5, 0], [0, 0, 4]]


@pytest.mark.parametrize("mode", ["one_hot", "multi_hot", "count"])
@pytest.mark.parametrize("depth", [5, 500])
def test_few_and_many_categories_are_encoded_alike(mode, depth):
    x = np.random.default_rng(0).integers(-1, 6, (4, 3))
    ours = layers.CategoryEncoding(depth, output_mode=mode)(x)
    theirs = keras.layers.CategoryEncoding(depth, output_mode=mode)(x)
    np.testing.assert_array_equal(ours, theirs)


def test_numbers_inside_a_compiled_model_are_hashed_as_outside():
    inputs = layers.Input((3,), dtype="int32")
    hashing = layers.Hashing(7)
    model = kerasnb.Model(inputs, hashing(inputs + 1))
    x = np.arange(6).reshape(2, 3)
    assert model.predict(x, verbose=0).tolist() == hashing(x + 1).tolist()


def test_mixed_precision_does_not_coarsen_what_is_binned():
    layer = layers.Discretization([2049.0], output_mode="one_hot", dtype="float16")
    out = layer(np.array([2048.5, 2049.0], "float32"))
    assert out.dtype == "float16"
    assert out.tolist() == [[1, 0], [0, 1]]


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: layers.Normalization(mean=1.0), "both `mean` and `variance`"),
        (lambda: layers.Normalization(mean=[1.0], variance=[1.0, 2.0]), "variance"),
        (lambda: layers.Normalization(axis=2)(np.ones((2, 2))), "`axis` must be"),
        (lambda: layers.Normalization(mean=1.0, variance=1.0).adapt(DATA), "left out"),
        (lambda: layers.Normalization().adapt([]), "not empty"),
        (lambda: layers.Discretization(), "one of `bin_boundaries`"),
        (lambda: layers.Discretization([1.0]).adapt(DATA), "`num_bins` must be"),
        (lambda: layers.Discretization(num_bins=2)(DATA), "call `adapt`"),
        (lambda: layers.CategoryEncoding(), "`num_tokens` must be"),
        (lambda: layers.CategoryEncoding(2, sparse=True), "`sparse` must be False"),
        (lambda: layers.CategoryEncoding(2, "onehot"), 'Did you mean "one_hot"'),
        (lambda: layers.Hashing(0), "`num_bins` must be"),
        (lambda: layers.Hashing(3, salt="a"), "`salt` must be"),
        (lambda: layers.Hashing(3, dtype="float32"), "int32 or int64"),
        (lambda: layers.HashedCrossing(3)([["a"]]), "at least two features"),
        (lambda: layers.HashedCrossing(3)([["a"], [1.5]]), "whole numbers or"),
        (lambda: layers.HashedCrossing(3)([["a"], ["b", "c"]]), "of one shape"),
    ],
)
def test_a_mistake_is_explained(make, words):
    with pytest.raises(ValueError, match=words):
        make()


def test_data_of_another_width_than_was_built_for_is_refused():
    layer = layers.Normalization()
    layer.adapt(DATA)
    with pytest.raises(ValueError, match="for which the layer was built"):
        layer.adapt(DATA[..., :2])
