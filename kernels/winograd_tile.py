"""Winograd's transforms of one tile, and of all tiles of some rows; see ``winograd``.

Each is written once, for numbers; ``matrices`` applies it to the columns of a unit matrix, and the
kernels to vectors, whose neighbours are channels.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .backend import Array
from .gemm import fill
from .geometry import Pair
from .im2col import valid
from .jit import inline
from .microkernel import VECTOR_BYTES
from .simd import load, store, turn

P, Q = 3 / 4, 3 / 2  # the points of T = 4 are 0, P, -P, Q, -Q and infinity
P2, Q2 = P * P, Q * Q
# What makes the interpolation right: 1 / product of the differences to the other points.
G0, GP, GQ = 1 / (P2 * Q2), 1 / (2 * P2 * (P2 - Q2)), 1 / (2 * Q2 * (Q2 - P2))


def data_2(d0: Any, d1: Any, d2: Any, d3: Any) -> tuple[Any, ...]:
    """B^T d for T = 2."""
    return d0 - d2, d1 + d2, d2 - d1, d3 - d1


def data_4(d0: Any, d1: Any, d2: Any, d3: Any, d4: Any, d5: Any) -> tuple[Any, ...]:
    """B^T d for T = 4: each row is the product of (x - q) over all points q but one."""
    p, q = d4 - Q2 * d2, d4 - P2 * d2
    odd_p, odd_q = P * (d3 - Q2 * d1), Q * (d3 - P2 * d1)
    first = P2 * Q2 * d0 - (P2 + Q2) * d2 + d4
    last = P2 * Q2 * d1 - (P2 + Q2) * d3 + d5
    return first, p + odd_p, p - odd_p, q + odd_q, q - odd_q, last


def filter_2(g0: Any, g1: Any, g2: Any) -> tuple[Any, ...]:
    """G g for T = 2."""
    even, odd = 0.5 * (g0 + g2), 0.5 * g1
    return g0, even + odd, even - odd, g2


def filter_4(g0: Any, g1: Any, g2: Any) -> tuple[Any, ...]:
    """G g for T = 4: the polynomial g at each point."""
    even_p, odd_p = GP * g0 + (GP * P2) * g2, (GP * P) * g1
    even_q, odd_q = GQ * g0 + (GQ * Q2) * g2, (GQ * Q) * g1
    return G0 * g0, even_p + odd_p, even_p - odd_p, even_q + odd_q, even_q - odd_q, g2


def result_2(m0: Any, m1: Any, m2: Any, m3: Any) -> tuple[Any, ...]:
    """A^T m for T = 2."""
    return m0 + m1 + m2, m1 - m2 + m3


def result_4(m0: Any, m1: Any, m2: Any, m3: Any, m4: Any, m5: Any) -> tuple[Any, ...]:
    """A^T m for T = 4: the sums of m times the powers 0..3 of each point."""
    even_p, odd_p, even_q, odd_q = m1 + m2, m1 - m2, m3 + m4, m3 - m4
    return (
        m0 + even_p + even_q,
        P * odd_p + Q * odd_q,
        P2 * even_p + Q2 * even_q,
        (P2 * P) * odd_p + (Q2 * Q) * odd_q + m5,
    )


def spread_2(g0: Any, g1: Any) -> tuple[Any, ...]:
    """A g for T = 2."""
    return g0, g0 + g1, g0 - g1, g1


def spread_4(g0: Any, g1: Any, g2: Any, g3: Any) -> tuple[Any, ...]:
    """A g for T = 4: the polynomial g at each point."""
    even_p, odd_p = g0 + P2 * g2, P * g1 + (P2 * P) * g3
    even_q, odd_q = g0 + Q2 * g2, Q * g1 + (Q2 * Q) * g3
    return g0, even_p + odd_p, even_p - odd_p, even_q + odd_q, even_q - odd_q, g3


def taps_2(u0: Any, u1: Any, u2: Any, u3: Any) -> tuple[Any, ...]:
    """G^T u for T = 2."""
    even = 0.5 * (u1 + u2)
    return u0 + even, 0.5 * (u1 - u2), even + u3


def taps_4(u0: Any, u1: Any, u2: Any, u3: Any, u4: Any, u5: Any) -> tuple[Any, ...]:
    """G^T u for T = 4."""
    even_p, odd_p, even_q, odd_q = u1 + u2, u1 - u2, u3 + u4, u3 - u4
    return (
        G0 * u0 + GP * even_p + GQ * even_q,
        (GP * P) * odd_p + (GQ * Q) * odd_q,
        (GP * P2) * even_p + (GQ * Q2) * even_q + u5,
    )


_data_2, _data_4 = inline(data_2), inline(data_4)
_filter_2, _filter_4 = inline(filter_2), inline(filter_4)
_result_2, _result_4 = inline(result_2), inline(result_4)
_spread_2, _spread_4 = inline(spread_2), inline(spread_4)
_taps_2, _taps_4 = inline(taps_2), inline(taps_4)


def matrices(tile: int) -> tuple[Array, Array, Array]:
    """B^T (T+2, T+2), G (T+2, 3), A^T (T, T+2)."""
    size = tile + 2
    data, taps, result = (data_2, filter_2, result_2) if tile == 2 else (data_4, filter_4, result_4)
    B, G, A = data(*np.eye(size)), taps(*np.eye(3)), result(*np.eye(size))
    return np.array(B), np.array(G), np.array(A)


@inline
def data_pass(tile: int, a: Array, s: int, step: int, to: Array, t: int, t_step: int) -> None:
    """The vectors to[t + i t_step] = B^T of the vectors a[s + i step]."""
    d0, d1, d2 = load(a, s), load(a, s + step), load(a, s + 2 * step)
    d3 = load(a, s + 3 * step)
    if tile == 2:
        v0, v1, v2, v3 = _data_2(d0, d1, d2, d3)
    else:
        d4, d5 = load(a, s + 4 * step), load(a, s + 5 * step)
        v0, v1, v2, v3, v4, v5 = _data_4(d0, d1, d2, d3, d4, d5)
        store(to, t + 4 * t_step, v4)
        store(to, t + 5 * t_step, v5)
    store(to, t, v0)
    store(to, t + t_step, v1)
    store(to, t + 2 * t_step, v2)
    store(to, t + 3 * t_step, v3)


@inline
def filter_pass(tile: int, a: Array, s: int, step: int, to: Array, t: int, t_step: int) -> None:
    """The vectors to[t + i t_step] = G of the vectors a[s + i step]."""
    g0, g1, g2 = load(a, s), load(a, s + step), load(a, s + 2 * step)
    if tile == 2:
        u0, u1, u2, u3 = _filter_2(g0, g1, g2)
    else:
        u0, u1, u2, u3, u4, u5 = _filter_4(g0, g1, g2)
        store(to, t + 4 * t_step, u4)
        store(to, t + 5 * t_step, u5)
    store(to, t, u0)
    store(to, t + t_step, u1)
    store(to, t + 2 * t_step, u2)
    store(to, t + 3 * t_step, u3)


@inline
def result_pass(tile: int, a: Array, s: int, step: int, to: Array, t: int, t_step: int) -> None:
    """The vectors to[t + i t_step] = A^T of the vectors a[s + i step]."""
    m0, m1, m2 = load(a, s), load(a, s + step), load(a, s + 2 * step)
    m3 = load(a, s + 3 * step)
    if tile == 2:
        y0, y1 = _result_2(m0, m1, m2, m3)
    else:
        m4, m5 = load(a, s + 4 * step), load(a, s + 5 * step)
        y0, y1, y2, y3 = _result_4(m0, m1, m2, m3, m4, m5)
        store(to, t + 2 * t_step, y2)
        store(to, t + 3 * t_step, y3)
    store(to, t, y0)
    store(to, t + t_step, y1)


@inline
def spread_pass(tile: int, a: Array, s: int, step: int, to: Array, t: int, t_step: int) -> None:
    """The vectors to[t + i t_step] = A of the vectors a[s + i step]."""
    g0, g1 = load(a, s), load(a, s + step)
    if tile == 2:
        z0, z1, z2, z3 = _spread_2(g0, g1)
    else:
        g2, g3 = load(a, s + 2 * step), load(a, s + 3 * step)
        z0, z1, z2, z3, z4, z5 = _spread_4(g0, g1, g2, g3)
        store(to, t + 4 * t_step, z4)
        store(to, t + 5 * t_step, z5)
    store(to, t, z0)
    store(to, t + t_step, z1)
    store(to, t + 2 * t_step, z2)
    store(to, t + 3 * t_step, z3)


@inline
def taps_pass(tile: int, a: Array, s: int, step: int, to: Array, t: int, t_step: int) -> None:
    """The vectors to[t + i t_step] = G^T of the vectors a[s + i step]."""
    u0, u1, u2 = load(a, s), load(a, s + step), load(a, s + 2 * step)
    u3 = load(a, s + 3 * step)
    if tile == 2:
        w0, w1, w2 = _taps_2(u0, u1, u2, u3)
    else:
        u4, u5 = load(a, s + 4 * step), load(a, s + 5 * step)
        w0, w1, w2 = _taps_4(u0, u1, u2, u3, u4, u5)
    store(to, t, w0)
    store(to, t + t_step, w1)
    store(to, t + 2 * t_step, w2)


@inline(forceinline=True)
def both_ways(
    one_pass: Any, tile: int, before: int, after: int, a: Array, s: int, row: int, column: int,
    work: int, to: Array, t: int, t_row: int, t_column: int,
) -> None:  # fmt: skip
    """X d X^T of a square d of before x before vectors: X along the columns, then along the rows.

    Vector (i, j) of d is a[s + i row + j column], of the result to[t + i t_row + j t_column]. a has
    room for what is between at ``work``.
    """
    lanes = VECTOR_BYTES // a.itemsize
    for j in range(before):
        one_pass(tile, a, s + j * column, row, a, work + j * lanes, before * lanes)
    for i in range(after):
        one_pass(tile, a, work + i * before * lanes, lanes, to, t + i * t_row, t_column)


@inline(forceinline=True)
def tiles_of(
    one_pass: Any, overlap: int, x: Array, C: int, H: int, W: int, padding: Pair, tile: int, c: int,
    r0: int, r1: int, TH: int, TW: int, to: Array, v: int, v_row: int, v_step: int,
    a: Array, work: int, s: int,
) -> None:  # fmt: skip
    """one_pass, both ways, of the rows of tiles r0 to r1, and of a vector of channels from c.

    x: (N, C, H, W), flat; row of tiles r is row r % TH of image r // TH; a tile reads T + overlap
    pixels each way. Number e of tile t goes to to[v + e v_step + t v_row]. a has room at ``work``,
    and for the images' rows at ``s``.
    """
    lanes = VECTOR_BYTES // x.itemsize
    channels = min(lanes, C - c)
    WP = TW * tile + overlap  # pixels that a row of tiles reads
    left, right = valid(-padding[1], 1, W, 0, WP)
    row = WP * lanes
    r = r0
    while r < r1:
        n, th = r // TH, r % TH
        rows = min(TH - th, r1 - r)
        top = th * tile - padding[0]
        for i in range(rows * tile + overlap):
            h = top + i
            inside = right if 0 <= h < H else left
            fill(a, s + i * row, 0, left * lanes)
            source = ((n * C + c) * H + h) * W - padding[1]
            for j in range(left, inside, lanes):
                at = s + i * row + j * lanes
                turn(x, source + j, H * W, channels, a, at, lanes, min(lanes, inside - j))
            fill(a, s + i * row + inside * lanes, 0, (WP - inside) * lanes)
        for i in range(rows):
            for tw in range(TW):
                t = v + ((r - r0 + i) * TW + tw) * v_row
                both_ways(
                    one_pass, tile, tile + overlap, tile + 2, a, s + (i * row + tw * lanes) * tile,
                    row, lanes, work, to, t, (tile + 2) * v_step, v_step,
                )  # fmt: skip
        r += rows
