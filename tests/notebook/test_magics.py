"""kerasnb.notebook.magics, with the extension, the options and the errors"""

import re
import sys

import numpy as np
import pytest
from IPython.utils.capture import capture_output

import kerasnb as keras
from kerasnb import config
from kerasnb.core import settings
from kerasnb.notebook.errors import KModelError, NotebookError
from kerasnb.notebook.options import split

PLAIN = re.compile(r"\x1b\[[\d;]*m")

CELL = """\
%%kmodel net --input x --optimizer adam --loss auto --metrics accuracy --seed 1 {}
Dense(8, activation="relu")
Dense(3, activation="softmax")
"""


class Cell:
    """What a cell did: its output as text, whether it failed and with what."""

    def __init__(self, shell, source):
        with capture_output() as captured:
            self.result = shell.run_cell(source)
        self.out = PLAIN.sub("", captured.stdout)
        self.err = PLAIN.sub("", captured.stderr)
        self.shown = [output.data for output in captured.outputs]
        self.error = self.result.error_in_exec or self.result.error_before_exec


@pytest.fixture
def run(shell):
    """Run a cell; one that should succeed fails the test if it does not."""
    rng = np.random.default_rng(0)
    shell.push({"x": rng.normal(size=(60, 4)), "y": rng.integers(0, 3, 60)})

    def run(source, error=None):
        cell = Cell(shell, source)
        if error is None and cell.error is not None:
            raise cell.error
        if error is not None:
            assert type(cell.error).__name__ == error
        return cell

    return run


# --- The extension ------------------------------------------------------------------


def state_of(shell):
    """All that loading the extension may change."""
    formatter = shell.display_formatter.mimebundle_formatter
    return (
        {kind: sorted(names) for kind, names in shell.magics_manager.magics.items()},
        sorted(shell.magics_manager.registry),
        list(shell.Completer.custom_matchers),
        dict(formatter.type_printers),
        shell.custom_exceptions,
        list(shell.configurables),
        "KerasNB" in shell.config,
        {name: list(found) for name, found in shell.events.callbacks.items()},
        sorted(shell.user_ns),
    )


def test_unloading_leaves_no_trace(ipython):
    keras.unload_ipython_extension(ipython)
    before = state_of(ipython)
    keras.load_ipython_extension(ipython)
    assert "kmodel" in ipython.magics_manager.magics["cell"]
    assert state_of(ipython) != before
    keras.unload_ipython_extension(ipython)
    assert state_of(ipython) == before
    keras.unload_ipython_extension(ipython)
    assert state_of(ipython) == before


def test_loading_twice_is_loading_once(shell):
    before = state_of(shell)
    keras.load_ipython_extension(shell)
    after = state_of(shell)
    assert len(before[2]) == len(after[2]) == 1
    assert len(before[5]) == len(after[5])
    assert (
        before[:2] == after[:2] and before[3:5] + before[6:] == after[3:5] + after[6:]
    )


def test_another_handler_of_errors_comes_back(ipython):
    keras.unload_ipython_extension(ipython)
    seen = []
    ipython.set_custom_exc((OSError,), lambda *found, **_: seen.append(found[2]))
    try:
        keras.load_ipython_extension(ipython)
        Cell(ipython, "raise OSError('mine')")
        keras.unload_ipython_extension(ipython)
        assert ipython.custom_exceptions == (OSError,)
        Cell(ipython, "raise OSError('mine')")
    finally:
        ipython.custom_exceptions = ()
    assert [str(error) for error in seen] == ["mine", "mine"]


# --- %%kmodel -----------------------------------------------------------------------


def test_a_model_cell_puts_the_model_into_the_namespace_and_shows_it(run, shell):
    cell = run(CELL.format(""))
    net = shell.user_ns["net"]
    assert net.name == "net" and net.output_shape == (None, 3)
    assert net.loss == "sparse_categorical_crossentropy"
    assert cell.shown[0]["text/plain"].startswith('Model: "net"')
    assert cell.out == ""
    assert "text/html" not in cell.shown[0]  # a terminal has no use for it


