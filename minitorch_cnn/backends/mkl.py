"""``torch.backends.mkl``: Intel's BLAS, which is not used (NumPy brings its own BLAS)."""

from __future__ import annotations


def is_available() -> bool:
    """False."""
    return False
