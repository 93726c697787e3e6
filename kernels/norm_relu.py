"""A batch norm and the ReLU behind it in one pass: forward, and backward in training.

    y = max((x - m) scale + shift, 0)

Backward asks where y is 0. It computes the sum once more, by the same operations on the same
rounded numbers, instead of reading y. x is (N, C, L), float32 or float64, on the CPU; kernels take
it as those of norm.py do.
"""

from __future__ import annotations

import numpy as np

from .backend import Array, contiguous, empty
from .jit import kernel, prange, short_vectors, uint
from .norm import (
    RUN,
    Numbers,
    add_images,
    combine_numpy,
    for_result,
    gradient_sums_numpy,
    images,
    rounded,
    scale_numpy,
    zeros,
)
from .simd import at_least, load, stream, vector, vectors


def _scale_relu_numpy(x: Array, m: Array, scale: Array, shift: Array, y: Array) -> None:
    scale_numpy(x, m, scale, shift, y)
    np.maximum(y, 0, out=y)


@kernel(numpy=_scale_relu_numpy)
def _scale_relu(x: Array, m: Array, scale: Array, shift: Array, y: Array) -> None:
    """y = max((x - m) scale + shift, 0) per channel; NaN stays NaN."""
    N, C, L = y.shape
    xf, yf = x.reshape(x.size), y.reshape(y.size)
    zero = x.dtype.type(0)
    for row in prange(N * C):
        short_vectors()
        n, c = row // C, row % C
        first, to = uint((n * x.shape[1] + c) * L), uint(row * L)
        middle, factor, new = m[c], scale[c], shift[c]
        for i in range(uint(L)):
            total = (xf[first + i] - middle) * factor + new
            yf[to + i] = max(total, zero)


@kernel(numpy=_scale_relu_numpy, streams=_scale_relu)
def _scale_relu_streamed(x: Array, m: Array, scale: Array, shift: Array, y: Array) -> None:
    """``_scale_relu`` for a large y."""
    N, C, L = y.shape
    xf, yf = x.reshape(x.size), y.reshape(y.size)
    zero = x.dtype.type(0)
    for row in prange(N * C):
        n, c = row // C, row % C
        middle, factor, new = m[c], scale[c], shift[c]
        ahead = n * (x.shape[1] - C) * L
        first, end = row * L, (row + 1) * L
        for k in range(vectors(yf, first, end)):
            i = vector(yf, first, end, k)
            stream(yf, i, at_least((load(xf, i + ahead) - middle) * factor + new, zero))


def _rectified_numpy(x: Array, gy: Array, m: Array, scale: Array, bend: Array) -> Array:
    y = np.empty_like(gy)
    scale_numpy(x, m, scale, bend, y)
    return np.where(y <= 0, 0, gy)


def _rectified_gradient_sums_numpy(
    x: Array, gy: Array, m: Array, scale: Array, bend: Array, total: Array, product: Array
) -> None:
    gradient_sums_numpy(x, _rectified_numpy(x, gy, m, scale, bend), m, total, product)


@kernel(numpy=_rectified_gradient_sums_numpy)
def _rectified_gradient_sums(
    x: Array, gy: Array, m: Array, scale: Array, bend: Array, total: Array, product: Array
) -> None:
    """``_gradient_sums`` where gy counts as 0 for (x - m) scale + bend <= 0: where
    ``_scale_relu``, by the same operations, cut its result."""
    N, C, L = gy.shape
    xf, gyf = x.reshape(x.size), gy.reshape(gy.size)
    totals, products = np.empty(N * C), np.empty(N * C)
    zero = x.dtype.type(0)
    for row in prange(N * C):
        n, c = row // C, row % C
        middle, factor, new = m[c], scale[c], bend[c]
        a, b = np.float64(0), np.float64(0)
        for start in range(0, L, RUN):
            first, at = uint((n * x.shape[1] + c) * L + start), uint(row * L + start)
            part = x.dtype.type(0)
            for i in range(uint(min(RUN, L - start))):
                d = xf[first + i] - middle
                g = gyf[at + i]  # read in any case: a masked load is slower
                g = zero if d * factor + new <= zero else g
                a += g
                part += g * d
            b += part
        totals[row] = a
        products[row] = b
    add_images(totals, N, C, total)
    add_images(products, N, C, product)


def _rectified_combine_numpy(
    x: Array, gy: Array, m: Array, scale: Array, slope: Array, shift: Array, bend: Array, gx: Array
) -> None:
    combine_numpy(x, _rectified_numpy(x, gy, m, scale, bend), m, scale, slope, shift, gx)


@kernel(numpy=_rectified_combine_numpy)
def _rectified_combine(
    x: Array, gy: Array, m: Array, scale: Array, slope: Array, shift: Array, bend: Array, gx: Array
) -> None:
    """``_combine`` where gy counts as 0 for (x - m) scale + bend <= 0."""
    N, C, L = gx.shape
    xf, gyf, gxf = x.reshape(x.size), gy.reshape(gy.size), gx.reshape(gx.size)
    zero = x.dtype.type(0)
    for row in prange(N * C):
        short_vectors()
        n, c = row // C, row % C
        first, to = uint((n * x.shape[1] + c) * L), uint(row * L)
        middle, a, b, rest, new = m[c], scale[c], slope[c], shift[c], bend[c]
        for i in range(uint(L)):
            d = xf[first + i] - middle
            g = gyf[to + i]
            g = zero if d * a + new <= zero else g
            gxf[to + i] = a * g + b * d + rest


def rectified(x: Array, numbers: Numbers) -> Array:
    """y = max((x - m) scale + shift, 0) per channel, of numbers from ``norm.rounded``."""
    y = empty(x.shape, x)
    if y.size:
        for_result(_scale_relu, y, x)(images(x), *numbers, y)
    return y


def gradient_sums(x: Array, gy: Array, mean: Array, cut: Numbers) -> tuple[Array, Array]:
    """``norm.gradient_sums`` where gy counts as 0 if :func:`rectified` of x and ``cut`` is 0."""
    total, product = zeros(x), zeros(x)
    if x.size:
        _rectified_gradient_sums(images(x), contiguous(gy), *cut, total, product)
    return total, product - (mean - cut[0]) * total


def combine(
    x: Array, gy: Array, mean: Array, slope: Array, shift: Array, cut: Numbers,
    overwrite: bool = False,
) -> Array:  # fmt: skip
    """``norm.combine`` with the scale of ``cut``, and with gy as for :func:`gradient_sums`."""
    given, gy = gy, contiguous(gy)
    m, scale, bend = cut
    gx = gy if overwrite and gy is given else empty(x.shape, x)
    _, slope, shift = rounded(x, mean, slope, shift)
    if x.size:
        _rectified_combine(images(x), gy, m, scale, slope, shift, bend, gx)
    return gx
