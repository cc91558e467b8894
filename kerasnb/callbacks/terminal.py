"""The last line of a terminal, redrawn in place while all other text goes above it."""

import os
import re
import shutil
import sys
import threading
import unicodedata
from typing import Any

_PAINT = re.compile(r"\x1b\[[\d;]*m")
_STYLES = {"strong": "1", "faint": "2", "busy": "36", "done": "32"}


class Line:
    """One line of `sys.stdout` that can be replaced.

    While it is shown, what anybody prints erases it first, so that nothing runs into
    it; the next `draw` puts it below.
    """

    def __init__(self) -> None:
        self._cells = 0  # how long it is on the screen
        self._unended = False  # somebody's print has not ended its own line
        self._stream: Any = None
        self._guards: list[tuple[str, Guard]] = []
        self._lock = threading.RLock()

    def draw(self, text: str) -> None:
        """Show `text` in place of what the line was."""
        with self._lock:
            self._guard()
            write(self._stream, self._replaced(text))

    def erase(self) -> None:
        """Take the line away, for other text to come."""
        with self._lock:
            if self._cells:
                write(self._stream, self._replaced(""))

    def leave(self, text: str) -> None:
        """Write `text`, of whole lines, where the line was, and be done."""
        with self._lock:
            stream = self._stream or sys.stdout
            write(stream, self._replaced("") + text)
            self.close()

    def close(self) -> None:
        """Be done; a line still shown stays as it is."""
        with self._lock:
            if self._cells and not getattr(self._stream, "closed", False):
                write(self._stream, "\n")
            self._cells = 0
            for name, guard in self._guards:
                guard.line = None  # whoever has got hold of it may keep it
                if getattr(sys, name) is guard:
                    setattr(sys, name, guard.stream)
            self._guards, self._stream, self._unended = [], None, False

    def above(self, stream: Any, text: str) -> int:
        """What somebody else prints meanwhile."""
        with self._lock:
            if text:
                self.erase()
                self._unended = not text.endswith("\n")
            return stream.write(text)

    def _guard(self) -> None:
        """Stand before the streams of the terminal until the line is closed."""
        if self._stream is not None:
            return
        self._stream = sys.stdout
        for name in ("stdout", "stderr"):
            stream = getattr(sys, name, None)
            if is_terminal(stream):
                self._guards.append((name, Guard(stream, self)))
                setattr(sys, name, self._guards[-1][1])

    def _replaced(self, text: str) -> str:
        """What to write so that `text` stands where the line was."""
        before, self._cells = self._cells, cells(text)
        ended, self._unended = "\n" * self._unended, False
        if not before:
            return ended + text
        if not understands_escapes():
            gap = " " * (before - self._cells)
            return f"\r{text}{gap}" + ("" if text else "\r")
        # A terminal that became narrower has broken the line into several.
        rows = (before - 1) // columns(self._stream)
        return (f"\x1b[{rows}A" if rows else "") + f"\r{text}\x1b[J"


class Guard:
    """Stands in for a stream and tells the line what is written to it."""

    def __init__(self, stream: Any, line: Line) -> None:
        self.stream = stream
        self.line: Line | None = line

    def write(self, text: str) -> int:
        """Write above the line."""
        if self.line is None:
            return self.stream.write(text)
        return self.line.above(self.stream, text)

    def writelines(self, lines: Any) -> None:
        """Write above the line."""
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


# --- What the terminal can do ---------------------------------------------------------


def is_terminal(stream: Any) -> bool:
    """Whether a person looks at what is written there."""
    try:
        return bool(stream.isatty())
    except (AttributeError, ValueError):  # not a file, or closed
        return False


def understands_escapes() -> bool:
    """Whether the cursor can be moved and text erased."""
    if os.name == "nt":
        return any(name in os.environ for name in ("WT_SESSION", "ANSICON", "TERM"))
    return os.environ.get("TERM", "dumb") not in ("", "dumb", "unknown")


def understands_colour() -> bool:
    """Whether to write in colour; `NO_COLOR` and `FORCE_COLOR` have the last word."""
    if os.environ.get("NO_COLOR"):
        return False
    if forced := os.environ.get("FORCE_COLOR"):
        return forced not in ("0", "false")
    return understands_escapes()


def columns(stream: Any) -> int:
    """How many characters fit into a line, now."""
    try:
        wide = os.get_terminal_size(stream.fileno()).columns
    except (AttributeError, OSError, ValueError):
        wide = 0
    return wide or shutil.get_terminal_size().columns or 80


def can_write(text: str, stream: Any) -> bool:
    """Whether the stream's encoding has these characters."""
    try:
        text.encode(getattr(stream, "encoding", None) or "utf-8")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


# --- Text -----------------------------------------------------------------------------


def cells(text: str) -> int:
    """How many columns a text takes: colours none, wide characters two.

    >>> cells("loss 0.1"), cells(paint("loss", "faint", True)), cells("損失")
    (8, 4, 4)
    """
    return sum(
        0 if unicodedata.combining(sign) else 1 + (_width(sign) in "WF")
        for sign in _PAINT.sub("", text)
    )


_width = unicodedata.east_asian_width


def paint(text: str, style: str, colour: bool) -> str:
    """The text in a style, where there is colour.

    Only the colours that every theme defines, so that it reads on light and dark.
    """
    return f"\x1b[{_STYLES[style]}m{text}\x1b[0m" if colour and text else text


def bar(share: float, width: int, colour: bool, stream: Any) -> str:
    """A bar of `width` columns, filled to `share` in steps of half a column.

    >>> bar(0.55, 10, False, None), bar(1, 4, False, None)
    ('━━━━━╸────', '━━━━')
    """
    lines = can_write("━╸─", stream)
    halves = int(2 * width * min(max(share, 0.0), 1.0))
    full, half = divmod(halves, 2)
    sign, tip, rest = ("━", "╸", "━" if colour else "─") if lines else ("=", ">", ".")
    filled = sign * full + tip * half
    style = "done" if share >= 1 else "busy"
    return paint(filled, style, colour) + paint(
        rest * (width - full - half), "faint", colour
    )


def write(stream: Any, text: str) -> None:
    """Write at once, with a question mark for what the encoding lacks."""
    encoding = getattr(stream, "encoding", None) or "utf-8"
    stream.write(text.encode(encoding, "replace").decode(encoding))
    stream.flush()
