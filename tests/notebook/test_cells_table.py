"""The notebook language in a real kernel: the cells of cells_table, Tab, help, options

One kernel runs all of them, one after the other, as a reader of a notebook would.
"""

import re

import pytest

from tests.notebook.cells_table import GOOD, SETUP, WRONG, rows
from tests.notebook.one_kernel import Kernel


@pytest.fixture(scope="module")
def kernel(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("IPYTHONDIR", str(tmp_path_factory.mktemp("ipython")))
        patch.setenv("KERASNB_DISPLAY", "none")
        made = Kernel()
    for cell, _ in rows(SETUP):
        shown = made.run(cell)
        assert shown.ok, shown.text
    yield made
    made.close()


def test_right_cells_make_their_models_and_wrong_ones_say_what_is_wrong(kernel):
    good, wrong = rows(GOOD), rows(WRONG)
    assert len(good) >= 40 and len(wrong) >= 80
    differ = []
    for cell, answer in good:
        shown = kernel.run(cell)
        said = kernel.run("print(facts(net))").text if shown.ok else shown.text
        if said != answer:
            differ.append(f"{cell}\n--- should be\n{answer}\n--- but is\n{said}")
    for cell, answer in wrong:
        text = re.sub(r"Cell In\[\d+\]", "Cell In[1]", kernel.run(cell).text)
        text = re.sub(r"has [\d.]+ .B free", "has 9.99 GB free", text)
        text = "\n".join(line.rstrip() for line in text.splitlines())
        if text != answer:
            differ.append(f"{cell}\n--- should show\n{answer}\n--- but shows\n{text}")
    assert not differ, "\n\n".join([f"{len(differ)} cells differ", *differ])


@pytest.mark.parametrize(
    ("text", "part", "among"),
    [
        ("%%kmodel net --opt|", "--opt", "--optimizer"),
        ("%%kmodel net --loss au|", "au", "auto"),
        ("%%kmodel net --input x_|\nDense(3)", "x_", "x_train"),
        ("%%kmodel net\nDen|", "Den", "Dense"),
        ("%%kmodel net\nfor n in (1, 2):\n    Dense(n, acti|", "acti", "activation="),
        ("%%kmodel net\nDense(3, activation='re|", "re", "relu"),
        ("%kfit cl|", "cl", "clf"),
        ("%kfit clf x_|", "x_", "x_train"),
        ("%kinspect clf dense|", "dense", "dense_1"),
        ("%%kmodel net\nDense(3, activation=|", "", '"relu"'),
        ("%kfit clf x_train y_train --ba|", "--ba", "--background"),
        ("%kmistakes clf x_|", "x_", "x_train"),
        ("%kruns --so|", "--so", "--sort"),
        ("%kexport clf clf.out --to |", "", "stablehlo"),
        ("%config KerasNB.ep|", "KerasNB.ep", "KerasNB.epochs"),
        ("%%kmo|", "%%kmo", "%%kmodel"),
    ],
)
def test_tab_completes_by_the_protocol(kernel, text, part, among):
    found, matches = kernel.complete(text)
    assert found == part and among in matches, (found, matches)


@pytest.mark.parametrize(
    ("magic", "words"),
    [
        ("%%kmodel", ["--input", "x = layer(x)", "%%kmodel digits --input", "Conv2D("]),
        (
            "%kfit",
            ["--epochs", "%kfit digits x_train y_train --epochs 5", "model.fit("],
        ),
    ],
)
def test_a_question_mark_shows_a_page_with_examples(kernel, magic, words):
    page = kernel.inspect(magic)
    assert all(word in page for word in words), page


def test_the_extension_comes_and_goes_without_a_trace(kernel):
    state = (
        "shell = get_ipython()\n"
        "print(sorted(map(str, shell.magics_manager.registry)),"
        " {k: sorted(v) for k, v in shell.magics_manager.magics.items()},"
        " len(shell.configurables), shell.custom_exceptions,"
        " shell.Completer.custom_matchers,"
        " sorted(map(str, shell.display_formatter.mimebundle_formatter.type_printers)),"
        " {k: len(v) for k, v in shell.events.callbacks.items()})"
    )
    kernel.run("%unload_ext kerasnb")
    without = kernel.run(state).text
    assert "kmodel" not in without and kernel.complete("%%kmod|")[1] == []
    kernel.run("%load_ext kerasnb")
    loaded = kernel.run(state).text
    assert "kmodel" in loaded
    kernel.run("%reload_ext kerasnb")
    kernel.run("%reload_ext kerasnb")
    assert re.sub("0x[0-9a-f]+", "", kernel.run(state).text) == re.sub(
        "0x[0-9a-f]+", "", loaded
    )
    kernel.run("%unload_ext kerasnb")
    assert kernel.run(state).text == without
    kernel.run("%load_ext kerasnb")


def test_no_answer_shows_the_inside_of_a_library():
    for cell, answer in rows(WRONG):
        said = answer.replace(cell, "")
        for inside in (
            "site-packages",
            "kerasnb/",
            "jax",
            "NoneType",
            "840",
            "__init_",
        ):
            assert inside not in said or inside in cell, answer


def test_an_answer_names_a_line_of_the_cell_and_shows_it():
    for cell, answer in rows(WRONG):
        lines = cell.split("\n")
        if found := re.match(r"%%kmodel \w+, line (\d+):  (.+)", answer):
            line = lines[int(found[1]) - 1]
            assert found[2].rstrip(":")[:9] in line, answer
        elif found := re.match(
            r"%%kmodel \w+, line (\d+):\n    (.*)\n    ( *\^)", answer
        ):
            assert found[2] == lines[int(found[1]) - 1].strip(), answer
            assert len(found[3]) <= len(found[2]) + 1, answer
