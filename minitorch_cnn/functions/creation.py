"""Tensors from data, and tensors filled by a rule: ``tensor``, ``zeros``, ``arange``, ...

Shapes are varargs or one tuple. Python floats (and no dtype) give the default dtype, float32
unless :func:`~minitorch_cnn.set_default_dtype` changed it; integers give int64.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..dtypes import get_default_dtype, is_floating
from ..kernels.backend import check_memory
from ..tensor import Array, Tensor, on_device_of
from . import arguments
from .arguments import (
    as_int,
    as_size,
    check_number,
    check_tensor,
    finish,
    number_array,
    numpy_dtype,
)
from .fromdata import array_from_data, array_from_numpy

__all__ = [
    "arange", "as_tensor", "asarray", "empty", "empty_like", "eye", "from_numpy", "full",
    "full_like", "linspace", "logspace", "ones", "ones_like", "range", "scalar_tensor", "tensor",
    "zeros", "zeros_like",
]  # fmt: skip

METHODS = ("new_empty", "new_full", "new_ones", "new_tensor", "new_zeros")
INPLACE: tuple[str, ...] = ()

_INT64 = np.dtype(np.int64)


def tensor(
    data: Any, *, dtype: Any = None, device: Any = None, requires_grad: bool = False
) -> Tensor:
    """A new tensor with a copy of ``data``: nested sequences, a number, an array or a Tensor.

    Without ``dtype``: bools give bool, integers int64, floats the default dtype; arrays and NumPy
    scalars keep theirs. ValueError where rows differ in length, RuntimeError where a number does
    not fit the dtype.
    """
    if isinstance(data, Tensor):
        warnings.warn(
            "To copy a tensor write source.detach().clone() (then .requires_grad_(True) if you"
            " want gradients), rather than torch.tensor(source).",
            UserWarning,
            stacklevel=2,
        )
        device = data.device if device is None else device
    return finish(array_from_data("tensor", data, dtype), device, requires_grad)


def as_tensor(data: Any, dtype: Any = None, device: Any = None) -> Tensor:
    """Like :func:`tensor`, but shares memory with an array (or is the Tensor given) if it can."""
    if isinstance(data, Tensor):
        y: Tensor = data.to(data.device if device is None else device, dtype)
        return y
    if isinstance(data, np.ndarray):
        array = array_from_numpy(data)
        wanted = numpy_dtype("as_tensor", dtype, array.dtype)
        return finish(array.astype(wanted, copy=False), device)
    return finish(array_from_data("as_tensor", data, dtype), device)


def asarray(
    obj: Any,
    *,
    dtype: Any = None,
    device: Any = None,
    copy: bool | None = None,
    requires_grad: bool = False,
) -> Tensor:
    """A tensor that shares memory with ``obj`` where that is possible (unless ``copy=True``).

    ValueError if ``copy=False`` and memory cannot be shared.
    """
    if isinstance(obj, Tensor):
        y: Tensor = obj.detach() if requires_grad or copy else obj
        y = y.to(y.device if device is None else device, dtype, copy=bool(copy))
        shared = y.array is obj.array
    else:
        y = as_tensor(obj, dtype, device)
        shared = isinstance(obj, np.ndarray) and np.may_share_memory(y.array, obj)
        if copy and shared:
            y = Tensor._wrap(y.array.copy())
    if copy is False and not shared:
        raise ValueError("can't alias arbitrary data: asarray(copy=False) needs to copy this")
    if requires_grad:
        y.requires_grad = True
    return y


def from_numpy(ndarray: Any) -> Tensor:
    """A tensor over the memory of an array: writing to one is seen in the other.

    TypeError for dtypes without a counterpart, ValueError for negative strides.
    """
    if not isinstance(ndarray, np.ndarray):
        raise TypeError(f"expected np.ndarray (got {type(ndarray).__name__})")
    return Tensor._wrap(array_from_numpy(ndarray))


def scalar_tensor(
    s: Any, *, dtype: Any = None, device: Any = None, requires_grad: bool = False
) -> Tensor:
    """A 0-d tensor of the default dtype unless told otherwise."""
    wanted = numpy_dtype("scalar_tensor", dtype)
    return finish(number_array(_number("scalar_tensor", s), wanted), device, requires_grad)


def zeros(
    *size: Any, dtype: Any = None, device: Any = None, requires_grad: bool = False, **kwargs: Any
) -> Tensor:
    """``zeros(2, 3)`` or ``zeros((2, 3))``: filled with 0."""
    shape, wanted = _plan("zeros", size, dtype, kwargs)
    y = arguments.filled("zeros", "zeros", shape, wanted, device)
    return finish(y, None, requires_grad)


def ones(
    *size: Any, dtype: Any = None, device: Any = None, requires_grad: bool = False, **kwargs: Any
) -> Tensor:
    """``ones(2, 3)`` or ``ones((2, 3))``: filled with 1."""
    shape, wanted = _plan("ones", size, dtype, kwargs)
    y = arguments.filled("ones", "ones", shape, wanted, device)
    return finish(y, None, requires_grad)


def empty(
    *size: Any, dtype: Any = None, device: Any = None, requires_grad: bool = False, **kwargs: Any
) -> Tensor:
    """A tensor whose numbers are whatever the memory held."""
    shape, wanted = _plan("empty", size, dtype, kwargs)
    y = arguments.filled("empty", "empty", shape, wanted, device)
    return finish(y, None, requires_grad)


def full(
    size: Sequence[int],
    fill_value: Any,
    *,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """Filled with ``fill_value``, whose kind decides the dtype unless it is given."""
    if not isinstance(size, (tuple, list)):
        raise TypeError(f"full(): argument 'size' must be tuple of ints, not {type(size).__name__}")
    shape, value = as_size("full", (size,)), _number("full", fill_value)
    wanted = numpy_dtype("full", dtype, _dtype_of_number(value))
    y = arguments.filled("empty", "full", shape, wanted, device)
    with on_device_of(y):
        y[...] = number_array(value, wanted)[()]
    return finish(y, None, requires_grad)


def eye(
    n: int,
    m: int | None = None,
    *,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """(n, m) with ones on the diagonal; m = n unless given."""
    rows = as_int("eye", "n", n)
    columns = rows if m is None else as_int("eye", "m", m)
    if rows < 0 or columns < 0:
        raise RuntimeError(f"n and m must be greater or equal to 0, got {rows} and {columns}")
    wanted = numpy_dtype("eye", dtype)
    check_memory((rows, columns), wanted, "eye")
    return finish(np.eye(rows, columns, dtype=wanted), device, requires_grad)


def arange(
    *bounds: Any, dtype: Any = None, device: Any = None, requires_grad: bool = False, **named: Any
) -> Tensor:
    """``arange(end)``, ``arange(start, end)``, ``arange(start, end, step)``.

    start, start + step, ... below ``end`` (above it for a negative step): ceil((end - start)/step)
    numbers, each computed as start + i*step. int64 if all three are integers, else the default
    dtype.
    """
    given = [_number("arange", v) for v in _bounds("arange", bounds, named)]
    integers = all(isinstance(v, int) for v in given)
    wanted = numpy_dtype("arange", dtype, _INT64 if integers else None)
    if wanted.kind == "b":
        raise NotImplementedError("arange is not implemented for bool")
    _check_range(*given)
    if not is_floating(wanted):
        for value in given:
            check_number(value, _INT64)
    if wanted == _INT64:  # numbers are truncated before they are counted
        given = [math.trunc(v) for v in given]
        if given[2] == 0:
            raise ValueError("arange: step must be nonzero, also as an integer")
        _check_range(*given)
        integers = True
    start, end, step = given
    n = -((start - end) // step) if integers else math.ceil((end - start) / step)
    check_memory((n,), wanted, "arange")
    if is_floating(wanted):
        y = start + np.arange(n, dtype=np.float64) * step
    else:
        y = math.trunc(start) + np.arange(n, dtype=np.int64) * math.trunc(step)
    return finish(y.astype(wanted, copy=False), device, requires_grad)


def range(*bounds: Any, dtype: Any = None, device: Any = None, **named: Any) -> Tensor:
    """Deprecated: like :func:`arange`, but includes ``end`` and is of the default dtype."""
    warnings.warn(
        "torch.range is deprecated: it includes its end, unlike Python's. Use torch.arange.",
        UserWarning,
        stacklevel=2,
    )
    if len(bounds) == 1 and not named:
        bounds = (0, *bounds)
    start, end, step = (_number("range", v) for v in _bounds("range", bounds, named))
    _check_range(start, end, step)
    n = math.floor((end - start) / step) + 1
    wanted = numpy_dtype("range", dtype)
    check_memory((n,), wanted, "range")
    return finish((start + np.arange(n, dtype=np.float64) * step).astype(wanted), device)


def linspace(
    start: Any,
    end: Any,
    steps: int,
    *,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """``steps`` numbers evenly from ``start`` to ``end``, both included."""
    wanted = numpy_dtype("linspace", dtype)
    a, b = _number("linspace", start), _number("linspace", end)
    return finish(_spaced("linspace", a, b, steps, wanted), device, requires_grad)


def logspace(
    start: Any,
    end: Any,
    steps: int,
    base: float = 10.0,
    *,
    dtype: Any = None,
    device: Any = None,
    requires_grad: bool = False,
) -> Tensor:
    """base ** linspace(start, end, steps)."""
    wanted = numpy_dtype("logspace", dtype)
    a, b = _number("logspace", start), _number("logspace", end)
    exponents = _spaced("logspace", a, b, steps, np.dtype(np.float64))
    with np.errstate(all="ignore"):
        y = (float(base) ** exponents).astype(wanted)
    return finish(y, device, requires_grad)


def zeros_like(input: Tensor, **options: Any) -> Tensor:
    """:func:`zeros` of the shape, dtype and device of ``input``."""
    options = like("zeros_like", input, options)
    return zeros(tuple(input.shape), **options)


def ones_like(input: Tensor, **options: Any) -> Tensor:
    """:func:`ones` of the shape, dtype and device of ``input``."""
    options = like("ones_like", input, options)
    return ones(tuple(input.shape), **options)


def empty_like(input: Tensor, **options: Any) -> Tensor:
    """:func:`empty` of the shape, dtype and device of ``input``."""
    options = like("empty_like", input, options)
    return empty(tuple(input.shape), **options)


def full_like(input: Tensor, fill_value: Any, **options: Any) -> Tensor:
    """:func:`full` of the shape, dtype and device of ``input``."""
    options = like("full_like", input, options)
    return full(tuple(input.shape), fill_value, **options)


def like(name: str, input: Any, options: dict[str, Any]) -> dict[str, Any]:
    """The keywords of a factory, with dtype and device from ``input`` unless they are given."""
    x = check_tensor(name, input)
    _check_layout(name, options)
    if options.get("dtype") is None:
        options["dtype"] = x.dtype
    if options.get("device") is None:
        options["device"] = x.device
    return options


def new_zeros(self: Tensor, *size: Any, **options: Any) -> Tensor:
    """:func:`zeros` of this tensor's dtype and device."""
    return zeros(*size, **like("new_zeros", self, options))


