"""A convolution (or linear layer) and the batch norm after it as one layer, for evaluation.

In evaluation a batch norm multiplies each channel by a constant and adds another one. So does a
convolution's weight and bias, and the two can be written as one:

    bn(conv(x)) = s (w * x + b - mean) + shift = (s w) * x + (s (b - mean) + shift)

with s = gain / sqrt(var + eps). What is saved is one pass over each map, which reads and writes all
of it. So is one for each ReLU that the layer before it applies: ``fuse`` does both.
"""

from __future__ import annotations

import copy
from typing import Any, TypeVar

import numpy as np

from ...tensor import Array, Tensor
from ..modules.batchnorm import BatchNorm1d, BatchNorm2d, _BatchNorm
from ..modules.conv import Conv1d, Conv2d, ConvTranspose1d, ConvTranspose2d, _ConvNd
from ..modules.linear import Identity, Linear
from ..modules.module import Module
from ..parameter import Parameter
from ._flow import Step, before_relu, run_and_record
from .frozen import FROZEN, freeze

C = TypeVar("C", bound=_ConvNd)
L = TypeVar("L", bound=Linear)
M = TypeVar("M", bound=Module)


def fuse(model: M, *example_inputs: Any) -> M:
    """A copy of ``model`` for prediction: batch norms are folded into the layers before them, and
    layers do the work of the ReLUs after them (see :mod:`.frozen`).

    The copy is in eval mode and needs no gradients; ``model`` stays as it is. Which layer feeds
    which norm is found by running the copy once on ``example_inputs``, of any size that it takes. A
    norm is folded, and becomes an Identity, where all that it was given is what a Conv1d, Conv2d,
    ConvTranspose1d, ConvTranspose2d or Linear had returned and nothing else has used. Left as they
    are: layers and norms that ran more than once or have hooks, layers whose weight something else
    uses too, norms without running statistics, and subclasses, whose forward may do anything.

    Then each Conv2d keeps its weight as its algorithm wants it, packed or transformed (up to four
    times the weight's memory). Of a Conv2d, of a BatchNorm2d that was left, and of a residual sum,
    a ReLU in place that follows becomes a part.

    What a model does for other inputs only, and what it reads from ``tensor.array`` or
    ``.numpy()``, is not seen; nor is what is written to a weight of the copy through these or
    ``.data``, once it has predicted. Results differ from the model's by rounding.
    TypeError without example inputs.
    """
    if not isinstance(model, Module):
        raise TypeError(f"fuse() expects a Module, got {type(model).__name__}")
    if not example_inputs:
        raise TypeError(
            "fuse() runs the model once to see which convolution feeds which batch norm: give it"
            " inputs, as in fuse(model, torch.zeros(1, 3, 224, 224))"
        )
    fused = copy.deepcopy(model).eval().requires_grad_(False)
    steps = run_and_record(
        fused, example_inputs, (*_CONVOLUTIONS, Linear), (BatchNorm1d, BatchNorm2d)
    )
    for step in steps:
        if _folds(step):
            _fold(step.layer, step.reader)
    for layer, relu in before_relu(fused, example_inputs, tuple(FROZEN)).items():
        freeze(layer, relu)
    return fused


_TRANSPOSED = (ConvTranspose1d, ConvTranspose2d)
_CONVOLUTIONS = (Conv1d, Conv2d, *_TRANSPOSED)


def _folds(step: Step) -> bool:
    """Whether the norm's channels are the filters (or features) of the layer."""
    layer, bn = step.layer, step.reader
    if bn.running_mean is None or bn.running_var is None:
        return False
    if isinstance(layer, Linear):
        return len(step.shape) == 2
    return len(step.shape) == layer.ndim + 2 and not (
        type(layer) in _TRANSPOSED and layer.groups > 1
    )


