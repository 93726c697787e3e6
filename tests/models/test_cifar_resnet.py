"""CIFAR's residual networks against the papers' counts, PyTorch's layers, and plain functions."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

import minitorch_cnn
from minitorch_cnn import nn
from minitorch_cnn.models.registry import ARCHITECTURES
from minitorch_cnn.models.shortcuts import SHORTCUTS

from . import common

# The function of the same name hides it in minitorch_cnn.models.
ours: Any = importlib.import_module("minitorch_cnn.models.cifar_resnet")

# "Deep Residual Learning", table 6, in millions.
PAPER = {20: "0.27", 32: "0.46", 44: "0.66", 56: "0.85", 110: "1.7"}


def settings_of(options: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"depth": 8, "width": 3, "in_channels": 2, "num_classes": 4, **options, **more}


def filled(model: Any, theirs: bool) -> Any:
    """The same float64 numbers in either library's model."""
    model.double()
    state = {k: common.values(k, v.shape) for k, v in model.state_dict().items()}
    tensor = torch.from_numpy if theirs else minitorch_cnn.from_numpy
    model.load_state_dict({k: tensor(np.asarray(v)) for k, v in state.items()})
    return model


def gradients(model: Any, x: Any) -> dict[str, np.ndarray]:
    """Output, and gradients of its weighted sum by the input and every parameter."""
    x.requires_grad_()
    y = model(x)
    weights = common.probe("output", tuple(y.shape))
    like = torch.from_numpy if isinstance(y, torch.Tensor) else minitorch_cnn.from_numpy
    (y * like(weights)).sum().backward()
    found = {name: p.grad for name, p in model.named_parameters()}
    named = {"y": y.detach(), "x": x.grad, **found}
    return {name: np.array(t.numpy()) for name, t in named.items()}


def assert_same(mine: dict[str, np.ndarray], theirs: dict[str, np.ndarray]) -> None:
    assert list(mine) == list(theirs)
    for name, value in mine.items():
        scale = max(1.0, float(np.abs(theirs[name]).max()))
        np.testing.assert_allclose(
            value / scale, theirs[name] / scale, rtol=0, atol=1e-9, err_msg=name
        )


