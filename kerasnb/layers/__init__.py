"""Layers: weights and the computations that use them."""

from kerasnb.layers.activation import ELU as ELU
from kerasnb.layers.activation import Activation as Activation
from kerasnb.layers.activation import LeakyReLU as LeakyReLU
from kerasnb.layers.activation import PReLU as PReLU
from kerasnb.layers.activation import ReLU as ReLU
from kerasnb.layers.activation import Softmax as Softmax
from kerasnb.layers.cells import GRUCell as GRUCell
from kerasnb.layers.cells import LSTMCell as LSTMCell
from kerasnb.layers.cells import SimpleRNNCell as SimpleRNNCell
from kerasnb.layers.cells import StackedRNNCells as StackedRNNCells
from kerasnb.layers.conv import Conv1D as Conv1D
from kerasnb.layers.conv import Conv1D as Convolution1D  # noqa: F401
from kerasnb.layers.conv import Conv2D as Conv2D
from kerasnb.layers.conv import Conv2D as Convolution2D  # noqa: F401
from kerasnb.layers.conv import Conv3D as Conv3D
from kerasnb.layers.conv import Conv3D as Convolution3D  # noqa: F401
from kerasnb.layers.core import Embedding as Embedding
from kerasnb.layers.core import Identity as Identity
from kerasnb.layers.core import Masking as Masking
from kerasnb.layers.dense import Dense as Dense
from kerasnb.layers.input_layer import Input as Input
from kerasnb.layers.input_layer import InputLayer as InputLayer
from kerasnb.layers.input_spec import InputSpec as InputSpec
from kerasnb.layers.lambda_ import Lambda as Lambda
from kerasnb.layers.layer import Layer as Layer
from kerasnb.layers.merge import Add as Add
from kerasnb.layers.merge import Average as Average
from kerasnb.layers.merge import Concatenate as Concatenate
from kerasnb.layers.merge import Dot as Dot
from kerasnb.layers.merge import Maximum as Maximum
from kerasnb.layers.merge import Minimum as Minimum
from kerasnb.layers.merge import Multiply as Multiply
from kerasnb.layers.merge import Subtract as Subtract
from kerasnb.layers.merge import add as add
from kerasnb.layers.merge import average as average
from kerasnb.layers.merge import concatenate as concatenate
from kerasnb.layers.merge import dot as dot
from kerasnb.layers.merge import maximum as maximum
from kerasnb.layers.merge import minimum as minimum
from kerasnb.layers.merge import multiply as multiply
from kerasnb.layers.merge import subtract as subtract
from kerasnb.layers.noise import Dropout as Dropout
from kerasnb.layers.noise import GaussianDropout as GaussianDropout
from kerasnb.layers.noise import GaussianNoise as GaussianNoise
from kerasnb.layers.noise import SpatialDropout1D as SpatialDropout1D
from kerasnb.layers.noise import SpatialDropout2D as SpatialDropout2D
from kerasnb.layers.noise import SpatialDropout3D as SpatialDropout3D
from kerasnb.layers.norm import BatchNormalization as BatchNormalization
from kerasnb.layers.norm import LayerNormalization as LayerNormalization
from kerasnb.layers.pool import AveragePooling1D as AveragePooling1D
from kerasnb.layers.pool import AveragePooling1D as AvgPool1D  # noqa: F401
from kerasnb.layers.pool import AveragePooling2D as AveragePooling2D
from kerasnb.layers.pool import AveragePooling2D as AvgPool2D  # noqa: F401
from kerasnb.layers.pool import AveragePooling3D as AveragePooling3D
from kerasnb.layers.pool import AveragePooling3D as AvgPool3D  # noqa: F401
from kerasnb.layers.pool import GlobalAveragePooling1D as GlobalAveragePooling1D
from kerasnb.layers.pool import GlobalAveragePooling1D as GlobalAvgPool1D  # noqa: F401
from kerasnb.layers.pool import GlobalAveragePooling2D as GlobalAveragePooling2D
from kerasnb.layers.pool import GlobalAveragePooling2D as GlobalAvgPool2D  # noqa: F401
from kerasnb.layers.pool import GlobalAveragePooling3D as GlobalAveragePooling3D
from kerasnb.layers.pool import GlobalAveragePooling3D as GlobalAvgPool3D  # noqa: F401
from kerasnb.layers.pool import GlobalMaxPooling1D as GlobalMaxPool1D  # noqa: F401
from kerasnb.layers.pool import GlobalMaxPooling1D as GlobalMaxPooling1D
from kerasnb.layers.pool import GlobalMaxPooling2D as GlobalMaxPool2D  # noqa: F401
from kerasnb.layers.pool import GlobalMaxPooling2D as GlobalMaxPooling2D
from kerasnb.layers.pool import GlobalMaxPooling3D as GlobalMaxPool3D  # noqa: F401
from kerasnb.layers.pool import GlobalMaxPooling3D as GlobalMaxPooling3D
from kerasnb.layers.pool import MaxPooling1D as MaxPool1D  # noqa: F401
from kerasnb.layers.pool import MaxPooling1D as MaxPooling1D
from kerasnb.layers.pool import MaxPooling2D as MaxPool2D  # noqa: F401
from kerasnb.layers.pool import MaxPooling2D as MaxPooling2D
from kerasnb.layers.pool import MaxPooling3D as MaxPool3D  # noqa: F401
from kerasnb.layers.pool import MaxPooling3D as MaxPooling3D
from kerasnb.layers.preprocessing import Rescaling as Rescaling
from kerasnb.layers.recurrent import GRU as GRU
from kerasnb.layers.recurrent import LSTM as LSTM
from kerasnb.layers.recurrent import RNN as RNN
from kerasnb.layers.recurrent import SimpleRNN as SimpleRNN
from kerasnb.layers.resize import Cropping1D as Cropping1D
from kerasnb.layers.resize import Cropping2D as Cropping2D
from kerasnb.layers.resize import Cropping3D as Cropping3D
from kerasnb.layers.resize import UpSampling1D as UpSampling1D
from kerasnb.layers.resize import UpSampling2D as UpSampling2D
from kerasnb.layers.resize import UpSampling3D as UpSampling3D
from kerasnb.layers.resize import ZeroPadding1D as ZeroPadding1D
from kerasnb.layers.resize import ZeroPadding2D as ZeroPadding2D
from kerasnb.layers.resize import ZeroPadding3D as ZeroPadding3D
from kerasnb.layers.shape import Flatten as Flatten
from kerasnb.layers.shape import Permute as Permute
from kerasnb.layers.shape import RepeatVector as RepeatVector
from kerasnb.layers.shape import Reshape as Reshape
from kerasnb.layers.wrap import Bidirectional as Bidirectional
from kerasnb.layers.wrap import TimeDistributed as TimeDistributed
from kerasnb.layers.wrap import Wrapper as Wrapper
