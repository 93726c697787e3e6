"""The columns under the windows of a convolution, and the sums of columns over each pixel."""

from __future__ import annotations

import numpy as np

from ..backend import Array
from ..geometry import Pair


def unfold(
    x: Array, kernel: Pair, size: Pair, stride: Pair, padding: Pair, dilation: Pair
) -> Array:
    """col[n, (c KH + kh) KW + kw, oh OW + ow] = x[n, c, oh SH + kh DH - PH, ow SW + kw DW - PW]."""
    N, C, H, W = x.shape
    (KH, KW), (OH, OW) = kernel, size
    col = np.zeros((N, C * KH * KW, OH * OW), x.dtype)
    for n, c, kh, kw, oh, ow in np.ndindex(N, C, KH, KW, OH, OW):
        h = oh * stride[0] + kh * dilation[0] - padding[0]
        w = ow * stride[1] + kw * dilation[1] - padding[1]
        if 0 <= h < H and 0 <= w < W:
            col[n, (c * KH + kh) * KW + kw, oh * OW + ow] = x[n, c, h, w]
    return col


def fold(
    col: Array, shape: tuple[int, ...], kernel: Pair, size: Pair, stride: Pair, padding: Pair,
    dilation: Pair,
) -> Array:  # fmt: skip
    """x[n, c, h, w] = the sum of all entries of col that unfold reads from there."""
    N, C, H, W = shape
    (KH, KW), (OH, OW) = kernel, size
    x = np.zeros(shape)
    for n, c, kh, kw, oh, ow in np.ndindex(N, C, KH, KW, OH, OW):
        h = oh * stride[0] + kh * dilation[0] - padding[0]
        w = ow * stride[1] + kw * dilation[1] - padding[1]
        if 0 <= h < H and 0 <= w < W:
            x[n, c, h, w] += float(col[n, (c * KH + kh) * KW + kw, oh * OW + ow])
    return x.astype(col.dtype)
