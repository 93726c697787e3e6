"""The weight files that torchvision has published: address, accuracy, preparation of the images.

The eight letters and digits in a file's name begin its sha256. Accuracies are those of one centre
crop on ImageNet's validation set, in percent: the first guess is right, one of five is. Source:
torchvision 0.28, ``models/*.py``.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from types import MappingProxyType
from typing import Any

from .imagenet import ImageClassification, categories
from .weights import Weights, WeightsEnum

_SERVER = "https://download.pytorch.org/models/"


def _published(
    file: str,
    num_params: int,
    acc1: float,
    acc5: float,
    *,
    resize: int = 256,
    crop: int = 224,
    smallest: int = 1,
) -> Weights:
    """A file on torchvision's server; ``smallest`` is the side of the smallest image it takes."""
    return Weights(
        f"{_SERVER}{file}.pth",
        file.rpartition("-")[2],
        partial(ImageClassification, crop_size=crop, resize_size=resize),
        {
            "categories": list(categories()),
            "num_params": num_params,
            "min_size": (smallest, smallest),
            "_metrics": {"ImageNet-1K": {"acc@1": acc1, "acc@5": acc5}},
        },
    )


class AlexNet_Weights(WeightsEnum):
    """For alexnet."""

    IMAGENET1K_V1 = _published("alexnet-owt-7be5be79", 61_100_840, 56.522, 79.066, smallest=63)
    DEFAULT = IMAGENET1K_V1


class VGG11_Weights(WeightsEnum):
    """For vgg11."""

    IMAGENET1K_V1 = _published("vgg11-8a719046", 132_863_336, 69.02, 88.628, smallest=32)
    DEFAULT = IMAGENET1K_V1


class VGG11_BN_Weights(WeightsEnum):
    """For vgg11_bn."""

    IMAGENET1K_V1 = _published("vgg11_bn-6002323d", 132_868_840, 70.37, 89.81, smallest=32)
    DEFAULT = IMAGENET1K_V1


class VGG13_Weights(WeightsEnum):
    """For vgg13."""

    IMAGENET1K_V1 = _published("vgg13-19584684", 133_047_848, 69.928, 89.246, smallest=32)
    DEFAULT = IMAGENET1K_V1


class VGG13_BN_Weights(WeightsEnum):
    """For vgg13_bn."""

    IMAGENET1K_V1 = _published("vgg13_bn-abd245e5", 133_053_736, 71.586, 90.374, smallest=32)
    DEFAULT = IMAGENET1K_V1


class VGG16_Weights(WeightsEnum):
    """For vgg16."""

    IMAGENET1K_V1 = _published("vgg16-397923af", 138_357_544, 71.592, 90.382, smallest=32)
    DEFAULT = IMAGENET1K_V1


class VGG16_BN_Weights(WeightsEnum):
    """For vgg16_bn."""

    IMAGENET1K_V1 = _published("vgg16_bn-6c64b313", 138_365_992, 73.36, 91.516, smallest=32)
    DEFAULT = IMAGENET1K_V1


class VGG19_Weights(WeightsEnum):
    """For vgg19."""

    IMAGENET1K_V1 = _published("vgg19-dcbb9e9d", 143_667_240, 72.376, 90.876, smallest=32)
    DEFAULT = IMAGENET1K_V1


class VGG19_BN_Weights(WeightsEnum):
    """For vgg19_bn."""

    IMAGENET1K_V1 = _published("vgg19_bn-c79401a0", 143_678_248, 74.218, 91.842, smallest=32)
    DEFAULT = IMAGENET1K_V1


class SqueezeNet1_0_Weights(WeightsEnum):
    """For squeezenet1_0."""

    IMAGENET1K_V1 = _published("squeezenet1_0-b66bff10", 1_248_424, 58.092, 80.42, smallest=21)
    DEFAULT = IMAGENET1K_V1


class SqueezeNet1_1_Weights(WeightsEnum):
    """For squeezenet1_1."""

    IMAGENET1K_V1 = _published("squeezenet1_1-b8a52dc0", 1_235_496, 58.178, 80.624, smallest=17)
    DEFAULT = IMAGENET1K_V1


class GoogLeNet_Weights(WeightsEnum):
    """For googlenet."""

    IMAGENET1K_V1 = _published("googlenet-1378be20", 6_624_904, 69.778, 89.53, smallest=15)
    DEFAULT = IMAGENET1K_V1


