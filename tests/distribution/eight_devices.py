"""Checks that run on eight devices, in a process of their own (`test_devices.py`)."""

import json
import sys
import tempfile
import traceback
from pathlib import Path

import jax
import numpy as np
from jax.sharding import PartitionSpec as P

import kerasnb
from kerasnb import callbacks, distribution, layers, losses, optimizers
from kerasnb.distribution import (
    DataParallel,
    DeviceMesh,
    LayoutMap,
    ModelParallel,
    TensorLayout,
)


def near(found, wanted, atol=1e-5):
    """Nested numbers agree."""
    flat = zip(jax.tree.leaves(found), jax.tree.leaves(wanted), strict=True)
    for a, b in flat:
        np.testing.assert_allclose(np.asarray(a), np.asarray(b), atol=atol, rtol=1e-5)


def rows(*shape, classes=3, seed=0):
    """Random features and labels."""
    rng = np.random.default_rng(seed)
    return rng.normal(size=shape).astype("float32"), rng.integers(0, classes, shape[0])


def mlp(library=kerasnb):
    """Dense layers around batch statistics and dropout."""
    part = library.layers
    return library.Sequential(
        [
            part.Dense(16, activation="relu"),
            part.BatchNormalization(),
            part.Dropout(0.3, seed=7),
            part.Dense(3),
        ]
    )


def cnn():
    """Convolutions with batch statistics, pooling and dropout."""
    return kerasnb.Sequential(
        [
            layers.Conv2D(4, 3, activation="relu"),
            layers.BatchNormalization(),
            layers.MaxPooling2D(),
            layers.Dropout(0.2),
            layers.Flatten(),
            layers.Dense(3),
        ]
    )


def attention():
    """Words through self-attention."""
    words = layers.Input((6,), dtype="int32")
    x = layers.Embedding(20, 16, name="words")(words)
    y = layers.MultiHeadAttention(4, 4, name="mix")(x, x)
    x = layers.LayerNormalization(name="level")(layers.Add()([x, y]))
    x = layers.Dense(32, activation="relu", name="wide")(x)
    x = layers.GlobalAveragePooling1D()(x)
    return kerasnb.Model(words, layers.Dense(3, name="last")(x))


def compiled(make, optimizer, **options):
    """A model made after a fixed seed, ready to be trained."""
    kerasnb.utils.set_random_seed(3)
    model = make()
    loss = losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer(), loss, metrics=["accuracy"], **options)
    return model


def results(make, x, y, optimizer, **options):
    """What a training gives: history, evaluation, predictions, weights."""
    model = compiled(make, optimizer)
    history = model.fit(x, y, epochs=2, verbose=0, **options).history
    found = model.evaluate(x, y, verbose=0), model.predict(x[:13], verbose=0)
    return model, (history, *found, model.get_weights())


def agrees(scope, make, x, y, optimizer=lambda: optimizers.Adam(0.01), **options):
    """Train on one device and under a distribution; the model of the latter."""
    _, wanted = results(make, x, y, optimizer, **options)
    with scope.scope():
        model, found = results(make, x, y, optimizer, **options)
    near(found, wanted)
    return model


def split_by_words():
    """Attention's weights split over four devices, and batches over two."""
    mesh = DeviceMesh((2, 4), ["batch", "model"])
    layout_map = LayoutMap(mesh)
    layout_map["words/embeddings"] = (None, "model")
    layout_map["mix/(query|key|value)/kernel"] = (None, "model", None)
    layout_map["wide/kernel"] = (None, "model")
    layout_map["wide/bias"] = TensorLayout(["model"])
    layout_map["wide/output"] = ("batch", None, "model")
    return ModelParallel(layout_map=layout_map, batch_dim_name="batch")


# --- The checks -----------------------------------------------------------------------


def data_parallel_trains_an_mlp_as_one_device_does():
    model = agrees(
        DataParallel(), mlp, *rows(203, 5), batch_size=32, validation_split=0.2
    )
    assert len(model.layers[0].kernel.box.sharding.device_set) == 8
    # One program for whole batches, one for the odd last one; in training and not.
    made = [getattr(p, "compilations", 0) for p in model._programs.values()]
    assert sum(made) <= 6, made


def data_parallel_trains_a_cnn_as_one_device_does():
    sgd = lambda: optimizers.SGD(0.05, momentum=0.9)  # noqa: E731
    agrees(DataParallel(), cnn, *rows(40, 8, 8, 2), sgd, batch_size=16)


