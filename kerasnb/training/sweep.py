"""`Sweep`: `predict` over many batches in few compiled calls.

The batches lie behind one another in a block on the device; a compiled loop whose
bounds are arguments takes one after the other and writes the outputs into another
block. So a batch is computed as it would be alone, with no Python between two of them,
and memory holds two blocks, however much data there is. A call lasts about a tenth of a
second, so that a progress line moves and an interrupt is heard.
"""

import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from kerasnb.training.data import Table
from kerasnb.training.loop import Pace, compile_once

FEWEST = 8  # batches that are worth a program of their own
BYTES = 1 << 22  # of inputs and outputs on the device at a time
KEPT = 32  # forms and sizes of batches whose programs are kept


class Sweep:
    """A pure function of `(state, batch)` over the batches of a table.

    The function must give outputs with a row for each row of the batch.
    """

    def __init__(self, fn: Callable) -> None:
        self._fn = fn
        self._jitted = jax.jit(self._steps, static_argnums=5, donate_argnums=0)
        # The most batches that a block has, and the programs by number of batches.
        self._known: dict[Any, tuple[int, dict[int, tuple]]] = {}

    def __call__(
        self,
        form: Any,
        state: Any,
        table: Table,
        size: int,
        count: int,
        after: Callable[[int, int], None],
    ) -> Any:
        """The outputs of `count` batches of `size`, NumPy arrays; None if not worth it.

        `form` tells the programs apart, and `after(first, steps)` hears of the steps
        that are done.
        """
        known = self._known.pop((form, size), None) or (
            self._limit(state, table, size),
            {},
        )
        self._known[form, size] = known  # The one used last goes last.
        if len(self._known) > KEPT:
            self._known.pop(next(iter(self._known)))
        limit, programs = known
        if (wanted := min(count, limit)) < FEWEST:
            return None
        # Powers of four: few programs for all lengths.
        good = (n for n in programs if wanted <= n <= 4 * wanted)
        batches = min(
            good, default=min(limit, 1 << (-(-(wanted - 1).bit_length() // 2) * 2))
        )
        # Arrays of JAX as well: to cut those, it would compile for every length.
        data = jax.tree.map(np.asarray, table.data)
        rows, result = min(count * size, table.rows), None
        for start in range(0, count, batches):
            steps = min(batches, count - start)
            first, last = start * size, min((start + steps) * size, rows)
            block = jax.tree.map(
                lambda a, part=slice(first, last), steps=steps: _block(
                    a[part], steps * size, batches * size
                ),
                data,
            )
            if batches not in programs:
                programs[batches] = self._compiled(state, block, size)
            program, spec, pace = programs[batches]
            out = jax.tree.map(
                lambda s: jax.device_put(np.zeros(s.shape, s.dtype), may_alias=False),
                spec,
            )
            block, at = jax.device_put(block), 0
            while at < steps:
                now, began = pace.steps(steps - at), time.perf_counter()
                out = program(out, state, block, np.int32(at), np.int32(at + now))
                jax.block_until_ready(out)
                pace.learn(now, time.perf_counter() - began)
                after(start + at, now)
                at += now
            if result is None:
                result = jax.tree.map(
                    lambda s: np.empty((rows, *s.shape[1:]), s.dtype), spec
                )
            for whole, part in zip(*map(jax.tree.leaves, (result, out)), strict=True):
                whole[first:last] = np.asarray(part)[: last - first]
        return result

    def _limit(self, state: Any, table: Table, size: int) -> int:
        """How many batches make a block, 0 if outputs and inputs do not go together."""
        batch = jax.tree.map(lambda a: _spec(a, size), table.data)
        out = jax.tree.leaves(jax.eval_shape(self._fn, state, batch))
        if any(a.shape[:1] != (size,) for a in out):
            return 0
        flat = [*out, *jax.tree.leaves(batch)]
        return BYTES // max(1, sum(a.size * a.dtype.itemsize for a in flat))

    def _compiled(self, state: Any, block: Any, size: int) -> tuple:
        """The program for such blocks, what it writes into, and its pace."""
        batch = jax.tree.map(lambda a: _spec(a, size), block)
        rows = jax.tree.leaves(block)[0].shape[0]
        spec = jax.tree.map(
            lambda a: _spec(a, rows), jax.eval_shape(self._fn, state, batch)
        )
        number = jax.ShapeDtypeStruct((), jnp.int32)
        lowered = self._jitted.lower(spec, state, block, number, number, size)
        return compile_once(lowered), spec, Pace()

    def _steps(
        self, out: Any, state: Any, block: Any, lo: Any, hi: Any, size: int
    ) -> Any:
        """Batches `lo` to `hi` of the block."""

        def body(i: jax.Array, out: Any) -> Any:
            at = i * size
            batch = jax.tree.map(lambda a: lax.dynamic_slice_in_dim(a, at, size), block)
            return jax.tree.map(
                lambda o, new: lax.dynamic_update_slice_in_dim(o, new, at, 0),
                out,
                self._fn(state, batch),
            )

        return lax.fori_loop(lo, hi, body, out)


def _spec(array: Any, rows: int) -> jax.ShapeDtypeStruct:
    """An array like this with so many rows."""
    dtype = jax.dtypes.canonicalize_dtype(array.dtype)
    return jax.ShapeDtypeStruct((rows, *array.shape[1:]), dtype)


def _block(part: np.ndarray, filled: int, rows: int) -> np.ndarray:
    """These rows and the last one again until `filled`; nobody reads the rest."""
    if len(part) == rows:
        return part
    block = np.empty((rows, *part.shape[1:]), part.dtype)
    block[: len(part)], block[len(part) : filled] = part, part[-1]
    return block
