"""Vectors as values: the compiled functions against plain loops."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from minitorch_cnn.kernels import simd
from minitorch_cnn.kernels.jit import numba
from minitorch_cnn.kernels.microkernel import VECTOR_BYTES

DTYPES = [np.float32, np.float64]


def compiled(fn: Any) -> Any:
    return numba.njit(fn) if simd.COMPILED else fn


@compiled
def _copy_inside(a: Any, i: int, low: int, high: int, to: Any, t: int) -> None:
    simd.store(to, t, simd.load_inside(a, i, low, high))


@compiled
def _arithmetic(a: Any, b: Any, to: Any) -> None:
    v, w = simd.load(a, 1), simd.load(b, 3)
    simd.store(to, 2, simd.at_least(3 * v - w + v * w, -1.0))


@compiled
def _turn(source: Any, s: int, s_row: int, rows: int, to: Any, t: int, t_row: int, n: int) -> None:
    simd.transpose(source, s, s_row, rows, to, t, t_row, n)


@pytest.mark.parametrize("dtype", DTYPES)
def test_only_the_lanes_inside_are_read(dtype: Any) -> None:
    lanes = VECTOR_BYTES // np.dtype(dtype).itemsize
    a = np.arange(1, 6, dtype=dtype)
    for i in range(-lanes, 6):
        for low in range(max(-1, -i), lanes + 2):
            for high in range(-2, min(lanes, 5 - i) + 1):  # nothing outside a is asked for
                to = np.full(lanes + 2, 7, dtype)
                _copy_inside(a, i, low, high, to, 1)
                expected = [a[i + j] if low <= j < high else 0 for j in range(lanes)]
                np.testing.assert_array_equal(to, [7, *expected, 7])


@pytest.mark.parametrize("dtype", DTYPES)
def test_arithmetic(dtype: Any) -> None:
    lanes = VECTOR_BYTES // np.dtype(dtype).itemsize
    rng = np.random.default_rng(0)
    a, b = (rng.integers(-3, 4, 20).astype(dtype) for _ in range(2))  # exact in any order
    b[4] = np.nan
    to = np.full(20, 9, dtype)
    _arithmetic(a, b, to)
    v, w = a[1 : 1 + lanes], b[3 : 3 + lanes]
    expected = np.full(20, 9, dtype)
    expected[2 : 2 + lanes] = [max(x, -1) if x == x else x for x in 3 * v - w + v * w]
    np.testing.assert_array_equal(to, expected)


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_square_is_turned(dtype: Any) -> None:
    lanes = VECTOR_BYTES // np.dtype(dtype).itemsize
    source = np.arange(lanes * (lanes + 3) + 2, dtype=dtype)
    for rows in (1, lanes - 1, lanes):
        for n in (1, lanes - 1, lanes):
            to = np.full(lanes * (lanes + 1) + 5, -1, dtype)
            _turn(source, 2, lanes + 3, rows, to, 3, lanes + 1, n)
            expected = to.copy()
            for j in range(n):
                for i in range(rows):
                    expected[3 + j * (lanes + 1) + i] = source[2 + i * (lanes + 3) + j]
                # Of rows that do not exist, the last one's number stands there.
                last = source[2 + (rows - 1) * (lanes + 3) + j]
                expected[3 + j * (lanes + 1) :][rows:lanes] = last
            expected[3 + n * (lanes + 1) - 1 :] = -1  # and of columns, nothing
            np.testing.assert_array_equal(to, expected)


@compiled
def _stream(a: Any, first: int, end: int) -> int:
    n = simd.vectors(a, first, end)
    for k in range(n):
        i = simd.vector(a, first, end, k)
        simd.stream(a, i, 2 * simd.load(a, i) - simd.load(a, i))
    return n


@compiled
def _mark(a: Any, first: int, end: int, to: Any) -> None:
    for k in range(simd.vectors(a, first, end)):
        to[k] = simd.vector(a, first, end, k)


@compiled
def _above_zero(y: Any, v: Any, to: Any) -> None:
    simd.store(to, 0, simd.where_above_zero(simd.load(y, 0), simd.load(v, 0)))


@compiled
def _chosen(x: Any, v: Any, to: Any) -> None:
    some = simd.load(v, 0)
    simd.store(to, 0, simd.choose(simd.load(x, 0), some, some * 2))


@pytest.mark.parametrize("dtype", DTYPES)
def test_vectors_cover_a_range_and_nothing_else(dtype: Any) -> None:
    lanes = VECTOR_BYTES // np.dtype(dtype).itemsize
    for first in range(lanes + 1):
        for count in range(lanes, 4 * lanes):
            a = np.arange(6 * lanes, dtype=dtype)
            where = np.full(8, -1)
            _mark(a, first, first + count, where)
            starts = [int(i) for i in where if i >= 0]
            covered = {i + j for i in starts for j in range(lanes)}
            assert covered == set(range(first, first + count))
            for i in starts[1:-1]:
                assert (a.ctypes.data + i * a.itemsize) % VECTOR_BYTES == 0
            assert _stream(a, first, first + count) == len(starts)
            np.testing.assert_array_equal(a, np.arange(6 * lanes))


def _signs(dtype: Any) -> tuple[np.ndarray, ...]:
    """A vector of all kinds of numbers by their sign, one of others, and one to write to."""
    lanes = VECTOR_BYTES // np.dtype(dtype).itemsize
    x = np.resize(np.array([1, -1, 0, np.nan, -0.0, np.inf, -np.inf, 1e-40], dtype), lanes)
    v = np.arange(1, lanes + 1, dtype=dtype)
    v[0] = np.nan
    return x, v, np.zeros(lanes, dtype)


@pytest.mark.parametrize("dtype", DTYPES)
def test_where_above_zero(dtype: Any) -> None:
    y, v, to = _signs(dtype)
    _above_zero(y, v, to)
    expected = [0 if a <= 0 else b for a, b in zip(y, v)]
    np.testing.assert_array_equal(to, expected)


@pytest.mark.parametrize("dtype", DTYPES)
def test_choose(dtype: Any) -> None:
    x, v, to = _signs(dtype)
    _chosen(x, v, to)
    np.testing.assert_array_equal(to, [b if a > 0 else 2 * b for a, b in zip(x, v)])
