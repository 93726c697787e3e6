"""pool.cu and resample.cu against the plain loops and PyTorch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from minitorch_cnn.kernels import pool, reference, resample

from ..kernels.test_pool import max_poolings, planes, ranges
from ..kernels.test_resample import taps
from ..strategies import make_array
from .common import CHECKS, needs_emulator
from .twins import emulated, run

pytestmark = needs_emulator


def _max_grad(
    gy: np.ndarray, indices: np.ndarray, shape: Any, rows: Any, columns: Any, check: Any = None
) -> np.ndarray:
    """The one kernel with arguments that the .py has not: which windows could have taken what."""
    gx = np.empty(shape, gy.dtype)
    where = (pool.covering_ranges(rows, shape[1]), pool.covering_ranges(columns, shape[2]))
    run("pool", "max_pool2d_grad", gy, indices, gx, *where[0], *where[1], check=check)
    return gx


def _windows(shape: Any, settings: dict[str, Any]) -> tuple[Any, Any]:
    """Rows and columns between each window's first and last tap."""
    K = [d * (k - 1) + 1 for k, d in zip(settings["kernel_size"], settings["dilation"])]
    sizes = settings["stride"], settings["padding"], settings["output_size"]
    rows, columns = map(pool.kernel_ranges, shape[1:], K, *sizes)
    return rows, columns


@settings(max_examples=20)
@given(case=max_poolings())
def test_max_pool2d(case: Any) -> None:
    x, how = case
    with emulated():
        y, indices = pool.max_pool2d(x, **how)
    expected, expected_indices = reference.pool.max_pool2d(x, **how)
    np.testing.assert_array_equal(y, expected)
    np.testing.assert_array_equal(indices, expected_indices)
    gy = np.random.default_rng(0).standard_normal(y.shape).astype(x.dtype)
    gx = _max_grad(gy, indices, x.shape, *_windows(x.shape, how))
    np.testing.assert_array_equal(gx, pool.max_pool2d_grad(gy, indices, x.shape))


@settings(max_examples=20)
@given(data=st.data())
def test_windows_by_ranges(data: st.DataObject) -> None:
    x = data.draw(planes())
    size = x.shape[1:]
    rows, columns = (data.draw(ranges(n)) for n in size)
    divisor = np.add.outer(np.arange(rows[0].size), 1 + np.arange(columns[0].size))
    with emulated():
        y, indices = pool.max_ranges(x, rows, columns)
        total = pool.sum_ranges(x, rows, columns)
        gy = np.random.default_rng(0).standard_normal(y.shape).astype(x.dtype)
        gx = pool.mean_ranges_grad(gy, rows, columns, divisor, size)
        expected, expected_indices = reference.pool.max_ranges(x, rows, columns)
        expected_total = reference.pool.sum_ranges(x, rows, columns)
    np.testing.assert_array_equal(y, expected)
    np.testing.assert_array_equal(indices, expected_indices)
    np.testing.assert_allclose(total, expected_total, rtol=1e-5, atol=1e-5)
    expected_gx = reference.pool.mean_ranges_grad(gy, rows, columns, divisor, size)
    np.testing.assert_allclose(gx, expected_gx, rtol=1e-5, atol=1e-5)
    max_gx = _max_grad(gy, indices, x.shape, rows, columns)
    np.testing.assert_array_equal(max_gx, pool.max_pool2d_grad(gy, indices, x.shape))


