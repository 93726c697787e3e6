"""Gradient clipping, parameters as one vector, and fusing batch norm into convolutions."""

from __future__ import annotations

from typing import NoReturn

from .._missing import missing
from .clip_grad import clip_grad_norm, clip_grad_norm_, clip_grad_value_, get_total_norm
from .convert_parameters import parameters_to_vector, vector_to_parameters
from .fusion import (
    fuse,
    fuse_conv_bn_eval,
    fuse_conv_bn_weights,
    fuse_linear_bn_eval,
    fuse_linear_bn_weights,
)

__all__ = [
    "clip_grad_norm", "clip_grad_norm_", "clip_grad_value_", "fuse", "fuse_conv_bn_eval",
    "fuse_conv_bn_weights", "fuse_linear_bn_eval", "fuse_linear_bn_weights", "get_total_norm",
    "parameters_to_vector", "vector_to_parameters",
]  # fmt: skip


def __getattr__(name: str) -> NoReturn:
    raise missing(__name__, name)
