"""Functions of one tensor, element by element: PyTorch's face of ``ops.unary``.

Those with a float result cast integers and bools to the default dtype first.
"""

from __future__ import annotations

from typing import Any

from ..dtypes import as_dtype, finfo, is_floating
from ..ops import basic, unary
from ..tensor import Tensor
from .arguments import check_tensor
from .pointwise import pow
from .promotion import floating, not_implemented

__all__ = [
    "neg", "negative", "abs", "absolute", "sign", "sgn", "exp", "exp2", "expm1", "log", "log2",
    "log10", "log1p", "sqrt", "rsqrt", "square", "reciprocal", "sin", "cos", "tan", "asin",
    "arcsin", "acos", "arccos", "atan", "arctan", "sinh", "cosh", "asinh", "arcsinh", "acosh",
    "arccosh", "atanh", "arctanh", "erf", "floor", "ceil", "round", "trunc", "fix", "frac",
    "nan_to_num", "positive",
]  # fmt: skip
METHODS = tuple(__all__)
INPLACE = tuple(name for name in METHODS if name != "positive")


def neg(input: Tensor) -> Tensor:
    """-input. RuntimeError for bools."""
    if check_tensor("neg", input).array.dtype.kind == "b":
        raise RuntimeError(
            "Negation, the `-` operator, on a bool tensor is not supported. If you are trying to"
            " invert a mask, use the `~` or `logical_not()` operator instead."
        )
    return unary.neg(input)


def positive(input: Tensor) -> Tensor:
    """input itself. RuntimeError for bools."""
    if check_tensor("positive", input).array.dtype.kind == "b":
        raise RuntimeError("The `+` operator, on a bool tensor is not supported.")
    return input


def abs(input: Tensor) -> Tensor:
    """|input|; the gradient at 0 is 0."""
    if check_tensor("abs", input).array.dtype.kind == "b":
        raise not_implemented("abs", input)
    return unary.abs(input)


def sign(input: Tensor) -> Tensor:
    """-1, 0 or 1; 0 for NaN."""
    if check_tensor("sign", input).array.dtype.kind == "b":
        return _copy(input)
    return unary.sign(input)


def square(input: Tensor) -> Tensor:
    """input^2; bools give int64."""
    if check_tensor("square", input).array.dtype.kind == "b":
        return pow(input, 2)
    return unary.square(input)


def exp(input: Tensor) -> Tensor:
    """e^input."""
    return unary.exp(floating("exp", input))


def exp2(input: Tensor) -> Tensor:
    """2^input."""
    return unary.exp2(floating("exp2", input))


def expm1(input: Tensor) -> Tensor:
    """e^input - 1, exact near 0."""
    return unary.expm1(floating("expm1", input))


def log(input: Tensor) -> Tensor:
    """ln input: -inf at 0, NaN below."""
    return unary.log(floating("log", input))


def log2(input: Tensor) -> Tensor:
    """log2 input."""
    return unary.log2(floating("log2", input))


def log10(input: Tensor) -> Tensor:
    """log10 input."""
    return unary.log10(floating("log10", input))


def log1p(input: Tensor) -> Tensor:
    """ln(1 + input), exact near 0."""
    return unary.log1p(floating("log1p", input))


def sqrt(input: Tensor) -> Tensor:
    """sqrt(input): NaN below 0."""
    return unary.sqrt(floating("sqrt", input))


def rsqrt(input: Tensor) -> Tensor:
    """1 / sqrt(input)."""
    return unary.rsqrt(floating("rsqrt", input))


def reciprocal(input: Tensor) -> Tensor:
    """1 / input."""
    return unary.reciprocal(floating("reciprocal", input))


def sin(input: Tensor) -> Tensor:
    """sin(input), in radians."""
    return unary.sin(floating("sin", input))


def cos(input: Tensor) -> Tensor:
    """cos(input), in radians."""
    return unary.cos(floating("cos", input))


def tan(input: Tensor) -> Tensor:
    """tan(input), in radians."""
    return unary.tan(floating("tan", input))


def asin(input: Tensor) -> Tensor:
    """arcsin(input): NaN outside [-1, 1]."""
    return unary.asin(floating("asin", input))


def acos(input: Tensor) -> Tensor:
    """arccos(input): NaN outside [-1, 1]."""
    return unary.acos(floating("acos", input))


def atan(input: Tensor) -> Tensor:
    """arctan(input)."""
    return unary.atan(floating("atan", input))


def sinh(input: Tensor) -> Tensor:
    """sinh(input)."""
    return unary.sinh(floating("sinh", input))


def cosh(input: Tensor) -> Tensor:
    """cosh(input)."""
    return unary.cosh(floating("cosh", input))


def asinh(input: Tensor) -> Tensor:
    """arsinh(input)."""
    return unary.asinh(floating("asinh", input))


def acosh(input: Tensor) -> Tensor:
    """arcosh(input): NaN below 1."""
    return unary.acosh(floating("acosh", input))


def atanh(input: Tensor) -> Tensor:
    """artanh(input): NaN outside [-1, 1]."""
    return unary.atanh(floating("atanh", input))


def erf(input: Tensor) -> Tensor:
    """The error function, 2 / sqrt(pi) times the integral of e^(-t^2) from 0 to input."""
    return unary.erf(floating("erf", input))


def _rounded(name: str, input: Tensor, fn: Any) -> Tensor:
    d = check_tensor(name, input).array.dtype
    if d.kind == "b":
        raise not_implemented(name, input)
    return fn(input) if is_floating(d) else _copy(input)


def _copy(x: Tensor) -> Tensor:
    return basic.cast(x, dtype=x.array.dtype)


def floor(input: Tensor) -> Tensor:
    """The largest integer <= input."""
    return _rounded("floor", input, unary.floor)


def ceil(input: Tensor) -> Tensor:
    """The smallest integer >= input."""
    return _rounded("ceil", input, unary.ceil)


def trunc(input: Tensor) -> Tensor:
    """input without its fraction."""
    return _rounded("trunc", input, unary.trunc)


def round(input: Tensor, *, decimals: int = 0) -> Tensor:
    """input to ``decimals`` places, halves to even."""
    if decimals and not is_floating(check_tensor("round", input).array.dtype):
        raise not_implemented("round", input)
    return _rounded("round", input, lambda x: unary.round(x, decimals=decimals))


def frac(input: Tensor) -> Tensor:
    """input - trunc(input)."""
    if not is_floating(check_tensor("frac", input).array.dtype):
        raise not_implemented("frac", input)
    return unary.frac(input)


def nan_to_num(
    input: Tensor,
    nan: float | None = None,
    posinf: float | None = None,
    neginf: float | None = None,
) -> Tensor:
    """input with NaN as ``nan`` (0), inf as ``posinf`` and -inf as ``neginf`` (the extremes)."""
    d = check_tensor("nan_to_num", input).array.dtype
    if not is_floating(d):
        return _copy(input)
    limit = finfo(as_dtype(d)).max
    return unary.nan_to_num(
        input,
        nan=0.0 if nan is None else nan,
        posinf=limit if posinf is None else posinf,
        neginf=-limit if neginf is None else neginf,
    )


negative, absolute, sgn, fix = neg, abs, sign, trunc
arcsin, arccos, arctan = asin, acos, atan
arcsinh, arccosh, arctanh = asinh, acosh, atanh
