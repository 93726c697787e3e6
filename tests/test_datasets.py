"""Image data sets, and the downloader against a server on this machine; never the internet."""

from __future__ import annotations

import errno
import gzip
import hashlib
import io
import os
import pickle
import struct
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from PIL import Image

from minitorch_cnn import datasets, dtypes, transforms
from minitorch_cnn.datasets._download import Checksum, RemoteFile, fetch
from minitorch_cnn.datasets._pickle import load_plain
from minitorch_cnn.datasets.mnist import read_idx
from minitorch_cnn.tensor import Tensor
from minitorch_cnn.utils.data import DataLoader, Subset, random_split

from .file_server import Page, Server, serving


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with serving() as running:
        yield running


CONTENT = np.random.default_rng(0).bytes(150_000)


def sha256(content: bytes, of_content: bool = False) -> Checksum:
    return Checksum("sha256", hashlib.sha256(content).hexdigest(), of_content)


def remote(*urls: str, content: bytes = CONTENT) -> RemoteFile:
    return RemoteFile("data.bin", urls, sha256(content))


def names(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


def test_fetch_downloads_once(server: Server, tmp_path: Path) -> None:
    server.pages["/a"] = Page(CONTENT)
    file, folder = remote(f"{server.url}/a"), tmp_path / "new" / "folder"
    assert fetch(file, folder) == folder / "data.bin"
    assert fetch(file, folder).read_bytes() == CONTENT
    assert names(folder) == ["data.bin"]
    assert server.requests == [("/a", None)]


def test_fetch_replaces_a_damaged_file(server: Server, tmp_path: Path) -> None:
    server.pages["/a"] = Page(CONTENT)
    (tmp_path / "data.bin").write_bytes(CONTENT[:-1])
    assert fetch(remote(f"{server.url}/a"), tmp_path).read_bytes() == CONTENT


def test_fetch_goes_on_where_it_was_cut_off(server: Server, tmp_path: Path) -> None:
    server.pages["/a"] = Page(CONTENT)
    (tmp_path / "data.bin.part").write_bytes(CONTENT[:100_000])
    assert fetch(remote(f"{server.url}/a"), tmp_path).read_bytes() == CONTENT
    assert server.requests == [("/a", "bytes=100000-")]
    assert names(tmp_path) == ["data.bin"]


def test_fetch_starts_over_where_the_server_cannot_go_on(server: Server, tmp_path: Path) -> None:
    server.pages["/a"] = Page(CONTENT, ranges=False)
    (tmp_path / "data.bin.part").write_bytes(CONTENT[:100_000])
    assert fetch(remote(f"{server.url}/a"), tmp_path).read_bytes() == CONTENT
    assert len(server.requests) == 1


def test_fetch_starts_over_after_a_beginning_of_something_else(
    server: Server, tmp_path: Path
) -> None:
    server.pages["/a"] = Page(CONTENT)
    (tmp_path / "data.bin.part").write_bytes(b"x" * 1000)
    assert fetch(remote(f"{server.url}/a"), tmp_path).read_bytes() == CONTENT
    assert server.requests == [("/a", "bytes=1000-"), ("/a", None)]


@pytest.mark.parametrize("extra", [b"", b"too much"])
def test_fetch_knows_a_part_that_is_complete(server: Server, tmp_path: Path, extra: bytes) -> None:
    server.pages["/a"] = Page(CONTENT)
    (tmp_path / "data.bin.part").write_bytes(CONTENT + extra)
    assert fetch(remote(f"{server.url}/a"), tmp_path).read_bytes() == CONTENT
    assert len(server.requests) == (2 if extra else 1)


def test_fetch_tries_again_after_a_broken_connection(server: Server, tmp_path: Path) -> None:
    server.pages["/a"] = Page(CONTENT, cut=[70_000, 10_000])
    assert fetch(remote(f"{server.url}/a"), tmp_path).read_bytes() == CONTENT
    assert [asked for _, asked in server.requests] == [None, "bytes=70000-", "bytes=80000-"]


def test_fetch_keeps_what_it_has_when_the_connection_keeps_breaking(
    server: Server, tmp_path: Path
) -> None:
    server.pages["/a"] = Page(CONTENT, cut=[1000] * 9)
    with pytest.raises(RuntimeError, match=r"ended after 3,000 of 150,000 bytes"):
        fetch(remote(f"{server.url}/a"), tmp_path)
    assert names(tmp_path) == ["data.bin.part"]
    server.pages["/a"] = Page(CONTENT)
    assert fetch(remote(f"{server.url}/a"), tmp_path).read_bytes() == CONTENT
    assert server.requests[-1] == ("/a", "bytes=3000-")


def test_fetch_tries_the_next_mirror(server: Server, tmp_path: Path) -> None:
    server.pages["/wrong"] = Page(b"<html>Sign in to the hotel's network</html>")
    server.pages["/broken"] = Page(b"", status=500)
    server.pages["/right"] = Page(CONTENT)
    urls = [f"{server.url}/{name}" for name in ("missing", "broken", "wrong", "right")]
    assert fetch(remote("ftp://127.0.0.1/x", *urls), tmp_path).read_bytes() == CONTENT


def test_fetch_says_what_every_mirror_answered_and_where_to_put_the_file(
    server: Server, tmp_path: Path
) -> None:
    server.pages["/wrong"] = Page(b"something else")
    file = remote(f"{server.url}/missing", f"{server.url}/wrong", "http://127.0.0.1:9/nobody")
    with pytest.raises(RuntimeError) as info:
        fetch(file, tmp_path)
    text = str(info.value)
    assert f"{server.url}/missing: HTTP Error 404" in text
    assert hashlib.sha256(b"something else").hexdigest() in text
    assert "127.0.0.1:9/nobody: [Errno" in text
    assert str(tmp_path / "data.bin") in text
    assert f"sha256 {file.checksum.digest}" in text
    assert names(tmp_path) == []


def test_fetch_takes_the_beginning_of_a_digest(server: Server, tmp_path: Path) -> None:
    server.pages["/a"] = Page(CONTENT)
    whole = hashlib.sha256(CONTENT).hexdigest()
    for digest in (whole[:8], whole, ""):
        file = RemoteFile("data.bin", (f"{server.url}/a",), Checksum("sha256", digest))
        assert fetch(file, tmp_path / f"n{len(digest)}").read_bytes() == CONTENT
        fetch(file, tmp_path / f"n{len(digest)}")
    assert len(server.requests) == 3
    wrong = RemoteFile("data.bin", (f"{server.url}/a",), Checksum("sha256", "0123abcd"))
    with pytest.raises(RuntimeError, match=rf"expected sha256 beginning 0123abcd, found {whole}"):
        fetch(wrong, tmp_path / "n8")
    assert (tmp_path / "n8" / "data.bin").read_bytes() == CONTENT


def test_fetch_checks_what_is_inside_a_gzip(server: Server, tmp_path: Path) -> None:
    checksum = sha256(CONTENT, of_content=True)
    server.pages["/cut.gz"] = Page(gzip.compress(CONTENT)[:-20])
    server.pages["/9.gz"] = Page(gzip.compress(CONTENT, 9, mtime=1))
    cut = RemoteFile("d.gz", (f"{server.url}/cut.gz",), checksum)
    with pytest.raises(RuntimeError, match=r"of its content, found none \(broken gzip"):
        fetch(cut, tmp_path)
    whole = RemoteFile("d.gz", (f"{server.url}/9.gz",), checksum)
    assert gzip.decompress(fetch(whole, tmp_path).read_bytes()) == CONTENT


def run_fetch(url: str, folder: Path, before: str = "") -> subprocess.Popen[str]:
    code = f"""if True:
        import sys
        from pathlib import Path
        from minitorch_cnn.datasets._download import Checksum, RemoteFile, fetch
        {before}
        file = RemoteFile("data.bin", (sys.argv[1],), Checksum("sha256", sys.argv[2]))
        try:
            fetch(file, Path(sys.argv[3]))
        except OSError as error:
            print(error.errno, error.filename)
    """
    arguments = [url, hashlib.sha256(CONTENT).hexdigest(), str(folder)]
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments], text=True, stdout=subprocess.PIPE
    )


