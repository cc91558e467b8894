"""The architectures beside those of Keras: the same layers, weights and answers."""

import gc
import inspect
import json

import keras
import pytest

from kerasnb import applications, layers, models
from tests.applications.record import FILE, brief, facts, published, rows

RECORD = json.loads(FILE.read_text())

# Enough to see a mistake in what all architectures share.
FEW = [
    "MobileNet alpha=0.25 include_top=True input_shape=(128,128,3)",
    "MobileNetV2 weights=None data_format='channels_first'",
    "ConvNeXtTiny weights=None include_preprocessing=False",
]
# As much as there is to say of these: what they are made of, their families tell.
BARE = [row for row in RECORD if row.split(" ")[1:] == ["include_top=False"]]


def check_row(row):
    """Our model beside the record; what to do when it is another one."""
    assert brief(facts(row)) == RECORD[row], (
        f'see how with: python -m tests.applications.record "{row}"'
    )


def test_every_architecture_is_there_and_recorded():
    kinds = {name for name in vars(keras.applications) if name[0].isupper()}
    assert {row for row in RECORD if " " not in row} == kinds
    assert list(RECORD) == rows()
    for name in kinds:
        mine, wanted = (
            [(p.name, p.default) for p in inspect.signature(f).parameters.values()]
            for f in (getattr(applications, name), getattr(keras.applications, name))
        )
        assert mine == wanted, name


@pytest.mark.parametrize("row", FEW)
def test_an_architecture_is_made_as_in_keras(row):
    check_row(row)


@pytest.mark.parity
@pytest.mark.parametrize("row", [row for row in rows() if row not in {*FEW, *BARE}])
def test_all_architectures_are_made_as_in_keras(row):
    check_row(row)
    if RECORD[row][2] > 5e7:  # a model is a circle of references, and these are large
        gc.collect()


@pytest.mark.parametrize("row", BARE)
def test_the_published_files_without_a_classifier_are_those_of_keras(row):
    assert published(row) == RECORD[row][-1]


def test_an_architecture_goes_behind_other_layers():
    image = layers.Input((40, 40, 3))
    flipped = layers.RandomFlip()(image)
    body = applications.MobileNet(
        include_top=False, weights=None, input_tensor=flipped, alpha=0.25
    )
    assert body.inputs[0] is image
    model = models.Sequential([body, layers.GlobalAveragePooling2D()])
    assert model(layers.Input((40, 40, 3))).shape == (None, 256)
