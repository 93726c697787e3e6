"""Run CUDA kernels without a GPU: ``run("pool", "max_pool2d<float>", args)``. See README.md."""

from .compile import why_unavailable
from .errors import EmulatorError, EmulatorUnavailableError
from .launch import run, trace

__all__ = ["EmulatorError", "EmulatorUnavailableError", "run", "trace", "why_unavailable"]
