"""What the functions here share: argument checks and in-place variants."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ...functions.arguments import check_tensor
from ...tensor import Tensor


def apply(
    name: str, fn: Callable[..., Any], input: Any, inplace: bool, *args: Any, **settings: Any
) -> Tensor:
    """``fn(input, ...)``, stored in ``input``'s own memory if ``inplace``."""
    x = input if isinstance(input, Tensor) else check_tensor(name, input)
    if inplace:
        return x._write(fn, *args, **settings)
    return fn(x, *args, **settings)
