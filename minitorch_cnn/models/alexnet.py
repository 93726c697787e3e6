"""AlexNet: five convolutions and three linear layers, in the version for one GPU.

Krizhevsky, "One weird trick for parallelizing convolutional neural networks", 2014: the network of
Krizhevsky, Sutskever and Hinton 2012 without its two towers. Parameter names are torchvision's.
"""

from __future__ import annotations

from typing import Any, cast

import minitorch_cnn as torch

from .. import nn
from ..tensor import Tensor
from .registry import architecture


class AlexNet(nn.Module):
    """(N, in_channels, H, W) -> (N, num_classes) scores; 63x63 pixels at least.

    ``dropout`` is the probability before the first two linear layers. ``small_input`` is for 28x28
    and 32x32 images: a 3x3 convolution of stride 1 first and no first pooling, so that the maps
    have the sizes (28, 13, 6) that 224x224 images have behind the usual stem.
    """

    def __init__(
        self,
        num_classes: int = 1000,
        dropout: float = 0.5,
        *,
        in_channels: int = 3,
        small_input: bool = False,
    ) -> None:
        super().__init__()
        stem: tuple[nn.Module, nn.Module]
        if small_input:
            stem = nn.Conv2d(in_channels, 64, kernel_size=3, padding=1), nn.Identity()
        else:
            stem = (
                nn.Conv2d(in_channels, 64, kernel_size=11, stride=4, padding=2),
                nn.MaxPool2d(kernel_size=3, stride=2),
            )
        self.features = nn.Sequential(
            stem[0],  # (N, 64, 55, 55)
            nn.ReLU(inplace=True),
            stem[1],  # (N, 64, 27, 27)
            nn.Conv2d(64, 192, kernel_size=5, padding=2),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(kernel_size=3, stride=2),  # (N, 192, 13, 13)
            nn.Conv2d(192, 384, kernel_size=3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(384, 256, kernel_size=3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(256, 256, kernel_size=3, padding=1),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(kernel_size=3, stride=2),  # (N, 256, 6, 6)
        )
        self.avgpool = nn.AdaptiveAvgPool2d((6, 6))
        self.classifier = nn.Sequential(
            nn.Dropout(p=dropout),
            nn.Linear(256 * 6 * 6, 4096),
            nn.ReLU(inplace=True),
            nn.Dropout(p=dropout),
            nn.Linear(4096, 4096),
            nn.ReLU(inplace=True),
            nn.Linear(4096, num_classes),
        )

    def forward(self, x: Tensor) -> Tensor:
        x = self.avgpool(self.features(x))  # (N, 256, 6, 6)
        x = torch.flatten(x, 1)  # (N, 9216)
        return cast("Tensor", self.classifier(x))


@architecture(input=(3, 224, 224))
def alexnet(**options: Any) -> AlexNet:
    """AlexNet: 61,100,840 parameters, 0.71 GMACs. ``options`` are :class:`AlexNet`'s."""
    return AlexNet(**options)
