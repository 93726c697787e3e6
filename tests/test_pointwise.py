"""Elementwise functions where mathematics has an edge: values, gradients and refusals of PyTorch's.

``tests/cases/basic.py`` covers ordinary numbers; here are zeros, infinities, NaN, ties, bounds.
"""

from __future__ import annotations

import itertools
import math
import operator
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import minitorch_cnn as mt

from .oracle import assert_same, compare, compare_gradients, outcome, pair
from .strategies import arrays, broadcastable

INF, NAN = math.inf, math.nan
SPECIAL = np.array([0.0, -0.0, 1.0, -1.0, 0.5, -2.5, 3.0, INF, -INF, NAN])
LEFT, RIGHT = (np.array(side) for side in zip(*itertools.product(SPECIAL, SPECIAL)))

FUNCTIONS = (
    "neg", "abs", "sign", "square", "sqrt", "rsqrt", "reciprocal", "exp", "exp2", "expm1", "log",
    "log2", "log10", "log1p", "sin", "cos", "tan", "asin", "acos", "atan", "sinh", "cosh", "asinh",
    "acosh", "atanh", "erf", "floor", "ceil", "trunc", "round", "frac", "nan_to_num",
)  # fmt: skip


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_function_at_special_points(name: str, dtype: str) -> None:
    compare_gradients(lambda torch, x: getattr(torch, name)(x), SPECIAL.astype(dtype))


@pytest.mark.parametrize("name", FUNCTIONS)
def test_function_in_float16(name: str) -> None:
    x = np.array([0.1, 0.5, 0.9, 1.0, 2.0, -0.3, 300.0], np.float16)
    compare(lambda torch, x: getattr(torch, name)(x), x)


_BINARY = {
    name: lambda torch, x, y, name=name: getattr(torch, name)(x, y)
    for name in ("add", "sub", "mul", "div", "maximum", "minimum", "fmax", "fmin", "remainder",
                 "floor_divide", "fmod", "atan2", "hypot")
}  # fmt: skip
_BINARY |= {
    "trunc": lambda torch, x, y: torch.div(x, y, rounding_mode="trunc"),
    "clamp": lambda torch, x, y: torch.clamp(x, y, -y),
    "clamp_min": lambda torch, x, y: torch.clamp(x, min=y),
    "where": lambda torch, x, y: torch.where(x > y, x, y),
    "lerp": lambda torch, x, y: torch.lerp(x, y, 0.75),
    "sqrt of the branch not taken": lambda torch, x, y: torch.where(x > 0, x.sqrt(), y),
}
_GRADIENT_UNDEFINED = {"atan2", "hypot", "remainder", "fmod", "floor_divide"}


@pytest.mark.parametrize("name", _BINARY)
def test_two_special_points(name: str) -> None:
    test = compare if name in _GRADIENT_UNDEFINED else compare_gradients
    test(_BINARY[name], LEFT, RIGHT)


@pytest.mark.parametrize("exponent", [0, 1, 2, 3, -1, -2, 0.0, 0.5, -0.5, 2.0, 2.5, -1.5])
def test_pow_of_a_number(exponent: float) -> None:
    finite = SPECIAL[np.isfinite(SPECIAL)]
    compare_gradients(lambda _, x: x**exponent, finite)
    compare(lambda _, x: x**exponent, SPECIAL)
    compare_gradients(lambda _, x: exponent**x, finite)


def test_pow_of_tensors() -> None:
    base, exponent = (
        np.array(side)
        for side in zip(*itertools.product([0.0, 1.0, 2.0, -2.0], [0.0, 1.0, -1.0, 2.0, 0.5]))
    )
    compare_gradients(lambda _, x, y: x**y, base, exponent)


@pytest.mark.parametrize("dtype", ["uint8", "int8", "int64"])
def test_pow_of_integers(dtype: str) -> None:
    low = 0 if dtype == "uint8" else -3
    base, exponent = np.meshgrid(np.arange(low, 4), np.arange(low, 4))
    compare(lambda _, x, y: x**y, base.astype(dtype), exponent.astype(dtype))
    compare(lambda _, x: 2**x, exponent.astype(dtype))
    for e in (0, 2, 3, -1):
        compare(lambda _, x: x**e, base.astype(dtype))  # noqa: B023


