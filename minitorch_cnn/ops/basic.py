"""Arithmetic of two arrays, element by element with broadcasting, and what every op needs for it.

Operands have one dtype already (``functions.promotion``), or one is a Python number.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import kernels
from ..dtypes import is_floating, is_half
from ..tensor import Array, op

# Rows added one after the other before partial sums are used, so that the rounding error of a sum
# grows with this and not with the length of the axis.
_BLOCK = 64
_SHORT_ROW = 4096  # bytes


def sum_along(x: Array, axes: tuple[int, ...], keepdims: bool = False) -> Array:
    """``x.sum(axes)`` with a rounding error that stays small for long axes.

    NumPy adds pairwise only along the axis that is contiguous in memory; every other long axis is
    cut into blocks here. float16 and bfloat16 accumulate in float32.
    """
    if not is_floating(x.dtype):
        return x.sum(axes, keepdims=keepdims)
    if not isinstance(x, np.ndarray) and not is_half(x.dtype):  # CuPy adds as a tree of threads
        return x.sum(axes, keepdims=keepdims)
    if is_half(x.dtype):
        return sum_along(x.astype(np.float32), axes, keepdims).astype(x.dtype)
    wide = [a for a in axes if x.shape[a] > 2 * _BLOCK]
    if wide:
        strides = [abs(s) if n > 1 else x.nbytes + 1 for s, n in zip(x.strides, x.shape)]
        inner = strides.index(min(strides))
        for axis in wide:
            if axis != inner:
                return sum_along(_block_sums(x, axis), axes, keepdims)
    return x.sum(axes, keepdims=keepdims)


def largest_along(x: Array, axes: tuple[int, ...]) -> Array:
    """The largest elements along the axes, which stay with length 1; -inf of none."""
    if x.size:
        return x.max(axes, keepdims=True)
    shape = tuple(1 if i in axes else n for i, n in enumerate(x.shape))
    return np.full_like(x, -np.inf, shape=shape)


def _block_sums(x: Array, axis: int) -> Array:
    """Sums of ``_BLOCK`` elements along ``axis`` each (and of what is left over).

    A block is a run of neighbours; of short rows it is every n-th instead, so that the innermost
    loop runs over many rows at once.
    """
    n = x.shape[axis]
    blocks = n // _BLOCK
    whole = blocks * _BLOCK
    before, after = x.shape[:axis], x.shape[axis + 1 :]
    head = x[(slice(None),) * axis + (slice(whole),)]
    if abs(x.strides[axis]) < _SHORT_ROW:
        sums = head.reshape(before + (_BLOCK, blocks) + after).sum(axis)
    else:
        sums = head.reshape(before + (blocks, _BLOCK) + after).sum(axis + 1)
    if whole == n:
        return sums
    tail = x[(slice(None),) * axis + (slice(whole, n),)].sum(axis, keepdims=True)
    return np.concatenate([sums, tail], axis)


def sum_to(g: Array, shape: tuple[int, ...]) -> Array:
    """Undo broadcasting: add up ``g`` over the axes along which ``shape`` was repeated."""
    if g.shape == shape:
        return g
    lead = g.ndim - len(shape)
    axes = tuple(i for i, n in enumerate(g.shape) if i < lead or (shape[i - lead] == 1 and n != 1))
    return sum_along(g, axes, keepdims=True).reshape(shape)


def shape_of(x: Any) -> tuple[int, ...]:
    """The shape of an array, () of a Python number."""
    return getattr(x, "shape", ())


@op(bfloat16="all")
def cast(x: Array, /, *, dtype: np.dtype[Any]) -> Any:
    """y = x in another dtype (a copy). Floats to integers truncate; the gradient is cast back."""
    back = x.dtype
    y = x.astype(dtype)
    return y, (lambda gy: gy.astype(back),) if is_floating(y.dtype) else ()


@op
def add(a: Array, b: Array, /) -> Any:
    """y = a + b."""
    a_shape, b_shape = shape_of(a), shape_of(b)
    return kernels.large.add(a, b), (lambda gy: sum_to(gy, a_shape), lambda gy: sum_to(gy, b_shape))


@op
def add_relu(a: Array, b: Array, /) -> Any:
    """max(a + b, 0) of arrays of one shape and dtype, without a derivative: for prediction."""
    return kernels.large.add_relu(a, b), ()


@op
def sub(a: Array, b: Array, /) -> Any:
    """y = a - b."""
    a_shape, b_shape = shape_of(a), shape_of(b)
    return np.subtract(a, b), (lambda gy: sum_to(gy, a_shape), lambda gy: -sum_to(gy, b_shape))


@op
def mul(a: Array, b: Array, /) -> Any:
    """y = a b."""
    a_shape, b_shape = shape_of(a), shape_of(b)
    return kernels.large.mul(a, b), (
        lambda gy: sum_to(kernels.large.mul(gy, b), a_shape),
        lambda gy: sum_to(kernels.large.mul(gy, a), b_shape),
    )


@op
def div(a: Array, b: Array, /) -> Any:
    """y = a / b of floats; x / 0 is inf or nan."""
    a_shape, b_shape = shape_of(a), shape_of(b)
    return np.true_divide(a, b), (
        lambda gy: sum_to(gy / b, a_shape),
        lambda gy: sum_to(-gy * (a / b / b), b_shape),
    )


@op
def div_rounded(a: Array, b: Array, /, *, rounding_mode: str) -> Any:
    """y = a / b rounded down ("floor") or toward zero ("trunc"): flat, so the gradient is zero."""
    if rounding_mode == "floor":
        y = np.floor_divide(a, b)
    elif is_floating(np.result_type(a, b)):
        y = np.trunc(np.true_divide(a, b))
    else:
        y = np.floor_divide(a, b)
        y = y + ((np.remainder(a, b) != 0) & (np.less(a, 0) != np.less(b, 0)))
    return y, _flat(a, b)


def _flat(*inputs: Any) -> tuple[Any, ...]:
    shapes = [shape_of(x) for x in inputs]
    return tuple(lambda gy, shape=shape: _zeros(gy, shape) for shape in shapes)


def _zeros(like: Array, shape: tuple[int, ...]) -> Array:
    return np.zeros_like(like, shape=shape)


@op
def remainder(a: Array, b: Array, /) -> Any:
    """y = a - floor(a / b) b: the sign is b's, as in Python."""
    a_shape, b_shape = shape_of(a), shape_of(b)
    return np.remainder(a, b), (
        lambda gy: sum_to(gy, a_shape),
        lambda gy: sum_to(-gy * np.floor_divide(a, b), b_shape),
    )


