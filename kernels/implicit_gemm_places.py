"""Where a task of ``implicit_gemm`` reads and writes, and which taps count: its tables."""

from __future__ import annotations

from .backend import Array
from .jit import inline


@inline
def extent(shifts: Array) -> tuple[int, int]:
    """The least and the largest of them."""
    low, high = shifts[0], shifts[0]
    for i in range(1, shifts.size):
        low, high = min(low, shifts[i]), max(high, shifts[i])
    return low, high


@inline
def lead(
    steps: Array, C: int, plane: int, I: int, down: Array, right: Array, counts: Array, top: int,
    left: int, to_lower: int, to_right: int,
) -> None:  # fmt: skip
    """steps[s, kh, kw, c] = from channel 0 at (top, left) to channel c at down[kh] and
    right[s][kw], in planes that have I images side by side."""
    k, before = 0, 0
    for KW in counts:
        for d in down:
            for kw in range(before, before + KW):
                tap = (d - top) * to_lower + (right[kw] - left) * to_right
                for c in range(C):
                    steps[k] = (c * plane + tap) * I
                    k += 1
        before += KW


@inline
def aim(goals: Array, j: int, row: int, first: int, S: int, W: int) -> None:
    """goals[j + s] = the place of column first + s, for S phases s, if it is one of W."""
    for s in range(min(S, W - first)):
        goals[j + s] = row + first + s


@inline
def look(
    spans: Array, s: int, first: int, last: int, inner: int, turned: bool, h0: int, tall: Array,
    wide: Array, p: int, KH: int, KW: int,
) -> None:  # fmt: skip
    """spans[s : s + 4] = the taps down, and those across, that pixels first to last see; ``inner``
    of these are in a row, or in a column if turned. wide: from p on."""
    vertical, across = (0, KH), (0, KW)
    i, j = first // inner, last // inner
    if turned:
        across = _both(wide, p, i, j)
    else:
        vertical = _both(tall, 0, h0 + i, h0 + j)
        if i == j:
            across = _both(wide, p, first % inner, last % inner)
    spans[s], spans[s + 1] = vertical
    spans[s + 2], spans[s + 3] = across


@inline
def _both(seen: Array, p: int, i: int, j: int) -> tuple[int, int]:
    """Taps from the first to behind the last that sees something from pixel i, j or between."""
    i, j = p + 2 * i, p + 2 * j
    return min(seen[i], seen[j]), max(seen[i + 1], seen[j + 1])
