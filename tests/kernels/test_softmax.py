"""softmax kernels and their NumPy twins against the plain loops."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minitorch_cnn.kernels import reference, softmax

from ..strategies import KINDS, LAYOUTS, make_array, with_layout
from .common import BACKENDS, assert_same_bits_at_any_thread_count, using


@st.composite
def matrices(draw: st.DrawFn) -> np.ndarray:
    shape = (draw(st.sampled_from([0, 1, 2, 5, 131])), draw(st.integers(1, 21)))
    dtype = draw(st.sampled_from([np.float32, np.float64]))
    x = make_array(shape, draw(st.sampled_from(KINDS)), draw(st.integers(0, 999)), dtype)
    x = x * dtype(draw(st.sampled_from([1, 30, 1000])))
    if draw(st.booleans()):
        x[:, 1:][np.random.default_rng(0).random(x[:, 1:].shape) < 0.2] = -np.inf
    return with_layout(x, draw(st.sampled_from(LAYOUTS)))


@pytest.mark.parametrize("backend", BACKENDS)
@given(x=matrices(), columns=st.booleans())
def test_equals_plain_loops(backend: str, x: np.ndarray, columns: bool) -> None:
    gy = np.random.default_rng(0).standard_normal(x.shape).astype(x.dtype)
    dim = 0 if columns else 1
    given, sent = (x.T, gy.T) if columns else (x, gy)
    with using(backend):
        y = softmax.softmax(given, dim)
        gx = softmax.softmax_grad(y, sent, dim)
        log_y = softmax.log_softmax(given, dim)
        log_gx = softmax.log_softmax_grad(log_y, sent, dim)
    results = [a.T if columns else a for a in (y, gx, log_y, log_gx)]
    expected = [reference.softmax.softmax(x), None, reference.softmax.log_softmax(x), None]
    expected[1] = reference.softmax.softmax_grad(results[0], gy)
    expected[3] = reference.softmax.log_softmax_grad(results[2], gy)
    tolerance = 2e-6 if x.dtype == np.float32 else 1e-14
    for a, b in zip(results, expected, strict=True):
        assert a.dtype == x.dtype
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=5 * tolerance)


@pytest.mark.parametrize("backend", BACKENDS)
def test_rows_without_an_answer_are_nan(backend: str) -> None:
    x = np.float32([[1, np.nan, 2], [np.inf, 1, 2], [-np.inf] * 3, [0, -np.inf, -np.inf]])
    with using(backend):
        y, log_y = softmax.softmax(x, 1), softmax.log_softmax(x, 1)
    assert np.isnan(y[:3]).all()
    assert np.isnan(log_y[:3]).all()
    assert y[3].tolist() == [1, 0, 0]
    assert log_y[3].tolist() == [0, -np.inf, -np.inf]


@pytest.mark.parametrize("backend", BACKENDS)
def test_nan_anywhere_in_a_row_is_seen(backend: str) -> None:
    for at in range(11):
        x = np.arange(11, dtype=np.float64)[None]
        x[0, at] = np.nan
        with using(backend):
            assert np.isnan(softmax.log_softmax(x, 1)).all()


@pytest.mark.parametrize("backend", BACKENDS)
def test_nothing_overflows_wherever_the_largest_is(backend: str) -> None:
    for at in range(11):
        x = np.zeros((11, 2))
        x[at] = 5000
        with using(backend):
            for dim, given in ((1, x.T), (0, x)):
                y = softmax.softmax(given, dim)
                np.testing.assert_array_equal(y, given / 5000)
                log_y = softmax.log_softmax(given, dim)
                np.testing.assert_array_equal(log_y, given - 5000)


@pytest.mark.parametrize("backend", BACKENDS)
def test_large_numbers_keep_their_differences(backend: str) -> None:
    x = np.float32([[10000.0, 10001.0, 9998.0]])
    with using(backend):
        y = softmax.log_softmax(x, 1)
    np.testing.assert_allclose(y, [[-1.3490122, -0.3490122, -3.3490122]], rtol=1e-6)


def test_other_shapes(rng: np.random.Generator) -> None:
    x = rng.standard_normal((2, 3, 4, 5))
    for dim in range(4):
        y = softmax.softmax(x, dim)
        np.testing.assert_allclose(y.sum(dim), np.ones(y.sum(dim).shape), rtol=1e-14)
        assert y.flags.c_contiguous
    assert softmax.softmax(np.array(3.0), 0) == 1
    assert softmax.log_softmax(np.array(3.0), 0) == 0
    assert softmax.softmax(np.empty((3, 0)), 1).shape == (3, 0)
    half = softmax.softmax(x.astype(np.float16), 1)
    np.testing.assert_allclose(half, softmax.softmax(x, 1), rtol=2e-3)
    assert half.dtype == np.float16


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_same_bits_at_any_thread_count(dtype: Any, rng: np.random.Generator) -> None:
    x, gy = rng.standard_normal((2, 103, 1001)).astype(dtype)

    def run() -> tuple[np.ndarray, ...]:
        results = []
        for dim in (0, 1):
            y, log_y = softmax.softmax(x, dim), softmax.log_softmax(x, dim)
            results += [y, softmax.softmax_grad(y, gy, dim)]
            results += [log_y, softmax.log_softmax_grad(log_y, gy, dim)]
        return tuple(results)

    assert_same_bits_at_any_thread_count(run)
