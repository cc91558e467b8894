"""kerasnb.notebook.panel, live in JupyterLab"""

import os
import re
import signal
import time
from pathlib import Path

import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from PIL import Image
from playwright.sync_api import expect

from tests.browser.labrig import (
    NARROW,
    ROOT,
    SCREENSHOTS,
    LabServer,
    make_untrusted,
    write_notebook,
)

GOLDEN = Path(__file__).parent / "golden"
PATH = f"import sys; sys.path.insert(0, {str(ROOT)!r})\n"

DIGITS = f"""{PATH}
import time
import kerasnb as keras
from kerasnb.datasets import digits28

(x, y), (x_test, y_test) = digits28.load_data()
model = keras.Sequential(
    [keras.Input((28, 28)), keras.layers.Rescaling(1 / 255), keras.layers.Flatten(),
     keras.layers.Dense(64, activation="relu"),
     keras.layers.Dense(10, activation="softmax")], name="digits")
model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
given = dict(epochs=5000, batch_size=16, validation_data=(x_test[:200], y_test[:200]))
"""

FIT = f"""{DIGITS}
history = model.fit(x, y, **given)
run = model.run
done = len(history.history.get("loss", []))
print(run.status, done == run.epoch == len(run.epoch_index))
print([mark.name for mark in run.marks], run.generation, run.learning_rate)
"""

BACKGROUND = f"""{DIGITS}
import os
run = model.fit(x, y, background=True, **given)
while not run.step:
    time.sleep(0.001)
print("first step", time.time(), os.getpid())
"""

FIRST_POINT = """() => {
    const look = () => {
        const root = document.querySelector(".knb-host")?.shadowRoot;
        const drawn = root?.querySelector(".knb-steps")?.getAttribute("d");
        if (drawn) window.first = Date.now();
        else requestAnimationFrame(look);
    };
    look();
}"""

PRESS = """async (panel, [name, status]) => {
    const began = performance.now();
    const buttons = [...panel.querySelectorAll("button")];
    buttons.find((button) => button.innerText.includes(name)).click();
    while (panel.dataset.status !== status && performance.now() - began < 10_000)
        await new Promise(requestAnimationFrame);
    return performance.now() - began;
}"""

FIXED = f"""{PATH}
import numpy as np
from tests.notebook.fake_run import FakeRun
from kerasnb.notebook import charts, panel

run = FakeRun(epochs=8, steps_per_epoch=100, metrics=("loss", "accuracy", "sure"))
run.listeners.append(lambda run, final=False: run.step == 540 and run.stop())
_ = run.loop()
run.orders = type(run.orders)()
run.status, run.gradient_norm, run.memory = "paused", 0.4321, 1.21e9
run.elapsed, run.samples_per_second, run.seconds_left = 42.0, 12345.0, 21.0
for name, step in (("mark 1", 120), ("before", 300)):
    run.step, run.epoch = step, step // 100
    run.mark(name)
    run.status = "running"
    run._obey()
run.step, run.epoch, run.status = 540, 5, "paused"
run.note_alarm(kind="overfitting", step=410, hint="Try Dropout or fewer units.",
               sentence="Validation loss rises since epoch 4.")
live = panel.LivePanel(run)
at = np.arange(1, 8)
live.curves.earlier = [
    charts.Earlier(name, dict(loss=(at, fall + 0.2), val_loss=(at, fall + 0.3),
                              accuracy=(at, 1 - 0.4 * fall)))
    for name, fall in (("digits", 2.2 * np.exp(-0.5 * at)),
                       ("digits-2", 2.2 * np.exp(-0.8 * at)))]
live.obey(dict(op="sync", id="first"))
"""

FAKE = f"""{PATH}
from tests.notebook.fake_run import FakeRun
from kerasnb.notebook import panel
run = FakeRun(epochs={{epochs}}, steps_per_epoch=50, chunk=2, wait=0.04)
live = panel.LivePanel(run)
"""

LONG = re.compile("^M.{500,}")

MANY = """
import contextvars, threading
import numpy as np
many = FakeRun(epochs=100, steps_per_epoch=20_000, chunk=1000, wait=0.09)
many.note_alarm(kind="a", step=5, sentence="S.", hint="")
live = panel.LivePanel(many)
noise = np.random.default_rng(0).random((2, 100_000))
steps = np.arange(1, 100_001)
live.curves.steps.extend({"step": steps, "loss": noise[0], "accuracy": noise[1]})
many._points = noise.T.tolist()
many.step = live._taken = 100_000
live._whole = True
live(final=False)
context = contextvars.copy_context()
threading.Thread(target=context.run, args=(many.loop,), daemon=True).start()
"""

