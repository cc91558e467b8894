"""kerasnb.saving.safetensors"""

import json

import jax.numpy as jnp
import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

import kerasnb as nb
from kerasnb import layers

# The places of the layers, and the names of the variables in each.
NAMES = {
    "layers/dense": ("kernel", "bias"),
    "layers/batch_normalization": ("gamma", "beta", "moving_mean", "moving_variance"),
    "layers/dense_1": ("kernel", "bias"),
}


def small(units=2, name="small"):
    return nb.Sequential(
        [
            nb.Input((3,)),
            layers.Dense(4, name="hidden"),
            layers.BatchNormalization(name="norm"),
            layers.Dense(units, name="out"),
        ],
        name=name,
    )


def tensors(model):
    """The weights as the file is to name them."""
    places = zip(model.layers, NAMES, strict=True)
    return {f"{p}/{v.name}": v.numpy() for layer, p in places for v in layer.weights}


def emptied(model):
    for weight in model.weights:
        weight.assign(weight.value * 0 - 1)
    return model


def same(found, wanted):
    assert found.keys() == wanted.keys()
    for name, value in wanted.items():
        np.testing.assert_array_equal(found[name], value, name)


@pytest.fixture(scope="module")
def model():
    return small()


def test_other_programs_read_what_is_written(model, tmp_path):
    model.compile("adam", "mse")  # whose state stays out of the file
    model.optimizer.build(model.trainable_variables)
    model.save_weights(path := tmp_path / "m.safetensors")
    same(load_file(path), tensors(model))
    assert {f"{p}/{n}" for p, names in NAMES.items() for n in names} == {
        *tensors(model)
    }
    with safe_open(path, "np") as file:
        assert file.metadata() == {"format": "kerasnb"}


def test_a_model_made_again_finds_its_weights(model, tmp_path):
    model.save_weights(path := tmp_path / "m.safetensors")
    again = emptied(small(name="another"))
    again.compile("adam", "mse")
    again.load_weights(path)
    same(tensors(again), tensors(model))


def test_files_of_other_programs_are_read(model, tmp_path):
    halves = {name: x.astype("float16") for name, x in tensors(model).items()}
    save_file(halves | {"other": np.ones(3)}, path := tmp_path / "m.safetensors")
    again = emptied(small())
    again.load_weights(path)
    same(tensors(again), {name: x.astype("float32") for name, x in halves.items()})


DTYPES = "bfloat16 float8_e4m3fn float8_e5m2 float16 int8 uint32 bool".split()


def test_numbers_of_every_kind_travel(tmp_path):
    class Holder(layers.Layer):
        def __init__(self):
            super().__init__(name="h")
            for dtype in DTYPES:
                self.add_weight((1, 3), "ones", dtype, trainable=False, name=dtype)
            self.add_weight((), "ones", trainable=False, name="one_number")
            self.add_weight((0, 2), "ones", trainable=False, name="none")

        def call(self, x):
            return x

    model = nb.Sequential([nb.Input((2,)), holder := Holder()])
    saved = {v.name: v.numpy() for v in holder.weights}
    model.save_weights(path := tmp_path / "m.safetensors")
    with safe_open(path, "np") as file:
        slices = {name: file.get_slice(f"layers/holder/{name}") for name in saved}
        shapes = {name: tuple(s.get_shape()) for name, s in slices.items()}
        assert shapes == {name: x.shape for name, x in saved.items()}
        assert slices["float8_e4m3fn"].get_dtype() == "F8_E4M3"
        assert file.get_tensor("layers/holder/bfloat16").dtype == jnp.bfloat16
    emptied(model).load_weights(path)
    same({v.name: v.numpy() for v in holder.weights}, saved)


def test_variables_of_one_name_are_numbered(tmp_path):
    class Twins(layers.Layer):
        def __init__(self):
            super().__init__()
            for value in ("zeros", "ones"):
                self.add_weight((2,), value, name="twin")

        def call(self, x):
            return x

    model = nb.Sequential([nb.Input((2,)), twins := Twins()])
    model.save_weights(path := tmp_path / "m.safetensors")
    assert {*load_file(path)} == {"layers/twins/twin", "layers/twins/twin_1"}
    emptied(model).load_weights(path)
    assert [v.numpy().tolist() for v in twins.weights] == [[0, 0], [1, 1]]


