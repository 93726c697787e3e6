"""Images in folders, one folder per class."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from PIL import Image

from .vision import Apply, VisionDataset

IMG_EXTENSIONS = (
    ".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp",
)  # fmt: skip
IsValid = Callable[[str], bool]


def has_file_allowed_extension(filename: str, extensions: str | Iterable[str]) -> bool:
    """Whether the name ends in one of ``extensions`` (lower case), in any case."""
    return filename.lower().endswith(
        extensions if isinstance(extensions, str) else tuple(extensions)
    )


def is_image_file(filename: str) -> bool:
    """Whether the name ends as an image's does."""
    return has_file_allowed_extension(filename, IMG_EXTENSIONS)


def find_classes(directory: str | Path) -> tuple[list[str], dict[str, int]]:
    """The sorted names of the folders in ``directory``, and the number of each."""
    classes = sorted(entry.name for entry in os.scandir(directory) if entry.is_dir())
    if not classes:
        raise FileNotFoundError(f"Couldn't find any class folder in {directory}.")
    return classes, {name: i for i, name in enumerate(classes)}


def make_dataset(
    directory: str | Path,
    class_to_idx: dict[str, int] | None = None,
    extensions: str | Iterable[str] | None = None,
    is_valid_file: IsValid | None = None,
    allow_empty: bool | Iterable[str] = False,
) -> list[tuple[str, int]]:
    """(path, class number) of every valid file below each class's folder, in sorted order.

    Valid is what ends in ``extensions`` or what ``is_valid_file`` says; ValueError unless exactly
    one of them is given. FileNotFoundError for classes without a file, except those that
    ``allow_empty`` names (True: all).
    """
    if class_to_idx is None:
        class_to_idx = find_classes(directory)[1]
    elif not class_to_idx:
        raise ValueError("'class_to_idx' must have at least one entry to collect any samples.")
    if (extensions is None) == (is_valid_file is None):
        raise ValueError(
            "Both extensions and is_valid_file cannot be None or not None at the same time"
        )
    if is_valid_file is None:
        endings = extensions if isinstance(extensions, str) else tuple(extensions or ())

        def is_valid_file(path: str) -> bool:
            return has_file_allowed_extension(path, endings)

    samples = []
    empty = set(class_to_idx)
    for name in sorted(class_to_idx):
        top = Path(directory).expanduser() / name
        for folder, _, files in sorted(os.walk(top, followlinks=True)):
            for file in sorted(files):
                path = str(Path(folder) / file)
                if is_valid_file(path):
                    samples.append((path, class_to_idx[name]))
                    empty.discard(name)
    if allow_empty is not True:
        empty -= set(allow_empty or ())
        if empty:
            endings_text = "" if extensions is None else f" Supported extensions are: {extensions}"
            raise FileNotFoundError(
                f"Found no valid file for the classes {', '.join(sorted(empty))} in {directory}."
                + endings_text
            )
    return samples


def pil_loader(path: str) -> Image.Image:
    """The image in a file, as RGB. OSError, naming the file, if it is none or is cut off."""
    try:
        with Image.open(path) as image:
            return image.convert("RGB")
    except OSError as error:
        error.add_note(f"(while reading {path})")
        raise


default_loader = pil_loader


class DatasetFolder(VisionDataset):
    """Samples in ``root/class/**/file``: (``loader(path)``, class number), by sorted class names.

    Attributes: ``classes``, ``class_to_idx``, ``samples`` (path, class number), ``targets``.
    """

    def __init__(
        self,
        root: str | Path,
        loader: Callable[[str], Any],
        extensions: tuple[str, ...] | None = None,
        transform: Apply | None = None,
        target_transform: Apply | None = None,
        is_valid_file: IsValid | None = None,
        allow_empty: bool | Iterable[str] = False,
    ) -> None:
        super().__init__(root, transform=transform, target_transform=target_transform)
        folder = str(self.root)
        self.classes, self.class_to_idx = self.find_classes(folder)
        self.samples = self.make_dataset(
            folder,
            class_to_idx=self.class_to_idx,
            extensions=extensions,
            is_valid_file=is_valid_file,
            allow_empty=allow_empty,
        )
        self.targets = [target for _, target in self.samples]
        self.loader = loader
        self.extensions = extensions

    @staticmethod
    def make_dataset(*args: Any, **kwargs: Any) -> list[tuple[str, int]]:
        """:func:`make_dataset`; subclasses may choose samples otherwise."""
        return make_dataset(*args, **kwargs)

    def find_classes(self, directory: str | Path) -> tuple[list[str], dict[str, int]]:
        """:func:`find_classes`; subclasses may name classes otherwise."""
        return find_classes(directory)

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        path, target = self.samples[index]
        sample = self.loader(path)
        if self.transform is not None:
            sample = self.transform(sample)
        return sample, target if self.target_transform is None else self.target_transform(target)

    def __len__(self) -> int:
        return len(self.samples)


class ImageFolder(DatasetFolder):
    """Images in ``root/class/**/name.png`` (or another of ``IMG_EXTENSIONS``), read as RGB.

    ``imgs`` is ``samples``. Everything else as :class:`DatasetFolder`.
    """

    def __init__(
        self,
        root: str | Path,
        transform: Apply | None = None,
        target_transform: Apply | None = None,
        loader: Callable[[str], Any] = default_loader,
        is_valid_file: IsValid | None = None,
        allow_empty: bool | Iterable[str] = False,
    ) -> None:
        super().__init__(
            root,
            loader,
            IMG_EXTENSIONS if is_valid_file is None else None,
            transform,
            target_transform,
            is_valid_file,
            allow_empty,
        )
        self.imgs = self.samples
