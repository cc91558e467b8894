"""kerasnb.training.data, feed and workers: batches from whatever yields them"""

import os
import subprocess
import sys
import threading
import time
import warnings
from collections import OrderedDict

import jax
import jax.numpy as jnp
import keras as real
import numpy as np
import pandas
import polars
import pytest
import scipy.sparse

import kerasnb as keras
from kerasnb import layers
from kerasnb.training import feed
from kerasnb.training.data import Stream, Table, make_source

RNG = np.random.default_rng(0)
X = RNG.normal(size=(48, 4)).astype("float32")
Y = RNG.integers(0, 3, 48).astype("int32")
BATCHES = [(X[at : at + 8], Y[at : at + 8]) for at in range(0, 48, 8)]


def small(k=keras):
    k.utils.set_random_seed(1)
    model = k.Sequential([k.Input((4,)), k.layers.Dense(3, activation="softmax")])
    model.compile("sgd", "sparse_categorical_crossentropy")
    return model


@pytest.fixture(autouse=True)
def no_thread_stays():
    before = set(threading.enumerate())
    yield
    ours = [t for t in set(threading.enumerate()) - before if "kerasnb" in t.name]
    assert not ours


def endless():
    while True:
        yield from BATCHES


class Again:
    """An iterable that begins again each time, of unknown length."""

    def __init__(self, batches=BATCHES):
        self.batches = batches

    def __iter__(self):
        yield from self.batches


class Numbered(keras.utils.PyDataset):
    """Batches by number, and a note of what was asked for."""

    def __init__(self, batches=BATCHES, **kwargs):
        super().__init__(**kwargs)
        self.batches, self.asked = batches, []

    def __len__(self):
        return len(self.batches)

    def __getitem__(self, index):
        self.asked.append(index)
        return self.batches[index]

    def on_epoch_begin(self):
        self.asked.append("begin")

    def on_epoch_end(self):
        self.asked.append("end")


class RealNumbered(real.utils.PyDataset):
    """The same for the released Keras."""

    __len__, __getitem__ = Numbered.__len__, Numbered.__getitem__

    def __init__(self, batches=BATCHES):
        super().__init__()
        self.batches, self.asked = batches, []


def losses(data, model=None, **options):
    model = model or small()
    options = {"epochs": 2, "verbose": 0, "shuffle": False} | options
    return model.fit(data, **options).history["loss"]


@pytest.fixture(scope="module")
def resident():
    model = small()
    return model.fit(X, Y, 8, epochs=2, shuffle=False, verbose=0).history["loss"]


# --- Where an epoch begins and ends ---------------------------------------------------


@pytest.mark.parametrize(
    ("make", "steps"),
    [
        (endless, 6),
        (Again, None),
        (Numbered, None),
        (lambda: Numbered(workers=3, max_queue_size=2), None),
        (lambda: Again([[x, y] for x, y in BATCHES]), None),
        (lambda: Again([jax.device_put(batch) for batch in BATCHES]), None),
    ],
    ids=["generator", "iterable", "numbered", "workers", "lists", "on device"],
)
def test_streamed_batches_train_as_arrays_do(resident, make, steps):
    np.testing.assert_allclose(
        losses(make(), steps_per_epoch=steps), resident, rtol=1e-6
    )


def test_a_generator_goes_on_where_the_last_epoch_ended_and_loses_nothing():
    seen, source = [], endless()
    model = small()

    def watched():
        for batch in source:
            seen.append(batch)
            yield batch

    parts = losses(watched(), model, steps_per_epoch=4, epochs=3)
    assert len(seen) == 12  # what was trained on, and not one more
    np.testing.assert_array_equal(next(source)[0], BATCHES[0][0])
    rows = np.concatenate([X, X])
    labels = np.concatenate([Y, Y])
    other = small()
    for epoch in range(3):
        at = slice(epoch * 32, epoch * 32 + 32)
        history = other.fit(rows[at], labels[at], 8, shuffle=False, verbose=0)
        assert history.history["loss"][0] == pytest.approx(parts[epoch], rel=1e-5)


