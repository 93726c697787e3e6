"""Compare a model of ours with a function on PyTorch's tensors that was written independently."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

import minitorch_cnn as mt
from minitorch_cnn import nn

from . import common

# A model's parameters and buffers by name, and the prefix of a layer among them.
Params = dict[str, torch.Tensor]
TOLERANCE = 1e-9


def fill(model: nn.Module) -> None:
    """float64 values that depend on the names of the parameters alone."""
    model.double()
    model.load_state_dict(
        {k: mt.from_numpy(common.values(k, v.shape)) for k, v in model.state_dict().items()}
    )


def conv(x: torch.Tensor, p: Params, name: str, **settings: Any) -> torch.Tensor:
    return F.conv2d(x, p[f"{name}.weight"], p.get(f"{name}.bias"), **settings)


def norm(x: torch.Tensor, p: Params, name: str, training: bool) -> torch.Tensor:
    mean, var, weight, bias = (
        p[f"{name}.{kind}"] for kind in ("running_mean", "running_var", "weight", "bias")
    )
    return F.batch_norm(x, mean, var, weight, bias, training)


def assert_computes(
    model: nn.Module,
    by_hand: Callable[[torch.Tensor, Params], torch.Tensor],
    x: np.ndarray,
    buffers: bool = True,
) -> None:
    """The same output, gradients of input and parameters, and buffers, in float64."""
    fill(model)
    p: Params = {}
    for k, v in model.state_dict().items():
        is_parameter = k in dict(model.named_parameters())
        p[k] = torch.from_numpy(v.numpy().copy()).requires_grad_(is_parameter)
    our_x = mt.from_numpy(x.copy()).requires_grad_()
    their_x = torch.from_numpy(x.copy()).requires_grad_()
    ours, theirs = model(our_x), by_hand(their_x, p)
    assert tuple(ours.shape) == tuple(theirs.shape)
    gy = np.random.default_rng(len(p)).standard_normal(tuple(theirs.shape))
    ours.backward(mt.from_numpy(gy))
    theirs.backward(torch.from_numpy(gy))

    pairs = [("output", ours.detach().numpy(), theirs.detach().numpy())]
    assert_close(pairs)
    pairs = [("input", our_x.grad.numpy(), their_x.grad.numpy())]
    for k, parameter in model.named_parameters():
        assert parameter.grad is not None, f"no gradient for {k}"
        pairs.append((k, parameter.grad.numpy(), p[k].grad.numpy()))
    assert_close(pairs)
    if buffers:
        for k, v in model.named_buffers():
            if not k.endswith("num_batches_tracked"):
                assert_close([(k, v.numpy(), p[k].numpy())])


def assert_close(pairs: list[tuple[str, np.ndarray, np.ndarray]]) -> None:
    """Equal to 1e-9 of the largest of all values: a bias before a batch norm has gradient 0."""
    scale = max((np.abs(b).max(initial=0) for _, _, b in pairs), default=0)
    for name, a, b in pairs:
        np.testing.assert_allclose(a, b, rtol=0, atol=TOLERANCE * scale, err_msg=name)
