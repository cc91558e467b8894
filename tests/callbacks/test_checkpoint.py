"""kerasnb.callbacks.checkpoint: the files of the released Keras, never half ones."""

from pathlib import Path

import keras
import pytest

from kerasnb import callbacks

LOSSES = [1.0, 0.5, 0.75, 0.25, 0.3]
CASES = [
    ("m-{epoch:02d}.keras", {}),
    ("best.keras", {"save_best_only": True}),
    ("e{epoch}-{val_loss:.2f}.keras", {"save_best_only": True}),
    ("up{epoch}.keras", {"save_best_only": True, "mode": "max"}),
    (
        "under{epoch}.keras",
        {"save_best_only": True, "initial_value_threshold": 0.6},
    ),
    ("w{epoch}.weights.h5", {"save_weights_only": True}),
    ("b{epoch}-{batch:03d}.keras", {"save_freq": 3}),
    ("n{epoch}.keras", {"save_best_only": True, "save_freq": 3, "monitor": "loss"}),
    ("d{epoch}.weights.h5", {"save_best_only": True, "save_weights_only": True}),
    ("deep/er/{epoch}.h5", {}),
]


def train(callback, model, epochs=5, batches=4):
    """Call the hooks of `fit`, batches included."""
    callback.set_model(model)
    callback.on_train_begin({})
    for epoch in range(epochs):
        callback.on_epoch_begin(epoch, {})
        for batch in range(batches):
            model.weights += 1
            callback.on_train_batch_end(batch, {"loss": LOSSES[epoch]})
        callback.on_epoch_end(epoch, {"val_loss": LOSSES[epoch]})
    callback.on_train_end({})


@pytest.mark.parametrize(("pattern", "settings"), CASES)
def test_the_same_files_with_the_same_content_as_keras(
    pattern, settings, tmp_path, make_model
):
    found = []
    for library, place in ((callbacks, "ours"), (keras.callbacks, "theirs")):
        root = tmp_path / place
        root.mkdir()
        train(library.ModelCheckpoint(root / pattern, **settings), make_model())
        files = sorted(p for p in root.rglob("*") if p.is_file())
        found.append({str(p.relative_to(root)): p.read_text() for p in files})
    assert found[0] == found[1]
    assert found[0]


def test_a_failed_save_keeps_the_last_good_file(tmp_path, make_model):
    class Failing(make_model):
        def save(self, filepath, overwrite=True):
            Path(filepath).write_text("half")
            if self.weights > 4:
                raise KeyboardInterrupt
            super().save(filepath, overwrite)

    with pytest.raises(KeyboardInterrupt):
        train(callbacks.ModelCheckpoint(tmp_path / "m.keras"), Failing())
    assert [p.name for p in tmp_path.iterdir()] == ["m.keras"]
    assert (tmp_path / "m.keras").read_text() == "model 4"


def test_a_missing_number_in_the_path_is_named(tmp_path, make_model):
    callback = callbacks.ModelCheckpoint(tmp_path / "{val_los}.keras")
    with pytest.raises(ValueError, match=r'asks for {val_los}.* mean "val_loss"'):
        train(callback, make_model())


@pytest.mark.parametrize(
    "pattern", ["{val_loss:d}.keras", "{}.keras", "{epoch.x}.keras", "{epoch:q}.keras"]
)
def test_a_path_that_cannot_be_filled_is_explained(pattern, tmp_path, make_model):
    callback = callbacks.ModelCheckpoint(tmp_path / pattern)
    with pytest.raises(ValueError, match="cannot be filled with epoch, val_loss: "):
        train(callback, make_model(), epochs=1)


def test_a_file_in_the_place_of_the_folder_is_named(tmp_path, make_model):
    (tmp_path / "runs").write_text("a file")
    callback = callbacks.ModelCheckpoint(tmp_path / "runs" / "deep" / "m.keras")
    with pytest.raises(OSError, match="ModelCheckpoint: cannot write .*runs"):
        train(callback, make_model(), epochs=1)


def test_a_missing_monitor_is_named_and_the_model_saved_all_the_same(
    tmp_path, make_model
):
    path = tmp_path / "m.keras"
    callback = callbacks.ModelCheckpoint(path, monitor="val_acc", save_best_only=True)
    with pytest.warns(UserWarning, match="ModelCheckpoint watches `val_acc`"):
        train(callback, make_model(), epochs=1)
    assert path.exists()


def test_impossible_settings_are_refused(tmp_path, make_model):
    with pytest.raises(ValueError, match=r"`filepath` must be a path ending in .keras"):
        callbacks.ModelCheckpoint("model.pkl")
    with pytest.raises(ValueError, match=r"ending in .weights.h5 \(with save_weights"):
        callbacks.ModelCheckpoint("model.keras", save_weights_only=True)
    with pytest.raises(ValueError, match='`save_freq` must be "epoch" or a number'):
        callbacks.ModelCheckpoint("model.keras", save_freq="batch")
    (tmp_path / "dir.keras").mkdir()
    with pytest.raises(IsADirectoryError, match="is a directory"):
        train(callbacks.ModelCheckpoint(tmp_path / "dir.keras"), make_model())


def test_verbose_says_what_is_saved_and_why(tmp_path, make_model, capsys):
    callback = callbacks.ModelCheckpoint(
        tmp_path / "m.keras", save_best_only=True, verbose=1
    )
    train(callback, make_model(), epochs=3)
    saved = f"saved to {tmp_path / 'm.keras'}."
    assert capsys.readouterr().out.splitlines() == [
        "Epoch 1: val_loss improved to 1.",
        f"Epoch 1: {saved}",
        "Epoch 2: val_loss improved from 1 to 0.5.",
        f"Epoch 2: {saved}",
        "Epoch 3: val_loss did not improve from 0.5.",
    ]
