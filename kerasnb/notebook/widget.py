"""The base of live pictures: one `.py` and one `.js` of the same name, no build."""

import re
import uuid
from importlib import resources
from pathlib import Path
from typing import Any

from kerasnb.notebook import cells, svg

try:
    import anywidget
    import traitlets as traitlets
except ImportError as error:
    _missing: ImportError | None = error
else:
    _missing = None


class _StandIn:
    """What a widget is without anywidget: it explains itself when used."""

    def __init__(self, **traits: Any):
        raise ImportError(
            "Live pictures need the anywidget package: "
            'pip install "kerasnb[notebook]", then restart the kernel. '
            'Without it, kerasnb.config.display("html") draws still pictures.'
        ) from _missing


_Base: Any = _StandIn if _missing else anywidget.AnyWidget

_IMPORT = re.compile(r'^import \{[^}]*\} from "\./([\w.]+)";\n', re.MULTILINE)
_EXPORT = re.compile(r"^export (?=class|function|const|let)", re.MULTILINE)


def available() -> bool:
    """Whether live pictures can be made here (anywidget is installed)."""
    return _missing is None


def module(path: Path) -> str:
    """The JavaScript of a widget as one module.

    A widget's code reaches the page as a single text, so `import {...} from "./x.js"`
    is replaced by that file, once. The files stay plain modules for Node and editors.
    """
    inlined: set[str] = set()

    def whole(path: Path) -> str:
        inlined.add(path.name)
        return _IMPORT.sub(part, path.read_text(encoding="utf-8"))

    def part(match: re.Match[str]) -> str:
        if match[1] in inlined:
            return ""
        return _EXPORT.sub("", whole(path.with_name(match[1])))

    return whole(path)


def stylesheet(*names: str) -> str:
    """The named files of `themes/`, one after the other."""
    folder = resources.files(__package__) / "themes"
    return "".join((folder / f"{name}.css").read_text("utf-8") for name in names)


class Widget(_Base):
    """A live picture with a still twin.

    A subclass lives in a file next to its JavaScript (`panel.py`, `panel.js`), says so
    by `source=__file__`, names its `styles`, and answers `still()` and `text()` for
    places without a kernel.

    The notebook is given the still twin alone, under the widget's name; the page's code
    takes its place while the kernel lives (`mount.js`). A widget as an output of its
    own would leave "model not found" in every notebook that is opened again.
    """

    _sheet = _script = ""
    _esm = module(Path(__file__).with_name("load.js"))

    if available():
        _twin = traitlets.Unicode().tag(sync=True)
        _code = traitlets.Unicode().tag(sync=True)
        _style = traitlets.Unicode().tag(sync=True)
        _css = svg.theme()

    def __init_subclass__(cls, source: str = "", styles: tuple[str, ...] = ()):
        if source and available():
            cls._script = module(Path(source).with_suffix(".js"))
            cls._sheet = stylesheet("base", *styles)
        super().__init_subclass__()

    def __init__(self, **traits: Any):
        super().__init__(
            _twin=uuid.uuid4().hex, _code=self._script, _style=self._sheet, **traits
        )
        cells.draws(self)

    def close(self) -> None:
        """Leave the kernel; the page goes back to the still twin."""
        layout = self._trait_values.get("layout")
        super().close()
        if layout is not None:
            layout.close()

    def still(self) -> str:
        """The picture as HTML without scripts; unless overridden, the words."""
        return svg.tag("pre", svg.text(self.text()))

    def text(self) -> str:
        """The picture in words, the same each time for the same content."""
        return type(self).__name__

    def __repr__(self) -> str:
        return self.text()

    def bundle(self) -> dict[str, str]:
        """What an output of the notebook holds: the still twin and the words."""
        twin = svg.tag("div", self.still(), data_knb=self._twin)
        return {"text/html": twin, "text/plain": self.text()}

    def _repr_mimebundle_(self, **options: Any) -> dict[str, str]:
        return self.bundle()
