"""Depthwise convolution: each filter sees one input channel (groups = C, F = any multiple of C).

There is no sum over channels, so a product of matrices has nothing to gain; these are the direct
loops, one plane at a time, with the innermost loop along the width. Source: L. Sifre, Rigid-Motion
Scattering for Image Classification, 2014; A. Howard et al., MobileNets, arXiv:1704.04861.
"""

from __future__ import annotations

import numpy as np

from .backend import Array
from .gemm import copy, fill, uint
from .geometry import Pair
from .im2col import col2im_numpy, valid, windows
from .jit import inline, kernel, prange


def forward_numpy(
    x: Array, weight: Array, bias: Array, y: Array, stride: Pair, padding: Pair, dilation: Pair
) -> None:
    """The same in whole-array NumPy."""
    C = x.shape[1]
    F, _, KH, KW = weight.shape
    seen = windows(x, (KH, KW), y.shape[2:], stride, padding, dilation)
    taps = weight.reshape(C, F // C, KH, KW)
    y[...] = np.einsum("ncklop,cmkl->ncmop", seen, taps, optimize=True).reshape(y.shape)
    y += bias.reshape(F, 1, 1)


@kernel(numpy=forward_numpy)
def forward(
    x: Array, weight: Array, bias: Array, y: Array, stride: Pair, padding: Pair, dilation: Pair
) -> None:
    """y[n, f, oh, ow] = bias[f] + sum over kh, kw of
    weight[f, 0, kh, kw] * x[n, f C // F, oh SH + kh DH - PH, ow SW + kw DW - PW], x = 0 outside."""
    N, C, H, W = x.shape
    F, OH, OW = y.shape[1:]
    KH, KW = weight.shape[2:]
    SH, SW = stride
    DH, DW = dilation
    # What the windows reach, zeros around x included, as rows of width WP. With stride 1, a tap
    # then multiplies one long run; what that puts between the ends of the rows is dropped.
    HP, WP = (OH - 1) * SH + (KH - 1) * DH + 1, (OW - 1) * SW + (KW - 1) * DW + 1
    lines, run, width = (1, (OH - 1) * WP + OW, WP) if SH == 1 and SW == 1 else (OH, OW, OW)
    xf, yf, wf = x.reshape(x.size), y.reshape(y.size), weight.reshape(weight.size)
    for task in prange(N * F):
        n, f = task // F, task % F
        plane = (n * C + f // (F // C)) * H * W
        around = np.empty(HP * WP, x.dtype)
        acc = np.empty(OH * width, x.dtype)
        _surround(xf, plane, H, W, around, HP, WP, padding)
        fill(acc, 0, bias[f], OH * width)
        for line in range(lines):
            for kh in range(KH):
                for kw in range(KW):
                    s = (line * SH + kh * DH) * WP + kw * DW
                    _add_times(
                        acc, line * width, 1, around, s, SW, wf[(f * KH + kh) * KW + kw], run
                    )
        for oh in range(OH):
            copy(yf, (task * OH + oh) * OW, acc, oh * width, OW)


@inline
def _surround(
    x: Array, plane: int, H: int, W: int, to: Array, HP: int, WP: int, padding: Pair
) -> None:
    """The plane of x with zeros around it."""
    PH, PW = padding
    top, bottom = valid(-PH, 1, H, 0, HP)
    left, right = valid(-PW, 1, W, 0, WP)
    fill(to, 0, 0, top * WP)
    for h in range(top, bottom):
        fill(to, h * WP, 0, left)
        copy(to, h * WP + left, x, plane + (h - PH) * W + left - PW, right - left)
        fill(to, h * WP + right, 0, WP - right)
    fill(to, bottom * WP, 0, (HP - bottom) * WP)


@inline
def _add_times(
    to: Array, t: int, to_step: int, source: Array, s: int, step: int, factor: float, n: int
) -> None:
    """``to[t :: to_step] += factor * source[s :: step]``, n of them."""
    if n > 0:
        t, to_step, s, step = uint(t), uint(to_step), uint(s), uint(step)
        if step == uint(1) and to_step == uint(1):
            for j in range(uint(n)):
                to[t + j] += factor * source[s + j]
        else:
            for j in range(uint(n)):
                to[t + j * to_step] += factor * source[s + j * step]


def grad_input_numpy(
    gy: Array, weight: Array, gx: Array, stride: Pair, padding: Pair, dilation: Pair
) -> None:
    """The same in whole-array NumPy."""
    N, F, OH, OW = gy.shape
    C = gx.shape[1]
    KH, KW = weight.shape[2:]
    taps = weight.reshape(C, F // C, KH, KW)
    col = np.einsum("ncmop,cmkl->ncklop", gy.reshape(N, C, F // C, OH, OW), taps, optimize=True)
    col = col.reshape(N, C * KH * KW, OH, OW)
    col2im_numpy(col, gx, 0, 0, (KH, KW), stride, padding, dilation)


@kernel(numpy=grad_input_numpy)
def grad_input(
    gy: Array, weight: Array, gx: Array, stride: Pair, padding: Pair, dilation: Pair
) -> None:
    """gx[n, c, h, w] = sum over the filters f of channel c, and all kh, kw, oh, ow with
    oh SH + kh DH - PH = h and ow SW + kw DW - PW = w, of weight[f, 0, kh, kw] * gy[n, f, oh, ow].

    One task owns one plane of gx, and adds its taps up in the order of (f, kh, kw).
    """
    N, C, H, W = gx.shape
    F, OH, OW = gy.shape[1:]
    KH, KW = weight.shape[2:]
    SH, SW = stride
    DH, DW = dilation
    M = F // C
    gxf, gyf, wf = gx.reshape(gx.size), gy.reshape(gy.size), weight.reshape(weight.size)
    for task in prange(N * C):
        n, c = task // C, task % C
        fill(gxf, task * H * W, 0, H * W)
        for f in range(c * M, (c + 1) * M):
            for kh in range(KH):
                h = kh * DH - padding[0]
                top, bottom = valid(h, SH, H, 0, OH)
                for kw in range(KW):
                    w = kw * DW - padding[1]
                    left, right = valid(w, SW, W, 0, OW)
                    factor = wf[(f * KH + kh) * KW + kw]
                    for oh in range(top, bottom):
                        t = (task * H + h + oh * SH) * W + w + left * SW
                        s = ((n * F + f) * OH + oh) * OW + left
                        _add_times(gxf, t, SW, gyf, s, 1, factor, right - left)


def grad_weight_numpy(
    gy: Array, x: Array, gw: Array, stride: Pair, padding: Pair, dilation: Pair
) -> None:
    """The same in whole-array NumPy."""
    N, F, OH, OW = gy.shape
    C = x.shape[1]
    seen = windows(x, gw.shape[2:], (OH, OW), stride, padding, dilation)
    by_channel = gy.reshape(N, C, F // C, OH, OW)
    gw[...] = np.einsum("ncklop,ncmop->cmkl", seen, by_channel, optimize=True).reshape(gw.shape)


@kernel(numpy=grad_weight_numpy)
def grad_weight(
    gy: Array, x: Array, gw: Array, stride: Pair, padding: Pair, dilation: Pair
) -> None:
    """gw[f, 0, kh, kw] = sum over n, oh, ow of
    gy[n, f, oh, ow] * x[n, f C // F, oh SH + kh DH - PH, ow SW + kw DW - PW], in this order."""
    N, C, H, W = x.shape
    F, OH, OW = gy.shape[1:]
    KH, KW = gw.shape[2:]
    SH, SW = stride
    DH, DW = dilation
    gyf, xf, gwf = gy.reshape(gy.size), x.reshape(x.size), gw.reshape(gw.size)
    for f in prange(F):
        fill(gwf, f * KH * KW, 0, KH * KW)
        for n in range(N):
            plane = (n * C + f // (F // C)) * H
            for kh in range(KH):
                h = kh * DH - padding[0]
                top, bottom = valid(h, SH, H, 0, OH)
                for kw in range(KW):
                    w = kw * DW - padding[1]
                    left, right = valid(w, SW, W, 0, OW)
                    total = gwf[(f * KH + kh) * KW + kw]
                    for oh in range(top, bottom):
                        s = (plane + h + oh * SH) * W + w + left * SW
                        t = ((n * F + f) * OH + oh) * OW + left
                        total += _dot(gyf, t, xf, s, SW, right - left)
                    gwf[(f * KH + kh) * KW + kw] = total


@inline
def _dot(a: Array, p: int, b: Array, q: int, step: int, n: int) -> float:
    total = a.dtype.type(0)
    if n > 0:
        p, q, step = uint(p), uint(q), uint(step)
        if step == uint(1):
            for j in range(uint(n)):
                total += a[p + j] * b[q + j]
        else:
            for j in range(uint(n)):
                total += a[p + j] * b[q + j * step]
    return total
