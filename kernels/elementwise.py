"""Activations and their gradients: one number in, one number out, each element on its own.

Each function of x has a kernel, the kernel of its gradient (named ``*_grad``) and both once more as
whole-array NumPy. Call them through :func:`apply`, which allocates the result and takes arrays of
any shape, layout and floating dtype. The result may lie where an argument was: an element is read
before it is written. Cost: one pass over memory; ``exp`` and ``tanh`` cost as much
as about four multiplications per element, because ``scalar.py`` keeps them vectorised.

``max(v, 0)`` is v where v is NaN; ``max(0, v)`` would be 0.
"""

from __future__ import annotations

import math

import numpy as np

from .backend import Array, array_module, contiguous, empty
from .half import is_half
from .jit import Kernel, kernel, prange, short_vectors
from .scalar import ERFC_FIT, ONE_OVER_SQRT_2PI, SQRT_HALF
from .scalar import erf as _erf
from .scalar import exp as _exp
from .scalar import exp_negative as _exp_negative
from .scalar import expm1_negative as _expm1_negative
from .scalar import log1p_of_exp_negative as _log1p_of_exp_negative
from .scalar import normal as _normal
from .scalar import sigmoid as _sigmoid
from .scalar import tanh as _tanh
from .scalar import tanh_of_softplus as _tanh_of_softplus
from .simd import BLOCK, at_least, block, choose, load, stream, vector, vectors, where_above_zero

SQRT_2_OVER_PI = math.sqrt(2 / math.pi)
TWO_OVER_SQRT_PI = 2 / math.sqrt(math.pi)
GELU_CUBIC = 0.044715


def apply(
    k: Kernel, *arrays: Array, settings: tuple[float, ...] = (), out: Array | None = None
) -> Array:
    """``k(*arrays, y, *settings)`` with a new y; float16 and bfloat16 are computed in
    float32.

    y is ``out`` (one of the arrays, to be overwritten) if that is given and plain memory. Settings
    take the arrays' dtype, so that a float32 kernel has no float64 in it.
    """
    x = arrays[0]
    dtype = x.dtype
    if is_half(dtype):
        return apply(k, *(a.astype(np.float32) for a in arrays), settings=settings).astype(dtype)
    if out is None or not getattr(out.flags, "writeable", True) or contiguous(out) is not out:
        out = empty(x.shape, x)
    y = out
    if y.size:
        flat = [contiguous(a).reshape(-1) for a in arrays]
        k.for_result(y, *flat)(*flat, y.reshape(-1), *map(dtype.type, settings))
    return y


def _relu_numpy(x: Array, y: Array) -> None:
    np.maximum(x, 0, out=y)


@kernel(numpy=_relu_numpy)
def relu(x: Array, y: Array) -> None:
    """y = max(x, 0); NaN stays NaN."""
    zero = x.dtype.type(0)
    for i in prange(x.size):
        short_vectors()
        y[i] = max(x[i], zero)


