"""Pre-activation ResNet: norm and ReLU come before the weights, nothing comes after the sum.

Source: He, Zhang, Ren, Sun, "Identity Mappings in Deep Residual Networks" (2016), figure 1(b) and
section 4 (full pre-activation). With h = identity and f = identity a block is x + F(x), so that
x_L = x_l + the sum of the F between, and the gradient at x_L reaches x_l unchanged, however deep.

Parameter names and details are timm's resnetv2_50: no norm after the stem's convolution, whose max
pool may thus pass negative numbers on; a projection reads the activated input, relu(norm1(x)); the
classifier is a 1x1 convolution.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

from .. import nn
from ..nn.modules.norm_relu import norm_relu
from ..tensor import Tensor
from .registry import architecture
from .shortcuts import make_shortcut

__all__ = [
    "PreActBasic", "PreActBottleneck", "ResNetV2", "resnetv2_18", "resnetv2_34", "resnetv2_50",
    "resnetv2_101", "resnetv2_152",
]  # fmt: skip

NormLayer = Callable[..., nn.Module]


class PreActBasic(nn.Module):
    """y = shortcut(x, F(x)), F = norm, relu, conv3x3, norm, relu, conv3x3.

    (N, inplanes, H, W) -> (N, planes, ceil(H/stride), ceil(W/stride)). ``downsample`` brings
    relu(norm1(x)) to that shape where x has another. ``shortcut`` joins, see :mod:`.shortcuts`;
    the default adds. There is no ReLU after it.
    """

    expansion = 1

    def __init__(
        self,
        inplanes: int,
        planes: int,
        stride: int = 1,
        downsample: nn.Module | None = None,
        norm_layer: NormLayer | None = None,
        *,
        shortcut: nn.Module | None = None,
    ) -> None:
        super().__init__()
        norm_layer = norm_layer or nn.BatchNorm2d
        self.downsample = downsample
        self.norm1 = norm_layer(inplanes)
        self.conv1 = nn.Conv2d(inplanes, planes, 3, stride, padding=1, bias=False)
        self.norm2 = norm_layer(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, padding=1, bias=False)
        self.shortcut = make_shortcut("identity", planes, planes) if shortcut is None else shortcut

    def forward(self, x: Tensor) -> Tensor:
        activated = norm_relu(self.norm1, x)
        identity = x if self.downsample is None else self.downsample(activated)
        out = self.conv1(activated)
        out = self.conv2(norm_relu(self.norm2, out))
        return cast("Tensor", self.shortcut(identity, out))


class PreActBottleneck(nn.Module):
    """y = shortcut(x, F(x)), F = three times norm, relu, conv: 1x1 down, 3x3, 1x1 up.

    (N, inplanes, H, W) -> (N, 4 planes, ceil(H/stride), ceil(W/stride)). The stride is that of the
    3x3 convolution. ``downsample`` and ``shortcut`` are those of :class:`PreActBasic`.
    """

    expansion = 4

    def __init__(
        self,
        inplanes: int,
        planes: int,
        stride: int = 1,
        downsample: nn.Module | None = None,
        norm_layer: NormLayer | None = None,
        *,
        shortcut: nn.Module | None = None,
    ) -> None:
        super().__init__()
        norm_layer = norm_layer or nn.BatchNorm2d
        out_planes = planes * self.expansion
        self.downsample = downsample
        self.norm1 = norm_layer(inplanes)
        self.conv1 = nn.Conv2d(inplanes, planes, 1, bias=False)
        self.norm2 = norm_layer(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, stride, padding=1, bias=False)
        self.norm3 = norm_layer(planes)
        self.conv3 = nn.Conv2d(planes, out_planes, 1, bias=False)
        self.shortcut = (
            make_shortcut("identity", out_planes, out_planes) if shortcut is None else shortcut
        )

    def forward(self, x: Tensor) -> Tensor:
        activated = norm_relu(self.norm1, x)
        identity = x if self.downsample is None else self.downsample(activated)
        out = self.conv1(activated)
        out = self.conv2(norm_relu(self.norm2, out))
        out = self.conv3(norm_relu(self.norm3, out))
        return cast("Tensor", self.shortcut(identity, out))


class ResNetV2(nn.Module):
    """A stem, four stages of ``layers`` pre-activation blocks, norm, ReLU and classifier.

    (N, in_channels, H, W) -> (N, num_classes) logits, for any H and W.

    - ``zero_init_last``: the last convolution of every block starts at 0, the block at x.
    - ``norm_layer``: called with a number of channels; nn.BatchNorm2d unless given.
    - ``small_input``: for images of 28 or 32 pixels the stem is one 3x3 convolution, stride 1.
    - ``shortcut``, ``shortcut_options``: a kind of :func:`.shortcuts.make_shortcut` for every block
      and its options, for seeing what a factor on the shortcut does to the gradient; the paper's
      table 1 measured them on original blocks. Where the shape changes it joins what the projection
      (``downsample``) returns. "conv1x1" is that projection there and h(x) = W x, without a norm,
      in the other blocks; "none" is a plain network, without projections.

    ValueError for an unknown shortcut, and for a plain network with ``zero_init_last``, which would
    compute nothing.
    """

    def __init__(
        self,
        block: type[PreActBasic | PreActBottleneck],
        layers: Sequence[int],
        num_classes: int = 1000,
        zero_init_last: bool = False,
        norm_layer: NormLayer | None = None,
        *,
        in_channels: int = 3,
        small_input: bool = False,
        shortcut: str = "identity",
        shortcut_options: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        if shortcut == "none" and zero_init_last:
            raise ValueError('ResNetV2: zero_init_last=True silences a net with shortcut="none"')
        self.inplanes = 64
        self.norm_layer = norm_layer or nn.BatchNorm2d
        self.shortcut = shortcut
        self.shortcut_options = dict(shortcut_options or {})

        # Shapes for 224x224; e is 1 for PreActBasic, 4 for PreActBottleneck.
        conv: nn.Module
        pool: nn.Module
        if small_input:
            conv, pool = nn.Conv2d(in_channels, 64, 3, padding=1, bias=False), nn.Identity()
        else:
            conv = nn.Conv2d(in_channels, 64, 7, stride=2, padding=3, bias=False)
            pool = nn.MaxPool2d(3, stride=2, padding=1)
        self.stem = nn.Sequential(OrderedDict(conv=conv, pool=pool))  # (N, 64, 56, 56)
        self.stages = nn.Sequential(
            self._make_stage(block, 64, layers[0], 1),  # (N, 64e, 56, 56)
            self._make_stage(block, 128, layers[1], 2),  # (N, 128e, 28, 28)
            self._make_stage(block, 256, layers[2], 2),  # (N, 256e, 14, 14)
            self._make_stage(block, 512, layers[3], 2),  # (N, 512e, 7, 7)
        )
        self.norm = self.norm_layer(self.inplanes)
        self.head = nn.Sequential(
            OrderedDict(
                global_pool=nn.AdaptiveAvgPool2d(1),  # (N, 512e, 1, 1)
                fc=nn.Conv2d(self.inplanes, num_classes, 1),
                flatten=nn.Flatten(1),  # (N, num_classes)
            )
        )
        self._initialize(zero_init_last)

    def _make_stage(
        self, block: type[PreActBasic | PreActBottleneck], planes: int, blocks: int, stride: int
    ) -> nn.Sequential:
        out_planes = planes * block.expansion
        made = []
        for i in range(blocks):
            block_stride = stride if i == 0 else 1
            downsample = self._downsample(out_planes, block_stride)
            made.append(
                block(
                    self.inplanes,
                    planes,
                    block_stride,
                    downsample,
                    self.norm_layer,
                    shortcut=self._join(out_planes, projected=downsample is not None),
                )
            )
            self.inplanes = out_planes
        return nn.Sequential(OrderedDict(blocks=nn.Sequential(*made)))

    def _downsample(self, out_planes: int, stride: int) -> nn.Module | None:
        """The projection of the next block where it changes the shape, else None."""
        if self.shortcut == "none" or (stride == 1 and self.inplanes == out_planes):
            return None
        conv = nn.Conv2d(self.inplanes, out_planes, 1, stride, bias=False)
        return nn.Sequential(OrderedDict(conv=conv))

    def _join(self, planes: int, projected: bool) -> nn.Module:
        if self.shortcut != "conv1x1":
            return make_shortcut(self.shortcut, planes, planes, **self.shortcut_options)
        if projected:
            return make_shortcut("identity", planes, planes)
        options = {"norm_layer": None} | self.shortcut_options
        return make_shortcut("conv1x1", planes, planes, **options)

    def _initialize(self, zero_init_last: bool) -> None:
        for m in self.modules():
            if isinstance(m, nn.Conv2d):
                nn.init.kaiming_normal_(m.weight, mode="fan_out", nonlinearity="relu")
        for m in self.modules():
            if isinstance(m, PreActBasic | PreActBottleneck) and zero_init_last:
                last = m.conv3 if isinstance(m, PreActBottleneck) else m.conv2
                nn.init.zeros_(last.weight)
        nn.init.normal_(self.head.fc.weight, std=0.01)
        nn.init.zeros_(self.head.fc.bias)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        x = self.stages(x)
        x = norm_relu(self.norm, x)
        return cast("Tensor", self.head(x))


@architecture(input=(3, 224, 224))
def resnetv2_18(**options: Any) -> ResNetV2:
    """Pre-activation ResNet-18: 11,687,720 parameters. Options are those of :class:`ResNetV2`."""
    return ResNetV2(PreActBasic, [2, 2, 2, 2], **options)


@architecture(input=(3, 224, 224))
def resnetv2_34(**options: Any) -> ResNetV2:
    """Pre-activation ResNet-34: 21,795,880 parameters. Options are those of :class:`ResNetV2`."""
    return ResNetV2(PreActBasic, [3, 4, 6, 3], **options)


@architecture(input=(3, 224, 224))
def resnetv2_50(**options: Any) -> ResNetV2:
    """Pre-activation ResNet-50: 25,549,352 parameters. Options are those of :class:`ResNetV2`."""
    return ResNetV2(PreActBottleneck, [3, 4, 6, 3], **options)


@architecture(input=(3, 224, 224))
def resnetv2_101(**options: Any) -> ResNetV2:
    """Pre-activation ResNet-101: 44,541,480 parameters. Options are those of :class:`ResNetV2`."""
    return ResNetV2(PreActBottleneck, [3, 4, 23, 3], **options)


@architecture(input=(3, 224, 224))
def resnetv2_152(**options: Any) -> ResNetV2:
    """Pre-activation ResNet-152: 60,185,128 parameters. Options are those of :class:`ResNetV2`."""
    return ResNetV2(PreActBottleneck, [3, 8, 36, 3], **options)
