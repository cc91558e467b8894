"""kerasnb.notebook.card, live in JupyterLab"""

import re

from playwright.sync_api import expect

from tests.browser.labrig import NARROW, ROOT, make_untrusted, write_notebook

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


def test_a_click_selects_a_layer_here_and_in_python(lab, lab_server):
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
    assert lab.errors() == []


def test_a_group_folds_and_the_keyboard_walks_through_the_graph(lab, lab_server):
    write_notebook(lab_server.folder / "keys.ipynb", [MODEL])
    lab.open("keys.ipynb").run_all()
    card = card_of(lab)
    graph = card.get_by_role("group", name="Graph of net")
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


def test_a_saved_card_shows_its_still_picture_in_whatever_hands(
    lab, open_page, lab_server
):
    path = write_notebook(lab_server.folder / "saved.ipynb", [MODEL])
    lab.open("saved.ipynb").run_all().save()
    lab_server.shut_down_kernels()

    def see(reader):
        output = reader.output(0)
        picture = output.get_by_role("img", name="Graph of net: start (None, 8)")
        picture.wait_for()
        assert picture.evaluate("(image) => image.naturalWidth") > 100
        expect(output.get_by_role("row")).to_have_count(7)
        assert "widget" not in output.inner_text().lower()

    see(open_page().open("saved.ipynb"))
    lab_server.shut_down_kernels()
    make_untrusted(path)
    see(open_page().open_without_kernel("saved.ipynb"))


def test_a_card_fits_a_narrow_dark_page(open_page, lab_server):
    write_notebook(lab_server.folder / "dark.ipynb", [MODEL])
    lab = open_page(viewport=NARROW, theme="dark").open("dark.ipynb").run_all()
    card = card_of(lab)
    assert card.evaluate("(node) => node.scrollWidth - node.clientWidth") <= 0
    colour = card.evaluate("(node) => getComputedStyle(node).color")
    assert (
        min(map(float, colour.removeprefix("rgba").strip("rgb()").split(",")[:3])) > 150
    )
