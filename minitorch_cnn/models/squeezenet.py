"""SqueezeNet: AlexNet's accuracy with a fiftieth of its parameters, by 1x1 convolutions.

Iandola et al., "SqueezeNet: AlexNet-level accuracy with 50x fewer parameters and <0.5MB model
size", 2016, table 1; version 1.1 (the authors' repository) pools earlier and costs 2.4 times less.
Parameter names are torchvision's.
"""

from __future__ import annotations

from typing import Any, cast

import minitorch_cnn as torch

from .. import nn
from ..tensor import Tensor
from .registry import architecture

# Table 1: (squeeze, expand 1x1, expand 3x3) of fire2 to fire9; "M" is a 3x3 max pooling of stride
# 2. The versions differ in the stem and in where they pool.
TABLE: dict[str, tuple[str | tuple[int, int, int], ...]] = {
    "1_0": (
        "M", (16, 64, 64), (16, 64, 64), (32, 128, 128),
        "M", (32, 128, 128), (48, 192, 192), (48, 192, 192), (64, 256, 256),
        "M", (64, 256, 256),
    ),
    "1_1": (
        "M", (16, 64, 64), (16, 64, 64),
        "M", (32, 128, 128), (32, 128, 128),
        "M", (48, 192, 192), (48, 192, 192), (64, 256, 256), (64, 256, 256),
    ),
}  # fmt: skip
STEMS = {"1_0": (96, 7), "1_1": (64, 3)}  # channels and kernel size, stride 2


class Fire(nn.Module):
    """1x1 down to ``squeeze_planes``, then 1x1 and 3x3 side by side.

    (N, inplanes, H, W) -> (N, expand1x1_planes + expand3x3_planes, H, W).
    """

    def __init__(
        self, inplanes: int, squeeze_planes: int, expand1x1_planes: int, expand3x3_planes: int
    ) -> None:
        super().__init__()
        self.inplanes = inplanes
        self.squeeze = nn.Conv2d(inplanes, squeeze_planes, kernel_size=1)
        self.squeeze_activation = nn.ReLU(inplace=True)
        self.expand1x1 = nn.Conv2d(squeeze_planes, expand1x1_planes, kernel_size=1)
        self.expand1x1_activation = nn.ReLU(inplace=True)
        self.expand3x3 = nn.Conv2d(squeeze_planes, expand3x3_planes, kernel_size=3, padding=1)
        self.expand3x3_activation = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        x = self.squeeze_activation(self.squeeze(x))
        one = self.expand1x1_activation(self.expand1x1(x))
        three = self.expand3x3_activation(self.expand3x3(x))
        return cast("Tensor", torch.cat([one, three], 1))


class SqueezeNet(nn.Module):
    """(N, in_channels, H, W) -> (N, num_classes) scores, for ``version`` "1_0" or "1_1".

    There is no linear layer: the last 1x1 convolution has a map per class, whose mean is the score.
    ``dropout`` is the probability before it. ``small_input`` is for 28x28 and 32x32 images: a stem
    of stride 1 with a border, and no pooling behind it. ValueError for another version.
    Convolutions start as in He et al. 2015 (kaiming_uniform), the last one normal of deviation
    0.01, biases 0.
    """

    def __init__(
        self,
        version: str = "1_0",
        num_classes: int = 1000,
        dropout: float = 0.5,
        *,
        in_channels: int = 3,
        small_input: bool = False,
    ) -> None:
        super().__init__()
        if version not in TABLE:
            raise ValueError(
                f"SqueezeNet: unsupported version {version!r}: there are {', '.join(TABLE)}"
            )
        self.num_classes = num_classes
        channels, kernel = STEMS[version]
        if small_input:
            stem = nn.Conv2d(in_channels, channels, kernel_size=3, padding=1)
        else:
            stem = nn.Conv2d(in_channels, channels, kernel_size=kernel, stride=2)
        layers: list[nn.Module] = [stem, nn.ReLU(inplace=True)]  # (N, 96, 109, 109), or 64, 111
        for i, row in enumerate(TABLE[version]):
            if isinstance(row, tuple):
                layers.append(Fire(channels, *row))
                channels = row[1] + row[2]
            elif small_input and i == 0:
                layers.append(nn.Identity())  # later layers keep their numbers
            else:
                layers.append(nn.MaxPool2d(kernel_size=3, stride=2, ceil_mode=True))
        self.features = nn.Sequential(*layers)  # (N, 512, 13, 13)
        final_conv = nn.Conv2d(channels, num_classes, kernel_size=1)
        self.classifier = nn.Sequential(
            nn.Dropout(p=dropout),
            final_conv,  # (N, num_classes, 13, 13)
            nn.ReLU(inplace=True),
            nn.AdaptiveAvgPool2d((1, 1)),
        )
        for m in self.modules():
            if isinstance(m, nn.Conv2d):
                if m is final_conv:
                    nn.init.normal_(m.weight, 0.0, 0.01)
                else:
                    nn.init.kaiming_uniform_(m.weight)
                if m.bias is not None:
                    nn.init.zeros_(m.bias)

    def forward(self, x: Tensor) -> Tensor:
        x = self.classifier(self.features(x))  # (N, num_classes, 1, 1)
        return cast("Tensor", torch.flatten(x, 1))


@architecture(input=(3, 224, 224))
def squeezenet1_0(**options: Any) -> SqueezeNet:
    """SqueezeNet 1.0: 1,248,424 parameters, 0.82 GMACs. ``options`` are SqueezeNet's."""
    return SqueezeNet("1_0", **options)


@architecture(input=(3, 224, 224))
def squeezenet1_1(**options: Any) -> SqueezeNet:
    """SqueezeNet 1.1: 1,235,496 parameters, 0.35 GMACs. ``options`` are SqueezeNet's."""
    return SqueezeNet("1_1", **options)
