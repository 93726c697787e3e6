"""The one exception of loading, and sentences that its users and writers share."""

from __future__ import annotations

import pickle

STATE_DICT_HINT = (
    "open the file with the software that wrote it and save model.state_dict(), which holds"
    " tensors only"
)


class CheckpointError(RuntimeError, pickle.UnpicklingError):
    """The file is damaged, is no checkpoint, or holds something that is not loaded for safety.

    PyTorch raises RuntimeError for the first and UnpicklingError for the last: this is both.
    Nothing was loaded and nothing from the file was run.
    """
