"""Reductions: fewer elements come out than go in, over ``axes`` (counted from the front).

A 0-d array has no axes; ``keepdims`` leaves reduced axes with length 1.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..kernels.backend import on_host
from ..tensor import Array, op
from .basic import largest_along, sum_along
from .unary import sign_of

Axes = tuple[int, ...]


def kept_shape(shape: tuple[int, ...], axes: Axes) -> tuple[int, ...]:
    """The shape with length 1 on the reduced axes."""
    return tuple(1 if i in axes else n for i, n in enumerate(shape))


def count(shape: tuple[int, ...], axes: Axes) -> int:
    """How many elements are reduced to one."""
    return math.prod(shape[a] for a in axes)


def _wide(x: Array) -> Array:
    """float16 accumulates in float32."""
    return x.astype(np.float32) if x.dtype == np.float16 else x


@op
def sum(x: Array, /, *, axes: Axes, keepdims: bool = False) -> Any:
    """y = the sum; integers and bools in int64. Rounding errors grow like log n."""
    shape, kept = x.shape, kept_shape(x.shape, axes)
    if x.dtype.kind != "f":
        return x.sum(axes, dtype=np.int64, keepdims=keepdims), ()
    y = sum_along(x, axes, keepdims)
    return y, (lambda gy: np.broadcast_to(gy.reshape(kept), shape),)


@op
def nansum(x: Array, /, *, axes: Axes, keepdims: bool = False) -> Any:
    """y = the sum of the elements that are not NaN."""
    known, kept = ~np.isnan(x), kept_shape(x.shape, axes)
    y = sum_along(np.where(known, x, 0), axes, keepdims)
    return y, (lambda gy: gy.reshape(kept) * known,)


@op
def mean(x: Array, /, *, axes: Axes, keepdims: bool = False) -> Any:
    """y = the sum over the number of elements; NaN of none."""
    shape, kept, n = x.shape, kept_shape(x.shape, axes), count(x.shape, axes)
    y = (sum_along(_wide(x), axes, keepdims) / n).astype(x.dtype)
    return y, (lambda gy: np.broadcast_to((gy / n).reshape(kept), shape),)


def _variance(x: Array, axes: Axes, correction: float) -> tuple[Array, Array, float]:
    """The variance (keepdims), the deviations from the mean, and the divisor."""
    n = count(x.shape, axes)
    wide = _wide(x)
    deviation = wide - sum_along(wide, axes, True) / n
    divisor = max(n - correction, 0.0)
    squares = sum_along(deviation * deviation, axes, True)
    return squares / divisor, deviation, divisor


@op
def var(x: Array, /, *, axes: Axes, keepdims: bool = False, correction: float = 1) -> Any:
    """y = sum((x - mean)^2) / (n - correction), in two passes; NaN for n <= correction."""
    dtype, kept = x.dtype, kept_shape(x.shape, axes)
    y, deviation, divisor = _variance(x, axes, correction)

    def grad(gy: Array) -> Array:
        return (gy.reshape(kept) * (2 / np.float64(divisor)).astype(gy.dtype) * deviation).astype(
            dtype
        )

    return (y if keepdims else y.squeeze(axes)).astype(dtype), (grad,)


@op
def std(x: Array, /, *, axes: Axes, keepdims: bool = False, correction: float = 1) -> Any:
    """y = sqrt(var); where it is 0 the gradient is 0."""
    dtype, kept = x.dtype, kept_shape(x.shape, axes)
    y, deviation, divisor = _variance(x, axes, correction)
    y = np.sqrt(y)

    def grad(gy: Array) -> Array:
        slope = np.where(y == 0, 0, gy.reshape(kept) / (y * divisor))
        return (slope * deviation).astype(dtype)

    return (y if keepdims else y.squeeze(axes)).astype(dtype), (grad,)


@op
def prod(x: Array, /, *, axes: Axes, keepdims: bool = False) -> Any:
    """y = the product; integers and bools in int64."""
    if x.dtype.kind != "f":
        return x.prod(axes, dtype=np.int64, keepdims=keepdims), ()
    y = _wide(x).prod(axes, keepdims=keepdims).astype(x.dtype)
    kept = kept_shape(x.shape, axes)
    return y, (lambda gy: gy.reshape(kept) * _others(x, axes),)


def _others(x: Array, axes: Axes) -> Array:
    """For each element the product of the others: those before it times those after it."""
    rest = tuple(i for i in range(x.ndim) if i not in axes)
    order = rest + axes
    rows = x.transpose(order).reshape(tuple(x.shape[i] for i in rest) + (count(x.shape, axes),))
    one = np.ones_like(rows[..., :1])
    before = np.concatenate([one, rows[..., :-1]], -1).cumprod(-1)
    after = np.concatenate([one, rows[..., :0:-1]], -1).cumprod(-1)[..., ::-1]
    others = (before * after).reshape(tuple(x.shape[i] for i in order))
    back = sorted(range(len(order)), key=order.__getitem__)
    return others.transpose(back) if order else others


@op
def amax(x: Array, /, *, axes: Axes, keepdims: bool = False) -> Any:
    """y = the largest, NaN if one is; equal largest elements share the gradient evenly."""
    return _extreme(x, x.max(axes, keepdims=True), axes, keepdims)


@op
def amin(x: Array, /, *, axes: Axes, keepdims: bool = False) -> Any:
    """y = the smallest, NaN if one is; equal smallest elements share the gradient evenly."""
    return _extreme(x, x.min(axes, keepdims=True), axes, keepdims)


def _extreme(x: Array, y: Array, axes: Axes, keepdims: bool) -> Any:
    def grad(gy: Array) -> Array:
        winners = (x == y) | ((x != x) & (y != y))
        share = gy.reshape(y.shape) / winners.sum(axes, keepdims=True)
        return np.where(winners, share, 0).astype(x.dtype)

    return (y if keepdims else y.squeeze(axes)), (grad,)


@op
def logsumexp(x: Array, /, *, axes: Axes, keepdims: bool = False) -> Any:
    """y = ln sum e^x, without overflow; -inf of nothing. The gradient is gy e^(x - y)."""
    top = largest_along(x, axes)
    top = np.where(np.isfinite(top), top, 0).astype(x.dtype)
    y = np.log(sum_along(np.exp(x - top), axes, True)) + top
    return (y if keepdims else y.squeeze(axes)), (lambda gy: gy.reshape(y.shape) * np.exp(x - y),)


@op
def norm(x: Array, /, *, p: float, axes: Axes, keepdims: bool = False) -> Any:
    """y = (sum |x|^p)^(1/p); p = inf: max |x|, -inf: min |x|, 0: how many are nonzero.

    Where y = 0, and for p = 0, the gradient is 0.
    """
    dtype, x = x.dtype, _wide(x)
    size = np.abs(x)
    if math.isinf(p):
        y = size.max(axes, keepdims=True) if p > 0 else size.min(axes, keepdims=True)
    elif p == 0:
        y = sum_along((x != 0).astype(x.dtype), axes, True)
    elif p == 1:
        y = sum_along(size, axes, True)
    elif p == 2:
        y = np.sqrt(sum_along(x * x, axes, True))
    else:
        y = sum_along(size**p, axes, True) ** (1 / p)

    def grad(gy: Array) -> Array:
        gy = gy.reshape(y.shape)
        if p == 0:
            return np.zeros_like(x, dtype)
        if math.isinf(p):
            winners = (size == y) | (x != x)
            g = gy * sign_of(x) * winners / winners.sum(axes, keepdims=True)
        elif p == 1:
            g = gy * sign_of(x)
        elif p == 2:
            g = np.where(y == 0, 0, x * (gy / y))
        else:
            scaled = np.where(x == 0, 0, sign_of(x) * size ** (p - 1))
            g = np.where(y == 0, 0, scaled * (gy * y ** (1 - p)))
        return g.astype(dtype)

    return (y if keepdims else y.squeeze(axes)).astype(dtype), (grad,)


def _as_1d(x: Array) -> Array:
    return x.reshape(1) if x.ndim == 0 else x


@op
def cumsum(x: Array, /, *, axis: int) -> Any:
    """y_i = x_0 + ... + x_i along the axis, accumulated in float64; integers in int64."""
    shape = x.shape
    if x.dtype.kind != "f":
        return _as_1d(x).cumsum(axis, dtype=np.int64).reshape(shape), ()
    y = _as_1d(x).cumsum(axis, dtype=np.float64).astype(x.dtype).reshape(shape)
    return y, (lambda gy: _reverse_cumsum(_as_1d(gy), axis).astype(gy.dtype).reshape(shape),)


def _reverse_cumsum(g: Array, axis: int) -> Array:
    return np.flip(np.flip(g, axis).cumsum(axis, dtype=np.float64), axis)


@op
def cumprod(x: Array, /, *, axis: int) -> Any:
    """y_i = x_0 ... x_i along the axis, accumulated in float64; integers in int64."""
    shape = x.shape
    if x.dtype.kind != "f":
        return _as_1d(x).cumprod(axis, dtype=np.int64).reshape(shape), ()
    wide = _as_1d(x).astype(np.float64)
    y = wide.cumprod(axis)

    def grad(gy: Array) -> Array:
        # dL/dx_k = sum over i >= k of gy_i y_i / x_k; at the first zero y_i without it, and after
        # the first zero every y_i has it as a factor.
        gy = _as_1d(gy)
        zero = wide == 0
        first = zero & (zero.cumsum(axis) == 1)
        g = _reverse_cumsum(gy * y, axis) / np.where(zero, 1, wide)
        without = np.where(first, 1, wide).cumprod(axis)
        g = np.where(zero, 0, g) + np.where(first, _reverse_cumsum(gy * without, axis), 0)
        return g.astype(gy.dtype).reshape(shape)

    return y.astype(x.dtype).reshape(shape), (grad,)


@op
def all(x: Array, /, *, axes: Axes, keepdims: bool = False) -> Any:
    """y = no element is zero; true of none."""
    return x.all(axes, keepdims=keepdims), ()


@op
def any(x: Array, /, *, axes: Axes, keepdims: bool = False) -> Any:
    """y = some element is nonzero; false of none."""
    return x.any(axes, keepdims=keepdims), ()


@op
def count_nonzero(x: Array, /, *, axes: Axes) -> Any:
    """y = how many elements are nonzero."""
    return (x != 0).sum(axes, dtype=np.int64), ()


@op
def bincount(x: Array, weights: Array, /, *, minlength: int = 0) -> Any:
    """y_v = how often the integer v occurs in x, or the sum of the weights where it does."""
    if weights is not None and not isinstance(x, np.ndarray):  # its sums have no fixed order
        y = on_host(lambda x, weights: np.bincount(x, weights, minlength), x, weights)
    else:
        y = np.bincount(x, weights, minlength)
    if weights is None:
        return y.astype(np.int64), ()
    return y.astype(weights.dtype if weights.dtype == np.float32 else np.float64), ()


@op
def histc(x: Array, /, *, bins: int, low: float, high: float) -> Any:
    """y = how many elements fall into each of ``bins`` equal parts of [low, high]."""
    inside = x[(x >= low) & (x <= high)].astype(np.float64)
    position = np.floor((inside - low) * (bins / (high - low))).astype(np.int64)
    return np.bincount(np.minimum(position, bins - 1), None, bins).astype(x.dtype), ()
