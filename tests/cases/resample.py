"""Rows for interpolation and for the shuffles of channels and pixels."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as TF
from hypothesis import strategies as st

import minitorch_cnn

from ..strategies import arrays
from . import Call, Case

_SIDES = st.integers(1, 7)
_FACTORS = (0.4, 0.5, 1, 1.1, 1.5, 2, 2.3, 3)


def _works(k: float, n: int, spatial: int) -> bool:
    """Whether there is an output, and PyTorch's gradient of it belongs to it.

    Its 1-d 'nearest' ignores k in the backward pass alone where n k is rounded to n or 2 n.
    """
    size = int(k * n)
    return size > 0 and (spatial > 1 or size not in (n, 2 * n) or k in (1, 2))


@st.composite
def _resized(draw: st.DrawFn, modes: tuple[str, ...], spatial: int) -> Call:
    sides = tuple(draw(_SIDES) for _ in range(spatial))
    x = draw(arrays((draw(st.integers(0, 2)), draw(st.integers(1, 3)), *sides)))
    settings: dict[str, Any] = {"mode": draw(st.sampled_from(modes))}
    if "linear" in settings["mode"]:
        settings["align_corners"] = draw(st.sampled_from([None, False, True]))
    if draw(st.booleans()):
        settings["size"] = tuple(draw(st.integers(1, 15)) for _ in sides)
    else:
        factors = [[k for k in _FACTORS if _works(k, n, spatial)] for n in sides]
        settings["scale_factor"] = tuple(float(draw(st.sampled_from(k))) for k in factors)
        settings["recompute_scale_factor"] = draw(st.sampled_from([None, False, True]))
    return Call((x,), settings)


def _face(name: str) -> Any:
    def call(*args: Any, **settings: Any) -> Any:
        return getattr(minitorch_cnn.nn.functional, name)(*args, **settings)

    return call


def _resize(name: str, modes: tuple[str, ...], spatial: int) -> Case:
    return Case(name, "resample.interpolate", _face("interpolate"),
                TF.interpolate, _resized(modes, spatial))  # fmt: skip


@st.composite
def _shuffled(draw: st.DrawFn, factor: str) -> Call:
    r, C, H, W = (draw(st.integers(1, 3)) for _ in range(4))
    lead = draw(st.sampled_from([(), (2,), (2, 3)]))
    if factor == "upscale_factor":
        shape = (*lead, C * r * r, H, W)
    elif factor == "downscale_factor":
        shape = (*lead, C, H * r, W * r)
    else:
        shape = (draw(st.integers(0, 2)), C * r, H, W)
    return Call((draw(arrays(shape)),), {factor: r})


def _shuffle(name: str, factor: str) -> Case:
    return Case(name, "shape.permute", _face(name), getattr(TF, name), _shuffled(factor))


CASES = (
    _resize("interpolate nearest", ("nearest", "nearest-exact"), 2),
    _resize("interpolate nearest 1d", ("nearest", "nearest-exact"), 1),
    _resize("interpolate bilinear", ("bilinear",), 2),
    _resize("interpolate linear", ("linear",), 1),
    _shuffle("pixel_shuffle", "upscale_factor"),
    _shuffle("pixel_unshuffle", "downscale_factor"),
    Case("channel_shuffle", "shape.permute", _face("channel_shuffle"),
         torch.channel_shuffle, _shuffled("groups")),
)  # fmt: skip
