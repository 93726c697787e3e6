"""The gradient of the weight by Winograd's algorithm: the adjoint of each of its steps.

    y  = A^T [ U * (B^T d B) ] A,    U = G g G^T       so
    gg = G^T [ sum over all tiles of (A gy A^T) * (B^T d B) ] G

for a filter and a channel. The sum is a matrix product again, one for each of the E numbers e of a
tile, over all tiles t:

    V[e, t, c]  of the tiles of x          Z[e, t, f]  of the tiles of gy           ``spread``
    U[e, c, f] = sum over t of V[e, t, c] Z[e, t, f], and its G^T U G               ``products``

V and Z exist for some rows of tiles at a time; what they add to the gradient is summed up.
"""

from __future__ import annotations

import numpy as np

from . import backend
from .backend import Array, contiguous, empty
from .geometry import Pair
from .im2col import windows
from .jit import inline, kernel, prange
from .microkernel import VECTOR_BYTES
from .simd import LOW, TALL, WIDE, load, low_product, store, tall_product, transpose
from .winograd_tile import both_ways, data_pass, matrices, spread_pass, taps_pass, tiles_of

NEAR, LARGEST = 6 << 20, 15 << 20  # bytes of V and Z: what stays near, and the most there may be
MANY = 128  # tiles that are worth the way to a farther cache: U is transformed once for all of them
DEPTH = 96  # tiles that a product sums up before it moves on: parts of V and Z that stay in L1


