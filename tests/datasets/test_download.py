"""kerasnb.datasets.download"""

import hashlib
import inspect
import io
import os
import stat
import sys
import tarfile
import zipfile
from pathlib import Path

import keras
import pytest

from kerasnb.datasets import download
from kerasnb.datasets.download import get_file

CONTENT = bytes(range(256)) * 2000
SHA256 = hashlib.sha256(CONTENT).hexdigest()
MD5 = hashlib.md5(CONTENT).hexdigest()


def leftovers(folder):
    """Files in the cache that are neither a finished download nor a folder of it."""
    return list(folder.rglob("*.part*"))


def tar_of(members):
    """A tar.gz with `members`: names to bytes, or to a ready TarInfo."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, content in members.items():
            if isinstance(content, tarfile.TarInfo):
                archive.addfile(content)
                continue
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def zip_of(members):
    """A zip with `members`, names to bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def link(name, to, kind):
    """A link as a tar member."""
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, str(to)
    return info


def test_get_file_takes_the_arguments_of_keras_in_their_order():
    ours = inspect.signature(get_file).parameters
    theirs = inspect.signature(keras.utils.get_file).parameters
    assert [(p.name, p.default) for p in ours.values()] == [
        (p.name, p.default) for p in theirs.values()
    ]


def test_a_download_lands_in_the_cache_and_is_not_repeated(site, cache):
    site.files["numbers.bin"] = CONTENT
    first = get_file(origin=f"{site.url}numbers.bin?version=2", file_hash=SHA256)
    again = get_file(origin=f"{site.url}numbers.bin?version=2", file_hash=SHA256)
    assert first == again == str(cache / "datasets" / "numbers.bin")
    with open(first, "rb") as file:
        assert file.read() == CONTENT
    assert site.asked == ["numbers.bin"]


@pytest.mark.parametrize(
    ("given", "kwargs"),
    [
        ("plain", {}),
        ("renamed", {"fname": "other.bin"}),
        ("subdir", {"cache_subdir": "deep/er"}),
        ("dotted archive", {"fname": "a.tar.gz", "extract": True}),
        ("bare archive", {"fname": "a", "extract": True}),
        ("unnamed archive", {"extract": True}),
        ("untar", {"fname": "a", "untar": True}),
        ("tar only", {"extract": True, "archive_format": ["zip", "tar"]}),
    ],
)
def test_files_lie_where_keras_puts_them(site, tmp_path, given, kwargs):
    site.files["data.tar.gz"] = tar_of({"a.txt": b"a", "sub/b.txt": b"b"})
    trees = {}
    for who, function in (("ours", get_file), ("theirs", keras.utils.get_file)):
        home = tmp_path / who
        home.mkdir()
        path = function(origin=f"{site.url}data.tar.gz", cache_dir=str(home), **kwargs)
        trees[who] = (
            Path(path).relative_to(home),
            {
                str(p.relative_to(home)): p.read_bytes()
                for p in home.rglob("*")
                if p.is_file()
            },
        )
    assert trees["ours"] == trees["theirs"]


def test_a_file_that_keras_downloaded_is_used(site, cache):
    site.files["numbers.bin"] = CONTENT
    cache.mkdir()
    origin = f"{site.url}numbers.bin"
    theirs = keras.utils.get_file(origin=origin, cache_dir=str(cache))
    assert get_file(origin=origin, file_hash=SHA256) == theirs
    assert site.asked == ["numbers.bin"]


@pytest.mark.parametrize(
    "hashes",
    [
        {"file_hash": SHA256},
        {"file_hash": SHA256.upper()},
        {"file_hash": MD5},
        {"md5_hash": MD5},
        {"file_hash": SHA256, "hash_algorithm": "sha256"},
        {"file_hash": MD5, "hash_algorithm": "md5"},
    ],
)
def test_a_right_hash_is_accepted(site, cache, hashes):
    site.files["numbers.bin"] = CONTENT
    assert get_file(origin=f"{site.url}numbers.bin", **hashes).endswith("numbers.bin")


def test_a_wrong_hash_throws_the_download_away(site, cache):
    site.files["numbers.bin"] = CONTENT + b"x"
    with pytest.raises(ValueError, match="was thrown away") as caught:
        get_file(origin=f"{site.url}numbers.bin", file_hash=SHA256)
    assert SHA256 in str(caught.value) and site.url in str(caught.value)
    assert [p for p in cache.rglob("*") if p.is_file()] == []