@pytest.mark.parametrize("rounding_mode", [None, "floor", "trunc", "ceil"])
@pytest.mark.parametrize("dtype", ["int64", "uint8", "float32"])
def test_division_of_signs_and_zero(rounding_mode: str | None, dtype: str) -> None:
    a, b = np.meshgrid(np.arange(-7, 8), np.array([-3, -2, -1, 1, 2, 3]))
    if dtype == "uint8":
        a, b = abs(a), abs(b)
    for divisor in (b, np.zeros_like(b)):
        compare(lambda torch, x, y: torch.div(x, y, rounding_mode=rounding_mode),
                a.astype(dtype), divisor.astype(dtype))  # fmt: skip
        for name in ("remainder", "fmod"):
            compare(lambda torch, x, y: getattr(torch, name)(x, y),  # noqa: B023
                    a.astype(dtype), divisor.astype(dtype))  # fmt: skip


@given(st.data())
def test_float_division_like_pythons(data: st.DataObject) -> None:
    values = st.floats(-1e3, 1e3, width=32)
    a = np.array(data.draw(st.lists(values, min_size=1, max_size=5)), np.float32)
    b = np.array(data.draw(st.lists(values, min_size=len(a), max_size=len(a))), np.float32)
    for name in ("floor_divide", "remainder", "fmod"):
        compare(lambda torch, x, y: getattr(torch, name)(x, y), a, b)  # noqa: B023


@pytest.mark.parametrize("bounds", [(0, 1), (1, -1), (None, 0.5), (-1, None), (None, None),
                                    (NAN, None), (0, INF), (0.5, 2), (2, 2)])  # fmt: skip
@pytest.mark.parametrize("dtype", ["float64", "float32", "int64", "uint8", "bool"])
def test_clamp(bounds: tuple[Any, Any], dtype: str) -> None:
    x = SPECIAL.astype(dtype) if dtype.startswith("float") else np.arange(4).astype(dtype)
    compare_gradients(lambda torch, x: torch.clamp(x, *bounds), x)
    compare(lambda _, x: x.clip(min=bounds[0], max=bounds[1]), x)


@given(st.data())
def test_clamp_by_tensors(data: st.DataObject) -> None:
    shapes = data.draw(broadcastable(3))
    x, low, high = (data.draw(arrays(s, ("ties",))) for s in shapes)
    compare(lambda torch, x, low, high: torch.clamp(x, low, high), x, low, high)
    compare(lambda torch, x, low: torch.clamp(x, low), x, low)
    compare(lambda torch, x, high: torch.clamp_max(x, high), x, high)
    compare(lambda torch, x, low: torch.clamp(x, low, 1), x, low)


def test_where_gives_the_gradient_to_one_branch_only() -> None:
    """A NaN or inf in the branch that is not taken must not reach the other one's gradient."""
    x = np.array([-1.0, 0.0, 2.0])
    compare_gradients(lambda torch, x: torch.where(x > 0, x.log(), x * 3), x)


def test_an_infinite_gradient_does_not_reach_what_was_not_chosen() -> None:
    x, y = np.array([-1.0, 0.0, 2.0]), np.array([1.0, 0.5, -1.0])
    for call in (
        lambda torch, x, y: torch.where(x > 0, x, y) * INF,
        lambda torch, x, y: torch.fmax(x, y) * INF,
        lambda torch, x, y: torch.maximum(x, y) * INF,
        lambda torch, x, y: torch.clamp(x, y, y + 1) * INF,
        lambda torch, x, y: torch.nan_to_num(x / 0, posinf=3.0) * INF + y,
    ):
        compare_gradients(call, x, y)


def test_where_with_numbers_and_alone() -> None:
    x = np.array([[1.0, -2.0], [0.0, 3.0]])
    compare_gradients(lambda torch, x: torch.where(x > 0, x, 0.0), x)
    compare_gradients(lambda torch, x: torch.where(x > 0, 1, x), x)
    compare(lambda torch, x: torch.where(x > 0, 1.0, 2), x)
    compare(lambda torch, x: torch.where(x > 0, 1, 2), x)
    compare(lambda torch, x: torch.where(x > 0), x)
    compare(lambda torch, x: torch.where(x), x)
    compare(lambda torch, x: torch.where(x > 0, True, False), x)
    compare(lambda torch, x: torch.where(x, x, x), x)
    compare(lambda torch, x: torch.where(x > 0, x, None), x)
    compare(lambda _, x: x.where(x > 0, 7), x)


