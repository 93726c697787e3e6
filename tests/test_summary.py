"""Costs counted by summary against the slide's numbers and sums by hand."""

from __future__ import annotations

import minitorch_cnn as torch
from minitorch_cnn import models, nn
from minitorch_cnn.models import lecture
from minitorch_cnn.tools.summary import summary


def test_the_slides_two_costs() -> None:
    plain = summary(lecture.Conv5x5(), (192, 28, 28))
    assert plain.macs == 5**2 * 28**2 * 192 * 32 == 120_422_400
    thin = summary(lecture.Bottleneck5x5(), (192, 28, 28))
    assert thin.macs == 28**2 * 192 * 16 + 5**2 * 28**2 * 16 * 32 == 12_443_648
    assert plain.flops == 2 * plain.macs
    assert "120,422,400" in str(plain)
    assert "12,443,648" in str(thin)


def test_the_lecture_cnn_by_hand() -> None:
    s = summary(lecture.CNN(), (1, 28, 28))
    assert s.parameters == (25 + 1) * 10 + (250 + 1) * 20 + (320 + 1) * 10
    assert s.macs == 24 * 24 * 25 * 10 + 8 * 8 * 250 * 20 + 320 * 10
    rows = {row.name: row for row in s.rows}
    assert rows["conv1"].output == (1, 10, 24, 24)
    assert rows["conv1"].parameters == 260
    assert rows["fc"].macs == 3200
    # conv1 is followed by a pooling to 12x12 and a relu of that size.
    assert rows["conv1"].activation_bytes == 10 * 24 * 24 * 4
    assert [row.kind for row in s.rows] == [
        "Conv2d", "MaxPool2d", "relu", "Conv2d", "MaxPool2d", "relu", "reshape", "Linear",
        "log_softmax",
    ]  # fmt: skip


def test_a_batch_costs_in_proportion_and_parameters_do_not() -> None:
    one, eight = (summary(lecture.CNN(), (1, 28, 28), n) for n in (1, 8))
    assert eight.macs == 8 * one.macs
    assert eight.parameters == one.parameters


def test_shared_layers_count_their_parameters_once() -> None:
    conv = nn.Conv2d(3, 3, 3, padding=1, bias=False)
    s = summary(nn.Sequential(conv, conv), (3, 8, 8))
    assert s.parameters == 81
    assert sum(row.parameters for row in s.rows) == 81
    assert s.macs == 2 * 81 * 64


def test_summary_leaves_the_model_as_it_was() -> None:
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2)).train()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    summary(model, torch.randn(4, 1, 8, 8))
    assert model.training
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())


def test_the_lectures_models_have_their_input() -> None:
    for name in ("cnn", "inception", "deeper", "conv5x5", "bottleneck5x5"):
        assert summary(models.get_model(name), models.ARCHITECTURES[name].input).macs > 0
