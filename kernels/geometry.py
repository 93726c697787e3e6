"""Stride, padding, dilation and ceil_mode: parsed, checked and turned into OH, OW, once.

Along one axis, a window of K taps, D apart, spans D*(K-1)+1 cells; moving it by S over H cells
padded with P on both sides gives

    OH = floor((H + 2P - D*(K-1) - 1) / S) + 1

and with ceil_mode the division rounds up, except that the last window must start inside the input
or its left padding (PyTorch's rule). A transposed convolution runs the same formula backwards; its
output_padding says which of the S heights that give the same OH is meant.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Sequence

Pair = tuple[int, int]


def pair(value: int | Sequence[int], name: str, op: str, low: int = 1) -> Pair:
    """``3`` -> ``(3, 3)``; ``(3,)`` -> ``(3, 3)``; ``(3, 5)`` stays. Each entry must be >= low."""
    if type(value) is int and value >= low:
        return value, value
    entries = value if isinstance(value, (tuple, list)) else (value,)
    if len(entries) == 1:
        entries = (entries[0], entries[0])
    if len(entries) != 2:
        raise RuntimeError(
            f"{op}(): {name} must be one integer or a tuple of two (height, width), got {value!r}"
        )
    height, width = integer(entries[0], name, op, value), integer(entries[1], name, op, value)
    if height < low or width < low:
        adjective = "positive" if low == 1 else "non-negative"
        raise RuntimeError(f"{op}(): {name} must be {adjective}, got {value!r}")
    return height, width


def integer(value: object, name: str, op: str, whole: object = None) -> int:
    """An int out of anything that is one (NumPy's too); TypeError for floats and bools."""
    if not isinstance(value, bool):
        try:
            return operator.index(value)  # type: ignore[arg-type]
        except TypeError:
            pass
    got = value if whole is None else whole
    raise TypeError(f"{op}(): {name} must be int or tuple of ints, got {got!r}") from None


def conv_output(size: int, K: int, S: int, P: int, D: int) -> int:
    """Output cells of a convolution along one axis; may be <= 0 where the kernel does not fit."""
    return (size + 2 * P - D * (K - 1) - 1) // S + 1


def conv_size(
    x_shape: Sequence[int], weight_shape: Sequence[int], S: Pair, P: Pair, D: Pair
) -> Pair:
    """(OH, OW) of a convolution of x (N, C, H, W) with a weight (F, C/G, KH, KW), unchecked."""
    (H, W), (KH, KW) = x_shape[2:], weight_shape[2:]
    return conv_output(H, KH, S[0], P[0], D[0]), conv_output(W, KW, S[1], P[1], D[1])


@functools.lru_cache(1024)
def conv_output_size(op: str, size: Pair, kernel: Pair, S: Pair, P: Pair, D: Pair) -> Pair:
    """(OH, OW) of a convolution over ``size`` = (H, W); RuntimeError if the kernel does not fit."""
    padded = tuple(n + 2 * p for n, p in zip(size, P))
    span = tuple(d * (k - 1) + 1 for k, d in zip(kernel, D))
    if any(k > n for k, n in zip(span, padded)):
        raise RuntimeError(
            f"{op}(): Calculated padded input size per channel: ({_by(padded)})."
            f" Kernel size: ({_by(span)}). Kernel size can't be greater than actual input size."
            f" (Input {_by(size)}, kernel {_by(kernel)}, padding {P}, dilation {D}: pad more, use a"
            " smaller kernel, or pool less before this layer.)"
        )
    if min(size) == 0:
        raise RuntimeError(
            f"{op}(): Only zero batch or zero channel inputs are supported, but got an input of"
            f" {_by(size)}"
        )
    OH, OW = (conv_output(n, k, s, p, d) for n, k, s, p, d in zip(size, kernel, S, P, D))
    return OH, OW


def conv_transpose_output_size(
    op: str, size: Pair, kernel: Pair, S: Pair, P: Pair, D: Pair, extra: Pair
) -> Pair:
    """(H, W) that a convolution would have turned into ``size``; ``extra`` is output_padding."""
    if any(e >= max(s, d) for e, s, d in zip(extra, S, D)):
        raise RuntimeError(
            f"{op}(): output padding must be smaller than either stride or dilation, but got"
            f" output_padding {extra}, stride {S}, dilation {D}"
        )
    H, W = (
        (n - 1) * s - 2 * p + d * (k - 1) + e + 1
        for n, k, s, p, d, e in zip(size, kernel, S, P, D, extra)
    )
    if H < 1 or W < 1 or min(size) == 0:
        raise RuntimeError(
            f"{op}(): the output would be {H} x {W} for an input of {_by(size)}, kernel"
            f" {_by(kernel)}, stride {S}, padding {P}, output_padding {extra}: pad less"
        )
    return H, W


def pool_output(size: int, K: int, S: int, P: int, D: int, ceil_mode: bool) -> int:
    """Output cells of a pooling along one axis."""
    out = (size + 2 * P - D * (K - 1) - 1 + (S - 1 if ceil_mode else 0)) // S + 1
    if ceil_mode and (out - 1) * S >= size + P:
        out -= 1
    return out


@functools.lru_cache(1024)
def pool_output_size(
    op: str, x_shape: tuple[int, ...], kernel: Pair, S: Pair, P: Pair, D: Pair, ceil_mode: bool
) -> Pair:
    """(OH, OW) of a pooling over the last two axes; RuntimeError as PyTorch has it."""
    for k, p, d in zip(kernel, P, D):
        if p > (d * (k - 1) + 1) // 2:
            raise RuntimeError(
                f"{op}(): pad should be at most half of effective kernel size, but got pad={p},"
                f" kernel_size={k} and dilation={d}"
            )
    H, W = x_shape[-2:]
    OH, OW = (
        pool_output(n, k, s, p, d, ceil_mode) for n, k, s, p, d in zip((H, W), kernel, S, P, D)
    )
    if OH < 1 or OW < 1:
        raise RuntimeError(
            f"{op}(): Given input size: ({_by(x_shape[-3:])}). Calculated output size:"
            f" ({_by((*x_shape[-3:-2], max(OH, 0), max(OW, 0)))}). Output size is too small."
            f" (Kernel {_by(kernel)}, stride {S}, padding {P}, dilation {D}.)"
        )
    return OH, OW


def _by(sizes: Sequence[int]) -> str:
    return " x ".join(map(str, sizes))
