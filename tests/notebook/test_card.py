"""kerasnb.notebook.card and kerasnb.notebook.structure"""

import re
from xml.etree import ElementTree

import numpy as np
import pytest

import kerasnb
from kerasnb import layers
from kerasnb.notebook import card, structure


def digits():
    x = inputs = kerasnb.Input((28, 28, 1), name="image")
    x = layers.Conv2D(8, 3, padding="same", activation="relu", name="conv")(x)
    skip = x
    x = layers.Conv2D(8, 3, padding="same", name="again")(x)
    x = layers.Add(name="join")([x, skip])
    x = layers.MaxPooling2D(name="pool")(x)
    x = layers.Flatten(name="flat")(x)
    x = layers.Dense(10, activation="softmax", name="out")(x)
    return kerasnb.Model(inputs, x, name="digits")


def siamese():
    encoder = kerasnb.Sequential(
        [
            kerasnb.Input((4,)),
            layers.Dense(8, name="wide"),
            layers.Dropout(0.5, name="drop"),
        ],
        name="encoder",
    )
    left, right = kerasnb.Input((4,), name="left"), kerasnb.Input((4,), name="right")
    x = layers.Subtract(name="minus")([encoder(left), encoder(right)])
    return kerasnb.Model([left, right], layers.Dense(1, name="same")(x), name="siamese")


def residual(blocks=6, width=8):
    x = inputs = kerasnb.Input((width,), name="start")
    for _ in range(blocks):
        y = layers.Dense(width, activation="relu")(x)
        y = layers.Dense(width)(y)
        x = layers.Add()([x, y])
        x = layers.LayerNormalization()(x)
    return kerasnb.Model(inputs, layers.Dense(1)(x), name="residual")


class Own(kerasnb.Model):
    def __init__(self):
        super().__init__(name="own")
        self.first, self.second = layers.Dense(3, name="a"), layers.Dense(2, name="b")

    def call(self, x):
        return self.second(self.first(x))


# --- Reading a model ----------------------------------------------------------------


def test_the_layers_of_a_model_are_read_with_their_calls():
    graph = structure.describe(digits())
    assert [step.name for step in graph.steps] == [
        "image", "conv", "again", "join", "pool", "flat", "out",
    ]  # fmt: skip
    assert {(e.source, e.target) for e in graph.graph.edges} == {
        ("image", "conv"),
        ("conv", "again"),
        ("again", "join"),
        ("conv", "join"),
        ("join", "pool"),
        ("pool", "flat"),
        ("flat", "out"),
    }
    assert graph.graph.edges[0].shape == (None, 28, 28, 1)


@pytest.mark.parametrize("make", [digits, siamese, residual])
def test_totals_agree_with_the_model(make):
    model = make()
    graph = structure.describe(model)
    assert graph.params == model.count_params()
    trainable = sum(int(np.prod(w.shape)) for w in model.trainable_weights)
    assert graph.trainable_params == trainable
    assert graph.weight_bytes == 4 * model.count_params()


@kerasnb.layer
def Twice(x, kernel=kerasnb.Weight("features 3")):
    """A layer of one's own with two products."""
    return x @ kernel + (x * 2) @ kernel


@pytest.mark.parametrize(
    ("layer", "shape", "flops"),
    [
        (lambda: layers.Dense(5), (7,), 2 * 7 * 5),
        (lambda: layers.Dense(5), (3, 7), 2 * 7 * 5 * 3),
        (lambda: layers.Conv2D(4, 3, padding="same"), (6, 6, 2), 2 * 9 * 2 * 4 * 36),
        (lambda: layers.Conv2D(4, 3, strides=2), (7, 7, 2), 2 * 9 * 2 * 4 * 9),
        (lambda: layers.Conv2D(4, 3, groups=2), (5, 5, 2), 2 * 9 * 1 * 4 * 9),
        (lambda: layers.Conv1D(4, 3), (10, 2), 2 * 3 * 2 * 4 * 8),
        (lambda: layers.SimpleRNN(4), (10, 3), 2 * (3 * 4 + 4 * 4) * 10),
        (lambda: layers.LSTM(4), (10, 3), 2 * 4 * (3 * 4 + 4 * 4) * 10),
        (
            lambda: layers.Conv2DTranspose(4, 3, strides=2),
            (6, 6, 2),
            2 * 9 * 2 * 4 * 36,
        ),
        (lambda: layers.SeparableConv2D(4, 3), (6, 6, 2), 2 * (9 * 2 + 2 * 4) * 16),
        (lambda: layers.EinsumDense("abc,cd->abd", (None, 4)), (3, 5), 2 * 5 * 4 * 3),
        (lambda: Twice(), (7,), 2 * 7 * 3 + 2 * 7 * 3),
        (lambda: layers.Flatten(), (4, 4), None),
        (lambda: layers.Conv2D(4, 3), (None, None, 2), None),
    ],
)
def test_operations_are_counted_for_one_sample(layer, shape, flops):
    model = kerasnb.Sequential([kerasnb.Input(shape), layer()])
    assert structure.describe(model).steps[-1].flops == flops


