"""kerasnb.callbacks.records, control: the files and rates of the released Keras."""

import http.server
import json
import threading
import urllib.parse

import keras
import numpy as np
import pytest

import kerasnb
from kerasnb import callbacks

ROWS = [
    {"accuracy": 0.5, "loss": 1.25},
    {"accuracy": 0.75, "loss": 0.3, "val_loss": 0.4},
    {"accuracy": 1e-9, "loss": 0.1, "vector": [1, 2]},
]


# --- CSVLogger ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "settings", [{}, {"separator": ";"}, {"append": True}, {"append": True, "twice": 1}]
)
def test_the_csv_file_is_the_one_keras_writes(settings, tmp_path, make_model, lead):
    settings = dict(settings)
    runs = 1 + settings.pop("twice", 0)
    files = []
    for library in (callbacks, keras.callbacks):
        path = tmp_path / f"{library.__name__}.csv"
        for _ in range(runs):
            lead([library.CSVLogger(path, **settings)], ROWS, make_model())
        files.append(path.read_bytes())
    assert files[0] == files[1]
    assert files[0].count(b"\n") == 1 + 3 * runs


def test_csv_columns_follow_the_first_epoch(tmp_path, make_model, lead):
    rows = [{"loss": 1.0, "val_loss": 2.0}, {"loss": 0.5}]
    files = []
    for library in (callbacks, keras.callbacks):
        path = tmp_path / f"{library.__name__}.csv"
        lead([library.CSVLogger(path)], rows, make_model())
        files.append(path.read_text())
    assert files[0] == files[1]
    assert files[0].splitlines()[-1] == "1,0.5,NA"


def test_every_row_is_on_disk_at_once(tmp_path, make_model):
    logger = callbacks.CSVLogger(tmp_path / "log.csv")
    logger.on_train_begin()
    logger.on_epoch_end(0, {"loss": 1.0})
    assert (tmp_path / "log.csv").read_text().splitlines()[-1] == "0,1.0,NA"
    logger.on_train_end()


# --- History --------------------------------------------------------------------------


def test_history_keeps_every_epoch_as_keras_does(make_model, lead):
    found = []
    for library in (callbacks, keras.callbacks):
        model, history = make_model(), library.History()
        lead([history], ROWS, model)
        assert model.history is history
        found.append((history.history, history.epoch))
    assert found[0] == found[1]


def test_history_shows_its_last_numbers(make_model, lead):
    history = callbacks.History()
    lead([history], ROWS[:2], make_model())
    assert repr(history) == "<History: 2 epochs, accuracy=0.75, loss=0.3, val_loss=0.4>"


# --- LearningRateScheduler ------------------------------------------------------------


def halve_late(epoch, rate):
    return rate / 2 if epoch >= 2 else rate


@pytest.mark.parametrize(
    "schedule",
    [halve_late, lambda epoch: 1.0 / (epoch + 1), lambda e, r: np.float32(e)],
)
def test_the_schedule_sets_and_logs_the_rate_as_in_keras(schedule, make_model, lead):
    found = []
    for library in (callbacks, keras.callbacks):
        model = make_model()
        rows = lead([library.LearningRateScheduler(schedule)], ROWS, model)
        found.append((rows, float(model.optimizer.learning_rate)))
    assert found[0] == found[1]
    assert "learning_rate" in found[0][0][0]


def test_a_schedule_without_a_number_is_explained(make_model, lead):
    callback = callbacks.LearningRateScheduler(lambda epoch: None)
    with pytest.raises(ValueError, match="`schedule` must return a number, not None"):
        lead([callback], ROWS, make_model())
    with pytest.raises(ValueError, match="`schedule` must be a function"):
        callbacks.LearningRateScheduler(0.1)


def test_an_error_inside_the_schedule_is_not_swallowed(make_model, lead):
    def broken(epoch, rate):
        return rate + "1"

    with pytest.raises(TypeError, match="unsupported operand"):
        lead([callbacks.LearningRateScheduler(broken)], ROWS, make_model())


def test_a_real_optimizer_is_scheduled_and_reduced(make_model, lead):
    from kerasnb import optimizers

    model = make_model()
    model.optimizer = optimizers.SGD(1.0)
    scheduler = callbacks.LearningRateScheduler(halve_late, verbose=1)
    rows = lead([scheduler], ROWS, model)
    assert [row["learning_rate"] for row in rows] == [1.0, 1.0, 0.5]
    lead([callbacks.ReduceLROnPlateau("loss", patience=1)], ROWS[:1] * 2, model)
    assert float(model.optimizer.learning_rate) == pytest.approx(0.05)


# --- TerminateOnNaN -------------------------------------------------------------------


