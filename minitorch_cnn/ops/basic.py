"""Arithmetic of two arrays, element by element with broadcasting, and what every op needs for it.

Operands have one dtype already (``functions.promotion``), or one is a Python number.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..tensor import Array, op

# Rows added one after the other before partial sums are used, so that the rounding error of a sum
# grows with this and not with the length of the axis.
_BLOCK = 128


def sum_along(x: Array, axes: tuple[int, ...], keepdims: bool = False) -> Array:
    """``x.sum(axes)`` with a rounding error that stays small for long axes.

    NumPy adds pairwise only along the axis that is contiguous in memory; every other long axis is
    cut into blocks here. float16 accumulates in float32.
    """
    if x.dtype.kind != "f":
        return x.sum(axes, keepdims=keepdims)
    if x.dtype.itemsize == 2:
        return sum_along(x.astype(np.float32), axes, keepdims).astype(x.dtype)
    wide = [a for a in axes if x.shape[a] > 2 * _BLOCK]
    if wide:
        strides = [abs(s) if n > 1 else x.nbytes + 1 for s, n in zip(x.strides, x.shape)]
        inner = strides.index(min(strides))
        for axis in wide:
            if axis != inner:
                return sum_along(_block_sums(x, axis), axes, keepdims)
    return x.sum(axes, keepdims=keepdims)


def _block_sums(x: Array, axis: int) -> Array:
    """Sums of ``_BLOCK`` neighbours along ``axis`` (and of what is left over)."""
    n = x.shape[axis]
    whole = n - n % _BLOCK
    head = x[(slice(None),) * axis + (slice(whole),)]
    shape = x.shape[:axis] + (whole // _BLOCK, _BLOCK) + x.shape[axis + 1 :]
    sums = head.reshape(shape).sum(axis + 1)
    if whole == n:
        return sums
    tail = x[(slice(None),) * axis + (slice(whole, n),)].sum(axis, keepdims=True)
    return np.concatenate([sums, tail], axis)


def sum_to(g: Array, shape: tuple[int, ...]) -> Array:
    """Undo broadcasting: add up ``g`` over the axes along which ``shape`` was repeated."""
    if g.shape == shape:
        return g
    lead = g.ndim - len(shape)
    axes = tuple(
        i for i, n in enumerate(g.shape) if i < lead or (shape[i - lead] == 1 and n != 1)
    )
    return sum_along(g, axes, keepdims=True).reshape(shape)


def shape_of(x: Any) -> tuple[int, ...]:
    """The shape of an array, () of a Python number."""
    return getattr(x, "shape", ())


@op
def cast(x: Array, /, *, dtype: np.dtype[Any]) -> Any:
    """y = x in another dtype (a copy). Floats to integers truncate; the gradient is cast back."""
    back = x.dtype
    y = x.astype(dtype)
    return y, (lambda gy: gy.astype(back),) if y.dtype.kind == "f" else ()


@op
def add(a: Array, b: Array, /) -> Any:
    """y = a + b."""
    a_shape, b_shape = shape_of(a), shape_of(b)
    return np.add(a, b), (lambda gy: sum_to(gy, a_shape), lambda gy: sum_to(gy, b_shape))


@op
def sub(a: Array, b: Array, /) -> Any:
    """y = a - b."""
    a_shape, b_shape = shape_of(a), shape_of(b)
    return np.subtract(a, b), (lambda gy: sum_to(gy, a_shape), lambda gy: -sum_to(gy, b_shape))


@op
def mul(a: Array, b: Array, /) -> Any:
    """y = a b."""
    a_shape, b_shape = shape_of(a), shape_of(b)
    return np.multiply(a, b), (
        lambda gy: sum_to(gy * b, a_shape),
        lambda gy: sum_to(gy * a, b_shape),
    )


@op
def div(a: Array, b: Array, /) -> Any:
    """y = a / b of floats; x / 0 is inf or nan."""
    a_shape, b_shape = shape_of(a), shape_of(b)
    y = np.true_divide(a, b)
    return y, (
        lambda gy: sum_to(gy / b, a_shape),
        lambda gy: sum_to(-gy * y / b, b_shape),
    )
