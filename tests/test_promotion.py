"""The dtype of every mix of operands, and what integers and bools refuse, against PyTorch."""

from __future__ import annotations

import itertools
import operator
from typing import Any

import numpy as np
import pytest
import torch

import minitorch_cnn as mt

from .oracle import compare

DTYPES = (
    "float16", "bfloat16", "float32", "float64", "uint8", "int8", "int16", "int32", "int64", "bool",
)  # fmt: skip
OPERATORS = {
    name: getattr(operator, name)
    for name in ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "and_", "or_", "xor",
                 "lshift", "rshift", "eq", "ne", "lt", "le", "gt", "ge")
}  # fmt: skip


def _operand(dtype: str, shape: tuple[int, ...]) -> np.ndarray:
    values = np.array([[1, 2, 3], [3, 1, 2]])
    return (values if shape else np.array(2)).astype(dtype)


NUMBERS = (True, False, 2, -1, 0, 1.5, -0.5, 0.0, float("nan"), float("inf"), np.float32(0.5),
           np.float64(0.5), np.int64(3), np.int32(2))  # fmt: skip


def _undefined(name: str, d: str, other: Any) -> bool:
    """Shifts by a negative number of bits: C leaves their value open."""
    return "shift" in name and isinstance(other, int | np.integer) and other < 0


@pytest.mark.parametrize("name", OPERATORS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_tensor_and_number(name: str, dtype: str) -> None:
    fn = OPERATORS[name]
    for number, shape, swapped in itertools.product(NUMBERS, [(2, 3), ()], [False, True]):
        if _undefined(name, dtype, number):
            continue
        if swapped and isinstance(number, np.generic):
            continue  # PyTorch's answer depends on NumPy's scalar operators
        x = _operand(dtype, shape)
        compare(
            lambda _, x, n: fn(n, x) if swapped else fn(x, n),  # noqa: B023
            x, number, context=f"{dtype}{list(shape)} {name} {number!r}, swapped={swapped}",
        )  # fmt: skip


@pytest.mark.parametrize("name", OPERATORS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_two_tensors(name: str, dtype: str) -> None:
    fn = OPERATORS[name]
    for other in DTYPES:
        for a, b in itertools.product([(2, 3), ()], repeat=2):
            compare(
                lambda _, x, y: fn(x, y), _operand(dtype, a), _operand(other, b),
                context=f"{dtype}{list(a)} {name} {other}{list(b)}",
            )  # fmt: skip


BINARY = ("maximum", "minimum", "fmax", "fmin", "atan2", "hypot", "logical_and", "logical_xor",
          "true_divide", "floor_divide", "remainder", "fmod", "where", "clamp", "add", "isin",
          "addcmul", "addcdiv", "lerp", "isclose", "equal", "result_type", "matmul")  # fmt: skip


@pytest.mark.parametrize("name", BINARY)
def test_functions_of_two_tensors(name: str) -> None:
    for d, e in itertools.product(DTYPES, DTYPES):
        for a, b in itertools.product([(2, 3), ()], repeat=2):

            def call(torch: Any, x: Any, y: Any) -> Any:
                fn = getattr(torch, name)
                if name == "where":
                    return fn(x > 1, x, y)
                if name in ("addcmul", "addcdiv"):
                    return fn(x, y, y)
                if name == "lerp":
                    return fn(x, y, 0.25)
                result = fn(x, y)
                return str(result) if name == "result_type" else result

            second = _operand(e, b).T if name == "matmul" else _operand(e, b)
            compare(call, _operand(d, a), second, context=f"{name} {d}{a} {e}{b}")


UNARY = ("neg", "abs", "sign", "square", "exp", "log", "sqrt", "rsqrt", "reciprocal", "sin", "erf",
         "floor", "ceil", "trunc", "round", "frac", "nan_to_num", "isnan", "isinf", "isfinite",
         "logical_not", "bitwise_not", "positive", "sum", "prod", "mean", "var", "std", "amax",
         "max", "min", "argmax", "median", "any", "all", "nansum", "nanmean", "count_nonzero",
         "norm", "unique", "aminmax", "bincount", "histc", "sort", "argsort")  # fmt: skip


@pytest.mark.parametrize("name", UNARY)
def test_functions_of_one_tensor(name: str) -> None:
    for d in DTYPES:
        x = _operand(d, (2, 3)) if name != "bincount" else _operand(d, (2, 3))[0]
        compare(lambda torch, x: getattr(torch, name)(x), x, context=f"{name} {d}")


@pytest.mark.parametrize("name", ["sum", "prod", "nansum", "cumsum", "cumprod", "mean"])
def test_dtype_argument(name: str) -> None:
    for d, e in itertools.product(DTYPES, DTYPES):
        compare(
            lambda torch, x: getattr(torch, name)(x, 0, dtype=getattr(torch, e)),  # noqa: B023
            _operand(d, (2, 3)), context=f"{name} {d} -> {e}",
        )  # fmt: skip


@pytest.mark.parametrize("name", ["promote_types", "can_cast"])
def test_dtypes_alone(name: str) -> None:
    for d, e in itertools.product(DTYPES, DTYPES):
        ours = getattr(mt, name)(getattr(mt, d), getattr(mt, e))
        theirs = getattr(torch, name)(getattr(torch, d), getattr(torch, e))
        assert str(ours) == str(theirs), (d, e)


def test_default_dtype_is_what_integers_become() -> None:
    x = mt.Tensor._wrap(np.arange(3))
    try:
        mt.set_default_dtype(mt.float64)
        assert (x + 1.5).dtype == mt.float64
        assert (x / 2).dtype == mt.exp(x).dtype == mt.float64
    finally:
        mt.set_default_dtype(mt.float32)
    assert (x / 2).dtype == mt.float32


@pytest.mark.parametrize("number", [300, -1, 256, -129, 2**40, 2**63 - 1])
@pytest.mark.parametrize("dtype", ["uint8", "int8", "int32"])
def test_integers_wrap_around(dtype: str, number: int) -> None:
    x = np.array([1, 100, 7]).astype(dtype)
    for name in ("add", "sub", "mul", "eq", "lt", "ge"):
        compare(lambda _, x, n: OPERATORS[name](x, n), x, number)  # noqa: B023


@pytest.mark.parametrize("number", [2**64, -(2**63) - 1])
def test_integers_beyond_int64_are_refused(number: int) -> None:
    for dtype in ("int64", "float32", "uint8"):
        for name in ("add", "mul", "eq", "truediv", "maximum"):
            fn = OPERATORS.get(name, lambda x, n: x.clamp(n))
            compare(lambda _, x, n: fn(x, n), np.ones(2, dtype), number)  # noqa: B023


def test_float16_with_a_number_beyond_its_range() -> None:
    x = np.array([1e-4, 3.0], np.float16)
    for number in (1e5, 1e-6, 65536):
        compare(lambda _, x, n: (x * n, x + n, n - x, x / n, x**2 * n), x, number)
