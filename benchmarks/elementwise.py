"""How fast are activations, sums, concatenation and dropout? Mostly a question of memory.

    python benchmarks/elementwise.py [--quick] [--threads 2,1] [--only relu]
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minitorch_cnn.benchmarks import both, harness
from minitorch_cnn.benchmarks.both import Row

ACTIVATIONS = ("relu", "leaky_relu", "elu", "sigmoid", "tanh", "silu", "gelu", "hardswish")
MAP = (8, 256, 56, 56)  # 25.7 MB: larger than a core's cache, as in a training step
SMALL = (64, 10, 24, 24)
DROP = 0.4


def activation(name: str) -> Any:
    return lambda t, x: getattr(t.nn.functional, name)(x)


def same_dropout(ours: Any, theirs: Any) -> None:
    """Random numbers differ: the share of zeros and the scale of the rest must not."""
    for a, b in zip(*(map(harness.as_numpy, _list(y)) for y in (ours, theirs)), strict=True):
        # An odd value of y / x would show in the mean; sizes are above 300,000.
        for what in (lambda v: np.mean(v == 0), lambda v: np.mean(np.abs(v))):
            if abs(what(a) - what(b)) > 0.01:
                raise harness.WrongResultError("dropout keeps another share, or scales otherwise")


def _list(y: Any) -> list[Any]:
    return y if isinstance(y, list) else [y]


def rows() -> list[Row]:
    found = [Row("activation", name, activation(name), (MAP,)) for name in ACTIVATIONS]
    found += [
        Row("activation", "relu", activation("relu"), (SMALL,)),
        Row("add, mul", "add", lambda t, a, b: t.add(a, b), (MAP, MAP), backward=(0, 1)),
        Row("add, mul", "mul", lambda t, a, b: t.mul(a, b), (MAP, MAP), backward=(0, 1)),
        Row("add + relu", "residual add + relu", lambda t, a, b: t.nn.functional.relu(a + b),
            (MAP, MAP), backward=(0, 1)),
        Row("cat", "cat (DenseNet)", lambda t, *x: t.cat(x, 1), ((8, 224, 56, 56), (8, 32, 56, 56)),
            backward=(0, 1)),
        Row("cat", "cat (Inception)", lambda t, *x: t.cat(x, 1),
            ((8, 64, 35, 35), (8, 64, 35, 35), (8, 96, 35, 35), (8, 32, 35, 35)),
            backward=(0, 1, 2, 3)),
        Row("dropout", "dropout", lambda t, x: t.nn.functional.dropout(x, DROP), (MAP,),
            check=same_dropout),
    ]  # fmt: skip
    return found


def run(options: harness.Options) -> harness.Results:
    found = [Row("activation", "relu", activation("relu"), (SMALL,))] if options.quick else rows()
    return harness.run("elementwise", both.cases(found), options)


if __name__ == "__main__":
    harness.main(__doc__, run)
