"""What every scheduler shares: counting epochs and writing the rates into the optimizer."""

from __future__ import annotations

import contextlib
import types
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from ...tensor import Tensor
from ..optimizer import Group, Optimizer, scalar

_ORDER = (
    "Detected call of `lr_scheduler.step()` before `optimizer.step()`: the first value of the"
    " schedule is skipped. Call `optimizer.step()` first, then `lr_scheduler.step()`."
)
_EPOCH = (
    "The epoch parameter in `scheduler.step()` is deprecated: call `scheduler.step()` once per"
    " epoch. While it lasts, the closed form of the schedule is used where there is one."
)
_VERBOSE = "The verbose parameter is deprecated and does nothing: print get_last_lr() instead."


class LRScheduler:
    """Base class: subclasses define ``get_lr()``, one rate for each parameter group.

    Construction stores each group's ``initial_lr`` and takes step 0. ``last_epoch`` other than -1
    resumes: the groups must then have an ``initial_lr`` (KeyError). Call :meth:`step` after
    ``optimizer.step()``; a UserWarning tells if it was the other way round. Everything but the
    optimizer is in :meth:`state_dict`, under PyTorch's names.
    """

    _get_lr_called_within_step = False
    _is_initial = False
    _last_lr: list[Any]

    def __init__(self, optimizer: Optimizer, last_epoch: int = -1, verbose: object = None) -> None:
        self.optimizer = checked_optimizer(optimizer)
        if verbose not in (None, False, "deprecated"):
            warnings.warn(_VERBOSE, UserWarning, stacklevel=3)
        for i, group in enumerate(optimizer.param_groups):
            if last_epoch == -1:
                group.setdefault("initial_lr", own(group["lr"]))
            elif "initial_lr" not in group:
                raise KeyError(
                    f"param 'initial_lr' is not specified in param_groups[{i}] when resuming"
                    " scheduler with last_epoch >= 0: load the optimizer's state_dict first, or"
                    " start with last_epoch=-1"
                )
        self.base_lrs = current(optimizer, "initial_lr")
        self.last_epoch = last_epoch
        self._initial_step()

    def _initial_step(self) -> None:
        self._step_count = 0
        self._is_initial = True
        try:
            self.step()
        finally:
            self._is_initial = False

    def get_lr(self) -> list[Any]:
        """The rates at ``last_epoch``; most schedules compute them from the current ones."""
        raise NotImplementedError(f"{type(self).__name__} must define get_lr")

    def get_last_lr(self) -> list[Any]:
        """The rates that the last step wrote, one for each parameter group."""
        return self._last_lr

    def step(self, epoch: Any = None) -> None:
        """Go on by one epoch (or to ``epoch``, deprecated) and set the groups' rates."""
        if self._step_count == 1 and not self.optimizer._opt_called:
            warnings.warn(_ORDER, UserWarning, stacklevel=2)
        self._step_count += 1
        if epoch is not None:
            warnings.warn(_EPOCH, UserWarning, stacklevel=2)
        self._update_lr(epoch)

    def _update_lr(self, epoch: int | None = None) -> None:
        self.last_epoch = self.last_epoch + 1 if epoch is None else epoch
        closed_form = getattr(self, "_get_closed_form_lr", None)
        with self._within_step():
            rates = closed_form() if epoch is not None and closed_form else self.get_lr()
        self._write(rates)

    def _write(self, rates: Sequence[Any]) -> None:
        for group, rate in zip(self.optimizer.param_groups, rates, strict=True):
            assign(group, "lr", rate)
        self._last_lr = current(self.optimizer, "lr")

    @contextlib.contextmanager
    def _within_step(self) -> Iterator[None]:
        self._get_lr_called_within_step = True
        try:
            yield
        finally:
            self._get_lr_called_within_step = False

    def _warn_outside_step(self) -> None:
        """A user who calls ``get_lr()`` gets the *next* rate from most schedules."""
        if not self._get_lr_called_within_step:
            warnings.warn(
                "To get the last learning rate computed by the scheduler, please use"
                " `get_last_lr()`.",
                UserWarning,
                stacklevel=3,
            )

    def _rates(self) -> list[Any]:
        return current(self.optimizer, "lr")

    def _scaled(self, factor: float) -> list[Any]:
        return [rate * factor for rate in self._rates()]

    def state_dict(self) -> dict[str, Any]:
        """Every attribute except the optimizer."""
        return {key: value for key, value in self.__dict__.items() if key != "optimizer"}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue from a :meth:`state_dict`; load the optimizer's as well."""
        self.__dict__.update(state_dict)


def checked_optimizer(optimizer: Any) -> Optimizer:
    """TypeError unless it is an Optimizer."""
    if not isinstance(optimizer, Optimizer):
        raise TypeError(f"{type(optimizer).__name__} is not an Optimizer")
    return optimizer


def own(value: Any) -> Any:
    """A copy, if ``value`` is a Tensor that in-place updates will change."""
    return Tensor._wrap(value.array.copy()) if isinstance(value, Tensor) else value


def current(optimizer: Optimizer, key: str) -> list[Any]:
    """An option of every group, copied."""
    return [own(group[key]) for group in optimizer.param_groups]


def assign(group: Group, key: str, value: Any) -> None:
    """Set an option; a Tensor keeps its identity and takes the value."""
    if isinstance(group[key], Tensor):
        group[key].array[...] = scalar(value)
    else:
        group[key] = value


def per_group(name: str, optimizer: Optimizer, value: Any) -> list[Any]:
    """``value`` for every group, or the list of values, one for each."""
    checked_optimizer(optimizer)
    if not isinstance(value, list | tuple):
        return [own(value) for _ in optimizer.param_groups]
    if len(value) != len(optimizer.param_groups):
        raise ValueError(
            f"expected {len(optimizer.param_groups)} values for {name} (one per parameter group),"
            f" but got {len(value)}"
        )
    return [own(v) for v in value]


def check_count(name: str, value: object) -> None:
    """ValueError unless it is a positive integer."""
    if not isinstance(value, int) or value <= 0:
        raise ValueError(f"Expected positive integer {name}, but got {value}")


def function_state(fn: Callable[..., Any] | None) -> dict[str, Any] | None:
    """The attributes of a callable object, to be saved; functions and lambdas have none."""
    if fn is None or isinstance(fn, types.FunctionType | types.BuiltinFunctionType):
        return None
    return dict(getattr(fn, "__dict__", {}))
