"""Convolutions, their transposes, and the columns they are made of."""

from __future__ import annotations

from typing import Any

from ...functions.arguments import check_tensor
from ...ops import conv as ops
from ...tensor import Tensor


def _pair(name: str, input: Any, weight: Any) -> tuple[Tensor, Tensor]:
    return check_tensor(name, input), check_tensor(name, weight, "weight")


def conv2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Tensor:
    """y[n,f,i,j] = b[f] + sum over c, k, l of w[f,c,k,l] x[n, c, i S + k D - P, j S + l D - P].

    x (N, C, H, W) or (C, H, W), w (F, C/groups, KH, KW), b (F): y (N, F, OH, OW) with
    OH = floor((H + 2P - D (KH - 1) - 1) / S) + 1. ``padding`` may be 'same' (stride 1) or 'valid'.
    Output channels see the input channels of their group only. RuntimeError for shapes that do not
    fit. Cost: N F OH OW (C/groups) KH KW multiply-adds.
    """
    x, w = _pair("conv2d", input, weight)
    return ops.conv2d(
        x, w, bias, stride=stride, padding=padding, dilation=dilation, groups=groups
    )


def conv1d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Tensor:
    """conv2d of signals: (N, C, L) or (C, L) with weight (F, C/groups, K)."""
    x, w = _pair("conv1d", input, weight)
    return ops.conv1d(
        x, w, bias, stride=stride, padding=padding, dilation=dilation, groups=groups
    )


def conv_transpose2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
) -> Tensor:
    """The gradient of conv2d with respect to its input, as a function of images.

    x (N, C, H, W) or (C, H, W), w (C, F/groups, KH, KW): y (N, F, OH, OW) with
    OH = (H - 1) S - 2P + D (KH - 1) + output_padding + 1.
    """
    x, w = _pair("conv_transpose2d", input, weight)
    return ops.conv_transpose2d(
        x, w, bias, stride=stride, padding=padding, output_padding=output_padding, groups=groups,
        dilation=dilation,
    )  # fmt: skip


def conv_transpose1d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
) -> Tensor:
    """conv_transpose2d of signals: (N, C, L) or (C, L) with weight (C, F/groups, K)."""
    x, w = _pair("conv_transpose1d", input, weight)
    if x.ndim not in (2, 3) or w.ndim != 3:
        raise RuntimeError(
            f"conv_transpose1d(): expected input (N, C, L) or (C, L) and weight (C, F/groups, K),"
            f" got {list(x.shape)} and {list(w.shape)}"
        )

    def along_width(value: Any, other: int) -> tuple[int, Any]:
        return other, value[0] if isinstance(value, (tuple, list)) else value

    return ops.conv_transpose2d(
        x.unsqueeze(-2), w.unsqueeze(2), bias, stride=along_width(stride, 1),
        padding=along_width(padding, 0), output_padding=along_width(output_padding, 0),
        groups=groups, dilation=along_width(dilation, 1),
    ).squeeze(-2)  # fmt: skip


def unfold(
    input: Tensor, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1
) -> Tensor:
    """The windows of a convolution as columns: (N, C, H, W) -> (N, C KH KW, OH OW)."""
    return ops.unfold(
        check_tensor("unfold", input), kernel_size=kernel_size, dilation=dilation,
        padding=padding, stride=stride,
    )  # fmt: skip


def fold(
    input: Tensor,
    output_size: Any,
    kernel_size: Any,
    dilation: Any = 1,
    padding: Any = 0,
    stride: Any = 1,
) -> Tensor:
    """Columns added up where they came from: (N, C KH KW, OH OW) -> (N, C, H, W)."""
    return ops.fold(
        check_tensor("fold", input), output_size=output_size, kernel_size=kernel_size,
        dilation=dilation, padding=padding, stride=stride,
    )  # fmt: skip
