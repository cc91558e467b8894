"""kerasnb.notebook.kmodel, with rewrite, specs and hints that it is made of"""

import textwrap

import numpy as np
import pytest

import kerasnb as keras
from kerasnb import config
from kerasnb.notebook import build_model
from kerasnb.notebook.errors import KModelError
from kerasnb.notebook.specs import choose_loss, input_spec


def build(source, namespace=None, **options):
    """A model of flat inputs, unless told otherwise."""
    options.setdefault("input", (4,))
    return build_model(textwrap.dedent(source), namespace, **options)


def kinds(model):
    """The classes of the layers, the input left out."""
    return [type(layer).__name__ for layer in model.layers[1:]]


def units(model):
    """The widths of the Dense layers."""
    return [x.units for x in model.layers if isinstance(x, keras.layers.Dense)]


# --- A line that is just a layer ----------------------------------------------------


@pytest.mark.parametrize(
    "source",
    [
        "Dense(1)\nDense(2)",
        "for n in (1, 2):\n    Dense(n)",
        "n = 0\nwhile n < 2:\n    n += 1\n    Dense(n)",
        "if True:\n    Dense(1)\nelse:\n    Dense(7)\nDense(2)",
        "import contextlib\nwith contextlib.nullcontext():\n    Dense(1)\nDense(2)",
        "try:\n    Dense(1)\nfinally:\n    Dense(2)",
        "try:\n    raise OSError\nexcept OSError:\n    Dense(1)\nDense(2)",
        "match 3:\n    case 3:\n        Dense(1)\nDense(2)",
        "for a in (1,):\n    for b in (2,):\n        if b: Dense(a)\nDense(2)",
        "[Dense(1), Dense(2)]",
        "[Dense(n) for n in (1, 2)]",
        "Dense(1), Dense(2)",
        "[[Dense(1)], (Dense(2),)]",
        "Dense(1); Dense(2)",
        "first = Dense(1)\nfirst\nDense(2)",
        "layers = {'a': Dense(1)}\nlayers['a']\nDense(2) if layers else None",
        "x = Dense(1)(x)\nDense(2)",
    ],
)
def test_a_layer_on_a_line_of_its_own_is_applied_at_any_depth(source):
    model = build(source)
    assert units(model) == [1, 2]
    assert model.output_shape == (None, 2)


def test_branches_and_joins_are_plain_python():
    model = build(
        """
        for filters in (4, 8):
            Conv2D(filters, 3, padding="same")
            skip = x
            Conv2D(filters, 3, padding="same")
            x = Add()([x, skip])
            MaxPooling2D()
        Flatten()
        """,
        input=(8, 8, 1),
    )
    one = ["Conv2D", "Conv2D", "Add", "MaxPooling2D"]
    assert kinds(model) == [*one, *one, "Flatten"]


def test_models_and_layers_of_the_user_are_layers_too():
    class Twice(keras.layers.Layer):
        def call(self, inputs):
            return 2 * inputs

    inner = keras.Sequential([keras.layers.Dense(3, name="in_it")], name="inner")
    model = build("Twice()\ninner\nDense(2)", {"Twice": Twice, "inner": inner})
    assert kinds(model) == ["Twice", "Sequential", "Dense"]
    assert model.layers[2] is inner


def test_a_class_in_the_cell_is_plain_python():
    model = build(
        """
        class Scale(Layer):
            factor = float(2)

            def build(self, input_shape):
                super().build(input_shape)
                self.weight = self.add_weight((), "ones")

            def call(self, x):
                Dense(9)
                return x * self.weight * self.factor

        Scale()
        """
    )
    assert kinds(model) == ["Scale"]
    np.testing.assert_array_equal(
        model(np.ones((1, 4), "float32")), 2 * np.ones((1, 4))
    )


