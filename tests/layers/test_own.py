"""Layers of the user's own have no limits: whatever JAX can do, they can do."""

# ruff: noqa: F722, F821 - names of axes are not names of types

import inspect
import pickle
from functools import partial

import jax
import jax.numpy as jnp
import keras as released
import numpy as np
import pytest
from jax.experimental import pallas as pl

import kerasnb as keras
from kerasnb import Axes, State, Weight, layers, ops
from tests.helpers import QUICK, close

# --- Layers of every kind, each beside the plain function it must agree with ----------


@keras.layer
def Affine(
    x, kernel=Weight("features units"), bias=Weight("units", "zeros"), *, units=3
):
    """A learned projection in raw jax.numpy."""
    return jnp.tanh(jnp.dot(x, kernel) + bias)


@keras.layer
def WithOps(x, gain=Weight("features", "ones", regularizer="l2"), power=2.0):
    """In `keras.ops`."""
    return ops.power(ops.relu(x) + 0.5, power) * gain


@keras.layer
def Mixture(x, first=layers.Dense(5, activation="relu"), rest=[layers.Dense(4)]):  # noqa: B006
    """With layers as settings: one, and a list."""
    for inner in [first, *rest]:
        x = inner(x)
    return x


@keras.layer
def RunningMean(
    x, mean: State["features"], count=State("", dtype="int32"), training=False
):
    """Centre by a mean that is remembered."""
    if training:
        mean.assign(0.9 * mean + 0.1 * x.mean(0))
        count.assign_add(1)
    return x - mean


@jax.custom_vjp
def hard_step(x):
    """A step, whose gradient is said to be that of a straight line near it."""
    return (x > 0).astype(x.dtype)


hard_step.defvjp(
    lambda x: (hard_step(x), x), lambda x, g: (jnp.where(abs(x) < 1, g, 0),)
)


@keras.layer
def Step(x, threshold: Weight["features"] = 0.1):
    """With a gradient of its own, and a weight declared as a type."""
    return hard_step(x - threshold)


def kernel_of_pallas(x_ref, gain_ref, out_ref):
    out_ref[...] = x_ref[...] * gain_ref[...] ** 2


@jax.custom_vjp
def scale_in_pallas(x, gain):
    spec = jax.ShapeDtypeStruct(x.shape, x.dtype)
    return pl.pallas_call(kernel_of_pallas, spec, interpret=True)(x, gain)


scale_in_pallas.defvjp(
    lambda x, gain: (scale_in_pallas(x, gain), (x, gain)),
    lambda kept, g: (g * kept[1] ** 2, (2 * g * kept[0] * kept[1]).sum(0)),
)


@keras.layer
def InPallas(x, gain: Weight["features"] = 1.5):
    """With a kernel written in Pallas."""
    return scale_in_pallas(x, gain)


class Classic(keras.Layer):
    """A class, as in the manual of Keras; a dict of layers inside."""

    def __init__(self, units, **kwargs):
        super().__init__(**kwargs)
        self.units = units
        self.inner = {"a": layers.Dense(units), "b": [layers.Dense(units)]}

    def build(self, input_shape):
        """Make one weight of its own."""
        self.mix = self.add_weight((self.units,), "ones", name="mix")

    def call(self, x):
        """Two projections, one of them weighed."""
        return self.inner["a"](x) + self.mix * self.inner["b"][0](x)


class Residual(keras.Layer):
    """A new abstract layer: a subclass says only what the detour does."""

    def build(self, input_shape):
        """Make the strength of the detour."""
        self.strength = self.add_weight((), "ones", name="strength")

    def detour(self, x):
        """To be written by subclasses."""
        raise NotImplementedError

    def call(self, x):
        """The input and the detour."""
        return x + self.strength * self.detour(x)


class Waves(Residual):
    """One of the family."""

    def detour(self, x):
        """Waves."""
        return jnp.sin(x)


@keras.saving.register_keras_serializable("tests")
def doubled(x, by=2.0):
    return by * x


def dense(values, x):
    return x @ values[0] + values[1]


