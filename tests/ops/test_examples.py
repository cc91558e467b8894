"""The examples in the documentation of the rooms that compute."""

import doctest
import inspect

import pytest

from kerasnb import (
    activations,
    constraints,
    initializers,
    losses,
    metrics,
    ops,
    random,
    regularizers,
)

ROOMS = {
    ops: 170,
    random: 12,
    initializers: 10,
    activations: 6,
    regularizers: 4,
    constraints: 4,
    losses: 20,
    metrics: 20,
}


@pytest.mark.parametrize("room", ROOMS, ids=lambda room: room.__name__)
def test_every_example_is_true(room):
    # An op hides its function from `pytest --doctest-modules`.
    finder, runner = doctest.DocTestFinder(recurse=False), doctest.DocTestRunner()
    seen, tried = set(), 0
    for name in dir(room):
        item = inspect.unwrap(getattr(room, name))
        if not callable(item) or id(item) in seen or not hasattr(item, "__doc__"):
            continue
        seen.add(id(item))
        module = inspect.getmodule(item)
        if module is None or not module.__name__.startswith(room.__name__):
            continue
        for test in finder.find(item, name, globs={**vars(module)}):
            tried += bool(test.examples)
            runner.run(test)
    assert runner.summarize().failed == 0
    assert tried >= ROOMS[room]
