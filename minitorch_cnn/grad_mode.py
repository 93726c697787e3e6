"""What the current thread wants of every op: record a graph or not, look for NaN, be watched."""

from __future__ import annotations

import contextlib
import copy
import functools
import inspect
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, TypeAlias

import numpy as np

from .dtypes import is_floating

Observer: TypeAlias = Callable[[str, Mapping[str, Any], Sequence[Any], Any, float], None]


class _Mode(threading.local):
    """One per thread: DataLoader threads do not see each other's."""

    grad: bool = True
    inference: bool = False
    anomaly: bool = False
    # By kind of device, what autocast casts to where it is on. Replaced, never written to.
    autocast: Mapping[str, np.dtype[Any]] = MappingProxyType({})
    observers: tuple[Observer, ...] = ()


mode = _Mode()


class Switch:
    """Sets something of the thread's mode inside a ``with`` block or a decorated function."""

    previous: list[Any]  # what to go back to

    def __new__(cls, *_: Any, **__: Any) -> Any:
        self = super().__new__(cls)
        self.previous = []
        return self

    def __enter__(self) -> Any:
        raise NotImplementedError

    def __exit__(self, *exc: object) -> None:
        raise NotImplementedError

    def _fresh(self) -> Any:
        """A decorated function may run in several threads at once: one context for each call."""
        fresh = copy.copy(self)
        fresh.previous = []
        return fresh

    def __call__(self, fn: Callable[..., Any]) -> Any:
        if inspect.isgeneratorfunction(fn):
            return self._around_generator(fn)

        @functools.wraps(fn)
        def decorated(*args: Any, **kwargs: Any) -> Any:
            with self._fresh():
                return fn(*args, **kwargs)

        return decorated

    def _around_generator(self, fn: Callable[..., Any]) -> Any:
        """The mode holds while the generator runs, not while its consumer does."""

        @functools.wraps(fn)
        def decorated(*args: Any, **kwargs: Any) -> Any:
            generator = fn(*args, **kwargs)
            resume = functools.partial(next, generator)
            try:
                while True:
                    with self._fresh():
                        item = resume()
                    try:
                        sent = yield item
                    except GeneratorExit:
                        generator.close()
                        raise
                    except BaseException as error:  # noqa: BLE001 (thrown in by the consumer)
                        resume = functools.partial(generator.throw, error)
                    else:
                        resume = functools.partial(generator.send, sent)
            except StopIteration as stop:
                return stop.value

        return decorated


class _GradMode(Switch):
    """Sets the thread's grad mode."""

    grad: bool

    def __enter__(self) -> _GradMode:
        self.previous.append((mode.grad, mode.inference))
        mode.grad = self.grad
        return self

    def __exit__(self, *exc: object) -> None:
        mode.grad, mode.inference = self.previous.pop()


class no_grad(_GradMode):
    """Record no graph: ``with no_grad():`` or ``@no_grad()`` (or bare ``@no_grad``)."""

    grad = False

    def __new__(cls, fn: Callable[..., Any] | None = None) -> Any:
        return super().__new__(cls) if fn is None else cls()(fn)


class enable_grad(_GradMode):
    """Record the graph again inside a ``no_grad`` block."""

    grad = True

    def __new__(cls, fn: Callable[..., Any] | None = None) -> Any:
        return super().__new__(cls) if fn is None else cls()(fn)


class set_grad_enabled(_GradMode):
    """Switch recording on or off: at once, and back again if used as a ``with`` block."""

    def __init__(self, mode: bool) -> None:
        self.grad = bool(mode)
        super().__enter__()
        self.at_once = True

    def __enter__(self) -> _GradMode:
        if self.at_once:
            self.at_once = False
            mode.grad = self.grad
            return self
        return super().__enter__()

    def __call__(self, fn: Any) -> Any:
        # As a decorator it must not change the mode at definition time.
        self.at_once = False
        self.__exit__()
        return super().__call__(fn)


class inference_mode(_GradMode):
    """``no_grad`` that ``enable_grad`` cannot lift; ``inference_mode(False)`` lifts it."""

    def __new__(cls, mode: bool | Callable[..., Any] = True) -> Any:
        return super().__new__(cls) if isinstance(mode, bool) else cls()(mode)

    def __init__(self, mode: bool = True) -> None:
        self.grad = not mode
        self.inference = mode

    def __enter__(self) -> _GradMode:
        super().__enter__()
        mode.inference = self.inference
        return self


def is_grad_enabled() -> bool:
    """Whether this thread records a graph."""
    return mode.grad


def is_inference_mode_enabled() -> bool:
    """Whether this thread is inside :class:`inference_mode`."""
    return mode.inference


@contextlib.contextmanager
def no_autocast() -> Iterator[None]:
    """Autocast off for every device; see :mod:`.amp`."""
    before = mode.autocast
    mode.autocast = {}
    try:
        yield
    finally:
        mode.autocast = before


@contextlib.contextmanager
def watch(observer: Observer) -> Iterator[None]:
    """Call ``observer(name, settings, input_arrays, output_array, seconds)`` after each op.

    The one mechanism under summary, profiler and anomaly detection.
    """
    previous = mode.observers
    mode.observers = (*previous, observer)
    try:
        yield
    finally:
        mode.observers = previous


class set_detect_anomaly:
    """Switch :class:`detect_anomaly` on or off at once, and back after a ``with`` block."""

    def __init__(self, mode: bool, check_nan: bool = True) -> None:
        self.wanted = mode and check_nan
        self._switch()

    def _switch(self) -> None:
        self.previous = mode.anomaly, mode.observers
        others = tuple(o for o in mode.observers if not isinstance(o, _FirstNaN))
        mode.anomaly = self.wanted
        mode.observers = (*others, _FirstNaN()) if self.wanted else others

    def __enter__(self) -> None:
        pass

    def __exit__(self, *exc: object) -> None:
        mode.anomaly, mode.observers = self.previous


class detect_anomaly(set_detect_anomaly):
    """Name the op that makes the first NaN: forward by a warning, backward by a RuntimeError.

    The error of backward shows where the op was called in forward. Slow: for debugging only.
    """

    def __init__(self, check_nan: bool = True) -> None:
        self.wanted = check_nan

    def __enter__(self) -> None:
        self._switch()


def is_anomaly_enabled() -> bool:
    """Whether this thread looks for NaN."""
    return mode.anomaly


class _FirstNaN:
    """Warns of the first op whose output has a NaN."""

    def __init__(self) -> None:
        self.warned = False

    def __call__(
        self, name: str, settings: Mapping[str, Any], inputs: Sequence[Any], y: Any, seconds: float
    ) -> None:
        if self.warned or not is_floating(y.dtype) or not np.isnan(y).any():
            return
        self.warned = True
        shapes = ", ".join(str(list(x.shape)) for x in inputs if hasattr(x, "shape"))
        warnings.warn(
            f"detect_anomaly: the first NaN came out of {name!r} (settings {dict(settings)},"
            f" inputs {shapes})",
            RuntimeWarning,
            stacklevel=4,
        )
