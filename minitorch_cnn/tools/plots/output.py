"""matplotlib, imported where something is first drawn; files written whole or not at all."""

from __future__ import annotations

import importlib
import io
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...serialization.atomic import atomic_write

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FORMATS = (".png", ".svg", ".pdf")
# Okabe and Ito (2008): told apart with every kind of colour blindness.
BLUE, ORANGE, GREEN, VERMILION, GREY = "#0072B2", "#E69F00", "#009E73", "#D55E00", "#999999"


def matplotlib(part: str = "") -> Any:
    """``matplotlib`` or ``matplotlib.<part>``; ImportError says what to install."""
    try:
        return importlib.import_module(f"matplotlib.{part}" if part else "matplotlib")
    except ImportError as error:
        raise ImportError(
            f"drawing needs {error.name or 'matplotlib'}, which is not installed:"
            ' pip install "minitorch-cnn[app]"',
            name=error.name,
        ) from None


def new_figure(width: float, height: float) -> Figure:
    """An empty figure, in inches, that no window and no global state knows of."""
    figure: Figure = matplotlib("figure").Figure(figsize=(width, height), layout="constrained")
    return figure


def suffix(path: str | os.PathLike[str], formats: tuple[str, ...] = FORMATS) -> str:
    """The path's suffix in lower case; ValueError if it is no format that can be written."""
    found = Path(path).suffix.lower()
    if found not in formats:
        raise ValueError(
            f"{path}: the suffix decides the format; write one of {', '.join(formats)}"
        )
    return found


def save_figure(figure: Figure, path: str | os.PathLike[str], dpi: int = 120) -> None:
    """Write .png, .svg or .pdf, by the suffix.

    Drawn in memory first: if that fails, or the disk is full, what was at ``path`` is untouched.
    The same figure gives the same bytes: no dates or random ids are written.
    """
    kind = suffix(path)[1:]
    metadata = {"svg": {"Date": None}, "pdf": {"CreationDate": None}, "png": {"Software": None}}
    drawn = io.BytesIO()
    with matplotlib().rc_context({"svg.hashsalt": "minitorch_cnn"}):
        figure.savefig(drawn, format=kind, dpi=dpi, metadata=metadata[kind])
    with atomic_write(path) as file:
        file.write(drawn.getvalue())


def save_animation(
    figure: Figure,
    draw: Callable[[int], None],
    frames: int,
    path: str | os.PathLike[str],
    seconds: float,
    dpi: int = 100,
) -> None:
    """Write a GIF, as whole as :func:`save_figure`'s files: ``draw(i)`` draws frame i.

    The last frame stays four times as long.
    """
    suffix(path, (".gif",))
    writer = matplotlib("animation").PillowWriter(fps=1 / seconds)
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory) / "animation.gif"
        writer.setup(figure, str(file), dpi)
        for i in [*range(frames), *[frames - 1] * 3]:
            draw(i)
            writer.grab_frame()
        writer.finish()
        content = file.read_bytes()
    with atomic_write(path) as target:
        target.write(content)
