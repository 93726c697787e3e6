"""Pooling kernels and their NumPy twins against the plain loops."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minitorch_cnn.kernels import geometry, pool, reference, window_sums

from ..strategies import LAYOUTS, make_array, with_layout
from .common import BACKENDS, assert_same_bits_at_any_thread_count, using

KINDS = ("normal", "negative", "ties", "nan", "infinite", "all_minus_infinity")


def _values(shape: tuple[int, ...], kind: str, seed: int, dtype: Any) -> np.ndarray:
    rng = np.random.default_rng(seed)
    if kind == "all_minus_infinity":
        return np.full(shape, -np.inf, dtype)
    x = make_array(shape, "ties" if kind in ("nan", "infinite") else kind, seed, dtype)
    if kind == "nan":
        x[rng.random(shape) < 0.2] = np.nan
    if kind == "infinite":
        x[rng.random(shape) < 0.3] = -np.inf
        x[rng.random(shape) < 0.1] = np.inf
    return x


@st.composite
def planes(draw: st.DrawFn) -> np.ndarray:
    shape = draw(st.tuples(st.integers(0, 3), st.integers(1, 9), st.integers(1, 9)))
    dtype = draw(st.sampled_from([np.float32, np.float64]))
    x = _values(shape, draw(st.sampled_from(KINDS)), draw(st.integers(0, 999)), dtype)
    return with_layout(x, draw(st.sampled_from(LAYOUTS)))


def _pairs(low: int, high: int) -> st.SearchStrategy[tuple[int, int]]:
    return st.tuples(st.integers(low, high), st.integers(low, high))


@st.composite
def max_poolings(draw: st.DrawFn) -> tuple[np.ndarray, dict[str, Any]]:
    x = draw(planes())
    kernel, S, D = draw(_pairs(1, 4)), draw(_pairs(1, 3)), draw(_pairs(1, 3))
    P = tuple(draw(st.integers(0, (d * (k - 1) + 1) // 2)) for k, d in zip(kernel, D))
    ceil_mode = draw(st.booleans())
    size = tuple(
        geometry.pool_output(n, k, s, p, d, ceil_mode)
        for n, k, s, p, d in zip(x.shape[1:], kernel, S, P, D)
    )
    settings = {"kernel_size": kernel, "stride": S, "padding": P, "dilation": D}
    return x, {**settings, "output_size": tuple(max(n, 0) for n in size)}


@pytest.mark.parametrize("backend", BACKENDS)
@given(data=st.data())
def test_max_pool2d(backend: str, data: st.DataObject) -> None:
    x, settings = data.draw(max_poolings())
    with using(backend):
        y, indices = pool.max_pool2d(x, **settings)
        gy = np.random.default_rng(0).standard_normal(y.shape).astype(x.dtype)
        gx = pool.max_pool2d_grad(gy, indices, x.shape)
    expected, expected_indices = reference.pool.max_pool2d(x, **settings)
    np.testing.assert_array_equal(y, expected)
    np.testing.assert_array_equal(indices, expected_indices)
    assert (y.dtype, indices.dtype, gx.dtype) == (x.dtype, np.int64, x.dtype)
    expected_gx = reference.pool.max_pool2d_grad(gy, indices, x.shape)
    np.testing.assert_allclose(gx, expected_gx, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("size", "kernel", "stride", "dilation"),
    [
        ((6, 5), (2, 2), 2, (1, 1)),
        ((6, 7), (3, 2), 3, (1, 2)),
        ((4, 6), (1, 3), 2, (1, 1)),
        ((5, 6), (1, 2), 1, (1, 3)),
        ((6, 4), (2, 2), 3, (1, 1)),
        ((5, 6), (2, 2), 2, (1, 1)),  # a row is left over: planes cannot be taken together
    ],
)
def test_max_pooling_of_many_small_planes(
    size: Any, kernel: Any, stride: int, dilation: Any, kind: str
) -> None:
    x = _values((64 * 5 + 3, *size), kind, 5, np.float32)
    S = (stride, stride)
    windows = tuple(
        geometry.pool_output(n, k, stride, 0, d, False) for n, k, d in zip(size, kernel, dilation)
    )
    settings = {"kernel_size": kernel, "stride": S, "padding": (0, 0), "dilation": dilation}
    y, indices = pool.max_pool2d(x, **settings, output_size=windows)
    expected, expected_indices = reference.pool.max_pool2d(x, **settings, output_size=windows)
    np.testing.assert_array_equal(y, expected)
    np.testing.assert_array_equal(indices, expected_indices)


@pytest.mark.parametrize("stride", [(2, 2), (2, 1)])
def test_many_planes_share_their_buffers(stride: tuple[int, int]) -> None:
    x = _values((200, 5, 6), "infinite", 3, np.float32)
    settings: dict[str, Any] = {
        "kernel_size": (2, 2), "stride": stride, "padding": (1, 0), "dilation": (1, 1),
        "output_size": ((5 + 2 - 2) // stride[0] + 1, (6 - 2) // stride[1] + 1),
    }  # fmt: skip
    for ours, expected in zip(
        pool.max_pool2d(x, **settings), reference.pool.max_pool2d(x, **settings)
    ):
        np.testing.assert_array_equal(ours, expected)


@st.composite
def ranges(draw: st.DrawFn, size: int) -> tuple[np.ndarray, np.ndarray]:
    n = draw(st.integers(1, 6))
    if draw(st.booleans()):
        return pool.adaptive_ranges(size, n)
    K, S = draw(st.integers(1, 4)), draw(st.integers(1, 3))
    P = draw(st.integers(0, K // 2))
    return pool.kernel_ranges(size, K, S, P, max(geometry.pool_output(size, K, S, P, 1, False), 0))


@pytest.mark.parametrize("backend", BACKENDS)
@given(data=st.data())
def test_windows_by_ranges(backend: str, data: st.DataObject) -> None:
    x = data.draw(planes())
    size = x.shape[1:]
    rows, columns = (data.draw(ranges(n)) for n in size)
    divisor = np.add.outer(np.arange(rows[0].size), 1 + np.arange(columns[0].size))
    with using(backend):
        y, indices = pool.max_ranges(x, rows, columns)
        total = pool.sum_ranges(x, rows, columns)
        mean = pool.mean_ranges(x, rows, columns, divisor)
        third = pool.mean_ranges(x, rows, columns, np.array(3))
        gy = np.random.default_rng(0).standard_normal(y.shape).astype(x.dtype)
        gx = pool.mean_ranges_grad(gy, rows, columns, divisor, size)
    with np.errstate(all="ignore"):
        expected, expected_indices = reference.pool.max_ranges(x, rows, columns)
        expected_total = reference.pool.sum_ranges(x, rows, columns)
    np.testing.assert_array_equal(y, expected)
    np.testing.assert_array_equal(indices, expected_indices)
    np.testing.assert_allclose(total, expected_total, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(mean, expected_total / divisor, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(third, expected_total / 3, rtol=1e-5, atol=1e-5)
    expected_gx = reference.pool.mean_ranges_grad(gy, rows, columns, divisor, size)
    np.testing.assert_allclose(gx, expected_gx, rtol=1e-5, atol=1e-5)
    assert {total.dtype, mean.dtype, gx.dtype} == {x.dtype}


@given(data=st.data())
def test_ranges_that_are_a_kernels_windows_are_known_as_such(data: st.DataObject) -> None:
    size = data.draw(st.integers(1, 12))
    first, last = data.draw(ranges(size))
    window = window_sums.window_of(first, last, size) if len(first) else None
    if window is not None:
        K, S, P = window
        assert 0 <= P < K
        begin = np.arange(len(first)) * S - P
        np.testing.assert_array_equal(first, np.maximum(begin, 0))
        np.testing.assert_array_equal(last, np.minimum(begin + K, size))


def test_common_windows_are_known_as_a_kernels() -> None:
    assert window_sums.window_of(*pool.kernel_ranges(35, 3, 1, 1, 35), 35) == (3, 1, 1)
    assert window_sums.window_of(*pool.kernel_ranges(56, 2, 2, 0, 28), 56) == (2, 2, 0)
    back = pool.covering_ranges(pool.kernel_ranges(35, 3, 1, 1, 35), 35)
    assert window_sums.window_of(*back, 35) == (3, 1, 1)
    assert window_sums.window_of(*pool.adaptive_ranges(7, 3), 7) == (3, 2, 0)
    assert window_sums.window_of(*pool.adaptive_ranges(7, 5), 7) is None


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_lectures_max_pool(backend: str) -> None:
    x = np.array([[[1, 1, 2, 4], [5, 6, 7, 8], [3, 2, 1, 0], [1, 2, 3, 4]]], np.float32)
    with using(backend):
        y, indices = pool.max_pool2d(x, (2, 2), (2, 2), (0, 0), (1, 1), (2, 2))
    assert y.tolist() == [[[6, 8], [3, 4]]]
    assert indices.tolist() == [[[5, 7], [8, 15]]]


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_lectures_average_pool(backend: str) -> None:
    x = [[3, 3, 2, 1, 0], [0, 0, 1, 3, 1], [3, 1, 2, 2, 3], [2, 0, 0, 2, 2], [2, 0, 0, 0, 1]]
    window = pool.kernel_ranges(5, 3, 1, 0, 3)
    with using(backend):
        y = pool.mean_ranges(np.array([x], np.float32), window, window, np.array(9))
    assert (
        np.round(y, 1).tolist()
        == np.float32([[[1.7, 1.7, 1.7], [1.0, 1.2, 1.8], [1.1, 0.8, 1.3]]]).tolist()
    )


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_first_maximum_takes_the_whole_gradient(backend: str) -> None:
    x = np.ones((1, 3, 3), np.float32)
    with using(backend):
        _, indices = pool.max_pool2d(x, (2, 2), (1, 1), (0, 0), (1, 1), (2, 2))
        gx = pool.max_pool2d_grad(np.float32([[[1, 2], [3, 4]]]), indices, x.shape)
    assert gx.tolist() == [[[1, 2, 0], [3, 4, 0], [0, 0, 0]]]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", ["int64", "uint8", "int8", "float16"])
def test_max_of_other_dtypes(backend: str, dtype: str) -> None:
    x = np.arange(-16, 16).reshape(2, 4, 4).astype(dtype)
    settings = ((2, 3), (1, 2), (1, 1), (1, 1), (5, 2))
    with using(backend):
        y, indices = pool.max_pool2d(x, *settings)
    expected, expected_indices = reference.pool.max_pool2d(x, *settings)
    assert y.dtype == x.dtype
    np.testing.assert_array_equal(y, expected)
    np.testing.assert_array_equal(indices, expected_indices)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_window_in_the_padding_takes_nothing(backend: str) -> None:
    """One column, and taps at -1 and +1: no element to take, and none to send a gradient to."""
    x = np.float32([[[1], [2]]])
    with using(backend):
        y, indices = pool.max_pool2d(x, (1, 2), (1, 1), (0, 1), (1, 2), (2, 1))
        gx = pool.max_pool2d_grad(np.ones_like(y), indices, x.shape)
    assert np.isneginf(y).all()
    assert (indices == -1).all()
    assert not gx.any()


def test_integer_means_divide_towards_zero() -> None:
    x = np.array([[[-3, -3, 5, 2]]])
    rows, columns = pool.kernel_ranges(1, 1, 1, 0, 1), pool.kernel_ranges(4, 2, 2, 0, 2)
    assert pool.mean_ranges(x, rows, columns, np.array(4)).tolist() == [[[-1, 1]]]
    assert pool.mean_ranges(x, rows, columns, np.array(-4)).tolist() == [[[1, -1]]]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_same_bits_at_any_thread_count(dtype: Any, rng: np.random.Generator) -> None:
    x = rng.standard_normal((64, 24, 25)).astype(dtype)
    window = pool.kernel_ranges(24, 3, 1, 1, 24), pool.kernel_ranges(25, 5, 2, 2, 13)

    def run() -> tuple[np.ndarray, ...]:
        y, indices = pool.max_pool2d(x, (3, 3), (1, 2), (1, 1), (1, 1), (24, 13))
        z, where = pool.max_ranges(x, *window)
        mean = pool.mean_ranges(x, *window, np.array(9))
        back = pool.mean_ranges_grad(mean, *window, np.array(9), (24, 25))
        return y, indices, pool.max_pool2d_grad(y, indices, x.shape), z, where, mean, back

    assert_same_bits_at_any_thread_count(run)
