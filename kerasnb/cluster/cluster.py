"""`Cluster`: engines that work as one, from a notebook.

Every engine runs the very same program; the arrays in it are spread over the devices of
all. The notebook sends the model and the data, watches, and takes the weights home.
"""

import builtins
import contextlib
import inspect
import os
import re
import signal
import socket
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from kerasnb.callbacks import CallbackList, History
from kerasnb.callbacks.backup import FILE, read_backup
from kerasnb.callbacks.progress import say
from kerasnb.cluster import engine
from kerasnb.cluster.mirror import Mirror
from kerasnb.cluster.parcel import Parcel, pack, pack_each, unpack
from kerasnb.core import frontend
from kerasnb.core.errors import check, reject_unknown, show
from kerasnb.core.graph import map_structure
from kerasnb.random import Generators
from kerasnb.training.checks import check_counts
from kerasnb.training.data import Table
from kerasnb.training.interrupts import Interrupts
from kerasnb.training.trainer import Trainer

_TURN = 0.03  # seconds between two looks at the engines
_GRACE = 5.0  # seconds for the others to end when one has failed
_ANSWER = 30.0  # seconds in which an idle engine must answer
_NOISE = re.compile(r"^\[Gloo\] .*\n?", re.MULTILINE)  # what engines print unasked


class EngineLostError(RuntimeError):
    """An engine died, or does not answer any more."""