@op
def fmod(a: Array, b: Array, /) -> Any:
    """y = a - trunc(a / b) b: the sign is a's, as in C."""
    a_shape, b_shape = shape_of(a), shape_of(b)
    return np.fmod(a, b), (
        lambda gy: sum_to(gy, a_shape),
        lambda gy: sum_to(-gy * np.trunc(np.true_divide(a, b)), b_shape),
    )


@op
def pow(a: Array, b: Array, /) -> Any:
    """y = a^b; 0^0 is 1. dy/da is 0 for b = 0 and dy/db is 0 for a = 0, b >= 0."""
    a_shape, b_shape = shape_of(a), shape_of(b)
    y = _power(a, b)

    def grad_a(gy: Array) -> Array:
        if isinstance(b, int | float):
            return np.zeros_like(a) if b == 0 else gy * (b * _power(a, b - 1))
        return sum_to(np.where(b == 0, 0, gy * (b * _power(a, b - 1))), a_shape)

    def grad_b(gy: Array) -> Array:
        slope = y * np.log(a)
        return sum_to(gy * np.where(np.equal(a, 0) & (b >= 0), 0, slope), b_shape)

    return y, (grad_a, grad_b)


def _power(a: Any, b: Any) -> Any:
    """a^b; the usual constant exponents need no logarithm."""
    if isinstance(b, int | float):
        if b == 3:
            return a * a * a
        if b == -2:
            return 1 / (a * a)
        if b == -0.5:
            return 1 / np.sqrt(a)
        return a**b
    return np.power(a, b)


@op
def maximum(a: Array, b: Array, /) -> Any:
    """y = max(a, b), NaN if either is. Equal elements get half of the gradient each."""
    a_shape, b_shape = shape_of(a), shape_of(b)
    return np.maximum(a, b), (
        lambda gy: sum_to(_share(gy, a, b, np.less(a, b)), a_shape),
        lambda gy: sum_to(_share(gy, a, b, np.less(b, a)), b_shape),
    )


