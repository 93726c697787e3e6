"""Drawing of filters, feature maps, Grad-CAM and training curves."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ... import nn
from .gradcam import explain
from .maps import feature_maps, first_convolution, first_layer_filters
from .output import BLUE, GREEN, ORANGE, VERMILION, new_figure
from .trace import as_batch, to_numpy

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Orange for minus, purple for plus, white for 0: alike in brightness, apart for every eye.
_SIGNED = "PuOr"
_BRIGHT = "viridis"
_MOST = 64  # filters drawn; a first layer rarely has more


def filters_figure(model: nn.Module, layer: str | None = None, title: str | None = None) -> Figure:
    """The filters of the first convolution (or of ``layer``), at most 64, all on one scale.

    Filters of three channels are drawn in colour, mid-grey being 0; of any other number, with one
    small picture per channel, a row for each filter (at most 16 x 16).
    """
    weights = first_layer_filters(model, layer)
    path = first_convolution(model, layer)[0]
    F, C, KH, KW = weights.shape
    rows_are_filters = C not in (1, 3)
    if rows_are_filters:
        shown = weights[:16, :16]
        rows, columns = shown.shape[:2]
        pictures = list(shown.reshape(-1, KH, KW))
    else:
        pictures = list(weights[:_MOST, 0] if C == 1 else weights[:_MOST].transpose(0, 2, 3, 1))
        columns = min(len(pictures), 5 if len(pictures) <= 10 else 8)
        rows = math.ceil(len(pictures) / columns)
    largest = float(np.abs(weights).max()) or 1.0
    figure = new_figure(max(0.75 * columns, 3.6) + 0.9, max(0.85 * rows, 1.2) + 0.7)
    head = title or type(model).__name__
    whole = len(pictures) == F * C if rows_are_filters else len(pictures) == F
    cut = "" if whole else f" (first {rows} × {columns})"
    size = f"{C} × {KH} × {KW}{cut}"
    figure.suptitle(f"{head}: {F} filters of {path or 'the layer'}, {size}", fontsize=10)
    grid = figure.subplots(rows, columns, squeeze=False)
    image = None
    for i, ax in enumerate(grid.ravel()):
        if i >= len(pictures):
            ax.set_axis_off()
            continue
        _bare(ax)
        if C == 3:
            ax.imshow(0.5 + pictures[i] / (2 * largest), vmin=0, vmax=1)
        else:
            image = ax.imshow(pictures[i], cmap=_SIGNED, vmin=-largest, vmax=largest)
        if not rows_are_filters:
            ax.set_title(str(i), fontsize=7, pad=2)
        elif i < columns:
            ax.set_title(f"channel {i}" if i == 0 else str(i), fontsize=7, pad=2)
        if rows_are_filters and i % columns == 0:
            ax.set_ylabel(f"filter {i // columns}" if i == 0 else str(i // columns), fontsize=7)
    if image is not None:
        bar = figure.colorbar(image, ax=grid, fraction=0.05, pad=0.02)
        bar.set_label("weight", fontsize=8)
        bar.ax.tick_params(labelsize=7)
    return figure


def feature_maps_figure(
    model: nn.Module,
    x: Any,
    layers: Sequence[str] | None = None,
    channels: int = 8,
    picture: np.ndarray | None = None,
    title: str | None = None,
) -> Figure:
    """The first ``channels`` maps of each stage for one image x (C, H, W), a row for each layer.

    Each row has its own scale: dark is its smallest number, bright its largest. ``picture`` is what
    to show as the input, (H, W) or (H, W, 3) in 0..1, if that is not x itself. ``layers`` as in
    :func:`feature_maps`.
    """
    if channels < 1:
        raise ValueError(f"channels must be at least 1, got {channels}")
    x, _ = as_batch(model, x, "feature_maps")
    if len(x) != 1:
        raise ValueError(f"feature_maps_figure draws one image, got {len(x)}: pass x[0]")
    maps = feature_maps(model, x, layers)
    columns = min(channels, max(m.shape[1] for m in maps.values()))
    figure = new_figure(2.6 + 0.95 * columns, 0.55 + 1.0 * len(maps))
    figure.suptitle(f"{title or type(model).__name__}: maps after each stage", fontsize=10)
    widths = [1.5, 1.1 + 0.95 * columns]
    left, right = figure.subfigures(1, 2, squeeze=False, width_ratios=widths)[0]
    _show(left.subplots(), _picture(to_numpy(x)[0]) if picture is None else picture, "input")
    grid = right.subplots(len(maps), columns, squeeze=False)
    for row, (name, values) in zip(grid, maps.items(), strict=True):
        C, H, W = values.shape[1:]
        low, high = float(values.min()), float(values.max())
        for c, ax in enumerate(row):
            if c >= C:
                ax.set_axis_off()
                continue
            _bare(ax)
            ax.imshow(values[0, c], cmap=_BRIGHT, vmin=low, vmax=high)
            ax.set_title(str(c), fontsize=6, pad=1.5)
        label = f"{name}\n{C} × {H} × {W}\n{low:.2g} to {high:.2g}".replace("-", "−")
        row[0].set_ylabel(label, fontsize=7, rotation=0, ha="right", va="center", labelpad=6)
    return figure


def grad_cam_figure(
    model: nn.Module,
    x: Any,
    target: int | Sequence[int] | None = None,
    layer: str | None = None,
    pictures: Sequence[np.ndarray] | None = None,
    class_names: Sequence[str] | None = None,
    names: Sequence[str] | None = None,
    title: str | None = None,
) -> Figure:
    """Each image of the batch, and under it the same with its heat map laid over.

    ``pictures`` are shown instead of x, (H, W) or (H, W, 3) in 0..1, as large as x. ``names`` stand
    above the images, the class and the model's probability of it above the heat maps. The other
    arguments are those of :func:`grad_cam`.
    """
    x, _ = as_batch(model, x, "grad_cam_figure")
    n, _, H, W = x.shape
    if n == 0:
        raise ValueError("grad_cam_figure: the batch is empty")
    if pictures is None:
        pictures = [_picture(image) for image in to_numpy(x)]
    for what, given in (("pictures", pictures), ("names", names)):
        if given is not None and len(given) != n:
            raise ValueError(f"grad_cam_figure: {n} images, but {len(given)} {what}")
    result = explain(model, x, target, layer)
    side = max(1.15, min(2.6, 9.0 / n))
    columns = min(n, 8)
    bands = math.ceil(n / columns)
    figure = new_figure(max(columns * side, 3.0) + 0.9, bands * (2 * side * H / W + 0.55) + 0.5)
    head = title or type(model).__name__
    figure.suptitle(f"{head}: Grad-CAM at {result.layer}", fontsize=10)
    grid = figure.subplots(2 * bands, columns, squeeze=False)
    for ax in grid.ravel():
        ax.set_axis_off()
    drawn = None
    for i in range(n):
        top, below = grid[2 * (i // columns) : 2 * (i // columns) + 2, i % columns]
        _show(top, pictures[i], names[i] if names else "")
        target_i = int(result.targets[i])
        label = class_names[target_i] if class_names else f"class {target_i}"
        # Without its own colours, which could be taken for heat.
        grey = pictures[i].mean(2) if pictures[i].ndim == 3 else pictures[i]
        _show(below, grey, f"{label}\n{100 * result.probabilities[i]:.1f} %")
        drawn = below.imshow(
            result.heat[i], cmap="inferno", vmin=0, vmax=1, alpha=0.3 + 0.55 * result.heat[i]
        )
    assert drawn is not None
    scale = figure.colorbar(_opaque(drawn), ax=grid, fraction=0.04, pad=0.02)
    scale.set_label("Grad-CAM: 1 speaks most for the class", fontsize=8)
    scale.ax.tick_params(labelsize=7)
    return figure


def curves(results: Any) -> dict[str, dict[str, np.ndarray]]:
    """Per run, the arrays of its history: epoch, train_loss, test_loss, accuracy in percent.

    ``results`` is what ``minitorch-cnn train --results`` wrote (the file's path, or its content),
    or a list of training's Results, or a mapping of run names to any of these.
    """
    if isinstance(results, Mapping) and "history" not in results:
        return {str(name): next(iter(curves(one).values())) for name, one in results.items()}
    name = "run"
    if isinstance(results, (str, os.PathLike)):
        name = Path(results).stem
        results = json.loads(Path(results).read_text(encoding="utf-8"))
    if isinstance(results, Mapping):
        name = str(results.get("options", {}).get("model", name))
        results = results.get("history", [])
    rows = [asdict(r) if is_dataclass(r) and not isinstance(r, type) else r for r in results]
    needed = ("epoch", "train_loss", "test_loss", "correct", "total")
    if not rows or not all(isinstance(r, Mapping) and r.keys() >= set(needed) for r in rows):
        raise ValueError(
            f"training_curves: {name} holds no history of epochs with {', '.join(needed)}: give a"
            " file that `minitorch-cnn train --results` has written"
        )
    arrays = {key: np.array([r[key] for r in rows], np.float64) for key in needed}
    accuracy = 100 * arrays["correct"] / np.maximum(1, arrays["total"])
    return {name: {**{key: arrays[key] for key in needed[:3]}, "accuracy": accuracy}}


def training_curves(results: Any) -> Figure:
    """Losses and test accuracy by epoch, of one or several runs (see :func:`curves`)."""
    runs = curves(results)
    figure = new_figure(8.0, 3.2)
    loss, accuracy = figure.subplots(1, 2, gridspec_kw={"wspace": 0.08})
    colours = (BLUE, VERMILION, GREEN, ORANGE, "#CC79A7", "#56B4E9", "#000000")
    for i, (name, run) in enumerate(runs.items()):
        colour, label = colours[i % len(colours)], f"{name}, " if len(runs) > 1 else ""
        style = {"color": colour, "markersize": 4}
        loss.plot(run["epoch"], run["train_loss"], "--s", label=f"{label}training", **style)
        loss.plot(run["epoch"], run["test_loss"], "-o", label=f"{label}test", **style)
        accuracy.plot(run["epoch"], run["accuracy"], "-o", label=name, **style)
    loss.set_ylabel("mean loss")
    accuracy.set_ylabel("test accuracy (%)")
    for ax in (loss, accuracy):
        ax.set_xlabel("epoch")
        ax.xaxis.get_major_locator().set_params(integer=True)
        ax.grid(alpha=0.3)
    loss.legend(fontsize=8)
    if len(runs) > 1:
        accuracy.legend(fontsize=8)
    return figure


def _bare(ax: Axes) -> None:
    ax.set_xticks([])
    ax.set_yticks([])


def _picture(image: np.ndarray) -> np.ndarray:
    """(C, H, W) of any range as (H, W) or (H, W, 3) in 0..1."""
    shown = image.transpose(1, 2, 0) if len(image) == 3 else image.mean(0)
    low, high = float(shown.min()), float(shown.max())
    return np.asarray((shown - low) / ((high - low) or 1.0))


def _show(ax: Axes, picture: np.ndarray, title: str) -> None:
    _bare(ax)
    ax.imshow(picture, cmap="gray", vmin=0, vmax=1)
    ax.set_title(title, fontsize=8, pad=3)


def _opaque(image: Any) -> Any:
    """The same colours without transparency, for the colour bar."""
    from .output import matplotlib

    return matplotlib("cm").ScalarMappable(norm=image.norm, cmap=image.cmap)
