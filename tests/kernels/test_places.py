"""The magics wherever notebooks run: nbconvert, papermill, a terminal, two kernels

What VS Code and Colab show cannot be seen from here. What they are sent can: every
output is a text and a picture that need no kernel and no widgets (the live one takes
the picture's place where there are), and Tab, Shift + Tab and "is this cell complete?"
are answered by the protocol.
"""

import contextlib
import os
import pty
import re
import select
import subprocess
import sys
import termios
import time

import nbformat
import pyte
import pytest

from tests.kernels.environments import ROOT, environment
from tests.notebook.one_kernel import COLOURS, Kernel

pytestmark = pytest.mark.kernels

SETUP = """\
%load_ext kerasnb
import numpy as np
x = np.random.default_rng(0).normal(size=(64, 4)).astype("float32")
y = (x.sum(1) > 0).astype("int32")"""
MODEL = """\
%%kmodel net --input x --optimizer adam --loss auto --metrics accuracy --seed 1
Dense(8, activation="relu", name="hidden")

# two classes
Dense(2, activation="softmax")"""
BROKEN = "%%kmodel broken --input x\nDense(3)\nConv2D(3, 3)"
SHOWN = {
    MODEL: "hidden (Dense)",
    "%kfit net x y --epochs {epochs} --name first": "after 3 epochs | Epoch 3/3",
    "%kinspect net hidden --on x": "net/hidden: 40 numbers in 2 weights, on 64 samples",
    "%kmistakes net x y": "of 64 right",
    "%kruns": "first",
    "%kinfo": "kerasnb on this machine",
    "net.history": "loss",
    "net": "hidden (Dense)",
}
"""Cells, and some of the text that each has to show, here or in a terminal."""
WRONG = {
    BROKEN: "%%kmodel broken, line 3:  Conv2D(3, 3)\n"
    f"{26 * ' '}^^^^^^\nConv2D expects at least 4 axes",
    "%kfit nett x y": 'UsageError: %kfit: `nett` is not defined. Did you mean "net"?',
}


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """A user who has never started Python before."""
    folder = tmp_path / "home"
    folder.mkdir()
    monkeypatch.setenv("HOME", str(folder))
    for name in (
        "IPYTHONDIR",
        "XDG_CACHE_HOME",
        "JUPYTER_CONFIG_DIR",
        "KERASNB_DISPLAY",
    ):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("JUPYTER_PREFER_ENV_PATH", "1")
    return folder


@pytest.fixture
def notebook(tmp_path):
    """A notebook with all of the magics, and one whose mistake is expected."""
    new, tagged = nbformat.v4.new_code_cell, {"tags": ["parameters"]}
    cells = [new("epochs = 3", metadata=tagged), new(SETUP), *map(new, SHOWN)]
    expected = {"tags": ["raises-exception"]}
    cells += [new(cell, metadata=expected) for cell in WRONG]
    path = tmp_path / "magics.ipynb"
    made = nbformat.v4.new_notebook(cells=cells)
    made.metadata.kernelspec = {"name": "python3", "display_name": "Python"}
    made.metadata.language_info = {"name": "python"}
    nbformat.write(made, path)
    return path


def run(*command):
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]


def said(cell):
    """All text of a cell's outputs, errors included."""
    parts = []
    for output in cell.outputs:
        parts.append(output.get("data", {}).get("text/plain", output.get("text", "")))
        parts.append("\n".join(output.get("traceback", ())))
    return COLOURS.sub("", "\n".join(parts))


def assert_said(words, text):
    """One or the other of the words are in the text."""
    assert any(part in text for part in words.split(" | ")), text


def assert_shows_everything(path):
    cells = {cell.source: cell for cell in nbformat.read(path, 4).cells}
    for source, words in (SHOWN | WRONG).items():
        assert_said(words, said(cells[source]))
    for source in SHOWN:
        kinds = [set(o.data) for o in cells[source].outputs if "data" in o]
        assert kinds, source
        for found in kinds:
            assert {"text/plain", "text/html"} <= found, (source, found)


