"""The gradient of the weight as a product of matrices that are never written down.

    gw[tap, f] = sum over pixels of x[tap + step(pixel)] * gy[pixel, f]      tap = (kh, kw, c)

Rows of a tile are taps: numbers of x, which the micro-kernel finds through a table of pixels. What
it reads as vectors is gy, packed with neighbouring filters side by side. Where ROWS divides the
channels, all rows of a tile have the same tap, and the pixels for which it looks at padding are
left out; otherwise x gets its zeros written around it. See ``implicit_gemm`` for the other two.
"""

from __future__ import annotations

import functools
import math

import numpy as np

from . import backend, implicit_gemm_few
from .backend import Array, empty
from .gemm import add, copy, fill
from .geometry import Pair
from .im2col import valid
from .implicit_gemm_pack import pack_planes
from .jit import kernel, prange
from .microkernel import HALF, ROWS
from .simd import load_inside, store, transpose
from .tiles import DEPTH, add_tile, columns_of, looks_inside, matrices_of, tiles_of, views_of

CHUNK = 1 << 23  # bytes of packed gy at a time, whatever the number of threads
TALL = 8  # tiles of rows that share a part of gy while it is in cache
LARGEST = 1 << 20  # bytes of sums of which there are several, for parts of the pixels
NOTHING_AROUND = ((0, 0), (0, 0))
PARTS = 16  # tasks that a sum over pixels is cut into where it has few rows and columns


