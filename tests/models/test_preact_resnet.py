"""Pre-activation ResNet against functions on PyTorch's tensors, whatever the options."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

import minitorch_cnn as mt
from minitorch_cnn import nn
from minitorch_cnn.models import preact_resnet
from minitorch_cnn.models.preact_resnet import PreActBasic, PreActBottleneck, ResNetV2
from minitorch_cnn.models.shortcuts import SHORTCUTS

from . import common
from .by_hand import Params, assert_computes, conv, norm
from .test_resnet import Holder, join


def activated(x: torch.Tensor, p: Params, name: str) -> torch.Tensor:
    return torch.relu(norm(x, p, name, training=True))


def residual(
    x: torch.Tensor, p: Params, name: str, stride: int, kind: str = "identity"
) -> torch.Tensor:
    """A pre-activation block in train mode: basic or bottleneck, projected or not."""
    first = activated(x, p, f"{name}.norm1")
    strided = {"stride": stride, "padding": 1}
    if f"{name}.conv3.weight" in p:
        branch = activated(conv(first, p, f"{name}.conv1"), p, f"{name}.norm2")
        branch = activated(conv(branch, p, f"{name}.conv2", **strided), p, f"{name}.norm3")
        branch = conv(branch, p, f"{name}.conv3")
    else:
        branch = activated(conv(first, p, f"{name}.conv1", **strided), p, f"{name}.norm2")
        branch = conv(branch, p, f"{name}.conv2", padding=1)
    if f"{name}.downsample.conv.weight" in p:
        x = conv(first, p, f"{name}.downsample.conv", stride=stride)
    elif kind == "conv1x1":
        x = conv(x, p, f"{name}.shortcut.conv")
    return join(x, branch, p, f"{name}.shortcut", kind)


class Projection(nn.Module):
    def __init__(self, inplanes: int, planes: int, stride: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inplanes, planes, 1, stride, bias=False)

    def forward(self, x: Any) -> Any:
        return self.conv(x)


@given(
    st.tuples(st.booleans(), st.integers(1, 4)),
    st.tuples(st.integers(1, 5), st.integers(1, 5), st.integers(1, 3)),
    st.tuples(st.integers(1, 3), st.integers(3, 9), st.integers(3, 9)),
)
def test_blocks(
    block: tuple[bool, int], widths: tuple[int, int, int], nhw: tuple[int, int, int]
) -> None:
    basic, expansion = block
    inplanes, planes, stride = widths
    expansion = 1 if basic else expansion
    kind = type("K", (PreActBasic if basic else PreActBottleneck,), {"expansion": expansion})
    downsample = None
    if stride != 1 or inplanes != planes * expansion:
        downsample = Projection(inplanes, planes * expansion, stride)
    n, h, w = nhw
    assert_computes(
        Holder(kind(inplanes, planes, stride, downsample)),
        lambda x, p: residual(x, p, "block", stride),
        common.images((n + 1, inplanes, h, w), seed=h),
    )


@st.composite
def networks(draw: st.DrawFn) -> tuple[Any, dict[str, Any]]:
    options: dict[str, Any] = {
        "layers": [draw(st.integers(1, 2)), draw(st.integers(1, 2)), 1, 1],
        "num_classes": draw(st.integers(1, 4)),
        "in_channels": draw(st.sampled_from([1, 2, 3, 5])),
        "small_input": draw(st.booleans()),
        "shortcut": draw(st.sampled_from(sorted(SHORTCUTS))),
    }
    if options["shortcut"] == "dropout":
        options["shortcut_options"] = {"p": 0.0}
    if draw(st.booleans()):
        return PreActBasic, options
    # With fewer channels than 2048, to be quick.
    return type("K", (PreActBottleneck,), {"expansion": draw(st.integers(1, 2))}), options


def network(x: torch.Tensor, p: Params, o: dict[str, Any]) -> torch.Tensor:
    if o["small_input"]:
        x = conv(x, p, "stem.conv", padding=1)
    else:
        x = F.max_pool2d(conv(x, p, "stem.conv", stride=2, padding=3), 3, 2, 1)
    for stage, blocks in enumerate(o["layers"]):
        for i in range(blocks):
            stride = 2 if stage > 0 and i == 0 else 1
            x = residual(x, p, f"stages.{stage}.blocks.{i}", stride, o["shortcut"])
    x = activated(x, p, "norm").mean(dim=(2, 3))
    return x @ p["head.fc.weight"][:, :, 0, 0].T + p["head.fc.bias"]


@settings(max_examples=5)
@given(networks(), st.integers(9, 12), st.integers(9, 12))
def test_networks(drawn: tuple[Any, dict[str, Any]], h: int, w: int) -> None:
    block, options = drawn
    x = common.images((3, options["in_channels"], h, w), seed=h)
    assert_computes(ResNetV2(block, **options), lambda x, p: network(x, p, options), x)


@pytest.mark.parametrize(
    ("depth", "parameters"),
    [(18, 11_687_720), (34, 21_795_880), (101, 44_541_480), (152, 60_185_128)],
)
def test_counts_of_the_depths_without_a_facts_table(
    depth: int, parameters: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nn.init, "kaiming_normal_", lambda weight, **_: weight)
    model = getattr(preact_resnet, f"resnetv2_{depth}")()
    assert sum(p.numel() for p in model.parameters()) == parameters


@pytest.mark.parametrize(("size", "maps"), [(28, [28, 28, 14, 7, 4]), (32, [32, 32, 16, 8, 4])])
def test_small_input_keeps_the_map_until_the_second_stage(size: int, maps: list[int]) -> None:
    model = ResNetV2(PreActBasic, [1, 1, 1, 1], 10, in_channels=1, small_input=True)
    seen = []
    for module in (model.stem, *model.stages):
        module.register_forward_hook(
            lambda module, inputs, output: seen.append(output.shape[-1])
        )
    with mt.no_grad():
        assert model(mt.zeros(2, 1, size, size)).shape == (2, 10)
    assert seen == maps


def test_the_functions_take_the_options_of_the_class() -> None:
    model = preact_resnet.resnetv2_18(num_classes=7, in_channels=1, small_input=True)
    assert model.head.fc.weight.shape == (7, 512, 1, 1)
    assert model.stem.conv.weight.shape == (64, 1, 3, 3)


@pytest.mark.parametrize(("block", "last"), [(PreActBasic, "conv2"), (PreActBottleneck, "conv3")])
def test_zero_init_last_makes_blocks_the_identity(block: Any, last: str) -> None:
    model = ResNetV2(block, [2, 1, 1, 1], num_classes=3, zero_init_last=True)
    for name, p in model.named_parameters():
        if "conv" in name:
            assert bool((p == 0).all()) == (last in name), name
    x = mt.randn(2, 64 * block.expansion, 5, 4)
    y = model.stages[0].blocks[1](x)
    assert np.array_equal(y.detach().numpy(), x.numpy())


def test_an_identity_passes_the_gradient_on_unchanged() -> None:
    """Equation 5 of the paper with F = 0: 1 through every block; a scale of 0.5 halves it."""
    for options, factor in ({}, 1.0), ({"shortcut": "scale"}, 0.5):
        model = ResNetV2(PreActBasic, [4, 1, 1, 1], 3, zero_init_last=True, **options)
        x = mt.randn(2, 64, 4, 4, requires_grad=True)
        model.stages[0](x).sum().backward()
        np.testing.assert_array_equal(x.grad.numpy(), np.full((2, 64, 4, 4), factor**4))


def test_initialisation_leaves_gates_open_and_the_classifier_small() -> None:
    model = ResNetV2(PreActBasic, [1, 1, 1, 1], 50, shortcut="exclusive_gate")
    weight = model.stages[3].blocks[0].conv1.weight.detach().numpy()
    assert abs(weight.std() / (2 / (512 * 9)) ** 0.5 - 1) < 0.05
    assert abs(model.head.fc.weight.detach().numpy().std() / 0.01 - 1) < 0.05
    assert not model.head.fc.bias.detach().numpy().any()
    assert model.stages[3].blocks[0].shortcut.gate.bias.tolist()[0] == -6


def test_norm_layer_replaces_every_norm_and_reaches_no_shortcut() -> None:
    norm_layer = functools.partial(nn.GroupNorm, 2)
    model = ResNetV2(PreActBasic, [2, 1, 1, 1], 3, norm_layer=norm_layer, shortcut="conv1x1")
    kinds = {type(m).__name__ for m in model.modules()}
    assert "GroupNorm" in kinds
    assert "BatchNorm2d" not in kinds
    assert list(model.stages[0].blocks[0].shortcut.state_dict()) == ["conv.weight"]
    assert model(mt.randn(2, 3, 8, 8)).shape == (2, 3)


def test_errors() -> None:
    with pytest.raises(ValueError, match="no shortcut 'skip'"):
        ResNetV2(PreActBasic, [1, 1, 1, 1], shortcut="skip")
    with pytest.raises(ValueError, match="silences"):
        ResNetV2(PreActBasic, [1, 1, 1, 1], shortcut="none", zero_init_last=True)
    model = ResNetV2(PreActBasic, [1, 1, 1, 1], num_classes=2, in_channels=1, small_input=True)
    with pytest.raises(RuntimeError, match=r"stem\.conv"):
        model(mt.zeros(1, 3, 28, 28))
