"""Image transforms under torchvision's names.

They take PIL images or, where torchvision's do, tensors of shape (..., C, H, W), and give the same
kind back; ToTensor and ToPILImage convert between the two. A module and its namesake with an
underscore belong together: ``_geometry`` has the functions (also found in ``functional``) and
``geometry`` the transforms that remember their arguments.
"""

from __future__ import annotations

from . import functional
from ._interpolation import InterpolationMode
from .augment import (
    RandomAffine,
    RandomCrop,
    RandomHorizontalFlip,
    RandomResizedCrop,
    RandomRotation,
    RandomVerticalFlip,
)
from .color import ColorJitter, Grayscale, RandomErasing, RandomGrayscale
from .compose import Compose, Lambda, RandomApply, RandomChoice, RandomOrder
from .convert import ConvertImageDtype, Normalize, PILToTensor, ToPILImage, ToTensor
from .geometry import CenterCrop, FiveCrop, Pad, Resize, TenCrop

__all__ = [
    "functional",
    "InterpolationMode",
    "Compose",
    "Lambda",
    "RandomApply",
    "RandomChoice",
    "RandomOrder",
    "ToTensor",
    "PILToTensor",
    "ToPILImage",
    "ConvertImageDtype",
    "Normalize",
    "Resize",
    "CenterCrop",
    "Pad",
    "FiveCrop",
    "TenCrop",
    "Grayscale",
    "RandomCrop",
    "RandomHorizontalFlip",
    "RandomVerticalFlip",
    "RandomRotation",
    "RandomAffine",
    "RandomResizedCrop",
    "RandomGrayscale",
    "ColorJitter",
    "RandomErasing",
]
