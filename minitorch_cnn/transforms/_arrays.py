"""Image operations on arrays of shape (..., C, H, W): what tensors go through.

Pillow does the same for PIL images; nothing here knows of Tensors or of Pillow.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np

from ..dtypes import is_floating

Array: TypeAlias = Any  # np.ndarray

PAD_MODES = ("constant", "edge", "reflect", "symmetric")


def scaled_to_unit(images: Array, dtype: np.dtype[Any]) -> Array:
    """uint8 0..255 as floats 0..1."""
    y = images.astype(dtype)
    y /= dtype.type(255)
    return y


def normalized(x: Array, mean: Any, std: Any, out: Array | None = None) -> Array:
    """``(x - mean[c]) / std[c]`` for x of shape (..., C, H, W), into ``out`` if given."""
    mean, std = np.asarray(mean, x.dtype), np.asarray(std, x.dtype)
    if (std == 0).any():
        raise ValueError(
            f"std evaluated to zero after conversion to {x.dtype}, leading to division by zero:"
            f" std={std.tolist()}"
        )
    if mean.ndim == 1:
        mean = mean[:, None, None]
    if std.ndim == 1:
        std = std[:, None, None]
    if np.broadcast_shapes(x.shape, mean.shape, std.shape) != x.shape:
        raise RuntimeError(
            f"Normalize: an image of shape {list(x.shape)} has {x.shape[-3]} channel(s), but there"
            f" are {mean.size} mean(s) and {std.size} std(s): give one of each per channel"
        )
    y = np.subtract(x, mean, out=out)
    y /= std
    return y


def padded(x: Array, ltrb: Sequence[int], fill: Any, mode: Any) -> Array:
    """Add (left, top, right, bottom) pixels; negative numbers take pixels away."""
    left, top, right, bottom = ltrb
    H, W = x.shape[-2:]
    x = x[..., max(0, -top) : H + min(0, bottom), max(0, -left) : W + min(0, right)]
    around = [(0, 0)] * (x.ndim - 2) + [
        (max(0, top), max(0, bottom)),
        (max(0, left), max(0, right)),
    ]
    if mode != "constant":
        return np.pad(x, around, mode=mode)
    h, w = x.shape[-2:]
    y = np.empty((*x.shape[:-2], h + sum(around[-2]), w + sum(around[-1])), x.dtype)
    y[...] = np.reshape(fill, (-1, 1, 1)).astype(x.dtype)
    top, left = around[-2][0], around[-1][0]
    y[..., top : top + h, left : left + w] = x
    return y


# Resizing: one weight matrix per axis, whose row i says which input pixels make output pixel i.


def _triangle(t: Array) -> Array:
    return np.maximum(0.0, 1.0 - np.abs(t))


def _cubic(a: float) -> Callable[[Array], Array]:
    """Keys' cubic convolution kernel with parameter a."""

    def kernel(t: Array) -> Array:
        t = np.abs(t)
        near = ((a + 2) * t - (a + 3)) * t * t + 1
        far = a * (((t - 5) * t + 8) * t - 4)
        return np.where(t < 1, near, np.where(t < 2, far, 0.0))

    return kernel


def resize_weights(n: int, n_out: int, mode: str, antialias: bool) -> Array:
    """The (n_out, n) matrix that resizes one axis, with PyTorch's half-pixel convention.

    With ``antialias`` the kernel is widened by the reduction factor, as Pillow does; without, it
    spans two (bilinear) or four (bicubic) input pixels whatever the factor.
    """
    scale = n / n_out
    rows = np.arange(n_out)
    weights = np.zeros((n_out, n))
    if mode in ("nearest", "nearest-exact"):
        source = np.floor((rows + (0.5 if mode == "nearest-exact" else 0.0)) * scale)
        weights[rows, np.minimum(source, n - 1).astype(np.intp)] = 1
        return weights
    radius = 1 if mode == "bilinear" else 2
    if antialias:
        kernel = _triangle if mode == "bilinear" else _cubic(-0.5)
        widen = max(scale, 1.0)
        for i in rows:
            middle = scale * (i + 0.5)
            first = max(0, int(middle - radius * widen + 0.5))
            last = min(n, int(middle + radius * widen + 0.5))
            taps = kernel((np.arange(first, last) + 0.5 - middle) / widen)
            weights[i, first:last] = taps / taps.sum()
        return weights
    kernel = _triangle if mode == "bilinear" else _cubic(-0.75)
    center = scale * (rows + 0.5) - 0.5
    if mode == "bilinear":
        center = np.clip(center, 0, n - 1)
    base = np.floor(center).astype(np.intp)
    for tap in range(1 - radius, radius + 1):
        source = np.clip(base + tap, 0, n - 1)  # the edge pixel stands for what is beyond it
        np.add.at(weights, (rows, source), kernel(base + tap - center))
    return weights


def resized(x: Array, H: int, W: int, mode: str, antialias: bool) -> Array:
    """x of shape (..., h, w) at size H by W; integer images are rounded and clamped."""
    h, w = x.shape[-2:]
    work = x if x.dtype == np.float64 else x.astype(np.float32, copy=False)
    rows = resize_weights(h, H, mode, antialias).astype(work.dtype)
    columns = resize_weights(w, W, mode, antialias).astype(work.dtype)
    return as_type_of(x, rows @ work @ columns.T)


def as_type_of(x: Array, y: Array) -> Array:
    """y in x's type: rounded and clamped to its range if that is an integer type."""
    if is_floating(x.dtype):
        return y.astype(x.dtype, copy=False)
    limits = np.iinfo(x.dtype)
    return np.clip(np.rint(y), limits.min, limits.max).astype(x.dtype)


# Rotation and its family: each output pixel looks up where it comes from.


