"""Callbacks that keep what happened: `History`, `CSVLogger`."""

import csv
import json
import os
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from kerasnb.callbacks.callback import Callback, Logs
from kerasnb.core.errors import check
from kerasnb.core.frontend import Displayable
from kerasnb.saving.files import explaining


class History(Callback, Displayable):
    """The numbers of every epoch, returned by `fit`.

    `history` maps each name to a list with one number per epoch; `epoch` lists the
    numbers of the epochs.
    """

    def __init__(self) -> None:
        super().__init__()
        self.history: dict[str, list[Any]] = {}
        self.epoch: list[int] = []

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Begin to count epochs."""
        self.epoch = []

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Keep the numbers of an epoch."""
        self.epoch.append(epoch)
        for name, value in (logs or {}).items():
            self.history.setdefault(name, []).append(value)
        if self.model is not None:
            self.model.history = self

    def __repr__(self) -> str:
        last = [f"{k}={v[-1]:.4g}" for k, v in self.history.items() if _is_number(v)]
        return f"<History: {', '.join([f'{len(self.epoch)} epochs', *last])}>"


def _is_number(values: list[Any]) -> bool:
    return bool(values) and isinstance(values[-1], int | float)


class CSVLogger(Callback):
    """Write one row per epoch into a CSV file, flushed at once.

    With `append` rows are added to a file that is there already, under its header. In a
    run that `BackupAndRestore` resumes the rows go on after those of its backup.
    """

    def __init__(
        self,
        filename: str | os.PathLike[str],
        separator: str = ",",
        append: bool = False,
    ) -> None:
        super().__init__()
        self.filename = os.fspath(filename)
        self.sep = separator
        self.append = append
        self.keys: list[str] | None = None
        self._position: int | None = None  # where the rows of this run end

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """See whether the file can be written."""
        path = Path(self.filename)
        with explaining("CSVLogger", path), path.open("a"):
            # What was in it goes when an epoch begins: a backup may say that it stays.
            self._position = path.stat().st_size if self.append else 0
        self._has_header = self._position > 0
        self.keys = None

    def on_epoch_begin(self, epoch: int, logs: Logs | None = None) -> None:
        """Drop what is not of this run."""
        self._cut()

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Write the row of an epoch."""
        if self._position is None:
            return
        logs = logs or {}
        rows: list[list[Any]] = []
        if self.keys is None:
            self.keys = sorted(logs)
            if not any(key.startswith("val_") for key in self.keys):
                # A first epoch without validation: later ones keep their columns.
                self.keys += [f"val_{key}" for key in self.keys]
            if not self._has_header:
                rows.append(["epoch", *self.keys])
        rows.append([epoch, *(_cell(logs.get(key, "NA")) for key in self.keys)])
        path = Path(self.filename)
        try:
            with explaining("CSVLogger", path), path.open("a", newline="") as file:
                csv.writer(file, delimiter=self.sep).writerows(rows)
        except OSError:
            self._cut()  # no half of a row
            raise
        self._position = path.stat().st_size

    def _cut(self) -> None:
        path = Path(self.filename)
        if self._position is not None and path.stat().st_size > self._position:
            os.truncate(path, self._position)


def _cell(value: Any) -> Any:
    if isinstance(value, str) or getattr(value, "shape", None) == ():
        return value
    if isinstance(value, Iterable):
        return f'"[{", ".join(map(str, value))}]"'
    return value


class RemoteMonitor(Callback):
    """Send the numbers of every epoch to a server, as an HTTP POST.

    The body is a form with the JSON in `field`, or the JSON itself with `send_as_json`.
    A server that does not answer is warned about, and training goes on.
    """

    def __init__(
        self,
        root: str = "http://localhost:9000",
        path: str = "/publish/epoch/end/",
        field: str = "data",
        headers: Mapping[str, str] | None = None,
        send_as_json: bool = False,
    ) -> None:
        super().__init__()
        self.root = root
        self.path = path
        self.field = field
        self.headers = headers
        self.send_as_json = send_as_json

    def on_epoch_end(self, epoch: int, logs: Logs | None = None) -> None:
        """Send the epoch's number and its logs."""
        import urllib.parse
        import urllib.request  # 30 ms that only its user should pay

        numbers = {
            k: getattr(v, "tolist", lambda v=v: v)() for k, v in (logs or {}).items()
        }
        text = json.dumps({"epoch": epoch, **numbers})
        body, kind = text, "application/json"
        if not self.send_as_json:
            body = urllib.parse.urlencode({self.field: text})
            kind = "application/x-www-form-urlencoded"
        url = self.root + self.path
        check(
            url.startswith(("http://", "https://")),
            "RemoteMonitor",
            "root",
            self.root,
            "an http address",
        )
        headers = {"Content-Type": kind, **(self.headers or {})}
        request = urllib.request.Request(url, body.encode(), headers, method="POST")
        try:
            urllib.request.urlopen(request, timeout=10).close()
        except OSError as error:
            warnings.warn(
                f"RemoteMonitor: {self.root} did not take the results of epoch "
                f"{epoch + 1} ({error}).",
                stacklevel=2,
            )
