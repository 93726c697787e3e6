"""Ops that choose elements along one axis: y = x at ``indices``, and so the gradient goes there.

NaN counts as larger than every number. A 0-d array is treated as one of a single element.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..dtypes import is_floating
from ..kernels.backend import array_module, on_host
from ..tensor import Array, op
from .indexing import add_at, positions_along


def _chosen(x: Array, indices: Array, axis: int, keepdims: bool = True) -> Any:
    """y = x along ``axis`` at ``indices`` (all different in each row), with its gradient."""
    rows = x.reshape(1) if x.ndim == 0 else x
    y = np.take_along_axis(rows, indices, axis)
    chosen_shape, shape = y.shape, x.shape

    def grad(gy: Array) -> Array:
        g = np.zeros_like(gy, shape=rows.shape)
        np.put_along_axis(g, indices, gy.reshape(chosen_shape), axis)
        return g.reshape(shape)

    out, where = y, indices
    if x.ndim == 0:
        out, where = y.reshape(()), indices.reshape(())
    elif not keepdims:
        out, where = y.squeeze(axis), indices.squeeze(axis)
    return (out, where), (grad,)


def _rows(x: Array) -> Array:
    return x.reshape(1) if x.ndim == 0 else x


@op
def max_along(x: Array, /, *, axis: int, keepdims: bool = False) -> Any:
    """y = the largest along the axis and the index of the first such; it gets the gradient."""
    return _chosen(x, _rows(x).argmax(axis, keepdims=True), axis, keepdims)


@op
def min_along(x: Array, /, *, axis: int, keepdims: bool = False) -> Any:
    """y = the smallest along the axis and the index of the first such; it gets the gradient."""
    return _chosen(x, _rows(x).argmin(axis, keepdims=True), axis, keepdims)


@op
def argmax(x: Array, /, *, axis: int | None, keepdims: bool = False) -> Any:
    """y = the index of the first largest along the axis, or of the flattened array for None."""
    return _where_along(x, "argmax", axis, keepdims), ()


@op
def argmin(x: Array, /, *, axis: int | None, keepdims: bool = False) -> Any:
    """y = the index of the first smallest along the axis, or of the flattened array for None."""
    return _where_along(x, "argmin", axis, keepdims), ()


def _where_along(x: Array, method: str, axis: int | None, keepdims: bool) -> Array:
    y = getattr(_rows(x), method)(axis, keepdims=keepdims)
    return y.reshape(()) if x.ndim == 0 else y


def _order(x: Array, axis: int, descending: bool) -> Array:
    """The stable sorting permutation: equal elements keep their order both ways."""
    if not descending:
        return x.argsort(axis, kind="stable")
    n = x.shape[axis]
    return n - 1 - np.flip(np.flip(x, axis).argsort(axis, kind="stable"), axis)


@op
def sort(x: Array, /, *, axis: int, descending: bool = False) -> Any:
    """y = x in order along the axis (stable), and where each element came from."""
    return _chosen(x, _order(_rows(x), axis, descending), axis)


@op
def argsort(x: Array, /, *, axis: int, descending: bool = False) -> Any:
    """y = the indices that sort x along the axis (stable)."""
    return _order(_rows(x), axis, descending).reshape(x.shape), ()


@op
def topk(x: Array, /, *, k: int, axis: int, largest: bool = True) -> Any:
    """y = the k largest (or smallest) along the axis in order, and their indices."""
    order = _order(_rows(x), axis, largest)
    return _chosen(x, order[(slice(None),) * axis + (slice(k),)], axis)


@op
def kthvalue(x: Array, /, *, k: int, axis: int, keepdims: bool = False) -> Any:
    """y = the k-th smallest along the axis, k counted from 1, and its index."""
    order = _order(_rows(x), axis, False)
    return _chosen(x, order[(slice(None),) * axis + (slice(k - 1, k),)], axis, keepdims)


@op
def median(x: Array, /, *, axis: int, keepdims: bool = False) -> Any:
    """y = the middle element along the axis (the lower of two), NaN if one is, and its index."""
    rows = _rows(x)
    middle = (rows.shape[axis] - 1) // 2
    index = _order(rows, axis, False)[(slice(None),) * axis + (slice(middle, middle + 1),)]
    if is_floating(x.dtype):
        nan = np.isnan(rows)
        index = np.where(nan.any(axis, keepdims=True), nan.argmax(axis, keepdims=True), index)
    return _chosen(x, index, axis, keepdims)


@op
def median_of_all(x: Array, /) -> Any:
    """y = the middle element (the lower of two), NaN if one is or there is none.

    Elements equal to it share the gradient evenly.
    """
    order = np.sort(x, None)
    if not x.size or order[-1] != order[-1]:
        y = np.full_like(x, np.nan, shape=())
    else:
        y = order[(x.size - 1) // 2]

    def grad(gy: Array) -> Array:
        chosen = (x == y) | ((x != x) & (y != y))
        return chosen * (gy / chosen.sum()).astype(x.dtype)

    return y, (grad,)


@op
def mode(x: Array, /, *, axis: int, keepdims: bool = False) -> Any:
    """y = the most frequent element along the axis (the smallest of several) and its last index."""
    index = on_host(lambda x: np.apply_along_axis(_last_of_most_frequent, axis, x), _rows(x))
    return _chosen(x, np.expand_dims(index, axis), axis, keepdims)


def _last_of_most_frequent(row: Array) -> int:
    values, counts = np.unique(row, return_counts=True)
    return int(np.flatnonzero(row == values[counts.argmax()])[-1])


@op
def cummax(x: Array, /, *, axis: int) -> Any:
    """y_i = max(x_0, ..., x_i) along the axis, and the index of its last occurrence so far."""
    return _running(x, _accumulated(np.maximum, _rows(x), axis), axis)


@op
def cummin(x: Array, /, *, axis: int) -> Any:
    """y_i = min(x_0, ..., x_i) along the axis, and the index of its last occurrence so far."""
    return _running(x, _accumulated(np.minimum, _rows(x), axis), axis)


def _accumulated(ufunc: np.ufunc, x: Array, axis: int) -> Array:
    """On the CPU also for a GPU's arrays: CuPy accumulates sums and products only."""
    return on_host(lambda x: ufunc.accumulate(x, axis), x)


def _running(x: Array, y: Array, axis: int) -> Any:
    rows = _rows(x)
    position = array_module(x).arange(rows.shape[axis])
    position = position.reshape((-1,) + (1,) * (rows.ndim - axis - 1))
    reached = (rows == y) | (rows != rows)
    indices = _accumulated(np.maximum, np.where(reached, position, 0), axis)

    def grad(gy: Array) -> Array:
        positions = positions_along(rows.shape, axis, indices)
        return add_at(rows.shape, positions, gy).reshape(x.shape)

    return (y.reshape(x.shape), indices.reshape(x.shape)), (grad,)


@op
def unique(x: Array, /, *, axis: int | None = None) -> Any:
    """The different elements in ascending order (or slices along the axis), for each element which
    one it is, and how often each occurs. Every NaN is different."""
    values, inverse, counts = np.unique(
        x, return_inverse=True, return_counts=True, axis=axis, equal_nan=False
    )
    shape = x.shape if axis is None else (x.shape[axis],)
    return (values, inverse.reshape(shape), counts), ()