@pytest.mark.parametrize(
    "source",
    [
        "def block(n):\n    Dense(n)\nblock(1)\nblock(2)",
        "def block(n):\n    'Words.'\n    Dense(n)\nfor n in (1, 2):\n    block(n)",
        "def block(x, n):\n    Dense(n)\n    return x\nx = block(block(x, 1), 2)",
        "def block(n):\n    global x\n    Dense(n)\nblock(1)\nblock(2)",
        (
            "def outer(x):\n    def inner(n):\n        Dense(n)\n    inner(1)\n"
            "    inner(2)\n    return x\nx = outer(x)"
        ),
        "def block(n):\n    [x for x in (1, 2)]\n    Dense(n)\nblock(1)\nblock(2)",
        "def late():\n    print(end='')\n    x = 3\nlate()\nDense(1)\nDense(2)",
        "def block(n):\n    Dense(n)\n    global x\nblock(1)\nglobal x\nblock(2)",
    ],
)
def test_in_a_function_the_rules_hold_for_its_own_x_or_the_cells(source):
    assert units(build(source)) == [1, 2]


def test_a_function_of_the_cell_is_plain_python_when_the_model_runs():
    class Apply(keras.layers.Layer):
        def __init__(self, function):
            super().__init__()
            self.function = function

        def call(self, inputs):
            return self.function(inputs)

    made = []
    build(
        """
        def double(inputs):
            Dense(3)
            return inputs * 2

        made.append(Apply(double))
        Dense(2)
        """,
        {"made": made, "Apply": Apply},
    )
    model = keras.Sequential([keras.Input((4,)), *made])
    np.testing.assert_array_equal(model(np.ones((1, 4))), np.full((1, 4), 2))


def test_every_other_line_keeps_its_meaning(capsys):
    model = build(
        """
        'a text'
        ...
        print('said')
        widths = []
        widths.append(3)
        (last := 5)
        x
        Dense(widths[0])
        Dense(last)
        """
    )
    assert units(model) == [3, 5]
    assert capsys.readouterr().out == "said\n"


def test_names_of_the_cell_stay_inside_and_the_users_go_first():
    names = {"width": 3, "filter": 7}
    model = build(
        "width = width + 1\nDense(width)\nDense(filter)\nimport math\nDense(3)",
        names,
    )
    assert units(model) == [4, 7, 3]
    assert names == {"width": 3, "filter": 7}

    class Dense(keras.layers.Dense):
        pass

    assert type(build("Dense(2)", {"Dense": Dense}).layers[1]) is Dense


def test_building_again_gives_the_same_names():
    first, second = (build("Dense(2)\nDense(3)", name="net") for _ in range(2))
    assert [x.name for x in first.layers] == [x.name for x in second.layers]
    assert first.layers[1].name == "dense" and first.name == second.name == "net"
    paths = [v.path for v in first.weights]
    assert paths == [v.path for v in second.weights]


def test_a_layer_from_outside_keeps_its_name_and_others_go_round_it():
    outside = keras.layers.Dense(3, name="dense_1")
    model = build("Dense(2)\nDense(2)\noutside", {"outside": outside})
    assert outside.name == "dense_1"
    assert len({layer.name for layer in model.layers}) == 4


def test_layers_know_the_line_they_were_called_on():
    model = build(
        "skip = x\nfor n in (3, 4):\n    Dense(\n        n,\n    )\n"
        "x = Add()([x, Dense(4)(skip)])\nx = x + 1",
        header="%%kmodel model --input 4",
    )
    lines = {x.name: x._source_line for x in model.layers}
    assert lines == {
        "input_layer": (1, "--input 4"),
        "dense": (4, "Dense(n)"),
        "dense_1": (4, "Dense(n)"),
        "dense_2": (7, "x = Add()([x, Dense(4)(skip)])"),
        "add": (7, "x = Add()([x, Dense(4)(skip)])"),
    }
    assert "_source_line" not in str(model.get_config())


