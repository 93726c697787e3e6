"""``torch.backends.mkldnn``: oneDNN, which is not used."""

from __future__ import annotations

enabled: bool = False


def is_available() -> bool:
    """False."""
    return False
