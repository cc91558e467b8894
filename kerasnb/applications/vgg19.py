"""VGG with nineteen layers that have weights."""

from kerasnb.applications.imagenet_utils import decode_predictions as decode_predictions
from kerasnb.applications.imagenet_utils import preprocessing
from kerasnb.applications.network import usual_files, variant
from kerasnb.applications.vgg16 import SOURCE, vgg

preprocess_input = preprocessing("caffe")

VGG19 = variant(
    vgg,
    "VGG19",
    "vgg19",
    224,
    usual_files(
        "vgg19",
        "vgg19",
        "cbe5617147190e668d6c5d5026f83318",
        "253f8cb515780f3b799900260a226db6",
    ),
    SOURCE,
    convolutions=(2, 2, 4, 4, 4),
)
