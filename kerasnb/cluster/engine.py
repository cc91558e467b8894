"""What runs on an engine: joining the others, and its side of `fit` and the like.

The notebook calls `introduce` and `join` once, `work` for everything else. While an
engine is at work its main thread is busy; requests come through the control channel of
ipyparallel, whose thread is not.
"""

import contextlib
import os
import platform
import signal
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import jax
import numpy as np

from kerasnb import distribution as distributions
from kerasnb.cluster.mirror import Channel, Checkpoint, Reporter
from kerasnb.cluster.parcel import Parcel, pack, unpack
from kerasnb.core import placement
from kerasnb.core.errors import optional
from kerasnb.random import Generators
from kerasnb.training.data import Table, make_source

REQUEST = "kerasnb_request"
"""The kind of the messages that the notebook sends to a busy engine."""

_group: dict[str, Any] | None = None
_channel: Channel | None = None
_last: Channel | None = None


# --- Joining --------------------------------------------------------------------------


def introduce() -> dict[str, Any]:
    """Who this engine is, before it computes anything."""
    with socket.socket() as probe:
        probe.bind(("", 0))
        port = probe.getsockname()[1]
    return {
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "address": _address(),
        "port": port,
        "cores": len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count(),
        "gpus": gpus(),
        "group": _group,
        "versions": versions(),
    }


def versions() -> dict[str, str]:
    """What must be the same on both sides."""
    python = ".".join(platform.python_version_tuple()[:2])
    own = sys.modules["kerasnb"].__version__
    return {"Python": python, "jax": jax.__version__, "kerasnb": own}


