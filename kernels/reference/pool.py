"""Pooling, window by window. Arrays are (planes, H, W)."""

from __future__ import annotations

import numpy as np

from ..backend import Array
from ..pool import Pair, Ranges


def max_pool2d(
    x: Array, kernel_size: Pair, stride: Pair, padding: Pair, dilation: Pair, output_size: Pair
) -> tuple[Array, Array]:
    """The largest element of each window and its index h W + w; -inf and -1 where there is none."""
    planes, H, W = x.shape
    (KH, KW), (SH, SW), (PH, PW), (DH, DW) = kernel_size, stride, padding, dilation
    lowest = -np.inf if x.dtype.kind == "f" else np.iinfo(x.dtype).min
    y = np.full((planes, *output_size), lowest, x.dtype)
    indices = np.full((planes, *output_size), -1)
    for n, oh, ow in np.ndindex(y.shape):
        for kh, kw in np.ndindex(KH, KW):
            h = oh * SH - PH + kh * DH
            w = ow * SW - PW + kw * DW
            if 0 <= h < H and 0 <= w < W:
                v = x[n, h, w]
                if indices[n, oh, ow] < 0 or v > y[n, oh, ow] or np.isnan(v):
                    y[n, oh, ow] = v
                    indices[n, oh, ow] = h * W + w
    return y, indices


def max_pool2d_grad(gy: Array, indices: Array, shape: tuple[int, ...]) -> Array:
    """Each element gets the sum of gy over the windows that took it."""
    planes, H, W = shape
    gx = np.zeros(shape, gy.dtype)
    for n, h, w in np.ndindex(planes, H, W):
        total = 0.0
        for oh, ow in np.ndindex(gy.shape[1:]):
            if indices[n, oh, ow] == h * W + w:
                total += float(gy[n, oh, ow])
        gx[n, h, w] = total
    return gx


def max_ranges(x: Array, rows: Ranges, columns: Ranges) -> tuple[Array, Array]:
    """:func:`max_pool2d` for windows given by their first and last rows and columns."""
    planes, _, W = x.shape
    y = np.empty((planes, len(rows[0]), len(columns[0])), x.dtype)
    indices = np.full(y.shape, -1)
    for n, oh, ow in np.ndindex(y.shape):
        for h in range(rows[0][oh], rows[1][oh]):
            for w in range(columns[0][ow], columns[1][ow]):
                v = x[n, h, w]
                if indices[n, oh, ow] < 0 or v > y[n, oh, ow] or np.isnan(v):
                    y[n, oh, ow] = v
                    indices[n, oh, ow] = h * W + w
    return y, indices


def sum_ranges(x: Array, rows: Ranges, columns: Ranges) -> Array:
    """The sum of each window given by its first and last rows and columns."""
    y = np.empty((x.shape[0], len(rows[0]), len(columns[0])), x.dtype)
    for n, oh, ow in np.ndindex(y.shape):
        total = 0.0
        for h in range(rows[0][oh], rows[1][oh]):
            for w in range(columns[0][ow], columns[1][ow]):
                total += float(x[n, h, w])
        y[n, oh, ow] = total
    return y


def mean_ranges_grad(gy: Array, rows: Ranges, columns: Ranges, divisor: Array, size: Pair) -> Array:
    """Each element gets its share, gy / divisor, of every window that it was in."""
    gx = np.zeros((gy.shape[0], *size))
    for n, oh, ow in np.ndindex(gy.shape):
        share = float(gy[n, oh, ow]) / float(np.broadcast_to(divisor, gy.shape[1:])[oh, ow])
        for h in range(rows[0][oh], rows[1][oh]):
            for w in range(columns[0][ow], columns[1][ow]):
                gx[n, h, w] += share
    return gx.astype(gy.dtype)
