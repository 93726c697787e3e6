"""The networks of the lecture (10: CNN, 10-1: advanced CNN), with the lecture's parameter names.

Source: Sung Kim, "ML/DL for Everyone with PyTorch", lecture 10. All but the two single layers take
(N, 1, 28, 28) images of digits and return (N, 10) log-probabilities. The slides write images as
N, H, W, C and filters as KH, KW, C, F; the code, like PyTorch, is N, C, H, W and F, C, KH, KW.
"""

from __future__ import annotations

from typing import cast

import minitorch_cnn as torch

from .. import nn
from ..nn import functional as F
from ..tensor import Tensor
from .registry import architecture


class CNN(nn.Module):
    """Lecture 10: two 5x5 convolutions and one linear layer.

    98 % on MNIST. The 320 features are 20 channels of the last 4x4 map.
    """

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 10, kernel_size=5)
        self.conv2 = nn.Conv2d(10, 20, kernel_size=5)
        self.mp = nn.MaxPool2d(2)
        self.fc = nn.Linear(320, 10)

    def forward(self, x: Tensor) -> Tensor:
        in_size = x.size(0)
        x = F.relu(self.mp(self.conv1(x)))  # (N, 10, 12, 12)
        x = F.relu(self.mp(self.conv2(x)))  # (N, 20, 4, 4)
        x = x.view(in_size, -1)  # (N, 320)
        x = self.fc(x)
        return F.log_softmax(x, dim=1)


class InceptionA(nn.Module):
    """Lecture 10-1: four branches over the same map, joined to 16 + 24 + 24 + 24 = 88 channels.

    The 1x1 convolutions in front of the larger ones reduce the channels they have to read.
    """

    def __init__(self, in_channels: int) -> None:
        super().__init__()
        self.branch1x1 = nn.Conv2d(in_channels, 16, kernel_size=1)

        self.branch5x5_1 = nn.Conv2d(in_channels, 16, kernel_size=1)
        self.branch5x5_2 = nn.Conv2d(16, 24, kernel_size=5, padding=2)

        self.branch3x3dbl_1 = nn.Conv2d(in_channels, 16, kernel_size=1)
        self.branch3x3dbl_2 = nn.Conv2d(16, 24, kernel_size=3, padding=1)
        self.branch3x3dbl_3 = nn.Conv2d(24, 24, kernel_size=3, padding=1)

        self.branch_pool = nn.Conv2d(in_channels, 24, kernel_size=1)

    def forward(self, x: Tensor) -> Tensor:
        branch1x1 = self.branch1x1(x)

        branch5x5 = self.branch5x5_1(x)
        branch5x5 = self.branch5x5_2(branch5x5)

        branch3x3dbl = self.branch3x3dbl_1(x)
        branch3x3dbl = self.branch3x3dbl_2(branch3x3dbl)
        branch3x3dbl = self.branch3x3dbl_3(branch3x3dbl)

        branch_pool = F.avg_pool2d(x, kernel_size=3, stride=1, padding=1)
        branch_pool = self.branch_pool(branch_pool)

        outputs = [branch1x1, branch5x5, branch3x3dbl, branch_pool]
        return cast("Tensor", torch.cat(outputs, 1))


class InceptionNet(nn.Module):
    """Lecture 10-1: two Inception modules between convolutions; 99 % on MNIST.

    The 1408 features are 88 channels of the last 4x4 map.
    """

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 10, kernel_size=5)
        self.conv2 = nn.Conv2d(88, 20, kernel_size=5)

        self.incept1 = InceptionA(in_channels=10)
        self.incept2 = InceptionA(in_channels=20)

        self.mp = nn.MaxPool2d(2)
        self.fc = nn.Linear(1408, 10)

    def forward(self, x: Tensor) -> Tensor:
        in_size = x.size(0)
        x = F.relu(self.mp(self.conv1(x)))  # (N, 10, 12, 12)
        x = self.incept1(x)  # (N, 88, 12, 12)
        x = F.relu(self.mp(self.conv2(x)))  # (N, 20, 4, 4)
        x = self.incept2(x)  # (N, 88, 4, 4)
        x = x.view(in_size, -1)  # (N, 1408)
        x = self.fc(x)
        return F.log_softmax(x, dim=1)


class DeeperCNN(nn.Module):
    """Exercise 10-1, "implement CNN more layers": five 3x3 convolutions and two linear layers."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 16, kernel_size=3, padding=1)
        self.conv2 = nn.Conv2d(16, 16, kernel_size=3, padding=1)
        self.conv3 = nn.Conv2d(16, 32, kernel_size=3, padding=1)
        self.conv4 = nn.Conv2d(32, 32, kernel_size=3, padding=1)
        self.conv5 = nn.Conv2d(32, 64, kernel_size=3, padding=1)
        self.mp = nn.MaxPool2d(2)
        self.fc1 = nn.Linear(576, 128)
        self.fc2 = nn.Linear(128, 10)

    def forward(self, x: Tensor) -> Tensor:
        in_size = x.size(0)
        x = F.relu(self.conv1(x))  # (N, 16, 28, 28)
        x = F.relu(self.mp(self.conv2(x)))  # (N, 16, 14, 14)
        x = F.relu(self.conv3(x))  # (N, 32, 14, 14)
        x = F.relu(self.mp(self.conv4(x)))  # (N, 32, 7, 7)
        x = F.relu(self.mp(self.conv5(x)))  # (N, 64, 3, 3)
        x = x.view(in_size, -1)  # (N, 576)
        x = F.relu(self.fc1(x))
        x = self.fc2(x)
        return F.log_softmax(x, dim=1)


class Conv5x5(nn.Module):
    """Why 1x1 convolution, first half: 5x5, 192 -> 32 channels, 120,422,400 MACs on 28x28."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(192, 32, kernel_size=5, padding=2)

    def forward(self, x: Tensor) -> Tensor:
        return cast("Tensor", self.conv(x))  # (N, 32, 28, 28)


class Bottleneck5x5(nn.Module):
    """Why 1x1 convolution, second half: through 16 channels, 12,443,648 MACs on 28x28."""

    def __init__(self) -> None:
        super().__init__()
        self.reduce = nn.Conv2d(192, 16, kernel_size=1)
        self.conv = nn.Conv2d(16, 32, kernel_size=5, padding=2)

    def forward(self, x: Tensor) -> Tensor:
        return cast("Tensor", self.conv(self.reduce(x)))  # (N, 32, 28, 28)


@architecture(input=(1, 28, 28))
def cnn() -> CNN:
    """The CNN of lecture 10."""
    return CNN()


@architecture(input=(1, 28, 28))
def inception() -> InceptionNet:
    """The Inception net of lecture 10-1."""
    return InceptionNet()


@architecture(input=(1, 28, 28))
def deeper() -> DeeperCNN:
    """The CNN of exercise 10-1."""
    return DeeperCNN()


@architecture(input=(192, 28, 28))
def conv5x5() -> Conv5x5:
    """A 5x5 convolution."""
    return Conv5x5()


@architecture(input=(192, 28, 28))
def bottleneck5x5() -> Bottleneck5x5:
    """The same through a 1x1 convolution."""
    return Bottleneck5x5()
