"""What the command line draws: a trained network, and images in the form that it was trained on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ... import datasets, nn
from ...tensor import Tensor


@dataclass
class Subject:
    """A network and what to call it; ``prepare(file or index)`` gives x (1, C, H, W)."""

    title: str
    network: nn.Module
    prepare: Any
    class_names: Sequence[str] | None = None


@dataclass
class Images:
    """A batch x (N, C, H, W), the pictures to show for it, and their names."""

    x: Tensor
    pictures: list[np.ndarray]
    names: list[str]


def from_checkpoint(path: Path, data_dir: Path | None) -> Subject:
    """A network that ``minitorch-cnn train`` has saved; images are digits."""
    from .. import training

    network, options = training.load_network(path)
    if getattr(options, "dataset", "mnist") != "mnist":
        raise ValueError(f"{path} was trained on {options.dataset}: only MNIST's can be drawn here")
    return Subject(path.stem, network, _Digits(options.normalize, data_dir))


def from_architecture(name: str, weights: str | None, data_dir: Path | None) -> Subject:
    """A network by name, with the weights of a file or published ones (random without any)."""
    from ...models.registry import find
    from ..zoo import preparation

    architecture = find(name)
    network = architecture.builder(weights=weights).eval()
    title = f"{name}, untrained" if weights is None else name
    channels = architecture.input[0]
    if architecture.input == (1, 28, 28):
        return Subject(title, network, _Digits(True, data_dir))
    if channels != 3:
        raise ValueError(f"{name} takes images of {channels} channels: only RGB can be prepared")
    from ...models.imagenet import categories

    names = None if weights is None else categories()
    return Subject(title, network, _Photos(preparation(architecture, weights)), names)


def gather(subject: Subject, images: Sequence[str]) -> Images:
    """All images as one batch."""
    from ...functions import cat

    found = [subject.prepare(image) for image in images]
    return Images(
        cat([x for x, _, _ in found], 0), [p for _, p, _ in found], [n for _, _, n in found]
    )


def digit(index: int, data_dir: Path | None) -> np.ndarray:
    """MNIST's test image of this index, (28, 28) in 0..1."""
    test = datasets.MNIST(None if data_dir is None else str(data_dir), train=False)
    if index >= len(test):
        raise ValueError(f"MNIST has test images 0..{len(test) - 1}, not {index}")
    return np.asarray(test.data[index], np.float32) / 255


@dataclass
class _Digits:
    """Image files of one digit each, or indices of MNIST's test images."""

    normalize: bool
    data_dir: Path | None

    def __call__(self, image: str) -> tuple[Tensor, np.ndarray, str]:
        from ..digits import read_digit
        from ..training import NORMALIZE

        if image.isdecimal() and not Path(image).exists():
            pixels = digit(int(image), self.data_dir)
            x, name = Tensor._wrap(pixels[None, None]), f"test image {image}"
        else:
            x, name = read_digit(Path(image)), Path(image).name
        picture = np.array(x.array[0, 0])
        return (NORMALIZE(x) if self.normalize else x), picture, name


@dataclass
class _Photos:
    """Image files, prepared as for ImageNet."""

    prepare: Any

    def __call__(self, image: str) -> tuple[Tensor, np.ndarray, str]:
        from ..zoo import read_photo

        x = self.prepare(read_photo(Path(image)))
        std, mean = np.array(self.prepare.std), np.array(self.prepare.mean)
        picture = np.clip(x.array.transpose(1, 2, 0) * std + mean, 0, 1)
        return x.unsqueeze(0), picture, Path(image).name
