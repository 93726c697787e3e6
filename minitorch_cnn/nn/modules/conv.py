"""Convolution layers, and their transposes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from ...tensor import Tensor
from .. import functional as F
from .linear import init_uniform_by_fan_in
from .module import Module
from .utils import _ntuple, new_parameter

_PADDING_MODES = ("zeros", "reflect", "replicate", "circular")


class _ConvNd(Module):
    """``weight`` is (F, C/groups, *kernel); of a transposed one (C, F/groups, *kernel)."""

    ndim: ClassVar[int]
    transposed: ClassVar[bool] = False
    weight: Tensor
    bias: Tensor | None

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any,
        padding: Any,
        dilation: Any,
        output_padding: Any,
        groups: int,
        bias: bool,
        padding_mode: str,
        device: Any,
        dtype: Any,
    ) -> None:
        super().__init__()
        tuple_of = _ntuple(self.ndim)
        if groups <= 0:
            raise ValueError("groups must be a positive integer")
        if in_channels % groups != 0:
            raise ValueError(
                f"in_channels must be divisible by groups, got {in_channels} and {groups}"
            )
        if out_channels % groups != 0:
            raise ValueError(
                f"out_channels must be divisible by groups, got {out_channels} and {groups}"
            )
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.kernel_size = tuple_of(kernel_size)
        self.stride = tuple_of(stride)
        self.padding: str | tuple[int, ...] = (
            padding if isinstance(padding, str) else tuple_of(padding)
        )
        self.dilation = tuple_of(dilation)
        self.output_padding = tuple_of(output_padding)
        self.groups = groups
        self.padding_mode = padding_mode
        if isinstance(padding, str):
            if padding not in ("same", "valid"):
                raise ValueError(
                    f"Invalid padding string {padding!r}, should be one of 'same', 'valid'"
                )
            if padding == "same" and any(s != 1 for s in self.stride):
                raise ValueError("padding='same' is not supported for strided convolutions")
        if padding_mode not in _PADDING_MODES:
            raise ValueError(
                f"padding_mode must be one of {_PADDING_MODES}, but got"
                f" padding_mode='{padding_mode}'"
            )
        if self.transposed:
            shape = (in_channels, out_channels // groups, *self.kernel_size)
        else:
            shape = (out_channels, in_channels // groups, *self.kernel_size)
        self.weight = new_parameter(*shape, device=device, dtype=dtype)
        if bias:
            self.bias = new_parameter(out_channels, device=device, dtype=dtype)
        else:
            self.register_parameter("bias", None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw new weights: uniform in +-1/sqrt(C/groups KH KW)."""
        init_uniform_by_fan_in(self.weight, self.bias)

    def _padded(self, input: Tensor) -> Tensor:
        """The input with what ``padding_mode`` puts around it, for modes other than zeros."""
        if self.padding == "valid":
            return input
        around: list[int] = []  # as F.pad takes it: last axis first, before and after
        for axis in reversed(range(self.ndim)):
            if self.padding == "same":
                total = self.dilation[axis] * (self.kernel_size[axis] - 1)
                around += [total // 2, total - total // 2]
            elif not isinstance(self.padding, str):
                around += [self.padding[axis]] * 2
        return F.pad(input, around, mode=self.padding_mode)

    def extra_repr(self) -> str:
        ones, zeros = (1,) * self.ndim, (0,) * self.ndim
        parts = [
            f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}",
            f"stride={self.stride}",
        ]
        if self.padding != zeros:
            parts.append(f"padding={self.padding}")
        if self.dilation != ones:
            parts.append(f"dilation={self.dilation}")
        if self.output_padding != zeros:
            parts.append(f"output_padding={self.output_padding}")
        if self.groups != 1:
            parts.append(f"groups={self.groups}")
        if self.bias is None:
            parts.append("bias=False")
        if self.padding_mode != "zeros":
            parts.append(f"padding_mode={self.padding_mode}")
        return ", ".join(parts)


