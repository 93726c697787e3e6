"""How long until the first training step: the import, and the kernels' compilation?

Processes of their own train the lecture's CNN for one step: with an empty cache of kernels, and
again with what the first has left; the cache must not grow any more. Times are of the whole
process, Python's own start included.

    python benchmarks/startup.py [--quick] [--threads 2]
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from minitorch_cnn.benchmarks import harness, machine
from minitorch_cnn.benchmarks.harness import Options

IMPORTS = ("numpy", "minitorch_cnn", "torch")
# The same step on both sides: it needs nothing but the module's name.
STEP = """
import {module} as torch
from {module} import nn
torch.set_num_threads({threads})
net = nn.Sequential(
    nn.Conv2d(1, 10, 5), nn.MaxPool2d(2), nn.ReLU(), nn.Conv2d(10, 20, 5), nn.MaxPool2d(2),
    nn.ReLU(), nn.Flatten(), nn.Linear(320, 10), nn.LogSoftmax(1),
)
optimizer = torch.optim.SGD(net.parameters(), lr=0.01, momentum=0.5)
target = torch.zeros(64, dtype=torch.int64)
nn.functional.nll_loss(net(torch.randn(64, 1, 28, 28)), target).backward()
optimizer.step()
"""


def seconds(code: str, env: Mapping[str, str] | None = None) -> float:
    """Wall-clock time of a Python process that runs ``code``."""
    started = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], env={**os.environ, **(env or {})}, check=True,
                   stderr=subprocess.DEVNULL)  # fmt: skip
    return time.perf_counter() - started


def size(folder: str) -> int:
    return sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file())


def run(options: Options) -> harness.Results:
    machine.pytorch()
    results = harness.Results("startup", options)
    threads = options.threads[0]
    repeats = 1 if options.quick else 5
    for module in IMPORTS:
        times = harness.summary(seconds(f"import {module}") for _ in range(repeats))
        results.add({"case": f"import {module}", "seconds": times})
        print(f"import {module}: {times[0]:.2f} s", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        ours = STEP.format(module="minitorch_cnn", threads=threads)
        for run_number in (1, 2, 3):
            row: dict[str, Any] = {
                "case": f"first step, run {run_number}",
                "threads": threads,
                "seconds": [seconds(ours, {"MINITORCH_CNN_CACHE_DIR": folder})] * 3,
                "cache_bytes": size(folder),
            }
            results.add(row)
            print(f"{row['case']}: {row['seconds'][0]:.2f} s, cache"
                  f" {row['cache_bytes'] / 1e6:.1f} MB", flush=True)  # fmt: skip
    theirs = STEP.format(module="torch", threads=threads)
    times = harness.summary(seconds(theirs) for _ in range(min(3, repeats)))
    results.add({"case": "first step, PyTorch", "threads": threads, "seconds": times})
    print(f"first step, PyTorch: {times[0]:.2f} s", flush=True)
    results.finish()
    return results


if __name__ == "__main__":
    harness.main(__doc__, run)
