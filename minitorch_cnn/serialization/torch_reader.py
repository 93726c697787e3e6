"""Reading PyTorch's checkpoint files (.pt, .pth) without PyTorch.

A file since 2020 is a zip archive, nothing in it compressed::

    archive/data.pkl    a pickle: the objects, tensors as (storage key, offset, size, stride)
    archive/data/0      the bytes of storage 0, and so on
    archive/byteorder   "little" or "big"

A file of 2017 to 2020 ("legacy") is a sequence: three pickles that identify it, the pickle of the
objects, the list of storage keys, and each storage's length and bytes.
"""

from __future__ import annotations

import math
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from typing import IO, Any, Literal

import numpy as np
from numpy.typing import NDArray

from .. import dtypes
from ..device import device as Device
from ..size import Size
from ..tensor import Tensor
from .errors import STATE_DICT_HINT, CheckpointError
from .pickle_reader import CONTAINERS, Build, read_pickle

Array = NDArray[Any]
Placement = Callable[[str], Device]  # from a location in the file to the device to use

LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_LEGACY_PROTOCOL = 1001

STORAGE_DTYPES: dict[str, np.dtype[Any]] = {
    "FloatStorage": np.dtype("f4"),
    "DoubleStorage": np.dtype("f8"),
    "HalfStorage": np.dtype("f2"),
    "BFloat16Storage": dtypes.BFLOAT16,
    "LongStorage": np.dtype("i8"),
    "IntStorage": np.dtype("i4"),
    "ShortStorage": np.dtype("i2"),
    "CharStorage": np.dtype("i1"),
    "ByteStorage": np.dtype("u1"),
    "BoolStorage": np.dtype("?"),
}


class Storage:
    """One block of memory of the file; several tensors may be views of it."""

    def __init__(self, kind: str, numel: int, order: str) -> None:
        dtype = STORAGE_DTYPES[kind]
        self.array: Array = np.empty(numel, dtype)
        # NumPy cannot swap the bytes of bfloat16, but of integers.
        self.numbers = self.array.view(np.uint16) if dtype == dtypes.BFLOAT16 else self.array
        self.stored = self.numbers.dtype.newbyteorder("<" if order == "little" else ">")

    def fill(self, read_into: Callable[[memoryview], int], kind: str) -> None:
        """Read the storage's bytes into ``array``, swapping foreign ones."""
        plain = self.stored.isnative
        raw = self.array if plain else np.empty(len(self.array), self.stored)
        if raw.nbytes and read_into(raw.view(np.uint8).data) != raw.nbytes:
            raise CheckpointError(f"{kind} is shorter than its tensors need: the file is truncated")
        if not plain:
            self.numbers[...] = raw
        if self.array.dtype == np.bool_ and (self.array.view(np.uint8) > 1).any():
            raise CheckpointError(f"{kind} is of booleans and holds bytes other than 0 and 1")


@dataclass(frozen=True)
class Stored:
    """What a pickle's mention of a storage stands for: (part of) its memory and its device."""

    array: Array
    location: str


class _Storages:
    """The storages by key. They are made when the pickle first mentions them, at most as many bytes
    in all as the file has (a lying length must not allocate), and filled by the file's reader."""

    def __init__(self, file_bytes: int, order: Literal["little", "big"]) -> None:
        self.by_key: dict[str, Storage] = {}
        self.budget = file_bytes
        self.order = order

    def get(self, persistent_id: tuple[Any, ...]) -> Stored:
        """``("storage", kind, key, location, numel)``; files of 2017 add (key, offset, numel) of a
        part of it, or None."""
        tag, kind, key, location, numel, *part = persistent_id
        if tag != "storage" or not isinstance(kind, str) or not isinstance(key, str):
            raise CheckpointError(
                f"it holds a {tag!r} record, which is not a tensor's: {STATE_DICT_HINT}"
            )
        storage = self.by_key.get(key)
        if storage is None:
            size = STORAGE_DTYPES[kind].itemsize
            if not 0 <= numel * size <= self.budget:
                raise CheckpointError(f"its storage {key!r} claims {numel} elements")
            self.budget -= numel * size
            storage = self.by_key[key] = Storage(kind, numel, self.order)
        if len(storage.array) != numel:
            raise CheckpointError(f"its storage {key!r} is mentioned with two different lengths")
        if not part or part[0] is None:
            return Stored(storage.array, location)
        _, start, count = part[0]
        if not 0 <= start <= start + count <= numel:
            raise CheckpointError(f"a part of storage {key!r} lies outside it")
        return Stored(storage.array[start : start + count], location)


