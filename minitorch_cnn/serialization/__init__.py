"""``save`` and ``load``: PyTorch's .pt/.pth files, .safetensors, and NumPy's .npz.

Loading never runs code from a file: .pt files are read by a small interpreter that can build
containers and tensors and nothing else. Saving replaces the old file only by a whole new one.
"""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable, Mapping
from io import BytesIO
from pathlib import Path
from typing import IO, Any

from ..device import device as Device
from .atomic import atomic_write
from .errors import CheckpointError

__all__ = ["CheckpointError", "atomic_write", "load", "save"]

Path_ = str | os.PathLike[str]
MapLocation = Device | str | Mapping[str, str] | Callable[..., Any] | None


def save(
    obj: Any,
    f: Path_ | IO[bytes],
    pickle_module: Any = None,
    pickle_protocol: int = 2,
    _use_new_zipfile_serialization: bool = True,
) -> None:
    """Save tensors, or nested dicts, lists, tuples and sets of tensors, numbers and strings.

    A path that ends in ``.safetensors`` or ``.npz`` gets that format (a flat dict of tensors by
    name); any other path and any file object get PyTorch's zip format, which
    ``torch.load(weights_only=True)`` reads. There, tensors that share memory share it again when
    loaded, a Parameter stays one, and NumPy scalars become Python's. The other arguments are
    PyTorch's and change nothing.

    At a path the file appears all at once: if anything fails, an earlier file is unharmed and no
    partial one remains. Errors: TypeError for what cannot be saved (modules, functions: save the
    ``state_dict()``), naming where in ``obj`` it is; OSError naming the path and the likely fix.
    """
    from .array_formats import write_npz, write_safetensors
    from .torch_writer import write_zip

    if not isinstance(f, (str, os.PathLike)):
        whole = BytesIO()
        write_zip(obj, whole, "archive")
        f.write(whole.getbuffer())
        return
    path = Path(f)
    with atomic_write(path) as file:
        if path.suffix == ".safetensors":
            write_safetensors(obj, file)
        elif path.suffix == ".npz":
            write_npz(obj, file)
        else:
            write_zip(obj, file, path.stem or "archive")


def load(
    f: Path_ | IO[bytes],
    map_location: MapLocation = None,
    pickle_module: Any = None,
    *,
    weights_only: bool | None = True,
    mmap: bool | None = None,
    encoding: str = "utf-8",
) -> Any:
    """Load what :func:`save`, PyTorch, safetensors or ``numpy.savez`` wrote; the content decides.

    PyTorch's zip files and its older format are both read, without PyTorch. Only tensors, plain
    containers, numbers and strings are built, whatever ``weights_only`` and ``pickle_module`` say.
    ``map_location``: tensors go to this device (default: the CPU, also those that were saved from a
    GPU); a dict gives the device for "cpu" or "cuda:0" of the file; a function stands for the CPU,
    as in ``lambda storage, location: storage``. ``encoding`` is that of strings in files of
    Python 2. ``mmap`` is accepted; the file is read.

    Errors: :class:`CheckpointError` for a damaged file, for one that is no checkpoint, and for one
    that holds anything else (its name is said); OSError if the file cannot be read. Cost: one pass
    over the file; .pt files need the memory of their tensors, .safetensors and .npz twice that.
    """
    place = _placement(map_location)
    if isinstance(f, (str, os.PathLike)):
        with Path(f).open("rb") as file:
            return _read(file, os.fspath(f), place, encoding)
    data = f.read()
    if not isinstance(data, bytes):
        raise TypeError("load() needs a file opened in binary mode: open(name, 'rb')")
    return _read(BytesIO(data), str(getattr(f, "name", "the file object")), place, encoding)


def _placement(map_location: MapLocation) -> Callable[[str], Device]:
    """The function from a storage's location in the file to the device that it goes to."""
    if map_location is None or callable(map_location):
        return lambda _: Device("cpu")
    if isinstance(map_location, Mapping):
        return lambda location: Device(map_location.get(location, "cpu"))
    device = Device(map_location)
    return lambda _: device


def _read(file: IO[bytes], name: str, place: Callable[[str], Device], encoding: str) -> Any:
    """Read a checkpoint; whatever goes wrong in it becomes one CheckpointError with its name."""
    try:
        return _dispatch(file, place, encoding)
    except CheckpointError as error:
        raise CheckpointError(f"cannot load {name}: {error}") from error.__cause__
    except MemoryError:
        raise
    except Exception as error:  # damaged bytes can fail any check of any parser
        raise CheckpointError(
            f"cannot load {name}: the file is damaged or cut short"
            f" ({type(error).__name__}: {error}); nothing was loaded. Get or write it again."
        ) from error


def _dispatch(file: IO[bytes], place: Callable[[str], Device], encoding: str) -> Any:
    """Find out the format from the first bytes and read the file."""
    from . import array_formats, torch_reader

    head = file.read(512)
    file.seek(0)
    if head[:4] in (b"PK\x03\x04", b"PK\x05\x06"):
        size = file.seek(0, os.SEEK_END)
        with zipfile.ZipFile(file) as archive:
            _check_count(archive, file, size)
            if all(name.endswith(".npy") for name in archive.namelist()):
                return array_formats.read_npz(archive, size, place("cpu"))
            return torch_reader.read_zip(archive, size, place, encoding)
    if head[8:9] == b"{" and int.from_bytes(head[:8], "little") < 10**8:
        return array_formats.read_safetensors(file.read(), place("cpu"))
    if head[:1] == b"\x80":
        return torch_reader.read_legacy(file.read(), place, encoding)
    if head[257:262] == b"ustar":
        raise CheckpointError(
            "it is of PyTorch's first format (a tar archive, before 2017): load it with PyTorch and"
            " save it again"
        )
    if head.startswith(b"version https://git-lfs"):
        raise CheckpointError("it is a Git LFS pointer, not the file itself: run git lfs pull")
    what = "it is empty" if not head else f"it starts with {head[:8]!r}"
    raise CheckpointError(f"{what}: neither PyTorch's format nor .safetensors nor .npz")


def _check_count(archive: zipfile.ZipFile, file: IO[bytes], size: int) -> None:
    """Compare the directory's length with the count at the end of the file; ``zipfile`` does not,
    and would take damage to the directory for an archive of fewer members."""
    file.seek(size - 22 - len(archive.comment) + 10)
    count = int.from_bytes(file.read(2), "little")
    if count not in (0xFFFF, len(archive.namelist())):  # 0xFFFF: more than two bytes can count
        raise CheckpointError("the directory of the zip file is damaged")
