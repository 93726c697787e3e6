"""GoogLeNet, the first Inception network, as in torchvision: batch norm, and 3x3 for the 5x5.

Source: Szegedy et al., "Going deeper with convolutions" (2014, arXiv 1409.4842), table 1. The
network came before batch norm; torchvision's, whose names and weights these are, has it after every
convolution, and 3x3 convolutions where the table says 5x5.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any, NamedTuple, cast

import minitorch_cnn as torch

from .. import nn
from ..nn import functional as F
from ..tensor import Tensor
from .inception_parts import (
    BasicConv2d,
    Block,
    Branches,
    Conv,
    draw_truncated_normal,
    is_published,
    prepare_weights,
    row,
    to_inception_scale,
    weights_hooks,
)
from .registry import architecture

# Table 1: channels of the 1x1, of the 3x3 reduced and 3x3, of the "5x5" reduced and "5x5", and of
# the pool's projection.
TABLE_1 = {
    "3a": (64, 96, 128, 16, 32, 32),
    "3b": (128, 128, 192, 32, 96, 64),
    "4a": (192, 96, 208, 16, 48, 64),
    "4b": (160, 112, 224, 24, 64, 64),
    "4c": (128, 128, 256, 24, 64, 64),
    "4d": (112, 144, 288, 32, 64, 64),
    "4e": (256, 160, 320, 32, 128, 128),
    "5a": (256, 160, 320, 32, 128, 128),
    "5b": (384, 192, 384, 48, 128, 128),
}


class GoogLeNetOutputs(NamedTuple):
    """What a GoogLeNet with auxiliary heads returns in train mode; the deeper head comes first."""

    logits: Tensor
    aux_logits2: Tensor | None
    aux_logits1: Tensor | None


class Inception(Branches):
    """Figure 2b: 1x1, 3x3, "5x5" and a pool side by side, each behind or before a cheap 1x1.

    (N, in_channels, H, W) -> (N, ch1x1 + ch3x3 + ch5x5 + pool_proj, H, W).

    Why the 1x1 convolutions: a 3x3 over all 192 channels of module 3a, 192 -> 128 on 28x28, costs
    173,408,256 multiply-adds; through 96 channels it costs 101,154,816, the 1x1 included. The whole
    module takes 121,626,624 instead of 231,211,008. (With the paper's 5x5 it would be 128,049,152
    instead of 308,281,344: the larger the kernel, the more a reduction saves.)
    """

    def __init__(
        self,
        in_channels: int,
        ch1x1: int,
        ch3x3red: int,
        ch3x3: int,
        ch5x5red: int,
        ch5x5: int,
        pool_proj: int,
        conv_block: Block | None = None,
    ) -> None:
        def branch(*steps: Conv | nn.Module) -> nn.Module:
            return row(in_channels, *steps, block=conv_block)

        super().__init__(
            branch1=branch(Conv(ch1x1, 1)),
            branch2=branch(Conv(ch3x3red, 1), Conv(ch3x3, 3)),
            branch3=branch(Conv(ch5x5red, 1), Conv(ch5x5, 3)),
            branch4=branch(nn.MaxPool2d(3, stride=1, padding=1), Conv(pool_proj, 1)),
        )


class InceptionAux(nn.Module):
    """A classifier on a middle stage, so that the early layers get a strong gradient too.

    (N, in_channels, H, W) -> (N, num_classes), from any H and W: the map is first averaged to 4x4.
    """

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        conv_block: Block | None = None,
        dropout: float = 0.7,
    ) -> None:
        super().__init__()
        self.conv = Conv(128, 1).build(in_channels, conv_block)
        self.fc1 = nn.Linear(128 * 4 * 4, 1024)
        self.fc2 = nn.Linear(1024, num_classes)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(F.adaptive_avg_pool2d(x, (4, 4)))  # (N, 128, 4, 4)
        x = torch.flatten(x, 1)  # (N, 2048)
        x = self.dropout(F.relu(self.fc1(x), inplace=True))  # (N, 1024)
        return cast("Tensor", self.fc2(x))


class GoogLeNet(nn.Module):
    """(N, in_channels, H, W) -> logits (N, num_classes), designed for 224x224.

    With ``aux_logits`` (the default) train mode returns :class:`GoogLeNetOutputs`; the paper adds
    0.3 times each head's loss to the network's. Eval mode never runs the heads.

    ``transform_input``: rescale ImageNet-normalised images as the published weights expect.
    ``init_weights``: True (also None) draws N(0, 0.01) truncated at -2 and 2, False leaves
    PyTorch's defaults. ``blocks``: replacements for [BasicConv2d, Inception, InceptionAux].
    ``dropout`` before the last layer, ``dropout_aux`` in the heads.
    ``small_input``, for 28x28 and 32x32: stride 1 and no pooling before module 3a, which so reads
    a 28x28 image as 28x28 (as it reads a 224x224 one). The heads need no change.

    Modules 3a and 3b run at 1/8 of the input's size, 4a to 4e at 1/16, 5a and 5b at 1/32. Pooling
    rounds up, so that any input from 15x15 on fits (in train mode of a single image, from 47x47:
    batch norm refuses one value per channel).

    ValueError: ``transform_input`` with other than 3 channels, or other than 3 ``blocks``.
    """

    def __init__(
        self,
        num_classes: int = 1000,
        aux_logits: bool = True,
        transform_input: bool = False,
        init_weights: bool | None = None,
        blocks: list[Block] | None = None,
        dropout: float = 0.2,
        dropout_aux: float = 0.7,
        *,
        in_channels: int = 3,
        small_input: bool = False,
    ) -> None:
        super().__init__()
        if blocks is None:
            blocks = [BasicConv2d, Inception, InceptionAux]
        if len(blocks) != 3:
            raise ValueError(f"GoogLeNet: blocks must be 3, [conv, inception, aux], got {blocks}")
        if transform_input and in_channels != 3:
            raise ValueError(f"GoogLeNet: transform_input needs 3 channels, not {in_channels}")
        conv, inception, aux = blocks
        self.aux_logits = aux_logits
        self.transform_input = transform_input

        def early_pool() -> nn.Module:
            return nn.Identity() if small_input else nn.MaxPool2d(3, stride=2, ceil_mode=True)

        stride = 1 if small_input else 2
        self.conv1 = conv(in_channels, 64, kernel_size=7, stride=stride, padding=3)
        self.maxpool1 = early_pool()
        self.conv2 = conv(64, 64, kernel_size=1)
        self.conv3 = conv(64, 192, kernel_size=3, padding=1)
        self.maxpool2 = early_pool()

        channels = 192
        width = {}
        for name, numbers in TABLE_1.items():
            setattr(self, f"inception{name}", inception(channels, *numbers))
            ch1x1, _, ch3x3, _, ch5x5, pool_proj = numbers
            width[name] = channels = ch1x1 + ch3x3 + ch5x5 + pool_proj
        self.maxpool3 = nn.MaxPool2d(3, stride=2, ceil_mode=True)
        self.maxpool4 = nn.MaxPool2d(2, stride=2, ceil_mode=True)

        self.aux1 = aux(width["4a"], num_classes, dropout=dropout_aux) if aux_logits else None
        self.aux2 = aux(width["4d"], num_classes, dropout=dropout_aux) if aux_logits else None
        self.avgpool = nn.AdaptiveAvgPool2d((1, 1))
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(channels, num_classes)
        if init_weights is not False:
            draw_truncated_normal(self, std=0.01)

    def forward(self, x: Tensor) -> Tensor | GoogLeNetOutputs:
        if self.transform_input:
            x = to_inception_scale(x)
        heads = self.training and self.aux_logits
        x = self.maxpool1(self.conv1(x))  # (N, 64, 56, 56)
        x = self.maxpool2(self.conv3(self.conv2(x)))  # (N, 192, 28, 28)

        x = self.inception3a(x)  # (N, 256, 28, 28)
        x = self.maxpool3(self.inception3b(x))  # (N, 480, 14, 14)

        x = self.inception4a(x)  # (N, 512, 14, 14)
        aux1 = self.aux1(x) if heads and self.aux1 is not None else None
        x = self.inception4c(self.inception4b(x))  # (N, 512, 14, 14)
        x = self.inception4d(x)  # (N, 528, 14, 14)
        aux2 = self.aux2(x) if heads and self.aux2 is not None else None
        x = self.maxpool4(self.inception4e(x))  # (N, 832, 7, 7)

        x = self.inception5b(self.inception5a(x))  # (N, 1024, 7, 7)
        x = torch.flatten(self.avgpool(x), 1)  # (N, 1024)
        logits = self.fc(self.dropout(x))
        return GoogLeNetOutputs(logits, aux2, aux1) if heads else logits


def _finish_weights(model: GoogLeNet, options: Mapping[str, Any]) -> None:
    """As torchvision: with weights, the heads go unless they were asked for."""
    if not options.get("aux_logits", False):
        model.aux_logits = False
        model.aux1 = model.aux2 = None
    elif is_published(options):
        warnings.warn(
            "googlenet: the published weights do not include trained auxiliary heads; train them",
            UserWarning,
            stacklevel=2,
        )


@architecture(input=(3, 224, 224))
@weights_hooks(prepare_weights, _finish_weights)
def googlenet(**options: Any) -> GoogLeNet:
    """GoogLeNet: 22 layers, 6.6 M parameters (13.0 M with both heads), 1.50 G MACs.

    With ``weights`` the default of ``aux_logits`` is False, as in torchvision.
    """
    return GoogLeNet(**options)
