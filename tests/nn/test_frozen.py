"""Layers of a fused network: the ReLU in the same pass, and weights that are packed once."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import minitorch_cnn as mt
from minitorch_cnn import models, nn
from minitorch_cnn.kernels import backend, implicit_gemm, winograd
from minitorch_cnn.models.frozen import (
    FrozenIdentityShortcut,
)
from minitorch_cnn.nn import functional as F
from minitorch_cnn.nn.utils import frozen
from minitorch_cnn.nn.utils.frozen import FrozenBatchNorm2d, FrozenConv2d

from .compare import ours, theirs

RNG = np.random.default_rng(0)
# Computed by winograd, by implicit_gemm, by pointwise, and by depthwise.
CONVOLUTIONS = {
    "winograd": {"in_channels": 32, "out_channels": 32, "kernel_size": 3, "padding": 1},
    "implicit_gemm": {"in_channels": 16, "out_channels": 24, "kernel_size": 3, "stride": 2},
    "pointwise": {"in_channels": 8, "out_channels": 6, "kernel_size": 1, "bias": False},
    "depthwise": {"in_channels": 8, "out_channels": 8, "kernel_size": 3, "groups": 8},
}


class ConvReLU(nn.Module):
    """A convolution with a ReLU of the functional kind, as Inception v3 has them."""

    def __init__(self, **settings: Any) -> None:
        super().__init__()
        self.conv = nn.Conv2d(**settings)

    def forward(self, x: mt.Tensor) -> mt.Tensor:
        return F.relu(self.conv(x), inplace=True)


def images(channels: int, size: int = 9, dtype: str = "f4") -> mt.Tensor:
    return ours(RNG.standard_normal((2, channels, size, size)).astype(dtype))


def predict(model: nn.Module, x: mt.Tensor) -> Any:
    with mt.no_grad():
        return model(x).array


def in_pytorch(conv: nn.Conv2d, x: mt.Tensor) -> Any:
    y = torch.nn.functional.conv2d(
        theirs(x.array), theirs(conv.weight.detach().array),
        None if conv.bias is None else theirs(conv.bias.detach().array),
        conv.stride, conv.padding, conv.dilation, conv.groups,
    )  # fmt: skip
    return y.clamp_min(0).numpy()


def close(a: Any, b: Any, rtol: float = 1e-5) -> None:
    assert np.abs(a - b).max() <= rtol * np.abs(b).max()


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_a_convolution_applies_its_relu(name: str, dtype: str, monkeypatch: Any) -> None:
    model = ConvReLU(**CONVOLUTIONS[name]).to(mt.float64 if dtype == "f8" else mt.float32)
    x = images(model.conv.in_channels, dtype=dtype)
    fused = mt.fuse(model, x)
    assert type(fused.conv) is FrozenConv2d
    assert fused.conv.relu
    assert "relu=True" in repr(fused)
    assert type(model.conv) is nn.Conv2d
    want = in_pytorch(model.conv, x)
    assert (want == 0).any()
    monkeypatch.setattr(frozen.conv, "conv2d", None)  # nothing but the frozen op is called
    for _ in range(2):
        y = predict(fused, x)
        close(y, want)
        assert y.dtype == dtype
    other = images(model.conv.in_channels, size=12, dtype=dtype)
    close(predict(fused, other), in_pytorch(model.conv, other))
    nan = ours(np.full(x.shape, np.nan, dtype))
    assert np.isnan(predict(fused, nan)).all()


def counting(monkeypatch: Any) -> list[str]:
    made: list[str] = []
    for module, name in ((winograd, "transform_weight"), (implicit_gemm, "pack_weights")):
        make = getattr(module, name)
        monkeypatch.setattr(
            module, name, lambda *a, make=make, name=name: made.append(name) or make(*a)
        )
    return made


def load(conv: nn.Conv2d) -> None:
    state = {k: mt.randn(*v.shape) for k, v in conv.state_dict().items()}
    conv.load_state_dict(state)


def descend(conv: nn.Conv2d) -> None:
    conv.weight.grad = mt.ones(*conv.weight.shape)
    mt.optim.SGD([conv.weight], lr=0.1).step()


def replace_data(conv: nn.Conv2d) -> None:
    conv.weight.data = conv.weight.data * 2


def replace(conv: nn.Conv2d) -> None:
    conv.weight = nn.Parameter(mt.randn(*conv.weight.shape), requires_grad=False)


def multiply(conv: nn.Conv2d) -> None:
    conv.weight.mul_(-1)


def of_a_part(conv: nn.Conv2d) -> None:
    conv.weight[0].zero_()


def of_what_is_detached(conv: nn.Conv2d) -> None:
    conv.weight.detach().add_(1)


def initialise(conv: nn.Conv2d) -> None:
    nn.init.kaiming_normal_(conv.weight)


@pytest.mark.skipif(backend.cpu_backend == "numpy", reason="im2col packs nothing")
@pytest.mark.parametrize(
    "change",
    [load, descend, replace_data, replace, multiply, of_a_part, of_what_is_detached, initialise],
)
@pytest.mark.parametrize("name", ["winograd", "implicit_gemm"])
def test_weights_are_packed_once_until_they_change(
    name: str, change: Callable[[nn.Conv2d], None], monkeypatch: Any
) -> None:
    made = counting(monkeypatch)
    model = ConvReLU(**CONVOLUTIONS[name])
    x = images(model.conv.in_channels)
    fused = mt.fuse(model, x)
    made.clear()
    for _ in range(3):
        predict(fused, x)
    assert len(made) == 1
    change(fused.conv)
    for _ in range(2):
        close(predict(fused, x), in_pytorch(fused.conv, x))
    assert len(made) == 2


def test_copies_keep_what_is_made_of_their_own_weights() -> None:
    model = ConvReLU(**CONVOLUTIONS["winograd"])
    x = images(32)
    fused = mt.fuse(model, x)
    before = predict(fused, x)
    for twin in (copy.deepcopy(fused), pickle.loads(pickle.dumps(fused))):
        assert type(twin.conv) is FrozenConv2d
        twin.conv.weight.array[...] = 0.5  # before it has predicted: even this counts
        close(predict(twin, x), in_pytorch(twin.conv, x))
    np.testing.assert_array_equal(predict(fused, x), before)


def test_gradients_autocast_and_training_are_those_of_plain_layers() -> None:
    model = nn.Sequential(
        nn.BatchNorm2d(3), nn.ReLU(inplace=True), nn.Conv2d(3, 4, 3), nn.ReLU(inplace=True)
    )
    model[0].running_mean.array[...] = 0.3
    x = images(3)
    fused = mt.fuse(model, x)
    assert [type(m) for m in fused][::2] == [FrozenBatchNorm2d, FrozenConv2d]
    plain = model.eval()
    gradients = []
    for net in (plain, fused):
        seen = x.clone().requires_grad_()
        net(seen).sum().backward()
        gradients.append(seen.grad.array)
    close(*gradients)
    close(predict(fused, x), predict(plain, x))
    with mt.autocast("cpu", dtype=mt.float16):
        close(predict(fused, x), predict(plain, x), 1e-2)
    plain.train()
    fused.train()
    close(predict(fused, x), predict(plain, x))
    close(fused[0].running_mean.array, plain[0].running_mean.array)


class Reads(nn.Module):
    """Looks at what its convolution returned, in some way, before the ReLU."""

    def __init__(self, look: Callable[[mt.Tensor], Any]) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 3, 3)
        self.look = look

    def forward(self, x: mt.Tensor) -> mt.Tensor:
        y = self.conv(x)
        seen = self.look(y)
        return F.relu(y, inplace=True) + (0 if seen is None else seen)


@pytest.mark.parametrize(
    "look",
    [
        lambda y: y.mean(),
        lambda y: (y.sub_(0.1), None)[1],
        F.relu,
        lambda y: y[:, :1].clone(),
    ],
)
def test_a_result_that_is_used_before_the_relu_is_left(look: Any) -> None:
    model = Reads(look).eval()
    x = images(2)
    fused = mt.fuse(model, x)
    assert type(fused.conv) is FrozenConv2d
    assert not fused.conv.relu
    close(predict(fused, x), predict(model, x))


def test_a_relu_of_what_was_written_to_since_is_no_other_than_usual() -> None:
    conv = nn.Sequential(nn.Conv2d(2, 3, 3), nn.ReLU(inplace=True))
    x = images(2)
    fused = mt.fuse(conv, x)[0]
    with mt.no_grad():
        y = fused(x)
        assert (y.array >= 0).all()
        y.sub_(0.2)
        assert (y.array < 0).any()
        assert (F.relu(y, inplace=True).array >= 0).all()
        again = fused(x)
        assert F.relu(again) is not again  # a new one, as ever
        assert F.relu(again, inplace=True) is again


def test_layers_with_hooks_or_two_ways_on_are_left() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 3, 3, padding=1)

        def forward(self, x: mt.Tensor) -> mt.Tensor:
            return self.conv(F.relu(self.conv(x), inplace=True))

    x = images(3)
    model = Twice().eval()
    fused = mt.fuse(model, x)
    assert not fused.conv.relu
    close(predict(fused, x), predict(model, x))

    hooked = nn.Sequential(nn.Conv2d(3, 3, 3), nn.ReLU(inplace=True))
    hooked[0].register_forward_hook(lambda m, args, y: None)
    assert type(mt.fuse(hooked, x)[0]) is nn.Conv2d


def test_residual_sums_apply_their_relu() -> None:
    x = images(3, size=32)
    model = models.resnet18(num_classes=10, small_input=True).eval()
    for m in model.modules():
        if isinstance(m, nn.BatchNorm2d):
            m.running_mean.array[...] = RNG.normal(0, 0.2, m.running_mean.shape)
    fused = mt.fuse(model, x)
    shortcuts = [m for m in fused.modules() if type(m) is FrozenIdentityShortcut]
    assert len(shortcuts) == 8
    assert all(m.relu for m in fused.modules() if type(m) is FrozenConv2d) is False  # conv2
    assert fused.layer1[0].conv1.relu
    assert not fused.layer1[0].conv2.relu
    close(predict(fused, x), predict(model, x), 1e-4)
    a, b = RNG.standard_normal((2, 3, 4)).astype("f4"), np.full((2, 3, 4), np.nan, "f4")
    with mt.no_grad():
        add = shortcuts[0]
        np.testing.assert_array_equal(add(ours(a), ours(a)).array, np.maximum(a + a, 0))
        assert np.isnan(add(ours(a), ours(b)).array).all()
        assert add(ours(a), ours(a.astype("f8"))).array.min() < 0  # the plain sum


def test_densenets_norms_apply_their_relu() -> None:
    model = models.densenet_bc40_k12().eval()
    x = images(3, size=32)
    for m in model.modules():
        if isinstance(m, nn.BatchNorm2d):
            m.running_mean.array[...] = RNG.normal(0, 0.2, m.running_mean.shape)
    fused = mt.fuse(model, x)
    kinds = [type(m) for m in fused.modules() if isinstance(m, nn.BatchNorm2d)]
    assert kinds == [FrozenBatchNorm2d] * (3 * 6 + 2 + 1)  # layers, transitions, the last
    close(predict(fused, x), predict(model, x), 1e-4)

    weights = [net.features.denseblock1.denselayer1.conv2.weight for net in (fused, model)]
    weights[0].requires_grad_(True)  # of this one alone
    for net in (fused, model):
        net(x).sum().backward()
    close(weights[0].grad.array, weights[1].grad.array, 1e-3)
    block = fused.features.denseblock2
    block.denselayer1.norm1.weight.data = block.denselayer1.norm1.weight.data * 2
    model.features.denseblock2.denselayer1.norm1.weight.data *= 2
    close(predict(fused, x), predict(model, x), 1e-4)