@pytest.mark.parametrize("ceil_mode", [False, True])
@pytest.mark.parametrize(
    ("kernel", "stride", "padding", "dilation"),
    [((3, 2), (2, 1), (1, 0), (1, 2)), ((2, 2), (2, 2), (0, 0), (1, 1)), (3, 2, 1, 1)],
)
def test_max_pool2d_equals_pytorch(
    kernel: Any, stride: Any, padding: Any, dilation: Any, ceil_mode: bool
) -> None:
    """1,400 outputs: more than the emulator's grid has threads."""
    x = make_array((2, 7, 20, 23), "ties", 3, np.float32)
    x[0, 0, 3:6, 4] = np.nan
    tensor = torch.tensor(x, requires_grad=True)
    given = (kernel, stride, padding, dilation, ceil_mode)
    expected, expected_indices = F.max_pool2d(tensor, *given, return_indices=True)
    gy = torch.randn(expected.shape)
    expected.backward(gy)
    names = ("kernel_size", "stride", "padding", "dilation")
    how: dict[str, Any] = {
        name: (value, value) if isinstance(value, int) else value
        for name, value in zip(names, given)
    }
    how["output_size"] = tuple(expected.shape[2:])
    with emulated():
        y, indices = pool.max_pool2d(x, **how)
    np.testing.assert_array_equal(y, expected.detach().numpy())
    np.testing.assert_array_equal(indices, expected_indices.numpy())
    flat = (14, *expected.shape[2:])
    gx = _max_grad(
        gy.numpy().reshape(flat), indices.reshape(flat), (14, 20, 23),
        *_windows((14, 20, 23), how),
    )  # fmt: skip
    np.testing.assert_allclose(gx.reshape(x.shape), tensor.grad, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("size", [(1, 1), (3, 5), (7, 4)])
def test_adaptive_pools_equal_pytorch(size: tuple[int, int]) -> None:
    x = make_array((2, 3, 9, 11), "distinct", 3)
    tensor = torch.tensor(x, requires_grad=True)
    mean = F.adaptive_avg_pool2d(tensor, size)
    gy = torch.randn(mean.shape, dtype=torch.float64)
    mean.backward(gy)
    rows, columns = map(pool.adaptive_ranges, x.shape[2:], size)
    divisor = np.multiply.outer(rows[1] - rows[0], columns[1] - columns[0])
    largest, where = F.adaptive_max_pool2d(tensor.detach(), size, return_indices=True)
    with emulated():
        y = pool.mean_ranges(x, rows, columns, divisor)
        gx = pool.mean_ranges_grad(gy.numpy(), rows, columns, divisor, (9, 11))
        best, indices = pool.max_ranges(x, rows, columns)
    np.testing.assert_allclose(y, mean.detach(), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(gx, tensor.grad, rtol=1e-12, atol=1e-12)
    np.testing.assert_array_equal(best, largest.numpy())
    np.testing.assert_array_equal(indices, where.numpy())


def test_a_window_in_the_padding_takes_nothing() -> None:
    x = np.float32([[[1], [2]]])
    with emulated():
        y, indices = pool.max_pool2d(x, (1, 2), (1, 1), (0, 1), (1, 2), (2, 1))
    assert np.isneginf(y).all()
    assert (indices == -1).all()


@settings(max_examples=15)
@given(data=st.data())
def test_bilinear(data: st.DataObject) -> None:
    shape = data.draw(st.tuples(st.integers(0, 3), st.integers(1, 6), st.integers(1, 6)))
    dtype = data.draw(st.sampled_from([np.float32, np.float64]))
    x = make_array(shape, "normal", 1, dtype)
    rows, columns = data.draw(taps(shape[1])), data.draw(taps(shape[2]))
    with emulated():
        y = resample.bilinear(x, rows, columns)
        gy = np.random.default_rng(0).standard_normal(y.shape).astype(dtype)
        gx = resample.bilinear_grad(gy, rows, columns, x.shape[1:])
    limit = 1e-5 if dtype is np.float32 else 1e-12
    expected = reference.resample.bilinear(x, rows, columns)
    np.testing.assert_allclose(y, expected, rtol=limit, atol=limit)
    expected = reference.resample.bilinear_grad(gy, rows, columns, x.shape[1:])
    np.testing.assert_allclose(gx, expected, rtol=limit, atol=limit)


@pytest.mark.parametrize("check", CHECKS)
def test_sanitizers_have_nothing_to_say(check: str) -> None:
    x = make_array((3, 11, 13), "ties", 1, np.float32)
    rows, columns = pool.adaptive_ranges(11, 4), pool.adaptive_ranges(13, 5)
    with emulated(check=check):
        y, indices = pool.max_ranges(x, rows, columns)
        pool.sum_ranges(x, rows, columns)
        z, _ = pool.max_pool2d(x, (3, 2), (2, 3), (1, 1), (1, 2), (6, 4))
        assert z.shape == (3, 6, 4)
        _max_grad(y, indices, x.shape, rows, columns, check=check)
        low = np.arange(5) * 2
        down = np.linspace(0, 1, 5)
        g = resample.bilinear(x, (low, low + 1, down), (low, low + 1, down))
        resample.bilinear_grad(g, (low, low + 1, down), (low, low + 1, down), (11, 13))
