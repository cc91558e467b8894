"""`Claim`: a loop works on variables, and whoever looks sees whole steps.

A compiled loop takes the buffers of its variables over and returns new ones. While it
works a variable has no `box`, and the values lie beside it. Who looks at it, in any
thread, is shown the value of the last whole step: the loop copies what somebody still
holds before it goes on, and nothing else. So a loop that nobody watches copies nothing,
and no array that somebody holds is ever deleted.

Only the thread that claimed a variable may assign it. Other threads that compute with
many variables take them all from one step, with `steady`.
"""

import functools
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import jax

from kerasnb.core.placement import copied
from kerasnb.core.state import bind, current_frame

if TYPE_CHECKING:
    from kerasnb.core.variable import Variable

LOCK = threading.RLock()
"""Held while values change hands; never while anything is computed."""

P = ParamSpec("P")
R = TypeVar("R")
Groups = Sequence[Sequence["Variable"]]
State = tuple[list[jax.Array], ...]

_claims: set["Claim"] = set()


class Claim:
    """The right of this thread to the variables of `groups`, until the `with` ends.

    Those that this thread has claimed before stay with the earlier claim. `who` says
    what works on them, to others that would change them.
    """

    def __init__(self, who: Callable[[], str], groups: Groups) -> None:
        self.who, self.thread = who, threading.current_thread()
        self._variables = list(dict.fromkeys(v for group in groups for v in group))

    def __enter__(self) -> "Claim":
        with LOCK:
            for variable in self._variables:
                self.refuse_others(variable)
            mine = [v for v in self._variables if v._claim is None]
            for variable in mine:
                vars(variable)["_unseen"] = variable.box
                variable._claim = self
            self._variables = mine
            _claims.add(self)
        return self

    def __exit__(self, *error: object) -> None:
        with LOCK:
            for variable in self._variables:
                slots = vars(variable)
                slots.setdefault("box", slots["_unseen"])
                del slots["_unseen"], slots["_claim"]
            _claims.discard(self)

    @staticmethod
    def refuse_others(variable: "Variable") -> None:
        """An error when another thread has claimed the variable."""
        claim = variable._claim
        if claim is not None and claim.thread is not threading.current_thread():
            raise RuntimeError(
                f"`{variable.path}` cannot be changed now: {claim.who()}. Call its "
                "wait() or stop() first; set_learning_rate() of it changes the rate."
            )

    # --- For the loop, under the lock -------------------------------------------------

    def look(self, groups: Groups) -> State:
        """The values of this moment, not to be given away."""
        return tuple(
            [d["box"] if "box" in (d := v.__dict__) else d["_unseen"] for v in group]
            for group in groups
        )

    def take(self, groups: Groups) -> State:
        """The values, to be given away: what somebody may still hold is copied."""
        return tuple(
            [_own(d) if "box" in (d := v.__dict__) else d["_unseen"] for v in group]
            for group in groups
        )

    def give(self, groups: Groups, state: State) -> None:
        """The values after the next steps."""
        for group, values in zip(groups, state, strict=True):
            for variable, value in zip(group, values, strict=True):
                variable.__dict__["_unseen"] = value


class Copies(Claim):
    """The same for variables that another thread works on: values of one step.

    What comes back stays here.
    """

    def __enter__(self) -> "Copies":
        with LOCK:
            self._values = {v: copied(v.box) for v in self._variables}
        return self

    def __exit__(self, *error: object) -> None:
        self._values = {}

    def look(self, groups: Groups) -> State:
        """The values of this moment."""
        return tuple([self._values[v] for v in group] for group in groups)

    take = look

    def give(self, groups: Groups, state: State) -> None:
        """The values after the next steps."""
        for group, values in zip(groups, state, strict=True):
            self._values.update(zip(group, values, strict=True))


@contextmanager
def claim(who: Callable[[], str], groups: Groups) -> Iterator[Claim]:
    """A claim for work that leaves the weights as they are: on copies if it must."""
    with ExitStack() as stack:
        with LOCK:  # so that no other thread comes in between
            kind = Copies if _elsewhere(v for group in groups for v in group) else Claim
            found = stack.enter_context(kind(who, groups))
        yield found


def show(variable: "Variable") -> jax.Array:
    """The value of a variable that is claimed, for somebody who looks."""
    with LOCK:
        slots = vars(variable)
        if "box" not in slots:
            slots["box"] = slots["_unseen"]
        return slots["box"]


def latest(variable: "Variable") -> jax.Array:
    """The value, for a glance: the loop may give the array away after this."""
    slots = vars(variable)
    for name in ("box", "_unseen"):
        if name in slots:
            return slots[name]
    return variable.box


def together(variables: Iterable["Variable"]) -> dict["Variable", jax.Array]:
    """The values of variables, all of one step, whatever other threads train."""
    with LOCK:
        return {variable: variable.box for variable in variables}


@contextmanager
def steady(variables: Callable[[], Iterable["Variable"]]) -> Iterator[None]:
    """Inside, variables keep the values of one step, whatever other threads train.

    Without such training this does nothing. What is assigned inside is dropped.
    """
    found: list[Variable] = []
    if _claims and current_frame() is None:  # A frame says what values there are.
        with LOCK:
            found = list(dict.fromkeys(variables()))
            found = found if _elsewhere(found) else []
            values = [variable.box for variable in found]
    if not found:
        yield
        return
    with bind(found, values, open=True):
        yield


def steadily(method: Callable[P, R]) -> Callable[P, R]:
    """A method of a layer, run on values of one step of all its variables."""

    @functools.wraps(method)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        if not _claims:
            return method(*args, **kwargs)
        with steady(lambda: args[0].variables):  # type: ignore[attr-defined]
            return method(*args, **kwargs)

    return run


def _elsewhere(variables: Iterable["Variable"]) -> bool:
    """Whether another thread has claimed any of these."""
    here = threading.current_thread()
    claims = (v._claim for v in variables)
    return any(c is not None and c.thread is not here for c in claims)


def _own(slots: dict[str, Any]) -> jax.Array:
    """A value to be given away: a copy, if somebody else has got hold of it."""
    slots["_unseen"] = None  # which may be the same array
    value, holders = _taken_out(slots)
    slots["_unseen"] = value  # what stays if the copy fails
    if holders > _ALONE:
        slots["_unseen"] = copied(value)
    return slots["_unseen"]


def _taken_out(slots: dict[str, Any]) -> tuple[Any, int]:
    """What was in the box, and how many names it has."""
    value = slots.pop("box")
    return value, sys.getrefcount(value) if _COUNTS else _ALONE + 1


# Without a global lock other threads may be about to take hold of it.
_COUNTS, _ALONE = getattr(sys, "_is_gil_enabled", lambda: True)(), 0
_ALONE = _taken_out({"box": object()})[1]
