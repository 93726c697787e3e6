"""Convolution of few channels, by rows of pixels, against PyTorch and plain loops."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from minitorch_cnn.kernels import algorithms, conv2d, reference, row_tile, shifted_rows

from ..strategies import make_array
from .common import BACKENDS, assert_same_bits_at_any_thread_count, using
from .test_conv2d import TOLERANCE

ONE = (1, 1)


@st.composite
def layers(draw: st.DrawFn) -> dict[str, Any]:
    """Rows of at least a vector; grad_weight's whole vectors are drawn half of the time."""
    dtype = draw(st.sampled_from([np.float32, np.float64]))
    KH, KW, DH, DW = (draw(st.integers(1, n)) for n in (4, 5, 2, 2))
    P = draw(st.integers(0, (KH - 1) * DH)), draw(st.integers(0, (KW - 1) * DW))
    full = shifted_rows.lanes(np.dtype(dtype).itemsize)
    OW = draw(st.sampled_from([full, full + 1, 2 * full - 1, 2 * full, 3 * full]))
    OH = draw(st.integers(1, 9))
    S = draw(st.sampled_from([ONE, ONE, (2, 2), (1, 2), (3, 1), (2, 3)]))
    more = [draw(st.integers(0, s - 1)) for s in S]  # rows and columns that no window reaches
    reach = [(o - 1) * s + (k - 1) * d + 1 + m
             for o, s, k, d, m in zip((OH, OW), S, (KH, KW), (DH, DW), more)]  # fmt: skip
    H, W = (n - 2 * p for n, p in zip(reach, P))
    if min(H, W) < 1:
        P = (0, 0)
        H, W = reach
    N = draw(st.sampled_from([1, 2, 17, 33]))
    C, F = draw(st.integers(1, 4)), draw(st.integers(1, 12))
    seed = draw(st.integers(0, 999))
    return {
        "x": make_array((N, C, H, W), "normal", seed, dtype),
        "weight": make_array((F, C, KH, KW), "normal", seed + 1, dtype),
        "bias": make_array((F,), "normal", seed + 2, dtype),
        "gy": make_array((N, F, OH, OW), "normal", seed + 3, dtype),
        "settings": (S, P, (DH, DW)),
    }


def far_taps() -> dict[str, Any]:
    """Taps so far away that an image's row lies wholly between them."""
    W = shifted_rows.lanes(4)
    return {
        "x": make_array((2, 1, 1, W), "normal", 0, np.float32),
        "weight": make_array((3, 1, 1, W + 2), "normal", 1, np.float32),
        "bias": make_array((3,), "normal", 2, np.float32),
        "gy": make_array((2, 3, 1, W), "normal", 3, np.float32),
        "settings": (ONE, (0, W + 1), (1, 2)),
    }


def _all_three(x: Any, weight: Any, bias: Any, gy: Any, settings: Any) -> list[Any]:
    calls = [
        ("forward", lambda: conv2d.forward(x, weight, *settings, 1, bias, "rows")),
        ("grad_input", lambda: conv2d.grad_input(gy, weight, x.shape, *settings, 1, "rows")),
        ("grad_weight", lambda: conv2d.grad_weight(gy, x, weight.shape, *settings, 1, "rows")),
    ]
    results = []
    for direction, call in calls:
        S, P, D = settings
        problem = conv2d.problem_of(
            direction, x.shape, weight.shape, x.dtype, stride=S, padding=P, dilation=D
        )
        can = algorithms.choose(problem, "rows").algorithm == "rows"
        part = direction == "grad_weight" and gy.shape[3] % shifted_rows.lanes(x.itemsize)
        assert can or part or (direction != "forward" and S != ONE)
        results.append(call())
    return results


