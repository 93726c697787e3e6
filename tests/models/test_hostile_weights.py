"""Hostile, lying and damaged files as ``weights=``: a clear error, nothing run, nothing changed."""

from __future__ import annotations

import io
import json
import os
import pickle
import struct
import time
import zipfile
import zlib
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from hypothesis import given

from minitorch_cnn import nn
from minitorch_cnn.models.weights import read_state_dict
from minitorch_cnn.serialization import CheckpointError

from ..peak import peak_memory
from .tiny import Builder, network, tiny_architecture, trained, written

__all__ = ["tiny_architecture"]  # a fixture, found by pytest under its name "tiny"


class Run:
    """Pickles as a call."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.reduced = function, arguments

    def __reduce__(self) -> tuple[Any, ...]:
        return self.reduced


def tricky(body: bytes) -> bytes:
    """A file of torch.save's whose pickle is these opcodes."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("net/data.pkl", b"\x80\x02" + body + b".")
        archive.writestr("net/version", b"3\n")
        archive.writestr("net/data/0", bytes(16))
    return file.getvalue()


def saved(obj: Any) -> bytes:
    file = io.BytesIO()
    torch.save(obj, file)
    return file.getvalue()


TOUCH = Run(os.system, "touch HIT")
HOSTILE = {
    "alone": saved(TOUCH),
    "in a state dict": saved({**trained().state_dict(), "fc.bias": TOUCH}),
    "as a key": saved({"state_dict": {Run(str, "x"): torch.zeros(1)}}),
    "deep in a checkpoint": saved({"state_dict": trained().state_dict(), "args": [{1: (TOUCH,)}]}),
    "beside good weights": saved({"model": trained().state_dict(), "optimizer": TOUCH}),
    "a plain pickle": pickle.dumps({"state_dict": TOUCH}),
    "legacy": b"".join(pickle.dumps(h, 2) for h in (0x1950A86A20F9469CFC6C, 1001, TOUCH)),
    "exec": saved(Run(exec, "open('HIT', 'w')")),
    "import": saved(Run(__import__, "antigravity")),
    "name with a space": tricky(b"cposix system\n\n(X\x09\x00\x00\x00touch HITtR"),
    "name with dots": tricky(b"ctorch._utils\nos.system\n(X\x09\x00\x00\x00touch HITtR"),
    "attribute of a module": tricky(b"ctorch\n_utils.os.system\n(X\x09\x00\x00\x00touch HITtR"),
    "inherited attribute": tricky(b"ccollections\nOrderedDict.__subclasses__\n)R"),
    "INST": tricky(b"(X\x09\x00\x00\x00touch HITiposix\nsystem\n"),
    "names from the stack": tricky(
        b"X\x05\x00\x00\x00posixX\x06\x00\x00\x00system\x93(X\x09\x00\x00\x00touch HITtR"
    ),
    "constant called": tricky(b"ctorch\nFloatStorage\n(K\x04tR"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files_run_nothing(
    tiny: Builder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("net.pth").write_bytes(HOSTILE[name])
    with pytest.raises(CheckpointError, match=r"cannot load net\.pth: "):
        tiny(weights="net.pth")
    assert [path.name for path in tmp_path.iterdir()] == ["net.pth"]


def safetensors(header: Any, body: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + body


def entry(shape: list[int], start: int, end: int, dtype: str = "F32") -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}


def npy_head(shape: Any) -> bytes:
    text = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text) + 1) + text.encode() + b"\n"


def npz(shape: Any, body: bytes, compression: int = zipfile.ZIP_STORED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        archive.writestr("w.npy", npy_head(shape) + body)
    return file.getvalue()


def bomb() -> bytes:
    """An .npz of 1.5 MB with 1.5 GB of zeros inside: one compressed block, many times."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    head = npy_head((90 * 2**22,))
    start, block = (
        packer.compress(part) + packer.flush(zlib.Z_FULL_FLUSH) for part in (head, bytes(2**24))
    )
    stream, size = start + block * 90 + b"\x03\x00", len(head) + 90 * 2**24
    name = b"w.npy"
    common = struct.pack("<HHHHIIIHH", 0, 8, 0, 0, 0, len(stream), size, len(name), 0)
    local = b"PK\x03\x04\x14\x00" + common + name + stream
    directory = b"PK\x01\x02\x14\x00\x14\x00" + common + struct.pack("<HHHII", 0, 0, 0, 0, 0) + name
    return local + directory + struct.pack(
        "<4sHHHHIIH", b"PK\x05\x06", 0, 0, 1, 1, len(directory), len(local), 0
    )  # fmt: skip


FLOATS = bytes(16)
GREEDY = {
    "giant shape": safetensors({"w": entry([2**40], 0, 16)}, FLOATS),
    "shape that overflows": safetensors({"w": entry([2**32, 2**32], 0, 16)}, FLOATS),
    "negative shape": safetensors({"w": entry([-4], 0, 16)}, FLOATS),
    "offsets beyond the end": safetensors({"w": entry([2**30], 0, 2**32)}, FLOATS),
    "offsets backwards": safetensors({"w": entry([4], 16, 0)}, FLOATS),
    "overlapping tensors": safetensors({"v": entry([4], 0, 16), "w": entry([4], 0, 16)}, FLOATS),
    "a gap": safetensors({"v": entry([1], 0, 4), "w": entry([1], 12, 16)}, FLOATS),
    "unknown type": safetensors({"w": entry([4], 0, 16, "Q4")}, FLOATS),
    "header of terabytes": struct.pack("<Q", 2**40) + b"{}",
    "header cut": safetensors({"w": entry([4], 0, 16)})[:20],
    "deep header": safetensors(b'{"a":' * 50_000 + b"1" + b"}" * 50_000),
    "npz of a giant shape": npz((2**40,), FLOATS),
    "npz of a negative shape": npz((-4,), FLOATS),
    "npz of a shape that overflows": npz((2**32, 2**32), FLOATS),
    "npz that lies about a bomb": npz((2**29,), bytes(2**24), zipfile.ZIP_DEFLATED),
    "npz that is a bomb": bomb(),
}


@pytest.mark.parametrize("name", GREEDY)
def test_lying_files_cost_neither_memory_nor_time(tiny: Builder, tmp_path: Path, name: str) -> None:
    path = tmp_path / "net.bin"
    path.write_bytes(GREEDY[name])
    started = time.perf_counter()
    with peak_memory() as peak, pytest.raises(CheckpointError, match=r"net\.bin"):
        tiny(weights=path)
    assert peak.nbytes < 2**26
    assert time.perf_counter() - started < 10


def test_tensors_that_repeat_one_element_cost_nothing(tiny: Builder, tmp_path: Path) -> None:
    """A stride of 0 makes a giant of one number; it is a view, and then a misfit."""
    state = {**trained().state_dict(), "fc.weight": torch.zeros(1).expand(2**20, 2**12)}
    torch.save(state, tmp_path / "net.pth")
    with peak_memory() as peak, pytest.raises(RuntimeError, match=r"fc\.weight"):
        tiny(weights=tmp_path / "net.pth")
    assert peak.nbytes < 2**24


def test_overlapping_storages_are_read_as_they_are(tiny: Builder, tmp_path: Path) -> None:
    """Views of one storage in the file become weights of their own in the network."""
    block = torch.rand(4, 4, 3, 3)
    state = trained().state_dict()
    state["conv.weight"], state["fc.weight"] = block[:, 1:], block.reshape(-1)[2:42].view(10, 4)
    torch.save(state, tmp_path / "net.pth")
    ours = tiny(weights=tmp_path / "net.pth")
    np.testing.assert_array_equal(ours.conv.weight.array, block[:, 1:].numpy())
    np.testing.assert_array_equal(ours.fc.weight.array, block.reshape(-1)[2:42].view(10, 4))
    assert not np.shares_memory(ours.conv.weight.array, ours.fc.weight.array)


def _formats() -> dict[str, bytes]:
    theirs, ours = trained(), network(nn)
    files = {
        "pth": written(theirs),
        "legacy": written(theirs, _use_new_zipfile_serialization=False),
    }
    ours.load_state_dict(theirs.state_dict())
    arrays = {key: value.array for key, value in ours.state_dict().items()}
    file = io.BytesIO()
    np.savez(file, **arrays)
    files["npz"] = file.getvalue()
    from safetensors.numpy import save

    files["safetensors"] = save({key: np.ascontiguousarray(a) for key, a in arrays.items()})
    return files


FILES = _formats()
CHECKED = ("pth", "npz")  # a zip file's CRC notices damage; the other two cannot, in the numbers


def load_damaged(kind: str, data: bytes, path: Path) -> None:
    """Either a clear error, or the right shapes, and the right numbers where they are checked."""
    path.write_bytes(data)
    try:
        state = read_state_dict(path)
    except CheckpointError as error:
        assert path.name in str(error)  # noqa: PT017  # any other exception fails the test
        return
    if kind in CHECKED:
        want = trained().state_dict()
        assert list(state) == list(want)
        for key, value in want.items():
            np.testing.assert_array_equal(state[key].array, value.numpy())
    net = network(nn)
    before = {key: value.array.copy() for key, value in net.state_dict().items()}
    try:
        net.load_state_dict(state)
    except RuntimeError:
        for key, value in net.state_dict().items():
            np.testing.assert_array_equal(value.array, before[key])


@pytest.mark.parametrize("kind", FILES)
def test_files_cut_short_anywhere(kind: str, tmp_path: Path) -> None:
    whole = FILES[kind]
    for length in range(0, len(whole), 7):
        path = tmp_path / "cut"
        path.write_bytes(whole[:length])
        with pytest.raises(CheckpointError):
            read_state_dict(path)


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("damaged") / "net.bin"


@given(kind=st.sampled_from(sorted(FILES)), data=st.data())
def test_changed_bytes(file: Path, kind: str, data: st.DataObject) -> None:
    damaged = bytearray(FILES[kind])
    place = st.integers(0, len(damaged) - 1)
    changes = st.tuples(place, st.integers(1, 255))
    for at, mask in data.draw(st.lists(changes, min_size=1, max_size=4)):
        damaged[at] ^= mask
    load_damaged(kind, bytes(damaged), file)


@given(kind=st.sampled_from(sorted(FILES)), data=st.data())
def test_pieces_left_out_doubled_or_zeroed(file: Path, kind: str, data: st.DataObject) -> None:
    whole = FILES[kind]
    start, end = sorted(data.draw(st.tuples(*[st.integers(0, len(whole))] * 2)))
    for middle in (b"", whole[start:end] * 2, bytes(end - start)):
        load_damaged(kind, whole[:start] + middle + whole[end:], file)
