"""kerasnb.training.trainer: steps and loops of one's own, as in Keras' guides"""

import jax
import jax.numpy as jnp
import keras as real
import numpy as np
import pytest

import kerasnb as keras

RNG = np.random.default_rng(0)
X = RNG.normal(size=(40, 6)).astype("float32")
Y = (X @ RNG.normal(size=(6, 1)) + 0.1).astype("float32")
W = RNG.uniform(0.5, 2.0, 40).astype("float32")
FIT = {"batch_size": 16, "epochs": 2, "shuffle": False, "verbose": 0}


def chain(k, cls=None, penalty="l2"):
    """A small model of `cls`, with state and randomness."""
    inputs = k.Input((6,))
    x = k.layers.Dense(8, activation="tanh", kernel_regularizer=penalty)(inputs)
    x = k.layers.BatchNormalization()(x)
    x = k.layers.Dropout(0.2)(x)
    return (cls or k.Model)(inputs, k.layers.Dense(1)(x))


def rate(k, kind="Adam"):
    return getattr(k.optimizers, kind)(0.01)


def flat(tree):
    return [np.asarray(leaf) for leaf in jax.tree.leaves(tree)]


def weights(model):
    return [np.asarray(v.value) for v in model.variables]


# --- Overridden steps, and what they are made of ----------------------------------


def own_train_step(k):
    """The guide's: a gradient of one's own, metrics one by one."""

    class Own(k.Model):
        def objective(self, trainable, rest, x, y, training=False):
            y_pred, rest = self.stateless_call(trainable, rest, x, training=training)
            return self.compute_loss(x, y, y_pred), (y_pred, rest)

        def train_step(self, state, data):
            trainable, rest, slots, metrics = state
            x, y = data
            gradient = jax.value_and_grad(self.objective, has_aux=True)
            (loss, (y_pred, rest)), grads = gradient(
                trainable, rest, x, y, training=True
            )
            trainable, slots = self.optimizer.stateless_apply(slots, grads, trainable)
            logs, metrics = self.measure(metrics, loss, y, y_pred)
            return logs, (trainable, rest, slots, metrics)

        def test_step(self, state, data):
            trainable, rest, metrics = state
            x, y = data
            y_pred, rest = self.stateless_call(trainable, rest, x, training=False)
            loss = self.compute_loss(x, y, y_pred)
            logs, metrics = self.measure(metrics, loss, y, y_pred)
            return logs, (trainable, rest, metrics)

        def measure(self, values, loss, y, y_pred):
            logs, new = {}, []
            for metric in self.metrics:
                own = values[len(new) : len(new) + len(metric.variables)]
                shown = (loss,) if metric.name == "loss" else (y, y_pred)
                own = metric.stateless_update_state(own, *shown)
                logs[metric.name] = metric.stateless_result(own)
                new += own
            return logs, new

    model = chain(k, Own, penalty=None)
    model.compile(rate(k), "mse", metrics=["mae"])
    return model


def metrics_by_property(k):
    """The guide's lower level: no loss in compile, metrics of one's own."""

    class Own(k.Model):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            self.loss_tracker = k.metrics.Mean(name="loss")
            self.mae = k.metrics.MeanAbsoluteError(name="mae")
            self.loss_fn = k.losses.MeanSquaredError()

        @property
        def metrics(self):
            return [self.loss_tracker, self.mae]

        def objective(self, trainable, rest, x, y):
            y_pred, rest = self.stateless_call(trainable, rest, x, training=True)
            return self.loss_fn(y, y_pred), (y_pred, rest)

        def train_step(self, state, data):
            trainable, rest, slots, metrics = state
            x, y = data
            gradient = jax.value_and_grad(self.objective, has_aux=True)
            (loss, (y_pred, rest)), grads = gradient(trainable, rest, x, y)
            trainable, slots = self.optimizer.stateless_apply(slots, grads, trainable)
            tracked = self.loss_tracker.stateless_update_state(metrics[:2], loss)
            mae = self.mae.stateless_update_state(metrics[2:], y, y_pred)
            logs = {
                "loss": self.loss_tracker.stateless_result(tracked),
                "mae": self.mae.stateless_result(mae),
            }
            return logs, (trainable, rest, slots, tracked + mae)

    model = chain(k, Own)
    model.compile(optimizer=rate(k))
    return model