def new_ones(self: Tensor, *size: Any, **options: Any) -> Tensor:
    """:func:`ones` of this tensor's dtype and device."""
    return ones(*size, **like("new_ones", self, options))


def new_empty(self: Tensor, *size: Any, **options: Any) -> Tensor:
    """:func:`empty` of this tensor's dtype and device."""
    return empty(*size, **like("new_empty", self, options))


def new_full(self: Tensor, size: Sequence[int], fill_value: Any, **options: Any) -> Tensor:
    """:func:`full` of this tensor's dtype and device."""
    return full(size, fill_value, **like("new_full", self, options))


def new_tensor(self: Tensor, data: Any, **options: Any) -> Tensor:
    """:func:`tensor` of this tensor's dtype and device."""
    return tensor(data, **like("new_tensor", self, options))


def _number(name: str, value: Any) -> Any:
    """A Python number out of a number, a NumPy scalar or a one-element tensor."""
    if isinstance(value, (Tensor, np.generic, np.ndarray)):
        value = value.item()
    if isinstance(value, (int, float)):
        return value
    raise TypeError(f"{name}(): expected a number, not {type(value).__name__}")


def _dtype_of_number(value: float) -> np.dtype[Any]:
    if isinstance(value, bool):
        return np.dtype(bool)
    return _INT64 if isinstance(value, int) else get_default_dtype().numpy


