"""Results that are too large for the caches: written past them, and the same numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from minitorch_cnn.kernels import backend, elementwise, jit, large, memory, norm, norm_relu, simd
from minitorch_cnn.kernels.jit import Kernel

DTYPES = [np.float32, np.float64]
N = backend.LARGE + 5  # not whole vectors, nor whole blocks


@pytest.fixture(autouse=True)
def _all_streamed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jit, "STREAM_BYTES", 1)


@pytest.fixture
def called(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The kernels that ran."""
    names: list[str] = []
    run = Kernel.__call__

    def noted(self: Kernel, *args: Any) -> None:
        names.append(self.fn.__name__)
        run(self, *args)

    monkeypatch.setattr(Kernel, "__call__", noted)
    return names


def numbers(shape: Any, dtype: Any, seed: int = 0) -> Any:
    x = np.random.default_rng(seed).standard_normal(shape).astype(dtype)
    x.reshape(-1)[::1001] = np.nan
    x.reshape(-1)[1::1001] = 0
    return x


@pytest.mark.parametrize("dtype", DTYPES)
def test_arithmetic(dtype: Any, called: list[str]) -> None:
    a, b = numbers(N, dtype), numbers(N, dtype, 1)
    np.testing.assert_array_equal(large.add(a, b), a + b)
    np.testing.assert_array_equal(large.mul(a, b), a * b)
    np.testing.assert_array_equal(large.add_relu(a, b), np.maximum(a + b, 0))
    assert called == ["add_streamed", "mul_streamed", "add_relu_streamed"]


@pytest.mark.parametrize("dtype", DTYPES)
def test_relu(dtype: Any, called: list[str]) -> None:
    x, gy = numbers(N, dtype), numbers(N, dtype, 1)
    y = elementwise.apply(elementwise.relu, x)
    np.testing.assert_array_equal(y, np.maximum(x, 0))
    gx = elementwise.apply(elementwise.relu_grad, y, gy)
    np.testing.assert_array_equal(gx, np.where(y <= 0, 0, gy))
    assert called == ["relu_streamed", "relu_grad_streamed"]


@pytest.mark.parametrize("dtype", DTYPES)
def test_leaky_relu(dtype: Any, called: list[str]) -> None:
    x, gy = numbers(N, dtype), numbers(N, dtype, 1)
    slope = dtype(0.01)
    y = elementwise.apply(elementwise.leaky_relu, x, settings=(0.01,))
    np.testing.assert_array_equal(y, np.where(x > 0, x, x * slope))
    gx = elementwise.apply(elementwise.leaky_relu_grad, x, gy, settings=(0.01,))
    np.testing.assert_array_equal(gx, np.where(x > 0, gy, gy * slope))
    assert called == ["leaky_relu_streamed", "leaky_relu_grad_streamed"]


def test_what_is_overwritten_is_not_streamed(called: list[str]) -> None:
    x = numbers(N, np.float32)
    expected = np.maximum(x, 0)
    assert elementwise.apply(elementwise.relu, x, out=x) is x
    np.testing.assert_array_equal(x, expected)
    large.add_into(x, x.copy())
    np.testing.assert_array_equal(x, 2 * expected)
    assert called == ["relu", "add"]


def test_small_results_are_not_streamed(
    monkeypatch: pytest.MonkeyPatch, called: list[str]
) -> None:
    a = numbers(N, np.float32)
    monkeypatch.setattr(jit, "STREAM_BYTES", 3 * a.nbytes)
    large.add(a, a)
    backend.copy(a)
    assert called == ["add_streamed", "take_rows"]  # two are read and one written, or one and one
    monkeypatch.setattr(jit, "STREAM_BYTES", 3 * a.nbytes + 1)
    large.add(a, a)
    assert called[2:] == ["add"]


def test_the_largest_cache_of_this_machine() -> None:
    assert 1 << 18 <= backend.largest_cache() < 1 << 32


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(2, 3, 16), (1, 5, 101), (3, 2, 1225), (2, 4, 7)])
def test_norm(shape: tuple[int, ...], dtype: Any, called: list[str]) -> None:
    C = shape[1]
    x, gy = numbers(shape, dtype), numbers(shape, dtype, 1)
    mean, scale, slope, shift = np.random.default_rng(2).standard_normal((4, C))
    tolerance = {"rtol": 1e-12 if dtype is np.float64 else 3e-5, "atol": 1e-5}
    m, s, b, d = (a[:, None] for a in (mean, scale, slope, shift))
    np.testing.assert_allclose(norm.scale(x, mean, scale, shift), (x - m) * s + d, **tolerance)
    first = np.concatenate([x, gy], 1)[:, :C]  # the first channels of larger images
    expected = np.maximum((x - m) * s + d, 0)
    y = norm_relu.rectified(first, norm.rounded(first, mean, scale, shift))
    np.testing.assert_allclose(y, expected, **tolerance)
    expected = s * gy + b * (x - m) + d
    gx = norm.combine(x, gy, mean, scale, slope, shift)
    np.testing.assert_allclose(gx, expected, **tolerance)
    long = shape[2] * x.itemsize >= norm.VECTOR_BYTES
    assert all(name.endswith("_streamed") == long for name in called), called
    assert norm.combine(x, gy, mean, scale, slope, shift, overwrite=True) is gy
    np.testing.assert_allclose(gy, expected, **tolerance)
    assert called[-1] == "_combine"


@pytest.mark.parametrize("dtype", DTYPES)
def test_concatenation(dtype: Any, called: list[str]) -> None:
    xs = [numbers((3, n), dtype, n) for n in (simd.BLOCK - 1, 70_001, 66_000)]
    y = large.concatenate(xs, 1)
    np.testing.assert_array_equal(y, np.concatenate(xs, 1))
    assert called == ["concat", "concat_streamed", "concat_streamed"]


@pytest.mark.parametrize("dtype", DTYPES)
def test_copies(dtype: Any, called: list[str]) -> None:
    x = numbers((3, 5, 150, 131), dtype)
    for view in (
        x, x[:, 1:], x[1:], x[:, :4], x[..., 2:], x[:, :, ::2], x[::-1], x.swapaxes(0, 1),
        np.broadcast_to(x[:1], (2, *x.shape[1:])), x[:1, :, None], x.reshape(-1)[3:],
    ):  # fmt: skip
        copied = backend.copy(view)
        assert copied.flags.c_contiguous
        assert not np.shares_memory(copied, view)
        np.testing.assert_array_equal(copied, view)
    foreign = x.astype(x.dtype.newbyteorder())
    np.testing.assert_array_equal(backend.copy(foreign), x)
    assert {"take_rows_streamed"} == set(called)
    assert len(called) == 5  # plain memory, or the same gap between long rows


def test_results_begin_at_a_page() -> None:
    """So that a NumPy array's numbers are never stored a few bytes before they are loaded."""
    assert memory.ALIGNMENT == 4096
    assert backend.empty((N,), np.zeros(1)).ctypes.data % 4096 == 0
