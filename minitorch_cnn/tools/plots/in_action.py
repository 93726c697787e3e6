"""The lecture's pictures: a kernel or a pooling window at work, element by element."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from .output import (
    BLUE,
    FORMATS,
    GREY,
    ORANGE,
    VERMILION,
    matplotlib,
    new_figure,
    save_animation,
    save_figure,
    suffix,
)
from .windows import Sliding, Step, convolution_steps, pooling_steps

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_NUMBERS_UP_TO = 12  # pixels a side: larger images are drawn as grey values without numbers
_FRAMES = 100  # of a film; a digit of 28x28 has more steps than anyone wants to see
_CELL = 0.42  # inches, with a number in it
_GAP = 0.5  # inches between image, kernel and output
_MARGIN = 0.06  # inches left and right of them
_CAPTION = 0.3  # inches above them
_LINE = 0.19  # inches of a line of text
_LETTER = 0.085  # inches of a letter in it


def convolution_in_action(
    image: Any, kernel: Any, stride: Any = 1, padding: Any = 0, bias: float = 0.0
) -> InAction:
    """Picture or film of a convolution of one channel.

    ``image`` (H, W), ``kernel`` (KH, KW), ``stride`` and ``padding`` an int or a pair. Each step
    shows the window, the products under its numbers, their sum, and the output element written.
    """
    return InAction(convolution_steps(image, kernel, stride, padding, bias))


def pooling_in_action(x: Any, kernel: Any, stride: Any = None, mode: str = "max") -> InAction:
    """Picture or film of pooling: ``mode`` is "max" or "average", ``stride`` the kernel's size."""
    return InAction(pooling_steps(x, kernel, stride, mode))


@dataclass(frozen=True)
class InAction:
    """``figure()`` draws steps as panels, ``save("file.gif")`` makes a film of all of them.

    A film has at most 100 frames: of more steps it shows 100, evenly spread.
    """

    data: Sliding

    def figure(self, panels: int = 9) -> Figure:
        """At most ``panels`` steps, evenly spread from the first to the last."""
        if panels < 1:
            raise ValueError(f"panels must be at least 1, got {panels}")
        chosen = self._spread(panels)
        scene = _Scene(self.data)
        columns = scene.columns(len(chosen))
        rows = math.ceil(len(chosen) / columns)
        figure = new_figure(columns * (scene.width + 0.2), rows * (scene.height + 0.1) + 0.4)
        figure.suptitle(scene.title + self._part(chosen), fontsize=10)
        axes = figure.subplots(rows, columns, squeeze=False).ravel()
        for ax, i in zip(axes, chosen):
            scene.draw(ax, i)
        for ax in axes[len(chosen) :]:
            ax.set_axis_off()
        return figure

    def save(self, path: str | os.PathLike[str], panels: int = 9, seconds: float = 0.8) -> None:
        """A film for .gif, with ``seconds`` for each step; panels for .png, .svg and .pdf."""
        if suffix(path, (*FORMATS, ".gif")) != ".gif":
            save_figure(self.figure(panels), path)
            return
        if not seconds > 0:
            raise ValueError(f"seconds must be positive, got {seconds}")
        scene = _Scene(self.data)
        figure = new_figure(scene.width + 0.2, scene.height + 0.4)
        chosen = self._spread(_FRAMES)
        figure.suptitle(scene.title + self._part(chosen), fontsize=10)
        ax = figure.subplots()

        def draw(i: int) -> None:
            ax.clear()
            scene.draw(ax, chosen[i])

        save_animation(figure, draw, len(chosen), path, seconds)

    def _spread(self, count: int) -> list[int]:
        """``count`` steps from the first to the last, or all if there are no more."""
        total = len(self.data.steps)
        return [round(i) for i in np.linspace(0, total - 1, min(count, total))]

    def _part(self, chosen: list[int]) -> str:
        total = len(self.data.steps)
        return "" if len(chosen) == total else f", {len(chosen)} of {total} steps"


