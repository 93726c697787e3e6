"""Convolution with 3x3 filters by Winograd's algorithm: fewer multiplications than pixels and taps.

A tile of T x T outputs (T = 2 or 4) of one channel sees T+2 x T+2 inputs d, and costs 9 T^2
multiplications by the definition. Seen as a product of polynomials, evaluated at T+1 points and at
infinity, it costs one multiplication per input:

    y = A^T [ (G g G^T) * (B^T d B) ] A        * is element by element, (T+2)^2 numbers

which is 2.25 times fewer for T = 2, and 4 times fewer for T = 4. The transforms B, G, A are sums of
a few terms, done once per input channel, filter, and output channel; the products in between,
summed over the channels, are matrix products, one for each of the E = (T+2)^2 numbers:

    V[e, t, c]  of all tiles t of the input       ``data``
    U[e, c, f]  of all filters                    ``transform_weight``
    M[e, t, f] = sum over c of V[e, t, c] U[e, c, f]
    y           from M                            ``result``

Some rows of tiles at a time: V and M of them stay in a core's cache. In all transforms, neighbours
in a vector are channels: images are transposed on their way in and out, 16 x 16 numbers at once.

The price is precision: numbers of different size are added up and cancel later. The points are
0, +-3/4, +-3/2 and infinity, whose error is a sixth of that of the usual 0, +-1, +-2 (and whose
constants are exact in binary); see ``error_bound``. And NaN or infinity in a pixel reaches every
output whose tile sees it, not only the nine under its filter.

Sources: S. Winograd, Arithmetic Complexity of Computations, 1980; A. Lavin and S. Gray, Fast
Algorithms for Convolutional Neural Networks, arXiv:1509.09308; on points: B. Barabasz et al., Error
Analysis and Improving the Accuracy of Winograd Convolution for DNNs, arXiv:1803.10986.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from . import backend
from .backend import Array, contiguous, empty
from .geometry import Pair
from .im2col import windows
from .jit import inline, kernel, prange
from .microkernel import VECTOR_BYTES
from .simd import LOW, TALL, WIDE, at_least, load, low_product, store, tall_product, transpose, turn
from .winograd_tile import both_ways, data_pass, filter_pass, matrices, result_pass, tiles_of
from .winograd_weight import grad_weight

__all__ = [
    "error_bound", "forward", "grad_input", "grad_weight", "matrices", "transform_weight",
    "workspace_bytes",
]  # fmt: skip


TILES = 72  # at a time, whose V and M stay near
FEW = 160  # tiles: for no more than these, each sliver of U is made just before it is used
ROOM = 15 << 20  # bytes of V, M and U beyond which fewer tiles are taken at a time
CHANNELS = 64  # at a time, of a sliver of U that is made: it stays in L2


def transform_weight_numpy(
    weight: Array, u: Array, tile: int, turned: bool, scratch: Array | None = None
) -> None:
    """The same in whole-array NumPy."""
    G = matrices(tile)[1].astype(u.dtype)
    if turned:
        weight = weight.swapaxes(0, 1)[:, :, ::-1, ::-1]
    F, C = weight.shape[:2]
    slivers, E, _, wide = u.shape
    all_filters = np.zeros((slivers * wide, C, 3, 3), u.dtype)
    all_filters[:F] = weight
    U = np.einsum("ik,fckl,jl->ijcf", G, all_filters, G, optimize=True)
    u[:, :, :C] = U.reshape(E, C, slivers, wide).transpose(2, 0, 1, 3)


@kernel(numpy=transform_weight_numpy)
def filters(weight: Array, u: Array, tile: int, turned: bool, scratch: Array) -> None:
    """u[f // wide, e, c, f % wide] = (G g G^T)[e] with the taps g of weight[f, c], or, ``turned``,
    those of weight[c, f] turned by 180 degrees, as the gradient of the input needs them."""
    slivers, E, rows, wide = u.shape
    C = weight.shape[0] if turned else weight.shape[1]
    workers, room = scratch.shape
    uf, a = u.reshape(u.size), scratch.reshape(scratch.size)
    blocks = (C + CHANNELS - 1) // CHANNELS
    for worker in prange(workers):
        for task in range(worker, slivers * blocks, workers):
            sliver, c = task // blocks, task % blocks * CHANNELS
            end = min(c + CHANNELS, C)
            to = sliver * E * rows * wide
            _filters_of(weight, turned, tile, sliver, c, end, uf, to, rows * wide, a, worker * room)


@inline
def _filters_of(
    weight: Array, turned: bool, tile: int, sliver: int, c0: int, c1: int, to: Array, t: int,
    t_step: int, a: Array, work: int,
) -> None:  # fmt: skip
    """U of a sliver of filters, channels c0 to c1: number e of channel c to to[t + e t_step +
    c wide]. a has room at ``work`` for 9 + 3 (T+2) vectors."""
    lanes = VECTOR_BYTES // a.itemsize
    wide = WIDE * lanes
    w = weight.reshape(weight.size)
    F, C = (weight.shape[1], weight.shape[0]) if turned else (weight.shape[0], weight.shape[1])
    row, step = (9, F * 9) if turned else (C * 9, 9)  # from filter to filter, channel to channel
    order = -lanes if turned else lanes
    first = work + 8 * lanes if turned else work
    for v in range(0, wide, lanes):
        f = min(sliver * wide + v, F - 1)  # beyond the last, it is computed again
        count = min(lanes, F - f)
        for c in range(c0, c1):
            for k in range(0, 9, lanes):
                source, taps = f * row + c * step + k, min(lanes, 9 - k)
                turn(w, source, row, count, a, work + k * lanes, lanes, taps)
            both_ways(
                filter_pass, tile, 3, tile + 2, a, first, 3 * order, order, work + 9 * lanes,
                to, t + c * wide + v, (tile + 2) * t_step, t_step,
            )  # fmt: skip


def transform_weight(weight: Array, tile: int, turned: bool = False) -> Array:
    """U of a weight (F, C, 3, 3), for ``forward``; ``turned``: for ``grad_input``.

    (slivers, E, C | 1, wide): E numbers in the place of 9, for filters in slivers as wide as the
    products are. The row beyond an even C keeps the E numbers of a filter apart in a cache.
    """
    C = weight.shape[0] if turned else weight.shape[1]
    u = _no_filters(weight, tile, turned, C | 1)
    if weight.size:
        work = 9 + 3 * (tile + 2)
        scratch = empty((backend.get_num_threads(), work * VECTOR_BYTES // u.itemsize), u)
        filters(contiguous(weight), u, tile, turned, scratch)
    return u


def _no_filters(weight: Array, tile: int, turned: bool, rows: int) -> Array:
    """Room for U, with this many rows of channels."""
    F = weight.shape[1] if turned else weight.shape[0]
    wide = WIDE * VECTOR_BYTES // weight.itemsize
    return empty((-(-F // wide), (tile + 2) ** 2, rows, wide), weight, op="conv2d")


@inline
def _result(
    a: Array, m: int, m_row: int, m_step: int, work: int, s: int, tile: int, r0: int, r1: int,
    TH: int, TW: int, bias: Array, relu: bool, y: Array, F: int, OH: int, OW: int, f: int,
) -> None:  # fmt: skip
    """y of the rows of tiles r0 to r1, and of a vector of filters from f, from M[e, t, f] at
    a[m + e m_step + t m_row]; y: (N, F, OH, OW), flat."""
    lanes = VECTOR_BYTES // a.itemsize
    filters = min(lanes, F - f)
    b = load(bias, f)
    for r in range(r0, r1):
        n, h = r // TH, r % TH * tile
        # The pixels of all rows are neighbours, as in y. Where tiles reach beyond the last column,
        # they spoil the first ones of the next row, which are written after that.
        for tw in range(TW - 1, -1, -1):
            both_ways(
                result_pass, tile, tile + 2, tile,
                a, m + ((r - r0) * TW + tw) * m_row, (tile + 2) * m_step, m_step, work,
                a, s + tw * tile * lanes, OW * lanes, lanes,
            )  # fmt: skip
        run = min(tile, OH - h) * OW
        for j in range(run):
            pixel = load(a, s + j * lanes) + b
            store(a, s + j * lanes, at_least(pixel, 0) if relu else pixel)
        to = ((n * F + f) * OH + h) * OW
        if run >= lanes:
            for j in range(0, run, lanes):
                k = min(j, run - lanes)
                transpose(a, s + k * lanes, lanes, lanes, y, to + k, OH * OW, filters)
        else:
            for i in range(filters):
                for j in range(run):
                    y[to + i * OH * OW + j] = a[s + j * lanes + i]


@inline
def _multiply(
    a: Array, v: int, v_row: int, v_step: int, C: int, b: Array, u: int, u_step: int,
    m: int, m_step: int, E: int, tiles: int, more: bool,
) -> None:  # fmt: skip
    """M[e, t, :] (+)= sum over c < C of V[e, t, c] U[e, c, :], at a[m], a[v], and b[u]; ``more``:
    added to what is there."""
    wide = WIDE * VECTOR_BYTES // a.itemsize
    for e in range(E):
        t = 0
        while t < tiles:
            p, q, to = v + e * v_step + t * v_row, u + e * u_step, m + e * m_step + t * wide
            left = tiles - t
            if left >= TALL and left != 2 * LOW:
                tall_product(a, p, v_row, 1, b, q, wide, C, a, to, wide, more)
                t += TALL
            else:
                low_product(a, p, v_row, 1, b, q, wide, C, a, to, wide, more)
                t += LOW


def correlate_numpy(
    x: Array, weight: Array, u: Array, bias: Array, y: Array, padding: Pair, tile: int,
    turned: bool, relu: bool, rows: int, scratch: Array,
) -> None:  # fmt: skip
    """The same in whole-array NumPy."""
    if u.size == 0:
        u = _no_filters(weight, tile, turned, x.shape[1])
        transform_weight_numpy(weight, u, tile, turned)
    N, C = x.shape[:2]
    F, OH, OW = y.shape[1:]
    B, _, A = (m.astype(x.dtype) for m in matrices(tile))
    TH, TW, size = -(-OH // tile), -(-OW // tile), tile + 2
    # Every tile is what a 4x4 or 6x6 filter would see, moved by T pixels.
    d = windows(x, (size, size), (TH, TW), (tile, tile), padding, (1, 1))
    V = np.einsum("ik,ncklhw,jl->ijcnhw", B, d, B, optimize=True).reshape(size**2, C, -1)
    M = u[:, :, :C].transpose(1, 0, 3, 2).reshape(size**2, -1, C)[:, :F] @ V
    M = M.reshape(size, size, F, N, TH, TW)
    tiles = np.einsum("ik,klfnhw,jl->nfhiwj", A, M, A, optimize=True)
    y[...] = tiles.reshape(N, F, TH * tile, TW * tile)[:, :, :OH, :OW] + bias[:F, None, None]
    if relu:
        np.maximum(y, 0, out=y)


@kernel(numpy=correlate_numpy, parallel_above=1 << 13)
def correlate(
    x: Array, weight: Array, u: Array, bias: Array, y: Array, padding: Pair, tile: int,
    turned: bool, relu: bool, rows: int, scratch: Array,
) -> None:  # fmt: skip
    """y = the convolution of x with the filters, plus bias, some ``rows`` of tiles at a time.

    u: U of the weight, or, without rows of channels, it is made from the weight as it is needed.
    bias: as many as U has filters. scratch: one row per thread, for V, M, some pixels, and U of a
    sliver.
    """
    N, C, H, W = x.shape
    F, OH, OW = y.shape[1:]
    slivers, E, known, wide = u.shape
    depth = C if known > 0 else min(C, CHANNELS)
    u_step = (depth | 1) * wide
    lanes = wide // WIDE
    TH, TW = (OH + tile - 1) // tile, (OW + tile - 1) // tile
    chunks = (N * TH + rows - 1) // rows
    workers, room = scratch.shape
    # Where there are fewer chunks than threads, several make the same V, each for some filters.
    parts = min(slivers, (workers + chunks - 1) // chunks)
    xf, uf, yf = x.reshape(x.size), u.reshape(u.size), y.reshape(y.size)
    a = scratch.reshape(scratch.size)
    for worker in prange(workers):
        tasks = chunks * parts
        for task in range(worker * tasks // workers, (worker + 1) * tasks // workers):
            r0 = task // parts * rows
            r1 = min(r0 + rows, N * TH)
            tiles = _tiles_for((r1 - r0) * TW)
            v_row = _row_for(C, lanes)
            # Steps are odd numbers of vectors: powers of two would share few places in a cache.
            v_step, m_step = tiles * v_row + lanes, tiles * wide + lanes
            v = worker * room
            m = v + E * v_step
            work = m + E * m_step
            own_u = work + (E + 8) * lanes
            s = own_u if known > 0 else own_u + E * u_step
            for c in range(0, C, lanes):
                tiles_of(
                    data_pass, 2, xf, C, H, W, padding, tile, c, r0, r1, TH, TW,
                    a, v + c, v_row, v_step, a, work, s,
                )  # fmt: skip
            for sliver in range(task % parts, slivers, parts):
                if known > 0:
                    b = sliver * E * u_step
                    _multiply(a, v, v_row, v_step, C, uf, b, u_step, m, m_step, E, tiles, False)
                else:
                    for c in range(0, C, depth):
                        end, to = min(c + depth, C), own_u - c * wide
                        _filters_of(weight, turned, tile, sliver, c, end, a, to, u_step, a, work)
                        _multiply(
                            a, v + c, v_row, v_step, end - c, a, own_u, u_step, m, m_step, E,
                            tiles, c > 0,
                        )  # fmt: skip
                for f in range(sliver * wide, min((sliver + 1) * wide, F), lanes):
                    _result(
                        a, m + f % wide, wide, m_step, work, s, tile, r0, r1,
                        TH, TW, bias, relu, yf, F, OH, OW, f,
                    )  # fmt: skip


def tiles_for(n: int) -> int:
    """As many tiles as the blocks of a product can cover, at least n."""
    step = LOW // 2
    return max(LOW, (n + step - 1) // step * step)


def row_for(C: int, lanes: int) -> int:
    """From tile to tile in V: an odd number of vectors, as rows a power of two apart would share
    few places in a cache."""
    vectors = (C + lanes - 1) // lanes
    return (vectors + 1 - vectors % 2) * lanes


_tiles_for, _row_for = inline(tiles_for), inline(row_for)


def forward(
    x: Array, weight: Array, padding: Pair, bias: Array | None = None, tile: int = 4,
    relu: bool = False, u: Array | None = None, y: Array | None = None,
) -> Array:  # fmt: skip
    """conv2d of stride 1: y[n, f, oh, ow] = bias[f] + sum over c, kh, kw of
    weight[f, c, kh, kw] * x[n, c, oh + kh - PH, ow + kw - PW], x = 0 outside; ``relu``: max(y, 0).

    x (N, C, H, W), weight (F, C, 3, 3), y (N, F, H + 2 PH - 2, W + 2 PW - 2), float32 or float64.
    ``u``: ``transform_weight(weight, tile)``, where it is known already. ``y``: where to write.
    """
    return _correlate(x, weight, u, padding, bias, tile, False, relu, y)


def grad_input(
    gy: Array, weight: Array, x_shape: tuple[int, ...], padding: Pair, tile: int = 4,
    u: Array | None = None, gx: Array | None = None,
) -> Array:  # fmt: skip
    """The gradient of x (N, C, H, W): gy under the turned filters, the padding turned inside out.

    ``u``: ``transform_weight(weight, tile, turned=True)``, where it is known already. ``gx``: where
    to write.
    """
    around = 2 - padding[0], 2 - padding[1]
    return _correlate(gy, weight, u, around, None, tile, True, False, gx)


def _correlate(
    x: Array, weight: Array, u: Array | None, padding: Pair, bias: Array | None, tile: int,
    turned: bool, relu: bool, y: Array | None,
) -> Array:  # fmt: skip
    N, C, H, W = x.shape
    F = weight.shape[1] if turned else weight.shape[0]
    OH, OW = H + 2 * padding[0] - 2, W + 2 * padding[1] - 2
    if y is None:
        y = empty((N, F, OH, OW), x, op="conv2d")
    if y.size == 0 or C == 0:
        y[...] = 0 if bias is None else bias[:, None, None]
        return np.maximum(y, 0) if relu else y
    x, weight = contiguous(x), contiguous(weight)
    rows, few, room = _plan(N, C, F, OH, OW, tile, x.itemsize, u is not None)
    if u is None:
        u = _no_filters(weight, tile, turned, 0) if few else transform_weight(weight, tile, turned)
    all_bias = np.zeros(u.shape[0] * u.shape[3], x.dtype)
    if bias is not None:
        all_bias[:F] = bias
    scratch = empty((backend.get_num_threads(), room), x, op="conv2d")
    correlate(x, weight, u, all_bias, y, padding, tile, turned, relu, rows, scratch)
    return y


def _plan(
    N: int, C: int, F: int, OH: int, OW: int, tile: int, itemsize: int, known: bool
) -> tuple[int, bool, int]:
    """Rows of tiles that ``correlate`` takes at a time, whether it makes U itself, and the numbers
    that it needs per thread."""
    lanes = VECTOR_BYTES // itemsize
    wide, E = WIDE * lanes, (tile + 2) ** 2
    TH, TW = -(-OH // tile), -(-OW // tile)
    few = not known and (N * TH * TW <= FEW or E * C * F * itemsize > ROOM)
    own_u = E * (min(C, CHANNELS) | 1) * wide if few else 0
    per_tile = E * (row_for(C, lanes) + wide)
    tiles = min(FEW if few else TILES, (ROOM // itemsize - own_u) // per_tile)
    rows = min(N * TH, max(1, tiles // TW))
    threads = backend.get_num_threads()
    if threads > 1 and (not few or wide >= F):  # else they share out the filters
        rows = _balanced(rows, N * TH, TW, threads)
    room = tiles_for(rows * TW) * per_tile + (3 * E + 8) * lanes + own_u
    return rows, few, room + (rows * tile + 2) * (TW * tile + 2) * lanes


@functools.lru_cache(maxsize=1024)
def _balanced(most: int, total: int, TW: int, threads: int) -> int:
    """At most so many rows of tiles at a time of which thread 0, the busiest, has the least to do.

    It takes every ``threads``-th chunk of rows; tiles are counted as products take them, and
    another few for the start of each.
    """

    def work(rows: int) -> int:
        return tiles_for(rows * TW) + LOW // 2

    def busiest(rows: int) -> int:
        chunks = -(-total // rows)
        mine, last = -(-chunks // threads), total - (chunks - 1) * rows
        ends = (chunks - 1) % threads == 0
        return (mine - ends) * work(rows) + ends * work(last)

    least = max(1, min(most // 2, -(-total // threads)))
    return min(range(most, least - 1, -1), key=busiest)


def workspace_bytes(
    x_shape: tuple[int, ...], weight_shape: tuple[int, ...], dtype: Any, padding: Pair, tile: int
) -> int:
    """Bytes that ``forward`` holds beside x, weight and y: about ROOM per thread at most, but one
    row of tiles is the least there is, which takes more where rows are long and channels many."""
    N, C, H, W = x_shape
    F = weight_shape[0]
    OH, OW = H + 2 * padding[0] - 2, W + 2 * padding[1] - 2
    itemsize = np.dtype(dtype).itemsize
    _, few, room = _plan(N, C, F, OH, OW, tile, itemsize, False)
    u = 0 if few else (tile + 2) ** 2 * (C | 1) * (F + WIDE * VECTOR_BYTES // itemsize)
    return (backend.get_num_threads() * room + u) * itemsize


def error_bound(C: int, tile: int, dtype: Any = np.float32) -> float:
    """The largest error that sums over C channels may have, relative to the largest, over all
    places of the window, of the sums of |weight * x|.

    All: also places so far outside of x that they have no output. The transforms add up all weights
    of a window, also those that only such places would show.

    Measured, and doubled: all positive numbers come to within half of it where C is large, and
    pixels among zeros where C is small. Of ordinary data, whose terms cancel, it is 6e-7 (T = 2)
    and 3e-6 (T = 4) of the largest |y| with C = 256.
    """
    return float(np.finfo(dtype).eps) * (4 + C**0.5 if tile == 2 else 24 + 2 * C**0.5)
