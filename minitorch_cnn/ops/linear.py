"""The fully connected layer, and rows picked from a table."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import kernels
from ..kernels.backend import on_host
from ..kernels.half import is_half
from ..tensor import Array, op
from .basic import sum_along


@op(bfloat16="cuda")
def linear(x: Array, weight: Array, bias: Array | None = None, /) -> Any:
    """y = x W^T + b over the last axis.

    x (*, K), weight (M, K), bias (M) or None; y (*, M). One dtype for all. Cost: numel(x) M
    multiply-adds forward, twice that backward.
    """
    _check(x, weight, bias)
    M, K = weight.shape
    rows = math.prod(x.shape[:-1])
    flat = x.reshape(rows, K)
    y = kernels.gemm.matmul(flat, weight.T)
    if bias is not None:
        y += bias
    shape = x.shape

    def grad_x(gy: Array) -> Array:
        return kernels.gemm.matmul(gy.reshape(rows, M), weight).reshape(shape)

    def grad_weight(gy: Array) -> Array:
        return kernels.gemm.matmul(gy.reshape(rows, M).T, flat)

    def grad_bias(gy: Array) -> Array:
        return sum_along(gy.reshape(rows, M), (0,))

    return y.reshape(*shape[:-1], M), (grad_x, grad_weight, grad_bias)


def _check(x: Array, weight: Array, bias: Array | None) -> None:
    if weight.ndim != 2:
        raise RuntimeError(f"linear(): weight must be (out, in), got shape {list(weight.shape)}")
    M, K = weight.shape
    if x.ndim == 0:
        raise RuntimeError("linear(): input must have at least 1 dimension, got a 0-d tensor")
    if x.shape[-1] != K:
        rows, found = math.prod(x.shape[:-1]), x.shape[-1]
        raise RuntimeError(
            f"linear(): mat1 and mat2 shapes cannot be multiplied ({rows}x{found} and {K}x{M}):"
            f" the input [{rows} x {found}] has {found} features, the layer's weight"
            f" [{K} x {M}] takes {K}. Did you mean Linear({found}, {M})?"
            + (f" (The input's shape is {list(x.shape)}.)" if x.ndim != 2 else "")
        )
    if bias is not None and bias.shape != (M,):
        raise RuntimeError(
            f"linear(): bias of shape {list(bias.shape)} for a weight of shape"
            f" {list(weight.shape)}; expected [{M}]"
        )
    dtypes = [a.dtype for a in (x, weight, bias) if a is not None]
    if any(d != dtypes[0] for d in dtypes):
        names = ", ".join(d.name for d in dtypes)
        raise RuntimeError(
            f"linear(): mat1 and mat2 must have the same dtype, but got {names} (input, weight,"
            " bias): convert the input with .to(weight.dtype) or the layer with .to(input.dtype)"
        )


@op(bfloat16="all")
def embedding(weight: Array, /, *, indices: Array, padding_idx: int | None = None) -> Any:
    """y[...] = weight[indices[...]].

    weight (V, D), indices integers of any shape, y indices.shape + (D,). Row ``padding_idx`` gets
    no gradient. Repeated rows add their gradients up in the order of the indices.
    """
    V, D = weight.shape
    if indices.size and not 0 <= indices.min() <= indices.max() < V:
        raise IndexError(
            f"embedding(): index out of range: indices in [{indices.min()}, {indices.max()}] for a"
            f" table of {V} rows"
        )
    shape, element = weight.shape, weight.dtype

    def add_rows(gy: Array, indices: Array) -> Array:
        gw = np.zeros(shape, np.float32 if is_half(element) else element)
        np.add.at(gw, indices.ravel(), gy.reshape(indices.size, D).astype(gw.dtype, copy=False))
        return gw

    def grad_weight(gy: Array) -> Array:
        gw = on_host(add_rows, gy, indices)
        if padding_idx is not None:
            gw[padding_idx] = 0
        return gw

    return weight[indices], (grad_weight,)
