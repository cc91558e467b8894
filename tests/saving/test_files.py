"""kerasnb.saving.files: what is written is whole, or what was there before"""

import builtins
import io
import os
import resource
import stat
import subprocess
import sys
import zipfile

import pytest

import kerasnb as nb
from kerasnb import layers
from kerasnb.saving import files
from kerasnb.saving.files import Replacing
from tests.models.zoo import build, chain

KINDS = ("m.keras", "m.weights.h5", "m.weights.json")


def _save(model, path, shard=100 / 1024**3):
    """Save in the way that the name of the file asks for."""
    if path.suffix == ".keras":
        model.save(path)
    elif path.suffix == ".json":
        model.save_weights(path, max_shard_size=shard)
    else:
        model.save_weights(path)


def _snapshot(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def saved(tmp_path):
    """A model, and a folder in which it has been saved in every way."""
    model, _ = build(chain)
    for name in KINDS:
        _save(model, tmp_path / name)
    return model, tmp_path


class _Boom(layers.Layer):
    """A layer that cannot be saved."""

    def __init__(self, error, **kwargs):
        super().__init__(**kwargs)
        self.error = error

    def call(self, x):
        return x

    def get_config(self):
        return {}

    def save_own_variables(self, store):
        raise self.error


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize(
    "error", [ValueError("no"), KeyboardInterrupt()], ids=["error", "stop"]
)
def test_a_layer_that_fails_leaves_everything_as_it_was(name, error, saved):
    _, folder = saved
    before = _snapshot(folder)
    model = nb.Sequential([nb.Input((2,)), _Boom(error)])
    with pytest.raises(type(error)):
        _save(model, folder / name)
    assert _snapshot(folder) == before


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("where", ["fsync", "replace"])
def test_an_interrupt_at_the_end_leaves_everything_as_it_was(
    name, where, saved, monkeypatch
):
    model, folder = saved
    before = _snapshot(folder)

    def stop(*args):
        raise KeyboardInterrupt

    if where == "fsync":
        monkeypatch.setattr(os, "fsync", stop)
    else:
        monkeypatch.setattr(type(folder), "replace", stop)
    with pytest.raises(KeyboardInterrupt):
        _save(model, folder / name)
    assert _snapshot(folder) == before


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("in_memory", [True, False], ids=["memory", "disk"])
def test_a_full_disk_leaves_everything_as_it_was(name, in_memory, saved, monkeypatch):
    _, folder = saved
    before = _snapshot(folder)
    if not in_memory:
        monkeypatch.setattr("kerasnb.saving.hdf5._IN_MEMORY", 0)
    large = nb.Sequential([nb.Input((512,)), layers.Dense(1024)], name="large")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, limits[1]))
    try:
        with pytest.raises(OSError, match="cannot write .*unchanged") as caught:
            _save(large, folder / name, shard=1.0)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert caught.value.errno is not None
    assert _snapshot(folder) == before


@pytest.mark.parametrize("name", KINDS)
def test_a_folder_that_may_not_be_written_to_is_named(name, saved, monkeypatch):
    model, folder = saved
    before, really = _snapshot(folder), os.open

    def refuse(path, flags, *args, **kwargs):
        if flags & os.O_CREAT:
            raise PermissionError(13, "Permission denied")
        return really(path, flags, *args, **kwargs)

    monkeypatch.setattr(os, "open", refuse)
    sentence = r"cannot write .*: permission denied.* Save to a folder that you may"
    with pytest.raises(PermissionError, match=sentence):
        _save(model, folder / name)
    monkeypatch.undo()
    assert _snapshot(folder) == before


def test_a_config_that_cannot_be_written_is_named_and_nothing_changes(saved):
    _, folder = saved
    before = _snapshot(folder)

    class Odd(layers.Layer):
        def call(self, x):
            return x

        def get_config(self):
            return {"handle": {1, 2}}

    model = nb.Sequential([nb.Input((2,)), Odd()])
    with pytest.raises(TypeError, match=r"\{1, 2\} cannot be written to a config"):
        model.save(folder / "m.keras")
    assert _snapshot(folder) == before


def test_a_missing_folder_is_named(tmp_path):
    model, _ = build(chain)
    with pytest.raises(FileNotFoundError, match="there is no folder .*nowhere"):
        model.save(tmp_path / "nowhere" / "m.keras")
    (tmp_path / "m.keras").mkdir()
    with pytest.raises(IsADirectoryError, match="it is a folder"):
        model.save(tmp_path / "m.keras")


