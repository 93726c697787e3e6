"""What does each backend cost? Plain NumPy, Numba, PyTorch, and both on a GPU where there is one.

The same lines of code on each: single ops forward and backward, and whole training steps. Every
backend has a process of its own, where its results are compared with those of PyTorch on the CPU
before the time is taken; rounds of all backends alternate. On a GPU, PyTorch is cuDNN and cuBLAS;
"cupy graph" replays a CUDA graph of the row instead of queueing its kernels one by one.

    python benchmarks/backends.py [--quick] [--threads 2,1] [--only conv2d]
"""

from __future__ import annotations

import functools
import importlib
import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from minitorch_cnn.benchmarks import both, harness, machine, networks
from minitorch_cnn.benchmarks.both import Row
from minitorch_cnn.benchmarks.harness import Options, WrongResultError
from minitorch_cnn.benchmarks.networks import NETWORKS, Network

OPS = (
    Row("conv2d", "conv2d 3x3", lambda t, x, w: t.nn.functional.conv2d(x, w, padding=1),
        ((8, 64, 56, 56), (64, 64, 3, 3)), backward=(0, 1)),
    Row("conv2d", "conv2d 1x1", lambda t, x, w: t.nn.functional.conv2d(x, w),
        ((8, 256, 28, 28), (128, 256, 1, 1)), backward=(0, 1)),
    Row("conv2d", "conv2d 3x3 depthwise",
        lambda t, x, w: t.nn.functional.conv2d(x, w, padding=1, groups=64),
        ((8, 64, 56, 56), (64, 1, 3, 3)), backward=(0, 1)),
    Row("linear", "linear", lambda t, x, w: t.nn.functional.linear(x, w),
        ((64, 2048), (1000, 2048)), backward=(0, 1)),
    Row("max_pool2d", "max_pool2d 3x3 stride 2",
        lambda t, x: t.nn.functional.max_pool2d(x, 3, 2, 1), ((8, 64, 112, 112),)),
    Row("batch_norm", "batch_norm",
        lambda t, x, w, b: t.nn.functional.batch_norm(x, None, None, w, b, True),
        ((8, 64, 112, 112), (64,), (64,)), backward=(0, 1, 2)),
    Row("relu", "relu", lambda t, x: t.nn.functional.relu(x), ((8, 256, 56, 56),)),
    Row("log_softmax", "log_softmax", lambda t, x: t.nn.functional.log_softmax(x, 1),
        ((256, 1000),)),
)  # fmt: skip
STEPS = tuple(n for n in NETWORKS if n.name in ("cnn", "inception", "resnet18"))
# PyTorch on the CPU comes first: the others are compared with its results.
BACKENDS = ("pytorch", "numba", "numpy", "cupy", "cupy graph", "pytorch cuda")
ON_GPU = ("cupy", "cupy graph", "pytorch cuda")
ROUNDS = 3
SECONDS = 0.2  # for each row and round; what takes longer runs once
TOLERANCE = 1e-2  # of the largest value; PyTorch's convolutions on a GPU round to TF32

Start = Callable[[Any, str], Callable[[], list[Any]]]


def rows(quick: bool) -> list[tuple[str, Start]]:
    """Labels, and functions of (torch, device) that return the call to be timed."""
    ops, steps = (OPS[1:2], STEPS[:1]) if quick else (OPS, STEPS)
    return [(row.label, functools.partial(op, row)) for row in ops] + [
        (f"training step of {net.title}, batch {net.batch}", functools.partial(step, net))
        for net in steps
    ]


def op(row: Row, torch: Any, device: str) -> Callable[[], list[Any]]:
    """Forward and backward."""
    tensors = [torch.from_numpy(a).to(device) for a in both.arrays(row)]
    for i in row.backward:
        tensors[i].requires_grad_()
    y = row.op(torch, *tensors)
    gy = np.random.default_rng(1).standard_normal(y.shape).astype(np.float32)
    upstream = torch.from_numpy(gy).to(device)

    def call() -> list[Any]:
        for i in row.backward:
            tensors[i].grad = None
        y = row.op(torch, *tensors)
        y.backward(upstream)
        return [y, *(tensors[i].grad for i in row.backward)]

    return call


def step(network: Network, torch: Any, device: str) -> Callable[[], list[Any]]:
    """A training step; of its results, the loss and the last layer's gradient are compared: those
    of earlier ones are badly conditioned in float32 (see ``train_step``)."""
    side = "ours" if torch.__name__ == "minitorch_cnn" else "pytorch"
    module = networks.seeded(torch, networks.build(side, network)).to(device)
    x, target = (v.to(device) for v in networks.batch(torch, network))
    train = networks.training_step(torch, network, module, x, target)
    last = list(module.parameters())[-2]
    return lambda: [train(), last.grad]