@given(st.data())
def test_lerp_with_any_weight(data: st.DataObject) -> None:
    shapes = data.draw(broadcastable(3))
    a, b, w = (data.draw(arrays(s, ("normal", "ties"))) for s in shapes)
    compare_gradients(lambda torch, a, b, w: torch.lerp(a, b, w), a, b, w)
    for weight in (0, 0.25, 1, -2.0):
        compare_gradients(lambda torch, a, b: torch.lerp(a, b, weight), a, b)  # noqa: B023


@pytest.mark.parametrize("alpha", [2, 0, -1.5])
def test_alpha(alpha: float) -> None:
    for dtype in ("float32", "int64", "float16"):
        x = np.arange(4).astype(dtype)
        compare(lambda torch, x: torch.add(x, x, alpha=alpha), x)
        compare(lambda torch, x: torch.sub(x, 2, alpha=alpha), x)
        compare(lambda torch, x: torch.rsub(x, x, alpha=alpha), x)
    compare_gradients(lambda torch, x: torch.add(x, x, alpha=alpha), np.ones(3))


def test_rounding_halves_and_decimals() -> None:
    x = np.array([0.5, 1.5, 2.5, -0.5, -1.5, 2.675, 1234.5678])
    for decimals in (0, 1, 2, -2):
        compare(lambda torch, x: torch.round(x, decimals=decimals), x)  # noqa: B023
    compare(lambda torch, x: torch.round(x, decimals=1), np.arange(3))


def test_bits_and_shifts() -> None:
    for name, dtype in itertools.product(
        ("and_", "or_", "xor", "lshift", "rshift"), ("int64", "int8", "uint8", "bool", "float32")
    ):
        fn = getattr(operator, name)
        x, y = np.array([5, 3, 0]).astype(dtype), np.array([1, 2, 3]).astype(dtype)
        compare(lambda _, x, y: fn(x, y), x, y)  # noqa: B023
        compare(lambda _, x: fn(3, x), x)  # noqa: B023
    compare(lambda _, x: ~x, np.array([True, False]))
    compare(lambda _, x: ~x, np.array([1.0]))


@pytest.mark.parametrize("name", ["relu", "sigmoid", "tanh", "softmax", "log_softmax"])
def test_activations_as_methods(name: str) -> None:
    arguments = [-1] if "softmax" in name else []
    x = np.array([[0.5, -2.0, 0.0], [-0.1, 3.0, 1.0]])
    compare_gradients(lambda _, x: getattr(x, name)(*arguments), x)
    for dtype in ("int64", "bool", "float16", "float32"):
        compare(lambda torch, x: getattr(torch, name)(x, *arguments), x.astype(dtype))
    if not arguments:
        compare(lambda _, x: getattr(x, f"{name}_")(), x)
        return
    compare(lambda _, x: getattr(x, name)(axis=0), x)
    for dim in (2, None, 1.5):
        compare(lambda _, x: getattr(x, name)(dim), x)  # noqa: B023
    compare(lambda torch, x: getattr(torch, name)(x, 0, dtype=torch.float32), np.arange(4))
    compare(lambda _, x: getattr(x, name)(), x)


# What PyTorch refuses


_BAD_SHAPES = [((3,), (4,)), ((2, 3), (2, 4)), ((2, 3), (3, 2)), ((2, 1, 3), (4, 2)), ((0,), (2,))]


@pytest.mark.parametrize("shapes", _BAD_SHAPES)
def test_shapes_that_do_not_broadcast(shapes: tuple[Any, Any]) -> None:
    a, b = (np.ones(s) for s in shapes)
    for name in (*_BINARY, "eq", "lt", "logical_and", "isclose", "addcmul", "equal", "allclose"):
        fn = _BINARY.get(name)
        if name == "addcmul":
            fn = lambda torch, x, y: torch.addcmul(x, x, y)
        elif fn is None:
            fn = lambda torch, x, y: getattr(torch, name)(x, y)  # noqa: B023
        compare(fn, a, b, context=f"{name} {shapes}")


def test_the_message_names_both_sizes_and_shapes() -> None:
    a, b = mt.Tensor._wrap(np.ones((2, 3))), mt.Tensor._wrap(np.ones((2, 4)))
    with pytest.raises(
        RuntimeError,
        match=r"The size of tensor a \(3\) must match the size of tensor b \(4\) at non-singleton"
        r" dimension 1 \(add of shapes \[2, 3\] and \[2, 4\]\)",
    ):
        a + b


