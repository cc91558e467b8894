"""`Feed`: batches of a stream on their way to the device, ahead of their use.

A thread takes the batches from where they come, copies them under one another into
blocks and puts these on the device, while the compiled loop runs through an earlier
block. A block is handed on when it is full, or as soon as the loop has nothing to do:
slow data trains batch by batch, fast data hundreds of steps at a time.

A feed ends with the epoch, and takes no more than the epoch needs: nothing is lost to
whoever uses the data next, and a dataset may change between two epochs.
"""

import queue
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

AHEAD = 2  # blocks that wait for the loop, at most
BLOCK_BATCHES = 256  # batches in a block, at most
BLOCK_BYTES = 32 << 20  # and bytes, but for one batch
# Seconds to gather for, at least, while the loop waits: little at first, since the
# device has nothing to do; then more, since every block costs Python a turn.
LEAST, MOST = 0.001, 0.008
TURN = 0.1  # seconds between Python's turns while the loop waits
LAST_WAIT = 2.0  # seconds that a batch may take which nobody waits for any more

_END = object()


class Block:
    """Batches of one shape: `data` has room for `size` of `rows`, and holds `count`."""

    def __init__(self, batch: tuple) -> None:
        arrays, self._structure = jax.tree.flatten(batch)
        self.key = form_of(batch)
        self.rows = len(arrays[0])
        room = BLOCK_BYTES // max(1, sum(a.nbytes for a in arrays))
        self.size = max(1, min(BLOCK_BATCHES, room))
        self.count = 0
        self.data: Any = None
        self._parts: list[Any] = [
            [] if isinstance(a, jax.Array) else _aligned(self.size * len(a), a)
            for a in arrays
        ]
        self.add(batch)

    def add(self, batch: tuple) -> None:
        """One more batch, copied: its arrays may be used again for the next one."""
        at = slice(self.count * self.rows, (self.count + 1) * self.rows)
        for part, array in zip(self._parts, jax.tree.leaves(batch), strict=True):
            if isinstance(part, list):
                part.append(array)
            else:
                part[at] = array
        self.count += 1

    @property
    def full(self) -> bool:
        """Whether there is room for another batch."""
        return self.count == self.size

    def finish(self, place: Callable[[Any], Any]) -> None:
        """Put the block on the device."""
        data = [
            place(_joined(part, self.size) if isinstance(part, list) else part)
            for part in self._parts
        ]
        self.data = jax.tree.unflatten(self._structure, data)
        self._parts = []


class Feed:
    """The blocks of up to `most` batches; None in between when none is ready.

    `patient` blocks are never handed on before they are full.
    """

    def __init__(
        self,
        batches: Iterator[tuple],
        most: int | None,
        place: Callable[[Any], Any],
        patient: bool = False,
    ) -> None:
        self._batches, self._most = batches, most
        self._place, self._patient = place, patient
        self._ready: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._room: queue.SimpleQueue[None] = queue.SimpleQueue()
        for _ in range(AHEAD):
            self._room.put(None)
        self._hungry, self._stopped = True, False
        self.ended = False  # the batches ran out
        # A device chosen with `jax.default_device` is that of one thread.
        self._device = jax.config.jax_default_device  # type: ignore[attr-defined]
        self._thread = threading.Thread(
            target=self._work, name="kerasnb-feed", daemon=True
        )

    def __enter__(self) -> "Feed":
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stopped = True
        self._room.put(None)
        self._thread.join(LAST_WAIT)

    def __iter__(self) -> Iterator[Block | None]:
        while True:
            self._hungry = self._ready.empty()
            try:
                item = self._ready.get(timeout=TURN)
            except queue.Empty:
                yield None
                continue
            self._hungry = False
            if item is _END:
                return
            if isinstance(item, BaseException):
                raise item
            self._room.put(None)
            yield item

    # --- In the thread ----------------------------------------------------------------

    def _work(self) -> None:
        last: Any = _END
        try:
            with jax.default_device(self._device):
                self._gather()
        except BaseException as error:  # noqa: BLE001  (it is raised where it belongs)
            last = error
        self._ready.put(last)

    def _gather(self) -> None:
        block, taken, began, least = None, 0, 0.0, LEAST
        while not self._stopped and (self._most is None or taken < self._most):
            now = time.monotonic()
            try:
                batch = next(self._batches, None)
            except BaseException:
                self._hand_on(block)
                raise
            if batch is None:
                self.ended = True
                break
            taken += 1
            if block is not None and block.key != form_of(batch):
                self._hand_on(block)
                block = None
            if block is None:
                # The first batch of all is handed on at once.
                block, began = Block(batch), now if taken > 1 else 0.0
            else:
                block.add(batch)
            wanted = self._hungry and not self._patient
            gathered = wanted and time.monotonic() - began > least
            if gathered and began:
                least = min(MOST, 2 * least)
            if block.full or gathered:
                self._hand_on(block)
                block = None
        self._hand_on(block)

    def _hand_on(self, block: Block | None) -> None:
        if block is None or self._stopped:
            return
        block.finish(self._place)
        self._room.get()
        self._ready.put(block)


def form_of(batch: tuple) -> Any:
    """The shapes and dtypes of a batch, to be compared."""
    return [(a.shape, a.dtype) for a in jax.tree.leaves(batch)]


def _aligned(rows: int, like: np.ndarray) -> np.ndarray:
    """Room for rows, laid so that the CPU's device needs no copy of it."""
    shape = (rows, *like.shape[1:])
    size = int(np.prod(shape)) * like.dtype.itemsize
    room = np.empty(size + 64, np.uint8)
    start = -room.ctypes.data % 64
    return room[start : start + size].view(like.dtype).reshape(shape)


def _joined(parts: list[jax.Array], size: int) -> jax.Array:
    """Batches that are on devices already, joined there."""
    if size == 1:
        return parts[0]
    return jnp.concatenate(parts + [parts[-1]] * (size - len(parts)))
