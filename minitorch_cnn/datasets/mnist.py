"""MNIST and data sets of its format: 28 by 28 grey images in ten classes."""

from __future__ import annotations

import gzip
import hashlib
import math
import warnings
import zlib
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from ..tensor import Tensor
from ._download import Checksum, RemoteFile, fetch
from ._root import default_root
from .vision import Apply, InMemoryImages

_SHIPPED = Path(__file__).parent / "mnist_data"
_IDX_TYPES = {8: "u1", 9: "i1", 11: ">i2", 12: ">i4", 13: ">f4", 14: ">f8"}


def read_idx(content: bytes, name: str = "idx file") -> np.ndarray[Any, Any]:
    """The array of an idx file: two zero bytes, a type, the rank, big-endian sizes, the numbers.

    RuntimeError naming ``name`` if it is no idx file or has another length than it says.
    """
    if len(content) < 4 or content[:2] != b"\0\0" or content[2] not in _IDX_TYPES:
        raise RuntimeError(f"{name} is not an idx file: it begins with {content[:4]!r}")
    dtype = np.dtype(_IDX_TYPES[content[2]])
    start = 4 + 4 * content[3]
    shape = [int.from_bytes(content[i : i + 4]) for i in range(4, start, 4)]
    expected = start + math.prod(shape) * dtype.itemsize
    if len(content) != expected:
        raise RuntimeError(
            f"{name} is truncated or too long: an array of shape {shape} makes {expected:,} bytes,"
            f" but it has {len(content):,}"
        )
    array = np.frombuffer(content, dtype, offset=start).reshape(shape)
    return array.astype(dtype.newbyteorder("="))


class MNIST(InMemoryImages):
    """Handwritten digits: 60,000 images to train on and 10,000 to test, 28 by 28, 0 to 9.

    Shipped with minitorch_cnn, so ``root`` and ``download`` may be left out; files of torchvision's
    layout (``root/MNIST/raw/train-images-idx3-ubyte``, with or without .gz) are used if they are
    there and right. Samples are (PIL image of mode L, int). ``data`` is a uint8 tensor (N, 28, 28),
    ``targets`` an int64 tensor (N,).

    Errors: RuntimeError for a file whose checksum is wrong. Source: Y. LeCun, L. Bottou, Y. Bengio,
    P. Haffner, Gradient-based learning applied to document recognition, 1998.
    """

    mirrors: ClassVar[list[str]] = [
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        "https://storage.googleapis.com/cvdf-datasets/mnist/",
    ]
    checksums: ClassVar[dict[str, Checksum]] = {
        f"{name}-ubyte": Checksum("sha256", digest, of_content=True)
        for name, digest in {
            "train-images-idx3": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
            "train-labels-idx1": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
            "t10k-images-idx3": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
            "t10k-labels-idx1": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
        }.items()
    }
    shipped: ClassVar[bool] = True
    classes: ClassVar[list[str]] = [
        "0 - zero", "1 - one", "2 - two", "3 - three", "4 - four",
        "5 - five", "6 - six", "7 - seven", "8 - eight", "9 - nine",
    ]  # fmt: skip

    def __init__(
        self,
        root: str | Path | None = None,
        train: bool = True,
        transform: Apply | None = None,
        target_transform: Apply | None = None,
        download: bool = False,
    ) -> None:
        if root is None and not self.shipped:
            root = default_root()
        super().__init__(root, transform=transform, target_transform=target_transform)
        self.train = train
        if download:
            self.download()
        split = "train" if train else "t10k"
        self.data = Tensor._wrap(self._read(f"{split}-images-idx3-ubyte"))
        self.targets = Tensor._wrap(self._read(f"{split}-labels-idx1-ubyte").astype(np.int64))
        if len(self.data.array) != len(self.targets.array):
            raise RuntimeError(
                f"{type(self).__name__} in {self.raw_folder}: {len(self.data.array)} images, but"
                f" {len(self.targets.array)} labels"
            )

    @property
    def raw_folder(self) -> str:
        """Where the files are looked for and downloaded to."""
        return str(Path(self.root or ".", type(self).__name__, "raw"))

    def download(self) -> None:
        """Get all four files into ``raw_folder``, unless they are there or shipped."""
        if self.shipped:
            return
        folder = Path(self.raw_folder)
        for name, checksum in self.checksums.items():
            if not (folder / name).exists():
                urls = tuple(f"{mirror}{name}.gz" for mirror in self.mirrors)
                fetch(RemoteFile(f"{name}.gz", urls, checksum), folder)

    def _read(self, name: str) -> np.ndarray[Any, Any]:
        places = [] if self.root is None else [Path(self.raw_folder)]
        places += [_SHIPPED] if self.shipped else []
        for path in [place / file for place in places for file in (name, f"{name}.gz")]:
            if path.exists():
                return read_idx(self._checked_content(path, self.checksums[name]), str(path))
        raise RuntimeError(
            f"Dataset not found: there is no {name}[.gz] in {self.raw_folder}."
            " You can use download=True to download it"
        )

    def _checked_content(self, path: Path, checksum: Checksum) -> bytes:
        """The decompressed file; RuntimeError unless its checksum is right."""
        packed = content = path.read_bytes()
        trouble = None
        if path.suffix == ".gz":
            try:
                content = gzip.decompress(packed)
            except (gzip.BadGzipFile, zlib.error, EOFError) as error:
                trouble = f"none (broken gzip: {error})"
        elif not checksum.of_content:
            return content  # only the .gz has a known checksum; read_idx checks the rest
        hashed = content if checksum.of_content else packed
        found = trouble or hashlib.new(checksum.algorithm, hashed).hexdigest()
        if found != checksum.digest:
            fix = "it is then read from the copy shipped with minitorch_cnn"
            raise RuntimeError(
                f"{path} is corrupt or truncated: expected the {checksum}, found {found}. Delete"
                f" it; {fix if self.shipped else 'download=True then gets it again'}."
            )
        return content

    @property
    def class_to_idx(self) -> dict[str, int]:
        return {name: i for i, name in enumerate(self.classes)}

    def extra_repr(self) -> str:
        return f"Split: {'Train' if self.train else 'Test'}"

    def _renamed(self, old: str, new: str) -> Tensor:
        warnings.warn(f"{old} has been renamed {new}", stacklevel=3)
        tensor: Tensor = getattr(self, new)
        return tensor

    @property
    def train_data(self) -> Tensor:
        return self._renamed("train_data", "data")

    @property
    def test_data(self) -> Tensor:
        return self._renamed("test_data", "data")

    @property
    def train_labels(self) -> Tensor:
        return self._renamed("train_labels", "targets")

    @property
    def test_labels(self) -> Tensor:
        return self._renamed("test_labels", "targets")


