"""``torch.optim``: SGD and its relatives, one file each, and the schedulers of their rates."""

from __future__ import annotations

from typing import NoReturn

from . import lr_scheduler
from .adadelta import Adadelta
from .adagrad import Adagrad
from .adam import Adam, AdamW
from .optimizer import Optimizer
from .rmsprop import RMSprop
from .sgd import SGD

__all__ = [
    "Optimizer", "SGD", "Adam", "AdamW", "RMSprop", "Adagrad", "Adadelta", "lr_scheduler",
]  # fmt: skip


def __getattr__(name: str) -> NoReturn:
    raise AttributeError(
        f"minitorch_cnn.optim has no {name!r}; it has {', '.join(sorted(set(__all__)))}."
        " Subclass Optimizer and define _update(p, group) to add one."
    )
