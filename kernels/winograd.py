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
constants are exact in binary); see ``error_bound``.

Sources: S. Winograd, Arithmetic Complexity of Computations, 1980; A. Lavin and S. Gray, Fast
Algorithms for Convolutional Neural Networks, arXiv:1509.09308; on points: B. Barabasz et al., Error
Analysis and Improving the Accuracy of Winograd Convolution for DNNs, arXiv:1803.10986.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from . import backend
from .backend import Array, contiguous, empty
from .geometry import Pair
from .im2col import windows
from .jit import inline, kernel, prange
from .microkernel import VECTOR_BYTES
from .simd import LOW, TALL, WIDE, at_least, load, low_product, store, tall_product, transpose
from .winograd_tile import both_ways, data_pass, filter_pass, matrices, result_pass, tiles_of, turn
from .winograd_weight import grad_weight

__all__ = [
    "error_bound", "forward", "grad_input", "grad_weight", "matrices", "transform_weight",
    "workspace_bytes",
]  # fmt: skip


def transform_weight_numpy(weight: Array, u: Array, tile: int, turned: bool) -> None:
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
def filters(weight: Array, u: Array, tile: int, turned: bool) -> None:
    """u[f // wide, e, c, f % wide] = (G g G^T)[e] with the taps g of weight[f, c], or, ``turned``,
    those of weight[c, f] turned by 180 degrees, as the gradient of the input needs them."""
    lanes = VECTOR_BYTES // u.itemsize
    slivers, E, u_rows, wide = u.shape
    F, C = (weight.shape[1], weight.shape[0]) if turned else (weight.shape[0], weight.shape[1])
    row, step = (9, F * 9) if turned else (C * 9, 9)  # from filter to filter, channel to channel
    order = -lanes if turned else lanes
    wf, uf = weight.reshape(weight.size), u.reshape(u.size)
    blocks = (C + lanes - 1) // lanes
    for task in prange(slivers * blocks):
        sliver, c0 = task // blocks, task % blocks * lanes
        scratch = np.empty((9 + 3 * (tile + 2)) * lanes, u.dtype)
        first = 8 * lanes if turned else 0
        for f in range(0, wide, lanes):
            g = min(sliver * wide + f, F - 1)  # beyond the last, it is computed again
            for c in range(c0, min(c0 + lanes, C)):
                for k in range(0, 9, lanes):
                    source, taps = g * row + c * step + k, min(lanes, 9 - k)
                    turn(wf, source, row, min(lanes, F - g), scratch, k * lanes, lanes, taps)
                to = (sliver * E * u_rows + c) * wide + f
                both_ways(
                    filter_pass, tile, 3, tile + 2, scratch, first, 3 * order, order, 9 * lanes,
                    uf, to, (tile + 2) * u_rows * wide, u_rows * wide,
                )  # fmt: skip


