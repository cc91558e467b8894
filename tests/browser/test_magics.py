"""kerasnb.notebook.magics in JupyterLab: outputs, errors, completion, after saving"""

import re

from playwright.sync_api import expect

from tests.browser.labrig import NARROW, make_untrusted, write_notebook

DATA = """
%load_ext kerasnb
from kerasnb.datasets import digits28
(x_train, y_train), (x_test, y_test) = digits28.load_data()
x_train, y_train = x_train[:600], y_train[:600]
x_test, y_test = x_test[:200], y_test[:200]
"""
MODEL = """\
%%kmodel digits --input 28,28,1 --optimizer adam --loss auto --metrics accuracy --seed 1
Rescaling(1 / 255)
Conv2D(4, 3, strides=2, activation="relu")
Flatten()
Dense(10, activation="softmax")
"""
BROKEN = """\
%%kmodel broken --input 28,28,1
skip = x
Conv2D(8, 3)
x = Add()([x, skip])
"""
CELLS = [
    DATA.strip(),
    MODEL,
    "%kfit digits x_train y_train -e 2 -b 50 --validation 0.2",
    "%kmistakes digits x_test y_test",
    "%kinspect digits conv2d --on x_test",
    "digits.history",
    BROKEN,
    "%kfit digitz x_train y_train",
    "digits.predict(x_test[:, :5])",
]
OUTPUTS = {1: "card", 3: "mistakes", 4: "inspect", 5: "history"}
ERRORS = {6: "cell-error", 7: "usage-error", 8: "python-error"}


def open_cells(page, server, name):
    """Run the cells one after the other; some of them fail, as they should."""
    path = write_notebook(server.folder / name, CELLS)
    page.open(name)
    for number in range(len(CELLS)):
        page.run_cell(number)
        prompt = page.cell(number).locator(".jp-InputPrompt")
        expect(prompt).to_have_text(re.compile(r"\[\d+\]:"), timeout=90_000)
    page.wait_until_done()
    return path


def drawn(page, number):
    """How many pictures of an output the browser could draw."""
    return (
        page.output(number)
        .locator("img")
        .evaluate_all(
            "(images) => images.filter((image) => image.naturalWidth > 0).length"
        )
    )


def test_the_magics_show_models_mistakes_and_errors(lab, lab_server):
    open_cells(lab, lab_server, "magics.ipynb")
    for theme in ("light", "dark"):
        lab.set_theme(theme)
        for number, name in (OUTPUTS | ERRORS).items():
            lab.screenshot(f"magics-{name}-{theme}", of=lab.cell(number))
    card = lab.output(1).get_by_text("conv2d").filter(visible=True)
    expect(card.first).to_be_visible()
    assert drawn(lab, 3) == 13 and drawn(lab, 4) >= 3 and drawn(lab, 5) == 2
    matrix = lab.output(3).get_by_alt_text("Confusion matrix of digits")
    expect(matrix).to_be_visible()
    assert lab.texts(6)[0].splitlines() == [
        "%%kmodel broken, line 4:  x = Add()([x, skip])",
        30 * " " + "^^^",
        (
            "Add got shapes (None, 26, 26, 8) and (None, 28, 28, 1), which do not "
            "broadcast."
        ),
        'Conv2D on line 3 shrank 28x28 to 26x26; padding="same" would keep it.',
    ]
    wrong = 'UsageError: %kfit: `digitz` is not defined. Did you mean "digits"?'
    assert lab.texts(7) == [wrong]
    python = lab.texts(8)[0]
    assert "digits.predict(x_test[:, :5])" in python and "trainer.py" not in python
    lab.resize(NARROW)
    for number in (3, 4):
        lab.screenshot(f"magics-{OUTPUTS[number]}-narrow", of=lab.cell(number))
    assert lab.errors() == []


def test_an_untrusted_notebook_without_a_kernel_still_shows_them(
    lab, open_page, lab_server
):
    path = open_cells(lab, lab_server, "reopened.ipynb")
    lab.save()
    lab_server.shut_down_kernels()
    make_untrusted(path)
    reader = open_page().open_without_kernel("reopened.ipynb")
    assert not reader.is_trusted()
    for number, name in OUTPUTS.items():
        reader.screenshot(f"magics-{name}-untrusted", of=reader.cell(number))
        assert drawn(reader, number) >= 1
        expect(reader.output(number).locator("table").first).to_be_visible()
    assert "line 4:  x = Add()([x, skip])" in reader.texts(6)[0]


def test_tab_completes_layers_arguments_and_options(lab, lab_server):
    cells = [DATA.strip(), MODEL.replace("digits", "net"), "%%kmodel net --input", ""]
    write_notebook(lab_server.folder / "tab.ipynb", cells)
    lab.open("tab.ipynb").run_cell(0).wait_until_done()
    lab.run_cell(1).wait_until_done()
    choices = lab.page.locator(".jp-Completer-item")
    for number, theme, typed, wanted in [
        (2, "light", " x_tr", "x_train"),
        (2, "light", " --opt", "--optimizer"),
        (2, "light", " ada", "adam"),
        (2, "light", "\nGlob", "GlobalAveragePooling2D"),
        (2, "dark", "()\nDense(3, kernel", "kernel_initializer="),
        (2, "dark", "'he", "he_normal"),
        (2, "dark", "', activation=", '"relu"'),
        (3, "dark", "%kinspect net con", "conv2d"),
        (3, "light", "\n%kfit net x_train y_train --val", "--validation"),
    ]:
        lab.set_theme(theme)
        editor = lab.cell(number).locator(".cm-content")
        editor.press("Control+End")
        lab.page.keyboard.type(typed, delay=20)
        lab.page.keyboard.press("Tab")
        choice = choices.get_by_text(wanted, exact=True)
        expect(choice).to_be_visible()
        lab.screenshot(f"magics-tab-{wanted.strip('=')}".replace('"', ""))
        choice.click()
        expect(editor).to_contain_text(wanted)
    # The lines below the first one are coloured as Python.
    coloured = lab.cell(2).locator(".cm-line", has_text="Dense").locator("span")
    assert "'he_normal'" in coloured.all_inner_texts()
    assert lab.errors() == []
