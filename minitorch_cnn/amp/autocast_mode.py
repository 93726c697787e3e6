"""``autocast``: a region in which convolutions and products of matrices compute in 16 bits."""

from __future__ import annotations

import warnings
from typing import Any

from .. import cuda
from ..dtypes import as_dtype, bfloat16, dtype, float16, from_numpy_dtype
from ..grad_mode import Switch, mode

DEFAULTS = {"cpu": bfloat16, "cuda": float16}


class autocast(Switch):
    """``with autocast("cuda"):`` or ``@autocast("cuda")``: mixed precision for ops on that device.

    The inputs of convolutions, ``Linear`` and products of matrices are cast to ``dtype``, each time
    they are used; softmax, losses, norms, sums and their like compute in float32; all other ops in
    what they are given (``amp/lists.py``). Parameters stay as they are and get gradients of their
    own dtype. Backward belongs outside of the region, where it computes in the dtypes of forward.

    ``dtype`` can be float16, the default on "cuda", and bfloat16, the default on "cpu": that has
    float32's range, and so needs no ``GradScaler``, but 8 bits where float16 has 11. RuntimeError
    for bfloat16 on a GPU whose tensor cores do not have it (before compute capability 8.0).
    Regions nest, ``enabled=False`` takes a part out (cast its inputs yourself: ``x.float()``).
    ``cache_enabled`` is accepted; nothing is kept. Where ``dtype`` cannot be, or no GPU is there
    for "cuda", it warns and does nothing, as PyTorch.
    """

    def __init__(
        self,
        device_type: str,
        dtype: Any = None,
        enabled: bool = True,
        cache_enabled: bool | None = None,
    ) -> None:
        super().__init__()
        _check(device_type)
        self.device = device_type
        self.enabled = bool(enabled)
        if self.enabled and device_type == "cuda" and (why := cuda.why_unavailable()) is not None:
            warnings.warn(
                f"autocast: device_type is 'cuda', but CUDA is not available ({why}). Disabling"
                " autocast.",
                stacklevel=2,
            )
            self.enabled = False
        chosen = get_autocast_dtype(device_type) if dtype is None else as_dtype(dtype)
        self.fast_dtype = chosen
        if self.enabled and chosen not in (float16, bfloat16):
            warnings.warn(
                f"autocast: {chosen} is not a dtype to cast to: torch.float16 and torch.bfloat16"
                " are. Disabling autocast.",
                stacklevel=2,
            )
            self.enabled = False
        bfloat16_there = device_type == "cuda" and chosen is bfloat16
        if self.enabled and bfloat16_there and not cuda.is_bf16_supported():
            raise RuntimeError(
                "Current CUDA Device does not support bfloat16 (compute capability"
                f" {cuda.get_device_capability()}, it needs (8, 0)): use dtype=torch.float16"
            )

    def __enter__(self) -> autocast:
        self.previous.append(mode.autocast)
        others = {kind: d for kind, d in mode.autocast.items() if kind != self.device}
        mode.autocast = others | ({self.device: self.fast_dtype.numpy} if self.enabled else {})
        return self

    def __exit__(self, *exc: object) -> None:
        mode.autocast = self.previous.pop()


def _check(device_type: Any) -> None:
    if not isinstance(device_type, str):
        raise ValueError(
            f"Expected `device_type` of type `str`, got: `{type(device_type)}` (write device.type)"
        )
    if device_type not in DEFAULTS:
        raise RuntimeError(f"autocast: expected device_type 'cpu' or 'cuda', got {device_type!r}")


def is_autocast_available(device_type: str) -> bool:
    """Whether there is an autocast for a kind of device: for "cpu" and "cuda"."""
    return device_type in DEFAULTS


def is_autocast_enabled(device_type: str = "cuda") -> bool:
    """Whether this thread is in a region of autocast for a kind of device."""
    _check(device_type)
    return device_type in mode.autocast


def get_autocast_dtype(device_type: str) -> dtype:
    """What autocast casts to on a kind of device."""
    _check(device_type)
    if device_type in mode.autocast:
        return from_numpy_dtype(mode.autocast[device_type])
    return DEFAULTS[device_type]
