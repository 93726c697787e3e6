"""Where downloaded data sets live if the user names no place."""

from __future__ import annotations

from pathlib import Path


def default_root() -> Path:
    """A folder of the user's cache, shared by all projects."""
    from platformdirs import user_cache_path

    return user_cache_path("minitorch_cnn", appauthor=False) / "datasets"
