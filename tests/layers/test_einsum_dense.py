"""EinsumDense: every form of equation, with and without dots and biases."""

import itertools

import jax
import numpy as np
import pytest

from kerasnb import layers
from tests.helpers import agree_on_variables, both, case, check_layer, close

TABLE = [
    case(
        "EinsumDense",
        (2, 3, 5),
        equation="abc,cd->abd",
        output_shape=(3, 4),
        bias_axes="d",
        activation="relu",
    ),
    case(
        "EinsumDense",
        (2, 3, 5),
        equation="...x,xy->...y",
        output_shape=3,
        bias_axes="y",
        kernel_initializer="he_normal",
        kernel_regularizer="l2",
        _unknown=(0, 1),
    ),
    case(
        "EinsumDense",
        (2, 5, 3, 4),
        equation="ab...,bc->ac...",
        output_shape=[6],
        bias_axes="c",
        _unknown=(0, 2),
    ),
]


@pytest.mark.parametrize("row", TABLE, ids=str)
def test_agrees_with_keras(row):
    check_layer(row)


# Equation, input, output_shape, bias_axes.
FORMS = [
    ("ab,bc->ac", (2, 5), 4, None),
    ("ab,b->ab", (2, 5), 5, "b"),
    ("abc,bd->acd", (2, 3, 5), (5, 7), "cd"),
    ("abc,bd->acd", (2, 3, 5), (None, 7), "d"),
    ("abc,de->abcde", (2, 3, 4), (None, 4, 2, 5), "ce"),
    ("abcd,bde->abce", (2, 3, 4, 5), (3, None, 6), "be"),
    ("abcd,cde->abe", (2, 3, 4, 5), (None, 6), "e"),
    ("abc,cde->abde", (2, 3, 5), (None, 2, 4), "de"),
    ("abde,dec->abc", (2, 3, 2, 4), (None, 6), "c"),
    ("...bc,cd->...bd", (2, 3, 4), (3, 5), "d"),
    ("...bc,cd->...bd", (2, 6, 3, 4), (3, 5), "bd"),
    ("...bc,bcd->...d", (2, 6, 3, 4), 5, "d"),
    ("...x,xy->...y", (2, 5), 4, "y"),
    ("ab...,bc->ac...", (2, 5), 4, "c"),
    ("ab...,bcd->acd...", (2, 5, 3, 2), (4, 6), "d"),
    ("ab...,bcd->adc...", (2, 5, 3), (6, 4), "dc"),
]


@pytest.mark.parametrize("form", FORMS, ids=lambda f: f"{f[0]}-{len(f[1])}-{f[3]}")
def test_every_form_of_equation_agrees_with_keras(form):
    equation, shape, output_shape, bias_axes = form
    ours, theirs = both(
        "EinsumDense",
        equation=equation,
        output_shape=output_shape,
        bias_axes=bias_axes,
        kernel_initializer="ones",
    )
    ours.build(shape)
    theirs.build(shape)
    agree_on_variables(ours, theirs)
    rng = np.random.default_rng(0)
    values = [rng.normal(size=v.shape).astype("float32") for v in ours.weights]
    for layer in (ours, theirs):
        layer.set_weights(values)
    x = rng.normal(size=shape).astype("float32")
    close(ours(x), theirs(x), equation)
    unknown = layers.Input(batch_shape=(None, *shape[1:]))
    assert ours(unknown).shape == (None, *ours(x).shape[1:])


def test_none_stands_for_the_length_in_the_input():
    layer = layers.EinsumDense("abc,bcd->abd", (None, 4), bias_axes="bd")
    layer.build((None, 3, 5))
    assert [v.shape for v in layer.weights] == [(3, 5, 4), (3, 4)]


@pytest.mark.parametrize("name", ["glorot_uniform", "lecun_normal"])
def test_the_kernel_starts_with_a_variance_that_follows_the_equation(name):
    """120 inputs for each of 60 outputs, whatever the order of the axes."""
    spreads = []
    for kernel in map("".join, itertools.permutations("bcde")):
        layer = layers.EinsumDense(
            f"abc,{kernel}->ade", (6, 10), kernel_initializer=name
        )
        layer.build((None, 12, 10))
        spreads.append(float(np.std(layer.kernel)))
    wanted = {"glorot_uniform": 2 / (120 + 60), "lecun_normal": 1 / 120}[name] ** 0.5
    np.testing.assert_allclose(spreads, wanted, rtol=0.05)


