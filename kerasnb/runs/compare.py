"""`Comparison`: what differs between runs, and what came of it."""

from collections.abc import Sequence
from typing import Any

from kerasnb.core.errors import show, suggest
from kerasnb.core.frontend import Displayable
from kerasnb.runs.curves import better
from kerasnb.runs.record import Record


class Comparison(Displayable):
    """Runs beside one another, by name.

    `settings` maps each setting that differs to its values, one a run (None where a run
    has no such setting); `results` the same for the best value of each curve and the
    seconds of training. As the last line of a cell it draws both as tables, and the
    curves over one another.
    """

    def __init__(self, records: Sequence[Record]) -> None:
        self.runs = list(records)
        self.names = [record.name for record in self.runs]

    def __repr__(self) -> str:
        return f"<Comparison of {', '.join(self.names) or 'nothing'}>"

    def sorted(self, by: str, largest: bool | None = None) -> "Comparison":
        """The same runs with the best by a result first: `sorted("val_loss")`.

        `by` is a curve, `"time"`, `"epochs"` or `"name"`; whether the largest value is
        the best goes by its name unless it is said. Runs without it come last.
        """
        known = [*self.curves, "time", "epochs", "name"]
        if not self.runs:
            return self
        if by not in known:
            raise ValueError(
                f"compare: none of these runs has a result {show(by)}; they have "
                f"{', '.join(known)}.{suggest(by, known)}"
            )
        if largest is None:
            largest = better(by) == "max"

        def key(record: Record) -> Any:
            facts = {
                "name": record.name,
                "epochs": record.epochs_done,
                "time": record.timing.get("train"),
            }
            return facts[by] if by in facts else record.best.get(by, (None,))[0]

        there = [record for record in self.runs if key(record) is not None]
        rest = [record for record in self.runs if key(record) is None]
        return Comparison([*sorted(there, key=key, reverse=largest), *rest])

    @property
    def settings(self) -> dict[str, list[Any]]:
        """The settings that are not the same in all the runs."""
        columns = [_settings(record) for record in self.runs]
        for column, lines in zip(columns, self._lines(), strict=True):
            column["model"] = "\n".join(lines)
        return {
            name: values
            for name, values in _rows(columns).items()
            if any(value != values[0] for value in values)
        }

    @property
    def results(self) -> dict[str, list[Any]]:
        """What came of each run."""
        columns: list[dict[str, Any]] = []
        for record in self.runs:
            best = {name: value for name, (value, _) in record.best.items()}
            seconds = record.timing.get("train")
            columns.append(
                {
                    "status": record.status,
                    "epochs": record.epochs_done,
                    **{f"best {name}": value for name, value in best.items()},
                    "seconds of training": seconds,
                }
            )
        return _rows(columns)

    @property
    def curves(self) -> list[str]:
        """The names of the curves that at least one of the runs has."""
        names = [name for record in self.runs for name in record.history]
        return list(dict.fromkeys(names))

    def _lines(self) -> list[list[str]]:
        """Of each model's script the lines that are not in all the others."""
        scripts = [_lines_of(record) for record in self.runs]
        common = set.intersection(*map(set, scripts)) if scripts else set()
        return [[line for line in lines if line not in common] for lines in scripts]


def _lines_of(record: Record) -> list[str]:
    """A model's script without its name and its `compile`, told apart elsewhere."""
    lines = [line.strip().rstrip(",") for line in record.code.splitlines()]
    end = next((i for i, line in enumerate(lines) if ".compile(" in line), len(lines))
    shown = (line.replace(record.model["name"], "model") for line in lines[:end])
    return [line for line in shown if line]


def _settings(record: Record) -> dict[str, Any]:
    found = {"model": "", "parameters": record.model.get("parameters")}
    found |= record.settings
    if record.callbacks:
        found["callbacks"] = record.callbacks
    found["seed"] = record.seed
    for part, entries in record.data.items():
        for entry in entries:
            label = entry["name"] if part == "training" else f"{part} {entry['name']}"
            found[f"data {label}"] = _words(entry)
    found |= record.versions
    found["device"] = record.devices
    return found


def _words(entry: dict[str, Any]) -> str:
    """An array in words: shape, dtype and the beginning of its fingerprint."""
    if "shape" not in entry:
        return f"{entry.get('batches') or 'unknown number of'} batches"
    shape = "x".join(map(str, entry["shape"]))
    return f"{shape} {entry['dtype']} {(entry.get('hash') or '')[:6]}".strip()


def _rows(columns: Sequence[dict[str, Any]]) -> dict[str, list[Any]]:
    names = dict.fromkeys(name for column in columns for name in column)
    return {name: [column.get(name) for column in columns] for name in names}
