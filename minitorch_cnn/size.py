"""``torch.Size``: a tuple of dimensions that prints as PyTorch's does."""

from __future__ import annotations

import math


class Size(tuple[int, ...]):
    """A shape. ``numel()`` is the product of its entries; slices and sums stay Sizes."""

    __slots__ = ()

    def numel(self) -> int:
        return math.prod(self)

    def __repr__(self) -> str:
        return f"torch.Size([{', '.join(map(str, self))}])"

    def __getitem__(self, index):  # type: ignore[no-untyped-def]
        item = super().__getitem__(index)
        return Size(item) if isinstance(index, slice) else item

    def __add__(self, other):  # type: ignore[no-untyped-def]
        return Size(super().__add__(tuple(other)))
