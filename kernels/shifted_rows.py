"""Convolution of few channels: sums of rows of x, shifted, times the filters' weights.

    forward      y[n, f, oh, :]  = bias[f] + sum over c, kh, kw of
                                   w[f, c, kh, kw] x[n, c, oh + kh DH - PH, kw DW - PW + :]
    grad_input   t[c, kw, h, :]  = sum over f, kh of w[f, c, kh, kw] gy[n, f, h + PH - kh DH, :]
                 gx[n, c, h, w]  = sum over kw of t[c, kw, h, w + PW - kw DW]
    grad_weight  gw[f, c, kh, kw] = sum over n, oh of the products of
                                   gy[n, f, oh, :] and x[n, c, oh + kh DH - PH, kw DW - PW + :]

":" is a vector of neighbouring pixels. ``implicit_gemm`` has its vectors along the filters: 10 of
them leave a third of two vectors empty, and 1 x 5 x 5 terms are too few to pay for packing them.
Here the filters are the rows of a block of sums (``row_tile.py``), the vectors lie along an image's
row, and x, gy and the weights are read where they lie, through tables; only padding makes a copy.

forward also knows strides: the columns of x are sorted first, of a row those at 0, SW, 2 SW ...,
then those at 1, SW + 1 ...; so what a tap sees lies side by side again. The gradients are for
stride 1.

A row's last vector ends where the row ends, and so may overlap the one before it: a few pixels are
computed twice, to the same bits, and no masks are needed.
"""

from __future__ import annotations

import functools
import math
from typing import NamedTuple

import numpy as np

from . import backend
from .backend import Array, empty
from .geometry import Pair
from .jit import kernel, prange, uint
from .row_tile import PLACES, ROW_BYTES, ROWS, TAPS, compare, weigh

LARGEST = 1 << 24  # bytes beside x, y and the weights
IMAGES = 16  # at most, that a block of grad_weight's sums goes over, ...
PART = 1 << 18  # ... and bytes of gy: so that they stay in a core's cache for all blocks


class Tables(NamedTuple):
    """Where ``row_tile``'s block reads and writes; see there."""

    a_rows: Array
    a_steps: Array
    b_places: Array
    b_steps: Array
    to_rows: Array
    to_places: Array


def lanes(itemsize: int) -> int:
    """Pixels in a vector."""
    return ROW_BYTES // itemsize


def _blocked(values: Array, block: int) -> Array:
    """As 64-bit integers, flat; the last one again until the number of them is a whole block."""
    flat = np.asarray(values, np.int64).reshape(-1)
    return np.pad(flat, (0, -len(flat) % block), "edge")


def _starts(width: int, itemsize: int) -> Array:
    """The columns at which a row's vectors begin."""
    full = lanes(itemsize)
    return np.minimum(np.arange(0, width, full), width - full)


def _outer(*parts: tuple[int, int]) -> Array:
    """Offsets of all combinations of indices: (count, step) for each axis."""
    total = np.zeros((), np.int64)
    for count, step in parts:
        total = np.add.outer(total, np.arange(count) * step)
    return total


