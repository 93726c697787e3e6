"""Saving replaces a file only by a whole new one, whatever goes wrong."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from minitorch_cnn.serialization import atomic_write, load, save
from minitorch_cnn.tensor import Tensor

ROOT = Path(__file__).parents[2]
SUFFIXES = [".pt", ".safetensors", ".npz"]


def state(value: float, n: int = 1000) -> dict[str, Tensor]:
    return {name: Tensor._wrap(np.full(n, value)) for name in "abc"}


def assert_holds(path: Path, value: float) -> None:
    assert all((t.array == value).all() for t in load(path).values())
    assert [p.name for p in path.parent.iterdir()] == [path.name], "a temporary file remains"


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize(
    "error", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt(), MemoryError()]
)
def test_a_failing_save_leaves_the_old_file(
    error: BaseException, suffix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / f"net{suffix}"
    save(state(1), path)

    def fail(*args: Any) -> None:
        raise error

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(type(error)):
        save(state(2), path)
    monkeypatch.undo()
    assert_holds(path, 1)
    save(state(2), path)
    assert_holds(path, 2)


def test_ctrl_c_in_the_middle_of_writing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "net.pt"
    save(state(1), path)
    real = zipfile.ZipFile.open

    def interrupted(self: zipfile.ZipFile, info: Any, *args: Any, **options: Any) -> Any:
        if getattr(info, "filename", "").endswith("data/1"):
            raise KeyboardInterrupt
        return real(self, info, *args, **options)

    monkeypatch.setattr(zipfile.ZipFile, "open", interrupted)
    with pytest.raises(KeyboardInterrupt):
        save(state(2), path)
    monkeypatch.undo()
    assert_holds(path, 1)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no file size limit to set")
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_no_room_for_the_file(suffix: str, tmp_path: Path) -> None:
    """The system itself refuses the bytes: a limit on file sizes stands for a full disk."""
    path = tmp_path / f"net{suffix}"
    save(state(1), path)
    code = """if True:
        import resource, sys, numpy as np, minitorch_cnn as torch
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
        tensor = torch.Tensor._wrap(np.zeros(1_000_000))
        try:
            torch.save({"w": tensor}, sys.argv[1])
        except OSError as error:
            print(error.filename == sys.argv[1], error.strerror)
    """
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True,
                          env={**os.environ, "PYTHONPATH": str(ROOT)}, check=True)  # fmt: skip
    assert done.stdout.startswith("True cannot write the file: File too large; ")
    assert "MiB are free" in done.stdout
    assert_holds(path, 1)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no /dev/full")
def test_devices_are_written_to_not_replaced() -> None:
    with pytest.raises(OSError, match="No space left"):
        save(state(1), "/dev/full")
    save(state(1), os.devnull)
    assert Path(os.devnull).is_char_device()


def test_a_killed_process_leaves_the_old_or_the_new_file(tmp_path: Path) -> None:
    path = tmp_path / "net.pt"
    code = """if True:
        import sys, numpy as np, minitorch_cnn as torch
        for value in range(1, 100_000):
            tensor = torch.Tensor._wrap(np.full(200_000, float(value)))
            torch.save({"a": tensor, "b": tensor}, sys.argv[1])
            print(value, flush=True)
    """
    process = subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE,
                               env={**os.environ, "PYTHONPATH": str(ROOT)}, text=True)  # fmt: skip
    try:
        assert process.stdout is not None
        saved = int(process.stdout.readline())
        time.sleep(0.1)
    finally:
        process.kill()
        rest, _ = process.communicate()
    saved = int(rest.split()[-1]) if rest.split() else saved
    assert process.returncode == -getattr(signal, "SIGKILL", 1) or os.name == "nt"
    values = {tensor.array.mean() for tensor in load(path).values()}
    assert values <= {float(saved), float(saved + 1)}
    assert len(values) == 1


def test_errors_name_the_path_and_the_fix(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"create it first: .*missing.net\.pt"):
        save(state(1), tmp_path / "missing" / "net.pt")
    with pytest.raises(IsADirectoryError, match="give the name of a file in it"):
        save(state(1), tmp_path)
    (tmp_path / "file").write_text("x")
    with pytest.raises(NotADirectoryError, match=r"net\.pt"):
        save(state(1), tmp_path / "file" / "net.pt")


def test_an_unwritable_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Path, *args: Any, **options: Any) -> Any:
        raise PermissionError(errno.EACCES, "Permission denied", str(self))

    monkeypatch.setattr(Path, "open", refuse)  # a test that runs as root may write anywhere
    with pytest.raises(PermissionError, match="choose a directory that you may write to"):
        save(state(1), tmp_path / "net.pt")
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX links and modes")
def test_links_are_written_through_and_modes_kept(tmp_path: Path) -> None:
    real, link = tmp_path / "epoch3.pt", tmp_path / "last.pt"
    save(state(1), real)
    real.chmod(0o640)
    link.symlink_to(real.name)
    save(state(2), link)
    assert link.is_symlink()
    assert (load(real)["a"].array == 2).all()
    assert real.stat().st_mode & 0o777 == 0o640
    save(state(3), tmp_path / "new.pt")
    umask = os.umask(0)
    os.umask(umask)
    assert (tmp_path / "new.pt").stat().st_mode & 0o777 == 0o666 & ~umask


def test_long_names(tmp_path: Path) -> None:
    path = tmp_path / ("n" * 252 + ".pt")
    save(state(1), path)
    assert_holds(path, 1)


def test_atomic_write_of_any_bytes(tmp_path: Path) -> None:
    with atomic_write(tmp_path / "a.txt") as file:
        file.write(b"hello")
        assert not (tmp_path / "a.txt").exists()
    assert (tmp_path / "a.txt").read_bytes() == b"hello"
