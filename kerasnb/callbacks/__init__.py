"""What happens beside training: `keras.callbacks`."""

from kerasnb.callbacks.backup import BackupAndRestore as BackupAndRestore
from kerasnb.callbacks.callback import Callback as Callback
from kerasnb.callbacks.callback_list import CallbackList as CallbackList
from kerasnb.callbacks.checkpoint import ModelCheckpoint as ModelCheckpoint
from kerasnb.callbacks.control import LambdaCallback as LambdaCallback
from kerasnb.callbacks.control import LearningRateScheduler as LearningRateScheduler
from kerasnb.callbacks.control import SwapEMAWeights as SwapEMAWeights
from kerasnb.callbacks.control import TerminateOnNaN as TerminateOnNaN
from kerasnb.callbacks.monitor import EarlyStopping as EarlyStopping
from kerasnb.callbacks.monitor import MonitorCallback as MonitorCallback
from kerasnb.callbacks.monitor import ReduceLROnPlateau as ReduceLROnPlateau
from kerasnb.callbacks.orbax import OrbaxCheckpoint as OrbaxCheckpoint
from kerasnb.callbacks.progress import ProgbarLogger as ProgbarLogger
from kerasnb.callbacks.records import CSVLogger as CSVLogger
from kerasnb.callbacks.records import History as History
from kerasnb.callbacks.records import RemoteMonitor as RemoteMonitor
from kerasnb.callbacks.tensorboard import TensorBoard as TensorBoard
