"""``minitorch-cnn train | evaluate | predict | models | summary | explain | bench | doctor``."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, Any

try:
    import typer
    from rich.console import Console
    from rich.table import Table
except ImportError as error:
    raise SystemExit(
        f"the command line needs {error.name}, which is not installed: "
        'pip install "minitorch-cnn[app]"'
    ) from None

from .tools.experiments.cli import app as experiments
from .tools.kernel_reader.commands import app as kernels_app
from .tools.plots.commands import app as plot_app

app = typer.Typer(
    help="Train, test and look into the convolutional networks of the lecture.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
app.add_typer(plot_app, name="plot")
app.add_typer(experiments, name="experiment")
app.add_typer(kernels_app, name="kernels")
TRAINABLE = ("cnn", "inception", "deeper", "resnet20", "densenet")


def main() -> None:
    """Entry point: expected errors end in one line and exit code 1, never in a traceback."""
    try:
        app()
    except (OSError, RuntimeError, ValueError, TypeError, FloatingPointError, MemoryError) as error:
        print(f"minitorch-cnn: {error}", file=sys.stderr)
        raise SystemExit(1) from None


@app.command()
def train(
    model: Annotated[str, typer.Argument(help=", ".join(TRAINABLE))] = "cnn",
    epochs: Annotated[
        int | None, typer.Option(help="passes over the data (default: 9; resnet20 3, densenet 5)")
    ] = None,
    batch_size: Annotated[
        int | None, typer.Option(help="images per step (default: 64; 128)")
    ] = None,
    lr: Annotated[
        float | None, typer.Option(help="learning rate of SGD (default: 0.01; 0.1)")
    ] = None,
    momentum: Annotated[
        float | None, typer.Option(help="momentum of SGD (default: 0.5; 0.9)")
    ] = None,
    seed: Annotated[int, typer.Option(help="seed of weights and shuffling")] = 1,
    device: Annotated[str, typer.Option(help="cpu, or cuda where there is a GPU")] = "cpu",
    cuda_graph: Annotated[
        bool, typer.Option("--cuda-graph", help="record the step once, and replay it (cuda only)")
    ] = False,
    data_dir: Annotated[Path | None, typer.Option(help="MNIST files (default: shipped)")] = None,
    checkpoint_dir: Annotated[Path, typer.Option(help="where checkpoints go")] = Path(
        "checkpoints"
    ),
    resume: Annotated[bool, typer.Option("--resume", help="continue the latest run")] = False,
    threads: Annotated[int | None, typer.Option(help="CPU threads (default: all)")] = None,
    normalize: Annotated[
        bool, typer.Option(help="standardise the pixels; the lecture's own run did not")
    ] = True,
    log_interval: Annotated[int, typer.Option(min=1, help="batches between log lines")] = 10,
    results: Annotated[Path | None, typer.Option(help="write the curves to this JSON file")] = None,
) -> None:
    """Train a network on MNIST; Ctrl-C saves and stops, --resume continues."""
    from .kernels import backend
    from .tools import training
    from .tools.machine import machine_facts
    from .tools.presets import PRESETS
    from .tools.progress import Bar, Lines

    if model not in TRAINABLE:
        raise typer.BadParameter(f"{model!r}: choose one of {', '.join(TRAINABLE)}")
    if device.startswith("cuda"):
        from .cuda import why_unavailable

        reason = why_unavailable()
        if reason:
            raise typer.BadParameter(f"--device {device}: {reason}")
    elif cuda_graph:
        raise typer.BadParameter("--cuda-graph needs --device cuda: a CPU has no such graphs")
    if threads is not None:
        backend.set_num_threads(threads)
    if resume:
        checkpoint = training.latest_checkpoint(checkpoint_dir, model)
        run = training.Run.resume(checkpoint, epochs)
    else:
        given: dict[str, Any] = {
            "epochs": epochs,
            "batch_size": batch_size,
            "lr": lr,
            "momentum": momentum,
        }
        run = training.Run.start(
            replace(
                PRESETS[model],
                seed=seed,
                device=device,
                cuda_graph=cuda_graph,
                data_dir=None if data_dir is None else str(data_dir),
                normalize=normalize,
                **{name: value for name, value in given.items() if value is not None},
            )
        )
        checkpoint = training.new_checkpoint(checkpoint_dir, model)
    console = Console(highlight=False, soft_wrap=True)
    report = Bar(console) if console.is_terminal else Lines(log_interval)
    if run.finished:
        console.print(
            f"{checkpoint}: all {run.options.epochs} epochs are done; --epochs N trains on to N"
        )
    try:
        completed = run.fit(report, checkpoint)
    finally:
        if isinstance(report, Bar):
            report.stop()
    if results is not None:
        results.parent.mkdir(parents=True, exist_ok=True)
        curves = {
            "options": asdict(run.options),
            "history": [asdict(r) for r in run.history],
            "machine": machine_facts(),
        }
        results.write_text(json.dumps(curves, indent=1) + "\n", encoding="utf-8")
    if not completed:
        console.print(
            f"stopped in epoch {run.epoch} after {run.batches_done} batches, saved {checkpoint}:"
            " --resume continues from there"
        )
        raise typer.Exit(130)


Checkpoint = Annotated[Path, typer.Argument(help="a file that train has saved")]


@app.command()
def evaluate(
    checkpoint: Checkpoint,
    data_dir: Annotated[Path | None, typer.Option(help="MNIST files (default: shipped)")] = None,
) -> None:
    """Print loss and accuracy of a checkpoint on MNIST's test images."""
    from .tools import training

    network, options = training.load_network(checkpoint)
    options = replace(options, data_dir=None if data_dir is None else str(data_dir))
    loss, correct, total = training.evaluate(
        network,
        training.loaders(options)[1],
        options.device,
        training.loss_function(options.model),
    )
    print(training.test_line(loss, correct, total).strip())


