"""kerasnb.datasets.sources, mnist and fashion_mnist"""

import gzip
import hashlib
import inspect
import io

import keras
import numpy as np
import pytest

from kerasnb import datasets
from kerasnb.datasets import fashion_mnist, mnist, sources


@pytest.fixture
def small(site, cache, monkeypatch):
    """The datasets' files with a few rows each, on the local server."""
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 256, (7, 28, 28), "uint8"), np.arange(7, dtype="uint8")
    buffer = io.BytesIO()
    np.savez(buffer, x_train=x[:5], y_train=y[:5], x_test=x[5:], y_test=y[5:])
    site.files["mnist.npz"] = buffer.getvalue()
    for part, rows in (("train", slice(0, 5)), ("t10k", slice(5, 7))):
        images = bytes(16) + x[rows].tobytes()
        labels = bytes(8) + y[rows].tobytes()
        site.files[f"{part}-images-idx3-ubyte.gz"] = gzip.compress(images)
        site.files[f"{part}-labels-idx1-ubyte.gz"] = gzip.compress(labels)
    monkeypatch.setattr(sources, "ORIGIN", site.url)
    for name, source in sources.SOURCES.items():
        digest = hashlib.sha256(site.files[name]).hexdigest()
        monkeypatch.setitem(sources.SOURCES, name, source._replace(sha256=digest))
    return (x[:5], y[:5]), (x[5:], y[5:])


@pytest.mark.parametrize("dataset", [mnist, fashion_mnist])
def test_a_dataset_is_downloaded_once_and_read(dataset, small, site):
    for _ in range(2):
        loaded = dataset.load_data()
        for part, expected in zip(loaded, small, strict=True):
            assert all(
                np.array_equal(a, b) for a, b in zip(part, expected, strict=True)
            )
    assert len(site.asked) == len(set(site.asked)) > 0


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist"])
def test_load_data_takes_the_arguments_of_keras(name):
    ours = inspect.signature(getattr(datasets, name).load_data).parameters
    theirs = inspect.signature(getattr(keras.datasets, name).load_data).parameters
    assert [(p.name, p.default) for p in ours.values()] == [
        (p.name, p.default) for p in theirs.values()
    ]


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist"])
def test_the_cache_of_keras_is_shared(name, small, site, cache, monkeypatch):
    """Keras asks for the same urls and looks for the same files as we do."""
    asked = []

    def record(fname=None, origin=None, cache_subdir="datasets", file_hash=None):
        asked.append((fname, origin, cache_subdir, file_hash))
        return sources.dataset_file(fname)

    module = inspect.getmodule(getattr(keras.datasets, name).load_data)
    monkeypatch.setattr(module, "get_file", record)
    getattr(keras.datasets, name).load_data()
    monkeypatch.undo()
    for fname, origin, cache_subdir, file_hash in asked:
        source = sources.SOURCES[fname]
        assert origin == sources.ORIGIN + fname
        assert cache_subdir.replace("\\", "/") == source.cache_subdir
        assert file_hash in (None, source.sha256)


@pytest.mark.parametrize("dataset", [mnist, fashion_mnist])
def test_without_a_network_the_error_names_the_way_out(dataset, cache, monkeypatch):
    monkeypatch.setattr(sources, "ORIGIN", "http://127.0.0.1:9/")
    with pytest.raises(OSError, match="digits28, which needs no network") as caught:
        dataset.load_data()
    assert "http://127.0.0.1:9/" in str(caught.value)
    assert str(cache / "datasets") in str(caught.value)


def test_mnist_may_be_kept_under_another_name(small, cache):
    mnist.load_data("digits.npz")
    assert (cache / "datasets" / "digits.npz").exists()
    with pytest.raises(ValueError, match="`fname` must be a file name"):
        mnist.load_data("../digits.npz")
