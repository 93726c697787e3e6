""".safetensors and .npz, against the safetensors library with PyTorch and against NumPy."""

from __future__ import annotations

import io
import json
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch

import minitorch_cnn as mt
from minitorch_cnn.serialization import CheckpointError, load, save
from minitorch_cnn.tensor import Tensor

DTYPES = ["float16", "float32", "float64", "uint8", "int8", "int16", "int32", "int64", "bool"]


def wrap(array: Any) -> Tensor:
    return Tensor._wrap(np.asarray(array))


def every_kind() -> dict[str, Tensor]:
    base = np.arange(12.0).reshape(3, 4)
    tensors = {dtype: wrap(np.array([[0, 1, 1]], dtype)) for dtype in DTYPES}
    tensors |= {"scalar": wrap(np.array(3, np.int32)), "empty": wrap(np.zeros((0, 2), np.float32))}
    tensors |= {"view": wrap(base[::2, ::-1]), "t": wrap(base.T), "big": wrap(base.astype(">f8"))}
    return tensors | {"file": wrap(base), "a/b é": wrap(base), "allow_pickle": wrap(base)}


@pytest.mark.parametrize("suffix", [".safetensors", ".npz"])
def test_what_is_saved_is_loaded_and_is_its_own_memory(suffix: str, tmp_path: Path) -> None:
    tensors = every_kind()
    save(tensors, tmp_path / f"net{suffix}")
    ours = load(tmp_path / f"net{suffix}")
    assert set(ours) == set(tensors)
    for name, tensor in tensors.items():
        native = tensor.array.astype(tensor.array.dtype.newbyteorder("="))
        np.testing.assert_array_equal(ours[name].array, native, strict=True)
        assert ours[name].array.flags.writeable
    ours["file"].array[...] = -1
    assert (ours["allow_pickle"].array >= 0).all()


def test_other_software_reads_what_is_saved(tmp_path: Path) -> None:
    tensors = every_kind()
    save(tensors, tmp_path / "net.safetensors")
    theirs = safetensors.torch.load_file(tmp_path / "net.safetensors")
    save(tensors, tmp_path / "net.npz")
    with np.load(tmp_path / "net.npz", allow_pickle=False) as numpys:
        for name, tensor in tensors.items():
            np.testing.assert_array_equal(theirs[name].numpy(), tensor.array)
            np.testing.assert_array_equal(numpys[name], tensor.array)


def test_reads_what_torch_saved_as_safetensors(tmp_path: Path) -> None:
    theirs = {d: torch.arange(6).reshape(2, 3).to(getattr(torch, d)) for d in DTYPES}
    theirs["bfloat16"] = torch.tensor([1.5, -3e38, float("inf"), float("nan"), 1e-40]).bfloat16()
    safetensors.torch.save_file(theirs, tmp_path / "net.safetensors", {"epoch": "3", "é": "ü"})
    ours = load(tmp_path / "net.safetensors")
    assert ours.metadata == {"epoch": "3", "é": "ü"}
    for name, tensor in theirs.items():
        if name == "bfloat16":
            assert ours[name].dtype == mt.bfloat16
            ours[name], tensor = ours[name].float(), tensor.float()
        np.testing.assert_array_equal(ours[name].array, tensor.numpy(), strict=True)


def test_bfloat16_is_saved_as_safetensors_and_not_as_npz(tmp_path: Path) -> None:
    ours = mt.tensor([1.5, -3e38, float("inf"), float("nan"), 1e-40], dtype=mt.bfloat16)
    save({"w": ours}, tmp_path / "net.safetensors")
    theirs = safetensors.torch.load_file(tmp_path / "net.safetensors")["w"]
    assert theirs.dtype == torch.bfloat16
    np.testing.assert_array_equal(theirs.float().numpy(), ours.float().numpy())
    with pytest.raises(TypeError, match=r"no bfloat16, which \['w'\] is: save it .float\(\)"):
        save({"w": ours}, tmp_path / "net.npz")


def test_safetensors_metadata_is_kept(tmp_path: Path) -> None:
    save({"w": wrap(np.ones(2))}, tmp_path / "a.safetensors")
    ours = load(tmp_path / "a.safetensors")
    assert ours.metadata == {"format": "pt"}
    ours.metadata["epoch"] = "3"
    save(ours, tmp_path / "b.safetensors")
    assert load(tmp_path / "b.safetensors").metadata == {"format": "pt", "epoch": "3"}


