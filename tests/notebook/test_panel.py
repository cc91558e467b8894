"""kerasnb.notebook.panel"""

import json
import math
import re
import time
import warnings
from types import SimpleNamespace

import numpy as np
import pytest

from kerasnb.core import settings
from kerasnb.notebook import panel as panel_file
from kerasnb.notebook import widget
from kerasnb.notebook.panel import LivePanel
from tests.notebook.fake_run import FakeRun


class Output:
    """Stands for the one output of a cell; remembers what it showed."""

    def __init__(self):
        self.bundles = []
        self.shown = 0

    def display(self, data, raw, display_id):
        assert raw
        assert display_id
        self.shown += 1
        self.bundles.append(data)
        return self

    def update(self, data, raw):
        self.bundles.append(data)


@pytest.fixture
def output(monkeypatch):
    import IPython.display

    cell = Output()
    monkeypatch.setattr(IPython.display, "display", cell.display)
    return cell


@pytest.fixture
def unhurried(monkeypatch):
    """Every call sends; no waiting for the clock."""
    monkeypatch.setattr(panel_file, "_BETWEEN_MESSAGES", 0)


class Page:
    """What a browser page would know: the messages put together."""

    def __init__(self, live):
        self.messages, self.rows, self.names, self.facts = [], {}, {}, {}
        self.bytes = 0
        live.view.send = self.receive

    def receive(self, message, buffers):
        self.bytes += len(json.dumps(message)) + sum(map(len, buffers))
        if message["whole"]:
            self.names, self.rows, self.facts = message["names"], {}, {}
        else:
            assert message["part"] == self.messages[-1]["part"] + 1
        self.messages.append(message)
        self.facts |= message["facts"]
        for name, buffer in zip(self.names, buffers, strict=True):
            width = max(1, len(self.names[name]))
            rows = np.frombuffer(buffer, np.float32).reshape(-1, width)
            held = self.rows.get(name, np.empty((0, width), np.float32))
            self.rows[name] = np.concatenate([held, rows])


def test_a_run_is_shown_once_with_its_still_picture_and_words(output):
    run = FakeRun(epochs=2)
    live = LivePanel(run, "widget")
    run.loop()
    assert output.shown == 1
    assert all(set(bundle) == {"text/html", "text/plain"} for bundle in output.bundles)
    twin = f'<div data-knb="{live.view._twin}">'
    assert all(bundle["text/html"].startswith(twin) for bundle in output.bundles)
    assert output.bundles[-1]["text/plain"].startswith(
        "digits: finished after 2 epochs\n"
    )


def test_a_page_receives_every_row_once_and_in_order(output, unhurried):
    run = FakeRun(epochs=3, steps_per_epoch=50, chunk=7)
    page = Page(LivePanel(run, "widget"))
    run.loop()
    assert page.names["steps"] == ["step", "loss", "accuracy"]
    index, values = run.step_points()
    np.testing.assert_array_equal(page.rows["steps"][:, 0], index + 1)
    np.testing.assert_array_equal(page.rows["steps"][:, 1], values["loss"])
    assert page.names["epochs"] == ["loss", "val_loss", "accuracy", "val_accuracy"]
    expected = [run.history[name] for name in page.names["epochs"]]
    np.testing.assert_allclose(page.rows["epochs"].T, expected, rtol=1e-6)
    wholes = [m["part"] for m in page.messages if m["whole"]]
    assert wholes[0] == 1
    assert len(wholes) <= 3, "all again for new columns, once of steps, once of epochs"


def test_messages_come_at_most_ten_times_a_second(output):
    run = FakeRun(epochs=5, steps_per_epoch=100, chunk=1, wait=0.001)
    page = Page(LivePanel(run, "widget"))
    began = time.monotonic()
    run.loop()
    assert len(page.messages) <= 12 * (time.monotonic() - began) + 3


def test_a_page_that_asks_gets_the_whole_record(output, unhurried):
    run = FakeRun(epochs=2, steps_per_epoch=20)
    live = LivePanel(run, "widget")
    page = Page(live)
    run.loop()
    before = len(page.messages)
    live.obey({"op": "sync", "id": "1"})
    assert len(page.messages) == before + 1
    assert page.messages[-1]["whole"]
    assert len(page.rows["steps"]) == 40