class Cluster(frontend.Displayable):
    """Engines that train one model together; made by `start` and `attach`.

        with kerasnb.cluster.start(2) as cluster:
            cluster.fit(model, x, y, epochs=5)

    At the end of the `with`, and when the notebook's kernel ends, the engines stop.
    """

    def __init__(
        self,
        client: Any,
        launched: Any = None,
        count: int | None = None,
        environment: dict[str, str] | None = None,
        timeout: float = 120,
    ) -> None:
        self._client, self._launched = client, launched
        self._count = count or len(client.ids)
        self._environment, self._timeout = dict(environment or {}), timeout
        self._ids: list[int] = []
        self._facts: list[dict[str, Any]] = []
        self._lost = ""
        self._folder: Path | None = None
        self._join()

    # --- Engines ----------------------------------------------------------------------

    def _join(self) -> None:
        """Make one group of the engines, each a process of `jax.distributed`."""
        ids = sorted(self._client.ids)[-self._count :]
        self._prepare(ids)
        facts = self._call(ids, engine.introduce)
        _compare_versions(facts)
        groups = [one["group"] for one in facts]
        if any(groups):
            ids, facts, group = _same_group(ids, facts)
        else:
            alone = len({one["host"] for one in facts}) == 1
            address = "127.0.0.1" if alone else facts[0]["address"]
            group = {
                "coordinator": f"{address}:{facts[0]['port']}",
                "count": len(ids),
                "timeout": int(self._timeout),
            }
        owners = self._owners(facts)
        plans = _environments(facts)
        results = [
            self._send(
                i, engine.join, group, rank, plans[rank] | self._environment, owners
            )
            for rank, i in enumerate(ids)
        ]
        try:
            devices = self._wait(results, ids, self._timeout, "join the others")
        except _Died as death:
            host = facts[death.ranks[0]]["host"]
            raise EngineLostError(
                f"Engine {_listed(death.ranks)} on host {host} ended while it joined "
                f"the others; can all hosts reach {group['coordinator']}?"
            ) from None
        for one, names in zip(facts, devices, strict=True):
            one["devices"] = names
        self._ids, self._facts, self._lost = ids, facts, ""

    def _prepare(self, ids: list[int]) -> None:
        """Let the engines find kerasnb where the notebook does, and import it."""
        here = [path for path in sys.path if path and Path(path).exists()]
        folder = str(Path.cwd())
        code = (
            f"import os, sys\nsys.path += [p for p in {here!r} if p not in sys.path "
            "and os.path.exists(p)]\n"
            f"if os.path.isdir({folder!r}): os.chdir({folder!r})\n"
            "import kerasnb.cluster.engine"
        )
        results = [self._client[i].execute(code, block=False) for i in ids]
        try:
            self._wait(results, ids, self._timeout, "import kerasnb")
        except ImportError as error:
            raise ImportError(
                f"The engines cannot import kerasnb ({error}): install the version of "
                "this notebook, with the extra `cluster`, where they run."
            ) from None

    def _owners(self, facts: list[dict[str, Any]]) -> list[int]:
        """The processes, this one first, without which engines here are of no use."""
        if self._launched is None:
            return []
        if any(one["host"] != socket.gethostname() for one in facts):
            return []
        controller = getattr(self._launched.controller, "process", None)
        return [os.getpid(), *([controller.pid] if controller is not None else [])]

    def _send(self, identity: int, function: Callable, *args: Any) -> Any:
        return self._client[identity].apply_async(function, *args)

    def _call(self, ids: Sequence[int], function: Callable, *args: Any) -> list[Any]:
        results = [self._send(i, function, *args) for i in ids]
        return self._wait(results, ids, _ANSWER, "answer")

    def _wait(
        self,
        results: list[Any],
        ids: Sequence[int],
        timeout: float | None,
        what: str,
        turn: Callable[[list], None] = lambda results: None,
    ) -> list[Any]:
        """What the engines answer; `turn` is called meanwhile. Fails if one does."""
        limit = None if timeout is None else time.monotonic() + timeout
        grace: float | None = None
        while not all(result.ready() for result in results):
            turn(results)
            now = time.monotonic()
            if self._dead(ids):
                break
            failed = any(r.ready() and not r.successful() for r in results)
            if failed and grace is None:
                grace = now + _GRACE
            if grace is not None and now > grace:
                break
            if limit is not None and now > limit:
                late = [k for k, r in enumerate(results) if not r.ready()]
                raise EngineLostError(
                    f"Engine {_listed(late)} did not {what} within {timeout:g} "
                    "seconds. Is somebody else using it? cluster.stop(), and start or "
                    "attach again; `timeout=` allows more time."
                )
            time.sleep(_TURN)
        turn(results)
        if dead := self._dead(ids):
            raise _Died([list(ids).index(i) for i in dead])
        hanging = not all(result.ready() for result in results)
        errors = [r.exception() for r in results if r.ready() and not r.successful()]
        if errors:
            if hanging:
                self._kill("the others were waiting for an engine that had failed")
            # The first to fail tells the others, which then fail as well.
            own = [e for e in errors if "stopped with an error" not in str(e)]
            raise _as_raised((own or errors)[0])
        return [result.get() for result in results]

    def _dead(self, ids: Sequence[int]) -> list[int]:
        alive = set(self._client.ids)
        return [i for i in ids if i not in alive]

    def _kill(self, why: str) -> None:
        """End all engines at once: those that wait for a dead one wait for ever."""
        self._lost = why
        _end_all(self._client, self._ids)

    def restart(self) -> None:
        """Replace all engines by fresh ones."""
        if self._launched is None:
            raise RuntimeError(
                "cluster.restart: these engines were started by somebody else; start "
                "new ones there, and kerasnb.cluster.attach again."
            )
        _end_all(self._client, self._ids)
        self._launched.stop_engines_sync()
        old = set(self._client.ids)
        limit = time.monotonic() + self._timeout
        while old & set(self._client.ids) and time.monotonic() < limit:
            time.sleep(_TURN)
        self._launched.start_engines_sync(self._count, environment=self._environment)
        self._client.wait_for_engines(
            self._count, timeout=self._timeout, interactive=False
        )
        self._join()

    def stop(self) -> None:
        """Stop the engines that `start` has started; let go of attached ones."""
        client, self._client = self._client, None
        if client is None:
            return
        if self._launched is not None:
            # They have nothing to keep, and would wait for one another.
            _end_all(client, self._ids)
            self._launched.stop_cluster_sync()
        client.close()

    def __enter__(self) -> "Cluster":
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()

    def _check_running(self, who: str) -> None:
        """Have all engines at hand; lost ones of our own are replaced."""
        if self._client is None:
            raise RuntimeError(
                f"cluster.{who}: the engines were stopped; kerasnb.cluster.start "
                "starts new ones."
            )
        if self._dead(self._ids):
            self._lost = self._lost or "an engine has ended"
        if self._lost and self._launched is None:
            raise EngineLostError(
                f"cluster.{who}: {self._lost}. Start new engines where these were "
                "started, and kerasnb.cluster.attach again."
            )
        if self._lost:
            self.restart()

    def __len__(self) -> int:
        return len(self._ids)

    # --- Looking at them --------------------------------------------------------------

    def devices(self) -> list[str]:
        """The devices of all engines by name, for a `DeviceMesh`."""
        return [name for one in self._facts for name in one["devices"]]

    @property
    def status(self) -> list[dict[str, Any]]:
        """Engine by engine: host, process, devices, state, memory in bytes."""
        rows = []
        for rank, (i, one) in enumerate(zip(self._ids, self._facts, strict=True)):
            row = {"engine": rank, "host": one["host"], "process": one["pid"]}
            row |= {"devices": one["devices"], "state": "stopped", "memory": None}
            if self._client is not None:
                row["state"] = "lost"
                if i in self._client.ids and (told := self._ask(rank, "status")):
                    row["state"] = "busy" if told["busy"] else "idle"
                    row["memory"] = sum(told["memory"].values())
            rows.append(row)
        return rows

    def _ask(self, rank: int, op: str, value: Any = None, wait: bool = True) -> Any:
        """Send a request to an engine, busy or not; its answer, None without one."""
        content = {"op": op, "value": value}
        future = self._client._send_control_request(
            [self._ids[rank]], engine.REQUEST, content, False
        )
        if not wait:
            return None
        try:
            return future.result(timeout=3)[0]["content"]
        except TimeoutError:
            return None

    def __repr__(self) -> str:
        hosts = len({one["host"] for one in self._facts})
        text = f"{_counted(len(self._ids), 'engine')} on {_counted(hosts, 'host')}"
        return f"<Cluster: {text}, {_counted(len(self.devices()), 'device')}>"

    # --- Work -------------------------------------------------------------------------

    def run(
        self,
        function: Callable,
        *args: Any,
        timeout: float | None = None,
        **kwargs: Any,
    ) -> list[Any]:
        """Call a function on every engine; the results in the order of the engines.

        It may compute with arrays of all engines, but then every engine must.
        """
        check(callable(function), "cluster.run", "function", function, "a function")
        self._check_running("run")
        parcel = pack_each("cluster.run", function=function, args=args, kwargs=kwargs)
        with self._loss("run"):
            return self._work("run", None, [parcel] * len(self), timeout)

    def _work(
        self,
        kind: str,
        distribution: Parcel | None,
        parcels: Sequence[Parcel],
        timeout: float | None = None,
        turn: Callable[[list], None] = lambda results: None,
    ) -> list[Any]:
        ids = self._ids[: len(parcels)]  # with few rows not all have work
        results = [
            self._send(i, engine.work, kind, distribution, parcel)
            for i, parcel in zip(ids, parcels, strict=True)
        ]
        try:
            answers = self._wait(results, ids, timeout, f"end `{kind}`", turn)
        except KeyboardInterrupt:
            self._client.send_signal(signal.SIGINT, ids, block=False)
            limit = time.monotonic() + _GRACE
            while not all(r.ready() for r in results):
                if time.monotonic() > limit:
                    self._kill(f"cluster.{kind} was interrupted")
                    break
                time.sleep(_TURN)
            raise
        return [unpack(parcel) for parcel in answers]

    @contextmanager
    def _loss(self, who: str) -> Iterator[None]:
        """Say which engine died; the others are ended."""
        try:
            yield
        except _Died as death:
            told = self._tell_of(death)
            self._kill(told)
            raise EngineLostError(
                f"cluster.{who}: {told}. {self._next_step()}"
            ) from None

    def _tell_of(self, death: "_Died") -> str:
        ranks = death.ranks
        hosts = sorted({self._facts[rank]["host"] for rank in ranks})
        return f"engine {_listed(ranks)} on host {', '.join(hosts)} died"

    def _next_step(self) -> str:
        if self._launched is None:
            return "Start new engines there and kerasnb.cluster.attach again."
        return "The next call starts fresh engines."

    def predict(self, model: Any, x: Any, **arguments: Any) -> Any:
        """`model.predict`, each engine computing its share of the rows."""
        self._check_arguments("predict", model, arguments, Trainer.predict)
        source = model._source("predict", x)
        check(isinstance(source, Table), "cluster.predict", "x", x, "arrays")
        rows = np.array_split(np.arange(source.rows), len(self))
        shares = [source.take(slice(r[0], r[-1] + 1)) for r in rows if len(r)]
        if not model.built:
            model._build_from(source.take(slice(0, 1))[0])
        parcels = [
            pack_each(
                "cluster.predict",
                model=model,
                data=(share[0], None, None),
                arguments=arguments,
            )
            for share in shares
        ]
        with self._loss("predict"):
            parts = self._work("predict", None, parcels)
        return jax.tree.map(lambda *parts: np.concatenate(parts), *parts)

    def evaluate(
        self,
        model: Any,
        x: Any = None,
        y: Any = None,
        *,
        sample_weight: Any = None,
        return_dict: bool = False,
        distribution: Any = None,
        **arguments: Any,
    ) -> Any:
        """`model.evaluate`, the batches spread over all engines."""
        self._check_arguments("evaluate", model, arguments, Trainer.evaluate)
        model._check_compiled("evaluate")
        data = _at_host((x, y, sample_weight))
        self._build(model, data, arguments.get("batch_size"))
        parcel = pack_each(
            "cluster.evaluate", model=model, data=data, arguments=arguments
        )
        with self._loss("evaluate"):
            logs = self._work("evaluate", pack(distribution), [parcel] * len(self))[0]
        return logs if return_dict else model._flat(logs)

    def _check_arguments(
        self, who: str, model: Any, arguments: dict[str, Any], like: Callable
    ) -> None:
        check(
            isinstance(model, Trainer),
            f"cluster.{who}",
            "model",
            model,
            "a compiled model",
        )
        known = [n for n in inspect.signature(like).parameters if n != "self"]
        unknown = [name for name in arguments if name not in known]
        reject_unknown(f"cluster.{who}", unknown, known)
        for name in ("verbose", "callbacks"):
            if who != "fit":
                arguments.pop(name, None)
        self._check_running(who)

    def _build(self, model: Any, data: Any, batch_size: int | None) -> Table | None:
        """Build the model here, so that all engines begin with the same weights."""
        source = None
        if engine.makes_data(data[0]):
            parcel = pack_each("cluster.fit", data=data, batch_size=batch_size)
            with self._loss("fit"):
                shapes = self._work("first_batch", None, [parcel] * len(self))[0]
            batch = _zeros(shapes)
        else:
            source = model._source("fit", *data)
            if not isinstance(source, Table):
                raise TypeError(
                    f"cluster.fit: `x` must be arrays, or a function that each engine "
                    f"calls to make its batches, not {show(data[0])}; wrap it: "
                    "cluster.fit(model, lambda: ..., ...)."
                )
            batch = source.take(slice(0, batch_size or 32))
        model._prepare(batch)
        return source

    # --- fit --------------------------------------------------------------------------

    def fit(
        self,
        model: Any,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        epochs: int = 1,
        *,
        distribution: Any = None,
        backup_dir: str | os.PathLike[str] | None = None,
        backup_every: int | str = "epoch",
        resume: bool = False,
        **arguments: Any,
    ) -> Any:
        """`model.fit` on all engines; takes its arguments, returns its `History`.

        `batch_size` counts the rows of a whole batch, of which every device computes
        its part. `x` may be a function without arguments that returns `x`, `(x, y)` or
        an iterable of batches: each engine calls it, and nothing but the function is
        sent. `distribution` is `DataParallel()` unless given; a function that makes one
        is called on every engine. Callbacks run on the engines, but for those with
        `at_home = True`, whose hooks of epochs are called here.

        After every epoch (or every `backup_every` steps) the state of the run is kept
        in `backup_dir`, a temporary folder unless given. When an engine is lost, the
        model has the weights of the last such moment, and the same call with
        `resume=True` goes on from there.
        """
        self._check_arguments("fit", model, arguments, Trainer.fit)
        model._check_compiled("fit", needs_optimizer=True)
        check_counts("fit", batch_size=batch_size, epochs=epochs)
        arguments |= {"batch_size": batch_size, "epochs": epochs}
        parameters = inspect.signature(Trainer.fit).parameters
        given = {name: one.default for name, one in parameters.items()} | arguments
        data = _at_host((x, y, arguments.pop("sample_weight", None)))
        verbose = arguments.pop("verbose", "auto")
        away, home = _split_callbacks(arguments.pop("callbacks", None))
        folder, backup = self._backup(backup_dir, resume)
        source = self._build(model, data, batch_size)
        mirror = Mirror(model, home, verbose, folder, given, source)
        parcel = pack_each(
            "cluster.fit",
            model=model,
            data=data,
            validation_data=_at_host(arguments.pop("validation_data", None)),
            callbacks=away,
            arguments=arguments,
            generators=Generators.now(),
            every=backup_every,
            backup=backup,
        )
        self._folder = folder
        # A first interrupt is a wish to stop, which the engines hear of.
        with Interrupts(together=True) as interrupts:
            turn = self._steer(mirror, interrupts)
            try:
                place = pack(distribution)
                parcels = [parcel] * len(self)
                outcome = self._work("fit", place, parcels, None, turn)[0]
            except _Died as death:
                raise self._after_loss(mirror, death) from None
            except BaseException as error:
                if mirror.run is not None:
                    mirror.run.finish("failed", f"{type(error).__name__}: {error}")
                if isinstance(error, KeyboardInterrupt):
                    self._from_backup(mirror)
                raise
            self._take_home(mirror, away, outcome)
            interrupted = interrupts.waiting
            interrupts.clear()
        if interrupted and not frontend.in_notebook():
            raise KeyboardInterrupt
        return model.history

    def _steer(self, mirror: Mirror, interrupts: Interrupts) -> Callable:
        """A turn of Python while the engines train: what they say, what was asked."""
        printed, asked = 0, False

        def turn(results: list[Any]) -> None:
            nonlocal printed, asked
            first = self._client.metadata[results[0].msg_ids[0]]
            mirror.hear(first["data"])
            text = _NOISE.sub("", first["stdout"])
            if len(text) > printed:
                say(text[printed:].removesuffix("\n"))
                printed = len(text)
            if interrupts.waiting and not asked:
                asked = True
                self._ask(0, "stop", wait=False)
            if mirror.run is not None:
                while (request := mirror.run.next_request()) is not None:
                    self._ask(0, *request, wait=False)
                mirror.run.tell()
            # The last messages may come after the results.
            if results[0].ready() and results[0].successful():
                limit = time.monotonic() + 1
                while not mirror.over and time.monotonic() < limit:
                    time.sleep(0.01)
                    mirror.hear(first["data"])
                if not mirror.over:
                    late = self._send(self._ids[0], engine.missed, mirror.number)
                    mirror.hear(late.get(timeout=_ANSWER))
            if mirror.over and interrupts.waiting and mirror.run is not None:
                steps = mirror.run.step
                mirror.ending = "interrupted", f"interrupted after {steps} whole steps"

        return turn

    def _take_home(
        self, mirror: Mirror, callbacks: list[Any], outcome: dict[str, Any]
    ) -> None:
        """Give the model here what the engines' model has become."""
        model, run = mirror.model, mirror.run
        pairs = zip(engine.variables_of(model), outcome["values"], strict=True)
        for variable, value in pairs:
            variable.assign(value)
        for callback, kept in zip(callbacks, outcome["callbacks"], strict=True):
            vars(callback).update(kept)
        outcome["generators"].restore()
        model.stop_training = outcome["stopped"]
        assert run is not None
        history = mirror.hooks.history
        history.history, history.epoch = outcome["history"], outcome["epochs"]
        model.history = history
        mirror.hooks.on_train_end(run.logs)
        run.finish(*(mirror.ending or outcome["status"]))
        self._folder = None
        mirror.path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # something else is in it, or it never was
            mirror.path.parent.rmdir()

    def _after_loss(self, mirror: Mirror, death: "_Died") -> EngineLostError:
        """Save what can be saved, and say it."""
        run, told = mirror.run, self._tell_of(death)
        self._kill(told)
        where = " before the first step"
        if run is not None:
            epoch = min(run.epoch + 1, run.epochs)
            where = f" in epoch {epoch} of {run.epochs}, after step {run.step}"
        if self._from_backup(mirror) and mirror.kept is not None:
            epoch, step, inside = mirror.kept
            kept = f"step {step}" if inside else f"the end of epoch {epoch}"
            words = f"The model has its weights of {kept}, kept in {mirror.path}. "
            line = "cluster.fit(..., resume=True), with the same arguments"
            if self._launched is None:
                line = f"cluster.fit(..., backup_dir={str(mirror.path.parent)!r}, "
                line += "resume=True), after attaching to new engines"
            words += f"Go on from there with {line}."
        else:
            words = "There was no backup yet: the model is as it was. "
            words += self._next_step()
        message = f"cluster.fit: {told}{where}. {words}"
        if run is not None:
            run.finish("failed", message)
        return EngineLostError(message)

    def _from_backup(self, mirror: Mirror) -> bool:
        """Give the model the weights of the last backup, if there was one."""
        if mirror.kept is None:
            return False
        state, arrays = read_backup(mirror.path)
        variables = engine.variables_of(mirror.model)
        for variable, (_, name, dtype) in zip(
            variables, state["variables"], strict=True
        ):
            variable.assign(arrays[name].view(jnp.dtype(dtype)))
        return True

    def _backup(
        self, backup_dir: str | os.PathLike[str] | None, resume: bool
    ) -> tuple[Path, bytes | None]:
        """The folder of the backups, and the one to go on from."""
        given = None if backup_dir is None else Path(backup_dir)
        if not resume:
            return given or Path(tempfile.mkdtemp(prefix="kerasnb-backup-")), None
        folder = given or self._folder
        path = None if folder is None else folder / FILE
        if path is None or not path.exists():
            raise ValueError(
                "cluster.fit: there is nothing to resume"
                + ("" if path is None else f" in {folder}")
                + "; leave `resume` out to begin from the beginning, or name the "
                "folder of the backup with `backup_dir`."
            )
        return path.parent, path.read_bytes()


