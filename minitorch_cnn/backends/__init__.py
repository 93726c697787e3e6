"""``torch.backends``: the libraries that PyTorch computes with, none of which is used here.

Their flags can be set, so that scripts run, and have no effect; the questions are answered No.
"""

from __future__ import annotations

from typing import NoReturn

from . import cuda, cudnn, mkl, mkldnn, mps, openmp

__all__ = ["cuda", "cudnn", "mkl", "mkldnn", "mps", "openmp"]


def __getattr__(name: str) -> NoReturn:
    raise AttributeError(f"minitorch_cnn.backends has no {name!r}; it has {', '.join(__all__)}")
