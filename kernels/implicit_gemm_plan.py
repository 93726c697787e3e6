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

Panel: TypeAlias = tuple[int, int, int]  # images side by side, rows, and how often that


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
    """What a call needs to know and only its shapes tell."""

    taps: Array  # kh KW + kw of those that some window sees, phase after phase
    down: Array  # how far from a window's first element they are
    right: Array  # for each phase, one after the other
    counts: Array  # how many of these each phase has
    tall: Array  # for each oh the first kh that sees something, and the one behind the last
    wide: Array  # for each phase and ow such kw
    panel: Panel


@functools.lru_cache(maxsize=1024)
def plan_of(
    x_shape: tuple[int, ...], KW: int, M: int, size: Pair, part: Part, stride: Pair, itemsize: int,
    merge: bool, threads: int,
) -> Plan | None:  # fmt: skip
    """None if no tap sees anything."""
    N, C, H, W = x_shape
    th, down = _seen(part.down, size[0], stride[0], H)
    columns = [_seen(taps, size[1], stride[1], W) for taps in part.across]
    right = np.concatenate([shifts for _, shifts in columns])
    if not th.size or not right.size:
        return None
    tall = _spans(down, size[0], stride[0], H)
    wide = np.concatenate([_spans(shifts, size[1], stride[1], W) for _, shifts in columns])
    span = int(down.max() - down.min()), int(right.max() - right.min())
    weights = th.size * right.size * C * tiles_of(M, itemsize)[1] * itemsize
    panel = panel_of(N, C, size, stride, span, itemsize, merge, weights, threads)
    taps = np.concatenate([(th[:, None] * KW + tw).reshape(-1) for tw, _ in columns])
    counts = np.array([len(tw) for tw, _ in columns])
    return Plan(taps, down, right, counts, tall, wide, panel)


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
) -> Panel:  # fmt: skip
    """(images, rows, times): small images side by side, large ones in bands that fit into cache.
    weights: bytes of them."""
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
