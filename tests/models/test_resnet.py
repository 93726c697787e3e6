"""ResNet's blocks and networks against functions on PyTorch's tensors, whatever the options."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

import minitorch_cnn as mt
from minitorch_cnn import nn
from minitorch_cnn.models import resnet
from minitorch_cnn.models.resnet import BasicBlock, Bottleneck, ResNet
from minitorch_cnn.models.shortcuts import SHORTCUTS

from . import common
from .by_hand import Params, assert_computes, conv, norm

# What a constructor needs to be quick: thin bottlenecks, one block a stage.
THIN = {"width_per_group": 4, "num_classes": 3, "small_input": True}


def count(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters())


def join(x: torch.Tensor, branch: torch.Tensor, p: Params, name: str, kind: str) -> torch.Tensor:
    """Table 1 of the identity-mappings paper, at its defaults, without dropout's noise."""
    if kind in ("identity", "conv1x1", "dropout"):
        return x + branch
    if kind == "none":
        return branch
    if kind == "scale":
        return x / 2 + branch
    g = torch.sigmoid(conv(x, p, f"{name}.gate"))
    return x - g * x + (g * branch if kind == "exclusive_gate" else branch)


def residual(
    x: torch.Tensor,
    p: Params,
    name: str,
    stride: int,
    groups: int = 1,
    dilation: int = 1,
    kind: str = "identity",
) -> torch.Tensor:
    """An original block in train mode: basic or bottleneck, projected or not, as its names say."""
    normed = functools.partial(norm, p=p, training=True)
    wide = {"stride": stride, "padding": dilation, "dilation": dilation, "groups": groups}
    if f"{name}.conv3.weight" in p:
        branch = torch.relu(normed(conv(x, p, f"{name}.conv1"), name=f"{name}.bn1"))
        branch = torch.relu(normed(conv(branch, p, f"{name}.conv2", **wide), name=f"{name}.bn2"))
        branch = normed(conv(branch, p, f"{name}.conv3"), name=f"{name}.bn3")
    else:
        branch = torch.relu(normed(conv(x, p, f"{name}.conv1", **wide), name=f"{name}.bn1"))
        branch = normed(conv(branch, p, f"{name}.conv2", padding=1), name=f"{name}.bn2")
    if f"{name}.downsample.0.weight" in p:
        x = conv(x, p, f"{name}.downsample.0", stride=stride)
        x = normed(x, name=f"{name}.downsample.1")
    return torch.relu(join(x, branch, p, f"{name}.shortcut", kind))


class Holder(nn.Module):
    def __init__(self, block: nn.Module) -> None:
        super().__init__()
        self.block = block

    def forward(self, x: Any) -> Any:
        return self.block(x)


@settings(max_examples=20)
@given(
    st.fixed_dictionaries(
        {
            "planes": st.integers(1, 5),
            "groups": st.integers(1, 3),
            "base_width": st.sampled_from([16, 32, 64, 100, 128]),
            "dilation": st.integers(1, 3),
            "stride": st.integers(1, 3),
        }
    ),
    st.tuples(st.booleans(), st.integers(1, 4), st.integers(1, 5)),
    st.tuples(st.integers(1, 3), st.integers(3, 9), st.integers(3, 9)),
)
def test_blocks(
    options: dict[str, int], block: tuple[bool, int, int], nhw: tuple[int, int, int]
) -> None:
    basic, expansion, in_channels = block
    stride, planes = options["stride"], options["planes"]
    if basic:
        options |= {"groups": 1, "base_width": 64, "dilation": 1}
        expansion = 1
    assume(planes * options["base_width"] >= 64)  # at least one channel wide
    kind = type("Kind", (BasicBlock if basic else Bottleneck,), {"expansion": expansion})
    out = planes * expansion
    downsample = None
    if stride != 1 or in_channels != out:
        downsample = nn.Sequential(
            nn.Conv2d(in_channels, out, 1, stride, bias=False), nn.BatchNorm2d(out)
        )
    model = Holder(kind(in_channels, downsample=downsample, **options))
    n, h, w = nhw
    rule = {k: options[k] for k in ("stride", "groups", "dilation")}
    assert_computes(
        model,
        lambda x, p: residual(x, p, "block", **rule),
        common.images((n + 1, in_channels, h, w), seed=h),
    )


