"""The graph itself: depth, freeing, reference cycles, the contract of ops."""

from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch

import minitorch_cnn as mt
from minitorch_cnn.autograd import grad
from minitorch_cnn.tensor import Node, Tensor, op

from .peak import peak_memory
from .scenarios import leaf

DEPTH = 100_000


@op
def shift(x: Any, /) -> Any:
    return x + 1, (lambda gy: gy,)


@op
def keep(x: Any, /) -> Any:
    """Saves an array of its own, of which ``alive`` knows whether it still is."""
    saved = np.ones_like(x)
    alive.append(weakref.ref(saved))
    return x * 2, (lambda gy: gy * saved * 2,)


alive: list[weakref.ref[Any]] = []


def living() -> int:
    return sum(ref() is not None for ref in alive)


@pytest.fixture(autouse=True)
def _no_garbage_collector() -> Iterator[None]:
    """Whatever is freed in these tests is freed by reference counts alone."""
    alive.clear()
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def chain(depth: int) -> tuple[Tensor, Tensor]:
    x = Tensor._wrap(np.ones(1), True)
    y = x
    for _ in range(depth):
        y = shift(y)
    return x, y


# Depth


def test_deep_chain_backward() -> None:
    x, y = chain(DEPTH)
    y.backward()
    assert x.grad is not None
    np.testing.assert_array_equal(x.grad.array, 1)
    np.testing.assert_array_equal(y.array, DEPTH + 1)


