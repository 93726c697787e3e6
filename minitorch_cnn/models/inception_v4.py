"""Inception v4, with timm's names.

Source: Szegedy et al., "Inception-v4, Inception-ResNet and the impact of residual connections on
learning" (2016, arXiv 1602.07261), figures 3 to 9. Where v3's modules come in many widths, v4
repeats three that never change, 4 x A, 7 x B and 3 x C, with a reduction between.
"""

from __future__ import annotations

from typing import Any, cast

import minitorch_cnn as torch

from .. import nn
from ..tensor import Tensor
from .inception_parts import Branches, Conv, row
from .registry import architecture


def average() -> nn.Module:
    """The mean of each pixel and its neighbours; unlike v3's, it leaves the padding out."""
    return nn.AvgPool2d(3, stride=1, padding=1, count_include_pad=False)


def halving_max() -> nn.Module:
    """3x3 maxima at stride 2: H -> (H - 1) // 2."""
    return nn.MaxPool2d(3, stride=2)


class Mixed3a(Branches):
    """Figure 3, first fork: half the map, by pooling and by convolution. To in_channels + 96.

    With ``small_input`` neither halves.
    """

    def __init__(self, in_channels: int = 64, small_input: bool = False) -> None:
        super().__init__(
            maxpool=nn.MaxPool2d(3, stride=1, padding=1) if small_input else halving_max(),
            conv=row(in_channels, Conv(96, 3, stride=1 if small_input else 2)),
        )


class Mixed4a(Branches):
    """Figure 3, second fork, to 192 channels. With ``small_input`` the map keeps its size."""

    def __init__(self, in_channels: int = 160, small_input: bool = False) -> None:
        last = Conv(96, 3, padding="same" if small_input else "valid")
        super().__init__(
            branch0=row(in_channels, Conv(64, 1), last),
            branch1=row(in_channels, Conv(64, 1), Conv(64, (1, 7)), Conv(64, (7, 1)), last),
        )


class Mixed5a(Branches):
    """Figure 3, last fork: as the first, convolution first. To in_channels + 192."""

    def __init__(self, in_channels: int = 192, small_input: bool = False) -> None:
        super().__init__(
            conv=row(in_channels, Conv(192, 3, stride=1 if small_input else 2)),
            maxpool=nn.MaxPool2d(3, stride=1, padding=1) if small_input else halving_max(),
        )


class InceptionA(Branches):
    """Figure 4, to 384 channels."""

    def __init__(self, in_channels: int = 384) -> None:
        super().__init__(
            branch0=row(in_channels, Conv(96, 1)),
            branch1=row(in_channels, Conv(64, 1), Conv(96, 3)),
            branch2=row(in_channels, Conv(64, 1), Conv(96, 3), Conv(96, 3)),
            branch3=row(in_channels, average(), Conv(96, 1)),
        )


class ReductionA(Branches):
    """Figure 7 with k, l, m, n = 192, 224, 256, 384 (table 1): half the map, 640 channels more."""

    def __init__(self, in_channels: int = 384) -> None:
        super().__init__(
            branch0=row(in_channels, Conv(384, 3, stride=2)),
            branch1=row(in_channels, Conv(192, 1), Conv(224, 3), Conv(256, 3, stride=2)),
            branch2=halving_max(),
        )


class InceptionB(Branches):
    """Figure 5, to 1024 channels: each 7x7 as 1x7 and 7x1.

    Why the 1x1 convolutions: on 17x17, a 1x7 straight from 1024 to 224 channels would cost
    464,027,648 multiply-adds; through 192 channels (branch1) the two cost 143,824,896.
    """

    def __init__(self, in_channels: int = 1024) -> None:
        super().__init__(
            branch0=row(in_channels, Conv(384, 1)),
            branch1=row(in_channels, Conv(192, 1), Conv(224, (1, 7)), Conv(256, (7, 1))),
            branch2=row(
                in_channels, Conv(192, 1),
                Conv(192, (7, 1)), Conv(224, (1, 7)), Conv(224, (7, 1)), Conv(256, (1, 7)),
            ),
            branch3=row(in_channels, average(), Conv(128, 1)),
        )  # fmt: skip


