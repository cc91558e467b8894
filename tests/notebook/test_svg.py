"""kerasnb.notebook.svg"""

import base64
import re
from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest

from kerasnb.notebook import svg


def luminance(colour: str) -> float:
    channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [
        c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in channels
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("side", [0, 1], ids=["light", "dark"])
@pytest.mark.parametrize(
    "role", ["text", "muted", "train", "valid", "good", "bad", "hint"]
)
def test_every_colour_that_carries_meaning_can_be_read_on_its_background(role, side):
    enough = 4.5 if role in ("text", "muted", "hint", "good", "bad") else 3
    assert contrast(svg.PALETTE[role][side], svg.PALETTE["back"][side]) >= enough


def test_a_tag_escapes_attributes_and_leaves_none_out():
    made = svg.tag("text", svg.text('<b> & "'), x=1.25, title='"<', fill=None)
    assert made == '<text x="1.2" title="&quot;&lt;">&lt;b&gt; &amp; "</text>'


def test_a_path_lifts_the_pen_at_a_gap():
    nan, inf = float("nan"), float("inf")
    assert svg.path([0, 1, 2, 3], [1, nan, 2, inf]) == "M0.0,1.0M2.0,2.0"


def test_a_picture_is_well_formed_and_knows_both_schemes():
    made = svg.document(10, 20, svg.tag("path", d="M0,0"), label="a < b")
    root = ElementTree.fromstring(made)
    assert root.get("viewBox") == "0 0 10 20"
    assert root.findtext("{*}title") == "a < b"
    assert "prefers-color-scheme:dark" in made


def test_an_image_carries_its_picture_and_its_words():
    made = svg.image(svg.document(1, 1), 'loss "0.1" <script>')
    assert "<script>" not in made
    data = re.search(r"base64,([^\"]+)", made)[1]
    ElementTree.fromstring(base64.b64decode(data))
    assert 'alt="loss &quot;0.1&quot; &lt;script&gt;"' in made


def test_a_table_escapes_its_cells_and_names_its_rows():
    made = svg.table(["epoch", "<x>"], [[1, "<script>alert(1)</script>"]])
    seen = []
    parser = HTMLParser()
    parser.handle_starttag = lambda name, attributes: seen.append(
        (name, dict(attributes))
    )
    parser.feed(made)
    assert not [name for name, _ in seen if name == "script"]
    assert [a.get("scope") for name, a in seen if name == "th"] == ["col", "col", "row"]


def test_the_theme_follows_jupyterlab_and_else_the_browser():
    css = svg.theme()
    assert '[data-jp-theme-light="false"] .knb-host{' in css
    assert "body:not([data-jp-theme-light]) .knb-host{" in css
    assert "--knb-text:var(--jp-ui-font-color1,#202124);" in css
