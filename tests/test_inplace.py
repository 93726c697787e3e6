"""In-place methods and augmented assignment: values, dtypes and refusals against PyTorch.

Under autograd the rule is: PyTorch's gradient, or an error; never another gradient.
"""

from __future__ import annotations

import itertools
import operator
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import minitorch_cnn as mt
from minitorch_cnn.functions import comparison, linalg, pointwise, reduction, unary
from minitorch_cnn.tensor import Tensor

from .oracle import assert_same, compare, outcome, pair

NAMES = sorted(
    name for m in (pointwise, unary, comparison, linalg, reduction) for name in m.INPLACE
)
UNARY = {*unary.INPLACE, "logical_not", "bitwise_not"}
OTHERS: dict[str, tuple[Any, ...]] = {
    "cumsum": (0,), "cumprod": (1,), "clamp": (0.5, 0.75), "clip": (0.5,), "lerp": ("x", 0.25),
    "addcmul": ("x", "x"), "addcdiv": ("x", "x"), "addmm": ("x", "x"), "addmv": ("x", "x"),
    "addbmm": ("x", "x"), "baddbmm": ("x", "x"),
}  # fmt: skip


def _arguments(name: str, x: Any) -> list[Any]:
    if name in UNARY:
        return []
    return [x + 0 if a == "x" else a for a in OTHERS.get(name, ("x",))]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", ["float32", "float64", "int64", "uint8", "bool"])
def test_every_in_place_method(name: str, dtype: str) -> None:
    """Same values as PyTorch's, in the same memory, under the same dtype; or the same refusal."""
    shape = {"addmv": (2,), "baddbmm": (2, 2, 2), "addbmm": (2, 2)}.get(name, (2, 2))
    values = np.linspace(0.2, 0.9, 8)[: int(np.prod(shape))].reshape(shape)
    values = values.astype(dtype) if dtype.startswith("float") else (values * 4).astype(dtype)

    if dtype == "bool" and name.startswith("cum"):
        return  # refused as "not implemented" there, as an integer result for a bool here

    def call(_: Any, x: Any) -> Any:
        arguments = _arguments(name, x)
        if name == "addmv":
            arguments = [x.outer(x), x + 0]
        if name == "addbmm":
            arguments = [(x + 0).reshape(1, 2, 2)] * 2
        y = getattr(x, f"{name}_")(*arguments)
        assert y is x
        return y

    compare(call, values, context=f"{name}_ {dtype}")


@pytest.mark.parametrize("name", ["iadd", "isub", "imul", "itruediv", "ifloordiv", "imod", "ipow",
                                  "iand", "ior", "ixor", "ilshift", "irshift"])  # fmt: skip
def test_augmented_assignment(name: str) -> None:
    fn = getattr(operator, name)
    dtypes = ("float32", "float64", "int64", "uint8", "int8", "bool", "float16")
    for d, e in itertools.product(dtypes, dtypes):
        x, y = np.array([3, 1, 2]).astype(d), np.array([1, 1, 2]).astype(e)
        compare(lambda _, x, y: fn(x, y), x, y, context=f"{name} {d} {e}")
        compare(lambda _, x, y: fn(x, y[0]), x, y, context=f"{name} {d} 0-d {e}")
        compare(lambda _, x, y: fn(x[0], y), x, y, context=f"{name} 0-d {d} {e}")
    for d, number in itertools.product(dtypes, (2, 1.5, True, -1)):
        if number == -1 and "shift" in name:
            continue
        x = np.array([3, 1, 2]).astype(d)
        compare(lambda _, x, n: fn(x, n), x, number, context=f"{name} {d} {number}")


@pytest.mark.parametrize("shapes", [((3,), (2, 3)), ((1, 3), (2, 3)), ((2, 3), (3,)), ((), (3,)),
                                    ((2, 3), (2,)), ((0,), (1,)), ((3,), ())])  # fmt: skip
