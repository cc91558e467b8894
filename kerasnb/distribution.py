"""One model on several devices, in one process or in many: `keras.distribution`.

A `DeviceMesh` names the axes of a grid of devices, a `TensorLayout` says which axis of
an array is split along which of them, and a `Distribution` knows the layout of every
variable and of the data. JAX's compiler (GSPMD) turns the program of one device into
that of all, with the communication it takes, so that the results are those of one
device: a batch is one global batch, of which each device computes its part.

    with kerasnb.distribution.DataParallel().scope():
        model = make_model()
        model.compile("adam", "mse")
        model.fit(x, y, batch_size=256)

With several processes (`initialize`), each runs this same program. All of them are
given the same data and `batch_size` counts the rows of the global batch, or, with
`auto_shard_dataset=False`, each is given its own rows and its own share of the batch.
"""

import collections
import math
import os
import re
import warnings
from collections.abc import Iterator, MutableMapping, Sequence
from contextlib import contextmanager
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from kerasnb.core import placement
from kerasnb.core.errors import check, show
from kerasnb.core.graph import KerasTensor
from kerasnb.random import get_random_seed, make_default_seed, set_random_seed

__all__ = [
    "DataParallel",
    "DeviceMesh",
    "LayoutMap",
    "ModelParallel",
    "TensorLayout",
    "distribute_tensor",
    "distribution",
    "get_device_count",
    "initialize",
    "list_devices",
    "set_distribution",
]


# --- Devices and processes ------------------------------------------------------------


def list_devices(device_type: str | None = None) -> list[str]:
    """The devices of all processes, as `"cpu:0"`; by default of the fastest kind.

    >>> list_devices("cpu")[0]
    'cpu:0'
    """
    devices = jax.devices(device_type.lower() if device_type else None)
    return [f"{device.platform}:{device.id}" for device in devices]


def get_device_count(device_type: str | None = None) -> int:
    """How many devices `list_devices` lists.

    >>> get_device_count("cpu") >= 1
    True
    """
    return len(list_devices(device_type))


def initialize(
    job_addresses: str | None = None,
    num_processes: int | None = None,
    process_id: int | None = None,
) -> None:
    """Join this process with others; to be called before anything is computed.

    `job_addresses` are those of all processes with commas between, or that of the first
    alone, with its port: `"10.0.0.1:1234"`. What is not given is read from the
    environment: `KERAS_DISTRIBUTION_JOB_ADDRESSES`, `KERAS_DISTRIBUTION_NUM_PROCESSES`
    and `KERAS_DISTRIBUTION_PROCESS_ID`; on a cluster that JAX knows (TPU pods, Slurm,
    MPI), nothing need be said. Afterwards all processes draw the same random numbers:
    after the seed of `set_random_seed` or, without one, after that of the first.
    """
    found = {
        name: os.environ.get(f"KERAS_DISTRIBUTION_{name.upper()}")
        for name in ("job_addresses", "num_processes", "process_id")
    }
    addresses = job_addresses if job_addresses is not None else found["job_addresses"]
    if num_processes is None and (told := found["num_processes"]):
        num_processes = int(told)
    if process_id is None and (told := found["process_id"]):
        process_id = int(told)
    jobs = addresses.split(",") if addresses else [None]
    check(
        len(jobs) == 1 or num_processes in (None, len(jobs)),
        "initialize",
        "num_processes",
        num_processes,
        f"the number of `job_addresses`, {len(jobs)}",
    )
    if jax.config.jax_platforms in ("cpu", "", None):  # type: ignore[attr-defined]
        # On CPUs processes talk through gloo; other platforms pay no heed to it.
        jax.config.update("jax_cpu_collectives_implementation", "gloo")
    jax.distributed.initialize(
        coordinator_address=jobs[0], num_processes=num_processes, process_id=process_id
    )
    if get_random_seed() is None:
        seed = multihost_utils.broadcast_one_to_all(np.uint32(make_default_seed()))
        set_random_seed(int(seed))


# --- Layouts --------------------------------------------------------------------------


