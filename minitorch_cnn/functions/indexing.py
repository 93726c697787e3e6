"""``x[index]`` and ``x[index] = value`` with PyTorch's rules, and reading or writing by index.

An index is taken apart into two: a basic one (integers, slices, None, ...: a view), then index
arrays on what that leaves. NumPy alone would treat integers as index arrays of one element and
put the dimensions elsewhere.
"""

from __future__ import annotations

import operator
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np

from ..dtypes import is_floating
from ..kernels.backend import array_module, constant
from ..ops import indexing as ops
from ..tensor import Array, Tensor
from .arguments import number_array
from .inplace import check_expandable, recorded, write

__all__: list[str] = []

METHODS: tuple[str, ...] = ()
INPLACE: tuple[str, ...] = ()

_FULL = slice(None)
Plan = tuple[tuple[Any, ...], tuple[Any, ...]]


def getitem(self: Tensor, index: Any) -> Tensor:
    """``x[index]``: a view for integers, slices, None and ...; a copy for index tensors."""
    basic, arrays = _plan(self.array, index)
    y: Tensor = ops.getitem(self, basic=basic, arrays=arrays)
    return y


def setitem(self: Tensor, index: Any, value: Any) -> None:
    """``x[index] = value``: a number or a Tensor that broadcasts; the dtype of x stays.

    RuntimeError if the value's shape does not fit, or (with index tensors) its dtype differs.
    """
    basic, arrays = _plan(self.array, index)
    if not isinstance(value, Tensor):
        value = Tensor._wrap(_as_number(self, value))
    elif arrays:
        value = _check_put(self, value, arrays)
    if value.array.ndim:
        # The shape that a read would give, without reading.
        xp = array_module(self.array)
        target = xp.broadcast_to(xp.empty((), bool), self.array.shape)[basic]
        shape = (target[arrays] if arrays else target).shape
        extra = value.array.ndim - len(shape)
        if extra > 0 and value.array.shape[:extra] == (1,) * extra:
            value = value.reshape(value.array.shape[extra:])
        check_expandable("x[index] = value", value.array.shape, shape)
    if recorded(self, value):
        self._write(ops.setitem, value, basic=basic, arrays=arrays)
        return
    if type(value.array) is not type(self.array):
        value = value.to(self.device)
    source = value.array

    def store(array: Array) -> None:
        with np.errstate(all="ignore"):
            ops.write(array, source, basic, arrays)

    write(self, store)


def _as_number(x: Tensor, value: Any) -> Array:
    if isinstance(value, np.generic):
        value = value.item()
    if not isinstance(value, (bool, int, float)):
        raise TypeError(
            f"can't assign a {type(value).__name__} to a tensor of {x.dtype}: wrap it in"
            " torch.tensor(...)"
        )
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        raise ValueError(f"Overflow: {value} does not fit in int64")
    return number_array(value, x.array.dtype)


def _check_put(x: Tensor, value: Tensor, arrays: tuple[Any, ...]) -> Tensor:
    """Index tensors do not cast (except one number through one mask), as in PyTorch."""
    if value.array.dtype == x.array.dtype:
        return value
    masks = [a for a in arrays if not isinstance(a, slice) and a.dtype.kind == "b"]
    if value.array.ndim or not masks:
        raise RuntimeError(
            "Index put requires the source and destination dtypes match, got"
            f" {x.dtype} for the destination and {value.dtype} for the source: cast it with .to()"
        )
    return value