# A way to make the layer, and the function of its trainable weights and the input.
OWN = {
    "affine": (Affine, lambda w, x: jnp.tanh(dense(w, x))),
    "ops": (WithOps, lambda w, x: w[0] * (jnp.maximum(x, 0) + 0.5) ** 2),
    "nested": (
        Mixture,
        lambda w, x: dense(w[2:], jnp.maximum(dense(w, x), 0)),
    ),
    "state": (RunningMean, lambda w, x: x),
    "own gradient": (Step, lambda w, x: hard_step(x - w[0])),
    "pallas": (InPallas, lambda w, x: x * w[0] ** 2),
    "class": (
        partial(Classic, 3),
        lambda w, x: dense(w[1:], x) + w[0] * dense(w[3:], x),
    ),
    "abstract": (Waves, lambda w, x: x + w[0] * jnp.sin(x)),
    "lambda": (
        partial(layers.Lambda, doubled, arguments={"by": 3.0}),
        lambda w, x: 3 * x,
    ),
}
KNOWN = {"Classic": Classic, "Waves": Waves}
X = np.random.default_rng(0).normal(size=(24, 4)).astype("float32")
Y = np.abs(X[:, :1]) - X[:, 1:2]

each = pytest.mark.parametrize(("make", "plain"), OWN.values(), ids=OWN.keys())


@each
def test_an_own_layer_is_trained_saved_and_loaded(make, plain, tmp_path):
    model = keras.Sequential([keras.Input((4,)), make(name="own"), layers.Dense(1)])
    before = model.get_weights()
    model.compile("adam", "mse")
    losses = model.fit(X, Y, epochs=4, batch_size=8, verbose=0).history["loss"]
    assert losses[-1] < losses[0]
    changed = [np.any(a != b) for a, b in zip(before, model.get_weights(), strict=True)]
    assert all(changed)
    model.save(tmp_path / "m.keras")
    loaded = keras.models.load_model(tmp_path / "m.keras", custom_objects=KNOWN)
    np.testing.assert_array_equal(
        loaded.predict(X, verbose=0), model.predict(X, verbose=0)
    )
    assert [w.name for w in loaded.weights] == [w.name for w in model.weights]
    assert loaded.layers[0].get_config() == model.layers[0].get_config()


@each
def test_the_gradient_is_that_of_the_plain_function(make, plain):
    layer = make()
    layer(X)
    rng = np.random.default_rng(1)
    values = [
        jnp.asarray(rng.normal(size=v.shape), "float32")
        for v in layer.trainable_variables
    ]
    rest = [v.value for v in layer.non_trainable_variables]

    def loss(out):
        return (out * jnp.cos(jnp.arange(out.size)).reshape(out.shape)).sum()

    def by_layer(values, x):
        return loss(layer.stateless_call(values, rest, x)[0])

    def by_hand(values, x):
        return loss(plain(values, x))

    grads = [
        jax.jit(jax.grad(f, (0, 1)), compiler_options=QUICK)(values, X)
        for f in (by_layer, by_hand)
    ]
    assert len(grads[0][0]) == len(values)
    close(*grads, "gradient")


@each
def test_it_computes_in_a_mixed_precision(make, plain):
    for policy, dtype in (("mixed_float16", "float16"), ("mixed_bfloat16", "bfloat16")):
        keras.config.set_dtype_policy(policy)
        try:
            layer = make()
            out = layer(X)
        finally:
            keras.config.set_dtype_policy("float32")
        assert out.dtype == dtype
        assert {v.dtype for v in layer.trainable_variables} <= {"float32"}
        symbolic = layer(keras.Input((4,)))
        assert symbolic.dtype == dtype
        assert symbolic.shape == (None, out.shape[1])
        w = [v.value for v in layer.trainable_variables]
        wanted = np.asarray(plain(w, jnp.asarray(X, dtype).astype("float32")))
        good = np.isclose(np.asarray(out, "float32"), wanted, rtol=0.02, atol=0.05)
        assert good.mean() > 0.95  # a step may fall on the other side


# --- The grammar ----------------------------------------------------------------------


