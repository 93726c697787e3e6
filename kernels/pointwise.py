"""1x1 convolution: a product of matrices for each image, and nothing to move.

    y[n] = weight @ x[n]      weight (F, C), x[n] (C, H W), y[n] (F, H W)

x is read where it lies; with a stride, the pixels that are seen are put together first. A small
image's pixels do not fill whole vectors (7x7 are three of 16 numbers and one more): the last of
all images are put together, in a product of their own. Why such layers save work: a 5x5
convolution of C to F channels costs 25 C F multiplications per pixel; behind a 1x1 convolution to a
few channels B, it is C B + 25 B F.
Source: M. Lin, Q. Chen, S. Yan, Network In Network, arXiv:1312.4400; C. Szegedy et al., Going
Deeper with Convolutions, arXiv:1409.4842.
"""

from __future__ import annotations

import math

import numpy as np

from . import backend, im2col_gemm, implicit_gemm_few, implicit_gemm_weight, shifted_rows
from .backend import Array, empty
from .gemm import COLUMNS, IN_PLACE, PANEL, WHOLE, Steps, gemm
from .geometry import Pair
from .jit import kernel, prange, uint
from .microkernel import VECTOR_BYTES

ONE, ZERO = (1, 1), (0, 0)
WASTE = 0.04  # of an image's pixels, beyond which a vector that is not full is one too many
NARROW = 40  # channels up to which packing gy would take longer than the sums of grad_weight


def forward(
    x: Array, weight: Array, bias: Array, y: Array, stride: Pair, padding: Pair, dilation: Pair
) -> None:  # fmt: skip
    """y[n] = weight @ x[n] + bias, for each group of channels."""
    F, CG = weight.shape[:2]
    M = F // (x.shape[1] // CG)
    x = _seen(x, y.shape, stride)
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
    seen = gx if stride == ONE else empty((*gx.shape[:2], *gy.shape[2:]), gx)
    out = seen.reshape(len(outputs), CG, *gy.shape[2:])
    _product(outputs, weight, (M * CG, 1, CG), np.zeros(gx.shape[1], gx.dtype), out)
    if stride != ONE:
        spread(_planes(seen), _planes(gx), *stride)


def grad_weight(
    gy: Array, x: Array, gw: Array, stride: Pair, padding: Pair, dilation: Pair
) -> None:
    """gw = the sum over n of gy[n] @ x[n]^T; of the two, the smaller one is packed, or none."""
    F, C = gw.shape[:2]
    pixels = gy.shape[2] * gy.shape[3]
    alone = x.shape[1] == C and backend.cpu_backend != "numpy"
    if alone and stride != ONE and implicit_gemm_few.pays(C, F, x.itemsize):
        implicit_gemm_weight.grad_weight(gy, x, gw, stride, ZERO, ONE)
        return
    x = _seen(x, gy.shape, stride)
    if alone and max(C, F) <= NARROW and pixels % shifted_rows.lanes(x.itemsize) == 0:
        outputs, images = (a.reshape(*a.shape[:2], 1, pixels) for a in (gy, x))
        shifted_rows.grad_weight(outputs, images, gw, ONE, ZERO, ONE)
    elif x.shape[1] == C < F:
        here = np.zeros(1, np.int64)
        sums, cuts = implicit_gemm_weight.sum_of_products(x, gy, ONE, here, here, 1)
        implicit_gemm_weight.join_tiles(sums, gw.reshape(F, C), cuts)
    else:
        implicit_gemm_weight.grad_weight(gy, x, gw, ONE, ZERO, ONE)


def _product(x: Array, weight: Array, a_step: Steps, bias: Array, y: Array) -> None:
    """y[n] = a @ x[n] + bias; a is the weight, or its transpose."""
    N, C, H, W = x.shape
    a, pixels = weight.reshape(-1), H * W
    width, ends = _cut(pixels, N if bias.size == y.shape[1] else 1, x.itemsize)
    if width == 0 or backend.cpu_backend == "numpy":
        im2col_gemm.product(x, a, a_step, bias, y, ONE, ONE, ZERO, ONE)
        return
    x, out = x.reshape(N, C, pixels), y.reshape(N, -1, 1, pixels)
    if not ends:
        gemm(a, a_step, x, bias, out, C, IN_PLACE, (1, 1, COLUMNS))
        return
    gemm(a, a_step, x, bias, out, C, WHOLE, (1, 1, width))
    images = PANEL // ends  # at a time
    last = pixels // width  # the number of an image's narrow panel
    side_by_side = empty((1, C, min(N, images) * ends), x)
    for n in range(0, N, images):
        some = x[n : n + images]
        put_together(some, side_by_side, pixels - ends)
        gemm(a, a_step, side_by_side, bias, out[n : n + images], C, last, (images, 1, width))