def test_a_page_that_asks_during_training_is_answered_with_all_there_is(
    output, unhurried
):
    run = FakeRun(epochs=2, steps_per_epoch=20)
    live = LivePanel(run, "widget")
    page = Page(live)
    run.listeners.append(
        lambda run, final=False: run.step == 20 and live.obey({"op": "sync", "id": "1"})
    )
    run.loop()
    assert page.messages[-1]["whole"] or any(m["whole"] for m in page.messages[3:])
    assert len(page.rows["steps"]) == 40


@pytest.mark.parametrize(
    ("message", "order"),
    [
        ({"op": "pause"}, "pause"),
        ({"op": "resume"}, "resume"),
        ({"op": "stop"}, "stop"),
        ({"op": "finish"}, "finish"),
        ({"op": "step"}, ("advance", 1)),
        ({"op": "mark"}, ("mark", "mark 1")),
        ({"op": "rate", "value": "0.02"}, ("rate", 0.02)),
    ],
)
def test_a_control_reaches_the_run(output, message, order):
    run = FakeRun()
    live = LivePanel(run, "widget")
    live.obey({**message, "id": "1"})
    assert run.orders.get_nowait() == order


@pytest.mark.parametrize(
    ("message", "words"),
    [
        ({"op": "rate", "value": "fast"}, "could not convert"),
        ({"op": "rate", "value": -1}, "-1.0 is no learning rate"),
        ({"op": "rate", "value": "inf"}, "inf is no learning rate"),
        ({"op": "rate"}, "must be a"),
        ({"op": "roll_back", "value": "x"}, "run `digits` has no mark `x`"),
    ],
)
def test_a_request_that_cannot_be_met_is_answered_and_asks_nothing(
    output, unhurried, message, words
):
    run = FakeRun()
    live = LivePanel(run, "widget")
    page = Page(live)
    live.obey({**message, "id": "1"})
    live()
    assert run.orders.empty()
    assert words in page.facts["refused"]
    live.obey({"op": "pause", "id": "2"})
    live()
    assert page.facts["refused"] == ""


def test_an_unknown_message_is_ignored(output):
    run = FakeRun()
    LivePanel(run, "widget").obey({"op": "dance", "id": "1"})
    assert run.orders.empty()


def test_stop_ends_the_run_and_says_so(output):
    run = FakeRun(epochs=5, steps_per_epoch=50)
    live = LivePanel(run, "widget")
    run.listeners.append(
        lambda run, final=False: run.step == 70 and live.obey({"op": "stop", "id": "1"})
    )
    run.loop()
    assert run.step == 70
    words = output.bundles[-1]["text/plain"]
    assert words.startswith("digits: stopped after 1 epoch\n")


def test_a_long_burst_of_steps_is_thinned_but_keeps_its_spike(output, unhurried):
    run = FakeRun(epochs=1, steps_per_epoch=20_000, chunk=20_000, metrics=("loss",))
    live = LivePanel(run, "widget")
    page = Page(live)
    run.loop()
    _, values = run.step_points()
    assert len(page.rows["steps"]) <= 400
    assert page.rows["steps"][:, 1].max() == values["loss"].max()
    assert page.rows["steps"][-1, 0] == 20_000


def test_facts_carry_no_number_that_json_lacks(output, unhurried):
    run = FakeRun(epochs=1)
    live = LivePanel(run, "widget")
    page = Page(live)
    run.samples_per_second, run.learning_rate = float("inf"), float("nan")
    live(final=True)
    assert page.facts["samples_per_second"] is None
    assert page.facts["learning_rate"] is None


def test_an_epoch_without_validation_leaves_a_gap(output, unhurried):
    run = FakeRun(validation=False)
    live = LivePanel(run, "widget")
    page = Page(live)
    run.history = {"loss": [3.0], "val_loss": []}
    live()
    run.history = {"loss": [3.0, 2.0], "val_loss": [2.5]}
    live()
    at = page.names["epochs"].index("val_loss")
    np.testing.assert_array_equal(page.rows["epochs"][:, at], [np.nan, 2.5])


def test_unknown_steps_in_an_epoch_are_learnt_from_the_first(output, unhurried):
    run = FakeRun(epochs=2, steps_per_epoch=None)
    page = Page(LivePanel(run, "widget"))
    run.loop()
    told = [m["facts"].get("steps_per_epoch", "the same") for m in page.messages]
    assert told[0] is None
    assert page.facts["steps_per_epoch"] == 100


