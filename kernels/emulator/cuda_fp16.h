// Half precision as far as our kernels use it: __half stores a number, and all arithmetic is in
// float. Conversions round to nearest, ties to even, as a GPU's do, bit for bit.
#pragma once

struct __half {
    unsigned short bits;
};

inline __half __float2half_rn(float x) {
    const unsigned sign = __float_as_uint(x) >> 16 & 0x8000;
    unsigned size = __float_as_uint(x) & 0x7fffffff;
    if (size > 0x7f800000) return {0x7fff};                                    // NaN
    if (size >= 0x47800000) return {static_cast<unsigned short>(sign | 0x7c00)};  // 2^16 and more
    if (size < 0x38800000)  // below 2^-14: multiples of 2^-24, the distance of floats from 1/2 on
        size = __float_as_uint(__uint_as_float(size) + 0.5f) - 0x3f000000;
    else  // 13 bits fall away; what is carried into the exponent is right, up to infinity
        size = (size + 0xfff + (size >> 13 & 1) - 0x38000000) >> 13;
    return {static_cast<unsigned short>(sign | size)};
}

inline float __half2float(__half h) {
    const unsigned sign = static_cast<unsigned>(h.bits & 0x8000) << 16;
    const unsigned exponent = h.bits >> 10 & 31, digits = h.bits & 0x3ff;
    if (exponent == 0) return __uint_as_float(sign | __float_as_uint(static_cast<float>(digits) * 0x1p-24f));
    const unsigned biased = exponent == 31 ? 255 : exponent + 112;
    return __uint_as_float(sign | biased << 23 | digits << 13);
}
