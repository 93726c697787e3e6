"""Winograd's convolution as one of conv2d's algorithms: which tile, and into which array."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from . import winograd
from .backend import Array
from .geometry import Pair


def tile_of(size: Sequence[int]) -> int:
    """4 x 4 outputs, unless the whole image has no more than 2 rows or columns."""
    return 4 if min(size) > 2 else 2


def forward(
    x: Array, weight: Array, bias: Array, y: Array, stride: Pair, padding: Pair, dilation: Pair,
    relu: bool = False, kept: dict[Any, Array] | None = None,
) -> None:  # fmt: skip
    """y = the convolution of x with weight, plus bias; stride and dilation are 1. ``relu``: the
    larger of that and 0. ``kept``: of this weight, transformed filters."""
    assert stride == dilation == (1, 1)
    tile, u = tile_of(y.shape[2:]), None
    if kept is not None:
        u = kept.get(("winograd", tile))
        if u is None:
            u = kept["winograd", tile] = winograd.transform_weight(weight, tile)
    winograd.forward(x, weight, padding, bias, tile, relu, u, y)


def grad_input(
    gy: Array, weight: Array, gx: Array, stride: Pair, padding: Pair, dilation: Pair
) -> None:
    """gx = what comes back through the taps."""
    assert stride == dilation == (1, 1)
    winograd.grad_input(gy, weight, gx.shape, padding, tile_of(gx.shape[2:]), gx=gx)


def grad_weight(
    gy: Array, x: Array, gw: Array, stride: Pair, padding: Pair, dilation: Pair
) -> None:
    """gw = the sum over all pixels of gy times what their windows see."""
    assert stride == dilation == (1, 1)
    winograd.grad_weight(gy, x, padding, tile_of(gy.shape[2:]), gw=gw)
