"""The losses of loss.cu, against PyTorch and plain loops: their means, and their gradients."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from minitorch_cnn.kernels import emulator
from minitorch_cnn.kernels.reference import loss as reference

from .common import CHECKS, CPP, ORDERS, assert_same_bits, nans, needs_emulator

pytestmark = needs_emulator

IGNORED = -100


def _loss(
    x: np.ndarray, target: np.ndarray, weight: Any, smoothing: float, slices: int = 3, **how: Any
) -> tuple[np.ndarray, ...]:
    """What a launcher does for the mean: the losses, their sums in slices, the mean."""
    T = CPP[x.dtype]
    loss, used = nans(target.shape, x), nans(target.shape, x)
    emulator.run(
        "loss", f"nll_loss<{T}>", (x, target, weight, loss, used, IGNORED, smoothing), **how
    )
    partial = np.full((2, slices), np.nan)
    for sums, numbers in zip(partial, (loss, used)):
        emulator.run("loss", f"slice_sums<{T}>", (numbers.ravel(), sums), **how)
    y, total = nans((1,), x), np.full(1, np.nan)
    emulator.run("loss", f"finish_mean<{T}>", (partial[0], partial[1], y, total), **how)
    return loss, y, total


def _grad(
    gy: np.ndarray, total: np.ndarray, target: np.ndarray, weight: Any, scores: Any, x: np.ndarray,
    smoothing: float, **how: Any,
) -> np.ndarray:  # fmt: skip
    gx = nans(x.shape, x)
    kernel, more = ("nll_loss_grad", ()) if scores is None else ("cross_entropy_grad", (scores,))
    args = (gy, total, target, weight, *more, gx, IGNORED, smoothing)
    emulator.run("loss", f"{kernel}<{CPP[x.dtype]}>", args, **how)
    return gx


def _case(shape: tuple[int, int, int], weighted: bool, seed: int, dtype: Any) -> Any:
    rng = np.random.default_rng(seed)
    N, C, S = shape
    x = rng.standard_normal(shape).astype(dtype)
    target = rng.integers(0, C, (N, S))
    target[rng.random((N, S)) < 0.2] = IGNORED
    target.flat[0] = C - 1
    return x, target, rng.random(C).astype(dtype) + 1 if weighted else None


@settings(max_examples=15)
@given(
    shape=st.tuples(*[st.integers(1, 6)] * 2, st.sampled_from([1, 3, 300])),
    weighted=st.booleans(),
    smoothing=st.sampled_from([0.0, 0.1]),
    seed=st.integers(0, 99),
    dtype=st.sampled_from([np.float32, np.float64]),
)
def test_pytorch(
    shape: tuple[int, int, int], weighted: bool, smoothing: float, seed: int, dtype: Any
) -> None:
    x, target, weight = _case(shape, weighted, seed, dtype)
    logits = torch.tensor(x, dtype=torch.float64, requires_grad=True)
    scores = torch.log_softmax(logits, 1)
    p = scores.detach().numpy().astype(dtype)
    to: dict[str, Any] = {
        "target": torch.from_numpy(target),
        "weight": None if weight is None else torch.from_numpy(weight).double(),
        "label_smoothing": smoothing,
    }
    mean = torch.nn.functional.cross_entropy(logits, **to)
    each = torch.nn.functional.cross_entropy(logits, **to, reduction="none")
    how: dict[str, Any] = {"order": "random", "seed": seed}
    loss, y, total = _loss(p, target, weight, smoothing, **how)
    close = {"rtol": 1e-5, "atol": 1e-5} if dtype is np.float32 else {"rtol": 1e-12, "atol": 1e-12}
    np.testing.assert_allclose(loss, each.detach(), **close)
    np.testing.assert_allclose(y[0], mean.item(), **close)
    (gx,) = torch.autograd.grad(mean, logits, retain_graph=True)
    one = np.full(1, 0.5, dtype)
    ours = _grad(one, total, target, weight, p, x, smoothing, **how)
    np.testing.assert_allclose(ours, 0.5 * gx.numpy(), **close)
    # With a gradient for each position, and of log-probabilities.
    gy = np.random.default_rng(seed).standard_normal(target.shape).astype(dtype)
    of_class = torch.nn.functional.nll_loss(scores, to["target"], to["weight"], reduction="none")
    w = torch.ones(shape[1]) if weight is None else to["weight"]
    of_all = torch.where(to["target"] != IGNORED, -(w[:, None] * scores).mean(1), 0.0)
    each = (1 - smoothing) * of_class + smoothing * of_all
    (gx,) = torch.autograd.grad(each, scores, torch.from_numpy(gy).double())
    ours = _grad(gy.ravel(), np.ones(1), target, weight, None, x, smoothing, **how)
    np.testing.assert_allclose(ours, gx, **close)


def test_same_bits_in_every_order() -> None:
    x, target, weight = _case((3, 4, 700), True, 1, np.float32)
    assert_same_bits([_loss(x, target, weight, 0.1, **order) for order in ORDERS])


@pytest.mark.parametrize("check", CHECKS)
def test_sanitizers(check: Any) -> None:
    x, target, weight = _case((3, 4, 200), True, 2, np.float32)
    _, _, total = _loss(x, target, weight, 0.1, check=check)
    _grad(np.ones(1, np.float32), total, target, weight, x, x, 0.1, check=check)


def test_everything_ignored_and_classes_that_are_not() -> None:
    """As in PyTorch, 0 / 0; a class beyond the last is seen in the result."""
    x = np.zeros((2, 3, 1), np.float32)
    ignored = np.full((2, 1), IGNORED)
    loss, y, total = _loss(x, ignored, None, 0.0)
    assert (loss == 0).all()
    assert total[0] == 0
    assert np.isnan(y[0])
    loss, y, _ = _loss(x, np.array([[1], [3]]), None, 0.0)
    assert loss[0, 0] == 0
    assert np.isnan(loss[1, 0])
    assert np.isnan(y[0])


def test_more_slices_than_numbers() -> None:
    x, target, _ = _case((1, 2, 2), False, 3, np.float64)
    expected = _loss(x, target, None, 0.0, slices=1)
    for ours, theirs in zip(_loss(x, target, None, 0.0, slices=9), expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-15)


@settings(max_examples=15)
@given(
    shape=st.tuples(*[st.integers(1, 5)] * 3),
    weighted=st.booleans(),
    smoothing=st.sampled_from([0.0, 0.1]),
    each=st.booleans(),
    seed=st.integers(0, 99),
)
def test_equals_plain_loops(
    shape: tuple[int, int, int], weighted: bool, smoothing: float, each: bool, seed: int
) -> None:
    x, target, weight = _case(shape, weighted, seed, np.float64)
    loss, _, _ = _loss(x, target, weight, smoothing)
    gy = np.random.default_rng(seed).standard_normal(target.size if each else 1)
    total = np.array([1.5])
    expected, used, gx = nans(target.shape, x), nans(target.shape, x), nans(x.shape, x)
    reference.nll_loss(x, target, weight, expected, used, IGNORED, smoothing)
    np.testing.assert_allclose(loss, expected, rtol=1e-12, atol=1e-12)
    share = (gy, total, target, weight)
    reference.nll_loss_grad(*share, gx, IGNORED, smoothing)
    ours = _grad(*share, None, x, smoothing)
    np.testing.assert_allclose(ours, gx, rtol=1e-12, atol=1e-12)
    reference.cross_entropy_grad(*share, x, gx, IGNORED, smoothing)
    np.testing.assert_allclose(_grad(*share, x, x, smoothing), gx, rtol=1e-12, atol=1e-12)
