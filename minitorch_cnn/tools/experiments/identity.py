"""Identity mappings: what becomes of the gradient, and of learning, if a shortcut is no identity?

He, Zhang, Ren, Sun, "Identity Mappings in Deep Residual Networks" (2016), sections 2 and 3. With
x_{l+1} = x_l + F(x_l) the gradient at block l is the *sum* of that at the last block L and of what
the branches add. With x_{l+1} = h_l x_l + F(x_l) the first term is a *product*: h_l ... h_{L-1}
times that at L; 0.5 to the power of 27 where a network of 56 layers halves its shortcuts.

The paper's table 1 was measured with the original blocks, where a ReLU follows the sum; its
formulas hold without one. Here all variants have pre-activation blocks, so that the product can be
seen as the formula has it; ``block="original"`` repeats the table's own blocks.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import minitorch_cnn as torch

from ... import nn
from ...nn import functional as F
from .. import training
from ..training import Run
from .common import Experiment, Progress, Record, conduct, new_figure
from .residual import find_data, iterations, last, options, test_errors, train_errors

Norms = dict[str, list[float]]
PATHS = {"all": "all paths", "shortcuts": "shortcuts alone"}
IMAGES = 64


@dataclass(frozen=True)
class Variant:
    """A kind of shortcut, its formula, and the test error of the paper's table 1 in percent."""

    formula: str
    shortcut: str
    options: dict[str, Any] = field(default_factory=dict)
    paper: str = ""


VARIANTS = {
    "identity": Variant("x + F", "identity", paper="6.61"),
    "scale": Variant("0.5 x + F", "scale", {"scale": 0.5}, "fails"),
    "scale-both": Variant("0.5 x + 0.5 F", "scale", {"scale": 0.5, "branch_scale": 0.5}, "12.35"),
    "exclusive-gate": Variant("(1-g) x + g F, b=-6", "exclusive_gate", {"gate_bias": -6.0}, "8.70"),
    "shortcut-gate-0": Variant("(1-g) x + F, b=0", "shortcut_gate", {"gate_bias": 0.0}, "12.86"),
    "shortcut-gate-6": Variant("(1-g) x + F, b=-6", "shortcut_gate", {"gate_bias": -6.0}, "6.91"),
    "conv1x1": Variant("W x + F", "conv1x1", paper="12.22"),
    "dropout": Variant("dropout(x) + F", "dropout", {"p": 0.5}, "fails"),
    "none": Variant("F", "none"),
}


def experiment(
    *,
    block: str = "preact",
    seed: int = 1,
    epochs: int | None = None,
    quick: bool = False,
    dataset: str | None = None,
    device: str = "cpu",
    data_dir: Path | None = None,
) -> Experiment:
    """One run a variant: 56 layers, 6 epochs of 100 batches; 20 layers and 2 epochs if ``quick``.

    ``block`` is "preact" or "original". ``dataset`` is "mnist" or "cifar10"; None takes CIFAR-10 if
    it lies in ``data_dir``.
    """
    if block not in ("preact", "original"):
        raise ValueError(f'block must be "preact" or "original", got {block!r}')
    family = "preact_resnet" if block == "preact" else "resnet"
    return Experiment(
        "identity",
        {
            name: options(
                f"{family}{20 if quick else 56}",
                {"shortcut": variant.shortcut, "shortcut_options": variant.options},
                epochs=epochs or (2 if quick else 6),
                seed=seed,
                dataset=dataset or find_data(data_dir),
                device=device,
                data_dir=data_dir,
            )
            for name, variant in VARIANTS.items()
        },
        observe,
    )


def run(experiment: Experiment, out: Path, progress: Progress) -> str | None:
    """Make the runs; write results.json, identity.md and .png to ``out``; return the table.

    None if it was stopped: the same call continues.
    """
    return conduct(experiment, out, progress, new_figure(12, 7), draw, table)


def observe(run: Run) -> dict[str, Any]:
    """Gradient norms after an epoch, and before the first; the run goes on as if unobserved."""
    state = torch.get_rng_state()
    try:
        images, labels = (t[:IMAGES].to(run.options.device) for t in next(iter(run.test)))
        found: dict[str, Any] = {}
        if run.epoch == 1:
            torch.manual_seed(run.options.seed)
            found["start"] = gradient_norms(
                training.build(run.options).to(run.options.device), images, labels
            )
        return {**found, "now": gradient_norms(run.network, images, labels)}
    finally:
        torch.set_rng_state(state)


def gradient_norms(network: nn.Module, images: torch.Tensor, labels: torch.Tensor) -> Norms:
    """The norm of dL/dx_l at every block l, through all paths, and through the shortcuts alone.

    x_l, for l = 0, 1, ..., L - 1, is the input of block l (of a CifarResNet), x_L the last one's
    output; L is the cross entropy of the batch, in train mode. "Through the shortcuts alone" is the
    gradient of a network whose branches are constants: what the blocks' h alone hand back. Works
    on a copy of ``network``; seeds the default generator, which dropout draws from.
    """
    return {
        path: _norms(copy.deepcopy(network).train(), images, labels, constant=path == "shortcuts")
        for path in PATHS
    }