# --- Small things ---------------------------------------------------------------------


class _Died(Exception):
    """Engines ended while something was waited for."""

    def __init__(self, ranks: list[int]) -> None:
        super().__init__(ranks)
        self.ranks = ranks


def _end_all(client: Any, ids: Sequence[int]) -> None:
    """Kill engines, and wait a little until they are known to be gone."""
    if alive := sorted(set(ids) & set(client.ids)):
        client.send_signal(signal.SIGKILL, alive, block=False)
    limit = time.monotonic() + _GRACE
    while set(ids) & set(client.ids) and time.monotonic() < limit:
        time.sleep(_TURN)


def _split_callbacks(callbacks: Any) -> tuple[list[Any], list[Any]]:
    """Those that travel, and those that stay."""
    away: list[Any] = []
    home: list[Any] = []
    for callback in CallbackList(callbacks).callbacks:
        stays = getattr(callback, "at_home", isinstance(callback, History))
        (home if stays else away).append(callback)
    return away, home


def _at_host(data: Any) -> Any:
    """Arrays of devices as NumPy's, which travel well."""
    return map_structure(
        lambda a: np.asarray(a) if isinstance(a, jax.Array) else a, data
    )


def _zeros(shapes: Any) -> Any:
    is_spec = lambda s: isinstance(s, tuple) and len(s) == 2 and isinstance(s[1], str)  # noqa: E731
    return jax.tree.map(lambda s: np.zeros(*s), shapes, is_leaf=is_spec)


