"""What determines a training run, and what its settings say: network, loss, schedule, batches."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import minitorch_cnn as torch

from .. import models, nn
from ..models.cifar_resnet import CifarResNet
from ..models.densenet import DenseNet
from ..nn import functional as F
from ..utils.data import DataLoader
from . import images

SCHEDULES = ("constant", "steps", "onecycle")
# These return log-probabilities; every other network returns logits.
LECTURE = ("cnn", "inception", "deeper")
# Networks of any size, which ``model_options`` must give.
FAMILIES: dict[str, Callable[..., nn.Module]] = {
    "cifar_resnet": CifarResNet,
    "densenet": DenseNet,
}


@dataclass(frozen=True)
class Options:
    """What determines a run. The defaults are the lecture's, but for ``normalize``.

    The lecture feeds pixels in 0..1; ``normalize`` shifts and scales them to mean 0 and standard
    deviation 1 over the training set, as PyTorch's own MNIST example does.

    ``model`` is the name of an architecture or of FAMILIES, called with ``model_options``.
    ``schedule``: ``lr`` all the time ("constant"); a tenth of it after each of the epochs in
    ``milestones`` ("steps"); from ``lr`` / 25 up to ``lr`` after 30 % of the run and down to
    nothing ("onecycle"). ``dataset`` and ``augment``: see images.py; ``train_images`` and
    ``test_images`` take only the first so many. ``cuda_graph`` records the step on a GPU.
    """

    model: str = "cnn"
    model_options: dict[str, Any] = field(default_factory=dict)
    epochs: int = 9
    batch_size: int = 64
    test_batch_size: int = 1000
    lr: float = 0.01
    momentum: float = 0.5
    nesterov: bool = False
    weight_decay: float = 0.0
    schedule: str = "constant"
    milestones: tuple[int, ...] = ()
    seed: int = 1
    device: str = "cpu"
    cuda_graph: bool = False
    data_dir: str | None = None
    normalize: bool = True
    dataset: str = "mnist"
    augment: str = "none"
    train_images: int | None = None
    test_images: int | None = None

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "test_batch_size", "train_images", "test_images"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")
        choices = {"schedule": SCHEDULES, "dataset": images.SOURCES, "augment": images.AUGMENT}
        for name, names in choices.items():
            if getattr(self, name) not in names:
                raise ValueError(
                    f"{name} must be one of {', '.join(names)}; got {getattr(self, name)!r}"
                )
        if not (math.isfinite(self.lr) and self.lr > 0):
            raise ValueError(f"lr must be a positive number, got {self.lr}")
        if not 0 <= self.momentum < 1:
            raise ValueError(f"momentum must be in [0, 1), got {self.momentum}")
        if not (math.isfinite(self.weight_decay) and self.weight_decay >= 0):
            raise ValueError(f"weight_decay must be at least 0, got {self.weight_decay}")


def build(options: Options) -> nn.Module:
    """The untrained network of a run."""
    if options.model in FAMILIES:
        return FAMILIES[options.model](**options.model_options)
    return models.get_model(options.model, **options.model_options)


def loss_function(model: str) -> Callable[..., Any]:
    """Negative log-likelihood of what ``model`` returns, like ``F.nll_loss`` in its arguments."""
    return F.nll_loss if model in LECTURE else F.cross_entropy


def schedule(
    options: Options, optimizer: torch.optim.SGD, batches: int
) -> torch.optim.lr_scheduler.LRScheduler:
    """The learning rate over a run of ``options.epochs`` times ``batches`` steps."""
    if options.schedule == "onecycle":
        return torch.optim.lr_scheduler.OneCycleLR(
            optimizer, options.lr, total_steps=options.epochs * batches, cycle_momentum=False
        )
    milestones = options.milestones if options.schedule == "steps" else ()
    return torch.optim.lr_scheduler.MultiStepLR(optimizer, [m * batches for m in milestones])


def loaders(options: Options) -> tuple[DataLoader[Any], DataLoader[Any]]:
    """Training batches (reshuffled each epoch) and test batches."""
    train, test = images.load(
        options.dataset,
        options.data_dir,
        normalize=options.normalize,
        augment=options.augment,
        sizes=(options.train_images, options.test_images),
    )
    return (
        DataLoader(train, options.batch_size, shuffle=True, generator=torch.Generator()),
        DataLoader(test, options.test_batch_size),
    )
