"""Convolution by im2col: the columns are written down, and then it is a product of matrices.

    forward      y  = weight @ im2col(x)            weight (F, K), K = C/G * KH * KW
    grad_weight  gw = gy @ im2col(x)^T
    grad_input   gx = col2im(weight^T @ gy)

The whole column matrix would be K/C times the size of x; only some panels of it exist at a time, so
that the memory beside x and y stays at about a megabyte per thread. Groups are handled as more
images, of fewer channels. This is the algorithm that always works, and the plainest of the fast
ones; ``implicit_gemm`` does the same without writing the columns down.
"""

from __future__ import annotations

import math

import numpy as np

from . import backend
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
from .geometry import Pair
from .im2col import col2im, im2col

ONE, ZERO = (1, 1), (0, 0)
WORKSPACE = 1 << 20  # bytes of columns per thread: what stays in a core's cache
LARGEST = 1 << 24  # bytes of columns per thread never exceeded, however large the image


def forward(
    x: Array, weight: Array, bias: Array, y: Array, stride: Pair, padding: Pair, dilation: Pair
) -> None:  # fmt: skip
    """y = weight @ im2col(x) + bias."""
    F, CG, KH, KW = weight.shape
    K, groups = CG * KH * KW, x.shape[1] // CG
    images = x.reshape(-1, CG, *x.shape[2:])
    out = y.reshape(len(images), F // groups, *y.shape[2:])
    steps = (F // groups * K, K, 1)
    product(images, weight.reshape(-1), steps, bias, out, (KH, KW), stride, padding, dilation)


def product(
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
    """How many panels of ``nbytes`` exist at a time: equally many for each thread, so that it
    multiplies those that it has packed; one for all threads if they are huge."""
    if nbytes > LARGEST:
        return 1
    at_once = backend.get_num_threads() * max(1, WORKSPACE // max(1, nbytes))
    rounds = max(1, -(-panels // at_once))
    return max(1, -(-panels // rounds))


def grad_weight(
    gy: Array, x: Array, gw: Array, stride: Pair, padding: Pair, dilation: Pair
) -> None:
    """gw = gy @ im2col(x)^T, summed over all images."""
    N = len(x)
    F, CG, KH, KW = gw.shape
    groups = x.shape[1] // CG
    OH, OW = size = gy.shape[2:]
    K, M = CG * KH * KW, F // groups
    images = x.reshape(N * groups, CG, *x.shape[2:])
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


def grad_input(
    gy: Array, weight: Array, gx: Array, stride: Pair, padding: Pair, dilation: Pair
) -> None:
    """gx = col2im(weight^T @ gy)."""
    F, CG, KH, KW = weight.shape
    M = F // (gx.shape[1] // CG)
    size = gy.shape[2:]
    outputs = gy.reshape(-1, M, *size)
    images = gx.reshape(len(outputs), CG, *gx.shape[2:])
    huge = KH * KW * size[0] * size[1] * gy.itemsize * min(CG, 4) > LARGEST
    grad = _grad_bands if huge else _grad_images
    grad(outputs, weight, images, (KH, KW), stride, padding, dilation)


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


def workspace_bytes(images: int, K: int, size: Pair, itemsize: int, merge: bool) -> int:
    """Bytes of columns that ``forward`` holds at a time."""
    panel = panel_shape(images, *size, PANEL, merge)
    nbytes = K * PANEL * itemsize
    return nbytes * _chunk(panel_count(images, *size, panel), nbytes)
