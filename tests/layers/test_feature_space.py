"""kerasnb.utils.FeatureSpace: columns of a table as one vector."""

import json
from pathlib import Path

import numpy as np
import pytest

import kerasnb
from kerasnb import layers
from kerasnb.utils import FeatureSpace

# Written by this file, run as a program where Keras 3.15.1 and tensorflow-cpu 2.21 are
# installed: `python -m tests.layers.test_feature_space`.
FILE = Path(__file__).parents[1] / "files" / "feature_space.json"
TABLE = {
    "age": np.array([20.0, 30.0, 40.0, 60.0, 35.0, 25.0], "float32"),
    "size": np.array([1.0, 2.0, 3.0, 4.0, 5.0, 6.0], "float32"),
    "kind": np.array(["a", "b", "a", "c", "a", "b"]),
    "zip": np.array([7, 8, 7, 7, 9, 9]),
    "raw": np.array([0.5, 1.5, 2.5, 3.5, 4.5, 5.5], "float32"),
    "word": np.array(["x", "y", "z", "x", "y", "z"]),
    "code": np.array([1, 2, 3, 4, 5, 6]),
    "half": np.array([2.0, 4.0, 6.0, 8.0, 10.0, 12.0], "float32"),
}


def space_of(cls, output_mode="concat"):
    return cls(
        features={
            "age": "float_normalized",
            "size": cls.float_discretized(num_bins=3),
            "kind": "string_categorical",
            "zip": cls.integer_categorical(num_oov_indices=2),
            "raw": "float",
            "word": cls.string_hashed(4),
            "code": "integer_hashed",
            "half": cls.float_rescaled(0.5, 1.0),
        },
        crosses=[("kind", "zip"), cls.cross(("word", "code"), crossing_dim=5)],
        crossing_dim=6,
        hashing_dim=7,
        output_mode=output_mode,
    )


def unseen():
    """The table with a row of what was not adapted to."""
    new = {"kind": "q", "zip": 1, "word": "w"}
    return {k: np.append(v, [new.get(k, 50)]).astype(v.dtype) for k, v in TABLE.items()}


@pytest.fixture
def space():
    made = space_of(FeatureSpace)
    made.adapt(TABLE)
    return made


def test_the_vector_is_that_of_keras(space):
    wanted = json.loads(FILE.read_text("utf-8"))
    np.testing.assert_allclose(space(unseen()), wanted["concat"], 1e-5, 1e-6)
    apart = space_of(FeatureSpace, "dict")
    apart.adapt(TABLE)
    found = apart(unseen())
    assert {*found} == {*wanted["dict"]}
    for name, values in wanted["dict"].items():
        np.testing.assert_allclose(found[name], values, 1e-5, 1e-6, err_msg=name)


def test_single_values_make_a_single_vector(space):
    one = {name: column[2].item() for name, column in TABLE.items()}
    np.testing.assert_allclose(space(one), space(TABLE)[2], 1e-6)


def test_a_frame_and_a_dataset_are_learned_from_as_a_dict_is(space):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(TABLE)
    batches = [({k: v[i : i + 4] for k, v in TABLE.items()}, 0) for i in (0, 4)]
    for data in (frame, batches):
        other = space_of(FeatureSpace)
        other.adapt(data)
        names = ("age", "kind", "zip")
        for name in names:
            mine, wanted = other.preprocessors[name], space.preprocessors[name]
            assert mine.get_config() == wanted.get_config() | {
                "name": mine.get_config()["name"]
            }
    np.testing.assert_array_equal(space(frame), space(TABLE))


def test_the_two_ends_of_it_make_models(space, tmp_path):
    inputs, encoded = space.get_inputs(), space.get_encoded_features()
    out = layers.Dense(1)(encoded)
    trained, whole = kerasnb.Model(encoded, out), kerasnb.Model(inputs, out)
    trained.compile("adam", "mse")
    trained.fit(np.asarray(space(TABLE)), np.arange(6.0), verbose=0)
    wanted = trained.predict(np.asarray(space(TABLE)), verbose=0)
    np.testing.assert_allclose(whole.predict(TABLE, verbose=0), wanted, 1e-5, 1e-6)
    whole.save(tmp_path / "m.keras")
    again = kerasnb.models.load_model(tmp_path / "m.keras")
    np.testing.assert_allclose(again.predict(TABLE, verbose=0), wanted, 1e-5, 1e-6)


def test_it_is_saved_with_what_it_has_learned(space, tmp_path):
    space.save(tmp_path / "space.keras")
    again = kerasnb.models.load_model(tmp_path / "space.keras")
    assert isinstance(again, FeatureSpace)
    np.testing.assert_array_equal(again(unseen()), space(unseen()))


def test_a_feature_may_have_a_layer_of_its_own():
    text = layers.TextVectorization(output_mode="multi_hot")
    made = FeatureSpace(
        {
            "text": FeatureSpace.feature("string", text, output_mode="float"),
            "size": FeatureSpace.float_discretized(None, bin_boundaries=[0.0, 1.0]),
        }
    )
    made.adapt({"text": ["a b", "b"], "size": [0.0, 2.0]})
    assert made({"text": ["b"], "size": [0.5]}).tolist() == [[0, 1, 0, 0, 1, 0]]


def test_nothing_to_learn_needs_no_adapt():
    made = FeatureSpace({"a": "float", "b": "integer_hashed"}, hashing_dim=3)
    assert made({"a": [1.0], "b": [2]}).shape == (1, 4)


def test_mistakes_are_explained(space):
    with pytest.raises(ValueError, match='Did you mean "float_normalized"'):
        FeatureSpace({"a": "float_normalised"})
    with pytest.raises(ValueError, match="a feature or more"):
        FeatureSpace({})
    with pytest.raises(ValueError, match='Did you mean "age"'):
        FeatureSpace({"age": "float"}, crosses=[("age", "ag")])
    with pytest.raises(ValueError, match="adapt"):
        space_of(FeatureSpace)(TABLE)
    with pytest.raises(ValueError, match="needs the column `age`"):
        space({"kind": ["a"]})
    with pytest.raises(ValueError, match="a dict of columns"):
        space([1, 2])
    with pytest.raises(ValueError, match="cannot be one-hot"):
        FeatureSpace(
            {"a": FeatureSpace.feature("float32", layers.Identity(), "one_hot")}
        ).get_inputs()
    with pytest.raises(ValueError, match='output_mode="dict"'):
        FeatureSpace({"a": FeatureSpace.integer_hashed(3, "int")}).get_inputs()


if __name__ == "__main__":
    from keras.utils import FeatureSpace as Reference

    answers = {}
    for mode in ("concat", "dict"):
        made = space_of(Reference, mode)
        made.adapt(TABLE)
        out = made(unseen())
        numbers = out if mode == "dict" else {"": out}
        lists = {k: np.asarray(v).round(7).tolist() for k, v in numbers.items()}
        answers[mode] = lists if mode == "dict" else lists[""]
    FILE.write_text(json.dumps(answers) + "\n", "utf-8")
