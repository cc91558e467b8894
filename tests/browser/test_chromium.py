"""tests.browser.chromium: a browser is found, installed, or asked for in words"""

import os

import pytest

from tests.browser import chromium


@pytest.fixture
def bare(tmp_path, monkeypatch):
    """A machine without a browser; `apt-get install` there makes a Chromium."""
    apt = tmp_path / "apt-get"
    browser = tmp_path / "chromium"
    apt.write_text(
        f'#!/bin/sh\necho "$@" >> {tmp_path}/calls\n'
        f'case "$*" in *install*) echo > {browser}; /bin/chmod +x {browser};; esac\n'
    )
    apt.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("KERASNB_CHROMIUM", raising=False)
    monkeypatch.setattr(chromium, "_find_playwrights", lambda: None)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    return tmp_path


def test_root_installs_chromium_once(bare, capsys):
    assert chromium.main() == 0 and chromium.main() == 0
    calls = (bare / "calls").read_text().splitlines()
    assert [call.split()[3] for call in calls] == ["update", "install"]
    assert str(bare / "chromium") in capsys.readouterr().out


def test_anyone_else_is_told_what_to_install(bare, monkeypatch, capsys):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert chromium.main() == 1
    words = capsys.readouterr().err
    assert "apt-get install chromium" in words and "KERASNB_CHROMIUM" in words
    assert not (bare / "calls").exists()


def test_a_browser_that_is_named_and_not_there_is_reported(bare, monkeypatch, capsys):
    monkeypatch.setenv("KERASNB_CHROMIUM", str(bare / "nowhere"))
    assert chromium.main() == 1
    assert "browser tests need Chromium" in capsys.readouterr().err
