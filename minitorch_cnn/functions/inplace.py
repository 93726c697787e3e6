"""Writing to a tensor's memory: ``fill_``, ``zero_``, ``copy_``, and the one way to do it.

Unlike ``add_`` and its like, these do not need the old values. Where no graph is recorded they
therefore write straight into the memory, with no second array.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ..grad_mode import mode
from ..kernels.backend import array_module, place
from ..ops import shape as ops
from ..tensor import Array, Tensor, is_writable
from .arguments import check_number

__all__: list[str] = []

METHODS = ("copy_", "fill_", "zero_")
INPLACE: tuple[str, ...] = ()


def write(x: Tensor, store: Callable[[Array], None]) -> Tensor:
    """Let ``store`` change the memory of ``x``, which no graph is recording, and count it."""
    if not is_writable(x.array):
        raise RuntimeError(
            "in-place write to read-only memory (an expanded tensor, whose elements share memory,"
            " or a read-only NumPy array): clone() it first"
        )
    store(x.array)
    x._counter[0] += 1
    return x


def recorded(*tensors: Any) -> bool:
    """Whether autograd is to know of a write that involves these."""
    if not mode.grad or mode.inference:
        return False
    return any(isinstance(t, Tensor) and t._requires_grad for t in tensors)


def overwrite(x: Tensor, sample: Callable[[], Array]) -> Tensor:
    """Replace every element of ``x`` by new numbers; their gradient ends here."""
    if recorded(x):
        return x._write(ops.replace, Tensor._wrap(place(sample(), x.array)))

    def store(array: Array) -> None:
        array[...] = place(sample(), array)

    return write(x, store)


def fill_(self: Tensor, value: Any) -> Tensor:
    """Set every element to a number or a 0-d tensor."""
    if isinstance(value, Tensor):
        if value.array.ndim:
            raise RuntimeError(
                "fill_ only supports 0-dimension value tensor but got tensor with"
                f" {value.array.ndim} dimensions."
            )
        return copy_(self, value)
    if isinstance(value, np.generic):
        value = value.item()
    if not isinstance(value, (int, float)):
        raise TypeError(f"fill_(): expected a number, not {type(value).__name__}")
    dtype = self.array.dtype
    check_number(value, dtype)
    number = math.trunc(value) if dtype.kind in "iu" else value
    return overwrite(self, lambda: np.array(number).astype(dtype))


def zero_(self: Tensor) -> Tensor:
    """Set every element to 0."""
    return fill_(self, 0)


def copy_(self: Tensor, src: Any, non_blocking: bool = False) -> Tensor:
    """Copy ``src`` into this tensor's memory, broadcast to its shape and cast to its dtype."""
    del non_blocking
    if not isinstance(src, Tensor):
        if isinstance(src, (int, float, np.generic)):
            return fill_(self, src)
        raise TypeError(f"copy_(): argument 'other' must be Tensor, not {type(src).__name__}")
    if src.array.shape != self.array.shape:
        check_expandable("copy_", src.array.shape, self.array.shape)
    if recorded(self, src):
        return self._write(ops.replace, src)
    source = src.array if type(src.array) is type(self.array) else src.to(self.device).array

    def store(array: Array) -> None:
        with np.errstate(all="ignore"):
            array_module(array).copyto(array, source, casting="unsafe")

    return write(self, store)


def check_expandable(name: str, shape: tuple[int, ...], target: tuple[int, ...]) -> None:
    """RuntimeError if ``shape`` does not broadcast to exactly ``target``."""
    for i in range(1, len(shape) + 1):
        n = shape[-i]
        if i > len(target) or n not in (1, target[-i]):
            raise RuntimeError(
                f"{name}: cannot write a tensor of shape {list(shape)} into shape {list(target)}"
                + (f": {n} does not broadcast to {target[-i]}" if i <= len(target) else "")
            )
