"""Drawings by Graphviz, beside those of Keras."""

import re

import keras
import pytest

import kerasnb
from kerasnb.utils import model_to_dot, plot_model


def chain(library):
    layers = library.layers
    return library.Sequential(
        [
            layers.Input((4,)),
            layers.Dense(3, activation="relu", name="first"),
            layers.Dense(2, name="<second>", trainable=False),
        ],
        name="chain",
    )


def diamond(library):
    layers = library.layers
    x = layers.Input((4,), name="x")
    left, right = layers.Dense(3, name="left")(x), layers.Dense(3, name="right")(x)
    y = layers.Add(name="sum")([left, right])
    return library.Model(x, chain(library)(layers.Dense(4, name="up")(y)), name="whole")


def several(library):
    layers = library.layers
    a, b = layers.Input((4,), name="a"), layers.Input((4,), name="b")
    inner = library.Model([a, b], [layers.Add(name="sum")([a, b]), a], name="inner")
    c, d = layers.Input((4,), name="c"), layers.Input((4,), name="d")
    return library.Model([c, d], inner([d, c]), name="outer")


MODELS = [chain, diamond, several]
OPTIONS = [
    {},
    {"expand_nested": True},
    {"show_shapes": True, "show_dtype": True, "rankdir": "LR"},
    {
        "show_layer_activations": True,
        "show_trainable": True,
        "show_layer_names": False,
        "expand_nested": True,
    },
]


def drawn(dot):
    """The lines by the labels of their ends, and the boxes, of any library's graph."""
    labels, boxes = {}, []

    def visit(graph):
        for node in graph.get_nodes():
            if node.get("label"):
                labels[node.get_name().strip('"')] = text_of(node.get("label"))
        for inner in graph.get_subgraphs():
            boxes.append(inner.get("label"))
            visit(inner)

    def lines(graph):
        for edge in graph.get_edges():
            ends = (edge.get_source(), edge.get_destination())
            yield tuple(labels[end.strip('"')] for end in ends)
        for inner in graph.get_subgraphs():
            yield from lines(inner)

    visit(dot)
    return sorted(labels.values()), sorted(lines(dot)), sorted(boxes)


def text_of(label):
    text = re.sub(r"<(?!second)/?[^<>]+>", " ", label[1:-1])
    text = text.replace("&lt;", "<").replace("&gt;", ">")
    return " ".join(text.replace("'", "").split())


@pytest.mark.parametrize("make", MODELS)
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_nodes_lines_and_boxes_are_those_of_keras(make, options):
    ours = model_to_dot(make(kerasnb), **options)
    theirs = keras.utils.model_to_dot(make(keras), **options)
    assert drawn(ours) == drawn(theirs)
    assert ours.get("rankdir") == theirs.get("rankdir")


def test_a_picture_is_written_and_shown(tmp_path):
    drawing = plot_model(diamond(kerasnb), tmp_path / "model.png", show_shapes=True)
    assert (tmp_path / "model.png").read_bytes().startswith(b"\x89PNG")
    assert drawing._repr_png_() == (tmp_path / "model.png").read_bytes()
    assert drawing._repr_svg_() is None
    drawing = plot_model(diamond(kerasnb), tmp_path / "model.svg")
    assert "<svg" in drawing._repr_svg_()


def test_the_text_of_a_graph_needs_no_graphviz(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    plot_model(chain(kerasnb), tmp_path / "model.dot")
    assert (tmp_path / "model.dot").read_text().startswith("digraph")
    with pytest.raises(ImportError, match="needs Graphviz"):
        plot_model(chain(kerasnb), tmp_path / "model.png")


def test_a_subclassed_model_is_one_node_once_it_is_built():
    class Own(kerasnb.Model):
        def call(self, x):
            return x

    model = Own(name="own")
    with pytest.raises(ValueError, match="`own` has no weights yet"):
        model_to_dot(model)
    model(kerasnb.ops.ones((1, 2)))
    assert drawn(model_to_dot(model))[0] == ["own (Own)"]
    with pytest.raises(ValueError, match="no argument `size`"):
        model_to_dot(model, size=3)
