"""Fast arithmetic in 16 bits, weights in 32: `keras.mixed_precision`."""

from kerasnb.core.dtypes import DTypePolicy as DTypePolicy
from kerasnb.core.dtypes import dtype_policy as dtype_policy
from kerasnb.core.dtypes import set_dtype_policy as set_dtype_policy
from kerasnb.optimizers import LossScaleOptimizer as LossScaleOptimizer

# The names of Keras 2.
Policy = DTypePolicy
global_policy = dtype_policy
set_global_policy = set_dtype_policy
