"""Products of matrices on a GPU by our own kernels: the host side of gemm.cu and gemm_wmma.cu.

The latter is for float16 and bfloat16 on tensor cores: half the memory of float32, no copies in
float32, and sums in float all the same.
"""

from __future__ import annotations

import math

import numpy as np

from .backend import Array, array_module, contiguous, empty
from .half import is_half
from .launcher import has_tensor_cores, launch

MOST_BLOCKS = 65535  # along y and z
LARGEST = 2**31 - 1  # offsets inside a matrix have 32 bits


def can(a: Array, b: Array) -> bool:
    """Of 2 bytes: whether there are tensor cores, and the matrices are in a kernel's reach."""
    (M, K), N = a.shape[-2:], b.shape[-1]
    batch = math.prod(np.broadcast_shapes(a.shape[:-2], b.shape[:-2]))
    rows = M if b.ndim > 2 else a.size // max(1, K)
    return (
        has_tensor_cores(a)
        and batch <= MOST_BLOCKS
        and rows <= 64 * MOST_BLOCKS
        and max(rows * K, K * N, rows * N) <= LARGEST
    )


def matmul(a: Array, b: Array) -> Array:
    """a @ b over the last two axes, the axes before broadcast; of 2 bytes as :func:`can` says."""
    (M, K), N = a.shape[-2:], b.shape[-1]
    batch = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    c = empty((*batch, M, N), a, op="matmul")
    if b.ndim == 2:
        stacks = a.reshape(1, math.prod(a.shape[:-1]), K), b[None]
    else:
        xp, images = array_module(a), math.prod(batch)
        stacks = (
            a[None] if a.ndim == 2 else xp.broadcast_to(a, (*batch, M, K)).reshape(images, M, K),
            xp.broadcast_to(b, (*batch, K, N)).reshape(images, K, N),
        )
    if c.size:
        left, right = map(contiguous, stacks)
        file = "gemm_wmma" if is_half(a.dtype) else "gemm"
        launch(file, "matmul", left, right, c.reshape(len(right), left.shape[1], N))
    return c
