"""kerasnb.applications.network: arguments, and files that are fetched."""

import hashlib
import re

import pytest

from kerasnb import applications
from kerasnb.applications.network import Files

GOOD = b"weights, say"
MD5 = hashlib.md5(GOOD).hexdigest()


@pytest.fixture
def cache(monkeypatch, tmp_path):
    """The folder where downloads are kept."""
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "home"))
    return tmp_path / "home" / "models"


@pytest.fixture
def site(tmp_path):
    """A folder that stands for the place of publication, and its address."""
    folder = tmp_path / "site"
    folder.mkdir()
    return folder, f"{folder.as_uri()}/"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"weights": "imagenette"}, "weights"),
        ({"classes": 3}, "classes.*1000"),
        ({"classifier_activation": "relu"}, "softmax"),
        ({"input_shape": (64, 64, 3)}, "input_shape"),
        ({"weights": None, "input_shape": (8, 8, 3)}, "at least 32 by 32"),
        ({"weights": None, "input_shape": (None, None, 3)}, "include_top=False"),
        ({"weights": None, "input_shape": (64, 64)}, "height, width and channels"),
        ({"include_top": False, "input_shape": (64, 64, 1)}, "3 channels"),
        ({"alpha": 0.3}, "alpha.*0.25"),
        ({"depth_multiplier": 2}, "depth_multiplier.*1 with"),
    ],
    ids=str,
)
def test_wrong_arguments_answer_in_a_sentence(options, message):
    with pytest.raises(ValueError, match=f"MobileNet: .*{message}"):
        applications.MobileNet(**options)


def test_a_file_is_fetched_once_and_again_when_it_was_damaged(site, cache):
    folder, url = site
    (folder / "top.h5").write_bytes(GOOD)
    (folder / "notop.h5").write_bytes(b"others")
    files = Files(
        url, ("top.h5", "notop.h5"), (MD5, None), ("kept.h5", "kept_notop.h5")
    )
    kept = cache / "kept.h5"
    assert files.fetch(include_top=True) == str(kept)
    assert files.fetch(include_top=False) == str(cache / "kept_notop.h5")
    kept.write_bytes(GOOD[:-1])
    assert files.fetch(include_top=True) == str(kept)
    assert kept.read_bytes() == GOOD


def test_a_file_with_another_hash_is_refused_and_not_kept(site, cache):
    folder, url = site
    (folder / "top.h5").write_bytes(b"something else")
    files = Files(url, ("top.h5", "notop.h5"), (MD5, None))
    message = f"{re.escape(url)}top.h5 has the hash .*{MD5}.*{re.escape(str(cache))}"
    with pytest.raises(ValueError, match=message):
        files.fetch(include_top=True)
    assert list(cache.iterdir()) == []


def test_without_a_network_the_error_says_what_goes_where(site, cache, monkeypatch):
    _, url = site
    monkeypatch.setattr("kerasnb.applications.mobilenet.STORE", url)
    name = "mobilenet_2_5_128_tf_no_top.h5"
    by_hand = re.escape(f"put the file at {cache / name} by hand")
    message = f"{re.escape(url)}mobilenet/{name} .*{by_hand}"
    with pytest.raises(OSError, match=message):
        applications.MobileNet((128, 128, 3), alpha=0.25, include_top=False)