def _fold(layer: Any, bn: Any) -> None:
    if isinstance(layer, Linear):
        fused: Any = fuse_linear_bn_eval(layer, bn)
    else:
        fused = fuse_conv_bn_eval(layer, bn, transpose=type(layer) in _TRANSPOSED)
    layer.weight = fused.weight.requires_grad_(False)
    layer.bias = fused.bias.requires_grad_(False)
    # The object itself changes: it may be known under several names, or stand in a plain list.
    bn.__class__ = Identity
    bn.__dict__.clear()
    bn.__dict__.update(vars(Identity().eval()))


def fuse_conv_bn_eval(conv: C, bn: _BatchNorm, transpose: bool = False) -> C:
    """A copy of ``conv`` that computes bn(conv(x)) with the running statistics.

    ``transpose``: it is a transposed convolution. AssertionError unless both are in eval mode and
    there are running statistics.
    """
    fused = copy.deepcopy(conv)
    fused.weight, fused.bias = fuse_conv_bn_weights(
        fused.weight, fused.bias, *_of_norm(conv, bn), transpose=transpose
    )
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
    shape = [1] * conv_w.ndim
    shape[1 if transpose else 0] = -1
    return _folded(conv_w, conv_b, bn_rm, bn_rv, bn_eps, bn_w, bn_b, shape)


def fuse_linear_bn_eval(linear: L, bn: _BatchNorm) -> L:
    """A copy of ``linear`` that computes bn(linear(x)) with the running statistics, x (N, K).

    AssertionError unless both are in eval mode, there are running statistics, and the norm has as
    many features as the layer has outputs, or one.
    """
    norm = _of_norm(linear, bn)
    if bn.num_features not in (linear.out_features, 1):
        raise AssertionError(
            "To fuse, linear.out_features == bn.num_features or bn.num_features == 1, got"
            f" linear.out_features={linear.out_features} and bn.num_features={bn.num_features}"
        )
    fused = copy.deepcopy(linear)
    fused.weight, fused.bias = fuse_linear_bn_weights(fused.weight, fused.bias, *norm)
    return fused


def fuse_linear_bn_weights(
    linear_w: Tensor,
    linear_b: Tensor | None,
    bn_rm: Tensor,
    bn_rv: Tensor,
    bn_eps: float,
    bn_w: Tensor | None,
    bn_b: Tensor | None,
) -> tuple[Parameter, Parameter]:
    """:func:`fuse_conv_bn_weights` for a weight (M, K)."""
    return _folded(linear_w, linear_b, bn_rm, bn_rv, bn_eps, bn_w, bn_b, [-1, 1])


def _of_norm(
    layer: Module, bn: _BatchNorm
) -> tuple[Tensor, Tensor, float, Tensor | None, Tensor | None]:
    """What the norm computes with, in the order of the functions above."""
    if layer.training or bn.training:
        raise AssertionError("Fusion only for eval!")
    if bn.running_mean is None or bn.running_var is None:
        raise AssertionError("Fusion needs running statistics: track_running_stats=True")
    return bn.running_mean, bn.running_var, bn.eps, bn.weight, bn.bias


def _folded(
    w: Tensor, b: Tensor | None, mean: Tensor, var: Tensor, eps: float, gain: Tensor | None,
    shift: Tensor | None, shape: list[int],
) -> tuple[Parameter, Parameter]:  # fmt: skip
    """Computed in float64, as the norm itself computes its two numbers per channel."""

    def wide(t: Tensor | None, otherwise: float) -> Array:
        return otherwise if t is None else t.array.astype(np.float64)

    scale = wide(gain, 1.0) / np.sqrt(wide(var, 0.0) + eps)
    filters = w.shape[shape.index(-1)]
    bias = (wide(b, 0.0) - wide(mean, 0.0)) * scale + wide(shift, 0.0)
    bias = bias + np.zeros_like(bias, shape=filters)  # a norm of one feature serves all
    dtype = w.array.dtype
    return (
        Parameter(Tensor._wrap((w.array * scale.reshape(shape)).astype(dtype)), w.requires_grad),
        Parameter(
            Tensor._wrap(bias.astype(dtype if b is None else b.array.dtype)),
            b is not None and b.requires_grad,
        ),
    )
