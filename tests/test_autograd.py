"""Gradients, freeing, leaves, inputs: each scenario must end as it does in PyTorch."""

from __future__ import annotations

from typing import Any

import pytest

from .scenarios import Scenario, assert_ends_alike, leaf

SCENARIOS: list[Scenario] = []


def scenario(fn: Scenario) -> Scenario:
    SCENARIOS.append(fn)
    return fn


# Gradients


@scenario
def diamond_reuse(t: Any) -> Any:
    x = leaf(t)
    a = x * 2
    b = a * a + a * x + x
    (b * a).sum().backward()
    return x.grad


@scenario
def one_tensor_as_both_operands(t: Any) -> Any:
    x = leaf(t)
    (x * x + x + x).sum().backward()
    return x.grad


@scenario
def accumulation_over_calls(t: Any) -> Any:
    x = leaf(t)
    (x * 2).sum().backward()
    first = x.grad
    (x * 3).sum().backward()
    return x.grad, first is x.grad, first


@scenario
def accumulation_reaches_views_of_grad(t: Any) -> Any:
    x = leaf(t)
    (x * 2).sum().backward()
    view = x.grad[:2]
    (x * 3).sum().backward()
    return view


@scenario
def zero_dimensional_leaf(t: Any) -> Any:
    x = t.tensor(3.0, requires_grad=True)
    (x * x * x).backward()
    (x * 2).backward()
    return x.grad, x.grad.shape, type(x.grad.numpy()).__name__


@scenario
def one_element_output_needs_no_gradient_argument(t: Any) -> Any:
    x = leaf(t, 2.0)
    (x * x).backward()
    return x.grad


@scenario
def gradient_argument(t: Any) -> Any:
    x = leaf(t)
    g = t.tensor([1.0, 0.0, -1.0], dtype=t.float64)
    (x * x).backward(g)
    g.mul_(100)
    return x.grad


@scenario
def backward_of_a_leaf(t: Any) -> Any:
    x = leaf(t)
    x.backward(t.ones(3, dtype=t.float64))
    return x.grad


@scenario
def broadcasting(t: Any) -> Any:
    x, y = t.ones(2, 3, requires_grad=True), t.ones(3, requires_grad=True)
    z = t.ones(1, 1, requires_grad=True)
    (x * y + z).sum().backward()
    return x.grad, y.grad, z.grad


@scenario
def chains_of_float16_and_float32(t: Any) -> Any:
    x = t.ones(3, requires_grad=True)
    (x.half() * 2).sum().backward()
    return x.grad


@scenario
def gradients_of_two_leaves_are_apart(t: Any) -> Any:
    a, b = leaf(t), leaf(t)
    ((a + b) * 2).sum().backward()
    a.grad.mul_(5)
    return a.grad, b.grad


@scenario
def a_gradient_is_apart_from_what_it_came_from(t: Any) -> Any:
    a, g = leaf(t), t.ones(3, dtype=t.float64)
    (a + 0).backward(g)
    a.grad.mul_(5)
    return a.grad, g


@scenario
def gradients_through_views_are_apart(t: Any) -> Any:
    a, b = leaf(t), leaf(t)
    t.cat([a.view(3, 1), b.view(3, 1)], 1).t().sum(1).backward(t.tensor([1.0, 2.0]).double())
    a.grad.zero_()
    return a.grad, b.grad


@scenario
def infinities_and_nan(t: Any) -> Any:
    x = leaf(t, 0.0, 1.0, -1.0)
    y = t.log(x) + x / 0 + t.sqrt(x)
    y.sum().backward()
    return y.isnan(), x.grad.isnan()


# Retaining and freeing


@scenario
def second_backward(t: Any) -> Any:
    y = (leaf(t) * leaf(t)).sum()
    y.backward()
    y.backward()


@scenario
def second_backward_through_a_shared_part(t: Any) -> Any:
    h = leaf(t).exp()
    (h * 2).sum().backward()
    (h * 3).sum().backward()


@scenario
def retain_graph(t: Any) -> Any:
    x = leaf(t)
    y = (x * x).sum()
    y.backward(retain_graph=True)
    y.backward()
    return x.grad


