"""Attaches the functions of ``functions/`` to Tensor: methods, in-place methods, operators.

A function's first parameter is the tensor, so ``torch.sum(x, 1)`` and ``x.sum(1)`` are one
function. Each module names its methods in ``METHODS``, in ``INPLACE`` those that also get a version
with an underscore, which stores the result in the tensor's own memory (``Tensor._write``), and in
``ONLY_METHODS`` what only the tensor has, by name.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from . import functions as f
from .dtypes import is_floating
from .tensor import Tensor

_OPERANDS = (Tensor, int, float, np.ndarray, np.generic)


def _in_place(fn: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def method(self: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        return self._write(fn, *args, **kwargs)

    name = fn.__name__
    method.__name__ = method.__qualname__ = f"{name}_"
    method.__doc__ = f"In-place version of :func:`{name}`: stores the result in this tensor."
    return method


def _operator(fn: Callable[[Any, Any], Tensor], swapped: bool = False) -> Callable[..., Any]:
    """``x + other`` for tensors and numbers; Python tries the other operand's class otherwise."""

    @functools.wraps(fn)
    def method(self: Tensor, other: Any) -> Any:
        if not isinstance(other, _OPERANDS):
            return NotImplemented
        return fn(other, self) if swapped else fn(self, other)

    return method


def _in_place_operator(fn: Callable[..., Tensor]) -> Callable[..., Any]:
    def method(self: Tensor, other: Any) -> Any:
        return self._write(fn, other) if isinstance(other, _OPERANDS) else NotImplemented

    return method


def _invert(self: Tensor) -> Tensor:
    if is_floating(self.array.dtype):
        raise TypeError(
            "~ (operator.invert) is only implemented on integer and Boolean-type tensors"
        )
    return f.bitwise_not(self)


_ARITHMETIC = {
    "add": f.add, "sub": f.sub, "mul": f.mul, "truediv": f.div, "floordiv": f.floor_divide,
    "mod": f.remainder, "pow": f.pow, "and": f.bitwise_and, "or": f.bitwise_or,
    "xor": f.bitwise_xor, "lshift": f.bitwise_left_shift, "rshift": f.bitwise_right_shift,
    "matmul": f.matmul,
}  # fmt: skip
_COMPARISONS = {"eq": f.eq, "ne": f.ne, "lt": f.lt, "le": f.le, "gt": f.gt, "ge": f.ge}
_UNARY = {"neg": f.neg, "pos": f.positive, "abs": f.abs, "invert": _invert}


def attach() -> None:
    """Give Tensor everything it has beyond autograd."""
    for module in f.MODULES:
        for name in module.METHODS:
            setattr(Tensor, name, getattr(module, name))
        for name in module.INPLACE:
            setattr(Tensor, f"{name}_", _in_place(getattr(module, name)))
        for name, method in getattr(module, "ONLY_METHODS", {}).items():
            setattr(Tensor, name, method)
        for name, getter in getattr(module, "PROPERTIES", {}).items():
            setattr(Tensor, name, property(getter))
    for name, fn in _ARITHMETIC.items():
        setattr(Tensor, f"__{name}__", _operator(fn))
        setattr(Tensor, f"__r{name}__", _operator(fn, swapped=True))
        if name != "matmul":  # its result has another shape
            setattr(Tensor, f"__i{name}__", _in_place_operator(fn))
    for name, fn in _COMPARISONS.items():
        setattr(Tensor, f"__{name}__", _operator(fn))
    for name, method in _UNARY.items():
        setattr(Tensor, f"__{name}__", method)
    # NumPy then leaves array * tensor to the tensor.
    Tensor.__array_priority__ = 1000.0


attach()
