// Numbers of 16 bits, which kernels store but do not compute with: E is how a number is stored, and
// T = Real<E> what it is in a register. A Half becomes a float wherever it is used, and what is
// assigned to it is rounded to nearest; so the body of a kernel is the same for every E. For float
// and double, E and T are the same.
#pragma once
#include <cuda_bf16.h>
#include <cuda_fp16.h>

__device__ inline float widened(__half x) { return __half2float(x); }
__device__ inline float widened(__nv_bfloat16 x) { return __bfloat162float(x); }
__device__ inline void narrow(float x, __half& y) { y = __float2half_rn(x); }
__device__ inline void narrow(float x, __nv_bfloat16& y) { y = __float2bfloat16_rn(x); }

// Without operators of its own, unlike __half: a * b is then a product of floats.
template <typename Bits>
struct Stored {
    Bits bits;
    Stored() = default;
    __device__ explicit Stored(float x) { narrow(x, bits); }
    __device__ operator float() const { return widened(bits); }
    __device__ Stored& operator=(float x) {
        narrow(x, bits);
        return *this;
    }
    __device__ Stored& operator-=(float x) { return *this = *this - x; }
};

using Half = Stored<__half>;              // 5 bits of exponent, 10 of fraction: up to 65504
using BFloat16 = Stored<__nv_bfloat16>;  // 8 and 7: the range of float, a third of its digits

template <typename E>
struct RealOf {
    using Type = E;
};
template <typename Bits>
struct RealOf<Stored<Bits>> {
    using Type = float;
};
template <typename E>
using Real = typename RealOf<E>::Type;
