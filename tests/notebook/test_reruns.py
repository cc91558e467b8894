"""A model cell that is run again and again costs what it cost the first time."""

import json

import pytest

from tests.notebook.one_kernel import Kernel

pytestmark = pytest.mark.reruns

RUNS = 1000

SETUP = """
%load_ext kerasnb
import gc, json, sys, threading
import ipywidgets, jax, numpy as np
from IPython.utils.capture import capture_output

x = np.random.default_rng(0).normal(size=(40, 6)).astype("float32")
y = np.arange(40) % 3
CELL = '''
%%kmodel net --input x --optimizer adam --loss auto --metrics accuracy --seed 1 OPTIONS
for units in (16, 8):
    Dense(units, activation="relu")
    BatchNormalization()
Dense(3, activation="softmax")
'''.strip()
compiled = []
def count(name, *_, **__):
    if name.endswith("compile_duration"):
        compiled.append(name)
jax.monitoring.register_event_duration_secs_listener(count)

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096

def facts():
    for thread in threading.enumerate():
        if thread.name == "kerasnb-ahead":
            thread.join()
    for _ in range(3):
        gc.collect()
    return {
        "memory": resident(),
        "arrays": len(jax.live_arrays()),
        "threads": threading.active_count(),
        "names": sorted(n for n in get_ipython().user_ns if n[0] != "_"),
        "compiled": len(compiled),
        "widgets": len(ipywidgets.widgets.widget._instances),
        "weights": [w.path for w in net.weights],
        "first": float(np.asarray(net.weights[0]).sum()),
    }

def again(runs, options="", fit=False):
    cell = CELL.replace("OPTIONS", options)
    for _ in range(runs):
        with capture_output():
            get_ipython().run_cell(cell).raise_error()
            if fit:
                net.fit(x, y, epochs=1, verbose=0)
"""


@pytest.fixture(scope="module")
def kernel():
    made = Kernel()
    shown = made.run(SETUP)
    assert shown.ok, shown.text
    yield made
    made.close()


@pytest.mark.parametrize("options", ["--quiet", "--quiet --keep", ""])
def test_a_cell_run_a_thousand_times_leaves_nothing_behind(kernel, options):
    """Memory and live arrays stay within 2%, and nothing is compiled again.

    The runs before fill a cache of JAX, which has room for 4096 entries and gets one of
    each BatchNormalization.
    """
    kernel.run(f"again({2 * RUNS}, {options!r})", timeout=3600)
    before, after = facts_around(kernel, f"again({RUNS}, {options!r})")
    assert_same(before, after)
    for fact in ("memory", "arrays"):
        assert after[fact] <= 1.02 * before[fact], (fact, before[fact], after[fact])


def test_a_fit_in_between_leaves_no_more_than_its_record(kernel):
    """The same seed gives the same trained model; its compiled programs serve again.

    Memory is not asked about here: each `fit` leaves a record in `kerasnb.runs`.
    """
    kernel.run("again(20, '--quiet', fit=True)", timeout=600)
    before, after = facts_around(kernel, "again(200, '--quiet', fit=True)")
    assert_same(before, after)
    assert after["arrays"] <= 1.02 * before["arrays"]


def facts_around(kernel, cell):
    """What there is before a cell and after it."""
    before = json.loads(kernel.run("print(json.dumps(facts()))").text)
    shown = kernel.run(cell, timeout=3600)
    assert shown.ok, shown.text
    after = json.loads(kernel.run("print(json.dumps(facts()))").text)
    print(cell, before, after)
    return before, after


def assert_same(before, after):
    for fact in ("threads", "names", "compiled", "widgets", "weights", "first"):
        assert after[fact] == before[fact], fact
