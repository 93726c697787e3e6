"""Convolutional networks with PyTorch's names, on kernels that you can open and read.

>>> import minitorch_cnn as torch
>>> x = torch.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
>>> (x * x).sum().backward()
>>> x.grad
tensor([[2., 4.],
        [6., 8.]])

``nn``, ``optim``, ``autograd``, ``utils.data``, ``cuda`` are PyTorch's module paths; ``datasets``,
``transforms`` and ``models`` are torchvision's. Importing this imports neither Numba (that comes
with the first kernel) nor anything else that is slow.
"""

# ruff: noqa: F403 (functions and settings list what they export in __all__)

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from . import methods  # noqa: F401  (attaches the methods to Tensor)
from .device import device
from .dtypes import (
    double,
    dtype,
    finfo,
    float,
    float16,
    float32,
    float64,
    get_default_dtype,
    half,
    iinfo,
    int,
    int8,
    int16,
    int32,
    int64,
    long,
    set_default_dtype,
    short,
    uint8,
)
from .dtypes import bool_ as bool
from .functions import *
from .random import (
    Generator,
    default_generator,
    get_rng_state,
    initial_seed,
    manual_seed,
    seed,
    set_rng_state,
)
from .settings import *
from .size import Size
from .tensor import (
    Tensor,
    enable_grad,
    inference_mode,
    is_grad_enabled,
    is_inference_mode_enabled,
    no_grad,
    set_grad_enabled,
)
from . import accelerator, autograd, backends, cuda, linalg, nn, optim, random, utils, version  # isort: skip
from .nn.functional import (
    adaptive_avg_pool1d,
    alpha_dropout,
    avg_pool1d,
    batch_norm,
    binary_cross_entropy_with_logits,
    celu,
    channel_shuffle,
    conv1d,
    conv2d,
    conv_transpose1d,
    conv_transpose2d,
    cosine_similarity,
    dropout,
    embedding,
    group_norm,
    instance_norm,
    kl_div,
    layer_norm,
    max_pool1d,
    max_pool2d,
    pixel_shuffle,
    pixel_unshuffle,
    selu,
    threshold,
)
from .serialization import load, save
from .version import __version__

if TYPE_CHECKING:
    from . import datasets, models, tools, transforms

_LAZY = ("datasets", "models", "tools", "transforms")
_NOT_OURS = {
    "compile": "compiling a model", "jit": "TorchScript", "onnx": "ONNX export",
    "sparse": "sparse tensors", "complex64": "complex numbers", "complex128": "complex numbers",
    "fft": "Fourier transforms", "quantization": "quantisation", "ao": "quantisation",
    "distributed": "distributed training", "distributions": "probability distributions",
    "vmap": "vmap", "func": "function transforms", "fx": "graph capture", "amp": "autocast",
    "autocast": "autocast", "bfloat16": "bfloat16", "multiprocessing": "shared-memory processes",
    "hub": "model hubs", "export": "graph export", "_dynamo": "compiling a model",
}  # fmt: skip


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return importlib.import_module(f".{name}", __name__)
    what = f" ({_NOT_OURS[name]} is not part of minitorch_cnn)" if name in _NOT_OURS else ""
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}{what}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY})
