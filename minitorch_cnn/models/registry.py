"""``@architecture``: one decorator gives a model its name, its input size and its ``weights``."""

from __future__ import annotations

import difflib
import fnmatch
import functools
import inspect
import warnings
from collections.abc import Callable, Iterable
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


def find(name: str) -> Architecture:
    """The architecture of that name, whose case does not matter; ValueError tells similar names."""
    if name.lower() in ARCHITECTURES:
        return ARCHITECTURES[name.lower()]
    similar = ", ".join(difflib.get_close_matches(name.lower(), ARCHITECTURES, 3))
    guess = f": did you mean {similar}?" if similar else ";"
    raise ValueError(f"no architecture {name!r}{guess} `minitorch-cnn models` lists all")


def get_model(name: str, **config: Any) -> nn.Module:
    """``get_model("resnet50", num_classes=10)``; ValueError suggests similar names."""
    return get_model_builder(name)(**config)


def get_model_builder(name: str) -> Callable[..., nn.Module]:
    """The function that builds the architecture of that name; its case does not matter."""
    return find(name).builder


def list_models(
    include: str | Iterable[str] | None = None, exclude: str | Iterable[str] | None = None
) -> list[str]:
    """Names of all architectures, sorted; ``include`` and ``exclude`` are patterns ("resnet*")."""

    def matches(name: str, patterns: str | Iterable[str]) -> bool:
        patterns = [patterns] if isinstance(patterns, str) else patterns
        return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)

    return sorted(
        name
        for name in ARCHITECTURES
        if (include is None or matches(name, include))
        and not (exclude is not None and matches(name, exclude))
    )


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
        takes_options = bool(inspect.signature(function).parameters)

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
            if options and not takes_options:
                raise TypeError(f"{label} takes no options, got {', '.join(options)}")
            if weights is None:
                return function(**options)
            from .weights import initialize

            return initialize(label, function, weights, options)

        ARCHITECTURES[label] = Architecture(label, builder, input)
        return builder

    return register
