"""Images enlarged, shrunk and rearranged."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import Any

from ...functions.arguments import check_tensor
from ...ops import resample as ops
from ...tensor import Tensor
from .pooling import adaptive_avg_pool1d, adaptive_avg_pool2d

_LINEAR = {3: "linear", 4: "bilinear"}


def interpolate(
    input: Tensor,
    size: Any = None,
    scale_factor: Any = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
    recompute_scale_factor: bool | None = None,
    antialias: bool = False,
) -> Tensor:
    """(N, C, H, W) or (N, C, L) to ``size``, or by ``scale_factor`` (sizes round down).

    ``mode``: 'nearest' (index floor(i H / OH)), 'nearest-exact' (pixel centres), 'linear' /
    'bilinear' (also over pixel centres, or with ``align_corners`` from corner to corner), 'area'
    (adaptive average pooling).
    """
    x = check_tensor("interpolate", input)
    if x.ndim not in _LINEAR:
        raise NotImplementedError(
            f"interpolate: Got {x.ndim}D input, but signals (N, C, L) and images (N, C, H, W) are"
            f" what it takes; shape {list(x.shape)}"
        )
    if antialias:
        raise NotImplementedError("interpolate: antialias=True is not part of minitorch_cnn")
    if mode in ("nearest", "area", "nearest-exact"):
        if align_corners is not None:
            raise ValueError(
                "align_corners option can only be set with the interpolating modes: linear |"
                " bilinear"
            )
    elif mode != _LINEAR[x.ndim]:
        if mode in ("bicubic", "trilinear"):
            raise NotImplementedError(f"interpolate: mode {mode!r} is not part of minitorch_cnn")
        raise NotImplementedError(
            f"interpolate: Got {x.ndim}D input, but mode {mode!r}; {_LINEAR[x.ndim]!r} is the one"
            " for it"
        )
    out, scales = _output_size(x, size, scale_factor, recompute_scale_factor)
    if mode == "area":
        pool = adaptive_avg_pool1d if x.ndim == 3 else adaptive_avg_pool2d
        return pool(x, out)
    return ops.interpolate(
        x, size=out, scale_factor=scales, mode=mode, align_corners=bool(align_corners)
    )


def _output_size(
    x: Tensor, size: Any, scale_factor: Any, recompute: bool | None
) -> tuple[tuple[int, ...], tuple[float, ...] | None]:
    """The output size, and the scales that index arithmetic is to use (None: from the sizes)."""
    n = x.ndim - 2
    if size is not None and scale_factor is not None:
        raise ValueError("only one of size or scale_factor should be defined")
    if size is None and scale_factor is None:
        raise ValueError("either size or scale_factor should be defined")
    given = size if scale_factor is None else scale_factor
    values = tuple(given) if isinstance(given, (tuple, list)) else (given,) * n
    if len(values) != n:
        raise ValueError(
            f"interpolate: Input and output must have the same number of spatial dimensions, but"
            f" got input with spatial dimensions of {list(x.shape[2:])} and"
            f" {'size' if scale_factor is None else 'scale_factor'} of {given}"
        )
    if scale_factor is None:
        if recompute:
            raise ValueError("recompute_scale_factor is not meaningful with an explicit size.")
        out = tuple(int(v) for v in values)
        scales = None
    else:
        out = tuple(math.floor(s * float(v)) for s, v in zip(x.shape[2:], values))
        scales = None if recompute else tuple(float(v) for v in values)
    return out, scales


def upsample(
    input: Tensor,
    size: Any = None,
    scale_factor: Any = None,
    mode: str = "nearest",
    align_corners: bool | None = None,
) -> Tensor:
    """The old name of :func:`interpolate`."""
    warnings.warn(
        "`nn.functional.upsample` is deprecated. Use `nn.functional.interpolate` instead.",
        stacklevel=2,
    )
    return interpolate(input, size, scale_factor, mode, align_corners)


def upsample_nearest(input: Tensor, size: Any = None, scale_factor: Any = None) -> Tensor:
    """``interpolate(mode='nearest')``, an old name."""
    warnings.warn(
        "`nn.functional.upsample_nearest` is deprecated. Use `nn.functional.interpolate` instead.",
        stacklevel=2,
    )
    return interpolate(input, size, scale_factor, mode="nearest")


def upsample_bilinear(input: Tensor, size: Any = None, scale_factor: Any = None) -> Tensor:
    """``interpolate(mode='bilinear', align_corners=True)``, an old name."""
    warnings.warn(
        "`nn.functional.upsample_bilinear` is deprecated. Use `nn.functional.interpolate` instead.",
        stacklevel=2,
    )
    return interpolate(input, size, scale_factor, mode="bilinear", align_corners=True)


def pixel_shuffle(input: Tensor, upscale_factor: int) -> Tensor:
    """(..., C r^2, H, W) -> (..., C, H r, W r): channels become finer pixels. Shi et al. 2016."""
    x = _at_least_3d("pixel_shuffle", input)
    r = upscale_factor
    if r <= 0:
        raise RuntimeError(f"pixel_shuffle expects a positive upscale_factor, but got {r}")
    *lead, C, H, W = x.shape
    if C % (r * r):
        raise RuntimeError(
            "pixel_shuffle expects its input's 'channel' dimension to be divisible by the square of"
            f" upscale_factor, but input.size(-3)={C} is not divisible by {r * r}"
        )
    n = len(lead)
    split = x.reshape(*lead, C // (r * r), r, r, H, W)
    order = (*range(n), n, n + 3, n + 1, n + 4, n + 2)
    return split.permute(order).reshape(*lead, C // (r * r), H * r, W * r)


def pixel_unshuffle(input: Tensor, downscale_factor: int) -> Tensor:
    """(..., C, H r, W r) -> (..., C r^2, H, W): the inverse of :func:`pixel_shuffle`."""
    x = _at_least_3d("pixel_unshuffle", input)
    r = downscale_factor
    if r <= 0:
        raise RuntimeError(f"pixel_unshuffle expects a positive downscale_factor, but got {r}")
    *lead, C, H, W = x.shape
    if H % r or W % r:
        raise RuntimeError(
            f"pixel_unshuffle expects height and width to be divisible by downscale_factor, but"
            f" ({H}, {W}) are not divisible by {r}"
        )
    n = len(lead)
    split = x.reshape(*lead, C, H // r, r, W // r, r)
    order = (*range(n), n, n + 2, n + 4, n + 1, n + 3)
    return split.permute(order).reshape(*lead, C * r * r, H // r, W // r)


def channel_shuffle(input: Tensor, groups: int) -> Tensor:
    """Channels (g, k) in the order (k, g), so that groups exchange them. Zhang et al. 2017."""
    x = check_tensor("channel_shuffle", input)
    if x.ndim < 3:
        raise RuntimeError(
            f"channel_shuffle expects input with > 2 dims, but got input with sizes {list(x.shape)}"
        )
    if groups <= 0:
        raise RuntimeError(
            f"Number of groups to divide channels in must be positive. Value of groups:{groups}"
        )
    N, C, *rest = x.shape
    if C % groups:
        raise RuntimeError(
            f"Number of channels must be divisible by groups. Got {C} channels and {groups} groups."
        )
    split = x.reshape(N, groups, C // groups, *rest)
    return split.transpose(1, 2).reshape(x.shape)


native_channel_shuffle = channel_shuffle


def _at_least_3d(name: str, input: Any) -> Tensor:
    x = check_tensor(name, input)
    if x.ndim < 3:
        raise RuntimeError(
            f"{name} expects input to have at least 3 dimensions, but got input with {x.ndim}"
            " dimension(s)"
        )
    return x


__all__: Sequence[str] = (
    "channel_shuffle", "interpolate", "native_channel_shuffle", "pixel_shuffle", "pixel_unshuffle",
    "upsample", "upsample_bilinear", "upsample_nearest",
)  # fmt: skip