def test_nbconvert_runs_the_magics_and_keeps_what_they_show(notebook):
    convert = [sys.executable, "-m", "nbconvert", notebook, "--execute", "--output"]
    run(*convert, "done.ipynb", "--to", "notebook")
    done = notebook.with_name("done.ipynb")
    assert_shows_everything(done)
    run(
        sys.executable, "-m", "nbconvert", done, "--to", "html", "--output", "page.html"
    )
    page = notebook.with_name("page.html").read_text("utf-8")
    assert "Conv2D expects at least 4 axes" in page
    assert page.count("<svg") + page.count("data:image/svg+xml") >= 3


def test_papermill_runs_the_magics_with_other_parameters(notebook, monkeypatch):
    cells = nbformat.read(notebook, 4)
    cells.cells[0].source = "epochs = 1"
    nbformat.write(cells, notebook)
    python = environment("papermill", "papermill>=2.6")
    done = notebook.with_name("done.ipynb")
    mill = [python, "-m", "papermill", notebook, done, "-p", "epochs", 3]
    failed = subprocess.run(list(map(str, mill)), capture_output=True, text=True)
    # Papermill ends at the first error, also at one that a tag allows.
    assert "Conv2D expects at least 4 axes" in failed.stderr
    cells = {cell.source: cell for cell in nbformat.read(done, 4).cells}
    for source, words in SHOWN.items():
        assert_said(words, said(cells[source]))


# --- A terminal -----------------------------------------------------------------------

LINES, COLUMNS = 50, 120


class Terminal:
    """IPython in a terminal of its own."""

    look = "--simple-prompt"

    def __init__(self):
        self.screen, inner = pty.openpty()
        termios.tcsetwinsize(inner, (LINES, COLUMNS))
        command = [sys.executable, "-m", "IPython", "--no-banner", self.look]
        env = os.environ | {
            "TERM": "xterm",
            "COLUMNS": str(COLUMNS),
            "JAX_PLATFORMS": "cpu",
            "PROMPT_TOOLKIT_NO_CPR": "1",  # nobody here says where the cursor is
        }
        self.process = subprocess.Popen(
            [*command, "--colors=NoColor", "--no-confirm-exit"],
            **dict.fromkeys(("stdin", "stdout", "stderr"), inner),
            env=env,
            start_new_session=True,
        )
        os.close(inner)
        self.read(r"In \[1\]: ?$")

    def read(self, pattern, seconds=90):
        """All that is written until it ends like the pattern."""
        text, end = "", time.monotonic() + seconds
        while not re.search(pattern, text):
            assert time.monotonic() < end, f"no {pattern!r} in:\n{text}"
            if select.select([self.screen], [], [], 1)[0]:
                text += COLOURS.sub("", os.read(self.screen, 1 << 16).decode())
        return text.replace("\r\n", "\n")

    def type(self, cell):
        """Type a cell; a cell of several lines ends with two empty ones."""
        *lines, last = cell.split("\n")
        for line in lines:
            os.write(self.screen, f"{line}\n".encode())
            self.read(r"\.\.\.: $")
        os.write(self.screen, f"{last}\n".encode())
        for _ in range(2 * bool(lines)):
            self.read(r"\.\.\.: $")
            os.write(self.screen, b"\n")
        return self.read(r"In \[\d+\]: $")

    def close(self):
        self.process.kill()
        self.process.wait()
        os.close(self.screen)


class Page(Terminal):
    """IPython as people have it: it draws what is typed, and menus, on a page."""

    look = "--TerminalInteractiveShell.autosuggestions_provider=None"

    def __init__(self):
        self.page = pyte.Screen(COLUMNS, LINES)
        self.feed = pyte.ByteStream(self.page).feed
        super().__init__()

    def read(self, pattern, seconds=20):
        """The page, once it ends like the pattern."""
        end = time.monotonic() + seconds
        while not re.search(pattern, text := self.text()):
            assert time.monotonic() < end, f"no {pattern!r} on:\n{text}"
            if select.select([self.screen], [], [], 1)[0]:
                self.feed(os.read(self.screen, 1 << 16))
        return text

    def text(self):
        return "\n".join(line.rstrip() for line in self.page.display).rstrip()

    def press(self, keys, pattern):
        """Type keys, and wait for what they bring."""
        os.write(self.screen, keys.encode())
        return self.read(pattern)


