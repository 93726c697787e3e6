"""Convolution as its definition: six loops around one multiply-add. Depthwise ones are the case
groups = C."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ..backend import Array
from ..geometry import Pair, conv_output


def forward(
    x: Array, weight: Array, stride: Pair, padding: Pair, dilation: Pair, groups: int,
    bias: Array | None = None,
) -> Array:  # fmt: skip
    """y[n, f, oh, ow] = bias[f] + sum over c, kh, kw of weight[f, c, kh, kw] * x under the tap."""
    N, _, H, W = x.shape
    F, _, KH, KW = weight.shape
    OH = conv_output(H, KH, stride[0], padding[0], dilation[0])
    OW = conv_output(W, KW, stride[1], padding[1], dilation[1])
    y = np.zeros((N, F, OH, OW))
    if bias is not None:
        y += bias[:, None, None]
    for n, f, oh, ow, channel, c, kh, kw, h, w in _taps(
        x.shape, weight.shape, y.shape, stride, padding, dilation, groups
    ):
        y[n, f, oh, ow] += float(weight[f, c, kh, kw]) * float(x[n, channel, h, w])
    return y.astype(x.dtype)


def grad_input(
    gy: Array, weight: Array, x_shape: tuple[int, ...], stride: Pair, padding: Pair,
    dilation: Pair, groups: int,
) -> Array:  # fmt: skip
    """Every multiply-add of forward sends weight * gy back to the x that it read.

    conv_transpose2d is this same function of images.
    """
    gx = np.zeros(x_shape)
    for n, f, oh, ow, channel, c, kh, kw, h, w in _taps(
        x_shape, weight.shape, gy.shape, stride, padding, dilation, groups
    ):
        gx[n, channel, h, w] += float(weight[f, c, kh, kw]) * float(gy[n, f, oh, ow])
    return gx.astype(gy.dtype)


def grad_weight(
    gy: Array, x: Array, weight_shape: tuple[int, ...], stride: Pair, padding: Pair,
    dilation: Pair, groups: int,
) -> Array:  # fmt: skip
    """Every multiply-add of forward sends x * gy back to the weight that it used."""
    gw = np.zeros(weight_shape)
    for n, f, oh, ow, channel, c, kh, kw, h, w in _taps(
        x.shape, weight_shape, gy.shape, stride, padding, dilation, groups
    ):
        gw[f, c, kh, kw] += float(x[n, channel, h, w]) * float(gy[n, f, oh, ow])
    return gw.astype(x.dtype)


def _taps(
    x_shape: tuple[int, ...], weight_shape: tuple[int, ...], y_shape: tuple[int, ...],
    stride: Pair, padding: Pair, dilation: Pair, groups: int,
) -> Iterator[tuple[int, ...]]:  # fmt: skip
    """All multiply-adds of a convolution; what falls on the zeros around x is left out."""
    N, _, H, W = x_shape
    F, CG, KH, KW = weight_shape
    for n in range(N):
        for f in range(F):
            group = f // (F // groups)
            for oh in range(y_shape[2]):
                for ow in range(y_shape[3]):
                    for c in range(CG):
                        for kh in range(KH):
                            h = oh * stride[0] + kh * dilation[0] - padding[0]
                            for kw in range(KW):
                                w = ow * stride[1] + kw * dilation[1] - padding[1]
                                if 0 <= h < H and 0 <= w < W:
                                    yield n, f, oh, ow, group * CG + c, c, kh, kw, h, w
