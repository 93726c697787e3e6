"""Writing PyTorch's zip format: what ``torch.load(weights_only=True)`` reads.

The layout is described in :mod:`.torch_reader`. The pickle is emitted here opcode by opcode,
because Python's pickler would want to import the torch functions that it names.
"""

from __future__ import annotations

import pickle
import struct
import sys
import zipfile
from collections import Counter, OrderedDict, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import IO, Any

import numpy as np
from numpy.lib.array_utils import byte_bounds
from numpy.typing import NDArray

from ..device import device as Device
from ..dtypes import dtype as DType
from ..size import Size
from ..tensor import Tensor
from .torch_reader import STORAGE_DTYPES

Array = NDArray[Any]

_KINDS = {dtype: kind for kind, dtype in STORAGE_DTYPES.items()}
_ALIGNMENT = 64
_MAX_DEPTH = 200

_MAPPINGS = (dict, defaultdict, Counter)
_SCALARS = (str, int, float, bool, bytes, type(None), DType, Device)


def write_zip(obj: Any, file: IO[bytes], name: str) -> None:
    """Write ``obj`` to a file, from its position 0 on, in PyTorch's zip format.

    ``name`` becomes the directory inside the archive. Nothing is written if ``obj`` holds something
    that is not allowed (TypeError). Tensors that overlap in memory share a storage in the file too.
    """
    storages, places = _plan_storages(_tensors(obj, "the object", 0))
    program = _Program(places).dump(obj)
    records: list[tuple[str, bytes | memoryview]] = [
        ("data.pkl", program),
        (".format_version", b"1"),
        (".storage_alignment", str(_ALIGNMENT).encode()),
        ("byteorder", sys.byteorder.encode()),
        *((f"data/{key}", storage.view(np.uint8).data) for key, storage in enumerate(storages)),
        ("version", b"3\n"),
    ]
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for record_name, data in records:
            info = zipfile.ZipInfo(f"{name}/{record_name}")
            info.file_size = len(data)
            info.extra = _padding(file.tell(), info)
            with archive.open(info, "w") as record:
                record.write(data)


def _padding(position: int, info: zipfile.ZipInfo) -> bytes:
    """An extra field for a member's header that puts its data at a multiple of 64 bytes, so that a
    reader may map it into memory as an aligned array."""
    zip64 = 20 if info.file_size * 1.05 > zipfile.ZIP64_LIMIT else 0
    padding = -(position + 30 + len(info.filename.encode()) + zip64 + 4) % _ALIGNMENT
    return struct.pack("<2sH", b"FB", padding) + b"Z" * padding


def _tensors(obj: Any, path: str, depth: int) -> Iterator[Tensor]:
    """Each tensor in ``obj``; TypeError names the place of what cannot be saved."""
    if depth > _MAX_DEPTH:
        raise TypeError(f"cannot save {path[:60]}...: nested more than {_MAX_DEPTH} deep")
    kind = type(obj)
    if isinstance(obj, Tensor):
        from ..nn.parameter import is_lazy

        if is_lazy(obj):
            raise TypeError(f"cannot save {path}: it has no shape yet; run one forward pass first")
        dtype = np.dtype(obj.array.dtype)
        if dtype.newbyteorder("=") not in _KINDS:
            raise TypeError(f"cannot save {path}: PyTorch's files have no dtype {dtype}")
        yield obj
    elif kind in _MAPPINGS or isinstance(obj, OrderedDict):
        for key, value in obj.items():
            _check_key(key, path)
            yield from _tensors(value, f"{path}[{key!r}]", depth + 1)
        yield from _tensors(getattr(obj, "_metadata", None), f"{path}._metadata", depth + 1)
    elif kind is set:
        for key in obj:
            _check_key(key, path)
    elif kind in (list, tuple, Size):
        for i, value in enumerate(obj):
            yield from _tensors(value, f"{path}[{i}]", depth + 1)
    elif kind not in _SCALARS and not _is_numpy_scalar(obj):
        raise TypeError(f"cannot save {path}, a {kind.__name__}: {_advice(obj)}")


def _check_key(key: Any, path: str) -> None:
    """Keys are scalars, or flat tuples of them."""
    for part in key if type(key) is tuple else (key,):
        if type(part) not in _SCALARS and not _is_numpy_scalar(part):
            raise TypeError(f"cannot save {path}: it has a key of type {type(part).__name__}")


