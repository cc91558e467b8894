"""Data of TensorFlow, PyTorch and grain in `fit`, with the real packages."""

import warnings

import numpy as np
import pytest

import kerasnb as keras
from kerasnb import layers
from kerasnb.training.data import Stream, make_source

pytestmark = pytest.mark.sources

# Imported when tests run, so that those of the unit suite do without them.
X = np.random.default_rng(0).normal(size=(44, 4)).astype("float32")
Y = np.random.default_rng(1).integers(0, 3, 44).astype("int32")
W = np.linspace(0, 1, 44).astype("float32")


@pytest.fixture(scope="module")
def packages():
    import grain
    import tensorflow
    import torch

    return {"tf": tensorflow, "torch": torch, "grain": grain}


@pytest.fixture
def tf(packages):
    return packages["tf"]


@pytest.fixture
def torch(packages):
    return packages["torch"]


@pytest.fixture
def grain(packages):
    return packages["grain"]


def small():
    keras.utils.set_random_seed(1)
    chain = [keras.Input((4,)), layers.Dense(3, activation="softmax")]
    model = keras.Sequential(chain)
    model.compile("sgd", "sparse_categorical_crossentropy")
    return model


class Samples:
    """Rows by number, as PyTorch and grain take them."""

    def __init__(self, *arrays):
        self.arrays = arrays

    def __len__(self):
        return len(self.arrays[0])

    def __getitem__(self, index):
        row = tuple(array[index] for array in self.arrays)
        return row if len(row) > 1 else row[0]


def of_tensorflow(packages, *arrays):
    data = packages["tf"].data.Dataset.from_tensor_slices(arrays)
    return data.batch(8).prefetch(2)


def of_tensorflow_unknown(packages, *arrays):
    tf = packages["tf"]
    specs = tuple(tf.TensorSpec((None, *a.shape[1:]), a.dtype) for a in arrays)

    def batches():
        for at in range(0, len(arrays[0]), 8):
            yield tuple(array[at : at + 8] for array in arrays)

    return tf.data.Dataset.from_generator(batches, output_signature=specs)


def of_torch(packages, *arrays):
    return packages["torch"].utils.data.DataLoader(Samples(*arrays), batch_size=8)


def of_torch_workers(packages, *arrays):
    loader = packages["torch"].utils.data.DataLoader
    return loader(Samples(*arrays), batch_size=8, num_workers=1)


def of_torch_unknown(packages, *arrays):
    data = packages["torch"].utils.data

    class Rows(data.IterableDataset):
        def __iter__(self):
            return iter(zip(*arrays, strict=True))

    return data.DataLoader(Rows(), batch_size=8)


def of_grain_map(packages, *arrays):
    return packages["grain"].MapDataset.source(Samples(*arrays)).batch(8)


def of_grain_iter(packages, *arrays):
    return of_grain_map(packages, *arrays).to_iter_dataset()


def of_grain_loader(packages, *arrays):
    grain = packages["grain"]
    sampler = grain.samplers.IndexSampler(
        num_records=len(arrays[0]), shuffle=False, num_epochs=1,
        shard_options=grain.sharding.NoSharding(), seed=0,
    )  # fmt: skip
    return grain.DataLoader(
        data_source=Samples(*arrays),
        sampler=sampler,
        operations=[grain.transforms.Batch(batch_size=8)],
        worker_count=0,
    )


SOURCES = [
    (of_tensorflow, 6),
    (of_tensorflow_unknown, None),
    (of_torch, 6),
    (of_torch_workers, 6),
    (of_torch_unknown, None),
    (of_grain_map, 6),
    (of_grain_iter, None),
    (of_grain_loader, None),
]


