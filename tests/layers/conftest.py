"""Names in Keras are counted over the whole process; here they start anew."""

import keras
import pytest


@pytest.fixture(autouse=True)
def fresh_keras_names():
    """No trace of the layers that other tests made."""
    keras.utils.clear_session(free_memory=False)
