"""``torch.amp``: automatic mixed precision.

>>> import minitorch_cnn as torch
>>> x = torch.ones(2, 3)
>>> with torch.amp.autocast("cpu", dtype=torch.float16):
...     y = x @ x.T
>>> y.dtype
torch.float16

Inside :class:`autocast`, convolutions and products of matrices compute in float16 or bfloat16, and
what needs range or precision in float32 (``lists.py`` says what); :class:`GradScaler` keeps
gradients within float16's range. On a GPU with tensor cores this is faster and takes half the
memory for activations; a CPU computes both in float32, so there it only shows what rounding does.
"""

from __future__ import annotations

from .autocast_mode import autocast, is_autocast_available
from .grad_scaler import GradScaler

__all__ = ["GradScaler", "autocast", "is_autocast_available"]
