"""Collating: one batch of many samples.

Tensors, arrays and numbers are stacked along a new first axis; tuples, lists, dicts and
namedtuples are collated field by field; strings and bytes stay a list.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, MutableMapping, MutableSequence, Sequence
from typing import Any, TypeAlias

import numpy as np

from ...dtypes import from_numpy_dtype, get_default_dtype
from ...tensor import Tensor

CollateFn: TypeAlias = Callable[..., Any]
CollateMap: TypeAlias = dict[type | tuple[type, ...], CollateFn]


def collate(batch: Sequence[Any], *, collate_fn_map: CollateMap | None = None) -> Any:
    """Collate by the type of the first sample, which ``collate_fn_map`` may list.

    Its functions are called as ``fn(batch, collate_fn_map=collate_fn_map)``. Mappings and
    sequences that are not listed are collated field by field, keeping their type (a plain tuple
    becomes a list, as in PyTorch). Errors: TypeError for any other type, RuntimeError for
    sequences of unequal lengths and tensors of unequal shapes.
    """
    elem = batch[0]
    kinds = collate_fn_map or {}
    fn = kinds.get(type(elem)) or next((kinds[k] for k in kinds if isinstance(elem, k)), None)
    if fn is not None:
        return fn(batch, collate_fn_map=collate_fn_map)

    def join(samples: Sequence[Any]) -> Any:
        return collate(samples, collate_fn_map=collate_fn_map)

    if isinstance(elem, Mapping):
        return _like_mapping(elem, {key: join([d[key] for d in batch]) for key in elem})
    if isinstance(elem, Sequence):
        sizes = {len(sample) for sample in batch}
        if len(sizes) > 1:
            raise RuntimeError(
                "each element in list of batch should be of equal size, but this batch has"
                f" {type(elem).__name__}s of lengths {sorted(sizes)}; pad them, or pass a"
                " collate_fn"
            )
        return _like_sequence(elem, [join(samples) for samples in zip(*batch)])
    hint = " (PIL images: add transforms.ToTensor())" if "PIL" in type(elem).__module__ else ""
    raise TypeError(_unknown(type(elem)) + hint)


def pinned(data: Any) -> Any:
    """The tensors in a batch in pinned memory; what has a ``pin_memory`` method is asked."""
    if hasattr(data, "pin_memory"):
        return data.pin_memory()
    if isinstance(data, Mapping):
        return _like_mapping(data, {key: pinned(value) for key, value in data.items()})
    if isinstance(data, Sequence) and not isinstance(data, (str, bytes)):
        return _like_sequence(data, [pinned(value) for value in data])
    return data


def default_convert(data: Any) -> Any:
    """NumPy arrays and scalars inside ``data`` as tensors; everything else as it is.

    What a DataLoader does to each sample when batching is off (``batch_size=None``).
    """
    if isinstance(data, Tensor):
        return data
    if isinstance(data, (np.ndarray, np.generic)):
        return data if data.dtype.kind in "SUO" else Tensor._wrap(_checked(np.asarray(data)))
    if isinstance(data, Mapping):
        return _like_mapping(data, {key: default_convert(data[key]) for key in data})
    if isinstance(data, Sequence) and not isinstance(data, (str, bytes)):
        return _like_sequence(data, [default_convert(d) for d in data])
    return data


def _like_mapping(elem: Mapping[Any, Any], items: dict[Any, Any]) -> Mapping[Any, Any]:
    """``items`` in a mapping of elem's type, with its other properties where it can be copied."""
    try:
        if isinstance(elem, MutableMapping):
            clone = copy.copy(elem)
            clone.update(items)
            return clone
        return type(elem)(items)  # type: ignore[call-arg]
    except TypeError:
        return items


def _like_sequence(elem: Sequence[Any], items: list[Any]) -> Sequence[Any]:
    if isinstance(elem, tuple):
        return type(elem)(*items) if hasattr(elem, "_fields") else items
    try:
        if isinstance(elem, MutableSequence):
            clone = copy.copy(elem)
            for i, item in enumerate(items):
                clone[i] = item
            return clone
        return type(elem)(items)  # type: ignore[call-arg]
    except TypeError:
        return items  # range and its like cannot hold tensors


def _unknown(found: object) -> str:
    return (
        "default_collate: batch must contain tensors, numpy arrays, numbers, dicts or lists;"
        f" found {found}"
    )


def _checked(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The array, if tensors have its type (in the machine's byte order)."""
    return array.astype(from_numpy_dtype(array.dtype).numpy, copy=False)


def _stack(arrays: Sequence[np.ndarray[Any, Any]]) -> Tensor:
    shape = arrays[0].shape
    for i, array in enumerate(arrays):
        if array.shape != shape:
            raise RuntimeError(
                f"stack expects each tensor to be equal size, but got {list(shape)} at entry 0"
                f" and {list(array.shape)} at entry {i}. Bring the samples of a batch to one size"
                " (transforms.Resize, CenterCrop, Pad), or pass a collate_fn."
            )
    return Tensor._wrap(np.stack(arrays))


def _collate_tensors(batch: Sequence[Tensor], *, collate_fn_map: CollateMap | None = None) -> Any:
    if any(sample.requires_grad for sample in batch):
        from ...functions import stack

        return stack(list(batch))
    return _stack([sample.array for sample in batch])


def _collate_arrays(
    batch: Sequence[np.ndarray[Any, Any]], *, collate_fn_map: CollateMap | None = None
) -> Any:
    if batch[0].dtype.kind in "SUO":
        raise TypeError(_unknown(batch[0].dtype))
    return collate([Tensor._wrap(_checked(a)) for a in batch], collate_fn_map=collate_fn_map)


def _collate_numpy_scalars(
    batch: Sequence[Any], *, collate_fn_map: CollateMap | None = None
) -> Any:
    return Tensor._wrap(_checked(np.array(batch)))


def _collate_floats(batch: Sequence[float], *, collate_fn_map: CollateMap | None = None) -> Any:
    return Tensor._wrap(np.array(batch, np.float64))


def _collate_ints(batch: Sequence[int], *, collate_fn_map: CollateMap | None = None) -> Any:
    kinds = {type(value) for value in batch}
    if kinds == {bool}:
        return Tensor._wrap(np.array(batch, np.bool_))
    if float in kinds:
        return Tensor._wrap(np.array(batch, get_default_dtype().numpy))
    return Tensor._wrap(np.array(batch, np.int64))


def _keep(batch: Sequence[Any], *, collate_fn_map: CollateMap | None = None) -> Any:
    return batch


default_collate_fn_map: CollateMap = {
    Tensor: _collate_tensors,
    np.ndarray: _collate_arrays,
    (np.bool_, np.number, np.object_): _collate_numpy_scalars,
    float: _collate_floats,
    int: _collate_ints,
    str: _keep,
    bytes: _keep,
}


def default_collate(batch: Sequence[Any]) -> Any:
    """Make a batch of samples: what a DataLoader does unless it has a ``collate_fn``.

    Tensors and NumPy arrays are stacked; ints give an int64, floats a float64 and bools a bool
    tensor of shape (N,); strings and bytes stay a list; tuples, lists, dicts and namedtuples are
    collated field by field. ``default_collate_fn_map`` lists the types, and may be added to.
    """
    return collate(batch, collate_fn_map=default_collate_fn_map)
