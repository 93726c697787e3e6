"""Transforms made of other transforms."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ..random import default_generator


class Transform:
    """The base class: a transform is called with an image; subclasses write ``forward``.

    Random ones draw from the default generator, which inside a DataLoader is the batch's own.
    """

    def __call__(self, img: Any) -> Any:
        return self.forward(img)

    def forward(self, img: Any) -> Any:
        raise NotImplementedError(f"{type(self).__name__} should implement forward")

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


def chance(p: float) -> bool:
    """True with probability p."""
    return bool(default_generator.numpy.random() < p)


def uniform(low: float, high: float) -> float:
    """A number from low to high, all equally likely."""
    return float(default_generator.numpy.uniform(low, high))


def integer(low: int, high: int) -> int:
    """low <= result < high."""
    return int(default_generator.numpy.integers(low, high))


def _listed(head: str, transforms: Sequence[Any]) -> str:
    lines = [head, *(f"    {t}" for t in transforms), ")"]
    return "\n".join(lines)


class Compose:
    """Apply ``transforms`` one after the other."""

    def __init__(self, transforms: Sequence[Callable[[Any], Any]]) -> None:
        self.transforms = transforms

    def __call__(self, img: Any) -> Any:
        for t in self.transforms:
            img = t(img)
        return img

    def __repr__(self) -> str:
        return _listed(f"{type(self).__name__}(", self.transforms)


class Lambda(Transform):
    """Apply the function ``lambd``."""

    def __init__(self, lambd: Callable[[Any], Any]) -> None:
        if not callable(lambd):
            raise TypeError(f"Argument lambd should be callable, got {type(lambd).__name__!r}")
        self.lambd = lambd

    def forward(self, img: Any) -> Any:
        return self.lambd(img)


class RandomApply(Transform):
    """With probability ``p``, apply all of ``transforms`` in order; otherwise none."""

    def __init__(self, transforms: Sequence[Callable[[Any], Any]], p: float = 0.5) -> None:
        if not isinstance(transforms, Sequence):
            raise TypeError(f"Argument transforms should be a sequence, got {type(transforms)}")
        self.transforms = transforms
        self.p = p

    def forward(self, img: Any) -> Any:
        if chance(self.p):
            for t in self.transforms:
                img = t(img)
        return img

    def __repr__(self) -> str:
        return _listed(f"{type(self).__name__}(\n    p={self.p}", self.transforms)


class RandomChoice(Transform):
    """Apply one of ``transforms``, chosen with weights ``p`` (equal ones by default)."""

    def __init__(
        self, transforms: Sequence[Callable[[Any], Any]], p: Sequence[float] | None = None
    ) -> None:
        if not isinstance(transforms, Sequence):
            raise TypeError(f"Argument transforms should be a sequence, got {type(transforms)}")
        if p is not None and len(p) != len(transforms):
            raise TypeError(f"Argument p should be a sequence of {len(transforms)} weights: {p}")
        self.transforms = transforms
        self.p = p

    def forward(self, img: Any) -> Any:
        weights = None if self.p is None else [w / sum(self.p) for w in self.p]
        chosen = default_generator.numpy.choice(len(self.transforms), p=weights)
        return self.transforms[chosen](img)

    def __repr__(self) -> str:
        return _listed(f"{type(self).__name__}(", self.transforms) + f"(p={self.p})"


class RandomOrder(Transform):
    """Apply all of ``transforms``, in a random order."""

    def __init__(self, transforms: Sequence[Callable[[Any], Any]]) -> None:
        if not isinstance(transforms, Sequence):
            raise TypeError(f"Argument transforms should be a sequence, got {type(transforms)}")
        self.transforms = transforms

    def forward(self, img: Any) -> Any:
        for i in default_generator.numpy.permutation(len(self.transforms)):
            img = self.transforms[i](img)
        return img

    def __repr__(self) -> str:
        return _listed(f"{type(self).__name__}(", self.transforms)
