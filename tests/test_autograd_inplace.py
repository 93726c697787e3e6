"""In-place writes never corrupt a gradient silently: PyTorch's answer, or an error."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import minitorch_cnn as mt
from minitorch_cnn.tensor import Tensor

from .scenarios import Scenario, assert_ends_alike, leaf

SCENARIOS: list[Scenario] = []


def scenario(fn: Scenario) -> Scenario:
    SCENARIOS.append(fn)
    return fn


# A saved value was overwritten


@scenario
def saved_input(t: Any) -> Any:
    y = leaf(t) * 2
    z = y * y
    y.add_(1)
    z.sum().backward()


@scenario
def saved_output(t: Any) -> Any:
    z = (leaf(t) * 2).exp()
    z.add_(1)
    z.sum().backward()


@scenario
def saved_leaf_stepped_by_an_optimizer(t: Any) -> Any:
    w = leaf(t)
    loss = (w * w).sum()
    w.grad = t.ones(3, dtype=t.float64)
    t.optim.SGD([w], lr=0.1).step()
    loss.backward()


@scenario
def saved_leaf_written_under_no_grad(t: Any) -> Any:
    w = leaf(t)
    loss = (w * w).sum()
    with t.no_grad():
        w.add_(1)
    loss.backward()


@scenario
def saved_view_written_through_its_base(t: Any) -> Any:
    y = leaf(t) * 2
    v = y[:2]
    z = v * v
    with t.no_grad():
        y.add_(1)
    z.sum().backward()


@scenario
def saved_base_written_through_a_view(t: Any) -> Any:
    y = leaf(t) * 2
    z = y * y
    with t.no_grad():
        y.view(3, 1)[0].zero_()
    z.sum().backward()


@scenario
def saved_value_written_through_detach(t: Any) -> Any:
    y = leaf(t) * 2
    z = y * y
    y.detach().add_(1)
    z.sum().backward()


@scenario
def saved_result_of_a_write(t: Any) -> Any:
    y = leaf(t) * 2
    y.exp_()
    with t.no_grad():
        y.mul_(2)
    y.sum().backward()


@scenario
def saved_result_of_a_write_overwritten(t: Any) -> Any:
    y = leaf(t) * 2
    y.exp_()
    y.mul_(2)
    y.sum().backward()


@scenario
def saved_constant(t: Any) -> Any:
    c = t.ones(3, dtype=t.float64)
    z = leaf(t) * c
    c.mul_(2)
    z.sum().backward()


@scenario
def saved_constant_by_assignment(t: Any) -> Any:
    c = t.ones(3, dtype=t.float64)
    z = leaf(t) * c
    c[0] = 5
    z.sum().backward()


@scenario
def saved_condition(t: Any) -> Any:
    m = t.tensor([True, False, True])
    z = t.where(m, leaf(t), leaf(t))
    m.fill_(False)
    z.sum().backward()


@scenario
def saved_target(t: Any) -> Any:
    x, target = t.rand(2, 3, requires_grad=True), t.ones(2, 3)
    loss = t.nn.functional.binary_cross_entropy(x * 1, target)
    target.mul_(0.5)
    loss.backward()


@scenario
def saved_classes(t: Any) -> Any:
    x, classes = t.rand(2, 3, requires_grad=True), t.tensor([0, 1])
    loss = t.nn.functional.cross_entropy(x, classes)
    classes.add_(1)
    loss.backward()


@scenario
def saved_weight_of_a_loss(t: Any) -> Any:
    x, weight = t.rand(2, 3, requires_grad=True), t.ones(3)
    loss = t.nn.functional.binary_cross_entropy(x * 1, t.ones(2, 3), weight)
    weight.mul_(2)
    loss.backward()


@scenario
def saved_indices_of_an_embedding(t: Any) -> Any:
    weight, i = t.rand(5, 3, requires_grad=True), t.tensor([0, 1])
    y = t.nn.functional.embedding(i, weight)
    i.add_(1)
    y.sum().backward()


@scenario
def saved_pool_indices(t: Any) -> Any:
    x = t.ones(1, 1, 4, 4, requires_grad=True)
    y, i = t.nn.functional.max_pool2d(x * 1, 2, return_indices=True)
    i.zero_()
    y.sum().backward()


@scenario
def saved_indices_of_a_maximum(t: Any) -> Any:
    values, i = (leaf(t, 1.0, 5.0, 2.0) * 1).max(0)
    i.zero_()
    values.backward()


# Writes that are fine


@scenario
def what_was_not_saved_may_be_written(t: Any) -> Any:
    x = leaf(t)
    y = x * 2
    z = y + 1
    y.mul_(3)
    (z + y).sum().backward()
    return x.grad, y, z


@scenario
def chain_of_writes(t: Any) -> Any:
    x = leaf(t)
    y = x * 2
    y.mul_(3)
    y.add_(x)
    y.exp_()
    y.mul_(y)
    y.sub_(x * 2, alpha=3)
    y.div_(7)
    y.sum().backward()
    return y, x.grad


@scenario
def chain_of_writes_while_the_memory_is_shared(t: Any) -> Any:
    x = leaf(t)
    y = x * 2
    kept = y.detach()
    y.mul_(3)
    y.square_()
    y.mul_(x)
    y.sum().backward()
    return y, kept, x.grad


@scenario
def a_numpy_view_sees_the_write(t: Any) -> Any:
    y = leaf(t) * 2
    array = y.detach().numpy()
    y.mul_(3)
    return array.tolist()


@scenario
def augmented_assignment(t: Any) -> Any:
    x = leaf(t)
    y = x * 2
    first = y
    y += x
    y *= 2
    y -= 1
    y /= 4
    y.sum().backward()
    return y, x.grad, first is y


@scenario
def constant_takes_a_graph(t: Any) -> Any:
    x, b = leaf(t), t.zeros(3, dtype=t.float64)
    b.add_(x)
    b.mul_(2)
    (b * b).sum().backward()
    return b.requires_grad, b.is_leaf, x.grad


@scenario
def rows_assigned(t: Any) -> Any:
    x, b = leaf(t), t.zeros(2, 3, dtype=t.float64)
    b[0] = x * 2
    b[1, 1:] = x[:2]
    b[b > 3] = 0
    (b * b).sum().backward()
    return b, x.grad


@scenario
def filled_and_copied(t: Any) -> Any:
    x = leaf(t)
    y = x * 2
    y.fill_(3)
    z = x * 5
    z.copy_(x)
    u = x * 7
    u.zero_()
    (y + z * z + u).sum().backward()
    return y, z, u, x.grad


@scenario
def clamped_and_masked(t: Any) -> Any:
    x = leaf(t)
    y = (x * 2).clamp_(0, 5)
    z = (x * 3).masked_fill_(x > 2, -1.0)
    (y * z).sum().backward()
    return y, z, x.grad


@scenario
def a_view_is_written_and_used(t: Any) -> Any:
    x = leaf(t)
    v = (x * 2).view(3, 1)
    v.mul_(3)
    v.clamp_(min=0)
    v.sum().backward()
    return v, x.grad


@scenario
def leaf_under_no_grad(t: Any) -> Any:
    x = leaf(t)
    with t.no_grad():
        x.add_(1)
        x.view(-1)[0] = 7
        x += 1
    return x, x.requires_grad, x.is_leaf


@scenario
def result_under_no_grad(t: Any) -> Any:
    x = leaf(t)
    y = x * 2
    with t.no_grad():
        y.mul_(10)
    y.sum().backward()
    return y, x.grad


@scenario
def write_through_data_is_not_noticed(t: Any) -> Any:
    x = leaf(t)
    y = x * 2
    z = y * y
    y.data.zero_()
    z.sum().backward()
    return x.grad


@scenario
def versions(t: Any) -> Any:
    x = t.zeros(3)
    counts = [x._version]
    x.add_(1)
    counts.append(x._version)
    v = x[1:]
    v.mul_(2)
    x[0] = 3
    d = x.detach()
    d.add_(1)
    x.data.add_(1)
    return [*counts, x._version, v._version, d._version, x.data._version]


@scenario
def retain_grad_follows_the_write(t: Any) -> Any:
    x = leaf(t)
    y = x * 2
    y.retain_grad()
    y.mul_(3)
    y.sum().backward()
    return y.grad, x.grad, y.retains_grad


@scenario
def hook_stays_where_it_was_registered(t: Any) -> Any:
    x, seen = leaf(t), []
    y = x * 2
    y.register_hook(seen.append)
    y.mul_(3)
    y.sum().backward()
    return seen, x.grad


# Writes that are refused


@scenario
def leaf_written(t: Any) -> Any:
    leaf(t).add_(1)


@scenario
def leaf_augmented(t: Any) -> Any:
    x = leaf(t)
    x += 1


@scenario
def leaf_assigned(t: Any) -> Any:
    leaf(t)[0] = 1.0


@scenario
def view_of_a_leaf_written(t: Any) -> Any:
    leaf(t).view(3, 1).t().mul_(2)


@scenario
def row_of_a_leaf_written(t: Any) -> Any:
    leaf(t)[:2].zero_()


@scenario
def expanded(t: Any) -> Any:
    t.ones(1).expand(3).add_(1)


@scenario
def wrong_shape(t: Any) -> Any:
    t.ones(1).add_(t.ones(3))


@scenario
def float_into_integers(t: Any) -> Any:
    t.tensor([1, 2]).mul_(1.5)


@scenario
def float_into_booleans(t: Any) -> Any:
    t.tensor([True]).add_(1.5)


@scenario
def integers_into_floats(t: Any) -> Any:
    x = t.ones(2)
    x.add_(t.tensor([1, 2]))
    return x


@pytest.mark.parametrize("fn", SCENARIOS, ids=lambda fn: fn.__name__)
def test_ends_as_in_pytorch(fn: Scenario) -> None:
    assert_ends_alike(fn)


# Where we raise and PyTorch goes on: a tensor whose memory was rewritten through another one


def test_base_after_a_recorded_write_to_its_view() -> None:
    x = leaf(mt)
    y = x * 2
    y[0].mul_(3)
    with pytest.raises(RuntimeError, match="history is out of date"):
        y + 1
    with mt.no_grad():
        np.testing.assert_array_equal((y + 1).numpy(), [7, 5, 7])


def test_view_after_a_recorded_write_to_its_base() -> None:
    x, b = leaf(mt), mt.zeros(3).double()
    v = b[:2]
    b.add_(x)
    with pytest.raises(RuntimeError, match="take the view again"):
        v * 2
    (b[:2] * 2).sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), [2, 2, 0])


def test_view_of_a_stale_view_is_stale() -> None:
    x, b = leaf(mt), mt.zeros(3).double()
    v = b[:2]
    b.add_(x)
    with mt.no_grad():
        w = v[:1]
    with pytest.raises(RuntimeError, match="history is out of date"):
        w * 2


def test_detached_tensors_are_never_stale() -> None:
    y = leaf(mt) * 2
    d = y.detach()
    y.mul_(3)
    np.testing.assert_array_equal((d * 1).numpy(), [6, 12, 18])


def test_unrecorded_writes_leave_views_usable() -> None:
    """An optimizer's step between taking a view of a weight and using it."""
    w = leaf(mt)
    v = w.view(3, 1)
    with mt.no_grad():
        w.mul_(10)
    (v * v).sum().backward()
    np.testing.assert_array_equal(w.grad.numpy(), [20, 40, 60])


