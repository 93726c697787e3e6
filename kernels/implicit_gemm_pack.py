"""What ``implicit_gemm`` reads as vectors: numbers of neighbouring channels, side by side.

Of the weights for each tap, and of gy, for the weights' gradient, for each pixel.
"""

from __future__ import annotations

import numpy as np

from .backend import Array
from .gemm import fill
from .im2col import take
from .jit import inline, kernel, prange
from .microkernel import HALF, VECTOR_BYTES
from .simd import load, store, transpose, turn
from .tiles import columns_of, views_of

MANY = 6  # numbers side by side from which on squares of them are turned


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
    T, blocks = cuts.size, (C + 2 * h - 1) // (2 * h)
    for task in prange(G * T * blocks):
        g, tile, c0 = task // (T * blocks), task // blocks % T, task % blocks * 2 * h
        left = columns_of(cuts, tile, h)
        width = cuts[tile] * h
        square = np.empty(4 * h * h * all_taps, weight.dtype)
        side = min(2 * h, C - c0)
        run = side * all_taps
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
            elif turned:  # squares of numbers are: (c, m, tap) to (m, tap, c) to (tap, c, m)
                for q in range(0, some * all_taps, 2 * h):
                    squares = min(2 * h, some * all_taps - q)
                    turn(wf, source + q, c_step, side, square, q * 2 * h, 2 * h, squares)
                for i in range(taps.size):
                    s, t = taps[i] * 2 * h, to + (i * C + c0) * width
                    transpose(square, s, all_taps * 2 * h, some, w, t, width, side)
            else:  # (m, c, tap) to (c, tap, m)
                c, tap = c0, 0
                for q in range(0, run, 2 * h):
                    squares = min(2 * h, run - q)
                    turn(wf, source + q, m_step, some, square, 0, 2 * h, squares)
                    for j in range(squares):
                        if place[tap] >= 0:
                            t = to + (place[tap] * C + c) * width
                            store(w, t, load(square, j * 2 * h))
                        tap += 1
                        if tap == all_taps:
                            c, tap = c + 1, 0


@inline
def pack_planes(
    gy: Array, s: int, plane: int, M: int, first: int, last: int, to: Array, t: int, step: int,
    width: int,
) -> None:  # fmt: skip
    """to[t + p step + m] = gy[s + m plane + p] for pixels first <= p < last and channels m < M; up
    to the width, what whole vectors have beyond is written, too."""
    lanes = VECTOR_BYTES // gy.itemsize
    for m in range(0, M, lanes):
        some = min(lanes, M - m)
        for p in range(first, last, lanes):
            source, goal, squares = s + m * plane + p, t + p * step + m, min(lanes, last - p)
            if m + lanes <= width:
                turn(gy, source, plane, some, to, goal, step, squares)
            else:
                for j in range(squares):
                    for i in range(some):
                        to[goal + j * step + i] = gy[source + i * plane + j]
