"""kerasnb.notebook.card, live in JupyterLab"""

import re

from playwright.sync_api import expect

from tests.browser.labrig import ROOT, write_notebook

MODEL = f"""
import sys; sys.path.insert(0, {str(ROOT)!r})
import kerasnb as keras
from kerasnb import layers
from kerasnb.notebook.card import ModelCard

encoder = keras.Sequential(
    [keras.Input((8,)), layers.Dense(16, name="wide"), layers.Dropout(0.5, name="out")],
    name="encoder")
x = inputs = keras.Input((8,), name="start")
x = encoder(x)
x = layers.Dense(16, activation="relu", name="middle")(x)
x = layers.Dense(1, name="end")(x)
model = keras.Model(inputs, x, name="net")
model.get_layer("middle")._source_line = (7, "Dense(16)")
card = ModelCard(model)
card
"""


def card_of(lab):
    card = lab.output(0).get_by_role("region", name="Model net", exact=True)
    card.wait_for(timeout=60_000)
    return card


def test_layers_are_selected_and_groups_folded_by_pointer_and_keyboard(lab, lab_server):
    cells = [MODEL, "card.selected", "card.selected = 'end'"]
    write_notebook(lab_server.folder / "card.ipynb", cells)
    lab.open("card.ipynb").run_all()
    card = card_of(lab)
    graph = card.get_by_role("group", name="Graph of net")
    middle = graph.get_by_role("button", name="Dense 16 relu")
    expect(card.locator(".knb-detail")).to_contain_text("end")

    middle.click()
    expect(middle).to_have_attribute("aria-pressed", "true")
    detail = card.locator(".knb-detail")
    for words in ("middle", "line 7: Dense(16)", "(16, 16)", "relu"):
        expect(detail).to_contain_text(words)
    lab.run_cell(1).wait_until_done(30)
    assert lab.texts(1) == ["'middle'"]
    middle.click()
    expect(detail).to_be_empty()

    card.get_by_role("region", name="Layers").get_by_role("button", name="end").click()
    expect(detail).to_contain_text("(16, 1)")

    buttons = graph.get_by_role("button")
    expect(buttons).to_have_count(6)
    rows = card.get_by_role("region", name="Layers").get_by_role("row")
    expect(rows).to_have_count(7)

    graph.get_by_role("button", name="InputLayer").focus()
    lab.page.keyboard.press("ArrowDown")
    encoder = graph.get_by_role("button", name="encoder")
    expect(encoder).to_be_focused()
    lab.page.keyboard.press("Enter")
    expect(encoder).to_have_attribute("aria-expanded", "false")
    expect(encoder).to_be_focused()
    expect(buttons).to_have_count(4)
    expect(rows).to_have_count(5)
    lab.page.keyboard.press("End")
    last = re.compile("^Dense 1 ·")
    expect(graph.get_by_role("button", name=last)).to_be_focused()

    graph.get_by_role("button", name="Dense 16 relu").hover()
    expect(card.locator(".knb-hint")).to_have_text("line 7: Dense(16)")
    assert lab.errors() == []
