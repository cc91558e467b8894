"""kerasnb.callbacks.progress: a line that fills up, or one line per epoch."""

import io
import logging
from types import SimpleNamespace

import pytest

from kerasnb import callbacks
from kerasnb.callbacks import progress
from kerasnb.callbacks.progress import Progbar


class Clock:
    """A clock that the test moves."""

    def __init__(self):
        self.now = 100.0

    def perf_counter(self):
        return self.now


class Terminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self):
        return True

    def screen(self):
        """The lines a person sees."""
        lines = self.getvalue().split("\n")
        shown = []
        for line in lines:
            visible = ""
            for part in line.split("\r"):
                visible = part + visible[len(part) :]
            shown.append(visible.rstrip())
        return shown


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(progress, "time", clock)
    return clock


@pytest.fixture
def terminal(monkeypatch):
    terminal = Terminal()
    monkeypatch.setattr(progress, "sys", SimpleNamespace(stdout=terminal))
    monkeypatch.setenv("COLUMNS", "100")
    return terminal


def fit(hooks, clock, epochs=2, steps=10, seconds=0.05):
    """What `fit` calls, chunk by chunk of two steps."""
    hooks.on_train_begin()
    for epoch in range(epochs):
        hooks.on_epoch_begin(epoch)
        for first in range(0, steps, 2):
            clock.now += 2 * seconds
            hooks.replay("train", first, 2, {"loss": [0.5, 0.25], "tiny": [1e-5, 2e-5]})
        hooks.on_test_begin()
        hooks.replay("test", 0, 1, {"loss": [9.0]})
        hooks.on_test_end({"loss": 9.0})
        logs = {"loss": 0.25, "tiny": 2e-5, "val_loss": 0.125}
        hooks.on_epoch_end(epoch, logs)
    hooks.on_train_end(logs)


def progress_list(**params):
    return callbacks.CallbackList(
        add_progbar=True, **{"verbose": 1, "epochs": 2, "steps": 10, **params}
    )


def test_a_log_file_gets_one_line_per_epoch(clock, capsys):
    fit(progress_list(), clock)
    assert capsys.readouterr().out == (
        "Epoch 1/2: 10/10 - 0s - 50ms/step"
        " - loss: 0.2500 - tiny: 2.0000e-05 - val_loss: 0.1250\n"
        "Epoch 2/2: 10/10 - 0s - 50ms/step"
        " - loss: 0.2500 - tiny: 2.0000e-05 - val_loss: 0.1250\n"
    )


def test_a_terminal_sees_the_line_fill_up_in_place(clock, terminal):
    hooks = progress_list()
    hooks.on_train_begin()
    hooks.on_epoch_begin(0)
    clock.now += 3.0  # the compilation
    hooks.replay("train", 0, 1, {"loss": [0.5]})
    clock.now += 4.0
    hooks.replay("train", 1, 4, {"loss": [0.5, 0.5, 0.5, 0.25]})
    assert terminal.screen() == [
        "Epoch 1/2   5/10 ━━━━━━━━━━────────── 5s left 1s/step - loss: 0.2500"
    ]
    hooks.on_epoch_end(0, {"loss": 0.25, "val_loss": 0.5})
    assert terminal.screen()[0].startswith("Epoch 1/2: 5/10 ━━━━━━━━━━━━━━━━━━━━ - 7s")
    assert terminal.screen()[1:] == [""]


def test_a_terminal_is_written_to_at_most_ten_times_a_second(clock, terminal):
    hooks = progress_list(steps=1000, epochs=1)
    hooks.on_train_begin()
    hooks.on_epoch_begin(0)
    for batch in range(1000):
        clock.now += 0.001
        hooks.on_train_batch_end(batch, {"loss": 1.0})
    assert 8 <= terminal.getvalue().count("\r") <= 11


def test_verbose_2_writes_one_line_per_epoch_also_in_a_terminal(clock, terminal):
    fit(progress_list(verbose=2), clock)
    assert "\r" not in terminal.getvalue()
    assert [line.split(":")[0] for line in terminal.screen()] == [
        "Epoch 1/2",
        "Epoch 2/2",
        "",
    ]