@st.composite
def networks(draw: st.DrawFn) -> tuple[Any, dict[str, Any]]:
    block: Any = BasicBlock
    if draw(st.booleans()):  # with fewer channels than 2048, to be quick
        block = type("Kind", (Bottleneck,), {"expansion": draw(st.integers(1, 2))})
    deepest = 1 if block is BasicBlock else 2
    options: dict[str, Any] = {
        "layers": [draw(st.integers(1, n)) for n in (2, 2, deepest, deepest)],
        "num_classes": draw(st.integers(1, 4)),
        "in_channels": draw(st.sampled_from([1, 2, 3, 5])),
        "small_input": draw(st.booleans()),
        "shortcut": draw(st.sampled_from(sorted(SHORTCUTS))),
    }
    if options["shortcut"] == "dropout":
        options["shortcut_options"] = {"p": 0.0}
    if block is not BasicBlock:
        options["groups"] = draw(st.integers(1, 3))
        options["width_per_group"] = draw(st.integers(1, 9))
        options["replace_stride_with_dilation"] = draw(
            st.none() | st.lists(st.booleans(), min_size=3, max_size=3)
        )
    return block, options


def network(x: torch.Tensor, p: Params, o: dict[str, Any]) -> torch.Tensor:
    stem = {"padding": 1} if o["small_input"] else {"stride": 2, "padding": 3}
    x = torch.relu(norm(conv(x, p, "conv1", **stem), p, "bn1", True))
    if not o["small_input"]:
        x = F.max_pool2d(x, 3, 2, 1)
    dilation, rest = 1, (o.get("groups", 1), o["shortcut"])
    replaced = o.get("replace_stride_with_dilation") or [False] * 3
    for stage, (blocks, dilate) in enumerate(zip(o["layers"], [False, *replaced]), start=1):
        for i in range(blocks):
            stride = 2 if stage > 1 and i == 0 and not dilate else 1
            x = residual(x, p, f"layer{stage}.{i}", stride, rest[0], dilation, rest[1])
            if i == 0 and dilate:
                dilation *= 2
    return x.mean(dim=(2, 3)) @ p["fc.weight"].T + p["fc.bias"]


@settings(max_examples=6)
@given(networks(), st.integers(9, 13), st.integers(9, 13))
def test_networks(drawn: tuple[Any, dict[str, Any]], h: int, w: int) -> None:
    block, options = drawn
    x = common.images((3, options["in_channels"], h, w), seed=h)
    assert_computes(ResNet(block, **options), lambda x, p: network(x, p, options), x)


def test_a_dilated_stage_with_one_block_passes_its_dilation_on() -> None:
    """The rule that is easiest to get wrong, at fixed layers, so that every run sees it."""
    options = {"layers": [1, 1, 2, 2], "replace_stride_with_dilation": [True, False, True]}
    options |= {"shortcut": "identity", **THIN}
    model = ResNet(Bottleneck, **options)
    dilations = [b.conv2.dilation[0] for i in (2, 3, 4) for b in getattr(model, f"layer{i}")]
    assert dilations == [1, 2, 2, 2, 4]
    x = common.images((3, 3, 11, 12), seed=1)
    assert_computes(model, lambda x, p: network(x, p, options), x)


@pytest.mark.parametrize(("depth", "parameters"), [(18, 11_515_688), (34, 21_623_848)])
def test_plain_nets_are_resnets_without_projections(depth: int, parameters: int) -> None:
    plain = getattr(resnet, f"plain{depth}")()
    names = [(k, tuple(v.shape)) for k, v in plain.state_dict().items()]
    facts = [(k, tuple(shape)) for k, shape in common.facts("state_dicts")[f"resnet{depth}"]]
    assert names == [(k, shape) for k, shape in facts if "downsample" not in k]
    # Three projections: the convolution's weights, and two numbers a channel for its norm.
    projections = sum(c * 2 * c + 2 * (2 * c) for c in (64, 128, 256))
    with_shortcuts = common.facts("model_costs")[f"resnet{depth}"]["parameters"]
    assert count(plain) == parameters == with_shortcuts - projections


@pytest.mark.parametrize(
    ("name", "parameters"), [("wide_resnet101_2", 126_886_696), ("resnext101_32x8d", 88_791_336)]
)
def test_the_networks_without_a_facts_table_have_the_published_counts(
    name: str, parameters: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nn.init, "kaiming_normal_", lambda weight, **_: weight)
    assert count(getattr(resnet, name)()) == parameters


@pytest.mark.parametrize(("size", "maps"), [(28, [28, 28, 14, 7, 4]), (32, [32, 32, 16, 8, 4])])
@pytest.mark.parametrize("shortcut", ["identity", "none"])
def test_small_input_keeps_the_map_until_layer2(
    size: int, maps: list[int], shortcut: str
) -> None:
    model = ResNet(BasicBlock, [1, 1, 1, 1], 10, in_channels=1, small_input=True, shortcut=shortcut)
    seen = []
    for name in ("maxpool", "layer1", "layer2", "layer3", "layer4"):
        getattr(model, name).register_forward_hook(
            lambda module, inputs, output: seen.append(output.shape[-1])
        )
    with mt.no_grad():
        assert model(mt.zeros(2, 1, size, size)).shape == (2, 10)
    assert seen == maps


