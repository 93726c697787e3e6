"""softmax and log_softmax over the rows of a matrix, and their gradients.

The largest element is subtracted before exp, so nothing overflows and the sum is at least 1. A row
is one iteration of the parallel loop. Cost: three passes over a row that stays in cache.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .backend import Array, contiguous, empty
from .jit import Kernel, inline, kernel, prange
from .scalar import exp as _exp

# exp weighs more than a memory access: fewer elements than elsewhere are worth a second thread.
PARALLEL_ABOVE = 1 << 13


@inline
def _largest(row: Array) -> Any:
    """Four maxima at a time, as each comparison waits for the one before. NaN may be passed over:
    the sum of exp will be NaN."""
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


def _softmax_numpy(x: Array, y: Array) -> None:
    np.exp(x - x.max(1, keepdims=True), out=y)
    y /= y.sum(1, keepdims=True)


@kernel(numpy=_softmax_numpy, parallel_above=PARALLEL_ABOVE)
def _softmax(x: Array, y: Array) -> None:
    for n in prange(x.shape[0]):
        largest = _largest(x[n])
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
        largest = _largest(x[n])
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


def softmax(x: Array, dim: int) -> Array:
    """y = e^x / sum of e^x along ``dim``."""
    return _over_rows(_softmax, dim, x)


def softmax_grad(y: Array, gy: Array, dim: int) -> Array:
    """gx = y (gy - sum of y gy)."""
    return _over_rows(_softmax_grad, dim, y, gy)


def log_softmax(x: Array, dim: int) -> Array:
    """y = x - log(sum of e^x along ``dim``)."""
    return _over_rows(_log_softmax, dim, x)


def log_softmax_grad(y: Array, gy: Array, dim: int) -> Array:
    """gx = gy - e^y (sum of gy)."""
    return _over_rows(_log_softmax_grad, dim, y, gy)


def _over_rows(k: Kernel, dim: int, *arrays: Array) -> Array:
    """``k(*matrices, y)`` with ``dim`` of the arrays as the rows, and y put back in their order."""
    x = arrays[0]
    if x.dtype == np.float16:
        return _over_rows(k, dim, *(a.astype(np.float32) for a in arrays)).astype(x.dtype)
    if x.ndim == 0:
        return _over_rows(k, 0, *(a.reshape(1) for a in arrays)).reshape(())
    moved = [contiguous(np.moveaxis(a, dim, -1)) for a in arrays]
    shape = moved[0].shape
    y = empty(shape, x)
    if y.size:
        k(*(a.reshape(-1, shape[-1]) for a in moved), y.reshape(-1, shape[-1]))
    return contiguous(np.moveaxis(y, -1, dim))
