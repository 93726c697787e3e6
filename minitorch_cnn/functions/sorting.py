"""Functions that choose elements along a dim: PyTorch's face of ``ops.sort``.

Where they return two tensors, it is a named tuple ``(values, indices)``, and the gradient of the
values goes to the elements at the indices.
"""

from __future__ import annotations

from typing import Any

from .. import return_types
from ..ops import reduce
from ..ops import sort as ordering
from ..tensor import Tensor
from . import pointwise
from .arguments import check_tensor, wrap_dim
from .dims import check_keepdim, numpy_names
from .promotion import not_implemented
from .reduction import amax, amin, check_any_elements, check_not_empty

__all__ = [
    "max", "min", "aminmax", "argmax", "argmin", "sort", "argsort", "topk", "kthvalue", "median",
    "mode", "cummax", "cummin", "unique",
]  # fmt: skip
METHODS = tuple(__all__)
INPLACE: tuple[str, ...] = ()


def _axis(name: str, x: Tensor, dim: Any, keepdim: Any = False, empty: bool = False) -> int:
    """The dim counted from the front; IndexError if it has no elements to choose from."""
    if keepdim is not False:
        check_keepdim(name, keepdim)
    axis = wrap_dim(name, dim, x.array.ndim)
    if not empty:
        check_not_empty(name, x, (axis,))
    return axis


def _whole(name: str, x: Tensor) -> tuple[int, ...]:
    check_any_elements(name, x)
    return tuple(range(x.array.ndim))


@numpy_names
def max(input: Tensor, dim: Any = None, keepdim: bool = False, *, other: Any = None) -> Any:
    """The largest element; with ``dim``, ``(values, indices)``; with a tensor, the elementwise
    ``maximum``. Without ``dim`` equal elements share the gradient, with it the first has it."""
    x = check_tensor("max", input)
    if isinstance(dim, Tensor):
        dim, other = None, dim
    if other is not None:
        return pointwise.maximum(x, other)
    if dim is None:
        return reduce.amax(x, axes=_whole("max", x))
    axis = _axis("max", x, dim, keepdim)
    return return_types.max(*ordering.max_along(x, axis=axis, keepdims=keepdim))


@numpy_names
def min(input: Tensor, dim: Any = None, keepdim: bool = False, *, other: Any = None) -> Any:
    """The smallest element; with ``dim``, ``(values, indices)``; with a tensor, the elementwise
    ``minimum``. Without ``dim`` equal elements share the gradient, with it the first has it."""
    x = check_tensor("min", input)
    if isinstance(dim, Tensor):
        dim, other = None, dim
    if other is not None:
        return pointwise.minimum(x, other)
    if dim is None:
        return reduce.amin(x, axes=_whole("min", x))
    axis = _axis("min", x, dim, keepdim)
    return return_types.min(*ordering.min_along(x, axis=axis, keepdims=keepdim))


@numpy_names
def aminmax(
    input: Tensor, *, dim: int | None = None, keepdim: bool = False
) -> return_types._Extremes:
    """``(min, max)`` over one dim or all."""
    x = check_tensor("aminmax", input)
    dims = _whole("aminmax", x) if dim is None else (_axis("aminmax", x, dim, keepdim),)
    return return_types.aminmax(amin(x, dims, keepdim), amax(x, dims, keepdim))


@numpy_names
def argmax(input: Tensor, dim: int | None = None, keepdim: bool = False) -> Tensor:
    """The index of the first largest element along dim, or in the flattened tensor."""
    return _arg("argmax", ordering.argmax, input, dim, keepdim)


@numpy_names
def argmin(input: Tensor, dim: int | None = None, keepdim: bool = False) -> Tensor:
    """The index of the first smallest element along dim, or in the flattened tensor."""
    return _arg("argmin", ordering.argmin, input, dim, keepdim)


def _arg(name: str, fn: Any, input: Any, dim: Any, keepdim: Any) -> Tensor:
    x = check_tensor(name, input)
    if x.array.dtype.kind == "b":
        raise RuntimeError(f"{name}(): does not support bool input")
    if dim is None and not x.array.size:
        raise IndexError(
            f"{name}(): Expected reduction dim to be specified for input.numel() == 0 (shape"
            f" {list(x.shape)})"
        )
    axis = None if dim is None else _axis(name, x, dim, keepdim)
    return fn(x, axis=axis, keepdims=keepdim)


