"""The core of an experiment: named runs, each a function of its settings, recorded when finished.

An output folder holds ``results.json`` and, for each run, its checkpoint ``<run>.pt``. Starting the
same experiment again skips recorded runs and continues a stopped one, and ends with the same bits
as an experiment that was never stopped.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from ...serialization.atomic import atomic_write
from .. import training
from ..machine import machine_facts
from ..options import Options
from ..training import Run

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FORMAT = "minitorch_cnn experiment 1"
# Where the images lie decides nothing about a run, and is nobody's business.
UNRECORDED = ("data_dir",)


class Progress(training.Report, Protocol):
    """How an experiment shows itself; see tools/progress.py."""

    def start(self, title: str) -> None:
        """Before each run."""

    def stop(self) -> None:
        """After each run, however it ended."""


@dataclass
class Record:
    """A finished run: its settings, one result an epoch, and what it ran on.

    ``diverged`` is the message of a run whose loss became infinite or NaN, and "" for all others;
    its history ends with the last whole epoch.
    """

    options: dict[str, Any]
    history: list[dict[str, Any]]
    diverged: str = ""
    machine: dict[str, Any] = field(default_factory=machine_facts)


@dataclass
class Experiment:
    """Named runs, in their order.

    ``observe(run)`` may add a dict of JSON values to each epoch's result; what it changes in the
    network is part of the run.
    """

    name: str
    runs: Mapping[str, Options]
    observe: Callable[[Run], dict[str, Any]] | None = None


def execute(
    experiment: Experiment, out: Path, progress: Progress, every: int | None = 200
) -> dict[str, Record] | None:
    """Make every run that ``out`` has no record of; None if Ctrl-C or SIGTERM stopped it before.

    Checkpoints are saved after each epoch, every ``every`` batches, and at a stop. A run that
    diverges is recorded as such, and the others go on. Errors: ValueError if ``out`` holds runs of
    the same name with other settings, or a file that cannot be read.
    """
    out.mkdir(parents=True, exist_ok=True)
    path = out / "results.json"
    records = load(path, experiment.name) if path.exists() else {}
    for name, options in experiment.runs.items():
        if name in records:
            _check_same(name, records[name].options, options, path)
    for number, (name, options) in enumerate(experiment.runs.items(), 1):
        if name in records:
            continue
        run = _begin(name, options, out / f"{name}.pt")
        progress.start(f"run {number} of {len(experiment.runs)}: {name}")
        diverged = ""
        try:
            if not run.fit(progress, out / f"{name}.pt", every, experiment.observe):
                return None
        except FloatingPointError as error:
            diverged = str(error)
        finally:
            progress.stop()
        history = [asdict(result) for result in run.history]
        records[name] = Record(settings(options), history, diverged)
        save(path, experiment.name, records)
    return {name: records[name] for name in experiment.runs}


def conduct(
    experiment: Experiment,
    out: Path,
    progress: Progress,
    figure: Figure,
    draw: Callable[[Figure, Mapping[str, Record]], None],
    table: Callable[[Mapping[str, Record]], str],
) -> str | None:
    """Execute, then write the figure and the table, named as the experiment; return the table.

    None if it was stopped: the same call continues.
    """
    records = execute(experiment, out, progress)
    if records is None:
        return None
    draw(figure, records)
    write_figure(out / f"{experiment.name}.png", figure)
    report = table(records)
    write_text(out / f"{experiment.name}.md", report + "\n")
    return report


def settings(options: Options) -> dict[str, Any]:
    """What is recorded of a run's options, as JSON would give it back."""
    kept = {k: v for k, v in asdict(options).items() if k not in UNRECORDED}
    return json.loads(json.dumps(kept))  # type: ignore[no-any-return]


def save(path: Path, experiment: str, records: Mapping[str, Record]) -> None:
    """Write the records, atomically."""
    write_json(
        path,
        {
            "format": FORMAT,
            "experiment": experiment,
            "runs": {name: asdict(record) for name, record in records.items()},
        },
    )


def load(path: Path, experiment: str) -> dict[str, Record]:
    """The records of a results file; ValueError if it is damaged, or another experiment's."""
    advice = "move it away, or give another --out folder"
    try:
        data = json.loads(path.read_bytes())
        if data["format"] != FORMAT:
            raise ValueError(f"format {data['format']!r}")
        name, runs = data["experiment"], data["runs"]
        records = {run: Record(**record) for run, record in runs.items()}
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ValueError(
            f"{path} is damaged or no results of an experiment ({type(error).__name__}: {error});"
            f" it was left as it is: {advice}"
        ) from None
    if name != experiment:
        raise ValueError(f"{path} holds the experiment {name!r}, not {experiment!r}: {advice}")
    return records


def _begin(name: str, options: Options, checkpoint: Path) -> Run:
    """Where the run stopped, or its beginning."""
    if not checkpoint.exists():
        return Run.start(options)
    saved = Options(**training.read_checkpoint(checkpoint)["options"])
    _check_same(name, settings(saved), options, checkpoint)
    return Run.resume(checkpoint, data_dir=options.data_dir)


def _check_same(name: str, recorded: Mapping[str, Any], options: Options, path: Path) -> None:
    now = settings(options)
    differences = [
        f"{key} was {recorded.get(key)!r} and is now {now.get(key)!r}"
        for key in {**recorded, **now}
        if recorded.get(key) != now.get(key)
    ]
    if differences:
        raise ValueError(
            f"{path} has the run {name!r} with other settings: {'; '.join(differences)}. Give"
            " another --out folder to keep both, or the old settings to continue"
        )


def write_json(path: Path, data: Any) -> None:
    """``data`` as an indented JSON file, atomically."""
    with atomic_write(path) as file:
        file.write((json.dumps(data, indent=1) + "\n").encode())


def write_text(path: Path, text: str) -> None:
    """``text`` as a UTF-8 file, atomically."""
    with atomic_write(path) as file:
        file.write(text.encode())


def new_figure(width: float, height: float) -> Figure:
    """An empty matplotlib figure (inches), which needs no display.

    RuntimeError, naming the extra to install, where there is no matplotlib. Experiments call this
    before they train, so that nobody learns of it an hour later.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise RuntimeError(
            'figures need matplotlib, which is not installed: pip install "minitorch-cnn[app]"'
        ) from None
    return Figure(figsize=(width, height), layout="constrained")


def write_figure(path: Path, figure: Figure) -> None:
    """As PNG, atomically."""
    with atomic_write(path) as file:
        figure.savefig(file, format="png", dpi=110)
