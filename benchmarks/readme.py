"""Puts a generated table into the README, or another page, between its markers."""

from __future__ import annotations

from pathlib import Path

from minitorch_cnn.kernels.backend import processor

__all__ = ["processor", "replace"]

README = Path(__file__).resolve().parent.parent / "README.md"


def replace(name: str, text: str, page: Path = README) -> None:
    """Write ``text`` between ``<!-- name: begin -->`` and ``<!-- name: end -->``."""
    start, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    head, found, rest = page.read_text(encoding="utf-8").partition(start)
    _, closed, tail = rest.partition(end)
    if not (found and closed):
        raise ValueError(f"{page.name} has no markers {start} and {end}")
    page.write_text(f"{head}{start}\n{text}\n{end}{tail}", encoding="utf-8")
