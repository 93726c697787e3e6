"""The architectures, one file per paper, under torchvision's names.

``resnet50(num_classes=10)`` builds one, ``get_model("resnet50")`` does so by name, and
``resnet50(weights="file.pth")`` loads weights; ``ResNet50_Weights`` and its like, found here too,
are the files that torchvision has published. The lecture's own are in ``lecture``, and by name.
"""

from __future__ import annotations

from typing import Any

from . import frozen as frozen
from . import lecture
from .alexnet import AlexNet, alexnet
from .cifar_resnet import (
    CifarResNet,
    cifar_resnet,
    plain20,
    plain32,
    plain44,
    plain56,
    plain110,
    preact_resnet20,
    preact_resnet32,
    preact_resnet44,
    preact_resnet56,
    preact_resnet110,
    resnet20,
    resnet32,
    resnet44,
    resnet56,
    resnet110,
)
from .densenet import (
    DenseNet,
    densenet121,
    densenet161,
    densenet169,
    densenet201,
    densenet_bc,
    densenet_bc40_k12,
    densenet_bc100_k12,
)
from .googlenet import GoogLeNet, GoogLeNetOutputs, googlenet
from .inception_v3 import Inception3, InceptionOutputs, inception_v3
from .inception_v4 import InceptionV4, inception_v4
from .mobilenet_v2 import MobileNetV2, mobilenet_v2
from .preact_resnet import (
    ResNetV2,
    resnetv2_18,
    resnetv2_34,
    resnetv2_50,
    resnetv2_101,
    resnetv2_152,
)
from .registry import ARCHITECTURES, get_model, get_model_builder, list_models
from .resnet import (
    ResNet,
    plain18,
    plain34,
    resnet18,
    resnet34,
    resnet50,
    resnet101,
    resnet152,
    resnext50_32x4d,
    resnext101_32x8d,
    wide_resnet50_2,
    wide_resnet101_2,
)
from .squeezenet import SqueezeNet, squeezenet1_0, squeezenet1_1
from .vgg import VGG, vgg11, vgg11_bn, vgg13, vgg13_bn, vgg16, vgg16_bn, vgg19, vgg19_bn

__all__ = [
    "ARCHITECTURES", "get_model", "get_model_builder", "lecture", "list_models",
    "AlexNet", "alexnet",
    "CifarResNet", "cifar_resnet", "resnet20", "resnet32", "resnet44", "resnet56", "resnet110",
    "plain20", "plain32", "plain44", "plain56", "plain110",
    "preact_resnet20", "preact_resnet32", "preact_resnet44", "preact_resnet56", "preact_resnet110",
    "DenseNet", "densenet121", "densenet161", "densenet169", "densenet201",
    "densenet_bc", "densenet_bc40_k12", "densenet_bc100_k12",
    "GoogLeNet", "GoogLeNetOutputs", "googlenet",
    "Inception3", "InceptionOutputs", "inception_v3", "InceptionV4", "inception_v4",
    "MobileNetV2", "mobilenet_v2",
    "ResNet", "resnet18", "resnet34", "resnet50", "resnet101", "resnet152", "resnext50_32x4d",
    "resnext101_32x8d", "wide_resnet50_2", "wide_resnet101_2", "plain18", "plain34",
    "ResNetV2", "resnetv2_18", "resnetv2_34", "resnetv2_50", "resnetv2_101", "resnetv2_152",
    "SqueezeNet", "squeezenet1_0", "squeezenet1_1",
    "VGG", "vgg11", "vgg11_bn", "vgg13", "vgg13_bn", "vgg16", "vgg16_bn", "vgg19", "vgg19_bn",
    "get_model_weights", "get_weight",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    """The published weights, whose 1000 class names are read only when they are asked for."""
    if name.endswith("_Weights") or name in ("get_model_weights", "get_weight"):
        from . import published

        if hasattr(published, name):
            return getattr(published, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
