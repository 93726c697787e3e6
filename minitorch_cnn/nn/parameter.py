"""Parameter and Buffer: tensors that a Module keeps track of when they are assigned to it."""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np

from ..dtypes import as_numpy_dtype
from ..functions.arguments import finish
from ..kernels.backend import empty
from ..size import Size
from ..tensor import Tensor

T = TypeVar("T", bound=Tensor)


class Parameter(Tensor):
    """A tensor to be learned: assigned to a Module it appears in ``module.parameters()``.

    ``Parameter(data)`` shares memory with the tensor ``data``. Its gradient flag is set whatever
    the grad mode is; integer data needs ``requires_grad=False``.
    """

    def __new__(cls, data: Tensor | None = None, requires_grad: bool = True) -> Parameter:
        return _share(cls, data, requires_grad)

    def __init__(self, data: Tensor | None = None, requires_grad: bool = True) -> None:
        """All done by ``__new__``: Tensor's own constructor takes other arguments."""

    def __repr__(self) -> str:
        return "Parameter containing:\n" + super().__repr__()

    def __deepcopy__(self, memo: dict[int, Any]) -> Parameter:
        return _copied(self, memo)

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        return _rebuild, (type(self), self.array, self.requires_grad)


class Buffer(Tensor):
    """A tensor that is part of a Module's state without being learned (running means, tables).

    With ``persistent=False`` it moves with the module and stays out of its ``state_dict``.
    """

    persistent: bool

    def __new__(cls, data: Tensor | None = None, *, persistent: bool = True) -> Buffer:
        self = _share(cls, data, False)
        self.persistent = persistent
        return self

    def __init__(self, data: Tensor | None = None, *, persistent: bool = True) -> None:
        """All done by ``__new__``."""


def _share(cls: type[T], data: Any, requires_grad: bool) -> T:
    if data is None:
        data = Tensor._wrap(np.empty(0, as_numpy_dtype(None)))
    if not isinstance(data, Tensor):
        raise TypeError(
            f"{cls.__name__}() expects a Tensor, got {type(data).__name__}: wrap it in tensor(...)"
        )
    self = object.__new__(cls)
    self._init(data.array)
    self._counter = data._counter
    if requires_grad:
        self.requires_grad = True
    return self


def _copied(parameter: T, memo: dict[int, Any]) -> T:
    """A copy of value and flags; like PyTorch's, without the gradient."""
    if id(parameter) not in memo:
        copy = object.__new__(type(parameter))
        copy._init(parameter.array.copy())
        copy._requires_grad = parameter._requires_grad
        memo[id(parameter)] = copy
    return memo[id(parameter)]


def _rebuild(cls: type[Tensor], array: Any, requires_grad: bool) -> Tensor:
    return _share(cls, Tensor._wrap(array), requires_grad)


class _Uninitialized(Tensor):
    """A tensor whose shape is not known before the first forward pass."""

    def _init_lazy(self, requires_grad: bool, device: Any, dtype: Any) -> None:
        self._init(finish(np.empty(0, as_numpy_dtype(dtype)), device).array)
        self._requires_grad = requires_grad

    def _grow(self, shape: tuple[int, ...], device: Any, dtype: Any, kind: type[Tensor]) -> None:
        element = self.array.dtype if dtype is None else as_numpy_dtype(dtype)
        self.array = finish(empty(tuple(shape), self.array, element), device).array
        self.__class__ = kind  # type: ignore[assignment]

    @property
    def shape(self) -> Size:
        raise RuntimeError(
            "Can't access the shape of an uninitialized parameter or buffer. Run one forward pass"
            " (a dry run on a batch of the right size) first."
        )

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"


class UninitializedParameter(_Uninitialized, Parameter):
    """A Parameter that :meth:`materialize` gives its shape: what lazy layers start with."""

    def __new__(
        cls, requires_grad: bool = True, device: Any = None, dtype: Any = None
    ) -> UninitializedParameter:
        self = object.__new__(cls)
        self._init_lazy(requires_grad, device, dtype)
        return self

    def __init__(self, requires_grad: bool = True, device: Any = None, dtype: Any = None) -> None:
        """All done by ``__new__``."""

    def __deepcopy__(self, memo: dict[int, Any]) -> UninitializedParameter:
        return memo.setdefault(id(self), type(self)(self.requires_grad, dtype=self.array.dtype))

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        return type(self), (self.requires_grad, None, self.array.dtype)

    def materialize(self, shape: tuple[int, ...], device: Any = None, dtype: Any = None) -> None:
        """Become a Parameter of this shape, with memory not yet filled."""
        self._grow(shape, device, dtype, Parameter)


class UninitializedBuffer(_Uninitialized):
    """The same for a buffer."""

    def __init__(
        self, requires_grad: bool = False, device: Any = None, dtype: Any = None
    ) -> None:
        self._init_lazy(requires_grad, device, dtype)

    def materialize(self, shape: tuple[int, ...], device: Any = None, dtype: Any = None) -> None:
        """Become a Tensor of this shape, with memory not yet filled."""
        self._grow(shape, device, dtype, Tensor)


def is_lazy(tensor: Any) -> bool:
    """Whether this parameter or buffer still waits for its shape."""
    return isinstance(tensor, _Uninitialized)
