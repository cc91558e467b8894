"""kerasnb.notebook.records, plots and tuning: runs and searches as pictures"""

import re
import time
import warnings
import xml.etree.ElementTree as ET
from base64 import b64decode

import numpy as np
import optuna
import pytest

import kerasnb as keras
from kerasnb.notebook import display, plots, tuning
from kerasnb.runs import Record, Runs
from kerasnb.tune import Study
from kerasnb.tune.study import _Plan

HOSTILE = "<script>alert(1)</script>&\"'"

FACTS = {
    "id": "1",
    "began": "2026-01-01T00:00:00.000+00:00",
    "status": "finished",
    "message": "",
    "callbacks": [],
    "seed": 3,
    "devices": "cpu",
    "epochs_done": 3,
    "model": {"name": "net", "class": "Sequential", "parameters": 1234},
    "settings": {"optimizer": "Adam", "optimizer.learning_rate": 0.001, "loss": "mse"},
    "arguments": {},
    "data": {"training": [{"name": "x", "shape": [9, 2], "dtype": "float32"}]},
    "versions": {"python": "3.11.0"},
    "timing": {"train": 1.5, "compile": 0.5},
}


def record(name="net", scale=1.0, **facts):
    """A finished run of three epochs."""
    made = Record({**FACTS, "name": name, **facts})
    made.epochs = [0, 1, 2]
    made.history = {
        "loss": [scale * v for v in (0.9, 0.5, 0.3)],
        "val_loss": [scale * v for v in (0.8, 0.6, 0.7)],
    }
    made.place({})
    made.steps = np.arange(6)
    made.curves = {"loss": np.linspace(1, 0.3, 6, dtype="float32") * scale}
    return made


@pytest.fixture
def html():
    """Still pictures, as in a front end without widgets."""
    keras.config.display("html")
    yield
    keras.config.display("auto")


def shown(obj):
    """The HTML and the text of an object, and its pictures as XML."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = display.mimebundle(obj)
    images = re.findall(r"base64,([\w+/=]+)", found["text/html"])
    pictures = [ET.fromstring(b64decode(image)) for image in images]
    return found["text/html"], found["text/plain"], pictures


def words_of(picture):
    """All that is written in a picture."""
    return " ".join("".join(node.itertext()) for node in picture)


def study(values=((0.5, 3), (0.25, 9), (0.75, 4)), pruned=True, name="study"):
    """A study that trained nothing."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    made = optuna.create_study(study_name=name)
    kinds = optuna.distributions
    for value, units in values:
        params = {"units": units, "kind": "relu" if units > 3 else "tanh"}
        distributions = {
            "units": kinds.IntDistribution(1, 64, log=True),
            "kind": kinds.CategoricalDistribution(("relu", "tanh")),
        }
        made.add_trial(
            optuna.trial.create_trial(
                value=value, params=params, distributions=distributions
            )
        )
    if pruned:
        made.add_trial(
            optuna.trial.create_trial(
                state=optuna.trial.TrialState.PRUNED,
                intermediate_values={0: 0.9},
            )
        )
        made.add_trial(
            optuna.trial.create_trial(
                state=optuna.trial.TrialState.FAIL,
                user_attrs={"error": f"TypeError: {HOSTILE}"},
            )
        )
    found = Study(made, _Plan(None, {}, "val_loss", 0, ()), len(made.trials))
    found.status = "finished"
    return found


OBJECTS = {
    "record": lambda: record(HOSTILE),
    "runs": lambda: Runs([record(HOSTILE), record("other", status="killed")]),
    "comparison": lambda: Runs([record(HOSTILE), record("b", seed=HOSTILE)]).compare(),
    "study": lambda: study(name=HOSTILE),
    "an empty record": lambda: Record({**FACTS, "name": HOSTILE, "epochs_done": 0}),
    "no runs": Runs,
    "nothing compared": lambda: Runs().compare(),
    "an empty study": lambda: study((), False),
}


@pytest.mark.parametrize("kind", OBJECTS)
def test_each_is_drawn_in_html_and_in_words_and_names_are_escaped(kind, html):
    markup, text, pictures = shown(OBJECTS[kind]())
    assert "<script" not in markup and text.strip()
    ET.fromstring(
        re.sub(r"(<(?:img|br)[^>]*)>", r"\1/>", markup)
    )  # all tags are closed
    assert all(picture.get("role") == "img" for picture in pictures)
    assert all(picture[0].tag.endswith("title") for picture in pictures)
    assert len(re.findall(r'<img alt="[^"]+"', markup)) == len(pictures)