def test_memory_of_outputs_is_for_one_sample_and_unknown_when_a_size_is_open():
    model = kerasnb.Sequential([kerasnb.Input((4,)), layers.Dense(3)])
    assert structure.describe(model).activation_bytes == 4 * (4 + 3)
    model = kerasnb.Sequential([kerasnb.Input((None, 4)), layers.Dense(3)])
    assert structure.describe(model).activation_bytes is None


def test_frozen_layers_do_not_count_as_trainable():
    model = digits()
    model.get_layer("conv").trainable = False
    graph = structure.describe(model)
    assert graph.params - graph.trainable_params == 80
    assert ("non-trainable", "80") in card.totals_of(graph)


def test_a_nested_model_is_a_group_and_its_second_call_counts_no_weights():
    graph = structure.describe(siamese())
    first, second = graph.graph.groups()
    assert first.name == second.name == "encoder"
    assert first.id != second.id
    assert first.kind == "Sequential"
    assert [step.params for step in first.graph.steps()] == [40, 0]
    assert [step.repeated for step in second.graph.steps()] == [True, True]
    assert [row.depth for row in card.rows_of(graph)] == [0, 0, 1, 1, 0, 0, 1, 1, 0, 0]


def test_an_operator_between_layers_is_a_step_of_its_own():
    inputs = kerasnb.Input((4,))
    model = kerasnb.Model(inputs, layers.Dense(4)(inputs) + inputs)
    assert structure.describe(model).steps[-1].kind == "add"


def test_blocks_that_repeat_are_folded_in_a_long_graph():
    graph = structure.describe(residual(blocks=6))
    assert len(graph.steps) == 6 * 4 + 2
    assert len(graph.graph.items) < 8
    repeated = [group for group in graph.graph.groups() if group.count > 1]
    assert repeated[0].count in (5, 6)
    names = [step.name for step in graph.steps]
    assert len(set(names)) == len(names)


def test_a_short_graph_stays_as_it_is():
    assert not list(structure.describe(residual(blocks=2)).graph.groups())


def test_folding_keeps_every_connection():
    model = residual(blocks=8)
    graph = structure.describe(model)

    def ends(items, edges):
        """Edges between steps, with groups followed to the steps at their borders."""
        for item in items:
            if isinstance(item, structure.Group):
                yield from ends(item.graph.items, item.graph.edges)
        yield from edges

    reached = {edge.target for edge in ends(graph.graph.items, graph.graph.edges)}
    grouped = {group.id for group in graph.graph.groups()}
    for item in graph.graph.items[1:]:
        assert item.id in reached or item.id in grouped


def test_a_model_of_the_users_own_lists_its_layers_and_says_so():
    model = Own()
    model(np.zeros((1, 4), "float32"))
    graph = structure.describe(model)
    assert not graph.connected
    assert [step.name for step in graph.steps] == ["a", "b"]
    assert card.picture(graph, set()) == ""
    assert "<table>" in card.still(graph)


def test_a_model_that_is_not_built_is_described_all_the_same():
    graph = structure.describe(kerasnb.Sequential([layers.Dense(3), layers.Dense(2)]))
    assert graph.connected
    assert card.summary_text(graph).count("?") == 2
    assert "dense" in card.still(graph)


def test_what_was_compiled_is_said():
    model = digits()
    assert structure.describe(model).compiled == {}
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    said = structure.describe(model).compiled
    assert said["optimizer"] == "Adam"
    assert said["learning rate"] == "0.001"
    assert said["loss"] == "sparse_categorical_crossentropy"


@pytest.mark.parametrize(
    ("noted", "said"),
    [((6, "MaxPooling2D()"), "line 6: MaxPooling2D()"), (6, "line 6"), (None, "")],
)
def test_a_line_of_source_is_carried_along(noted, said):
    model = digits()
    model.get_layer("pool").__dict__["_source_line"] = noted
    graph = structure.describe(model)
    assert next(s for s in graph.steps if s.name == "pool").source == said
    boxes = card.draw(graph, set()).boxes
    assert next(b for b in boxes if b.name == "pool").source == said


# --- Drawing it ---------------------------------------------------------------------


@pytest.mark.parametrize("make", [digits, siamese, residual])
@pytest.mark.parametrize("open_all", [False, True])
def test_the_picture_is_well_formed_and_shows_every_visible_box(make, open_all):
    graph = structure.describe(make())
    opened = {group.id for group in graph.graph.groups()} if open_all else set()
    scene = card.draw(graph, opened)
    root = ElementTree.fromstring(card.picture(graph, opened))
    assert len(root.findall(".//{*}text")) >= len(scene.boxes)
    if open_all:
        assert {b.id for b in scene.boxes} == {r.id for r in card.rows_of(graph)}
    for box in scene.boxes:
        assert box.x >= -1e-6
        assert box.x + box.width <= scene.width + 1e-6
        assert box.y + box.height <= scene.height + 1e-6


