"""kerasnb.notebook.charts"""

import json
import math
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from kerasnb.notebook import charts

TWINS = {
    "bytes": charts.memory,
    "logTicks": charts.log_ticks,
    "tickLabel": charts.tick_label,
    "roomFor": charts.room_for,
    "range": charts.limits,
    "number": charts.number,
    "count": charts.count,
    "clock": charts.clock,
    "ticks": charts.ticks,
    "thin": lambda y, buckets: charts.thin(np.array(y, float), buckets).tolist(),
}
TABLE = json.loads((Path(__file__).parent / "js" / "cases.json").read_text())
CASES = [(name, *case) for name, cases in TABLE.items() for case in cases]


def revive(value):
    if isinstance(value, list):
        return [revive(part) for part in value]
    return float(value) if isinstance(value, str) else value


@pytest.mark.parametrize(("name", "given", "expected"), CASES)
def test_python_answers_as_its_twin_in_javascript_does(name, given, expected):
    found = TWINS[name](*revive(given))
    found = list(found) if isinstance(found, tuple) else found
    assert found == expected


def test_every_case_of_the_twins_is_put_to_both():
    assert set(TWINS) == set(TABLE)


def test_thinning_keeps_a_single_spike_of_a_long_series():
    y = np.ones(100_000, np.float32)
    y[54_321] = 9
    kept = charts.thin(y, 400)
    assert 54_321 in kept
    assert len(kept) <= 802
    assert (np.diff(kept) > 0).all()
    assert kept[0] == 0
    assert kept[-1] == 99_999


def test_rows_grow_and_a_new_name_leaves_a_gap_before_it():
    rows = charts.Rows()
    rows.extend({"loss": [3.0, 2.0]})
    rows.extend({"loss": [1.0], "val_loss": [4.0]})
    np.testing.assert_array_equal(rows["loss"], [3, 2, 1])
    np.testing.assert_array_equal(rows["val_loss"], [np.nan, np.nan, 4])
    rows.extend({"val_loss": [5.0]})
    np.testing.assert_array_equal(rows["loss"], [3, 2, 1, np.nan])
    assert len(rows["accuracy"]) == 0


def test_what_was_added_is_handed_back_in_the_order_of_all_names():
    rows = charts.Rows(limit=64)
    rows.extend({"step": [1.0], "loss": [3.0]})
    added = rows.extend({"val": [5.0], "step": [2.0]})
    np.testing.assert_array_equal(added, np.float32([[2, np.nan, 5]]))
    rows.extend({"step": np.arange(100.0), "loss": np.sin(np.arange(100.0))})
    assert len(rows) <= 64


def test_rows_stay_below_their_limit_however_long_the_run():
    rows = charts.Rows(limit=1000)
    spike = np.ones(50)
    spike[7] = 99
    rows.extend({"step": np.arange(50.0), "loss": spike})
    for part in range(1, 400):
        rows.extend({"step": np.arange(50.0) + 50 * part, "loss": np.ones(50)})
        assert len(rows) <= 1000
    assert rows["loss"].max() == 99
    assert rows["step"][-1] == 50 * 400 - 1


@pytest.mark.parametrize(
    ("name", "direction"),
    [
        ("loss", "min"),
        ("val_accuracy", "max"),
        ("sparse_categorical_accuracy", "max"),
        ("mean_absolute_error", "min"),
        ("AUC", "max"),
        ("f1_score", "max"),
        ("learning_rate", None),
        ("sure", None),
    ],
)
def test_a_metric_tells_by_its_name_which_way_is_better_or_not_at_all(name, direction):
    assert charts.direction(name) == direction


def make(epochs=4, validation=True, per=10, **options):
    curves = charts.Curves(
        plans=("loss", "accuracy"),
        step=epochs * per,
        steps_per_epoch=per,
        total_epochs=epochs,
        over=True,
        **options,
    )
    step = np.arange(1, epochs * per + 1)
    curves.steps.extend({"step": step, "loss": 1 / step, "accuracy": 1 - 1 / step})
    row = np.arange(1, epochs + 1)
    columns = {"loss": 1 / row, "accuracy": 1 - 1 / row}
    if validation:
        columns |= {"val_loss": [0.9, 0.5, 0.6, 0.7][:epochs]}
        columns |= {"val_accuracy": [0.1, 0.5, math.nan, 0.4][:epochs]}
    curves.epochs.extend(columns)
    return curves


def test_the_best_epoch_is_judged_by_validation_and_passes_over_gaps():
    curves = make()
    assert curves.best("loss") == 1
    assert curves.best("accuracy") == 1
    assert make(validation=False).best("loss") == 3
    assert charts.Curves().best("loss") is None


def test_a_metric_nobody_knows_has_no_best_epoch():
    curves = charts.Curves(plans=("sure",))
    curves.epochs.extend({"sure": [0.2, 0.8, 0.5]})
    assert curves.best("sure") is None
    assert "best" not in charts.describe(curves, "sure")
    made = ElementTree.fromstring(charts.curve(curves, "sure"))
    assert "best" not in [node.get("class") for node in made.iter()]


