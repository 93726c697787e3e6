"""Dropout: random zeros while training, nothing afterwards."""

from __future__ import annotations

import math
import warnings
from typing import Any

from ... import kernels
from ...dtypes import is_floating
from ...functions.arguments import check_tensor
from ...ops.dropout import alpha_dropout as alpha_op
from ...ops.dropout import dropout as dropout_op
from ...random import default_generator
from ...tensor import Array, Tensor, on_device_of
from ._common import apply


def _keep(x: Any, p: float, channels: int | None = None) -> Array:
    """True with probability 1 - p: per element, or per entry of the first ``channels`` dims."""
    shape = x.array.shape
    if channels is not None:
        shape = shape[:channels] + (1,) * (len(shape) - channels)
    with on_device_of(x.array):
        return kernels.dropout.keep_mask(default_generator, shape, p, x.array)


def _check(name: str, input: Any, p: float) -> Tensor:
    if p < 0.0 or p > 1.0:
        raise ValueError(f"dropout probability has to be between 0 and 1, but got {p}")
    x = check_tensor(name, input)
    if not is_floating(x.array.dtype):
        raise RuntimeError(
            f"{name}: result type Float can't be cast to the desired output type {x.dtype}"
        )
    return x


def dropout(
    input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False
) -> Tensor:
    """0 with probability p, x / (1 - p) otherwise; x itself if not ``training``.

    The numbers come from the seeded default generator. Hinton et al. 2012.
    """
    x = _check("dropout", input, p)
    if not training:
        return x
    return apply("dropout", dropout_op, x, inplace, keep=_keep(x, p), p=p)


def _channel_dropout(x: Tensor, p: float, training: bool, inplace: bool, lead: int) -> Tensor:
    if not training:
        return x
    return apply("dropout", dropout_op, x, inplace, keep=_keep(x, p, lead), p=p)


def dropout1d(
    input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False
) -> Tensor:
    """dropout of whole channels of (N, C, L) or (C, L)."""
    x = _check("dropout1d", input, p)
    if x.ndim not in (2, 3):
        raise RuntimeError(
            f"dropout1d: Expected 2D or 3D input, but received a {x.ndim}D input of shape"
            f" {list(x.shape)}"
        )
    return _channel_dropout(x, p, training, inplace, x.ndim - 1)


def dropout2d(
    input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False
) -> Tensor:
    """dropout of whole channels of (N, C, H, W); 3 dimensions are taken as (N, C, L)."""
    x = _check("dropout2d", input, p)
    if x.ndim < 2:
        raise RuntimeError("Feature dropout requires at least 2 dimensions in the input")
    if x.ndim != 4:
        read_as = {2: "(N, C)", 3: "(N, C, L): use dropout1d"}.get(x.ndim, "(N, C, ...)")
        warnings.warn(
            f"dropout2d: Received a {x.ndim}D input to dropout2d, which is taken as {read_as}",
            stacklevel=2,
        )
    return _channel_dropout(x, p, training, inplace, 2)


def _alpha(
    name: str, input: Any, p: float, training: bool, inplace: bool, channels: int | None
) -> Tensor:
    x = _check(name, input, p)
    if not training or p == 0:
        return x
    if p == 1:
        return apply(name, dropout_op, x, inplace, keep=_keep(x, p), p=p)
    # The negative saturation of SELU takes the place of 0; scale and shift restore the moments.
    saturation = -1.7580993408473766
    scale = 1 / math.sqrt((1 - p) * (1 + p * saturation**2))
    keep = _keep(x, p, channels)
    return apply(
        name, alpha_op, x, inplace, keep=keep, value=saturation * scale * (1 - p), scale=scale,
        shift=-saturation * scale * p,
    )  # fmt: skip


def alpha_dropout(
    input: Tensor, p: float = 0.5, training: bool = False, inplace: bool = False
) -> Tensor:
    """Dropout to SELU's saturation, rescaled to keep mean 0, variance 1. Klambauer et al. 2017."""
    return _alpha("alpha_dropout", input, p, training, inplace, None)


def feature_alpha_dropout(
    input: Tensor, p: float = 0.5, training: bool = False, inplace: bool = False
) -> Tensor:
    """alpha_dropout of whole channels."""
    return _alpha("feature_alpha_dropout", input, p, training, inplace, 2)
