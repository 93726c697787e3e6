"""exp, expm1, log, erf and their kin of one number, written so that loops over them vectorise.

A call to the C library's ``expf`` keeps LLVM from computing 8 or 16 elements at once; these are
additions and multiplications only, without branches, and about ten times as fast inside a kernel.
Everything stays in the type of ``x`` (float32 or float64): ``T(0.5)`` is a constant of that type.
Errors are a few units in the last place; NaN and the infinities come out as mathematics has them.

The compiler may fuse a multiplication with an addition here, but not reorder sums: the argument
reduction of ``exp`` lives on the order of two subtractions.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .jit import inline, numba

LOG2_E = 1 / math.log(2)
# ln 2 in two parts; the first has so few bits that k * LN2_HIGH is exact, also in float32.
LN2_HIGH = 0.693359375
LN2_LOW = -2.1219444005469058e-4
# Of float32 and float64: the type, integers of its size, bits of its fraction, the exponent of 1,
# and an x beyond which e^x is inf, and e^-x is 0.
FORMATS: dict[int, tuple[Any, Any, int, int, float]] = {
    32: (np.float32, np.int32, 23, 127, 104.0),
    64: (np.float64, np.int64, 52, 1023, 750.0),
}
# (e^r - 1 - r) / r^2 = 1/2 + r/6 + ... for |r| <= ln(2) / 2, cut off below the last bit.
EXP_TAYLOR = tuple(1 / math.factorial(n) for n in range(13, 1, -1))
# The same for float32, fitted as ERFC_FIT is: e^r to 3e-9, where six terms of the series give 7e-9.
EXP_FIT_32 = (0.00138146131, 0.00836870984, 0.0416683874, 0.166665207, 0.499999935)
# log(1 + u) = log(c) + 2 artanh(s) = log(c) + 2 s (1 + s^2/3 + s^4/5 + ...) with
# s = (1 + u - c) / (1 + u + c); for 0 <= u <= 1 the nearer of c = 1, c = sqrt(2) makes s^2 < 0.03.
ATANH_SERIES = tuple(1 / n for n in range(21, 0, -2))
ATANH_SERIES_32 = ATANH_SERIES[-5:]
# erfc(x) = t fit(t) exp(-x^2), t = 1 / (1 + x/2), x >= 0: least squares, weighted again and again
# by the error (Lawson's way to the smallest largest one), relative error below 5e-8 to x = 10.2,
# where erfc leaves float32's range.
ERFC_FIT = (
    -0.0591242964, 0.284845601, -0.487761759, 0.278711794, -0.0270711302,
    0.202875991, 0.243055788, 0.282381929, 0.282086039,
)  # fmt: skip
# erf(x) = x (2 / sqrt(pi)) (1 - x^2/3 + x^4/10 - ...), cut off below the last bit for |x| < 1.
ERF_TAYLOR_32 = tuple(
    (-1) ** n * 2 / math.sqrt(math.pi) / math.factorial(n) / (2 * n + 1) for n in range(10, -1, -1)
)
SQRT_2 = math.sqrt(2)
SQRT_HALF = math.sqrt(0.5)
LOG_SQRT_2 = 0.5 * math.log(2)
ONE_OVER_SQRT_2PI = 1 / math.sqrt(2 * math.pi)

number = inline(fastmath={"contract"}, forceinline=True)


# The functions down to the last "by type" are plain Python; compiled code gets what the "by"
# function beside each returns for the type at hand: bits differ, and float32 needs half as many
# terms.
def times_two_to_the(p: Any, k: Any) -> Any:
    """p 2^k, for a whole number k in the type of p."""
    return type(p)(np.ldexp(p, int(k) if k == k else 0))


def _by_exponent_bits(p: Any, k: Any) -> Any:
    """Writes k into a float's exponent bits; in two halves, because 2^k may be out of range."""
    T, whole, digits, one, _ = FORMATS[p.bitwidth]
    others = _shift(T, digits).view(whole)

    def times_two_to_the(p: Any, k: Any) -> Any:
        e = whole(T(k).view(whole) - others)
        half = e >> whole(1)
        first = whole((half + whole(one)) << whole(digits)).view(T)
        second = whole((e - half + whole(one)) << whole(digits)).view(T)
        return p * first * second

    return times_two_to_the


def shrunk(p: Any, k: Any) -> Any:
    """:func:`times_two_to_the` for k <= 0."""
    return type(p)(np.ldexp(p, int(k) if k == k else 0))


def _by_few_exponent_bits(p: Any, k: Any) -> Any:
    """As 2^(k + spare), which is in range down to the smallest k, times the constant 2^-spare."""
    T, whole, digits, one, _ = FORMATS[p.bitwidth]
    spare = (one + 1) // 2
    bias, undone = whole((one + spare) << digits), T(2.0**-spare)

    def shrunk(p: Any, k: Any) -> Any:
        # All bits but those of k are shifted out.
        e = whole(T(k).view(whole) << whole(digits))
        return p * whole(e + bias).view(T) * undone

    return shrunk