def transform_weight(weight: Array, tile: int, turned: bool = False) -> Array:
    """U of a weight (F, C, 3, 3), for ``forward``; ``turned``: for ``grad_input``.

    (slivers, E, C, wide): E numbers in the place of 9, for filters in slivers as wide as the
    products are.
    """
    weight = contiguous(weight)
    F, C = weight.shape[1::-1] if turned else weight.shape[:2]
    wide = WIDE * VECTOR_BYTES // weight.itemsize
    u = empty((-(-F // wide), (tile + 2) ** 2, C | 1, wide), weight, op="conv2d")
    if u.size:
        filters(weight, u, tile, turned)
    return u


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
    m: int, m_step: int, E: int, tiles: int,
) -> None:  # fmt: skip
    """M[e, t, :] = sum over c < C of V[e, t, c] U[e, c, :], at a[m], a[v], and b[u]."""
    wide = WIDE * VECTOR_BYTES // a.itemsize
    for e in range(E):
        t = 0
        while t < tiles:
            p, q, to = v + e * v_step + t * v_row, u + e * u_step, m + e * m_step + t * wide
            left = tiles - t
            if left >= TALL and left != 2 * LOW:
                tall_product(a, p, v_row, 1, b, q, wide, C, a, to, wide, False)
                t += TALL
            else:
                low_product(a, p, v_row, 1, b, q, wide, C, a, to, wide, False)
                t += LOW


def correlate_numpy(
    x: Array, u: Array, bias: Array, y: Array, padding: Pair, tile: int, relu: bool, rows: int,
    scratch: Array,
) -> None:  # fmt: skip
    """The same in whole-array NumPy."""
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
    x: Array, u: Array, bias: Array, y: Array, padding: Pair, tile: int, relu: bool, rows: int,
    scratch: Array,
) -> None:  # fmt: skip
    """y = the convolution of x with the filters of u, plus bias, some ``rows`` of tiles at a time.

    bias: as many as u has filters. scratch: one row per thread, for V, M, and some rows of pixels.
    """
    N, C, H, W = x.shape
    F, OH, OW = y.shape[1:]
    slivers, E, u_rows, wide = u.shape
    u_step = u_rows * wide
    lanes = wide // WIDE
    TH, TW = (OH + tile - 1) // tile, (OW + tile - 1) // tile
    chunks = (N * TH + rows - 1) // rows
    workers, room = scratch.shape
    # Where there are fewer chunks than threads, several make the same V, each for some filters.
    parts = min(slivers, (workers + chunks - 1) // chunks)
    xf, uf, yf = x.reshape(x.size), u.reshape(u.size), y.reshape(y.size)
    a = scratch.reshape(scratch.size)
    for worker in prange(workers):
        for task in range(worker, chunks * parts, workers):
            r0 = task // parts * rows
            r1 = min(r0 + rows, N * TH)
            tiles = _tiles_for((r1 - r0) * TW)
            v_row = _row_for(C, lanes)
            # Steps are odd numbers of vectors: powers of two would share few places in a cache.
            v_step, m_step = tiles * v_row + lanes, tiles * wide + lanes
            v = worker * room
            m = v + E * v_step
            work = m + E * m_step
            s = work + E * lanes
            for c in range(0, C, lanes):
                tiles_of(
                    data_pass, 2, xf, C, H, W, padding, tile, c, r0, r1, TH, TW,
                    a, v + c, v_row, v_step, a, work, s,
                )  # fmt: skip
            for sliver in range(task % parts, slivers, parts):
                b = sliver * E * u_step
                _multiply(a, v, v_row, v_step, C, uf, b, u_step, m, m_step, E, tiles)
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

TILES = 96


def forward(
    x: Array, weight: Array, padding: Pair, bias: Array | None = None, tile: int = 4,
    relu: bool = False, u: Array | None = None,
) -> Array:  # fmt: skip
    """conv2d of stride 1: y[n, f, oh, ow] = bias[f] + sum over c, kh, kw of
    weight[f, c, kh, kw] * x[n, c, oh + kh - PH, ow + kw - PW], x = 0 outside; ``relu``: max(y, 0).

    x (N, C, H, W), weight (F, C, 3, 3), y (N, F, H + 2 PH - 2, W + 2 PW - 2), float32 or float64.
    ``u``: ``transform_weight(weight, tile)``, where it is known already.
    """
    if u is None:
        u = transform_weight(weight, tile)
    return _correlate(x, u, weight.shape[0], padding, bias, tile, relu)


def grad_input(
    gy: Array, weight: Array, x_shape: tuple[int, ...], padding: Pair, tile: int = 4,
    u: Array | None = None,
) -> Array:  # fmt: skip
    """The gradient of x: gy under the turned filters, the padding turned inside out.

    ``u``: ``transform_weight(weight, tile, turned=True)``, where it is known already.
    """
    if u is None:
        u = transform_weight(weight, tile, turned=True)
    around = 2 - padding[0], 2 - padding[1]
    return _correlate(gy, u, x_shape[1], around, None, tile, False)


def _correlate(
    x: Array, u: Array, F: int, padding: Pair, bias: Array | None, tile: int, relu: bool
) -> Array:
    N, C, H, W = x.shape
    OH, OW = H + 2 * padding[0] - 2, W + 2 * padding[1] - 2
    y = empty((N, F, OH, OW), x, op="conv2d")
    if y.size == 0:
        return y
    slivers, _, _, wide = u.shape
    all_bias = np.zeros(slivers * wide, x.dtype)
    if bias is not None:
        all_bias[:F] = bias
    rows, room = _plan(N, C, OH, OW, tile, x.itemsize)
    scratch = empty((backend.get_num_threads(), room), x, op="conv2d")
    correlate(contiguous(x), u, all_bias, y, padding, tile, relu, rows, scratch)
    return y


def _plan(N: int, C: int, OH: int, OW: int, tile: int, itemsize: int) -> tuple[int, int]:
    """Rows of tiles that ``correlate`` takes at a time, and the numbers that it needs for them."""
    lanes = VECTOR_BYTES // itemsize
    TH, TW = -(-OH // tile), -(-OW // tile)
    rows = min(N * TH, max(1, TILES // TW))
    room = (tile + 2) ** 2 * (tiles_for(rows * TW) * (row_for(C, lanes) + WIDE * lanes) + 3 * lanes)
    return rows, room + (rows * tile + 2) * (TW * tile + 2) * lanes


def workspace_bytes(
    x_shape: tuple[int, ...], weight_shape: tuple[int, ...], dtype: Any, padding: Pair, tile: int
) -> int:
    """Bytes that ``forward`` holds beside x, weight and y, U not counted."""
    N, C, H, W = x_shape
    OH, OW = H + 2 * padding[0] - 2, W + 2 * padding[1] - 2
    itemsize = np.dtype(dtype).itemsize
    return backend.get_num_threads() * _plan(N, C, OH, OW, tile, itemsize)[1] * itemsize


def error_bound(C: int, tile: int, dtype: Any = np.float32) -> float:
    """The largest error that sums over C channels may have, relative to the largest, over all
    outputs, of the sums of |weight * x|.

    Measured, and doubled: all positive numbers come to within half of it where C is large, and
    pixels among zeros where C is small. Of ordinary data, whose terms cancel, it is 6e-7 (T = 2)
    and 3e-6 (T = 4) of the largest |y| with C = 256.
    """
    return float(np.finfo(dtype).eps) * (4 + C**0.5 if tile == 2 else 24 + 2 * C**0.5)
