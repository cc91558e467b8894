"""Models of other libraries as layers, beside Keras' layers of the same names."""

import copy
import pickle
import sys
import types

import flax.linen as nn
import jax
import jax.numpy as jnp
import keras as released
import numpy as np
import pytest
from keras.src.utils import jax_layer

import kerasnb as keras
from tests.helpers import QUICK, close, same_config, signature_of

X = np.random.default_rng(0).normal(size=(8, 3)).astype("float32")
LIBRARIES = (keras, released)


@pytest.fixture(autouse=True)
def built_without_tensorflow(monkeypatch):
    # Keras asks TensorFlow where it is before it builds a layer, also on JAX.
    stand_in = types.SimpleNamespace(inside_function=lambda: False)
    monkeypatch.setattr(jax_layer, "tf", stand_in)


@keras.saving.register_keras_serializable("tests")
@released.saving.register_keras_serializable("tests")
def start(rng, inputs):
    kernel = jax.random.normal(rng, (inputs.shape[-1], 2))
    params = {"b": jnp.zeros(2), "a": [{"kernel": kernel}]}
    return params, {"steps": 0, "mean": jnp.zeros(2)}


@keras.saving.register_keras_serializable("tests")
@released.saving.register_keras_serializable("tests")
def run(params, state, rng, inputs, training):
    out = inputs @ params["a"][0]["kernel"] + params["b"]
    if training:
        out *= jax.random.bernoulli(rng, 0.5, out.shape)
        mean = 0.9 * state["mean"] + 0.1 * out.mean(0)
        state = {"steps": state["steps"] + 1, "mean": mean}
    return out, state


def plain(params, inputs):
    return jnp.tanh(inputs * params)


@keras.saving.register_keras_serializable("tests")
@released.saving.register_keras_serializable("tests")
class Block(nn.Module):
    """A Flax module with every kind of variable."""

    units: int = 4

    @nn.compact
    def __call__(self, inputs, training):
        x = nn.Dense(self.units)(inputs)
        x = nn.BatchNorm(use_running_average=not training)(x)
        return nn.Dropout(0.5, deterministic=not training)(x)

    @nn.compact
    def project(self, inputs):
        return nn.Dense(self.units, use_bias=False)(inputs)

    def get_config(self):
        return {"units": self.units}

    @classmethod
    def from_config(cls, config):
        return cls(**config)


def functional_project(module, inputs):
    return module.project(inputs)


VARIABLES = Block().init(jax.random.key(0), X, training=False)
MAKERS = {
    "jax": lambda k: k.layers.JaxLayer(run, start, seed=3, name="it"),
    "jax params": lambda k: k.layers.JaxLayer(
        plain, params=np.ones(3, "f4"), name="it"
    ),
    "flax": lambda k: k.layers.FlaxLayer(Block(), seed=3, name="it"),
    "flax variables": lambda k: k.layers.FlaxLayer(
        Block(), variables=VARIABLES, seed=3, name="it"
    ),
    "flax method": lambda k: k.layers.FlaxLayer(
        Block(2), method=Block(2).project, name="it"
    ),
    "flax function": lambda k: k.layers.FlaxLayer(
        Block(2), method=functional_project, name="it"
    ),
}
each = pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS.keys())


def pair(make, shape=(None, 3)):
    """The layer of both libraries, built."""
    made = []
    for library in LIBRARIES:
        library.utils.set_random_seed(1)
        library.utils.clear_session()
        layer = make(library)
        if not layer.built:
            layer.build(shape)
        made.append(layer)
    return made


def values(variables):
    return [jnp.asarray(v.value) for v in variables]


def facts(layer, symbolic):
    """What must agree of the weights and the placeholders."""
    weights = [
        (v.path, tuple(v.shape), str(v.dtype), v.trainable) for v in layer.weights
    ]
    return weights, tuple(symbolic.shape), symbolic.dtype, len(layer.variables)


def results(layer):
    """Outputs, new state and gradients, with and without training."""
    rest = values(layer.non_trainable_variables)

    def loss(trainable, x, training):
        out, state = layer.stateless_call(trainable, rest, x, training=training)
        return (out * jnp.cos(jnp.arange(out.size)).reshape(out.shape)).sum(), (
            out,
            state,
        )

    def both(trainable, x):
        grad = jax.grad(loss, (0, 1), has_aux=True)
        return grad(trainable, x, False), grad(trainable, x, True)

    run = jax.jit(both, compiler_options=QUICK)
    return run(values(layer.trainable_variables), X)


