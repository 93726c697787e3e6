"""Inception v4: every block against PyTorch, and what the options do."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

import minitorch_cnn as mt
from minitorch_cnn import nn, optim
from minitorch_cnn.models.inception_v4 import (
    InceptionA,
    InceptionB,
    InceptionC,
    InceptionV4,
    Mixed3a,
    Mixed4a,
    Mixed5a,
    ReductionA,
    ReductionB,
    inception_v4,
)
from minitorch_cnn.tools.summary import summary

from . import common
from .inception_oracle import Oracle, Weights, assert_same, sizes_at

CHANNELS = st.integers(1, 9)
BATCH = st.integers(1, 2)
SIDE = st.integers(2, 9)
SIDE_TO_HALVE = st.integers(5, 11)
WIDE, TALL = (0, 3), (3, 0)


def average(x: torch.Tensor) -> torch.Tensor:
    """Sums of the pixels around each one, over how many of them lie inside the map."""
    window = torch.ones(1, 1, 3, 3, dtype=x.dtype)
    n, c, h, w = x.shape
    sums = F.conv2d(x.reshape(n * c, 1, h, w), window, padding=1).reshape(x.shape)
    return sums / F.conv2d(torch.ones(1, 1, h, w, dtype=x.dtype), window, padding=1)


def mixed3a(w: Weights, x: torch.Tensor) -> torch.Tensor:
    return torch.cat([F.max_pool2d(x, 3, 2), w.conv("conv", x, stride=2)], 1)


def mixed3a_small(w: Weights, x: torch.Tensor) -> torch.Tensor:
    return torch.cat([F.max_pool2d(x, 3, 1, 1), w.conv("conv", x, padding=1)], 1)


def mixed4a(w: Weights, x: torch.Tensor, last: int = 0) -> torch.Tensor:
    b0 = w.conv("branch0.1", w.conv("branch0.0", x), padding=last)
    b1 = w.conv("branch1.1", w.conv("branch1.0", x), padding=WIDE)
    b1 = w.conv("branch1.3", w.conv("branch1.2", b1, padding=TALL), padding=last)
    return torch.cat([b0, b1], 1)


def mixed4a_small(w: Weights, x: torch.Tensor) -> torch.Tensor:
    return mixed4a(w, x, last=1)


def mixed5a(w: Weights, x: torch.Tensor) -> torch.Tensor:
    return torch.cat([w.conv("conv", x, stride=2), F.max_pool2d(x, 3, 2)], 1)


def mixed5a_small(w: Weights, x: torch.Tensor) -> torch.Tensor:
    return torch.cat([w.conv("conv", x, padding=1), F.max_pool2d(x, 3, 1, 1)], 1)


def a(w: Weights, x: torch.Tensor) -> torch.Tensor:
    b1 = w.conv("branch1.1", w.conv("branch1.0", x), padding=1)
    b2 = w.conv("branch2.1", w.conv("branch2.0", x), padding=1)
    b2 = w.conv("branch2.2", b2, padding=1)
    return torch.cat([w.conv("branch0", x), b1, b2, w.conv("branch3.1", average(x))], 1)


def reduction_a(w: Weights, x: torch.Tensor) -> torch.Tensor:
    b1 = w.conv("branch1.1", w.conv("branch1.0", x), padding=1)
    b1 = w.conv("branch1.2", b1, stride=2)
    return torch.cat([w.conv("branch0", x, stride=2), b1, F.max_pool2d(x, 3, 2)], 1)


def b(w: Weights, x: torch.Tensor) -> torch.Tensor:
    b1 = w.conv("branch1.1", w.conv("branch1.0", x), padding=WIDE)
    b1 = w.conv("branch1.2", b1, padding=TALL)
    b2 = w.conv("branch2.1", w.conv("branch2.0", x), padding=TALL)
    b2 = w.conv("branch2.2", b2, padding=WIDE)
    b2 = w.conv("branch2.3", b2, padding=TALL)
    b2 = w.conv("branch2.4", b2, padding=WIDE)
    return torch.cat([w.conv("branch0", x), b1, b2, w.conv("branch3.1", average(x))], 1)


def reduction_b(w: Weights, x: torch.Tensor) -> torch.Tensor:
    b0 = w.conv("branch0.1", w.conv("branch0.0", x), stride=2)
    b1 = w.conv("branch1.1", w.conv("branch1.0", x), padding=WIDE)
    b1 = w.conv("branch1.3", w.conv("branch1.2", b1, padding=TALL), stride=2)
    return torch.cat([b0, b1, F.max_pool2d(x, 3, 2)], 1)


def c(w: Weights, x: torch.Tensor) -> torch.Tensor:
    b1 = w.conv("branch1_0", x)
    b2 = w.conv("branch2_1", w.conv("branch2_0", x), padding=(1, 0))
    b2 = w.conv("branch2_2", b2, padding=(0, 1))
    return torch.cat(
        [
            w.conv("branch0", x),
            w.conv("branch1_1a", b1, padding=(0, 1)),
            w.conv("branch1_1b", b1, padding=(1, 0)),
            w.conv("branch2_3a", b2, padding=(0, 1)),
            w.conv("branch2_3b", b2, padding=(1, 0)),
            w.conv("branch3.1", average(x)),
        ],
        1,
    )


@pytest.mark.parametrize(
    ("block", "oracle"), [(Mixed3a, mixed3a), (Mixed4a, mixed4a), (Mixed5a, mixed5a)]
)
@settings(max_examples=12)
@given(CHANNELS, BATCH, SIDE_TO_HALVE, SIDE_TO_HALVE)
def test_forks_of_the_stem(
    block: type[nn.Module], oracle: Oracle, channels: int, n: int, h: int, w: int
) -> None:
    assert_same(block(channels), oracle, common.images((n, channels, h, w), n))


@pytest.mark.parametrize(
    ("block", "oracle"),
    [(Mixed3a, mixed3a_small), (Mixed4a, mixed4a_small), (Mixed5a, mixed5a_small)],
)
@settings(max_examples=12)
@given(CHANNELS, BATCH, SIDE, SIDE)
def test_forks_of_the_stem_of_small_inputs(
    block: type[nn.Module], oracle: Oracle, channels: int, n: int, h: int, w: int
) -> None:
    x = common.images((n, channels, h, w), n)
    assert_same(block(channels, small_input=True), oracle, x)


@given(CHANNELS, BATCH, SIDE, SIDE)
def test_inception_a(channels: int, n: int, h: int, w: int) -> None:
    assert_same(InceptionA(channels), a, common.images((n, channels, h, w), n))


@settings(max_examples=6)
@given(CHANNELS, BATCH, SIDE, SIDE)
def test_inception_b(channels: int, n: int, h: int, w: int) -> None:
    assert_same(InceptionB(channels), b, common.images((n, channels, h, w), n))


@settings(max_examples=6)
@given(CHANNELS, BATCH, SIDE, SIDE)
def test_inception_c(channels: int, n: int, h: int, w: int) -> None:
    assert_same(InceptionC(channels), c, common.images((n, channels, h, w), n))


@pytest.mark.parametrize(
    ("block", "oracle"), [(ReductionA, reduction_a), (ReductionB, reduction_b)]
)
@settings(max_examples=6)
@given(CHANNELS, BATCH, SIDE_TO_HALVE, SIDE_TO_HALVE)
def test_reductions(
    block: type[nn.Module], oracle: Oracle, channels: int, n: int, h: int, w: int
) -> None:
    assert_same(block(channels), oracle, common.images((n, channels, h, w), n))


@pytest.fixture(scope="module")
def small() -> InceptionV4:
    return inception_v4(num_classes=10, in_channels=1, small_input=True)


@pytest.mark.parametrize(("size", "half", "quarter"), [(28, 13, 6), (32, 15, 7)])
def test_small_input(small: InceptionV4, size: int, half: int, quarter: int) -> None:
    stages = [f"features.{i}" for i in (0, 1, 2, 3, 4, 5, 9, 17, 21)]
    with mt.no_grad():
        found = sizes_at(small.eval(), stages, mt.zeros(1, 1, size, size))
    assert list(found.values()) == [
        (32, size, size),
        (32, size, size),
        (64, size, size),
        (160, size, size),
        (192, size, size),
        (384, size, size),
        (384, size, size),
        (1024, half, half),
        (1536, quarter, quarter),
    ]


def test_one_step_changes_every_layer(small: InceptionV4) -> None:
    before = {name: p.detach().numpy().copy() for name, p in small.named_parameters()}
    sgd = optim.SGD(small.parameters(), lr=0.1)
    y = small.train()(mt.randn(2, 1, 28, 28))
    assert y.shape == (2, 10)
    nn.functional.cross_entropy(y, mt.tensor([3, 4])).backward()
    sgd.step()
    for name, p in small.named_parameters():
        assert not np.array_equal(p.detach().numpy(), before[name]), name


def test_dropout_is_before_the_last_layer() -> None:
    model = InceptionV4(3, drop_rate=1.0, small_input=True).train()
    with mt.no_grad():
        y = model(mt.randn(2, 3, 9, 9))
    np.testing.assert_array_equal(y.numpy(), [model.last_linear.bias.detach().numpy()] * 2)


def test_a_reduction_by_1x1_saves_what_the_docstring_says() -> None:
    def macs(*layers: nn.Module) -> int:
        return int(summary(nn.Sequential(*layers), (1024, 17, 17), 1).macs)

    branch = InceptionB().branch1
    costs = (
        macs(nn.Conv2d(1024, 224, (1, 7), padding=(0, 3))),
        macs(branch[0], branch[1]),
    )
    assert costs == (464027648, 143824896)
    for cost in costs:
        assert f"{cost:,}" in str(InceptionB.__doc__)


def test_smallest_input() -> None:
    model = InceptionV4(3).eval()
    with mt.no_grad():
        assert model(mt.zeros(1, 3, 75, 75)).shape == (1, 3)
    layer = r"padded input size per channel: \(2 x 2\)(.|\n)*in layer 'features.18.branch0.1.conv'"
    with pytest.raises(RuntimeError, match=layer):
        model(mt.zeros(1, 3, 74, 74))
