"""Figures of what the benchmarks measured: results/*.png."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

Data = Mapping[str, Any]


def draw(found: Mapping[str, Data], out: Path) -> list[Path]:
    """One picture for each script that has one; their files, none without matplotlib."""
    try:
        import matplotlib as mpl
    except ModuleNotFoundError:
        print('no figures: they need matplotlib, pip install "minitorch-cnn[app]"')
        return []
    mpl.use("Agg")
    from matplotlib import pyplot as plt

    written = []
    for name, picture in PICTURES.items():
        if name in found and _timed(found[name]):
            fig = picture(plt, found[name])
            for ax in fig.axes:
                ax.spines[["top", "right"]].set_visible(False)
                ax.grid(alpha=0.25)
            path = out / f"{name}.png"
            fig.savefig(path, dpi=110)
            plt.close(fig)
            written.append(path)
    return written


def _timed(data: Data) -> list[Any]:
    return [row for row in data["rows"] if "refused" not in row]


def _ratios(plt: Any, data: Data) -> Any:
    """Bars for each network and number of threads, from lowest to highest block."""
    rows = _timed(data)
    cases = list(dict.fromkeys(row["case"] for row in rows))
    bars = sorted(
        {(s, row["threads"]) for row in rows for s in row["ratio"] if s.startswith("ours")},
        key=lambda bar: (bar[0], -bar[1]),
    )
    fig, ax = plt.subplots(figsize=(9, 3.4), layout="constrained")
    width = 0.8 / len(bars)
    for i, (side, n) in enumerate(bars):
        for row in rows:
            if row["threads"] == n and side in row["ratio"]:
                middle, low, high = row["ratio"][side]
                x = cases.index(row["case"]) + (i - (len(bars) - 1) / 2) * width
                error = [[middle - low], [high - middle]]
                ax.bar(x, middle, width, yerr=error, color=f"C{i}", capsize=2)
        ax.bar(0, 0, color=f"C{i}", label=f"{side}, {n} thread{'s' * (n != 1)}")
    ax.axhline(1, color="black", lw=0.8)
    ax.set_xticks(range(len(cases)), cases, fontsize=8)
    ax.set(ylabel="time / PyTorch's")
    ax.legend(frameon=False, fontsize=8)
    return fig


def _conv2d(plt: Any, data: Data) -> Any:
    """Each layer: ratio against the work, one panel for each direction."""
    rows = _timed(data)
    directions = list(dict.fromkeys(row["direction"] for row in rows))
    fig, axes = plt.subplots(1, len(directions), figsize=(9, 3.4), sharey=True, squeeze=False,
                             layout="constrained")  # fmt: skip
    for ax, direction in zip(axes[0], directions, strict=True):
        for i, n in enumerate(dict.fromkeys(row["threads"] for row in rows)):
            for kind, marker in (("1x1", "."), ("3x3", "s"), ("other", "^")):
                chosen = [
                    row for row in rows
                    if (row["direction"], row["threads"]) == (direction, n)
                    and kind == {(1, 1): "1x1", (3, 3): "3x3"}.get(tuple(row["kernel"]), "other")
                ]  # fmt: skip
                ax.plot([row["flops"] / 1e9 for row in chosen],
                        [row["ratio"]["ours"][0] for row in chosen],
                        marker, ms=4, color=f"C{i}", alpha=0.6, label=f"{kind}, {n} threads")
        ax.axhline(1, color="black", lw=0.8)
        ax.set(xscale="log", yscale="log", xlabel="GFLOP of the layer", title=direction)
    axes[0][0].set(ylabel="time / PyTorch's")
    axes[0][-1].legend(frameon=False, fontsize=7)
    return fig


def _scaling(plt: Any, data: Data) -> Any:
    """Time and memory an image against what varies; depth and width against their MACs."""
    groups = [
        (varied, list(rows))
        for varied, rows in itertools.groupby(data["rows"], key=lambda row: row["varied"])
    ]
    fig, axes = plt.subplots(2, len(groups), figsize=(2.6 * len(groups), 5), squeeze=False,
                             layout="constrained")  # fmt: skip
    for (top, bottom), (varied, rows) in zip(axes.T, groups, strict=True):
        by_work = varied in ("depth", "width", "resolution")
        x = [row["macs"] / row["batch"] / 1e6 if by_work else row["value"] for row in rows]
        for side in ("ours", "pytorch"):
            ms = [1e3 * row["seconds"][side][0] / row["batch"] for row in rows]
            megabytes = [row["peak_bytes"][side] / row["batch"] / 1e6 for row in rows]
            top.plot(x, ms, "o-", ms=4, label=side)
            bottom.plot(x, megabytes, "o-", ms=4)
        top.set(title=varied, ylim=(0, None))
        bottom.set(xlabel="million MACs an image" if by_work else varied, ylim=(0, None))
    axes[0][0].set(ylabel="ms an image")
    axes[1][0].set(ylabel="MB an image")
    axes[0][0].legend(frameon=False)
    return fig


PICTURES: dict[str, Callable[[Any, Data], Any]] = {
    "train_step": _ratios, "inference": _ratios, "conv2d": _conv2d, "scaling": _scaling,
}  # fmt: skip
