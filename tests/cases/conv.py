"""Rows for convolutions, their transposes, and their columns."""

from __future__ import annotations

import warnings
from typing import Any

import torch
from hypothesis import strategies as st

import minitorch_cnn.nn.functional as F
from minitorch_cnn.ops import conv

from ..strategies import arrays
from . import Call, Case

KINDS = ("normal", "negative", "ties")


def _pairs(low: int, high: int) -> st.SearchStrategy[tuple[int, int]]:
    return st.tuples(st.integers(low, high), st.integers(low, high))


def _ints_or_pair(pair: tuple[int, int]) -> st.SearchStrategy[Any]:
    """PyTorch takes 2 for (2, 2), too."""
    return st.sampled_from([pair, pair[0]]) if pair[0] == pair[1] else st.just(pair)


@st.composite
def _window(draw: st.DrawFn, max_side: int = 8) -> tuple[tuple[int, int], dict[str, Any]]:
    """(H, W) and the settings of a window that fits in."""
    kernel, stride, padding, dilation = (
        draw(_pairs(1, 3)), draw(_pairs(1, 3)), draw(_pairs(0, 2)), draw(_pairs(1, 3)),
    )  # fmt: skip
    H, W = (
        draw(st.integers(max(1, d * (k - 1) + 1 - 2 * p), max_side))
        for k, p, d in zip(kernel, padding, dilation)
    )
    pairs = {"kernel_size": kernel, "stride": stride, "padding": padding, "dilation": dilation}
    return (H, W), {name: draw(_ints_or_pair(value)) for name, value in pairs.items()}


@st.composite
def _convolutions(draw: st.DrawFn, same: bool = False) -> Call:
    size, settings = draw(_window())
    kernel = settings.pop("kernel_size")
    kernel = kernel if isinstance(kernel, tuple) else (kernel, kernel)
    if same:
        settings = {"padding": "same", "dilation": settings["dilation"]}
        kernel = draw(_pairs(1, 4))
    groups = draw(st.sampled_from([1, 1, 2, 3]))
    per_group = draw(st.sampled_from([1, 2]))
    filters = groups * draw(st.integers(1, 3))
    batch = draw(st.sampled_from([(), (0,), (1,), (2,), (3,)]))
    x = draw(arrays((*batch, groups * per_group, *size), KINDS))
    weight = draw(arrays((filters, per_group, *kernel), KINDS))
    bias = (draw(arrays((filters,), KINDS)),) if draw(st.booleans()) else ()
    return Call((x, weight, *bias), {**settings, "groups": groups})


@st.composite
def _signals(draw: st.DrawFn) -> Call:
    call = draw(_convolutions())
    x, weight, *bias = call.arrays
    first = {
        name: value[1] if isinstance(value, tuple) else value
        for name, value in call.settings.items()
    }
    return Call((x[..., 0, :], weight[:, :, 0], *bias), first)


@st.composite
def _transposed(draw: st.DrawFn) -> Call:
    kernel, stride, dilation = draw(_pairs(1, 3)), draw(_pairs(1, 3)), draw(_pairs(1, 3))
    H, W = draw(_pairs(1, 5))
    extra = tuple(
        draw(st.integers(0, max(s, d) - 1)) for s, d in zip(stride, dilation, strict=True)
    )
    padding = tuple(
        draw(st.integers(0, max(0, min(2, ((n - 1) * s + d * (k - 1) + e) // 2))))
        for n, s, d, k, e in zip((H, W), stride, dilation, kernel, extra, strict=True)
    )
    groups = draw(st.sampled_from([1, 1, 2, 3]))
    channels, per_group = groups * draw(st.integers(1, 2)), draw(st.integers(1, 2))
    batch = draw(st.sampled_from([(), (0,), (2,)]))
    x = draw(arrays((*batch, channels, H, W), KINDS))
    weight = draw(arrays((channels, per_group, *kernel), KINDS))
    bias = (draw(arrays((groups * per_group,), KINDS)),) if draw(st.booleans()) else ()
    settings = {"stride": stride, "padding": padding, "output_padding": extra, "groups": groups}
    return Call((x, weight, *bias), {**settings, "dilation": dilation})


@st.composite
def _unfoldings(draw: st.DrawFn) -> Call:
    size, settings = draw(_window())
    batch = draw(st.sampled_from([(), (0,), (1,), (3,)]))
    return Call((draw(arrays((*batch, draw(st.integers(1, 3)), *size), KINDS)),), settings)


@st.composite
def _foldings(draw: st.DrawFn) -> Call:
    call = draw(_unfoldings())
    col = torch.nn.functional.unfold(torch.from_numpy(call.arrays[0]), **call.settings)
    x = draw(arrays(tuple(col.shape), KINDS))
    return Call((x,), {"output_size": call.arrays[0].shape[-2:], **call.settings})


def _same_padding(*args: Any, **settings: Any) -> Any:
    with warnings.catch_warnings():  # PyTorch says that it copies x where padding is uneven
        warnings.simplefilter("ignore", UserWarning)
        return T.conv2d(*args, **settings)


T = torch.nn.functional
def _frozen(x: Any, weight: Any, bias: Any = None, **given: Any) -> Any:
    settings = {"stride": 1, "padding": 0, "dilation": 1, "groups": 1} | given
    return conv.conv2d_frozen(x, weight, bias, **settings, relu=True, kept={})


CASES = (
    Case("conv2d_frozen", "conv.conv2d_frozen", _frozen,
         lambda *tensors, **settings: T.conv2d(*tensors, **settings).relu(), _convolutions(),
         differentiable=False),
    Case("conv2d", "conv.conv2d", F.conv2d, T.conv2d, _convolutions()),
    Case("conv2d_same", "conv.conv2d", F.conv2d, _same_padding, _convolutions(same=True)),
    Case("conv1d", "conv.conv1d", F.conv1d, T.conv1d, _signals()),
    Case(
        "conv_transpose2d", "conv.conv_transpose2d", F.conv_transpose2d, T.conv_transpose2d,
        _transposed(),
    ),
    Case("unfold", "conv.unfold", F.unfold, T.unfold, _unfoldings()),
    Case("fold", "conv.fold", F.fold, T.fold, _foldings()),
)  # fmt: skip