# --- Several files --------------------------------------------------------------------

SMALL = 64 / 1024**3  # gigabytes: a few weights in each file


@pytest.mark.parametrize("name", ["m.safetensors", "m.safetensors.index.json"])
def test_weights_travel_in_several_files(name, model, tmp_path):
    model.save_weights(tmp_path / name, max_shard_size=SMALL)
    shards = sorted(tmp_path.glob("m-*.safetensors"))
    assert (
        len(shards) > 2 and shards[0].name == f"m-00001-of-{len(shards):05}.safetensors"
    )
    listing = json.loads((tmp_path / "m.safetensors.index.json").read_text())
    wanted = tensors(model)
    assert listing["metadata"]["total_size"] == sum(x.nbytes for x in wanted.values())
    found = {}
    for path in shards:
        inside = load_file(path)
        assert sum(x.nbytes for x in inside.values()) <= 64
        assert {listing["weight_map"][tensor] for tensor in inside} == {path.name}
        found |= inside
    same(found, wanted)
    again = emptied(small())
    again.load_weights(tmp_path / name)
    same(tensors(again), wanted)


def test_one_file_is_enough_for_few_weights(model, tmp_path):
    model.save_weights(tmp_path / "m.safetensors", max_shard_size=1)
    assert [path.name for path in tmp_path.iterdir()] == ["m.safetensors"]


def test_a_tensor_larger_than_a_file_is_named(model, tmp_path):
    sentence = "layers/dense/kernel takes 48.00 B, more than a file"
    with pytest.raises(ValueError, match=sentence):
        model.save_weights(tmp_path / "m.safetensors", max_shard_size=40 / 1024**3)
    assert list(tmp_path.iterdir()) == []


# --- What does not fit ----------------------------------------------------------------

MISFITS = {
    "another shape": (
        lambda found: found | {"layers/dense_1/kernel": np.zeros((4, 5), "float32")},
        r"Dense `out`: .*has shape \(4, 2\) .*\(4, 5\). Nothing was changed",
    ),
    "a tensor is missing": (
        lambda found: {k: v for k, v in found.items() if k != "layers/dense_1/bias"},
        "Dense `out`: the file has no tensor 'layers/dense_1/bias'.* Nothing was",
    ),
    "another model": (
        lambda found: {f"bert.{name}": value for name, value in found.items()},
        "none of the weights of `small`: .*'layers/dense/kernel' and 7 more, the file",
    ),
    "nothing": (lambda found: {}, "the file has 'nothing'"),
}


@pytest.mark.parametrize(("change", "sentence"), MISFITS.values(), ids=MISFITS)
def test_nothing_is_changed_when_something_does_not_fit(
    change, sentence, model, tmp_path
):
    save_file(change(tensors(model)), path := tmp_path / "m.safetensors")
    again = emptied(small())
    before = tensors(again)
    with pytest.raises(ValueError, match=sentence):
        again.load_weights(path)
    same(tensors(again), before)


def test_layers_that_do_not_fit_can_be_left_alone(model, tmp_path):
    model.save_weights(path := tmp_path / "m.safetensors")
    other = emptied(small(units=5))
    before = tensors(other)
    with pytest.warns(UserWarning, match=r"Dense `out`.*keep the values they had"):
        other.load_weights(path, skip_mismatch=True)
    wanted = tensors(model) | {n: before[n] for n in before if "dense_1" in n}
    same(tensors(other), wanted)


def test_objects_can_be_left_out(model, tmp_path):
    hidden = model.get_layer("hidden")
    path = tmp_path / "m.safetensors"
    nb.saving.save_weights(model, path, objects_to_skip=[hidden])
    assert not any(name.startswith("layers/dense/") for name in load_file(path))
    again = emptied(small())
    nb.saving.load_weights(again, path, objects_to_skip=[again.get_layer("hidden")])
    assert (again.get_layer("hidden").kernel.numpy() == -1).all()
    assert (again.get_layer("norm").gamma.numpy() == 1).all()


