"""kerasnb.notebook.panel, live in JupyterLab"""

import re

import pytest
from playwright.sync_api import expect

from tests.browser.labrig import (
    NARROW,
    ROOT,
    LabServer,
    make_untrusted,
    write_notebook,
)

PATH = f"import sys; sys.path.insert(0, {str(ROOT)!r})\n"

FIT = f"""{PATH}
import numpy as np
import kerasnb as keras

random = np.random.default_rng(0)
x = random.normal(size=(4096, 64)).astype("float32")
y = (x[:, 0] > 0).astype("int32")
model = keras.Sequential(
    [keras.Input((64,)), keras.layers.Dense(64, activation="relu"),
     keras.layers.Dense(2, activation="softmax")], name="tiny")
model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
history = model.fit(x, y, epochs=5000, batch_size=32, validation_split=0.25)
print(model.run.status, 0 < len(history.history["loss"]) < 5000)
"""

FAKE = f"""{PATH}
from tests.notebook.fake_run import FakeRun
from kerasnb.notebook import panel
run = FakeRun(epochs={{epochs}}, steps_per_epoch=50, chunk=2, wait=0.04)
live = panel.LivePanel(run)
"""

LONG = re.compile("^M.{500,}")

MANY = """
import numpy as np
many = FakeRun(epochs=10, steps_per_epoch=10_000)
live = panel.LivePanel(many)
noise = np.random.default_rng(0).random((2, 100_000))
steps = np.arange(1, 100_001)
live.curves.steps.extend({"step": steps, "loss": noise[0], "accuracy": noise[1]})
many.step = live._taken = 100_000
live(final=True)
"""

FRAMES = """async (plot) => {
    const box = plot.getBoundingClientRect();
    const times = [];
    for (let i = 0; i < 20; i++) {
        const began = performance.now();
        const clientX = box.left + 60 + i * 10;
        plot.dispatchEvent(new PointerEvent("pointermove", {clientX}));
        await new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
        times.push(performance.now() - began);
    }
    return times.sort((a, b) => a - b)[10];
}"""

WATCH = """() => {
    const cells = document.querySelectorAll(".jp-Cell");
    const seen = (window.seen = {frames: 0, missing: 0, places: new Set()});
    const look = () => {
        seen.frames += 1;
        const host = cells[0].querySelector(".knb-host");
        const panel = host?.shadowRoot.querySelector(".knb-panel");
        const stills = [...(host?.parentElement.children ?? [])];
        const shown = stills.filter((still) => still !== host && still.offsetHeight);
        if (!panel?.isConnected || shown.length) {
            seen.missing += 1;
        } else {
            const box = panel.getBoundingClientRect();
            const next = cells[1].getBoundingClientRect();
            seen.places.add([box.top, box.height, next.top].map(Math.round).join());
        }
        requestAnimationFrame(look);
    };
    look();
}"""


CARD = """
import kerasnb as keras
keras.Sequential([keras.Input((8,)), keras.layers.Dense(1, name="end")], name="net")
"""


def fake(epochs=200, last="_ = run.loop(); print(run.status)"):
    return FAKE.format(epochs=epochs) + last


def panel_of(lab, name="digits", cell=0):
    found = lab.output(cell).get_by_role("region", name=f"Training of {name}")
    found.wait_for(timeout=60_000)
    return found


def steps_of(panel):
    return panel.locator("dt", has_text="Step").locator("xpath=../dd").inner_text()


def test_a_real_fit_is_seen_paused_resumed_and_stopped(lab, lab_server):
    write_notebook(lab_server.folder / "fit.ipynb", [FIT, "print('next cell')"])
    lab.open("fit.ipynb").start_all()
    panel = panel_of(lab, "tiny")
    status = panel.locator(".knb-status")
    expect(status).to_have_text("Training", timeout=60_000)
    expect(panel.locator(".knb-steps").first).to_have_attribute("d", LONG)
    panel.get_by_role("button", name="Pause").click()
    expect(status).to_have_text("Paused", timeout=5_000)
    before = steps_of(panel)
    lab.page.wait_for_timeout(800)
    assert steps_of(panel) == before
    panel.get_by_role("button", name="Resume").click()
    expect(status).to_have_text("Training", timeout=5_000)
    panel.get_by_role("button", name="Stop now").click()
    expect(status).to_have_text("Stopped", timeout=5_000)
    lab.wait_until_done(30)
    assert lab.output(0).get_by_text("stopped True").count() == 1
    assert lab.texts(1) == ["next cell"]
    assert panel.get_by_role("button", name="Pause").count() == 0
    assert lab.errors() == []


