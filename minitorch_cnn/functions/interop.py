"""Between tensors and the rest of Python: ``item``, ``numpy``, formats, copies, pickles, DLPack."""

from __future__ import annotations

import copy as copy_module
from collections.abc import Callable
from typing import Any

import numpy as np

from ..dtypes import is_floating
from ..size import Size
from ..tensor import Array, Tensor, memory_of
from .arguments import channels_last, check_tensor, move, wrap_dim
from .fromdata import array_from_numpy
from .shape import flip

__all__ = [
    "from_dlpack", "is_complex", "is_floating_point", "is_nonzero", "is_signed", "is_tensor",
    "numel", "to_dlpack",
]  # fmt: skip

METHODS = ("is_complex", "is_floating_point", "is_nonzero", "is_signed", "numel")
INPLACE: tuple[str, ...] = ()


# Questions about a tensor


def numel(input: Tensor) -> int:
    """How many elements there are."""
    return int(check_tensor("numel", input).array.size)


def is_tensor(obj: Any) -> bool:
    """Whether ``obj`` is a Tensor."""
    return isinstance(obj, Tensor)


def is_floating_point(input: Tensor) -> bool:
    """Whether the dtype is float16, bfloat16, float32 or float64."""
    return input.dtype.is_floating_point


def is_complex(input: Tensor) -> bool:
    """False: there are no complex tensors here."""
    return input.dtype.is_complex


def is_signed(input: Tensor) -> bool:
    """Whether the dtype has negative numbers."""
    return input.dtype.is_signed


def is_nonzero(input: Tensor) -> bool:
    """Whether the one element is not 0."""
    if input.array.size != 1:
        raise RuntimeError(
            "Boolean value of Tensor with more than one value is ambiguous"
            if input.array.size
            else "Boolean value of Tensor with no values is ambiguous"
        )
    return bool(input.array.item())


def size(self: Tensor, dim: int | None = None) -> Any:
    """The shape, or its entry ``dim``."""
    if dim is None:
        return Size(self.array.shape)
    return self.array.shape[wrap_dim("size", _dim_of("size", self, dim), self.array.ndim)]


