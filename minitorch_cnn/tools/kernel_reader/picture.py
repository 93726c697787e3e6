"""The picture of a run: what one block and one thread of it read, and who wrote the output."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..plots.output import BLUE, GREEN, GREY, ORANGE, VERMILION, matplotlib, new_figure
from .examples import Array
from .running import FIRST, Run, smaller_block

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_COLOURS = (BLUE, ORANGE, GREEN, "#CC79A7", "#56B4E9", "#F0E442")  # of blocks, in turn
_NUMBERED_UP_TO = 200  # elements: of larger arrays threads are not written into the cells
_WIDTH = 12.0  # inches, at most
_GAP, _CAPTION = 0.45, 0.4  # inches beside and above a panel


def draw(done: Run) -> Figure:
    """Inputs on the left, output on the right; for a product b stands above c, and a beside it."""
    matrices = {key: done.matrix(key, trace) for key, trace in done.reads.items()}
    output = done.example.output
    matrices[output] = done.matrix(output, done.writes)
    product = done.example.product
    columns = [m.shape[1] for m in matrices.values()]
    rows = [m.shape[0] for m in matrices.values()]
    if product:
        columns, rows = [columns[0], columns[2]], [rows[1], rows[2]]
    else:
        rows = [max(rows)]
    small = matrices[output].size <= _NUMBERED_UP_TO
    cell = min(0.46 if small else 0.3, _WIDTH / sum(columns), 9 / sum(rows))
    widths = [max(n * cell, 1.2) for n in columns]
    width = sum(widths) + _GAP * (len(columns) + 1)
    height = sum(rows) * cell + _CAPTION * len(rows) + 1.15
    width = max(width, 6.5)
    figure = new_figure(width, height)
    # Every panel at its place in inches: a cell has one size in all of them.
    figure.set_layout_engine("none")
    left = (width - sum(widths) - _GAP * (len(widths) - 1)) / 2
    starts = [left + sum(widths[:i]) + _GAP * i for i in range(len(widths))]
    for i, (key, matrix) in enumerate(matrices.items()):
        column, row = ({0: (0, 1), 1: (1, 0), 2: (1, 1)}[i]) if product else (i, 0)
        top = height - 0.55 - _CAPTION - row * (rows[0] * cell + _CAPTION)
        H, W = (n * cell for n in matrix.shape)
        ax = figure.add_axes((starts[column] / width, (top - H) / height, W / width, H / height))
        _panel(ax, done, key, matrix, cell)
    title = (
        f"{done.module}.cu: {done.name}\ngrid {done.grid}, block {done.block}{smaller_block(done)}"
    )
    figure.text(0.5, 1 - 0.12 / height, title, ha="center", va="top", fontsize=11)
    figure.text(0.5, 0.1 / height, _legend(done), ha="center", va="bottom", fontsize=8)
    return figure


def _legend(done: Run) -> str:
    what = "output: coloured by the block that wrote it; numbers are threads of that block"
    if done.writes.size > _NUMBERED_UP_TO:
        what = "output: coloured by the block that wrote it"
    followed = f"red: thread {done.example.thread} of block {FIRST}"
    return f"{what}; {followed}\ninputs: blue is what block {FIRST} read"


def _panel(ax: Axes, done: Run, key: str, matrix: Array, cell: float) -> None:
    is_output = key == done.example.output
    shape = done.example.arguments[key].shape
    blocks, mine = done.by_block(matrix), done.of_thread(matrix)
    if not is_output:
        blocks = np.where(blocks == 0, 0, -1)
        if not done.example.own_reads:
            mine = np.zeros_like(mine)
    ax.imshow(_colours(blocks, mine), aspect="auto", interpolation="nearest")
    H, W = matrix.shape
    if cell > 0.09:
        for edge in range(H + 1):
            ax.axhline(edge - 0.5, color="white", linewidth=1 if cell > 0.2 else 0.4)
        for edge in range(W + 1):
            ax.axvline(edge - 0.5, color="white", linewidth=1 if cell > 0.2 else 0.4)
    if len(shape) > 2 and key not in done.example.rows:  # planes stand one above the other
        for edge in range(shape[-2], H, shape[-2]):
            ax.axhline(edge - 0.5, color="black", linewidth=1.5)
    if matrix.size <= _NUMBERED_UP_TO and is_output:
        for (row, column), thread in np.ndenumerate(done.by_thread(matrix)):
            colour = "white" if mine[row, column] else "black"
            ax.text(column, row, str(thread), ha="center", va="center", fontsize=8, color=colour)
    elif is_output:
        for block in np.unique(blocks):
            places = np.argwhere(blocks == block)
            row, column = (places.min(0) + places.max(0)) / 2
            name = matrix["block"][tuple(places[0])].tolist()
            ax.text(column, row, f"block\n{tuple(name)}", ha="center", va="center", fontsize=9)
    ax.set_title(f"{key} {shape}".replace(",)", ")"), fontsize=9)
    ax.set_xticks([])
    ax.set_yticks([])
    for spine in ax.spines.values():
        spine.set_color(GREY)


def _colours(blocks: Array, mine: Array) -> Array:
    """RGB: blocks in light colours, the followed thread's elements in full ones."""
    rgb: Any = matplotlib("colors").to_rgb
    light = np.array([0.45 * np.array(rgb(c)) + 0.55 for c in _COLOURS])
    image = np.where(blocks[..., None] < 0, 0.92, light[blocks % len(_COLOURS)])
    image[mine] = rgb(VERMILION)
    return np.asarray(image)
