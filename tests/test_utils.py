"""kerasnb.utils"""

import jax.numpy as jnp
import keras
import numpy as np
import pytest

import kerasnb as nb
from kerasnb import layers, utils


def test_every_name_of_keras_is_there():
    wanted = {n for n in vars(keras.utils) if not n.startswith("_")}
    assert not wanted - set(vars(utils))


# --- Arrays ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("x", "num_classes"),
    [
        ([0, 2, 1], None),
        ([[0], [1]], 4),
        ([[0, 1], [1, 1]], None),
        (np.array([1.0, 0.0]), 2),
        (2, 3),
        ([-1, 0], 3),
    ],
)
def test_classes_become_one_hot_rows_as_in_keras(x, num_classes):
    found = utils.to_categorical(x, num_classes)
    wanted = keras.utils.to_categorical(x, num_classes)
    np.testing.assert_array_equal(found, wanted)
    assert found.dtype == wanted.dtype


def test_classes_on_the_device_stay_there():
    found = utils.to_categorical(jnp.array([[0], [1]]), 3)
    assert found.tolist() == [[1, 0, 0], [0, 1, 0]]
    with pytest.raises(ValueError, match="`num_classes` must be given for JAX arrays"):
        utils.to_categorical(jnp.array([0]))


def test_a_class_out_of_range_is_named():
    with pytest.raises(ValueError, match="holds the class 3, but num_classes=3 allows"):
        utils.to_categorical([0, 3], 3)


@pytest.mark.parametrize("axis", [-1, 0, 1])
@pytest.mark.parametrize("order", [1, 2])
def test_vectors_get_the_length_one_as_in_keras(axis, order, rng):
    x = rng.normal(size=(3, 4))
    x[1] = 0
    found = utils.normalize(x, axis, order)
    np.testing.assert_allclose(np.linalg.norm(found, order, axis), _lengths(x, axis))
    if axis != 0:  # Keras takes the axis 0 for the last one
        np.testing.assert_allclose(found, keras.utils.normalize(x, axis, order))
    on_device = utils.normalize(jnp.asarray(x, "float32"), axis, order)
    np.testing.assert_allclose(on_device, found, rtol=1e-5, atol=1e-6)


def _lengths(x, axis):
    return np.any(x != 0, axis=axis).astype(float)


SEQUENCES = [[1], [2, 3], [], [4, 5, 6, 7]]


@pytest.mark.parametrize("maxlen", [None, 2, 6])
@pytest.mark.parametrize("padding", ["pre", "post"])
@pytest.mark.parametrize("truncating", ["pre", "post"])
def test_sequences_get_one_length_as_in_keras(maxlen, padding, truncating):
    arguments = {"maxlen": maxlen, "padding": padding, "truncating": truncating}
    found = utils.pad_sequences(SEQUENCES, **arguments, value=9)
    wanted = keras.utils.pad_sequences(SEQUENCES, **arguments, value=9)
    np.testing.assert_array_equal(found, wanted)
    assert found.dtype == wanted.dtype


def test_sequences_of_vectors_and_of_text_are_padded_as_in_keras():
    vectors = [[[1, 1]], [[2, 2], [3, 3]]]
    words = [["a"], ["b", "c"]]
    for data, options in ((vectors, {"dtype": "float32"}), (words, {"dtype": object})):
        options = {**options, "value": "-" if data is words else -1.0}
        np.testing.assert_array_equal(
            utils.pad_sequences(data, **options),
            keras.utils.pad_sequences(data, **options),
        )


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"sequences": [1, 2]}, r"`sequences\[0\]` must be a sequence, not 1"),
        ({"sequences": 3}, "`sequences` must be a list of lists"),
        ({"sequences": [[1]], "padding": "left"}, '`padding` must be "pre" or "post"'),
        ({"sequences": [[1]], "truncating": "x"}, '`truncating` must be "pre"'),
        ({"sequences": [[1]], "value": "-"}, "`dtype` must be object for value"),
        ({"sequences": [[[1]], [[1, 2]]]}, r"sequences\[1\] have the shape \(2,\)"),
    ],
)
def test_sequences_that_cannot_be_padded_are_explained(arguments, sentence):
    with pytest.raises(ValueError, match=sentence):
        utils.pad_sequences(**arguments)


# --- Batches --------------------------------------------------------------------------


class _Batches(utils.PyDataset):
    def __init__(self):
        super().__init__(workers=2, max_queue_size=3)
        self.epochs = []

    def __len__(self):
        return 3

    def __getitem__(self, index):
        return np.full((2, 4), index, "float32"), np.zeros((2, 1), "float32")

    def on_epoch_end(self):
        self.epochs.append(1)


