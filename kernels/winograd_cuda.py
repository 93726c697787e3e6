"""Winograd's convolution on a GPU: launches of winograd.cu and winograd_weight.cu, and of gemm.cu's
product between them.

As in ``winograd.py``: 3x3, stride 1, dilation 1, one group. The numbers of the tiles, V and M (or
Z), lie in memory between the launches, as many images' as fit into ``LARGEST`` bytes beside U.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from .backend import Array, empty
from .geometry import Pair
from .launcher import launch

if TYPE_CHECKING:
    from .algorithms import Problem

LARGEST = 96 << 20  # bytes of U, V and M: enough for two waves of blocks on 132 multiprocessors
# Float operations in the time in which a byte is moved: 20 on an H100, 25 on a T4, 38 on an RTX
# 3090, 82 on a 4090 (whose cache of 72 MB helps).
BALANCE = 40


class Plan(NamedTuple):
    """How much is computed at a time."""

    tile: int
    tiles: int  # of an image
    images: int  # at a time
    workspace: int  # bytes


def plan(N: int, C: int, F: int, size: Pair, itemsize: int) -> Plan:
    """For y of ``size``. V and M may exceed ``LARGEST`` only where one image does."""
    from .winograd_conv import tile_of  # which needs im2col, and that this module

    tile = tile_of(size)
    tiles = math.prod(-(-n // tile) for n in size)
    each = (tile + 2) ** 2 * max(4, itemsize)
    filters, image = each * F * C, each * (C + F) * tiles
    fitting = max(1, min(N, (LARGEST - filters) // max(1, image)))
    images = -(-N // -(-N // fitting))  # in equal parts
    return Plan(tile, tiles, images, filters + image * images)


def _of(p: Problem) -> tuple[Plan, int, int, int, Pair]:
    N, C, H, W = p.x_shape
    F = p.weight_shape[0]
    size = (H, W) if p.direction == "grad_input" else p.size
    return plan(N, C, F, size, p.itemsize), N, C, F, size


def workspace_bytes(p: Problem) -> int:
    """Bytes of U, V and M."""
    return _of(p)[0].workspace


def saves(p: Problem) -> bool:
    """Whether, by counting, the transforms cost less time than the multiplications that they save.

    U, V and M are written once and read once, which takes the time of BALANCE operations a byte:
    128 channels and 8 images of 28 x 28 pay, 64 channels or one image do not. Nor are there too few
    blocks to fill a GPU: 36 products, each with 1/16 of the columns, have 2.25 times as many tiles
    as the implicit GEMM. None of this has been measured on a GPU.
    """
    plan, N, C, F, size = _of(p)
    if plan.workspace > LARGEST:
        return False
    numbers = (plan.tile + 2) ** 2
    saved = 2 * N * C * F * (9 * math.prod(size) - numbers * plan.tiles)
    moved = 2 * p.itemsize * numbers * (N * plan.tiles * (C + F) + C * F)
    return saved > BALANCE * moved


def forward(x: Array, weight: Array, bias: Array | None, y: Array, padding: Pair) -> None:
    """y = the convolution of x with weight, plus bias."""
    _correlate(x, weight, bias, y, padding, turned=0)


def grad_input(gy: Array, weight: Array, gx: Array, padding: Pair) -> None:
    """gx = the convolution of gy with the turned weight."""
    _correlate(gy, weight, None, gx, (2 - padding[0], 2 - padding[1]), turned=1)


def grad_weight(gy: Array, x: Array, gw: Array, padding: Pair) -> None:
    """gw = the sum over all pixels of gy times what their windows see; not of halves."""
    N, C = x.shape[:2]
    F = len(gw)
    tile, tiles, images, _ = plan(N, C, F, gy.shape[2:], x.itemsize)
    numbers = (tile + 2) ** 2
    u = empty((numbers, C, F), x)
    for n in range(0, N, images):
        part, part_gy = x[n : n + images], gy[n : n + images]
        v = empty((numbers, C, len(part) * tiles), x, op="winograd")
        z = empty((numbers, len(part) * tiles, F), x, op="winograd")
        launch("winograd", "data", part, v, *padding, tile)
        launch("winograd_weight", "spread", part_gy, z, tile)
        launch("gemm", "matmul", v, z, u)
        launch("winograd_weight", "taps", u, gw, tile, int(n > 0))


def _correlate(
    x: Array, weight: Array, bias: Array | None, y: Array, padding: Pair, turned: int
) -> None:
    N, C = x.shape[:2]
    F = y.shape[1]
    tile, tiles, images, _ = plan(N, C, F, y.shape[2:], x.itemsize)
    numbers = (tile + 2) ** 2
    real = np.promote_types(x.dtype, np.float32)  # halves are transformed in float
    u = empty((numbers, F, C), x, real)
    launch("winograd", "filters", weight, u, tile, turned)
    for n in range(0, N, images):
        part = x[n : n + images]
        v = empty((numbers, C, len(part) * tiles), x, real, op="winograd")
        m = empty((numbers, F, len(part) * tiles), x, real, op="winograd")
        launch("winograd", "data", part, v, *padding, tile)
        launch("gemm", "matmul", u, v, m)
        launch("winograd", "result", m, bias, y[n : n + images], tile, 0)