def test_numbers_that_the_format_lacks_are_named(model, tmp_path):
    class Wide(layers.Layer):
        def save_own_variables(self, store):
            store["wave"] = np.ones(2, "complex128")

    sentence = "cannot hold the complex128 numbers of wave; .*weights.h5"
    layer = Wide()
    layer.built = True
    with pytest.raises(ValueError, match=sentence):
        nb.saving.save_weights(layer, tmp_path / "m.safetensors")
    assert list(tmp_path.iterdir()) == []


# --- Files that cannot be what they say -----------------------------------------------


def raw(header, data=b""):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


def fact(shape, begin, end, dtype="F32"):
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


BROKEN = {
    "nothing in it": (b"", "header would be longer"),
    "a header beyond the end": (b"\xff" * 8 + b"{}", "header would be longer"),
    "no JSON": (raw(b"{nonsense"), "the header of .* is not JSON"),
    "a list": (raw(b"[1]"), "is not a table"),
    "a name twice": (
        raw(b'{"a": {"dtype": "F32"}, "a": {"dtype": "F32"}}'),
        "says 'a' twice",
    ),
    "an unknown kind of number": (raw({"a": fact([1], 0, 4, "PICKLE")}), "'a' as"),
    "half a description": (raw({"a": {"dtype": "F32"}}), "describes 'a' as"),
    "a shape larger than its bytes": (
        raw({"a": fact([10**9, 10**9], 0, 4)}, b"1234"),
        "describes 'a' as",
    ),
    "a negative place": (raw({"a": fact([1], -4, 0)}), "describes 'a' as"),
    "a number that is true": (raw({"a": fact([True], 0, 4)}, b"1234"), "describes 'a'"),
    "bytes shared": (
        raw({"a": fact([1], 0, 4), "b": fact([1], 0, 4)}, b"1234"),
        "overlap or leave gaps",
    ),
    "a gap": (raw({"a": fact([1], 4, 8)}, b"12345678"), "overlap or leave gaps"),
    "cut off": (raw({"a": fact([2], 0, 8)}, b"1234"), "was cut off or altered"),
    "more behind": (raw({"a": fact([1], 0, 4)}, b"12345678"), "take 4.00 B and .* 8"),
}


@pytest.mark.parametrize(("content", "sentence"), BROKEN.values(), ids=BROKEN)
def test_broken_files_are_refused(content, sentence, model, tmp_path):
    (path := tmp_path / "m.safetensors").write_bytes(content)
    before = tensors(model)
    with pytest.raises(ValueError, match=sentence) as caught:
        model.load_weights(path)
    assert "m.safetensors" in str(caught.value)
    same(tensors(model), before)


INDICES = {
    "no table": ([], "needs a `weight_map`"),
    "a path": ({"weight_map": {"a": "../m.safetensors"}}, "is no file beside it"),
    "a number": ({"weight_map": {"a": 1}}, "is no file beside it"),
    "another kind": ({"weight_map": {"a": "m.pickle"}}, "is no file beside it"),
    "a tensor elsewhere": (
        {"weight_map": {"a": "one.safetensors"}},
        "'a' is not in one.safetensors",
    ),
    "a file that is missing": (
        {"weight_map": {"a": "two.safetensors"}},
        "there is no file .*two.safetensors",
    ),
}


@pytest.mark.parametrize(("content", "sentence"), INDICES.values(), ids=INDICES)
def test_broken_indices_are_refused(content, sentence, model, tmp_path):
    save_file({"b": np.ones(1)}, tmp_path / "one.safetensors")
    (path := tmp_path / "m.safetensors.index.json").write_text(json.dumps(content))
    with pytest.raises((ValueError, FileNotFoundError), match=sentence):
        model.load_weights(path)


def test_a_missing_file_is_a_missing_file(model, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no file .*m.safetensors"):
        model.load_weights(tmp_path / "m.safetensors")
