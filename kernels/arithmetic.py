"""Sums and products of two arrays: one pass over memory each.

They are for large contiguous arrays, because two threads read and write more memory per second
than one: see ``large.py``, which decides.
"""

from __future__ import annotations

import numpy as np

from .backend import Array
from .jit import kernel, prange, short_vectors
from .large import LARGE


def _add_numpy(a: Array, b: Array, y: Array) -> None:
    np.add(a, b, out=y)


@kernel(numpy=_add_numpy, parallel_above=LARGE)
def add(a: Array, b: Array, y: Array) -> None:
    """y = a + b of flat arrays; y may be a."""
    for i in prange(y.size):
        short_vectors()
        y[i] = a[i] + b[i]


def _add_relu_numpy(a: Array, b: Array, y: Array) -> None:
    np.add(a, b, out=y)
    np.maximum(y, 0, out=y)


@kernel(numpy=_add_relu_numpy, parallel_above=LARGE)
def add_relu(a: Array, b: Array, y: Array) -> None:
    """y = max(a + b, 0); NaN stays NaN."""
    zero = y.dtype.type(0)
    for i in prange(y.size):
        short_vectors()
        total = a[i] + b[i]
        y[i] = max(total, zero)


def _mul_numpy(a: Array, b: Array, y: Array) -> None:
    np.multiply(a, b, out=y)


@kernel(numpy=_mul_numpy, parallel_above=LARGE)
def mul(a: Array, b: Array, y: Array) -> None:
    """y = a b of flat arrays."""
    for i in prange(y.size):
        short_vectors()
        y[i] = a[i] * b[i]
