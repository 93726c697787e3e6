"""``utils.checkpoint``: the same gradients as without it, and nothing kept in between."""

from __future__ import annotations

import weakref
from typing import Any

import numpy as np
import pytest
import torch as real_torch
from hypothesis import given
from hypothesis import strategies as st

import minitorch_cnn as torch
from minitorch_cnn import nn
from minitorch_cnn.nn import functional as F
from minitorch_cnn.utils.checkpoint import checkpoint


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.drop = nn.Dropout(0.5)
        self.kept: list[Any] = []

    def forward(self, *xs: torch.Tensor) -> torch.Tensor:
        h = self.drop(self.conv(torch.cat(xs, 1)).tanh())
        self.kept.append(weakref.ref(h.array))
        return (h * h).relu()


@given(st.lists(st.booleans(), min_size=3, max_size=3), st.booleans(), st.integers(0, 99))
def test_gradients_are_those_without_it(wants: list[bool], frozen: bool, seed: int) -> None:
    block = Block().requires_grad_(not frozen)
    results = []
    for run in (block, lambda *xs: checkpoint(block, *xs, use_reentrant=False)):
        torch.manual_seed(seed)
        leaves = [torch.randn(2, 1, 4, 5).requires_grad_(w) for w in wants]
        block.zero_grad()
        y = run(*(x * 2 for x in leaves))
        after = torch.rand(1).item()
        assert y.requires_grad == (any(wants) or not frozen)
        if y.requires_grad:
            (y * torch.arange(5.0)).sum().backward()
        grads = [t.grad for t in [*leaves, *block.parameters()]]
        results.append((y, after, torch.rand(1).item(), grads))
    (y, *draws, grads), (y2, *draws2, grads2) = results
    assert torch.equal(y, y2)
    assert draws == draws2
    for a, b in zip(grads, grads2, strict=True):
        assert (a is None) == (b is None)
        if a is not None:
            np.testing.assert_array_equal(a.numpy(), b.numpy())


def test_nothing_in_between_is_kept() -> None:
    block = Block()
    x = torch.randn(1, 3, 4, 4)
    y = checkpoint(block, x, use_reentrant=False)
    assert [ref() for ref in block.kept] == [None]
    block.kept.clear()
    y.sum().backward()
    assert [ref() for ref in block.kept] == [None]  # it ran once more, for all the gradients
    plain = block(x)
    assert block.kept[-1]() is not None
    del plain


def test_one_inside_another_and_a_graph_used_twice() -> None:
    w = torch.tensor([2.0, 3.0], requires_grad=True)
    x = torch.tensor([1.0, -1.0], requires_grad=True)

    def inner(x: torch.Tensor) -> torch.Tensor:
        return (x * w).sin()

    y = checkpoint(lambda x: checkpoint(inner, x, use_reentrant=False) * w, x)
    for times in (1, 2):
        y.sum().backward(retain_graph=True)
        a, b = x.detach().numpy(), w.detach().numpy()
        np.testing.assert_allclose(x.grad.numpy(), times * b * b * np.cos(a * b), rtol=1e-6)
        expected = times * (np.sin(a * b) + b * a * np.cos(a * b))
        np.testing.assert_allclose(w.grad.numpy(), expected, rtol=1e-6)


def test_gradients_on_request_leave_grad_alone() -> None:
    layer = nn.Linear(3, 2)
    x = torch.randn(4, 3, requires_grad=True)
    y = checkpoint(layer, x, use_reentrant=False).sum()
    gx, gw = torch.autograd.grad(y, [x, layer.weight])
    np.testing.assert_allclose(gx.numpy(), layer.weight.detach().sum(0).expand(4, 3).numpy())
    np.testing.assert_allclose(gw.numpy(), x.detach().sum(0).expand(2, 3).numpy(), rtol=1e-6)
    assert x.grad is None
    assert layer.weight.grad is None


def test_the_same_tensor_twice_and_other_arguments() -> None:
    def f(x: Any, negative: bool, y: Any, scale: float = 1.0) -> Any:
        return (-x if negative else x) * y * scale + y.detach()

    results = []
    for lib, run in ((torch, checkpoint), (real_torch, real_torch.utils.checkpoint.checkpoint)):
        x = lib.tensor([1.0, 2.0], requires_grad=True)
        y = run(f, x, True, x, scale=3.0, use_reentrant=False)
        y.sum().backward()
        results.append((y.tolist(), x.grad.tolist()))
    assert results[0] == results[1]


def test_without_a_graph_it_is_a_call() -> None:
    x = torch.randn(2, 3, requires_grad=True)
    with torch.no_grad():
        assert not checkpoint(F.relu, x, use_reentrant=False).requires_grad
    assert checkpoint(F.relu, x.detach(), use_reentrant=False).grad_fn is None


def test_errors() -> None:
    x = torch.randn(2, 3, requires_grad=True)
    with pytest.raises(TypeError, match="must return a Tensor, not tuple"):
        checkpoint(lambda x: (x, x), x)
    sizes = iter([2, 3])
    y = checkpoint(lambda x: (x * 1)[:, : next(sizes)], x)
    with pytest.raises(RuntimeError, match=r"returned shape \[2, 2\].* but \[2, 3\]"):
        y.sum().backward()
    z = x * 1
    y = checkpoint(F.relu, z)
    z.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation: 'checkpoint'"):
        y.sum().backward()
