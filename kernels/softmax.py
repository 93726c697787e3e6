"""softmax and log_softmax along one axis, and their gradients.

The largest element is subtracted before exp, so nothing overflows and the sum is at least 1. Along
the innermost axis a row is one iteration of the parallel loop; along another one (the classes of
every pixel), a block of neighbouring columns is, so that both read memory in its order. Cost: three
passes over rows that stay in cache.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .backend import Array, contiguous, empty
from .jit import inline, kernel, prange
from .scalar import exp as _exp

# exp weighs more than a memory access: fewer elements than elsewhere are worth a second thread.
PARALLEL_ABOVE = 1 << 13
# Columns that one iteration takes: a few vectors, and the rows of a block stay in cache.
BLOCK = 128


@inline
def _keep_larger(row: Array, largest: Array) -> None:
    for i in range(row.size):
        largest[i] = max(largest[i], row[i])


@inline
def _largest(row: Array, scratch: Array) -> Any:
    """The largest number of a row; NaN may be passed over: the sum of exp will be NaN.

    Several maxima at a time, as each comparison waits for the one before: long rows fold into the
    first ``BLOCK`` places of ``scratch``, which LLVM does a vector at a time.
    """
    if row.size >= 2 * BLOCK:
        folded = scratch[:BLOCK]
        for i in range(BLOCK):
            folded[i] = row[i]
        for start in range(BLOCK, row.size, BLOCK):
            _keep_larger(row[start : min(start + BLOCK, row.size)], folded)
        row = folded
    a = b = c = d = row[0]
    whole = row.size - row.size % 4
    for i in range(0, whole, 4):
        a = max(a, row[i])
        b = max(b, row[i + 1])
        c = max(c, row[i + 2])
        d = max(d, row[i + 3])
    for i in range(whole, row.size):
        a = max(a, row[i])
    return max(a, b, c, d)


@inline
def _sum_of_exp(row: Array, largest: Any) -> Any:
    total = row.dtype.type(0)
    for i in range(row.size):
        total += _exp(row[i] - largest)
    return total


@inline(fastmath={"contract"})
def _subtract_both(row: Array, y: Array, largest: Any, log_total: Any) -> None:
    """In this order: the sum of a large and a small number would lose the small one's digits."""
    for i in range(row.size):
        y[i] = (row[i] - largest) - log_total


@inline(fastmath={"contract"})
def _subtract_rows(row: Array, y: Array, largest: Array, log_total: Array) -> None:
    for i in range(row.size):
        y[i] = (row[i] - largest[i]) - log_total[i]


def _softmax_numpy(x: Array, y: Array) -> None:
    np.exp(x - x.max(1, keepdims=True), out=y)
    y /= y.sum(1, keepdims=True)


@kernel(numpy=_softmax_numpy, parallel_above=PARALLEL_ABOVE)
def _softmax(x: Array, y: Array) -> None:
    for n in prange(x.shape[0]):
        largest = _largest(x[n], y[n])
        total = x.dtype.type(0)
        for i in range(x.shape[1]):
            e = _exp(x[n, i] - largest)
            y[n, i] = e
            total += e
        for i in range(x.shape[1]):
            y[n, i] /= total


def _softmax_grad_numpy(y: Array, gy: Array, gx: Array) -> None:
    np.multiply(y, gy - (y * gy).sum(1, keepdims=True), out=gx)


@kernel(numpy=_softmax_grad_numpy)
def _softmax_grad(y: Array, gy: Array, gx: Array) -> None:
    for n in prange(y.shape[0]):
        total = y.dtype.type(0)
        for i in range(y.shape[1]):
            total += y[n, i] * gy[n, i]
        for i in range(y.shape[1]):
            gx[n, i] = y[n, i] * (gy[n, i] - total)


def _log_softmax_numpy(x: Array, y: Array) -> None:
    np.subtract(x, x.max(1, keepdims=True), out=y)
    y -= np.log(np.exp(y).sum(1, keepdims=True))


@kernel(numpy=_log_softmax_numpy, parallel_above=PARALLEL_ABOVE)
def _log_softmax(x: Array, y: Array) -> None:
    for n in prange(x.shape[0]):
        largest = _largest(x[n], y[n])
        _subtract_both(x[n], y[n], largest, math.log(_sum_of_exp(x[n], largest)))


def _log_softmax_grad_numpy(y: Array, gy: Array, gx: Array) -> None:
    np.subtract(gy, np.exp(y) * gy.sum(1, keepdims=True), out=gx)