@each
def test_it_agrees_with_keras(make):
    ours, theirs = pair(make)
    close(values(ours.weights), values(theirs.weights), "initial weights")
    close(results(ours), results(theirs), "outputs, state, gradients")
    close(ours(X), theirs(X), "eager")
    mine = facts(ours, ours(keras.Input((3,))))
    assert mine == facts(theirs, theirs(released.Input((3,))))
    for other in (copy.deepcopy(ours), pickle.loads(pickle.dumps(ours))):
        close(other(X), ours(X), "copies")
    config, wanted = ours.get_config(), theirs.get_config()
    for key in ("module", "call_fn", "init_fn", "method"):
        if isinstance(wanted.get(key), dict):  # where a file need not say it
            config[key]["module"] = wanted[key]["module"]
    same_config(config, wanted)


def test_signatures_are_those_of_keras():
    for name in ("JaxLayer", "FlaxLayer", "TFSMLayer", "TorchModuleWrapper"):
        ours, theirs = (signature_of(getattr(k.layers, name)) for k in LIBRARIES)
        assert ours == theirs, name


@pytest.mark.parametrize("name", ["jax", "flax", "flax method"])
def test_a_model_is_trained_saved_and_loaded(name, tmp_path):
    model = keras.Sequential(
        [keras.Input((3,)), MAKERS[name](keras), keras.layers.Dense(1)]
    )
    before = model.get_weights()
    model.compile("sgd", "mse")
    model.fit(X, X[:, :1], batch_size=4, epochs=2, verbose=0)
    after = model.get_weights()
    assert all(np.any(a != b) for a, b in zip(before, after, strict=True))
    model.save(tmp_path / "m.keras")
    loaded = keras.models.load_model(tmp_path / "m.keras")
    close(loaded.get_weights(), after, "weights")
    close(loaded(X), model(X), "loaded")
    theirs = released.models.load_model(tmp_path / "m.keras")
    close(theirs.predict(X, verbose=0), model.predict(X, verbose=0), "Keras' reading")


def test_state_is_kept_between_steps():
    layer = MAKERS["jax"](keras)
    layer(X)
    assert int(layer.state["steps"]) == 0
    layer(X, training=True)
    layer(X, training=True)
    assert int(layer.state["steps"]) == 2
    assert [w.dtype for w in layer.non_trainable_weights] == ["float32", "int32"]


def test_a_function_without_weights_and_settings_among_them_work():
    double = keras.layers.JaxLayer(lambda inputs: 2 * inputs)
    np.testing.assert_array_equal(double(X), 2 * X)
    assert double.weights == [] and double.built
    named = keras.layers.JaxLayer(
        lambda params, inputs: getattr(jnp, params["name"])(inputs) * params["by"],
        params={"name": "sin", "by": 2.0},
    )
    close(named(X), 2 * np.sin(X), "settings")
    assert len(named.weights) == 1


def test_it_can_be_built_inside_a_trace():
    layer = MAKERS["jax"](keras)
    out = jax.jit(lambda x: layer(x))(X)
    close(out, layer(X), "built in jit")
    assert not isinstance(layer.weights[0].value, jax.core.Tracer)


def test_it_computes_in_a_mixed_precision():
    layer = keras.layers.JaxLayer(plain, params=jnp.ones(3), dtype="mixed_float16")
    assert layer(X).dtype == "float16" and layer.weights[0].dtype == "float32"


@pytest.mark.parametrize(
    ("mistake", "sentence"),
    [
        (
            lambda: keras.layers.JaxLayer(lambda parms, inputs: inputs),
            "must not take `parms`; it may take params, state, rng, inputs, training.",
        ),
        (
            lambda: keras.layers.JaxLayer(lambda params: params),
            "`call_fn` must take an argument `inputs`",
        ),
        (
            lambda: keras.layers.JaxLayer(plain),
            "one of `init_fn`, `params` and `state` must be given",
        ),
        (
            lambda: keras.layers.JaxLayer(
                lambda state, inputs: inputs, state=jnp.ones(1), name="it"
            )(X),
            "JaxLayer `it`: `call_fn` must be a function that returns (outputs",
        ),
        (
            lambda: keras.layers.JaxLayer(
                lambda state, inputs: (inputs, {"a": 1}), state=jnp.ones(1), name="it"
            )(X),
            "the state that `call_fn` returned is not made like the one it began with",
        ),
        (
            lambda: keras.layers.TFSMLayer("folder"),
            "TFSMLayer runs a TensorFlow SavedModel, and here all runs on JAX.",
        ),
        (
            lambda: keras.layers.TorchModuleWrapper(None),
            "TorchModuleWrapper runs a PyTorch module, and here all runs on JAX.",
        ),
    ],
)
def test_a_mistake_is_told_in_a_sentence(mistake, sentence):
    with pytest.raises((ValueError, NotImplementedError)) as caught:
        mistake()
    assert sentence in str(caught.value)


def test_flax_is_asked_for_by_its_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "flax.linen", None)
    with pytest.raises(ImportError, match=r"pip install 'kerasnb\[flax\]'"):
        keras.layers.FlaxLayer(Block())
