"""Grad-CAM against PyTorch, and what it leaves untouched."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as TF

import minitorch_cnn as mt
from minitorch_cnn import nn
from minitorch_cnn.models import lecture
from minitorch_cnn.tools import plots

from .plots_common import random_residual, residual_by_hand, weights_of


def cam_of(scores: torch.Tensor, maps: torch.Tensor, target: Any, size: Any) -> np.ndarray:
    """Selvaraju et al. 2017, equations 1 and 2, image by image with PyTorch's gradients."""
    heats = []
    for n in range(len(scores)):
        c = (
            int(scores[n].argmax())
            if target is None
            else int(np.broadcast_to(target, len(scores))[n])
        )
        (gradient,) = torch.autograd.grad(scores[n, c], maps, retain_graph=True)
        total = torch.zeros_like(maps[n, 0])
        for k in range(maps.shape[1]):
            total = total + gradient[n, k].sum() / gradient[n, k].numel() * maps[n, k]
        heat = TF.interpolate(
            total.clamp(min=0)[None, None], size=size, mode="bilinear", align_corners=False
        )[0, 0]
        heats.append((heat / heat.max() if heat.max() > 0 else heat).detach().numpy())
    return np.stack(heats)


def lecture_by_hand(w: dict[str, torch.Tensor], x: torch.Tensor) -> tuple[Any, dict[str, Any]]:
    """Logits (before log_softmax) of the lecture's CNN, and the outputs of its layers."""
    conv1 = TF.conv2d(x, w["conv1.weight"], w["conv1.bias"]).requires_grad_()
    mp1 = TF.max_pool2d(conv1, 2)
    conv2 = TF.conv2d(TF.relu(mp1), w["conv2.weight"], w["conv2.bias"])
    mp2 = TF.max_pool2d(conv2, 2)
    scores = TF.linear(TF.relu(mp2).flatten(1), w["fc.weight"], w["fc.bias"])
    return scores, {"conv1": conv1, "mp#1": mp1, "conv2": conv2, "mp#2": mp2}


@pytest.mark.parametrize("layer", [None, "conv1", "mp#1", "conv2", "mp"])
@pytest.mark.parametrize("target", [None, 4, [3, 0, 9]])
def test_grad_cam_of_the_lectures_cnn(layer: str | None, target: Any, rng: Any) -> None:
    model = lecture.CNN().double()
    x = rng.normal(size=(3, 1, 28, 28))
    scores, maps = lecture_by_hand(weights_of(model), torch.from_numpy(x))
    key = {None: "mp#2", "mp": "mp#2"}.get(layer, layer)
    expected = cam_of(scores, maps[key], target, (28, 28))
    got = plots.grad_cam(model, x, target, layer)
    assert got.shape == (3, 28, 28)
    assert expected.max() == 1
    np.testing.assert_allclose(got, expected, rtol=1e-9, atol=1e-12)
    found = plots.explain(model, x, target, layer)
    assert found.layer == key
    p = torch.softmax(scores, 1).detach().numpy()
    np.testing.assert_allclose(found.probabilities, p[range(3), found.targets], rtol=1e-9)


LAYERS = [
    "conv",
    "bn",
    "relu#1",
    "down",
    "branch.0",
    "branch.1",
    "branch.2",
    "branch",
    "relu",
    None,
]


@pytest.mark.parametrize("layer", LAYERS)
def test_grad_cam_of_a_residual_net_with_in_place_layers(layer: str | None, rng: Any) -> None:
    model = random_residual()
    x = rng.normal(size=(2, 3, 11, 8))  # H != W
    scores, maps = residual_by_hand(weights_of(model), torch.from_numpy(x))
    key = {None: "relu#2", "relu": "relu#2"}.get(layer, layer)
    expected = cam_of(scores, maps[key], [4, 1], (11, 8))
    got = plots.grad_cam(model, x, [4, 1], layer)
    np.testing.assert_allclose(got, expected, rtol=1e-9, atol=1e-12)
    single = plots.grad_cam(model, mt.tensor(x[1]), 1, layer)
    np.testing.assert_allclose(single, expected[1], rtol=1e-9, atol=1e-12)


def test_grad_cam_after_softmax_and_for_nothing(rng: Any) -> None:
    x = rng.normal(size=(1, 1, 6, 6))
    body = nn.Sequential(nn.Conv2d(1, 3, 3), nn.Flatten(), nn.Linear(48, 4)).double()
    plain = plots.explain(body, x, 2)
    for last in (nn.Softmax(1), nn.LogSoftmax(1)):
        found = plots.explain(nn.Sequential(body, last), x, 2)
        np.testing.assert_allclose(found.heat, plain.heat, rtol=1e-12)
        np.testing.assert_allclose(found.probabilities, plain.probabilities, rtol=1e-12)
    with mt.no_grad():
        body[2].weight.zero_()
    assert (plots.grad_cam(body, x, 2) == 0).all()


