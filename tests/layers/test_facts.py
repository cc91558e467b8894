"""What holds for every layer, whatever it computes: one row for each public class."""

import importlib
import inspect
import random
from pathlib import Path

import jax
import jax.numpy as jnp
import keras
import numpy as np
import pytest

import kerasnb
from kerasnb import layers
from tests.helpers import QUICK, Case, both, case, close, inputs_for, make, spec
from tests.layers.grid import without_drawing

# Classes that are not called by themselves on arrays, and where their tests are.
ELSEWHERE = {
    "FlaxLayer": "tests/layers/test_jax_layer.py",
    "InputLayer": "tests/layers/test_general.py",
    "InputSpec": "not a layer",
    "JaxLayer": "tests/layers/test_jax_layer.py",
    "GRUCell": "inside RNN",
    "HashedCrossing": "tests/layers/test_lookup.py",
    "Hashing": "tests/layers/test_lookup.py",
    "IntegerLookup": "tests/layers/test_lookup.py",
    "LSTMCell": "inside RNN",
    "Lambda": "tests/layers/test_lambda.py",
    "Layer": "the base",
    "MaxNumBoundingBoxes": "tests/layers/test_augment.py",
    "Pipeline": "tests/layers/test_augment.py",
    "SimpleRNNCell": "inside RNN",
    "StackedRNNCells": "inside RNN",
    "StringLookup": "tests/layers/test_lookup.py",
    "TFSMLayer": "says what to use instead",
    "TextVectorization": "tests/layers/test_lookup.py",
    "TorchModuleWrapper": "says what to use instead",
    "Wrapper": "the base of those with a layer inside",
}

PUBLIC = {
    value.__name__
    for name, value in vars(layers).items()
    if inspect.isclass(value) and not name.startswith("_")
}
PICTURES = (2, 6, 5, 3)
# What changes images by chance has tests of its own; the facts hold all the same.
IMAGES = {
    "AugMix AutoContrast ContrastLimitedAdaptiveHistogramEqualization CutMix "
    "Equalization MixUp RandAugment RandomColorJitter RandomElasticTransform "
    "RandomErasing RandomFlip RandomGaussianBlur RandomGrayscale RandomInvert "
    "RandomPerspective RandomShear Solarization": {},
    "RandomBrightness RandomColorDegeneration RandomContrast RandomHue RandomRotation "
    "RandomSaturation RandomSharpness": {"factor": 0.3},
    "RandomPosterization": {"factor": 4},
    "RandomTranslation RandomZoom": {"height_factor": 0.2, "width_factor": 0.3},
    "CenterCrop RandomCrop Resizing": {"height": 4, "width": 4},
}


def _rows():
    """The first row for each class in the tables of this folder."""
    found = {}
    for names, args in IMAGES.items():
        found |= {name: case(name, PICTURES, **args) for name in names.split()}
    for path in sorted(Path(__file__).parent.glob("test_*.py")):
        if path.name != Path(__file__).name and "\nTABLE = " in path.read_text():
            module = importlib.import_module(f"tests.layers.{path.stem}")
            for row in module.TABLE:
                if isinstance(row, Case):
                    found.setdefault(row.name, row)
    return found


ROWS = _rows()
leaves = jax.tree.leaves
every = pytest.mark.parametrize("name", sorted(ROWS))


def test_every_layer_has_a_row_or_tests_of_its_own():
    assert PUBLIC - ELSEWHERE.keys() <= ROWS.keys()
    assert ROWS.keys() <= PUBLIC, "a row without a public layer"


def made(row, **more):
    """The layer of a row, always with the same seeds, built."""
    random.seed(1)
    layer = make(layers, row.name, {"name": "it", **row.args, **more})
    layer(*row.placeholders(layers), **row.call)
    return layer


def options_of(layer, training):
    """`training`, where the layer takes it."""
    takes = "training" in inspect.signature(layer.call).parameters
    return {"training": training} if takes else {}


def state_of(layer):
    return [np.asarray(v.value) for v in layer.variables]


@pytest.mark.parity
@every
def test_a_layer_computes_alike_eagerly_compiled_and_in_a_loop(name):
    """And again after the same seed; with finite gradients on the way."""
    row = ROWS[name]
    x = inputs_for(row)
    layer, other = made(row), made(row)
    args = row.arguments(x)
    how = row.call | options_of(layer, True)
    eager = [layer(*args, **how) for _ in range(2)]
    wanted = (0,) if row.below else (0, 1)

    def turn(values, _):
        trainable, rest = values

        def loss(trainable, x):
            out, new = other.stateless_call(trainable, rest, *row.arguments(x), **how)
            total = sum(jnp.sum(y * jnp.ones((), "float32")) for y in leaves(out))
            return total, (out, new)

        grads, (out, new) = jax.grad(loss, wanted, has_aux=True)(trainable, x)
        return (trainable, new), (out, grads)

    start = tuple(
        [v.value for v in getattr(other, f"{kind}trainable_variables")]
        for kind in ("", "non_")
    )
    loop = jax.jit(lambda s: jax.lax.scan(turn, s, None, 2), compiler_options=QUICK)
    (_, state), (outs, grads) = loop(start)
    close(jax.tree.map(lambda *y: jnp.stack(y), *eager), outs, "outputs")
    close([v.value for v in layer.non_trainable_variables], state, "state")
    assert all(np.isfinite(g).all() for g in leaves(grads)), "finite gradients"


