"""Whole networks as scripts write them, trained step by step beside PyTorch from equal weights."""

from __future__ import annotations

import functools
from collections import OrderedDict
from typing import Any

import numpy as np
import pytest
import torch

import minitorch_cnn as mt

from .compare import close, ours, theirs


def old_style(t: Any) -> Any:
    nn, F = t.nn, t.nn.functional

    class Net(nn.Module):
        def __init__(self) -> None:
            super(Net, self).__init__()  # noqa: UP008
            self.conv1 = nn.Conv2d(3, 6, kernel_size=3)
            self.conv2 = nn.Conv2d(6, 8, kernel_size=3)
            self.mp = nn.MaxPool2d(2)
            self.fc = nn.Linear(8 * 4, 5)

        def forward(self, x: Any) -> Any:
            in_size = x.size(0)
            x = F.relu(self.mp(self.conv1(x)))
            x = F.relu(self.mp(self.conv2(x)))
            x = x.view(in_size, -1)
            return F.log_softmax(self.fc(x), dim=1)

    return Net()


def residual(t: Any) -> Any:
    nn = t.nn

    class Block(nn.Module):
        def __init__(self, cin: int, cout: int, stride: int, norm: Any) -> None:
            super().__init__()
            self.conv1 = nn.Conv2d(cin, cout, 3, stride, 1, bias=False)
            self.bn1 = norm(cout)
            self.relu = nn.ReLU(inplace=True)
            self.conv2 = nn.Conv2d(cout, cout, 3, 1, 1, bias=False)
            self.bn2 = norm(cout)
            self.downsample = None
            if stride != 1 or cin != cout:
                self.downsample = nn.Sequential(nn.Conv2d(cin, cout, 1, stride), norm(cout))

        def forward(self, x: Any) -> Any:
            identity = x if self.downsample is None else self.downsample(x)
            out = self.relu(self.bn1(self.conv1(x)))
            out = self.bn2(self.conv2(out))
            out += identity
            return self.relu(out)

    norm = functools.partial(nn.BatchNorm2d, eps=1e-3, momentum=0.2)
    layers = [Block(3, 4, 1, norm), Block(4, 6, 2, norm), Block(6, 6, 1, norm)]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 5))


def dense(t: Any) -> Any:
    nn = t.nn

    class Layer(nn.Sequential):
        def __init__(self, cin: int, growth: int) -> None:
            super().__init__()
            self.add_module("norm", nn.BatchNorm2d(cin))
            self.add_module("relu", nn.ReLU(inplace=True))
            self.add_module("conv", nn.Conv2d(cin, growth, 3, padding=1, bias=False))

        def forward(self, x: Any) -> Any:
            return t.cat([x, super().forward(x)], 1)

    features = OrderedDict(
        conv0=nn.Conv2d(3, 4, 3), dense1=Layer(4, 3), dense2=Layer(7, 3),
        pool=nn.AvgPool2d(2, 2), norm=nn.BatchNorm2d(10),
    )  # fmt: skip

    class DenseNet(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.features = nn.Sequential(features)
            self.classifier = nn.Linear(10, 5)

        def forward(self, x: Any) -> Any:
            y = t.nn.functional.relu(self.features(x), inplace=True)
            return self.classifier(t.flatten(t.nn.functional.adaptive_avg_pool2d(y, (1, 1)), 1))

    return DenseNet()


def squeeze_excite(t: Any) -> Any:
    nn = t.nn

    class SqueezeExcite(nn.Module):
        def __init__(self, channels: int) -> None:
            super().__init__()
            self.fc = nn.Sequential(
                nn.Linear(channels, 2), nn.ReLU(inplace=True), nn.Linear(2, channels), nn.Sigmoid()
            )

        def forward(self, x: Any) -> Any:
            n, c = x.shape[:2]
            return x * self.fc(x.mean((2, 3))).view(n, c, 1, 1)

    return nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2), nn.BatchNorm2d(8), nn.Hardswish(inplace=True),
        nn.Conv2d(8, 8, 3, groups=8, padding=1), SqueezeExcite(8), nn.Conv2d(8, 4, 1),
        nn.ReLU6(inplace=True), nn.Flatten(), nn.Linear(4 * 5 * 4, 5),
    )  # fmt: skip