def test_a_tensor_that_nobody_uses_is_warned_about():
    with pytest.warns(UserWarning, match="Nothing uses what Dense made here"):
        build("Dense(3)(x)\nDense(2)")
    with pytest.warns(UserWarning, match="Nothing uses what sin made here"):
        build("keras.ops.sin(x)\nDense(2)", {"keras": keras})
    with pytest.warns(UserWarning, match="Dense and ReLU made on lines 1 and 2"):
        build("side = Dense(3)(x)\nside = ReLU()(side)\nDense(2)")
    with pytest.warns(UserWarning, match="Nothing uses the input `b`"):
        build("x = Dense(3)(a)", input={"a": (1,), "b": (2,)})


# --- Inputs and outputs -------------------------------------------------------------


class Frame:
    """Stands for a DataFrame: what is read of one."""

    def __init__(self, **columns):
        self.columns = list(columns)
        self.dtypes = [np.dtype(kind) for kind in columns.values()]
        self.shape = (9, len(columns))


class Dataset:
    """Stands for a tf.data.Dataset."""

    element_spec = (np.zeros((2, 5, 3), "uint8"), np.zeros(2))


class Batches:
    """Stands for a PyDataset or a list of batches."""

    def __getitem__(self, index):
        return np.zeros((2, 6)), np.zeros(2)

    def __len__(self):
        return 1


class Loader:
    """Stands for a DataLoader: can be gone through again and again."""

    def __iter__(self):
        yield np.zeros((2, 7), "float32"), np.zeros(2)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ((28, 28, 1), ((28, 28, 1), "float32")),
        ((None, 16), ((None, 16), "float32")),
        (28, ((28,), "float32")),
        (np.zeros((60, 28, 28), "uint8"), ((28, 28), "uint8")),
        (np.zeros((60, 3)), ((3,), "float32")),
        (np.zeros((60, 3), "int64"), ((3,), "int32")),
        (np.zeros(60, "float16"), ((1,), "float32")),
        (np.zeros((60, 2), bool), ((2,), "bool")),
        ([[1.0, 2.0], [3.0, 4.0]], ((2,), "float32")),
        (keras.ops.zeros((5, 3)), ((3,), "float32")),
        (Frame(a="float64", b="int64"), ((2,), "float32")),
        (Frame(a="int64", b="int32"), ((2,), "int32")),
        (Dataset(), ((5, 3), "uint8")),
        (Batches(), ((6,), "float32")),
        (Loader(), ((7,), "float32")),
    ],
)
def test_an_input_is_a_shape_or_data(value, expected):
    assert input_spec(value) == expected


def test_a_data_frame_and_a_torch_like_dtype_are_inputs():
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"a": [1.5, 2], "b": [1, 2], "c": [True, False]})
    assert input_spec(frame) == ((3,), "float32")
    nullable = frame[["b", "c"]].astype({"b": "Int64", "c": "boolean"})
    assert input_spec(nullable) == ((2,), "int32")

    class Tensor:
        shape, dtype = (5, 3), "torch.float32"

    assert input_spec(Tensor()) == ((3,), "float32")


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (np.array([["a"]]), "holds texts and models compute with numbers"),
        (Frame(a="float32", b="O"), "column 'b' of the DataFrame holds no numbers"),
        ((x for x in ()), "An input is a shape such as 28,28,1"),
        ("x_train", "An input is a shape such as 28,28,1"),
        ((np.zeros(3), np.zeros(3)), "An input is a shape such as 28,28,1"),
    ],
)
def test_what_is_no_input_says_so(value, words):
    with pytest.raises(ValueError, match=words):
        input_spec(value)


def test_several_inputs_are_tensors_of_their_names():
    model = build(
        "x = Concatenate()([picture, facts])\nDense(1)",
        input={"picture": (3,), "facts": np.zeros((9, 2), "int32")},
    )
    assert model.input_names == ["picture", "facts"]
    assert model.output_shape == (None, 1)
    assert [t.dtype for t in model.inputs] == ["float32", "int32"]