@op
def minimum(a: Array, b: Array, /) -> Any:
    """y = min(a, b), NaN if either is. Equal elements get half of the gradient each."""
    a_shape, b_shape = shape_of(a), shape_of(b)
    return np.minimum(a, b), (
        lambda gy: sum_to(_share(gy, a, b, np.greater(a, b)), a_shape),
        lambda gy: sum_to(_share(gy, a, b, np.greater(b, a)), b_shape),
    )


def _share(gy: Array, a: Array, b: Array, lost: Array) -> Array:
    return np.where(lost, 0, np.where(np.equal(a, b), gy / 2, gy))


@op
def fmax(a: Array, b: Array, /) -> Any:
    """y = max(a, b), or the other one where one is NaN. ``a`` gets the gradient of ties."""
    return np.fmax(a, b), _one_of(a, b, np.greater_equal(a, b) | np.isnan(b))


@op
def fmin(a: Array, b: Array, /) -> Any:
    """y = min(a, b), or the other one where one is NaN. ``a`` gets the gradient of ties."""
    return np.fmin(a, b), _one_of(a, b, np.less_equal(a, b) | np.isnan(b))


def _one_of(a: Array, b: Array, from_a: Array) -> tuple[Any, ...]:
    a_shape, b_shape = shape_of(a), shape_of(b)
    return (
        lambda gy: sum_to(np.where(from_a, gy, 0), a_shape),
        lambda gy: sum_to(np.where(from_a, 0, gy), b_shape),
    )


@op
def where(condition: Array, a: Array, b: Array, /) -> Any:
    """y = a where the condition holds, else b; the branch not taken gets gradient zero."""
    y = np.where(condition, a, b)
    return y, (None, *_one_of(a, b, condition))


@op
def clamp(x: Array, low: Array, high: Array, /) -> Any:
    """y = min(max(x, low), high); None is no bound. x at a bound still gets the gradient."""
    if is_floating(x.dtype):  # np.clip is several times faster with two bounds than with one
        y = np.clip(x, -np.inf if low is None else low, np.inf if high is None else high)
    else:
        y = np.clip(x, low, high)
    x_shape, low_shape, high_shape = x.shape, shape_of(low), shape_of(high)

    def inside() -> Array:
        above = True if low is None else np.greater_equal(x, low)
        return above if high is None else above & np.less_equal(x, high)

    def at_low() -> Array:
        below = np.less(x, low)
        return below if high is None else below & np.less(low, high)

    def at_high() -> Array:
        above = np.greater(x, high)
        return above if low is None else above | np.less(high, low)

    return y, (
        lambda gy: sum_to(np.where(inside(), gy, 0), x_shape),
        lambda gy: sum_to(np.where(at_low(), gy, 0), low_shape),
        lambda gy: sum_to(np.where(at_high(), gy, 0), high_shape),
    )


@op
def atan2(a: Array, b: Array, /) -> Any:
    """y = the angle of the point (b, a), in (-pi, pi]."""
    a_shape, b_shape = shape_of(a), shape_of(b)
    return np.arctan2(a, b), (
        lambda gy: sum_to(gy * (b / (a * a + b * b)), a_shape),
        lambda gy: sum_to(gy * (-a / (a * a + b * b)), b_shape),
    )


@op
def hypot(a: Array, b: Array, /) -> Any:
    """y = sqrt(a^2 + b^2) without overflow in between."""
    a_shape, b_shape = shape_of(a), shape_of(b)
    y = np.hypot(a, b)
    return y, (
        lambda gy: sum_to(gy * (a / y), a_shape),
        lambda gy: sum_to(gy * (b / y), b_shape),
    )


@op
def lerp(start: Array, end: Array, weight: Array, /) -> Any:
    """y = start + weight (end - start), computed from the nearer end."""
    shapes = [shape_of(x) for x in (start, end, weight)]
    step = end - start
    y = np.where(np.less(np.abs(weight), 0.5), start + weight * step, end - step * (1 - weight))
    return y, (
        lambda gy: sum_to(gy * (1 - weight), shapes[0]),
        lambda gy: sum_to(gy * weight, shapes[1]),
        lambda gy: sum_to(gy * step, shapes[2]),
    )
