"""unfold and fold against plain loops, and against each other."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minitorch_cnn.kernels import geometry, im2col, reference

from ..strategies import LAYOUTS, make_array, with_layout
from .common import BACKENDS, assert_same_bits_at_any_thread_count, interpreted, using


def _pairs(low: int, high: int) -> st.SearchStrategy[tuple[int, int]]:
    return st.tuples(st.integers(low, high), st.integers(low, high))


@st.composite
def unfoldings(draw: st.DrawFn) -> tuple[Any, ...]:
    """x, and (kernel, size, stride, padding, dilation)."""
    kernel, S, P, D = draw(_pairs(1, 4)), draw(_pairs(1, 3)), draw(_pairs(0, 4)), draw(_pairs(1, 3))
    H, W = (
        draw(st.integers(max(1, d * (k - 1) + 1 - 2 * p), 11)) for k, p, d in zip(kernel, P, D)
    )
    shape = draw(st.integers(0, 3)), draw(st.integers(1, 3)), H, W
    dtype = draw(st.sampled_from([np.float32, np.float64]))
    kind, seed = draw(st.sampled_from(["normal", "ties"])), draw(st.integers(0, 99))
    x = make_array(shape, kind, seed, dtype)
    x.reshape(-1)[:1] = np.nan
    size = tuple(map(geometry.conv_output, (H, W), kernel, S, P, D))
    return with_layout(x, draw(st.sampled_from(LAYOUTS))), (kernel, size, S, P, D)


@pytest.mark.parametrize("backend", BACKENDS)
@given(call=unfoldings())
def test_unfold_and_fold(backend: str, call: Any) -> None:
    x, settings = call
    with using(backend):
        col = im2col.unfold(x, *settings)
        back = im2col.fold(col, x.shape, *settings)
    np.testing.assert_array_equal(col, reference.im2col.unfold(x, *settings))
    assert (col.dtype, back.dtype) == (x.dtype, x.dtype)
    expected = reference.im2col.fold(col, x.shape, *settings)
    np.testing.assert_allclose(back, expected, rtol=1e-5, atol=1e-6)


def test_fold_counts_the_windows_over_each_pixel() -> None:
    ones = np.ones((1, 1, 4, 4))
    settings: Any = ((3, 3), (2, 2), (1, 1), (0, 0), (1, 1))
    counts = im2col.fold(im2col.unfold(ones, *settings), ones.shape, *settings)
    np.testing.assert_array_equal(
        counts[0, 0], [[1, 2, 2, 1], [2, 4, 4, 2], [2, 4, 4, 2], [1, 2, 2, 1]]
    )


def test_half_precision_and_bools() -> None:
    x = np.arange(16, dtype=np.float16).reshape(1, 1, 4, 4)
    settings: Any = ((2, 2), (2, 2), (2, 2), (0, 0), (1, 1))
    col = im2col.unfold(x, *settings)
    assert col.dtype == np.float16
    np.testing.assert_array_equal(im2col.fold(col, x.shape, *settings), x)
    np.testing.assert_array_equal(im2col.unfold(x > 7, *settings), col > 7)


@pytest.mark.skipif(interpreted(), reason="too large for plain Python loops")
def test_same_bits_at_any_thread_count() -> None:
    x = make_array((3, 20, 31, 33), "normal", 0, np.float32)
    settings: Any = ((3, 5), (16, 33), (2, 1), (1, 2), (1, 1))
    col = im2col.unfold(x, *settings)
    assert_same_bits_at_any_thread_count(
        lambda: (im2col.unfold(x, *settings), im2col.fold(col, x.shape, *settings))
    )