def test_inputs_may_be_made_in_the_cell():
    assert build("Input((3,))\nDense(2)", input=None).input_shape == (None, 3)
    two = "a = Input((1,))\nb = Input((2,))\nx = Concatenate()([b, a])"
    assert build(two, input=None).input_shape == [(None, 1), (None, 2)]
    ordered = f"{two}\ninputs = [b, a]"
    assert build(ordered, input=None).input_shape == [(None, 2), (None, 1)]
    skip = "Dense(3)\ninputs = x\nDense(3)\nx = Add()([x, inputs])"
    assert build(skip).input_shape == (None, 4)  # a name like any other
    first = "Dense(2, input_shape=(5,))\nDense(1)"
    assert build(first, input=None).input_shape == (None, 5)
    base = build("Dense(2)", input=(7,), name="base")
    assert build("base\nDense(1)", {"base": base}, input=None).input_shape == (None, 7)


def test_outputs_may_be_a_list_or_a_dict():
    model = build("Dense(3)\noutputs = [x, Dense(1)(x)]")
    assert model.output_shape == [(None, 3), (None, 1)]
    model = build("Dense(3)\noutputs = {'a': x, 'b': Dense(1)(x)}")
    assert model.output_shape == {"a": (None, 3), "b": (None, 1)}
    with pytest.warns(UserWarning, match="no part of the model"):
        model = build("Dense(3)\noutputs = x\nDense(2)")
    assert model.output_shape == (None, 3)


# --- Mistakes -----------------------------------------------------------------------

RESIDUAL = """\
Rescaling(1 / 255)
for filters in (32, 64):
    Conv2D(filters, 3, activation="relu")
    skip = x
    Conv2D(filters, 3, activation="relu")
    x = Add()([x, skip])
    MaxPooling2D()
"""
IMAGE = {"input": (28, 28, 1)}


def helper(value):
    return value.nope


class Pair(keras.layers.Layer):
    def __init__(self, first, second=2, **options):
        super().__init__(**options)


