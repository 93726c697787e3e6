"""Dropout: which elements stay, and the product with that.

A mask has the bits of the seeded generator (``random.py``) on every device. The CPU draws from it.
A GPU computes the very same draws from the generator's state, each thread its own, while the host
moves the generator on by as many (:func:`skip`): nothing is copied but the state, 64 bytes.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .backend import HOST, LARGE, Array, empty, host_numbers
from .jit import kernel, prange

BUFFER = 8  # draws of 32 bits that one counter gives
NOTHING_LEFT = 1 << 32  # in the place of a half word: more than any draw


def _dropout_numpy(x: Array, keep: Array, y: Array, scale: float) -> None:
    np.multiply(x, keep * scale, out=y)


@kernel(numpy=_dropout_numpy, parallel_above=LARGE)
def dropout(x: Array, keep: Array, y: Array, scale: float) -> None:
    """y = x scale where keep (bool), else x 0 (NaN stays NaN), of flat arrays."""
    zero = x.dtype.type(0)
    for i in prange(y.size):
        y[i] = x[i] * (scale if keep[i] else zero)


def keep_mask(source: Any, shape: tuple[int, ...], p: float, like: Array) -> Array:
    """True with probability 1 - p, where ``like`` lives: draws of 32 bits that are p 2^32 or more.

    They are those of the generator ``source.numpy``, which is moved on by one draw per element, on
    every device alike. A captured graph asks ``source`` again at each launch: it may have been
    seeded anew.
    """
    threshold = round(p * 2**32)
    if isinstance(like, HOST):
        keep: Array = source.numpy.integers(0, 1 << 32, shape, "u4") >= threshold
        return keep
    keep = empty(shape, like, np.bool_)
    if n := keep.size:
        from .launcher import launch

        def draws() -> Array:
            generator = source.numpy
            before = state_words(generator)
            skip(generator, n)
            return before

        state = host_numbers(draws, 8, np.uint64, like)
        launch("dropout", "keep_mask", state, keep.reshape(-1), threshold)
    return keep


def state_words(generator: np.random.Generator) -> Array:
    """What ``keep_mask`` takes: counter (4), key (2), draws used of the buffer, and the half word
    that is left over of the last draw, or NOTHING_LEFT."""
    state: Any = generator.bit_generator.state
    left = state["uinteger"] if state["has_uint32"] else NOTHING_LEFT
    used = 2 * state["buffer_pos"]
    return np.array([*state["state"]["counter"], *state["state"]["key"], used, left], np.uint64)


def skip(generator: np.random.Generator, n: int) -> None:
    """Move a Philox generator on by n draws of 32 bits, to the very state that drawing leaves."""
    *_, used, left = state_words(generator).tolist()
    first = BUFFER - used + (left != NOTHING_LEFT)  # draws until a counter begins
    if n >= first + 2 * BUFFER:
        _draw(generator, first)
        counters = (n - first) // BUFFER - 1
        generator.bit_generator.advance(counters)  # type: ignore[attr-defined]
        n -= first + counters * BUFFER
    _draw(generator, n)


def _draw(generator: np.random.Generator, n: int) -> None:
    generator.integers(0, 1 << 32, n, "u4")
