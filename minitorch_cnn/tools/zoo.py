"""What the command line does with architectures: list them, and name what is in a photo."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import minitorch_cnn as torch

from .. import models, nn
from ..models import published
from ..models.imagenet import categories
from ..models.registry import ARCHITECTURES, Architecture, find
from ..models.weights import Weights, WrongOptionError, resolve
from ..nn import functional as F
from ..nn import init
from .summary import summary


def build_to_count(architecture: Architecture, **options: Any) -> nn.Module:
    """The network with zeros for weights, which is all that counting needs."""
    with init.unfilled():
        network = architecture.builder(**options)
    for parameter in network.parameters():
        parameter.array[...] = 0
    return network


@functools.cache
def _recorded_costs() -> dict[str, tuple[int, int]]:
    path = Path(models.__file__).parent / "data" / "costs.json"
    table: dict[str, list[int]] = json.loads(path.read_text(encoding="utf-8"))
    return {name: (parameters, macs) for name, (parameters, macs) in table.items()}


def costs(name: str) -> tuple[int, int]:
    """Parameters, and MACs of one image, of the architecture as it is built without options.

    From a table, because running all of them takes a minute; counted if the table has no such row.
    """
    if name in _recorded_costs():
        return _recorded_costs()[name]
    architecture = ARCHITECTURES[name]
    counted = summary(build_to_count(architecture), architecture.input)
    return counted.parameters, counted.macs


def listing() -> str:
    """A table of all architectures; the last column names published weights with their accuracy."""
    rows = [("name", "input", "parameters", "MACs", "published weights (top-1 accuracy)")]
    for name, architecture in ARCHITECTURES.items():
        parameters, macs = costs(name)
        weights = ", ".join(
            f"{entry.name} ({entry.meta['_metrics']['ImageNet-1K']['acc@1']:.1f} %)"
            for entry in published.PUBLISHED.get(name, ())
        )
        size = " x ".join(map(str, architecture.input))
        rows.append((name, size, f"{parameters:,}", f"{macs:,}", weights))
    widths = [max(map(len, column)) for column in zip(*rows)]
    return "\n".join(
        "  ".join(
            cell.rjust(width) if i in (2, 3) else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(row, widths))
        ).rstrip()
        for row in rows
    )


def read_photo(path: Path) -> Any:
    """An image file as an RGB image of Pillow's, turned upright as its EXIF data say."""
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        with Image.open(path) as image:
            return ImageOps.exif_transpose(image).convert("RGB")
    except UnidentifiedImageError:
        raise ValueError(f"{path} is not an image that Pillow can read") from None
    except Image.DecompressionBombError as error:
        raise ValueError(f"{path}: {error}") from None


def preparation(architecture: Architecture, weights: Any) -> Any:
    """The preparation of photos that ``weights`` (None: no particular ones) expect."""
    height = architecture.input[1]
    if weights is None:
        return published.preprocessing(architecture.name, height)
    source = resolve(architecture.name, weights)
    if isinstance(source, Weights) and source.transforms is not None:
        return source.transforms()
    path = source.path() if isinstance(source, Weights) else source
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return published.preprocessing(architecture.name, height, digest)


@dataclass(frozen=True)
class Guess:
    """A class and its probability."""

    label: str
    probability: float


class Classifier:
    """A network with its weights, the preparation that they expect, and the names of its classes.

    ``weights``: see :func:`models.weights.resolve`. ``labels``: one name per class; ImageNet's by
    default where there are 1000 classes, and numbers elsewhere. The number of classes is the file's
    own. Errors: ValueError for an architecture that does not take photos (3 channels) and for
    another number of labels than classes; those of loading.
    """

    def __init__(self, name: str, weights: Any, labels: Sequence[str] | None = None) -> None:
        architecture = find(name)
        C = architecture.input[0]
        if C != 3:
            raise ValueError(f"{name} takes images of {C} channels; photos have 3")
        self.network = _with_own_classes(architecture, weights).eval()
        self.prepare = preparation(architecture, weights)
        self.labels = labels

    def __call__(self, image: Any, top: int = 5) -> list[Guess]:
        """The ``top`` most probable classes of an RGB image, the most probable first."""
        with torch.no_grad():
            logits = self.network(self.prepare(image).unsqueeze(0))
            probabilities = F.softmax(logits, dim=1)[0].tolist()
        labels = self.labels or _default_labels(len(probabilities))
        if len(labels) != len(probabilities):
            raise ValueError(
                f"there are {len(labels)} names for the {len(probabilities)} classes of the weights"
            )
        order = sorted(range(len(labels)), key=lambda i: -probabilities[i])
        return [Guess(labels[i], probabilities[i]) for i in order[:top]]


def _with_own_classes(architecture: Architecture, weights: Any) -> nn.Module:
    """The network with as many classes as the file has."""
    try:
        return architecture.builder(weights=weights)
    except WrongOptionError as error:
        if error.option != "num_classes":
            raise
        return architecture.builder(weights=weights, num_classes=error.value)


def _default_labels(n: int) -> Sequence[str]:
    return categories() if n == 1000 else [f"class {i}" for i in range(n)]
