"""kerasnb.layers.quantized: layers in few bits, beside Keras' layers."""

import jax
import jax.numpy as jnp
import keras
import numpy as np
import pytest

import kerasnb
from kerasnb import layers, quantizers
from kerasnb.core.configurable import deserialize, serialize
from tests.helpers import QUICK, same_config

pytestmark = [
    pytest.mark.parity,  # slow to compile
    # Keras' own variables are not ready for NumPy 2.
    pytest.mark.filterwarnings("ignore:__array__:DeprecationWarning"),
]

LIBRARIES = (kerasnb, keras)
# Name, arguments, shape of the inputs, limit of whole numbers as inputs.
DENSE = ("Dense", {"units": 5}, (3, 7), None)
EINSUM = (
    "EinsumDense",
    {"equation": "abcd,cde->abe", "output_shape": (3, 5), "bias_axes": "e"},
    (2, 3, 2, 4),
    None,
)
TURNED = ("EinsumDense", {"equation": "ab,cb->ac", "output_shape": 3}, (2, 5), None)
TIED = ("ReversibleEmbedding", {"input_dim": 6, "output_dim": 5}, (2, 4), 6)
UNTIED = (TIED[0], TIED[1] | {"tie_weights": False}, *TIED[2:])
CONFIGS = {
    "int8": lambda q: q.Int8QuantizationConfig(),
    "int8 weights": lambda q: q.Int8QuantizationConfig(None, None),
    "int4": lambda q: q.Int4QuantizationConfig(),
    "int4 blocks": lambda q: q.Int4QuantizationConfig(block_size=3),
    "int4 channels": lambda q: q.Int4QuantizationConfig(block_size=None),
    "int4 inputs": lambda q: q.Int4QuantizationConfig(
        None, q.AbsMaxQuantizer(), block_size=-1
    ),
}


def label(value):
    if isinstance(value, tuple):
        return "-".join([value[0], *map(str, value[1].values())]).replace(" ", "")
    return str(value)


def inputs_of(row, rng):
    _, _, shape, below = row
    if below:
        return rng.integers(0, below, shape).astype("int32")
    return rng.normal(size=shape).astype("float32")


def pair(row, rng, **more):
    """The layer of both libraries, built, with equal weights."""
    name, arguments, shape, _ = row
    made = [getattr(m.layers, name)(**arguments, **more, name="it") for m in LIBRARIES]
    for layer in made:
        layer.build(shape)
    give_values(made, rng)
    return made


def give_values(pair, rng):
    """The same random floats to both layers."""
    values = [
        rng.normal(size=v.shape).astype("float32") if v.dtype == "float32" else v
        for v in pair[0].get_weights()
    ]
    for layer in pair:
        layer.set_weights(values)


def facts(layer):
    return [
        (v.path, tuple(v.shape), str(v.dtype), v.trainable, np.asarray(v).tolist())
        for v in layer.weights
    ]


def stored(layer):
    store = {}
    layer.save_own_variables(store)
    return {k: np.asarray(v) for k, v in store.items()}


def same_state(ours, theirs):
    mine, wanted = facts(ours), facts(theirs)
    assert [f[:4] for f in mine] == [f[:4] for f in wanted]
    for a, b in zip(mine, wanted, strict=True):
        np.testing.assert_allclose(a[4], b[4], rtol=1e-6, atol=1e-6, err_msg=a[0])
    mine, wanted = stored(ours), stored(theirs)
    assert mine.keys() == wanted.keys()
    for key in wanted:
        np.testing.assert_allclose(mine[key], wanted[key], rtol=1e-6, atol=1e-6)


def results(layer, x):
    """Outputs and, for floats, the gradient of a weighted sum of them."""
    if x.dtype == "int32":
        return [jax.jit(layer)(x)]

    def total(x):
        y = layer(x)
        return jnp.sum(y * jnp.cos(jnp.arange(y.size)).reshape(y.shape)), y

    step = jax.jit(jax.value_and_grad(total, has_aux=True), compiler_options=QUICK)
    (_, y), gradient = step(x)
    return [y, gradient]


