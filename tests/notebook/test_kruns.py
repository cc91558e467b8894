"""kerasnb.notebook.kruns, with %kruns and %kexport"""

import re

import numpy as np
import pytest
from IPython.utils.capture import capture_output

import kerasnb as keras
from kerasnb.notebook import completer, kruns
from kerasnb.notebook.display import mimebundle

HOSTILE = "<b>&wide"

MODEL = """
import kerasnb as keras
import numpy as np
def make(units):
    keras.utils.set_random_seed(3)
    net = keras.Sequential([keras.Input((4,)), keras.layers.Dense(units),
                            keras.layers.Dense(1)], name="net")
    net.compile("sgd", "mse")
    return net
x = np.random.default_rng(0).normal(size=(32, 4)).astype("float32")
y = x.sum(1, keepdims=True)
net = make(3)
net.fit(x, y, epochs=3, validation_split=0.25, verbose=0)
"""


@pytest.fixture
def trained(shell):
    """A shell in which `net` was trained twice."""
    keras.runs.clear()
    run(shell, MODEL)
    with keras.runs.named(HOSTILE):
        run(shell, "net.fit(x, y, epochs=2, batch_size=8, verbose=0)")
    yield shell
    keras.runs.clear()
    keras.config.display("auto")


def run(shell, source):
    """What a cell printed, showed and raised."""
    with capture_output() as captured:
        result = shell.run_cell(source)
    error = result.error_in_exec or result.error_before_exec
    shown = [output.data for output in captured.outputs]
    return captured.stdout, shown, error


def told(shell, source):
    """The sentence that a wrong line is answered with."""
    _, _, error = run(shell, source)
    assert error is not None and "\n" not in str(error)
    return str(error)


# --- %kruns ---------------------------------------------------------------------------


def test_kruns_shows_all_runs_in_html_and_in_words(trained):
    keras.config.display("html")
    _, (shown,), _ = run(trained, "%kruns")
    first, second = shown["text/plain"].splitlines()[1:3]
    assert first.split()[:3] == ["net", "finished", "3"]
    assert second.split()[:3] == [HOSTILE, "finished", "2"]
    assert re.search(r"^batch_size +24 +8$", shown["text/plain"], re.MULTILINE)
    assert "&lt;b&gt;&amp;wide" in shown["text/html"]
    assert HOSTILE not in shown["text/html"] and "<script" not in shown["text/html"]
    assert shown["text/html"].count("loss of several runs") == 1


@pytest.mark.parametrize(
    ("line", "names"),
    [
        ("--compare net", ["net"]),
        ("--compare -1 0", [HOSTILE, "net"]),
        ("-c {keras.runs[-1]},net", [HOSTILE, "net"]),
        ("--sort epochs", [HOSTILE, "net"]),
        ("--sort val_loss", ["net", HOSTILE]),
        ("--sort name", [HOSTILE, "net"]),
    ],
)
def test_kruns_takes_some_runs_in_some_order(trained, line, names):
    keras.config.display("text")
    _, (shown,), _ = run(trained, f"%kruns {line}")
    lines = shown["text/plain"].splitlines()[1 : 1 + len(names)]
    assert [row.split()[0] for row in lines] == names


def test_kruns_forgets_when_asked_and_says_that_there_are_none(trained):
    assert run(trained, "%kruns --clear")[0] == "2 runs forgotten.\n"
    keras.config.display("text")
    _, (shown,), _ = run(trained, "%kruns --sort loss")
    assert shown["text/plain"] == "No runs yet: every `fit` adds one."


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("%kruns --compare nett", "There is no run 'nett'. Did you mean \"net\"?"),
        ("%kruns --compare 7", "There are 2 runs, and none at 7."),
        ("%kruns --sort val_los", 'Did you mean "val_loss"?'),
        ("%kruns --sorted loss", 'no option --sorted. Did you mean "--sort"?'),
        ("%kruns --sort", "--sort needs a value after it"),
    ],
)
def test_wrong_lines_of_kruns_are_one_sentence(trained, line, words):
    assert words in told(trained, line)


def test_sorting_puts_the_best_first_and_what_has_no_value_last():
    from tests.notebook.test_runs import record

    runs = [record("a", 2.0), record("b"), record("c")]
    runs[2].history = {"accuracy": [0.5, 0.9, 0.7]}
    runs[2].place({})
    found = keras.runs.compare(*runs)
    assert found.sorted("loss").names == ["b", "a", "c"]
    assert found.sorted("loss", largest=True).names == ["a", "b", "c"]
    assert found.sorted("accuracy").names == ["c", "a", "b"]


# --- The live board -------------------------------------------------------------------


@pytest.fixture
def board(trained):
    return kruns.live(keras.runs.compare())()


