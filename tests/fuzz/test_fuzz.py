"""A short part of `make fuzz`, always the same, and the tools it is made of."""

import json

import pytest

from kerasnb import saving
from tests.fuzz import cases

COUNT = 300


@pytest.fixture(scope="module")
def seeds(tmp_path_factory):
    folder = tmp_path_factory.mktemp("seeds")
    cases.write_seeds(folder)
    return folder


def test_files_made_wrong_are_refused_in_a_sentence_or_are_models(seeds):
    verdicts = [cases.judge(seed, seeds) for seed in range(1, COUNT + 1)]
    assert [(v.seed, v.kind, v.fault) for v in verdicts if v.fault] == []
    outcomes = {v.outcome for v in verdicts}
    assert outcomes == {"refused", "loaded", "predicted"}


def test_the_files_before_they_are_made_wrong_are_read(seeds):
    for name, _, _ in cases._KINDS:
        assert cases._load(seeds / name, seed=1) == "loaded"


def test_a_case_is_the_same_whenever_it_is_made(seeds):
    for seed in range(20):
        assert cases.make_case(seed, seeds) == cases.make_case(seed, seeds)


FAULTS = {
    "a crash": (ZeroDivisionError("x"), "ZeroDivisionError"),
    "several lines": (ValueError("one\ntwo"), "not one sentence"),
    "a long error": (ValueError("x" * 700), "700 letters"),
    "an error without words": (ValueError(""), "without a message"),
    "something for the terminal": (ValueError("\x1b[2J"), "not printable"),
}


@pytest.mark.parametrize(("error", "fault"), FAULTS.values(), ids=FAULTS)
def test_a_fault_is_seen(error, fault, seeds, monkeypatch):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr(saving, "load_model", fail)
    seed = next(s for s in range(99) if "keras" in cases.make_case(s, seeds)[0])
    assert fault in cases.judge(seed, seeds).fault


def test_a_hang_and_a_bomb_are_seen(seeds, monkeypatch):
    def hang(*_):
        while True:
            json.dumps("")

    seed = next(s for s in range(99) if "keras" in cases.make_case(s, seeds)[0])
    monkeypatch.setattr(cases, "SECONDS", 0.1)
    monkeypatch.setattr(cases, "_load", hang)
    assert "more than 0.1 s" in cases.judge(seed, seeds).fault
    monkeypatch.setattr(cases, "SECONDS", 60.0)
    monkeypatch.setattr(cases, "MEMORY", 1 << 20)
    monkeypatch.setattr(cases, "_load", lambda *_: str(len(b"x" * (1 << 28))))
    assert "MiB for" in cases.judge(seed, seeds).fault