@pytest.mark.parametrize("fault", ["hash", "broken", "offline"])
def test_a_failed_second_download_keeps_the_good_file(site, cache, fault):
    site.files["numbers.bin"] = CONTENT
    path = get_file(origin=f"{site.url}numbers.bin", file_hash=SHA256)
    if fault == "hash":
        site.files["numbers.bin"] = CONTENT[::-1]
    elif fault == "broken":
        site.broken.add("numbers.bin")
    else:
        del site.files["numbers.bin"]
    expected = {"hash": "thrown away", "broken": "ended after", "offline": "HTTP 404"}
    with pytest.raises((OSError, ValueError), match=expected[fault]):
        get_file(origin=f"{site.url}numbers.bin", file_hash=SHA256, force_download=True)
    with open(path, "rb") as file:
        assert file.read() == CONTENT
    assert leftovers(cache) == []


def test_a_damaged_file_in_the_cache_is_replaced(site, cache, capsys):
    site.files["numbers.bin"] = CONTENT
    (cache / "datasets").mkdir(parents=True)
    (cache / "datasets" / "numbers.bin").write_bytes(CONTENT[:1000])
    path = get_file(origin=f"{site.url}numbers.bin", file_hash=SHA256)
    with open(path, "rb") as file:
        assert file.read() == CONTENT
    assert "downloading it again" in capsys.readouterr().err


def test_a_connection_that_drops_half_way_leaves_nothing(site, cache):
    site.files["numbers.bin"] = CONTENT
    site.broken.add("numbers.bin")
    with pytest.raises(OSError, match=r"ended after 256000 of 512000 bytes"):
        get_file(origin=f"{site.url}numbers.bin")
    assert [p for p in cache.rglob("*") if p.is_file()] == []


def test_an_interrupted_download_leaves_nothing(site, cache, monkeypatch):
    site.files["numbers.bin"] = CONTENT

    def interrupt(self, done):
        raise KeyboardInterrupt

    monkeypatch.setattr("kerasnb.datasets.download._Progress.update", interrupt)
    with pytest.raises(KeyboardInterrupt):
        get_file(origin=f"{site.url}numbers.bin")
    assert [p for p in cache.rglob("*") if p.is_file()] == []


@pytest.mark.parametrize(
    ("origin", "reason"),
    [
        ("http://127.0.0.1:9/numbers.bin", "Connection refused"),
        ("{site}missing.bin", "HTTP 404"),
        ("numbers.bin", "unknown url type"),
    ],
)
def test_a_download_that_cannot_be_had_says_what_to_do(site, cache, origin, reason):
    with pytest.raises(OSError, match=reason) as caught:
        get_file("here.bin", origin.format(site=site.url))
    text = str(caught.value)
    assert str(cache / "datasets" / "here.bin") in text
    assert "by hand" in text and text.count("\n") == 0
    assert [p for p in cache.rglob("*") if p.is_file()] == []


@pytest.mark.parametrize(
    ("kwargs", "words"),
    [
        ({}, "`origin` must be the URL of a file"),
        ({"origin": "http://127.0.0.1:9/"}, "`fname` must be a file name"),
        (
            {"origin": "http://127.0.0.1:9/a", "fname": "../a"},
            "`fname` must be a file name",
        ),
    ],
)
def test_bad_arguments_are_named(cache, kwargs, words):
    with pytest.raises(ValueError, match=words):
        get_file(**kwargs)


def test_an_unknown_hash_algorithm_or_archive_format_is_named(site, cache):
    site.files["a.tar.gz"] = tar_of({"a": b"a"})
    with pytest.raises(ValueError, match='`hash_algorithm` must be "auto", "sha256"'):
        get_file(origin=f"{site.url}a.tar.gz", file_hash="0", hash_algorithm="sha1")
    with pytest.raises(ValueError, match='`archive_format` must be "auto", "tar"'):
        get_file(origin=f"{site.url}a.tar.gz", extract=True, archive_format="rar")


@pytest.mark.parametrize("make", [tar_of, zip_of])
@pytest.mark.parametrize(
    "name", ["../evil.txt", "/evil.txt", "a/../../evil.txt", "..\\evil.txt", "C:evil"]
)
def test_an_archive_with_a_member_outside_is_refused_whole(site, cache, make, name):
    site.files["pack"] = make({"good.txt": b"good", name: b"evil"})
    with pytest.raises(ValueError, match="outside"):
        get_file("pack", f"{site.url}pack", extract=True)
    written = [p.name for p in cache.parent.rglob("*") if p.is_file()]
    assert written == ["pack_archive"]


