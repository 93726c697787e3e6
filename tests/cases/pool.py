"""Rows for pooling."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from hypothesis import assume
from hypothesis import strategies as st

from minitorch_cnn.kernels.geometry import pool_output
from minitorch_cnn.ops import pool

from ..strategies import arrays, image_shapes
from . import Call, Case


def _pairs(low: int, high: int) -> st.SearchStrategy[tuple[int, int]]:
    return st.tuples(st.integers(low, high), st.integers(low, high))


@st.composite
def _images(draw: st.DrawFn, kinds: tuple[str, ...]) -> np.ndarray:
    shape = draw(image_shapes())
    return draw(arrays(shape if draw(st.booleans()) else shape[1:], kinds))


@st.composite
def _windows(draw: st.DrawFn, x: np.ndarray, max_dilation: int) -> dict[str, Any]:
    kernel, S, D = draw(_pairs(1, 4)), draw(_pairs(1, 3)), draw(_pairs(1, max_dilation))
    # PyTorch allows half of the dilated kernel, but its backward pass only half of the kernel.
    P = tuple(draw(st.integers(0, k // 2)) for k in kernel)
    # A window whose taps all miss the plane gets an index beyond it in PyTorch.
    assume(all(n >= d for n, d in zip(x.shape[-2:], D)))
    ceil_mode = draw(st.booleans())
    for n, k, s, p, d in zip(x.shape[-2:], kernel, S, P, D):
        assume(pool_output(n, k, s, p, d, ceil_mode) > 0)
    return {
        "kernel_size": kernel, "stride": S, "padding": P, "dilation": D, "ceil_mode": ceil_mode
    }  # fmt: skip


@st.composite
def _max_pools(draw: st.DrawFn, kinds: tuple[str, ...]) -> Call:
    x = draw(_images(kinds))
    return Call((x,), draw(_windows(x, 3)))


@st.composite
def _avg_pools(draw: st.DrawFn) -> Call:
    x = draw(_images(("normal", "negative")))
    settings = draw(_windows(x, 1))
    del settings["dilation"]
    settings["count_include_pad"] = draw(st.booleans())
    settings["divisor_override"] = draw(st.sampled_from([None, None, 3, -2]))
    return Call((x,), settings)


@st.composite
def _adaptive(draw: st.DrawFn, kinds: tuple[str, ...]) -> Call:
    x = draw(_images(kinds))
    size = draw(st.tuples(*(st.none() | st.integers(1, 7) for _ in range(2))))
    return Call((x,), {"output_size": size})


def _with_indices(fn: Any) -> Any:
    return lambda x, **settings: fn(x, return_indices=True, **settings)


CASES = (
    Case("max_pool2d", "pool.max_pool2d", pool.max_pool2d, _with_indices(F.max_pool2d),
         _max_pools(("distinct",))),
    Case("max_pool2d_ties", "pool.max_pool2d", pool.max_pool2d, _with_indices(F.max_pool2d),
         _max_pools(("ties", "negative", "zeros_and_ones")), smooth=False),
    Case("avg_pool2d", "pool.avg_pool2d", pool.avg_pool2d, F.avg_pool2d, _avg_pools()),
    Case("adaptive_avg_pool2d", "pool.adaptive_avg_pool2d", pool.adaptive_avg_pool2d,
         F.adaptive_avg_pool2d, _adaptive(("normal", "negative"))),
    Case("adaptive_max_pool2d", "pool.adaptive_max_pool2d", pool.adaptive_max_pool2d,
         _with_indices(F.adaptive_max_pool2d), _adaptive(("distinct",))),
    Case("adaptive_max_pool2d_ties", "pool.adaptive_max_pool2d", pool.adaptive_max_pool2d,
         _with_indices(F.adaptive_max_pool2d), _adaptive(("ties", "zeros_and_ones")),
         smooth=False),
    Case("global_avg_pool", "pool.adaptive_avg_pool2d",
         lambda x: pool.adaptive_avg_pool2d(x, output_size=1),
         lambda x: torch.mean(x, (-2, -1), keepdim=True),
         st.builds(lambda x: Call((x,)), _images(("normal",)))),
)  # fmt: skip
