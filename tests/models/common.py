"""What the model tests share: facts, weights that depend on names alone, and PyTorch's twins."""

from __future__ import annotations

import functools
import json
import re
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from minitorch_cnn.tools.twin import in_pytorch

__all__ = ["builder_and_options", "error", "facts", "images", "in_pytorch", "outputs_of", "probe",
           "values", "without_dropout"]  # fmt: skip
HERE = Path(__file__).parent


@functools.cache
def facts(name: str) -> dict[str, Any]:
    """A table of ``facts/`` without its remark about where it comes from."""
    table = json.loads((HERE / "facts" / f"{name}.json").read_text(encoding="utf-8"))
    return {key: value for key, value in table.items() if key != "_about"}


def builder_and_options(key: str) -> tuple[str, dict[str, Any]]:
    """("inception_v3", {"aux_logits": True}) of "inception_v3_aux_logits-True"."""
    key = key.removeprefix("timm_")
    found = re.fullmatch(r"(.+)_(aux_logits|num_classes)-(\w+)", key)
    if found is None:
        return key, {}
    name, option, value = found.groups()
    return name, {option: json.loads(value.lower())}


def values(name: str, shape: Iterable[int], gentle: bool = False) -> np.ndarray:
    """float64 values for the parameter or buffer ``name``, the same on every machine.

    They keep the signal of a deep network within float32's comfort: He's scale for weights, and
    batch norm gains below 1, since a residual sum grows with every block. Still, in train mode deep
    networks are chaotic: a rounding error of float32 closes some ReLU, and the gradients of whole
    layers change by percents, in PyTorch too. ``gentle`` values keep every ReLU open (what a batch
    norm gives is 1, give or take 0.2), and float32 can be compared.
    """
    shape = tuple(shape)
    rng = np.random.Generator(np.random.Philox(zlib.crc32(name.encode())))
    kind = name.rpartition(".")[2]
    if kind == "num_batches_tracked":
        return np.zeros(shape, np.int64)
    if kind == "running_var":
        return rng.uniform(0.5, 1.5, shape)
    if kind == "running_mean":
        return rng.normal(0, 0.1, shape)
    if kind == "weight" and len(shape) > 1:
        weight = rng.normal(0, (2 / np.prod(shape[1:])) ** 0.5, shape)
        # What all inputs have in common would only be subtracted again by the next batch norm.
        return weight - weight.mean(tuple(range(1, len(shape))), keepdims=True) * gentle
    if kind == "weight":
        return rng.uniform(0.1, 0.3, shape) if gentle else rng.uniform(0.3, 0.9, shape)
    return rng.normal(1, 0.1, shape) if gentle else rng.normal(0, 0.2, shape)


def images(shape: Iterable[int], seed: int) -> np.ndarray:
    """float64 images of standardised pixels."""
    rng = np.random.Generator(np.random.Philox(seed))
    return rng.normal(0, 1, tuple(shape))


def outputs_of(y: Any) -> list[Any]:
    """The tensors of an output, which is one tensor or a tuple with auxiliary ones."""
    return [t for t in y if t is not None] if isinstance(y, tuple) else [y]


def probe(name: str, shape: Iterable[int]) -> np.ndarray:
    """A fixed direction to project a tensor on: two numbers then stand for a whole gradient."""
    rng = np.random.Generator(np.random.Philox(zlib.crc32(f"probe {name}".encode())))
    return rng.normal(0, 1, tuple(shape))


def error(ours: dict[str, list[float]], theirs: dict[str, list[float]]) -> float:
    """The relative error of a whole gradient, estimated from [norm, projection] of its parts.

    A projection on a random direction of unit variance is, in its mean square, the squared norm.
    """
    off = sum((ours[name][1] - along) ** 2 for name, (_, along) in theirs.items())
    return float((off / sum(norm**2 for norm, _ in theirs.values())) ** 0.5)


def without_dropout(model: Any) -> Iterator[Any]:
    """Switch dropout off in train mode: two libraries draw different numbers."""
    for module in model.modules():
        if type(module).__name__.startswith("Dropout"):
            module.p = 0.0
            yield module
