"""A convolution and the batch norm after it as one convolution, for evaluation."""

from __future__ import annotations

import copy
from typing import TypeVar

import numpy as np

from ...tensor import Tensor
from ..modules.batchnorm import _BatchNorm
from ..modules.conv import _ConvNd
from ..parameter import Parameter

C = TypeVar("C", bound=_ConvNd)


def fuse_conv_bn_eval(conv: C, bn: _BatchNorm, transpose: bool = False) -> C:
    """A copy of ``conv`` that computes bn(conv(x)) with the running statistics."""
    if conv.training or bn.training:
        raise AssertionError("Fusion only for eval!")
    if bn.running_mean is None or bn.running_var is None:
        raise AssertionError("Fusion needs running statistics: track_running_stats=True")
    fused = copy.deepcopy(conv)
    weight, bias = fuse_conv_bn_weights(
        fused.weight, fused.bias, bn.running_mean, bn.running_var, bn.eps, bn.weight, bn.bias,
        transpose,
    )  # fmt: skip
    fused.weight, fused.bias = weight, bias
    return fused


def fuse_conv_bn_weights(
    conv_w: Tensor,
    conv_b: Tensor | None,
    bn_rm: Tensor,
    bn_rv: Tensor,
    bn_eps: float,
    bn_w: Tensor | None,
    bn_b: Tensor | None,
    transpose: bool = False,
) -> tuple[Parameter, Parameter]:
    """w' = w g / sqrt(var + eps), b' = (b - mean) g / sqrt(var + eps) + shift."""
    w = conv_w.array
    scale = (1.0 if bn_w is None else bn_w.array) / np.sqrt(bn_rv.array + bn_eps)
    shape = [1] * w.ndim
    shape[1 if transpose else 0] = -1
    bias = (0.0 if conv_b is None else conv_b.array) - bn_rm.array
    bias = bias * scale + (0.0 if bn_b is None else bn_b.array)
    return (
        Parameter(Tensor._wrap((w * scale.reshape(shape)).astype(w.dtype)), conv_w.requires_grad),
        Parameter(Tensor._wrap(bias.astype(w.dtype)), conv_w.requires_grad),
    )
