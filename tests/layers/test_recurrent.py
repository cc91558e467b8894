"""Recurrent layers: states, cells of one's own, dropout, the program behind a call."""

import copy

import jax
import jax.numpy as jnp
import keras
import numpy as np
import pytest

from kerasnb import layers
from kerasnb.core.graph import Function
from kerasnb.core.state import functional, read
from tests.helpers import both, case, close

X = np.random.default_rng(0).normal(size=(2, 5, 3)).astype("float32")
START = np.random.default_rng(1).normal(size=(2, 4)).astype("float32")


@pytest.mark.parametrize("name", ["SimpleRNN", "LSTM", "GRU"])
def test_a_layer_starts_from_the_states_it_is_given(name):
    ours, theirs = both(name, units=4, return_state=True)
    states = [START, -START][: len(ours.state_size)]
    mine = ours(X, initial_state=states)
    close(mine, theirs(X, initial_state=states), name)
    assert ours.get_build_config() == theirs.get_build_config()
    assert np.abs(mine[0] - ours(X)[0]).max() > 1e-3


@pytest.mark.parametrize(
    ("name", "args"),
    [
        ("LSTM", {"units": 4}),
        ("GRU", {"units": 4}),
        ("RNN", {"cell": [case("GRUCell", units=3), case("LSTMCell", units=4)]}),
    ],
)
def test_a_stateful_layer_goes_on_where_it_ended(name, args):
    ours, theirs = both(name, stateful=True, **args)
    first, second = ours(X), ours(X)
    close([first, second], [theirs(X), theirs(X)], name)
    assert np.abs(first - second).max() > 1e-4
    ours.reset_state()
    close(ours(X), first, "after reset_state")
    # States travel with the variables but are not saved.
    assert [v.path for v in ours.weights] == [v.path for v in theirs.weights]
    assert len(ours.variables) > len(ours.weights)


def test_a_stateful_layer_keeps_its_states_in_compiled_code():
    layer = layers.GRU(4, stateful=True)
    first, second = layer(X), layer(X)
    layer.reset_state()
    run = jax.jit(functional(lambda x: layer(x), layer.variables))
    values = read(layer.variables)
    out, values = run(values, X)
    close(out, first, "first")
    close(run(values, X)[0], second, "second")


def test_states_pass_from_an_encoder_to_a_decoder():
    outputs = []
    for library in (layers, keras.layers):
        inputs = library.Input((5, 3))
        encoder = library.LSTM(4, return_state=True, kernel_initializer="ones")
        _, *states = encoder(inputs)
        decoder = library.LSTM(4, return_sequences=True, kernel_initializer="ones")
        out = decoder(inputs, initial_state=states)
        outputs.append((out.shape, decoder.get_build_config(), len(decoder.weights)))
    assert outputs[0] == outputs[1]


class Plus(layers.Layer):
    """A cell that adds things up, with noise in training."""

    def __init__(self, units, **kwargs):
        super().__init__(**kwargs)
        self.units = self.state_size = units
        self.dense = layers.Dense(units, use_bias=False, kernel_initializer="ones")
        self.dropout = layers.Dropout(0.5, seed=3)

    def call(self, inputs, states, training=False):
        total = states[0] + self.dropout(self.dense(inputs), training=training)
        self.add_loss(total.sum() * 0.1)
        return total, [total]


def test_a_cell_of_ones_own_runs_in_the_loop():
    layer = layers.RNN(Plus(2), return_sequences=True)
    y = layer(X)
    close(y[..., 0], np.cumsum(X.sum(-1), 1), "sums")
    assert [v.path for v in layer.weights] == ["rnn/plus/dense/kernel"]
    close(sum(layer.losses), np.sum(y) * 0.1, "losses of all steps")


def test_a_cell_draws_new_numbers_at_every_step():
    layer = layers.RNN(Plus(50), return_sequences=True)
    y = np.asarray(layer(np.ones_like(X), training=True))
    steps = np.diff(y, axis=1, prepend=0) > 0
    assert all(not np.array_equal(steps[:, 0], steps[:, i]) for i in range(1, 5))
    assert layer.cell.dropout.seed_generator.state.numpy().tolist() == [3, 5]


def test_a_cell_need_not_be_a_layer():
    class Last:
        state_size = 3

        def call(self, inputs, states):
            return inputs, [inputs]

    close(layers.RNN(Last())(X), X[:, -1], "last step")


def test_a_list_of_states_may_come_back_as_a_tuple_of_another_dtype():
    class Cell(layers.Layer):
        state_size = 3

        def call(self, inputs, states):
            return inputs, (inputs.astype("bfloat16"),)

    close(layers.RNN(Cell())(X), X[:, -1], "last step")


