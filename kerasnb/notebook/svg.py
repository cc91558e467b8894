"""Static pictures: SVG text made by hand, one palette for light and dark, safe HTML."""

import base64
import html
import math
from collections.abc import Iterable, Mapping
from typing import Any

PALETTE: dict[str, tuple[str, str]] = {
    # role: (light, dark). Blue and vermilion, sky and orange are told apart by
    # every common kind of colour vision (Okabe & Ito, 2008).
    "back": ("#ffffff", "#111111"),
    "text": ("#202124", "#e8eaed"),
    "muted": ("#5f6368", "#a3a8ae"),
    "line": ("#e1e4e8", "#34373b"),
    "edge": ("#c3c8ce", "#565b61"),
    "train": ("#0072b2", "#56b4e9"),
    "valid": ("#d55e00", "#f0a13a"),
    "good": ("#00795c", "#3fc79a"),
    "bad": ("#b3261e", "#f2877f"),
    "tint": ("#eef5fa", "#17242d"),
    "hint": ("#9a6a00", "#e3b341"),
}
"""Colour of each role on a light and on a dark page."""

FONT = "system-ui,-apple-system,'Segoe UI',Roboto,'Helvetica Neue',Arial,sans-serif"

_INHERIT = {
    # What JupyterLab's theme knows better than we do; our own colour where it is not.
    "back": "--jp-layout-color0",
    "text": "--jp-ui-font-color1",
    "muted": "--jp-ui-font-color2",
}


def tag(name: str, *children: str, **attributes: Any) -> str:
    """One element; `_` in a name stands for `-`, a trailing `_` is dropped.

    Attribute values are escaped and None leaves one out. Children are markup: pass
    text through `text`.

    >>> tag("text", text("a < b"), x=3, text_anchor="end", class_="t")
    '<text x="3" text-anchor="end" class="t">a &lt; b</text>'
    """
    shown = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{html.escape(_plain(value))}"'
        for key, value in attributes.items()
        if value is not None
    )
    inside = "".join(children)
    void = name in ("img", "br")
    return f"<{name}{shown}>" if void else f"<{name}{shown}>{inside}</{name}>"


class Markup(str):
    """Markup that is known to be safe, where `text` and `table` take it as it is."""


def text(value: Any) -> str:
    """`value` as text inside markup, with nothing in it left to act as markup."""
    if isinstance(value, Markup):
        return value
    return html.escape(str(value), quote=False)


def _plain(value: Any) -> str:
    """Numbers short enough for a picture, everything else as it is."""
    if isinstance(value, float):
        return f"{value:.1f}".removesuffix(".0")
    return str(value)


def path(xs: Iterable[float], ys: Iterable[float]) -> str:
    """A path through points; a gap (NaN) lifts the pen.

    >>> path([0, 1, 2], [5, float("nan"), 7])
    'M0.0,5.0M2.0,7.0'
    """
    out, down = [], False
    for x, y in zip(xs, ys, strict=True):
        if not math.isfinite(y):
            down = False
            continue
        out.append(f"{'L' if down else 'M'}{x:.1f},{y:.1f}")
        down = True
    return "".join(out)


def document(
    width: float, height: float, *body: str, rules: str = "", label: str = ""
) -> str:
    """A whole SVG picture with its own colours, for light and for dark pages.

    A picture in an `<img>` can't see the page around it, so it brings its own
    background and asks the browser which of the two is wanted.
    """
    known = ("back", "text", "muted")
    used = "".join((rules, *body))
    palette = {k: v for k, v in PALETTE.items() if k in known or f"(--{k})" in used}
    light, dark = (
        "".join(f"--{role}:{colours[side]};" for role, colours in palette.items())
        for side in (0, 1)
    )
    style = (
        f":root{{{light}}}@media (prefers-color-scheme:dark){{:root{{{dark}}}}}"
        f"text{{font:11px {FONT};fill:var(--text)}}"
        ".back{fill:var(--back)}.muted{fill:var(--muted)}.strong{font-weight:600}"
        f".end{{text-anchor:end}}.mid{{text-anchor:middle}}{rules}"
    )
    return tag(
        "svg",
        tag("title", text(label)) if label else "",
        tag("style", style),
        tag("rect", class_="back", width=width, height=height, rx=6),
        *body,
        xmlns="http://www.w3.org/2000/svg",
        viewBox=f"0 0 {_plain(width)} {_plain(height)}",
        width=width,
        height=height,
        role="img",
    )


_FITTING = "max-width:100%;height:auto;margin:2px 8px 2px 0"


def image(picture: str, alt: str, style: str = _FITTING) -> str:
    """An SVG picture as an `<img>`, the one form that an untrusted notebook shows."""
    data = base64.b64encode(picture.encode()).decode()
    return tag(
        "img",
        alt=alt,
        src=f"data:image/svg+xml;base64,{data}",
        style=style,
    )


def table(head: Iterable[str], rows: Iterable[Iterable[Any]], align: str = "l") -> str:
    """An HTML table whose first column names the row; everything is escaped.

    `align` holds a letter a column, `l` or `r`; columns beyond it are to the right.
    """
    style = "text-align:{};padding:2px 10px;font-variant-numeric:tabular-nums"

    def cell(kind: str, column: int, value: Any, **attributes: Any) -> str:
        left = align[column : column + 1] == "l"
        aligned = style.format("left" if left else "right")
        return tag(kind, text(value), style=aligned, **attributes)

    top = (cell("th", i, value, scope="col") for i, value in enumerate(head))
    body = (
        tag(
            "tr",
            *(
                cell("td", i, value) if i else cell("th", i, value, scope="row")
                for i, value in enumerate(row)
            ),
        )
        for row in rows
    )
    return tag(
        "table",
        tag("thead", tag("tr", *top)),
        tag("tbody", *body),
    )


def theme(palette: Mapping[str, tuple[str, str]] = PALETTE) -> str:
    """The palette as CSS variables for widgets.

    JupyterLab tells on `<body>` whether its theme is light; elsewhere the browser's
    preference decides.
    """

    def block(side: int) -> str:
        return "".join(
            f"--knb-{role}:"
            + (
                f"var({_INHERIT[role]},{colours[side]});"
                if role in _INHERIT
                else f"{colours[side]};"
            )
            for role, colours in palette.items()
        )

    return (
        f".knb-host{{{block(0)}}}\n"
        "@media (prefers-color-scheme:dark){"
        f"body:not([data-jp-theme-light]) .knb-host{{{block(1)}}}}}\n"
        f'[data-jp-theme-light="false"] .knb-host{{{block(1)}}}\n'
    )
