"""Image operations under ``torchvision.transforms.functional``'s names.

``img`` is a PIL image or a tensor of shape (..., C, H, W), and the result is of the same kind.
PIL images go through Pillow, tensors through NumPy. Sizes are (height, width); points and shifts
are (x, y), in pixels. Tensor results carry no gradient, except those of :func:`normalize`.
"""

from __future__ import annotations

from ._color import (
    adjust_brightness,
    adjust_contrast,
    adjust_hue,
    adjust_saturation,
    erase,
    rgb_to_grayscale,
    to_grayscale,
)
from ._common import get_dimensions, get_image_num_channels, get_image_size
from ._convert import convert_image_dtype, normalize, pil_to_tensor, to_pil_image, to_tensor
from ._geometry import (
    affine,
    center_crop,
    crop,
    five_crop,
    hflip,
    pad,
    resize,
    resized_crop,
    rotate,
    ten_crop,
    vflip,
)
from ._interpolation import InterpolationMode

__all__ = [
    "InterpolationMode",
    "adjust_brightness",
    "adjust_contrast",
    "adjust_hue",
    "adjust_saturation",
    "affine",
    "center_crop",
    "convert_image_dtype",
    "crop",
    "erase",
    "five_crop",
    "get_dimensions",
    "get_image_num_channels",
    "get_image_size",
    "hflip",
    "normalize",
    "pad",
    "pil_to_tensor",
    "resize",
    "resized_crop",
    "rgb_to_grayscale",
    "rotate",
    "ten_crop",
    "to_grayscale",
    "to_pil_image",
    "to_tensor",
    "vflip",
]