def test_the_board_has_what_its_still_twin_has(board, trained):
    keras.config.display("widget")
    bundle = mimebundle(keras.runs.compare())
    assert "data-knb=" in bundle["text/html"]
    content = board._board
    assert [row["cells"][0] for row in content["rows"]] == ["net", HOSTILE]
    assert [len(row["cells"]) for row in content["rows"]] == [len(content["head"])] * 2
    assert [len(row["keys"]) for row in content["rows"]] == [len(content["head"])] * 2
    assert [row["epoch"] for row in content["rows"]] == [3, 2]
    assert len(content["pictures"]) == 1 and content["pictures"][0].startswith("<svg")
    assert ["batch_size", "24", "8"] in content["differ"]
    assert "&lt;b&gt;" in content["pictures"][0]


def test_nothing_is_live_about_no_runs():
    assert kruns.live(keras.runs.Runs()) is None


def test_a_button_loads_the_weights_into_the_model_of_that_name(board, trained):
    net = trained.user_ns["net"]
    weights = keras.runs[0].best_weights
    board._obey({"op": "load", "id": "1", "run": keras.runs[0].id})
    assert board._said["good"]
    assert board._said["words"] == "`net` has the weights of epoch 3 of run net now."
    for mine, kept in zip(net.get_weights(), weights.arrays, strict=True):
        assert np.array_equal(mine, kept)


def test_another_model_of_that_name_is_left_as_it_is(board, trained):
    run(trained, "old, net = net, make(5)")
    before = trained.user_ns["net"].get_weights()
    board._obey({"op": "load", "id": "1", "run": keras.runs[0].id})
    assert board._said["words"].startswith("`old` has the weights of epoch 3")
    after = trained.user_ns["net"].get_weights()
    assert all(map(np.array_equal, before, after))
    run(trained, "del old")
    board._obey({"op": "load", "id": "4", "run": keras.runs[0].id})
    assert "no model `net` any more" in board._said["words"]
    assert "kerasnb.runs['net'].best_model() makes it anew" in board._said["words"]
    run(trained, "net = make(3)")
    board._obey({"op": "load", "id": "2", "run": keras.runs[0].id})
    kept = keras.runs[0].best_weights.arrays
    assert np.array_equal(trained.user_ns["net"].get_weights()[0], kept[0])


def test_trouble_is_said_in_the_board(board, trained):
    keras.runs[0].best_weights = None
    board._obey({"op": "load", "id": "1", "run": keras.runs[0].id})
    assert not board._said["good"] and "were not kept" in board._said["words"]
    board._obey({"op": "load", "id": "2", "run": "nobody"})
    board._obey({"op": "dance", "id": "3", "run": keras.runs[0].id})
    assert board._said["id"] == "1"


# --- %kexport -------------------------------------------------------------------------


def test_kexport_writes_a_file_and_tells_of_it(trained, tmp_path):
    trained.user_ns["folder"] = tmp_path
    line = '%kexport net {folder / "net.stablehlo"}'
    keras.config.display("html")
    _, (shown,), error = run(trained, line)
    assert error is None and "takes" in shown["text/html"]
    assert "float32 (batch, 4)" in shown["text/plain"]
    program = keras.export.load(tmp_path / "net.stablehlo")
    x = trained.user_ns["x"]
    assert np.allclose(program(x), trained.user_ns["net"](x), atol=1e-6)
    _, (shown,), _ = run(trained, f"{line} --to stablehlo --batch 2")
    assert "float32 (2, 4)" in shown["text/plain"]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("%kexport net net.onnx", '"onnx" cannot be written yet'),
        ("%kexport net net --to web", '"web" cannot be written yet'),
        ("%kexport nett net.stablehlo", '`nett` is not defined. Did you mean "net"?'),
        ("%kexport x net.stablehlo", "not a model. Your models: net."),
        ("%kexport net", "PATH must be given; --help shows how."),
        ("%kexport net a.stablehlo --batch two", "`two` is not a whole number"),
        ("%kexport net a.stablehlo --batches 2", 'Did you mean "--batch"?'),
        ("%kexport net no/a.stablehlo", "there is no folder"),
    ],
)
def test_wrong_lines_of_kexport_are_one_sentence(trained, tmp_path, line, words):
    assert words in told(trained, line)
    assert list(tmp_path.iterdir()) == []


# --- Help and Tab ---------------------------------------------------------------------


@pytest.mark.parametrize("name", ["kruns", "kexport"])
def test_help_is_a_page_with_examples(shell, name):
    out, _, error = run(shell, f"%{name} --help")
    assert error is None and out.lstrip().startswith(f"%{name} ") and "In Python" in out
    assert out.count(f"%{name} ") >= 3


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("%kruns --", {"--compare", "--sort", "--clear", "--help"}),
        ("%kruns --compare ", {"net", HOSTILE}),
        ("%kruns --compare net ", {"net", HOSTILE}),
        ("%kruns --sort va", {"val_loss"}),
        ("%kexport n", {"net"}),
        ("%kexport net a.stablehlo --to ", {"stablehlo"}),
    ],
)
def test_tab_knows_runs_results_and_formats(trained, line, expected):
    _, found = completer.matches(line, line, trained)
    assert {text for text, _ in found} == expected
