"""Floating dtypes, and those of two bytes among them: the Python side of ``half.cuh``.

float16 has 5 bits of exponent and 10 of fraction, bfloat16 (``ml_dtypes``) the 8 of float32's
exponent and 7. Both are for storing: what is computed with them is float32, rounded once.
"""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np

__all__ = ["BFLOAT16", "is_floating", "is_half"]

BFLOAT16: np.dtype[Any] = np.dtype(ml_dtypes.bfloat16)
FLOATING = "fV"  # NumPy's kinds: of bfloat16, which is not NumPy's own, it is that of raw bytes


def is_floating(dtype: np.dtype[Any]) -> bool:
    """Whether a dtype that tensors have is float16, bfloat16, float32 or float64."""
    return dtype.kind in FLOATING


def is_half(dtype: np.dtype[Any]) -> bool:
    """Whether it is float16 or bfloat16."""
    return dtype.itemsize == 2 and dtype.kind in FLOATING