def _norms(
    network: nn.Module, images: torch.Tensor, labels: torch.Tensor, *, constant: bool
) -> list[float]:
    blocks = [
        block
        for stage in (network.layer1, network.layer2, network.layer3)
        for block in cast("nn.Sequential", stage)
    ]
    norms = [0.0] * (len(blocks) + 1)

    def record(index: int, x: torch.Tensor) -> None:
        # With constant branches and no shortcut, nothing reaches x.
        if x.requires_grad:
            x.register_hook(lambda g: norms.__setitem__(index, float(g.norm().item())))

    for index, block in enumerate(blocks):

        def before(
            shortcut: nn.Module, inputs: tuple[torch.Tensor, ...], index: int = index
        ) -> tuple[torch.Tensor, ...]:
            x, branch = inputs
            record(index, x)
            return x, branch.detach() if constant else branch

        cast("nn.Module", block.shortcut).register_forward_pre_hook(before)
    blocks[-1].register_forward_hook(lambda _block, _inputs, y: record(len(blocks), y))
    torch.manual_seed(0)
    F.cross_entropy(network(images), labels).backward()
    return norms


def arriving(norms: list[float]) -> list[float]:
    """The gradient at each block as a multiple of that at the last block's output."""
    return [norm / norms[-1] if norms[-1] else 0.0 for norm in norms]


def gradients(record: Record) -> tuple[Norms, Norms] | None:
    """At initialisation and after training; None for a run without a whole epoch."""
    if not record.history:
        return None
    return record.history[0]["observed"]["start"], record.history[-1]["observed"]["now"]


def table(records: Mapping[str, Record]) -> str:
    """Markdown: errors in percent, and how much of the gradient reaches the first block."""
    lines = [
        "| shortcut | y | training error | test error | paper | all paths | shortcuts alone |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, record in records.items():
        found, cells = gradients(record), ["–", "–"]
        if found is not None:
            cells = [
                ", ".join(f"{arriving(when[path])[0]:.2g}" for when in found) for path in PATHS
            ]
        lines.append(
            f"| {name} | {VARIANTS[name].formula} | **{last(train_errors(record))}** |"
            f" {last(test_errors(record))} | {VARIANTS[name].paper or '–'} | {' | '.join(cells)} |"
        )
    first = next(iter(records.values())).options
    lines.append("")
    lines.append(
        f"{first['model']}, width {first['model_options']['width']}, {first['epochs']} epochs of"
        f" {first['train_images']} images ({first['dataset']}, {first['augment']}); errors in"
        " percent. The last columns: the gradient's norm at the first block's input over that at"
        " the last block's output, at initialisation and after training. The paper's test errors"
        " are its table 1: 110 layers, original blocks, CIFAR-10."
    )
    lines.append(verdict(records))
    return "\n".join(lines)


def verdict(records: Mapping[str, Record]) -> str:
    """Which shortcuts end with a higher training error than the identity, in words."""
    ends = {name: train_errors(r)[-1] for name, r in records.items() if r.history}
    failed = [name for name, record in records.items() if record.diverged]
    text = f"Diverged: {', '.join(failed)}. " if failed else ""
    if "identity" not in ends or len(ends) < 2:
        return f"{text}Nothing to compare."
    worse = [name for name, end in ends.items() if end > ends["identity"] + 1]
    better = [name for name, end in ends.items() if end < ends["identity"] - 1]
    for names, word in ((worse, "more"), (better, "less")):
        if names:
            text += f"At least a point {word} training error than identity: {', '.join(names)}. "
    return text.strip() or "No variant is a point from identity."


def draw(figure: Any, records: Mapping[str, Record]) -> None:
    """Gradient norm against block, at the start and the end, and the errors against iterations."""
    panels = figure.subplots(2, 3)
    for i, (name, record) in enumerate(records.items()):
        found = gradients(record)
        if found is None:
            continue
        style: dict[str, Any] = {"color": f"C{i}", "lw": 1.2, "label": name}
        for row, path in enumerate(PATHS):
            for column, when in enumerate(found):
                # A logarithm has no zero: a plain net's shortcuts are not drawn.
                y = [v if v > 0 else float("nan") for v in arriving(when[path])]
                panels[row][column].plot(range(len(y)), y, **style)
        panels[0][2].plot(iterations(record), train_errors(record), **style)
        panels[1][2].plot(iterations(record), test_errors(record), **style)
    for row, title in enumerate(PATHS.values()):
        for column, moment in enumerate(("at initialisation", "after training")):
            panels[row][column].set_title(f"gradient, {title}, {moment}")
            panels[row][column].set(xlabel="block", yscale="log")
        panels[row][0].set_ylabel("norm at the block / norm after the last")
        panels[row][2].set(xlabel="iteration", ylim=(0, 95))
    panels[0][2].set_title("training error (%)")
    panels[1][2].set_title("test error (%)")
    panels[0][2].legend(frameon=False, fontsize=7)
    for ax in panels.flat:
        ax.spines[["top", "right"]].set_visible(False)
        ax.grid(alpha=0.25)
