"""``torch.backends.cuda``: CUDA's own libraries, which are not used."""

from __future__ import annotations

from types import SimpleNamespace

# Settable, without effect.
matmul = SimpleNamespace(
    allow_tf32=False,
    allow_fp16_reduced_precision_reduction=True,
    allow_bf16_reduced_precision_reduction=True,
)


def is_built() -> bool:
    """False: nothing is linked to CUDA; :mod:`minitorch_cnn.cuda` finds it at run time."""
    return False
