"""The 6n+2-layer residual networks for CIFAR, plain and pre-activation ones included.

Sources: He, Zhang, Ren, Sun, "Deep Residual Learning for Image Recognition" (2015), section 4.2;
He, Zhang, Ren, Sun, "Identity Mappings in Deep Residual Networks" (2016), figures 2 and 4, table 1
and the appendix.

| layers of depth = 6n + 2 | map | channels |
|---|---|---|
| 1 convolution | 32x32 | 16 |
| 2n convolutions, n blocks (layer1) | 32x32 | 16 |
| 2n convolutions, n blocks (layer2) | 16x16 | 32 |
| 2n convolutions, n blocks (layer3) | 8x8 | 64 |
| average over the map, fully connected layer | 1x1 | num_classes |

All convolutions are 3x3; layer2 and layer3 begin with stride 2. Images of (N, in_channels, H, W) of
any size go in (28x28 and 32x32 alike: there is no ``small_input``), logits of (N, num_classes) come
out. Published networks count their shortcuts' zeros as no parameters ("option A"): 0.27 million for
20 layers, 0.46 for 32, 0.66 for 44, 0.85 for 56, 1.7 for 110, with or without shortcuts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal, cast

import minitorch_cnn as torch

from .. import nn
from ..nn import functional as F
from ..nn.modules.norm_relu import norm_relu
from ..tensor import Tensor
from .registry import architecture
from .shortcuts import make_shortcut

Norm = Callable[[int], nn.Module]


def conv3x3(in_channels: int, out_channels: int, stride: int = 1) -> nn.Conv2d:
    """Padding 1, and no bias: a norm follows."""
    return nn.Conv2d(in_channels, out_channels, kernel_size=3, stride=stride, padding=1, bias=False)


class OriginalBlock(nn.Module):
    """relu(h(x) + F(x)) with F = conv, norm, ReLU, conv, norm (2015). Without h: a plain block.

    x is (N, in_channels, H, W), the result (N, out_channels, ceil(H/stride), ceil(W/stride)).
    ``shortcut`` joins the two: a module called with x and F(x).
    """

    def __init__(
        self, in_channels: int, out_channels: int, stride: int, shortcut: nn.Module, norm: Norm
    ) -> None:
        super().__init__()
        self.conv1 = conv3x3(in_channels, out_channels, stride)
        self.bn1 = norm(out_channels)
        self.conv2 = conv3x3(out_channels, out_channels)
        self.bn2 = norm(out_channels)
        self.shortcut = shortcut

    def forward(self, x: Tensor) -> Tensor:
        branch = norm_relu(self.bn1, self.conv1(x))
        branch = self.bn2(self.conv2(branch))
        return F.relu(self.shortcut(x, branch))


class PreActBlock(nn.Module):
    """h(x) + F(x) with F = norm, ReLU, conv, norm, ReLU, conv (2016). Shapes as OriginalBlock's.

    Nothing follows the sum, so with h(x) = x the input reaches every later block unchanged, and the
    gradient of the output reaches it unchanged.
    """

    def __init__(
        self, in_channels: int, out_channels: int, stride: int, shortcut: nn.Module, norm: Norm
    ) -> None:
        super().__init__()
        self.bn1 = norm(in_channels)
        self.conv1 = conv3x3(in_channels, out_channels, stride)
        self.bn2 = norm(out_channels)
        self.conv2 = conv3x3(out_channels, out_channels)
        self.shortcut = shortcut

    def forward(self, x: Tensor) -> Tensor:
        branch = self.conv1(norm_relu(self.bn1, x))
        branch = self.conv2(norm_relu(self.bn2, branch))
        return cast("Tensor", self.shortcut(x, branch))


class CifarResNet(nn.Module):
    """A network of ``depth`` = 6n + 2 layers: 8, 14, 20, 26, 32, 38, 44, 50, 56, ..., 110.

    - ``block``: "original" (2015) or "preact" (2016). As in the 2016 paper's appendix, the first
      activation of a "preact" net stands before its first block, and another follows its last one.
    - ``shortcut``: "identity", "scale", "exclusive_gate", "shortcut_gate", "conv1x1", "dropout" or
      "none" (the plain network), in every block, with its ``shortcut_options``: see
      :func:`~minitorch_cnn.models.shortcuts.make_shortcut`. The 1x1 convolutions of "conv1x1" have
      a norm in original blocks and none in "preact" ones.
    - ``width``: channels of the first stage; the others have two and four times as many.
    - ``stem_stride``: stride of the first convolution; 2 makes the network four times cheaper.
    - ``norm_layer``: called with the channels; ``nn.Identity`` builds a network without norm.

    Convolutions start from He's normal numbers (fan out); gates and the fc layer as always.
    ValueError: ``depth`` is not 6n + 2 with n >= 1, or ``block`` or ``shortcut`` has no such name.
    """

    def __init__(
        self,
        depth: int,
        num_classes: int = 10,
        *,
        in_channels: int = 3,
        width: int = 16,
        block: Literal["original", "preact"] = "original",
        shortcut: str = "identity",
        shortcut_options: Mapping[str, Any] | None = None,
        stem_stride: int = 1,
        norm_layer: Norm = nn.BatchNorm2d,
    ) -> None:
        super().__init__()
        n, remainder = divmod(depth - 2, 6)
        if remainder or n < 1:
            below = max(1, n)
            raise ValueError(
                f"CifarResNet: depth must be 6n + 2 with n >= 1, got {depth};"
                f" near it are {6 * below + 2} and {6 * below + 8}"
            )
        if block not in ("original", "preact"):
            raise ValueError(f'CifarResNet: block must be "original" or "preact", got {block!r}')
        self.preact = block == "preact"
        self.norm_layer = norm_layer
        self.shortcut_kind, self.shortcut_options = shortcut, dict(shortcut_options or {})
        if shortcut == "conv1x1":
            self.shortcut_options.setdefault("norm_layer", None if self.preact else norm_layer)

        self.conv1 = conv3x3(in_channels, width, stem_stride)
        self.bn1 = norm_layer(width)
        self.layer1 = self._stage(n, width, width, stride=1)
        self.layer2 = self._stage(n, width, 2 * width, stride=2)
        self.layer3 = self._stage(n, 2 * width, 4 * width, stride=2)
        if self.preact:
            # The stem's activation is the first block's own, moved before the shortcut leaves.
            self.layer1[0].bn1 = nn.Identity()
            self.bn2 = norm_layer(4 * width)
        self.fc = nn.Linear(4 * width, num_classes)

        for module in self.modules():
            # A gate (the only convolution with a bias) feeds a sigmoid: He's scale is not for it.
            if isinstance(module, nn.Conv2d) and module.bias is None:
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def _stage(self, n: int, in_channels: int, out_channels: int, stride: int) -> nn.Sequential:
        """n blocks, of which the first changes the shape."""
        block = PreActBlock if self.preact else OriginalBlock
        blocks: list[nn.Module] = []
        for i in range(n):
            shape = (out_channels, out_channels, 1) if i else (in_channels, out_channels, stride)
            shortcut = make_shortcut(self.shortcut_kind, *shape, **self.shortcut_options)
            blocks.append(block(*shape, shortcut, self.norm_layer))
        return nn.Sequential(*blocks)

    def forward(self, x: Tensor) -> Tensor:
        x = norm_relu(self.bn1, self.conv1(x))  # (N, 16, 32, 32)
        x = self.layer1(x)  # (N, 16, 32, 32)
        x = self.layer2(x)  # (N, 32, 16, 16)
        x = self.layer3(x)  # (N, 64, 8, 8)
        if self.preact:
            x = norm_relu(self.bn2, x)
        x = F.adaptive_avg_pool2d(x, 1)  # (N, 64, 1, 1)
        x = torch.flatten(x, 1)  # (N, 64)
        return cast("Tensor", self.fc(x))


def cifar_resnet(depth: int, **options: Any) -> CifarResNet:
    """:class:`CifarResNet` of any depth 6n + 2, with its options."""
    return CifarResNet(depth, **options)


@architecture(input=(3, 32, 32))
def resnet20(**options: Any) -> CifarResNet:
    """20 layers, 0.27 million parameters (2015, table 6: 8.75 % error)."""
    return cifar_resnet(20, **options)


@architecture(input=(3, 32, 32))
def resnet32(**options: Any) -> CifarResNet:
    """32 layers, 0.46 million parameters (2015, table 6: 7.51 % error)."""
    return cifar_resnet(32, **options)


@architecture(input=(3, 32, 32))
def resnet44(**options: Any) -> CifarResNet:
    """44 layers, 0.66 million parameters (2015, table 6: 7.17 % error)."""
    return cifar_resnet(44, **options)


@architecture(input=(3, 32, 32))
def resnet56(**options: Any) -> CifarResNet:
    """56 layers, 0.85 million parameters (2015, table 6: 6.97 % error)."""
    return cifar_resnet(56, **options)


@architecture(input=(3, 32, 32))
def resnet110(**options: Any) -> CifarResNet:
    """110 layers, 1.7 million parameters (2015, table 6: 6.43 % error).

    The paper warms it up with a learning rate of 0.01 until the training error is below 80 %.
    """
    return cifar_resnet(110, **options)


@architecture(input=(3, 32, 32))
def plain20(**options: Any) -> CifarResNet:
    """resnet20 without its shortcuts (2015, figure 6 left)."""
    return cifar_resnet(20, shortcut="none", **options)


@architecture(input=(3, 32, 32))
def plain32(**options: Any) -> CifarResNet:
    """resnet32 without its shortcuts (2015, figure 6 left)."""
    return cifar_resnet(32, shortcut="none", **options)


@architecture(input=(3, 32, 32))
def plain44(**options: Any) -> CifarResNet:
    """resnet44 without its shortcuts (2015, figure 6 left)."""
    return cifar_resnet(44, shortcut="none", **options)


@architecture(input=(3, 32, 32))
def plain56(**options: Any) -> CifarResNet:
    """resnet56 without its shortcuts (2015, figure 6 left)."""
    return cifar_resnet(56, shortcut="none", **options)


@architecture(input=(3, 32, 32))
def plain110(**options: Any) -> CifarResNet:
    """resnet110 without its shortcuts: more than 60 % error in the 2015 paper."""
    return cifar_resnet(110, shortcut="none", **options)


@architecture(input=(3, 32, 32))
def preact_resnet20(**options: Any) -> CifarResNet:
    """20 layers in pre-activation blocks."""
    return cifar_resnet(20, block="preact", **options)


@architecture(input=(3, 32, 32))
def preact_resnet32(**options: Any) -> CifarResNet:
    """32 layers in pre-activation blocks."""
    return cifar_resnet(32, block="preact", **options)


@architecture(input=(3, 32, 32))
def preact_resnet44(**options: Any) -> CifarResNet:
    """44 layers in pre-activation blocks."""
    return cifar_resnet(44, block="preact", **options)


@architecture(input=(3, 32, 32))
def preact_resnet56(**options: Any) -> CifarResNet:
    """56 layers in pre-activation blocks."""
    return cifar_resnet(56, block="preact", **options)


@architecture(input=(3, 32, 32))
def preact_resnet110(**options: Any) -> CifarResNet:
    """110 layers in pre-activation blocks (2016, table 2: 6.37 % error)."""
    return cifar_resnet(110, block="preact", **options)
