"""Inception v3, with torchvision's names.

Source: Szegedy et al., "Rethinking the Inception architecture for computer vision" (2015, arXiv
1512.00567), table 1 and figures 5, 6, 7 and 10.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, cast

import minitorch_cnn as torch

from .. import nn
from ..nn import functional as F
from ..tensor import Tensor
from .inception_parts import (
    BasicConv2d,
    Block,
    Conv,
    draw_truncated_normal,
    prepare_weights,
    to_inception_scale,
    weights_hooks,
)
from .registry import architecture


class InceptionOutputs(NamedTuple):
    """What an Inception3 with its auxiliary head returns in train mode."""

    logits: Tensor
    aux_logits: Tensor | None


# What a branch does, one after another; convolutions in a tuple stand side by side and are joined.
Steps = list[Conv | tuple[Conv, Conv]]


def same_average(x: Tensor) -> Tensor:
    """The 3x3 mean around each pixel; zeros outside the map count."""
    return F.avg_pool2d(x, kernel_size=3, stride=1, padding=1)


def halving_max(x: Tensor) -> Tensor:
    """3x3 maxima at stride 2: H -> (H - 1) // 2."""
    return cast("Tensor", F.max_pool2d(x, kernel_size=3, stride=2))


class Mixed(nn.Module):
    """Branches over one map, joined along the channels in the order of the table.

    The steps of ``branches["branch5x5"]`` become the attributes branch5x5_1, branch5x5_2, ...; a
    single step is branch5x5 itself, and two side by side are branch5x5_2a and branch5x5_2b.
    ``branch_pool`` reads what ``pool`` makes of the map. Stride 1 keeps the map's size, stride 2
    pads nothing.
    """

    def __init__(
        self,
        in_channels: int,
        pool: Callable[[Tensor], Tensor],
        branches: dict[str, Steps],
        conv_block: Block | None,
    ) -> None:
        super().__init__()
        self.pool = pool
        self.paths: dict[str, list[list[str]]] = {}
        for branch, steps in branches.items():
            path = self.paths[branch] = []
            channels = in_channels
            for number, step in enumerate(steps, 1):
                name = branch if len(steps) == 1 else f"{branch}_{number}"
                if isinstance(step, Conv):
                    convs = {name: step}
                else:
                    convs = {name + "a": step[0], name + "b": step[1]}
                for attribute, conv in convs.items():
                    self.add_module(attribute, conv.build(channels, conv_block))
                channels = sum(conv.channels for conv in convs.values())
                path.append(list(convs))

    def forward(self, x: Tensor) -> Tensor:
        joined = []
        for branch, path in self.paths.items():
            y = self.pool(x) if branch == "branch_pool" else x
            for names in path:
                outputs = [getattr(self, name)(y) for name in names]
                y = outputs[0] if len(outputs) == 1 else torch.cat(outputs, 1)
            joined.append(y)
        return cast("Tensor", torch.cat(joined, 1))


class InceptionA(Mixed):
    """Figure 5: two 3x3 see as far as one 5x5. To 224 + pool_features channels."""

    def __init__(
        self, in_channels: int, pool_features: int, conv_block: Block | None = None
    ) -> None:
        branches: dict[str, Steps] = {
            "branch1x1": [Conv(64, 1)],
            "branch5x5": [Conv(48, 1), Conv(64, 5)],
            "branch3x3dbl": [Conv(64, 1), Conv(96, 3), Conv(96, 3)],
            "branch_pool": [Conv(pool_features, 1)],
        }
        super().__init__(in_channels, same_average, branches, conv_block)


class InceptionB(Mixed):
    """Figure 10: half the map and 480 channels more, by convolution and pooling side by side."""

    def __init__(self, in_channels: int, conv_block: Block | None = None) -> None:
        branches: dict[str, Steps] = {
            "branch3x3": [Conv(384, 3, stride=2)],
            "branch3x3dbl": [Conv(64, 1), Conv(96, 3), Conv(96, 3, stride=2)],
            "branch_pool": [],
        }
        super().__init__(in_channels, halving_max, branches, conv_block)