@kernel(numpy=_relu_numpy, streams=relu)
def relu_streamed(x: Array, y: Array) -> None:
    """``relu`` for a large result: y lies apart."""
    zero = y.dtype.type(0)
    for task in prange(y.size // BLOCK):
        first, end = block(0, y.size, task)
        for k in range(vectors(y, first, end)):
            i = vector(y, first, end, k)
            stream(y, i, at_least(load(x, i), zero))


def _relu_grad_numpy(y: Array, gy: Array, gx: Array) -> None:
    gx[:] = gy
    gx[y <= 0] = 0


@kernel(numpy=_relu_grad_numpy)
def relu_grad(y: Array, gy: Array, gx: Array) -> None:
    """gx = gy where y > 0 (so x is not kept), else 0."""
    zero = y.dtype.type(0)
    for i in prange(y.size):
        short_vectors()
        gx[i] = zero if y[i] <= zero else gy[i]


@kernel(numpy=_relu_grad_numpy, streams=relu_grad)
def relu_grad_streamed(y: Array, gy: Array, gx: Array) -> None:
    """``relu_grad`` for a large result: gx lies apart."""
    for task in prange(gx.size // BLOCK):
        first, end = block(0, gx.size, task)
        for k in range(vectors(gx, first, end)):
            i = vector(gx, first, end, k)
            stream(gx, i, where_above_zero(load(y, i), load(gy, i)))


def _leaky_relu_numpy(x: Array, y: Array, slope: float) -> None:
    y[:] = np.where(x > 0, x, x * slope)


@kernel(numpy=_leaky_relu_numpy)
def leaky_relu(x: Array, y: Array, slope: float) -> None:
    """y = x for x > 0, else slope x."""
    zero = x.dtype.type(0)
    for i in prange(x.size):
        short_vectors()
        y[i] = x[i] if x[i] > zero else x[i] * slope


@kernel(numpy=_leaky_relu_numpy, streams=leaky_relu)
def leaky_relu_streamed(x: Array, y: Array, slope: float) -> None:
    """``leaky_relu`` for a large result: y lies apart."""
    for task in prange(y.size // BLOCK):
        first, end = block(0, y.size, task)
        for k in range(vectors(y, first, end)):
            i = vector(y, first, end, k)
            v = load(x, i)
            stream(y, i, choose(v, v, v * slope))


def _leaky_relu_grad_numpy(x: Array, gy: Array, gx: Array, slope: float) -> None:
    gx[:] = np.where(x > 0, gy, gy * slope)


@kernel(numpy=_leaky_relu_grad_numpy)
def leaky_relu_grad(x: Array, gy: Array, gx: Array, slope: float) -> None:
    """gx = gy for x > 0, else slope gy."""
    zero = x.dtype.type(0)
    for i in prange(x.size):
        short_vectors()
        gx[i] = gy[i] if x[i] > zero else gy[i] * slope


@kernel(numpy=_leaky_relu_grad_numpy, streams=leaky_relu_grad)
def leaky_relu_grad_streamed(x: Array, gy: Array, gx: Array, slope: float) -> None:
    """``leaky_relu_grad`` for a large result: gx lies apart."""
    for task in prange(gx.size // BLOCK):
        first, end = block(0, gx.size, task)
        for k in range(vectors(gx, first, end)):
            i = vector(gx, first, end, k)
            v = load(gy, i)
            stream(gx, i, choose(load(x, i), v, v * slope))


def _clip_numpy(x: Array, y: Array, low: float, high: float) -> None:
    np.clip(x, low, high, out=y)


@kernel(numpy=_clip_numpy)
def clip(x: Array, y: Array, low: float, high: float) -> None:
    """y = min(max(x, low), high); NaN stays NaN."""
    for i in prange(x.size):
        short_vectors()
        y[i] = min(max(x[i], low), high)


def _clip_grad_numpy(x: Array, gy: Array, gx: Array, low: float, high: float) -> None:
    gx[:] = np.where((x > low) & (x < high), gy, 0)


@kernel(numpy=_clip_grad_numpy)
def clip_grad(x: Array, gy: Array, gx: Array, low: float, high: float) -> None:
    """gx = gy where low < x < high, 0 from the bounds on."""
    zero = x.dtype.type(0)
    for i in prange(x.size):
        short_vectors()
        gx[i] = gy[i] if x[i] > low and x[i] < high else zero


def _hardsigmoid_numpy(x: Array, y: Array) -> None:
    y[:] = np.clip(x + 3, 0, 6) / 6


@kernel(numpy=_hardsigmoid_numpy)
def hardsigmoid(x: Array, y: Array) -> None:
    """y = min(max(x + 3, 0), 6) / 6."""
    T = x.dtype.type
    for i in prange(x.size):
        short_vectors()
        y[i] = min(max(x[i] + T(3), T(0)), T(6)) / T(6)


def _hardsigmoid_grad_numpy(x: Array, gy: Array, gx: Array) -> None:
    gx[:] = np.where((x > -3) & (x < 3), gy / 6, 0)


@kernel(numpy=_hardsigmoid_grad_numpy)
def hardsigmoid_grad(x: Array, gy: Array, gx: Array) -> None:
    """gx = gy / 6 where -3 < x < 3, else 0."""
    T = x.dtype.type
    for i in prange(x.size):
        short_vectors()
        gx[i] = gy[i] / T(6) if x[i] > T(-3) and x[i] < T(3) else T(0)


def _hardswish_numpy(x: Array, y: Array) -> None:
    y[:] = x * np.clip(x + 3, 0, 6) / 6


@kernel(numpy=_hardswish_numpy)
def hardswish(x: Array, y: Array) -> None:
    """y = x hardsigmoid(x)."""
    T = x.dtype.type
    for i in prange(x.size):
        short_vectors()
        y[i] = x[i] * min(max(x[i] + T(3), T(0)), T(6)) / T(6)


def _hardswish_grad_numpy(x: Array, gy: Array, gx: Array) -> None:
    slope = np.where(x >= 3, 1, x / 3 + 0.5)
    slope[x <= -3] = 0
    np.multiply(gy, slope, out=gx)


@kernel(numpy=_hardswish_grad_numpy)
def hardswish_grad(x: Array, gy: Array, gx: Array) -> None:
    """gx = 0 for x <= -3, gy for x >= 3, (x / 3 + 1/2) gy between."""
    T = x.dtype.type
    for i in prange(x.size):
        short_vectors()
        slope = x[i] / T(3) + T(0.5)
        slope = T(0) if x[i] <= T(-3) else (T(1) if x[i] >= T(3) else slope)
        gx[i] = gy[i] * slope


def _sigmoid_of(x: Array) -> Array:
    e = np.exp(-np.abs(x))
    return np.where(x >= 0, 1, e).astype(x.dtype) / (1 + e)


def _sigmoid_numpy(x: Array, y: Array) -> None:
    y[:] = _sigmoid_of(x)


@kernel(numpy=_sigmoid_numpy)
def sigmoid(x: Array, y: Array) -> None:
    """y = 1 / (1 + e^-x), the sigmoid."""
    for i in prange(x.size):
        y[i] = _sigmoid(x[i])


def _sigmoid_grad_numpy(y: Array, gy: Array, gx: Array) -> None:
    np.multiply(gy * (1 - y), y, out=gx)


@kernel(numpy=_sigmoid_grad_numpy)
def sigmoid_grad(y: Array, gy: Array, gx: Array) -> None:
    """gx = gy y (1 - y)."""
    one = y.dtype.type(1)
    for i in prange(y.size):
        short_vectors()
        gx[i] = gy[i] * (one - y[i]) * y[i]


def _tanh_numpy(x: Array, y: Array) -> None:
    np.tanh(x, out=y)


@kernel(numpy=_tanh_numpy)
def tanh(x: Array, y: Array) -> None:
    """y = tanh x."""
    for i in prange(x.size):
        y[i] = _tanh(x[i])


def _tanh_grad_numpy(y: Array, gy: Array, gx: Array) -> None:
    np.multiply(gy, 1 - y * y, out=gx)


@kernel(numpy=_tanh_grad_numpy)
def tanh_grad(y: Array, gy: Array, gx: Array) -> None:
    """gx = gy (1 - y^2)."""
    one = y.dtype.type(1)
    for i in prange(y.size):
        short_vectors()
        gx[i] = gy[i] * (one - y[i] * y[i])


def _silu_numpy(x: Array, y: Array) -> None:
    np.multiply(x, _sigmoid_of(x), out=y)


@kernel(numpy=_silu_numpy)
def silu(x: Array, y: Array) -> None:
    """y = x sigmoid(x)."""
    one = x.dtype.type(1)
    for i in prange(x.size):
        y[i] = x[i] / (one + _exp(-x[i]))


def _silu_grad_numpy(x: Array, gy: Array, gx: Array) -> None:
    s = _sigmoid_of(x)
    np.multiply(gy, s * (1 + x * (1 - s)), out=gx)


@kernel(numpy=_silu_grad_numpy)
def silu_grad(x: Array, gy: Array, gx: Array) -> None:
    """gx = gy s (1 + x (1 - s)), s = sigmoid(x)."""
    one = x.dtype.type(1)
    for i in prange(x.size):
        s = one / (one + _exp(-x[i]))
        gx[i] = gy[i] * s * (one + x[i] * (one - s))


def _tanh_of_softplus_of(x: Array) -> Array:
    e = np.exp(-np.abs(x))
    top = np.where(x >= 0, 1 + 2 * e, e * (e + 2))
    return top / (top + np.where(x >= 0, 2 * e * e, 2))


def _mish_numpy(x: Array, y: Array) -> None:
    np.multiply(x, _tanh_of_softplus_of(x), out=y)


@kernel(numpy=_mish_numpy)
def mish(x: Array, y: Array) -> None:
    """y = x tanh(log(1 + e^x))."""
    for i in prange(x.size):
        y[i] = x[i] * _tanh_of_softplus(x[i])


def _mish_grad_numpy(x: Array, gy: Array, gx: Array) -> None:
    t = _tanh_of_softplus_of(x)
    np.multiply(gy, t + x * (1 - t * t) * _sigmoid_of(x), out=gx)


@kernel(numpy=_mish_grad_numpy)
def mish_grad(x: Array, gy: Array, gx: Array) -> None:
    """gx = gy (t + x (1 - t^2) sigmoid(x)), t = tanh(log(1 + e^x))."""
    one = x.dtype.type(1)
    for i in prange(x.size):
        t = _tanh_of_softplus(x[i])
        gx[i] = gy[i] * (t + x[i] * (one - t * t) * _sigmoid(x[i]))


def _erf_numpy(x: Array, y: Array) -> None:
    """NumPy has no erf: Python's, one number at a time."""
    values = [math.erf(v) for v in x.ravel().tolist()]
    y[:] = array_module(x).array(values, x.dtype).reshape(x.shape)


@kernel(numpy=_erf_numpy)
def erf(x: Array, y: Array) -> None:
    """y = erf(x) = 2 / sqrt(pi) times the integral of e^(-t^2) from 0 to x."""
    for i in prange(x.size):
        y[i] = _erf(x[i])


def _erf_grad_numpy(x: Array, gy: Array, gx: Array) -> None:
    np.multiply(gy, np.exp(-x * x) * x.dtype.type(TWO_OVER_SQRT_PI), out=gx)


@kernel(numpy=_erf_grad_numpy)
def erf_grad(x: Array, gy: Array, gx: Array) -> None:
    """gx = gy 2 / sqrt(pi) e^(-x^2)."""
    slope = x.dtype.type(TWO_OVER_SQRT_PI)
    for i in prange(x.size):
        gx[i] = gy[i] * (slope * _exp_negative(-x[i] * x[i]))


def _normal_cdf_of(x: Array) -> Array:
    """The kernel's formula in float32; Python's erfc, one number at a time, in float64."""
    z = np.abs(x) * x.dtype.type(SQRT_HALF)
    if x.dtype == np.float32:
        t = 1 / (1 + 0.5 * z)
        tail = 0.5 * t * np.polyval(np.array(ERFC_FIT, x.dtype), t) * np.exp(-z * z)
    else:
        tail = 0.5 * np.array([math.erfc(v) for v in z.tolist()])
    return np.where(x < 0, tail, 1 - tail)


def _gelu_numpy(x: Array, y: Array) -> None:
    np.multiply(x, _normal_cdf_of(x), out=y)


@kernel(numpy=_gelu_numpy)
def gelu(x: Array, y: Array) -> None:
    """y = x P(a standard normal number is below x)."""
    for i in prange(x.size):
        y[i] = x[i] * _normal(x[i])[0]


def _gelu_grad_numpy(x: Array, gy: Array, gx: Array) -> None:
    density = np.exp(-0.5 * x * x) * x.dtype.type(ONE_OVER_SQRT_2PI)
    np.multiply(gy, _normal_cdf_of(x) + x * density, out=gx)


@kernel(numpy=_gelu_grad_numpy)
def gelu_grad(x: Array, gy: Array, gx: Array) -> None:
    """gx = gy (cdf(x) + x pdf(x)) of the standard normal distribution."""
    for i in prange(x.size):
        cdf, density = _normal(x[i])
        gx[i] = gy[i] * (cdf + x[i] * density)


def _gelu_tanh_numpy(x: Array, y: Array) -> None:
    c = x.dtype.type(2 * SQRT_2_OVER_PI)
    np.multiply(x, _sigmoid_of(c * (x + GELU_CUBIC * x * x * x)), out=y)


@kernel(numpy=_gelu_tanh_numpy)
def gelu_tanh(x: Array, y: Array) -> None:
    """y = x / 2 (1 + tanh(u)) = x sigmoid(2 u), u = sqrt(2 / pi) (x + 0.044715 x^3)."""
    T = x.dtype.type
    for i in prange(x.size):
        v = x[i]
        y[i] = v * _sigmoid(T(2 * SQRT_2_OVER_PI) * (v + T(GELU_CUBIC) * v * v * v))


def _gelu_tanh_grad_numpy(x: Array, gy: Array, gx: Array) -> None:
    c = x.dtype.type(2 * SQRT_2_OVER_PI)
    s = _sigmoid_of(c * (x + GELU_CUBIC * x * x * x))
    np.multiply(gy, s + x * s * (1 - s) * c * (1 + 3 * GELU_CUBIC * x * x), out=gx)


@kernel(numpy=_gelu_tanh_grad_numpy)
def gelu_tanh_grad(x: Array, gy: Array, gx: Array) -> None:
    """gx = gy (s + x s (1 - s) 2 u'), s = sigmoid(2 u) as in :func:`gelu_tanh`."""
    T = x.dtype.type
    for i in prange(x.size):
        v = x[i]
        s = _sigmoid(T(2 * SQRT_2_OVER_PI) * (v + T(GELU_CUBIC) * v * v * v))
        slope = T(2 * SQRT_2_OVER_PI) * (T(1) + T(3 * GELU_CUBIC) * v * v)
        gx[i] = gy[i] * (s + v * s * (T(1) - s) * slope)


def _softplus_numpy(x: Array, y: Array, beta: float, threshold: float) -> None:
    z = x * beta
    y[:] = np.where(z > threshold, x, (np.maximum(z, 0) + np.log1p(np.exp(-np.abs(z)))) / beta)


@kernel(numpy=_softplus_numpy)
def softplus(x: Array, y: Array, beta: float, threshold: float) -> None:
    """y = log(1 + e^(beta x)) / beta, and x where beta x > threshold."""
    zero = x.dtype.type(0)
    for i in prange(x.size):
        z = x[i] * beta
        log = _log1p_of_exp_negative(-abs(z)) + max(z, zero)
        y[i] = x[i] if z > threshold else log / beta


def _softplus_grad_numpy(x: Array, gy: Array, gx: Array, beta: float, threshold: float) -> None:
    z = x * beta
    gx[:] = np.where(z > threshold, gy, gy * _sigmoid_of(z))


@kernel(numpy=_softplus_grad_numpy)
def softplus_grad(x: Array, gy: Array, gx: Array, beta: float, threshold: float) -> None:
    """gx = gy sigmoid(beta x), and gy where beta x > threshold."""
    for i in prange(x.size):
        z = x[i] * beta
        gx[i] = gy[i] if z > threshold else gy[i] * _sigmoid(z)


def _elu_numpy(x: Array, y: Array, below: float, above: float, inner: float) -> None:
    y[:] = np.where(x <= 0, np.expm1(np.minimum(x, 0) * inner) * below, x * above)


@kernel(numpy=_elu_numpy)
def elu(x: Array, y: Array, below: float, above: float, inner: float) -> None:
    """y = above x for x > 0, else below (e^(inner x) - 1)."""
    zero = x.dtype.type(0)
    for i in prange(x.size):
        curve = below * _expm1_negative(inner * min(x[i], zero))
        y[i] = curve if x[i] <= zero else above * x[i]


def _elu_grad_numpy(
    x: Array, gy: Array, gx: Array, below: float, above: float, inner: float
) -> None:
    slope = np.exp(np.minimum(x, 0) * inner) * (below * inner)
    np.multiply(gy, np.where(x > 0, above, slope), out=gx)


@kernel(numpy=_elu_grad_numpy)
def elu_grad(x: Array, gy: Array, gx: Array, below: float, above: float, inner: float) -> None:
    """gx = above gy for x > 0, else below inner e^(inner x) gy."""
    zero = x.dtype.type(0)
    for i in prange(x.size):
        slope = below * inner * _exp(inner * x[i])
        gx[i] = gy[i] * (above if x[i] > zero else slope)