def test_the_result_is_an_ordinary_layer_class():
    assert issubclass(Affine, keras.Layer)
    assert Affine.__name__ == "Affine" and Affine.__module__ == __name__
    assert Affine.__doc__ == "A learned projection in raw jax.numpy."
    assert str(inspect.signature(Affine)) == (
        "(units=3, *, kernel='glorot_uniform', bias='zeros', **kwargs)"
    )
    assert str(inspect.signature(Affine.call)) == "(self, x)"
    layer = Affine(5, name="it", bias="ones", trainable=False)
    assert layer.units == 5 and layer.name == "it"
    layer.build((None, 4))
    assert [w.path for w in layer.weights] == ["it/kernel", "it/bias"]
    assert layer.kernel.shape == (4, 5) and layer.trainable_weights == []
    np.testing.assert_array_equal(layer.bias, np.ones(5))
    assert layer.compute_output_shape((None, 4)) == (None, 5)
    assert Affine.function(np.ones(2), np.eye(2), 0.0, units=2).shape == (2,)
    assert keras.saving.get_registered_name(Affine) == f"{__name__}>Affine"


def test_the_configuration_makes_the_same_layer_again():
    layer = Affine(units=5, kernel=keras.initializers.RandomNormal(seed=3), bias=0.25)
    config = layer.get_config()
    again = Affine.from_config(config)
    assert again.get_config() == config
    assert config["units"] == 5 and config["bias"] == 0.25
    close(again(X), layer(X), "from_config")
    values = np.arange(4, dtype="float32")
    scale = WithOps(gain=values)
    scale(X)
    np.testing.assert_array_equal(scale.gain, values)
    data = keras.saving.serialize_keras_object(scale)
    np.testing.assert_array_equal(
        keras.saving.deserialize_keras_object(data).get_config()["gain"]["config"][
            "value"
        ],
        values,
    )
    (penalty,) = scale.losses
    assert float(penalty) == pytest.approx(0.01 * 14)


def test_a_built_layer_is_pickled():
    layer = Mixture(name="mixture")
    layer(X)
    again = pickle.loads(pickle.dumps(layer))
    np.testing.assert_array_equal(again(X), layer(X))
    assert [w.path for w in again.weights] == [
        "mixture/first/kernel",
        "mixture/first/bias",
        "mixture/rest/kernel",
        "mixture/rest/bias",
    ]


def test_layers_as_defaults_are_copied_for_each_layer_and_given_ones_are_used():
    one, two = Mixture(), Mixture(dtype="mixed_bfloat16")
    assert one.first is not two.first and one.rest[0] is not two.rest[0]
    assert one.first.units == 5 and two.first.dtype_policy.name == "mixed_bfloat16"
    given = layers.Dense(7)
    assert Mixture(first=given).first is given
    inputs = keras.Input((4,))
    model = keras.Model(inputs, two(one(inputs)))
    assert len(model.weights) == 8
    loaded = keras.Model.from_config(model.get_config())
    assert len(loaded.weights) == 8


def test_a_state_is_changed_in_training_only():
    layer = RunningMean()
    layer(X)
    np.testing.assert_array_equal(layer.mean, np.zeros(4))
    layer(X, training=True)
    np.testing.assert_allclose(layer.mean, 0.1 * X.mean(0), rtol=1e-5)
    assert layer.count.dtype == "int32" and int(layer.count) == 1
    assert layer.trainable_weights == [] and len(layer.non_trainable_weights) == 2
    model = keras.Sequential([keras.Input((4,)), layer, layers.Dense(1)])
    model.compile("sgd", "mse")
    model.fit(X, Y, batch_size=8, epochs=2, verbose=0)
    assert int(layer.count) == 7


def test_random_keys_come_from_the_layers_seed():
    @keras.layer
    def Noise(x, *, strength=1.0, training=False, rng):
        """Noise while training."""
        if not training:
            return x
        return x + strength * jax.random.normal(rng, x.shape, x.dtype)

    assert "seed=None" in str(inspect.signature(Noise))
    one, two = Noise(seed=3), Noise(seed=3)
    first = one(X, training=True)
    np.testing.assert_array_equal(first, two(X, training=True))
    assert np.any(first != one(X, training=True))
    np.testing.assert_array_equal(one(X), X)
    assert one.get_config()["seed"] == 3
    assert len(one.variables) == 1 and one.weights == []