MISTAKES = [
    (
        RESIDUAL,
        IMAGE,
        """\
line 7:  x = Add()([x, skip])
Add got shapes (None, 24, 24, 32) and (None, 26, 26, 32), which do not broadcast.
Conv2D on line 6 shrank 26x26 to 24x24; padding="same" would keep it.""",
    ),
    (
        "skip = x\nConv2D(1, 3)\nConv2D(1, 3)\nx = Concatenate()([x, skip])",
        IMAGE,
        """\
line 5:  x = Concatenate()([x, skip])
Concatenate got shapes (None, 24, 24, 1) and (None, 28, 28, 1), which differ in more \
than the axis to join, -1.
Conv2D on lines 3 and 4 shrank 28x28 to 24x24; padding="same" would keep it.""",
    ),
    (
        "skip = x\nMaxPooling2D()\nx = Add()([skip, x])",
        IMAGE,
        """\
line 4:  x = Add()([skip, x])
Add got shapes (None, 28, 28, 1) and (None, 14, 14, 1), which do not broadcast.
MaxPooling2D on line 3 made 14x14 of 28x28; join before, or treat both branches \
alike.""",
    ),
    (
        "skip = x\nConv2D(8, 3)\nx = Add()([x, skip])",
        {"input": (28, 28, 3)},
        """\
line 4:  x = Add()([x, skip])
Add got shapes (None, 26, 26, 8) and (None, 28, 28, 3), which do not broadcast.
Conv2D on line 3 shrank 28x28 to 26x26; padding="same" would keep it.""",
    ),
    (
        "Conv2D(8, 3)\nskip = x\nConv2D(16, 1)\nx = Add()([x, skip])",
        IMAGE,
        """\
line 5:  x = Add()([x, skip])
Add got shapes (None, 26, 26, 16) and (None, 26, 26, 8), which do not broadcast.
skip = Conv2D(16, 1)(skip) would give the other one 16 channels as well.""",
    ),
    (
        "skip = x\nFlatten()\nx = Concatenate()([x, skip])",
        IMAGE,
        """\
line 4:  x = Concatenate()([x, skip])
Concatenate got shapes (None, 784) and (None, 28, 28, 1), which differ in more than \
the axis to join, -1.
Flatten on line 3 made (None, 784) of (None, 28, 28, 1); leave it out, or move it \
behind this line.""",
    ),
    (
        "Conv2D(8, 3)",
        {"input": (28, 28)},
        """\
line 2:  Conv2D(8, 3)
Conv2D expects at least 4 axes and got the shape (None, 28, 28).
The input has no channels; add one with --input 28,28,1, or begin with Reshape((28, \
28, 1)).""",
    ),
    (
        "Flatten()\nDense(3)\nConv2D(8, 3)",
        IMAGE,
        """\
line 4:  Conv2D(8, 3)
Conv2D expects at least 4 axes and got the shape (None, 3).
Flatten on line 2 made (None, 784) of (None, 28, 28, 1); leave it out, or move it \
behind this line.""",
    ),
    (
        "for _ in range(3):\n    MaxPooling2D()\nConv2D(8, 5)",
        IMAGE,
        """\
line 4:  Conv2D(8, 5)
Conv2D needs at least 5 along axis 1 (kernel_size=(5, 5); try padding="same" or a \
smaller one) and got the shape (None, 3, 3, 1).
Only 3x3 is left of 28x28 after MaxPooling2D on line 3; take one out.""",
    ),
    (
        "Flatten()\nDense(10)",
        {"input": (None, None, 3)},
        """\
line 3:  Dense(10)
Dense needs inputs whose last axis has a known length and got the shape (None, None); \
give `Input` that length.
GlobalAveragePooling2D() in the place of Flatten() knows it.""",
    ),
    (
        "Dens(10)",
        {},
        """\
line 2:  Dens(10)
`Dens` is not defined. Did you mean "Dense"?""",
    ),
    (
        "Dense(widht)",
        {"namespace": {"width": 3}},
        """\
line 2:  Dense(widht)
`widht` is not defined. Did you mean "width"?""",
    ),
    (
        "Dense(2, activaton='relu')",
        {},
        """\
line 2:  Dense(2, activaton='relu')
Dense has no argument `activaton`. Did you mean "activation"?""",
    ),
    (
        "Dense(2, activation='rleu')",
        {},
        """\
line 2:  Dense(2, activation='rleu')
Dense: unknown activation "rleu". Did you mean "relu"?""",
    ),
    (
        "Conv2D(8)",
        {},
        """\
line 2:  Conv2D(8)
Conv2D needs `kernel_size`.""",
    ),
    (
        "Pair(1, 2, 3)",
        {"namespace": {"Pair": Pair}},
        """\
line 2:  Pair(1, 2, 3)
Pair takes at most 2 arguments by position and got 3; give the others by name.""",
    ),
    (
        "Flatten\nDense(2)",
        {},
        """\
line 2:  Flatten
Flatten is a class, not a layer.
Write Flatten().""",
    ),
    (
        "[Dense(2), Flatten]",
        {},
        """\
line 2:  [Dense(2), Flatten]
Flatten is a class, not a layer.
Write Flatten().""",
    ),
    (
        "[Dense(2), 3]",
        {},
        """\
line 2:  [Dense(2), 3]
This list of layers also holds 3.""",
    ),
    (
        "x = Dense(2)\nDense(3)",
        {},
        """\
line 2:  x = Dense(2)
`x` is a layer here, Dense, where a tensor was expected.
Leave `x =` out to apply Dense to the current tensor, or call it: Dense(...)(x).""",
    ),
    (
        "Dense(2)\nx = 3",
        {},
        """\
line 3:  x = 3
At the end of the cell `x` is 3, where a tensor made by layers was expected.""",
    ),
    (
        "for n in (\n    1,\n):\n    Dense(helper(n))",
        {"namespace": {"helper": helper}},
        """\
line 5:  Dense(helper(n))
AttributeError: 'int' object has no attribute 'nope' (in helper: return value.nope)""",
    ),
    (
        "Dense(2)\nlen(3)",
        {},
        """\
line 3:  len(3)
TypeError: object of type 'int' has no len()""",
    ),
    (
        "if True\n    Dense(2)",
        {},
        """\
line 2:
    if True
           ^
Expected ':'.""",
    ),
    (
        "Dense(2)\nDense(3",
        {},
        """\
line 3:
    Dense(3
         ^
'(' was never closed.""",
    ),
    (
        "Dense(2)",
        {"input": None},
        """\
line 2:  Dense(2)
The model has no input yet.
Say its shape in the first line, as in --input 28,28,1 or --input x_train, or begin \
the cell with Input((28, 28, 1)).""",
    ),
    (
        "x = Dense(2)(x)",
        {"input": None, "namespace": {"x": np.ones((3, 4))}},
        """\
line 2:  x = Dense(2)(x)
The model has no input yet.
Say its shape in the first line, as in --input 28,28,1 or --input x_train, or begin \
the cell with Input((28, 28, 1)).""",
    ),
    (
        "Dense(2)",
        {"input": {"a": (1,), "b": (2,)}},
        """\
line 2:  Dense(2)
The model has several inputs (a, b) and `x` is none of them yet.
Begin with x = a, or join them: x = Concatenate()([a, b]).""",
    ),
    (
        "Dense(2)",
        {"loss": "mze"},
        """\
line 1:  --loss mze
Unknown loss "mze". Did you mean "mse"?""",
    ),
    (
        "Dense(2)",
        {"input": np.array([["a"]])},
        """\
line 1:  --loss mze
The input holds texts and models compute with numbers; turn them into numbers first.""",
    ),
    (
        "Dense(2)",
        {"learning_rate": 0.1},
        """\
line 1:  --loss mze
A learning rate needs an optimizer to use it; name one.""",
    ),
]


