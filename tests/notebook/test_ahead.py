"""kerasnb.notebook.ahead, and the work for idle times in kerasnb.notebook.cells"""

import threading
import time
from types import SimpleNamespace

import jax
import numpy as np
import pytest

import kerasnb as keras
from kerasnb.core import frontend, naming
from kerasnb.notebook import ahead, build_model, cells
from kerasnb.random import Generators
from kerasnb.training import loop

X = np.random.default_rng(0).normal(size=(37, 4))
Y = np.arange(37) % 2
CELL = "Dense(5, activation='relu'); BatchNormalization(); Dropout(0.2); Dense(2)"


def build(optimizer="adam", loss=None, cell=CELL, **options):
    if loss is None:
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    given = {"metrics": ["accuracy"], "input": (4,), "seed": 1, **options}
    return build_model(cell, optimizer=optimizer, loss=loss, **given)


@pytest.fixture
def compiled(monkeypatch):
    """The programs of training that were compiled, none of which is known before."""
    monkeypatch.setattr(loop, "_EXECUTABLES", {})
    done, lower = [], jax.stages.Lowered.compile

    def compile(lowered, *options):
        done.append(lowered.as_text())
        return lower(lowered, *options)

    monkeypatch.setattr(jax.stages.Lowered, "compile", compile)
    return done


@pytest.fixture
def idle(monkeypatch):
    """A notebook in which nobody waits long."""
    monkeypatch.setattr(cells, "IDLE", 0.01)
    monkeypatch.setattr(frontend, "in_notebook", lambda: True)
    keras.config.display("none")
    yield
    keras.config.display("auto")
    wait()


def wait():
    for thread in threading.enumerate():
        if thread.name == "kerasnb-ahead":
            thread.join(30)
            assert not thread.is_alive()


def compile_fit(model, x=X, y=Y, batch_size=32):
    ahead.expect_fit(model, x, y, batch_size)
    for _ in cells._planned():
        pass
    cells._no_more()


# --- What is compiled ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "x", "y"),
    [
        ({}, X, Y),
        ({"optimizer": keras.optimizers.SGD(0.1, momentum=0.9)}, X[:32], Y[:32]),
        ({"dtype": "mixed_float16"}, X.astype("float32"), Y.astype("uint8")),
        ({"loss": "mse", "metrics": []}, jax.numpy.asarray(X), X[:, :2]),
    ],
)
def test_fit_finds_ready_what_was_compiled_before_it(compiled, options, x, y):
    model = build(**options)
    compile_fit(model, x, y)
    assert len(compiled) == 1
    del compiled[:]
    model.fit(x, y, verbose=0)
    assert compiled == []


def test_the_smaller_last_batch_of_a_large_model_is_compiled_as_well(
    compiled, monkeypatch
):
    monkeypatch.setattr(loop, "SHORT", 0)
    model = build()
    compile_fit(model)
    assert len(compiled) == 2
    del compiled[:]
    model.fit(X, Y, verbose=0)
    assert compiled == []


def test_a_fit_of_another_shape_compiles_its_own(compiled):
    model = build()
    compile_fit(model, batch_size=16)
    count = len(compiled)
    model.fit(X, Y, batch_size=9, verbose=0)
    assert len(compiled) == count + 1


