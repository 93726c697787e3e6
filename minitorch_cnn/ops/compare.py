"""Comparison, logic and bits, element by element with broadcasting: no gradients here."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..dtypes import is_floating
from ..tensor import Array, op


@op
def eq(a: Array, b: Array, /) -> Any:
    """y = (a = b); NaN equals nothing."""
    return np.equal(a, b), ()


@op
def ne(a: Array, b: Array, /) -> Any:
    """y = not (a = b)."""
    return np.not_equal(a, b), ()


@op
def lt(a: Array, b: Array, /) -> Any:
    """y = (a < b)."""
    return np.less(a, b), ()


@op
def le(a: Array, b: Array, /) -> Any:
    """y = (a <= b)."""
    return np.less_equal(a, b), ()


@op
def gt(a: Array, b: Array, /) -> Any:
    """y = (a > b)."""
    return np.greater(a, b), ()


@op
def ge(a: Array, b: Array, /) -> Any:
    """y = (a >= b)."""
    return np.greater_equal(a, b), ()


@op
def logical_and(a: Array, b: Array, /) -> Any:
    """y = both are nonzero."""
    return np.logical_and(a, b), ()


@op
def logical_or(a: Array, b: Array, /) -> Any:
    """y = at least one is nonzero."""
    return np.logical_or(a, b), ()


@op
def logical_xor(a: Array, b: Array, /) -> Any:
    """y = exactly one is nonzero."""
    return np.logical_xor(a, b), ()


@op
def logical_not(x: Array, /) -> Any:
    """y = (x = 0)."""
    return np.logical_not(x), ()


@op
def bitwise_and(a: Array, b: Array, /) -> Any:
    """y = a & b of integers or bools."""
    return np.bitwise_and(a, b), ()


@op
def bitwise_or(a: Array, b: Array, /) -> Any:
    """y = a | b of integers or bools."""
    return np.bitwise_or(a, b), ()


@op
def bitwise_xor(a: Array, b: Array, /) -> Any:
    """y = a ^ b of integers or bools."""
    return np.bitwise_xor(a, b), ()


@op
def bitwise_not(x: Array, /) -> Any:
    """y = ~x: the complement of integers, the negation of bools."""
    return np.invert(x), ()


@op
def bitwise_left_shift(a: Array, b: Array, /) -> Any:
    """y = a 2^b of integers."""
    return np.left_shift(a, b), ()


@op
def bitwise_right_shift(a: Array, b: Array, /) -> Any:
    """y = floor(a / 2^b) of integers."""
    return np.right_shift(a, b), ()


@op
def isnan(x: Array, /) -> Any:
    """y = (x is NaN)."""
    return np.isnan(x), ()


@op
def isinf(x: Array, /) -> Any:
    """y = (x is inf or -inf)."""
    return np.isinf(x), ()


@op
def isfinite(x: Array, /) -> Any:
    """y = (x is neither NaN nor infinite)."""
    return np.isfinite(x), ()


@op
def isclose(a: Array, b: Array, /, *, rtol: float, atol: float, equal_nan: bool) -> Any:
    """y = |a - b| <= atol + rtol |b|, or a = b (infinities), or both NaN if ``equal_nan``."""
    close = np.equal(a, b)
    if is_floating(np.result_type(a, b)) or rtol or atol:
        distance = np.abs(np.subtract(a, b, dtype=np.float64))
        allowed = atol + np.abs(rtol * b.astype(np.float64))
        close = close | (np.isfinite(distance) & (distance <= allowed))
    if equal_nan:
        close = close | (np.isnan(a) & np.isnan(b))
    return close, ()


@op
def isin(elements: Array, test_elements: Array, /, *, invert: bool = False) -> Any:
    """y = each element occurs in ``test_elements``."""
    return np.isin(elements, test_elements, invert=invert), ()
