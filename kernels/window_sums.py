"""Sums over the windows of a kernel: of every plane, first down the columns, then across.

What ``pool._sum_ranges`` computes for any ranges, faster for those of a kernel. Rows of images are
often shorter than a few vectors, so a plane with its padding is taken as one long row: windows that
are neighbours read neighbours, and those that run on into the next row are left out at the end.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np

from .backend import Array
from .geometry import Pair
from .jit import kernel, prange, uint


class Window(NamedTuple):
    """Window i covers i S - P to i S - P + K, as far as that is inside."""

    K: int
    S: int
    P: int


def window_of(first: Array, last: Array, size: int) -> Window | None:
    """The kernel whose windows these ranges of 0:size are, or None."""
    return _window_of(first.astype(np.int64).tobytes(), last.astype(np.int64).tobytes(), size)


@functools.lru_cache(256)
def _window_of(first: bytes, last: bytes, size: int) -> Window | None:
    start, stop = np.frombuffer(first, np.int64), np.frombuffer(last, np.int64)
    i = np.arange(len(start))
    K = int((stop - start).max())
    whole = int((stop - start).argmax())
    steps = {1, *np.diff(start).tolist(), *np.diff(stop).tolist()}
    for S in sorted(s for s in steps if s > 0):
        P = whole * S - int(start[whole])
        begin = i * S - P
        inside = np.maximum(begin, 0), np.minimum(begin + K, size)
        if 0 <= P < K and all(map(np.array_equal, (start, stop), inside)):
            return Window(K, S, P)
    return None


def _sum_windows_numpy(x: Array, y: Array, K: Pair, S: Pair, P: Pair, divisor: float) -> None:
    _, H, W = x.shape
    OH, OW = y.shape[1:]
    high, wide = (OH - 1) * S[0] + K[0], (OW - 1) * S[1] + K[1]
    around = [(0, 0), *((p, max(0, n - p - m)) for p, n, m in zip(P, (high, wide), (H, W)))]
    padded = np.pad(x, around)[:, :high, :wide]
    down, across = ((n - 1) * s + 1 for n, s in zip((OH, OW), S))
    column = np.sum([padded[:, h : h + down : S[0]] for h in range(K[0])], axis=0)
    total = np.sum([column[:, :, w : w + across : S[1]] for w in range(K[1])], axis=0)
    np.divide(total, x.dtype.type(divisor), out=y)


@kernel(numpy=_sum_windows_numpy)
def sum_windows(x: Array, y: Array, K: Pair, S: Pair, P: Pair, divisor: float) -> None:
    """y[n, oh, ow] = the sum of x[n, oh SH - PH + kh, ow SW - PW + kw] over kh, kw, / divisor.

    x (planes, H, W), 0 outside, floating, as is the divisor. Cost: KH + KW additions per element
    of the padded plane, with a stride KH + SW KW per element of the result.
    """
    planes, H, W = x.shape
    _, OH, OW = y.shape
    KH, KW = K
    SH, SW = S
    PH, PW = P
    high, wide = (OH - 1) * SH + KH, (OW - 1) * SW + KW
    inside = min(W, wide - PW)
    rows = OH if SH == 1 else 1  # of windows that are neighbours in memory
    run = rows * wide
    several = max(1, min(16, planes // 64))
    for block in prange((planes + several - 1) // several):
        padded = np.zeros(high * wide, x.dtype)
        column = np.empty(run, x.dtype)
        total = np.empty(run, x.dtype)
        for n in range(block * several, min(planes, (block + 1) * several)):
            for h in range(PH, min(high, H + PH)):
                to = uint(h * wide + PW)
                for w in range(uint(inside)):
                    padded[to + w] = x[n, uint(h - PH), w]
            for start in range(0, OH, rows):
                first = start * SH * wide
                for i in range(uint(run)):
                    column[i] = padded[uint(first) + i]
                for kh in range(1, KH):
                    tap = uint(first + kh * wide)
                    for i in range(uint(run)):
                        column[i] += padded[tap + i]
                windows = uint(run - KW + 1)
                for i in range(windows):
                    total[i] = column[i]
                for kw in range(1, KW):
                    for i in range(windows):
                        total[i] += column[uint(kw) + i]
                for oh in range(rows):
                    row = uint(oh * wide)
                    for ow in range(uint(OW)):
                        y[n, uint(start + oh), ow] = total[row + ow * uint(SW)] / divisor
