"""pyproject.toml: the wheel holds the whole package and says its version"""

import zipfile
from pathlib import Path

import pytest
from hatchling.builders.wheel import WheelBuilder

import kerasnb

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel of this tree, opened."""
    folder = tmp_path_factory.mktemp("dist")
    (path,) = WheelBuilder(str(ROOT)).build(directory=str(folder))
    with zipfile.ZipFile(path) as archive:
        yield archive


def test_the_wheel_holds_every_file_of_the_package(wheel):
    ours = {
        str(path.relative_to(ROOT).as_posix())
        for path in (ROOT / "kerasnb").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert ours - set(wheel.namelist()) == set()
    assert {"kerasnb/datasets/digits28.npz", "kerasnb/py.typed"} <= ours
    assert any(name.endswith(".js") for name in ours)


def test_the_wheel_holds_nothing_but_the_package(wheel):
    assert {name.split("/")[0] for name in wheel.namelist()} == {
        "kerasnb",
        f"kerasnb-{kerasnb.__version__}.dist-info",
    }


def test_the_wheel_carries_both_licences(wheel):
    licences = {name for name in wheel.namelist() if "/licenses/" in name}
    assert {name.rpartition("/")[2] for name in licences} == {
        "LICENSE",
        "LICENSE-digits.txt",
    }
