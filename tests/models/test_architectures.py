"""Every published architecture: its names, its size, its cost, and what it computes.

The facts are torchvision's and timm's (``facts/``); the numbers were computed by their own models
(``recorded/``, see ``record.py``).
"""

from __future__ import annotations

import functools
import json
import math
from typing import Any

import numpy as np
import pytest

import minitorch_cnn as torch
from minitorch_cnn import models, nn
from minitorch_cnn.tools.summary import summary

from . import common

KEYS = tuple(common.facts("state_dicts"))


def build(key: str) -> nn.Module:
    name, options = common.builder_and_options(key)
    return models.get_model(name, **options)


@functools.cache
def recorded(key: str) -> dict[str, Any]:
    text = (common.HERE / "recorded" / f"{key}.json").read_text(encoding="utf-8")
    return dict(json.loads(text))


def images(key: str) -> np.ndarray:
    return common.images(recorded(key)["input"], recorded(key)["seed"])


def filled(key: str, dtype: Any, shift: float) -> nn.Module:
    model = build(key)
    model.load_state_dict(
        {
            name: torch.from_numpy(common.values(name, tensor.shape, shift))
            for name, tensor in model.state_dict().items()
        }
    )
    list(common.without_dropout(model))
    return model.to(dtype)


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
def test_outputs_in_eval_mode(key: str) -> None:
    for dtype, tolerance in ((torch.float32, 1e-4), (torch.float64, 1e-9)):
        model = filled(key, dtype, 0.0).eval()
        with torch.no_grad():
            y = model(torch.from_numpy(images(key)).to(dtype))
        assert y.dtype == dtype
        expected = np.array(recorded(key)["eval"])
        norm = recorded(key)["eval_norm"]
        typical = norm / math.sqrt(y.numel())
        np.testing.assert_allclose(
            y.numpy()[:, : expected.shape[1]], expected, rtol=0, atol=tolerance * typical
        )
        assert np.linalg.norm(y.numpy().astype(np.float64)) == pytest.approx(norm, rel=tolerance)


@pytest.mark.parametrize("key", KEYS)
def test_gradients_and_statistics_in_train_mode(key: str) -> None:
    """float64 with ordinary weights; float32 with the gentle ones, where it can be compared."""
    check_training(key, "train", torch.float64, 0.0, 1e-9)
    check_training(key, "gentle", torch.float32, recorded(key)["shift"], 1e-4)


def check_training(key: str, part: str, dtype: Any, shift: float, tolerance: float) -> None:
    expected = recorded(key)[part]
    model = filled(key, dtype, shift).train()
    x = torch.from_numpy(images(key)).to(dtype)
    y = common.outputs_of(model(x))
    loss = sum(
        (t * torch.from_numpy(common.probe(f"output {i}", t.shape)).to(dtype)).sum()
        for i, t in enumerate(y)
    )
    loss.backward()
    size = math.sqrt(sum(float(t.double().square().sum()) for t in y))
    assert loss.item() == pytest.approx(expected["loss"], abs=tolerance * size)
    floor = common.floor(expected["gradients"])
    parameters = dict(model.named_parameters())
    assert list(parameters) == list(expected["gradients"])
    for name, (norm, along) in expected["gradients"].items():
        g = parameters[name].grad.numpy().astype(np.float64)
        atol = tolerance * max(norm, floor)
        assert np.linalg.norm(g) == pytest.approx(norm, abs=atol), name
        assert np.sum(g * common.probe(name, g.shape)) == pytest.approx(along, abs=4 * atol), name
    for name, along in expected["statistics"].items():
        b = model.get_buffer(name).numpy().astype(np.float64)
        close = pytest.approx(along, abs=tolerance * max(1.0, np.linalg.norm(b)))
        assert np.sum(b * common.probe(name, b.shape)) == close, name
