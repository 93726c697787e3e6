"""Dropout for a given mask: the random numbers are drawn outside, so an op is a function."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import kernels
from ..tensor import Array, op


@op
def dropout(x: Array, /, *, keep: Array, p: float) -> Any:
    """y = x keep / (1 - p). ``keep`` (bool) broadcasts to x's shape; it alone is saved."""
    scale = x.dtype.type(1 / (1 - p) if p < 1 else 0)
    masked = kernels.large.keep
    return masked(x, keep, scale), (lambda gy: masked(gy, keep, scale),)


@op
def alpha_dropout(
    x: Array, /, *, keep: Array, value: float, scale: float, shift: float
) -> Any:
    """y = scale x + shift where ``keep``, else ``value``."""
    kind = x.dtype.type
    y = np.where(keep, x * kind(scale) + kind(shift), kind(value))
    return y, (lambda gy: gy * (keep * kind(scale)),)
