"""Functions of one array, element by element. Inputs are floats (``functions`` casts integers)."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import kernels
from ..tensor import Array, op


def _flat(gy: Array) -> Array:
    """The gradient of a step function."""
    return np.zeros_like(gy)


def sign_of(x: Array) -> Array:
    """-1, 0 or 1 in x's dtype; 0 for NaN."""
    return np.where(np.isnan(x), 0, np.sign(x)).astype(x.dtype)


@op
def neg(x: Array, /) -> Any:
    """y = -x; unsigned integers wrap around."""
    return np.negative(x), (lambda gy: -gy,)


@op
def abs(x: Array, /) -> Any:
    """y = |x|; the gradient at 0 is 0."""
    return np.abs(x), (lambda gy: gy * sign_of(x),)


@op
def square(x: Array, /) -> Any:
    """y = x^2."""
    return np.square(x), (lambda gy: gy * (x + x),)


@op
def sqrt(x: Array, /) -> Any:
    """y = sqrt(x); NaN below 0, and the slope at 0 is inf."""
    y = np.sqrt(x)
    return y, (lambda gy: gy / (y + y),)


@op
def rsqrt(x: Array, /) -> Any:
    """y = 1 / sqrt(x)."""
    y = 1 / np.sqrt(x)
    return y, (lambda gy: gy * (-0.5 * y * y * y),)


@op
def reciprocal(x: Array, /) -> Any:
    """y = 1 / x."""
    y = 1 / x
    return y, (lambda gy: -gy * y * y,)


@op
def exp(x: Array, /) -> Any:
    """y = e^x."""
    y = np.exp(x)
    return y, (lambda gy: gy * y,)


@op
def exp2(x: Array, /) -> Any:
    """y = 2^x."""
    y = np.exp2(x)
    return y, (lambda gy: gy * y * math.log(2),)


@op
def expm1(x: Array, /) -> Any:
    """y = e^x - 1, exact near 0."""
    y = np.expm1(x)
    return y, (lambda gy: gy * (y + 1),)


@op
def log(x: Array, /) -> Any:
    """y = ln x; -inf at 0, NaN below."""
    return np.log(x), (lambda gy: gy / x,)


@op
def log2(x: Array, /) -> Any:
    """y = log2 x."""
    return np.log2(x), (lambda gy: gy / (x * math.log(2)),)


@op
def log10(x: Array, /) -> Any:
    """y = log10 x."""
    return np.log10(x), (lambda gy: gy / (x * math.log(10)),)


@op
def log1p(x: Array, /) -> Any:
    """y = ln(1 + x), exact near 0."""
    return np.log1p(x), (lambda gy: gy / (x + 1),)


@op
def sin(x: Array, /) -> Any:
    """y = sin x (radians)."""
    return np.sin(x), (lambda gy: gy * np.cos(x),)


@op
def cos(x: Array, /) -> Any:
    """y = cos x (radians)."""
    return np.cos(x), (lambda gy: -gy * np.sin(x),)


@op
def tan(x: Array, /) -> Any:
    """y = tan x (radians)."""
    y = np.tan(x)
    return y, (lambda gy: gy * (1 + y * y),)


@op
def asin(x: Array, /) -> Any:
    """y = arcsin x; NaN outside [-1, 1]."""
    return np.arcsin(x), (lambda gy: gy / np.sqrt(1 - x * x),)


@op
def acos(x: Array, /) -> Any:
    """y = arccos x; NaN outside [-1, 1]."""
    return np.arccos(x), (lambda gy: -gy / np.sqrt(1 - x * x),)


@op
def atan(x: Array, /) -> Any:
    """y = arctan x, in (-pi/2, pi/2)."""
    return np.arctan(x), (lambda gy: gy / (1 + x * x),)


@op
def sinh(x: Array, /) -> Any:
    """y = sinh x."""
    return np.sinh(x), (lambda gy: gy * np.cosh(x),)


@op
def cosh(x: Array, /) -> Any:
    """y = cosh x."""
    return np.cosh(x), (lambda gy: gy * np.sinh(x),)


@op
def asinh(x: Array, /) -> Any:
    """y = arsinh x."""
    return np.arcsinh(x), (lambda gy: gy / np.sqrt(x * x + 1),)


@op
def acosh(x: Array, /) -> Any:
    """y = arcosh x; NaN below 1."""
    return np.arccosh(x), (lambda gy: gy / np.sqrt(x * x - 1),)


@op
def atanh(x: Array, /) -> Any:
    """y = artanh x; NaN outside [-1, 1]."""
    return np.arctanh(x), (lambda gy: gy / (1 - x * x),)


@op
def erf(x: Array, /) -> Any:
    """y = 2 / sqrt(pi) times the integral of e^(-t^2) from 0 to x."""
    apply, k = kernels.elementwise.apply, kernels.elementwise
    return apply(k.erf, x), (lambda gy: apply(k.erf_grad, x, gy),)


@op
def sign(x: Array, /) -> Any:
    """y = -1, 0 or 1; 0 for NaN."""
    return sign_of(x), (_flat,)


@op
def floor(x: Array, /) -> Any:
    """y = the largest integer <= x."""
    return np.floor(x), (_flat,)


@op
def ceil(x: Array, /) -> Any:
    """y = the smallest integer >= x."""
    return np.ceil(x), (_flat,)


@op
def trunc(x: Array, /) -> Any:
    """y = x without its fraction."""
    return np.trunc(x), (_flat,)


@op
def round(x: Array, /, *, decimals: int = 0) -> Any:
    """y = x rounded to ``decimals`` places, halves to even."""
    return np.round(x, decimals), (_flat,)


@op
def frac(x: Array, /) -> Any:
    """y = x - trunc(x)."""
    return x - np.trunc(x), (lambda gy: gy,)


@op
def nan_to_num(x: Array, /, *, nan: float, posinf: float, neginf: float) -> Any:
    """y = x with NaN and the infinities replaced; those elements get no gradient."""
    y = np.where(np.isnan(x), nan, np.where(x == np.inf, posinf, np.where(x == -np.inf, neginf, x)))
    return y.astype(x.dtype), (lambda gy: np.where(np.isfinite(x), gy, 0),)
