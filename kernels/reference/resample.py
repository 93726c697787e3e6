"""Bilinear interpolation, output by output. Arrays are (planes, H, W)."""

from __future__ import annotations

import itertools

import numpy as np

from ..backend import Array
from ..resample import Taps


def _corners(rows: Taps, columns: Taps, oh: int, ow: int) -> list[tuple[int, int, float]]:
    """The four cells that output (oh, ow) is mixed from, and the share of each."""
    vertical = [(rows[0][oh], 1 - float(rows[2][oh])), (rows[1][oh], float(rows[2][oh]))]
    across = float(columns[2][ow])
    horizontal = [(columns[0][ow], 1 - across), (columns[1][ow], across)]
    return [(h, w, a * b) for (h, a), (w, b) in itertools.product(vertical, horizontal)]


def bilinear(x: Array, rows: Taps, columns: Taps) -> Array:
    """The mix of four cells."""
    y = np.empty((x.shape[0], len(rows[0]), len(columns[0])), x.dtype)
    for n, oh, ow in np.ndindex(y.shape):
        y[n, oh, ow] = sum(
            share * float(x[n, h, w]) for h, w, share in _corners(rows, columns, oh, ow)
        )
    return y


def bilinear_grad(gy: Array, rows: Taps, columns: Taps, size: tuple[int, int]) -> Array:
    """Each output sends gy back to its four cells, by their shares."""
    gx = np.zeros((gy.shape[0], *size))
    for n, oh, ow in np.ndindex(gy.shape):
        for h, w, share in _corners(rows, columns, oh, ow):
            gx[n, h, w] += share * float(gy[n, oh, ow])
    return gx.astype(gy.dtype)
