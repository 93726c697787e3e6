"""Damaged and malicious files: they load equal or raise CheckpointError, and nothing runs."""

from __future__ import annotations

import builtins
import contextlib
import functools
import io
import os
import pickle
import struct
import subprocess
import tempfile
import warnings
import zipfile
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from hypothesis import example, given

from minitorch_cnn.serialization import CheckpointError, load, save
from minitorch_cnn.tensor import Tensor

ROOT = "net/"


def archive(data_pkl: bytes, records: dict[str, bytes] | None = None, **zip_options: Any) -> bytes:
    """A zip file like torch.save's around any pickle."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", **zip_options) as packed:
        for name, data in {"data.pkl": data_pkl, "version": b"3\n", **(records or {})}.items():
            # ZipInfo's date is a constant; writestr's own is now, and the bytes would differ.
            entry = zipfile.ZipInfo(ROOT + name)
            packed.writestr(entry, data, compress_type=zip_options.get("compression"))
    return file.getvalue()


def legacy(data_pkl: bytes, byte_order: str = "little_endian") -> bytes:
    """The same in the format before."""
    header = (0x1950A86A20F9469CFC6C, 1001, {byte_order: True})
    return b"".join(pickle.dumps(h, 2) for h in header) + data_pkl + pickle.dumps([], 2)


def push(value: Any) -> bytes:
    """Opcodes that push a plain value."""
    return pickle.dumps(value, 2)[2:-1]


def storage(kind: str = "torch FloatStorage", key: Any = "0", numel: Any = 4) -> bytes:
    name = b"c" + kind.replace(" ", "\n").encode() + b"\n"
    return b"(" + push("storage") + name + push(key) + push("cpu") + push(numel) + b"tQ"


def tensor(
    offset: Any = 0, size: Any = (2, 2), stride: Any = (2, 1), of: bytes | None = None
) -> bytes:
    """Opcodes that push a tensor; by default a good one on a storage of four floats."""
    rest = push(offset) + push(size) + push(stride) + push(False) + b"ccollections\nOrderedDict\n)R"
    return b"ctorch._utils\n_rebuild_tensor_v2\n(" + (of or storage()) + rest + b"tR"


def program(body: bytes) -> bytes:
    return b"\x80\x02" + body + b"."


FOUR = {"data/0": np.arange(4, dtype="<f4").tobytes()}


def refuse(data: bytes, match: str | None = None) -> None:
    with pytest.raises(CheckpointError, match=match) as info:
        load(io.BytesIO(data))
    assert isinstance(info.value, RuntimeError)
    assert isinstance(info.value, pickle.UnpicklingError)
    assert "cannot load the file object: " in str(info.value)


def test_the_handmade_file_is_good() -> None:
    ours = load(io.BytesIO(archive(program(tensor()), FOUR)))
    np.testing.assert_array_equal(ours.array, [[0, 1], [2, 3]])


class Call:
    """Pickles as a call of any function."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.reduced = function, arguments

    def __reduce__(self) -> tuple[Any, ...]:
        return self.reduced


def _state(function: Any) -> Any:
    return type("_", (), {"__reduce__": lambda self: (function, (), {"a": 1})})()


MALICIOUS = {
    "posix.system": Call(os.system, "touch HIT"),
    "builtins.eval": Call(eval, "open('HIT', 'w')"),
    "builtins.exec": Call(exec, "open('HIT', 'w')"),
    "builtins.getattr": Call(Call(getattr, os, "system") and getattr, "", "join"),
    "builtins.__import__": Call(builtins.__import__, "os"),
    "builtins.bytearray": Call(bytearray, 2**40),
    "subprocess.Popen": Call(subprocess.Popen, ["touch", "HIT"]),
    "functools.partial": Call(functools.partial, os.system, "touch HIT"),
    "numpy": np.ones(3),
    "numpy dtype": np.dtype("f4"),
    "torch.nn.modules.linear.Linear": torch.nn.Linear(1, 1),
    "torch.storage._load_from_bytes": Call(torch.storage._load_from_bytes, b""),
    "pathlib": Path("x"),
    "copyreg._reconstructor": Call,
}


