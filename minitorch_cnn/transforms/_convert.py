"""Between PIL images, arrays and tensors, and between the types and scales of tensors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

from ..dtypes import as_dtype, get_default_dtype, is_floating
from ..dtypes import dtype as DType
from ..tensor import Tensor, is_grad_enabled
from . import _arrays
from ._arrays import Array
from ._common import array_of, is_pil


def _pixels(pic: Image.Image) -> Array:
    """A fresh (C, H, W) array of a PIL image."""
    pixels = np.array(pic)
    if pixels.ndim == 2:
        return pixels[None]
    return np.ascontiguousarray(pixels.transpose(2, 0, 1))


def pil_to_tensor(pic: Image.Image) -> Tensor:
    """A (C, H, W) tensor of the image's own numbers: uint8 for most modes.

    16-bit grey becomes int32: there is no uint16 tensor.
    """
    if not is_pil(pic):
        raise TypeError(f"pic should be PIL Image. Got {type(pic)}")
    pixels = _pixels(pic)
    return Tensor._wrap(pixels.astype(np.int32) if pixels.dtype == np.uint16 else pixels)


def to_tensor(pic: Any) -> Tensor:
    """A (C, H, W) tensor of a PIL image or an (H, W[, C]) array.

    uint8 0..255 becomes float 0..1, mode 1 becomes 0.0 and 1.0; other types keep their numbers
    (16-bit grey as int16, which wraps around from 32768 up, as torchvision's does).
    """
    if isinstance(pic, np.ndarray):
        if pic.ndim not in (2, 3):
            raise ValueError(f"pic should be 2/3 dimensional. Got {pic.ndim} dimensions.")
        pixels = np.ascontiguousarray(pic[None] if pic.ndim == 2 else pic.transpose(2, 0, 1))
    elif isinstance(pic, Image.Image):
        pixels = _pixels(pic)
        if pic.mode == "1":
            return Tensor._wrap(pixels.astype(get_default_dtype().numpy))
        if pixels.dtype == np.uint16:
            pixels = pixels.view(np.int16)
    else:
        raise TypeError(f"pic should be PIL Image or ndarray. Got {type(pic)}")
    if pixels.dtype == np.uint8:
        pixels = _arrays.scaled_to_unit(pixels, get_default_dtype().numpy)
    return Tensor._wrap(pixels)


_MODES_BY_CHANNELS = {
    2: ("LA",),
    3: ("RGB", "YCbCr", "HSV"),
    4: ("RGBA", "CMYK", "RGBX"),
}
_GRAY_MODES = {"uint8": "L", "int16": "I;16", "int32": "I", "float32": "F"}


def to_pil_image(pic: Any, mode: str | None = None) -> Image.Image:
    """A PIL image of a (C, H, W) or (H, W) tensor, or of an (H, W[, C]) array.

    Float tensors are taken as 0..1 (unless ``mode="F"``). Without ``mode``: 1 channel gives L,
    I;16, I or F by its type, 2 give LA, 3 RGB, 4 RGBA. Errors: TypeError for types that no mode
    holds, ValueError for a wrong rank, channel count or mode.
    """
    if not isinstance(pic, (Tensor, np.ndarray)):
        raise TypeError(f"pic should be Tensor or ndarray. Got {type(pic)}.")
    if pic.ndim not in (2, 3):
        raise ValueError(f"pic should be 2/3 dimensional. Got {pic.ndim} dimensions.")
    if isinstance(pic, Tensor):
        pixels = pic.array if pic.ndim == 3 else pic.array[None]
        if is_floating(pixels.dtype) and mode != "F":
            # Wraps around outside 0..1, as PyTorch's conversion to bytes does.
            with np.errstate(invalid="ignore"):
                pixels = (pixels * pixels.dtype.type(255)).astype(np.int64).astype(np.uint8)
        pixels = pixels.transpose(1, 2, 0)
    else:
        pixels = pic if pic.ndim == 3 else pic[:, :, None]
    H, W, C = pixels.shape
    if C > 4:
        raise ValueError(f"pic should not have > 4 channels. Got {C} channels.")
    if C == 1:
        expected = _GRAY_MODES.get(pixels.dtype.name)
        if mode is not None and mode != expected:
            raise ValueError(
                f"Incorrect mode ({mode}) supplied for input type {pixels.dtype}. Should be"
                f" {expected}"
            )
        mode = expected
    else:
        modes = _MODES_BY_CHANNELS[C]
        if mode is not None and mode not in modes:
            raise ValueError(f"Only modes {list(modes)} are supported for {C} channels. Got {mode}")
        if pixels.dtype == np.uint8:
            mode = mode or modes[0]
        else:
            mode = None
    if mode is None:
        raise TypeError(f"Input type {pixels.dtype} is not supported for {C} channel(s)")
    return Image.frombytes(mode, (W, H), np.ascontiguousarray(pixels).tobytes())


def convert_image_dtype(image: Tensor, dtype: DType | None = None) -> Tensor:
    """The image in another type (default float32), with its values scaled to that type's range.

    Floats are 0..1, integers 0..max. Errors: RuntimeError for float32 to int32/int64 and float64
    to int64, whose ranges the float cannot count through.
    """
    if not isinstance(image, Tensor):
        raise TypeError(f"Input img should be Tensor Image. Got {type(image)}")
    x = array_of(image, "convert_image_dtype")
    to = as_dtype("float32" if dtype is None else dtype).numpy
    if x.dtype == to:
        return image
    if is_floating(x.dtype):
        if is_floating(to):
            return Tensor._wrap(x.astype(to))
        if to.itemsize >= x.dtype.itemsize:
            raise RuntimeError(f"The cast from {image.dtype} to {as_dtype(to)} cannot be performed"
                               " safely.")  # fmt: skip
        scale = np.iinfo(to).max + 1 - 1e-3  # so that 1.0 becomes max, and steps are equally wide
        return Tensor._wrap((x * x.dtype.type(scale)).astype(to))
    highest = np.iinfo(x.dtype).max
    if is_floating(to):
        y = x.astype(to)
        y /= to.type(highest)
        return Tensor._wrap(y)
    highest_out = np.iinfo(to).max
    if highest > highest_out:
        return Tensor._wrap((x // ((highest + 1) // (highest_out + 1))).astype(to))
    return Tensor._wrap(x.astype(to) * to.type((highest_out + 1) // (highest + 1)))


def normalize(
    tensor: Any, mean: Sequence[float], std: Sequence[float], inplace: bool = False
) -> Tensor:
    """``(tensor[..., c, :, :] - mean[c]) / std[c]``; differentiable.

    Errors: TypeError unless a float tensor, ValueError for fewer than 3 dimensions or a zero std,
    RuntimeError if the number of channels does not fit.
    """
    if not isinstance(tensor, Tensor):
        hint = ": put ToTensor() before it" if is_pil(tensor) else ""
        raise TypeError(f"Normalize: img should be Tensor Image. Got {type(tensor)}{hint}")
    if not is_floating(tensor.array.dtype):
        raise TypeError(
            f"Normalize: input tensor should be a float tensor. Got {tensor.dtype}: convert it with"
            " ToTensor() or ConvertImageDtype(torch.float32)"
        )
    if tensor.ndim < 3:
        raise ValueError(
            f"Normalize: expected an image of shape (..., C, H, W). Got shape {list(tensor.shape)}"
        )
    if tensor.requires_grad and is_grad_enabled():
        m, s = (np.asarray(v, tensor.array.dtype).reshape(-1, 1, 1) for v in (mean, std))
        _arrays.normalized(tensor.array[..., :0, :0], m, s)  # the checks, on no pixels
        y = (tensor - Tensor._wrap(m)) / Tensor._wrap(s)
        return tensor.copy_(y) if inplace else y
    if inplace:
        _arrays.normalized(tensor.array, mean, std, out=tensor.array)
        tensor._counter[0] += 1
        return tensor
    return Tensor._wrap(_arrays.normalized(tensor.array, mean, std))
