// A C-contiguous array as a kernel sees it, so that its body reads as the .py beside it does:
// x(n, c, ih, iw) and x.shape[2]. It is passed by value: a pointer, then D extents of 32 bits.
#pragma once

#ifndef CUDA_EMULATOR
using Index = int;  // the emulator's own Index also knows the line on which it was written
#endif

template <typename T, int D>
struct Array {
    T* data;  // nullptr where the .py has None
    int shape[D];

    template <typename... Indices>
    __device__ __forceinline__ T& operator()(Index first, Indices... rest) const {
        static_assert(1 + sizeof...(rest) == D, "one index per dimension");
#ifdef CUDA_EMULATOR
        emulator::check_indices(data, shape, first, static_cast<long long>(rest)...);
#endif
        // Offsets inside one image fit 32 bits; only the batch needs 64.
        int image = 1, offset = 0, axis = 1;
        ((image *= shape[axis], offset = offset * shape[axis] + static_cast<int>(rest), ++axis), ...);
        return data[static_cast<long long>(first) * image + offset];
    }

    __device__ __forceinline__ long long size() const {
        long long product = 1;
        for (int axis = 0; axis < D; ++axis) product *= shape[axis];
        return product;
    }
};
