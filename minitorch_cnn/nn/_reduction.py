"""The ``reduction`` argument of losses and its two predecessors."""

from __future__ import annotations

import warnings

from ..tensor import Tensor


def legacy_get_string(
    size_average: bool | None, reduce: bool | None, emit_warning: bool = True, stacklevel: int = 3
) -> str:
    """What ``size_average`` and ``reduce`` of 2017 mean today; warns as PyTorch does."""
    average = True if size_average is None else size_average
    reduced = True if reduce is None else reduce
    name = ("mean" if average else "sum") if reduced else "none"
    if emit_warning:
        warnings.warn(
            "size_average and reduce args will be deprecated, please use"
            f" reduction='{name}' instead.",
            UserWarning,
            stacklevel=stacklevel,
        )
    return name


def chosen(
    reduction: str, size_average: bool | None = None, reduce: bool | None = None, *, also: str = ""
) -> str:
    """The reduction of a function that takes all three arguments; ``also`` is one more choice."""
    if size_average is not None or reduce is not None:
        return legacy_get_string(size_average, reduce, stacklevel=4)
    if reduction not in ("none", "mean", "sum") and (not also or reduction != also):
        raise ValueError(f"{reduction} is not a valid value for reduction")
    return reduction


def reduced(loss: Tensor, reduction: str) -> Tensor:
    """``loss`` (one number per element) as a mean, a sum or itself."""
    if reduction == "none":
        return loss
    return loss.mean() if reduction == "mean" else loss.sum()