def test_epochs_of_their_own_length_over_a_dataset_that_ends_are_those_of_keras():
    found = []
    for k, dataset in ((keras, Numbered), (real, RealNumbered)):
        with pytest.warns(UserWarning, match="ran out of data|the data ended after 2"):
            found.append(
                losses(dataset(), small(k), steps_per_epoch=4, epochs=4)
            )  # 0 to 3, 4 and 5, 0 to 3, 4 and 5
    np.testing.assert_allclose(*found, rtol=1e-5)


def test_a_dataset_of_unknown_length_begins_again_at_a_border_between_epochs(resident):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = losses(Again(), steps_per_epoch=3, epochs=4)
    assert np.mean(found[:2]) == pytest.approx(resident[0], rel=1e-5)
    assert np.mean(found[2:]) == pytest.approx(resident[1], rel=1e-5)


def test_a_stream_that_ends_early_says_so_and_the_epoch_ends_there():
    model = small()
    with pytest.warns(UserWarning, match="ended after 6 of the 10 batches") as caught:
        losses(Again(), model, steps_per_epoch=10, epochs=1)
    assert "\n" not in str(caught[0].message)
    assert model.run.step == 6


def test_hooks_of_a_dataset_frame_its_batches():
    source = Numbered()
    losses(source, epochs=2)
    looked, *asked = source.asked[1:]
    epoch = [*range(6), "end"]
    assert source.asked[0] == "begin" and looked == 0
    assert asked == [*epoch, "begin", *epoch]


def test_shuffling_draws_another_order_each_epoch_and_the_seed_repeats_it():
    orders = []
    for _ in range(2):
        source = Numbered()
        losses(source, epochs=3, shuffle=True)
        numbers = [i for i in source.asked[2:] if isinstance(i, int)]
        orders.append([numbers[i : i + 6] for i in (0, 6, 12)])
    assert orders[0] == orders[1]
    assert all(sorted(order) == list(range(6)) for order in orders[0])
    assert len({tuple(order) for order in orders[0]}) > 1


def test_a_dataset_may_change_between_epochs():
    class Growing(Numbered):
        def on_epoch_end(self):
            self.batches = [(x, (y + 1) % 3) for x, y in self.batches]

    shifted = (Y + 1) % 3
    model = small()
    found = losses(Growing(workers=2), model, epochs=2)
    other = small()
    expected = [
        other.fit(X, y, 8, shuffle=False, verbose=0).history["loss"][0]
        for y in (Y, shifted)
    ]
    np.testing.assert_allclose(found, expected, rtol=1e-5)


class Drawn(keras.utils.PyDataset):
    """Batches with random numbers in them."""

    def __len__(self):
        return 4

    def __getitem__(self, index):
        return np.random.normal(size=(8, 4)), Y[:8]


@pytest.mark.slow
def test_worker_processes_draw_the_same_numbers_whoever_makes_a_batch():
    found = [
        losses(Drawn(workers=n, use_multiprocessing=True), epochs=2) for n in (1, 2)
    ]
    assert found[0] == found[1]
    assert found[0][0] != found[0][1]


# --- Validation, evaluate, predict ----------------------------------------------------


def test_validation_evaluate_and_predict_take_the_same_sources():
    model = small()
    expected = model.evaluate(X, Y, 8, verbose=0)
    outputs = model.predict(X, verbose=0)
    for make in (Numbered, Again, lambda: Numbered(workers=2), lambda: iter(BATCHES)):
        assert model.evaluate(make(), verbose=0) == pytest.approx(expected, rel=1e-5)
        np.testing.assert_allclose(model.predict(make(), verbose=0), outputs, 1e-5)
    assert model.evaluate(endless(), steps=6, verbose=0) == pytest.approx(expected)
    assert model.predict(endless(), steps=2, verbose=0).shape == (16, 3)
    model.optimizer.learning_rate = 0.0
    for data, steps in ((Again(), None), (endless(), 6), (Numbered(), None)):
        history = model.fit(
            X, Y, validation_data=data, validation_steps=steps, epochs=2, verbose=0
        )
        np.testing.assert_allclose(
            history.history["val_loss"], [expected] * 2, rtol=1e-5
        )


def test_a_model_without_weights_yet_predicts_the_first_batch_too():
    model = keras.Sequential([layers.Dense(3)])
    assert model.predict(iter(BATCHES), verbose=0).shape == (48, 3)


