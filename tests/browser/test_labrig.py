"""tests.browser.labrig: the rig itself, on notebooks that need only a kernel"""

import re
import struct

from tests.browser.labrig import NARROW, WIDE, make_untrusted, write_notebook

WIDGET = """
import ipywidgets
button, label = ipywidgets.Button(description="Press"), ipywidgets.Label("not yet")
button.on_click(lambda _: setattr(label, "value", "pressed"))
ipywidgets.VBox([button, label])
"""

HTML = """
from IPython.display import HTML
HTML("<b>bold</b><script>document.title = 'ran'</script><svg><text>drawn</text></svg>")
"""


def test_a_notebook_that_prints_one_runs(lab, lab_server):
    write_notebook(lab_server.folder / "one.ipynb", ["#md # One", "print(1)"])
    lab.open("one.ipynb").run_all()
    assert lab.texts(1) == ["1"] and lab.prompts() == ["[1]:"]
    assert lab.errors() == []


def test_run_all_waits_for_the_last_cell(lab, lab_server):
    cells = ["import time", "time.sleep(1.5)", "print('last')"]
    write_notebook(lab_server.folder / "wait.ipynb", cells)
    lab.open("wait.ipynb").run_all()
    assert lab.texts(2) == ["last"]
    lab.run_all()
    assert lab.prompts() == ["[4]:", "[5]:", "[6]:"]


def test_a_click_on_a_widget_reaches_the_kernel(lab, lab_server):
    write_notebook(lab_server.folder / "widget.ipynb", [WIDGET])
    lab.open("widget.ipynb").run_all()
    lab.output(0).get_by_role("button", name="Press").click()
    lab.output(0).get_by_text("pressed", exact=True).wait_for()


def test_interrupting_ends_a_running_cell(lab, lab_server):
    cells = ["import time\nfor i in range(600): time.sleep(0.1)", "print('next')"]
    write_notebook(lab_server.folder / "stop.ipynb", cells)
    lab.open("stop.ipynb").start_all()
    lab.page.wait_for_timeout(500)
    lab.interrupt().wait_until_done(30)
    assert "KeyboardInterrupt" in lab.output(0).inner_text()


def test_a_saved_notebook_is_read_without_a_kernel_trusted_or_not(
    lab, open_page, lab_server
):
    path = write_notebook(lab_server.folder / "saved.ipynb", [HTML, "print(2)"])
    lab.open("saved.ipynb").run_all().save()
    lab_server.shut_down_kernels()
    trusted = open_page().open_without_kernel("saved.ipynb")
    assert trusted.is_trusted() and trusted.texts(1) == ["2"]
    assert trusted.outputs(0).locator("svg").count() == 1
    # A page that is still open may save, and so sign, what it sees change.
    for page in (lab, trusted):
        page.close()
    make_untrusted(path)
    untrusted = open_page().open_without_kernel("saved.ipynb")
    assert not untrusted.is_trusted() and untrusted.texts(1) == ["2"]
    assert untrusted.outputs(0).locator("svg").count() == 0
    assert untrusted.outputs(0).locator("b").inner_text() == "bold"


def test_themes_and_widths_are_pictured(open_page, lab_server):
    write_notebook(lab_server.folder / "look.ipynb", ["#md # A title", "print(1)"])
    page = open_page(theme="dark").open("look.ipynb").run_all()
    dark, wide = background(page), width(page.screenshot("rig-dark-wide"))
    page.resize(NARROW).set_theme("light").run_all()
    light = background(page)
    narrow = width(page.screenshot("rig-light-narrow", of=page.output(1)))
    assert max(dark) < 80 and min(light) > 200
    assert wide == WIDE[0] and 200 < narrow < NARROW[0]


def background(page):
    """Red, green and blue behind the notebook."""
    colour = page.page.locator(".jp-Notebook").evaluate(
        "(element) => getComputedStyle(element).backgroundColor"
    )
    return [int(value) for value in re.findall(r"\d+", colour)[:3]]


def width(picture):
    """The width that a PNG file says it has."""
    return struct.unpack(">I", picture.read_bytes()[16:20])[0]
