"""`Crew`: the devices and processes that share the steps of one `fit`.

On one device the crew is `Crew` itself, which changes nothing. `Team` is that of a
mesh: the data lies on every device, and a batch is gathered by a row of indices that is
split over the devices, so that each gathers and computes its own part; JAX's compiler
adds what they tell each other.

Several processes must run the very same chunks, or they would wait for one another
forever. Between two chunks they exchange a handful of numbers: the first process says
how long the next chunk is and what was asked of the run, and a process that was
interrupted or that failed says so to all.
"""

import contextlib
import threading
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import NamedSharding, PartitionSpec

from kerasnb.core import placement
from kerasnb.distribution import DeviceMesh, Distribution
from kerasnb.training.data import Table
from kerasnb.training.interrupts import Interrupts

LAST_WORDS = 10.0  # seconds that a failed process waits to tell the others


class Crew:
    """One device alone."""

    key: Any = None  # tells apart what is compiled for different crews
    several = False  # processes
    first = True  # whether this process speaks for all

    def lay_out(self, variables: Any) -> None:
        """Put variables where they belong."""

    def table(self, table: Table, batch_size: int) -> tuple[Table, int]:
        """The rows of all processes, batch by batch, and how many make a batch."""
        return table, batch_size

    def check_equal(self, who: str, **numbers: int | None) -> None:
        """Refuse work on which the processes do not agree."""

    def data(self, data: Any) -> Any:
        """Arrays on the device, whole."""

        def move(array: Any) -> jax.Array:
            if not isinstance(array, jax.Array):
                return placement.copied(array)
            # One that was put on another device comes over, not through the host.
            if not array.committed:
                return array
            home = jax.device_put(0).devices()
            stays = array.devices() == home
            return array if stays else jax.device_put(array, next(iter(home)))

        return jax.tree.map(move, data)

    def batch(self, batch: Any) -> Any:
        """One batch for a compiled step."""
        return batch

    def spec(self, shape: tuple, dtype: Any, split: int | None = None) -> Any:
        """An array to compile for: whole, or with rows on the axis `split`."""
        return jax.ShapeDtypeStruct(shape, dtype)

    def specs(self, arrays: Any) -> Any:
        """Arrays to compile for, like these."""
        return jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype), arrays)

    def index(self, index: np.ndarray) -> Any:
        """Row numbers `(epochs, batches, size)`."""
        # A short one goes to the device with the call, which takes a third of the time.
        return index if index.nbytes < 1 << 18 else placement.copied(index)

    def block(self, data: Any, rows: int, count: int) -> tuple[Any, jax.Array]:
        """`count` batches of `rows` that follow one another, and their numbers."""
        index = np.arange(count * rows, dtype=np.int32).reshape(1, count, rows)
        return self.data(data), self.index(index)

    def order(self, order: np.ndarray) -> np.ndarray:
        """The order of the rows in this epoch."""
        return order

    def agree(self, number: int, interrupts: Interrupts) -> int:
        """The number of the first process."""
        return number

    def fewest(self, number: int, interrupts: Interrupts) -> int:
        """The smallest number of any process."""
        return number

    def share(self, interrupts: Interrupts, trainer: Any, run: Any) -> None:
        """Do in every process what was asked of the first."""

    def fail(self) -> None:
        """Tell the others that this process goes no further."""


