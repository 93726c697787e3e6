"""The formats for flat dictionaries of named tensors: .safetensors and NumPy's .npz."""

from __future__ import annotations

import json
import math
import zipfile
from collections import OrderedDict
from collections.abc import Mapping
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from ..device import device as Device
from ..dtypes import BFLOAT16, from_numpy_dtype
from ..tensor import Tensor
from .errors import CheckpointError
from .torch_writer import host_array

Array = NDArray[Any]

_SAFETENSORS_DTYPES: dict[str, Any] = {
    "F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "I16": "<i2",
    "I8": "i1", "U8": "u1", "BOOL": "?", "BF16": BFLOAT16,
}  # fmt: skip


class StateDict(OrderedDict[str, Tensor]):
    """Named tensors, with the strings that a .safetensors file keeps beside them."""

    metadata: dict[str, str]


def _named_arrays(obj: Any, suffix: str) -> dict[str, Array]:
    """The arrays of a flat dictionary; TypeError for anything else."""
    if not isinstance(obj, Mapping):
        raise TypeError(f"a {suffix} file holds a dict of tensors, not a {type(obj).__name__}")
    arrays = {}
    for name, value in obj.items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            raise TypeError(
                f"a {suffix} file holds tensors by name, not [{name!r}], a {type(value).__name__}:"
                " save a state_dict, or use a name that ends in .pt"
            )
        array = host_array(value)
        arrays[name] = np.require(array, array.dtype.newbyteorder("="), "C")
    return arrays


def write_safetensors(obj: Any, file: IO[bytes]) -> None:
    """Write a dict of tensors; ``obj.metadata`` (of a dict that was loaded) is kept."""
    from safetensors.numpy import save

    metadata = dict(getattr(obj, "metadata", None) or {"format": "pt"})
    file.write(save(_named_arrays(obj, ".safetensors"), metadata))


def read_safetensors(data: bytes, device: Device) -> StateDict:
    """Read a dict of tensors, and ``metadata`` as an attribute of it."""
    from safetensors import deserialize

    tensors = StateDict()
    for name, entry in deserialize(data):  # type: ignore[no-untyped-call]
        kind = entry["dtype"]
        if kind not in _SAFETENSORS_DTYPES:
            raise CheckpointError(f"its tensor {name!r} is of {kind}, which is not supported")
        array = np.frombuffer(entry["data"], _SAFETENSORS_DTYPES[kind]).reshape(entry["shape"])
        tensors[name] = _tensor(array, device)
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    tensors.metadata = header.get("__metadata__", {})
    return tensors


def write_npz(obj: Any, file: IO[bytes]) -> None:
    """Write a dict of tensors as ``numpy.savez`` does, whatever their names."""
    arrays = _named_arrays(obj, ".npz")
    for name, array in arrays.items():
        if array.dtype == BFLOAT16:  # NumPy would write bytes that it cannot read as numbers
            raise TypeError(
                f"a .npz file has no bfloat16, which [{name!r}] is: save it .float(), or use a"
                " name that ends in .safetensors or .pt"
            )
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        for name, array in arrays.items():
            info = zipfile.ZipInfo(f"{name}.npy")
            with archive.open(info, "w", force_zip64=True) as record:
                np.lib.format.write_array(record, array, allow_pickle=False)


def read_npz(
    archive: zipfile.ZipFile, file_bytes: int, device: Device
) -> OrderedDict[str, Tensor]:
    """Read the arrays of an .npz file; object arrays, which are pickles, are refused."""
    tensors: OrderedDict[str, Tensor] = OrderedDict()
    members = archive.infolist()
    total = sum(member.file_size for member in members)
    # A file of zeros may well shrink a thousandfold; a small file that grows to gigabytes is
    # meant to exhaust the memory.
    if total > max(100 * file_bytes, 2**30):
        raise CheckpointError(f"it would expand from {file_bytes} to {total} bytes")
    for member in members:
        name = member.filename.removesuffix(".npy")
        with archive.open(member) as record:
            shape, fortran, dtype = _npy_header(record)
            try:
                from_numpy_dtype(dtype)
            except TypeError as error:
                raise CheckpointError(f"its array {name!r}: {error}") from None
            data = record.read(member.file_size)
        wanted = math.prod(shape) * dtype.itemsize
        if len(data) != wanted:
            raise CheckpointError(f"its array {name!r} has {len(data)} bytes instead of {wanted}")
        array = np.frombuffer(data, dtype).reshape(shape, order="F" if fortran else "C")
        tensors[name] = _tensor(array, device)
    return tensors


def _tensor(array: Array, device: Device) -> Tensor:
    """A Tensor with memory of its own, in native byte order, on the device."""
    tensor = Tensor._wrap(array.astype(from_numpy_dtype(array.dtype).numpy))
    return tensor if device.type == "cpu" else tensor.to(device)


def _npy_header(record: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Shape, whether in Fortran order, and dtype of an .npy member."""
    version = np.lib.format.read_magic(record)
    if version == (1, 0):
        return np.lib.format.read_array_header_1_0(record)
    return np.lib.format.read_array_header_2_0(record)