def pack_pixels_numpy(
    gy: Array, b: Array, G: int, I: int, n0: int, n1: int, h0: int, h1: int, cuts: Array
) -> None:
    """The same in whole-array NumPy."""
    N, M, OH, OW = gy.shape
    part = gy.reshape(N // G, G, M, OH, OW)[n0:n1, :, :, h0:h1]
    part = part.reshape(-1, I, G, M, h1 - h0, OW).transpose(2, 0, 4, 5, 1, 3).reshape(G, -1, M)
    used = b[: G * part.shape[1] * int(cuts.sum()) * (HALF // b.itemsize)]
    for left, tile in views_of(used, G, part.shape[1], cuts):
        tile[...] = 0
        some = part[:, :, left : left + tile.shape[2]]
        tile[:, :, : some.shape[2]] = some


@kernel(numpy=pack_pixels_numpy)
def pack_pixels(
    gy: Array, b: Array, G: int, I: int, n0: int, n1: int, h0: int, h1: int, cuts: Array
) -> None:
    """b[g][tile][n / I, oh, ow, n % I][m in tile] = gy[n G + g, m, oh, ow] for n0 <= n < n1 and
    h0 <= oh < h1; 0 beyond the last m. gy: (N G, M, OH, OW), b: flat."""
    M, OH, OW = gy.shape[1:]
    h = HALF // gy.itemsize
    columns = columns_of(cuts, cuts.size, h)
    run = (h1 - h0) * OW  # pixels of one image
    pixels = (n1 - n0) * run
    gyf = gy.reshape(gy.size)
    T = cuts.size
    some = 16 * h  # pixels of a task
    parts = (run + some - 1) // some
    for task in prange((n1 - n0) * G * T * parts):
        n, g = task // (G * T * parts), task // (T * parts) % G
        tile, first = task // parts % T, task % parts * some
        left = columns_of(cuts, tile, h)
        width = cuts[tile] * h
        to = (g * columns + left) * pixels + ((n // I * run) * I + n % I) * width
        source = ((((n0 + n) * G + g) * M + left) * OH + h0) * OW
        step, last, wanted = I * width, min(first + some, run), min(width, M - left)
        pack_planes(gyf, source, OH * OW, wanted, first, last, b, to, step, width)
        for p in range(first, last if wanted < width else first):
            fill(b, to + p * step + wanted, 0, width - wanted)


def sum_pixels_numpy(
    x: Array, b: Array, sums: Array, size: Pair, stride: Pair, down: Array, right: Array, G: int,
    I: int, n0: int, n1: int, h0: int, h1: int, cuts: Array, shares: int, more: bool,
) -> None:  # fmt: skip
    """The same in whole-array NumPy."""
    if not more:
        sums[...] = 0
    sums = sums[0]
    N, C, H, W = x.shape
    OW = size[1]
    pixels = (n1 - n0) * (h1 - h0) * OW
    part = matrices_of(b[: G * pixels * int(cuts.sum()) * (HALF // b.itemsize)], G, pixels, cuts)
    part = part.reshape(G, -1, h1 - h0, OW, I, part.shape[-1])
    images = x.reshape(N // G, G, C, H, W)[n0:n1].reshape(-1, I, G, C, H, W)
    K = down.size * right.size * C
    totals = np.zeros((G, down.size, right.size, C, part.shape[-1]), x.dtype)
    for i, d in enumerate(down):
        for j, r in enumerate(right):
            h, v = np.arange(h0, h1) * stride[0] + d, np.arange(OW) * stride[1] + r
            seen = images[..., h.clip(0, H - 1), :][..., v.clip(0, W - 1)]
            inside = ((h >= 0) & (h < H))[:, None] & ((v >= 0) & (v < W))
            seen = np.where(inside, seen, 0)
            totals[:, i, j] = np.einsum("qigchw,gqhwim->gcm", seen, part)
    totals = totals.reshape(G, K, -1)
    for left, tile in views_of(sums, G, -(-K // ROWS) * ROWS, cuts):
        tile[:, :K] += totals[:, :, left : left + tile.shape[2]]


@kernel(numpy=sum_pixels_numpy, parallel_above=1 << 13)
def sum_pixels(
    x: Array, b: Array, sums: Array, size: Pair, stride: Pair, down: Array, right: Array, G: int,
    I: int, n0: int, n1: int, h0: int, h1: int, cuts: Array, shares: int, more: bool,
) -> None:  # fmt: skip
    """sums[.][g][tile][kh, kw, c][m in tile] (+)= the sum over n0 <= n < n1, h0 <= oh < h1 and all
    ow of x[n G + g, c, oh SH + down[kh], ow SW + right[kw]] * b[g][tile][n, oh, ow][m].

    x: (N G, C, H, W), 0 outside; where C is no multiple of ROWS, the rows of a tile have different
    taps, and none may look outside. b: as ``pack_pixels`` made it. sums: (parts, ..), each part of
    it for a part of the pixels; the rows of each tile are rounded up to ROWS. ``shares``: into how
    many tasks the rows of a part are cut. ``more``: what is in sums is added to.
    """
    C, H, W = x.shape[1:]
    OW = size[1]
    SH, SW = stride
    KH, KW = down.size, right.size
    K = KH * KW * C
    blocks = (K + ROWS - 1) // ROWS
    h = HALF // x.itemsize
    columns = columns_of(cuts, cuts.size, h)
    rows = h1 - h0
    pixels = (n1 - n0) * rows * OW
    tall = (blocks + shares - 1) // shares
    band = max(1, DEPTH // (OW * I))  # rows of pixels whose part of b and x stays in cache
    xf = x.reshape(x.size)
    bands = (rows + band - 1) // band
    S = len(sums)
    items = (n1 - n0) // I * bands
    total = sums.reshape(sums.size)
    for task in prange(S * G * shares):
        part_of, g, share = task // (G * shares), task // shares % G, task % shares
        first, last = share * blocks // shares, (share + 1) * blocks // shares
        if not more:
            column = (part_of * G + g) * columns
            for cut in cuts:
                width = cut * h
                goal = (column * blocks + first * width) * ROWS
                fill(total, goal, 0, (last - first) * ROWS * width)
                column += width
        places = np.empty(tall * ROWS, np.int64)
        for i in range(tall * ROWS):
            k = min(first * ROWS + i, K - 1)
            tap = down[k // C // KW] * W + right[k // C % KW]
            places[i] = (g * C + k % C) * H * W + tap
        steps = np.empty(rows * OW * I, np.int64)
        j = 0
        for oh in range(h0, h1):
            for ow in range(OW):
                for i in range(I):
                    steps[j] = oh * SH * W + ow * SW + i * G * C * H * W
                    j += 1
        for item in range(part_of * items // S, (part_of + 1) * items // S):
            q, top = item // bands, h0 + item % bands * band
            images = (n0 + q * I) * G * C * H * W
            # What is read after these rows: the same of the next band, or of the next images.
            onward = band * SH * W
            if item % bands == bands - 1:
                onward = I * G * C * H * W - (bands - 1) * onward
            column = 0
            for cut in cuts:
                width = cut * h
                part = (g * columns + column) * pixels + q * rows * OW * I * width
                goal = ((part_of * G + g) * columns + column) * blocks * ROWS
                column += width
                # Few channels: rows of a tile read the same, which is in the cache.
                ahead = onward if column == columns and C % ROWS == 0 else 0
                for block in range(first, last):
                    tap = block * ROWS // C
                    a, z = valid(down[tap // KW], SH, H, top, min(top + band, h1))
                    c, d = valid(right[tap % KW], SW, W, 0, OW)
                    to, r = goal + block * ROWS * width, (block - first) * ROWS
                    run, runs, gap = (d - c) * I, z - a, (OW - d + c) * I
                    if gap == 0:
                        run, runs = run * runs, 1
                    start = ((a - h0) * OW + c) * I
                    for k in range(start, start + run, DEPTH):  # once, unless rows are very long
                        add_tile(
                            cut, xf, images, places, r, steps, k, min(DEPTH, start + run - k),
                            b, part + k * width, width, total, to, width, runs, gap, ahead,
                        )  # fmt: skip


def unpack_sums_numpy(
    sums: Array, gw: Array, G: int, th: Array, tw: Array, cuts: Array
) -> None:
    """The same in whole-array NumPy."""
    F, C = gw.shape[:2]
    K = th.size * tw.size * C
    matrix = matrices_of(sums.sum(0), G, -(-K // ROWS) * ROWS, cuts)[:, :K, : F // G]
    parts = matrix.reshape(G, th.size, tw.size, C, F // G).transpose(0, 4, 3, 1, 2)
    gw[...] = 0
    gw[:, :, th[:, None], tw] = parts.reshape(F, C, th.size, tw.size)


@kernel(numpy=unpack_sums_numpy)
def unpack_sums(sums: Array, gw: Array, G: int, th: Array, tw: Array, cuts: Array) -> None:
    """gw[g M + m, c, th[kh], tw[kw]] = the sum over all parts of
    sums[part][g][tile][kh, kw, c][m in tile]; 0 for other taps."""
    F, C, KH, KW = gw.shape
    taps, M = KH * KW, F // G
    S, size = sums.shape
    K = th.size * tw.size * C
    rows = (K + ROWS - 1) // ROWS * ROWS
    h = HALF // gw.itemsize
    columns = columns_of(cuts, cuts.size, h)
    first_row = np.full(taps, -1)  # of a tap, in sums
    for i in range(th.size):
        for j in range(tw.size):
            first_row[th[i] * KW + tw[j]] = (i * tw.size + j) * C
    sf, gwf = sums.reshape(sums.size), gw.reshape(gw.size)
    T, run = cuts.size, C * taps
    shares = (run + 32 * h - 1) // (32 * h)
    for task in prange(shares * G * T * 3):  # a tile has up to three vectors
        share, g = task // (G * T * 3), task // (T * 3) % G
        tile, m = task // 3 % T, task % 3 * 2 * h
        left = columns_of(cuts, tile, h)
        width = cuts[tile] * h
        source = (g * columns + left) * rows + m
        goal = (g * M + left + m) * run
        some = min(2 * h, width - m, M - left - m)
        square = np.empty(4 * h * h, gw.dtype)
        for i in range(share * 32 * h, min(share * 32 * h + 32 * h, run) if some > 0 else 0, 2 * h):
            first = max(0, min(i, run - 2 * h))  # the last square may repeat what is before
            here = min(2 * h, run - first)
            c, tap = first // taps, first % taps
            for j in range(here):
                at = source + (first_row[tap] + c) * width
                there = some if first_row[tap] >= 0 else 0
                total = load_inside(sf, at, 0, there)
                for part in range(1, S):
                    total = total + load_inside(sf, part * size + at, 0, there)
                store(square, j * 2 * h, total)
                tap += 1
                if tap == taps:
                    c, tap = c + 1, 0
            if here == 2 * h:
                transpose(square, 0, 2 * h, here, gwf, goal + first, run, some)
            else:
                for j in range(here):
                    for f in range(some):
                        gwf[goal + f * run + j] = square[j * 2 * h + f]


def join_tiles_numpy(sums: Array, gw: Array, cuts: Array) -> None:
    """The same in whole-array NumPy."""
    F, C = gw.shape
    gw[...] = matrices_of(sums.sum(0), 1, -(-F // ROWS) * ROWS, cuts)[0, :F, :C]


@kernel(numpy=join_tiles_numpy)
def join_tiles(sums: Array, gw: Array, cuts: Array) -> None:
    """gw[f, c] = the sum over all parts of sums[part][tile][f][c in tile]."""
    F, C = gw.shape
    S, size = sums.shape
    rows, h = (F + ROWS - 1) // ROWS * ROWS, HALF // gw.itemsize
    sf, gwf = sums.reshape(sums.size), gw.reshape(gw.size)
    for f in prange(F):
        left = 0
        for cut in cuts:
            width = cut * h
            source, to, here = left * rows + f * width, f * C + left, min(width, C - left)
            copy(gwf, to, sf, source, here)
            for part in range(1, S):
                add(gwf, to, sf, part * size + source, here)
            left += width


def grad_weight(
    gy: Array, x: Array, gw: Array, stride: Pair, padding: Pair, dilation: Pair
) -> None:
    """gw = the sum over all pixels of gy times what their windows see."""
    F, C = gw.shape[:2]
    size = gy.shape[2:]
    plan = _plan(x.shape[2:], C, gw.shape[2:], size, stride, padding, dilation)
    if plan is None:
        gw[...] = 0
        return
    th, tw, down, right, edges = plan
    inside = C % ROWS > 0 or not any(padding)
    groups = x.shape[1] // C
    outputs, images = gy.reshape(-1, F // groups, *size), x.reshape(-1, C, *x.shape[2:])
    some = len(images)
    if C % ROWS and any(padding):  # images with zeros around, some at a time
        some = max(1, CHUNK // (x.nbytes // len(x))) * groups
    sums = None
    for n in range(0, len(images), some):
        part = images[n : n + some]
        if some < len(images) or edges != NOTHING_AROUND:
            part = np.pad(part, ((0, 0), (0, 0), *edges))
        step = outputs[n : n + some], part, stride, down, right, groups, inside
        more, cuts = sum_of_products(*step)
        sums = more if sums is None else sums + more
    unpack_sums(sums, gw, groups, th, tw, cuts)


@functools.lru_cache(maxsize=1024)
def _plan(
    image: Pair, C: int, kernel: Pair, size: Pair, stride: Pair, padding: Pair, dilation: Pair
) -> tuple[Array, Array, Array, Array, tuple[Pair, Pair]] | None:
    """What only shapes tell: the taps (down, across) that some window sees, how far from a window's
    first element they are, and the zeros needed around x where C is no multiple of ROWS. None if no
    tap sees anything."""
    shifts = [np.arange(k) * d - p for k, p, d in zip(kernel, padding, dilation)]
    seen = [looks_inside(*axis) for axis in zip(shifts, size, stride, image)]
    th, tw = (np.flatnonzero(counts) for counts in seen)
    if not th.size or not tw.size:
        return None
    down, right = shifts[0][th], shifts[1][tw]
    edges = NOTHING_AROUND
    if C % ROWS and any(padding):
        top, left = (
            (max(0, -int(s[0])), max(0, (o - 1) * t + int(s[-1]) + 1 - n))
            for s, o, t, n in zip((down, right), size, stride, image)
        )
        edges = top, left
    return th, tw, down + edges[0][0], right + edges[1][0], edges


def sum_of_products(
    gy: Array, x: Array, stride: Pair, down: Array, right: Array, G: int, inside: bool = False
) -> tuple[Array, Array]:
    """``sum_pixels`` over all images and rows, and the tiles that its columns are cut into.

    x: (N G, C, H, W), gy: (N G, M, OH, OW). inside: no tap leaves x.
    """
    C, (M, OH, OW) = x.shape[1], gy.shape[1:]
    if inside and G == 1 and implicit_gemm_few.pays(down.size * right.size * C, M, x.itemsize):
        return implicit_gemm_few.sum_of_products(gy, x, stride, down, right)
    N = len(x) // G
    cuts, columns = tiles_of(M, x.itemsize)
    blocks = -(-down.size * right.size * C // ROWS)
    # Small images several at a time; not too many: planes of 16 x 16 share a few sets of a cache.
    I = math.gcd(N, ROWS if OH * OW <= 32 else 4) if OH * OW <= 64 else 1
    row = G * columns * OW * x.itemsize  # bytes of one row of one packed image
    some = max(1, CHUNK // (row * OH * I)) * I
    rows = OH if row * OH * I <= CHUNK else max(1, CHUNK // (row * I))
    S, shares = _cut(G, blocks, columns * ROWS * x.itemsize)
    sums = empty((S, G * columns * blocks * ROWS), x)
    b = empty((min(some, N) * rows * row // x.itemsize,), x)
    for n in range(0, N, some):
        for h in range(0, OH, rows):
            part = I, n, min(n + some, N), h, min(h + rows, OH), cuts
            pack_pixels(gy, b, G, *part)
            sum_pixels(x, b, sums, (OH, OW), stride, down, right, G, *part, shares, n + h > 0)
    return sums, cuts


def _cut(G: int, blocks: int, nbytes: int) -> tuple[int, int]:
    """Into how many parts the pixels are cut, and the blocks of rows, of ``nbytes`` each."""
    if backend.cpu_backend == "numpy":
        return 1, 1
    shares = -(-blocks // TALL)
    shares += shares % 2 if shares > 1 else 0
    S = max(1, PARTS // (G * shares))
    if S == 1 and G * blocks * nbytes <= LARGEST:
        S = 2
    return S + S % 2 if S > 1 else 1, shares
