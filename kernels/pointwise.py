"""1x1 convolution: a product of matrices for each image, and nothing to move.

    y[n] = weight @ x[n]      weight (F, C), x[n] (C, H W), y[n] (F, H W)

x is read where it lies. Why such layers save work: a 5x5 convolution of C to F channels costs
25 C F multiplications per pixel; behind a 1x1 convolution to a few channels B, it is C B + 25 B F.
Source: M. Lin, Q. Chen, S. Yan, Network In Network, arXiv:1312.4400; C. Szegedy et al., Going
Deeper with Convolutions, arXiv:1409.4842.
"""

from __future__ import annotations

import numpy as np

from . import backend, im2col_gemm, implicit_gemm_weight
from .backend import Array
from .gemm import COLUMNS, IN_PLACE, Steps, gemm
from .geometry import Pair
from .microkernel import ROWS
from .tiles import views_of

FEW = 100  # pixels of an image below which several of them are packed together


def forward(
    x: Array, weight: Array, bias: Array, y: Array, stride: Pair, padding: Pair, dilation: Pair
) -> None:  # fmt: skip
    """y[n] = weight @ x[n] + bias, for each group of channels."""
    F, CG = weight.shape[:2]
    M = F // (x.shape[1] // CG)
    images = x.reshape(-1, CG, *x.shape[2:])
    out = y.reshape(len(images), M, *y.shape[2:])
    _product(images, weight, (M * CG, CG, 1), bias, out)


def grad_input(
    gy: Array, weight: Array, gx: Array, stride: Pair, padding: Pair, dilation: Pair
) -> None:
    """gx[n] = weight^T @ gy[n]."""
    F, CG = weight.shape[:2]
    M = F // (gx.shape[1] // CG)
    outputs = gy.reshape(-1, M, *gy.shape[2:])
    out = gx.reshape(len(outputs), CG, *gx.shape[2:])
    _product(outputs, weight, (M * CG, 1, CG), np.zeros(gx.shape[1], gx.dtype), out)


def grad_weight(
    gy: Array, x: Array, gw: Array, stride: Pair, padding: Pair, dilation: Pair
) -> None:
    """gw = the sum over n of gy[n] @ x[n]^T; of the two, the smaller one is packed."""
    F, C = gw.shape[:2]
    if x.shape[1] == C < F:
        here = np.zeros(1, np.int64)
        sums, cuts = implicit_gemm_weight.sum_of_products(x, gy, stride, here, here, 1)
        for left, tile in views_of(sums, 1, -(-F // ROWS) * ROWS, cuts):
            gw[:, left : left + tile.shape[2], 0, 0] = tile[0, :F, : C - left]
    else:
        implicit_gemm_weight.grad_weight(gy, x, gw, stride, padding, dilation)


def _product(x: Array, weight: Array, a_step: Steps, bias: Array, y: Array) -> None:
    """y[n] = a @ x[n] + bias; a is the weight, or its transpose."""
    N, C, H, W = x.shape
    a = weight.reshape(-1)
    if H * W < FEW or backend.cpu_backend == "numpy":
        one, zero = (1, 1), (0, 0)
        im2col_gemm.product(x, a, a_step, bias, y, one, one, zero, one)
    else:
        out = y.reshape(N, -1, 1, H * W)
        gemm(a, a_step, x.reshape(N, C, H * W), bias, out, C, IN_PLACE, (1, 1, COLUMNS))
