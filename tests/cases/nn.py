"""Rows for what ``minitorch_cnn.nn`` brings itself: linear, embedding, dropout, max unpooling."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from hypothesis import strategies as st

from minitorch_cnn.nn import functional as F
from minitorch_cnn.ops import dropout

from ..devices import from_numpy
from ..strategies import KINDS, arrays, make_array, shapes
from . import Call, Case

SEEDS = st.integers(0, 2**16)


@st.composite
def linear_calls(draw: st.DrawFn) -> Call:
    lead = draw(shapes(max_dims=3, min_side=0, max_side=4))
    K, M = draw(st.integers(0, 6)), draw(st.integers(1, 5))
    x = draw(arrays((*lead, K), KINDS))
    weight, bias = draw(arrays((M, K), KINDS)), draw(arrays((M,), KINDS))
    return Call((x, weight, bias) if draw(st.booleans()) else (x, weight))


@st.composite
def wide_linear_calls(draw: st.DrawFn) -> Call:
    """Large enough for the kernel that small products do without."""
    N, K, M = draw(st.integers(20, 70)), draw(st.integers(90, 330)), draw(st.integers(8, 40))
    sizes = ((N, K), (M, K), (M,))
    return Call(tuple(make_array(s, "normal", draw(SEEDS)) for s in sizes))


@st.composite
def embedding_calls(draw: st.DrawFn) -> Call:
    V, D = draw(st.integers(1, 6)), draw(st.integers(1, 4))
    shape = draw(shapes(max_dims=3, max_side=4))
    indices = np.random.default_rng(draw(SEEDS)).integers(0, V, shape)
    padding = draw(st.none() | st.integers(-V, V - 1))
    return Call((draw(arrays((V, D))), indices), {"padding_idx": padding})


@st.composite
def dropout_calls(draw: st.DrawFn) -> Call:
    x = draw(arrays(shapes(max_dims=4), (*KINDS, "positive")))
    keep_shape = tuple(1 if draw(st.integers(0, 3)) == 0 else n for n in x.shape)
    keep = np.asarray(np.random.default_rng(draw(SEEDS)).random(keep_shape) > 0.5)
    return Call((x,), {"keep": keep, "p": draw(st.sampled_from([0.0, 0.25, 0.5, 0.9, 1.0]))})


def on_mask(op: Any) -> Any:
    return lambda x, keep, **settings: op(x, keep=from_numpy(keep), **settings)


def torch_dropout(x: torch.Tensor, keep: np.ndarray, p: float) -> torch.Tensor:
    return x * (torch.from_numpy(keep).to(x.dtype) * (1 / (1 - p) if p < 1 else 0))


@st.composite
def alpha_dropout_calls(draw: st.DrawFn) -> Call:
    call = draw(dropout_calls())
    settings = {"keep": call.settings["keep"], "value": -0.7, "scale": 0.8, "shift": 0.3}
    return Call(call.arrays, settings)


def torch_alpha_dropout(
    x: torch.Tensor, keep: np.ndarray, value: float, scale: float, shift: float
) -> torch.Tensor:
    mask = torch.from_numpy(keep).expand(x.shape)
    return torch.where(mask, x * scale + shift, torch.full_like(x, value))


@st.composite
def unpool_calls(draw: st.DrawFn) -> Call:
    """What max pooling gives: values, and the places that they came from."""
    N, C = draw(st.integers(0, 2)), draw(st.integers(1, 3))
    H, W = draw(st.integers(4, 7)), draw(st.integers(4, 7))
    K, S = draw(st.tuples(*[st.integers(2, 3)] * 2)), draw(st.tuples(*[st.integers(2, 3)] * 2))
    K = (min(K[0], S[0]), min(K[1], S[1]))  # windows do not overlap: one value for each place
    x = make_array((N, C, H, W), "distinct", draw(SEEDS))
    y, indices = torch.nn.functional.max_pool2d(torch.from_numpy(x), K, S, return_indices=True)
    settings: dict[str, Any] = {"kernel_size": K, "stride": S, "output_size": (H, W)}
    return Call((y.numpy(), indices.numpy()), settings)


CASES = (
    Case("linear", "linear.linear", F.linear, torch.nn.functional.linear, linear_calls()),
    Case(
        "linear_wide", "linear.linear", F.linear, torch.nn.functional.linear, wide_linear_calls(),
        rtol32=1e-3, atol32=1e-4,  # sums of up to 330 products of order 1 in float32
    ),
    Case(
        "embedding", "linear.embedding",
        lambda w, i, padding_idx: F.embedding(i, w, padding_idx),
        lambda w, i, padding_idx: torch.nn.functional.embedding(i, w, padding_idx),
        embedding_calls(), smooth=False,  # PyTorch withholds the padding's gradient on purpose
    ),
    Case("dropout", "dropout.dropout", on_mask(dropout.dropout), torch_dropout, dropout_calls()),
    Case(
        "alpha_dropout", "dropout.alpha_dropout", on_mask(dropout.alpha_dropout),
        torch_alpha_dropout,
        alpha_dropout_calls(),
    ),
    Case(
        "max_unpool2d", "unpool.max_unpool", F.max_unpool2d, torch.nn.functional.max_unpool2d,
        unpool_calls(),
    ),
)  # fmt: skip