def test_the_card_is_html_where_html_is_shown(run):
    config.display("html")
    try:
        shown = run(CELL.format("")).shown[0]
    finally:
        config.display("auto")
    assert "<table" in shown["text/html"] and "<img" in shown["text/html"]


def test_quiet_shows_nothing(run, shell):
    cell = run(CELL.format("--quiet"))
    assert (cell.shown, cell.out) == ([], "") and "net" in shell.user_ns


def test_only_the_model_comes_out_of_the_cell(run, shell):
    before = set(shell.user_ns)
    run("%%kmodel net --input 4\nwidth = 3\nDense(width)\nskip = x")
    new = {name for name in shell.user_ns if not name.startswith("_")} - before
    assert new == {"net"}


def test_options_are_names_or_expressions_in_braces(run, shell):
    run(
        "import kerasnb as keras\n"
        "shape = (4,)\nrate = 0.125\nlosses = {'mse': keras.losses.MeanSquaredError()}"
    )
    run(
        "%%kmodel net -i {shape} -o {keras.optimizers.SGD(momentum=0.5, nesterov=True)}"
        " -r {rate} -l {losses['mse']} -m mae,{keras.metrics.MeanSquaredError()} "
        "--metrics mape --no-jit -q\nDense(1)"
    )
    net = shell.user_ns["net"]
    assert net.optimizer.momentum == 0.5 and float(net.optimizer.learning_rate) == 0.125
    assert type(net.loss).__name__ == "MeanSquaredError"
    assert net.jit_compile is False
    assert len(net._compile_arguments["metrics"]) == 3


def test_several_inputs_are_given_by_name(run, shell):
    shell.push({"table": np.zeros((5, 3), "int32")})
    run(
        "%%kmodel net --input image=8,8,1 --input facts=table -q\n"
        "x = Flatten()(image)\nx = Concatenate()([x, facts])\nDense(1)"
    )
    assert shell.user_ns["net"].input_shape == [(None, 8, 8, 1), (None, 3)]


def test_keep_says_which_weights_were_kept(run, shell):
    first = run(CELL.format("--keep -q"))
    assert first.out == "There was no model to keep weights of yet.\n"
    old = shell.user_ns["net"].get_weights()
    cell = run(CELL.format("-q --keep").replace("Dense(3", "Dense(5"))
    assert cell.out == (
        "Kept the weights of dense. New: dense_1. Dropped: the earlier dense_1.\n"
    )
    np.testing.assert_array_equal(shell.user_ns["net"].get_weights()[0], old[0])


def test_code_shows_the_script_that_makes_the_model(run):
    cell = run(CELL.format("--code"))
    assert 'layers.Dense(8, activation="relu")(inputs)' in cell.out
    namespace = {}
    exec(cell.out, namespace)
    assert namespace["net"].output_shape == (None, 3)


def test_a_failing_cell_leaves_the_old_model_in_place(run, shell):
    run(CELL.format("-q"))
    old = shell.user_ns["net"]
    run(CELL.format("-q").replace("Dense(3", "Dense(-3"), error="KModelError")
    run("%%kmodel net --input 4 --optimizer nadamm -q\nDense(1)", error="KModelError")
    shell.push({"stop": lambda: (_ for _ in ()).throw(KeyboardInterrupt)})
    run("%%kmodel net --input 4 -q\nDense(1)\nstop()", error="KeyboardInterrupt")
    assert shell.user_ns["net"] is old


def test_a_mistake_is_shown_without_frames_and_fails_the_cell(run):
    cell = run("%%kmodel net --input 4\nDense(2)\nDens(3)", error="KModelError")
    assert cell.out.strip().splitlines() == [
        "%%kmodel net, line 3:  Dens(3)",
        "                       ^^^^",
        '`Dens` is not defined. Did you mean "Dense"?',
    ]
    assert not cell.result.success


def test_full_tracebacks_show_every_frame(run):
    config.tracebacks("full")
    try:
        cell = run("%%kmodel net --input 4\nDense(0)", error="KModelError")
    finally:
        config.tracebacks("short")
    assert "kmodel.py" in cell.out and "arguments.py" in cell.out
    assert "    Dense(0)" in cell.out