def test_masks_are_given_when_asked_for_and_handed_on_when_supported():
    @keras.layer
    def MaskedMean(x, mask=None):
        """The mean of the steps that count."""
        weight = jnp.ones(x.shape[:2]) if mask is None else mask
        return jnp.einsum("btf,bt->bf", x, weight) / weight.sum(1, keepdims=True)

    @keras.layer(supports_masking=True)
    def Double(x):
        """Twice the input."""
        return 2 * x

    steps = np.array([[[1.0], [2.0], [0.0]], [[4.0], [0.0], [0.0]]], "float32")
    x = layers.Masking()(steps)
    np.testing.assert_array_equal(MaskedMean()(Double()(x)), [[3.0], [8.0]])
    np.testing.assert_allclose(MaskedMean()(steps), [[1.0], [4 / 3]], rtol=1e-6)
    assert not MaskedMean.supports_masking


def test_inputs_have_named_axes():
    @keras.layer
    def Blend(
        a: Axes["batch ... time features"],
        b: Axes["batch features"],
        kernel: Weight["time, 2*features"],
        *,
        window=(3, 2),
        extra=Weight("window features//2 1", 0.5),
    ):
        """Two inputs."""
        return a + b[:, None] + extra.sum() + kernel[:, : a.shape[-1]]

    layer = Blend()
    out = layer(np.ones((2, 3, 4), "float32"), np.ones((2, 4), "float32"))
    assert out.shape == (2, 3, 4)
    assert layer.kernel.shape == (3, 8) and layer.extra.shape == (3, 2, 2, 1)
    symbolic = layer(keras.Input((3, 4)), b=keras.Input((4,)))
    assert symbolic.shape == (None, 3, 4)
    with pytest.raises(
        ValueError, match=r"`b` must be an array with the axes \(batch, f"
    ):
        Blend()(np.ones((2, 3, 4)), np.ones((2, 4, 1)))
    with pytest.raises(
        ValueError, match=r"along `features` \(4\), not one of shape \(2, 5"
    ):
        Blend()(np.ones((2, 3, 4)), np.ones((2, 5)))


def test_an_axis_named_twice_is_as_long_both_times():
    @keras.layer
    def Trace(x: Axes["batch n n"]):
        """The sum along the diagonal."""
        return jnp.trace(x, axis1=1, axis2=2)

    assert Trace()(np.ones((2, 3, 3), "float32")).tolist() == [3.0, 3.0]
    with pytest.raises(
        ValueError, match=r"along `n` \(3\), not one of shape \(2, 3, 4"
    ):
        Trace()(np.ones((2, 3, 4), "float32"))


def test_an_input_may_be_a_list_or_a_dict():
    @keras.layer
    def Sum(xs, gain: Weight["features"] = "ones"):
        """The sum of all."""
        return gain * sum(xs)

    @keras.layer
    def Difference(xs, *, scale=1.0):
        """The difference of two."""
        return scale * (xs["a"] - xs["b"])

    assert Sum()([X, X, X]).shape == X.shape
    out = Difference(scale=2.0)({"a": X, "b": X / 2})
    np.testing.assert_allclose(out, X, rtol=1e-6)


def test_a_class_may_be_extended_and_a_cell_run_again():
    class Shifted(Affine):
        """More than a function."""

        def call(self, x):
            """The same, moved."""
            return super().call(x) + 1

    first = Affine(2, name="it", kernel="ones")
    close(Shifted(2, kernel="ones")(X), first(X) + 1, "extended")

    def define(by):
        @keras.layer
        def Again(x):
            """Defined twice, as in a notebook."""
            return by * x

        return Again

    old, new = define(1.0), define(2.0)
    data = keras.saving.serialize_keras_object(old())
    assert type(keras.saving.deserialize_keras_object(data)) is new


def test_a_file_from_another_module_is_read_with_custom_objects():
    data = keras.saving.serialize_keras_object(WithOps(3.0))
    assert data["registered_name"] == f"{__name__}>WithOps"
    data |= {"registered_name": "__main__>Elsewhere", "class_name": "Elsewhere"}
    with keras.saving.custom_object_scope({"Elsewhere": WithOps}):
        assert keras.saving.deserialize_keras_object(data).power == 3.0
    with pytest.raises(
        TypeError, match=r"pass custom_objects=\{'Elsewhere': Elsewhere"
    ):
        keras.saving.deserialize_keras_object(data)


