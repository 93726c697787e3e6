"""Arithmetic of two operands, element by element: PyTorch's face of ``ops.basic``.

Operands broadcast and are promoted to a common dtype (``promotion.py``).
"""

from __future__ import annotations

import builtins
from typing import Any

import numpy as np

from ..dtypes import get_default_dtype, is_floating
from ..ops import basic
from ..tensor import Tensor
from .arguments import check_tensor
from .promotion import (
    BOOL,
    broadcast_error,
    common_dtype,
    elementwise,
    is_plain_float,
    not_implemented,
    operand,
    promoted,
    to_dtype,
)

__all__ = [
    "add", "sub", "subtract", "mul", "multiply", "div", "divide", "true_divide", "floor_divide",
    "remainder", "fmod", "pow", "clamp", "clamp_min", "clamp_max", "clip", "atan2", "arctan2",
    "hypot", "lerp", "addcmul", "addcdiv", "maximum", "minimum", "fmax", "fmin", "rsub", "where",
]  # fmt: skip
METHODS = tuple(name for name in __all__ if name not in ("rsub", "where"))
INPLACE = tuple(name for name in METHODS if name not in ("maximum", "minimum", "fmax", "fmin"))

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
    if isinstance(alpha, float) and not is_floating(common_dtype(input, other)):
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
        if type(x) is float or (isinstance(x, Tensor) and is_floating(x.array.dtype)):
            return a, b
    a, b = operand(name, a, 1), operand(name, b)
    if is_floating(common_dtype(a, b)):
        return a, b
    d = get_default_dtype().numpy
    return to_dtype(a, d), to_dtype(b, d)


def _check_divisor(name: str, a: Any, b: Any) -> None:
    a, b = operand(name, a, 1), operand(name, b)
    d = common_dtype(a, b)
    if d.kind == "b":
        raise not_implemented(name, a if isinstance(a, Tensor) else b)
    if not is_floating(d) and not np.all(b.array if isinstance(b, Tensor) else b):
        raise RuntimeError(f"ZeroDivisionError: {name} of integers by 0")


def pow(input: Any, exponent: Any) -> Tensor:
    """input ^ exponent. RuntimeError for integers to a negative number."""
    if is_plain_float(input, exponent):
        return basic.pow(input, exponent)
    a, b = operand("pow", input, 1), operand("pow", exponent)
    d = common_dtype(a, b)
    if d.kind == "b":
        if isinstance(b, Tensor):
            raise not_implemented("pow", b)
        return to_dtype(pow(a, int(b)), BOOL)
    if not is_floating(d):
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


def clamp(input: Tensor, min: Any = None, max: Any = None) -> Tensor:
    """min(max(input, min), max): bounds are numbers or tensors; ``max`` wins where they cross."""
    x = check_tensor("clamp", input)
    if min is None and max is None:
        raise RuntimeError("torch.clamp: At least one of 'min' or 'max' must not be None")
    if is_plain_float(x, 0.0 if min is None else min) and (max is None or is_plain_float(x, max)):
        return basic.clamp(x, min, max)
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
    if not is_floating(common_dtype(a, b)):
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
    if not is_floating(start.array.dtype):
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
    if not is_floating(common_dtype(a, b)):
        raise RuntimeError("addcdiv of integers: make a tensor a float, or use torch.div yourself")
    quotient = div(a, b)
    return add(input, quotient if value == 1 else mul(quotient, value))


def _where_method(self: Tensor, condition: Tensor, other: Any) -> Any:
    """self where the condition holds, else other."""
    return where(condition, self, other)


ONLY_METHODS = {"where": _where_method}
subtract, multiply, divide = sub, mul, div
clip, arctan2 = clamp, atan2
