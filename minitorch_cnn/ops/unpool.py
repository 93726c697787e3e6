"""The inverse of max pooling."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..kernels.backend import array_module
from ..tensor import Array, op


@op
def max_unpool(x: Array, /, *, indices: Array, size: tuple[int, ...]) -> Any:
    """y, of spatial ``size``, is x at the flat positions ``indices`` and 0 elsewhere.

    x and indices (..., *spatial), as max pooling returned them; of several values for one place
    the last stays. RuntimeError for a position outside y.
    """
    lead = x.shape[: x.ndim - len(size)]
    cells = math.prod(size)
    rows = math.prod(lead)
    flat = indices.reshape(rows, math.prod(indices.shape[len(lead) :]))
    if flat.size and not 0 <= flat.min() <= flat.max() < cells:
        raise RuntimeError(
            f"max_unpool: Found an invalid max index: {flat.min()} or {flat.max()} is outside the"
            f" output of size {list(size)}"
        )
    y = array_module(x).zeros((rows, cells), x.dtype)
    np.put_along_axis(y, flat, x.reshape(flat.shape), 1)
    shape = x.shape

    def grad_x(gy: Array) -> Array:
        return np.take_along_axis(gy.reshape(rows, cells), flat, 1).reshape(shape)

    return y.reshape(*lead, *size), (grad_x,)
