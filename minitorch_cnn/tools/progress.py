"""How a training run shows itself: the lecture's log lines, or a bar on a terminal."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)

from .training import Result, test_line


class Lines:
    """The lecture's own log lines: every tenth batch, and the test after each epoch."""

    def __init__(self, log_interval: int) -> None:
        self.log_interval = log_interval

    def batch(
        self, epoch: int, index: int, size: int, batches: int, images: int, loss: float
    ) -> None:
        if index % self.log_interval == 0:
            # All batches but the last have one size; the last index is rarely a tenth one.
            seen = index * size if index < batches - 1 else images - size
            print(
                f"Train Epoch: {epoch} [{seen}/{images} ({100.0 * index / batches:.0f}%)]"
                f"\tLoss: {loss:.6f}",
                flush=True,
            )

    def epoch(self, result: Result) -> None:
        print(test_line(result.test_loss, result.correct, result.total), flush=True)


class Bar:
    """One progress bar per epoch, on a terminal."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.progress = Progress(
            TextColumn("epoch {task.fields[epoch]}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("loss {task.fields[loss]:.4f}"),
            TimeRemainingColumn(),
            console=console,
            transient=True,
        )
        self.task: Any = None

    def start(self, title: str) -> None:
        """Announce a run of an experiment."""
        self.console.print(title)

    def batch(
        self, epoch: int, index: int, size: int, batches: int, images: int, loss: float
    ) -> None:
        if self.task is None:
            self.progress.start()
            self.task = self.progress.add_task("", total=batches, epoch=epoch, loss=loss)
        self.progress.update(self.task, completed=index + 1, loss=loss)

    def epoch(self, result: Result) -> None:
        self.stop()
        self.console.print(epoch_line(result))

    def stop(self) -> None:
        if self.task is not None:
            self.progress.remove_task(self.task)
            self.progress.stop()
            self.task = None


class Epochs:
    """One line per epoch, for experiments of many runs whose output goes to a file."""

    def start(self, title: str) -> None:
        print(title, flush=True)

    def batch(
        self, epoch: int, index: int, size: int, batches: int, images: int, loss: float
    ) -> None:
        pass

    def epoch(self, result: Result) -> None:
        print(epoch_line(result), flush=True)

    def stop(self) -> None:
        pass


def epoch_line(result: Result) -> str:
    """Losses, accuracy and time of an epoch in one line."""
    percent = 100.0 * result.correct / max(1, result.total)
    return (
        f"epoch {result.epoch}: training loss {result.train_loss:.4f}, test loss"
        f" {result.test_loss:.4f}, accuracy {result.correct}/{result.total}"
        f" ({percent:.2f} %), {result.seconds:.1f} s"
    )
