"""The kernels of losses and their NumPy twins against the plain loops."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minitorch_cnn.kernels import loss, reference

from .common import BACKENDS, assert_same_bits_at_any_thread_count, using

IGNORED = -100
Drawn = dict[str, Any]


@st.composite
def losses(draw: st.DrawFn) -> Drawn:
    C = draw(st.integers(1, 21))
    N, S = draw(st.sampled_from([5, 2, 131, 1, 0])), draw(st.sampled_from([1, 2, 6]))
    shape = draw(st.sampled_from([(N, C), (N, C, S), (C,)]))
    rng = np.random.default_rng(draw(st.integers(0, 999)))
    dtype = draw(st.sampled_from([np.float32, np.float64]))
    x = rng.standard_normal(shape).astype(dtype)
    positions = x.size // C
    target = rng.integers(0, C, positions)
    ignored = draw(st.sampled_from([IGNORED, 0]))
    target[rng.random(positions) < 0.2] = ignored
    weight = rng.random(C).astype(dtype) if draw(st.booleans()) else None
    return {
        "x": x, "target": target, "weight": weight, "gy": rng.standard_normal(positions),
        "ignore_index": ignored, "smoothing": draw(st.sampled_from([0.0, 0.1, 1.0])),
        "mean": draw(st.booleans()),
        "name": draw(st.sampled_from(["nll_loss", "cross_entropy"])), "each": draw(st.booleans()),
    }  # fmt: skip


def _expected(d: Drawn, divisor: np.ndarray) -> tuple[np.ndarray, ...]:
    """The losses, their sum, the sum of the weights, and the gradient, by plain loops."""
    C = d["x"].shape[0 if d["x"].ndim == 1 else 1]
    by_class = (1, *d["x"].shape) if d["x"].ndim == 1 else d["x"].shape
    x = d["x"].astype(np.float64).reshape(*by_class[:2], -1 if d["x"].size else 1)
    N, _, S = x.shape
    scores = x
    if d["name"] == "cross_entropy":
        rows = reference.softmax.log_softmax(np.moveaxis(x, 1, 2).reshape(-1, C))
        scores = np.moveaxis(rows.reshape(N, S, C), 2, 1)
    target, how = d["target"].reshape(N, S), (d["ignore_index"], d["smoothing"])
    each, used, gx = np.empty((N, S)), np.empty((N, S)), np.empty(x.shape)
    reference.loss.nll_loss(scores, target, d["weight"], each, used, *how)
    gy = d["gy"] if d["each"] else d["gy"][:1]
    if d["name"] == "cross_entropy":
        reference.loss.cross_entropy_grad(gy, divisor, target, d["weight"], scores, gx, *how)
    else:
        reference.loss.nll_loss_grad(gy, divisor, target, d["weight"], gx, *how)
    return each.ravel(), each.sum(), used.sum(), gx.reshape(d["x"].shape)


@pytest.mark.parametrize("backend", BACKENDS)
@given(d=losses())
def test_classes_equal_plain_loops(backend: str, d: Drawn) -> None:
    x, target, how = d["x"], d["target"], (d["ignore_index"], d["smoothing"])
    gy = (d["gy"] if d["each"] else d["gy"][:1]).astype(x.dtype)
    with using(backend):
        each, y, divisor, scores = loss.of_classes(
            d["name"], x, target, d["weight"], *how, d["mean"]
        )
        if target.size == 0 or (d["mean"] and divisor[0] == 0):
            assert np.isnan(y) if d["mean"] else y == 0
            assert each.size == target.size
            return
        gx = loss.of_classes_grad(gy, divisor, target, d["weight"], scores, x.shape, *how)
    expected, total, used, expected_gx = _expected(d, divisor)
    assert each.dtype == y.dtype == gx.dtype == x.dtype
    close = 3e-5 if x.dtype == np.float32 else 1e-12
    np.testing.assert_allclose(divisor[0], used if d["mean"] else 1, rtol=close)
    np.testing.assert_allclose(each, expected, rtol=close, atol=close)
    scale = np.abs(expected).sum() / divisor[0]
    np.testing.assert_allclose(y, total / divisor[0], rtol=close, atol=close * scale)
    scale = max(1.0, float(np.abs(expected_gx).max()))
    np.testing.assert_allclose(gx, expected_gx, rtol=close, atol=close * scale)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", ["nll_loss", "cross_entropy"])
@pytest.mark.parametrize("wrong", [-1, 3, -(2**63), 2**63 - 1])
@pytest.mark.parametrize("S", [1, 2])
def test_a_target_that_is_no_class(backend: str, name: str, wrong: int, S: int) -> None:
    x, target = np.zeros((2, 3, S)), np.zeros(2 * S, np.int64)
    target[-1] = wrong
    with using(backend):
        with pytest.raises(IndexError, match=rf"{name}: Target {wrong} is out of bounds"):
            loss.of_classes(name, x, target, None, IGNORED, 0.0, True)
        each, _, divisor, _ = loss.of_classes(name, x, target, None, wrong, 0.0, True)
        assert divisor[0] == target.size - 1
        assert each[-1] == 0


@pytest.mark.parametrize("backend", BACKENDS)
def test_weights_of_nan_are_not_taken_for_a_wrong_class(backend: str) -> None:
    weight = np.array([1, np.nan])
    with using(backend):
        _, y, _, _ = loss.of_classes(
            "nll_loss", np.ones((2, 2)), np.array([0, 1]), weight, IGNORED, 0.0, True
        )
    assert np.isnan(y)


@pytest.mark.parametrize("backend", BACKENDS)
@given(
    n=st.sampled_from([0, 1, 7, 1023, 1024, 5000]),
    dtype=st.sampled_from([np.float32, np.float64]),
    mean=st.booleans(),
    seed=st.integers(0, 99),
)
def test_squares(backend: str, n: int, dtype: Any, mean: bool, seed: int) -> None:
    x, target = np.random.default_rng(seed).standard_normal((2, n)).astype(dtype)
    d = x.astype(np.float64) - target
    with using(backend):
        y = loss.mean_square(x, target, mean)
        gx = loss.mean_square_grad(x, target, np.array(0.5, dtype), -3.0)
    close = 1e-5 if dtype == np.float32 else 1e-13
    total = np.square(d).sum()
    expected = total / n if mean and n else np.nan if mean else total
    np.testing.assert_allclose(y, expected, rtol=close)
    np.testing.assert_allclose(gx, -1.5 * d, rtol=close, atol=close)
    assert y.dtype == gx.dtype == dtype


def test_same_bits_at_any_thread_count(rng: np.random.Generator) -> None:
    x, t = rng.standard_normal((2, 1003, 101), np.float32)
    target, gy = rng.integers(0, 101, 1003), rng.standard_normal(1003, np.float32)
    weight = rng.random(101, np.float32)

    def run() -> tuple[np.ndarray, ...]:
        one = np.array(0.5, np.float32)
        results = [loss.mean_square(x, t, True), loss.mean_square_grad(x, t, one, 2.0)]
        for name in ("nll_loss", "cross_entropy"):
            *found, divisor, scores = loss.of_classes(
                name, x, target, weight, IGNORED, 0.1, True
            )
            results += [*found, divisor]
            results.append(
                loss.of_classes_grad(gy, divisor, target, weight, scores, x.shape, IGNORED, 0.1)
            )
        return tuple(np.atleast_1d(a) for a in results)

    assert_same_bits_at_any_thread_count(run)
