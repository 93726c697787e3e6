"""The lecture's training loop with what a long run needs: checkpoints, exact resume, clean stops.

A run is a function of its :class:`Options` alone. The shuffling and the augmentation of epoch e
depend on (seed, e), so a run that is stopped anywhere between two batches and resumed ends with the
same bits as one that was not.
"""

from __future__ import annotations

import contextlib
import functools
import math
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from types import FrameType
from typing import Any, Protocol

import minitorch_cnn as torch

from .. import nn
from ..nn import functional as F
from ..utils.data import DataLoader
from ..utils.data.dataset import length
from .images import NORMALIZE
from .options import Options, build, loaders, loss_function, schedule

__all__ = [
    "NORMALIZE", "Options", "build", "loaders", "loss_function", "schedule",
    "Report", "Result", "Run", "evaluate", "right_answers", "test_line",
    "latest_checkpoint", "load_network", "new_checkpoint", "read_checkpoint",
]  # fmt: skip


@dataclass(frozen=True)
class Result:
    """After an epoch: mean training loss, test loss per image, correct of total, seconds.

    ``train_correct`` counts the right answers among the ``train_total`` training images as the
    network gave them during the epoch, and ``observed`` is what :meth:`Run.fit` was asked to add.
    ``seconds`` is the time of the training, not of the test.
    """

    epoch: int
    train_loss: float
    test_loss: float
    correct: int
    total: int
    seconds: float
    train_correct: int = 0
    train_total: int = 0
    observed: dict[str, Any] = field(default_factory=dict)


class Report(Protocol):
    """How a run shows itself (lines, or a progress bar)."""

    def batch(
        self, epoch: int, index: int, size: int, batches: int, images: int, loss: float
    ) -> None:
        """After each training batch."""

    def epoch(self, result: Result) -> None:
        """After each epoch's test."""


