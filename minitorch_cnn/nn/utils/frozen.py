"""Layers for prediction alone, which ``fuse`` puts in the place of a network's own.

A layer here also applies the ReLU that follows it, while its result is at hand. A ReLU in place
lets through what it finds done (``Tensor._rectified``): so a network's ``forward`` stays as it is,
and its ReLU still does its work wherever the layer before it could not: where a graph is recorded,
on a GPU, under autocast, in other dtypes than float32 and float64.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ...grad_mode import mode
from ...ops import conv, norm
from ...tensor import Tensor
from ..modules.batchnorm import BatchNorm2d
from ..modules.conv import Conv2d
from ..modules.module import Module

_FLOATS = (np.float32, np.float64)


def on_cpu_without_graph(*tensors: Tensor | None) -> bool:
    """Whether these layers can do more than those that they stand for."""
    given = [t for t in tensors if t is not None]
    recorded = mode.grad and not mode.inference and any(t.requires_grad for t in given)
    first = given[0].array.dtype
    return not (recorded or mode.autocast or mode.observers) and all(
        isinstance(t.array, np.ndarray) and t.array.dtype == first and first in _FLOATS
        for t in given
    )


def rectified(y: Tensor) -> Tensor:
    """``y``, marked as being at least 0 as long as nothing is written to it."""
    y._rectified = y._version
    return y


class FrozenConv2d(Conv2d):
    """A Conv2d that keeps what its algorithm makes of the weight: packed, or transformed.

    It is made anew when the weight is another tensor, or was written to by a tensor's method
    (``copy_``, ``load_state_dict``, an optimizer), but writing through ``.data``, ``.numpy()`` or
    ``.array`` is not noticed. ``relu``: a ReLU in place follows.
    """

    relu: bool
    _kept: dict[Any, Any]
    _kept_of: tuple[Any, int]  # the weight's array and version

    def _convolve(self, input: Tensor, weight: Tensor, bias: Tensor | None, padding: Any) -> Tensor:
        if self.training or not on_cpu_without_graph(input, weight, bias):
            return super()._convolve(input, weight, bias, padding)
        array, version = self._kept_of
        if array is not weight.array or version != weight._version:
            self._kept, self._kept_of = {}, (weight.array, weight._version)
        y: Tensor = conv.conv2d_frozen(
            input, weight, bias, stride=self.stride, padding=padding, dilation=self.dilation,
            groups=self.groups, relu=self.relu, kept=self._kept,
        )  # fmt: skip
        return rectified(y) if self.relu else y

    def __getstate__(self) -> dict[str, Any]:
        """Without what is made again when it is needed, and is of another array in a copy."""
        return {**vars(self), "_kept": {}, "_kept_of": (None, 0)}

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, relu={self.relu}"


class FrozenBatchNorm2d(BatchNorm2d):
    """A BatchNorm2d whose result is at least 0: a ReLU in place follows."""

    def forward(self, input: Tensor) -> Tensor:
        mean, var = self.running_mean, self.running_var
        if self.training or not on_cpu_without_graph(input, self.weight, self.bias, mean, var):
            return super().forward(input)
        self._check_input_dim(input)
        y: Tensor = norm.batch_norm_relu(
            input, self.weight, self.bias, running_mean=mean, running_var=var, eps=self.eps
        )
        return rectified(y)

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, relu=True"


def freeze(layer: Module, relu: bool) -> None:
    """Make a layer what :data:`FROZEN` has for its type; ``relu``: a ReLU in place follows it.

    The object itself changes: it may be known under several names, or stand in a plain list.
    """
    if type(layer) is Conv2d:
        layer.relu, layer._kept, layer._kept_of = relu, {}, (None, 0)
    if relu or type(layer) not in NEEDS_RELU:
        layer.__class__ = FROZEN[type(layer)]


# By type; models/frozen.py adds its own. Some replace a layer only where a ReLU follows.
FROZEN: dict[type[Module], type[Module]] = {
    Conv2d: FrozenConv2d,
    BatchNorm2d: FrozenBatchNorm2d,
}
NEEDS_RELU: set[type[Module]] = {BatchNorm2d}
