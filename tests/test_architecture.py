"""The plan of the house: rooms in order, one-way doors, a light import, words."""

import ast
import importlib
import inspect
import os
import pkgutil
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "kerasnb"

# A room imports from its own floor and from those above it, never from one below.
FLOORS = (
    {"core"},
    {"config", "backend", "dtype_policies", "tree"},
    {"random"},
    {"distribution", "ops"},
    {"initializers", "activations", "regularizers", "constraints", "quantizers"},
    {"layers"},
    {"losses", "metrics", "optimizers"},
    {"saving", "mixed_precision"},
    {"callbacks"},
    {"runs"},
    {"training"},
    {"export"},
    {"models"},
    {"datasets", "tune", "utils", "wrappers"},
    {"applications", "cluster"},
    {"notebook"},
    {""},  # kerasnb/__init__.py, which names what the others hold
)

# Imports inside functions, each with its reason; nothing else may import late.
LATE = {
    ("kerasnb", "kerasnb.notebook"): "`%load_ext kerasnb` opens the last room",
    (
        "kerasnb.models.model",
        "kerasnb.models.functional",
    ): "`Model(inputs, outputs)` is a Functional, and a Functional is a Model",
    (
        "kerasnb.models.model",
        "kerasnb.models.code",
    ): "`Model.to_code` writes out the graph of a Functional",
    (
        "kerasnb.wrappers",
        "kerasnb.wrappers.estimators",
    ): "its classes are scikit-learn's, which is imported with it",
}

# Only the notebook's room may know these; a server has none of them.
JUPYTER = {
    "IPython",
    "anywidget",
    "comm",
    "ipykernel",
    "ipywidgets",
    "matplotlib",
    "traitlets",
}

OPTIONAL = "flax h5py ipyparallel keras pandas sklearn tensorflow torch"
HEAVY = JUPYTER | set(OPTIONAL.split())


class Import(NamedTuple):
    """`line` of `importer` imports `imported`, inside a function if `late`."""

    importer: str
    imported: str
    line: int
    late: bool

    def __str__(self) -> str:
        return f"{self.importer}:{self.line} imports {self.imported}"


# --- Reading the source ------------------------------------------------------------


@cache
def modules() -> dict[str, Path]:
    """Every module of the package and its file."""
    return {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(
            ".__init__"
        ): path
        for path in sorted(PACKAGE.rglob("*.py"))
    }


@cache
def imports() -> list[Import]:
    """Every import of the package, but for those that only a type checker sees."""
    return [found for name in modules() for found in _imports_of(name)]


def _imports_of(name: str) -> Iterator[Import]:
    def walk(node: ast.AST, late: bool) -> Iterator[Import]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
                for other in child.orelse:
                    yield from walk(other, late)
            elif isinstance(child, ast.Import):
                for alias in child.names:
                    yield Import(name, alias.name, child.lineno, late)
            elif isinstance(child, ast.ImportFrom):
                assert child.level == 0, f"{name}:{child.lineno} imports relatively"
                for alias in child.names:
                    full = f"{child.module}.{alias.name}"
                    imported = full if full in modules() else str(child.module)
                    yield Import(name, imported, child.lineno, late)
            else:
                if isinstance(child, ast.Call) and _imports_by_name(child):
                    target = ast.literal_eval(child.args[0])
                    yield Import(name, target, child.lineno, True)
                function = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef)
                yield from walk(child, late or function)

    yield from walk(ast.parse(modules()[name].read_text(encoding="utf-8")), False)


def _imports_by_name(call: ast.Call) -> bool:
    function = ast.unparse(call.func).rpartition(".")[2]
    literal = bool(call.args) and isinstance(call.args[0], ast.Constant)
    return function in ("optional", "import_module") and literal


def room(module: str) -> str:
    """`kerasnb.layers.dense` is in the room `layers`."""
    return [*module.split("."), ""][1]


def floor(module: str) -> int:
    """How far down the room of a module lies."""
    return next(i for i, rooms in enumerate(FLOORS) if room(module) in rooms)


def inside() -> list[Import]:
    """The imports of the package from itself."""
    return [i for i in imports() if i.imported.split(".")[0] == "kerasnb"]