def model_parallel_trains_attention_as_one_device_does():
    x = np.random.default_rng(0).integers(0, 20, (50, 6))
    model = agrees(split_by_words(), attention, x, x[:, 0] % 3, batch_size=16)
    wide = model.get_layer("wide").kernel
    assert wide.box.sharding.spec == P(None, "model")
    slots = [v for v in model.optimizer.variables if "wide_kernel" in v.path]
    assert {v.box.sharding for v in slots} == {wide.box.sharding} and len(slots) == 2
    assert wide.box.addressable_shards[0].data.shape == (16, 8)
    with tempfile.TemporaryDirectory() as folder, split_by_words().scope():
        model.save(f"{folder}/model.keras")
        loaded = kerasnb.models.load_model(f"{folder}/model.keras")
        assert loaded.get_layer("wide").kernel.box.sharding.spec == P(None, "model")
        near(loaded.predict(x, verbose=0), model.predict(x, verbose=0))
        with distribution.DataParallel().scope():
            near(loaded.predict(x, verbose=0), model.predict(x, verbose=0))


def batches_that_do_not_divide_are_computed_whole():
    agrees(DataParallel(), mlp, *rows(15, 5), batch_size=6)


def streams_give_what_one_device_gives():
    x, y = rows(48, 5)

    def trained():
        model = compiled(mlp, lambda: "sgd")
        batches = ((x[i : i + 16], y[i : i + 16]) for i in range(0, 48, 16))
        model.fit(batches, verbose=0)
        return model.get_weights()

    wanted = trained()
    with DataParallel().scope():
        near(trained(), wanted)


def released_keras_gives_the_same_on_the_same_mesh():
    import keras

    x, y = rows(64, 5)
    ours = compiled(mlp, lambda: optimizers.Adam(0.01))
    ours.build((None, 5))
    with DataParallel().scope():
        history = ours.fit(x, y, batch_size=16, epochs=2, shuffle=False, verbose=0)
    keras.distribution.set_distribution(keras.distribution.DataParallel())
    theirs = mlp(keras)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    theirs.compile(keras.optimizers.Adam(0.01), loss, metrics=["accuracy"])
    theirs.build((None, 5))
    again = compiled(mlp, lambda: "adam")
    again.build((None, 5))
    theirs.set_weights(again.get_weights())
    found = theirs.fit(x, y, batch_size=16, epochs=2, shuffle=False, verbose=0)
    near(history.history, dict(found.history), 1e-4)


def a_model_made_before_the_distribution_moves_and_stays():
    x, y = rows(32, 5)
    model = compiled(mlp, lambda: "sgd")
    model.fit(x, y, verbose=0)
    wanted = model.predict(x, verbose=0)
    with DataParallel().scope():
        near(model.predict(x, verbose=0), wanted)
        model.fit(x, y, verbose=0)
        inside = model.evaluate(x, y, verbose=0)
    assert len(model.layers[0].kernel.box.sharding.device_set) == 8
    near(model.evaluate(x, y, verbose=0), inside)
    near(model.train_on_batch(x, y), model.test_on_batch(x, y), atol=2)
    with DataParallel(devices=distribution.list_devices()[:2]).scope():
        near(model.predict(x, verbose=0).shape, wanted.shape)
    assert len(model.layers[0].kernel.box.sharding.device_set) == 2


def seeds_made_under_a_distribution_serve_outside_of_it():
    kerasnb.utils.set_random_seed(3)
    with DataParallel().scope():
        kerasnb.random.normal((2,))  # makes the generator of what has no seed
    model = kerasnb.Sequential([layers.Dense(3)])
    model.compile("sgd", "mse")
    model.fit(rows(8, 5)[0], np.zeros((8, 3), "float32"), verbose=0)
    assert len(model.layers[0].kernel.box.sharding.device_set) == 1


def orbax_checkpoints_move_between_meshes():
    x = np.random.default_rng(0).integers(0, 20, (32, 6))
    y = x[:, 0] % 3
    with tempfile.TemporaryDirectory() as folder:
        with split_by_words().scope():
            model = compiled(attention, lambda: "adam")
            keep = callbacks.OrbaxCheckpoint(folder, max_to_keep=2)
            model.fit(x, y, epochs=3, verbose=0, callbacks=[keep])
            assert sorted(p.name for p in Path(folder).iterdir()) == ["1", "2"]
            again = kerasnb.models.load_model(folder)
            kernel = again.get_layer("wide").kernel
            assert kernel.box.sharding.spec == P(None, "model")
        alone = kerasnb.models.load_model(folder)
        assert len(alone.get_layer("wide").kernel.box.sharding.device_set) == 1
        wanted = model.evaluate(x, y, verbose=0)
        near(alone.evaluate(x, y, verbose=0), wanted)
        after = [m.fit(x, y, shuffle=False, verbose=0) for m in (model, again, alone)]
        near(after[1].history, after[0].history)
        near(after[2].history, after[0].history)


CHECKS = {
    name: value
    for name, value in list(globals().items())
    if callable(value) and name.count("_") > 3
}


def main(names):
    """Run these checks; prints what went wrong by name."""
    said = {}
    for name in names:
        distribution.set_distribution(None)
        try:
            CHECKS[name]()
            said[name] = ""
        except Exception:  # noqa: BLE001 - told to the test, all the same
            said[name] = traceback.format_exc()
    print(json.dumps(said))


if __name__ == "__main__":
    main(sys.argv[1:])