def _is_numpy_scalar(obj: Any) -> bool:
    """Whether it has an equal among Python's numbers and strings."""
    return isinstance(obj, (np.bool_, np.integer, np.floating, np.str_)) and not isinstance(
        obj, np.longdouble
    )


def _advice(obj: Any) -> str:
    if isinstance(obj, np.ndarray):
        return "save torch.from_numpy(array)"
    if hasattr(obj, "state_dict"):
        return "save its state_dict(), and load it with load_state_dict()"
    if callable(obj):
        return "code is not saved; save the state_dict and keep the code in a .py file"
    return (
        "only tensors, numbers, strings, None and dicts, lists, tuples and sets of them are saved,"
        " as in a state_dict"
    )


@dataclass
class _Span:
    """An array to be stored and the bytes of memory that it lies in."""

    identity: int
    array: Array
    low: int
    high: int


@dataclass(frozen=True)
class _Place:
    """Where in the file an array is: a storage, and the first element and strides in it."""

    key: int
    numel: int
    offset: int
    array: Array


def _plan_storages(tensors: Iterable[Tensor]) -> tuple[list[Array], dict[int, _Place]]:
    """The storages to write, and for each tensor's id its place in them.

    Tensors of one dtype whose bytes overlap go into one storage, so that they share memory again
    when loaded. It spans just their bytes, not the larger block that they may be cut from, and a
    view with gaps that nothing else overlaps is stored without the gaps.
    """
    groups: list[list[_Span]] = []
    high = 0
    for span in sorted(_spans(tensors), key=lambda s: (s.array.dtype.char, s.low, s.high)):
        first = groups[-1][0] if groups else span
        if (
            groups
            and span.array.dtype == first.array.dtype
            and span.low < high
            and (span.low - first.low) % span.array.itemsize == 0
        ):
            groups[-1].append(span)
            high = max(high, span.high)
        else:
            groups.append([span])
            high = span.high

    storages: list[Array] = []
    places: dict[int, _Place] = {}
    for group in groups:
        first = group[0]
        item = first.array.itemsize
        numel = (max(span.high for span in group) - first.low) // item
        if len(group) == 1 and numel > first.array.size:
            first.array = np.ascontiguousarray(first.array)
            numel = first.array.size
        for span in group:
            offset = (span.low - first.low) // item
            places[span.identity] = _Place(len(storages), numel, offset, span.array)
        storages.append(np.lib.stride_tricks.as_strided(first.array, (numel,), (item,)))
    return storages, places


def _spans(tensors: Iterable[Tensor]) -> Iterator[_Span]:
    """Each array once, as PyTorch can describe it: native bytes, whole strides, none negative."""
    for identity, tensor in {id(t): t for t in tensors}.items():
        array = host_array(tensor)
        fits = all(s >= 0 and s % array.itemsize == 0 for s in array.strides)
        if not fits or not array.dtype.isnative:
            array = array.astype(array.dtype.newbyteorder("="), order="C")
        low, high = byte_bounds(array) if array.size else (0, 0)
        yield _Span(identity, array, low, high)


def host_array(tensor: Tensor) -> Array:
    """The tensor's elements in the computer's memory: its own array, unless it is on a GPU."""
    array: Array = tensor.array if isinstance(tensor.array, np.ndarray) else tensor.cpu().array
    return array


