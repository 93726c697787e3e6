"""Helpers around training: :mod:`.data` loads data sets, :mod:`.checkpoint` saves memory."""

from __future__ import annotations

from . import checkpoint, data

__all__ = ["checkpoint", "data"]
