"""Views and rearrangements: ``view``, ``reshape``, ``permute``, ``expand``, ``squeeze``, ...

What PyTorch returns as a view of the same memory is one here too; what it copies is copied.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..kernels.backend import check_memory
from ..ops import shape as ops
from ..size import Size
from ..tensor import Tensor, memory_of
from .arguments import as_dims, check_tensor, wrap_dim, wrap_dims

__all__ = [
    "broadcast_shapes", "broadcast_tensors", "broadcast_to", "flatten", "flip", "fliplr", "flipud",
    "moveaxis", "movedim", "permute", "ravel", "reshape", "roll", "rot90", "squeeze", "swapaxes",
    "swapdims", "t", "tile", "transpose", "unflatten", "unsqueeze",
]  # fmt: skip

METHODS = (
    "broadcast_to", "expand", "expand_as", "flatten", "flip", "fliplr", "flipud", "moveaxis",
    "movedim", "permute", "ravel", "repeat", "reshape", "reshape_as", "roll", "rot90", "squeeze",
    "swapaxes", "swapdims", "t", "tile", "transpose", "unflatten", "unsqueeze", "view", "view_as",
)  # fmt: skip
INPLACE: tuple[str, ...] = ()


def _resolve(shape: Sequence[int], size: int) -> tuple[int, ...]:
    """``shape`` with its -1 worked out; RuntimeError if it does not hold ``size`` elements."""
    for i, n in enumerate(shape):
        if n < -1:
            raise RuntimeError(f"invalid shape dimension {n} at index {i} of shape {list(shape)}")
    known = math.prod(n for n in shape if n != -1)
    free = list(shape).count(-1)
    if free > 1:
        raise RuntimeError(f"only one dimension can be inferred, got shape {list(shape)}")
    if free and known == 0 and size == 0:
        raise RuntimeError(
            f"cannot reshape tensor of 0 elements into shape {list(shape)} because the unspecified"
            " dimension size -1 can be any value and is ambiguous"
        )
    if (known != size) if not free else (known == 0 or size % known):
        raise RuntimeError(f"shape '{list(shape)}' is invalid for input of size {size}")
    return tuple(size // known if n == -1 else n for n in shape)


def view(self: Tensor, *shape: Any, **named: Any) -> Tensor:
    """The same memory in another shape; one size may be -1. RuntimeError if it needs a copy."""
    if named:
        shape = (named.pop("size"),) if set(named) == {"size"} else shape
    if not shape or named:
        raise TypeError(f"view() takes a shape, got {shape} {named}")
    if len(shape) == 1 and not isinstance(shape[0], (tuple, list, int, np.integer, Tensor)):
        raise TypeError(
            f"view(): a shape is a tuple of ints, not {type(shape[0]).__name__} (viewing memory as"
            " another dtype is not supported; .to(dtype) converts)"
        )
    target = _resolve(as_dims("view", shape, "size"), self.array.size)
    y: Tensor = ops.reshape(self, shape=target)
    if self.array.size and memory_of(y.array) is not memory_of(self.array):
        raise RuntimeError(
            "view size is not compatible with input tensor's size and stride: a tensor of shape"
            f" {list(self.shape)} and strides {list(self.stride())} has no view of shape"
            f" {list(target)}. Use .reshape(...) instead."
        )
    return y


def reshape(input: Tensor, *shape: Any, **named: Any) -> Tensor:
    """The same numbers in another shape: a view where there is one, else a copy."""
    if named:
        shape = (named.pop("shape"),) if set(named) == {"shape"} else shape
    if not shape or named:
        raise TypeError(f"reshape() takes a shape, got {shape} {named}")
    x = check_tensor("reshape", input)
    y: Tensor = ops.reshape(x, shape=_resolve(as_dims("reshape", shape, "shape"), x.array.size))
    return y


def view_as(self: Tensor, other: Tensor) -> Tensor:
    """``self.view(other.shape)``."""
    return view(self, tuple(other.shape))


def reshape_as(self: Tensor, other: Tensor) -> Tensor:
    """``self.reshape(other.shape)``."""
    return reshape(self, tuple(other.shape))


def flatten(input: Tensor, start_dim: int = 0, end_dim: int = -1) -> Tensor:
    """Dimensions ``start_dim`` to ``end_dim`` (both included) made one."""
    x = check_tensor("flatten", input)
    shape, ndim = x.array.shape, x.array.ndim
    first, last = (wrap_dim("flatten", d, ndim) for d in (start_dim, end_dim))
    if first > last:
        raise RuntimeError(
            "flatten() has invalid args: start_dim cannot come after end_dim, got"
            f" {start_dim} and {end_dim} for shape {list(shape)}"
        )
    if ndim and first == last:
        return x
    middle = math.prod(shape[first : last + 1])
    y: Tensor = ops.reshape(x, shape=(*shape[:first], middle, *shape[last + 1 :]))
    return y


def unflatten(input: Tensor, dim: int, sizes: Sequence[int]) -> Tensor:
    """Dimension ``dim`` split into ``sizes``, whose product it is; one may be -1."""
    x = check_tensor("unflatten", input)
    d = wrap_dim("unflatten", dim, x.array.ndim)
    parts, n = as_dims("unflatten", sizes, "sizes"), x.array.shape[d]
    if not parts:
        raise RuntimeError("unflatten: sizes must be non-empty")
    try:
        parts = _resolve(parts, n)
    except RuntimeError:
        raise RuntimeError(
            f"unflatten: Provided sizes {list(parts)} don't multiply up to the size of dim {d}"
            f" ({n}) in the input tensor of shape {list(x.shape)}"
        ) from None
    y: Tensor = ops.reshape(x, shape=(*x.array.shape[:d], *parts, *x.array.shape[d + 1 :]))
    return y


def ravel(input: Tensor) -> Tensor:
    """``input.reshape(-1)``."""
    return reshape(input, -1)


def permute(input: Tensor, *dims: Any, **named: Any) -> Tensor:
    """The dimensions in another order (a view): axis i of the result is axis ``dims[i]``."""
    if set(named) == {"dims"}:
        dims = (named.pop("dims"),)
    if named:
        raise TypeError(f"permute() got unexpected arguments {sorted(named)}")
    x = check_tensor("permute", input)
    order = as_dims("permute", dims)
    if len(order) != x.array.ndim:
        raise RuntimeError(
            f"permute: {len(order)} dims given for a tensor of {x.array.ndim} dims: input.dim() ="
            f" {x.array.ndim} is not equal to len(dims) = {len(order)}"
        )
    wrapped = tuple(wrap_dim("permute", d, len(order)) for d in order)
    if len(set(wrapped)) != len(wrapped):
        raise RuntimeError(f"permute(): duplicate dims are not allowed, got {list(order)}")
    y: Tensor = ops.permute(x, dims=wrapped)
    return y


def transpose(input: Tensor, dim0: int, dim1: int) -> Tensor:
    """Two dimensions exchanged (a view)."""
    x = check_tensor("transpose", input)
    order = list(range(x.array.ndim))
    i, j = (wrap_dim("transpose", d, x.array.ndim) for d in (dim0, dim1))
    if order:
        order[i], order[j] = j, i
    y: Tensor = ops.permute(x, dims=tuple(order))
    return y


swapaxes = swapdims = transpose


def t(input: Tensor) -> Tensor:
    """The transpose of a matrix (a view); vectors and numbers stay as they are."""
    x = check_tensor("t", input)
    if x.array.ndim > 2:
        raise RuntimeError(f"t() expects a tensor with <= 2 dimensions, but self is {x.ndim}D")
    return x if x.array.ndim < 2 else transpose(x, 0, 1)


def movedim(input: Tensor, source: Any, destination: Any) -> Tensor:
    """Dimensions ``source`` brought to the places ``destination``, the others in order (a view)."""
    x = check_tensor("movedim", input)
    ndim = x.array.ndim
    source, destination = as_dims("movedim", source), as_dims("movedim", destination)
    if len(source) != len(destination):
        raise RuntimeError(
            f"movedim: Invalid source or destination dims: source ({list(source)} dims) should"
            f" contain the same number of dims as destination ({list(destination)} dims)"
        )
    take, put = wrap_dims("movedim", source, ndim), wrap_dims("movedim", destination, ndim)
    order = [d for d in range(ndim) if d not in take]
    for place, d in sorted(zip(put, take)):
        order.insert(place, d)
    y: Tensor = ops.permute(x, dims=tuple(order))
    return y


moveaxis = movedim


def squeeze(input: Tensor, dim: Any = None) -> Tensor:
    """Without the dimensions of size 1: all of them, or those in ``dim`` (a view)."""
    x = check_tensor("squeeze", input)
    shape, ndim = x.array.shape, x.array.ndim
    if dim is None:
        dims = tuple(range(ndim))
    else:
        dims = wrap_dims("squeeze", as_dims("squeeze", dim, "dim"), ndim)
    kept = tuple(n for d, n in enumerate(shape) if n != 1 or d not in dims)
    y: Tensor = ops.reshape(x, shape=kept)
    return y


def unsqueeze(input: Tensor, dim: int) -> Tensor:
    """With a new dimension of size 1 at ``dim`` (a view)."""
    x = check_tensor("unsqueeze", input)
    d = wrap_dim("unsqueeze", dim, x.array.ndim + 1)
    y: Tensor = ops.reshape(x, shape=(*x.array.shape[:d], 1, *x.array.shape[d:]))
    return y


def expand(self: Tensor, *size: Any, **named: Any) -> Tensor:
    """Dimensions of size 1 (and new leading ones) repeated without copying; -1 keeps a size.

    The elements share memory, so the result cannot be written to: ``clone()`` it first.
    """
    if set(named) == {"size"}:
        size = (named.pop("size"),)
    if named:
        raise TypeError(f"expand() got unexpected arguments {sorted(named)}")
    shape, target = self.array.shape, as_dims("expand", size, "size")
    lead = len(target) - len(shape)
    if lead < 0:
        raise RuntimeError(
            f"expand(tensor of shape {list(shape)}, size={list(target)}): the number of sizes"
            f" provided ({len(target)}) must be greater or equal to the number of dimensions in"
            f" the tensor ({len(shape)})"
        )
    full = []
    for d, n in enumerate(target):
        old = shape[d - lead] if d >= lead else 1
        if n < -1 or (n == -1 and d < lead):
            raise RuntimeError(
                f"The expanded size of the tensor ({n}) isn't allowed in dimension {d}"
                f" (expand of shape {list(shape)} to {list(target)})"
            )
        if n not in (-1, old) and old != 1:
            raise RuntimeError(
                f"The expanded size of the tensor ({n}) must match the existing size ({old}) at"
                f" non-singleton dimension {d}.  Target sizes: {list(target)}.  Tensor sizes:"
                f" {list(shape)}"
            )
        full.append(old if n == -1 else n)
    y: Tensor = ops.expand(self, shape=tuple(full))
    return y


def expand_as(self: Tensor, other: Tensor) -> Tensor:
    """``self.expand(other.shape)``."""
    return expand(self, tuple(other.shape))


def broadcast_to(input: Tensor, *size: Any) -> Tensor:
    """:func:`expand` as a function."""
    return expand(check_tensor("broadcast_to", input), *size)


def broadcast_shapes(*shapes: Any) -> Size:
    """The shape that these broadcast to; RuntimeError if they do not."""
    try:
        return Size(np.broadcast_shapes(*(s if isinstance(s, int) else tuple(s) for s in shapes)))
    except ValueError:
        listed = ", ".join(str(list(s)) if not isinstance(s, int) else str(s) for s in shapes)
        raise RuntimeError(
            f"Shape mismatch: objects cannot be broadcast to a single shape: {listed}"
        ) from None


def broadcast_tensors(*tensors: Tensor) -> tuple[Tensor, ...]:
    """The tensors expanded to their common shape (views)."""
    shape = broadcast_shapes(*(t.shape for t in _listed(tensors)))
    return tuple(expand(x, tuple(shape)) for x in _listed(tensors))


def _listed(tensors: Sequence[Any]) -> Sequence[Any]:
    """``f(a, b)`` or ``f([a, b])``."""
    if len(tensors) == 1 and isinstance(tensors[0], (tuple, list)):
        return tensors[0]
    return tensors


def repeat(self: Tensor, *repeats: Any) -> Tensor:
    """Copies next to each other: ``repeats[i]`` times along dimension i, new dims in front."""
    times = as_dims("repeat", repeats, "repeats")
    shape = self.array.shape
    if len(times) < len(shape):
        raise RuntimeError(
            "Number of dimensions of repeat dims can not be smaller than number of dimensions of"
            f" tensor: repeat({list(times)}) of shape {list(shape)}"
        )
    if min(times, default=0) < 0:
        raise RuntimeError(f"repeat: Trying to create tensor with negative repeats {list(times)}")
    sizes = (1,) * (len(times) - len(shape)) + shape
    check_memory([r * n for r, n in zip(times, sizes)], self.array.dtype, "repeat")
    y: Tensor = ops.repeat(self, repeats=times)
    return y


def tile(input: Tensor, *dims: Any) -> Tensor:
    """Like :meth:`repeat`, with 1 for the leading dimensions that ``dims`` lacks."""
    x, times = check_tensor("tile", input), as_dims("tile", dims)
    return repeat(x, (1,) * (x.array.ndim - len(times)) + times)


def roll(input: Tensor, shifts: Any, dims: Any = None) -> Tensor:
    """Moved by ``shifts`` along ``dims``, cyclically; without dims as if it were 1-d."""
    x, by = check_tensor("roll", input), as_dims("roll", shifts, "shifts")
    along = () if dims is None else as_dims("roll", dims)
    if len(by) != (len(along) or 1):
        raise RuntimeError(
            f"shifts and dimensions must align. shifts: {len(by)}, dims:{len(along)}"
        )
    wrapped = tuple(wrap_dim("roll", d, x.array.ndim) for d in along)
    y: Tensor = ops.roll(x, shifts=by, dims=wrapped or None)
    return y


def flip(input: Tensor, *dims: Any, **named: Any) -> Tensor:
    """Backwards along ``dims`` (a copy)."""
    if set(named) == {"dims"}:
        dims = (named.pop("dims"),)
    if named or not dims:
        raise TypeError("flip() takes dims")
    x = check_tensor("flip", input)
    y: Tensor = ops.flip(x, dims=wrap_dims("flip", as_dims("flip", dims), x.array.ndim))
    return y


def fliplr(input: Tensor) -> Tensor:
    """Columns in the opposite order."""
    if input.ndim < 2:
        raise RuntimeError(f"fliplr: Input must be >= 2-d, got shape {list(input.shape)}")
    return flip(input, 1)


def flipud(input: Tensor) -> Tensor:
    """Rows in the opposite order."""
    if input.ndim < 1:
        raise RuntimeError("flipud: Input must be >= 1-d")
    return flip(input, 0)


def rot90(input: Tensor, k: int = 1, dims: Sequence[int] = (0, 1)) -> Tensor:
    """Turned by k * 90 degrees from the first of ``dims`` towards the second."""
    plane = as_dims("rot90", dims)
    if len(plane) != 2:
        raise RuntimeError(f"expected total rotation dims == 2, but got dims = {len(plane)}")
    if input.ndim < 2:
        raise RuntimeError(f"expected total dims >= 2, but got total dims = {input.ndim}")
    a, b = (wrap_dim("rot90", d, input.ndim) for d in plane)
    if a == b:
        raise RuntimeError(f"expected rotation dims to be different, but got {a} and {b}")
    turns = k % 4
    if turns == 0:
        y: Tensor = ops.clone(input)
        return y
    if turns == 2:
        return flip(input, a, b)
    return transpose(flip(input, b if turns == 1 else a), a, b)