FRAMES = """async (plot) => {
    const box = plot.getBoundingClientRect();
    const times = [];
    for (let i = 0; i < 100; i++) {
        const began = performance.now();
        const clientX = box.left + 60 + i * 2;
        plot.dispatchEvent(new PointerEvent("pointermove", {clientX}));
        await new Promise((done) => requestAnimationFrame(() => setTimeout(done)));
        times.push(performance.now() - began);
    }
    times.sort((a, b) => a - b);
    return [times[50], times[95]];
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


def value_of(panel, name):
    return panel.locator("dt", has_text=name).locator("xpath=../dd")


def steps_of(panel):
    return value_of(panel, "Step").inner_text()


def press(panel, name, status):
    """Press a button; the milliseconds until the panel shows the status."""
    took = panel.evaluate(PRESS, [name, status])
    expect(panel).to_have_attribute("data-status", status)
    return took


def test_a_real_fit_is_steered_from_its_panel(lab, lab_server):
    write_notebook(lab_server.folder / "fit.ipynb", [FIT, "print('next cell')"])
    lab.open("fit.ipynb").start_all()
    panel = panel_of(lab)
    status = panel.locator(".knb-status")
    expect(status).to_have_text("Training", timeout=60_000)
    expect(panel.locator(".knb-steps").first).to_have_attribute("d", LONG)
    took = press(panel, "Pause", "paused")
    print(f"paused after {took:.0f} ms")
    assert took < 3_000
    before = steps_of(panel)
    lab.page.wait_for_timeout(800)
    assert steps_of(panel) == before

    panel.get_by_role("button", name="Step").click()
    expect(value_of(panel, "Step")).not_to_have_text(before)
    expect(status).to_have_text("Paused")
    panel.get_by_role("button", name="Mark").press("Enter")
    back = panel.get_by_role("button", name="Roll back")
    expect(back).not_to_have_attribute("aria-disabled", "true")
    marked = steps_of(panel)

    rate = panel.get_by_role("textbox", name="Learning rate")
    expect(rate).to_have_value("0.001")
    rate.fill("fast")
    rate.press("Enter")
    panel.get_by_role("alert").get_by_text("not a number").wait_for()
    rate.press("Escape")
    expect(rate).to_have_value("0.001")
    rate.fill("0.005")
    rate.press("Enter")
    lab.page.wait_for_timeout(400)
    expect(rate).to_have_value("0.005")
    press(panel, "Resume", "running")
    lab.page.wait_for_timeout(1_500)
    press(panel, "Pause", "paused")
    assert steps_of(panel) != marked
    back.press("ArrowDown")
    item = panel.get_by_role("menuitem", name=re.compile("^mark 1"))
    expect(item).to_be_focused()
    item.press("Enter")
    expect(value_of(panel, "Step")).to_have_text(marked, timeout=10_000)
    expect(back).to_be_focused()
    press(panel, "Stop now", "stopped")
    lab.wait_until_done(30)
    assert lab.output(0).get_by_text("stopped True").count() == 1
    assert lab.output(0).get_by_text("['mark 1'] 1 ").count() == 1
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

    # A hundred thousand points, and a thousand more ten times a second.
    panel = panel_of(lab, cell=1)
    expect(panel.locator(".knb-steps").first).to_have_attribute("d", LONG)
    median, slow = panel.locator(".knb-plot").first.evaluate(FRAMES)
    print(f"frames: {median:.1f} ms, the slowest of twenty {slow:.1f} ms")
    assert median < 100, f"a frame took {median:.0f} ms"
    panel.get_by_role("button", name="Stop now").click()
    expect(panel.locator(".knb-status")).to_have_text("Stopped", timeout=10_000)


def test_a_background_run_lives_through_a_reload_and_tells_of_its_kernels_death(
    lab, lab_server, open_page
):
    cells = [BACKGROUND, "print(sum(range(10)), run.status)"]
    path = write_notebook(lab_server.folder / "background.ipynb", cells)
    lab.open("background.ipynb")
    lab.page.evaluate(FIRST_POINT)
    lab.run_cell(0)
    panel = panel_of(lab)
    lab.output(0).get_by_text("first step").wait_for(timeout=60_000)
    lab.page.wait_for_function("() => window.first")
    lab.wait_until_done(30)
    shown = next(text for text in lab.texts(0) if text.startswith("first step"))
    began, pid = float(shown.split()[2]), int(shown.split()[3])
    late = lab.page.evaluate("() => window.first") / 1000 - began
    print(f"first point {late:.2f} s after the first step")
    assert late < 3

    asked = time.monotonic()
    lab.run_cell(1)
    lab.output(1).get_by_text("45 running").wait_for(timeout=10_000)
    print(f"another cell was answered after {time.monotonic() - asked:.2f} s")
    panel.get_by_text(re.compile(r"^\d+ / 5.000$")).first.wait_for()

    lab.save().reload()
    panel = panel_of(lab)
    expect(panel.locator(".knb-status")).to_have_text("Training", timeout=20_000)
    line = panel.get_by_role("slider", name="loss curve").locator(".knb-steps").first
    expect(line).to_have_attribute("d", LONG)
    press(panel, "Pause", "paused")
    press(panel, "Resume", "running")

    os.kill(pid, signal.SIGKILL)
    expect(panel.locator(".knb-status")).to_have_text("Kernel gone", timeout=20_000)
    expect(panel.locator(".knb-note")).to_contain_text("the last it told")
    assert panel.get_by_role("button", name="Pause").count() == 0
    lab.save().close()
    lab_server.shut_down_kernels()
    make_untrusted(path)
    reader = open_page().open_without_kernel("background.ipynb")
    output = reader.output(0)
    output.get_by_text(re.compile(r"training, \d+ of 5000 epochs")).wait_for()
    expect(output.get_by_role("img", name="loss")).to_have_count(1)


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


def alike(found, golden):
    """How far two pictures are apart, 0 to 255, letters and lines blurred."""
    size = (min(found.width, golden.width) // 8, min(found.height, golden.height) // 8)
    box = (0, 0, size[0] * 8, size[1] * 8)
    parts = [
        np.asarray(
            one.convert("RGB").crop(box).resize(size, Image.Resampling.BOX), float
        )
        for one in (found, golden)
    ]
    return float(np.abs(parts[0] - parts[1]).mean())


def compare(panel, name):
    """Compare a picture with the kept one; KERASNB_GOLDEN=write keeps the new one."""
    path = SCREENSHOTS / f"{name}.png"
    path.parent.mkdir(parents=True, exist_ok=True)
    panel.screenshot(path=path)
    kept = GOLDEN / f"{name}.png"
    if os.environ.get("KERASNB_GOLDEN") == "write":
        Image.open(path).convert("RGB").quantize(48).save(kept, optimize=True)
    found, golden = Image.open(path), Image.open(kept)
    assert found.width == golden.width
    assert abs(found.height - golden.height) < 40, "fonts differ, the layout does not"
    distance = alike(found, golden)
    assert distance < 6, f"{name}: {distance:.1f} from the kept picture, see {path}"


def test_the_panel_looks_as_it_was_approved_and_has_no_barriers(open_page, lab_server):
    write_notebook(lab_server.folder / "fixed.ipynb", [FIXED])
    lab = open_page(viewport=(1440, 1500)).open("fixed.ipynb").run_all()
    panel = panel_of(lab)
    expect(panel.locator(".knb-status")).to_have_text("Paused")
    for theme in ("light", "dark"):
        for width in (1440, 900, 480):
            lab.resize((width, 1600)).set_theme(theme)
            lab.page.mouse.move(2, 2)
            lab.page.wait_for_timeout(400)
            assert panel.evaluate("(node) => node.scrollWidth <= node.clientWidth")
            compare(panel, f"panel-{theme}-{width}")
        found = Axe().run(lab.page, context=".knb-host")
        assert found.violations_count == 0, found.generate_report()
    lab.resize((900, 1600))
    panel.get_by_text("1 alarm:").click()
    panel.get_by_text("Gradient norm", exact=True).last.click()
    curve = panel.get_by_role("slider", name="gradient norm curve")
    expect(curve.locator(".knb-steps")).to_have_attribute("d", re.compile("^M"))
    panel.get_by_role("button", name="Roll back").click()
    panel.get_by_role("menuitem", name="before").wait_for()
    found = Axe().run(lab.page, context=".knb-host")
    assert found.violations_count == 0, found.generate_report()
    lab.page.keyboard.press("Escape")
    panel.get_by_role("button", name=re.compile("^Silence")).press("Enter")
    lab.page.keyboard.press("Tab")
    assert lab.errors() == []


def test_every_control_is_reached_by_the_keyboard_in_notebook_7(lab, lab_server):
    write_notebook(lab_server.folder / "seven.ipynb", [fake()])
    page = lab.open_in_notebook_7("seven.ipynb").run_cell(0).page
    panel = page.get_by_role("region", name="Training of digits")
    panel.wait_for(timeout=60_000)
    panel.get_by_text("2 / 200").wait_for()
    press(panel, "Pause", "paused")
    panel.get_by_role("button", name="Resume").focus()
    reached = []
    for _ in range(12):
        reached.append(
            panel.evaluate(
                "(node) => { const on = node.getRootNode().activeElement; return on && "
                "(on.getAttribute('aria-label') || on.textContent) }"
            )
        )
        page.keyboard.press("Tab")
    expected = ["Resume", "Step", "Stop after epoch", "Stop now", "Mark", "Roll back"]
    expected += ["Learning rate", "Smooth line for loss", "Logarithmic axis for loss"]
    assert reached[: len(expected) + 1] == [*expected, "loss curve"]
    panel.get_by_role("button", name="Stop now").press("Enter")
    expect(panel.locator(".knb-status")).to_have_text("Stopped", timeout=10_000)
