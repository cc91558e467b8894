"""Pooling beside Keras'."""

import keras
import numpy as np
import pytest

from kerasnb import layers
from tests.helpers import case, check_layer

IMAGE = (2, 7, 6, 4)

TABLE = [
    case("AdaptiveAveragePooling1D", (2, 7, 3), output_size=3),
    case("AdaptiveAveragePooling2D", IMAGE, output_size=(3, 2), _unknown=(0,)),
    case(
        "AdaptiveAveragePooling2D",
        (2, 4, 7, 6),
        output_size=2,
        data_format="channels_first",
    ),
    case("AdaptiveAveragePooling3D", (1, 3, 4, 5, 2), output_size=(2, 4, 3)),
    case(
        "AdaptiveMaxPooling1D", (2, 3, 7), output_size=2, data_format="channels_first"
    ),
    case("AdaptiveMaxPooling2D", IMAGE, output_size=(4, 6)),
    case("AdaptiveMaxPooling3D", (1, 3, 4, 5, 2), output_size=2),
]


@pytest.mark.parametrize("row", TABLE, ids=str)
def test_agrees_with_keras(row):
    check_layer(row)


@pytest.mark.parametrize("rank", [1, 2, 3])
@pytest.mark.parametrize("kind", ["Average", "Max"])
def test_the_output_size_is_one_number_or_one_for_each_axis(kind, rank):
    name = f"Adaptive{kind}Pooling{rank}D"
    for wrong, error in (
        ("3", TypeError),
        ((2,) * (rank + 1), (TypeError, ValueError)),
    ):
        for library in (layers, keras.layers):
            with pytest.raises(error):
                getattr(library, name)(wrong)
    with pytest.raises(ValueError, match=f"{name}: `output_size` must be"):
        getattr(layers, name)(0)


def test_pooling_to_more_than_there_is_repeats():
    y = layers.AdaptiveMaxPooling1D(4)(np.array([[[1.0], [2.0]]]))
    assert y[0, :, 0].tolist() == [1.0, 1.0, 2.0, 2.0]
