"""What the tests of figures and of Grad-CAM share."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch.nn import functional as TF

import minitorch_cnn as mt
from minitorch_cnn import nn


class Residual(nn.Module):
    """Two blocks with shortcuts, in-place ReLU, batch norm, global pooling; returns a tuple."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 6, 3, padding=1)
        self.bn = nn.BatchNorm2d(6)
        self.relu = nn.ReLU(inplace=True)
        self.down = nn.Conv2d(6, 8, 3, stride=2, padding=1)
        self.branch = nn.Sequential(
            nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(inplace=True),
            nn.Conv2d(8, 8, 3, padding=1),
        )  # fmt: skip
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(8, 5)

    def forward(self, x: Any) -> Any:
        x = self.relu(self.bn(self.conv(x)))
        x = self.down(x)
        x = self.relu(x + self.branch(x))
        y = self.fc(self.pool(x).flatten(1))
        return y, x


def weights_of(model: nn.Module) -> dict[str, torch.Tensor]:
    return {k: torch.from_numpy(np.array(v.numpy())) for k, v in model.state_dict().items()}


def random_residual(dtype: Any = np.float64) -> Residual:
    """With batch statistics that are not 0 and 1."""
    model = Residual()
    if dtype == np.float64:
        model = model.double()
    rng = np.random.default_rng(3)
    for bn in (model.bn, model.branch[1]):
        bn.running_mean.copy_(mt.tensor(rng.normal(size=len(bn.running_mean)).astype(dtype)))
        bn.running_var.copy_(mt.tensor(rng.uniform(0.5, 2, len(bn.running_var)).astype(dtype)))
    return model


def residual_by_hand(w: dict[str, torch.Tensor], x: torch.Tensor) -> tuple[Any, dict[str, Any]]:
    def bn(x: Any, name: str) -> Any:
        return TF.batch_norm(
            x, w[f"{name}.running_mean"], w[f"{name}.running_var"],
            w[f"{name}.weight"], w[f"{name}.bias"],
        )  # fmt: skip

    def conv(x: Any, name: str, **options: Any) -> Any:
        return TF.conv2d(x, w[f"{name}.weight"], w[f"{name}.bias"], padding=1, **options)

    first = conv(x, "conv").requires_grad_()
    normal = bn(first, "bn")
    relu1 = TF.relu(normal)
    down = conv(relu1, "down", stride=2)
    inner = conv(down, "branch.0")
    hidden = bn(inner, "branch.1")
    active = TF.relu(hidden)
    branch = conv(active, "branch.3")
    relu2 = TF.relu(down + branch)
    scores = TF.linear(relu2.mean((2, 3)), w["fc.weight"], w["fc.bias"])
    return scores, {
        "conv": first, "bn": normal, "relu#1": relu1, "down": down, "branch.0": inner,
        "branch.1": hidden, "branch.2": active, "branch": branch, "relu#2": relu2,
    }  # fmt: skip
