"""The benchmarks still run: every side of every workload trains for one small epoch."""

import dataclasses
import functools
import time

import jax
import keras
import numpy as np
import pytest

import kerasnb
from tests.benchmarks import rows, run, turns, workloads
from tests.benchmarks.handwritten import initial, make_epoch
from tests.benchmarks.rows import Row
from tests.benchmarks.turns import Budget

TINY = {
    name: dataclasses.replace(work, rows=5, batch=4)
    for name, work in workloads.TABLE.items()
    if "batch 128" not in name or work.kind == "cnn"
}


@pytest.mark.parity
@pytest.mark.parametrize("side", ["handwritten", "kerasnb", "keras", "flax"])
@pytest.mark.parametrize("name", TINY)
def test_every_side_trains(name, side):
    lap = workloads.SIDES[side](TINY[name])
    assert lap() > 0
    if isinstance(lap, workloads.Laps):
        lap.end()


@pytest.mark.parity
@pytest.mark.parametrize("name", TINY)
def test_all_sides_have_the_same_model(name):
    work = TINY[name]
    _, params, _ = initial(work.kind, work.sizes)
    count = sum(a.size for a in jax.tree.leaves(params))
    for library in (kerasnb, keras):
        model = workloads.build(library, work)
        assert sum(int(np.prod(w.shape)) for w in model.trainable_weights) == count


def test_the_tabular_model_learns_by_hand():
    work = workloads.TABLE["tabular 1000x8, batch 32"]
    x, _ = work.data()
    epoch, state = make_epoch("dense", x, np.float32(x[:, 0] > 0.5), 32, work.sizes)
    losses = []
    for _ in range(5):
        state, loss, right = epoch(state)
        losses.append(loss)
    assert losses[-1] < losses[0] and 0 < right <= 1


def test_a_whole_fit_gives_the_time_of_an_epoch(monkeypatch):
    monkeypatch.setattr(workloads, "MANY", 4)
    work = TINY["tabular 1000x8, batch 32"]
    for looks in (False, True):
        assert isinstance(workloads.whole(kerasnb, work, looks)(), float)


# --- Turns ----------------------------------------------------------------------------


class Held:
    """A lap that holds something until its end."""

    def __init__(self, broken=False):
        self.broken, self.ended = broken, 0

    def __call__(self):
        if self.broken:
            raise ValueError("no | memory\nleft")
        return 0.5

    def end(self):
        self.ended += 1


def test_a_side_that_fails_leaves_the_others_their_figures():
    ours, broken, other = Held(), Held(broken=True), Held()
    sides = {"kerasnb": ours, "keras": broken, "flax": other}
    figures = turns.race({n: lambda s=s: s for n, s in sides.items()}, Budget(2, 2, 1))
    assert figures == {
        "kerasnb, ms": [500.0, 500.0],
        "flax": [1.0, 1.0],
        "keras": "failed: ValueError: no / memory left",
    }
    assert [side.ended for side in sides.values()] == [1, 1, 1]


def test_where_ours_fails_so_does_the_row_and_all_is_let_go():
    ours, other = Held(broken=True), Held()
    with pytest.raises(ValueError, match="memory"):
        turns.race({"kerasnb": lambda: ours, "keras": lambda: other}, Budget())
    assert ours.ended == 1


def test_laps_end_when_time_is_up_but_not_below_the_fewest():
    assert list(Budget(most=9, fewest=3, seconds=0).laps()) == [0, 1, 2]
    assert list(Budget(most=4, fewest=3, seconds=60).laps()) == [0, 1, 2, 3]


def test_a_fit_that_fails_in_its_thread_is_told_each_time_it_is_asked():
    work = TINY["tabular 1000x8, batch 32"]
    lap = workloads.Laps(kerasnb, work, validation_split=7)
    for _ in range(2):
        with pytest.raises(ValueError, match="validation_split"):
            lap()
    lap.end()


# --- The page -------------------------------------------------------------------------