@pytest.fixture(scope="module")
def without_subshells(tmp_path_factory):
    plugin = "@jupyterlab/apputils-extension:kernels-settings"
    settings = {plugin: {"commsOverSubshells": "disabled"}}
    with LabServer(tmp_path_factory.mktemp("plain"), settings) as server:
        yield server


def test_buttons_are_heard_when_the_front_end_opens_no_subshells(
    without_subshells, open_page
):
    write_notebook(without_subshells.folder / "one.ipynb", [fake()])
    lab = open_page(server=without_subshells)
    lab.open("one.ipynb").start_all()
    panel = panel_of(lab)
    panel.get_by_role("button", name="Stop now").click()
    expect(panel.locator(".knb-status")).to_have_text("Stopped", timeout=5_000)
    lab.wait_until_done(30)


def seen_of(lab):
    return lab.page.evaluate(
        "() => ({...window.seen, places: [...window.seen.places]})"
    )


def test_nothing_moves_or_blinks_while_it_updates_or_ends(lab, lab_server):
    """Not even when the output is refreshed for whoever opens the notebook later."""
    often = "panel._BETWEEN_STILLS['widget'] = 0.5\n"
    cells = [fake(last=often + "_ = run.loop()"), "print('below')"]
    write_notebook(lab_server.folder / "still.ipynb", cells)
    lab.open("still.ipynb").start_all()
    panel = panel_of(lab)
    panel.get_by_text("2 / 200").wait_for()
    toggle = panel.get_by_role("button", name="Logarithmic axis for loss")
    toggle.focus()
    toggle.press("Enter")
    lab.page.evaluate(WATCH)
    lab.page.wait_for_timeout(4_000)
    seen = seen_of(lab)
    assert seen["frames"] > 50
    assert seen["missing"] == 0
    assert len(seen["places"]) == 1, seen["places"]
    expect(toggle).to_have_attribute("aria-pressed", "true")
    expect(toggle).to_be_focused()

    panel.get_by_role("button", name="Stop after epoch").click()
    panel.get_by_text("stops at the end of this epoch").wait_for()
    expect(panel.locator(".knb-status")).to_have_text("Stopped", timeout=10_000)
    lab.wait_until_done(30)
    steps = panel.locator("dt", has_text="Steps").locator("xpath=../dd").inner_text()
    assert int(steps) % 50 == 0
    assert lab.texts(1) == ["below"]
    seen = seen_of(lab)
    assert seen["missing"] == 0
    assert len(seen["places"]) == 1, "the end of the run moves nothing either"


def test_values_are_read_by_pointer_and_keyboard_and_in_a_table(lab, lab_server):
    write_notebook(lab_server.folder / "read.ipynb", [fake(epochs=4), MANY])
    lab.open("read.ipynb").run_all()
    panel = panel_of(lab)
    curve = panel.get_by_role("slider", name="loss curve")
    curve.focus()
    curve.press("Home")
    words = re.compile(r"^epoch 1: train 1\.\d+, validation 0\.8835$")
    expect(curve).to_have_attribute("aria-valuetext", words)
    curve.press("ArrowRight")
    expect(curve).to_have_attribute("aria-valuenow", "2")
    other = panel.get_by_role("slider", name="accuracy curve")
    assert other.get_attribute("aria-valuetext").startswith("epoch 2: ")
    curve.press("Escape")
    latest = re.compile("^latest: ")
    expect(curve).to_have_attribute("aria-valuetext", latest)
    box = curve.bounding_box()
    curve.hover(position={"x": box["width"] * 0.4, "y": 60})
    expect(panel.locator(".knb-where").first).to_have_text(re.compile(r"^step \d+$"))

    panel.get_by_text("Values per epoch", exact=True).click()
    rows = panel.get_by_role("region", name="Values per epoch").get_by_role("row")
    expect(rows).to_have_count(5)
    expect(rows.first).to_contain_text("val_accuracy")

    # A hundred thousand points: a frame with the cursor moving stays short.
    panel = panel_of(lab, cell=1)
    expect(panel.locator(".knb-steps").first).to_have_attribute("d", LONG)
    took = panel.locator(".knb-plot").first.evaluate(FRAMES)
    assert took < 100, f"a frame took {took:.0f} ms"