def _as_raised(error: Any) -> Exception:
    """An engine's error as the same code would have raised it here."""
    kind = getattr(builtins, getattr(error, "ename", ""), None)
    if isinstance(kind, type) and issubclass(kind, Exception):
        return kind(error.evalue)
    return RuntimeError(f"{getattr(error, 'ename', type(error).__name__)}: {error}")


def _compare_versions(facts: list[dict[str, Any]]) -> None:
    here = engine.versions()
    for rank, one in enumerate(facts):
        for name, version in one["versions"].items():
            if version != here[name]:
                warnings.warn(
                    f"Engine {rank} on host {one['host']} has {name} {version} and "
                    f"this notebook {here[name]}; models may not travel, or compute "
                    "differently. Install the same version on both.",
                    stacklevel=5,
                )


def _same_group(
    ids: list[int], facts: list[dict[str, Any]]
) -> tuple[list[int], list[dict[str, Any]], dict[str, Any]]:
    """Engines that were joined before, in the order that they then got."""
    groups = [one["group"] or {} for one in facts]
    if len({g.get("coordinator") for g in groups}) > 1 or groups[0]["count"] != len(
        ids
    ):
        raise EngineLostError(
            "cluster.attach: some of these engines were joined to others before, which "
            "are gone, and can be in one group only. Start new ones."
        )
    order = sorted(range(len(ids)), key=lambda k: groups[k]["rank"])
    return [ids[k] for k in order], [facts[k] for k in order], groups[0]


def _environments(facts: list[dict[str, Any]]) -> list[dict[str, str]]:
    """What keeps engines on one host out of one another's way."""
    plans: list[dict[str, str]] = []
    for rank, one in enumerate(facts):
        same = [k for k, other in enumerate(facts) if other["host"] == one["host"]]
        place, gpus = same.index(rank), one["gpus"]
        # XLA makes as many threads as it believes to have cores.
        plan = {"NPROC": str(max(1, one["cores"] // len(same)))}
        if gpus and len(gpus) < len(same):
            raise EngineLostError(
                f"{len(same)} engines on host {one['host']} cannot share "
                f"{_counted(len(gpus), 'GPU')}: start no more engines than GPUs, or "
                'let them compute on the CPU with environment={"JAX_PLATFORMS": "cpu"}.'
            )
        if gpus:
            first, last = (k * len(gpus) // len(same) for k in (place, place + 1))
            plan["CUDA_VISIBLE_DEVICES"] = ",".join(gpus[first:last])
            # The notebook may hold memory of the same GPU.
            plan["XLA_PYTHON_CLIENT_PREALLOCATE"] = "false"
        plans.append(plan)
    return plans


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _listed(ranks: Sequence[int]) -> str:
    return " and ".join(map(str, ranks))
