"""How the operands of a product are cut into the tiles of the micro-kernel.

Rows of a packed operand are as wide as a tile, tile after tile: of ``columns`` columns, the first
tile's of all rows, then the second's of all rows, and so on. ``cuts`` says how wide each is.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator

import numpy as np

from .backend import Array
from .jit import inline
from .microkernel import (
    HALF,
    HALVES,
    tile1,
    tile2,
    tile3,
    tile4,
    tile6,
)

DEPTH = 512  # terms added up in one go: a longer chain would round more


def tiles(columns: int, itemsize: int) -> list[int]:
    """How a row of ``columns`` numbers is cut into tiles, in half vectors each."""
    h = HALF // itemsize
    left, result = -(-columns // h), []
    while left > 0:
        # 64 float32 are better done as 32 + 32 than as 48 + 16.
        size = 6 if left > 8 or left in (5, 6) else min(n for n in HALVES if n >= min(left, 4))
        result.append(size)
        left -= size
    return result


@functools.lru_cache(maxsize=1024)
def tiles_of(columns: int, itemsize: int) -> tuple[Array, int]:
    """``tiles`` as an array, and how many columns they have together."""
    cuts = np.array(tiles(columns, itemsize))
    return cuts, int(cuts.sum()) * (HALF // itemsize)


# Sums and extents as loops: what looks like whole-array NumPy in a kernel, Numba turns into loops
# for all threads, of which each costs seconds to compile.
@inline
def columns_of(cuts: Array, tiles: int, h: int) -> int:
    """Columns of the first tiles."""
    total = 0
    for i in range(tiles):
        total += cuts[i]
    return total * h


@inline
def add_tile(
    halves: int, a: Array, a0: int, rows: Array, r: int, steps: Array, k0: int, depth: int,
    b: Array, q: int, b_row: int, to: Array, t: int, to_row: int, runs: int, gap: int,
    a_ahead: int,
) -> None:  # fmt: skip
    """``outer_products`` of ROWS rows and ``halves`` half vectors of columns, if depth and runs
    are above 0; meanwhile, of a, the lines ``a_ahead`` are fetched."""
    if depth > 0 and runs > 0:
        if halves == 6:
            tile6(
                a, a0, rows, r, steps, k0, depth, b, q, b_row, to, t, to_row, 0, runs, gap,
                a_ahead, 0,
            )  # fmt: skip
        elif halves == 4:
            tile4(
                a, a0, rows, r, steps, k0, depth, b, q, b_row, to, t, to_row, 0, runs, gap,
                a_ahead, 0,
            )  # fmt: skip
        elif halves == 3:
            tile3(
                a, a0, rows, r, steps, k0, depth, b, q, b_row, to, t, to_row, 0, runs, gap,
                a_ahead, 0,
            )  # fmt: skip
        elif halves == 2:
            tile2(
                a, a0, rows, r, steps, k0, depth, b, q, b_row, to, t, to_row, 0, runs, gap,
                a_ahead, 0,
            )  # fmt: skip
        else:
            tile1(
                a, a0, rows, r, steps, k0, depth, b, q, b_row, to, t, to_row, 0, runs, gap,
                a_ahead, 0,
            )  # fmt: skip


def views_of(flat: Array, G: int, rows: int, cuts: Array) -> Iterator[tuple[int, Array]]:
    """Of each tile its first column, and a view of it, (G, rows, width)."""
    flat, left = flat.reshape(G, -1), 0
    for cut in cuts:
        width = int(cut) * (HALF // flat.itemsize)
        yield left, flat[:, left * rows : (left + width) * rows].reshape(G, rows, width)
        left += width


def matrices_of(flat: Array, G: int, rows: int, cuts: Array) -> Array:
    """All tiles as plain matrices, (G, rows, columns)."""
    return np.concatenate([tile for _, tile in views_of(flat, G, rows, cuts)], axis=2)


def looks_inside(shifts: Array, out: int, step: int, n: int) -> Array:
    """For each tap along one axis, how many of ``out`` windows have it inside an image of n."""
    first, last = np.maximum(0, -(shifts // step)), np.minimum(out, -((shifts - n) // step))
    return np.maximum(0, last - first)
