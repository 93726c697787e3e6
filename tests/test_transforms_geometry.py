"""Size and place of images, against Pillow, NumPy and PyTorch's resampling."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from minitorch_cnn import transforms as T
from minitorch_cnn.tensor import Tensor

from .pictures import F, kinds, picture, planes

BILINEAR, NEAREST = T.InterpolationMode.BILINEAR, T.InterpolationMode.NEAREST


# Size and place


@pytest.mark.parametrize(
    ("size", "max_size", "expected"),
    [
        (20, None, (20, 40)), ([20], None, (20, 40)), ((7, 9), None, (7, 9)),
        (50, 60, (30, 60)), (20, 100, (20, 40)), (35, None, (35, 70)),
    ],
)  # fmt: skip
def test_resize_sizes(size: Any, max_size: int | None, expected: tuple[int, int]) -> None:
    for img in kinds(picture(35, 70)):
        y = T.Resize(size, max_size=max_size)(img)
        assert tuple(F.get_dimensions(y)[1:]) == expected
        assert (y is img) == (expected == (35, 70))
    tall = T.Resize(size, max_size=max_size)(picture(70, 35))
    if isinstance(size, int):
        assert tall.size == expected


@pytest.mark.parametrize("mode", list(T.InterpolationMode))
def test_resize_of_pil_images_is_pillows(mode: T.InterpolationMode) -> None:
    img = picture()
    name = mode.name.removesuffix("_EXACT")
    expected = img.resize((9, 20), Image.Resampling[name])
    assert np.array_equal(np.asarray(T.Resize((20, 9), mode)(img)), np.asarray(expected))
    by_number = T.Resize((20, 9), int(Image.Resampling[name]))(img)
    assert np.array_equal(np.asarray(by_number), np.asarray(expected))


@given(
    H=st.integers(1, 17), W=st.integers(1, 17), OH=st.integers(1, 20), OW=st.integers(1, 20),
    mode=st.sampled_from(["nearest", "nearest-exact", "bilinear", "bicubic"]),
    antialias=st.booleans(),
)  # fmt: skip
def test_resize_of_tensors_is_pytorchs_interpolate(
    H: int, W: int, OH: int, OW: int, mode: str, antialias: bool
) -> None:
    x = np.random.default_rng(H * W).random((2, 3, H, W))
    smooth = mode in ("bilinear", "bicubic")
    if antialias and smooth:
        OW = max(2, OW)  # PyTorch 2.13 repeats the first row in a result that is one pixel wide
    expected = torch.nn.functional.interpolate(
        torch.from_numpy(x),
        (OH, OW),
        mode=mode,
        align_corners=False if smooth else None,
        antialias=antialias and smooth,
    ).numpy()
    y = F.resize(Tensor._wrap(x), (OH, OW), T.InterpolationMode(mode), antialias=antialias)
    np.testing.assert_allclose(y.array, expected, rtol=0, atol=1e-12)


def test_resize_of_bytes_rounds_as_pillow_does() -> None:
    img = picture(40, 60)
    ours = F.resize(F.pil_to_tensor(img), (13, 21)).array.astype(int)
    pillows = planes(img.resize((21, 13), Image.Resampling.BILINEAR)).astype(int)
    assert np.abs(ours - pillows).max() <= 1  # Pillow rounds after each axis


PADDINGS = [
    (2, (2, 2, 2, 2)), ((3,), (3, 3, 3, 3)), ((1, 2), (1, 2, 1, 2)), ([1, 2, 3, 4], (1, 2, 3, 4)),
    ((0, 0, 5, 0), (0, 0, 5, 0)), ((-1, 2, -3, 4), (-1, 2, -3, 4)),
]  # fmt: skip


@pytest.mark.parametrize("mode", ["constant", "edge", "reflect", "symmetric"])
@pytest.mark.parametrize(("padding", "ltrb"), PADDINGS)
def test_pad_is_numpys(padding: Any, ltrb: tuple[int, int, int, int], mode: str) -> None:
    left, top, right, bottom = ltrb
    for img in kinds(picture(7, 9)):
        x = planes(img)
        kept = x[..., max(0, -left) : x.shape[-1] + min(0, right)]
        around = [(0, 0)] * (x.ndim - 2) + [(top, bottom), (max(0, left), max(0, right))]
        fill = {"constant_values": 3} if mode == "constant" else {}
        expected = np.pad(kept, around, mode=mode, **fill)
        y = T.Pad(padding, fill=3, padding_mode=mode)(img)
        assert type(y) in (type(img), Image.Image)
        assert np.array_equal(planes(y), expected)


@pytest.mark.parametrize("mode", ["L", "RGBA", "LA", "CMYK", "YCbCr", "HSV", "1", "I", "F", "P"])
@pytest.mark.parametrize("padding_mode", ["constant", "edge"])
def test_pad_keeps_the_mode(mode: str, padding_mode: str) -> None:
    img = picture(4, 5).convert("L" if mode in "IF" else "RGB").convert(mode)
    y = F.pad(img, 2, padding_mode=padding_mode)
    assert (y.mode, y.size) == (mode, (9, 8))
    inside = y.crop((2, 2, 7, 6))
    assert np.array_equal(np.asarray(inside.convert("RGB")), np.asarray(img.convert("RGB")))


def test_pad_fills_each_channel_with_its_own_value() -> None:
    for img in kinds(picture())[:2]:
        corner = planes(F.pad(img, 1, fill=(10, 20, 30)))[:, 0, 0]
        assert corner.tolist() == [10, 20, 30]
    with pytest.raises(ValueError, match="2 != 3"):
        F.pad(picture(), 1, fill=(1, 2))


def test_crops_outside_the_image_are_black() -> None:
    for img in kinds(picture(5, 6)):
        x = planes(img)
        y = planes(F.crop(img, -1, 3, 4, 5))
        assert y.shape[-2:] == (4, 5)
        assert np.array_equal(y[..., 1:, :3], x[..., :3, 3:])
        assert not y[..., 0, :].any()
        assert not y[..., :, 3:].any()


@pytest.mark.parametrize(
    ("H", "W", "size", "top", "left"),
    [(6, 7, (4, 4), 1, 2), (5, 8, (2, 3), 2, 2), (7, 7, 2, 2, 2), (9, 4, [3], 3, 0)],
)
def test_center_crop_rounds_as_torchvision(H: int, W: int, size: Any, top: int, left: int) -> None:
    height, width = (size, size) if isinstance(size, int) else (size[0], size[-1])
    for img in kinds(picture(H, W)):
        y = planes(T.CenterCrop(size)(img))
        assert np.array_equal(y, planes(img)[..., top : top + height, left : left + width])


def test_center_crop_pads_a_smaller_image() -> None:
    img = picture(3, 4)
    for kind in kinds(img):
        y = planes(T.CenterCrop((6, 9))(kind))
        assert y.shape[-2:] == (6, 9)
        assert np.array_equal(y[..., 1:4, 2:6], planes(kind))
        assert y.sum(dtype=float) == pytest.approx(planes(kind).sum(dtype=float))


def test_flips_and_five_and_ten_crops() -> None:
    for img in kinds(picture(5, 6)):
        x = planes(img)
        assert np.array_equal(planes(F.hflip(img)), x[..., ::-1])
        assert np.array_equal(planes(F.vflip(img)), x[..., ::-1, :])
        five = [planes(y) for y in T.FiveCrop((2, 3))(img)]
        corners = [x[..., :2, :3], x[..., :2, 3:], x[..., 3:, :3], x[..., 3:, 3:]]
        assert all(np.array_equal(a, b) for a, b in zip(five[:4], corners, strict=True))
        assert np.array_equal(five[4], planes(F.center_crop(img, (2, 3))))
        ten = [planes(y) for y in T.TenCrop((2, 3))(img)]
        mirrored = [planes(y) for y in F.five_crop(F.hflip(img), (2, 3))]
        assert all(np.array_equal(a, b) for a, b in zip(ten, five + mirrored, strict=True))
    with pytest.raises(ValueError, match="bigger than input size"):
        F.five_crop(picture(5, 6), 7)


def sampled_by_pytorch(x: np.ndarray, inverse: np.ndarray, mode: str, fill: float) -> np.ndarray:
    """x looked up at ``inverse @ p`` for each output pixel p, by PyTorch's grid_sample."""
    H, W = x.shape[-2:]
    # affine_grid's coordinates run from -1 to 1 over the image.
    to_pixels, to_unit = np.diag([W / 2, H / 2, 1]), np.diag([2 / W, 2 / H, 1])
    theta = torch.from_numpy((to_unit @ inverse @ to_pixels)[:2])[None]
    with_mask = torch.from_numpy(np.concatenate([x, np.ones_like(x[:1])]))[None]
    grid = torch.nn.functional.affine_grid(theta, list(with_mask.shape), align_corners=False)
    y = torch.nn.functional.grid_sample(with_mask, grid, mode, "zeros", align_corners=False)
    pixels, mask = y[0, :-1].numpy(), y[0, -1:].numpy()
    return pixels + (1 - mask) * fill


