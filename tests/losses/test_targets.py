"""kerasnb.losses.targets"""

import numpy as np
import pytest

from kerasnb import losses

LABELS = np.array([0, 3, 9])
CODES = np.eye(10)[LABELS]

FITTING = [
    ("sparse_categorical_crossentropy", LABELS, (None, 10)),
    ("sparse_categorical_crossentropy", LABELS[:, None], (None, 10)),
    ("sparse_categorical_crossentropy", LABELS.astype("float32"), (None, 10)),
    ("sparse_categorical_crossentropy", np.zeros((3, 5, 5), "uint8"), (None, 5, 5, 2)),
    ("categorical_crossentropy", CODES, (None, 10)),
    ("categorical_crossentropy", CODES.astype(bool), (None, 10)),
    ("binary_crossentropy", np.array([0, 1, 1]), (None, 1)),
    ("binary_crossentropy", np.array([[0.0, 0.3]]), (None, 2)),
    ("mean_squared_error", np.zeros((3, 4)), (None, 4)),
    ("mean_squared_error", np.zeros(3), (None, 1)),
    ("mean_squared_error", np.zeros((3, 1)), (None, 1)),
    ("mean_squared_error", np.zeros((3, 1)), (None,)),
    ("huber", np.full((3, 4), -5.0), (None, 4)),
    ("sparse_categorical_crossentropy", np.zeros(0), (None, 10)),
    ("mean_squared_error", {"a": 1}, (None, 4)),
]


@pytest.mark.parametrize(("name", "y", "shape"), FITTING, ids=str)
def test_targets_that_fit_are_let_through(name, y, shape):
    losses.as_loss(name).check_targets(y, shape)


WRONG = [
    (
        "sparse_categorical_crossentropy",
        np.array([0, 12]),
        (None, 10),
        """SparseCategoricalCrossentropy: `y` holds the label 12, but the model has 10
        outputs, so labels must be 0 to 9. The last layer would need 13 units.""",
    ),
    (
        "sparse_categorical_crossentropy",
        np.array([1, 10]),
        (None, 10),
        """SparseCategoricalCrossentropy: `y` holds the label 10, but the model has 10
        outputs, so labels must be 0 to 9. Labels count from 0: subtract 1.""",
    ),
    (
        "sparse_categorical_crossentropy",
        np.array([-1, 1]),
        (None, 10),
        """SparseCategoricalCrossentropy: `y` holds the label -1, but the model has 10
        outputs, so labels must be 0 to 9.""",
    ),
    (
        "sparse_categorical_crossentropy",
        np.array([0, 1]),
        (None, 1),
        """SparseCategoricalCrossentropy: `y` holds the label 1, but the model has 1
        output, so labels must be 0. For a yes or no use binary_crossentropy and a
        sigmoid.""",
    ),
    (
        "sparse_categorical_crossentropy",
        CODES,
        (None, 10),
        """SparseCategoricalCrossentropy: `y` must hold one class number for each
        sample, shape (batch,), not (batch, 10). For one-hot codes as targets use
        categorical_crossentropy.""",
    ),
    *(
        (
            name,
            y,
            (None, 28, 28, 10),
            f"""{title} shape (batch, {shape}), not (batch, {given}). The model answers
            for each of 28 x 28 places; to answer once, put Flatten() before the last
            Dense, or a global pooling.""",
        )
        for name, y, title, shape, given in [
            (
                "sparse_categorical_crossentropy",
                LABELS[:, None],
                """SparseCategoricalCrossentropy: `y` must hold one class number for
                each sample,""",
                "28, 28",
                "1",
            ),
            (
                "categorical_crossentropy",
                CODES,
                "CategoricalCrossentropy: `y` must hold one number for each class,",
                "28, 28, 10",
                "10",
            ),
        ]
    ),
    (
        "mean_squared_error",
        np.zeros((3, 28)),
        (None, 28, 5, 1),
        """MeanSquaredError: `y` must have the shape of the model's output, (batch, 28,
        5, 1), not (batch, 28). The model answers for each of 5 places; to answer once,
        put Flatten() before the last Dense, or a global pooling.""",
    ),
    (
        "binary_crossentropy",
        np.array([0, 1]),
        (None, 7, 1),
        """BinaryCrossentropy: `y` must have the shape of the model's output, (batch, 7,
        1), not (batch,). The model answers for each of 7 places; to answer once, put
        Flatten() before the last Dense, or a global pooling.""",
    ),
    (
        "sparse_categorical_crossentropy",
        np.array([0.5]),
        (None, 10),
        """SparseCategoricalCrossentropy: `y` holds 0.5, but class numbers must be
        whole.""",
    ),
    (
        "categorical_crossentropy",
        LABELS,
        (None, 10),
        """CategoricalCrossentropy: `y` must hold one number for each class, shape
        (batch, 10), not (batch,). For class numbers as targets use
        sparse_categorical_crossentropy, or turn them into codes with
        keras.utils.to_categorical.""",
    ),
    (
        "categorical_crossentropy",
        np.zeros((3, 4)),
        (None, 10),
        """CategoricalCrossentropy: `y` must hold one number for each class, shape
        (batch, 10), not (batch, 4).""",
    ),
    (
        "binary_crossentropy",
        np.array([1, 2]),
        (None, 1),
        """BinaryCrossentropy: `y` holds 2, but targets must be 0 or 1, or lie between;
        for several classes use sparse_categorical_crossentropy.""",
    ),
    (
        "binary_crossentropy",
        np.array([0, 1]),
        (None, 10),
        """BinaryCrossentropy: `y` must have the shape of the model's output, (batch,
        10), not (batch,). For one class out of many use
        sparse_categorical_crossentropy and a softmax; for a yes or no give the last
        layer one unit.""",
    ),
    (
        "mean_squared_error",
        np.zeros(3),
        (None, 4),
        """MeanSquaredError: `y` must have the shape of the model's output, (batch, 4),
        not (batch,).""",
    ),
    (
        "mean_absolute_error",
        np.zeros((3, 2)),
        (None, 4),
        """MeanAbsoluteError: `y` must have the shape of the model's output, (batch,
        4), not (batch, 2).""",
    ),
]


@pytest.mark.parametrize(("name", "y", "shape", "message"), WRONG, ids=str)
def test_targets_that_do_not_fit_are_answered_with_one_sentence(
    name, y, shape, message
):
    with pytest.raises(ValueError) as error:  # noqa: PT011 - the text is compared whole
        losses.as_loss(name).check_targets(y, shape)
    assert str(error.value) == " ".join(message.split())


def test_an_ignored_class_may_be_any_number():
    loss = losses.SparseCategoricalCrossentropy(ignore_class=255)
    loss.check_targets(np.array([0, 255, 9]), (None, 10))
    with pytest.raises(ValueError, match="holds the label 254"):
        loss.check_targets(np.array([0, 254, 9]), (None, 10))


def test_another_axis_may_hold_the_classes():
    loss = losses.SparseCategoricalCrossentropy(axis=1)
    loss.check_targets(np.zeros((2, 5)), (None, 3, 5))
    with pytest.raises(ValueError, match="shape \\(batch, 5\\), not \\(batch, 3\\)"):
        loss.check_targets(np.zeros((2, 3)), (None, 3, 5))


def test_a_loss_of_ones_own_is_not_second_guessed():
    losses.as_loss(lambda y, p: p).check_targets(np.zeros((3, 7)), (None, 2))
