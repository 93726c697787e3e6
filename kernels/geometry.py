"""Stride, padding, dilation and ceil_mode: parsed, checked and turned into OH, OW, once.

Along one axis, a window of K taps, D apart, spans D*(K-1)+1 cells; moving it by S over H cells
padded with P on both sides gives

    OH = floor((H + 2P - D*(K-1) - 1) / S) + 1

and with ceil_mode the division rounds up, except that the last window must start inside the input
or its left padding (PyTorch's rule).
"""

from __future__ import annotations

import operator
from collections.abc import Sequence


def pair(value: int | Sequence[int], name: str, op: str, low: int = 1) -> tuple[int, int]:
    """``3`` -> ``(3, 3)``; ``(3,)`` -> ``(3, 3)``; ``(3, 5)`` stays. Each entry must be >= low."""
    entries = value if isinstance(value, (tuple, list)) else (value,)
    if len(entries) == 1:
        entries = (entries[0], entries[0])
    if len(entries) != 2:
        raise RuntimeError(
            f"{op}(): {name} must be one integer or a tuple of two (height, width), got {value!r}"
        )
    try:
        height, width = (operator.index(v) for v in entries)
    except TypeError:
        raise TypeError(f"{op}(): {name} must be int or tuple of ints, got {value!r}") from None
    if height < low or width < low:
        adjective = "positive" if low == 1 else "non-negative"
        raise RuntimeError(f"{op}(): {name} must be {adjective}, got {value!r}")
    return height, width


def conv_output(size: int, K: int, S: int, P: int, D: int) -> int:
    """Output cells of a convolution along one axis; may be <= 0 where the kernel does not fit."""
    return (size + 2 * P - D * (K - 1) - 1) // S + 1


def pool_output(size: int, K: int, S: int, P: int, D: int, ceil_mode: bool) -> int:
    """Output cells of a pooling along one axis."""
    out = (size + 2 * P - D * (K - 1) - 1 + (S - 1 if ceil_mode else 0)) // S + 1
    if ceil_mode and (out - 1) * S >= size + P:
        out -= 1
    return out
