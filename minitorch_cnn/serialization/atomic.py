"""Writing a file so that at every moment either the old or the new content is there, whole."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO


@contextmanager
def atomic_write(path: str | os.PathLike[str]) -> Iterator[IO[bytes]]:
    """Give a file to write to; it takes ``path``'s place when the block ends without an exception.

    The data goes to a temporary file in the same directory, to the disk (fsync), and then under its
    name (rename). On any exception, Ctrl-C and a full disk included, the temporary file is removed
    and what was at ``path`` is untouched. A symbolic link is written through; a device or pipe,
    which cannot be replaced, is written directly. OSErrors name the path and the likely fix.
    """
    target = Path(os.path.realpath(path))
    if target.exists() and not target.is_file() and not target.is_dir():
        with target.open("wb") as file:
            yield file
        return
    temporary = target.with_name(f".{target.name[:64]}.{secrets.token_hex(4)}.tmp")
    try:
        if target.is_dir():
            raise IsADirectoryError(21, "Is a directory")
        with temporary.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        if target.exists():
            shutil.copymode(target, temporary)
        temporary.replace(target)
    except BaseException as error:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno is not None:
            raise OSError(error.errno, _explain(error, target), str(path)) from error
        raise
    _sync_directory(target.parent)


def _explain(error: OSError, target: Path) -> str:
    """What failed and what to do, for a checkpoint that could not be written."""
    reason = error.strerror or str(error)
    if isinstance(error, FileNotFoundError):
        fix = f"the directory {target.parent} does not exist: create it first"
    elif isinstance(error, IsADirectoryError):
        fix = "give the name of a file in it"
    elif isinstance(error, PermissionError):
        fix = f"choose a directory that you may write to instead of {target.parent}"
    else:
        free = shutil.disk_usage(target.parent).free if target.parent.is_dir() else 0
        fix = (
            f"{free / 2**20:.1f} MiB are free in {target.parent}: make room or save elsewhere"
            " (an earlier file of that name is unharmed)"
        )
    return f"cannot write the file: {reason}; {fix}"


def _sync_directory(directory: Path) -> None:
    """Bring the rename itself to the disk, where the system can (Windows cannot)."""
    with suppress(OSError):
        handle = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
