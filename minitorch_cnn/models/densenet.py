"""DenseNet: every layer reads the maps of all layers before it.

Huang, Liu, van der Maaten, Weinberger, "Densely connected convolutional networks", 2017: table 1
has the ImageNet networks, section 3 the CIFAR ones. Layer l of a block computes

    x_l = H([x_0, x_1, ..., x_(l-1)]),   H = BN, ReLU, 1x1 conv, BN, ReLU, 3x3 conv

and adds ``growth_rate`` channels (k), so the gradient of the loss reaches every layer by a path
with no weights on it. Parameter names are torchvision's.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import minitorch_cnn as torch

from .. import nn
from ..nn import functional as F
from ..nn.modules.joined_maps import JoinedMaps
from ..nn.modules.norm_relu import norm_relu
from ..tensor import Tensor
from .registry import architecture

# Table 1: layers per block, growth rate k, channels of the stem (2k).
TABLE = {
    "densenet121": ((6, 12, 24, 16), 32, 64),
    "densenet169": ((6, 12, 32, 32), 32, 64),
    "densenet201": ((6, 12, 48, 32), 32, 64),
    "densenet161": ((6, 12, 36, 24), 48, 96),
}


class _DenseLayer(nn.Module):
    """k new maps from all the earlier ones, through a bottleneck of ``bn_size * k`` channels."""

    def __init__(
        self,
        num_input_features: int,
        growth_rate: int,
        bn_size: int,
        drop_rate: float,
        memory_efficient: bool = False,
    ) -> None:
        super().__init__()
        width = bn_size * growth_rate
        self.norm1 = nn.BatchNorm2d(num_input_features)
        self.relu1 = nn.ReLU(inplace=True)
        self.conv1 = nn.Conv2d(num_input_features, width, kernel_size=1, bias=False)
        self.norm2 = nn.BatchNorm2d(width)
        self.relu2 = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(width, growth_rate, kernel_size=3, padding=1, bias=False)
        self.drop_rate = float(drop_rate)
        self.memory_efficient = memory_efficient

    def bottleneck(self, *features: Tensor) -> Tensor:
        joined = features[0] if len(features) == 1 else torch.cat(features, 1)
        x = norm_relu(self.norm1, joined, self.relu1)  # (N, num_input_features, H, W)
        return cast("Tensor", self.conv1(x))

    def forward(self, input: Tensor | Sequence[Tensor]) -> Tensor:
        features = [input] if isinstance(input, Tensor) else list(input)
        if self.memory_efficient and torch.is_grad_enabled():
            # What grows with the square of the depth is computed again rather than kept.
            x = torch.utils.checkpoint.checkpoint(self.bottleneck, *features, use_reentrant=False)
        else:
            x = self.bottleneck(*features)  # (N, bn_size * k, H, W)
        x = self.conv2(norm_relu(self.norm2, x, self.relu2))  # (N, k, H, W)
        return F.dropout(x, self.drop_rate, self.training) if self.drop_rate > 0 else x


class _DenseBlock(nn.ModuleDict):
    """``num_layers`` layers, each on the input and the outputs of all layers before it.

    (N, C, H, W) -> (N, C + num_layers * growth_rate, H, W).
    """

    def __init__(
        self,
        num_layers: int,
        num_input_features: int,
        bn_size: int,
        growth_rate: int,
        drop_rate: float,
        memory_efficient: bool = False,
    ) -> None:
        super().__init__()
        self.new_features = num_layers * growth_rate
        for i in range(num_layers):
            channels = num_input_features + i * growth_rate
            self[f"denselayer{i + 1}"] = _DenseLayer(
                channels, growth_rate, bn_size, drop_rate, memory_efficient
            )

    def forward(self, init_features: Tensor) -> Tensor:
        features = JoinedMaps(init_features, self.new_features)
        for layer in self.values():
            features.append(layer(features.maps))
        return features.maps


class _Transition(nn.Sequential):
    """Between blocks: a 1x1 convolution to fewer channels, and half the height and width."""

    def __init__(self, num_input_features: int, num_output_features: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(num_input_features)
        self.relu = nn.ReLU(inplace=True)
        self.conv = nn.Conv2d(num_input_features, num_output_features, kernel_size=1, bias=False)
        self.pool = nn.AvgPool2d(kernel_size=2, stride=2)


class DenseNet(nn.Module):
    """DenseNet-BC: bottlenecks of ``bn_size * growth_rate`` channels, transitions that halve them.

    (N, in_channels, H, W) -> (N, num_classes) scores. ``block_config`` has the layers per block,
    for any number of blocks. ``drop_rate`` is the dropout after each layer's 3x3 convolution.
    ``memory_efficient`` keeps no concatenated maps for the backward pass but computes them again
    (Pleiss et al. 2017): memory grows with the depth instead of its square, a step takes longer,
    and the running statistics of each layer's norm1 move twice per step, as in PyTorch.
    ``small_input`` is the paper's stem for 32x32 images (28x28 too): one 3x3 convolution, without
    norm0, relu0 and pool0.

    ValueError for a block without layers or sizes below 1. Convolutions start as in He et al. 2015
    (kaiming_normal), the classifier's bias at 0.
    """

    def __init__(
        self,
        growth_rate: int = 32,
        block_config: Sequence[int] = (6, 12, 24, 16),
        num_init_features: int = 64,
        bn_size: int = 4,
        drop_rate: float = 0,
        num_classes: int = 1000,
        memory_efficient: bool = False,
        *,
        in_channels: int = 3,
        small_input: bool = False,
    ) -> None:
        super().__init__()
        if not block_config or min(*block_config, growth_rate, num_init_features, bn_size) < 1:
            raise ValueError(
                "DenseNet: block_config, growth_rate, num_init_features and bn_size must be"
                f" positive, but got {tuple(block_config)}, {growth_rate}, {num_init_features} and"
                f" {bn_size}"
            )
        if not 0 <= drop_rate <= 1:
            raise ValueError(f"DenseNet: drop_rate is a probability, but got {drop_rate}")
        channels = num_init_features
        stem: list[tuple[str, nn.Module]]
        if small_input:
            stem = [("conv0", nn.Conv2d(in_channels, channels, 3, padding=1, bias=False))]
        else:
            stem = [
                # (N, 64, 112, 112) of a 224x224 image
                ("conv0", nn.Conv2d(in_channels, channels, 7, stride=2, padding=3, bias=False)),
                ("norm0", nn.BatchNorm2d(channels)),
                ("relu0", nn.ReLU(inplace=True)),
                ("pool0", nn.MaxPool2d(kernel_size=3, stride=2, padding=1)),  # (N, 64, 56, 56)
            ]
        self.features = nn.Sequential(OrderedDict(stem))
        # DenseNet-121: (N, 256, 56, 56), then (N, 512, 28, 28), (N, 1024, 14, 14), (N, 1024, 7, 7),
        # of which each transition halves channels, height and width.
        for i, num_layers in enumerate(block_config, start=1):
            block = _DenseBlock(
                num_layers, channels, bn_size, growth_rate, drop_rate, memory_efficient
            )
            self.features.add_module(f"denseblock{i}", block)
            channels += num_layers * growth_rate
            if i < len(block_config):
                transition = _Transition(channels, channels // 2)
                self.features.add_module(f"transition{i}", transition)
                channels //= 2
        self.features.add_module("norm5", nn.BatchNorm2d(channels))
        self.classifier = nn.Linear(channels, num_classes)

        for m in self.modules():
            if isinstance(m, nn.Conv2d):
                nn.init.kaiming_normal_(m.weight)
            elif isinstance(m, nn.Linear) and m.bias is not None:
                nn.init.zeros_(m.bias)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.features(x), inplace=True)  # (N, 1024, 7, 7)
        x = torch.flatten(F.adaptive_avg_pool2d(x, (1, 1)), 1)  # (N, 1024)
        return cast("Tensor", self.classifier(x))


_LEGACY = re.compile(r"(.*\.denselayer\d+\.(?:norm|conv|relu))\.([12]\..+)")


def modern_keys(state_dict: Mapping[str, Any]) -> dict[str, Any]:
    """A state dict with ``denselayer1.norm.1.weight`` spelt ``denselayer1.norm1.weight``.

    The published files of the ImageNet networks have the old spelling, which PyTorch has refused as
    a module name since 0.4 (a dot). Other keys, the values and the order stay as they are.
    """
    return {_LEGACY.sub(r"\1\2", key): value for key, value in state_dict.items()}


def _renaming(function: Callable[..., DenseNet]) -> Callable[..., DenseNet]:
    """Tell weights.py that files for this network may have the old spelling."""
    function.rename_keys = modern_keys  # type: ignore[attr-defined]
    return function


def _densenet(name: str, options: dict[str, Any]) -> DenseNet:
    block_config, growth_rate, num_init_features = TABLE[name]
    return DenseNet(growth_rate, block_config, num_init_features, **options)


@architecture(input=(3, 224, 224))
@_renaming
def densenet121(**options: Any) -> DenseNet:
    """DenseNet-121 (k=32): 7,978,856 parameters, 2.83 GMACs. ``options`` are DenseNet's."""
    return _densenet("densenet121", options)


