"""What a network has learned to look for (its first filters), and what it sees (its maps)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ... import nn
from ...tensor import no_grad
from .trace import Call, as_batch, candidates, find, run, to_numpy, trace


def first_layer_filters(model: nn.Module, layer: str | None = None) -> np.ndarray:
    """The weights (F, C, KH, KW) of the first Conv2d, or of the convolution at ``layer``; a copy.

    "First" is in the order in which the model's layers were assigned. ValueError: no such layer;
    the message lists the convolutions.
    """
    return to_numpy(first_convolution(model, layer)[1].weight)


def first_convolution(model: nn.Module, layer: str | None = None) -> tuple[str, nn.Conv2d]:
    """Path and module of the first Conv2d, or of the one at ``layer``."""
    found = {path: m for path, m in model.named_modules() if isinstance(m, nn.Conv2d)}
    chosen = next(iter(found), None) if layer is None else layer
    if chosen is None or chosen not in found:
        name = type(model).__name__
        if not found:
            raise ValueError(f"first_layer_filters: {name} has no Conv2d, so no filters to show")
        raise ValueError(
            f"first_layer_filters: {name}: {layer!r} is not a Conv2d; {candidates(found)}"
        )
    return chosen, found[chosen]


def feature_maps(
    model: nn.Module, x: Any, layers: Sequence[str] | None = None
) -> dict[str, np.ndarray]:
    """The outputs (N, C, H, W) of some layers for the images x (N, C, H, W) or (C, H, W).

    ``layers`` are paths as in ``named_modules()``; a layer called twice gives two entries "mp#1"
    and "mp#2", and can be asked for by those. By default: the last output before each change of
    resolution, seen from the top of the model (see :func:`stages`). Entries stand in the order in
    which the layers returned, and are copies, taken before an in-place layer could overwrite them.

    The model runs in eval mode and is left as it was. Errors: ValueError for an unknown layer or
    one without a 4-d output, listing the candidates.
    """
    x, _ = as_batch(model, x, "feature_maps")
    root = trace(model, x)
    if layers is None:
        chosen = stages(root)
    else:
        chosen = [call for layer in layers for call in find(root, layer, "feature_maps")]
    if not chosen:
        raise ValueError(f"feature_maps: no layer of {type(model).__name__} has a 4-d output")
    names = {(call.layer, call.number): call.name or type(model).__name__ for call in chosen}
    maps: dict[str, np.ndarray] = {}

    def keep(path: str, number: int, output: Any) -> None:
        if (path, number) in names:
            maps[names[path, number]] = to_numpy(output)

    with no_grad():
        run(model, x, keep)
    return maps


def stages(root: Call) -> list[Call]:
    """The last map before each change of (H, W) among the parts of the model.

    A part is a direct child of the model; but a Sequential that changes the resolution inside, or
    a wrapper whose output is no map, is replaced by its own parts. For a ResNet: relu, layer1, ...,
    layer4; for the lecture's CNN: conv1, mp#1, conv2, mp#2. Maps of one pixel are left out.
    """
    maps = _parts(root)
    if not maps and root.is_map:
        return [root]
    return [
        call
        for i, call in enumerate(maps)
        if i + 1 == len(maps) or maps[i + 1].shape[2:] != call.shape[2:]
    ]


def _parts(call: Call) -> list[Call]:
    parts: list[Call] = []
    for child in call.calls:
        sizes = {inner.shape[2:] for inner in child.calls if inner.is_map}
        mixed = isinstance(child.module, nn.Sequential) and len(sizes) > 1
        if child.is_map and not mixed:
            parts.append(child)
        else:
            parts.extend(_parts(child))
    return parts