def test_neither_the_model_nor_names_nor_random_numbers_are_touched(compiled):
    model, drawn = build(), Generators.now()
    model._flatten_layers()  # which it remembers
    before, names = vars(model).copy(), naming._session.copy()
    values = model.get_weights()
    compile_fit(model)
    after = Generators.now()
    assert vars(model) == before and names == naming._session
    assert not model.optimizer.built
    assert (drawn.numpy == after.numpy).all() and (drawn.python == after.python).all()
    for one, other in zip(values, model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_nothing_is_allocated_for_the_weights_of_the_twin(compiled):
    model = build(cell="Dense(3000); Dense(3000); Dense(2)")
    largest = []
    ahead.expect_fit(model, X, Y)
    for _ in cells._planned():
        largest.append(sum(a.nbytes for a in jax.live_arrays()))
    cells._no_more()
    assert len(largest) > 3 and max(largest) - min(largest) < 1e6


class Own(keras.layers.Layer):
    calls = 0

    def call(self, x):
        Own.calls += 1
        return x


@pytest.mark.parametrize(
    ("change", "x", "y"),
    [
        ({"optimizer": None, "loss": "mse"}, X, X[:, :2]),
        ({"loss": lambda a, b: (a - b) ** 2}, X, X[:, :2]),
        ({"cell": "Own()\nDense(2)"}, X, Y),
        ({"cell": "Lambda(lambda z: 2 * z)\nDense(2)"}, X, Y),
        ({}, X, Y[:5]),
        ({}, X, None),
        ({}, (4,), Y),
        ({}, [X], np.array(["a"] * 37)),
    ],
)
def test_what_is_not_known_and_what_is_the_users_own_is_left_alone(change, x, y):
    options = {**change}
    cell = options.pop("cell", CELL)
    if options.get("optimizer", "adam") is None:
        options["metrics"] = []
    given = {"optimizer": "adam", "loss": "mse", "metrics": [], **options}
    model = build_model(cell, {"Own": Own}, input=(4,), **given)
    if given["optimizer"] is None:
        model.optimizer = None
    Own.calls = 0
    ahead.expect_fit(model, x, y)
    assert cells._planned is None and Own.calls == 0


@pytest.mark.parametrize(
    ("word", "target"),
    [
        ("x_train", "y_train"),
        ("X", "y"),
        ("X_train", "Y_train"),
        ("train_images", "train_labels"),
        ("x2", "y2"),
        ("max_x", "max_y"),
        ("index", None),
        ("x_train[:9]", None),
    ],
)
def test_targets_go_by_the_name_of_the_inputs(word, target):
    names = {word: X, target or "inde_y": Y}
    found = ahead.target_of([word], names)
    assert found is (Y if target else None)
    assert ahead.target_of([word, word], names) is None


# --- When ---------------------------------------------------------------------------

MODEL = "%%kmodel net --input x --optimizer adam --loss mse -q\nDense(7)\nDense(1)"


def test_the_training_is_compiled_once_the_cell_is_over(idle, shell, compiled):
    shell.push({"x": X, "y": X[:, :1]})
    shell.run_cell(MODEL).raise_error()
    wait()
    assert len(compiled) == 1
    shell.run_cell(MODEL).raise_error()
    wait()
    shell.run_cell("net.fit(x, y, verbose=0)").raise_error()
    assert len(compiled) == 1


def test_it_can_be_switched_off_and_keeps_out_of_a_hurry(
    idle, shell, compiled, monkeypatch
):
    shell.push({"x": X, "y": X[:, :1]})
    shell.run_cell("%config KerasNB.compile_ahead = False\n").raise_error()
    shell.run_cell(MODEL).raise_error()
    wait()
    shell.run_cell("%config KerasNB.compile_ahead = True\n").raise_error()
    monkeypatch.setattr(cells, "IDLE", 60)
    for _ in range(3):
        shell.run_cell(MODEL).raise_error()
    shell.run_cell("pass")
    wait()  # not a minute: the next cell ended it
    assert compiled == []


def test_idle_work_ends_between_its_parts_when_a_cell_begins(idle, shell):
    parts, started, go_on = [], threading.Event(), threading.Event()

    def work():
        parts.append("first")
        started.set()
        yield
        go_on.wait(10)
        yield
        parts.append("second")

    shell.push({"plan": lambda: cells.when_idle(work)})
    shell.run_cell("plan()")
    assert started.wait(10)
    shell.run_cell("pass")
    go_on.set()
    wait()
    assert parts == ["first"]


def test_an_error_in_idle_work_is_nobodys_concern(idle, shell, capsys):
    def work():
        yield
        raise ValueError("nobody reads this")

    shell.push({"plan": lambda: cells.when_idle(work)})
    shell.run_cell("plan()")
    wait()
    assert capsys.readouterr() == ("", "")


def test_who_wants_a_program_that_is_being_compiled_waits_for_it(compiled, monkeypatch):
    begun, go_on, compile = threading.Event(), threading.Event(), loop.compile_once
    slow = jax.stages.Lowered.compile

    def waits(lowered, *options):
        if threading.current_thread().name == "first":
            begun.set()
            go_on.wait(10)
        return slow(lowered, *options)

    monkeypatch.setattr(jax.stages.Lowered, "compile", waits)
    lowered = [jax.jit(lambda x, k=k: x + k).lower(1.0) for k in (2, 2, 3)]
    found = {}

    def run(name, k):
        found[name] = compile(lowered[k])

    threads = [
        threading.Thread(target=run, args=(name, k), name=name)
        for k, name in enumerate(["first", "same", "other"])
    ]
    threads[0].start()
    begun.wait(10)
    threads[1].start()
    threads[2].start()
    threads[2].join(10)
    assert set(found) == {"other"}  # not held up by the first
    go_on.set()
    for thread in threads:
        thread.join(10)
    assert found["same"] is found["first"] and len(compiled) == 2
    assert loop._COMPILING == {}


def test_who_waited_for_a_compilation_that_failed_compiles_itself(monkeypatch):
    monkeypatch.setattr(loop, "_EXECUTABLES", {})
    begun, go_on, real = (
        threading.Event(),
        threading.Event(),
        loop.jax.stages.Lowered.compile,
    )

    def fails(lowered, *options):
        if threading.current_thread().name == "first":
            begun.set()
            go_on.wait(10)
            raise KeyboardInterrupt
        return real(lowered, *options)

    monkeypatch.setattr(jax.stages.Lowered, "compile", fails)
    one, two = (jax.jit(lambda x: x * 5).lower(1.0) for _ in range(2))
    found = []

    def first():
        with pytest.raises(KeyboardInterrupt):
            loop.compile_once(one)

    threads = [
        threading.Thread(target=first, name="first"),
        threading.Thread(target=lambda: found.append(loop.compile_once(two))),
    ]
    threads[0].start()
    begun.wait(10)
    threads[1].start()
    time.sleep(0.05)
    go_on.set()
    for thread in threads:
        thread.join(10)
    assert float(found[0](2.0)) == 10


# --- What a cell leaves on the page -------------------------------------------------


@pytest.mark.parametrize(
    ("first", "then", "same"),
    [
        (("a", "1"), ("b", "1"), True),  # the number of the cell, not its text
        (("a", "1"), ("a", "2"), False),
        (("a", None), ("a", None), True),
        (("a", None), ("b", None), False),
        (("%%kmodel net -q\nDense(1)", None), ("%%kmodel net\nDense(2)", None), True),
        (("%%kmodel net\nDense(1)", None), ("%%kmodel other\nDense(1)", None), False),
    ],
)
def test_what_a_cell_drew_is_closed_when_it_runs_again(first, then, same):
    closed = []
    infos = [SimpleNamespace(raw_cell=text, cell_id=i) for text, i in (first, then)]
    cells._note(infos[0])
    cells.draws(SimpleNamespace(close=lambda: closed.append(1)))
    cells._note(infos[1])
    assert closed == [1] * same
    cells._drawn.clear()
    cells._running = ""