@architecture(input=(3, 224, 224))
@_renaming
def densenet161(**options: Any) -> DenseNet:
    """DenseNet-161 (k=48): 28,681,000 parameters, 7.73 GMACs. ``options`` are DenseNet's."""
    return _densenet("densenet161", options)


@architecture(input=(3, 224, 224))
@_renaming
def densenet169(**options: Any) -> DenseNet:
    """DenseNet-169 (k=32): 14,149,480 parameters, 3.36 GMACs. ``options`` are DenseNet's."""
    return _densenet("densenet169", options)


@architecture(input=(3, 224, 224))
@_renaming
def densenet201(**options: Any) -> DenseNet:
    """DenseNet-201 (k=32): 20,013,928 parameters, 4.29 GMACs. ``options`` are DenseNet's."""
    return _densenet("densenet201", options)


def densenet_bc(depth: int, growth_rate: int, **options: Any) -> DenseNet:
    """The paper's CIFAR network DenseNet-BC(L=depth, k=growth_rate), for 10 classes unless told.

    Three blocks of (depth - 4) / 6 layers after a stem of 2k channels; ``options`` are DenseNet's.
    ValueError unless depth is 6n + 4: two convolutions in each layer, and one each in the stem, the
    two transitions and the classifier.
    """
    layers, rest = divmod(depth - 4, 6)
    if rest or layers < 1:
        below = 6 * max(layers, 1) + 4
        raise ValueError(
            f"densenet_bc: depth must be 6n + 4 (10, 16, ..., 40, ..., 100), but got {depth};"
            f" {below} and {below + 6} are near"
        )
    chosen = {"num_classes": 10, "small_input": True, **options}
    return DenseNet(growth_rate, (layers, layers, layers), 2 * growth_rate, **chosen)


@architecture(input=(3, 32, 32))
def densenet_bc100_k12(**options: Any) -> DenseNet:
    """DenseNet-BC(L=100, k=12) for CIFAR: 769,162 parameters, the 0.8M of table 2."""
    return densenet_bc(100, 12, **options)


@architecture(input=(3, 32, 32))
def densenet_bc40_k12(**options: Any) -> DenseNet:
    """DenseNet-BC(L=40, k=12) for CIFAR or MNIST: 176,122 parameters."""
    return densenet_bc(40, 12, **options)
