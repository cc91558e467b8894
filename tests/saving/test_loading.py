"""What loading a `.keras` file costs: no first values, no copy of the file."""

import pickle
import zipfile
from copy import deepcopy as copy_of

import jax
import numpy as np
import pytest

import kerasnb as nb
from kerasnb import layers
from kerasnb.saving.files import Archive, DamagedFileError
from kerasnb.saving.weights import WEIGHTS

CALLS = []


@nb.saving.register_keras_serializable("loading")
class Counted(nb.initializers.Initializer):
    """Sevens; remembers the shapes that it was asked for."""

    def __call__(self, shape, dtype=None):
        CALLS.append(tuple(shape))
        return jax.numpy.full(shape, 7, dtype)


@nb.saving.register_keras_serializable("loading")
class Forgetful(layers.Layer):
    """A layer whose weight is not in the file."""

    def build(self, shape):
        self.weight = self.add_weight(shape[1:], "loading>Counted", name="weight")

    def call(self, x):
        return x * self.weight

    def save_own_variables(self, store):
        pass

    def load_own_variables(self, store):
        pass


@pytest.fixture
def saved(tmp_path):
    model = nb.Sequential(
        [
            nb.Input((3,)),
            layers.Dense(4, kernel_initializer=Counted(), bias_initializer=Counted()),
            Forgetful(),
        ]
    )
    model.save(path := tmp_path / "m.keras")
    CALLS.clear()
    return model, path


def test_first_values_of_weights_in_the_file_are_never_computed(saved):
    model, path = saved
    again = nb.models.load_model(path)
    assert CALLS == []
    np.testing.assert_array_equal(again.layers[0].kernel, model.layers[0].kernel)


def test_a_weight_that_the_file_lacks_has_its_first_value_in_a_trace_as_well(saved):
    model, path = saved
    again = nb.models.load_model(path)
    x = np.ones((1, 3), "float32")
    np.testing.assert_array_equal(jax.jit(again)(x), model(x))
    assert CALLS == [(4,)]
    assert again.layers[1].weight.numpy().tolist() == [7, 7, 7, 7]


def test_a_loaded_model_can_be_copied_and_sent(saved):
    _, path = saved
    again = nb.models.load_model(path)
    for copy in (copy_of(again), pickle.loads(pickle.dumps(again))):
        np.testing.assert_array_equal(copy.layers[0].kernel, again.layers[0].kernel)
        assert copy.layers[1].weight.numpy().tolist() == [7, 7, 7, 7]


# --- The weights in the zip file ------------------------------------------------------


def rewritten(path, packing):
    """The same members, packed in that way."""
    other = path.with_name(f"{packing}.keras")
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(other, "w", packing) as new:
        for name in old.namelist():
            new.writestr(name, old.read(name))
    return other


@pytest.mark.parametrize("packing", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_weights_are_read_however_they_are_packed(packing, saved):
    model, path = saved
    again = nb.models.load_model(rewritten(path, packing))
    np.testing.assert_array_equal(again.layers[0].kernel, model.layers[0].kernel)


def test_a_member_is_read_in_place(saved):
    _, path = saved
    archive = Archive("load", path)
    whole = archive.read(WEIGHTS)
    with archive.open(WEIGHTS) as part:
        assert part.read() == whole and part.read() == b"" and part.tell() == len(whole)
        part.seek(-8, 2)
        assert part.read(100) == whole[-8:]
        part.seek(4)
        assert part.read(4) == whole[4:8]
        part.seek(len(whole) + 10)
        assert part.read(4) == b""
    archive.close()


def test_a_changed_byte_among_the_weights_is_noticed(saved):
    _, path = saved
    content = bytearray(path.read_bytes())
    kernel = np.full(4, 7, "float32").tobytes()
    content[content.index(kernel)] ^= 1
    path.write_bytes(content)
    with pytest.raises(DamagedFileError, match="cut off or altered"):
        nb.models.load_model(path)
