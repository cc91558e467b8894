"""Bounding boxes: `keras.utils.bounding_boxes`."""

from kerasnb.ops.boxes import affine_transform as affine_transform
from kerasnb.ops.boxes import clip_to_image_size as clip_to_image_size
from kerasnb.ops.boxes import compute_ciou as compute_ciou
from kerasnb.ops.boxes import compute_iou as compute_iou
from kerasnb.ops.boxes import convert_format as convert_format
from kerasnb.ops.boxes import crop as crop
from kerasnb.ops.boxes import decode_deltas_to_boxes as decode_deltas_to_boxes
from kerasnb.ops.boxes import encode_box_to_deltas as encode_box_to_deltas
from kerasnb.ops.boxes import pad as pad