def test_one_percent_sign_too_few_is_explained(run):
    cell = run("%kmodel net", error="UsageError")
    assert "%%kmodel, with two %, is the first line of a cell" in cell.err


# --- Options ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("net --input 28,28,1", ["net", "--input", "28,28,1"]),
        ("-o {Adam(0.1, b=2)} x", ["-o", "{Adam(0.1, b=2)}", "x"]),
        ("x[:9, 0]  f(a, [1, 2])", ["x[:9, 0]", "f(a, [1, 2])"]),
        ("d['a b'] \"c d\"", ["d['a b']", '"c d"']),
        ("", []),
    ],
)
def test_a_line_is_split_at_spaces_outside_of_brackets(line, words):
    assert split(line) == words


WRONG = """
%kfit net x y --epohcs 3
    %kfit has no option --epohcs. Did you mean "--epochs"?
%kfit nett x y
    %kfit: `nett` is not defined. Did you mean "net"?
%kfit x y
    %kfit: `x` is an array of shape (60, 4) and dtype float64, not a model.
%kfit net xs y
    %kfit: `xs` is not defined.
%kfit net x y -e many
    %kfit: `many` is not a whole number; write one such as 3, or an expression in braces
%kfit net x {y y}
    %kfit: `y y` is not a Python expression.
%kfit net x (y
    a closing bracket is missing in: net x (y
%kfit net x y -v x y x y
    %kfit: --validation takes x and y, a dataset or a fraction.
%kfit
    %kfit: MODEL and DATA must be given; --help shows how.
%kinfo now
    %kinfo does not know what to do with `now`.
%kmodel net --unput 3
    %%kmodel has no option --unput. Did you mean "--input"?
%%kmodel net --input 3 --input 4
    several inputs need names: --input name1=3 --input name2=4
%%kmodel 3net --input 3
    `3net` cannot be the name of a model.
%%kmodel net --input imagez
    %%kmodel: `imagez` is not defined.
%%kmodel net --input 4 --seed x
    %%kmodel: `x` is not a whole number; write one such as 3
"""


@pytest.mark.parametrize(
    ("line", "words"), re.findall(r"^(%.*)\n +(.*)$", WRONG, re.MULTILINE)
)
def test_a_wrong_line_is_answered_with_one_sentence(run, line, words):
    run(CELL.format("-q"))
    body = "\nDense(1)" if line.startswith("%%") else ""
    cell = run(line + body, error="UsageError")
    assert words in cell.err
    assert len(cell.err.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("magic", "words"),
    [
        (
            "%%kmodel",
            ["%%kmodel [-h]", "--learning-rate RATE", "--keep", "x = layer(x)"],
        ),
        ("%kfit", ["%kfit [-h]", "--epochs EPOCHS", "--validation"]),
        ("%kmistakes", ["%kmistakes [-h]", "--worst"]),
        ("%kinspect", ["%kinspect [-h]", "--on X"]),
        ("%kinfo", ["%kinfo [-h]"]),
    ],
)
def test_every_magic_explains_itself(run, magic, words):
    for option in ("--help", "-h"):
        body = "\nDense(1)" if magic.startswith("%%") else ""
        text = run(f"{magic} {option}{body}").out
        assert all(word in text for word in words), text
        assert "::" not in text


def test_config_sets_what_is_not_said_on_a_line(run, shell):
    assert "KerasNB" in run("%config").out
    run("%config KerasNB.optimizer = 'sgd'\n%config KerasNB.loss = 'auto'")
    run("%config KerasNB.metrics = 'mae'\n%config KerasNB.seed = 3")
    run("%config KerasNB.epochs = 2\n%config KerasNB.batch_size = 20")
    run("%%kmodel net --input x -q\nDense(1)")
    net = shell.user_ns["net"]
    assert type(net.optimizer).__name__ == "SGD" and net.loss == "mean_squared_error"
    first = net.get_weights()[0]
    run("%%kmodel net --input x -q --optimizer adam --metrics mse\nDense(1)")
    net = shell.user_ns["net"]
    np.testing.assert_array_equal(net.get_weights()[0], first)
    assert type(net.optimizer).__name__ == "Adam"
    run("%kfit net x y --verbose 0")
    assert set(net.history.history) == {"loss", "mae", "mse"}
    assert len(net.history.epoch) == 2 and net.run.batch_size == 20
    keras.unload_ipython_extension(shell)
    assert "KerasNB" not in shell.config
    keras.load_ipython_extension(shell)