def test_a_download_that_is_killed_leaves_no_broken_file(server: Server, tmp_path: Path) -> None:
    server.pages["/slow"] = Page(CONTENT, wait=0.02)
    part = tmp_path / "data.bin.part"
    process = run_fetch(f"{server.url}/slow", tmp_path)
    end = time.monotonic() + 30
    while not (part.exists() and part.stat().st_size) and time.monotonic() < end:
        time.sleep(0.01)
    process.kill()
    process.communicate()
    assert names(tmp_path) == ["data.bin.part"]
    done = part.stat().st_size
    assert 0 < done < len(CONTENT)
    server.pages["/slow"] = Page(CONTENT)
    assert fetch(remote(f"{server.url}/slow"), tmp_path).read_bytes() == CONTENT
    assert server.requests[-1] == ("/slow", f"bytes={done}-")


@pytest.mark.skipif(sys.platform == "win32", reason="no file-size limit to stand for a full disk")
def test_a_full_disk_is_an_oserror_with_the_files_name(server: Server, tmp_path: Path) -> None:
    server.pages["/a"] = Page(CONTENT)
    limit = (
        "import resource, signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN);"
        " resource.setrlimit(resource.RLIMIT_FSIZE, (90_000, 90_000))"
    )
    process = run_fetch(f"{server.url}/a", tmp_path, limit)
    out, _ = process.communicate(timeout=60)
    assert out.split() == [str(errno.EFBIG), str(tmp_path / "data.bin.part")]
    assert not (tmp_path / "data.bin").exists()
    assert fetch(remote(f"{server.url}/a"), tmp_path).read_bytes() == CONTENT