def affine_matrix(
    angle: float,
    translate: Sequence[float],
    scale: float,
    shear: Sequence[float],
    center: Sequence[float],
) -> Array:
    """The 3x3 map of input to output (x, y): shear, scale and turn about ``center``, then shift.

    Angles in degrees, clockwise on a screen whose y points down.
    """
    turn, sx, sy = (math.radians(v) for v in (angle, *shear))
    to_origin, back = np.eye(3), np.eye(3)
    to_origin[:2, 2] = -np.asarray(center)
    back[:2, 2] = np.asarray(center) + np.asarray(translate)
    rotation = np.array(
        [[math.cos(turn), -math.sin(turn), 0], [math.sin(turn), math.cos(turn), 0], [0, 0, 1]]
    )
    shear_y = np.array([[1, 0, 0], [-math.tan(sy), 1, 0], [0, 0, 1]])
    shear_x = np.array([[1, -math.tan(sx), 0], [0, 1, 0], [0, 0, 1]])
    matrix: Array = back @ rotation @ shear_y @ shear_x @ np.diag([scale, scale, 1.0]) @ to_origin
    return matrix


def expanded_size(inverse: Array, H: int, W: int) -> tuple[int, int]:
    """(OH, OW) that hold the whole of a turned H by W image."""
    corners = np.array([[-W, -H, 2], [-W, H, 2], [W, -H, 2], [W, H, 2]]) / 2
    x, y = (corners @ inverse.T[:, :2] + [W / 2, H / 2]).T
    # A corner that rounding moved past a pixel's edge by 1e-5 must not cost a whole pixel.
    OW, OH = (
        math.ceil(np.trunc(v.max() * 1e4) / 1e4) - math.floor(np.trunc(v.min() * 1e4) / 1e4)
        for v in (x, y)
    )
    return OH, OW


def warped(x: Array, inverse: Array, size: tuple[int, int], mode: str, fill: Any) -> Array:
    """Output pixel p (measured from the image's centre) is input pixel ``inverse @ p``.

    ``mode`` is nearest or bilinear; pixels from outside the input are ``fill``.
    """
    H, W = x.shape[-2:]
    OH, OW = size
    columns = np.arange(OW) - (OW - 1) / 2
    rows = np.arange(OH)[:, None] - (OH - 1) / 2
    sx = inverse[0, 0] * columns + inverse[0, 1] * rows + inverse[0, 2] + (W - 1) / 2
    sy = inverse[1, 0] * columns + inverse[1, 1] * rows + inverse[1, 2] + (H - 1) / 2
    background = np.reshape(fill, (-1, 1, 1)).astype(np.float64)

    def look_up(i: Array, j: Array) -> tuple[Array, Array]:
        inside = (i >= 0) & (i < H) & (j >= 0) & (j < W)
        i, j = (np.where(inside, v, 0).astype(np.intp) for v in (i, j))
        return x[..., i, j], inside

    if mode == "nearest":
        pixels, inside = look_up(np.rint(sy), np.rint(sx))
        return as_type_of(x, np.where(inside, pixels, background))
    top, left = np.floor(sy), np.floor(sx)
    y: Array = np.zeros((*x.shape[:-2], OH, OW))
    covered = np.zeros((OH, OW))
    for i, weight_i in ((top, top + 1 - sy), (top + 1, sy - top)):
        for j, weight_j in ((left, left + 1 - sx), (left + 1, sx - left)):
            pixels, inside = look_up(i, j)
            weight = np.where(inside, weight_i * weight_j, 0)
            y += pixels * weight
            covered += weight
    return as_type_of(x, y + (1 - covered) * background)


# Colours: channels are R, G, B; floats are 0..1, integers 0..255.


def _bound(x: Array) -> float:
    return 1.0 if is_floating(x.dtype) else float(np.iinfo(x.dtype).max)


def blended(x: Array, other: Array | float, ratio: float) -> Array:
    """``ratio * x + (1 - ratio) * other``, clamped to the image's range."""
    dtype = x.dtype if is_floating(x.dtype) else np.dtype(np.float32)
    y = dtype.type(ratio) * x.astype(dtype) + dtype.type(1 - ratio) * np.asarray(other, dtype)
    return np.clip(y, 0, _bound(x)).astype(x.dtype)


def gray(x: Array) -> Array:
    """Luma of ITU-R 601: 0.2989 R + 0.587 G + 0.114 B, with one channel."""
    if x.shape[-3] == 1:
        return x
    dtype = x.dtype if is_floating(x.dtype) else np.dtype(np.float32)
    weights = np.array([0.2989, 0.587, 0.114], dtype)[:, None, None]
    return (x[..., :3, :, :] * weights).sum(-3, keepdims=True).astype(x.dtype)


def hue_shifted(x: Array, turn: float) -> Array:
    """Turn the hue by ``turn`` (1 is the full circle), through hue, saturation and value."""
    bound = _bound(x)
    rgb = x.astype(np.float64 if x.dtype == np.float64 else np.float32) / bound
    r, g, b = (rgb[..., c, :, :] for c in range(3))
    value, low = rgb.max(-3), rgb.min(-3)
    chroma = value - low
    safe = np.where(chroma == 0, 1, chroma)
    sector = np.where(
        value == r,
        (g - b) / safe,
        np.where(value == g, 2 + (b - r) / safe, 4 + (r - g) / safe),
    )
    hue = (np.where(chroma == 0, 0, sector) / 6 + turn) % 1.0
    # Each channel is a trapezoid over the circle; they are a third of it apart.
    channels = []
    for offset in (5, 3, 1):
        k = (offset + hue * 6) % 6
        channels.append(value - chroma * np.clip(np.minimum(k, 4 - k), 0, 1))
    return as_type_of(x, np.stack(channels, -3) * bound)
