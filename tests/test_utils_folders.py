"""kerasnb.utils.folders: files in folders as batches, and datasets in two."""

import wave

import keras
import numpy as np
import pytest

import kerasnb
from kerasnb import layers
from kerasnb.utils import (
    audio_dataset_from_directory,
    split_dataset,
    text_dataset_from_directory,
)
from kerasnb.utils.folders import index_directory


@pytest.fixture
def texts(tmp_path):
    for name in ("b", "a", ".hidden", "c"):
        (tmp_path / name / "deep").mkdir(parents=True)
        for i in range(3):
            (tmp_path / name / f"{i}.txt").write_text(f"{name} {i}")
        (tmp_path / name / "deep" / "3.TXT").write_text(f"{name} deep")
        (tmp_path / name / "other.md").write_text("other")
    return tmp_path


@pytest.mark.parametrize("shuffle", [True, False])
@pytest.mark.parametrize(
    "args",
    [
        {"labels": "inferred"},
        {"labels": "inferred", "class_names": ["c", "a"]},
        {"labels": None},
        {"labels": tuple(range(16))},
    ],
    ids=lambda args: f"{len(args)}-{args['labels']}"[:12],
)
def test_files_are_listed_in_the_order_of_keras(texts, args, shuffle, capsys):
    indexed = keras.src.utils.dataset_utils.index_directory
    found = []
    for index in (index_directory, indexed):
        given = {
            k: list(v) if k == "labels" and v and v != "inferred" else v
            for k, v in args.items()
        }  # Keras shuffles the list that it is given
        found.append(
            index(str(texts), formats=(".txt",), shuffle=shuffle, seed=3, **given)
        )
    (paths, labels, names), wanted = found
    assert paths == wanted[0]
    assert names == wanted[2]
    same = labels is None and wanted[1] is None
    assert same or labels.tolist() == list(wanted[1])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == lines[1]


def test_texts_and_labels_come_in_batches(texts):
    made = text_dataset_from_directory(
        texts, batch_size=5, max_length=3, shuffle=False, verbose=False
    )
    assert made.class_names == ["a", "b", "c"]
    assert len(made) == 3
    x, y = made[0]
    assert x.tolist() == ["a 0", "a 1", "a 2", "a d", "b 0"]
    assert y.tolist() == [0, 0, 0, 0, 1]
    assert y.dtype == "int32"


@pytest.mark.parametrize(
    ("mode", "wanted"),
    [("binary", [[0.0], [1.0]]), ("categorical", [[1.0, 0.0], [0.0, 1.0]])],
)
def test_labels_are_encoded(texts, mode, wanted):
    made = text_dataset_from_directory(
        texts, label_mode=mode, class_names=["b", "a"], shuffle=False, verbose=False
    )
    (_, y), *rest = made
    assert not rest
    assert y[[0, -1]].tolist() == wanted
    assert y.dtype == "float32"


def test_without_labels_or_batches_items_are_single_texts(texts):
    made = text_dataset_from_directory(
        texts, labels=None, batch_size=None, shuffle=False, verbose=False
    )
    assert len(made) == 16
    assert made.class_names is None
    assert next(iter(made)) == ".hidden 0"


def test_the_two_parts_of_a_split_share_no_file(texts, capsys):
    args = {"validation_split": 0.3, "seed": 1, "batch_size": None}
    train, check = text_dataset_from_directory(texts, subset="both", **args)
    alone = text_dataset_from_directory(texts, subset="validation", **args)
    assert "Using 9 files for training." in capsys.readouterr().out
    assert alone.file_paths == check.file_paths
    assert not {*train.file_paths} & {*check.file_paths}
    assert len(train) + len(check) == 12


def test_training_shuffles_each_epoch_anew(texts):
    made = text_dataset_from_directory(texts, seed=1, verbose=False, batch_size=12)
    before = made[0][0].tolist()
    made.on_epoch_end()
    after = made[0][0].tolist()
    assert before != after
    assert sorted(before) == sorted(after)


def test_a_model_trains_on_texts_in_folders(texts):
    made = text_dataset_from_directory(texts, batch_size=4, seed=0, verbose=False)
    vectorize = layers.TextVectorization(output_mode="multi_hot")
    vectorize.adapt(made.map(lambda x, y: x))
    dense = layers.Dense(3)
    model = kerasnb.Sequential([layers.Input((1,), dtype="string"), vectorize, dense])
    loss = kerasnb.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(kerasnb.optimizers.Adam(0.1), loss, metrics=["accuracy"])
    history = model.fit(made, epochs=15, verbose=0).history
    assert history["accuracy"][-1] == 1
    assert [len(x) for x, _ in made.take(2)] == [4, 4]


def write_wave(path, samples, rate=8000, width=2):
    with wave.open(str(path), "wb") as file:
        file.setnchannels(samples.shape[1])
        file.setsampwidth(width)
        file.setframerate(rate)
        file.writeframes(samples.tobytes())