def test_a_continued_run_counts_its_epochs_from_where_it_began(output, unhurried):
    run = FakeRun(epochs=5)
    run.epoch = 3
    page = Page(LivePanel(run, "widget"))
    run.loop()
    assert (page.facts["first_epoch"], page.facts["epoch"]) == (3, 5)
    assert len(page.rows["epochs"]) == 2


def test_html_mode_makes_no_widget_and_ends_with_the_final_picture(output):
    run = FakeRun(epochs=2)
    live = LivePanel(run, "html")
    run.loop()
    assert live.view is None
    assert all(set(bundle) == {"text/html", "text/plain"} for bundle in output.bundles)
    assert "finished after 2 epochs" in output.bundles[-1]["text/html"]


@pytest.mark.parametrize("mode", ["text", "none"])
def test_text_mode_shows_nothing(output, mode):
    run = FakeRun(epochs=1)
    LivePanel(run, mode)
    run.loop()
    assert output.bundles == []
    assert run.listeners == []


def test_the_setting_decides_when_no_mode_is_given(output):
    before = settings.display()
    try:
        settings.display("html")
        assert LivePanel(FakeRun()).mode == "html"
    finally:
        settings.display(before)


def test_without_anywidget_the_panel_is_a_still_picture(output, monkeypatch):
    monkeypatch.setattr(widget, "available", lambda: False)
    assert LivePanel(FakeRun(), "widget").mode == "html"


def test_trouble_in_the_drawing_never_ends_the_training(output, unhurried):
    run = FakeRun(epochs=1)
    live = LivePanel(run, "widget")

    def broken(message, buffers):
        raise OSError("the page is gone")

    live.view.send = broken
    with pytest.warns(
        UserWarning, match=r"stopped drawing \(OSError: the page is gone\)"
    ):
        run.loop()
    assert run.status == "finished"
    assert live not in run.listeners


def test_words_are_the_same_for_the_same_run(output):
    words = set()
    for _ in range(2):
        run = FakeRun(epochs=2)
        live = LivePanel(run, "html")
        run.loop()
        words.add(live.text())
    assert len(words) == 1


def test_the_still_picture_needs_no_scripts_and_hides_no_markup(output):
    run = FakeRun(epochs=2, name="<script>alert(1)</script>")
    live = LivePanel(run, "html")
    run.loop()
    html = live.still()
    assert "<script" not in html
    assert "<svg" not in html
    assert html.count("<img alt=") == 2
    assert html.count("<tr>") == 3


def test_time_and_speed_stay_inside_the_pictures(output):
    """Else the saved notebook would differ from run to run."""
    run = FakeRun(epochs=2)
    live = LivePanel(run, "html")
    run.loop()
    run.samples_per_second, run.elapsed = 12345.0, 61.0
    bare = re.sub(r'src="[^"]*"', "", live.still())
    assert "12" not in re.findall(r">([^<]*)", bare)[0]
    assert "samples" not in bare
    assert "1:01" not in bare


def test_a_reason_is_told_once(output):
    run = FakeRun(epochs=2)
    live = LivePanel(run, "html")
    run.status, run.message = "stopped", "stopped in epoch 1 of 2"
    live(final=True)
    assert live.text() == "digits: stopped in epoch 1 of 2"
    run.status, run.message = "failed", "ValueError: x"
    assert live.text() == "digits: failed: ValueError: x"


def test_the_module_sent_to_the_page_is_one_file_without_imports():
    source = panel_file.TrainingPanel._script
    assert not re.search(r"^import ", source, re.MULTILINE)
    assert source.count("export default") == 1
    assert source.count("function number(") == 1


def test_nothing_of_the_panel_is_fetched_from_elsewhere():
    for text in (panel_file.TrainingPanel._script, panel_file.TrainingPanel._css):
        found = set(re.findall(r"https?://[^\s\"')]+", text))
        assert found <= {"http://www.w3.org/2000/svg"}


def test_a_widget_has_a_stable_repr():
    live = LivePanel.__new__(LivePanel)
    made = panel_file.TrainingPanel(live)
    live.run, live.curves = FakeRun(), panel_file.charts.Curves()
    assert repr(made) == "digits: training, 0 of 5 epochs"


def test_no_warning_is_given_by_a_whole_run(output):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run = FakeRun(epochs=1)
        LivePanel(run, "widget")
        run.loop()


