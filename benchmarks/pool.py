"""How fast is pooling? The layers of the lecture's networks, ResNet, DenseNet and Inception.

    python benchmarks/pool.py [--quick] [--threads 2,1] [--only max_pool2d]
"""

from __future__ import annotations

from minitorch_cnn.benchmarks import both, harness
from minitorch_cnn.benchmarks.both import Row

ROWS = (
    Row("max_pool2d", "max_pool2d 2x2",
        lambda t, x: t.nn.functional.max_pool2d(x, 2), ((64, 10, 24, 24),)),
    Row("max_pool2d", "max_pool2d 2x2",
        lambda t, x: t.nn.functional.max_pool2d(x, 2), ((64, 20, 8, 8),)),
    Row("max_pool2d", "max_pool2d 2x2",
        lambda t, x: t.nn.functional.max_pool2d(x, 2), ((32, 64, 56, 56),)),
    Row("max_pool2d", "max_pool2d 3x3 stride 2 padding 1",
        lambda t, x: t.nn.functional.max_pool2d(x, 3, 2, 1), ((8, 64, 112, 112),)),
    Row("max_pool2d", "max_pool2d 3x3 stride 2",
        lambda t, x: t.nn.functional.max_pool2d(x, 3, 2), ((8, 64, 147, 147),)),
    Row("max_pool2d", "max_pool2d 3x3 stride 2",
        lambda t, x: t.nn.functional.max_pool2d(x, 3, 2), ((4, 384, 35, 35),)),
    Row("avg_pool2d", "avg_pool2d 3x3 padding 1",
        lambda t, x: t.nn.functional.avg_pool2d(x, 3, 1, 1), ((64, 10, 12, 12),)),
    Row("avg_pool2d", "avg_pool2d 3x3 padding 1",
        lambda t, x: t.nn.functional.avg_pool2d(x, 3, 1, 1), ((8, 192, 35, 35),)),
    Row("avg_pool2d", "avg_pool2d 3x3 padding 1",
        lambda t, x: t.nn.functional.avg_pool2d(x, 3, 1, 1), ((8, 1280, 8, 8),)),
    Row("avg_pool2d", "avg_pool2d 2x2",
        lambda t, x: t.nn.functional.avg_pool2d(x, 2), ((8, 128, 56, 56),)),
    Row("adaptive_avg_pool2d", "adaptive_avg_pool2d to 1x1",
        lambda t, x: t.nn.functional.adaptive_avg_pool2d(x, 1), ((8, 2048, 7, 7),)),
    Row("adaptive_avg_pool2d", "adaptive_avg_pool2d to 1x1",
        lambda t, x: t.nn.functional.adaptive_avg_pool2d(x, 1), ((32, 512, 4, 4),)),
)  # fmt: skip


def run(options: harness.Options) -> harness.Results:
    return harness.run("pool", both.cases(ROWS[:2] if options.quick else ROWS), options)


if __name__ == "__main__":
    harness.main(__doc__, run)
