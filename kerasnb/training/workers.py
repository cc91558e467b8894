"""Datasets of numbered batches, asked for them one after the other or by workers."""

import itertools
import multiprocessing
import random
import signal
import sys
import warnings
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from typing import Any

import numpy as np


def numbered_batches(
    dataset: Any, length: int | None, seed: int, shuffle: bool, skip: int = 0
) -> Iterator[Any]:
    """The batches of one pass in order, or in an order that `seed` decides.

    The dataset's own `workers`, `use_multiprocessing` and `max_queue_size` say who
    makes them; they come in the same order whoever does.
    """
    order: Iterable[int] = itertools.count(skip)
    if length is not None:
        order = range(skip, length)
        if shuffle:
            order = np.random.default_rng(seed).permutation(length)[skip:].tolist()
    workers = getattr(dataset, "workers", 1)
    processes = getattr(dataset, "use_multiprocessing", False)
    if workers < 1 or (workers == 1 and not processes):
        return (dataset[index] for index in order)
    ahead = max(1, getattr(dataset, "max_queue_size", 10))
    return _by_workers(dataset, order, workers, seed if processes else None, ahead)


def _by_workers(
    dataset: Any, order: Iterable[int], workers: int, seed: int | None, ahead: int
) -> Iterator[Any]:
    """Up to `ahead` batches in the making, by threads or, with a seed, processes."""
    pool: Executor
    if seed is None:
        pool, make = ThreadPoolExecutor(workers, "kerasnb-worker"), dataset.__getitem__
    else:
        pool, make = _processes(dataset, workers, seed), _make
    waiting: deque = deque()
    try:
        for index in order:
            waiting.append(pool.submit(make, index))
            if len(waiting) == ahead:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def _processes(dataset: Any, workers: int, seed: int) -> Executor:
    # Copies of this process know the classes of a notebook; elsewhere there are none.
    copies = sys.platform == "linux"
    context = multiprocessing.get_context("fork" if copies else None)
    pool = ProcessPoolExecutor(workers, context, _adopt, (dataset, seed))
    with warnings.catch_warnings():
        # JAX and Python warn of threads that a copy lacks; a worker uses none of them.
        warnings.simplefilter("ignore")
        pool.submit(int).result()
    return pool


def _adopt(dataset: Any, seed: int) -> None:
    """The first thing a worker process does."""
    global _ADOPTED
    _ADOPTED = dataset, seed
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the process that trains decides


_ADOPTED: tuple[Any, int] | None = None


def _make(index: int) -> Any:
    assert _ADOPTED is not None
    dataset, seed = _ADOPTED
    # Random numbers depend on the batch, not on the worker that happens to make it.
    random.seed(f"{seed} {index}")
    np.random.seed([seed, index])
    return dataset[index]