class DeviceMesh:
    """Devices in a grid of this `shape`, with a name for each of its axes.

    >>> DeviceMesh((1,), ["batch"], ["cpu:0"])
    <DeviceMesh shape=(1,), axis_names=['batch']>
    """

    shape: Sequence[int] = ()
    axis_names: Sequence[str] = ()
    devices: Any = None

    def __init__(
        self,
        shape: Sequence[int],
        axis_names: Sequence[str],
        devices: Any = None,
    ) -> None:
        check(
            bool(shape) and len(shape) == len(axis_names or ()),
            "DeviceMesh",
            "axis_names",
            axis_names,
            f"one name for each axis of the shape {shape}",
        )
        devices = np.array(list_devices() if devices is None else devices)
        if math.prod(shape) != devices.size:
            raise ValueError(
                f"DeviceMesh: the shape {shape} takes {math.prod(shape)} devices and "
                f"there are {devices.size}. Pass other `devices`, or another shape."
            )
        self.shape = shape
        self.axis_names = axis_names
        self.devices = devices.reshape(shape)
        self._mesh: Mesh | None = None

    @property
    def backend_mesh(self) -> Mesh:
        """The `jax.sharding.Mesh` of the same devices."""
        if self._mesh is None:
            devices = np.vectorize(_device, otypes=[object])(self.devices)
            self._mesh = Mesh(devices, tuple(self.axis_names))
        return self._mesh

    def __repr__(self) -> str:
        kind = type(self).__name__
        return f"<{kind} shape={self.shape}, axis_names={self.axis_names}>"


def _device(name: Any) -> jax.Device:
    if isinstance(name, jax.Device):
        return name
    platform, _, number = str(name).partition(":")
    for device in jax.devices(platform):
        if device.id == int(number or 0):
            return device
    raise ValueError(
        f"There is no device {show(str(name))}; there are "
        f"{', '.join(list_devices(platform))}."
    )


class TensorLayout:
    """Which axis of the mesh each axis of an array is split along; None for no one.

    `(None, "model")` splits the columns of a matrix over the devices of the axis
    `"model"`, and keeps every row whole.
    """

    axes: tuple[str | None, ...] = ()

    def __init__(
        self, axes: Sequence[str | None], device_mesh: DeviceMesh | None = None
    ) -> None:
        self.axes = tuple(axes)
        self._device_mesh: DeviceMesh | None = None
        self._sharding: NamedSharding | None = None
        if device_mesh is not None:
            self.device_mesh = device_mesh

    @property
    def device_mesh(self) -> DeviceMesh | None:
        """The mesh, which may be given once."""
        return self._device_mesh

    @device_mesh.setter
    def device_mesh(self, device_mesh: DeviceMesh) -> None:
        if self._device_mesh is not None:
            raise ValueError(
                f"{self!r} has its mesh already; make a new TensorLayout for another."
            )
        known = list(device_mesh.axis_names)
        check(
            {axis for axis in self.axes if axis is not None} <= set(known),
            "TensorLayout",
            "axes",
            self.axes,
            f"names of axes of the mesh {known}, or None",
        )
        self._device_mesh = device_mesh

    @property
    def backend_layout(self) -> NamedSharding:
        """The `jax.sharding.NamedSharding` that says the same."""
        if self._device_mesh is None:
            raise ValueError(f"{self!r} is of no use before it has a `device_mesh`.")
        if self._sharding is None:
            mesh = self._device_mesh.backend_mesh
            self._sharding = NamedSharding(mesh, PartitionSpec(*self.axes))
        return self._sharding

    def __repr__(self) -> str:
        kind = type(self).__name__
        return f"<{kind} axes={self.axes}, device_mesh={self.device_mesh}>"


