"""What the experiments on residual networks share: cheap settings, data, errors in percent."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...datasets import CIFAR10
from ...datasets._root import default_root
from ..training import Options
from .common import Record

# Channels of the images, and the augmentation that suits them.
DATA = {"mnist": (1, "affine"), "cifar10": (3, "crop-flip")}
BATCH = 64
BATCHES = 100
TEST_IMAGES = 2000


def find_data(data_dir: Path | None) -> str:
    """ "cifar10" where its files or its archive lie in ``data_dir``, else "mnist"."""
    root = default_root() if data_dir is None else data_dir
    there = any((root / name).exists() for name in (CIFAR10.base_folder, CIFAR10.filename))
    return "cifar10" if there else "mnist"


def options(
    model: str,
    model_options: Mapping[str, Any],
    *,
    epochs: int,
    seed: int,
    dataset: str,
    device: str,
    data_dir: Path | None,
) -> Options:
    """The papers' training, on networks and images that two cores can afford.

    Theirs: SGD with momentum 0.9, weight decay 0.0001, learning rate 0.1, a tenth of it from half
    of the run on, a hundredth from three quarters on (a run of fewer than 6 epochs keeps 0.1).
    Ours: 8 channels instead of 16, first stride 2, batches of 64, and an "epoch" of 100 batches:
    the first 6400 images, augmented anew each time.

    ValueError: ``dataset`` is neither "mnist" nor "cifar10".
    """
    if dataset not in DATA:
        raise ValueError(f"dataset must be one of {', '.join(DATA)}; got {dataset!r}")
    channels, augment = DATA[dataset]
    return Options(
        model=model,
        model_options={"in_channels": channels, "width": 8, "stem_stride": 2, **model_options},
        epochs=epochs,
        batch_size=BATCH,
        lr=0.1,
        momentum=0.9,
        weight_decay=1e-4,
        schedule="steps",
        milestones=(epochs // 2, epochs * 3 // 4) if epochs >= 6 else (),
        seed=seed,
        device=device,
        data_dir=None if data_dir is None else str(data_dir),
        dataset=dataset,
        augment=augment,
        train_images=BATCH * BATCHES,
        test_images=TEST_IMAGES,
    )


def iterations(record: Record) -> list[int]:
    """Batches trained on, after each epoch."""
    batch = record.options["batch_size"]
    return [h["epoch"] * -(-h["train_total"] // batch) for h in record.history]


def train_errors(record: Record) -> list[float]:
    """Percent of the (augmented) training images that the network got wrong in each epoch."""
    return [100 * (1 - h["train_correct"] / h["train_total"]) for h in record.history]


def test_errors(record: Record) -> list[float]:
    """Percent of the test images that the network got wrong after each epoch."""
    return [100 * (1 - h["correct"] / h["total"]) for h in record.history]


def last(errors: list[float]) -> str:
    """The last of some errors for a table; a dash for a run without a whole epoch."""
    return f"{errors[-1]:.2f}" if errors else "–"
