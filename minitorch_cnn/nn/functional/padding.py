"""Borders around the last dimensions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...functions.arguments import as_int, check_tensor
from ...ops import shape as ops
from ...tensor import Tensor

_MODES = ("constant", "reflect", "replicate", "circular")


def pad(
    input: Tensor, pad: Sequence[int], mode: str = "constant", value: float | None = None
) -> Tensor:
    """x with borders; ``pad`` is (before, after) of the last dimension, then of the one before ...

    ``mode``: 'constant' (``value``, 0 unless given; negative numbers cut off), 'reflect' (mirrored,
    the edge itself not repeated), 'replicate' (the edge repeated), 'circular'. All but 'constant'
    pad the last 1, 2 or 3 dimensions of a signal, an image or a volume.
    """
    x = check_tensor("pad", input)
    amounts = _amounts(x, pad)
    if mode not in _MODES:
        raise NotImplementedError(f"Unrecognised padding mode {mode}: choose one of {_MODES}")
    if mode != "constant":
        _check_borders(x, amounts, mode)
        if value is not None and value != 0:
            raise RuntimeError(f'Padding mode "{mode}" doesn\'t take in value argument')
    for i, n in enumerate(x.shape[::-1][: len(amounts) // 2]):
        before, after = amounts[2 * i : 2 * i + 2]
        cut = max(-before, 0) + max(-after, 0)
        least = 1 if mode in ("reflect", "replicate") else 0
        if cut > n or n + before + after < least:
            raise RuntimeError(
                f"pad: ({before}, {after}) cuts off dimension {x.ndim - 1 - i} all of its size {n};"
                f" input shape {list(x.shape)}"
            )
    return ops.pad(x, pad=amounts, mode=mode, value=value or 0.0)


def _amounts(x: Tensor, pad: Any) -> tuple[int, ...]:
    if not isinstance(pad, (tuple, list)):
        raise TypeError(f"pad(): argument 'pad' must be tuple of ints, not {type(pad).__name__}")
    amounts = tuple(as_int("pad", "pad", n) for n in pad)
    if len(amounts) % 2:
        raise RuntimeError(f"Padding length must be divisible by 2, got {amounts}")
    if len(amounts) > 2 * x.ndim:
        raise RuntimeError(
            "Padding length should be less than or equal to two times the input dimension but got"
            f" padding length {len(amounts)} and input of dimension {x.ndim}"
        )
    return amounts


def _check_borders(x: Tensor, amounts: tuple[int, ...], mode: str) -> None:
    """A border made from the input needs an input that is large enough for it."""
    n = len(amounts) // 2
    if n not in (1, 2, 3) or x.ndim not in (n + 1, n + 2):
        raise NotImplementedError(
            f"Padding size {len(amounts)} is not supported for {x.ndim}D input tensor in mode"
            f" {mode!r}: 2 numbers go with (C, L) or (N, C, L), 4 with (C, H, W) or (N, C, H, W),"
            f" 6 with one dimension more; input shape {list(x.shape)}"
        )
    if 0 in x.shape[1 if x.ndim == n + 2 else 0 :]:
        raise RuntimeError(
            f"pad: Expected non-zero sizes (except of the batch) in mode {mode!r}, but got"
            f" {list(x.shape)}"
        )
    for i, size in enumerate(x.shape[: -n - 1 : -1]):
        border = max(amounts[2 * i : 2 * i + 2])
        if mode == "reflect" and border >= size:
            raise RuntimeError(
                "Padding size should be less than the corresponding input dimension, but got:"
                f" padding {amounts[2 * i : 2 * i + 2]} at dimension {x.ndim - 1 - i} of input"
                f" {list(x.shape)}"
            )
        if mode == "circular" and border > size:
            raise RuntimeError(
                "Padding value causes wrapping around more than once:"
                f" {amounts[2 * i : 2 * i + 2]} at dimension {x.ndim - 1 - i} of input"
                f" {list(x.shape)}"
            )
