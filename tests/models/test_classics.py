"""AlexNet, VGG, SqueezeNet, MobileNet v2 against PyTorch by hand; what their options promise."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch as real_torch
import torch.nn.functional as TF
from hypothesis import given
from hypothesis import strategies as st

import minitorch_cnn as torch
from minitorch_cnn import nn
from minitorch_cnn.models import vgg
from minitorch_cnn.models.alexnet import AlexNet, alexnet
from minitorch_cnn.models.mobilenet_v2 import (
    InvertedResidual,
    MobileNetV2,
    _make_divisible,
    mobilenet_v2,
)
from minitorch_cnn.models.squeezenet import Fire, SqueezeNet, squeezenet1_0, squeezenet1_1

from .by_hand import Params, assert_computes, conv, norm

CHANNELS = st.integers(1, 6)


def images(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape)


def count(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


# VGG


@given(
    st.lists(st.lists(CHANNELS, min_size=1, max_size=3), min_size=1, max_size=3),
    st.booleans(), st.booleans(), st.booleans(), st.integers(1, 3), st.integers(0, 99),
)  # fmt: skip
def test_vgg_stages_equal_pytorch(
    stages: list[list[int]], bn: bool, small: bool, training: bool, C: int, seed: int
) -> None:
    def by_hand(x: real_torch.Tensor, p: Params) -> real_torch.Tensor:
        number = 0
        for i, stage in enumerate(stages):
            for _ in stage:
                x = conv(x, p, str(number), padding=1)
                if bn:
                    x = norm(x, p, str(number + 1), training)
                x = x.relu()
                number += 3 if bn else 2
            if i > 0 or not small:
                x = TF.max_pool2d(x, 2)
            number += 1
        return x

    layers = vgg.make_layers(stages, bn, in_channels=C, small_input=small)
    assert_computes(layers.train(training), by_hand, images(seed, 2, C, 9, 12))


HEAD = 25088 * 4096 + 4096 + 4096 * 4096 + 4096 + 4096 * 1000 + 1000


@pytest.mark.parametrize(
    ("name", "parameters", "millions"),
    [  # with and without batch norm; the millions of table 2 of the paper
        ("vgg11", (132_863_336, 132_868_840), 133),
        ("vgg13", (133_047_848, 133_053_736), 133),
        ("vgg16", (138_357_544, 138_365_992), 138),
        ("vgg19", (143_667_240, 143_678_248), 144),
    ],
)
def test_vgg_parameter_counts(name: str, parameters: tuple[int, int], millions: int) -> None:
    for batch_norm, expected in zip((False, True), parameters):
        layers = vgg.make_layers(vgg.TABLE[name], batch_norm)
        assert count(layers) + HEAD == expected
        assert round(expected / 1e6) == millions
        depth = sum(isinstance(m, nn.Conv2d) for m in layers) + 3
        assert name == f"vgg{depth}"


@pytest.mark.parametrize("name", [f"vgg{n}{bn}" for n in (11, 13, 16, 19) for bn in ("", "_bn")])
def test_vgg_builders_choose_their_row(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vgg, "VGG", lambda features, **options: (features, options))
    features, options = getattr(vgg, name)(in_channels=2, small_input=True, num_classes=5)
    row = [c for stage in vgg.TABLE[name.removesuffix("_bn")] for c in stage]
    assert [m.out_channels for m in features if isinstance(m, nn.Conv2d)] == row
    assert any(isinstance(m, nn.BatchNorm2d) for m in features) == name.endswith("_bn")
    assert features[0].in_channels == 2
    assert options == {"small_input": True, "num_classes": 5}


def test_vgg_initial_weights() -> None:
    stages = vgg.make_layers([(64,), (512,)])
    net = vgg.VGG(stages, num_classes=3, small_input=True)
    assert std(net.features[3]) == pytest.approx((2 / (512 * 9)) ** 0.5, rel=0.02)
    assert std(net.classifier[0]) == pytest.approx(0.01, rel=0.02)
    assert all((m.bias == 0).all() for m in net.modules() if isinstance(m, (nn.Conv2d, nn.Linear)))
    net = vgg.VGG(stages, num_classes=3, init_weights=False, small_input=True)
    assert std(net.classifier[0]) == pytest.approx((1 / 3 / 512) ** 0.5, rel=0.02)


def std(layer: nn.Module) -> float:
    return float(layer.weight.detach().numpy().std())


# SqueezeNet


def fire(x: real_torch.Tensor, p: Params, name: str) -> real_torch.Tensor:
    x = conv(x, p, f"{name}squeeze").relu()
    three = conv(x, p, f"{name}expand3x3", padding=1).relu()
    return real_torch.cat([conv(x, p, f"{name}expand1x1").relu(), three], 1)


@given(CHANNELS, CHANNELS, CHANNELS, CHANNELS, st.integers(1, 7), st.integers(0, 99))
def test_fire_equals_pytorch(c: int, squeeze: int, one: int, three: int, side: int, seed: int
) -> None:  # fmt: skip
    x = images(seed, 2, c, side, side + 1)
    assert_computes(Fire(c, squeeze, one, three), lambda x, p: fire(x, p, ""), x)


@pytest.mark.parametrize("small", [False, True])
@pytest.mark.parametrize("version", ["1_0", "1_1"])
def test_squeezenet_equals_pytorch(version: str, small: bool) -> None:
    pools = {"1_0": (2, 6, 11), "1_1": (2, 5, 8)}[version]

    def by_hand(x: real_torch.Tensor, p: Params) -> real_torch.Tensor:
        x = conv(x, p, "features.0", **({"padding": 1} if small else {"stride": 2})).relu()
        for i in range(2, 13):
            if i not in pools:
                x = fire(x, p, f"features.{i}.")
            elif not (small and i == 2):
                x = TF.max_pool2d(x, 3, 2, ceil_mode=True)
        return conv(x, p, "classifier.1").relu().mean((2, 3))

    net = SqueezeNet(version, num_classes=4, dropout=0.0, in_channels=2, small_input=small)
    assert_computes(net, by_hand, images(3, 2, 2, 30, 37))


def test_squeezenet_parameter_counts_and_weights() -> None:
    net = squeezenet1_0()
    assert count(net) == 1_248_424  # table 1
    assert count(squeezenet1_1()) == 1_235_496
    assert std(net.classifier[1]) == pytest.approx(0.01, rel=0.02)
    weight = net.features[12].expand3x3.weight.detach().numpy()
    bound = (6 / (64 * 9)) ** 0.5
    assert 0.999 * bound < np.abs(weight).max() <= bound
    assert all((m.bias == 0).all() for m in net.modules() if isinstance(m, nn.Conv2d))


# MobileNet v2


def norm_activation(x: real_torch.Tensor, p: Params, name: str, training: bool, **settings: Any
) -> real_torch.Tensor:  # fmt: skip
    return norm(conv(x, p, f"{name}.0", **settings), p, f"{name}.1", training).clamp(0, 6)


def inverted_residual(
    x: real_torch.Tensor, p: Params, name: str, stride: int, expand: float, training: bool
) -> real_torch.Tensor:
    y, i = x, 0
    if expand != 1:
        y, i = norm_activation(x, p, f"{name}conv.0", training), 1
    settings = {"stride": stride, "padding": 1, "groups": y.shape[1]}
    y = norm_activation(y, p, f"{name}conv.{i}", training, **settings)
    y = norm(conv(y, p, f"{name}conv.{i + 1}"), p, f"{name}conv.{i + 2}", training)
    return x + y if y.shape == x.shape and stride == 1 else y


@given(
    CHANNELS, CHANNELS, st.sampled_from([1, 2]), st.sampled_from([1, 2, 2.5, 6]), st.booleans(),
    st.integers(3, 8), st.integers(0, 99),
)  # fmt: skip
def test_inverted_residual_equals_pytorch(
    inp: int, oup: int, stride: int, expand: float, training: bool, side: int, seed: int
) -> None:
    block = InvertedResidual(inp, oup, stride, expand).train(training)
    assert_computes(
        block,
        lambda x, p: inverted_residual(x, p, "", stride, expand, training),
        images(seed, 2, inp, side, side + 2),
    )


@given(
    st.lists(
        st.tuples(st.sampled_from([1, 2, 3]), st.integers(1, 9), st.integers(1, 2),
                  st.sampled_from([1, 2])),
        min_size=1, max_size=2,
    ),
    st.sampled_from([0.1, 0.25, 0.5]), st.sampled_from([1, 2, 8]), st.booleans(), st.booleans(),
)  # fmt: skip
def test_random_mobilenets_equal_pytorch(
    setting: list[tuple[int, int, int, int]], mult: float, nearest: int, small: bool, training: bool
) -> None:
    def by_hand(x: real_torch.Tensor, p: Params) -> real_torch.Tensor:
        stride = 1 if small else 2
        x = norm_activation(x, p, "features.0", training, stride=stride, padding=1)
        number = 1
        for t, _, n, s in setting:
            for i in range(n):
                step = s if i == 0 else 1
                x = inverted_residual(x, p, f"features.{number}.", step, t, training)
                number += 1
        x = norm_activation(x, p, f"features.{number}", training)
        return TF.linear(x.mean((2, 3)), p["classifier.1.weight"], p["classifier.1.bias"])

    net = MobileNetV2(
        3, mult, setting, nearest, dropout=0.0, in_channels=2, small_input=small
    )  # fmt: skip
    widths = [net.features[0].out_channels]
    for _, c, n, _ in setting:
        widths += [nearest_multiple(c * mult, nearest)] * n
    assert [m.out_channels for m in net.features] == [*widths, 1280]
    assert_computes(net.train(training), by_hand, images(5, 3, 2, 10, 13))


def nearest_multiple(v: float, divisor: int) -> int:
    """The nearest of all multiples from ``divisor`` on (the larger of two), unless 10 % too low."""
    multiples = [divisor * i for i in range(1, int(v / divisor) + 3)]
    best = min(multiples, key=lambda m: (abs(m - v), -m))
    return best + divisor if best < 0.9 * v else best


@given(st.floats(0.1, 3000), st.integers(1, 32))
def test_channels_are_rounded_to_multiples(v: float, divisor: int) -> None:
    made = _make_divisible(v, divisor)
    assert made % divisor == 0
    assert made >= 0.9 * v
    if divisor % 2 == 0:  # half of an odd divisor is no whole number of channels
        assert made == nearest_multiple(v, divisor)
    assert _make_divisible(v, divisor, min_value=7 * divisor) == max(made, 7 * divisor)


@pytest.mark.parametrize(
    ("mult", "parameters"),
    [(0.5, 1_968_680), (0.75, 2_636_424), (1.0, 3_504_872), (1.4, 6_108_776)],
)
def test_mobilenet_parameter_counts(mult: float, parameters: int) -> None:
    assert count(mobilenet_v2(width_mult=mult)) == parameters


def test_mobilenet_options_and_weights() -> None:
    net = MobileNetV2(norm_layer=lambda c: nn.GroupNorm(1, c), num_classes=7)
    assert not any(isinstance(m, nn.BatchNorm2d) for m in net.modules())
    assert std(net.features[18][0]) == pytest.approx((2 / 1280) ** 0.5, rel=0.02)
    assert std(net.classifier[1]) == pytest.approx(0.01, rel=0.05)
    assert (net.classifier[1].bias == 0).all()
    made = []

    def block(*args: Any, **options: Any) -> nn.Module:
        made.append(args)
        return InvertedResidual(*args, **options)

    MobileNetV2(block=block, inverted_residual_setting=[(1, 16, 2, 2), (2, 24, 1, 1)])
    assert made == [(32, 16, 2), (16, 16, 1), (16, 24, 1)]


# All of them


def test_alexnet_has_the_papers_size() -> None:
    net = alexnet()
    assert count(net) == 61_100_840
    shapes = []
    for layer in (net.features[0], net.features[2], net.features[5], net.features[12]):
        layer.register_forward_hook(lambda _m, _x, y: shapes.append(tuple(y.shape[1:])))
    net.eval()(torch.zeros(1, 3, 224, 224))
    assert shapes == [(64, 55, 55), (64, 27, 27), (192, 13, 13), (256, 6, 6)]


@pytest.mark.parametrize(
    ("build", "last"),  # the last map of 28x28 and of 32x32 images
    [
        (alexnet, ((256, 6, 6), (256, 7, 7))),
        (vgg.vgg11, ((512, 1, 1), (512, 2, 2))),
        (vgg.vgg11_bn, ((512, 1, 1), (512, 2, 2))),
        (squeezenet1_0, ((512, 7, 7), (512, 8, 8))),
        (squeezenet1_1, ((512, 7, 7), (512, 8, 8))),
        (mobilenet_v2, ((1280, 4, 4), (1280, 4, 4))),
    ],
)
def test_small_images(build: Any, last: tuple[tuple[int, ...], ...]) -> None:
    net = build(num_classes=10, in_channels=1, small_input=True)
    shapes = []
    net.features.register_forward_hook(lambda _m, _x, y: shapes.append(tuple(y.shape[1:])))
    for side in (28, 32):
        assert net(torch.randn(2, 1, side, side)).shape == (2, 10)
    assert shapes == list(last)


def test_small_networks_keep_their_layers_names() -> None:
    small, usual = (list(SqueezeNet("1_1", small_input=s).state_dict()) for s in (True, False))
    assert small == usual
    small, usual = (
        list(vgg.make_layers(vgg.TABLE["vgg16"], True, small_input=s).state_dict())
        for s in (True, False)
    )
    assert small == usual


def test_dropout_is_where_it_was_asked_for() -> None:
    tiny = nn.Conv2d(3, 512, 1)
    for net, n in (
        (SqueezeNet("1_1", dropout=0.3), 1),
        (MobileNetV2(dropout=0.3), 1),
        (vgg.VGG(tiny, 2, dropout=0.3, small_input=True), 2),
    ):
        assert [m.p for m in net.modules() if isinstance(m, nn.Dropout)] == [0.3] * n
    net = AlexNet(2, dropout=1.0, small_input=True)
    assert torch.equal(net(torch.randn(1, 3, 28, 28))[0], net.classifier[6](torch.relu(
        net.classifier[4].bias)))  # fmt: skip


def test_errors() -> None:
    with pytest.raises(ValueError, match="unsupported version '2_0': there are 1_0, 1_1"):
        SqueezeNet("2_0")
    with pytest.raises(ValueError, match="stride should be 1 or 2 instead of 3"):
        InvertedResidual(3, 4, 3, 1)
    for setting in ([], [(1, 16, 1)]):
        with pytest.raises(ValueError, match=r"rows \(t, c, n, s\), but got \["):
            MobileNetV2(inverted_residual_setting=setting)
    layers = vgg.make_layers(vgg.TABLE["vgg11"])
    with pytest.raises(RuntimeError, match=r"512 x 1 x 1.*too small.*\n.*layer '20'"):
        layers(torch.zeros(2, 3, 28, 28))
    with pytest.raises(RuntimeError, match=r"512 x 1 x 1.*\n.*'features.11'"):
        squeezenet1_0()(torch.zeros(2, 3, 16, 16))
