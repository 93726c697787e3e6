"""``minitorch-cnn experiment NAME``: what all experiments share, and one command each."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

if TYPE_CHECKING:
    from .common import Progress

app = typer.Typer(
    help="The lecture's arguments as experiments: seeded, resumable, with a table and a figure.",
    no_args_is_help=True,
)

Quick = Annotated[
    bool, typer.Option("--quick", help="two minutes: shows how it works, not the real numbers")
]
Out = Annotated[
    Path | None, typer.Option(help="folder for results (default: experiments/NAME or NAME-quick)")
]
Seeds = Annotated[
    str | None, typer.Option(help="one run of each network for each (default: 1,2,3; quick: 1)")
]
Epochs = Annotated[
    int | None, typer.Option(min=1, help="epochs of every run (default: the experiment's)")
]
Threads = Annotated[int | None, typer.Option(min=1, help="CPU threads (default: all)")]
Device = Annotated[str, typer.Option(help="cpu, or cuda where there is a GPU")]
DataDir = Annotated[Path | None, typer.Option(help="image files (default: as shipped or cached)")]
Seed = Annotated[int, typer.Option(min=0, help="seed of weights, shuffling and augmentation")]
Dataset = Annotated[
    str | None,
    typer.Option(help="mnist or cifar10; if not given, cifar10 where its files are, else mnist"),
]


@app.command()
def lecture(
    quick: Quick = False,
    seeds: Seeds = None,
    epochs: Epochs = None,
    reuse: Annotated[
        Path | None, typer.Option(help="folder with results of 'train' to take equal runs from")
    ] = None,
    out: Out = None,
    threads: Threads = None,
    device: Device = "cpu",
    data_dir: DataDir = None,
) -> None:
    """CNN, Inception net, deeper CNN, small ResNet and DenseNet on MNIST, in one table."""
    from . import lecture as this

    folder, progress = begin("lecture", out, quick, threads, device)
    experiment = this.experiment(
        read_seeds(seeds or ("1" if quick else "1,2,3")),
        epochs=epochs,
        quick=quick,
        device=device,
        data_dir=data_dir,
    )
    end(this.run(experiment, folder, progress, reuse), folder)


@app.command()
def bottleneck(
    quick: Quick = False,
    out: Out = None,
    threads: Threads = None,
    device: Device = "cpu",
) -> None:
    """Why 1x1 convolutions: a tenth of the multiplications, counted, and the time, measured."""
    from . import bottleneck as this

    folder, progress = begin("bottleneck", out, quick, threads, device)
    end(this.run(folder, progress, quick=quick, device=device), folder)


@app.command()
def degradation(
    quick: Quick = False,
    depths: Annotated[
        str | None,
        typer.Option(help="of 20,32,44,56,110; if not given, 20 to 56, or 20,56 if quick"),
    ] = None,
    seed: Seed = 1,
    epochs: Epochs = None,
    dataset: Dataset = None,
    out: Out = None,
    threads: Threads = None,
    device: Device = "cpu",
    data_dir: DataDir = None,
) -> None:
    """Plain against residual networks of growing depth: the lecture's two panels."""
    from . import degradation as this

    folder, progress = begin("degradation", out, quick, threads, device)
    experiment = this.experiment(
        None if depths is None else read_numbers("--depths", depths),
        seed=seed, epochs=epochs, quick=quick, dataset=dataset, device=device, data_dir=data_dir,
    )  # fmt: skip
    end(this.run(experiment, folder, progress), folder)


@app.command()
def identity(
    quick: Quick = False,
    block: Annotated[str, typer.Option(help="preact, or original as in the paper's table")] = (
        "preact"
    ),
    seed: Seed = 1,
    epochs: Epochs = None,
    dataset: Dataset = None,
    out: Out = None,
    threads: Threads = None,
    device: Device = "cpu",
    data_dir: DataDir = None,
) -> None:
    """Shortcuts that are no identity: errors, and how much of the gradient comes through."""
    from . import identity as this

    folder, progress = begin("identity", out, quick, threads, device)
    experiment = this.experiment(
        block=block,
        seed=seed, epochs=epochs, quick=quick, dataset=dataset, device=device, data_dir=data_dir,
    )  # fmt: skip
    end(this.run(experiment, folder, progress), folder)


def begin(
    name: str, out: Path | None, quick: bool, threads: int | None, device: str
) -> tuple[Path, Progress]:
    """Set threads; ValueError for a device that is not there. The results folder, and progress."""
    from ...kernels import backend
    from ..progress import Bar, Epochs

    if device.startswith("cuda"):
        from ...cuda import why_unavailable

        reason = why_unavailable()
        if reason:
            raise ValueError(f"--device {device}: {reason}")
    if threads is not None:
        backend.set_num_threads(threads)
    console = Console(highlight=False, soft_wrap=True)
    progress: Progress = Bar(console) if console.is_terminal else Epochs()
    return out or Path("experiments") / (f"{name}-quick" if quick else name), progress


def end(report: str | None, out: Path) -> None:
    """Show an experiment's table, or say how to continue one that was stopped (None)."""
    if report is None:
        print(f"stopped; what is done is in {out}: the same command continues from there")
        raise typer.Exit(130)
    print(f"{report}\nresults, table and figure: {out}")


def read_seeds(text: str) -> list[int]:
    """ "1,2,3" as numbers; ValueError for anything else."""
    seeds = read_numbers("--seeds", text)
    if len(set(seeds)) < len(seeds) or min(seeds) < 0:
        raise ValueError(f"--seeds {text!r}: seeds must be different, and none negative")
    return seeds


def read_numbers(option: str, text: str) -> list[int]:
    """Whole numbers between commas; ValueError, naming the option, for anything else."""
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise ValueError(f"{option} {text!r}: write whole numbers, as in 1,2,3") from None
