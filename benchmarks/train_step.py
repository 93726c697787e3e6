"""How long does one training step of the lecture's networks take, beside PyTorch on the CPU?

Same weights, same batch, same number of threads, one process; blocks of steps of the two sides
alternate, so that a slow moment of the machine meets both. The gradients are compared first.

    python benchmarks/train_step.py [--threads 1 2] [--models cnn inception deeper]

Prints a table, writes results/train_step.json and the README's table. Needs PyTorch.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import readme
import torch as real_torch

import minitorch_cnn as torch
from minitorch_cnn import models
from minitorch_cnn.nn import functional as F
from minitorch_cnn.tools.twin import in_pytorch

RESULTS = Path(__file__).parent / "results"
CLASSES = {"cnn": "CNN", "inception": "InceptionNet", "deeper": "DeeperCNN"}


def steps(name: str, batch: int) -> tuple[Callable[[], Any], Callable[[], Any]]:
    """One training step on each side, from equal weights on an equal batch."""
    theirs = getattr(in_pytorch("lecture"), CLASSES[name])()
    ours = models.get_model(name)
    ours.load_state_dict(
        {k: torch.from_numpy(v.numpy().copy()) for k, v in theirs.state_dict().items()}
    )
    rng = np.random.default_rng(0)
    x = rng.random((batch, 1, 28, 28), np.float32)
    y = rng.integers(0, 10, batch)
    our_sgd = torch.optim.SGD(ours.parameters(), lr=0.01, momentum=0.5)
    their_sgd = real_torch.optim.SGD(theirs.parameters(), lr=0.01, momentum=0.5)
    our_x, our_y = torch.from_numpy(x), torch.from_numpy(y)
    their_x, their_y = real_torch.from_numpy(x), real_torch.from_numpy(y)

    def our_step() -> None:
        our_sgd.zero_grad()
        F.nll_loss(ours(our_x), our_y).backward()
        our_sgd.step()

    def their_step() -> None:
        their_sgd.zero_grad()
        real_torch.nn.functional.nll_loss(theirs(their_x), their_y).backward()
        their_sgd.step()

    our_step()
    their_step()
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        np.testing.assert_allclose(a.grad.numpy(), b.grad.numpy(), rtol=1e-3, atol=1e-5)
    return our_step, their_step


def milliseconds(step: Callable[[], Any], count: int) -> list[float]:
    """Times of ``count`` steps; the first of a block, which wakes the thread pool, is dropped."""
    times = []
    for _ in range(count + 1):
        started = time.perf_counter()
        step()
        times.append(1e3 * (time.perf_counter() - started))
    return times[1:]


def measure(name: str, batch: int, threads: int, blocks: int, count: int) -> dict[str, Any]:
    torch.set_num_threads(threads)
    real_torch.set_num_threads(threads)
    our_step, their_step = steps(name, batch)
    for step in (our_step, their_step):
        milliseconds(step, 5)
    ours, theirs, ratios = [], [], []
    for _ in range(blocks):
        a = statistics.median(milliseconds(our_step, count))
        b = statistics.median(milliseconds(their_step, count))
        ours.append(a)
        theirs.append(b)
        ratios.append(a / b)
    ratios.sort()
    return {
        "model": name, "batch": batch, "threads": threads,
        "ours_ms": statistics.median(ours), "pytorch_ms": statistics.median(theirs),
        "ratio": statistics.median(ratios), "ratio_low": ratios[0], "ratio_high": ratios[-1],
    }  # fmt: skip


def table(result: dict[str, Any]) -> str:
    lines = [
        "| network | threads | ours, ms | PyTorch, ms | ratio (low..high) | our s per epoch |",
        "|---|---|---|---|---|---|",
    ]
    for r in result["rows"]:
        batches = -(-60_000 // r["batch"])
        lines.append(
            f"| {r['model']} | {r['threads']} | {r['ours_ms']:.1f} | {r['pytorch_ms']:.1f} |"
            f" {r['ratio']:.2f} ({r['ratio_low']:.2f}..{r['ratio_high']:.2f}) |"
            f" {r['ours_ms'] * batches / 1e3:.1f} |"
        )
    lines.append("")
    lines.append(
        "One training step, batch 64, interleaved with PyTorch in one process; below 1 is faster"
        f" than PyTorch. {result['machine']}; `python benchmarks/train_step.py`."
    )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", default=list(CLASSES), choices=list(CLASSES))
    parser.add_argument("--threads", nargs="+", type=int, default=[2, 1])
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--blocks", type=int, default=9)
    parser.add_argument("--steps", type=int, default=10)
    args = parser.parse_args()
    rows = []
    print("model      threads   ours ms  PyTorch ms  ratio (lowest..highest block)")
    for threads in args.threads:
        for name in args.models:
            row = measure(name, args.batch_size, threads, args.blocks, args.steps)
            rows.append(row)
            print(
                f"{name:10} {threads:7} {row['ours_ms']:9.2f} {row['pytorch_ms']:11.2f}"
                f"  {row['ratio']:.2f} ({row['ratio_low']:.2f}..{row['ratio_high']:.2f})"
            )
    result = {"machine": readme.processor(), "rows": rows}
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "train_step.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    readme.replace("train_step", table(result))


if __name__ == "__main__":
    main()
