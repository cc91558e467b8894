"""kerasnb.notebook.records and tuning, in JupyterLab"""

import re

import pytest
from playwright.sync_api import expect

from tests.browser.labrig import NARROW, ROOT, WIDE, write_notebook

BEGIN = f"""
import sys; sys.path.insert(0, {str(ROOT)!r})
import time
import numpy as np
import kerasnb as keras

x = np.random.default_rng(0).normal(size=(64, 4)).astype("float32")
y = x.sum(1, keepdims=True)

def build(trial):
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)], name="line")
    model.compile(keras.optimizers.SGD(trial.suggest_float("rate", 1e-3, 0.1)), "mse")
    return model
"""

RUNS = """
import optuna
for rate in (0.001, 0.1):
    with keras.runs.named(f"<i>{rate}</i>"):
        line = build(optuna.trial.FixedTrial({"rate": rate}))
        line.fit(x, y, epochs=4, validation_split=0.25, verbose=0)
keras.runs
"""

LOADED = """
kept = keras.runs[0].best_weights.arrays
all(map(np.array_equal, kept, line.get_weights()))
"""

SEARCH = """
class Slow(keras.callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None):
        time.sleep(0.2)

study = keras.tune.search(build, x, y, validation_split=0.25, epochs=3, trials=500,
                          callbacks=[Slow()], background=True)
"""


@pytest.fixture
def page(lab, lab_server):
    """A notebook with two runs and a search behind a cell."""
    cells = [BEGIN + RUNS, "keras.runs.compare()", SEARCH]
    cells.append("study.stop(); study.wait(); study.status")
    cells += [LOADED, "line = keras.Sequential([keras.Input((2,))])"]
    write_notebook(lab_server.folder / "runs.ipynb", cells)
    return lab.open("runs.ipynb")


def check_board(page, board):
    """The table sorts by mouse and by keys; a button loads the best weights."""
    names = board.get_by_role("table", name="Results").get_by_role("rowheader")
    slow, fast = "<i>0.001</i>", "<i>0.1</i>"
    expect(names).to_have_text([slow, fast])
    head = board.get_by_role("columnheader", name="val_loss")
    head.get_by_role("button").click()
    expect(names).to_have_text([fast, slow])
    expect(head).to_have_attribute("aria-sort", "ascending")
    head.get_by_role("button").press("Enter")
    expect(names).to_have_text([slow, fast])
    expect(head).to_have_attribute("aria-sort", "descending")

    load = board.get_by_role("button", name=f"of the best epoch of {slow}")
    expect(load).to_have_text("load epoch 4")
    load.focus()
    load.press("Enter")
    said = board.get_by_role("status")
    expect(said).to_have_text(f"`line` has the weights of epoch 4 of run {slow} now.")
    page.run_cell(4).wait_until_done(30)
    assert page.texts(4) == ["True"]
    # The first model is gone: this one has another shape.
    page.run_cell(5).wait_until_done(30)
    load.click()
    expect(said).to_contain_text("best_model() makes it anew")


def test_runs_compare_and_a_search_lives_behind_its_cell(page):
    for number in (0, 1, 2):
        page.run_cell(number).wait_until_done(90)

    rows = page.output(0).get_by_role("table", name="Results").get_by_role("row")
    expect(rows).to_have_count(3)
    expect(rows.nth(2)).to_contain_text("<i>0.1</i>")
    small = rows.nth(1).get_by_role("img", name=re.compile("^loss of .*0.001"))
    expect(small).to_be_visible()

    curves = page.output(1).get_by_role("img", name=re.compile("^loss of several runs"))
    expect(curves).to_be_visible()
    differ = page.output(1).get_by_role("row", name="optimizer.learning_rate")
    expect(differ).to_contain_text("0.1000")
    check_board(page, page.output(1))

    # The cell is done, and its picture goes on.
    search = page.output(2)
    expect(search).to_contain_text(re.compile("running, [2-9] of 500"), timeout=30_000)
    values = search.get_by_role("img", name=re.compile("^val_loss of each trial"))
    expect(values).to_be_visible()
    page.run_cell(3).wait_until_done(30)
    assert page.texts(3) == ["'stopped'"]
    expect(search).to_contain_text("stopped, ")

    for theme, viewport in (("light", WIDE), ("dark", NARROW)):
        page.set_theme(theme)
        page.resize(viewport)
        for output in (page.output(0), page.output(1), search):
            box = output.locator(".jp-RenderedHTML").first.bounding_box()
            assert box["x"] + box["width"] <= viewport[0]
    # Pictures in a table keep their size where it is narrow.
    assert small.bounding_box()["width"] == 96
    assert page.errors() == []