def test_a_generator_may_fill_the_same_array_again_and_again(resident):
    def filled():
        x, y = np.empty((8, 4), "float32"), np.empty(8, "int32")
        while True:
            for a, b in BATCHES:
                x[:], y[:] = a, b
                yield x, y

    np.testing.assert_allclose(losses(filled(), steps_per_epoch=6), resident, 1e-6)
    model = small()
    np.testing.assert_allclose(
        model.predict(filled(), steps=6, verbose=0), model.predict(X, verbose=0), 1e-5
    )


def test_dicts_lists_and_nested_inputs():
    def model():
        keras.utils.set_random_seed(2)
        a, b, c = (keras.Input((2,), name=name) for name in "abc")
        out = layers.Dense(1)(layers.Concatenate()([a, b, c]))
        model = keras.Model({"a": a, "more": [b, c]}, {"out": out})
        model.compile("sgd", {"out": "mse"})
        return model

    x = {"a": X[:, :2], "more": [X[:, 2:], X[:, 1:3]]}
    y, weight = {"out": X[:, :1]}, np.arange(48.0)
    whole = model().fit(
        x, y, 8, sample_weight=weight, epochs=2, shuffle=False, verbose=0
    )
    parts = [
        jax.tree.map(lambda a, at=at: a[at : at + 8], (x, y, weight))
        for at in range(0, 48, 8)
    ]
    streamed = losses(Again(parts), model())
    np.testing.assert_allclose(streamed, whole.history["loss"], rtol=1e-5)


def test_class_weights_of_a_stream_are_those_of_arrays():
    weight = {0: 2.0, 2: 0.25}
    streamed = losses(Again(), class_weight=weight, epochs=1)
    options = {"shuffle": False, "verbose": 0, "class_weight": weight}
    whole = small().fit(X, Y, 8, **options).history["loss"]
    np.testing.assert_allclose(streamed, whole, rtol=1e-5)
    with pytest.raises(ValueError, match="fit, batch 0: `class_weight` needs one"):
        losses(Again([(X, Y, Y)]), class_weight=weight)


# --- What goes wrong ------------------------------------------------------------------


def broken(after, error):
    yield from BATCHES[:after]
    raise error


@pytest.mark.parametrize("after", [0, 4])
def test_an_error_of_the_data_keeps_its_type_and_what_was_trained_before(after):
    model, other = small(), small()
    before = other.get_weights()
    with pytest.raises(KeyError, match="mine") as caught:
        losses(broken(after, KeyError("mine")), model)
    assert f"at batch {after} " in caught.value.__notes__[0]
    assert caught.traceback[-1].name == "broken"
    if after:
        losses(Again(BATCHES[:after]), other, epochs=1)
    assert model.run is None or model.run.step == after
    for a, b in zip(model.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6)
    assert after == 0 or not np.array_equal(before[0], model.get_weights()[0])
    losses(Again(), model)  # It still works.


def test_an_error_in_a_worker_names_its_batch():
    class Broken(Numbered):
        def __getitem__(self, index):
            if index == 4:
                raise KeyError("mine")
            return super().__getitem__(index)

    with pytest.raises(KeyError, match="mine") as caught:
        losses(Broken(workers=2))
    assert "at batch 4 " in caught.value.__notes__[0]


FIRST = (X[:8], Y[:8])


@pytest.mark.parametrize(
    ("second", "match"),
    [
        (X[:8], r"batch 1: it has the structure \(array,\), and the first batch had"),
        (({"a": X[:8]}, Y[:8]), "batch 1: it has the structure"),
        ((X[:8], Y[:8, None]), "batch 1: an array has the shape .8, 1., and in"),
        ((X[:8], Y[:8] + 0.5), "batch 1: an array has the dtype float32, and in"),
        ((X[:8], Y[:7]), "batch 1: all arrays must have the same number of rows"),
        ((X[:0], Y[:0]), "batch 1: `x` is empty"),
        ((X[:8, :3], Y[:8]), r"batch 1 of this epoch .*8, 3.* expects inputs of"),
        ((X[:8],) * 4, "batch 1: a batch must be x, .x, y. or .x, y, sample_weight"),
        ((np.array(["a"] * 8), Y[:8]), "batch 1: `x` holds <U1 data"),
        ((X[0], Y[0]), "batch 1: `y` must be an array .* is batched first"),
        ((scipy.sparse.csr_matrix(X[:8]), Y[:8]), r"batch 1: `x` is a sparse .*toarr"),
    ],
)
def test_batches_unlike_the_first_are_refused_in_one_sentence(second, match):
    model = small()
    with pytest.raises(ValueError, match=match) as caught:
        losses(Again([FIRST, second]), model)
    assert "\n" not in str(caught.value)
    assert model.run.step == 1  # the first batch counts
    assert all(np.isfinite(w).all() for w in model.get_weights())