@scenario
def a_freed_branch_that_is_not_asked_for(t: Any) -> Any:
    x, w = leaf(t), leaf(t)
    h = x.exp()
    h.sum().backward()
    return t.autograd.grad((h.detach() * w).sum() + h.sum() * 0, w, allow_unused=True)


@scenario
def a_freed_branch_that_is_asked_for(t: Any) -> Any:
    x = leaf(t)
    h = x.exp()
    h.sum().backward()
    t.autograd.grad((h * 2).sum(), x, allow_unused=True)


@scenario
def grad_towards_an_intermediate_keeps_its_graph(t: Any) -> Any:
    x = leaf(t)
    h = x * x
    (g,) = t.autograd.grad((h * 3).sum(), h)
    h.backward(g)
    return g, x.grad


# Leaves, requires_grad, grad


@scenario
def leaf_rules(t: Any) -> Any:
    x = leaf(t)
    y = x * 2
    z = y.detach()
    return [(v.is_leaf, v.requires_grad, v.grad_fn is None) for v in (x, y, z, x.data, t.ones(1))]


@scenario
def requires_grad_of_a_result_cannot_be_switched_off(t: Any) -> Any:
    (leaf(t) * 2).requires_grad_(False)


@scenario
def requires_grad_can_be_set_on_a_result(t: Any) -> Any:
    return (leaf(t) * 2).requires_grad_(True).requires_grad


@scenario
def integers_cannot_require_grad(t: Any) -> Any:
    t.tensor([1, 2]).requires_grad_()


@scenario
def integers_cannot_require_grad_at_birth(t: Any) -> Any:
    t.tensor([1, 2], requires_grad=True)


@scenario
def booleans_cannot_require_grad(t: Any) -> Any:
    t.tensor([True]).requires_grad = True


@scenario
def comparisons_and_integers_have_no_graph(t: Any) -> Any:
    x = leaf(t)
    return (x > 1).requires_grad, x.argmax().requires_grad, x.long().requires_grad


@scenario
def grad_must_fit(t: Any) -> Any:
    leaf(t).grad = t.ones(2, dtype=t.float64)


@scenario
def grad_must_have_the_dtype(t: Any) -> Any:
    leaf(t).grad = t.ones(3, dtype=t.float32)


@scenario
def grad_must_be_a_tensor(t: Any) -> Any:
    leaf(t).grad = 3.0


@scenario
def grad_can_be_assigned(t: Any) -> Any:
    x = leaf(t)
    x.grad = t.ones(3, dtype=t.float64)
    (x * 2).sum().backward()
    return x.grad


@scenario
def grad_of_a_result_warns(t: Any) -> Any:
    return (leaf(t) * 2).grad


@scenario
def detach_shares_memory_and_data_too(t: Any) -> Any:
    x = leaf(t)
    x.detach().mul_(2)
    x.data.mul_(3)
    return x


@scenario
def setting_data(t: Any) -> Any:
    x = leaf(t)
    x.data = t.zeros(3, dtype=t.float64)
    (x * x).sum().backward()
    return x, x.grad, x.is_leaf


@scenario
def detach_in_place(t: Any) -> Any:
    y = leaf(t) * 2
    y.detach_()
    return y.requires_grad, y.is_leaf


@scenario
def backward_without_a_graph(t: Any) -> Any:
    t.ones(1).backward()


@scenario
def backward_of_a_vector(t: Any) -> Any:
    (leaf(t) * 2).backward()


@scenario
def backward_with_a_wrong_shape(t: Any) -> Any:
    (leaf(t) * 2).backward(t.ones(2, dtype=t.float64))


@scenario
def backward_with_a_number(t: Any) -> Any:
    leaf(t).sum().backward(2.0)


# Chosen inputs


@scenario
def inputs_only(t: Any) -> Any:
    x, w = leaf(t), leaf(t)
    h = x * 2
    (h * w).sum().backward(inputs=[x, h, x])
    return x.grad, h.grad, w.grad


@scenario
def inputs_may_be_one_tensor(t: Any) -> Any:
    x, w = leaf(t), leaf(t)
    (x * w).sum().backward(inputs=w)
    return x.grad, w.grad


@scenario
def inputs_empty(t: Any) -> Any:
    leaf(t).sum().backward(inputs=[])


@scenario
def inputs_without_grad(t: Any) -> Any:
    leaf(t).sum().backward(inputs=[t.ones(2)])