def test_sounds_are_read_and_filled_up(tmp_path):
    (tmp_path / "a").mkdir()
    sound = np.array([[0, 2**14], [-(2**15), 2**15 - 1], [1, 2]], "<i2")
    write_wave(tmp_path / "a" / "0.wav", sound)
    write_wave(tmp_path / "a" / "1.wav", sound[:1])
    args = {"shuffle": False, "verbose": False}
    x, y = audio_dataset_from_directory(tmp_path, **args)[0]
    np.testing.assert_array_equal(x[0], sound / 2**15)
    np.testing.assert_array_equal(x[1], [[0, 0.5], [0, 0], [0, 0]])
    assert y.tolist() == [0, 0]
    args["output_sequence_length"] = 2
    assert audio_dataset_from_directory(tmp_path, **args)[0][0].shape == (2, 2, 2)


def test_a_tone_keeps_its_pitch_at_another_rate(tmp_path):
    (tmp_path / "a").mkdir()
    time = np.arange(8000) / 8000
    tone = np.sin(2 * np.pi * 440 * time)[:, None] * 2**14
    write_wave(tmp_path / "a" / "0.wav", tone.astype("<i2"))
    made = audio_dataset_from_directory(
        tmp_path, sampling_rate=6000, batch_size=None, verbose=False
    )
    x, _ = made[0]
    assert x.shape == (6000, 1)
    assert np.argmax(np.abs(np.fft.rfft(x[:, 0]))) == 440


@pytest.mark.parametrize(
    ("args", "words"),
    [
        ({"label_mode": "float"}, "`label_mode` must be"),
        ({"label_mode": "binary"}, "unless there are two classes"),
        ({"labels": "names"}, "`labels` must be"),
        ({"labels": [1, 2]}, "2 labels and .* has 16 files"),
        ({"labels": None, "class_names": ["a"]}, "`class_names` must be"),
        ({"class_names": ["d"]}, "names of folders"),
        ({"subset": "training"}, "`subset` must be given exactly"),
        ({"subset": "test", "validation_split": 0.5}, "`subset` must be one of"),
        ({"subset": "both", "validation_split": 1.5}, "between 0 and 1"),
        ({"subset": "both", "validation_split": 0.5}, "`seed` must be given"),
        ({"subset": "both", "validation_split": 0.01, "seed": 1}, "no validation"),
        ({"format": "torch"}, "`format` must be"),
    ],
)
def test_a_wrong_argument_is_named(texts, args, words):
    with pytest.raises(ValueError, match=words):
        text_dataset_from_directory(texts, **args, verbose=False)


def test_a_folder_that_cannot_be_used_is_explained(tmp_path):
    with pytest.raises(ValueError, match="a folder that exists"):
        text_dataset_from_directory(tmp_path / "none")
    (tmp_path / "a").mkdir()
    with pytest.raises(ValueError, match=r"no files that end in \.txt"):
        text_dataset_from_directory(tmp_path, verbose=False)
    write_wave(tmp_path / "a" / "0.wav", np.zeros((2, 1), "u1"), width=1)
    with pytest.raises(ValueError, match="of 16 bits"):
        audio_dataset_from_directory(tmp_path, verbose=False)[0]
    with pytest.raises(ValueError, match="`ragged` must be False"):
        audio_dataset_from_directory(tmp_path, ragged=True)


def test_a_dataset_is_split_in_two():
    x, y = np.arange(10), np.arange(10) * 2
    left, right = split_dataset((x, y), left_size=0.7)
    assert [tuple(map(int, item)) for item in right] == [(7, 14), (8, 16), (9, 18)]
    first, _ = left.batch(4)
    assert [a.tolist() for a in first] == [[0, 1, 2, 3], [0, 2, 4, 6]]
    a, b = split_dataset(x, left_size=3, right_size=2, shuffle=True, seed=0)
    assert (len(a), len(b)) == (3, 2)
    assert not {*map(int, a)} & {*map(int, b)}
    again, _ = split_dataset(x, left_size=3, right_size=2, shuffle=True, seed=0)
    assert [*map(int, a)] == [*map(int, again)] != [0, 1, 2]


def test_the_parts_of_a_dataset_of_batches_are_batches(texts):
    made = text_dataset_from_directory(
        texts, batch_size=5, shuffle=False, verbose=False
    )
    left, right = split_dataset(made, right_size=2)
    assert [len(x) for x, _ in left] == [5, 5]
    assert right[0][0].tolist() == ["c 2", "c deep"]


@pytest.mark.parametrize(
    ("args", "words"),
    [
        ({}, "give `left_size` or"),
        ({"left_size": 1.5}, "`left_size` must be"),
        ({"right_size": 10}, "`right_size` must be"),
        ({"left_size": 0.9, "right_size": 0.5}, "at most 10 samples"),
        ({"left_size": 0.01}, "neither part is empty"),
    ],
)
def test_sizes_that_do_not_fit_are_explained(args, words):
    with pytest.raises(ValueError, match=words):
        split_dataset(np.arange(10), **args)
