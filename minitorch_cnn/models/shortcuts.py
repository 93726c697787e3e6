"""Ways to join a residual block's input x and its branch F(x): identity and its rivals.

Source: He, Zhang, Ren, Sun, "Identity Mappings in Deep Residual Networks" (2016), section 3,
figure 2 and table 1; "none" is the plain network of their "Deep Residual Learning" (2015).

Every module here is called as ``shortcut(x, branch)``, with x of shape (N, in_channels, H, W) and
branch = F(x) of shape (N, out_channels, ceil(H/stride), ceil(W/stride)), and returns a tensor of
branch's shape. The activation f that may follow belongs to the block: table 1 was measured on the
original, post-activation blocks (f = ReLU; F ends in batch norm). A pre-activation block
(f = identity) passes its raw input, not the normalised one, as x; then the factors before x
multiply through L blocks to what reaches the first x's gradient directly: 1 for identity, scale^L
for a scale.

Where the shape changes, "x" in the formulas is the parameter-free option A of the 2015 paper
(section 3.3): every stride-th pixel, and zeros for the new channels. A block that has a projection
of its own passes the projected x and asks for a shortcut of out_channels to out_channels.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, cast

import minitorch_cnn as torch

from .. import nn
from ..nn import functional as F
from ..tensor import Tensor


class IdentityShortcut(nn.Module):
    """y = x + F. Table 1: 6.61 % error (CIFAR-10, ResNet-110), the best of all. No parameters."""

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1) -> None:
        super().__init__()
        if in_channels > out_channels:
            raise ValueError(
                f"{type(self).__name__}: cannot pad {in_channels} channels to {out_channels};"
                ' only shortcut="conv1x1" can reduce them'
            )
        self.stride = stride
        self.new_channels = out_channels - in_channels

    def match(self, x: Tensor) -> Tensor:
        """x in the shape of the branch."""
        if self.stride != 1:
            x = x[:, :, :: self.stride, :: self.stride]
        if self.new_channels:
            x = F.pad(x, (0, 0, 0, 0, 0, self.new_channels))
        return x

    def forward(self, x: Tensor, branch: Tensor) -> Tensor:
        return self.match(x) + branch


class ScaleShortcut(IdentityShortcut):
    """y = scale * x + branch_scale * F, both constants. No parameters.

    Table 1: 0.5 and 1 did not converge, 0.5 and 0.5 ("frozen gating") reached 12.35 %.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        stride: int = 1,
        scale: float = 0.5,
        branch_scale: float = 1.0,
    ) -> None:
        super().__init__(in_channels, out_channels, stride)
        self.scale = scale
        self.branch_scale = branch_scale

    def forward(self, x: Tensor, branch: Tensor) -> Tensor:
        return self.scale * self.match(x) + self.branch_scale * branch

    def extra_repr(self) -> str:
        return f"scale={self.scale}, branch_scale={self.branch_scale}"


class ShortcutGate(IdentityShortcut):
    """y = (1 - g) * x + F with g = sigmoid(W x + b), W a 1x1 convolution: "shortcut-only gating".

    ``gate_bias`` is b at the start. Table 1: 12.86 % with 0; 6.91 % with -6, where 1 - g is 0.998,
    nearly the identity. An initialisation of the network must leave this bias alone.
    """

    def __init__(
        self, in_channels: int, out_channels: int, stride: int = 1, gate_bias: float = -6.0
    ) -> None:
        super().__init__(in_channels, out_channels, stride)
        self.gate = nn.Conv2d(in_channels, out_channels, kernel_size=1, stride=stride)
        if self.gate.bias is not None:
            nn.init.constant_(self.gate.bias, gate_bias)

    def forward(self, x: Tensor, branch: Tensor) -> Tensor:
        g = torch.sigmoid(self.gate(x))
        return cast("Tensor", (1 - g) * self.match(x) + branch)


class ExclusiveGate(ShortcutGate):
    """y = (1 - g) * x + g * F with g = sigmoid(W x + b): the gate of a highway network.

    Table 1: 8.70 % with ``gate_bias`` -6, 9.81 % with -7, no convergence from 0 to -5.
    """

    def forward(self, x: Tensor, branch: Tensor) -> Tensor:
        g = torch.sigmoid(self.gate(x))
        return cast("Tensor", (1 - g) * self.match(x) + g * branch)


class ConvShortcut(nn.Module):
    """y = norm(W x) + F, W a 1x1 convolution with the block's stride. Table 1: 12.22 %.

    ``norm_layer=None`` leaves the norm out, as pre-activation blocks do. This is option C of the
    first paper when every block has it.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        stride: int = 1,
        norm_layer: Callable[..., nn.Module] | None = nn.BatchNorm2d,
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, kernel_size=1, stride=stride, bias=False)
        self.norm = nn.Identity() if norm_layer is None else norm_layer(out_channels)

    def forward(self, x: Tensor, branch: Tensor) -> Tensor:
        return cast("Tensor", self.norm(self.conv(x)) + branch)


class DropoutShortcut(IdentityShortcut):
    """y = dropout(x) + F, elementwise with probability p. Table 1: no convergence with 0.5.

    Like every nn.Dropout it divides what it keeps by 1 - p, and in eval mode it is the identity.
    """

    def __init__(
        self, in_channels: int, out_channels: int, stride: int = 1, p: float = 0.5
    ) -> None:
        super().__init__(in_channels, out_channels, stride)
        self.dropout = nn.Dropout(p)

    def forward(self, x: Tensor, branch: Tensor) -> Tensor:
        return cast("Tensor", self.dropout(self.match(x)) + branch)


class NoShortcut(nn.Module):
    """y = F: the plain network. No parameters."""

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1) -> None:
        super().__init__()

    def forward(self, x: Tensor, branch: Tensor) -> Tensor:
        return branch


SHORTCUTS: Mapping[str, Callable[..., nn.Module]] = MappingProxyType(
    {
        "identity": IdentityShortcut,
        "scale": ScaleShortcut,
        "exclusive_gate": ExclusiveGate,
        "shortcut_gate": ShortcutGate,
        "conv1x1": ConvShortcut,
        "dropout": DropoutShortcut,
        "none": NoShortcut,
    }
)


def make_shortcut(
    kind: str, in_channels: int, out_channels: int, stride: int = 1, **options: Any
) -> nn.Module:
    """The module ``(x, branch) -> y`` of one kind, for a block of these channels and stride.

    | kind | y | options | parameters |
    |---|---|---|---|
    | identity | x + F | | none |
    | scale | scale x + branch_scale F | scale=0.5, branch_scale=1.0 | none |
    | exclusive_gate | (1 - g(x)) x + g(x) F | gate_bias=-6.0 | gate.weight, gate.bias |
    | shortcut_gate | (1 - g(x)) x + F | gate_bias=-6.0 | gate.weight, gate.bias |
    | conv1x1 | norm(W x) + F | norm_layer=nn.BatchNorm2d | conv.weight, norm.* |
    | dropout | dropout(x) + F | p=0.5 | none |
    | none | F | | none |

    ValueError for an unknown kind, or fewer output than input channels; TypeError for an option
    that the kind does not have.
    """
    if kind not in SHORTCUTS:
        raise ValueError(f"no shortcut {kind!r}; there are: {', '.join(SHORTCUTS)}")
    return SHORTCUTS[kind](in_channels, out_channels, stride, **options)