class InceptionC(Mixed):
    """Figure 6 with n = 7: a 7x7 as 1x7 and 7x1. To 768 channels.

    A 7x7 from Mixed_6b's 768 channels to 192 on 17x17 costs 2,088,124,416 multiply-adds. A 1x1 to
    128 channels before it brings that to 376,430,592, and the 1x7 and 7x1 to 111,271,936.
    """

    def __init__(
        self, in_channels: int, channels_7x7: int, conv_block: Block | None = None
    ) -> None:
        c7 = channels_7x7
        branches: dict[str, Steps] = {
            "branch1x1": [Conv(192, 1)],
            "branch7x7": [Conv(c7, 1), Conv(c7, (1, 7)), Conv(192, (7, 1))],
            "branch7x7dbl": [
                Conv(c7, 1), Conv(c7, (7, 1)), Conv(c7, (1, 7)),
                Conv(c7, (7, 1)), Conv(192, (1, 7)),
            ],
            "branch_pool": [Conv(192, 1)],
        }  # fmt: skip
        super().__init__(in_channels, same_average, branches, conv_block)


class InceptionD(Mixed):
    """Figure 10 once more, for the 17x17 map: half of it, and 512 channels more."""

    def __init__(self, in_channels: int, conv_block: Block | None = None) -> None:
        branches: dict[str, Steps] = {
            "branch3x3": [Conv(192, 1), Conv(320, 3, stride=2)],
            "branch7x7x3": [
                Conv(192, 1), Conv(192, (1, 7)), Conv(192, (7, 1)), Conv(192, 3, stride=2),
            ],
            "branch_pool": [],
        }  # fmt: skip
        super().__init__(in_channels, halving_max, branches, conv_block)


class InceptionE(Mixed):
    """Figure 7: 1x3 and 3x1 side by side, wide rather than deep. To 2048 channels."""

    def __init__(self, in_channels: int, conv_block: Block | None = None) -> None:
        side_by_side = Conv(384, (1, 3)), Conv(384, (3, 1))
        branches: dict[str, Steps] = {
            "branch1x1": [Conv(320, 1)],
            "branch3x3": [Conv(384, 1), side_by_side],
            "branch3x3dbl": [Conv(448, 1), Conv(384, 3), side_by_side],
            "branch_pool": [Conv(192, 1)],
        }
        super().__init__(in_channels, same_average, branches, conv_block)


class InceptionAux(nn.Module):
    """The auxiliary classifier on the last 17x17 map: (N, in_channels, H, W) -> (N, num_classes).

    Its 5x5 convolution needs a 5x5 map, which an average of 5x5 windows at stride 3 makes of H and
    W from 17 on. With ``small_input`` the map, whatever its size, is averaged to 5x5.
    """

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        conv_block: Block | None = None,
        small_input: bool = False,
    ) -> None:
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d((5, 5)) if small_input else nn.AvgPool2d(5, stride=3)
        self.conv0 = Conv(128, 1).build(in_channels, conv_block)
        self.conv1 = Conv(768, 5, padding="valid").build(128, conv_block)
        self.fc = nn.Linear(768, num_classes)
        # For draw_truncated_normal. (torchvision means conv1 to be drawn with 0.01, but sets that
        # on the block around the convolution, where nothing reads it.)
        self.fc.stddev = 0.001

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv0(self.pool(x))  # (N, 128, 5, 5)
        x = F.adaptive_avg_pool2d(self.conv1(x), (1, 1))  # (N, 768, 1, 1)
        return cast("Tensor", self.fc(torch.flatten(x, 1)))


