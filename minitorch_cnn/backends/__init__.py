"""``torch.backends``: the libraries that PyTorch computes with, none of which is used here.

Their flags can be set, so that scripts run; the questions are answered No. What is ours is
:mod:`.conv2d`: which algorithm computes a convolution, and why.
"""

from __future__ import annotations

from typing import NoReturn

from . import conv2d, cuda, cudnn, mkl, mkldnn, mps, openmp

__all__ = ["conv2d", "cuda", "cudnn", "mkl", "mkldnn", "mps", "openmp"]


def __getattr__(name: str) -> NoReturn:
    raise AttributeError(f"minitorch_cnn.backends has no {name!r}; it has {', '.join(__all__)}")