def test_tab_completes_in_a_terminal():
    with contextlib.closing(Page()) as page:
        for number, line in enumerate(SETUP.splitlines(), 1):
            page.press(f"{line}\r", rf"In \[{number + 1}\]:$")
        page.press("%%kmo\t", r"%%kmodel ?$")
        page.press(" net --l\t", r"--learning-rate\s+--loss")
        page.press("o\t", r"%%kmodel net --loss ?$")
        page.press(" au\t", r"--loss auto ?$")
        page.press(" --input x\r", r"--input x\n\s+\.\.\.:$")
        page.press("GlobalA\t", r"GlobalAv\n +GlobalAveragePooling1D +Global")
        page.press("\x15Dense(2, activation=\t", r'"celu" +"gelu"[^$]*"relu"')
        page.press("softm\t", r'activation="softmax$')
        page.press('")\r', r'"\)\n +\.\.\.:$')
        page.press("\r\r", r"dense \(Dense\)[^$]+\nIn \[6\]:$")
        page.press("%kfit ne\t", r"%kfit net$")
        page.press(" x y --ep\t", r"--epochs$")


def test_a_terminal_shows_the_same_as_text():
    terminal = Terminal()
    with contextlib.closing(terminal):
        for line in [*SETUP.splitlines(), "epochs = 3"]:
            terminal.type(line)
        for cell, words in SHOWN.items():
            shown = terminal.type(cell.replace("\n\n", "\n"))
            assert_said(words, shown)
            assert "<" not in shown.replace("<module", ""), shown  # no HTML
        for cell, words in WRONG.items():
            shown = terminal.type(cell)
            assert_said(words, shown)
            assert "site-packages" not in shown
        help_page = terminal.type("%kfit --help")
        assert "--epochs" in help_page and "%kfit digits x_train" in help_page


# --- Kernels --------------------------------------------------------------------------


def bundles(kernel, cell):
    """The displays of a cell, as every front end is sent them."""
    asked = kernel.client.execute(cell)
    found = []
    while True:
        message = kernel.client.get_iopub_msg(timeout=60)
        if message["parent_header"].get("msg_id") != asked:
            continue
        kind, content = message["msg_type"], message["content"]
        assert kind != "error", content["traceback"]
        if kind in ("display_data", "execute_result", "update_display_data"):
            found.append(content["data"])
        if kind == "status" and content["execution_state"] == "idle":
            return found


def ask(kernel, kind, **content):
    client = kernel.client
    asked = client.session.msg(kind, content)
    client.shell_channel.send(asked)
    end = time.monotonic() + 60
    return kernel._reply(asked["header"]["msg_id"], end)


def test_every_front_end_is_sent_a_text_and_a_picture():
    with contextlib.closing(Kernel()) as kernel:
        kernel.run(f"{SETUP}\nepochs = 3")
        for cell in SHOWN:
            found = bundles(kernel, cell)
            assert found, cell
            for bundle in found:
                assert bundle["text/plain"].strip() and bundle["text/html"], cell
                assert "<script" not in bundle["text/html"], cell
                # A view that is not there any more would be all that a page shows.
                assert "application/vnd.jupyter.widget-view+json" not in bundle
        assert ask(kernel, "is_complete_request", code="%%kmodel net")["status"] == (
            "incomplete"
        )
        reply = ask(kernel, "complete_request", code="%%kmodel net\nDen", cursor_pos=16)
        assert reply["status"] == "ok" and "Dense" in reply["matches"]
        assert (reply["cursor_start"], reply["cursor_end"]) == (13, 16)
        kinds = reply["metadata"]["_jupyter_types_experimental"]
        assert {"class"} == {k["type"] for k in kinds if k["text"] == "Dense"}
        help_page = kernel.inspect("%%kmodel")
        assert "x = layer(x)" in help_page