def _cut(pixels: int, N: int, itemsize: int) -> tuple[int, int]:
    """How many columns a panel has in place (0: packed ones are better), and how many pixels of
    each of N images are left for a product of their own.

    None are left unless a vector for them would be mostly empty.
    """
    lanes = VECTOR_BYTES // itemsize
    ends = pixels % lanes
    whole = pixels - ends
    if whole == 0:
        return 0, 0
    panels = -(-whole // COLUMNS)
    if N == 1 or ends == 0 or lanes - ends < WASTE * pixels or whole % (panels * lanes):
        return COLUMNS, 0
    return whole // panels, ends


def workspace_bytes(N: int, CG: int, groups: int, size: Pair, stride: Pair, itemsize: int) -> int:
    """Bytes of what ``forward`` puts together: pixels seen through a stride, and the last ones."""
    pixels, C = math.prod(size), CG * groups
    seen = N * C * pixels * itemsize if stride != ONE else 0
    width, ends = _cut(pixels, N if groups == 1 else 1, itemsize)
    if width == 0:
        return seen + im2col_gemm.workspace_bytes(N * groups, CG, size, itemsize, groups == 1)
    return seen + (C * min(N, PANEL // ends) * ends * itemsize if ends else 0)


def _put_together_numpy(x: Array, to: Array, first: int) -> None:
    seen = x[:, :, first:].swapaxes(0, 1)
    to[0, :, : len(x) * seen.shape[2]] = seen.reshape(len(seen), -1)


@kernel(numpy=_put_together_numpy)
def put_together(x: Array, to: Array, first: int) -> None:
    """to[0, c, n J + j] = x[n, c, first + j], x (N, C, first + J)."""
    N, C, pixels = x.shape
    J, row = pixels - first, to.shape[2]
    xf, tf = x.reshape(x.size), to.reshape(to.size)
    for c in prange(C):
        for n in range(N):
            for j in range(uint(J)):
                tf[uint(c * row + n * J) + j] = xf[uint((n * C + c) * pixels + first) + j]


def _seen(x: Array, y_shape: tuple[int, ...], stride: Pair) -> Array:
    """x (N, C, H, W) at every SH-th row and SW-th column: (N, C, OH, OW)."""
    if stride == ONE:
        return x
    seen = empty((*x.shape[:2], *y_shape[2:]), x, op="conv2d")
    take(_planes(x), _planes(seen), *stride)
    return seen


def _planes(x: Array) -> Array:
    return x.reshape(-1, *x.shape[2:])


def _take_numpy(x: Array, seen: Array, SH: int, SW: int) -> None:
    seen[...] = x[:, ::SH, ::SW]


@kernel(numpy=_take_numpy)
def take(x: Array, seen: Array, SH: int, SW: int) -> None:
    """seen[n, oh, ow] = x[n, oh SH, ow SW]."""
    N, OH, OW = seen.shape
    for n in prange(N):
        for oh in range(OH):
            for ow in range(OW):
                seen[n, oh, uint(ow)] = x[n, oh * SH, uint(ow * SW)]


def _spread_numpy(seen: Array, x: Array, SH: int, SW: int) -> None:
    x[...] = 0
    x[:, ::SH, ::SW] = seen


@kernel(numpy=_spread_numpy)
def spread(seen: Array, x: Array, SH: int, SW: int) -> None:
    """x[n, oh SH, ow SW] = seen[n, oh, ow], 0 elsewhere."""
    N, H, W = x.shape
    OH, OW = seen.shape[1:]
    zero = x.dtype.type(0)
    for n in prange(N):
        for h in range(H):
            for w in range(W):
                x[n, h, uint(w)] = zero
        for oh in range(OH):
            for ow in range(OW):
                x[n, oh * SH, uint(ow * SW)] = seen[n, oh, uint(ow)]
