"""Data sets, samplers and the DataLoader, under ``torch.utils.data``'s names.

A *dataset* answers ``dataset[i]``; a *sampler* says which ``i`` come in which order; *collate*
makes one batch tensor of many samples; the :class:`DataLoader` puts the three together, with
background threads if asked.
"""

from __future__ import annotations

from ._collate import collate, default_collate, default_collate_fn_map, default_convert
from ._workers import WorkerInfo, get_worker_info
from .dataloader import DataLoader
from .dataset import (
    ChainDataset,
    ConcatDataset,
    Dataset,
    IterableDataset,
    StackDataset,
    Subset,
    TensorDataset,
    random_split,
)
from .sampler import (
    BatchSampler,
    RandomSampler,
    Sampler,
    SequentialSampler,
    SubsetRandomSampler,
    WeightedRandomSampler,
)

__all__ = [
    "DataLoader",
    "Dataset",
    "IterableDataset",
    "TensorDataset",
    "StackDataset",
    "ConcatDataset",
    "ChainDataset",
    "Subset",
    "random_split",
    "Sampler",
    "SequentialSampler",
    "RandomSampler",
    "SubsetRandomSampler",
    "WeightedRandomSampler",
    "BatchSampler",
    "collate",
    "default_collate",
    "default_collate_fn_map",
    "default_convert",
    "WorkerInfo",
    "get_worker_info",
]