@pytest.mark.parametrize("dtype", ["C64", "F8_E4M3", "U16"])
def test_names_a_tensor_of_an_unsupported_dtype(dtype: str) -> None:
    size = {"C64": 8, "F8_E4M3": 1, "U16": 2}[dtype]
    header = json.dumps({"w": {"dtype": dtype, "shape": [1], "data_offsets": [0, size]}}).encode()
    data = struct.pack("<Q", len(header)) + header + bytes(size)
    with pytest.raises(CheckpointError, match=f"tensor 'w' is of {dtype}, which is not supported"):
        load(io.BytesIO(data))


@pytest.mark.parametrize(
    "header",
    {
        "end beyond": {"w": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}},
        "shape too large": {"w": {"dtype": "F32", "shape": [2**60, 2**60], "data_offsets": [0, 4]}},
        "shape negative": {"w": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}},
        "offsets reversed": {"w": {"dtype": "F32", "shape": [1], "data_offsets": [4, 0]}},
        "no dtype": {"w": {"shape": [1], "data_offsets": [0, 4]}},
    }.values(),
    ids=str,
)
def test_lying_safetensors_headers_are_refused(header: Any) -> None:
    text = json.dumps(header).encode()
    with pytest.raises(CheckpointError, match="damaged"):
        load(io.BytesIO(struct.pack("<Q", len(text)) + text + bytes(4)))


@pytest.mark.parametrize("suffix", [".safetensors", ".npz"])
@pytest.mark.parametrize(
    ("obj", "message"),
    [
        ([wrap(np.ones(2))], "holds a dict of tensors, not a list"),
        ({"a": {"w": wrap(np.ones(2))}}, r"not \['a'\], a dict.*\.pt"),
        ({"epoch": 3}, r"not \['epoch'\], a int"),
        ({1: wrap(np.ones(2))}, r"not \[1\], a Tensor"),
    ],
)
def test_only_flat_dicts_fit(obj: Any, message: str, suffix: str, tmp_path: Path) -> None:
    with pytest.raises(TypeError, match=message):
        save(obj, tmp_path / f"net{suffix}")
    assert not list(tmp_path.iterdir())


def test_npz_files_of_numpy_are_read(tmp_path: Path) -> None:
    arrays = {"w": np.zeros((300, 500)), "f": np.asfortranarray(np.arange(6.0).reshape(2, 3))}
    for write in (np.savez, np.savez_compressed):
        write(tmp_path / "net.npz", **arrays)
        ours = load(tmp_path / "net.npz")
        for name, array in arrays.items():
            np.testing.assert_array_equal(ours[name].array, array, strict=True)
    np.savez(tmp_path / "none.npz")
    assert load(tmp_path / "none.npz") == {}


@pytest.mark.parametrize("array", [np.array([{}]), np.array(["a"]), np.zeros(2, "i4,f4"), 1j])
def test_npz_arrays_that_no_tensor_holds_are_refused(array: Any) -> None:
    file = io.BytesIO()
    np.savez(file, w=array)
    file.seek(0)
    with pytest.raises(CheckpointError, match="array 'w'"):
        load(file)


def npz(header: bytes, data: bytes, **options: Any) -> io.BytesIO:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, **options) as archive:
        text = header.ljust(117) + b"\n"
        archive.writestr("w.npy", b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + data)
    file.seek(0)
    return file


@pytest.mark.parametrize("shape", ["(2**40,)", "(1099511627776,)", "(-1,)", "(3,)", "(1,)", "()"])
def test_lying_npz_headers_are_refused(shape: str) -> None:
    header = b"{'descr': '<f4', 'fortran_order': False, 'shape': %s}"
    with pytest.raises(CheckpointError):
        load(npz(header % shape.encode(), bytes(8)))
    assert load(npz(header % b"(2,)", bytes(8)))["w"].shape == (2,)


def test_npz_bombs_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    file = npz(b"{'descr': '|u1', 'fortran_order': False, 'shape': (10,)}", bytes(10))
    real = zipfile.ZipFile.infolist

    def claims_gigabytes(self: zipfile.ZipFile) -> list[zipfile.ZipInfo]:
        members = real(self)
        members[0].file_size = 2**34
        return members

    monkeypatch.setattr(zipfile.ZipFile, "infolist", claims_gigabytes)
    with pytest.raises(CheckpointError, match="would expand from"):
        load(file)
