"""The loops: knows arrays, never Tensors. Read ``README.md`` here for the order to read in.

Kernel modules load on first use (``kernels.pool.max_pool2d(...)``), because they import Numba.
"""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import TYPE_CHECKING

from . import backend, geometry, large

if TYPE_CHECKING:
    from . import (
        algorithms,
        arithmetic,
        conv2d,
        depthwise,
        dropout,
        elementwise,
        gemm,
        im2col,
        im2col_gemm,
        implicit_gemm,
        join,
        loss,
        loss_cuda,
        norm,
        norm_relu,
        optimizer,
        pointwise,
        pool,
        reference,
        resample,
        scalar,
        simd,
        softmax,
        winograd,
    )

__all__ = [
    "algorithms", "arithmetic", "backend", "conv2d", "depthwise", "dropout", "elementwise", "gemm",
    "geometry", "im2col", "im2col_gemm", "implicit_gemm", "join", "large", "loss", "loss_cuda",
    "norm", "norm_relu", "optimizer", "pointwise", "pool", "reference", "resample", "scalar",
    "simd", "softmax", "winograd",
]  # fmt: skip


def __getattr__(name: str) -> ModuleType:
    if name in __all__:
        return importlib.import_module(f".{name}", __name__)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
