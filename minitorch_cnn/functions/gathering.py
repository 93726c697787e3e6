"""Reading and writing along a dimension or through a mask: ``gather``, ``scatter``, ``take``."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..kernels.backend import constant
from ..ops import indexing as ops
from ..ops import linear
from ..tensor import Array, Tensor
from .arguments import check_tensor, number_array, wrap_dim
from .layout import clone
from .shape import broadcast_tensors, expand, reshape

__all__ = [
    "argwhere", "embedding", "gather", "index_add", "index_copy", "index_fill", "index_select",
    "masked_fill", "masked_scatter", "masked_select", "nonzero", "scatter", "scatter_add", "take",
    "take_along_dim",
]  # fmt: skip

METHODS = (
    "argwhere", "gather", "index_add", "index_copy", "index_fill", "index_select", "masked_fill",
    "masked_scatter", "masked_select", "nonzero", "scatter", "scatter_add", "take",
    "take_along_dim",
)  # fmt: skip
INPLACE = (
    "index_add", "index_copy", "index_fill", "masked_fill", "masked_scatter", "scatter",
    "scatter_add",
)  # fmt: skip


def _index(name: str, index: Any) -> Array:
    array: Array = check_tensor(name, index, "index").array
    if array.dtype not in (np.dtype(np.int64), np.dtype(np.int32)):
        raise RuntimeError(f"{name}(): Expected dtype int32/int64 for index, got {array.dtype}")
    return array


def _check_range(index: Array, n: int, dim: int, error: type[Exception] = RuntimeError) -> None:
    if index.size and not (index.min() >= 0 and index.max() < n):
        bad = int(index.max()) if index.max() >= n else int(index.min())
        raise error(f"index {bad} is out of bounds for dimension {dim} with size {n}")


def _vector(name: str, index: Any) -> Array:
    """Indices along one dimension; a number counts as one."""
    array = _index(name, index)
    if array.ndim > 1:
        raise IndexError(f"{name}(): Index is supposed to be a vector, got {list(array.shape)}")
    return array.reshape(-1)


def gather(input: Tensor, dim: int, index: Tensor, *, sparse_grad: bool = False) -> Tensor:
    """y[i][j][k] = input[i][index[i][j][k]][k] for dim = 1; y has the shape of ``index``.

    Elsewhere than in ``dim``, ``index`` may be smaller than ``input``. RuntimeError for indices out
    of range; negative ones are.
    """
    del sparse_grad
    x, at, d = _aligned("gather", input, dim, index)
    if at.ndim != x.array.ndim:  # an empty index may have any number of dimensions
        x, at, d = reshape(x, -1), at.reshape(-1), 0
    for axis, (m, n) in enumerate(zip(at.shape, x.array.shape)):
        if axis != d and m > n:
            raise RuntimeError(
                f"gather: Size does not match at dimension {axis} expected index {list(at.shape)}"
                f" to be no larger than self {list(x.shape)} apart from dimension {d}"
            )
    _check_range(at, x.array.shape[d], d)
    y: Tensor = ops.gather(x, dim=d, index=at)
    return reshape(y, tuple(index.shape))


def _aligned(name: str, input: Any, dim: Any, index: Any) -> tuple[Tensor, Array, int]:
    """Input and index with at least one dimension and equally many; empty indices may differ."""
    x, at = check_tensor(name, input), _index(name, index)
    d = wrap_dim(name, dim, x.array.ndim)
    x = x if x.array.ndim else reshape(x, 1)
    at = at if at.ndim else at.reshape(1)
    if at.ndim != x.array.ndim and at.size:
        raise RuntimeError(
            f"{name}: Index tensor must have the same number of dimensions as input tensor, got"
            f" {list(at.shape)} and {list(x.shape)}"
        )
    return x, at, d


def scatter(
    input: Tensor,
    dim: int,
    index: Tensor,
    src: Any = None,
    *,
    value: Any = None,
    reduce: str | None = None,
) -> Tensor:
    """A copy with src[i][j][k] written to [i][index[i][j][k]][k] for dim = 1 (or one number).

    Where indices along ``dim`` repeat, the last one counts. ``reduce="add"`` is
    :func:`scatter_add`.
    """
    if (src is None) == (value is None):
        raise TypeError("scatter() takes one of src and value")
    given = src if value is None else value
    if reduce not in (None, "add"):
        raise RuntimeError(f"scatter: reduce must be 'add' or left out, got {reduce!r}")
    if not isinstance(given, Tensor):
        number = number_array(given, check_tensor("scatter", input).array.dtype)
        given = Tensor._wrap(number)
        if reduce == "add" and isinstance(index, Tensor):
            given = expand(given, tuple(index.shape))
    if reduce == "add":
        return scatter_add(input, dim, index, given)
    return _scatter("scatter", ops.scatter, input, dim, index, given)


def scatter_add(input: Tensor, dim: int, index: Tensor, src: Tensor) -> Tensor:
    """A copy with src[i][j][k] added to [i][index[i][j][k]][k] for dim = 1; indices may repeat."""
    return _scatter("scatter_add", ops.scatter_add, input, dim, index, src)


def _scatter(name: str, op: Any, input: Any, dim: Any, index: Any, src: Any) -> Tensor:
    source = check_tensor(name, src, "src")
    x, at, d = _aligned(name, input, dim, index)
    if source.array.dtype != x.array.dtype:
        raise RuntimeError(
            f"{name}(): Expected self.dtype to be equal to src.dtype, got {x.dtype} and"
            f" {source.dtype}"
        )
    if at.ndim != x.array.ndim:  # an empty index may have any number of dimensions
        return clone(input)
    if source.array.ndim == 0 and (name == "scatter_add" or at.ndim == 1):
        source = reshape(source, 1) if at.size == 1 else source
    sizes = source.array.shape or at.shape
    if len(sizes) != at.ndim or any(
        m > s or (axis != d and m > n)
        for axis, (m, s, n) in enumerate(zip(at.shape, sizes, x.array.shape))
    ):
        raise RuntimeError(
            f"{name}: Expected index {list(at.shape)} to be no larger than self {list(x.shape)}"
            f" apart from dimension {d} and to be no larger size than src {list(src.shape)}"
        )
    _check_range(at, x.array.shape[d], d)
    y: Tensor = op(x, source, dim=d, index=at)
    return reshape(y, tuple(input.shape))


def index_select(input: Tensor, dim: int, index: Tensor) -> Tensor:
    """The entries ``index`` (a vector; IndexError outside 0 .. n - 1) of a dimension, copied."""
    x, at = check_tensor("index_select", input), _vector("index_select", index)
    d = wrap_dim("index_select", dim, x.array.ndim)
    if x.array.ndim == 0:
        return reshape(index_select(reshape(x, 1), 0, index), ())
    _check_range(at, x.array.shape[d], d, IndexError)
    y: Tensor = ops.getitem(x, basic=(...,), arrays=(*[slice(None)] * d, at))
    return y


def _write_plan(name: str, x: Tensor, dim: Any, index: Any) -> tuple[Tensor, Array, int]:
    d = wrap_dim(name, dim, x.array.ndim)
    return (x if x.array.ndim else reshape(x, 1)), _vector(name, index), d


def index_add(
    input: Tensor, dim: int, index: Tensor, source: Tensor, *, alpha: float = 1
) -> Tensor:
    """A copy with alpha * source[j] added to entry index[j] of a dimension; indices may repeat."""
    x, at, d = _write_plan("index_add", check_tensor("index_add", input), dim, index)
    added = check_tensor("index_add", source, "source")
    added = added if added.array.ndim else reshape(added, 1)
    if added.array.dtype != x.array.dtype:
        raise RuntimeError(
            f"index_add: self ({x.dtype}) and source ({added.dtype}) must have the same scalar type"
        )
    _check_source("index_add", x, at, added, d, RuntimeError)
    _check_range(at, x.array.shape[d], d)
    shape = added.array.shape
    column = at.reshape(tuple(-1 if axis == d else 1 for axis in range(len(shape))))
    if alpha != 1:
        added = added * alpha
    y: Tensor = ops.scatter_add(x, added, dim=d, index=np.broadcast_to(column, shape))
    return reshape(y, tuple(input.shape))


def _check_source(
    name: str, x: Tensor, index: Array, source: Tensor, d: int, error: type[Exception]
) -> None:
    if source.array.ndim != x.array.ndim or any(
        m != n for axis, (m, n) in enumerate(zip(source.array.shape, x.array.shape)) if axis != d
    ):
        raise error(
            f"{name}: source tensor shape must match self tensor shape, excluding the specified"
            f" dimension {d}. Got self.shape = {list(x.shape)} source.shape = {list(source.shape)}"
        )
    if len(index) != source.array.shape[d]:
        raise error(
            f"{name}: Number of indices ({len(index)}) should be equal to source.size(dim):"
            f" ({source.array.shape[d]}), for dim: {d}"
        )


def index_copy(input: Tensor, dim: int, index: Tensor, source: Tensor) -> Tensor:
    """A copy with source[j] written to entry index[j] of a dimension."""
    x, at, d = _write_plan("index_copy", check_tensor("index_copy", input), dim, index)
    written = check_tensor("index_copy", source, "source")
    written = written if written.array.ndim else reshape(written, 1)
    if written.array.dtype != x.array.dtype:
        raise RuntimeError(
            f"index_copy: self ({x.dtype}) and source ({source.dtype}) must have the same dtype"
        )
    _check_source("index_copy", x, at, written, d, IndexError)
    _check_range(at, x.array.shape[d], d, IndexError)
    y: Tensor = ops.setitem(x, written, basic=(...,), arrays=(*[slice(None)] * d, at))
    return reshape(y, tuple(input.shape))


def index_fill(input: Tensor, dim: int, index: Tensor, value: Any) -> Tensor:
    """A copy with a number (or a 0-d tensor) at the entries ``index`` of a dimension."""
    x, at, d = _write_plan("index_fill", check_tensor("index_fill", input), dim, index)
    n = x.array.shape[d]
    if at.size and at.min() < -n:
        raise IndexError(f"index {int(at.min())} is out of bounds for dimension {d} with size {n}")
    at = np.where(at < 0, at + n, at)
    _check_range(at, n, d, IndexError)
    filled = _scalar("index_fill", x, value)
    y: Tensor = ops.setitem(x, filled, basic=(...,), arrays=(*[slice(None)] * d, at))
    return reshape(y, tuple(input.shape))


def _scalar(name: str, x: Tensor, value: Any) -> Tensor:
    if not isinstance(value, Tensor):
        return Tensor._wrap(number_array(value, x.array.dtype))
    if value.array.ndim:
        raise RuntimeError(
            f"{name} only supports a 0-dimensional value tensor, but got tensor with"
            f" {value.array.ndim} dimension(s)."
        )
    return value


def _mask(name: str, mask: Any) -> Array:
    array: Array = check_tensor(name, mask, "mask").array
    if array.dtype.kind != "b":
        raise RuntimeError(f"{name} only supports boolean masks, but got dtype {array.dtype}")
    return array


def masked_fill(input: Tensor, mask: Tensor, value: Any) -> Tensor:
    """A copy with a number (or a 0-d tensor) where ``mask``, which broadcasts with input, is."""
    x, where = check_tensor("masked_fill", input), _mask("masked_fill", mask)
    broadcast_pair("masked_fill", x.array.shape, where.shape)
    y: Tensor = ops.masked_fill(x, _scalar("masked_fill", x, value), mask=where)
    return y


def broadcast_pair(name: str, a: tuple[int, ...], b: tuple[int, ...]) -> tuple[int, ...]:
    """The shape that two shapes broadcast to; RuntimeError naming both."""
    try:
        return np.broadcast_shapes(a, b)
    except ValueError:
        raise RuntimeError(
            f"{name}: The size of tensor a must match the size of tensor b at every non-singleton"
            f" dimension, got shapes {list(a)} and {list(b)}"
        ) from None


def masked_select(input: Tensor, mask: Tensor) -> Tensor:
    """The elements where ``mask`` is, in row-major order, as a vector (a copy)."""
    x, where = check_tensor("masked_select", input), _mask("masked_select", mask)
    broadcast_pair("masked_select", x.array.shape, where.shape)
    x, where_ = broadcast_tensors(x, Tensor._wrap(where))
    return x[where_] if x.array.ndim else reshape(x, 1)[reshape(where_, 1)]


def masked_scatter(input: Tensor, mask: Tensor, source: Tensor) -> Tensor:
    """A copy with the elements of ``source``, in order, where ``mask`` is."""
    x, where = check_tensor("masked_scatter", input), _mask("masked_scatter", mask)
    given = check_tensor("masked_scatter", source, "source")
    if given.array.dtype != x.array.dtype:
        raise RuntimeError(
            f"masked_scatter: expected self and source to have same dtypes but got {x.dtype} and"
            f" {given.dtype}"
        )
    shape = broadcast_pair("masked_scatter", x.array.shape, where.shape)
    where = where if where.ndim else constant(where, x.array)  # one of the CPU follows, as a number
    where = np.broadcast_to(where, shape)
    if where.sum() > given.array.size:
        raise RuntimeError(
            f"masked_scatter: Number of elements of source ({given.array.size}) < number of ones"
            f" in mask ({int(where.sum())})"
        )
    y: Tensor = ops.masked_scatter(expand(x, shape), given, mask=where)
    return y


def take(input: Tensor, index: Tensor) -> Tensor:
    """The elements at positions ``index`` in row-major order; -1 is the last."""
    x, at = check_tensor("take", input), check_tensor("take", index, "index").array
    if at.dtype != np.dtype(np.int64):
        raise RuntimeError(f"take(): Expected a long tensor for index, but got {index.dtype}")
    n = x.array.size
    if at.size and not (-n <= at.min() and at.max() < n):
        bad = int(at.max()) if at.max() >= n else int(at.min())
        raise IndexError(f"out of range: tried to access index {bad} on a tensor of {n} elements.")
    y: Tensor = ops.getitem(reshape(x, -1), basic=(...,), arrays=(at,))
    return y


def take_along_dim(input: Tensor, indices: Tensor, dim: int | None = None) -> Tensor:
    """:func:`gather` with input and indices broadcast together except in ``dim``."""
    x, at = check_tensor("take_along_dim", input), check_tensor("take_along_dim", indices)
    if dim is None:
        return gather(reshape(x, -1), 0, reshape(at, -1))
    d = wrap_dim("take_along_dim", dim, x.array.ndim)
    if x.array.ndim != at.array.ndim:
        raise RuntimeError(
            "take_along_dim(): input and indices should have the same number of dimensions, but"
            f" got {x.array.ndim} dimensions for input, and {at.array.ndim} for indices"
        )
    sizes = list(x.array.shape), list(at.array.shape)
    for shape in sizes:
        shape[d] = 1
    common = broadcast_pair("take_along_dim", tuple(sizes[0]), tuple(sizes[1]))
    before, after = common[:d], common[d + 1 :]
    x = expand(x, (*before, x.array.shape[d], *after))
    return gather(x, d, expand(at, (*before, at.array.shape[d], *after)))


def nonzero(input: Tensor, *, as_tuple: bool = False) -> Any:
    """Where ``input`` is not 0: one row of indices per element (n, ndim), or a tuple of columns."""
    x = check_tensor("nonzero", input).array
    if as_tuple:
        return tuple(Tensor._wrap(i) for i in np.atleast_1d(x).nonzero())
    return Tensor._wrap(np.argwhere(x))


def argwhere(input: Tensor) -> Tensor:
    """``nonzero(input)``: one row of indices per element."""
    rows: Tensor = nonzero(input)
    return rows


def embedding(
    weight: Tensor, indices: Tensor, padding_idx: int = -1, scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> Tensor:  # fmt: skip
    """weight[indices]; no gradient for ``padding_idx``, -1: none. The order of the arguments is
    PyTorch's, and not that of ``torch.nn.functional.embedding``."""
    if scale_grad_by_freq or sparse:
        raise NotImplementedError(
            "embedding: scale_grad_by_freq and sparse are not part of minitorch_cnn"
        )
    table, rows = check_tensor("embedding", weight, "weight"), check_tensor("embedding", indices)
    if rows.array.dtype not in (np.int32, np.int64):
        raise RuntimeError(
            "Expected tensor for argument #1 'indices' to have one of the following scalar types:"
            f" Long, Int; but got {indices.dtype} instead"
        )
    return linear.embedding(
        table, indices=rows, padding_idx=None if padding_idx == -1 else padding_idx
    )