def own_loss(k):
    class Own(k.Model):
        def compute_loss(
            self, x=None, y=None, y_pred=None, sample_weight=None, training=True
        ):
            error = k.ops.mean(k.ops.abs(y - y_pred)) + sum(self.losses)
            self.tracker.update_state(error)
            return error

        def reset_metrics(self):
            self.tracker.reset_state()

        @property
        def metrics(self):
            return [self.tracker]

    model = chain(k, Own)
    model.tracker = k.metrics.Mean(name="error")
    model.compile(rate(k))
    return model


def own_loss_over_super(k):
    class Own(k.Model):
        def compute_loss(self, x, y, y_pred, sample_weight=None, training=True):
            loss = super().compute_loss(x, y, y_pred, sample_weight, training)
            return loss + 0.1 * k.ops.mean(k.ops.square(y_pred))

    model = chain(k, Own)
    model.compile(rate(k), "mse", metrics=["mae"])
    return model


def own_metrics(k):
    class Own(k.Model):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            self.spread = k.metrics.Mean(name="spread")

        def compute_metrics(self, x, y, y_pred, sample_weight=None):
            logs = super().compute_metrics(x, y, y_pred, sample_weight)
            self.spread.update_state(k.ops.std(y_pred))
            return {**logs, "spread": self.spread.result(), "always": 2.0}

    model = chain(k, Own)
    model.compile(rate(k), "mse", metrics=["mae"])
    return model


def own_updates(k):
    """The method that the gradient goes through, replaced."""

    class Own(k.Model):
        def compute_loss_and_updates(self, *args, **kwargs):
            loss, aux = super().compute_loss_and_updates(*args, **kwargs)
            return 2.0 * loss, aux

    model = chain(k, Own)
    model.compile(rate(k, "SGD"), "mse")
    return model


def added_losses(k):
    class Penalty(k.layers.Layer):
        def call(self, x):
            self.add_loss(0.1 * k.ops.mean(k.ops.square(x)))
            return x

    inputs = k.Input((6,))
    x = Penalty()(k.layers.Dense(8, kernel_regularizer="l1")(inputs))
    model = k.Model(inputs, k.layers.Dense(1)(x))
    model.compile(rate(k), "mse")
    return model


def super_step(k):
    class Own(k.Model):
        def train_step(self, state, data):
            logs, state = super().train_step(state, data)
            return {**logs, "twice": 2 * logs["loss"]}, state

    model = chain(k, Own)
    model.compile(rate(k), "mse")
    return model


def subclass_with_call(k):
    """A model without a graph, whose call has no `training`."""

    class Own(k.Model):
        def __init__(self):
            super().__init__()
            self.inner = k.layers.Dense(8, activation="relu")
            self.outer = k.layers.Dense(1)

        def call(self, x):
            return self.outer(self.inner(x))

        def train_step(self, state, data):
            x, y = data
            return super().train_step(state, (x[:, ::-1], y))

    model = Own()
    model(X[:1])
    model.compile(rate(k), "mse")
    return model


def two_players(k):
    """Two optimizers: one of the model, one whose slots are among its variables."""

    class Players(k.Model):
        def __init__(self):
            super().__init__()
            self.maker = k.Sequential([k.Input((6,)), k.layers.Dense(1)])
            self.judge = k.Sequential([k.Input((1,)), k.layers.Dense(1)])
            self.maker_loss = k.metrics.Mean(name="maker_loss")
            self.judge_loss = k.metrics.Mean(name="judge_loss")
            self.built = True

        def call(self, x):
            return self.maker(x)

        def compile(self, maker_optimizer, judge_optimizer):
            super().compile(optimizer=maker_optimizer)
            maker_optimizer.build(self.maker.trainable_variables)
            judge_optimizer.build(self.judge.trainable_variables)
            self.judge_optimizer = judge_optimizer

        @property
        def trainable_variables(self):
            return self.maker.trainable_variables

        @property
        def non_trainable_variables(self):
            judge = self.judge.trainable_variables
            return [*judge, *self.judge_optimizer.variables]

        @property
        def metrics(self):
            return [self.maker_loss, self.judge_loss]

        def train_step(self, state, data):
            maker, others, slots, metrics = state
            judge, judge_slots = others[:2], others[2:]
            x, y = data

            def says(judge, shown):
                return self.judge.stateless_call(judge, [], shown)[0]

            def of_judge(judge):
                made, _ = self.maker.stateless_call(maker, [], x)
                return jnp.mean(
                    jax.nn.softplus(says(judge, made))
                    + jax.nn.softplus(-says(judge, y))
                )

            def of_maker(maker):
                made, _ = self.maker.stateless_call(maker, [], x)
                return jnp.mean(jax.nn.softplus(-says(judge, made)))

            judge_loss, grads = jax.value_and_grad(of_judge)(judge)
            judge, judge_slots = self.judge_optimizer.stateless_apply(
                judge_slots, grads, judge
            )
            maker_loss, grads = jax.value_and_grad(of_maker)(maker)
            maker, slots = self.optimizer.stateless_apply(slots, grads, maker)
            logs, new = {}, []
            for metric, loss in zip(
                self.metrics, (maker_loss, judge_loss), strict=True
            ):
                own = metrics[len(new) : len(new) + 2]
                own = metric.stateless_update_state(own, loss)
                logs[metric.name] = metric.stateless_result(own)
                new += own
            return logs, (maker, [*judge, *judge_slots], slots, new)

    model = Players()
    model.compile(rate(k), rate(k, "RMSprop"))
    return model


