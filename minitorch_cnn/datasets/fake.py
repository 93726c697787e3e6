"""Random images with random labels, for trying a program out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..random import Generator
from ..tensor import Tensor
from ..transforms.functional import to_pil_image
from .vision import Apply, VisionDataset


class FakeData(VisionDataset):
    """``size`` noise images of shape ``image_size`` (C, H, W), each with one of ``num_classes``.

    Sample i depends on ``i + random_offset`` alone. Samples are (PIL image, int).
    """

    def __init__(
        self,
        size: int = 1000,
        image_size: Sequence[int] = (3, 224, 224),
        num_classes: int = 10,
        transform: Apply | None = None,
        target_transform: Apply | None = None,
        random_offset: int = 0,
    ) -> None:
        super().__init__(transform=transform, target_transform=target_transform)
        self.size = size
        self.image_size = tuple(image_size)
        self.num_classes = num_classes
        self.random_offset = random_offset

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        if index >= self.size:
            raise IndexError(f"FakeData index {index} is out of range for {self.size} samples")
        stream = Generator().manual_seed(index + self.random_offset).numpy
        pixels = stream.integers(256, size=self.image_size, dtype=np.uint8)
        image: Any = to_pil_image(Tensor._wrap(pixels))
        target: Any = int(stream.integers(self.num_classes))
        if self.transform is not None:
            image = self.transform(image)
        if self.target_transform is not None:
            target = self.target_transform(target)
        return image, target

    def __len__(self) -> int:
        return self.size
