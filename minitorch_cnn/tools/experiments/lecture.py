"""The lecture's networks and two that came after it, on MNIST: accuracy, size, work and time.

The CNN, the Inception net and the deeper CNN have the lecture's settings; the small ResNet and
DenseNet have their own (tools/presets.py), as their papers would have it.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import minitorch_cnn as torch

from .. import training
from ..machine import machine_facts, stopwatch
from ..options import Options
from ..presets import PRESETS
from ..summary import summary
from .common import (
    Experiment,
    Progress,
    Record,
    execute,
    load,
    new_figure,
    save,
    settings,
    write_figure,
    write_json,
    write_text,
)

TITLES = {
    "cnn": "CNN",
    "inception": "Inception net",
    "deeper": "deeper CNN",
    "resnet20": "small ResNet",
    "densenet": "small DenseNet",
}
IMAGES = 60_000
TURNS = 7


@dataclass(frozen=True)
class Row:
    """One network: what it costs, and how well its runs, one for each seed, did.

    ``macs`` are those of one image forward. ``epoch_seconds`` is the median of some training steps
    times the steps of an epoch, without the loading of images. ``accuracy`` (per cent) and
    ``test_loss`` are those after the last epoch.
    """

    network: str
    parameters: int
    macs: int
    epochs: int
    epoch_seconds: float
    seeds: list[int]
    accuracy: list[float]
    test_loss: list[float]
    curves: list[list[float]]


def experiment(
    seeds: Sequence[int],
    *,
    epochs: int | None = None,
    quick: bool = False,
    device: str = "cpu",
    data_dir: Path | None = None,
) -> Experiment:
    """A run of each network for each seed; ``quick``: one epoch of the first 12,000 images."""
    changes: dict[str, Any] = {
        "device": device,
        "data_dir": None if data_dir is None else str(data_dir),
    }
    if quick:
        changes |= {"epochs": 1, "train_images": 12_000, "test_images": 2_000}
    if epochs is not None:
        changes["epochs"] = epochs
    return Experiment(
        "lecture",
        {
            f"{name}-{seed}": replace(PRESETS[name], seed=seed, **changes)
            for name in TITLES
            for seed in seeds
        },
    )


def run(this: Experiment, out: Path, progress: Progress, reuse: Path | None = None) -> str | None:
    """Make the runs, measure a step of each network, write lecture.json, .md and .png to ``out``.

    The table as Markdown; None if stopped before the end. ``reuse``: see :func:`adopt`.
    """
    figure = new_figure(9, 3.2)
    if reuse is not None:
        adopt(this, out, reuse)
    records = execute(this, out, progress)
    if records is None:
        return None
    rows, clock = tabulate(this, records)
    facts = machine_facts()
    report = table(rows, clock, facts)
    draw(figure, rows)
    write_json(
        out / "lecture.json",
        {"rows": [asdict(row) for row in rows], "clock": clock, "machine": facts},
    )
    write_text(out / "lecture.md", report + "\n")
    write_figure(out / "lecture.png", figure)
    return report


def adopt(this: Experiment, out: Path, folder: Path) -> None:
    """Record the runs that ``train --results`` has made with the very settings of this experiment.

    A run is a function of its settings, so it is the same run; its record says which file it came
    from. Files of other settings, or of runs that were stopped, are passed over.
    """
    out.mkdir(parents=True, exist_ok=True)
    path = out / "results.json"
    records = load(path, this.name) if path.exists() else {}
    wanted = {name: settings(options) for name, options in this.runs.items() if name not in records}
    for source in sorted(folder.glob("*.json")):
        data = json.loads(source.read_bytes())
        if not isinstance(data, dict) or not {"options", "history"} <= data.keys():
            continue
        recorded = settings(Options(**data["options"]))
        if len(data["history"]) < recorded["epochs"]:
            continue
        for name, chosen in wanted.items():
            if chosen == recorded:
                machine = {**data.get("machine", {}), "from": source.name}
                records[name] = Record(recorded, data["history"], machine=machine)
    save(path, this.name, records)


def tabulate(this: Experiment, records: Mapping[str, Record]) -> tuple[list[Row], str]:
    """The rows, and which clock told the time of a step."""
    by_network: dict[str, list[str]] = {}
    for name in this.runs:
        by_network.setdefault(name.rpartition("-")[0], []).append(name)
    firsts = {network: this.runs[names[0]] for network, names in by_network.items()}
    seconds, clock = step_seconds(firsts)
    rows = []
    for network, names in by_network.items():
        options = firsts[network]
        costs = summary(training.build(options), (1, 28, 28))
        steps = -(-(options.train_images or IMAGES) // options.batch_size)
        curves = [
            [100 * h["correct"] / h["total"] for h in records[name].history] for name in names
        ]
        # A run that diverged at once has no epoch to show.
        last = [records[name].history[-1] for name in names if records[name].history]
        rows.append(
            Row(
                network,
                costs.parameters,
                costs.macs,
                options.epochs,
                seconds[network] * steps,
                [this.runs[name].seed for name in names],
                [curve[-1] for curve in curves if curve],
                [h["test_loss"] for h in last],
                curves,
            )
        )
    return rows, clock


def step_seconds(runs: Mapping[str, Options]) -> tuple[dict[str, float], str]:
    """Seconds of a training step of each network, and the clock: the networks take turns.

    So all meet the same moments of the machine; the first turn, which compiles, is not counted.
    """
    times: dict[str, list[float]] = {name: [] for name in runs}
    steps = {name: _step(options) for name, options in runs.items()}
    read, clock = stopwatch(next(iter(runs.values())).device)
    for turn in range(TURNS + 1):
        for name, step in steps.items():
            started = read()
            step()
            if turn > 0:
                times[name].append(read() - started)
    return {name: statistics.median(values) for name, values in times.items()}, clock


def _step(options: Options) -> Any:
    """A training step on random images."""
    torch.manual_seed(0)
    network = training.build(options).to(options.device)
    optimizer = torch.optim.SGD(network.parameters(), lr=1e-3, momentum=0.5)
    loss_of = training.loss_function(options.model)
    x = torch.randn(options.batch_size, 1, 28, 28, device=options.device)
    y = torch.randint(0, 10, (options.batch_size,), device=options.device)

    def step() -> None:
        optimizer.zero_grad()
        loss_of(network(x), y).backward()
        optimizer.step()

    return step


def table(rows: Sequence[Row], clock: str, facts: Mapping[str, Any]) -> str:
    """Markdown; ``facts`` are those of the machine that took the times."""
    lines = [
        "| network | parameters | MACs | s/epoch | epochs | median accuracy | each seed | loss |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        accuracy = f"{statistics.median(row.accuracy):.2f} %" if row.accuracy else "diverged"
        loss = f"{statistics.median(row.test_loss):.4f}" if row.test_loss else ""
        lines.append(
            f"| {TITLES[row.network]} | {row.parameters:,} | {row.macs:,} |"
            f" {row.epoch_seconds:.1f} | {row.epochs} | **{accuracy}** |"
            f" {', '.join(f'{a:.2f}' for a in row.accuracy)} | {loss} |"
        )
    lines += [
        "",
        (
            "CNN, Inception net and deeper CNN: batch 64, SGD lr 0.01 momentum 0.5, as in the"
            " lecture. ResNet and DenseNet: batch 128, Nesterov momentum 0.9, one cycle up to lr"
            " 0.1, weight decay 5e-4, digits turned by up to 10 degrees and shifted by up to 2"
            " pixels."
        ),
        (
            f"Time of an epoch: a step's median ({clock}, the networks in turns) times the steps,"
            " without the loading and moving of images;"
            f" threads: {facts['threads']}; {facts['processor']}, Python {facts['python']}."
        ),
    ]
    return "\n".join(lines)


def draw(figure: Any, rows: Sequence[Row]) -> None:
    """Test accuracy after each epoch, and over the time it took; one line for each seed."""
    left, right = figure.subplots(1, 2, sharey=True)
    for number, row in enumerate(rows):
        for i, curve in enumerate(row.curves):
            label = TITLES[row.network] if i == 0 else None
            epochs = range(1, len(curve) + 1)
            seconds = [row.epoch_seconds * epoch for epoch in epochs]
            left.plot(epochs, curve, f"C{number}.-", lw=1, ms=4, label=label)
            right.plot(seconds, curve, f"C{number}.-", lw=1, ms=4)
    left.set(xlabel="epoch", ylabel="test accuracy (%)")
    right.set(xlabel="seconds of training", xscale="log")
    best = max((a for row in rows for curve in row.curves for a in curve), default=100.0)
    if best > 97:
        left.set_ylim(96, 100)
    left.legend(frameon=False, fontsize=7)
    for ax in (left, right):
        ax.spines[["top", "right"]].set_visible(False)
        ax.grid(alpha=0.25)