def same_results(ours, theirs, x, tolerance=2e-5):
    for a, b in zip(results(ours, x), results(theirs, x), strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_allclose(
            *(np.asarray(y, "float32") for y in (a, b)), rtol=tolerance, atol=tolerance
        )


CASES = [
    *((DENSE, config) for config in CONFIGS),
    *((EINSUM, config) for config in ("int8", "int4 blocks", "int4 inputs")),
    (TURNED, "int8"),
    (TIED, "int8"),
    (TIED, "int4 blocks"),
    *((UNTIED, config) for config in ("int8", "int4 blocks", "int4 inputs")),
]


@pytest.mark.parametrize(("row", "config"), CASES, ids=label)
def test_a_quantised_layer_agrees_with_keras(row, config, rng):
    ours, theirs = pair(row, rng)
    ours.quantize(config=CONFIGS[config](quantizers))
    theirs.quantize(config=CONFIGS[config](keras.quantizers))
    same_state(ours, theirs)
    x = inputs_of(row, rng)
    same_results(ours, theirs, x)
    if row[0] == "ReversibleEmbedding":
        x = rng.normal(size=(2, 3, 5)).astype("float32")
        np.testing.assert_allclose(
            ours(x, reverse=True), theirs(x, reverse=True), rtol=2e-5, atol=2e-5
        )
    agree_on_files(ours, theirs)


def agree_on_files(ours, theirs):
    """Each library makes the same layer of the other one's config and variables."""
    mine, wanted = serialize(ours), keras.saving.serialize_keras_object(theirs)
    same_config(mine["config"], wanted["config"])
    back, there = deserialize(wanted), keras.saving.deserialize_keras_object(mine)
    for layer, source in ((back, theirs), (there, ours)):
        layer.load_own_variables(stored(source))
    for (key, a), (_, b) in zip(
        stored(back).items(), stored(there).items(), strict=True
    ):
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-6, err_msg=key)
    assert [f[:4] for f in facts(back)] == [f[:4] for f in facts(there)]


# --- In other ways ------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["int8_from_float32", "int4/3_from_float32"])
@pytest.mark.parametrize("row", [DENSE, EINSUM, UNTIED], ids=label)
def test_a_layer_may_be_built_in_few_bits(row, dtype, rng):
    name, arguments, shape, _ = row
    ours, theirs = made = [
        getattr(m.layers, name)(**arguments, dtype=dtype, name="it") for m in LIBRARIES
    ]
    for layer in made:
        layer.build(shape)
    values = [
        v + 1 if v.dtype == "float32" and v.ndim != 1 else v
        for v in theirs.get_weights()
    ]
    values = [
        rng.integers(-99, 99, v.shape).astype("int8") if v.dtype == "int8" else v
        for v in values
    ]
    for layer in made:
        layer.set_weights(values)
    same_state(ours, theirs)
    same_results(ours, theirs, inputs_of(row, rng), tolerance=1e-4)
    agree_on_files(ours, theirs)
    mode = ours.quantization_mode
    spec = ours.variable_serialization_spec
    assert spec[mode] == theirs.variable_serialization_spec[mode]
    assert spec[None] == theirs.variable_serialization_spec[None]


@pytest.mark.parametrize("config", ["int8", "int4 blocks"])
@pytest.mark.parametrize("row", [DENSE, EINSUM, TIED], ids=label)
def test_an_addition_works_on_top_and_is_merged_in_files(row, config, rng):
    ours, theirs = made = pair(row, rng)
    for layer in made:
        layer.enable_lora(2, lora_alpha=3)
    give_values(made, rng)
    ours.quantize(config=CONFIGS[config](quantizers))
    theirs.quantize(config=CONFIGS[config](keras.quantizers))
    same_results(ours, theirs, inputs_of(row, rng))
    same_state(ours, theirs)


def test_an_addition_fits_equations_of_any_order(rng):
    layer, _ = pair(TURNED, rng)
    layer.enable_lora(2, b_initializer="ones")
    x = inputs_of(TURNED, rng)
    before = layer(x)
    layer.quantize("int8")
    np.testing.assert_allclose(layer(x), before, atol=0.1)


@pytest.mark.parametrize(
    ("row", "training"), [(DENSE, True), (EINSUM, False)], ids=label
)
def test_float8_agrees_with_keras(row, training, rng):
    ours, theirs = made = pair(row, rng)
    for layer in made:
        layer.quantize("float8")
    values = [np.abs(v) + 0.1 for v in ours.get_weights()]
    for layer in made:
        layer.set_weights(values)
    same_state(ours, theirs)
    agree_on_files(ours, theirs)
    x = inputs_of(row, rng)

    def outcome(layer):
        frozen = [v.value for v in layer.non_trainable_variables]

        def total(trained, x):
            y, _ = layer.stateless_call(trained, frozen, x, training=training)
            return jnp.sum(y * jnp.cos(jnp.arange(y.size)).reshape(y.shape)), y

        trained = [v.value for v in layer.trainable_variables]
        step = jax.jit(jax.value_and_grad(total, (0, 1), has_aux=True))
        (_, y), gradients = step(trained, x)
        return jax.tree.leaves((y, gradients))

    for a, b in zip(outcome(ours), outcome(theirs), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)


def test_float8_trains(rng):
    x = rng.normal(size=(8, 4)).astype("float32")
    model = kerasnb.Sequential([layers.Dense(3, dtype="float8_from_float32")])
    model.compile("sgd", "mse")
    losses = model.fit(x, x[:, :3], epochs=5, verbose=0).history["loss"]
    assert losses[-1] < losses[0]
    assert model.layers[0].inputs_amax_history.value[0] == np.abs(x).max()