def test_the_shape_never_changes(shapes: tuple[Any, Any]) -> None:
    a, b = (np.ones(s) for s in shapes)
    compare(lambda _, x, y: x.add_(y), a, b)
    compare(lambda _, x, y: operator.imul(x, y), a, b)


def test_memory_is_shared_with_views_and_numpy() -> None:
    array = np.arange(6.0).reshape(2, 3)
    x = Tensor._wrap(array)
    view = x[1]
    x += 1
    x.mul_(2)
    np.testing.assert_array_equal(array, [[2, 4, 6], [8, 10, 12]])
    np.testing.assert_array_equal(view.array, [8, 10, 12])
    view.sub_(8)
    assert x.array[1, 0] == 0


def test_an_operand_may_overlap_with_the_tensor() -> None:
    """PyTorch refuses partial overlap; here the operand is read before anything is written."""
    array = np.arange(6.0).reshape(2, 3)
    compare(lambda _, x: x.add_(x), array)
    x = Tensor._wrap(array.copy())
    np.testing.assert_array_equal(x.mul_(x[0]).array, array * array[0])
    x = Tensor._wrap(array.copy())
    np.testing.assert_array_equal(x.sub_(x[:, :1]).array, array - array[:, :1])
    x = Tensor._wrap(array.copy())
    np.testing.assert_array_equal(x[:, 1:].add_(x[:, :2]).array, array[:, 1:] + array[:, :2])


def test_read_only_memory_is_left_alone() -> None:
    array = np.ones(3)
    array.flags.writeable = False
    with pytest.raises(RuntimeError, match="read-only"):
        Tensor._wrap(array).add_(1)
    x = Tensor._wrap(np.ones((1, 3))).expand(2, 3)
    compare(lambda _, x: x.expand(2, 3).add_(1), np.ones((1, 3)))
    assert x.array.sum() == 6


def test_overflow_is_silent() -> None:
    compare(lambda _, x, y: x.add_(y), np.ones(2, np.float32), np.full(2, 1e300))
    compare(lambda _, x: x.mul_(1e38).mul_(1e38), np.ones(2, np.float32))
    compare(lambda _, x: x.div_(0), np.array([1.0, 0.0]))


# Under autograd


def test_a_leaf_that_requires_grad_is_refused() -> None:
    for x in pair(np.ones(3), True):
        with pytest.raises(RuntimeError, match="leaf"):
            x.add_(1)
        with pytest.raises(RuntimeError, match="leaf"):
            x *= 2


def test_a_leaf_may_be_changed_without_grad_mode() -> None:
    x, _ = pair(np.ones(3), True)
    with mt.no_grad():
        x.sub_(0.5).mul_(2)
    assert x.requires_grad
    assert x.is_leaf
    np.testing.assert_array_equal(x.array, [1, 1, 1])


def test_a_constant_takes_the_graph_of_what_is_added() -> None:
    results = []
    for x, y in zip(pair(np.ones(3), True), pair(np.zeros(3))):
        y.add_(x * 3)
        y.mul_(x)
        assert y.requires_grad
        y.sum().backward()
        results.append(x.grad)
    assert_same(*results)


def test_a_saved_value_that_is_overwritten_is_an_error() -> None:
    for x in pair(np.array([1.0, 2.0]), True):
        for spoil in (lambda y: y.add_(1), lambda y: y.exp_(), lambda y: y.detach().zero_(),
                      lambda y: y[0].detach().add_(1)):  # fmt: skip
            y = x * 1
            z = y * y
            spoil(y)
            with pytest.raises(RuntimeError, match="modified by an"):
                z.sum().backward()


def test_an_unsaved_value_may_be_overwritten() -> None:
    gradients = []
    for x in pair(np.array([1.0, 2.0]), True):
        y = x + 1
        z = y.sum()
        y.mul_(10)
        (z + y.sum()).backward()
        gradients.append(x.grad)
    assert_same(*gradients)


