"""What the emulator raises."""

from __future__ import annotations

__all__ = ["EmulatorError", "EmulatorUnavailableError"]


class EmulatorError(RuntimeError):
    """A kernel did what CUDA leaves undefined, or could not be compiled or called.

    ``kind`` says which check found it: compile, call, index, barrier, warp, undefined, race, steps,
    fault, address. ``file``, ``line``, ``block`` and ``thread`` say where, as far as it is known.
    """

    def __init__(
        self,
        kind: str,
        message: str,
        kernel: str = "",
        file: str = "",
        line: int = 0,
        block: tuple[int, ...] | None = None,
        thread: tuple[int, ...] | None = None,
    ) -> None:
        where = [f"{file}:{line}"] if line else []
        where += [f"block {block}"] if block is not None else []
        where += [f"thread {thread}"] if thread is not None else []
        at = f" [{', '.join(where)}]" if where else ""
        super().__init__(f"{kernel}: {message}{at}" if kernel else f"{message}{at}")
        self.kind = kind
        self.kernel = kernel
        self.file = file
        self.line = line
        self.block = block
        self.thread = thread


class EmulatorUnavailableError(EmulatorError):
    """There is no compiler to emulate with."""
