"""kerasnb.notebook.completer"""

import time

import numpy as np
import pytest

import kerasnb as keras
from kerasnb.notebook.completer import matches


@pytest.fixture(scope="module")
def net():
    """A model that was trained, so that there is a run of its name."""
    keras.runs.clear()
    net = keras.Sequential(
        [keras.Input((3,)), keras.layers.Dense(2, name="out")], name="net"
    )
    net.compile("sgd", "mse")
    net.fit(np.ones((4, 3)), np.ones((4, 2)), verbose=0)
    yield net
    keras.runs.clear()


@pytest.fixture
def names(shell, net):
    """A shell with a model, arrays and a few other things in it."""
    shell.push(
        {
            "net": net,
            "x_train": np.zeros((5, 3)),
            "y_train": np.zeros(5),
            "width": 3,
            "words": "abc",
            "_hidden": np.zeros(3),
        }
    )
    return shell


def complete(shell, text):
    """What the shell's completer offers at `|`, and the part it would replace."""
    before, _, after = text.partition("|")
    whole = before + after
    line = before.count("\n")
    column = len(before.rpartition("\n")[2])
    found = shell.Completer._complete(
        cursor_line=line,
        cursor_pos=column,
        full_text=whole,
        line_buffer=whole.split("\n")[line],
    )
    ours = found.get("kerasnb")
    if ours is None or not ours["completions"]:
        return "", []
    assert set(found) == {"kerasnb"}  # nobody else was asked
    return ours["matched_fragment"], [c.text for c in ours["completions"]]


@pytest.mark.parametrize(
    ("text", "fragment", "among"),
    [
        ("%%kmodel net --|", "--", ["--input", "--optimizer", "--keep", "--help"]),
        ("%%kmodel net --opt|", "--opt", ["--optimizer"]),
        ("%%kmodel net --optimizer |", "", ["adam", "sgd", "rmsprop"]),
        ("%%kmodel net --optimizer ad|\nDense(3)", "ad", ["adam", "adamw"]),
        ("%%kmodel net -l |", "", ["auto", "mse", "sparse_categorical_crossentropy"]),
        ("%%kmodel net --metrics mae,acc|", "acc", ["accuracy"]),
        ("%%kmodel net --input x|", "x", ["x_train"]),
        ("%%kmodel net --input image=x|", "x", ["x_train"]),
        ("%%kmodel net --dtype mixed|", "mixed", ["mixed_bfloat16", "mixed_float16"]),
        ("%%kmodel |", "", ["net"]),
        ("%kfit |", "", ["net"]),
        ("%kfit n|", "n", ["net"]),
        ("%kfit net |", "", ["x_train", "y_train"]),
        ("%kfit net x_train y|", "y", ["y_train"]),
        ("%kfit net x_train y_train --ep|", "--ep", ["--epochs"]),
        ("%kfit net x_train y_train --validation x_train |", "", ["y_train"]),
        ("%kinspect net |", "", ["out"]),
        ("%kinspect net out --on x|", "x", ["x_train"]),
        ("1\n%kfit n|", "n", ["net"]),
        ("%%kmodel net\nDe|", "De", ["Dense"]),
        ("%%kmodel net\nfor n in (1, 2):\n    con|", "con", ["Conv2D", "Concatenate"]),
        ("%%kmodel net\nskipped = x\nx = Add()([x, ski|", "ski", ["skipped"]),
        ("%%kmodel net\nDense(wid|", "wid", ["width"]),
        ("%%kmodel net\nDense(3, acti|", "acti", ["activation="]),
        ("%%kmodel net\nConv2D(\n    3, 3, pad|", "pad", ["padding="]),
        ("%%kmodel net\nDense(3, activation='re|", "re", ["relu"]),
        ('%%kmodel net\nConv2D(3, 3, padding="|', "", ["same", "valid"]),
        ("%%kmodel net\nDense(3, kernel_initializer='he|", "he", ["he_normal"]),
        ("%%kmodel net\nInput(sh|", "sh", ["shape="]),
        ("%%kmodel net\nDense(3, activation=|", "", ['"relu"', '"softmax"']),
        ("%%kmodel net\nDense(3, use_bias=|", "", ["False", "True"]),
        ("%%kmodel net\nLSTM(3, return_sequences = |", "", ["True", "False"]),
        ("%%kmodel net\nDense(n|", "n", ["name=", "net"]),
        ("%%kmodel net\nfor wide in (1, 2):\n    Dense(wi|", "wi", ["wide", "width"]),
        ("%%kmodel net --le|", "--le", ["--learning-rate"]),
        ("%%kmodel net --input x_train --target y|", "y", ["y_train"]),
        ("%%kmodel net --keep --optimizer ada|", "ada", ["adam", "adamax"]),
        ("%kmistakes |", "", ["net"]),
        ("%kmistakes net x|", "x", ["x_train"]),
        ("%kmistakes net x_train |", "", ["y_train"]),
        ("%kmistakes net x_train y_train --w|", "--w", ["--worst"]),
        ("%kinspect net o|", "o", ["out"]),
        ("%kinspect |", "", ["net"]),
        ("%kruns --|", "--", ["--compare", "--sort", "--clear"]),
        ("%kruns --compare |", "", ["net"]),
        ("%kruns --sort |", "", ["loss", "time"]),
        ("%kexport |", "", ["net"]),
        ("%kexport net net.out --|", "--", ["--to", "--batch"]),
        ("%kexport net net.out --to |", "", ["stablehlo"]),
        ("%kinfo --|", "--", ["--help"]),
        ("%%kmodel net\nwhi|", "whi", ["while"]),
        ("%%kmodel net\n|", "", ["Dense", "Conv2D"]),
    ],
)
def test_tab_offers_what_may_stand_there(names, text, fragment, among):
    found, offered = complete(names, text)
    assert found == fragment
    assert set(among) <= set(offered)
    assert all(name.lower().startswith(fragment.lower()) for name in offered)


def test_tab_offers_a_text_that_is_typed_without_its_quotes(names):
    found, offered = complete(names, "%%kmodel net\nDense(3, activation=rel|")
    assert found == "rel"
    assert offered[:2] == ['"relu"', '"relu6"']


@pytest.mark.parametrize(
    ("text", "never"),
    [
        ("%kfit |", ["x_train", "width", "_hidden"]),
        ("%kfit net |", ["net", "width", "words", "_hidden"]),
        ("%%kmodel net --keep |", ["adam"]),
    ],
)
def test_tab_does_not_offer_what_makes_no_sense(names, text, never):
    assert not set(never) & set(complete(names, text)[1])


@pytest.mark.parametrize(
    "text",
    [
        "De|",
        "x = De|",
        "%time De|",
        "%%kmodel net\nwords.up|",
        "%kf|",
        "%%kmo|",
        "%kexport net fol|",
        "%%kmodel net\nDense(3, name='a|",
        "%%time\nDe|",
        "|",
    ],
)
def test_everything_else_is_left_to_others(names, text):
    before = text.partition("|")[0]
    assert matches(before, before, names)[1] == []


def test_an_answer_takes_less_than_a_twentieth_of_a_second(names):
    names.push({f"name_{i}": i for i in range(2000)})
    text = "%%kmodel net\n" + "Dense(3)\n" * 200 + "x = Conv2D(3, 3, name_1"
    matches(text, text, names)
    began = time.perf_counter()
    for _ in range(10):
        matches(text, text, names)
    assert (time.perf_counter() - began) / 10 < 0.05