def test_numbers_come_in_the_format_of_the_first_batch(resident):
    mixed = [(x.astype("float64" if i % 2 else "float32"), y) for i, (x, y) in
             enumerate(BATCHES)]  # fmt: skip
    np.testing.assert_allclose(losses(Again(mixed)), resident, rtol=1e-6)
    source = Stream("fit", Again([(X[:8],), (X[:8] > 0,), (Y[:8, None] * X[:8],)]))
    assert {str(batch[0].dtype) for batch in source.batches()} == {"float32"}


@pytest.mark.parametrize("call", ["fit", "evaluate", "predict"])
@pytest.mark.parametrize("empty", [lambda: iter([]), lambda: Again([]),
                                   lambda: Numbered([])])  # fmt: skip
def test_no_batches_at_all(call, empty):
    with pytest.raises(ValueError, match=f"{call}: `x` is empty"):
        getattr(small(), call)(empty(), verbose=0)


def test_targets_beside_a_stream_are_refused():
    for name in ("y", "sample_weight"):
        with pytest.raises(ValueError, match=f"`{name}` must be left out when `x`"):
            small().fit(Again(), **{name: Y})


def test_an_interrupted_fit_leaves_no_thread_and_no_open_generator():
    closed = []

    class Source:
        def __iter__(self):
            try:
                yield from endless()
            finally:
                closed.append(threading.current_thread().name)

    class Stop(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            if batch == 5:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        losses(Source(), steps_per_epoch=100, callbacks=[Stop()])
    assert closed


def test_slow_data_is_trained_on_as_it_comes():
    seen, model = [], small()

    def slow():
        for batch in [*BATCHES, *BATCHES]:
            yield batch
            time.sleep(0.05)
            seen.append(0 if model.run is None else model.run.step)

    losses(slow(), model, epochs=1)
    assert seen[-1] > 3


def test_a_stop_is_heard_while_the_data_does_not_come(monkeypatch):
    monkeypatch.setattr(feed, "LAST_WAIT", 0.1)
    model, asked = small(), threading.Event()

    def stuck():
        yield BATCHES[0]
        yield BATCHES[1]
        while not model.run.step:
            time.sleep(0.01)
        model.run.stop()
        asked.wait(20)
        yield BATCHES[2]

    class Tell(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            asked.set()

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        losses(stuck(), model, steps_per_epoch=50, epochs=2, callbacks=[Tell()])
    assert model.run.status == "stopped" and model.run.step <= 2
    for thread in threading.enumerate():
        if thread.name == "kerasnb-feed":  # It ends as soon as the data comes.
            thread.join(20)


# --- Blocks ---------------------------------------------------------------------------


def blocks_of(batches, most=None, **options):
    with feed.Feed(iter(batches), most, jax.device_put, **options) as made:
        return [block for block in made if block is not None]


def test_blocks_hold_every_batch_in_order_and_no_more_than_asked_for():
    taken = (taken for taken in BATCHES)
    blocks = blocks_of(taken, 4, patient=True)
    assert [block.count for block in blocks] == [4]
    np.testing.assert_array_equal(blocks[0].data[0][:32], X[:32])
    np.testing.assert_array_equal(next(taken)[0], BATCHES[4][0])


def test_a_block_is_bounded_by_bytes_and_ends_where_the_shape_changes(monkeypatch):
    monkeypatch.setattr(feed, "BLOCK_BYTES", 3 * BATCHES[0][0].nbytes)
    odd = (X[:5], Y[:5])
    blocks = blocks_of([*BATCHES, odd, odd], patient=True)
    assert [(b.count, b.rows, b.size) for b in blocks] == [
        (2, 8, 2), (2, 8, 2), (2, 8, 2), (2, 5, 3),
    ]  # fmt: skip


def test_large_batches_travel_alone(monkeypatch):
    monkeypatch.setattr(feed, "BLOCK_BYTES", 10)
    assert {block.size for block in blocks_of(BATCHES)} == {1}


def test_the_memory_of_a_block_is_that_of_the_device():
    buffer = feed._aligned(1024, X)
    assert jax.device_put(buffer).unsafe_buffer_pointer() == buffer.ctypes.data


# --- A run that was killed ------------------------------------------------------------


class Kill(keras.callbacks.Callback):
    def __init__(self, at):
        super().__init__()
        self.at, self.seen = at, 0

    def on_train_batch_end(self, batch, logs=None):
        self.seen += 1
        if self.seen == self.at:
            raise RuntimeError("killed")


@pytest.mark.parametrize("save_freq", ["epoch", 2])
@pytest.mark.parametrize(
    ("make", "steps"),
    [(Numbered, None), (Numbered, 4), (endless, 4), (Again, None)],
    ids=["shuffled", "shuffled, on and on", "generator", "iterable"],
)
def test_a_killed_run_goes_on_at_the_same_batch(tmp_path, make, steps, save_freq):
    def run(source, *callbacks):
        model = small()
        backup = keras.callbacks.BackupAndRestore(tmp_path / "b", save_freq=save_freq)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            history = losses(
                source, model, epochs=3, shuffle=True, steps_per_epoch=steps,
                callbacks=[backup, *callbacks],
            )  # fmt: skip
        return history, model.get_weights()

    whole, weights = run(make())
    with pytest.raises(RuntimeError, match="killed"):
        run(make(), Kill(9))
    resumed, again = run(make())
    assert resumed == whole
    for a, b in zip(weights, again, strict=True):
        np.testing.assert_array_equal(a, b)


# --- Arrays of every make -------------------------------------------------------------


def test_arrays_on_devices_stay_there():
    x, y = jnp.asarray(X), jnp.asarray(Y)
    table = make_source("fit", {"a": [x]}, y)
    assert isinstance(table, Table)
    assert table.data[0]["a"][0] is x and table.data[1] is y
    with jax.transfer_guard("disallow"):
        assert make_source("fit", x).data[0] is x


ON_FOUR_DEVICES = """
import jax, numpy as np, kerasnb as keras
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from kerasnb.training.crew import Crew, Team

x = np.random.default_rng(0).normal(size=(64, 8)).astype("float32")
y = (x[:, 0] > 0).astype("int32")
kept = []
data = Team.data
Team.data = lambda self, a: kept.append((a, data(self, a))) or kept[-1][1]

class Batches:
    def __init__(self, *arrays):
        self.arrays = arrays
    def __iter__(self):
        for at in range(0, 64, 16):
            yield tuple(jax.device_put(a[at : at + 16], a.sharding)
                        for a in self.arrays)

def losses(*data, **options):
    keras.utils.set_random_seed(1)
    model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(2)])
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    history = model.fit(*data, epochs=2, shuffle=False, verbose=0, **options)
    return history.history["loss"]

mesh = Mesh(np.array(jax.devices()), ("rows",))
split = NamedSharding(mesh, PartitionSpec("rows"))
expected = losses(x, y, batch_size=16)
for where in (split, jax.devices()[2]):
    a, b = jax.device_put((x, y), where)
    np.testing.assert_allclose(losses(a, b, batch_size=16), expected, rtol=1e-5)
    np.testing.assert_allclose(losses(Batches(a, b)), expected, rtol=1e-5)
whole = [pair for pair in kept if getattr(pair[0], "shape", None) == (64, 8)
         or isinstance(pair[0], tuple) and pair[0][0].shape == (64, 8)]
assert whole and all(given[0] is laid[0] for given, laid in whole)
print("fine")
"""


def test_arrays_split_over_devices_stay_split_and_others_come_to_the_model():
    environment = os.environ | {
        "XLA_FLAGS": "--xla_force_host_platform_device_count=4",
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    found = subprocess.run(
        [sys.executable, "-c", ON_FOUR_DEVICES],
        env=environment, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert found.stdout == "fine\n", found.stderr


FRAME = OrderedDict(a=[1.5, 2.0, 3.0], b=[1, 2, 3], c=[True, False, True])
ROWS = np.array([[1.5, 1, 1], [2, 2, 0], [3, 3, 1]], "float32")


@pytest.mark.parametrize("kind", [pandas.DataFrame, polars.DataFrame])
def test_frames_become_rows_and_series_columns(kind):
    frame = kind(FRAME)
    (x, y, weight) = make_source("fit", frame, frame["b"], frame["a"]).data
    np.testing.assert_array_equal(x, ROWS)
    assert x.dtype.kind == "f" and y.dtype == "int32"
    np.testing.assert_array_equal(y, [[1], [2], [3]])
    np.testing.assert_array_equal(weight, FRAME["a"])
    by_name = make_source("fit", {name: frame[name] for name in "ab"}).data[0]
    assert {name: value.shape for name, value in by_name.items()} == {
        "a": (3, 1), "b": (3, 1),
    }  # fmt: skip
    streamed = Stream("fit", Again([(frame, frame["b"])])).peek()
    np.testing.assert_array_equal(streamed[0], ROWS)


@pytest.mark.parametrize(
    "column",
    [
        pandas.Series([1, None, 3], dtype="Int64"),
        pandas.Series([1, None, 3], dtype="Float32"),
        polars.Series("a", [1, None, 3]),
    ],
)
def test_missing_numbers_are_nan_and_found_before_training(column):
    frame = column.to_frame("a") if hasattr(column, "dt") else column.to_frame()
    x = make_source("fit", frame).data[0]
    np.testing.assert_array_equal(x, [[1], [np.nan], [3]])
    model = keras.Sequential([keras.Input((1,)), layers.Dense(1)])
    model.compile("sgd", "mse")
    with pytest.raises(ValueError, match="`x` holds NaN .* the first is row 1"):
        model.fit(frame, np.ones(3), verbose=0)


TEXT = ["b", "a", "b"]


@pytest.mark.parametrize(
    ("frame", "match"),
    [
        (pandas.DataFrame({"a": [1, 2, 3], "city": TEXT}), "`city` of `x` .* str"),
        (pandas.DataFrame({"c": pandas.Categorical(TEXT)}), "`c` .* category"),
        (pandas.Series(pandas.date_range("2026", periods=3), name="t"), "datetime64"),
        (polars.DataFrame({"a": [1, 2, 3], "city": TEXT}), "`city` of `x` .* String"),
        (polars.Series("c", TEXT, polars.Categorical), "Categorical"),
        (polars.DataFrame({"a": [1]}).lazy(), r"LazyFrame.* \.collect\(\)"),
        (pandas.DataFrame({"city": TEXT}), "`x` holds object data .* StringLookup"),
        (scipy.sparse.eye(3), r"`x` is a sparse .*\.toarray\(\)"),
        (jax.experimental.sparse.BCOO.fromdense(jnp.eye(3)), r"\.todense\(\)"),
    ],
)
def test_what_is_no_number_is_named_in_one_sentence(frame, match):
    with pytest.raises(ValueError, match=match) as caught:
        make_source("fit", frame)
    assert "\n" not in str(caught.value)


def test_a_frame_of_text_reaches_a_model_that_reads_text():
    lookup = layers.StringLookup(vocabulary=["a", "b"], output_mode="one_hot")
    model = keras.Sequential(
        [keras.Input((1,), dtype="string"), lookup, layers.Dense(1)]
    )
    expected = model.predict(np.array(TEXT, object)[:, None], verbose=0)
    for kind in (pandas.DataFrame, polars.DataFrame):
        found = model.predict(kind({"city": TEXT}), verbose=0)
        np.testing.assert_allclose(found, expected)


def test_numbers_in_lists_at_any_depth():
    (x, y) = make_source("fit", {"a": [[1.0, 2.0], [3.0, 4.0]]}, [1, 2]).data
    assert x["a"].shape == (2, 2) and y.shape == (2,)
