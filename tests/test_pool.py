"""Pooling beyond the rows of tests/cases: refusals, dtypes, empty batches, read-only memory."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F

import minitorch_cnn.nn.functional as ours
from minitorch_cnn.tensor import Tensor

from .oracle import assert_same, outcome, pair

X = np.random.default_rng(0).standard_normal((2, 3, 5, 6)).astype(np.float32)
INTEGERS = np.arange(-16, 16).reshape(1, 2, 4, 4)

CALLS: list[tuple[str, Any, tuple[Any, ...], dict[str, Any]]] = [
    ("max_pool2d", X, (2,), {"padding": 2}),
    ("max_pool2d", X, (2,), {"padding": -1}),
    ("max_pool2d", X, (2,), {"dilation": 0}),
    ("max_pool2d", X, (3,), {"dilation": 2, "padding": 1}),
    ("max_pool2d", X, (0,), {}),
    ("max_pool2d", X, (2, 0), {}),
    ("max_pool2d", X, (2, -1), {}),
    ("max_pool2d", X, (7,), {}),
    ("max_pool2d", X, (2.0,), {}),
    ("max_pool2d", X, ((2, 2, 2),), {}),
    ("max_pool2d", X, (2, ()), {}),
    ("max_pool2d", X[0], (2,), {}),
    ("max_pool2d", X[0, 0], (2,), {}),
    ("max_pool2d", X[None], (2,), {}),
    ("max_pool2d", X[:0], (2,), {}),
    ("max_pool2d", X[:, :0], (2,), {}),
    ("max_pool2d", X[:, :, :0], (2,), {}),
    ("max_pool2d", np.float32(1), (2,), {}),
    ("max_pool2d", X > 0, (2,), {}),
    ("max_pool2d", X.astype(np.float16), (2,), {}),
    ("max_pool2d", INTEGERS, (3,), {"padding": 1}),
    ("max_pool2d", INTEGERS.astype(np.uint8), (3,), {"padding": 1}),
    ("avg_pool2d", X, (7,), {}),
    ("avg_pool2d", X, (2, 0), {}),
    ("avg_pool2d", X, (3, 2, 1, True), {}),
    ("avg_pool2d", X, (3, 2, 1, True, False), {}),
    ("avg_pool2d", X, (4, 3, 1, True), {}),
    ("avg_pool2d", X, (2,), {"padding": 2}),
    ("avg_pool2d", X, (2,), {"divisor_override": 0}),
    ("avg_pool2d", X[:0], (2,), {}),
    ("avg_pool2d", X[:, :0], (2,), {}),
    ("avg_pool2d", X.astype(np.float16), (2,), {}),
    ("avg_pool2d", INTEGERS, (3,), {"padding": 1}),
    ("avg_pool2d", INTEGERS, (3,), {"divisor_override": -4}),
    ("avg_pool2d", INTEGERS.astype(np.int32), (2,), {}),
    ("adaptive_avg_pool2d", X, (-1,), {}),
    ("adaptive_avg_pool2d", X, (0,), {}),
    ("adaptive_avg_pool2d", X, ((None, 2),), {}),
    ("adaptive_avg_pool2d", X[:0], (2,), {}),
    ("adaptive_avg_pool2d", X[:, :0], (2,), {}),
    ("adaptive_avg_pool2d", X[:, :, :0], (2,), {}),
    ("adaptive_avg_pool2d", INTEGERS, (2,), {}),
    ("adaptive_avg_pool2d", X.astype(np.float16), (2,), {}),
    ("adaptive_max_pool2d", X, (0,), {}),
    ("adaptive_max_pool2d", X[:, :0], (2,), {}),
    ("adaptive_max_pool2d", INTEGERS, (2,), {}),
    ("max_pool1d", X[0], (2,), {"return_indices": True}),
    ("avg_pool1d", X[0], (3, 2, 1), {}),
    ("adaptive_avg_pool1d", X[0], (4,), {}),
]  # fmt: skip


@pytest.mark.parametrize(("name", "x", "args", "settings"), CALLS)
def test_same_answer_or_refusal(
    name: str, x: np.ndarray, args: tuple[Any, ...], settings: dict[str, Any]
) -> None:
    a, b = pair(x)
    result = outcome(lambda: getattr(ours, name)(a, *args, **settings))
    assert_same(result, outcome(lambda: getattr(F, name)(b, *args, **settings)))


def test_refusals_name_layer_and_shapes() -> None:
    with pytest.raises(RuntimeError, match=r"max_pool2d.*3 x 5 x 6.*3 x 0 x 0.*Kernel 7 x 7"):
        ours.max_pool2d(Tensor._wrap(X), 7)
    with pytest.raises(RuntimeError, match=r"avg_pool2d.*pad=2.*kernel_size=2"):
        ours.avg_pool2d(Tensor._wrap(X), 2, padding=2)


@pytest.mark.parametrize("name", ["max_pool2d", "avg_pool2d", "adaptive_avg_pool2d"])
def test_empty_batch_has_a_gradient(name: str) -> None:
    x = Tensor._wrap(X[:0].copy(), True)
    getattr(ours, name)(x, 2).sum().backward()
    assert x.grad is not None
    assert x.grad.shape == (0, 3, 5, 6)


def test_read_only_input_and_broadcast_gradient() -> None:
    data = X.copy()
    data.flags.writeable = False
    x = Tensor._wrap(data, True)
    ours.max_pool2d(x, 2).sum().backward()  # the gradient of a sum is one number, repeated
    expected = torch.tensor(X, requires_grad=True)
    F.max_pool2d(expected, 2).sum().backward()
    assert x.grad is not None
    np.testing.assert_array_equal(x.grad.array, expected.grad.numpy())
    np.testing.assert_array_equal(data, X)