def test_an_axis_shows_what_was_reached_and_leaves_room_while_running():
    curves = make()
    assert curves.span == (0, 4)
    curves.over, curves.total_epochs = False, 30
    assert curves.span == (0, 5)
    curves.steps_per_epoch = None
    curves.over = True
    assert curves.span == (0, 40)


def test_epochs_go_on_from_the_first_of_a_continued_run():
    curves = make(first_epoch=6)
    assert curves.epoch_at(0) == 7
    assert curves.step_to_x(40) == 10


def test_a_curve_is_a_well_formed_picture_with_all_its_series():
    root = ElementTree.fromstring(charts.curve(make(), "loss", note="0:42"))
    classes = [node.get("class") for node in root.iter()]
    assert classes.count("dot") == classes.count("ring") == 1 + 1
    assert classes.count("best") == 1
    dotted = [node for node in root.iter() if node.get("marker-mid")]
    assert [node.get("d").count(",") for node in dotted] == [4, 4]
    words = " ".join("".join(node.itertext()) for node in root.findall(".//{*}text"))
    assert "best 0.5000, epoch 2" in words
    assert "0:42" in words


def test_the_running_line_is_lifted_where_an_epoch_begins():
    root = ElementTree.fromstring(charts.curve(make(), "loss"))
    line = next(n for n in root.findall(".//{*}path") if n.get("class") == "steps")
    assert line.get("d").count("M") == 4


@pytest.mark.parametrize("curves", [charts.Curves(), make(1), make(1, False)])
def test_a_curve_is_drawn_from_however_little_there_is(curves):
    for name in ("loss", "accuracy", "absent"):
        ElementTree.fromstring(charts.curve(curves, name))


def test_values_that_are_not_finite_leave_the_picture_whole():
    curves = make()
    curves.steps.extend({"step": [41.0], "loss": [math.inf], "accuracy": [math.nan]})
    curves.epochs.extend({"loss": [math.inf], "val_loss": [math.nan]})
    ElementTree.fromstring(charts.curve(curves, "loss"))
    assert "∞" in charts.describe(curves, "loss")


def test_a_name_cannot_act_as_markup():
    curves = make()
    curves.plans = ("</text><script>",)
    made = charts.curve(curves, "</text><script>")
    assert "<script>" not in made
    ElementTree.fromstring(made)


def test_curves_are_told_in_words():
    assert charts.describe(make(), "loss") == (
        "loss: train 0.2500, validation 0.7000 after 4 epochs; best 0.5000 at epoch 2"
    )
    assert charts.describe(make(1, False), "loss") == "loss: train 1.000 after 1 epoch"
    assert charts.describe(charts.Curves(), "loss") == "loss: no values yet"


def test_a_long_table_folds_its_middle():
    curves = charts.Curves()
    curves.epochs.extend({"loss": np.ones(40)})
    assert charts.epoch_table(curves).count("<details>") == 1
    assert charts.epoch_table(make()).count("<details>") == 0
    assert charts.epoch_table(charts.Curves()) == ""


def test_marks_alarms_and_earlier_runs_are_drawn_where_they_were():
    curves = make()
    curves.signs = [charts.Sign("mark", "m", 20), charts.Sign("alarm", "a", 999)]
    before = np.array([1.0, 2.0, 3.0])
    curves.earlier = [
        charts.Earlier(
            "first", {"loss": (before, before), "val_loss": (before, before)}
        )
    ]
    picture = charts.curve(curves, "loss")
    root = ElementTree.fromstring(picture)
    classes = [node.get("class") for node in root.iter()]
    assert classes.count("mark") == 1
    assert classes.count("alarm") == 0, "it is beyond the axis"
    mark = next(node for node in root.iter() if node.get("class") == "mark")
    assert mark[0].get("d").startswith("M209.0,"), "step 20 of 40 is in the middle"
    assert (classes.count("past"), classes.count("past late")) == (1, 1)
    assert "behind: first" in "".join(root.itertext())
    curves.steps_per_epoch = None
    assert 'class="past"' not in charts.curve(curves, "loss"), "the axis counts steps"


def test_what_is_measured_at_some_steps_has_a_curve_of_its_own():
    curves = make()
    curves.plans = ("loss", "gradient_norm")
    curves.health.extend({"step": [1.0, 20.0], "gradient_norm": [5.0, 0.5]})
    step, values = curves.running("gradient_norm")
    np.testing.assert_array_equal([step, values], np.float32([[1, 20], [5, 0.5]]))
    root = ElementTree.fromstring(charts.curve(curves, "gradient_norm"))
    assert "gradient norm" in "".join(root.itertext())
    line = next(n for n in root.findall(".//{*}path") if n.get("class") == "steps")
    assert line.get("d").count(",") == 2