@pytest.mark.parametrize(
    ("name", "value", "found", "bad"),
    [
        ("alarms", "nan, overfitting", ["nan", "overfitting"], "nann"),
        ("alarms", "off", [], 3),
        ("best_weights", 8, 8, -1),
        ("display", "html", "html", "no"),
        ("floatx", "bfloat16", "bfloat16", "float99"),
        ("max_epochs", 3, 3, 0),
        ("max_steps_per_epoch", 5, 5, "all"),
        ("runs_dir", "/tmp/runs", "/tmp/runs", ""),
        ("tracebacks", "full", "full", "fool"),
    ],
)
def test_config_reads_and_sets_what_kerasnb_config_holds(
    run, shell, monkeypatch, caplog, name, value, found, bad
):
    before = settings._settings[name]
    monkeypatch.setitem(settings._settings, name, before)
    run(f"%config KerasNB.{name} = {value!r}")
    assert run(f"%config KerasNB.{name}").result.result == found
    run(f"%config KerasNB.{name} = {bad!r}")  # IPython logs what is wrong
    assert name in caplog.text and repr(bad) in caplog.text
    assert run(f"%config KerasNB.{name}").result.result == found
    settings._settings[name] = before  # As kerasnb.config does it.
    assert run(f"%config KerasNB.{name}").result.result != found
    shell.config.pop("KerasNB")


# --- The other magics ---------------------------------------------------------------


def test_kfit_trains_and_keeps_the_history(run, shell):
    run(CELL.format("-q"))
    cell = run("%kfit net x y -e 3 -b 16 --validation x[:9] y[:9] --learning-rate 0.5")
    net = shell.user_ns["net"]
    assert set(net.history.history) == {"loss", "accuracy", "val_loss", "val_accuracy"}
    assert len(net.history.history["loss"]) == 3
    assert net.run.batch_size == 16 and float(net.optimizer.learning_rate) == 0.5
    assert cell.result.result is None
    assert "Epoch 3/3" in cell.out + cell.err


def test_kfit_trains_in_the_background_under_a_name(run, shell):
    run(CELL.format("-q"))
    cell = run("%kfit net x y -e 3 --background --verbose 0 --name long")
    assert cell.out == (
        "long trains `net` in the background; long.pause(), long.stop() and "
        "long.wait() steer it.\n"
    )
    run("import kerasnb")
    cell = run("long.wait(), long.name, kerasnb.runs['long'].epochs_done")
    assert cell.result.result[0] is shell.user_ns["net"].history
    assert cell.result.result[1:] == ("long", 3)
    run("%kfit net x y --background --verbose 0\nnet_run.wait()")
    assert shell.user_ns["net_run"] is shell.user_ns["net"].run
    for name, words in (("net", "hide the model `net`"), ("x", "hide your data `x`")):
        cell = run(f"%kfit net x y --background --name {name}", error="UsageError")
        assert words in str(cell.error)


def test_kfit_takes_a_fraction_callbacks_and_a_dataset(run, shell):
    run(CELL.format("-q"))
    run("import kerasnb as keras\nstop = keras.callbacks.EarlyStopping(patience=0)")
    run("%kfit net x y -e 2 --validation 0.25 --callbacks {[stop]} --verbose 0")
    assert "val_loss" in shell.user_ns["net"].history.history
    assert shell.user_ns["stop"].model is shell.user_ns["net"]
    run(
        "class Batches:\n"
        "    def __iter__(self):\n"
        "        yield x[:30], y[:30]\n"
        "        yield x[30:], y[30:]\n"
    )
    assert run("%kfit net {Batches()} --verbose 0").out == ""