def test_two_downloads_of_one_file_wait_for_each_other(server: Server, tmp_path: Path) -> None:
    server.pages["/a"] = Page(CONTENT, wait=0.001)
    with ThreadPoolExecutor(16) as pool:  # many: each may meet the moment in which another ends
        for got in [pool.submit(fetch, remote(f"{server.url}/a"), tmp_path) for _ in range(16)]:
            assert got.result() == tmp_path / "data.bin"
    assert (tmp_path / "data.bin").read_bytes() == CONTENT
    assert names(tmp_path) == ["data.bin"]
    if os.name == "posix":
        assert len(server.requests) == 1


def test_progress_is_drawn_on_a_terminal_only(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.pages["/a"] = Page(CONTENT)

    class Terminal(io.StringIO):
        def __init__(self, tty: bool) -> None:
            super().__init__()
            self.tty = tty

        def isatty(self) -> bool:
            return self.tty

    for tty in (False, True):
        stream = Terminal(tty)
        monkeypatch.setattr(sys, "stderr", stream)
        fetch(remote(f"{server.url}/a"), tmp_path / str(tty))
        assert ("data.bin" in stream.getvalue()) == tty
    monkeypatch.setitem(sys.modules, "rich.console", None)  # what an import finds without rich
    fetch(remote(f"{server.url}/a"), tmp_path / "without rich")


# MNIST


def idx(array: np.ndarray) -> bytes:
    codes = {"uint8": 8, "int8": 9, "int16": 11, "int32": 12, "float32": 13, "float64": 14}
    head = bytes([0, 0, codes[array.dtype.name], array.ndim])
    sizes = struct.pack(f">{array.ndim}I", *array.shape)
    return head + sizes + array.astype(array.dtype.newbyteorder(">")).tobytes()


@pytest.mark.parametrize("dtype", ["uint8", "int8", "int16", "int32", "float32", "float64"])
def test_read_idx(dtype: str) -> None:
    array = np.arange(-5, 19).reshape(2, 3, 4).astype(dtype)
    read = read_idx(idx(array))
    assert read.dtype == array.dtype
    assert np.array_equal(read, array)
    read[0] = 1  # it is our own memory


@pytest.mark.parametrize(
    "content",
    [b"", b"\0\0\x08", b"PK\x03\x04", idx(np.zeros((2, 3))) + b"x", idx(np.zeros(9))[:-1]],
)
def test_read_idx_refuses(content: bytes) -> None:
    with pytest.raises(RuntimeError, match=r"some/file (is not an idx file|is truncated)"):
        read_idx(content, "some/file")


@pytest.fixture(scope="module")
def train() -> datasets.MNIST:
    return datasets.MNIST()


@pytest.fixture(scope="module")
def test_set() -> datasets.MNIST:
    return datasets.MNIST("../data", train=False, download=True)


def test_mnist_is_shipped(train: datasets.MNIST, test_set: datasets.MNIST) -> None:
    assert (len(train), len(test_set)) == (60000, 10000)
    assert (train.data.shape, train.data.dtype) == ((60000, 28, 28), dtypes.uint8)
    assert (test_set.targets.shape, test_set.targets.dtype) == ((10000,), dtypes.int64)
    counts = [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert np.bincount(train.targets.array).tolist() == counts
    assert train.targets.array[:5].tolist() == [5, 0, 4, 1, 9]
    assert test_set.targets.array[:5].tolist() == [7, 2, 1, 0, 4]
    # The two constants of every MNIST script.
    assert train.data.array.mean() / 255 == pytest.approx(0.1307, abs=5e-5)
    assert train.data.array.std() / 255 == pytest.approx(0.3081, abs=5e-5)


def test_mnist_items_are_pil_images_and_ints(train: datasets.MNIST) -> None:
    image, target = train[0]
    assert (image.mode, image.size, target, type(target)) == ("L", (28, 28), 5, int)
    assert np.array_equal(np.asarray(image), train.data.array[0])
    assert train[-1][1] == 8
    with pytest.raises(IndexError):
        train[60000]
    assert train.classes[3] == "3 - three"
    assert train.class_to_idx["9 - nine"] == 9


def test_mnist_old_names_still_work(train: datasets.MNIST, test_set: datasets.MNIST) -> None:
    for dataset, old, new in [
        (train, "train_data", "data"),
        (train, "train_labels", "targets"),
        (test_set, "test_data", "data"),
        (test_set, "test_labels", "targets"),
    ]:
        with pytest.warns(UserWarning, match=f"{old} has been renamed {new}"):
            assert getattr(dataset, old) is getattr(dataset, new)


def test_mnist_repr_is_torchvisions() -> None:
    dataset = datasets.MNIST("d", False, transforms.Compose([transforms.ToTensor()]), int)
    assert repr(dataset).splitlines() == [
        "Dataset MNIST",
        "    Number of datapoints: 10000",
        "    Root location: d",
        "    Split: Test",
        "    StandardTransform",
        "    Transform: Compose(",
        "                   ToTensor()",
        "               )",
        "    Target transform: <class 'int'>",
    ]


IMAGES = np.random.default_rng(1).integers(0, 256, (6, 28, 28), dtype=np.uint8)
LABELS = np.array([3, 1, 4, 1, 5, 9], np.uint8)
TINY = {
    "train-images-idx3-ubyte": idx(IMAGES),
    "train-labels-idx1-ubyte": idx(LABELS),
    "t10k-images-idx3-ubyte": idx(IMAGES[:2]),
    "t10k-labels-idx1-ubyte": idx(LABELS[:2]),
}


class Tiny(datasets.FashionMNIST):
    """A data set of MNIST's kind that is not shipped, small enough to serve here."""

    checksums: ClassVar = {name: sha256(content, of_content=True) for name, content in TINY.items()}


def write_tiny(root: Path, packed: bool, name: str = "Tiny") -> Path:
    raw = root / name / "raw"
    raw.mkdir(parents=True)
    for file, content in TINY.items():
        path = raw / (f"{file}.gz" if packed else file)
        path.write_bytes(gzip.compress(content) if packed else content)
    return raw


@pytest.mark.parametrize("packed", [False, True])
def test_files_under_root_are_read(tmp_path: Path, packed: bool) -> None:
    write_tiny(tmp_path, packed)
    dataset = Tiny(tmp_path)
    assert np.array_equal(dataset.data.array, IMAGES)
    assert dataset.targets.array.tolist() == LABELS.tolist()
    assert len(Tiny(str(tmp_path), train=False)) == 2
    assert dataset.raw_folder == str(tmp_path / "Tiny" / "raw")


def test_real_mnist_files_under_root_are_used_and_checked(tmp_path: Path) -> None:
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    (raw / "t10k-labels-idx1-ubyte").write_bytes(TINY["t10k-labels-idx1-ubyte"])
    with pytest.raises(RuntimeError) as info:
        datasets.MNIST(tmp_path, train=False)
    text = str(info.value)
    assert str(raw / "t10k-labels-idx1-ubyte") in text
    assert "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2" in text
    assert hashlib.sha256(TINY["t10k-labels-idx1-ubyte"]).hexdigest() in text
    assert "Delete it; it is then read from the copy shipped" in text
    shipped = Path(datasets.__file__).parent / "mnist_data" / "t10k-labels-idx1-ubyte.gz"
    (raw / "t10k-labels-idx1-ubyte").write_bytes(gzip.decompress(shipped.read_bytes()))
    assert len(datasets.MNIST(tmp_path, train=False)) == 10000


@pytest.mark.parametrize(
    ("damage", "found"),
    [
        (lambda content: content[:-3], "broken gzip"),
        (lambda content: content[: len(content) // 2], "broken gzip"),
        (lambda content: b"not a gzip", "broken gzip"),
        (lambda content: gzip.compress(b"other"), hashlib.sha256(b"other").hexdigest()),
        (lambda content: b"", "broken gzip|e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca4959"),
    ],
)
def test_damaged_files_are_named(
    tmp_path: Path, damage: Callable[[bytes], bytes], found: str
) -> None:
    path = write_tiny(tmp_path, packed=True) / "train-images-idx3-ubyte.gz"
    path.write_bytes(damage(path.read_bytes()))
    expected = Tiny.checksums["train-images-idx3-ubyte"].digest
    with pytest.raises(
        RuntimeError, match=rf"(?s)expected the sha256 {expected}.*found.*({found})"
    ):
        Tiny(tmp_path)
    with pytest.raises(RuntimeError, match=r"train-images-idx3-ubyte.gz is corrupt.*download=True"):
        Tiny(tmp_path)


def test_not_there_is_said_as_torchvision_says_it(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match=r"(?s)Dataset not found.*You can use download=True"):
        datasets.FashionMNIST(tmp_path)


def test_data_sets_without_a_root_live_in_the_users_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("minitorch_cnn.datasets.mnist.default_root", lambda: tmp_path)
    write_tiny(tmp_path, packed=False)
    assert len(Tiny()) == 6


@pytest.mark.parametrize("algorithm", ["sha256", "md5"])
def test_download_gets_all_four_files(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, algorithm: str
) -> None:
    packed = {f"{name}.gz": gzip.compress(content) for name, content in TINY.items()}
    server.pages.update({f"/{name}": Page(content) for name, content in packed.items()})
    monkeypatch.setattr(Tiny, "mirrors", ["http://127.0.0.1:9/", f"{server.url}/"])
    if algorithm == "md5":  # KMNIST's way: of the packed file
        monkeypatch.setattr(
            Tiny,
            "checksums",
            {name: Checksum("md5", hashlib.md5(packed[f"{name}.gz"]).hexdigest()) for name in TINY},
        )
    dataset = Tiny(tmp_path, download=True)
    assert np.array_equal(dataset.data.array, IMAGES)
    assert len(Tiny(tmp_path, train=False)) == 2
    assert len(server.requests) == 4
    Tiny(tmp_path, download=True)
    assert len(server.requests) == 4
    damaged = Path(dataset.raw_folder) / "t10k-images-idx3-ubyte.gz"
    damaged.write_bytes(b"")
    assert len(Tiny(tmp_path, train=False, download=True)) == 2


def test_unpacked_kmnist_is_checked_by_its_length(tmp_path: Path) -> None:
    raw = write_tiny(tmp_path, packed=False, name="KMNIST")
    assert len(datasets.KMNIST(tmp_path)) == 6
    path = raw / "train-images-idx3-ubyte"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(RuntimeError, match=r"train-images-idx3-ubyte is truncated"):
        datasets.KMNIST(tmp_path)
    (raw / "train-images-idx3-ubyte").write_bytes(idx(IMAGES[:3]))
    with pytest.raises(RuntimeError, match="3 images, but 6 labels"):
        datasets.KMNIST(tmp_path)


def test_published_checksums_have_their_length() -> None:
    for cls, length in [(datasets.MNIST, 64), (datasets.FashionMNIST, 64), (datasets.KMNIST, 32)]:
        assert len(cls.classes) == 10
        assert sorted(cls.checksums) == sorted(TINY)
        assert all(len(checksum.digest) == length for checksum in cls.checksums.values())


# Whole batches at once

NORMALIZE = transforms.Normalize((0.1307,), (0.3081,))


@pytest.mark.parametrize(
    ("transform", "at_once"),
    [
        (transforms.ToTensor(), True),
        (transforms.Compose([transforms.ToTensor(), NORMALIZE]), True),
        (transforms.Compose([transforms.Compose([transforms.ToTensor()]), NORMALIZE]), True),
        (transforms.Compose([transforms.ToTensor(), transforms.Lambda(lambda x: x)]), False),
        (transforms.Compose([transforms.Pad(1), transforms.ToTensor()]), False),
        (type("Mine", (transforms.ToTensor,), {})(), False),
        (transforms.PILToTensor(), False),
    ],
)
@pytest.mark.parametrize("default", ["float32", "float64"])
def test_a_batch_is_bit_for_bit_its_samples(
    train: datasets.MNIST, transform: Any, at_once: bool, default: str
) -> None:
    dataset = datasets.MNIST(train=False, transform=transform, target_transform=lambda t: t + 100)
    dtypes.set_default_dtype(dtypes.as_dtype(default))
    try:
        indices = [9999, 0, 5, 5, 123]
        fast, slow = dataset.__getitems__(indices), [dataset[i] for i in indices]
    finally:
        dtypes.set_default_dtype(dtypes.float32)
    for (x, target), (y, other) in zip(fast, slow, strict=True):
        assert x.array.dtype == y.array.dtype
        assert x.array.tobytes() == y.array.tobytes()
        assert (target, type(target)) == (other, type(other))
    shared = fast[0][0].array.base is not None and fast[0][0].array.base is fast[1][0].array.base
    assert shared == at_once


def test_batches_see_what_the_user_changed(train: datasets.MNIST) -> None:
    dataset = datasets.MNIST(train=False, transform=transforms.ToTensor())
    dataset.data = Tensor._wrap(dataset.data.array[:10] // 2)
    dataset.targets = [7] * 10
    (x, target), _ = dataset.__getitems__([3, 4])
    assert np.array_equal(x.array, dataset[3][0].array)
    assert target == 7
    assert len(dataset) == 10
    dataset.data = Tensor._wrap(dataset.data.array.astype(np.float32))  # not what PIL calls L
    assert np.array_equal(dataset.__getitems__([3])[0][0].array, dataset[3][0].array)


def test_a_subclass_with_its_own_items_gets_them() -> None:
    class Numbered(datasets.MNIST):
        def __getitem__(self, index: int) -> Any:
            return (*super().__getitem__(index), index)

    dataset = Numbered(train=False, transform=transforms.ToTensor())
    for loaded in (dataset, Subset(dataset, range(100))):
        x, target, index = next(iter(DataLoader(loaded, 3)))
        assert index.array.tolist() == [0, 1, 2]
        assert x.shape == (3, 1, 28, 28)
        assert target.array.tolist() == [7, 2, 1]


def test_a_loader_of_mnist_gives_what_its_samples_give() -> None:
    transform = transforms.Compose([transforms.ToTensor(), NORMALIZE])
    dataset = datasets.MNIST(train=False, transform=transform)
    part, _ = random_split(dataset, [100, 9900])
    for num_workers in (0, 2):
        batches = list(DataLoader(part, 64, num_workers=num_workers))
        x = np.concatenate([x.array for x, _ in batches])
        targets = np.concatenate([t.array for _, t in batches])
        assert x.tobytes() == np.stack([part[i][0].array for i in range(100)]).tobytes()
        assert targets.tolist() == [part[i][1] for i in range(100)]
        assert targets.dtype == np.int64


# CIFAR


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


PHOTOS = np.random.default_rng(2).integers(0, 256, (7, 3, 32, 32), dtype=np.uint8)
CIFAR_FILES = {
    "data_batch_1": {"data": PHOTOS[:3].reshape(3, -1), "labels": [0, 1, 1], "batch_label": "1"},
    "data_batch_2": {"data": PHOTOS[3:5].reshape(2, -1), "labels": [1, 0]},
    "test_batch": {"data": PHOTOS[5:].reshape(2, -1), "labels": [0, 1]},
    "batches.meta": {"label_names": ["cat", "dog"], "num_vis": 3072},
}
CIFAR_BYTES = {name: python2_pickle(content) for name, content in CIFAR_FILES.items()}


def md5(content: bytes) -> str:
    return hashlib.md5(content).hexdigest()


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


# Folders


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name, value in [
        ("dog/b.png", 20), ("dog/a.PNG", 10), ("cat/deep/er/x.bmp", 40), ("cat/c.jpg", 30),
    ]:  # fmt: skip
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (5, 4), value).save(path)
    (tmp_path / "cat" / "notes.txt").write_text("not an image")
    (tmp_path / "readme.png").write_text("not in a class")
    return tmp_path


def test_image_folder(tree: Path) -> None:
    dataset = datasets.ImageFolder(tree)
    assert dataset.classes == ["cat", "dog"]
    assert dataset.class_to_idx == {"cat": 0, "dog": 1}
    found = [(Path(path).relative_to(tree).as_posix(), target) for path, target in dataset.samples]
    assert found == [("cat/c.jpg", 0), ("cat/deep/er/x.bmp", 0), ("dog/a.PNG", 1), ("dog/b.png", 1)]
    assert dataset.imgs == dataset.samples
    assert dataset.targets == [0, 0, 1, 1]
    image, target = dataset[3]
    assert (image.mode, image.size, target) == ("RGB", (5, 4), 1)
    assert image.getpixel((0, 0)) == (20, 20, 20)
    loader = DataLoader(datasets.ImageFolder(str(tree), transforms.ToTensor()), 4, num_workers=2)
    (batch,) = loader
    assert batch[0].shape == (4, 3, 4, 5)


def test_image_folder_with_other_rules(tree: Path) -> None:
    texts = datasets.DatasetFolder(
        tree, lambda path: Path(path).read_text(), (".txt",), str.upper, str, allow_empty=True
    )
    assert list(texts) == [("NOT AN IMAGE", "0")]
    only = datasets.ImageFolder(tree, is_valid_file=lambda path: "deep" in path or "dog" in path)
    assert only.targets == [0, 1, 1]
    with pytest.raises(FileNotFoundError, match=r"no valid file for the classes dog"):
        datasets.ImageFolder(tree, is_valid_file=lambda path: "cat" in path)
    assert (
        len(datasets.ImageFolder(tree, is_valid_file=lambda p: "cat" in p, allow_empty=["dog"]))
        == 3
    )

    class Merged(datasets.ImageFolder):
        def find_classes(self, directory: str | Path) -> tuple[list[str], dict[str, int]]:
            return ["animal"], {"cat": 0, "dog": 0}

    assert Merged(tree).targets == [0] * 4


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"extensions": (".png",), "is_valid_file": bool}, ValueError),
        ({}, ValueError),
        ({"extensions": (".gif",)}, FileNotFoundError),
    ],
)
def test_dataset_folder_refuses(tree: Path, arguments: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        datasets.DatasetFolder(tree, open, **arguments)


def test_an_empty_folder_and_a_broken_image_are_named(tree: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(FileNotFoundError, match=r"Couldn't find any class folder in .*empty"):
        datasets.ImageFolder(empty)
    empty.rmdir()
    whole = io.BytesIO()
    Image.fromarray(PHOTOS[0, 0]).save(whole, "PNG")
    for content in (b"", b"text", whole.getvalue()[:500]):
        (tree / "dog" / "b.png").write_bytes(content)
        with pytest.raises(OSError) as info:
            datasets.ImageFolder(tree)[3]
        assert "b.png" in "".join(info.value.__notes__)


# Others


def test_fake_data() -> None:
    data = datasets.FakeData(5, (3, 4, 6), 7)
    assert len(data) == 5
    samples = list(data)
    assert [image.size for image, _ in samples] == [(6, 4)] * 5
    assert all(0 <= target < 7 for _, target in samples)
    assert all(a[0] == b[0] and a[1] == b[1] for a, b in zip(samples, data, strict=True))
    assert samples[0][0] != samples[1][0]
    shifted = datasets.FakeData(5, (3, 4, 6), 7, random_offset=1)
    assert shifted[0] == samples[1]
    with pytest.raises(IndexError):
        data[5]
    grey = datasets.FakeData(1, (1, 4, 6), transform=transforms.ToTensor(), target_transform=str)
    assert grey[0][0].shape == (1, 4, 6)
    assert isinstance(grey[0][1], str)
    assert repr(data) == "Dataset FakeData\n    Number of datapoints: 5"


def test_vision_dataset_takes_one_kind_of_transforms() -> None:
    with pytest.raises(ValueError, match="not both"):
        datasets.VisionDataset(".", transforms=lambda x, y: (x, y), transform=abs)