def test_a_message_is_written_above_the_moving_line(clock, terminal):
    hooks = progress_list(epochs=1)
    hooks.on_train_begin()
    hooks.on_epoch_begin(0)
    hooks.on_train_batch_end(0, {"loss": 1.0})
    progress.say("Saved.")
    clock.now += 1
    hooks.on_train_batch_end(1, {"loss": 1.0})
    first, second = terminal.screen()
    assert first == "Saved."
    assert second.startswith(" 2/10 ━━━━")


def test_a_line_never_wraps(clock, terminal, monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    hooks = progress_list()
    hooks.on_train_begin()
    hooks.on_epoch_begin(0)
    hooks.on_train_batch_end(0, {f"metric_{i}": 1.0 for i in range(9)})
    assert len(terminal.screen()[0]) == 39


def test_a_stop_in_mid_epoch_leaves_a_finished_line(clock, terminal):
    hooks = progress_list()
    hooks.on_train_begin()
    hooks.on_epoch_begin(0)
    hooks.on_train_batch_end(0, {"loss": 1.0})
    hooks.on_train_end({})
    assert terminal.getvalue().endswith("\n")


def test_a_stream_of_unknown_length_is_counted(clock, terminal):
    hooks = progress_list(steps=None, epochs=1)
    hooks.on_train_begin()
    for _ in range(2):
        hooks.on_epoch_begin(0)
        clock.now += 1
        hooks.on_train_batch_end(3, {"loss": 1.0})
        shown = terminal.screen()[-1]
        hooks.on_epoch_end(0, {"loss": 1.0})
    assert shown.startswith("4/4 ━━━━━━━━━━━━━━━━━━━━")
    assert terminal.screen()[0].startswith("4/4 ━━━")


def test_evaluate_and_predict_have_a_line_of_their_own(clock, capsys):
    hooks = progress_list(steps=2, epochs=1)
    hooks.on_test_begin()
    hooks.replay("test", 0, 2, {"loss": [1.0, 0.5]})
    clock.now += 1
    hooks.on_test_end({"loss": 0.5})
    hooks.on_predict_begin()
    for batch in range(2):
        clock.now += 1
        hooks.on_predict_batch_end(batch, {"outputs": [1, 2]})
    hooks.on_predict_end()
    assert capsys.readouterr().out.splitlines() == [
        "2/2 - 1s - 500ms/step - loss: 0.5000",
        "2/2 - 2s - 1s/step",
    ]


def test_verbose_0_is_silent(clock, capsys):
    fit(progress_list(verbose=0), clock)
    assert capsys.readouterr().out == ""


def test_without_interactive_logging_lines_go_to_the_log(clock, caplog, capsys):
    from kerasnb import config

    config.disable_interactive_logging()
    try:
        with caplog.at_level(logging.INFO, "kerasnb"):
            fit(progress_list(), clock)
    finally:
        config.enable_interactive_logging()
    assert capsys.readouterr().out == ""
    assert [r.message.split(" - ")[0] for r in caplog.records] == [
        "Epoch 1/2: 10/10",
        "Epoch 2/2: 10/10",
    ]


@pytest.mark.parametrize(
    ("value", "text"), [(0.5, "0.5000"), (1e-3, "1.0000e-03"), (-2.0, "-2.0000")]
)
def test_numbers_look_as_in_keras(value, text, clock, capsys):
    Progbar(1).update(1, [("loss", value)])
    assert capsys.readouterr().out == f"1/1 - 0s - 0s/step - loss: {text}\n"


def test_values_are_averaged_over_steps_unless_they_are_means_already(clock, terminal):
    bar = Progbar(10, stateful_metrics=["mean"], interval=0)
    bar.add(1, [("loss", 4.0), ("mean", 4.0)])
    bar.add(3, [("loss", 0.0), ("mean", 0.0)])
    assert terminal.screen()[-1].endswith("loss: 1.0000 - mean: 0.0000e+00")
    with pytest.raises(ValueError, match="only one of `stateful_metrics`"):
        Progbar(1, stateful_metrics=[], stateless_metrics=[])


def test_a_terminal_without_line_drawing_gets_plain_signs(clock, terminal):
    terminal.encoding = "ascii"
    bar = Progbar(4, interval=0)
    bar.update(2)
    assert terminal.screen() == ["2/4 ==========.......... 0s left 0s/step"]


@pytest.mark.parametrize(
    ("seconds", "text"), [(5, "5s"), (65, "1:05"), (3 * 3600 + 61, "3:01:01")]
)
def test_durations_are_written_as_clocks(seconds, text):
    assert progress._clock(seconds) == text
