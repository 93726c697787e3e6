"""Memory order, diagonals, triangles, windows and grids: ``contiguous``, ``diag``, ``tril``, ..."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from ..kernels.backend import check_memory, host, place
from ..ops import indexing
from ..ops import shape as ops
from ..tensor import Tensor
from .arguments import (
    as_int,
    channels_last,
    check_tensor,
    contiguous_format,
    memory_format,
    preserve_format,
    wrap_dim,
)
from .inplace import recorded
from .shape import expand, permute, reshape, squeeze, t, transpose, unsqueeze

__all__ = [
    "channels_last", "clone", "contiguous_format", "diag", "diag_embed", "diagonal",
    "memory_format", "meshgrid", "preserve_format", "repeat_interleave", "tril", "triu",
]  # fmt: skip

METHODS = (
    "clone", "contiguous", "diag", "diag_embed", "diagonal", "repeat_interleave", "tril", "triu",
    "unfold",
)  # fmt: skip
INPLACE = ("tril", "triu")


def clone(input: Tensor, *, memory_format: Any = None) -> Tensor:
    """A copy; the gradient flows through."""
    x = check_tensor("clone", input)
    expanded = 0 in x.array.strides
    if expanded:  # the copy is as large as the tensor looks
        check_memory(x.array.shape, x.array.dtype, "clone")
    y: Tensor = ops.clone(x, contiguous=expanded or memory_format is contiguous_format)
    return y


def contiguous(self: Tensor, memory_format: Any = contiguous_format) -> Tensor:
    """Itself if it lies in memory in row-major order, else a copy that does.

    ``memory_format=channels_last`` is accepted and changes nothing: kernels here read N, C, H, W.
    """
    del memory_format
    if self.array.flags.c_contiguous:
        return self
    return clone(self, memory_format=contiguous_format)


def diagonal(input: Tensor, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Tensor:
    """The diagonal of dimensions ``dim1``, ``dim2`` as the last dimension (a view)."""
    x = check_tensor("diagonal", input)
    ndim = x.array.ndim
    a, b = wrap_dim("diagonal", dim1, ndim), wrap_dim("diagonal", dim2, ndim)
    if a == b:
        raise RuntimeError(f"diagonal dimensions cannot be identical {dim1}, {dim2}")
    last = permute(x, *(d for d in range(ndim) if d not in (a, b)), a, b)
    y: Tensor = ops.diagonal(last, offset=as_int("diagonal", "offset", offset))
    return y


def diag(input: Tensor, diagonal: int = 0) -> Tensor:
    """The diagonal of a matrix (a copy), or a matrix with this vector on its diagonal."""
    x, offset = check_tensor("diag", input), as_int("diag", "diagonal", diagonal)
    if x.array.ndim == 1:
        matrix: Tensor = ops.diag_embed(x, offset=offset)
        return matrix
    if x.array.ndim == 2:
        return clone(ops.diagonal(x, offset=offset))
    raise RuntimeError(f"diag(): Supports 1D or 2D tensors. Got {x.array.ndim}D")


def diag_embed(input: Tensor, offset: int = 0, dim1: int = -2, dim2: int = -1) -> Tensor:
    """Square matrices with the last dimension of ``input`` on their diagonals."""
    x = check_tensor("diag_embed", input)
    ndim = x.array.ndim + 1
    a, b = wrap_dim("diag_embed", dim1, ndim), wrap_dim("diag_embed", dim2, ndim)
    if a == b:
        raise RuntimeError(f"diagonal dimensions cannot be identical {dim1}, {dim2}")
    matrices: Tensor = ops.diag_embed(x, offset=as_int("diag_embed", "offset", offset))
    order = list(range(ndim - 2))
    for before, axis in sorted(((a, ndim - 2), (b, ndim - 1))):
        order.insert(before, axis)
    return permute(matrices, order)


def tril(input: Tensor, diagonal: int = 0) -> Tensor:
    """What is on or below a diagonal of the last two dimensions; 0 elsewhere."""
    y: Tensor = ops.tril(_matrices("tril", input), diagonal=as_int("tril", "diagonal", diagonal))
    return y


def triu(input: Tensor, diagonal: int = 0) -> Tensor:
    """What is on or above a diagonal of the last two dimensions; 0 elsewhere."""
    y: Tensor = ops.triu(_matrices("triu", input), diagonal=as_int("triu", "diagonal", diagonal))
    return y


def _matrices(name: str, input: Any) -> Tensor:
    x = check_tensor(name, input)
    if x.array.ndim < 2:
        raise RuntimeError(f"{name}: input tensor must have at least 2 dimensions, got {x.ndim}")
    return x


def unfold(self: Tensor, dimension: int, size: int, step: int) -> Tensor:
    """Windows of ``size`` every ``step`` along a dimension, as a new last dimension (a view)."""
    if self.array.ndim == 0:
        return unfold(reshape(self, 1), 0, size, step)[0]
    d = wrap_dim("unfold", dimension, self.array.ndim)
    n, width, stride = (
        self.array.shape[d], as_int("unfold", "size", size), as_int("unfold", "step", step)
    )  # fmt: skip
    if not 0 <= width <= n:
        raise RuntimeError(
            f"unfold: maximum size for tensor at dimension {d} is {n} but size is {width}"
        )
    if stride <= 0:
        raise RuntimeError(f"unfold: step is {stride} but must be > 0")
    y: Tensor = ops.unfold(self, dim=d, size=width, step=stride)
    return y


def repeat_interleave(
    input: Tensor, repeats: Any = None, dim: int | None = None, *, output_size: int | None = None
) -> Tensor:
    """Each element (or slice along ``dim``) ``repeats`` times in a row.

    ``repeats`` is a number or a 1-d tensor of numbers, one per slice. With one argument, that is
    the repeats and the result the indices 0, ..., each as often as it says.
    """
    x = check_tensor("repeat_interleave", input)
    if repeats is None:
        counts = host(x.array)
        rows = np.repeat(np.arange(len(counts)), _counts(counts, len(counts)))
        return Tensor._wrap(place(rows, x.array))
    if dim is None:
        x, dim = reshape(x, -1), 0
    d = wrap_dim("repeat_interleave", dim, x.array.ndim)
    n = x.array.shape[d]
    times = host(repeats.array).reshape(-1) if isinstance(repeats, Tensor) else repeats
    if isinstance(times, np.ndarray) and len(times) != 1:
        rows = np.repeat(np.arange(n), _counts(times, n))
    else:
        count = times[0] if isinstance(times, np.ndarray) else times
        count = as_int("repeat_interleave", "repeats", count)
        if count < 0:
            raise RuntimeError(f"repeat_interleave: Repeats must be non-negative, got {count}")
        rows = np.repeat(np.arange(n), count)
    if output_size is not None and output_size != len(rows):
        raise RuntimeError(f"repeat_interleave: output_size is {output_size}, not {len(rows)}")
    y: Tensor = indexing.getitem(x, basic=(...,), arrays=(*[slice(None)] * d, place(rows, x.array)))
    return y


def _counts(counts: Any, n: int) -> Any:
    if counts.ndim != 1 or counts.dtype.kind not in "iu":
        raise RuntimeError("repeat_interleave: repeats must be a number or a 1-d integer tensor")
    if len(counts) != n:
        raise RuntimeError(
            "repeats must have the same size as input along dim, but got repeats.size(0) ="
            f" {len(counts)} and input.size(dim) = {n}"
        )
    if (counts < 0).any():
        raise RuntimeError(f"repeats can not be negative: {counts.tolist()}")
    return counts


def meshgrid(*tensors: Any, indexing: str | None = None) -> tuple[Tensor, ...]:
    """Coordinates of a grid: tensor k varies along dimension k ("ij") and is constant elsewhere.

    "xy" exchanges the first two dimensions (NumPy's default). All results are views.
    """
    if len(tensors) == 1 and isinstance(tensors[0], (tuple, list)):
        tensors = tuple(tensors[0])
    if indexing is None:
        warnings.warn(
            "torch.meshgrid: pass indexing='ij' (what happens without it) or indexing='xy'",
            UserWarning,
            stacklevel=2,
        )
    if indexing not in (None, "ij", "xy"):
        raise RuntimeError(f"meshgrid: indexing must be one of 'xy' or 'ij', not {indexing!r}")
    axes = [check_tensor("meshgrid", x, "tensors") for x in tensors]
    if not axes:
        raise RuntimeError("meshgrid expects a non-empty list of tensors")
    if len({x.array.dtype for x in axes}) > 1:
        raise RuntimeError("meshgrid expects all tensors to have the same dtype")
    if any(x.array.ndim > 1 for x in axes):
        raise RuntimeError(
            f"meshgrid expects vectors or numbers, got {[list(x.shape) for x in axes]}"
        )
    swap = indexing == "xy" and len(axes) > 1
    if swap:
        axes[:2] = axes[1::-1]
    shape = tuple(x.array.size for x in axes)
    grids = []
    for i, x in enumerate(axes):
        along = tuple(n if d == i else 1 for d, n in enumerate(shape))
        grids.append(expand(reshape(x, along), shape))
    if swap:
        grids[:2] = grids[1::-1]
    return tuple(grids)


def reversed_dims(self: Tensor) -> Tensor:
    """``x.T``: the dimensions in reverse order (a view)."""
    if self.array.ndim not in (0, 2):
        warnings.warn(
            "The use of x.T on tensors of dimension other than 2 is deprecated: use x.mT to"
            " transpose batches of matrices, x.permute(...) to reverse the dimensions.",
            UserWarning,
            stacklevel=2,
        )
    return permute(self, *range(self.array.ndim)[::-1]) if self.array.ndim else self


def matrix_transpose(self: Tensor) -> Tensor:
    """``x.mT``: the last two dimensions exchanged (a view)."""
    if self.array.ndim < 2:
        raise RuntimeError(
            "tensor.mT is only supported on matrices or batches of matrices. Got"
            f" {self.array.ndim}-D tensor."
        )
    return transpose(self, -2, -1)


def adjoint(self: Tensor) -> Tensor:
    """``x.H``: the transpose of a matrix (there are no complex numbers here)."""
    if self.array.ndim not in (0, 2):
        raise RuntimeError(
            f"tensor.H is only supported on matrices (2-D tensors). Got {self.array.ndim}-D tensor."
        )
    return t(self)


def _in_place(fn: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """The version of a view that changes the tensor's own shape and not its numbers."""

    def method(self: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        if recorded(self) and self.is_leaf:
            raise RuntimeError(
                f"{fn.__name__}_: a leaf Variable that requires grad is being used in an in-place"
                f" operation; write x = x.{fn.__name__}(...) instead"
            )
        y = fn(self, *args, **kwargs)
        self.array, self.grad_fn = y.array, y.grad_fn
        return self

    method.__name__ = method.__qualname__ = f"{fn.__name__}_"
    method.__doc__ = f"Change this tensor's shape as :func:`{fn.__name__}` would."
    return method


_VIEWS: dict[str, Callable[..., Tensor]] = {
    "squeeze": squeeze, "unsqueeze": unsqueeze, "t": t, "transpose": transpose,
    "swapaxes": transpose, "swapdims": transpose,
}  # fmt: skip
ONLY_METHODS: dict[str, Any] = {f"{name}_": _in_place(fn) for name, fn in _VIEWS.items()}

PROPERTIES: dict[str, Callable[[Tensor], Any]] = {
    "T": reversed_dims,
    "mT": matrix_transpose,
    "H": adjoint,
    "mH": matrix_transpose,
}
