"""Small helpers of the layers: tuples of a given length, new parameters."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from ...functions.arguments import as_size, empty, finish, numpy_dtype
from ..parameter import Parameter


def _ntuple(n: int) -> Callable[[Any], tuple[Any, ...]]:
    def parse(x: Any) -> tuple[Any, ...]:
        return tuple(x) if isinstance(x, Iterable) else (x,) * n

    return parse


_single = _ntuple(1)
_pair = _ntuple(2)
_triple = _ntuple(3)
_quadruple = _ntuple(4)


def new_parameter(*shape: Any, device: Any = None, dtype: Any = None) -> Parameter:
    """A parameter of this shape whose memory ``reset_parameters`` still has to fill."""
    size = as_size("nn.Parameter", shape)
    return Parameter(finish(empty("nn.Parameter", size, numpy_dtype("nn", dtype)), device))
