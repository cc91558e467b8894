"""tests.nbval_plugin and sanitize.cfg: what counts as the same output of a notebook"""

import os
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from nbval.plugin import get_sanitize_patterns

ROOT = Path(__file__).parents[2]
SANITIZE = Path(__file__).with_name("sanitize.cfg")

UPDATED = """
import time
from IPython.display import display
first = {"text/html": "<i>0</i>", "text/plain": "start"}
shown = display(first, raw=True, display_id=True)
for i in range(3):
    shown.update({"text/html": f"<i>{i}</i>", "text/plain": f"step {i}"}, raw=True)
print(f"took {time.perf_counter():.3f} s at", hex(id(shown)))
"""


@pytest.fixture
def saved(tmp_path):
    """A notebook with a display that was updated, run and saved as JupyterLab would."""
    notebook = nbformat.v4.new_notebook()
    notebook.cells = [nbformat.v4.new_code_cell(UPDATED)]
    NotebookClient(notebook, kernel_name="python3").execute()
    path = tmp_path / "saved.ipynb"
    nbformat.write(notebook, path)
    return path


def nbval(path):
    """Run nbval as `make notebooks` does; the finished process."""
    return subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-q", "-c", str(ROOT / "pyproject.toml")),
            *("-p", "tests.nbval_plugin", "-p", "no:cacheprovider", "--nbval"),
            *("--nbval-current-env", f"--nbval-sanitize-with={SANITIZE}", str(path)),
        ],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


def test_the_last_form_of_a_display_is_compared(saved):
    run = nbval(saved)
    assert run.returncode == 0, run.stdout
    saved.write_text(saved.read_text().replace("step 2", "step 3"))
    run = nbval(saved)
    assert run.returncode == 1 and "step 3" in run.stdout, run.stdout


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("took 3.2 s", "took 11 s"),
        ("12 ms/step", "980 us/step"),
        ("1,234 samples/s", "88.5 samples/s"),
        ("0:01:07 left", "0:00:59 left"),
        ("<Layer at 0x7f20abcdef>", "<Layer at 0x1111111>"),
        ('<div id="a1">', '<div id="b2">'),
        ("jax 0.10.2", "jax 0.12.0"),
        ("loss 0.0731", "loss 0.0732"),
        ("98.4% right", "98.3% right"),
        ("src='data:image/svg+xml;base64,AAA='", "src='data:image/svg+xml;base64,BB'"),
    ],
)
def test_what_varies_between_runs_is_the_same_when_sanitized(one, other):
    assert sanitized(one) == sanitized(other) != one


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("accuracy above 0.98", "accuracy above 0.97"),
        ("34,826 parameters", "34,827 parameters"),
        ("Conv2D (None, 28, 28, 32)", "Conv2D (None, 26, 26, 32)"),
        ("epoch 3 of 5", "epoch 4 of 5"),
    ],
)
def test_what_a_reader_relies_on_still_counts(one, other):
    assert sanitized(one) == one != sanitized(other) == other


def sanitized(text):
    """`text` as nbval compares it."""
    for pattern, replacement in get_sanitize_patterns(SANITIZE.read_text()):
        text = re.sub(pattern, replacement, text)
    return text