class Inception_V3_Weights(WeightsEnum):
    """For inception_v3."""

    IMAGENET1K_V1 = _published(
        "inception_v3_google-0cc3c7bd", 27_161_264, 77.294, 93.45, resize=342, crop=299, smallest=75
    )
    DEFAULT = IMAGENET1K_V1


class ResNet18_Weights(WeightsEnum):
    """For resnet18."""

    IMAGENET1K_V1 = _published("resnet18-f37072fd", 11_689_512, 69.758, 89.078)
    DEFAULT = IMAGENET1K_V1


class ResNet34_Weights(WeightsEnum):
    """For resnet34."""

    IMAGENET1K_V1 = _published("resnet34-b627a593", 21_797_672, 73.314, 91.42)
    DEFAULT = IMAGENET1K_V1


class ResNet50_Weights(WeightsEnum):
    """For resnet50."""

    IMAGENET1K_V1 = _published("resnet50-0676ba61", 25_557_032, 76.13, 92.862)
    IMAGENET1K_V2 = _published("resnet50-11ad3fa6", 25_557_032, 80.858, 95.434, resize=232)
    DEFAULT = IMAGENET1K_V2


class ResNet101_Weights(WeightsEnum):
    """For resnet101."""

    IMAGENET1K_V1 = _published("resnet101-63fe2227", 44_549_160, 77.374, 93.546)
    IMAGENET1K_V2 = _published("resnet101-cd907fc2", 44_549_160, 81.886, 95.78, resize=232)
    DEFAULT = IMAGENET1K_V2


class ResNet152_Weights(WeightsEnum):
    """For resnet152."""

    IMAGENET1K_V1 = _published("resnet152-394f9c45", 60_192_808, 78.312, 94.046)
    IMAGENET1K_V2 = _published("resnet152-f82ba261", 60_192_808, 82.284, 96.002, resize=232)
    DEFAULT = IMAGENET1K_V2


class Wide_ResNet50_2_Weights(WeightsEnum):
    """For wide_resnet50_2."""

    IMAGENET1K_V1 = _published("wide_resnet50_2-95faca4d", 68_883_240, 78.468, 94.086)
    IMAGENET1K_V2 = _published("wide_resnet50_2-9ba9bcbe", 68_883_240, 81.602, 95.758, resize=232)
    DEFAULT = IMAGENET1K_V2


class Wide_ResNet101_2_Weights(WeightsEnum):
    """For wide_resnet101_2."""

    IMAGENET1K_V1 = _published("wide_resnet101_2-32ee1156", 126_886_696, 78.848, 94.284)
    IMAGENET1K_V2 = _published("wide_resnet101_2-d733dc28", 126_886_696, 82.51, 96.02, resize=232)
    DEFAULT = IMAGENET1K_V2


class ResNeXt50_32X4D_Weights(WeightsEnum):
    """For resnext50_32x4d."""

    IMAGENET1K_V1 = _published("resnext50_32x4d-7cdf4587", 25_028_904, 77.618, 93.698)
    IMAGENET1K_V2 = _published("resnext50_32x4d-1a0047aa", 25_028_904, 81.198, 95.34, resize=232)
    DEFAULT = IMAGENET1K_V2


class ResNeXt101_32X8D_Weights(WeightsEnum):
    """For resnext101_32x8d."""

    IMAGENET1K_V1 = _published("resnext101_32x8d-8ba56ff5", 88_791_336, 79.312, 94.526)
    IMAGENET1K_V2 = _published("resnext101_32x8d-110c445d", 88_791_336, 82.834, 96.228, resize=232)
    DEFAULT = IMAGENET1K_V2


class DenseNet121_Weights(WeightsEnum):
    """For densenet121."""

    IMAGENET1K_V1 = _published("densenet121-a639ec97", 7_978_856, 74.434, 91.972, smallest=29)
    DEFAULT = IMAGENET1K_V1


class DenseNet161_Weights(WeightsEnum):
    """For densenet161."""

    IMAGENET1K_V1 = _published("densenet161-8d451a50", 28_681_000, 77.138, 93.56, smallest=29)
    DEFAULT = IMAGENET1K_V1


class DenseNet169_Weights(WeightsEnum):
    """For densenet169."""

    IMAGENET1K_V1 = _published("densenet169-b2777c0a", 14_149_480, 75.6, 92.806, smallest=29)
    DEFAULT = IMAGENET1K_V1


