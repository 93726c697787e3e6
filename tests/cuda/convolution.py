"""What a launcher does for the three results of a convolution, by conv2d.cu or depthwise.cu."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from .common import emulate, nans


def forward(
    file: str | Path, kernel: str, x: Any, weight: Any, bias: Any, y_shape: Any, *settings: Any,
    **how: Any,
) -> np.ndarray:  # fmt: skip
    y = nans(y_shape, x)
    emulate(file, kernel, x, weight, bias, y, *settings, **how)
    return y


def grad_input(
    file: str | Path, kernel: str, gy: Any, weight: Any, x_shape: Any, *settings: Any, **how: Any
) -> np.ndarray:
    gx = nans(x_shape, gy)
    emulate(file, kernel, gy, weight, gx, *settings, **how)
    return gx


def grad_weight(
    file: str | Path, kernel: str, gy: Any, x: Any, weight_shape: Any, *settings: Any,
    slices: int = 0, **how: Any,
) -> np.ndarray:  # fmt: skip
    """In one pass, or in two, by way of ``slices`` partial sums."""
    gw = nans(weight_shape, x)
    if not slices:
        emulate(file, kernel, gy, x, gw, *settings, **how)
        return gw
    partial = nans((slices, *weight_shape), x)
    emulate(file, kernel, gy, x, partial, *settings, **how)
    emulate(file, "add_slices", partial, gw, **how)
    return gw


def pytorch(
    x: Any, weight: Any, bias: Any, gy_seed: int, S: Any, P: Any, D: Any, G: int
) -> tuple[np.ndarray, list[np.ndarray]]:
    """gy, and y, gx, gw; in float64: PyTorch's rounding errors are not ours to follow."""
    tensors = [torch.tensor(a, dtype=torch.float64, requires_grad=True) for a in (x, weight)]
    biases = None if bias is None else torch.from_numpy(bias).double()
    y = torch.nn.functional.conv2d(*tensors, biases, S, P, D, G)
    gy = np.random.default_rng(gy_seed).standard_normal(y.shape).astype(x.dtype)
    gx, gw = torch.autograd.grad(y, tensors, torch.from_numpy(gy).double())
    return gy, [y.detach().numpy(), gx.numpy(), gw.numpy()]
