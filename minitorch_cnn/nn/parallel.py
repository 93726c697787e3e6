"""``torch.nn.parallel``, where some scripts import DataParallel from."""

from __future__ import annotations

from .modules.parallel import DataParallel

__all__ = ["DataParallel"]