class DenseNet201_Weights(WeightsEnum):
    """For densenet201."""

    IMAGENET1K_V1 = _published("densenet201-c1103571", 20_013_928, 76.896, 93.37, smallest=29)
    DEFAULT = IMAGENET1K_V1


class MobileNet_V2_Weights(WeightsEnum):
    """For mobilenet_v2."""

    IMAGENET1K_V1 = _published("mobilenet_v2-b0353104", 3_504_872, 71.878, 90.286)
    IMAGENET1K_V2 = _published("mobilenet_v2-7ebf99e0", 3_504_872, 72.154, 90.822, resize=232)
    DEFAULT = IMAGENET1K_V2


PUBLISHED: MappingProxyType[str, type[WeightsEnum]] = MappingProxyType(
    {
        "alexnet": AlexNet_Weights,
        "vgg11": VGG11_Weights,
        "vgg11_bn": VGG11_BN_Weights,
        "vgg13": VGG13_Weights,
        "vgg13_bn": VGG13_BN_Weights,
        "vgg16": VGG16_Weights,
        "vgg16_bn": VGG16_BN_Weights,
        "vgg19": VGG19_Weights,
        "vgg19_bn": VGG19_BN_Weights,
        "squeezenet1_0": SqueezeNet1_0_Weights,
        "squeezenet1_1": SqueezeNet1_1_Weights,
        "googlenet": GoogLeNet_Weights,
        "inception_v3": Inception_V3_Weights,
        "resnet18": ResNet18_Weights,
        "resnet34": ResNet34_Weights,
        "resnet50": ResNet50_Weights,
        "resnet101": ResNet101_Weights,
        "resnet152": ResNet152_Weights,
        "wide_resnet50_2": Wide_ResNet50_2_Weights,
        "wide_resnet101_2": Wide_ResNet101_2_Weights,
        "resnext50_32x4d": ResNeXt50_32X4D_Weights,
        "resnext101_32x8d": ResNeXt101_32X8D_Weights,
        "densenet121": DenseNet121_Weights,
        "densenet161": DenseNet161_Weights,
        "densenet169": DenseNet169_Weights,
        "densenet201": DenseNet201_Weights,
        "mobilenet_v2": MobileNet_V2_Weights,
    }
)

# How timm prepares images for its weights of the two networks that torchvision does not have.
_PREPARED_BY_TIMM: dict[str, Callable[[], ImageClassification]] = {
    "inception_v4": partial(
        ImageClassification, crop_size=299, resize_size=341,
        mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5), interpolation="bicubic",
    ),
    "resnetv2_50": partial(
        ImageClassification, crop_size=224, resize_size=235,
        mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5), interpolation="bicubic",
    ),
}  # fmt: skip


def get_model_weights(name: str | Callable[..., Any]) -> type[WeightsEnum]:
    """The published weights of an architecture, given by name or by its builder (``resnet50``).

    ValueError if there are none.
    """
    label = name if isinstance(name, str) else getattr(name, "__name__", repr(name))
    try:
        return PUBLISHED[label]
    except KeyError:
        raise ValueError(
            f"no published weights for {label!r}; there are for: {', '.join(PUBLISHED)}"
        ) from None


def get_weight(name: str) -> WeightsEnum:
    """The member of that full name, such as "ResNet50_Weights.IMAGENET1K_V2"; else ValueError."""
    group, _, member = name.partition(".")
    for weights in PUBLISHED.values():
        if weights.__name__ == group and member in weights.__members__:
            return weights[member]
    raise ValueError(f"no published weights {name!r}: a name is like ResNet50_Weights.DEFAULT")


def preprocessing(name: str, crop_size: int, file_sha256: str = "") -> ImageClassification:
    """The preparation of images for weights of the architecture ``name``.

    That of the published file with this sha256; else timm's for the two networks of theirs; else
    CIFAR-10's for those of its 32 pixels (the whole image), and ImageNet's usual one, a crop of 7/8
    of the shorter edge.
    """
    for entry in PUBLISHED.get(name, ()):
        if entry.value.sha256 and file_sha256.startswith(entry.value.sha256):
            preset: ImageClassification = entry.transforms()
            return preset
    if name in _PREPARED_BY_TIMM:
        return _PREPARED_BY_TIMM[name]()
    if crop_size == 32:
        return ImageClassification(
            crop_size=32, resize_size=32,
            mean=(0.4914, 0.4822, 0.4465), std=(0.2470, 0.2435, 0.2616),
        )  # fmt: skip
    return ImageClassification(crop_size=crop_size, resize_size=round(crop_size * 8 / 7))