@pytest.mark.parametrize("wrapper", [archive, legacy])
@pytest.mark.parametrize("protocol", [2, 4, 5])
@pytest.mark.parametrize("name", MALICIOUS)
def test_malicious_pickles_run_nothing(
    name: str, protocol: int, wrapper: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for obj in (MALICIOUS[name], {"state_dict": [MALICIOUS[name]]}):
        refuse(wrapper(pickle.dumps(obj, protocol)), "it refers to .* not loaded, for safety")
    assert not list(tmp_path.iterdir())


OTHER_WAYS = {
    "INST": b"(X\x09\x00\x00\x00touch HITiposix\nsystem\n",
    "OBJ": b"(ccollections\nOrderedDict\no",
    "EXT1": b"\x82\x01",
    "attribute of an allowed name": b"ccollections\nOrderedDict.__class__\n)R",
    "attribute by STACK_GLOBAL": push("torch._utils._rebuild_tensor_v2") + push("x") + b"\x93",
    "call of a result": b"ccollections\nOrderedDict\n)R)R",
    "state of a function": b"ctorch._utils\n_rebuild_tensor_v2\n" + push({"a": 1}) + b"b",
    "state of a dict": b"}" + push({"a": 1}) + b"b",
    "state of a tensor": tensor() + push({"array": None}) + b"b",
    "encoding": b"c_codecs\nencode\n(" + push("x") + push("rot13") + b"tR",
    "NEXT_BUFFER": b"\x97",
    "PERSID": b"Pkey\n",
}


@pytest.mark.parametrize("name", OTHER_WAYS)
def test_other_ways_to_act_are_refused(name: str) -> None:
    refuse(archive(program(OTHER_WAYS[name]), FOUR))


def test_an_ordered_dicts_methods_cannot_be_replaced() -> None:
    body = b"ccollections\nOrderedDict\n)R" + push({"items": 1, "_metadata": {}}) + b"b"
    loaded = load(io.BytesIO(archive(program(body))))
    assert vars(loaded) == {"_metadata": {}}


LIES = {
    "offset out": tensor(offset=1),
    "offset negative": tensor(offset=-1),
    "offset huge": tensor(offset=2**62),
    "size out": tensor(size=(3, 2)),
    "size negative": tensor(size=(-2, -2)),
    "size huge": tensor(size=(2**40, 2**40)),
    "size overflows": tensor(size=(2**63, 2), stride=(0, 0)),
    "expanded beyond addresses": tensor(size=(2**40, 2**40), stride=(0, 0)),
    "size of floats": tensor(size=(2.0, 2.0)),
    "size None": tensor(size=None),
    "stride out": tensor(stride=(2, 2)),
    "stride negative": tensor(offset=3, stride=(-2, -1)),
    "stride wraps around": tensor(stride=(2**63, 2**63)),
    "stride of another rank": tensor(stride=(2, 1, 1)),
    "stride of bool": tensor(size=(2,), stride=(True,)),
    "65 dimensions": tensor(size=(1,) * 65, stride=(1,) * 65),
    "no storage": tensor(of=b"N"),
    "a dict as storage": tensor(of=b"}"),
    "storage too long": tensor(of=storage(numel=5)),
    "storage of terabytes": tensor(of=storage(numel=2**40)),
    "storage of 2**70": tensor(of=storage(numel=2**70)),
    "storage negative": tensor(of=storage(numel=-4)),
    "storage of 4.0": tensor(of=storage(numel=4.0)),
    "storage of another kind": tensor(of=storage("torch DoubleStorage")),
    "storage missing": tensor(of=storage(key="1")),
    "storage elsewhere": tensor(of=storage(key="../../../etc/passwd")),
    "storage key a list": tensor(of=storage(key=[])),
    "storage twice": b"(" + tensor() + tensor(of=storage(numel=2)) + b"t",
    "quantised": tensor(of=storage("torch QInt8Storage")),
    "persistent id of one": b"(" + push("storage") + b"tQ",
    "persistent id a string": push("storage") + b"Q",
    "legacy module": b"(" + push("module") + push("a") * 4 + b"tQ",
    "parameter of nothing": b"ctorch._utils\n_rebuild_parameter\n(N\x88NtR",
    "device unknown": b"ctorch\ndevice\n(" + push("toaster") + b"tR",
    "stack empty": b"",
    "stack of two": b"NN",
    "mark missing": b"t",
    "tuple of too few": b"N\x87",
    "memo empty": b"h\x05",
    "append to None": b"NNa",
    "odd items": b"}(Nu",
    "key a list": b"}]Ns",
    "key a deep tuple": b"}" + b")" + b"\x85" * 200_000 + b"Ns",
    "length beyond the end": b"\x8d" + struct.pack("<Q", 2**62) + b"x",
    "no stop": b"N" * 10 + b"\x8e" + struct.pack("<Q", 2**40),
    "unknown opcode": b"\xff",
}


@pytest.mark.parametrize("wrapper", [archive, legacy])
@pytest.mark.parametrize("name", LIES)
def test_lying_headers_are_refused(name: str, wrapper: Any) -> None:
    body = LIES[name]
    data = archive(program(body), FOUR) if wrapper is archive else legacy(program(body))
    refuse(data)


def test_a_large_memo_index_costs_no_memory() -> None:
    body = b"Nr\xff\xff\xff\xff"
    assert load(io.BytesIO(archive(program(body)))) is None


def test_deep_nesting_neither_crashes_nor_recurses() -> None:
    loaded = load(io.BytesIO(archive(program(b")" + b"\x85" * 300_000))))
    assert len(loaded) == 1


def test_zip_bombs_are_refused() -> None:
    zeros = {"data/0": bytes(2**24)}
    body = program(tensor(of=storage(numel=2**22)))
    refuse(archive(body, zeros, compression=zipfile.ZIP_DEFLATED), "compressed zip")
    once = archive(body, zeros)
    assert load(io.BytesIO(once)).shape == (2, 2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the standard library notices the duplicate name
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w") as packed:
            packed.writestr(ROOT + "data.pkl", body)
            packed.writestr(ROOT + "data/0", zeros["data/0"])
            packed.filelist += [packed.getinfo(ROOT + "data/0")] * 100
    refuse(file.getvalue(), "add up to more than the file")


WRONG_KINDS = {
    "empty": (b"", "it is empty"),
    "a newline": (b"\n", "neither PyTorch's format"),
    "a picture": (
        b"\x89PNG\r\n\x1a\n" + bytes(100),
        "neither PyTorch's format nor .safetensors nor .npz",
    ),
    "a web page": (b"<!DOCTYPE html><html>" + b" " * 300, "neither PyTorch's format"),
    "a git-lfs pointer": (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "Git LFS"),
    "a tar file": (bytes(257) + b"ustar" + bytes(300), "load it with PyTorch"),
    "a plain pickle": (pickle.dumps({"a": 1}, 2), "not one that torch.save wrote"),
    "a pickle in text": (pickle.dumps({"a": 1}, 0), "neither PyTorch's format"),
    "a legacy header alone": (pickle.dumps(0x1950A86A20F9469CFC6C, 2), "damaged or cut short"),
    "a legacy byte order": (legacy(program(b"N"), "unknown"), "damaged"),
    "a zip without its end": (archive(program(b"N"))[:-1], "damaged or cut short"),
    "a TorchScript archive": (archive(program(b"N"), {"constants.pkl": b""}), "TorchScript"),
    "a byte order": (archive(program(b"N"), {"byteorder": b"middle"}), "byte order"),
    "a zip with an empty pickle": (archive(b""), "damaged"),
    "a zip of zeros": (b"PK\x03\x04" + bytes(100), "damaged or cut short"),
}


@pytest.mark.parametrize("kind", WRONG_KINDS)
def test_each_wrong_kind_of_file_has_its_sentence(kind: str) -> None:
    data, message = WRONG_KINDS[kind]
    refuse(data, message)


def test_a_zip_without_a_model_is_refused() -> None:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as packed:
        packed.writestr("readme.txt", "hello")
    refuse(file.getvalue(), "no data.pkl")


def test_errors_name_the_file(tmp_path: Path) -> None:
    path = tmp_path / "net.pth"
    path.write_bytes(archive(program(b"N"))[:40])
    with pytest.raises(CheckpointError, match=r"cannot load .*net\.pth: the file is damaged"):
        load(path)
    with pytest.raises(FileNotFoundError, match=r"missing\.pth"):
        load(tmp_path / "missing.pth")
    with pytest.raises(IsADirectoryError):
        load(tmp_path)


def test_big_endian_files_are_read() -> None:
    records = {"data/0": np.arange(4, dtype=">f4").tobytes(), "byteorder": b"big"}
    ours = load(io.BytesIO(archive(program(tensor()), records)))
    np.testing.assert_array_equal(ours.array, np.float32([[0, 1], [2, 3]]), strict=True)


def test_files_of_2017_are_read() -> None:
    """Parameters with state, parts of storages, _rebuild_tensor, and Python 2's byte strings."""
    whole, part = (push(view) for view in (None, ("v", 1, 2)))
    stored = b"(U\x07storagectorch\nFloatStorage\nU\x010U\x03cpuK\x04"
    old = b"ctorch._utils\n_rebuild_tensor\n(" + stored + whole + b"tQK\x00K\x04\x85K\x01\x85tR"
    piece = b"ctorch._utils\n_rebuild_tensor\n(" + stored + part + b"tQK\x00K\x02\x85K\x01\x85tR"
    parameter = b"ctorch.nn.parameter\nParameter\n" + old + b"\x85\x81(\x89\x89NtbU\x02\xc3\xa9"
    body = program(b"(" + parameter + piece + b"t")
    header = legacy(body).removesuffix(pickle.dumps([], 2)) + pickle.dumps(["0"], 2)
    data = header + struct.pack("<q", 4) + FOUR["data/0"]
    first, text, second = load(io.BytesIO(data))
    assert (type(first).__name__, first.requires_grad, text) == ("Parameter", False, "é")
    np.testing.assert_array_equal(first.array, [0, 1, 2, 3])
    np.testing.assert_array_equal(second.array, [1, 2])
    assert np.shares_memory(first.array, second.array)


def _valid_files() -> dict[str, bytes]:
    arrays = {"w": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.array([True, False])}
    ours = {name: Tensor._wrap(array) for name, array in arrays.items()}
    files = {}
    for suffix in (".pt", ".npz", ".safetensors"):
        with tempfile.TemporaryDirectory() as directory:
            path = Path(directory, f"net{suffix}")
            save(ours, path)
            files[suffix] = path.read_bytes()
    theirs = {name: torch.from_numpy(array) for name, array in arrays.items()}
    for name, zipped in (("torch", True), ("legacy", False)):
        file = io.BytesIO()
        torch.save(theirs, file, _use_new_zipfile_serialization=zipped)
        files[name] = file.getvalue()
    return files


FILES = _valid_files()
CHECKED = (".pt", ".npz", "torch")  # zip members carry a CRC; the others cannot tell changed data


def load_damaged(kind: str, data: bytes) -> None:
    try:
        ours = load(io.BytesIO(data))
    except CheckpointError:
        return
    if kind in CHECKED:
        assert list(ours) == ["w", "b"]
        np.testing.assert_array_equal(ours["w"].array, np.float32([[0, 1, 2], [3, 4, 5]]))
        np.testing.assert_array_equal(ours["b"].array, [True, False])


@given(st.sampled_from(sorted(FILES)), st.data())
def test_changed_bytes_load_equal_or_raise(kind: str, data: st.DataObject) -> None:
    damaged = bytearray(FILES[kind])
    place = st.integers(0, len(damaged) - 1)
    changes = st.tuples(place, st.integers(1, 255))
    for at, mask in data.draw(st.lists(changes, min_size=1, max_size=3)):
        damaged[at] ^= mask
    load_damaged(kind, bytes(damaged))


@given(st.sampled_from(sorted(FILES)), st.data())
def test_cut_files_load_equal_or_raise(kind: str, data: st.DataObject) -> None:
    whole = FILES[kind]
    start, end = data.draw(st.tuples(*[st.integers(0, len(whole))] * 2).map(sorted))
    refused = (whole[:end], whole[start:], whole[:start] + whole[end:])
    for cut in refused:
        if cut != whole:
            load_damaged(kind, cut)


@pytest.mark.parametrize("kind", FILES)
def test_every_single_bit_of_the_pickle_and_header(kind: str) -> None:
    whole = FILES[kind]
    for at in range(0, len(whole), max(1, len(whole) // 400)):
        for bit in (0, 3, 7):
            damaged = bytearray(whole)
            damaged[at] ^= 1 << bit
            load_damaged(kind, bytes(damaged))


@given(st.binary(max_size=60))
@example(b"\x80\x02].")
def test_any_bytes_as_a_pickle(body: bytes) -> None:
    for data in (archive(b"\x80\x02" + body), legacy(b"\x80\x02" + body), body):
        with contextlib.suppress(CheckpointError):
            load(io.BytesIO(data))
