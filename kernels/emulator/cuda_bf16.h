// bfloat16 as far as our kernels use it: the upper half of a float's bits. As in cuda_fp16.h.
#pragma once

struct __nv_bfloat16 {
    unsigned short bits;
};

inline __nv_bfloat16 __float2bfloat16_rn(float x) {
    const unsigned bits = __float_as_uint(x);
    if ((bits & 0x7fffffff) > 0x7f800000) return {0x7fff};  // NaN
    return {static_cast<unsigned short>((bits + 0x7fff + (bits >> 16 & 1)) >> 16)};
}

inline float __bfloat162float(__nv_bfloat16 b) {
    return __uint_as_float(static_cast<unsigned>(b.bits) << 16);
}
