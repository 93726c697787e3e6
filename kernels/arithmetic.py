"""Sums and products of two arrays, and columns put into an array: one pass over memory each.

They are for large contiguous arrays, because two threads read and write more memory per second
than one: see ``large.py``, which decides.
"""

from __future__ import annotations

import numpy as np

from .backend import Array
from .jit import inline, kernel, prange
from .large import LARGE


def _add_numpy(a: Array, b: Array, y: Array) -> None:
    np.add(a, b, out=y)


@kernel(numpy=_add_numpy, parallel_above=LARGE)
def add(a: Array, b: Array, y: Array) -> None:
    """y = a + b of flat arrays; y may be a."""
    for i in prange(y.size):
        y[i] = a[i] + b[i]


def _mul_numpy(a: Array, b: Array, y: Array) -> None:
    np.multiply(a, b, out=y)


@kernel(numpy=_mul_numpy, parallel_above=LARGE)
def mul(a: Array, b: Array, y: Array) -> None:
    """y = a b of flat arrays."""
    for i in prange(y.size):
        y[i] = a[i] * b[i]


def _keep_numpy(x: Array, keep: Array, y: Array, scale: float) -> None:
    np.multiply(x, keep * scale, out=y)


@kernel(numpy=_keep_numpy, parallel_above=LARGE)
def keep(x: Array, keep: Array, y: Array, scale: float) -> None:
    """y = x scale where keep (bool), else x 0 (NaN stays NaN), of flat arrays."""
    zero = x.dtype.type(0)
    for i in prange(y.size):
        y[i] = x[i] * (scale if keep[i] else zero)


@inline
def _copy(x: Array, y: Array) -> None:
    for i in range(x.size):
        y[i] = x[i]


def _put_columns_numpy(x: Array, y: Array, start: int) -> None:
    y[:, start : start + x.shape[1]] = x


@kernel(numpy=_put_columns_numpy, parallel_above=LARGE)
def put_columns(x: Array, y: Array, start: int) -> None:
    """y[:, start : start + R] = x (N, R)."""
    for n in prange(x.shape[0]):
        _copy(x[n], y[n, start : start + x.shape[1]])
