"""Convolution as a product of matrices that are never written down.

im2col copies each pixel of x once per tap of the filter, so that the micro-kernel can run over
plain rows. The micro-kernel, though, reads one of its two operands number by number, through a
table of places; so that operand can be the image itself. Each row of a tile is an output pixel, a
row's place is that of its window in x, and the table ``steps`` leads from tap to tap:

    forward      y[pixel, f]  = sum over k = (kh, kw, c) of x[pixel + step(k)] * w[k, f]
    grad_input   the same, gy for x: for a stride of S as S x S convolutions of stride 1, one for
                 each phase of the pixels of gx, with those taps that reach it; S of them at a time,
                 so that a task has whole rows of gx to write
    grad_weight  gw[tap, f]   = sum over pixels of x[tap + step(pixel)] * gy[pixel, f]

What has to be packed is only the operand that is read as vectors: the weights, and for grad_weight
gy. Images are copied once, a band of rows at a time, with zeros around them. The taps with which
all rows of a tile see nothing but padding are left out: so these are neighbours in a row of y; for
filters of one row, in a column; and of small images, the same pixel of several.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from . import backend
from .backend import Array, empty
from .gemm import copy, fill
from .geometry import Pair
from .im2col import valid
from .implicit_gemm_pack import pack_weights
from .implicit_gemm_places import places_of, spans_of, steps_of
from .implicit_gemm_plan import LINE, Part, Plan, phases, plans_of, whole
from .implicit_gemm_weight import grad_weight
from .jit import inline, kernel, prange, uint
from .microkernel import HALF, ROWS, VECTOR_BYTES
from .simd import at_least, load, load_inside, store, transpose, turn
from .tiles import DEPTH, add_tile, columns_of, matrices_of, tiles_of

__all__ = ["correlate", "forward", "grad_input", "grad_weight", "pack_weights"]

BLOCKS = 8  # blocks of ROWS pixels that share a part of the weights while it is in cache


def correlate_numpy(
    x: Array, w: Array, bias: Array, y: Array, plan: Plan, cuts: Array, floor: float
) -> None:
    """The same in whole-array NumPy."""
    N, C, H, W = x.shape
    M = y.shape[1]
    G = bias.size // M
    OH, OW, S, row = plan.OH, plan.OW, len(plan.counts), plan.first_row
    h = HALF // x.itemsize
    matrices = matrices_of(w, G, w.size // (G * int(cuts.sum()) * h), cuts)[..., :M]
    for phase, shifts in enumerate(np.split(plan.right, plan.counts.cumsum()[:-1])):
        K = plan.down.size * shifts.size * C
        taps = matrices[:, row : row + K].reshape(G, plan.down.size, shifts.size, C, M)
        row += K
        total = np.zeros((N // G, G, M, OH, OW), x.dtype)
        for i, d in enumerate(plan.down):
            for j, r in enumerate(shifts):
                h, v = np.arange(OH) * plan.SH + d, np.arange(OW) * plan.SW + r
                seen = x[:, :, h.clip(0, H - 1)][..., v.clip(0, W - 1)]
                inside = ((h >= 0) & (h < H))[:, None] & ((v >= 0) & (v < W))
                seen = np.where(inside, seen, 0).reshape(N // G, G, C, OH, OW)
                total += np.einsum("ngchw,gcm->ngmhw", seen, taps[:, i, j])
        total = (total + bias.reshape(G, M, 1, 1)).reshape(N, M, OH, OW)
        some = y[:, :, plan.top :: plan.apart, phase::S]
        some[...] = np.where(total < floor, floor, total)[..., : some.shape[3]]


@kernel(numpy=correlate_numpy, parallel_above=1 << 13)
def correlate(
    x: Array, w: Array, bias: Array, y: Array, plan: Plan, cuts: Array, floor: float
) -> None:
    """y[n, m, top + oh apart, ow S + s] = max(floor, bias[g, m] + sum over kh, kw, c of
    w[g][s][kh, kw, c][m] * x[n, c, oh SH + down[kh], ow SW + right[s][kw]]), for the OH x OW pixels
    and S phases of a plan.

    x: (N, C, H, W), 0 outside; image n is of group g = n modulo G. w: as ``pack_weights`` made it.
    bias: (G M). y: (N, M, ..). A task computes R rows of I images. What no pixel of a tile sees
    is left out.
    """
    N, C = x.shape[:2]
    M, YH, YW = y.shape[1:]
    G = bias.size // M
    I, R, S = plan.I, plan.R, plan.counts.size
    h = HALF // x.itemsize
    columns = columns_of(cuts, cuts.size, h)
    all_rows = w.size // (G * columns)
    xf, yf = x.reshape(x.size), y.reshape(y.size)
    starts = np.zeros(G * columns + 2 * h, x.dtype)
    for g in range(G):
        copy(starts, g * columns, bias, g * M, M)
    bands, together = (plan.OH + R - 1) // R, I * plan.times
    for task in prange((N + together - 1) // together * bands):
        first_image, h0 = task // bands * together, task % bands * R
        images, high = min(I, N - first_image), min(R, plan.OH - h0)
        pixels = high * plan.OW * I
        blocks = (pixels + ROWS - 1) // ROWS
        steps, spans = steps_of(plan, C), spans_of(plan, h0, high)
        places, goals = places_of(plan, h0, high, images, M * YH * YW, YW)
        group = LINE * high // ROWS if plan.turned else BLOCKS  # blocks added up side by side
        seen = np.empty(C * plan.HP * plan.WP * I + 2 * h, x.dtype)
        acc = np.empty(group * ROWS * S * 6 * h + 2 * h, x.dtype)  # of a pixel, of a phase: a row
        for n0 in range(first_image, min(first_image + together, N), I):
            if plan.turned:
                _surround_turned(xf, x.shape, n0, seen, plan, h0)
            else:
                _surround(xf, x.shape, n0, images, seen, plan, h0)
            g, column = n0 % G, 0
            for cut in cuts:
                width = cut * h
                part = (g * columns + column) * all_rows + plan.first_row * width
                for first in range(0, blocks, group):
                    last = min(first + group, blocks)
                    row, n = first * ROWS * S, (min(last * ROWS, pixels) - first * ROWS) * S
                    _start(acc, (last - first) * ROWS * S, width, starts, g * columns + column)
                    _add_up(cut, seen, C, plan, places, steps, spans, first, last, w, part, acc)
                    if floor > -np.inf:
                        for i in range(0, n * width, 2 * h):
                            store(acc, i, at_least(load(acc, i), floor))
                    to = (n0 * M + column) * YH * YW
                    step = 0 if I > 1 else high if plan.turned else 1
                    _put(acc, n, width, yf, to, YH * YW, goals, row, min(width, M - column), step)
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
def _add_up(
    cut: int, seen: Array, C: int, plan: Plan, places: Array, steps: Array, spans: Array,
    first: int, last: int, w: Array, part: int, acc: Array,
) -> None:  # fmt: skip
    """acc[pixel, s, m] += the sums of the pixels of blocks first to last, in chains of about DEPTH
    terms: of some rows of the filter, or of a part of one."""
    KH, S = plan.down.size, plan.counts.size
    blocks = spans.size // (4 * S)
    width = cut * (HALF // w.itemsize)
    before = 0  # rows of w that are other phases'
    for s in range(S):
        row = plan.counts[s] * C
        rows = max(1, DEPTH // max(1, row))
        for kh in range(0, KH, rows):
            for k in range(0, row, DEPTH):
                for b in range(first, last):
                    # Of the terms kh to kh + rows, k to k + DEPTH those that are not all padding.
                    span = 4 * (s * blocks + b)
                    top, bottom = max(kh, spans[span]), min(kh + rows, spans[span + 1])
                    left = max(k, spans[span + 2] * C)
                    depth = min(k + DEPTH, spans[span + 3] * C) - left
                    at = before + top * row + left
                    to = ((b - first) * ROWS * S + s) * width
                    add_tile(
                        cut, seen, 0, places, b * ROWS, steps, at, depth, w, part + at * width,
                        width, acc, to, S * width, bottom - top, row - depth, 0,
                    )  # fmt: skip
        before += KH * row


@inline
def _put(
    acc: Array, n: int, width: int, y: Array, to: int, plane: int, goals: Array, r: int, M: int,
    step: int,
) -> None:  # fmt: skip
    """y[to + m plane + goals[r + i]] = acc[i, m] for i < n, m < M; neighbours in a row of y are
    ``step`` apart in acc, or not neighbours in y if that is 0."""
    lanes = VECTOR_BYTES // y.itemsize
    i = 0
    while i < n:
        run = 1  # so many are neighbours in y
        while step > 0 and i + run * step < n and goals[r + i + run * step] == goals[r + i] + run:
            run += 1
        all_rows = max(step, 1)
        if run >= lanes and goals[r + i] >= 0:  # squares are turned; the last ends with the run
            for j in range(0, run, lanes):
                j = min(j, run - lanes)
                for row in range(i, i + all_rows):
                    for m in range(0, M, lanes):
                        t = to + m * plane + goals[r + row] + j
                        s = (row + j * step) * width + m
                        transpose(acc, s, step * width, lanes, y, t, plane, min(lanes, M - m))
        else:
            for j in range(i, i + run * all_rows):
                if goals[r + j] >= 0:
                    for m in range(M):
                        y[uint(to + goals[r + j] + m * plane)] = acc[uint(j * width + m)]
        i += run * all_rows


@inline
def _surround(
    x: Array, shape: tuple[int, int, int, int], n0: int, images: int, to: Array, plan: Plan, h0: int
) -> None:
    """to[c, hp, wp, i] = x[n0 + i, c, top + hp, left + wp], 0 outside; of the rows only those that
    some tap sees. top: that of what the windows of row h0 see.

    Behind its last number, ``to`` has space for a vector more.
    """
    C, H, W = shape[1:]
    I, HP, WP, left, top = plan.I, plan.HP, plan.WP, plan.left, h0 * plan.SH + plan.above
    low, high = valid(left, 1, W, 0, WP)
    lanes = VECTOR_BYTES // x.itemsize
    for c in range(C):
        for hp in range(0, HP, plan.SH if plan.down.size == 1 else 1):
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
                        source = (((n0 + i) * C + c) * H + top + hp) * W + left + low
                        t = row + low * I + i
                        for wp in range(uint(high - low)):
                            to[uint(t) + wp * uint(I)] = x[uint(source) + wp]


@inline
def _surround_turned(
    x: Array, shape: tuple[int, int, int, int], n: int, to: Array, plan: Plan, h0: int
) -> None:
    """to[c, wp, hp] = x[n, c, h0 + above + hp, left + wp], 0 outside."""
    C, H, W = shape[1:]
    HP, WP, left, top = plan.HP, plan.WP, plan.left, h0 + plan.above
    low, high = valid(left, 1, W, 0, WP)
    first, last = valid(top, 1, H, 0, HP)
    lanes = VECTOR_BYTES // x.itemsize
    rest = last - (last - first) % lanes  # up to here, squares are turned
    fill(to, 0, 0, C * WP * HP)
    for c in range(C):
        plane, source = c * WP * HP, ((n * C + c) * H + top) * W + left
        for wp in range(low, high, lanes):
            for hp in range(first, rest, lanes):
                t, columns = plane + wp * HP + hp, min(lanes, high - wp)
                turn(x, source + hp * W + wp, W, lanes, to, t, HP, columns)
        for hp in range(rest, last):
            t, s = plane + low * HP + hp, source + hp * W + low
            for wp in range(uint(high - low)):
                to[uint(t) + wp * uint(HP)] = x[uint(s) + wp]


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
    _run(images, weight, bias, out, parts, stride, 1, groups, False, floor, kept)


def grad_input(
    gy: Array, weight: Array, gx: Array, stride: Pair, padding: Pair, dilation: Pair
) -> None:
    """gx = what comes back through the taps."""
    groups = gx.shape[1] // weight.shape[1]
    outputs = gy.reshape(-1, len(weight) // groups, *gy.shape[2:])
    images = gx.reshape(len(outputs), -1, *gx.shape[2:])
    zero = np.zeros(gx.shape[1], gx.dtype)
    parts = phases(weight.shape[2:], gx.shape[2:], stride, padding, dilation)
    _run(outputs, weight, zero, images, parts, (1, 1), stride[0], groups, True, -np.inf)


def _run(
    x: Array, weight: Array, bias: Array, y: Array, parts: tuple[Part, ...], stride: Pair,
    apart: int, groups: int, turned: bool, floor: float, kept: dict[Any, Array] | None = None,
) -> None:  # fmt: skip
    C, M = x.shape[1], y.shape[1]
    shapes = x.shape, weight.shape, y.shape
    threads = backend.get_num_threads()
    plans, unseen, taps = plans_of(
        *shapes, parts, stride, apart, x.itemsize, groups == 1, threads
    )
    for top in unseen:  # a stride larger than the filter leaves pixels out
        nothing = np.maximum(bias, floor).reshape(groups, M, 1, 1)
        y.reshape(-1, groups, *y.shape[1:])[..., top::apart, :] = nothing
    if not plans:
        return
    cuts, columns = tiles_of(M, x.itemsize)
    name = "implicit_gemm", taps.tobytes()
    w = None if kept is None else kept.get(name)
    if w is None:
        w = empty((groups * taps.size * C * columns,), x)
        pack_weights(weight, w, groups, taps, turned, cuts)
        if kept is not None:
            kept[name] = w
    for plan in plans:
        correlate(x, w, bias, y, plan, cuts, x.dtype.type(floor))