# --- Going back, marks, alarms, earlier runs ------------------------------------------

ALARM = {
    "kind": "gradients",
    "sentence": "Gradients of `dense` have exploded.",
    "hint": "Try a smaller learning rate.",
    "step": 30,
}


def trained_with(at, mode="widget", **options):
    """A run, its panel and its page; `at[step]` is done at that step."""
    run = FakeRun(epochs=3, steps_per_epoch=50, **options)
    live = LivePanel(run, mode)
    page = Page(live) if mode == "widget" else None
    done = set()

    def act(run, final=False):
        if run.step in at and run.step not in done:
            done.add(run.step)
            at[run.step](run, live)

    run.listeners.append(act)
    run.loop()
    return run, live, page


def test_a_run_that_goes_back_is_read_again(output, unhurried):
    run, live, page = trained_with(
        {
            30: lambda run, live: live.obey({"op": "mark", "id": "1"}),
            80: lambda run, live: live.obey(
                {"op": "roll_back", "value": "mark 1", "id": "2"}
            ),
        }
    )
    assert run.generation == page.facts["generation"] == 1
    np.testing.assert_array_equal(page.rows["steps"][:, 0], np.arange(1, 151))
    assert len(page.rows["epochs"]) == 3
    assert page.facts["marks"] == [{"name": "mark 1", "step": 30, "epoch": 0}]
    assert len(live.curves.steps) == 150


def test_one_step_is_made_while_it_is_paused(output, unhurried):
    paused_at = []

    def press(run, final=False):
        if run.status == "running" and run.step == 40:
            run.pause()
        if run.status == "paused" and run.step not in paused_at:
            paused_at.append(run.step)
            live.obey({"op": "step" if run.step < 42 else "stop", "id": str(run.step)})

    run = FakeRun(epochs=1, chunk=1)
    live = LivePanel(run, "widget")
    run.listeners.append(press)
    run.loop()
    assert paused_at == [40, 41, 42]


def test_an_alarm_is_told_everywhere_until_it_is_silenced(output, unhurried):
    at = {30: lambda run, live: run.note_alarm(**ALARM)}
    run, live, page = trained_with(at)
    [told] = page.facts["alarms"]
    assert told == {**ALARM, "layer": None}
    words = "Gradients of `dense` have exploded. Try a smaller learning rate."
    assert live.text().splitlines()[-1] == f"alarm: {words}"
    assert f"<li>step 30: {words}</li>" in live.still()
    assert live.curves.signs == [
        panel_file.charts.Sign("alarm", ALARM["sentence"], ALARM["step"])
    ]
    live.obey({"op": "silence", "value": "gradients", "id": "1"})
    live(final=True)
    assert run.silenced == {"gradients"}
    assert page.facts["alarms"] == []
    assert "exploded" not in live.text() + live.still()


def test_a_gradient_norm_has_a_curve_and_a_number(output, unhurried):
    run = FakeRun(epochs=2, steps_per_epoch=100)
    run.gradient_norm = 0.5
    live = LivePanel(run, "widget")
    page = Page(live)
    run.loop()
    assert page.facts["gradient_norm"] == 0.5
    assert page.facts["charts"][-1] == {
        "name": "gradient_norm",
        "better": None,
        "aside": True,
    }
    index, values = run.health_points()
    np.testing.assert_array_equal(page.rows["health"][:, 0], index + 1)
    np.testing.assert_allclose(
        page.rows["health"][:, 1], values["gradient_norm"], rtol=1e-6
    )
    assert "gradient_norm" not in live.still(), "when it is measured is chance"


def test_earlier_runs_of_the_same_model_are_drawn_behind(
    output, unhurried, monkeypatch
):
    def record(name, model, status="finished"):
        history = {"loss": [3.0, math.nan, 1.0], "val_loss": [2.0], "odd": [[1], [2]]}
        return SimpleNamespace(
            name=name,
            model={"name": model},
            history=history,
            places={"loss": [0, 1, 2], "val_loss": [2], "odd": [0, 1]},
            over=status == "finished",
        )

    kept = [record("other", "net"), record("now", "digits", "running")]
    kept += [record(f"digits-{i}", "digits") for i in range(5)]
    monkeypatch.setattr(panel_file.runs, "session", kept)
    live = LivePanel(FakeRun(epochs=1), "widget")
    page = Page(live)
    live(final=True)
    names = [one["name"] for one in page.facts["earlier"]]
    assert names == ["digits-2", "digits-3", "digits-4"], "the last three"
    assert page.facts["earlier"][0]["lines"]["loss"] == [[1, 2, 3], [3.0, None, 1.0]]
    assert "val_loss" not in page.facts["earlier"][0]["lines"], "one point is no line"
    assert "earlier" not in page.messages[-1]["facts"] or page.messages[-1]["whole"]


