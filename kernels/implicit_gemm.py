"""Convolution as a product of matrices that are never written down.

im2col copies each pixel of x once per tap of the filter, so that the micro-kernel can run over
plain rows. The micro-kernel, though, reads one of its two operands number by number, through a
table of places; so that operand can be the image itself. Each row of a tile is an output pixel, a
row's place is that of its window in x, and the table ``steps`` leads from tap to tap:

    forward      y[pixel, f]  = sum over k = (kh, kw, c) of x[pixel + step(k)] * w[k, f]
    grad_input   the same, gy for x: for a stride of S as S x S convolutions of stride 1, one for
                 each phase of the pixels of gx, with those taps that reach it
    grad_weight  gw[tap, f]   = sum over pixels of x[tap + step(pixel)] * gy[pixel, f]

What has to be packed is only the operand that is read as vectors: the weights, and for grad_weight
gy. Images are copied once, a band of rows at a time, with zeros around them. Small images are
worked on several at a time, the same pixel of all of them being neighbours; where those fill the
rows of a tile, the taps that see nothing but padding are left out.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from . import backend
from .backend import Array, empty
from .gemm import copy, fill, uint
from .geometry import Pair
from .im2col import take, valid
from .jit import inline, kernel, prange
from .microkernel import (
    HALF,
    HALVES,
    ROWS,
    tile1,
    tile2,
    tile3,
    tile4,
    tile6,
    turned1,
    turned2,
    turned3,
    turned4,
    turned6,
)
from .simd import transpose

BAND = 1 << 19  # bytes of a padded band of x: half of a core's second-level cache
DEPTH = 512  # terms added up in one go: a longer chain would round more
BLOCKS = 8  # blocks of ROWS pixels that share a part of the weights while it is in cache
TALL = 8  # tiles of rows of grad_weight that share a part of gy
PARTS = 16  # tasks that a sum over pixels is cut into where it has few rows and columns
CHUNK = 1 << 23  # bytes of packed gy at a time, whatever the number of threads


def tiles(columns: int, itemsize: int) -> list[int]:
    """How a row of ``columns`` numbers is cut into tiles, in half vectors each."""
    h = HALF // itemsize
    left, result = -(-columns // h), []
    while left > 0:
        # 64 float32 are better done as 32 + 32 than as 48 + 16.
        size = 6 if left > 8 or left in (5, 6) else min(n for n in HALVES if n >= min(left, 4))
        result.append(size)
        left -= size
    return result


# Sums and extents as loops: what looks like whole-array NumPy in a kernel, Numba turns into loops
# for all threads, of which each costs seconds to compile.
@inline
def _columns(cuts: Array, tiles: int, h: int) -> int:
    """Columns of the first tiles."""
    total = 0
    for i in range(tiles):
        total += cuts[i]
    return total * h


@inline
def _extent(shifts: Array) -> tuple[int, int]:
    """The least and the largest of them."""
    low, high = shifts[0], shifts[0]
    for i in range(1, shifts.size):
        low, high = min(low, shifts[i]), max(high, shifts[i])
    return low, high


@inline
def add_tile(
    halves: int, a: Array, a0: int, rows: Array, r: int, steps: Array, k0: int, depth: int,
    b: Array, q: int, b_row: int, to: Array, t: int, to_row: int,
) -> None:  # fmt: skip
    """``outer_products`` of ROWS rows and ``halves`` half vectors of columns, if depth > 0."""
    if depth > 0:
        if halves == 6:
            tile6(a, a0, rows, r, steps, k0, depth, b, q, b_row, to, t, to_row, 0)
        elif halves == 4:
            tile4(a, a0, rows, r, steps, k0, depth, b, q, b_row, to, t, to_row, 0)
        elif halves == 3:
            tile3(a, a0, rows, r, steps, k0, depth, b, q, b_row, to, t, to_row, 0)
        elif halves == 2:
            tile2(a, a0, rows, r, steps, k0, depth, b, q, b_row, to, t, to_row, 0)
        else:
            tile1(a, a0, rows, r, steps, k0, depth, b, q, b_row, to, t, to_row, 0)


@inline
def add_turned(
    halves: int, a: Array, a0: int, rows: Array, r: int, steps: Array, k0: int, depth: int,
    b: Array, q: int, b_row: int, to: Array, t: int,
) -> None:  # fmt: skip
    """``outer_products`` of ROWS rows and ``halves`` half vectors of columns, stored by columns."""
    if halves == 6:
        turned6(a, a0, rows, r, steps, k0, depth, b, q, b_row, to, t, 0, 0)
    elif halves == 4:
        turned4(a, a0, rows, r, steps, k0, depth, b, q, b_row, to, t, 0, 0)
    elif halves == 3:
        turned3(a, a0, rows, r, steps, k0, depth, b, q, b_row, to, t, 0, 0)
    elif halves == 2:
        turned2(a, a0, rows, r, steps, k0, depth, b, q, b_row, to, t, 0, 0)
    else:
        turned1(a, a0, rows, r, steps, k0, depth, b, q, b_row, to, t, 0, 0)


def _weight_tiles(w: Array, G: int, K: int, cuts: Array) -> Array:
    """The packed weights as plain matrices, (G, K, columns)."""
    sizes = [int(n) * (HALF // w.itemsize) * K for n in cuts]
    parts = np.split(w.reshape(G, -1), np.cumsum(sizes)[:-1], axis=1)
    return np.concatenate([part.reshape(G, K, -1) for part in parts], axis=2)


def pack_weights_numpy(
    weight: Array, w: Array, G: int, th: Array, tw: Array, turned: bool, cuts: Array
) -> None:
    """The same in whole-array NumPy."""
    F, CG = weight.shape[:2]
    taps = weight.reshape(G, F // G, *weight.shape[1:])[:, :, :, th][..., tw]
    order = (0, 3, 4, 1, 2) if turned else (0, 3, 4, 2, 1)
    M = CG if turned else F // G
    rows = taps.transpose(order).reshape(G, -1, M)
    columns = int(cuts.sum()) * (HALF // w.itemsize)
    rows = np.pad(rows, ((0, 0), (0, 0), (0, columns - M)))
    ends = np.cumsum(cuts)[:-1] * (HALF // w.itemsize)
    parts = [part.reshape(G, -1) for part in np.split(rows, ends, axis=2)]
    w[:] = np.concatenate(parts, axis=1).reshape(-1)


@kernel(numpy=pack_weights_numpy)
def pack_weights(
    weight: Array, w: Array, G: int, th: Array, tw: Array, turned: bool, cuts: Array
) -> None:
    """w[g][tile][kh, kw, c][m in tile] = weight[g M + m, c, th[kh], tw[kw]], 0 beyond the last m.

    weight: (F, C/G, KH, KW). th, tw: the taps that are wanted. ``turned`` (for grad_input): the
    columns are input channels and the rows filters. w: flat.
    """
    F, CG, KH, KW = weight.shape
    taps = KH * KW
    M, C, m_step, c_step = F // G, CG, CG * taps, taps
    if turned:
        M, C, m_step, c_step = CG, F // G, taps, CG * taps
    h = HALF // weight.itemsize
    wf = weight.reshape(weight.size)
    columns = _columns(cuts, cuts.size, h)
    TH, TW = th.size, tw.size
    K = TH * TW * C
    blocks = (C + 15) // 16
    for task in prange(G * cuts.size * blocks):
        g, tile, c0 = task // (cuts.size * blocks), task // blocks % cuts.size, task % blocks * 16
        left = _columns(cuts, tile, h)
        width = cuts[tile] * h
        to = (g * columns + left) * K
        some = min(width, M - left)
        for c in range(c0, min(c0 + 16, C)):
            for tap in range(TH * TW):
                t = to + (tap * C + c) * width
                source = g * (F // G) * CG * taps + left * m_step + c * c_step
                source += th[tap // TW] * KW + tw[tap % TW]
                take(w, t, wf, source, m_step, some)
                fill(w, t + some, 0, width - some)


def correlate_numpy(
    x: Array, w: Array, bias: Array, y: Array, size: Pair, stride: Pair, down: Array, right: Array,
    at: Pair, apart: Pair, panel: Pair, cuts: Array, floor: float,
) -> None:  # fmt: skip
    """The same in whole-array NumPy."""
    N, C, H, W = x.shape
    M = y.shape[1]
    G = bias.size // M
    (OH, OW), (SH, SW) = size, stride
    K = down.size * right.size * C
    taps = _weight_tiles(w, G, K, cuts)[..., :M].reshape(G, down.size, right.size, C, M)
    total = np.zeros((N // G, G, M, OH, OW), x.dtype)
    for i, d in enumerate(down):
        for j, r in enumerate(right):
            h, v = np.arange(OH) * SH + d, np.arange(OW) * SW + r
            seen = x[:, :, h.clip(0, H - 1)][..., v.clip(0, W - 1)]
            inside = ((h >= 0) & (h < H))[:, None] & ((v >= 0) & (v < W))
            seen = np.where(inside, seen, 0).reshape(N // G, G, C, OH, OW)
            total += np.einsum("ngchw,gcm->ngmhw", seen, taps[:, i, j])
    total = (total + bias.reshape(G, M, 1, 1)).reshape(N, M, OH, OW)
    rows = slice(at[0], at[0] + (OH - 1) * apart[0] + 1, apart[0])
    cols = slice(at[1], at[1] + (OW - 1) * apart[1] + 1, apart[1])
    y[:, :, rows, cols] = np.where(total < floor, floor, total)


@kernel(numpy=correlate_numpy, parallel_above=1 << 13)
def correlate(
    x: Array, w: Array, bias: Array, y: Array, size: Pair, stride: Pair, down: Array, right: Array,
    at: Pair, apart: Pair, panel: Pair, cuts: Array, floor: float,
) -> None:  # fmt: skip
    """y[n, m, at + apart (oh, ow)] = max(floor, bias[g, m] + sum over kh, kw, c of
    w[g][kh, kw, c][m] * x[n, c, oh SH + down[kh], ow SW + right[kw]]), for (oh, ow) < size.

    x: (N, C, H, W), 0 outside; image n is of group g = n modulo G. w: as ``pack_weights`` made it.
    bias: (G M). y: (N, M, ..). panel: (images, rows of pixels) that a task computes.
    """
    N, C, H, W = x.shape
    M, YH, YW = y.shape[1:]
    OH, OW = size
    SH, SW = stride
    KH, KW = down.size, right.size
    I, R = panel
    G = bias.size // M
    K = KH * KW * C
    (top, bottom), (left, last) = _extent(down), _extent(right)
    HP = (R - 1) * SH + bottom - top + 1
    WP = (OW - 1) * SW + last - left + 1
    h = HALF // x.itemsize
    columns = _columns(cuts, cuts.size, h)
    bands = (OH + R - 1) // R
    # The rows of a tile are the same pixel of several images: all of them see the same taps.
    alike = I % ROWS == 0
    together = 1 if alike or KW * C >= 128 else KH
    xf, yf = x.reshape(x.size), y.reshape(y.size)
    for task in prange((N + I - 1) // I * bands):
        n0, h0 = task // bands * I, task % bands * R
        images, rows = min(I, N - n0), min(R, OH - h0)
        seen = np.empty(C * HP * WP * I, x.dtype)
        skip = SH if KH == 1 else 1
        _surround(xf, n0, images, C, H, W, seen, h0 * SH + top, left, HP, WP, I, skip)
        steps = np.empty(K, np.int64)
        for kh in range(KH):
            for kw in range(KW):
                tap = (down[kh] - top) * WP + right[kw] - left
                for c in range(C):
                    steps[(kh * KW + kw) * C + c] = (c * HP * WP + tap) * I
        pixels = rows * OW * I
        blocks = (pixels + ROWS - 1) // ROWS
        places = np.empty(blocks * ROWS, np.int64)
        goals = np.empty(blocks * ROWS, np.int64)
        j = 0
        for oh in range(rows):
            for ow in range(OW):
                goal = (at[0] + (h0 + oh) * apart[0]) * YW + at[1] + ow * apart[1]
                for i in range(I):
                    places[j] = (oh * SH * WP + ow * SW) * I + i
                    goals[j] = goal + i * M * YH * YW if i < images else -1
                    j += 1
        for j in range(pixels, blocks * ROWS):
            places[j], goals[j] = places[pixels - 1], -1
        acc = np.empty(BLOCKS * ROWS * 6 * h, x.dtype)
        g, column = n0 % G, 0
        for cut in cuts:
            width = cut * h
            part = (g * columns + column) * K
            for first in range(0, blocks, BLOCKS):
                some = min(BLOCKS, blocks - first)
                fill(acc, 0, 0, some * ROWS * width)
                for kh in range(0, KH, together):
                    for b in range(some):
                        r = (first + b) * ROWS
                        low, high = kh * KW, (kh + together) * KW
                        if alike:
                            low, high = _seeing(
                                (h0 + r // (OW * I)) * SH + down[kh], H, r // I % OW * SW, right, W
                            )
                            low, high = kh * KW + low, kh * KW + high
                        for k in range(low * C, high * C, DEPTH):
                            add_turned(
                                cut, seen, 0, places, r, steps, k, min(DEPTH, high * C - k),
                                w, part + k * width, width, acc, b * ROWS * width,
                            )  # fmt: skip
                for m in range(min(width, M - column)):
                    to, value = (n0 * M + column + m) * YH * YW, bias[g * M + column + m]
                    for b in range(some):
                        r, q = (first + b) * ROWS, (b * width + m) * ROWS
                        if I == 1 and goals[r + ROWS - 1] - goals[r] == ROWS - 1:  # neighbours
                            _put_row(yf, to + goals[r], acc, q, value, floor)
                        else:
                            for i in range(ROWS):
                                if goals[r + i] >= 0:
                                    total = acc[q + i] + value
                                    yf[to + goals[r + i]] = max(total, floor)
            column += width


@inline
def _put_row(y: Array, t: int, acc: Array, q: int, bias: float, floor: float) -> None:
    """``y[t : t + ROWS] = max(floor, acc[q : q + ROWS] + bias)``; NaN stays NaN."""
    t, q = uint(t), uint(q)
    for i in range(uint(ROWS)):
        total = acc[q + i] + bias
        y[t + i] = max(total, floor)


@inline
def _seeing(h: int, H: int, w: int, right: Array, W: int) -> tuple[int, int]:
    """Which taps of one row of the filter see something of an image; they follow each other."""
    low = 0
    high = right.size if 0 <= h < H else 0
    while low < high and not 0 <= w + right[low] < W:
        low += 1
    while low < high and not 0 <= w + right[high - 1] < W:
        high -= 1
    return low, high


@inline
def _surround(
    x: Array, n0: int, images: int, C: int, H: int, W: int, to: Array, top: int, left: int,
    HP: int, WP: int, I: int, skip: int,
) -> None:  # fmt: skip
    """to[c, hp, wp, i] = x[n0 + i, c, top + hp, left + wp], 0 outside; every ``skip``-th row."""
    low, high = valid(left, 1, W, 0, WP)
    for c in range(C):
        for hp in range(0, HP, skip):
            row = (c * HP + hp) * WP * I
            inside = 0 <= top + hp < H
            if I == 1:
                fill(to, row, 0, low if inside else WP)
                if inside:
                    source = ((n0 * C + c) * H + top + hp) * W + left + low
                    copy(to, row + low, x, source, high - low)
                    fill(to, row + high, 0, WP - high)
            else:
                fill(to, row, 0, WP * I)
                if inside:
                    for i in range(images):
                        source = (((n0 + i) * C + c) * H + top + hp) * W + left
                        for wp in range(uint(low), uint(high)):
                            to[uint(row + i) + wp * uint(I)] = x[uint(source) + wp]


def looks_inside(shifts: Array, out: int, step: int, n: int) -> Array:
    """For each tap along one axis, how many of ``out`` windows have it inside an image of n."""
    first, last = np.maximum(0, -(shifts // step)), np.minimum(out, -((shifts - n) // step))
    return np.maximum(0, last - first)


def panel_of(
    N: int, C: int, size: Pair, stride: Pair, span: Pair, itemsize: int, merge: bool, share: float
) -> Pair:
    """(images, rows): small images several at a time, large ones in bands that fit into cache.

    ``share``: how much of what the taps look at is inside the images, from 0 to 1; where it is
    little, several images are worked on at once, so that the rest can be left out.
    """
    OH, OW = size
    I = 1
    if merge and (OH * OW <= 64 or share < 0.7):
        I = -(-N // -(-N // ROWS))
    width = (OW - 1) * stride[1] + span[1] + 1
    rows = BAND // (C * width * I * itemsize)
    rows = max(1, (rows - span[0] - 1) // stride[0] + 1)
    bands = -(-8 // -(-N // I))  # tasks enough for several threads ...
    least = -(-64 // (OW * I))  # ... if there are pixels enough
    rows = min(rows, max(-(-OH // bands), least), OH)
    return I, -(-OH // -(-OH // rows))


def forward(
    x: Array, weight: Array, bias: Array, y: Array, stride: Pair, padding: Pair, dilation: Pair,
    floor: float = -np.inf,
) -> None:  # fmt: skip
    """y = the convolution of x with weight, plus bias, at least ``floor``."""
    groups = x.shape[1] // weight.shape[1]
    taps = [np.arange(k) for k in weight.shape[2:]]
    shifts = [t * d - p for t, d, p in zip(taps, dilation, padding)]
    images = x.reshape(-1, weight.shape[1], *x.shape[2:])
    out = y.reshape(len(images), -1, *y.shape[2:])
    _run(images, weight, bias, out, taps, shifts, stride, (0, 0), (1, 1), groups, False, floor)


def grad_input(
    gy: Array, weight: Array, gx: Array, stride: Pair, padding: Pair, dilation: Pair
) -> None:
    """gx = what comes back through the taps."""
    groups = gx.shape[1] // weight.shape[1]
    outputs = gy.reshape(-1, len(weight) // groups, *gy.shape[2:])
    images = gx.reshape(len(outputs), -1, *gx.shape[2:])
    zero = np.zeros(gx.shape[1], gx.dtype)
    for top in range(min(stride[0], gx.shape[2])):
        for left in range(min(stride[1], gx.shape[3])):
            taps, shifts = [], []
            for k, p, s, d, first in zip(weight.shape[2:], padding, stride, dilation, (top, left)):
                reaching = [t for t in range(k) if (first + p - t * d) % s == 0]
                taps.append(np.array(reaching, np.int64))
                shifts.append((first + p - taps[-1] * d) // s)
            _run(
                outputs, weight, zero, images, taps, shifts, (1, 1), (top, left), stride, groups,
                True, -np.inf,
            )  # fmt: skip


def _run(
    x: Array, weight: Array, bias: Array, y: Array, taps: Sequence[Array], shifts: Sequence[Array],
    stride: Pair, at: Pair, apart: Pair, groups: int, turned: bool, floor: float,
) -> None:  # fmt: skip
    N, C = x.shape[:2]
    M = y.shape[1]
    OH, OW = size = tuple(-(-(n - a) // s) for n, a, s in zip(y.shape[2:], at, apart))
    seen = [looks_inside(*axis) for axis in zip(shifts, size, stride, x.shape[2:])]
    down, right = (s[counts > 0] for s, counts in zip(shifts, seen))
    th, tw = (t[counts > 0] for t, counts in zip(taps, seen))
    if not th.size or not tw.size:  # a stride larger than the filter leaves pixels out
        nothing = np.maximum(bias, floor).reshape(groups, M, 1, 1)
        part = y.reshape(-1, groups, *y.shape[1:])
        part[..., at[0] :: apart[0], at[1] :: apart[1]] = nothing
        return
    cuts = np.array(tiles(M, x.itemsize))
    w = empty((groups * th.size * tw.size * C * int(cuts.sum()) * (HALF // x.itemsize),), x)
    pack_weights(weight, w, groups, th, tw, turned, cuts)
    share = float(seen[0].sum() * seen[1].sum()) / (OH * OW * th.size * tw.size)
    span = int(down.max() - down.min()), int(right.max() - right.min())
    panel = panel_of(N, C, (OH, OW), stride, span, x.itemsize, groups == 1, share)
    floor = x.dtype.type(floor)
    correlate(x, w, bias, y, (OH, OW), stride, down, right, at, apart, panel, cuts, floor)


def pack_pixels_numpy(
    gy: Array, b: Array, G: int, I: int, n0: int, n1: int, h0: int, h1: int, cuts: Array
) -> None:
    """The same in whole-array NumPy."""
    N, M, OH, OW = gy.shape
    part = gy.reshape(N // G, G, M, OH, OW)[n0:n1, :, :, h0:h1]
    part = part.reshape(-1, I, G, M, h1 - h0, OW).transpose(2, 0, 4, 5, 1, 3).reshape(G, -1, M)
    columns = int(cuts.sum()) * (HALF // b.itemsize)
    part = np.pad(part, ((0, 0), (0, 0), (0, columns - M)))
    ends = np.cumsum(cuts)[:-1] * (HALF // b.itemsize)
    b[: part.size] = np.concatenate(
        [p.reshape(G, -1) for p in np.split(part, ends, axis=2)], axis=1
    ).reshape(-1)


@kernel(numpy=pack_pixels_numpy)
def pack_pixels(
    gy: Array, b: Array, G: int, I: int, n0: int, n1: int, h0: int, h1: int, cuts: Array
) -> None:
    """b[g][tile][n / I, oh, ow, n % I][m in tile] = gy[n G + g, m, oh, ow] for n0 <= n < n1 and
    h0 <= oh < h1; beyond the last m anything. gy: (N G, M, OH, OW), b: flat."""
    M, OH, OW = gy.shape[1:]
    h = HALF // gy.itemsize
    columns = _columns(cuts, cuts.size, h)
    run = (h1 - h0) * OW  # pixels of one image
    pixels = (n1 - n0) * run
    gyf = gy.reshape(gy.size)
    T = cuts.size
    some = 16 * h  # pixels of a task
    parts = (run + some - 1) // some
    for task in prange(G * T * (n1 - n0) * parts):
        g, tile = task // (T * (n1 - n0) * parts), task // ((n1 - n0) * parts) % T
        n, first = task // parts % (n1 - n0), task % parts * some
        left = _columns(cuts, tile, h)
        width = cuts[tile] * h
        to = (g * columns + left) * pixels + ((n // I * run) * I + n % I) * width
        source = ((((n0 + n) * G + g) * M + left) * OH + h0) * OW
        for p in range(first, min(first + some, run), 2 * h):
            for m in range(0, width, 2 * h):
                lanes, squares = min(2 * h, width - m), min(2 * h, run - p)
                t, q = to + p * I * width + m, source + m * OH * OW + p
                wanted = min(lanes, M - left - m)
                inside = q + (wanted - 1) * OH * OW + 2 * h <= gyf.size
                if wanted > 0 and lanes == 2 * h and inside:
                    transpose(gyf, q, OH * OW, wanted, b, t, I * width, squares)
                else:
                    for j in range(squares):
                        for i in range(lanes):
                            b[t + j * I * width + i] = gyf[q + i * OH * OW + j] if i < wanted else 0


def sum_pixels_numpy(
    x: Array, b: Array, sums: Array, size: Pair, stride: Pair, down: Array, right: Array, G: int,
    I: int, n0: int, n1: int, h0: int, h1: int, cuts: Array,
) -> None:  # fmt: skip
    """The same in whole-array NumPy."""
    sums = sums[0]
    N, C, H, W = x.shape
    OW = size[1]
    pixels = (n1 - n0) * (h1 - h0) * OW
    part = _weight_tiles(b[: G * pixels * int(cuts.sum()) * (HALF // b.itemsize)], G, pixels, cuts)
    part = part.reshape(G, -1, h1 - h0, OW, I, part.shape[-1])
    images = x.reshape(N // G, G, C, H, W)[n0:n1].reshape(-1, I, G, C, H, W)
    K = down.size * right.size * C
    totals = np.zeros((G, down.size, right.size, C, part.shape[-1]), x.dtype)
    for i, d in enumerate(down):
        for j, r in enumerate(right):
            h, v = np.arange(h0, h1) * stride[0] + d, np.arange(OW) * stride[1] + r
            seen = images[..., h.clip(0, H - 1), :][..., v.clip(0, W - 1)]
            inside = ((h >= 0) & (h < H))[:, None] & ((v >= 0) & (v < W))
            seen = np.where(inside, seen, 0)
            totals[:, i, j] = np.einsum("qigchw,gqhwim->gcm", seen, part)
    totals = totals.reshape(G, K, -1)
    at = 0
    for g in range(G):
        left = 0
        for cut in cuts:
            width = int(cut) * (HALF // x.itemsize)
            tall = -(-K // ROWS) * ROWS
            tile = sums[at : at + tall * width].reshape(tall, width)
            tile[:K] += totals[g, :, left : left + width]
            left, at = left + width, at + tall * width


@kernel(numpy=sum_pixels_numpy, parallel_above=1 << 13)
def sum_pixels(
    x: Array, b: Array, sums: Array, size: Pair, stride: Pair, down: Array, right: Array, G: int,
    I: int, n0: int, n1: int, h0: int, h1: int, cuts: Array,
) -> None:  # fmt: skip
    """sums[.][g][tile][kh, kw, c][m in tile] += sum over n0 <= n < n1, h0 <= oh < h1 and all ow of
    x[n G + g, c, oh SH + down[kh], ow SW + right[kw]] * b[g][tile][n, oh, ow][m].

    x: (N G, C, H, W), 0 outside; where C is no multiple of ROWS, the rows of a tile have different
    taps, and none may look outside. b: as ``pack_pixels`` made it. sums: (parts, ..), each part of
    it for a part of the pixels; the rows of each tile are rounded up to ROWS.
    """
    C, H, W = x.shape[1:]
    OW = size[1]
    SH, SW = stride
    KH, KW = down.size, right.size
    K = KH * KW * C
    blocks = (K + ROWS - 1) // ROWS
    T = cuts.size
    h = HALF // x.itemsize
    columns = _columns(cuts, cuts.size, h)
    rows = h1 - h0
    pixels = (n1 - n0) * rows * OW
    tall = min(TALL, blocks)  # rows of tiles that use a part of b while it is in cache
    down_tasks = (blocks + tall - 1) // tall
    band = max(1, DEPTH // (OW * I))  # rows of pixels in such a part
    xf = x.reshape(x.size)
    bands = (rows + band - 1) // band
    S = len(sums)
    items = (n1 - n0) // I * bands
    total = sums.reshape(sums.size)
    for task in prange(S * G * T * down_tasks):
        g, tile = task // (T * down_tasks) % G, task // down_tasks % T
        first, part_of = task % down_tasks * tall, task // (G * T * down_tasks)
        last = min(first + tall, blocks)
        left = _columns(cuts, tile, h)
        cut = cuts[tile]
        width = cut * h
        places = np.empty(tall * ROWS, np.int64)
        for i in range(tall * ROWS):
            k = min(first * ROWS + i, K - 1)
            tap = down[k // C // KW] * W + right[k // C % KW]
            places[i] = (g * C + k % C) * H * W + tap
        steps = np.empty(rows * OW * I, np.int64)
        j = 0
        for oh in range(h0, h1):
            for ow in range(OW):
                for i in range(I):
                    steps[j] = oh * SH * W + ow * SW + i * G * C * H * W
                    j += 1
        goal = ((part_of * G + g) * columns + left) * blocks * ROWS
        for item in range(part_of * items // S, (part_of + 1) * items // S):
            q, top = item // bands, h0 + item % bands * band
            images = (n0 + q * I) * G * C * H * W
            part = (g * columns + left) * pixels + q * rows * OW * I * width
            for block in range(first, last):
                tap = block * ROWS // C
                a, z = valid(down[tap // KW], SH, H, top, min(top + band, h1))
                c, d = valid(right[tap % KW], SW, W, 0, OW)
                to, r = goal + block * ROWS * width, (block - first) * ROWS
                if d - c == OW:
                    for k in range((a - h0) * OW * I, (z - h0) * OW * I, DEPTH):
                        add_tile(
                            cut, xf, images, places, r, steps, k,
                            min(DEPTH, (z - h0) * OW * I - k), b, part + k * width, width,
                            total, to, width,
                        )  # fmt: skip
                elif d > c:
                    for oh in range(a - h0, z - h0):
                        k = (oh * OW + c) * I
                        add_tile(
                            cut, xf, images, places, r, steps, k, (d - c) * I,
                            b, part + k * width, width, total, to, width,
                        )  # fmt: skip


def unpack_sums_numpy(
    sums: Array, gw: Array, G: int, th: Array, tw: Array, cuts: Array
) -> None:
    """The same in whole-array NumPy."""
    F, C = gw.shape[:2]
    K = th.size * tw.size * C
    matrix = _weight_tiles(sums, G, -(-K // ROWS) * ROWS, cuts)[:, :K, : F // G]
    parts = matrix.reshape(G, th.size, tw.size, C, F // G).transpose(0, 4, 3, 1, 2)
    gw[...] = 0
    gw[:, :, th[:, None], tw] = parts.reshape(F, C, th.size, tw.size)


@kernel(numpy=unpack_sums_numpy)
def unpack_sums(sums: Array, gw: Array, G: int, th: Array, tw: Array, cuts: Array) -> None:
    """gw[g M + m, c, th[kh], tw[kw]] = sums[g][tile][kh, kw, c][m in tile]; 0 for other taps."""
    F, C, KH, KW = gw.shape
    taps, M = KH * KW, F // G
    TH, TW = th.size, tw.size
    rows = (TH * TW * C + ROWS - 1) // ROWS * ROWS
    h = HALF // gw.itemsize
    columns = _columns(cuts, cuts.size, h)
    blocks = (C + 15) // 16
    gwf = gw.reshape(gw.size)
    T = cuts.size
    for task in prange(G * T * blocks):
        g, tile, c0 = task // (T * blocks), task // blocks % T, task % blocks * 16
        left = _columns(cuts, tile, h)
        width = cuts[tile] * h
        source = (g * columns + left) * rows
        some, step = uint(min(width, M - left)), uint(C * taps)
        if taps > TH * TW:
            for m in range(some):
                to = ((g * M + left) * C + c0) * taps
                fill(gwf, uint(to) + m * step, 0, (min(c0 + 16, C) - c0) * taps)
        for c in range(c0, min(c0 + 16, C)):
            for tap in range(TH * TW):
                to = ((g * M + left) * C + c) * taps + th[tap // TW] * KW + tw[tap % TW]
                t = uint(source + (tap * C + c) * width)
                for m in range(some):
                    gwf[uint(to) + m * step] = sums[t + m]


def grad_weight(
    gy: Array, x: Array, gw: Array, stride: Pair, padding: Pair, dilation: Pair
) -> None:
    """gw = the sum over all pixels of gy times what their windows see."""
    F, C = gw.shape[:2]
    size = gy.shape[2:]
    shifts = [np.arange(k) * d - p for k, p, d in zip(gw.shape[2:], padding, dilation)]
    seen = [looks_inside(*axis) for axis in zip(shifts, size, stride, x.shape[2:])]
    th, tw = (np.flatnonzero(counts) for counts in seen)
    if not th.size or not tw.size:
        gw[...] = 0
        return
    groups = x.shape[1] // C
    outputs, images = gy.reshape(-1, F // groups, *size), x.reshape(-1, C, *x.shape[2:])
    down, right = shifts[0][th], shifts[1][tw]
    edges = [(0, 0), (0, 0)]
    some = len(images)
    if C % ROWS and any(padding):
        edges = [
            (max(0, -int(s[0])), max(0, (o - 1) * t + int(s[-1]) + 1 - n))
            for s, o, t, n in zip((down, right), size, stride, x.shape[2:])
        ]
        some = max(1, CHUNK // (x.nbytes // len(x))) * groups  # images with zeros around, at a time
    sums = None
    for n in range(0, len(images), some):
        part = images[n : n + some]
        if some < len(images) or edges[0] != (0, 0) or edges[1] != (0, 0):
            part = np.pad(part, ((0, 0), (0, 0), *edges))
        places = down + edges[0][0], right + edges[1][0]
        more, cuts = sum_of_products(outputs[n : n + some], part, stride, *places, groups)
        sums = more if sums is None else sums + more
    unpack_sums(sums, gw, groups, th, tw, cuts)


def sum_of_products(
    gy: Array, x: Array, stride: Pair, down: Array, right: Array, G: int
) -> tuple[Array, Array]:
    """``sum_pixels`` over all images and rows, flat, and the tiles that its columns are cut into.

    x: (N G, C, H, W), gy: (N G, M, OH, OW).
    """
    C, (M, OH, OW) = x.shape[1], gy.shape[1:]
    N = len(x) // G
    cuts = np.array(tiles(M, x.itemsize))
    columns = int(cuts.sum()) * (HALF // x.itemsize)
    blocks = -(-down.size * right.size * C // ROWS)
    I = math.gcd(N, ROWS) if OH * OW <= 64 else 1
    row = G * columns * OW * x.itemsize  # bytes of one row of one packed image
    some = max(1, CHUNK // (row * OH * I)) * I
    rows = OH if row * OH * I <= CHUNK else max(1, CHUNK // (row * I))
    S = max(1, PARTS // (G * len(cuts) * -(-blocks // TALL)))
    if backend.cpu_backend == "numpy":
        S = 1
    sums = empty((S, G * columns * blocks * ROWS), x)
    sums[...] = 0
    b = empty((min(some, N) * rows * row // x.itemsize,), x)
    for n in range(0, N, some):
        for h in range(0, OH, rows):
            part = I, n, min(n + some, N), h, min(h + rows, OH), cuts
            pack_pixels(gy, b, G, *part)
            sum_pixels(x, b, sums, (OH, OW), stride, down, right, G, *part)
    return sums.sum(0) if S > 1 else sums[0], cuts


def workspace_bytes(
    N: int, C: int, M: int, kernel: Pair, size: Pair, stride: Pair, dilation: Pair, itemsize: int,
    groups: int,
) -> int:  # fmt: skip
    """Bytes of packed weights, and of the bands that ``forward`` holds per thread."""
    span = (kernel[0] - 1) * dilation[0], (kernel[1] - 1) * dilation[1]
    I, R = panel_of(N, C, size, stride, span, itemsize, groups == 1, 1.0)
    wide = (size[1] - 1) * stride[1] + span[1] + 1
    band = C * ((R - 1) * stride[0] + span[0] + 1) * wide * I
    columns = sum(tiles(M, itemsize)) * (HALF // itemsize)
    weights = groups * math.prod(kernel) * C * columns
    return (weights + band * backend.get_num_threads()) * itemsize
