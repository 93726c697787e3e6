"""Helpers around training: :mod:`minitorch_cnn.utils.data` loads data sets."""

from __future__ import annotations

from . import data

__all__ = ["data"]
