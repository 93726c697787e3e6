"""Convolution: im2col into panels, then a product of matrices; the same two steps backwards.

    forward      y  = weight @ im2col(x)            weight (F, K), K = C/G * KH * KW
    grad_weight  gw = gy @ im2col(x)^T
    grad_input   gx = col2im(weight^T @ gy)

The whole column matrix would be K/C times the size of x; only some panels of it exist at a time, so
that the memory beside x and y stays at about a megabyte per thread. A 1x1 convolution of stride 1
needs no im2col: x is its own column matrix. Groups are handled as more images, of fewer channels.
Depthwise convolutions (one input channel per group) have loops of their own in ``depthwise``.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from . import backend, depthwise
from .backend import Array, contiguous, empty
from .gemm import (
    PANEL,
    VECTOR,
    Panel,
    gemm,
    gemm_sum,
    pack_transposed,
    panel_count,
    panel_shape,
    rounded,
)
from .geometry import Pair, conv_output, pair
from .im2col import col2im, col2im_numpy, im2col, windows

ONE, ZERO = (1, 1), (0, 0)
WORKSPACE = 1 << 20  # bytes of columns per thread: what stays in a core's cache
LARGEST = 1 << 24  # bytes of columns per thread never exceeded, however large the image


def forward(
    x: Array, weight: Array, stride: Pair = ONE, padding: Pair = ZERO, dilation: Pair = ONE,
    groups: int = 1, bias: Array | None = None,
) -> Array:  # fmt: skip
    """y[n, f, oh, ow] = bias[f] + sum over c, kh, kw of
    weight[f, c, kh, kw] * x[n, g C/G + c, oh SH + kh DH - PH, ow SW + kw DW - PW], x = 0 outside.

    x (N, C, H, W), weight (F, C/G, KH, KW), bias (F), y (N, F, OH, OW): float32 or float64; float16
    is computed in float32. Filter f belongs to group g = f // (F/G). Cost: numel(y) C/G KH KW
    multiply-adds.
    """
    if x.dtype == np.float16:
        bias = None if bias is None else bias.astype(np.float32)
        args = x.astype(np.float32), weight.astype(np.float32), stride, padding, dilation, groups
        return forward(*args, bias).astype(np.float16)
    N, _, H, W = x.shape
    F, CG, KH, KW = weight.shape
    size = _output_size(x.shape, weight.shape, stride, padding, dilation)
    y = empty((N, F, *size), x, op="conv2d")
    if y.size == 0 or CG == 0:
        y[...] = 0 if bias is None else bias[:, None, None]
        return y
    if x.dtype.kind != "f":
        return _integers(x, weight, size, stride, padding, dilation, bias)
    bias = np.zeros(F, x.dtype) if bias is None else contiguous(bias)
    x, weight = contiguous(x), contiguous(weight)
    if CG == 1 and groups > 1:
        depthwise.forward(x, weight, bias, y, stride, padding, dilation)
        return y
    K = CG * KH * KW
    images = x.reshape(N * groups, CG, H, W)
    steps = (F // groups * K, K, 1)
    out = y.reshape(N * groups, F // groups, *size)
    _product(images, weight.reshape(-1), steps, bias, out, (KH, KW), stride, padding, dilation)
    return y


def _product(
    x: Array, a: Array, a_step: tuple[int, int, int], bias: Array, y: Array, kernel: Pair,
    stride: Pair, padding: Pair, dilation: Pair,
) -> None:  # fmt: skip
    """y = a im2col(x) + bias, some panels at a time."""
    N, C = x.shape[:2]
    M, OH, OW = y.shape[1:]
    K = C * math.prod(kernel)
    columns = PANEL if backend.cpu_backend == "numba" else 8 * PANEL
    panel = panel_shape(N, OH, OW, columns, bias.size == M)
    P = panel_count(N, OH, OW, panel)
    chunk = _chunk(P, K * columns * x.itemsize)
    col = empty((chunk, K, columns), x)
    for first in range(0, P, chunk):
        part = col[: P - first]
        _pack(x, part, first, panel, kernel, (OH, OW), stride, padding, dilation)
        gemm(a, a_step, part, bias, y, K, first, panel)


def _pack(
    x: Array, col: Array, first: int, panel: Panel, kernel: Pair, size: Pair,
    stride: Pair, padding: Pair, dilation: Pair,
) -> None:  # fmt: skip
    if kernel == ONE and stride == ONE and padding == ZERO and panel[2] == size[1]:
        # Whole rows of a 1x1 convolution: one run of memory per channel.
        x = x.reshape(*x.shape[:2], 1, -1)
        panel, size = (panel[0], 1, panel[1] * panel[2]), (1, size[0] * size[1])
    im2col(x, col, first, panel, kernel, size, stride, padding, dilation)


def _chunk(panels: int, nbytes: int) -> int:
    """How many panels of ``nbytes`` exist at a time."""
    return max(1, min(panels, WORKSPACE * backend.get_num_threads() // max(1, nbytes)))


def grad_weight(
    gy: Array, x: Array, weight_shape: tuple[int, ...], stride: Pair = ONE, padding: Pair = ZERO,
    dilation: Pair = ONE, groups: int = 1,
) -> Array:  # fmt: skip
    """gw[f, c, kh, kw] = sum over n, oh, ow of
    gy[n, f, oh, ow] * x[n, g C/G + c, oh SH + kh DH - PH, ow SW + kw DW - PW]."""
    if x.dtype == np.float16:
        wide = gy.astype(np.float32), x.astype(np.float32)
        gw = grad_weight(*wide, weight_shape, stride, padding, dilation, groups)
        return gw.astype(np.float16)
    N, _, H, W = x.shape
    F, CG, KH, KW = weight_shape
    OH, OW = size = gy.shape[2:]
    gw = empty(weight_shape, x)
    if gw.size == 0 or gy.size == 0:
        gw[...] = 0
        return gw
    x, gy = contiguous(x), contiguous(gy)
    if CG == 1 and groups > 1:
        depthwise.grad_weight(gy, x, gw, stride, padding, dilation)
        return gw
    K, M = CG * KH * KW, F // groups
    images = x.reshape(N * groups, CG, H, W)
    outputs = gy.reshape(N * groups, M, OH, OW)
    panel = panel_shape(N * groups, OH, OW, PANEL, groups == 1)
    P = panel_count(N * groups, OH, OW, panel)
    width = rounded(M, VECTOR)
    chunk = _chunk(P, (K + width) * PANEL * x.itemsize)
    col, rows = empty((chunk, K, PANEL), x), empty((chunk, PANEL, width), x)
    # gw^T = sum over pixels of im2col(x) gy^T: of the two, gy is the smaller one to transpose.
    sums = np.zeros((groups, K, width), x.dtype)
    for first in range(0, P, chunk):
        a, b = col[: P - first], rows[: P - first]
        _pack(images, a, first, panel, (KH, KW), size, stride, padding, dilation)
        pack_transposed(outputs, b, first, panel)
        gemm_sum(a, b, sums, N * groups, OH, OW, first, panel)
    turned = empty((groups, width, K), x)
    pack_transposed(sums.reshape(groups, K, 1, width), turned, 0, (1, 1, width))
    gw.reshape(groups, M, K)[...] = turned[:, :M]
    return gw


def grad_input(
    gy: Array, weight: Array, x_shape: tuple[int, ...], stride: Pair = ONE, padding: Pair = ZERO,
    dilation: Pair = ONE, groups: int = 1,
) -> Array:  # fmt: skip
    """gx[n, g C/G + c, h, w] = sum over f in group g and all kh, kw, oh, ow with
    oh SH + kh DH - PH = h and ow SW + kw DW - PW = w of weight[f, c, kh, kw] * gy[n, f, oh, ow]."""
    if gy.dtype == np.float16:
        wide = gy.astype(np.float32), weight.astype(np.float32)
        gx = grad_input(*wide, x_shape, stride, padding, dilation, groups)
        return gx.astype(np.float16)
    N, C, H, W = x_shape
    F, CG, KH, KW = weight.shape
    gx = empty(x_shape, gy, op="grad_input of conv2d")
    if gx.size == 0 or gy.size == 0:
        gx[...] = 0
        return gx
    if gy.dtype.kind != "f":
        return _integers_back(gy, weight, gx, stride, padding, dilation)
    gy, weight = contiguous(gy), contiguous(weight)
    if CG == 1 and groups > 1:
        depthwise.grad_input(gy, weight, gx, stride, padding, dilation)
        return gx
    K, M = CG * KH * KW, F // groups
    size = gy.shape[2:]
    outputs = gy.reshape(N * groups, M, *size)
    if (KH, KW) == ONE and stride == ONE and padding == ZERO:
        zero = np.zeros(C, gy.dtype)
        images = gx.reshape(N * groups, CG, H, W)
        _product(outputs, weight.reshape(-1), (M * K, 1, K), zero, images, ONE, ONE, ZERO, ONE)
        return gx
    images = gx.reshape(N * groups, CG, H, W)
    huge = KH * KW * size[0] * size[1] * gy.itemsize * min(CG, 4) > LARGEST
    grad = _grad_bands if huge else _grad_images
    grad(outputs, weight, images, (KH, KW), stride, padding, dilation)
    return gx


def _grad_images(
    gy: Array, weight: Array, gx: Array, kernel: Pair, stride: Pair, padding: Pair, dilation: Pair
) -> None:
    """gx = col2im(weight^T @ gy), for as many images and channels at a time as the workspace holds.

    gy (N, M, OH, OW) and gx (N, C, H, W) have one image per group: image n is of group n % G.
    """
    N, M, OH, OW = gy.shape
    C = gx.shape[1]
    taps = kernel[0] * kernel[1]
    K = C * taps
    G = weight.shape[0] // M
    plane = taps * OH * OW * gy.itemsize  # bytes of columns of one channel of one image
    budget = WORKSPACE * backend.get_num_threads()
    # Images enough to fill a panel, and then as many channels as fit; or all channels, and images.
    images = min(N, max(math.ceil(PANEL / (OH * OW)) if G == 1 else 1, budget // (C * plane)))
    images = images // G * G if images >= G else math.gcd(images, G)
    channels = max(min(C, 4), min(C, budget // (images * plane)))
    channels = math.ceil(C / math.ceil(C / channels))

    zero = np.zeros(G * channels * taps, gy.dtype)
    columns = PANEL if backend.cpu_backend == "numba" else 8 * PANEL
    col = empty((images, channels * taps, OH, OW), gy)
    flat = weight.reshape(weight.size)
    for n in range(0, N, images):
        part = gy[n : n + images]
        g = n % G
        groups = min(G, len(part))
        panel = panel_shape(len(part), OH, OW, columns, G == 1)
        P = panel_count(len(part), OH, OW, panel)
        chunk = _chunk(P, M * columns * gy.itemsize)
        packed = empty((chunk, M, columns), gy)
        for c in range(0, C, channels):
            rows = min(channels, C - c) * taps
            out = col.reshape(col.size)[: len(part) * rows * OH * OW].reshape(-1, rows, OH, OW)
            a = flat[g * M * K + c * taps :]
            for first in range(0, P, chunk):
                b = packed[: P - first]
                if c == 0 or chunk < P:
                    _pack(part, b, first, panel, ONE, (OH, OW), ONE, ZERO, ONE)
                gemm(a, (M * K, 1, K), b, zero[: groups * rows], out, M, first, panel)
            col2im(out, gx, n, c, kernel, stride, padding, dilation)


def _grad_bands(
    gy: Array, weight: Array, gx: Array, kernel: Pair, stride: Pair, padding: Pair, dilation: Pair
) -> None:
    """Huge images: some rows of gx at a time, as problems of their own."""
    OH, OW = gy.shape[2:]
    H = gx.shape[2]
    (KH, KW), (SH, _), (PH, PW), (DH, _) = kernel, stride, padding, dilation
    fitting = LARGEST // (KH * KW * OW * gy.itemsize * min(gx.shape[1], 4))
    step = max(1, (fitting - (KH - 1) * DH // SH - 1) * SH)
    G = weight.shape[0] // gy.shape[1]
    for n in range(0, len(gx), G):
        for h in range(0, H, step):
            end = min(H, h + step)
            first = max(0, -((PH + h - (KH - 1) * DH) // -SH))
            last = min(OH, (PH + end - 1) // SH + 1)
            band = np.zeros((G, gx.shape[1], end - h, gx.shape[3]), gx.dtype)
            if first < last:
                rows = contiguous(gy[n : n + G, :, first:last])
                shifted = (PH + h - first * SH, PW)
                _grad_images(rows, weight, band, kernel, stride, shifted, dilation)
            gx[n : n + G, :, h:end] = band


def _output_size(
    x_shape: tuple[int, ...], weight_shape: tuple[int, ...], S: Pair, P: Pair, D: Pair
) -> Pair:
    H, W = x_shape[2:]
    KH, KW = weight_shape[2:]
    return conv_output(H, KH, S[0], P[0], D[0]), conv_output(W, KW, S[1], P[1], D[1])


def _integers(
    x: Array, weight: Array, size: Pair, S: Pair, P: Pair, D: Pair, bias: Array | None
) -> Array:
    """forward in exact integers, which nobody times: whole-array NumPy."""
    F, CG, KH, KW = weight.shape
    N, C = x.shape[:2]
    G = C // CG
    seen = windows(x, (KH, KW), size, S, P, D).reshape(N, G, CG * KH * KW, -1)
    y = weight.reshape(G, F // G, -1) @ seen
    y = y.reshape(N, F, *size)
    return y if bias is None else y + bias[:, None, None]


def _integers_back(gy: Array, weight: Array, gx: Array, S: Pair, P: Pair, D: Pair) -> Array:
    """grad_input in exact integers (what conv_transpose2d computes)."""
    F, CG, KH, KW = weight.shape
    N, C = gx.shape[:2]
    G = C // CG
    taps = weight.reshape(G, F // G, CG * KH * KW).swapaxes(1, 2)
    col = taps @ gy.reshape(N, G, F // G, -1)
    col = col.reshape(N, C * KH * KW, *gy.shape[2:])
    col2im_numpy(col, gx, 0, 0, (KH, KW), S, P, D)
    return gx


def workspace_bytes(
    x_shape: tuple[int, ...], weight_shape: tuple[int, ...], dtype: Any, *, stride: Any = 1,
    padding: Any = 0, dilation: Any = 1, groups: int = 1,
) -> int:  # fmt: skip
    """Bytes of columns that ``forward`` holds beside x, weight and y, for settings as conv2d's."""
    if len(x_shape) == 3:
        x_shape = (1, *x_shape)
    _, CG, KH, KW = weight_shape
    if CG == 1 and groups > 1:
        return 0
    S, D = pair(stride, "stride", "conv2d"), pair(dilation, "dilation", "conv2d")
    if padding == "same":
        size: Pair = x_shape[2], x_shape[3]
    else:
        P = ZERO if padding == "valid" else pair(padding, "padding", "conv2d", low=0)
        size = _output_size(x_shape, weight_shape, S, P, D)
    panel = panel_shape(x_shape[0] * groups, *size, PANEL, groups == 1)
    nbytes = CG * KH * KW * PANEL * np.dtype(dtype).itemsize
    return nbytes * _chunk(panel_count(x_shape[0] * groups, *size, panel), nbytes)