@dataclass
class Run:
    """A training run at some batch of some epoch."""

    options: Options
    network: nn.Module
    optimizer: torch.optim.SGD
    scheduler: torch.optim.lr_scheduler.LRScheduler
    train: DataLoader[Any]
    test: DataLoader[Any]
    epoch: int = 1
    batches_done: int = 0
    loss_sum: float = 0.0
    correct: int = 0
    seconds: float = 0.0
    history: list[Result] = field(default_factory=list)

    @classmethod
    def start(cls, options: Options) -> Run:
        torch.manual_seed(options.seed)
        network = build(options).to(options.device)
        optimizer = torch.optim.SGD(
            network.parameters(),
            lr=options.lr,
            momentum=options.momentum,
            weight_decay=options.weight_decay,
            nesterov=options.nesterov,
        )
        train, test = loaders(options)
        return cls(
            options, network, optimizer, schedule(options, optimizer, len(train)), train, test
        )

    @classmethod
    def resume(cls, path: Path, epochs: int | None = None, data_dir: str | None = None) -> Run:
        """Continue from a checkpoint, up to ``epochs`` and with images in ``data_dir`` if given."""
        state = read_checkpoint(path)
        options = Options(**state["options"])
        options = replace(
            options, epochs=epochs or options.epochs, data_dir=data_dir or options.data_dir
        )
        if options.schedule == "onecycle" and options.epochs != state["options"]["epochs"]:
            raise ValueError(
                f"{path} is a run of {state['options']['epochs']} epochs, and its one-cycle"
                " schedule ends with them: start a new run instead"
            )
        run = cls.start(options)
        run.network.load_state_dict(state["model"])
        run.optimizer.load_state_dict(state["optimizer"])
        if "scheduler" in state:  # checkpoints of version 0.1.0 have none: their rate was constant
            run.scheduler.load_state_dict(state["scheduler"])
            run.correct = state["correct"]
        run.epoch, run.batches_done = state["epoch"], state["batches_done"]
        run.loss_sum, run.seconds = state["loss_sum"], state["seconds"]
        run.history = [Result(**r) for r in state["history"]]
        torch.set_rng_state(state["rng"])
        return run

    def save(self, path: Path) -> None:
        """Atomically: a reader sees the old checkpoint or the new one, never a part."""
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.save(
            {
                "format": "minitorch_cnn checkpoint 1",
                "options": asdict(self.options),
                "model": self.network.state_dict(),
                "optimizer": self.optimizer.state_dict(),
                "scheduler": self.scheduler.state_dict(),
                "epoch": self.epoch,
                "batches_done": self.batches_done,
                "loss_sum": self.loss_sum,
                "correct": self.correct,
                "seconds": self.seconds,
                "history": [asdict(r) for r in self.history],
                "rng": torch.get_rng_state(),
            },
            path,
        )

    @property
    def finished(self) -> bool:
        return self.epoch > self.options.epochs

    def fit(
        self,
        report: Report,
        checkpoint: Path | None = None,
        every: int | None = None,
        observe: Callable[[Run], dict[str, Any]] | None = None,
    ) -> bool:
        """Train to the last epoch; False if SIGINT or SIGTERM asked to stop before.

        ``checkpoint`` is saved after each epoch, every ``every`` batches, and at a stop, which is
        taken between two batches. What ``observe(run)`` returns after an epoch's training becomes
        the ``observed`` of its result.
        """
        with _stop_requests() as stop:
            while not self.finished:
                if not self._train_epoch(report, stop, checkpoint, every):
                    if checkpoint is not None:
                        self.save(checkpoint)
                    return False
                observed = observe(self) if observe is not None else {}
                test_loss, correct, total = evaluate(
                    self.network, self.test, self.options.device, loss_function(self.options.model)
                )
                self.history.append(
                    Result(
                        self.epoch, self.loss_sum / max(1, len(self.train)), test_loss, correct,
                        total, self.seconds, self.correct, length(self.train.dataset), observed,
                    )
                )  # fmt: skip
                self.epoch += 1
                self.batches_done, self.loss_sum, self.correct, self.seconds = 0, 0.0, 0, 0.0
                if checkpoint is not None:
                    self.save(checkpoint)
                report.epoch(self.history[-1])
        return True

    @functools.cached_property
    def _step(self) -> Callable[[torch.Tensor, torch.Tensor], tuple[torch.Tensor, torch.Tensor]]:
        """A step of training: the network's output, and the loss."""
        network, optimizer = self.network, self.optimizer
        loss_of = loss_function(self.options.model)

        def step(data: torch.Tensor, target: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            optimizer.zero_grad()
            output = network(data)
            loss = loss_of(output, target)
            loss.backward()
            optimizer.step()
            return output, loss

        return torch.cuda.graph_step(step) if self.options.cuda_graph else step

    def _train_epoch(
        self,
        report: Report,
        stop: Callable[[], bool],
        checkpoint: Path | None,
        every: int | None,
    ) -> bool:
        self.network.train()
        assert self.train.generator is not None
        self.train.generator.manual_seed(self.options.seed * 1_000_003 + self.epoch)
        started = time.perf_counter() - self.seconds
        batches, count = len(self.train), length(self.train.dataset)
        for index, (data, target) in enumerate(self.train):
            if index < self.batches_done:
                continue
            data, target = data.to(self.options.device), target.to(self.options.device)
            output, loss = self._step(data, target)
            self.scheduler.step()
            value = loss.item()
            if not math.isfinite(value):
                raise FloatingPointError(
                    f"the training loss became {value} in epoch {self.epoch}, batch {index}:"
                    f" try a smaller learning rate than {self.options.lr}"
                )
            self.loss_sum += value
            self.correct += right_answers(output, target)
            self.batches_done = index + 1
            self.seconds = time.perf_counter() - started
            report.batch(self.epoch, index, len(data), batches, count, value)
            if self.batches_done < batches:
                if stop():
                    return False
                if checkpoint is not None and every and self.batches_done % every == 0:
                    self.save(checkpoint)
        return True


def right_answers(output: torch.Tensor, target: torch.Tensor) -> int:
    """How many rows of ``output`` are largest at their target."""
    return int(output.argmax(dim=1).eq(target).sum().item())


def evaluate(
    network: nn.Module,
    test: DataLoader[Any],
    device: str,
    loss_of: Callable[..., Any] = F.nll_loss,
) -> tuple[float, int, int]:
    """Mean loss per image, number of right answers, number of images."""
    network.eval()
    loss, correct, total = 0.0, 0, 0
    with torch.no_grad():
        for data, target in test:
            data, target = data.to(device), target.to(device)
            output = network(data)
            loss += loss_of(output, target, reduction="sum").item()
            correct += right_answers(output, target)
            total += len(target)
    return loss / max(1, total), correct, total


def test_line(loss: float, correct: int, total: int) -> str:
    """The lecture's line after each epoch."""
    percent = 100.0 * correct / max(1, total)
    return f"\nTest set: Average loss: {loss:.4f}, Accuracy: {correct}/{total} ({percent:.0f}%)\n"


def read_checkpoint(path: Path) -> dict[str, Any]:
    """A checkpoint written by :meth:`Run.save`; ValueError if the file is something else."""
    state = torch.load(path)
    if not isinstance(state, dict) or state.get("format") != "minitorch_cnn checkpoint 1":
        raise ValueError(
            f"{path} is not a checkpoint of 'minitorch-cnn train' (a bare state_dict has no"
            " optimizer and epoch to continue from)"
        )
    return state


def load_network(path: Path) -> tuple[nn.Module, Options]:
    """The trained network of a checkpoint, in eval mode."""
    state = read_checkpoint(path)
    options = Options(**state["options"])
    network = build(options)
    network.load_state_dict(state["model"])
    return network.eval(), options


def new_checkpoint(directory: Path, model: str) -> Path:
    """``model.pt``, or ``model-2.pt``, ...: a new run never overwrites an old one's file."""
    path, n = directory / f"{model}.pt", 2
    while path.exists():
        path, n = directory / f"{model}-{n}.pt", n + 1
    return path


def latest_checkpoint(directory: Path, model: str) -> Path:
    """The checkpoint of ``model`` that was written last."""
    found = [p for p in directory.glob(f"{model}*.pt") if p.stem.partition("-")[0] == model]
    if not found:
        raise FileNotFoundError(
            f"no checkpoint {model}*.pt in {directory}: start a run without --resume first"
        )
    return max(found, key=lambda p: p.stat().st_mtime_ns)


@contextlib.contextmanager
def _stop_requests() -> Iterator[Callable[[], bool]]:
    """SIGINT and SIGTERM only ask to stop; a second SIGINT interrupts at once."""
    asked = False

    def ask(signum: int, frame: FrameType | None) -> None:
        nonlocal asked
        if asked and signum == signal.SIGINT:
            raise KeyboardInterrupt
        asked = True

    previous: dict[signal.Signals, Any] = {}
    try:
        for number in (signal.SIGINT, signal.SIGTERM):
            # Only the main thread may set handlers; elsewhere a run cannot be asked to stop.
            with contextlib.suppress(ValueError):
                previous[number] = signal.signal(number, ask)
        yield lambda: asked
    finally:
        for restored, handler in previous.items():
            signal.signal(restored, handler)
