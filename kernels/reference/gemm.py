"""The product of two matrices: three loops."""

from __future__ import annotations

import numpy as np

from ..backend import Array


def matmul(a: Array, b: Array) -> Array:
    """c[m, n] = sum over k of a[m, k] * b[k, n]."""
    (M, K), N = a.shape, b.shape[1]
    c = np.zeros((M, N))
    for m in range(M):
        for n in range(N):
            for k in range(K):
                c[m, n] += float(a[m, k]) * float(b[k, n])
    return c.astype(a.dtype)
