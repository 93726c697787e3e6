"""The shortcut modules against the formulas of the paper's table 1, written out in PyTorch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

import minitorch_cnn as mt
from minitorch_cnn import nn
from minitorch_cnn.models.shortcuts import SHORTCUTS, make_shortcut

from . import common
from .by_hand import Params, assert_computes, conv, norm

KINDS = sorted(SHORTCUTS)
PARAMETERS = {
    "exclusive_gate": ["gate.weight", "gate.bias"],
    "shortcut_gate": ["gate.weight", "gate.bias"],
    "conv1x1": ["conv.weight", "norm.weight", "norm.bias"],
}


class Joined(nn.Module):
    """A shortcut around an average pool over 2x channels, so that one input feeds both."""

    def __init__(self, shortcut: nn.Module, weight: np.ndarray, stride: int) -> None:
        super().__init__()
        self.shortcut, self.weight, self.stride = shortcut, mt.from_numpy(weight), stride

    def forward(self, x: Any) -> Any:
        branch = mt.nn.functional.conv2d(x, self.weight, stride=self.stride, padding=1)
        return self.shortcut(x, branch)


def option_a(x: torch.Tensor, like: torch.Tensor, stride: int) -> torch.Tensor:
    n, _, h, w = like.shape
    zeros = x.new_zeros(n, like.shape[1] - x.shape[1], h, w)
    return torch.cat([x[:, :, ::stride, ::stride], zeros], dim=1)


@given(
    st.sampled_from(KINDS),
    st.tuples(st.integers(1, 4), st.integers(0, 3), st.integers(1, 3)),
    st.tuples(*[st.integers(1, 3), *[st.integers(2, 8)] * 2]),
    st.tuples(st.floats(-2, 2), st.floats(-2, 2)),
)
def test_every_kind_is_its_formula(
    kind: str,
    block: tuple[int, int, int],
    nhw: tuple[int, int, int],
    factors: tuple[float, float],
) -> None:
    in_channels, more, stride = block
    out_channels = in_channels + more
    options: dict[str, Any] = {
        "scale": dict(zip(("scale", "branch_scale"), factors, strict=True)),
        "dropout": {"p": 0.0},
    }.get(kind, {})
    shortcut = make_shortcut(kind, in_channels, out_channels, stride, **options)
    weight = np.random.default_rng(more).standard_normal((out_channels, in_channels, 3, 3))

    def by_hand(x: torch.Tensor, p: Params) -> torch.Tensor:
        branch = F.conv2d(x, torch.from_numpy(weight), stride=stride, padding=1)
        if kind == "none":
            return branch
        if kind == "conv1x1":
            projected = conv(x, p, "shortcut.conv", stride=stride)
            return norm(projected, p, "shortcut.norm", training=True) + branch
        h = option_a(x, branch, stride)
        if kind == "scale":
            return factors[0] * h + factors[1] * branch
        if "gate" not in kind:
            return h + branch
        g = 1 / (1 + torch.exp(-conv(x, p, "shortcut.gate", stride=stride)))
        return (1 - g) * h + (g * branch if kind == "exclusive_gate" else branch)

    n, h, w = nhw
    x = common.images((n + 1, in_channels, h + stride, w + stride), seed=n)
    assert_computes(Joined(shortcut, weight, stride), by_hand, x)


@pytest.mark.parametrize("kind", KINDS)
def test_only_gates_and_convolutions_have_parameters(kind: str) -> None:
    shortcut = make_shortcut(kind, 3, 5, stride=2)
    assert [name for name, _ in shortcut.named_parameters()] == PARAMETERS.get(kind, [])
    if kind != "conv1x1":
        assert len(shortcut.state_dict()) == len(PARAMETERS.get(kind, []))


def test_the_scale_is_half_and_gates_start_open() -> None:
    x, branch = mt.full((1, 2, 3, 3), 4.0), mt.full((1, 2, 3, 3), 10.0)
    assert make_shortcut("scale", 2, 2)(x, branch).tolist()[0][0][0][0] == 12
    for kind in ("exclusive_gate", "shortcut_gate"):
        assert make_shortcut(kind, 2, 2).gate.bias.tolist() == [-6, -6]
        assert make_shortcut(kind, 2, 2, gate_bias=0.5).gate.bias.tolist() == [0.5, 0.5]


def test_dropout_drops_the_shortcut_and_never_the_branch() -> None:
    shortcut = make_shortcut("dropout", 1, 1, p=0.75)
    x, branch = mt.ones(1, 1, 40, 50), mt.full((1, 1, 40, 50), 10.0)
    values, counts = np.unique(shortcut(x, branch).numpy(), return_counts=True)
    assert values.tolist() == [10, 14]  # 1 / (1 - 0.75) = 4
    assert abs(counts[1] - 500) < 100  # five standard deviations of a binomial
    assert np.all(shortcut.eval()(x, branch).numpy() == 11)


def test_a_conv1x1_shortcut_may_have_no_norm() -> None:
    shortcut = make_shortcut("conv1x1", 3, 2, stride=2, norm_layer=None)
    assert list(shortcut.state_dict()) == ["conv.weight"]
    assert shortcut(mt.ones(1, 3, 5, 4), mt.zeros(1, 2, 3, 2)).shape == (1, 2, 3, 2)


def test_gradients_multiply_through_scaled_shortcuts_and_add_through_identities() -> None:
    """The paper's equations 5 and 8: with F = 0, dy/dx over L blocks is 1, or lambda^L."""
    for options, expected in ({}, 1.0), ({"scale": 0.5}, 0.5**10), ({"scale": 2.0}, 2.0**10):
        x = mt.ones(1, 1, 2, 2, requires_grad=True)
        y = x
        for _ in range(10):
            y = make_shortcut("scale" if options else "identity", 1, 1, **options)(y, y * 0)
        y.sum().backward()
        assert x.grad.tolist()[0][0][0][0] == expected


def test_errors_name_the_kinds_the_channels_and_the_option() -> None:
    with pytest.raises(ValueError, match=r"no shortcut 'concat'; there are: identity, scale"):
        make_shortcut("concat", 2, 2)
    with pytest.raises(ValueError, match=r"cannot pad 5 channels to 3.*conv1x1"):
        make_shortcut("identity", 5, 3)
    with pytest.raises(TypeError, match="gate_bias"):
        make_shortcut("scale", 2, 2, gate_bias=1.0)
