"""The benchmarks still run: every side of every workload trains for one small epoch."""

import dataclasses
import json

import jax
import keras
import numpy as np
import pytest

import kerasnb
from tests.benchmarks import run, workloads
from tests.benchmarks.handwritten import initial, make_epoch

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


def test_the_page_is_written_from_the_rows(tmp_path, monkeypatch):
    monkeypatch.setattr(run, "RESULTS", tmp_path / "RESULTS.md")
    laps = {"kerasnb": [1.0, 1.0, 2.0], "keras": [2.0, 2.0, 2.0]}
    row = run.cells(laps)
    assert row == {"kerasnb, ms": "1e+03", "keras": "**0.50** (0.50 to 1.00)"}
    run.write(json.loads(json.dumps({"A section": {"a row": row}})))
    text = run.RESULTS.read_text()
    assert "| a row | 1e+03 | **0.50** (0.50 to 1.00) |" in text