def test_state_is_untouched_also_after_an_error(rng: Any) -> None:
    model = random_residual()
    model.train()
    model.bn.eval()  # one layer frozen, as in fine-tuning
    model(mt.tensor(rng.normal(size=(2, 3, 8, 8))))[0].sum().backward()
    for p in model.branch.parameters():
        p.requires_grad_(False)
    x = mt.tensor(rng.normal(size=(1, 3, 8, 8)))

    def state() -> Any:
        return (
            [m.training for m in model.modules()],
            [p.requires_grad for p in model.parameters()],
            [np.array(p.grad.numpy()) for p in model.parameters()],
            [np.array(v.numpy()) for v in model.state_dict().values()],
            [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules()],
            np.array(x.numpy()),
            mt.is_grad_enabled(),
        )

    before = state()
    assert sum(before[4]) == 0
    plots.grad_cam(model, x)
    plots.feature_maps(model, x)
    with mt.no_grad():
        plots.grad_cam(model, x)
    with pytest.raises(ValueError, match="no layer 'layer9'"):
        plots.grad_cam(model, x, layer="layer9")
    with pytest.raises(RuntimeError, match="conv"):
        plots.grad_cam(model, np.zeros((1, 4, 8, 8)))
    with pytest.raises(RuntimeError, match="conv"):
        plots.feature_maps(model, np.zeros((1, 4, 8, 8)))
    np.testing.assert_equal(state(), before)
    for p in model.parameters():
        p.requires_grad_(False)
    expected = plots.grad_cam(model, x, 4)
    assert expected.max() == 1  # a wholly frozen model has maps as well


def test_layers_that_overwrite_the_input_or_what_a_layer_returned(rng: Any) -> None:
    class Aliased(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.ReLU(inplace=True)
            self.conv = nn.Conv2d(1, 2, 3)
            self.same = nn.Identity()
            self.fc = nn.Linear(2, 3)

        def forward(self, x: Any) -> Any:
            y = self.conv(self.first(x))
            z = self.same(y)
            y.mul_(-7)
            return self.fc(z.mean((2, 3)))

    model = Aliased().double()
    x = mt.tensor(rng.normal(size=(1, 1, 5, 4)))
    before = np.array(x.numpy())
    target = 0
    got = plots.grad_cam(model, x, target, "same")
    np.testing.assert_array_equal(x.numpy(), before)
    w = weights_of(model)
    maps = TF.conv2d(torch.from_numpy(before).relu(), w["conv.weight"], w["conv.bias"])
    maps.requires_grad_()
    scores = TF.linear(maps.mean((2, 3)), w["fc.weight"], w["fc.bias"])
    np.testing.assert_allclose(got, cam_of(scores, maps, target, (5, 4)), rtol=1e-9, atol=1e-12)
    assert got.max() == 1


class Odd(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 2, 3)
        self.aside = nn.Conv2d(1, 2, 3)
        self.unused = nn.Conv2d(1, 2, 3)
        self.fc = nn.Linear(2, 3)

    def forward(self, x: Any) -> Any:
        y = self.fc(self.conv(x).mean((2, 3)))
        self.aside(x)
        return {"scores": y}


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"layer": "convv"}, "Odd: there is no layer 'convv'; candidates are conv, aside"),
        ({"layer": "fc"}, r"layer 'fc' is of shape \[1, 3\], not \(N, C, H, W\); candidates are"),
        ({"layer": "unused"}, "layer 'unused' is not called by forward in eval mode; candidates"),
        ({"layer": "aside"}, "Odd does not depend on layer 'aside'"),
        ({"target": 3}, r"3 is not among the classes 0\.\.2"),
        ({"target": -1}, "is not among the classes"),
        ({"target": [0, 1]}, "one for each of the 1 images"),
        ({"target": 1.0}, "must be a class"),
    ],
)
def test_grad_cam_refuses(options: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        plots.grad_cam(Odd(), np.ones((1, 1, 5, 5)), **{"layer": "conv", **options})


def test_grad_cam_refuses_models_without_maps_or_scores() -> None:
    linear = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
    with pytest.raises(ValueError, match=r"no layer of Sequential .* outputs: 0 .*1 "):
        plots.grad_cam(linear, np.ones((1, 1, 2, 2)))
    with pytest.raises(ValueError, match=r"scores \(N, classes\), got \[1, 2, 3, 3\]"):
        plots.grad_cam(nn.Sequential(nn.Conv2d(1, 2, 3)), np.ones((1, 1, 5, 5)))
    with pytest.raises(ValueError, match=r"\(N, C, H, W\) or \(C, H, W\), got \[2, 2\]"):
        plots.grad_cam(linear, np.ones((2, 2)))
