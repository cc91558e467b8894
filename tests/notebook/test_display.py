"""kerasnb.notebook.display, with facts and rasters"""

import struct
import zlib

import numpy as np
import pytest
from IPython.core.interactiveshell import ExecutionInfo

import kerasnb as keras
from kerasnb import config
from kerasnb.core import frontend
from kerasnb.notebook import cells, display, rasters
from kerasnb.notebook.facts import Facts, text_table

HOSTILE = "<script>alert(1)</script>&\"'"


@pytest.fixture(params=["widget", "html", "text", "none"])
def mode(request):
    """Each way of showing, one after the other."""
    config.display(request.param)
    yield request.param
    config.display("auto")


@pytest.fixture
def html():
    """Still pictures, as in a front end without widgets."""
    config.display("html")
    yield
    config.display("auto")


def model(name="net"):
    return keras.Sequential(
        [keras.Input((3,)), keras.layers.Dense(30, name="wide")], name=name
    )


def history():
    net = model()
    net.compile("sgd", "mse")
    data = np.zeros((8, 3)), np.zeros((8, 30))
    return net.fit(*data, epochs=2, validation_data=data, verbose=0)


def trained():
    record = keras.callbacks.History()
    record.epoch = [0, 1]
    record.history = {"loss": [0.5, 0.25], "val_loss": [0.75, 0.125]}
    return record


OBJECTS = {
    "model": model,
    "layer": lambda: model().layers[0],
    "variable": lambda: model().layers[0].kernel,
    "history": trained,
}


def data_of(bundle):
    """The data of a bundle that may carry metadata."""
    return bundle[0] if isinstance(bundle, tuple) else bundle


@pytest.mark.parametrize("kind", OBJECTS)
def test_every_object_has_a_text_and_a_still_picture(kind, mode):
    found = data_of(display.mimebundle(OBJECTS[kind]()))
    if mode in ("text", "none"):
        assert set(found) == {"text/plain"}
    else:
        assert set(found) == {"text/html", "text/plain"}
        live = mode == "widget" and kind == "model"
        assert found["text/html"].startswith("<div data-knb=") == live
    assert found["text/plain"].strip()
    assert "0x" not in found["text/plain"]


@pytest.mark.parametrize("kind", OBJECTS)
def test_a_still_picture_needs_no_script_and_nothing_from_the_net(kind, html):
    page = display.mimebundle(OBJECTS[kind]())["text/html"]
    assert "<script" not in page and "<svg" not in page and "<style" not in page
    assert "http:" not in page and "https:" not in page


def test_the_texts_say_what_there_is():
    bundle = {
        kind: display.mimebundle(make())["text/plain"] for kind, make in OBJECTS.items()
    }
    assert bundle["model"].startswith('Model: "net"')
    assert bundle["layer"] == (
        "Dense `wide`, 120 parameters\n"
        "  units = 30\n"
        '  name = "wide"\n'
        "weight  shape    dtype  numbers  trained\n"
        "kernel   3x30  float32       90      yes\n"
        "bias       30  float32       30      yes"
    )
    assert bundle["variable"].startswith(
        "net/wide/kernel: shape (3, 30), float32\nmean "
    )
    assert bundle["history"] == "History of 2 epochs\nloss 0.2500  val_loss 0.1250"


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (1.5, "v: shape (), float32\n1.5"),
        ([1, 2], "v: shape (2,), int32\nmean 1.500"),
        (np.array([1.0, np.nan, np.inf]), "not finite 2"),
        (np.array([True, False]), "zeros 50%"),
    ],
)
def test_variables_of_any_kind_are_described(value, words, html):
    shown = display.mimebundle(keras.Variable(value, name="v"))
    assert words in shown["text/plain"]
    assert "v</strong>" in shown["text/html"]


def test_a_layer_that_is_not_built_and_an_empty_history_say_so():
    assert "not built yet" in display.mimebundle(keras.layers.Dense(3))["text/plain"]
    empty = display.mimebundle(keras.callbacks.History())["text/plain"]
    assert empty == "History: nothing trained yet"


def test_names_cannot_act_as_markup(html):
    class Odd(keras.layers.Layer):
        def __init__(self, words, **options):
            super().__init__(**options)
            self.words = words

        def call(self, inputs):
            return inputs

    layer = Odd(HOSTILE, name=HOSTILE.replace("/", ""))
    record = keras.callbacks.History()
    record.epoch, record.history = [0], {HOSTILE: [1.0]}
    box = keras.Variable(1.0, name=HOSTILE)
    net = keras.Sequential([keras.Input((3,)), layer], name=HOSTILE.replace("/", ""))
    for one in (layer, record, box, net):
        page = display.mimebundle(one)["text/html"]
        assert "<script" not in page
        assert "&lt;script" in page
    page = Facts(HOSTILE, {HOSTILE: HOSTILE}).still()
    assert "<script" not in page and page.count("&lt;script") == 3