@pytest.mark.parametrize("other", ["a", None, [1.0, 2.0], (1, 2), {}, object(), 1j])
def test_operands_that_are_neither_tensor_nor_number(other: Any) -> None:
    if other == 1j:
        with pytest.raises(TypeError):  # PyTorch has complex tensors, we have none
            mt.Tensor._wrap(np.ones(2)) + other
        return
    for name in ("add", "mul", "truediv", "lt", "ge", "pow", "and_", "eq", "ne"):
        fn = getattr(operator, name)
        compare(lambda _, x: fn(x, other), np.ones(2), context=f"{name} {other!r}")  # noqa: B023
        compare(lambda _, x: fn(other, x), np.ones(2), context=f"{other!r} {name}")  # noqa: B023
    for name in ("add", "div", "maximum", "eq", "where", "clamp", "exp", "equal", "isnan"):
        compare(lambda torch: getattr(torch, name)(other, other), context=name)  # noqa: B023


def test_other_classes_get_their_turn() -> None:
    class Right:
        def __radd__(self, other: object) -> str:
            return "mine"

        def __rmul__(self, other: object) -> str:
            return "mine"

    x = mt.Tensor._wrap(np.ones(2))
    assert x + Right() == "mine"
    assert x * Right() == "mine"


def test_numpy_on_either_side_gives_a_tensor() -> None:
    x = mt.Tensor._wrap(np.ones(2, np.float32))
    for y in (x + np.ones(2), np.ones(2) + x, np.float32(2) * x, x - np.float64(1)):
        assert isinstance(y, mt.Tensor)
    assert (x + np.ones(2)).dtype == mt.float64
    assert (np.float64(2) * x).dtype == mt.float32


def test_no_numpy_warnings_escape() -> None:
    """Overflow, 0 / 0 and log of negatives give inf and NaN without a word, as in PyTorch."""
    x, y = pair(np.array([0.0, -1.0, 1e300, INF]), True)
    for name in ("exp", "log", "sqrt", "reciprocal", "square", "sinh"):
        assert_same(getattr(mt, name)(x), getattr(torch, name)(y))
        getattr(mt, name)(x).sum().backward()
    assert_same(x / 0, y / 0)
    assert_same(x * 1e300, y * 1e300)


def test_hash_and_identity_survive_elementwise_equality() -> None:
    x, y = mt.Tensor._wrap(np.ones(2)), mt.Tensor._wrap(np.ones(2))
    assert len({x, y, x}) == 2
    assert (x == None) is False  # noqa: E711 (what is tested)
    assert (x != None) is True  # noqa: E711


@given(st.data())
def test_isclose_and_allclose(data: st.DataObject) -> None:
    values = st.sampled_from([0.0, 1.0, 1.0 + 1e-6, 1.1, -1.0, INF, -INF, NAN])
    a = np.array(data.draw(st.lists(values, min_size=1, max_size=4)))
    b = np.array(data.draw(st.lists(values, min_size=len(a), max_size=len(a))))
    options = {
        "rtol": data.draw(st.sampled_from([0, 1e-5, 0.2])),
        "atol": data.draw(st.sampled_from([0, 1e-8, 0.05])),
        "equal_nan": data.draw(st.booleans()),
    }
    compare(lambda torch, x, y: torch.isclose(x, y, **options), a, b)
    compare(lambda torch, x, y: torch.allclose(x, y, **options), a, b)
    compare(lambda torch, x, y: torch.equal(x, y), a, b)
    compare(lambda torch, x, y: torch.isin(x, y), a, b)
    compare(lambda torch, x, y: torch.isin(x, 1.0, invert=True), a, b)


def test_outcome_sees_a_wrong_answer() -> None:
    """The harness itself: a wrong value, dtype or a missing refusal does not pass."""
    x, y = pair(np.ones(2))
    with pytest.raises(AssertionError):
        assert_same(x + 1e-9, y)
    with pytest.raises(AssertionError):
        assert_same(mt.Tensor._wrap(np.ones(2, np.float32)), y)
    with pytest.raises(AssertionError):
        assert_same(x, outcome(lambda: y + torch.ones(3)))
