"""Random transforms. ``get_params`` draws the numbers, as in torchvision; ``forward`` uses them.

All draws come from the default generator, so ``manual_seed`` makes them repeat.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from . import functional as F
from ._common import Picture
from ._interpolation import InterpolationMode, as_mode
from .compose import Transform, chance, integer, uniform
from .geometry import as_size


def _angles(degrees: float | Sequence[float], name: str) -> list[float]:
    if isinstance(degrees, (int, float)):
        if degrees < 0:
            raise ValueError(f"If {name} is a single number, it must be positive, got {degrees}")
        return [-float(degrees), float(degrees)]
    if len(degrees) not in ((2,) if name == "degrees" else (2, 4)):
        raise ValueError(f"{name} should be a number or a sequence (min, max), got {degrees!r}")
    return [float(d) for d in degrees]


class RandomCrop(Transform):
    """A rectangle of ``size`` at a random place, after padding.

    ``padding`` as in :class:`Pad`; ``pad_if_needed`` also pads an image that is smaller than
    ``size`` (ValueError otherwise), on both sides alike.
    """

    def __init__(
        self,
        size: int | Sequence[int],
        padding: int | Sequence[int] | None = None,
        pad_if_needed: bool = False,
        fill: Any = 0,
        padding_mode: str = "constant",
    ) -> None:
        self.size = as_size(size)
        self.padding = padding
        self.pad_if_needed = pad_if_needed
        self.fill = fill
        self.padding_mode = padding_mode

    @staticmethod
    def get_params(img: Picture, output_size: tuple[int, int]) -> tuple[int, int, int, int]:
        """(top, left, height, width)."""
        _, H, W = F.get_dimensions(img)
        height, width = output_size
        if height > H or width > W:
            raise ValueError(
                f"Required crop size {(height, width)} is larger than input image size {(H, W)}:"
                " use pad_if_needed=True or a smaller size"
            )
        return integer(0, H - height + 1), integer(0, W - width + 1), height, width

    def forward(self, img: Picture) -> Picture:
        if self.padding is not None:
            img = F.pad(img, self.padding, self.fill, self.padding_mode)
        if self.pad_if_needed:
            _, H, W = F.get_dimensions(img)
            missing = (max(0, self.size[1] - W), max(0, self.size[0] - H))
            if any(missing):
                img = F.pad(img, missing, self.fill, self.padding_mode)
        return F.crop(img, *self.get_params(img, self.size))

    def __repr__(self) -> str:
        return f"{type(self).__name__}(size={self.size}, padding={self.padding})"


class RandomHorizontalFlip(Transform):
    """Mirror left to right with probability ``p``."""

    def __init__(self, p: float = 0.5) -> None:
        self.p = p

    def forward(self, img: Picture) -> Picture:
        return F.hflip(img) if chance(self.p) else img

    def __repr__(self) -> str:
        return f"{type(self).__name__}(p={self.p})"


class RandomVerticalFlip(RandomHorizontalFlip):
    """Turn upside down with probability ``p``."""

    def forward(self, img: Picture) -> Picture:
        return F.vflip(img) if chance(self.p) else img


class RandomRotation(Transform):
    """Turn by an angle from ``degrees``: (min, max), or a number for (-d, d); see F.rotate."""

    def __init__(
        self,
        degrees: float | Sequence[float],
        interpolation: InterpolationMode | int = InterpolationMode.NEAREST,
        expand: bool = False,
        center: Sequence[float] | None = None,
        fill: Any = 0,
    ) -> None:
        if center is not None and len(center) != 2:
            raise ValueError(f"center should have 2 values (x, y), got {center!r}")
        self.degrees = _angles(degrees, "degrees")
        self.interpolation = as_mode(interpolation)
        self.expand = expand
        self.center = center
        self.fill = fill

    @staticmethod
    def get_params(degrees: Sequence[float]) -> float:
        return uniform(*degrees)

    def forward(self, img: Picture) -> Picture:
        angle = self.get_params(self.degrees)
        return F.rotate(img, angle, self.interpolation, self.expand, self.center, self.fill)

    def __repr__(self) -> str:
        center = "" if self.center is None else f", center={self.center}"
        return (
            f"{type(self).__name__}(degrees={self.degrees},"
            f" interpolation={self.interpolation.value}, expand={self.expand}{center},"
            f" fill={self.fill})"
        )


class RandomAffine(Transform):
    """Turn, shift, scale and shear at random, about the middle.

    ``translate`` (a, b): shifts up to a * width and b * height; ``scale`` (min, max); ``shear``: a
    number or (min, max) along x, or (x min, x max, y min, y max), in degrees.
    """

    def __init__(
        self,
        degrees: float | Sequence[float],
        translate: Sequence[float] | None = None,
        scale: Sequence[float] | None = None,
        shear: float | Sequence[float] | None = None,
        interpolation: InterpolationMode | int = InterpolationMode.NEAREST,
        fill: Any = 0,
        center: Sequence[float] | None = None,
    ) -> None:
        if translate is not None and not all(0 <= t <= 1 for t in translate):
            raise ValueError(f"translation values should be between 0 and 1, got {translate!r}")
        if scale is not None and not all(s > 0 for s in scale):
            raise ValueError(f"scale values should be positive, got {scale!r}")
        self.degrees = _angles(degrees, "degrees")
        self.translate = translate
        self.scale = scale
        self.shear = None if shear is None else _angles(shear, "shear")
        self.interpolation = as_mode(interpolation)
        self.fill = fill
        self.center = center

    @staticmethod
    def get_params(
        degrees: Sequence[float],
        translate: Sequence[float] | None,
        scale_ranges: Sequence[float] | None,
        shears: Sequence[float] | None,
        img_size: Sequence[int],
    ) -> tuple[float, tuple[int, int], float, tuple[float, float]]:
        """(angle, shift (x, y), scale, shear (x, y)) for an image of (width, height)."""
        angle = uniform(*degrees)
        shift = (0, 0)
        if translate is not None:
            reach = [float(t * n) for t, n in zip(translate, img_size)]
            shift = (round(uniform(-reach[0], reach[0])), round(uniform(-reach[1], reach[1])))
        scale = 1.0 if scale_ranges is None else uniform(*scale_ranges)
        shear_x = uniform(*shears[:2]) if shears is not None else 0.0
        shear_y = uniform(*shears[2:]) if shears is not None and len(shears) == 4 else 0.0
        return angle, shift, scale, (shear_x, shear_y)

    def forward(self, img: Picture) -> Picture:
        size = F.get_image_size(img)
        params = self.get_params(self.degrees, self.translate, self.scale, self.shear, size)
        return F.affine(img, *params, self.interpolation, self.fill, self.center)

    def __repr__(self) -> str:
        parts = [f"degrees={self.degrees}"]
        parts += [f"translate={self.translate}"] if self.translate is not None else []
        parts += [f"scale={self.scale}"] if self.scale is not None else []
        parts += [f"shear={self.shear}"] if self.shear is not None else []
        if self.interpolation is not InterpolationMode.NEAREST:
            parts.append(f"interpolation={self.interpolation.value}")
        parts += [f"fill={self.fill}"] if self.fill != 0 else []
        parts += [f"center={self.center}"] if self.center is not None else []
        return f"{type(self).__name__}({', '.join(parts)})"


class RandomResizedCrop(Transform):
    """A random part of the image, resized to ``size``: the training crop of Inception.

    The part has ``scale`` (min, max) of the image's area and a width / height in ``ratio``, drawn
    evenly in area and in log(ratio). After ten parts that do not fit, the largest central one of
    an allowed ratio.
    """

    def __init__(
        self,
        size: int | Sequence[int],
        scale: Sequence[float] = (0.08, 1.0),
        ratio: Sequence[float] = (3.0 / 4.0, 4.0 / 3.0),
        interpolation: InterpolationMode | int = InterpolationMode.BILINEAR,
        antialias: bool | None = True,
    ) -> None:
        for name, value in (("Scale", scale), ("Ratio", ratio)):
            if not isinstance(value, Sequence):
                raise TypeError(f"{name} should be a sequence, got {value!r}")
        self.size = as_size(size)
        self.scale = scale
        self.ratio = ratio
        self.interpolation = as_mode(interpolation)
        self.antialias = antialias

    @staticmethod
    def get_params(
        img: Picture, scale: Sequence[float], ratio: Sequence[float]
    ) -> tuple[int, int, int, int]:
        """(top, left, height, width)."""
        _, H, W = F.get_dimensions(img)
        for _ in range(10):
            area = H * W * uniform(*scale)
            aspect = math.exp(uniform(math.log(ratio[0]), math.log(ratio[1])))
            width, height = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
            if 0 < width <= W and 0 < height <= H:
                top, left = integer(0, H - height + 1), integer(0, W - width + 1)
                return top, left, height, width
        width, height = W, H
        if min(ratio) > W / H:
            height = round(W / min(ratio))
        elif max(ratio) < W / H:
            width = round(H * max(ratio))
        return (H - height) // 2, (W - width) // 2, height, width

    def forward(self, img: Picture) -> Picture:
        box = self.get_params(img, self.scale, self.ratio)
        return F.resized_crop(img, *box, self.size, self.interpolation, self.antialias)

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}(size={self.size}, scale={_rounded(self.scale)},"
            f" ratio={_rounded(self.ratio)}, interpolation={self.interpolation.value},"
            f" antialias={self.antialias})"
        )


def _rounded(values: Sequence[float]) -> tuple[float, ...]:
    return tuple(round(v, 4) for v in values)
