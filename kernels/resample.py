"""Bilinear interpolation of planes, and its gradient.

Along each axis output i lies between two input cells, ``low[i]`` and ``high[i]`` (the same or the
next), at a fraction ``part[i]`` of the way. Rows are mixed first, as whole rows; then columns.
"""

from __future__ import annotations

import math
from typing import Any, TypeAlias

import numpy as np

from .backend import Array, constant, contiguous, empty
from .half import is_half
from .jit import kernel, prange

Taps: TypeAlias = tuple[Any, Any, Any]  # low, high, part
# Not to be rearranged: (1 - t) a + t b is b at t = 1; a + t (b - a) may be infinity less itself.
AS_WRITTEN = {"contract", "nsz"}


def _mix(x: Array, low: Array, high: Array, part: Array, axis: int) -> Array:
    shape = [1, 1, 1]
    shape[axis] = part.size
    part = part.reshape(shape)
    return np.take(x, low, axis) * (1 - part) + np.take(x, high, axis) * part


def _bilinear_numpy(
    x: Array, y: Array, top: Array, bottom: Array, down: Array, left: Array, right: Array,
    across: Array,
) -> None:  # fmt: skip
    y[...] = _mix(_mix(x, top, bottom, down, 1), left, right, across, 2)


@kernel(numpy=_bilinear_numpy, fastmath=AS_WRITTEN)
def _bilinear(
    x: Array, y: Array, top: Array, bottom: Array, down: Array, left: Array, right: Array,
    across: Array,
) -> None:  # fmt: skip
    planes, _, W = x.shape
    _, OH, OW = y.shape
    one = x.dtype.type(1)
    for n in prange(planes):
        row = np.empty(W, x.dtype)
        for oh in range(OH):
            for w in range(W):
                row[w] = (one - down[oh]) * x[n, top[oh], w] + down[oh] * x[n, bottom[oh], w]
            for ow in range(OW):
                y[n, oh, ow] = (one - across[ow]) * row[left[ow]] + across[ow] * row[right[ow]]


def _bilinear_grad_numpy(
    gy: Array, gx: Array, top: Array, bottom: Array, down: Array, left: Array, right: Array,
    across: Array,
) -> None:  # fmt: skip
    row = np.zeros((gy.shape[0], gy.shape[1], gx.shape[2]), gx.dtype)
    _add_at(row, 2, left, gy * (1 - across))
    _add_at(row, 2, right, gy * across)
    gx[...] = 0
    _add_at(gx, 1, top, row * (1 - down[:, None]))
    _add_at(gx, 1, bottom, row * down[:, None])


def _add_at(x: Array, axis: int, index: Array, values: Array) -> None:
    np.add.at(np.moveaxis(x, axis, 0), index, np.moveaxis(values, axis, 0))


@kernel(numpy=_bilinear_grad_numpy)
def _bilinear_grad(
    gy: Array, gx: Array, top: Array, bottom: Array, down: Array, left: Array, right: Array,
    across: Array,
) -> None:  # fmt: skip
    """Gathers: as outputs only move on, those that used a cell are consecutive."""
    planes, H, W = gx.shape
    _, OH, OW = gy.shape
    zero = gx.dtype.type(0)
    one = gx.dtype.type(1)
    for n in prange(planes):
        row = np.empty(OW, gx.dtype)
        first = 0
        for h in range(H):
            row[:] = zero
            while first < OH and bottom[first] < h:
                first += 1
            oh = first
            while oh < OH and top[oh] <= h:
                weight = (one - down[oh] if top[oh] == h else zero) + (
                    down[oh] if bottom[oh] == h else zero
                )
                for ow in range(OW):
                    row[ow] += weight * gy[n, oh, ow]
                oh += 1
            begin = 0
            for w in range(W):
                total = zero
                while begin < OW and right[begin] < w:
                    begin += 1
                ow = begin
                while ow < OW and left[ow] <= w:
                    total += (one - across[ow] if left[ow] == w else zero) * row[ow]
                    total += (across[ow] if right[ow] == w else zero) * row[ow]
                    ow += 1
                gx[n, h, w] = total


def bilinear(x: Array, rows: Taps, columns: Taps) -> Array:
    """y[oh, ow] from the four cells around it; x (..., H, W), y (..., OH, OW)."""
    if is_half(x.dtype):
        return bilinear(x.astype(np.float32), rows, columns).astype(x.dtype)
    y = empty((*x.shape[:-2], rows[0].size, columns[0].size), x)
    if y.size:
        _bilinear(_planes(x), _planes(y), *_typed(rows, x), *_typed(columns, x))
    return y


def bilinear_grad(gy: Array, rows: Taps, columns: Taps, size: tuple[int, int]) -> Array:
    """gx[h, w]: what each output that used the cell sends back, by its share."""
    if is_half(gy.dtype):
        return bilinear_grad(gy.astype(np.float32), rows, columns, size).astype(gy.dtype)
    gx = empty((*gy.shape[:-2], *size), gy)
    if gx.size:
        _bilinear_grad(_planes(gy), _planes(gx), *_typed(rows, gy), *_typed(columns, gy))
    return gx


def _typed(taps: Taps, like: Array) -> Taps:
    low, high, part = (constant(tap, like) for tap in taps)
    return low, high, part.astype(like.dtype)


def _planes(x: Array) -> Array:
    return contiguous(x).reshape(math.prod(x.shape[:-2]), *x.shape[-2:])
