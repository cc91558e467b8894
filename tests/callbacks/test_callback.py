"""kerasnb.callbacks.callback, callback_list: the hooks and who is called when."""

import inspect

import jax.numpy as jnp
import keras
import numpy as np
import pytest

from kerasnb import callbacks
from kerasnb.callbacks.callback import HOOKS


class Recorder(callbacks.Callback):
    """Notes every call."""

    def __init__(self):
        super().__init__()
        self.calls = []

    def on_train_batch_begin(self, batch, logs=None):
        self.calls.append(("begin", batch, logs))

    def on_train_batch_end(self, batch, logs=None):
        self.calls.append(("end", batch, logs))


class Passive(Recorder):
    passive = True


def test_the_hooks_are_those_of_keras():
    theirs = {n for n in dir(keras.callbacks.Callback) if n.startswith("on_")}
    assert set(HOOKS) == theirs
    for name in HOOKS:
        ours = inspect.signature(getattr(callbacks.Callback, name))
        reference = inspect.signature(getattr(keras.callbacks.Callback, name))
        assert list(ours.parameters) == list(reference.parameters)


@pytest.mark.parametrize("name", [n for n in dir(callbacks) if n[0].isupper()])
def test_the_signature_is_that_of_keras(name):
    if name == "MonitorCallback":
        theirs = keras.src.callbacks.MonitorCallback
    else:
        theirs = getattr(keras.callbacks, name)
    ours = inspect.signature(getattr(callbacks, name)).parameters
    theirs = inspect.signature(theirs).parameters
    assert [(p.name, p.default) for p in ours.values()] == [
        (p.name, p.default) for p in theirs.values()
    ]


def test_every_hook_reaches_every_callback_with_plain_sorted_logs(make_model):
    class All(callbacks.Callback):
        def __getattribute__(self, name):
            if name in HOOKS:
                return lambda *args: calls.append((name, *args))
            return super().__getattribute__(name)

    calls = []
    hooks = callbacks.CallbackList([All()], model=make_model())
    logs = {"loss": np.float32(0.5), "accuracy": jnp.asarray(0.25), "epoch": 3}
    for name in HOOKS:
        where = (7,) if "batch" in name or "epoch" in name else ()
        getattr(hooks, name)(*where, logs)
        assert calls.pop() == (
            name,
            *where,
            {"accuracy": 0.25, "epoch": 3.0, "loss": 0.5},
        )
        assert not calls
    hooks.on_epoch_end(0, logs)
    assert list(calls[0][2]) == ["accuracy", "epoch", "loss"]
    assert {type(v) for v in calls[0][2].values()} == {float}


def test_outputs_of_predict_arrive_as_they_are():
    seen = []
    hook = callbacks.LambdaCallback(
        on_predict_batch_end=lambda b, logs: seen.append(logs)
    )
    outputs = jnp.ones((1, 1))
    callbacks.CallbackList([hook]).on_predict_batch_end(0, {"outputs": outputs})
    assert seen[0]["outputs"] is outputs


def test_one_callback_hands_what_it_adds_to_the_next():
    hooks = callbacks.CallbackList(
        [
            callbacks.LambdaCallback(
                on_epoch_end=lambda e, logs: logs.update(extra=1.0)
            ),
        ],
        add_history=True,
    )
    hooks.on_train_begin()
    hooks.on_epoch_end(0, {"loss": 0.5})
    assert hooks.history.history == {"loss": [0.5], "extra": [1.0]}


def test_old_batch_hooks_are_called_for_training_batches():
    class Old(callbacks.Callback):
        seen = []

        def on_batch_begin(self, batch, logs=None):
            self.seen.append(("begin", batch))

        def on_batch_end(self, batch, logs=None):
            self.seen.append(("end", batch, logs))

    hooks = callbacks.CallbackList([Old()])
    assert hooks.needs_batches
    hooks.on_train_batch_begin(4)
    hooks.on_train_batch_end(4, {"loss": 1})
    assert Old.seen == [("begin", 4), ("end", 4, {"loss": 1.0})]


# --- Which batches matter -------------------------------------------------------------


