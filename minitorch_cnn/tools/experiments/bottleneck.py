"""Why 1x1 convolution: a tenth of the multiplications, counted, and what of it a clock sees.

The lecture's example on a 28x28 map: 5x5 from 192 to 32 channels costs 120,422,400 multiply-adds,
through a 1x1 reduction to 16 channels 12,443,648 (Szegedy et al. 2014 call it a bottleneck).
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import minitorch_cnn as torch

from ... import models, nn
from ...models import ARCHITECTURES
from ..machine import machine_facts, stopwatch
from ..summary import summary
from .common import Progress, new_figure, write_figure, write_json, write_text

NETWORKS = {"conv5x5": "5x5 directly", "bottleneck5x5": "1x1, then 5x5"}
BATCHES = (1, 8, 32, 128)
PASSES = ("forward", "forward + backward")


@dataclass(frozen=True)
class Timing:
    """Seconds of one pass of a batch: the median of the repetitions, and the middle half of them.

    ``gflops`` is the rate at the median, with 2 FLOPs per multiply-add of the forward pass, and
    three times as many for a forward and a backward pass (the gradients of input and weights cost
    a convolution each).
    """

    network: str
    batch: int
    what: str
    seconds: float
    low: float
    high: float
    gflops: float


def run(
    out: Path,
    progress: Progress,
    *,
    quick: bool = False,
    device: str = "cpu",
    batches: tuple[int, ...] = BATCHES,
    repeats: int | None = None,
) -> str:
    """Count and measure; write bottleneck.json, .md and .png to ``out``; return the table.

    ``repeats`` timings of each pass, by default 41 (``quick``: 9). The two networks take turns, so
    that a slow moment of the machine meets both.
    """
    figure = new_figure(9, 3.2)
    out.mkdir(parents=True, exist_ok=True)
    macs = {
        name: summary(models.get_model(name), ARCHITECTURES[name].input).macs for name in NETWORKS
    }
    timings: list[Timing] = []
    for batch in batches:
        progress.start(f"batch {batch}")
        timings += measure(batch, macs, device, repeats or (9 if quick else 41))
    facts = machine_facts()
    report = table(macs, timings, stopwatch(device)[1], facts)
    draw(figure, macs, timings)
    write_json(
        out / "bottleneck.json",
        {
            "macs": macs,
            "timings": [asdict(t) for t in timings],
            "device": device,
            "clock": stopwatch(device)[1],
            "machine": facts,
        },
    )
    write_text(out / "bottleneck.md", report + "\n")
    write_figure(out / "bottleneck.png", figure)
    return report


def measure(batch: int, macs: dict[str, int], device: str, repeats: int) -> list[Timing]:
    """Both networks and both passes, in turns; the first turn, which compiles, is not counted."""
    torch.manual_seed(1)
    passes: dict[tuple[str, str], Callable[[], Any]] = {}
    for name in NETWORKS:
        network = models.get_model(name).to(device)
        # The input needs a gradient as well: inside a network it is another layer's output.
        x = torch.randn(batch, *ARCHITECTURES[name].input, device=device, requires_grad=True)
        passes[name, PASSES[0]] = partial(forward, network, x)
        passes[name, PASSES[1]] = partial(forward_backward, network, x)
    read, _ = stopwatch(device)
    seconds: dict[tuple[str, str], list[float]] = {key: [] for key in passes}
    for turn in range(repeats + 1):
        for key, call in passes.items():
            started = read()
            call()
            if turn > 0:
                seconds[key].append(read() - started)
    timings = []
    for (name, what), values in seconds.items():
        low, median, high = quartiles(values)
        flops = 2 * macs[name] * batch * (1 if what == PASSES[0] else 3)
        timings.append(Timing(name, batch, what, median, low, high, flops / median / 1e9))
    return timings


def forward(network: nn.Module, x: torch.Tensor) -> None:
    """As in a test: nothing is kept for gradients."""
    with torch.no_grad():
        network(x)


def forward_backward(network: nn.Module, x: torch.Tensor) -> None:
    """As in training, with the gradients of the input and of all parameters."""
    for tensor in (x, *network.parameters()):
        tensor.grad = None
    network(x).sum().backward()


def quartiles(values: list[float]) -> tuple[float, float, float]:
    """Lower quartile, median, upper quartile."""
    if len(values) == 1:
        return values[0], values[0], values[0]
    low, median, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, median, high


def pairs(timings: list[Timing]) -> list[tuple[Timing, Timing]]:
    """(direct, bottleneck) of equal batch and pass."""
    by_key = {(t.network, t.batch, t.what): t for t in timings}
    direct, reduced = NETWORKS
    return [(by_key[direct, t.batch, t.what], t) for t in timings if t.network == reduced]


def table(
    macs: dict[str, int], timings: list[Timing], clock: str, facts: Mapping[str, Any]
) -> str:
    """Markdown: the counts, the times, and where the times do not follow the counts."""
    direct, reduced = (macs[name] for name in NETWORKS)
    ratio = direct / reduced
    lines = [
        f"Multiply-adds an image: {direct:,} and {reduced:,}, a ratio of {ratio:.2f}.",
        "",
        "| batch | pass | 5x5 ms | 1x1, 5x5 ms | ratio of times | ratio of MACs | GFLOP/s |",
        "|---|---|---|---|---|---|---|",
    ]
    lines.extend(
        f"| {a.batch} | {a.what} | {_spread(a)} | {_spread(b)} | **{a.seconds / b.seconds:.1f}** |"
        f" {ratio:.1f} | {a.gflops:.0f} and {b.gflops:.0f} |"
        for a, b in pairs(timings)
    )
    lines += [
        "",
        verdict([direct, reduced], timings),
        "",
        (
            f"Medians (and quartiles) of {clock}, the two in turns; threads: {facts['threads']};"
            f" {facts['processor']}, Python {facts['python']}."
        ),
    ]
    return "\n".join(lines)


def verdict(macs: Sequence[int], timings: list[Timing]) -> str:
    """What the measured ratios say, in words; ``macs`` of the direct way and of the other."""
    ratio = macs[0] / macs[1]
    measured = [a.seconds / b.seconds for a, b in pairs(timings)]
    least, most = min(measured), max(measured)
    if least > 0.9 * ratio:
        return f"Time follows the multiply-adds: {least:.1f} to {most:.1f} times less."
    worst = min(pairs(timings), key=lambda pair: pair[0].seconds / pair[1].seconds)
    slower = worst[0].gflops / worst[1].gflops
    told = (
        f"Time does not follow the multiply-adds all the way: {least:.1f} to {most:.1f} times less,"
        f" not {ratio:.1f}. Least at batch {worst[0].batch}, {worst[0].what}: there the bottleneck"
        f" does {slower:.1f} times fewer operations a second than the 5x5 convolution."
    )
    moved = [map_bytes(name) for name in NETWORKS]
    return (
        f"{told} What the count leaves out are the maps that each layer reads and writes:"
        f" {moved[0] / 1e6:.2f} MB an image, and {moved[1] / 1e6:.2f} MB through the bottleneck, so"
        f" that it has {2 * macs[1] / moved[1]:.0f} operations for each byte, and the 5x5"
        f" convolution {2 * macs[0] / moved[0]:.0f}."
    )


def map_bytes(name: str) -> int:
    """Bytes of the float32 maps that the network's layers read and write, for one image."""
    _, height, width = ARCHITECTURES[name].input
    channels = [
        layer.in_channels + layer.out_channels
        for layer in models.get_model(name).modules()
        if isinstance(layer, nn.Conv2d)
    ]
    return 4 * height * width * sum(channels)


