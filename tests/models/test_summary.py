"""kerasnb.models.summary"""

import numpy as np
import pytest

import kerasnb as nb
from kerasnb import layers
from kerasnb.models.summary import summary_text
from tests.models.zoo import ZOO, build, chain, lists, nested

WAYS = {
    "plain": {},
    "narrow": {"line_length": 70},
    "open": {"expand_nested": True, "show_trainable": True, "line_length": 79},
    "columns": {"positions": (0.4, 0.6, 1.0), "line_length": 60},
}


@pytest.fixture(scope="module", params=ZOO, ids=lambda make: make.__name__)
def pair(request):
    return build(request.param)


def _theirs(model, **options):
    printed = []
    model.summary(print_fn=lambda text, **_: printed.append(text), **options)
    return [line.rstrip() for line in "".join(printed).rstrip().split("\n")]


def _ours(model, **options):
    return [line.rstrip() for line in summary_text(model, **options).split("\n")]


@pytest.mark.parametrize("way", ["plain", "narrow", "open"])
def test_the_table_is_the_one_that_keras_prints(pair, way, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    ours, theirs = pair
    assert _ours(ours, **WAYS[way]) == _theirs(theirs, **WAYS[way])


def test_the_columns_can_be_moved(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    ours, theirs = build(chain)
    assert _ours(ours, **WAYS["columns"]) == _theirs(theirs, **WAYS["columns"])


@pytest.mark.parametrize("length", [48, 61, 75])
def test_any_width_is_kept(length):
    for make in (chain, nested):
        table = summary_text(build(make)[0], length).split("\n")[1:-3]
        assert {len(line) for line in table} == {length}


def test_part_of_the_layers_can_be_shown():
    ours, theirs = build(chain)
    chosen = {"layer_range": ["hidden", "d.*"], "line_length": 60}
    assert _ours(ours, **chosen) == _theirs(theirs, **chosen)


def test_a_model_that_is_not_built_has_question_marks():
    ours, theirs = build(
        lambda k: k.Sequential([k.layers.Dense(2, name="d"), k.layers.ReLU(name="r")])
    )
    assert "?" in "".join(_ours(ours)) and "0 (unbuilt)" in "".join(_ours(ours))
    assert _ours(ours, line_length=70) == _theirs(theirs, line_length=70)


def test_a_subclass_is_a_list_of_its_layers():
    def make(k):
        class Two(k.Model):
            def __init__(self):
                super().__init__(name="two")
                self.a = k.layers.Dense(3, name="a")
                self.b = k.layers.Dense(1, name="b")

            def call(self, x):
                return self.b(self.a(x))

        model = Two()
        model(np.ones((2, 4), "float32"))
        return model

    ours, theirs = build(make)
    assert _ours(ours, line_length=70) == _theirs(theirs, line_length=70)


def test_an_optimizer_with_a_state_has_a_line():
    ours, theirs = build(chain)
    for model in (ours, theirs):
        model.compile("adam", "mse")
        model.optimizer.build(model.trainable_variables)
    assert "Optimizer params: 70" in _ours(ours)[-1]
    assert _ours(ours, line_length=70) == _theirs(theirs, line_length=70)


def test_frozen_and_half_precision_weights_are_counted_apart():
    def make(k):
        dense = k.layers.Dense(100, dtype="float16", name="half")
        frozen = k.layers.Dense(1, trainable=False, name="frozen")
        return k.Sequential([k.Input((100,), name="x"), dense, frozen], name="s")

    ours, theirs = build(make)
    assert _ours(ours, line_length=70) == _theirs(theirs, line_length=70)


def test_the_table_goes_to_print_fn_or_to_the_screen(capsys):
    model, _ = build(chain)
    lines = []
    assert model.summary(print_fn=lines.append) is None
    assert lines == [summary_text(model)] and capsys.readouterr().out == ""
    model.summary()
    assert capsys.readouterr().out == lines[0] + "\n"


def test_mistakes_are_named():
    model, _ = build(lists)
    with pytest.raises(ValueError, match="8 characters are too few for 4 columns"):
        model.summary(8)
    with pytest.raises(ValueError, match="must hold 4 numbers"):
        model.summary(positions=[0.5, 1.0])
    with pytest.raises(ValueError, match="names `nowhere`, which is none of"):
        model.summary(layer_range=["left", "nowhere"])
    with pytest.raises(ValueError, match="must be two names"):
        model.summary(layer_range=["left"])


def test_a_layer_whose_shape_cannot_be_found_has_a_question_mark():
    class Odd(layers.Layer):
        def call(self, x):
            return x[: int(x.sum())]

    model = nb.Sequential([Odd(name="odd")], name="s")
    model.layers[0]._build_shapes = {"x_shape": (None, 3)}
    assert "?" in summary_text(model)
