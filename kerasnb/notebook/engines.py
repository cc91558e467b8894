"""A cluster as a table of its engines."""

from collections.abc import Callable
from typing import Any

from kerasnb.notebook import svg
from kerasnb.notebook.facts import text_table

_HEAD = ("engine", "host", "devices", "state", "memory")


def picture_of_cluster(cluster: Any) -> tuple[Callable[[], str], Callable[[], str]]:
    """Text and HTML: which engines there are, where, and how they are."""
    title = repr(cluster).strip("<>").removeprefix("Cluster: ")

    def rows() -> list[tuple[str, ...]]:
        return [
            (
                str(row["engine"]),
                row["host"],
                ", ".join(row["devices"]),
                row["state"],
                _size(row["memory"]),
            )
            for row in cluster.status
        ]

    def text() -> str:
        return f"Cluster of {title}\n{text_table(_HEAD, rows())}"

    def still() -> str:
        head = svg.tag(
            "p",
            svg.tag("strong", svg.text("Cluster")),
            svg.text(f" · {title}"),
            style="margin:4px 0",
        )
        return svg.tag("div", head, svg.table(_HEAD, rows(), align="llll"))

    return text, still


def _size(count: int | None) -> str:
    return "" if count is None else f"{count / 1e6:,.0f} MB"
