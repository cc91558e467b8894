"""Records of training: `kerasnb.runs[-1]`, `kerasnb.runs.compare("wide", "deep")`.

Every `fit` leaves a `Record`: settings, seed, versions, a fingerprint of the data,
curves, timing, result. This module is itself the sequence of the last hundred, and
draws itself as the last line of a cell; after `kerasnb.config.runs_dir("runs")` each
record is kept on disk as well.
"""

import sys
from types import ModuleType
from typing import Any

from kerasnb.runs.compare import Comparison as Comparison
from kerasnb.runs.record import Record as Record
from kerasnb.runs.sequence import Runs as Runs

session = Runs(kept=100)
"""The runs of this process, oldest first."""

begin = session.begin
clear = session.clear
compare = session.compare
load = session.load
named = session.named


class _Sequence(ModuleType):
    """A module that is a sequence: `kerasnb.runs[-1]`, `len(kerasnb.runs)`."""

    def __getitem__(self, which: Any) -> Any:
        return session[which]

    def __len__(self) -> int:
        return len(session)

    def __iter__(self) -> Any:
        return iter(session)

    def __contains__(self, which: object) -> bool:
        return which in session

    def __repr__(self) -> str:
        return repr(session)

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> Any:
        return session._repr_mimebundle_(include, exclude)


sys.modules[__name__].__class__ = _Sequence
