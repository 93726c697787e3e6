"""Batch norm folded into what feeds it: PyTorch's functions, and fuse(model) on whole networks."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

import minitorch_cnn as mt
from minitorch_cnn import models, nn
from minitorch_cnn.nn import functional as F
from minitorch_cnn.nn import utils

from .compare import copy_state, ours, theirs

RNG = np.random.default_rng(0)


def lively(model: nn.Module) -> nn.Module:
    """With statistics, scales and shifts as training leaves them: no 0, no 1."""
    rng = np.random.default_rng(1)
    for m in model.modules():
        if isinstance(m, (nn.BatchNorm1d, nn.BatchNorm2d)):
            for t, low, high in ((m.running_mean, -0.5, 0.5), (m.running_var, 0.5, 2),
                                 (m.weight, 0.5, 1.5), (m.bias, -0.5, 0.5)):  # fmt: skip
                if t is not None:
                    t.array[...] = rng.uniform(low, high, t.shape)
    return model


def predict(model: nn.Module, *inputs: Any) -> Any:
    with mt.no_grad():
        return model(*inputs).array


def norms(model: nn.Module) -> int:
    return sum(isinstance(m, (nn.BatchNorm1d, nn.BatchNorm2d)) for m in model.modules())


def same(a: Any, b: Any, rtol: float = 1e-5) -> None:
    assert np.abs(a - b).max() <= rtol * np.abs(b).max()


# PyTorch's functions


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("features", [5, 1])
def test_linear_and_norm_as_in_pytorch(features: int, bias: bool) -> None:
    pairs = [
        (nn.Linear(3, 5, bias=bias).double(), torch.nn.Linear(3, 5, bias=bias).double()),
        (nn.BatchNorm1d(features).double(), torch.nn.BatchNorm1d(features).double()),
    ]
    lively(pairs[1][0])
    for mine, want in pairs:
        copy_state(mine, want)
    (linear, their_linear), (bn, their_bn) = pairs
    with pytest.raises(AssertionError, match="eval"):
        utils.fuse_linear_bn_eval(linear, bn)
    fused = utils.fuse_linear_bn_eval(linear.eval(), bn.eval())
    want = torch.nn.utils.fuse_linear_bn_eval(their_linear.eval(), their_bn.eval())
    x = RNG.standard_normal((4, 3))
    np.testing.assert_allclose(
        predict(fused, ours(x)), want(theirs(x)).detach().numpy(), rtol=1e-12
    )
    assert fused.weight.requires_grad == want.weight.requires_grad
    assert fused.bias.requires_grad == want.bias.requires_grad == bias


@pytest.mark.parametrize("make", [nn.Conv1d, nn.ConvTranspose2d])
def test_conv_weights_as_in_pytorch(make: Any) -> None:
    transpose = make is nn.ConvTranspose2d
    conv = make(4, 6, 3)
    bn = lively(nn.BatchNorm2d(6)).eval()
    arrays = [conv.weight, conv.bias, bn.running_mean, bn.running_var, bn.weight, bn.bias]
    w, b, mean, var, gain, shift = (theirs(t.detach().array) for t in arrays)
    mine = utils.fuse_conv_bn_weights(*arrays[:4], bn.eps, *arrays[4:], transpose=transpose)
    want = torch.nn.utils.fuse_conv_bn_weights(
        w, b, mean, var, bn.eps, gain, shift, transpose=transpose
    )
    for a, t in zip(mine, want, strict=True):
        np.testing.assert_allclose(a.array, t.detach().numpy(), rtol=1e-5, atol=1e-7)
        assert a.array.dtype == np.float32
        assert isinstance(a, nn.Parameter)


def test_what_cannot_be_fused_is_refused() -> None:
    linear = nn.Linear(3, 5).eval()
    with pytest.raises(AssertionError, match=r"linear\.out_features=5 and bn\.num_features=4"):
        utils.fuse_linear_bn_eval(linear, nn.BatchNorm1d(4).eval())
    bare = nn.BatchNorm1d(5, track_running_stats=False).eval()
    with pytest.raises(AssertionError, match="running"):
        utils.fuse_linear_bn_eval(linear, bare)
    with pytest.raises(TypeError, match="inputs"):
        mt.fuse(nn.Sequential(nn.Conv2d(1, 1, 1)))
    with pytest.raises(TypeError, match="Module"):
        mt.fuse(len, ours(np.zeros(1)))


# Whole networks

# ResNet-18: 8 blocks of 2 convolutions, 3 projections, the stem. ResNet-50: 16 blocks of 3, 4, 1.
# DenseNet-121: each of the 58 layers has a norm before conv1 (not folded) and one between conv1 and
# conv2, and the stem has one; left are norm1 of 58, 3 transitions, and the last.
# MobileNet v2: stem, 17 blocks of 3 convolutions, the first without expansion, and the last layer.
# GoogLeNet (eval: without its two auxiliary heads): 3 before the blocks, 9 blocks of 6.
# Inception v3: 5 in the stem; 3 x 7, 4, 4 x 10, 6, 2 x 9.
NETWORKS = {
    "resnet18": (models.resnet18, (3, 64, 64), 8 * 2 + 3 + 1, 0),
    "resnet50": (models.resnet50, (3, 32, 32), 16 * 3 + 4 + 1, 0),
    "densenet121": (models.densenet121, (3, 32, 32), 58 + 1, 58 + 3 + 1),
    "mobilenet_v2": (models.mobilenet_v2, (3, 32, 32), 1 + 17 * 3 - 1 + 1, 0),
    "googlenet": (models.googlenet, (3, 64, 64), 3 + 9 * 6, 2),
    "inception_v3": (models.inception_v3, (3, 80, 80), 5 + 3 * 7 + 4 + 4 * 10 + 6 + 2 * 9, 2),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_networks(name: str) -> None:
    build, shape, folded, left = NETWORKS[name]
    mt.manual_seed(0)
    model = lively(build(num_classes=10))
    x = ours(RNG.standard_normal((2, *shape)).astype("f4"))
    before = {k: v.clone() for k, v in model.state_dict().items()}
    fused = mt.fuse(model, x)

    assert norms(model) == folded + left
    assert norms(fused) == left
    assert model.training
    assert not any(p.requires_grad for p in fused.parameters())
    assert all(p.requires_grad for p in model.parameters())
    assert all(mt.equal(v, before[k]) for k, v in model.state_dict().items())
    assert model.state_dict().keys() == before.keys()
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in fused.modules())
    assert not any(m.training for m in fused.modules())
    want = predict(model.eval(), x)
    same(predict(fused, x), want)

    other = mt.fuse(lively(build(num_classes=10)), x)
    other.load_state_dict(fused.state_dict())
    np.testing.assert_array_equal(predict(other, x), predict(fused, x))


def test_layers_of_signals_features_and_transposes() -> None:
    model = nn.Sequential(
        nn.Conv1d(3, 4, 3), nn.BatchNorm1d(4, affine=False), nn.ReLU(), nn.Flatten(),
        nn.Linear(24, 6, bias=False), nn.BatchNorm1d(6), nn.Unflatten(1, (6, 1, 1)),
        nn.ConvTranspose2d(6, 5, 3), nn.BatchNorm2d(5),
        nn.Conv2d(5, 4, 3, padding=1, padding_mode="reflect"), nn.BatchNorm2d(4),
    ).double()  # fmt: skip
    lively(model)
    x = ours(RNG.standard_normal((2, 3, 8)))
    fused = mt.fuse(model, x)
    assert norms(fused) == 0
    same(predict(fused, x), predict(model.eval(), x), 1e-12)


def test_half_precision_keeps_its_dtype() -> None:
    model = lively(nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))).half()
    x = ours(RNG.standard_normal((1, 3, 5, 5)).astype("f2"))
    fused = mt.fuse(model, x)
    assert fused[0].weight.dtype == fused[0].bias.dtype == mt.float16
    same(predict(fused, x), predict(model.eval(), x), 4e-3)


# What has to stay as it is


class Net(nn.Module):
    """conv, bn and what a test's function does with them."""

    def __init__(self, forward: Callable[[Any, Any], Any], **layers: nn.Module) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 2, 3, padding=1)
        self.bn = nn.BatchNorm2d(2)
        self.kept: Any = None
        for name, layer in layers.items():
            setattr(self, name, layer)
        self.run = forward

    def forward(self, x: Any) -> Any:
        return self.run(self, x)


