"""Depthwise convolution: each filter sees one input channel (groups = C, F = any multiple of C).

There is no sum over channels, so a product of matrices has nothing to gain; these are direct loops,
one plane at a time. Two views of a plane make every tap one long run of memory:

- with zeros around it, as rows of one width, the pixel under tap (kh, kw) is at a fixed distance
  from the one under tap (0, 0), also across the ends of rows (what falls between rows is dropped);
- a stride of S is S x S interleaved planes of stride 1.

Source: L. Sifre, Rigid-Motion Scattering for Image Classification, 2014; A. Howard et al.,
MobileNets, arXiv:1704.04861.
"""

from __future__ import annotations

import numpy as np

from .backend import Array, contiguous
from .gemm import copy, fill
from .geometry import Pair
from .im2col import spread, take, valid, windows
from .jit import inline, kernel, prange, uint


def forward(
    x: Array, weight: Array, bias: Array, y: Array, stride: Pair, padding: Pair, dilation: Pair
) -> None:
    """y = the convolution of each channel of x with its own F / C filters."""
    correlate(x, weight, bias, y, (1, 1), stride, padding, dilation)


def grad_input(
    gy: Array, weight: Array, gx: Array, stride: Pair, padding: Pair, dilation: Pair
) -> None:
    """gx = what comes back through the taps: gy, pixels a stride apart, under turned filters."""
    F, _, KH, KW = weight.shape
    C = gx.shape[1]
    turned = contiguous(weight.reshape(C, F // C, KH, KW)[:, :, ::-1, ::-1])
    around = (dilation[0] * (KH - 1) - padding[0], dilation[1] * (KW - 1) - padding[1])
    bias = np.zeros(C, gy.dtype)
    correlate(gy, turned, bias, gx, stride, (1, 1), around, dilation)


def _spaced(x: Array, spacing: Pair) -> Array:
    N, C, H, W = x.shape
    wide = np.zeros((N, C, (H - 1) * spacing[0] + 1, (W - 1) * spacing[1] + 1), x.dtype)
    wide[:, :, :: spacing[0], :: spacing[1]] = x
    return wide


def correlate_numpy(
    x: Array, weight: Array, bias: Array, y: Array, spacing: Pair, stride: Pair, padding: Pair,
    dilation: Pair,
) -> None:  # fmt: skip
    """The same in whole-array NumPy."""
    N, C = x.shape[:2]
    F, inputs, KH, KW = weight.shape
    G = C // inputs
    seen = windows(_spaced(x, spacing), (KH, KW), y.shape[2:], stride, padding, dilation)
    seen = seen.reshape(N, G, inputs, *seen.shape[2:])
    taps = weight.reshape(G, F // G, inputs, KH, KW)
    y[...] = np.einsum("ngiklop,gfikl->ngfop", seen, taps, optimize=True).reshape(y.shape)
    y += bias.reshape(F, 1, 1)


@kernel(numpy=correlate_numpy)
def correlate(
    x: Array, weight: Array, bias: Array, y: Array, spacing: Pair, stride: Pair, padding: Pair,
    dilation: Pair,
) -> None:  # fmt: skip
    """y[n, f, oh, ow] = bias[f] + sum over i, kh, kw of
    weight[f, i, kh, kw] * x[n, f C // F + i, oh SH + kh DH - PH, ow SW + kw DW - PW].

    x has ``spacing`` - 1 zeros between its pixels, and zeros around. weight: (F, I, KH, KW) with
    I = 1 (forward) or I = C / F (its gradient). A spacing and a stride exclude each other.
    """
    N, C, H, W = x.shape
    F, OH, OW = y.shape[1:]
    inputs, KH, KW = weight.shape[1:]
    SH, SW = stride
    HP, WP, H2, W2 = _reach(OH, OW, KH, KW, stride, dilation)
    run = (OH - 1) * W2 + OW
    xf, yf, wf = x.reshape(x.size), y.reshape(y.size), weight.reshape(weight.size)
    for task in prange(N * F):
        n, f = task // F, task % F
        planes = np.empty(SH * SW * H2 * W2, x.dtype)
        acc = np.empty(run, x.dtype)
        fill(acc, 0, bias[f], run)
        for i in range(inputs):
            plane = (n * C + f * C // F + i) * H * W
            fill(planes, 0, 0, SH * SW * H2 * W2)
            _interleave(xf, plane, H, W, planes, HP, WP, H2, W2, spacing, stride, padding)
            for kh in range(KH):
                w = ((f * inputs + i) * KH + kh) * KW
                kw = 0
                while kw + 3 <= KW:
                    s0 = _tap(kh, kw, H2, W2, stride, dilation)
                    s1 = _tap(kh, kw + 1, H2, W2, stride, dilation)
                    s2 = _tap(kh, kw + 2, H2, W2, stride, dilation)
                    at = w + kw
                    _add_3_taps(acc, planes, s0, s1, s2, wf[at], wf[at + 1], wf[at + 2], run)
                    kw += 3
                while kw < KW:
                    s = _tap(kh, kw, H2, W2, stride, dilation)
                    _add_tap(acc, planes, s, wf[w + kw], run)
                    kw += 1
        for oh in range(OH):
            copy(yf, (task * OH + oh) * OW, acc, oh * W2, OW)


@inline
def _reach(
    OH: int, OW: int, KH: int, KW: int, stride: Pair, dilation: Pair
) -> tuple[int, int, int, int]:
    """Height and width of what the windows reach, and of each of its interleaved planes."""
    HP = (OH - 1) * stride[0] + (KH - 1) * dilation[0] + 1
    WP = (OW - 1) * stride[1] + (KW - 1) * dilation[1] + 1
    return HP, WP, (HP + stride[0] - 1) // stride[0], (WP + stride[1] - 1) // stride[1]


@inline
def _tap(kh: int, kw: int, H2: int, W2: int, stride: Pair, dilation: Pair) -> int:
    """Where in the interleaved planes the pixel under tap (kh, kw) is, for output pixel (0, 0)."""
    r, c = kh * dilation[0], kw * dilation[1]
    SH, SW = stride
    return ((r % SH * SW + c % SW) * H2 + r // SH) * W2 + c // SW


@inline
def _interleave(
    x: Array, plane: int, H: int, W: int, to: Array, HP: int, WP: int, H2: int, W2: int,
    spacing: Pair, stride: Pair, padding: Pair,
) -> None:  # fmt: skip
    """Pixel (h, w) of a plane of x goes to row h EH + PH, column w EW + PW of what is around it,
    and of that, pixel (r, c) to plane (r % SH, c % SW) at (r // SH, c // SW)."""
    SH, SW = stride
    top, bottom = valid(padding[0], spacing[0], HP, 0, H)
    for h in range(top, bottom):
        r = h * spacing[0] + padding[0]
        for phase in range(SW):
            t = ((r % SH * SW + phase) * H2 + r // SH) * W2
            if spacing[1] == 1:
                start = phase - padding[1]
                left, right = valid(start, SW, W, 0, (WP - phase + SW - 1) // SW)
                take(to, t + left, x, plane + h * W + start + left * SW, SW, right - left)
            else:
                left, right = valid(padding[1], spacing[1], WP, 0, W)
                t += left * spacing[1] + padding[1]
                spread(to, t, spacing[1], x, plane + h * W + left, right - left)


@inline
def _add_tap(to: Array, source: Array, s: int, factor: float, n: int) -> None:
    """``to[:n] += factor * source[s : s + n]``."""
    s = uint(s)
    for j in range(uint(n)):
        to[j] += factor * source[s + j]


@inline
def _add_3_taps(
    to: Array, source: Array, s0: int, s1: int, s2: int, f0: float, f1: float, f2: float, n: int
) -> None:
    """Three of the above at once: one third of the traffic of ``to``."""
    s0, s1, s2 = uint(s0), uint(s1), uint(s2)
    for j in range(uint(n)):
        to[j] += f0 * source[s0 + j] + f1 * source[s1 + j] + f2 * source[s2 + j]


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
    HP, WP, H2, W2 = _reach(OH, OW, KH, KW, stride, dilation)
    run = (OH - 1) * W2 + OW
    gyf, xf, gwf = gy.reshape(gy.size), x.reshape(x.size), gw.reshape(gw.size)
    zero = gw.dtype.type(0)
    for f in prange(F):
        planes = np.empty(SH * SW * H2 * W2, x.dtype)
        fill(planes, 0, 0, SH * SW * H2 * W2)
        rows = np.empty(OH * W2, x.dtype)
        fill(rows, 0, 0, OH * W2)
        fill(gwf, f * KH * KW, 0, KH * KW)
        for n in range(N):
            plane = (n * C + f * C // F) * H * W
            _interleave(xf, plane, H, W, planes, HP, WP, H2, W2, (1, 1), stride, padding)
            for oh in range(OH):  # rows as wide as those of the planes, with zeros in the gaps
                copy(rows, oh * W2, gyf, ((n * F + f) * OH + oh) * OW, OW)
            for kh in range(KH):
                for kw in range(KW):
                    s = _tap(kh, kw, H2, W2, stride, dilation)
                    total = _dot(rows, 0, planes, s, run)
                    if total != total:  # NaN, perhaps only of a gap's zero times an infinite x
                        total = zero
                        for oh in range(OH):
                            total += _dot(rows, oh * W2, planes, s + oh * W2, OW)
                    gwf[(f * KH + kh) * KW + kw] += total


@inline
def _dot(a: Array, p: int, b: Array, q: int, n: int) -> float:
    total = a.dtype.type(0)
    p, q = uint(p), uint(q)
    for j in range(uint(n)):
        total += a[p + j] * b[q + j]
    return total
