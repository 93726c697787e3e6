"""im2col.cu against plain loops and PyTorch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from minitorch_cnn.kernels import reference

from ..kernels.test_im2col import unfoldings
from .common import CHECKS, ORDERS, assert_same_bits, emulate, nans, needs_emulator

pytestmark = needs_emulator

TOLERANCE = {"rtol": 1e-5, "atol": 1e-6}


def unfold(x: np.ndarray, kernel: Any, size: Any, S: Any, P: Any, D: Any, **how: Any) -> Any:
    N, C = x.shape[:2]
    col = nans((N, C * kernel[0] * kernel[1], *size), x)
    emulate("im2col", "im2col", np.ascontiguousarray(x), col, *kernel, *S, *P, *D, **how)
    return col


def fold(
    col: np.ndarray, shape: Any, kernel: Any, size: Any, S: Any, P: Any, D: Any, **how: Any
) -> Any:
    x = nans(shape, col)
    emulate("im2col", "col2im", col, x, *kernel, *S, *P, *D, **how)
    return x


@given(call=unfoldings(), seed=st.integers(0, 99))
def test_plain_loops(call: Any, seed: int) -> None:
    x, settings = call
    col = unfold(x, *settings, order="random", seed=seed)
    expected = reference.im2col.unfold(x, *settings)
    np.testing.assert_array_equal(col.reshape(expected.shape), expected)
    back = fold(col, x.shape, *settings, order="random", seed=seed)
    expected = reference.im2col.fold(expected, x.shape, *settings)
    np.testing.assert_allclose(back, expected, **TOLERANCE)


# N, C, H, W, kernel, size, stride, padding, dilation.
SHAPES = {
    "same": (2, 3, 9, 13, (3, 5), (9, 13), (1, 1), (1, 2), (1, 1)),
    "stride and dilation": (2, 2, 17, 11, (3, 2), (6, 5), (3, 2), (2, 1), (2, 3)),
    "gaps between windows": (1, 2, 11, 12, (2, 1), (4, 4), (3, 3), (0, 0), (1, 1)),
}


@pytest.mark.parametrize("name", SHAPES)
def test_pytorch(name: str, rng: np.random.Generator) -> None:
    *shape, kernel, size, S, P, D = SHAPES[name]
    x = rng.standard_normal(shape)
    tensor = torch.from_numpy(x)
    col = torch.nn.functional.unfold(tensor, kernel, dilation=D, padding=P, stride=S)
    ours = unfold(x, kernel, size, S, P, D)
    np.testing.assert_array_equal(ours.reshape(col.shape), col.numpy())
    back = torch.nn.functional.fold(col, shape[2:], kernel, dilation=D, padding=P, stride=S)
    np.testing.assert_allclose(
        fold(ours, shape, kernel, size, S, P, D), back.numpy(), rtol=1e-12, atol=1e-12
    )


def test_a_negative_padding_leaves_pixels_out() -> None:
    x = np.arange(1.0, 31).reshape(1, 1, 5, 6)
    settings: Any = ((2, 2), (2, 2), (1, 2), (-1, -1), (1, 1))
    col = unfold(x, *settings)
    np.testing.assert_array_equal(col[0, 0], x[0, 0, 1:3, 1:5:2])
    expected = reference.im2col.fold(col.reshape(1, 4, 4), x.shape, *settings)
    np.testing.assert_array_equal(fold(col, x.shape, *settings), expected)


@pytest.mark.parametrize("name", SHAPES)
def test_same_bits_in_every_order(name: str, rng: np.random.Generator) -> None:
    *shape, kernel, size, S, P, D = SHAPES[name]
    x = rng.standard_normal(shape).astype(np.float32)
    cols = [unfold(x, kernel, size, S, P, D, **order) for order in ORDERS]
    assert_same_bits(cols)
    assert_same_bits([fold(cols[0], shape, kernel, size, S, P, D, **order) for order in ORDERS])


@pytest.mark.parametrize("check", CHECKS)
def test_sanitizers(check: str, rng: np.random.Generator) -> None:
    for shape in SHAPES.values():
        *sizes, kernel, size, S, P, D = shape
        col = unfold(rng.standard_normal(sizes), kernel, size, S, P, D, check=check)
        fold(col, sizes, kernel, size, S, P, D, check=check)
