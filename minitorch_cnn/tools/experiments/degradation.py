"""Degradation: do deeper plain networks learn worse, and deeper residual ones not?

He, Zhang, Ren, Sun, "Deep Residual Learning for Image Recognition" (2015), figures 1 and 6: on
CIFAR-10 a plain network of 56 layers has a higher error than one of 20, on the training images too,
so it is not overfitting: the solvers of the day cannot find the weights, although copying the
shallow network and adding identities would do. With shortcuts, deeper is better.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .common import Experiment, Progress, Record, conduct, new_figure
from .residual import find_data, iterations, last, options, test_errors, train_errors

DEPTHS = (20, 32, 44, 56)
FAMILIES = {"plain": "plain", "resnet": "residual"}


def experiment(
    depths: Sequence[int] | None = None,
    *,
    seed: int = 1,
    epochs: int | None = None,
    quick: bool = False,
    dataset: str | None = None,
    device: str = "cpu",
    data_dir: Path | None = None,
) -> Experiment:
    """A plain and a residual run for each of the ``depths`` (20, 32, 44, 56 or 110).

    12 epochs of 100 batches, or 3 of the depths 20 and 56 alone if ``quick``. ``dataset`` is
    "mnist" or "cifar10"; None takes CIFAR-10 if it lies in ``data_dir``. ValueError: no such depth.
    """
    depths = depths or ((20, 56) if quick else DEPTHS)
    known = (20, 32, 44, 56, 110)
    if unknown := [d for d in depths if d not in known]:
        raise ValueError(f"no networks of depth {unknown}; there are {', '.join(map(str, known))}")
    return Experiment(
        "degradation",
        {
            f"{family}{depth}": options(
                f"{family}{depth}",
                {},
                epochs=epochs or (3 if quick else 12),
                seed=seed,
                dataset=dataset or find_data(data_dir),
                device=device,
                data_dir=data_dir,
            )
            for depth in depths
            for family in FAMILIES
        },
    )


def run(experiment: Experiment, out: Path, progress: Progress) -> str | None:
    """Make the runs; write results.json, degradation.md and .png to ``out``; return the table.

    None if it was stopped: the same call continues.
    """
    return conduct(experiment, out, progress, new_figure(9, 3.6), draw, table)


def depths_of(records: Mapping[str, Record]) -> list[int]:
    """The depths that were trained, in their order."""
    return [int(name.removeprefix("plain")) for name in records if name.startswith("plain")]


def table(records: Mapping[str, Record]) -> str:
    """Markdown: errors at the end in percent, and what they say about depth."""
    lines = [
        "| layers | plain: training error | test error | residual: training error | test error |",
        "|---|---|---|---|---|",
    ]
    for depth in depths_of(records):
        cells = [
            cell
            for family in FAMILIES
            for cell in (
                f"**{last(train_errors(records[f'{family}{depth}']))}**",
                last(test_errors(records[f"{family}{depth}"])),
            )
        ]
        lines.append(f"| {depth} | {' | '.join(cells)} |")
    first = next(iter(records.values())).options
    lines.append("")
    lines.append(
        f"Percent, after {first['epochs']} epochs of {first['train_images']} images"
        f" ({first['dataset']}, {first['augment']}), width {first['model_options']['width']}."
    )
    lines += [verdict(family, records) for family in FAMILIES]
    return "\n".join(lines)


def verdict(family: str, records: Mapping[str, Record]) -> str:
    """Whether the training error of the last epoch grows with depth, in words."""
    diverged = [d for d in depths_of(records) if records[f"{family}{d}"].diverged]
    ends = {
        depth: errors[-1]
        for depth in depths_of(records)
        if (errors := train_errors(records[f"{family}{depth}"]))
    }
    text = f"{FAMILIES[family].capitalize()} networks: "
    if diverged:
        text += f"{', '.join(map(str, diverged))} layers diverged; "
    if len(ends) < 2:
        return text + "nothing to compare."
    shallow, deep = min(ends), max(ends)
    more = ends[deep] - ends[shallow]
    text += (
        f"{deep} layers end with {abs(more):.2f} points {'more' if more > 0 else 'less'}"
        f" training error than {shallow} ({ends[deep]:.2f} against {ends[shallow]:.2f} %)"
    )
    values = [ends[depth] for depth in sorted(ends)]
    if more > 1:
        steady = all(a < b for a, b in itertools.pairwise(values))
        return f"{text}: degradation{', with every step in depth' if steady else ''}."
    return f"{text}: no degradation."


def draw(figure: Any, records: Mapping[str, Record]) -> None:
    """The lecture's two panels: training error against iterations, plain left, residual right."""
    panels = figure.subplots(1, 2, sharex=True, sharey=True)
    for ax, (family, title) in zip(panels, FAMILIES.items(), strict=True):
        for i, depth in enumerate(sorted(depths_of(records))):
            record = records[f"{family}{depth}"]
            steps, color = iterations(record), f"C{i}"
            ax.plot(steps, train_errors(record), color, lw=1.5, label=f"{family}{depth}")
            ax.plot(steps, test_errors(record), color, lw=0.8, ls="--")
        ax.set(title=title, xlabel="iteration", ylim=(0, 95))
        ax.spines[["top", "right"]].set_visible(False)
        ax.grid(alpha=0.25)
        ax.legend(frameon=False)
    panels[0].set_ylabel("error (%), training solid, test dashed")