STEPS: dict[str, Any] = {
    "y += 1": lambda x, y: y.add_(1),
    "y *= y": lambda x, y: y.mul_(y),
    "y *= x": lambda x, y: y.mul_(x),
    "y -= y[0]": lambda x, y: y.sub_(y[0] + 0),
    "y.exp_()": lambda x, y: y.exp_(),
    "y.clamp_(-1, 1)": lambda x, y: y.clamp_(-1, 1),
    "y.div_(3)": lambda x, y: y.div_(3),
    "y = y * 2": lambda x, y: y * 2,
    "y = y.exp()": lambda x, y: y.exp(),
    "y = y + y[0]": lambda x, y: y + y[0],
    "y = y.reshape(-1)": lambda x, y: y.reshape(-1),
    "y = y.t()": lambda x, y: y.t() if y.dim() == 2 else y,
    "y[0] += 1": lambda x, y: (y[0].add_(1), y)[1],
    "y[-1].mul_(y[0])": lambda x, y: (y[-1].mul_(y[0]), y)[1],
    "y.detach().add_(1)": lambda x, y: (y.detach().add_(1), y)[1],
    "y = y.detach()": lambda x, y: y.detach(),
    "y = y.pow(2); y += x": lambda x, y: y.pow(2).add_(x),
    "z = y.clamp(0); y *= 0": lambda x, y: (y.clamp(0), y.mul_(0))[0],
}


def _total(x: Any, names: list[str], keep: bool) -> tuple[Any, Any]:
    """The last y, and a number that depends on it (and on every y before, to keep them in use)."""
    y = x * 1.5
    kept = []
    for name in names:
        if keep:
            kept.append(y)
        y = STEPS[name](x, y)
    total = y.sum()
    for z in kept:
        total = total + (z * 0.5).sum()
    return y, total


def _run(x: Any, names: list[str], keep: bool) -> tuple[Any, Any]:
    y, total = _total(x, names, keep)
    total.backward()
    return y.detach(), x.grad


def _slope(array: np.ndarray, names: list[str], keep: bool) -> np.ndarray:
    """The gradient by central differences, for programs that PyTorch refuses."""
    slope, eps = np.zeros_like(array), 1e-6
    for i in np.ndindex(array.shape):
        step = np.zeros_like(array)
        step[i] = eps
        ends = (float(_total(Tensor._wrap(array + s), names, keep)[1]) for s in (step, -step))
        slope[i] = (next(ends) - next(ends)) / (2 * eps)
    return slope


@given(st.lists(st.sampled_from(sorted(STEPS)), min_size=1, max_size=4), st.booleans())
def test_random_programs_have_the_right_gradient_or_an_error(names: list[str], keep: bool) -> None:
    array = np.array([[0.3, -0.2], [0.5, 0.9]])
    x, y = pair(array, True)
    ours, theirs = outcome(lambda: _run(x, names, keep)), outcome(lambda: _run(y, names, keep))
    if isinstance(ours, RuntimeError):
        return
    assert not isinstance(ours, Exception), repr(ours)
    if not isinstance(theirs, Exception):
        assert_same(ours, theirs, str(names), rtol=1e-10, atol=1e-12)
    elif not any("detach" in name for name in names):
        np.testing.assert_allclose(
            ours[1].array, _slope(array, names, keep), rtol=1e-5, atol=1e-7, err_msg=str(theirs)
        )


@pytest.mark.parametrize("name", sorted(STEPS))
def test_single_steps_are_not_refused_without_need(name: str) -> None:
    """What a training script does: PyTorch's answer, not an error."""
    if name in ("y[0] += 1", "y[-1].mul_(y[0])"):
        return  # writes to a view that autograd records: refused here
    x, y = pair(np.array([[0.3, -0.2], [0.5, 0.9]]), True)
    assert_same(outcome(lambda: _run(x, [name], False)), outcome(lambda: _run(y, [name], False)))
