"""kerasnb.callbacks.progress: a line that fills up, or one line per epoch."""

import contextlib
import fcntl
import io
import logging
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
import threading
from types import SimpleNamespace

import numpy as np
import pyte
import pytest

from kerasnb import callbacks, layers, models
from kerasnb.callbacks import progress, terminal
from kerasnb.callbacks.progress import Progbar


class Clock:
    """A clock that the test moves."""

    def __init__(self):
        self.now = 100.0

    def perf_counter(self):
        return self.now


class Terminal(io.StringIO):
    """A stream that shows what it is written on an emulated screen."""

    encoding = "utf-8"

    def __init__(self, columns=110):
        super().__init__()
        self.screen = pyte.Screen(columns, 40)
        self._feed = pyte.Stream(self.screen).feed

    def isatty(self):
        return True

    def write(self, text):
        self._feed(text.replace("\n", "\r\n"))
        return super().write(text)

    @property
    def lines(self):
        """What a person sees, but for empty lines."""
        return [line.rstrip() for line in self.screen.display if line.strip()]


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(progress, "time", clock)
    return clock


@pytest.fixture
def console(monkeypatch):
    """The streams of a program in a terminal, 110 columns wide."""
    screen = Terminal()
    streams = SimpleNamespace(stdout=screen, stderr=screen)
    for module in (progress, terminal):
        monkeypatch.setattr(module, "sys", streams)
    monkeypatch.setenv("COLUMNS", "110")
    monkeypatch.setenv("TERM", "xterm-256color")
    for name in ("NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    yield streams
    progress._LINE.close()


@pytest.fixture
def screen(console):
    return console.stdout


def progress_list(**params):
    return callbacks.CallbackList(
        add_progbar=True, **{"verbose": 1, "epochs": 2, "steps": 10, **params}
    )


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


def begun(seen=3, names=("loss",), **params):
    """A run that is in the middle of its first epoch."""
    hooks = progress_list(**params)
    hooks.on_train_begin()
    hooks.on_epoch_begin(0)
    hooks.replay("train", 0, seen, {name: [0.5] * seen for name in names})
    return hooks


# --- In a file ------------------------------------------------------------------------


@pytest.mark.parametrize("verbose", [1, 2])
def test_a_log_file_gets_one_line_per_epoch(verbose, clock, capsys):
    fit(progress_list(verbose=verbose), clock)
    assert capsys.readouterr().out == (
        "Epoch 1/2: 10/10 - 0s - 50ms/step"
        " - loss: 0.2500 - tiny: 2.0000e-05 - val_loss: 0.1250\n"
        "Epoch 2/2: 10/10 - 0s - 50ms/step"
        " - loss: 0.2500 - tiny: 2.0000e-05 - val_loss: 0.1250\n"
    )


@pytest.mark.parametrize(("verbose", "lines"), [(1, 3), (2, 1)])
def test_a_long_epoch_shows_some_life_in_a_log_file(verbose, lines, clock, capsys):
    fit(progress_list(verbose=verbose, epochs=1), clock, epochs=1, seconds=20)
    written = capsys.readouterr().out.splitlines()
    assert len(written) == lines
    assert written[0].startswith("4/10 - 1:20 - 20s/step - loss" if lines > 1 else "10")


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


def test_evaluate_and_predict_have_a_line_of_their_own(clock, capsys):
    hooks = progress_list(steps=2, epochs=1)
    hooks.on_test_begin()
    clock.now += 1
    hooks.replay("test", 0, 2, {"loss": [1.0, 0.5]})
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


@pytest.mark.parametrize(
    ("data", "steps", "count"),
    [(np.zeros((65, 1)), None, 3), (np.zeros((65, 1)), 2, 2), (None, None, None)],
    ids=["arrays", "some steps", "generator"],
)
def test_predict_says_how_many_steps_there_are(data, steps, count):
    told = callbacks.LambdaCallback()
    model = models.Sequential([layers.Input((1,)), layers.Flatten()])
    data = (np.zeros((1, 1)) for _ in range(2)) if data is None else data
    model.predict(data, steps=steps, callbacks=[told], verbose=0)
    assert told.params["steps"] == count


# --- In a terminal --------------------------------------------------------------------


def test_a_terminal_sees_the_line_fill_up_in_place(clock, screen):
    hooks = progress_list()
    hooks.on_train_begin()
    hooks.on_epoch_begin(0)
    bar = "━" * 32
    assert screen.lines == [f"Epoch 1/2 {bar}   0%  0/10 starting"]
    clock.now += 3.0  # the compilation
    hooks.replay("train", 0, 1, {"loss": [0.5]})
    clock.now += 4.0
    hooks.replay("train", 1, 4, {"loss": [0.5, 0.5, 0.5, 0.25]})
    now = f"Epoch 1/2 {bar}  50%  5/10 {{}} 1s/step  loss 0.2500"
    assert screen.lines == [now.format(" 5s left")]
    hooks.on_test_begin()
    clock.now += 1
    hooks.replay("test", 0, 1, {"loss": [9.0]})
    hooks.on_test_begin()
    assert screen.lines == [now.format("validate")]


def test_finished_epochs_stay_and_keep_their_columns(clock, screen):
    fit(progress_list(epochs=10), clock)
    bar = "━" * 26
    assert screen.lines == [
        f"Epoch {epoch:>2}/10 {bar} 100% 10/10       0s 50ms/step"
        "  loss 0.2500 val 0.1250  tiny 2.0000e-05"
        for epoch in (1, 2)
    ]
    loss = {line.index("tiny") for line in screen.lines}
    hooks = progress_list(epochs=10)
    hooks.on_train_begin()
    for epoch in range(2):
        hooks.on_epoch_begin(epoch)
        clock.now += 1
        hooks.replay("train", 0, 4, {"loss": [2.0] * 4, "tiny": [1e-5] * 4})
        if not epoch:
            hooks.on_epoch_end(epoch, {"loss": 2.0, "tiny": 1e-5, "val_loss": 0.125})
    assert {line.index("tiny") for line in screen.lines} == loss


def test_a_terminal_is_written_to_at_most_ten_times_a_second(clock, screen):
    hooks = progress_list(steps=1000, epochs=1)
    hooks.on_train_begin()
    hooks.on_epoch_begin(0)
    for batch in range(1000):
        clock.now += 0.001
        hooks.on_train_batch_end(batch, {"loss": 1.0})
    assert 8 <= screen.getvalue().count("\r") <= 11


def test_epochs_shorter_than_that_are_not_drawn_but_for_their_end(clock, screen):
    fit(progress_list(epochs=100), clock, epochs=100, seconds=1e-4)
    assert screen.getvalue().count("Epoch") < 110
    assert screen.getvalue().count("\n") == 100


def test_verbose_2_writes_one_line_per_epoch_also_in_a_terminal(clock, screen):
    fit(progress_list(verbose=2), clock)
    assert not {"\r", "\x1b"} & set(screen.getvalue())
    assert [line.split(":")[0] for line in screen.lines] == ["Epoch 1/2", "Epoch 2/2"]


@pytest.mark.parametrize(
    ("columns", "moving"),
    [
        (
            200,
            "━" * 32 + "  30%  3/10  3s left 500ms/step  accuracy 0.5000  loss 0.5000",
        ),
        (80, "━" * 8 + "  30%  3/10  3s left 500ms/step  accuracy 0.5000  loss 0.5000"),
        (70, "━" * 9 + "  30%  3/10  3s left  accuracy 0.5000  loss 0.5000"),
        (40, "━" * 7 + "  3s left  loss 0.5000"),
        (30, "━" * 5 + "  30%  3s left"),
    ],
)
def test_a_line_fits_the_window_and_metrics_come_first(
    columns, moving, clock, screen, monkeypatch
):
    monkeypatch.setenv("COLUMNS", str(columns))
    screen.screen.resize(40, columns)
    hooks = progress_list()
    hooks.on_train_begin()
    hooks.on_epoch_begin(0)
    clock.now += 1.5
    hooks.replay("train", 0, 3, dict.fromkeys(("accuracy", "loss"), [0.5] * 3))
    assert [line.replace("╸", "━") for line in screen.lines] == [f"Epoch 1/2 {moving}"]
    hooks.on_epoch_end(
        0, dict.fromkeys(("accuracy", "loss", "val_accuracy", "val_loss"), 0.5)
    )
    told = " ".join(screen.lines)
    assert told.count("0.5000") == 4
    assert len(screen.lines) == (1 if columns >= 70 else 3)
    assert max(map(len, screen.lines)) < columns


def test_a_window_that_became_narrower_keeps_no_torn_line(clock, screen, monkeypatch):
    progress.say("before")
    hooks = begun(names=("accuracy", "loss"))
    # As a terminal does that breaks long lines anew.
    (long,) = screen.lines[1:]
    monkeypatch.setenv("COLUMNS", "50")
    screen.screen.reset()
    screen.screen.resize(40, 50)
    screen._feed("before\r\n" + long)
    assert len(screen.lines) == 3
    clock.now += 1
    hooks.replay("train", 3, 1, {"accuracy": [0.5], "loss": [0.5]})
    assert screen.lines[0] == "before"
    assert len(screen.lines) == 2


def test_what_callbacks_print_stands_above_the_moving_line(clock, console, screen):
    hooks = begun()
    assert console.stdout is not screen  # somebody stands guard
    print("a word", file=console.stdout)
    print("a warning", file=console.stderr)
    print("no end", end="", file=console.stdout)
    clock.now += 1
    hooks.on_train_batch_end(4, {"loss": 1.0})
    progress.say("Saved.")
    clock.now += 1
    hooks.on_train_batch_end(5, {"loss": 1.0})
    *above, moving = screen.lines
    assert above == ["a word", "a warning", "no end", "Saved."]
    assert " 6/10 " in moving
    kept = console.stdout
    hooks.on_epoch_end(0, {"loss": 1.0})
    assert console.stdout is console.stderr is screen
    assert screen.lines[:-1] == above
    print("later", file=kept)
    assert screen.lines[-1] == "later"


def test_an_evaluation_inside_a_callback_keeps_its_own_line(clock, screen):
    hooks = begun()
    inner = progress_list(steps=4, epochs=1)
    inner.on_test_begin()
    inner.replay("test", 0, 4, {"loss": [2.0] * 4})
    inner.on_test_end({"loss": 2.0})
    clock.now += 1
    hooks.on_epoch_end(0, {"loss": 0.5})
    assert [line.split()[-1] for line in screen.lines] == ["2.0000", "0.5000"]


@pytest.mark.parametrize("status", ["interrupted", "failed"])
def test_a_run_that_breaks_off_leaves_a_whole_line(status, clock, console, screen):
    run = SimpleNamespace(listeners=[], status="running")
    hooks = progress_list(model=SimpleNamespace(run=run))
    hooks.on_train_begin()
    hooks.on_epoch_begin(0)
    clock.now += 1
    hooks.replay("train", 0, 3, {"loss": [0.5] * 3})
    run.status = status
    for listener in run.listeners:
        listener(run, final=True)
    print("Traceback", file=console.stderr)
    line, after = screen.lines
    assert after == "Traceback"
    assert f"3/10 {status:>8} 333ms/step" in line
    assert console.stdout is screen


def test_a_stop_in_mid_epoch_leaves_a_finished_line(clock, screen):
    hooks = begun()
    hooks.on_train_end({})
    assert screen.getvalue().endswith("\n")
    hooks.on_train_end({})
    assert len(screen.lines) == 1


def test_a_stream_of_unknown_length_is_counted(clock, screen):
    hooks = progress_list(steps=None, epochs=1)
    hooks.on_train_begin()
    hooks.on_epoch_begin(0)
    clock.now += 2
    hooks.on_train_batch_end(3, {"loss": 1.0})
    assert screen.lines == ["4 steps       2s 500ms/step  loss 1.0000"]
    hooks.on_epoch_end(0, {"loss": 1.0})
    clock.now += 1
    hooks.on_epoch_begin(1)
    assert screen.lines[0].startswith("━" * 32 + " 100%     4/4       2s 500ms/step")
    assert screen.lines[1].startswith("━" * 32 + "   0%     0/4 starting")


# --- Colours and signs ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("environment", "coloured", "moves"),
    [
        ({}, True, True),
        ({"NO_COLOR": "1"}, False, True),
        ({"NO_COLOR": "1", "FORCE_COLOR": "1"}, False, True),
        ({"TERM": "dumb"}, False, False),
        ({"TERM": "dumb", "FORCE_COLOR": "1"}, True, False),
        ({"FORCE_COLOR": "0"}, False, True),
    ],
)
def test_colours_only_where_they_are_wanted(
    environment, coloured, moves, clock, screen, monkeypatch
):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    hooks = begun()
    clock.now += 1
    hooks.replay("train", 3, 2, {"loss": [0.5] * 2})
    written = screen.getvalue()
    assert ("\x1b[36m" in written) == coloured
    assert ("\x1b[J" in written) == moves
    hooks.replay("train", 5, 5, {"loss": [0.5] * 5})
    hooks.on_epoch_end(0, {"loss": 0.5})
    assert ("\x1b[32m" in screen.getvalue()) == coloured
    assert len(screen.lines) == 1


