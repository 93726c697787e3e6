"""``torch.backends.conv2d``: which algorithm computes a convolution, and why.

>>> import minitorch_cnn as torch
>>> with torch.backends.conv2d.using("im2col"):
...     print(torch.backends.conv2d.algorithm())
im2col

A table chooses by shape (``kernels/algorithms.py``: one for the CPU; one for GPUs, of "direct",
"tensor_cores", "winograd" and "implicit_gemm"); :func:`use` and :func:`using` ask for one algorithm
instead, where it can, and :func:`autotune` lets the clock choose, on the CPU. Of the environment,
``MINITORCH_CNN_CONV2D`` and ``MINITORCH_CNN_AUTOTUNE=1`` do the same. :func:`explain` tells what
a model gets.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..kernels import algorithms
from ..kernels import autotune as _autotune
from ..kernels.algorithms import NAMES, use, using

if TYPE_CHECKING:
    from ..nn import Module
    from ..tools.explain import Explanation

__all__ = ["NAMES", "algorithm", "autotune", "explain", "forget", "is_autotuned", "use", "using"]


def algorithm() -> str:
    """The algorithm that is asked for; "auto": the table chooses (or the clock)."""
    return algorithms.get()


def autotune(enabled: bool = True) -> None:
    """Choose by the clock: each algorithm that can compute a layer is timed when it first runs.

    What was measured is kept for later processes, in the directory of the compiled kernels, per
    processor, version and number of threads. Results of different algorithms differ by rounding;
    ``torch.use_deterministic_algorithms(True)`` switches this off.
    ``torch.backends.cudnn.benchmark = True`` switches it on too.
    """
    _autotune.use(enabled)


def is_autotuned() -> bool:
    """Whether the clock chooses now."""
    return algorithms.autotuned("auto")


def forget() -> None:
    """Forget what :func:`autotune` has measured, here and on disk."""
    _autotune.forget()


def explain(model: Module, *inputs: Any) -> Explanation:
    """Run ``model`` once, print the algorithm of each of its convolutions, and return the rows.

    See :func:`minitorch_cnn.tools.explain.explain`, which does not print.
    """
    from ..tools.explain import explain as find_out

    explanation = find_out(model, *inputs)
    print(explanation)
    return explanation
