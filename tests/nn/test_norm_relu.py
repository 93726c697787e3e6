"""A ReLU behind a batch norm, in one pass: the same as one after the other, and when it happens."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import minitorch_cnn as ours
from minitorch_cnn import nn
from minitorch_cnn.grad_mode import watch
from minitorch_cnn.nn.modules.norm_relu import norm_relu


def ops_of(fn: Callable[[], Any]) -> list[str]:
    seen: list[str] = []
    with watch(lambda name, *rest: seen.append(name)):
        fn()
    return seen


def trained(nn: Any, tensor: Any, x: np.ndarray, gy: np.ndarray, **options: Any) -> list[Any]:
    """What a norm and a ReLU give and leave behind, and their gradients; gy comes twice, so that
    the second one is not ours to overwrite."""
    C = x.shape[1]
    norm = nn.BatchNorm2d(C, **options).double()
    if norm.weight is not None:
        numbers = tensor(np.arange(C) / 4 - 0.5)
        norm.weight.data, norm.bias.data = numbers, -numbers / 3
    given = tensor(x).requires_grad_()
    y = nn.Sequential(norm, nn.ReLU(inplace=True))(given)
    (y * tensor(gy) + y).sum().backward()
    parts = [y, given.grad, *(p.grad for p in norm.parameters()), *norm.buffers()]
    return [p.detach().numpy() for p in parts]


@given(
    shape=st.tuples(st.integers(2, 4), *(st.integers(1, 5) for _ in range(3))),
    affine=st.booleans(),
    tracked=st.booleans(),
    momentum=st.sampled_from([None, 0.3]),
)
def test_equals_pytorch(
    shape: tuple[int, ...], affine: bool, tracked: bool, momentum: float | None
) -> None:
    x, gy = np.random.default_rng(0).standard_normal((2, *shape))
    options = {"affine": affine, "track_running_stats": tracked, "momentum": momentum}
    found = trained(nn, ours.from_numpy, x, gy, **options)
    expected = trained(torch.nn, torch.from_numpy, x, gy, **options)
    assert len(found) == len(expected)
    for a, b in zip(found, expected):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-10)


def test_one_op_in_training_where_nobody_looks_between() -> None:
    x = ours.randn(2, 3, 4, 5)
    net = nn.Sequential(nn.BatchNorm2d(3), nn.ReLU(), nn.BatchNorm2d(3))
    assert ops_of(lambda: net(x)) == ["batch_norm_relu", "batch_norm"]
    hooked = copy.deepcopy(net)
    between: list[Any] = []
    hooked[0].register_forward_hook(lambda module, args, y: between.append(y.min().item()))
    assert "batch_norm_relu" not in ops_of(lambda: hooked(x))
    assert between[0] < 0

    class Shifted(nn.BatchNorm2d):
        def forward(self, input: Any) -> Any:
            return super().forward(input) + 1

    narrow, narrow_x = nn.BatchNorm2d(3).bfloat16(), x.bfloat16()
    alone = ["batch_norm", "relu"]
    assert ops_of(lambda: norm_relu(net[0], x)) == ["batch_norm_relu"]
    assert ops_of(lambda: norm_relu(net[0], x, nn.ReLU6())) == ["batch_norm", "hardtanh"]
    assert ops_of(lambda: norm_relu(Shifted(3), x)) == ["batch_norm", "add", "relu"]
    assert ops_of(lambda: norm_relu(narrow, narrow_x)) == alone
    assert ops_of(lambda: norm_relu(nn.BatchNorm2d(3).eval(), x)) == alone


def test_errors_are_those_of_the_norm() -> None:
    net = nn.Sequential(nn.BatchNorm2d(3), nn.ReLU())
    with pytest.raises(RuntimeError, match="running_mean should contain 4 elements not 3"):
        net(ours.zeros(2, 4, 5, 5))
    with pytest.raises(ValueError, match="expected 4D input"):
        net(ours.zeros(2, 3, 5))
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        net(ours.zeros(1, 3, 1, 1))
    with pytest.raises(RuntimeError, match="mixed dtype"):
        net(ours.zeros(2, 3, 5, 5, dtype=ours.float64))


def test_a_norm_that_ends_a_row_is_called() -> None:
    net = nn.Sequential(nn.ReLU(), nn.BatchNorm2d(3))
    assert ops_of(lambda: net(ours.randn(2, 3, 4, 5))) == ["relu", "batch_norm"]
    assert nn.Sequential()(5) == 5


def test_what_is_no_norm_keeps_its_input() -> None:
    x = ours.randn(2, 3, 4, 5)
    before = x.array.copy()
    assert (norm_relu(nn.Identity(), x).array >= 0).all()
    np.testing.assert_array_equal(x.array, before)
