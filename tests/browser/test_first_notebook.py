"""notebooks/01_first_model.ipynb, as a newcomer sees it in JupyterLab"""

import re
import shutil

import nbformat
import pytest
from playwright.sync_api import expect

from tests.browser.labrig import NARROW, ROOT, SCREENSHOTS, LabServer, make_untrusted

NAME = "01_first_model.ipynb"
SOURCE = ROOT / "notebooks" / NAME
LOOKS = [
    ("light", (1280, 1000)),
    ("dark", (1280, 1000)),
    ("light", NARROW),
    ("dark", NARROW),
]


CELLS = nbformat.read(SOURCE, as_version=4).cells
CODE = [i for i, cell in enumerate(CELLS) if cell.cell_type == "code"]
CARD = next(i for i in CODE if CELLS[i].source.startswith("%%kmodel"))
FIT = next(i for i in CODE if CELLS[i].source.startswith("%kfit"))


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("newcomer")
    notebook = nbformat.read(SOURCE, as_version=4)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    nbformat.write(notebook, folder / NAME)
    paths = {"PYTHONPATH": str(ROOT)}
    with LabServer(folder, env=paths) as server:
        yield server


def shot(lab, cell, name):
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    output = lab.output(cell)
    output.scroll_into_view_if_needed()
    lab.page.wait_for_timeout(300)
    lab.page.screenshot(path=SCREENSHOTS / f"{name}.png")


def run_until_training(lab):
    """Run the cells one after the other as far as `%kfit`, which goes on running."""
    lab.open(NAME)
    for number in CODE[: CODE.index(FIT) + 1]:
        lab.run_cell(number)
        if number != FIT:
            prompt = lab.cell(number).locator(".jp-InputPrompt")
            expect(prompt).to_have_text(re.compile(r"\[[\d]+\]"), timeout=120_000)
            lab.wait_until_done(120)
    panel = lab.output(FIT).get_by_role("region", name="Training of digits")
    panel.wait_for(timeout=60_000)
    return panel


def curve_of(panel):
    return panel.locator(".knb-steps").first.get_attribute("d") or ""


def test_a_newcomer_sees_the_card_the_curve_grow_and_can_stop(server, open_page):
    lab = open_page(server=server)
    panel = run_until_training(lab)
    card = lab.output(CARD)
    for text in ("Conv2D", "12 × 12 × 48", "49\u202f114"):
        expect(card.get_by_text(text).locator("visible=true").first).to_be_visible()

    status = panel.locator(".knb-status")
    expect(status).to_have_text("Training", timeout=60_000)
    lab.page.wait_for_function(
        "(panel) => (panel.querySelector('.knb-steps')?.getAttribute('d') ?? '')"
        ".length > 200",
        arg=panel.element_handle(),
        timeout=60_000,
    )
    before = curve_of(panel)
    lab.page.wait_for_timeout(4_000)
    assert curve_of(panel) != before, "the curve grows"
    shot(lab, FIT, "first-notebook-training-light")

    panel.get_by_role("button", name="Stop now").click()
    expect(status).to_have_text("Stopped", timeout=10_000)
    lab.wait_until_done(30)
    assert lab.errors() == []
    lab.save()
    server.shut_down_kernels()
    for theme, viewport in LOOKS:
        reader = open_page(server=server, theme=theme, viewport=viewport)
        reader.open_without_kernel(NAME)
        see_the_pictures(reader)
        width = "wide" if viewport != NARROW else "narrow"
        shot(reader, CARD, f"first-notebook-card-{theme}-{width}")
        shot(reader, FIT, f"first-notebook-reopened-{theme}-{width}")
        reader.close()
    make_untrusted(server.folder / NAME)
    see_the_pictures(open_page(server=server).open_without_kernel(NAME))


def see_the_pictures(reader):
    """The still card and the still curves, without a kernel."""
    for cell, count in ((CARD, 1), (FIT, 2)):
        pictures = reader.output(cell).locator("img")
        expect(pictures).to_have_count(count)
        widths = pictures.evaluate_all("all => all.map((i) => i.naturalWidth)")
        assert all(width > 0 for width in widths)
    expect(reader.output(FIT)).to_contain_text("stopped")


@pytest.mark.parametrize("viewport", [(1280, 1000), NARROW], ids=["wide", "narrow"])
def test_the_notebook_in_the_dark(server, open_page, viewport):
    shutil.copy(SOURCE, server.folder / NAME)
    lab = open_page(server=server, theme="dark", viewport=viewport)
    panel = run_until_training(lab)
    panel.get_by_text("2 / 8").first.wait_for(timeout=120_000)
    overflow = panel.evaluate("(node) => node.scrollWidth - node.clientWidth")
    assert overflow <= 0
    width = "wide" if viewport != NARROW else "narrow"
    shot(lab, FIT, f"first-notebook-training-dark-{width}")
    shot(lab, CARD, f"first-notebook-live-card-dark-{width}")
    panel.get_by_role("button", name="Stop now").click()
    lab.wait_until_done(30)
    server.shut_down_kernels()
