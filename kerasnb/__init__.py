"""Keras rebuilt for the notebook, on JAX alone: `import kerasnb as keras`.

The rooms, each built from those before it: `core` (variables, frames, graph), `ops`,
`random`, `initializers`, `activations`, `regularizers`, `constraints`, `layers`,
`losses`, `metrics`, `optimizers`, `saving`, `callbacks`, `training`, `models`,
`datasets`, `utils`, `applications`, `cluster`; and `notebook`, which only a Jupyter
kernel opens.
"""

from typing import Any

__version__ = "0.1.0"

from kerasnb import activations as activations
from kerasnb import applications as applications
from kerasnb import backend as backend
from kerasnb import callbacks as callbacks
from kerasnb import cluster as cluster
from kerasnb import config as config
from kerasnb import constraints as constraints
from kerasnb import datasets as datasets
from kerasnb import distribution as distribution
from kerasnb import dtype_policies as dtype_policies
from kerasnb import export as export
from kerasnb import initializers as initializers
from kerasnb import layers as layers
from kerasnb import losses as losses
from kerasnb import metrics as metrics
from kerasnb import mixed_precision as mixed_precision
from kerasnb import models as models
from kerasnb import ops as ops
from kerasnb import optimizers as optimizers
from kerasnb import quantizers as quantizers
from kerasnb import random as random
from kerasnb import regularizers as regularizers
from kerasnb import runs as runs
from kerasnb import saving as saving
from kerasnb import tree as tree
from kerasnb import tune as tune
from kerasnb import utils as utils
from kerasnb import wrappers as wrappers
from kerasnb.backend import device as device
from kerasnb.core.dtypes import DTypePolicy as DTypePolicy
from kerasnb.core.dtypes import FloatDTypePolicy as FloatDTypePolicy
from kerasnb.core.graph import Function as Function
from kerasnb.core.graph import KerasTensor as KerasTensor
from kerasnb.core.graph import Operation as Operation
from kerasnb.core.naming import name_scope as name_scope
from kerasnb.core.variable import Variable as Variable
from kerasnb.initializers import Initializer as Initializer
from kerasnb.layers import Input as Input
from kerasnb.layers import InputSpec as InputSpec
from kerasnb.layers import Layer as Layer
from kerasnb.layers.own import Axes as Axes
from kerasnb.layers.own import State as State
from kerasnb.layers.own import Weight as Weight
from kerasnb.layers.own import layer as layer
from kerasnb.layers.scopes import RematScope as RematScope
from kerasnb.layers.scopes import StatelessScope as StatelessScope
from kerasnb.layers.scopes import SymbolicScope as SymbolicScope
from kerasnb.layers.scopes import remat as remat
from kerasnb.losses import Loss as Loss
from kerasnb.metrics import Metric as Metric
from kerasnb.models import Model as Model
from kerasnb.models import Sequential as Sequential
from kerasnb.optimizers import Optimizer as Optimizer
from kerasnb.quantizers import Quantizer as Quantizer
from kerasnb.regularizers import Regularizer as Regularizer


def version() -> str:
    """The version of this package."""
    return __version__


def load_ipython_extension(ipython: Any) -> None:
    """`%load_ext kerasnb`: register the magics and the rich displays."""
    from kerasnb.notebook import load_ipython_extension as load

    load(ipython)


def unload_ipython_extension(ipython: Any) -> None:
    """`%unload_ext kerasnb`: take everything back that `load` brought."""
    from kerasnb.notebook import unload_ipython_extension as unload

    unload(ipython)
