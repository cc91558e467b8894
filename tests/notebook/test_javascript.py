"""The JavaScript of kerasnb.notebook, on Node's own test runner."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from kerasnb.notebook import widget

HERE = Path(__file__).parent
SOURCES = sorted(Path(widget.__file__).parent.glob("*.js"))


@pytest.mark.parametrize(
    "path", sorted(HERE.glob("js/*.test.mjs")), ids=lambda p: p.name
)
def test_the_tests_for_node_pass(path):
    node = shutil.which("node")
    assert node, "Node is needed to test the JavaScript: install nodejs 18 or later."
    done = subprocess.run([node, "--test", str(path)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert int(re.search(r"^# pass (\d+)", done.stdout, re.MULTILINE)[1]) > 0


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: p.name)
def test_a_script_is_checked_by_types_and_touches_nothing_beyond_the_page(path):
    text = path.read_text()
    assert text.startswith("// @ts-check\n")
    assert not re.findall(r"innerHTML|document\.write|\beval\b|fetch\(|XMLHttp", text)
