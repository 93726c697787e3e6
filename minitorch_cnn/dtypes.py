"""The element types, under PyTorch's names. Arrays carry NumPy dtypes; users see these."""

from __future__ import annotations

import builtins
from typing import Any

import ml_dtypes
import numpy as np

from .kernels.half import BFLOAT16, is_floating, is_half

__all__ = [
    "ALL", "BFLOAT16", "as_dtype", "as_numpy_dtype", "bfloat16", "bool_", "double", "dtype",
    "finfo", "float", "float16", "float32", "float64", "from_numpy_dtype", "get_default_dtype",
    "half", "iinfo", "int", "int8", "int16", "int32", "int64", "is_floating", "is_half", "long",
    "set_default_dtype", "short", "uint8", "widest",
]  # fmt: skip


class dtype:
    """An element type: ``float32.numpy`` is its NumPy dtype."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.numpy = np.dtype(name)

    @property
    def is_floating_point(self) -> bool:
        return is_floating(self.numpy)

    @property
    def is_complex(self) -> bool:
        return False

    @property
    def is_signed(self) -> bool:
        return is_floating(self.numpy) or self.numpy.kind == "i"

    @property
    def itemsize(self) -> builtins.int:
        return self.numpy.itemsize

    def __repr__(self) -> str:
        return f"torch.{self.name}"

    def __reduce__(self) -> str:
        return "bool_" if self.name == "bool" else self.name


float16 = half = dtype("float16")
bfloat16 = dtype("bfloat16")
float32 = float = dtype("float32")
float64 = double = dtype("float64")
uint8 = dtype("uint8")
int8 = dtype("int8")
int16 = short = dtype("int16")
int32 = int = dtype("int32")
int64 = long = dtype("int64")
bool_ = dtype("bool")

ALL = (float16, bfloat16, float32, float64, uint8, int8, int16, int32, int64, bool_)
_BY_NUMPY = {d.numpy: d for d in ALL}
_BY_PYTHON = {"float": float64, "int": int64, "bool": bool_}
_default = float32


def from_numpy_dtype(numpy_dtype: np.dtype[Any]) -> dtype:
    """The dtype of a NumPy dtype; TypeError for those that tensors do not have."""
    try:
        return _BY_NUMPY[numpy_dtype]
    except KeyError:
        native = numpy_dtype.newbyteorder("=")
        if native in _BY_NUMPY:
            return _BY_NUMPY[native]
    names = ", ".join(d.name for d in ALL)
    raise TypeError(
        f"can't convert np.ndarray of type {numpy_dtype}. The only supported types are: {names}."
    )


def as_dtype(value: Any) -> dtype:
    """A dtype from a dtype, a NumPy dtype or type, a name, Python's types, or None (default)."""
    if isinstance(value, dtype):
        return value
    if value is None:
        return _default
    if isinstance(value, type) and value.__name__ in _BY_PYTHON and value.__module__ == "builtins":
        return _BY_PYTHON[value.__name__]
    if isinstance(value, str) and value.startswith("torch."):
        value = value.removeprefix("torch.")
    return from_numpy_dtype(np.dtype(value))


def as_numpy_dtype(value: Any) -> np.dtype[Any]:
    """Like :func:`as_dtype`, for code that works on arrays."""
    return as_dtype(value).numpy


def widest(a: np.dtype[Any], b: np.dtype[Any]) -> np.dtype[Any]:
    """The dtype that holds the numbers of both, as NumPy knows it but for its float16."""
    if a != b and is_half(a) and is_half(b):
        return float32.numpy  # one has more digits, the other more range
    return np.promote_types(a, b)


def get_default_dtype() -> dtype:
    """The dtype of Python floats, and of ``zeros``, ``randn``, ... unless told."""
    return _default


def set_default_dtype(d: dtype) -> None:
    """The dtype of Python floats and of ``zeros``, ``randn``, ... (float32 unless set)."""
    global _default
    if not as_dtype(d).is_floating_point:
        raise TypeError("only floating-point types are supported as the default type")
    _default = as_dtype(d)


class finfo:
    """Limits of a floating dtype: eps, max, min, tiny, smallest_normal, resolution, bits."""

    def __init__(self, type: dtype | None = None) -> None:
        info: Any = ml_dtypes.finfo(as_numpy_dtype(type))  # type: ignore[no-untyped-call]
        self.dtype = as_dtype(type).name
        self.bits = info.bits
        self.eps, self.max, self.min = map(builtins.float, (info.eps, info.max, info.min))
        self.tiny = self.smallest_normal = builtins.float(info.tiny)
        self.resolution = builtins.float(info.resolution)


class iinfo:
    """Limits of an integer dtype: min, max, bits."""

    def __init__(self, type: dtype) -> None:
        info = np.iinfo(as_numpy_dtype(type))
        self.dtype = as_dtype(type).name
        self.bits, self.min, self.max = info.bits, info.min, info.max
