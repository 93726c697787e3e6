"""Joining arrays along an axis, and taking them apart: rows of one array are parts of longer rows
of another.

Each array is copied to its place among the longer rows of the result. On the way back an array's
gradient is a view of the result's: ``take_rows`` makes a plain array of it where one is needed,
``add_rows`` adds it to another gradient of the same array.
"""

from __future__ import annotations

import numpy as np

from .backend import LARGE, Array
from .jit import kernel, prange, uint
from .simd import BLOCK, block, load, stream, vector, vectors


def _concat_numpy(x: Array, y: Array, start: int) -> None:
    y[:, start : start + x.shape[1]] = x


@kernel(numpy=_concat_numpy, parallel_above=LARGE)
def concat(x: Array, y: Array, start: int) -> None:
    """y[n, start : start + L] = x[n], x of (N, L).

    N counts the axes before the one along which arrays are joined, L it and those behind it.
    """
    N, L = x.shape
    xf, yf = x.reshape(x.size), y.reshape(y.size)
    blocks = (L + BLOCK - 1) // BLOCK
    for task in prange(N * blocks):
        n, first = task // blocks, task % blocks * BLOCK
        at, to, some = n * L + first, n * y.shape[1] + start + first, min(BLOCK, L - first)
        yf[to : to + some] = xf[at : at + some]


@kernel(numpy=_concat_numpy, parallel_above=LARGE, streams=concat)
def concat_streamed(x: Array, y: Array, start: int) -> None:
    """``concat`` for a large y, and L >= BLOCK."""
    N, L = x.shape
    xf, yf = x.reshape(x.size), y.reshape(y.size)
    blocks = L // BLOCK
    for task in prange(N * blocks):
        n = task // blocks
        ahead = n * (L - y.shape[1]) - start
        first, end = block(n * y.shape[1] + start, L, task % blocks)
        for k in range(vectors(yf, first, end)):
            i = vector(yf, first, end, k)
            stream(yf, i, load(xf, i + ahead))


def _take_rows_numpy(x: Array, pitch: int, y: Array) -> None:
    y[:] = np.lib.stride_tricks.as_strided(x, y.shape, (pitch * x.itemsize, x.itemsize))


@kernel(numpy=_take_rows_numpy, parallel_above=LARGE)
def take_rows(x: Array, pitch: int, y: Array) -> None:
    """y[n] = x[n pitch : n pitch + L], x flat, y of (N, L)."""
    N, L = y.shape
    yf = y.reshape(y.size)
    blocks = (L + BLOCK - 1) // BLOCK
    for task in prange(N * blocks):
        n, first = task // blocks, task % blocks * BLOCK
        at, to, some = n * pitch + first, n * L + first, min(BLOCK, L - first)
        yf[to : to + some] = x[at : at + some]


@kernel(numpy=_take_rows_numpy, parallel_above=LARGE, streams=take_rows)
def take_rows_streamed(x: Array, pitch: int, y: Array) -> None:
    """``take_rows`` for a large y, and L >= BLOCK."""
    N, L = y.shape
    yf = y.reshape(y.size)
    blocks = L // BLOCK
    for task in prange(N * blocks):
        n = task // blocks
        ahead = n * (pitch - L)
        first, end = block(n * L, L, task % blocks)
        for k in range(vectors(yf, first, end)):
            i = vector(yf, first, end, k)
            stream(yf, i, load(x, i + ahead))


def _add_rows_numpy(x: Array, pitch: int, y: Array) -> None:
    y += np.lib.stride_tricks.as_strided(x, y.shape, (pitch * x.itemsize, x.itemsize))


@kernel(numpy=_add_rows_numpy, parallel_above=LARGE)
def add_rows(x: Array, pitch: int, y: Array) -> None:
    """y[n] += x[n pitch : n pitch + L], x flat, y of (N, L)."""
    N, L = y.shape
    yf = y.reshape(y.size)
    blocks = (L + BLOCK - 1) // BLOCK
    for task in prange(N * blocks):
        n, first = task // blocks, task % blocks * BLOCK
        at, to = uint(n * pitch + first), uint(n * L + first)
        for i in range(uint(min(BLOCK, L - first))):
            yf[to + i] += x[at + i]
