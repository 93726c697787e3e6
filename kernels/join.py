"""Joining arrays along an axis: each is copied to its place among the longer rows of the result.

The way back needs no kernel: an array's gradient is a view of the result's.
"""

from __future__ import annotations

from .backend import Array
from .jit import inline, kernel, prange
from .large import LARGE


@inline
def _copy(x: Array, y: Array) -> None:
    for i in range(x.size):
        y[i] = x[i]


def _concat_numpy(x: Array, y: Array, start: int) -> None:
    y[:, start : start + x.shape[1]] = x


@kernel(numpy=_concat_numpy, parallel_above=LARGE)
def concat(x: Array, y: Array, start: int) -> None:
    """y[n, start : start + L] = x[n], x of (N, L).

    N counts the axes before the one along which arrays are joined, L it and those behind it.
    """
    for n in prange(x.shape[0]):
        _copy(x[n], y[n, start : start + x.shape[1]])
