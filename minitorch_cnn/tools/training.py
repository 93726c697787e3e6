"""The lecture's training loop with what a long run needs: checkpoints, exact resume, clean stops.

A run is a function of its :class:`Options` alone. The shuffling of epoch e depends on (seed, e), so
a run that is stopped anywhere between two batches and resumed ends with the same bits as one that
was not.
"""

from __future__ import annotations

import contextlib
import math
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any, Protocol

import minitorch_cnn as torch

from .. import datasets, models, nn, transforms
from ..nn import functional as F
from ..utils.data import DataLoader

# Mean and standard deviation of MNIST's training pixels.
NORMALIZE = transforms.Normalize((0.1307,), (0.3081,))


@dataclass(frozen=True)
class Options:
    """What determines a run. The defaults are the lecture's, but for ``normalize``.

    The lecture feeds pixels in 0..1; ``normalize`` shifts and scales them to mean 0 and standard
    deviation 1 over the training set, as PyTorch's own MNIST example does.
    """

    model: str = "cnn"
    epochs: int = 9
    batch_size: int = 64
    test_batch_size: int = 1000
    lr: float = 0.01
    momentum: float = 0.5
    seed: int = 1
    device: str = "cpu"
    data_dir: str | None = None
    normalize: bool = True

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "test_batch_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if not (math.isfinite(self.lr) and self.lr > 0):
            raise ValueError(f"lr must be a positive number, got {self.lr}")
        if not 0 <= self.momentum < 1:
            raise ValueError(f"momentum must be in [0, 1), got {self.momentum}")


@dataclass(frozen=True)
class Result:
    """After an epoch: mean training loss, test loss per image, correct of total, seconds."""

    epoch: int
    train_loss: float
    test_loss: float
    correct: int
    total: int
    seconds: float


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
    epoch: int = 1
    batches_done: int = 0
    loss_sum: float = 0.0
    seconds: float = 0.0
    history: list[Result] = field(default_factory=list)

    @classmethod
    def start(cls, options: Options) -> Run:
        torch.manual_seed(options.seed)
        network = models.build(options.model).to(options.device)
        optimizer = torch.optim.SGD(
            network.parameters(), lr=options.lr, momentum=options.momentum
        )
        return cls(options, network, optimizer)

    @classmethod
    def resume(cls, path: Path, epochs: int | None = None) -> Run:
        """Continue from a checkpoint, up to ``epochs`` if given."""
        state = read_checkpoint(path)
        options = Options(**{**state["options"], **({"epochs": epochs} if epochs else {})})
        run = cls.start(options)
        run.network.load_state_dict(state["model"])
        run.optimizer.load_state_dict(state["optimizer"])
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
                "epoch": self.epoch,
                "batches_done": self.batches_done,
                "loss_sum": self.loss_sum,
                "seconds": self.seconds,
                "history": [asdict(r) for r in self.history],
                "rng": torch.get_rng_state(),
            },
            path,
        )

    @property
    def finished(self) -> bool:
        return self.epoch > self.options.epochs

    def fit(self, report: Report, checkpoint: Path | None = None) -> bool:
        """Train to the last epoch; False if SIGINT or SIGTERM asked to stop before.

        A stop is taken between two batches, after saving ``checkpoint``.
        """
        train, test = loaders(self.options)
        with _stop_requests() as stop:
            while not self.finished:
                if not self._train_epoch(train, report, stop):
                    if checkpoint is not None:
                        self.save(checkpoint)
                    return False
                test_loss, correct, total = evaluate(self.network, test, self.options.device)
                mean_loss = self.loss_sum / max(1, len(train))
                self.history.append(
                    Result(self.epoch, mean_loss, test_loss, correct, total, self.seconds)
                )
                self.epoch += 1
                self.batches_done, self.loss_sum, self.seconds = 0, 0.0, 0.0
                if checkpoint is not None:
                    self.save(checkpoint)
                report.epoch(self.history[-1])
        return True

    def _train_epoch(
        self, train: DataLoader[Any], report: Report, stop: Callable[[], bool]
    ) -> bool:
        self.network.train()
        assert train.generator is not None
        train.generator.manual_seed(self.options.seed * 1_000_003 + self.epoch)
        started = time.perf_counter() - self.seconds
        batches, images = len(train), len(train.dataset)  # type: ignore[arg-type]
        for index, (data, target) in enumerate(train):
            if index < self.batches_done:
                continue
            data, target = data.to(self.options.device), target.to(self.options.device)
            self.optimizer.zero_grad()
            loss = F.nll_loss(self.network(data), target)
            loss.backward()
            self.optimizer.step()
            value = loss.item()
            if not math.isfinite(value):
                raise FloatingPointError(
                    f"the training loss became {value} in epoch {self.epoch}, batch {index}:"
                    f" try a smaller learning rate than {self.options.lr}"
                )
            self.loss_sum += value
            self.batches_done = index + 1
            self.seconds = time.perf_counter() - started
            report.batch(self.epoch, index, len(data), batches, images, value)
            if stop() and self.batches_done < batches:
                return False
        return True


def loaders(options: Options) -> tuple[DataLoader[Any], DataLoader[Any]]:
    """MNIST's training batches (reshuffled each epoch) and test batches."""
    steps: list[Any] = [transforms.ToTensor()]
    if options.normalize:
        steps.append(NORMALIZE)
    transform = transforms.Compose(steps)
    train, test = (
        datasets.MNIST(options.data_dir, train=is_train, transform=transform)
        for is_train in (True, False)
    )
    return (
        DataLoader(train, options.batch_size, shuffle=True, generator=torch.Generator()),
        DataLoader(test, options.test_batch_size),
    )


def evaluate(network: nn.Module, test: DataLoader[Any], device: str) -> tuple[float, int, int]:
    """Mean loss per image, number of right answers, number of images."""
    network.eval()
    loss, correct, total = 0.0, 0, 0
    with torch.no_grad():
        for data, target in test:
            data, target = data.to(device), target.to(device)
            output = network(data)
            loss += F.nll_loss(output, target, reduction="sum").item()
            correct += int(output.argmax(dim=1).eq(target).sum().item())
            total += len(target)
    return loss / max(1, total), correct, total


def test_line(loss: float, correct: int, total: int) -> str:
    """The lecture's line after each epoch."""
    percent = 100.0 * correct / max(1, total)
    return (
        f"\nTest set: Average loss: {loss:.4f}, Accuracy: {correct}/{total} ({percent:.0f}%)\n"
    )


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
    network = models.build(options.model)
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
