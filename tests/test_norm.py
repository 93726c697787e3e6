"""Normalisation beyond the rows of tests/cases: refusals, dtypes, edges, running statistics."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import minitorch_cnn.nn.functional as ours
from minitorch_cnn.ops import norm
from minitorch_cnn.tensor import Tensor

from .oracle import assert_same, outcome

X = np.random.default_rng(0).standard_normal((3, 4, 2, 5)).astype(np.float32)
ZEROS, ONES = np.zeros(4, np.float32), np.ones(4, np.float32)

CALLS: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = [
    ("batch_norm", (X, ZEROS, ONES), {}),
    ("batch_norm", (X, None, None), {"training": True}),
    ("batch_norm", (X, None, None), {}),
    ("batch_norm", (X, ZEROS[:2], ONES[:2]), {}),
    ("batch_norm", (X, ZEROS, ONES, ONES[:3]), {}),
    ("batch_norm", (X, ZEROS, ONES, ONES, ZEROS[:3]), {}),
    ("batch_norm", (X[:1, :, :1, :1], None, None), {"training": True}),
    ("batch_norm", (X[:1, :, 0, 0], ZEROS, ONES), {"training": True}),
    ("batch_norm", (X[:1, :, 0, 0], ZEROS, ONES), {}),
    ("batch_norm", (X[:0], ZEROS, ONES), {"training": True}),
    ("batch_norm", (X[:0], ZEROS, ONES), {}),
    ("batch_norm", (X, ZEROS, ONES), {"training": True, "eps": 0.0}),
    ("batch_norm", (X.astype(np.int64), ZEROS, ONES), {}),
    ("batch_norm", (X.astype(np.float64), ZEROS, ONES), {}),
    ("batch_norm", (X, ZEROS, ONES, ONES.astype(np.float64)), {}),
    ("batch_norm", (X.astype(np.float16), ZEROS, ONES), {"training": True}),
    ("batch_norm", (X[0, 0, 0], ZEROS, ONES), {}),
    ("batch_norm", (np.stack([X, X], -1), None, None), {"training": True}),
    ("group_norm", (X, 3), {}),
    ("group_norm", (X, -1), {}),
    ("group_norm", (X[:1, :, 0, 0], 4), {}),
    ("group_norm", (X[0, 0, 0], 1), {}),
    ("group_norm", (X, 2, ONES[:2]), {}),
    ("group_norm", (X[:0], 2), {}),
    ("group_norm", (X[..., :0], 2), {}),
    ("group_norm", (X.astype(np.float16), 2), {}),
    ("group_norm", (X.astype(np.int64), 2), {}),
    ("layer_norm", (X, (4,)), {}),
    ("layer_norm", (X, ()), {}),
    ("layer_norm", (X, (5,), ONES), {}),
    ("layer_norm", (X[:0], (5,)), {}),
    ("layer_norm", (X[..., :0], (0,)), {}),
    ("layer_norm", (X[0, 0, 0], (2, 5)), {}),
    ("layer_norm", (X.astype(np.float16), (2, 5)), {}),
    ("instance_norm", (X,), {}),
    ("instance_norm", (X[:, :, :1, :1],), {}),
    ("local_response_norm", (X, 3), {}),
    ("local_response_norm", (X[0, 0], 2), {}),
]  # fmt: skip


@pytest.mark.parametrize(("name", "args", "settings"), CALLS)
def test_same_answer_or_refusal(name: str, args: tuple[Any, ...], settings: dict[str, Any]) -> None:
    def call(module: Any, tensor: Callable[[np.ndarray], Any]) -> Any:
        given = [tensor(a.copy()) if isinstance(a, np.ndarray) else a for a in args]
        return outcome(lambda: getattr(module, name)(*given, **settings))

    assert_same(call(ours, Tensor._wrap), call(F, torch.from_numpy), rtol=1e-3, atol=1e-4)


def _batch_norm(x: Tensor, **changes: Any) -> Any:
    settings = {
        "running_mean": None, "running_var": None, "training": True, "momentum": 0.1, "eps": 1e-5
    }  # fmt: skip
    return norm.batch_norm(x, None, None, **(settings | changes))


def test_digits_survive_a_large_mean() -> None:
    x = (np.random.default_rng(1).standard_normal((16, 3, 9, 9)) + 1e4).astype(np.float32)
    y = _batch_norm(Tensor._wrap(x)).array
    exact = x.astype(np.float64)
    mean, var = exact.mean((0, 2, 3), keepdims=True), exact.var((0, 2, 3), keepdims=True)
    np.testing.assert_allclose(y, (exact - mean) / np.sqrt(var + 1e-5), rtol=1e-5, atol=1e-6)


def test_running_statistics_move_in_place_by_the_unbiased_variance() -> None:
    mean, var = ZEROS.copy(), ONES.copy()
    _batch_norm(Tensor._wrap(X), running_mean=mean, running_var=var, momentum=0.25)
    np.testing.assert_allclose(mean, 0.25 * X.mean((0, 2, 3)), rtol=1e-5)
    np.testing.assert_allclose(var, 0.75 + 0.25 * X.var((0, 2, 3), ddof=1), rtol=1e-5)


def test_an_empty_batch_moves_nothing() -> None:
    mean, var = ZEROS.copy(), ONES.copy()
    x = Tensor._wrap(X[:0].copy(), True)
    weight = Tensor._wrap(ONES.copy(), True)
    y = norm.batch_norm(
        x, weight, None, running_mean=mean, running_var=var, training=True, momentum=0.1, eps=1e-5
    )
    y.sum().backward()
    assert not mean.any()
    assert (var == 1).all()
    assert x.grad is not None
    assert x.grad.shape == (0, 4, 2, 5)
    assert weight.grad is not None
    assert not weight.grad.array.any()


def test_a_second_backward_gives_the_same_gradients() -> None:
    """The sums over a channel are kept for one gradient of y, not for the next one."""
    x, weight = Tensor._wrap(X.copy(), True), Tensor._wrap(ONES.copy(), True)
    y = norm.group_norm(x, weight, None, num_groups=2, eps=1e-5)
    for scale in (1.0, 2.0):
        x.grad = weight.grad = None
        y.backward(Tensor._wrap(scale * X), retain_graph=True)
        other_x, other_weight = (Tensor._wrap(a.array.copy(), True) for a in (x, weight))
        fresh = norm.group_norm(other_x, other_weight, None, num_groups=2, eps=1e-5)
        fresh.backward(Tensor._wrap(scale * X))
        for a, b in ((x, other_x), (weight, other_weight)):
            assert a.grad is not None
            assert b.grad is not None
            np.testing.assert_array_equal(a.grad.array, b.grad.array)
