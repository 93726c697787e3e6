"""norm.cu against the plain loops and PyTorch."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from minitorch_cnn.kernels import emulator, norm, reference

from ..kernels.test_norm import images
from ..strategies import make_array
from .common import CHECKS, needs_emulator
from .twins import emulated

pytestmark = needs_emulator


@settings(max_examples=15)
@given(x=images())
def test_equals_plain_loops(x: np.ndarray) -> None:
    rng = np.random.default_rng(0)
    gy = rng.standard_normal(x.shape).astype(x.dtype)
    scale, slope, shift = rng.standard_normal((3, x.shape[1]))
    with emulated():
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


@pytest.mark.parametrize("shape", [(3, 5, 700), (200, 2, 7), (5, 3, 513), (1, 1, 1), (1100, 3, 1)])
def test_sums_of_more_and_fewer_numbers_than_threads(shape: tuple[int, ...]) -> None:
    """512 threads a channel, 1024 in a grid: steps over rows shorter, and longer, than that."""
    x, gy = make_array(shape, "normal", 1, np.float32), make_array(shape, "normal", 2, np.float32)
    with emulated():
        mean, var = norm.moments(x)
        total, product = norm.gradient_sums(x, gy, mean)
        gx = norm.combine(x, gy, mean, mean + 1, mean + 2, mean + 3)
    exact = x.astype(np.float64)
    m = mean[:, None]
    np.testing.assert_allclose(gx, (m + 1) * gy + (m + 2) * (exact - m) + m + 3, atol=1e-4)
    np.testing.assert_allclose(mean, exact.mean((0, 2)), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(var, exact.var((0, 2)), rtol=1e-5, atol=1e-9)
    np.testing.assert_allclose(total, gy.astype(float).sum((0, 2)), rtol=1e-12, atol=1e-12)
    expected = (gy * (exact - mean[:, None])).sum((0, 2))
    np.testing.assert_allclose(product, expected, rtol=1e-4, atol=1e-4)


@settings(max_examples=15)
@given(
    shape=st.tuples(st.integers(1, 9), st.integers(1, 9), st.sampled_from([1, 3, 100, 257, 700])),
    blocks=st.integers(1, 5),
)
def test_each_element_is_written_once_by_the_thread_of_its_turn(
    shape: tuple[int, ...], blocks: int
) -> None:
    x, ones, y = np.ones(shape, np.float32), np.ones(shape[1], np.float32), np.empty(shape, "f4")
    args = (x, ones, ones, ones, y)
    trace = emulator.trace("norm", "scale<float>", args, "y", grid=blocks)
    turn = np.arange(x.size).reshape(shape) % (blocks * 256)
    assert (trace["count"] == 1).all()
    np.testing.assert_array_equal(trace["block"][..., 0] * 256 + trace["thread"][..., 0], turn)


@pytest.mark.parametrize("offset", [1e4, -1e6])
def test_digits_survive_a_large_mean(offset: float, rng: np.random.Generator) -> None:
    x = (rng.standard_normal((4, 2, 300)) + offset).astype(np.float32)
    with emulated():
        mean, var = norm.moments(x)
        y = norm.scale(x, mean, 1 / np.sqrt(var), np.zeros(2))
    exact = x.astype(np.float64)
    exact_mean, exact_var = exact.mean((0, 2), keepdims=True), exact.var((0, 2), keepdims=True)
    np.testing.assert_allclose(mean, exact_mean.ravel(), rtol=1e-14)
    np.testing.assert_allclose(var, exact_var.ravel(), rtol=1e-6)
    np.testing.assert_allclose(y, (exact - exact_mean) / np.sqrt(exact_var), rtol=1e-5, atol=1e-6)


def test_sums_are_doubles() -> None:
    """Products of 24 bits, of which a float could not hold a sum."""
    x = np.tile(np.float32([4095, -4095]), 500).reshape(2, 1, 500)
    gy = np.tile(np.float32([4097, -4096]), 500).reshape(2, 1, 500)
    with emulated():
        total, product = norm.gradient_sums(x, gy, np.zeros(1))
    assert (total[0], product[0]) == (500, 500 * 4095 * (4097 + 4096))


def test_nan_stays_in_its_channel() -> None:
    x = np.ones((2, 3, 10), np.float32)
    x[1, 1, 4] = np.nan
    with emulated():
        mean, var = norm.moments(x)
    assert np.isnan(mean).tolist() == np.isnan(var).tolist() == [False, True, False]


def test_batch_norm_equals_pytorch() -> None:
    """Training mode, both ways, as ops/norm.py puts the four kernels together."""
    x = make_array((4, 3, 6, 5), "normal", 1)
    weight, bias = np.array([0.5, 2, -1]), np.array([0, 1, 2.0])
    tensor = torch.tensor(x, requires_grad=True)
    expected = torch.nn.functional.batch_norm(
        tensor, None, None, torch.tensor(weight), torch.tensor(bias), training=True
    )
    gy = torch.randn(expected.shape, dtype=torch.float64)
    expected.backward(gy)
    flat, M = x.reshape(4, 3, 30), 120
    sent = gy.numpy().reshape(flat.shape)
    with emulated() as ran:
        mean, var = norm.moments(flat)
        deviation = 1 / np.sqrt(var + 1e-5)
        y = norm.scale(flat, mean, weight * deviation, bias)
        total, product = norm.gradient_sums(flat, sent, mean)
        scale = weight * deviation
        slope = -scale * deviation**2 * product / M
        gx = norm.combine(flat, sent, mean, scale, slope, -scale * total / M)
    assert ran == ["moments", "scale", "gradient_sums", "combine"]
    np.testing.assert_allclose(y.reshape(x.shape), expected.detach(), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(gx.reshape(x.shape), tensor.grad, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("check", CHECKS)
def test_sanitizers_have_nothing_to_say(check: str) -> None:
    x = make_array((2, 3, 300), "normal", 1, np.float32)
    with emulated(check=check):
        mean, _ = norm.moments(x)
        norm.gradient_sums(x, x, mean)
        if check != "thread":
            norm.combine(x, x, mean, mean, mean, mean)
            norm.scale(x, mean, mean, mean)


@pytest.mark.parametrize("barrier", [0, 1])
def test_a_missing_barrier_is_a_race(barrier: int, tmp_path: Path) -> None:
    """Without the first, sums are read before they are written; without the second, after."""
    for name in ("norm.cu", "array.cuh", "loop.cuh", "reduce.cuh", "scalar.cuh"):
        shutil.copy(Path(norm.__file__).with_name(name), tmp_path)
    parts = re.split(r"__syncthreads\(\);", (tmp_path / "reduce.cuh").read_text())
    assert len(parts) == 3
    ends = ["__syncthreads();", "__syncthreads();"]
    ends[barrier] = ""
    (tmp_path / "reduce.cuh").write_text(parts[0] + ends[0] + parts[1] + ends[1] + parts[2])
    x = make_array((2, 3, 300), "normal", 1, np.float32)
    with pytest.raises(emulator.EmulatorError, match=r"reduce\.cuh") as raised:
        emulator.run(
            tmp_path / "norm.cu", "moments<float>", (x, np.empty(3), np.empty(3)), check="thread"
        )
    assert raised.value.kind == "race"
