"""Files with vocabularies: Keras has no such layers without TensorFlow."""

from pathlib import Path

import numpy as np
import pytest

import kerasnb as nb
from tests.helpers import same_config
from tests.layers.test_feature_space import TABLE, space_of, unseen
from tests.saving.zoo import answers, lookups

# Keras' file for the tests that do without TensorFlow; this file run as a program,
# `python -m tests.sources.test_vocabularies`, writes it.
FILE = Path(__file__).parents[1] / "files" / "lookups.keras"

pytestmark = [
    pytest.mark.sources,
    # Keras' own conversion to NumPy, and its wish for 64 bits.
    pytest.mark.filterwarnings("ignore:__array__ implementation"),
    pytest.mark.filterwarnings("ignore:Explicitly requested dtype int64"),
]


def directions():
    import keras

    return (nb, keras), (keras, nb)


@pytest.mark.parametrize("direction", [0, 1], ids=["to Keras", "from Keras"])
def test_vocabularies_travel(direction, tmp_path):
    writer, reader = directions()[direction]
    model = lookups(writer)
    model.save(tmp_path / "m.keras")
    loaded = reader.saving.load_model(tmp_path / "m.keras")
    assert answers(loaded) == answers(model)
    for one, other in zip(loaded.layers, model.layers, strict=True):
        same_config(one.get_config(), other.get_config())


@pytest.mark.parametrize("direction", [0, 1], ids=["to Keras", "from Keras"])
def test_feature_spaces_travel(direction, tmp_path):
    writer, reader = directions()[direction]
    space = space_of(writer.utils.FeatureSpace)
    if writer is nb:
        space.adapt(TABLE)
    else:
        import tensorflow as tf

        space.adapt(tf.data.Dataset.from_tensor_slices(TABLE).batch(3))
    space.save(tmp_path / "space.keras")
    loaded = reader.saving.load_model(tmp_path / "space.keras")
    np.testing.assert_allclose(loaded(unseen()), space(unseen()), 1e-5, 1e-6)


if __name__ == "__main__":  # where Keras 3.15.1 and tensorflow-cpu 2.21 are installed
    import keras as released

    lookups(released).save(FILE)