@kernel(numpy=_log_softmax_grad_numpy, parallel_above=PARALLEL_ABOVE)
def _log_softmax_grad(y: Array, gy: Array, gx: Array) -> None:
    for n in prange(y.shape[0]):
        total = y.dtype.type(0)
        for i in range(y.shape[1]):
            total += gy[n, i]
        for i in range(y.shape[1]):
            gx[n, i] = gy[n, i] - _exp(y[n, i]) * total


def _log_softmax_columns_numpy(x: Array, y: Array) -> None:
    np.subtract(x, x.max(1, keepdims=True), out=y)
    y -= np.log(np.exp(y).sum(1, keepdims=True))


@inline
def _add_exp(row: Array, largest: Array, total: Array) -> None:
    for i in range(row.size):
        total[i] += _exp(row[i] - largest[i])


@kernel(numpy=_log_softmax_columns_numpy, parallel_above=PARALLEL_ABOVE)
def _log_softmax_columns(x: Array, y: Array) -> None:
    N, D, S = x.shape
    blocks = (S + BLOCK - 1) // BLOCK
    for block in prange(N * blocks):
        n, start = block // blocks, block % blocks * BLOCK
        stop = min(start + BLOCK, S)
        largest = x[n, 0, start:stop].copy()
        total = np.zeros(stop - start, x.dtype)
        for d in range(1, D):
            _keep_larger(x[n, d, start:stop], largest)
        for d in range(D):
            _add_exp(x[n, d, start:stop], largest, total)
        for i in range(stop - start):
            total[i] = math.log(total[i])
        for d in range(D):
            _subtract_rows(x[n, d, start:stop], y[n, d, start:stop], largest, total)


def _log_softmax_columns_grad_numpy(y: Array, gy: Array, gx: Array) -> None:
    np.subtract(gy, np.exp(y) * gy.sum(1, keepdims=True), out=gx)


@inline
def _add(row: Array, total: Array) -> None:
    for i in range(row.size):
        total[i] += row[i]


@inline
def _subtract_share(y: Array, gy: Array, gx: Array, total: Array) -> None:
    for i in range(y.size):
        gx[i] = gy[i] - _exp(y[i]) * total[i]


@kernel(numpy=_log_softmax_columns_grad_numpy, parallel_above=PARALLEL_ABOVE)
def _log_softmax_columns_grad(y: Array, gy: Array, gx: Array) -> None:
    N, D, S = y.shape
    blocks = (S + BLOCK - 1) // BLOCK
    for block in prange(N * blocks):
        n, start = block // blocks, block % blocks * BLOCK
        stop = min(start + BLOCK, S)
        total = np.zeros(stop - start, y.dtype)
        for d in range(D):
            _add(gy[n, d, start:stop], total)
        for d in range(D):
            _subtract_share(y[n, d, start:stop], gy[n, d, start:stop], gx[n, d, start:stop], total)


def softmax(x: Array, dim: int) -> Array:
    """y = e^x / sum of e^x along ``dim``."""
    return _along(dim, _softmax, _softmax_columns, x)


def softmax_grad(y: Array, gy: Array, dim: int) -> Array:
    """gx = y (gy - sum of y gy)."""
    return _along(dim, _softmax_grad, _softmax_columns_grad, y, gy)


def log_softmax(x: Array, dim: int) -> Array:
    """y = x - log(sum of e^x along ``dim``)."""
    return _along(dim, _log_softmax, _log_softmax_columns, x)


def log_softmax_grad(y: Array, gy: Array, dim: int) -> Array:
    """gx = gy - e^y (sum of gy)."""
    return _along(dim, _log_softmax_grad, _log_softmax_columns_grad, y, gy)


def _softmax_columns(x: Array, y: Array) -> None:
    _log_softmax_columns(x, y)
    np.exp(y, out=y)


def _softmax_columns_grad(y: Array, gy: Array, gx: Array) -> None:
    np.multiply(y, gy - (y * gy).sum(1, keepdims=True), out=gx)


def _along(dim: int, rows: Any, columns: Any, *arrays: Array) -> Array:
    """``rows(*(N, D) arrays, y)`` where ``dim`` is the innermost axis in memory, else
    ``columns(*(N, D, S) arrays, y)``."""
    x = arrays[0]
    if x.dtype == np.float16:
        wide = (a.astype(np.float32) for a in arrays)
        return _along(dim, rows, columns, *wide).astype(x.dtype)
    y = empty(x.shape, x)
    if y.size:
        D = x.shape[dim] if x.ndim else 1
        S = math.prod(x.shape[dim + 1 :])
        shape = (x.size // D, D) if S == 1 else (x.size // (D * S), D, S)
        k = rows if S == 1 else columns
        k(*(contiguous(a).reshape(shape) for a in arrays), y.reshape(shape))
    return y