OVERRIDES = [
    own_train_step,
    metrics_by_property,
    own_loss,
    own_loss_over_super,
    own_metrics,
    own_updates,
    added_losses,
    super_step,
    subclass_with_call,
    two_players,
]


@pytest.mark.parametrize("make", OVERRIDES, ids=lambda make: make.__name__)
def test_what_a_subclass_overrides_is_used_as_in_keras(make):
    results = []
    for k in (keras, real):
        k.utils.set_random_seed(1)
        model = make(k)
        found = [model.fit(X, Y, **FIT).history]
        if model.loss or make is own_loss:
            found += [model.evaluate(X, Y, 16, verbose=0, return_dict=True)]
        results.append([*found, model.predict(X, verbose=0), weights(model)])
    ours, theirs = results
    assert set(ours[0]) == set(theirs[0])
    for a, b in zip(flat(ours), flat(theirs), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


def test_layers_may_show_metrics_of_their_own():
    class Measured(keras.layers.Layer):
        def __init__(self):
            super().__init__()
            self.size = keras.metrics.Mean(name="size")

        def call(self, x):
            self.size.update_state(jnp.mean(jnp.abs(x)))
            return x

    inputs = keras.Input((6,))
    model = keras.Model(inputs, keras.layers.Dense(1)(Measured()(inputs)))
    model.compile("sgd", "mse")
    found = model.fit(X, Y, **FIT | {"batch_size": 40}).history
    np.testing.assert_allclose(found["size"], np.abs(X).mean(), rtol=1e-5)
    np.testing.assert_allclose(model.predict(X, verbose=0), model(X), rtol=1e-5)


@pytest.mark.parametrize("name", ["stateless_call", "stateless_compute_loss"])
def test_stateless_methods_of_a_subclass_are_used(name):
    def own(self, *args, **kwargs):
        out, *rest = getattr(super(Own, self), name)(*args, **kwargs)
        return (2.0 * out, *rest)

    class Own(keras.Model):
        pass

    setattr(Own, name, own)
    inputs = keras.Input((6,))
    results = []
    for cls in (Own, keras.Model):
        model = cls(inputs, keras.layers.Dense(1, kernel_regularizer="l2")(inputs))
        model.set_weights([np.full((6, 1), 0.3), np.zeros(1)])
        model.compile("sgd", "mse")
        results.append(model.evaluate(X, Y, 40, verbose=0))
    penalty = 6 * 0.01 * 0.3**2
    doubled = np.mean((2 * 0.3 * X.sum(1, keepdims=True) - Y) ** 2) + penalty
    plain = results[1]
    expected = {"stateless_call": doubled, "stateless_compute_loss": 2 * plain}
    np.testing.assert_allclose(results[0], expected[name], rtol=1e-5)


def test_data_without_targets_reaches_a_step_as_in_keras():
    for k in (keras, real):
        seen = []

        class Own(k.Model):
            def train_step(self, state, data, seen=seen):
                seen.append(jax.tree.structure(data))
                return super().train_step(state, data)

            def predict_step(self, state, data, seen=seen):
                seen.append(jax.tree.structure(data))
                return super().predict_step(state, data)

        inputs = k.Input((6,))
        out = k.layers.ActivityRegularization(l2=0.1)(k.layers.Dense(2)(inputs))
        model = Own(inputs, out)
        model.compile("sgd")
        model.fit(X, **FIT)
        model.predict(X, verbose=0)
        assert set(seen) == {jax.tree.structure("bare")}


# --- Loops by hand --------------------------------------------------------------------


def by_hand(k):
    """The guide's loop: losses, optimizer and metrics without side effects."""
    model = chain(k)
    optimizer, loss_fn = rate(k), k.losses.MeanSquaredError()
    metric = k.metrics.MeanAbsoluteError()
    optimizer.build(model.trainable_variables)

    def objective(trainable, rest, x, y):
        y_pred, rest, extra = model.stateless_call(
            trainable, rest, x, training=True, return_losses=True
        )
        return loss_fn(y, y_pred) + sum(extra), (y_pred, rest)

    @jax.jit
    def step(state, x, y):
        trainable, rest, slots, metrics = state
        gradient = jax.value_and_grad(objective, has_aux=True)
        (loss, (y_pred, rest)), grads = gradient(trainable, rest, x, y)
        trainable, slots = optimizer.stateless_apply(slots, grads, trainable)
        metrics = metric.stateless_update_state(metrics, y, y_pred)
        return loss, (trainable, rest, slots, metrics)

    groups = (
        model.trainable_variables,
        model.non_trainable_variables,
        optimizer.variables,
        metric.variables,
    )
    state = tuple([v.value for v in group] for group in groups)
    losses, errors = [], []
    for _ in range(2):
        for at in range(0, 40, 16):
            loss, state = step(state, X[at : at + 16], Y[at : at + 16])
            losses.append(loss)
        errors.append(metric.stateless_result(state[3]))
        state = (*state[:3], metric.stateless_reset_state())
    for group, values in zip(groups, state, strict=True):
        for variable, value in zip(group, values, strict=True):
            variable.assign(value)
    return [losses, errors, model.predict(X, verbose=0), weights(model)]


def with_two_optimizers(k):
    """A maker and its judge, each with an optimizer, in one compiled step."""
    maker = k.Sequential([k.Input((6,)), k.layers.Dense(1)])
    judge = k.Sequential([k.Input((1,)), k.layers.Dense(4, "tanh"), k.layers.Dense(1)])
    optimizers = [rate(k), rate(k, "RMSprop")]
    for optimizer, model in zip(optimizers, (maker, judge), strict=True):
        optimizer.build(model.trainable_variables)

    def made(values):
        return maker.stateless_call(values, [], X)[0]

    def says(values, x):
        return judge.stateless_call(values, [], x)[0]

    def of_judge(judge, maker):
        wrong = jax.nn.softplus(says(judge, made(maker)))
        return jnp.mean(wrong + jax.nn.softplus(-says(judge, Y)))

    def of_maker(maker, judge):
        return jnp.mean(jax.nn.softplus(-says(judge, made(maker))))

    @jax.jit
    def step(m, j, m_slots, j_slots):
        j_loss, grads = jax.value_and_grad(of_judge)(j, m)
        j, j_slots = optimizers[1].stateless_apply(j_slots, grads, j)
        m_loss, grads = jax.value_and_grad(of_maker)(m, j)
        m, m_slots = optimizers[0].stateless_apply(m_slots, grads, m)
        return (m_loss, j_loss), (m, j, m_slots, j_slots)

    owners = (maker, judge)
    state = [[v.value for v in model.trainable_variables] for model in owners]
    state += [[v.value for v in optimizer.variables] for optimizer in optimizers]
    losses = []
    for _ in range(5):
        loss, state = step(*state)
        losses.append(loss)
    return [losses, state]


@pytest.mark.parametrize("loop", [by_hand, with_two_optimizers])
def test_a_loop_by_hand_gives_what_it_gives_in_keras(loop):
    results = []
    for k in (keras, real):
        k.utils.set_random_seed(1)
        results.append(flat(loop(k)))
    for a, b in zip(*results, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


def test_sample_weights_reach_a_step_of_ones_own():
    results = []
    for k in (keras, real):
        k.utils.set_random_seed(1)

        class Own(k.Model):
            def train_step(self, state, data):
                x, y, weight = data
                return super().train_step(state, (x, y, weight * weight))

        inputs = k.Input((6,))
        model = Own(inputs, k.layers.Dense(1)(inputs))
        model.compile(rate(k), "mse", weighted_metrics=["mae"])
        history = model.fit(X, Y, sample_weight=W, **FIT).history
        results.append([history, weights(model)])
    for a, b in zip(*map(flat, results), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
