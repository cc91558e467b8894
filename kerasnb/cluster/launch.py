"""`start` and `attach`: where engines come from."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from kerasnb.cluster.cluster import Cluster, EngineLostError
from kerasnb.cluster.engine import gpus
from kerasnb.core.errors import check, optional, show, suggest

_PURPOSE = "to train on several engines"
_QUIET = logging.CRITICAL
# How soon engines on a host that vanished are given up: pings per second, misses.
_HEARTBEATS = [
    "--HeartMonitor.period=1000",
    "--HeartMonitor.max_heartmonitor_misses=15",
]
_HERE = ("local", "mpi")


def start(
    engines: int | str = "local",
    n: int | None = None,
    *,
    hosts: Sequence[str] | Mapping[str, int] | None = None,
    environment: Mapping[str, str] | None = None,
    timeout: float = 120,
    **options: Any,
) -> Cluster:
    """Start engines and join them: `start(2)`, `start("slurm", 8)`.

    `engines` says how they are launched: `"local"`, `"mpi"`, `"ssh"`, `"slurm"`,
    `"pbs"`, `"sge"`, `"lsf"`, or the name of any launcher that is installed for
    ipyparallel. `n` is their number, by default one for each GPU of this machine, or 2.
    `hosts` are those for `"ssh"`, each once for every engine or with a number. The
    engines get `environment` beside their own; `timeout` is in seconds, and a queue may
    need more. Further options (`profile`, `controller_ip`, ...) are those of
    `ipyparallel.Cluster`.

        with kerasnb.cluster.start(2) as cluster:
            history = cluster.fit(model, x, y, epochs=5, batch_size=256)

    On one machine engines share the cores, and each has GPUs of its own.
    """
    ipyparallel = optional("ipyparallel", _PURPOSE, "cluster")
    if not isinstance(engines, str):
        engines, n = "local", int(engines)
    hosts = _counts(hosts)
    if hosts is not None:
        n = sum(hosts.values())
    if n is None:
        n = len(gpus()) or 2
    good = isinstance(n, int) and not isinstance(n, bool) and n > 0
    check(good, "cluster.start", "n", n, "a positive number of engines")
    if engines not in _HERE:
        options.setdefault("controller_ip", "*")
    launched = None
    try:
        launched = _launcher(ipyparallel, engines, options)
        if hosts is not None:
            launched.config.SSHEngineSetLauncher.engines = dict(hosts)
        launched.start_controller_sync()
        launched.start_engines_sync(n, environment=dict(environment or {}))
        client = launched.connect_client_sync()
        client.wait_for_engines(n, timeout=timeout, interactive=False)
        return Cluster(client, launched, n, dict(environment or {}), timeout)
    except BaseException as error:
        if launched is not None:
            launched.stop_cluster_sync()
        ended = isinstance(error, TimeoutError | ipyparallel.error.EngineError)
        if ended and launched is not None:
            raise EngineLostError(
                f"cluster.start: not all engines were there after {timeout:g} seconds "
                f"({error}). `timeout=` allows more time."
            ) from None
        raise


def attach(
    client: Any = None,
    *,
    profile: str | None = None,
    timeout: float = 120,
    **options: Any,
) -> Cluster:
    """Join engines that somebody else runs, such as those of `ipcluster start`.

    `client` is an `ipyparallel.Client`; without one, `profile` and further options say
    to which engines to connect. All engines of the client are taken. The engines run
    on after `stop`.

        cluster = kerasnb.cluster.attach(profile="default")
    """
    ipyparallel = optional("ipyparallel", _PURPOSE, "cluster")
    if client is None:
        try:
            client = ipyparallel.Client(profile=profile, timeout=timeout, **options)
        except (OSError, TimeoutError) as error:
            raise EngineLostError(
                f"cluster.attach: nobody answers ({error}). Start engines with "
                "`ipcluster start -n 4`, or kerasnb.cluster.start(4) here."
            ) from None
    check(
        isinstance(client, ipyparallel.Client),
        "cluster.attach",
        "client",
        client,
        "an ipyparallel.Client",
    )
    if not client.ids:
        raise EngineLostError("cluster.attach: the controller there has no engines.")
    return Cluster(client, timeout=timeout)


def _launcher(ipyparallel: Any, engines: str, options: dict[str, Any]) -> Any:
    try:
        return ipyparallel.Cluster(
            engines=engines,
            log_level=_QUIET,
            controller_args=[*_HEARTBEATS, *options.pop("controller_args", ())],
            **options,
        )
    except Exception as error:
        if "launcher" not in str(error).lower():
            raise
        names = ("local", "mpi", "ssh", "slurm", "pbs", "sge", "lsf", "htcondor")
        raise ValueError(
            f"cluster.start: there is no launcher {show(engines)}; there are "
            f"{', '.join(names)} and those installed for ipyparallel."
            f"{suggest(engines, names)}"
        ) from None


def _counts(hosts: Any) -> dict[str, int] | None:
    """Engines by host, from a list in which a host may occur again."""
    if hosts is None or isinstance(hosts, Mapping):
        return hosts  # type: ignore[return-value]
    names = [hosts] if isinstance(hosts, str) else list(hosts)
    return {name: names.count(name) for name in names}