class Team(Crew):
    """The devices of a mesh, in one process or several."""

    def __init__(self, distribution: Distribution) -> None:
        self._distribution = distribution
        self._mesh = distribution.device_mesh.backend_mesh
        self._axis = distribution.batch_dim_name
        self._whole = NamedSharding(self._mesh, PartitionSpec())
        self._parts = self._mesh.shape[self._axis]
        # What layers put out is laid out only while a distribution is in force.
        self.key = (self._mesh, self._axis, placement.distribution())
        self.several = not self._whole.is_fully_addressable
        self.first = not self.several or jax.process_index() == 0
        self._own_rows = self.several and not distribution.auto_shard_dataset
        self._broken = False

    # --- Devices ----------------------------------------------------------------------

    def lay_out(self, variables: Any) -> None:
        """Put variables where the distribution says."""
        with self._distribution.scope():
            for variable in variables:
                variable.lay_out()

    def data(self, data: Any) -> Any:
        """Arrays on every device, whole; those that are split over them stay so."""

        def lay(array: Any) -> jax.Array:
            if isinstance(array, jax.Array) and _mesh_of(array) == self._mesh:
                return array
            return placement.place(array, self._whole)

        return jax.tree.map(lay, data)

    def _split(self, shape: tuple, axis: int) -> NamedSharding:
        """How rows on this axis are split; not at all if that leaves some over."""
        if shape[axis] % self._parts:
            return self._whole
        spec = [None] * axis + [self._axis]
        return NamedSharding(self._mesh, PartitionSpec(*spec))

    def batch(self, batch: Any) -> Any:
        """One batch, split over the devices."""
        return jax.tree.map(
            lambda a: placement.place(a, self._split(a.shape, 0)), batch
        )

    def spec(self, shape: tuple, dtype: Any, split: int | None = None) -> Any:
        """An array to compile for: whole, or with rows on the axis `split`."""
        layout = self._whole if split is None else self._split(shape, split)
        return jax.ShapeDtypeStruct(shape, dtype, sharding=layout)

    def specs(self, arrays: Any) -> Any:
        """Arrays to compile for, like these."""
        return jax.tree.map(
            lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=a.sharding),
            arrays,
        )

    def index(self, index: np.ndarray) -> jax.Array:
        """Row numbers of batches, each batch split over the devices."""
        return placement.place(index, self._split(index.shape, 2))

    # --- Processes --------------------------------------------------------------------

    def table(self, table: Table, batch_size: int) -> tuple[Table, int]:
        """The rows of all processes, where each was given its own."""
        if not self._own_rows:
            return table, batch_size
        self.check_equal("fit", rows=table.rows)
        count = jax.process_count()
        data = multihost_utils.process_allgather(table.data, tiled=True)
        own = np.arange(table.rows * count).reshape(count, table.rows)
        starts = range(0, table.rows, batch_size)
        order = np.concatenate([own[:, i : i + batch_size].ravel() for i in starts])
        data = jax.tree.map(lambda a: a[order], data)
        return Table(data, table.rows * count), batch_size * count

    def block(self, data: Any, rows: int, count: int) -> tuple[Any, jax.Array]:
        """Batches that follow one another, and their numbers in all processes."""
        if not self._own_rows:
            return super().block(data, rows, count)
        self.check_equal("fit", rows=rows)
        data = multihost_utils.process_allgather(data, tiled=True)
        processes = jax.process_count()
        index = np.arange(processes * count * rows, dtype=np.int32)
        index = index.reshape(processes, count, rows).swapaxes(0, 1)
        return self.data(data), self.index(index.reshape(1, count, processes * rows))

    def order(self, order: np.ndarray) -> np.ndarray:
        """The order that the first process drew."""
        return multihost_utils.broadcast_one_to_all(order) if self.several else order

    def check_equal(self, who: str, **numbers: int | None) -> None:
        """Refuse work on which the processes do not agree."""
        if not self.several:
            return
        mine = [-1 if number is None else number for number in numbers.values()]
        every = multihost_utils.process_allgather(np.array(mine, np.int32))
        for name, column in zip(numbers, every.T, strict=True):
            if len(set(column)) > 1:
                found = ", ".join(map(str, column))
                raise ValueError(
                    f"{who}: the processes have different numbers of {name}: {found}. "
                    "Give all of them the same data and arguments (or, with "
                    "auto_shard_dataset=False, equally many rows)."
                )

    def agree(self, number: int, interrupts: Interrupts) -> int:
        """The number of the first process."""
        return int(self._exchange(interrupts, number)[0, 0]) if self.several else number

    def fewest(self, number: int, interrupts: Interrupts) -> int:
        """The smallest number of any process."""
        if not self.several:
            return number
        return int(self._exchange(interrupts, number)[:, 0].min())

    def share(self, interrupts: Interrupts, trainer: Any, run: Any) -> None:
        """Do in every process what was asked of the first, or stop where any stops."""
        if not self.several:
            return
        rate = trainer._learning_rate()
        every = self._exchange(
            interrupts,
            trainer.stop_training,
            run.stops_after_epoch,
            run.status == "paused",
            float("nan") if rate is None else rate,
        )
        trainer.stop_training = bool(every[:, 0].any())
        run.stops_after_epoch = bool(every[:, 1].any())
        run.status = "paused" if every[0, 2] else "running"
        if rate is not None and every[0, 3] != np.float32(rate):
            trainer.optimizer.learning_rate = float(every[0, 3])

    def fail(self) -> None:
        """Join the others once more where they wait, to say that there will be no next.

        In a thread, and not for long: what broke may be the way to the others.
        """
        if not self.several or self._broken:
            return
        self._broken = True

        def say() -> None:
            with contextlib.suppress(Exception):
                self._gather(True, False)

        thread = threading.Thread(target=say, daemon=True)
        thread.start()
        thread.join(LAST_WORDS)

    def _exchange(self, interrupts: Interrupts, *numbers: float) -> np.ndarray:
        try:
            every = self._gather(False, interrupts.waiting, *numbers)
        except Exception:
            self._broken = True
            raise
        if every[:, 0].any():
            self._broken = True
            who = ", ".join(map(str, np.flatnonzero(every[:, 0])))
            raise RuntimeError(
                f"Process {who} of {len(every)} stopped with an error, so that the "
                "others stop as well; look there for the reason."
            )
        if every[:, 1].any():
            interrupts.clear()
            raise KeyboardInterrupt
        return every[:, 2:]

    def _gather(self, *numbers: float) -> np.ndarray:
        # Always of one shape, so that a process that fails meets any exchange.
        row = np.zeros(6, np.float32)
        row[: len(numbers)] = numbers
        return multihost_utils.process_allgather(row)


ALONE = Crew()


def crew_of(variables: Any, data: Any = ()) -> Crew:
    """The crew of the distribution in force, else that of the variables or the data."""
    distribution = placement.distribution()
    if distribution is None:
        layouts = (variable._layout for variable in variables)
        layout = next((found for found in layouts if found is not None), None)
        if layout is None:
            meshes = filter(None, map(_mesh_of, jax.tree.leaves(data)))
            mesh = next(meshes, None)
            if mesh is None:
                return ALONE
            layout = NamedSharding(mesh, PartitionSpec())
        if isinstance(layout, NamedSharding):
            mesh = layout.mesh
            named = DeviceMesh(mesh.devices.shape, mesh.axis_names, mesh.devices)
        else:
            named = layout.device_mesh
        distribution = Distribution(named, named.axis_names[0])
    return Team(distribution)


def _mesh_of(array: Any) -> Any:
    """The mesh over which the rows of an array are split, None where they are not."""
    sharding = getattr(array, "sharding", None)
    if not isinstance(sharding, NamedSharding) or sharding.is_fully_replicated:
        return None
    return sharding.mesh
