"""What array a Python object stands for: the reading half of ``torch.tensor``."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from ..dtypes import from_numpy_dtype, get_default_dtype
from ..tensor import Array, Tensor
from .arguments import numpy_dtype, promote

_INT64, _BOOL = np.dtype(np.int64), np.dtype(bool)


def array_from_numpy(array: np.ndarray[Any, Any]) -> Array:
    """The array itself (as a plain ndarray) if a tensor can share its memory."""
    _check_array(array)
    if not array.flags.writeable:
        warnings.warn(
            "The given NumPy array is not writable: writing to this tensor will raise. Copy the"
            " array (or the tensor) if you want to write to it.",
            UserWarning,
            stacklevel=3,
        )
    return np.asarray(array)


def array_from_data(name: str, data: Any, dtype: Any) -> Array:
    """A fresh array of numbers, nested sequences of them, an array, or a Tensor."""
    if isinstance(data, Tensor):
        return data.array.astype(numpy_dtype(name, dtype, data.array.dtype))
    if isinstance(data, (str, bytes)):
        raise TypeError(f"{name}(): invalid data type {type(data).__name__!r}")
    if not isinstance(data, (list, tuple)) and hasattr(data, "__array__"):
        # NumPy's arrays and scalars, PIL images, PyTorch's tensors.
        array = np.asarray(data)
        _check_array(array)
        return array.astype(numpy_dtype(name, dtype, array.dtype))
    if not isinstance(data, (list, tuple, bool, int, float)):
        if not _is_sequence(data):
            raise RuntimeError(f"{name}(): Could not infer dtype of {type(data).__name__}")
        data = list(data)
    array = _from_python(name, data)
    wanted = numpy_dtype(name, dtype, array.dtype)
    if wanted == array.dtype:
        return array
    _check_fits(array, wanted)
    with np.errstate(all="ignore"):
        return array.astype(wanted)


def _check_array(array: np.ndarray[Any, Any]) -> None:
    if not array.dtype.isnative:
        raise ValueError(
            "given numpy array has byte order different from the native byte order: convert it"
            " with array.astype(array.dtype.newbyteorder('='))"
        )
    from_numpy_dtype(array.dtype)  # TypeError if there is no such tensor
    if any(s < 0 and n > 1 for s, n in zip(array.strides, array.shape)):
        raise ValueError(
            "At least one stride in the given numpy array is negative, and tensors with negative"
            " strides are not supported. Use array.copy()."
        )
    if any(s % array.itemsize for s in array.strides):
        raise ValueError(
            "given numpy array strides not a multiple of the element byte size: use array.copy()"
        )


def _is_sequence(data: Any) -> bool:
    if isinstance(data, Sequence):
        return True
    return hasattr(data, "__len__") and hasattr(data, "__getitem__") and not hasattr(data, "keys")


def _from_python(name: str, data: Any) -> Array:
    """Nested lists of numbers (or one number) as an array of the dtype that they imply."""
    if not isinstance(data, (list, tuple)):
        data, shape = [data], ()
    else:
        shape = None
    found: set[np.dtype[Any]] = set()
    has_tensors = False
    for item in _leaves(data):
        found.add(_dtype_of(name, item))
        has_tensors = has_tensors or isinstance(item, Tensor)
    dtype = promote(*found) if found else get_default_dtype().numpy
    if has_tensors:
        data = _numbers(data)
    try:
        with np.errstate(all="ignore"):
            array = np.array(data, dtype)
    except OverflowError:
        raise ValueError(f"{name}(): Overflow: an integer does not fit in int64") from None
    except ValueError:
        _check_rectangular(data)
        raise
    return array if shape is None else array.reshape(shape)


def _leaves(data: Any) -> Iterator[Any]:
    """One entry of each type in each innermost list: enough to know the dtype, and quick."""
    stack = [data]
    while stack:
        items = stack.pop()
        by_type = {type(item): item for item in items}
        if by_type.keys() <= {int, float, bool}:
            yield from by_type.values()
            continue
        for item in items:
            if isinstance(item, (list, tuple)):
                stack.append(item)
            else:
                yield item


def _dtype_of(name: str, item: Any) -> np.dtype[Any]:
    if isinstance(item, (np.generic, np.ndarray, Tensor)):
        array: Any = getattr(item, "array", item)
        dtype: np.dtype[Any] = array.dtype
        from_numpy_dtype(dtype)
        return dtype
    if isinstance(item, bool):
        return _BOOL
    if isinstance(item, int):
        return _INT64
    if isinstance(item, float):
        return get_default_dtype().numpy
    if isinstance(item, (str, bytes)):
        raise ValueError(f"{name}(): too many dimensions {type(item).__name__!r}")
    raise RuntimeError(f"{name}(): Could not infer dtype of {type(item).__name__}")


def _numbers(data: Any) -> Any:
    """The nested lists with each one-element Tensor replaced by its number."""
    if isinstance(data, Tensor):
        if data.array.size != 1:
            raise ValueError(
                "only one element tensors can be converted to Python scalars, got shape"
                f" {list(data.shape)}: use torch.stack or torch.cat to join tensors"
            )
        return data.array.item()
    return [_numbers(item) for item in data] if isinstance(data, (list, tuple)) else data


def _check_rectangular(data: Any) -> None:
    """Say where nested lists stop being an array."""
    level, dim = [data], 0
    while isinstance(level[0], (list, tuple)):
        length = len(level[0])
        for items in level:
            if not isinstance(items, (list, tuple)):
                raise TypeError(f"not a sequence: {items!r} at dim {dim}")
            if len(items) != length:
                raise ValueError(
                    f"expected sequence of length {length} at dim {dim} (got {len(items)})"
                )
        level = [item for items in level for item in items]
        if not level:
            return
        dim += 1
    for item in level:
        if isinstance(item, (list, tuple)):
            raise TypeError(f"expected a number at dim {dim}, not {type(item).__name__}")


def _check_fits(array: Array, dtype: np.dtype[Any]) -> None:
    """RuntimeError if a number is outside an integer dtype (unsigned ones take -max..max)."""
    if dtype.kind not in "iu" or array.dtype.kind == "b" or not array.size:
        return
    info = np.iinfo(dtype)
    low, high = array.min().item(), array.max().item()
    smallest = info.min if dtype.kind == "i" else -info.max
    if not (math.isfinite(low) and math.isfinite(high)) or (
        math.trunc(low) < smallest or math.trunc(high) > info.max
    ):
        raise RuntimeError(
            f"value cannot be converted to type {dtype} without overflow: the data run from {low}"
            f" to {high}"
        )
