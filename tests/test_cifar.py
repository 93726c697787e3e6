"""CIFAR: its archives, its pickles, and pickles that are more than data."""

from __future__ import annotations

import io
import os
import pickle
import struct
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from minitorch_cnn import datasets, transforms
from minitorch_cnn.datasets._pickle import load_plain

from .file_server import Page, Server
from .remote_files import PHOTOS, md5, names


def python2_pickle(value: Any) -> bytes:
    """``value`` as Python 2 wrote it: protocol 2, byte strings, arrays through _reconstruct."""

    def write(v: Any) -> bytes:
        if isinstance(v, dict):
            return b"}(" + b"".join(write(k) + write(x) for k, x in v.items()) + b"u"
        if isinstance(v, list):
            return b"](" + b"".join(map(write, v)) + b"e"
        if isinstance(v, str):
            return b"U" + bytes([len(v)]) + v.encode()
        if isinstance(v, bytes):
            return b"T" + struct.pack("<i", len(v)) + v
        if isinstance(v, int):
            return b"J" + struct.pack("<i", v)
        shape = b"(" + b"".join(map(write, v.shape)) + b"t"
        dtype = (
            b"cnumpy\ndtype\n(U\x02u1K\x00K\x01tR(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xff"
        )
        dtype += b"K\x00tb"
        rebuilt = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(K\x00tU\x01btR"
        return rebuilt + b"(K\x01" + shape + dtype + b"\x89" + write(v.tobytes()) + b"tb"

    return b"\x80\x02" + write(value) + b"."


CIFAR_FILES = {
    "data_batch_1": {"data": PHOTOS[:3].reshape(3, -1), "labels": [0, 1, 1], "batch_label": "1"},
    "data_batch_2": {"data": PHOTOS[3:5].reshape(2, -1), "labels": [1, 0]},
    "test_batch": {"data": PHOTOS[5:].reshape(2, -1), "labels": [0, 1]},
    "batches.meta": {"label_names": ["cat", "dog"], "num_vis": 3072},
}

CIFAR_BYTES = {name: python2_pickle(content) for name, content in CIFAR_FILES.items()}


def archive_of(
    files: dict[str, bytes], more: Callable[[tarfile.TarFile], None] | None = None
) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
        if more is not None:
            more(tar)
    return out.getvalue()


ARCHIVE = archive_of({f"cifar-10-batches-py/{name}": c for name, c in CIFAR_BYTES.items()})


class TinyCIFAR(datasets.CIFAR10):
    train_list: ClassVar = [
        (name, md5(CIFAR_BYTES[name])) for name in ("data_batch_1", "data_batch_2")
    ]
    test_list: ClassVar = [("test_batch", md5(CIFAR_BYTES["test_batch"]))]
    meta = ("batches.meta", md5(CIFAR_BYTES["batches.meta"]))
    tgz_md5 = md5(ARCHIVE)


def test_cifar_from_an_archive_put_there_by_hand(tmp_path: Path) -> None:
    (tmp_path / "cifar-10-python.tar.gz").write_bytes(ARCHIVE)
    dataset = TinyCIFAR(tmp_path)
    assert dataset.data.shape == (5, 32, 32, 3)
    assert np.array_equal(dataset.data, PHOTOS[:5].transpose(0, 2, 3, 1))
    assert dataset.targets == [0, 1, 1, 1, 0]
    assert dataset.classes == ["cat", "dog"]
    assert dataset.class_to_idx == {"cat": 0, "dog": 1}
    image, target = dataset[4]
    assert (image.mode, target) == ("RGB", 0)
    assert np.array_equal(np.asarray(image), dataset.data[4])
    test = TinyCIFAR(str(tmp_path), train=False, transform=transforms.ToTensor())
    assert [x.array.tobytes() for x, _ in test.__getitems__([1, 0])] == [
        test[i][0].array.tobytes() for i in (1, 0)
    ]
    assert "Split: Test" in repr(test)


def test_cifar_downloads_and_mends(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.pages["/cifar-10-python.tar.gz"] = Page(ARCHIVE)
    monkeypatch.setattr(TinyCIFAR, "mirrors", [f"{server.url}/"])
    assert len(TinyCIFAR(tmp_path, download=True)) == 5
    assert len(TinyCIFAR(tmp_path, download=True)) == 5
    assert len(server.requests) == 1
    damaged = tmp_path / "cifar-10-batches-py" / "test_batch"
    damaged.write_bytes(CIFAR_BYTES["test_batch"][:-5])
    with pytest.raises(
        RuntimeError, match=rf"test_batch is corrupt.*{md5(CIFAR_BYTES['test_batch'])}"
    ):
        TinyCIFAR(tmp_path, train=False)
    assert len(TinyCIFAR(tmp_path, train=False, download=True)) == 2


def test_cifar_says_what_is_missing_or_broken(tmp_path: Path) -> None:
    with pytest.raises(
        RuntimeError, match=r"(?s)no .*data_batch_1.*put cifar-10-python.tar.gz into"
    ):
        TinyCIFAR(tmp_path)
    for broken in (ARCHIVE[:-100], ARCHIVE[:1000], b"nothing"):
        (tmp_path / "cifar-10-python.tar.gz").write_bytes(broken)
        with pytest.raises(
            RuntimeError, match=rf"expected md5 {TinyCIFAR.tgz_md5}, found {md5(broken)}"
        ):
            TinyCIFAR(tmp_path)


def test_cifar_unpacks_nothing_but_its_own_files(tmp_path: Path) -> None:
    def traps(tar: tarfile.TarFile) -> None:
        for name in ("../outside", "/tmp/minitorch_cnn_outside", "cifar-10-batches-py/extra"):
            tar.addfile(tarfile.TarInfo(name), io.BytesIO())
        link = tarfile.TarInfo("cifar-10-batches-py/test_batch")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)

    root = tmp_path / "root"
    root.mkdir()
    files = {f"cifar-10-batches-py/{name}": content for name, content in CIFAR_BYTES.items()}
    (root / "cifar-10-python.tar.gz").write_bytes(archive_of(files, traps))
    assert len(TinyCIFAR(root)) == 5
    assert names(tmp_path) == ["root"]
    assert names(root / "cifar-10-batches-py") == sorted(CIFAR_FILES)
    assert not (root / "cifar-10-batches-py" / "test_batch").is_symlink()


@pytest.mark.parametrize("protocol", [2, 3, 4])
def test_pickles_of_todays_numpy_are_read_too(protocol: int) -> None:
    value = {"data": np.arange(6, dtype=">u2").reshape(2, 3), "names": ["a", b"b"], "n": 3}
    read = load_plain(pickle.dumps(value, protocol))
    assert np.array_equal(read.pop("data"), value.pop("data"))
    assert read == {"names": ["a", "b"], "n": 3}
    columns = load_plain(pickle.dumps(np.asfortranarray(np.arange(6.0).reshape(2, 3)), protocol))
    assert columns.tolist() == [[0, 1, 2], [3, 4, 5]]


PICKLED_ARRAY = python2_pickle({"data": np.zeros((2, 3), np.uint8)})


class Runs:
    def __init__(self, function: Any, *arguments: Any) -> None:
        self.reduced = (function, arguments)

    def __reduce__(self) -> Any:
        return self.reduced


@pytest.mark.parametrize(
    "content",
    [
        pickle.dumps(Runs(os.system, "touch PROOF")),
        pickle.dumps(Runs(eval, "open('PROOF', 'w')")),
        pickle.dumps({"data": Runs(exec, "open('PROOF', 'w')")}, 2),
        pickle.dumps(Runs(getattr, "x", "upper")),
        pickle.dumps(np.array([None, {}])),
        pickle.dumps(np.array(["text"])),
        pickle.dumps(1 + 2j),
        pickle.dumps({1, 2}),
        b"\x80\x02cnumpy\nload\n.",
        b"\x80\x02c_codecs\nencode\n(X\x01\0\0\0xX\x03\0\0\0hextR.",
        b"\x80\x02cnumpy\ndtype\n(U\x02u1tR(K\x03U\x01?tb.",
        PICKLED_ARRAY.replace(b"J\x03\0\0\0", b"J\xff\xff\xff\x7f"),  # 2 by 2 ** 31 - 1
        PICKLED_ARRAY[:-9],
        b"\x80\x02Pname\n.",
        b"",
        b"not a pickle",
    ],
)  # fmt: skip
def test_pickles_that_are_more_than_data_are_refused(
    content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(pickle.UnpicklingError):
        load_plain(content)
    assert names(tmp_path) == []


def test_a_cifar_file_that_is_more_than_data_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = pickle.dumps(Runs(os.system, "touch PROOF"))
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    (folder / "test_batch").write_bytes(content)
    monkeypatch.setattr(TinyCIFAR, "test_list", [("test_batch", md5(content))])
    monkeypatch.chdir(tmp_path)
    with pytest.raises(RuntimeError, match=r"test_batch is not a file of TinyCIFAR.*\.system"):
        TinyCIFAR(tmp_path, train=False)
    assert names(tmp_path) == ["cifar-10-batches-py"]


def test_cifar_100_reads_fine_labels(tmp_path: Path) -> None:
    contents = {
        "train": {"data": PHOTOS.reshape(7, -1), "fine_labels": [9, 8, 7, 6, 5, 4, 3]},
        "test": {"data": PHOTOS.reshape(7, -1), "fine_labels": [0] * 7},
        "meta": {"fine_label_names": ["apple", "fish"], "coarse_label_names": ["food"]},
    }
    files = {name: python2_pickle(content) for name, content in contents.items()}

    class Tiny100(datasets.CIFAR100):
        train_list: ClassVar = [("train", md5(files["train"]))]
        test_list: ClassVar = [("test", md5(files["test"]))]
        meta = ("meta", md5(files["meta"]))

    packed = archive_of({f"cifar-100-python/{name}": content for name, content in files.items()})
    (tmp_path / "cifar-100-python.tar.gz").write_bytes(packed)
    dataset = Tiny100(tmp_path)
    assert dataset.targets == [9, 8, 7, 6, 5, 4, 3]
    assert dataset.classes == ["apple", "fish"]