class Inception3(nn.Module):
    """(N, in_channels, H, W) -> logits (N, num_classes), designed for 299x299.

    With ``aux_logits`` (the default) train mode returns :class:`InceptionOutputs`; usual is to add
    0.4 times the head's loss to the network's. Eval mode never runs the head.

    ``transform_input``: rescale ImageNet-normalised images as the published weights expect.
    ``inception_blocks``: replacements for [BasicConv2d, InceptionA, InceptionB, InceptionC,
    InceptionD, InceptionE, InceptionAux]. ``init_weights``: True (also None) draws N(0, 0.1)
    truncated at -2 and 2, and 0.001 for the head's last layer; False leaves PyTorch's defaults.
    ``small_input``, for 28x28 and 32x32: a stem that keeps the map's size (stride 1, padded, no
    pooling), so that the modules run at 28, 13 and 6 instead of 35, 17 and 8; the head averages to
    5x5, the size that it has at 299x299.

    Eval mode takes 75x75 and larger. In train mode the head needs its 17x17 map, so 299x299, and
    two images at least, for batch norm refuses the one value per channel that it has at 299x299.

    ValueError: ``transform_input`` with other than 3 channels, or other than 7 blocks.
    """

    def __init__(
        self,
        num_classes: int = 1000,
        aux_logits: bool = True,
        transform_input: bool = False,
        inception_blocks: list[Block] | None = None,
        init_weights: bool | None = None,
        dropout: float = 0.5,
        *,
        in_channels: int = 3,
        small_input: bool = False,
    ) -> None:
        super().__init__()
        if inception_blocks is None:
            inception_blocks = [
                BasicConv2d, InceptionA, InceptionB, InceptionC, InceptionD, InceptionE,
                InceptionAux,
            ]  # fmt: skip
        if len(inception_blocks) != 7:
            raise ValueError(
                "Inception3: inception_blocks must be 7, [conv, A, B, C, D, E, aux], got"
                f" {inception_blocks}"
            )
        if transform_input and in_channels != 3:
            raise ValueError(f"Inception3: transform_input needs 3 channels, not {in_channels}")
        conv, a, b, c, d, e, aux = inception_blocks
        self.aux_logits = aux_logits
        self.transform_input = transform_input

        def early_pool() -> nn.Module:
            return nn.Identity() if small_input else nn.MaxPool2d(3, stride=2)

        stride, padding = (1, 1) if small_input else (2, 0)
        self.Conv2d_1a_3x3 = conv(in_channels, 32, kernel_size=3, stride=stride, padding=padding)
        self.Conv2d_2a_3x3 = conv(32, 32, kernel_size=3, padding=padding)
        self.Conv2d_2b_3x3 = conv(32, 64, kernel_size=3, padding=1)
        self.maxpool1 = early_pool()
        self.Conv2d_3b_1x1 = conv(64, 80, kernel_size=1)
        self.Conv2d_4a_3x3 = conv(80, 192, kernel_size=3, padding=padding)
        self.maxpool2 = early_pool()
        self.Mixed_5b = a(192, pool_features=32)
        self.Mixed_5c = a(256, pool_features=64)
        self.Mixed_5d = a(288, pool_features=64)
        self.Mixed_6a = b(288)
        self.Mixed_6b = c(768, channels_7x7=128)
        self.Mixed_6c = c(768, channels_7x7=160)
        self.Mixed_6d = c(768, channels_7x7=160)
        self.Mixed_6e = c(768, channels_7x7=192)
        option = {"small_input": True} if small_input else {}
        self.AuxLogits = aux(768, num_classes, **option) if aux_logits else None
        self.Mixed_7a = d(768)
        self.Mixed_7b = e(1280)
        self.Mixed_7c = e(2048)
        self.avgpool = nn.AdaptiveAvgPool2d((1, 1))
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(2048, num_classes)
        if init_weights is not False:
            draw_truncated_normal(self, std=0.1)

    def forward(self, x: Tensor) -> Tensor | InceptionOutputs:
        if self.transform_input:
            x = to_inception_scale(x)
        head = self.training and self.aux_logits
        x = self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(x))  # (N, 32, 147, 147)
        x = self.maxpool1(self.Conv2d_2b_3x3(x))  # (N, 64, 73, 73)
        x = self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(x))  # (N, 192, 71, 71)
        x = self.maxpool2(x)  # (N, 192, 35, 35)

        x = self.Mixed_5b(x)  # (N, 256, 35, 35)
        x = self.Mixed_5d(self.Mixed_5c(x))  # (N, 288, 35, 35)
        x = self.Mixed_6a(x)  # (N, 768, 17, 17)
        x = self.Mixed_6c(self.Mixed_6b(x))  # (N, 768, 17, 17)
        x = self.Mixed_6e(self.Mixed_6d(x))  # (N, 768, 17, 17)
        aux = self.AuxLogits(x) if head and self.AuxLogits is not None else None
        x = self.Mixed_7a(x)  # (N, 1280, 8, 8)
        x = self.Mixed_7c(self.Mixed_7b(x))  # (N, 2048, 8, 8)

        x = self.dropout(self.avgpool(x))  # (N, 2048, 1, 1)
        logits = self.fc(torch.flatten(x, 1))
        return InceptionOutputs(logits, aux) if head else logits


def _finish_weights(model: Inception3, options: Mapping[str, Any]) -> None:
    """As torchvision: the head that the file brought goes if it was not asked for."""
    if not options.get("aux_logits", True):
        model.aux_logits = False
        model.AuxLogits = None


@architecture(input=(3, 299, 299))
@weights_hooks(prepare_weights, _finish_weights)
def inception_v3(**options: Any) -> Inception3:
    """Inception v3: 23.8 M parameters (27.2 M with the head), 5.71 G MACs."""
    return Inception3(**options)