@pytest.mark.parametrize("kind", ["tar", "zip"])
def test_an_archive_that_unfolds_to_too_much_is_refused(site, cache, kind, monkeypatch):
    monkeypatch.setattr(download, "_BOMB_FLOOR", 1 << 20)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("zeros", bytes(1 << 23))
    packed = {"tar": tar_of({"zeros": bytes(1 << 23)}), "zip": buffer.getvalue()}
    site.files["pack"] = packed[kind]
    with pytest.raises(ValueError, match=r"it holds .* KB and would take 8\.00 MB"):
        get_file("pack", f"{site.url}pack", extract=True)
    assert leftovers(cache) == []


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE])
@pytest.mark.parametrize("to", ["../../secret.txt", "{absolute}"])
def test_a_link_that_leads_out_of_an_archive_is_refused(site, cache, kind, to):
    secret = cache.parent / "secret.txt"
    secret.write_text("old")
    to = to.format(absolute=secret)
    site.files["pack"] = tar_of(
        {"way": link("way", to, kind), "way2": b"", "good.txt": b"good"}
    )
    with pytest.raises(ValueError, match="could not be extracted"):
        get_file("pack", f"{site.url}pack", extract=True)
    assert not (cache / "datasets" / "pack").exists() and secret.read_text() == "old"
    assert leftovers(cache) == []


def test_a_link_inside_an_archive_is_kept(site, cache):
    members = {"a.txt": b"a", "b.txt": link("b.txt", "a.txt", tarfile.SYMTYPE)}
    site.files["pack.tar.gz"] = tar_of(members)
    folder = get_file("pack.tar.gz", f"{site.url}pack.tar.gz", extract=True)
    with open(f"{folder}/b.txt", "rb") as file:
        assert file.read() == b"a"


def test_a_damaged_archive_leaves_no_half_of_a_folder(site, cache):
    whole = tar_of({f"{i}.bin": os.urandom(20_000) for i in range(20)})
    site.files["pack"] = whole[: len(whole) // 2]
    with pytest.raises(ValueError, match="could not be extracted"):
        get_file("pack", f"{site.url}pack", extract=True)
    assert not (cache / "datasets" / "pack").exists() and leftovers(cache) == []


def test_extracting_anew_keeps_files_that_the_user_put_there(site, cache):
    site.files["pack"] = zip_of({"a.txt": b"1"})
    folder = cache / "datasets" / "pack"
    get_file("pack", f"{site.url}pack", extract=True)
    (folder / "mine.txt").write_text("mine")
    site.files["pack"] = zip_of({"a.txt": b"2"})
    get_file("pack", f"{site.url}pack", extract=True, force_download=True)
    assert (folder / "a.txt").read_bytes() == b"2"
    assert (folder / "mine.txt").read_text() == "mine"


def test_a_file_that_is_no_archive_is_reported(site, cache):
    site.files["plain.bin"] = CONTENT
    with pytest.warns(UserWarning, match="nothing was extracted"):
        get_file(origin=f"{site.url}plain.bin", extract=True)


def test_a_cache_that_cannot_be_written_is_read_and_not_filled(
    site, tmp_path, monkeypatch
):
    shelf, spare = tmp_path / "shelf", tmp_path / "spare"
    (shelf / "datasets").mkdir(parents=True)
    (shelf / "datasets" / "have.bin").write_bytes(b"have")
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(spare))
    monkeypatch.setattr("os.access", lambda path, mode: mode != os.W_OK)
    site.files.update({"have.bin": b"other", "want.bin": b"want"})
    have = get_file(origin=f"{site.url}have.bin", cache_dir=shelf)
    want = get_file(origin=f"{site.url}want.bin", cache_dir=shelf)
    assert have == str(shelf / "datasets" / "have.bin") and site.asked == ["want.bin"]
    assert want == str(spare / ".keras" / "datasets" / "want.bin")


def test_a_downloaded_file_can_be_read_by_others_when_the_umask_says_so(site, cache):
    site.files["numbers.bin"] = CONTENT
    before = os.umask(0o022)
    try:
        path = get_file(origin=f"{site.url}numbers.bin")
    finally:
        os.umask(before)
    assert stat.S_IMODE(Path(path).stat().st_mode) == 0o644


def test_progress_goes_to_standard_error_in_a_few_lines(site, cache, capsys):
    site.files["numbers.bin"] = CONTENT
    get_file(origin=f"{site.url}numbers.bin")
    captured = capsys.readouterr()
    lines = captured.err.splitlines()
    assert captured.out == "" and 1 < len(lines) <= 5
    assert lines[-1] == "numbers.bin: 0.5 of 0.5 MB"


def test_progress_on_a_terminal_is_one_line_that_changes(site, cache, monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    monkeypatch.setattr(sys, "stderr", Terminal())
    site.files["numbers.bin"] = CONTENT
    get_file(origin=f"{site.url}numbers.bin")
    text = sys.stderr.getvalue()
    assert text.startswith("\r") and text.count("\n") == 1 and text.endswith("\n")


def test_a_program_without_a_console_can_download(site, cache, monkeypatch):
    monkeypatch.setattr(sys, "stderr", None)
    site.files["numbers.bin"] = CONTENT
    assert get_file(origin=f"{site.url}numbers.bin").endswith("numbers.bin")