@pytest.mark.parametrize(
    "select",
    [
        lambda x, i, m: x.gather(0, i),
        lambda x, i, m: x[i],
        lambda x, i, m: x.index_select(0, i),
        lambda x, i, m: x.masked_fill(m, 0.0),
        lambda x, i, m: x[m],
        lambda x, i, m: x.scatter_add(0, i, x * 3),
        lambda x, i, m: x.index_fill(0, i, 7.0),
    ],
)
def test_written_indices_and_masks_leave_the_gradient_right(select: Any) -> None:
    """PyTorch raises here; our ops keep copies of index arrays."""
    gradients = []
    for write in (False, True):
        x, i, m = leaf(mt), mt.tensor([0, 1]), mt.tensor([True, False, True])
        y = select(x, i, m)
        if write:
            i.add_(1)
            m.fill_(False)
        (y * y).sum().backward()
        gradients.append(x.grad.numpy())
    np.testing.assert_array_equal(*gradients)


# Cost


def test_write_to_memory_of_its_own_copies_nothing() -> None:
    """nn.ReLU(inplace=True) in training writes to the memory that it reads."""
    norm = mt.nn.BatchNorm2d(3)
    for y in (leaf(mt) * 2, mt.nn.Conv2d(3, 4, 1)(mt.ones(2, 3, 4, 4)), norm(mt.ones(2, 3, 4, 4))):
        before = y.array.ctypes.data
        assert mt.nn.ReLU(inplace=True)(y) is y
        assert y.array.ctypes.data == before
        y.sum().backward()


