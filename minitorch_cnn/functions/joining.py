"""Several tensors into one and one into several: ``cat``, ``stack``, ``split``, ``chunk``, ..."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Any

from ..kernels.backend import check_memory
from ..ops import indexing
from ..ops import shape as ops
from ..tensor import Tensor
from .arguments import as_dims, as_int, check_tensor, wrap_dim
from .promotion import common_dtype, to_dtype
from .shape import reshape, t

__all__ = [
    "atleast_1d", "atleast_2d", "atleast_3d", "cat", "chunk", "column_stack", "concat",
    "concatenate", "dstack", "hstack", "narrow", "row_stack", "select", "split", "stack",
    "tensor_split", "unbind", "vstack",
]  # fmt: skip

METHODS = ("chunk", "narrow", "select", "split", "tensor_split", "unbind")
INPLACE: tuple[str, ...] = ()


def _tensors(name: str, tensors: Any) -> list[Tensor]:
    if not isinstance(tensors, (tuple, list)):
        raise TypeError(
            f"{name}(): argument 'tensors' must be tuple of Tensors, not {type(tensors).__name__}"
        )
    for i, x in enumerate(tensors):
        if not isinstance(x, Tensor):
            raise TypeError(f"{name}(): expected Tensor as element {i}, got {type(x).__name__}")
    return list(tensors)


def _same_dtype(tensors: list[Tensor]) -> list[Tensor]:
    first = tensors[0].array.dtype
    if all(x.array.dtype == first for x in tensors):
        return tensors
    dtype = common_dtype(*tensors)
    return [to_dtype(x, dtype) for x in tensors]


def cat(tensors: Sequence[Tensor], dim: int = 0, *, axis: int | None = None) -> Tensor:
    """The tensors one after the other along ``dim``; their other sizes must be equal.

    Dtypes are promoted. Tensors of shape (0,) are skipped whatever the others' shape, as in
    PyTorch.
    """
    xs = _tensors("cat", tensors)
    if not xs:
        raise ValueError("torch.cat(): expected a non-empty list of Tensors")
    for i, x in enumerate(xs):
        if x.array.ndim == 0:
            raise RuntimeError(
                f"zero-dimensional tensor (at position {i}) cannot be concatenated: use stack"
            )
    xs = _same_dtype(xs)
    real = [x for x in xs if x.array.shape != (0,)] or xs[:1]
    shape = real[0].array.shape
    d = wrap_dim("cat", dim if axis is None else axis, len(shape))
    for i, x in enumerate(xs):
        other = x.array.shape
        if other == (0,):
            continue
        if len(other) != len(shape):
            raise RuntimeError(
                f"cat: Tensors must have same number of dimensions: got {len(shape)} and"
                f" {len(other)} (shapes {list(shape)} and {list(other)}, tensor number {i})"
            )
        for axis_, (m, n) in enumerate(zip(shape, other)):
            if m != n and axis_ != d:
                raise RuntimeError(
                    f"cat: Sizes of tensors must match except in dimension {d}. Expected size {m}"
                    f" but got size {n} in dimension {axis_} for tensor number {i} in the list"
                    f" (shapes {list(shape)} and {list(other)})"
                )
    total = (*shape[:d], sum(x.array.shape[d] for x in real), *shape[d + 1 :])
    check_memory(total, real[0].array.dtype, "cat")
    y: Tensor = ops.cat(*(xs if len(shape) == 1 else real), dim=d)
    return y


concat = concatenate = cat


def stack(tensors: Sequence[Tensor], dim: int = 0) -> Tensor:
    """Tensors of one shape along a new dimension ``dim``."""
    xs = _tensors("stack", tensors)
    if not xs:
        raise RuntimeError("stack expects a non-empty list of Tensors")
    shape = xs[0].array.shape
    d = wrap_dim("stack", dim, len(shape) + 1)
    for i, x in enumerate(xs):
        if x.array.shape != shape:
            raise RuntimeError(
                f"stack expects each tensor to be equal size, but got {list(shape)} at entry 0 and"
                f" {list(x.shape)} at entry {i}"
            )
    y: Tensor = ops.stack(*_same_dtype(xs), dim=d)
    return y


def _at_least(name: str, tensors: tuple[Any, ...], ndim: int) -> Any:
    if len(tensors) == 1 and not isinstance(tensors[0], Tensor):
        return tuple(_grown(x, ndim) for x in _tensors(name, tensors[0]))
    grown = tuple(_grown(x, ndim) for x in _tensors(name, tensors))
    return grown[0] if len(grown) == 1 else grown


def _grown(x: Tensor, ndim: int) -> Tensor:
    shape = tuple(x.array.shape)
    if len(shape) >= ndim:
        return x
    if len(shape) == 0:
        return reshape(x, (1,) * ndim)
    if ndim == 2:
        return reshape(x, (1, *shape))
    return reshape(x, (1, *shape, 1) if len(shape) == 1 else (*shape, 1))


def atleast_1d(*tensors: Any) -> Any:
    """Numbers as vectors of one element (views); the rest as they are."""
    return _at_least("atleast_1d", tensors, 1)


def atleast_2d(*tensors: Any) -> Any:
    """Vectors as matrices of one row (views); the rest as they are."""
    return _at_least("atleast_2d", tensors, 2)


def atleast_3d(*tensors: Any) -> Any:
    """Vectors as (1, n, 1), matrices as (m, n, 1) (views); the rest as they are."""
    return _at_least("atleast_3d", tensors, 3)


def hstack(tensors: Sequence[Tensor]) -> Tensor:
    """Side by side: along dimension 1, or 0 for vectors."""
    xs = [_grown(x, 1) for x in _tensors("hstack", tensors)]
    return cat(xs, 0 if xs and xs[0].array.ndim == 1 else 1)


def vstack(tensors: Sequence[Tensor]) -> Tensor:
    """On top of each other, vectors as rows."""
    return cat([_grown(x, 2) for x in _tensors("vstack", tensors)])


row_stack = vstack


def dstack(tensors: Sequence[Tensor]) -> Tensor:
    """Behind each other: along dimension 2."""
    return cat([_grown(x, 3) for x in _tensors("dstack", tensors)], 2)


def column_stack(tensors: Sequence[Tensor]) -> Tensor:
    """Side by side, vectors as columns."""
    xs = _tensors("column_stack", tensors)
    return hstack([t(_grown(x, 2)) if x.array.ndim < 2 else x for x in xs])


def _slice(x: Tensor, dim: int, start: int, stop: int) -> Tensor:
    y: Tensor = indexing.getitem(x, basic=(*[slice(None)] * dim, slice(start, stop), ...))
    return y


def narrow(input: Tensor, dim: int, start: Any, length: int) -> Tensor:
    """Entries ``start`` to ``start + length`` of a dimension (a view)."""
    x = check_tensor("narrow", input)
    if x.array.ndim == 0:
        raise RuntimeError("narrow() cannot be applied to a 0-dim tensor.")
    d = wrap_dim("narrow", dim, x.array.ndim)
    n, first, count = (
        x.array.shape[d], as_int("narrow", "start", start), as_int("narrow", "length", length)
    )  # fmt: skip
    if count < 0:
        raise RuntimeError(f"narrow(): length must be non-negative, got {count}")
    if not -n <= first <= n:
        raise IndexError(
            f"start out of range (expected to be in range of [{-n}, {n}], but got {first})"
        )
    first = first + n if first < 0 else first
    if first + count > n:
        raise RuntimeError(f"start ({first}) + length ({count}) exceeds dimension size ({n}).")
    return _slice(x, d, first, first + count)


def select(input: Tensor, dim: int, index: int) -> Tensor:
    """Entry ``index`` of a dimension, which disappears (a view)."""
    x = check_tensor("select", input)
    if x.array.ndim == 0:
        raise IndexError("select() cannot be applied to a 0-dim tensor.")
    d, i = wrap_dim("select", dim, x.array.ndim), as_int("select", "index", index)
    n = x.array.shape[d]
    if not -n <= i < n:
        raise IndexError(
            f"select(): index {i} out of range for tensor of size {list(x.shape)} at dimension {d}"
        )
    y: Tensor = indexing.getitem(x, basic=(*[slice(None)] * d, i, ...))
    return y


def unbind(input: Tensor, dim: int = 0) -> tuple[Tensor, ...]:
    """All entries of a dimension (views)."""
    x = check_tensor("unbind", input)
    if x.array.ndim == 0:
        raise IndexError("Dimension specified as 0 but tensor has no dimensions")
    d = wrap_dim("unbind", dim, x.array.ndim)
    before = (slice(None),) * d
    return tuple(indexing.getitem(x, basic=(*before, i, ...)) for i in range(x.array.shape[d]))


def split(tensor: Tensor, split_size_or_sections: Any, dim: int = 0) -> tuple[Tensor, ...]:
    """Parts of a size (the last may be smaller), or of the sizes in a list (views)."""
    x = check_tensor("split", tensor, "tensor")
    if x.array.ndim == 0:
        raise RuntimeError("split expects at least a 1-dimensional tensor")
    d = wrap_dim("split", dim, x.array.ndim)
    n = x.array.shape[d]
    if isinstance(split_size_or_sections, (tuple, list)):
        sizes = as_dims("split", split_size_or_sections, "split_sizes")
        if sum(sizes) != n or min(sizes, default=0) < 0:
            raise RuntimeError(
                "split_with_sizes expects split_sizes to be non-negative and to sum exactly to"
                f" {n} (input tensor's size at dimension {d}), but got split_sizes={list(sizes)}"
            )
        return _parts(x, d, sizes)
    size = as_int("split", "split_size", split_size_or_sections)
    if size < 0:
        raise RuntimeError(f"split expects split_size be non-negative, but got split_size={size}")
    if size == 0 and n:
        raise RuntimeError(
            f"split_size can only be 0 if dimension size is 0, but got dimension size of {n}"
        )
    count = max(1, math.ceil(n / size)) if size else 1
    return _parts(x, d, [min(size, n - i * size) for i in range(count)])


def _parts(x: Tensor, dim: int, sizes: Sequence[int]) -> tuple[Tensor, ...]:
    parts, start = [], 0
    for size in sizes:
        parts.append(_slice(x, dim, start, start + size))
        start += size
    return tuple(parts)


def chunk(input: Tensor, chunks: int, dim: int = 0) -> tuple[Tensor, ...]:
    """At most ``chunks`` parts of equal size, except that the last may be smaller (views)."""
    x, count = check_tensor("chunk", input), as_int("chunk", "chunks", chunks)
    if x.array.ndim == 0:
        raise RuntimeError("chunk expects at least a 1-dimensional tensor")
    if count <= 0:
        raise RuntimeError(f"chunk expects `chunks` to be greater than 0, got: {count}")
    d = wrap_dim("chunk", dim, x.array.ndim)
    n = x.array.shape[d]
    if n == 0:
        return _parts(x, d, [0] * count)
    return split(x, math.ceil(n / count), d)


def tensor_split(input: Tensor, indices_or_sections: Any, dim: int = 0) -> tuple[Tensor, ...]:
    """That many parts, the first ones larger by one where needed; or cut at indices (views)."""
    x = check_tensor("tensor_split", input)
    if x.array.ndim == 0:
        raise RuntimeError("tensor_split expected at least a 1-dimensional tensor, but got 0")
    d = wrap_dim("tensor_split", dim, x.array.ndim)
    n = x.array.shape[d]
    given = indices_or_sections
    if isinstance(given, Tensor):
        given = given.array.tolist()
    if isinstance(given, (tuple, list)):
        cuts = [0, *as_dims("tensor_split", given, "indices"), n]
        return tuple(_slice(x, d, a, b) for a, b in itertools.pairwise(cuts))
    count = as_int("tensor_split", "sections", given)
    if count <= 0:
        raise RuntimeError(f"number of sections must be larger than 0, got {count}")
    return _parts(x, d, [n // count + (i < n % count) for i in range(count)])
