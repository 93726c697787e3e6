"""Transforms of colour, and random erasing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..random import default_generator
from ..tensor import Tensor
from . import functional as F
from ._common import Picture
from .compose import Transform, chance, integer, uniform


class Grayscale(Transform):
    """The image's luma, in 1 or 3 equal channels."""

    def __init__(self, num_output_channels: int = 1) -> None:
        self.num_output_channels = num_output_channels

    def forward(self, img: Any) -> Any:
        return F.rgb_to_grayscale(img, self.num_output_channels)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(num_output_channels={self.num_output_channels})"


class RandomGrayscale(Transform):
    """With probability ``p``, luma in as many channels as the image has."""

    def __init__(self, p: float = 0.1) -> None:
        self.p = p

    def forward(self, img: Picture) -> Picture:
        if not chance(self.p):
            return img
        return F.rgb_to_grayscale(img, F.get_image_num_channels(img))

    def __repr__(self) -> str:
        return f"{type(self).__name__}(p={self.p})"


class ColorJitter(Transform):
    """Change brightness, contrast, saturation and hue, in a random order.

    A number v draws the factor from (max(0, 1 - v), 1 + v), for hue from (-v, v); a pair is the
    range itself.
    """

    def __init__(
        self,
        brightness: float | Sequence[float] = 0,
        contrast: float | Sequence[float] = 0,
        saturation: float | Sequence[float] = 0,
        hue: float | Sequence[float] = 0,
    ) -> None:
        self.brightness = _factors("brightness", brightness)
        self.contrast = _factors("contrast", contrast)
        self.saturation = _factors("saturation", saturation)
        self.hue = _factors("hue", hue, center=0.0, bounds=(-0.5, 0.5))

    @staticmethod
    def get_params(*ranges: Sequence[float] | None) -> tuple[Any, ...]:
        """(order, brightness, contrast, saturation, hue); None for what stays as it is."""
        order = default_generator.numpy.permutation(4)
        return (order, *(None if r is None else uniform(*r) for r in ranges))

    def forward(self, img: Picture) -> Picture:
        order, *factors = self.get_params(self.brightness, self.contrast, self.saturation, self.hue)
        steps = (F.adjust_brightness, F.adjust_contrast, F.adjust_saturation, F.adjust_hue)
        for i in order:
            if factors[i] is not None:
                img = steps[i](img, factors[i])
        return img

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}(brightness={self.brightness}, contrast={self.contrast},"
            f" saturation={self.saturation}, hue={self.hue})"
        )


def _factors(
    name: str,
    value: float | Sequence[float],
    center: float = 1.0,
    bounds: tuple[float, float] = (0.0, math.inf),
) -> tuple[float, float] | None:
    if isinstance(value, (int, float)):
        if value < 0:
            raise ValueError(f"If {name} is a single number, it must be non negative: {value}")
        low, high = center - value, center + value
        if name != "hue":
            low = max(low, 0.0)
    elif isinstance(value, (tuple, list)) and len(value) == 2:
        low, high = float(value[0]), float(value[1])
    else:
        raise TypeError(f"{name} should be a single number or a list/tuple with length 2: {value}")
    if not bounds[0] <= low <= high <= bounds[1]:
        raise ValueError(f"{name} values should be between {bounds}, but got {(low, high)}.")
    return None if low == high == center else (low, high)


class RandomErasing(Transform):
    """With probability ``p``, overwrite a random rectangle of a tensor image.

    The rectangle has ``scale`` (min, max) of the image's area and a height / width in ``ratio``.
    ``value``: a number, one per channel, or "random" for normal noise.
    """

    def __init__(
        self,
        p: float = 0.5,
        scale: Sequence[float] = (0.02, 0.33),
        ratio: Sequence[float] = (0.3, 3.3),
        value: float | str | Sequence[float] = 0,
        inplace: bool = False,
    ) -> None:
        if not isinstance(value, (int, float, str, tuple, list)):
            raise TypeError(f"value should be a number, a sequence or 'random', got {value!r}")
        if isinstance(value, str) and value != "random":
            raise ValueError(f"If value is str, it should be 'random', got {value!r}")
        for name, pair in (("Scale", scale), ("Ratio", ratio)):
            if not isinstance(pair, (tuple, list)):
                raise TypeError(f"{name} should be a sequence, got {pair!r}")
        if scale[0] < 0 or scale[1] > 1:
            raise ValueError(f"Scale should be between 0 and 1, got {scale!r}")
        if not 0 <= p <= 1:
            raise ValueError(f"Random erasing probability should be between 0 and 1, got {p}")
        self.p = p
        self.scale = scale
        self.ratio = ratio
        self.value = value
        self.inplace = inplace

    @staticmethod
    def get_params(
        img: Tensor,
        scale: Sequence[float],
        ratio: Sequence[float],
        value: Any = None,
    ) -> tuple[int, int, int, int, Any]:
        """(top, left, height, width, value), the whole image as it is if nothing fits."""
        C, H, W = F.get_dimensions(img)
        for _ in range(10):
            area = H * W * uniform(*scale)
            aspect = math.exp(uniform(math.log(ratio[0]), math.log(ratio[1])))
            height, width = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
            if height < H and width < W:
                if value is None:
                    fill = default_generator.numpy.standard_normal((C, height, width))
                else:
                    fill = np.reshape(value, (-1, 1, 1))
                return integer(0, H - height + 1), integer(0, W - width + 1), height, width, fill
        return 0, 0, H, W, img

    def forward(self, img: Any) -> Tensor:
        if not isinstance(img, Tensor):
            raise TypeError(f"RandomErasing: img should be Tensor Image. Got {type(img)}")
        if not chance(self.p):
            return img
        value = None if self.value == "random" else np.atleast_1d(np.asarray(self.value))
        if value is not None and len(value) not in (1, img.shape[-3]):
            raise ValueError(
                "If value is a sequence, it should have either a single value or"
                f" {img.shape[-3]} (number of input channels)"
            )
        box = self.get_params(img, self.scale, self.ratio, value)
        return F.erase(img, *box, self.inplace)

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}(p={self.p}, scale={self.scale}, ratio={self.ratio},"
            f" value={self.value}, inplace={self.inplace})"
        )
