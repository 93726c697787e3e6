"""``minitorch-cnn kernels list | show | run``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.syntax import Syntax
from rich.table import Table

if TYPE_CHECKING:
    from .sources import Source

app = typer.Typer(help="Read the kernels, CPU beside CUDA, and run the CUDA ones without a GPU.")
SIDE_BY_SIDE = 150  # columns of a terminal: two of 75, in which most lines need no folding

Module = Annotated[str, typer.Argument(help="such as conv2d")]
Name = Annotated[str | None, typer.Argument(help="one of its kernels, as `kernels list` has them")]


@app.callback(invoke_without_command=True)
def default(context: typer.Context) -> None:
    """List the kernels, unless a command follows."""
    if context.invoked_subcommand is None:
        list_kernels()


@app.command("list")
def list_kernels() -> None:
    """All kernels: which have CPU and CUDA source, how they are launched, what they compute."""
    from .examples import EXAMPLES
    from .sources import entries, modules

    table = Table(box=None, pad_edge=False)
    for title in ("module", "kernel", "CPU", "CUDA", "run"):
        table.add_column(title, no_wrap=True)
    table.add_column("what it computes")
    table.add_column("launch")
    for module in modules():
        for found in entries(module):
            table.add_row(
                module,
                found.name,
                ".py" if found.cpu else "",
                ".cu" if found.cuda else "",
                "yes" if found.name in EXAMPLES.get(module, {}) else "",
                found.summary,
                found.cuda.launch if found.cuda else "",
            )
    _console().print(table, markup=False)


@app.command()
def show(module: Module, name: Name = None) -> None:
    """The CPU source and the CUDA source, side by side where the terminal is wide enough."""
    from .sources import entry, files

    try:
        if name is None:
            shown = files(module)
        else:
            found = entry(module, name)
            shown = [*found.cpu, *([found.cuda] if found.cuda else [])]
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    console = _console()
    if not console.is_terminal:
        for source in shown:
            typer.echo(f"{source.title}\n\n{source.text}\n")
        return
    cpu = [source for source in shown if source.path.suffix == ".py"]
    cuda = [source for source in shown if source.path.suffix == ".cu"]
    if cpu and cuda and console.width >= SIDE_BY_SIDE:
        both = Table(box=None, pad_edge=False, show_header=False)
        both.add_column(ratio=1)
        both.add_column(ratio=1)
        both.add_row(_coloured(cpu), _coloured(cuda))
        console.print(both)
    else:
        console.print(_coloured(shown))


@app.command()
def run(
    module: Module,
    name: Name = None,
    emulate: Annotated[bool, typer.Option("--emulate", help="on the CPU, with g++")] = False,
    order: Annotated[
        str, typer.Option(help="in which threads take turns: forward, reverse or random")
    ] = "forward",
    seed: Annotated[int, typer.Option(help="of the random order")] = 0,
    check: Annotated[
        str | None, typer.Option(help="look for races (thread), address or undefined")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="a picture: .png, .svg, .pdf")
    ] = None,
) -> None:
    """Run a CUDA kernel on a small example: is it right, and which thread computed what?"""
    from ...kernels import emulator
    from ..plots.output import matplotlib, save_figure, suffix
    from . import running
    from .examples import EXAMPLES
    from .sources import known

    try:
        known("kernel module with an example", module, EXAMPLES)
        name = name or next(iter(EXAMPLES[module]))
        known(f"kernel in {module} with an example", name, EXAMPLES[module])
        if output is not None:
            matplotlib()
            suffix(output)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    except ImportError as error:
        raise SystemExit(f"minitorch-cnn: {error}") from None
    if not emulate:
        raise typer.BadParameter("add --emulate: this command knows no other way yet")
    if reason := emulator.why_unavailable():
        raise SystemExit(f"minitorch-cnn: {reason}")
    try:
        done = running.run(module, name, order, seed, check)
    except emulator.EmulatorError as error:
        raise SystemExit(f"minitorch-cnn: {error}") from None
    for line in running.report(done):
        typer.echo(line)
    if output is not None:
        from .picture import draw

        save_figure(draw(done), output)
        typer.echo(f"wrote {output}")


def _console() -> Console:
    """Into a pipe or file lines are as long as they need to be."""
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=250)


def _coloured(sources: list[Source]) -> Table:
    """One below the other, each with its place above it and the file's line numbers."""
    column = Table.grid(padding=(0, 0, 1, 0))
    for source in sources:
        language = "python" if source.path.suffix == ".py" else "cuda"
        column.add_row(f"[bold]{source.title}[/bold]")
        column.add_row(
            Syntax(
                source.text,
                language,
                theme="ansi_dark",
                line_numbers=True,
                start_line=source.line,
                word_wrap=True,
            )
        )
    return column
