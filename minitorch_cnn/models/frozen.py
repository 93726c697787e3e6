"""Parts of networks that do less work where nothing records a graph: ``fuse`` puts them there."""

from __future__ import annotations

from ..grad_mode import mode
from ..kernels.backend import empty
from ..nn.utils.frozen import FROZEN, NEEDS_RELU, FrozenBatchNorm2d, on_cpu_without_graph, rectified
from ..ops.basic import add_relu
from ..tensor import Tensor
from .densenet import _DenseBlock, _DenseLayer
from .shortcuts import IdentityShortcut


class FrozenIdentityShortcut(IdentityShortcut):
    """y = max(x + F, 0)."""

    def forward(self, x: Tensor, branch: Tensor) -> Tensor:
        x = self.match(x)
        if x.shape != branch.shape or not on_cpu_without_graph(x, branch):
            return x + branch
        return rectified(add_relu(x, branch))


class FrozenDenseLayer(_DenseLayer):
    """A layer that reads maps which are joined already, in a part of larger ones."""

    def bottleneck(self, *features: Tensor) -> Tensor:
        if len(features) > 1 or type(self.norm1) is not FrozenBatchNorm2d:
            return super().bottleneck(*features)
        # norm1 reads the part where it lies, and only its result is written to.
        y: Tensor = self.conv1(self.relu1(self.norm1(features[0])))
        return y


class FrozenDenseBlock(_DenseBlock):
    """Each layer's maps are written once, to the place where later layers read them: what is
    copied grows with the depth, not with its square."""

    def forward(self, init_features: Tensor) -> Tensor:
        layers = list(self.values())
        if self.training or mode.grad or not on_cpu_without_graph(init_features):
            return super().forward(init_features)
        N, C, H, W = init_features.shape
        growth = sum(layer.conv2.out_channels for layer in layers)
        joined = empty((N, C + growth, H, W), init_features.array, op="cat")
        joined[:, :C] = init_features.array
        for layer in layers:
            new = layer(Tensor._wrap(joined[:, :C])).array
            joined[:, C : C + new.shape[1]] = new
            C += new.shape[1]
        return Tensor._wrap(joined)


FROZEN[IdentityShortcut] = FrozenIdentityShortcut
FROZEN[_DenseLayer] = FrozenDenseLayer
FROZEN[_DenseBlock] = FrozenDenseBlock
NEEDS_RELU.add(IdentityShortcut)