def test_a_run_in_a_thread_comes_back_after_a_reload(lab, lab_server):
    background = """
import contextvars, threading
context = contextvars.copy_context()
threading.Thread(target=context.run, args=(run.loop,), daemon=True).start()
"""
    write_notebook(lab_server.folder / "reload.ipynb", [fake(last=background)])
    lab.open("reload.ipynb").run_all()
    panel = panel_of(lab)
    panel.get_by_text("2 / 200").wait_for()
    lab.save().reload()
    panel = panel_of(lab)
    panel.get_by_text("4 / 200").wait_for()
    line = panel.get_by_role("slider", name="loss curve").locator(".knb-line").first
    assert line.get_attribute("d").count("L") >= 2, (
        "what happened before is drawn again"
    )
    panel.get_by_role("button", name="Stop now").click()
    expect(panel.locator(".knb-status")).to_have_text("Stopped", timeout=5_000)


def see_the_still_pictures(reader):
    output = reader.output(0)
    output.get_by_text("finished after 3 epochs").wait_for()
    expect(output.get_by_role("img", name="loss: train")).to_have_count(1)
    widths = output.locator("img").evaluate_all("all => all.map((i) => i.naturalWidth)")
    assert len(widths) == 2
    assert all(width > 0 for width in widths)
    expect(output.get_by_role("row")).to_have_count(4)
    assert "widget" not in output.inner_text().lower()
    card = reader.output(1)
    card.get_by_role("img", name="Graph of net:").wait_for()
    expect(card.get_by_role("row")).to_have_count(3)
    assert "widget" not in card.inner_text().lower()


def test_a_saved_notebook_shows_still_pictures_in_whatever_hands(
    lab, open_page, lab_server
):
    cells = [fake(epochs=3), CARD]
    path = write_notebook(lab_server.folder / "saved.ipynb", cells)
    lab.open("saved.ipynb").run_all()
    lab.output(1).get_by_role("region", name="Model net").wait_for()
    lab.save()
    lab_server.shut_down_kernels()
    without = open_page().open_without_kernel("saved.ipynb")
    assert without.is_trusted()
    see_the_still_pictures(without)
    # The owner opens it again the next day: there is a kernel, which knows nothing.
    fresh = open_page().open("saved.ipynb")
    assert fresh.is_trusted()
    see_the_still_pictures(fresh)
    lab_server.shut_down_kernels()
    make_untrusted(path)
    see_the_still_pictures(open_page().open_without_kernel("saved.ipynb"))


def fits_and_is_dark(picture):
    back = picture.evaluate("(node) => getComputedStyle(node).backgroundColor")
    dark = max(map(int, re.findall(r"\d+", back)[:3])) < 60
    return dark and picture.evaluate("(node) => node.scrollWidth <= node.clientWidth")


def test_a_narrow_dark_page_is_filled_and_the_interrupt_is_told(open_page, lab_server):
    write_notebook(lab_server.folder / "narrow.ipynb", [fake(), CARD])
    lab = open_page(viewport=NARROW, theme="dark").open("narrow.ipynb").start_all()
    panel = panel_of(lab)
    panel.get_by_text("2 / 200").wait_for()
    assert fits_and_is_dark(panel)
    lab.interrupt().wait_until_done(30)
    expect(panel.locator(".knb-status")).to_have_text("Interrupted")
    card = lab.output(1).get_by_role("region", name="Model net")  # the next cell ran
    card.wait_for()
    assert fits_and_is_dark(card)