@pytest.mark.parametrize(("make", "length"), SOURCES)
@pytest.mark.filterwarnings("ignore:.*os.fork:RuntimeWarning")
@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
def test_batches_train_and_test_as_arrays_do(packages, make, length):
    found, options = [], {"epochs": 2, "shuffle": False, "verbose": 0}
    for streamed in (True, False):
        model = small()
        if streamed:
            data = make(packages, X, Y, W)
            assert Stream("fit", data).length == length
            history = model.fit(data, validation_data=make(packages, X, Y), **options)
            evaluated = model.evaluate(make(packages, X, Y), verbose=0)
            outputs = model.predict(make(packages, X), verbose=0)
            assert model.run.step == 12
        else:
            history = model.fit(
                X, Y, 8, sample_weight=W, validation_data=(X, Y), **options
            )
            evaluated = model.evaluate(X, Y, 8, verbose=0)
            outputs = model.predict(X, 8, verbose=0)
        found.append((history.history["loss"], history.history["val_loss"], evaluated))
        found[-1] = (*np.concatenate([np.ravel(part) for part in found[-1]]), outputs)
    for ours, theirs in zip(*found, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-7)


def endless(packages, name):
    if name == "tf":
        return of_tensorflow(packages, X, Y).repeat()
    return packages["grain"].MapDataset.source(Samples(X, Y)).repeat().batch(8)


@pytest.mark.parametrize("name", ["tf", "grain"])
def test_datasets_without_end_go_on_from_epoch_to_epoch(packages, name):
    data = endless(packages, name)
    assert Stream("fit", data).length is None
    model = small()
    model.fit(data, steps_per_epoch=3, epochs=4, verbose=0)
    other, seen = small(), iter(endless(packages, name))
    for _ in range(12):
        x, y = next(seen)
        other.train_on_batch(np.asarray(x), np.asarray(y))
    for a, b in zip(model.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5)


def test_the_source_shuffles_and_fit_does_not(packages):
    torch, grain = packages["torch"], packages["grain"]
    torch.manual_seed(3)
    shuffled = {
        "tf": packages["tf"].data.Dataset.range(16).shuffle(16, seed=3).batch(4),
        "torch": torch.utils.data.DataLoader(range(16), batch_size=4, shuffle=True),
        "grain": grain.MapDataset.range(16).shuffle(seed=3).batch(4),
    }
    for name, data in shuffled.items():
        stream = Stream("fit", data)
        epochs = [np.concatenate([b[0] for b in stream.batches()]) for _ in range(2)]
        assert sorted(epochs[0]) == sorted(epochs[1]) == list(range(16)), name
        assert list(epochs[0]) != list(range(16)), name
        if name != "grain":  # which shuffles anew when it is told to repeat
            assert list(epochs[0]) != list(epochs[1]), name


def test_dict_batches(packages):
    keras.utils.set_random_seed(1)
    a, b = keras.Input((2,), name="a"), keras.Input((2,), name="b")
    model = keras.Model([a, b], layers.Dense(1)(layers.Concatenate()([a, b])))
    columns = {"a": X[:, :2], "b": X[:, 2:]}
    expected = model.predict(columns, verbose=0)
    rows = [{name: value[i] for name, value in columns.items()} for i in range(44)]
    loader = packages["torch"].utils.data.DataLoader
    for data in (
        packages["tf"].data.Dataset.from_tensor_slices(columns).batch(8),
        loader(rows, batch_size=8),
        packages["grain"].MapDataset.source(rows).batch(8),
    ):
        np.testing.assert_allclose(model.predict(data, verbose=0), expected, 1e-5)


@pytest.mark.parametrize("make", [of_tensorflow_unknown, of_torch, of_grain_map])
def test_an_error_inside_the_source_names_its_batch(packages, make):
    class Broken(Samples):
        def __getitem__(self, index):
            if index == 20:
                raise KeyError("mine")
            return super().__getitem__(index)

    if make is of_tensorflow_unknown:
        tf = packages["tf"]

        def batches():
            yield from [X[:8], X[:8]]
            raise KeyError("mine")

        spec = tf.TensorSpec((None, 4), "float32")
        data = tf.data.Dataset.from_generator(batches, output_signature=spec)
    elif make is of_torch:
        loader = packages["torch"].utils.data.DataLoader
        data = loader(Broken(X, Y), batch_size=8)
    else:
        data = packages["grain"].MapDataset.source(Broken(X, Y)).batch(8)
    with pytest.raises(Exception, match="mine") as caught:
        small().predict(data, verbose=0)
    assert any("at batch 2 " in note for note in caught.value.__notes__)


