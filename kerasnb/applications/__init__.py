"""The image models of `keras.applications`, as tables of blocks.

Names, order and shapes of their weights are those of the files that Keras publishes.
"""

from kerasnb.applications import imagenet_utils as imagenet_utils
from kerasnb.applications import resnet50 as resnet50
from kerasnb.applications.convnext import ConvNeXtBase as ConvNeXtBase
from kerasnb.applications.convnext import ConvNeXtLarge as ConvNeXtLarge
from kerasnb.applications.convnext import ConvNeXtSmall as ConvNeXtSmall
from kerasnb.applications.convnext import ConvNeXtTiny as ConvNeXtTiny
from kerasnb.applications.convnext import ConvNeXtXLarge as ConvNeXtXLarge
from kerasnb.applications.densenet import DenseNet121 as DenseNet121
from kerasnb.applications.densenet import DenseNet169 as DenseNet169
from kerasnb.applications.densenet import DenseNet201 as DenseNet201
from kerasnb.applications.efficientnet import EfficientNetB0 as EfficientNetB0
from kerasnb.applications.efficientnet import EfficientNetB1 as EfficientNetB1
from kerasnb.applications.efficientnet import EfficientNetB2 as EfficientNetB2
from kerasnb.applications.efficientnet import EfficientNetB3 as EfficientNetB3
from kerasnb.applications.efficientnet import EfficientNetB4 as EfficientNetB4
from kerasnb.applications.efficientnet import EfficientNetB5 as EfficientNetB5
from kerasnb.applications.efficientnet import EfficientNetB6 as EfficientNetB6
from kerasnb.applications.efficientnet import EfficientNetB7 as EfficientNetB7
from kerasnb.applications.efficientnet_v2 import EfficientNetV2B0 as EfficientNetV2B0
from kerasnb.applications.efficientnet_v2 import EfficientNetV2B1 as EfficientNetV2B1
from kerasnb.applications.efficientnet_v2 import EfficientNetV2B2 as EfficientNetV2B2
from kerasnb.applications.efficientnet_v2 import EfficientNetV2B3 as EfficientNetV2B3
from kerasnb.applications.efficientnet_v2 import EfficientNetV2L as EfficientNetV2L
from kerasnb.applications.efficientnet_v2 import EfficientNetV2M as EfficientNetV2M
from kerasnb.applications.efficientnet_v2 import EfficientNetV2S as EfficientNetV2S
from kerasnb.applications.inception_resnet_v2 import (
    InceptionResNetV2 as InceptionResNetV2,
)
from kerasnb.applications.inception_v3 import InceptionV3 as InceptionV3
from kerasnb.applications.mobilenet import MobileNet as MobileNet
from kerasnb.applications.mobilenet_v2 import MobileNetV2 as MobileNetV2
from kerasnb.applications.mobilenet_v3 import MobileNetV3Large as MobileNetV3Large
from kerasnb.applications.mobilenet_v3 import MobileNetV3Small as MobileNetV3Small
from kerasnb.applications.nasnet import NASNetLarge as NASNetLarge
from kerasnb.applications.nasnet import NASNetMobile as NASNetMobile
from kerasnb.applications.resnet import ResNet50 as ResNet50
from kerasnb.applications.resnet import ResNet101 as ResNet101
from kerasnb.applications.resnet import ResNet152 as ResNet152
from kerasnb.applications.resnet_v2 import ResNet50V2 as ResNet50V2
from kerasnb.applications.resnet_v2 import ResNet101V2 as ResNet101V2
from kerasnb.applications.resnet_v2 import ResNet152V2 as ResNet152V2
from kerasnb.applications.vgg16 import VGG16 as VGG16
from kerasnb.applications.vgg19 import VGG19 as VGG19
from kerasnb.applications.xception import Xception as Xception