def test_a_dataset_in_python_trains_a_model():
    model = nb.Sequential([nb.Input((4,)), layers.Dense(1)])
    model.compile("sgd", "mse")
    data = _Batches()
    history = model.fit(data, epochs=2, verbose=0)
    assert len(history.history["loss"]) == 2 and len(data.epochs) == 2
    assert model.predict(data, verbose=0).shape == (6, 1)
    assert [x[0, 0] for x, _ in data] == [0, 1, 2] and data.num_batches == 3
    assert (data.workers, data.max_queue_size) == (2, 3)
    assert utils.Sequence is utils.PyDataset


def test_a_dataset_that_lacks_its_methods_says_so():
    class Bare(utils.PyDataset):
        pass

    with pytest.raises(
        NotImplementedError, match=r"Bare must have a method __getitem__"
    ):
        Bare()[0]
    with pytest.raises(NotImplementedError, match="Bare must have a method __len__"):
        _ = Bare().num_batches


def _windows(data, length, stride, rate, start, end):
    """The windows, one by one."""
    data = data[start:end]
    last = len(data) - (length - 1) * rate
    return [data[i : i + length * rate : rate] for i in range(0, last, stride)]


@pytest.mark.parametrize("stride", [1, 3])
@pytest.mark.parametrize("rate", [1, 2])
@pytest.mark.parametrize(("start", "end"), [(None, None), (2, 15)])
def test_windows_of_a_time_series_are_cut_as_described(stride, rate, start, end):
    data = np.arange(20)
    found = utils.timeseries_dataset_from_array(
        data,
        data * 10,
        sequence_length=4,
        sequence_stride=stride,
        sampling_rate=rate,
        batch_size=3,
        start_index=start,
        end_index=end,
    )
    batches = list(found)
    assert {len(x) for x, _ in batches[:-1]} <= {3}
    x = np.concatenate([x for x, _ in batches])
    y = np.concatenate([y for _, y in batches])
    wanted = _windows(data, 4, stride, rate, start, end)
    np.testing.assert_array_equal(x, wanted)
    np.testing.assert_array_equal(y, [10 * w[0] for w in wanted])


def test_windows_can_be_shuffled_or_single():
    make = utils.timeseries_dataset_from_array
    plain, mixed = (
        make(np.arange(50), None, 5, shuffle=shuffle, seed=1)[0]
        for shuffle in (False, True)
    )
    assert plain[:, 0].tolist() != mixed[:, 0].tolist()
    assert sorted(plain[:, 0]) == sorted(mixed[:, 0])
    single = make(np.arange(9), None, 5, batch_size=None)
    assert len(single) == 5 and single[0].shape == (5,)
    with pytest.raises(IndexError, match="There are 5 batches and none at 5"):
        single[5]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"sequence_length": 0}, "`sequence_length` must be a positive number, not 0"),
        ({"sampling_rate": 9}, "`sampling_rate` must be less than the 5 steps"),
        ({"end_index": 9}, "`end_index` must be less than the 5 steps"),
        (
            {"start_index": 3, "end_index": 2},
            "`end_index` must be more than start_index",
        ),
        ({"format": "csv"}, '`format` must be "tf" or "grain"'),
    ],
)
def test_windows_that_cannot_be_are_explained(options, sentence):
    options = {"sequence_length": 2, **options}
    with pytest.raises(ValueError, match=sentence):
        utils.timeseries_dataset_from_array(np.arange(5), None, **options)


# --- The rest -------------------------------------------------------------------------


def test_the_inputs_behind_a_placeholder_are_found():
    a, b, unused = (nb.Input((2,), name=n) for n in ("a", "b", "unused"))
    assert utils.get_source_inputs(unused)[0] is unused
    found = utils.get_source_inputs(layers.Add()([a, layers.Dense(2)(b) + a]))
    assert [t.name for t in found] == [
        t.name for t in keras.utils.get_source_inputs(_same_graph(keras))
    ]


def _same_graph(k):
    a, b = (k.Input((2,), name=n) for n in ("a", "b"))
    return k.layers.Add()([a, k.layers.Dense(2)(b) + a])


def test_a_seed_makes_weights_come_again():
    def weights():
        utils.set_random_seed(7)
        return nb.Sequential([nb.Input((3,)), layers.Dense(2)]).get_weights()[0]

    np.testing.assert_array_equal(weights(), weights())
    keras.utils.set_random_seed(7)
    theirs = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    np.testing.assert_array_equal(weights(), theirs.weights[0].value)