@scenario
def inputs_unused(t: Any) -> Any:
    x, w = leaf(t), leaf(t)
    x.sum().backward(inputs=[w])
    return x.grad, w.grad


@scenario
def grad_of_several(t: Any) -> Any:
    x, w = leaf(t), leaf(t)
    h = x * w
    found = t.autograd.grad([(h * 2).sum(), h.sum()], [w, x, h, w])
    return found, x.grad, w.grad


@scenario
def grad_with_grad_outputs(t: Any) -> Any:
    x = leaf(t)
    g = t.tensor([1.0, 2.0, 3.0], dtype=t.float64)
    return t.autograd.grad([x * x, x.sum()], x, [g, None])


@scenario
def grad_of_itself(t: Any) -> Any:
    y = leaf(t) * 2
    return t.autograd.grad(y.sum(), y, retain_graph=True), t.autograd.grad(y, y, t.ones(3).double())


@scenario
def grad_unused(t: Any) -> Any:
    t.autograd.grad(leaf(t).sum(), leaf(t))


@scenario
def grad_unused_allowed(t: Any) -> Any:
    x = leaf(t)
    return t.autograd.grad(x.sum(), [leaf(t), x], allow_unused=True)


@scenario
def grad_unused_as_zeros(t: Any) -> Any:
    return t.autograd.grad(leaf(t).sum(), leaf(t), materialize_grads=True)


@scenario
def grad_contradicting_flags(t: Any) -> Any:
    x = leaf(t)
    t.autograd.grad(x.sum(), x, allow_unused=False, materialize_grads=True)


@scenario
def grad_of_nothing(t: Any) -> Any:
    t.autograd.grad(leaf(t).sum(), [])


@scenario
def grad_without_grad(t: Any) -> Any:
    t.autograd.grad(leaf(t).sum(), t.ones(2))


@scenario
def grad_number_of_gradients(t: Any) -> Any:
    x = leaf(t)
    t.autograd.grad([x.sum(), x.sum()], x, [None])


@scenario
def grad_with_a_number(t: Any) -> Any:
    x = leaf(t)
    t.autograd.grad(x.sum(), x, 1.0)


@scenario
def grad_of_a_dict(t: Any) -> Any:
    x, w = leaf(t), leaf(t)
    return t.autograd.grad((x * w).sum(), {"x": x, "w": w})


@scenario
def grad_leaves_hooks_and_retained_gradients_alone(t: Any) -> Any:
    x = leaf(t)
    y = x * 2
    y.retain_grad()
    x.register_hook(lambda g: g * 10)
    return t.autograd.grad((y * 3).sum(), x), x.grad, y.grad


@scenario
def backward_of_several(t: Any) -> Any:
    x = leaf(t)
    t.autograd.backward([x.sum(), x * 2], [None, t.ones(3, dtype=t.float64)])
    t.autograd.backward(x.sum(), inputs=x)
    return x.grad


@scenario
def backward_of_one_thing_twice(t: Any) -> Any:
    x = leaf(t)
    y = (x * x).sum()
    t.autograd.backward([y, y])
    return x.grad


@scenario
def backward_number_of_gradients(t: Any) -> Any:
    x = leaf(t)
    t.autograd.backward([x.sum(), x.sum()], [None])


@scenario
def backward_with_the_old_name(t: Any) -> Any:
    x = leaf(t)
    t.autograd.backward(x * 1, grad_variables=t.ones(3, dtype=t.float64))
    return x.grad


# Variable


@scenario
def variable(t: Any) -> Any:
    Variable = t.autograd.Variable
    x = t.ones(2)
    v = Variable(x, requires_grad=True)
    (v * 2).sum().backward()
    v.data.mul_(3)
    result = Variable(v * 2)
    return v.grad, x, isinstance(x, Variable), isinstance(3, Variable), result.requires_grad


@scenario
def variable_volatile(t: Any) -> Any:
    return t.autograd.Variable(t.ones(2), volatile=True).requires_grad


@scenario
def variable_of_a_list(t: Any) -> Any:
    t.autograd.Variable([1.0])


@pytest.mark.parametrize("fn", SCENARIOS, ids=lambda fn: fn.__name__)
def test_ends_as_in_pytorch(fn: Scenario) -> None:
    assert_ends_alike(fn)
