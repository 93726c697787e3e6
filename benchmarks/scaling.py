"""Does the cost of training grow in proportion to the work?

Time and memory of a training step against the batch, the resolution, the width and the depth of
ResNets, and against the number of threads. Each point is a process of its own, so that its peak of
memory is its own; time is the median of the steps but the first.

    python benchmarks/scaling.py [--quick] [--threads 2] [--only batch]
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from minitorch_cnn.benchmarks import harness, machine, networks
from minitorch_cnn.benchmarks.harness import Options
from minitorch_cnn.benchmarks.networks import CIFAR, SIDES, Network
from minitorch_cnn.kernels import backend

STEPS = 4
RESNET20 = Network("ResNet-20", "resnet20", "cifar_resnet", 16, (3, 32, 32), 10)
RESNET18 = Network("ResNet-18", "resnet18", "resnet", 8, (3, 32, 32), 10, CIFAR)
DEPTHS = (18, 34, 50, 101, 152)


def points() -> list[tuple[str, int, Network]]:
    """What varies, its value, and the network there."""
    found = [("batch", n, replace(RESNET20, batch=n)) for n in (16, 32, 64, 128, 256)]
    found += [("resolution", n, replace(RESNET18, input=(3, n, n))) for n in (32, 64, 96, 128)]
    found += [
        ("width", n, replace(RESNET18, title=f"ResNet-50, inner width {n}", name="resnet50",
                             options={**CIFAR, "width_per_group": n}))
        for n in (32, 64, 128)
    ]  # fmt: skip
    found += [
        ("depth", n, Network(f"ResNet-{n}", f"resnet{n}", "resnet", 4, (3, 128, 128)))
        for n in DEPTHS
    ]
    return found


def measure(varied: str, value: int, network: Network, threads: int) -> dict[str, Any]:
    row: dict[str, Any] = {
        "case": f"{varied} {value}", "varied": varied, "value": value, "threads": threads,
        "network": network.title, "batch": network.batch, "input": network.input,
        "macs": network.macs, "seconds": {}, "peak_bytes": {},
    }  # fmt: skip
    for side in SIDES:
        found = networks.train_elsewhere(side, network, threads, STEPS)
        row["seconds"][side] = harness.summary(found["seconds"][1:])
        row["peak_bytes"][side] = found["peak_bytes"]
    told = (f"{side} {1e3 * row['seconds'][side][0] / network.batch:.2f} ms an image,"
            f" {row['peak_bytes'][side] / 1e6:.0f} MB" for side in SIDES)  # fmt: skip
    print(f"{varied} {value} ({network.title}): {'; '.join(told)}", flush=True)
    return row


def run(options: Options) -> harness.Results:
    machine.pytorch()
    results = harness.Results("scaling", options)
    todo = [(varied, value, network, options.threads[0]) for varied, value, network in points()]
    cores = backend.available_cores()
    todo += [("threads", n, replace(RESNET20, batch=64), n)
             for n in sorted({1, 2, 4, 8, 16, 32, cores}) if n <= cores]  # fmt: skip
    if options.quick:
        todo = todo[:2]
    for varied, value, network, threads in todo:
        if not options.only or varied in options.only:
            results.add(measure(varied, value, network, threads))
    results.finish()
    return results


if __name__ == "__main__":
    harness.main(__doc__, run)
