"""``autograd.Variable``: what a Tensor with gradients was called until 2018."""

from __future__ import annotations

import warnings
from typing import Any

from ..tensor import Tensor


class _VariableMeta(type):
    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, Tensor)


class Variable(metaclass=_VariableMeta):
    """``Variable(x)`` is a Tensor on the memory of ``x`` and without its history.

    Every Tensor is an instance of Variable. ``volatile=True`` has no effect but a UserWarning, as
    in PyTorch: an old test loop runs, and records a graph that it does not need.
    """

    def __new__(  # type: ignore[misc]
        cls, data: Tensor | None = None, requires_grad: bool = False, volatile: Any = None
    ) -> Tensor:
        """Errors: TypeError if ``data`` is not a Tensor, RuntimeError as for ``requires_grad_``."""
        if data is None:
            data = Tensor()
        if not isinstance(data, Tensor):
            raise TypeError(f"Variable data has to be a tensor, but got {type(data).__name__}")
        if volatile:
            warnings.warn(
                "volatile was removed and now has no effect. Use `with torch.no_grad():` instead.",
                UserWarning,
                stacklevel=2,
            )
        return data.detach().requires_grad_(requires_grad)
