"""``torch.utils.dlpack``: memory shared with other libraries."""

from __future__ import annotations

from ..functions.interop import from_dlpack, to_dlpack

__all__ = ["from_dlpack", "to_dlpack"]
