"""How long does a training step take, and how much memory, beside PyTorch on the CPU?

Forward, loss, backward and SGD from equal weights on an equal batch; the gradients are compared
first. Peak memory is that of a process of its own for each side, above what it held before the
network; it trains a few steps, in which the loss must fall.

    python benchmarks/train_step.py [--quick] [--threads 2,1] [--only ResNet-50] [--layouts]
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np

from minitorch_cnn.benchmarks import harness, networks
from minitorch_cnn.benchmarks.harness import Case, Options, WrongResultError
from minitorch_cnn.benchmarks.networks import NETWORKS, SIDES, Network

STEPS = 4  # in the process that counts memory
LOSS_TOLERANCE = 1e-4


def case(network: Network, layouts: bool) -> Case:
    modules = networks.pair(network)
    if layouts and network.file != "lecture":  # their views need N, C, H, W
        modules["pytorch channels_last"] = copy.deepcopy(modules["pytorch"])
    steps: dict[str, Callable[[], Any]] = {}
    for side, module in modules.items():
        torch = networks.torch_of(side)
        x, target = networks.batch(torch, network)
        module, x = networks.in_layout(side, module, x)
        steps[side] = networks.training_step(torch, network, module, x, target)
    return Case(
        steps,
        references=tuple(side for side in steps if side != "ours"),
        flops=6 * network.macs,  # two per multiply-add, forward and twice backward
        facts={"network": network.name, "batch": network.batch, "input": network.input},
        check=lambda: same_gradients(network, modules, steps),
    )


def same_gradients(
    network: Network, modules: dict[str, Any], steps: dict[str, Callable[[], Any]]
) -> None:
    """One step of each side; WrongResultError where loss or gradients are not PyTorch's."""
    torch = networks.torch_of("pytorch")
    nudged = copy.deepcopy(modules["pytorch"])
    _, target = networks.batch(torch, network)
    x = networks.nudged_images(network)
    modules = {**modules, "nudged": nudged}
    steps = {**steps, "nudged": networks.training_step(torch, network, nudged, x, target)}
    losses, gradients = {}, {}
    for side, module in modules.items():
        with networks.without_dropout(module):  # random numbers differ
            losses[side] = steps[side]().item()
        found = [harness.as_numpy(p.grad).ravel() for p in module.parameters()]
        gradients[side] = np.concatenate(found, dtype=np.float64)
    expected = gradients["pytorch"]
    allowed = np.linalg.norm(gradients["nudged"] - expected)
    rounding = abs(losses["nudged"] - losses["pytorch"])
    for side in steps:
        off = abs(losses[side] - losses["pytorch"])
        if not off <= max(LOSS_TOLERANCE * losses["pytorch"], rounding):
            raise WrongResultError(f"loss {losses[side]} of {side}, PyTorch's {losses['pytorch']}")
        error = np.linalg.norm(gradients[side] - expected)
        if not error <= allowed:
            length = np.linalg.norm(expected)
            raise WrongResultError(
                f"{side}: gradients are off by {error / length:.1e} of their length, and rounding"
                f" explains {allowed / length:.1e}"
            )


def memory(network: Network, threads: int) -> dict[str, Any]:
    row: dict[str, Any] = {"case": network.title, "network": network.name, "threads": threads}
    for side in SIDES:
        row[side] = networks.train_elsewhere(side, network, threads, STEPS)
    ratio = row["ours"]["peak_bytes"] / row["pytorch"]["peak_bytes"]
    told = (f"{side} {row[side]['peak_bytes'] / 1e6:.0f} MB, loss {row[side]['losses'][0]:.2f} to"
            f" {row[side]['losses'][-1]:.2f}" for side in SIDES)  # fmt: skip
    print(f"{network.title}: {'; '.join(told)}; ratio {ratio:.2f}", flush=True)
    return row


def run(options: Options) -> harness.Results:
    chosen = options.chosen([(n.title, lambda n=n: n) for n in NETWORKS])  # type: ignore[misc]
    measured: Any = [build() for _, build in chosen]
    if options.quick and not options.only:
        measured = measured[:2]
    cases = [(n.title, lambda n=n: case(n, options.layouts)) for n in measured]
    results = harness.run("train_step", cases, options, harness.Plan(seconds=1.0, blocks=3))
    results.set(complete=False)
    for network in measured:
        row = memory(network, options.threads[0])
        results.set(memory=[*results.data.get("memory", []), row])
    results.finish()
    return results


if __name__ == "__main__":
    harness.main(__doc__, run)
