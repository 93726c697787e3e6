"""softmax.cu against the plain loops and PyTorch."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from minitorch_cnn.kernels import reference, softmax

from ..kernels.test_softmax import matrices
from ..strategies import make_array
from .common import CHECKS, needs_emulator
from .twins import emulated

pytestmark = needs_emulator


@settings(max_examples=20)
@given(x=matrices(), columns=st.booleans())
def test_equals_plain_loops(x: np.ndarray, columns: bool) -> None:
    gy = np.random.default_rng(0).standard_normal(x.shape).astype(x.dtype)
    dim = 0 if columns else 1
    given, sent = (x.T, gy.T) if columns else (x, gy)
    with emulated():
        y = softmax.softmax(given, dim)
        gx = softmax.softmax_grad(y, sent, dim)
        log_y = softmax.log_softmax(given, dim)
        log_gx = softmax.log_softmax_grad(log_y, sent, dim)
        results = [a.T if columns else a for a in (y, gx, log_y, log_gx)]
        expected = [
            reference.softmax.softmax(x),
            reference.softmax.softmax_grad(results[0], gy),
            reference.softmax.log_softmax(x),
            reference.softmax.log_softmax_grad(results[2], gy),
        ]
    tolerance = 2e-6 if x.dtype == np.float32 else 1e-14
    for a, b in zip(results, expected, strict=True):
        assert a.dtype == x.dtype
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=5 * tolerance)


@pytest.mark.parametrize("dim", [0, 1])
def test_rows_without_an_answer_are_nan(dim: int) -> None:
    x = np.float32([[1, np.nan, 2], [np.inf, 1, 2], [-np.inf] * 3, [0, -np.inf, -np.inf]])
    if dim == 0:
        x = x.T
    with emulated():
        y, log_y = softmax.softmax(x, dim), softmax.log_softmax(x, dim)
    if dim == 0:
        y, log_y = y.T, log_y.T
    assert np.isnan(y[:3]).all()
    assert np.isnan(log_y[:3]).all()
    assert y[3].tolist() == [1, 0, 0]
    assert log_y[3].tolist() == [0, -np.inf, -np.inf]


@pytest.mark.parametrize("dim", [0, 1])
def test_large_numbers_keep_small_digits(dim: int) -> None:
    x = np.float32([[10000, 10001]])
    with emulated():
        y = softmax.log_softmax(x if dim else x.T, dim)
    np.testing.assert_allclose(y.ravel(), [-1.3132617, -0.3132617], rtol=1e-6)


@pytest.mark.parametrize(("shape", "dim"), [((70, 10), 1), ((3, 1000), 1), ((2, 7, 6, 100), 1)])
def test_equals_pytorch(shape: tuple[int, ...], dim: int) -> None:
    """The lecture's classes, ImageNet's, and the classes of every pixel."""
    x = make_array(shape, "normal", 1, np.float32) * np.float32(20)
    tensor = torch.tensor(x, requires_grad=True)
    expected = torch.log_softmax(tensor, dim)
    gy = torch.randn(shape)
    expected.backward(gy)
    with emulated() as ran:
        y = softmax.log_softmax(x, dim)
        gx = softmax.log_softmax_grad(y, gy.numpy(), dim)
    rows = "log_softmax" if len(shape) == 2 else "log_softmax_columns"
    assert ran == [rows, f"{rows}_grad"]
    np.testing.assert_allclose(y, expected.detach(), rtol=1e-6, atol=1e-5)
    np.testing.assert_allclose(gx, tensor.grad, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("check", CHECKS)
def test_sanitizers_have_nothing_to_say(check: str) -> None:
    x = make_array((9, 37), "normal", 1, np.float32)
    with emulated(check=check):
        y = softmax.softmax(x, 1)
        softmax.softmax_grad(y, x, 1)
        z = softmax.log_softmax(x, 1)
        softmax.log_softmax_grad(z, x, 1)
        z = softmax.log_softmax(x, 0)
        softmax.log_softmax_grad(z, x, 0)
        y = softmax.softmax(x, 0)
        softmax.softmax_grad(y, x, 0)
