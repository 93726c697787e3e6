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

from typing import Any

import numpy as np

from . import backend
from .backend import Array, empty
from .gemm import copy, fill
from .geometry import Pair
from .im2col import take, valid
from .implicit_gemm_plan import Part, phases, plan_of, whole
from .implicit_gemm_weight import grad_weight
from .jit import inline, kernel, prange, uint
from .microkernel import HALF, ROWS, VECTOR_BYTES
from .simd import at_least, load, load_inside, store, transpose, turn
from .tiles import DEPTH, add_tile, columns_of, matrices_of, tiles_of, views_of

__all__ = ["correlate", "forward", "grad_input", "grad_weight", "pack_weights"]

MANY = 6  # numbers side by side from which on they are packed by turning squares
BLOCKS = 8  # blocks of ROWS pixels that share a part of the weights while it is in cache


@inline
def _extent(shifts: Array) -> tuple[int, int]:
    """The least and the largest of them."""
    low, high = shifts[0], shifts[0]
    for i in range(1, shifts.size):
        low, high = min(low, shifts[i]), max(high, shifts[i])
    return low, high


def pack_weights_numpy(
    weight: Array, w: Array, G: int, taps: Array, turned: bool, cuts: Array
) -> None:
    """The same in whole-array NumPy."""
    F, CG = weight.shape[:2]
    seen = weight.reshape(G, F // G, CG, -1)[..., taps]
    M = CG if turned else F // G
    rows = seen.transpose((0, 3, 1, 2) if turned else (0, 3, 2, 1)).reshape(G, -1, M)
    for left, tile in views_of(w, G, rows.shape[1], cuts):
        tile[...] = 0
        some = rows[:, :, left : left + tile.shape[2]]
        tile[:, :, : some.shape[2]] = some


@kernel(numpy=pack_weights_numpy)
def pack_weights(
    weight: Array, w: Array, G: int, taps: Array, turned: bool, cuts: Array
) -> None:
    """w[g][tile][tap, c][m in tile] = weight[g M + m, c, taps[tap]]; beyond the last m anything.

    weight: (F, C/G, KH, KW). taps: the kh KW + kw that are wanted. ``turned`` (for grad_input): the
    columns are input channels and the rows filters. w: flat.
    """
    F, CG, KH, KW = weight.shape
    all_taps = KH * KW
    M, C, m_step, c_step = F // G, CG, CG * all_taps, all_taps
    if turned:
        M, C, m_step, c_step = CG, F // G, all_taps, CG * all_taps
    h = HALF // weight.itemsize
    wf = weight.reshape(weight.size)
    columns = columns_of(cuts, cuts.size, h)
    K = taps.size * C
    place = np.full(all_taps, -1)  # of a tap in ``taps``
    for i in range(taps.size):
        place[taps[i]] = i
    blocks = (C + 15) // 16
    for task in prange(G * cuts.size * blocks):
        g, tile, c0 = task // (cuts.size * blocks), task // blocks % cuts.size, task % blocks * 16
        left = columns_of(cuts, tile, h)
        width = cuts[tile] * h
        square = np.empty(4 * h * h, weight.dtype)
        # Where it pays, squares of numbers are turned: of m, and of what lies side by side in a
        # filter, which is (c, kh, kw), or of one c if they are m's.
        side = min(c0 + 16, C) - c0
        run, times = (all_taps, side) if turned else (side * all_taps, 1)
        for m in range(0, width, 2 * h):
            some = min(2 * h, M - left - m)
            to = (g * columns + left) * K + m
            source = g * (F // G) * CG * all_taps + (left + m) * m_step + c0 * c_step
            if some <= 0 or run < MANY or m + 2 * h > width:
                for c in range(side):
                    for i in range(taps.size):
                        t = to + (i * C + c0 + c) * width
                        take(w, t, wf, source + c * c_step + taps[i], m_step, some)
                        fill(w, t + max(some, 0), 0, min(2 * h, width - m) - max(some, 0))
            else:
                for time in range(times):
                    c, tap = c0 + time, 0
                    for q in range(0, run, 2 * h):
                        squares = min(2 * h, run - q)
                        s = source + time * c_step + q
                        turn(wf, s, m_step, some, square, 0, 2 * h, squares)
                        for j in range(squares):
                            if place[tap] >= 0:
                                t = to + (place[tap] * C + c) * width
                                store(w, t, load(square, j * 2 * h))
                            tap += 1
                            if tap == all_taps:
                                c, tap = c + 1, 0


def correlate_numpy(
    x: Array, w: Array, rows: Pair, bias: Array, y: Array, size: Pair, stride: Pair, down: Array,
    right: Array, at: Pair, apart: Pair, panel: Pair, cuts: Array, floor: float,
) -> None:  # fmt: skip
    """The same in whole-array NumPy."""
    N, C, H, W = x.shape
    M = y.shape[1]
    G = bias.size // M
    (OH, OW), (SH, SW) = size, stride
    K, (first_row, all_rows) = down.size * right.size * C, rows
    taps = matrices_of(w, G, all_rows, cuts)[:, first_row : first_row + K, :M]
    taps = taps.reshape(G, down.size, right.size, C, M)
    total = np.zeros((N // G, G, M, OH, OW), x.dtype)
    for i, d in enumerate(down):
        for j, r in enumerate(right):
            h, v = np.arange(OH) * SH + d, np.arange(OW) * SW + r
            seen = x[:, :, h.clip(0, H - 1)][..., v.clip(0, W - 1)]
            inside = ((h >= 0) & (h < H))[:, None] & ((v >= 0) & (v < W))
            seen = np.where(inside, seen, 0).reshape(N // G, G, C, OH, OW)
            total += np.einsum("ngchw,gcm->ngmhw", seen, taps[:, i, j])
    total = (total + bias.reshape(G, M, 1, 1)).reshape(N, M, OH, OW)
    vertical = slice(at[0], at[0] + (OH - 1) * apart[0] + 1, apart[0])
    across = slice(at[1], at[1] + (OW - 1) * apart[1] + 1, apart[1])
    y[:, :, vertical, across] = np.where(total < floor, floor, total)


@kernel(numpy=correlate_numpy, parallel_above=1 << 13)
def correlate(
    x: Array, w: Array, rows: Pair, bias: Array, y: Array, size: Pair, stride: Pair, down: Array,
    right: Array, at: Pair, apart: Pair, panel: Pair, cuts: Array, floor: float,
) -> None:  # fmt: skip
    """y[n, m, at + apart (oh, ow)] = max(floor, bias[g, m] + sum over kh, kw, c of
    w[g][kh, kw, c][m] * x[n, c, oh SH + down[kh], ow SW + right[kw]]), for (oh, ow) < size.

    x: (N, C, H, W), 0 outside; image n is of group g = n modulo G. w: as ``pack_weights`` made it.
    rows: the first row of w that is used, and how many there are. bias: (G M). y: (N, M, ..).
    panel: (images, rows of pixels) that a task computes.
    """
    N, C, H, W = x.shape
    M, YH, YW = y.shape[1:]
    OH, OW = size
    SH, SW = stride
    KH, KW = down.size, right.size
    I, R = panel
    G = bias.size // M
    K = KH * KW * C
    first_row, all_rows = rows
    (top, bottom), (left, last) = _extent(down), _extent(right)
    HP = (R - 1) * SH + bottom - top + 1
    WP = (OW - 1) * SW + last - left + 1
    h = HALF // x.itemsize
    columns = columns_of(cuts, cuts.size, h)
    bands = (OH + R - 1) // R
    # The rows of a tile are the same pixel of several images: all of them see the same taps.
    alike = I % ROWS == 0
    xf, yf = x.reshape(x.size), y.reshape(y.size)
    starts = np.zeros(G * columns + 2 * h, x.dtype)
    for g in range(G):
        copy(starts, g * columns, bias, g * M, M)
    for task in prange((N + I - 1) // I * bands):
        n0, h0 = task // bands * I, task % bands * R
        images, high = min(I, N - n0), min(R, OH - h0)
        seen = np.empty(C * HP * WP * I + 2 * h, x.dtype)
        skip = SH if KH == 1 else 1
        _surround(xf, n0, images, C, H, W, seen, h0 * SH + top, left, HP, WP, I, skip)
        steps = np.empty(K, np.int64)
        for kh in range(KH):
            for kw in range(KW):
                tap = (down[kh] - top) * WP + right[kw] - left
                for c in range(C):
                    steps[(kh * KW + kw) * C + c] = (c * HP * WP + tap) * I
        pixels = high * OW * I
        blocks = (pixels + ROWS - 1) // ROWS
        places = np.empty(blocks * ROWS, np.int64)
        goals = np.empty(blocks * ROWS, np.int64)
        j = 0
        for oh in range(high):
            for ow in range(OW):
                goal = (at[0] + (h0 + oh) * apart[0]) * YW + at[1] + ow * apart[1]
                for i in range(I):
                    places[j] = (oh * SH * WP + ow * SW) * I + i
                    goals[j] = goal + i * M * YH * YW if i < images else -1
                    j += 1
        for j in range(pixels, blocks * ROWS):
            places[j], goals[j] = places[pixels - 1], -1
        acc = np.empty(BLOCKS * ROWS * 6 * h + 2 * h, x.dtype)
        g, column = n0 % G, 0
        for cut in cuts:
            width = cut * h
            part = (g * columns + column) * all_rows + first_row * width
            for first in range(0, blocks, BLOCKS):
                some, r0 = min(BLOCKS, blocks - first), first * ROWS
                _start(acc, some * ROWS, width, starts, g * columns + column)
                if alike:
                    for kh in range(KH):
                        for b in range(some):
                            r = r0 + b * ROWS
                            h_, w_ = (h0 + r // (OW * I)) * SH, r // I % OW * SW
                            c, d = _seeing(h_ + down[kh], H, w_, right, W)
                            _add_terms(
                                cut, seen, places, r, steps, (kh * KW + c) * C, (kh * KW + d) * C,
                                w, part, acc, b * ROWS,
                            )  # fmt: skip
                else:
                    for k in range(0, K, DEPTH):
                        for b in range(some):
                            _add_terms(
                                cut, seen, places, r0 + b * ROWS, steps, k, min(k + DEPTH, K),
                                w, part, acc, b * ROWS,
                            )  # fmt: skip
                n = min(some * ROWS, pixels - r0)
                if floor > -np.inf:
                    for i in range(0, n * width, 2 * h):
                        store(acc, i, at_least(load(acc, i), floor))
                to = (n0 * M + column) * YH * YW
                _put(acc, n, width, yf, to, YH * YW, goals, r0, min(width, M - column), I)
            column += width


@inline
def _start(acc: Array, n: int, width: int, starts: Array, s: int) -> None:
    """acc[i, m] = starts[s + m] for i < n, m < width: whole vectors, of which the next row's first
    overwrites what is too much."""
    lanes = VECTOR_BYTES // acc.itemsize
    for i in range(n):
        for m in range(0, width, lanes):
            store(acc, i * width + m, load(starts, s + m))


@inline
def _add_terms(
    cut: int, seen: Array, places: Array, r: int, steps: Array, low: int, high: int, w: Array,
    part: int, acc: Array, i: int,
) -> None:  # fmt: skip
    """acc[i + row, m] += the terms low..high of the sums of ROWS pixels."""
    width = cut * (HALF // w.itemsize)
    for k in range(low, high, DEPTH):
        add_tile(
            cut, seen, 0, places, r, steps, k, min(DEPTH, high - k),
            w, part + k * width, width, acc, i * width, width, 1, 0,
        )  # fmt: skip


@inline
def _put(
    acc: Array, n: int, width: int, y: Array, to: int, plane: int, goals: Array, r: int, M: int,
    I: int,
) -> None:  # fmt: skip
    """y[to + m plane + goals[r + i]] = acc[i, m] for i < n, m < M."""
    lanes = VECTOR_BYTES // y.itemsize
    whole = 0
    if I == 1 and goals[r + n - 1] - goals[r] == n - 1:  # neighbours: squares of them are turned
        whole = n // lanes * lanes
        for i in range(0, whole, lanes):
            for m in range(0, M, lanes):
                t = to + m * plane + goals[r] + i
                transpose(acc, i * width + m, width, lanes, y, t, plane, min(lanes, M - m))
    for m in range(uint(M)):
        for i in range(uint(whole), uint(n)):
            goal = goals[uint(r) + i]
            if goal >= 0:
                y[uint(to + goal) + m * uint(plane)] = acc[i * uint(width) + m]


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
    """to[c, hp, wp, i] = x[n0 + i, c, top + hp, left + wp], 0 outside; every ``skip``-th row.

    Behind its last number, ``to`` has space for a vector more.
    """
    low, high = valid(left, 1, W, 0, WP)
    lanes = VECTOR_BYTES // x.itemsize
    for c in range(C):
        for hp in range(0, HP, skip):
            row = (c * HP + hp) * WP * I
            inside = 0 <= top + hp < H
            if I == 1:
                source = ((n0 * C + c) * H + top + hp) * W + left
                end = high if inside else 0
                for wp in range(0, WP, lanes):  # beyond WP, the next row overwrites it
                    store(to, row + wp, load_inside(x, source + wp, low - wp, end - wp))
            else:
                fill(to, row, 0, WP * I)
                if inside:
                    for i in range(images):
                        source = (((n0 + i) * C + c) * H + top + hp) * W + left
                        for wp in range(uint(low), uint(high)):
                            to[uint(row + i) + wp * uint(I)] = x[uint(source) + wp]


def forward(
    x: Array, weight: Array, bias: Array, y: Array, stride: Pair, padding: Pair, dilation: Pair,
    relu: bool = False, kept: dict[Any, Array] | None = None,
) -> None:  # fmt: skip
    """y = the convolution of x with weight, plus bias; ``relu``: the larger of that and 0.
    ``kept``: of this weight, packed taps."""
    groups = x.shape[1] // weight.shape[1]
    images = x.reshape(-1, weight.shape[1], *x.shape[2:])
    out = y.reshape(len(images), -1, *y.shape[2:])
    parts = (whole(weight.shape[2:], padding, dilation),)
    floor = 0.0 if relu else -np.inf
    _run(images, weight, bias, out, parts, stride, (1, 1), groups, False, floor, kept)


def grad_input(
    gy: Array, weight: Array, gx: Array, stride: Pair, padding: Pair, dilation: Pair
) -> None:
    """gx = what comes back through the taps."""
    groups = gx.shape[1] // weight.shape[1]
    outputs = gy.reshape(-1, len(weight) // groups, *gy.shape[2:])
    images = gx.reshape(len(outputs), -1, *gx.shape[2:])
    zero = np.zeros(gx.shape[1], gx.dtype)
    parts = phases(weight.shape[2:], gx.shape[2:], stride, padding, dilation)
    _run(outputs, weight, zero, images, parts, (1, 1), stride, groups, True, -np.inf)


def _run(
    x: Array, weight: Array, bias: Array, y: Array, parts: tuple[Part, ...], stride: Pair,
    apart: Pair, groups: int, turned: bool, floor: float, kept: dict[Any, Array] | None = None,
) -> None:  # fmt: skip
    C, M = x.shape[1], y.shape[1]
    threads = backend.get_num_threads()
    plans, wanted = [], []
    for part in parts:
        size = tuple(-(-(n - a) // s) for n, a, s in zip(y.shape[2:], part.at, apart))
        shapes = x.shape, weight.shape[3], M, size
        plan = plan_of(*shapes, part.taps, part.shifts, stride, x.itemsize, groups == 1, threads)
        plans.append((part, size, plan))
        if plan is not None:
            wanted.append(plan.taps)
        else:  # a stride larger than the filter leaves pixels out
            nothing = np.maximum(bias, floor).reshape(groups, M, 1, 1)
            some = y.reshape(-1, groups, *y.shape[1:])
            some[..., part.at[0] :: apart[0], part.at[1] :: apart[1]] = nothing
    if not wanted:
        return
    taps = np.concatenate(wanted)
    cuts, columns = tiles_of(M, x.itemsize)
    name = "implicit_gemm", taps.tobytes()
    w = None if kept is None else kept.get(name)
    if w is None:
        w = empty((groups * taps.size * C * columns,), x)
        pack_weights(weight, w, groups, taps, turned, cuts)
        if kept is not None:
            kept[name] = w
    floor = x.dtype.type(floor)
    first = 0
    for part, size, plan in plans:
        if plan is not None:
            rows = first, taps.size * C
            correlate(
                x, w, rows, bias, y, size, stride, plan.down, plan.right, part.at, apart,
                plan.panel, cuts, floor,
            )  # fmt: skip
            first += plan.taps.size * C
