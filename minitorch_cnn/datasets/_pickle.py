"""Reading CIFAR's pickles without running anything that they name.

A pickle is a program: it may call any function that it can name. This reader gives it none of
Python's or NumPy's; the few names that an array of numbers needs stand for the classes below.
"""

from __future__ import annotations

import io
import math
import pickle
from typing import Any

import numpy as np


class _Dtype:
    """Stands for ``numpy.dtype``; plain numbers only."""

    def __init__(self, name: Any, *_: Any) -> None:
        text = name.decode("ascii") if isinstance(name, bytes) else str(name)
        if text not in {"u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f4", "f8", "b1"}:
            raise pickle.UnpicklingError(f"an array of type {text!r} is not an array of numbers")
        self.dtype = np.dtype(text)

    def __setstate__(self, state: Any) -> None:
        order: Any = state[1].decode("ascii") if isinstance(state[1], bytes) else state[1]
        self.dtype = self.dtype.newbyteorder(order)


class _Array:
    """Stands for ``numpy.ndarray`` while it is put together."""

    array: np.ndarray[Any, Any]

    def __setstate__(self, state: Any) -> None:
        _, shape, dtype, column_major, content = state
        if not isinstance(dtype, _Dtype) or not isinstance(content, bytes):
            raise pickle.UnpicklingError("an array's type or content is not what it should be")
        sizes = [int(n) for n in shape]
        if min(sizes, default=0) < 0 or len(content) != math.prod(sizes) * dtype.dtype.itemsize:
            raise pickle.UnpicklingError(f"{len(content)} bytes do not make an array of {sizes}")
        flat = np.frombuffer(content, dtype.dtype)
        self.array = flat.reshape(sizes, order="F" if column_major else "C")


def _reconstruct(*_: Any) -> _Array:
    return _Array()


def _encode(text: str, encoding: str = "latin1") -> bytes:
    """Stands for ``_codecs.encode``, by which Python 3 writes bytes into old pickle formats."""
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"encoding {encoding!r}")
    return text.encode("latin1")


_ALLOWED = {
    ("numpy.core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy._core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Dtype,
    ("_codecs", "encode"): _encode,
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module_name: str, global_name: str) -> Any:
        try:
            return _ALLOWED[module_name, global_name]
        except KeyError:
            raise pickle.UnpicklingError(
                f"it asks for {module_name}.{global_name}; only arrays of numbers, dicts, lists,"
                " bytes and strings are read"
            ) from None


def load_plain(content: bytes) -> Any:
    """The dict, list, array, number, bytes or string in a pickle; UnpicklingError for all else.

    Strings of Python 2 come out as str (CIFAR's keys and names are ASCII), its bytes as bytes.
    """
    try:
        return _plain(_Unpickler(io.BytesIO(content), encoding="bytes").load())
    except pickle.UnpicklingError:
        raise
    except Exception as error:  # a broken pickle may fail in any way
        raise pickle.UnpicklingError(f"broken pickle: {error}") from error


def _plain(value: Any) -> Any:
    if isinstance(value, _Array):
        return value.array
    if isinstance(value, dict):
        return {_text(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, (bytes, str)):
        return _text(value)
    if isinstance(value, (int, float, bool)) or value is None:
        return value
    raise pickle.UnpicklingError(f"it holds a {type(value).__name__}")


def _text(value: Any) -> Any:
    if isinstance(value, bytes):
        try:
            return value.decode("ascii")
        except UnicodeDecodeError:
            return value
    return value
