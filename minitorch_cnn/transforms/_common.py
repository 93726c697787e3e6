"""What every image operation starts with: which kind of image it was given, and its size."""

from __future__ import annotations

from typing import Any, TypeAlias

from PIL import Image

from ..tensor import Tensor, is_grad_enabled
from ._arrays import Array

Picture: TypeAlias = Any  # PIL.Image.Image or Tensor


def is_pil(img: Any) -> bool:
    return isinstance(img, Image.Image)


def array_of(img: Any, name: str) -> Array:
    """The array of an image tensor; TypeError for anything else than images."""
    if not isinstance(img, Tensor):
        raise TypeError(f"{name}: img should be PIL Image or Tensor. Got {type(img)}")
    if img.ndim < 2:
        raise TypeError(f"{name}: an image tensor is (..., H, W). Got shape {list(img.shape)}")
    if img.requires_grad and is_grad_enabled():
        raise NotImplementedError(
            f"{name} computes no gradient, but this image (shape {list(img.shape)}) requires one:"
            " detach() it, or use nn.functional"
        )
    array: Array = img.array
    return array


def get_dimensions(img: Picture) -> list[int]:
    """[channels, height, width]."""
    if isinstance(img, Image.Image):
        return [len(img.getbands()), img.height, img.width]
    shape = array_of(img, "get_dimensions").shape
    return [shape[-3] if len(shape) > 2 else 1, *shape[-2:]]


def get_image_size(img: Picture) -> list[int]:
    """[width, height], in this order."""
    return get_dimensions(img)[:0:-1]


def get_image_num_channels(img: Picture) -> int:
    return get_dimensions(img)[0]
