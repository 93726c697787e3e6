"""VGG: nothing but 3x3 convolutions and 2x2 pooling, 11 to 19 layers with weights.

Simonyan and Zisserman, "Very deep convolutional networks for large-scale image recognition", 2015,
table 1. The ``_bn`` networks have a batch norm after each convolution (Ioffe and Szegedy 2015).
Parameter names are torchvision's.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import minitorch_cnn as torch

from .. import nn
from ..tensor import Tensor
from .registry import architecture

# Table 1: the channels of the 3x3 convolutions; each row ends in a 2x2 max pooling.
TABLE: dict[str, tuple[tuple[int, ...], ...]] = {
    # output:  112       56          28                14                7
    "vgg11": ((64,), (128,), (256, 256), (512, 512), (512, 512)),
    "vgg13": ((64, 64), (128, 128), (256, 256), (512, 512), (512, 512)),
    "vgg16": ((64, 64), (128, 128), (256,) * 3, (512,) * 3, (512,) * 3),
    "vgg19": ((64, 64), (128, 128), (256,) * 4, (512,) * 4, (512,) * 4),
}


def make_layers(
    stages: Sequence[Sequence[int]],
    batch_norm: bool = False,
    *,
    in_channels: int = 3,
    small_input: bool = False,
) -> nn.Sequential:
    """The convolutions of a row of :data:`TABLE`, (N, in_channels, H, W) -> (N, 512, H/32, W/32).

    With ``small_input`` the first stage does not pool: 28x28 pixels then suffice.
    """
    layers: list[nn.Module] = []
    for i, stage in enumerate(stages):
        for channels in stage:
            layers.append(nn.Conv2d(in_channels, channels, kernel_size=3, padding=1))
            if batch_norm:
                layers.append(nn.BatchNorm2d(channels))
            layers.append(nn.ReLU(inplace=True))
            in_channels = channels
        # Identity holds the place, so that later layers keep their numbers.
        pool = nn.Identity() if small_input and i == 0 else nn.MaxPool2d(kernel_size=2, stride=2)
        layers.append(pool)
    return nn.Sequential(*layers)


class VGG(nn.Module):
    """Three linear layers on ``features``, whose last map has 512 channels.

    (N, C, H, W) -> (N, num_classes) scores. ``dropout`` is the probability after the first two
    linear layers. ``init_weights``: He et al. 2015 (kaiming_normal, fan_out) for convolutions,
    normal of deviation 0.01 for linear layers, biases 0; else PyTorch's defaults. ``small_input``
    averages the last map, which is 1x1 or 2x2 then, to 1x1: 7x7 would only repeat it.
    """

    def __init__(
        self,
        features: nn.Module,
        num_classes: int = 1000,
        init_weights: bool = True,
        dropout: float = 0.5,
        *,
        small_input: bool = False,
    ) -> None:
        super().__init__()
        side = 1 if small_input else 7
        self.features = features
        self.avgpool = nn.AdaptiveAvgPool2d((side, side))
        self.classifier = nn.Sequential(
            nn.Linear(512 * side * side, 4096),
            nn.ReLU(inplace=True),
            nn.Dropout(p=dropout),
            nn.Linear(4096, 4096),
            nn.ReLU(inplace=True),
            nn.Dropout(p=dropout),
            nn.Linear(4096, num_classes),
        )
        if init_weights:
            for m in self.modules():
                if isinstance(m, nn.Conv2d):
                    nn.init.kaiming_normal_(m.weight, mode="fan_out", nonlinearity="relu")
                elif isinstance(m, nn.Linear):
                    nn.init.normal_(m.weight, 0, 0.01)
                if isinstance(m, (nn.Conv2d, nn.Linear)) and m.bias is not None:
                    nn.init.zeros_(m.bias)

    def forward(self, x: Tensor) -> Tensor:
        x = self.avgpool(self.features(x))  # (N, 512, 7, 7)
        x = torch.flatten(x, 1)  # (N, 25088)
        return cast("Tensor", self.classifier(x))


def _vgg(
    name: str,
    batch_norm: bool,
    *,
    in_channels: int = 3,
    small_input: bool = False,
    **options: Any,
) -> VGG:
    features = make_layers(
        TABLE[name], batch_norm, in_channels=in_channels, small_input=small_input
    )
    return VGG(features, small_input=small_input, **options)


@architecture(input=(3, 224, 224))
def vgg11(**options: Any) -> VGG:
    """VGG-11 (A): 132,863,336 parameters. ``options``: VGG's, in_channels and small_input."""
    return _vgg("vgg11", batch_norm=False, **options)


@architecture(input=(3, 224, 224))
def vgg11_bn(**options: Any) -> VGG:
    """VGG-11 (A) with batch norm: 132,868,840 parameters. ``options`` as for :func:`vgg11`."""
    return _vgg("vgg11", batch_norm=True, **options)


@architecture(input=(3, 224, 224))
def vgg13(**options: Any) -> VGG:
    """VGG-13 (B): 133,047,848 parameters. ``options`` as for :func:`vgg11`."""
    return _vgg("vgg13", batch_norm=False, **options)


@architecture(input=(3, 224, 224))
def vgg13_bn(**options: Any) -> VGG:
    """VGG-13 (B) with batch norm: 133,053,736 parameters. ``options`` as for :func:`vgg11`."""
    return _vgg("vgg13", batch_norm=True, **options)


@architecture(input=(3, 224, 224))
def vgg16(**options: Any) -> VGG:
    """VGG-16 (D): 138,357,544 parameters. ``options`` as for :func:`vgg11`."""
    return _vgg("vgg16", batch_norm=False, **options)


@architecture(input=(3, 224, 224))
def vgg16_bn(**options: Any) -> VGG:
    """VGG-16 (D) with batch norm: 138,365,992 parameters. ``options`` as for :func:`vgg11`."""
    return _vgg("vgg16", batch_norm=True, **options)


@architecture(input=(3, 224, 224))
def vgg19(**options: Any) -> VGG:
    """VGG-19 (E): 143,667,240 parameters. ``options`` as for :func:`vgg11`."""
    return _vgg("vgg19", batch_norm=False, **options)


@architecture(input=(3, 224, 224))
def vgg19_bn(**options: Any) -> VGG:
    """VGG-19 (E) with batch norm: 143,678,248 parameters. ``options`` as for :func:`vgg11`."""
    return _vgg("vgg19", batch_norm=True, **options)
