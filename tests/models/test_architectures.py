"""Every published architecture: its names, its size, its cost, and what it computes.

The facts are torchvision's and timm's (``facts/``); the numbers were computed by their own models
(``recorded/``, see ``record.py``).
"""

from __future__ import annotations

import functools
import json
import math
import statistics
from typing import Any

import numpy as np
import pytest

import minitorch_cnn as torch
from minitorch_cnn import models, nn
from minitorch_cnn.tools.summary import summary
from minitorch_cnn.tools.zoo import build_to_count

from . import common

KEYS = tuple(common.facts("state_dicts"))


def build(key: str) -> nn.Module:
    """The network with zeros for weights: drawing them would take longer than the tests."""
    name, options = common.builder_and_options(key)
    return build_to_count(models.ARCHITECTURES[name], **options)


@functools.cache
def recorded(key: str) -> dict[str, Any]:
    text = (common.HERE / "recorded" / f"{key}.json").read_text(encoding="utf-8")
    return dict(json.loads(text))


def weights_of(key: str, gentle: bool) -> dict[str, torch.Tensor]:
    return {
        name: torch.from_numpy(common.values(name, shape, gentle))
        for name, shape in common.facts("state_dicts")[key]
    }


def filled(key: str, weights: dict[str, torch.Tensor], dtype: Any) -> nn.Module:
    model = build(key).to(dtype)
    model.load_state_dict(weights)
    list(common.without_dropout(model))
    return model


def images(key: str, dtype: Any) -> torch.Tensor:
    x = common.images(recorded(key)["input"], recorded(key)["seed"])
    return torch.from_numpy(x).to(dtype)


@pytest.mark.parametrize("key", KEYS)
def test_names_shapes_and_order(key: str) -> None:
    ours = [[name, list(tensor.shape)] for name, tensor in build(key).state_dict().items()]
    assert ours == common.facts("state_dicts")[key]


@pytest.mark.parametrize("key", KEYS)
def test_counts_and_macs(key: str) -> None:
    facts = common.facts("model_costs")[key]
    found = summary(build(key), facts["input"][1:], facts["input"][0])
    assert found.parameters == facts["parameters"]
    assert found.buffers == facts["buffers"]
    assert found.macs == facts["macs"]
    assert found.flops > facts["flops"]


@pytest.mark.parametrize("key", KEYS)
def test_outputs_gradients_and_statistics(key: str) -> None:
    """Everything in float64, and the outputs in float32."""
    weights = weights_of(key, gentle=False)
    check_outputs(key, filled(key, weights, torch.float32), torch.float32, 1e-4)
    model = filled(key, weights, torch.float64)
    check_outputs(key, model, torch.float64, 1e-9)

    expected = recorded(key)["train"]
    gradients, loss = train(key, model, torch.float64)
    assert loss == pytest.approx(expected["loss"], rel=1e-9)
    assert list(gradients) == list(expected["gradients"])
    # A bias in front of a batch norm has no gradient but rounding: compare with a usual one.
    floor = 1e-3 * statistics.median(norm for norm, _ in expected["gradients"].values())
    for name, (norm, along) in expected["gradients"].items():
        close = 1e-9 * max(norm, floor)
        assert gradients[name][0] == pytest.approx(norm, abs=close), name
        assert gradients[name][1] == pytest.approx(along, abs=4 * close), name
    for name, along in expected["statistics"].items():
        b = model.get_buffer(name).numpy()
        close = 1e-9 * max(1.0, np.linalg.norm(b))
        assert np.sum(b * common.probe(name, b.shape)) == pytest.approx(along, abs=close), name


@pytest.mark.parametrize("key", KEYS)
def test_gradients_in_float32(key: str) -> None:
    """The whole gradient, with weights that keep every ReLU open (see ``common.values``).

    The Inceptions pool everywhere, and where a window holds a near tie, rounding decides which of
    two inputs gets the gradient: PyTorch's own float32 is off by up to 0.2 % there. AlexNet has no
    batch norm that would keep its ReLUs open: of the third convolution's outputs, up to 9, one is
    -1.5e-6, and float32 may round it to either side of 0 (3.5e-4 of the gradient).
    """
    exact = recorded(key)["float32_error"] < 1e-5 and key != "alexnet"
    tolerance = 1e-4 if exact else 1e-2
    model = filled(key, weights_of(key, gentle=True), torch.float32)
    gradients, _ = train(key, model, torch.float32)
    assert common.error(gradients, recorded(key)["gentle"]["gradients"]) < tolerance


def check_outputs(key: str, model: nn.Module, dtype: Any, tolerance: float) -> None:
    with torch.no_grad():
        y = model.eval()(images(key, dtype))
    assert y.dtype == dtype
    expected = np.array(recorded(key)["eval"])
    norm = recorded(key)["eval_norm"]
    close = tolerance * norm / math.sqrt(y.numel())
    np.testing.assert_allclose(y.numpy()[:, : expected.shape[1]], expected, rtol=0, atol=close)
    assert np.linalg.norm(y.numpy().astype(np.float64)) == pytest.approx(norm, rel=tolerance)


def train(key: str, model: nn.Module, dtype: Any) -> tuple[dict[str, list[float]], float]:
    """Forward and backward in train mode: [norm, projection] of each gradient, and the loss."""
    loss = sum(
        (t * torch.from_numpy(common.probe(f"output {i}", t.shape)).to(dtype)).sum()
        for i, t in enumerate(common.outputs_of(model.train()(images(key, dtype))))
    )
    loss.backward()
    gradients = {}
    for name, parameter in model.named_parameters():
        g = parameter.grad.numpy().astype(np.float64)
        along = float(np.sum(g * common.probe(name, g.shape)))
        gradients[name] = [float(np.linalg.norm(g)), along]
    return gradients, loss.item()