def _plan(
    name: str, size: tuple[Any, ...], dtype: Any, extra: dict[str, Any]
) -> tuple[tuple[int, ...], np.dtype[Any]]:
    if not size:
        if "size" not in extra:
            raise TypeError(f'{name}() missing 1 required positional argument: "size"')
        size = (extra.pop("size"),)
    if len(size) > 1 and isinstance(size[0], (tuple, list)):
        raise TypeError(f"{name}() takes 1 positional argument but {len(size)} were given")
    _check_layout(name, extra)
    if extra:
        raise TypeError(f"{name}() got an unexpected keyword argument {next(iter(extra))!r}")
    return as_size(name, size), numpy_dtype(name, dtype)


def _check_layout(name: str, options: dict[str, Any]) -> None:
    """Take out the keywords about layout that change nothing here, refuse pinned memory."""
    options.pop("memory_format", None)
    options.pop("layout", None)
    if options.pop("pin_memory", False):
        raise RuntimeError(f"{name}: pin_memory=True needs a CUDA device")


def _bounds(name: str, given: tuple[Any, ...], named: dict[str, Any]) -> tuple[Any, Any, Any]:
    if len(given) == 1 and "end" not in named and "start" not in named:
        named, given = {**named, "end": given[0]}, ()
    values = dict(zip(("start", "end", "step"), given, strict=False))
    unexpected = sorted(set(named) - {"start", "end", "step"} | set(named) & set(values))
    if unexpected:
        raise TypeError(f"{name}() got an unexpected keyword argument {unexpected[0]!r}")
    values |= named
    if len(given) > 3 or "end" not in values:
        raise TypeError(f"{name}() takes end, or start and end, and step; got {given} {named}")
    return values.get("start", 0), values["end"], values.get("step", 1)


def _check_range(start: Any, end: Any, step: Any) -> None:
    if not (math.isfinite(start) and math.isfinite(end)):
        raise RuntimeError(f"unsupported range: {start} -> {end}")
    if step == 0 or math.isnan(step):
        raise RuntimeError("step must be nonzero")
    if (end - start) * step < 0:
        raise RuntimeError(
            f"upper bound and lower bound inconsistent with step sign: {start} to {end} by {step}"
        )


def _spaced(name: str, a: Any, b: Any, steps: int, dtype: np.dtype[Any]) -> Array:
    n = as_int(name, "steps", steps)
    if n < 0:
        raise RuntimeError(f"{name}: number of steps must be non-negative, got {n}")
    check_memory((n,), dtype, name)
    # From both ends, so that the last number is exactly b and the middle is symmetric.
    step = (b - a) / max(n - 1, 1)
    i = np.arange(n, dtype=np.float64)
    y = np.where(i < n / 2, a + i * step, b - (n - 1 - i) * step)
    if n == 1:
        y[0] = a
    return y.astype(dtype)
