"""MobileNet v2: inverted residuals, wide inside and narrow where the shortcut runs.

Sandler, Howard, Zhu, Zhmoginov, Chen, "MobileNetV2: inverted residuals and linear bottlenecks",
2018, tables 1 and 2. Parameter names are torchvision's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

import minitorch_cnn as torch

from .. import nn
from ..nn import functional as F
from ..tensor import Tensor
from .registry import architecture

# Table 2: expansion t, output channels c, blocks n, stride s of the first of them.
TABLE = (
    (1, 16, 1, 1),  # (N, 16, 112, 112)
    (6, 24, 2, 2),  # (N, 24, 56, 56)
    (6, 32, 3, 2),  # (N, 32, 28, 28)
    (6, 64, 4, 2),  # (N, 64, 14, 14)
    (6, 96, 3, 1),  # (N, 96, 14, 14)
    (6, 160, 3, 2),  # (N, 160, 7, 7)
    (6, 320, 1, 1),  # (N, 320, 7, 7)
)


def _make_divisible(v: float, divisor: int, min_value: int | None = None) -> int:
    """The multiple of ``divisor`` nearest to v, but not more than 10 % below it."""
    nearest = max(min_value or divisor, int(v + divisor / 2) // divisor * divisor)
    return nearest + divisor if nearest < 0.9 * v else nearest


class Conv2dNormActivation(nn.Sequential):
    """Convolution that keeps the size (over ``stride``), norm, ReLU6."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int = 3,
        stride: int = 1,
        groups: int = 1,
        norm_layer: Callable[..., nn.Module] = nn.BatchNorm2d,
    ) -> None:
        padding = (kernel_size - 1) // 2
        super().__init__(
            nn.Conv2d(
                in_channels, out_channels, kernel_size, stride, padding, groups=groups, bias=False
            ),
            norm_layer(out_channels),
            nn.ReLU6(inplace=True),
        )
        self.out_channels = out_channels


class InvertedResidual(nn.Module):
    """Table 1: 1x1 up to t inp channels, 3x3 per channel, 1x1 down to oup with no activation.

    (N, inp, H, W) -> (N, oup, H/stride, W/stride), plus the input where the shapes agree. With
    ``expand_ratio`` 1 there is no first 1x1. ValueError for a stride other than 1 and 2.
    """

    def __init__(
        self,
        inp: int,
        oup: int,
        stride: int,
        expand_ratio: float,
        norm_layer: Callable[..., nn.Module] | None = None,
    ) -> None:
        super().__init__()
        if stride not in (1, 2):
            raise ValueError(f"InvertedResidual: stride should be 1 or 2 instead of {stride}")
        norm = norm_layer or nn.BatchNorm2d
        hidden = round(inp * expand_ratio)
        layers: list[nn.Module] = []
        if expand_ratio != 1:
            layers.append(Conv2dNormActivation(inp, hidden, 1, norm_layer=norm))
        layers += [
            Conv2dNormActivation(hidden, hidden, 3, stride, groups=hidden, norm_layer=norm),
            nn.Conv2d(hidden, oup, kernel_size=1, bias=False),
            norm(oup),
        ]
        self.stride = stride
        self.use_res_connect = stride == 1 and inp == oup
        self.conv = nn.Sequential(*layers)
        self.out_channels = oup

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x)
        return x + y if self.use_res_connect else cast("Tensor", y)


class MobileNetV2(nn.Module):
    """(N, in_channels, H, W) -> (N, num_classes) scores.

    ``width_mult`` multiplies every number of channels (the last layer's only upwards), rounded to
    multiples of ``round_nearest``. ``inverted_residual_setting`` has rows (t, c, n, s) as table 2
    has; ``block`` and ``norm_layer`` stand for InvertedResidual and BatchNorm2d; ``dropout`` is the
    probability before the linear layer. ``small_input`` is for 28x28 and 32x32 images: strides of 1
    in the stem and, if the setting is table 2, in its second row.

    ValueError for an empty setting or rows that are not (t, c, n, s). Convolutions start as in
    He et al. 2015 (kaiming_normal, fan_out), the linear layer normal of deviation 0.01, biases 0.
    """

    def __init__(
        self,
        num_classes: int = 1000,
        width_mult: float = 1.0,
        inverted_residual_setting: Sequence[Sequence[int]] | None = None,
        round_nearest: int = 8,
        block: Callable[..., nn.Module] | None = None,
        norm_layer: Callable[..., nn.Module] | None = None,
        dropout: float = 0.2,
        *,
        in_channels: int = 3,
        small_input: bool = False,
    ) -> None:
        super().__init__()
        setting: Sequence[Sequence[int]]
        if inverted_residual_setting is not None:
            setting = inverted_residual_setting
        elif small_input:
            setting = (TABLE[0], (6, 24, 2, 1), *TABLE[2:])
        else:
            setting = TABLE
        if len(setting) == 0 or any(len(row) != 4 for row in setting):
            raise ValueError(
                "MobileNetV2: inverted_residual_setting should be a non-empty list of rows"
                f" (t, c, n, s), but got {setting}"
            )
        make_block = block or InvertedResidual
        norm = norm_layer or nn.BatchNorm2d

        channels = _make_divisible(32 * width_mult, round_nearest)
        self.last_channel = _make_divisible(1280 * max(1.0, width_mult), round_nearest)
        stem_stride = 1 if small_input else 2
        layers: list[nn.Module] = [
            Conv2dNormActivation(in_channels, channels, stride=stem_stride, norm_layer=norm)
        ]  # (N, 32, 112, 112)
        for t, c, n, s in setting:
            width = _make_divisible(c * width_mult, round_nearest)
            for i in range(n):
                stride = s if i == 0 else 1
                layers.append(make_block(channels, width, stride, expand_ratio=t, norm_layer=norm))
                channels = width
        layers.append(Conv2dNormActivation(channels, self.last_channel, 1, norm_layer=norm))
        self.features = nn.Sequential(*layers)  # (N, 1280, 7, 7)
        self.classifier = nn.Sequential(
            nn.Dropout(p=dropout), nn.Linear(self.last_channel, num_classes)
        )
        for m in self.modules():
            if isinstance(m, nn.Conv2d):
                nn.init.kaiming_normal_(m.weight, mode="fan_out")
            elif isinstance(m, nn.Linear):
                nn.init.normal_(m.weight, 0, 0.01)
            if isinstance(m, (nn.Conv2d, nn.Linear)) and m.bias is not None:
                nn.init.zeros_(m.bias)

    def forward(self, x: Tensor) -> Tensor:
        x = self.features(x)  # (N, 1280, 7, 7)
        x = torch.flatten(F.adaptive_avg_pool2d(x, (1, 1)), 1)  # (N, 1280)
        return cast("Tensor", self.classifier(x))


@architecture(input=(3, 224, 224))
def mobilenet_v2(**options: Any) -> MobileNetV2:
    """MobileNet v2: 3,504,872 parameters, 0.30 GMACs. ``options`` are MobileNetV2's."""
    return MobileNetV2(**options)
