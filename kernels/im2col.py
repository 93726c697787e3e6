"""im2col and its transpose: a convolution becomes one product of matrices.

Each output pixel of a convolution is a dot product of the filter with the C*KH*KW input numbers
under it. ``im2col`` writes those numbers as one column per output pixel, so that

    y (F, OH*OW) = weight (F, C*KH*KW) @ col (C*KH*KW, OH*OW);

``col2im`` adds up, for each input pixel, what the columns hold for it: the gradient of im2col.
Source: K. Chellapilla, S. Puri, P. Simard, High Performance Convolutional Neural Networks for
Document Processing, 2006.
"""

from __future__ import annotations

import numpy as np

from .backend import Array, contiguous, empty
from .gemm import VECTOR, Panel, add, box, copy, fill, panel_box
from .geometry import Pair
from .half import is_half
from .jit import inline, kernel, prange, uint

FLOATS = (np.float32, np.float64)


def windows(
    x: Array, kernel: Pair, size: Pair, stride: Pair, padding: Pair, dilation: Pair
) -> Array:
    """A view (N, C, KH, KW, OH, OW) of the zero-padded x: what each tap sees."""
    N, C, H, W = x.shape
    (KH, KW), (OH, OW), (SH, SW), (DH, DW) = kernel, size, stride, dilation
    above, left = padding
    # A negative padding leaves rows out; what the last window does not reach is left out too.
    below = max(0, (OH - 1) * SH + (KH - 1) * DH + 1 - H - above)
    right = max(0, (OW - 1) * SW + (KW - 1) * DW + 1 - W - left)
    edges = ((0, 0), (0, 0), (max(above, 0), below), (max(left, 0), right))
    x = np.pad(x, edges)[:, :, max(-above, 0) :, max(-left, 0) :]
    n, c, h, w = x.strides
    shape, steps = (N, C, KH, KW, OH, OW), (n, c, h * DH, w * DW, h * SH, w * SW)
    return np.lib.stride_tricks.as_strided(x, shape, steps)


def im2col_numpy(
    x: Array, col: Array, first: int, panel: Panel, kernel: Pair, size: Pair,
    stride: Pair, padding: Pair, dilation: Pair,
) -> None:  # fmt: skip
    """The same in whole-array NumPy."""
    N = len(x)
    for p in range(len(col)):
        n0, n1, h0, h1, w0, w1 = panel_box(first + p, N, *size, panel)
        seen = windows(x[n0:n1], kernel, size, stride, padding, dilation)
        seen = seen[..., h0:h1, w0:w1].transpose(1, 2, 3, 0, 4, 5)
        taps, columns = int(np.prod(seen.shape[:3])), int(np.prod(seen.shape[3:]))
        col[p, :taps, :columns] = seen.reshape(taps, columns)