@app.command()
def predict(
    files: Annotated[
        list[Path],
        typer.Argument(help="image files; without --model, a file that train has saved goes first"),
    ],
    model: Annotated[str | None, typer.Option(help="an architecture, such as resnet50")] = None,
    weights: Annotated[
        str | None,
        typer.Option(help="its weights: a file, an address, or DEFAULT to download the published"),
    ] = None,
    top: Annotated[int | None, typer.Option(min=1, help="how many classes (default: 5)")] = None,
    classes: Annotated[
        Path | None, typer.Option(help="a text file with the name of one class per line")
    ] = None,
) -> None:
    """Name what is in each image.

    predict photo.jpg --model resnet50 --weights f.pth: the most probable classes of a photo.

    predict cnn.pt digit.png: the digit, by a network that train has trained on MNIST.
    """
    if model is None and weights is None:
        if top is not None or classes is not None:
            raise typer.BadParameter("--top and --classes go with --model and --weights")
        if len(files) < 2:
            raise typer.BadParameter(
                "write `predict CHECKPOINT IMAGE...` with a file that train has saved, or"
                " `predict IMAGE... --model NAME --weights FILE`"
            )
        _predict_digits(files[0], files[1:])
    elif model is None:
        raise typer.BadParameter("--weights needs --model, the name of their architecture")
    elif weights is None:
        raise typer.BadParameter(
            f"--model {model} needs --weights: a file, an address, or DEFAULT to download"
        )
    else:
        _predict_classes(files, model, weights, top or 5, classes)


def _predict_classes(
    images: list[Path], model: str, weights: str, top: int, classes: Path | None
) -> None:
    """Print the most probable classes of each photo."""
    from .tools.zoo import Classifier, read_photo

    labels = None if classes is None else classes.read_text(encoding="utf-8").splitlines()
    classify = Classifier(model, weights, labels)
    for path in images:
        print(path)
        for guess in classify(read_photo(path), top):
            print(f"  {100 * guess.probability:6.2f} %  {guess.label}")


def _predict_digits(checkpoint: Path, images: list[Path]) -> None:
    """Print the digit in each image and the probability of all ten."""
    import minitorch_cnn as torch

    from .nn import functional as F
    from .tools import training
    from .tools.digits import read_digit

    network, options = training.load_network(checkpoint)
    if options.dataset != "mnist":
        raise ValueError(
            f"{checkpoint} was trained on {options.dataset}; this form of predict reads MNIST's"
            f" digits: write `predict IMAGE... --model {options.model} --weights {checkpoint}`"
        )
    for path in images:
        x = read_digit(path)
        if options.normalize:
            x = training.NORMALIZE(x)
        with torch.no_grad():  # softmax leaves probabilities alone that come as logarithms
            probabilities = F.softmax(network(x), dim=1)[0].tolist()
        digit = max(range(10), key=probabilities.__getitem__)
        print(f"{path}: {digit}")
        print("  " + "  ".join(f"{d}: {p:.4f}" for d, p in enumerate(probabilities)))


