"""Engines for a notebook, on this machine and on many: `start`, `attach`.

The engines are those of ipyparallel, the Jupyter project's own: processes on this
machine, over SSH, or in the queues of Slurm, PBS and the like. Here they become one
group of `jax.distributed`, in which `cluster.fit` is `model.fit` on all devices.
"""

from kerasnb.cluster.cluster import Cluster as Cluster
from kerasnb.cluster.cluster import EngineLostError as EngineLostError
from kerasnb.cluster.launch import attach as attach
from kerasnb.cluster.launch import start as start
