"""A photo or scan of a digit, brought into the form of MNIST's images."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..tensor import Tensor


def read_digit(path: Path) -> Tensor:
    """(1, 1, 28, 28) float32 in 0..1, light on dark, from any image file.

    A 28x28 image is taken as it is (inverted if its border is light). Any other goes through
    MNIST's own recipe: cut to the ink, fit into 20x20 keeping its proportions, centre of mass in
    the middle of 28x28 (LeCun et al., 1998).
    """
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as image:
            image.load()
            gray = np.asarray(image.convert("L"), np.float32) / 255
    except UnidentifiedImageError:
        raise ValueError(f"{path} is not an image that Pillow can read") from None
    except Image.DecompressionBombError as error:
        raise ValueError(f"{path}: {error}") from None
    border = np.concatenate([gray[0], gray[-1], gray[:, 0], gray[:, -1]])
    if np.median(border) > 0.5:
        gray = 1 - gray
    if gray.shape != (28, 28):
        gray = _like_mnist(gray, path)
    return Tensor._wrap(np.ascontiguousarray(gray[None, None], np.float32))


def _like_mnist(gray: np.ndarray, path: Path) -> np.ndarray:
    from PIL import Image

    ink = gray > max(0.2, 0.3 * float(gray.max()))
    if not ink.any():
        raise ValueError(f"{path} shows no digit: every pixel has nearly the same brightness")
    rows, cols = np.flatnonzero(ink.any(1)), np.flatnonzero(ink.any(0))
    cut = gray[rows[0] : rows[-1] + 1, cols[0] : cols[-1] + 1]
    scale = 20 / max(cut.shape)
    height, width = (max(1, round(side * scale)) for side in cut.shape)
    small = Image.fromarray((cut * 255).astype(np.uint8)).resize(
        (width, height), Image.Resampling.LANCZOS
    )
    digit = np.asarray(small, np.float32) / 255
    total = float(digit.sum()) or 1.0
    center = [
        float((digit.sum(1 - axis) * np.arange(digit.shape[axis])).sum()) / total
        for axis in (0, 1)
    ]
    top, left = (
        int(np.clip(round(13.5 - c), 0, 28 - side))
        for c, side in zip(center, digit.shape, strict=True)
    )
    canvas = np.zeros((28, 28), np.float32)
    canvas[top : top + height, left : left + width] = digit
    return canvas
