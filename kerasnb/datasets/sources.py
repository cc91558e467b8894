"""Where the datasets come from: one table of files and their hashes."""

from typing import NamedTuple

from kerasnb.datasets.download import cache_path, fetch

ORIGIN = "https://storage.googleapis.com/tensorflow/tf-keras-datasets/"
"""The folder that Keras downloads its datasets from."""


class Source(NamedTuple):
    """A file below `ORIGIN`: its folder in the cache and its SHA-256."""

    cache_subdir: str
    sha256: str


SOURCES = {
    "mnist.npz": Source(
        "datasets", "731c5ac602752760c8e48fbffcf8c3b850d9dc2a2aedcf2cc48468fc17b673d1"
    ),
    # The four files as Zalando publishes them.
    "train-images-idx3-ubyte.gz": Source(
        "datasets/fashion-mnist",
        "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
    ),
    "train-labels-idx1-ubyte.gz": Source(
        "datasets/fashion-mnist",
        "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
    ),
    "t10k-images-idx3-ubyte.gz": Source(
        "datasets/fashion-mnist",
        "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
    ),
    "t10k-labels-idx1-ubyte.gz": Source(
        "datasets/fashion-mnist",
        "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
    ),
}


def dataset_file(name: str, fname: str | None = None) -> str:
    """The path of the dataset file `name`, kept in the cache as `fname`."""
    source = SOURCES[name]
    path = cache_path(fname or name, source.cache_subdir)
    fetch(
        path,
        ORIGIN + name,
        source.sha256,
        instead=", or use kerasnb.datasets.digits28, which needs no network",
    )
    return str(path)
