"""The seven networks of the comparison, from one model file on both sides, and a training step.

    python -m minitorch_cnn.benchmarks.networks '{"side": "ours", "network": {...}, ...}'

trains in this process and prints seconds, losses and bytes as JSON: an operating system counts
memory by process.
"""

from __future__ import annotations

import gc
import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

import minitorch_cnn
from minitorch_cnn import models
from minitorch_cnn.benchmarks import machine
from minitorch_cnn.models.registry import find
from minitorch_cnn.tools.summary import summary
from minitorch_cnn.tools.twin import in_pytorch
from minitorch_cnn.tools.zoo import build_to_count, costs

HEAD = 0.4  # the weight of an auxiliary head's loss
SIDES = ("ours", "pytorch")
# Deep networks are badly conditioned in float32: PyTorch's gradients of ResNet-50 are 2 % of their
# length away from its own in float64, its outputs of Inception v4 0.06 %; so are ours. So PyTorch
# itself is the measure: ours may differ from it as much as it does for images changed by so much,
# which is about the rounding of one layer of Winograd's convolution.
NUDGE = 1e-5


@dataclass(frozen=True)
class Network:
    """An architecture, the file it stands in, and the batch that it is measured on."""

    title: str
    name: str
    file: str
    batch: int
    input: tuple[int, int, int]
    classes: int = 1000
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def macs(self) -> int:
        """Multiply-adds of one batch forward."""
        architecture = find(self.name)
        if not self.options and self.input == architecture.input:
            return costs(self.name)[1] * self.batch
        return summary(build_to_count(architecture, **self.options), self.input).macs * self.batch


CIFAR = {"num_classes": 10, "small_input": True}
NETWORKS = (
    Network("lecture CNN", "cnn", "lecture", 64, (1, 28, 28), 10),
    Network("Inception net", "inception", "lecture", 64, (1, 28, 28), 10),
    Network("ResNet-18, 32x32", "resnet18", "resnet", 32, (3, 32, 32), 10, CIFAR),
    Network("ResNet-50", "resnet50", "resnet", 8, (3, 224, 224)),
    Network("DenseNet-121", "densenet121", "densenet", 8, (3, 224, 224)),
    Network("Inception v3", "inception_v3", "inception_v3", 8, (3, 299, 299)),
    Network("Inception v4", "inception_v4", "inception_v4", 4, (3, 299, 299)),
)


@contextmanager
def without_dropout(module: Any) -> Iterator[None]:
    """Its dropout layers let everything through."""
    layers = [m for m in module.modules() if type(m).__name__.startswith("Dropout")]
    for m in layers:
        m.eval()
    yield
    for m in layers:
        m.train()


def torch_of(side: str) -> Any:
    return minitorch_cnn if side.startswith("ours") else machine.pytorch()


def build(side: str, network: Network) -> Any:
    if side == "ours":
        return models.get_model(network.name, **network.options)
    return getattr(in_pytorch(network.file), network.name)(**network.options)


def pair(network: Network, trained: bool = False) -> dict[str, Any]:
    """Both sides with equal weights; if ``trained``, batch norm knows the batch's statistics.

    Without them nothing but biases arrives at the end of a deep network in evaluation mode.
    """
    ours, theirs = (build(side, network) for side in SIDES)
    if trained:
        torch = machine.pytorch()
        for m in theirs.modules():
            if isinstance(m, torch.nn.BatchNorm2d):
                m.momentum = 1.0
        with torch.no_grad():
            theirs(batch(torch, network)[0])
    state = {k: minitorch_cnn.from_numpy(v.numpy()) for k, v in theirs.state_dict().items()}
    ours.load_state_dict(state)  # copies
    return {"ours": ours, "pytorch": theirs}


def nudged_images(network: Network) -> Any:
    """PyTorch's images, each pixel changed by about NUDGE of its value."""
    torch = machine.pytorch()
    x, _ = batch(torch, network)
    return x * (1 + NUDGE * torch.randn(x.shape))


def seeded(torch: Any, module: Any) -> Any:
    """The module with weights that are the same on each side, in each process."""
    rng = np.random.default_rng(0)
    state = module.state_dict()
    for name, value in state.items():
        if len(value.shape) > 1:  # He's initialisation; vectors keep theirs, or are zero
            scale = np.sqrt(2 / np.prod(value.shape[1:]))
            drawn = rng.standard_normal(tuple(value.shape), np.float32)
            state[name] = torch.from_numpy(drawn * np.float32(scale))
        elif name.endswith("bias"):
            state[name] = torch.zeros(*value.shape)
    module.load_state_dict(state)
    return module


def in_layout(side: str, module: Any, x: Any) -> tuple[Any, Any]:
    """Weights and images as N, H, W, C in memory if the side's name says channels_last."""
    if not side.endswith("channels_last"):
        return module, x
    layout = machine.pytorch().channels_last
    return module.to(memory_format=layout), x.contiguous(memory_format=layout)


def batch(torch: Any, network: Network) -> tuple[Any, Any]:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((network.batch, *network.input), np.float32)
    return torch.from_numpy(x), torch.from_numpy(rng.integers(0, network.classes, network.batch))


def training_step(
    torch: Any, network: Network, module: Any, x: Any, target: Any
) -> Callable[[], Any]:
    """Forward, loss, backward, SGD with momentum; the call returns the loss as a tensor."""
    F = torch.nn.functional
    # The lecture's networks return logarithms of probabilities.
    criterion = F.nll_loss if network.file == "lecture" else F.cross_entropy
    optimizer = torch.optim.SGD(module.parameters(), lr=0.01, momentum=0.9)

    def step() -> Any:
        optimizer.zero_grad()
        y = module(x)
        outputs = list(y) if isinstance(y, tuple) else [y]
        loss = criterion(outputs[0], target)
        for head in outputs[1:]:
            loss = loss + HEAD * criterion(head, target)
        loss.backward()
        optimizer.step()
        return loss

    return step


def train_here(side: str, network: Network, threads: int, steps: int) -> dict[str, Any]:
    """Seconds and loss of each step, and bytes above what this process held before the network.

    A step of the same network comes first: libraries are loaded, kernels compiled and threads
    started, which are not counted; what the step itself took is given back.
    """
    torch = torch_of(side)
    machine.set_threads(threads)
    training_step(torch, network, build(side, network), *batch(torch, network))()
    gc.collect()
    minitorch_cnn.kernels.memory.release()
    x, target = batch(torch, network)
    held = machine.restart_peak()
    step = training_step(torch, network, build(side, network), x, target)
    losses, seconds = [], []
    for _ in range(steps):
        started = time.perf_counter()
        losses.append(step().item())
        seconds.append(time.perf_counter() - started)
    return {"side": side, "threads": threads, "losses": losses, "seconds": seconds,
            "peak_bytes": machine.peak() - held}  # fmt: skip


def train_elsewhere(side: str, network: Network, threads: int, steps: int) -> Any:
    """:func:`train_here` in a process of its own."""
    settings = {"side": side, "network": asdict(network), "threads": threads, "steps": steps}
    return machine.in_a_process("networks", json.dumps(settings))


if __name__ == "__main__":
    settings = json.loads(sys.argv[1])
    shape = tuple(settings["network"].pop("input"))
    settings["network"] = Network(input=shape, **settings["network"])
    print(json.dumps(train_here(**settings)))
