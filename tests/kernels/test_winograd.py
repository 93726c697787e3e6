"""Winograd's convolution against PyTorch in float64, and against its own stated error bound."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from minitorch_cnn.kernels import backend, winograd

from ..peak import peak_memory
from ..strategies import make_array
from .common import BACKENDS, assert_same_bits_at_any_thread_count, interpreted, using

TILES = (2, 4)


def expected(x: Any, weight: Any, gy: Any, padding: Any) -> list[Any]:
    """y without bias, gx and gw, in float64, each with the scale of its errors: its largest sum of
    absolute values, also where it has no output because the window reaches outside too far."""

    def gradients(gy: Any, x: Any, weight: Any) -> Any:
        return torch.ops.aten.convolution_backward(
            gy, x, weight, None, (1, 1), padding, (1, 1), False, (0, 0), 1, (True, True, False)
        )[:2]

    double = [torch.from_numpy(a).double() for a in (gy, x, weight)]
    y = torch.nn.functional.conv2d(double[1], double[2], padding=padding)
    absolute = agy, ax, aweight = [a.abs() for a in double]
    scales = (
        torch.nn.functional.conv2d(ax, aweight, padding=[max(p, 2) for p in padding]),
        torch.nn.functional.conv_transpose2d(agy, aweight),
        gradients(*absolute)[1],
    )
    results = (y, *gradients(*double))
    return [(a.numpy(), s.numpy().max(initial=0)) for a, s in zip(results, scales)]


def assert_close(ours: Any, theirs: Any, scale: float, terms: int, tile: int) -> None:
    assert ours.shape == theirs.shape
    bound = winograd.error_bound(terms, tile, ours.dtype) * scale
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=bound)


@st.composite
def convolutions(draw: st.DrawFn) -> tuple[Any, ...]:
    """x, weight, bias, gy and padding."""
    PH, PW = padding = draw(st.tuples(st.integers(0, 3), st.integers(0, 3)))
    H, W = (draw(st.integers(max(1, 3 - 2 * p), 11)) for p in padding)
    N, C, F = draw(st.integers(0, 3)), draw(st.integers(1, 4)), draw(st.integers(1, 4))
    dtype, seed = draw(st.sampled_from([np.float32, np.float64])), draw(st.integers(0, 999))
    shapes = (N, C, H, W), (F, C, 3, 3), (F,), (N, F, H + 2 * PH - 2, W + 2 * PW - 2)
    return *(make_array(s, "normal", seed + i, dtype) for i, s in enumerate(shapes)), padding


def few_weights_seen() -> tuple[Any, ...]:
    """x is one pixel wide: only the middle weights count, and they are far smaller than those
    beside them, which the transforms add to them."""
    shapes = (1, 1, 3, 1), (1, 1, 3, 3), (1,), (1, 1, 1, 1)
    x, weight, bias, gy = (make_array(s, "normal", i) for i, s in enumerate(shapes))
    weight[..., 1] *= 1e-3
    return x, weight, bias, gy, (0, 1)


@pytest.mark.parametrize("tile", TILES)
@pytest.mark.parametrize("backend", BACKENDS)
@given(call=convolutions(), relu=st.booleans())
@example(call=few_weights_seen(), relu=False)
def test_awkward_shapes(backend: str, tile: int, call: Any, relu: bool) -> None:
    x, weight, bias, gy, padding = call
    (y, y_scale), (gx, gx_scale), (gw, gw_scale) = expected(x, weight, gy, padding)
    y = y + bias[:, None, None]
    y_scale += np.abs(bias).max()
    with using(backend):
        ours = winograd.forward(x, weight, padding, bias, tile, relu)
        assert_close(ours, np.maximum(y, 0) if relu else y, y_scale, x.shape[1], tile)
        ours = winograd.grad_input(gy, weight, x.shape, padding, tile)
        assert_close(ours, gx, gx_scale, len(weight), tile)
        ours = winograd.grad_weight(gy, x, padding, tile)
        assert_close(ours, gw, gw_scale, gy[:, 0].size, tile)


# N, C, H, W, F, padding: each crosses some limit of the blocking.
LARGE = {
    "two slivers and a bit": (2, 70, 15, 13, 75, (1, 1)),
    "many chunks": (5, 16, 57, 33, 32, (1, 0)),
    "tiny maps": (37, 33, 2, 3, 40, (1, 1)),
    "long rows": (1, 3, 5, 611, 5, (2, 1)),
    "one tile": (1, 130, 4, 4, 8, (1, 1)),
}


def large(name: str, dtype: Any) -> tuple[Any, ...]:
    N, C, H, W, F, (PH, PW) = LARGE[name]
    shapes = (N, C, H, W), (F, C, 3, 3), (F,), (N, F, H + 2 * PH - 2, W + 2 * PW - 2)
    return *(make_array(s, "normal", i, dtype) for i, s in enumerate(shapes)), (PH, PW)


@pytest.mark.skipif(interpreted(), reason="too large for plain Python loops")
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", LARGE)
@pytest.mark.parametrize("tile", TILES)
@pytest.mark.parametrize("backend", BACKENDS)
def test_blocks(backend: str, tile: int, name: str, dtype: Any) -> None:
    x, weight, bias, gy, padding = large(name, dtype)
    (y, y_scale), (gx, gx_scale), (gw, gw_scale) = expected(x, weight, gy, padding)
    with using(backend):
        ours = winograd.forward(x, weight, padding, bias, tile)
        assert_close(ours, y + bias[:, None, None], y_scale, x.shape[1], tile)
        known = winograd.transform_weight(weight, tile)
        np.testing.assert_array_equal(
            winograd.forward(x, weight, padding, bias, tile, u=known), ours
        )
        ours = winograd.grad_input(gy, weight, x.shape, padding, tile)
        assert_close(ours, gx, gx_scale, len(weight), tile)
        ours = winograd.grad_weight(gy, x, padding, tile)
        assert_close(ours, gw, gw_scale, gy[:, 0].size, tile)


@pytest.mark.skipif(interpreted(), reason="too large for plain Python loops")
@pytest.mark.parametrize("tile", TILES)
@pytest.mark.parametrize("name", LARGE)
def test_same_bits_at_any_thread_count(name: str, tile: int) -> None:
    x, weight, bias, gy, padding = large(name, np.float32)
    assert_same_bits_at_any_thread_count(
        lambda: (
            winograd.forward(x, weight, padding, bias, tile),
            winograd.grad_input(gy, weight, x.shape, padding, tile),
            winograd.grad_weight(gy, x, padding, tile),
        )
    )


@pytest.mark.parametrize("tile", TILES)
def test_the_matrices_are_the_convolution_of_one_row(tile: int) -> None:
    B, G, A = winograd.matrices(tile)
    rng = np.random.default_rng(0)
    d, g = rng.standard_normal(tile + 2), rng.standard_normal(3)
    np.testing.assert_allclose(A @ ((G @ g) * (B @ d)), np.correlate(d, g), rtol=1e-12)


@pytest.mark.skipif(interpreted(), reason="too large for plain Python loops")
@pytest.mark.parametrize("tile", TILES)
@pytest.mark.parametrize("C", [16, 64, 256, 512])
@pytest.mark.parametrize("mean", [0, 100])
def test_error_bound(mean: int, C: int, tile: int) -> None:
    rng = np.random.default_rng(C)
    x = (rng.standard_normal((2, C, 12, 12)) + mean).astype(np.float32)
    weight = rng.standard_normal((40, C, 3, 3)).astype(np.float32)
    gy = rng.standard_normal((2, 40, 12, 12)).astype(np.float32)
    if mean:
        weight, gy = np.abs(weight), np.abs(gy)
    (y, y_scale), (gx, gx_scale), (gw, gw_scale) = expected(x, weight, gy, (1, 1))
    assert_close(winograd.forward(x, weight, (1, 1), None, tile), y, y_scale, C, tile)
    assert_close(winograd.grad_input(gy, weight, x.shape, (1, 1), tile), gx, gx_scale, 40, tile)
    assert_close(winograd.grad_weight(gy, x, (1, 1), tile), gw, gw_scale, gy[:, 0].size, tile)


@pytest.mark.parametrize("tile", TILES)
def test_nan_passes_relu(tile: int) -> None:
    x = np.full((1, 1, 3, 3), np.nan, np.float32)
    weight = np.ones((1, 1, 3, 3), np.float32)
    assert np.isnan(winograd.forward(x, weight, (0, 0), None, tile, relu=True)).all()


@pytest.mark.parametrize("tile", TILES)
@pytest.mark.parametrize(("N", "C", "H"), [(8, 64, 56), (8, 512, 7), (1, 512, 28), (8, 1024, 7)])
def test_workspace_is_bounded(N: int, C: int, H: int, tile: int) -> None:
    said = winograd.workspace_bytes((N, C, H, H), (C, C, 3, 3), np.float32, (1, 1), tile)
    assert 0 < said <= (backend.get_num_threads() + 1) << 24


@pytest.mark.skipif(
    interpreted() or "numba" not in BACKENDS, reason="NumPy holds padded copies of its own"
)
@pytest.mark.parametrize("tile", TILES)
@pytest.mark.parametrize("C", [24, 200])
def test_workspace_is_what_is_said(C: int, tile: int) -> None:
    x, weight = np.ones((3, C, 30, 31), np.float32), np.ones((40, C, 3, 3), np.float32)
    winograd.forward(x, weight, (1, 1), None, tile)
    with peak_memory() as peak:
        y = winograd.forward(x, weight, (1, 1), None, tile)
    said = winograd.workspace_bytes(x.shape, weight.shape, x.dtype, (1, 1), tile)
    assert peak.nbytes - y.nbytes <= said + (1 << 18)


@pytest.mark.skipif(interpreted(), reason="too large for plain Python loops")
def test_filters_made_as_needed_or_all_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    x, weight, _, gy, padding = large("two slivers and a bit", np.float32)
    results = []
    for few in (0, 1000):
        monkeypatch.setattr(winograd, "FEW", few)
        y = winograd.forward(x, weight, padding)
        results.append((y, winograd.grad_input(gy, weight, x.shape, padding)))
    for a, b in zip(*results):
        np.testing.assert_array_equal(a, b)


def test_threads_get_equal_shares_of_the_rows() -> None:
    assert winograd._balanced(18, 32, 4, 2) == 16
    assert winograd._balanced(14, 20, 5, 2) == 10
    assert winograd._balanced(16, 16, 2, 2) == 8
    assert winograd._balanced(1, 296, 37, 2) == 1
    assert winograd._balanced(5, 3, 9, 16) == 1