# --- Models -------------------------------------------------------------------------


def network(library):
    make = library.layers
    x = inputs = library.Input((4,), dtype="int32")
    x = make.Embedding(9, 6)(x)
    x = make.EinsumDense("abc,cd->abd", (4, 5), bias_axes="d", name="middle")(x)
    x = make.GlobalAveragePooling1D()(x)
    x = make.LayerNormalization(name="norm")(x)
    return library.Model(inputs, make.Dense(3, name="out")(x))


def test_a_quantised_model_goes_both_ways_in_files(rng, tmp_path):
    ours, theirs = models = [network(m) for m in LIBRARIES]
    give_values(models, rng)
    x = rng.integers(0, 9, (5, 4)).astype("int32")
    ours.predict(x, verbose=0)
    for model in models:
        with pytest.warns(UserWarning, match="norm|quantize"):
            model.quantize("int4")
    wanted = theirs.predict(x, verbose=0)
    np.testing.assert_allclose(ours.predict(x, verbose=0), wanted, atol=1e-4)
    for model, library in zip(models, LIBRARIES[::-1], strict=True):
        model.save(tmp_path / "it.keras")
        again = library.saving.load_model(tmp_path / "it.keras")
        np.testing.assert_allclose(again.predict(x, verbose=0), wanted, atol=1e-4)


def test_filters_choose_the_layers():
    dense = (layers.Dense, layers.EinsumDense)
    for chosen in ("mid|out", ["mid", "out"], lambda layer: isinstance(layer, dense)):
        model = network(kerasnb)
        model.quantize("int8", filters=chosen)
        modes = {layer.name: layer.quantization_mode for layer in model.layers}
        assert {n for n, mode in modes.items() if mode == "int8"} == {"middle", "out"}


def test_a_map_gives_each_layer_its_policy():
    policies = kerasnb.dtype_policies.DTypePolicyMap(
        "float32", {"block/first": "mixed_bfloat16", "block/s.*": "int8_from_float32"}
    )

    class Block(layers.Layer):
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
            options = {"dtype": self.dtype_policy}
            self.first = layers.Dense(3, name="first", **options)
            self.second = layers.Dense(3, name="second", **options)

        def call(self, x):
            return self.second(self.first(x))

    block = Block(name="block", dtype=policies)
    block(kerasnb.Input((4,)))
    assert block.first.compute_dtype == "bfloat16" and block.dtype == "float32"
    assert [v.dtype for v in block.second.weights] == ["float32", "int8", "float32"]


def test_setting_a_quantised_policy_quantises(rng):
    layer, _ = pair(DENSE, rng)
    layer.dtype_policy = "int8_from_float32"
    assert layer.kernel.dtype == "int8" and layer.quantization_mode == "int8"


# --- Mistakes -----------------------------------------------------------------------


def built(cls=layers.Dense, **arguments):
    layer = cls(3, name="it", **arguments)
    layer.build((2, 4))
    return layer


class Own(layers.Dense):
    """A layer of a user."""


@pytest.mark.parametrize(
    ("make", "arguments", "message"),
    [
        (built, {"mode": "int9"}, "unknown quantisation mode 'int9'.* Did you mean"),
        (built, {}, "give a `mode`"),
        (built, {"config": 3}, "`config` must be a QuantizationConfig, not 3"),
        (built, {"mode": "int8", "config": CONFIGS["int4"](quantizers)}, "contradicts"),
        (built, {"mode": "gptq"}, "needs a GPTQConfig"),
        (built, {"config": quantizers.GPTQConfig(1, 1)}, "its modes are"),
        (lambda: layers.Dense(3), {"mode": "int8"}, "must be built before quantize"),
        (lambda: built(dtype="mixed_float16"), {"mode": "int8"}, "work with float16"),
        (lambda: built(dtype="int8_from_float32"), {"mode": "int8"}, "already"),
        (lambda: built(Own), {"mode": "int8"}, "type_check=False"),
        (lambda: built(lora_rank=1), {"mode": "float8"}, "LoRA does not work"),
        (lambda: layers.Dropout(0.1), {"mode": "int8"}, "cannot be quantised; Dense"),
        (lambda: layers.Embedding(3, 4), {"mode": "float8"}, "its modes are"),
    ],
)
def test_what_cannot_be_quantised_is_told(make, arguments, message):
    with pytest.raises((ValueError, NotImplementedError), match=message):
        make().quantize(**arguments)


def test_a_model_refuses_what_it_does_not_know():
    model = network(kerasnb)
    with pytest.raises(ValueError, match="has no argument `bits`"):
        model.quantize("int8", bits=3)
    with pytest.raises(ValueError, match="`filters` must be a regular expression"):
        model.quantize("int8", filters=3)
    with pytest.raises(NotImplementedError, match="the modes are int8, int4"):
        model.quantize(config=quantizers.AWQConfig(1, 1))