@given(
    H=st.integers(2, 12), W=st.integers(2, 12), angle=st.floats(-180, 180),
    mode=st.sampled_from(["nearest", "bilinear"]), off_center=st.booleans(),
)  # fmt: skip
def test_rotate_of_tensors_is_pytorchs_grid_sample(
    H: int, W: int, angle: float, mode: str, off_center: bool
) -> None:
    x = np.random.default_rng(H * W).random((3, H, W))
    center = (1.5, 2.25) if off_center else None
    cx, cy = (0, 0) if center is None else (center[0] - W / 2, center[1] - H / 2)
    c, s = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    # Counter-clockwise on a screen with y down; the look-up turns the other way.
    turn = np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])
    back, there = np.eye(3), np.eye(3)
    back[:2, 2], there[:2, 2] = (cx, cy), (-cx, -cy)
    expected = sampled_by_pytorch(x, back @ turn @ there, mode, fill=0.5)
    y = F.rotate(Tensor._wrap(x), angle, T.InterpolationMode(mode), center=center, fill=0.5).array
    wrong = np.abs(y - expected) > 1e-6
    # A point half way between two pixels may go either way.
    assert wrong.mean() <= (0.35 if mode == "nearest" and angle % 45 == 0 else 0.02)


@pytest.mark.parametrize("turns", [1, 2, 3, 5])
def test_right_angles_are_numpys(turns: int) -> None:
    img = picture(6, 9)
    for kind in kinds(img):
        y = planes(F.rotate(kind, 90 * turns, expand=True))
        assert np.array_equal(y, np.rot90(planes(kind), turns, axes=(-2, -1)))