class _Scene:
    """One step drawn into one Axes: image, kernel, output, and below them the sum.

    Coordinates are cells, with (0, 0) the image's upper left corner; ``width`` and ``height`` of
    the whole, in inches, are those of the widest step, so that nothing moves from step to step.
    """

    def __init__(self, data: Sliding) -> None:
        self.data = data
        self.numbers = max(*data.x.shape, *data.output.shape) <= _NUMBERS_UP_TO
        self.cell = _CELL if self.numbers else 2.6 / max(data.x.shape)
        gap = _GAP / self.cell
        self.kernel_cell = 1.0 if self.numbers else 0.8 * _CELL / self.cell
        self.kernel_at = data.x.shape[1] + gap
        self.output_at = self.kernel_at
        if data.kernel is not None:
            self.output_at += data.kernel.shape[1] * self.kernel_cell + gap
        texts = [self.text(step) for step in data.steps]
        letters = max(len(line) for text in [self.title, *texts] for line in text.split("\n"))
        lines = texts[0].count("\n") + 1
        output = max(data.output.shape[1] * self.cell, 0.9)  # the caption needs that
        self.width = max(self.output_at * self.cell + output, letters * _LETTER) + _MARGIN
        self.text_at = data.x.shape[0] + 0.15 / self.cell
        if data.kernel is not None:
            self.text_at = max(self.text_at, data.kernel.shape[0] * self.kernel_cell)
        self.height = _CAPTION + self.text_at * self.cell + lines * _LINE

    @property
    def title(self) -> str:
        data = self.data
        title = f"{data.kind.capitalize()} {_by(data.size)}, stride {_one(data.stride)}"
        title += f", padding {_one(data.padding)}" if any(data.padding) else ""
        negative = not self.numbers and min(data.x.min(), data.output.min()) < 0
        return title + (" (blue: below zero)" if negative else "")

    def columns(self, panels: int) -> int:
        """For a page about one and a half times as wide as high, with few empty places."""

        def shape(columns: int) -> float:
            rows = math.ceil(panels / columns)
            empty = rows * columns - panels
            return abs(math.log(columns * self.width / (rows * self.height) / 1.5)) + empty / 2

        return min(range(1, panels + 1), key=shape)

    def draw(self, ax: Axes, i: int) -> None:
        data, step = self.data, self.data.steps[i]
        ax.set_xlim(-_MARGIN / self.cell, self.width / self.cell)
        ax.set_ylim((self.height - _CAPTION) / self.cell, -_CAPTION / self.cell)
        ax.set_aspect("equal")
        ax.set_axis_off()
        (H, W), (ph, pw) = data.x.shape, data.padding
        name = f"image {H - 2 * ph} × {W - 2 * pw}" + (" + padding" if ph or pw else "")
        self._block(ax, 0, data.x, name, self._shades(data.x, data.x))
        if data.kernel is not None:
            name = f"kernel {_by(data.size)}"
            white = np.ones((*data.size, 3))
            self._block(ax, self.kernel_at, data.kernel, name, white, self.kernel_cell)
            self._sign(ax, self.kernel_at, "∗")
        output = np.where(np.arange(data.output.size) <= i, data.output.ravel(), np.nan)
        output = output.reshape(data.output.shape)
        name = f"output {_by(output.shape)}"
        self._block(ax, self.output_at, output, name, self._shades(output, data.output))
        self._sign(ax, self.output_at, "→" if data.kernel is None else "=")
        self._window(ax, step)
        self._frame(ax, self.output_at + step.col, step.row, (1, 1), BLUE)
        ax.text(0, self.text_at, self.text(step), fontsize=9, family="monospace", va="top")

    def text(self, step: Step) -> str:
        """The sum or maximum, a line for each row of the window where that fits."""
        data, value = self.data, number(step.value)
        if not self.numbers or step.terms.size > 25:
            what = "products" if data.kernel is not None else "numbers"
            how = {"c": "sum of", "m": "largest of", "a": "mean of"}[data.kind[0]]
            return f"{how} {step.terms.size} {what} = {value}"
        if data.kernel is None:
            rows = [", ".join(map(number, row)) for row in step.window]
            if data.kind == "max pooling":
                return "max(" + ",\n    ".join(rows) + f") = {value}"
            sums = [row.replace(",", " +") for row in rows]
            return "(" + " +\n ".join(sums) + f") / {step.window.size} = {value}"
        rows = [
            " + ".join(f"{number(x)}·{_factor(w)}" for x, w in zip(*pair))
            for pair in zip(step.window, data.kernel)
        ]
        bias = f" + {number(data.bias)}" if data.bias else ""
        return "  " + "\n+ ".join(rows) + f"{bias} = {value}"

    def _shades(self, x: np.ndarray, scale: np.ndarray) -> np.ndarray:
        """Colours (H, W, 3): black for the largest of ``scale``, blue for minus that.

        Behind numbers they are white, and grey for padding.
        """
        if not self.numbers:
            x = np.nan_to_num(x)[..., None] / (float(np.abs(scale).max()) or 1.0)
            to_black, to_blue = np.array([1.0, 1.0, 1.0]), np.array([1.0, 0.55, 0.30])
            return np.asarray(1 - np.where(x >= 0, x * to_black, -x * to_blue))
        colours = np.ones((*x.shape, 3))
        if scale is self.data.x:
            (ph, pw), (H, W) = self.data.padding, x.shape
            colours *= 0.9
            colours[ph : H - ph, pw : W - pw] = 1
        return colours

    def _block(
        self,
        ax: Axes,
        at: float,
        values: np.ndarray,
        caption: str,
        colours: np.ndarray,
        cell: float = 1.0,
    ) -> None:
        """A matrix at x = ``at``, with a grid and numbers where its cells have room for them."""
        H, W = values.shape
        right, bottom = at + W * cell, H * cell
        ax.imshow(colours, extent=(at, right, bottom, 0), interpolation="none")
        ax.text(at, -0.08 / self.cell, caption, fontsize=8, va="bottom")
        if not self.numbers and cell == 1:
            self._frame(ax, at, 0, (H, W), GREY, 0.6)
            return
        ax.vlines(at + np.arange(W + 1) * cell, 0, bottom, colors=GREY, linewidth=0.6)
        ax.hlines(np.arange(H + 1) * cell, at, right, colors=GREY, linewidth=0.6)
        for (r, c), value in np.ndenumerate(values):
            if not np.isnan(value):
                label = number(value)
                size = 9 if len(label) < 5 else 7
                x, y = at + (c + 0.5) * cell, (r + 0.5) * cell
                ax.text(x, y, label, ha="center", va="center", fontsize=size)

    def _sign(self, ax: Axes, before: float, sign: str) -> None:
        middle = self.data.size[0] * self.kernel_cell / 2
        ax.text(before - _GAP / self.cell / 2, middle, sign, ha="center", va="center", fontsize=13)

    def _window(self, ax: Axes, step: Step) -> None:
        kernel = self.data.kernel
        self._frame(ax, step.left, step.top, self.data.size, ORANGE)
        if kernel is None or not self.numbers:
            return
        for (r, c), weight in np.ndenumerate(kernel):
            ax.text(
                step.left + c + 0.95, step.top + r + 0.96, f"×{number(weight)}",
                ha="right", va="bottom", fontsize=5.5, color=VERMILION,
            )  # fmt: skip

    @staticmethod
    def _frame(
        ax: Axes, left: float, top: float, size: tuple[int, int], colour: str, width: float = 2.2
    ) -> None:
        """A rectangle; a window's inside is tinted."""
        Rectangle = matplotlib("patches").Rectangle
        style = {"edgecolor": colour, "linewidth": width, "zorder": 3}
        ax.add_patch(Rectangle((left, top), size[1], size[0], fill=False, **style))
        if width > 1:
            tint = {"facecolor": colour, "alpha": 0.18, "linewidth": 0}
            ax.add_patch(Rectangle((left, top), size[1], size[0], **tint))


def number(value: float) -> str:
    """Short enough for a cell: an integer as it is, others with two digits after the point."""
    if abs(value) >= 10_000 or 0 < abs(value) < 0.005:
        text = f"{value:.0e}"
    else:
        text = f"{value:.{1 if abs(value) >= 10 else 2}f}".rstrip("0").rstrip(".")
    return text.replace("-", "−")


def _factor(value: float) -> str:
    return f"({number(value)})" if value < 0 else number(value)


def _by(size: tuple[int, ...]) -> str:
    return " × ".join(map(str, size))


def _one(pair: tuple[int, int]) -> str:
    return str(pair[0]) if pair[0] == pair[1] else _by(pair)
