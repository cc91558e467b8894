"""Layers: weights and the computations that use them."""

from kerasnb.layers.activation import ELU as ELU
from kerasnb.layers.activation import Activation as Activation
from kerasnb.layers.activation import LeakyReLU as LeakyReLU
from kerasnb.layers.activation import PReLU as PReLU
from kerasnb.layers.activation import ReLU as ReLU
from kerasnb.layers.activation import Softmax as Softmax
from kerasnb.layers.attention import AdditiveAttention as AdditiveAttention
from kerasnb.layers.attention import Attention as Attention
from kerasnb.layers.attention import GroupQueryAttention as GroupQueryAttention
from kerasnb.layers.attention import MultiHeadAttention as MultiHeadAttention
from kerasnb.layers.audio import MelSpectrogram as MelSpectrogram
from kerasnb.layers.audio import STFTSpectrogram as STFTSpectrogram
from kerasnb.layers.augment_color import AutoContrast as AutoContrast
from kerasnb.layers.augment_color import (
    ContrastLimitedAdaptiveHistogramEqualization as ContrastLimitedAdaptiveHistogramEqualization,  # noqa: E501
)
from kerasnb.layers.augment_color import Equalization as Equalization
from kerasnb.layers.augment_color import RandomBrightness as RandomBrightness
from kerasnb.layers.augment_color import (
    RandomColorDegeneration as RandomColorDegeneration,
)
from kerasnb.layers.augment_color import RandomColorJitter as RandomColorJitter
from kerasnb.layers.augment_color import RandomContrast as RandomContrast
from kerasnb.layers.augment_color import RandomErasing as RandomErasing
from kerasnb.layers.augment_color import RandomGaussianBlur as RandomGaussianBlur
from kerasnb.layers.augment_color import RandomGrayscale as RandomGrayscale
from kerasnb.layers.augment_color import RandomHue as RandomHue
from kerasnb.layers.augment_color import RandomInvert as RandomInvert
from kerasnb.layers.augment_color import RandomPosterization as RandomPosterization
from kerasnb.layers.augment_color import RandomSaturation as RandomSaturation
from kerasnb.layers.augment_color import RandomSharpness as RandomSharpness
from kerasnb.layers.augment_color import Solarization as Solarization
from kerasnb.layers.augment_geometry import RandomCrop as RandomCrop
from kerasnb.layers.augment_geometry import (
    RandomElasticTransform as RandomElasticTransform,
)
from kerasnb.layers.augment_geometry import RandomFlip as RandomFlip
from kerasnb.layers.augment_geometry import RandomPerspective as RandomPerspective
from kerasnb.layers.augment_geometry import RandomRotation as RandomRotation
from kerasnb.layers.augment_geometry import RandomShear as RandomShear
from kerasnb.layers.augment_geometry import RandomTranslation as RandomTranslation
from kerasnb.layers.augment_geometry import RandomZoom as RandomZoom
from kerasnb.layers.augment_mix import AugMix as AugMix
from kerasnb.layers.augment_mix import CutMix as CutMix
from kerasnb.layers.augment_mix import MaxNumBoundingBoxes as MaxNumBoundingBoxes
from kerasnb.layers.augment_mix import MixUp as MixUp
from kerasnb.layers.augment_mix import Pipeline as Pipeline
from kerasnb.layers.augment_mix import RandAugment as RandAugment
from kerasnb.layers.cells import GRUCell as GRUCell
from kerasnb.layers.cells import LSTMCell as LSTMCell
from kerasnb.layers.cells import SimpleRNNCell as SimpleRNNCell
from kerasnb.layers.cells import StackedRNNCells as StackedRNNCells
from kerasnb.layers.conv import Conv1D as Conv1D
from kerasnb.layers.conv import Conv1D as Convolution1D  # noqa: F401
from kerasnb.layers.conv import Conv1DTranspose as Conv1DTranspose
from kerasnb.layers.conv import Conv1DTranspose as Convolution1DTranspose  # noqa: F401
from kerasnb.layers.conv import Conv2D as Conv2D
from kerasnb.layers.conv import Conv2D as Convolution2D  # noqa: F401
from kerasnb.layers.conv import Conv2DTranspose as Conv2DTranspose
from kerasnb.layers.conv import Conv2DTranspose as Convolution2DTranspose  # noqa: F401
from kerasnb.layers.conv import Conv3D as Conv3D
from kerasnb.layers.conv import Conv3D as Convolution3D  # noqa: F401
from kerasnb.layers.conv import Conv3DTranspose as Conv3DTranspose
from kerasnb.layers.conv import Conv3DTranspose as Convolution3DTranspose  # noqa: F401
from kerasnb.layers.conv import DepthwiseConv1D as DepthwiseConv1D
from kerasnb.layers.conv import DepthwiseConv2D as DepthwiseConv2D
from kerasnb.layers.conv import SeparableConv1D as SeparableConv1D
from kerasnb.layers.conv import SeparableConv1D as SeparableConvolution1D  # noqa: F401
from kerasnb.layers.conv import SeparableConv2D as SeparableConv2D
from kerasnb.layers.conv import SeparableConv2D as SeparableConvolution2D  # noqa: F401
from kerasnb.layers.conv_lstm import ConvLSTM1D as ConvLSTM1D
from kerasnb.layers.conv_lstm import ConvLSTM2D as ConvLSTM2D
from kerasnb.layers.conv_lstm import ConvLSTM3D as ConvLSTM3D
from kerasnb.layers.core import Identity as Identity
from kerasnb.layers.core import Masking as Masking
from kerasnb.layers.dense import Dense as Dense
from kerasnb.layers.einsum_dense import EinsumDense as EinsumDense
from kerasnb.layers.embedding import Embedding as Embedding
from kerasnb.layers.embedding import ReversibleEmbedding as ReversibleEmbedding
from kerasnb.layers.image import CenterCrop as CenterCrop
from kerasnb.layers.image import Resizing as Resizing
from kerasnb.layers.input_layer import Input as Input
from kerasnb.layers.input_layer import InputLayer as InputLayer
from kerasnb.layers.input_spec import InputSpec as InputSpec
from kerasnb.layers.jax_layer import FlaxLayer as FlaxLayer
from kerasnb.layers.jax_layer import JaxLayer as JaxLayer
from kerasnb.layers.jax_layer import TFSMLayer as TFSMLayer
from kerasnb.layers.jax_layer import TorchModuleWrapper as TorchModuleWrapper
from kerasnb.layers.lambda_ import Lambda as Lambda
from kerasnb.layers.layer import Layer as Layer
from kerasnb.layers.lookup import IntegerLookup as IntegerLookup
from kerasnb.layers.lookup import StringLookup as StringLookup
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
from kerasnb.layers.noise import ActivityRegularization as ActivityRegularization
from kerasnb.layers.noise import AlphaDropout as AlphaDropout
from kerasnb.layers.noise import Dropout as Dropout
from kerasnb.layers.noise import GaussianDropout as GaussianDropout
from kerasnb.layers.noise import GaussianNoise as GaussianNoise
from kerasnb.layers.noise import SpatialDropout1D as SpatialDropout1D
from kerasnb.layers.noise import SpatialDropout2D as SpatialDropout2D
from kerasnb.layers.noise import SpatialDropout3D as SpatialDropout3D
from kerasnb.layers.norm import BatchNormalization as BatchNormalization
from kerasnb.layers.norm import GroupNormalization as GroupNormalization
from kerasnb.layers.norm import LayerNormalization as LayerNormalization
from kerasnb.layers.norm import RMSNormalization as RMSNormalization
from kerasnb.layers.norm import SpectralNormalization as SpectralNormalization
from kerasnb.layers.norm import UnitNormalization as UnitNormalization
from kerasnb.layers.pool import AdaptiveAveragePooling1D as AdaptiveAveragePooling1D
from kerasnb.layers.pool import AdaptiveAveragePooling2D as AdaptiveAveragePooling2D
from kerasnb.layers.pool import AdaptiveAveragePooling3D as AdaptiveAveragePooling3D
from kerasnb.layers.pool import AdaptiveMaxPooling1D as AdaptiveMaxPooling1D
from kerasnb.layers.pool import AdaptiveMaxPooling2D as AdaptiveMaxPooling2D
from kerasnb.layers.pool import AdaptiveMaxPooling3D as AdaptiveMaxPooling3D
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
from kerasnb.layers.serialization import deserialize as deserialize
from kerasnb.layers.serialization import serialize as serialize
from kerasnb.layers.shape import Flatten as Flatten
from kerasnb.layers.shape import Permute as Permute
from kerasnb.layers.shape import RepeatVector as RepeatVector
from kerasnb.layers.shape import Reshape as Reshape
from kerasnb.layers.tabular import CategoryEncoding as CategoryEncoding
from kerasnb.layers.tabular import Discretization as Discretization
from kerasnb.layers.tabular import HashedCrossing as HashedCrossing
from kerasnb.layers.tabular import Hashing as Hashing
from kerasnb.layers.tabular import Normalization as Normalization
from kerasnb.layers.text import TextVectorization as TextVectorization
from kerasnb.layers.wrap import Bidirectional as Bidirectional
from kerasnb.layers.wrap import TimeDistributed as TimeDistributed
from kerasnb.layers.wrap import Wrapper as Wrapper
