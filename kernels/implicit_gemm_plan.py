"""How ``implicit_gemm`` goes about a layer: which taps count, and what a task computes.

Only shapes tell, so that it is worked out once for each.
"""

from __future__ import annotations

import functools
import math
from typing import NamedTuple, TypeAlias

import numpy as np

from . import backend
from .backend import Array
from .geometry import Pair
from .microkernel import ROWS
from .tiles import looks_inside, tiles_of

Taps: TypeAlias = tuple[tuple[int, int], ...]  # along one axis: which, and how far from a window's
# first element
BAND = 1 << 19  # bytes of a padded band of x: half of a core's second-level cache ...
LONGEST_BAND = 1 << 22  # ... or more, where each band takes the weights through the caches again
SHARES = 8  # tasks per thread, where there are images enough
SMALL = 64  # pixels of an image, below which several are worked on side by side
LINE = 16  # columns of pixels whose tiles share a part of the weights, where tiles go down them


class Part(NamedTuple):
    """Some of y's rows: those of one phase of the stride."""

    top: int  # the first of them
    down: Taps  # that reach them
    across: tuple[Taps, ...]  # that reach their columns, for each phase of these


@functools.lru_cache(maxsize=1024)
def whole(kernel: Pair, padding: Pair, dilation: Pair) -> Part:
    """For y of a convolution: all of it, with all taps."""
    down, across = (
        tuple((t, t * d - p) for t in range(k)) for k, p, d in zip(kernel, padding, dilation)
    )
    return Part(0, down, (across,))


