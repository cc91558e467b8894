"""kerasnb.models.code"""

import keras as real
import numpy as np
import pytest

import kerasnb
from kerasnb import layers, ops
from kerasnb.core.graph import leaves
from kerasnb.models.code import arguments_of, code_of, to_code


def chain():
    return kerasnb.Sequential(
        [
            kerasnb.Input((6, 6, 1), dtype="uint8"),
            layers.Rescaling(1 / 255),
            layers.Conv2D(4, 3, strides=2, padding="same", activation="relu"),
            layers.Flatten(),
            layers.Dense(2, kernel_initializer="he_normal", name="out"),
        ],
        name="chain",
    )


def branches():
    x = inputs = kerasnb.Input((4,))
    x = skip = layers.Dense(4, activation="tanh")(x)
    x = layers.Dense(4, use_bias=False)(x)
    x = layers.Add()([x, skip])
    x = layers.Dropout(0.5)(x)
    return kerasnb.Model(inputs, layers.Dense(1)(x), name="branches")


def several():
    a, b = kerasnb.Input((3,), name="a"), kerasnb.Input((None, 2), name="b")
    shared = layers.Dense(3, name="shared")
    left = shared(a)
    right = layers.GlobalAveragePooling1D()(b)
    x = layers.Concatenate()([left, right, shared(left)])
    return kerasnb.Model([a, b], {"sum": x, "one": layers.Dense(1)(x)}, name="several")


def operators():
    inputs = kerasnb.Input((4,))
    x = (2 * inputs + 1)[:, :3]
    return kerasnb.Model(inputs, ops.relu(x), name="operators")


def nested():
    inputs = kerasnb.Input((6, 6, 1))
    x = chain()(inputs)
    inner = branches()
    x = layers.Dense(4)(x)
    return kerasnb.Model(inputs, inner(x), name="nested")


MODELS = [chain, branches, several, operators, nested]


@pytest.mark.parametrize("make", MODELS, ids=lambda make: make.__name__)
def test_the_script_makes_the_same_model(make):
    model = make()
    namespace = {}
    exec(to_code(model), namespace)
    again = namespace[model.name]
    assert type(again) is type(model)
    assert again.output_shape == model.output_shape
    assert [w.shape for w in again.weights] == [w.shape for w in model.weights]
    kinds = [[type(x).__name__ for x in m.layers] for m in (model, again)]
    assert kinds[0] == kinds[1]
    again.set_weights(model.get_weights())
    inputs = [
        np.ones([2, *(n or 3 for n in t.shape[1:])], t.dtype) for t in model.inputs
    ]
    inputs = inputs if len(inputs) > 1 else inputs[0]
    for a, b in zip(leaves(model(inputs)), leaves(again(inputs)), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6)


@pytest.mark.parametrize("make", MODELS, ids=lambda make: make.__name__)
def test_the_script_runs_with_the_released_keras_too(make):
    model = make()
    code = to_code(model).replace("import kerasnb as keras", "import keras")
    namespace = {}
    exec(
        code.replace("from kerasnb import layers", "from keras import layers"),
        namespace,
    )
    assert isinstance(namespace[model.name], real.Model)
    shapes = [tuple(w.shape) for w in namespace[model.name].weights]
    assert shapes == [w.shape for w in model.weights]


def test_a_script_reads_as_people_write():
    model = branches()
    model.compile(kerasnb.optimizers.Adam(0.01), "mse", metrics=["mae"])
    assert (
        to_code(model)
        == """\
import kerasnb as keras
from kerasnb import layers

inputs = keras.Input((4,))
dense = layers.Dense(4, activation="tanh")(inputs)
x = layers.Dense(4, use_bias=False)(dense)
x = layers.Add()([x, dense])
x = layers.Dropout(0.5)(x)
x = layers.Dense(1)(x)
branches = keras.Model(inputs, x, name="branches")

branches.compile(
    optimizer=keras.optimizers.Adam(learning_rate=0.01),
    loss="mse",
    metrics=["mae"],
)"""
    )


def test_a_changed_learning_rate_is_in_the_script():
    model = chain()
    model.compile("sgd", "mse")
    assert 'optimizer="sgd"' in to_code(model)
    model.optimizer.learning_rate = 0.5
    assert "optimizer=keras.optimizers.SGD(learning_rate=0.5)" in to_code(model)


def test_a_schedule_is_in_the_script():
    model = chain()
    schedule = kerasnb.optimizers.schedules.ExponentialDecay(0.1, 10, 0.5)
    model.compile(kerasnb.optimizers.SGD(schedule, momentum=0.9), "mse")
    assert (
        "SGD(learning_rate=keras.optimizers.schedules.ExponentialDecay(0.1, 10, 0.5), "
        "momentum=0.9)"
    ) in to_code(model)


def named_like_the_script():
    inner = kerasnb.Sequential([kerasnb.Input((4,)), layers.Dense(4)], name="x")
    inputs = kerasnb.Input((4,))
    return kerasnb.Model(inputs, inner(inner(inputs)), name="layers")


def named_like_python():
    layer = layers.Dense(2, input_shape=(4,), name="lambda")
    return kerasnb.Sequential([layer], name="class")


@pytest.mark.parametrize("make", [named_like_the_script, named_like_python])
def test_names_of_python_and_of_the_script_are_left_to_them(make):
    model, namespace = make(), {}
    exec(to_code(model), namespace)
    again = namespace[f"{model.name}_"]
    assert again.name == model.name and again.output_shape == model.output_shape


def test_a_shape_said_by_the_first_layer_becomes_an_input():
    layer = layers.Dense(2, input_shape=(4,))
    model = kerasnb.Sequential([layer, layers.Embedding(5, 2)], name="net")
    assert to_code(model).splitlines()[4:-1] == [
        "    keras.Input((4,)),",
        "    layers.Dense(2),",
        "    layers.Embedding(5, 2),",
    ]


def double(x):
    return 2 * x


def test_what_a_script_needs_from_elsewhere_is_listed_and_nothing_idle_imported():
    inputs = kerasnb.Input((4,))
    own = kerasnb.Model(inputs, layers.Lambda(double)(inputs), name="own")
    own.compile("sgd", loss={"lambda": double})
    head = to_code(own).splitlines()[:4]
    assert head[2:] == ["", "# Your own, which the script needs: double."]
    assert '{"lambda": double}' in to_code(own)
    idle = to_code(kerasnb.Model(inputs, ops.relu(inputs), name="idle"))
    assert idle.startswith("import kerasnb as keras\n\ninputs = ")


def test_only_arguments_that_differ_from_the_defaults_are_written():
    layer = layers.Conv2D(4, (3, 3), activation=None, padding="same", name="c")
    assert arguments_of(layer) == {
        "filters": "4",
        "kernel_size": "(3, 3)",
        "padding": '"same"',
        "name": '"c"',
    }
    again = layers.Conv2D.from_config(layer.get_config())
    assert arguments_of(again) == arguments_of(layer)


@pytest.mark.parametrize(
    ("value", "code"),
    [
        (1 / 255, "1 / 255"),
        (0.25, "0.25"),
        (1e-7, "1e-07"),
        ('say "a"', "'say \"a\"'"),
        ([1, ("a",)], '[1, ("a",)]'),
        (kerasnb.regularizers.L2(0.5), "keras.regularizers.L2(l2=0.5)"),
        (kerasnb.activations.relu, "keras.activations.relu"),
        (len, "len"),
        (lambda x: x, "your_function"),
        (np.array([1, 2]), "keras.ops.array([1, 2])"),
    ],
)
def test_values_are_written_as_python(value, code):
    assert code_of(value) == code