def keeps(net: Any, x: Any) -> Any:
    net.kept = net.conv(x)
    return net.bn(net.kept)


def changes(net: Any, x: Any) -> Any:
    y = net.conv(x)
    y.zero_()
    return net.bn(y)


def clamps(net: Any, x: Any) -> Any:
    return net.bn(F.relu(net.conv(x), inplace=True))


def reads_twice(net: Any, x: Any) -> Any:
    y = net.conv(x)
    return net.bn(y) + y


def norms_twice(net: Any, x: Any) -> Any:
    return net.bn(net.bn(net.conv(x)))


def runs_twice(net: Any, x: Any) -> Any:
    return net.bn(net.conv(net.conv(x)))


def in_between(net: Any, x: Any) -> Any:
    return net.bn(net.conv(x) * 2)


def through_a_view(net: Any, x: Any) -> Any:
    return net.bn(net.conv(x).flip(0))


def uses_the_weight(net: Any, x: Any) -> Any:
    return net.bn(net.conv(x)) + net.conv.weight.sum()


def returns_both(net: Any, x: Any) -> Any:
    y = net.conv(x)
    net.kept = None
    return mt.stack([net.bn(y), y])


def only_the_norm(net: Any, x: Any) -> Any:
    return net.bn(x)


LEFT = [
    keeps, changes, clamps, reads_twice, norms_twice, runs_twice, in_between, through_a_view,
    uses_the_weight, returns_both, only_the_norm,
]  # fmt: skip


