"""Bilinear kernels and their NumPy twins against the plain loops."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minitorch_cnn.kernels import reference, resample

from ..strategies import LAYOUTS, make_array, with_layout
from .common import BACKENDS, assert_same_bits_at_any_thread_count, using


@st.composite
def taps(draw: st.DrawFn, size: int) -> resample.Taps:
    """Points that only move on, between neighbouring cells; some cells may stay unused."""
    n = draw(st.integers(1, 7))
    low = np.sort(draw(st.lists(st.integers(0, size - 1), min_size=n, max_size=n)))
    part = np.array(draw(st.lists(st.sampled_from([0.0, 0.25, 0.7, 1.0]), min_size=n, max_size=n)))
    return low, np.minimum(low + 1, size - 1), part


@pytest.mark.parametrize("backend", BACKENDS)
@given(data=st.data())
def test_equals_plain_loops(backend: str, data: st.DataObject) -> None:
    shape = data.draw(st.tuples(st.integers(0, 3), st.integers(1, 6), st.integers(1, 6)))
    dtype = data.draw(st.sampled_from([np.float32, np.float64]))
    x = with_layout(make_array(shape, "normal", 1, dtype), data.draw(st.sampled_from(LAYOUTS)))
    rows, columns = data.draw(taps(shape[1])), data.draw(taps(shape[2]))
    with using(backend):
        y = resample.bilinear(x, rows, columns)
        gy = np.random.default_rng(0).standard_normal(y.shape).astype(dtype)
        gx = resample.bilinear_grad(gy, rows, columns, x.shape[1:])
    limit = 1e-5 if dtype is np.float32 else 1e-12
    tolerance = {"rtol": limit, "atol": limit}
    np.testing.assert_allclose(y, reference.resample.bilinear(x, rows, columns), **tolerance)
    expected = reference.resample.bilinear_grad(gy, rows, columns, x.shape[1:])
    np.testing.assert_allclose(gx, expected, **tolerance)
    assert (y.dtype, gx.dtype) == (x.dtype, x.dtype)


def test_same_bits_at_any_thread_count(rng: np.random.Generator) -> None:
    x = rng.standard_normal((40, 31, 33)).astype(np.float32)
    low = np.arange(66) // 2
    rows = np.minimum(low, 30), np.minimum(low + 1, 30), (np.arange(66) % 2) / 3
    columns = np.minimum(low, 32), np.minimum(low + 1, 32), (np.arange(66) % 2) / 5

    def run() -> tuple[np.ndarray, ...]:
        y = resample.bilinear(x, rows, columns)
        return y, resample.bilinear_grad(y, rows, columns, (31, 33))

    assert_same_bits_at_any_thread_count(run)