STATE = """
import gc, sys, threading, warnings
shell = get_ipython()
formatters = shell.display_formatter.formatters.values()
print({
    "magics": {k: sorted(v) for k, v in shell.magics_manager.magics.items()},
    "registry": sorted(map(str, shell.magics_manager.registry)),
    "configurables": len(shell.configurables),
    "config": str(shell.config),
    "errors": (shell.custom_exceptions, getattr(shell, "CustomTB", None)),
    "matchers": shell.Completer.custom_matchers,
    "lines": [t.__module__ for t in shell.input_transformers_cleanup],
    "trees": shell.ast_transformers,
    "formatters": [
        (f.format_type, sorted(map(str, f.type_printers)), f.deferred_printers)
        for f in formatters
    ],
    "events": {k: len(v) for k, v in shell.events.callbacks.items()},
    "hooks": [sys.excepthook is sys.__excepthook__, sys.displayhook.__class__.__name__,
              warnings.showwarning.__module__, warnings.formatwarning.__module__],
    "threads": sorted(t.name for t in threading.enumerate() if "kerasnb" in t.name),
    # Those of ipywidgets belong to whoever imports it.
    "comms": sorted(n for n in shell.kernel.comm_manager.targets if "knb" in n),
})
"""


def test_the_extension_leaves_no_trace_in_a_fresh_kernel():
    with contextlib.closing(Kernel()) as kernel:
        kernel.run("names = set(globals())\nimport numpy")
        kernel.run("%unload_ext nothing")  # It brings IPython's own magics for this.
        before = kernel.run(STATE).text
        for cell in (SETUP, MODEL, "%reload_ext kerasnb", "%kfit net x y", BROKEN):
            kernel.run(cell)
        assert kernel.run(STATE).text != before
        kernel.run("%unload_ext kerasnb")
        assert kernel.run(STATE).text == before
        mine = "x y np net numpy names gc sys threading warnings shell formatters"
        left = "print({n for n in set(globals()) - names if n[0] != '_'}"
        left += f" - set({mine!r}.split()))"
        assert kernel.run(left).text == "set()"
        assert "not found" in kernel.run("%kinfo").text
        # What was made stays usable.
        assert kernel.run("net.predict(x, verbose=0).shape").text == "(64, 2)"
        assert kernel.run("%load_ext kerasnb").ok
        assert "kerasnb on this machine" in kernel.run("%kinfo").text


def test_two_kernels_share_nothing_but_the_cache(home, monkeypatch):
    both = [Kernel(), Kernel()]
    try:
        one, other = both
        for kernel in both:
            kernel.run(SETUP)
        one.run('%config KerasNB.epochs = 2\n%config KerasNB.tracebacks = "full"')
        for cell in (MODEL, "%kfit net x y --epochs 2 --name mine"):
            assert one.run(cell).ok
        look = "import kerasnb; print(len(kerasnb.runs), kerasnb.config.tracebacks())"
        assert one.run(look).text == "1 full"
        assert other.run(look).text == "0 short"
        assert "`net` is not defined" in other.run("%kfit net x y").text
        assert "epochs" in other.run("%config KerasNB").text
        assert other.run("print(get_ipython().config.get('KerasNB'))").text == "None"
        assert other.run(MODEL).ok
        same = "print(float(net.layers[1].kernel.value.sum()))"
        one.run(MODEL)
        assert one.run(same).text == other.run(same).text
    finally:
        for kernel in both:
            kernel.close()
    written = {
        "/".join(path.relative_to(home).parts[:2])
        for path in home.rglob("*")
        if path.is_file()
    }
    ours = {path for path in written if not path.startswith((".ipython/", ".jupyter/"))}
    assert ours <= {".cache/kerasnb"}, ours