def measure_here(
    backend: str, threads: int, quick: bool, only: list[str], folder: str
) -> dict[str, Any]:
    """Seconds of each row in this process; where it is not what PyTorch finds, what is wrong."""
    torch = importlib.import_module("torch" if "pytorch" in backend else "minitorch_cnn")
    machine.set_threads(threads)
    on_gpu = backend in ON_GPU
    wait = torch.cuda.synchronize if on_gpu else lambda: None
    plan = harness.QUICK if quick else harness.Plan(SECONDS, blocks=1)
    found: dict[str, Any] = {}
    for label, start in rows(quick):
        if only and not any(word in label for word in only):
            continue
        call = start(torch, "cuda" if on_gpu else "cpu")
        if backend == "cupy graph":
            call = torch.cuda.graph_step(call, warmup=1)
        try:
            compare(call(), backend, Path(folder) / f"{label.replace(' ', '_')}.npz")
        except WrongResultError as error:
            found[label] = str(error)
            continue
        call()  # a graph is recorded here

        def finished(call: Callable[[], Any] = call) -> None:
            call()
            wait()

        once = harness.timed(finished, time.perf_counter)
        found[label] = harness.block(finished, once, plan, time.perf_counter)
    return found


def compare(result: list[Any], backend: str, path: Path) -> None:
    """With what PyTorch on the CPU left at ``path``; that backend leaves it."""
    if backend == "pytorch":
        if not path.exists():
            np.savez(path, *map(harness.as_numpy, result))
        return
    with np.load(path) as expected:
        error = harness.difference(result, list(expected.values()))
    if not error <= TOLERANCE:
        raise WrongResultError(f"{error:.1e} of the largest value away from PyTorch")


def available() -> dict[str, str]:
    """Every backend, and why it cannot be measured here ("" if it can)."""
    from minitorch_cnn.cuda import why_unavailable

    reasons = dict.fromkeys(BACKENDS, "")
    reasons["cupy"] = reasons["cupy graph"] = why_unavailable() or ""
    torch = machine.pytorch()
    if not torch.cuda.is_available():
        reasons["pytorch cuda"] = "this PyTorch finds no GPU"
    elif not torch.backends.cudnn.is_available():
        reasons["pytorch cuda"] = "this PyTorch has no cuDNN to compare with"
    return reasons


def run(options: Options) -> harness.Results:
    results = harness.Results("backends", options)
    reasons = available()
    results.set(left_out={name: why for name, why in reasons.items() if why})
    measured = [name for name, why in reasons.items() if not why]
    if not any(name in ON_GPU for name in measured):
        print("NO GPU here: only the CPU's backends are measured.", flush=True)
    for name, why in reasons.items():
        if why:
            print(f"not measured: {name}: {why}", flush=True)
    for threads in options.threads:
        times: dict[str, dict[str, list[float]]] = {}
        refused = {}
        with tempfile.TemporaryDirectory() as folder:
            for number in range(1 if options.quick else ROUNDS):
                for name in measured:
                    print(f"{threads} threads, round {number + 1}: {name}", flush=True)
                    settings = [name, threads, options.quick, options.only, folder]
                    cpu = "numpy" if name == "numpy" else "numba"
                    answer = machine.in_a_process(
                        "backends", json.dumps(settings), env={"MINITORCH_CNN_CPU": cpu}
                    )
                    for label, seconds in answer.items():
                        if isinstance(seconds, str):
                            refused[f"{name}, {label}"] = seconds
                        else:
                            times.setdefault(label, {}).setdefault(name, []).append(seconds)
        for label, of in times.items():
            seconds = {name: harness.summary(values) for name, values in of.items()}
            results.add({"case": label, "threads": threads, "seconds": seconds})
            told = (f"{name} {1e3 * values[0]:.3g} ms" for name, values in seconds.items())
            print(f"{label}, {threads} threads: {', '.join(told)}", flush=True)
        for label, why in refused.items():
            results.add({"case": label, "threads": threads, "refused": why})
            print(f"REFUSED: {label}: {why}", flush=True)
    results.finish()
    return results


if __name__ == "__main__":
    if len(sys.argv) == 2 and sys.argv[1].startswith("["):
        print(json.dumps(measure_here(*json.loads(sys.argv[1]))))
    else:
        harness.main(__doc__, run)