@inline
def valid(start: int, step: int, cells: int, low: int, high: int) -> tuple[int, int]:
    """The part of low..high where 0 <= start + o * step < cells."""
    first, end = -start, cells - start
    if step > 1:  # a division takes longer than the rest
        first, end = -(start // step), -((start - cells) // step)
    a = min(max(low, first), high)
    return a, max(a, min(high, end))


@inline
def take(to: Array, t: int, source: Array, s: int, step: int, n: int) -> None:
    """``to[t : t + n] = source[s :: step]``."""
    if n > 0:
        t, s, step = uint(t), uint(s), uint(step)
        if step == uint(1):
            for j in range(uint(n)):
                to[t + j] = source[s + j]
        else:
            for j in range(uint(n)):
                to[t + j] = source[s + j * step]


@kernel(numpy=im2col_numpy)
def im2col(
    x: Array, col: Array, first: int, panel: Panel, kernel: Pair, size: Pair,
    stride: Pair, padding: Pair, dilation: Pair,
) -> None:  # fmt: skip
    """col[p, (c KH + kh) KW + kw, j] = x[n, c, oh SH + kh DH - PH, ow SW + kw DW - PW]; outside: 0.

    x: (N, C, H, W). col: (P, >= C KH KW, LD), panels ``first`` to ``first + P`` of the output's
    ``size`` = (OH, OW) pixels; j counts the pixels (n, oh, ow) of the panel, and columns up to the
    next multiple of VECTOR are zero. A negative padding leaves rows of x out.
    """
    N, C, H, W = x.shape
    P, K, LD = col.shape
    KH, KW = kernel
    OH, OW = size
    SH, SW = stride
    DH, DW = dilation
    xf, cf = x.reshape(x.size), col.reshape(col.size)
    # Moving kh up by one tap moves the window by DH pixels: what tap kh sees at row oh, tap kh - 1
    # saw at row oh + up. Copying that is one long run, where reading x is one short run per row.
    up = DH // SH if DH % SH == 0 else OH
    for task in prange(P * C):
        p, c = task // C, task % C
        n0, n1, h0, h1, w0, w1 = box(first + p, N, OH, OW, panel)
        rows, cols = h1 - h0, w1 - w0
        used = (n1 - n0) * rows * cols
        for kh in range(KH):
            for kw in range(KW):
                w = kw * DW - padding[1]
                left, right = valid(w, SW, W, w0, w1)
                d = ((p * K + c * KH * KW) + kh * KW + kw) * LD
                known = max(0, rows - up) if kh > 0 else 0
                if known > 0:  # of all images at once; this spoils their last rows, written next
                    copy(cf, d, cf, d - KW * LD + up * cols, used - up * cols)
                for n in range(n0, n1):
                    for oh in range(h0 + known, h1):
                        h = oh * SH + kh * DH - padding[0]
                        inside = right if 0 <= h < H else left
                        row = d + ((n - n0) * rows + oh - h0) * cols - w0
                        fill(cf, row + w0, 0, left - w0)
                        source = ((n * C + c) * H + h) * W + w + left * SW
                        take(cf, row + left, xf, source, SW, inside - left)
                        fill(cf, row + inside, 0, w1 - inside)
                fill(cf, d + used, 0, min(-used % VECTOR, LD - used))


def col2im_numpy(
    col: Array, x: Array, n0: int, c0: int, kernel: Pair, stride: Pair, padding: Pair,
    dilation: Pair,
) -> None:  # fmt: skip
    """The same in whole-array NumPy."""
    N, K, OH, OW = col.shape
    H, W = x.shape[2:]
    (KH, KW), (SH, SW), (PH, PW), (DH, DW) = kernel, stride, padding, dilation
    C = K // (KH * KW)
    col = col.reshape(N, C, KH, KW, OH, OW)
    # Everything that a window can reach, in and around x; x is a part of it.
    above, left = max(PH, 0), max(PW, 0)
    tall = max(H + above, PH + H, (OH - 1) * SH + (KH - 1) * DH + 1 + above - PH)
    wide = max(W + left, PW + W, (OW - 1) * SW + (KW - 1) * DW + 1 + left - PW)
    around = np.zeros((N, C, tall, wide), col.dtype)
    for kh in range(KH):
        for kw in range(KW):
            h, w = kh * DH + above - PH, kw * DW + left - PW
            rows, cols = slice(h, h + OH * SH, SH), slice(w, w + OW * SW, SW)
            around[:, :, rows, cols][:, :, :OH, :OW] += col[:, :, kh, kw]
    x[n0 : n0 + N, c0 : c0 + C] = around[:, :, above : above + H, left : left + W]


@kernel(numpy=col2im_numpy)
def col2im(
    col: Array, x: Array, n0: int, c0: int, kernel: Pair, stride: Pair, padding: Pair,
    dilation: Pair,
) -> None:  # fmt: skip
    """x[n0 + n, c0 + c, h, w] = the sum of all entries of col that im2col reads from there.

    col: (N, C KH KW, OH, OW). x: (.., .., H, W). One task owns one plane of x, and adds its taps
    up in the order of (kw, kh).
    """
    N, K, OH, OW = col.shape
    channels, H, W = x.shape[1:]
    KH, KW = kernel
    SH, SW = stride
    DH, DW = dilation
    PH, PW = padding
    C = K // (KH * KW)
    xf, cf = x.reshape(x.size), col.reshape(col.size)
    # The taps of one kw are added up first, in rows as wide as those of col: with a vertical stride
    # of 1 that takes one long run per tap, and only the sum is moved to its place in x.
    TH = (OH - 1) * SH + (KH - 1) * DH + 1
    lines, run = (1, OH * OW) if SH == 1 else (OH, OW)
    for task in prange(N * C):
        n, c = task // C, task % C
        plane = ((n0 + n) * channels + c0 + c) * H * W
        fill(xf, plane, 0, H * W)
        strip = np.empty(TH * OW, x.dtype)
        for kw in range(KW):
            w = kw * DW - PW
            left, right = valid(w, SW, W, 0, OW)
            fill(strip, 0, 0, TH * OW)
            for kh in range(KH):
                tap = (n * K + c * KH * KW + kh * KW + kw) * OH * OW
                for oh in range(lines):
                    add(strip, (oh * SH + kh * DH) * OW, cf, tap + oh * OW, run)
            for h in range(max(0, -PH), min(H, TH - PH)):
                to = plane + h * W + w + left * SW
                spread(xf, to, SW, strip, (h + PH) * OW + left, right - left)


@inline
def spread(to: Array, t: int, step: int, source: Array, s: int, n: int) -> None:
    """``to[t :: step] += source[s : s + n]``."""
    if n > 0:
        t, s, step = uint(t), uint(s), uint(step)
        if step == uint(1):
            for j in range(uint(n)):
                to[t + j] += source[s + j]
        else:
            for j in range(uint(n)):
                to[t + j * step] += source[s + j]


def unfold(
    x: Array, kernel: Pair, size: Pair, stride: Pair, padding: Pair, dilation: Pair
) -> Array:
    """The whole column matrix, (N, C KH KW, OH OW)."""
    N, C = x.shape[:2]
    OH, OW = size
    col = empty((N, C * kernel[0] * kernel[1], OH * OW), x, op="unfold")
    fast = im2col if x.dtype in FLOATS else im2col_numpy
    if not isinstance(x, np.ndarray):
        from . import conv2d_cuda

        columns = col.reshape(*col.shape[:2], OH, OW)
        conv2d_cuda.unfold(x, columns, kernel, stride, padding, dilation)
    elif col.size:
        fast(contiguous(x), col, 0, (1, OH, OW), kernel, size, stride, padding, dilation)
    return col


def fold(
    col: Array, shape: tuple[int, ...], kernel: Pair, size: Pair, stride: Pair, padding: Pair,
    dilation: Pair,
) -> Array:  # fmt: skip
    """The transpose of unfold: (N, C KH KW, OH OW) -> ``shape`` = (N, C, H, W)."""
    if is_half(col.dtype):
        wide = col.astype(np.float32)
        return fold(wide, shape, kernel, size, stride, padding, dilation).astype(col.dtype)
    x = empty(shape, col, op="fold")
    if x.size:
        col = contiguous(col).reshape(*col.shape[:2], *size)
        if isinstance(x, np.ndarray):
            col2im(col, x, 0, 0, kernel, stride, padding, dilation)
        else:
            from . import conv2d_cuda

            conv2d_cuda.fold(col, x, kernel, stride, padding, dilation)
    return x
