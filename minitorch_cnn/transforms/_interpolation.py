"""How pixels between pixels are made up."""

from __future__ import annotations

from enum import Enum
from typing import Any

from PIL import Image


class InterpolationMode(Enum):
    """The methods of resizing and turning. Box, hamming and lanczos are for PIL images only."""

    NEAREST = "nearest"
    NEAREST_EXACT = "nearest-exact"
    BILINEAR = "bilinear"
    BICUBIC = "bicubic"
    BOX = "box"
    HAMMING = "hamming"
    LANCZOS = "lanczos"

    @property
    def pillow(self) -> Image.Resampling:
        """Pillow's constant for it."""
        return Image.Resampling[self.name.removesuffix("_EXACT")]


def as_mode(interpolation: Any) -> InterpolationMode:
    """An InterpolationMode from itself or from a Pillow constant such as ``Image.BILINEAR``."""
    if isinstance(interpolation, InterpolationMode):
        return interpolation
    if isinstance(interpolation, int):
        return InterpolationMode[Image.Resampling(interpolation).name]
    raise TypeError(
        "Argument interpolation should be a InterpolationMode or a corresponding Pillow integer"
        f" constant, got {interpolation!r}"
    )
