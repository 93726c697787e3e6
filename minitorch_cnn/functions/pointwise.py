"""Element-by-element mathematics: PyTorch's face of ``ops.basic`` and ``ops.unary``.

Operands broadcast and are promoted to a common dtype (``promotion.py``). Functions with a float
result cast integers and bools to the default dtype first.
"""

from __future__ import annotations

import builtins
from typing import Any

import numpy as np

from ..dtypes import get_default_dtype
from ..ops import basic, unary
from ..tensor import Tensor
from .arguments import check_tensor
from .promotion import (
    BOOL,
    broadcast_error,
    common_dtype,
    elementwise,
    floating,
    not_implemented,
    operand,
    promoted,
    to_dtype,
)

__all__ = [
    "add", "sub", "subtract", "mul", "multiply", "div", "divide", "true_divide", "floor_divide",
    "remainder", "fmod", "pow", "neg", "negative", "abs", "absolute", "sign", "exp", "exp2",
    "expm1", "log", "log2", "log10", "log1p", "sqrt", "rsqrt", "square", "reciprocal", "sin", "cos",
    "tan", "asin", "arcsin", "acos", "arccos", "atan", "arctan", "sinh", "cosh", "asinh", "acosh",
    "atanh", "erf", "floor", "ceil", "round", "trunc", "fix", "frac", "clamp", "clamp_min",
    "clamp_max", "clip", "atan2", "arctan2", "hypot", "lerp", "addcmul", "addcdiv", "nan_to_num",
    "maximum", "minimum", "fmax", "fmin", "positive", "rsub", "where",
]  # fmt: skip
METHODS = tuple(name for name in __all__ if name not in ("rsub", "where"))
INPLACE = tuple(
    name for name in METHODS if name not in ("maximum", "minimum", "fmax", "fmin", "positive")
)

_NO_BOOL_SUB = (
    "Subtraction, the `-` operator, with a bool tensor is not supported: use `~` or logical_not()"
    " to invert a mask, `^` or logical_xor() for the difference of two"
)


def add(input: Any, other: Any, *, alpha: float = 1) -> Tensor:
    """input + alpha other; bools: or."""
    if alpha != 1:
        other = _scaled("add", input, other, alpha)
    return elementwise(basic.add, input, other)


def sub(input: Any, other: Any, *, alpha: float = 1) -> Tensor:
    """input - alpha other. RuntimeError for bools."""
    for x in (input, other):
        if isinstance(x, bool) or (isinstance(x, Tensor) and x.array.dtype.kind == "b"):
            raise RuntimeError(_NO_BOOL_SUB)
    if alpha != 1:
        other = _scaled("sub", input, other, alpha)
    return elementwise(basic.sub, input, other)


def rsub(input: Any, other: Any, *, alpha: float = 1) -> Tensor:
    """other - alpha input."""
    return sub(other, input, alpha=alpha)


def _scaled(name: str, input: Any, other: Any, alpha: Any) -> Any:
    input, other = operand(name, input, 1), operand(name, other)
    if isinstance(alpha, float) and common_dtype(input, other).kind != "f":
        raise RuntimeError(
            "For integral input tensors, argument alpha must not be a floating point number"
            f" ({name} with alpha={alpha})"
        )
    return other * alpha if not isinstance(other, Tensor) else mul(other, alpha)


def mul(input: Any, other: Any) -> Tensor:
    """input times other; bools: and."""
    return elementwise(basic.mul, input, other)


def div(input: Any, other: Any, *, rounding_mode: str | None = None) -> Tensor:
    """input / other: of the default dtype for integers. ``rounding_mode`` "floor" or "trunc" keeps
    integers, rounding down or toward zero."""
    if rounding_mode is None:
        return elementwise(basic.div, *_floats("div", input, other))
    if rounding_mode not in ("floor", "trunc"):
        raise RuntimeError(
            "div expected rounding_mode to be one of None, 'trunc', or 'floor' but found"
            f" {rounding_mode!r}"
        )
    _check_divisor("div", input, other)
    return elementwise(basic.div_rounded, input, other, rounding_mode=rounding_mode)


def true_divide(input: Any, other: Any) -> Tensor:
    """input / other, whatever the dtypes."""
    return div(input, other)


def floor_divide(input: Any, other: Any) -> Tensor:
    """floor(input / other). RuntimeError for an integer divided by 0."""
    return div(input, other, rounding_mode="floor")


def remainder(input: Any, other: Any) -> Tensor:
    """input - floor(input / other) other: Python's %, with the sign of ``other``."""
    _check_divisor("remainder", input, other)
    return elementwise(basic.remainder, input, other)


