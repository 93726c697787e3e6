"""Do the full-size networks train, how long does a step take, and how much memory?

Real training steps (forward, loss, backward, SGD) at native size on one fixed batch, once with our
layers and once with PyTorch's under the same model file. Each network and side has a process of its
own, so that the operating system's peak of memory is that of the training alone.

    python benchmarks/native_steps.py [--models resnet50 ...] [--batch-size 8] [--steps 5]

Prints a table, writes results/native_steps.json and the README's table. Needs PyTorch.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import readme

RESULTS = Path(__file__).parent / "results"
# Name: the file it stands in, and the side of its images.
NETWORKS = {
    "resnet18": ("resnet", 224),
    "resnet50": ("resnet", 224),
    "densenet121": ("densenet", 224),
    "googlenet": ("googlenet", 224),
    "inception_v3": ("inception_v3", 299),
    "inception_v4": ("inception_v4", 299),
}
SIDES = ("ours", "pytorch")
HEAD = 0.4  # the weight of an auxiliary head's loss


def measure(side: str, name: str, batch: int, steps: int, threads: int) -> dict[str, Any]:
    """Train in this process; seconds of each step, losses, and bytes."""
    import numpy as np

    from minitorch_cnn.tools.twin import in_pytorch

    file, size = NETWORKS[name]
    if side == "ours":
        import minitorch_cnn as torch
        from minitorch_cnn import models

        network = models.get_model(name)
    else:
        import torch

        network = getattr(in_pytorch(file), name)()
    torch.set_num_threads(threads)
    F = torch.nn.functional
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9)
    rng = np.random.default_rng(0)
    x = torch.from_numpy(rng.standard_normal((batch, 3, size, size), np.float32))
    target = torch.from_numpy(rng.integers(0, 1000, batch))
    before = _peak_bytes()
    losses, seconds = [], []
    for _ in range(steps):
        start = time.perf_counter()
        optimizer.zero_grad()
        y = network(x)
        outputs = list(y) if isinstance(y, tuple) else [y]
        loss = F.cross_entropy(outputs[0], target)
        for head in outputs[1:]:
            loss = loss + HEAD * F.cross_entropy(head, target)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        seconds.append(time.perf_counter() - start)
    return {
        "side": side, "model": name, "batch": batch, "size": size, "threads": threads,
        "losses": losses, "seconds": seconds, "peak_bytes": _peak_bytes(),
        "before_bytes": before,
    }  # fmt: skip


def _peak_bytes() -> int:
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def table(result: dict[str, Any]) -> str:
    lines = [
        "| network | image | loss, first to last | s per step | PyTorch's | peak GB | PyTorch's |",
        "|---|---|---|---|---|---|---|",
    ]
    rows = result["rows"]
    for name in dict.fromkeys(r["model"] for r in rows):
        ours, theirs = (
            next(r for r in rows if (r["model"], r["side"]) == (name, side)) for side in SIDES
        )
        lines.append(
            f"| {name} | {ours['size']} | {ours['losses'][0]:.2f} to {ours['losses'][-1]:.2f}"
            f" | {typical(ours):.2f} | {typical(theirs):.2f}"
            f" | {ours['peak_bytes'] / 1e9:.2f} | {theirs['peak_bytes'] / 1e9:.2f} |"
        )
    first = rows[0]
    lines.append("")
    lines.append(
        f"{len(first['losses'])} training steps on one batch of {first['batch']},"
        f" {first['threads']} threads, SGD lr 0.01 momentum 0.9; the median of all steps but the"
        f" first. {result['machine']}; `python benchmarks/native_steps.py`."
    )
    return "\n".join(lines)


def typical(row: dict[str, Any]) -> float:
    """The first step also compiles, and takes its memory from the system."""
    return statistics.median(row["seconds"][1:])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", default=list(NETWORKS), choices=list(NETWORKS))
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--steps", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--side", choices=SIDES, help="measure one network in this process")
    args = parser.parse_args()
    if args.steps < 2:
        parser.error("--steps must be at least 2: the first is a warm-up")
    if args.side:
        row = measure(args.side, args.models[0], args.batch_size, args.steps, args.threads)
        print(json.dumps(row))
        return
    rows = []
    for name in args.models:
        for side in SIDES:
            done = subprocess.run(
                [sys.executable, __file__, "--side", side, "--models", name,
                 "--batch-size", str(args.batch_size), "--steps", str(args.steps),
                 "--threads", str(args.threads)],
                check=True, stdout=subprocess.PIPE, text=True,
            )  # fmt: skip
            row = json.loads(done.stdout.splitlines()[-1])
            rows.append(row)
            print(
                f"{name:13} {side:8} {typical(row):7.2f} s/step {row['peak_bytes'] / 1e9:6.2f} GB"
                f"  losses {' '.join(f'{v:.2f}' for v in row['losses'])}",
                flush=True,
            )
    result = {"machine": readme.processor(), "rows": rows}
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / "native_steps.json"
    path.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    readme.replace("native_steps", table(result))


if __name__ == "__main__":
    main()