STATES = [
    ("queued", "", "digits: queued"),
    ("running", "", "digits: training, 1 of 3 epochs"),
    ("paused", "", "digits: paused after 1 epoch"),
    ("finished", "", "digits: finished after 1 epoch"),
    ("stopped", "stopped in epoch 2 of 3", "digits: stopped in epoch 2 of 3"),
    (
        "interrupted",
        "interrupted after 70 whole steps",
        "digits: interrupted after 70 whole steps",
    ),
    ("failed", "ValueError: no", "digits: failed: ValueError: no"),
]


@pytest.mark.parametrize(("status", "message", "words"), STATES)
def test_every_state_is_told_in_words(output, unhurried, status, message, words):
    run = FakeRun(epochs=3)
    live = LivePanel(run, "html")
    if status != "queued":
        run.history, run.epoch = {"loss": [0.5], "val_loss": [0.25]}, 1
        words += "\nloss 0.5000  val_loss 0.2500"
        run.mark("before")
        run._obey()
        words += "\nmarks: before (step 0)"
    run.status, run.message = status, message
    live(final=True)
    assert live.text() == words
    html = live.still()
    assert words.splitlines()[0].removeprefix("digits: ") in html
    assert html.count("<img") == 2


# --- How much there is to carry -------------------------------------------------------

TEN = ("loss", *(f"accuracy_{i}" for i in range(9)))


def test_ten_curves_take_less_than_fifty_kilobytes_a_second(output, monkeypatch):
    """A fast training, a thousand steps a message: ten messages are a second."""
    monkeypatch.setattr(panel_file, "_BETWEEN_MESSAGES", 0)
    run = FakeRun(epochs=1, steps_per_epoch=30_000, chunk=1000, metrics=TEN)
    page = Page(LivePanel(run, "widget"))
    for number in range(8):
        run.note_alarm(**{**ALARM, "kind": str(number)})
    run.loop()
    middle = [m for m in page.messages if not m["whole"]]
    assert len(middle) >= 28
    first = next(m for m in page.messages if m["whole"])
    assert len(json.dumps(first)) < 10_000
    assert page.bytes / len(page.messages) * 10 < 50_000


@pytest.mark.parametrize("epochs", [5, 40, 300])
@pytest.mark.parametrize("metrics", [TEN[:2], TEN])
def test_a_run_adds_less_than_sixty_kilobytes_to_a_notebook(output, metrics, epochs):
    run = FakeRun(epochs=epochs, steps_per_epoch=30, chunk=30, metrics=metrics)
    live = LivePanel(run, "widget")
    live._output = None
    run.loop()
    run.note_alarm(**ALARM)
    live(final=True)
    assert len(json.dumps(live._bundle())) < 60_000


def test_a_paused_run_is_silent(output, unhurried):
    run = FakeRun(epochs=1)
    live = LivePanel(run, "widget")
    page = Page(live)
    run.status = "paused"
    live()
    sent = len(page.messages)
    for number in range(5):
        run.elapsed = float(number)
        live()
    assert len(page.messages) == sent


def test_an_html_page_made_of_a_notebook_shows_pictures_and_numbers(output):
    """What nbconvert makes of the output that a saved notebook holds."""
    from nbconvert import HTMLExporter
    from nbformat import v4

    run = FakeRun(epochs=2)
    live = LivePanel(run, "widget")
    run.loop()
    made = v4.new_output("display_data", live._bundle())
    notebook = v4.new_notebook(cells=[v4.new_code_cell("", outputs=[made])])
    page, _ = HTMLExporter(template_name="basic").from_notebook_node(notebook)
    assert page.count('src="data:image/svg+xml;base64,') == 2
    assert "finished after 2 epochs" in page
    assert re.search(r"<th>2</th><td>0\.\d{4}</td>", page)
    assert "<script" not in page
