"""Event files, read back by the real TensorBoard."""

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.util import tensor_util

import kerasnb
from kerasnb import callbacks, layers


def read(folder):
    events = EventAccumulator(str(folder), size_guidance={"tensors": 0})
    events.Reload()
    return {
        tag: [
            (e.step, tensor_util.make_ndarray(e.tensor_proto))
            for e in events.Tensors(tag)
        ]
        for tag in events.Tags()["tensors"]
    }


def trained(folder, **options):
    kerasnb.utils.set_random_seed(0)
    model = kerasnb.Sequential(
        [
            layers.Input((3,), dtype="int32"),
            layers.Embedding(5, 2, name="words"),
            layers.Flatten(),
            layers.Dense(1, name="out"),
        ]
    )
    model.compile("sgd", "mse")
    x = np.arange(24).reshape(8, 3) % 5
    run = model.fit(
        x,
        x[:, :1] * 1.0,
        batch_size=2,
        epochs=2,
        validation_split=0.5,
        verbose=0,
        callbacks=[callbacks.TensorBoard(folder, **options)],
    )
    return run.history


def test_curves_of_training_and_validation_are_those_of_the_history(tmp_path):
    history = trained(tmp_path)
    train, validation = read(tmp_path / "train"), read(tmp_path / "validation")
    assert [step for step, _ in train["epoch_loss"]] == [0, 1]
    np.testing.assert_allclose(
        [v for _, v in train["epoch_loss"]], history["loss"], rtol=1e-6
    )
    np.testing.assert_allclose(
        [v for _, v in validation["epoch_loss"]], history["val_loss"], rtol=1e-6
    )
    np.testing.assert_allclose(
        [v for _, v in train["epoch_learning_rate"]], 0.01, rtol=1e-6
    )
    assert [step for step, _ in validation["evaluation_loss_vs_iterations"]] == [2, 4]
    assert b'"Sequential"' in train["keras"][0][1].item()
    assert not [tag for tag in train if tag.startswith("batch_")]


def test_batches_weights_pictures_and_speed_are_written_when_asked(tmp_path):
    trained(
        tmp_path,
        update_freq="batch",
        histogram_freq=2,
        write_images=True,
        write_steps_per_second=True,
        write_graph=False,
    )
    train = read(tmp_path / "train")
    assert [step for step, _ in train["batch_loss"]] == [1, 2, 3, 4]
    ((step, histogram),) = train["sequential/out/kernel/histogram"]
    assert step == 0
    assert histogram[:, 2].sum() == 6
    ((_, picture),) = train["sequential/out/kernel/image"]
    assert picture[:2].tolist() == [b"6", b"1"]
    assert picture[2].startswith(b"\x89PNG")
    assert train["epoch_steps_per_second"][0][1] > 0
    assert "keras" not in train


def test_embeddings_are_written_for_the_projector(tmp_path):
    trained(tmp_path, embeddings_freq=1, embeddings_metadata={"words": "words.txt"})
    config = (tmp_path / "projector_config.pbtxt").read_text()
    assert 'tensor_path: "train/words.tsv"' in config
    assert 'metadata_path: "words.txt"' in config
    assert np.loadtxt(tmp_path / "train" / "words.tsv").shape == (5, 2)
    with pytest.raises(ValueError, match="names of Embedding layers, which are"):
        trained(tmp_path, embeddings_freq=1, embeddings_metadata={"wods": "words.txt"})


def test_a_profile_of_some_steps_is_written(tmp_path):
    trained(tmp_path, profile_batch=(1, 2))
    assert list(tmp_path.rglob("*.xplane.pb"))


@pytest.mark.parametrize(
    "options",
    [{"update_freq": "never"}, {"profile_batch": (3, 1)}, {"profile_batch": -1}],
)
def test_arguments_are_checked(options, tmp_path):
    with pytest.raises(
        ValueError, match=f"TensorBoard: `{next(iter(options))}` must be"
    ):
        callbacks.TensorBoard(tmp_path, **options)