def bounded(x: Any) -> Any:
    """x, or where it is larger a number whose power of e is inf."""
    return min(x, type(x)(FORMATS[64][4]))


def _bounded_by_type(x: Any) -> Any:
    T, _, _, _, far = FORMATS[x.bitwidth]

    def bounded(x: Any) -> Any:
        return min(x, T(far))

    return bounded


def reduced(x: Any) -> Any:
    """(r, k) with x = r + k ln 2, |r| <= ln(2) / 2 and a whole number k, for :func:`bounded` x; of
    those below -750 the ones of -750, whose power of e is 0.

    In compiled code k comes with a large number added to it, so that it stands in the last bits.
    """
    T = type(x)
    x = max(x, T(-FORMATS[64][4]))
    k = np.rint(x * T(LOG2_E))
    return (x - k * T(LN2_HIGH)) - k * T(LN2_LOW), k


def _shift(T: Any, digits: int) -> Any:
    """What a whole number is added to, to stand in the last bits of the sum (and to be rounded)."""
    return T(1.5 * 2.0**digits)


def _reduced_by_type(x: Any) -> Any:
    T, _, digits, _, far = FORMATS[x.bitwidth]
    shift = _shift(T, digits)

    def reduced(x: Any) -> Any:
        x = max(x, T(-far))
        shifted = x * T(LOG2_E) + shift
        k = shifted - shift
        return (x - k * T(LN2_HIGH)) - k * T(LN2_LOW), shifted

    return reduced


def rank(x: Any) -> Any:
    """A whole number that grows with x: of those, the compiler finds the largest in vectors."""
    return x


def _rank_by_type(x: Any) -> Any:
    """The bits; those of a negative number, but for the sign, in reverse."""
    T, whole, _, _, _ = FORMATS[x.bitwidth]
    most, sign = np.iinfo(whole).max, x.bitwidth - 1

    def rank(x: Any) -> Any:
        bits = whole(T(x).view(whole))
        return whole(bits ^ (whole(bits >> whole(sign)) & whole(most)))

    return rank


def of_rank(k: Any) -> Any:
    """The x with the :func:`rank` k."""
    return k


def _of_rank_by_type(k: Any) -> Any:
    T, whole, _, _, _ = FORMATS[k.bitwidth]
    most, sign = np.iinfo(whole).max, k.bitwidth - 1

    def of_rank(k: Any) -> Any:
        return whole(k ^ (whole(k >> whole(sign)) & whole(most))).view(T)

    return of_rank


def half_erfc(half: Any, e: Any) -> Any:
    """(1 - erf(x)) / 2 for x >= 0, given x / 2 and e = e^(-x^2); in float32 by ``ERFC_FIT``."""
    return type(half)(0.5 * math.erfc(2 * half))


def _by_fit(half: Any, e: Any) -> Any:
    if half == numba.types.float32:

        def half_erfc(half: Any, e: Any) -> Any:
            t = np.float32(1) / (np.float32(1) + half)
            p = np.float32(0.5 * ERFC_FIT[0])
            for c in ERFC_FIT[1:]:
                p = p * t + np.float32(0.5 * c)
            return t * p * e

        return half_erfc

    def half_erfc_64(half: Any, e: Any) -> Any:
        return 0.5 * math.erfc(2 * half)

    return half_erfc_64


def erf(x: Any) -> Any:
    """2 / sqrt(pi) times the integral of e^(-t^2) from 0 to x."""
    return type(x)(math.erf(x))


def _erf_by_type(x: Any) -> Any:
    if x != numba.types.float32:

        def erf_64(x: Any) -> Any:
            return math.erf(x)

        return erf_64

    def erf(x: Any) -> Any:
        z = abs(x)
        square = min(z, np.float32(1)) * min(z, np.float32(1))
        p = np.float32(ERF_TAYLOR_32[0])
        for c in ERF_TAYLOR_32[1:]:
            p = p * square + np.float32(c)
        rest = np.float32(2) * half_erfc(np.float32(0.5) * z, exp_negative(-(z * z)))
        far = math.copysign(np.float32(1) - rest, x)
        return x * p if z < np.float32(1) else far

    return erf


def log(x: Any) -> Any:
    """The natural logarithm of x >= 1."""
    return type(x)(math.log(x))


def _log_by_type(x: Any) -> Any:
    """x = m 2^k with m near 1: log(x) = k ln 2 + 2 artanh((m - 1) / (m + 1))."""
    if x != numba.types.float32:

        def log_64(x: Any) -> Any:
            return math.log(x)

        return log_64

    def log(x: Any) -> Any:
        bits = np.float32(x).view(np.int32)
        m = np.int32((bits & np.int32(0x7FFFFF)) | np.int32(0x3F800000)).view(np.float32)
        k = np.float32((bits >> np.int32(23)) - np.int32(127))
        above = m > np.float32(SQRT_2)
        m = np.float32(0.5) * m if above else m
        k = k + np.float32(1) if above else k
        s = (m - np.float32(1)) / (m + np.float32(1))
        small = np.float32(2) * s * atanh_series(s * s) + k * np.float32(LN2_LOW)
        finite = x - x == np.float32(0)
        return k * np.float32(LN2_HIGH) + small if finite else x

    return log


