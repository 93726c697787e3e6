"""What explain says of a model's convolutions is what runs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

import minitorch_cnn as torch
from minitorch_cnn import models, nn
from minitorch_cnn.cli import app
from minitorch_cnn.kernels import algorithms
from minitorch_cnn.tools.explain import explain
from minitorch_cnn.tools.summary import summary


def mixed() -> nn.Module:
    """Each kind of layer once."""
    return nn.Sequential(
        nn.Conv2d(3, 24, 3, padding=1), nn.Conv2d(24, 24, 3, padding=1),
        nn.Conv2d(24, 16, 1), nn.Conv2d(16, 16, 3, groups=16, stride=2),
        nn.Conv2d(16, 8, (2, 4), padding="same", dilation=(1, 3)),
        nn.ConvTranspose2d(8, 6, 3, stride=2, padding=1, output_padding=1, dilation=2),
        nn.Flatten(2), nn.Conv1d(6, 4, 5, stride=3, padding=2, groups=2),
    )  # fmt: skip


def test_it_asks_what_the_kernels_ask(monkeypatch: pytest.MonkeyPatch) -> None:
    model, x = mixed(), torch.randn(2, 3, 12, 12)
    asked: list[tuple[Any, Any]] = []
    choose = algorithms.choose

    def record(problem: Any, algorithm: str = "auto", measure: Any = None) -> Any:
        answer = choose(problem, algorithm, measure)
        asked.append((problem, answer))
        return answer

    monkeypatch.setattr(algorithms, "choose", record)
    y = model(x)
    ran = list(asked)
    y.sum().backward()
    back = asked[len(ran) :]
    asked.clear()
    rows = explain(model, x)
    told = {problem for problem, _ in asked}
    assert {problem for problem, _ in (*ran, *back)} <= told
    assert [row.forward for row in rows] == [answer for _, answer in ran]
    assert [row.name for row in rows] == ["0", "1", "2", "3", "4", "5", "7"]
    assert rows[0].grad_input is None
    assert [row.grad_weight for row in rows][::-1] == [
        answer for p, answer in back if p.direction == "grad_weight"
    ]
    assert rows[0].forward.algorithm != "winograd"  # three channels
    assert rows[1].forward.algorithm == "winograd"
    assert rows[2].forward.algorithm == "pointwise"
    assert rows[3].forward.algorithm == "direct"
    assert rows.macs == summary(model, x).macs


def test_the_model_stays_as_it_was_and_other_inputs_are_fine() -> None:
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2)).half()
    rows = explain(model, torch.zeros(1, 1, 5, 5, dtype=torch.float16))
    assert model.training
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
    assert model[1].num_batches_tracked == 0
    assert len(rows) == 1
    assert rows[0].macs == 2 * 9 * 9
    assert explain(nn.Conv2d(1, 2, 3), torch.zeros(1, 5, 5))[0].name == "(conv2d)"
    assert len(explain(nn.Linear(3, 2), torch.zeros(1, 3))) == 0
    assert "total" in str(explain(nn.Linear(3, 2), torch.zeros(1, 3)))


def test_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    model, x = models.resnet18(num_classes=10), torch.zeros(1, 3, 64, 64)
    with torch.backends.conv2d.using("im2col"):
        rows = torch.backends.conv2d.explain(model, x)
    told = capsys.readouterr().out
    assert len(rows) == 20
    assert {c.algorithm for row in rows for c in row.chosen} == {"im2col"}
    assert "im2col: asked for" in told
    assert f"{sum(row.macs for row in rows):,}" in told
    lines = told.splitlines()
    assert lines[0] == "ResNet"
    assert lines[3].split()[:4] == ["conv1", "1x3x64x64", "64x3x7x7", "1x64x32x32"]
    assert max(map(len, lines)) <= 150
    assert rows.workspace == max(row.workspace for row in rows) > 0
    np.testing.assert_equal(rows.macs, rows[0].macs + sum(row.macs for row in rows[1:]))


def test_the_command() -> None:
    run = CliRunner().invoke
    out = run(app, ["explain", "resnet18", "--small-input", "--batch-size", "4"]).output
    assert "layer4.1.conv2" in out
    assert "4x3x32x32" in out
    assert "winograd: 3x3" in out
    assert "1x24x24" in run(app, ["explain", "cnn", "--input", "1,28,28"]).output.replace("10", "1")
    assert "C,H,W" in run(app, ["explain", "cnn", "--input", "28"]).output
