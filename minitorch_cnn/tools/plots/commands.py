"""``minitorch-cnn plot filters | maps | gradcam | convolution | pooling | curves``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .output import FORMATS, matplotlib, save_figure, suffix

if TYPE_CHECKING:
    from .subjects import Images, Subject

app = typer.Typer(
    help="Draw what a network looks for and sees, and how its layers work.", no_args_is_help=True
)

Output = Annotated[
    Path, typer.Option("--output", "-o", help="where to draw; .png, .svg, .pdf by the suffix")
]
Film = Annotated[
    Path,
    typer.Option("--output", "-o", help=".gif is a film of all steps; .png, .svg, .pdf are panels"),
]
What = Annotated[
    list[str] | None,
    typer.Argument(
        help="a checkpoint of train (not with --model), then image files or indices of MNIST's"
        " test images"
    ),
]
Model = Annotated[str | None, typer.Option(help="an architecture, such as resnet50")]
Weights = Annotated[
    str | None, typer.Option(help="its weights: a file, or a published name such as DEFAULT")
]
Layer = Annotated[str | None, typer.Option(help="a layer's name, as summary prints it")]
DataDir = Annotated[Path | None, typer.Option(help="MNIST files (default: shipped)")]
Panels = Annotated[int, typer.Option(min=1, help="steps in a picture")]
Seconds = Annotated[float, typer.Option(help="time of a step in a film")]

# A cross in 5x5 pixels, and a kernel that looks for crosses.
_IMAGE = "1,1,1,0,0; 0,1,1,1,0; 0,0,1,1,1; 0,0,1,1,0; 0,1,1,0,0"
_KERNEL = "1,0,1; 0,1,0; 1,0,1"
_POOLED = "1,1,2,4; 5,6,7,8; 3,2,1,0; 1,2,3,4"  # the lecture's


@contextmanager
def _drawing(output: Path, formats: tuple[str, ...]) -> Iterator[None]:
    """Complain about a missing matplotlib or a wrong suffix before anything is computed."""
    try:
        matplotlib()
        suffix(output, formats)
        yield
    except ImportError as error:
        raise SystemExit(f"minitorch-cnn: {error}") from None
    typer.echo(f"wrote {output}")


def _command(*formats: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    def register(function: Callable[..., None]) -> Callable[..., None]:
        @wraps(function)
        def run(**options: Any) -> None:
            with _drawing(options["output"], formats):
                function(**options)

        return app.command()(run)

    return register


@_command(*FORMATS)
def filters(
    what: What = None,
    output: Output = Path("filters.png"),
    model: Model = None,
    weights: Weights = None,
    layer: Layer = None,
) -> None:
    """The weights of the first convolution, or of the one at --layer."""
    from .figures import filters_figure

    subject, images = _subject(what, model, weights, None)
    if images:
        raise typer.BadParameter(f"filters needs no image, got {', '.join(images)}")
    save_figure(filters_figure(subject.network, layer, subject.title), output)


@_command(*FORMATS)
def maps(
    what: What = None,
    output: Output = Path("maps.png"),
    model: Model = None,
    weights: Weights = None,
    layer: Annotated[
        list[str] | None, typer.Option(help="a layer; may be repeated (default: each stage)")
    ] = None,
    channels: Annotated[int, typer.Option(min=1, help="maps of each layer")] = 8,
    data_dir: DataDir = None,
) -> None:
    """The feature maps of one image after each stage."""
    from .figures import feature_maps_figure

    subject, images = _images(what, model, weights, data_dir)
    if len(images.x) != 1:
        raise typer.BadParameter(f"maps draws one image, got {len(images.x)}")
    figure = feature_maps_figure(
        subject.network, images.x, layer or None, channels, images.pictures[0], subject.title
    )
    save_figure(figure, output)


@_command(*FORMATS)
def gradcam(
    what: What = None,
    output: Output = Path("gradcam.png"),
    model: Model = None,
    weights: Weights = None,
    layer: Layer = None,
    target: Annotated[
        int | None, typer.Option(help="the class to explain (default: the model's answer)")
    ] = None,
    data_dir: DataDir = None,
) -> None:
    """Grad-CAM: which part of each image spoke for a class."""
    from .figures import grad_cam_figure

    subject, images = _images(what, model, weights, data_dir)
    figure = grad_cam_figure(
        subject.network,
        images.x,
        target,
        layer,
        pictures=images.pictures,
        class_names=subject.class_names,
        names=images.names,
        title=subject.title,
    )
    save_figure(figure, output)


@_command(*FORMATS, ".gif")
def convolution(
    image: Annotated[
        str, typer.Option("--image", help="rows of numbers, or an index of MNIST's test images")
    ] = _IMAGE,
    kernel: Annotated[str, typer.Option(help="rows of numbers")] = _KERNEL,
    stride: Annotated[int, typer.Option(min=1)] = 1,
    padding: Annotated[int, typer.Option(min=0)] = 0,
    bias: float = 0.0,
    output: Film = Path("convolution.gif"),
    panels: Panels = 9,
    seconds: Seconds = 0.8,
) -> None:
    """A kernel at work: window, products, sum, and the element that is written."""
    from .in_action import convolution_in_action

    action = convolution_in_action(_picture(image), _matrix(kernel), stride, padding, bias)
    action.save(output, panels, seconds)


@_command(*FORMATS, ".gif")
def pooling(
    image: Annotated[
        str, typer.Option("--image", help="rows of numbers, or an index of MNIST's test images")
    ] = _POOLED,
    kernel: Annotated[int, typer.Option(min=1, help="pixels a side")] = 2,
    stride: Annotated[int | None, typer.Option(min=1, help="(default: the kernel)")] = None,
    mode: Annotated[str, typer.Option(help="max or average")] = "max",
    output: Film = Path("pooling.gif"),
    panels: Panels = 9,
    seconds: Seconds = 0.8,
) -> None:
    """Pooling at work: window, maximum or mean, and the element that is written."""
    from .in_action import pooling_in_action

    pooling_in_action(_picture(image), kernel, stride, mode).save(output, panels, seconds)


@_command(*FORMATS)
def curves(
    results: Annotated[list[Path], typer.Argument(help="files of train --results")],
    output: Output = Path("curves.png"),
) -> None:
    """Loss and accuracy by epoch, of one run or several."""
    from .figures import training_curves

    runs = results[0] if len(results) == 1 else {path.stem: path for path in results}
    save_figure(training_curves(runs), output)


def _subject(
    what: list[str] | None, model: str | None, weights: str | None, data_dir: Path | None
) -> tuple[Subject, list[str]]:
    """The network, and what remains of the arguments: the images."""
    from .subjects import from_architecture, from_checkpoint

    arguments = list(what or ())
    if model is not None:
        return from_architecture(model, weights, data_dir), arguments
    if weights is not None:
        raise typer.BadParameter("--weights says nothing without --model")
    if not arguments:
        raise typer.BadParameter("give a checkpoint of `minitorch-cnn train`, or --model NAME")
    return from_checkpoint(Path(arguments[0]), data_dir), arguments[1:]


def _images(
    what: list[str] | None, model: str | None, weights: str | None, data_dir: Path | None
) -> tuple[Subject, Images]:
    from .subjects import gather

    subject, images = _subject(what, model, weights, data_dir)
    if not images:
        raise typer.BadParameter("give an image file, or the index of one of MNIST's test images")
    return subject, gather(subject, images)


def _picture(text: str) -> Any:
    if not text.strip().isdecimal():
        return _matrix(text)
    from .subjects import digit

    return digit(int(text), None)


def _matrix(text: str) -> list[list[float]]:
    """Rows of numbers: "1,2; 3,4"."""
    try:
        rows = [[float(v) for v in row.replace(",", " ").split()] for row in text.split(";")]
    except ValueError:
        rows = []
    if not rows or not rows[0] or len({len(row) for row in rows}) != 1:
        raise typer.BadParameter(f"{text!r}: write rows of equal length, as in '1,0; 0,1'")
    return rows