class LayoutMap(MutableMapping):
    """Layouts by path: `layout_map[".*dense.*kernel"] = (None, "model")`.

    A key is a path, or a regular expression that matches all of it. Looking up a path
    gives its layout, None when no key matches and an error when several do. Paths are
    those of variables (`variable.path`) and, for the outputs of layers,
    `<path of the layer>/output`.

    >>> layouts = LayoutMap(DeviceMesh((1,), ["model"], ["cpu:0"]))
    >>> layouts[".*kernel"] = (None, "model")
    >>> layouts["sequential/dense/kernel"].axes, layouts["sequential/dense/bias"]
    ((None, 'model'), None)
    """

    device_mesh: Any = None

    def __init__(self, device_mesh: DeviceMesh) -> None:
        self._layouts: collections.OrderedDict[str, TensorLayout] = (
            collections.OrderedDict()
        )
        self.device_mesh = device_mesh

    def __getitem__(self, key: str) -> TensorLayout | None:
        if key in self._layouts:
            return self._layouts[key]
        found = [pattern for pattern in self._layouts if re.fullmatch(pattern, key)]
        if len(found) > 1:
            raise ValueError(
                f"LayoutMap: the path {key!r} matches several keys, {found}; make them "
                "so that a path matches one at most."
            )
        return self._layouts[found[0]] if found else None

    def __setitem__(
        self, key: str, layout: TensorLayout | tuple[str | None, ...]
    ) -> None:
        if key in self._layouts:
            raise ValueError(
                f"LayoutMap: {key!r} is there already, with {self._layouts[key]}; "
                "delete it first."
            )
        if isinstance(layout, tuple):
            layout = TensorLayout(layout)
        check(
            isinstance(layout, TensorLayout),
            "LayoutMap",
            "layout",
            layout,
            "a TensorLayout or a tuple of axis names",
        )
        if layout.device_mesh is None and self.device_mesh is not None:
            layout.device_mesh = self.device_mesh
        self._layouts[key] = layout

    def __delitem__(self, key: str) -> None:
        del self._layouts[key]

    def __len__(self) -> int:
        return len(self._layouts)

    def __iter__(self) -> Iterator[str]:
        return iter(self._layouts)


def distribute_tensor(tensor: Any, layout: Any) -> Any:
    """`tensor` laid out as a `TensorLayout` or a JAX sharding says.

    Inside of compiled code this is a constraint on where the value is computed.
    Placeholders of functional models come back as they are.

    >>> mesh = DeviceMesh((1,), ["batch"], ["cpu:0"])
    >>> x = distribute_tensor(jnp.ones(4), TensorLayout(["batch"], mesh))
    >>> x.sharding.spec
    P('batch',)
    """
    if isinstance(tensor, KerasTensor):
        return tensor
    return placement.place(tensor, layout)


# --- Distributions --------------------------------------------------------------------


class Distribution:
    """The layouts of the variables and the data of what is made under it."""

    device_mesh: Any = None
    batch_dim_name: str | None = None
    auto_shard_dataset: bool = True

    def __init__(
        self,
        device_mesh: DeviceMesh,
        batch_dim_name: str | None = None,
        auto_shard_dataset: bool = True,
    ) -> None:
        self.device_mesh = device_mesh
        self.batch_dim_name = batch_dim_name
        self.auto_shard_dataset = auto_shard_dataset

    @property
    def num_processes(self) -> int:
        """How many processes share the work."""
        return jax.process_count()

    @property
    def num_model_replicas(self) -> int:
        """Into how many parts a batch is split."""
        raise NotImplementedError

    @property
    def data_shard_id(self) -> int:
        """Which part of a batch this process has, when each reads its own."""
        share = max(1, self.num_processes // self.num_model_replicas)
        return jax.process_index() // share

    def get_data_layout(self, data_shape: Sequence[int]) -> TensorLayout:
        """The layout of data: rows are split along the axis of the batch."""
        axes = [self.batch_dim_name, *[None] * (len(data_shape) - 1)]
        return TensorLayout(axes, self.device_mesh)

    def get_variable_layout(self, variable: Any) -> TensorLayout:
        """The layout of a variable: its own one, else whole on every device."""
        own = getattr(variable, "_layout", None)
        return own or TensorLayout([None] * len(variable.shape), self.device_mesh)

    def get_tensor_layout(self, path: str) -> TensorLayout | None:
        """The layout of what a layer puts out, None to leave it to the compiler."""
        return None

    def distribute_dataset(self, dataset: Any) -> Any:
        """The dataset that this process reads: the whole one.

        Every process reads the global batches, and its devices compute their parts.
        """
        return dataset

    distribute_tf_dataset = distribute_dataset

    @contextmanager
    def scope(self) -> Iterator[None]:
        """Put the distribution in force inside of a `with`."""
        before = distribution()
        set_distribution(self)
        try:
            yield
        finally:
            set_distribution(before)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} device_mesh={self.device_mesh}>"