def test_a_write_protected_file_is_not_replaced(tmp_path, monkeypatch):
    model, _ = build(chain)
    model.save(path := tmp_path / "m.keras")
    before = path.read_bytes()
    monkeypatch.setattr(os, "access", lambda *args: False)
    with pytest.raises(PermissionError, match="write-protected"):
        model.save(path)
    assert path.read_bytes() == before


def test_a_new_file_has_the_usual_permissions_and_an_old_one_keeps_its_own(tmp_path):
    model, _ = build(chain)
    (tmp_path / "plain").touch()
    model.save(path := tmp_path / "m.keras")
    mode = lambda p: stat.S_IMODE(p.stat().st_mode)  # noqa: E731
    assert mode(path) == mode(tmp_path / "plain")
    path.chmod(0o640)
    model.save(path)
    assert mode(path) == 0o640


def test_a_link_is_followed(tmp_path):
    model, _ = build(chain)
    (tmp_path / "there").mkdir()
    (link := tmp_path / "link.keras").symlink_to(tmp_path / "there" / "m.keras")
    model.save(link)
    assert link.is_symlink() and zipfile.is_zipfile(tmp_path / "there" / "m.keras")


_WRITER = """
import os, sys
from kerasnb.saving.files import Replacing
with Replacing("test") as files:
    files.open(sys.argv[1]).write(b"half")
    print("open", flush=True)
    sys.stdin.readline()
    os.kill(os.getpid(), 9)
"""


def test_what_a_killed_process_left_is_removed_by_the_next_to_write(tmp_path):
    path = tmp_path / "a"
    command = [sys.executable, "-c", _WRITER, str(path)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command, **pipes) as writer:
        assert writer.stdout.readline() == "open\n"
        (draft,) = tmp_path.iterdir()
        _write(tmp_path / "b", b"new")
        assert draft.exists()  # Its process is alive.
        writer.communicate("\n", timeout=60)
    assert draft.exists()
    (tmp_path / ".kerasnb-notes").write_text("no draft of ours")
    _write(tmp_path / "b", b"newer")
    assert _snapshot(tmp_path) == {"b": b"newer", ".kerasnb-notes": b"no draft of ours"}


def _write(path, content):
    with Replacing("test") as files, files.open(path) as file:
        file.write(content)


def test_a_draft_takes_its_place_like_a_file_that_was_opened(tmp_path):
    path = tmp_path / "a.keras"
    with Replacing("test") as files:
        draft = files.draft(path)
        assert draft.suffix == ".keras"
        draft.write_text("whole")
        assert not path.exists()
    assert _snapshot(tmp_path) == {"a.keras": b"whole"}


def test_several_files_take_their_places_together(tmp_path):
    (tmp_path / "a").write_text("old")

    def write_two_and_fail():
        with Replacing("test") as group:
            for name in "ab":
                with group.open(tmp_path / name) as file:
                    file.write(b"new")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        write_two_and_fail()
    assert _snapshot(tmp_path) == {"a": b"old"}


# --- overwrite=False ------------------------------------------------------------------


@pytest.mark.parametrize("name", KINDS[:2])
def test_an_existing_file_is_an_error_where_nobody_can_be_asked(
    name, saved, monkeypatch
):
    model, folder = saved
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    save = model.save if name.endswith("keras") else model.save_weights
    with pytest.raises(FileExistsError, match="exists already.*overwrite=True"):
        save(folder / name, overwrite=False)
    save(folder / f"new_{name}", overwrite=False)
    assert (folder / f"new_{name}").exists()


@pytest.mark.parametrize(
    ("answers", "written"), [(["what", "y"], True), (["n"], False)]
)
def test_at_a_terminal_the_user_is_asked(answers, written, saved, monkeypatch):
    model, folder = saved
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    given = iter(answers)
    monkeypatch.setattr(builtins, "input", lambda question: next(given))
    path = folder / "m.keras"
    path.write_bytes(b"old")
    model.save(path, overwrite=False)
    assert (path.read_bytes() != b"old") is written
    assert next(given, None) is None


def test_sizes_are_readable():
    assert files.readable_size(512) == "512.00 B"
    assert files.readable_size(1536) == "1.50 KB"
    assert files.readable_size(2**60) == "1024.00 PB"
