"""How fast are softmax and the losses, over 10 and over 1000 classes?

    python benchmarks/softmax.py [--quick] [--threads 2,1] [--only cross_entropy]
"""

from __future__ import annotations

from minitorch_cnn.benchmarks import both, harness
from minitorch_cnn.benchmarks.both import Row

SIZES = ((64, 10), (8, 1000), (256, 1000))


def rows() -> list[Row]:
    found = []
    for shape in SIZES:
        found += [
            Row("softmax", "softmax", lambda t, x: t.softmax(x, 1), (shape,)),
            Row("softmax", "log_softmax", lambda t, x: t.log_softmax(x, 1), (shape,)),
            Row("loss", "cross_entropy", lambda t, x, y: t.nn.functional.cross_entropy(x, y),
                (shape,), classes=shape[1]),
            Row("loss", "nll_loss", lambda t, x, y: t.nn.functional.nll_loss(x, y),
                (shape,), classes=shape[1]),
            Row("loss", "mse_loss", lambda t, a, b: t.nn.functional.mse_loss(a, b),
                (shape, shape)),
        ]  # fmt: skip
    return found


def run(options: harness.Options) -> harness.Results:
    found = rows()[:3] if options.quick else rows()
    return harness.run("softmax", both.cases(found), options)


if __name__ == "__main__":
    harness.main(__doc__, run)
