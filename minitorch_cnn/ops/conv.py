"""Convolutions, their transposes, and the columns (unfold, fold) that they are made of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import kernels
from ..dtypes import is_floating
from ..kernels.geometry import (
    Pair,
    conv_output_size,
    conv_transpose_output_size,
    integer,
    pair,
)
from ..tensor import Array, op
from .basic import sum_along

Ints = int | Sequence[int]


@op(bfloat16="cuda")
def conv2d(
    x: Array,
    weight: Array,
    bias: Array | None = None,
    /,
    *,
    stride: Ints = 1,
    padding: Ints | str = 0,
    dilation: Ints = 1,
    groups: int = 1,
) -> Any:
    """y[n, f, oh, ow] = bias[f] + sum over c, kh, kw of
    weight[f, c, kh, kw] x[n, g C/G + c, oh SH + kh DH - PH, ow SW + kw DW - PW].

    x (N, C, H, W) or (C, H, W), zero outside; weight (F, C/G, KH, KW); bias (F) or None; y (N, F,
    OH, OW) with OH = floor((H + 2 PH - DH (KH - 1) - 1) / SH) + 1. All of one dtype.
    ``padding="same"`` (stride 1 only) keeps H and W: where it cannot be even, the extra zero is
    below and to the right; ``"valid"`` is 0. Filter f sees the channels of its group
    g = f // (F/G) only. N = 0 is valid. RuntimeError for shapes that do not fit. Cost:
    numel(y) C/G KH KW multiply-adds forward, twice that backward; the algorithm is in
    ``kernels/conv2d.py``.
    """
    return _conv("conv2d", x, weight, bias, stride, padding, dilation, groups)


@op
def conv2d_frozen(
    x: Array,
    weight: Array,
    bias: Array | None = None,
    /,
    *,
    stride: Ints,
    padding: Ints | str,
    dilation: Ints,
    groups: int,
    relu: bool,
    kept: dict[Any, Array],
) -> Any:
    """:func:`conv2d`, or the larger of it and 0, without a derivative: for prediction.

    ``kept`` holds what the algorithms made of this weight; a changed weight needs an empty one.
    """
    settings = (stride, padding, dilation, groups, relu, kept)
    return _conv("conv2d", x, weight, bias, *settings)[0], ()


@op(bfloat16="cuda")
def conv1d(
    x: Array,
    weight: Array,
    bias: Array | None = None,
    /,
    *,
    stride: Ints = 1,
    padding: Ints | str = 0,
    dilation: Ints = 1,
    groups: int = 1,
) -> Any:
    """:func:`conv2d` of images of height 1: x (N, C, L) or (C, L), weight (F, C/G, K)."""
    if weight.ndim != 3:
        raise RuntimeError(
            f"conv1d(): expected a weight of shape (out, in/groups, K), got {list(weight.shape)}"
        )
    if x.ndim not in (2, 3):
        raise RuntimeError(
            "conv1d(): Expected 2D (unbatched) or 3D (batched) input to conv1d, but got input of"
            f" size: {list(x.shape)}"
        )
    settings = (_in_width(stride, 1), _in_width(padding, 0), _in_width(dilation, 1), groups)
    tall = x[..., None, :], weight[:, :, None], bias
    y, grads = _conv("conv1d", *tall, *settings)
    grad_x, grad_weight, grad_bias = grads
    return y[..., 0, :], (
        lambda gy: grad_x(gy[..., None, :])[..., 0, :],
        lambda gy: grad_weight(gy[..., None, :])[:, :, 0],
        lambda gy: grad_bias(gy[..., None, :]),
    )


def _in_width(value: Any, height: int) -> Any:
    """A setting of a signal as that of an image of height 1."""
    if isinstance(value, str):
        return value
    entries = value if isinstance(value, (tuple, list)) else (value,)
    return (height, *entries)


def _conv(
    name: str, x: Array, weight: Array, bias: Array | None, stride: Ints, padding: Ints | str,
    dilation: Ints, groups: int, relu: bool = False, kept: dict[Any, Array] | None = None,
) -> Any:  # fmt: skip
    _check_ranks(name, x, weight)
    if x.ndim == 3:
        return _without_batch(
            *_conv(name, x[None], weight, bias, stride, padding, dilation, groups, relu, kept)
        )
    S, D = pair(stride, "stride", name), pair(dilation, "dilation", name)
    kernel: Pair = weight.shape[2:]
    P, extra = find_padding(name, padding, kernel, S, D)
    G = _check_channels(name, x, weight, bias, groups)
    conv_output_size(name, (x.shape[2] + extra[0], x.shape[3] + extra[1]), kernel, S, P, D)
    H, W = x.shape[2:]
    if extra != (0, 0):
        x = np.pad(x, ((0, 0), (0, 0), (0, extra[0]), (0, extra[1])))
    y = kernels.conv2d.forward(x, weight, S, P, D, G, bias, relu=relu, kept=kept)
    x_shape, weight_shape = x.shape, weight.shape

    def grad_x(gy: Array) -> Array:
        return kernels.conv2d.grad_input(gy, weight, x_shape, S, P, D, G)[:, :, :H, :W]

    def grad_weight(gy: Array) -> Array:
        return kernels.conv2d.grad_weight(gy, x, weight_shape, S, P, D, G)

    return y, (grad_x, grad_weight, _grad_bias)


def _grad_bias(gy: Array) -> Array:
    if not isinstance(gy, np.ndarray) or not is_floating(gy.dtype):
        return sum_along(gy, (0, 2, 3))
    return kernels.norm.channel_sums(gy.reshape(*gy.shape[:2], gy.shape[2] * gy.shape[3]))


@op(bfloat16="cuda")
def conv_transpose2d(
    x: Array,
    weight: Array,
    bias: Array | None = None,
    /,
    *,
    stride: Ints = 1,
    padding: Any = 0,
    output_padding: Ints = 0,
    groups: int = 1,
    dilation: Ints = 1,
) -> Any:
    """The gradient of conv2d with respect to its input, as a function of images:
    every x[n, c, h, w] adds weight[c, f, kh, kw] times itself to
    y[n, g F/G + f, h SH + kh DH - PH, w SW + kw DW - PW].

    x (N, C, H, W) or (C, H, W); weight (C, F/G, KH, KW); bias (F) or None; y (N, F, OH, OW) with
    OH = (H - 1) SH - 2 PH + DH (KH - 1) + output_padding + 1. RuntimeError for shapes that do not
    fit, or if output_padding reaches both stride and dilation. Cost: numel(x) F/G KH KW
    multiply-adds. Source: M. Zeiler et al., Deconvolutional Networks, 2010.
    """
    name = "conv_transpose2d"
    if isinstance(padding, str):
        raise TypeError(f"{name}(): argument 'padding' must be tuple of ints, not str")
    _check_ranks(name, x, weight)
    if x.ndim == 3:
        settings = {"stride": stride, "padding": padding, "output_padding": output_padding}
        call = conv_transpose2d.__wrapped__
        return _without_batch(
            *call(x[None], weight, bias, **settings, groups=groups, dilation=dilation)
        )
    S, D = pair(stride, "stride", name), pair(dilation, "dilation", name)
    P = pair(padding, "padding", name, low=0)
    extra = pair(output_padding, "output_padding", name, low=0)
    G = _check_channels(name, x, weight, bias, groups, transposed=True)
    kernel: Pair = weight.shape[2:]
    H, W = x.shape[2:]
    size = conv_transpose_output_size(name, (H, W), kernel, S, P, D, extra)
    weight_shape = weight.shape
    y_shape = (len(x), weight_shape[1] * G, *size)
    y = kernels.conv2d.grad_input(x, weight, y_shape, S, P, D, G)
    if bias is not None:
        y += bias[:, None, None]

    def grad_x(gy: Array) -> Array:
        return kernels.conv2d.forward(gy, weight, S, P, D, G)[:, :, :H, :W]

    def grad_weight(gy: Array) -> Array:
        return kernels.conv2d.grad_weight(x, gy, weight_shape, S, P, D, G)

    return y, (grad_x, grad_weight, _grad_bias)


@op
def unfold(
    x: Array,
    /,
    *,
    kernel_size: Ints,
    dilation: Ints = 1,
    padding: Ints = 0,
    stride: Ints = 1,
) -> Any:
    """y[n, (c KH + kh) KW + kw, oh OW + ow] = x[n, c, oh SH + kh DH - PH, ow SW + kw DW - PW].

    The columns under each position of a convolution (im2col): x (N, C, H, W) or (C, H, W), zero
    outside; y (N, C KH KW, OH OW). Its gradient is :func:`fold`.
    """
    name = "unfold"
    if x.ndim == 3:
        settings = {"dilation": dilation, "padding": padding, "stride": stride}
        call = unfold.__wrapped__  # type: ignore[attr-defined]
        return _without_batch(*call(x[None], kernel_size=kernel_size, **settings))
    if x.ndim != 4:
        raise RuntimeError(
            f"{name}(): Expected 3D (C, H, W) or 4D (N, C, H, W) input, but got {list(x.shape)}"
        )
    if x.dtype.kind not in "fb":
        raise NotImplementedError(f"{name}() is not implemented for {x.dtype.name}")
    kernel, S, P, D = _window(name, kernel_size, stride, padding, dilation)
    shape = x.shape
    size = _blocks(name, shape[2:], kernel, S, P, D)
    y = kernels.im2col.unfold(x, kernel, size, S, P, D)

    def grad_x(gy: Array) -> Array:
        return kernels.im2col.fold(gy, shape, kernel, size, S, P, D)

    return y, (grad_x,)


@op
def fold(
    x: Array,
    /,
    *,
    output_size: Ints,
    kernel_size: Ints,
    dilation: Ints = 1,
    padding: Ints = 0,
    stride: Ints = 1,
) -> Any:
    """y[n, c, h, w] = the sum of all x[n, (c KH + kh) KW + kw, oh OW + ow] that :func:`unfold`
    would have read from there (col2im).

    x (N, C KH KW, OH OW) or (C KH KW, OH OW); y (N, C, H, W) with (H, W) = output_size.
    RuntimeError where OH OW is not the number of windows in (H, W).
    """
    name = "fold"
    if x.ndim == 2:
        settings = {"dilation": dilation, "padding": padding, "stride": stride}
        call = fold.__wrapped__  # type: ignore[attr-defined]
        return _without_batch(
            *call(x[None], output_size=output_size, kernel_size=kernel_size, **settings)
        )
    if x.ndim != 3:
        raise RuntimeError(
            f"{name}(): Expected 2D (unbatched) or 3D (batched) input, but got {list(x.shape)}"
        )
    if not is_floating(x.dtype):
        raise NotImplementedError(f"{name}() is not implemented for {x.dtype.name}")
    out = pair(output_size, "output_size", name)
    kernel, S, P, D = _window(name, kernel_size, stride, padding, dilation)
    taps = kernel[0] * kernel[1]
    if x.shape[1] % taps:
        raise RuntimeError(
            f"{name}(): Expected size of input's dimension 1 to be divisible by the product of"
            f" kernel_size, but got input.size(1)={x.shape[1]} and kernel_size={kernel}."
        )
    size = _blocks(name, out, kernel, S, P, D)
    if x.shape[2] != size[0] * size[1]:
        raise RuntimeError(
            f"{name}(): Given output_size={out}, kernel_size={kernel}, dilation={D}, padding={P},"
            f" stride={S}, expected size of input's dimension 2 to match the calculated number of"
            f" sliding blocks {size[0]} * {size[1]} = {size[0] * size[1]}, but got"
            f" input.size(2)={x.shape[2]}."
        )
    shape = (len(x), x.shape[1] // taps, *out)
    y = kernels.im2col.fold(x, shape, kernel, size, S, P, D)

    def grad_x(gy: Array) -> Array:
        return kernels.im2col.unfold(gy, kernel, size, S, P, D)

    return y, (grad_x,)


def _without_batch(y: Array, grads: tuple[Any, ...]) -> Any:
    """The result for one image, from that of a batch of one."""
    grad_x, *others = grads
    return y[0], (
        lambda gy: grad_x(gy[None])[0],
        *(lambda gy, g=g: g(gy[None]) for g in others),
    )


def _window(
    name: str, kernel_size: Ints, stride: Ints, padding: Ints, dilation: Ints
) -> tuple[Pair, Pair, Pair, Pair]:
    return (
        pair(kernel_size, "kernel_size", name),
        pair(stride, "stride", name),
        pair(padding, "padding", name, low=0),
        pair(dilation, "dilation", name),
    )


def _blocks(name: str, size: Pair, kernel: Pair, S: Pair, P: Pair, D: Pair) -> Pair:
    try:
        return conv_output_size(name, size, kernel, S, P, D)
    except RuntimeError as error:
        raise RuntimeError(
            f"{name}(): Given input with spatial size {tuple(size)}, kernel_size={kernel},"
            f" dilation={D}, padding={P}: there is no sliding block. {error}"
        ) from None


def find_padding(
    name: str, padding: Ints | str, kernel: Pair, stride: Pair, dilation: Pair
) -> tuple[Pair, Pair]:
    """Zeros on both sides, and the extra ones below and to the right."""
    if not isinstance(padding, str):
        return pair(padding, "padding", name, low=0), (0, 0)
    if padding == "valid":
        return (0, 0), (0, 0)
    if padding != "same":
        raise RuntimeError(f"{name}(): Invalid padding string: {padding!r}; use 'same' or 'valid'")
    if stride != (1, 1):
        raise RuntimeError(
            f"{name}(): padding='same' is not supported for strided convolutions, got stride"
            f" {stride}: give the padding as numbers"
        )
    rows, cols = (d * (k - 1) for k, d in zip(kernel, dilation))
    return (rows // 2, cols // 2), (rows % 2, cols % 2)


def _check_ranks(name: str, x: Array, weight: Array) -> None:
    if weight.ndim != 4:
        raise RuntimeError(
            f"{name}(): expected a 4D weight (out, in/groups, KH, KW), got {list(weight.shape)}"
        )
    if x.ndim not in (3, 4):
        raise RuntimeError(
            f"{name}(): Expected 3D (unbatched) or 4D (batched) input to {name}, but got input of"
            f" size: {list(x.shape)}. Images are (N, C, H, W) here; a single one is x[None]."
        )


def _check_channels(
    name: str,
    x: Array,
    weight: Array,
    bias: Array | None,
    groups: int,
    transposed: bool = False,
) -> int:
    """The number of groups, if the arguments fit together."""
    G = integer(groups, "groups", name)
    shape, C = list(weight.shape), x.shape[1]
    if G < 1:
        raise RuntimeError(f"{name}(): non-positive groups is not supported, got groups={G}")
    if weight.shape[0] < 1 or weight.shape[0] % G:
        raise RuntimeError(
            f"{name}(): Given groups={G}, expected weight to be divisible by {G} (and at least {G})"
            f" at dimension 0, but got weight of size {shape} instead"
        )
    if 0 in weight.shape[2:]:
        raise RuntimeError(f"{name}(): kernel size should be greater than zero, got weight {shape}")
    expected = weight.shape[0] if transposed else weight.shape[1] * G
    if expected != C:
        hint = f"the layer expects {expected} channels, x has {C}"
        if C == 1:
            hint += f": x.expand(-1, {expected}, -1, -1), or a layer made with in_channels=1"
        elif x.shape[-1] == expected:
            hint += "; the last axis would fit: is x (N, H, W, C)? Then x.permute(0, 3, 1, 2)"
        else:
            hint += f": make it with in_channels={C}"
        raise RuntimeError(
            f"{name}(): Given {'transposed=1' if transposed else f'groups={G}'}, weight of size"
            f" {shape}, expected input{list(x.shape)} to have {expected} channels, but got {C}"
            f" channels instead ({hint})"
        )
    filters = weight.shape[1] * G if transposed else weight.shape[0]
    if bias is not None and bias.shape != (filters,):
        raise RuntimeError(
            f"{name}(): Given weight of size {shape}, expected bias to be 1-dimensional with"
            f" {filters} elements, but got bias of size {list(bias.shape)} instead"
        )
    dtypes = [a.dtype for a in (x, weight, bias) if a is not None]
    if any(d != dtypes[0] for d in dtypes):
        names = ", ".join(d.name for d in dtypes)
        raise RuntimeError(
            f"{name}(): Input type and weight type (and bias type) should be the same, got {names}:"
            " convert the input with .to(weight.dtype), or the layer with .to(input.dtype)"
        )
    if x.dtype == np.bool_:
        raise NotImplementedError(f"{name}() is not implemented for bool")
    return G
