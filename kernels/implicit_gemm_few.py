"""The gradient of a small weight: each task packs the pixels of gy that it multiplies.

``implicit_gemm_weight`` packs gy for all rows of the sum before it begins. Where these are few,
as for the first layer of a network, gy is used only some dozen times, and reading the packed copy
from main memory takes as long as the product. Here a task goes over some images, a band of rows at
a time: what it packs of the band stays in a core's cache, and so do all its sums.
"""

from __future__ import annotations

import numpy as np

from .backend import Array, empty
from .gemm import fill
from .geometry import Pair
from .implicit_gemm_pack import pack_planes
from .jit import kernel, prange
from .microkernel import HALF, ROWS
from .tiles import DEPTH, add_tile, columns_of, tiles_of, views_of

LARGEST = 1 << 16  # bytes of sums
PARTS = 16  # tasks


def pays(taps: int, M: int, itemsize: int) -> bool:
    """Whether the sums stay in cache."""
    return taps * tiles_of(M, itemsize)[1] * itemsize <= LARGEST


def sum_bands_numpy(
    gy: Array, x: Array, sums: Array, stride: Pair, down: Array, right: Array, cuts: Array
) -> None:
    """The same in whole-array NumPy."""
    C = x.shape[1]
    OH, OW = gy.shape[2:]
    totals = np.empty((down.size, right.size, C, gy.shape[1]), x.dtype)
    for i, d in enumerate(down):
        for j, r in enumerate(right):
            h, w = np.arange(OH) * stride[0] + d, np.arange(OW) * stride[1] + r
            totals[i, j] = np.einsum("nchw,nmhw->cm", x[:, :, h][..., w], gy)
    sums[...] = 0
    K = down.size * right.size * C
    for left, tile in views_of(sums[0], 1, -(-K // ROWS) * ROWS, cuts):
        some = totals.reshape(K, -1)[:, left : left + tile.shape[2]]
        tile[0, :K, : some.shape[1]] = some


@kernel(numpy=sum_bands_numpy, parallel_above=1 << 13)
def sum_bands(
    gy: Array, x: Array, sums: Array, stride: Pair, down: Array, right: Array, cuts: Array
) -> None:
    """sums[part][tile][kh, kw, c][m in tile] = sum over the n and oh of the part and all ow of
    x[n, c, oh SH + down[kh], ow SW + right[kw]] * gy[n, m, oh, ow].

    x: (N, C, H, W), which no tap leaves. gy: (N, M, OH, OW). sums: (parts, ..), for each part a
    share of all bands of rows; the rows of each tile are rounded up to ROWS.
    """
    N, C, H, W = x.shape
    M, OH, OW = gy.shape[1:]
    SH, SW = stride
    KW = right.size
    K = down.size * KW * C
    blocks = (K + ROWS - 1) // ROWS
    h = HALF // x.itemsize
    columns = columns_of(cuts, cuts.size, h)
    band = min(OH, max(1, DEPTH // OW))
    bands = (OH + band - 1) // band
    S = len(sums)
    xf, gyf, total = x.reshape(x.size), gy.reshape(gy.size), sums.reshape(sums.size)
    for part in prange(S):
        places = np.empty(blocks * ROWS, np.int64)
        for i in range(blocks * ROWS):
            k = min(i, K - 1)
            places[i] = k % C * H * W + down[k // C // KW] * W + right[k // C % KW]
        steps = np.empty(band * OW, np.int64)
        for oh in range(band):
            for ow in range(OW):
                steps[oh * OW + ow] = oh * SH * W + ow * SW
        packed = np.empty(band * OW * columns, x.dtype)
        fill(packed, 0, 0, packed.size)  # columns beyond M are added up, too: no NaN, no infinity
        goal = part * columns * blocks * ROWS
        fill(total, goal, 0, columns * blocks * ROWS)
        for item in range(part * N * bands // S, (part + 1) * N * bands // S):
            n, top = item // bands, item % bands * band
            pixels = min(band, OH - top) * OW
            a0, column = (n * C * H + top * SH) * W, 0
            for cut in cuts:
                width, b = cut * h, column * pixels
                s = ((n * M + column) * OH + top) * OW
                some = min(width, M - column)
                pack_planes(gyf, s, OH * OW, some, 0, pixels, packed, b, width, width)
                for block in range(blocks):
                    to = goal + (column * blocks + block * width) * ROWS
                    for k in range(0, pixels, DEPTH):  # once, unless rows are very long
                        add_tile(
                            cut, xf, a0, places, block * ROWS, steps, k, min(DEPTH, pixels - k),
                            packed, b + k * width, width, total, to, width, 1, 0, 0,
                        )  # fmt: skip
                column += width


def sum_of_products(
    gy: Array, x: Array, stride: Pair, down: Array, right: Array
) -> tuple[Array, Array]:
    """``sum_bands``, and the tiles that its columns are cut into."""
    K = -(-down.size * right.size * x.shape[1] // ROWS) * ROWS
    cuts, columns = tiles_of(gy.shape[1], x.itemsize)
    sums = empty((PARTS, columns * K), x)
    sum_bands(gy, x, sums, stride, down, right, cuts)
    return sums, cuts
