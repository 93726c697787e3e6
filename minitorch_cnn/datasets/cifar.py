"""CIFAR-10 and CIFAR-100: 32 by 32 colour photographs."""

from __future__ import annotations

import hashlib
import pickle
import shutil
import tarfile
import zlib
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from ..serialization import atomic_write
from ._download import Checksum, RemoteFile, fetch
from ._pickle import load_plain
from ._root import default_root
from .vision import Apply, InMemoryImages


class CIFAR10(InMemoryImages):
    """50,000 photographs to train on and 10,000 to test, 32 by 32 in colour, in ten classes.

    ``root/cifar-10-batches-py`` holds the files, or ``root`` the archive that they come from
    (``root=None``: a cache folder of the user's); ``download=True`` gets it. Samples are
    (PIL image of mode RGB, int). ``data`` is a uint8 array (N, 32, 32, 3), ``targets`` a list.

    Errors: RuntimeError for a missing file or a wrong checksum. Source: A. Krizhevsky, Learning
    Multiple Layers of Features from Tiny Images, 2009.
    """

    base_folder: ClassVar[str] = "cifar-10-batches-py"
    mirrors: ClassVar[list[str]] = ["https://www.cs.toronto.edu/~kriz/"]
    filename: ClassVar[str] = "cifar-10-python.tar.gz"
    tgz_md5: ClassVar[str] = "c58f30108f718f92721af3b95e74349a"
    train_list: ClassVar[list[tuple[str, str]]] = [
        ("data_batch_1", "c99cafc152244af753f735de768cd75f"),
        ("data_batch_2", "d4bba439e000b95fd0a9bffe97cbabec"),
        ("data_batch_3", "54ebc095f3ab1f0389bbae665268c751"),
        ("data_batch_4", "634d18415352ddfa80567beed471001a"),
        ("data_batch_5", "482c414d41f54cd18b22e5b47cb7c3cb"),
    ]
    test_list: ClassVar[list[tuple[str, str]]] = [
        ("test_batch", "40351d587109b95175f43aff81a1287e"),
    ]
    meta: ClassVar[tuple[str, str]] = ("batches.meta", "5ff9c542aee3614f3951f8cda6e48888")
    labels_key: ClassVar[str] = "labels"
    names_key: ClassVar[str] = "label_names"

    def __init__(
        self,
        root: str | Path | None = None,
        train: bool = True,
        transform: Apply | None = None,
        target_transform: Apply | None = None,
        download: bool = False,
    ) -> None:
        super().__init__(
            default_root() if root is None else root,
            transform=transform,
            target_transform=target_transform,
        )
        self.train = train
        self._folder = Path(str(self.root), self.base_folder)
        if download:
            self.download()
        elif not self._complete() and (self._folder.parent / self.filename).exists():
            self._extract()
        parts = [self._load(*file) for file in (self.train_list if train else self.test_list)]
        planes = np.concatenate([part["data"] for part in parts]).reshape(-1, 3, 32, 32)
        self.data = np.ascontiguousarray(planes.transpose(0, 2, 3, 1))
        self.targets = [label for part in parts for label in part[self.labels_key]]
        self.classes: list[str] = self._load(*self.meta)[self.names_key]
        self.class_to_idx = {name: i for i, name in enumerate(self.classes)}

    def _files(self) -> list[tuple[str, str]]:
        return [*self.train_list, *self.test_list, self.meta]

    def _complete(self) -> bool:
        return all((self._folder / name).exists() for name, _ in self._files())

    def download(self) -> None:
        """Get and unpack the archive, unless all its files are there and right."""
        if all(
            (self._folder / name).exists()
            and Checksum("md5", md5).found_in(self._folder / name) == md5
            for name, md5 in self._files()
        ):
            return
        urls = tuple(mirror + self.filename for mirror in self.mirrors)
        archive = RemoteFile(self.filename, urls, Checksum("md5", self.tgz_md5))
        fetch(archive, self._folder.parent)
        self._extract()

    def _extract(self) -> None:
        """Unpack the files that we know by name, and nothing else, from the archive."""
        archive = self._folder.parent / self.filename
        self._folder.mkdir(parents=True, exist_ok=True)
        wanted = {f"{self.base_folder}/{name}": name for name, _ in self._files()}
        try:
            with tarfile.open(archive) as tar:
                for member in tar:
                    if member.isfile() and member.name in wanted:
                        source = tar.extractfile(member)
                        assert source is not None
                        with atomic_write(self._folder / wanted[member.name]) as out:
                            shutil.copyfileobj(source, out)
        except (tarfile.TarError, EOFError, zlib.error) as error:
            found = Checksum("md5", self.tgz_md5).found_in(archive)
            raise RuntimeError(
                f"{archive} is corrupt or truncated ({error}): expected md5 {self.tgz_md5}, found"
                f" {found}. Delete it; download=True then gets it again."
            ) from None

    def _load(self, name: str, md5: str) -> dict[str, Any]:
        """One of the pickled dicts, read only if its checksum is right."""
        path = self._folder / name
        if not path.exists():
            raise RuntimeError(
                f"Dataset not found or corrupted: there is no {path}. You can use download=True to"
                f" download it, or put {self.filename} into {self._folder.parent}"
            )
        content = path.read_bytes()
        found = hashlib.md5(content, usedforsecurity=False).hexdigest()
        if found != md5:
            raise RuntimeError(
                f"{path} is corrupt or truncated: expected md5 {md5}, found {found}. Delete it;"
                " download=True then gets it again."
            )
        try:
            loaded: dict[str, Any] = load_plain(content)
        except pickle.UnpicklingError as error:
            raise RuntimeError(f"{path} is not a file of {type(self).__name__}: {error}") from error
        return loaded

    def extra_repr(self) -> str:
        return f"Split: {'Train' if self.train else 'Test'}"


class CIFAR100(CIFAR10):
    """CIFAR-10's sister with 100 classes: 500 photographs of each to train on, 100 to test."""

    base_folder: ClassVar[str] = "cifar-100-python"
    filename: ClassVar[str] = "cifar-100-python.tar.gz"
    tgz_md5: ClassVar[str] = "eb9058c3a382ffc7106e4002c42a8d85"
    train_list: ClassVar[list[tuple[str, str]]] = [("train", "16019d7e3df5f24257cddd939b257f8d")]
    test_list: ClassVar[list[tuple[str, str]]] = [("test", "f0ef6b0ae62326f3e7ffdfab6717acfc")]
    meta: ClassVar[tuple[str, str]] = ("meta", "7973b15100ade9c7d40fb424638fde48")
    labels_key: ClassVar[str] = "fine_labels"
    names_key: ClassVar[str] = "fine_label_names"