def test_a_terminal_without_line_drawing_gets_plain_signs(clock, screen, monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    screen.encoding = "ascii"
    bar = Progbar(8, interval=0)
    bar.update(3)
    assert screen.lines == ["=======>............  37% 3/8  0s left 0s/step"]


@pytest.mark.parametrize(
    ("share", "drawn"),
    [(0, "────"), (0.125, "╸───"), (0.5, "━━──"), (0.9, "━━━╸"), (2, "━━━━")],
)
def test_a_bar_grows_by_half_columns(share, drawn):
    assert terminal.bar(share, 4, False, sys.stdout) == drawn


# --- Progbar --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "text"), [(0.5, "0.5000"), (1e-3, "1.0000e-03"), (-2.0, "-2.0000")]
)
def test_numbers_look_as_in_keras(value, text, clock, capsys):
    Progbar(1).update(1, [("loss", value)])
    assert capsys.readouterr().out == f"1/1 - 0s - 0s/step - loss: {text}\n"


def test_values_are_averaged_over_steps_unless_they_are_means_already(clock, screen):
    bar = Progbar(10, stateful_metrics=["mean"], interval=0)
    bar.add(1, [("loss", 4.0), ("mean", 4.0)])
    bar.add(3, [("loss", 0.0), ("mean", 0.0)])
    assert screen.lines[-1].endswith("loss 1.0000  mean 0.0000e+00")
    with pytest.raises(ValueError, match="only one of `stateful_metrics`"):
        Progbar(1, stateful_metrics=[], stateless_metrics=[])


