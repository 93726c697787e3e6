"""Image transforms against Pillow, NumPy and numbers worked out by hand."""

from __future__ import annotations

import colorsys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from minitorch_cnn import dtypes
from minitorch_cnn import transforms as T
from minitorch_cnn.random import manual_seed
from minitorch_cnn.tensor import Tensor

from .pictures import F, kinds, picture, planes


def tensor(values: Any) -> Tensor:
    return Tensor._wrap(np.array(values))


# Conversions


def test_to_tensor_by_hand() -> None:
    pixels = np.array([[[0, 51, 255], [1, 2, 3]]], np.uint8)  # one row of two RGB pixels
    expected = np.array([[[0, 1]], [[51, 2]], [[255, 3]]], np.float32) / np.float32(255)
    for pic in (Image.fromarray(pixels), pixels):
        y = T.ToTensor()(pic)
        assert y.array.dtype == np.float32
        assert y.shape == (3, 1, 2)
        assert (y.array == expected).all()
        assert y.array.flags.c_contiguous


def test_to_tensor_equals_pytorchs_division() -> None:
    levels = np.arange(256, dtype=np.uint8)[None]
    expected = torch.from_numpy(levels).to(torch.float32).div(255).numpy()
    assert (T.ToTensor()(levels).array[0] == expected).all()


@pytest.mark.parametrize(
    ("mode", "channels", "dtype"),
    [
        ("L", 1, "float32"), ("RGB", 3, "float32"), ("RGBA", 4, "float32"), ("LA", 2, "float32"),
        ("CMYK", 4, "float32"), ("YCbCr", 3, "float32"), ("HSV", 3, "float32"),
        ("P", 1, "float32"), ("1", 1, "float32"), ("I", 1, "int32"), ("F", 1, "float32"),
        ("I;16", 1, "int16"),
    ],
)  # fmt: skip
def test_to_tensor_of_every_mode(mode: str, channels: int, dtype: str) -> None:
    img = (
        picture(3, 5).convert("L").convert(mode) if mode in "IF;16" else picture(3, 5).convert(mode)
    )
    y = F.to_tensor(img)
    assert (y.shape, y.array.dtype) == ((channels, 3, 5), np.dtype(dtype))
    pixels = planes(img)
    scale = 255 if pixels.dtype == np.uint8 else 1
    assert np.array_equal(y.array, (pixels / scale).astype(dtype))
    raw = F.pil_to_tensor(img).array
    assert np.array_equal(raw, pixels)
    assert raw.dtype == (np.int32 if mode == "I;16" else pixels.dtype)


def test_to_tensor_of_arrays_keeps_other_types_and_copies() -> None:
    pixels = np.arange(6.0).reshape(1, 2, 3)
    y = F.to_tensor(pixels)
    assert y.array.dtype == np.float64
    assert y.shape == (3, 1, 2)
    assert F.to_tensor(np.zeros((4, 5), np.int64)).shape == (1, 4, 5)


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "LA", "CMYK", "YCbCr", "HSV"])
def test_to_pil_image_undoes_to_tensor(mode: str) -> None:
    img = picture().convert(mode)
    for back in (F.to_pil_image(F.to_tensor(img), mode), F.to_pil_image(np.asarray(img), mode)):
        assert back.mode == mode
        assert back.size == img.size
        assert np.array_equal(np.asarray(back), np.asarray(img))
    assert T.ToPILImage(mode)(F.pil_to_tensor(img)).tobytes() == img.tobytes()


@pytest.mark.parametrize(
    ("dtype", "mode"), [("uint8", "L"), ("int16", "I;16"), ("int32", "I"), ("float32", "F")]
)
def test_to_pil_image_chooses_a_grey_mode_by_type(dtype: str, mode: str) -> None:
    pixels = np.arange(6).reshape(2, 3).astype(dtype)
    img = F.to_pil_image(pixels)
    assert img.mode == mode
    assert np.array_equal(np.asarray(img), pixels)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ((picture(),), TypeError),
        ((tensor(np.zeros(3)),), ValueError),
        ((tensor(np.zeros((1, 2, 3, 4))),), ValueError),
        ((np.zeros((2, 2, 5), np.uint8),), ValueError),
        ((np.zeros((2, 2, 3)),), TypeError),
        ((np.zeros((2, 2), np.uint8), "RGB"), ValueError),
        ((np.zeros((2, 2, 3), np.uint8), "L"), ValueError),
        ((np.zeros((2, 2), np.int64),), TypeError),
    ],
)
def test_to_pil_image_refuses(arguments: Any, error: type[Exception]) -> None:
    with pytest.raises(error):
        F.to_pil_image(*arguments)