def fmod(input: Any, other: Any) -> Tensor:
    """input - trunc(input / other) other: C's %, with the sign of ``input``."""
    _check_divisor("fmod", input, other)
    return elementwise(basic.fmod, input, other)


def _floats(name: str, a: Any, b: Any) -> tuple[Any, Any]:
    """Both operands, the integer tensors of an all-integer pair in the default dtype."""
    for x in (a, b):
        if type(x) is float or (isinstance(x, Tensor) and x.array.dtype.kind == "f"):
            return a, b
    a, b = operand(name, a, 1), operand(name, b)
    if common_dtype(a, b).kind == "f":
        return a, b
    d = get_default_dtype().numpy
    return to_dtype(a, d), to_dtype(b, d)


def _check_divisor(name: str, a: Any, b: Any) -> None:
    a, b = operand(name, a, 1), operand(name, b)
    kind = common_dtype(a, b).kind
    if kind == "b":
        raise not_implemented(name, a if isinstance(a, Tensor) else b)
    if kind != "f" and not np.all(b.array if isinstance(b, Tensor) else b):
        raise RuntimeError(f"ZeroDivisionError: {name} of integers by 0")


def pow(input: Any, exponent: Any) -> Tensor:
    """input ^ exponent. RuntimeError for integers to a negative number."""
    a, b = operand("pow", input, 1), operand("pow", exponent)
    kind = common_dtype(a, b).kind
    if kind == "b":
        if isinstance(b, Tensor):
            raise not_implemented("pow", b)
        return to_dtype(pow(a, int(b)), BOOL)
    if kind != "f":
        if isinstance(b, Tensor):
            return _integer_pow(a, b)
        if b < 0:
            raise RuntimeError(
                "Integers to negative integer powers are not allowed: make the base a float"
            )
    return elementwise(basic.pow, a, b)


def _integer_pow(a: Any, b: Tensor) -> Tensor:
    """Negative exponents give 1 / a^-b rounded toward zero: not 0 only for a = 1 and a = -1."""
    negative = b.array < 0
    if not negative.any():
        return elementwise(basic.pow, a, b)
    size = elementwise(basic.pow, a, Tensor._wrap(np.abs(b.array)))
    base = np.abs(a.array) if isinstance(a, Tensor) else np.abs(a)
    return Tensor._wrap(np.where(negative & (base != 1), 0, size.array).astype(size.array.dtype))


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
    kind = check_tensor(name, input).array.dtype.kind
    if kind == "b":
        raise not_implemented(name, input)
    return fn(input) if kind == "f" else _copy(input)


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
    if decimals and check_tensor("round", input).array.dtype.kind != "f":
        raise not_implemented("round", input)
    return _rounded("round", input, lambda x: unary.round(x, decimals=decimals))


def frac(input: Tensor) -> Tensor:
    """input - trunc(input)."""
    if check_tensor("frac", input).array.dtype.kind != "f":
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
    if d.kind != "f":
        return _copy(input)
    limit = float(np.finfo(d).max)
    return unary.nan_to_num(
        input,
        nan=0.0 if nan is None else nan,
        posinf=limit if posinf is None else posinf,
        neginf=-limit if neginf is None else neginf,
    )


def clamp(input: Tensor, min: Any = None, max: Any = None) -> Tensor:
    """min(max(input, min), max): bounds are numbers or tensors; ``max`` wins where they cross."""
    check_tensor("clamp", input)
    if min is None and max is None:
        raise RuntimeError("torch.clamp: At least one of 'min' or 'max' must not be None")
    given = [operand("clamp", x) for x in (min, max) if x is not None]
    ranks = [x.array.ndim if isinstance(x, Tensor) else -1 for x in given]
    if -1 in ranks and builtins.max(ranks) > 0:
        raise TypeError("clamp(): 'min' and 'max' must both be tensors or both be numbers")
    d = common_dtype(input, *given)
    low, high = (None if x is None else to_dtype(operand("clamp", x), d) for x in (min, max))
    try:
        return basic.clamp(to_dtype(input, d), low, high)
    except ValueError as error:
        problems = (broadcast_error("clamp", input, bound) for bound in given)
        raise next(filter(None, problems), error) from None


def clamp_min(input: Tensor, min: Any) -> Tensor:
    """max(input, min)."""
    return clamp(input, min)


def clamp_max(input: Tensor, max: Any) -> Tensor:
    """min(input, max)."""
    return clamp(input, None, max)


def maximum(input: Tensor, other: Tensor) -> Tensor:
    """The larger of two tensors, NaN if either is; equal elements share the gradient."""
    return elementwise(basic.maximum, *_two_tensors("maximum", input, other))