def _plan(x: Array, index: Any) -> Plan:
    """``index`` as (basic, arrays): x[basic][arrays] is what PyTorch's x[index] is."""
    shape = x.shape
    kind = type(index)
    if kind is int and shape:  # x[i], the index in every loop over a tensor
        return (_within(index, shape[0], 0), ...), ()
    items = [_there(item, x) for item in _as_tuple(index)]
    used = sum(_dims_used(i) for i in items)
    if used > len(shape):
        if not shape and any(_is_integer(i) for i in items):
            raise IndexError(
                "invalid index of a 0-dim tensor. Use tensor.item() to convert a 0-dim tensor to"
                " a Python number (loss.item() where older code has loss.data[0])"
            )
        raise IndexError(
            f"too many indices for tensor of dimension {len(shape)}: {used} in {_shown(index)}"
        )
    basic: list[Any] = []
    arrays: list[Any] = []  # one entry for each dimension that ``basic`` leaves
    d = 0  # the dimension of x that the next item is about
    for item in items:
        if item is None:
            basic.append(None)
            arrays.append(_FULL)
        elif item is Ellipsis:
            rest = len(shape) - used
            basic += [_FULL] * rest
            arrays += [_FULL] * rest
            d += rest
            used += rest  # a second ... stands for nothing
        elif isinstance(item, slice):
            basic.append(_checked_slice(item))
            arrays.append(_FULL)
            d += 1
        elif isinstance(item, bool) or (hasattr(item, "ndim") and item.ndim == 0):
            basic.append(None)  # a mask of no dimensions: keeps or drops everything
            arrays.append(constant(np.array([bool(item)]), x))
        elif isinstance(item, int):
            basic.append(_within(item, shape[d], d))
            d += 1
        else:
            n = item.ndim if item.dtype.kind == "b" else 1
            _check_array(item, shape, d)
            basic += [_FULL] * n
            arrays.append(item)
            d += n
    while arrays and arrays[-1] is _FULL:
        arrays.pop()
    return (*basic, ...), _masks_as_indices(arrays)


def _there(item: Any, x: Array) -> Any:
    """Index arrays of the CPU follow x to its GPU; not the other way round."""
    if not hasattr(item, "ndim"):
        return item
    if isinstance(x, np.ndarray) and not isinstance(item, np.ndarray):
        raise RuntimeError(
            "indices should be either on cpu or on the same device as the indexed tensor (cpu)"
        )
    return constant(item, x)


def _as_tuple(index: Any) -> list[Any]:
    """The parts of an index, each an int, bool, slice, None, ... or a NumPy array."""
    if isinstance(index, list) and _means_tuple(index):
        warnings.warn(
            "Using a non-tuple sequence for multidimensional indexing is deprecated; use"
            " x[tuple(seq)] instead of x[seq], or x[torch.tensor(seq)]",
            UserWarning,
            stacklevel=4,
        )
        index = tuple(index)
    if not isinstance(index, tuple):
        index = (index,)
    return [_as_item(item) for item in index]


def _means_tuple(index: list[Any]) -> bool:
    """NumPy's old rule, which PyTorch keeps: a short list with more than numbers in it."""
    return len(index) < 32 and any(
        item is None or item is Ellipsis or isinstance(item, (slice, Tensor, list, tuple))
        for item in index
    )


def _as_item(item: Any) -> Any:
    if item is None or item is Ellipsis or isinstance(item, (slice, bool, int)):
        return item
    if isinstance(item, Tensor):
        item = item.array
    elif isinstance(item, (list, tuple, range)):
        item = _truncated(np.array([i.item() if isinstance(i, Tensor) else i for i in item]))
    elif isinstance(item, np.ndarray):
        item = _truncated(item)
    elif isinstance(item, str):
        raise TypeError(f"a string is not a valid index: {item!r}")
    elif isinstance(item, np.generic) and item.dtype.kind in "iu":
        return int(item)
    if not isinstance(item, np.ndarray) and not hasattr(item, "strides"):
        raise IndexError(
            "only integers, slices (`:`), ellipsis (`...`), None and long or byte tensors are"
            f" valid indices (got {type(item).__name__})"
        )
    if isinstance(item, np.generic):
        raise IndexError(f"a NumPy scalar of {item.dtype} is not a valid index")
    if item.dtype == np.uint8:
        if item.ndim:
            warnings.warn(
                "indexing with dtype torch.uint8 is now deprecated, please use a dtype torch.bool"
                " instead.",
                UserWarning,
                stacklevel=5,
            )
        return item.astype(bool)
    if item.dtype.kind not in "bi" or item.dtype.itemsize == 2:
        raise IndexError(
            f"tensors used as indices must be long, int, byte or bool tensors, not {item.dtype}"
        )
    return int(item) if item.ndim == 0 and item.dtype.kind == "i" else item