def test_a_picture_that_fails_leaves_the_name(monkeypatch):
    def fail(obj):
        raise ZeroDivisionError("no picture")

    monkeypatch.setattr(display, "HANDLERS", [(keras.Variable, fail)])
    box = keras.Variable(1.0, name="v")
    with pytest.warns(UserWarning, match="picture of Variable failed .*no picture"):
        assert display.mimebundle(box) == {"text/plain": repr(box)}


def test_a_history_that_the_cell_has_drawn_is_not_drawn_again(monkeypatch):
    from IPython import display as shown

    class Output:
        def update(self, *data, **options):
            self.last = data

    monkeypatch.setattr(shown, "display", lambda *data, **options: Output())
    config.display("html")
    try:
        cells._note(ExecutionInfo("", False, False, False, None))
        net = model()
        net.compile("sgd", "mse")
        record = net.fit(np.zeros((8, 3)), np.zeros((8, 30)))
        assert display.mimebundle(record) == {"text/plain": repr(record)}
        cells._note(ExecutionInfo("", False, False, False, None))  # the next cell
        assert "text/html" in display.mimebundle(record)
    finally:
        config.display("auto")


def test_the_shell_draws_objects_as_results(shell):
    shell.push({"net": model(), "variable": model().layers[0].kernel})
    for name in ("net", "net.layers[0]", "variable"):
        data, _ = shell.display_formatter.format(shell.ev(name))
        assert set(data) == {"text/plain"} and "<kerasnb" not in data["text/plain"]


def test_outside_of_a_notebook_a_history_of_a_real_fit_is_text():
    assert frontend.display_mode() == "text"
    bundle = display.mimebundle(history())
    assert set(bundle) == {"text/plain"}
    assert bundle["text/plain"].startswith("History of 2 epochs\nloss ")


# --- Tables and pixels --------------------------------------------------------------


def test_a_text_table_lines_its_columns_up():
    table = text_table(["name", "n"], [["a", 1], ["longer", 22]])
    assert table == "name     n\na        1\nlonger  22"


def test_shares_are_whole_percents_but_never_a_false_nothing_or_all():
    assert [display.percent(x) for x in (0, 0.001, 0.5, 0.999, 1)] == [
        "0%",
        "<1%",
        "50%",
        ">99%",
        "100%",
    ]


def pixels_of(file):
    """The bytes of an unfiltered PNG file, by its own header."""
    assert file[:8] == b"\x89PNG\r\n\x1a\n"
    at, data, header = 8, b"", None
    while at < len(file):
        length, kind = struct.unpack(">I4s", file[at : at + 8])
        body = file[at + 8 : at + 8 + length]
        check = struct.unpack(">I", file[at + 8 + length : at + 12 + length])[0]
        assert check == zlib.crc32(kind + body)
        if kind == b"IHDR":
            header = struct.unpack(">IIBBBBB", body)
        if kind == b"IDAT":
            data += body
        at += 12 + length
    width, height, depth, colour, *_ = header
    assert depth == 8
    channels = {0: 1, 2: 3, 6: 4}[colour]
    rows = np.frombuffer(zlib.decompress(data), np.uint8).reshape(height, -1)
    assert (rows[:, 0] == 0).all()
    return rows[:, 1:].reshape(height, width, channels)


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_a_png_file_holds_the_pixels(channels, rng):
    pixels = rng.integers(0, 256, (5, 7, channels)).astype(np.uint8)
    np.testing.assert_array_equal(pixels_of(rasters.png(pixels)), pixels)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (np.array([0, 255], "uint8"), [0, 255]),
        (np.array([0, 0.5, 1]), [0, 128, 255]),
        (np.array([-1, 0, 1.0]), [0, 128, 255]),
        (np.array([0, 100, 255.0]), [0, 100, 255]),
        (np.array([-300, 0, 300.0]), [0, 128, 255]),
        (np.array([0, np.nan, 1]), [0, 0, 255]),
    ],
)
def test_pictures_of_any_range_become_bytes(values, expected):
    found = rasters.as_bytes(values.reshape(1, 1, -1))
    assert found.shape == (1, 1, len(expected), 1)
    np.testing.assert_array_equal(found.ravel(), expected)


def test_tiles_lie_in_rows_with_the_page_between_them():
    maps = (
        np.arange(3)[:, None, None, None] * np.ones((3, 28, 28, 1))
        + np.eye(28)[..., None]
    )
    drawn = rasters.tiles(maps)
    assert drawn.shape == (59, 59, 4)
    assert drawn[28, :, 3].max() == 0 and drawn[31:, 31:, 3].max() == 0
    assert drawn[0, 0].tolist() == [255, 255, 255, 255] and drawn[0, 1, 0] == 0


def test_a_histogram_says_where_it_begins_and_ends():
    drawn = rasters.histogram([0.0, 1.0, 2.0, np.nan], "Three")
    assert drawn.count('class="bar"') == 28
    assert "<title>Three</title>" in drawn and ">0<" in drawn and ">2.000<" in drawn
    assert rasters.histogram([np.nan], "None") == ""
