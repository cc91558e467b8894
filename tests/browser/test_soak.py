"""Training for a long time in one notebook: memory of kernel and page stays flat.

`KERASNB_SOAK` says for how many minutes, 2 by default; `make soak` takes 30.
"""

import os
import statistics
import time

import pytest
from playwright.sync_api import expect

from tests.browser.labrig import ROOT, LabPage, LabServer, write_notebook
from tests.browser.test_panel import panel_of, press, steps_of, value_of

SECONDS = 60 * float(os.environ.get("KERASNB_SOAK", "2"))
# What may come on top between the thirds, in MB. The kernel hands idle memory back when
# there is 32 MB more of it; each page that is loaded leaves it a thread (subshell), and
# each closed widget leaves the page its model: JupyterLab keeps both. A panel has 380
# nodes, and the last one or two may still be there when they are counted.
KERNEL, PAGE, NODES = 25, 6, 1000

# JupyterLab keeps each toolbar that it ever showed in a cell: 250 nodes for a click.
WITHOUT = ["@jupyterlab/cell-toolbar-extension:plugin"]

CELLS = [
    f"""import sys; sys.path.insert(0, {str(ROOT)!r})
import ipywidgets  # a second page asks for it; a refusal is told to every page
import kerasnb as keras
from kerasnb.datasets import digits28

(x, y), (x_test, y_test) = digits28.load_data()
model = keras.Sequential(
    [keras.Input((28, 28)), keras.layers.Rescaling(1 / 255), keras.layers.Flatten(),
     keras.layers.Dense(64, activation="relu"),
     keras.layers.Dense(10, activation="softmax")], name="digits")
model.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])
given = dict(epochs=5000, batch_size=16, validation_data=(x_test[:200], y_test[:200]))
""",
    "_ = model.fit(x, y, **given)",
    "run = model.fit(x, y, background=True, **given)",
    "print(run.status, model(x[:1]).shape)",
    "run.stop(); _ = run.wait()",
]

MEASURE = """async () => {
    const {kernel} = window.jupyterapp.shell.currentWidget.sessionContext.session;
    const asked = kernel.requestExecute({store_history: false, code: `
import gc, psutil
from ipywidgets.widgets import widget
_ = [gc.collect() for _ in range(3)]
print(psutil.Process().memory_info().rss, len(widget._instances))`});
    let told = "";
    asked.onIOPub = ({content}) => { told += content.text ?? ""; };
    await asked.done;
    return told.split(" ").map(Number);
}"""


class Memory:
    """What kernel and page hold after each round, measured when all rest."""

    def __init__(self, lab: LabPage):
        self._lab = lab
        self._page = lab.page.context.new_cdp_session(lab.page)
        self.rows: list[tuple[float, float, int, int]] = []

    def measure(self) -> None:
        for _ in range(2):
            self._page.send("HeapProfiler.collectGarbage")
        heap = self._page.send("Runtime.getHeapUsage")["usedSize"]
        nodes = self._page.send("Memory.getDOMCounters")["nodes"]
        resident, widgets = self._lab.page.evaluate(MEASURE)
        self.rows.append((resident / 1e6, heap / 1e6, nodes, int(widgets)))
        words = "kernel {:.0f} MB, page {:.1f} MB, {} nodes, {} widgets"
        print(words.format(*self.rows[-1]))

    def growth(self) -> list[float]:
        """From the second third of the rounds to the last one."""
        third = len(self.rows) // 3
        before, after = (
            [statistics.median(column) for column in zip(*rows, strict=True)]
            for rows in (self.rows[third : 2 * third], self.rows[-third:])
        )
        return [b - a for a, b in zip(before, after, strict=True)]


@pytest.fixture
def server(tmp_path):
    with LabServer(tmp_path, without=WITHOUT) as server:
        yield server


def run(lab, number):
    """Run a cell to its end."""
    lab.cell(number).locator(".jp-InputArea-editor").click()
    return lab.command("notebook:run-cell")


def steer(lab, panel, interrupt):
    """Pause, look, mark, go on, go back, and end it."""
    press(panel, "Pause", "paused")
    before = steps_of(panel)
    panel.get_by_role("button", name="Mark").click()
    back = panel.get_by_role("button", name="Roll back")
    expect(back).not_to_have_attribute("aria-disabled", "true", timeout=10_000)
    assert steps_of(panel) == before
    press(panel, "Resume", "running")
    lab.page.wait_for_timeout(700)
    press(panel, "Pause", "paused")
    back.click()
    panel.get_by_role("menuitem").first.click()
    expect(value_of(panel, "Step")).to_have_text(before, timeout=10_000)
    press(panel, "Resume", "running")
    if interrupt:
        lab.interrupt()
    else:
        panel.get_by_role("button", name="Stop now").click()
    ended = "interrupted" if interrupt else "stopped"
    expect(panel).to_have_attribute("data-status", ended, timeout=30_000)
    lab.wait_until_done(30)


def train_behind(lab, other):
    """Train in the background, seen by a second page that comes in the middle of it."""
    run(lab, 2)
    panel = panel_of(lab, cell=2)
    expect(panel).to_have_attribute("data-status", "running", timeout=30_000)
    assert run(lab, 3).texts(3) == ["running (1, 10)"]
    lab.save()
    other.reload()
    expect(panel_of(other, cell=2)).to_have_attribute("data-status", "running")
    press(panel_of(other, cell=2), "Pause", "paused")
    expect(panel).to_have_attribute("data-status", "paused")
    press(panel, "Resume", "running")
    run(lab, 4)
    expect(panel).to_have_attribute("data-status", "stopped", timeout=30_000)


@pytest.mark.soak
def test_memory_stays_flat_however_long_and_whatever_is_pressed(server, open_page):
    write_notebook(server.folder / "soak.ipynb", CELLS)
    lab = open_page(server=server).open("soak.ipynb")
    run(lab, 0).save()
    other = open_page(server=server).open("soak.ipynb")
    memory, began, rounds = Memory(lab), time.monotonic(), 0
    while time.monotonic() - began < SECONDS or rounds < 6:
        lab.run_cell(1)
        panel = panel_of(lab, cell=1)
        expect(panel).to_have_attribute("data-status", "running", timeout=60_000)
        steer(lab, panel, interrupt=rounds % 2 == 1)
        train_behind(lab, other)
        memory.measure()
        rounds += 1
    kernel, page, nodes, widgets = memory.growth()
    print(f"{rounds} rounds: kernel {kernel:+.1f} MB, page {page:+.1f} MB, {nodes:+}")
    assert kernel < KERNEL and page < PAGE and nodes < NODES and widgets == 0
    assert lab.errors() == []