def test_a_record_shows_how_it_ended_its_curves_and_its_settings(html):
    markup, text, pictures = shown(record())
    assert text.splitlines()[:2] == [
        "net: finished, 3 epochs",
        "  best loss     0.3000 in epoch 3",
    ]
    assert "Adam, learning rate 0.001000" in text and "x 9x2 float32" in text
    assert len(pictures) == 1 and "best 0.6000, epoch 2" in words_of(pictures[0])
    assert "Sequential, 1\u202f234 parameters" in markup
    killed = record(status="killed", message="killed after 3 whole epochs")
    assert shown(killed)[1].startswith("net: killed after 3 whole epochs")


def test_runs_are_rows_with_their_best_results_and_a_small_curve(html):
    runs = Runs(record(f"run {i}", scale=i + 1.0) for i in range(25))
    markup, text, pictures = shown(runs)
    assert text.startswith("25 runs, the last 20 of them shown")
    row = next(line for line in text.splitlines() if line.startswith("run 24"))
    assert row.split()[2:] == ["finished", "3", "15.00"]
    assert len(pictures) == 20
    assert 'alt="loss of run 24: from 22.50 to 7.500"' in markup


def test_a_comparison_lays_curves_over_one_another(html):
    runs = [record("a"), record("b", scale=2.0, seed=4)]
    _, text, pictures = shown(Runs(runs).compare())
    assert len(pictures) == 3  # the curves of both, and those in the table
    assert all(name in words_of(pictures[0]) for name in ("a", "b", "thin: training"))
    paths = [
        p.get("class") for p in pictures[0].iter() if p.get("class") in ("line", "thin")
    ]
    # Two in the legend, and for each run training and validation.
    assert sorted(paths) == ["line"] * 4 + ["thin"] * 2
    assert re.search(r"^seed +3 +4$", text, re.MULTILINE)
    assert "All settings are the same" in shown(Runs([runs[0], runs[0]]).compare())[1]


def test_more_lines_than_looks_are_counted(html):
    runs = Runs(record(f"run {i}") for i in range(12))
    _, _, pictures = shown(runs.compare())
    assert f"the last {len(plots.LOOKS)} of 12 runs" in words_of(pictures[0])


def test_a_study_shows_its_values_its_settings_and_its_best(html):
    _, text, pictures = shown(study())
    first, head, best, *_ = text.splitlines()
    assert first == (
        "study: finished, 5 of 5 trials · 1 pruned · 1 failed · best val_loss 0.2500 "
        "in trial 1"
    )
    assert head.split()[:4] == ["trial", "val_loss", "units", "kind"]
    assert best.split()[:4] == ["1", "0.2500", "9", "relu"]
    assert text.endswith(f"Trial 4 failed with no settings: TypeError: {HOSTILE}")
    values, settings = pictures
    assert values.get("height") == settings.get("height")
    assert "pruned" in words_of(values) and "best so far" in words_of(values)
    lines = [
        p.get("class")
        for p in settings.iter()
        if p.get("class") in ("first", "rest", "good")
    ]
    assert lines == ["rest", "rest", "first"]
    assert "relu" in words_of(settings) and "units" in words_of(settings)


def test_values_of_very_different_size_are_on_a_logarithmic_axis():
    x = np.arange(3.0)
    far = plots.Series("value", x, np.array([0.01, 1.0, 100.0]), mark="dots")
    picture = ET.fromstring(plots.plot("loss", [far], "trial", log=True))
    heights = [float(c.get("cy")) for c in picture.iter() if c.tag.endswith("circle")]
    _, low, middle, high = heights  # the first is in the legend
    assert low - middle == pytest.approx(middle - high, abs=0.2)


def test_a_live_study_is_drawn_at_most_once_a_second(monkeypatch):
    found, drawn = study(), []

    class Output:
        def update(self, bundle, raw):
            drawn.append(bundle)

    monkeypatch.setattr("IPython.display.display", lambda *args, **kwargs: Output())
    live = tuning.watch(found)
    began = time.monotonic()
    for _ in range(50):
        found._tell()
    assert len(drawn) <= time.monotonic() - began
    found._tell(final=True)
    assert set(drawn[-1]) == {"text/html", "text/plain"} and live.ended >= began
    assert tuning.was_drawn(found, began) and not tuning.was_drawn(found, live.ended)


def test_a_search_as_the_last_line_of_a_cell_is_drawn_once(html, monkeypatch):
    found = study()
    monkeypatch.setattr("IPython.display.display", lambda *args, **kwargs: None)
    tuning.watch(found)
    found._tell(final=True)
    assert set(display.mimebundle(found)) == {"text/plain"}
    monkeypatch.setattr(display.cells, "_began", time.monotonic())
    assert "text/html" in display.mimebundle(found)
