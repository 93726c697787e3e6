"""Other dtypes and other devices: ``to``, ``float``, ``long``, ``cpu``, ``cuda``."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from .. import cuda as cuda_module
from .. import dtypes
from ..device import device as Device
from ..ops import basic
from ..ops import shape as ops
from ..tensor import Tensor
from .arguments import move, numpy_dtype
from .layout import clone

__all__: list[str] = []

METHODS = ("cpu", "cuda", "is_pinned", "pin_memory", "to", "type_as")
INPLACE: tuple[str, ...] = ()


def convert(x: Tensor, device: Any, dtype: np.dtype[Any] | None, copy: bool = False) -> Tensor:
    """``x`` itself if it is there and of that dtype already (and no copy is asked for)."""
    y = x
    if dtype is not None and dtype != x.array.dtype:
        y = basic.cast(y, dtype=dtype)
    if device is not None:
        target, here = Device(device), x.device
        if target.type != here.type or target.index not in (None, here.index):
            y = ops.transfer(
                y,
                there=functools.partial(move, device=target),
                back=functools.partial(move, device=here),
            )
    return clone(x) if copy and y is x else y


def to(self: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    """``to(dtype)``, ``to(device)``, ``to(device, dtype)``, ``to(other)``: itself if it is so.

    Keywords: ``dtype``, ``device``, ``copy``; ``non_blocking`` and ``memory_format`` change
    nothing.
    """
    device, dtype = kwargs.pop("device", None), kwargs.pop("dtype", None)
    copy = kwargs.pop("copy", False)
    kwargs.pop("non_blocking", None)
    kwargs.pop("memory_format", None)
    if kwargs:
        raise TypeError(f"to() got an unexpected keyword argument {next(iter(kwargs))!r}")
    rest = list(args)
    if rest and isinstance(rest[0], Tensor):
        other = rest.pop(0)
        device, dtype = other.device, other.dtype
    elif rest and isinstance(rest[0], (str, Device, int)) and not isinstance(rest[0], bool):
        device = rest.pop(0)
    elif rest and rest[0] is None:
        rest.pop(0)
    if rest and not isinstance(rest[0], bool):
        given = rest.pop(0)
        dtype = dtype if given is None else given
    if len(rest) > 2 or not all(isinstance(flag, bool) for flag in rest):
        raise TypeError(f"to() received an invalid combination of arguments: {args}")
    if len(rest) == 2:
        copy = rest[1]
    wanted = None if dtype is None else numpy_dtype("to", dtype)
    return convert(self, device, wanted, copy)


def type_as(self: Tensor, other: Tensor) -> Tensor:
    """``self.to(other.device, other.dtype)``."""
    return convert(self, other.device, other.array.dtype)


def cpu(self: Tensor, memory_format: Any = None) -> Tensor:
    """In host memory: itself if it is there."""
    del memory_format
    return convert(self, "cpu", None)


def cuda(self: Tensor, device: Any = None, non_blocking: bool = False) -> Tensor:
    """On a GPU; an error in one sentence if there is none."""
    del non_blocking
    return convert(self, "cuda" if device is None else device, None)


def _to_dtype(name: str) -> Callable[..., Tensor]:
    numpy_type = dtypes.as_numpy_dtype(name)

    def method(self: Tensor, memory_format: Any = None) -> Tensor:
        del memory_format
        return convert(self, None, numpy_type)

    method.__name__ = method.__qualname__ = name
    method.__doc__ = f"As {numpy_type}: itself if it is of that dtype."
    return method


def is_pinned(self: Tensor) -> bool:
    """Whether its (host) memory is pinned."""
    return cuda_module.is_pinned(self.array) if self.device.type == "cpu" else False


def pin_memory(self: Tensor, device: Any = None) -> Tensor:
    """A copy in memory that a GPU reads by itself; without a GPU, which alone would gain, itself.

    RuntimeError for a tensor on a GPU.
    """
    del device
    if self.device.type != "cpu":
        raise RuntimeError(f"cannot pin {self.dtype} on {self.device}: only CPU memory is pinned")
    if not cuda_module.is_available() or is_pinned(self):
        return self
    return Tensor._wrap(cuda_module.pin(self.array))


def get_device(self: Tensor) -> int:
    """The number of the GPU, -1 on the CPU."""
    return -1 if self.device.type == "cpu" else int(self.device.index or 0)


_DTYPE_METHODS = {
    "float": "float32", "double": "float64", "half": "float16", "bfloat16": "bfloat16",
    "long": "int64", "int": "int32", "short": "int16", "char": "int8", "byte": "uint8",
    "bool": "bool",
}  # fmt: skip

ONLY_METHODS: dict[str, Any] = {
    "get_device": get_device,
    **{name: _to_dtype(dtype) for name, dtype in _DTYPE_METHODS.items()},
}

PROPERTIES: dict[str, Callable[[Tensor], Any]] = {
    "is_cuda": lambda self: self.device.type == "cuda",
    "is_cpu": lambda self: self.device.type == "cpu",
}