class ReductionB(Branches):
    """Figure 8: half the map, and 512 channels more."""

    def __init__(self, in_channels: int = 1024) -> None:
        super().__init__(
            branch0=row(in_channels, Conv(192, 1), Conv(192, 3, stride=2)),
            branch1=row(
                in_channels, Conv(256, 1),
                Conv(256, (1, 7)), Conv(320, (7, 1)), Conv(320, 3, stride=2),
            ),
            branch2=halving_max(),
        )  # fmt: skip


class InceptionC(nn.Module):
    """Figure 6, to 1536 channels: two branches end in a 1x3 and a 3x1 side by side."""

    def __init__(self, in_channels: int = 1536) -> None:
        super().__init__()
        self.branch0 = row(in_channels, Conv(256, 1))

        self.branch1_0 = row(in_channels, Conv(384, 1))
        self.branch1_1a = row(384, Conv(256, (1, 3)))
        self.branch1_1b = row(384, Conv(256, (3, 1)))

        self.branch2_0 = row(in_channels, Conv(384, 1))
        self.branch2_1 = row(384, Conv(448, (3, 1)))
        self.branch2_2 = row(448, Conv(512, (1, 3)))
        self.branch2_3a = row(512, Conv(256, (1, 3)))
        self.branch2_3b = row(512, Conv(256, (3, 1)))

        self.branch3 = row(in_channels, average(), Conv(256, 1))

    def forward(self, x: Tensor) -> Tensor:
        x1 = self.branch1_0(x)
        x2 = self.branch2_2(self.branch2_1(self.branch2_0(x)))
        outputs = [
            self.branch0(x),
            self.branch1_1a(x1), self.branch1_1b(x1),
            self.branch2_3a(x2), self.branch2_3b(x2),
            self.branch3(x),
        ]  # fmt: skip
        return cast("Tensor", torch.cat(outputs, 1))


class InceptionV4(nn.Module):
    """(N, in_channels, H, W) -> logits (N, num_classes), designed for 299x299; 75x75 at least.

    ``drop_rate``: dropout before the last layer (0.2 in the paper, 0 in timm and here).
    ``small_input``, for 28x28 and 32x32: a stem that keeps the map's size (stride 1, padded), so
    that the modules run at 28, 13 and 6 instead of 35, 17 and 8. Weights start as PyTorch's
    convolutions and linear layers do.
    """

    def __init__(
        self,
        num_classes: int = 1000,
        in_channels: int = 3,
        drop_rate: float = 0.0,
        *,
        small_input: bool = False,
    ) -> None:
        super().__init__()
        first, second = Conv(32, 3, stride=2), Conv(32, 3, padding="valid")
        if small_input:
            first = second = Conv(32, 3)
        self.features = nn.Sequential(
            row(in_channels, first),  # (N, 32, 149, 149)
            row(32, second),  # (N, 32, 147, 147)
            row(32, Conv(64, 3)),  # (N, 64, 147, 147)
            Mixed3a(small_input=small_input),  # (N, 160, 73, 73)
            Mixed4a(small_input=small_input),  # (N, 192, 71, 71)
            Mixed5a(small_input=small_input),  # (N, 384, 35, 35)
            *(InceptionA() for _ in range(4)),  # (N, 384, 35, 35)
            ReductionA(),  # (N, 1024, 17, 17)
            *(InceptionB() for _ in range(7)),  # (N, 1024, 17, 17)
            ReductionB(),  # (N, 1536, 8, 8)
            *(InceptionC() for _ in range(3)),  # (N, 1536, 8, 8)
        )
        self.global_pool = nn.AdaptiveAvgPool2d((1, 1))
        self.head_drop = nn.Dropout(drop_rate)
        self.last_linear = nn.Linear(1536, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.global_pool(self.features(x))  # (N, 1536, 1, 1)
        x = self.head_drop(torch.flatten(x, 1))  # (N, 1536)
        return cast("Tensor", self.last_linear(x))


@architecture(input=(3, 299, 299))
def inception_v4(**options: Any) -> InceptionV4:
    """Inception v4: 42.7 M parameters, 12.25 G MACs."""
    return InceptionV4(**options)
