// Pixel p of image n. All images' pixels stand in one row: small images fill a tile together.
#pragma once

struct Pixel {
    int n, p;
};

// The pixel `t` places after number `first`, in images of `size` pixels. Only a batch can be too
// long for 32 bits; its division is the same for the whole block.
__device__ inline Pixel pixel(long long first, int t, int size) {
    const int n = static_cast<int>(first / size);
    const int p = static_cast<int>(first - static_cast<long long>(n) * size) + t;
    return {n + p / size, p % size};
}