def _spread(t: Timing) -> str:
    return f"{1e3 * t.seconds:.2f} ({1e3 * t.low:.2f}..{1e3 * t.high:.2f})"


def draw(figure: Any, macs: dict[str, int], timings: list[Timing]) -> None:
    """Left the times, right their ratio beside that of the multiply-adds, over the batch size."""
    left, right = figure.subplots(1, 2)
    direct, reduced = (macs[name] for name in NETWORKS)
    for what, style in zip(PASSES, ("-", "--"), strict=True):
        for name, color in zip(NETWORKS, ("C3", "C0"), strict=True):
            rows = [t for t in timings if t.network == name and t.what == what]
            x, y = [t.batch for t in rows], [1e3 * t.seconds for t in rows]
            spread = [
                [1e3 * (t.seconds - t.low) for t in rows],
                [1e3 * (t.high - t.seconds) for t in rows],
            ]
            label = f"{NETWORKS[name]}, {what}"
            left.errorbar(x, y, yerr=spread, fmt=f"o{style}", color=color, ms=3, lw=1, label=label)
        chosen = [(a, b) for a, b in pairs(timings) if a.what == what]
        right.plot(
            [a.batch for a, _ in chosen],
            [a.seconds / b.seconds for a, b in chosen],
            f"o{style}", color="C2", ms=3, lw=1, label=f"time, {what}",
        )  # fmt: skip
    right.axhline(direct / reduced, color="0.4", lw=1, label="multiply-adds")
    left.set(xlabel="batch", ylabel="ms", xscale="log", yscale="log")
    right.set(xlabel="batch", ylabel="5x5 / (1x1, 5x5)", xscale="log", ylim=(0, None))
    batches = {t.batch for t in timings}
    for ax in (left, right):
        ax.set_xticks(sorted(batches), map(str, sorted(batches)))
        ax.minorticks_off()
        ax.spines[["top", "right"]].set_visible(False)
        ax.grid(alpha=0.25)
        ax.legend(frameon=False, fontsize=7)