def _tensor_builders(place: Placement) -> dict[str, Build]:
    """The functions that a pickle of tensors may call, under PyTorch's names for them."""

    def rebuild_tensor(
        stored: Stored, offset: int, size: tuple[int, ...], stride: tuple[int, ...]
    ) -> Tensor:
        if not isinstance(stored, Stored):
            raise CheckpointError("a tensor has no storage")
        tensor = Tensor._wrap(_strided(stored.array, offset, size, stride))
        device = place(stored.location)
        return tensor if device.type == "cpu" else tensor.to(device)

    def rebuild_tensor_v2(
        stored: Stored,
        offset: int,
        size: tuple[int, ...],
        stride: tuple[int, ...],
        requires_grad: bool = False,
        hooks: object = None,
        metadata: object = None,
    ) -> Tensor:
        tensor = rebuild_tensor(stored, offset, size, stride)
        return tensor.requires_grad_() if requires_grad else tensor

    def parameter(data: Tensor, requires_grad: bool = True, hooks: object = None) -> Tensor:
        from ..nn.parameter import Parameter

        if not isinstance(data, Tensor):
            raise CheckpointError("a parameter has no tensor")
        made: Tensor = Parameter(data, requires_grad=bool(requires_grad))
        return made

    return {
        "torch._utils._rebuild_tensor": rebuild_tensor,
        "torch._utils._rebuild_tensor_v2": rebuild_tensor_v2,
        "torch._utils._rebuild_parameter": parameter,
        "torch.nn.parameter.Parameter": parameter,
        "torch.Size": lambda sizes: Size(int(n) for n in sizes),
        "torch.device": Device,
        **CONTAINERS,
    }


def _strided(array: Array, offset: int, size: Any, stride: Any) -> Array:
    """The view of a storage with this offset, size and stride, counted in elements."""
    numbers = (offset, *size, *stride)
    if len(size) != len(stride) or not all(type(n) is int and n >= 0 for n in numbers):
        raise CheckpointError(f"a tensor has offset {offset}, size {size} and stride {stride}")
    if math.prod(size) == 0:
        return np.empty(size, array.dtype)
    last = offset + sum((n - 1) * s for n, s in zip(size, stride, strict=True))
    if last >= len(array):
        raise CheckpointError(
            f"a tensor of size {tuple(size)}, stride {tuple(stride)} and offset {offset} reaches"
            f" element {last} of a storage of {len(array)}"
        )
    item = array.itemsize
    return np.ndarray(size, array.dtype, array, offset * item, [s * item for s in stride])


_CONSTANTS: dict[str, Any] = {
    **{f"torch.{kind}": kind for kind in STORAGE_DTYPES},
    **{f"torch.cuda.{kind}": kind for kind in STORAGE_DTYPES},
    **{repr(d): d for d in dtypes.ALL},
}