FIGURES = {"kerasnb, ms": [1.0, 2.0], "keras": [0.4, 0.5, 0.6], "flax": "failed: x"}


@pytest.fixture
def page(tmp_path, monkeypatch):
    """Two rows in place of all, and files in place of the real ones."""
    targets = {"keras": 0.5, "flax": 1.0, "handwritten": 1.0}
    section = {"good": Row(lambda budget: FIGURES, targets), "bad": Row(broken, {})}
    monkeypatch.setattr(run, "SECTIONS", {"A section": section})
    monkeypatch.setattr(run, "RESULTS", tmp_path / "RESULTS.md")
    monkeypatch.setattr(run, "KEPT", tmp_path / "build" / "kept.json")
    monkeypatch.setattr(run, "ROOT", tmp_path)
    monkeypatch.setattr("sys.argv", ["run"])
    return run


def broken(budget):
    raise MemoryError("too large")


def here(title, quick, also, page):
    """A row measured in this process."""
    out = page.KEPT.parent / "out.json"
    page.measure(title, Budget(), out)
    return {"load": [0.5, 1.0], "others": 0.25, "seconds": 1.0} | run.json.loads(
        out.read_text()
    )


def test_a_row_that_fails_says_so_and_the_others_stay(page, monkeypatch):
    monkeypatch.setattr(page, "measured", functools.partial(here, page=page))
    page.main()
    text = page.RESULTS.read_text()
    assert "| good | 1 | **0.50** (0.45 to 0.55) | failed: x | 0.5 to 1.0, " in text
    assert "| bad | failed: MemoryError: too large |" in text
    assert "1 of 3 are met." in text
    assert "| good | keras | **0.50** (0.45 to 0.55) | 0.50 | met |" in text
    assert "| good | flax | failed: x | 1.00 | **missed** |" in text
    assert "| good | handwritten | not measured | 1.00 | **missed** |" in text


def test_an_interrupted_run_leaves_the_page_of_the_rows_done(page, monkeypatch):
    def stopped(title, quick, also):
        if title == "bad":
            raise KeyboardInterrupt
        return here(title, quick, also, page)

    monkeypatch.setattr(page, "measured", stopped)
    with pytest.raises(KeyboardInterrupt):
        page.main()
    assert "| good | 1 |" in page.RESULTS.read_text()
    asked = []
    monkeypatch.setattr("sys.argv", ["run", "--resume"])
    monkeypatch.setattr(page, "measured", lambda t, q, a: asked.append(t) or stopped)
    with pytest.raises(TypeError):
        page.main()
    assert asked == ["bad"]


def test_a_row_that_hangs_is_ended(tmp_path, monkeypatch):
    stuck = tmp_path / "stuck"
    stuck.write_text("#!/bin/sh\nexec sleep 60\n")
    stuck.chmod(0o755)
    monkeypatch.setattr("sys.executable", str(stuck))
    began = time.perf_counter()
    found = run.measured("import", True, "", timeout=0.2)
    assert found["failed"] == "not done after 0 s" and len(found["load"]) == 2
    assert time.perf_counter() - began < 30


def test_a_row_whose_process_dies_says_how_it_ended(tmp_path, monkeypatch):
    dying = tmp_path / "dying"
    dying.write_text("#!/bin/sh\necho killed >&2\nexit 9\n")
    dying.chmod(0o755)
    monkeypatch.setattr("sys.executable", str(dying))
    assert run.measured("import", True, "")["failed"] == "ended with 9 killed"


def test_every_row_has_a_title_of_its_own():
    titles = [title for part in rows.SECTIONS.values() for title in part]
    assert len(titles) == len(set(titles)) > 40


@pytest.mark.slow
def test_a_row_is_measured_in_a_process_of_its_own():
    found = run.measured("predict of 1 at batch 32, MLP", True, "")
    assert "failed" not in found, found
    assert {"kerasnb, ms", "handwritten", "keras", "flax"} <= found["figures"].keys()
    assert all(isinstance(v, list) for v in found["figures"].values())
