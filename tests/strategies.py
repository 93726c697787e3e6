"""Hypothesis strategies that several test files share: shapes, arrays, layouts."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from hypothesis import strategies as st

KINDS = ("normal", "negative", "ties", "zeros_and_ones", "distinct")


def make_array(shape: tuple[int, ...], kind: str, seed: int, dtype: Any = np.float64) -> np.ndarray:
    """Numbers of one kind. ``distinct`` has no two entries closer than 0.05 (no kinks, no ties)."""
    rng = np.random.default_rng(seed)
    n = math.prod(shape)
    if kind == "normal":
        x = rng.standard_normal(n)
    elif kind == "negative":
        x = -0.1 - rng.random(n)
    elif kind == "ties":
        x = rng.integers(-2, 3, n).astype(float)
    elif kind == "zeros_and_ones":
        x = rng.integers(0, 2, n).astype(float)
    elif kind == "distinct":
        x = rng.permutation(np.linspace(-1, 1, n) * max(1, 0.05 * n)) + 0.013
    elif kind == "positive":
        x = 0.1 + rng.random(n) * 2
    elif kind == "unit":
        x = 0.05 + 0.9 * rng.random(n)
    else:
        raise ValueError(kind)
    return x.reshape(shape).astype(dtype)


@st.composite
def arrays(
    draw: st.DrawFn,
    shape: tuple[int, ...] | st.SearchStrategy[tuple[int, ...]] | None = None,
    kinds: tuple[str, ...] = KINDS,
    dtype: Any = np.float64,
) -> np.ndarray:
    """An array of some shape (0 to 4 dimensions, sizes 0 to 5, unless told) and some kind."""
    if shape is None:
        shape = shapes()
    if not isinstance(shape, tuple):
        shape = draw(shape)
    return make_array(shape, draw(st.sampled_from(kinds)), draw(st.integers(0, 2**16)), dtype)


def shapes(
    min_dims: int = 0, max_dims: int = 4, min_side: int = 0, max_side: int = 5
) -> st.SearchStrategy[tuple[int, ...]]:
    return st.lists(
        st.integers(min_side, max_side), min_size=min_dims, max_size=max_dims
    ).map(tuple)


@st.composite
def broadcastable(draw: st.DrawFn, n: int = 2, min_side: int = 1) -> list[tuple[int, ...]]:
    """``n`` shapes that broadcast together: some sizes are 1, some leading dimensions missing."""
    full = draw(shapes(min_side=min_side))
    result = []
    for _ in range(n):
        cut = draw(st.integers(0, len(full)))
        result.append(tuple(1 if draw(st.integers(0, 3)) == 0 else s for s in full[cut:]))
    return result


LAYOUTS = ("contiguous", "transposed", "strided", "reversed")


def with_layout(x: np.ndarray, layout: str) -> np.ndarray:
    """The same values in another memory order. ``reversed`` has negative strides."""
    if layout == "transposed" and x.ndim:
        return np.asfortranarray(x)
    if layout == "strided" and x.ndim:
        wide = np.full((*x.shape[:-1], 2 * x.shape[-1]), np.nan if x.dtype.kind == "f" else 0)
        wide = wide.astype(x.dtype)
        wide[..., ::2] = x
        return wide[..., ::2]
    if layout == "reversed" and x.ndim:
        return np.ascontiguousarray(x[::-1])[::-1]
    return x


def image_shapes(max_n: int = 3, max_c: int = 4, max_side: int = 9) -> st.SearchStrategy[Any]:
    """(N, C, H, W) with N >= 0 and H, W drawn apart."""
    return st.tuples(
        st.integers(0, max_n), st.integers(1, max_c), st.integers(1, max_side),
        st.integers(1, max_side),
    )  # fmt: skip
