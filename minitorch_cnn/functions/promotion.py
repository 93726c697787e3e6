"""Type promotion: the dtype that an operation on mixed operands computes in.

Three kinds of operand, and a lower one matters only if it is of a higher category (bool < integer
< floating point): tensors with dimensions, then 0-d tensors, then Python numbers (int64, the
default dtype, bool). Within a kind, dtypes widen. ``int_tensor + 1.5`` is of the default dtype,
``float32_tensor * float64_scalar_tensor`` stays float32.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from ..amp.lists import dtype_of
from ..dtypes import as_numpy_dtype, dtype, from_numpy_dtype, get_default_dtype, is_floating, widest
from ..grad_mode import mode
from ..ops import basic
from ..tensor import Tensor
from .arguments import check_tensor

__all__ = ["can_cast", "promote_types", "result_type"]

METHODS: tuple[str, ...] = ()
INPLACE: tuple[str, ...] = ()

BOOL, INT64, FLOAT16, FLOAT32, FLOAT64 = map(
    np.dtype, ("bool", "int64", "float16", "float32", "float64")
)
_CATEGORY = {"b": 0, "i": 1, "u": 1, "f": 2, "V": 2}  # "V": bfloat16
_LIMIT = 2**63
_LONG_NAMES = {
    "bool": "Bool", "uint8": "Byte", "int8": "Char", "int16": "Short", "int32": "Int",
    "int64": "Long", "float16": "Half", "bfloat16": "BFloat16", "float32": "Float",
    "float64": "Double",
}  # fmt: skip


@functools.cache
def _widen(a: np.dtype[Any], b: np.dtype[Any]) -> np.dtype[Any]:
    """The dtype that holds both, except that integers never widen a float: f16 + i64 is f16."""
    if _CATEGORY[a.kind] != _CATEGORY[b.kind]:
        return a if _CATEGORY[a.kind] > _CATEGORY[b.kind] else b
    return widest(a, b)


def _stronger(high: np.dtype[Any] | None, low: np.dtype[Any] | None) -> np.dtype[Any] | None:
    """The result of an operand kind that counts more and one that counts less."""
    if high is None or low is None:
        return low if high is None else high
    return low if _CATEGORY[low.kind] > _CATEGORY[high.kind] else high


def _number_dtype(x: Any) -> np.dtype[Any]:
    if isinstance(x, bool):
        return BOOL
    return INT64 if isinstance(x, int) else get_default_dtype().numpy


def common_dtype(*operands: Any) -> np.dtype[Any]:
    """The dtype that these tensors and Python numbers are computed in."""
    kinds: list[np.dtype[Any] | None] = [None, None, None]
    for x in operands:
        if isinstance(x, Tensor):
            kind, d = (0 if x.array.ndim else 1), x.array.dtype
        else:
            kind, d = 2, _number_dtype(x)
        seen = kinds[kind]
        kinds[kind] = d if seen is None else _widen(seen, d)
    result = _stronger(kinds[0], _stronger(kinds[1], kinds[2]))
    assert result is not None, "no operands"
    return result


def result_type(tensor1: Any, tensor2: Any) -> dtype:
    """The dtype of ``tensor1 + tensor2``; either may be a Python number."""
    return from_numpy_dtype(common_dtype(operand("result_type", tensor1),
                                         operand("result_type", tensor2)))  # fmt: skip


def promote_types(type1: dtype, type2: dtype) -> dtype:
    """The narrowest dtype that both can be cast to."""
    return from_numpy_dtype(_widen(as_numpy_dtype(type1), as_numpy_dtype(type2)))


def can_cast(from_: dtype, to: dtype) -> bool:
    """Whether an in-place result may be stored: a category never falls."""
    low, high = as_numpy_dtype(from_), as_numpy_dtype(to)
    return _CATEGORY[low.kind] <= _CATEGORY[high.kind]


def operand(name: str, x: Any, position: int = 2) -> Any:
    """A Tensor, or a Python number within int64, of what a user gave."""
    if isinstance(x, Tensor):
        return x
    if isinstance(x, np.ndarray):
        return Tensor._wrap(x)
    if isinstance(x, np.generic):
        x = x.item()
    if isinstance(x, int):
        if not -_LIMIT <= x < 2 * _LIMIT:
            raise OverflowError(f"{name}(): {x} does not fit in 64 bits")
        return x
    if not isinstance(x, float):
        check_tensor(name, x, "input" if position == 1 else "other")
    return x


def to_dtype(x: Any, d: np.dtype[Any]) -> Any:
    """A Tensor cast to ``d`` if it is not of it; an integer wrapped around into ``d``'s range."""
    if isinstance(x, Tensor):
        return x if x.array.dtype == d else basic.cast(x, dtype=d)
    if d.kind in "iu" and isinstance(x, int):
        bits = d.itemsize * 8
        low = -(1 << bits - 1) if d.kind == "i" else 0
        return (int(x) - low) % (1 << bits) + low
    return x


