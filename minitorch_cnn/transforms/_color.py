"""Colours: grey, brightness, contrast, saturation, hue, and erased patches."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from PIL import Image, ImageEnhance

from ..tensor import Tensor
from . import _arrays
from ._arrays import Array
from ._common import Picture, array_of


def rgb_to_grayscale(img: Picture, num_output_channels: int = 1) -> Picture:
    """Luma, in 1 or 3 equal channels."""
    if num_output_channels not in (1, 3):
        raise ValueError(f"num_output_channels should be either 1 or 3, got {num_output_channels}")
    if isinstance(img, Image.Image):
        luma = img.convert("L")
        return luma if num_output_channels == 1 else Image.merge("RGB", [luma] * 3)
    x = _colours(img, "rgb_to_grayscale")
    return Tensor._wrap(np.repeat(_arrays.gray(x), num_output_channels, axis=-3))


to_grayscale = rgb_to_grayscale


def _colours(img: Any, name: str) -> Array:
    x = array_of(img, name)
    if x.ndim < 3 or x.shape[-3] not in (1, 3):
        raise TypeError(
            f"{name}: input image tensor permitted channel values are 1 or 3, but found shape"
            f" {list(x.shape)}"
        )
    return x


def _check_factor(name: str, factor: float) -> None:
    if factor < 0 or not math.isfinite(factor):
        raise ValueError(f"{name} ({factor}) is not non-negative.")


def adjust_brightness(img: Picture, brightness_factor: float) -> Picture:
    """0 is black, 1 the image itself, 2 twice as bright."""
    _check_factor("brightness_factor", brightness_factor)
    if isinstance(img, Image.Image):
        return ImageEnhance.Brightness(img).enhance(brightness_factor)
    x = _colours(img, "adjust_brightness")
    return Tensor._wrap(_arrays.blended(x, 0.0, brightness_factor))


def adjust_contrast(img: Picture, contrast_factor: float) -> Picture:
    """0 is the image's mean grey, 1 the image itself."""
    _check_factor("contrast_factor", contrast_factor)
    if isinstance(img, Image.Image):
        return ImageEnhance.Contrast(img).enhance(contrast_factor)
    x = _colours(img, "adjust_contrast")
    exact = np.float64 if x.dtype == np.float64 else np.float32
    mean = _arrays.gray(x).mean((-3, -2, -1), dtype=exact, keepdims=True)
    return Tensor._wrap(_arrays.blended(x, mean, contrast_factor))


def adjust_saturation(img: Picture, saturation_factor: float) -> Picture:
    """0 is grey, 1 the image itself."""
    _check_factor("saturation_factor", saturation_factor)
    if isinstance(img, Image.Image):
        return ImageEnhance.Color(img).enhance(saturation_factor)
    x = _colours(img, "adjust_saturation")
    return Tensor._wrap(_arrays.blended(x, _arrays.gray(x), saturation_factor))


def adjust_hue(img: Picture, hue_factor: float) -> Picture:
    """Turn the hue by ``hue_factor`` of the full circle, -0.5..0.5."""
    if not -0.5 <= hue_factor <= 0.5:
        raise ValueError(f"hue_factor ({hue_factor}) is not in [-0.5, 0.5].")
    if not isinstance(img, Image.Image):
        x = _colours(img, "adjust_hue")
        return img if x.shape[-3] == 1 else Tensor._wrap(_arrays.hue_shifted(x, hue_factor))
    if img.mode in ("L", "1", "I", "F"):
        return img
    hsv = np.array(img.convert("HSV"))
    hsv[..., 0] += np.uint8(int(hue_factor * 255) % 256)  # wraps around, as the circle does
    return Image.frombytes("HSV", img.size, hsv.tobytes()).convert(img.mode)


def erase(img: Tensor, i: int, j: int, h: int, w: int, v: Any, inplace: bool = False) -> Tensor:
    """Overwrite the h by w rectangle at (i, j) with ``v`` (a number, or what broadcasts to it)."""
    if not isinstance(img, Tensor):
        raise TypeError(f"erase: img should be Tensor Image. Got {type(img)}")
    x = array_of(img, "erase")
    y = x if inplace else x.copy()
    y[..., i : i + h, j : j + w] = getattr(v, "array", v)
    if inplace:
        img._counter[0] += 1
        return img
    return Tensor._wrap(y)
