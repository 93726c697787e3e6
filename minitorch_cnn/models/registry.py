"""``@architecture``: one decorator gives every model its name, its input size and its ``weights``."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from .. import nn

M = TypeVar("M", bound=nn.Module)


@dataclass(frozen=True)
class Architecture:
    """A model that can be built by name, and the (C, H, W) that it was designed for."""

    name: str
    builder: Callable[..., nn.Module]
    input: tuple[int, int, int]


ARCHITECTURES: dict[str, Architecture] = {}


def architecture(
    input: tuple[int, int, int], name: str | None = None
) -> Callable[[Callable[..., M]], Callable[..., M]]:
    """Register a function ``f(**options) -> Module`` and give it torchvision's signature.

    The result is ``f(*, weights=None, progress=True, **options)``. ``weights`` is a file
    (.safetensors, .npz, .pth, .pt), an address, or a name of published weights ("DEFAULT",
    "IMAGENET1K_V1"), and goes to :func:`weights.initialize` together with ``f`` and the options.
    ``progress`` is accepted and ignored: a download shows a bar wherever there is a terminal.
    """

    def register(function: Callable[..., M]) -> Callable[..., M]:
        label = name or function.__name__

        @functools.wraps(function)
        def builder(*, weights: Any = None, progress: bool = True, **options: Any) -> M:
            if "pretrained" in options:  # torchvision's spelling until 2022
                warnings.warn(
                    f"{label}(pretrained=...) is deprecated: write weights=None or"
                    ' weights="IMAGENET1K_V1"',
                    UserWarning,
                    stacklevel=2,
                )
                if options.pop("pretrained") and weights is None:
                    weights = "IMAGENET1K_V1"
            if weights is None:
                return function(**options)
            from .weights import initialize

            return initialize(label, function, weights, options)

        ARCHITECTURES[label] = Architecture(label, builder, input)
        return builder

    return register
