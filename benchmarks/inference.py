"""How fast is prediction (evaluation mode, no graph), as it is and with batch norm folded?

Equal weights, equal batch; the outputs are compared first. "ours fused" is the network after
``torch.fuse``, where each batch norm is part of the convolution before it.

    python benchmarks/inference.py [--quick] [--threads 2,1] [--only ResNet-50] [--layouts]
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import minitorch_cnn
from minitorch_cnn.benchmarks import harness, networks
from minitorch_cnn.benchmarks.harness import Case, Options
from minitorch_cnn.benchmarks.networks import NETWORKS, Network


def case(network: Network, layouts: bool) -> Case:
    modules = networks.pair(network, trained=True)
    if network.file != "lecture":  # those have no batch norm
        x, _ = networks.batch(minitorch_cnn, network)
        modules["ours fused"] = minitorch_cnn.fuse(modules["ours"], x[:1])
    if layouts and network.file != "lecture":  # their views need N, C, H, W
        modules["pytorch channels_last"] = copy.deepcopy(modules["pytorch"])
    sides = {side: prediction(side, module.eval(), network) for side, module in modules.items()}
    return Case(
        sides,
        references=tuple(side for side in sides if side.startswith("pytorch")),
        flops=2 * network.macs,
        tolerance=1e-3,  # of the largest output: float32 after a hundred layers
        facts={"network": network.name, "batch": network.batch, "input": network.input},
    )


def prediction(side: str, module: Any, network: Network) -> Callable[[], Any]:
    torch = networks.torch_of(side)
    x, _ = networks.batch(torch, network)
    module, x = networks.in_layout(side, module, x)

    def predict() -> Any:
        with torch.no_grad():
            return module(x)

    return predict


def run(options: Options) -> harness.Results:
    measured = NETWORKS[:2] if options.quick and not options.only else NETWORKS
    cases = [(n.title, lambda n=n: case(n, options.layouts)) for n in measured]
    return harness.run("inference", cases, options, harness.Plan(seconds=0.6, blocks=3))


if __name__ == "__main__":
    harness.main(__doc__, run)
