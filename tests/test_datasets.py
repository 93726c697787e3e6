"""Image data sets: MNIST and its kin, whole batches of them, folders."""

from __future__ import annotations

import gzip
import hashlib
import io
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from PIL import Image

from minitorch_cnn import datasets, dtypes, transforms
from minitorch_cnn.datasets._download import Checksum
from minitorch_cnn.datasets.mnist import read_idx
from minitorch_cnn.tensor import Tensor
from minitorch_cnn.utils.data import DataLoader, Subset, random_split

from .file_server import Page, Server
from .remote_files import PHOTOS, sha256

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
