"""Size and place: resizing, padding, cropping, mirroring, turning."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from ..tensor import Tensor
from . import _arrays
from ._arrays import Array
from ._common import Picture, array_of, get_dimensions
from ._interpolation import InterpolationMode, as_mode


def resized_size(H: int, W: int, size: int | Sequence[int], max_size: int | None) -> list[int]:
    """[height, width] after a resize: ``size`` as it is, or for the shorter edge if one number."""
    if not isinstance(size, int):
        if len(size) not in (1, 2):
            raise ValueError(f"size should be an int or have 1 or 2 values. Got {list(size)}")
        if len(size) == 2:
            if max_size is not None:
                raise ValueError(
                    "max_size should only be passed if size specifies the length of the smaller"
                    " edge, i.e. size should be an int or a sequence of length 1"
                )
            return list(size)
        size = size[0]
    short, long = min(H, W), max(H, W)
    new_short, new_long = size, int(size * long / short)
    if max_size is not None:
        if max_size <= size:
            raise ValueError(
                f"max_size = {max_size} must be strictly greater than the requested size for the"
                f" smaller edge size = {size}"
            )
        if new_long > max_size:
            new_short, new_long = int(max_size * new_short / new_long), max_size
    return [new_short, new_long] if H <= W else [new_long, new_short]


def resize(
    img: Picture,
    size: int | Sequence[int],
    interpolation: InterpolationMode | int = InterpolationMode.BILINEAR,
    max_size: int | None = None,
    antialias: bool | None = True,
) -> Picture:
    """Resize to ``size``: (h, w), or one number for the shorter edge, keeping the proportions.

    ``max_size`` limits the longer edge. ``antialias`` is for tensors; Pillow always does it.
    """
    mode = as_mode(interpolation)
    _, H, W = get_dimensions(img)
    OH, OW = resized_size(H, W, size, max_size)
    if (OH, OW) == (H, W):
        return img
    if OH <= 0 or OW <= 0:
        raise ValueError(f"resize: cannot resize {[H, W]} to {[OH, OW]}: size={size}")
    if isinstance(img, Image.Image):
        return img.resize((OW, OH), mode.pillow)
    x = array_of(img, "resize")
    if mode.value not in ("nearest", "nearest-exact", "bilinear", "bicubic"):
        raise ValueError(f"resize: {mode} works on PIL images only; this is a Tensor")
    return Tensor._wrap(_arrays.resized(x, OH, OW, mode.value, bool(antialias)))


def parse_padding(padding: int | Sequence[int]) -> tuple[int, int, int, int]:
    """(left, top, right, bottom) of one number, (left/right, top/bottom), or all four."""
    sides = (padding,) if isinstance(padding, int) else tuple(padding)
    if len(sides) not in (1, 2, 4):
        raise ValueError(f"Padding must be an int or a 1, 2, or 4 element tuple, not {padding}")
    left, top, right, bottom = sides * (4 // len(sides))
    return left, top, right, bottom


def _fill_for(img: Image.Image, fill: Any, name: str) -> Any:
    """``fill`` as Pillow wants it: a number for one band, a tuple for several."""
    bands = len(img.getbands())
    if fill is None:
        fill = 0
    if isinstance(fill, (int, float)) and bands > 1:
        return (int(fill),) * bands
    if isinstance(fill, (list, tuple)):
        if len(fill) == 1:
            fill = tuple(fill) * bands
        if len(fill) != bands:
            raise ValueError(
                f"{name}: the number of elements in 'fill' does not match the number of channels"
                f" of the image ({len(fill)} != {bands})"
            )
        return tuple(fill) if bands > 1 else fill[0]
    if isinstance(fill, float) and img.mode != "F":
        return int(fill)
    return fill


def pad(
    img: Picture,
    padding: int | Sequence[int],
    fill: Any = 0,
    padding_mode: str = "constant",
) -> Picture:
    """Add pixels around: ``padding`` is all sides, (left/right, top/bottom), or (l, t, r, b).

    ``padding_mode``: constant (``fill``, a number or one per channel), edge, reflect (without
    repeating the border), symmetric (repeating it).
    """
    if not isinstance(padding, (int, list, tuple)):
        raise TypeError(f"Got inappropriate padding arg: {padding!r}")
    if not isinstance(fill, (int, float, str, list, tuple)) and fill is not None:
        raise TypeError(f"Got inappropriate fill arg: {fill!r}")
    ltrb = parse_padding(padding)
    if padding_mode not in _arrays.PAD_MODES:
        raise ValueError(
            f"Padding mode should be constant, edge, reflect or symmetric, got {padding_mode!r}"
        )
    if not isinstance(img, Image.Image):
        x = array_of(img, "pad")
        if isinstance(fill, str):
            raise TypeError(f"pad: a tensor needs a number to be filled with, got {fill!r}")
        return Tensor._wrap(_arrays.padded(x, ltrb, fill or 0, padding_mode))
    if padding_mode == "constant" and min(ltrb) >= 0:
        return ImageOps.expand(img, ltrb, _fill_for(img, fill, "pad"))
    pixels = np.asarray(img)
    planes = pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)
    planes = _arrays.padded(planes, ltrb, _fill_for(img, fill, "pad"), padding_mode)
    if pixels.ndim == 3:
        H, W = planes.shape[1:]
        return Image.frombytes(img.mode, (W, H), planes.transpose(1, 2, 0).tobytes())
    out = Image.fromarray(planes[0])
    if img.mode == "P":
        out.putpalette(img.getpalette() or [])
    return out


def crop(img: Picture, top: int, left: int, height: int, width: int) -> Picture:
    """The rectangle at (top, left); what lies outside the image is 0."""
    if isinstance(img, Image.Image):
        return img.crop((left, top, left + width, top + height))
    x = array_of(img, "crop")
    H, W = x.shape[-2:]
    return Tensor._wrap(
        _arrays.padded(x, (-left, -top, left + width - W, top + height - H), 0, "constant")
    )


def as_pair(size: int | Sequence[int]) -> tuple[int, int]:
    if isinstance(size, (int, float)):
        return int(size), int(size)
    height, width = size if len(size) == 2 else (size[0], size[0])
    return height, width


def center_crop(img: Picture, output_size: int | Sequence[int]) -> Picture:
    """The middle (height, width) of the image, with 0 around an image that is smaller."""
    height, width = as_pair(output_size)
    _, H, W = get_dimensions(img)
    if width > W or height > H:
        extra_w, extra_h = max(0, width - W), max(0, height - H)
        img = pad(img, (extra_w // 2, extra_h // 2, (extra_w + 1) // 2, (extra_h + 1) // 2))
        _, H, W = get_dimensions(img)
    return crop(img, round((H - height) / 2), round((W - width) / 2), height, width)


def resized_crop(
    img: Picture,
    top: int,
    left: int,
    height: int,
    width: int,
    size: int | Sequence[int],
    interpolation: InterpolationMode | int = InterpolationMode.BILINEAR,
    antialias: bool | None = True,
) -> Picture:
    """:func:`crop`, then :func:`resize`."""
    return resize(crop(img, top, left, height, width), size, interpolation, antialias=antialias)


def five_crop(img: Picture, size: int | Sequence[int]) -> tuple[Picture, ...]:
    """The four corners (tl, tr, bl, br) and the centre, each (height, width)."""
    height, width = as_pair(size)
    _, H, W = get_dimensions(img)
    if width > W or height > H:
        raise ValueError(f"Requested crop size {(height, width)} is bigger than input size {H, W}")
    corners = [(top, left) for top in (0, H - height) for left in (0, W - width)]
    crops = [crop(img, top, left, height, width) for top, left in corners]
    return (*crops, center_crop(img, (height, width)))


def ten_crop(
    img: Picture, size: int | Sequence[int], vertical_flip: bool = False
) -> tuple[Picture, ...]:
    """:func:`five_crop` of the image and of its mirror image."""
    mirrored = vflip(img) if vertical_flip else hflip(img)
    return five_crop(img, size) + five_crop(mirrored, size)


def hflip(img: Picture) -> Picture:
    """Left to right."""
    if isinstance(img, Image.Image):
        return img.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return Tensor._wrap(array_of(img, "hflip")[..., ::-1].copy())


def vflip(img: Picture) -> Picture:
    """Upside down."""
    if isinstance(img, Image.Image):
        return img.transpose(Image.Transpose.FLIP_TOP_BOTTOM)
    return Tensor._wrap(array_of(img, "vflip")[..., ::-1, :].copy())


def _warp(img: Tensor, matrix: Array, mode: InterpolationMode, fill: Any, expand: bool) -> Tensor:
    x = array_of(img, "rotate/affine")
    if mode.value not in ("nearest", "bilinear"):
        raise ValueError(f"{mode} works on PIL images only; tensors turn by nearest or bilinear")
    inverse = np.linalg.inv(matrix)
    H, W = x.shape[-2:]
    size = _arrays.expanded_size(inverse, H, W) if expand else (H, W)
    return Tensor._wrap(_arrays.warped(x, inverse, size, mode.value, 0 if fill is None else fill))


def rotate(
    img: Picture,
    angle: float,
    interpolation: InterpolationMode | int = InterpolationMode.NEAREST,
    expand: bool = False,
    center: Sequence[float] | None = None,
    fill: Any = None,
) -> Picture:
    """Turn by ``angle`` degrees, counter-clockwise, about ``center`` (x, y; default the middle).

    ``expand`` makes the result large enough to hold the whole turned image (about the middle).
    """
    mode = as_mode(interpolation)
    if center is not None and len(center) != 2:
        raise ValueError(f"center should have 2 values (x, y), got {center}")
    if isinstance(img, Image.Image):
        middle = None if center is None else (center[0], center[1])
        return img.rotate(
            angle, mode.pillow, expand, middle, fillcolor=_fill_for(img, fill, "rotate")
        )
    _, H, W = get_dimensions(img)
    right = angle % 180 == 0 or (angle % 90 == 0 and (expand or H == W))
    if center is None and right:
        # As Pillow does: the formula would put a pixel's centre on another's edge.
        x = array_of(img, "rotate")
        return Tensor._wrap(np.rot90(x, round(angle / 90), axes=(-2, -1)).copy())
    offset = (0.0, 0.0) if center is None else (center[0] - W / 2, center[1] - H / 2)
    matrix = _arrays.affine_matrix(-angle, (0, 0), 1.0, (0, 0), offset)
    return _warp(img, matrix, mode, fill, expand)


def affine(
    img: Picture,
    angle: float,
    translate: Sequence[int],
    scale: float,
    shear: float | Sequence[float],
    interpolation: InterpolationMode | int = InterpolationMode.NEAREST,
    fill: Any = None,
    center: Sequence[float] | None = None,
) -> Picture:
    """Shear, scale and turn (``angle`` degrees, clockwise) about ``center``, then shift."""
    mode = as_mode(interpolation)
    if scale <= 0:
        raise ValueError(f"scale should be positive, got {scale}")
    shears = (shear, 0.0) if isinstance(shear, (int, float)) else tuple(shear)
    shears = shears if len(shears) == 2 else (*shears, 0.0)
    _, H, W = get_dimensions(img)
    middle = (W / 2, H / 2) if center is None else (center[0], center[1])
    if isinstance(img, Image.Image):
        matrix = _arrays.affine_matrix(angle, translate, scale, shears, middle)
        coefficients = tuple(np.linalg.inv(matrix)[:2].ravel().tolist())
        return img.transform(
            img.size,
            Image.Transform.AFFINE,
            coefficients,
            mode.pillow,
            fillcolor=_fill_for(img, fill, "affine"),
        )
    offset = (middle[0] - W / 2, middle[1] - H / 2)
    matrix = _arrays.affine_matrix(angle, translate, scale, shears, offset)
    return _warp(img, matrix, mode, fill, False)