def oracle(state: dict[str, torch.Tensor], x: torch.Tensor, o: dict[str, Any]) -> torch.Tensor:
    """The network in eval mode as formulas on a state dict, from the papers alone."""

    def norm(x: torch.Tensor, name: str) -> torch.Tensor:
        mean, var = (state[f"{name}.running_{s}"][:, None, None] for s in ("mean", "var"))
        scale, shift = (state[f"{name}.{s}"][:, None, None] for s in ("weight", "bias"))
        return (x - mean) / (var + 1e-5).sqrt() * scale + shift

    def conv(x: torch.Tensor, name: str, stride: int = 1) -> torch.Tensor:
        weight = state[f"{name}.weight"]
        return F.conv2d(x, weight, state.get(f"{name}.bias"), stride, weight.shape[-1] // 2)

    def option_a(x: torch.Tensor, like: torch.Tensor, stride: int) -> torch.Tensor:
        padded = torch.zeros_like(like)
        padded[:, : x.shape[1]] = x[:, :, ::stride, ::stride]
        return padded

    def join(x: torch.Tensor, branch: torch.Tensor, name: str, stride: int) -> torch.Tensor:
        kind, preact = o["shortcut"], o["block"] == "preact"
        if kind == "none":
            return branch
        if kind == "conv1x1":
            projected = conv(x, f"{name}.conv", stride)
            return branch + (projected if preact else norm(projected, f"{name}.norm"))
        straight = option_a(x, branch, stride)
        if kind == "scale":
            return straight / 2 + branch
        if kind in ("identity", "dropout"):
            return straight + branch
        g = torch.sigmoid(conv(x, f"{name}.gate", stride))
        return (1 - g) * straight + (g * branch if kind == "exclusive_gate" else branch)

    n = (o["depth"] - 2) // 6
    relu = torch.relu
    x = relu(norm(conv(x, "conv1", o["stem_stride"]), "bn1"))
    for stage in (1, 2, 3):
        for i in range(n):
            name = f"layer{stage}.{i}"
            stride = 2 if stage > 1 and i == 0 else 1
            if o["block"] == "original":
                branch = relu(norm(conv(x, f"{name}.conv1", stride), f"{name}.bn1"))
                branch = norm(conv(branch, f"{name}.conv2"), f"{name}.bn2")
                x = relu(join(x, branch, f"{name}.shortcut", stride))
            else:
                first = stage == 1 and i == 0
                branch = x if first else relu(norm(x, f"{name}.bn1"))
                branch = relu(norm(conv(branch, f"{name}.conv1", stride), f"{name}.bn2"))
                x = join(x, conv(branch, f"{name}.conv2"), f"{name}.shortcut", stride)
    if o["block"] == "preact":
        x = relu(norm(x, "bn2"))
    return x.mean(dim=(2, 3)) @ state["fc.weight"].T + state["fc.bias"]


options = st.fixed_dictionaries(
    {
        "depth": st.sampled_from([8, 14, 20]),
        "width": st.integers(1, 5),
        "num_classes": st.integers(1, 5),
        "in_channels": st.integers(1, 3),
        "block": st.sampled_from(["original", "preact"]),
        "shortcut": st.sampled_from(sorted(SHORTCUTS)),
        "stem_stride": st.integers(1, 2),
    }
)
images = st.tuples(*(st.integers(*r) for r in ((2, 3), (9, 14), (9, 14), (0, 99))))


@given(options, images)
def test_outputs_and_gradients_are_pytorchs(
    o: dict[str, Any], nhws: tuple[int, int, int, int]
) -> None:
    n, h, w, seed = nhws
    x = np.random.default_rng(seed).normal(0, 1, (n, o["in_channels"], h, w))
    mine = filled(ours.CifarResNet(**o), theirs=False)
    theirs = filled(common.in_pytorch("cifar_resnet").CifarResNet(**o), theirs=True)
    for model in (mine, theirs):
        list(common.without_dropout(model))
    assert_same(
        gradients(mine.train(), minitorch_cnn.from_numpy(x)),
        gradients(theirs.train(), torch.from_numpy(x)),
    )


@given(options, images)
def test_outputs_are_the_papers_formulas(
    o: dict[str, Any], nhws: tuple[int, int, int, int]
) -> None:
    n, h, w, seed = nhws
    x = np.random.default_rng(seed).normal(0, 1, (n, o["in_channels"], h, w))
    model = filled(ours.CifarResNet(**o), theirs=False).eval()
    state = {k: torch.from_numpy(v.numpy()) for k, v in model.state_dict().items()}
    expected = oracle(state, torch.from_numpy(x), o).numpy()
    y = model(minitorch_cnn.from_numpy(x)).detach().numpy()
    np.testing.assert_allclose(y, expected, rtol=1e-9, atol=1e-9 * max(1, abs(expected).max()))


@pytest.mark.parametrize("depth", PAPER)
@pytest.mark.parametrize("family", ["resnet", "plain", "preact_resnet"])
def test_parameters_and_layers_of_the_paper(family: str, depth: int) -> None:
    model: Any = ARCHITECTURES[f"{family}{depth}"].builder()
    count = sum(p.numel() for p in model.parameters()) / 1e6
    digits = len(PAPER[depth]) - 2
    assert f"{count:.{digits}f}" == PAPER[depth]
    convolutions = [m for m in model.modules() if isinstance(m, nn.Conv2d)]
    assert len(convolutions) + 1 == depth  # and the fully connected layer
    assert {m.kernel_size for m in convolutions} == {(3, 3)}
    assert [m.out_channels for m in convolutions] == (
        [16] * (depth // 3 + 1) + [32] * (depth // 3) + [64] * (depth // 3)
    )
    assert ARCHITECTURES[f"{family}{depth}"].input == (3, 32, 32)


def test_families_differ_in_their_blocks_alone() -> None:
    assert ours.resnet20().shortcut_kind == ours.preact_resnet20().shortcut_kind == "identity"
    assert ours.plain20().shortcut_kind == "none"
    assert ours.preact_resnet20().preact
    assert not ours.plain20().preact
    assert list(ours.plain20().state_dict()) == list(ours.resnet20().state_dict())


@pytest.mark.parametrize("size", [28, 32])
@pytest.mark.parametrize("block", ["original", "preact"])
def test_stages_at_both_sizes(size: int, block: str) -> None:
    model = ours.cifar_resnet(8, in_channels=1, num_classes=7, block=block)
    seen = []
    for stage in (model.layer1, model.layer2, model.layer3):
        stage.register_forward_hook(lambda m, i, y: seen.append(tuple(y.shape)))
    assert model(minitorch_cnn.randn(2, 1, size, size)).shape == (2, 7)
    assert seen == [(2, 16 * k, size // k, size // k) for k in (1, 2, 4)]


def test_stem_stride_halves_every_map() -> None:
    model = ours.cifar_resnet(8, in_channels=1, stem_stride=2)
    seen = []
    for stage in (model.layer1, model.layer2, model.layer3):
        stage.register_forward_hook(lambda m, i, y: seen.append(tuple(y.shape[2:])))
    model(minitorch_cnn.randn(2, 1, 28, 28))
    assert seen == [(14, 14), (7, 7), (4, 4)]


@pytest.mark.parametrize(("depth", "near"), [(18, "14 and 20"), (2, "8 and 14"), (-4, "8 and 14")])
def test_other_depths_are_refused(depth: int, near: str) -> None:
    with pytest.raises(ValueError, match=f"6n \\+ 2 with n >= 1, got {depth}; near it are {near}"):
        ours.cifar_resnet(depth)


def test_unknown_names_are_refused() -> None:
    with pytest.raises(ValueError, match=r"block must be .*'bottleneck'"):
        ours.cifar_resnet(8, block="bottleneck")
    with pytest.raises(ValueError, match="no shortcut 'concat'"):
        ours.cifar_resnet(8, shortcut="concat")
    with pytest.raises(TypeError, match="small_input"):
        ours.resnet20(small_input=True)


def test_wrong_channels_name_both_shapes() -> None:
    with pytest.raises(RuntimeError, match=r"3 channels.*1|1 channels.*3"):
        ours.cifar_resnet(8)(minitorch_cnn.randn(2, 1, 32, 32))


def test_shortcut_options_reach_every_block() -> None:
    model = ours.cifar_resnet(14, shortcut="scale", shortcut_options={"scale": 0.25})
    assert [m.scale for m in model.modules() if hasattr(m, "scale")] == [0.25] * 6
    gated = ours.cifar_resnet(8, shortcut="shortcut_gate", shortcut_options={"gate_bias": -3.0})
    biases = [
        p.detach().numpy() for name, p in gated.named_parameters() if name.endswith("gate.bias")
    ]
    assert len(biases) == 3
    assert all((b == -3).all() for b in biases)


def test_norm_layer_is_used_everywhere_or_nowhere() -> None:
    for block in ("original", "preact"):
        model = ours.cifar_resnet(8, block=block, shortcut="conv1x1", norm_layer=nn.Identity)
        assert not [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
        assert not any("norm" in name or "bn" in name for name in model.state_dict())


def test_convolutions_start_with_hes_variance() -> None:
    minitorch_cnn.manual_seed(0)
    model = ours.cifar_resnet(8, shortcut="exclusive_gate")
    weight = model.layer3[0].conv1.weight.detach().numpy()
    assert weight.std() == pytest.approx((2 / (64 * 9)) ** 0.5, rel=0.02)
    gate = model.layer3[0].shortcut.gate.weight.detach().numpy()
    assert abs(gate).max() <= 1 / 32**0.5  # the layer's own: uniform up to 1 / sqrt(fan in)


def test_a_fixed_batch_is_learnt() -> None:
    minitorch_cnn.manual_seed(0)
    model = ours.preact_resnet20(in_channels=1, width=4, stem_stride=2)
    optimizer = minitorch_cnn.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    x, y = minitorch_cnn.randn(8, 1, 28, 28), minitorch_cnn.arange(8)
    losses = []
    for _ in range(30):
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.2 * losses[0]
