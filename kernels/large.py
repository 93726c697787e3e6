"""Arithmetic on arrays of any size: threads and pooled memory for large ones.

The array module's own functions serve all the rest: small arrays (waking a thread costs more than
it saves), other dtypes, shapes that broadcast, memory that is not contiguous. On a GPU nothing is
too small for a kernel.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .backend import LARGE, Array, contiguous, empty
from .half import is_floating


def add(a: Any, b: Any) -> Array:
    """a + b, of arrays that broadcast or numbers."""
    return _both("add", np.add, a, b)


def add_relu(a: Array, b: Array) -> Array:
    """max(a + b, 0), of arrays of one shape."""
    if not _large_alike(a, b):
        return np.maximum(a + b, 0)
    from . import arithmetic

    y = empty(a.shape, a)
    arithmetic.add_relu.for_result(y, a, b)(a.reshape(-1), b.reshape(-1), y.reshape(-1))
    return y


def mul(a: Any, b: Any) -> Array:
    """a b, of arrays that broadcast or numbers."""
    return _both("mul", np.multiply, a, b)


def keep(x: Array, mask: Array, scale: Any) -> Array:
    """x mask scale, of a bool mask that broadcasts to x; scale has the type of x."""
    worth = x.size >= LARGE
    if not isinstance(x, np.ndarray):
        x, worth = contiguous(x), x.size > 0
    if not worth or x.shape != mask.shape or not (_plain(x) and mask.flags.c_contiguous):
        return x * (mask * scale)
    from .dropout import dropout

    y = empty(x.shape, x)
    dropout(x.reshape(-1), mask.reshape(-1), y.reshape(-1), scale)
    return y


def add_into(y: Array, b: Array) -> None:
    """y += b, of one shape."""
    if _large_alike(y, b):
        from .arithmetic import add as add_kernel

        add_kernel(y.reshape(-1), b.reshape(-1), y.reshape(-1))
    elif _is_large(y) and y.shape == b.shape and (rows := _rows(b, y.dtype)):
        from .join import add_rows

        flat, N, L, pitch = rows
        add_rows(flat, pitch, y.reshape(N, L))
    else:
        y += b


def put(x: Array, y: Array, start: int) -> None:
    """y[:, start : start + C] = x, of C channels; y is plain memory, x has its dtype."""
    if _is_large(x):
        from .join import concat
        from .simd import BLOCK

        N, L = x.shape[0], math.prod(x.shape[2:])
        k = concat.for_result(y, x) if x.shape[1] * L >= BLOCK else concat
        k(x.reshape(N, -1), y.reshape(N, -1), start * L)
    else:
        y[:, start : start + x.shape[1]] = x


def concatenate(xs: Sequence[Array], dim: int) -> Array:
    """The arrays (one dtype, and one shape but for axis ``dim``) one after the other along it."""
    x = xs[0]
    shape = list(x.shape)
    shape[dim] = sum(x.shape[dim] for x in xs)
    size = math.prod(shape)
    if isinstance(x, np.ndarray):
        if size < LARGE or not all(_plain(x) for x in xs):
            return np.concatenate(xs, dim)
        y = empty(tuple(shape), x)
        if size < LARGE * len(xs):  # many small arrays
            return np.concatenate(xs, dim, out=y)
    else:  # CuPy's function copies many arrays' addresses to the GPU, which no graph can hold
        y, xs = empty(tuple(shape), x), [contiguous(x) for x in xs]
        if not is_floating(x.dtype):
            _assign_parts(y, xs, dim)
            return y
    from .join import concat
    from .simd import BLOCK

    N = math.prod(shape[:dim])
    start = 0
    for x in xs:
        if x.size:
            rows = x.reshape(N, -1)
            k = concat.for_result(y, x) if rows.shape[1] >= BLOCK else concat
            k(rows, y.reshape(N, -1), start)
            start += rows.shape[1]
    return y


def copy(x: Array) -> Array | None:
    """A C-contiguous copy of a large x on the CPU, if x is rows of memory with equal gaps."""
    rows = _rows(x, x.dtype)
    if rows is None:
        return None
    from .join import take_rows
    from .simd import BLOCK

    flat, N, L, pitch = rows
    y = empty(x.shape, x)
    k = take_rows.for_result(y, x) if L >= BLOCK else take_rows
    k(flat, pitch, y.reshape(N, L))
    return y


def _rows(x: Array, dtype: Any) -> tuple[Array, int, int, int] | None:
    """x flat from its first element to its last, in which it is N rows of L elements, ``pitch``
    apart, long ones unless there is one; None for other x, or dtypes that kernels do not take."""
    if x.dtype is not dtype or dtype.kind != "f" or dtype.itemsize < 4 or not dtype.isnative:
        return None
    if not x.flags.aligned:
        return None
    L, d = 1, x.ndim
    while d and (x.shape[d - 1] == 1 or x.strides[d - 1] == L * x.itemsize):
        L, d = L * x.shape[d - 1], d - 1
    if d == 0:
        return x.reshape(-1), 1, L, L
    N, pitch = x.shape[d - 1], x.strides[d - 1] // x.itemsize
    if any(n != 1 for n in x.shape[: d - 1]) or L < 256 or pitch < L:
        return None
    flat = np.lib.stride_tricks.as_strided(x, ((N - 1) * pitch + L,), (x.itemsize,))
    return flat, N, L, pitch


def stack(xs: Sequence[Array], dim: int) -> Array:
    """The arrays (one dtype and shape) along a new axis ``dim``."""
    x = xs[0]
    if isinstance(x, np.ndarray):
        return np.stack(xs, dim)
    return concatenate([x.reshape(*x.shape[:dim], 1, *x.shape[dim:]) for x in xs], dim)


def _assign_parts(y: Array, xs: Sequence[Array], dim: int) -> None:
    start = 0
    for x in xs:
        stop = start + x.shape[dim]
        y[(*(slice(None),) * dim, slice(start, stop))] = x
        start = stop


def _both(name: str, plain: Callable[..., Any], a: Any, b: Any) -> Array:
    if not _large_alike(a, b):
        return plain(a, b)
    from . import arithmetic

    y = empty(a.shape, a)
    found = getattr(arithmetic, name)
    found.for_result(y, a, b)(a.reshape(-1), b.reshape(-1), y.reshape(-1))
    return y


def _large_alike(a: Any, b: Any) -> bool:
    return _is_large(a) and _plain(b) and a.shape == b.shape and a.dtype is b.dtype


def _is_large(a: Any) -> bool:
    return isinstance(a, np.ndarray) and a.size >= LARGE and _plain(a)


def _plain(x: Any) -> bool:
    """float32 or float64 in C-contiguous memory, on a GPU also float16 and bfloat16."""
    if not isinstance(x, np.ndarray):
        return hasattr(x, "dtype") and is_floating(x.dtype) and bool(x.flags.c_contiguous)
    return (
        x.dtype.kind == "f"
        and x.dtype.itemsize >= 4
        and x.flags.c_contiguous
        and x.flags.aligned
    )
