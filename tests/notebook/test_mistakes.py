"""kerasnb.notebook.mistakes"""

import re

import numpy as np
import pytest

import kerasnb as keras
from kerasnb import config
from kerasnb.notebook import mistakes
from kerasnb.notebook.mistakes import Mistakes

SAID = np.array(
    [
        [0.8, 0.1, 0.1],
        [0.2, 0.7, 0.1],
        [0.6, 0.3, 0.1],
        [0.05, 0.9, 0.05],
        [0.1, 0.2, 0.7],
        [0.98, 0.01, 0.01],
    ]
)
TRUE = np.array([0, 1, 1, 2, 2, 2])


class Answering:
    """Stands for a model whose answers are known."""

    name, built, outputs = "net", False, None

    def __init__(self, answers):
        self.answers = answers

    def predict(self, x, batch_size=None, verbose="auto"):
        assert verbose == 0
        return self.answers


def found(said=SAID, true=TRUE, x=None, **options):
    x = np.arange(len(true)) if x is None else x
    return mistakes(Answering(said), x, true, **options)


def test_confusions_are_counted_by_true_and_predicted_class():
    result = found()
    np.testing.assert_array_equal(result.confusion, [[1, 0, 0], [1, 1, 0], [1, 1, 1]])
    assert result.accuracy == 0.5
    np.testing.assert_array_equal(result.predicted, [0, 1, 0, 1, 2, 0])


def test_precision_recall_and_f1_are_those_of_the_definitions(rng):
    true = rng.integers(0, 4, 300)
    said = rng.dirichlet(np.ones(4), 300) + 0.4 * np.eye(4)[true]
    said /= said.sum(1, keepdims=True)
    result = found(said, true)
    predicted = said.argmax(1)
    for c, (_, there, precision, recall, f1) in enumerate(result.per_class()):
        hits = ((predicted == c) & (true == c)).sum()
        assert there == (true == c).sum()
        assert precision == pytest.approx(hits / (predicted == c).sum())
        assert recall == pytest.approx(hits / there)
        assert f1 == pytest.approx(2 * precision * recall / (precision + recall))


def test_a_class_without_samples_has_no_recall():
    result = found(SAID[:2], TRUE[:2])
    name, there, precision, recall, _ = result.per_class()[2]
    assert (name, there) == ("2", 0)
    assert np.isnan(precision) and np.isnan(recall)
    assert re.search(r"^2\s+0\s+–\s+–\s+–$", result.text(), re.MULTILINE)


def test_the_worst_come_first_and_are_wrong():
    result = found()
    assert result.worst.tolist() == [5, 3, 2]
    assert found(worst=1).worst.tolist() == [5]


def test_the_commonest_confusion_is_named():
    said = np.eye(3)[[1, 1, 1, 0, 0, 0]]
    result = found(said, np.array([2, 2, 0, 0, 0, 0]))
    assert result.most_confused() == [("2", "1", 2), ("0", "1", 1)]
    assert "3 mistakes; most often 2 taken for 1 (2 times)." in result.text()


def test_calibration_is_the_gap_between_sure_and_right():
    said = np.array([[0.75, 0.25]] * 4)
    assert found(said, np.array([0, 0, 0, 1])).calibration_error() == pytest.approx(0)
    assert found(said, np.array([1, 1, 1, 1])).calibration_error() == pytest.approx(
        0.75
    )


@pytest.mark.parametrize(
    ("said", "true", "classes"),
    [
        (SAID, np.eye(3)[TRUE], TRUE),
        (SAID, TRUE[:, None], TRUE),
        (SAID, TRUE.astype(float), TRUE),
        (SAID, TRUE.tolist(), TRUE),
        (np.array([[0.9], [0.2], [0.6]]), [1, 0, 0], [1, 0, 0]),
        (np.array([0.9, 0.2, 0.6]), [True, False, False], [1, 0, 0]),
    ],
)
def test_classes_are_numbers_or_one_hot_and_one_unit_means_two(said, true, classes):
    result = found(said, true)
    np.testing.assert_array_equal(result.classes, classes)
    np.testing.assert_allclose(result.probability.sum(1), 1)


def test_logits_become_probabilities():
    logits = np.log(SAID) + 3
    np.testing.assert_allclose(found(logits).probability, SAID, atol=1e-12)
    single = found(np.array([[-2.0], [2.0]]), [0, 1]).probability
    np.testing.assert_allclose(single[:, 1], 1 / (1 + np.exp([2.0, -2.0])))