@pytest.mark.parametrize(
    ("source", "options", "words"),
    MISTAKES,
    ids=[words.partition("\n")[0] for _, _, words in MISTAKES],
)
def test_a_mistake_names_its_line_what_went_wrong_and_the_mend(source, options, words):
    with pytest.raises(KModelError) as caught:
        build(source, name="net", header="%%kmodel net --loss mze", **options)
    assert str(caught.value) == f"%%kmodel net, {words}"


@pytest.mark.parametrize("source", ["", "  \n# later\n"])
def test_an_empty_cell_is_told_what_to_hold(source):
    with pytest.raises(KModelError, match="The cell is empty.\nWrite layers in it"):
        build(source)


@pytest.mark.parametrize("source", ["pass", "skip = x"])
def test_a_cell_without_layers_makes_no_model(source):
    with pytest.raises(KModelError, match="calls no layer on its input"):
        build(source)


def test_a_layer_of_another_library_is_no_layer_here():
    real = pytest.importorskip("keras")
    with pytest.raises(KModelError) as caught:
        build("Dense(2)", {"Dense": real.layers.Dense}, name="net")
    assert str(caught.value) == (
        "%%kmodel net, line 1:  Dense(2)\n"
        "Dense is a layer of keras, which a kerasnb model cannot use.\n"
        "Leave the import of Dense out, or import kerasnb as keras."
    )


def test_an_error_shows_no_frames_unless_all_are_asked_for(monkeypatch):
    with pytest.raises(KModelError) as caught:
        build("Dense(-1)")
    shown = caught.value._render_traceback_()
    assert len(shown) == 3 and "must be a positive integer, not -1." in shown[2]
    assert shown[1].endswith("  ^^")
    config.tracebacks("full")
    try:
        full = "\n".join(caught.value._render_traceback_())
    finally:
        config.tracebacks("short")
    assert "arguments.py" in full and "Dense(-1)" in full


def test_a_keyboard_interrupt_is_not_dressed_up():
    def stop():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build("Dense(2)\nstop()", {"stop": stop})


# --- How it is compiled -------------------------------------------------------------

BINARY = np.array([0, 1, 1])
CLASSES = np.array([0, 2, 1])
ONE_HOT = np.eye(3)