def test_deep_chain_grad_towards_the_middle() -> None:
    x, y = chain(DEPTH // 10)
    for _ in range(2):
        (g,) = grad(y, x, retain_graph=True)
    np.testing.assert_array_equal(g.array, 1)


def test_deep_chain_is_thrown_away() -> None:
    """A recursive destructor would overflow the C stack, here and in a thread's smaller one."""
    _, y = chain(DEPTH)
    del y

    def in_a_thread() -> None:
        chain(DEPTH)
        done.append(True)

    done: list[bool] = []
    thread = threading.Thread(target=in_a_thread)
    thread.start()
    thread.join()
    assert done == [True]


def test_deep_diamonds_take_linear_time() -> None:
    x = Tensor._wrap(np.ones(1), True)
    y = x
    for _ in range(2000):
        y = (y + y) * 0.5
    y.backward()
    np.testing.assert_array_equal(x.grad.array, 1)


# Freeing


def test_saved_arrays_are_freed_while_backward_runs() -> None:
    counts: list[int] = []
    x = y = leaf(mt)
    for _ in range(5):
        y = keep(y)
        y.register_hook(lambda g: counts.append(living()))
    assert living() == 5
    y.sum().backward()
    # A hook runs before its own node, when all later nodes have let go.
    assert counts == [5, 4, 3, 2, 1]
    assert living() == 0
    assert y.grad_fn.edges is None
    assert x.grad is not None


def test_retained_graphs_are_freed_with_their_tensors() -> None:
    y = keep(keep(leaf(mt))).sum()
    y.backward(retain_graph=True)
    assert living() == 2
    del y
    assert living() == 0


def test_a_forward_pass_thrown_away_frees_everything() -> None:
    y = keep(leaf(mt)).exp() * 3
    del y
    assert living() == 0


def test_grad_frees_only_what_it_passed() -> None:
    h = keep(leaf(mt))
    y = keep(h).sum()
    grad(y, h)
    assert living() == 1
    h.sum().backward()
    assert living() == 0


def test_no_grad_saves_nothing() -> None:
    with mt.no_grad():
        y = keep(leaf(mt))
    assert living() == 0
    assert y.grad_fn is None


def test_an_input_that_needs_no_gradient_is_not_saved_for() -> None:
    """The other operand is kept for the gradient that is needed, and only for that one."""

    @op
    def product(a: Any, b: Any, /) -> Any:
        return a * b, (lambda gy: gy * b, lambda gy: gy * a)

    image, weight = Tensor._wrap(np.ones(3)), leaf(mt)
    y = product(weight, image)
    ref = weakref.ref(weight.array)
    del weight
    assert [len(y.grad_fn.edges), ref() is None] == [1, False]  # the edge's target holds it
    y2 = product(image * 1, leaf(mt))
    assert len(y2.grad_fn.edges) == 1


def test_training_leaves_no_cycles() -> None:
    """Everything dies by reference count: nothing waits for the garbage collector."""
    w = leaf(mt)
    refs = []
    for _ in range(3):
        h = w * 2
        h.register_hook(lambda g: g * 2)
        h.retain_grad()
        loss = (keep(h) * h).exp().sum()
        refs += [weakref.ref(h), weakref.ref(loss), weakref.ref(h.array)]
        loss.backward()
        with mt.no_grad():
            w.sub_(w.grad, alpha=0.0)
        w.grad = None
    del h, loss
    assert [ref() for ref in refs] == [None] * len(refs)
    assert living() == 0
    assert gc.collect() == 0


def test_in_place_steps_leave_no_cycles() -> None:
    y = keep(leaf(mt))
    y.mul_(3)
    y.retain_grad()
    y[0] = 5.0
    y.sum().backward()
    ref = weakref.ref(y)
    del y
    assert ref() is None
    assert living() == 0


def test_peak_memory_of_backward() -> None:
    """Backward of a chain needs two gradients at a time, however long the chain is."""
    size = 1 << 17  # one megabyte of float64
    x = Tensor._wrap(np.ones(size), True)
    y = x
    for _ in range(20):
        y = shift(y) * 1.0
    g = Tensor._wrap(np.ones(size))
    with peak_memory() as peak:
        y.backward(g)
    assert peak.nbytes < 4.5 * 8 * size


def test_a_leaf_gradient_holds_no_larger_buffer() -> None:
    x = leaf(mt)
    mt.cat([x, mt.zeros(1000, dtype=mt.float64)]).sum().backward()
    assert x.grad.array.base is None


# The contract of ops


def test_a_hook_that_writes_to_its_gradient_changes_no_other() -> None:
    """PyTorch's documentation forbids it, and there it does change the other one."""
    x, z = leaf(mt), leaf(mt)
    y, w = x * 2, z * 3
    w.register_hook(lambda g: g.mul_(10))
    ((y + w) * 2).sum().backward()
    np.testing.assert_array_equal(x.grad.array, 4)
    np.testing.assert_array_equal(z.grad.array, 60)


def test_gradients_of_results_are_apart() -> None:
    x = leaf(mt)
    y, w = x * 2, x * 3
    g = mt.ones(3).double()
    first, second = grad((y + w) * 1, [y, w], g, retain_graph=True)
    first.mul_(5)
    np.testing.assert_array_equal(second.array, 1)
    y.retain_grad()
    ((y + w) * 1).backward(g, inputs=[w])
    w.grad.mul_(5)
    np.testing.assert_array_equal(g.array, 1)


def test_gradients_are_overwritten_only_where_nobody_else_looks() -> None:
    """relu and batch norm may put their gradient where gy was; the results are PyTorch's."""
    given = {}
    for torch_like in (mt, torch):
        F = torch_like.nn.functional
        x = torch_like.tensor(_X.tolist(), requires_grad=True)
        w = torch_like.tensor([1.0, 2.0, 3.0], requires_grad=True)
        b = torch_like.tensor([0.5, 0.0, -0.5], requires_grad=True)
        h = F.relu(F.batch_norm(x * 2, None, None, w, b, True))
        kept = []
        h.register_hook(kept.append)
        both = F.relu(h) + F.relu(h * 1)  # one gy for two; sums of several; a view in between
        y = F.relu((both + h).reshape(6, 3).reshape(2, 3, 3))
        gy = torch_like.tensor(_X[::-1].tolist())
        y.backward(gy, retain_graph=True)
        y.backward(gy)
        same = [gy, *kept]
        given[torch_like] = [a.detach().numpy() for a in (x.grad, w.grad, b.grad, *same)]
    for ours, theirs in zip(*given.values(), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)


_X = np.random.default_rng(3).standard_normal((2, 3, 3)).astype(np.float32)


def test_a_view_of_a_fresh_buffer_as_gradient() -> None:
    @op
    def roomy(x: Any, /) -> Any:
        return x * 2, (lambda gy: (np.ones(1000) * 2)[:3],)

    x = leaf(mt)
    roomy(x).sum().backward()
    assert x.grad.array.base is None


def test_gradient_functions_run_only_where_needed() -> None:
    calls = []

    @op
    def pair(a: Any, b: Any, /) -> Any:
        def grad_a(gy: Any) -> Any:
            calls.append("a")
            return gy

        def grad_b(gy: Any) -> Any:
            calls.append("b")
            return gy

        return a + b, (grad_a, grad_b)

    pair(leaf(mt), mt.zeros(3).double()).sum().backward()
    assert calls == ["a"]
    a, b = leaf(mt), leaf(mt)
    grad(pair(a, b).sum(), b)
    assert calls == ["a", "b"]


def test_a_part_of_a_joined_gradient_is_copied_once_for_all_functions() -> None:
    seen = []

    @op
    def pair(a: Any, b: Any, /) -> Any:
        def grad(gy: Any) -> Any:
            seen.append(gy)
            return gy * 2

        return a + b, (grad, grad)

    a, b = (mt.ones(2, 3, requires_grad=True) for _ in range(2))
    joined = mt.cat([pair(a, b), mt.ones(2, 1)], 1)
    gy = np.arange(8, dtype=np.float32).reshape(2, 4)
    joined.backward(mt.from_numpy(gy))
    assert seen[0] is seen[1]
    assert seen[0].flags.c_contiguous
    for x in (a, b):
        np.testing.assert_array_equal(x.grad.array, 2 * gy[:, :3])
    np.testing.assert_array_equal(gy.ravel(), np.arange(8))


@pytest.mark.parametrize("shape", [(1, 1), (2, 3)])
def test_a_gradient_that_is_one_number_for_all_elements_is_added_to(shape: tuple[int, ...]) -> None:
    """That of a sum, which comes as a view that may not be written to, before another one."""
    gradients = []
    for side in (mt, torch):
        x = side.ones(*shape, requires_grad=True)
        a = x * 1
        (a.mean() * 3 + a.sum() * 2).backward()
        x.grad += 1
        gradients.append(x.grad.numpy())
    np.testing.assert_allclose(*gradients)


def test_a_gradient_of_the_wrong_shape_is_named() -> None:
    @op
    def bad(x: Any, /) -> Any:
        return x * 2, (lambda gy: gy[:2],)

    with pytest.raises(RuntimeError, match=r"'bad' has shape \[2\] for an input of shape \[3\]"):
        bad(leaf(mt)).sum().backward()


def test_extra_outputs_are_plain_and_watched() -> None:
    @op
    def top(x: Any, /) -> Any:
        i = np.array([0])

        def grad_x(gy: Any) -> Any:
            g = np.zeros_like(x)
            g[i] = gy
            return g

        return (x[i].copy(), i), (grad_x,)

    x = leaf(mt)
    y, i = top(x)
    assert not i.requires_grad
    y.sum().backward()
    np.testing.assert_array_equal(x.grad.array, [1, 0, 0])
    y, i = top(x)
    i.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation: 'top'"):
        y.sum().backward()


def test_saved_arrays_are_found_in_helpers_tuples_and_defaults() -> None:
    def helper(saved: Any) -> Any:
        return lambda gy: gy * saved[0]

    @op
    def in_helper(x: Any, /) -> Any:
        return x * x, (helper((x, 1)),)

    @op
    def in_default(x: Any, /) -> Any:
        return x * x, (lambda gy, x=x: gy * 2 * x,)

    for fn in (in_helper, in_default):
        h = leaf(mt) * 1
        y = fn(h)
        with mt.no_grad():
            h.add_(1)
        with pytest.raises(RuntimeError, match="modified by an inplace operation"):
            y.sum().backward()


def test_two_tensors_on_one_memory_are_both_watched() -> None:
    x = leaf(mt) * 1
    y = x * x.data
    with mt.no_grad():
        x.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()


def test_numpy_warnings_stay_inside() -> None:
    x = leaf(mt, 0.0, 1e308, -1.0)
    y = mt.log(x) * 1e308 * x / x
    y.sum().backward()
    assert np.isnan(x.grad.array).any()


# Names


def test_nodes_know_their_op() -> None:
    y = leaf(mt).exp()
    assert isinstance(y.grad_fn, Node)
    assert (y.grad_fn.name, y.grad_fn.shape) == ("exp", (3,))
    assert "Exp" in repr(y.grad_fn)
    z = y.sum()
    assert z.grad_fn.next_functions == ((y.grad_fn, 0),)


def test_create_graph_is_refused() -> None:
    x = leaf(mt)
    with pytest.raises(NotImplementedError, match="first derivatives only"):
        x.sum().backward(create_graph=True)
    with pytest.raises(NotImplementedError, match="first derivatives only"):
        grad(x.sum(), x, create_graph=True)
    with pytest.raises(NotImplementedError, match="vmap"):
        grad(x.sum(), x, is_grads_batched=True)


def test_error_messages_help() -> None:
    x = leaf(mt)
    y = (x * x).sum()
    y.backward()
    with pytest.raises(RuntimeError, match="retain_graph=True"):
        y.backward()
    with pytest.raises(RuntimeError, match=r"shape \[3\].*sum"):
        (x * 2).backward()
    h = x * 2
    z = h * h
    h.add_(1)
    with pytest.raises(RuntimeError, match=r"'mul'.*version 0.*version 1.*clone"):
        z.sum().backward()
    with pytest.raises(RuntimeError, match="no_grad"):
        x.add_(1)