class _Conv(_ConvNd):
    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(
            in_channels, out_channels, kernel_size, stride, padding, dilation, 0, groups, bias,
            padding_mode, device, dtype,
        )  # fmt: skip

    def _convolve(self, input: Tensor, weight: Tensor, bias: Tensor | None, padding: Any) -> Tensor:
        raise NotImplementedError

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        if self.padding_mode != "zeros":
            return self._convolve(self._padded(input), weight, bias, 0)
        return self._convolve(input, weight, bias, self.padding)

    def forward(self, input: Tensor) -> Tensor:
        return self._conv_forward(input, self.weight, self.bias)


class Conv1d(_Conv):
    """Convolution over signals: (N, C, L) -> (N, F, OL), see :func:`functional.conv1d`."""

    ndim = 1

    def _convolve(self, input: Tensor, weight: Tensor, bias: Tensor | None, padding: Any) -> Tensor:
        return F.conv1d(input, weight, bias, self.stride, padding, self.dilation, self.groups)


class Conv2d(_Conv):
    """Convolution over images: (N, C, H, W) -> (N, F, OH, OW), see :func:`functional.conv2d`.

    ``padding`` may be 'same' (stride 1) or 'valid'; ``padding_mode`` fills it with zeros, or with
    the image reflected, replicated at its edge, or wrapped around ('circular').
    """

    ndim = 2

    def _convolve(self, input: Tensor, weight: Tensor, bias: Tensor | None, padding: Any) -> Tensor:
        return F.conv2d(input, weight, bias, self.stride, padding, self.dilation, self.groups)


class _ConvTranspose(_ConvNd):
    transposed = True

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any = 1,
        padding: Any = 0,
        output_padding: Any = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: Any = 1,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        if padding_mode != "zeros":
            raise ValueError(f'Only "zeros" padding mode is supported for {type(self).__name__}')
        super().__init__(
            in_channels, out_channels, kernel_size, stride, padding, dilation, output_padding,
            groups, bias, padding_mode, device, dtype,
        )  # fmt: skip

    def _output_padding(self, input: Tensor, output_size: Sequence[int] | None) -> Any:
        """The output padding that makes the output as large as asked for."""
        if output_size is None:
            return self.output_padding
        n = self.ndim
        size = list(output_size)
        lead = input.ndim - n
        if len(size) == input.ndim:
            size = size[lead:]
        if len(size) != n:
            raise ValueError(
                f"{type(self).__name__}: for {input.ndim}D input, output_size must have {n} or"
                f" {input.ndim} elements (got {len(size)})"
            )
        smallest = [
            (input.shape[lead + i] - 1) * self.stride[i] - 2 * self.padding[i]
            + self.dilation[i] * (self.kernel_size[i] - 1) + 1
            for i in range(n)
        ]  # fmt: skip
        largest = [low + self.stride[i] - 1 for i, low in enumerate(smallest)]
        if any(not low <= s <= high for s, low, high in zip(size, smallest, largest)):
            raise ValueError(
                f"requested an output size of {size}, but valid sizes range from {smallest} to"
                f" {largest} (for an input of {list(input.shape[lead:])})"
            )
        return tuple(s - low for s, low in zip(size, smallest))


class ConvTranspose1d(_ConvTranspose):
    """The gradient of a Conv1d with respect to its input, as a layer: (N, C, L) -> (N, F, OL)."""

    ndim = 1

    def forward(self, input: Tensor, output_size: Sequence[int] | None = None) -> Tensor:
        return F.conv_transpose1d(
            input, self.weight, self.bias, self.stride, self.padding,
            self._output_padding(input, output_size), self.groups, self.dilation,
        )  # fmt: skip


class ConvTranspose2d(_ConvTranspose):
    """The gradient of a Conv2d with respect to its input, as a layer (learned upsampling).

    OH = (H - 1) SH - 2 PH + DH (KH - 1) + output_padding + 1, or as large as ``output_size`` says.
    """

    ndim = 2

    def forward(self, input: Tensor, output_size: Sequence[int] | None = None) -> Tensor:
        return F.conv_transpose2d(
            input, self.weight, self.bias, self.stride, self.padding,
            self._output_padding(input, output_size), self.groups, self.dilation,
        )  # fmt: skip
