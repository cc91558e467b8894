"""kerasnb.notebook.widget"""

import subprocess
import sys

from kerasnb.notebook import widget

WITHOUT = """
import sys
sys.modules["anywidget"] = None
from kerasnb.notebook import card, charts, mailbox, panel, svg, widget
assert not widget.available()
try:
    panel.TrainingPanel(None)
except ImportError as error:
    print(error)
"""


def test_without_anywidget_all_imports_and_a_widget_says_what_to_install():
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT], capture_output=True, text=True, check=True
    )
    assert 'pip install "kerasnb[notebook]"' in done.stdout
    assert 'display("html")' in done.stdout


def test_imports_of_a_module_are_put_in_its_text_once(tmp_path):
    (tmp_path / "base.js").write_text("export const a = 1;\nexport function b() {}\n")
    (tmp_path / "more.js").write_text(
        'import { a } from "./base.js";\nexport class C {}\n'
    )
    (tmp_path / "top.js").write_text(
        'import { a, b } from "./base.js";\nimport {\n  C,\n} from "./more.js";\n'
        "export default { a };\n"
    )
    assert widget.module(tmp_path / "top.js") == (
        "const a = 1;\nfunction b() {}\nclass C {}\nexport default { a };\n"
    )


def test_a_widget_without_a_picture_of_its_own_shows_its_words():
    made = widget.Widget()
    assert made.bundle() == {
        "text/html": f'<div data-knb="{made._twin}"><pre>Widget</pre></div>',
        "text/plain": "Widget",
    }
