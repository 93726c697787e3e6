"""Background threads for the DataLoader.

Threads, not processes: nothing is pickled or copied, a dataset is shared rather than cloned, and
Pillow, NumPy and file reads release the interpreter lock while they work.
"""

from __future__ import annotations

import atexit
import queue
import threading
import weakref
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, TypeAlias

from ...random import Generator, use_generator


@dataclass(frozen=True)
class WorkerInfo:
    """Which worker this thread is: ``id`` of ``num_workers``, its seed and the shared dataset."""

    id: int
    num_workers: int
    seed: int
    dataset: Any


class _Local(threading.local):
    info: WorkerInfo | None = None


_local = _Local()
Job: TypeAlias = tuple[Future[Any], Callable[..., Any], tuple[Any, ...]]
Jobs: TypeAlias = "queue.SimpleQueue[Job | None]"


def get_worker_info() -> WorkerInfo | None:
    """The :class:`WorkerInfo` of a DataLoader's worker thread; None in every other thread."""
    return _local.info


class Workers:
    """Threads that take jobs from one queue. They end when this object is no longer referenced."""

    def __init__(
        self, count: int, init_fn: Callable[[int], object] | None, seed: int, dataset: Any
    ) -> None:
        self._jobs: Jobs = queue.SimpleQueue()
        for i in range(count):
            info = WorkerInfo(i, count, seed + i, dataset)
            # The thread gets the queue, not self: it must not keep its own employer alive.
            thread = threading.Thread(
                target=_work,
                args=(self._jobs, info, init_fn),
                name=f"DataLoader worker {i}",
                daemon=True,  # one that hangs in a read must not keep the program from ending
            )
            thread.start()
            _running.add(thread)
        weakref.finalize(self, _dismiss, self._jobs, count)

    def submit(self, fn: Callable[..., Any], *args: Any) -> Future[Any]:
        """Queue ``fn(*args)``; the future gives its result, or raises what it raised."""
        future: Future[Any] = Future()
        self._jobs.put((future, fn, args))
        return future


def _work(jobs: Jobs, info: WorkerInfo, init_fn: Callable[[int], object] | None) -> None:
    _local.info = info
    failure: list[BaseException] | None = None
    if init_fn is not None:
        try:
            with use_generator(Generator().manual_seed(info.seed)):
                init_fn(info.id)
        except BaseException as error:  # noqa: BLE001  # it is the consumer's to see
            failure = [error]
    while (job := jobs.get()) is not None:
        future, fn, args = job
        if future.set_running_or_notify_cancel():
            try:
                if failure is not None:
                    # Popped, because its traceback will hold the consumer, who must not be held.
                    raise failure.pop() if failure else RuntimeError("worker_init_fn failed before")
                future.set_result(fn(*args))
            except BaseException as error:  # noqa: BLE001  # as above
                error.add_note(f"(raised in {threading.current_thread().name})")
                future.set_exception(error)
        del job, future, fn, args  # or a batch would live until the next job comes


def _dismiss(jobs: Jobs, count: int) -> None:
    for _ in range(count):
        jobs.put(None)


# A thread inside C code while the interpreter is torn down can crash it, so exit waits for the
# batches in work, but not for ever. (Registered before any finalizer of Workers, so run after.)
_running: weakref.WeakSet[threading.Thread] = weakref.WeakSet()
_EXIT_SECONDS = 5.0


@atexit.register
def _join() -> None:
    for thread in list(_running):
        thread.join(_EXIT_SECONDS)
