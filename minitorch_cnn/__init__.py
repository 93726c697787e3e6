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

from . import (
    dtypes,
    functions,
    methods,  # noqa: F401  (attaches the methods to Tensor)
    settings,
)
from .device import device
from .dtypes import (
    bfloat16,
    double,
    dtype,
    finfo,
    float16,
    float32,
    float64,
    get_default_dtype,
    half,
    iinfo,
    int8,
    int16,
    int32,
    int64,
    long,
    set_default_dtype,
    short,
    uint8,
)
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

from . import accelerator, amp, autograd, backends, cuda, linalg, nn, optim, random, utils, version  # isort: skip
from .amp.autocast_mode import autocast, get_autocast_dtype, is_autocast_enabled
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
from .nn.utils import fuse
from .serialization import load, save
from .version import __version__

if TYPE_CHECKING:
    from . import datasets, models, tools, transforms

# dtypes that share their names with Python's types: attributes, but not part of ``import *``.
float = dtypes.float32
int = dtypes.int32
bool = dtypes.bool_

__all__ = [
    "Generator", "Size", "Tensor", "__version__", "accelerator", "adaptive_avg_pool1d",
    "alpha_dropout", "amp", "autocast", "autograd", "avg_pool1d", "backends", "batch_norm",
    "bfloat16", "binary_cross_entropy_with_logits", "celu", "channel_shuffle", "conv1d", "conv2d",
    "conv_transpose1d", "conv_transpose2d", "cosine_similarity", "cuda", "datasets",
    "default_generator", "device", "double", "dropout", "dtype", "enable_grad",
    "finfo", "float16", "float32", "float64", "fuse", "get_autocast_dtype", "get_default_dtype",
    "get_rng_state", "group_norm", "half", "iinfo", "inference_mode", "initial_seed",
    "instance_norm", "int8", "int16", "int32", "int64", "is_autocast_enabled", "is_grad_enabled",
    "is_inference_mode_enabled", "kl_div", "layer_norm", "linalg", "load", "long", "manual_seed",
    "max_pool1d", "max_pool2d", "models", "nn", "no_grad", "optim", "pixel_shuffle",
    "pixel_unshuffle", "random", "save", "seed", "selu", "set_default_dtype", "set_grad_enabled",
    "set_rng_state", "short", "threshold", "tools", "transforms", "uint8", "utils", "version",
]  # fmt: skip
__all__ += functions.__all__
__all__ += settings.__all__

_LAZY = ("datasets", "models", "tools", "transforms")
_NOT_OURS = {
    "compile": "compiling a model", "jit": "TorchScript", "onnx": "ONNX export",
    "sparse": "sparse tensors", "complex64": "complex numbers", "complex128": "complex numbers",
    "fft": "Fourier transforms", "quantization": "quantisation", "ao": "quantisation",
    "distributed": "distributed training", "distributions": "probability distributions",
    "vmap": "vmap", "func": "function transforms", "fx": "graph capture",
    "multiprocessing": "shared-memory processes",
    "hub": "model hubs", "export": "graph export", "_dynamo": "compiling a model",
}  # fmt: skip


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return importlib.import_module(f".{name}", __name__)
    what = f" ({_NOT_OURS[name]} is not part of minitorch_cnn)" if name in _NOT_OURS else ""
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}{what}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY})