def spread_numpy(
    x: Array, gy: Array, v: Array, z: Array, padding: Pair, tile: int, r0: int, r1: int, rows: int,
    scratch: Array,
) -> None:  # fmt: skip
    """The same in whole-array NumPy."""
    B, _, A = (m.astype(x.dtype) for m in matrices(tile))
    for images, to, around, way in (x, v, padding, B), (gy, z, (0, 0), A.T):
        N, C = images.shape[:2]
        E, size = len(B) ** 2, way.shape[1]
        TH, TW = -(-gy.shape[2] // tile), -(-gy.shape[3] // tile)
        d = windows(images, (size, size), (TH, TW), (tile, tile), around, (1, 1))
        V = np.einsum("ik,ncklhw,jl->cijnhw", way, d, way, optimize=True).reshape(C, E, N * TH, TW)
        V = V[:, :, r0:r1].reshape(C, E, -1)
        wide = WIDE * VECTOR_BYTES // x.itemsize
        for sliver in range(len(to)):
            part = V[sliver * wide : (sliver + 1) * wide].transpose(1, 2, 0)
            run = to[sliver, :, : part.shape[1] * wide].reshape(E, -1, wide)
            run[..., : part.shape[2]] = part


@kernel(numpy=spread_numpy)
def spread(
    x: Array, gy: Array, v: Array, z: Array, padding: Pair, tile: int, r0: int, r1: int, rows: int,
    scratch: Array,
) -> None:  # fmt: skip
    """v[c // wide, e, t wide + c % wide] = (B^T d B)[e] of tile t of channel c of x, and z the same
    of A d A^T of gy, for the rows of tiles r0 to r1 of all, some ``rows`` at a time."""
    C, H, W = x.shape[1:]
    F, OH, OW = gy.shape[1:]
    E, step = v.shape[1:]
    lanes = VECTOR_BYTES // x.itemsize
    wide = WIDE * lanes
    TH, TW = (OH + tile - 1) // tile, (OW + tile - 1) // tile
    workers, room = scratch.shape
    xf, gf, a = x.reshape(x.size), gy.reshape(gy.size), scratch.reshape(scratch.size)
    vf, zf = v.reshape(v.size), z.reshape(z.size)
    chunks = (r1 - r0 + rows - 1) // rows
    of_x, of_gy = (C + lanes - 1) // lanes, (F + lanes - 1) // lanes
    for worker in prange(workers):
        work = worker * room
        s = work + E * lanes
        # A worker uses in ``products`` most of those channels of V that it makes here.
        tasks = chunks * of_x
        for task in range(worker * tasks // workers, (worker + 1) * tasks // workers):
            c, r = task // chunks * lanes, r0 + task % chunks * rows
            end, to = min(r + rows, r1), c // wide * E * step + (r - r0) * TW * wide + c % wide
            tiles_of(
                data_pass, 2, xf, C, H, W, padding, tile, c, r, end, TH, TW,
                vf, to, wide, step, a, work, s,
            )  # fmt: skip
        tasks = chunks * of_gy
        for task in range(worker * tasks // workers, (worker + 1) * tasks // workers):
            f, r = task // chunks * lanes, r0 + task % chunks * rows
            end, to = min(r + rows, r1), f // wide * E * step + (r - r0) * TW * wide + f % wide
            tiles_of(
                spread_pass, 0, gf, F, OH, OW, (0, 0), tile, f, r, end, TH, TW,
                zf, to, wide, step, a, work, s,
            )  # fmt: skip


@inline
def _product(a: Array, p: int, b: Array, q: int, tiles: int, to: Array, t: int, wide: int) -> None:
    """to[c, f] = sum over the tiles of a[tile, c] b[tile, f], all three ``wide`` numbers a row."""
    for k in range(0, tiles, DEPTH):
        depth, c = min(DEPTH, tiles - k), 0
        x, y = p + k * wide, q + k * wide
        while c < wide:
            left = wide - c
            if left >= TALL and left != 2 * LOW:
                tall_product(a, x + c, 1, wide, b, y, wide, depth, to, t + c * wide, wide, k > 0)
                c += TALL
            else:
                low_product(a, x + c, 1, wide, b, y, wide, depth, to, t + c * wide, wide, k > 0)
                c += LOW


def products_numpy(
    v: Array, z: Array, sums: Array, gw: Array, tile: int, tiles: int, more: bool, last: bool,
    scratch: Array,
) -> None:  # fmt: skip
    """The same in whole-array NumPy."""
    F, C = gw.shape[:2]
    E = v.shape[1]
    wide = sums.shape[-1]
    size = tile + 2
    G = matrices(tile)[1].astype(v.dtype)
    V, Z = (
        a[:, :, : tiles * wide].reshape(-1, E, tiles, wide).transpose(1, 2, 0, 3) for a in (v, z)
    )
    V, Z = V.reshape(E, tiles, -1), Z.reshape(E, tiles, -1)
    U = (V[:, :, :C].swapaxes(1, 2) @ Z[:, :, :F]).reshape(size, size, C, F)
    g = np.einsum("ik,ijcf,jl->fckl", G, U, G, optimize=True)
    gw[...] = gw + g if more else g


@kernel(numpy=products_numpy, parallel_above=1 << 13)
def products(
    v: Array, z: Array, sums: Array, gw: Array, tile: int, tiles: int, more: bool, last: bool,
    scratch: Array,
) -> None:  # fmt: skip
    """gw[f, c] = G^T U G of U[e] = V[e]^T Z[e], summed over calls: the first has not ``more``,
    and the ``last`` one writes what was added up in sums[f // wide, c, tap, f % wide]."""
    F, C = gw.shape[:2]
    filters, channels = z.shape[0], v.shape[0]
    E, step = v.shape[1], v.shape[2]
    wide = sums.shape[3]
    lanes = wide // WIDE
    workers, room = scratch.shape
    vf, zf, sf = v.reshape(v.size), z.reshape(z.size), sums.reshape(sums.size)
    gf, a = gw.reshape(gw.size), scratch.reshape(scratch.size)
    for worker in prange(workers):
        m = worker * room
        work = m + E * wide * wide
        g = work + 3 * (tile + 2) * lanes
        tasks = filters * channels
        for task in range(worker * tasks // workers, (worker + 1) * tasks // workers):
            cs, fs = task // filters, task % filters
            for e in range(E):
                p, q = (cs * E + e) * step, (fs * E + e) * step
                _product(vf, p, zf, q, tiles, a, m + e * wide * wide, wide)
            count = min(wide, C - cs * wide)
            first = (fs * C + cs * wide) * 9 * wide
            for c in range(count):
                for f in range(0, wide, lanes):
                    both_ways(
                        taps_pass, tile, tile + 2, 3, a, m + c * wide + f,
                        (tile + 2) * wide * wide, wide * wide, work, a, g, 3 * lanes, lanes,
                    )  # fmt: skip
                    for tap in range(9):
                        taps = load(a, g + tap * lanes)
                        at = first + (c * 9 + tap) * wide + f
                        store(sf, at, load(sf, at) + taps if more else taps)
            if last:
                for f in range(fs * wide, min((fs + 1) * wide, F), lanes):
                    source, to = first + f % wide, (f * C + cs * wide) * 9
                    run = count * 9
                    if run >= lanes:
                        for j in range(0, run, lanes):
                            k = min(j, run - lanes)
                            transpose(
                                sf, source + k * wide, wide, lanes, gf, to + k, C * 9,
                                min(lanes, F - f),
                            )  # fmt: skip
                    else:
                        for i in range(min(lanes, F - f)):
                            for j in range(run):
                                gf[to + i * C * 9 + j] = sf[source + j * wide + i]


def grad_weight(
    gy: Array, x: Array, padding: Pair, tile: int = 4, gw: Array | None = None
) -> Array:
    """gw[f, c, kh, kw] = sum over n, oh, ow of
    gy[n, f, oh, ow] * x[n, c, oh + kh - PH, ow + kw - PW].

    gy (N, F, OH, OW), x (N, C, H, W), gw (F, C, 3, 3), written to if given.
    """
    N, C = x.shape[:2]
    F, OH, OW = gy.shape[1:]
    if gw is None:
        gw = empty((F, C, 3, 3), x)
    if gw.size == 0 or gy.size == 0:
        gw[...] = 0
        return gw
    x, gy = contiguous(x), contiguous(gy)
    lanes = VECTOR_BYTES // x.itemsize
    wide = WIDE * lanes
    TH, TW, E = -(-OH // tile), -(-OW // tile), (tile + 2) ** 2
    channels, filters = -(-C // wide), -(-F // wide)
    # Rows of tiles at a time, in equal parts.
    per_tile = E * (channels + filters) * wide * x.itemsize
    fitting = max(1, min(LARGEST // per_tile, max(NEAR // per_tile, MANY)) // TW)
    rows = -(-N * TH // -(-N * TH // fitting))
    few = min(rows, max(1, 32 // TW))
    step = (rows * TW * WIDE + 1) * lanes
    workers = backend.get_num_threads()
    v, z = empty((channels, E, step), x), empty((filters, E, step), x)
    room = max(
        E * lanes + (few * tile + 2) * (TW * tile + 2) * lanes,
        E * wide * wide + (3 * (tile + 2) + 9) * lanes,
    )
    scratch = empty((workers, room), x)
    sums = empty((filters, C, 9, wide), x)
    for r0 in range(0, N * TH, rows):
        r1 = min(r0 + rows, N * TH)
        spread(x, gy, v, z, padding, tile, r0, r1, few, scratch)
        products(v, z, sums, gw, tile, (r1 - r0) * TW, r0 > 0, r1 == N * TH, scratch)
    return gw
