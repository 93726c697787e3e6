"""ImageNet's 1000 classes, and how an image is prepared for a network that was trained on them."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

from .. import nn
from ..tensor import Tensor

# Mean and standard deviation of the training images' red, green and blue, in 0..1.
MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)


@functools.cache
def categories() -> tuple[str, ...]:
    """The names of the 1000 classes of ILSVRC 2012, in the order of a network's outputs.

    All differ. Source: the WordNet synsets of the ImageNet challenge, one word or two for each, as
    torchvision prints them.
    """
    path = Path(__file__).parent / "data" / "imagenet_classes.txt"
    return tuple(path.read_text(encoding="utf-8").splitlines())


class ImageClassification(nn.Module):
    """Resize the shorter edge, crop the centre, scale to 0..1, normalise: torchvision's preset.

    A PIL image, or a tensor (..., C, H, W) of uint8 or floats in 0..1, becomes a float tensor
    (..., C, ``crop_size``, ``crop_size``). A PIL image must be RGB: ``image.convert("RGB")``.
    ``interpolation`` is bilinear unless given (a name, or ``transforms.InterpolationMode``);
    ``antialias`` concerns tensors only, Pillow always does it.
    """

    def __init__(
        self,
        *,
        crop_size: int,
        resize_size: int = 256,
        mean: tuple[float, ...] = MEAN,
        std: tuple[float, ...] = STD,
        interpolation: Any = "bilinear",
        antialias: bool | None = True,
    ) -> None:
        from ..transforms import InterpolationMode

        super().__init__()
        self.crop_size = [crop_size]
        self.resize_size = [resize_size]
        self.mean = list(mean)
        self.std = list(std)
        self.interpolation = InterpolationMode(interpolation)
        self.antialias = antialias

    def forward(self, img: Any) -> Tensor:
        from ..transforms import functional as F

        img = F.resize(img, self.resize_size, self.interpolation, antialias=self.antialias)
        img = F.center_crop(img, self.crop_size)
        if not isinstance(img, Tensor):
            img = F.pil_to_tensor(img)
        return F.normalize(F.convert_image_dtype(img), self.mean, self.std)

    def extra_repr(self) -> str:
        return (
            f"crop_size={self.crop_size}, resize_size={self.resize_size}, mean={self.mean},"
            f" std={self.std}, interpolation={self.interpolation.value}"
        )