@pytest.mark.parametrize("backend", BACKENDS)
@given(layer=layers())
@example(layer=far_taps())
def test_all_directions(backend: str, layer: dict[str, Any]) -> None:
    with using(backend):
        y, gx, gw = _all_three(**layer)
    x, weight, bias, gy = (
        torch.from_numpy(layer[name].astype(np.float64)) for name in ("x", "weight", "bias", "gy")
    )
    x.requires_grad_()
    weight.requires_grad_()
    expected = torch.nn.functional.conv2d(x, weight, bias, *layer["settings"])
    expected.backward(gy)
    assert x.grad is not None
    assert weight.grad is not None
    for ours, theirs in zip((y, gx, gw), (expected.detach(), x.grad, weight.grad), strict=True):
        assert ours.dtype == layer["x"].dtype
        wanted = theirs.numpy()
        tolerance = TOLERANCE[ours.dtype.type]["rtol"] * max(1.0, float(np.abs(wanted).max()))
        np.testing.assert_allclose(ours, wanted, rtol=0, atol=tolerance)


@pytest.mark.parametrize("value", [np.nan, np.inf])
@given(layer=layers(), seed=st.integers(0, 9999))
def test_nan_and_infinity_reach_exactly_what_they_touch(
    value: float, layer: dict[str, Any], seed: int
) -> None:
    x, weight, gy, settings = (layer[k] for k in ("x", "weight", "gy", "settings"))
    x.flat[seed % x.size] = value
    gy.flat[seed % gy.size] = value
    with np.errstate(all="ignore"):
        y, gx, _ = _all_three(**layer)
        expected = reference.conv2d.forward(x, weight, *settings, 1, layer["bias"])
        expected_gx = reference.conv2d.grad_input(gy, weight, x.shape, *settings, 1)
    np.testing.assert_array_equal(np.isfinite(y), np.isfinite(expected))
    np.testing.assert_array_equal(np.isfinite(gx), np.isfinite(expected_gx))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_same_bits_at_any_thread_count(dtype: Any) -> None:
    layer = {
        "x": make_array((37, 3, 20, 24), "normal", 0, dtype),
        "weight": make_array((7, 3, 5, 3), "normal", 1, dtype),
        "bias": make_array((7,), "normal", 2, dtype),
        "gy": make_array((37, 7, 20, 24), "normal", 3, dtype),
        "settings": (ONE, (2, 1), ONE),
    }
    assert_same_bits_at_any_thread_count(lambda: tuple(_all_three(**layer)))


@pytest.mark.skipif(row_tile.ROW_BYTES < 32, reason="shorter vectors fit other rows")
def test_where_it_pays() -> None:
    """The lecture's two layers in all directions; not layers of many channels or narrow maps."""

    def chosen(x_shape: Any, weight_shape: Any, direction: str = "forward") -> str:
        problem = conv2d.problem_of(direction, x_shape, weight_shape, np.float32)
        return algorithms._choose(problem, "auto", "numba", 1).algorithm

    for direction in ("forward", "grad_input", "grad_weight"):
        assert chosen((64, 1, 28, 28), (10, 1, 5, 5), direction) == "rows"
        assert chosen((64, 10, 12, 12), (20, 10, 5, 5), direction) == "rows"
    assert chosen((8, 256, 28, 28), (256, 256, 5, 5)) == "implicit_gemm"
    assert chosen((8, 16, 8, 8), (20, 16, 5, 5)) == "implicit_gemm"


def test_the_loops_of_the_block_by_hand() -> None:
    """Two products: 1 + 2 * (10, 11, ..) + 3 * (20, 21, ..), and the sum over lanes of squares."""
    lanes = shifted_rows.lanes(8)
    b, row = np.arange(64.0), np.arange(lanes)
    rows, places = np.zeros(row_tile.ROWS, np.int64), np.zeros(row_tile.TAPS, np.int64)
    starts, to, steps = np.ones(row_tile.ROWS), np.zeros(lanes), np.array([0, 10])
    plain = row_tile._loops(1, vectors=False)
    a = np.array([2.0, 3.0])
    tables = rows, 0, np.array([0, 1]), b, 10, places, 0, steps, 0, 2, starts, to, 0, rows, places
    plain(a, 0, *tables)
    np.testing.assert_array_equal(to, 1 + 2 * (10 + row) + 3 * (20 + row))
    plain = row_tile._loops(1, vectors=True)
    tables = rows, 0, steps, b, 0, places, 0, steps, 0, 2, starts, to, 0, rows, places
    plain(b, 0, *tables)
    assert to[0] == 1 * lanes + (row**2).sum() + ((10 + row) ** 2).sum()