def read_zip(archive: zipfile.ZipFile, file_bytes: int, place: Placement, encoding: str) -> Any:
    """Read a zip checkpoint. Time: one pass over the file; memory: the tensors, once."""
    members = archive.infolist()
    root = _root(archive)
    if any(m.compress_type != zipfile.ZIP_STORED for m in members):
        raise CheckpointError("it is a compressed zip; PyTorch's files are stored as they are")
    # Without compression, more content than file means that members overlap: a zip bomb.
    if sum(m.file_size for m in members) > file_bytes:
        raise CheckpointError("the sizes of its records add up to more than the file")
    stated = f"{root}byteorder" in archive.namelist()
    order = archive.read(f"{root}byteorder") if stated else b"little"
    if order not in (b"little", b"big"):
        raise CheckpointError(f"its byte order is {order!r}; it can be little or big")
    storages = _Storages(file_bytes, "little" if order == b"little" else "big")

    def load_storage(persistent_id: tuple[Any, ...]) -> Stored:
        before = len(storages.by_key)
        stored = storages.get(persistent_id)
        if len(storages.by_key) > before:
            key = persistent_id[2]
            _fill_from(archive, f"{root}data/{key}", storages.by_key[key])
        return stored

    pickled = BytesIO(archive.read(f"{root}data.pkl"))
    return read_pickle(pickled, _tensor_builders(place), _CONSTANTS, load_storage, encoding)


def _fill_from(archive: zipfile.ZipFile, name: str, storage: Storage) -> None:
    """Read a storage from the member of that name, which must have just its length."""
    wanted = storage.array.size * storage.stored.itemsize
    try:
        member = archive.getinfo(name)
    except KeyError:
        raise CheckpointError(f"record {name} is missing") from None
    if member.file_size != wanted:
        raise CheckpointError(f"record {name} does not have the {wanted} bytes it must")
    with archive.open(member) as record:
        storage.fill(partial(_read_fully, record), f"record {name}")


def _root(archive: zipfile.ZipFile) -> str:
    """The directory that all records of the archive are in ("archive/", or the file's stem)."""
    names = archive.namelist()
    for name in names:
        if name.endswith("/constants.pkl") or "/code/" in name:
            raise CheckpointError(
                "it is a TorchScript archive (a program, not only tensors): load it with"
                " torch.jit.load and save its state_dict()"
            )
    roots = [name.removesuffix("data.pkl") for name in names if name.endswith("/data.pkl")]
    if len(roots) != 1:
        raise CheckpointError("it is a zip file, but not one that torch.save wrote: no data.pkl")
    return roots[0]


def _read_fully(record: IO[bytes], view: memoryview) -> int:
    """Fill the view from a zip member, to its very end, where the member's CRC is checked."""
    done = 0
    while done < len(view) and (n := record.readinto(view[done:])):  # type: ignore[attr-defined]
        done += n
    return done if not record.read(1) else -1


def read_legacy(data: bytes, place: Placement, encoding: str) -> Any:
    """Read a checkpoint of before the zip format. Memory: the file's bytes and the tensors."""
    file = BytesIO(data)

    def next_pickle(place: Placement = lambda _: Device("cpu"), storages: Any = None) -> Any:
        load_storage = storages.get if storages else _no_storage
        return read_pickle(file, _tensor_builders(place), _CONSTANTS, load_storage, encoding)

    if next_pickle() != LEGACY_MAGIC:
        raise CheckpointError("it is a pickle, but not one that torch.save wrote")
    protocol, system = next_pickle(), next_pickle()
    if protocol != _LEGACY_PROTOCOL:
        raise CheckpointError(f"its format version is {protocol}, not {_LEGACY_PROTOCOL}")
    storages = _Storages(len(data), "little" if system["little_endian"] else "big")
    # The storages stand after the objects that use them, and only the objects tell their dtypes:
    # read the objects twice, first for the storages.
    start = file.tell()
    next_pickle(storages=storages)
    keys = next_pickle()
    if sorted(keys) != sorted(storages.by_key):
        raise CheckpointError("its list of storages does not match its tensors")
    for key in keys:
        storage = storages.by_key[key]
        numel = int.from_bytes(file.read(8), storages.order)
        if numel != len(storage.array):
            raise CheckpointError(
                f"its storage {key!r} has {numel} elements instead of {len(storage.array)}"
            )
        storage.fill(file.readinto, f"storage {key!r}")
    file.seek(start)
    return next_pickle(place, storages)


def _no_storage(_: tuple[Any, ...]) -> Any:
    raise CheckpointError("its header refers to a tensor")