def shuffle(t: Any) -> Any:
    nn = t.nn

    def channel_shuffle(x: Any, groups: int) -> Any:
        n, c, h, w = x.size()
        x = x.view(n, groups, c // groups, h, w)
        return t.transpose(x, 1, 2).contiguous().view(n, -1, h, w)

    class Unit(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.branch = nn.Sequential(
                nn.Conv2d(4, 4, 1, bias=False), nn.BatchNorm2d(4), nn.ReLU(),
                nn.Conv2d(4, 4, 3, padding=1, groups=4, bias=False), nn.BatchNorm2d(4),
            )  # fmt: skip

        def forward(self, x: Any) -> Any:
            a, b = x.chunk(2, dim=1)
            return channel_shuffle(t.cat((a, self.branch(b)), dim=1), 2)

    return nn.Sequential(
        nn.Conv2d(3, 8, 3, 2), Unit(), Unit(), nn.PReLU(8), nn.ChannelShuffle(4),
        nn.AdaptiveMaxPool2d((2, 1)), nn.Flatten(1), nn.Linear(16, 5),
    )  # fmt: skip


def unet(t: Any) -> Any:
    nn = t.nn

    class UNet(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            conv = functools.partial(nn.Conv2d, kernel_size=3, padding=1)
            self.down = nn.ModuleList([conv(3, 4), conv(4, 6)])
            self.up = nn.ConvTranspose2d(6, 4, 2, stride=2)
            self.smooth = nn.Upsample(scale_factor=2, mode="bilinear")
            self.norms = nn.ModuleDict({"in": nn.InstanceNorm2d(4, affine=True)})
            self.norms["group"] = nn.GroupNorm(3, 6)
            self.scale = nn.Parameter(t.ones(1))
            self.head = nn.Linear(4, 5)

        def forward(self, x: Any) -> Any:
            skip = nn.functional.silu(self.norms["in"](self.down[0](x)))
            y = self.norms["group"](self.down[1](nn.functional.max_pool2d(skip, 2)))
            y = self.up(y) + self.smooth(y)[:, :4] * self.scale + skip
            return self.head(y.mean(dim=[-1, -2]))

    return UNet()


NETWORKS = [old_style, residual, dense, squeeze_excite, shuffle, unet]


@pytest.mark.parametrize("make", NETWORKS, ids=[f.__name__ for f in NETWORKS])
def test_trains_as_pytorch(make: Any) -> None:
    """Four steps of gradient descent: losses, then every weight and buffer, then evaluation."""
    mine, reference = make(mt).double(), make(torch).double()
    assert repr(mine) == repr(reference)
    mine.load_state_dict(reference.state_dict())
    rng = np.random.default_rng(0)
    h, w = (12, 10) if make in (unet, squeeze_excite) else (11, 12)
    if make is old_style:
        h, w = 14, 15
    for _ in range(4):
        x, y = rng.standard_normal((4, 3, h, w)), rng.integers(0, 5, 4)
        losses = []
        for t, net, make_tensor in ((mt, mine, ours), (torch, reference, theirs)):
            net.zero_grad()
            loss = t.nn.CrossEntropyLoss()(net(make_tensor(x)), make_tensor(y))
            loss.backward()
            with t.no_grad():
                for p in net.parameters():
                    p -= 0.05 * p.grad
            losses.append(loss)
        close(losses[0], losses[1], rtol=1e-8)
    state = reference.state_dict()
    assert list(mine.state_dict()) == list(state)
    for key, value in mine.state_dict().items():
        close(value, state[key], key, rtol=1e-6)
    with mt.no_grad(), torch.no_grad():
        close(mine.eval()(ours(x)), reference.eval()(theirs(x)), rtol=1e-6)
