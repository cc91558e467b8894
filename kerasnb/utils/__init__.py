"""Small helpers around models and data: `keras.utils`."""

from kerasnb.backend import clear_session as clear_session
from kerasnb.backend import is_keras_tensor as is_keras_tensor
from kerasnb.backend import standardize_dtype as standardize_dtype
from kerasnb.callbacks.progress import Progbar as Progbar
from kerasnb.config import disable_interactive_logging as disable_interactive_logging
from kerasnb.config import enable_interactive_logging as enable_interactive_logging
from kerasnb.config import (
    is_interactive_logging_enabled as is_interactive_logging_enabled,
)
from kerasnb.datasets.download import get_file as get_file
from kerasnb.random import set_random_seed as set_random_seed
from kerasnb.saving import CustomObjectScope as CustomObjectScope
from kerasnb.saving import custom_object_scope as custom_object_scope
from kerasnb.saving import deserialize_keras_object as deserialize_keras_object
from kerasnb.saving import get_custom_objects as get_custom_objects
from kerasnb.saving import get_registered_name as get_registered_name
from kerasnb.saving import get_registered_object as get_registered_object
from kerasnb.saving import register_keras_serializable as register_keras_serializable
from kerasnb.saving import serialize_keras_object as serialize_keras_object
from kerasnb.training.data import pack_x_y_sample_weight as pack_x_y_sample_weight
from kerasnb.training.data import unpack_x_y_sample_weight as unpack_x_y_sample_weight
from kerasnb.utils import bounding_boxes as bounding_boxes
from kerasnb.utils import legacy as legacy
from kerasnb.utils.arrays import normalize as normalize
from kerasnb.utils.arrays import pad_sequences as pad_sequences
from kerasnb.utils.arrays import to_categorical as to_categorical
from kerasnb.utils.batches import PyDataset as PyDataset
from kerasnb.utils.batches import PyDataset as Sequence
from kerasnb.utils.batches import (
    timeseries_dataset_from_array as timeseries_dataset_from_array,
)
from kerasnb.utils.config import Config as Config
from kerasnb.utils.feature_space import FeatureSpace as FeatureSpace
from kerasnb.utils.folders import (
    audio_dataset_from_directory as audio_dataset_from_directory,
)
from kerasnb.utils.folders import split_dataset as split_dataset
from kerasnb.utils.folders import (
    text_dataset_from_directory as text_dataset_from_directory,
)
from kerasnb.utils.graph import get_source_inputs as get_source_inputs
from kerasnb.utils.images import array_to_img as array_to_img
from kerasnb.utils.images import (
    image_dataset_from_directory as image_dataset_from_directory,
)
from kerasnb.utils.images import img_to_array as img_to_array
from kerasnb.utils.images import load_img as load_img
from kerasnb.utils.images import save_img as save_img
from kerasnb.utils.plot import model_to_dot as model_to_dot
from kerasnb.utils.plot import plot_model as plot_model

__all__ = [
    "Config",
    "CustomObjectScope",
    "FeatureSpace",
    "Progbar",
    "PyDataset",
    "Sequence",
    "array_to_img",
    "audio_dataset_from_directory",
    "bounding_boxes",
    "clear_session",
    "custom_object_scope",
    "deserialize_keras_object",
    "disable_interactive_logging",
    "enable_interactive_logging",
    "get_custom_objects",
    "get_file",
    "get_registered_name",
    "get_registered_object",
    "get_source_inputs",
    "image_dataset_from_directory",
    "img_to_array",
    "is_interactive_logging_enabled",
    "is_keras_tensor",
    "legacy",
    "load_img",
    "model_to_dot",
    "normalize",
    "pack_x_y_sample_weight",
    "pad_sequences",
    "plot_model",
    "register_keras_serializable",
    "save_img",
    "serialize_keras_object",
    "set_random_seed",
    "split_dataset",
    "standardize_dtype",
    "text_dataset_from_directory",
    "timeseries_dataset_from_array",
    "to_categorical",
    "unpack_x_y_sample_weight",
]
