"""The networks of ``train`` and ``experiment lecture``, each with the settings that suit it."""

from __future__ import annotations

from typing import Any

from .options import Options

# The two modern networks: He's and Huang's optimiser, with one cycle instead of hundreds of epochs.
_MODERN: dict[str, Any] = {
    "batch_size": 128,
    "lr": 0.1,
    "momentum": 0.9,
    "nesterov": True,
    "weight_decay": 5e-4,
    "schedule": "onecycle",
    "augment": "affine",
}

PRESETS: dict[str, Options] = {
    "cnn": Options(model="cnn"),
    "inception": Options(model="inception"),
    "deeper": Options(model="deeper"),
    # Stride 2 in the first convolution: the stages see 14x14, 7x7 and 4x4.
    "resnet20": Options(
        model="resnet20",
        model_options={"in_channels": 1, "stem_stride": 2},
        epochs=3,
        **_MODERN,
    ),
    # The stem for photographs (stride 2, then pooling): the blocks see 7x7, 3x3 and 1x1.
    "densenet": Options(
        model="densenet",
        model_options={
            "growth_rate": 12,
            "block_config": [4, 4, 4],
            "num_init_features": 24,
            "num_classes": 10,
            "in_channels": 1,
        },
        epochs=5,
        **_MODERN,
    ),
}
