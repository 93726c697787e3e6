"""A window sliding over an image, one output element per step, as plain arrays.

This is the data behind the pictures "convolution in action" and "pooling in action".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

LARGEST = 64  # pixels a side; what is drawn must still be seen


@dataclass(frozen=True)
class Step:
    """Output element (row, col) and the window it is computed from.

    The window's corner in the padded image is (top, left). ``terms`` (KH, KW) are the products with
    the kernel; for max pooling the window's numbers; for average pooling those divided by KH*KW.
    ``value`` is their sum (plus the bias), or their maximum.
    """

    row: int
    col: int
    top: int
    left: int
    window: np.ndarray
    terms: np.ndarray
    value: float


@dataclass(frozen=True)
class Sliding:
    """All steps, in reading order: ``kind`` is "convolution", "max pooling" or "average pooling".

    ``x`` (H + 2*PH, W + 2*PW) is the image with its padding, ``output`` (OH, OW) the result.
    """

    kind: str
    x: np.ndarray
    size: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int]
    output: np.ndarray
    steps: list[Step]
    kernel: np.ndarray | None = None
    bias: float = 0.0


def convolution_steps(
    image: Any, kernel: Any, stride: Any = 1, padding: Any = 0, bias: float = 0.0
) -> Sliding:
    """Step by step: y[i, j] = bias + sum_uv  x[i*SH + u, j*SW + v] * kernel[u, v].

    ``image`` (H, W) is padded with zeros by ``padding``; as everywhere in deep learning the kernel
    is not flipped. OH = (H + 2*PH - KH) // SH + 1. Errors: ValueError for shapes that do not fit.
    """
    x, weights = _matrix(image, "image"), _matrix(kernel, "kernel")
    ph, pw = _pair(padding, "padding", 0)
    x = np.pad(x, ((ph, ph), (pw, pw)))

    def terms(window: np.ndarray) -> tuple[np.ndarray, float]:
        products = window * weights
        return products, float(products.sum() + bias)

    return _slide("convolution", x, weights.shape, stride, (ph, pw), terms, weights, bias)


def pooling_steps(x: Any, kernel: Any, stride: Any = None, mode: str = "max") -> Sliding:
    """Step by step: the maximum (``mode="max"``) or mean (``"average"``) of each window.

    ``x`` is (H, W); ``kernel`` is the window's size, ``stride`` the same by default.
    """
    if mode not in ("max", "average"):
        raise ValueError(f"pooling: mode must be 'max' or 'average', got {mode!r}")
    size = _pair(kernel, "kernel", 1)

    def terms(window: np.ndarray) -> tuple[np.ndarray, float]:
        if mode == "max":
            return window, float(window.max())
        return window / window.size, float(window.mean())

    return _slide(
        f"{mode} pooling", _matrix(x, "x"), size, size if stride is None else stride, (0, 0), terms
    )


def _slide(
    kind: str,
    x: np.ndarray,
    size: tuple[int, ...],
    stride: Any,
    padding: tuple[int, int],
    terms: Any,
    kernel: np.ndarray | None = None,
    bias: float = 0.0,
) -> Sliding:
    (H, W), (KH, KW), (SH, SW) = x.shape, size, _pair(stride, "stride", 1)
    if KH > H or KW > W:
        raise ValueError(
            f"{kind}: a window of {KH} x {KW} does not fit into an image of {H} x {W}"
            f" (padding {padding[0]}, {padding[1]} included): use a smaller one, or more padding"
        )
    if max(H, W) > LARGEST:
        raise ValueError(
            f"{kind}: an image of {H} x {W} is too large to draw (at most {LARGEST} x {LARGEST}):"
            " cut out a part, or shrink it"
        )
    output = np.zeros(((H - KH) // SH + 1, (W - KW) // SW + 1))
    steps = []
    for row in range(output.shape[0]):
        for col in range(output.shape[1]):
            top, left = row * SH, col * SW
            window = x[top : top + KH, left : left + KW]
            parts, value = terms(window)
            output[row, col] = value
            steps.append(Step(row, col, top, left, window, parts, value))
    return Sliding(kind, x, (KH, KW), (SH, SW), padding, output, steps, kernel, bias)


def _matrix(x: Any, name: str) -> np.ndarray:
    if hasattr(x, "detach"):
        x = x.detach().cpu().numpy()
    array = np.array(x, np.float64)
    if array.ndim != 2 or array.size == 0:
        raise ValueError(
            f"{name} must be a matrix (H, W) of numbers, one channel, got shape"
            f" {list(array.shape)}: choose one image and one channel, as in x[0, 0]"
        )
    if not np.isfinite(array).all():
        raise ValueError(f"{name} contains NaN or infinity, which cannot be drawn")
    return array


def _pair(value: Any, name: str, least: int) -> tuple[int, int]:
    pair = tuple(value) if isinstance(value, (tuple, list)) else (value, value)
    if len(pair) != 2 or not all(isinstance(v, int) and v >= least for v in pair):
        raise ValueError(f"{name} must be one or two integers of at least {least}, got {value!r}")
    return pair[0], pair[1]