def exp_series(r: Any) -> Any:
    """(e^r - 1 - r) / r^2 for |r| <= ln(2) / 2."""
    T = type(r)
    p = T(EXP_TAYLOR[0])  # not 0 r + c: the compiler may not leave that out, for a NaN's sake
    for c in EXP_TAYLOR[1:]:
        p = p * r + T(c)
    return p


def _exp_series_by_type(r: Any) -> Any:
    if r != numba.types.float32:
        return exp_series

    def exp_series_32(r: Any) -> Any:
        p = np.float32(EXP_FIT_32[0])
        for c in EXP_FIT_32[1:]:
            p = p * r + np.float32(c)
        return p

    return exp_series_32


def atanh_series(z: Any) -> Any:
    """artanh(s) / s, z = s^2 < 0.03."""
    T = type(z)
    p = T(ATANH_SERIES[0])
    for c in ATANH_SERIES[1:]:
        p = p * z + T(c)
    return p


def _atanh_series_by_type(z: Any) -> Any:
    if z != numba.types.float32:
        return atanh_series

    def atanh_series_32(z: Any) -> Any:
        p = np.float32(ATANH_SERIES_32[0])
        for c in ATANH_SERIES_32[1:]:
            p = p * z + np.float32(c)
        return p

    return atanh_series_32


if numba is not None:
    for fn, by_type in (
        (times_two_to_the, _by_exponent_bits),
        (shrunk, _by_few_exponent_bits),
        (bounded, _bounded_by_type),
        (reduced, _reduced_by_type),
        (rank, _rank_by_type),
        (of_rank, _of_rank_by_type),
        (half_erfc, _by_fit),
        (erf, _erf_by_type),
        (log, _log_by_type),
        (exp_series, _exp_series_by_type),
        (atanh_series, _atanh_series_by_type),
    ):
        numba.extending.overload(fn, jit_options={"fastmath": {"contract"}})(by_type)


@number
def _reduced_expm1(x: Any) -> Any:
    """(p, k) with e^x = (1 + p) 2^k and |p| < 0.42; k as :func:`reduced` has it."""
    r, k = reduced(x)
    return exp_series(r) * r * r + r, k


@number
def exp(x: Any) -> Any:
    """e^x."""
    p, k = _reduced_expm1(bounded(x))
    return times_two_to_the(p + type(x)(1), k)


@number
def exp_negative(x: Any) -> Any:
    """e^x for x <= 0, a third faster."""
    p, k = _reduced_expm1(x)
    return shrunk(p + type(x)(1), k)


@number
def expm1_negative(x: Any) -> Any:
    """e^x - 1 for x <= 0, exact near 0."""
    p, k = _reduced_expm1(x)
    T = type(x)
    return shrunk(p, k) + (shrunk(T(1), k) - T(1))


@number
def log1p_of_exp_negative(x: Any) -> Any:
    """log(1 + e^x) for x <= 0."""
    T = type(x)
    u = exp_negative(x)
    near_one = u < T(SQRT_2 - 1)
    s = (u - (T(0) if near_one else T(SQRT_2 - 1))) / (u + (T(2) if near_one else T(SQRT_2 + 1)))
    return (T(0) if near_one else T(LOG_SQRT_2)) + T(2) * s * atanh_series(s * s)


@number
def sigmoid(x: Any) -> Any:
    """1 / (1 + e^-x), which is 0 where e^-x is inf."""
    T = type(x)
    return T(1) / (T(1) + exp(-x))


@number
def tanh(x: Any) -> Any:
    """(e^2x - 1) / (e^2x + 1)."""
    T = type(x)
    t = expm1_negative(T(-2) * abs(x))
    y = t / (T(2) + t)
    return y if x < T(0) else -y


@number
def tanh_of_softplus(x: Any) -> Any:
    """tanh(log(1 + e^x)) = (e^2x + 2 e^x) / (e^2x + 2 e^x + 2), in e^-|x| so as not to overflow."""
    T = type(x)
    e = exp_negative(-abs(x))
    top = T(1) + T(2) * e if x >= T(0) else e * (e + T(2))
    return top / (top + (T(2) * e * e if x >= T(0) else T(2)))


@number
def normal(x: Any) -> Any:
    """The standard normal distribution function (1 + erf(x / sqrt 2)) / 2, and its density
    e^(-x^2 / 2) / sqrt(2 pi)."""
    T = type(x)
    e = exp_negative(T(-0.5) * x * x)
    tail = half_erfc(abs(x) * T(0.5 * SQRT_HALF), e)
    return tail if x < T(0) else T(1) - tail, e * T(ONE_OVER_SQRT_2PI)