@app.command()
def models() -> None:
    """The architectures: input, parameters, MACs, and which published weights there are."""
    from .tools.zoo import listing

    print(listing())


@app.command()
def summary(
    model: Annotated[
        str, typer.Argument(help="an architecture; conv5x5 and bottleneck5x5 are the 1x1 example")
    ] = "cnn",
    input: Annotated[str | None, typer.Option(help="C,H,W (default: the model's own)")] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="images per batch")] = 1,
    num_classes: Annotated[int | None, typer.Option(min=1, help="outputs")] = None,
    in_channels: Annotated[int | None, typer.Option(min=1, help="channels of the images")] = None,
    small_input: Annotated[
        bool, typer.Option("--small-input", help="the stem for images of 28 or 32 pixels")
    ] = False,
) -> None:
    """Per layer: output shape, parameters, MACs, FLOPs, bytes of activations and workspace."""
    from .tools.summary import summary as summarize

    given = {"num_classes": num_classes, "in_channels": in_channels, "small_input": small_input}
    network, size = _network_and_input(model, input, {k: v for k, v in given.items() if v})
    print(summarize(network, size, batch_size))


def _network_and_input(
    model: str, input: str | None, options: dict[str, Any]
) -> tuple[Any, tuple[int, int, int]]:
    """An architecture with these options, and (C, H, W): its own, or as ``input`` says."""
    from .models.registry import find
    from .tools.zoo import build_to_count

    architecture = find(model)
    network, (c, h, w) = build_to_count(architecture, **options), architecture.input
    if options.get("small_input"):
        h, w = 32, 32
    if input is None:
        return network, (options.get("in_channels", c), h, w)
    try:
        c, h, w = (int(n) for n in input.replace("x", ",").split(","))
    except ValueError:
        raise typer.BadParameter(f"--input {input!r}: write C,H,W, as in 1,28,28") from None
    return network, (c, h, w)


@app.command()
def explain(
    model: Annotated[str, typer.Argument(help="an architecture, such as resnet18")],
    input: Annotated[str | None, typer.Option(help="C,H,W (default: the model's own)")] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="images per batch")] = 1,
    threads: Annotated[int | None, typer.Option(min=1, help="CPU threads (default: all)")] = None,
    small_input: Annotated[
        bool, typer.Option("--small-input", help="the stem for images of 28 or 32 pixels")
    ] = False,
) -> None:
    """Which algorithm computes each convolution, forward and backward, and why."""
    import minitorch_cnn as torch

    if threads is not None:
        torch.set_num_threads(threads)
    options = {"small_input": True} if small_input else {}
    network, size = _network_and_input(model, input, options)
    torch.backends.conv2d.explain(network, torch.zeros(batch_size, *size))


@app.command()
def bench(
    names: Annotated[
        list[str] | None, typer.Argument(help="benchmarks, or all; none: lists what there is")
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="seconds: shows that it works")] = False,
    threads: Annotated[str | None, typer.Option(help="one after another (default: 2,1)")] = None,
    out: Annotated[Path | None, typer.Option(help="folder for JSON files and figures")] = None,
    only: Annotated[
        list[str] | None, typer.Option(help="only cases whose label holds this; may be repeated")
    ] = None,
    layouts: Annotated[
        bool, typer.Option("--layouts", help="time PyTorch with channels_last too")
    ] = False,
) -> None:
    """Measure speed and memory beside PyTorch; results are compared before they are timed."""
    from .benchmarks import harness, suite

    if not names:
        print(suite.listing())
        return
    options = harness.Options(
        quick,
        harness.default_threads() if threads is None else harness.parse_threads(threads),
        out or harness.default_out(quick),
        tuple(only or ()),
        layouts,
    )
    raise typer.Exit(suite.run(names, options))


@app.command()
def doctor() -> None:
    """Versions, threads, caches, data and GPU: what is there and what is missing."""
    from .tools.doctor import environment, facts

    table = Table(show_header=False, box=None, pad_edge=False)
    for what, state in [*facts(), *environment()]:
        table.add_row(what, state)
    Console(soft_wrap=True, highlight=False).print(table)


if __name__ == "__main__":
    main()
