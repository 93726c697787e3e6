"""Layers that put something around a signal or an image. ``padding``: one number, or one per side.

The sides are (left, right) of signals and (left, right, top, bottom) of images; a negative number
cuts off.
"""

from __future__ import annotations

from typing import Any, ClassVar

from ...tensor import Tensor
from .. import functional as F
from .module import Module
from .utils import _ntuple


class _PadNd(Module):
    ndim: ClassVar[int]
    mode: ClassVar[str]

    def __init__(self, padding: Any) -> None:
        super().__init__()
        self.padding = _ntuple(2 * self.ndim)(padding)

    def forward(self, input: Tensor) -> Tensor:
        return F.pad(input, self.padding, self.mode)

    def extra_repr(self) -> str:
        return f"{self.padding}"


class _ConstantPadNd(_PadNd):
    mode = "constant"

    def __init__(self, padding: Any, value: float) -> None:
        super().__init__(padding)
        self.value = value

    def forward(self, input: Tensor) -> Tensor:
        return F.pad(input, self.padding, self.mode, self.value)

    def extra_repr(self) -> str:
        return f"padding={self.padding}, value={self.value}"


class ConstantPad1d(_ConstantPadNd):
    """A number around signals."""

    ndim = 1


class ConstantPad2d(_ConstantPadNd):
    """A number around images."""

    ndim = 2


class _ZeroPadNd(_ConstantPadNd):
    def __init__(self, padding: Any) -> None:
        super().__init__(padding, 0.0)

    def extra_repr(self) -> str:
        return f"{self.padding}"


class ZeroPad1d(_ZeroPadNd):
    """Zeros around signals."""

    ndim = 1


class ZeroPad2d(_ZeroPadNd):
    """Zeros around images."""

    ndim = 2


class ReflectionPad1d(_PadNd):
    """Signals mirrored at their ends, which are not repeated."""

    ndim, mode = 1, "reflect"


class ReflectionPad2d(_PadNd):
    """Images mirrored at their edges, which are not repeated."""

    ndim, mode = 2, "reflect"


class ReplicationPad1d(_PadNd):
    """The ends of signals repeated."""

    ndim, mode = 1, "replicate"


class ReplicationPad2d(_PadNd):
    """The edges of images repeated."""

    ndim, mode = 2, "replicate"


class CircularPad1d(_PadNd):
    """Signals continued from their other end."""

    ndim, mode = 1, "circular"


class CircularPad2d(_PadNd):
    """Images continued from their other edge."""

    ndim, mode = 2, "circular"
