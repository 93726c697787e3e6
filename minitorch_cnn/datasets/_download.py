"""Getting a file from the first of several mirrors that has it, whole and unchanged.

The file grows as ``NAME.part`` beside its place and takes its name only once its checksum is
right, so whatever is killed, cut off or tampered with, no broken file is ever found under the
name. A ``.part`` is continued by the next try, where the server allows it.
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import http.client
import os
import sys
import urllib.error
import urllib.request
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

_CHUNK = 1 << 16
_TIMEOUT = 30  # seconds without a byte
_TRIES = 3  # per mirror, as long as each brings new bytes


@dataclass(frozen=True)
class Checksum:
    """An algorithm of hashlib's and the digest that it should give, or the digest's beginning.

    An empty digest takes any file that arrives whole. ``of_content``: of what is inside a gzip
    file, which re-compressing does not change.
    """

    algorithm: str
    digest: str
    of_content: bool = False

    def problem_with(self, path: Path) -> str | None:
        """What is wrong with the file; None if it is the right one."""
        if not self.digest:
            return None
        found = self.found_in(path)
        return None if found.startswith(self.digest) else f"expected {self}, found {found}"

    def found_in(self, path: Path) -> str:
        """The digest of the file as it is, or a word about why there is none."""
        opener = gzip.open if self.of_content and path.suffix in (".gz", ".part") else Path.open
        try:
            with opener(path, "rb") as file:
                return hashlib.file_digest(file, self.algorithm).hexdigest()
        except (gzip.BadGzipFile, zlib.error, EOFError) as error:
            return f"none (broken gzip: {error})"

    def __str__(self) -> str:
        short = len(self.digest) < 2 * hashlib.new(self.algorithm).digest_size
        name = f"{self.algorithm} beginning" if short else self.algorithm
        return f"{name} {self.digest}{' of its content' if self.of_content else ''}"


@dataclass(frozen=True)
class RemoteFile:
    """A file, the addresses to try in order, and how to know it is the right one."""

    name: str
    urls: tuple[str, ...]
    checksum: Checksum


class _TransferError(Exception):
    """A mirror did not give the file: missing, unreachable, or cut off."""


def fetch(file: RemoteFile, folder: Path) -> Path:
    """The path of ``file`` in ``folder``, downloading it unless it is there and right.

    Errors: RuntimeError naming every mirror's answer and where to put the file by hand; OSError
    of the disk's (full, read-only). A second process waits for the first.
    """
    path = folder / file.name
    part = folder / f"{file.name}.part"
    folder.mkdir(parents=True, exist_ok=True)
    with _locked(part):
        if path.exists() and file.checksum.problem_with(path) is None:
            return path
        problems = []
        for url in file.urls:
            problem = _fetch_from(url, file, part)
            if problem is None:
                part.replace(path)
                return path
            problems.append(f"  {url}: {problem}")
    raise RuntimeError(
        "\n".join(
            [
                f"could not download {file.name}:",
                *problems,
                "Without a network, get the file elsewhere and put it here yourself:",
                f"  {path.absolute()}",
                *([f"It is right if it has the {file.checksum}."] if file.checksum.digest else []),
            ]
        )
    )


def _fetch_from(url: str, file: RemoteFile, part: Path) -> str | None:
    """Complete ``part`` from one mirror; None if it is right now, else what went wrong."""
    problem = None
    for _ in range(_TRIES):
        before = part.stat().st_size
        try:
            _receive(url, file.name, part)
        except _TransferError as error:
            problem = str(error)
            if part.stat().st_size > before:
                continue  # it did bring something: go on from there
            break
        problem = file.checksum.problem_with(part)
        if problem is None:
            return None
        part.write_bytes(b"")
        if before == 0:
            break  # this mirror has another file; only a bad continuation is worth another try
    return problem


def _receive(url: str, name: str, part: Path) -> None:
    """Append to ``part`` what it lacks of ``url``, or start over if the server cannot go on."""
    if not url.startswith(("https://", "http://")):
        raise _TransferError("not an http address")
    start = part.stat().st_size
    headers = {"User-Agent": "minitorch_cnn", "Accept-Encoding": "identity"}
    if start:
        headers["Range"] = f"bytes={start}-"
    request = urllib.request.Request(url, headers=headers)  # noqa: S310  # checked above
    try:
        response = urllib.request.urlopen(request, timeout=_TIMEOUT)  # noqa: S310
    except urllib.error.HTTPError as error:
        error.close()
        if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            return  # nothing after our last byte: the checksum will tell
        raise _TransferError(str(error)) from None
    except (OSError, http.client.HTTPException) as error:
        raise _TransferError(str(getattr(error, "reason", None) or error)) from None
    with response, _progress(name) as report:
        resumed = response.status == http.HTTPStatus.PARTIAL_CONTENT
        length = response.headers.get("Content-Length")
        done = start if resumed else 0
        total = done + int(length) if length and length.isdecimal() else None
        with part.open("ab" if resumed else "wb") as out:
            while chunk := _read(response):
                _write(out, chunk, part)
                done += len(chunk)
                report(done, total)
            out.flush()
            os.fsync(out.fileno())
    if total is not None and done < total:
        raise _TransferError(f"the connection ended after {done:,} of {total:,} bytes")


def _read(response: http.client.HTTPResponse) -> bytes:
    try:
        return response.read(_CHUNK)
    except (OSError, http.client.HTTPException) as error:
        raise _TransferError(f"the connection broke: {error}") from None


def _write(out: IO[bytes], chunk: bytes, part: Path) -> None:
    try:
        out.write(chunk)
    except OSError as error:
        raise OSError(error.errno, f"{error.strerror}, while downloading", str(part)) from error


@contextlib.contextmanager
def _locked(part: Path) -> Iterator[None]:
    """Hold ``part`` for this process alone, and leave none behind that is empty."""
    try:
        import fcntl
    except ImportError:  # Windows itself keeps a file from being renamed while another writes it
        part.touch()
        try:
            yield
        finally:
            if part.exists() and part.stat().st_size == 0:
                part.unlink()
        return
    while True:
        with part.open("ab") as handle:
            with contextlib.suppress(OSError):  # a file system without locks
                fcntl.flock(handle, fcntl.LOCK_EX)
            if not _is(part, handle):
                continue
            try:
                yield
            finally:
                if _is(part, handle) and part.stat().st_size == 0:
                    part.unlink()
            return


def _is(part: Path, handle: IO[bytes]) -> bool:
    """Whether ``part`` is still the file behind ``handle``.

    Whoever held the lock before may have renamed or removed it, and a third may have made another
    of that name: at any moment, so that only one look at the path can tell.
    """
    try:
        return os.path.samestat(os.fstat(handle.fileno()), part.stat())
    except FileNotFoundError:
        return False


@contextlib.contextmanager
def _progress(name: str) -> Iterator[Callable[[int, int | None], None]]:
    """A progress bar on a terminal with rich installed; otherwise silence."""
    bar = None
    if sys.stderr is not None and sys.stderr.isatty():
        with contextlib.suppress(ImportError):
            from rich.console import Console
            from rich.progress import BarColumn, DownloadColumn, Progress, TransferSpeedColumn

            columns = ("{task.description}", BarColumn(), DownloadColumn(), TransferSpeedColumn())
            bar = Progress(*columns, console=Console(stderr=True))
    if bar is None:
        yield lambda *_: None
        return
    with bar:
        task = bar.add_task(name, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
