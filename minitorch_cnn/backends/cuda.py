"""``torch.backends.cuda``: of CUDA's libraries only cuBLAS is used, for products of matrices."""

from __future__ import annotations

from types import SimpleNamespace

from ..kernels.backend import own_matmul

# Settable, without effect.
matmul = SimpleNamespace(
    allow_tf32=False,
    allow_fp16_reduced_precision_reduction=True,
    allow_bf16_reduced_precision_reduction=True,
)


def preferred_blas_library(backend: str | None = None) -> str:
    """Who multiplies matrices on a GPU: "cublas" (and "default"), or "kernels", our ``gemm.cu``.

    Sets it if told, and returns it. A captured CUDA graph always has our kernel: with "kernels",
    eager steps have its bits. ValueError for another name.
    """
    choices = {None: None, "default": False, "cublas": False, "kernels": True}
    if backend not in choices:
        raise ValueError(f"preferred_blas_library: {backend!r}: choose 'cublas' or 'kernels'")
    return "kernels" if own_matmul(choices[backend]) else "cublas"


def is_built() -> bool:
    """False: nothing is linked to CUDA; :mod:`minitorch_cnn.cuda` finds it at run time."""
    return False
