"""Hooks and retained gradients: each scenario must end as it does in PyTorch."""

from __future__ import annotations

from typing import Any

import pytest

from .scenarios import Scenario, assert_ends_alike, leaf

SCENARIOS: list[Scenario] = []


def scenario(fn: Scenario) -> Scenario:
    SCENARIOS.append(fn)
    return fn


@scenario
def hook_on_a_leaf(t: Any) -> Any:
    x, seen = leaf(t), []
    x.register_hook(seen.append)
    (x * x + x).sum().backward()
    x.grad.zero_()
    return seen


@scenario
def hook_replaces_the_gradient(t: Any) -> Any:
    x = leaf(t)
    y = x * 2
    y.register_hook(lambda g: g * 10)
    x.register_hook(lambda g: g + 1)
    x.register_hook(lambda g: g * 3)
    y.sum().backward()
    return x.grad


@scenario
def hook_changes_the_gradient_in_place(t: Any) -> Any:
    x, z = leaf(t), leaf(t)
    y, w = x * 2, z * 3
    w.register_hook(lambda g: g * 10)
    ((y + w) * 2).sum().backward()
    return x.grad, z.grad


@scenario
def hook_sees_the_whole_sum_once(t: Any) -> Any:
    x, seen = leaf(t), []
    y = x * 2
    y.register_hook(lambda g: seen.append(g.clone()))
    (y * y + y).sum().backward()
    return seen


@scenario
def hook_removed(t: Any) -> Any:
    x, seen = leaf(t), []
    handle = x.register_hook(lambda g: seen.append(1))
    handle.remove()
    handle.remove()
    with x.register_hook(lambda g: seen.append(2)):
        x.sum().backward()
    x.sum().backward()
    return seen


@scenario
def hook_of_the_wrong_shape(t: Any) -> Any:
    x = leaf(t)
    x.register_hook(lambda g: g[:2])
    (x * 2).sum().backward()


@scenario
def hook_that_returns_a_number(t: Any) -> Any:
    x = leaf(t)
    x.register_hook(lambda g: 3)
    (x * 2).sum().backward()


@scenario
def hook_without_grad(t: Any) -> Any:
    t.ones(2).register_hook(print)


@scenario
def hook_raises(t: Any) -> Any:
    x = leaf(t)
    x.register_hook(lambda g: 1 / 0)
    x.sum().backward()


@scenario
def post_accumulate_hook(t: Any) -> Any:
    x, seen = leaf(t), []

    def hook(p: Any) -> None:
        seen.append(p.grad.clone())
        p.grad = None

    x.register_post_accumulate_grad_hook(hook)
    (x * x).sum().backward()
    (x * 2).sum().backward()
    return seen, x.grad


@scenario
def post_accumulate_hook_on_a_result(t: Any) -> Any:
    (leaf(t) * 2).register_post_accumulate_grad_hook(print)


@scenario
def retain_grad(t: Any) -> Any:
    x = leaf(t)
    y = x * 2
    y.retain_grad()
    y.retain_grad()
    z = y * y
    z.sum().backward()
    z2 = (y.detach() * 1).sum()
    return y.grad, y.retains_grad, x.retains_grad, z2.requires_grad


@scenario
def retain_grad_sees_what_hooks_left(t: Any) -> Any:
    y = leaf(t) * 2
    y.retain_grad()
    y.register_hook(lambda g: g * 5)
    y.sum().backward()
    return y.grad


@scenario
def retain_grad_without_grad(t: Any) -> Any:
    t.ones(2).retain_grad()


@scenario
def retained_gradients_add_up(t: Any) -> Any:
    y = leaf(t) * 2
    y.retain_grad()
    (y * 2).sum().backward(retain_graph=True)
    (y * 3).sum().backward()
    return y.grad


@pytest.mark.parametrize("fn", SCENARIOS, ids=lambda fn: fn.__name__)
def test_ends_as_in_pytorch(fn: Scenario) -> None:
    assert_ends_alike(fn)