def dtype_name(d: np.dtype[Any]) -> str:
    """PyTorch's word for a dtype in its messages: "Long" for int64."""
    return _LONG_NAMES[d.name]


def not_implemented(name: str, x: Tensor) -> NotImplementedError:
    """The error for a dtype that an operation has no meaning for."""
    return NotImplementedError(f"\"{name}\" not implemented for '{dtype_name(x.array.dtype)}'")


def promoted(name: str, *operands: Any) -> tuple[Any, ...]:
    """The operands in their common dtype (numbers stay numbers)."""
    checked = [operand(name, x, i) for i, x in enumerate(operands, 1)]
    d = common_dtype(*checked)
    return tuple(to_dtype(x, d) for x in checked)


def floating(name: str, x: Any) -> Tensor:
    """``x``, with integers and bools cast to the default dtype."""
    if not isinstance(x, Tensor):
        check_tensor(name, x)
    if is_floating(x.array.dtype):
        return x
    return basic.cast(x, dtype=get_default_dtype().numpy)


def is_plain_float(x: Any, number: Any) -> bool:
    """A float32 or float64 tensor and a Python float or int: what needs no promotion."""
    if type(number) is not float and (type(number) is not int or not -_LIMIT <= number < _LIMIT):
        return False
    return isinstance(x, Tensor) and (x.array.dtype is FLOAT32 or x.array.dtype is FLOAT64)


def elementwise(fn: Callable[..., Any], a: Any, b: Any, **settings: Any) -> Tensor:
    """``fn(a, b)``, an op on two operands, after promotion; its name is the op's.

    The usual cases (equal dtypes, or a float tensor and a number) are decided first: this runs for
    every ``x * 2``.
    """
    try:
        if isinstance(b, Tensor):
            if is_plain_float(b, a) or (isinstance(a, Tensor) and a.array.dtype is b.array.dtype):
                return fn(a, b, **settings)
        elif is_plain_float(a, b):
            return fn(a, b, **settings)
        name = fn.__name__
        a, b = operand(name, a, 1), operand(name, b, 2)
        if not isinstance(a, Tensor) and not isinstance(b, Tensor):
            check_tensor(name, a)
        d = common_dtype(a, b)
        if d is FLOAT16 and not (isinstance(a, Tensor) and isinstance(b, Tensor)):
            # The number keeps its precision and range: only the result is rounded.
            wide = fn(to_dtype(a, FLOAT32), to_dtype(b, FLOAT32), **settings)
            return wide if mode.autocast and dtype_of(name, (a, b)) else to_dtype(wide, FLOAT16)
        return fn(to_dtype(a, d), to_dtype(b, d), **settings)
    except ValueError as error:
        raise broadcast_error(fn.__name__, a, b) or error from None


def broadcast_error(name: str, a: Any, b: Any) -> RuntimeError | None:
    """What is wrong with two operands that do not broadcast; None if they do."""
    return shapes_error(name, tuple(getattr(a, "shape", ())), tuple(getattr(b, "shape", ())))


def shapes_error(name: str, a: tuple[int, ...], b: tuple[int, ...]) -> RuntimeError | None:
    """What is wrong with two shapes that do not broadcast; None if they do."""
    ndim = max(len(a), len(b))
    for axis in reversed(range(ndim)):
        m, n = ((1,) * (ndim - len(shape)) + shape for shape in (a, b))
        if m[axis] != n[axis] and 1 not in (m[axis], n[axis]):
            return RuntimeError(
                f"The size of tensor a ({m[axis]}) must match the size of tensor b ({n[axis]}) at"
                f" non-singleton dimension {axis} ({name} of shapes {list(a)} and {list(b)}):"
                " reshape or expand one of them"
            )
    return None
