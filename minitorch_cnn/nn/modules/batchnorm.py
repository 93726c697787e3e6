"""Batch and instance normalisation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import numpy as np

from ...functions.arguments import finish, numpy_dtype
from ...tensor import Tensor, on_device_of
from .. import functional as F
from .. import init
from .module import Module
from .utils import new_parameter


class _NormBase(Module):
    """Scale, shift and running statistics of one number per channel."""

    _version = 2  # since which ``num_batches_tracked`` is saved
    ndims: ClassVar[Sequence[int]]  # of the input
    weight: Tensor | None
    bias: Tensor | None
    running_mean: Tensor | None
    running_var: Tensor | None
    num_batches_tracked: Tensor | None

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        device: Any = None,
        dtype: Any = None,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__()
        self.num_features = num_features
        self.eps = eps
        self.momentum = momentum
        self.affine = affine
        self.track_running_stats = track_running_stats
        for name in ("weight", "bias"):
            wanted = affine and (bias or name == "weight")
            p = new_parameter(num_features, device=device, dtype=dtype) if wanted else None
            self.register_parameter(name, p)
        element = numpy_dtype(type(self).__name__, dtype)
        for name, shape, dt in (
            ("running_mean", (num_features,), element),
            ("running_var", (num_features,), element),
            ("num_batches_tracked", (), np.dtype(np.int64)),
        ):
            buffer = finish(np.zeros(shape, dt), device) if track_running_stats else None
            self.register_buffer(name, buffer)
        self.reset_parameters()

    def reset_running_stats(self) -> None:
        """Mean 0, variance 1, no batches seen."""
        if self.running_mean is not None and self.running_var is not None:
            init.zeros_(self.running_mean)
            init.ones_(self.running_var)
        if self.num_batches_tracked is not None:
            init.zeros_(self.num_batches_tracked)

    def reset_parameters(self) -> None:
        """Scale 1, shift 0, and fresh statistics."""
        self.reset_running_stats()
        if self.weight is not None:
            init.ones_(self.weight)
        if self.bias is not None:
            init.zeros_(self.bias)

    def _check_input_dim(self, input: Tensor) -> None:
        if input.array.ndim not in self.ndims:
            wanted = " or ".join(f"{n}D" for n in self.ndims)
            raise ValueError(
                f"expected {wanted} input (got {input.array.ndim}D input) of shape"
                f" {list(input.shape)}"
            )

    def extra_repr(self) -> str:
        return (
            f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, affine={self.affine},"
            f" bias={self.bias is not None}, track_running_stats={self.track_running_stats}"
        )

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, local_metadata: dict[str, Any], *args: Any
    ) -> None:
        version = local_metadata.get("version")
        key = f"{prefix}num_batches_tracked"
        older = version is None or version < 2
        if older and self.num_batches_tracked is not None and key not in state_dict:
            state_dict[key] = self.num_batches_tracked
        super()._load_from_state_dict(state_dict, prefix, local_metadata, *args)


class _BatchNorm(_NormBase):
    def forward(self, input: Tensor) -> Tensor:
        return self._normalized(input, F.batch_norm)

    def _normalized(self, input: Tensor, batch_norm: Callable[..., Tensor]) -> Tensor:
        self._check_input_dim(input)
        momentum = 0.0 if self.momentum is None else self.momentum
        if self.training and self.track_running_stats:
            seen = self.num_batches_tracked
            if seen is not None:
                with on_device_of(seen.array):
                    seen.array += 1
                if self.momentum is None:  # the plain mean of all batches so far
                    momentum = 1 / float(seen.array)
        keeps = not self.training or self.track_running_stats
        return batch_norm(
            input,
            self.running_mean if keeps else None,
            self.running_var if keeps else None,
            self.weight,
            self.bias,
            self.training or (self.running_mean is None and self.running_var is None),
            momentum,
            self.eps,
        )


class BatchNorm1d(_BatchNorm):
    """y = (x - mean) / sqrt(var + eps) * weight + bias, per channel of (N, C) or (N, C, L).

    See :class:`BatchNorm2d`.
    """

    ndims = (2, 3)


class BatchNorm2d(_BatchNorm):
    """y = (x - mean) / sqrt(var + eps) * weight + bias, per channel of (N, C, H, W).

    Training takes mean and (biased) variance from the batch and moves ``running_mean`` and
    ``running_var`` (unbiased) towards them by ``momentum``, or keeps their plain average over all
    batches with ``momentum=None``. Evaluation takes the running ones, or the batch's with
    ``track_running_stats=False``. Ioffe & Szegedy 2015.
    """

    ndims = (4,)


class _InstanceNorm(_NormBase):
    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float = 0.1,
        affine: bool = False,
        track_running_stats: bool = False,
        device: Any = None,
        dtype: Any = None,
        *,
        bias: bool = True,
    ) -> None:
        super().__init__(
            num_features, eps, momentum, affine, track_running_stats, device, dtype, bias=bias
        )

    def forward(self, input: Tensor) -> Tensor:
        self._check_input_dim(input)
        single = input.array.ndim == self.ndims[0]
        x = input.unsqueeze(0) if single else input
        y = F.instance_norm(
            x, self.running_mean, self.running_var, self.weight, self.bias,
            self.training or not self.track_running_stats,
            0.0 if self.momentum is None else self.momentum, self.eps,
        )  # fmt: skip
        return y.squeeze(0) if single else y


class InstanceNorm1d(_InstanceNorm):
    """Like BatchNorm1d with each image's own statistics: (N, C, L) or (C, L)."""

    ndims = (2, 3)


class InstanceNorm2d(_InstanceNorm):
    """Like BatchNorm2d with each image's own statistics, in training and evaluation alike.

    No scale and shift unless ``affine``. Ulyanov et al. 2016.
    """

    ndims = (3, 4)
