"""How fast is normalisation? Batch norm of ResNet, DenseNet and Inception, alone and with ReLU.

    python benchmarks/norm.py [--quick] [--threads 2,1] [--only batch_norm]
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from minitorch_cnn.benchmarks import both, harness
from minitorch_cnn.benchmarks.both import Row, Shape

MAPS = ((32, 64, 32, 32), (8, 64, 112, 112), (8, 256, 56, 56), (8, 512, 28, 28), (8, 2048, 7, 7),
        (4, 384, 35, 35))  # fmt: skip


def batch_norm(t: Any, x: Any, weight: Any, bias: Any) -> Any:
    """In training: the batch's own statistics."""
    return t.nn.functional.batch_norm(x, None, None, weight, bias, True)


def batch_norm_relu(t: Any, x: Any, weight: Any, bias: Any) -> Any:
    return t.nn.functional.relu(batch_norm(t, x, weight, bias))


def batch_norm_eval(t: Any, x: Any, weight: Any, bias: Any) -> Any:
    """With running statistics, as a trained network computes."""
    mean, var = running_statistics(t, x.shape[1])
    return t.nn.functional.batch_norm(x, mean, var, weight, bias)


@functools.cache
def running_statistics(t: Any, C: int) -> list[Any]:
    return [t.from_numpy(np.full(C, v, np.float32)) for v in (0.1, 1.1)]


def rows(maps: tuple[Shape, ...]) -> list[Row]:
    found = []
    for shape in maps:
        shapes = (shape, shape[1:2], shape[1:2])
        found += [
            Row("batch_norm", "batch_norm in training", batch_norm, shapes, backward=(0, 1, 2)),
            Row("batch_norm", "batch_norm in evaluation", batch_norm_eval, shapes, backward=()),
            Row("batch_norm + relu", "batch_norm + relu in training", batch_norm_relu, shapes,
                backward=(0, 1, 2)),
        ]  # fmt: skip
    found.append(
        Row("group_norm", "group_norm of 32 groups", lambda t, x: t.nn.functional.group_norm(x, 32),
            ((8, 256, 28, 28),))
    )  # fmt: skip
    return found


def run(options: harness.Options) -> harness.Results:
    found = rows(((4, 16, 8, 8),) if options.quick else MAPS)
    return harness.run("norm", both.cases(found), options)


if __name__ == "__main__":
    harness.main(__doc__, run)