@numpy_names
def sort(
    input: Tensor, dim: int = -1, descending: bool = False, stable: bool = False
) -> return_types._Chosen:
    """The elements along dim in order, and where each came from. Always stable; NaN is largest."""
    del stable
    x = check_tensor("sort", input)
    axis = _axis("sort", x, dim, empty=True)
    return return_types.sort(*ordering.sort(x, axis=axis, descending=bool(descending)))


@numpy_names
def argsort(input: Tensor, dim: int = -1, descending: bool = False, stable: bool = False) -> Tensor:
    """The indices that sort along dim. Always stable; NaN is largest."""
    del stable
    x = check_tensor("argsort", input)
    axis = _axis("argsort", x, dim, empty=True)
    return ordering.argsort(x, axis=axis, descending=bool(descending))


@numpy_names
def topk(
    input: Tensor,
    k: int,
    dim: int = -1,
    largest: bool = True,
    sorted: bool = True,
) -> return_types._Chosen:
    """The k largest (or smallest) elements along dim in order, and their indices."""
    del sorted
    x = check_tensor("topk", input)
    if x.array.dtype.kind == "b":
        raise RuntimeError("topk does not support bool dtypes: write x.int().topk(k)")
    axis = _axis("topk", x, dim, empty=True)
    n = x.array.shape[axis] if x.array.ndim else 1
    if not 0 <= k <= n:
        raise RuntimeError(
            f"topk: selected index k out of range: k = {k}, but dim {axis} of shape"
            f" {list(x.shape)} has {n} element(s)"
        )
    return return_types.topk(*ordering.topk(x, k=int(k), axis=axis, largest=bool(largest)))


@numpy_names
def kthvalue(input: Tensor, k: int, dim: int = -1, keepdim: bool = False) -> return_types._Chosen:
    """The k-th smallest element along dim (k from 1), and its index."""
    x = check_tensor("kthvalue", input)
    axis = _axis("kthvalue", x, dim, keepdim)
    n = x.array.shape[axis] if x.array.ndim else 1
    if not 1 <= k <= n:
        raise RuntimeError(
            f"kthvalue(): selected number k out of range for dimension {axis}: k = {k}, size {n}"
        )
    return return_types.kthvalue(*ordering.kthvalue(x, k=int(k), axis=axis, keepdims=keepdim))


@numpy_names
def median(input: Tensor, dim: int | None = None, keepdim: bool = False) -> Any:
    """The middle element (the lower of two), NaN if one is; with ``dim``, ``(values, indices)``."""
    x = check_tensor("median", input)
    if x.array.dtype.kind == "b":
        raise not_implemented("median", x)
    if dim is None:
        return ordering.median_of_all(x)
    axis = _axis("median", x, dim, keepdim)
    return return_types.median(*ordering.median(x, axis=axis, keepdims=keepdim))


@numpy_names
def mode(input: Tensor, dim: int = -1, keepdim: bool = False) -> return_types._Chosen:
    """The most frequent element along dim (the smallest of several), and an index of it."""
    x = check_tensor("mode", input)
    axis = _axis("mode", x, dim, keepdim)
    return return_types.mode(*ordering.mode(x, axis=axis, keepdims=keepdim))


@numpy_names
def cummax(input: Tensor, dim: int) -> return_types._Chosen:
    """y_i = max(x_0, ..., x_i) along dim, and where it was last met."""
    x = check_tensor("cummax", input)
    return return_types.cummax(*ordering.cummax(x, axis=_axis("cummax", x, dim, empty=True)))


@numpy_names
def cummin(input: Tensor, dim: int) -> return_types._Chosen:
    """y_i = min(x_0, ..., x_i) along dim, and where it was last met."""
    x = check_tensor("cummin", input)
    return return_types.cummin(*ordering.cummin(x, axis=_axis("cummin", x, dim, empty=True)))


@numpy_names
def unique(
    input: Tensor,
    sorted: bool = True,
    return_inverse: bool = False,
    return_counts: bool = False,
    dim: int | None = None,
) -> Any:
    """The different elements, ascending (or slices along dim); on request also which one each
    element is, and how often each occurs."""
    del sorted
    x = check_tensor("unique", input)
    axis = None if dim is None else wrap_dim("unique", dim, x.array.ndim)
    if axis is not None and x.array.shape[axis] and not x.array.size:
        raise RuntimeError(
            f"unique(): dim {axis} of shape {list(x.shape)} has elements, but they are empty"
        )
    values, inverse, counts = ordering.unique(x, axis=axis)
    asked = (True, return_inverse, return_counts)
    wanted = tuple(t for t, yes in zip((values, inverse, counts), asked) if yes)
    return wanted if len(wanted) > 1 else values
