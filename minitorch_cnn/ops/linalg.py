"""Products of matrices. Shapes and dtypes are checked in ``functions.linalg``."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import kernels
from ..tensor import Array, op
from .basic import sum_to


def _rows(x: Array) -> Array:
    return x.reshape(math.prod(x.shape[:-1]), x.shape[-1])


def _transposed(x: Array) -> Array:
    return x.swapaxes(-1, -2)


@op(bfloat16="cuda")
def matmul(a: Array, b: Array, /) -> Any:
    """y = a b over the last two axes, the axes before them broadcast; a 1-d ``a`` is a row and a
    1-d ``b`` a column. 2 M K N operations a matrix."""
    left = a[None, :] if a.ndim == 1 else a
    right = b[:, None] if b.ndim == 1 else b
    product = kernels.gemm.matmul
    y = product(left, right)
    full = y.shape
    if b.ndim == 1:
        y = y[..., 0]
    if a.ndim == 1:
        y = y[..., 0] if b.ndim == 1 else y[..., 0, :]
    a_shape, b_shape = a.shape, b.shape

    def grad_a(gy: Array) -> Array:
        g = product(gy.reshape(full), _transposed(right))
        return sum_to(g, left.shape).reshape(a_shape)

    def grad_b(gy: Array) -> Array:
        gy = gy.reshape(full)
        if right.ndim == 2 and left.ndim > 2:
            return product(_rows(left).T, _rows(gy)).reshape(b_shape)
        return sum_to(product(_transposed(left), gy), right.shape).reshape(b_shape)

    return y, (grad_a, grad_b)


@op
def einsum(*arrays: Array, inputs: tuple[str, ...], output: str) -> Any:
    """y = the sum over all indices that are not in ``output`` of the product of the arrays, indexed
    by the letters in ``inputs``. Axes of length 1 broadcast; a repeated letter is a diagonal."""
    if arrays[0].dtype == np.float16:
        arrays = tuple(x.astype(np.float32) for x in arrays)
        y = _contract(inputs, output, arrays).astype(np.float16)
    else:
        y = _contract(inputs, output, arrays)

    def gradient(i: int) -> Any:
        others, shape = arrays[:i] + arrays[i + 1 :], arrays[i].shape

        def grad(gy: Array) -> Array:
            sources = (output, *inputs[:i], *inputs[i + 1 :])
            return _operand_gradient(inputs[i], shape, sources, (gy, *others)).astype(gy.dtype)

        return grad

    return y, tuple(gradient(i) for i in range(len(arrays)))


def _contract(inputs: tuple[str, ...], output: str, arrays: tuple[Array, ...]) -> Array:
    y = np.einsum(f"{','.join(inputs)}->{output}", *arrays, optimize=len(arrays) > 1)
    return y.copy() if len(arrays) == 1 else y  # of one array it is a view


def _operand_gradient(
    letters: str, shape: tuple[int, ...], sources: tuple[str, ...], arrays: tuple[Array, ...]
) -> Array:
    """The same contraction with gy in the operand's place: indices that occur nowhere else repeat
    it, and a diagonal is all that has a gradient."""
    distinct = "".join(dict.fromkeys(letters))
    known = "".join(c for c in distinct if any(c in s for s in sources))
    g = _contract(sources, known, arrays)
    g = g.reshape([g.shape[known.index(c)] if c in known else 1 for c in distinct])
    lengths = [shape[letters.index(c)] for c in distinct]
    axes = tuple(i for i, (m, n) in enumerate(zip(g.shape, lengths)) if n == 1 and m > 1)
    g = np.broadcast_to(g.sum(axes, keepdims=True), lengths)
    if len(distinct) == len(letters):
        return g
    full = np.zeros_like(g, shape=shape)
    np.einsum(f"{letters}->{distinct}", full)[...] = g
    return full
