"""Comparison, logic and bits: PyTorch's face of ``ops.compare``. Results are bool tensors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..dtypes import is_floating
from ..kernels.backend import constant
from ..ops import compare
from ..tensor import Tensor
from .arguments import check_tensor
from .promotion import (
    broadcast_error,
    is_plain_float,
    not_implemented,
    promoted,
)

__all__ = [
    "eq", "ne", "not_equal", "lt", "less", "le", "less_equal", "gt", "greater", "ge",
    "greater_equal", "logical_and", "logical_or", "logical_xor", "logical_not", "bitwise_and",
    "bitwise_or", "bitwise_xor", "bitwise_not", "bitwise_left_shift", "bitwise_right_shift",
    "isnan", "isinf", "isfinite", "isclose", "allclose", "equal", "isin",
]  # fmt: skip
METHODS = tuple(name for name in __all__ if name != "isin")
INPLACE = tuple(
    name
    for name in METHODS
    if name not in ("isnan", "isinf", "isfinite", "isclose", "allclose", "equal")
)


def _compared(fn: Callable[..., Any], input: Any, other: Any) -> Tensor:
    """Compare in the common dtype. Like every number, one beyond an integer dtype wraps around."""
    a = check_tensor(fn.__name__, input)
    if isinstance(other, Tensor):
        if other.array.dtype is a.array.dtype:
            return _broadcast(fn, a, other)
    elif is_plain_float(a, other):
        return _broadcast(fn, a, other)
    return _broadcast(fn, *promoted(fn.__name__, a, other))


def _broadcast(fn: Callable[..., Any], a: Any, b: Any, **settings: Any) -> Tensor:
    try:
        return fn(a, b, **settings)
    except ValueError as error:
        raise broadcast_error(fn.__name__, a, b) or error from None


def eq(input: Tensor, other: Any) -> Tensor:
    """input = other; NaN equals nothing."""
    return _compared(compare.eq, input, other)


def ne(input: Tensor, other: Any) -> Tensor:
    """input differs from other."""
    return _compared(compare.ne, input, other)


def lt(input: Tensor, other: Any) -> Tensor:
    """input < other."""
    return _compared(compare.lt, input, other)


def le(input: Tensor, other: Any) -> Tensor:
    """input <= other."""
    return _compared(compare.le, input, other)


def gt(input: Tensor, other: Any) -> Tensor:
    """input > other."""
    return _compared(compare.gt, input, other)


def ge(input: Tensor, other: Any) -> Tensor:
    """input >= other."""
    return _compared(compare.ge, input, other)


def _logical(fn: Callable[..., Any], input: Any, other: Any) -> Tensor:
    a = check_tensor(fn.__name__, input)
    return _broadcast(fn, a, check_tensor(fn.__name__, other, "other"))


def logical_and(input: Tensor, other: Tensor) -> Tensor:
    """Both are nonzero."""
    return _logical(compare.logical_and, input, other)


def logical_or(input: Tensor, other: Tensor) -> Tensor:
    """At least one is nonzero."""
    return _logical(compare.logical_or, input, other)


def logical_xor(input: Tensor, other: Tensor) -> Tensor:
    """Exactly one is nonzero."""
    return _logical(compare.logical_xor, input, other)


def logical_not(input: Tensor) -> Tensor:
    """input is zero."""
    return compare.logical_not(check_tensor("logical_not", input))


def _bits(fn: Callable[..., Any], input: Any, other: Any, allowed: str = "biu") -> Tensor:
    name = fn.__name__
    a, b = promoted(name, input, other)
    for x in (a, b):
        if isinstance(x, Tensor) and x.array.dtype.kind not in allowed:
            raise not_implemented(name, x)
    return _broadcast(fn, a, b)


def bitwise_and(input: Any, other: Any) -> Tensor:
    """The bits set in both; of bools, and."""
    return _bits(compare.bitwise_and, input, other)


def bitwise_or(input: Any, other: Any) -> Tensor:
    """The bits set in either; of bools, or."""
    return _bits(compare.bitwise_or, input, other)


def bitwise_xor(input: Any, other: Any) -> Tensor:
    """The bits set in one only; of bools, xor."""
    return _bits(compare.bitwise_xor, input, other)


def bitwise_not(input: Tensor) -> Tensor:
    """The bits inverted; of bools, not."""
    if is_floating(check_tensor("bitwise_not", input).array.dtype):
        raise not_implemented("bitwise_not", input)
    return compare.bitwise_not(input)


def bitwise_left_shift(input: Any, other: Any) -> Tensor:
    """input 2^other of integers."""
    return _bits(compare.bitwise_left_shift, input, other, "iu")


def bitwise_right_shift(input: Any, other: Any) -> Tensor:
    """floor(input / 2^other) of integers."""
    return _bits(compare.bitwise_right_shift, input, other, "iu")


def isnan(input: Tensor) -> Tensor:
    """input is NaN."""
    return compare.isnan(check_tensor("isnan", input))


def isinf(input: Tensor) -> Tensor:
    """input is inf or -inf."""
    return compare.isinf(check_tensor("isinf", input))


def isfinite(input: Tensor) -> Tensor:
    """input is neither NaN nor infinite."""
    return compare.isfinite(check_tensor("isfinite", input))


def isclose(
    input: Tensor, other: Tensor, rtol: float = 1e-05, atol: float = 1e-08, equal_nan: bool = False
) -> Tensor:
    """|input - other| <= atol + rtol |other|, for two tensors of one dtype."""
    a, b = check_tensor("isclose", input), check_tensor("isclose", other, "other")
    if a.dtype != b.dtype:
        raise RuntimeError(f"isclose: {a.dtype} did not match {b.dtype}; cast one with .to(dtype)")
    return _broadcast(compare.isclose, a, b, rtol=rtol, atol=atol, equal_nan=equal_nan)


def allclose(
    input: Tensor, other: Tensor, rtol: float = 1e-05, atol: float = 1e-08, equal_nan: bool = False
) -> bool:
    """Whether every element ``isclose``."""
    return bool(isclose(input, other, rtol, atol, equal_nan).array.all())


def equal(input: Tensor, other: Tensor) -> bool:
    """Whether two tensors have the same shape and elements."""
    a, b = check_tensor("equal", input), check_tensor("equal", other, "other")
    return a.array.shape == b.array.shape and bool(eq(a, b).array.all())


def isin(
    elements: Any, test_elements: Any, *, assume_unique: bool = False, invert: bool = False
) -> Tensor:
    """Whether each element occurs in ``test_elements``; one of the two may be a number."""
    del assume_unique  # only a hint about speed
    a, b = promoted("isin", elements, test_elements)
    for x in (elements, test_elements):
        if isinstance(x, Tensor) and x.array.dtype.kind == "b":
            raise RuntimeError("Unsupported input type encountered for isin(): Bool")
    if not isinstance(a, Tensor):
        a = Tensor._wrap(constant(np.asarray(a, b.array.dtype), b.array))
    if not isinstance(b, Tensor):
        b = Tensor._wrap(constant(np.asarray(b, a.array.dtype), a.array))
    return compare.isin(a, b, invert=invert)


not_equal, less, less_equal, greater, greater_equal = ne, lt, le, gt, ge