@pytest.mark.parametrize(
    ("callback", "wants", "needs"),
    [
        (callbacks.Callback(), False, False),
        (callbacks.History(), False, False),
        (callbacks.EarlyStopping(), False, False),
        (callbacks.ProgbarLogger(), True, False),
        (callbacks.TerminateOnNaN(), True, False),
        (callbacks.ModelCheckpoint("a.keras"), False, False),
        (callbacks.ModelCheckpoint("a.keras", save_freq=5), True, True),
        (Recorder(), True, True),
        (Passive(), True, False),
        (callbacks.LambdaCallback(on_epoch_end=print), False, False),
        (callbacks.LambdaCallback(on_train_batch_end=print), True, True),
        (callbacks.LambdaCallback(on_batch_begin=print), True, True),
        (callbacks.LambdaCallback(on_train_batch_end=print, passive=True), True, False),
        (keras.callbacks.EarlyStopping(), False, False),
        (keras.callbacks.TerminateOnNaN(), True, True),
    ],
    ids=lambda value: type(value).__name__,
)
def test_only_hooks_that_need_the_model_stop_the_loop(callback, wants, needs):
    hooks = callbacks.CallbackList([callback], add_history=True)
    assert (hooks.wants_batches, hooks.needs_batches) == (wants, needs)


def test_a_checkpoint_with_an_own_batch_hook_needs_its_batches():
    class Mine(callbacks.ModelCheckpoint):
        def on_train_batch_end(self, batch, logs=None):
            super().on_train_batch_end(batch, logs)

    assert callbacks.CallbackList([Mine("a.keras")]).needs_batches


def test_evaluation_and_prediction_are_asked_for_apart():
    test = callbacks.LambdaCallback(on_test_batch_end=print)
    predict = callbacks.LambdaCallback(on_predict_batch_begin=print, passive=True)
    hooks = callbacks.CallbackList([test, predict])
    assert not hooks.wants_batches
    assert hooks.needs_test_batches
    assert hooks.wants_predict_batches
    assert not hooks.needs_predict_batches


def test_replay_gives_the_calls_that_single_steps_would_have_given():
    single, replayed = Passive(), Passive()
    curves = {
        "loss": np.array([0.5, 0.25, 0.125], "float32"),
        "accuracy": np.array([0.0, 0.5, 1.0], "float32"),
    }
    hooks = callbacks.CallbackList([single])
    for i in range(3):
        hooks.on_train_batch_begin(10 + i)
        hooks.on_train_batch_end(10 + i, {k: v[i] for k, v in curves.items()})
    callbacks.CallbackList([callbacks.History(), replayed]).replay(
        "train", 10, 3, curves
    )
    assert replayed.calls == single.calls
    assert len(replayed.calls) == 6
    assert list(replayed.calls[1][2]) == ["accuracy", "loss"]


# --- The list -------------------------------------------------------------------------


def test_history_and_progress_are_added_once_and_at_the_end(make_model):
    model, own = make_model(), callbacks.History()
    hooks = callbacks.CallbackList(
        [Recorder()], add_history=True, add_progbar=True, model=model, epochs=2
    )
    kinds = [type(c) for c in hooks]
    assert kinds == [Recorder, callbacks.History, callbacks.ProgbarLogger]
    assert model.history is hooks.history
    assert [c.params for c in hooks] == [{"epochs": 2}] * 3
    assert all(c.model is model for c in hooks)
    again = callbacks.CallbackList([own], add_history=True)
    assert again.history is own
    assert list(again) == [own]


def test_a_single_callback_and_nested_lists_are_accepted():
    a, b = Recorder(), Recorder()
    assert list(callbacks.CallbackList(a)) == [a]
    assert list(callbacks.CallbackList([a, [b], None])) == [a, b]
    assert list(callbacks.CallbackList(None)) == []


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (callbacks.EarlyStopping, r"EarlyStopping is a class; pass an object, Early"),
        ("early", "'early' is not a callback; pass objects from keras.callbacks"),
        (print, "is not a callback"),
    ],
)
def test_what_is_no_callback_is_refused(given, message):
    with pytest.raises(TypeError, match=message):
        callbacks.CallbackList([given])


def test_a_callback_that_forgets_super_init_works(make_model):
    class Careless(callbacks.Callback):
        def __init__(self):
            self.seen = 0

        def on_epoch_end(self, epoch, logs=None):
            self.seen += self.model.weights

    model, careless = make_model(), Careless()
    model.weights = 3
    assert careless.model is None
    callbacks.CallbackList([careless], model=model).on_epoch_end(0)
    assert careless.seen == 3


def test_a_lambda_callback_refuses_unknown_hooks():
    with pytest.raises(TypeError, match='Did you mean "on_epoch_end"'):
        callbacks.LambdaCallback(on_epoch_ends=print)
    with pytest.raises(ValueError, match="`on_epoch_end` must be a function"):
        callbacks.LambdaCallback(on_epoch_end=3)