@pytest.mark.parametrize(
    ("lines", "target", "loss"),
    [
        ("Dense(3, activation='softmax')", None, "sparse_categorical_crossentropy"),
        ("Dense(3, activation='softmax')", CLASSES, "sparse_categorical_crossentropy"),
        (
            "Dense(3, activation='softmax')",
            CLASSES[:, None],
            "sparse_categorical_crossentropy",
        ),
        ("Dense(3, activation='softmax')", ONE_HOT, "categorical_crossentropy"),
        ("Dense(3)\nSoftmax()", None, "sparse_categorical_crossentropy"),
        ("Dense(3)\nActivation('softmax')", None, "sparse_categorical_crossentropy"),
        (
            "Dense(6, activation='softmax')\nReshape((2, 3))",
            None,
            "sparse_categorical_crossentropy",
        ),
        ("Dense(1, activation='sigmoid')", None, "binary_crossentropy"),
        ("Dense(3, activation='sigmoid')", None, "binary_crossentropy"),
        ("Dense(1)", None, "mean_squared_error"),
        ("Dense(1)", np.array([0.5, 1.5]), "mean_squared_error"),
        ("Dense(2)", np.zeros((3, 2)), "mean_squared_error"),
        ("Dense(2)", np.zeros((3, 2), int), "mean_squared_error"),
        ("Dense(2, activation='relu')", None, "mean_squared_error"),
        ("inner", None, "sparse_categorical_crossentropy"),
    ],
)
def test_the_loss_follows_from_the_last_activation_and_the_target(lines, target, loss):
    inner = keras.Sequential([keras.layers.Dense(3, activation="softmax")])
    model = build(lines, {"inner": inner}, loss="auto", target=target)
    assert model.loss == loss


def test_logits_are_recognised_by_their_targets():
    loss = choose_loss(build("Dense(3)").output, CLASSES)
    assert type(loss).__name__ == "SparseCategoricalCrossentropy"
    assert loss.get_config()["from_logits"]
    loss = choose_loss(build("Dense(1)").output, BINARY.astype(bool))
    assert type(loss).__name__ == "BinaryCrossentropy"
    assert loss.get_config()["from_logits"]


def test_softmax_over_one_unit_is_a_mistake():
    with pytest.raises(KModelError, match=r'use Dense\(1, activation="sigmoid"\)'):
        build("Dense(1, activation='softmax')", loss="auto")


def test_each_output_gets_a_loss_of_its_own():
    model = build(
        "outputs = [Dense(3, activation='softmax')(x), Dense(1)(x)]", loss="auto"
    )
    assert model.loss == ["sparse_categorical_crossentropy", "mean_squared_error"]


def test_optimizer_rate_metrics_and_jit_reach_compile():
    model = build(
        "Dense(1)",
        optimizer=keras.optimizers.SGD(momentum=0.9),
        learning_rate=0.25,
        loss="mae",
        metrics=["mse", "mae"],
        jit=False,
    )
    assert type(model.optimizer).__name__ == "SGD"
    assert float(model.optimizer.learning_rate) == 0.25
    assert model.loss == "mae" and model.jit_compile is False
    model.fit(np.ones((4, 4)), np.ones(4), verbose=0)
    assert set(model.history.history) == {"loss", "mse", "mae"}
    assert not build("Dense(1)").compiled
    assert build("Dense(1)", loss="mse").compiled


def test_a_seed_gives_the_same_weights_and_shuffling():
    first, second, other = (
        build("Dense(9)", seed=s).get_weights()[0] for s in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, second)
    assert not np.array_equal(first, other)
    build("Dense(9)", seed=1)
    order = np.random.permutation(100)
    build("Dense(9)", seed=1)
    np.testing.assert_array_equal(order, np.random.permutation(100))


def test_a_dtype_holds_for_the_layers_of_the_cell_only():
    model = build("Dense(2)", dtype="mixed_bfloat16")
    assert model.layers[1].compute_dtype == "bfloat16"
    with pytest.raises(KModelError):
        build("Dense(-2)", dtype="mixed_bfloat16")
    assert config.dtype_policy().name == "float32"
