"""kerasnb.export: files that run without the model, and agree with it"""

import os
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import kerasnb as keras
from kerasnb import layers, ops

ROOT = Path(__file__).parents[2]


def image():
    return keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            layers.Conv2D(4, 3, padding="same", activation="relu"),
            layers.BatchNormalization(),
            layers.MaxPooling2D(),
            layers.Dropout(0.5),
            layers.Flatten(),
            layers.Dense(3, activation="softmax"),
        ],
        name="image",
    )


def words():
    return keras.Sequential(
        [
            keras.Input((None,), dtype="int32"),
            layers.Embedding(9, 4, mask_zero=True),
            layers.LSTM(3),
        ]
    )


def several():
    a, b = keras.Input((4,), name="a"), keras.Input((3,), dtype="int32", name="b")
    both = layers.Concatenate()([a, layers.Flatten()(layers.Embedding(5, 2)(b))])
    outputs = {"price": layers.Dense(1)(both), "kind": [layers.Dense(2)(both)]}
    return keras.Model({"a": a, "b": b}, outputs)


def listed():
    a, b = keras.Input((4,)), keras.Input((4,))
    return keras.Model([a, b], layers.Add()([a, b]))


def mixed():
    inputs = keras.Input((4,))
    x = layers.Dense(8, dtype="mixed_bfloat16")(inputs)
    return keras.Model(inputs, layers.Dense(2, dtype="float32")(x))


def half():
    inputs = keras.Input((4,))
    return keras.Model(inputs, layers.Dense(2, dtype="bfloat16")(inputs))


class Own(keras.Model):
    def __init__(self):
        super().__init__()
        self.dense = layers.Dense(2)

    def call(self, x):
        return self.dense(x) + 1


def subclassed():
    model = Own()
    model(np.ones((5, 4), "float32"))
    return model


MODELS = {
    image: ("float32 (batch, 8, 8, 1)", "float32 (batch, 3)"),
    words: ("int32 (batch, size1)", "float32 (batch, 3)"),
    several: (
        "{a: float32 (batch, 4), b: int32 (batch, 3)}",
        "{kind: [float32 (batch, 2)], price: float32 (batch, 1)}",
    ),
    listed: ("[float32 (batch, 4), float32 (batch, 4)]", "float32 (batch, 4)"),
    mixed: ("float32 (batch, 4)", "float32 (batch, 2)"),
    half: ("float32 (batch, 4)", "bfloat16 (batch, 2)"),
    subclassed: ("float32 (batch, 4)", "float32 (batch, 2)"),
}


def sample(spec, rows, rng):
    """Inputs like those that a program says it takes."""
    if isinstance(spec, dict):
        return {name: sample(one, rows, rng) for name, one in spec.items()}
    if isinstance(spec, list):
        return [sample(one, rows, rng) for one in spec]
    shape = [rows, *(n if isinstance(n, int) else 6 for n in spec.shape[1:])]
    if jnp.issubdtype(spec.dtype, jnp.floating):
        return rng.normal(size=shape).astype("float32")
    return rng.integers(0, 5, shape)


@pytest.mark.parametrize("make", MODELS)
def test_a_file_answers_as_its_model_does(make, tmp_path, rng):
    model = make()
    found = model.export(tmp_path / "model.stablehlo")
    assert (found.inputs, found.outputs) == MODELS[make]
    assert found.batch is None and found.notes == [] and found.difference < 1e-5
    assert found.size == found.path.stat().st_size
    program = keras.export.load(found.path)
    x = sample(program.inputs, 5, rng)
    mine, theirs = model(x, training=False), program(x)
    assert jax.tree.structure(mine) == jax.tree.structure(theirs)
    for a, b in zip(jax.tree.leaves(mine), jax.tree.leaves(theirs), strict=True):
        assert a.dtype == b.dtype
        limit = 1e-2 if make in (mixed, half) else 1e-5
        np.testing.assert_allclose(
            np.asarray(a, "float32"), np.asarray(b, "float32"), limit, limit
        )


def test_training_goes_on_and_the_file_stays_as_it_was(tmp_path):
    model = keras.Sequential([keras.Input((2,)), layers.Dense(3)])
    x = np.ones((4, 2), "float32")
    program = keras.export.load(model.export(tmp_path / "a.stablehlo").path)
    before = np.asarray(program(x))
    model.compile("sgd", "mse")
    model.fit(x, np.zeros((4, 3)), verbose=0)
    assert np.array_equal(program(x), before)
    assert not np.allclose(model(x), before)


