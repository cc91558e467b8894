"""kerasnb.saving.walk"""

import h5py
import numpy as np
import pytest

import kerasnb as nb
from kerasnb import layers
from kerasnb.saving.walk import places
from tests.models.zoo import ZOO, build

# Keras' own conversion to NumPy.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation")


def _contents(path):
    """The groups of a weights file: names, and shapes of the variables."""
    found = {}

    def note(place, item):
        if place.endswith("vars"):
            shapes = {key: item[key].shape for key in item}
            found[place] = (item.attrs.get("name"), shapes)

    with h5py.File(path) as file:
        file.visititems(note)
    return found


def _assert_same_places(ours, theirs, folder):
    for model, name in ((ours, "ours"), (theirs, "theirs")):
        model.save_weights(folder / f"{name}.weights.h5")
    assert _contents(folder / "ours.weights.h5") == _contents(
        folder / "theirs.weights.h5"
    )


@pytest.mark.parametrize("make", ZOO, ids=lambda make: make.__name__)
def test_every_variable_has_the_place_it_has_in_keras(make, tmp_path):
    _assert_same_places(*build(make), tmp_path)


def _attributes(k):
    """Layers in all the places an object can keep them."""

    class Part(k.layers.Layer):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            self._hidden = k.layers.Dense(1, name="hidden")

        @property
        def gate(self):  # wins over the private attribute that it returns
            return self._hidden

        @property
        def broken(self):
            raise RuntimeError("not now")

        def build(self, input_shape):
            self.own = self.add_weight((1,), name="own")
            self.count = self.add_weight((), trainable=False, name="count")
            self._hidden.build(input_shape)
            super().build(input_shape)

        def call(self, x):
            return self._hidden(x)

    class Kept(k.Model):
        def __init__(self):
            super().__init__(name="kept")
            self.zeta = k.layers.Dense(3, name="zeta")
            self.alpha = Part(name="alpha")
            self.deep = [
                k.layers.Dense(2, name="d0"),
                [k.layers.Dense(2, name="d1"), (k.layers.Dense(2, name="d2"),)],
                {"b": k.layers.Dense(2, name="d3"), "a": k.layers.Dense(2, name="d4")},
                self.zeta,
            ]
            self._last = k.layers.Dense(1, name="last")
            self.mean = k.metrics.Mean(name="mean")

        def call(self, x):
            x = self.alpha(self.zeta(x))
            inner = self.deep
            for layer in (inner[0], *inner[1][:1], inner[1][1][0], *inner[2].values()):
                x = layer(x)
            return self._last(x)

    model = Kept()
    model.compile(k.optimizers.Adam(), "mse", metrics=["mae"])
    model(np.ones((2, 3), "float32"))
    model.optimizer.build(model.trainable_variables)
    return model


def test_attributes_are_walked_as_keras_walks_them(tmp_path):
    ours, theirs = build(_attributes)
    _assert_same_places(ours, theirs, tmp_path)
    theirs.load_weights(tmp_path / "ours.weights.h5")
    ours.load_weights(tmp_path / "theirs.weights.h5")


def test_an_attribute_that_fails_to_be_read_is_passed_over():
    model, _ = build(_attributes)
    assert "alpha/gate" in dict(places(model))


def test_walking_gives_away_no_names():
    model, _ = build(ZOO[0])
    before = layers.Dense(1).name
    list(places(model))
    assert before == "dense" and layers.Dense(1).name == "dense_1"


def test_objects_can_be_left_out():
    model, _ = build(ZOO[0])
    skipped = model.get_layer("hidden")
    assert "layers/dense" in dict(places(model))
    assert dict(places(model, skip=[skipped]))["layers/dense_1"].name == "out"


def test_temporary_lists_of_properties_are_all_seen():
    class Many(layers.Layer):
        def __init__(self):
            super().__init__()
            self._parts = [layers.Dense(1, name=f"d{i}") for i in range(40)]
            for i in range(40):
                setattr(type(self), f"p{i}", property(lambda s, i=i: [s._parts[i]]))

    assert len(dict(places(Many()))) == 41


def test_deep_nesting_is_no_matter():
    class Node(nb.layers.Layer):
        def __init__(self, child):
            super().__init__()
            self.child = child

    top = layers.Dense(1)
    for _ in range(3000):
        top = Node(top)
    assert len(dict(places(top))) == 3001
