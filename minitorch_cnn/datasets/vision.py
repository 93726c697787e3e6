"""What all image data sets share: transforms, a repr, and whole batches from memory."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ..tensor import Tensor
from ..transforms.convert import batch_transform
from ..utils.data import Dataset

Apply = Callable[[Any], Any]


class StandardTransform:
    """``transform`` for the image and ``target_transform`` for the target, in one."""

    def __init__(
        self, transform: Apply | None = None, target_transform: Apply | None = None
    ) -> None:
        self.transform = transform
        self.target_transform = target_transform

    def __call__(self, input: Any, target: Any) -> tuple[Any, Any]:
        if self.transform is not None:
            input = self.transform(input)
        if self.target_transform is not None:
            target = self.target_transform(target)
        return input, target

    def __repr__(self) -> str:
        lines = [type(self).__name__]
        parts = {"Transform: ": self.transform, "Target transform: ": self.target_transform}
        for head, transform in parts.items():
            if transform is not None:
                lines.append(head + repr(transform).replace("\n", "\n" + " " * len(head)))
        return "\n".join(lines)


class VisionDataset(Dataset[tuple[Any, Any]]):
    """The base class of image data sets: samples are (image, target).

    Either ``transforms``, a function of both, or ``transform`` and ``target_transform``, of one
    each; ValueError for both kinds.
    """

    def __init__(
        self,
        root: str | Path | None = None,
        transforms: Callable[[Any, Any], Any] | None = None,
        transform: Apply | None = None,
        target_transform: Apply | None = None,
    ) -> None:
        self.root = str(Path(root).expanduser()) if root is not None else None
        separate = transform is not None or target_transform is not None
        if transforms is not None and separate:
            raise ValueError("pass either transforms or transform/target_transform, not both")
        self.transform = transform
        self.target_transform = target_transform
        self.transforms = StandardTransform(transform, target_transform) if separate else transforms

    def __len__(self) -> int:
        raise NotImplementedError(f"{type(self).__name__} should implement __len__")

    def extra_repr(self) -> str:
        """Further lines for the repr."""
        return ""

    def __repr__(self) -> str:
        lines = [f"Number of datapoints: {len(self)}"]
        if self.root is not None:
            lines.append(f"Root location: {self.root}")
        lines += self.extra_repr().splitlines()
        if self.transforms is not None:
            lines.append(repr(self.transforms))
        body = "\n".join(lines).replace("\n", "\n    ")
        return f"Dataset {type(self).__name__}\n    {body}"


class InMemoryImages(VisionDataset):
    """Images in one uint8 array ``data`` (N, H, W[, 3]), class numbers in ``targets``."""

    data: Any  # Tensor or np.ndarray
    targets: Any  # Tensor or list of int

    def __len__(self) -> int:
        return len(_array(self.data))

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        """(image, target): a PIL image and an int, each through its transform."""
        image: Any = Image.fromarray(_array(self.data)[index])
        target: Any = int(_array(self.targets)[index])
        if self.transform is not None:
            image = self.transform(image)
        if self.target_transform is not None:
            target = self.target_transform(target)
        return image, target

    def __getitems__(self, indices: list[int]) -> list[tuple[Any, Any]]:
        """The samples at ``indices``; all at once where the transform is made for that."""
        images, which = _array(self.data), np.asarray(indices)
        transform = batch_transform(self.transform)
        colours = images.shape[3:]
        if (
            transform is None
            or which.dtype.kind != "i"
            or images.dtype != np.uint8
            or (images.ndim != 3 and colours != (3,))
        ):
            return [self[i] for i in indices]
        inputs = transform(images[which])
        targets: list[Any] = [int(_array(self.targets)[i]) for i in indices]
        if self.target_transform is not None:
            targets = [self.target_transform(target) for target in targets]
        return [(Tensor._wrap(x), target) for x, target in zip(inputs, targets)]


def _array(data: Any) -> Any:
    return data.array if isinstance(data, Tensor) else data
