"""``torch.backends.openmp``: threads are Numba's, on whatever layer it finds."""

from __future__ import annotations


def is_available() -> bool:
    """False."""
    return False