# --- Tensors --------------------------------------------------------------------------


def test_tensors_are_arrays(tf, torch):
    tracked = torch.tensor(X, requires_grad=True)
    for tensor in (tf.constant(X), tf.Variable(X), torch.tensor(X), tracked):
        (x,) = make_source("fit", tensor).data
        np.testing.assert_array_equal(x, X)
    for tensor in (
        tf.cast(tf.constant(X), tf.bfloat16),
        torch.tensor(X, dtype=torch.bfloat16),
    ):
        (x,) = make_source("fit", {"a": tensor}).data
        assert x["a"].dtype.name == "bfloat16"
        np.testing.assert_allclose(x["a"].astype("float32"), X, rtol=1e-2)
    (x, y) = make_source("fit", torch.tensor(X), torch.tensor(Y.astype("int64"))).data
    assert y.dtype == "int32"


def test_rows_of_many_lengths_are_filled_up(tf):
    ragged = tf.ragged.constant([[1, 2, 3], [4]])
    np.testing.assert_array_equal(
        make_source("fit", ragged).data[0], [[1, 2, 3], [4, 0, 0]]
    )


def test_sparse_tensors_are_refused_in_one_sentence(tf):
    sparse = tf.sparse.from_dense(np.eye(3, dtype="float32"))
    with pytest.raises(ValueError, match=r"sparse SparseTensor .*to_dense"):
        make_source("fit", sparse)
    data = tf.data.Dataset.from_tensors(sparse)
    with pytest.raises(ValueError, match=r"predict, batch 0: `x` is a sparse"):
        small().predict(data, verbose=0)


def test_text_reaches_a_model_that_reads_text(tf):
    lookup = layers.StringLookup(vocabulary=["a", "b"], output_mode="one_hot")
    text = keras.Input((1,), dtype="string")
    model = keras.Sequential([text, lookup, layers.Dense(1)])
    words = np.array([["a"], ["b"], ["c"]], object)
    expected = model.predict(words, verbose=0)
    data = tf.data.Dataset.from_tensor_slices(words.astype(str)).batch(2)
    np.testing.assert_allclose(model.predict(data, verbose=0), expected)
    with pytest.raises(ValueError, match="`x` holds .* StringLookup"):
        small().predict(data, verbose=0)


def test_a_dataset_of_single_samples_is_refused_in_one_sentence(packages):
    torch = packages["torch"]
    plain = torch.utils.data.TensorDataset(torch.tensor(X), torch.tensor(Y))
    with pytest.raises(ValueError, match="TensorDataset of single .*DataLoader"):
        small().fit(plain)
    for data in (
        packages["tf"].data.Dataset.from_tensor_slices((X, Y)),
        packages["grain"].MapDataset.source(Samples(X, Y)),
    ):
        with pytest.raises(ValueError, match="one row .* is batched first"):
            small().fit(data, verbose=0)


def test_a_data_loader_of_grain_with_worker_processes(grain):
    from absl import flags

    flags.FLAGS.mark_as_parsed()  # as `grain` asks of a program with such workers
    data = of_grain_map({"grain": grain}, X, Y).to_iter_dataset()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        data = data.mp_prefetch(grain.multiprocessing.MultiprocessingOptions(1))
        history = small().fit(data, verbose=0)
    expected = small().fit(X, Y, 8, shuffle=False, verbose=0)
    np.testing.assert_allclose(
        history.history["loss"], expected.history["loss"], rtol=1e-5
    )