class _Program:
    """The pickle (protocol 2) of one object."""

    def __init__(self, places: dict[int, _Place]) -> None:
        self.places = places
        self.out = bytearray()
        self.memo: dict[int, tuple[int, Any]] = {}  # holds the objects too: an id is theirs alone

    def dump(self, obj: Any) -> bytes:
        """The whole program: header, the object, stop."""
        self.out += pickle.PROTO + b"\x02"
        self.put(obj)
        self.out += pickle.STOP
        return bytes(self.out)

    def put(self, obj: Any) -> None:
        """Emit what pushes ``obj``; a container or tensor met before is fetched: it stays one."""
        if isinstance(obj, np.generic):
            obj = obj.item()
        if obj is None:
            self.out += pickle.NONE
        elif isinstance(obj, bool):
            self.out += pickle.NEWTRUE if obj else pickle.NEWFALSE
        elif isinstance(obj, int):
            self.put_int(obj)
        elif isinstance(obj, float):
            self.out += pickle.BINFLOAT + struct.pack(">d", obj)
        elif isinstance(obj, str):
            text = obj.encode("utf-8", "surrogatepass")
            self.out += pickle.BINUNICODE + struct.pack("<I", len(text)) + text
        elif isinstance(obj, bytes):
            self.call("_codecs.encode", obj.decode("latin-1"), "latin1")
        elif isinstance(obj, DType):
            self.put_name(repr(obj))
        elif isinstance(obj, Device):
            self.call("torch.device", str(obj))
        elif id(obj) in self.memo:
            self.out += pickle.LONG_BINGET + struct.pack("<I", self.memo[id(obj)][0])
        else:
            self.put_object(obj)

    def put_int(self, value: int) -> None:
        """An integer of up to 255 bytes."""
        if 0 <= value < 256:
            self.out += pickle.BININT1 + bytes([value])
        elif -(2**31) <= value < 2**31:
            self.out += pickle.BININT + struct.pack("<i", value)
        else:
            data = pickle.encode_long(value)
            if len(data) > 255:
                raise TypeError("cannot save an integer of more than 255 bytes")
            self.out += pickle.LONG1 + bytes([len(data)]) + data

    def put_object(self, obj: Any) -> None:
        """A container or tensor; lists and dicts are remembered before they are filled."""
        if isinstance(obj, (list, dict)) and not isinstance(obj, Counter):
            if isinstance(obj, OrderedDict):
                self.call("collections.OrderedDict")
            else:
                self.out += pickle.EMPTY_LIST if isinstance(obj, list) else pickle.EMPTY_DICT
            self.remember(obj)
            self.fill(obj)
            return
        if isinstance(obj, Tensor):
            self.put_tensor(obj)
        elif isinstance(obj, Size):
            self.call("torch.Size", tuple(obj))
        elif isinstance(obj, tuple):
            self.put_tuple(obj)
        elif isinstance(obj, set):
            self.call("builtins.set", list(obj))
        else:
            self.call("collections.Counter", dict(obj))
        self.remember(obj)

    def fill(self, obj: list[Any] | dict[Any, Any]) -> None:
        """The content of a list or dict, and the ``_metadata`` that Module.state_dict() adds."""
        self.out += pickle.MARK
        for item in obj:
            self.put(item)
            if isinstance(obj, dict):
                self.put(obj[item])
        self.out += pickle.SETITEMS if isinstance(obj, dict) else pickle.APPENDS
        metadata = getattr(obj, "_metadata", None)
        if metadata is not None:
            self.put({"_metadata": metadata})
            self.out += pickle.BUILD

    def put_tuple(self, items: tuple[Any, ...]) -> None:
        """A tuple, after its items."""
        self.out += pickle.MARK
        for item in items:
            self.put(item)
        self.out += pickle.TUPLE

    def put_tensor(self, tensor: Tensor) -> None:
        """A tensor, as calls of PyTorch's rebuilding functions on a storage of the file."""
        from ..nn.parameter import Parameter

        is_parameter = isinstance(tensor, Parameter)
        if is_parameter:
            self.put_name("torch._utils._rebuild_parameter")
            self.out += pickle.MARK
        place = self.places[id(tensor)]
        self.put_name("torch._utils._rebuild_tensor_v2")
        self.out += pickle.MARK + pickle.MARK
        self.put("storage")
        self.put_name(f"torch.{_KINDS[place.array.dtype]}")
        for item in (str(place.key), "cpu", place.numel):
            self.put(item)
        self.out += pickle.TUPLE + pickle.BINPERSID
        self.put(place.offset)
        self.put_tuple(place.array.shape)
        self.put_tuple(tuple(s // place.array.itemsize for s in place.array.strides))
        self.put(tensor.requires_grad and not is_parameter)
        self.call("collections.OrderedDict")
        self.out += pickle.TUPLE + pickle.REDUCE
        if is_parameter:
            self.put(tensor.requires_grad)
            self.call("collections.OrderedDict")
            self.out += pickle.TUPLE + pickle.REDUCE

    def call(self, name: str, *arguments: Any) -> None:
        """A call of one of the allowed names."""
        self.put_name(name)
        self.put_tuple(arguments)
        self.out += pickle.REDUCE

    def put_name(self, path: str) -> None:
        """The name of a function or constant of PyTorch or the standard library."""
        module, _, name = path.rpartition(".")
        self.out += pickle.GLOBAL + f"{module}\n{name}\n".encode("ascii")

    def remember(self, obj: Any) -> None:
        """Give the object on top of the stack a number to fetch it by."""
        index = len(self.memo)
        self.memo[id(obj)] = index, obj
        self.out += pickle.LONG_BINPUT + struct.pack("<I", index)
