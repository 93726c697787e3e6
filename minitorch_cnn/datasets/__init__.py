"""Data sets under torchvision's names. MNIST is shipped; the others are downloaded when asked."""

from __future__ import annotations

from .cifar import CIFAR10, CIFAR100
from .fake import FakeData
from .folder import DatasetFolder, ImageFolder
from .mnist import KMNIST, MNIST, FashionMNIST
from .vision import VisionDataset

__all__ = [
    "MNIST",
    "FashionMNIST",
    "KMNIST",
    "CIFAR10",
    "CIFAR100",
    "ImageFolder",
    "DatasetFolder",
    "FakeData",
    "VisionDataset",
]