def test_what_is_inside_a_group_lies_inside_its_frame():
    graph = structure.describe(siamese())
    scene = card.draw(graph, card.first_opened(graph))
    frames = [box for box in scene.boxes if box.role == "frame"]
    assert len(frames) == 2
    for frame in frames:
        inner = [b for b in scene.boxes if b.id.startswith(frame.name + "/")]
        mine = [b for b in inner if frame.x <= b.x <= frame.x + frame.width]
        assert len(mine) == 2
        for box in mine:
            assert box.x + box.width <= frame.x + frame.width
            assert frame.y < box.y
            assert box.y + box.height < frame.y + frame.height


def test_shapes_stand_on_the_edges():
    scene = card.draw(structure.describe(digits()), set())
    assert [words for _, _, words in scene.labels] == [
        "28 × 28 × 1",
        "28 × 28 × 8",
        "28 × 28 × 8",
        "28 × 28 × 8",
        "14 × 14 × 8",
        "1568",
    ]


def test_a_big_model_starts_folded_and_a_small_one_open():
    assert card.first_opened(structure.describe(residual(blocks=8))) == set()
    assert len(card.first_opened(structure.describe(siamese()))) == 2


def test_the_still_card_needs_no_scripts_and_no_inline_drawing():
    html = card.still(structure.describe(digits()))
    assert "<script" not in html
    assert "<svg" not in html
    assert html.count("<img alt=") == 1
    assert html.count("<tr>") == 1 + 7


def test_a_long_table_is_folded_away():
    html = card.still(structure.describe(residual(blocks=12)))
    assert "All 50 layers" in html
    assert html.count("<details>") >= 1


def test_a_name_cannot_act_as_markup():
    inputs = kerasnb.Input((4,), name="<img src=x onerror=alert(1)>")
    model = kerasnb.Model(inputs, layers.Dense(1, name="a&b")(inputs), name="<script>")
    graph = structure.describe(model)
    html = card.still(graph)
    assert "<script" not in html
    assert "<img src=x" not in html
    ElementTree.fromstring(card.picture(graph, set()))


def test_the_summary_is_a_table_in_words():
    text = card.summary_text(structure.describe(siamese()))
    assert text.splitlines()[0] == 'Model: "siamese"'
    assert re.search(r"│   wide \(Dense\) +│ \(None, 8\) +│ +40 │", text)
    assert " Total params: 49 (196 B)" in text
    assert len({len(line) for line in text.splitlines()[1:-3]}) == 1


def test_the_same_model_gives_the_same_card_each_time():
    model = residual()
    first, second = structure.describe(model), structure.describe(model)
    assert card.still(first) == card.still(second)
    assert card.summary_text(first) == card.summary_text(second)


# --- The live half ------------------------------------------------------------------


def test_the_card_folds_and_unfolds_on_a_message():
    made = card.ModelCard(siamese())
    group = next(made.graph.graph.groups()).id
    before = len(made._scene["boxes"])
    made._mailbox.put({"op": "fold", "id": "1", "group": group, "open": False})
    assert len(made._scene["boxes"]) == before - 2
    made._mailbox.put({"op": "fold", "id": "2", "group": group, "open": True})
    assert len(made._scene["boxes"]) == before


def test_a_message_about_an_unknown_group_changes_nothing():
    made = card.ModelCard(siamese())
    before = made._scene
    made._mailbox.put({"op": "fold", "id": "1", "group": "nobody", "open": True})
    made._mailbox.put({"op": "fold", "id": "2"})
    assert made._scene == before


def test_a_selected_layer_is_seen_from_python():
    made = card.ModelCard(digits())
    seen = []
    made.observe(lambda change: seen.append(change["new"]), "selected")
    made.set_state({"selected": "conv"})
    assert seen == ["conv"]


def test_the_card_of_a_model_carries_its_still_twin():
    made = card.ModelCard(digits())
    data = made.bundle()
    assert set(data) == {"text/html", "text/plain"}
    assert data["text/html"].startswith(f'<div data-knb="{made._twin}">')
    assert "<img alt=" in data["text/html"]
    assert data["text/plain"].startswith('Model: "digits"')


def test_details_leave_out_what_was_not_chosen():
    made = card.ModelCard(digits())
    detail = made._card["details"]["conv"]
    settings = dict(map(tuple, detail["config"]))
    assert settings["filters"] == "8"
    assert "kernel_regularizer" not in settings
    assert detail["weights"][0] == ["kernel", "(3, 3, 1, 8)", "float32", ""]