@pytest.mark.parametrize(
    ("said", "true", "words"),
    [
        (SAID, TRUE[:3], "`x` has 6 samples and `y` has 3."),
        (
            SAID,
            TRUE + 1,
            "`y` holds the class 3 and `net` tells the classes 0 to 2 apart.",
        ),
        (SAID, TRUE - 1, "`y` holds the class -1"),
        (SAID, TRUE / 3, "one-hot rows, not an array of shape (6,) and dtype float64"),
        (SAID, np.array(list("abcabc")), "`y` must hold the number of a class"),
        (np.zeros((6, 4, 3)), TRUE, "the outputs have shape (6, 4, 3)"),
        ([SAID, SAID], TRUE, "`net` has 2 outputs; look at one at a time"),
    ],
)
def test_what_cannot_be_counted_is_said_in_a_sentence(said, true, words):
    with pytest.raises(ValueError, match=re.escape(words)):
        found(said, true)


def test_class_names_are_used_and_must_be_as_many():
    text = found(class_names=["cat", "dog", "cow"]).text()
    assert "#5: cow, taken for cat (98% sure)" in text
    assert text.splitlines()[3].split() == ["true", "\\", "said", "cat", "dog", "cow"]
    with pytest.raises(ValueError, match="`class_names` has 1 names and `net` tells 3"):
        found(class_names=["cat"])


def test_the_text_holds_the_matrix_the_classes_and_the_worst():
    lines = found().text().splitlines()
    assert lines[0] == "net: 3 of 6 right (50.0%), 3 mistakes."
    assert lines[3:7] == [
        "true \\ said  0  1  2",
        "0            1  0  0",
        "1            1  1  0",
        "2            1  1  1",
    ]
    assert "class  samples  precision  recall     F1" in lines
    assert lines[-3:] == [
        "  #5: 2, taken for 0 (98% sure)",
        "  #3: 2, taken for 1 (90% sure)",
        "  #2: 1, taken for 0 (60% sure)",
    ]


def test_pictures_are_shown_as_pictures_and_rows_as_rows(rng):
    images = found(x=rng.integers(0, 255, (6, 12, 12, 3)).astype("uint8")).still()
    assert images.count("data:image/png;base64") == 3
    assert 'alt="#5: 2, taken for 0 (98% sure)"' in images
    rows = found(x=rng.normal(size=(6, 2))).still()
    assert "data:image/png" not in rows and ">x1</th>" in rows
    text = found(x=["a", "b", "c", "d", "e", "f"]).still()
    assert ">#5</th>" in text


def test_a_data_frame_shows_its_columns(rng):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(rng.normal(size=(6, 2)), columns=["width", "<b>"])
    page = found(x=frame).still()
    assert ">width</th>" in page and ">&lt;b&gt;</th>" in page


@pytest.mark.parametrize("count", [2, 10, 40, 200])
def test_a_matrix_of_any_size_is_drawn(count, rng):
    said = rng.dirichlet(np.ones(count), 50)
    result = found(said, rng.integers(0, count, 50))
    drawn = result._matrix()
    assert drawn.count("<rect") == count * count + 1
    assert (">taken for<" in drawn) and "NaN" not in drawn.upper()
    assert ("true \\ said" in result.text()) == (count <= 16)


def test_without_mistakes_there_is_nothing_to_show_and_it_says_so():
    result = found(np.eye(3)[TRUE])
    assert result.text().startswith("net: 6 of 6 right (100.0%), 0 mistakes.")
    assert "No mistakes to show." in result.still()
    assert "Most often taken" not in result.still()


def test_it_draws_itself_in_a_notebook_and_writes_elsewhere():
    result = found(class_names=["<i>", "b", "c"])
    assert set(result._repr_mimebundle_()) == {"text/plain"}
    config.display("html")
    try:
        bundle = result._repr_mimebundle_()
    finally:
        config.display("auto")
    assert bundle["text/plain"] == repr(result) == result.text()
    page = bundle["text/html"]
    assert "<i>" not in page and "&lt;i&gt;" in page
    assert "<svg" not in page and 'alt="Confusion matrix of net: 3 of 6 right' in page


def test_it_works_with_a_model():
    net = keras.Sequential([keras.Input((3,)), keras.layers.Dense(3)], name="net")
    net.set_weights([np.eye(3), np.zeros(3)])
    result = mistakes(net, np.log(SAID).astype("float32"), TRUE, batch_size=2)
    assert isinstance(result, Mistakes)
    np.testing.assert_allclose(result.probability, SAID, atol=1e-5)
