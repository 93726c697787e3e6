"""Convolutions, their transposes, and the columns they are made of."""

from __future__ import annotations

from typing import Any

from ...functions.arguments import check_tensor
from ...ops import conv as ops
from ...tensor import Tensor


def _unbatched(name: str, input: Any, weight: Any, ndim: int) -> tuple[Tensor, bool]:
    """The input with N in front, and whether N was missing."""
    x, w = check_tensor(name, input), check_tensor(name, weight, "weight")
    if x.array.ndim == ndim - 1:
        return x.unsqueeze(0), True
    if x.array.ndim != ndim:
        raise RuntimeError(
            f"{name}(): Expected {ndim - 1}D (unbatched) or {ndim}D (batched) input, but got input"
            f" of size: {list(x.shape)} for a weight of {list(w.shape)}"
        )
    return x, False


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
    x, single = _unbatched("conv2d", input, weight, 4)
    y = ops.conv2d(
        x, weight, bias, stride=stride, padding=padding, dilation=dilation, groups=groups
    )
    return y.squeeze(0) if single else y


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
    x, single = _unbatched("conv1d", input, weight, 3)
    y = ops.conv1d(
        x, weight, bias, stride=stride, padding=padding, dilation=dilation, groups=groups
    )
    return y.squeeze(0) if single else y


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
    x, single = _unbatched("conv_transpose2d", input, weight, 4)
    y = ops.conv_transpose2d(
        x, weight, bias, stride=stride, padding=padding, output_padding=output_padding,
        groups=groups, dilation=dilation,
    )  # fmt: skip
    return y.squeeze(0) if single else y


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
    x, single = _unbatched("conv_transpose1d", input, weight, 3)

    def along_width(value: Any, other: int) -> tuple[int, Any]:
        return other, value[0] if isinstance(value, (tuple, list)) else value

    y = ops.conv_transpose2d(
        x.unsqueeze(2), weight.unsqueeze(2), bias, stride=along_width(stride, 1),
        padding=along_width(padding, 0), output_padding=along_width(output_padding, 0),
        groups=groups, dilation=along_width(dilation, 1),
    ).squeeze(2)  # fmt: skip
    return y.squeeze(0) if single else y


def unfold(
    input: Tensor, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1
) -> Tensor:
    """The windows of a convolution as columns: (N, C, H, W) -> (N, C KH KW, OH OW)."""
    x, single = _unbatched("unfold", input, input, 4)
    y = ops.unfold(
        x, kernel_size=kernel_size, dilation=dilation, padding=padding, stride=stride
    )
    return y.squeeze(0) if single else y


def fold(
    input: Tensor,
    output_size: Any,
    kernel_size: Any,
    dilation: Any = 1,
    padding: Any = 0,
    stride: Any = 1,
) -> Tensor:
    """Columns added up where they came from: (N, C KH KW, OH OW) -> (N, C, H, W)."""
    x, single = _unbatched("fold", input, input, 3)
    y = ops.fold(
        x, output_size=output_size, kernel_size=kernel_size, dilation=dilation, padding=padding,
        stride=stride,
    )  # fmt: skip
    return y.squeeze(0) if single else y
