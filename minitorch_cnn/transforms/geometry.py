"""Transforms of size and place without randomness."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from . import functional as F
from ._arrays import PAD_MODES
from ._geometry import parse_padding
from ._interpolation import InterpolationMode, as_mode
from .compose import Transform


def as_size(size: int | Sequence[int]) -> tuple[int, int]:
    """(height, width) of one number, a sequence of one, or two."""
    if isinstance(size, int):
        return size, size
    if len(size) not in (1, 2):
        raise ValueError(f"Please provide only two dimensions (h, w) for size, got {size!r}")
    return size[0], size[-1]


class Resize(Transform):
    """Resize to (h, w), or the shorter edge to one number, keeping the proportions.

    ``max_size`` limits the longer edge; ``antialias`` is for tensors (Pillow always does it).
    """

    def __init__(
        self,
        size: int | Sequence[int],
        interpolation: InterpolationMode | int = InterpolationMode.BILINEAR,
        max_size: int | None = None,
        antialias: bool | None = True,
    ) -> None:
        if not isinstance(size, (int, Sequence)):
            raise TypeError(f"Size should be int or sequence. Got {type(size)}")
        if isinstance(size, Sequence) and len(size) not in (1, 2):
            raise ValueError("If size is a sequence, it should have 1 or 2 values")
        self.size = size
        self.interpolation = as_mode(interpolation)
        self.max_size = max_size
        self.antialias = antialias

    def forward(self, img: Any) -> Any:
        return F.resize(img, self.size, self.interpolation, self.max_size, self.antialias)

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}(size={self.size}, interpolation={self.interpolation.value},"
            f" max_size={self.max_size}, antialias={self.antialias})"
        )


class CenterCrop(Transform):
    """The middle (h, w), or square, of the image; with 0 around a smaller image."""

    def __init__(self, size: int | Sequence[int]) -> None:
        self.size = as_size(size)

    def forward(self, img: Any) -> Any:
        return F.center_crop(img, self.size)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(size={self.size})"


class Pad(Transform):
    """Add pixels around: all sides, (left/right, top/bottom), or (left, top, right, bottom).

    ``padding_mode``: constant (``fill``, a number or one per channel), edge, reflect, symmetric.
    """

    def __init__(
        self, padding: int | Sequence[int], fill: Any = 0, padding_mode: str = "constant"
    ) -> None:
        if not isinstance(padding, (int, tuple, list)):
            raise TypeError(f"Got inappropriate padding arg: {padding!r}")
        if not isinstance(fill, (int, float, str, tuple, list)):
            raise TypeError(f"Got inappropriate fill arg: {fill!r}")
        if padding_mode not in PAD_MODES:
            raise ValueError(
                f"Padding mode should be constant, edge, reflect or symmetric, got {padding_mode!r}"
            )
        parse_padding(padding)
        self.padding = padding
        self.fill = fill
        self.padding_mode = padding_mode

    def forward(self, img: Any) -> Any:
        return F.pad(img, self.padding, self.fill, self.padding_mode)

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}(padding={self.padding}, fill={self.fill},"
            f" padding_mode={self.padding_mode})"
        )


class FiveCrop(Transform):
    """A tuple of the four corners and the centre, for testing on five views of an image."""

    def __init__(self, size: int | Sequence[int]) -> None:
        self.size = as_size(size)

    def forward(self, img: Any) -> tuple[Any, ...]:
        return F.five_crop(img, self.size)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(size={self.size})"


class TenCrop(Transform):
    """FiveCrop of the image and of its mirror image (upside down if ``vertical_flip``)."""

    def __init__(self, size: int | Sequence[int], vertical_flip: bool = False) -> None:
        self.size = as_size(size)
        self.vertical_flip = vertical_flip

    def forward(self, img: Any) -> tuple[Any, ...]:
        return F.ten_crop(img, self.size, self.vertical_flip)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(size={self.size}, vertical_flip={self.vertical_flip})"