@pytest.mark.parametrize("inplace", [mt.nn.ReLU(inplace=True), mt.nn.ReLU6(inplace=True)])
def test_relu_overwrites_only_what_nobody_else_needs(inplace: Any) -> None:
    x = mt.tensor([-1.0, 2.0, 7.0], requires_grad=True)
    y = mt.sigmoid(x)  # keeps its output for backward
    inplace(y)
    with pytest.raises(RuntimeError, match="modified by an inplace"):
        y.sum().backward()

    y = x * 2
    kept = (y * y).sum()  # keeps its input
    inplace(y)
    y.sum().backward()
    assert x.grad is not None
    assert x.grad.tolist() == ([0, 2, 2] if isinstance(inplace, mt.nn.ReLU) else [0, 2, 0])
    with pytest.raises(RuntimeError, match="modified by an inplace"):
        kept.backward()

    fixed = np.array([-1.0, 2.0], np.float32)
    fixed.flags.writeable = False
    with pytest.raises(RuntimeError, match="read-only"):
        inplace(mt.Tensor._wrap(fixed))
    assert fixed.tolist() == [-1, 2]


def test_models_with_inplace_relu_after_a_view() -> None:
    x = mt.ones(2, 3, 4, requires_grad=True)
    nn = mt.nn
    layers = nn.Sequential(nn.Flatten(), nn.ReLU(inplace=True), nn.Linear(12, 1))
    layers(x * 2).sum().backward()
    assert x.grad is not None


def test_storing_another_tensor_shares_nothing_with_it() -> None:
    y, other = leaf(mt) * 2, leaf(mt) * 3
    y._write(lambda _, source: source, other)
    assert not np.shares_memory(y.array, other.array)
    z = leaf(mt) * 2
    z.copy_(other)
    assert not np.shares_memory(z.array, other.array)


def test_read_only_memory() -> None:
    array = np.zeros(3)
    array.flags.writeable = False
    with pytest.raises(RuntimeError, match="read-only"):
        Tensor._wrap(array).add_(1)
