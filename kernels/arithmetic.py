"""Sums and products of two arrays: one pass over memory each.

They are for large contiguous arrays, because two threads read and write more memory per second
than one: see ``large.py``, which decides. Results that are too large for the caches are written
past them, vector by vector (``simd.stream``).
"""

from __future__ import annotations

import numpy as np

from .backend import LARGE, Array
from .jit import kernel, prange, short_vectors
from .simd import BLOCK, at_least, block, load, stream, vector, vectors


def _add_numpy(a: Array, b: Array, y: Array) -> None:
    np.add(a, b, out=y)


@kernel(numpy=_add_numpy, parallel_above=LARGE)
def add(a: Array, b: Array, y: Array) -> None:
    """y = a + b of flat arrays; y may be a."""
    for i in prange(y.size):
        short_vectors()
        y[i] = a[i] + b[i]


@kernel(numpy=_add_numpy, parallel_above=LARGE, streams=add)
def add_streamed(a: Array, b: Array, y: Array) -> None:
    """``add`` for a large result: y lies apart."""
    for task in prange(y.size // BLOCK):
        first, end = block(0, y.size, task)
        for k in range(vectors(y, first, end)):
            i = vector(y, first, end, k)
            stream(y, i, load(a, i) + load(b, i))


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


@kernel(numpy=_add_relu_numpy, parallel_above=LARGE, streams=add_relu)
def add_relu_streamed(a: Array, b: Array, y: Array) -> None:
    """``add_relu`` for a large result: y lies apart."""
    zero = y.dtype.type(0)
    for task in prange(y.size // BLOCK):
        first, end = block(0, y.size, task)
        for k in range(vectors(y, first, end)):
            i = vector(y, first, end, k)
            stream(y, i, at_least(load(a, i) + load(b, i), zero))


def _mul_numpy(a: Array, b: Array, y: Array) -> None:
    np.multiply(a, b, out=y)


@kernel(numpy=_mul_numpy, parallel_above=LARGE)
def mul(a: Array, b: Array, y: Array) -> None:
    """y = a b of flat arrays."""
    for i in prange(y.size):
        short_vectors()
        y[i] = a[i] * b[i]


@kernel(numpy=_mul_numpy, parallel_above=LARGE, streams=mul)
def mul_streamed(a: Array, b: Array, y: Array) -> None:
    """``mul`` for a large result: y lies apart."""
    for task in prange(y.size // BLOCK):
        first, end = block(0, y.size, task)
        for k in range(vectors(y, first, end)):
            i = vector(y, first, end, k)
            stream(y, i, load(a, i) * load(b, i))
