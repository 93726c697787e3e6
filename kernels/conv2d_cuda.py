"""Convolution on a GPU: which kernels of conv2d.cu and depthwise.cu run, and on how many slices.

The same functions as in ``conv2d.py``, which sends arrays on a GPU here. There are no columns in
memory and so no workspace, but for ``grad_weight``'s partial sums. float16 is stored as it is and
computed in float32. Integers, which nobody times, take the naive kernels.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np

from . import cuda_source
from .backend import Array, contiguous, empty
from .geometry import Pair, conv_size
from .launcher import cuda_kernel, launch

ONE, ZERO = (1, 1), (0, 0)
CONV2D = Path(__file__).with_name("conv2d.cu")
SLICE = 1024  # pixels at least that one slice of grad_weight adds up
TILES = 64  # blocks to aim at in grad_weight: what keeps a small GPU busy
MOST_BLOCKS = 65535  # along z


def forward(
    x: Array, weight: Array, stride: Pair = ONE, padding: Pair = ZERO, dilation: Pair = ONE,
    groups: int = 1, bias: Array | None = None,
) -> Array:  # fmt: skip
    """:func:`conv2d.forward` of arrays on a GPU."""
    F, CG = weight.shape[:2]
    size = conv_size(x.shape, weight.shape, stride, padding, dilation)
    y = empty((len(x), F, *size), x, op="conv2d")
    if y.size == 0 or CG == 0:
        y[...] = 0 if bias is None else bias[:, None, None]
        return y
    bias = None if bias is None else contiguous(bias)
    _run("forward", x, CG, groups, contiguous(x), contiguous(weight), bias, y,
         *stride, *padding, *dilation)  # fmt: skip
    return y


def grad_input(
    gy: Array, weight: Array, x_shape: tuple[int, ...], stride: Pair = ONE, padding: Pair = ZERO,
    dilation: Pair = ONE, groups: int = 1,
) -> Array:  # fmt: skip
    """:func:`conv2d.grad_input` of arrays on a GPU."""
    gx = empty(x_shape, gy, op="grad_input of conv2d")
    if gx.size == 0 or gy.size == 0:
        gx[...] = 0
        return gx
    _run("grad_input", gy, weight.shape[1], groups, contiguous(gy), contiguous(weight), gx,
         *stride, *padding, *dilation)  # fmt: skip
    return gx


def grad_weight(
    gy: Array, x: Array, weight_shape: tuple[int, ...], stride: Pair = ONE, padding: Pair = ZERO,
    dilation: Pair = ONE, groups: int = 1,
) -> Array:  # fmt: skip
    """:func:`conv2d.grad_weight` of arrays on a GPU."""
    gw = empty(weight_shape, x)
    if gw.size == 0 or gy.size == 0:
        gw[...] = 0
        return gw
    gy, x = contiguous(gy), contiguous(x)
    settings = (*stride, *padding, *dilation)
    if (weight_shape[1] == 1 and groups > 1) or x.dtype.kind != "f":
        _run("grad_weight", x, weight_shape[1], groups, gy, x, gw, *settings)
        return gw
    S = slices(gy.shape, weight_shape, groups, x.dtype)
    sums = np.promote_types(x.dtype, np.float32)  # of halves, as floats
    partial = gw[None]
    if S > 1 or sums != x.dtype:
        partial = empty((S, *weight_shape), x, sums, op="grad_weight of conv2d")
    launch("conv2d", "grad_weight", gy, x, partial, *settings, groups)
    if partial.dtype != gw.dtype or S > 1:
        launch("conv2d", "add_slices", partial, gw)
    return gw


def unfold(
    x: Array, col: Array, kernel: Pair, stride: Pair, padding: Pair, dilation: Pair
) -> None:
    """:func:`im2col.unfold` into col (N, C KH KW, OH, OW)."""
    if col.size:
        launch("im2col", "im2col", contiguous(x), col, *kernel, *stride, *padding, *dilation)


def fold(
    col: Array, x: Array, kernel: Pair, stride: Pair, padding: Pair, dilation: Pair
) -> None:
    """:func:`im2col.fold` of col (N, C KH KW, OH, OW)."""
    launch("im2col", "col2im", col, x, *kernel, *stride, *padding, *dilation)


def slices(
    gy_shape: tuple[int, ...], weight_shape: tuple[int, ...], groups: int, dtype: Any
) -> int:
    """How many partial sums ``grad_weight`` keeps: by shapes alone, so the bits are any GPU's."""
    N, F, OH, OW = gy_shape
    tile = cuda_kernel(CONV2D, "grad_weight", np.dtype(dtype).char)
    rows, columns = (
        cuda_source.constant(tile.source, tile.templates, name) for name in ("ROWS", "COLS")
    )
    K = math.prod(weight_shape[1:])
    tiles = math.ceil(K / columns) * math.ceil(F // groups / rows) * groups
    wanted = max(1, min(N * OH * OW // SLICE, TILES // tiles))
    return max(1, min(wanted, MOST_BLOCKS // groups))


def _run(name: str, like: Array, CG: int, groups: int, *args: Any) -> None:
    """Depthwise, naive for integers, or tiled."""
    if CG == 1 and groups > 1 and like.dtype.kind == "f":
        launch("depthwise", name, *args)
    else:
        launch("conv2d", name if like.dtype.kind == "f" else f"{name}_naive", *args, groups)