def test_a_process_without_the_classes_runs_the_file(tmp_path):
    @keras.saving.register_keras_serializable("tests")
    class Twice(keras.layers.Layer):
        def call(self, x):
            return 2 * x

    inputs = keras.Input((2,))
    found = keras.Model(inputs, Twice()(inputs)).export(tmp_path / "twice.stablehlo")
    code = (
        "import sys, jax, numpy as np\n"
        "data = open(sys.argv[1], 'rb').read()\n"
        "program = jax.export.deserialize(bytearray(data))\n"
        "print(program.call(np.ones((3, 2), 'float32')).tolist())\n"
        "assert 'kerasnb' not in sys.modules\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", code, found.path],
        capture_output=True,
        text=True,
        env={**os.environ, "JAX_PLATFORMS": "cpu"},
        check=True,
    )
    assert run.stdout.strip() == str([[2.0, 2.0]] * 3)


# --- What does not allow any size -----------------------------------------------------


class Counts(layers.Layer):
    """A layer that needs to know the number of rows."""

    def call(self, x):
        return ops.reshape(x, (int(x.shape[0]) * 2, -1))

    def compute_output_spec(self, x):
        return keras.KerasTensor(x.shape, x.dtype)


class Rows(layers.Layer):
    """A layer that needs the number of rows, and treats each by itself."""

    def call(self, x):
        return jnp.stack([x[i] * 2 for i in range(int(x.shape[0]))])

    def compute_output_spec(self, x):
        return keras.KerasTensor(x.shape, x.dtype)


def test_code_that_counts_rows_is_traced_for_each_row(tmp_path):
    inputs = keras.Input((4,))
    model = keras.Model(inputs, Rows()(inputs))
    found = model.export(tmp_path / "rows.stablehlo")
    assert found.batch is None
    x = np.arange(12, dtype="float32").reshape(3, 4)
    assert np.array_equal(keras.export.load(found.path)(x), 2 * x)


def test_code_that_mixes_rows_gets_a_fixed_batch_and_says_so(tmp_path):
    inputs = keras.Input((4,))
    model = keras.Model(inputs, Counts()(inputs))
    found = model.export(tmp_path / "counts.stablehlo", batch=6)
    assert found.batch == 6 and found.inputs == "float32 (6, 4)"
    program = keras.export.load(found.path)
    assert program(np.ones((6, 4))).shape == (12, 2)
    with pytest.raises(ValueError, match=r"takes float32 \(6, 4\) and got .*\(5, 4\)"):
        program(np.ones((5, 4)))
    found = model.export(tmp_path / "counts.stablehlo")
    assert found.batch == 1 and "fixed at 1: the model's code" in " ".join(found.notes)


def test_pictures_of_any_size_are_those_with_room_for_the_windows(tmp_path):
    inputs = keras.Input((None, None, 1))
    x = layers.MaxPooling2D()(layers.Conv2D(2, 3)(inputs))
    model = keras.Model(inputs, layers.GlobalAveragePooling2D()(x))
    program = keras.export.load(model.export(tmp_path / "any.stablehlo").path)
    x = np.ones((2, 33, 40, 1))
    assert np.allclose(program(x), model(x), atol=1e-6)
    with pytest.raises(ValueError, match="with size1 from 32 up, and got"):
        program(np.ones((2, 8, 40, 1)))


def test_what_one_kind_of_device_alone_computes_is_written_for_it(tmp_path):
    class Eigenvalues(layers.Layer):
        def call(self, x):
            return jnp.linalg.eigvals(x).real

    inputs = keras.Input((3, 3))
    model = keras.Model(inputs, Eigenvalues()(inputs))
    found = model.export(tmp_path / "eigenvalues.stablehlo")
    assert found.batch is None and found.notes[0].startswith("It runs on cpu alone")
    x = np.stack([np.diag([1.0, 2.0, 3.0])] * 2)
    assert np.allclose(keras.export.load(found.path)(x), [[1, 2, 3]] * 2)


# --- What cannot be written -----------------------------------------------------------


def test_a_file_that_answers_otherwise_is_an_error_and_does_not_stay(tmp_path):
    calls = []

    class Moody(layers.Layer):
        def call(self, x):
            calls.append(0)
            return x + len(calls)

    inputs = keras.Input((2,))
    model = keras.Model(inputs, Moody()(inputs))
    old = tmp_path / "moody.stablehlo"
    old.write_bytes(b"before")
    with pytest.raises(ValueError, match="the file's answers are not those of"):
        model.export(old)
    assert [path.name for path in tmp_path.iterdir()] == [old.name]
    assert old.read_bytes() == b"before"


def test_random_numbers_of_a_call_are_told_of(tmp_path):
    class Noisy(layers.Layer):
        def __init__(self):
            super().__init__()
            self.generator = keras.random.SeedGenerator(3)

        def call(self, x):
            return x + keras.random.normal(ops.shape(x), seed=self.generator)

    inputs = keras.Input((2,))
    model = keras.Model(inputs, Noisy()(inputs))
    found = model.export(tmp_path / "noisy.stablehlo")
    assert "draws the same random numbers" in " ".join(found.notes)


