"""Activations beyond the rows of tests/cases: NaN and infinities, kinks, dtypes, refusals."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import minitorch_cnn.nn.functional as ours
from minitorch_cnn.tensor import Tensor

from .oracle import assert_same, outcome, pair

X = np.random.default_rng(0).standard_normal((2, 3, 4)).astype(np.float32) * 3
KINKS = np.array([-np.inf, -6, -3, -1, -0.0, 0, 1, 3, 6, 25, 100, -100, np.inf, np.nan])
ONE_NUMBER = [
    ("relu", {}), ("relu6", {}), ("hardtanh", {"min_val": -3.0, "max_val": 1.0}),
    ("leaky_relu", {"negative_slope": 0.1}), ("leaky_relu", {"negative_slope": -0.1}),
    ("elu", {"alpha": -1.5}), ("celu", {"alpha": 2.0}), ("selu", {}), ("gelu", {}),
    ("gelu", {"approximate": "tanh"}), ("silu", {}), ("mish", {}), ("sigmoid", {}), ("tanh", {}),
    ("logsigmoid", {}), ("hardswish", {}), ("softplus", {}),
    ("softplus", {"beta": 2, "threshold": 6}), ("threshold", {"threshold": 1, "value": 20}),
]  # fmt: skip


@pytest.mark.parametrize(("name", "settings"), ONE_NUMBER)
def test_kinks_and_infinities(name: str, settings: dict[str, Any]) -> None:
    """Values and slopes. PyTorch's slope at NaN depends on the place in the array: left out."""
    a, b = Tensor._wrap(KINKS.copy(), True), torch.tensor(KINKS, requires_grad=True)
    y, expected = getattr(ours, name)(a, **settings), getattr(F, name)(b, **settings)
    np.testing.assert_allclose(y.array, expected.detach().numpy(), rtol=1e-12, atol=1e-15)
    y.backward(Tensor._wrap(np.ones(KINKS.shape)))
    expected.backward(torch.ones(KINKS.shape, dtype=torch.float64))
    assert a.grad is not None
    np.testing.assert_allclose(a.grad.array[:-1], b.grad.numpy()[:-1], rtol=1e-9, atol=1e-15)


def test_nan_passes_through_relu() -> None:
    x = Tensor._wrap(np.full(20, np.nan, np.float32))
    assert np.isnan(ours.relu(x).array).all()


CALLS: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = [
    *((name, (X.astype(np.float16),), settings) for name, settings in ONE_NUMBER),
    *((name, (np.arange(-4, 4),), settings) for name, settings in ONE_NUMBER),
    ("softsign", (X.astype(np.float16),), {}),
    ("softsign", (np.arange(-4, 4),), {}),
    ("relu", (X > 0,), {}),
    ("relu6", (np.arange(9, dtype=np.uint8),), {}),
    ("hardtanh", (X, 1, -1), {}),
    ("celu", (X, 0.0), {}),
    ("gelu", (X,), {"approximate": "x"}),
    ("prelu", (X, np.ones(3, np.float32)), {}),
    ("prelu", (X, np.ones(2, np.float32)), {}),
    ("prelu", (X, np.ones(3)), {}),
    ("prelu", (X, np.ones((1, 3), np.float32)), {}),
    ("prelu", (X[0, 0], np.full(1, 0.5, np.float32)), {}),
    ("prelu", (X, np.float32(0.5)), {}),
    ("softmax", (X,), {"dim": 3}),
    ("softmax", (X,), {"dim": -4}),
    ("softmax", (np.arange(4),), {"dim": 0}),
    ("softmax", (np.float32(2),), {"dim": -1}),
    ("softmax", (X.astype(np.float16),), {"dim": 1}),
    ("log_softmax", (X[:0],), {"dim": 1}),
    ("log_softmax", (X[..., :0],), {"dim": 2}),
    ("log_softmax", (np.float64([np.inf, 1, -np.inf]),), {"dim": 0}),
    ("log_softmax", (np.float64([1, -np.inf]),), {"dim": 0}),
]  # fmt: skip


@pytest.mark.parametrize(("name", "args", "settings"), CALLS)
def test_same_answer_or_refusal(name: str, args: tuple[Any, ...], settings: dict[str, Any]) -> None:
    given = [pair(a) if isinstance(a, (np.ndarray, np.generic)) else (a, a) for a in args]
    result = outcome(lambda: getattr(ours, name)(*(a for a, _ in given), **settings))
    expected = outcome(lambda: getattr(F, name)(*(b for _, b in given), **settings))
    assert_same(result, expected, rtol=2e-3, atol=1e-3)


@pytest.mark.parametrize("limits", [(-0.1, 0.1), (0.1, 0.3), (-0.7, -0.1)])
def test_hardtanh_at_limits_that_float32_rounds(limits: tuple[float, float]) -> None:
    """The gradient is read off the output, where 0.1 is float32's 0.1, a little more."""
    x = np.array([-0.9, -0.7, -0.5, -0.1, 0.05, 0.1, 0.2, 0.3, 0.9], np.float32)
    a, b = pair(x, requires_grad=True)
    ours.hardtanh(a, *limits).sum().backward()
    F.hardtanh(b, *limits).sum().backward()
    assert_same(a.grad, b.grad, str(limits), rtol=0, atol=0)