def tracked() -> list[Path]:
    """The files under version control, or about to be."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    ).stdout.decode()
    paths = {ROOT / name for name in listed.split("\0") if name}
    return sorted(path for path in paths if path.is_file())


# --- The order of the rooms --------------------------------------------------------


def test_every_room_is_in_the_plan():
    planned = set().union(*FLOORS)
    assert {room(name) for name in modules()} <= planned


def test_a_room_imports_only_from_rooms_above_it():
    wrong = [
        str(i)
        for i in inside()
        if floor(i.imported) > floor(i.importer)
        and (i.importer, i.imported) not in LATE
    ]
    assert not wrong, "\n".join(wrong)


def test_functions_import_from_the_package_only_where_listed():
    late = {(i.importer, i.imported): str(i) for i in inside() if i.late}
    wrong = [text for pair, text in late.items() if pair not in LATE]
    assert not wrong, "\n".join(wrong)
    assert set(LATE) - set(late) == set(), "listed in LATE, and no longer there"


def test_no_modules_import_each_other_in_a_circle():
    graph: dict[str, set[str]] = {name: set() for name in modules()}
    for found in inside():
        if (found.importer, found.imported) not in LATE:
            graph[found.importer].add(found.imported)
    done: set[str] = set()

    def visit(name: str, path: tuple[str, ...]) -> None:
        assert name not in path, " -> ".join((*path[path.index(name) :], name))
        if name in done:
            return
        for imported in sorted(graph[name]):
            visit(imported, (*path, name))
        done.add(name)

    for name in graph:
        visit(name, ())


def test_only_the_notebook_knows_jupyter():
    wrong = [
        str(i)
        for i in imports()
        if i.imported.split(".")[0] in JUPYTER and room(i.importer) != "notebook"
    ]
    assert not wrong, "\n".join(wrong)


# --- A light import ----------------------------------------------------------------


def test_importing_the_package_loads_nothing_heavy():
    code = "import sys, kerasnb; print(*{m.partition('.')[0] for m in sys.modules})"
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"}
    run = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env=environment,
        check=True,
    )
    loaded = set(run.stdout.split())
    assert "kerasnb" in loaded and loaded & HEAVY == set()


# --- Documentation -----------------------------------------------------------------


def public_names() -> Iterator[tuple[str, object]]:
    """What a user can reach as `kerasnb.<room>.<name>`, and the modules themselves."""
    for found in pkgutil.iter_modules([str(PACKAGE)], "kerasnb."):
        if found.name.rpartition(".")[2].startswith("_"):
            continue
        namespace = importlib.import_module(found.name)
        yield found.name, namespace
        for name in getattr(namespace, "__all__", vars(namespace)):
            value = getattr(namespace, name)
            if not name.startswith("_") and callable(value):
                yield f"{found.name}.{name}", value


def test_every_public_name_is_documented():
    bare = [
        name
        for name, value in public_names()
        if not (value.__doc__ if inspect.isclass(value) else inspect.getdoc(value))
    ]
    assert not bare, "\n".join(bare)


def test_every_module_opens_with_a_docstring():
    texts = {name: path.read_text(encoding="utf-8") for name, path in modules().items()}
    bare = [
        name for name, text in texts.items() if not ast.get_docstring(ast.parse(text))
    ]
    assert not bare, "\n".join(bare)


def test_the_room_map_of_the_contributing_page_is_right():
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    table = [line for line in text.splitlines() if line.startswith("| `kerasnb/")]
    mapped = [
        path for row in table for path in re.findall(r"`([^`]+)`", row.split("|")[1])
    ]
    assert [path for path in mapped if not (ROOT / path).exists()] == []
    rooms = {path.removeprefix("kerasnb/").strip("/") for path in mapped}
    missing = (
        {room(name) for name in modules()}
        - {""}
        - {entry.removesuffix(".py") for entry in rooms}
    )
    assert missing == set()


# --- Files -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "pattern",
    [
        r"(?<![\w.~/-])/(?:work|root|farm|home/\w+|Users/\w+)/",
        r"/tmp/ipykernel_\d+",
        r"\b[A-Z]:\\\\?Users\\",
    ],
)
def test_no_file_names_a_path_of_one_machine(pattern):
    wrong = []
    for path in tracked():
        content = path.read_bytes()
        if path == Path(__file__) or b"\0" in content:
            continue
        for number, line in enumerate(content.decode("utf-8").splitlines(), 1):
            if found := re.search(pattern, line):
                wrong.append(f"{path.relative_to(ROOT)}:{number} {found[0]}")
    assert not wrong, "\n".join(wrong)