def test_the_functions_take_the_options_of_the_class() -> None:
    model = resnet.resnet18(num_classes=7, in_channels=1, small_input=True, progress=False)
    assert model.fc.weight.shape == (7, 512)
    assert model.conv1.weight.shape == (64, 1, 3, 3)


def test_norm_layer_replaces_every_norm() -> None:
    norm_layer = functools.partial(nn.GroupNorm, 2)
    model = ResNet(Bottleneck, [1, 1, 1, 1], norm_layer=norm_layer, shortcut="conv1x1", **THIN)
    kinds = {type(m).__name__ for m in model.modules()}
    assert "GroupNorm" in kinds
    assert "BatchNorm2d" not in kinds
    assert model(mt.randn(2, 3, 8, 8)).shape == (2, 3)


@pytest.mark.parametrize(("block", "last"), [(BasicBlock, "bn2"), (Bottleneck, "bn3")])
def test_zero_init_residual_makes_blocks_their_shortcut(block: Any, last: str) -> None:
    options = THIN if block is Bottleneck else {"num_classes": 3}
    model = ResNet(block, [1, 1, 1, 1], zero_init_residual=True, **options)
    for name, p in model.named_parameters():
        if "bn" in name and name.endswith("weight"):
            assert p.tolist() == [float(last not in name)] * len(p), name
    x = mt.rand(2, 64 * block.expansion, 5, 4)
    second = ResNet(block, [2, 1, 1, 1], zero_init_residual=True, **options).layer1[1]
    assert np.array_equal(second(x).detach().numpy(), x.numpy())


def test_initialisation_is_kaimings_fan_out_and_leaves_gates_open() -> None:
    model = ResNet(BasicBlock, [1, 1, 1, 1], num_classes=3, shortcut="shortcut_gate")
    convs = [m for m in model.modules() if isinstance(m, nn.Conv2d)]
    assert len(convs) == 1 + 2 * 4 + 3 + 4
    for conv2d in convs:
        out, _, kh, kw = conv2d.weight.shape
        expected = (2 / (out * kh * kw)) ** 0.5
        assert abs(conv2d.weight.detach().numpy().std() / expected - 1) < 0.05
    assert all(m.gate.bias.tolist()[0] == -6 for m in model.modules() if hasattr(m, "gate"))


def test_conv1x1_has_a_projection_in_every_block_and_plain_nets_in_none() -> None:
    for shortcut, projections in ("identity", 4), ("conv1x1", 8), ("none", 0):
        model = ResNet(Bottleneck, [2, 2, 2, 2], shortcut=shortcut, **THIN)
        names = [k for k in model.state_dict() if k.endswith("downsample.0.weight")]
        assert len(names) == projections


def test_shortcut_options_reach_every_block() -> None:
    options = {"shortcut": "scale", "shortcut_options": {"scale": 0.25, "branch_scale": 0.75}}
    model = ResNet(Bottleneck, [2, 1, 1, 1], **options, **THIN)
    blocks = [m for m in model.modules() if isinstance(m, Bottleneck)]
    assert [(b.shortcut.scale, b.shortcut.branch_scale) for b in blocks] == [(0.25, 0.75)] * 5


def test_errors() -> None:
    with pytest.raises(ValueError, match="groups=2 and base_width=64: use Bottleneck"):
        BasicBlock(4, 4, groups=2)
    with pytest.raises(ValueError, match="base_width=128: use Bottleneck"):
        resnet.resnet18(width_per_group=128)
    with pytest.raises(NotImplementedError, match="dilation=1 only, not 2"):
        resnet.resnet18(replace_stride_with_dilation=[False, True, True], num_classes=2)
    with pytest.raises(ValueError, match=r"three booleans.*not \[True\]"):
        resnet.resnet50(replace_stride_with_dilation=[True])
    with pytest.raises(ValueError, match="no shortcut 'skip'"):
        ResNet(Bottleneck, [1, 1, 1, 1], shortcut="skip", **THIN)
    with pytest.raises(ValueError, match="silences"):
        resnet.plain18(zero_init_residual=True)


def test_wrong_channels_name_the_layer_and_the_shapes() -> None:
    model = ResNet(Bottleneck, [1, 1, 1, 1], in_channels=1, **THIN)
    with pytest.raises(RuntimeError, match=r"(?s)conv1.*3") as error:
        model(mt.zeros(1, 3, 28, 28))
    assert "1" in str(error.value)
