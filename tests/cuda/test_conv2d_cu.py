"""conv2d.cu, naive and in tiles, against the six loops and PyTorch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minitorch_cnn.kernels import reference

from ..kernels.test_conv2d import TOLERANCE, convolutions
from ..strategies import make_array
from .common import CHECKS, ORDERS, assert_same_bits, needs_emulator
from .convolution import forward, grad_input, grad_weight, pytorch

pytestmark = needs_emulator

NAIVE, TILED = "_naive", ""


def all_three(
    form: str, x: Any, weight: Any, bias: Any, gy: Any, S: Any, P: Any, D: Any, G: int,
    slices: int = 2, **how: Any,
) -> tuple[np.ndarray, ...]:  # fmt: skip
    """y, gx and gw."""
    settings = (*S, *P, *D, G)
    y = forward("conv2d", f"forward{form}", x, weight, bias, gy.shape, *settings, **how)
    gx = grad_input("conv2d", f"grad_input{form}", gy, weight, x.shape, *settings, **how)
    kernel, slices = f"grad_weight{form}", 0 if form == NAIVE else slices
    gw = grad_weight("conv2d", kernel, gy, x, weight.shape, *settings, slices=slices, **how)
    return y, gx, gw


@pytest.mark.parametrize("form", [NAIVE, TILED])
@given(
    call=convolutions(), with_bias=st.booleans(), slices=st.integers(1, 4), seed=st.integers(0, 99)
)
def test_the_six_loops(form: str, call: Any, with_bias: bool, slices: int, seed: int) -> None:
    x, weight, bias, settings = call
    x, weight = np.ascontiguousarray(x), np.ascontiguousarray(weight)
    bias = bias if with_bias else None
    expected = reference.conv2d.forward(x, weight, *settings, bias)
    gy = make_array(expected.shape, "normal", 7, x.dtype)
    args = (x, weight, bias, gy, *settings)
    y, gx, gw = all_three(form, *args, slices=slices, order="random", seed=seed)
    tolerance = TOLERANCE[x.dtype.type]
    np.testing.assert_allclose(y, expected, **tolerance)
    expected = reference.conv2d.grad_input(gy, weight, x.shape, *settings)
    np.testing.assert_allclose(gx, expected, **tolerance)
    expected = reference.conv2d.grad_weight(gy, x, weight.shape, *settings)
    np.testing.assert_allclose(gw, expected, **tolerance)


@pytest.mark.parametrize("form", [NAIVE, TILED])
@given(
    call=convolutions(np.float32), value=st.sampled_from([np.nan, np.inf]), seed=st.integers(0, 99)
)
def test_nan_and_infinity_reach_exactly_what_they_touch(
    form: str, call: Any, value: float, seed: int
) -> None:
    x, weight, _, settings = call
    if not x.size:
        return
    x, weight = x.copy(), np.ascontiguousarray(weight)
    x.flat[seed % x.size] = value
    expected = reference.conv2d.forward(x, weight, *settings)
    gy = make_array(expected.shape, "normal", 7, np.float32)
    gy.flat[seed % gy.size] = value
    numbers = (*settings[0], *settings[1], *settings[2], settings[3])
    y = forward("conv2d", f"forward{form}", x, weight, None, gy.shape, *numbers)
    np.testing.assert_allclose(y, expected, **TOLERANCE[np.float32])
    gx = grad_input("conv2d", f"grad_input{form}", gy, weight, x.shape, *numbers)
    expected = reference.conv2d.grad_input(gy, weight, x.shape, *settings)
    np.testing.assert_allclose(gx, expected, **TOLERANCE[np.float32])


# N, C, H, W, F, KH, KW, stride, padding, dilation, groups: each crosses a limit of the tiles of 64
# filters, 128 pixels and 8 taps (32, 64 and 8 for doubles).
SHAPES: dict[str, Any] = {
    "lecture 1": (3, 1, 12, 12, 10, 5, 5, (1, 1), (0, 0), (1, 1), 1),
    "more filters than a tile": (1, 3, 6, 5, 67, 3, 2, (1, 1), (1, 0), (1, 1), 1),
    "more channels than a tile": (1, 66, 5, 6, 3, 2, 1, (1, 1), (0, 0), (1, 1), 1),
    "more pixels than a tile": (1, 2, 13, 17, 3, 3, 3, (1, 1), (1, 1), (1, 1), 1),
    "many small images": (9, 4, 4, 5, 6, 3, 3, (1, 1), (1, 1), (1, 1), 1),
    "images of one pixel": (19, 5, 3, 2, 4, 3, 2, (1, 1), (0, 0), (1, 1), 1),
    "strides": (2, 3, 15, 14, 5, 3, 2, (3, 2), (1, 0), (1, 1), 1),
    "stride and dilation": (2, 3, 14, 15, 4, 3, 2, (2, 3), (2, 4), (4, 3), 1),
    "groups": (2, 12, 7, 6, 8, 3, 3, (1, 2), (1, 1), (1, 1), 4),
    "pointwise": (2, 17, 7, 9, 20, 1, 1, (1, 1), (0, 0), (1, 1), 1),
    "wide padding": (2, 3, 4, 5, 6, 2, 3, (1, 2), (5, 6), (1, 1), 1),
    "no image": (0, 3, 6, 5, 4, 3, 3, (1, 1), (1, 1), (1, 1), 1),
}


def example(name: str, dtype: Any) -> tuple[Any, Any, Any, Any]:
    """x, weight, bias and (stride, padding, dilation, groups)."""
    N, C, H, W, F, KH, KW, *settings = SHAPES[name]
    rng = np.random.default_rng(5)
    shapes = (N, C, H, W), (F, C // settings[-1], KH, KW), (F,)
    x, weight, bias = (rng.standard_normal(s).astype(dtype) for s in shapes)
    return x, weight, bias, settings


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("form", [NAIVE, TILED])
def test_pytorch(form: str, name: str, dtype: Any) -> None:
    x, weight, bias, settings = example(name, dtype)
    gy, expected = pytorch(x, weight, bias, 6, *settings)
    results = all_three(form, x, weight, bias, gy, *settings)
    for ours, theirs in zip(results, expected, strict=True):
        scale = np.abs(theirs).max(initial=0)
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=64 * np.finfo(dtype).eps * scale)


@pytest.mark.parametrize("form", [NAIVE, TILED])
@pytest.mark.parametrize("name", ["groups", "stride and dilation", "more pixels than a tile"])
def test_same_bits_in_every_order(form: str, name: str) -> None:
    x, weight, bias, settings = example(name, np.float32)
    gy, _ = pytorch(x, weight, bias, 6, *settings)
    args = (x, weight, bias, gy, *settings)
    assert_same_bits([all_three(form, *args, **order) for order in ORDERS])


@pytest.mark.parametrize("slices", [1, 2, 5, 40])
def test_any_number_of_slices(slices: int) -> None:
    """Of 9 images of 20 pixels, 23 steps of 8: slices of unequal length, some of them empty."""
    x, weight, bias, settings = example("many small images", np.float64)
    gy, (_, _, expected) = pytorch(x, weight, bias, 6, *settings)
    numbers = (*settings[0], *settings[1], *settings[2], settings[3])
    gw = grad_weight("conv2d", "grad_weight", gy, x, weight.shape, *numbers, slices=slices)
    np.testing.assert_allclose(gw, expected, rtol=0, atol=1e-13)


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("form", [NAIVE, TILED])
@pytest.mark.parametrize("name", ["groups", "stride and dilation", "images of one pixel"])
def test_sanitizers(name: str, form: str, check: str) -> None:
    x, weight, bias, settings = example(name, np.float32)
    gy, expected = pytorch(x, weight, bias, 6, *settings)
    results = all_three(form, x, weight, bias, gy, *settings, check=check)
    for ours, theirs in zip(results, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-4)