def test_arguments_of_adaptation_are_remembered():
    layer = layers.EinsumDense("ab,bc->ac", 4, lora_alpha=2.0)
    assert (layer.lora_rank, layer.lora_alpha) == (None, 2.0)
    assert layer.get_config()["gptq_unpacked_column_size"] is None
    assert layer.get_config()["output_shape"] == (4,)


def test_gradients_reach_the_kernel_and_the_inputs():
    layer = layers.EinsumDense("ab,bc->ac", 4, bias_axes="c")
    layer.build((2, 3))

    def loss(trainable, x):
        return layer.stateless_call(trainable, [], x)[0].sum()

    values = [v.value for v in layer.trainable_variables]
    grads, slopes = jax.grad(loss, (0, 1))(values, np.ones((2, 3), "float32"))
    assert grads[0].tolist() == [[2.0] * 4] * 3
    assert grads[1].tolist() == [2.0] * 4
    close(slopes, np.tile(layer.kernel.value.sum(1), (2, 1)), "inputs")


X = np.ones((2, 3, 5), "float32")
MISTAKES = {
    "EinsumDense: `equation` must look like 'ab,bc->ac', '...b,bc->...c' or "
    "'ab...,bc->ac...', not 'ab,bc'.": lambda: layers.EinsumDense("ab,bc", 4),
    "EinsumDense: `equation` must look like 'ab,bc->ac', '...b,bc->...c' or "
    "'ab...,bc->ac...', not '...b,bc->bc...'.": (
        lambda: layers.EinsumDense("...b,bc->bc...", 4)
    ),
    "EinsumDense: `equation` must look like 'ab,bc->ac', '...b,bc->...c' or "
    "'ab...,bc->ac...', not 3.": lambda: layers.EinsumDense(3, 4),
    "EinsumDense `it` has the equation 'ab,bc->ac' for inputs with 2 axes and got the "
    "shape (2, 3, 5).": lambda: layers.EinsumDense("ab,bc->ac", 4, name="it")(X),
    "EinsumDense `it` has the equation '...abcd,de->...abce' for inputs with 4 axes or "
    "more and got the shape (2, 3, 5).": (
        lambda: layers.EinsumDense("...abcd,de->...abce", 4, name="it")(X)
    ),
    "EinsumDense `it`: `output_shape` must list the 2 axes of 'abd' after the batch "
    "and is (4,).": lambda: layers.EinsumDense("abc,cd->abd", 4, name="it")(X),
    "EinsumDense `it`: the axis 'b' of 'abc,cd->abd' has length 3 in the input of "
    "shape (2, 3, 5) and 2 in `output_shape`; write None there.": (
        lambda: layers.EinsumDense("abc,cd->abd", (2, 4), name="it")(X)
    ),
    "EinsumDense `it`: the axis 'e' of the output in 'abc,cd->abe' is neither one of "
    "the input nor of the kernel.": (
        lambda: layers.EinsumDense("abc,cd->abe", (None, 4), name="it")(X)
    ),
    "EinsumDense `it`: the axis 'd' of the kernel in 'abc,cd->abc' is neither one of "
    "the input nor of the output.": (
        lambda: layers.EinsumDense("abc,cd->abc", (None, None), name="it")(X)
    ),
    "EinsumDense `it`: `bias_axes` must be letters out of 'abd' with known lengths, "
    "not 'c'.": (
        lambda: layers.EinsumDense("abc,cd->abd", (None, 4), bias_axes="c", name="it")(
            X
        )
    ),
    "EinsumDense `it` needs to know the axes of its kernel 'cd', which the input of "
    "shape (2, None, None) and output_shape=(None, 4) leave open: (None, 4).": (
        lambda: layers.EinsumDense("abc,cd->abd", (None, 4), name="it")(
            layers.Input(batch_shape=(2, None, None))
        )
    ),
    "EinsumDense `it` expects 3 axes and got the shape (2, 3).": (
        lambda: _built()(X[..., 0])
    ),
}


def _built():
    layer = layers.EinsumDense("abc,cd->abd", (None, 4), name="it")
    layer(X)
    return layer


@pytest.mark.parametrize("sentence", MISTAKES)
def test_mistakes_are_answered_with_one_sentence(sentence):
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - compared in full
        MISTAKES[sentence]()
    assert str(caught.value) == sentence
