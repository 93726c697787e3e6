"""How fast is an optimiser's step on ResNet-50's 25.6 million parameters?

PyTorch by default updates one parameter after another; "pytorch fused" is its ``fused=True``.

    python benchmarks/optim.py [--quick] [--threads 2,1] [--only Adam]
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import minitorch_cnn
from minitorch_cnn.benchmarks import harness, machine
from minitorch_cnn.benchmarks.harness import Case
from minitorch_cnn.models.registry import find
from minitorch_cnn.tools.zoo import build_to_count

# Name: the class, its settings, and float32 numbers read or written per parameter.
OPTIMIZERS: dict[str, tuple[str, dict[str, Any], int]] = {
    "SGD": ("SGD", {"lr": 0.01}, 3),
    "SGD momentum": ("SGD", {"lr": 0.01, "momentum": 0.9, "weight_decay": 1e-4}, 5),
    "Adam": ("Adam", {"lr": 1e-3}, 7),
    "AdamW": ("AdamW", {"lr": 1e-3}, 7),
}


def case(name: str, network: str) -> Case:
    kind, settings, traffic = OPTIMIZERS[name]
    shapes = [tuple(p.shape) for p in build_to_count(find(network)).parameters()]
    size = sum(int(np.prod(shape)) for shape in shapes)

    def side(torch: Any, **options: Any) -> Callable[[], Any]:
        rng = np.random.default_rng(0)
        parameters = []
        for shape in shapes:
            p = torch.nn.Parameter(torch.from_numpy(rng.standard_normal(shape, np.float32)))
            p.grad = torch.from_numpy(rng.standard_normal(shape, np.float32))
            parameters.append(p)
        optimizer = getattr(torch.optim, kind)(parameters, **settings, **options)

        def step() -> list[Any]:
            optimizer.step()
            return parameters

        return step

    real = machine.pytorch()
    return Case(
        {"ours": side(minitorch_cnn), "pytorch": side(real),
         "pytorch fused": side(real, fused=True)},
        nbytes=4 * traffic * size,
        facts={"family": "optimiser", "network": network, "parameters": size},
    )  # fmt: skip


def run(options: harness.Options) -> harness.Results:
    network = "squeezenet1_1" if options.quick else "resnet50"
    cases = [(f"{name} step", lambda name=name: case(name, network)) for name in OPTIMIZERS]
    return harness.run("optim", cases, options)


if __name__ == "__main__":
    harness.main(__doc__, run)