@pytest.mark.parametrize("forward", LEFT, ids=lambda f: f.__name__)
def test_left_alone(forward: Any) -> None:
    net = lively(Net(forward))
    x = ours(RNG.standard_normal((3, 2, 5, 5)).astype("f4"))
    fused = mt.fuse(net, x)
    assert norms(fused) == 1
    np.testing.assert_array_equal(predict(fused, x), predict(net.eval(), x))


def test_the_result_itself_returned_is_left_alone() -> None:
    net = Net(lambda net, x: ((y := net.conv(x)), net.bn(y)))
    x = ours(RNG.standard_normal((3, 2, 5, 5)).astype("f4"))
    assert norms(mt.fuse(net, x)) == 1


def test_shared_weights_hooks_subclasses_and_norms_without_statistics() -> None:
    def both(net: Any, x: Any) -> Any:
        return net.bn(net.conv(x)) + net.bn2(net.conv2(x))

    x = ours(RNG.standard_normal((3, 2, 5, 5)).astype("f4"))
    net = lively(Net(both, conv2=nn.Conv2d(2, 2, 3, padding=1), bn2=nn.BatchNorm2d(2)))
    assert norms(mt.fuse(net, x)) == 0
    shared = copy.deepcopy(net)
    shared.conv2.weight = shared.conv.weight
    assert norms(mt.fuse(shared, x)) == 2
    shared = copy.deepcopy(net)
    shared.bn2.weight = shared.bn.weight  # only read, and each layer gets its own product
    fused = mt.fuse(shared, x)
    assert norms(fused) == 0
    same(predict(fused, x), predict(shared.eval(), x))
    for hooked in ("conv", "bn"):
        watched = copy.deepcopy(net)
        watched.get_submodule(hooked).register_forward_hook(lambda m, args, y: y * 2)
        fused = mt.fuse(watched, x)
        assert norms(fused) == 1
        same(predict(fused, x), predict(watched.eval(), x))

    class Twice(nn.Conv2d):
        def forward(self, input: Any) -> Any:
            return super().forward(input) * 2

    net.conv = Twice(2, 2, 3, padding=1)
    assert norms(mt.fuse(net, x)) == 1
    net.bn2 = nn.BatchNorm2d(2, track_running_stats=False)
    assert norms(mt.fuse(net, x)) == 2


def test_a_norm_that_stands_in_a_plain_list_too() -> None:
    def by_list(net: Any, x: Any) -> Any:
        for layer in net.steps:
            x = layer(x)
        return x

    net = lively(Net(by_list))
    net.steps = [net.conv, net.bn]
    x = ours(RNG.standard_normal((3, 2, 5, 5)).astype("f4"))
    fused = mt.fuse(net, x)
    assert norms(fused) == 0
    same(predict(fused, x), predict(net.eval(), x))


def test_features_on_another_axis_stay() -> None:
    """Of (N, L, F), a norm takes L for its channels."""
    net = lively(nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4)))
    x = ours(RNG.standard_normal((2, 4, 3)).astype("f4"))
    fused = mt.fuse(net, x)
    assert norms(fused) == 1
    np.testing.assert_array_equal(predict(fused, x), predict(net.eval(), x))


def test_prediction_keeps_no_arrays() -> None:
    """Without a graph, what is in use at the end of each layer is its input and its output."""
    from minitorch_cnn.kernels import memory

    layers = [nn.Conv2d(8, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU()] * 6
    model = nn.Sequential(*copy.deepcopy(layers))
    x = mt.zeros(4, 8, 64, 64)
    assert memory.pool is not None
    for net, grad, arrays in ((model, True, 12), (mt.fuse(model, x), False, 3)):
        in_use = [memory.pool.in_use]

        def look(m: Any, args: Any, y: Any, in_use: Any = in_use) -> None:
            in_use.append(memory.pool.in_use)  # type: ignore[union-attr]

        for m in net:
            m.register_forward_hook(look)
        with mt.set_grad_enabled(grad):
            y = net(x)
        most = (max(in_use) - in_use[0]) / x.array.nbytes
        assert most >= arrays if grad else most <= arrays + 0.5, most
        assert (y.grad_fn is not None) == grad
        del y
