"""The architectures, one file per paper; ``build(name)`` makes one by its command-line name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from .. import nn
from . import lecture

__all__ = ["BUILDERS", "INPUTS", "build", "lecture"]

BUILDERS: Mapping[str, Callable[[], nn.Module]] = MappingProxyType(
    {
        "cnn": lecture.CNN,
        "inception": lecture.InceptionNet,
        "deeper": lecture.DeeperCNN,
        "conv5x5": lecture.Conv5x5,
        "bottleneck5x5": lecture.Bottleneck5x5,
    }
)

# The input (C, H, W) that each model was designed for.
INPUTS: Mapping[str, tuple[int, int, int]] = MappingProxyType(
    {
        "cnn": (1, 28, 28),
        "inception": (1, 28, 28),
        "deeper": (1, 28, 28),
        "conv5x5": (192, 28, 28),
        "bottleneck5x5": (192, 28, 28),
    }
)


def build(name: str) -> nn.Module:
    """A new model; ValueError lists the names there are."""
    try:
        return BUILDERS[name]()
    except KeyError:
        raise ValueError(f"no model {name!r}; there are: {', '.join(BUILDERS)}") from None