@functools.lru_cache(maxsize=256)
def forward_tables(
    x_shape: tuple[int, ...], weight_shape: tuple[int, ...], size: Pair, S: Pair, D: Pair,
    itemsize: int,
) -> Tables:  # fmt: skip
    """For x (N, C, H, W) with its padding and its columns sorted."""
    F, C, KH, KW = weight_shape
    H, W = x_shape[2:]
    OH, OW = size
    K, columns = C * KH * KW, _starts(OW, itemsize)
    across = np.arange(KW) * D[1]
    across = across % S[1] * (W // S[1]) + across // S[1]
    return Tables(
        a_rows=_blocked(_outer((F, K)), ROWS),
        a_steps=np.arange(K),
        b_places=_blocked(np.add.outer(np.arange(OH) * S[0] * W, columns), PLACES),
        b_steps=np.add.outer(_outer((C, H * W), (KH, D[0] * W)), across).reshape(-1),
        to_rows=_blocked(_outer((F, OH * OW)), ROWS),
        to_places=_blocked(np.add.outer(np.arange(OH) * OW, columns), PLACES),
    )


@functools.lru_cache(maxsize=256)
def grad_input_tables(
    gy_shape: tuple[int, ...], weight_shape: tuple[int, ...], H: int, DH: int, pitch: int,
    itemsize: int,
) -> Tables:  # fmt: skip
    """For gy (N, F, H + (KH - 1) DH, OW): with rows of zeros above and below. k is (kh, f)."""
    F, C, KH, KW = weight_shape
    GH, OW = gy_shape[2:]
    columns = _starts(OW, itemsize)
    down = (KH - 1) * DH
    return Tables(
        a_rows=_blocked(_outer((C, KH * KW), (KW, 1)), ROWS),
        a_steps=_outer((KH, KW), (F, C * KH * KW)).reshape(-1),
        b_places=_blocked(np.add.outer((np.arange(H) + down) * OW, columns), PLACES),
        b_steps=_outer((KH, -DH * OW), (F, GH * OW)).reshape(-1),
        to_rows=_blocked(_outer((C * KW, H * pitch)), ROWS),
        to_places=_blocked(np.add.outer(np.arange(H) * pitch, columns), PLACES),
    )


@functools.lru_cache(maxsize=256)
def grad_weight_tables(
    x_shape: tuple[int, ...], weight_shape: tuple[int, ...], size: Pair, D: Pair, itemsize: int
) -> Tables:
    """For x (N, C, H, W) with its padding, of which a block goes over some images."""
    F, C, KH, KW = weight_shape
    H, W = x_shape[2:]
    OH, OW = size
    full, images = lanes(itemsize), images_of(x_shape[0], F, size, itemsize)
    return Tables(
        a_rows=_blocked(_outer((F, OH * OW)), ROWS),
        a_steps=_outer((images, F * OH * OW), (OH, OW), (OW // full, full)).reshape(-1),
        b_places=_blocked(_outer((C, H * W), (KH, D[0] * W), (KW, D[1])), TAPS),
        b_steps=_outer((images, C * H * W), (OH, W), (OW // full, full)).reshape(-1),
        to_rows=_blocked(_outer((F, C * KH * KW)), ROWS),
        to_places=_blocked(_outer((C * KH * KW, 1)), TAPS),
    )


def images_of(N: int, F: int, size: Pair, itemsize: int) -> int:
    """How many images one block of grad_weight's sums goes over."""
    return max(1, min(N, IMAGES, PART // (F * math.prod(size) * itemsize)))


def can(
    direction: str, x_shape: tuple[int, ...], weight_shape: tuple[int, ...], size: Pair, S: Pair,
    P: Pair, D: Pair, itemsize: int,
) -> bool:  # fmt: skip
    """Whether rows are long enough for vectors, and copies small. grad_weight, which must not count
    a pixel twice, needs whole vectors."""
    if direction != "forward" and S != (1, 1):
        return False
    if direction == "grad_weight" and size[1] % lanes(itemsize):
        return False
    around = all(p <= (k - 1) * d for p, k, d in zip(P, weight_shape[2:], D))
    copied = workspace_bytes(direction, x_shape, weight_shape, size, S, P, D, itemsize)
    fits = size[1] >= lanes(itemsize) and copied <= LARGEST
    return fits and (around or direction != "grad_input")


def workspace_bytes(
    direction: str, x_shape: tuple[int, ...], weight_shape: tuple[int, ...], size: Pair, S: Pair,
    P: Pair, D: Pair, itemsize: int,
) -> int:  # fmt: skip
    """The copies with padding, grad_input's t for each thread, grad_weight's partial sums."""
    N, C, H, W = x_shape
    F, _, KH, KW = weight_shape
    copied = max(P) > 0 or S[1] > 1
    padded = N * C * (H + 2 * P[0]) * (W + 2 * P[1] + S[1] - 1) if copied else 0
    if direction == "grad_input":
        t = C * KW * H * (size[1] + (KW - 1) * D[1] - P[1])
        numbers = N * F * (H + (KH - 1) * D[0]) * size[1] + t * backend.get_num_threads()
    elif direction == "grad_weight":
        parts = math.ceil(N / images_of(N, F, size, itemsize))
        numbers = padded + parts * F * C * KH * KW
    else:
        numbers = padded
    return numbers * itemsize


def _numpy_block(
    a: Array, b: Array, b0: int, tables: tuple[Array, ...], depth: int, vectors: bool
) -> Array:
    """row_tile's sums of all rows and places, (rows, places, lanes)."""
    a_rows, a_steps, b_places, b_steps = tables
    row = np.arange(lanes(b.itemsize))
    seen = b[b0 + b_places[:, None, None] + b_steps[:depth, None] + row]
    at = a_rows[:, None] + a_steps[:depth]
    if vectors:
        return np.einsum("rkl,pkl->rpl", a[at[..., None] + row], seen)
    return np.einsum("rk,pkl->rpl", a[at], seen)


def _surround_numpy(x: Array, padded: Array, top: int, left: int) -> None:
    SW = padded.shape[2]
    padded[...] = 0
    for w in range(x.shape[2]):
        padded[:, top : top + x.shape[1], (w + left) % SW, (w + left) // SW] = x[:, :, w]


@kernel(numpy=_surround_numpy)
def surround(x: Array, padded: Array, top: int, left: int) -> None:
    """padded[n, top + h, (left + w) % SW, (left + w) / SW] = x[n, h, w], 0 elsewhere.

    x: (N, H, W), padded: (N, .., SW, ..).
    """
    N, H, W = x.shape
    HP, SW, WP = padded.shape[1:]
    zero = x.dtype.type(0)
    xf, pf = x.reshape(x.size), padded.reshape(padded.size)
    for n in prange(N):
        for hp in range(HP):
            inside = 0 <= hp - top < H
            for phase in range(SW):
                row = ((n * HP + hp) * SW + phase) * WP
                first = (phase - left) % SW  # column of x that belongs here
                count = (W - first + SW - 1) // SW if inside and first < W else 0
                at = (first + left - phase) // SW if count > 0 else 0
                for w in range(uint(at)):
                    pf[uint(row) + w] = zero
                source = (n * H + hp - top) * W + first
                for w in range(uint(count)):
                    pf[uint(row + at) + w] = xf[uint(source) + w * uint(SW)]
                for w in range(uint(at + count), uint(WP)):
                    pf[uint(row) + w] = zero


def _weigh_rows_numpy(
    a: Array, b: Array, starts: Array, to: Array, a_rows: Array, a_steps: Array,
    b_places: Array, b_steps: Array, to_rows: Array, to_places: Array,
) -> None:  # fmt: skip
    N = len(b)
    row = np.arange(lanes(b.itemsize))
    for n in range(N):
        sums = _numpy_block(a, b[n], 0, (a_rows, a_steps, b_places, b_steps), len(a_steps), False)
        to[n, to_rows[:, None, None] + to_places[:, None] + row] = sums + starts[:, None, None]


@kernel(numpy=_weigh_rows_numpy)
def weigh_rows(
    a: Array, b: Array, starts: Array, to: Array, a_rows: Array, a_steps: Array,
    b_places: Array, b_steps: Array, to_rows: Array, to_places: Array,
) -> None:  # fmt: skip
    """row_tile's sums of all rows and places, for each image b[n]. a: flat; b, to: (N, ..)."""
    blocks = a_rows.size // ROWS
    images, results = b.reshape(b.size), to.reshape(to.size)
    for task in prange(len(b) * blocks):
        n, r = task // blocks, task % blocks * ROWS
        for p in range(0, b_places.size, PLACES):
            weigh(
                a, 0, a_rows, r, a_steps, images, n * b.shape[1], b_places, p, b_steps,
                0, a_steps.size, starts, results, n * to.shape[1], to_rows, to_places,
            )  # fmt: skip


def _rows_back_numpy(
    a: Array, gy: Array, starts: Array, gx: Array, size: Pair, taps: Pair, D: Pair, P: Pair,
    a_rows: Array, a_steps: Array, b_places: Array, b_steps: Array, to_rows: Array,
    to_places: Array,
) -> None:  # fmt: skip
    N, C, H, _ = gx.shape
    gap = (taps[1] - 1) * D[1] - P[1]
    t = np.zeros((N, C * taps[1] * H * (size[1] + gap)), gx.dtype)
    tables = (a_rows, a_steps, b_places, b_steps, to_rows, to_places)
    _weigh_rows_numpy(a, gy, starts, t, *tables)
    t = t.reshape(N, C, taps[1], H, -1)
    gx[...] = 0
    for kw in range(taps[1]):
        w = kw * D[1] - P[1]
        low = max(0, -w)
        high = max(low, min(size[1], gx.shape[3] - w))
        gx[..., low + w : high + w] += t[:, :, kw, :, low:high]


@kernel(numpy=_rows_back_numpy)
def rows_back(
    a: Array, gy: Array, starts: Array, gx: Array, size: Pair, taps: Pair, D: Pair, P: Pair,
    a_rows: Array, a_steps: Array, b_places: Array, b_steps: Array, to_rows: Array,
    to_places: Array,
) -> None:  # fmt: skip
    """For each image, t of the head of this file; then gx, where t's columns are added up.

    gy: (N, F GH OW), with rows of zeros. Of k = (kh, f), a block takes only the kh that one of its
    rows needs. Behind each row of t lies a gap of zeros, for columns w that no ow reaches.
    """
    N, C, H, W = gx.shape
    OH, OW = size
    KH, KW = taps
    DH, DW = D
    F = a_steps.size // KH
    L = ROW_BYTES // gx.itemsize
    across = (OW + L - 1) // L  # vectors of a row
    gap = (KW - 1) * DW - P[1]
    pitch = OW + gap
    rows, width = (1, H * W) if pitch == W else (H, W)
    images, gxf = gy.reshape(gy.size), gx.reshape(gx.size)
    for n in prange(N):
        t = np.zeros(gap + C * KW * H * pitch, gx.dtype)
        for p in range(0, b_places.size, PLACES):
            top, bottom = p // across + P[0], min(H - 1, (p + PLACES - 1) // across) + P[0]
            first = min(KH - 1, max(0, (top - OH + DH) // DH))
            last = max(first, min(KH - 1, bottom // DH))
            for r in range(0, a_rows.size, ROWS):
                weigh(
                    a, 0, a_rows, r, a_steps, images, n * gy.shape[1], b_places, p, b_steps,
                    first * F, (last + 1) * F, starts, t, gap, to_rows, to_places,
                )  # fmt: skip
        for c in range(C):
            for h in range(rows):
                g = (n * C + c) * H * W + h * W
                for kw in range(KW):
                    s = gap + ((c * KW + kw) * H + h) * pitch + P[1] - kw * DW
                    for w in range(width):
                        i, v = uint(g + w), t[uint(s + w)]
                        gxf[i] = v if kw == 0 else gxf[i] + v


def _compare_rows_numpy(
    gy: Array, x: Array, sums: Array, zeros: Array, images: int, per_image: int, a_rows: Array,
    a_steps: Array, b_places: Array, b_steps: Array, to_rows: Array, to_places: Array,
) -> None:  # fmt: skip
    row, column = to_rows[:, None], to_places
    for part, first in enumerate(range(0, len(gy), images)):
        depth = min(images, len(gy) - first) * per_image
        tables = (a_rows, a_steps + first * gy.shape[1], b_places, b_steps)
        flat = gy.reshape(-1), x.reshape(-1), first * x.shape[1]
        sums[part, row + column] = _numpy_block(*flat, tables, depth, True).sum(2)


@kernel(numpy=_compare_rows_numpy)
def compare_rows(
    gy: Array, x: Array, sums: Array, zeros: Array, images: int, per_image: int, a_rows: Array,
    a_steps: Array, b_places: Array, b_steps: Array, to_rows: Array, to_places: Array,
) -> None:  # fmt: skip
    """sums[part, (f, c, kh, kw)], each part over some ``images``. gy, x: (N, ..)."""
    parts = len(sums)
    blocks = b_places.size // TAPS
    gyf, xf, total = gy.reshape(gy.size), x.reshape(x.size), sums.reshape(sums.size)
    for task in prange(parts * blocks):
        part, p = task // blocks, task % blocks * TAPS
        first = part * images
        depth = min(images, len(gy) - first) * per_image
        for r in range(0, a_rows.size, ROWS):
            compare(
                gyf, first * gy.shape[1], a_rows, r, a_steps, xf, first * x.shape[1],
                b_places, p, b_steps, 0, depth, zeros, total, part * sums.shape[1],
                to_rows, to_places,
            )  # fmt: skip


def forward(
    x: Array, weight: Array, bias: Array, y: Array, stride: Pair, padding: Pair, dilation: Pair
) -> None:  # fmt: skip
    """y = bias + sums of shifted rows of x times weights."""
    x = _padded(x, padding, stride[1])
    tables = forward_tables(x.shape, weight.shape, y.shape[2:], stride, dilation, x.itemsize)
    starts = np.pad(bias, (0, -len(bias) % ROWS), "edge")
    weigh_rows(weight.reshape(-1), _flat(x), starts, _flat(y), *tables)


def grad_input(
    gy: Array, weight: Array, gx: Array, stride: Pair, padding: Pair, dilation: Pair
) -> None:  # fmt: skip
    """gx = the same sums over gy's rows, for each kw, added up kw DW apart."""
    KH, KW = weight.shape[2:]
    size, H, DH = gy.shape[2:], gx.shape[2], dilation[0]
    around = empty((*gy.shape[:2], H + (KH - 1) * DH, size[1]), gy)
    _surround(gy, around, 1, (KH - 1) * DH - padding[0], 0)
    pitch = size[1] + (KW - 1) * dilation[1] - padding[1]
    tables = grad_input_tables(around.shape, weight.shape, H, DH, pitch, gy.itemsize)
    starts = np.zeros(tables.a_rows.size, gy.dtype)
    back = weight.reshape(-1), _flat(around), starts, gx, size, (KH, KW), dilation, padding
    rows_back(*back, *tables)


def grad_weight(
    gy: Array, x: Array, gw: Array, stride: Pair, padding: Pair, dilation: Pair
) -> None:  # fmt: skip
    """gw = gy's rows times x's shifted ones, summed over images and pixels."""
    x = _padded(x, padding)
    size = gy.shape[2:]
    tables = grad_weight_tables(x.shape, gw.shape, size, dilation, x.itemsize)
    zeros = np.zeros(tables.a_rows.size, x.dtype)
    images = images_of(len(x), len(gw), size, x.itemsize)
    sums = np.empty((math.ceil(len(x) / images), gw.size), x.dtype)
    per_image = math.prod(size) // lanes(x.itemsize)
    compare_rows(_flat(gy), _flat(x), sums, zeros, images, per_image, *tables)
    np.sum(sums, axis=0, out=gw.reshape(-1))


def _flat(x: Array) -> Array:
    return x.reshape(len(x), -1)


def _padded(x: Array, padding: Pair, SW: int = 1) -> Array:
    """x with zeros around, and of each row first the columns at 0, SW ..., then those at 1 ..."""
    if padding == (0, 0) and SW == 1:
        return x
    H, W = (n + 2 * p for n, p in zip(x.shape[2:], padding))
    padded = empty((*x.shape[:2], H, math.ceil(W / SW) * SW), x, op="conv2d")
    _surround(x, padded, SW, *padding)
    return padded


def _surround(x: Array, padded: Array, SW: int, top: int, left: int) -> None:
    H, W = padded.shape[2:]
    surround(x.reshape(-1, *x.shape[2:]), padded.reshape(-1, H, SW, W // SW), top, left)
