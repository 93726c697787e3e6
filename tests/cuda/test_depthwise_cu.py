"""depthwise.cu against the six loops and PyTorch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minitorch_cnn.kernels import reference

from ..kernels.test_conv2d import TOLERANCE
from ..strategies import make_array
from .common import CHECKS, ORDERS, assert_same_bits, needs_emulator
from .convolution import forward, grad_input, grad_weight, pytorch

pytestmark = needs_emulator


def all_three(
    x: Any, weight: Any, bias: Any, gy: Any, S: Any, P: Any, D: Any, **how: Any
) -> tuple[np.ndarray, ...]:
    """y, gx and gw."""
    settings = (*S, *P, *D)
    y = forward("depthwise", "forward", x, weight, bias, gy.shape, *settings, **how)
    gx = grad_input("depthwise", "grad_input", gy, weight, x.shape, *settings, **how)
    gw = grad_weight("depthwise", "grad_weight", gy, x, weight.shape, *settings, **how)
    return y, gx, gw


def _pairs(low: int, high: int) -> st.SearchStrategy[tuple[int, int]]:
    return st.tuples(st.integers(low, high), st.integers(low, high))


@st.composite
def depthwise(draw: st.DrawFn) -> tuple[Any, ...]:
    """x, weight, bias or None, and (stride, padding, dilation); one to three filters a channel."""
    kernel, S, P, D = draw(_pairs(1, 3)), draw(_pairs(1, 3)), draw(_pairs(0, 3)), draw(_pairs(1, 2))
    H, W = (draw(st.integers(max(1, d * (k - 1) + 1 - 2 * p), 9)) for k, p, d in zip(kernel, P, D))
    N, C = draw(st.integers(0, 3)), draw(st.integers(1, 4))
    F = C * draw(st.integers(1, 3))
    dtype = draw(st.sampled_from([np.float32, np.float64]))
    seed = draw(st.integers(0, 999))
    x, weight, bias = (
        make_array(shape, "normal", seed + i, dtype)
        for i, shape in enumerate([(N, C, H, W), (F, 1, *kernel), (F,)])
    )
    return x, weight, draw(st.sampled_from([None, bias])), (S, P, D)


@given(call=depthwise(), value=st.sampled_from([0.5, np.nan, np.inf]), seed=st.integers(0, 99))
def test_the_six_loops(call: Any, value: float, seed: int) -> None:
    x, weight, bias, settings = call
    C = x.shape[1]
    if x.size:
        x.flat[seed % x.size] = value
    expected = reference.conv2d.forward(x, weight, *settings, C, bias)
    gy = make_array(expected.shape, "normal", 7, x.dtype)
    y, gx, gw = all_three(x, weight, bias, gy, *settings, order="random", seed=seed)
    tolerance = TOLERANCE[x.dtype.type]
    np.testing.assert_allclose(y, expected, **tolerance)
    expected = reference.conv2d.grad_input(gy, weight, x.shape, *settings, C)
    np.testing.assert_allclose(gx, expected, **tolerance)
    expected = reference.conv2d.grad_weight(gy, x, weight.shape, *settings, C)
    np.testing.assert_allclose(gw, expected, **tolerance)


# N, C, H, W, F, KH, KW, stride, padding, dilation.
SHAPES: dict[str, Any] = {
    "same": (2, 5, 17, 19, 5, 3, 5, (1, 1), (1, 2), (1, 1)),
    "stride": (3, 4, 13, 10, 8, 5, 3, (2, 3), (2, 1), (1, 1)),
    "dilated": (1, 3, 12, 14, 9, 3, 2, (2, 1), (3, 4), (3, 4)),
    "no image": (0, 3, 6, 5, 3, 3, 3, (1, 1), (1, 1), (1, 1)),
}


def example(name: str, dtype: Any) -> tuple[Any, ...]:
    """x, weight, bias, gy, settings, and PyTorch's y, gx and gw."""
    N, C, H, W, F, KH, KW, *settings = SHAPES[name]
    rng = np.random.default_rng(5)
    shapes = (N, C, H, W), (F, 1, KH, KW), (F,)
    x, weight, bias = (rng.standard_normal(s).astype(dtype) for s in shapes)
    gy, expected = pytorch(x, weight, bias, 6, *settings, C)
    return (x, weight, bias, gy, *settings), expected


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", SHAPES)
def test_pytorch(name: str, dtype: Any) -> None:
    call, expected = example(name, dtype)
    for ours, theirs in zip(all_three(*call), expected, strict=True):
        scale = np.abs(theirs).max(initial=0)
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=32 * np.finfo(dtype).eps * scale)


@pytest.mark.parametrize("name", SHAPES)
def test_same_bits_in_every_order(name: str) -> None:
    call, _ = example(name, np.float32)
    assert_same_bits([all_three(*call, **order) for order in ORDERS])


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("name", ["stride", "dilated"])
def test_sanitizers(name: str, check: str) -> None:
    call, expected = example(name, np.float32)
    for ours, theirs in zip(all_three(*call, check=check), expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-4)