@pytest.mark.parametrize("loss", [np.nan, np.inf, -np.inf])
def test_a_loss_that_is_not_finite_ends_training(loss, make_model, capsys):
    for call in (
        lambda hooks: hooks.on_train_batch_end(4, {"loss": loss}),
        lambda hooks: hooks.replay("train", 2, 4, {"loss": [1.0, 0.5, loss, loss]}),
    ):
        model = make_model()
        call(callbacks.CallbackList([callbacks.TerminateOnNaN()], model=model))
        assert model.stop_training
        said = f"The loss is {loss} after batch 4; training stops.\n"
        assert capsys.readouterr().out == said
        strict = callbacks.TerminateOnNaN(raise_error=True)
        with pytest.raises(RuntimeError, match="after batch 4"):
            call(callbacks.CallbackList([strict], model=make_model()))


def test_a_finite_loss_goes_on(make_model):
    model = make_model()
    hooks = callbacks.CallbackList([callbacks.TerminateOnNaN()], model=model)
    hooks.on_train_batch_end(0, {"loss": 1.0})
    hooks.replay("train", 0, 2, {"loss": [1.0, 2.0]})
    hooks.replay("test", 0, 1, {"loss": [np.nan]})
    assert not model.stop_training


# --- RemoteMonitor --------------------------------------------------------------------


@pytest.fixture
def server():
    """A server on this machine that keeps what it is sent."""
    got = []

    class Keep(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            got.append((self.path, self.headers, body))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *args):
            """Say nothing."""

    with http.server.HTTPServer(("127.0.0.1", 0), Keep) as listening:
        threading.Thread(target=listening.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{listening.server_port}", got
        listening.shutdown()


@pytest.mark.parametrize("send_as_json", [False, True])
def test_results_are_sent_to_a_server(server, send_as_json):
    root, got = server
    monitor = callbacks.RemoteMonitor(
        root, headers={"X-Who": "me"}, send_as_json=send_as_json
    )
    monitor.on_epoch_end(2, {"loss": np.float32(0.5), "curve": np.arange(2)})
    ((path, headers, body),) = got
    assert path == "/publish/epoch/end/"
    assert headers["X-Who"] == "me"
    if not send_as_json:
        body = urllib.parse.parse_qs(body)["data"][0]
    assert json.loads(body) == {"epoch": 2, "loss": 0.5, "curve": [0, 1]}


def test_a_server_that_is_not_there_is_warned_about():
    monitor = callbacks.RemoteMonitor("http://127.0.0.1:1")
    with pytest.warns(UserWarning, match="did not take the results of epoch 1"):
        monitor.on_epoch_end(0, {})
    with pytest.raises(ValueError, match="`root` must be an http address"):
        callbacks.RemoteMonitor("file:///etc").on_epoch_end(0, {})


# --- SwapEMAWeights -------------------------------------------------------------------


def averaged_run(library, swap_on_epoch, seen):
    model = library.Sequential(
        [
            library.layers.Input((2,)),
            library.layers.Dense(1, kernel_initializer="ones", name="dense"),
        ]
    )
    model.compile(library.optimizers.SGD(0.3, use_ema=True, ema_momentum=0.5), "mse")

    class See(library.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            seen.append(np.array(model.get_weights()[0]))

    swap = library.callbacks.SwapEMAWeights(swap_on_epoch)
    x = np.array([[1.0, 2.0], [3.0, -1.0], [0.5, 0.5], [2.0, 1.0]], "float32")
    y = np.array([[0.0], [1.0], [2.0], [3.0]], "float32")
    run = model.fit(
        x,
        y,
        batch_size=2,
        epochs=3,
        shuffle=False,
        verbose=0,
        validation_data=(x, y),
        callbacks=[swap, See()],
    )
    return model.get_weights(), run.history


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
@pytest.mark.parametrize("swap_on_epoch", [False, True])
def test_averaged_weights_are_swapped_in_as_in_keras(swap_on_epoch):
    mine, theirs = [], []
    weights, history = averaged_run(kerasnb, swap_on_epoch, mine)
    keras_weights, keras_history = averaged_run(keras, swap_on_epoch, theirs)
    np.testing.assert_allclose(mine, theirs, rtol=1e-5)
    for name, values in keras_history.items():
        np.testing.assert_allclose(history[name], values, rtol=1e-5)
    for one, other in zip(weights, keras_weights, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5)


def test_swapping_needs_averages():
    model = kerasnb.Sequential([kerasnb.layers.Dense(1)])
    model.compile("sgd", "mse")
    x = np.ones((2, 1))
    with pytest.raises(ValueError, match="use_ema=True"):
        model.evaluate(x, x, verbose=0, callbacks=[callbacks.SwapEMAWeights()])