def _address() -> str:
    """The address by which other hosts reach this one."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # a test network; nothing is sent
            return probe.getsockname()[0]
        except OSError:
            return socket.gethostname()


def gpus() -> list[str]:
    """The NVIDIA GPUs this process may use, by the names CUDA knows them by."""
    if os.environ.get("JAX_PLATFORMS", "").startswith("cpu"):
        return []
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return [name for name in visible.split(",") if name not in ("", "-1")]
    found = Path("/proc/driver/nvidia/gpus")
    return [str(i) for i in range(len(list(found.iterdir())))] if found.is_dir() else []


def join(
    group: dict[str, Any], rank: int, environment: dict[str, str], owners: list[int]
) -> list[str]:
    """Become process `rank` of a group; the names of this engine's devices.

    `owners` are processes on this host, the notebook's first: when that has ended, the
    others and the engine end as well.
    """
    global _group
    os.environ.update(environment)
    listen()
    if owners:
        _end_with(owners)
    if _group is None:
        if platforms := environment.get("JAX_PLATFORMS"):
            jax.config.update("jax_platforms", platforms)
        # On CPUs processes talk through gloo; other platforms pay no heed to it.
        jax.config.update("jax_cpu_collectives_implementation", "gloo")
        # Programs that run at the same time would mix up what they tell each other.
        jax.config.update("jax_cpu_enable_async_dispatch", False)
        address = group["coordinator"]
        here = address if address.startswith("127.") else None
        try:
            jax.distributed.initialize(
                address,
                group["count"],
                rank,
                coordinator_bind_address=here,
                initialization_timeout=group["timeout"],
            )
        except RuntimeError as error:
            if "before any JAX" not in str(error):
                raise
            raise RuntimeError(
                "JAX has computed on these engines already, and can join processes "
                "only before that: start new ones."
            ) from None
        _group = {**group, "rank": rank}
    return [f"{device.platform}:{device.id}" for device in jax.local_devices()]


def _end_with(owners: list[int]) -> None:
    psutil = optional("psutil", "to watch over engines", "cluster")
    notebook, *others = map(psutil.Process, owners)

    def watch() -> None:
        while notebook.is_running() and notebook.status() != psutil.STATUS_ZOMBIE:
            time.sleep(2)
        for process in others:
            with contextlib.suppress(psutil.Error):
                process.terminate()
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=watch, name="kerasnb-owner", daemon=True).start()


# --- Requests from the notebook -------------------------------------------------------


def listen() -> None:
    """Answer requests, also while this engine is at work."""
    kernel = _shell().kernel

    def answer(stream: Any, ident: Any, parent: dict) -> None:
        content = {"status": "ok", **hear(**parent["content"])}
        kernel.session.send(
            stream, f"{REQUEST}_reply", content, parent=parent, ident=ident
        )

    kernel.control_handlers[REQUEST] = answer


def hear(op: str, value: Any = None) -> dict[str, Any]:
    """Do what the notebook asks for: a request of a run, or how things are."""
    if op == "status":
        return {"memory": _memory(), "busy": _channel is not None}
    if _channel is not None:
        _channel.ask(op, value)
    return {}


def _memory() -> dict[str, int]:
    psutil = optional("psutil", "to watch over engines", "cluster")
    found = {"process": psutil.Process().memory_info().rss}
    stats = [device.memory_stats() or {} for device in jax.local_devices()]
    if held := sum(s.get("bytes_in_use", 0) for s in stats):
        found["devices"] = held
    return found


# --- At work --------------------------------------------------------------------------


def work(kind: str, distribution: Parcel | None, parcel: Parcel) -> Parcel:
    """Do one of `WORK` under a distribution; what comes of it."""
    with _scope(distribution):
        return pack(WORK[kind](**unpack(parcel)))


@contextmanager
def _scope(distribution: Parcel | None) -> Iterator[None]:
    """In force are the distribution given, by default all devices, or none."""
    if distribution is None:
        with nullcontext():
            yield
        return
    made = unpack(distribution)
    if made is None:
        made = distributions.DataParallel()
    elif callable(made):
        made = made()
    with made.scope():
        yield


def first_batch(data: Any, batch_size: int | None) -> Any:
    """The shapes of a batch of what a function makes, for the notebook to build on."""
    source = make_source("fit", *loaded(data))
    if isinstance(source, Table):
        batch = source.take(slice(0, batch_size or 32))
    else:
        batch = next(source.batches())
    return jax.tree.map(lambda a: (a.shape, a.dtype.name), batch)


def loaded(data: Any) -> tuple:
    """`(x, y, sample_weight)`; what a function was given for is made here."""
    x, y, sample_weight = data
    if not makes_data(x):
        return data
    made = x()
    if isinstance(made, tuple) and 1 <= len(made) <= 3:
        return (*made, *[None] * (3 - len(made)))
    return made, y, sample_weight


def makes_data(x: Any) -> bool:
    """Whether `x` is a function that makes data, rather than data."""
    iterable = hasattr(x, "__iter__") or hasattr(x, "__getitem__")
    return callable(x) and not iterable and not hasattr(x, "__array__")


def fit(
    model: Any,
    data: Any,
    validation_data: Any,
    callbacks: list[Any],
    arguments: dict[str, Any],
    generators: Any,
    every: Any,
    backup: bytes | None,
) -> dict[str, Any] | None:
    """Train; process 0 returns all that the notebook should have of it."""
    global _channel, _last
    generators.restore()
    x, y, sample_weight = loaded(data)
    if makes_data(validation_data):
        validation_data = validation_data()
    first = jax.process_index() == 0
    _channel = _last = Channel(_publisher() if first else None)
    with tempfile.TemporaryDirectory(prefix="kerasnb-") as folder:
        keeper = Checkpoint(folder, every, _channel, backup)
        own = [keeper, Reporter(_channel)]
        try:
            history = model.fit(
                x,
                y,
                sample_weight=sample_weight,
                validation_data=validation_data,
                callbacks=[*callbacks, *own],
                verbose=0,
                **arguments,
            )
        finally:
            _channel.send("end")
            _channel = None
    values = [placement.gather(v.box) for v in variables_of(model)]
    if not first:
        return None
    return {
        "values": values,
        "history": history.history,
        "epochs": history.epoch,
        "status": (model.run.status, model.run.message),
        "stopped": model.stop_training,
        "callbacks": [_kept(callback) for callback in callbacks],
        "generators": Generators.now(),
    }


def missed(number: int) -> dict[str, Any]:
    """What the last `fit` told from this message on, should it be lost or late."""
    sent = [] if _last is None else _last.sent[number:]
    return {str(i): message for i, message in enumerate(sent, number)}


def _publisher() -> Callable[[dict[str, Any]], None]:
    """A way to the notebook for the request that is answered now.

    The engine's own one changes over to every request that comes meanwhile.
    """
    datapub = optional("ipyparallel.engine.datapub", "on engines", "cluster")
    shared = _shell().data_pub
    own = datapub.ZMQDataPublisher(
        session=shared.session, pub_socket=shared.pub_socket, topic=shared.topic
    )
    own.parent_header = shared.parent_header
    return own.publish_data


def _shell() -> Any:
    return sys.modules["IPython"].get_ipython()  # an engine is one


def _kept(callback: Any) -> dict[str, Any]:
    """What a callback has become, as far as it is data."""
    items = vars(callback).items()
    return {k: v for k, v in items if k not in ("params", "_model") and _is_data(v)}


def _is_data(value: Any) -> bool:
    if isinstance(value, list | tuple | set):
        return all(map(_is_data, value))
    if isinstance(value, dict):
        return all(_is_data(part) for item in value.items() for part in item)
    plain = bool | int | float | str | bytes | np.ndarray | np.generic
    return value is None or isinstance(value, plain)


def variables_of(model: Any) -> list[Any]:
    """The variables of a model and of its training, in an order both sides share."""
    return [
        *model.trainable_variables,
        *model.non_trainable_variables,
        *(model.optimizer.variables if model.optimizer is not None else ()),
        *model.metrics_variables,
    ]


def evaluate(model: Any, data: Any, arguments: dict[str, Any]) -> Any:
    """The loss and metrics, all engines together."""
    x, y, sample_weight = loaded(data)
    return model.evaluate(
        x, y, sample_weight=sample_weight, verbose=0, return_dict=True, **arguments
    )


def predict(model: Any, data: Any, arguments: dict[str, Any]) -> Any:
    """The outputs for the rows that this engine was given."""
    return model.predict(loaded(data)[0], verbose=0, **arguments)


def run(function: Callable, args: tuple, kwargs: dict[str, Any]) -> Any:
    """What a function returns here."""
    return function(*args, **kwargs)


WORK: dict[str, Callable[..., Any]] = {
    "evaluate": evaluate,
    "first_batch": first_batch,
    "fit": fit,
    "predict": predict,
    "run": run,
}


# --- Random numbers, the same on all engines and on the way home ----------------------
