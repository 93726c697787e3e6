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
from .half import is_half
from .jit import inline, kernel, prange, uint
from .scalar import exp_negative as _exp
from .scalar import log as _log
from .scalar import of_rank as _of_rank
from .scalar import rank as _rank

# exp weighs more than a memory access: fewer elements than elsewhere are worth a second thread.
PARALLEL_ABOVE = 1 << 13
# Columns that one iteration takes: a few vectors, and the rows of a block stay in cache.
BLOCK = 128


@inline
def _largest(x: Array, first: int, D: int) -> Any:
    """The largest number of a row; NaN may be passed over: the sum of exp will be NaN."""
    largest = _rank(x[first])
    for i in range(uint(D)):
        largest = max(largest, _rank(x[uint(first) + i]))
    return _of_rank(largest)


@inline(fastmath={"contract"}, forceinline=True)
def _subtract_both(v: Any, largest: Any, log_total: Any) -> Any:
    """In this order: the sum of a large and a small number would lose the small one's digits."""
    return (v - largest) - log_total


def _softmax_numpy(x: Array, y: Array) -> None:
    np.exp(x - x.max(1, keepdims=True), out=y)
    y /= y.sum(1, keepdims=True)


@kernel(numpy=_softmax_numpy, parallel_above=PARALLEL_ABOVE)
def _softmax(x: Array, y: Array) -> None:
    N, D = x.shape
    xf, yf = x.reshape(x.size), y.reshape(y.size)
    for n in prange(N):
        first = uint(n * D)
        largest = _largest(xf, n * D, D)
        total = x.dtype.type(0)
        for i in range(uint(D)):
            e = _exp(xf[first + i] - largest)
            yf[first + i] = e
            total += e
        for i in range(uint(D)):
            yf[first + i] /= total


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


@inline
def log_softmax_row(x: Array, y: Array, first: int, D: int) -> None:
    """The D numbers from ``first`` on, of flat arrays."""
    largest = _largest(x, first, D)
    total = x.dtype.type(0)
    for i in range(uint(D)):
        total += _exp(x[uint(first) + i] - largest)
    log_total = math.log(total)
    for i in range(uint(D)):
        y[uint(first) + i] = _subtract_both(x[uint(first) + i], largest, log_total)


@kernel(numpy=_log_softmax_numpy, parallel_above=PARALLEL_ABOVE)
def _log_softmax(x: Array, y: Array) -> None:
    N, D = x.shape
    xf, yf = x.reshape(x.size), y.reshape(y.size)
    for n in prange(N):
        log_softmax_row(xf, yf, n * D, D)


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


def _softmax_columns_numpy(x: Array, y: Array) -> None:
    np.exp(x - x.max(1, keepdims=True), out=y)
    y /= y.sum(1, keepdims=True)


@kernel(numpy=_softmax_columns_numpy, parallel_above=PARALLEL_ABOVE)
def _softmax_columns(x: Array, y: Array) -> None:
    N, D, S = x.shape
    xf, yf = x.reshape(x.size), y.reshape(y.size)
    blocks = (S + BLOCK - 1) // BLOCK
    for block in prange(N * blocks):
        n, start = block // blocks, block % blocks * BLOCK
        width = uint(min(BLOCK, S - start))
        first = n * D * S + start
        largest, total = np.empty(BLOCK, x.dtype), np.zeros(BLOCK, x.dtype)
        for i in range(width):
            largest[i] = xf[uint(first) + i]
        for d in range(1, D):
            row = uint(first + d * S)
            for i in range(width):
                largest[i] = max(largest[i], xf[row + i])
        for d in range(D):
            row = uint(first + d * S)
            for i in range(width):
                e = _exp(xf[row + i] - largest[i])
                yf[row + i] = e
                total[i] += e
        for d in range(D):
            row = uint(first + d * S)
            for i in range(width):
                yf[row + i] /= total[i]


def _softmax_columns_grad_numpy(y: Array, gy: Array, gx: Array) -> None:
    np.multiply(y, gy - (y * gy).sum(1, keepdims=True), out=gx)