@pytest.mark.parametrize(
    ("seconds", "text"), [(5, "5s"), (65, "1:05"), (3 * 3600 + 61, "3:01:01")]
)
def test_durations_are_written_as_clocks(seconds, text):
    assert progress._clock(seconds) == text


# --- A real terminal ------------------------------------------------------------------

TRAINING = """
import itertools, numpy, kerasnb

class Talk(kerasnb.callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None):
        if epoch == 0:
            print("a word from a callback")

x = numpy.random.default_rng(0).normal(size=(64, 4)).astype("float32")
model = kerasnb.Sequential([kerasnb.Input((4,)), kerasnb.layers.Dense(1)])
model.compile("sgd", "mean_squared_error")
model.fit(x, x[:, :1], epochs=2, validation_split=0.25, callbacks=[Talk()])
model.evaluate(x, x[:, :1])
model.predict(x)
if ENDLESS:
    model.fit(itertools.repeat((x, x[:, :1])), steps_per_epoch=10**9)
"""


def train(endless, stdout):
    """A process that trains and tells of it on `stdout`."""
    code = TRAINING.replace("ENDLESS", str(endless))
    clean = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "NO_COLOR")}
    return subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=stdout,
        stderr=stdout,
        env=clean | {"TERM": "xterm-256color"},
    )


