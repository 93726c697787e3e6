"""The ``dim`` and ``keepdim`` arguments, and NumPy's names for them."""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Sequence
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")
_ALIASES = (("axis", "dim"), ("keepdims", "keepdim"))


def numpy_names(fn: Callable[P, R]) -> Callable[P, R]:
    """Let ``fn`` take ``axis=`` for ``dim=`` and ``keepdims=`` for ``keepdim=``, as PyTorch does."""

    @functools.wraps(fn)
    def renamed(*args: P.args, **kwargs: P.kwargs) -> R:
        if kwargs:
            for alias, name in _ALIASES:
                if alias in kwargs:
                    if name in kwargs:
                        raise TypeError(f"{fn.__name__}() got both {alias!r} and {name!r}")
                    kwargs[name] = kwargs.pop(alias)
        return fn(*args, **kwargs)

    return renamed


def wrap_dim(dim: Any, ndim: int, name: str = "") -> int:
    """``dim`` counted from the front. A 0-d tensor has dims 0 and -1, as if it were of shape [1].

    IndexError if out of range, TypeError if not an integer.
    """
    if isinstance(dim, bool) or not hasattr(dim, "__index__"):
        raise TypeError(
            f"{name + '(): ' if name else ''}argument 'dim' must be int, not {type(dim).__name__}"
        )
    index, n = operator.index(dim), max(ndim, 1)
    if not -n <= index < n:
        raise IndexError(
            f"Dimension out of range (expected to be in range of [{-n}, {n - 1}], but got {index})"
        )
    return index % n


def wrap_dims(dim: Any, ndim: int, name: str = "") -> tuple[int, ...]:
    """The dims to reduce over, counted from the front; all of them for None or an empty tuple."""
    if dim is None:
        return tuple(range(ndim))
    if isinstance(dim, Sequence) and not isinstance(dim, str):
        dims = tuple(wrap_dim(d, ndim, name) for d in dim)
        if not dims:
            return tuple(range(ndim))
        for d in dims:
            if dims.count(d) > 1:
                raise RuntimeError(f"dim {d} appears multiple times in the list of dims")
    else:
        dims = (wrap_dim(dim, ndim, name),)
    return dims if ndim else ()


def check_keepdim(name: str, keepdim: Any) -> None:
    """PyTorch takes a bool here and nothing else: ``x.sum(0, 1)`` is a slip for ``x.sum((0, 1))``."""
    if not isinstance(keepdim, bool):
        raise TypeError(
            f"{name}(): argument 'keepdim' must be bool, not {type(keepdim).__name__}"
            " (several dims go in a tuple)"
        )
