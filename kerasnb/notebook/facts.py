"""Tables in words and in HTML: what the still pictures of this room are made of."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from kerasnb.core import frontend
from kerasnb.notebook import svg


def text_table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """A table in plain text; the first column to the left, the others to the right.

    >>> print(text_table(["class", "right"], [["cat", 12], ["mouse", 3]]))
    class  right
    cat       12
    mouse      3
    """
    table = [[str(cell) for cell in row] for row in (head, *rows)]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if i else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in table
    )


class Still:
    """Something with a still picture and a text, to be shown as a cell's output."""

    def text(self) -> str:
        """The picture in words."""
        raise NotImplementedError

    def still(self) -> str:
        """The picture as HTML without scripts."""
        raise NotImplementedError

    def __repr__(self) -> str:
        return self.text()

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict:
        words = {"text/plain": self.text()}
        if frontend.display_mode() not in ("widget", "html"):
            return words
        return {"text/html": self.still(), **words}


class Facts(Still):
    """A few named values under a title."""

    def __init__(self, title: str, facts: Mapping[str, Any]):
        self.title = title
        self.facts = {name: _plain(value) for name, value in facts.items()}

    def text(self) -> str:
        """Name and value, line by line."""
        width = max(map(len, self.facts), default=0)
        lines = (f"  {name:<{width}}  {value}" for name, value in self.facts.items())
        return "\n".join([self.title, *lines])

    def still(self) -> str:
        """The same as a table."""
        title = svg.tag("strong", svg.text(self.title))
        head = svg.tag("p", title, style="margin:4px 0")
        rows = ([name.replace("_", " "), value] for name, value in self.facts.items())
        return svg.tag("div", head, svg.table(["fact", "value"], rows, align="ll"))


def _plain(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(str(item) for item in value)
    return str(value)
