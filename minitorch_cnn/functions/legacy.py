"""Names of older scripts: ``torch.FloatTensor(2, 3)``, ``x.type("torch.LongTensor")``."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..device import device as Device
from ..dtypes import as_dtype, set_default_dtype
from ..dtypes import dtype as Dtype
from ..size import Size
from ..tensor import Array, Tensor
from .arguments import as_size, empty, finish
from .conversion import convert
from .fromdata import array_from_data

__all__ = [
    "BFloat16Tensor", "BoolTensor", "ByteTensor", "CharTensor", "DoubleTensor", "FloatTensor",
    "HalfTensor", "IntTensor", "LongTensor", "ShortTensor", "set_default_tensor_type", "typename",
]  # fmt: skip

METHODS: tuple[str, ...] = ()
INPLACE: tuple[str, ...] = ()


def construct(name: str, dtype: Dtype, args: tuple[Any, ...]) -> Array:
    """What the old constructors make: integers are sizes, a sequence is data, nothing is empty."""
    first = args[0] if args else 0
    if isinstance(first, Size):
        return empty(name, as_size(name, (tuple(first),)), dtype.numpy)
    if isinstance(first, (int, np.integer)) and not isinstance(first, bool):
        return empty(name, as_size(name, args or (0,)), dtype.numpy)
    if len(args) > 1:
        raise TypeError(f"{name}() takes sizes or one sequence, got {len(args)} arguments")
    if isinstance(first, Tensor):
        if first.dtype != dtype:
            raise TypeError(f"{name}() expects a tensor of {dtype}, got {first.dtype}: use .to()")
        return first.array
    if not hasattr(first, "__len__"):
        raise TypeError(f"{name}(): data must be a sequence (got {type(first).__name__})")
    return array_from_data(name, first, dtype)


class TensorType:
    """``torch.FloatTensor`` and its like: a constructor, and a type for ``isinstance``."""

    def __init__(self, name: str, dtype: str, device: str = "cpu") -> None:
        self.name = name
        self.dtype = as_dtype(dtype)
        self.device = Device(device)

    def __call__(self, *args: Any) -> Tensor:
        return finish(construct(self.name, self.dtype, args), self.device)

    def __instancecheck__(self, obj: object) -> bool:
        return (
            isinstance(obj, Tensor)
            and obj.dtype == self.dtype
            and obj.device.type == self.device.type
        )

    def __str__(self) -> str:
        return f"torch.{'cuda.' if self.device.type == 'cuda' else ''}{self.name}"

    def __repr__(self) -> str:
        return f"<class '{self}'>"


FloatTensor = TensorType("FloatTensor", "float32")
DoubleTensor = TensorType("DoubleTensor", "float64")
HalfTensor = TensorType("HalfTensor", "float16")
BFloat16Tensor = TensorType("BFloat16Tensor", "bfloat16")
LongTensor = TensorType("LongTensor", "int64")
IntTensor = TensorType("IntTensor", "int32")
ShortTensor = TensorType("ShortTensor", "int16")
CharTensor = TensorType("CharTensor", "int8")
ByteTensor = TensorType("ByteTensor", "uint8")
BoolTensor = TensorType("BoolTensor", "bool")

_TYPES = (
    FloatTensor, DoubleTensor, HalfTensor, BFloat16Tensor, LongTensor, IntTensor, ShortTensor,
    CharTensor, ByteTensor, BoolTensor,
)  # fmt: skip


def _type_of(x: Tensor) -> str:
    name = next(kind.name for kind in _TYPES if kind.dtype == x.dtype)
    return f"torch.{'cuda.' if x.device.type == 'cuda' else ''}{name}"


def _parse(kind: Any) -> tuple[Dtype, Device]:
    """The dtype and device of "torch.FloatTensor", "torch.cuda.FloatTensor" or a TensorType."""
    if isinstance(kind, TensorType):
        return kind.dtype, kind.device
    prefix, _, name = str(kind).rpartition(".")
    for known in _TYPES:
        if known.name == name and prefix in ("torch", "torch.cuda"):
            return known.dtype, Device("cuda" if prefix == "torch.cuda" else "cpu")
    raise ValueError(f"invalid type: {kind!r}")


def convert_type(self: Tensor, dtype: Any = None, non_blocking: bool = False) -> Any:
    """The old name of dtype and device, or the tensor converted to one (or to a dtype)."""
    del non_blocking
    if dtype is None:
        return _type_of(self)
    if isinstance(dtype, Dtype):
        return convert(self, None, dtype.numpy)
    wanted, device = _parse(dtype)
    return convert(self, device, wanted.numpy)


def new(self: Tensor, *args: Any) -> Tensor:
    """A tensor of this dtype and device from sizes or from a sequence."""
    return finish(construct("new", self.dtype, args), self.device)


def typename(obj: Any) -> str:
    """``"torch.FloatTensor"`` of a tensor; the qualified name of anything else's class."""
    if isinstance(obj, Tensor):
        return _type_of(obj)
    kind = obj.__class__
    return kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__name__}"


def set_default_tensor_type(t: Any) -> None:
    """Old: ``set_default_dtype`` under the name of a tensor type."""
    set_default_dtype(t if isinstance(t, Dtype) else _parse(t)[0])


ONLY_METHODS: dict[str, Any] = {"type": convert_type, "new": new}