@pytest.mark.parametrize("name", ["SimpleRNN", "LSTM", "GRU"])
def test_dropout_masks_are_the_same_at_all_steps(name):
    layer = getattr(layers, name)(40, dropout=0.5, return_sequences=True, seed=1)
    x = np.zeros((1, 6, 30), "float32")
    x[:, 2:] = 1.0
    layer(x)
    cell = layer.cell
    seen = []
    project = type(cell)._project

    class Spy(type(cell)):
        def _project(self, inputs, masks):
            seen.append(masks)
            return project(self, inputs, masks)

    cell.__class__ = Spy
    layer._loop(True, jnp.asarray(x), layer.get_initial_state(1), None)
    assert len(seen) == 1  # traced once, with masks made before the loop
    share = np.mean(np.asarray(seen[0][0]) == 0)
    assert 0.2 < share < 0.8


def test_dropout_is_the_same_eagerly_and_compiled():
    args = {"units": 4, "dropout": 0.3, "recurrent_dropout": 0.3, "seed": 5}
    eager, compiled = layers.LSTM(**args), layers.LSTM(**args)
    eager.build(X.shape)
    compiled.build(X.shape)
    compiled.set_weights(eager.get_weights())
    run = jax.jit(functional(lambda x: compiled(x, training=True), compiled.variables))
    values = read(compiled.variables)
    for _ in range(2):
        out, values = run(values, X)
        close(eager(X, training=True), out, "outputs")
    close(eager.cell.seed_generator.state.value, values[-1], "seeds")


@pytest.mark.parametrize(
    ("name", "args"),
    [
        ("SimpleRNN", {"dropout": 0.3}),
        ("LSTM", {"dropout": 0.3, "recurrent_dropout": 0.3}),
        ("GRU", {"reset_after": False, "recurrent_dropout": 0.3}),
    ],
)
def test_one_product_before_the_loop_gives_the_same(name, args, monkeypatch):
    # The way of GPUs, here on the CPU.
    layer = getattr(layers, name)(4, return_sequences=True, seed=1, **args)
    mask = np.array([[1, 1, 0, 1, 0], [0, 1, 1, 1, 1]], bool)
    layer.build(X.shape)
    state = read(layer.non_trainable_variables)
    run = functional(lambda: layer(X, training=True, mask=mask), layer.variables)
    values = read(layer.variables)
    in_the_loop, after = jax.jit(run)(values)
    monkeypatch.setattr(type(layer), "_projects_at_once", lambda self: True)
    before_the_loop, also_after = jax.jit(lambda values: run(values))(values)
    close(before_the_loop, in_the_loop, name)
    close(also_after, after, name)
    assert np.any(np.asarray(after[-1]) != np.asarray(state[-1]))


def test_use_without_training_draws_no_seed():
    layer = layers.GRU(3, dropout=0.5, seed=1)
    layer(X)
    assert layer.cell.seed_generator.state.numpy().tolist() == [1, 0]


def test_the_program_of_a_layer_follows_its_settings_and_weights():
    layer = layers.GRU(4)
    before = layer(X)
    layer.go_backwards = True
    assert np.abs(layer(X) - before).max() > 1e-4
    layer.go_backwards = False
    close(layer(X), before, "as before")
    layer.set_weights([w * 0 for w in layer.get_weights()])
    close(layer(X), np.zeros((2, 4), "float32"), "without weights")
    other = copy.deepcopy(layer)
    assert "_programs" not in other.__dict__
    layer.set_weights([w + 1 for w in layer.get_weights()])
    close(other(X), np.zeros((2, 4), "float32"), "a copy has weights of its own")


def test_a_call_without_gradient_leaves_weights_alone():
    # A layer may be called while another thread trains it.
    layer = layers.LSTM(3)
    layer(X)
    boxes = [v.box for v in layer.weights]
    layer(X, training=True)
    assert all(a is b.box for a, b in zip(boxes, layer.weights, strict=True))


def test_cells_can_be_called_by_themselves():
    for name, states in (("SimpleRNNCell", 1), ("LSTMCell", 2), ("GRUCell", 1)):
        ours, theirs = both(name, units=4)
        start = [START] * states
        close(ours(X[:, 0], start), theirs(X[:, 0], start), name)
    close(ours(X[:, 0], START), theirs(X[:, 0], START), "a state without its list")


def test_bidirectional_takes_weights_for_both_directions():
    source = layers.Bidirectional(layers.SimpleRNN(2))
    wanted = source(X)
    other = layers.Bidirectional(layers.SimpleRNN(2), weights=source.get_weights())
    close(other(X), wanted, "weights")
    states = [START[:, :2], -START[:, :2]]
    close(
        other(X, initial_state=states)[:, 2:],
        other.backward_layer(X, initial_state=states[1:]),
        "the second half of the states goes backwards",
    )


def test_bidirectional_layers_must_fit_together():
    with pytest.raises(ValueError, match="must differ in `go_backwards`"):
        layers.Bidirectional(layers.GRU(2), backward_layer=layers.GRU(2))
    with pytest.raises(ValueError, match="must agree on `return_sequences`"):
        layers.Bidirectional(
            layers.GRU(2),
            backward_layer=layers.GRU(2, go_backwards=True, return_sequences=True),
        )