@pytest.mark.parametrize(
    ("value", "dtype", "expected"),
    [
        (np.uint8(255), dtypes.float32, 1.0),
        (np.uint8(51), dtypes.float64, 0.2),
        (np.float32(1), dtypes.uint8, 255),
        (np.float32(0.5), dtypes.uint8, 127),
        (np.float64(1), dtypes.int32, 2**31 - 1),
        (np.uint8(255), dtypes.int16, 255 * 128),
        (np.int16(32767), dtypes.uint8, 255),
        (np.float32(0.25), dtypes.float64, 0.25),
    ],
)
def test_convert_image_dtype_by_hand(value: Any, dtype: Any, expected: float) -> None:
    y = T.ConvertImageDtype(dtype)(tensor(np.full((1, 2, 3), value)))
    assert y.dtype is dtype
    assert y.array.ravel()[0] == pytest.approx(expected, rel=1e-7)


@pytest.mark.parametrize(
    ("before", "after"), [("float32", "int32"), ("float32", "int64"), ("float64", "int64")]
)
def test_convert_image_dtype_refuses_what_cannot_be_exact(before: str, after: str) -> None:
    with pytest.raises(RuntimeError, match="cannot be performed safely"):
        F.convert_image_dtype(tensor(np.zeros((1, 2, 2), before)), dtypes.as_dtype(after))


# Normalize


def test_normalize_is_the_formula_for_images_and_batches() -> None:
    x = np.random.default_rng(0).random((2, 3, 4, 5), np.float32)
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    expected = torch.from_numpy(x).sub(torch.tensor(mean)[:, None, None])
    expected = expected.div(torch.tensor(std)[:, None, None]).numpy()
    normalize = T.Normalize(mean, std)
    before = x.copy()
    assert np.array_equal(normalize(Tensor._wrap(x)).array, expected)
    assert np.array_equal(normalize(Tensor._wrap(x[1])).array, expected[1])
    assert np.array_equal(x, before)
    image = Tensor._wrap(x)
    assert T.Normalize(mean, std, inplace=True)(image) is image
    assert np.array_equal(x, expected)
    assert image._version == 1


