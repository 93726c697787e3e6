"""Checks of arguments that many functions share: sizes, dimensions, dtypes, devices."""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import dtypes
from ..device import device as Device
from ..dtypes import is_floating
from ..kernels.backend import check_memory
from ..tensor import Array, Tensor


class memory_format:
    """How the axes lie in memory. Tensors here are strided arrays, so this is only a wish."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return f"torch.{self.name}"


contiguous_format = memory_format("contiguous_format")
preserve_format = memory_format("preserve_format")
channels_last = memory_format("channels_last")


def as_int(name: str, what: str, value: Any) -> int:
    """An integer, an integer Tensor of one element, or anything with ``__index__``; no bool."""
    if type(value) is int and -(2**63) <= value < 2**63:
        return value
    if not isinstance(value, (bool, np.bool_)) and hasattr(value, "__index__"):
        number = operator.index(value)
        if not -(2**63) <= number < 2**63:
            raise ValueError(f"{name}(): argument '{what}': Overflow: {number} is not an int64")
        return number
    raise TypeError(f"{name}(): argument '{what}' must be int, not {type(value).__name__}")


def as_size(name: str, size: Sequence[Any], what: str = "size") -> tuple[int, ...]:
    """The shape in ``f(2, 3)``, ``f((2, 3))`` or ``f(torch.Size([2, 3]))``: non-negative ints."""
    if len(size) == 1 and isinstance(size[0], (tuple, list)):
        size = size[0]
    shape = tuple(_as_entry(name, what, n) for n in size)
    if any(n < 0 for n in shape):
        raise RuntimeError(
            f"{name}: Trying to create tensor with negative dimension {min(shape)}: {list(shape)}"
        )
    return shape


def _as_entry(name: str, what: str, value: Any) -> int:
    try:
        return as_int(name, what, value)
    except ValueError as error:  # PyTorch's type for a size that is too large
        raise TypeError(str(error)) from None


def as_dims(name: str, dims: Any, what: str = "dims") -> tuple[int, ...]:
    """Integers given as varargs, as one tuple or list, or as a single int; not checked further."""
    if isinstance(dims, (tuple, list)):
        if len(dims) == 1 and isinstance(dims[0], (tuple, list)):
            dims = dims[0]
        return tuple(_as_entry(name, what, d) for d in dims)
    return (_as_entry(name, what, dims),)


def wrap_dim(name: str, dim: Any, ndim: int, what: str = "dim") -> int:
    """``dim`` counted from the front; IndexError outside [-ndim, ndim - 1]."""
    d = as_int(name, what, dim)
    n = max(ndim, 1)  # a 0-d tensor takes 0 and -1
    if not -n <= d < n:
        raise IndexError(
            f"{name}: Dimension out of range (expected to be in range of [{-n}, {n - 1}],"
            f" but got {d})"
        )
    return d % n


def wrap_dims(name: str, dims: Sequence[Any], ndim: int) -> tuple[int, ...]:
    """Like :func:`wrap_dim` for several, which must differ (RuntimeError)."""
    wrapped = tuple(wrap_dim(name, d, ndim) for d in dims)
    for i, d in enumerate(wrapped):
        if d in wrapped[:i]:
            raise RuntimeError(f"{name}: dim {d} appears multiple times in the list of dims")
    return wrapped


def numpy_dtype(name: str, value: Any, default: np.dtype[Any] | None = None) -> np.dtype[Any]:
    """The NumPy dtype of a ``dtype=`` argument; ``default`` (or the default dtype) if None."""
    if value is None:
        return default if default is not None else dtypes.get_default_dtype().numpy
    if isinstance(value, dtypes.dtype) or value in (float, int, bool):
        return dtypes.as_numpy_dtype(value)
    raise TypeError(f"{name}(): argument 'dtype' must be torch.dtype, not {type(value).__name__}")


def promote(*numpy_dtypes: np.dtype[Any]) -> np.dtype[Any]:
    """The dtype of tensors joined: the widest of the highest kind (bool < integer < float)."""
    floats = [d for d in numpy_dtypes if is_floating(d)]
    return functools.reduce(dtypes.widest, floats or numpy_dtypes)


def check_number(value: Any, dtype: np.dtype[Any]) -> None:
    """RuntimeError if a number does not fit into ``dtype`` (OverflowError: not even 64 bits).

    Unsigned types take -max..max, as in C.
    """
    if isinstance(value, int) and not -(2**63) <= value < 2**64:
        raise OverflowError(f"int too big to convert: {value}")
    if dtype.kind == "b":
        return
    if is_floating(dtype):
        fits = not math.isfinite(value) or abs(value) <= _largest(dtype)
    else:
        info = np.iinfo(dtype)
        low = info.min if dtype.kind == "i" else -info.max
        fits = math.isfinite(value) and low <= math.trunc(value) <= info.max
    if not fits:
        raise RuntimeError(f"value cannot be converted to type {dtype} without overflow: {value}")


@functools.cache
def _largest(dtype: np.dtype[Any]) -> float:
    return dtypes.finfo(dtypes.as_dtype(dtype)).max


def number_array(value: Any, dtype: np.dtype[Any]) -> Array:
    """A 0-d array of a Python number, wrapped around like C where the type is unsigned."""
    check_number(value, dtype)
    if dtype.kind in "iu":
        return np.array(math.trunc(value)).astype(dtype)
    return np.array(value, dtype)


def move(array: Array, device: Any) -> Array:
    """The array on ``device``: itself if it is there already (or if device is None)."""
    if device is None:
        return array
    target = Device(device)
    on_host = isinstance(array, np.ndarray)
    if target.type == "cpu":
        return array if on_host else array.get()
    from .. import cuda

    return cuda.move(array, target)


def finish(array: Array, device: Any = None, requires_grad: bool = False) -> Tensor:
    """What every factory does last: move to the device, wrap, ask for gradients."""
    y = Tensor._wrap(array if device is None else move(array, device))
    if requires_grad:
        y.requires_grad = True
    return y


def filled(
    how: str, name: str, shape: tuple[int, ...], dtype: np.dtype[Any], device: Any = None
) -> Array:
    """NumPy's or CuPy's ``empty``, ``zeros`` or ``ones`` (``how``), where it is wanted.

    OutOfMemoryError for what cannot fit into memory.
    """
    target = None if device is None else Device(device)
    if target is not None and target.type == "cuda":
        from .. import cuda

        return cuda.make(how, shape, dtype, target)
    check_memory(shape, dtype, name)
    return getattr(np, how)(shape, dtype)


def empty(name: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    """``np.empty`` that refuses what cannot fit into memory."""
    return filled("empty", name, shape, dtype)


def check_tensor(name: str, value: Any, what: str = "input") -> Tensor:
    """``value`` if it is a Tensor, else TypeError."""
    if isinstance(value, Tensor):
        return value
    raise TypeError(f"{name}(): argument '{what}' must be Tensor, not {type(value).__name__}")
