"""Looking into networks: filters, feature maps, Grad-CAM, and the lecture's moving windows.

What is shown is computed first, as arrays (``first_layer_filters``, ``feature_maps``, ``grad_cam``,
``convolution_steps``, ``pooling_steps``, ``curves``), and drawn by another function. Only drawing
needs matplotlib: ``pip install "minitorch-cnn[app]"``.
"""

from __future__ import annotations

from .figures import (
    curves,
    feature_maps_figure,
    filters_figure,
    grad_cam_figure,
    training_curves,
)
from .gradcam import Explanation, explain, grad_cam
from .in_action import InAction, convolution_in_action, pooling_in_action
from .maps import feature_maps, first_layer_filters
from .output import save_figure
from .windows import Sliding, Step, convolution_steps, pooling_steps

__all__ = [
    "first_layer_filters", "filters_figure",
    "feature_maps", "feature_maps_figure",
    "grad_cam", "explain", "Explanation", "grad_cam_figure",
    "convolution_steps", "convolution_in_action",
    "pooling_steps", "pooling_in_action", "Sliding", "Step", "InAction",
    "curves", "training_curves", "save_figure",
]  # fmt: skip
