"""ImageNet's class names, and the preparation of images beside torchvision's numbers."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

import minitorch_cnn as mt
from minitorch_cnn.models import imagenet, published
from minitorch_cnn.models.imagenet import ImageClassification
from minitorch_cnn.transforms import InterpolationMode


def picture(H: int, W: int) -> Image.Image:
    """Soft blobs of colour, the same on every machine."""
    rng = np.random.Generator(np.random.Philox(H * 1000 + W))
    small = rng.integers(0, 256, (7, 5, 3), dtype=np.uint8)
    return Image.fromarray(small).resize((W, H), Image.Resampling.BICUBIC)


def test_class_names() -> None:
    names = imagenet.categories()
    assert len(names) == len(set(names)) == 1000
    assert all(name and name == name.strip() for name in names)
    # Indices that many programs have written down.
    known = {0: "tench", 207: "golden retriever", 281: "tabby", 285: "Egyptian cat",
             340: "zebra", 388: "giant panda", 817: "sports car", 954: "banana",
             999: "toilet tissue"}  # fmt: skip
    assert {i: names[i] for i in known} == known


# Recorded from torchvision 0.28 and timm 1.0.31: the mean, then single pixels [0, 0, 0],
# [1, 100, 57] and [2, -1, -1] of what they make of picture(H, W).
RECORDED = {
    ("ResNet50_Weights.IMAGENET1K_V1", 300, 451): [0.20718, -1.24454, -0.39006, -1.24671],
    ("ResNet50_Weights.IMAGENET1K_V1", 451, 300): [0.2676, 2.07766, 0.13515, -0.20096],
    ("ResNet50_Weights.IMAGENET1K_V1", 256, 256): [0.06865, 0.26244, 0.94048, -1.33386],
    ("ResNet50_Weights.IMAGENET1K_V1", 37, 29): [0.27347, 1.59817, 1.48319, 0.70536],
    ("ResNet50_Weights.IMAGENET1K_V2", 233, 1000): [0.17807, -1.74116, 0.43277, 0.1302],
    ("ResNet50_Weights.IMAGENET1K_V2", 500, 224): [0.28395, 1.64954, 1.29062, 0.32192],
    ("Inception_V3_Weights.IMAGENET1K_V1", 342, 341): [0.34139, -1.60416, 1.95588, 0.28706],
    ("inception_v4", 300, 451): [-0.00896, -0.6, -0.39608, -0.75686],
    ("resnetv2_50", 37, 29): [0.00931, 0.62353, 0.63137, -0.16863],
}


@pytest.mark.parametrize(("name", "H", "W"), RECORDED)
def test_torchvisions_numbers(name: str, H: int, W: int) -> None:
    if "." in name:
        prepare = published.get_weight(name).transforms()
    else:
        prepare = published.preprocessing(name, {"inception_v4": 299, "resnetv2_50": 224}[name])
    y = prepare(picture(H, W)).array
    side = 299 if name[0] in "Ii" else 224
    assert y.shape == (3, side, side)
    assert y.dtype == np.float32
    got = [y.mean(), y[0, 0, 0], y[1, 100, 57], y[2, -1, -1]]
    np.testing.assert_allclose(got, RECORDED[name, H, W], atol=6e-6)


@pytest.mark.parametrize(("H", "W"), [(41, 60), (60, 41), (50, 50)])
def test_by_hand(H: int, W: int) -> None:
    """Pillow resizes; the crop and the scale are written out."""
    prepare = ImageClassification(crop_size=32, resize_size=37, mean=(0.5, 0.2, 0.1), std=(2, 3, 4))
    size = (37, 37 * W // H) if H <= W else (37 * H // W, 37)
    small = np.asarray(picture(H, W).resize(size[::-1], Image.Resampling.BILINEAR), np.float64)
    top, left = (round((side - 32) / 2) for side in size)
    cut = small[top : top + 32, left : left + 32].transpose(2, 0, 1) / 255
    mean, std = (np.reshape(v, (3, 1, 1)) for v in ((0.5, 0.2, 0.1), (2.0, 3.0, 4.0)))
    np.testing.assert_allclose(prepare(picture(H, W)).array, (cut - mean) / std, atol=1e-6)


def test_batches_of_tensors() -> None:
    prepare = ImageClassification(crop_size=24, resize_size=28)
    x = mt.rand(5, 3, 40, 33)
    y = prepare(x)
    assert y.shape == (5, 3, 24, 24)
    one = prepare(x[2])
    np.testing.assert_allclose(y.array[2], one.array, atol=1e-6)


def test_the_preset_tells_its_settings() -> None:
    prepare = published.ResNet50_Weights.DEFAULT.transforms()
    assert repr(prepare) == (
        "ImageClassification(crop_size=[224], resize_size=[232], mean=[0.485, 0.456, 0.406],"
        " std=[0.229, 0.224, 0.225], interpolation=bilinear)"
    )
    assert prepare.interpolation is InterpolationMode.BILINEAR
    changed = published.ResNet50_Weights.DEFAULT.transforms(crop_size=300, resize_size=320)
    assert changed.crop_size == [300]


def test_preprocessing_goes_by_the_file_then_by_the_architecture() -> None:
    second = published.ResNet50_Weights.IMAGENET1K_V2
    digest = second.value.sha256 + "0" * 56
    assert published.preprocessing("resnet50", 224, digest).resize_size == [232]
    assert published.preprocessing("resnet50", 224, "f" * 64).resize_size == [256]
    assert published.preprocessing("resnet18", 224, digest).resize_size == [256]
    assert published.preprocessing("inception_v3", 299).resize_size == [342]
    assert published.preprocessing("inception_v4", 299).interpolation is InterpolationMode.BICUBIC
    assert published.preprocessing("resnet20", 32).resize_size == [32]