def test_time_distributed_adds_up_the_losses_of_all_steps():
    for inner in ("Dense", "BatchNormalization"):  # without and with a loop
        args = {"units": 3} if inner == "Dense" else {}
        layer = layers.TimeDistributed(Penalty(getattr(layers, inner)(**args)))
        y = layer(X)
        close(layer.losses[0], np.sum(np.square(y)), inner)


class Penalty(layers.Wrapper):
    """Adds the square of the outputs to the loss."""

    def call(self, x):
        y = self.layer(x)
        self.add_loss(jnp.square(y).sum())
        return y


class Nested(layers.Layer):
    """A cell that sums its inputs in a pair of states, and the pairs in another."""

    state_size = [[2, 3], 4]
    output_size = 4

    def get_initial_state(self, batch_size=None):
        pair = [jnp.zeros((batch_size, 2)), jnp.zeros((batch_size, 3))]
        return [pair, jnp.ones((batch_size, 4))]

    def call(self, inputs, states):
        (a, b), c = states
        a, b = a + inputs[:, :2], b + inputs
        c = c + jnp.concatenate([a, b], -1)[:, :4]
        return c, [[a, b], c]


def test_states_of_a_cell_may_be_nested():
    layer = layers.RNN(Nested(), return_state=True)
    y, (a, b), c = layer(X)
    sums = np.cumsum(X, 1)
    close(b, sums[:, -1], "the second of the pair")
    close(a, b[:, :2], "the first of the pair")
    close(c, 1 + np.concatenate([sums[..., :2], sums], -1)[..., :4].sum(1), "total")
    close(y, c, "the output")
    _, pair, _ = layer(layers.Input((None, 3)))
    assert [t.shape for t in pair] == [(None, 2), (None, 3)]


def test_states_given_by_placeholders_reach_both_directions():
    ours, theirs = both("Bidirectional", layer=case("LSTM", units=4))
    theirs.build(X.shape)
    made = []
    for library, layer in ((layers, ours), (keras.layers, theirs)):
        inputs = library.Input((5, 3))
        states = [library.Input((4,)) for _ in range(4)]
        made.append(([inputs, *states], layer(inputs, initial_state=states)))
    theirs.set_weights(ours.get_weights())
    values = [X, START, -START, 2 * START, START + 1]
    model = keras.Model(*made[1])
    close(Function(*made[0])(values), np.asarray(model(values)), "states")


def test_a_subclass_may_change_the_loop():
    class Doubled(layers.GRU):
        """Twice the outputs."""

        def inner_loop(self, sequences, initial_state, mask, training=False):
            last, outputs, states = super().inner_loop(
                sequences, initial_state, mask, training
            )
            assert outputs.shape == ((2, 5, 3) if self.return_sequences else (2, 1, 3))
            return 2 * last, 2 * outputs, states

    for sequences in (False, True):
        layer = Doubled(3, return_sequences=sequences, go_backwards=True)
        wanted = layers.GRU.from_config(layer.get_config())
        wanted.build(X.shape)
        y = layer(X)
        wanted.set_weights(layer.get_weights())
        close(y, 2 * wanted(X), "doubled")


def test_a_cell_hands_out_its_dropout_masks():
    rates = {"dropout": 0.5, "recurrent_dropout": 0.4, "seed": 1}
    for name in ("SimpleRNNCell", "LSTMCell", "GRUCell"):
        ours, theirs = both(name, units=3, **rates)
        masks = []
        for cell in (ours, theirs):
            first = cell.get_dropout_mask(X[:, 0])
            second = cell.get_recurrent_dropout_mask(START)
            assert cell.get_dropout_mask(X[:, 0]) is first
            cell.reset_dropout_mask()
            cell.reset_recurrent_dropout_mask()
            third = cell.get_dropout_mask(X[:, 0])
            masks.append([np.asarray(mask) for mask in (first, second, third)])
        close(*masks, name)
        assert getattr(layers, name)(3).get_dropout_mask(X[:, 0]) is None


def test_a_stack_of_cells_passes_options_on():
    class Plain(layers.Layer):
        state_size = 3

        def call(self, inputs, states, extra=0.0):
            return inputs + extra, [inputs]

    stack = layers.StackedRNNCells([Plain(), Plain()])
    out, _ = stack(X[:, 0], [[X[:, 0]]] * 2, extra=2.0)
    close(out, X[:, 0] + 4, "both")


def test_states_need_a_batch_size():
    message = "`it`: `batch_size` must be the number of samples, not None"
    for cell in (
        layers.GRUCell(3, name="it"),
        layers.StackedRNNCells([layers.LSTMCell(3)], name="it"),
    ):
        with pytest.raises(ValueError, match=message):
            cell.get_initial_state()


def test_a_config_may_name_classes_that_come_along():
    class MyCell(layers.SimpleRNNCell):
        """A class that is not registered."""

    config = layers.RNN(layers.StackedRNNCells([MyCell(3)])).get_config()
    again = layers.RNN.from_config(config, custom_objects={"MyCell": MyCell})
    assert type(again.cell.cells[0]) is MyCell
