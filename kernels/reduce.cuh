// Sums and maxima of one number per thread, added in an order that depends on nothing but the
// number of threads: the same bits in every run. Every thread gets the result.
#pragma once
#include "scalar.cuh"

constexpr int WARP = 32;

// Of a warp: 32 threads that run together and read each other's registers. Pairs at distance 16,
// then 8, 4, 2 and 1 exchange what they have; as a + b = b + a, both halves of a pair agree.
template <typename T>
__device__ T warp_sum(T value) {
    for (int distance = WARP / 2; distance > 0; distance /= 2)
        value += __shfl_xor_sync(0xffffffff, value, distance);
    return value;
}

template <typename T>
__device__ T warp_max(T value) {
    for (int distance = WARP / 2; distance > 0; distance /= 2)
        value = larger(value, __shfl_xor_sync(0xffffffff, value, distance));
    return value;
}

// Of a block of THREADS threads, all of which must call it.
template <int THREADS, typename T>
__device__ T block_sum(T value) {
    __shared__ T of_warp[THREADS / WARP];
    value = warp_sum(value);
    if (threadIdx.x % WARP == 0)
        of_warp[threadIdx.x / WARP] = value;
    __syncthreads();
    T total = 0;
    for (int warp = 0; warp < THREADS / WARP; warp++)
        total += of_warp[warp];
    __syncthreads();  // before the next call writes
    return total;
}
