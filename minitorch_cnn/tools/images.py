"""The images that runs train and test on: standardised, augmented, and only the first so many."""

from __future__ import annotations

from typing import Any

from .. import datasets, transforms
from ..utils.data import Dataset, Subset

# Means and standard deviations of the training pixels, per channel.
NORMALIZE = transforms.Normalize((0.1307,), (0.3081,))
SOURCES: dict[str, tuple[Any, transforms.Normalize]] = {
    "mnist": (datasets.MNIST, NORMALIZE),
    "cifar10": (
        datasets.CIFAR10,
        transforms.Normalize((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
    ),
}

# "affine" turns and shifts digits a little; "crop-flip" is that of He et al. 2015, section 4.2, for
# images of 32x32: 4 pixels of zeros around, a random crop, and its mirror image half the time.
AUGMENT: dict[str, list[Any]] = {
    "none": [],
    "affine": [transforms.RandomAffine(degrees=10, translate=(0.08, 0.08))],
    "crop-flip": [transforms.RandomCrop(32, padding=4), transforms.RandomHorizontalFlip()],
}


def load(
    source: str,
    data_dir: str | None = None,
    *,
    normalize: bool = True,
    augment: str = "none",
    sizes: tuple[int | None, int | None] = (None, None),
) -> tuple[Dataset[Any], Dataset[Any]]:
    """The training and the test set; ``sizes`` takes only the first images of each.

    The augmentation changes training images only.
    """
    kind, standardise = SOURCES[source]
    common = [transforms.ToTensor(), *([standardise] if normalize else [])]
    train = kind(data_dir, train=True, transform=transforms.Compose([*AUGMENT[augment], *common]))
    test = kind(data_dir, train=False, transform=transforms.Compose(common))
    return _first(train, sizes[0]), _first(test, sizes[1])


def _first(images: Any, count: int | None) -> Dataset[Any]:
    if count is None or count >= len(images):
        return images  # type: ignore[no-any-return]
    return Subset(images, range(count))
