"""How fast is each convolution of the seven networks: forward, grad-input, grad-weight?

Every distinct layer shape once, with the networks that have it and how often; each algorithm that
``kernels.conv2d`` knows for it, beside PyTorch with its maps as N, C, H, W or channels_last in
memory, whichever is quicker. The kernels are called as such: no autograd on either side.

    python benchmarks/conv2d.py [--quick] [--threads 2,1] [--only ResNet-50 "3x3 64"]
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from minitorch_cnn import no_grad, zeros
from minitorch_cnn.benchmarks import harness, machine
from minitorch_cnn.benchmarks.harness import Case
from minitorch_cnn.benchmarks.networks import NETWORKS, Network
from minitorch_cnn.kernels import algorithms, conv2d
from minitorch_cnn.kernels.geometry import Pair, conv_output, pair
from minitorch_cnn.models.registry import find
from minitorch_cnn.tensor import watch
from minitorch_cnn.tools.zoo import build_to_count

DIRECTIONS = ("forward", "grad_input", "grad_weight")
PLAN = harness.Plan(seconds=0.04, blocks=3)  # 570 cases of about five sides
QUICK = (1, 8)  # layers of the lecture's networks


@dataclass(frozen=True)
class Layer:
    """The shapes and settings of a convolution."""

    x: tuple[int, ...]
    weight: tuple[int, ...]
    stride: Pair
    padding: Pair
    dilation: Pair
    groups: int

    @property
    def settings(self) -> tuple[Pair, Pair, Pair, int]:
        return self.stride, self.padding, self.dilation, self.groups

    @property
    def y(self) -> tuple[int, ...]:
        window = zip(self.x[2:], self.weight[2:], self.stride, self.padding, self.dilation)
        return (*self.x[:1], *self.weight[:1], *(conv_output(*along) for along in window))

    @property
    def label(self) -> str:
        """As in "3x3 64->64 @56x56 batch 8", with what is unusual."""
        N, C, H, W = self.x
        F, _, KH, KW = self.weight
        text = f"{KH}x{KW} {C}->{F} @{H}x{W} batch {N}"
        for name, value, usual in (("stride", self.stride, (1, 1)),
                                   ("padding", self.padding, (KH // 2, KW // 2)),
                                   ("dilation", self.dilation, (1, 1))):  # fmt: skip
            if value != usual:
                text += f" {name} {value[0] if value[0] == value[1] else value}"
        return text + (f" groups {self.groups}" if self.groups > 1 else "")


def layers(network: Network) -> list[Layer]:
    """Every convolution of one forward pass, found by watching one image run through."""
    found = []

    def observe(op: str, settings: Mapping[str, Any], inputs: Sequence[Any], *_: Any) -> None:
        if op == "conv2d":
            shape = network.batch, *inputs[0].shape[1:]
            sizes: list[Pair] = [
                pair(settings.get(name, default), name, "conv2d", low=default)
                for name, default in (("stride", 1), ("padding", 0), ("dilation", 1))
            ]
            weight, groups = tuple(inputs[1].shape), settings.get("groups", 1)
            found.append(Layer(shape, weight, sizes[0], sizes[1], sizes[2], groups))

    module = build_to_count(find(network.name), **network.options).eval()
    with no_grad(), watch(observe):
        module(zeros(1, *network.input))
    return found


def inventory() -> dict[Layer, dict[str, int]]:
    """Each distinct layer, and how often each network has it."""
    counts: dict[Layer, dict[str, int]] = {}
    for network in NETWORKS:
        for layer in layers(network):
            of = counts.setdefault(layer, {})
            of[network.title] = of.get(network.title, 0) + 1
    return counts


def case(layer: Layer, direction: str, counts: Mapping[str, int]) -> Case:
    rng = np.random.default_rng(0)
    x, weight, gy = (
        rng.standard_normal(shape, np.float32) for shape in (layer.x, layer.weight, layer.y)
    )
    S, P, D, G = layer.settings
    torch = machine.pytorch()

    def ours(**algorithm: Any) -> Callable[[], Any]:
        if direction == "forward":
            return lambda: conv2d.forward(x, weight, S, P, D, G, **algorithm)
        if direction == "grad_input":
            return lambda: conv2d.grad_input(gy, weight, x.shape, S, P, D, G, **algorithm)
        return lambda: conv2d.grad_weight(gy, x, weight.shape, S, P, D, G, **algorithm)

    def theirs(layout: Any) -> Callable[[], Any]:
        X, W, GY = (torch.from_numpy(a).contiguous(memory_format=layout) for a in (x, weight, gy))
        if direction == "forward":
            return lambda: torch.conv2d(X, W, None, S, P, D, G)
        wanted = [direction == "grad_input", direction == "grad_weight", False]
        backward = torch.ops.aten.convolution_backward
        which = wanted.index(True)
        return lambda: backward(GY, X, W, None, S, P, D, False, (0, 0), G, wanted)[which]

    chosen, others, workspace = ways(layer, direction)
    sides = {"ours": ours(), **{name: ours(algorithm=name) for name in others}}
    sides["pytorch"] = theirs(torch.contiguous_format)
    sides["pytorch channels_last"] = theirs(torch.channels_last)
    _, CG, KH, KW = layer.weight
    return Case(
        sides,
        references=("pytorch", "pytorch channels_last"),
        extras=tuple(others),
        flops=2 * gy.size * CG * KH * KW,
        nbytes=4 * (x.size + weight.size + gy.size),
        facts={"family": f"conv2d {direction}", "direction": direction, "layer": layer.label,
               "kernel": [KH, KW], "counts": dict(counts), "algorithm": chosen,
               "workspace_bytes": workspace},
    )  # fmt: skip


def ways(layer: Layer, direction: str) -> tuple[str, list[str], int]:
    """Which one ``kernels.conv2d`` chooses, which others it has, and bytes beside the arrays."""
    S, P, D, G = layer.settings
    problem = conv2d.problem_of(
        direction, layer.x, layer.weight, np.float32, stride=S, padding=P, dilation=D, groups=G
    )
    chosen = algorithms.choose(problem)
    others = [name for name in algorithms.can(problem) if name != chosen.algorithm]
    return chosen.algorithm, others, chosen.workspace


def run(options: harness.Options) -> harness.Results:
    found = list(inventory().items())
    cases = [
        (f"{layer.label} {direction} ({', '.join(counts)})",
         functools.partial(case, layer, direction, counts))
        for layer, counts in (found[slice(*QUICK)] if options.quick and not options.only else found)
        for direction in DIRECTIONS
    ]  # fmt: skip
    return harness.run("conv2d", cases, options, PLAN)


if __name__ == "__main__":
    harness.main(__doc__, run)
