"""Targets, predictions, masks and weights for losses and metrics, and how to compare.

Values agree to 1e-6: of one, or of the value where that is larger (its last digits are
rounded anyway). In 16 bits they agree to two units in the last place.
"""

import jax.numpy as jnp
import numpy as np
import pytest
from keras.src.backend.common.masking import set_keras_mask

from kerasnb.core.masks import set_mask

# What targets and predictions are about.
NUMBERS, SHARES, SIGNS = "numbers", "shares", "signs"
CODES, LABELS, WORDS = "codes", "labels", "words"


def data(kind, shape, from_logits=False, seed=0):
    """Targets and predictions of that kind."""
    rng = np.random.default_rng([seed, *shape])
    z = rng.normal(size=shape)
    if kind == NUMBERS:
        y, p = rng.normal(size=shape), z
    elif kind == SIGNS:
        y, p = 2.0 * rng.integers(0, 2, shape) - 1, z
    elif kind == SHARES:
        y, p = rng.uniform(size=shape).round(1), rng.uniform(size=shape)
    elif kind == WORDS:  # sequences half as long as the time, zeros at their ends
        y, p = rng.integers(1, shape[-1], (shape[0], shape[1] // 2)).astype("int32"), z
        y[-1, 1:] = 0
    else:
        classes = shape[-1] if len(shape) > 1 else 1
        y = rng.integers(0, classes, shape[:-1])
        y = np.eye(classes)[y] if kind == CODES else y.astype("int32")
        p = np.exp(z) / np.exp(z).sum(-1, keepdims=True)
    p = 4 * z if from_logits else p
    return y if y.dtype == "int32" else np.float32(y), np.float32(p)


def assert_same(a, b, where=""):
    assert a.shape == b.shape, where
    assert a.dtype == b.dtype, where
    digits = {"float16": 2e-3, "bfloat16": 2e-2}.get(str(a.dtype), 1e-6)
    a, b = (np.asarray(x, "float32") for x in (a, b))
    np.testing.assert_allclose(a, b, rtol=digits, atol=digits, err_msg=str(where))


def masked(p, mask):
    """The predictions of both libraries, with their mask."""
    ours, theirs = jnp.array(p), jnp.array(p)
    if mask is not None:
        set_mask(ours, mask)
        set_keras_mask(theirs, jnp.asarray(mask))
    return ours, theirs


def masks(shape):
    """No mask, one of samples, one of steps where there are some, an empty one."""
    rng = np.random.default_rng(1)
    yield None
    if shape[0] == 0:
        return
    yield rng.uniform(size=shape[:1]) < 0.6
    if len(shape) > 2:
        yield rng.uniform(size=shape[:-1]) < 0.6
        yield np.zeros(shape[:-1], bool)


def weights(shape):
    """Weights for everything, for samples, for steps."""
    rng = np.random.default_rng(2)
    yield from (None, 0.5)
    for ranks in range(1, max(2, len(shape))):
        yield np.float32(rng.uniform(size=shape[:ranks]))
    yield np.float32(rng.uniform(size=(*shape[: max(1, len(shape) - 1)], 1)))


def same_answer(ours, theirs, where=""):
    """Both calls give the same, or both refuse."""
    try:
        wanted = theirs()
    except Exception:  # noqa: BLE001 - whatever Keras says
        with pytest.raises(Exception):  # noqa: B017, PT011
            ours()
        return False
    assert_same(ours(), wanted, where)
    return True