def stride(self: Tensor, dim: int | None = None) -> Any:
    """How many elements apart in memory neighbours along each dimension (or ``dim``) are."""
    strides = tuple(s // self.array.itemsize for s in self.array.strides)
    if dim is None:
        return strides
    return strides[wrap_dim("stride", _dim_of("stride", self, dim), self.array.ndim)]


def _dim_of(name: str, x: Tensor, dim: int) -> int:
    if x.array.ndim == 0:
        raise IndexError(f"{name}: Dimension specified as {dim} but tensor has no dimensions")
    return dim


def is_contiguous(self: Tensor, memory_format: Any = None) -> bool:
    """Whether the elements lie in memory in row-major order, without gaps."""
    if memory_format is channels_last:
        return self.array.ndim == 4 and bool(self.array.transpose(0, 2, 3, 1).flags.c_contiguous)
    return bool(self.array.flags.c_contiguous)


def data_ptr(self: Tensor) -> int:
    """The address of the first element."""
    if isinstance(self.array, np.ndarray):
        return int(self.array.__array_interface__["data"][0])
    return int(self.array.data.ptr)


def storage_offset(self: Tensor) -> int:
    """How many elements into its memory a view begins."""
    start = data_ptr(Tensor._wrap(memory_of(self.array)))
    return (data_ptr(self) - start) // int(self.array.itemsize)


# Python's numbers and protocols


def item(self: Tensor) -> Any:
    """The one element as a Python number."""
    if self.array.size != 1:
        raise RuntimeError(
            f"a Tensor with {self.array.size} elements (shape {list(self.shape)}) cannot be"
            " converted to Scalar: reduce it first (.sum(), .mean()) or use .tolist()"
        )
    return self.array.item()


def tolist(self: Tensor) -> Any:
    """Nested lists of Python numbers (a number for a 0-d tensor)."""
    return self.array.tolist()


def _number(self: Tensor) -> Any:
    if self.array.size != 1:
        raise ValueError(
            "only one element tensors can be converted to Python scalars, got shape"
            f" {list(self.shape)}"
        )
    return self.array.item()


def to_float(self: Tensor) -> float:
    """``float(x)`` of a tensor with one element."""
    return float(_number(self))


def to_int(self: Tensor) -> int:
    """``int(x)`` of a tensor with one element."""
    return int(_number(self))


def to_index(self: Tensor) -> int:
    """An integer tensor with one element used as an index or in ``range``."""
    if self.array.size != 1 or is_floating(self.array.dtype):
        raise TypeError("only integer tensors of a single element can be converted to an index")
    return int(self.array.item())


def format_tensor(self: Tensor, format_spec: str) -> str:
    """``"{:.4f}".format(loss)``: a 0-d tensor is formatted as its number."""
    if self.array.ndim == 0:
        return format(self.array.item(), format_spec)
    if format_spec:
        raise TypeError(
            f"unsupported format string {format_spec!r} passed to a Tensor of shape"
            f" {list(self.shape)}: use .item() on one element"
        )
    return str(self)


def reverse(self: Tensor) -> Tensor:
    """``reversed(x)``: along the first dimension."""
    return flip(self, 0) if self.array.ndim else self


def deepcopy(self: Tensor, memo: dict[int, Any]) -> Tensor:
    """A leaf with a copy of the numbers and of ``.grad``."""
    if id(self) in memo:
        known: Tensor = memo[id(self)]
        return known
    if not self.is_leaf:
        raise RuntimeError(
            "Only Tensors created explicitly by the user (graph leaves) support the deepcopy"
            " protocol at the moment. Use x.detach().clone()."
        )
    y = type(self)._wrap(self.array.copy(), self.requires_grad)
    memo[id(self)] = y
    if self.grad is not None:
        y.grad = copy_module.deepcopy(self.grad, memo)
    return y


def shallow_copy(self: Tensor) -> Tensor:
    """``copy.copy(x)``: another Tensor on the same memory."""
    y = type(self)._wrap(self.array, self.is_leaf and self.requires_grad)
    y._counter = self._counter
    return y


def rebuild(kind: type[Tensor], array: Array, requires_grad: bool) -> Tensor:
    """The tensor that :func:`reduce` took apart."""
    return kind._wrap(array, requires_grad)


def reduce(self: Tensor, protocol: Any) -> tuple[Any, ...]:
    """For pickle (worker processes): the numbers and requires_grad, no history, no hooks."""
    del protocol
    return rebuild, (type(self), self.array, self.is_leaf and self.requires_grad)


# NumPy and DLPack


def numpy(self: Tensor, *, force: bool = False) -> Any:
    """The numbers as an array on the same memory; ``force=True`` detaches and copies if needed.

    bfloat16, of which PyTorch makes no array, is ``ml_dtypes.bfloat16`` there: code written for
    PyTorch, ``x.float().numpy()``, does the same here.
    """
    if force:
        return move(self.array, "cpu").view()
    if self.requires_grad:
        raise RuntimeError(
            "Can't call numpy() on Tensor that requires grad. Use tensor.detach().numpy() instead."
        )
    if not isinstance(self.array, np.ndarray):
        raise TypeError(
            f"can't convert {self.device} device type tensor to numpy. Use Tensor.cpu() to copy the"
            " tensor to host memory first."
        )
    return self.array.view()


def to_array(self: Tensor, dtype: Any = None, copy: bool | None = None) -> Any:
    """``np.asarray(x)``: the same memory unless the dtype differs or a copy is asked for."""
    return np.array(numpy(self), dtype=dtype, copy=copy)


def wrap_array(self: Tensor, array: Any, context: Any = None, return_scalar: bool = False) -> Any:
    """What ``np.sin(x)`` returns: a Tensor, where there is one of that dtype."""
    del context, return_scalar
    try:
        return Tensor._wrap(array_from_numpy(np.asarray(array)))
    except (TypeError, ValueError):
        return array


def dlpack(
    self: Tensor,
    *,
    stream: Any = None,
    max_version: tuple[int, int] | None = None,
    dl_device: Any = None,
    copy: bool | None = None,
) -> Any:
    """A DLPack capsule on this memory, for ``from_dlpack`` of NumPy, PyTorch, CuPy, JAX."""
    if self.requires_grad:
        raise BufferError("Can't export tensors that require gradient, use tensor.detach()")
    options: dict[str, Any] = {"stream": stream}
    if max_version is not None:
        options["max_version"] = max_version
    if dl_device is not None:
        options["dl_device"] = dl_device
    if copy is not None:
        options["copy"] = copy
    return self.array.__dlpack__(**options)


def dlpack_device(self: Tensor) -> tuple[int, int]:
    """DLPack's device type and number: (1, 0) is the CPU."""
    kind, number = self.array.__dlpack_device__()
    return int(kind), int(number)


class _Capsule:
    """An object around a bare DLPack capsule, which is what NumPy asks for."""

    def __init__(self, capsule: Any) -> None:
        self.capsule = capsule

    def __dlpack__(self, **options: Any) -> Any:
        return self.capsule

    def __dlpack_device__(self) -> tuple[int, int]:
        return 1, 0


class _Writable:
    """The memory of an array that NumPy holds to be read-only, because a capsule cannot say."""

    def __init__(self, array: np.ndarray[Any, Any]) -> None:
        self.base = array
        interface = array.__array_interface__
        self.__array_interface__ = {**interface, "data": (interface["data"][0], False)}


def from_dlpack(ext_tensor: Any) -> Tensor:
    """A tensor on the memory of another library's (or of a capsule)."""
    if type(ext_tensor).__name__ == "PyCapsule":
        return Tensor._wrap(np.asarray(_Writable(np.from_dlpack(_Capsule(ext_tensor)))))
    if not hasattr(ext_tensor, "__dlpack__"):
        raise RuntimeError(
            f"from_dlpack: {type(ext_tensor).__name__} has no __dlpack__ (use torch.tensor)"
        )
    if int(ext_tensor.__dlpack_device__()[0]) in (1, 3):  # CPU, pinned CPU memory
        return Tensor._wrap(array_from_numpy(np.from_dlpack(ext_tensor)))
    import cupy

    return Tensor._wrap(cupy.from_dlpack(ext_tensor))


def to_dlpack(tensor: Tensor) -> Any:
    """``tensor.__dlpack__()``: a capsule, to be used once."""
    return dlpack(tensor)


ONLY_METHODS: dict[str, Any] = {
    "size": size, "stride": stride, "dim": lambda self: int(self.array.ndim),
    "ndimension": lambda self: int(self.array.ndim), "nelement": numel,
    "element_size": lambda self: int(self.array.itemsize), "is_contiguous": is_contiguous,
    "data_ptr": data_ptr, "storage_offset": storage_offset,
    "item": item, "tolist": tolist, "__float__": to_float, "__int__": to_int,
    "__index__": to_index, "__bool__": is_nonzero, "__format__": format_tensor,
    "__reversed__": reverse, "__deepcopy__": deepcopy, "__copy__": shallow_copy,
    "__reduce_ex__": reduce, "numpy": numpy, "__array__": to_array, "__array_wrap__": wrap_array,
    "__dlpack__": dlpack, "__dlpack_device__": dlpack_device,
}  # fmt: skip

PROPERTIES: dict[str, Callable[[Tensor], Any]] = {
    "itemsize": lambda self: int(self.array.itemsize),
    "nbytes": lambda self: int(self.array.nbytes),
}  # fmt: skip