def test_it_works_with_annotations_kept_as_text():
    namespace = {"__name__": "elsewhere", "keras": keras, "Weight": Weight}
    text = (
        "from __future__ import annotations\n"
        "@keras.layer\n"
        "def Scale(x: jax.Array, gain: Weight['features'] = 'ones'):\n"
        "    return x * gain\n"
    )
    with pytest.raises(TypeError, match=r"annotations cannot be read \(name 'jax'"):
        exec(text, namespace)
    exec(text, namespace | (found := {"jax": jax}), found)
    assert len(found["Scale"]()(X)[0]) == 4
    assert found["Scale"].__module__ == "elsewhere"


def test_the_model_is_written_as_code():
    model = keras.Sequential([keras.Input((4,)), Affine(2, bias="ones")], name="net")
    assert '    Affine(units=2, bias="ones"),\n' in model.to_code()
    model = keras.Sequential([keras.Input((4,)), WithOps(2.5), layers.Softmax(axis=-1)])
    assert "    WithOps(power=2.5)," in model.to_code()


# --- Errors ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mistake", "sentence"),
    [
        (
            lambda: Affine(unit=3),
            'Affine has no argument `unit`. Did you mean "units"?',
        ),
        (lambda: Affine(1, 2), "Affine: too many positional arguments."),
        (
            lambda: Affine(bias="zerox"),
            'Unknown initializer "zerox". Did you mean "zer',
        ),
        (
            lambda: Affine(2.5)(X),
            "Affine: `units` must be an integer, for an axis of `kernel`, not 2.5.",
        ),
        (
            lambda: Affine()(keras.Input((None,))),
            "cannot make the weight `kernel` of shape (None, 3)",
        ),
        (lambda: Weight(), 'A Weight needs a shape: name its axes, as in Weight("feat'),
        (lambda: State(), 'or write State("") for a single number.'),
        (lambda: Weight["2 *"], "`*` is not the size of an axis"),
        (lambda: keras.layer(lambda x: x), "goes on a function made with `def`"),
        (lambda: keras.layer(Affine), "goes on a function made with `def`"),
    ],
)
def test_a_mistake_is_told_in_a_sentence(mistake, sentence):
    with pytest.raises((TypeError, ValueError)) as caught:
        mistake()
    assert sentence in str(caught.value)


def no_input(*, units=3): ...
def star(x, *others): ...
def taken(x, dtype="float32"): ...
def shapeless(x, w: Weight = "ones"): ...
def axes_as_text(x: "batch features"): ...


@pytest.mark.parametrize(
    ("function", "sentence"),
    [
        (no_input, "takes its input first, as in `def no_input(x, ...)`"),
        (star, "replace `*others` by a list or a dict"),
        (taken, "`dtype` is something that every layer has already"),
        (shapeless, "A Weight needs a shape"),
        (axes_as_text, 'axes are written as `x: Axes["batch features"]`'),
    ],
)
def test_a_function_that_cannot_be_a_layer_is_refused(function, sentence):
    with pytest.raises(TypeError) as caught:
        keras.layer(function)
    assert sentence in str(caught.value)


def test_a_missing_setting_and_an_unknown_axis_are_named():
    @keras.layer
    def Project(x, kernel: Weight["feature units"], *, units):
        """With a misspelt axis."""
        return x @ kernel

    with pytest.raises(
        TypeError, match="Project: missing a required argument: 'units'"
    ):
        Project()
    with pytest.raises(
        ValueError, match='axis `feature` of .* Did you mean "features"'
    ):
        Project(3)(X)


def test_the_released_keras_reads_a_model_with_a_named_function(tmp_path):
    model = keras.Sequential([keras.Input((4,)), OWN["lambda"][0](), layers.Dense(2)])
    model.save(tmp_path / "m.keras")
    theirs = released.models.load_model(
        tmp_path / "m.keras", custom_objects={"tests>doubled": doubled}, safe_mode=False
    )
    np.testing.assert_allclose(theirs(X), model(X), rtol=1e-5, atol=1e-6)