def minimum(input: Tensor, other: Tensor) -> Tensor:
    """The smaller of two tensors, NaN if either is; equal elements share the gradient."""
    return elementwise(basic.minimum, *_two_tensors("minimum", input, other))


def fmax(input: Tensor, other: Tensor) -> Tensor:
    """The larger of two tensors, ignoring one NaN."""
    return elementwise(basic.fmax, *_two_tensors("fmax", input, other))


def fmin(input: Tensor, other: Tensor) -> Tensor:
    """The smaller of two tensors, ignoring one NaN."""
    return elementwise(basic.fmin, *_two_tensors("fmin", input, other))


def atan2(input: Tensor, other: Tensor) -> Tensor:
    """The angle of the point (other, input), in (-pi, pi]."""
    return elementwise(basic.atan2, *_floats("atan2", *_two_tensors("atan2", input, other)))


def hypot(input: Tensor, other: Tensor) -> Tensor:
    """sqrt(input^2 + other^2) without overflow in between."""
    a, b = _two_tensors("hypot", input, other)
    if common_dtype(a, b).kind != "f":
        raise not_implemented("hypot", a)
    return elementwise(basic.hypot, a, b)


def _two_tensors(name: str, a: Any, b: Any) -> tuple[Tensor, Tensor]:
    return check_tensor(name, a), check_tensor(name, b, "other")


def where(condition: Tensor, input: Any = None, other: Any = None) -> Any:
    """input where the condition (bool) holds, else other; numbers may stand for either.

    With the condition alone, the tuple of indices where it holds: ``nonzero(as_tuple=True)``.
    """
    mask = check_tensor("where", condition, "condition").array
    if input is None and other is None:
        return tuple(Tensor._wrap(i) for i in np.atleast_1d(mask).nonzero())
    if mask.dtype.kind != "b":
        raise RuntimeError(
            "where expected condition to be a boolean tensor, but got a tensor with dtype"
            f" {condition.dtype}: write condition != 0"
        )
    a, b = promoted("where", input, other)
    if not isinstance(a, Tensor) and not isinstance(b, Tensor):
        d = common_dtype(a, b)
        a, b = Tensor._wrap(np.asarray(a, d)), Tensor._wrap(np.asarray(b, d))
    try:
        return basic.where(condition, a, b)
    except ValueError as error:
        pairs = ((a, b), (condition, a), (condition, b))
        raise next(filter(None, (broadcast_error("where", *p) for p in pairs)), error) from None


def lerp(input: Tensor, end: Tensor, weight: Any) -> Tensor:
    """input + weight (end - input). All of one floating dtype; the weight may be a number."""
    start, end = check_tensor("lerp", input), check_tensor("lerp", end, "end")
    if start.array.dtype.kind != "f":
        raise not_implemented("lerp", start)
    for name, x in (("end", end), ("weight", weight)):
        if isinstance(x, Tensor) and x.dtype != start.dtype:
            raise RuntimeError(f"lerp expected dtype {start.dtype} for `{name}` but got {x.dtype}")
    try:
        return basic.lerp(start, end, operand("lerp", weight, 3))
    except ValueError as error:
        pairs = ((start, end), (start, weight), (end, weight))
        raise next(filter(None, (broadcast_error("lerp", *p) for p in pairs)), error) from None


def addcmul(input: Tensor, tensor1: Any, tensor2: Any, *, value: float = 1) -> Tensor:
    """input + value tensor1 tensor2."""
    product = mul(tensor1, tensor2)
    if common_dtype(input, product).kind == "b":
        raise not_implemented("addcmul", product)
    return add(input, product if value == 1 else mul(product, value))


def addcdiv(input: Tensor, tensor1: Any, tensor2: Any, *, value: float = 1) -> Tensor:
    """input + value tensor1 / tensor2. RuntimeError for two integer tensors."""
    a, b = _two_tensors("addcdiv", tensor1, tensor2)
    if common_dtype(a, b).kind != "f":
        raise RuntimeError("addcdiv of integers: make a tensor a float, or use torch.div yourself")
    quotient = div(a, b)
    return add(input, quotient if value == 1 else mul(quotient, value))


def _where_method(self: Tensor, condition: Tensor, other: Any) -> Any:
    """self where the condition holds, else other."""
    return where(condition, self, other)


ONLY_METHODS = {"where": _where_method}
subtract, multiply, divide = sub, mul, div
negative, absolute, fix, clip = neg, abs, trunc, clamp
arcsin, arccos, arctan, arctan2 = asin, acos, atan, atan2
