"""Checksums and contents of files, for the tests of data sets and of the downloader."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np

from minitorch_cnn.datasets._download import Checksum


def sha256(content: bytes, of_content: bool = False) -> Checksum:
    return Checksum("sha256", hashlib.sha256(content).hexdigest(), of_content)


def names(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


PHOTOS = np.random.default_rng(2).integers(0, 256, (7, 3, 32, 32), dtype=np.uint8)


def md5(content: bytes) -> str:
    return hashlib.md5(content).hexdigest()