@functools.lru_cache(maxsize=1024)
def phases(
    kernel: Pair, size: Pair, stride: Pair, padding: Pair, dilation: Pair
) -> tuple[Part, ...]:
    """For gx, of this size: each phase of its pixels, with the taps that reach them from gy."""
    down, across = (
        tuple(
            tuple(
                (t, (first + p - t * d) // s) for t in range(k) if (first + p - t * d) % s == 0
            )
            for first in range(min(s, n))
        )
        for k, n, s, p, d in zip(kernel, size, stride, padding, dilation)
    )  # fmt: skip
    return tuple(Part(top, taps, across) for top, taps in enumerate(down))


class Plan(NamedTuple):
    """What ``correlate`` needs to know of a part of y, and only shapes tell.

    Numba lets threads have it, as long as no tuple is in it.
    """

    first_row: int  # of the weights; those before it are other parts'
    top: int  # the first of y's rows ...
    apart: int  # ... and how far it is from each to the next
    OH: int  # so many rows
    OW: int  # and columns of each phase
    SH: int
    SW: int
    down: Array  # how far from a window's first element the taps are
    right: Array  # for each phase, one after the other
    counts: Array  # how many of these each phase has
    tall: Array  # for each oh the first kh that sees something, and the one behind the last
    wide: Array  # for each phase and ow such kw
    I: int  # images that a task has side by side,
    R: int  # rows of their pixels,
    times: int  # and how many times so many images, one after the other
    above: int  # how far from the first window's first element a task's copy of x begins,
    left: int
    HP: int  # and how large it is
    WP: int
    turned: bool  # not rows but columns of the copy, and pixels of one column, are side by side


@functools.lru_cache(maxsize=1024)
def plans_of(
    x_shape: tuple[int, ...], weight_shape: tuple[int, ...], y_shape: tuple[int, ...],
    parts: tuple[Part, ...], stride: Pair, apart: int, itemsize: int, merge: bool, threads: int,
) -> tuple[tuple[Plan, ...], tuple[int, ...], Array]:  # fmt: skip
    """The plans of all parts that some tap reaches, the first rows of the others, and of the taps
    that some window sees kh KW + kw, part after part and phase after phase."""
    M, YH, YW = y_shape[1:]
    plans: list[Plan] = []
    taps: list[Array] = [np.empty(0, np.int64)]
    unseen, first_row = [], 0
    for part in parts:
        size = -(-(YH - part.top) // apart), -(-YW // len(part.across))
        th, down = _seen(part.down, size[0], stride[0], x_shape[2])
        columns = [_seen(t, size[1], stride[1], x_shape[3]) for t in part.across]
        across = [shifts for _, shifts in columns]
        if not th.size or not sum(map(len, across)):
            unseen.append(part.top)
            continue
        where = first_row, part.top, apart
        plans.append(
            _plan_of(x_shape, M, size, stride, where, down, across, itemsize, merge, threads)
        )
        taps += [(th[:, None] * weight_shape[3] + tw).reshape(-1) for tw, _ in columns]
        first_row = sum(map(len, taps)) * x_shape[1]
    return tuple(plans), tuple(unseen), np.concatenate(taps)


def _plan_of(
    x_shape: tuple[int, ...], M: int, size: Pair, stride: Pair, where: tuple[int, int, int],
    down: Array, across: list[Array], itemsize: int, merge: bool, threads: int,
) -> Plan:  # fmt: skip
    N, C, H, W = x_shape
    right, counts = np.concatenate(across), np.array([len(shifts) for shifts in across])
    tall = _spans(down, size[0], stride[0], H)
    wide = np.concatenate([_spans(shifts, size[1], stride[1], W) for shifts in across])
    span = int(np.ptp(down)), int(np.ptp(right))
    weights = down.size * right.size * C * tiles_of(M, itemsize)[1] * itemsize
    I, R, times = panel_of(N, C, size, stride, span, itemsize, merge, weights, threads)
    HP, WP = ((n - 1) * s + reach + 1 for n, s, reach in zip((R, size[1]), stride, span))
    # Neighbours in a tile should see the same taps: of 1 x KW filters, pixels of one column do.
    alone = len(across) == down.size == stride[0] == I == 1
    turned = alone and right.size > 1 and R <= 4 * LINE
    taps = down, right, counts, tall, wide
    copy = int(down.min()), int(right.min()), HP, WP
    return Plan(*where, *size, *stride, *taps, I, R, times, *copy, turned)


def _seen(taps: Taps, out: int, step: int, n: int) -> tuple[Array, Array]:
    """Of the taps along one axis, and how far from a window's first element they are, those that
    one of ``out`` windows has inside an image of n."""
    which, shifts = np.array(taps, np.int64).reshape(-1, 2).T
    counts = looks_inside(shifts, out, step, n)
    return which[counts > 0], shifts[counts > 0]


def _spans(shifts: Array, out: int, step: int, n: int) -> Array:
    """For each of ``out`` windows, the first tap that is inside an image of n and the one behind
    the last, flat; all taps where none is."""
    if not shifts.size:
        return np.zeros(2 * out, np.int64)
    inside = np.arange(out)[:, None] * step + shifts
    inside = (inside >= 0) & (inside < n)
    inside |= ~inside.any(1, keepdims=True)
    first = inside.argmax(1)
    return np.stack([first, first + inside.sum(1)], 1).reshape(-1)


def panel_of(
    N: int, C: int, size: Pair, stride: Pair, span: Pair, itemsize: int, merge: bool, weights: int,
    threads: int,
) -> tuple[int, int, int]:  # fmt: skip
    """``Plan``'s I, R and times: small images side by side, of large ones bands that fit into
    cache. weights: bytes of them."""
    OH, OW = size
    some = -(-N // -(-N // ROWS))
    # Where they do not fill the rows of a tile, it is only that tiles be full.
    I = some if merge and OH * OW < SMALL and (some % ROWS == 0 or OH * OW % ROWS > 0) else 1
    row_bytes = C * ((OW - 1) * stride[1] + span[1] + 1) * I * itemsize

    def rows_in(band: int) -> int:
        return (band // row_bytes - span[0] - 1) // stride[0] + 1

    rows = rows_in(max(BAND, min(weights // 2, LONGEST_BAND)))
    # Bands overlap: short ones would mostly be copies of each other.
    rows = max(rows, min(max(2 * span[0], 6), rows_in(LONGEST_BAND)), 1)
    if threads > 1:
        bands = -(-2 * threads // -(-N // I))  # tasks enough for all threads ...
        least = -(-64 // (OW * I))  # ... if there are pixels enough
        rows = min(rows, max(-(-OH // bands), least))
    rows = min(rows, OH)
    rows = -(-OH // -(-OH // rows))
    # Tables of places take as long as some hundred pixels: several images use the same.
    times = max(1, N // (SHARES * threads)) if I == 1 and rows == OH else 1
    return I, rows, times


def workspace_bytes(
    N: int, C: int, M: int, kernel: Pair, size: Pair, stride: Pair, dilation: Pair, itemsize: int,
    groups: int,
) -> int:  # fmt: skip
    """Bytes of packed weights, and of the bands that ``forward`` holds per thread."""
    span = (kernel[0] - 1) * dilation[0], (kernel[1] - 1) * dilation[1]
    wide = (size[1] - 1) * stride[1] + span[1] + 1
    threads, merge = backend.get_num_threads(), groups == 1
    columns = tiles_of(M, itemsize)[1]
    weights = groups * math.prod(kernel) * C * columns * itemsize
    shape = N, C, size, stride, span, itemsize, merge, weights // groups, threads
    I, R, _ = panel_of(*shape)
    return weights + C * ((R - 1) * stride[0] + span[0] + 1) * wide * I * itemsize * threads