REFUSED = [
    ({"filepath": "net.onnx"}, '"onnx" cannot be written yet'),
    ({"filepath": "net"}, "net has no ending that says what to write"),
    ({"filepath": "net", "format": "tf_saved_model"}, r'model.export\("net.stablehlo"'),
    ({"filepath": "net", "format": "stablhlo"}, 'Did you mean "stablehlo"'),
    ({"filepath": "a/b.stablehlo"}, "there is no folder"),
    ({"filepath": "a.stablehlo", "batch": 0}, "`batch` must be a whole number above 0"),
    ({"filepath": "a.stablehlo", "input_signature": [3]}, "one keras.InputSpec"),
    ({"filepath": "a.stablehlo", "bach": 1}, 'no argument `bach`. Did you mean "batch'),
]


@pytest.mark.parametrize(("given", "words"), REFUSED)
def test_what_cannot_be_written_is_one_sentence(given, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises((ValueError, OSError, TypeError), match=words) as error:
        listed().export(**given)
    assert "\n" not in str(error.value) and list(tmp_path.iterdir()) == []


def test_layers_on_text_are_named(tmp_path):
    inputs = keras.Input((1,), dtype="string")
    found = layers.StringLookup(vocabulary=["a", "b"], name="find")(inputs)
    model = keras.Model(inputs, layers.Embedding(4, 2)(found))
    with pytest.raises(ValueError, match=r"layer `find` \(StringLookup\)"):
        model.export(tmp_path / "text.stablehlo")


def test_a_model_that_knows_no_inputs_takes_a_signature(tmp_path):
    model = Own()
    with pytest.raises(ValueError, match="does not know its inputs yet"):
        model.export(tmp_path / "own.stablehlo")
    signature = [keras.InputSpec(shape=(None, 4), dtype="float32")]
    model(np.ones((2, 4)))
    found = model.export(tmp_path / "own.stablehlo", input_signature=signature)
    assert found.inputs == "float32 (batch, 4)"


def test_code_that_cannot_be_traced_says_what_it_met(tmp_path):
    class Chooses(layers.Layer):
        def call(self, x):
            return x if float(x.sum()) > 0 else -x

        def compute_output_spec(self, x):
            return keras.KerasTensor(x.shape, x.dtype)

    inputs = keras.Input((2,))
    model = keras.Model(inputs, Chooses()(inputs))
    with pytest.raises(ValueError, match="cannot be written as one program"):
        model.export(tmp_path / "chooses.stablehlo")


# --- Reading --------------------------------------------------------------------------


def test_what_is_no_exported_file_is_refused_in_one_sentence(tmp_path, rng):
    whole = listed().export(tmp_path / "good.stablehlo").path.read_bytes()
    bad = {
        "nothing": b"",
        "noise": rng.bytes(3000),
        "half": whole[: len(whole) // 2],
        "altered": whole[:700] + bytes([whole[700] ^ 1]) + whole[701:],
        "a pickle": b"\x80\x04\x95\x00c__main__\nboom\n.",
    }
    for name, data in bad.items():
        path = tmp_path / name
        path.write_bytes(data)
        with pytest.raises(ValueError, match="is not an exported program") as error:
            keras.export.load(path)
        assert "\n" not in str(error.value)
    with pytest.raises(FileNotFoundError, match="does not exist"):
        keras.export.load(tmp_path / "none.stablehlo")


@pytest.mark.parametrize(
    ("x", "words"),
    [
        ({"a": np.ones((2, 4))}, "in this structure"),
        ([np.ones((2, 4))], "in this structure"),
        ({"a": np.ones((2, 5)), "b": np.ones((2, 3))}, r"got the shape \(2, 5\)"),
        ({"a": "text", "b": np.ones((2, 3))}, "not str"),
    ],
)
def test_wrong_inputs_of_a_program_are_one_sentence(x, words, tmp_path):
    program = keras.export.load(several().export(tmp_path / "s.stablehlo").path)
    with pytest.raises(ValueError, match=words):
        program(x)


def test_a_program_takes_lists_and_numbers_of_other_kinds(tmp_path):
    program = keras.export.load(listed().export(tmp_path / "l.stablehlo").path)
    a = [[1, 2, 3, 4]]
    assert program((a, np.ones((1, 4)))).tolist() == [[2.0, 3.0, 4.0, 5.0]]


def test_the_result_says_what_was_done(tmp_path, capsys):
    found = subclassed().export(tmp_path / "own.stablehlo", verbose=True)
    text = capsys.readouterr().out
    assert text.strip() == repr(found)
    assert text.startswith("own, exported\n") and "batches  of any size" in text
    assert "compared with the model" in text