def test_in_a_real_terminal_lines_are_whole_also_after_an_interrupt():
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 400, 90, 0, 0))
    screen = pyte.Screen(90, 400)  # high enough for any traceback
    stream = pyte.ByteStream(screen)
    process = train(True, theirs)
    os.close(theirs)
    limit = threading.Timer(120, process.kill)
    limit.start()
    interrupted = False
    with contextlib.suppress(OSError):  # the end of the process is the end of the file
        while told := os.read(ours, 65536):
            stream.feed(told)
            lines = [line.rstrip() for line in screen.display if line.strip()]
            if not interrupted and re.search("[1-9]/1000000000.* left", str(lines)):
                process.send_signal(signal.SIGINT)
                interrupted = True
    os.close(ours)
    process.wait(60)
    limit.cancel()
    word, *shown = lines
    assert word == "a word from a callback", shown
    assert [line.split()[0] for line in shown[:2]] == ["Epoch", "Epoch"]
    for line in shown[:2]:
        assert {"loss", "val"} <= set(line.split())
        assert "2/2" in line
    for line in shown[2:4]:
        assert "100% 2/2" in line
    assert "interrupted" in shown[4]
    assert shown[5].startswith("Traceback")
    assert shown[-1] == "KeyboardInterrupt"


def test_through_a_pipe_go_plain_lines_only():
    process = train(False, subprocess.PIPE)
    told, _ = process.communicate(timeout=120)
    assert not {"\r", "\x1b", "\b"} & set(told.decode())
    word, *lines = told.decode().splitlines()
    assert word == "a word from a callback", told
    assert [line.split(" - ")[0] for line in lines] == [
        "Epoch 1/2: 2/2",
        "Epoch 2/2: 2/2",
        "2/2",
        "2/2",
    ]
