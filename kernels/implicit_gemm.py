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
from .implicit_gemm_places import aim, extent, lead, look
from .implicit_gemm_plan import Panel, Part, phases, plan_of, whole
from .implicit_gemm_weight import grad_weight
from .jit import inline, kernel, prange, uint
from .microkernel import HALF, ROWS, VECTOR_BYTES
from .simd import at_least, load, load_inside, store, transpose, turn
from .tiles import DEPTH, add_tile, columns_of, matrices_of, tiles_of

__all__ = ["correlate", "forward", "grad_input", "grad_weight", "pack_weights"]

BLOCKS = 8  # blocks of ROWS pixels that share a part of the weights while it is in cache
LINE = 16  # columns that do, where blocks go down them


def correlate_numpy(
    x: Array, w: Array, rows: Pair, bias: Array, y: Array, size: Pair, stride: Pair, down: Array,
    right: Array, counts: Array, tall: Array, wide: Array, at: int, apart: int, panel: Panel,
    cuts: Array, floor: float,
) -> None:  # fmt: skip
    """The same in whole-array NumPy."""
    N, C, H, W = x.shape
    M = y.shape[1]
    G = bias.size // M
    (OH, OW), (SH, SW) = size, stride
    S, (first_row, all_rows) = len(counts), rows
    matrices = matrices_of(w, G, all_rows, cuts)[..., :M]
    for phase, shifts in enumerate(np.split(right, counts.cumsum()[:-1])):
        K = down.size * shifts.size * C
        taps = matrices[:, first_row : first_row + K].reshape(G, down.size, shifts.size, C, M)
        first_row += K
        total = np.zeros((N // G, G, M, OH, OW), x.dtype)
        for i, d in enumerate(down):
            for j, r in enumerate(shifts):
                h, v = np.arange(OH) * SH + d, np.arange(OW) * SW + r
                seen = x[:, :, h.clip(0, H - 1)][..., v.clip(0, W - 1)]
                inside = ((h >= 0) & (h < H))[:, None] & ((v >= 0) & (v < W))
                seen = np.where(inside, seen, 0).reshape(N // G, G, C, OH, OW)
                total += np.einsum("ngchw,gcm->ngmhw", seen, taps[:, i, j])
        total = (total + bias.reshape(G, M, 1, 1)).reshape(N, M, OH, OW)
        some = y[:, :, at : at + (OH - 1) * apart + 1 : apart, phase::S]
        some[...] = np.where(total < floor, floor, total)[..., : some.shape[3]]


@kernel(numpy=correlate_numpy, parallel_above=1 << 13)
def correlate(
    x: Array, w: Array, rows: Pair, bias: Array, y: Array, size: Pair, stride: Pair, down: Array,
    right: Array, counts: Array, tall: Array, wide: Array, at: int, apart: int, panel: Panel,
    cuts: Array, floor: float,
) -> None:  # fmt: skip
    """y[n, m, at + oh apart, ow S + s] = max(floor, bias[g, m] + sum over kh, kw, c of
    w[g][s][kh, kw, c][m] * x[n, c, oh SH + down[kh], ow SW + right[s][kw]]), for (oh, ow) < size
    and S phases s.

    x: (N, C, H, W), 0 outside; image n is of group g = n modulo G. w: as ``pack_weights`` made it.
    rows: the first row of w that is used, and how many there are. bias: (G M). y: (N, M, ..).
    counts: the length of each right[s]. tall, wide: for each oh and (s, ow), the first kh or kw
    that sees something of x, and the one behind the last: what no pixel of a tile sees is left out.
    panel: (images side by side, rows of pixels) that a task computes, and of how many such images,
    one after the other.
    """
    N, C, H, W = x.shape
    M, YH, YW = y.shape[1:]
    OH, OW = size
    SH, SW = stride
    KH, S = down.size, counts.size
    I, R, times = panel
    G = bias.size // M
    first_row, all_rows = rows
    (top, bottom), (left, last) = extent(down), extent(right)
    HP = (R - 1) * SH + bottom - top + 1
    WP = (OW - 1) * SW + last - left + 1
    h = HALF // x.itemsize
    columns = columns_of(cuts, cuts.size, h)
    bands = (OH + R - 1) // R
    # Neighbours in a tile should see the same taps: of 1 x KW filters, pixels of one column do, and
    # so lie side by side.
    turned = S == KH == SH == 1 < right.size and I == 1 and R <= 4 * LINE
    to_lower, to_right = (1, HP) if turned else (WP, 1)
    xf, yf = x.reshape(x.size), y.reshape(y.size)
    starts = np.zeros(G * columns + 2 * h, x.dtype)
    for g in range(G):
        copy(starts, g * columns, bias, g * M, M)
    for task in prange((N + I * times - 1) // (I * times) * bands):
        first_image, h0 = task // bands * I * times, task % bands * R
        images, high = min(I, N - first_image), min(R, OH - h0)
        seen = np.empty(C * HP * WP * I + 2 * h, x.dtype)
        steps = np.empty(KH * right.size * C, np.int64)
        lead(steps, C, HP * WP, I, down, right, counts, top, left, to_lower, to_right)
        pixels = high * OW * I
        blocks = (pixels + ROWS - 1) // ROWS
        places = np.empty(blocks * ROWS, np.int64)
        goals = np.full(blocks * ROWS * S, -1)
        inner, outer = (high, OW) if turned else (OW, high)
        corner, lower = (at + h0 * apart) * YW, apart * YW
        j = 0
        for o in range(outer):
            for q in range(inner):
                oh, ow = (q, o) if turned else (o, q)
                for i in range(I):
                    places[j] = (oh * SH * to_lower + ow * SW * to_right) * I + i
                    if i < images:
                        aim(goals, j * S, corner + oh * lower + i * M * YH * YW, ow * S, S, YW)
                    j += 1
        for j in range(pixels, blocks * ROWS):  # the last is computed again
            places[j] = places[pixels - 1]
        spans = np.empty(4 * S * blocks, np.int64)
        for s in range(S):
            for b in range(blocks):
                q0, q1 = b * ROWS // I, (min(b * ROWS + ROWS, pixels) - 1) // I
                to = 4 * (s * blocks + b)
                look(spans, to, q0, q1, inner, turned, h0, tall, wide, 2 * s * OW, KH, counts[s])
        group = LINE * high // ROWS if turned else BLOCKS  # blocks added up side by side
        acc = np.empty(group * ROWS * S * 6 * h + 2 * h, x.dtype)
        for n0 in range(first_image, min(first_image + I * times, N), I):
            if turned:
                _surround_turned(xf, n0, C, H, W, seen, h0 + top, left, HP, WP)
            else:
                skip = SH if KH == 1 else 1
                _surround(xf, n0, images, C, H, W, seen, h0 * SH + top, left, HP, WP, I, skip)
            g, column = n0 % G, 0
            for cut in cuts:
                width = cut * h
                part = (g * columns + column) * all_rows + first_row * width
                for first in range(0, blocks, group):
                    some, r0 = min(group, blocks - first), first * ROWS
                    _start(acc, some * ROWS * S, width, starts, g * columns + column)
                    before = 0
                    for s in range(S):
                        KW = counts[s]
                        many = max(1, DEPTH // max(1, KW * C))  # rows of the filter in one chain
                        for kh in range(0, KH, many):
                            for k in range(0, KW * C, DEPTH):
                                for b in range(first, first + some):
                                    _add_terms(
                                        cut, seen, places, b * ROWS, steps, before, kh, many, k, C,
                                        KW, spans, 4 * (s * blocks + b), w, part, acc,
                                        (b - first) * ROWS * S + s, S,
                                    )  # fmt: skip
                        before += KH * KW * C
                    n = min(some * ROWS, pixels - r0) * S
                    if floor > -np.inf:
                        for i in range(0, n * width, 2 * h):
                            store(acc, i, at_least(load(acc, i), floor))
                    to = (n0 * M + column) * YH * YW
                    step = 0 if I > 1 else high if turned else 1
                    _put(
                        acc, n, width, yf, to, YH * YW, goals, r0 * S, min(width, M - column), step
                    )
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
    cut: int, seen: Array, places: Array, r: int, steps: Array, before: int, kh: int, many: int,
    k: int, C: int, KW: int, spans: Array, s: int, w: Array, part: int, acc: Array, i: int,
    apart: int,
) -> None:  # fmt: skip
    """acc[i + row apart, m] += a part of the sums of ROWS pixels: ``many`` rows of the filter from
    kh on, of each the terms k to k + DEPTH; what is not of the taps spans[s : s + 2] down and
    spans[s + 2 : s + 4] across is 0, and left out. ``before`` these terms are those of others."""
    width = cut * (HALF // w.itemsize)
    first, last = max(kh, spans[s]), min(kh + many, spans[s + 1])
    low, high = max(k, spans[s + 2] * C), min(k + DEPTH, spans[s + 3] * C)
    at = before + first * KW * C + low
    add_tile(
        cut, seen, 0, places, r, steps, at, high - low, w, part + at * width, width,
        acc, i * width, apart * width, last - first, KW * C - (high - low), 0,
    )  # fmt: skip


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
                        source = (((n0 + i) * C + c) * H + top + hp) * W + left + low
                        t = row + low * I + i
                        for wp in range(uint(high - low)):
                            to[uint(t) + wp * uint(I)] = x[uint(source) + wp]


@inline
def _surround_turned(
    x: Array, n: int, C: int, H: int, W: int, to: Array, top: int, left: int, HP: int, WP: int
) -> None:
    """to[c, wp, hp] = x[n, c, top + hp, left + wp], 0 outside."""
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
    C, (M, YH, YW) = x.shape[1], y.shape[1:]
    threads = backend.get_num_threads()
    plans, wanted = [], []
    for part in parts:
        size = -(-(YH - part.top) // apart), -(-YW // len(part.across))
        shapes = x.shape, weight.shape[3], M, size
        plan = plan_of(*shapes, part, stride, x.itemsize, groups == 1, threads)
        plans.append((part.top, size, plan))
        if plan is not None:
            wanted.append(plan.taps)
        else:  # a stride larger than the filter leaves pixels out
            nothing = np.maximum(bias, floor).reshape(groups, M, 1, 1)
            y.reshape(-1, groups, *y.shape[1:])[..., part.top :: apart, :] = nothing
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
    for top, size, plan in plans:
        if plan is not None:
            rows = first, taps.size * C
            correlate(
                x, w, rows, bias, y, size, stride, plan.down, plan.right, plan.counts, plan.tall,
                plan.wide, top, apart, plan.panel, cuts, floor,
            )  # fmt: skip
            first += plan.taps.size * C