@kernel(numpy=_softmax_columns_grad_numpy, parallel_above=PARALLEL_ABOVE)
def _softmax_columns_grad(y: Array, gy: Array, gx: Array) -> None:
    N, D, S = y.shape
    yf, gyf, gxf = y.reshape(y.size), gy.reshape(gy.size), gx.reshape(gx.size)
    blocks = (S + BLOCK - 1) // BLOCK
    for block in prange(N * blocks):
        n, start = block // blocks, block % blocks * BLOCK
        width = uint(min(BLOCK, S - start))
        first = n * D * S + start
        total = np.zeros(BLOCK, y.dtype)
        for d in range(D):
            row = uint(first + d * S)
            for i in range(width):
                total[i] += yf[row + i] * gyf[row + i]
        for d in range(D):
            row = uint(first + d * S)
            for i in range(width):
                gxf[row + i] = yf[row + i] * (gyf[row + i] - total[i])


def _log_softmax_columns_numpy(x: Array, y: Array) -> None:
    np.subtract(x, x.max(1, keepdims=True), out=y)
    y -= np.log(np.exp(y).sum(1, keepdims=True))


@kernel(numpy=_log_softmax_columns_numpy, parallel_above=PARALLEL_ABOVE)
def _log_softmax_columns(x: Array, y: Array) -> None:
    N, D, S = x.shape
    xf, yf = x.reshape(x.size), y.reshape(y.size)
    blocks = (S + BLOCK - 1) // BLOCK
    for block in prange(N * blocks):
        n, start = block // blocks, block % blocks * BLOCK
        width = uint(min(BLOCK, S - start))
        first = n * D * S + start
        largest, total = np.empty(BLOCK, x.dtype), np.zeros(BLOCK, x.dtype)
        for i in range(width):
            largest[i] = xf[uint(first) + i]
        for d in range(1, D):
            row = uint(first + d * S)
            for i in range(width):
                largest[i] = max(largest[i], xf[row + i])
        for d in range(D):
            row = uint(first + d * S)
            for i in range(width):
                total[i] += _exp(xf[row + i] - largest[i])
        for i in range(width):
            total[i] = _log(total[i])
        for d in range(D):
            row = uint(first + d * S)
            for i in range(width):
                yf[row + i] = _subtract_both(xf[row + i], largest[i], total[i])


def _log_softmax_columns_grad_numpy(y: Array, gy: Array, gx: Array) -> None:
    np.subtract(gy, np.exp(y) * gy.sum(1, keepdims=True), out=gx)


@kernel(numpy=_log_softmax_columns_grad_numpy, parallel_above=PARALLEL_ABOVE)
def _log_softmax_columns_grad(y: Array, gy: Array, gx: Array) -> None:
    N, D, S = y.shape
    yf, gyf, gxf = y.reshape(y.size), gy.reshape(gy.size), gx.reshape(gx.size)
    blocks = (S + BLOCK - 1) // BLOCK
    for block in prange(N * blocks):
        n, start = block // blocks, block % blocks * BLOCK
        width = uint(min(BLOCK, S - start))
        first = n * D * S + start
        total = np.zeros(BLOCK, y.dtype)
        for d in range(D):
            row = uint(first + d * S)
            for i in range(width):
                total[i] += gyf[row + i]
        for d in range(D):
            row = uint(first + d * S)
            for i in range(width):
                gxf[row + i] = gyf[row + i] - _exp(yf[row + i]) * total[i]


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


def _along(dim: int, rows: Any, columns: Any, *arrays: Array) -> Array:
    """``rows(*(N, D) arrays, y)`` where ``dim`` is the innermost axis in memory, else
    ``columns(*(N, D, S) arrays, y)``."""
    x = arrays[0]
    if is_half(x.dtype):
        wide = (a.astype(np.float32) for a in arrays)
        return _along(dim, rows, columns, *wide).astype(x.dtype)
    y = empty(x.shape, x)
    if y.size:
        D = x.shape[dim] if x.ndim else 1
        S = math.prod(x.shape[dim + 1 :])
        shape = (x.size // D, D) if S == 1 else (x.size // (D * S), D, S)
        k = rows if S == 1 else columns
        plain = [contiguous(a) for a in arrays]
        if shape == x.shape:  # spares a microsecond
            k(*plain, y)
        else:
            k(*[a.reshape(shape) for a in plain], y.reshape(shape))
    return y
