"""How well and how fast do the lecture's networks learn MNIST?

Three seeds each, the lecture's settings (9 epochs, batch 64, SGD lr 0.01
momentum 0.5), with standardised pixels and, for the CNN, also with pixels in 0..1 as in the
lecture.

    python benchmarks/mnist.py                    # trains, about half an hour on 2 cores
    python benchmarks/mnist.py --models cnn       # only one network
    python benchmarks/mnist.py --report           # only redraws the table and the figure

Each run is ``minitorch-cnn train`` in a process of its own. Writes
results/mnist-<model>-<seed>.json and results/mnist.png, and the table in the README between its
markers.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from minitorch_cnn.benchmarks import readme

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results"
SLIDES = {"cnn": "98.46 %", "cnn-raw": "98.46 %", "inception": "98.66 %", "deeper": "(exercise)"}
TITLES = {
    "cnn": "CNN",
    "cnn-raw": "CNN, pixels in 0..1",
    "inception": "Inception net",
    "deeper": "deeper CNN",
}


def train(model: str, seed: int) -> None:
    path = RESULTS / f"mnist-{model}-{seed}.json"
    with tempfile.TemporaryDirectory() as directory:
        subprocess.run(
            [sys.executable, "-m", "minitorch_cnn.cli", "train", model.removesuffix("-raw"),
             "--seed", str(seed), "--checkpoint-dir", directory, "--results", str(path),
             "--log-interval", "1000",
             "--no-normalize" if model.endswith("-raw") else "--normalize"],
            check=True,
        )  # fmt: skip
    data = json.loads(path.read_text(encoding="utf-8"))
    data["machine"] = {
        "processor": readme.processor(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
    }
    path.write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")


def load() -> dict[str, list[dict[str, Any]]]:
    runs: dict[str, list[dict[str, Any]]] = {}
    for model in TITLES:
        for path in sorted(RESULTS.glob(f"mnist-{model}-[0-9]*.json")):
            runs.setdefault(model, []).append(json.loads(path.read_text(encoding="utf-8")))
    return runs


def table(runs: dict[str, list[dict[str, Any]]]) -> str:
    lines = [
        "| network | the slide | median accuracy | each seed | median test loss |",
        "|---|---|---|---|---|",
    ]
    for model, results in runs.items():
        last = [r["history"][-1] for r in results]
        accuracy = [100 * h["correct"] / h["total"] for h in last]
        loss = statistics.median(h["test_loss"] for h in last)
        lines.append(
            f"| {TITLES[model]} | {SLIDES[model]} | **{statistics.median(accuracy):.2f} %** |"
            f" {', '.join(f'{a:.2f}' for a in accuracy)} | {loss:.4f} |"
        )
    machine = next(iter(runs.values()))[0]["machine"]
    lines.append("")
    lines.append(
        f"Nine epochs, batch 64, SGD lr 0.01 momentum 0.5; {machine['processor']}, Python"
        f" {machine['python']}; `python benchmarks/mnist.py`."
    )
    return "\n".join(lines)


def figure(runs: dict[str, list[dict[str, Any]]]) -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    fig, (left, right) = plt.subplots(1, 2, figsize=(9, 3.2), layout="constrained")
    for color, (model, results) in zip(("C0", "C3", "C1", "C2"), runs.items(), strict=False):
        for i, result in enumerate(results):
            history = result["history"]
            epochs = [h["epoch"] for h in history]
            label = TITLES[model] if i == 0 else None
            left.plot(epochs, [h["train_loss"] for h in history], color, lw=1, label=label)
            right.plot(
                epochs, [100 * h["correct"] / h["total"] for h in history], color, lw=1, label=label
            )
    left.set(xlabel="epoch", ylabel="training loss", yscale="log")
    right.set(xlabel="epoch", ylabel="test accuracy (%)", ylim=(94, 100))
    right.legend(frameon=False, loc="lower right")
    for ax in (left, right):
        ax.spines[["top", "right"]].set_visible(False)
        ax.grid(alpha=0.25)
    fig.savefig(RESULTS / "mnist.png", dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", default=list(TITLES), choices=list(TITLES))
    parser.add_argument("--seeds", nargs="+", type=int, default=[1, 2, 3])
    parser.add_argument("--report", action="store_true", help="train nothing")
    args = parser.parse_args()
    RESULTS.mkdir(exist_ok=True)
    if not args.report:
        for model in args.models:
            for seed in args.seeds:
                train(model, seed)
    runs = load()
    figure(runs)
    readme.replace("mnist", table(runs))
    print(table(runs))


if __name__ == "__main__":
    main()
