"""Layers that take their number of input channels from the first batch, then become plain ones."""

from __future__ import annotations

from typing import Any, ClassVar

from ...tensor import Tensor
from ..parameter import UninitializedBuffer, UninitializedParameter, is_lazy
from .batchnorm import (
    BatchNorm1d,
    BatchNorm2d,
    InstanceNorm1d,
    InstanceNorm2d,
    _NormBase,
)
from .conv import (
    Conv1d,
    Conv2d,
    ConvTranspose1d,
    ConvTranspose2d,
    _Conv,
    _ConvNd,
    _ConvTranspose,
)
from .linear import Linear
from .module import Module


class LazyModuleMixin(Module):
    """The first call (or a loaded state dict) gives the parameters their shapes."""

    cls_to_become: ClassVar[type[Module]]

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        self.initialize_parameters(*args, **kwargs)
        self.__class__ = self.cls_to_become  # type: ignore[assignment]
        return self(*args, **kwargs)

    def has_uninitialized_params(self) -> bool:
        """Whether some parameter or buffer still has no shape."""
        return any(map(is_lazy, (*self._parameters.values(), *self._buffers.values())))

    def initialize_parameters(self, *args: Any, **kwargs: Any) -> None:
        """Take from the first input what the constructor did not know."""
        raise NotImplementedError(
            f"initialize_parameters is not implemented for {type(self).__name__}"
        )

    def _forget_shapes(self, *names: str) -> None:
        for name in names:
            known = getattr(self, name)
            if name in self._parameters and known is not None:
                self._parameters[name] = UninitializedParameter(dtype=known.array.dtype)
            elif known is not None:
                self._buffers[name] = UninitializedBuffer(dtype=known.array.dtype)

    def _materialize(self, **shapes: tuple[int, ...]) -> None:
        fresh = self.has_uninitialized_params()
        for name, shape in shapes.items():
            tensor = getattr(self, name)
            if is_lazy(tensor):
                tensor.materialize(shape)
        if fresh:
            self.reset_parameters()


class LazyLinear(LazyModuleMixin, Linear):
    """A Linear whose ``in_features`` is the first input's last dimension."""

    cls_to_become = Linear

    def __init__(
        self, out_features: int, bias: bool = True, device: Any = None, dtype: Any = None
    ) -> None:
        super().__init__(0, out_features, bias, device, dtype)
        self._forget_shapes("weight", "bias")

    def reset_parameters(self) -> None:
        if self.in_features:
            super().reset_parameters()

    def initialize_parameters(self, input: Tensor) -> None:
        self.in_features = input.shape[-1]
        self._materialize(
            weight=(self.out_features, self.in_features), bias=(self.out_features,)
        )


class _LazyConvNd(LazyModuleMixin, _ConvNd):
    def reset_parameters(self) -> None:
        if self.in_channels:
            super().reset_parameters()

    def initialize_parameters(self, input: Tensor, *args: Any, **kwargs: Any) -> None:
        n = self.ndim
        if input.ndim not in (n + 1, n + 2):
            raise RuntimeError(
                f"Expected {n + 1}D (unbatched) or {n + 2}D (batched) input to"
                f" {type(self).__name__}, but got input of size: {list(input.shape)}"
            )
        self.in_channels = C = input.shape[-n - 1]
        if C % self.groups != 0:
            raise ValueError(f"in_channels must be divisible by groups: {C} by {self.groups}")
        if self.transposed:
            shape = (C, self.out_channels // self.groups, *self.kernel_size)
        else:
            shape = (self.out_channels, C // self.groups, *self.kernel_size)
        self._materialize(weight=shape, bias=(self.out_channels,))


class _LazyConv(_LazyConvNd, _Conv):
    def __init__(
        self,
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
            0, out_channels, kernel_size, stride, padding, dilation, groups, bias, padding_mode,
            device, dtype,
        )  # fmt: skip
        self._forget_shapes("weight", "bias")


class LazyConv1d(_LazyConv, Conv1d):
    """A Conv1d whose ``in_channels`` is the first input's."""

    cls_to_become = Conv1d


class LazyConv2d(_LazyConv, Conv2d):
    """A Conv2d whose ``in_channels`` is the first input's."""

    cls_to_become = Conv2d


class _LazyConvTranspose(_LazyConvNd, _ConvTranspose):
    def __init__(
        self,
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
        super().__init__(
            0, out_channels, kernel_size, stride, padding, output_padding, groups, bias, dilation,
            padding_mode, device, dtype,
        )  # fmt: skip
        self._forget_shapes("weight", "bias")


class LazyConvTranspose1d(_LazyConvTranspose, ConvTranspose1d):
    """A ConvTranspose1d whose ``in_channels`` is the first input's."""

    cls_to_become = ConvTranspose1d


class LazyConvTranspose2d(_LazyConvTranspose, ConvTranspose2d):
    """A ConvTranspose2d whose ``in_channels`` is the first input's."""

    cls_to_become = ConvTranspose2d


class _LazyNorm(LazyModuleMixin, _NormBase):
    def __init__(
        self,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        device: Any = None,
        dtype: Any = None,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__(
            0, eps, momentum, affine, track_running_stats, device, dtype, bias=bias
        )
        self._forget_shapes("weight", "bias", "running_mean", "running_var")

    def initialize_parameters(self, input: Tensor) -> None:
        self._check_input_dim(input)
        # An instance norm also takes a single image, whose channels come first.
        lead = max(self.ndims) - input.ndim if issubclass(self.cls_to_become, _SINGLE) else 0
        self.num_features = input.shape[1 - lead]
        shape = (self.num_features,)
        self._materialize(weight=shape, bias=shape, running_mean=shape, running_var=shape)


_SINGLE = (InstanceNorm1d, InstanceNorm2d)


class LazyBatchNorm1d(_LazyNorm, BatchNorm1d):
    """A BatchNorm1d whose ``num_features`` is the first input's."""

    cls_to_become = BatchNorm1d


class LazyBatchNorm2d(_LazyNorm, BatchNorm2d):
    """A BatchNorm2d whose ``num_features`` is the first input's."""

    cls_to_become = BatchNorm2d


class LazyInstanceNorm1d(_LazyNorm, InstanceNorm1d):
    """An InstanceNorm1d whose ``num_features`` is the first input's."""

    cls_to_become = InstanceNorm1d


class LazyInstanceNorm2d(_LazyNorm, InstanceNorm2d):
    """An InstanceNorm2d whose ``num_features`` is the first input's."""

    cls_to_become = InstanceNorm2d
