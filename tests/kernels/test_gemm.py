"""Products of matrices against three loops and NumPy, and how panels cover the output."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minitorch_cnn.kernels import gemm, reference

from ..strategies import LAYOUTS, make_array, with_layout
from .common import BACKENDS, assert_same_bits_at_any_thread_count, interpreted, using


@pytest.fixture(autouse=True)
def _no_small_products(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small products go to NumPy: not here, where the loops are to be tested."""
    monkeypatch.setattr(gemm, "SMALL", -1)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@given(
    sizes=st.tuples(st.integers(0, 9), st.integers(0, 9), st.integers(0, 9)),
    layouts=st.tuples(st.sampled_from(LAYOUTS), st.sampled_from(LAYOUTS)),
)
def test_three_loops(backend: str, dtype: Any, sizes: Any, layouts: Any) -> None:
    M, K, N = sizes
    a = with_layout(make_array((M, K), "normal", 1, dtype), layouts[0])
    b = with_layout(make_array((K, N), "normal", 2, dtype), layouts[1])
    with using(backend):
        c = gemm.matmul(a, b)
    assert c.dtype == dtype
    expected = reference.gemm.matmul(a, b)
    np.testing.assert_allclose(c, expected, rtol=0, atol=64 * np.finfo(dtype).eps)


SHAPES = [
    ((65, 70), (70, 300)),
    ((33, 600), (600, 17)),
    ((3, 13, 70), (70, 20)),
    ((3, 13, 70), (3, 70, 20)),
    ((13, 70), (3, 70, 20)),
    ((2, 1, 13, 70), (3, 70, 20)),
    ((1, 13, 70), (2, 3, 70, 20)),
    ((1, 700), (700, 9)),
    ((9, 700), (700, 1)),
    ((40, 1), (1, 50)),
]


@pytest.mark.skipif(interpreted(), reason="too large for plain Python loops")
@pytest.mark.parametrize("shapes", SHAPES, ids=str)
@pytest.mark.parametrize("transposed", [(0, 0), (0, 1), (1, 0), (1, 1)], ids=str)
@pytest.mark.parametrize("backend", BACKENDS)
def test_numpy(backend: str, transposed: Any, shapes: Any) -> None:
    rng = np.random.default_rng(0)
    a, b = (
        rng.standard_normal((*s[:-2], s[-1], s[-2])).swapaxes(-1, -2) if flip
        else rng.standard_normal(s)
        for s, flip in zip(shapes, transposed, strict=True)
    )  # fmt: skip
    expected = np.matmul(a, b)
    scale = np.abs(a).max() * np.abs(b).max() * a.shape[-1]
    with using(backend):
        np.testing.assert_allclose(gemm.matmul(a, b), expected, rtol=0, atol=1e-15 * scale)
        a, b = a.astype(np.float32), b.astype(np.float32)
        np.testing.assert_allclose(gemm.matmul(a, b), expected, rtol=0, atol=5e-7 * scale)


@pytest.mark.skipif(interpreted(), reason="too large for plain Python loops")
@pytest.mark.parametrize("flip", [False, True])
def test_same_bits_at_any_thread_count(flip: bool) -> None:
    rng = np.random.default_rng(0)
    for M, K, N in [(33, 1000, 65), (64, 320, 10), (1, 4096, 1000), (300, 40, 301)]:
        a, b = (rng.standard_normal(s).astype(np.float32) for s in [(M, K), (K, N)])
        b = np.asfortranarray(b) if flip else b
        assert_same_bits_at_any_thread_count(lambda a=a, b=b: gemm.matmul(a, b))


@pytest.mark.parametrize("backend", BACKENDS)
def test_nan_stays_in_its_row_and_column(backend: str) -> None:
    for M, K, N in [(5, 7, 9), (6, 5, 3), (1, 1, 17)]:
        for layout in LAYOUTS:
            a, b = np.ones((M, K), np.float32), with_layout(np.ones((K, N), np.float32), layout)
            a[M - 1, K - 1], b[0, N - 1] = np.nan, np.inf
            with using(backend):
                c = gemm.matmul(a, b)
            expected = np.full((M, N), K, np.float32)
            expected[:, -1] = np.inf
            expected[-1] = np.nan
            np.testing.assert_array_equal(c, expected)


def test_other_dtypes() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.integers(-9, 9, (4, 5)), rng.integers(-9, 9, (5, 6))
    np.testing.assert_array_equal(gemm.matmul(a, b), a @ b)
    ones = np.full((1, 3000), 1, np.float16)
    c = gemm.matmul(ones, ones.T)
    assert c.dtype == np.float16
    assert c.item() == 3000  # added up in float16 it would stop at 2048


@given(
    N=st.integers(1, 9),
    size=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    columns=st.integers(1, 300),
    merge=st.booleans(),
)
def test_panels_cover_every_pixel_once(N: int, size: Any, columns: int, merge: bool) -> None:
    panel = gemm.panel_shape(N, *size, columns, merge)
    assert 0 < np.prod(panel) <= columns
    seen = np.zeros((N, *size), int)
    for p in range(gemm.panel_count(N, *size, panel)):
        n0, n1, h0, h1, w0, w1 = gemm.panel_box(p, N, *size, panel)
        assert merge or n1 - n0 == 1
        seen[n0:n1, h0:h1, w0:w1] += 1
    assert (seen == 1).all()
