"""The runs of a notebook side by side, to be sorted, and to load weights from."""

import sys
from collections.abc import Callable, Sequence
from typing import Any

from kerasnb import models
from kerasnb.notebook import records, widget
from kerasnb.notebook.mailbox import Mailbox, Message
from kerasnb.runs import Comparison, Record, Runs
from kerasnb.runs.curves import better

_MOST = 20  # rows; of more runs the last ones


def live(runs: Runs | Comparison) -> Callable[[], Any] | None:
    """What makes the live picture of some runs; None where there are none."""
    shown = list(runs.runs if isinstance(runs, Comparison) else runs)[-_MOST:]
    still = records.picture_of_runs(runs) if isinstance(runs, Runs) else ()
    return (lambda: Board(shown, *still)) if shown else None


class Board(widget.Widget, source=__file__, styles=("kruns",)):
    """Runs in a table that can be sorted, their curves, and what differs.

    A button in a row loads the weights of that run's best epoch: into the model that
    has the name now, else into the one that was trained.
    """

    if widget.available():
        _board = widget.traitlets.Dict().tag(sync=True)
        _said = widget.traitlets.Dict().tag(sync=True)

    def __init__(self, runs: Sequence[Record], *pair: Callable[[], str]):
        self.runs = list(runs)
        found = Comparison(self.runs)
        self._text, self._still = pair or records.picture_of_comparison(found)
        super().__init__(_board=_content(found))
        self._mailbox = Mailbox(self, self._obey)

    def still(self) -> str:
        """The same as HTML without scripts."""
        return self._still()

    def text(self) -> str:
        """The table in words."""
        return self._text() if hasattr(self, "_text") else super().text()

    def _obey(self, message: Message) -> None:
        """Load the weights that a button asks for, and say what came of it."""
        run = next((run for run in self.runs if run.id == message.get("run")), None)
        if message["op"] != "load" or run is None:
            return
        try:
            words, good = load_best(run), True
        except Exception as error:  # noqa: BLE001 - it is shown where it was asked for
            words, good = str(error), False
        self._said = {"run": run.id, "words": words, "good": good, "id": message["id"]}


def load_best(run: Record) -> str:
    """Load a run's best weights into the model a user means; says which and where.

    That is the model which has the name now, if the weights fit; else the one that was
    trained, under whatever name it is kept.
    """
    kept = {n: m for n, m in _names().items() if isinstance(m, models.Model)}
    name, mine = run.model["name"], run.trained
    if name not in kept or not run.fits(kept[name]):
        name = next((n for n, m in kept.items() if m is mine and n[0] != "_"), "")
    if run.keeps_best and not name:
        raise ValueError(
            f"This notebook has no model `{run.model['name']}` any more that these "
            f"weights fit; kerasnb.runs[{run.name!r}].best_model() makes it anew."
        )
    epoch = run.load_best(kept.get(name))
    return f"`{name}` has the weights of epoch {epoch} of run {run.name} now."


def _names() -> dict[str, Any]:
    """What the notebook has names for."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return dict(shell.user_ns) if shell is not None else {}


def _content(found: Comparison) -> dict[str, Any]:
    """What the page shows: words, numbers to sort by, and pictures as SVG."""
    columns = records.columns_of(found.runs)
    titles = {"run": "in this order", "time": "seconds of training"}
    names = ["run", "status", "epochs", *columns, "time"]
    return {
        "head": [
            {
                "key": name,
                "title": titles.get(name, "best of all epochs" * (name in columns)),
                "down": name in columns and better(name) == "max",
            }
            for name in names
        ],
        "rows": [_row(i, run, columns) for i, run in enumerate(found.runs)],
        "pictures": [picture for picture, _ in records.overlays(found)],
        "names": found.names,
        "differ": records.differing(found, "\n"),
    }


def _row(place: int, run: Record, columns: Sequence[str]) -> dict[str, Any]:
    small = records.small_curve(run)
    took = run.timing.get("train")
    best = [run.best.get(name, (None, 0))[0] for name in columns]
    weights = run.best_weights
    return {
        "id": run.id,
        "cells": [*map(str, records.cells(run, columns)), records.seconds(took)],
        "keys": [place, run.status, run.epochs_done, *best, took],
        "curve": small[0] if small else "",
        "keeps": run.keeps_best,
        "epoch": weights.epoch + 1 if weights is not None else None,
    }
