"""What a CUDA kernel's arguments must be, and the bytes that it gets for them.

CUDA passes anything: a float32 array where the kernel reads doubles is no error there, only wrong
numbers. Whoever launches a kernel (``launcher.py`` on a GPU, ``emulator/`` on the CPU) asks here.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from .cuda_source import Parameter

__all__ = ["argument_error", "grid_error", "packed"]

LARGEST = 2**31 - 1
THREADS = 1024
_NUMBERS: dict[str, tuple[type, ...]] = {
    "f": (int, float, np.integer, np.floating),
    "b": (bool, np.bool_),
}


def argument_error(parameter: Parameter, value: Any, array_type: Any) -> str | None:
    """What is wrong with a kernel's argument, in one sentence that names it; None if nothing is."""
    wrong = _number_error if parameter.ndim is None else _array_error
    found = wrong(parameter, value, array_type)
    return found and f"argument {parameter.name} ({parameter.type}): {found}"


def _array_error(parameter: Parameter, array: Any, array_type: Any) -> str | None:
    if array is None:
        return None
    if not isinstance(array, array_type):
        if isinstance(array, np.ndarray):
            return f"expected an array on the GPU, but got one of shape {array.shape} on the host"
        return f"expected an array, but got {type(array).__name__}"
    if array.dtype != parameter.dtype:
        return f"expected {parameter.dtype}, but got {array.dtype}"
    if parameter.ndim and array.ndim != parameter.ndim:
        return f"expected {parameter.ndim} dimensions, but got shape {array.shape}"
    if not array.flags.c_contiguous:
        return "the array is not C-contiguous"
    if not parameter.const and not getattr(array.flags, "writeable", True):
        return "the array is read-only"
    if max(array.shape, default=0) > LARGEST:
        return f"extents of shape {array.shape} do not fit 32 bits"
    return None


def _number_error(parameter: Parameter, value: Any, array_type: Any) -> str | None:
    kinds: tuple[Any, ...] = _NUMBERS.get(parameter.dtype.kind, (int, np.integer))
    if not isinstance(value, kinds):
        return f"got {value!r} ({type(value).__name__})"
    if parameter.dtype.kind in "iu":
        limits = np.iinfo(parameter.dtype)
        if not limits.min <= value <= limits.max:
            return f"{value} does not fit"
    return None


def grid_error(grid: tuple[int, ...], block: tuple[int, ...]) -> str | None:
    """What is wrong with a launch shape: the limits are those of every GPU of the last decade."""
    if min(block) < 1 or int(np.prod(block)) > THREADS or block[2] > 64:
        return f"block {block}: a block has 1 to {THREADS} threads, 64 in z"
    if min(grid) < 0 or max(grid[1:]) > 65535 or grid[0] > LARGEST:
        return f"grid {grid}: at most 2**31 - 1 by 65535 by 65535 blocks"
    return None


@functools.cache
def _struct(ndim: int) -> np.dtype[Any]:
    """array.cuh's ``Array``: a pointer, then its extents, padded to a whole number of pointers."""
    return np.dtype([("data", np.uint64), ("shape", np.int32, (ndim,))], align=True)


def packed(parameter: Parameter, value: Any, pointer: int) -> Any:
    """The argument as the kernel gets it: a struct of one array, an address, or a number."""
    if parameter.ndim is None:
        return parameter.dtype.type(value)
    if parameter.ndim == 0:
        return np.uint64(pointer)
    struct = np.zeros(1, _struct(parameter.ndim))
    struct["data"] = pointer
    if value is not None:
        struct["shape"] = value.shape
    return struct
