"""The ``dim`` and ``keepdim`` arguments of reductions, and NumPy's names for them."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from .arguments import wrap_dim, wrap_dims

P = ParamSpec("P")
R = TypeVar("R")
_ALIASES = (("axis", "dim"), ("keepdims", "keepdim"))


def numpy_names(fn: Callable[P, R]) -> Callable[P, R]:
    """Let ``fn`` take ``axis=`` for ``dim=`` and ``keepdims=`` for ``keepdim=``, like PyTorch."""

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


def reduced_dims(name: str, dim: Any, ndim: int) -> tuple[int, ...]:
    """The dims to reduce over, counted from the front: all of them for None or an empty tuple."""
    if dim is None or dim == () or dim == []:
        return tuple(range(ndim))
    if isinstance(dim, (tuple, list)):
        dims = wrap_dims(name, dim, ndim)
    else:
        dims = (wrap_dim(name, dim, ndim),)
    return dims if ndim else ()


def check_keepdim(name: str, keepdim: Any) -> None:
    """A bool and nothing else, as in PyTorch: ``x.sum(0, 1)`` is a slip for ``x.sum((0, 1))``."""
    if not isinstance(keepdim, bool):
        raise TypeError(
            f"{name}(): argument 'keepdim' must be bool, not {type(keepdim).__name__}"
            " (several dims go in a tuple)"
        )
