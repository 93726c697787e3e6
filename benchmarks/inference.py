"""How fast is prediction (evaluation mode, no graph), as it is and after ``torch.fuse``?

Equal weights, equal batch; the outputs are compared first. "ours fused" is the network in which
batch norms and ReLUs are parts of the layers before them, and weights are packed once.

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
    x, _ = networks.batch(minitorch_cnn, network)
    modules["ours fused"] = minitorch_cnn.fuse(modules["ours"], x[:1])
    if layouts and network.file != "lecture":  # their views need N, C, H, W
        modules["pytorch channels_last"] = copy.deepcopy(modules["pytorch"])
    sides = {side: prediction(side, module.eval(), network) for side, module in modules.items()}
    return Case(
        sides,
        references=tuple(side for side in sides if side.startswith("pytorch")),
        flops=2 * network.macs,
        facts={"network": network.name, "batch": network.batch, "input": network.input},
        check=lambda: same_outputs(network, modules["pytorch"], sides),
    )


def same_outputs(network: Network, theirs: Any, sides: dict[str, Callable[[], Any]]) -> None:
    """WrongResultError where outputs are further from PyTorch's than rounding explains."""
    torch = networks.torch_of("pytorch")
    expected = sides["pytorch"]()
    with torch.no_grad():
        allowed = harness.difference(theirs(networks.nudged_images(network)), expected)
    for side, predict in sides.items():
        error = harness.difference(predict(), expected)
        if not error <= allowed:
            raise harness.WrongResultError(
                f"{side}: outputs are off by {error:.1e}, and rounding explains {allowed:.1e}"
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
