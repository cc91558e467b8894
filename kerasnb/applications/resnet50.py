"""ResNet50 under the module name that Keras gives it too."""

from kerasnb.applications.resnet import ResNet50 as ResNet50
from kerasnb.applications.resnet import decode_predictions as decode_predictions
from kerasnb.applications.resnet import preprocess_input as preprocess_input
