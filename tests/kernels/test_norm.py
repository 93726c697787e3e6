"""Normalisation kernels and their NumPy twins against the plain loops."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minitorch_cnn.kernels import norm, norm_relu, reference
from minitorch_cnn.kernels.microkernel import COMPILED

from ..strategies import KINDS, LAYOUTS, make_array, with_layout
from .common import BACKENDS, assert_same_bits_at_any_thread_count, using


@st.composite
def images(draw: st.DrawFn) -> np.ndarray:
    """(N, C, L): channels along L, or where that is 1 along C, a task's and more. Also the first
    channels of images with more of them."""
    L = draw(st.sampled_from([1, 2, 7, 21]))
    C = draw(st.integers(0, 4) if L > 1 else st.sampled_from([0, 1, 5, norm.COLUMNS, 130]))
    shape = (draw(st.integers(0, 3)), C, L)
    dtype = draw(st.sampled_from([np.float32, np.float64]))
    x = make_array(shape, draw(st.sampled_from(KINDS)), draw(st.integers(0, 999)), dtype)
    x = x + dtype(draw(st.sampled_from([0, 0, 10, -3])))
    if behind := draw(st.sampled_from([0, 0, 1, 4])):
        unread = np.full((shape[0], behind, L), np.nan, dtype)
        return np.concatenate([x, unread], 1)[:, :C]
    return with_layout(x, draw(st.sampled_from(LAYOUTS)))


@pytest.mark.parametrize("backend", BACKENDS)
@given(x=images())
def test_equals_plain_loops(backend: str, x: np.ndarray) -> None:
    rng = np.random.default_rng(0)
    gy = rng.standard_normal(x.shape).astype(x.dtype)
    scale, slope, shift = rng.standard_normal((3, x.shape[1]))
    with using(backend):
        mean, var = norm.moments(x)
        y = norm.scale(x, mean, scale, shift)
        total, product = norm.gradient_sums(x, gy, mean)
        gx = norm.combine(x, gy, mean, scale, slope, shift)
    expected_mean, expected_var = reference.norm.moments(x)
    np.testing.assert_allclose(mean, expected_mean, rtol=1e-12, atol=1e-12)
    wide = x.dtype == np.float64
    tolerance = {"rtol": 1e-10 if wide else 1e-5, "atol": 1e-12 if wide else 1e-6}
    np.testing.assert_allclose(var, expected_var, **tolerance)
    expected = reference.norm.gradient_sums(x, gy, mean)
    np.testing.assert_allclose(total, expected[0], rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(product, expected[1], rtol=1e-4, atol=tolerance["atol"] * 20)
    np.testing.assert_allclose(y, reference.norm.scale(x, mean, scale, shift), **tolerance)
    expected_gx = reference.norm.combine(x, gy, mean, scale, slope, shift)
    np.testing.assert_allclose(gx, expected_gx, rtol=1e-5, atol=tolerance["atol"] * 10)
    assert {mean.dtype, var.dtype, total.dtype, product.dtype} == {np.dtype(np.float64)}
    assert {y.dtype, gx.dtype} == {x.dtype}


@pytest.mark.parametrize("backend", BACKENDS)
@given(x=images(), repeats=st.sampled_from([1, 1, 130]))
def test_channel_sums(backend: str, x: np.ndarray, repeats: int) -> None:
    x = np.tile(x, repeats)  # longer than a run
    with using(backend):
        total = norm.channel_sums(x)
    assert (total.shape, total.dtype) == (x.shape[1:2], x.dtype)
    limit = 1e-6 if x.dtype == np.float32 else 1e-14
    if not COMPILED:  # without vectors, a run is one chain of additions
        limit = np.finfo(x.dtype).eps * min(x.shape[2], norm.RUN)
    exact, size = (a.astype(np.float64).sum((0, 2)) for a in (x, abs(x)))
    assert (abs(total - exact) <= limit * size).all()


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("offset", [0.0, 1e4, -1e6])
def test_digits_survive_a_large_mean(backend: str, offset: float, rng: np.random.Generator) -> None:
    x = (rng.standard_normal((8, 3, 500)) + offset).astype(np.float32)
    with using(backend):
        mean, var = norm.moments(x)
        y = norm.scale(x, mean, 1 / np.sqrt(var), np.zeros(3))
    exact = x.astype(np.float64)
    exact_mean = exact.mean((0, 2), keepdims=True)
    exact_var = exact.var((0, 2), keepdims=True)
    np.testing.assert_allclose(mean, exact_mean.ravel(), rtol=1e-14, atol=1e-12)
    np.testing.assert_allclose(var, exact_var.ravel(), rtol=1e-6)
    np.testing.assert_allclose(y, (exact - exact_mean) / np.sqrt(exact_var), rtol=1e-5, atol=1e-6)
    with using(backend):
        _, product = norm.gradient_sums(x, x, mean)  # a gradient whose own sum is large
    expected = (exact * (exact - exact_mean)).sum((0, 2))
    np.testing.assert_allclose(product, expected, rtol=1e-6, atol=1e-6 * abs(offset) ** 2)


@pytest.mark.parametrize("backend", BACKENDS)
def test_nan_stays_in_its_channel(backend: str) -> None:
    x = np.ones((2, 3, 10), np.float32)
    x[1, 1, 4] = np.nan
    with using(backend):
        mean, var = norm.moments(x)
        y = norm.scale(x, mean, np.ones(3), np.zeros(3))
    assert np.isnan(mean).tolist() == np.isnan(var).tolist() == [False, True, False]
    assert np.isnan(y).all((0, 2)).tolist() == [False, True, False]
    assert not np.isnan(y[:, [0, 2]]).any()


def test_variance_is_never_negative() -> None:
    x = np.full((4, 2, 33), 0.1, np.float32)
    assert (norm.moments(x)[1] >= 0).all()


@pytest.mark.parametrize("backend", BACKENDS)
def test_float16(backend: str, rng: np.random.Generator) -> None:
    x = rng.standard_normal((2, 3, 40)).astype(np.float16)
    with using(backend):
        mean, var = norm.moments(x)
        y = norm.scale(x, mean, 1 / np.sqrt(var), np.zeros(3))
    assert y.dtype == np.float16
    np.testing.assert_allclose(mean, x.astype(float).mean((0, 2)), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("L", [1, 37])
def test_a_gradient_may_overwrite_the_one_before(
    L: int, backend: str, rng: np.random.Generator
) -> None:
    x, gy = rng.standard_normal((2, 5, 7, L)).astype(np.float32)
    numbers = rng.standard_normal((4, 7))
    with using(backend):
        gx = norm.combine(x, gy, *numbers)
        over = norm.combine(x, gy, *numbers, overwrite=True)
    assert over is gy
    np.testing.assert_array_equal(over, gx)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(5, 7, 1001), (101, 400, 1)])
def test_same_bits_at_any_thread_count(
    shape: tuple[int, ...], dtype: Any, rng: np.random.Generator
) -> None:
    x, gy = rng.standard_normal((2, *shape)).astype(dtype)
    scale, slope, shift = rng.standard_normal((3, shape[1]))

    def run() -> tuple[np.ndarray, ...]:
        mean, var = norm.moments(x)
        y = norm.scale(x, mean, scale, shift)
        gx = norm.combine(x, gy, mean, scale, slope, shift)
        cut = norm.rounded(x, mean, scale, shift)
        some = norm_relu.combine(x, gy, mean, slope, shift, cut)
        sums = *norm.gradient_sums(x, gy, mean), *norm_relu.gradient_sums(x, gy, mean, cut)
        return mean, var, y, *sums, gx, some, norm.channel_sums(x)

    assert_same_bits_at_any_thread_count(run)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("L", [0, 1, 7, 100])
def test_rectified_reads_images_that_are_apart(
    backend: str, dtype: Any, L: int, rng: np.random.Generator
) -> None:
    large = rng.standard_normal((3, 7, L)).astype(dtype)
    large[:, 2, -1:] = np.nan
    mean, scale, shift = rng.standard_normal((3, 4))
    for x in (large[:, :4], large[::2, 3:], large[:1, 1:5], large[::-1, :4], large[:, :7:2],
              np.asfortranarray(large[:, :4])):  # fmt: skip
        with using(backend):
            y = norm_relu.rectified(x, norm.rounded(x, mean, scale, shift))
        want = (x - mean[:, None]) * scale[:, None] + shift[:, None]
        np.testing.assert_allclose(y, np.maximum(want, 0), rtol=1e-5, atol=1e-5)
        assert y.dtype == dtype


@pytest.mark.parametrize("backend", BACKENDS)
@given(x=images())
def test_gradients_of_a_norm_with_relu(backend: str, x: np.ndarray) -> None:
    """As of relu and of the norm, one after the other, on x, mean, and so on, whose differences are
    often such that y is 0, or all but."""
    rng = np.random.default_rng(1)
    T = x.dtype.type
    x = np.round(x * 4).astype(T) / 4
    gy = rng.standard_normal(x.shape).astype(T)
    mean, bend = rng.integers(-4, 5, (2, x.shape[1])) / 4
    mean += rng.choice([0, 1e-9], mean.shape)  # what is left of it, rounded, goes into bend
    scale, slope, shift = rng.integers(-8, 9, (3, x.shape[1])) / 3
    with using(backend):
        cut = norm.rounded(x, mean, scale, bend)
        y = norm_relu.rectified(x, cut)
        plain = np.where(y <= 0, T(0), gy)
        sums = norm_relu.gradient_sums(x, gy, mean, cut)
        gx = norm_relu.combine(x, gy, mean, slope, shift, cut)
        expected = norm.gradient_sums(x, plain, mean)
        expected_gx = norm.combine(x, plain, mean, scale, slope, shift)
    tolerance = {"rtol": 1e-10, "atol": 1e-12} if T is np.float64 else {"rtol": 1e-5, "atol": 1e-5}
    for ours, theirs in zip((*sums, gx), (*expected, expected_gx)):
        np.testing.assert_allclose(ours, theirs, **tolerance)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_backward_agrees_on_where_relu_has_cut(
    backend: str, dtype: Any, rng: np.random.Generator
) -> None:
    """On sums that cancel to a rounding error: backward computes the same one."""
    scale, bend = rng.standard_normal((2, 40))
    mean = rng.standard_normal(40)
    edge = (mean - bend / scale)[:, None]  # where y is 0
    near = rng.integers(-2, 3, (3, 40, 130)) * np.finfo(dtype).eps * (abs(edge) + 1)
    x = (edge + near).astype(dtype)
    ones = np.ones_like(x)
    zeros = np.zeros(40)
    with using(backend):
        cut = norm.rounded(x, mean, scale, bend)
        y = norm_relu.rectified(x, cut)
        total, _ = norm_relu.gradient_sums(x, ones, mean, cut)
        gx = norm_relu.combine(x, ones, mean, zeros, zeros, cut)
    seen = y > 0
    assert 0 < seen.sum() < seen.size
    np.testing.assert_array_equal(total, seen.sum((0, 2)))
    np.testing.assert_array_equal(gx != 0, seen)
