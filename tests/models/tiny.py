"""A small network of ours and PyTorch's, registered as an architecture, for the weight tests."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from minitorch_cnn import nn
from minitorch_cnn.models import registry, weights


def network(lib: Any, num_classes: int = 10, in_channels: int = 3, width: int = 4) -> Any:
    """A small convolutional network: ours with ``nn``, PyTorch's with ``torch.nn``."""
    net = lib.Sequential()
    net.add_module("conv", lib.Conv2d(in_channels, width, 3, bias=False))
    net.add_module("bn", lib.BatchNorm2d(width))
    net.add_module("relu", lib.ReLU())
    net.add_module("pool", lib.AdaptiveAvgPool2d((1, 1)))
    net.add_module("flat", lib.Flatten())
    net.add_module("fc", lib.Linear(width, num_classes))
    return net


def deeper_network(lib: Any) -> Any:
    net = network(lib)
    net.add_module("more", network(lib, in_channels=10))
    return net


Builder = Callable[..., Any]


@pytest.fixture(name="tiny", autouse=True)
def tiny_architecture(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Builder:
    """Two architectures, alone in the registry, and a cache folder that is not the user's."""
    monkeypatch.setattr(registry, "ARCHITECTURES", {})
    # Not by the environment variable: the compiled kernels would move there too.
    monkeypatch.setattr(weights, "cache_directory", lambda: tmp_path / "cache")

    @registry.architecture(input=(3, 16, 16))
    def tiny(**options: Any) -> Any:
        return network(nn, **options)

    @registry.architecture(input=(3, 16, 16))
    def deeper() -> Any:
        return deeper_network(nn)

    return tiny


def trained(seed: int = 0, **options: Any) -> Any:
    """PyTorch's network with numbers of its own in every tensor, in eval mode."""
    torch.manual_seed(seed)
    net = network(torch.nn, **options)
    for tensor in net.state_dict().values():
        if tensor.is_floating_point():
            tensor.copy_(torch.rand(tensor.shape) + 0.5)
    return net.eval()


def written(net: Any, **options: Any) -> bytes:
    file = io.BytesIO()
    torch.save(net.state_dict(), file, **options)
    return file.getvalue()
