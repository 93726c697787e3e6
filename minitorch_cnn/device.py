"""``torch.device``: where an array lives. Device is where the data is; there is no global one."""

from __future__ import annotations

from typing import Any

from .kernels.backend import HOST


class device:
    """``device("cpu")``, ``device("cuda")``, ``device("cuda:1")``, ``device("cuda", 1)``."""

    __slots__ = ("index", "type")
    type: str
    index: int | None

    def __init__(self, type: str | device | int, index: int | None = None) -> None:
        name: Any = type
        if isinstance(name, device):
            name, index = name.type, name.index if index is None else index
        if isinstance(name, int):
            name, index = "cuda", name
        if not isinstance(name, str):
            raise TypeError(f"device(): expected a device name or index, got {name!r}")
        kind, colon, number = name.partition(":")
        if colon:
            if index is not None or not number.isdecimal():
                raise RuntimeError(f"Invalid device string: '{name}'")
            index = int(number)
        if kind not in ("cpu", "cuda"):
            raise RuntimeError(
                f"Expected one of cpu, cuda device type at start of device string: {name}"
            )
        self.type = kind
        self.index = index

    @classmethod
    def of(cls, array: Any) -> device:
        """The device of an array."""
        return _CPU if isinstance(array, HOST) else cls("cuda", array.device.id)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, device) and (self.type, self.index) == (other.type, other.index)

    def __hash__(self) -> int:
        return hash((self.type, self.index))

    def __str__(self) -> str:
        return self.type if self.index is None else f"{self.type}:{self.index}"

    def __repr__(self) -> str:
        index = "" if self.index is None else f", index={self.index}"
        return f"device(type='{self.type}'{index})"

    def __reduce__(self) -> tuple[Any, tuple[str, int | None]]:
        return device, (self.type, self.index)


_CPU = device("cpu")
