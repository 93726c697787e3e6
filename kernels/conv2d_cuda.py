"""Convolution on a GPU: the same functions as in ``conv2d.py``, which sends arrays on a GPU here.

``algorithms.GPU_TABLE`` chooses among the kernels of conv2d.cu, conv2d_wmma.cu (tensor cores),
depthwise.cu and winograd.cu (``winograd_cuda``). There are no columns in memory and so no
workspace, but for Winograd's, and for ``grad_weight``'s partial sums. float16 and bfloat16 are
stored as they are, and their sums are float32. Integers, which nobody times, take the naive
kernels.
"""

from __future__ import annotations

import functools
import math
from pathlib import Path
from typing import Any

import numpy as np

from . import algorithms, cuda_source, winograd_cuda
from .algorithms import Problem
from .backend import Array, contiguous, empty
from .geometry import Pair, conv_size
from .half import is_floating
from .launcher import cuda_kernel, has_tensor_cores, launch

ONE, ZERO = (1, 1), (0, 0)
CONV2D = Path(__file__).with_name("conv2d.cu")
SLICE = 1024  # pixels at least that one slice of grad_weight adds up
TILES = 64  # blocks to aim at in grad_weight: what keeps a small GPU busy
MOST_BLOCKS = 65535  # along z
TENSOR_TILE = 64, 64  # rows and columns of a block's part, of tensor_tile.cuh


def forward(
    x: Array, weight: Array, stride: Pair = ONE, padding: Pair = ZERO, dilation: Pair = ONE,
    groups: int = 1, bias: Array | None = None, algorithm: str = "auto",
) -> Array:  # fmt: skip
    """:func:`conv2d.forward` of arrays on a GPU."""
    size = conv_size(x.shape, weight.shape, stride, padding, dilation)
    y = empty((len(x), len(weight), *size), x, op="conv2d")
    if y.size == 0 or weight.shape[1] == 0:
        y[...] = 0 if bias is None else bias[:, None, None]
        return y
    arrays = contiguous(x), contiguous(weight), None if bias is None else contiguous(bias), y
    settings = stride, padding, dilation, groups
    module = _module("forward", x, x.shape, weight.shape, size, settings, algorithm)
    if module == "winograd_cuda":
        winograd_cuda.forward(*arrays, padding)
    else:
        _launch(module, "forward", arrays, settings)
    return y


def grad_input(
    gy: Array, weight: Array, x_shape: tuple[int, ...], stride: Pair = ONE, padding: Pair = ZERO,
    dilation: Pair = ONE, groups: int = 1, algorithm: str = "auto",
) -> Array:  # fmt: skip
    """:func:`conv2d.grad_input` of arrays on a GPU."""
    gx = empty(x_shape, gy, op="grad_input of conv2d")
    if gx.size == 0 or gy.size == 0:
        gx[...] = 0
        return gx
    arrays = contiguous(gy), contiguous(weight), gx
    settings = stride, padding, dilation, groups
    size = gy.shape[2:]
    module = _module("grad_input", gy, x_shape, weight.shape, size, settings, algorithm)
    if module == "winograd_cuda":
        winograd_cuda.grad_input(*arrays, padding)
    else:
        _launch(module, "grad_input", arrays, settings)
    return gx


def grad_weight(
    gy: Array, x: Array, weight_shape: tuple[int, ...], stride: Pair = ONE, padding: Pair = ZERO,
    dilation: Pair = ONE, groups: int = 1, algorithm: str = "auto",
) -> Array:  # fmt: skip
    """:func:`conv2d.grad_weight` of arrays on a GPU."""
    gw = empty(weight_shape, x)
    if gw.size == 0 or gy.size == 0:
        gw[...] = 0
        return gw
    gy, x = contiguous(gy), contiguous(x)
    settings = stride, padding, dilation, groups
    size = gy.shape[2:]
    module = _module("grad_weight", x, x.shape, weight_shape, size, settings, algorithm)
    if module == "winograd_cuda":
        winograd_cuda.grad_weight(gy, x, gw, padding)
        return gw
    if module not in ("conv2d", "conv2d_wmma"):
        _launch(module, "grad_weight", (gy, x, gw), settings)
        return gw
    S = slices(gy.shape, weight_shape, groups, x.dtype, module)
    sums = np.promote_types(x.dtype, np.float32)  # of halves, as floats
    partial = gw[None]
    if S > 1 or sums != x.dtype:
        partial = empty((S, *weight_shape), x, sums, op="grad_weight of conv2d")
    _launch(module, "grad_weight", (gy, x, partial), settings)
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
    gy_shape: tuple[int, ...], weight_shape: tuple[int, ...], groups: int, dtype: Any,
    module: str = "conv2d",
) -> int:  # fmt: skip
    """How many partial sums ``grad_weight`` keeps: by shapes alone, so the bits are any GPU's."""
    N, F, OH, OW = gy_shape
    rows, columns = TENSOR_TILE if module == "conv2d_wmma" else _tile(np.dtype(dtype).char)
    K = math.prod(weight_shape[1:])
    tiles = math.ceil(K / columns) * math.ceil(F // groups / rows) * groups
    wanted = max(1, min(N * OH * OW // SLICE, TILES // tiles))
    return max(1, min(wanted, MOST_BLOCKS // groups))


@functools.cache
def _tile(code: str) -> tuple[int, int]:
    """Rows and columns of a block's part, of tile.cuh."""
    kernel = cuda_kernel(CONV2D, "grad_weight", code)
    rows, columns = (
        cuda_source.constant(kernel.source, kernel.templates, name) for name in ("ROWS", "COLS")
    )
    return rows, columns


def workspace_bytes(p: Problem, algorithm: str) -> int:
    """Bytes beside input, weight and output."""
    if algorithm == "winograd":
        return winograd_cuda.workspace_bytes(p)
    if algorithm in ("implicit_gemm", "tensor_cores") and p.direction == "grad_weight":
        module = "conv2d" if algorithm == "implicit_gemm" else "conv2d_wmma"
        gy_shape = p.x_shape[0], p.weight_shape[0], *p.size
        S = slices(gy_shape, p.weight_shape, p.groups, f"f{p.itemsize}", module)
        if S > 1 or p.itemsize == 2:
            return S * math.prod(p.weight_shape) * max(4, p.itemsize)
    return 0


def _module(
    direction: str, like: Array, x_shape: tuple[int, ...], weight_shape: tuple[int, ...],
    size: Pair, settings: tuple[Pair, Pair, Pair, int], algorithm: str,
) -> str:  # fmt: skip
    """Who computes it; "" of integers."""
    if not is_floating(like.dtype):
        return ""
    problem = Problem(
        direction, x_shape, weight_shape, size, like.itemsize, *settings, True,
        like.itemsize == 2 and has_tensor_cores(like),
    )  # fmt: skip
    return algorithms.choose(problem, algorithm).module


def _launch(
    module: str, direction: str, arrays: tuple[Array, ...], settings: tuple[Pair, Pair, Pair, int]
) -> None:
    """Run a kernel whose arguments are these arrays and the settings as numbers."""
    stride, padding, dilation, groups = settings
    numbers = *stride, *padding, *dilation
    if module == "depthwise":
        launch(module, direction, *arrays, *numbers)
    else:
        launch(module or "conv2d", direction if module else f"{direction}_naive",
               *arrays, *numbers, groups)  # fmt: skip
