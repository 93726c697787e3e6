"""ResNet, its wide and grouped relatives, and the plain networks it was compared with.

Sources: He, Zhang, Ren, Sun, "Deep Residual Learning for Image Recognition" (2015), table 1; Xie et
al., "Aggregated Residual Transformations" (ResNeXt, 2017); Zagoruyko, Komodakis, "Wide Residual
Networks" (2016). As in torchvision, a bottleneck's stride sits in its 3x3 convolution (ResNet
"v1.5"); in the paper it sits in the first 1x1.

| stage | output | 18 | 34 | 50 | 101 | 152 |
|---|---|---|---|---|---|---|
| conv1, maxpool | 56x56 | 7x7, 64, stride 2; 3x3 max pool, stride 2 | | | | |
| layer1 | 56x56 | 2 basic 64 | 3 | 3 bottleneck 64, out 256 | 3 | 3 |
| layer2 | 28x28 | 2 basic 128 | 4 | 4 bottleneck 128, out 512 | 4 | 8 |
| layer3 | 14x14 | 2 basic 256 | 6 | 6 bottleneck 256, out 1024 | 23 | 36 |
| layer4 | 7x7 | 2 basic 512 | 3 | 3 bottleneck 512, out 2048 | 3 | 3 |
| avgpool, fc | 1x1 | 1000 classes | | | | |
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import minitorch_cnn as torch

from .. import nn
from ..nn.modules.norm_relu import norm_relu
from ..tensor import Tensor
from .registry import architecture
from .shortcuts import make_shortcut

__all__ = [
    "BasicBlock", "Bottleneck", "ResNet", "plain18", "plain34", "resnet18", "resnet34", "resnet50",
    "resnet101", "resnet152", "resnext50_32x4d", "resnext101_32x8d", "wide_resnet50_2",
    "wide_resnet101_2",
]  # fmt: skip

NormLayer = Callable[..., nn.Module]


def conv3x3(
    inplanes: int, planes: int, stride: int = 1, groups: int = 1, dilation: int = 1
) -> nn.Conv2d:
    """A 3x3 convolution that keeps H and W at stride 1. No bias: a norm follows and has one."""
    return nn.Conv2d(
        inplanes, planes, 3, stride, padding=dilation, dilation=dilation, groups=groups, bias=False
    )


def conv1x1(inplanes: int, planes: int, stride: int = 1) -> nn.Conv2d:
    """A 1x1 convolution without bias."""
    return nn.Conv2d(inplanes, planes, 1, stride, bias=False)


class BasicBlock(nn.Module):
    """y = relu(shortcut(x, F(x))), F = conv3x3, norm, relu, conv3x3, norm.

    (N, inplanes, H, W) -> (N, planes, ceil(H/stride), ceil(W/stride)). ``downsample`` brings x to
    that shape where it differs. ``shortcut`` joins them, see :mod:`.shortcuts`; the default adds.
    ValueError for groups or base_width, NotImplementedError for dilation, which it does not have.
    """

    expansion = 1

    def __init__(
        self,
        inplanes: int,
        planes: int,
        stride: int = 1,
        downsample: nn.Module | None = None,
        groups: int = 1,
        base_width: int = 64,
        dilation: int = 1,
        norm_layer: NormLayer | None = None,
        *,
        shortcut: nn.Module | None = None,
    ) -> None:
        super().__init__()
        if groups != 1 or base_width != 64:
            raise ValueError(
                f"BasicBlock has groups=1 and base_width=64 only, not groups={groups} and"
                f" base_width={base_width}: use Bottleneck"
            )
        if dilation != 1:
            raise NotImplementedError(
                f"BasicBlock has dilation=1 only, not {dilation}: use Bottleneck"
            )
        norm_layer = norm_layer or nn.BatchNorm2d
        self.conv1 = conv3x3(inplanes, planes, stride)
        self.bn1 = norm_layer(planes)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = conv3x3(planes, planes)
        self.bn2 = norm_layer(planes)
        self.downsample = downsample
        self.shortcut = make_shortcut("identity", planes, planes) if shortcut is None else shortcut

    def forward(self, x: Tensor) -> Tensor:
        out = norm_relu(self.bn1, self.conv1(x), self.relu)
        out = self.bn2(self.conv2(out))
        identity = x if self.downsample is None else self.downsample(x)
        return cast("Tensor", self.relu(self.shortcut(identity, out)))


class Bottleneck(nn.Module):
    """y = relu(shortcut(x, F(x))), F = conv1x1 down, conv3x3, conv1x1 up, each with its norm.

    (N, inplanes, H, W) -> (N, 4 planes, ceil(H/stride), ceil(W/stride)). The 3x3 convolution is
    planes * base_width / 64 * groups wide: base_width 128 makes a wide ResNet, groups a ResNeXt.
    ``downsample`` and ``shortcut`` are those of :class:`BasicBlock`.
    """

    expansion = 4

    def __init__(
        self,
        inplanes: int,
        planes: int,
        stride: int = 1,
        downsample: nn.Module | None = None,
        groups: int = 1,
        base_width: int = 64,
        dilation: int = 1,
        norm_layer: NormLayer | None = None,
        *,
        shortcut: nn.Module | None = None,
    ) -> None:
        super().__init__()
        norm_layer = norm_layer or nn.BatchNorm2d
        width = int(planes * (base_width / 64)) * groups
        out_planes = planes * self.expansion
        self.conv1 = conv1x1(inplanes, width)
        self.bn1 = norm_layer(width)
        self.conv2 = conv3x3(width, width, stride, groups, dilation)
        self.bn2 = norm_layer(width)
        self.conv3 = conv1x1(width, out_planes)
        self.bn3 = norm_layer(out_planes)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = downsample
        self.shortcut = (
            make_shortcut("identity", out_planes, out_planes) if shortcut is None else shortcut
        )

    def forward(self, x: Tensor) -> Tensor:
        out = norm_relu(self.bn1, self.conv1(x), self.relu)
        out = norm_relu(self.bn2, self.conv2(out), self.relu)
        out = self.bn3(self.conv3(out))
        identity = x if self.downsample is None else self.downsample(x)
        return cast("Tensor", self.relu(self.shortcut(identity, out)))


class ResNet(nn.Module):
    """A stem, four stages of ``layers`` blocks each, average pool and classifier, as torchvision's.

    (N, in_channels, H, W) -> (N, num_classes) logits, for any H and W.

    - ``zero_init_residual``: the last norm of every block starts at 0, the block at relu(x).
    - ``groups``, ``width_per_group``: the 3x3 convolutions of :class:`Bottleneck`.
    - ``replace_stride_with_dilation``: three booleans, for layer2 to layer4: dilate instead of
      halving the map (for segmentation).
    - ``norm_layer``: called with a number of channels; nn.BatchNorm2d unless given.
    - ``small_input``: for images of 28 or 32 pixels the stem is one 3x3 convolution, stride 1.
    - ``shortcut``, ``shortcut_options``: a kind of :func:`.shortcuts.make_shortcut` for every block
      and its options. Where the shape changes it joins what the projection (``downsample``)
      returns; "conv1x1" is a projection, with its norm, in every block (the paper's option C);
      "none" is a plain network, without projections.

    ValueError for a ``replace_stride_with_dilation`` of another length, an unknown shortcut, and a
    plain network with ``zero_init_residual``, which would compute nothing.
    """

    def __init__(
        self,
        block: type[BasicBlock | Bottleneck],
        layers: Sequence[int],
        num_classes: int = 1000,
        zero_init_residual: bool = False,
        groups: int = 1,
        width_per_group: int = 64,
        replace_stride_with_dilation: Sequence[bool] | None = None,
        norm_layer: NormLayer | None = None,
        *,
        in_channels: int = 3,
        small_input: bool = False,
        shortcut: str = "identity",
        shortcut_options: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        dilate = replace_stride_with_dilation or (False, False, False)
        if len(dilate) != 3:
            raise ValueError(
                "ResNet: replace_stride_with_dilation must be None or three booleans, for layer2,"
                f" layer3 and layer4, not {replace_stride_with_dilation}"
            )
        if shortcut == "none" and zero_init_residual:
            raise ValueError('ResNet: zero_init_residual=True silences a net with shortcut="none"')
        self.inplanes = 64
        self.dilation = 1
        self.groups = groups
        self.base_width = width_per_group
        self.norm_layer = norm_layer or nn.BatchNorm2d
        self.shortcut = shortcut
        self.shortcut_options = dict(shortcut_options or {})

        # Shapes for 224x224; e is 1 for BasicBlock, 4 for Bottleneck.
        if small_input:
            self.conv1 = conv3x3(in_channels, 64)
        else:
            self.conv1 = nn.Conv2d(in_channels, 64, 7, stride=2, padding=3, bias=False)
        self.bn1 = self.norm_layer(64)
        self.relu = nn.ReLU(inplace=True)  # (N, 64, 112, 112)
        self.maxpool = nn.Identity() if small_input else nn.MaxPool2d(3, stride=2, padding=1)
        self.layer1 = self._make_layer(block, 64, layers[0])  # (N, 64e, 56, 56)
        self.layer2 = self._make_layer(block, 128, layers[1], 2, dilate[0])  # (N, 128e, 28, 28)
        self.layer3 = self._make_layer(block, 256, layers[2], 2, dilate[1])  # (N, 256e, 14, 14)
        self.layer4 = self._make_layer(block, 512, layers[3], 2, dilate[2])  # (N, 512e, 7, 7)
        self.avgpool = nn.AdaptiveAvgPool2d((1, 1))  # (N, 512e, 1, 1)
        self.fc = nn.Linear(512 * block.expansion, num_classes)
        self._initialize(zero_init_residual)

    def _make_layer(
        self,
        block: type[BasicBlock | Bottleneck],
        planes: int,
        blocks: int,
        stride: int = 1,
        dilate: bool = False,
    ) -> nn.Sequential:
        out_planes = planes * block.expansion
        kind = "identity" if self.shortcut == "conv1x1" else self.shortcut
        # A dilated stage's first block stands where the stride was, so its own 3x3 still reads the
        # map as the stage before did; only the blocks after it dilate more.
        first_dilation = self.dilation
        if dilate:
            self.dilation *= stride
            stride = 1
        layers = []
        for i in range(blocks):
            block_stride = stride if i == 0 else 1
            layers.append(
                block(
                    self.inplanes,
                    planes,
                    block_stride,
                    self._downsample(out_planes, block_stride),
                    self.groups,
                    self.base_width,
                    first_dilation if i == 0 else self.dilation,
                    self.norm_layer,
                    shortcut=make_shortcut(kind, out_planes, out_planes, **self.shortcut_options),
                )
            )
            self.inplanes = out_planes
        return nn.Sequential(*layers)

    def _downsample(self, out_planes: int, stride: int) -> nn.Module | None:
        """The projection (option B: only where the shape changes) of the next block, or None."""
        changes = stride != 1 or self.inplanes != out_planes
        if self.shortcut == "none" or not (changes or self.shortcut == "conv1x1"):
            return None
        return nn.Sequential(
            conv1x1(self.inplanes, out_planes, stride), self.norm_layer(out_planes)
        )

    def _initialize(self, zero_init_residual: bool) -> None:
        for m in self.modules():
            if isinstance(m, nn.Conv2d):
                nn.init.kaiming_normal_(m.weight, mode="fan_out", nonlinearity="relu")
            if isinstance(m, BasicBlock | Bottleneck) and zero_init_residual:
                last = m.bn3 if isinstance(m, Bottleneck) else m.bn2
                if last.weight is not None:
                    nn.init.zeros_(last.weight)

    def forward(self, x: Tensor) -> Tensor:
        x = norm_relu(self.bn1, self.conv1(x), self.relu)
        x = self.maxpool(x)
        x = self.layer1(x)
        x = self.layer2(x)
        x = self.layer3(x)
        x = self.layer4(x)
        x = torch.flatten(self.avgpool(x), 1)  # (N, 512e)
        return cast("Tensor", self.fc(x))


@architecture(input=(3, 224, 224))
def resnet18(**options: Any) -> ResNet:
    """ResNet-18: 11,689,512 parameters. Options are those of :class:`ResNet`."""
    return ResNet(BasicBlock, [2, 2, 2, 2], **options)


@architecture(input=(3, 224, 224))
def resnet34(**options: Any) -> ResNet:
    """ResNet-34: 21,797,672 parameters. Options are those of :class:`ResNet`."""
    return ResNet(BasicBlock, [3, 4, 6, 3], **options)


@architecture(input=(3, 224, 224))
def resnet50(**options: Any) -> ResNet:
    """ResNet-50: 25,557,032 parameters. Options are those of :class:`ResNet`."""
    return ResNet(Bottleneck, [3, 4, 6, 3], **options)


@architecture(input=(3, 224, 224))
def resnet101(**options: Any) -> ResNet:
    """ResNet-101: 44,549,160 parameters. Options are those of :class:`ResNet`."""
    return ResNet(Bottleneck, [3, 4, 23, 3], **options)


@architecture(input=(3, 224, 224))
def resnet152(**options: Any) -> ResNet:
    """ResNet-152: 60,192,808 parameters. Options are those of :class:`ResNet`."""
    return ResNet(Bottleneck, [3, 8, 36, 3], **options)


@architecture(input=(3, 224, 224))
def resnext50_32x4d(**options: Any) -> ResNet:
    """ResNeXt-50, 32 groups of 4 channels: 25,028,904 parameters, options of :class:`ResNet`."""
    return ResNet(Bottleneck, [3, 4, 6, 3], groups=32, width_per_group=4, **options)


@architecture(input=(3, 224, 224))
def resnext101_32x8d(**options: Any) -> ResNet:
    """ResNeXt-101, 32 groups of 8 channels: 88,791,336 parameters, options of :class:`ResNet`."""
    return ResNet(Bottleneck, [3, 4, 23, 3], groups=32, width_per_group=8, **options)


@architecture(input=(3, 224, 224))
def wide_resnet50_2(**options: Any) -> ResNet:
    """ResNet-50, 3x3 convolutions twice as wide: 68,883,240 parameters, ResNet's options."""
    return ResNet(Bottleneck, [3, 4, 6, 3], width_per_group=128, **options)


@architecture(input=(3, 224, 224))
def wide_resnet101_2(**options: Any) -> ResNet:
    """ResNet-101, 3x3 convolutions twice as wide: 126,886,696 parameters, ResNet's options."""
    return ResNet(Bottleneck, [3, 4, 23, 3], width_per_group=128, **options)


@architecture(input=(3, 224, 224))
def plain18(**options: Any) -> ResNet:
    """ResNet-18 without shortcuts: 11,515,688 parameters, named as ResNet-18's."""
    return ResNet(BasicBlock, [2, 2, 2, 2], shortcut="none", **options)


@architecture(input=(3, 224, 224))
def plain34(**options: Any) -> ResNet:
    """ResNet-34 without shortcuts: 21,623,848 parameters, named as ResNet-34's."""
    return ResNet(BasicBlock, [3, 4, 6, 3], shortcut="none", **options)
