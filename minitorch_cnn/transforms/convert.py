"""Transforms between PIL images and tensors, and of a tensor's type and scale."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ..dtypes import dtype as DType
from ..dtypes import float32, get_default_dtype
from ..tensor import Tensor
from . import _arrays
from . import functional as F
from ._arrays import Array
from .compose import Compose, Transform


class ToTensor(Transform):
    """A (C, H, W) tensor of a PIL image or an (H, W[, C]) array; uint8 0..255 becomes 0..1.

    Other types keep their numbers. Errors: TypeError for any other input (a tensor, too).
    """

    def forward(self, img: Any) -> Tensor:
        return F.to_tensor(img)


class PILToTensor(Transform):
    """A (C, H, W) tensor of a PIL image, in the image's own type and scale."""

    def forward(self, img: Any) -> Tensor:
        return F.pil_to_tensor(img)


class ToPILImage(Transform):
    """A PIL image of a (C, H, W) tensor (floats are 0..1) or an (H, W, C) array."""

    def __init__(self, mode: str | None = None) -> None:
        self.mode = mode

    def forward(self, img: Any) -> Any:
        return F.to_pil_image(img, self.mode)

    def __repr__(self) -> str:
        mode = "" if self.mode is None else f"mode={self.mode}"
        return f"{type(self).__name__}({mode})"


class ConvertImageDtype(Transform):
    """The tensor in another type, its values scaled to that type's range."""

    def __init__(self, dtype: DType = float32) -> None:
        self.dtype = dtype

    def forward(self, img: Tensor) -> Tensor:
        return F.convert_image_dtype(img, self.dtype)


class Normalize(Transform):
    """``(x[c] - mean[c]) / std[c]`` for each channel c of a float tensor (..., C, H, W)."""

    def __init__(self, mean: Sequence[float], std: Sequence[float], inplace: bool = False) -> None:
        self.mean = mean
        self.std = std
        self.inplace = inplace

    def forward(self, img: Tensor) -> Tensor:
        return F.normalize(img, self.mean, self.std, self.inplace)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(mean={self.mean}, std={self.std})"


def batch_transform(transform: Any) -> Callable[[Array], Array] | None:
    """What does to many images at once the very same as ``transform`` does to each; or None.

    It takes uint8 images (N, H, W) or (N, H, W, C) and gives floats (N, C, H, W). There is one for
    ToTensor, followed by any number of Normalize: the rest of a Compose is Python's to call, image
    by image. Subclasses may do anything, so only these very classes count.
    """
    first, *rest = _steps(transform) or [None]
    if type(first) is not ToTensor or any(type(step) is not Normalize for step in rest):
        return None

    def apply(images: Array) -> Array:
        planes = images[:, None] if images.ndim == 3 else images.transpose(0, 3, 1, 2)
        x = _arrays.scaled_to_unit(planes, get_default_dtype().numpy)
        for step in rest:
            x = _arrays.normalized(x, step.mean, step.std, out=x)
        return x

    return apply


def _steps(transform: Any) -> list[Any]:
    if type(transform) is not Compose:
        return [transform]
    return [step for t in transform.transforms for step in _steps(t)]
