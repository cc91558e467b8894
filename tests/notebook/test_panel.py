"""kerasnb.notebook.panel"""

import re
import time
import warnings

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
    """What a browser page would know: the rows of the messages, put together."""

    def __init__(self, live):
        self.messages, self.rows = [], {}
        live.view.send = self.receive

    def receive(self, message, buffers):
        self.messages.append(message)
        for name, buffer in zip(("steps", "epochs"), buffers, strict=True):
            table = message[name]
            rows = np.frombuffer(buffer, np.float32).reshape(
                -1, max(1, len(table["names"]))
            )
            held = self.rows.get(name)
            if table["at"] == 0 or held is None:
                held = np.empty((0, rows.shape[1]), np.float32)
            assert len(held) == table["at"], "rows must arrive in order, each once"
            self.rows[name] = np.concatenate([held, rows]) if len(rows) else held
        self.names = {name: message[name]["names"] for name in ("steps", "epochs")}


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
    sizes = [m["steps"]["at"] for m in page.messages]
    assert sizes == sorted(sizes), "nothing was sent twice"


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
    assert page.messages[-1]["steps"]["at"] == 0
    assert len(page.rows["steps"]) == 40


def test_a_page_that_asks_during_training_is_answered_by_the_next_message(
    output, unhurried
):
    run = FakeRun(epochs=2, steps_per_epoch=20)
    live = LivePanel(run, "widget")
    page = Page(live)
    run.listeners.append(
        lambda run, final=False: run.step == 20 and live.obey({"op": "sync", "id": "1"})
    )
    run.loop()
    starts = [m["steps"]["at"] for m in page.messages]
    assert starts.count(0) >= 2
    assert len(page.rows["steps"]) == 40


@pytest.mark.parametrize(
    ("op", "order"),
    [("pause", "pause"), ("resume", "resume"), ("stop", "stop"), ("finish", "finish")],
)
def test_a_button_reaches_the_run(output, op, order):
    run = FakeRun()
    live = LivePanel(run, "widget")
    live.obey({"op": op, "id": "1"})
    assert run.orders.get_nowait() == order


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
    assert len(page.rows["steps"]) <= 1000
    assert page.rows["steps"][:, 1].max() == values["loss"].max()
    assert page.rows["steps"][-1, 0] == 20_000


def test_facts_carry_no_number_that_json_lacks(output, unhurried):
    run = FakeRun(epochs=1)
    live = LivePanel(run, "widget")
    page = Page(live)
    run.samples_per_second, run.learning_rate = float("inf"), float("nan")
    live(final=True)
    facts = page.messages[-1]["facts"]
    assert facts["samples_per_second"] is None
    assert facts["learning_rate"] is None


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
    told = [m["facts"]["steps_per_epoch"] for m in page.messages]
    assert told[0] is None
    assert told[-1] == 100


def test_a_continued_run_counts_its_epochs_from_where_it_began(output, unhurried):
    run = FakeRun(epochs=5)
    run.epoch = 3
    page = Page(LivePanel(run, "widget"))
    run.loop()
    facts = page.messages[-1]["facts"]
    assert (facts["first_epoch"], facts["epoch"]) == (3, 5)
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
    source = panel_file.TrainingPanel._esm
    assert not re.search(r"^import ", source, re.MULTILINE)
    assert source.count("export default") == 1
    assert source.count("function number(") == 1


def test_nothing_of_the_panel_is_fetched_from_elsewhere():
    for text in (panel_file.TrainingPanel._esm, panel_file.TrainingPanel._css):
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