def test_kfit_says_in_one_sentence_what_is_wrong_with_the_data(run):
    run(CELL.format("-q"))
    cell = run("%kfit net x y[:9]", error="NotebookError")
    words = (
        "%kfit: all arrays must have the same number of rows, but x has 60, y has 9."
    )
    assert cell.out.strip() == words
    run("%%kmodel bare --input 4 -q\nDense(1)")
    cell = run("%kfit bare x y", error="NotebookError")
    assert cell.out.startswith("%kfit: ") and "compile" in cell.out


def test_an_error_in_the_users_own_code_keeps_its_lines(run):
    run(CELL.format("-q"))
    run(
        "import kerasnb as keras\n"
        "class Broken(keras.callbacks.Callback):\n"
        "    def on_epoch_end(self, epoch, logs=None):\n"
        "        return {}['missing']\n"
    )
    cell = run("%kfit net x y --callbacks {Broken()} --verbose 0", error="KeyError")
    assert "{}['missing']" in cell.out and "KeyError: 'missing'" in cell.out
    assert "trainer.py" not in cell.out


def test_kmistakes_shows_the_confusions(run):
    run(CELL.format("-q"))
    text = run("%kmistakes net x y --names {['a', 'b', 'c']} -n 2").shown[0][
        "text/plain"
    ]
    assert re.search(r"net: \d+ of 60 right", text) and "true \\ said" in text
    cell = run("%kmistakes net x y[:3]", error="NotebookError")
    assert cell.out.strip() == "%kmistakes: `x` has 60 samples and `y` has 3."


def test_kinspect_looks_into_weights_and_activations(run):
    run(CELL.format("-q"))
    text = run("%kinspect net").shown[0]["text/plain"]
    assert "net: 67 numbers in 4 weights" in text and "dense_1" in text
    text = run("%kinspect net dense --on x").shown[0]["text/plain"]
    assert "on 60 samples" in text and "activation" in text and "dense_1" not in text
    cell = run("%kinspect net dens", error="NotebookError")
    assert 'has no layer `dens`. Did you mean "dense"?' in cell.out


def test_kinfo_names_versions_and_devices(run):
    text = run("%kinfo").shown[0]["text/plain"]
    assert keras.version() in text and "devices" in text


# --- Errors in ordinary cells -------------------------------------------------------


def test_an_error_of_ours_shows_the_users_lines_and_the_sentence(run):
    run(CELL.format("-q"))
    cell = run(
        "def use(data):\n    return net.predict(data)\nuse(x[:, :2])", "ValueError"
    )
    assert "use(x[:, :2])" in cell.out and "net.predict(data)" in cell.out
    assert "ValueError: Model `net` expects inputs of shape (None, 4)" in cell.out
    assert "trainer.py" not in cell.out and "jax" not in cell.out
    frames = []
    trace = sys.last_traceback
    while trace is not None:
        frames.append(trace.tb_frame.f_code.co_filename)
        trace = trace.tb_next
    assert any(name.endswith("predict.py") for name in frames)  # for %debug


def test_full_tracebacks_and_other_errors_are_left_alone(run):
    run(CELL.format("-q"))
    config.tracebacks("full")
    try:
        cell = run("net.predict(x[:, :2])", error="ValueError")
    finally:
        config.tracebacks("short")
    assert "predict.py" in cell.out
    cell = run("import json\njson.loads('{')", error="JSONDecodeError")
    assert "decoder.py" in cell.out


def test_an_error_of_ours_hides_what_caused_it_a_users_does_not(run):
    cell = run(
        "try:\n    {}['key']\nexcept KeyError as error:\n"
        "    raise RuntimeError('mine') from error",
        error="RuntimeError",
    )
    assert "KeyError: 'key'" in cell.out and "RuntimeError: mine" in cell.out
    run(CELL.format("-q"))
    cell = run("net.layers[1](x[:, :2])", error="ValueError")
    assert "direct cause" not in cell.out


def test_errors_of_the_notebook_are_errors():
    error = KModelError("net", 3, "Dense(1)", "A sentence.", "A hint.")
    assert isinstance(error, NotebookError)
    assert (error.name, error.line, error.text) == ("net", 3, "Dense(1)")
    assert str(error) == "%%kmodel net, line 3:  Dense(1)\nA sentence.\nA hint."
