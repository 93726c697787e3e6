"""``torch.version``: this software's version, and the absence of what PyTorch would name here."""

from __future__ import annotations

__version__ = "0.1.0"

cuda: str | None = None
hip: str | None = None