@pytest.mark.parity
@every
def test_a_layer_at_rest_changes_nothing_and_takes_samples_one_by_one(name):
    row = ROWS[name]
    layer, x = made(row), inputs_for(row)
    how = row.call | options_of(layer, False)
    whole = layer(*row.arguments(x), **how)
    before = state_of(layer)
    one = layer(*row.arguments(jax.tree.map(lambda a: a[:1], x)), **how)
    close(one, jax.tree.map(lambda y: y[:1], whole), "a batch of one")
    close(state_of(layer), before, "state")
    # Symbolic calls know the shapes, but for the axes they cannot know.
    for unknown in ((), row.unknown):
        symbolic = layer(*row.placeholders(layers, unknown), **how)
        for (shape, dtype), y in zip(spec(symbolic), leaves(whole), strict=True):
            assert dtype == str(y.dtype)
            assert len(shape) == y.ndim
            assert all(d in (None, n) for d, n in zip(shape, y.shape, strict=True))
            assert unknown or None not in shape


@pytest.mark.parity
@every
def test_a_layer_survives_being_saved(name, tmp_path):
    row = ROWS[name]
    inputs = row.placeholders(layers)
    layer = made(row)
    outputs = layer(*inputs, **row.call)
    model = kerasnb.Model(inputs if row.spread else inputs[0], outputs)
    for variable in layer.weights:
        variable.assign(variable.value + jnp.asarray(0.25, variable.dtype))
    x = inputs_for(row)
    args = row.arguments(x)
    args = args if row.spread else args[0]
    wanted = model(args, training=False)
    model.save(tmp_path / "model.keras")
    again = kerasnb.saving.load_model(tmp_path / "model.keras")
    close(again(args, training=False), wanted, "a saved model")
    for variable in layer.weights:
        variable.assign(variable.value * 0)
    again.save_weights(tmp_path / "model.weights.h5")
    model.load_weights(tmp_path / "model.weights.h5")
    close(model(args, training=False), wanted, "saved weights")


# --- Mistakes ----------------------------------------------------------------------

# What no layer with such an argument may take.
IMPOSSIBLE = {
    "activation": ["relju"],
    "data_format": ["channel_last"],
    "depth_multiplier": [0],
    "dilation_rate": [0, -1],
    "filters": [0, -2, 2.5],
    "groups": [0],
    "head_dim": [0],
    "height": [0, -1],
    "input_dim": [0],
    "interpolation": ["bilinea"],
    "kernel_size": [0, -1, (1, 2, 3, 4)],
    "key_dim": [0],
    "kernel_initializer": ["glorot_unifrom"],
    "n": [0],
    "num_heads": [0],
    "num_bins": [0],
    "num_tokens": [0],
    "output_dim": [0],
    "output_size": [0],
    "padding": ["sane", -1],
    "pool_size": [0, -1],
    "rate": [-0.5, 2],
    "size": [0, -1],
    "stddev": [-1],
    "strides": [0, -1],
    "units": [0, -1, 2.5],
    "width": [0, -1],
}

# What takes inputs that Keras refuses, and why.
LENIENT = {
    "EinsumDense": "an axis that no weight has may change its length",
}


def check_sentence(error, *words):
    """One sentence of one line that names all of `words`."""
    text = str(error)
    assert "\n" not in text and text.endswith((".", "?")), text
    for word in words:
        assert word in text, f"{text!r} does not say {word!r}"


@every
def test_a_layer_names_the_argument_it_cannot_take(name):
    row = ROWS[name]
    with pytest.raises((TypeError, ValueError)) as raised:
        made(row, nonsense=1)
    check_sentence(raised.value, name, "`nonsense`")
    for argument in inspect.signature(getattr(layers, name)).parameters:
        for value in IMPOSSIBLE.get(argument, ()):
            with pytest.raises((TypeError, ValueError)) as raised:
                made(row, **{argument: value})
            # A name that is looked up is told as what it is: an unknown initializer.
            looked_up = str(raised.value).startswith("Unknown ")
            who = () if looked_up else (name,)
            check_sentence(raised.value, *who, argument.rpartition("_")[2])


@every
def test_a_layer_names_itself_when_it_cannot_take_the_inputs(name):
    """Whatever Keras refuses: more axes or fewer, channels it was not built for."""
    row = ROWS[name]
    shapes = [
        [(*s[:-1], 1, s[-1]) for s in row.shapes],
        [s[:-1] for s in row.shapes],
        [s[:1] for s in row.shapes],
        [(*s[:-1], s[-1] + 1) for s in row.shapes],
        [(s[0], s[1] + 1, *s[2:]) if len(s) > 1 else s for s in row.shapes],
        [s[:2] if i else s for i, s in enumerate(row.shapes)],
    ]
    for built in (False, True):
        for wrong in shapes:
            ours, theirs = both(name, **row.args)
            other = type(row)(**{**vars(row), "shapes": wrong})
            refused = []
            for library, layer in ((layers, ours), (keras, theirs)):
                if built:
                    with without_drawing():
                        layer(*row.placeholders(library), **row.options)
                try:
                    with without_drawing():
                        layer(*other.placeholders(library), **row.options)
                except Exception as error:  # noqa: BLE001 - Keras may raise anything
                    refused.append(error)
                else:
                    refused.append(None)
            if refused[0] is not None:
                named = {type(layer).__name__ for layer in ours._flatten_layers()}
                assert any(one in str(refused[0]) for one in named), refused[0]
                check_sentence(refused[0])
            elif name not in LENIENT:
                assert refused[1] is None, f"Keras refuses {wrong}: {refused[1]}"