def _truncated(array: Array) -> Array:
    """Lists and NumPy arrays of floats are integers to PyTorch, which refuses float tensors."""
    return array.astype(np.int64) if is_floating(array.dtype) else array


def _is_integer(item: Any) -> bool:
    return isinstance(item, int) and not isinstance(item, bool)


def _dims_used(item: Any) -> int:
    if item is None or item is Ellipsis or isinstance(item, bool):
        return 0
    if hasattr(item, "ndim") and item.dtype.kind == "b":
        return int(item.ndim)
    return 1


def _within(i: int, n: int, dim: int) -> int:
    if not -n <= i < n:
        raise IndexError(f"index {i} is out of bounds for dimension {dim} with size {n}")
    return i


def _checked_slice(s: slice) -> slice:
    """With plain integers; ValueError unless it goes forward."""
    if s.step is None and s.start is None and s.stop is None:
        return _FULL
    parts = []
    for value in (s.start, s.stop, s.step):
        try:
            parts.append(None if value is None else operator.index(value))
        except TypeError:
            raise TypeError(
                "slice indices must be integers or None or have an __index__ method, not"
                f" {type(value).__name__}"
            ) from None
    if parts[2] is not None and parts[2] <= 0:
        raise ValueError(
            f"step must be greater than zero, got {parts[2]}: use x.flip(dim) to go backwards"
        )
    return slice(*parts)


def _check_array(item: Array, shape: tuple[int, ...], d: int) -> None:
    if item.dtype.kind == "b":
        if item.shape != shape[d : d + item.ndim]:
            raise IndexError(
                f"The shape of the mask {list(item.shape)} at index {d} does not match the shape"
                f" of the indexed tensor {list(shape)} at index {d}"
            )
    elif item.size:
        low, high, n = int(item.min()), int(item.max()), shape[d]
        if low < -n or high >= n:
            raise IndexError(
                f"index {low if low < -n else high} is out of bounds for dimension {d} with size"
                f" {n}"
            )


def _masks_as_indices(arrays: list[Any]) -> tuple[Any, ...]:
    """One mask alone stays a mask, which is quick; otherwise masks become index arrays."""
    given = [a for a in arrays if a is not _FULL]
    if len(given) == 1 and given[0].dtype.kind == "b":
        return tuple(arrays)
    spread = list(_spread(arrays))
    index_shapes = [a.shape for a in spread if a is not _FULL]
    try:
        np.broadcast_shapes(*index_shapes)
    except ValueError:
        raise IndexError(
            "shape mismatch: indexing tensors could not be broadcast together with shapes"
            f" {', '.join(str(list(s)) for s in index_shapes)}"
        ) from None
    return tuple(spread)


def _spread(arrays: list[Any]) -> Iterator[Any]:
    for a in arrays:
        if a is _FULL or a.dtype.kind != "b":
            yield a
        else:
            yield from a.nonzero()


def _shown(index: Any) -> str:
    return f"x[{', '.join(map(str, index))}]" if isinstance(index, tuple) else f"x[{index}]"


def contains(self: Tensor, element: Any) -> bool:
    """``element in x``: whether any entry equals it."""
    if not isinstance(element, (Tensor, bool, int, float)):
        raise RuntimeError(
            "Tensor.__contains__ only supports Tensor or scalar, but you passed in a"
            f" {type(element)}."
        )
    return bool((self == element).any())


def length(self: Tensor) -> int:
    """``len(x)``: the size of the first dimension."""
    if self.array.ndim == 0:
        raise TypeError("len() of a 0-d tensor")
    return int(self.array.shape[0])


def iterate(self: Tensor) -> Iterator[Tensor]:
    """``for row in x``: views along the first dimension."""
    if self.array.ndim == 0:
        raise TypeError("iteration over a 0-d tensor")
    return iter(self.unbind(0))


ONLY_METHODS: dict[str, Any] = {
    "__getitem__": getitem,
    "__setitem__": setitem,
    "__contains__": contains,
    "__len__": length,
    "__iter__": iterate,
}
