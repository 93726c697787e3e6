"""DenseNet against the paper's formula written in PyTorch, and what its options promise."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest
import torch as real_torch
import torch.nn.functional as TF
from hypothesis import given
from hypothesis import strategies as st

import minitorch_cnn as torch
from minitorch_cnn.models import densenet
from minitorch_cnn.models.densenet import DenseNet, densenet_bc, modern_keys

from .by_hand import Params, assert_close, assert_computes, conv, norm
from .common import in_pytorch, values


def bn_relu(x: real_torch.Tensor, p: Params, name: str, training: bool) -> real_torch.Tensor:
    return norm(x, p, name, training).relu()


def dense_layer(x: real_torch.Tensor, p: Params, name: str, training: bool) -> real_torch.Tensor:
    x = conv(bn_relu(x, p, f"{name}norm1", training), p, f"{name}conv1")
    return conv(bn_relu(x, p, f"{name}norm2", training), p, f"{name}conv2", padding=1)


def dense_net(
    x: real_torch.Tensor, p: Params, blocks: list[int], small: bool, training: bool
) -> real_torch.Tensor:
    if small:
        x = conv(x, p, "features.conv0", padding=1)
    else:
        x = conv(x, p, "features.conv0", stride=2, padding=3)
        x = TF.max_pool2d(bn_relu(x, p, "features.norm0", training), 3, 2, 1)
    for b, layers in enumerate(blocks, 1):
        for i in range(1, layers + 1):
            new = dense_layer(x, p, f"features.denseblock{b}.denselayer{i}.", training)
            x = real_torch.cat([x, new], 1)
        if b < len(blocks):
            name = f"features.transition{b}"
            x = conv(bn_relu(x, p, f"{name}.norm", training), p, f"{name}.conv")
            x = TF.avg_pool2d(x, 2)
    x = bn_relu(x, p, "features.norm5", training).mean((2, 3))
    return TF.linear(x, p["classifier.weight"], p["classifier.bias"])


@st.composite
def networks(draw: st.DrawFn) -> tuple[dict[str, Any], np.ndarray]:
    """Options of a small DenseNet, and images that it can take."""
    sizes = st.integers(1, 5)
    options = {
        "growth_rate": draw(sizes),
        "block_config": draw(st.lists(st.integers(1, 3), min_size=1, max_size=3)),
        "num_init_features": draw(sizes),
        "bn_size": draw(st.integers(1, 4)),
        "num_classes": draw(sizes),
        "in_channels": draw(st.integers(1, 3)),
        "small_input": draw(st.booleans()),
        "memory_efficient": draw(st.booleans()),
    }
    halvings = len(options["block_config"]) - 1 + 2 * (not options["small_input"])
    sides = [(draw(st.integers(1, 2)) << halvings) + draw(st.integers(0, 3)) for _ in range(2)]
    rng = np.random.default_rng(draw(st.integers(0, 2**16)))
    return options, rng.standard_normal((draw(st.integers(2, 3)), options["in_channels"], *sides))


@given(networks(), st.booleans())
def test_random_networks_equal_the_paper_written_in_pytorch(
    network: tuple[dict[str, Any], np.ndarray], training: bool
) -> None:
    options, x = network
    blocks, small = options["block_config"], options["small_input"]
    assert_computes(
        DenseNet(**options).train(training),
        lambda x, p: dense_net(x, p, blocks, small, training),
        x,
        buffers=not options["memory_efficient"],  # which move twice, as the next test compares
    )


@given(networks())
def test_memory_efficient_does_what_it_does_in_pytorch(
    network: tuple[dict[str, Any], np.ndarray],
) -> None:
    options, x = network
    options["memory_efficient"] = True
    ours = DenseNet(**options).double()
    theirs = in_pytorch("densenet").DenseNet(**options).double()
    state = {k: values(k, v.shape) for k, v in theirs.state_dict().items()}
    ours.load_state_dict({k: torch.from_numpy(v) for k, v in state.items()})
    theirs.load_state_dict({k: real_torch.from_numpy(np.array(v)) for k, v in state.items()})
    ours(torch.from_numpy(x)).square().sum().backward()
    theirs(real_torch.from_numpy(x)).square().sum().backward()
    assert_close(
        [
            (name, a.grad.numpy(), b.grad.numpy())
            for (name, a), b in zip(ours.named_parameters(), theirs.parameters(), strict=True)
        ]
    )
    for (name, a), b in zip(ours.named_buffers(), theirs.buffers(), strict=True):
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-9, atol=1e-12, err_msg=name)


@given(st.data())
def test_a_layer_takes_one_tensor_or_a_list(data: st.DataObject) -> None:
    channels = data.draw(st.lists(st.integers(1, 4), min_size=1, max_size=4))
    growth, bn_size = data.draw(st.integers(1, 4)), data.draw(st.integers(1, 4))
    training = data.draw(st.booleans())
    x = np.random.default_rng(sum(channels)).standard_normal((2, sum(channels), 3, 4))
    layer = densenet._DenseLayer(sum(channels), growth, bn_size, 0.0).train(training)
    assert_computes(layer, lambda x, p: dense_layer(x, p, "", training), x)
    layer.eval()
    whole = torch.from_numpy(x)
    parts = list(whole.split(channels, 1))
    assert torch.equal(layer(whole), layer(parts))


def count(model: torch.nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


def test_parameter_counts_of_the_cifar_networks() -> None:
    assert count(densenet.densenet_bc100_k12()) == 769_162  # table 2: 0.8M
    assert count(densenet.densenet_bc40_k12()) == 176_122


@given(st.integers(1, 4), st.integers(1, 6), st.integers(1, 4), st.integers(2, 12))
def test_parameter_counts_follow_the_paper(n: int, k: int, in_channels: int, classes: int) -> None:
    channels, expected = 2 * k, 9 * in_channels * 2 * k
    for block in range(3):
        for _ in range(n):
            expected += 2 * channels + channels * 4 * k + 2 * 4 * k + 9 * 4 * k * k
            channels += k
        expected += 2 * channels  # of the transition's norm, or of the last one
        if block < 2:
            expected += channels * (channels // 2)
            channels //= 2
    expected += (channels + 1) * classes
    net = densenet_bc(6 * n + 4, k, in_channels=in_channels, num_classes=classes)
    assert count(net) == expected


@pytest.mark.parametrize("side", [28, 32])
def test_small_images(side: int) -> None:
    x = torch.randn(2, 1, side, side)
    net = densenet.densenet121(num_classes=10, in_channels=1, small_input=True).eval()
    shapes = []
    for i in range(1, 5):
        block = getattr(net.features, f"denseblock{i}")
        block.register_forward_hook(lambda _m, _x, y: shapes.append(tuple(y.shape[1:])))
    assert net(x).shape == (2, 10)
    assert shapes == [
        (256, side, side),
        (512, side // 2, side // 2),
        (1024, side // 4, side // 4),
        (1024, side // 8, side // 8),
    ]
    assert not hasattr(net.features, "pool0")
    assert densenet.densenet_bc40_k12(in_channels=1).eval()(x).shape == (2, 10)


def test_drop_rate_drops_each_layers_output_in_training_only() -> None:
    x = torch.randn(4, 6, 5, 5)
    plain = densenet._DenseLayer(6, 3, 2, drop_rate=0.0)
    dropping = densenet._DenseLayer(6, 3, 2, drop_rate=0.75)
    dropping.load_state_dict(plain.state_dict())
    kept, all_ = dropping(x), plain(x)
    zeros = (kept == 0).float().mean().item()
    assert 0.6 < zeros < 0.9
    assert torch.allclose(kept[kept != 0], 4 * all_[kept != 0])
    net = DenseNet(3, (2, 2), 4, drop_rate=1.0, num_classes=2, small_input=True)
    layer = net.features.denseblock2.denselayer2
    assert (layer(torch.randn(2, layer.norm1.num_features, 3, 3)) == 0).all()
    dropping.eval()
    plain.eval()
    assert torch.equal(dropping(x), plain(x))


def test_memory_efficient_draws_the_same_dropout_twice() -> None:
    """The mask lies outside what is recomputed; the generator must go on as if nothing was."""
    x, grads, draws = torch.randn(2, 3, 6, 6), [], []
    state = None
    for efficient in (False, True):
        net = DenseNet(
            3, (2, 2), 4, drop_rate=0.5, num_classes=2, small_input=True, memory_efficient=efficient
        )
        state = state or net.state_dict()
        net.load_state_dict(state)
        torch.manual_seed(3)
        net(x).square().sum().backward()
        grads.append([p.grad.numpy() for p in net.parameters()])
        draws.append(torch.rand(1).item())
    for a, b in zip(*grads, strict=True):
        np.testing.assert_array_equal(a, b)
    assert draws[0] == draws[1]


def test_backward_of_the_deepest_network_does_not_recurse() -> None:
    net = densenet.densenet201(num_classes=3)
    y = net(torch.randn(2, 3, 32, 32))
    y.sum().backward(retain_graph=True)  # compiles kernels, if need be, which takes a deep stack
    frame, depth = sys._getframe(), 0
    while frame is not None:
        frame, depth = frame.f_back, depth + 1  # type: ignore[assignment]
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(depth + 60)  # the graph has over 700 nodes in a row
    try:
        y.sum().backward()
    finally:
        sys.setrecursionlimit(limit)
    assert all(p.grad is not None for p in net.parameters())


def test_initial_weights() -> None:
    net = DenseNet(32, (2,), 64, small_input=True)
    for conv_ in (net.features.conv0, net.features.denseblock1.denselayer2.conv2):
        weight = conv_.weight.detach().numpy()
        std = (2 / weight[0].size) ** 0.5
        assert abs(weight.std() - std) < 5 * std / (2 * weight.size) ** 0.5
        assert np.abs(weight).max() > 3 * std  # normal, not uniform
    assert (net.classifier.bias == 0).all()
    assert (net.features.norm5.weight == 1).all()


def test_errors() -> None:
    for options in (
        {"block_config": ()},
        {"block_config": (2, 0)},
        {"growth_rate": 0},
        {"num_init_features": 0},
        {"bn_size": 0},
    ):
        with pytest.raises(ValueError, match="must be positive, but got"):
            DenseNet(**options)
    with pytest.raises(ValueError, match=r"drop_rate is a probability, but got 1\.5"):
        DenseNet(drop_rate=1.5)
    with pytest.raises(ValueError, match=r"depth must be 6n \+ 4 .* but got 101; 100 and 106"):
        densenet_bc(101, 12)
    with pytest.raises(ValueError, match="but got 4; 10 and 16"):
        densenet_bc(4, 12)
    net = DenseNet(2, (1, 1), 2).eval()
    with pytest.raises(RuntimeError, match=r"1 x 1.*\n.*'features.transition1.pool'"):
        net(torch.zeros(2, 3, 4, 4))
    with pytest.raises(RuntimeError, match=r"3 channels, but got 1.*\n.*'features.conv0'"):
        net(torch.zeros(2, 1, 32, 32))


def legacy_keys(keys: list[str]) -> list[str]:
    """The spelling of the published files: denselayer1.norm.1.weight."""
    old = []
    for key in keys:
        parts = key.split(".")
        if len(parts) == 5 and parts[2].startswith("denselayer"):
            parts[3] = f"{parts[3][:-1]}.{parts[3][-1]}"
        old.append(".".join(parts))
    return old


@given(st.lists(st.integers(1, 11), min_size=1, max_size=3))
def test_legacy_keys_are_renamed(blocks: list[int]) -> None:
    net = DenseNet(1, blocks, 2, num_classes=2)
    state = net.state_dict()
    old = dict(zip(legacy_keys(list(state)), state.values(), strict=True))
    assert "features.denseblock1.denselayer1.norm.1.weight" in old
    assert "features.denseblock1.denselayer1.conv.2.weight" in old
    before = dict(old)
    new = modern_keys(old)
    assert list(new) == list(state)
    assert all(new[k] is v for k, v in state.items())
    assert old == before
    assert modern_keys(new) == new
    net.load_state_dict(new)


def test_other_keys_keep_their_names() -> None:
    keys = ["features.norm.1.weight", "features.denselayer1.norm.3.weight", "classifier.weight",
            "features.denseblock1.denselayer1.pool.1.weight"]  # fmt: skip
    assert list(modern_keys(dict.fromkeys(keys))) == keys


@pytest.mark.parametrize("name", ["densenet121", "densenet161", "densenet169", "densenet201"])
def test_builders_name_the_renaming(name: str) -> None:
    builder = getattr(densenet, name)
    assert builder.__wrapped__.rename_keys is modern_keys
