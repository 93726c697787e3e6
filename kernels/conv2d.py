"""Convolution and its two gradients: what they compute, and who computes it.

    forward      y[n, f, oh, ow]  = bias[f] + sum over c, kh, kw of w[f, c, kh, kw] x[n, c, ...]
    grad_input   gx[n, c, h, w]   = sum over f, kh, kw of w[f, c, kh, kw] gy[n, f, ...]
    grad_weight  gw[f, c, kh, kw] = sum over n, oh, ow of gy[n, f, oh, ow] x[n, c, ...]

``algorithms.choose`` picks by shape among the modules of its table, each of which has these three
functions: direct loops (``depthwise``), a product of matrices per image (``pointwise``), the
columns written down (``im2col_gemm``) or not (``implicit_gemm``), and fewer multiplications
(``winograd``).
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable
from typing import Any

import numpy as np

from . import algorithms, autotune, conv2d_cuda, elementwise
from .algorithms import Problem
from .backend import Array, contiguous, empty
from .geometry import Pair, conv_size, pair
from .half import is_floating, is_half
from .im2col import col2im_numpy, windows

ONE, ZERO = (1, 1), (0, 0)
# Whose forward knows what to do with ``relu`` and ``kept``.
PREPARED = ("implicit_gemm", "winograd_conv")


def forward(
    x: Array, weight: Array, stride: Pair = ONE, padding: Pair = ZERO, dilation: Pair = ONE,
    groups: int = 1, bias: Array | None = None, algorithm: str = "auto", relu: bool = False,
    kept: dict[Any, Array] | None = None,
) -> Array:  # fmt: skip
    """y[n, f, oh, ow] = bias[f] + sum over c, kh, kw of
    weight[f, c, kh, kw] * x[n, g C/G + c, oh SH + kh DH - PH, ow SW + kw DW - PW], x = 0 outside;
    ``relu``: the larger of that and 0.

    x (N, C, H, W), weight (F, C/G, KH, KW), bias (F), y (N, F, OH, OW): float32 or float64; float16
    and bfloat16 are computed in float32. Filter f belongs to group g = f // (F/G). ``algorithm``:
    one of ``algorithms.NAMES`` that can do it. ``kept``: what algorithms make of the weight is
    looked up and left there, for as long as the caller passes it with the same weight; neither it
    nor ``relu`` speeds anything up on a GPU. Cost: numel(y) C/G KH KW multiply-adds.
    """
    fast = isinstance(x, np.ndarray) and x.dtype in (np.float32, np.float64)
    if relu and not (fast and x.size and weight.size):
        y = forward(x, weight, stride, padding, dilation, groups, bias, algorithm)
        y[y < 0] = 0
        return y
    if not isinstance(x, np.ndarray):
        return conv2d_cuda.forward(
            x, weight, stride, padding, dilation, groups, bias, algorithm
        )
    if is_half(x.dtype):
        bias = None if bias is None else bias.astype(np.float32)
        args = x.astype(np.float32), weight.astype(np.float32), stride, padding, dilation, groups
        return forward(*args, bias, algorithm).astype(x.dtype)
    size = conv_size(x.shape, weight.shape, stride, padding, dilation)
    y = empty((len(x), len(weight), *size), x, op="conv2d")
    if y.size == 0 or weight.shape[1] == 0:
        y[...] = 0 if bias is None else bias[:, None, None]
        return y
    if not is_floating(x.dtype):
        return _integers(x, weight, size, stride, padding, dilation, bias)
    bias = np.zeros(len(weight), x.dtype) if bias is None else contiguous(bias)
    problem = Problem(
        "forward", x.shape, weight.shape, size, x.itemsize, stride, padding, dilation, groups
    )
    _compute(
        problem, algorithm, contiguous(x), contiguous(weight), bias, y, stride, padding, dilation,
        relu=relu, kept=kept,
    )  # fmt: skip
    return y


def grad_input(
    gy: Array, weight: Array, x_shape: tuple[int, ...], stride: Pair = ONE, padding: Pair = ZERO,
    dilation: Pair = ONE, groups: int = 1, algorithm: str = "auto",
) -> Array:  # fmt: skip
    """gx[n, g C/G + c, h, w] = sum over f in group g and all kh, kw, oh, ow with
    oh SH + kh DH - PH = h and ow SW + kw DW - PW = w of weight[f, c, kh, kw] * gy[n, f, oh, ow]."""
    if not isinstance(gy, np.ndarray):
        return conv2d_cuda.grad_input(
            gy, weight, x_shape, stride, padding, dilation, groups, algorithm
        )
    if is_half(gy.dtype):
        wide = gy.astype(np.float32), weight.astype(np.float32)
        gx = grad_input(*wide, x_shape, stride, padding, dilation, groups, algorithm)
        return gx.astype(gy.dtype)
    gx = empty(x_shape, gy, op="grad_input of conv2d")
    if gx.size == 0 or gy.size == 0:
        gx[...] = 0
        return gx
    if not is_floating(gy.dtype):
        return _integers_back(gy, weight, gx, stride, padding, dilation)
    size = gy.shape[2:]
    problem = Problem(
        "grad_input", x_shape, weight.shape, size, gy.itemsize, stride, padding, dilation, groups
    )
    _compute(problem, algorithm, contiguous(gy), contiguous(weight), gx, stride, padding, dilation)
    return gx


def grad_weight(
    gy: Array, x: Array, weight_shape: tuple[int, ...], stride: Pair = ONE, padding: Pair = ZERO,
    dilation: Pair = ONE, groups: int = 1, algorithm: str = "auto",
) -> Array:  # fmt: skip
    """gw[f, c, kh, kw] = sum over n, oh, ow of
    gy[n, f, oh, ow] * x[n, g C/G + c, oh SH + kh DH - PH, ow SW + kw DW - PW]."""
    if not isinstance(gy, np.ndarray):
        return conv2d_cuda.grad_weight(
            gy, x, weight_shape, stride, padding, dilation, groups, algorithm
        )
    if is_half(x.dtype):
        wide = gy.astype(np.float32), x.astype(np.float32)
        gw = grad_weight(*wide, weight_shape, stride, padding, dilation, groups, algorithm)
        return gw.astype(x.dtype)
    gw = empty(weight_shape, x)
    if gw.size == 0 or gy.size == 0:
        gw[...] = 0
        return gw
    size = gy.shape[2:]
    problem = Problem(
        "grad_weight", x.shape, weight_shape, size, x.itemsize, stride, padding, dilation, groups
    )
    _compute(problem, algorithm, contiguous(gy), contiguous(x), gw, stride, padding, dilation)
    return gw


def _compute(
    problem: Problem, algorithm: str, *args: Any, relu: bool = False,
    kept: dict[Any, Array] | None = None,
) -> None:  # fmt: skip
    """Let the chosen algorithm fill y, gx or gw; its module has one function per direction."""

    def measure() -> None:
        autotune.measure(
            problem, algorithms.can(problem), lambda name: _compute(problem, name, *args)
        )

    name = algorithms.choose(problem, algorithm, measure).module
    compute = _function(name, problem.direction)
    if (relu or kept is not None) and name in PREPARED:
        compute(*args, relu, kept)
        return
    compute(*args)
    if relu:
        y = args[3]
        elementwise.apply(elementwise.relu, y, out=y)


@functools.cache
def _function(module: str, direction: str) -> Callable[..., None]:
    return getattr(importlib.import_module(f".{module}", __package__), direction)


def _integers(
    x: Array, weight: Array, size: Pair, S: Pair, P: Pair, D: Pair, bias: Array | None
) -> Array:
    """forward in exact integers, which nobody times: whole-array NumPy."""
    F, CG, KH, KW = weight.shape
    N, C = x.shape[:2]
    G = C // CG
    seen = windows(x, (KH, KW), size, S, P, D).reshape(N, G, CG * KH * KW, -1)
    y = weight.reshape(G, F // G, -1) @ seen
    y = y.reshape(N, F, *size)
    return y if bias is None else y + bias[:, None, None]


def _integers_back(gy: Array, weight: Array, gx: Array, S: Pair, P: Pair, D: Pair) -> Array:
    """grad_input in exact integers (what conv_transpose2d computes)."""
    F, CG, KH, KW = weight.shape
    N, C = gx.shape[:2]
    G = C // CG
    taps = weight.reshape(G, F // G, CG * KH * KW).swapaxes(1, 2)
    col = taps @ gy.reshape(N, G, F // G, -1)
    col = col.reshape(N, C * KH * KW, *gy.shape[2:])
    col2im_numpy(col, gx, 0, 0, (KH, KW), S, P, D)
    return gx


def problem_of(
    direction: str, x_shape: tuple[int, ...], weight_shape: tuple[int, ...], dtype: Any, *,
    stride: Any = 1, padding: Any = 0, dilation: Any = 1, groups: int = 1,
) -> Problem:  # fmt: skip
    """What the chooser of algorithms is asked, for settings as conv2d's."""
    if len(x_shape) == 3:
        x_shape = (1, *x_shape)
    kernel = weight_shape[2:]
    S, D = pair(stride, "stride", "conv2d"), pair(dilation, "dilation", "conv2d")
    if padding == "same":
        P: Pair = (D[0] * (kernel[0] - 1) // 2, D[1] * (kernel[1] - 1) // 2)
        size: Pair = x_shape[2], x_shape[3]
    else:
        P = ZERO if padding == "valid" else pair(padding, "padding", "conv2d", low=0)
        size = conv_size(x_shape, weight_shape, S, P, D)
    itemsize = np.dtype(dtype).itemsize
    return Problem(direction, x_shape, weight_shape, size, itemsize, S, P, D, groups)


def workspace_bytes(
    x_shape: tuple[int, ...], weight_shape: tuple[int, ...], dtype: Any, **settings: Any
) -> int:
    """Bytes that ``forward`` holds beside x, weight and y, for settings as conv2d's."""
    problem = problem_of("forward", x_shape, weight_shape, dtype, **settings)
    return algorithms.choose(problem).workspace