class FashionMNIST(MNIST):
    """Zalando's articles of clothing, in MNIST's format and numbers; downloaded.

    ``root/FashionMNIST/raw`` holds the files (a cache folder of the user's if ``root`` is None).
    Source: H. Xiao, K. Rasul, R. Vollgraf, Fashion-MNIST, 2017.
    """

    mirrors: ClassVar[list[str]] = ["http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/"]
    checksums: ClassVar[dict[str, Checksum]] = {
        f"{name}-ubyte": Checksum("sha256", digest, of_content=True)
        for name, digest in {
            "train-images-idx3": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
            "train-labels-idx1": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
            "t10k-images-idx3": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
            "t10k-labels-idx1": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
        }.items()
    }
    shipped: ClassVar[bool] = False
    classes: ClassVar[list[str]] = [
        "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat",
        "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
    ]  # fmt: skip


class KMNIST(MNIST):
    """Ten kuzushiji (old cursive Japanese) characters, in MNIST's format and numbers; downloaded.

    ``root/KMNIST/raw`` holds the files (a cache folder of the user's if ``root`` is None).
    Source: T. Clanuwat et al., Deep Learning for Classical Japanese Literature, 2018.
    """

    mirrors: ClassVar[list[str]] = ["http://codh.rois.ac.jp/kmnist/dataset/kmnist/"]
    checksums: ClassVar[dict[str, Checksum]] = {
        f"{name}-ubyte": Checksum("md5", digest)
        for name, digest in {
            "train-images-idx3": "bdb82020997e1d708af4cf47b453dcf7",
            "train-labels-idx1": "e144d726b3acfaa3e44228e80efcd344",
            "t10k-images-idx3": "5c965bf0a639b31b8f53240b1b52f4d7",
            "t10k-labels-idx1": "7320c461ea6c1c855c0b718fb2a4b134",
        }.items()
    }
    shipped: ClassVar[bool] = False
    classes: ClassVar[list[str]] = ["o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo"]