class DataParallel(Distribution):
    """Every device has all the weights and computes its part of each batch.

    The devices are those of a `device_mesh`, or the given ones, or all there are.

    >>> DataParallel(devices=["cpu:0"])
    <DataParallel device_mesh=<DeviceMesh shape=(1,), axis_names=['batch']>>
    """

    def __init__(
        self,
        device_mesh: DeviceMesh | None = None,
        devices: Any = None,
        auto_shard_dataset: bool = True,
    ) -> None:
        if device_mesh is None:
            devices = list_devices() if devices is None else list(devices)
            device_mesh = DeviceMesh((len(devices),), ["batch"], devices)
        check(
            isinstance(device_mesh, DeviceMesh),
            "DataParallel",
            "device_mesh",
            device_mesh,
            "a DeviceMesh",
        )
        if device_mesh.devices.ndim != 1:
            warnings.warn(
                f"DataParallel: the mesh has {device_mesh.devices.ndim} axes; batches "
                f"are split along the first one, {device_mesh.axis_names[0]!r}.",
                stacklevel=2,
            )
        super().__init__(device_mesh, device_mesh.axis_names[0], auto_shard_dataset)

    @property
    def num_model_replicas(self) -> int:
        """How many devices have the weights."""
        return self.device_mesh.devices.size


class ModelParallel(Distribution):
    """The weights are split over devices as a `LayoutMap` says, and so is the batch.

        mesh = DeviceMesh((2, 4), ["batch", "model"])
        layout_map = LayoutMap(mesh)
        layout_map[".*dense.*kernel"] = (None, "model")
        layout_map[".*dense.*bias"] = ("model",)
        set_distribution(ModelParallel(layout_map=layout_map, batch_dim_name="batch"))

    Variables that the map does not name are whole on every device; the slots of the
    optimizer lie with their weights. `batch_dim_name` is the mesh's first axis unless
    given.
    """

    def __init__(
        self,
        *,
        layout_map: LayoutMap | None = None,
        batch_dim_name: str | None = None,
        auto_shard_dataset: bool = True,
        **kwargs: Any,
    ) -> None:
        check(
            isinstance(layout_map, LayoutMap),
            "ModelParallel",
            "layout_map",
            layout_map,
            "a LayoutMap",
        )
        assert layout_map is not None
        mesh = layout_map.device_mesh
        batch_dim_name = batch_dim_name or mesh.axis_names[0]
        check(
            batch_dim_name in mesh.axis_names,
            "ModelParallel",
            "batch_dim_name",
            batch_dim_name,
            f"one of the axes of the mesh, {list(mesh.axis_names)}",
        )
        super().__init__(mesh, batch_dim_name, auto_shard_dataset)
        self._layout_map = layout_map
        processes, replicas = self.num_processes, self.num_model_replicas
        if processes > replicas and processes % replicas:
            raise ValueError(
                f"ModelParallel: {processes} processes cannot share {replicas} copies "
                "of the model; make one number a multiple of the other."
            )

    @property
    def num_model_replicas(self) -> int:
        """How many devices lie along the axis of the batch."""
        return self.device_mesh.shape[
            list(self.device_mesh.axis_names).index(self.batch_dim_name)
        ]

    def get_variable_layout(self, variable: Any) -> TensorLayout:
        """The layout of a variable: its own one, else the map's, else whole."""
        own = getattr(variable, "_layout", None)
        found = own or self._layout_map[variable.path]
        return found or super().get_variable_layout(variable)

    def get_tensor_layout(self, path: str) -> TensorLayout | None:
        """The layout that the map has for this path."""
        return self._layout_map[path]


def distribution() -> Any:
    """The distribution in force, None on one device."""
    return placement.distribution()


def set_distribution(value: Any) -> None:
    """Put a distribution in force for what is made from now on; None ends it."""
    check(
        value is None or isinstance(value, Distribution),
        "set_distribution",
        "value",
        value,
        "a DataParallel, a ModelParallel or None",
    )
    placement.set_distribution(value)
