// Bilinear interpolation of planes, and its gradient, as in resample.py.
//
// Output (oh, ow) is mixed from rows top[oh] and bottom[oh], at a fraction down[oh] of the way, and
// from columns left[ow] and right[ow], at across[ow]. One thread computes one output.
#include "array.cuh"
#include "half.cuh"
#include "loop.cuh"

// launch: block 256, grid-stride over y.size
template <typename E, typename T = Real<E>>
__global__ void __launch_bounds__(256) bilinear(
    Array<const E, 3> x, Array<E, 3> y, Array<const long long, 1> top,
    Array<const long long, 1> bottom, Array<const T, 1> down, Array<const long long, 1> left,
    Array<const long long, 1> right, Array<const T, 1> across) {
    const auto [planes, OH, OW] = y.shape;
    const T one = 1;
    for (auto [n, oh, ow] : grid_range(planes, OH, OW)) {
        T row[2];
        for (int i = 0; i < 2; i++) {
            const int w = i == 0 ? left(ow) : right(ow);
            row[i] = (one - down(oh)) * x(n, top(oh), w) + down(oh) * x(n, bottom(oh), w);
        }
        y(n, oh, ow) = (one - across(ow)) * row[0] + across(ow) * row[1];
    }
}

// The first index whose value is not below h; the values only grow.
__device__ inline int first_not_below(const Array<const long long, 1>& values, int h) {
    int first = 0, last = values.shape[0];
    while (first < last) {
        const int middle = first + (last - first) / 2;
        if (values(middle) < h)
            first = middle + 1;
        else
            last = middle;
    }
    return first;
}

// Gathers: as outputs only move on, those that used a cell are consecutive. Where the CPU steps
// from cell to cell, a thread finds the first output of its own.
// With 4 blocks per multiprocessor to make room for, the compiler spills no register.
// launch: block 256, grid-stride over gx.size
template <typename E, typename T = Real<E>>
__global__ void __launch_bounds__(256, 4) bilinear_grad(
    Array<const E, 3> gy, Array<E, 3> gx, Array<const long long, 1> top,
    Array<const long long, 1> bottom, Array<const T, 1> down, Array<const long long, 1> left,
    Array<const long long, 1> right, Array<const T, 1> across) {
    const auto [planes, H, W] = gx.shape;
    const int OH = gy.shape[1], OW = gy.shape[2];
    const T zero = 0, one = 1;
    for (auto [n, h, w] : grid_range(planes, H, W)) {
        const int first = first_not_below(bottom, h);
        T total = 0;
        for (int ow = first_not_below(right, w); ow < OW && left(ow) <= w; ow++) {
            T row = 0;
            for (int oh = first; oh < OH && top(oh) <= h; oh++) {
                const T weight = (top(oh) == h ? one - down(oh) : zero)
                    + (bottom(oh) == h ? down(oh) : zero);
                row += weight * gy(n, oh, ow);
            }
            total += (left(ow) == w ? one - across(ow) : zero) * row;
            total += (right(ow) == w ? across(ow) : zero) * row;
        }
        gx(n, h, w) = total;
    }
}
