"""`Sweep`: `predict` over many batches in few compiled calls.

The batches lie behind one another in a block on the device; a compiled loop whose
bounds are arguments takes one after the other and writes the outputs into another
block. So a batch is computed as it would be alone, with no Python between two of them,
and memory holds two blocks, however much data there is. A call lasts about a tenth of a
second, so that a progress line moves and an interrupt is heard.
"""

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from kerasnb.training.data import Table
from kerasnb.training.loop import Pace, compile_once

FEWEST = 8  # batches that are worth a program of their own
BYTES = 1 << 26  # of inputs and outputs on the device at a time


class Sweep:
    """A pure function of `(state, batch)` over the batches of a table.

    The function must give outputs with a row for each row of the batch.
    """

    def __init__(self, fn: Callable) -> None:
        self._fn = fn
        self._jitted = jax.jit(self._steps, static_argnums=5, donate_argnums=0)
        self._limits: dict[Any, int] = {}  # batches in a block
        self._found: dict[Any, dict[int, tuple]] = {}

    def __call__(
        self,
        form: Any,
        state: Any,
        table: Table,
        size: int,
        count: int,
        after: Callable[[int, int], None],
    ) -> list[Any]:
        """The outputs of `count` batches of `size`, block by block; none if not worth.

        `form` tells the programs apart, and `after(first, steps)` hears of the steps
        that are done.
        """
        key = (form, size)
        outputs: list[Any] = []
        if key not in self._limits:
            self._limits[key] = self._limit(state, table, size)
        if min(count, limit := self._limits[key]) < FEWEST:
            return outputs
        programs = self._found.setdefault(key, {})
        wanted = min(count, limit)
        good = (n for n in programs if wanted <= n <= 8 * wanted)
        # Powers of four: few programs for all lengths.
        batches = min(
            good, default=min(limit, 1 << (-(-(wanted - 1).bit_length() // 2) * 2))
        )
        for start in range(0, count, batches):
            steps = min(batches, count - start)
            first, last = start * size, min((start + steps) * size, table.rows)
            cut = partial(_block, first=first, last=last, rows=batches * size)
            block = jax.tree.map(cut, table.data)
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
            outputs.append(
                jax.tree.map(lambda a, n=last - first: np.asarray(a)[:n], out)
            )
        return outputs

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


def _block(array: Any, first: int, last: int, rows: int) -> Any:
    """So many rows: those from `first` to `last`, and the last one again and again."""
    part, short = array[first:last], rows - (last - first)
    if not short:
        return part
    if not isinstance(array, np.ndarray):
        return jnp.pad(part, [(0, short)] + [(0, 0)] * (part.ndim - 1), "edge")
    block = np.empty((rows, *part.shape[1:]), part.dtype)
    block[:-short], block[-short:] = part, part[-1]
    return block
