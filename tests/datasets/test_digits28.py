"""kerasnb.datasets.digits28"""

import sys

import numpy as np

from kerasnb.datasets import digits28


def test_the_packaged_digits_are_8000_to_train_on_and_2000_held_out():
    (x_train, y_train), (x_test, y_test) = digits28.load_data()
    assert x_train.shape == (8000, 28, 28) and x_test.shape == (2000, 28, 28)
    assert y_train.shape == (8000,) and y_test.shape == (2000,)
    assert {a.dtype for a in (x_train, y_train, x_test, y_test)} == {np.dtype("uint8")}
    assert x_train.min() == 0 and x_train.max() == 255


def test_every_class_has_its_share_in_both_parts():
    (_, y_train), (_, y_test) = digits28.load_data()
    everywhere = np.bincount(np.concatenate([y_train, y_test]), minlength=10) / 10_000
    for labels in (y_train, y_test):
        share = np.bincount(labels, minlength=10) / len(labels)
        assert np.abs(share - everywhere).max() < 0.015
    assert np.bincount(y_train).min() >= 670 and np.bincount(y_test).min() >= 180


def test_no_held_out_image_is_among_the_training_images():
    (x_train, _), (x_test, _) = digits28.load_data()
    seen = {image.tobytes() for image in x_train}
    assert not any(image.tobytes() in seen for image in x_test)


def test_loading_twice_gives_the_same_split():
    first, second = digits28.load_data(), digits28.load_data()
    for one, other in zip(first, second, strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(one, other, strict=True))


def test_the_licence_of_the_digits_lies_beside_them():
    folder = digits28._FILE.parent
    text = (folder / "LICENSE-digits.txt").read_text()
    assert all(name in text for name in ("LeCun", "Cortes", "Burges", "by-sa/3.0"))
    assert all(
        name in digits28.load_data.__doc__ for name in ("LeCun", "Cortes", "Burges")
    )


def test_loading_the_digits_needs_no_network(monkeypatch):
    def refuse(*args, **kwargs):
        raise AssertionError("digits28 asked for a network connection")

    monkeypatch.setattr("socket.socket.connect", refuse)
    assert len(digits28.load_data()[0][0]) == 8000
    assert "tensorflow" not in sys.modules