def test_rotate_of_pil_images_is_pillows() -> None:
    img = picture()
    for arguments in [{}, {"expand": True}, {"center": (3, 4)}]:
        y = F.rotate(img, 33, BILINEAR, fill=7, **arguments)
        expected = img.rotate(33, Image.Resampling.BILINEAR, fillcolor=(7, 7, 7), **arguments)
        assert np.array_equal(np.asarray(y), np.asarray(expected))


def test_tensors_turn_shear_and_shift_the_way_pil_images_do() -> None:
    ramp = np.add.outer(np.arange(40), 2 * np.arange(60)).astype(np.uint8)
    img = Image.fromarray(ramp)
    for change in [
        lambda x: F.rotate(x, 25, BILINEAR),
        lambda x: F.rotate(x, 25, BILINEAR, center=(10, 12)),
        lambda x: F.affine(x, 20, (3, -5), 1.3, (10, -5), BILINEAR),
        lambda x: F.affine(x, 0, (3, -5), 1.0, 0.0),
        lambda x: F.affine(x, -10, (0, 0), 0.7, [15], BILINEAR, center=(5, 6)),
    ]:
        a, b = (planes(change(x)).astype(int)[0] for x in (img, F.pil_to_tensor(img)))
        inside = (a > 0) & (b > 0)
        assert inside.mean() > 0.4
        assert np.quantile(np.abs(a - b)[inside], 0.95) <= 2  # Pillow has sharp borders
        assert (a.astype(bool) ^ b.astype(bool)).mean() < 0.03  # the borders differ by a pixel


def test_affine_shifts_by_whole_pixels_and_scales() -> None:
    for img in kinds(picture(8, 9)):
        x = planes(img)
        y = planes(F.affine(img, 0, (2, 3), 1.0, (0.0, 0.0)))
        assert np.array_equal(y[..., 3:, 2:], x[..., :-3, :-2])
        assert not y[..., :3, :].any()
    with pytest.raises(ValueError, match="scale"):
        F.affine(picture(), 0, (0, 0), 0.0, 0.0)


@pytest.mark.parametrize("angle", [10, 45, 90, 170])
def test_expanded_tensors_hold_the_whole_image(angle: float) -> None:
    x = np.ones((1, 10, 16))
    y = F.rotate(Tensor._wrap(x), angle, BILINEAR, expand=True).array
    assert y.sum() == pytest.approx(160, rel=0.03)