@pytest.mark.parametrize(
    ("x", "mean", "std", "error", "message"),
    [
        (picture(), [0.5], [0.5], TypeError, "ToTensor"),
        (tensor(np.zeros((1, 2, 2), np.uint8)), [0.5], [0.5], TypeError, "float"),
        (tensor(np.zeros((2, 2))), [0.5], [0.5], ValueError, r"\[2, 2\]"),
        (tensor(np.zeros((1, 2, 2))), [0.5], [0.0], ValueError, "zero"),
        (tensor(np.zeros((1, 2, 2))), [0.5] * 3, [1.0] * 3, RuntimeError, "1 channel.*3 mean"),
    ],
)
def test_normalize_refuses(
    x: Any, mean: Any, std: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        T.Normalize(mean, std)(x)


# Colour


def test_grayscale_by_hand() -> None:
    x = np.array([1.0, 0.5, 0.25]).reshape(3, 1, 1)
    expected = 0.2989 + 0.587 * 0.5 + 0.114 * 0.25
    for channels in (1, 3):
        y = T.Grayscale(channels)(tensor(x))
        assert y.shape == (channels, 1, 1)
        assert y.array == pytest.approx(expected)
        assert T.Grayscale(channels)(picture()).mode == {1: "L", 3: "RGB"}[channels]


@pytest.mark.parametrize("name", ["brightness", "contrast", "saturation", "hue"])
@pytest.mark.parametrize("amount", [0.0, 0.3, 1.0, 1.7])
def test_colours_of_tensors_follow_pillows(name: str, amount: float) -> None:
    amount = amount / 4 if name == "hue" else amount
    adjust = getattr(F, f"adjust_{name}")
    img = picture()
    expected = planes(adjust(img, amount)).astype(int)
    as_bytes = adjust(F.pil_to_tensor(img), amount).array.astype(int)
    as_floats = adjust(F.to_tensor(img), amount).array * 255
    measure = np.mean if name == "hue" else np.max  # Pillow's hue has 256 steps
    assert measure(np.abs(as_bytes - expected)) <= 2
    assert measure(np.abs(as_floats - expected)) <= 2


@given(st.tuples(*[st.floats(0, 1)] * 3), st.floats(-0.5, 0.5))
def test_hue_is_colorsyss(rgb: tuple[float, float, float], turn: float) -> None:
    h, s, v = colorsys.rgb_to_hsv(*rgb)
    expected = colorsys.hsv_to_rgb((h + turn) % 1, s, v)
    y = F.adjust_hue(tensor(np.array(rgb).reshape(3, 1, 1)), turn).array.ravel()
    np.testing.assert_allclose(y, expected, rtol=0, atol=1e-6)


def test_factors_of_one_change_nothing() -> None:
    for img in kinds(picture()):
        for change in (F.adjust_brightness, F.adjust_contrast, F.adjust_saturation):
            assert np.array_equal(planes(change(img, 1.0)), planes(img))


# Random transforms

RANDOM: list[Callable[[Any], Any]] = [
    T.RandomCrop((4, 5), padding=2),
    T.RandomHorizontalFlip(),
    T.RandomVerticalFlip(),
    T.RandomRotation(40),
    T.RandomAffine(10, (0.2, 0.3), (0.5, 2), (-5, 5, -5, 5)),
    T.RandomResizedCrop(6),
    T.RandomGrayscale(0.5),
    T.ColorJitter(0.5, 0.5, 0.5, 0.2),
    T.RandomApply([T.Pad(1), T.RandomCrop(3)]),
    T.RandomChoice([T.Pad(1), T.Pad(2), T.Pad(3)], p=[1, 2, 3]),
    T.RandomOrder([T.RandomCrop(5), T.Pad(1)]),
]


@pytest.mark.parametrize("transform", RANDOM, ids=lambda t: type(t).__name__)
def test_manual_seed_repeats_random_transforms(transform: Callable[[Any], Any]) -> None:
    for img in kinds(picture())[:2]:

        def run(img: Any = img) -> list[Any]:
            manual_seed(7)
            return [planes(transform(img)) for _ in range(8)]

        first = run()
        assert all(np.array_equal(a, b) for a, b in zip(first, run(), strict=True))
        assert any(a.shape != first[0].shape or (a != first[0]).any() for a in first)


def test_random_crop_reaches_every_place_and_no_other() -> None:
    img = tensor(np.arange(20).reshape(1, 4, 5))
    seen = {int(T.RandomCrop((3, 3))(img).array[0, 0, 0]) for _ in range(200)}
    assert seen == {0, 1, 2, 5, 6, 7}


def test_random_crop_pads_if_needed_or_says_what_is_wrong() -> None:
    for img in kinds(picture(4, 5)):
        y = T.RandomCrop((6, 3), pad_if_needed=True, padding_mode="edge")(img)
        assert F.get_dimensions(y)[1:] == [6, 3]
        with pytest.raises(ValueError, match=r"crop size \(6, 3\).*input image size \(4, 5\)"):
            T.RandomCrop((6, 3))(img)


def test_probabilities_zero_and_one() -> None:
    img = picture()
    for p in (0, 1):
        assert (T.RandomHorizontalFlip(p)(img) is img) == (p == 0)
        assert (T.RandomVerticalFlip(p)(img) is img) == (p == 0)
        assert (T.RandomApply([T.Pad(1)], p)(img) is img) == (p == 0)
    half = sum(T.RandomHorizontalFlip(0.5)(img) is img for _ in range(1000))
    assert abs(half - 500) < 5 * 16


def test_random_resized_crop_stays_within_its_scale_and_ratio() -> None:
    img = picture(60, 80)
    for _ in range(200):
        top, left, height, width = T.RandomResizedCrop.get_params(img, (0.2, 0.5), (0.5, 2))
        assert 0 <= top <= 60 - height
        assert 0 <= left <= 80 - width
        assert 0.18 < height * width / 4800 < 0.52
        assert 0.48 < width / height < 2.1
    # No part of a strip this long has the ratio: the largest central one that has.
    box = T.RandomResizedCrop.get_params(picture(10, 100), (0.9, 1), (0.75, 4 / 3))
    assert box == (0, 43, 10, 13)


def test_random_rotation_stays_within_its_degrees() -> None:
    angles = [T.RandomRotation.get_params(T.RandomRotation(15).degrees) for _ in range(200)]
    assert -15 <= min(angles) < -10
    assert 10 < max(angles) <= 15


def test_random_erasing() -> None:
    x = tensor(np.ones((3, 20, 30), np.float32))
    for _ in range(50):
        y = T.RandomErasing(p=1, scale=(0.1, 0.2), value=(5, 6, 7))(x)
        erased = y.array != 1
        assert 0.08 < erased[0].mean() < 0.22
        assert np.array_equal(erased[0], erased[2])
        assert set(np.unique(y.array[1])) == {1, 6}
    assert (x.array == 1).all()
    assert T.RandomErasing(p=0)(x) is x
    noisy = T.RandomErasing(p=1, value="random", inplace=True)(x)
    assert noisy is x
    assert len(np.unique(x.array)) > 10
    with pytest.raises(ValueError, match="3 \\(number of input channels\\)"):
        T.RandomErasing(p=1, value=(1, 2))(x)


# Everything else


@pytest.mark.parametrize(
    ("transform", "text"),
    [
        (T.ToTensor(), "ToTensor()"),
        (T.PILToTensor(), "PILToTensor()"),
        (T.ToPILImage(), "ToPILImage()"),
        (T.ToPILImage("RGB"), "ToPILImage(mode=RGB)"),
        (T.ConvertImageDtype(), "ConvertImageDtype()"),
        (T.Normalize((0.5,), (0.5,)), "Normalize(mean=(0.5,), std=(0.5,))"),
        (
            T.Resize(256),
            "Resize(size=256, interpolation=bilinear, max_size=None, antialias=True)",
        ),
        (T.CenterCrop(224), "CenterCrop(size=(224, 224))"),
        (T.Pad(4), "Pad(padding=4, fill=0, padding_mode=constant)"),
        (T.Lambda(abs), "Lambda()"),
        (T.RandomCrop(32, padding=4), "RandomCrop(size=(32, 32), padding=4)"),
        (T.RandomHorizontalFlip(), "RandomHorizontalFlip(p=0.5)"),
        (T.RandomVerticalFlip(0.1), "RandomVerticalFlip(p=0.1)"),
        (
            T.RandomRotation(10),
            "RandomRotation(degrees=[-10.0, 10.0], interpolation=nearest, expand=False, fill=0)",
        ),
        (
            T.RandomResizedCrop(224),
            (
                "RandomResizedCrop(size=(224, 224), scale=(0.08, 1.0), ratio=(0.75, 1.3333),"
                " interpolation=bilinear, antialias=True)"
            ),
        ),
        (T.Grayscale(3), "Grayscale(num_output_channels=3)"),
        (T.RandomGrayscale(), "RandomGrayscale(p=0.1)"),
        (
            T.ColorJitter(0.4, hue=0.1),
            "ColorJitter(brightness=(0.6, 1.4), contrast=None, saturation=None, hue=(-0.1, 0.1))",
        ),
        (
            T.RandomErasing(),
            "RandomErasing(p=0.5, scale=(0.02, 0.33), ratio=(0.3, 3.3), value=0, inplace=False)",
        ),
        (
            T.Compose([T.ToTensor(), T.Normalize((0.1307,), (0.3081,))]),
            "Compose(\n    ToTensor()\n    Normalize(mean=(0.1307,), std=(0.3081,))\n)",
        ),
        (
            T.RandomApply([T.Pad(1)], 0.3),
            "RandomApply(\n    p=0.3\n    Pad(padding=1, fill=0, padding_mode=constant)\n)",
        ),
    ],
)
def test_repr_is_torchvisions(transform: Any, text: str) -> None:
    assert repr(transform) == text


@pytest.mark.parametrize(
    ("make", "error"),
    [
        (lambda: T.Lambda(3), TypeError),
        (lambda: T.Resize("a"[0:0]), ValueError),
        (lambda: T.Resize(2.5), TypeError),
        (lambda: T.Resize((1, 2, 3)), ValueError),
        (lambda: T.Resize(5, interpolation="bilinear"), TypeError),
        (lambda: T.Resize((4, 4), max_size=5)(picture()), ValueError),
        (lambda: T.Resize(8, max_size=7)(picture()), ValueError),
        (lambda: T.Resize((0, 4))(picture()), ValueError),
        (lambda: T.Resize(4)(np.zeros((3, 8, 8))), TypeError),
        (lambda: F.resize(F.to_tensor(picture()), 4, T.InterpolationMode.LANCZOS), ValueError),
        (lambda: F.rotate(F.to_tensor(picture()), 4, T.InterpolationMode.BICUBIC), ValueError),
        (lambda: T.CenterCrop((1, 2, 3)), ValueError),
        (lambda: T.Pad("1"), TypeError),
        (lambda: T.Pad((1, 2, 3)), ValueError),
        (lambda: T.Pad(1, padding_mode="wrap"), ValueError),
        (lambda: T.Pad(1, fill={}), TypeError),
        (lambda: T.RandomRotation(-1), ValueError),
        (lambda: T.RandomRotation((1, 2, 3)), ValueError),
        (lambda: T.RandomAffine(0, translate=(2, 0)), ValueError),
        (lambda: T.RandomAffine(0, scale=(0, 1)), ValueError),
        (lambda: T.RandomResizedCrop(4, scale=0.5), TypeError),
        (lambda: T.RandomApply(T.Pad(1)), TypeError),
        (lambda: T.ColorJitter(-1), ValueError),
        (lambda: T.ColorJitter(hue=0.7), ValueError),
        (lambda: T.ColorJitter((1, 0.5)), ValueError),
        (lambda: T.ColorJitter("a"), TypeError),
        (lambda: T.Grayscale(2)(picture()), ValueError),
        (lambda: F.adjust_brightness(picture(), -1), ValueError),
        (lambda: F.adjust_hue(picture(), 0.6), ValueError),
        (lambda: F.adjust_contrast(tensor(np.zeros((2, 4, 4))), 1), TypeError),
        (lambda: T.RandomErasing(value="noise"), ValueError),
        (lambda: T.RandomErasing(p=2), ValueError),
        (lambda: T.RandomErasing(scale=(-1, 0.5)), ValueError),
        (lambda: T.RandomErasing(1)(picture()), TypeError),
        (lambda: F.to_tensor(tensor([1.0])), TypeError),
        (lambda: F.to_tensor(np.zeros(3)), ValueError),
        (lambda: F.pil_to_tensor(np.zeros((3, 3))), TypeError),
        (lambda: F.hflip("cat.png"), TypeError),
    ],
)
def test_what_is_refused(make: Callable[[], Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        make()


def test_compose_and_lambda() -> None:
    both = T.Compose([T.Lambda(lambda x: x + 1), T.Lambda(lambda x: x * 2)])
    assert both(3) == 8


def test_gradients_are_never_lost_silently() -> None:
    x = tensor(np.ones((1, 4, 4)))
    x.requires_grad = True
    with pytest.raises(NotImplementedError, match=r"hflip computes no gradient.*detach"):
        F.hflip(x)
    x.requires_grad = False
    assert F.hflip(x).shape == (1, 4, 4)


def test_normalize_passes_the_gradient_on() -> None:
    x = tensor(np.ones((2, 3, 3)))
    x.requires_grad = True
    y = T.Normalize((0.5, 0.25), (2.0, 4.0))(x)
    assert y.array[:, 0, 0].tolist() == [0.25, 0.1875]
    y.sum().backward()
    assert x.grad.array[:, 0, 0].tolist() == [0.5, 0.25]
