"""What the Inception networks share: conv + norm + ReLU, branches side by side, published weights.

A row of a paper's table becomes a :class:`Conv`, a column of a paper's figure a row of them, and
the figure itself a :class:`Branches`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeVar, cast

import minitorch_cnn as torch

from .. import nn
from ..nn.modules.norm_relu import norm_relu
from ..tensor import Tensor

Function = TypeVar("Function", bound=Callable[..., Any])
Block = Callable[..., nn.Module]

# The published files were trained on (pixel - 0.5) / 0.5, while everybody's preprocessing
# subtracts these means and divides by these deviations.
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
RELU = nn.ReLU(inplace=True)


class BasicConv2d(nn.Module):
    """Convolution without bias, batch norm (eps 0.001), ReLU. Keywords are those of Conv2d."""

    def __init__(self, in_channels: int, out_channels: int, **kwargs: Any) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, bias=False, **kwargs)
        self.bn = nn.BatchNorm2d(out_channels, eps=0.001)

    def forward(self, x: Tensor) -> Tensor:
        return norm_relu(self.bn, self.conv(x), RELU)


class Conv(NamedTuple):
    """One convolution of a figure: channels out, kernel (3, or (1, 7) for KH x KW), stride.

    ``padding`` "same" (at stride 1 the map keeps its size) or "valid" (none: a "V" in the figures
    of Inception v4). Unless said otherwise, stride 1 is "same" and stride 2 is "valid".
    """

    channels: int
    kernel: int | tuple[int, int]
    stride: int = 1
    padding: str | None = None

    def build(self, in_channels: int, block: Block | None = None) -> nn.Module:
        """``block`` (a :class:`BasicConv2d` unless given) with these settings."""
        kh, kw = (self.kernel, self.kernel) if isinstance(self.kernel, int) else self.kernel
        same = self.padding == "same" or (self.padding is None and self.stride == 1)
        return (block or BasicConv2d)(
            in_channels,
            self.channels,
            kernel_size=(kh, kw),
            stride=self.stride,
            padding=(kh // 2, kw // 2) if same else 0,
        )


def row(in_channels: int, *steps: Conv | nn.Module, block: Block | None = None) -> nn.Module:
    """Convolutions and pools one after another. One alone is itself, several are a Sequential."""
    layers: list[nn.Module] = []
    for step in steps:
        if isinstance(step, Conv):
            layers.append(step.build(in_channels, block))
            in_channels = step.channels
        else:
            layers.append(step)
    return layers[0] if len(layers) == 1 else nn.Sequential(*layers)


class Branches(nn.Module):
    """Modules that read the same map; their outputs are joined along the channels, in order."""

    def __init__(self, **branches: nn.Module) -> None:
        super().__init__()
        for name, branch in branches.items():
            self.add_module(name, branch)

    def forward(self, x: Tensor) -> Tensor:
        return cast("Tensor", torch.cat([branch(x) for branch in self.children()], 1))


def to_inception_scale(x: Tensor) -> Tensor:
    """(pixel - mean) / std of ImageNet, as usual, to (pixel - 0.5) / 0.5, as published.

    (N, 3, H, W) to the same. Per channel: x * std / 0.5 + (mean - 0.5) / 0.5.
    """
    channels = [
        x[:, c : c + 1] * (std / 0.5) + (mean - 0.5) / 0.5
        for c, (mean, std) in enumerate(zip(IMAGENET_MEAN, IMAGENET_STD))
    ]
    return cast("Tensor", torch.cat(channels, 1))


def draw_truncated_normal(model: nn.Module, std: float) -> None:
    """Weights of convolutions and linear layers from N(0, std), cut off at -2 and 2.

    A layer's own attribute ``stddev`` goes before ``std``. Biases keep PyTorch's initialisation.
    """
    for layer in model.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.trunc_normal_(layer.weight, std=getattr(layer, "stddev", std), a=-2, b=2)


def is_published(options: Mapping[str, Any]) -> bool:
    """Whether a network of these options is one that published weights fit."""
    sizes = {"num_classes": 1000, "in_channels": 3, "small_input": False}
    return all(options.get(key, size) == size for key, size in sizes.items())


def prepare_weights(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options that a network must be built with to load a file of weights, as in torchvision.

    The published files hold the auxiliary heads, whether or not they were asked for, and expect
    inputs of another scale: ``transform_input`` becomes True, unless it was given or the other
    options fit no published file. (So give ``transform_input=False`` with a file of your own
    training on 1000 classes.) Weights are not drawn: the file's are about to replace them.
    """
    scale = {"transform_input": True} if is_published(options) else {}
    return {**scale, **options, "aux_logits": True, "init_weights": False}


def weights_hooks(
    prepare: Callable[[Mapping[str, Any]], dict[str, Any]],
    finish: Callable[[Any, Mapping[str, Any]], None],
) -> Callable[[Function], Function]:
    """Give a model function the two attributes that loading ``weights=`` looks for.

    ``prepare_weights(options)`` returns the options to build the network with before its weights
    are loaded; ``finish_weights(model, options)`` changes it afterwards (before, if the file was
    saved from a network so changed). Both get the options as the user gave them.
    """

    def attach(function: Function) -> Function:
        vars(function).update(prepare_weights=prepare, finish_weights=finish)
        return function

    return attach
