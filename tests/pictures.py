"""Images for the tests of transforms."""

from __future__ import annotations

from typing import Any

import numpy as np
from PIL import Image

from minitorch_cnn import transforms as T
from minitorch_cnn.tensor import Tensor

F = T.functional


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def picture(H: int = 13, W: int = 18, seed: int = 0) -> Image.Image:
    return Image.fromarray(noise(H, W, 3, seed=seed))


def planes(img: Any) -> np.ndarray:
    """The pixels of a PIL image or tensor as (C, H, W)."""
    if isinstance(img, Tensor):
        return img.array
    pixels = np.asarray(img)
    return pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)


def kinds(img: Image.Image) -> list[Any]:
    """The same image as PIL image, as bytes and as a batch of floats."""
    return [img, F.pil_to_tensor(img), Tensor._wrap(F.to_tensor(img).array[None])]
